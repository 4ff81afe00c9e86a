"""What is known of each device, and since when. Pure: the clock is handed in.

A reading merges into its device's state attribute by attribute, and an older observation never overwrites a newer one:
batch readings arrive minutes late. The document that is published is made from the state alone, so that it can be made
again at any time, and nothing has to be queued while the broker is away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from navibridge.model import Attribute, Quantity, Range, Sort

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from navibridge.model import Device, Raw, Reading, Source, Value, Values

TemperatureUnit = Literal["C", "F"]

LONGEST_GAP: Final = 300.0
"""Energy is integrated over gaps between frames of at most this many seconds; over a longer one nobody knows."""

EARLIEST: Final = 5.0
"""A stamp from further ahead than this many seconds is of a clock that was set back since."""

MOST_UNKNOWN: Final = 64
"""How many unknown fields of one device are kept under ``raw``."""

BESIDES: Final = ("problem", "problem_text", "temperature_unit", "seen_at", "stale", "source")
"""What a document has of plain values, besides the device's attributes."""

NO_PROBLEM: Final = "No problem"
LONGEST_TEXT: Final = 255
"""Home Assistant cuts the state of a text sensor off after this many characters (`home-assistant.md` 3.3)."""


@dataclass(frozen=True, slots=True)
class Display:
    """How a device is shown; its owner's choice.

    Attributes:
        stale_after: seconds without a sign of life after which it is offline.
        unit: of its temperatures.
        raw: whether unknown fields are shown too.
    """

    stale_after: float = 180.0
    unit: TemperatureUnit = "C"
    raw: bool = False


