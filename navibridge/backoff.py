"""How long to wait before something is tried again. Pure: chance is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

DOUBLINGS: Final = 32
"""More of them are beyond any bound, and a year of failures would be beyond what a float holds."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How patiently something is tried again, in seconds.

    Waits are drawn with full jitter: from zero up to a bound that doubles with each failure in a row.

    Attributes:
        first_wait: the bound after the first failure.
        longest_wait: the bound that is not exceeded.
        stable_after: how long something has to stand for its earlier failures to be forgiven.
    """

    first_wait: float = 2.0
    longest_wait: float = 120.0
    stable_after: float = 60.0

    def wait(self, failures: int, chance: Callable[[], float]) -> float:
        """Seconds to wait after so many failures in a row; ``chance`` draws from 0 to 1."""
        return chance() * min(self.longest_wait, self.first_wait * 2.0 ** min(failures - 1, DOUBLINGS))

    def at(self, pace: float) -> Backoff:
        """The same, so many times as fast."""
        return Backoff(self.first_wait / pace, self.longest_wait / pace, self.stable_after / pace)
