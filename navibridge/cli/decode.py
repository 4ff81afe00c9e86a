"""`navibridge decode`: a payload taken apart, field by field."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: FBT002, PLC0415, TC001

from __future__ import annotations

import base64
import binascii
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from navibridge.cli.outcome import Code, fail
from navibridge.cli.settings import JsonOption
from navibridge.cli.table import aligned, as_json, shown
from navibridge.errors import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from navibridge.model import Explained, ExplainedField

_HEX: Final = re.compile(r"(?:0x)?[0-9a-f]{2}(?:[\s:,-]*(?:0x)?[0-9a-f]{2})*", re.IGNORECASE)
_BETWEEN_BYTES: Final = re.compile(r"0x|[\s:,-]", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


class Unreadable(ValueError):
    """Neither JSON, hex nor base64."""


def decode(
    vendor: Annotated[str, typer.Argument(metavar="VENDOR", help="Whose payload it is, such as navilink.")],
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT", help="The payload: JSON, hex or base64; @FILE reads a file, nothing or - standard input."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Read a file: one payload per line.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Explain a payload, field by field.

    One payload per line, or one JSON document over several lines. The exit code is 1 if one can not be decoded.
    """
    from navibridge import vendors

    if vendor not in vendors.names():
        raise typer.BadParameter(f"{vendor!r} is not one of {', '.join(vendors.names())}", param_hint="VENDOR")
    if text is not None and file is not None:
        raise typer.BadParameter("give a payload or a file, not both")
    explain = vendors.load(vendor).explain
    whole = True
    for number, payload in enumerate(_payloads(_source(text, file))):
        if not json and number:
            typer.echo()
        whole &= _show(payload, explain, as_lines=json)
    if not whole:
        raise typer.Exit(Code.FAILED)


def _source(text: str | None, file: Path | None) -> bytes:
    if text is not None and text.startswith("@"):
        file = Path(text[1:])
    try:
        if file is not None:
            return file.read_bytes()
        if text is not None and text != "-":
            return text.encode(errors="surrogateescape")
        return b"" if sys.stdin is None else sys.stdin.buffer.read()  # None where the shell has closed it
    except OSError as error:
        fail(f"{file or 'standard input'} can not be read: {error.strerror or error}")


def _show(payload: bytes | Unreadable, explain: Callable[[bytes], Explained], *, as_lines: bool) -> bool:
    """Print one payload; whether it could be decoded."""
    from navibridge.errors import FrameError

    try:
        if isinstance(payload, Unreadable):
            raise payload
        explained = explain(payload)
    except (FrameError, Unreadable) as error:
        typer.echo(as_json({"error": str(error)}) if as_lines else f"error: {error}")
        return False
    typer.echo(as_json(_object(explained)) if as_lines else "\n".join(_lines(explained)))
    return True


# ------------------------------------------------------------------------------------------------ payloads of a text


def _payloads(source: bytes) -> Iterator[bytes | Unreadable]:
    """The payloads of whatever was given: one JSON document over several lines, or one payload per line."""
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if _CONTROL.search(text):
        yield source  # raw bytes, such as a file with one binary frame
    elif not text.strip():
        yield Unreadable("there is nothing to decode")
    elif _is_json(text):
        yield from _of_line(text)
    else:
        for line in text.splitlines():
            if line.strip():
                yield from _of_line(line)


def _is_json(text: str) -> bool:
    """Whether all of it is one JSON document; devices are known to send raw line breaks inside of strings."""
    import json

    try:
        return isinstance(json.loads(text, strict=False), dict | list | str)
    except (ValueError, RecursionError):
        return False


def _of_line(line: str) -> Iterator[bytes | Unreadable]:
    import orjson

    line = line.strip()
    if line[:1] not in "{[\"'":
        yield _binary(line)
        return
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        # Hex and base64 in the quotes of a shell, or broken JSON; of the latter the vendor says what is wrong.
        yield _binary(line.strip("\"'")) if line[0] in "\"'" else line.encode()
        return
    if isinstance(document, str):
        yield _binary(document)
    elif isinstance(document, dict) and "payload" in document:
        yield from _wrapped(document["payload"])
    else:
        yield line.encode()


def _wrapped(payload: Any) -> Iterator[bytes | Unreadable]:
    """What stands under ``payload`` of a recording or a sample: the message itself, or its text, hex or base64."""
    import orjson

    if isinstance(payload, str):
        yield payload.encode() if _is_json(payload) else _binary(payload)
    elif isinstance(payload, dict):
        yield orjson.dumps(payload)
    else:
        yield Unreadable("what stands under payload is no message")


def _binary(text: str) -> bytes | Unreadable:
    if _HEX.fullmatch(text):
        return bytes.fromhex(_BETWEEN_BYTES.sub("", text))
    if _BASE64.fullmatch(text):
        try:
            return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            pass  # said below, with the other two
    shortened = text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004 - enough to find the line by
    return Unreadable(f"{shortened!r} is neither JSON nor hex nor base64")


# ------------------------------------------------------------------------------------------------------------ output


def _object(explained: Explained) -> dict[str, Any]:
    return {
        "frame": explained.frame,
        "device": explained.device,
        "fields": [_field(field) for field in explained.fields],
        "values": dict(explained.values),
    }


def _field(field: ExplainedField) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": field.name,
        "raw": field.raw,
        "value": field.value,
        "unit": field.unit,
        "attribute": field.attribute,
    }
    if field.offset is not None:
        fields["offset"] = field.offset
    return fields


def _lines(explained: Explained) -> list[str]:
    """The frame, a table of its fields, and the values it means."""
    binary = any(field.offset is not None for field in explained.fields)
    head = ("field", "raw", "value", "attribute")
    rows = [
        (
            field.name,
            _short(as_json(field.raw)),
            shown(field.value, field.unit) if field.value is not None else "",
            field.attribute or "",
        )
        for field in explained.fields
    ]
    if binary:
        head = ("offset", "bytes", *head)  # type: ignore[assignment]
        rows = [
            ("" if field.offset is None else str(field.offset), field.data.hex() if field.data else "", *row)  # type: ignore[misc]
            for field, row in zip(explained.fields, rows, strict=True)
        ]
    title = (
        f"{explained.frame} frame of {explained.device or 'no named device'}, {counted(len(explained.fields), 'field')}"
    )
    return [title, *aligned(rows, head)]


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a column's worth
