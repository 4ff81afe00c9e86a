"""Devices as tables: what an attribute is, where it is read from, what may be written to it.

A vendor declares every attribute of its devices once, as one row::

    Attribute("target_temperature", "Target temperature", TEMPERATURE,
              reads=(Wire("status", "dhwTargetTemperatureSetting", HALF_CELSIUS),),
              writes=True, within=limits_of("dhw_temperature_min", "dhw_temperature_max"), step=0.5)

Decoding, the state document, discovery, the checks of a command, the `devices` command and the tables of the README
all come from that row. The unit of a raw number belongs to its *source* (`Wire`), never to the attribute: one
temperature may arrive as half degrees Celsius in JSON and as tenths of a degree Fahrenheit in a binary record.

Inside, values are in canonical units: degrees Celsius, %, W, kWh, V, A, L/min, L, dBm, s, h, d. This module is pure:
no I/O, no clock, no event loop.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from navibridge.errors import CommandError

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | None
"""A decoded value in canonical units; ``None`` is *unknown*, which is neither off nor zero."""

Values: TypeAlias = Mapping[str, Value]
Raw: TypeAlias = Any
"""One vendor field as it stood on the wire; its type is whatever JSON or a binary record gave."""

Source: TypeAlias = Literal["push", "poll", "batch", "ack"]
NOTHING: Final[Values] = MappingProxyType({})

FOREVER: Final = math.inf
"""How long a fact lasts, in seconds: a firmware's version, a limit, a counter."""


