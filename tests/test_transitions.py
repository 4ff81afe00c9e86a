from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from navibridge import virtual
from navibridge.transitions import BURST, PAUSE, Transitions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = logging.getLogger("test of transitions")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[Coroutine[None, None, None]], list[str]]:
    """What a story writes to the log at INFO and above, told in virtual time."""
    caplog.set_level(logging.DEBUG)

    def tell(story: Coroutine[None, None, None]) -> list[str]:
        virtual.run(story)
        return [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]

    return tell


def test_a_change_is_said_and_its_repetition_is_not(said) -> None:
    async def story() -> None:
        transitions = Transitions(log)
        for _ in range(3):
            transitions.say("up", logging.INFO, "it is %s", "up")
        transitions.say(("down", "dns"), logging.WARNING, "it is down")

    assert said(story()) == ["it is up", "it is down"]


def test_what_flaps_all_day_fills_no_log(said) -> None:
    async def story() -> None:
        transitions = Transitions(log)
        for _ in range(4_000):
            transitions.say("up", logging.INFO, "up")
            transitions.say("down", logging.WARNING, "down")
            await asyncio.sleep(21.6)
        transitions.close()

    lines = said(story())
    assert BURST + 10 <= len(lines) <= BURST + 12
    assert "comes and goes" in lines[BURST - 1]


def test_the_last_line_is_true_in_the_end(said) -> None:
    async def story() -> None:
        transitions = Transitions(log)
        for number in range(BURST + 3):
            transitions.say(number, logging.INFO, "it is %d", number)
        await asyncio.sleep(PAUSE + 1)

    lines = said(story())
    assert len(lines) == BURST + 1
    assert lines[-1].startswith(f"it is {BURST + 2}")


def test_what_is_as_it_was_said_is_not_said_late(said) -> None:
    async def story() -> None:
        transitions = Transitions(log)
        for number in range(BURST):
            transitions.say(number, logging.INFO, "it is %d", number)
        transitions.say("down", logging.WARNING, "down")
        transitions.say(BURST - 1, logging.INFO, "as before")
        await asyncio.sleep(2 * PAUSE)

    assert len(said(story())) == BURST


def test_nothing_is_said_after_the_end(said) -> None:
    async def story() -> None:
        transitions = Transitions(log)
        for number in range(BURST + 1):
            transitions.say(number, logging.INFO, "it is %d", number)
        transitions.close()
        await asyncio.sleep(2 * PAUSE)

    assert len(said(story())) == BURST
