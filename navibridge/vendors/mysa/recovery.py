"""How long to wait before a link that failed is opened again (`docs/protocol/mysa.md` 3.6 and 8.4). Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

STABLE_AFTER: Final = 60.0
"""Seconds that a link has to stand for everything before it to be forgiven."""

STORM: Final = 3
STORM_WITHIN: Final = 30.0
"""So many times closed by the service within so many seconds: there is more to it than the network."""

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
"""Seconds to wait after a link was lost, doubling."""

REFUSED_WAIT: Final = 30.0
LONGEST_REFUSED_WAIT: Final = 300.0
"""The same where the service lets nobody in: some accounts never are."""

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
        jitter: a random number from 0 to 1, so that many bridges do not come back in the same instant.
    """

    jitter: Callable[[], float]
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
            if stood >= STABLE_AFTER:
                self._failures = 0
        storm = len(self._closed_at) == STORM and now - self._closed_at[0] <= STORM_WITHIN
        if reason in REFUSALS:
            self._refusals += 1
            # The first refusal may be due to the credentials alone, and they are replaced.
            if self._refusals == 1:
                return Verdict(self._spread(FIRST_WAIT), storm)
            return Verdict(self._spread(min(LONGEST_REFUSED_WAIT, REFUSED_WAIT * 2 ** (self._refusals - 2))), storm)
        self._failures += 1
        return Verdict(self._spread(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures - 1, 10))), storm)

    def _spread(self, bound: float) -> float:
        return bound * (0.5 + self.jitter() / 2)
