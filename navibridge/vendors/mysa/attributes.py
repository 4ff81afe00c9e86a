"""The attribute rows of the Mysa thermostats, each with every place it is read from (`docs/protocol/mysa.md` 2 to 5).

A row stands in the tables of the families that have it, see `devices`. It may list places that only some of the
families speak; what never arrives from a device is not announced for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from navibridge.model import (
    CONNECTIVITY,
    CURRENT,
    ENERGY,
    FLAG,
    FOREVER,
    HUMIDITY,
    OPTION,
    PERCENT,
    POWER,
    SIGNAL,
    TEMPERATURE,
    TEXT,
    VOLTAGE,
    Attribute,
    Features,
    Quantity,
    Range,
    Sort,
    Wire,
)
from navibridge.vendors.mysa import batch, codecs

if TYPE_CHECKING:
    from navibridge.model import Codec

HEATER_LIMITS: Final = Range(5.0, 30.0)
FLOOR_LIMITS: Final = Range(5.0, 40.0)
"""°C; what the app allows where the device does not say (`docs/protocol/mysa.md` 6.2)."""

HALF_DEGREE, WHOLE_DEGREE = 0.5, 1.0
MEASURED, ESTIMATED = "measured", "estimated"
ACTIONS: Final = ("off", "heating", "cooling", "drying", "fan", "idle")
BRIGHTNESS: Final = Range(0, 100)
UPDATE: Final = Quantity(Sort.FLAG, device_class="update")

SLOW: Final = 3600.0
"""Seconds for which it is shown what comes with batches, which take 20 minutes at times, or with the device list."""

_BATCH: Final = {field.name: field.codec for field in (*batch.COMMON, *batch.VERSIONS[3])}

# --- limits and options of one device ---------------------------------------------------------------------------------


def _limits(features: Features, fallback: Range) -> Range:
    low, high = features.get("target_min"), features.get("target_max")
    if isinstance(low, int | float) and isinstance(high, int | float) and 0 < low < high:
        return Range(low, high)
    return fallback


def _heater_limits(features: Features) -> Range:
    return _limits(features, HEATER_LIMITS)


def _floor_limits(features: Features) -> Range:
    return _limits(features, FLOOR_LIMITS)


def _ac_limits(features: Features) -> Range:
    return _limits(features, Range(16.0, 30.0))


def words(features: Features, name: str) -> tuple[str, ...]:
    """The words of a list that stands in the features as one text."""
    found = features.get(name)
    return tuple(found.split(",")) if isinstance(found, str) and found else ()


def _modes(features: Features) -> tuple[str, ...]:
    offered = words(features, "modes")
    return ("off", *offered) if offered else tuple(codecs.MODES.values())


def _fans(features: Features) -> tuple[str, ...]:
    return words(features, "fans") or ("auto", "low", "medium", "high", "max", "sleep")


def _swings(features: Features) -> tuple[str, ...]:
    return words(features, "swings") or tuple(codecs.SWING.values())


def _swings_horizontal(features: Features) -> tuple[str, ...]:
    return words(features, "swings_horizontal") or tuple(codecs.SWING_HORIZONTAL.values())


def _has_swing(features: Features) -> bool:
    return not features or bool(words(features, "swings"))


def _has_swing_horizontal(features: Features) -> bool:
    return not features or bool(words(features, "swings_horizontal"))


def _ready(features: Features) -> bool:
    return features.get("ready") is not False


# --- climate ----------------------------------------------------------------------------------------------------------


def _setting(name: str, codec: Codec) -> Wire:
    """A field of the device's entry in the list."""
    return Wire("rest_device", name, codec)


def _polled(name: str, codec: Codec) -> Wire:
    """A field of the device's last reported state at the REST service."""
    return Wire("rest_state", name, codec)


def _batch(name: str) -> Wire:
    return Wire("batch", name, _BATCH[name])


def _new(name: str, codec: Codec) -> tuple[Wire, ...]:
    """A field that every status of the new envelope has."""
    return tuple(Wire(form, name, codec) for form in ("status_v2", "status_infloor", "status_ac"))


