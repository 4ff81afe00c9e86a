"""Recorded frames of the retired NaviLink TCP service (`docs/protocol/navilink.md` 12.8). All integers little-endian.

A frame is laid out by `_plan` from one set of tables: decoding, encoding and explaining read the same plan. Fields
inside records are named by their place, such as ``channels[0].minWater`` or ``schedule[1].entries[0].hour``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from navibridge.errors import FrameError, counted
from navibridge.vendors.navilink.packed import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Layout: TypeAlias = tuple[tuple[str, str], ...]
"""Field names with their `struct` formats, one after the other without gaps."""

CHANNEL_INFO, STATE, TREND_SAMPLE, TREND_MONTH, TREND_YEAR, ERROR = range(1, 7)
FORMS: Final = {
    CHANNEL_INFO: "tcp_channel_info",
    STATE: "tcp_state",
    TREND_SAMPLE: "tcp_trend_sample",
    TREND_MONTH: "tcp_trend_month",
    TREND_YEAR: "tcp_trend_year",
    ERROR: "tcp_error",
}
REQUEST_FORM: Final = "tcp_request"
REQUEST_START: Final = bytes.fromhex("079900a63700")
REQUEST_SIZE: Final = 53
WIDE_FIRMWARE: Final = 1500
"""Firmware above this number sends channel records of 15 bytes instead of 13."""

CHANNELS, DAYS, ENTRIES_PER_DAY = 3, 7, 10

_HEADER: Final[Layout] = (
    ("deviceID", "8s"),
    ("countryCD", "B"),
    ("controlType", "B"),
    ("swVersionMajor", "B"),
    ("swVersionMinor", "B"),
)
_CHANNEL: Final[Layout] = (
    ("channel", "B"),
    ("deviceSorting", "B"),
    ("deviceCount", "B"),
    ("deviceTempFlag", "B"),
    ("minWater", "B"),
    ("maxWater", "B"),
    ("minHeat", "B"),
    ("maxHeat", "B"),
    ("useOnDemand", "B"),
    ("heatingControl", "B"),
    ("wwsdFlag", "B"),
    ("highTemperature", "B"),
    ("useWarmWater", "B"),
)
_CHANNEL_WIDE: Final[Layout] = (*_CHANNEL, ("minRecirculation", "B"), ("maxRecirculation", "B"))
_UNIT: Final[Layout] = (
    ("controllerVersion", "H"),
    ("panelVersion", "H"),
    ("deviceSorting", "B"),
    ("deviceCount", "B"),
    ("currentChannel", "B"),
    ("deviceNumber", "B"),
)
_STATE: Final[Layout] = (
    *_UNIT,
    ("errorCD", "H"),
    ("operationDeviceNumber", "B"),
    ("averageCalorimeter", "B"),
    ("gasInstantUse", "H"),
    ("gasAccumulatedUse", "I"),
    ("hotWaterSettingTemperature", "B"),
    ("hotWaterCurrentTemperature", "B"),
    ("hotWaterFlowRate", "H"),
    ("inletTemperature", "B"),
    ("heatSettingTemperature", "B"),
    ("supplyTemperature", "B"),
    ("returnTemperature", "B"),
    ("powerStatus", "B"),
    ("heatStatus", "B"),
    ("useOnDemand", "B"),
    ("weeklyControl", "B"),
    ("totalDaySequence", "B"),
)
_DAY: Final[Layout] = (("dayOfWeek", "B"), ("count", "B"))
_ENTRY: Final[Layout] = (("hour", "B"), ("minute", "B"), ("flag", "B"))
_STATE_END: Final[Layout] = (
    ("hotWaterAverage", "B"),
    ("inletAverage", "B"),
    ("supplyAverage", "B"),
    ("returnAverage", "B"),
)
_STATE_RECIRCULATION: Final[Layout] = (("recirculationSetting", "B"), ("recirculationTemperature", "B"))
_TREND_SAMPLE: Final[Layout] = (
    *_UNIT,
    ("modelInfo", "3s"),
    ("totalOperatedTime", "I"),
    ("totalGas", "I"),
    ("totalHotWater", "I"),
    ("totalHeatingTime", "I"),
)
_TREND_SAMPLE_DHW: Final[Layout] = (("totalDhwTime", "I"),)
_TREND: Final[Layout] = (*_UNIT, ("recordCount", "B"))
_TREND_RECORD: Final[Layout] = (
    ("index", "B"),
    ("modelInfo", "3s"),
    ("gas", "I"),
    ("hotWater", "I"),
    ("hotWaterCount", "H"),
    ("onDemandCount", "H"),
    ("heat", "H"),
    ("outdoorMax", "B"),
    ("outdoorMin", "B"),
    ("dhw", "H"),
)
_ERROR: Final[Layout] = (*_UNIT, ("errorFlag", "B"), ("errorCD", "H"))
_REQUEST: Final[Layout] = (
    ("start", "6s"),
    ("deviceID", "8s"),
    ("version", "B"),
    ("channel", "B"),
    ("deviceNumber", "B"),
    ("sorting", "B"),
    ("infoItem", "B"),
    ("controlItem", "B"),
    ("value", "B"),
    ("dayOfWeek", "B"),
    ("count", "B"),
)


def _size(layout: Layout) -> int:
    return struct.calcsize("<" + "".join(fmt for _, fmt in layout))


HEADER_SIZE: Final = _size(_HEADER)
_TREND_START: Final = HEADER_SIZE + _size(_TREND)
_TREND_RECORD_SIZE: Final = _size(_TREND_RECORD)
_TREND_RECORDS: Final = {TREND_MONTH: 31, TREND_YEAR: 24}
_LENGTHS: Final = {
    CHANNEL_INFO: (HEADER_SIZE + 1 + CHANNELS * _size(_CHANNEL), HEADER_SIZE + 1 + CHANNELS * _size(_CHANNEL_WIDE)),
    STATE: (271, 273),
    TREND_SAMPLE: (39, 43),
    ERROR: (HEADER_SIZE + _size(_ERROR),),
    **{
        sort: tuple(_TREND_START + _TREND_RECORD_SIZE * records for records in range(most + 1))
        for sort, most in _TREND_RECORDS.items()
    },
}


class _Place(NamedTuple):
    """One field of a planned frame."""

    name: str
    offset: int
    format: str


def is_request(payload: bytes) -> bool:
    """Whether a payload is a recorded request."""
    return len(payload) == REQUEST_SIZE and payload.startswith(REQUEST_START)


def is_response(payload: bytes) -> bool:
    """Whether a payload is a recorded answer: the type in byte 9 and a length that this type has."""
    return len(payload) > HEADER_SIZE and len(payload) in _LENGTHS.get(payload[9], ())


def _blocks(sort: int, length: int) -> Iterator[tuple[str, Layout]]:
    """The layouts of an answer of that type and length, in order, each with the prefix of its names."""
    yield "", _HEADER
    yield from _BLOCKS[sort](length)


def _channel_info_blocks(length: int) -> Iterator[tuple[str, Layout]]:
    yield "", (("channelUse", "B"),)
    record = _CHANNEL if length == _LENGTHS[CHANNEL_INFO][0] else _CHANNEL_WIDE
    for index in range(CHANNELS):
        yield f"channels[{index}].", record


def _state_blocks(length: int) -> Iterator[tuple[str, Layout]]:
    yield "", _STATE
    for day in range(DAYS):
        yield f"schedule[{day}].", _DAY
        for entry in range(ENTRIES_PER_DAY):
            yield f"schedule[{day}].entries[{entry}].", _ENTRY
    yield "", _STATE_END
    if length == _LENGTHS[STATE][1]:
        yield "", _STATE_RECIRCULATION


def _trend_sample_blocks(length: int) -> Iterator[tuple[str, Layout]]:
    yield "", _TREND_SAMPLE
    if length == _LENGTHS[TREND_SAMPLE][1]:
        yield "", _TREND_SAMPLE_DHW


def _trend_blocks(length: int) -> Iterator[tuple[str, Layout]]:
    yield "", _TREND
    for index in range((length - _TREND_START) // _TREND_RECORD_SIZE):
        yield f"records[{index}].", _TREND_RECORD


def _error_blocks(_length: int) -> Iterator[tuple[str, Layout]]:
    yield "", _ERROR


_BLOCKS: Final[Mapping[int, Callable[[int], Iterator[tuple[str, Layout]]]]] = {
    CHANNEL_INFO: _channel_info_blocks,
    STATE: _state_blocks,
    TREND_SAMPLE: _trend_sample_blocks,
    TREND_MONTH: _trend_blocks,
    TREND_YEAR: _trend_blocks,
    ERROR: _error_blocks,
}


def _request_blocks() -> Iterator[tuple[str, Layout]]:
    yield "", _REQUEST
    for entry in range(ENTRIES_PER_DAY):
        yield f"entries[{entry}].", _ENTRY


def _plan(blocks: Iterator[tuple[str, Layout]]) -> Iterator[_Place]:
    offset = 0
    for prefix, layout in blocks:
        for name, fmt in layout:
            yield _Place(prefix + name, offset, "<" + fmt)
            offset += struct.calcsize("<" + fmt)


def slots(payload: bytes) -> Iterator[Slot]:
    """Every field of a recorded frame, request or answer, with its offset; byte strings are given as hex.

    Raises:
        FrameError: no type and length of this protocol, or a frame that contradicts itself.
    """
    if is_request(payload):
        plan = _plan(_request_blocks())
    elif is_response(payload):
        _check(payload)
        plan = _plan(_blocks(payload[9], len(payload)))
    else:
        raise FrameError(f"no recorded TCP frame: {counted(len(payload), 'byte')}", sort="tcp_length")
    for place in plan:
        (value,) = struct.unpack_from(place.format, payload, place.offset)
        raw = value.hex() if isinstance(value, bytes) else value
        yield Slot(place.name, place.offset, struct.calcsize(place.format), raw)


def _check(payload: bytes) -> None:
    """Refuse an answer whose length contradicts what it says of itself."""
    sort = payload[9]
    if sort == CHANNEL_INFO:
        wide = payload[10] * 100 + payload[11] > WIDE_FIRMWARE
        if len(payload) != _LENGTHS[CHANNEL_INFO][int(wide)]:
            raise FrameError("channel records do not have the size of the sender's firmware", sort="tcp_length")
    if sort in _TREND_RECORDS:
        count = payload[_TREND_START - 1]
        if count > (len(payload) - _TREND_START) // _TREND_RECORD_SIZE:
            raise FrameError(f"a trend frame lacks some of its {count} records", sort="truncated")


def decode(payload: bytes) -> dict[str, int | str]:
    """The raw fields of a recorded frame.

    Raises:
        FrameError: as `slots`.
    """
    return {slot.name: slot.raw for slot in slots(payload)}


def encode(fields: Mapping[str, int | str], length: int) -> bytes:
    """An answer of the type in ``controlType`` with that length; absent fields are zero.

    Raises:
        FrameError: no such type and length, or a value that does not fit.
    """
    sort = fields.get("controlType")
    if not isinstance(sort, int) or length not in _LENGTHS.get(sort, ()):
        raise FrameError(f"no frame of type {sort} is {counted(length, 'byte')} long", sort="tcp_length")
    payload = _fill(fields, _blocks(sort, length), length)
    _check(payload)
    return payload


def encode_request(fields: Mapping[str, int | str]) -> bytes:
    """A request of 53 bytes; absent fields are zero, the fixed start is added.

    Raises:
        FrameError: a value that does not fit.
    """
    fixed: dict[str, int | str] = {"start": REQUEST_START.hex(), "version": 1}
    return _fill({**fixed, **fields}, _request_blocks(), REQUEST_SIZE)


def _fill(fields: Mapping[str, int | str], blocks: Iterator[tuple[str, Layout]], length: int) -> bytes:
    payload = bytearray(length)
    for place in _plan(blocks):
        value = fields.get(place.name, 0)
        try:
            packable = bytes.fromhex(value) if isinstance(value, str) else value
            if place.format.endswith("s"):
                packable = packable or b""
            struct.pack_into(place.format, payload, place.offset, packable)
        except (struct.error, ValueError) as error:
            raise FrameError(f"{place.name}: {value!r} does not fit", sort="out_of_range") from error
    return bytes(payload)
