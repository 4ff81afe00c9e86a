"""The attribute table of the heat-pump water heaters (NWP500 family, device type 52).

Sections 7 and 8 of `docs/protocol/navilink.md` in the order they have there, `docs/protocol/navilink-binary.md` for the
packed records. What a unit can do is itself read from its feature message; these rows are the `features` of the gates.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from navibridge.errors import FrameError
from navibridge.model import (
    ACTION,
    CODE,
    CONNECTIVITY,
    DAYS,
    ENERGY,
    FLAG,
    FLOW,
    FOREVER,
    HEAT,
    HOURS,
    HOURS_TOTAL,
    NUMBER,
    OPTION,
    PERCENT,
    POWER,
    RUNNING,
    SIGNAL,
    SPEED,
    STORED_ENERGY,
    TEMPERATURE,
    TEMPERATURE_DELTA,
    TEXT,
    VOLUME,
    WATER,
    Attribute,
    Codec,
    Composite,
    Features,
    Kind,
    Quantity,
    Range,
    Scalar,
    Value,
    Values,
    Wire,
)
from navibridge.vendors.navilink import codecs, schedules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.model import Raw

# --- words ------------------------------------------------------------------------------------------------------------

OPERATION_MODES: Final = MappingProxyType(
    {1: "heat_pump", 2: "electric", 3: "energy_saver", 4: "high_demand", 5: "vacation", 6: "power_off"}
)
"""``dhwOperationSetting`` and the parameter of ``dhw-mode`` (`docs/protocol/navilink.md` 9.1)."""

VACATION, POWER_OFF = "vacation", "power_off"

MODES: Final = MappingProxyType(
    {
        "power_off": "off",
        "energy_saver": "eco",
        "heat_pump": "heat_pump",
        "high_demand": "high_demand",
        "electric": "electric",
    }
)
"""Operation mode to Home Assistant's word for it."""

_MODE_FLAGS: Final = {
    "heat_pump": "supports_heat_pump_mode",
    "electric": "supports_electric_mode",
    "energy_saver": "supports_energy_saver_mode",
    "high_demand": "supports_high_demand_mode",
    "vacation": "supports_vacation",
    "power_off": "supports_power",
}

STANDBY, HEAT_PUMP_RUNS, ELECTRIC, BOTH = "standby", "heat_pump", "electric", "heat_pump_and_electric"
ACTIVITIES: Final = MappingProxyType({0: STANDBY, 32: HEAT_PUMP_RUNS, 64: ELECTRIC, 96: BOTH, 33: ELECTRIC, 34: BOTH})
"""``operationMode``, a bit mask; 33 and 34 are the founding description's numbers (`docs/protocol/navilink.md` 9.2)."""

RECIRCULATION_MODES: Final = MappingProxyType({1: "always", 2: "button", 3: "schedule", 4: "temperature"})

_OPERATION_MODE: Final = codecs.table("operation mode 1..6", OPERATION_MODES, unknown=0)
_POWER_STATE: Final = codecs.table("operation mode, 6 is off", dict.fromkeys(range(1, 6), True) | {6: False}, unknown=0)
_VACATION: Final = codecs.table(
    "operation mode, 5 is vacation", {1: False, 5: True} | dict.fromkeys((2, 3, 4, 6), False)
)
_ACTIVITY: Final = codecs.table("bit mask 32 heat pump, 64 element", ACTIVITIES)
_HEAT_USE: Final = codecs.table("heat use 0..3", {0: "none", 1: HEAT_PUMP_RUNS, 2: ELECTRIC, 3: BOTH})
_RECIRCULATION_MODE: Final = codecs.table("recirculation mode 1..4", RECIRCULATION_MODES, unknown=0)
_DR_EVENTS: Final = {
    0: "not_applied",
    1: "run_normal",
    2: "shed",
    3: "load_up",
    4: "advanced_load_up",
    5: "critical_peak",
}
_DR_EVENT: Final = codecs.table("CTA-2045 event 0..5", _DR_EVENTS)
_FORMULA: Final = codecs.table("0 asymmetric, 1 standard", {0: "asymmetric", 1: "standard"})
_ADJUSTMENTS: Final = {1: "not_adjustable", 2: "half_degree", 3: "whole_degree", 4: "three_stages"}
_ADJUSTMENT: Final = codecs.table("adjustment 1..4", _ADJUSTMENTS, unknown=0)
_VOLUME: Final = codecs.table("volume code 1..3", {1: 189.2, 2: 246.0, 3: 302.8})
GALLONS: Final = MappingProxyType({189.2: 50, 246.0: 65, 302.8: 80})
"""Tank volume in litres to the gallons it is sold by."""


_LONGEST_STATE: Final = 255
"""What Home Assistant takes for a state, in characters."""


def _entry_words(words: Callable[[Mapping[str, Any]], str]) -> Codec:
    """The codec of a schedule shown as text; written only as a whole, so there is nothing to encode from."""

    def decode(raw: Raw) -> str:
        try:
            entries = schedules.from_list(raw)
        except FrameError as error:
            raise ValueError(str(error)) from error
        text = "; ".join(words(entry) for entry in entries) or "none"
        return text if len(text) <= _LONGEST_STATE else f"{text[: _LONGEST_STATE - 3]}..."

    def encode(_: Any) -> Raw:
        raise ValueError("a schedule is not written as text")

    return Codec("schedule entries", decode, encode)


_RESERVATION_WORDS: Final = _entry_words(lambda entry: schedules.reservation_words(entry, OPERATION_MODES))
_TOU_WORDS: Final = _entry_words(schedules.tou_words)

