"""The Mysa devices of an account: a table for each family, and what a frame or a list entry means by them.

The rows stand in `attributes`, what an air conditioner can do in `capabilities`, the commands in `controls`; sessions
and simulators take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from navibridge.errors import FrameError
from navibridge.model import NOTHING, Alert, Attribute, Composite, Decoded, Device, Kind
from navibridge.vendors.mysa import attributes as rows
from navibridge.vendors.mysa import batch, capabilities, codecs, frames, models
from navibridge.vendors.mysa.models import Family, Model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.model import Features, Scalar, Value, Values
    from navibridge.vendors.mysa.batch import BatchReading
    from navibridge.vendors.mysa.capabilities import Capabilities
    from navibridge.vendors.mysa.frames import Frame

VENDOR: Final = "mysa"
MANUFACTURER: Final = "Mysa"

# --- derived values ---------------------------------------------------------------------------------------------------

_AC_ACTIONS: Final = {
    "off": "off",
    "heat": "heating",
    "cool": "cooling",
    "dry": "drying",
    "fan_only": "fan",
    "auto": "idle",
}


def _number(values: Values, key: str) -> float | None:
    value = values.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _heater_action(now: Values, flow: float | None) -> Value:
    """Off, heating or idle; ``flow`` is what shows that it heats. What does not is idle or off, as the mode says."""
    mode = now.get("mode")
    if mode == "off":
        return "off"
    if flow is not None and flow > 0:
        return "heating"
    return None if flow is None or mode is None else "idle"


def _powered(measured: float | None, now: Values) -> dict[str, Value]:
    """The power and where it is from; a measurement goes before an estimate."""
    if measured is not None:
        return {"power": measured, "power_source": rows.MEASURED}
    rated, duty = _number(now, "rated_power"), _number(now, "duty_cycle")
    if rated is None or duty is None:
        return {"power": None, "power_source": None}
    return {"power": rated * duty / 100, "power_source": rows.ESTIMATED}


def _voltage(now: Values) -> float | None:
    line = _number(now, "line_voltage")
    return line if line is not None else _number(now, "nominal_voltage")


def derive_v1(_before: Values, now: Values) -> Values:
    """A baseboard V1 measures the current that flows now. Its duty, told in batches alone, was that of long ago."""
    current, voltage = _number(now, "current"), _voltage(now)
    measured = current * voltage if current is not None and voltage is not None else None
    source = None if measured is None else rows.MEASURED
    return {"action": _heater_action(now, current), "power": measured, "power_source": source}


def derive_v2(_before: Values, now: Values) -> Values:
    """A baseboard V2 tells its relay at once, and the current while on in its batches."""
    heating, duty, voltage = _number(now, "heating_current"), _number(now, "duty_cycle"), _voltage(now)
    current = heating * duty / 100 if heating is not None and duty is not None else None
    measured = current * voltage if current is not None and voltage is not None else None
    return {"action": _heater_action(now, duty), "current": current, **_powered(measured, now)}


def derive_relay(_before: Values, now: Values) -> Values:
    """A Lite and an in-floor tell their relay and measure no current."""
    return {"action": _heater_action(now, _number(now, "duty_cycle")), **_powered(None, now)}


def derive_ac(_before: Values, now: Values) -> Values:
    """An air conditioner is driven by infrared: what it does is known from what it was told."""
    mode = now.get("mode")
    found: dict[str, Value] = {"action": _AC_ACTIONS.get(mode) if isinstance(mode, str) else None}
    if mode in capabilities.WITHOUT_TARGET:
        found["target_temperature"] = None
    return found


# --- how changes travel -----------------------------------------------------------------------------------------------

COMMANDED: Final = (
    "mode",
    "target_temperature",
    "fan_mode",
    "swing_mode",
    "swing_horizontal_mode",
    "climate_plus",
)
"""What one command carries together (`docs/protocol/mysa.md` 4.10)."""

ALONE: Final = ("tracked_sensor",)
"""What goes in a command of its own."""


def split(changes: Mapping[str, Scalar]) -> tuple[Mapping[str, Scalar], ...]:
    """One command for the climate, one for the sensor, and one write for all settings of the REST service."""
    together = {key: changes[key] for key in COMMANDED if key in changes}
    alone = tuple({key: changes[key]} for key in ALONE if key in changes)
    settings = {key: value for key, value in changes.items() if key not in (*COMMANDED, *ALONE)}
    return tuple(group for group in (together, *alone, settings) if group)


# --- tables -----------------------------------------------------------------------------------------------------------

_SETTINGS: Final = (rows.LOCK, rows.BRIGHTNESS_ACTIVE, rows.BRIGHTNESS_IDLE, rows.ECO, rows.DISPLAY_UNIT)
_PRESENCE: Final = (
    rows.WIFI_SIGNAL,
    rows.CONNECTED,
    rows.FIRMWARE,
    rows.FIRMWARE_LATEST,
    rows.UPDATE_AVAILABLE,
)
_HEATER_PARTS: Final = (rows.SENSOR_TEMPERATURE, rows.HEAT_SINK_TEMPERATURE, rows.LINE_VOLTAGE)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NOT_STATE: Final[Mapping[str, frozenset[str]]] = {
    "status_v1": frozenset({"ThermistorTemp", "Stream"}),
    "status_v2": frozenset({"dutyCycle"}),
    "status_infloor": frozenset({"dutyCycle", "dtyCycle"}),
    "status_ac": frozenset({"of", "dir", "stdy", "drft", "1", "9", "98"}),
    "ac_state": frozenset({"1", "9", "98"}),
    "infloor_power": frozenset({"dutyCycle", "prevLnVolt", "currAveMVolt"}),
    "setpoint_change": frozenset({"Prev", "Source"}),
    "result": frozenset({"success", "trig_src", "type", "ho", "da", "tm", "br", "br.a_dr", "br.i_dr"}),
    "log": frozenset({"Level", "Message", "serial"}),
    "post_boot": frozenset({"bootTime", "bootCount"}),
    "batch": frozenset({field.name for field in (*batch.COMMON, *batch.VERSIONS[3], batch.CHECKSUM)}),
    "rest_firmware": frozenset({"Device"}),
    "rest_state": _names(
        "Device Timestamp Google MysaIntegration Mode Duty Current OnTime OffTime FreeHeap Brightness ScheduleMode "
        "HoldTime ACState Delta"
    ),
    "rest_device": _names(
        "Id Model Name Home Zone Owner AllowedUsers MinSetpoint MaxSetpoint SetPoint Mode MeasuredVoltage MaxCurrent "
        "HeaterType DutyCycleOpt Animation TimeZone LastPaired schedGlobalOffset Schedule ButtonAVE ButtonDI "
        "ButtonLowPower ButtonPolling ButtonRepeatDelay ButtonRepeatStart ButtonThreshold CodeNum SetupRequired Brand "
        "SupportedCaps TrackedSensor IsThermostatic Brightness.a_dr Brightness.i_dr"
    ),
}
"""Per form, what is known and no state; the REST service's late copies of live values among it."""


