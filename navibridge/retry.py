"""Trying again, for ever: one function that decides what is worth another attempt, and one loop that makes it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from navibridge.errors import LinkError, Throttled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FIRST_WAIT: Final = 2.0
LONGEST_WAIT: Final = 120.0
STABLE_AFTER: Final = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How patiently something is tried again; seconds, see `supervise`."""

    first_wait: float = FIRST_WAIT
    longest_wait: float = LONGEST_WAIT
    stable_after: float = STABLE_AFTER


class _WasStable(Exception):
    """An attempt that lasted: the next one starts with a short wait again."""


def retryable(error: BaseException) -> bool:
    """Whether another attempt may succeed by itself. The only place that decides it."""
    return isinstance(error, LinkError)


async def supervise(
    attempt: Callable[[], Awaitable[None]],
    *,
    waiting: Callable[[LinkError, float], None],
    backoff: Backoff | None = None,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Make one attempt after the other until one fails for good; a regular return counts as a lost link.

    Waits are drawn with full jitter from zero up to a bound that doubles from ``first_wait`` to ``longest_wait`` of the
    back-off, and start anew after an attempt that lasted ``stable_after``.

    Args:
        attempt: connects and stays connected; ends by raising.
        waiting: told the reason and the wait in seconds before each further attempt.
        backoff: the bounds of the waits, and how long an attempt has to last to be forgiven.
        clock: monotonic seconds; the event loop's without.
        sleep: waits.

    Raises:
        NavibridgeError: whatever is not `retryable`.
    """
    backoff = backoff or Backoff()
    clock = clock or asyncio.get_running_loop().time
    jitter = wait_random_exponential(multiplier=backoff.first_wait, max=backoff.longest_wait)

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
                        if clock() - started >= backoff.stable_after and not isinstance(error, Throttled):
                            raise _WasStable from error
                        raise
        except _WasStable as stable:
            pause = backoff.first_wait / 2
            if isinstance(stable.__cause__, LinkError):
                waiting(stable.__cause__, pause)
            await sleep(pause)
