"""A limit on how long the system itself goes on sending.

On a line that is dead for a while, such as a router that starts anew, the system keeps what was written and sends it
again and again, also after the connection was closed: a command could reach its device a minute after its verdict.
Linux has an option of TCP against that; elsewhere nothing is done, and what is written may arrive late.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

UNDELIVERED: Final = 15.0
"""Seconds after which the system drops what it has not got through, and the connection with it."""

_OPEN_FILES: Final = Path("/proc/self/fd")
_TCP_USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)


def give_up_after(seconds: float, connection: socket.socket) -> None:
    """Have a connection of TCP break when something sent is not taken by the far end in time, see `UNDELIVERED`.

    Raises:
        OSError: it has broken already.
    """
    if _TCP_USER_TIMEOUT is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(seconds * 1000))


def give_up_all_after(seconds: float, port: int) -> None:
    """The same for every connection of this process to a port.

    For those of the AWS runtime, which neither has the option nor hands out its sockets: they are found among the open
    files.
    """
    opened: list[Path] = []
    with suppress(OSError):  # there is no such place, or no descriptor left to look into it
        opened = [*_OPEN_FILES.iterdir()]
    for file in opened:
        # A file may be closed at any moment, and its number be another one's: a copy is looked at, and no other.
        with suppress(OSError):
            if str(file.readlink()).startswith("socket:"):
                with closing(_copy(int(file.name))) as copy:
                    far_end = copy.getpeername()
                    if copy.type is socket.SOCK_STREAM and isinstance(far_end, tuple) and far_end[1] == port:
                        give_up_after(seconds, copy)


def _copy(number: int) -> socket.socket:
    """A second handle of an open socket. Raises `OSError` when it is none any more."""
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
