"""What one air conditioner can be told, per mode (`docs/protocol/mysa.md` 6.4 and 6.5).

The lists come with the device, from the database of remote controls that its unit was set up with. They are incomplete
in many ways, so every question has a fallback; what a mode does not offer must not be sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from navibridge.model import Range
from navibridge.vendors.mysa.codecs import FAN_SPEEDS, MODES, SWING, SWING_HORIZONTAL, integer, number

FALLBACK_LIMITS: Final = Range(16.0, 30.0)
"""°C, of units that list no temperatures."""

WITHOUT_TARGET: Final = frozenset({"dry", "fan_only"})
"""The modes in which there is nothing to aim at."""

_BY_PLACE: Final = ("auto", "low", "medium", "high", "max")
"""The words of a device-wide list, which is in this order."""

_COMMON_FANS: Final = (1, 3, 5, 7, 8)
_FANS_BY_CODE_SET: Final = {1117: (1, 2, 4, 6), 2782: (1, 2, 6)}
"""Fan codes of units that list none, by the number of their infrared code set."""

_AUTO_FAN, _SLEEP_FAN = 1, 12
_OPTION_ORDER: Final = ("auto", "low", "medium", "high", "max", "sleep")

Words = Mapping[str, int]
"""Word to code."""


@dataclass(frozen=True, slots=True)
class ModeCapabilities:
    """What one mode offers.

    Attributes:
        temperatures: the targets, °C, ascending; empty where there is no target or the unit lists none.
        fans: fan speeds.
        swings: positions of the vertical vane.
        swings_horizontal: positions of the horizontal vane.
    """

    temperatures: tuple[float, ...] = ()
    fans: Words = field(default_factory=dict)
    swings: Words = field(default_factory=dict)
    swings_horizontal: Words = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an air conditioner offers.

    Attributes:
        ready: whether it can be commanded: it was set up, and says what it can do.
        modes: by Home Assistant's word, ``off`` not among them.
        limits: of the target over all modes, °C.
    """

    ready: bool = False
    modes: Mapping[str, ModeCapabilities] = field(default_factory=dict)
    limits: Range = FALLBACK_LIMITS

    @property
    def fans(self) -> tuple[str, ...]:
        """Every fan speed that some mode offers."""
        offered = {word for mode in self.modes.values() for word in mode.fans}
        return tuple(word for word in _OPTION_ORDER if word in offered)

    @property
    def swings(self) -> tuple[str, ...]:
        """Every position of the vertical vane that some mode offers."""
        offered = {word for mode in self.modes.values() for word in mode.swings}
        return tuple(word for word in SWING.values() if word in offered)

    @property
    def swings_horizontal(self) -> tuple[str, ...]:
        """Every position of the horizontal vane that some mode offers."""
        offered = {word for mode in self.modes.values() for word in mode.swings_horizontal}
        return tuple(word for word in SWING_HORIZONTAL.values() if word in offered)

    def fan_word(self, code: int, mode: str | None) -> str | None:
        """What a fan code means on this unit, in this mode if that is known; ``None`` if nothing is known of it."""
        tables = [self.modes[mode]] if mode is not None and mode in self.modes else []
        for table in (*tables, *self.modes.values()):
            for word, number_of in table.fans.items():
                if number_of == code:
                    return word
        return FAN_SPEEDS.get(code)


NONE: Final = Capabilities()


def read(listed: Mapping[str, Any]) -> Capabilities:
    """The capabilities in an air conditioner's entry of ``/devices``; total, whatever stands in it."""
    caps = listed.get("SupportedCaps")
    if not isinstance(caps, Mapping):
        return NONE
    entries = {
        word: entry for code, word in MODES.items() if word != "off" and (entry := _entry(caps, code)) is not None
    }
    celsius = str(caps.get("temperatureUnit", "C")).upper() == "C"
    fans = {word: _fans(word, entries, caps, listed.get("CodeNum")) for word in entries}
    modes = {
        word: ModeCapabilities(
            temperatures=_temperatures(entry) if celsius and word not in WITHOUT_TARGET else (),
            fans=MappingProxyType(fans[word]),
            swings=MappingProxyType(_by_value(_numbers(entry.get("verticalSwing")), SWING)),
            swings_horizontal=MappingProxyType(_by_value(_numbers(entry.get("horizontalSwing")), SWING_HORIZONTAL)),
        )
        for word, entry in entries.items()
    }
    needs_setup = str(listed.get("SetupRequired", False)).strip().lower() in ("true", "1")
    return Capabilities(
        ready=bool(modes) and not needs_setup,
        modes=MappingProxyType(modes),
        limits=_limits(modes, caps if celsius else {}),
    )


