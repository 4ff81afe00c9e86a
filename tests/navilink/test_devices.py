"""From the device list to devices, and what is watched on them."""

from __future__ import annotations

from typing import Any

import pytest
from support.navilink import GAS_MAC, MAC, payload, sample

from navibridge.errors import FrameError
from navibridge.vendors.navilink import devices, faults, frames

LISTED = sample("rest_device_list_response")["data"]
FEATURES = devices.decode(frames.parse(payload("mqtt_did_response"))).values
GAS_FEATURES = devices.decode(frames.parse(payload("gas_channelinfo_response"))).values


def test_a_heat_pump_before_and_after_its_features() -> None:
    plain = devices.device(LISTED[0])
    assert (plain.vendor, plain.id, plain.kind) == ("navilink", MAC, devices.HEAT_PUMP)
    assert (plain.model, plain.firmware, plain.serial) == ("NWP500", None, None)
    known = devices.device(LISTED[0], FEATURES)
    assert (known.model, known.firmware, known.serial) == ("NWP500 (65 gal)", "10.1.2.0", "NWP5SAMPLE000123")
    assert known.name == LISTED[0]["deviceInfo"]["deviceName"]


def test_a_gas_unit() -> None:
    unit = devices.device(LISTED[1], GAS_FEATURES)
    assert (unit.id, unit.kind, unit.model) == (GAS_MAC, devices.GAS, "NPE2")
    assert devices.device(LISTED[1]).model == "gas unit"


def test_a_name_of_the_configuration_goes_first() -> None:
    assert devices.device(LISTED[0], name="Boiler room").name == "Boiler room"
    nameless = {"deviceInfo": {"macAddress": MAC, "deviceType": 52, "deviceName": ""}}
    assert devices.device(nameless).name == "NWP500"


@pytest.mark.parametrize("listed", [{}, {"deviceInfo": None}, {"deviceInfo": {}}, {"deviceInfo": {"macAddress": 5}}])
def test_an_entry_without_a_device_is_refused(listed: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as caught:
        devices.device(listed)
    assert caught.value.sort == "device_list"


def test_units_that_can_do_the_same_share_their_rows() -> None:
    other = {"deviceInfo": {**LISTED[0]["deviceInfo"], "macAddress": "a1b2c3d4e5f7"}}
    one, two = devices.device(LISTED[0], FEATURES), devices.device(other, {**FEATURES, "serial_number": "OTHER"})
    assert one.attributes is two.attributes
    warmer = devices.device(other, {**FEATURES, "temperature_max": 60.0})
    assert warmer.attributes is not one.attributes
    limits = warmer.attribute("target_temperature")
    assert limits is not None
    assert limits.limits is not None
    assert limits.limits.high == 60.0


def raised(values: dict[str, Any], **thresholds: Any) -> dict[str, str]:
    unit = devices.device(LISTED[0], FEATURES, **thresholds)
    return {alert.key: words for alert in unit.alerts if (words := alert.check(values)) is not None}


def test_alerts() -> None:
    assert raised({"error_code": 0, "tank_charge": 76, "power": 447}) == {}
    assert raised({"error_code": 480, "sub_error_code": 1, "tank_charge": 12, "power": 5100}) == {
        "error": "E480: upper tank sensor, reads below its range",
        "low_charge": "only 12 % of the hot water is left (limit 20 %)",
        "high_power": "it draws 5100 W (limit 4000 W)",
    }
    assert raised({"error_code": None, "tank_charge": None}) == {}
    assert raised({"tank_charge": 12, "power": 5100}, charge_below=None, power_above=None) == {}
    assert set(raised({"tank_charge": 25, "power": 500}, charge_below=30, power_above=450)) == {
        "low_charge",
        "high_power",
    }


def test_a_gas_unit_is_watched_for_errors_only() -> None:
    unit = devices.device(LISTED[1], GAS_FEATURES)
    assert [alert.check({"error_code": 12, "sub_error_code": 3}) for alert in unit.alerts] == ["E012-3"]


@pytest.mark.parametrize(
    ("code", "sub_code", "words"),
    [
        (96, 0, "E096: upper heating element abnormal"),
        (799, 0, "E799: water leak"),
        (615, 29, "E615: feedback, upper element"),
        (445, 2, "E445: mixing valve, stuck closed"),
        (910, 9, "E910: discharge sensor"),
        (123, 0, "E123"),
        (123, 4, "E123-4"),
        (96, None, "E096: upper heating element abnormal"),
    ],
)
def test_faults_in_words(code: int, sub_code: int | None, words: str) -> None:
    assert faults.describe(code, sub_code) == words


def test_an_alert_without_a_code_still_says_something() -> None:
    assert faults.describe_heat_pump({}) == faults.describe_gas({}) == "error"


def test_every_detail_belongs_to_a_fault() -> None:
    assert set(faults.DETAILS) <= set(faults.FAULTS)


# --- energy -----------------------------------------------------------------------------------------------------------


def test_energy_of_a_day_and_its_month() -> None:
    frame = frames.parse(payload("mqtt_energy_daily_response"))
    entry = frame.fields["usage"][0]
    day = next(index for index, counters in enumerate(entry["data"]) if counters["hpUsage"]) + 1
    figures = devices.usage(frame.fields, entry["year"], entry["month"], day)
    assert figures["today.hpUsage"] == entry["data"][day - 1]["hpUsage"]
    assert figures["month.hpUsage"] == sum(counters["hpUsage"] for counters in entry["data"])
    values = devices.HEAT_PUMP.decode("energy", figures).values
    assert values["heat_pump_energy_today"] == figures["today.hpUsage"] / 1000
    assert set(values) == {
        "heat_pump_energy_today",
        "element_energy_today",
        "heat_pump_energy_month",
        "element_energy_month",
    }


def test_energy_of_a_month_of_a_monthly_answer() -> None:
    frame = frames.parse(payload("mqtt_energy_monthly_response"))
    entry = frame.fields["usage"][0]
    figures = devices.usage(frame.fields, entry["year"], 1, 5)
    assert figures == {"month.hpUsage": entry["data"][0]["hpUsage"], "month.heUsage": entry["data"][0]["heUsage"]}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"usage": None},
        {"usage": [5]},
        {"usage": [{"year": 2025, "month": 9, "data": 5}]},
        {"usage": [{"year": 2025, "month": 9, "data": [5, {"hpUsage": "x"}]}]},
        {"usage": [{"year": 2024, "month": 9, "data": [{"hpUsage": 1}]}]},
        {"usage": [{"year": 2025, "month": 8, "data": [{"hpUsage": 1}]}]},
    ],
)
def test_an_answer_about_other_days_says_nothing(fields: dict[str, Any]) -> None:
    assert devices.usage(fields, 2025, 9, 30) == {}


def test_an_energy_answer_as_a_whole_is_no_state() -> None:
    decoded = devices.decode(frames.parse(payload("mqtt_energy_daily_response")))
    assert (decoded.values, decoded.unknown) == ({}, {})


def test_schedules_in_words() -> None:
    values = devices.decode(frames.parse(payload("mqtt_reservation_read_response"))).values
    assert values["reservations"] == 3
    assert str(values["reservation_list"]).startswith("Mon-Fri 06:15 energy_saver 54 °C; ")
    entry = {"enable": 2, "week": 40, "hour": 6, "min": 0, "mode": 1, "param": 98}
    many = devices.HEAT_PUMP.decode("reservations", {"reservation": [entry] * 16}).values
    assert many["reservations"] == 16
    assert len(str(many["reservation_list"])) == 255
