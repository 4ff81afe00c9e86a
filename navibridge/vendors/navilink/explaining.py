"""A payload taken apart field by field, for the `decode` command: JSON, the binary frame and recorded TCP frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge.model import Explained, ExplainedField
from navibridge.vendors.navilink import devices, frames, heat_pump, packed, schedules, tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from navibridge.model import Features, Raw, Value
    from navibridge.vendors.navilink.frames import Frame

_ASSUMED: Final[Features] = {"display_unit": "fahrenheit"}
"""A gas unit's status alone does not say its unit; °F is the service's default (`docs/protocol/navilink.md` 12.5)."""

_MERGED_LISTS: Final = frozenset({"channelList", "unitStatusList"})
"""Lists whose entries are the device itself, so that their fields keep their bare names."""

_ENTRY_MEANINGS: Final[Mapping[str, tuple[Callable[[int], Value], str | None]]] = {
    "enable": ({1: False, 2: True}.get, None),
    "week": (schedules.week_words, None),
    "season": (schedules.season_words, None),
    "mode": (heat_pump.OPERATION_MODES.get, None),
    "param": (lambda raw: raw / 2, "°C"),
}
"""What the fields of a schedule's entries mean (`docs/protocol/navilink.md` 10)."""


def explain(payload: bytes) -> Explained:
    """Every field of a payload, in its order, and the values it means.

    Raises:
        FrameError: as `frames.parse`.
    """
    frame = frames.parse(payload)
    meanings = _Meanings(frame)
    found = tuple(meanings.give(field) for field in _fields(payload, frame))
    values = devices.decode(frame, _ASSUMED).values
    kind, _ = devices.table_of(frame, _ASSUMED)
    return Explained(frame.form, frame.device_id, found, {**values, **kind.derive({}, values)})


def _fields(payload: bytes, frame: Frame) -> Iterator[ExplainedField]:
    """The fields as they stand in the payload, without their meaning."""
    if frame.form.startswith("tcp_"):
        yield from _slot_fields(tcp.slots(payload), payload)
    elif frames.is_json(payload):
        yield from _json_fields(orjson.loads(payload), frame)
    else:
        yield from _binary_fields(payload, frame)


def _binary_fields(payload: bytes, frame: Frame) -> Iterator[ExplainedField]:
    """The eight-byte header, then the packed record or the JSON after it."""
    command, prefix = packed.decode_header(payload)
    yield ExplainedField("command", command, offset=0, data=payload[:4])
    yield ExplainedField("device_id_prefix", prefix, offset=4, data=payload[4:8])
    body = payload[packed.HEADER.size :]
    if frame.form == "packed":
        yield ExplainedField("layout_version", body[0], offset=8, data=body[:1])
        yield ExplainedField("field_count", body[1], offset=9, data=body[1:2])
        yield from _slot_fields(packed.slots(body, packed.HEADER.size), payload)
    elif body:
        yield from _json_fields(orjson.loads(body), frame)


def _slot_fields(slots: Iterator[packed.Slot], payload: bytes) -> Iterator[ExplainedField]:
    for slot in slots:
        data = payload[slot.offset : slot.offset + slot.size]
        yield ExplainedField(slot.name, slot.raw, offset=slot.offset, data=data)


def _json_fields(message: Mapping[str, Any], frame: Frame, prefix: str = "") -> Iterator[ExplainedField]:
    """The leaves of a JSON object under their own names; those of entries by place, such as ``reservation[0].week``."""
    for name, value in message.items():
        if isinstance(value, dict):
            yield from _json_fields(value, frame, prefix)
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield from _list_fields(prefix + name, value, frame)
        else:
            yield ExplainedField(prefix + name, value)
            if name == "reservation" and isinstance(value, str):
                yield from _list_fields(name, frame.fields.get(name) or [], frame)


def _list_fields(name: str, items: list[Any], frame: Frame) -> Iterator[ExplainedField]:
    for index, item in enumerate(items):
        place = f"{name}[{index}]"
        if not isinstance(item, dict):
            yield ExplainedField(place, item)
        else:
            yield from _json_fields(item, frame, "" if name in _MERGED_LISTS else f"{place}.")


class _Meanings:
    """What the fields of one frame mean."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._kind, self._form = devices.table_of(frame, _ASSUMED)
        self._keys = self._kind.wires(self._form)

    def give(self, field: ExplainedField) -> ExplainedField:
        """The field with its value, its unit and the attribute it feeds, as far as it has a meaning of its own."""
        place, bracket, name = field.name.rpartition("].")
        if place.startswith("channels["):
            return replace(self._of_device(replace(field, name=name)), name=field.name)
        if bracket or field.name.endswith("]"):
            return _of_entry(field, place, name)
        return self._of_device(field)

    def _of_device(self, field: ExplainedField) -> ExplainedField:
        name = field.name if field.name in self._keys else frames.wire_name(field.name)
        if name not in self._keys:
            return field
        key = self._keys[name][0]
        if self._form == "packed" and field.raw == packed.NOT_AVAILABLE:
            return replace(field, attribute=key)
        raw: Raw = self._frame.fields.get(name) if name == "reservation" else field.raw
        value = self._kind.decode(self._form, {name: raw}).values.get(key)
        return replace(field, value=value, unit=self._kind.by_key[key].quantity.unit, attribute=key)


def _of_entry(field: ExplainedField, place: str, name: str) -> ExplainedField:
    """A field of an entry of a list; those of schedules have words."""
    meaning = _ENTRY_MEANINGS.get(name)
    if meaning is None or not place.startswith("reservation") or type(field.raw) is not int:
        return field
    words, unit = meaning
    return replace(field, value=words(field.raw), unit=unit)