class Sort(StrEnum):
    """What kind of value an attribute holds."""

    NUMBER = "number"
    FLAG = "flag"  # true, false
    OPTION = "option"  # one of a list of words
    TEXT = "text"
    CODE = "code"  # a number that is a name: no arithmetic, no averages
    TIME = "time"  # ISO 8601, UTC
    ACTION = "action"  # nothing to read; writing it does something once


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a value measures: its sort, canonical unit and the classes Home Assistant knows it by.

    Attributes:
        sort: the kind of value.
        unit: canonical unit as published, ``None`` for what has none.
        device_class: Home Assistant's device class, where one fits.
        state_class: ``measurement``, ``total_increasing`` or ``None``.
        digits: decimal places worth showing and publishing.
    """

    sort: Sort
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = None
    digits: int | None = None


TEMPERATURE: Final = Quantity(Sort.NUMBER, "°C", "temperature", "measurement", 1)
TEMPERATURE_DELTA: Final = Quantity(Sort.NUMBER, "K", None, "measurement", 1)
PERCENT: Final = Quantity(Sort.NUMBER, "%", None, "measurement", 0)
HUMIDITY: Final = Quantity(Sort.NUMBER, "%", "humidity", "measurement", 0)
POWER: Final = Quantity(Sort.NUMBER, "W", "power", "measurement", 0)
ENERGY: Final = Quantity(Sort.NUMBER, "kWh", "energy", "total_increasing", 3)
STORED_ENERGY: Final = Quantity(Sort.NUMBER, "kWh", "energy_storage", "measurement", 3)
VOLTAGE: Final = Quantity(Sort.NUMBER, "V", "voltage", "measurement", 0)
CURRENT: Final = Quantity(Sort.NUMBER, "A", "current", "measurement", 2)
FLOW: Final = Quantity(Sort.NUMBER, "L/min", "volume_flow_rate", "measurement", 1)
WATER: Final = Quantity(Sort.NUMBER, "L", "water", "total_increasing", 0)
VOLUME: Final = Quantity(Sort.NUMBER, "L", "volume_storage", "measurement", 0)
GAS: Final = Quantity(Sort.NUMBER, "m³", "gas", "total_increasing", 1)
SIGNAL: Final = Quantity(Sort.NUMBER, "dBm", "signal_strength", "measurement", 0)
SECONDS: Final = Quantity(Sort.NUMBER, "s", "duration", "measurement", 0)
HOURS: Final = Quantity(Sort.NUMBER, "h", "duration", "measurement", 0)
HOURS_TOTAL: Final = Quantity(Sort.NUMBER, "h", "duration", "total_increasing", 0)
DAYS: Final = Quantity(Sort.NUMBER, "d", "duration", "measurement", 0)
SPEED: Final = Quantity(Sort.NUMBER, "rpm", None, "measurement", 0)
NUMBER: Final = Quantity(Sort.NUMBER, None, None, "measurement")
FLAG: Final = Quantity(Sort.FLAG)
RUNNING: Final = Quantity(Sort.FLAG, device_class="running")
HEAT: Final = Quantity(Sort.FLAG, device_class="heat")
PROBLEM: Final = Quantity(Sort.FLAG, device_class="problem")
CONNECTIVITY: Final = Quantity(Sort.FLAG, device_class="connectivity")
OPTION: Final = Quantity(Sort.OPTION, device_class="enum")
TEXT: Final = Quantity(Sort.TEXT)
CODE: Final = Quantity(Sort.CODE)
TIME: Final = Quantity(Sort.TIME, device_class="timestamp")
ACTION: Final = Quantity(Sort.ACTION)


class UnknownRaw(ValueError):
    """An enumerated raw value that no table lists; its attribute is unknown and the raw value is kept and logged."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one raw value becomes a decoded one, and back.

    Attributes:
        name: shown by the documentation tables, such as ``half °C``.
        decode: raw to value; raises `UnknownRaw` for an enumerated value it does not list, ``TypeError`` or
            ``ValueError`` for a raw value of the wrong type. Returns ``None`` for "not available".
        encode: the inverse.
    """

    name: str
    decode: Callable[[Raw], Value]
    encode: Callable[[Any], Raw]


@dataclass(frozen=True, slots=True)
class Wire:
    """One place an attribute is read from: a field of one form of frame.

    Attributes:
        form: the frame's form, such as ``status`` or ``packed``.
        name: the vendor's own name of the field.
        codec: the unit and format of the raw value *in this form*.
    """

    form: str
    name: str
    codec: Codec


@dataclass(frozen=True, slots=True)
class Range:
    """The inclusive limits of a number, in canonical units."""

    low: float
    high: float


Features: TypeAlias = Values
"""What one unit can do, as attribute values of its device information; empty until that has arrived."""

Within: TypeAlias = Range | Callable[[Features], Range | None]
Options: TypeAlias = tuple[str, ...] | Callable[[Features], tuple[str, ...]]
Step: TypeAlias = float | Callable[[Features], float]


def always(_: Features) -> bool:
    """The gate of an attribute that every unit has."""
    return True


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that is known of a device, or can be told to it. One row of a vendor's table.

    A contradictory row fails when it is built.

    Attributes:
        key: snake_case name in the state document and in command topics; stable for ever.
        name: for people, without the device's name.
        quantity: sort, unit and classes.
        reads: every place it arrives from. Empty for a derived value and for an action.
        writes: whether a command may set it. How, is the vendor's own business.
        within: limits of a writable number; a function where they depend on the unit.
        step: the device's own grid, for writable numbers.
        options: the words of an option; a function where they depend on the unit.
        when: whether this unit has the attribute at all.
        writable_when: whether this unit accepts it as a command; otherwise it stays readable.
        needs: for a derived attribute: the keys of which at least one must have been seen.
        integrates: for an energy counter: the key of the power it is integrated from.
        lasts: seconds for which a value may be shown after it was told, or confirmed; at least the device's own
            timeout, and just that when left out.
        aliases: further names a command may use for it.
        category: ``None`` (main), ``config`` or ``diagnostic``.
        enabled: whether Home Assistant shows it without being asked.
        announced: whether Home Assistant is told of it at all. A fact that never changes, such as what a unit can do,
            stands in the state document and would only lengthen everybody's list of entities.
        icon: ``mdi:...``, only where no device class brings one.
        about: one sentence for the documentation tables.
        source: section of the protocol page that states it.
    """

    key: str
    name: str
    quantity: Quantity
    reads: tuple[Wire, ...] = ()
    writes: bool = False
    within: Within | None = None
    step: Step | None = None
    options: Options = ()
    when: Callable[[Features], bool] = always
    writable_when: Callable[[Features], bool] = always
    needs: tuple[str, ...] = ()
    integrates: str | None = None
    lasts: float = 0.0
    aliases: tuple[str, ...] = ()
    category: Literal["config", "diagnostic"] | None = None
    enabled: bool = True
    announced: bool = True
    icon: str | None = None
    about: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse a row that contradicts itself."""
        sort = self.quantity.sort
        if not self.key.replace("_", "").isalnum() or self.key != self.key.lower():
            raise ValueError(f"attribute key {self.key!r} is not snake_case")
        if self.writes and sort is Sort.NUMBER and (self.within is None or self.step is None):
            raise ValueError(f"{self.key}: a writable number needs limits and a step")
        if (sort is Sort.OPTION) != bool(self.options):
            raise ValueError(f"{self.key}: options belong to options, and only to them")
        if sort is Sort.ACTION and (self.reads or not self.writes):
            raise ValueError(f"{self.key}: an action is written and never read")

    def resolve(self, features: Features) -> Attribute:
        """This attribute as one unit has it: limits, options and step are values, not functions."""
        within = self.within(features) if callable(self.within) else self.within
        options = self.options(features) if callable(self.options) else self.options
        step = self.step(features) if callable(self.step) else self.step
        writes = self.writes and self.writable_when(features)
        if self.quantity.sort is Sort.NUMBER and within is None:
            writes = False
        resolved = object.__new__(Attribute)
        changed = {"within": within, "options": options, "step": step, "writes": writes, "when": always}
        for name in self.__dataclass_fields__:
            object.__setattr__(resolved, name, changed.get(name, getattr(self, name)))
        return resolved

    @property
    def limits(self) -> Range | None:
        """The limits of a resolved attribute."""
        return self.within if isinstance(self.within, Range) else None

    @property
    def words(self) -> tuple[str, ...]:
        """The options of a resolved attribute."""
        return self.options if isinstance(self.options, tuple) else ()

    def check(self, given: object) -> Scalar:
        """The canonical value that a command's payload asks for.

        Accepts what Home Assistant, Node-RED and people send: real JSON values, or their text (see
        `docs/protocol/home-assistant.md` 5.2). A number is snapped to the device's step; one within half a step of a
        limit is taken as the limit.

        Raises:
            CommandError: naming the attribute, what was given and what is allowed.
        """
        if not self.writes:
            raise CommandError(f"{self.key} can not be written", code="read_only")
        match self.quantity.sort:
            case Sort.ACTION:
                return True
            case Sort.FLAG:
                return self._check_flag(given)
            case Sort.OPTION:
                return self._check_option(given)
            case Sort.NUMBER | Sort.CODE:
                return self._check_number(given)
            case _:
                return self._check_text(given)

    def _check_flag(self, given: object) -> bool:
        if isinstance(given, bool):
            return given
        word = str(given).strip().lower() if isinstance(given, str | int | float) else ""
        if word in ("on", "true", "1", "1.0"):
            return True
        if word in ("off", "false", "0", "0.0"):
            return False
        raise CommandError(f"{self.key}: {_shown(given)} is neither on nor off", code="invalid_value")

    def _check_option(self, given: object) -> str:
        word = given.strip().lower() if isinstance(given, str) else None
        for option in self.words:
            if word == option.lower():
                return option
        allowed = ", ".join(self.words)
        raise CommandError(f"{self.key}: {_shown(given)} is not one of {allowed}", code="unknown_option")

    def _check_text(self, given: object) -> str:
        if not isinstance(given, str):
            raise CommandError(f"{self.key}: {_shown(given)} is not a text", code="invalid_value")
        return given

    def _check_number(self, given: object) -> float | int:
        number = _number(given)
        unit = f" {self.quantity.unit}" if self.quantity.unit else ""
        limits = self.limits
        step = self.step if isinstance(self.step, int | float) else 1
        allowed = f"{limits.low:g} to {limits.high:g}{unit} in steps of {step:g}" if limits else "a number"
        if number is None:
            raise CommandError(f"{self.key}: {_shown(given)} is not a number; allowed is {allowed}")
        if limits is not None:
            # Half a step of grace: a consumer that shows another unit rounds the limits too.
            if number < limits.low - step / 2 or number > limits.high + step / 2:
                raise CommandError(f"{self.key}: {_shown(given)} is outside {allowed}", code="out_of_range")
            number = min(max(number, limits.low), limits.high)
        snapped = snap(number, step)
        if limits is not None:
            snapped = min(max(snapped, limits.low), limits.high)
        return int(snapped) if float(snapped).is_integer() and float(step).is_integer() else snapped


def snap(number: float, step: float) -> float:
    """The multiple of ``step`` nearest to ``number``; halves go away from zero."""
    steps = math.floor(abs(number) / step + 0.5 + 1e-9)
    return math.copysign(round(steps * step, 6), number) if steps else 0.0


def _number(given: object) -> float | None:
    if isinstance(given, bool):
        return None
    if isinstance(given, int | float | str):
        try:
            number = float(given)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    return None


def _shown(given: object) -> str:
    """What was given, as JSON has it, short enough for a log line and a result document."""
    text = repr(given) if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line's worth


@dataclass(frozen=True, slots=True)
class Composite:
    """A climate, a water heater or a firmware update: several attributes shown as one thing.

    Attributes:
        component: Home Assistant's component, ``water_heater``, ``climate`` or ``update``.
        key: component id in discovery, stable for ever.
        roles: Home Assistant's role to attribute key: ``mode``, ``temperature``, ``current_temperature``,
            ``current_humidity``, ``action``, ``fan_mode``, ``swing_mode``, ``swing_horizontal_mode``, ``power``;
            of an update ``installed`` and ``latest``.
            A role whose attribute the unit lacks is left out.
    """

    component: Literal["climate", "water_heater", "update"]
    key: str
    roles: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that a person should know of.

    Attributes:
        key: stable name, such as ``low_charge``.
        attribute: the attribute that is watched.
        above: raised while the value is above this, or
        below: raised while the value is below this, or
        unless: raised while the value is known and not this.
        words: the sentence shown; ``{value}`` and ``{limit}`` are filled in.
        explain: makes the sentence from all values instead, for codes with a table of meanings.
    """

    key: str
    attribute: str
    above: float | None = None
    below: float | None = None
    unless: Scalar | None = None
    words: str = ""
    explain: Callable[[Values], str] | None = None

    def check(self, values: Values) -> str | None:
        """The sentence while the alert is raised, otherwise ``None``."""
        value = values.get(self.attribute)
        if value is None:
            return None
        limit: Scalar | None = None
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.above is not None and value > self.above:
                limit = self.above
            if self.below is not None and value < self.below:
                limit = self.below
        if self.unless is not None and value != self.unless:
            limit = self.unless
        if limit is None:
            return None
        return self.explain(values) if self.explain else self.words.format(value=value, limit=limit)


