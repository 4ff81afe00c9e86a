"""The binary readings that thermostats send each 10 to 20 minutes, both ways (`docs/protocol/mysa.md` 5).

A blob is a plain row of records, no count and no padding:

    ca a0 | version | 22 bytes that every version has | fields of the version | checksum

`FIELDS` and `VERSIONS` are the only tables; decoding, encoding and explaining are all made from them. Bytes that have
been damaged on the way cost the record they stand in: its neighbours are found again. Everything here is linear in the
length of the blob, whatever stands in it, and raises nothing but `FrameError`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from navibridge.errors import FrameError, counted
from navibridge.vendors.mysa import codecs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from navibridge.model import Codec, Raw

MAGIC: Final = b"\xca\xa0"
SHORTEST: Final = 26
"""Bytes of the shortest known record; a shorter blob holds none."""

LONGEST_UNKNOWN: Final = 128
"""Bytes within which the end of a record of an unknown version is looked for; bounds the work on a hostile blob."""

FEW: Final = 8
"""Records below which it is quicker to take their checksums one by one."""

FURTHEST_AHEAD: Final = 86_400.0
"""Seconds that a device's clock may be ahead of the bridge's."""


class Field(NamedTuple):
    """One field of a record.

    Attributes:
        name: what it is called here; the devices' own software has not been seen.
        code: its format, as in `struct`.
        codec: the unit of the raw integer.
        unit: of the decoded value.
    """

    name: str
    code: str
    codec: Codec
    unit: str | None = None


COMMON: Final = (
    Field("timestamp", "I", codecs.EPOCH, "s"),
    Field("sensor_temp", "h", codecs.TENTH_CELSIUS, "°C"),
    Field("ambient_temp", "h", codecs.TENTH_CELSIUS, "°C"),
    Field("setpoint", "h", codecs.TENTH_CELSIUS, "°C"),
    Field("humidity", "b", codecs.WHOLE_PERCENT, "%"),
    Field("duty", "b", codecs.WHOLE_PERCENT, "%"),
    Field("on_time", "h", codecs.TENTH_SECOND, "s"),
    Field("off_time", "h", codecs.TENTH_SECOND, "s"),
    Field("heat_sink", "h", codecs.TENTH_CELSIUS, "°C"),
    Field("free_heap", "H", codecs.TEN_BYTES, "B"),
    Field("rssi", "b", codecs.NEGATED, "dBm"),
    Field("on_off", "b", codecs.COUNT),
)
"""The fields that every version has, at the offsets 3 to 24."""

_VOLTAGE: Final = Field("line_voltage", "h", codecs.VOLT, "V")
VERSIONS: Final[Mapping[int, tuple[Field, ...]]] = {
    0: (),
    1: (_VOLTAGE,),
    3: (
        _VOLTAGE,
        Field("current", "h", codecs.TEN_MILLIAMPERE, "A"),
        Field("reserved", "3s", codecs.HEX),
    ),
}
"""What each version has besides: 0 is sent by the baseboard V1, 1 by the in-floor, 3 by the baseboard V2 and Lite."""

CHECKSUM: Final = Field("checksum", "B", codecs.COUNT)
"""The XOR of all bytes before it, so that the XOR of a whole record is 0."""


class _Layout:
    """One version's record, ready to use."""

    def __init__(self, version: int, extra: tuple[Field, ...]) -> None:
        self.version = version
        self.fields = (*COMMON, *extra, CHECKSUM)
        self.names = tuple(field.name for field in self.fields)
        codes = "".join(field.code for field in self.fields)
        self.record = struct.Struct(f"<2xB{codes}")
        self.body = struct.Struct(f"<2sB{codes[:-1]}")
        self.size = self.record.size
        self.start = MAGIC + bytes((version,))


_LAYOUTS: Final = {version: _Layout(version, extra) for version, extra in VERSIONS.items()}
_COMMON: Final = struct.Struct("<2xB" + "".join(field.code for field in COMMON))
_COMMON_BODY: Final = struct.Struct("<B" + "".join(field.code for field in COMMON))
_COMMON_NAMES: Final = tuple(field.name for field in COMMON)


class BatchReading(NamedTuple):
    """One record.

    Attributes:
        version: 0, 1, 3, or one that no table lists.
        at: the device's own time, epoch seconds; wrong after a boot, see `is_plausible`.
        fields: raw integers by the names of `FIELDS`, ``checksum`` among them.
        checksum_ok: whether the record arrived as it was sent; otherwise nothing of it is to be believed.
        offset: where it starts in the blob.
        data: its bytes.
        tail: what an unknown version has after the common fields, without the checksum.
    """

    version: int
    at: float
    fields: Mapping[str, Raw]
    checksum_ok: bool
    offset: int
    data: bytes
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class Batch:
    """A blob, decoded.

    Attributes:
        readings: every complete record, in their order in the blob.
        skipped: bytes that belong to no record, because the sync was lost.
        remainder: the last, cut-off record.
        lenient: whether a wrong checksum is taken for a sender's carelessness.
    """

    readings: tuple[BatchReading, ...]
    skipped: int
    remainder: bytes
    lenient: bool = False

    @property
    def usable(self) -> tuple[BatchReading, ...]:
        """The readings to believe."""
        return tuple(reading for reading in self.readings if self.lenient or reading.checksum_ok)


