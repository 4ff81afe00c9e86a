"""Reservations and time-of-use plans: hex records, entries, bitfields and words (`docs/protocol/navilink.md` 10)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from navibridge.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from navibridge.model import Raw

RESERVATION: Final = ("enable", "week", "hour", "min", "mode", "param")
"""The bytes of a reservation record, in order; also the keys of an entry."""

RECIRCULATION: Final = ("enable", "week", "startHour", "startMin", "endHour", "endMin", "mode")
TOU: Final = (
    "season",
    "week",
    "startHour",
    "startMinute",
    "endHour",
    "endMinute",
    "priceMin",
    "priceMax",
    "decimalPoint",
)
_TOU_SPELLINGS: Final = {"startMin": "startMinute", "endMin": "endMinute"}

DAYS: Final = {128: "Sun", 64: "Mon", 32: "Tue", 16: "Wed", 8: "Thu", 4: "Fri", 2: "Sat"}
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
EVERY_DAY: Final = 254
ALL_YEAR: Final = 4095
MAX_ENTRIES: Final = 16
_BYTE: Final = 0xFF
_ENABLED: Final = 2


def from_hex(text: str) -> tuple[list[dict[str, int]], str]:
    """The entries of a hex string, empty slots left out, and what remains after the last whole record.

    Raises:
        FrameError: a character that is no hex digit.
    """
    size = 2 * len(RESERVATION)
    whole = len(text) // size * size
    try:
        data = bytes.fromhex(text[:whole])
    except ValueError as error:
        raise FrameError("a reservation list is not made of hex digits", sort="reservation_hex") from error
    if 2 * len(data) != whole:  # bytes.fromhex skips blanks
        raise FrameError("a reservation list is not made of hex digits", sort="reservation_hex")
    records = (data[start : start + len(RESERVATION)] for start in range(0, len(data), len(RESERVATION)))
    return [dict(zip(RESERVATION, record, strict=True)) for record in records if any(record)], text[whole:]


def to_hex(entries: Iterable[Mapping[str, int]], *, empty: int = 0) -> str:
    """The hex string of entries, followed by that many empty slots, as a device answers it.

    Raises:
        FrameError: a value does not fit into its byte.
    """
    data = bytearray()
    for entry in entries:
        for name in RESERVATION:
            value = entry.get(name, 0)
            if not 0 <= value <= _BYTE:
                raise FrameError(f"reservation: {name} {value} does not fit", sort="out_of_range")
            data.append(value)
    return data.hex() + "00" * len(RESERVATION) * empty


def from_list(items: Raw, *, spellings: Mapping[str, str] | None = None) -> list[dict[str, int]]:
    """The entries of a list of objects, empty slots left out; ``None`` is an empty list.

    Raises:
        FrameError: not a list of objects of integers.
    """
    if items is None:
        return []
    if not isinstance(items, list):
        raise FrameError(f"a schedule is a list, not {type(items).__name__}", sort="wrong_type")
    entries = []
    for item in items:
        if not isinstance(item, dict) or not all(type(value) is int for value in item.values()):
            raise FrameError("a schedule entry is not an object of integers", sort="wrong_type")
        if any(item.values()):
            entries.append({(spellings or {}).get(name, name): value for name, value in item.items()})
    return entries


def from_tou_list(items: Raw) -> list[dict[str, int]]:
    """The entries of a time-of-use plan; both spellings of the minutes are understood.

    Raises:
        FrameError: not a list of objects of integers.
    """
    return from_list(items, spellings=_TOU_SPELLINGS)


def same(one: Iterable[Mapping[str, int]], other: Iterable[Mapping[str, int]]) -> bool:
    """Whether two lists hold the same entries; a device may answer in another order."""

    def ordered(entries: Iterable[Mapping[str, int]]) -> list[tuple[tuple[str, int], ...]]:
        return sorted(tuple(sorted(entry.items())) for entry in entries)

    return ordered(one) == ordered(other)


def days_of(week: int) -> tuple[str, ...]:
    """The days of a week bitfield, Sunday first; bit 0 is unused."""
    return tuple(name for bit, name in DAYS.items() if week & bit)


def week_of(days: Iterable[str]) -> int:
    """The week bitfield of days given as ``Sun`` to ``Sat``.

    Raises:
        ValueError: there is no such day.
    """
    bits = {name.lower(): bit for bit, name in DAYS.items()}
    week = 0
    for day in days:
        bit = bits.get(day.strip().lower()[:3])
        if bit is None:
            raise ValueError(f"{day!r} is no day of the week")
        week |= bit
    return week


def months_of(season: int) -> tuple[str, ...]:
    """The months of a season bitfield, January first."""
    return tuple(name for index, name in enumerate(MONTHS) if season >> index & 1)


def season_of(months: Iterable[str]) -> int:
    """The season bitfield of months given as ``Jan`` to ``Dec``.

    Raises:
        ValueError: there is no such month.
    """
    season = 0
    for month in months:
        name = month.strip().capitalize()[:3]
        if name not in MONTHS:
            raise ValueError(f"{month!r} is no month")
        season |= 1 << MONTHS.index(name)
    return season


def price_of(raw: int, decimal_point: int) -> Decimal:
    """A price in the plan's currency unit."""
    return Decimal(raw).scaleb(-decimal_point)