@dataclass(slots=True)
class DeviceState:
    """One device, what it said, and when.

    Attributes:
        device: the device as its account described it last.
        account: the account it belongs to.
        display: how it is shown.
        values: the newest value of each attribute, derived ones included.
        stamps: when each was observed, seconds since the epoch.
        confirmed: when each was known to hold still, if that is later.
        seen_at: when anything was observed last; ``None`` before the first reading.
        source: how the newest reading came.
        present: what the cloud, or the device's silence, says of its connection.
        reason: why it is not present.
        unknown: raw fields and values that no table lists.
        fades_at: when the next value will have been shown for too long, though the device speaks.
        faded: the attributes that have been.
    """

    device: Device
    account: str
    display: Display = Display()
    values: dict[str, Value] = field(default_factory=dict)
    stamps: dict[str, float] = field(default_factory=dict)
    confirmed: dict[str, float] = field(default_factory=dict)
    seen_at: float | None = None
    source: Source | None = None
    present: bool = True
    reason: str = ""
    unknown: dict[str, Raw] = field(default_factory=dict)
    fades_at: float = math.inf
    faded: frozenset[str] = frozenset()

    def merge(self, reading: Reading, now: float) -> frozenset[str]:
        """Take a reading in; returns the raw names that are unknown and kept from here on."""
        latest = now + EARLIEST
        # Nothing is observed later than now: a cloud whose clock is ahead would make it look alive for as much longer.
        at = min(reading.at, now)
        before = dict(self.values)
        # A stamp from ahead of now is of a clock that was set back since: it must not keep out what comes now.
        fresh = {
            key: value
            for key, value in reading.values.items()
            if at >= (stamp := self.stamps.get(key, 0.0)) or stamp > latest
        }
        for counter, power in self._counters():
            self._integrate(counter, power, fresh, at)
        self.values.update(fresh)
        self.stamps.update(dict.fromkeys(fresh, at))
        for key in fresh:
            self.confirmed.pop(key, None)
        self.values.update(self.device.kind.derive(before, self.values))
        if self.seen_at is None or at >= self.seen_at or self.seen_at > latest:
            self.seen_at, self.source = at, reading.source
        new = set()
        for name, raw in reading.unknown.items():
            if name not in self.unknown:
                if len(self.unknown) >= MOST_UNKNOWN:
                    continue
                new.add(name)
            self.unknown[name] = raw
        return frozenset(new)

    def confirm(self, values: Values, at: float, now: float) -> bool:
        """These values held at that time still; returns whether that shows one of them again, or for the first time.

        The order of observations stays: what was seen before that time, and is told only later, is news all the same.
        A value that is another one here, and known to be so for an earlier time only, is taken in: it was told when
        another account showed the device, or with an observation that was too old for it.
        """
        at = min(at, now)
        other = {}
        for key, value in values.items():
            if self.values.get(key) != value:
                if at <= max(self.stamps.get(key, 0.0), self.confirmed.get(key, 0.0)):
                    continue
                other[key] = value
                self.stamps.setdefault(key, at)
            self.confirmed[key] = max(at, self.confirmed.get(key, at))
        if other:
            before = dict(self.values)
            self.values.update(other)
            self.values.update(self.device.kind.derive(before, self.values))
        return bool(other) or not self.faded.isdisjoint(values)

    def _counters(self) -> Iterable[tuple[str, str]]:
        return ((row.key, row.integrates) for row in self.device.attributes if row.integrates)

    def _integrate(self, counter: str, power: str, fresh: Values, at: float) -> None:
        """Add the energy of the time since the last frame: the power that stood until now, held (left Riemann sum)."""
        if counter in fresh or power not in fresh:
            return
        total = self.values.get(counter)
        watts, since = self.values.get(power), self.stamps.get(power)
        energy = float(total) if isinstance(total, int | float) else 0.0
        if isinstance(watts, int | float) and since is not None and 0 < at - since <= LONGEST_GAP:
            energy += max(0.0, float(watts)) * (at - since) / 3_600_000
        self.values[counter] = energy
        self.stamps[counter] = at

    def counters(self) -> dict[str, float]:
        """The energy counters, for keeping over a restart."""
        return {
            key: float(value) for key, _ in self._counters() if isinstance(value := self.values.get(key), int | float)
        }

    def restore(self, counters: Mapping[str, Any]) -> None:
        """Go on counting from what was kept; anything but numbers is left out."""
        for key, _ in self._counters():
            kept = counters.get(key)
            if isinstance(kept, int | float) and kept >= 0 and key not in self.values:
                self.values[key] = float(kept)

    def stale(self, now: float) -> bool:
        """Whether nothing has been seen for too long; a time too far ahead tells nothing, the clock was set back."""
        return self.seen_at is None or abs(now - self.seen_at) > self.display.stale_after

    def shift(self, step: float) -> None:
        """The clock was set, by so many seconds: everything is as old as it was before."""
        if self.seen_at is not None:
            self.seen_at += step
        self.stamps = {key: stamp + step for key, stamp in self.stamps.items()}
        self.confirmed = {key: at + step for key, at in self.confirmed.items()}
        self.fades_at += step

    def live(self, now: float) -> Values:
        """The values as they may be shown: without those that nobody has told or confirmed for too long."""
        timeout = self.display.stale_after
        self.fades_at, faded = math.inf, []
        for key, lasts in self.device.kind.fading:
            stamp = self.stamps.get(key)
            if stamp is None or self.values.get(key) is None:
                continue
            until = max(stamp, self.confirmed.get(key, stamp)) + max(lasts, timeout)
            if now > until:
                faded.append(key)
            elif until < self.fades_at:
                self.fades_at = until
        self.faded = frozenset(faded)
        if not faded:
            return self.values
        left = {**self.values, **dict.fromkeys(faded)}
        return {**left, **self.device.kind.derive(self.values, left)}

    def available(self, now: float) -> bool:
        """Whether the device's values are worth showing: it is there, and it spoke lately."""
        return self.present and not self.stale(now)

    def problems(self, values: Values, now: float) -> list[str]:
        """Every alert that these values raise, as a sentence; the device's absence among them."""
        sentences = [sentence for alert in self.device.alerts if (sentence := alert.check(values))]
        if not self.available(now):
            why = self.reason if not self.present and self.reason else "nothing was heard of it for too long"
            sentences.insert(0, f"Device offline: {why}")
        return sentences

    def document(self, now: float) -> dict[str, Any]:
        """The state document: one flat object, every announced attribute present, ``None`` for unknown."""
        unit = self.display.unit
        if self.available(now):
            values = self.live(now)
        else:
            # A device that is gone shows what it said last, and that it is gone; nothing of that fades.
            values, self.fades_at = self.values, math.inf
        problems = self.problems(values, now)
        document: dict[str, Any] = {
            row.key: shown(values.get(row.key), row.quantity, unit)
            for row in self.device.attributes
            if row.quantity.sort is not Sort.ACTION
        }
        document["problem"] = bool(problems)
        document["problems"] = problems
        document["problem_text"] = "; ".join(problems)[:LONGEST_TEXT] or NO_PROBLEM
        document["temperature_unit"] = unit
        document["seen_at"] = iso(self.seen_at) if self.seen_at is not None else None
        document["stale"] = self.stale(now)
        document["source"] = self.source
        if self.display.raw:
            document["raw"] = dict(self.unknown)
        return document


