"""Commands: what goes out, and what confirms it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.navilink import MAC, payload, sample

from navibridge.errors import CommandError
from navibridge.vendors.navilink import devices, frames
from navibridge.vendors.navilink.controls import Control, controls

if TYPE_CHECKING:
    from navibridge.model import Scalar, Values

LISTED = sample("rest_device_list_response")["data"]
FEATURES = {
    **devices.decode(frames.parse(payload("mqtt_did_response"))).values,
    "supports_recirculation": True,
}
GAS_FEATURES = devices.decode(frames.parse(payload("gas_channelinfo_response"))).values
HEATER = devices.device(LISTED[0], FEATURES)
TANKLESS = devices.device(LISTED[1], GAS_FEATURES)
SAMPLES = sample("mqtt_control_requests")


def wire(made: tuple[Control, ...]) -> list[tuple[int, str, list[int]]]:
    return [(int(control.command), control.mode, list(control.param)) for control in made]


def of_sample(name: str) -> tuple[int, str, list[int]]:
    request = SAMPLES[name]["payload"]["request"]
    return request["command"], request["mode"], request["param"]


def made(changes: dict[str, Any], values: Values | None = None) -> list[tuple[int, str, list[int]]]:
    checked = HEATER.check(changes)
    return [item for group in HEATER.kind.split(checked) for item in wire(controls(HEATER, group, values or {}))]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"power_state": True}, "power_on"),
        ({"power": "OFF"}, "power_off"),
        ({"mode": "off"}, "power_off"),
        ({"anti_legionella": True, "anti_legionella_period": 14}, "anti_legionella_on_14_days"),
        ({"anti_legionella": "OFF"}, "anti_legionella_off"),
        ({"tou_enabled": True}, "tou_on"),
        ({"tou_enabled": False}, "tou_off"),
        ({"tou_override": True}, "tou_off"),
        ({"tou_override": False}, "tou_on"),
        ({"demand_response_on": "PRESS"}, "dr_on"),
        ({"demand_response_off": "PRESS"}, "dr_off"),
        ({"adaptive_reservation_on": "PRESS"}, "intelligent_on"),
        ({"adaptive_reservation_off": "PRESS"}, "intelligent_off"),
        ({"reset_air_filter": "PRESS"}, "air_filter_reset"),
        ({"recirculation_hot_button": "PRESS"}, "recirc_hot_button"),
        ({"recirculation_mode": "schedule"}, "recirc_mode_schedule"),
        ({"enable_reservations": "PRESS"}, "reservation_water_program"),
    ],
)
def test_controls_are_those_of_the_samples(changes: dict[str, Any], name: str) -> None:
    assert made(changes) == [of_sample(name)]


@pytest.mark.parametrize(
    ("changes", "values", "expected"),
    [
        ({"mode": "eco"}, {}, [("dhw-mode", [3])]),
        ({"mode": "heat_pump"}, {}, [("dhw-mode", [1])]),
        ({"operation_mode": "electric"}, {}, [("dhw-mode", [2])]),
        ({"operation_mode": "high_demand"}, {"power_state": False}, [("power-on", []), ("dhw-mode", [4])]),
        ({"mode": "eco"}, {"power_state": False}, [("power-on", []), ("dhw-mode", [3])]),
        ({"operation_mode": "power_off"}, {}, [("power-off", [])]),
        ({"operation_mode": "vacation", "vacation_days": 10}, {}, [("dhw-mode", [5, 10])]),
        ({"operation_mode": "vacation"}, {"vacation_days": 4}, [("dhw-mode", [5, 4])]),
        ({"operation_mode": "vacation"}, {"vacation_days": 0}, [("dhw-mode", [5, 7])]),
        ({"vacation_days": 10}, {}, [("goout-day", [10])]),
        ({"vacation_days": 10}, {"operation_mode": "vacation"}, [("dhw-mode", [5, 10])]),
        ({"target_temperature": 54.2}, {}, [("dhw-temperature", [108])]),
        ({"target_temperature": 48.888888888888886}, {}, [("dhw-temperature", [98])]),
        ({"anti_legionella": True}, {"anti_legionella_period": 14}, [("anti-leg-on", [14])]),
        ({"anti_legionella": True}, {"anti_legionella_period": 0}, [("anti-leg-on", [7])]),
        ({"anti_legionella_period": 21}, {"anti_legionella": True}, [("anti-leg-on", [21])]),
        (
            {"power_state": True, "target_temperature": 50, "mode": "eco"},
            {},
            [("power-on", []), ("dhw-mode", [3]), ("dhw-temperature", [100])],
        ),
    ],
)
def test_what_depends_on_the_state(changes: dict[str, Any], values: Values, expected: Any) -> None:
    assert [(mode, param) for _, mode, param in made(changes, values)] == expected


@pytest.mark.parametrize("known", [{"anti_legionella": False}, {}])
def test_a_period_alone_needs_the_function_on(known: Values) -> None:
    with pytest.raises(CommandError) as caught:
        made({"anti_legionella_period": 14}, known)
    assert (caught.value.verdict, caught.value.code) == ("rejected", "not_available")


def test_turning_off_and_setting_the_period_contradict() -> None:
    with pytest.raises(CommandError):
        made({"anti_legionella": False, "anti_legionella_period": 14}, {"anti_legionella": True})


def test_every_writable_row_has_its_control() -> None:
    values: dict[str, Any] = {"anti_legionella": True, "display_unit": "fahrenheit"}
    for device in (HEATER, TANKLESS):
        for row in device.attributes:
            if row.writes:
                change: Scalar = row.words[0] if row.words else (row.limits.high if row.limits else True)
                assert controls(device, {row.key: row.check(change)}, values)


def test_what_can_not_be_written_has_none() -> None:
    with pytest.raises(CommandError) as caught:
        controls(HEATER, {"tank_charge": 5}, {})
    assert caught.value.code == "read_only"


def test_nothing_dangerous_can_be_sent() -> None:
    dangerous = {33554447, 33554442, 33554451}  # Wi-Fi reset, firmware, freeze protection
    values: dict[str, Any] = {"anti_legionella": True}
    sent = {
        control.command
        for row in HEATER.attributes
        if row.writes
        for word in (row.words or ((row.limits.low,) if row.limits else (True, False)))
        for control in controls(HEATER, {row.key: word}, values)
    }
    assert not sent & dangerous


def test_the_acknowledgement_confirms_a_mode() -> None:
    acknowledged = devices.decode(frames.parse(payload("mqtt_control_ack"), MAC)).values
    (control,) = controls(HEATER, {"mode": "high_demand"}, {})
    assert control.confirms == {"operation_mode": "high_demand"}
    assert control.confirmed_by(acknowledged)
    (other,) = controls(HEATER, {"mode": "eco"}, {})
    assert not other.confirmed_by(acknowledged)


@pytest.mark.parametrize(
    ("changes", "confirms"),
    [
        ({"target_temperature": 54.0}, {"target_temperature": 54.0}),
        ({"operation_mode": "vacation", "vacation_days": 3}, {"operation_mode": "vacation", "vacation_days": 3}),
        ({"operation_mode": "vacation"}, {"operation_mode": "vacation"}),
        ({"power_state": False}, {"power_state": False}),
        ({"reset_air_filter": True}, {}),
    ],
)
def test_confirmations(changes: dict[str, Scalar], confirms: Values) -> None:
    (control,) = controls(HEATER, changes, {})
    assert control.confirms == confirms


def test_confirmations_are_read_from_the_status_itself() -> None:
    """An acknowledgement is judged before anything is derived from it."""
    read = {key for keys in devices.HEAT_PUMP.wires("status").values() for key in keys}
    for row in HEATER.attributes:
        if row.writes:
            change: Scalar = row.words[0] if row.words else (row.limits.high if row.limits else True)
            for control in controls(HEATER, {row.key: change}, {"anti_legionella": True}):
                assert set(control.confirms) | set(control.otherwise) <= read


def test_an_override_is_confirmed_by_either_field() -> None:
    (control,) = controls(HEATER, {"tou_override": True}, {})
    assert control.confirmed_by({"tou_override": True, "tou_enabled": True})
    assert control.confirmed_by({"tou_override": False, "tou_enabled": False})
    assert not control.confirmed_by({"tou_override": False, "tou_enabled": True})
    assert not control.confirmed_by({})


def test_an_action_is_confirmed_by_any_acknowledgement() -> None:
    (control,) = controls(HEATER, {"reset_air_filter": True}, {})
    assert control.confirmed_by({})


# --- gas units --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "values", "mode", "param"),
    [
        ({"power_state": True}, {}, "power", (1,)),
        ({"power_state": False}, {}, "power", (2,)),
        ({"mode": "off"}, {}, "power", (2,)),
        ({"mode": "gas"}, {}, "power", (1,)),
        ({"heating": True}, {}, "heat", (1,)),
        ({"hot_button": True}, {}, "onDemand", (1,)),
        ({"hot_button": False}, {}, "onDemand", (2,)),
        ({"target_temperature": (120 - 32) * 5 / 9}, {"display_unit": "fahrenheit"}, "DHWTemperature", (120,)),
        ({"target_temperature": 49.0}, {"display_unit": "celsius"}, "DHWTemperature", (98,)),
    ],
)
def test_gas_controls(changes: dict[str, Scalar], values: Values, mode: str, param: tuple[int, ...]) -> None:
    (control,) = controls(TANKLESS, changes, values)
    assert (control.mode, control.param) == (mode, param)


def test_a_gas_setpoint_needs_the_unit_it_is_in() -> None:
    with pytest.raises(CommandError) as caught:
        controls(TANKLESS, {"target_temperature": 49.0}, {})
    assert caught.value.code == "not_available"


def test_a_gas_setpoint_is_confirmed_in_celsius() -> None:
    checked = TANKLESS.check({"target_temperature": 48.888888888888886})
    (control,) = controls(TANKLESS, checked, {"display_unit": "fahrenheit"})
    answered = devices.GAS.decode("gas_channel_status_f", {"DHWSettingTemp": 120}).values
    assert control.confirmed_by(answered)


def test_a_gas_unit_is_switched_on_first() -> None:
    groups = devices.GAS.split({"target_temperature": 49.0, "power_state": True})
    assert groups == ({"power_state": True}, {"target_temperature": 49.0})
