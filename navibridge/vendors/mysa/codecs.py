"""How Mysa writes numbers, words and flags, both ways (`docs/protocol/mysa.md` 2.3, 2.4, 4 and 5.2).

In JSON a number may arrive as a text (``"0.000000"``); in a binary reading it is a scaled integer. A raw value that is
none of what a codec knows raises ``TypeError`` or ``ValueError``, which `navibridge.model.Kind.decode` takes for an
unknown value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from navibridge.model import Codec, UnknownRaw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.model import Raw, Scalar, Value

COLDEST, HOTTEST = -40.0, 85.0
"""°C; what lies outside was not measured (`docs/protocol/mysa.md` 5.4, rule 9)."""

HIGHEST_VOLTAGE, HIGHEST_CURRENT = 1000, 100
"""V and A; no line of a house has more, so it was not measured."""

HIGHEST_FAULT: Final = 255

WEAKEST_UNMEASURED: Final = -10
"""dBm; a signal above this is the filler of a device that does not measure it (`docs/protocol/mysa.md` 5.2)."""

EARLIEST: Final = 1_420_070_400.0
"""2015-01-01, epoch seconds. No Mysa is older: an earlier time was never set (`docs/protocol/mysa.md` 4.1 and 5.4)."""

AMBIENT, FLOOR = "ambient", "floor"

MODES: Final[Mapping[int, str]] = {1: "off", 3: "heat", 4: "cool", 2: "auto", 6: "dry", 5: "fan_only"}
"""Mode code to Home Assistant's word: the only place that knows the numbers (`docs/protocol/mysa.md` 9, row 1)."""

FAN_SPEEDS: Final[Mapping[int, str]] = {
    1: "auto",
    3: "low",
    5: "medium",
    7: "high",
    8: "max",
    12: "sleep",
    2: "low",
    4: "medium",
    6: "high",
}
"""Fan code to word, the union of the known sets; the common set first (`docs/protocol/mysa.md` 6.5)."""

SWING: Final[Mapping[int, str]] = {
    3: "auto",
    4: "top",
    5: "upper",
    6: "middle",
    7: "lower",
    8: "low",
    9: "bottom",
}
SWING_HORIZONTAL: Final[Mapping[int, str]] = {
    3: "auto",
    4: "left",
    5: "left_centre",
    6: "centre",
    7: "right_centre",
    8: "right_wide",
    9: "right",
}
"""Positions of the vanes; further codes have been seen and mean nothing known (`docs/protocol/mysa.md` 6.5)."""


def number(raw: Raw) -> float | int:
    """A finite number, or the text of one; a whole number stays an integer.

    Raises:
        TypeError: neither a number nor a text.
        ValueError: a text that is no number, or a number that is not finite.
    """
    if type(raw) is int:
        return raw if -(2**63) <= raw < 2**64 else _refuse_number(raw)
    if type(raw) is float or type(raw) is str:
        found = float(raw)
        return found if math.isfinite(found) else _refuse_number(raw)
    raise TypeError(f"{type(raw).__name__} where a number belongs")


def _refuse_number(raw: Raw) -> float:
    raise ValueError(f"{str(raw)[:20]} is no measured number")


def integer(raw: Raw) -> int:
    """A whole number, or the text of one. Raises as `number`."""
    found = number(raw)
    if found != int(found):
        raise ValueError(f"{found} is not whole")
    return int(found)


def table(name: str, words: Mapping[int, Scalar]) -> Codec:
    """The codec of an enumeration; of several numbers for one value, the first is what is encoded."""
    known: dict[int, Scalar] = dict(words)
    numbers: dict[Scalar, int] = {}
    for code, word in known.items():
        numbers.setdefault(word, code)

    def decode(raw: Raw) -> Scalar:
        code = integer(raw)
        try:
            return known[code]
        except KeyError:
            raise UnknownRaw(f"{name}: {code}") from None

    def encode(value: Any) -> int:
        try:
            return numbers[value]
        except KeyError:
            raise ValueError(f"{name}: {value!r}") from None

    return Codec(name, decode, encode)


def word_table(name: str, words: Mapping[str, Scalar]) -> Codec:
    """The codec of an enumeration that is written in words, in any case."""
    written = {value: word for word, value in words.items()}

    def decode(raw: Raw) -> Scalar:
        if type(raw) is not str:
            raise TypeError(f"{type(raw).__name__} where a word belongs")
        for word, value in words.items():
            if raw.strip().lower() == word.lower():
                return value
        raise UnknownRaw(f"{name}: {raw[:20]}")

    def encode(value: Any) -> str:
        try:
            return written[value]
        except KeyError:
            raise ValueError(f"{name}: {value!r}") from None

    return Codec(name, decode, encode)


def scaled(name: str, numerator: int, denominator: int, *, low: float = -math.inf, high: float = math.inf) -> Codec:
    """The codec of an integer that counts ``numerator / denominator`` of the unit.

    Args:
        name: as shown in the documentation.
        numerator: of the size of one count
        denominator: likewise; dividing by it keeps tenths exact.
        low: what lies below, in the unit, was not measured.
        high: what lies above.
    """

    def decode(raw: Raw) -> float | int:
        if type(raw) is not int:
            raise TypeError(f"{type(raw).__name__} where an integer belongs")
        value = raw * numerator / denominator if denominator != 1 else raw * numerator
        return value if low <= value <= high else _refuse_number(value)

    # An input with more digits than the wire has is rounded, not cut (`docs/protocol/mysa.md` 5.4, rule 7).
    return Codec(name, decode, lambda value: round(value * denominator / numerator))


