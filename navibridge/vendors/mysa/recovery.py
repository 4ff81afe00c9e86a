"""How long to wait before a link that failed is opened again (`docs/protocol/mysa.md` 3.6 and 8.4). Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from navibridge.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

LOST: Final = Backoff()
"""How patiently a link is opened again that was lost."""

REFUSED: Final = Backoff(first_wait=30.0, longest_wait=300.0)
"""The same where the service lets nobody in: some accounts never are."""

STORM: Final = 3
STORM_WITHIN: Final = 30.0
"""So many times closed by the service within so many seconds: there is more to it than the network."""

REFUSALS: Final = frozenset({"upgrade_refused", "connect_refused", "no_credentials"})
"""The reasons that mean it."""


class Verdict(NamedTuple):
    """What follows from a failure.

    Attributes:
        wait: seconds.
        storm: whether to begin from the start: with new credentials, too.
    """

    wait: float
    storm: bool


@dataclass(slots=True)
class Recovery:
    """The failures of one link in a row.

    Attributes:
        chance: a random number from 0 to 1, so that many bridges do not come back in the same instant.
        pace: how many times as fast as usual; other than 1 for tests alone.
    """

    chance: Callable[[], float]
    pace: float = 1.0
    _failures: int = 0
    _refusals: int = 0
    _closed_at: deque[float] = field(default_factory=lambda: deque(maxlen=STORM))

    def after(self, reason: str, *, stood: float | None, now: float) -> Verdict:
        """Judge a failure.

        Args:
            reason: of the `LinkError`.
            stood: seconds that the link was of use; ``None`` when it could not be opened.
            now: seconds, of any clock that only goes forwards.
        """
        if reason == "closed":
            self._closed_at.append(now)
        if stood is not None:
            self._refusals = 0
            if stood >= LOST.at(self.pace).stable_after:
                self._failures = 0
        storm = len(self._closed_at) == STORM and now - self._closed_at[0] <= STORM_WITHIN
        if reason in REFUSALS:
            self._refusals += 1
            # The first refusal may be due to the credentials alone, and they are replaced.
            backoff, number = (REFUSED, self._refusals - 1) if self._refusals > 1 else (LOST, 1)
        else:
            self._failures += 1
            backoff, number = LOST, self._failures
        return Verdict(backoff.at(self.pace).wait(number, self.chance), storm)