def _ignored(table: tuple[Attribute, ...]) -> dict[str, frozenset[str]]:
    """What a table does not read, though it is known: fields of other families come along in some forms."""
    ignored = {form: set(names) for form, names in _NOT_STATE.items()}
    for row in _EVERY_ROW:
        for wire in row.reads:
            ignored.setdefault(wire.form, set()).add(wire.name)
    read = {(wire.form, wire.name) for row in table for wire in row.reads}
    return {form: frozenset(name for name in names if (form, name) not in read) for form, names in ignored.items()}


_EVERY_ROW: Final = tuple(row for row in vars(rows).values() if isinstance(row, Attribute))

_CLIMATE_ROLES: Final = {
    "mode": "mode",
    "temperature": "target_temperature",
    "current_temperature": "current_temperature",
    "current_humidity": "humidity",
    "action": "action",
}
_FAN_ROLES: Final = {
    "fan_mode": "fan_mode",
    "swing_mode": "swing_mode",
    "swing_horizontal_mode": "swing_horizontal_mode",
}
_UPDATE: Final = Composite("update", "firmware_update", {"installed": "firmware", "latest": "firmware_latest"})


def _kind(
    name: str,
    table: tuple[Attribute, ...],
    derive: Callable[[Values, Values], Values],
    *,
    roles: Mapping[str, str] = _CLIMATE_ROLES,
    status: str = "",
) -> Kind:
    """A table; ``status`` is the form that a device of the sort sends every few seconds."""
    composites = (Composite("climate", "climate", roles), _UPDATE) if roles else (_UPDATE,)
    return Kind(
        name=name,
        manufacturer=MANUFACTURER,
        attributes=table,
        composites=composites,
        ignored=_ignored(table),
        regular=frozenset({status}),
        derive=derive,
        split=split,
    )