HEATER_MODE: Final = Attribute(
    "mode",
    "Mode",
    OPTION,
    (Wire("result", "md", codecs.HEATER_MODE), _polled("TstatMode", codecs.HEATER_MODE)),
    writes=True,
    options=("off", "heat"),
    icon="mdi:thermostat",
    about="No status has it: it is known from answers to commands, from the buttons and from the cloud's list.",
    source="4.10",
)

AC_MODE: Final = Attribute(
    "mode",
    "Mode",
    OPTION,
    (
        Wire("status_ac", "mode", codecs.MODE),
        Wire("status_ac", "2", codecs.MODE),
        Wire("ac_state", "2", codecs.MODE),
        Wire("result", "md", codecs.MODE),
        _polled("TstatMode", codecs.MODE),
    ),
    writes=True,
    options=_modes,
    writable_when=_ready,
    icon="mdi:thermostat",
    source="6.4",
)

_TARGET_READS: Final = (
    Wire("status_v1", "SetPoint", codecs.TARGET),
    Wire("setpoint_change", "Next", codecs.TARGET),
    *_new("stpt", codecs.TARGET),
    Wire("status_ac", "3", codecs.TARGET),
    Wire("ac_state", "3", codecs.TARGET),
    Wire("result", "sp", codecs.TARGET),
    _polled("SetPoint", codecs.TARGET),
    _batch("setpoint"),
)

HEATER_TARGET: Final = Attribute(
    "target_temperature",
    "Target temperature",
    TEMPERATURE,
    _TARGET_READS,
    writes=True,
    within=_heater_limits,
    step=HALF_DEGREE,
    about="The limits are those set for the device in the app.",
    source="6.2",
)

FLOOR_TARGET: Final = Attribute(
    "target_temperature",
    "Target temperature",
    TEMPERATURE,
    _TARGET_READS,
    writes=True,
    within=_floor_limits,
    step=HALF_DEGREE,
    about="Of the floor or of the room, as `tracked_sensor` says.",
    source="6.2",
)

AC_TARGET: Final = Attribute(
    "target_temperature",
    "Target temperature",
    TEMPERATURE,
    _TARGET_READS,
    writes=True,
    within=_ac_limits,
    step=WHOLE_DEGREE,
    writable_when=_ready,
    about="Unknown in the modes that have none, dry and fan only.",
    source="6.4",
)

SHOWN_TARGET: Final = Attribute("target_temperature", "Target temperature", TEMPERATURE, _TARGET_READS, source="2.4")

ACTION: Final = Attribute(
    "action",
    "Action",
    OPTION,
    options=ACTIONS,
    needs=("mode", "current", "duty_cycle"),
    icon="mdi:radiator",
    about="What it does now; an air conditioner does not tell, so its mode says it.",
    source="7",
)

AC_ACTION: Final = Attribute(
    "action", "Action", OPTION, options=ACTIONS, needs=("mode",), icon="mdi:hvac", about=ACTION.about, source="7"
)

CURRENT_TEMPERATURE: Final = Attribute(
    "current_temperature",
    "Temperature",
    TEMPERATURE,
    (
        Wire("status_v1", "MainTemp", codecs.CELSIUS),
        *_new("ambTemp", codecs.CELSIUS),
        _polled("CorrectedTemp", codecs.CELSIUS),
        _batch("ambient_temp"),
    ),
    about="Of the room, calibrated.",
    source="2.4",
)

HUMIDITY_ROW: Final = Attribute(
    "humidity",
    "Humidity",
    HUMIDITY,
    (
        Wire("status_v1", "Humidity", codecs.PERCENT),
        *_new("hum", codecs.PERCENT),
        _polled("Humidity", codecs.PERCENT),
        _batch("humidity"),
    ),
    source="2.4",
)

FLOOR_TEMPERATURE: Final = Attribute(
    "floor_temperature",
    "Floor temperature",
    TEMPERATURE,
    (Wire("status_infloor", "flrSnsrTemp", codecs.CELSIUS), _polled("Infloor", codecs.CELSIUS)),
    source="4.7",
)

