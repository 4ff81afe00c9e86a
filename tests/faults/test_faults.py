"""The short ones of the faults; `make faults` plays all of them and prints the table."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from faults.catalogue import FAULTS
from faults.trial import cases, play_all

if TYPE_CHECKING:
    from faults.trial import Outcome

SHORT = {f"{fault.name}, {vendor}": (fault, vendor) for fault, vendor in cases(FAULTS) if not fault.slow}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What came of the faults that were asked for; they are played together, since most of their time is waiting."""
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and item.originalname == test_a_fault.__name__
    }
    chosen = [case for name, case in SHORT.items() if name in asked]
    logger = logging.getLogger("navibridge")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        played = asyncio.run(play_all(chosen, tmp_path_factory.mktemp("faults")))
    finally:
        logger.setLevel(level)
    return {f"{outcome.fault.name}, {outcome.vendor}": outcome for outcome in played}


@pytest.mark.parametrize("name", SHORT)
def test_a_fault(outcomes: dict[str, Outcome], name: str) -> None:
    if outcomes[name].skipped:
        pytest.skip(outcomes[name].skipped)
    assert not outcomes[name].problems, "\n".join(outcomes[name].problems)


def test_each_fault_of_a_vendor_has_a_name_of_its_own() -> None:
    assert len({(fault.name, vendor) for fault, vendor in cases(FAULTS)}) == len(cases(FAULTS))
