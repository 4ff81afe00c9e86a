"""What a checked change becomes: a command, or a write to the REST service (`docs/protocol/mysa.md` 2.7 and 4.10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from navibridge.errors import CommandError
from navibridge.vendors.mysa import codecs
from navibridge.vendors.mysa.capabilities import WITHOUT_TARGET
from navibridge.vendors.mysa.models import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from navibridge.model import Raw, Scalar, Values
    from navibridge.vendors.mysa.capabilities import Capabilities, ModeCapabilities
    from navibridge.vendors.mysa.devices import Thermostat


@dataclass(frozen=True, slots=True)
class Control:
    """What to send for one group of changes.

    Attributes:
        cmd: the settings of a command, for `frames.command`; empty when there is none.
        settings: what to post to ``/devices/<id>``, to be followed by `frames.check_settings`; empty when nothing.
        confirms: attribute values that show it worked.
    """

    cmd: Mapping[str, Raw] = field(default_factory=dict)
    settings: Mapping[str, Raw] = field(default_factory=dict)
    confirms: Values = field(default_factory=dict)


def control(device: Thermostat, changes: Mapping[str, Scalar], values: Values) -> Control:
    """What to send for one group of changes, as `devices.split` made it.

    Args:
        device: whose; its true model and capabilities say what it accepts.
        changes: checked changes, see `navibridge.model.Device.check`.
        values: what is known of the device now.

    Raises:
        CommandError: the device, or the mode that it is in, does not offer this; says what it does.
    """
    body_type(device)
    cmd: dict[str, Raw] = {}
    settings: dict[str, Raw] = {}
    for key, value in changes.items():
        if key in _COMMANDS:
            cmd.update(_COMMANDS[key](device, value, _mode(changes, values)))
        elif key in _SETTINGS:
            settings.update(_SETTINGS[key](value))
        else:
            raise CommandError(f"{key} can not be written", code="read_only")
    return Control(cmd, settings, dict(changes))


def body_type(device: Thermostat) -> int:
    """The ``type`` number of the device's commands.

    Raises:
        CommandError: there is none; says why.
    """
    number = device.true_model.body_type
    if number is None:
        raise CommandError(device.true_model.product.unsupported, code="read_only")
    if device.true_model.family is Family.AC and not device.capabilities.ready:
        raise CommandError("The air conditioner has to be set up in the Mysa app first.", code="read_only")
    return number


def _mode(changes: Mapping[str, Scalar], values: Values) -> str | None:
    """The mode in which the change is to work."""
    mode = changes.get("mode", values.get("mode"))
    return mode if isinstance(mode, str) else None


Builder: TypeAlias = "Callable[[Thermostat, Scalar, str | None], Mapping[str, Raw]]"
"""From the device, the value and the mode to settings of a command."""


def _set_mode(device: Thermostat, value: Scalar, _: str | None) -> Mapping[str, Raw]:
    offered = ("off", *device.capabilities.modes) if device.true_model.family is Family.AC else ("off", "heat")
    if value not in offered:
        raise _not_offered("mode", value, offered)
    return {"md": codecs.MODE.encode(value)}


def _set_target(device: Thermostat, value: Scalar, mode: str | None) -> Mapping[str, Raw]:
    target = float(value)
    if device.true_model.family is not Family.AC:
        return {"sp": target}
    if mode in WITHOUT_TARGET:
        raise CommandError(f"target_temperature: there is none in the mode {mode}", code="not_available")
    mode_offers = device.capabilities.modes.get(mode or "")
    offered = mode_offers.temperatures if mode_offers else ()
    if offered and target not in offered:
        raise CommandError(
            f"target_temperature: {target:g} °C is not offered in the mode {mode}; allowed is "
            f"{offered[0]:g} to {offered[-1]:g} °C",
            code="out_of_range",
        )
    return {"sp": int(target) if target.is_integer() else target}


def _set_word(
    key: str,
    setting: str,
    words_of: Callable[[ModeCapabilities], Mapping[str, int]],
    every_word: Callable[[Capabilities], tuple[str, ...]],
) -> Builder:
    """One of the words that the mode offers, as the code that it has there."""

    def build(device: Thermostat, value: Scalar, mode: str | None) -> Mapping[str, Raw]:
        modes = device.capabilities.modes
        if mode == "off":
            raise CommandError(f"{key}: the unit is off; set a mode with it or before it", code="not_available")
        if mode is not None and mode in modes:
            offered = words_of(modes[mode])
            if value not in offered:
                raise _not_offered(f"{key} in the mode {mode}", value, offered)
            return {setting: offered[str(value)]}
        for capabilities in modes.values():  # the mode is not known yet
            if value in words_of(capabilities):
                return {setting: words_of(capabilities)[str(value)]}
        raise _not_offered(key, value, every_word(device.capabilities))

    return build


def _not_offered(what: str, value: Scalar, offered: Iterable[str]) -> CommandError:
    return CommandError(
        f"{what}: {value!r} is not offered; allowed is {', '.join(offered) or 'nothing'}", code="unknown_option"
    )


def _flag(setting: str) -> Builder:
    return lambda _device, value, _mode: {setting: int(bool(value))}


_COMMANDS: Final[Mapping[str, Builder]] = {
    "mode": _set_mode,
    "target_temperature": _set_target,
    "fan_mode": _set_word("fan_mode", "fn", lambda mode: mode.fans, lambda unit: unit.fans),
    "swing_mode": _set_word("swing_mode", "ss", lambda mode: mode.swings, lambda unit: unit.swings),
    "swing_horizontal_mode": _set_word(
        "swing_horizontal_mode", "ssh", lambda mode: mode.swings_horizontal, lambda unit: unit.swings_horizontal
    ),
    "climate_plus": _flag("it"),
    "tracked_sensor": lambda _device, value, _mode: {"tr": codecs.TRACKED.encode(value)},
}

_SETTINGS: Final[Mapping[str, Callable[[Scalar], Mapping[str, Raw]]]] = {
    # Both representations, so that they can not contradict each other.
    "lock": lambda value: {"Lock": int(bool(value)), "ButtonState": codecs.LOCKED.encode(value)},
    "brightness_active": lambda value: {"MaxBrightness": int(value)},
    "brightness_idle": lambda value: {"MinBrightness": int(value)},
    "auto_brightness": lambda value: {"AutoBrightness": bool(value)},
    "proximity": lambda value: {"ProximityMode": bool(value)},
    "eco": lambda value: {"ecoMode": str(codecs.ECO.encode(value))},
    "display_unit": lambda value: {"Format": codecs.DISPLAY_UNIT.encode(value)},
}
"""What goes by the REST service, which is the better-tested path for all of these (`docs/protocol/mysa.md` 4.10)."""
