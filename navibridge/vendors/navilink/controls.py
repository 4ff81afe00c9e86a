"""What a checked command becomes on the wire, and how its success shows (`docs/protocol/navilink.md` 4.4 and 12.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from navibridge.errors import CommandError
from navibridge.model import Scalar, Values
from navibridge.vendors.navilink import codecs, heat_pump
from navibridge.vendors.navilink.codes import Command, GasCommand
from navibridge.vendors.navilink.gas import GAS_UNIT

if TYPE_CHECKING:
    from navibridge.model import Device


@dataclass(frozen=True, slots=True)
class Control:
    """One message to a device.

    Attributes:
        command: its code.
        mode: its word.
        param: its parameters.
        confirms: attribute values that show it worked; empty when the acknowledgement alone has to do.
        otherwise: other values that show it as well, for a control that devices confirm in one of two ways.
    """

    command: int
    mode: str
    param: tuple[int, ...] = ()
    confirms: Values = field(default_factory=dict)
    otherwise: Values = field(default_factory=dict)

    def confirmed_by(self, values: Values) -> bool:
        """Whether the values of the device's answer show that the control worked."""
        if _holds(self.confirms, values):
            return True
        return bool(self.otherwise) and _holds(self.otherwise, values)


def _holds(expected: Values, values: Values) -> bool:
    return all(values.get(key) == value for key, value in expected.items())


def controls(device: Device, changes: Mapping[str, Scalar], values: Values) -> tuple[Control, ...]:
    """The messages for one group of changes, in the order to send them.

    Args:
        device: whose; its attributes say what this unit accepts.
        changes: checked changes that travel together, as `navibridge.model.Kind.split` grouped them.
        values: what is known of the device now.

    Raises:
        CommandError: the changes contradict each other or the device's state.
    """
    builders = _GAS_BUILDERS if device.kind is GAS_UNIT else _BUILDERS
    made: list[Control] = []
    for key in changes:
        builder = builders.get(key)
        if builder is None:
            raise CommandError(f"{key} can not be written", code="read_only")
        for built in builder(changes, values):
            if built not in made:  # two keys of one group make one message
                made.append(built)
    return tuple(made)


Builder: TypeAlias = Callable[[Mapping[str, Scalar], Values], tuple[Control, ...]]
"""From the changes of one group and the values now to messages."""

# --- heat pumps -------------------------------------------------------------------------------------------------------

_MODE_NUMBERS: Final = {word: number for number, word in heat_pump.OPERATION_MODES.items()}
_OPERATION_MODES: Final = {word: mode for mode, word in heat_pump.MODES.items()}
_RECIRCULATION_NUMBERS: Final = {word: number for number, word in heat_pump.RECIRCULATION_MODES.items()}
_DEFAULT_VACATION_DAYS: Final = 7
_DEFAULT_PERIOD: Final = 7

_POWER_ON: Final = Control(Command.POWER_ON, "power-on", confirms={"power_state": True})
_POWER_OFF: Final = Control(Command.POWER_OFF, "power-off", confirms={"power_state": False})


def _power(changes: Mapping[str, Scalar], _: Values) -> tuple[Control, ...]:
    return (_POWER_ON if changes["power_state"] else _POWER_OFF,)


def _mode(changes: Mapping[str, Scalar], values: Values) -> tuple[Control, ...]:
    return _set_operation_mode(_OPERATION_MODES[str(changes["mode"])], changes, values)


def _operation_mode(changes: Mapping[str, Scalar], values: Values) -> tuple[Control, ...]:
    return _set_operation_mode(str(changes["operation_mode"]), changes, values)


def _set_operation_mode(mode: str, changes: Mapping[str, Scalar], values: Values) -> tuple[Control, ...]:
    if mode == heat_pump.POWER_OFF:
        return (_POWER_OFF,)
    if mode == heat_pump.VACATION:
        wanted = changes.get("vacation_days")
        days = int(wanted) if wanted is not None else _days_to_use(values)
        expected: dict[str, Scalar] = {"operation_mode": mode}
        if wanted is not None:
            expected["vacation_days"] = days
        chosen = Control(Command.OPERATION_MODE, "dhw-mode", (_MODE_NUMBERS[mode], days), expected)
    else:
        chosen = Control(Command.OPERATION_MODE, "dhw-mode", (_MODE_NUMBERS[mode],), {"operation_mode": mode})
    # A unit that is off takes the mode and stays off.
    return (_POWER_ON, chosen) if values.get("power_state") is False else (chosen,)


def _days_to_use(values: Values) -> int:
    return _within(values.get("vacation_days"), heat_pump.VACATION_DAYS.low, heat_pump.VACATION_DAYS.high) or (
        _DEFAULT_VACATION_DAYS
    )


def _within(value: object, low: float, high: float) -> int | None:
    """A stored number as far as it may be sent again."""
    if isinstance(value, int) and low <= value <= high:
        return value
    return None


def _vacation_days(changes: Mapping[str, Scalar], values: Values) -> tuple[Control, ...]:
    if changes.get("operation_mode") == heat_pump.VACATION:
        return _operation_mode(changes, values)
    days = int(changes["vacation_days"])
    confirms = {"vacation_days": days}
    if values.get("operation_mode") == heat_pump.VACATION:
        number = _MODE_NUMBERS[heat_pump.VACATION]
        return (Control(Command.OPERATION_MODE, "dhw-mode", (number, days), confirms),)
    return (Control(Command.VACATION_DAYS, "goout-day", (days,), confirms),)


