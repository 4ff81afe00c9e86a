"""Log lines about what comes and goes: a connection that flaps all day must not fill the log, nor be passed over."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

BURST: Final = 6
"""Lines in a row that nobody minds."""

PAUSE: Final = 7200.0
"""Seconds after which there may be one more."""

OFTEN: Final = "%s (It comes and goes; from now on this is told once in two hours at most.)"


class Transitions:
    """Says in the log what something has become, once, and not each time when it comes and goes.

    What can not be said now, is said later if it is still so: the log's last line about it is always true, two
    hours later at the latest.

    Args:
        log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: Hashable = None
        self._pending: tuple[Hashable, int, str, tuple[Any, ...]] | None = None
        self._credit = float(BURST)
        self._counted_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def say(self, what: Hashable, level: int, message: str, *args: Any) -> None:
        """It has become this, in these words; a repetition is not said again.

        Args:
            what: tells it from what it may have been before.
            level: of the log.
            message: for the log, with its arguments.
            args: of the message.
        """
        self._pending = None if what == self._said else (what, level, message, args)
        self._speak()

    def close(self) -> None:
        """Nothing more is to be said."""
        self._pending = None
        self._speak()

    def _speak(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending is None:
            return
        loop = asyncio.get_running_loop()
        self._credit = min(float(BURST), self._credit + (loop.time() - self._counted_at) / PAUSE)
        self._counted_at = loop.time()
        what, level, message, args = self._pending
        # Time is counted in fractions, so that the whole of a line may be a little less.
        if self._credit < 1 - 1e-6:
            self._log.debug(message, *args)
            self._timer = loop.call_later((1 - self._credit) * PAUSE, self._speak)
            return
        self._credit -= 1
        self._said, self._pending = what, None
        if self._credit < 1:
            self._log.log(level, OFTEN, message % args)
        else:
            self._log.log(level, message, *args)


class Whereabouts:
    """Says in the log where devices are, each by `Transitions` of its own: here, offline, in another account.

    Args:
        log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._devices: dict[str, Transitions] = {}

    def away(self, key: str, what: Hashable, message: str, *args: Any) -> None:
        """A device is not here, in these words; see `Transitions.say`."""
        self._devices.setdefault(key, Transitions(self._log)).say(what, logging.INFO, message, *args)

    def here(self, key: str) -> None:
        """It is here; nothing is said of one that was never away."""
        if key in self._devices:
            self._devices[key].say("here", logging.INFO, "%s is back", key)

    def forget(self, key: str) -> None:
        """It is gone for good."""
        if key in self._devices:
            self._devices.pop(key).close()
