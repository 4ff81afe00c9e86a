"""Waiting for a condition, in place of sleeping and hoping."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], object], timeout: float = 10.0) -> None:  # noqa: ASYNC109 - one word less in every test
    """Look every few milliseconds until the condition holds; for what no event tells."""
    try:
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - as said above
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"the condition did not hold within {timeout:g} s") from None
