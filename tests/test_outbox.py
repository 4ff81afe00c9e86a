"""How a session's attempt is heard."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from navibridge.errors import AuthError, LinkError, cause
from navibridge.model import Event, Gone
from navibridge.outbox import FULL, Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def collect(events: AsyncGenerator[Event, None], heard: list[Event]) -> None:
    async for event in events:
        heard.append(event)  # noqa: PERF401 - the list has to hold what came before the error


async def test_what_was_said_before_the_end_comes_before_the_end() -> None:
    box, heard = Outbox(), list[Event]()

    async def attempt() -> None:
        for number in range(3):
            box.emit(Gone(str(number)))
        raise ExceptionGroup("tasks", [LinkError("away", reason="closed"), LinkError("away", reason="dns")])

    with pytest.raises(LinkError) as ended:
        await collect(box.events(attempt(), "attempt"), heard)
    assert heard == [Gone("0"), Gone("1"), Gone("2")]
    assert ended.value.reason == "closed"


@pytest.mark.parametrize("how", [None, asyncio.CancelledError()])
async def test_no_end_goes_unheard(how: BaseException | None) -> None:
    box = Outbox()

    async def attempt() -> None:
        if how is not None:
            raise how

    with pytest.raises(LinkError) as ended:
        async with asyncio.timeout(10):
            await collect(box.events(attempt(), "attempt"), [])
    assert ended.value.reason == "internal"


async def test_an_attempt_ends_with_its_listener() -> None:
    box, over = Outbox(), asyncio.Event()

    async def attempt() -> None:
        box.emit(Gone("0"))
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    async with aclosing(box.events(attempt(), "attempt")) as events:
        await anext(events)
    assert over.is_set()


async def test_a_listener_that_is_behind_is_waited_for() -> None:
    box = Outbox()

    async def attempt() -> None:
        for _ in range(FULL):
            await box.room()
            box.emit(Gone("0"))
        await box.room()
        box.emit(Gone("last"))
        await asyncio.Event().wait()

    taken = 0
    async with aclosing(box.events(attempt(), "attempt")) as events:
        async for event in events:
            taken += 1
            if event == Gone("last"):
                break
    assert taken == FULL + 1


async def test_the_next_attempt_begins_with_nothing() -> None:
    box, heard = Outbox(), list[Event]()
    box.emit(Gone("old"))

    async def attempt() -> None:
        box.emit(Gone("new"))
        raise LinkError("away")

    with pytest.raises(LinkError):
        await collect(box.events(attempt(), "attempt"), heard)
    assert heard == [Gone("new")]


def test_a_persons_task_matters_most_then_a_defect() -> None:
    link, defect = LinkError("away"), ZeroDivisionError()
    person = AuthError("no", reason="wrong_password", what_to_do="mend it")
    assert cause(ExceptionGroup("", [link, ExceptionGroup("", [defect, person])])) is person
    assert cause(ExceptionGroup("", [link, ExceptionGroup("", [defect])])) is defect
    assert cause(link) is link