def derive_nothing(_before: Values, _now: Values) -> Values:
    """The derivation of a kind whose devices say everything themselves."""
    return NOTHING


def one_by_one(changes: Mapping[str, Scalar]) -> tuple[Mapping[str, Scalar], ...]:
    """The split of a kind whose wire carries one setting in a message."""
    return tuple({key: value} for key, value in changes.items())


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one frame says.

    Attributes:
        values: attribute key to value in canonical units; a field that is absent, is absent here.
        unknown: fields that no row reads, and raw values that no codec lists, by the vendor's name.
    """

    values: dict[str, Value]
    unknown: dict[str, Raw]


@dataclass(frozen=True, slots=True)
class Kind:
    """A vendor's table of one sort of device; checks itself when it is built.

    Attributes:
        name: stable name of the kind, such as ``heat_pump_water_heater``.
        manufacturer: as people know it.
        attributes: every row.
        composites: what is shown as one thing.
        ignored: per form, fields that are part of the envelope and carry no state.
        regular: the forms that a living device sends all the time: what it tells in them lasts no longer than the
            device's timeout, whatever the row says.
        derive: further values from the values before and now (merged, this frame included). Pure; sees
            no clock.
        split: how the changes of one command are distributed over messages, in order.
    """

    name: str
    manufacturer: str
    attributes: tuple[Attribute, ...]
    composites: tuple[Composite, ...] = ()
    ignored: Mapping[str, frozenset[str]] = field(default_factory=dict)
    regular: frozenset[str] = frozenset()
    derive: Callable[[Values, Values], Values] = derive_nothing
    split: Callable[[Mapping[str, Scalar]], tuple[Mapping[str, Scalar], ...]] = one_by_one
    by_key: Mapping[str, Attribute] = field(init=False)
    fading: tuple[tuple[str, float], ...] = field(init=False)
    _readers: Mapping[str, Mapping[str, tuple[tuple[str, Callable[[Raw], Value]], ...]]] = field(init=False)

    def __post_init__(self) -> None:
        """Index the rows by key and by wire name, and refuse a table that contradicts itself."""
        by_key: dict[str, Attribute] = {}
        readers: dict[str, dict[str, tuple[tuple[str, Callable[[Raw], Value]], ...]]] = {}
        for attribute in self.attributes:
            if attribute.key in by_key:
                raise ValueError(f"{self.name}: two rows for {attribute.key}")
            by_key[attribute.key] = attribute
            for wire in attribute.reads:
                form = readers.setdefault(wire.form, {})
                form[wire.name] = (*form.get(wire.name, ()), (attribute.key, wire.codec.decode))
        for composite in self.composites:
            for role, key in composite.roles.items():
                if key not in by_key:
                    raise ValueError(f"{self.name}: {composite.key}.{role} names no attribute: {key}")
        object.__setattr__(self, "by_key", MappingProxyType(by_key))
        lasting = ((row.key, self._lasts(row)) for row in self.attributes if row.reads)
        object.__setattr__(self, "fading", tuple((key, lasts) for key, lasts in lasting if lasts < FOREVER))
        object.__setattr__(self, "_readers", MappingProxyType(readers))

    def decode(self, form: str, fields: Mapping[str, Raw]) -> Decoded:
        """The values of one frame's fields. Total: whatever stands in the fields, nothing is raised."""
        values: dict[str, Value] = {}
        unknown: dict[str, Raw] = {}
        readers = self._readers.get(form, {})
        ignored = self.ignored.get(form, frozenset())
        for name, raw in fields.items():
            targets = readers.get(name)
            if targets is None:
                if name not in ignored:
                    unknown[name] = raw
                continue
            for key, decode in targets:
                try:
                    values[key] = decode(raw)
                except (ArithmeticError, TypeError, ValueError):  # UnknownRaw is a ValueError
                    values.setdefault(key, None)
                    unknown[name] = raw
        return Decoded(values, unknown)

    def _lasts(self, row: Attribute) -> float:
        return 0.0 if any(wire.form in self.regular for wire in row.reads) else row.lasts

    def wires(self, form: str) -> Mapping[str, tuple[str, ...]]:
        """Vendor field name to the attribute keys it feeds, for one form."""
        return {name: tuple(key for key, _ in targets) for name, targets in self._readers.get(form, {}).items()}

    def resolve(self, features: Features, seen: frozenset[str] | None = None) -> tuple[Attribute, ...]:
        """The rows that one unit has, resolved.

        Args:
            features: what the unit can do.
            seen: keys that have arrived from this unit; ``None`` takes every row for seen. Firmware differs: a
                field that never arrived is not announced.
        """
        return tuple(
            attribute.resolve(features)
            for attribute in self.attributes
            if attribute.when(features) and (seen is None or self._was_seen(attribute, seen))
        )

    @staticmethod
    def _was_seen(attribute: Attribute, seen: frozenset[str]) -> bool:
        if attribute.needs:
            return any(key in seen for key in attribute.needs)
        return attribute.key in seen or not attribute.reads


