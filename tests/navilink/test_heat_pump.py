"""What follows from a heat pump's values, and what a unit offers."""

from __future__ import annotations

from typing import Any

import pytest
from support.navilink import MAC, PACKED_EXAMPLE, payload

from navibridge.model import Range, Values
from navibridge.vendors.navilink import devices, frames
from navibridge.vendors.navilink.heat_pump import HEAT_PUMP, split

FEATURES = devices.decode(frames.parse(payload("mqtt_did_response"))).values


def derived(now: Values, before: Values | None = None) -> Values:
    return HEAT_PUMP.derive(before or {}, now)


@pytest.mark.parametrize(
    ("setting", "mode"),
    [
        ("heat_pump", "heat_pump"),
        ("electric", "electric"),
        ("energy_saver", "eco"),
        ("high_demand", "high_demand"),
        ("power_off", "off"),
        (None, None),
    ],
)
def test_modes_in_home_assistants_words(setting: str | None, mode: str | None) -> None:
    assert derived({"operation_mode": setting})["mode"] == mode


@pytest.mark.parametrize(
    ("before", "mode"), [("high_demand", "high_demand"), ("electric", "electric"), ("off", "eco"), (None, "eco")]
)
def test_vacation_shows_the_heating_mode_before_it(before: str | None, mode: str) -> None:
    assert derived({"operation_mode": "vacation"}, {"mode": before})["mode"] == mode


def test_vacation_keeps_its_mode_for_as_long_as_it_lasts() -> None:
    known: dict[str, Any] = {"operation_mode": "electric"}
    for setting in ("electric", "vacation", "vacation", "vacation"):
        before = dict(known)
        known["operation_mode"] = setting
        known |= derived(known, before)
    assert known["mode"] == "electric"


ON, OFF = True, False


@pytest.mark.parametrize(
    ("flags", "power", "activity", "source"),
    [
        ((ON, OFF, OFF), 447, "heat_pump", "heat_pump"),
        ((OFF, ON, OFF), 5100, "electric", "electric"),
        ((OFF, OFF, ON), 5100, "electric", "electric"),
        ((ON, ON, OFF), 5378, "heat_pump_and_electric", "heat_pump_and_electric"),
        ((OFF, OFF, OFF), 1, "standby", "standby"),
        # The power lags the flags by one message, both ways.
        ((OFF, OFF, OFF), 5100, "electric", "standby"),
        ((OFF, ON, OFF), 1, "electric", "electric"),
        ((OFF, OFF, OFF), 466, "heat_pump", "standby"),
        # Without flags the power decides, where it can.
        ((None, None, None), 1, "heat_pump", "standby"),
        ((None, None, None), 466, "heat_pump", "heat_pump"),
        ((None, None, None), 5000, "electric", "electric"),
        ((None, None, None), 5378, "heat_pump_and_electric", "heat_pump_and_electric"),
        ((ON, None, None), 5378, None, "heat_pump_and_electric"),
        ((None, None, None), 16, "heat_pump", None),
        ((None, None, None), None, "heat_pump", None),
        ((ON, None, None), None, None, "heat_pump"),
        ((None, ON, None), None, None, "electric"),
    ],
)
def test_the_heat_source_is_what_really_runs(flags: tuple[Any, ...], power: Any, activity: Any, source: Any) -> None:
    now = dict(zip(("compressor_running", "upper_element_running", "lower_element_running"), flags, strict=True))
    now |= {"power": power, "activity": activity}
    assert derived(now)["heat_source"] == source


@pytest.mark.parametrize(
    ("total", "deficit", "usable"), [(3.792, 1.564, 2.228), (3.792, 0.0, 3.792), (1.0, 2.0, 0.0), (None, 1.0, None)]
)
def test_usable_energy(total: Any, deficit: Any, usable: Any) -> None:
    assert derived({"tank_energy_total": total, "tank_energy_deficit": deficit})["usable_energy"] == usable


@pytest.mark.parametrize("code", [32, 33, 34, 64, 96, 0])
def test_activity_knows_both_descriptions(code: int) -> None:
    words = {0: "standby", 32: "heat_pump", 33: "electric", 34: "heat_pump_and_electric"}
    words |= {64: "electric", 96: "heat_pump_and_electric"}
    assert HEAT_PUMP.decode("status", {"operationMode": code}).values == {"activity": words[code]}
    assert HEAT_PUMP.decode("packed", {"operation_mode": code}).values == {"activity": words[code]}


def test_power_state_and_vacation_follow_from_the_setting() -> None:
    for number, power, vacation in ((1, True, False), (5, True, True), (6, False, False), (0, None, None)):
        values = HEAT_PUMP.decode("status", {"dhwOperationSetting": number}).values
        assert (values["power_state"], values["vacation"]) == (power, vacation)


def test_time_of_use() -> None:
    assert HEAT_PUMP.decode("status", {"touStatus": 3, "touOverrideStatus": 2}).values == {
        "tou_enabled": True,
        "tou_status": 3,
        "tou_override": False,
    }


# --- what a unit offers -----------------------------------------------------------------------------------------------


