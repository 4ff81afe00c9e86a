"""Every capture below `captures/` still gives the states that lie beside it.

A bug report becomes a test by dropping its capture there; `captures/accept.py` writes the first expectation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.captured import CAPTURES, final_states, opened, replayed

from navibridge import vendors

if TYPE_CHECKING:
    from support.mosquitto import Mosquitto

FILES = sorted(Path(__file__).parent.glob(CAPTURES))


def test_every_vendor_has_one() -> None:
    assert {path.parent.name for path in FILES} == set(vendors.names())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_a_capture_gives_the_states_beside_it(path: Path, mosquitto: Mosquitto) -> None:
    head, lines = opened(path)
    assert {account["vendor"] for account in head.accounts.values()} == {path.parent.name}
    found = final_states(await replayed(mosquitto, head, lines))
    assert found == json.loads(path.with_suffix(".expected.json").read_text())
