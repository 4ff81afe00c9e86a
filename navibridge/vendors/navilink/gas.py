"""The attribute table of the gas units: tankless, combi, boiler, volume heaters (`docs/protocol/navilink.md` 12).

A gas unit reports in the unit its display is set to, and only its channel information says which. So each form with
temperatures exists once for each unit: ``gas_channel_status_f`` for a unit set to °F, ``gas_channel_status_c`` for one
set to °C. `devices.decode` picks the form. Recorded TCP frames feed the same attributes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from navibridge.model import (
    CODE,
    FLAG,
    FLOW,
    FOREVER,
    GAS,
    NUMBER,
    OPTION,
    PERCENT,
    POWER,
    RUNNING,
    SIGNAL,
    TEMPERATURE,
    TEXT,
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
from navibridge.vendors.navilink import codecs
from navibridge.vendors.navilink.codes import UNIT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INFO, STATUS, SCHEDULE = "gas_channel_info", "gas_channel_status", "gas_schedule"
TCP_INFO, TCP_STATE, TCP_ERROR = "tcp_channel_info", "tcp_state", "tcp_error"
CELSIUS_SUFFIX, FAHRENHEIT_SUFFIX = "_c", "_f"

MODES: Final = ("off", "gas")
FAHRENHEIT_STEP: Final = 5 / 9
"""One degree Fahrenheit; the grid of a unit set to °F, which has 0 °C = 32 °F on it."""

_MODE: Final = codecs.table("1 on, 2 off, 0 unknown", {1: "gas", 2: "off"}, unknown=0)
_UNIT_TYPE: Final = codecs.table("unit type", UNIT_TYPES)
_ON_DEMAND: Final = codecs.table("0 unknown, 1 on, 2 off, 3 warm-up", {1: True, 2: False, 3: True}, unknown=0)
_HEAT_CONTROL: Final = codecs.table("heat control", {1: "supply", 2: "return", 3: "outdoor"}, unknown=0)
_TENFOLD_TYPES: Final = frozenset({"NFC", "NCB_H", "NFB", "NVW"})
"""Units that count their gas rate in tenfold steps (`docs/protocol/navilink.md` 12.5)."""

_WATTS_PER_KCAL_H: Final = 1.163


def _forms(form: str) -> tuple[str, str, str]:
    """A form, with the temperature unit unknown, °C and °F."""
    return form, form + CELSIUS_SUFFIX, form + FAHRENHEIT_SUFFIX


def _plain(form: str, name: str, codec: Codec) -> tuple[Wire, ...]:
    """A field that means the same on every unit."""
    return tuple(Wire(variant, name, codec) for variant in _forms(form))


def _temperature(form: str, name: str) -> tuple[Wire, ...]:
    """A temperature: half degrees on a °C unit, degrees on a °F unit, and not to be read while that is unknown."""
    return (
        Wire(form + CELSIUS_SUFFIX, name, codecs.HALF_CELSIUS),
        Wire(form + FAHRENHEIT_SUFFIX, name, codecs.FAHRENHEIT),
    )


def _temperature_row(
    key: str, name: str, field: str, *, tcp: str = "", form: str = STATUS, enabled: bool = False
) -> Attribute:
    reads = (*_temperature(form, field), *(_temperature(TCP_STATE, tcp) if tcp else ()))
    if enabled:
        return Attribute(key, name, TEMPERATURE, reads, source="12.4")
    return Attribute(key, name, TEMPERATURE, reads, category="diagnostic", enabled=False, source="12.4")


def _quiet(key: str, name: str, quantity: Quantity, field: str, codec: Codec, *, form: str = STATUS) -> Attribute:
    reads = _plain(form, field, codec)
    return Attribute(key, name, quantity, reads, category="diagnostic", enabled=False, source="12.4")


def _within(low: str, high: str) -> Callable[[Features], Range | None]:
    """The limits that the channel information gave; without them nothing is written."""

    def limits(features: Features) -> Range | None:
        least, most = features.get(low), features.get(high)
        if isinstance(least, int | float) and isinstance(most, int | float) and least < most:
            return Range(least, most)
        return None

    return limits


def _step(features: Features) -> float:
    return FAHRENHEIT_STEP if features.get("display_unit") == "fahrenheit" else 0.5


def _has_heating(features: Features) -> bool:
    """Equal limits of the heating setpoint mean that the unit heats no rooms (`docs/protocol/navilink.md` 12.5)."""
    return not features or features.get("heating_temperature_min") != features.get("heating_temperature_max")


def _told_to_heat(features: Features) -> bool:
    """Whether the unit has said that it heats rooms."""
    return bool(features) and _has_heating(features)


def _has_hot_button(features: Features) -> bool:
    return not features or features.get("supports_hot_button") is True


_MAIN: Final = (
    Attribute(
        "mode",
        "Mode",
        OPTION,
        (*_plain(STATUS, "powerStatus", _MODE), *_plain(TCP_STATE, "powerStatus", _MODE)),
        writes=True,
        options=MODES,
        about="On or off, in Home Assistant's words for a water heater.",
        source="12.5",
    ),
    Attribute(
        "power_state",
        "Power",
        FLAG,
        (*_plain(STATUS, "powerStatus", codecs.GAS_FLAG), *_plain(TCP_STATE, "powerStatus", codecs.GAS_FLAG)),
        writes=True,
        aliases=("power",),
        icon="mdi:power",
        source="12.5",
    ),
    Attribute(
        "target_temperature",
        "Target temperature",
        TEMPERATURE,
        (*_temperature(STATUS, "DHWSettingTemp"), *_temperature(TCP_STATE, "hotWaterSettingTemperature")),
        writes=True,
        within=_within("temperature_min", "temperature_max"),
        step=_step,
        source="12.5",
    ),
    _temperature_row("current_temperature", "Outlet temperature", "avgOutletTemp", tcp="hotWaterAverage", enabled=True),
    _temperature_row("inlet_temperature", "Inlet temperature", "avgInletTemp", tcp="inletAverage", enabled=True),
    Attribute(
        "heating",
        "Space heating",
        FLAG,
        (*_plain(STATUS, "heatStatus", codecs.GAS_FLAG), *_plain(TCP_STATE, "heatStatus", codecs.GAS_FLAG)),
        writes=True,
        when=_has_heating,
        writable_when=_told_to_heat,
        icon="mdi:radiator",
        source="12.3",
    ),
    Attribute(
        "heating_temperature",
        "Heating temperature",
        TEMPERATURE,
        (*_temperature(STATUS, "heatSettingTemp"), *_temperature(TCP_STATE, "heatSettingTemperature")),
        when=_has_heating,
        about="Read only: nobody has seen a unit accept the control.",
        source="12.3",
    ),
    Attribute(
        "hot_button",
        "Hot button",
        FLAG,
        (*_plain(STATUS, "onDemandUseFlag", _ON_DEMAND), *_plain(TCP_STATE, "useOnDemand", _ON_DEMAND)),
        writes=True,
        when=_has_hot_button,
        writable_when=lambda features: features.get("supports_hot_button") is True,
        icon="mdi:gesture-tap-button",
        about="Recirculation on demand; on while it warms up, too.",
        source="12.3",
    ),
    Attribute(
        "heating_capacity",
        "Heating capacity",
        PERCENT,
        (
            *_plain(STATUS, "avgCalorie", codecs.HALF_PERCENT),
            *_plain(TCP_STATE, "averageCalorimeter", codecs.HALF_PERCENT),
        ),
        icon="mdi:fire",
        source="12.5",
    ),
    Attribute(
        "hot_water_flow",
        "Hot water flow",
        FLOW,
        (
            *_plain(STATUS, "DHWFlowRate", codecs.TENTH_FLOW),
            *_plain(TCP_STATE, "hotWaterFlowRate", codecs.TENTH_FLOW),
        ),
        source="12.5",
    ),
    Attribute(
        "gas_power",
        "Gas power",
        POWER,
        needs=("gas_rate",),
        about="The heat of the gas burnt; 1 kcal/h is 1.163 W.",
        source="12.5",
    ),
    Attribute(
        "gas_total",
        "Gas used",
        GAS,
        (
            *_plain(STATUS, "accumulatedGasUsage", codecs.TENTH_CUBIC_METRE),
            *_plain(TCP_STATE, "gasAccumulatedUse", codecs.TENTH_CUBIC_METRE),
        ),
        source="12.5",
    ),
    Attribute(
        "error_code",
        "Error code",
        CODE,
        (
            *_plain(STATUS, "errorCode", codecs.INTEGER),
            *_plain(TCP_STATE, "errorCD", codecs.INTEGER),
            Wire(TCP_ERROR, "errorCD", codecs.INTEGER),
        ),
        category="diagnostic",
        icon="mdi:alert-circle-outline",
        about="0 is no error.",
        source="12.4",
    ),
)

_TCP_UNIT: Final = (("controllerVersion", "controller_version"), ("panelVersion", "panel_version"))

_DETAILS: Final = (
    _quiet("sub_error_code", "Error detail", CODE, "subErrorCode", codecs.INTEGER),
    Attribute(
        "unit_type",
        "Unit type",
        OPTION,
        (
            *_plain(STATUS, "unitType", _UNIT_TYPE),
            *_plain(INFO, "unitType", _UNIT_TYPE),
            *_plain(TCP_STATE, "deviceSorting", _UNIT_TYPE),
            *_plain(TCP_INFO, "deviceSorting", _UNIT_TYPE),
            Wire(TCP_ERROR, "deviceSorting", _UNIT_TYPE),
        ),
        options=tuple(UNIT_TYPES.values()),
        category="diagnostic",
        enabled=False,
        source="9.7",
    ),
    Attribute(
        "unit_count",
        "Units",
        NUMBER,
        (
            *_plain(STATUS, "unitCount", codecs.INTEGER),
            *_plain(INFO, "unitCount", codecs.INTEGER),
            *_plain(TCP_STATE, "deviceCount", codecs.INTEGER),
            *_plain(TCP_INFO, "deviceCount", codecs.INTEGER),
            Wire(TCP_ERROR, "deviceCount", codecs.INTEGER),
        ),
        category="diagnostic",
        enabled=False,
        about="Units in a cascade.",
        source="12.4",
    ),
    Attribute(
        "operating_units",
        "Operating units",
        NUMBER,
        (
            *_plain(STATUS, "operationUnitCount", codecs.INTEGER),
            *_plain(TCP_STATE, "operationDeviceNumber", codecs.INTEGER),
        ),
        category="diagnostic",
        enabled=False,
        source="12.4",
    ),
    Attribute(
        "weekly_schedule",
        "Weekly schedule",
        FLAG,
        (
            *_plain(STATUS, "weeklyControl", codecs.GAS_FLAG),
            *_plain(TCP_STATE, "weeklyControl", codecs.GAS_FLAG),
            Wire(SCHEDULE, "weeklyControl", codecs.GAS_FLAG),
        ),
        category="diagnostic",
        enabled=False,
        source="12.6",
    ),
    Attribute(
        "scheduled_days",
        "Scheduled days",
        NUMBER,
        (
            *_plain(STATUS, "totalDayCount", codecs.INTEGER),
            *_plain(TCP_STATE, "totalDaySequence", codecs.INTEGER),
            Wire(SCHEDULE, "totalDayCount", codecs.INTEGER),
        ),
        category="diagnostic",
        enabled=False,
        source="12.6",
    ),
    Attribute(
        "gas_rate",
        "Gas rate count",
        NUMBER,
        (
            *_plain(STATUS, "gasInstantUsage", codecs.INTEGER),
            *_plain(TCP_STATE, "gasInstantUse", codecs.INTEGER),
        ),
        category="diagnostic",
        enabled=False,
        about="As the unit counts it, in steps of 1 or 10 kcal/h.",
        source="12.5",
    ),
    _temperature_row("supply_temperature", "Supply temperature", "avgSupplyTemp", tcp="supplyAverage"),
    _temperature_row("return_temperature", "Return temperature", "avgReturnTemp", tcp="returnAverage"),
    _temperature_row(
        "recirculation_setting", "Recirculation setting", "recirculationSettingTemp", tcp="recirculationSetting"
    ),
    _temperature_row("outdoor_temperature", "Outdoor temperature", "outdoorTemperature"),
    _temperature_row("air_setting", "Air setting", "airSettingTemp"),
    _temperature_row("tank_setting", "Tank setting", "DHWTankSettingTemp"),
    _temperature_row("unit_outlet_temperature", "Unit outlet", "currentOutletTemp", tcp="hotWaterCurrentTemperature"),
    _temperature_row("unit_inlet_temperature", "Unit inlet", "currentInletTemp", tcp="inletTemperature"),
    _temperature_row("unit_supply_temperature", "Unit supply", "currentSupplyTemp", tcp="supplyTemperature"),
    _temperature_row("unit_return_temperature", "Unit return", "currentReturnTemp", tcp="returnTemperature"),
    _temperature_row(
        "recirculation_temperature",
        "Recirculation temperature",
        "currentRecirculationTemp",
        tcp="recirculationTemperature",
    ),
    _temperature_row("supply_air_temperature", "Supply air", "currentSupplyAirTemp"),
    _temperature_row("return_air_temperature", "Return air", "currentReturnAirTemp"),
    _temperature_row("tank_temperature", "Tank temperature", "currentDHWTankTemp"),
    _quiet("fan_air_flow", "Fan air flow", NUMBER, "fanSettingAirFlow", codecs.INTEGER),
    _quiet("activity_code", "Operation code", CODE, "operationMode", codecs.INTEGER),
    _quiet("heating_flow", "Heating flow count", NUMBER, "currentHeatFlowRate", codecs.INTEGER),
    _quiet("blower_flow", "Blower (CFM)", NUMBER, "blowerCFM", codecs.INTEGER),
    _quiet("water_level", "Water level code", CODE, "waterLevel", codecs.INTEGER),
    _quiet("thermostat_status", "Thermostat code", CODE, "thermostatStatus", codecs.INTEGER),
    _quiet("dissolved_solids", "Dissolved solids count", NUMBER, "currentOutputTDSValue", codecs.INTEGER),
    _quiet("water_count", "Water usage count", NUMBER, "accumulatedWaterUsage", codecs.INTEGER),
    _quiet("filter_days", "Days filter used", NUMBER, "daysFilterUsed", codecs.INTEGER),
    _quiet("filter_status", "Filter code", CODE, "filterStatus", codecs.INTEGER),
    _quiet("draws", "Draws", NUMBER, "numOfWaterUse", codecs.INTEGER),
    _quiet("short_draws", "Short draws", NUMBER, "numOfShortWaterUse", codecs.INTEGER),
    _quiet("freeze_protection_active", "Freeze protection", RUNNING, "freezeProtectionStatus", codecs.GAS_FLAG),
    _quiet("ethernet_power_status", "Power over Ethernet code", CODE, "PoEStatus", codecs.INTEGER),
    _quiet("cleaning_solution", "Cleaning solution left", NUMBER, "CIPSolutionRemained", codecs.INTEGER),
    _quiet("cleaning_status", "Cleaning code", CODE, "CIPStatus", codecs.INTEGER),
    _quiet("cleaning_hour", "Cleaning hours", NUMBER, "CIPOperationTimeHour", codecs.INTEGER),
    _quiet("cleaning_minute", "Cleaning minutes", NUMBER, "CIPOperationTimeMin", codecs.INTEGER),
    _quiet("cleaning_supplement", "Cleaning supplement code", CODE, "CIPSolutionSupplement", codecs.INTEGER),
    _quiet("gateway_version", "Gateway firmware", CODE, "swVersion", codecs.INTEGER),
    _quiet("wifi_signal", "Wi-Fi signal", SIGNAL, "wifiRssi", codecs.INTEGER),
    *(
        Attribute(
            key,
            f"{key.split('_', maxsplit=1)[0].capitalize()} firmware",
            CODE,
            (
                *_plain(STATUS, field, codecs.INTEGER),
                *_plain(TCP_STATE, field, codecs.INTEGER),
                Wire(TCP_ERROR, field, codecs.INTEGER),
            ),
            category="diagnostic",
            enabled=False,
            source="12.4",
        )
        for field, key in _TCP_UNIT
    ),
)


def _info(key: str, name: str, quantity: Quantity, field: str, codec: Codec) -> Attribute:
    return replace(_quiet(key, name, quantity, field, codec, form=INFO), lasts=FOREVER)


def _limit(key: str, name: str, field: str, tcp: str = "") -> Attribute:
    reads = (*_temperature(INFO, field), *(_temperature(TCP_INFO, tcp) if tcp else ()))
    return Attribute(key, name, TEMPERATURE, reads, lasts=FOREVER, category="diagnostic", enabled=False, source="12.4")


_FEATURES: Final = (
    Attribute(
        "display_unit",
        "Display unit",
        OPTION,
        (
            *_plain(INFO, "temperatureType", codecs.DISPLAY_UNIT),
            *_plain(TCP_INFO, "deviceTempFlag", codecs.DISPLAY_UNIT),
        ),
        options=("celsius", "fahrenheit"),
        lasts=FOREVER,
        category="diagnostic",
        enabled=False,
        about="The unit of every temperature on the wire, too.",
        source="12.5",
    ),
    _limit("temperature_min", "Lowest setpoint", "setupDHWTempMin", "minWater"),
    _limit("temperature_max", "Highest setpoint", "setupDHWTempMax", "maxWater"),
    _limit("heating_temperature_min", "Lowest heating setpoint", "setupHeatTempMin", "minHeat"),
    _limit("heating_temperature_max", "Highest heating setpoint", "setupHeatTempMax", "maxHeat"),
    _limit("recirculation_min", "Lowest recirculation", "reCirculationSetupTempMin", "minRecirculation"),
    _limit("recirculation_max", "Highest recirculation", "reCirculationSetupTempMax", "maxRecirculation"),
    _limit("tank_setting_min", "Lowest tank setting", "setupDHWTankTempMin"),
    _limit("tank_setting_max", "Highest tank setting", "setupDHWTankTempMax"),
    _limit("air_setting_min", "Lowest air setting", "setupAirTempMin"),
    _limit("air_setting_max", "Highest air setting", "setupAirTempMax"),
    Attribute(
        "supports_hot_button",
        "Supports the hot button",
        FLAG,
        (*_plain(INFO, "onDemandUse", codecs.GAS_FLAG), *_plain(TCP_INFO, "useOnDemand", _ON_DEMAND)),
        lasts=FOREVER,
        category="diagnostic",
        enabled=False,
        source="12.5",
    ),
    Attribute(
        "heat_control",
        "Heating control",
        OPTION,
        (*_plain(INFO, "heatControl", _HEAT_CONTROL), *_plain(TCP_INFO, "heatingControl", _HEAT_CONTROL)),
        options=("supply", "return", "outdoor"),
        lasts=FOREVER,
        category="diagnostic",
        enabled=False,
        source="9.6",
    ),
    _info("warm_weather_shutdown", "Warm weather shutdown", FLAG, "wwsd", codecs.GAS_FLAG),
    _info("commercial_lock", "Commercial lock", FLAG, "commercialLock", codecs.GAS_FLAG),
    _info("recirculation_use", "Recirculation code", CODE, "recirculationUse", codecs.INTEGER),
    _info("high_temperature", "High temperature allowed", FLAG, "highTempDHWUse", codecs.GAS_FLAG),
    _info("panel_switches", "Panel DIP switches", CODE, "panelDipSwitchInfo", codecs.INTEGER),
    _info("main_switches", "Main DIP switches", CODE, "mainDipSwitchInfo", codecs.INTEGER),
    _info("presumed_heat_use", "Presumed heating temperature code", CODE, "presumeHeatTempUse", codecs.INTEGER),
    _info("air_supply_type", "Air supply code", CODE, "airSupplyReturnType", codecs.INTEGER),
    _info("fan_air_flow_min", "Lowest fan air flow", NUMBER, "setupFanAirFlowMin", codecs.INTEGER),
    _info("fan_air_flow_max", "Highest fan air flow", NUMBER, "setupFanAirFlowMax", codecs.INTEGER),
    _info("freeze_protection", "Freeze protection fitted", FLAG, "freezeProtectionUse", codecs.GAS_FLAG),
    _info("tank_sensor", "Tank sensor", FLAG, "DHWTankSensorUse", codecs.GAS_FLAG),
    _info("hot_water_use", "Hot water code", CODE, "DHWUse", codecs.INTEGER),
    _info("tank_use", "Tank code", CODE, "DHWTankUse", codecs.INTEGER),
    Attribute(
        "channel_flags",
        "Channel flags",
        TEXT,
        _plain(
            TCP_INFO,
            "wwsdFlag",
            Codec("bit mask", lambda raw: f"0x{codecs.INTEGER.decode(raw):02x}", lambda value: int(value, 16)),
        ),
        category="diagnostic",
        enabled=False,
        about="0x01 warm-weather fault, 0x02 commercial lock, 0x04 hot water possible, 0x08 recirculation possible.",
        source="12.8",
    ),
)


def derive(_before: Values, now: Values) -> Values:
    """The gas rate as a power; the size of its count depends on the type of unit."""
    return {"gas_power": _gas_power(now.get("gas_rate"), now.get("unit_type"))}


def _gas_power(count: Value, unit_type: Value) -> Value:
    if not isinstance(count, int | float) or unit_type is None:
        return None
    kcal_per_hour = count * (10 if unit_type in _TENFOLD_TYPES else 1)
    return round(kcal_per_hour * _WATTS_PER_KCAL_H, 1)


def split(changes: Mapping[str, Scalar]) -> tuple[Mapping[str, Scalar], ...]:
    """One message for each setting; what switches the unit on goes first."""
    first = [key for key in ("power_state", "mode") if key in changes]
    return tuple({key: changes[key]} for key in (*first, *(key for key in changes if key not in first)))


_TCP_HEADER: Final = frozenset(
    {"deviceID", "countryCD", "controlType", "swVersionMajor", "swVersionMinor", "currentChannel", "deviceNumber"}
)
_TCP_SCHEDULE: Final = frozenset(
    {f"schedule[{day}].{name}" for day in range(7) for name in ("dayOfWeek", "count")}
    | {
        f"schedule[{day}].entries[{entry}].{name}"
        for day in range(7)
        for entry in range(10)
        for name in ("hour", "minute", "flag")
    }
)


def _ignored() -> dict[str, frozenset[str]]:
    """Fields of the envelope, and the weekly schedules, which are no state of one value each."""
    ignored = dict.fromkeys(_forms(TCP_STATE), _TCP_HEADER | _TCP_SCHEDULE)
    channel = frozenset({"channelUse", "channel", "highTemperature", "useWarmWater"})
    ignored |= dict.fromkeys(_forms(TCP_INFO), _TCP_HEADER | channel)
    ignored[TCP_ERROR] = _TCP_HEADER | {"errorFlag"}
    ignored[SCHEDULE] = frozenset({"weeklySchdList"})
    # While the unit's temperature unit is unknown, its temperatures are known fields that can not be read yet.
    for form in (INFO, STATUS, TCP_INFO, TCP_STATE):
        rows = (*_MAIN, *_DETAILS, *_FEATURES)
        names = {wire.name for row in rows for wire in row.reads if wire.form == form + CELSIUS_SUFFIX}
        readable = {wire.name for row in rows for wire in row.reads if wire.form == form}
        ignored[form] = ignored.get(form, frozenset()) | (names - readable)
    return ignored


GAS_UNIT: Final = Kind(
    name="gas_water_heater",
    manufacturer="Navien",
    attributes=(*_MAIN, *_DETAILS, *_FEATURES),
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
    ignored=_ignored(),
    derive=derive,
    split=split,
)