# --- gates and limits -------------------------------------------------------------------------------------------------

FALLBACK_LIMITS: Final = Range(35.0, 65.0)
"""Limits of the setpoint while the unit has not told its own (`docs/protocol/navilink.md` 8)."""

VACATION_DAYS: Final = Range(1, 30)
ANTI_LEGIONELLA_DAYS: Final = Range(1, 30)
_HALF_DEGREE, _WHOLE_DEGREE = 0.5, 1.0

RARE: Final = 11_400.0
"""Seconds for which it is shown what is asked for once an hour: three questions, and a little."""


def _not_without(key: str) -> Callable[[Features], bool]:
    """Shown unless the unit says that it lacks the function."""
    return lambda features: features.get(key) is not False


def _only_with(key: str) -> Callable[[Features], bool]:
    """Accepted once the unit has said that it has the function."""
    return lambda features: features.get(key) is True


def _adjustable(features: Features) -> bool:
    """Whether the setpoint may be set; before the unit has told, the documented fallback limits hold."""
    return not features or features.get("temperature_adjustment") not in (None, "not_adjustable")


def _temperature_limits(features: Features) -> Range:
    low, high = features.get("temperature_min"), features.get("temperature_max")
    if isinstance(low, int | float) and isinstance(high, int | float) and 0 < low < high:
        return Range(low, high)
    return FALLBACK_LIMITS


def _temperature_step(features: Features) -> float:
    return _WHOLE_DEGREE if features.get("temperature_adjustment") == "whole_degree" else _HALF_DEGREE


def _offered_operation_modes(features: Features) -> tuple[str, ...]:
    return tuple(mode for mode, flag in _MODE_FLAGS.items() if features.get(flag) is not False)


def _offered_modes(features: Features) -> tuple[str, ...]:
    offered = _offered_operation_modes(features)
    return tuple(word for mode, word in MODES.items() if mode in offered)


# --- short forms of the rows ------------------------------------------------------------------------------------------


def _status(name: str, codec: Codec) -> tuple[Wire, ...]:
    return (Wire("status", name, codec),)


def _both(name: str, codec: Codec, packed_name: str, packed_codec: Codec) -> tuple[Wire, ...]:
    return (Wire("status", name, codec), Wire("packed", packed_name, packed_codec))


def _quiet(  # noqa: PLR0917 - a row reads like a line of the table it stands for
    key: str, name: str, quantity: Quantity, field: str, codec: Codec, source: str, about: str = ""
) -> Attribute:
    """A status field that few need: diagnostic, and not shown unless asked for."""
    reads = _status(field, codec)
    return Attribute(key, name, quantity, reads, category="diagnostic", enabled=False, about=about, source=source)


def _recirculation(  # noqa: PLR0917 - as above
    key: str, name: str, quantity: Quantity, field: str, codec: Codec, about: str = ""
) -> Attribute:
    """A status field of the recirculation kit, which most units lack."""
    reads = _status(field, codec)
    gate = _not_without("supports_recirculation")
    return Attribute(
        key, name, quantity, reads, when=gate, category="diagnostic", enabled=False, about=about, source="7.6"
    )


def _feature(key: str, name: str, quantity: Quantity, fields: str | tuple[str, ...], codec: Codec) -> Attribute:
    """A field of the feature message."""
    names = (fields,) if isinstance(fields, str) else fields
    reads = tuple(Wire("feature", field, codec) for field in names)
    return Attribute(key, name, quantity, reads, lasts=FOREVER, category="diagnostic", enabled=False, source="8")


def _supports(what: str, name: str, *fields: str) -> Attribute:
    """A capability flag of the feature message."""
    return _feature(f"supports_{what}", f"Supports {name}", FLAG, fields, codecs.FLAG)


# --- the table --------------------------------------------------------------------------------------------------------

_SOURCES: Final = (STANDBY, HEAT_PUMP_RUNS, ELECTRIC, BOTH)

