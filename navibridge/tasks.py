"""Tasks that belong together, as `asyncio.TaskGroup` has them, but whoever is cancelled ends.

The standard library's group, up to Python 3.12, forgets that it was cancelled when one of its tasks fails at about that
time: it raises the failure alone. Who tries again for ever what failed, as everybody does here, would never stop: a
broker and a bridge that are shut down together are such a moment.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Self

T = TypeVar("T")


class TaskGroup:
    """``async with`` it: the block ends when every task has, and as soon as one fails, all others are cancelled.

    Raises:
        asyncio.CancelledError: whoever holds it was cancelled, whatever else has happened.
        BaseExceptionGroup: of all failures, that of the block included.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._errors: list[BaseException] = []
        self._owner: asyncio.Task[Any] | None = None
        self._cancels = 0
        self._in_block = False
        self._aborted = False
        self._interrupted = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Begin."""
        self._owner = asyncio.current_task()
        if self._owner is None:
            raise RuntimeError("a group of tasks belongs to a task")
        self._cancels = self._owner.cancelling()
        self._in_block = True
        return self

    def create_task(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """One more task of the group. Raises `RuntimeError` when that is ending."""
        if self._owner is None or self._aborted or (not self._in_block and not self._tasks):
            coroutine.close()
            raise RuntimeError(f"no task {name!r} in a group that does not run")
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        owner = self._owner
        assert owner is not None, "it was entered"  # noqa: S101 - for the type checker
        self._in_block = False
        if self._interrupted:
            owner.uncancel()
        if error is not None:
            if not isinstance(error, asyncio.CancelledError):
                self._errors.append(error)
            self._abort()
        while self._tasks:
            self._news.clear()
            try:
                await self._news.wait()
            except asyncio.CancelledError:
                # Perhaps only what was to interrupt the block, and came too late for it; the count tells.
                if owner.cancelling() > self._cancels and not self._aborted:
                    self._abort()
        if owner.cancelling() > self._cancels or (isinstance(error, asyncio.CancelledError) and not self._interrupted):
            raise error if isinstance(error, asyncio.CancelledError) else asyncio.CancelledError
        errors, self._errors = self._errors, []  # an exception that holds itself would stay for a while
        if errors:
            raise BaseExceptionGroup("tasks that belong together", errors)

    def _abort(self) -> None:
        self._aborted = True
        for task in tuple(self._tasks):
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._news.set()
        failure = None if task.cancelled() else task.exception()
        if failure is None:
            return
        self._errors.append(failure)
        if self._aborted:
            return
        self._abort()
        if self._in_block and self._owner is not None and not self._owner.done():
            self._interrupted = True
            self._owner.cancel()
