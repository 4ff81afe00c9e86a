"""Trying again: what is, how long between, and when the waits start anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from navibridge.errors import AuthError, ConfigError, FrameError, LinkError, Problem, Throttled
from navibridge.retry import retryable, supervise

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_only_links_are_worth_another_attempt() -> None:
    assert retryable(LinkError("away"))
    assert retryable(Throttled("slowly", retry_after=5))
    for error in (
        AuthError("no", reason="wrong_password", what_to_do="mend it"),
        ConfigError([Problem("f:1", "a.b", "wrong")]),
        FrameError("bad", sort="truncated"),
        ValueError("a defect"),
        KeyboardInterrupt(),
    ):
        assert not retryable(error)


async def run(errors: list[Exception], *, slow: float = 0.0, stood: float | None = None) -> tuple[Clock, list[Any]]:
    """Attempts that take their time to fail, or stand for a while before they do."""
    clock, told = Clock(), []
    left = iter(errors)

    async def attempt(stands: Callable[[], None]) -> None:
        clock.now += slow
        if stood is not None:
            stands()
            clock.now += stood
        raise next(left)

    with pytest.raises(AuthError):
        await supervise(
            attempt, waiting=lambda error, wait: told.append((error.reason, wait)), clock=clock, sleep=clock.sleep
        )
    return clock, told


FATAL = AuthError("no", reason="wrong_password", what_to_do="mend it")


async def test_waits_grow_with_full_jitter_up_to_the_bound() -> None:
    clock, told = await run([LinkError("away", reason="dns")] * 40 + [FATAL])
    assert [wait for _, wait in told] == clock.slept
    assert len(clock.slept) == 40
    for number, wait in enumerate(clock.slept):
        assert 0 <= wait <= min(120.0, 2.0 * 2**number)
    assert max(clock.slept) > 30, "the bound grows"
    assert len(set(clock.slept)) > 30, "the waits are drawn"


async def test_what_stood_for_a_minute_is_forgiven() -> None:
    clock, told = await run([LinkError("away", reason="closed")] * 20 + [FATAL], stood=61)
    assert len(told) == 20
    assert all(0 <= wait <= 2.0 for wait in clock.slept)
    assert len(set(clock.slept)) > 10, "all bridges of the world lose their links in the same instant"


@pytest.mark.parametrize("lasting", [{"stood": 59.0}, {"slow": 90.0}, {"slow": 90.0, "stood": 1.0}])
async def test_neither_a_short_life_nor_a_slow_failure_is(lasting: dict[str, float]) -> None:
    clock, _ = await run([LinkError("away", reason="timeout")] * 40 + [FATAL], **lasting)
    assert max(clock.slept) > 30, "the bound grows"


async def test_patience_that_was_asked_for_is_kept() -> None:
    clock, _ = await run([Throttled("slowly", retry_after=300.0), FATAL])
    assert clock.slept[0] >= 300.0


async def test_a_regular_end_counts_as_a_lost_link() -> None:
    clock, told = Clock(), []
    turns = iter([None, None, FATAL])

    async def attempt(_: Callable[[], None]) -> None:
        if (error := next(turns)) is not None:
            raise error

    with pytest.raises(AuthError):
        await supervise(attempt, waiting=lambda error, wait: told.append(error.reason), clock=clock, sleep=clock.sleep)
    assert told == ["closed", "closed"]


async def test_a_defect_is_not_swallowed() -> None:
    async def attempt(_: Callable[[], None]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await supervise(attempt, waiting=lambda *_: None)