def raw_price(price: Decimal | str | float, decimal_point: int) -> int:
    """The wire form of a price; halves go up, as in commerce.

    Raises:
        ValueError: not a number.
    """
    try:
        # By way of text: 0.225 as a binary float lies below the half.
        scaled = Decimal(str(price)).scaleb(decimal_point)
        return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    except InvalidOperation as error:
        raise ValueError(f"{price!r} is no price") from error


def week_words(week: int) -> str:
    """A week bitfield for people, such as ``Mon-Fri``."""
    named = {EVERY_DAY: "daily", 124: "Mon-Fri", 130: "Sat+Sun"}
    return named.get(week) or "+".join(days_of(week)) or "never"


def season_words(season: int) -> str:
    """A season bitfield for people, such as ``Jun-Sep`` for consecutive months."""
    months = months_of(season)
    if season == ALL_YEAR:
        return "all year"
    runs: list[list[int]] = []
    for index in (MONTHS.index(name) for name in months):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    words = [MONTHS[run[0]] if len(run) == 1 else f"{MONTHS[run[0]]}-{MONTHS[run[-1]]}" for run in runs]
    return "+".join(words) or "never"


def reservation_words(entry: Mapping[str, Any], modes: Mapping[int, str]) -> str:
    """A timed reservation for people, such as ``Mon-Fri 06:15 energy_saver 54 °C``."""
    mode = modes.get(entry.get("mode", 0), f"mode {entry.get('mode')}")
    words = f"{week_words(entry.get('week', 0))} {_clock(entry, 'hour', 'min')} {mode} {entry.get('param', 0) / 2:g} °C"
    return words if entry.get("enable") == _ENABLED else f"({words})"


def tou_words(entry: Mapping[str, Any]) -> str:
    """A time-of-use interval for people, such as ``Jun-Sep Mon-Fri 16:00-20:59 0.3912``."""
    point = min(max(entry.get("decimalPoint", 0), 0), 10)
    low, high = (price_of(entry.get(name, 0), point) for name in ("priceMin", "priceMax"))
    price = f"{low.normalize():f}" if low == high else f"{low.normalize():f}-{high.normalize():f}"
    start, end = _clock(entry, "startHour", "startMinute"), _clock(entry, "endHour", "endMinute")
    return f"{season_words(entry.get('season', 0))} {week_words(entry.get('week', 0))} {start}-{end} {price}"


def _clock(entry: Mapping[str, int], hour: str, minute: str) -> str:
    return f"{entry.get(hour, 0):02d}:{entry.get(minute, 0):02d}"


def conflicts(entries: Sequence[Mapping[str, int]]) -> bool:
    """Whether two reservations ask for the same days and minute; a device keeps only one of them."""
    times = [(entry.get("week"), entry.get("hour"), entry.get("min")) for entry in entries]
    return len(set(times)) != len(times)
