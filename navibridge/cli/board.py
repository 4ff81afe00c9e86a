"""What a bridge shows, live: a table on a terminal, otherwise a line for whatever changes."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import typer

from navibridge.cli.control import verdict_line
from navibridge.cli.table import UNKNOWN, lasted, shown
from navibridge.errors import CommandError, LinkError
from navibridge.model import Sort

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from navibridge.broker import Message
    from navibridge.cli.observer import Known, Observer
    from navibridge.model import Kind
    from navibridge.topics import Published

REDRAW: Final = 0.5
"""Seconds between two looks at the clock, for the ages; what changes is shown at once."""

NARROWEST: Final = 60
"""Columns; on a terminal with fewer, lines can be read and a table can not."""

MOST_VALUES: Final = 8
"""Values shown of one device."""

MOST_VERDICTS: Final = 5
"""Verdicts that stay below the table."""

_PASSING: Final = frozenset({"seen_at", "source", "stale", "problems", "problem_text", "temperature_unit", "raw"})
"""Keys whose changes are worth no line of their own."""


class Board:
    """The live view of one bridge.

    Attributes:
        states: how many state documents have come since the start.
        verdicts: how many verdicts, by verdict.
        first_values: when the first live state came, by the loop's time; ``None`` before.
    """

    def __init__(self) -> None:
        self.states = 0
        self.verdicts: dict[str, int] = {}
        self.first_values: float | None = None
        self._known: dict[str, Known] = {}
        self._printed: dict[str, Mapping[str, Any]] = {}
        self._printed_availability: dict[str, str] = {}
        self._printed_accounts: dict[str, Any] = {}
        self._recent: deque[str] = deque(maxlen=MOST_VERDICTS)
        self._unprinted: deque[str] = deque(maxlen=1000)
        self._changed = asyncio.Event()

    def heard(self, published: Published, message: Message) -> None:
        """Take note of one message; handed to `navibridge.cli.observer.observing`."""
        self._changed.set()
        if published.of != "device" or message.retain or not message.payload:
            return
        if published.what == "state":
            self.states += 1
            if self.first_values is None:
                self.first_values = asyncio.get_running_loop().time()
        elif published.what == "result":
            result = orjson.loads(message.payload)
            verdict = str(result.get("verdict"))
            self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
            line = verdict_line(published.name, result)
            self._recent.append(f"{_clock()} {line}")
            self._unprinted.append(line)

    async def show(self, observer: Observer) -> None:
        """Show what changes until cancelled.

        Raises:
            LinkError: the broker is gone.
        """
        if sys.stdout.isatty() and shutil.get_terminal_size().columns >= NARROWEST:
            await self._draw(observer)
        else:
            await self._print(observer)

    # ------------------------------------------------------------------ plain lines

    async def _print(self, observer: Observer) -> None:
        while True:
            self._changed.clear()
            await self._learn(observer)
            for line in self._lines(observer):
                typer.echo(f"{_clock()} {line}")
            await self._next(observer)

    def _lines(self, observer: Observer) -> list[str]:
        """What has not been printed yet."""
        lines = []
        for name, account in observer.accounts.items():
            if self._printed_accounts.get(name) != account.get("state"):
                self._printed_accounts[name] = account.get("state")
                detail = f": {account['detail']}" if account.get("detail") else ""
                lines.append(f"account {name}: {account.get('state')}{detail}")
        for topic, availability in observer.availability.items():
            if self._printed_availability.get(topic) != availability:
                self._printed_availability[topic] = availability
                lines.append(f"{topic}: {availability}")
        for topic, state in observer.states.items():
            known = self._known.get(topic)
            before = self._printed.get(topic)
            if known is None or state is before:
                continue
            self._printed[topic] = state
            keys = main_keys(known) if before is None else _telling(known, state)
            changed = [key for key in keys if before is None or before.get(key) != state.get(key)]
            if changed:
                lines.append(f"{topic}: {_words(known, state, changed)}")
        while self._unprinted:
            lines.append(self._unprinted.popleft())
        return lines

    # ------------------------------------------------------------------ the table

    async def _draw(self, observer: Observer) -> None:
        from rich.console import Console  # noqa: PLC0415 - only where something is drawn
        from rich.live import Live  # noqa: PLC0415 - only where something is drawn

        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                self._changed.clear()
                await self._learn(observer)
                live.update(self._table(observer), refresh=True)
                await self._next(observer)

    def _table(self, observer: Observer) -> Table:
        from rich.markup import escape  # noqa: PLC0415 - only where something is drawn
        from rich.table import Table  # noqa: PLC0415 - only where something is drawn

        table = Table(title=_title(observer), caption="\n".join(map(escape, self._recent)), caption_justify="left")
        for head in ("device", "name", "available", "age", "values"):
            table.add_column(head, overflow="fold")
        for topic, known in sorted(self._known.items()):
            state = observer.states.get(topic, {})
            available = observer.availability.get(topic, UNKNOWN)
            table.add_row(
                escape(topic),
                escape(known.name),
                f"[{'green' if available == 'online' else 'red'}]{available}[/]",
                age(state),
                escape(_words(known, state, main_keys(known)) if state else "nothing seen yet"),
            )
        return table

    # ------------------------------------------------------------------ both

    async def _learn(self, observer: Observer) -> None:
        """Have new devices described: which values are shown depends on their kind."""
        if observer.online and observer.info.get("devices", {}).keys() - self._known.keys():
            with suppress(LinkError, CommandError):  # a bridge that has just stopped; it is asked again when it is back
                self._known.update({device.topic: device for device in await observer.devices()})
        for topic in self._known.keys() - observer.info.get("devices", {}).keys():
            del self._known[topic]

    async def _next(self, observer: Observer) -> None:
        """Wait for news, or for the next look at the clock."""
        await observer.wait_until(self._changed.is_set, REDRAW)


def main_keys(device: Known) -> list[str]:
    """The values that are shown of a device: what is set and measured first, then what else is on by default."""
    table: Kind | None = device.table
    if table is None:
        return list(device.attributes[:MOST_VALUES])
    # A firmware is shown as one thing too, and is nobody's main value.
    shown_as_one = (composite for composite in table.composites if composite.component != "update")
    roles = [key for composite in shown_as_one for key in composite.roles.values()]
    measured = [
        row.key
        for row in table.attributes
        if row.enabled and row.category is None and not row.writes and row.quantity.sort in (Sort.NUMBER, Sort.OPTION)
    ]
    keys = dict.fromkeys([*(key for key in roles if table.by_key[key].quantity.sort is not Sort.FLAG), *measured])
    return [key for key in keys if key in device.attributes][:MOST_VALUES]


def _telling(device: Known, state: Mapping[str, Any]) -> list[str]:
    """The values whose changes are worth a line: what Home Assistant shows unasked, diagnostics aside."""
    rows = {key: device.row(key) for key in state if key not in _PASSING}
    return [key for key, row in rows.items() if row is None or (row.enabled and row.category != "diagnostic")]


def _words(device: Known, state: Mapping[str, Any], keys: list[str]) -> str:
    fahrenheit = state.get("temperature_unit") == "F"
    return ", ".join(
        f"{key.replace('_', ' ')} {shown(state.get(key), device.unit(key, 'F' if fahrenheit else 'C'))}" for key in keys
    )


def _title(observer: Observer) -> str:
    accounts = ", ".join(f"{name} {state.get('state')}" for name, state in observer.accounts.items())
    return f"bridge {'online' if observer.online else 'offline'}" + (f" · {accounts}" if accounts else "")


def age(state: Mapping[str, Any]) -> str:
    """How long ago a device was seen."""
    try:
        seen = datetime.fromisoformat(str(state.get("seen_at")))
    except ValueError:
        return UNKNOWN
    return lasted((datetime.now(UTC) - seen).total_seconds())


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