_MAIN: Final = (
    Attribute(
        "mode",
        "Mode",
        OPTION,
        writes=True,
        options=_offered_modes,
        writable_when=_only_with("supports_hot_water"),
        needs=("operation_mode",),
        about="Operating mode in Home Assistant's words; during vacation the heating mode before it.",
        source="9.1",
    ),
    Attribute(
        "operation_mode",
        "Operation mode",
        OPTION,
        _status("dhwOperationSetting", _OPERATION_MODE),
        writes=True,
        options=_offered_operation_modes,
        writable_when=_only_with("supports_hot_water"),
        icon="mdi:heat-pump-outline",
        about="The mode its owner chose, vacation and off included.",
        source="9.1",
    ),
    Attribute(
        "power_state",
        "Power",
        FLAG,
        _status("dhwOperationSetting", _POWER_STATE),
        writes=True,
        writable_when=_only_with("supports_power"),
        aliases=("power",),
        icon="mdi:power",
        about="Switched on, whether it heats or not.",
        source="9.1",
    ),
    Attribute(
        "vacation",
        "Vacation",
        FLAG,
        _status("dhwOperationSetting", _VACATION),
        when=_not_without("supports_vacation"),
        icon="mdi:palm-tree",
        about="Vacation mode is on.",
        source="9.1",
    ),
    Attribute(
        "vacation_days",
        "Vacation days",
        DAYS,
        _status("vacationDaySetting", codecs.INTEGER),
        writes=True,
        within=VACATION_DAYS,
        step=1,
        when=_not_without("supports_vacation"),
        writable_when=_only_with("supports_vacation"),
        category="config",
        about="Length of the vacation; setting it alone does not start one.",
        source="7.5",
    ),
    Attribute(
        "target_temperature",
        "Target temperature",
        TEMPERATURE,
        _both("dhwTargetTemperatureSetting", codecs.HALF_CELSIUS, "dhw_temperature_setting", codecs.FAHRENHEIT),
        writes=True,
        within=_temperature_limits,
        step=_temperature_step,
        writable_when=_adjustable,
        source="7.2",
    ),
    Attribute(
        "current_temperature",
        "Hot water temperature",
        TEMPERATURE,
        _both("dhwTemperature", codecs.HALF_CELSIUS, "dhw_temperature", codecs.FAHRENHEIT),
        about="Near the top of the tank.",
        source="7.2",
    ),
    Attribute(
        "tank_charge",
        "Available hot water",
        PERCENT,
        _both("dhwChargePer", codecs.INTEGER, "dhw_charge_per", codecs.INTEGER),
        icon="mdi:water-percent",
        about="How much of the tank is hot.",
        source="7.2",
    ),
    Attribute(
        "usable_energy",
        "Usable energy",
        STORED_ENERGY,
        needs=("tank_energy_total", "tank_energy_deficit"),
        about="Heat stored above the unit's own reference: total less deficit.",
        source="6.3",
    ),
    Attribute(
        "heat_source",
        "Heat source",
        OPTION,
        options=_SOURCES,
        needs=("compressor_running", "upper_element_running", "lower_element_running", "power"),
        icon="mdi:fire",
        about="What really heats now, by the actuators, and by the power where they are unknown.",
        source="13.1",
    ),
    Attribute(
        "power",
        "Electrical power",
        POWER,
        _both("currentInstPower", codecs.INTEGER, "current_inst_power", codecs.INTEGER),
        about="Lags the actuators by one message.",
        source="7.1",
    ),
    Attribute(
        "energy",
        "Energy (estimated)",
        ENERGY,
        needs=("power",),
        integrates="power",
        about="The power summed up by the bridge while it ran.",
    ),
    Attribute(
        "activity",
        "Activity",
        OPTION,
        _both("operationMode", _ACTIVITY, "operation_mode", _ACTIVITY),
        options=_SOURCES,
        about="What the unit says it is doing; follows a change of mode within seconds.",
        source="9.2",
    ),
    Attribute(
        "operation_busy",
        "Heating cycle",
        RUNNING,
        _status("operationBusy", codecs.TRI),
        source="7.1",
    ),
    Attribute(
        "hot_water_in_use",
        "Hot water in use",
        RUNNING,
        _both("dhwUse", codecs.FLAG, "dhw_use", codecs.USE),
        source="7.2",
    ),
    Attribute(
        "compressor_running",
        "Compressor",
        RUNNING,
        _both("compUse", codecs.TRI, "comp_use", codecs.USE),
        source="7.3",
    ),
    Attribute(
        "upper_element_running",
        "Upper element",
        HEAT,
        _both("heatUpperUse", codecs.TRI, "heat_upper_use", codecs.USE),
        source="7.4",
    ),
    Attribute(
        "lower_element_running",
        "Lower element",
        HEAT,
        _both("heatLowerUse", codecs.TRI, "heat_lower_use", codecs.USE),
        source="7.4",
    ),
    Attribute(
        "tank_upper_temperature",
        "Tank upper temperature",
        TEMPERATURE,
        _both("tankUpperTemperature", codecs.TENTH_CELSIUS, "tank_upper_temperature", codecs.TENTH_FAHRENHEIT),
        source="7.2",
    ),
    Attribute(
        "tank_lower_temperature",
        "Tank lower temperature",
        TEMPERATURE,
        _both("tankLowerTemperature", codecs.TENTH_CELSIUS, "tank_lower_temperature", codecs.TENTH_FAHRENHEIT),
        source="7.2",
    ),
    Attribute(
        "error_code",
        "Error code",
        CODE,
        _both("errorCode", codecs.INTEGER, "error_code", codecs.INTEGER),
        category="diagnostic",
        icon="mdi:alert-circle-outline",
        about="0 is no error.",
        source="9.8",
    ),
)