def _entry(caps: Mapping[str, Any], code: int) -> Mapping[str, Any] | None:
    modes = caps.get("modes")
    found = modes.get(str(code)) if isinstance(modes, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _numbers(raw: object) -> tuple[int, ...]:
    """The whole numbers of a list, in its order; what is none is left out."""
    found = []
    for item in raw if isinstance(raw, Sequence) and not isinstance(raw, str | bytes) else ():
        try:
            found.append(integer(item))
        except (TypeError, ValueError):
            continue
    return tuple(found)


def _temperatures(entry: Mapping[str, Any]) -> tuple[float, ...]:
    listed = _numbers(entry.get("temperatures"))
    return tuple(float(value) for value in sorted(set(listed)) if value > 0)


def _limits(modes: Mapping[str, ModeCapabilities], caps: Mapping[str, Any]) -> Range:
    """The widest of the modes, or the range of the unit, whose 0 is a filler (`docs/protocol/mysa.md` 6.2)."""
    temperatures = [value for mode in modes.values() for value in mode.temperatures]
    if temperatures and min(temperatures) < max(temperatures):
        return Range(min(temperatures), max(temperatures))
    bounds = _bounds(caps.get("tempRange"))
    return bounds if bounds is not None else FALLBACK_LIMITS


def _bounds(raw: object) -> Range | None:
    match raw:
        case [low, high]:
            try:
                low, high = float(number(low)), float(number(high))
            except (TypeError, ValueError):
                return None
            low = low if low > 0 else FALLBACK_LIMITS.low
            return Range(low, high) if low < high else None
    return None


def _by_value(codes: Sequence[int], words: Mapping[int, str]) -> dict[str, int]:
    """The codes that the table knows, by their word; of two codes for one word the first."""
    found: dict[str, int] = {}
    for code in codes:
        if code in words:
            found.setdefault(words[code], code)
    return found


def _by_place(codes: Sequence[int]) -> dict[str, int]:
    """The words of a device-wide list; the quiet speed, which is no step of the scale, has its value alone.

    A list that does not begin with auto has gaps, so its places mean nothing and its values have to do.
    """
    steps = [code for code in codes if code in FAN_SPEEDS and code != _SLEEP_FAN]
    if steps[:1] != [_AUTO_FAN]:
        return _by_value(codes, FAN_SPEEDS)
    return dict(zip(_BY_PLACE, steps, strict=False)) | _by_value(codes, {_SLEEP_FAN: FAN_SPEEDS[_SLEEP_FAN]})


def _fans(
    mode: str, entries: Mapping[str, Mapping[str, Any]], caps: Mapping[str, Any], code_set: Any
) -> dict[str, int]:
    """The fan speeds of a mode, from the most specific source that says anything (`docs/protocol/mysa.md` 6.5)."""
    own = _by_value(_numbers(entries[mode].get("fanSpeeds")), FAN_SPEEDS)
    if own:
        return own
    device_wide = _by_place(_numbers(caps.get("fanSpeeds")))
    if device_wide:
        return device_wide
    union = _by_value([code for entry in entries.values() for code in _numbers(entry.get("fanSpeeds"))], FAN_SPEEDS)
    if union:
        return union
    return _by_value(_FANS_BY_CODE_SET.get(_code_set(code_set), _COMMON_FANS), FAN_SPEEDS)


def _code_set(raw: object) -> int:
    """The number of the infrared code set, which is a text on some devices; 0 while unknown."""
    try:
        return integer(raw)
    except (TypeError, ValueError):
        return 0
