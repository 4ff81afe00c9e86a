"""An event loop in which waiting takes no time: whenever there is nothing to do, it is as late as the next timer.

Everything that asks the loop for time (`asyncio.sleep`, `asyncio.timeout`, ``call_later``, ``loop.time``) lives in this
time; what asks the system for it does not, and has to be handed the loop's clock. Threads would be overtaken, so that
nothing that runs here may use one.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

BEGAN = 1_767_225_600.0
"""The first second of 2026, UTC; what `VirtualLoop.clock` shows at first."""


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
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. It begins at zero."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        # After months, a float's last digit is larger than the system clock's.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._jump.now

    def clock(self) -> float:
        """Seconds since the epoch."""
        return BEGAN + self._jump.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def running() -> VirtualLoop:
    """The loop that runs now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