_GENERAL: Final = (
    Attribute(
        "sub_error_code",
        "Error detail",
        CODE,
        _both("subErrorCode", codecs.INTEGER, "sub_error_code", codecs.INTEGER),
        category="diagnostic",
        enabled=False,
        source="9.8",
    ),
    Attribute(
        "wifi_signal",
        "Wi-Fi signal",
        SIGNAL,
        _both("wifiRssi", codecs.INTEGER, "wifi_rssi", codecs.INTEGER),
        category="diagnostic",
        enabled=False,
        about="As the unit sends it; some firmware leaves out the sign.",
        source="7.1",
    ),
    Attribute(
        "device_connected",
        "Cloud connection",
        CONNECTIVITY,
        (Wire("packed", "device_connected", codecs.CONNECTED), Wire("status", "deviceConnected", codecs.CONNECTED)),
        category="diagnostic",
        enabled=False,
        about="The unit's own word in a packed record.",
        source="13.1",
    ),
    Attribute(
        "display_unit",
        "Display unit",
        OPTION,
        (
            Wire("status", "temperatureType", codecs.DISPLAY_UNIT),
            Wire("feature", "temperatureType", codecs.DISPLAY_UNIT),
        ),
        options=("celsius", "fahrenheit"),
        lasts=FOREVER,
        category="diagnostic",
        enabled=False,
        about="The unit shown on the panel; numbers on the wire are metric whatever it says.",
        source="6",
    ),
    Attribute(
        "temperature_formula",
        "Rounding of °F",
        OPTION,
        (Wire("status", "tempFormulaType", _FORMULA), Wire("feature", "tempFormulaType", _FORMULA)),
        options=("asymmetric", "standard"),
        lasts=FOREVER,
        category="diagnostic",
        enabled=False,
        about="How the panel rounds the outdoor temperature to whole °F.",
        source="6.2",
    ),
    Attribute(
        "planned_heat_source",
        "Planned heat source",
        OPTION,
        _status("currentHeatUse", _HEAT_USE),
        options=("none", HEAT_PUMP_RUNS, ELECTRIC, BOTH),
        category="diagnostic",
        enabled=False,
        about="The plan of the current cycle; leads the actuators by seconds.",
        source="9.3",
    ),
    _quiet(
        "special_function", "Special function", CODE, "specialFunctionStatus", codecs.INTEGER, "7.1", "1 is normal."
    ),
    _quiet("restarted", "Restarted", FLAG, "didReload", codecs.FLAG, "7.1", "Its features should be read again."),
    _quiet("fault_status_1", "Fault register 1", CODE, "faultStatus1", codecs.INTEGER, "7.1"),
    _quiet("fault_status_2", "Fault register 2", CODE, "faultStatus2", codecs.INTEGER, "7.1"),
    _quiet("smart_diagnostic", "Self-test result", CODE, "smartDiagnostic", codecs.INTEGER, "7.1", "0 is clean."),
    _quiet("state_number", "Internal state", CODE, "currentStatenum", codecs.INTEGER, "9.4"),
    _quiet("error_buzzer", "Error buzzer", FLAG, "errorBuzzerUse", codecs.FLAG, "7.1"),
)

_HOT_WATER: Final = (
    _quiet(
        "temperature_setting",
        "Temperature setting",
        TEMPERATURE,
        "dhwTemperatureSetting",
        codecs.HALF_CELSIUS,
        "7.2",
        "Repeats the target temperature.",
    ),
    _quiet("second_temperature", "Second sensor", TEMPERATURE, "dhwTemperature2", codecs.HALF_CELSIUS, "7.2"),
    _quiet("sustained_draw", "Long draw", RUNNING, "dhwUseSustained", codecs.FLAG, "7.2"),
    _quiet("demand_heating", "Heating to meet demand", RUNNING, "dhwOperationBusy", codecs.FLAG, "7.2"),
    _quiet("hot_water_flow", "Hot water flow", FLOW, "currentDhwFlowRate", codecs.TENTH_FLOW, "7.2"),
    _quiet("hot_water_total", "Hot water total", WATER, "cumulatedDhwFlowRate", codecs.INTEGER, "7.2"),
    _quiet(
        "inlet_temperature", "Inlet temperature", TEMPERATURE, "currentInletTemperature", codecs.HALF_CELSIUS, "7.2"
    ),
    _quiet("mixing_rate", "Mixing valve", PERCENT, "mixingRate", codecs.INTEGER, "7.2"),
    _quiet(
        "tank_energy_total",
        "Full recovery energy",
        STORED_ENERGY,
        "totalEnergyCapacity",
        codecs.ENERGY_COUNT,
        "6.3",
        "Heat from the unit's reference temperature to the setpoint.",
    ),
    _quiet(
        "tank_energy_deficit",
        "Energy to setpoint",
        STORED_ENERGY,
        "availableEnergyCapacity",
        codecs.ENERGY_COUNT,
        "6.3",
        "Heat still missing, despite the name it has on the wire.",
    ),
)

_REFRIGERATION: Final = (
    Attribute(
        "fan_running",
        "Evaporator fan",
        RUNNING,
        _both("evaFanUse", codecs.FLAG, "eva_fan_use", codecs.USE),
        category="diagnostic",
        enabled=False,
        source="7.3",
    ),
    Attribute(
        "discharge_temperature",
        "Discharge temperature",
        TEMPERATURE,
        _both("dischargeTemperature", codecs.TENTH_CELSIUS, "discharge_temperature", codecs.TENTH_FAHRENHEIT),
        category="diagnostic",
        enabled=False,
        about="Refrigerant leaving the compressor.",
        source="7.3",
    ),
    Attribute(
        "ambient_temperature",
        "Ambient temperature",
        TEMPERATURE,
        _both("ambientTemperature", codecs.TENTH_CELSIUS, "ambient_temperature", codecs.TENTH_FAHRENHEIT),
        category="diagnostic",
        enabled=False,
        about="Air at the intake.",
        source="7.3",
    ),
    Attribute(
        "outdoor_temperature",
        "Outdoor temperature",
        TEMPERATURE,
        _both("outsideTemperature", codecs.HALF_CELSIUS, "outside_temperature", codecs.FAHRENHEIT),
        category="diagnostic",
        enabled=False,
        about="Stays at 0 where no sensor is fitted. The panel's rounding to whole °F is not applied.",
        source="6.2",
    ),
    _quiet("expansion_valve_active", "Expansion valve", RUNNING, "eevUse", codecs.FLAG, "7.3"),
    _quiet("expansion_valve_steps", "Expansion valve position", NUMBER, "eevStep", codecs.INTEGER, "7.3"),
    _quiet("fan_target_speed", "Fan target speed", SPEED, "targetFanRpm", codecs.INTEGER, "7.3"),
    _quiet("fan_speed", "Fan speed", SPEED, "currentFanRpm", codecs.INTEGER, "7.3"),
    _quiet("fan_drive", "Fan drive value", NUMBER, "fanPwm", codecs.INTEGER, "7.3"),
    _quiet(
        "suction_temperature",
        "Suction temperature",
        TEMPERATURE,
        "suctionTemperature",
        codecs.TENTH_CELSIUS,
        "7.3",
        "Refrigerant entering the compressor.",
    ),
    _quiet(
        "evaporator_temperature",
        "Evaporator temperature",
        TEMPERATURE,
        "evaporatorTemperature",
        codecs.TENTH_CELSIUS,
        "7.3",
    ),
    _quiet(
        "superheat_target",
        "Target superheat",
        TEMPERATURE_DELTA,
        "targetSuperHeat",
        codecs.TENTH_KELVIN,
        "7.3",
        "A difference, so no temperature.",
    ),
    _quiet(
        "superheat",
        "Superheat",
        TEMPERATURE_DELTA,
        "currentSuperHeat",
        codecs.TENTH_KELVIN,
        "7.3",
        "A difference, so no temperature.",
    ),
    _quiet("fan_hours", "Fan hours", HOURS_TOTAL, "cumulatedOpTimeEvaFan", codecs.INTEGER, "7.3"),
)


