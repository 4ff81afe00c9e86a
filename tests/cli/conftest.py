"""A place to run commands in: its own home, nothing of the real environment, a simulated cloud where one is wanted."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from support.program import Clouds

from navibridge import vendors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = {"answer": (0.0, 0.05), "notice": (0.05, 0.1), "control_interval": 0.1}
"""Devices that do not think for long."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and home."""
    for name in [name for name in os.environ if name.startswith(("NAVIBRIDGE_", "NAVILINK_", "MYSA_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cloud() -> Iterator[Clouds]:
    """A NaviLink cloud with one water heater that speaks JSON and one that speaks binary."""
    with Clouds(vendors.load("navilink").simulator(2, dialects=("json", "binary"), **QUICK)) as clouds:
        yield clouds


@pytest.fixture
def configure(home: Path) -> Callable[..., Path]:
    """Writes ``config.yaml`` into the working directory; JSON is YAML."""

    def write(**sections: Any) -> Path:
        path = home / "config.yaml"
        path.write_text(json.dumps(sections))
        return path

    return write