def resolved(key: str, features: Values) -> Any:
    return next((row for row in HEAT_PUMP.resolve(features) if row.key == key), None)


def test_limits_are_the_units_own() -> None:
    row = resolved("target_temperature", FEATURES)
    assert (row.limits, row.step, row.writes) == (Range(40.5, 65.5), 0.5, True)


def test_limits_fall_back_until_the_unit_has_told() -> None:
    row = resolved("target_temperature", {})
    assert (row.limits, row.writes) == (Range(35.0, 65.0), True)
    assert resolved("target_temperature", {**FEATURES, "temperature_max": 0.0}).limits == Range(35.0, 65.0)


@pytest.mark.parametrize(
    ("raw", "writes", "step"), [(0, False, 0.5), (1, False, 0.5), (2, True, 0.5), (3, True, 1.0), (4, True, 0.5)]
)
def test_adjustment_decides_on_writing_and_step(raw: int, writes: bool, step: float) -> None:
    told = HEAT_PUMP.decode("feature", {"dhwTemperatureSettingUse": raw}).values
    row = resolved("target_temperature", {**FEATURES, **told})
    assert (row.writes, row.step) == (writes, step)


@pytest.mark.parametrize(
    ("flag", "mode", "operation_mode"),
    [
        ("electricUse", "electric", "electric"),
        ("heatpumpUse", "heat_pump", "heat_pump"),
        ("energySaverUse", "eco", "energy_saver"),
        ("highDemandUse", "high_demand", "high_demand"),
        ("powerUse", "off", "power_off"),
    ],
)
def test_a_mode_the_unit_lacks_is_not_offered(flag: str, mode: str, operation_mode: str) -> None:
    features = {**FEATURES, **HEAT_PUMP.decode("feature", {flag: 1}).values}
    assert mode in resolved("mode", FEATURES).words
    assert mode not in resolved("mode", features).words
    assert operation_mode not in resolved("operation_mode", features).words


@pytest.mark.parametrize(
    ("flag", "keys"),
    [
        ("holidayUse", ("vacation", "vacation_days")),
        ("antiLegionellaSettingUse", ("anti_legionella", "anti_legionella_period")),
        ("drSettingUse", ("demand_response_on", "demand_response_off", "demand_response_event")),
        ("programReservationUse", ("enable_reservations", "reservations_enabled", "adaptive_reservation_on")),
        ("freezeProtectionUse", ("freeze_protection", "freeze_protection_temperature")),
    ],
)
def test_a_function_the_unit_lacks_is_not_there(flag: str, keys: tuple[str, ...]) -> None:
    features = {**FEATURES, **HEAT_PUMP.decode("feature", {flag: 1}).values}
    for key in keys:
        assert resolved(key, FEATURES) is not None
        assert resolved(key, features) is None


def test_recirculation_is_there_only_with_the_kit() -> None:
    keys = ("recirculation_mode", "recirculation_hot_button", "faucet_temperature")
    assert [resolved(key, FEATURES) for key in keys] == [None, None, None]
    fitted = {**FEATURES, "supports_recirculation": True}
    assert all(resolved(key, fitted) is not None for key in keys)
    assert resolved("recirculation_mode", fitted).writes


def test_before_its_features_are_known_only_the_setpoint_can_be_written() -> None:
    writable = {row.key for row in HEAT_PUMP.resolve({}) if row.writes}
    assert writable == {"target_temperature", "reset_air_filter"}


def test_a_field_that_never_arrived_is_not_announced() -> None:
    old = frames.parse(payload("mqtt_status_unsolicited"), MAC)
    seen = frozenset(devices.decode(old).values)
    keys = {row.key for row in HEAT_PUMP.resolve(FEATURES, seen)}
    assert "demand_heating" not in keys
    assert {"mode", "heat_source", "usable_energy", "energy", "current_temperature"} <= keys


def test_a_unit_that_speaks_binary_announces_what_it_sends() -> None:
    frame = frames.parse(PACKED_EXAMPLE, MAC)
    keys = {row.key for row in HEAT_PUMP.resolve({}, frozenset(devices.decode(frame).values))}
    assert {"target_temperature", "tank_charge", "heat_source", "power", "energy"} <= keys
    assert not {"mode", "usable_energy", "vacation_days"} & keys


# --- grouping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "groups"),
    [
        ({"mode": "eco"}, ({"mode": "eco"},)),
        (
            {"target_temperature": 50, "mode": "eco", "power_state": True},
            ({"power_state": True}, {"mode": "eco"}, {"target_temperature": 50}),
        ),
        (
            {"vacation_days": 5, "operation_mode": "vacation"},
            ({"operation_mode": "vacation", "vacation_days": 5},),
        ),
        (
            {"vacation_days": 5, "operation_mode": "electric"},
            ({"operation_mode": "electric"}, {"vacation_days": 5}),
        ),
        (
            {"anti_legionella_period": 7, "target_temperature": 50, "anti_legionella": True},
            ({"anti_legionella": True, "anti_legionella_period": 7}, {"target_temperature": 50}),
        ),
        ({}, ()),
    ],
)
def test_what_travels_together_and_in_which_order(changes: Any, groups: Any) -> None:
    assert split(changes) == groups