TRACKED_SENSOR: Final = Attribute(
    "tracked_sensor",
    "Temperature source",
    OPTION,
    (
        Wire("status_infloor", "trackedSnsr", codecs.TRACKED),
        Wire("result", "tr", codecs.TRACKED),
        _polled("TrackedSensor", codecs.TRACKED),
    ),
    writes=True,
    options=(codecs.AMBIENT, codecs.FLOOR),
    category="config",
    icon="mdi:thermometer-lines",
    about="Which of the two temperatures is brought to the target.",
    source="4.7",
)

FAN_MODE: Final = Attribute(
    "fan_mode",
    "Fan speed",
    OPTION,
    (
        Wire("status_ac", "4", codecs.FAN),
        Wire("ac_state", "4", codecs.FAN),
        Wire("result", "fn", codecs.FAN),
        _polled("FanSpeed", codecs.FAN),
    ),
    writes=True,
    options=_fans,
    writable_when=_ready,
    icon="mdi:fan",
    about="Each mode offers its own choice of them.",
    source="6.5",
)

SWING_MODE: Final = Attribute(
    "swing_mode",
    "Swing",
    OPTION,
    (
        Wire("status_ac", "5", codecs.VANE),
        Wire("ac_state", "5", codecs.VANE),
        Wire("result", "ss", codecs.VANE),
        _polled("SwingState", codecs.VANE),
    ),
    writes=True,
    options=_swings,
    when=_has_swing,
    writable_when=_ready,
    icon="mdi:arrow-up-down",
    source="6.5",
)

SWING_HORIZONTAL_MODE: Final = Attribute(
    "swing_horizontal_mode",
    "Horizontal swing",
    OPTION,
    (
        Wire("result", "ssh", codecs.VANE_HORIZONTAL),
        _polled("SwingStateHorizontal", codecs.VANE_HORIZONTAL),
    ),
    writes=True,
    options=_swings_horizontal,
    when=_has_swing_horizontal,
    writable_when=_ready,
    icon="mdi:arrow-left-right",
    source="6.5",
)

CLIMATE_PLUS: Final = Attribute(
    "climate_plus",
    "Climate+",
    FLAG,
    (
        Wire("status_ac", "it", codecs.FLAG),
        Wire("result", "it", codecs.FLAG),
        _polled("IsThermostatic", codecs.FLAG),
    ),
    writes=True,
    writable_when=_ready,
    category="config",
    icon="mdi:thermostat-auto",
    about="Regulate by the temperature that the Mysa measures instead of the unit's own.",
    source="2.3",
)

# --- electricity ------------------------------------------------------------------------------------------------------

_DUTY_IN_BATCH: Final = Wire("batch", "duty_fraction", codecs.DUTY)


def _duty(*live: Wire, about: str) -> Attribute:
    reads = (*live, _DUTY_IN_BATCH)
    return Attribute(
        "duty_cycle", "Duty cycle", PERCENT, reads, lasts=SLOW, icon="mdi:percent", about=about, source="7"
    )


V1_DUTY: Final = _duty(about="Of the last interval that the device reported, half a minute each.")
V2_DUTY: Final = _duty(
    Wire("status_v2", "dtyCycle", codecs.DUTY), about="The relay now, all or nothing; from a batch, of half a minute."
)
FLOOR_DUTY: Final = _duty(Wire("status_infloor", "heatStat", codecs.DUTY), about=V2_DUTY.about)

