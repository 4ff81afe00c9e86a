"""What a thermostat says of itself, in the vendor's own fields (`docs/protocol/mysa.md` 2.4, 4.5 to 4.11 and 5).

Every function takes a device as it is and returns a JSON object or the bytes of a record; who may hear it, and when, is
the business of `navibridge.vendors.mysa.simulated.thermostat`. All temperatures are °C.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from navibridge.vendors.mysa import batch, codecs
from navibridge.vendors.mysa.models import Family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.vendors.mysa.simulated.physics import Zone

BATCH_VERSIONS: Final[Mapping[Family, int]] = {
    Family.BASEBOARD_V1: 0,
    Family.IN_FLOOR: 1,
    Family.BASEBOARD_V2: 3,
    Family.LITE: 3,
}
"""The version of the binary records of a family; the others send none."""

WITHOUT_METER: Final = frozenset({Family.LITE, Family.AC})
"""The families that measure neither voltage nor current."""

BY_APP, BY_BUTTONS = 3, 1
"""Who changed something."""

AC_ON, AC_OFF = 2, 1
FROM_DEVICE: Final = 1
UNMEASURED: Final = -1
TARGETLESS: Final = frozenset({"dry"})


@dataclass(slots=True)
class Panel:
    """What a thermostat keeps besides the climate.

    Attributes:
        locked: whether its buttons are.
        brightness: of its display, under the vendor's names (`docs/protocol/mysa.md` 2.3); percent and seconds.
        proximity: whether it wakes when somebody comes near.
        hold: 1 follows the schedule, 2 does not.
        hold_until: when the schedule goes on, epoch seconds; -1 at the next change of the schedule, or never.
    """

    locked: bool = False
    brightness: dict[str, int] = field(
        default_factory=lambda: {"a_b": 1, "a_br": 90, "a_dr": 60, "i_br": 25, "i_dr": 30}
    )
    proximity: bool = True
    hold: int = 1
    hold_until: int = -1


@dataclass(frozen=True, slots=True)
class Interval:
    """What was measured since the record before.

    Attributes:
        at: its end, epoch seconds.
        on: seconds that the heater was on.
        off: seconds that it was not.
        rssi: dBm; 1 or -1 on models that do not measure it.
        free_heap: bytes.
    """

    at: int
    on: float
    off: float
    rssi: int
    free_heap: int

    @property
    def duty(self) -> float:
        """The part of the time that the heater was on."""
        whole = self.on + self.off
        return self.on / whole if whole else 0.0


# --- envelopes --------------------------------------------------------------------------------------------------------


def legacy(device_id: str, number: int, fields: Mapping[str, Any], *, at: float) -> dict[str, Any]:
    """A message in the older envelope."""
    return {"Device": device_id, "MsgType": number, **fields, "Timestamp": int(at)}


def message(
    device_id: str,
    number: int,
    body: Mapping[str, Any],
    *,
    at: float,
    sent_id: int | None = None,
    resp_id: int | None = None,
) -> dict[str, Any]:
    """A message in the newer envelope; both ids are left out where there are none."""
    ids = {"id": sent_id, "resp_id": resp_id}
    return {
        "ver": "1.0",
        "src": {"ref": device_id, "type": FROM_DEVICE},
        "time": int(at),
        "msg": number,
        **{name: number for name, number in ids.items() if number is not None},
        "body": dict(body),
    }


# --- live messages ----------------------------------------------------------------------------------------------------


def status_v1(zone: Zone) -> dict[str, Any]:
    """MsgType 0; the triac lets the current through in parts, so what flows now is between none and all."""
    state = zone.state
    return {
        "ComboTemp": round(state.sensor, 2),
        "Current": round(zone.current, 2),
        "Humidity": float(round(state.humidity)),
        "MainTemp": round(state.air, 2),
        "SetPoint": state.setpoint,
        "Stream": 1,
        "ThermistorTemp": 0.0,
    }


def status_v2(zone: Zone) -> dict[str, Any]:
    """Msg 40; the duty is the relay at this moment."""
    state = zone.state
    return {
        "ambTemp": round(state.air, 1),
        "hum": float(round(state.humidity)),
        "stpt": state.setpoint,
        "dtyCycle": 1.0 if state.relay else 0.0,
    }


def status_infloor(zone: Zone) -> dict[str, Any]:
    """Msg 17, and at times msg 40; its ``dutyCycle`` says nothing, as on the real one."""
    state = zone.state
    return {
        "ambTemp": round(state.air, 1),
        "flrSnsrTemp": round(state.surface, 1),
        "hum": round(state.humidity),
        "stpt": state.setpoint,
        "heatStat": int(state.relay),
        "trackedSnsr": codecs.TRACKED.encode(state.tracked),
        "lineVtg": round(state.voltage),
        "dutyCycle": 0.9712,
    }


def electricity(zone: Zone) -> dict[str, Any]:
    """Msg 16 of the in-floor."""
    volts = round(zone.state.voltage)
    return {
        "dutyCycle": 0.5087,
        "prevLnVolt": volts,
        "currLnVolt": volts,
        "currAveMVolt": 1718 + volts % 5,
        "gfciStatus": 0,
    }


def status_ac(zone: Zone) -> dict[str, Any]:
    """Msg 30."""
    state = zone.state
    return {
        "ambTemp": round(state.air, 1),
        "hum": round(state.humidity),
        "stpt": target(zone),
        "mode": codecs.MODE.encode(state.mode),
        "it": int(state.climate_plus),
        "of": 0,
        "dir": 0,
        "stdy": 0,
        "drft": 0,
        **ac_state(zone),
    }


def ac_state(zone: Zone) -> dict[str, int | float]:
    """The compact keys of msg 30, msg 31 and REST's ``ACState``."""
    state = zone.state
    return {
        "1": AC_OFF if state.mode == "off" else AC_ON,
        "2": codecs.MODE.encode(state.mode),
        "3": target(zone),
        "4": state.fan,
        "5": state.swing,
        "9": 2,
        "98": 3,
    }