@dataclass(frozen=True, slots=True)
class Device:
    """One device of an account, with the attributes that this very unit has.

    Attributes:
        vendor: the vendor's folder name.
        id: the vendor's stable id, lower case.
        name: what its owner calls it; never part of a topic.
        kind: its table.
        attributes: the resolved rows; see `Kind.resolve`.
        alerts: the conditions watched for this device, with the account's thresholds.
        model: for people.
        firmware: for people, ``None`` while unknown.
        serial: serial number, ``None`` while unknown.
    """

    vendor: str
    id: str
    name: str
    kind: Kind
    attributes: tuple[Attribute, ...] = ()
    alerts: tuple[Alert, ...] = ()
    model: str = ""
    firmware: str | None = None
    serial: str | None = None

    def attribute(self, key: str) -> Attribute | None:
        """The attribute of that key or alias, as this unit has it."""
        for attribute in self.attributes:
            if attribute.key == key:
                if attribute.writes or not any(key in other.aliases for other in self.attributes):
                    return attribute
                break
        return next((attribute for attribute in self.attributes if key in attribute.aliases), None)

    def check(self, changes: Mapping[str, object]) -> dict[str, Scalar]:
        """The canonical changes of a command, all of them or none.

        Raises:
            CommandError: naming every change that can not be made, and what is allowed.
        """
        checked: dict[str, Scalar] = {}
        wrong: list[CommandError] = []
        for key, given in changes.items():
            attribute = self.attribute(key)
            try:
                if attribute is None:
                    known = ", ".join(sorted(row.key for row in self.attributes if row.writes)) or "none"
                    raise CommandError(
                        f"{_shown(key)} is no attribute of this device; writable are: {known}",
                        code="unknown_attribute",
                    )
                if attribute.key in checked:
                    raise CommandError(f"{attribute.key} is given twice", code="invalid_value")
                checked[attribute.key] = attribute.check(given)
            except CommandError as error:
                wrong.append(error)
        if wrong:
            raise CommandError("; ".join(str(error) for error in wrong), code=wrong[0].code)
        return checked