def _temperature(changes: Mapping[str, Scalar], _: Values) -> tuple[Control, ...]:
    raw = codecs.HALF_CELSIUS.encode(changes["target_temperature"])
    confirms = {"target_temperature": codecs.HALF_CELSIUS.decode(raw)}
    return (Control(Command.TEMPERATURE, "dhw-temperature", (raw,), confirms),)


def _anti_legionella(changes: Mapping[str, Scalar], values: Values) -> tuple[Control, ...]:
    wanted = changes.get("anti_legionella", values.get("anti_legionella"))
    period = changes.get("anti_legionella_period")
    if wanted is not True and period is not None:
        raise CommandError(
            "anti_legionella_period: the unit stores it only while anti_legionella is on; turn that on as well",
            code="not_available",
        )
    if not wanted:
        return (Control(Command.ANTI_LEGIONELLA_OFF, "anti-leg-off", (), {"anti_legionella": False}),)
    limits = heat_pump.ANTI_LEGIONELLA_DAYS
    if period is None:
        days = _within(values.get("anti_legionella_period"), limits.low, limits.high) or _DEFAULT_PERIOD
        return (Control(Command.ANTI_LEGIONELLA_ON, "anti-leg-on", (days,), {"anti_legionella": True}),)
    confirms = {"anti_legionella": True, "anti_legionella_period": int(period)}
    return (Control(Command.ANTI_LEGIONELLA_ON, "anti-leg-on", (int(period),), confirms),)


def _tou(changes: Mapping[str, Scalar], _: Values) -> tuple[Control, ...]:
    if changes["tou_enabled"]:
        return (Control(Command.TOU_ON, "tou-on", (), {"tou_enabled": True}),)
    return (Control(Command.TOU_OFF, "tou-off", (), {"tou_enabled": False}),)


def _tou_override(changes: Mapping[str, Scalar], _: Values) -> tuple[Control, ...]:
    """The override is made by switching the plan off for the while; units show it in one field or the other."""
    if changes["tou_override"]:
        return (Control(Command.TOU_OFF, "tou-off", (), {"tou_override": True}, {"tou_enabled": False}),)
    return (Control(Command.TOU_ON, "tou-on", (), {"tou_override": False, "tou_enabled": True}, {"tou_enabled": True}),)


def _recirculation_mode(changes: Mapping[str, Scalar], _: Values) -> tuple[Control, ...]:
    word = str(changes["recirculation_mode"])
    param = (_RECIRCULATION_NUMBERS[word],)
    return (Control(Command.RECIRCULATION_MODE, "recirc-mode", param, {"recirculation_mode": word}),)


def _always(control: Control) -> Builder:
    return lambda _changes, _values: (control,)


_BUILDERS: Final[Mapping[str, Builder]] = {
    "power_state": _power,
    "mode": _mode,
    "operation_mode": _operation_mode,
    "vacation_days": _vacation_days,
    "target_temperature": _temperature,
    "anti_legionella": _anti_legionella,
    "anti_legionella_period": _anti_legionella,
    "tou_enabled": _tou,
    "tou_override": _tou_override,
    "recirculation_mode": _recirculation_mode,
    "recirculation_hot_button": _always(Control(Command.RECIRCULATION_HOT_BUTTON, "recirc-hotbtn", (1,))),
    "demand_response_on": _always(Control(Command.DEMAND_RESPONSE_ON, "dr-on")),
    "demand_response_off": _always(Control(Command.DEMAND_RESPONSE_OFF, "dr-off")),
    "adaptive_reservation_on": _always(Control(Command.ADAPTIVE_ON, "intelligent-on")),
    "adaptive_reservation_off": _always(Control(Command.ADAPTIVE_OFF, "intelligent-off")),
    "enable_reservations": _always(
        Control(Command.RESERVATIONS_ON, "reservation-mode", (), {"reservations_enabled": True})
    ),
    "reset_air_filter": _always(Control(Command.AIR_FILTER_RESET, "air-filter-reset")),
}

# --- gas units --------------------------------------------------------------------------------------------------------

_GAS_ON, _GAS_OFF = 1, 2
"""The reverse of a heat pump's flags (`docs/protocol/navilink.md` 9.6)."""


def _gas_flag(key: str, command: GasCommand, mode: str) -> Builder:
    def build(changes: Mapping[str, Scalar], _: Values) -> tuple[Control, ...]:
        on = bool(changes[key])
        return (Control(command, mode, (_GAS_ON if on else _GAS_OFF,), {key: on}),)

    return build


def _gas_mode(changes: Mapping[str, Scalar], _: Values) -> tuple[Control, ...]:
    word = str(changes["mode"])
    param = (_GAS_OFF if word == "off" else _GAS_ON,)
    return (Control(GasCommand.POWER, "power", param, {"mode": word}),)


def _gas_temperature(changes: Mapping[str, Scalar], values: Values) -> tuple[Control, ...]:
    codec = {"fahrenheit": codecs.FAHRENHEIT, "celsius": codecs.HALF_CELSIUS}.get(str(values.get("display_unit")))
    if codec is None:
        raise CommandError(
            "target_temperature: whether the unit counts in °C or °F is not known yet", code="not_available"
        )
    raw = codec.encode(changes["target_temperature"])
    confirms = {"target_temperature": codec.decode(raw)}
    return (Control(GasCommand.HOT_WATER_TEMPERATURE, "DHWTemperature", (raw,), confirms),)


_GAS_BUILDERS: Final[Mapping[str, Builder]] = {
    "power_state": _gas_flag("power_state", GasCommand.POWER, "power"),
    "mode": _gas_mode,
    "target_temperature": _gas_temperature,
    "heating": _gas_flag("heating", GasCommand.HEAT, "heat"),
    "hot_button": _gas_flag("hot_button", GasCommand.ON_DEMAND, "onDemand"),
}
