"""What becomes of a frame that can not be dealt with: it is dropped, counted, and told once per sort."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from navibridge.errors import FrameError, NavibridgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

MOST_SORTS: Final = 64
"""Sorts of unreadable frames that get a line in the log."""

DEFECT: Final = "defect"
"""The sort of a frame that is dropped for a mistake of ours."""


class Intake:
    """The frames of one account.

    Args:
        count: adds one to a named counter of the account.
    """

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._sorts: set[str] = set()

    @contextmanager
    def frame(self) -> Iterator[None]:
        """A frame is dealt with within the block; whatever is wrong with it, the session goes on.

        Raises:
            NavibridgeError: what came of it has nothing to do with the frame.
        """
        self._count("frames")
        try:
            yield
        except FrameError as error:
            self._drop(error)
        except NavibridgeError:
            raise
        except Exception as error:
            # A defect of ours must not let one frame end every link anew.
            if DEFECT not in self._sorts:
                log.exception("unexpected error in dealing with a frame. Please report it.")
            self._drop(FrameError(f"unexpected {type(error).__name__}", sort=DEFECT))

    def _drop(self, error: FrameError) -> None:
        self._count("frame_errors")
        if error.sort not in self._sorts and len(self._sorts) < MOST_SORTS:
            self._sorts.add(error.sort)
            log.warning(
                "a frame was dropped, further ones of the sort %s are only counted: %s. Please report it with a "
                "capture should values be missing.",
                error.sort,
                error,
            )