@dataclass(frozen=True, slots=True)
class Found:
    """A device of the account, new or changed (renamed, more known of it)."""

    device: Device


@dataclass(frozen=True, slots=True)
class Gone:
    """A device that the account no longer holds. Said only on a complete list of the vendor."""

    device_id: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device said.

    Attributes:
        device_id: whose.
        values: attribute key to value; absent keys were not mentioned.
        at: when it was observed, seconds since the epoch, by the bridge's clock.
        source: how it came.
        unknown: raw fields and values that the table does not know.
    """

    device_id: str
    values: Values
    at: float
    source: Source
    unknown: Mapping[str, Raw] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Presence:
    """What the cloud, or the device's silence, says of a device's connection."""

    device_id: str
    online: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What is known of some attributes of a device still holds. Not a sign of life: nothing new was said.

    Attributes:
        device_id: the vendor's id.
        values: of the attributes, by their keys.
        at: as of when, seconds since the epoch.
    """

    device_id: str
    values: Values
    at: float


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The account is signed in and its cloud link stands."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The account's cloud link is gone; a new attempt follows by itself."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """The account is signed in and its devices can be read, but for now nothing can be sent to them.

    `LinkUp` ends it.

    Attributes:
        reason: one word for machines.
        detail: a sentence for people.
        what_to_do: what a person can do should it last.
    """

    reason: str
    detail: str = ""
    what_to_do: str = ""


Event: TypeAlias = Found | Gone | Reading | Confirmed | Presence | LinkUp | LinkDown | ReadOnly


@dataclass(frozen=True, slots=True)
class ExplainedField:
    """One field of a payload, as the `decode` command shows it.

    Attributes:
        name: the vendor's own name.
        raw: the raw value.
        value: the decoded value, ``None`` when unknown.
        unit: unit of the decoded value.
        attribute: the attribute it feeds, ``None`` for part of an envelope.
        offset: where it starts, for binary payloads.
        data: its bytes, for binary payloads.
    """

    name: str
    raw: Raw
    value: Value = None
    unit: str | None = None
    attribute: str | None = None
    offset: int | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """A payload taken apart, field by field.

    Attributes:
        frame: the kind of frame, such as ``status``.
        device: the device's id where the frame names it.
        fields: every field, in the order of the payload.
        values: attribute key to value in canonical units.
    """

    frame: str
    device: str | None
    fields: tuple[ExplainedField, ...]
    values: Values
