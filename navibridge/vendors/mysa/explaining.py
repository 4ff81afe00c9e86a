"""A payload taken apart field by field, for the `decode` command: messages, readings, objects of the REST service.

Readings may come in their message or as the bare bytes; each record is shown field by field with its offset in the
blob. Which family sent a payload is told from the payload alone, so that fields get the meaning they have there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from navibridge.model import Explained, ExplainedField
from navibridge.vendors.mysa import attributes, batch, codecs, devices, frames, models

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from navibridge.model import Kind, Raw
    from navibridge.vendors.mysa.batch import Batch, BatchReading
    from navibridge.vendors.mysa.frames import Frame

_KIND_OF_FORM: Final[Mapping[str, Kind]] = {
    "status_v1": devices.BASEBOARD_V1,
    "setpoint_change": devices.BASEBOARD_V1,
    "status_infloor": devices.IN_FLOOR,
    "infloor_power": devices.IN_FLOOR,
    "status_ac": devices.AC,
    "ac_state": devices.AC,
}
_KIND_OF_TYPE: Final[Mapping[int | None, Kind]] = {
    product.body_type: devices.kind_of(family) for family, product in models.PRODUCTS.items() if product.body_type
}
_KIND_OF_VERSION: Final = {0: devices.BASEBOARD_V1, 1: devices.IN_FLOOR, 3: devices.BASEBOARD_V2}

_SETTING_MEANINGS: Final = {
    "md": attributes.AC_MODE,
    "sp": attributes.AC_TARGET,
    "fn": attributes.FAN_MODE,
    "ss": attributes.SWING_MODE,
    "ssh": attributes.SWING_HORIZONTAL_MODE,
    "it": attributes.CLIMATE_PLUS,
    "tr": attributes.TRACKED_SENSOR,
    "lk": attributes.LOCK,
    "pr": attributes.PROXIMITY,
}
"""What the settings of a command mean: they have the names that they have in the device's answer."""

_TIMES: Final = frozenset({"Timestamp", "timestamp", "time", "bootTime", "createTime", "LastPaired"})


def explain(payload: bytes) -> Explained:
    """Every field of a payload, in its order, and the values it means.

    The values of readings are those of the newest good one.

    Raises:
        FrameError: as `frames.parse` and `batch.decode`.
    """
    if payload.startswith(batch.MAGIC):
        found = batch.decode(payload)
        return Explained("batch", None, tuple(_readings(found)), _values_of(found))
    frame = frames.parse(payload)
    message = frames.load(payload)
    if frame.form == "batch":
        found = batch.decode(frame.fields["readings"])
        envelope = (_of_envelope(field) for field in _leaves(message, frame))
        return Explained(frame.form, frame.device_id, (*envelope, *_readings(found)), _values_of(found))
    kind = _kind_of(frame)
    shown = tuple(_with_meaning(field, frame, kind) for field in _leaves(_object_in(message), frame))
    return Explained(frame.form, frame.device_id, shown, kind.decode(frame.form, frame.fields).values)


def _kind_of(frame: Frame) -> Kind:
    """The table of the family that a payload is most likely from."""
    if frame.form in _KIND_OF_FORM:
        return _KIND_OF_FORM[frame.form]
    if frame.form in ("result", "request"):
        return _KIND_OF_TYPE.get(frames.exact(frame.fields.get("type")), devices.AC)
    if frame.form == "rest_device":
        return devices.kind_of(models.true_model(frame.fields).family)
    if "ACState" in frame.fields:
        return devices.AC
    if "Infloor" in frame.fields or "TrackedSensor" in frame.fields:
        return devices.IN_FLOOR
    return devices.BASEBOARD_V2


# --- JSON -------------------------------------------------------------------------------------------------------------


