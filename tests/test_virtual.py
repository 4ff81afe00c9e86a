from __future__ import annotations

import asyncio
import time

import pytest

from navibridge import virtual


def test_a_year_of_waiting_takes_no_time() -> None:
    async def story() -> tuple[float, float]:
        loop = virtual.running()
        for _ in range(365):
            await asyncio.sleep(86_400)
        return loop.time(), loop.clock()

    began = time.monotonic()
    assert virtual.run(story(), began=1000.0) == (pytest.approx(31_536_000), pytest.approx(31_537_000))
    assert time.monotonic() - began < 60  # a year is longer on any machine


def test_what_is_due_first_happens_first() -> None:
    happened: list[str] = []

    async def story() -> None:
        async def after(seconds: float, what: str) -> None:
            await asyncio.sleep(seconds)
            happened.append(what)

        tasks = [asyncio.create_task(after(seconds, f"{seconds} s")) for seconds in (3, 1, 2)]
        await asyncio.wait(tasks, timeout=2.5)
        assert virtual.running().clock() == pytest.approx(virtual.BEGAN + 2.5)
        tasks[0].cancel()

    virtual.run(story())
    assert happened == ["1 s", "2 s"]


def test_waiting_for_nothing_at_all_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="for ever"):
        virtual.run(asyncio.Event().wait())


async def test_the_real_loop_is_no_virtual_one() -> None:
    with pytest.raises(RuntimeError, match="real"):
        virtual.running()
