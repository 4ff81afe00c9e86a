"""What every sign-in at a cloud is bound by: the terms of what it grants, and a budget that restarts do not renew.

Pure: clocks are handed in, and whoever keeps a `Budget` keeps its `Budget.entries` in the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from navibridge.errors import Throttled

EARLY: Final = 300.0
"""Seconds before its end from which a token counts as expired, so that none expires on its way."""

EARLY_PART: Final = 0.2
"""The same for short-lived tokens, as a part of the lifetime: five minutes must not use up all of it."""

CLOCK_STEP: Final = 300.0
"""A token that was issued further ahead than this many seconds tells of a wrong clock, then or now."""

BUDGET_PERIOD: Final = 600.0
"""Seconds within which the allowed number of sign-ins may happen."""


@dataclass(frozen=True, slots=True)
class Term:
    """The time a token is good for.

    Attributes:
        begins: when it was received, seconds since the epoch.
        lasts: its lifetime, seconds.
    """

    begins: float
    lasts: float

    @property
    def ends(self) -> float:
        """When it expires, seconds since the epoch."""
        return self.begins + self.lasts

    def fresh(self, now: float) -> bool:
        """Whether it may still be used; false already some time before its end."""
        early = min(EARLY, EARLY_PART * self.lasts)
        return self.begins - CLOCK_STEP <= now < self.ends - early


class Budget:
    """How often an account may be signed in to: a container that restarts in a loop must not lock its owner's account.

    Args:
        allowed: sign-ins within `BUDGET_PERIOD`.
        kept: `entries` as they were kept; anything else is taken for an empty book.

    Attributes:
        entries: when sign-ins were made, seconds since the epoch, oldest first.
    """

    def __init__(self, allowed: int, kept: Any = None) -> None:
        self._allowed = allowed
        numbers = kept if isinstance(kept, list) else []
        self.entries = [float(at) for at in numbers if isinstance(at, int | float)]

    def spend(self, now: float) -> float:
        """Enter a sign-in that is about to be made, before it is made: a crash must not hide it. Returns its entry.

        Raises:
            Throttled: it would be one too many.
        """
        # An entry from the future was made by a wrong clock and would block for as long as that was ahead.
        recent = [at for at in self.entries if now - BUDGET_PERIOD < at <= now]
        if len(recent) >= self._allowed:
            wait = max(1.0, recent[-self._allowed] + BUDGET_PERIOD - now)
            raise Throttled(
                f"{len(recent)} sign-ins within {BUDGET_PERIOD / 60:.0f} minutes are enough; the next one is made in"
                f" {wait:.0f} s, so that the account does not get locked",
                retry_after=wait,
            )
        self.entries = [*recent, now]
        return now

    def refund(self, entry: float) -> None:
        """Strike an entry out: nobody judged the password, and an outage must not use up the sign-ins after it."""
        self.entries.remove(entry)