def _thresholds() -> tuple[Attribute, ...]:
    """Start and stop temperatures and their differentials, for both heaters and both zones of the tank."""
    rows = []
    for short, heater, heater_name in (("hp", "heat_pump", "Heat pump"), ("he", "element", "Element")):
        for zone in ("Upper", "Lower"):
            for edge, edge_name in (("On", "start"), ("Off", "stop")):
                key = f"{heater}_{zone.lower()}_{edge.lower()}"
                name = f"{heater_name} {zone.lower()} {edge_name}"
                field = f"{short}{zone}{edge}TempSetting"
                rows.append(
                    _quiet(f"{key}_temperature", f"{name} temperature", TEMPERATURE, field, codecs.HALF_CELSIUS, "7.4")
                )
                spellings = [f"{short}{zone}{edge}DiffTempSetting"]
                if spellings == ["heLowerOnDiffTempSetting"]:
                    spellings.insert(0, "heLowerOnTDiffempSetting")  # this is how the unit spells it
                rows.append(
                    Attribute(
                        f"{key}_difference",
                        f"{name} difference",
                        TEMPERATURE_DELTA,
                        tuple(Wire("status", spelling, codecs.TENTH_KELVIN) for spelling in spellings),
                        category="diagnostic",
                        enabled=False,
                        source="7.4",
                    )
                )
    return tuple(rows)


