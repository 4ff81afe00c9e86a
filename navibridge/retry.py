"""Trying again, for ever: one function that decides what is worth another attempt, and one loop that makes it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from navibridge.backoff import Backoff
from navibridge.errors import LinkError, Throttled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def retryable(error: BaseException) -> bool:
    """Whether another attempt may succeed by itself. The only place that decides it."""
    return isinstance(error, LinkError)


class _Course:
    """How the attempts have gone so far."""

    def __init__(self, backoff: Backoff, clock: Callable[[], float]) -> None:
        self._backoff = backoff
        self._clock = clock
        self._failures = 0
        self._stood_since: float | None = None

    def begin(self) -> None:
        self._stood_since = None

    def stand(self) -> None:
        self._stood_since = self._clock()

    def wait(self, state: RetryCallState) -> float:
        """Seconds to wait after the failure that has just been."""
        since = self._stood_since
        if since is not None and self._clock() - since >= self._backoff.stable_after:
            self._failures = 0
        self._failures += 1
        error = state.outcome.exception() if state.outcome else None
        patience = error.retry_after if isinstance(error, Throttled) else 0.0
        return max(patience, self._backoff.wait(self._failures, random.random))


async def supervise(
    attempt: Callable[[Callable[[], None]], Awaitable[None]],
    *,
    waiting: Callable[[LinkError, float], None],
    backoff: Backoff | None = None,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Make one attempt after the other until one fails for good; a regular return counts as a lost link.

    Args:
        attempt: connects and stays connected; ends by raising. It calls what it is handed when the connection stands:
            the time that a slow failure took is no stability.
        waiting: told the reason and the wait in seconds before each further attempt.
        backoff: how long to wait, and what is forgiven.
        clock: monotonic seconds; the event loop's without.
        sleep: waits.

    Raises:
        NavibridgeError: whatever is not `retryable`.
    """
    course = _Course(backoff or Backoff(), clock or asyncio.get_running_loop().time)

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, LinkError):
            waiting(error, state.upcoming_sleep)

    async for trial in AsyncRetrying(
        wait=course.wait, retry=retry_if_exception(retryable), before_sleep=before_sleep, sleep=sleep, reraise=True
    ):
        with trial:
            course.begin()
            await attempt(course.stand)
            raise LinkError("the link was closed", reason="closed")
    raise AssertionError("attempts are without end")
