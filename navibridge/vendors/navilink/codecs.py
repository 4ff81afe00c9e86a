"""How NaviLink writes numbers, both ways (`docs/protocol/navilink.md` 6, `docs/protocol/navilink-binary.md`).

Every raw value is an integer; anything else raises ``TypeError``, which `navibridge.model.Kind.decode` takes for an
unknown value. The unit belongs to the source: half degrees Celsius in JSON, degrees Fahrenheit in a packed record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from navibridge.model import Codec, UnknownRaw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.model import Raw, Value


def _refuse(raw: Raw) -> TypeError:
    return TypeError(f"{type(raw).__name__} where an integer belongs")


def _decode_integer(raw: Raw) -> int:
    if type(raw) is not int:
        raise _refuse(raw)
    return raw


def _decode_half(raw: Raw) -> float:
    if type(raw) is not int:
        raise _refuse(raw)
    return raw / 2


def _decode_tenth(raw: Raw) -> float:
    if type(raw) is not int:
        raise _refuse(raw)
    return raw / 10


def _decode_energy(raw: Raw) -> float:
    if type(raw) is not int:
        raise _refuse(raw)
    return raw * 4 / 1000


def _decode_thousandth(raw: Raw) -> float:
    if type(raw) is not int:
        raise _refuse(raw)
    return raw / 1000


def _decode_fahrenheit(raw: Raw) -> float:
    if type(raw) is not int:
        raise _refuse(raw)
    return (raw - 32) * 5 / 9


def _decode_tenth_fahrenheit(raw: Raw) -> float:
    if type(raw) is not int:
        raise _refuse(raw)
    return (raw - 320) * 5 / 90


def _decode_version(raw: Raw) -> str:
    if type(raw) is not int or not 0 <= raw <= 0xFFFFFFFF:  # noqa: PLR2004 - 32 bits
        raise _refuse(raw)
    return ".".join(str(byte) for byte in raw.to_bytes(4, "big"))


def _encode_version(value: str) -> int:
    return int.from_bytes(bytes(int(part) for part in value.split(".")), "big")


def _decode_text(raw: Raw) -> str:
    if type(raw) is not str:
        raise TypeError(f"{type(raw).__name__} where a text belongs")
    return raw


def table(name: str, words: Mapping[int, Value], *, unknown: int | None = None) -> Codec:
    """The codec of an enumeration.

    Args:
        name: as shown in the documentation.
        words: raw number to value; of several numbers for one value, the first is what is encoded.
        unknown: the number that says "unknown", decoded as ``None``.
    """
    known: dict[int, Value] = dict(words)
    numbers: dict[Value, int] = {}
    for number, word in known.items():
        numbers.setdefault(word, number)
    if unknown is not None:
        known[unknown] = None
        numbers[None] = unknown

    def decode(raw: Raw) -> Value:
        if type(raw) is not int:  # True would find the word of 1
            raise _refuse(raw)
        try:
            return known[raw]
        except KeyError:
            raise UnknownRaw(f"{name}: {raw}") from None

    def encode(value: Any) -> int:
        try:
            return numbers[value]
        except KeyError:
            raise ValueError(f"{name}: {value!r}") from None

    return Codec(name, decode, encode)


INTEGER: Final = Codec("integer", _decode_integer, int)
HALF_CELSIUS: Final = Codec("half °C", _decode_half, lambda value: round(value * 2))
TENTH_CELSIUS: Final = Codec("0.1 °C", _decode_tenth, lambda value: round(value * 10))
TENTH_KELVIN: Final = Codec("0.1 K", _decode_tenth, lambda value: round(value * 10))
FAHRENHEIT: Final = Codec("°F", _decode_fahrenheit, lambda value: round(value * 9 / 5 + 32))
TENTH_FAHRENHEIT: Final = Codec("0.1 °F", _decode_tenth_fahrenheit, lambda value: round((value * 9 / 5 + 32) * 10))
TENTH_FLOW: Final = Codec("0.1 L/min", _decode_tenth, lambda value: round(value * 10))
TENTH_CUBIC_METRE: Final = Codec("0.1 m³", _decode_tenth, lambda value: round(value * 10))
HALF_PERCENT: Final = Codec("half %", _decode_half, lambda value: round(value * 2))
ENERGY_COUNT: Final = Codec("4 Wh", _decode_energy, lambda value: round(value * 250))
WATT_HOURS: Final = Codec("Wh", _decode_thousandth, lambda value: round(value * 1000))
VERSION: Final = Codec("dotted bytes", _decode_version, _encode_version)
WORD: Final = Codec("text", _decode_text, str)

FLAG: Final = table("2 on, 1 off", {1: False, 2: True, 0: False})
TRI: Final = table("2 on, 1 off, 0 unknown", {1: False, 2: True}, unknown=0)
GAS_FLAG: Final = table("1 on, 2 off, 0 unknown", {1: True, 2: False}, unknown=0)
USE: Final = table("2 active, 1 ready, 0 off", {0: False, 1: False, 2: True})
CONNECTED: Final = table("0 offline, 1 online, 2 active", {0: False, 1: True, 2: True})
OVERRIDE: Final = table("1 active, 2 normal", {1: True, 2: False}, unknown=0)
DISPLAY_UNIT: Final = table("1 °C, 2 °F", {1: "celsius", 2: "fahrenheit"}, unknown=0)


def _decode_nonzero(raw: Raw) -> bool:
    if type(raw) is not int:
        raise _refuse(raw)
    return raw != 0


NONZERO: Final = Codec("0 off, otherwise on", _decode_nonzero, int)


def counting(name: str) -> Codec:
    """The codec of a list of entries that is shown by its length."""

    def decode(raw: Raw) -> int:
        if not isinstance(raw, list):
            raise _refuse(raw)
        return len(raw)

    return Codec(name, decode, lambda value: [{}] * int(value))
