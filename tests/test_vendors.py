"""A vendor is one folder: nothing else has to know of it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import acme

from navibridge import config, vendors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from navibridge.vendors import Vendor


@pytest.fixture
def acme_vendor() -> Iterator[None]:
    with acme.installed():
        yield


def test_a_new_folder_is_found_configured_and_listed(acme_vendor: None) -> None:
    assert "acme" in vendors.names()
    loaded = acme.settings(1883)
    assert type(loaded.accounts["home"]).__name__ == "Settings"
    assert loaded.accounts["home"].flavour == "plain"  # type: ignore[attr-defined]
    schema = str(config.schema(lambda name: vendors.load(name).Settings, vendors.names()))
    assert "What it tastes of." in schema
    environment = {"ACME_EMAIL": "me@example.com", "ACME_PASSWORD": "long-enough-secret", "HOME": "/nonexistent"}
    found = config.load(
        None, vendors=lambda name: vendors.load(name).Settings, vendor_names=vendors.names(), environ=environment
    )
    assert [account.email for account in found.config.accounts.values()] == ["me@example.com"]


def test_without_the_folder_there_is_no_such_vendor() -> None:
    assert "acme" not in vendors.names()
    with pytest.raises(KeyError):
        vendors.load("acme")


@pytest.mark.parametrize("name", vendors.names())
def test_every_vendor_keeps_the_contract(name: str) -> None:
    vendor: Vendor = vendors.load(name)
    assert vendor.TITLE
    assert issubclass(vendor.Settings, config.AccountSettings)
    assert vendor.KINDS
    assert vendor.PRIVATE.names
    assert vendor.PRIVATE.patterns
    assert vendor.DEMO is not None
    assert isinstance(vendor.DIALECTS, tuple)
    assert all(callable(getattr(vendor, part)) for part in ("open_session", "explain", "simulator"))


@pytest.mark.parametrize("name", vendors.names())
def test_loading_one_vendor_loads_no_other_and_nothing_heavy(name: str) -> None:
    others = [f"navibridge.vendors.{other}" for other in vendors.names() if other != name]
    code = (
        f"import sys; from navibridge import vendors; vendors.load({name!r}).Settings\n"
        f"wrong = set(sys.modules) & {{'awscrt', 'boto3', 'aiohttp', 'aiomqtt', *{others!r}}}\n"
        "sys.exit(', '.join(sorted(wrong)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", vendors.names())
def test_a_bridge_with_one_vendor_never_imports_another(name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"accounts: {{home: {{vendor: {name}, email: me@example.com, password: long-enough-secret}}}}\n")
    others = [f"navibridge.vendors.{other}" for other in vendors.names() if other != name]
    code = f"""
import sys
from pathlib import Path
from pathlib import Path
from navibridge import config, vendors
from navibridge.bridge import Bridge
from navibridge.store import Store
loaded = config.load(
    Path({str(file)!r}), vendors=lambda name: vendors.load(name).Settings, vendor_names=vendors.names(), environ={{}}
)
Bridge(loaded.config, Store(Path({str(tmp_path)!r})))
wrong = [name for name in sys.modules if name.split(".")[0] in ("boto3", "botocore", "pycognito", "trustme")]
wrong += [name for name in sys.modules if any(name == other or name.startswith(other + ".") for other in {others!r})]
sys.exit(", ".join(wrong) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