_FUNCTIONS: Final = (
    _quiet(
        "heat_pump_min_temperature",
        "Lowest heat-pump setpoint",
        TEMPERATURE,
        "heatMinOpTemperature",
        codecs.HALF_CELSIUS,
        "7.4",
    ),
    Attribute(
        "freeze_protection",
        "Freeze protection",
        FLAG,
        _status("freezeProtectionUse", codecs.FLAG),
        when=_not_without("supports_freeze_protection"),
        category="diagnostic",
        enabled=False,
        source="7.5",
    ),
    Attribute(
        "freeze_protection_temperature",
        "Freeze protection temperature",
        TEMPERATURE,
        _status("freezeProtectionTemperature", codecs.HALF_CELSIUS),
        when=_not_without("supports_freeze_protection"),
        category="diagnostic",
        enabled=False,
        about="Read only: nobody has seen a unit accept the control.",
        source="7.5",
    ),
    Attribute(
        "freeze_protection_min",
        "Lowest freeze protection temperature",
        TEMPERATURE,
        tuple(Wire(form, "freezeProtectionTempMin", codecs.HALF_CELSIUS) for form in ("status", "feature")),
        lasts=FOREVER,
        category="diagnostic",
        enabled=False,
        source="7.5",
    ),
    Attribute(
        "freeze_protection_max",
        "Highest freeze protection temperature",
        TEMPERATURE,
        tuple(Wire(form, "freezeProtectionTempMax", codecs.HALF_CELSIUS) for form in ("status", "feature")),
        lasts=FOREVER,
        category="diagnostic",
        enabled=False,
        source="7.5",
    ),
    Attribute(
        "anti_legionella",
        "Anti-legionella",
        FLAG,
        _status("antiLegionellaUse", codecs.TRI),
        writes=True,
        when=_not_without("supports_anti_legionella"),
        writable_when=_only_with("supports_anti_legionella"),
        category="config",
        icon="mdi:bacteria-outline",
        source="7.5",
    ),
    Attribute(
        "anti_legionella_period",
        "Anti-legionella period",
        DAYS,
        _status("antiLegionellaPeriod", codecs.INTEGER),
        writes=True,
        within=ANTI_LEGIONELLA_DAYS,
        step=1,
        when=_not_without("supports_anti_legionella"),
        writable_when=_only_with("supports_anti_legionella"),
        category="config",
        about="Days between two cycles; can be set while the function is on, or together with turning it on.",
        source="7.5",
    ),
    _quiet(
        "anti_legionella_running",
        "Anti-legionella cycle",
        RUNNING,
        "antiLegionellaOperationBusy",
        codecs.TRI,
        "7.5",
    ),
    Attribute(
        "reservations_enabled",
        "Reservations",
        FLAG,
        (
            Wire("status", "programReservationUse", codecs.FLAG),
            Wire("reservations", "reservationUse", codecs.TRI),
        ),
        when=_not_without("supports_reservations"),
        category="diagnostic",
        enabled=False,
        about="The timed reservations are active.",
        source="10.2",
    ),
    Attribute(
        "enable_reservations",
        "Turn reservations on",
        ACTION,
        writes=True,
        when=_only_with("supports_reservations"),
        category="config",
        enabled=False,
        icon="mdi:calendar-clock",
        source="4.4",
    ),
    _quiet("reservation_type", "Reservation type", CODE, "programReservationType", codecs.INTEGER, "7.5"),
    _quiet(
        "vacation_day_counter",
        "Vacation day counter",
        DAYS,
        "vacationDayElapsed",
        codecs.INTEGER,
        "7.5",
        "Elapsed or remaining days; nobody knows for certain.",
    ),
    Attribute(
        "tou_enabled",
        "Time of use",
        FLAG,
        _status("touStatus", codecs.NONZERO),
        writes=True,
        writable_when=_only_with("supports_reservations"),
        category="config",
        enabled=False,
        icon="mdi:cash-clock",
        about="Heating follows the time-of-use plan.",
        source="7.5",
    ),
    _quiet(
        "tou_status", "Time-of-use status", CODE, "touStatus", codecs.INTEGER, "7.5", "The number behind `tou_enabled`."
    ),
    Attribute(
        "tou_override",
        "Time-of-use override",
        FLAG,
        _status("touOverrideStatus", codecs.OVERRIDE),
        writes=True,
        writable_when=_only_with("supports_reservations"),
        category="config",
        enabled=False,
        about="Heating despite the time-of-use plan.",
        source="7.5",
    ),
    Attribute(
        "demand_response_event",
        "Demand-response event",
        OPTION,
        _status("drEventStatus", _DR_EVENT),
        options=tuple(_DR_EVENTS.values()),
        when=_not_without("supports_demand_response"),
        category="diagnostic",
        enabled=False,
        source="9.5",
    ),
    _quiet("demand_response_override", "Demand-response override", HOURS, "drOverrideStatus", codecs.INTEGER, "7.5"),
    *(
        Attribute(
            f"demand_response_{word}",
            f"Demand response {word}",
            ACTION,
            writes=True,
            when=_only_with("supports_demand_response"),
            category="config",
            enabled=False,
            about="No field tells whether it is on, so this is no switch.",
            source="4.4",
        )
        for word in ("on", "off")
    ),
    *(
        Attribute(
            f"adaptive_reservation_{word}",
            f"Adaptive reservation {word}",
            ACTION,
            writes=True,
            when=_only_with("supports_reservations"),
            category="config",
            enabled=False,
            about="No field tells whether it is on, so this is no switch.",
            source="4.4",
        )
        for word in ("on", "off")
    ),
    _quiet(
        "high_limit_switch",
        "High-limit switch",
        FLAG,
        "ecoUse",
        codecs.FLAG,
        "7.5",
        "The safety thermostat (ECO) is fitted; on in normal operation.",
    ),
    _quiet("scald_protection", "Scald protection", FLAG, "scaldUse", codecs.FLAG, "7.5", "On in normal operation."),
    _quiet("shut_off_valve", "Shut-off valve", FLAG, "shutOffValveUse", codecs.FLAG, "7.5"),
    _quiet("condensate_sensor", "Condensate overflow sensor", FLAG, "conOvrSensorUse", codecs.FLAG, "7.5"),
    _quiet("leak_sensor", "Leak sensor", FLAG, "wtrOvrSensorUse", codecs.FLAG, "7.5"),
    _quiet("air_filter_alarm", "Air filter reminder", FLAG, "airFilterAlarmUse", codecs.TRI, "7.5"),
    _quiet("air_filter_period", "Air filter life", HOURS, "airFilterAlarmPeriod", codecs.INTEGER, "7.5"),
    _quiet("air_filter_elapsed", "Air filter hours", HOURS, "airFilterAlarmElapsed", codecs.INTEGER, "7.5"),
    Attribute(
        "reset_air_filter",
        "Reset air filter timer",
        ACTION,
        writes=True,
        category="config",
        enabled=False,
        icon="mdi:air-filter",
        source="4.4",
    ),
)

_RECIRCULATION: Final = (
    Attribute(
        "recirculation_mode",
        "Recirculation mode",
        OPTION,
        _status("recircOperationMode", _RECIRCULATION_MODE),
        writes=True,
        options=tuple(RECIRCULATION_MODES.values()),
        when=_not_without("supports_recirculation"),
        writable_when=_only_with("supports_recirculation"),
        category="config",
        icon="mdi:pump",
        source="9.6",
    ),
    Attribute(
        "recirculation_hot_button",
        "Recirculation hot button",
        ACTION,
        writes=True,
        when=_only_with("supports_recirculation"),
        icon="mdi:gesture-tap-button",
        about="One press starts the recirculation pump.",
        source="4.4",
    ),
    _recirculation("recirculation_pump", "Recirculation pump", RUNNING, "recircPumpOperationStatus", codecs.TRI),
    _recirculation("hot_button_ready", "Hot button ready", FLAG, "recircHotBtnReady", codecs.TRI),
    _recirculation("recirculation_reason", "Recirculation reason", CODE, "recircOperationReason", codecs.INTEGER),
    _recirculation("recirculation_error", "Recirculation error", CODE, "recircErrorStatus", codecs.INTEGER),
    _recirculation("recirculation_running", "Recirculation", RUNNING, "recircOperationBusy", codecs.FLAG),
    Attribute(
        "recirculation_schedule_enabled",
        "Recirculation schedule",
        FLAG,
        (
            Wire("status", "recircReservationUse", codecs.TRI),
            Wire("recirculation_schedule", "reservationUse", codecs.TRI),
        ),
        when=_not_without("supports_recirculation"),
        category="diagnostic",
        enabled=False,
        source="7.6",
    ),
    _recirculation(
        "recirculation_setting", "Recirculation setting", TEMPERATURE, "recircTempSetting", codecs.HALF_CELSIUS
    ),
    _recirculation(
        "recirculation_temperature", "Recirculation temperature", TEMPERATURE, "recircTemperature", codecs.HALF_CELSIUS
    ),
    _recirculation(
        "faucet_temperature", "Faucet temperature", TEMPERATURE, "recircFaucetTemperature", codecs.HALF_CELSIUS
    ),
    _recirculation("recirculation_flow", "Recirculation flow", FLOW, "recircDhwFlowRate", codecs.TENTH_FLOW),
)

