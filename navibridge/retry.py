"""Trying again, for ever: one function that decides what is worth another attempt, and one loop that makes it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from navibridge.errors import LinkError, Throttled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FIRST_WAIT: Final = 2.0
LONGEST_WAIT: Final = 120.0
STABLE_AFTER: Final = 60.0


class _WasStable(Exception):
    """An attempt that lasted: the next one starts with a short wait again."""


def retryable(error: BaseException) -> bool:
    """Whether another attempt may succeed by itself. The only place that decides it."""
    return isinstance(error, LinkError)


async def supervise(
    attempt: Callable[[], Awaitable[None]],
    *,
    waiting: Callable[[LinkError, float], None],
    first_wait: float = FIRST_WAIT,
    longest_wait: float = LONGEST_WAIT,
    stable_after: float = STABLE_AFTER,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Make one attempt after the other until one fails for good; a regular return counts as a lost link.

    Waits are drawn with full jitter from zero up to a bound that doubles from ``first_wait`` to ``longest_wait``
    seconds, and start anew after an attempt that lasted ``stable_after`` seconds.

    Args:
        attempt: connects and stays connected; ends by raising.
        waiting: told the reason and the wait in seconds before each further attempt.
        first_wait: bound of the first wait, seconds.
        longest_wait: bound of every wait, seconds.
        stable_after: how long an attempt has to last to be forgiven, seconds.
        clock: monotonic seconds.
        sleep: waits.

    Raises:
        NavibridgeError: whatever is not `retryable`.
    """
    jitter = wait_random_exponential(multiplier=first_wait, max=longest_wait)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        patience = error.retry_after if isinstance(error, Throttled) else 0.0
        return max(patience, jitter(state))

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, LinkError):
            waiting(error, state.upcoming_sleep)

    while True:
        try:
            async for trial in AsyncRetrying(
                wait=wait, retry=retry_if_exception(retryable), before_sleep=before_sleep, sleep=sleep, reraise=True
            ):
                with trial:
                    started = clock()
                    try:
                        await attempt()
                        raise LinkError("the link was closed", reason="closed")
                    except LinkError as error:
                        if clock() - started >= stable_after and not isinstance(error, Throttled):
                            raise _WasStable from error
                        raise
        except _WasStable as stable:
            pause = first_wait / 2
            if isinstance(stable.__cause__, LinkError):
                waiting(stable.__cause__, pause)
            await sleep(pause)
