"""An event loop in which waiting takes no time: whenever there is nothing to do, it is as late as the next timer.

Everything that asks the loop for time (`asyncio.sleep`, `asyncio.timeout`, ``call_later``, ``loop.time``) lives in this
time; what asks the system for it does not, and has to be handed the loop's clock. Threads would be overtaken, so that
nothing that runs here may use one.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

BEGAN: Final = 1_767_225_600.0
"""The first second of 2026, UTC; what `VirtualLoop.clock` shows at first, unless told otherwise."""


class _Jump(selectors.DefaultSelector):
    """Never waits: the time that was to be waited is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("everybody waits, and nobody has a timer: this would last for ever")
        self.now = max(self.now + timeout, math.nextafter(self.now, math.inf))  # a tiny wait is a wait all the same
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its time begins at zero.

    Args:
        began: what its clock shows then, in seconds since the epoch.
    """

    def __init__(self, began: float = BEGAN) -> None:
        self._jump = _Jump()
        self._began = began
        super().__init__(self._jump)
        self._clock_resolution = 1e-6  # a float's last digit, after months, is more than the system clock's

    def time(self) -> float:
        """Seconds since it began."""
        return self._jump.now

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self._began + self._jump.now


def run(main: Coroutine[Any, Any, T], *, began: float = BEGAN) -> T:
    """As `asyncio.run`, in virtual time.

    Args:
        main: what to run.
        began: see `VirtualLoop`.
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, began)) as runner:
        return runner.run(main)


def running() -> VirtualLoop:
    """The loop that runs now.

    Raises:
        RuntimeError: it is no virtual one.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("this loop's time is the real one")  # noqa: TRY004 - no argument is of a wrong type
    return loop