_SCHEDULES: Final = (
    Attribute(
        "reservations",
        "Reservation entries",
        NUMBER,
        (Wire("reservations", "reservation", codecs.counting("number of entries")),),
        lasts=RARE,
        category="diagnostic",
        enabled=False,
        source="10.2",
    ),
    Attribute(
        "reservation_list",
        "Reservation list",
        TEXT,
        (Wire("reservations", "reservation", _RESERVATION_WORDS),),
        lasts=RARE,
        category="diagnostic",
        enabled=False,
        about="In the unit's local time; an entry in brackets is switched off.",
        source="10.2",
    ),
    Attribute(
        "tou_plan_enabled",
        "Time-of-use plan",
        FLAG,
        (Wire("tou", "reservationUse", codecs.TRI),),
        lasts=RARE,
        category="diagnostic",
        enabled=False,
        source="10.3",
    ),
    Attribute(
        "tou_intervals",
        "Time-of-use intervals",
        NUMBER,
        (Wire("tou", "reservation", codecs.counting("number of entries")),),
        lasts=RARE,
        category="diagnostic",
        enabled=False,
        source="10.3",
    ),
    Attribute(
        "tou_plan",
        "Time-of-use list",
        TEXT,
        (Wire("tou", "reservation", _TOU_WORDS),),
        lasts=RARE,
        category="diagnostic",
        enabled=False,
        source="10.3",
    ),
    Attribute(
        "recirculation_entries",
        "Recirculation entries",
        NUMBER,
        (Wire("recirculation_schedule", "reservation", codecs.counting("number of entries")),),
        lasts=RARE,
        category="diagnostic",
        enabled=False,
        source="10.4",
    ),
)


def _usage(key: str, name: str, field: str) -> Attribute:
    """A figure of the unit's own energy bookkeeping; see `navibridge.vendors.navilink.devices.usage`."""
    reads = (Wire("energy", field, codecs.WATT_HOURS),)
    return Attribute(key, name, ENERGY, reads, lasts=RARE, category="diagnostic", enabled=False, source="5.6")


_ENERGY: Final = (
    _usage("heat_pump_energy_today", "Heat pump energy today", "today.hpUsage"),
    _usage("element_energy_today", "Element energy today", "today.heUsage"),
    _usage("heat_pump_energy_month", "Heat pump energy this month", "month.hpUsage"),
    _usage("element_energy_month", "Element energy this month", "month.heUsage"),
)

_FEATURES: Final = (
    _feature("country_code", "Country code", CODE, "countryCode", codecs.INTEGER),
    _feature("model_type", "Model type", CODE, "modelTypeCode", codecs.INTEGER),
    _feature("control_type", "Control type", CODE, "controlTypeCode", codecs.INTEGER),
    _feature("tank_volume", "Tank volume", VOLUME, "volumeCode", _VOLUME),
    _feature("controller_version", "Controller firmware", TEXT, "controllerSwVersion", codecs.VERSION),
    _feature("panel_version", "Panel firmware", TEXT, "panelSwVersion", codecs.VERSION),
    _feature("wifi_version", "Wi-Fi firmware", TEXT, "wifiSwVersion", codecs.VERSION),
    _feature("recirculation_version", "Recirculation firmware", TEXT, "recircSwVersion", codecs.VERSION),
    _feature("controller_code", "Controller firmware branch", CODE, "controllerSwCode", codecs.INTEGER),
    _feature("panel_code", "Panel firmware branch", CODE, "panelSwCode", codecs.INTEGER),
    _feature("wifi_code", "Wi-Fi firmware branch", CODE, "wifiSwCode", codecs.INTEGER),
    _feature("recirculation_model", "Recirculation kit", CODE, "recircModelTypeCode", codecs.INTEGER),
    _feature("serial_number", "Serial number", TEXT, "controllerSerialNumber", codecs.WORD),
    Attribute(
        "temperature_adjustment",
        "Setpoint adjustment",
        OPTION,
        (Wire("feature", "dhwTemperatureSettingUse", _ADJUSTMENT),),
        options=tuple(_ADJUSTMENTS.values()),
        lasts=FOREVER,
        category="diagnostic",
        enabled=False,
        source="8",
    ),
    _feature("temperature_min", "Lowest setpoint", TEMPERATURE, "dhwTemperatureMin", codecs.HALF_CELSIUS),
    _feature("temperature_max", "Highest setpoint", TEMPERATURE, "dhwTemperatureMax", codecs.HALF_CELSIUS),
    _feature("recirculation_min", "Lowest recirculation", TEMPERATURE, "recircTemperatureMin", codecs.HALF_CELSIUS),
    _feature("recirculation_max", "Highest recirculation", TEMPERATURE, "recircTemperatureMax", codecs.HALF_CELSIUS),
    _supports("power", "switching off", "powerUse"),
    _supports("hot_water", "hot water functions", "dhwUse"),
    _supports("vacation", "vacation", "holidayUse"),
    _supports("reservations", "schedules", "programReservationUse"),
    _supports("smart_diagnostic", "self-test", "smartDiagnosticUse"),
    _supports("wifi_signal", "signal strength", "wifiRssiUse"),
    _supports("energy_usage", "energy queries", "energyUsageUse"),
    _supports("freeze_protection", "freeze protection", "freezeProtectionUse"),
    _supports("mixing_valve", "mixing valve", "mixingValveUse", "mixingValueUse"),
    _supports("demand_response", "demand response", "drSettingUse"),
    _supports("anti_legionella", "anti-legionella", "antiLegionellaSettingUse"),
    _supports("heat_pump", "heat pump", "hpwhUse"),
    _supports("refill", "refill detection", "dhwRefillUse"),
    _supports("high_limit_switch", "high-limit switch", "ecoUse"),
    _supports("heat_pump_mode", "heat pump mode", "heatpumpUse"),
    _supports("electric_mode", "electric mode", "electricUse"),
    _supports("energy_saver_mode", "energy saver mode", "energySaverUse"),
    _supports("high_demand_mode", "high demand mode", "highDemandUse"),
    _supports("recirculation", "recirculation", "recirculationUse"),
    _supports("recirculation_schedule", "recirculation schedule", "recircReservationUse"),
    _supports("title_24", "California Title 24", "title24Use"),
)

