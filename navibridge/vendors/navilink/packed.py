"""The binary NaviLink frame: eight bytes of header, and a packed status record (`docs/protocol/navilink-binary.md`).

One table, `FIELDS`, is what decoding, encoding and explaining all go by. Everything is big-endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from navibridge.errors import FrameError, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FIELDS: Final = (
    "dhw_charge_per",
    "dhw_temperature",
    "dhw_temperature_setting",
    "operation_mode",
    "comp_use",
    "heat_upper_use",
    "heat_lower_use",
    "eva_fan_use",
    "dhw_use",
    "error_code",
    "sub_error_code",
    "wifi_rssi",
    "device_connected",
    "outside_temperature",
    "tank_upper_temperature",
    "tank_lower_temperature",
    "discharge_temperature",
    "ambient_temperature",
    "current_inst_power",
)
"""The record's fields, in their order on the wire; each is a signed 16-bit integer."""

VERSION: Final = 1
NOT_AVAILABLE: Final = -0x8000
HEADER: Final = struct.Struct(">I4s")
PREFIX_SIZE: Final = 4
_RECORD_HEAD: Final = struct.Struct(">BB")
_LOWEST, _HIGHEST = -0x7FFF, 0x7FFF


class Slot(NamedTuple):
    """One field of a binary frame and where it lies."""

    name: str
    offset: int
    size: int
    raw: int | str


def is_header(payload: bytes) -> bool:
    """Whether a payload begins as this frame does: a command class and two zero bytes."""
    return len(payload) >= HEADER.size and payload[0] in (1, 2, 4) and payload[1] == 0 and payload[2] == 0


def prefixes(device_id: str) -> tuple[bytes, ...]:
    """The prefixes a frame of that device may carry: of its MAC address, or of its name in topics."""
    names = (device_id, f"navilink-{device_id}")
    return tuple(name.lower().encode()[:PREFIX_SIZE].ljust(PREFIX_SIZE, b"\0") for name in names)


def encode_header(command: int, device_id: str) -> bytes:
    """The eight bytes before every payload; alone they are a poll."""
    return HEADER.pack(command, prefixes(device_id)[0])


def decode_header(payload: bytes, device_id: str | None = None) -> tuple[int, str]:
    """The command and the device id prefix, its padding stripped.

    Raises:
        FrameError: too short, or the prefix contradicts the device the topic named.
    """
    if len(payload) < HEADER.size:
        raise FrameError(
            f"a binary frame of {counted(len(payload), 'byte')} is shorter than its header", sort="truncated"
        )
    command, prefix = HEADER.unpack_from(payload)
    if device_id is not None and prefix.lower() not in prefixes(device_id):
        raise FrameError("a binary frame carries another device's prefix", sort="wrong_device")
    return command, prefix.rstrip(b"\0").decode("utf-8", "replace")


def encode(fields: Mapping[str, int], *, count: int = len(FIELDS)) -> bytes:
    """A record of the first ``count`` fields; an absent one is sent as "not available".

    Raises:
        FrameError: a raw value does not fit into 16 bits.
    """
    values = [fields.get(name, NOT_AVAILABLE) for name in FIELDS[:count]]
    for name, value in zip(FIELDS, values, strict=False):
        if value != NOT_AVAILABLE and not _LOWEST <= value <= _HIGHEST:
            raise FrameError(f"{name}: {value} does not fit into a packed record", sort="out_of_range")
    return _RECORD_HEAD.pack(VERSION, len(values)) + struct.pack(f">{len(values)}h", *values)


def decode(record: bytes) -> dict[str, int]:
    """The raw fields of a record. What is not available is absent; a field beyond the table is ``field_<number>``.

    Raises:
        FrameError: another layout version, or a length that does not match the number of fields.
    """
    return {name: raw for name, raw in zip(*_read(record), strict=True) if raw != NOT_AVAILABLE}


def slots(record: bytes, start: int = 0) -> Iterator[Slot]:
    """Every field of a record with its offset, counted from ``start``.

    Raises:
        FrameError: as `decode`.
    """
    for index, (name, raw) in enumerate(zip(*_read(record), strict=True)):
        yield Slot(name, start + _RECORD_HEAD.size + 2 * index, 2, raw)


def _read(record: bytes) -> tuple[Sequence[str], tuple[int, ...]]:
    """The names and the raw values of a record, in their order."""
    if len(record) < _RECORD_HEAD.size:
        raise FrameError(f"a packed record of {counted(len(record), 'byte')} is too short", sort="truncated")
    version, count = _RECORD_HEAD.unpack_from(record)
    if version != VERSION:
        raise FrameError(f"layout version {version} of a packed record is unknown", sort="packed_version")
    if len(record) != _RECORD_HEAD.size + 2 * count:
        fields, length = counted(count, "field"), counted(len(record), "byte")
        raise FrameError(f"a packed record of {fields} is {length} long", sort="packed_length")
    values = struct.unpack_from(f">{count}h", record, _RECORD_HEAD.size)
    beyond = (f"field_{number}" for number in range(len(FIELDS) + 1, count + 1))
    return (*FIELDS[:count], *beyond), values
