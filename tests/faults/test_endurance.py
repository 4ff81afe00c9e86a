"""A short version of what shows only in numbers; `make faults` takes its time for the long one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from faults.endurance import SHORT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of lines that nobody reads."""
    logger = logging.getLogger("navibridge")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.mark.parametrize("name", SHORT)
async def test_endurance(name: str, tmp_path: Path) -> None:
    assert await SHORT[name](tmp_path)
