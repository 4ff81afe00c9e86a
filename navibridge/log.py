"""Logging: text or JSON lines to standard error, with every secret taken out before a line is made.

Secrets are taken out twice: those that are known by value (passwords of the configuration, tokens that `hide` was told)
in every form that they take in URLs, JSON and `repr`, and those known by their look (AWS keys and signatures, JSON web
tokens). E-mail addresses stay in DEBUG lines only.

A password may be a word that our own lines have, such as ``online``. What stands in the program, the text of a line
without its arguments, is nobody's secret and stays whole; whatever is filled in may come from anywhere, and there the
word is hidden. A hole where a word has to be tells the word all the same, so the configuration's check warns of it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TextIO
from urllib.parse import quote, quote_plus

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from navibridge.config import Log

HIDDEN: Final = "…"
"""What stands where a secret or an e-mail address stood."""

_SHORT: Final = 6
"""Characters; a secret with fewer is hidden only where it stands alone."""

_TINY: Final = 4
_LONGEST_WORD: Final = 13
_BY_LOOK: Final = re.compile(
    r"(?P<kept>(?i:X-Amz-(?:Signature|Security-Token|Credential))=)[^&\s\"'<>]+"  # signed URLs
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"  # AWS access key ids
    r"|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"  # JSON web tokens
)
_EMAIL: Final = re.compile(r"[^\s@'\"<>()\[\]{},;:/=?&]{1,64}(?:@|%40)[A-Za-z0-9][A-Za-z0-9.-]*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x80-\x9f\u2028\u2029]")


def is_plain(secret: str) -> bool:
    """Whether a secret may be told by the hole that hiding it leaves.

    That is one of fewer than 4 characters, a word of up to 13 letters, and a number of up to 5 digits.
    """
    if len(secret) < _TINY or (secret.isdigit() and len(secret) < _SHORT):
        return True
    return len(secret) <= _LONGEST_WORD and secret.isalpha() and secret[1:] in (secret[1:].lower(), secret.upper()[1:])


def redact(text: str, secrets: Iterable[str] = (), *, emails: bool = True) -> str:
    """A text without the given secrets, without what looks like one, and without e-mail addresses."""
    text = _by_look(_pattern(frozenset(secrets)).sub(HIDDEN, text))
    return _EMAIL.sub(HIDDEN, text) if emails else text


def _by_look(text: str) -> str:
    return _BY_LOOK.sub(lambda match: (match["kept"] or "") + HIDDEN, text)


@lru_cache(maxsize=8)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    """What matches any of the secrets in any spelling; a very short one only where it stands alone."""
    spellings = {
        spelling
        for secret in secrets
        if secret
        for spelling in (
            secret,
            quote(secret, safe="", errors="replace"),
            quote_plus(secret, errors="replace"),
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            repr(secret)[1:-1],
            repr(secret.encode(errors="replace"))[2:-1],
        )
    }
    longest_first = sorted(spellings, key=len, reverse=True)
    alone = (rf"(?<!\w){re.escape(word)}(?!\w)" if len(word) < _SHORT else re.escape(word) for word in longest_first)
    return re.compile("|".join(alone) if spellings else r"(?!)")


_granted: dict[str, tuple[frozenset[str], ...]] = {}


def hide(whose: str, secrets: Iterable[str]) -> None:
    """Have these hidden in every log from now on, in place of what was granted to the same one before the last time.

    Args:
        whose: the account.
        secrets: tokens and keys.
    """
    newest = frozenset(secrets)
    earlier = (granted for granted in _granted.get(whose, ()) if granted != newest)  # told twice is granted once
    _granted[whose] = (newest, *earlier)[:2]


class Redactor(logging.Filter):
    """A filter for handlers that takes the secrets out of a record: message, traceback and stack.

    Args:
        secrets: texts that may never be seen, besides those that `hide` was told.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = frozenset(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record, once however many handlers it meets; it is always let through."""
        if vars(record).get("redactor") is self:
            return True  # our own text can not be told any longer from what has been filled in
        vars(record)["redactor"] = self
        try:
            message = self._message(record)
        except Exception:  # noqa: BLE001 - whatever a wrong log call does, it must not reach the code that made it
            text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            message = self._clean(f"{text} (its arguments do not fit)", record)
        record.msg, record.args = message, None
        if record.exc_info and record.exc_text is None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = self._clean(record.exc_text, record)
        if record.stack_info:
            record.stack_info = self._clean(record.stack_info, record)
        return True

    def _message(self, record: logging.LogRecord) -> str:
        args = record.args
        if not args:
            return self._clean(str(record.msg), record)
        clean = partial(self._clean, record=record)
        seen = tuple(_seen(arg, clean) for arg in args) if isinstance(args, tuple) else _Clean(args, clean)
        # By its look a secret may be known across the arguments' borders.
        return redact(str(record.msg) % seen, emails=record.levelno > logging.DEBUG)

    def _clean(self, text: str, record: logging.LogRecord) -> str:
        granted = (secrets for generations in _granted.values() for secrets in generations)
        return redact(text, self._secrets.union(*granted), emails=record.levelno > logging.DEBUG)


class _Clean:
    """An argument of a log call as it may be seen; of a mapping, its values by name as well."""

    def __init__(self, argument: Any, clean: Callable[[str], str]) -> None:
        self._argument = argument
        self._clean = clean

    def __str__(self) -> str:
        return self._clean(str(self._argument))

    def __repr__(self) -> str:
        return self._clean(repr(self._argument))

    def __getitem__(self, name: str) -> object:
        return _seen(self._argument[name], self._clean)


def _seen(argument: object, clean: Callable[[str], str]) -> object:
    return argument if isinstance(argument, int | float) else _Clean(argument, clean)


class _TextLines(logging.Formatter):
    """Lines for people. A message is one line: a device's name with a line break in it can not forge another."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's own name and arguments
        return datetime.fromtimestamp(record.created).astimezone().isoformat(sep=" ", timespec="milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return _CONTROL.sub(lambda match: repr(match[0])[1:-1], super().formatMessage(record))


class _JsonLines(logging.Formatter):
    """One JSON object per line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_text or record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]
        if record.stack_info:
            line["stack"] = record.stack_info
        # JSON has no lone surrogates, and a log line must not fail for one.
        return orjson.dumps({name: _encodable(text) for name, text in line.items()}).decode()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


class _Forward(logging.Handler):
    """Hands lines on instead of writing them."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__(logging.WARNING)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._take(self.format(record).encode())
        except Exception:  # noqa: BLE001 - logging's own way with what goes wrong in a handler
            self.handleError(record)


class _Lines(logging.StreamHandler[TextIO]):
    """The handler that `set_up` installs, so that it can find it again."""


@contextmanager
def forwarded(redactor: Redactor, take: Callable[[bytes], None]) -> Iterator[None]:
    """Within the block, hand each line of WARNING and above on as JSON as well.

    Args:
        redactor: of `set_up`; takes the secrets out.
        take: told of each line, on whatever thread it was logged.
    """
    handler = _Forward(take)
    handler.setFormatter(_JsonLines())
    handler.addFilter(redactor)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def set_up(log: Log, secrets: Iterable[str] = (), stream: TextIO | None = None) -> Redactor:
    """Log as configured, in place of what an earlier call set up.

    The bridge's own loggers get the configured level; libraries are heard from WARNING on, with ``debug`` from INFO.

    Args:
        log: the configuration's section.
        secrets: texts that may never be seen, such as `navibridge.config.Config.secrets`.
        stream: where lines go; standard error by default.

    Returns:
        The filter that takes secrets out, for other handlers and for secrets that turn up later.
    """
    redactor = Redactor(secrets)
    lines = _Lines(stream or sys.stderr)
    lines.setFormatter(_JsonLines() if log.format == "json" else _TextLines())
    lines.addFilter(redactor)
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _Lines)]:
        root.removeHandler(earlier)
    root.addHandler(lines)
    level = logging.getLevelNamesMapping()[log.level.upper()]
    logging.getLogger("navibridge").setLevel(level)
    root.setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
    return redactor
