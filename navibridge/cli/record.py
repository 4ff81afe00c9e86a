"""`navibridge record`: a CSV of the tank, one row per state.

The header is a contract that older files and their readers rely on (`docs/protocol/navilink.md` 13.1); further columns
only ever come after it. Two of its columns are the vendor's raw numbers, which the table's own codecs give back.
"""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: PLC0415, PLR0917, TC003

from __future__ import annotations

import csv
import math
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import orjson
import typer

from navibridge.cli.outcome import fail, limited, note, until_stopped
from navibridge.cli.settings import BrokerOption, ConfigOption, ForOption, load_quietly
from navibridge.errors import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from navibridge.broker import Message
    from navibridge.cli.observer import Known, Observer
    from navibridge.config import Config
    from navibridge.topics import Published


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the file: an attribute, in canonical units or as the vendor's raw number."""

    name: str
    attribute: str
    raw: bool = False


COLUMNS: Final = (
    Column("dhw_charge_percent", "tank_charge"),
    Column("operation_mode", "activity", raw=True),
    Column("dhw_temperature", "current_temperature", raw=True),
    Column("current_inst_power", "power"),
    Column("tank_upper_temp", "tank_upper_temperature"),
    Column("tank_lower_temp", "tank_lower_temperature"),
)
FURTHER: Final = (
    Column("dhw_temperature_c", "current_temperature"),
    Column("target_temperature_c", "target_temperature"),
)
HEADER: Final = ("timestamp", *(column.name for column in COLUMNS), "device", *(column.name for column in FURTHER))

MOST_WAITING: Final = 10_000
"""States that wait to be written while a bridge describes its devices; the oldest go first."""

LOOK_AGAIN: Final = 5.0
"""Seconds between two looks at which devices there are."""


def record(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Appended to; made when it is not there.")],
    config: ConfigOption = None,
    broker: BrokerOption = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="Only this device: its topic, id or name.")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option("--interval", metavar="SECONDS", min=1, help="Ask that often, and write no more rows than that."),
    ] = None,
    seconds: ForOption = None,
) -> None:
    """Record a tank's states in a CSV file.

    A row for each state, through the running bridge, else straight from the cloud. Timestamps are UTC, dhw_temperature
    is in half degrees Celsius, operation_mode the vendor's number.
    """
    settings = load_quietly(context, config, broker)
    with _opened(file) as text:
        rows = Rows(text, interval)
        until_stopped(_record(settings, rows, device, seconds))
    note(f"{counted(rows.written, 'row')} written to {file}")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The file at its end, its header in place; another header is refused."""
    try:
        with path.open("a+", newline="", encoding="utf-8") as text:
            text.seek(0)
            first = text.readline().rstrip("\r\n")
            if first and first != ",".join(HEADER):
                fail(f"{path} has another header, so nothing is added to it: {first[:100]}")
            if not first:
                csv.writer(text, lineterminator="\n").writerow(HEADER)
                text.flush()
            yield text
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} can not be written: {getattr(error, 'strerror', None) or error}")


class Rows:
    """Writes one row per state of a tank.

    Attributes:
        interval: least seconds between two rows of one device; ``None`` for a row per state.
        waiting: states that have come and are not written yet, with their device's topic.
        written: how many rows.
    """

    def __init__(self, text: TextIO, interval: float | None) -> None:
        self.interval = interval
        self.waiting: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=MOST_WAITING)
        self.written = 0
        self._text = text
        self._writer = csv.writer(text, lineterminator="\n")
        self._last: dict[str, str] = {}
        self._due: dict[str, float] = {}

    def heard(self, published: Published, message: Message) -> None:
        """Take a live state in; what was retained has been a row of an earlier recording, or is too old for one."""
        if published.of == "device" and published.what == "state" and message.payload and not message.retain:
            self.waiting.append((published.name, orjson.loads(message.payload)))

    def write(self, device: Known, state: Mapping[str, Any], now: float) -> None:
        """Add a row, unless that observation was written already or one was written too lately."""
        seen = str(state.get("seen_at") or "")
        if not seen or self._last.get(device.topic) == seen or now < self._due.get(device.topic, now):
            return
        self._last[device.topic] = seen
        if self.interval is not None:
            # A little early is not too early: the answers to regular questions do not come quite regularly.
            self._due[device.topic] = now + 0.9 * self.interval
        cells = (cell(device, state, column) for column in COLUMNS)
        further = (cell(device, state, column) for column in FURTHER)
        self._writer.writerow([timestamp(seen), *cells, device.topic, *further])
        self._text.flush()
        self.written += 1


def timestamp(seen: str) -> str:
    """UTC to the second, without an offset: what readers of the older files expect."""
    from datetime import UTC, datetime

    return datetime.fromisoformat(seen).astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def cell(device: Known, state: Mapping[str, Any], column: Column) -> str:
    """One value of a state document; empty for unknown."""
    from navibridge.state import is_temperature, to_celsius

    value, row = state.get(column.attribute), device.row(column.attribute)
    if value is None or row is None:
        return ""
    if state.get("temperature_unit") == "F" and is_temperature(row.quantity):
        value = to_celsius(float(value), row.quantity)
    if column.raw:
        # The first wire is the JSON status, whose numbers the header's names come from.
        return str(row.reads[0].codec.encode(value))
    return str(round(value, 1) if isinstance(value, float) else value)


def is_tank(device: Known) -> bool:
    """Whether a device has what the columns ask for."""
    table = device.table
    return table is not None and all(column.attribute in table.by_key for column in COLUMNS)


async def _record(config: Config, rows: Rows, wanted: str | None, seconds: float | None) -> None:
    from navibridge.cli.observer import some_bridge
    from navibridge.errors import LinkError

    async with some_bridge(config, "record", rows.heard) as observer:
        only = (await observer.find(wanted)).topic if wanted else None
        await limited(_keep_recording(observer, rows, only), seconds)
        if not rows.written:
            observer.raise_for_accounts("nothing was recorded")
            raise LinkError(
                "nothing was recorded: no tank has said anything",
                reason="silent",
                what_to_do="See with `navibridge devices` whether there is one, and record for longer.",
            )


async def _keep_recording(observer: Observer, rows: Rows, only: str | None) -> None:
    """Write what comes, and ask for more as often as wanted; at least once, so that the first row comes soon."""
    import asyncio

    loop = asyncio.get_running_loop()
    known: dict[str, Known] = {}
    next_question = loop.time()
    while True:
        if observer.online and observer.info.get("devices", {}).keys() - known.keys():
            known = {device.topic: device for device in await observer.devices()}
        tanks = {topic: device for topic, device in known.items() if only in (None, topic) and is_tank(device)}
        if tanks and next_question <= loop.time():
            next_question = loop.time() + rows.interval if rows.interval else math.inf
            for device in tanks.values():
                await observer.ask(device, 0)
        while rows.waiting:
            topic, state = rows.waiting.popleft()
            if topic in tanks:
                rows.write(tanks[topic], state, loop.time())
        pause = next_question - loop.time()
        await observer.wait_until(lambda: rows.waiting, max(0.0, min(pause, LOOK_AGAIN)))