def target(zone: Zone) -> int | float:
    """The target of an air conditioner, whole degrees; 0 in a mode that has none."""
    return 0 if zone.state.mode in TARGETLESS else round(zone.state.setpoint)


def changed(family: Family, zone: Zone, panel: Panel) -> dict[str, Any]:
    """The ``state`` of msg 44: what was set, as it is now."""
    state = zone.state
    found: dict[str, Any] = {
        "br": panel.brightness["a_br"],
        "ho": panel.hold,
        "lk": int(panel.locked),
        "md": codecs.MODE.encode(state.mode),
        "sp": float(target(zone) if family is Family.AC else state.setpoint),
    }
    if family is Family.AC:
        found |= {"da": 2, "it": int(state.climate_plus), "ss": state.swing, "ssh": state.swing_horizontal}
        if state.mode != "heat":  # then the real one says nothing of its fan
            found["fn"] = state.fan
    elif family is Family.IN_FLOOR:
        found["tr"] = codecs.TRACKED.encode(state.tracked)
    return found


# --- binary readings --------------------------------------------------------------------------------------------------


def record(family: Family, zone: Zone, interval: Interval) -> bytes:
    """One binary record of a family that sends them."""
    version = BATCH_VERSIONS[family]
    state = zone.state
    metered = family not in WITHOUT_METER
    values = {
        "timestamp": interval.at,
        "sensor_temp": state.sensor,
        "ambient_temp": state.air,
        "setpoint": state.setpoint,
        "humidity": state.humidity,
        "duty": 100 * interval.duty,
        "on_time": interval.on,
        "off_time": interval.off,
        "heat_sink": state.heat_sink,
        "free_heap": interval.free_heap,
        "rssi": interval.rssi,
        "on_off": int(interval.on > 0),
        "line_voltage": state.voltage if metered else 0,
        "current": zone.on_current if metered and interval.on > 0 else 0,
    }
    return batch.encode_record(version, batch.scale(version, values))


# --- REST -------------------------------------------------------------------------------------------------------------


def rest_state(family: Family, zone: Zone, panel: Panel, interval: Interval) -> dict[str, Any]:
    """The measured fields of ``/devices/state``, without their times."""
    state = zone.state
    ac = family is Family.AC
    fields: dict[str, Any] = {
        "Brightness": panel.brightness["a_br"],
        "HoldTime": panel.hold_until,
        "Lock": int(panel.locked),
        "ScheduleMode": panel.hold,
        "CorrectedTemp": round(state.air, 1),
        "SensorTemp": round(state.sensor, 1),
        "Humidity": round(state.humidity),
        "SetPoint": target(zone) if ac else state.setpoint,
        "TstatMode": codecs.MODE.encode(state.mode),
        # The current while on, whether it is on or not.
        "Current": round(zone.on_current, 2) if family not in WITHOUT_METER else 0,
        "Voltage": round(state.voltage),
        "OnTime": round(interval.on, 1),
        "OffTime": round(interval.off, 1),
        "Rssi": interval.rssi,
        "FreeHeap": interval.free_heap,
    }
    if family is Family.LITE:
        fields["Voltage"] = UNMEASURED
    if ac:
        fields |= {
            "Voltage": 240,
            "ACState": ac_state(zone),
            "FanSpeed": state.fan,
            "SwingState": state.swing,
            "SwingStateHorizontal": state.swing_horizontal,
            "IsThermostatic": int(state.climate_plus),
            "Delta": 2,
        }
    else:
        fields |= {"Mode": 1, "Duty": round(interval.duty, 2), "HeatSink": round(state.heat_sink, 1)}
    if family is Family.IN_FLOOR:
        fields |= {
            "Infloor": round(state.surface, 1),
            "TrackedSensor": codecs.TRACKED.encode(state.tracked),
            "LineVoltage": fields.pop("Voltage"),
        }
    return fields