V1_CURRENT: Final = Attribute(
    "current", "Current", CURRENT, (Wire("status_v1", "Current", codecs.AMPERE),), about="Flowing now.", source="4.5"
)
V2_CURRENT: Final = Attribute(
    "current",
    "Current",
    CURRENT,
    needs=("heating_current",),
    about="Flowing now: the current while on, if the relay is on.",
    source="7",
)
HEATING_CURRENT: Final = Attribute(
    "heating_current",
    "Current while heating",
    CURRENT,
    (_batch("current"),),
    lasts=SLOW,
    category="diagnostic",
    enabled=False,
    source="5.2",
)
LINE_VOLTAGE: Final = Attribute(
    "line_voltage",
    "Line voltage",
    VOLTAGE,
    (
        Wire("status_infloor", "lineVtg", codecs.VOLTAGE),
        Wire("infloor_power", "currLnVolt", codecs.VOLTAGE),
        _polled("Voltage", codecs.VOLTAGE),
        _polled("LineVoltage", codecs.VOLTAGE),
        _batch("line_voltage"),
    ),
    lasts=SLOW,
    category="diagnostic",
    source="2.4",
)
NOMINAL_VOLTAGE: Final = Attribute(
    "nominal_voltage",
    "Nominal voltage",
    VOLTAGE,
    (_setting("Voltage", codecs.VOLTAGE),),
    lasts=FOREVER,
    category="diagnostic",
    announced=False,
    about="As it was set up; stands in for the line voltage until that has been measured.",
    source="2.3",
)
RATED_POWER: Final = Attribute(
    "rated_power",
    "Rated power",
    POWER,
    (Wire("settings", "rated_watts", codecs.NUMBER),),
    lasts=FOREVER,
    category="diagnostic",
    announced=False,
    about="As it stands in the configuration.",
    source="7",
)
V1_POWER: Final = Attribute(
    "power",
    "Power",
    POWER,
    needs=("current",),
    about="Measured: current times line voltage.",
    source="7",
)
V2_POWER: Final = Attribute(
    "power",
    "Power",
    POWER,
    needs=("heating_current", "rated_power"),
    about="The measured current while on times line voltage times duty; before that is known, rated power times duty.",
    source="7",
)
ESTIMATED_POWER: Final = Attribute(
    "power",
    "Power",
    POWER,
    needs=("rated_power",),
    about="Rated power times duty; the device measures no current.",
    source="7",
)
POWER_SOURCE: Final = Attribute(
    "power_source",
    "Power source",
    OPTION,
    options=(MEASURED, ESTIMATED),
    needs=("current", "heating_current", "rated_power"),
    category="diagnostic",
    enabled=False,
    about="Whether `power` was measured, or estimated from the rated power.",
    source="7",
)
ENERGY_ROW: Final = Attribute(
    "energy",
    "Energy",
    ENERGY,
    (Wire("ledger", "energy", codecs.NUMBER),),
    lasts=FOREVER,
    about="Counted from the live messages and from the readings that the device delivers later.",
    source="7",
)
GFCI_OK: Final = Attribute(
    "gfci_ok",
    "Ground fault protection OK",
    FLAG,
    (Wire("infloor_power", "gfciStatus", codecs.FAULTLESS),),
    lasts=SLOW,
    category="diagnostic",
    icon="mdi:shield-check",
    source="4.7",
)

# --- settings ---------------------------------------------------------------------------------------------------------

LOCK: Final = Attribute(
    "lock",
    "Lock",
    FLAG,
    (
        Wire("result", "lk", codecs.LOCKED),
        _polled("Lock", codecs.LOCKED),
        _setting("Lock", codecs.LOCKED),
        _setting("ButtonState", codecs.LOCKED),
    ),
    writes=True,
    category="config",
    icon="mdi:lock",
    about="Whether the buttons on the device are locked.",
    source="2.7",
)


def _brightness(key: str, name: str, field: str, nested: str, about: str) -> Attribute:
    reads = (
        _setting(field, codecs.PERCENT),
        _setting(f"Brightness.{nested}", codecs.PERCENT),
        Wire("result", f"br.{nested}", codecs.PERCENT),
    )
    return Attribute(
        key,
        name,
        PERCENT,
        reads,
        writes=True,
        within=BRIGHTNESS,
        step=1,
        lasts=SLOW,
        category="config",
        icon="mdi:brightness-6",
        about=about,
        source="2.3",
    )


