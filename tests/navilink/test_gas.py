"""Gas units: units of temperature, gas rate, and what is offered."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.navilink import payload, sample

from navibridge.model import Range
from navibridge.vendors.navilink import devices, frames

INFO = frames.parse(payload("gas_channelinfo_response"))
STATUS = frames.parse(payload("gas_channelstatus_response"))
FEATURES = devices.decode(INFO).values
CELSIUS = {**FEATURES, "display_unit": "celsius"}


def test_the_decoded_sample() -> None:
    expected = sample("gas_channelstatus_response")["decoded_fahrenheit"]
    decoded = devices.decode(STATUS, FEATURES)
    values = decoded.values
    assert decoded.unknown == {}
    assert values["power_state"] is expected["powerStatus"]
    assert values["hot_button"] is expected["onDemandActive"]
    assert values["heating_capacity"] == expected["heating_capacity_percent"]
    for key, field in (
        ("target_temperature", "DHWSettingTemp_f"),
        ("inlet_temperature", "avgInletTemp_f"),
        ("current_temperature", "avgOutletTemp_f"),
    ):
        assert values[key] == pytest.approx((expected[field] - 32) * 5 / 9)
    unit = expected["units"][0]
    assert round(values["gas_total"] * 35.314667, 1) == unit["accumulatedGasUsage_ft3"]
    assert round(devices.GAS.derive({}, values)["gas_power"] / 1.163 * 3.968) == round(unit["gasInstantUsage_btu_h"])
    assert round(values["hot_water_flow"] * 10 / 37.85, 1) == unit["DHWFlowRate_gpm"]


def test_the_same_counters_on_a_celsius_unit() -> None:
    expected = sample("gas_channelstatus_response")["same_counters_on_a_celsius_unit"]
    values = devices.decode(STATUS, CELSIUS).values
    assert values["gas_total"] == expected["accumulatedGasUsage_m3"]
    assert values["hot_water_flow"] == expected["DHWFlowRate_lpm"]
    assert devices.GAS.derive({}, values)["gas_power"] == round(expected["gasInstantUsage_kcal_h"] * 1.163, 1)
    assert values["target_temperature"] == 61.0


def test_temperatures_wait_for_the_unit_they_are_in() -> None:
    decoded = devices.decode(STATUS)
    assert decoded.unknown == {}
    assert "target_temperature" not in decoded.values
    assert decoded.values["power_state"] is True


@pytest.mark.parametrize(("unit_type", "factor"), [("NPE2", 1), ("NPE", 1), ("NFC", 10), ("NCB_H", 10), ("NVW", 10)])
def test_the_gas_count_depends_on_the_type(unit_type: str, factor: int) -> None:
    assert devices.GAS.derive({}, {"gas_rate": 100, "unit_type": unit_type})["gas_power"] == 116.3 * factor


def test_the_gas_power_is_unknown_without_a_type() -> None:
    assert devices.GAS.derive({}, {"gas_rate": 100})["gas_power"] is None


def resolved(key: str, features: Any) -> Any:
    return next((row for row in devices.GAS.resolve(features) if row.key == key), None)


def test_limits_and_step_are_in_the_units_own_grid() -> None:
    row = resolved("target_temperature", FEATURES)
    assert row.limits == Range(pytest.approx((98 - 32) * 5 / 9), 60.0)
    assert row.check((120 - 32) * 5 / 9) == pytest.approx((120 - 32) * 5 / 9, abs=1e-5)
    assert resolved("target_temperature", {**CELSIUS, "temperature_min": 37.0}).step == 0.5


def test_without_limits_nothing_is_written() -> None:
    assert not resolved("target_temperature", {}).writes


def test_a_unit_that_heats_no_rooms_has_no_heating() -> None:
    assert resolved("heating", FEATURES) is None
    boiler = {**FEATURES, "heating_temperature_max": 80.0}
    assert resolved("heating", boiler).writes


def test_the_hot_button_needs_its_kit() -> None:
    assert resolved("hot_button", FEATURES).writes
    assert resolved("hot_button", {**FEATURES, "supports_hot_button": False}) is None


def test_a_unit_may_leave_out_keys() -> None:
    message = sample("gas_channelstatus_response")["payload"]
    del message["response"]["channelStatus"]["channel"]["unitInfo"]
    decoded = devices.decode(frames.parse(orjson.dumps(message)), FEATURES)
    assert "gas_total" not in decoded.values
    assert decoded.values["target_temperature"] == 50.0


def test_an_error_frame_of_the_tcp_service() -> None:
    data = bytes(9) + bytes([6]) + bytes(11) + (12).to_bytes(2, "little")
    decoded = devices.decode(frames.parse(data))
    assert decoded.values["error_code"] == 12
    assert decoded.unknown == {}
