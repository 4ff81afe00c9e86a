"""The life of a command, from a payload to its one verdict. Pure: the clock is handed in.

A command is read and checked completely before anything leaves the house, then it waits in its device's queue, where a
newer value of the same attribute supersedes the older, until it is sent or its time to live is over.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge.errors import CommandError
from navibridge.state import in_unit, is_temperature, iso, shown, to_celsius

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.model import Device, Scalar, Values
    from navibridge.state import TemperatureUnit

LONGEST_PAYLOAD: Final = 4096
"""Bytes of a command's payload; a longer one is rejected unread."""

LONGEST_ID: Final = 128
"""Characters of a sender's own id for a command."""

SHORTEST_TTL: Final = 1.0
LONGEST_TTL: Final = 3600.0
"""Limits of the ``ttl`` a sender may ask for, in seconds."""


class Verdict(StrEnum):
    """The end of a command; each command has exactly one."""

    APPLIED = "applied"  # the device confirmed
    REJECTED = "rejected"  # never sent
    REFUSED = "refused"  # the device or the cloud said no
    SUPERSEDED = "superseded"  # a newer value of every attribute came before it was sent
    EXPIRED = "expired"  # its time to live was over before it could be sent
    UNCONFIRMED = "unconfirmed"  # sent, and no answer came


@dataclass(frozen=True, slots=True)
class Reply:
    """Where an MQTT 5 sender wants the verdict as well."""

    topic: str
    correlation: bytes | None = None


@dataclass(slots=True)
class Command:
    """A checked command on its way.

    Attributes:
        device_id: the device's key in the cache.
        changes: attribute key to canonical value; what a newer command superseded is taken out.
        arrived: when it came, by the wall clock.
        expires: when its time to live is over, by the monotonic clock.
        id: the sender's own name for it, echoed.
        reply: where else the verdict goes.
        started: by the monotonic clock, for `took_ms`.
        sent: the same of the moment when the first of it left the house.
        superseded: keys that a newer command took over.
        done: keys that the device has confirmed.
        confirmed: every value that the device confirmed for it.
    """

    device_id: str
    changes: dict[str, Scalar]
    arrived: float
    expires: float
    id: str | int | None = None
    reply: Reply | None = None
    started: float = 0.0
    sent: float | None = None
    superseded: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    confirmed: dict[str, Any] = field(default_factory=dict)

    @property
    def remaining(self) -> dict[str, Scalar]:
        """The changes that the device has not confirmed yet."""
        return {key: value for key, value in self.changes.items() if key not in self.done}


@dataclass(frozen=True, slots=True)
class Request:
    """A command's payload, read but not checked against a device yet."""

    changes: Mapping[str, object]
    id: str | int | None = None
    ttl: float | None = None


def read_object(payload: bytes) -> Request:
    """A ``.../set`` payload: a JSON object of changes, optionally with ``id`` (or ``transaction``) and ``ttl``.

    Raises:
        CommandError: what is wrong with it.
    """
    text = _text(payload)
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"not JSON: {error}", code="invalid_json") from error
    if not isinstance(document, dict):
        raise CommandError(
            f'a JSON object of changes is needed, such as {{"attribute": value}}, not {_SORTS[type(document)]}',
            code="invalid_json",
        )
    changes = {key: value for key, value in document.items() if key not in ("id", "transaction", "ttl")}
    ident = _id(document.get("id", document.get("transaction")))
    if not changes:
        raise CommandError("there is no change in it", code="invalid_json", id=ident)
    return Request(changes, ident, _ttl(document.get("ttl"), ident))


def read_value(attribute: str, payload: bytes) -> Request:
    """A ``.../set/<attribute>`` payload: a plain value, or the same as a JSON scalar.

    Raises:
        CommandError: what is wrong with it.
    """
    text = _text(payload).strip()
    given: object = text
    if text.startswith(('"', "{", "[")):
        try:
            given = orjson.loads(text)
        except orjson.JSONDecodeError:
            given = text
        if isinstance(given, dict | list):
            raise CommandError(
                f"{attribute}: a plain value is needed here; objects go to the topic without the attribute",
                code="invalid_value",
            )
    return Request({attribute: given})


_SORTS: Final = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a flag", type(None): "null"}
"""What stands where an object should."""


def _text(payload: bytes) -> str:
    if len(payload) > LONGEST_PAYLOAD:
        raise CommandError(
            f"the payload has {len(payload)} bytes; at most {LONGEST_PAYLOAD} are read", code="too_large"
        )
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"the payload is not UTF-8: {error.reason}", code="invalid_encoding") from error


def _id(given: object) -> str | int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    if isinstance(given, str) and len(given) <= LONGEST_ID:
        return given
    raise CommandError(f"id: a text of at most {LONGEST_ID} characters or a whole number", code="invalid_value")


def _ttl(given: object, ident: str | int | None) -> float | None:
    if given is None:
        return None
    if isinstance(given, int | float) and not isinstance(given, bool) and SHORTEST_TTL <= given <= LONGEST_TTL:
        return float(given)
    raise CommandError(
        f"ttl: {given!r} is not {SHORTEST_TTL:g} to {LONGEST_TTL:g} seconds", code="invalid_value", id=ident
    )


