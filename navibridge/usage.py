"""What this program asks of the vendors, counted over restarts.

A bridge that is killed and started again and again must not be a nuisance, and neither must a defect of ours. Sign-ins
have a book of their own, see `navibridge.budget`; it is kept together with the tokens that they bring.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from navibridge.backoff import Backoff
from navibridge.budget import BUDGET_PERIOD
from navibridge.errors import Throttled

if TYPE_CHECKING:
    from collections.abc import Callable

    from navibridge.store import Store

MOST_REQUESTS: Final = 1000
"""REST requests of one account within `navibridge.budget.BUDGET_PERIOD`; a hundred devices need a quarter of them."""

MINUTE: Final = 60.0
"""Requests are counted by the minute."""

SAVING: Final = 300.0
"""Seconds between two writes of the count once a run has lasted for a minute; memory cards wear out."""

FREE_STARTS: Final = 3
"""Runs that may have ended without a goodbye within `navibridge.budget.BUDGET_PERIOD` before a start has to wait."""

MOST_STARTS: Final = 20
"""Starts that are remembered; more change nothing."""

START_BACKOFF: Final = Backoff(longest_wait=60.0)


class Usage:
    """How many REST requests an account has made lately. A fuse: no account comes near it unless something is broken.

    Args:
        store: keeps the count.
        account: the account's name in the configuration.
        clock: seconds since the epoch.
        count: adds one to a named counter of the account.
        allowed: within `navibridge.budget.BUDGET_PERIOD`.
    """

    def __init__(
        self,
        store: Store,
        account: str,
        clock: Callable[[], float],
        count: Callable[[str], None],
        allowed: int = MOST_REQUESTS,
    ) -> None:
        self._store = store
        self._section = f"{account}-requests"
        self._clock = clock
        self._count = count
        self._allowed = allowed
        self._began = self._saved_at = clock()
        kept = store.load(self._section).get("minutes")
        self._minutes = {
            int(minute): number
            for minute, number in (kept.items() if isinstance(kept, dict) else ())
            if minute.isdecimal() and isinstance(number, int)
        }

    def spend(self) -> None:
        """Enter a request that is about to be made.

        Raises:
            Throttled: it would be one too many.
        """
        now = self._clock()
        minute = int(now // MINUTE)
        oldest = minute - BUDGET_PERIOD / MINUTE
        # An entry from the future was made by a wrong clock and would count for as long as that was ahead.
        self._minutes = {at: number for at, number in self._minutes.items() if oldest < at <= minute}
        if sum(self._minutes.values()) >= self._allowed:
            wait = (min(self._minutes) - oldest) * MINUTE
            raise Throttled(
                f"{self._allowed} requests within {BUDGET_PERIOD / 60:.0f} minutes are more than anybody needs; the"
                f" next one is made in {wait:.0f} s",
                retry_after=wait,
            )
        self._minutes[minute] = self._minutes.get(minute, 0) + 1
        self._count("rest_requests")
        # Whoever is killed again and again is killed young.
        if 0 <= now - self._began <= MINUTE or not 0 <= now - self._saved_at < SAVING:
            self._saved_at = now
            self._store.save(self._section, {"minutes": self._minutes})


class Starts:
    """The starts of this program that no regular stop has followed: a crash loop waits longer and longer.

    Args:
        store: keeps them.
        clock: seconds since the epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._entry = 0.0

    def enter(self) -> float:
        """Note a start; returns the seconds that the accounts have to wait first."""
        self._entry = now = self._clock()
        earlier = [at for at in self._kept() if now - BUDGET_PERIOD < at <= now]
        self._store.save("starts", {"unfinished": [*earlier, now][-MOST_STARTS:]})
        loops = len(earlier) - FREE_STARTS
        return START_BACKOFF.wait(loops, lambda: random.uniform(0.5, 1)) if loops > 0 else 0.0  # noqa: S311 - keeps no secret

    def finish(self) -> None:
        """A regular stop: the start does not count."""
        self._store.save("starts", {"unfinished": [at for at in self._kept() if at != self._entry]})

    def _kept(self) -> list[float]:
        kept = self._store.load("starts").get("unfinished")
        return [float(at) for at in kept if isinstance(at, int | float)] if isinstance(kept, list) else []