def decode(blob: bytes, *, lenient: bool = False) -> Batch:
    """The records of a blob.

    Args:
        blob: the decoded ``readings`` of a message.
        lenient: take records with a wrong checksum for good, such as those of hand-made test data.

    Raises:
        FrameError: not even a beginning of readings.
    """
    if len(blob) < SHORTEST:
        raise FrameError(f"too short for a reading: {counted(len(blob), 'byte')}", sort="batch_short")
    if not blob.startswith(MAGIC):
        raise FrameError(f"readings that start with {blob[:2].hex()}", sort="batch_magic")
    readings: list[BatchReading] = []
    position = 0
    while position < len(blob):
        following = _take(blob, position, readings, lenient=lenient)
        if following is None:
            following = _next_good(blob, position + 1, len(blob), lenient=lenient)
        if following is None:
            break
        position = following
    remainder = blob[position:]
    if not MAGIC.startswith(remainder[:2]) or len(remainder) > LONGEST_UNKNOWN:
        remainder = b""
    skipped = len(blob) - len(remainder) - sum(len(reading.data) for reading in readings)
    return Batch(tuple(readings), skipped, remainder, lenient)


def _take(blob: bytes, position: int, readings: list[BatchReading], *, lenient: bool) -> int | None:
    """Read what starts here; returns where to go on, or ``None`` when no complete record starts here."""
    if not blob.startswith(MAGIC, position) or position + 2 >= len(blob):
        return None
    layout = _LAYOUTS.get(blob[position + 2])
    if layout is None:
        return _take_unknown(blob, position, readings, lenient=lenient)
    return _take_run(blob, position, layout, readings, lenient=lenient)


def _take_run(
    blob: bytes, position: int, layout: _Layout, readings: list[BatchReading], *, lenient: bool
) -> int | None:
    """Read all records of one version that follow each other: the usual blob is one such run."""
    size = layout.size
    end = position
    while blob.startswith(layout.start, end) and end + size <= len(blob):
        end += size
    if end == position:
        return None
    run = blob[position:end]
    sums = _sums(run, size)
    if sums[-1] and not lenient and not _is_start(blob, end):
        # Bytes of the last record were lost or added, so that a good one may start within it.
        within = _next_good(blob, end - size + 1, end, lenient=False)
        if within is not None:
            run, end = run[:-size], within
    names, version = layout.names, layout.version
    for index, (_, *raws) in enumerate(layout.record.iter_unpack(run)):
        start = index * size
        fields = dict(zip(names, raws))  # noqa: B905 - the layout is made of the names; checking costs a fifth
        data = run[start : start + size]
        readings.append(BatchReading(version, float(raws[0]), fields, not sums[index], position + start, data))
    return end


def _take_unknown(blob: bytes, position: int, readings: list[BatchReading], *, lenient: bool) -> int | None:
    """Read a record of a version that nobody has seen: it ends where its XOR is 0 and another one starts."""
    if len(blob) - position < SHORTEST:
        return None
    end = _end_of_unknown(blob, position, lenient=lenient)
    if end is None:
        return None
    data = blob[position:end]
    version, *raws = _COMMON.unpack_from(data)
    tail, checksum = data[_COMMON.size : -1], data[-1]
    fields = dict(zip(_COMMON_NAMES, raws, strict=True)) | {CHECKSUM.name: checksum}
    readings.append(BatchReading(version, float(raws[0]), fields, not _xor(data), position, data, tail))
    return end


def _end_of_unknown(blob: bytes, position: int, *, lenient: bool) -> int | None:
    limit = min(len(blob), position + LONGEST_UNKNOWN)
    end = position + SHORTEST - 1
    while (end := blob.find(MAGIC, end + 1, limit + len(MAGIC))) >= 0:
        same = blob[end : end + 3] == blob[position : position + 3]
        if (same and lenient) or ((same or _is_start(blob, end)) and not _xor(blob[position:end])):
            return end
    if limit == len(blob) and (lenient or not _xor(blob[position:])):
        return limit
    return None


def _next_good(blob: bytes, position: int, limit: int, *, lenient: bool) -> int | None:
    """Where the next complete record of a known version starts whose XOR is 0, before ``limit``."""
    while (position := blob.find(MAGIC, position, limit + len(MAGIC) - 1)) >= 0:
        layout = _LAYOUTS.get(blob[position + 2]) if position + 2 < len(blob) else None
        if layout is not None:
            end = position + layout.size
            if end <= len(blob) and (not _xor(blob[position:end]) or (lenient and _is_start(blob, end))):
                return position
        position += 1
    return None