def _heater(*electric: Attribute, target: Attribute = rows.HEATER_TARGET) -> tuple[Attribute, ...]:
    return (
        rows.HEATER_MODE,
        target,
        rows.ACTION,
        rows.CURRENT_TEMPERATURE,
        rows.HUMIDITY_ROW,
        *electric,
        rows.RATED_POWER,
        rows.POWER_SOURCE,
        rows.ENERGY_ROW,
        *_SETTINGS,
        *_HEATER_PARTS,
        *_PRESENCE,
    )


BASEBOARD_V1: Final = _kind(
    "baseboard_v1_thermostat",
    _heater(rows.V1_DUTY, rows.V1_POWER, rows.V1_CURRENT, rows.NOMINAL_VOLTAGE),
    derive_v1,
    status="status_v1",
)
BASEBOARD_V2: Final = _kind(
    "baseboard_v2_thermostat",
    (
        *_heater(rows.V2_DUTY, rows.V2_POWER, rows.V2_CURRENT, rows.HEATING_CURRENT, rows.NOMINAL_VOLTAGE),
        rows.AUTO_BRIGHTNESS,
        rows.PROXIMITY,
    ),
    derive_v2,
    status="status_v2",
)
LITE: Final = _kind(
    "baseboard_lite_thermostat", _heater(rows.V2_DUTY, rows.ESTIMATED_POWER), derive_relay, status="status_v2"
)
IN_FLOOR: Final = _kind(
    "in_floor_thermostat",
    _heater(
        rows.FLOOR_TEMPERATURE,
        rows.TRACKED_SENSOR,
        rows.FLOOR_DUTY,
        rows.ESTIMATED_POWER,
        rows.GFCI_OK,
        target=rows.FLOOR_TARGET,
    ),
    derive_relay,
    status="status_infloor",
)
AC: Final = _kind(
    "air_conditioner_controller",
    (
        rows.AC_MODE,
        rows.AC_TARGET,
        rows.AC_ACTION,
        rows.CURRENT_TEMPERATURE,
        rows.HUMIDITY_ROW,
        rows.FAN_MODE,
        rows.SWING_MODE,
        rows.SWING_HORIZONTAL_MODE,
        rows.CLIMATE_PLUS,
        *_SETTINGS,
        rows.SENSOR_TEMPERATURE,
        *_PRESENCE,
    ),
    derive_ac,
    roles={**_CLIMATE_ROLES, **_FAN_ROLES},
    status="status_ac",
)
SENSORS: Final = _kind(
    "unsupported_thermostat",
    (
        rows.CURRENT_TEMPERATURE,
        rows.HUMIDITY_ROW,
        rows.SHOWN_TARGET,
        *_HEATER_PARTS,
        *_PRESENCE,
    ),
    lambda _before, _now: NOTHING,
    roles={},
)

KINDS: Final = (BASEBOARD_V1, BASEBOARD_V2, LITE, IN_FLOOR, AC, SENSORS)
_KIND_OF: Final = {
    Family.BASEBOARD_V1: BASEBOARD_V1,
    Family.BASEBOARD_V2: BASEBOARD_V2,
    Family.LITE: LITE,
    Family.IN_FLOOR: IN_FLOOR,
    Family.AC: AC,
}

_GFCI: Final = Alert(
    "gfci", "gfci_ok", unless=True, words="The ground fault protection has tripped. Have the floor heating checked."
)


def kind_of(family: Family) -> Kind:
    """The table of a family; that of the models which can only be read for all others."""
    return _KIND_OF.get(family, SENSORS)


