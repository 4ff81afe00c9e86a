"""What the bridge itself is asked, below ``bridge/request/``: one answer to each question."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson

from navibridge.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable


class Requests:
    """The verbs and what answers them.

    Args:
        info: what the bridge is.
        health: how it is doing.
        devices: each device in words.
        rediscover: publish everything again; what was done.
    """

    def __init__(
        self,
        *,
        info: Callable[[], Any],
        health: Callable[[], Any],
        devices: Callable[[], Any],
        rediscover: Callable[[], Any],
    ) -> None:
        self._plain = {"info": info, "health": health, "devices": devices, "rediscover": rediscover}

    def answer(self, verb: str, payload: bytes) -> bytes:
        """The response to a request, errors included."""
        answer: dict[str, Any] = {"status": "ok"}
        transaction = None
        try:
            asked = orjson.loads(payload) if payload.strip() else {}
            if isinstance(asked, dict):
                transaction = asked.get("transaction")
            answer["data"] = self._data(verb, asked)
        except (orjson.JSONDecodeError, CommandError) as error:
            answer = {"status": "error", "error": str(error)}
        if transaction is not None:
            answer["transaction"] = transaction
        return orjson.dumps(answer)

    def _data(self, verb: str, asked: Any) -> Any:
        if verb in self._plain:
            return self._plain[verb]()
        if verb == "log_level":
            return _set_log_level(asked)
        raise CommandError(f"there is no request {verb!r}; there are {', '.join(self._plain)}, log_level")


def _set_log_level(asked: Any) -> Any:
    level = str(asked.get("level", "") if isinstance(asked, dict) else asked).upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise CommandError(f"level {level!r} is not one of debug, info, warning, error")
    logging.getLogger("navibridge").setLevel(level)
    return {"level": level.lower()}
