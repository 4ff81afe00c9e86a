"""Groups of tasks: who is cancelled ends, and who fails takes the others along."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from navibridge import tasks
from navibridge.tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


PACKAGE = Path(tasks.__file__).parent


class Lost(Exception):
    """A link that broke."""


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fail(after: float = 0.0) -> None:
    await asyncio.sleep(after)
    raise Lost


async def slow_to_end(ending: asyncio.Event, end: asyncio.Event) -> None:
    try:
        await for_ever()
    finally:
        ending.set()
        await end.wait()


async def turns(number: int = 10) -> None:
    """Let everybody have their turn that often."""
    for _ in range(number):
        await asyncio.sleep(0)


def current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def tried_again(attempt: Callable[[], Awaitable[None]]) -> None:
    """As everybody here does with what failed."""
    while True:
        try:
            await attempt()
        except* Lost:
            await asyncio.sleep(0)


async def cancelled(task: asyncio.Task[None]) -> bool:
    await asyncio.wait((task,), timeout=2)
    return task.cancelled()


async def test_it_ends_when_every_task_has() -> None:
    done = []

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        done.append(number)
        return number

    async with TaskGroup() as group:
        tasks = [group.create_task(work(number), name=f"work {number}") for number in range(3)]
        await asyncio.sleep(0)
        group.create_task(work(3), name="work 3")
    assert sorted(done) == [0, 1, 2, 3]
    assert [task.result() for task in tasks] == [0, 1, 2]
    assert current().cancelling() == 0


async def test_a_task_may_bring_another_one() -> None:
    done = asyncio.Event()

    async def second() -> None:
        done.set()

    async def first(group: TaskGroup) -> None:
        await turns()
        group.create_task(second(), name="second")

    async with TaskGroup() as group:
        group.create_task(first(group), name="first")
    assert done.is_set()
    late = second()
    with pytest.raises(RuntimeError, match="'too late'"):
        group.create_task(late, name="too late")


@pytest.mark.parametrize("in_block", [True, False])
async def test_who_fails_takes_the_others_along(in_block: bool) -> None:
    other: asyncio.Task[None] | None = None
    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - the group is the statement
        async with TaskGroup() as group:
            other = group.create_task(for_ever(), name="other")
            group.create_task(fail(), name="fails")
            if in_block:
                await for_ever()
    assert [type(error) for error in raised.value.exceptions] == [Lost]
    assert other is not None
    assert other.cancelled()
    assert current().cancelling() == 0, "nobody was cancelled"
    await asyncio.sleep(0)


async def test_a_failure_of_the_block_counts_too() -> None:
    async def fails_when_cancelled() -> None:
        try:
            await for_ever()
        finally:
            raise Lost

    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - the group is the statement
        async with TaskGroup() as group:
            group.create_task(fails_when_cancelled(), name="other")
            await asyncio.sleep(0)
            raise ValueError
    assert [type(error) for error in raised.value.exceptions] == [ValueError, Lost]


async def test_who_is_cancelled_while_a_failure_is_dealt_with_ends() -> None:
    ending, end = asyncio.Event(), asyncio.Event()

    async def attempt() -> None:
        async with TaskGroup() as group:
            group.create_task(slow_to_end(ending, end), name="slow")
            group.create_task(fail(), name="fails")

    task = asyncio.create_task(tried_again(attempt))
    await ending.wait()
    task.cancel()
    await asyncio.sleep(0)
    end.set()
    assert await cancelled(task)


async def test_who_is_cancelled_ends_whatever_fails_by_that() -> None:
    async def fails_when_cancelled() -> None:
        try:
            await for_ever()
        finally:
            raise Lost

    async def attempt() -> None:
        async with TaskGroup() as group:
            group.create_task(fails_when_cancelled(), name="fails")

    task = asyncio.create_task(tried_again(attempt))
    await turns()
    task.cancel()
    assert await cancelled(task)


@pytest.mark.parametrize("in_block", [True, False])
async def test_who_is_cancelled_in_the_same_moment_ends(in_block: bool) -> None:
    broken = asyncio.Event()

    async def breaks() -> None:
        await broken.wait()
        raise Lost

    async def attempt() -> None:
        async with TaskGroup() as group:
            group.create_task(breaks(), name="breaks")
            if in_block:
                await for_ever()

    for cancel_first in (True, False):
        task = asyncio.create_task(tried_again(attempt))
        await turns()
        if cancel_first:
            task.cancel()
        broken.set()
        if not cancel_first:
            await asyncio.sleep(0)
            task.cancel()
        assert await cancelled(task)
        broken.clear()


async def test_who_is_cancelled_twice_waits_for_the_last_words_all_the_same() -> None:
    ending, end = asyncio.Event(), asyncio.Event()

    async def attempt() -> None:
        async with TaskGroup() as group:
            group.create_task(slow_to_end(ending, end), name="slow")

    task = asyncio.create_task(attempt())
    await asyncio.sleep(0)
    task.cancel()
    await ending.wait()
    task.cancel()
    await turns()
    assert not task.done()
    end.set()
    assert await cancelled(task)


async def test_a_group_in_a_group_ends_with_it() -> None:
    async def inner() -> None:
        async with TaskGroup() as group:
            group.create_task(fail(0.01), name="inner fails")

    with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group is the statement
        async with TaskGroup() as group:
            group.create_task(tried_again(inner), name="inner")
            group.create_task(fail(0.01), name="outer fails")


async def test_a_limit_on_the_time_is_no_cancellation() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), TaskGroup() as group:
            group.create_task(for_ever(), name="waits")
    assert current().cancelling() == 0
    async with asyncio.timeout(5) as limit, TaskGroup() as group:
        group.create_task(turns(), name="ends")
    assert not limit.expired()


async def test_many_failures_leave_no_trace_in_who_tries_again() -> None:
    for _ in range(20):
        with pytest.raises(ExceptionGroup):
            async with TaskGroup() as group:
                group.create_task(fail(), name="fails")
    assert current().cancelling() == 0


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_has_a_group_that_forgets(path: Path) -> None:
    assert "asyncio.TaskGroup(" not in path.read_text(encoding="utf-8")
