"""Trying again: what is, how long between, and when the waits start anew."""

from __future__ import annotations

import pytest

from navibridge.errors import AuthError, ConfigError, FrameError, LinkError, Problem, Throttled
from navibridge.retry import retryable, supervise


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


async def run(errors: list[Exception], lasting: float = 0.0) -> tuple[Clock, list[tuple[str, float]], Exception]:
    clock, told = Clock(), []
    left = iter(errors)

    async def attempt() -> None:
        clock.now += lasting
        error = next(left, None)
        if error is not None:
            raise error

    with pytest.raises(AuthError) as ended:
        await supervise(
            attempt, waiting=lambda error, wait: told.append((error.reason, wait)), clock=clock, sleep=clock.sleep
        )
    return clock, told, ended.value


FATAL = AuthError("no", reason="wrong_password", what_to_do="mend it")


async def test_waits_grow_with_full_jitter_up_to_the_bound() -> None:
    clock, told, _ = await run([LinkError("away", reason="dns")] * 40 + [FATAL])
    assert [wait for _, wait in told] == clock.slept
    assert len(clock.slept) == 40
    for number, wait in enumerate(clock.slept):
        assert 0 <= wait <= min(120.0, 2.0 * 2**number)
    assert max(clock.slept) > 30, "the bound grows"
    assert len(set(clock.slept)) > 30, "the waits are drawn"


async def test_a_stable_attempt_is_forgiven() -> None:
    clock, told, _ = await run([LinkError("away", reason="closed")] * 10 + [FATAL], lasting=61)
    assert clock.slept == [1.0] * 10
    assert told == [("closed", 1.0)] * 10


async def test_patience_that_was_asked_for_is_kept() -> None:
    clock, _, _ = await run([Throttled("slowly", retry_after=300.0), FATAL])
    assert clock.slept[0] >= 300.0


async def test_a_regular_end_counts_as_a_lost_link() -> None:
    clock, told = Clock(), []
    turns = iter([None, None, FATAL])

    async def attempt() -> None:
        if (error := next(turns)) is not None:
            raise error

    with pytest.raises(AuthError):
        await supervise(attempt, waiting=lambda error, wait: told.append(error.reason), clock=clock, sleep=clock.sleep)
    assert told == ["closed", "closed"]


async def test_a_defect_is_not_swallowed() -> None:
    async def attempt() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await supervise(attempt, waiting=lambda *_: None)