def _is_start(blob: bytes, position: int) -> bool:
    """Whether a record of a known version could start here, or the blob ends."""
    if position == len(blob):
        return True
    return blob.startswith(MAGIC, position) and position + 2 < len(blob) and blob[position + 2] in _LAYOUTS


def _xor(data: bytes) -> int:
    return reduce(xor, data, 0)


def _sums(run: bytes, size: int) -> bytes:
    """The XOR of each record of ``size`` bytes; of many at once: column by column, each as one long integer."""
    if len(run) < FEW * size:
        return bytes(_xor(run[start : start + size]) for start in range(0, len(run), size))
    columns = (int.from_bytes(run[offset::size], "little") for offset in range(size))
    return reduce(xor, columns).to_bytes(len(run) // size, "little")


# --- what may be believed ---------------------------------------------------------------------------------------------


def is_plausible(at: float, now: float) -> bool:
    """Whether a device's clock was set when it wrote a record: between 2015 and a day ahead of ``now``."""
    return codecs.EARLIEST <= at <= now + FURTHEST_AHEAD


def measured(reading: BatchReading) -> dict[str, Raw]:
    """The fields of a record that hold a measurement, and its duty; what is filler or impossible is left out.

    ``duty_fraction`` is the part of the interval the heater was on, 0 to 1: it is made from the times because the duty
    byte is 0 at times though the heater is on (`docs/protocol/mysa.md` 5.2). ``current`` is the current while on, so a
    record of an interval that was off throughout says nothing of it.
    """
    found: dict[str, Raw] = {}
    for field in (*COMMON, *VERSIONS.get(reading.version, ())):
        raw = reading.fields[field.name]
        try:
            field.codec.decode(raw)
        except ValueError:
            continue
        found[field.name] = raw
    on, off = found.get("on_time"), found.get("off_time")
    if on is not None and off is not None and on + off > 0:
        found["duty_fraction"] = on / (on + off)
    if -found["rssi"] > codecs.WEAKEST_UNMEASURED:
        del found["rssi"]
    if not on or not found.get("current"):
        found.pop("current", None)
    if found.get("line_voltage", 0) <= 0:
        found.pop("line_voltage", None)
    return found


# --- showing ----------------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """One piece of a record, as it stands in its bytes.

    Attributes:
        name: of the field, ``magic``, ``version``, or ``unknown`` for what an unknown version has of its own.
        raw: the raw value.
        offset: from the start of the record.
        data: its bytes.
        codec: the unit of the raw value; ``None`` for what has none.
        unit: of the decoded value.
    """

    name: str
    raw: Raw
    offset: int
    data: bytes
    codec: Codec | None = None
    unit: str | None = None


def parts(reading: BatchReading) -> Iterator[Part]:
    """Every byte of a record under the name of its field, in the order of the bytes."""
    data = reading.data
    yield Part("magic", data[:2], 0, data[:2])
    yield Part("version", reading.version, 2, data[2:3])
    offset = 3
    for field in (*COMMON, *VERSIONS.get(reading.version, ())):
        size = struct.calcsize(f"<{field.code}")
        piece = data[offset : offset + size]
        yield Part(field.name, reading.fields[field.name], offset, piece, field.codec, field.unit)
        offset += size
    if reading.tail:
        yield Part("unknown", reading.tail, offset, reading.tail)
    end = len(data) - 1
    yield Part(CHECKSUM.name, reading.fields[CHECKSUM.name], end, data[end:])


# --- encoding ---------------------------------------------------------------------------------------------------------


def encode(readings: Iterable[BatchReading]) -> bytes:
    """The blob of these records; the checksums are made anew.

    Raises:
        ValueError: a raw value is missing, of the wrong type, or does not fit its field.
    """
    return b"".join(encode_record(reading.version, reading.fields, reading.tail) for reading in readings)


def encode_record(version: int, fields: Mapping[str, Raw], tail: bytes = b"") -> bytes:
    """One record from raw values by the names of the tables, ``tail`` for an unknown version. Raises as `encode`."""
    layout = _LAYOUTS.get(version)
    try:
        if layout is not None:
            record = layout.body.pack(MAGIC, version, *(fields[name] for name in layout.names[:-1]))
        else:
            record = MAGIC + _COMMON_BODY.pack(version, *(fields[name] for name in _COMMON_NAMES)) + tail
    except (struct.error, KeyError) as error:
        raise ValueError(f"no record of version {version}: {error}") from error
    return record + bytes((_xor(record),))


def scale(version: int, values: Mapping[str, Any]) -> dict[str, Raw]:
    """Raw fields of a known version from physical values, rounded to what the wire can say.

    Args:
        version: 0, 1 or 3.
        values: by the names of the tables, in their units; what is missing is 0.
    """
    return {
        field.name: field.codec.encode(values.get(field.name, "000000" if field.codec is codecs.HEX else 0))
        for field in (*COMMON, *VERSIONS[version])
    }