def _object_in(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object of the REST service without its wrapper."""
    for wrapper in ("DeviceState", "Device"):
        if isinstance(message.get(wrapper), dict):
            return dict(message[wrapper])
    return message


def _leaves(message: Mapping[str, Any], frame: Frame) -> Iterator[ExplainedField]:
    """The fields as they stand in the payload; those of the body and of the state under their bare names."""
    for name, raw in message.items():
        if name == "body" and isinstance(raw, dict):
            # A name that the envelope has too, such as `ver`, is told apart.
            yield from _body({f"body.{inner}" if inner in message else inner: raw[inner] for inner in raw}, frame)
        elif name in ("ip", "Message"):  # addresses of the home network are nobody's business
            yield ExplainedField(name, frame.fields.get(name, frames.HIDDEN))
        elif frame.form == "rest_state" and isinstance(raw, dict) and "v" in raw:
            yield from _nested(name, raw["v"])
            yield ExplainedField(f"{name}.t", raw.get("t"), frames.moment(raw.get("t")), "s")
        else:
            yield from _nested(name, raw)


def _body(body: Mapping[str, Any], frame: Frame) -> Iterator[ExplainedField]:
    for name, raw in body.items():
        if name == "state" and isinstance(raw, dict):
            for inner, value in raw.items():
                yield from _nested(inner, value)
        elif name == "cmd":
            settings = {key: frame.fields[key] for key in frame.fields if key != "type"}
            yield from _nested("cmd", settings)
        elif name == "ip":
            yield ExplainedField(name, frames.HIDDEN)
        else:
            yield from _nested(name, raw)


def _nested(name: str, raw: Raw) -> Iterator[ExplainedField]:
    """A value, or the values within it under names such as ``src.ref``; lists stay whole."""
    if isinstance(raw, dict) and raw:
        for inner, value in raw.items():
            yield from _nested(f"{name}.{inner}", value)
    else:
        yield ExplainedField(name, raw)


def _with_meaning(field: ExplainedField, frame: Frame, kind: Kind) -> ExplainedField:
    """The field with its value, its unit and the attribute it feeds, as far as it has a meaning."""
    if field.name.startswith("cmd."):
        return _setting(field)
    wires = kind.wires(frame.form)
    name = "version" if field.name == "ver" and frame.fields.get("version") == field.raw else field.name
    if name not in wires or name not in frame.fields:
        return _of_envelope(field)
    key = wires[name][0]
    value = kind.decode(frame.form, {name: frame.fields[name]}).values.get(key)
    return replace(field, value=value, unit=kind.by_key[key].quantity.unit, attribute=key)


def _of_envelope(field: ExplainedField) -> ExplainedField:
    """A field that is no state of the device: only its times have a meaning."""
    return replace(field, value=frames.moment(field.raw), unit="s") if field.name in _TIMES else field


def _setting(field: ExplainedField) -> ExplainedField:
    """A setting of a command; what it means, but no value of the device, which may well refuse it."""
    name = field.name.removeprefix("cmd.")
    row = _SETTING_MEANINGS.get(name)
    if row is None:
        return field
    codec = next(wire.codec for wire in row.reads if (wire.form, wire.name) == ("result", name))
    try:
        value = codec.decode(field.raw)
    except (ArithmeticError, TypeError, ValueError):
        return field
    return replace(field, value=value, unit=row.quantity.unit, attribute=row.key)


# --- binary readings --------------------------------------------------------------------------------------------------


def _values_of(found: Batch) -> dict[str, Any]:
    good = found.usable
    if not good:
        return {}
    newest = max(good, key=lambda reading: reading.at)
    return _table_of(newest).decode("batch", batch.measured(newest)).values


def _table_of(reading: BatchReading) -> Kind:
    return _KIND_OF_VERSION.get(reading.version, devices.BASEBOARD_V2)


def _readings(found: Batch) -> Iterator[ExplainedField]:
    for index, reading in enumerate(found.readings):
        yield from _record(reading, f"readings[{index}].")
    if found.skipped:
        yield ExplainedField("skipped", found.skipped, unit="B")
    if found.remainder:
        end = max((reading.offset + len(reading.data) for reading in found.readings), default=0)
        yield ExplainedField("remainder", found.remainder.hex(), offset=end, data=found.remainder)


def _record(reading: BatchReading, prefix: str) -> Iterator[ExplainedField]:
    """One record, byte by byte; a damaged one feeds no attribute."""
    wires = _table_of(reading).wires("batch") if reading.checksum_ok else {}
    measured = batch.measured(reading)
    for part in batch.parts(reading):
        key = wires.get(part.name, (None,))[0] if part.name in measured else None
        yield ExplainedField(
            prefix + part.name,
            part.raw.hex() if isinstance(part.raw, bytes) else part.raw,
            _decoded(part),
            part.unit,
            key,
            reading.offset + part.offset,
            part.data,
        )
    yield ExplainedField(f"{prefix}checksum_ok", reading.checksum_ok, reading.checksum_ok)
    if "duty_fraction" in measured and reading.checksum_ok:
        duty = measured["duty_fraction"]
        yield ExplainedField(f"{prefix}duty_fraction", duty, codecs.DUTY.decode(duty), "%", "duty_cycle")


def _decoded(part: batch.Part) -> Any:
    try:
        return part.codec.decode(part.raw) if part.codec is not None else None
    except (TypeError, ValueError):
        return None