# --- derived values ---------------------------------------------------------------------------------------------------

_STANDBY_WATTS: Final = 10
_HEAT_PUMP_WATTS: Final = 400
_ELEMENT_WATTS: Final = 4000
_HEATING_MODES: Final = frozenset(MODES.values()) - {"off"}


def derive(before: Values, now: Values) -> Values:
    """The values that follow from others: mode, heat source and usable energy."""
    return {"mode": _mode(before, now), "heat_source": _heat_source(now), "usable_energy": _usable_energy(now)}


def _mode(before: Values, now: Values) -> Value:
    """Home Assistant knows no vacation among a water heater's modes: the heating mode before it stands for it."""
    setting = now.get("operation_mode")
    if setting == VACATION:
        earlier = before.get("mode")
        return earlier if earlier in _HEATING_MODES else MODES["energy_saver"]
    return MODES.get(setting) if isinstance(setting, str) else None


def _heat_source(now: Values) -> Value:
    """What really heats (`docs/protocol/navilink.md` 13.1, row 23): the actuators' flags, and power where they lack.

    Known flags go first, because the power lags them by one message.
    """
    compressor = now.get("compressor_running")
    elements = (now.get("upper_element_running"), now.get("lower_element_running"))
    element = True if True in elements else (None if None in elements else False)
    if compressor is not None and element is not None:
        return {(True, True): BOTH, (True, False): HEAT_PUMP_RUNS, (False, True): ELECTRIC}.get(
            (bool(compressor), element), STANDBY
        )
    power, activity = now.get("power"), now.get("activity")
    if isinstance(power, int | float):
        if power <= _STANDBY_WATTS:
            return STANDBY
        if power > _ELEMENT_WATTS:
            return BOTH if compressor or activity == BOTH else ELECTRIC
        if power >= _HEAT_PUMP_WATTS and activity == HEAT_PUMP_RUNS:
            return HEAT_PUMP_RUNS
    if compressor:
        return HEAT_PUMP_RUNS
    return ELECTRIC if element else None


def _usable_energy(now: Values) -> Value:
    total, deficit = now.get("tank_energy_total"), now.get("tank_energy_deficit")
    if isinstance(total, int | float) and isinstance(deficit, int | float):
        return round(max(0.0, total - deficit), 3)
    return None


def split(changes: Mapping[str, Scalar]) -> tuple[Mapping[str, Scalar], ...]:
    """One message for each setting, but one for those that travel together; what switches the unit on goes first.

    A setpoint that is set before the unit is on, or while vacation lasts, would have no effect.
    """
    remaining = dict(changes)
    groups: list[Mapping[str, Scalar]] = []
    for keys in _GROUPS:
        group = {key: remaining.pop(key) for key in keys if key in remaining}
        if keys == _VACATION_GROUP and len(group) > 1 and group["operation_mode"] != VACATION:
            groups.extend(({"operation_mode": group["operation_mode"]}, {"vacation_days": group["vacation_days"]}))
        elif group:
            groups.append(group)
    return (*groups, *({key: value} for key, value in remaining.items()))


_VACATION_GROUP: Final = ("operation_mode", "vacation_days")
_GROUPS: Final = (
    ("power_state",),
    ("mode",),
    _VACATION_GROUP,
    ("anti_legionella", "anti_legionella_period"),
)

HEAT_PUMP: Final = Kind(
    name="heat_pump_water_heater",
    manufacturer="Navien",
    attributes=(
        *_MAIN,
        *_GENERAL,
        *_HOT_WATER,
        *_REFRIGERATION,
        *_thresholds(),
        *_FUNCTIONS,
        *_RECIRCULATION,
        *_SCHEDULES,
        *_ENERGY,
        *_FEATURES,
    ),
    composites=(
        Composite(
            "water_heater",
            "water_heater",
            {
                "mode": "mode",
                "temperature": "target_temperature",
                "current_temperature": "current_temperature",
                "power": "power_state",
            },
        ),
    ),
    ignored={
        "status": frozenset({"command"}),
        "energy": frozenset({"typeOfUsage", "total", "usage"}),
    },
    derive=derive,
    split=split,
)
