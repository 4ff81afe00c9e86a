from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from navibridge import vendors

ROOT = Path(__file__).resolve().parent.parent
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGES: dict[Path, str] = GENERATOR["pages"]()


@pytest.mark.parametrize("path", sorted(PAGES), ids=str)
def test_a_generated_page_is_what_the_code_says(path: Path) -> None:
    assert (ROOT / path).read_text() == PAGES[path], "stale; `make docs` writes it anew"


def test_no_page_is_left_of_a_vendor_that_is_gone() -> None:
    assert {path.stem for path in ROOT.glob("docs/devices/*.md")} == set(vendors.names())


@pytest.mark.parametrize("vendor", vendors.names())
def test_every_attribute_has_a_row(vendor: str) -> None:
    page = PAGES[Path("docs/devices", f"{vendor}.md")]
    for kind in vendors.load(vendor).KINDS:
        _, _, own = page.partition(f"`{kind.name}`, by ")
        own, _, _ = own.partition("\n## ")
        assert [row.key for row in kind.attributes if own.count(f"\n| `{row.key}` |") != 1] == []


def test_a_condition_is_told_in_words_as_far_as_it_can_be_seen() -> None:
    gate = GENERATOR["gate"]
    kind = vendors.load("navilink").KINDS[0]
    assert gate(lambda _: True, kind) == "as far as the unit can"
    assert gate(lambda features: features.get("supports_power") is True, kind) == "if `supports_power`"
    assert (
        gate(lambda features: features.get("supports_power") is not False, kind) == "unless `supports_power` is false"
    )
    assert gate(lambda features: features.get("mode") == "eco", kind) == "as `mode` tells"
    assert gate(lambda features: features.get("no such") is True, kind) == "as far as the unit can"