def _bounded(low: float, high: float) -> Callable[[Raw], Value]:
    def decode(raw: Raw) -> Value:
        found = number(raw)
        return found if low <= found <= high else _refuse_number(raw)

    return decode


def _same(value: Any) -> Any:
    return value


def _decode_temperature(raw: Raw) -> float:
    found = float(number(raw))
    return found if COLDEST <= found <= HOTTEST else _refuse_number(raw)


def _decode_target(raw: Raw) -> float | None:
    # Dry and fan-only modes say 0 for "none"; no model can be set to it.
    found = float(number(raw))
    return _decode_temperature(found) if found else None


def _decode_duty(raw: Raw) -> float:
    found = float(number(raw))
    return round(100 * min(max(found, 0.0), 1.0), 3)


def _decode_signal(raw: Raw) -> int | float | None:
    found = number(raw)
    return found if found <= WEAKEST_UNMEASURED else None


def _decode_voltage(raw: Raw) -> float | int | None:
    found = number(raw)
    if found > HIGHEST_VOLTAGE:
        raise ValueError(f"{found} is no voltage of a house")
    return found if found > 0 else None


def _decode_faultless(raw: Raw) -> bool:
    found = integer(raw)
    if not 0 <= found <= HIGHEST_FAULT:
        raise UnknownRaw(f"fault: {found}")
    return found == 0


def _decode_text(raw: Raw) -> str | None:
    if type(raw) is not str:
        raise TypeError(f"{type(raw).__name__} where a text belongs")
    return raw.strip() or None


def _decode_flag(raw: Raw) -> bool:
    if type(raw) is bool:
        return raw
    found = integer(raw)
    if found not in (0, 1):
        raise UnknownRaw(f"flag: {found}")
    return found == 1


CELSIUS: Final = Codec("°C", _decode_temperature, float)
TARGET: Final = Codec("°C, 0 is none", _decode_target, lambda value: 0 if value is None else value)
NUMBER: Final = Codec("number", number, _same)
VOLTAGE: Final = Codec("V, 0 is none", _decode_voltage, lambda value: -1 if value is None else value)
AMPERE: Final = Codec("A", _bounded(0, HIGHEST_CURRENT), _same)
PERCENT: Final = Codec("%", _bounded(0, 100), _same)
DUTY: Final = Codec("fraction of 1", _decode_duty, lambda value: value / 100)
SIGNAL: Final = Codec("dBm, above -10 is none", _decode_signal, lambda value: -1 if value is None else value)
TEXT: Final = Codec("text", _decode_text, lambda value: value or "")

MODE: Final = table("mode 1..6", MODES)
HEATER_MODE: Final = table("mode 1 off, 3 heat", {1: MODES[1], 3: MODES[3]})
FAN: Final = table("fan code", FAN_SPEEDS)
VANE: Final = table("vertical vane code", SWING)
VANE_HORIZONTAL: Final = table("horizontal vane code", SWING_HORIZONTAL)
TRACKED: Final = table("3 floor, 5 ambient", {5: AMBIENT, 3: FLOOR})
FLAG: Final = Codec("0 off, 1 on", _decode_flag, int)
ECO: Final = table("0 on, 1 off", {0: True, 1: False})
FAULTLESS: Final = Codec("0 is no fault", _decode_faultless, lambda value: 0 if value else 1)
_LOCK_WORD: Final = word_table("lock", {"Locked": True, "Unlocked": False})


def _decode_lock(raw: Raw) -> Value:
    return _LOCK_WORD.decode(raw) if type(raw) is str and not raw.strip().isdigit() else _decode_flag(raw)


LOCKED: Final = Codec("Locked, Unlocked or 0, 1", _decode_lock, _LOCK_WORD.encode)
DISPLAY_UNIT: Final = word_table("unit", {"celsius": "celsius", "fahrenheit": "fahrenheit"})

# --- binary readings --------------------------------------------------------------------------------------------------

TENTH_CELSIUS: Final = scaled("0.1 °C", 1, 10, low=COLDEST, high=HOTTEST)
WHOLE_PERCENT: Final = scaled("whole %", 1, 1, low=0, high=100)
TENTH_SECOND: Final = scaled("100 ms", 1, 10, low=0)
TEN_BYTES: Final = scaled("10 bytes", 10, 1)
COUNT: Final = scaled("integer", 1, 1)
EPOCH: Final = scaled("epoch seconds", 1, 1)
VOLT: Final = scaled("V", 1, 1, low=0, high=HIGHEST_VOLTAGE)
TEN_MILLIAMPERE: Final = scaled("10 mA", 1, 100, low=0, high=HIGHEST_CURRENT)
NEGATED: Final = scaled("-dBm", -1, 1, low=-128, high=128)


def _decode_hex(raw: Raw) -> str:
    if not isinstance(raw, bytes):
        raise TypeError(f"{type(raw).__name__} where bytes belong")
    return raw.hex()


HEX: Final = Codec("bytes", _decode_hex, bytes.fromhex)
