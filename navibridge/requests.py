"""What the bridge itself is asked, below ``bridge/request/``: one answer to each question."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, get_args

import orjson

from navibridge.config import LogLevel
from navibridge.errors import CommandError
from navibridge.sources import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS: Final[tuple[str, ...]] = get_args(LogLevel)

LONGEST_SHOWN: Final = 40
"""How many characters of a wrong payload come back in the error."""


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

    def answer(self, verb: str, payload: bytes, *, oversize: int = 0) -> bytes:
        """The response to a request, errors included.

        Args:
            verb: what is asked.
            payload: of the request.
            oversize: bytes of a payload that was too large to be read.
        """
        asked = _read(payload)
        try:
            if oversize:
                raise CommandError(f"the payload has {oversize} bytes and was not read")
            answer: dict[str, Any] = {"status": "ok", "data": self._data(verb, asked)}
        except CommandError as error:
            answer = {"status": "error", "error": str(error)}
        if isinstance(asked, dict) and asked.get("transaction") is not None:
            answer["transaction"] = asked["transaction"]
        return orjson.dumps(answer)

    def _data(self, verb: str, asked: Any) -> Any:
        if verb == "log_level":
            return _set_log_level(asked)
        if verb not in self._plain:
            known = (*self._plain, "log_level")
            near = nearest(verb, known)
            meant = f", did you mean {near!r}?" if near else ""
            raise CommandError(f"there is no request {verb!r}{meant}; there are: {', '.join(known)}")
        if not isinstance(asked, dict):
            raise CommandError(
                f"given {_shown(asked)}, allowed: nothing, or a JSON object; for example "
                '{"transaction": 7}, which comes back in the answer'
            )
        return self._plain[verb]()


def _read(payload: bytes) -> Any:
    """What JSON says, or else the text as it is: a plain word needs no quotes."""
    text = payload.decode("utf-8", "replace").strip()
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return text


def _set_log_level(asked: Any) -> Any:
    given = asked.get("level", "") if isinstance(asked, dict) else asked
    level = given.lower() if isinstance(given, str) else ""
    if level not in LEVELS:
        near = nearest(level, LEVELS)
        meant = f", did you mean {near!r}?" if near else ""
        raise CommandError(
            f"given {_shown(given)}, allowed: {', '.join(LEVELS)}{meant}; for example debug, or "
            '{"level": "debug", "transaction": 7}'
        )
    logging.getLogger("navibridge").setLevel(level.upper())
    return {"level": level}


def _shown(given: Any) -> str:
    """The beginning of what was given."""
    text = given if isinstance(given, str) else orjson.dumps(given).decode()
    if not text:
        return "nothing"
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")
