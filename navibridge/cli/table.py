"""Values and tables as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAP: Final = "  "
DIGITS: Final = 3
UNKNOWN: Final = "\N{EN DASH}"


def shown(value: Any, unit: str | None = None) -> str:
    """One value as people read it; unknown is a dash."""
    match value:
        case None:
            text = UNKNOWN
        case bool():
            text = "on" if value else "off"
        case float():
            text = f"{round(value, DIGITS):.10g}"
        case str():
            text = value
        case _:
            text = as_json(value)
    return f"{text} {unit}" if unit and value is not None else text


def as_json(value: Any, *, pretty: bool = False) -> str:
    """JSON text of a value."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else None).decode()


def aligned(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> list[str]:
    """The rows as lines with their columns below each other; nothing but the head for no rows."""
    lines = [*([head] if head else []), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    return [GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def lasted(seconds: float) -> str:
    """A length of time in its two largest units, such as ``3 min 5 s``."""
    whole = max(0, round(seconds))
    for unit, size, below, step in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // step} {below}"
    return f"{whole} s"