def shown(value: Value, quantity: Quantity, unit: TemperatureUnit = "C") -> Value:
    """A value as it is published: in the chosen unit, with as many digits as it is worth."""
    if isinstance(value, float):
        if unit == "F":
            value = to_fahrenheit(value, quantity)
        if quantity.digits is not None:
            rounded = round(value, quantity.digits)
            return int(rounded) if quantity.digits == 0 else rounded
        return value
    if unit == "F" and isinstance(value, int) and not isinstance(value, bool):
        return shown(float(value), quantity, unit) if is_temperature(quantity) else value
    return value


def is_temperature(quantity: Quantity) -> bool:
    """Whether the unit choice of the configuration concerns it; differences included."""
    return quantity.unit in ("°C", "K")


def to_fahrenheit(value: float, quantity: Quantity) -> float:
    """A canonical temperature in °F, a difference in °F without the 32; anything else as it is."""
    if quantity.unit == "°C":
        return value * 9 / 5 + 32
    return value * 9 / 5 if quantity.unit == "K" else value


def to_celsius(value: float, quantity: Quantity) -> float:
    """The inverse of `to_fahrenheit`."""
    if quantity.unit == "°C":
        return (value - 32) * 5 / 9
    return value * 5 / 9 if quantity.unit == "K" else value


def in_unit(attribute: Attribute, unit: TemperatureUnit) -> Attribute:
    """A resolved attribute as it is published and commanded: in °F its unit, limits and step are so too."""
    quantity = attribute.quantity
    if unit == "C" or not is_temperature(quantity):
        return attribute
    limits = attribute.limits
    return replace(
        attribute,
        quantity=replace(quantity, unit="°F"),
        within=limits and Range(to_fahrenheit(limits.low, quantity), to_fahrenheit(limits.high, quantity)),
        step=attribute.step * 9 / 5 if isinstance(attribute.step, int | float) else attribute.step,
    )


def iso(at: float) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


class Cache:
    """The state of every device, and which of them have changed since they were published last.

    The cache is the queue between the clouds and the broker: it holds one document per device however long the broker
    is away, and a reconnect is `mark_all`.
    """

    def __init__(self) -> None:
        self._states: dict[str, DeviceState] = {}
        self._changed: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._states))

    def values(self) -> Iterator[DeviceState]:
        """Every device's state."""
        return iter(tuple(self._states.values()))

    def items(self) -> tuple[tuple[str, DeviceState], ...]:
        """Every device's key and state."""
        return tuple(self._states.items())

    def get(self, key: str) -> DeviceState | None:
        """The state of the device of that key."""
        return self._states.get(key)

    def put(self, key: str, device: Device, account: str, display: Display = Display()) -> DeviceState:
        """A device, new or described anew; what is known of it stays."""
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = DeviceState(device, account)
        state.device, state.account, state.display = device, account, display
        self.mark(key)
        return state

    def drop(self, key: str) -> DeviceState | None:
        """Forget a device."""
        self._changed.pop(key, None)
        return self._states.pop(key, None)

    def mark(self, key: str) -> None:
        """Its document has to be published."""
        self._changed[key] = None

    def mark_all(self) -> None:
        """Every document has to be published."""
        self._changed = dict.fromkeys(self._states)

    def take_changed(self) -> tuple[tuple[str, DeviceState], ...]:
        """The devices to publish, in the order they changed; they count as published from here on."""
        changed, self._changed = self._changed, {}
        return tuple((key, self._states[key]) for key in changed if key in self._states)