# --- devices ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thermostat(Device):
    """One device, with what its commands are made by.

    Attributes:
        true_model: what it really is, whatever the account's list says.
        capabilities: of an air conditioner; empty for the others.
    """

    true_model: Model = models.UNKNOWN
    capabilities: Capabilities = capabilities.NONE


def build(
    listed: Mapping[str, Any],
    *,
    user: Mapping[str, Any] | None = None,
    firmware: str | None = None,
    serial: str | None = None,
    seen: frozenset[str] | None = None,
    name: str | None = None,
) -> Thermostat:
    """One entry of the account's list as a device with the attributes that this very unit has.

    Args:
        listed: an object of ``/devices`` (`docs/protocol/mysa.md` 2.3).
        user: ``User`` of ``/users``: it knows the true models. ``None`` while unknown.
        firmware: its version.
        serial: its serial number.
        seen: attribute keys that have arrived from it; ``None`` announces everything that its family may have.
        name: replaces the name of the list.

    Raises:
        FrameError: the entry names no device.
    """
    device_id = frames.normal_id(listed.get("Id"))
    if not device_id:
        raise FrameError("an entry of the device list without an id", sort="device_list")
    model = models.true_model(listed, user)
    found = capabilities.read(listed) if model.family is Family.AC else capabilities.NONE
    given = listed.get("Name")
    own_name = given.strip() if isinstance(given, str) else ""
    return Thermostat(
        vendor=VENDOR,
        id=device_id,
        name=name or own_name or device_id,
        kind=kind_of(model.family),
        attributes=_resolved(model.family, frozenset(features(listed, model, found).items()), seen),
        alerts=(_GFCI,) if model.family is Family.IN_FLOOR else (),
        model=str(model),
        firmware=firmware,
        serial=serial,
        true_model=model,
        capabilities=found,
    )


def features(listed: Mapping[str, Any], model: Model, found: Capabilities) -> Features:
    """What the limits, options and gates of the tables ask for; lists of words as one text."""
    if model.family is Family.AC:
        return {
            "ready": found.ready,
            "target_min": found.limits.low,
            "target_max": found.limits.high,
            "modes": ",".join(found.modes),
            "fans": ",".join(found.fans),
            "swings": ",".join(found.swings),
            "swings_horizontal": ",".join(found.swings_horizontal),
        }
    limits = {"target_min": _limit(listed.get("MinSetpoint")), "target_max": _limit(listed.get("MaxSetpoint"))}
    return {key: value for key, value in limits.items() if value is not None}


def _limit(raw: object) -> float | None:
    try:
        found = codecs.TARGET.decode(raw)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, float) else None


@lru_cache(maxsize=128)
def _resolved(
    family: Family, found: frozenset[tuple[str, Value]], seen: frozenset[str] | None
) -> tuple[Attribute, ...]:
    """The resolved rows, shared by all units that can do the same: an account may hold many alike."""
    return kind_of(family).resolve(dict(found), seen)


# --- readings ---------------------------------------------------------------------------------------------------------


def decode(device: Thermostat, frame: Frame, values: Values = NOTHING) -> Decoded:
    """The values of a frame; total.

    Args:
        device: whose; fan codes mean different speeds on different air conditioners.
        frame: any frame of `frames.parse`, `frames.rest_state` or `frames.rest_device`; a batch has no values here,
            see `decode_reading`.
        values: what is known of the device.
    """
    decoded = device.kind.decode(frame.form, frame.fields)
    if decoded.values.get("fan_mode") is not None and device.capabilities.modes:
        mode = decoded.values.get("mode") or values.get("mode")
        code = codecs.integer(frame.fields[_FAN_FIELDS[frame.form]])
        decoded.values["fan_mode"] = device.capabilities.fan_word(code, str(mode))
    return decoded


_FAN_FIELDS: Final = {wire.form: wire.name for wire in rows.FAN_MODE.reads}


def decode_reading(device: Thermostat, reading: BatchReading) -> Decoded:
    """The values of one record of a batch, as far as it measured them; total."""
    return device.kind.decode("batch", batch.measured(reading))


def settled(rated_watts: float | None) -> Values:
    """The value of what the configuration says of a device."""
    return {} if rated_watts is None else {"rated_power": rated_watts}
