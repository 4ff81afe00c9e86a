"""Host names that a test makes known, or unknown, while programs in this process look them up."""

from __future__ import annotations

import socket
from typing import Any

ADDRESSES: dict[str, str | None] = {}
"""Address by name; ``None`` where the name service knows none. Other names are looked up as ever."""

_LOOK_UP = socket.getaddrinfo


def _look_up(host: Any, *arguments: Any, **options: Any) -> Any:
    host = ADDRESSES.get(host, host)
    if host is None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _LOOK_UP(host, *arguments, **options)


socket.getaddrinfo = _look_up  # for as long as the process lives: scenes overlap