BRIGHTNESS_ACTIVE: Final = _brightness(
    "brightness_active", "Brightness while used", "MaxBrightness", "a_br", "Of the display, while somebody uses it."
)
BRIGHTNESS_IDLE: Final = _brightness(
    "brightness_idle", "Brightness while idle", "MinBrightness", "i_br", "Of the display, the rest of the time."
)
AUTO_BRIGHTNESS: Final = Attribute(
    "auto_brightness",
    "Automatic brightness",
    FLAG,
    (
        _setting("AutoBrightness", codecs.FLAG),
        _setting("Brightness.a_b", codecs.FLAG),
        Wire("result", "br.a_b", codecs.FLAG),
    ),
    writes=True,
    lasts=SLOW,
    category="config",
    icon="mdi:brightness-auto",
    source="2.3",
)
PROXIMITY: Final = Attribute(
    "proximity",
    "Wake on approach",
    FLAG,
    (_setting("ProximityMode", codecs.FLAG), Wire("result", "pr", codecs.FLAG)),
    writes=True,
    lasts=SLOW,
    category="config",
    icon="mdi:motion-sensor",
    source="2.3",
)
ECO: Final = Attribute(
    "eco",
    "Eco mode",
    FLAG,
    (_setting("ecoMode", codecs.ECO),),
    writes=True,
    lasts=SLOW,
    category="config",
    icon="mdi:leaf",
    source="2.3",
)
DISPLAY_UNIT: Final = Attribute(
    "display_unit",
    "Display unit",
    OPTION,
    (_setting("Format", codecs.DISPLAY_UNIT),),
    writes=True,
    options=("celsius", "fahrenheit"),
    lasts=SLOW,
    category="config",
    icon="mdi:temperature-celsius",
    about="On the device alone; what is published is the bridge's own choice.",
    source="2.3",
)

# --- diagnostics ------------------------------------------------------------------------------------------------------

SENSOR_TEMPERATURE: Final = Attribute(
    "sensor_temperature",
    "Sensor temperature",
    TEMPERATURE,
    (
        Wire("status_v1", "ComboTemp", codecs.CELSIUS),
        _polled("SensorTemp", codecs.CELSIUS),
        _batch("sensor_temp"),
    ),
    lasts=SLOW,
    category="diagnostic",
    enabled=False,
    about="Raw; the device's own electronics warm it.",
    source="2.4",
)
HEAT_SINK_TEMPERATURE: Final = Attribute(
    "heat_sink_temperature",
    "Heat sink temperature",
    TEMPERATURE,
    (_polled("HeatSink", codecs.CELSIUS), _batch("heat_sink")),
    lasts=SLOW,
    category="diagnostic",
    enabled=False,
    source="2.4",
)
WIFI_SIGNAL: Final = Attribute(
    "wifi_signal",
    "Wi-Fi signal",
    SIGNAL,
    (_polled("Rssi", codecs.SIGNAL), _batch("rssi")),
    lasts=SLOW,
    category="diagnostic",
    enabled=False,
    source="2.4",
)
CONNECTED: Final = Attribute(
    "connected",
    "Connected",
    CONNECTIVITY,
    (_polled("Connected", codecs.FLAG),),
    category="diagnostic",
    about="What the cloud thinks; it may lag by hours.",
    source="8.6",
)
FIRMWARE: Final = Attribute(
    "firmware",
    "Firmware",
    TEXT,
    (
        Wire("boot_firmware", "fw", codecs.TEXT),
        Wire("boot_firmware", "version", codecs.TEXT),
        Wire("post_boot", "version", codecs.TEXT),
        Wire("log", "version", codecs.TEXT),
        Wire("rest_firmware", "InstalledVersion", codecs.TEXT),
        Wire("rest_update", "installedVersion", codecs.TEXT),
    ),
    lasts=FOREVER,
    category="diagnostic",
    icon="mdi:chip",
    source="2.2",
)
FIRMWARE_LATEST: Final = Attribute(
    "firmware_latest",
    "Latest firmware",
    TEXT,
    (Wire("rest_update", "allowedVersion", codecs.TEXT),),
    lasts=FOREVER,
    category="diagnostic",
    icon="mdi:chip",
    source="2.2",
)
UPDATE_AVAILABLE: Final = Attribute(
    "update_available",
    "Update available",
    UPDATE,
    (Wire("rest_update", "update", codecs.FLAG),),
    lasts=FOREVER,
    category="diagnostic",
    enabled=False,
    source="2.2",
)
