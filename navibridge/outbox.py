"""What a session's attempt says, on its way to whoever iterates: the part of a session that every vendor has alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from navibridge.errors import LinkError, cause

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from navibridge.model import Event

FULL: Final = 2_000
"""Events that wait for the consumer before no further message should be taken from a link."""


class Outbox:
    """One queue, filled by the tasks of an attempt and emptied by `events`; an attempt begins with an empty one."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | Exception] = asyncio.Queue()

    def emit(self, event: Event) -> None:
        """Say something."""
        self._queue.put_nowait(event)

    async def room(self) -> None:
        """Wait until a consumer that is far behind has caught up."""
        if self._queue.qsize() >= FULL:
            await self._queue.join()

    async def events(self, attempt: Coroutine[Any, Any, None], name: str) -> AsyncGenerator[Event, None]:
        """Run an attempt in a task of its own, and yield what it says.

        Args:
            attempt: it emits here, and ends by raising.
            name: of its task.

        Raises:
            Exception: what ended the attempt, once everything that it said before has been taken.
        """
        self._queue = asyncio.Queue()
        task = asyncio.create_task(self._attend(attempt), name=name)
        try:
            while True:
                event = await self._queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                self._queue.task_done()
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def _attend(self, attempt: Coroutine[Any, Any, None]) -> None:
        # Whichever way it ends, the consumer must hear of it, or it would wait for ever.
        end: Exception = LinkError("the attempt ended by itself", reason="internal")
        try:
            await attempt
        except Exception as error:  # noqa: BLE001 - handed to the consumer, with its traceback
            end = cause(error)
        finally:
            self._queue.put_nowait(end)