def check(device: Device, request: Request, unit: TemperatureUnit) -> dict[str, Scalar]:
    """The canonical changes of a request, in °C whatever the sender's unit.

    Raises:
        CommandError: naming every change that can not be made, in the sender's own unit.
    """
    checked = replace(device, attributes=tuple(in_unit(row, unit) for row in device.attributes)).check(request.changes)
    if unit == "C":
        return checked
    canonical: dict[str, Scalar] = {}
    for key, value in checked.items():
        row = device.attribute(key)
        if row is None or not is_temperature(row.quantity):
            canonical[key] = value
            continue
        # The device's grid is in °C: snap what was given, not what the °F limits made of it.
        names = (key, *row.aliases)
        given = next(request.changes[name] for name in names if name in request.changes)
        canonical[key] = row.check(to_celsius(float(str(given)), row.quantity))
    return canonical


@dataclass(frozen=True, slots=True)
class Result:
    """A command's verdict.

    Attributes:
        verdict: one of the six.
        changes: what was asked for, as understood; as given, when it was rejected.
        reason: a sentence for people; empty when there is nothing to say.
        code: the same for machines, from a closed list.
        values: what the device confirmed.
        took: seconds since it came.
        age: seconds since it was sent: so old the confirmed values are at most.
        reply: where else it is published.
    """

    verdict: Verdict
    changes: Mapping[str, object]
    id: str | int | None = None
    reason: str = ""
    code: str = ""
    values: Values = field(default_factory=dict)
    took: float = 0.0
    age: float = 0.0
    reply: Reply | None = None

    def document(self, at: float, device: Device | None = None, unit: TemperatureUnit = "C") -> dict[str, Any]:
        """The result as it is published; ``event_type`` repeats the verdict for Home Assistant's event entity."""
        return {
            "event_type": self.verdict,
            "id": self.id,
            "changes": _in_unit(self.changes, device, unit) if self.verdict is not Verdict.REJECTED else self.changes,
            "verdict": self.verdict,
            "reason": self.reason,
            "code": self.code or None,
            "values": _in_unit(self.values, device, unit),
            "took_ms": round(self.took * 1000),
            "at": iso(at),
        }


def _in_unit(values: Mapping[str, Any], device: Device | None, unit: TemperatureUnit) -> dict[str, Any]:
    if device is None:
        return dict(values)
    rows = {key: device.attribute(key) for key in values}
    return {key: shown(value, row.quantity, unit) if (row := rows[key]) else value for key, value in values.items()}


def ended(command: Command, verdict: Verdict, now: float, reason: str = "", code: str = "") -> Result:
    """The result of a command that has come to its end; says too what else became of it."""
    parts = [reason] if reason else []
    if command.superseded and verdict is not Verdict.SUPERSEDED:
        parts.append(f"superseded by a newer command: {', '.join(command.superseded)}")
    if command.done and verdict is not Verdict.APPLIED:
        parts.append(f"already applied: {', '.join(sorted(command.done))}")
    return Result(
        verdict=verdict,
        changes=dict(command.changes),
        id=command.id,
        reason="; ".join(parts),
        code=code,
        values=dict(command.confirmed),
        took=max(0.0, now - command.started),
        age=max(0.0, now - command.sent) if command.sent is not None else 0.0,
        reply=command.reply,
    )


class Queue:
    """The commands of one device that have not been sent yet, oldest first; bounded."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: deque[Command] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, command: Command, now: float) -> list[Result]:
        """Take a command in; returns the verdicts of those that it supersedes.

        Raises:
            CommandError: the queue is full, even after superseding.
        """
        # Nothing is taken from the older ones for a newer one that does not get in itself.
        staying = sum(not older.changes.keys() <= command.changes.keys() for older in self._waiting)
        if staying >= self._size:
            raise CommandError(
                f"{self._size} commands for this device are waiting already; try again when they are done",
                code="queue_full",
            )
        results = []
        for older in tuple(self._waiting):
            for key in command.changes.keys() & older.changes.keys():
                if len(older.changes) == 1:
                    self._waiting.remove(older)
                    newer = f"a newer command for {', '.join([*older.superseded, key])} came before it was sent"
                    results.append(ended(older, Verdict.SUPERSEDED, now, newer))
                    break
                del older.changes[key]
                older.superseded.append(key)
        self._waiting.append(command)
        return results

    def expire(self, now: float) -> list[Result]:
        """Take out what has outlived its time; returns the verdicts."""
        results = []
        for command in tuple(self._waiting):
            if now >= command.expires:
                self._waiting.remove(command)
                late = "its time to live was over before it could be sent"
                results.append(ended(command, Verdict.EXPIRED, now, late, "expired"))
        return results

    def next(self) -> Command | None:
        """Take out the oldest."""
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, command: Command) -> None:
        """Return one that could not be sent to the head of the queue."""
        self._waiting.appendleft(command)

    def soonest(self) -> float | None:
        """When the next one expires, by the monotonic clock."""
        return min((command.expires for command in self._waiting), default=None)
