"""Requests as the samples show them, and answers that come back as they were meant."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.navilink import GAS_MAC, MAC, sample

from navibridge.vendors.navilink import frames, messages
from navibridge.vendors.navilink.codes import Command, GasCommand, GasQuery, Query
from navibridge.vendors.navilink.messages import Address

CLIENT = "5f0c2c0e-8a44-4b7c-9f1e-0d1a2b3c4d5e"
SESSION = "1768478400123"
HEATER = Address(MAC, "7741", CLIENT, 52, 31007, 41250)
TANKLESS = Address(GAS_MAC, "5301", CLIENT, 1, 31007, 41250)
LIBRARY = Address(MAC, "7741", "navibridge-41250-7c1e90ab", family="library")


def as_sent(message: messages.Message) -> dict[str, Any]:
    sent = orjson.loads(message.payload)
    assert sent["requestTopic"] == message.topic
    assert sent["responseTopic"] == message.reply_topic
    assert sent["sessionID"] == message.session_id
    assert sent["request"]["command"] == message.command
    assert isinstance(sent, dict)
    return sent


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mqtt_did_request", messages.query(HEATER, Query.FEATURE, SESSION)),
        ("mqtt_energy_daily_request", messages.query(HEATER, Query.ENERGY_DAILY, SESSION, year=2025, month=[9])),
        ("mqtt_energy_monthly_request", messages.query(HEATER, Query.ENERGY_MONTHLY, SESSION, year=[2024, 2025])),
        ("mqtt_reservation_read_request", messages.query(HEATER, Query.RESERVATIONS, SESSION)),
        (
            "mqtt_reservation_write_request",
            messages.write_reservations(HEATER, 2, sample("mqtt_reservation_read_response")["decoded"], SESSION),
        ),
        (
            "mqtt_tou_write_request",
            messages.write_tou(
                HEATER,
                "NWP5SAMPLE000123",
                2,
                sample("mqtt_tou_response")["payload"]["response"]["reservation"],
                SESSION,
            ),
        ),
    ],
)
def test_requests_of_the_samples(name: str, message: messages.Message) -> None:
    expected = sample(name)
    assert as_sent(message) == expected["payload"]
    assert message.topic == expected["publish_topic"]


def test_a_status_query_in_both_families() -> None:
    expected = sample("mqtt_status_request")
    assert as_sent(messages.query(HEATER, Query.STATUS, SESSION)) == expected["payload_app_form"]
    library = messages.query(LIBRARY, Query.STATUS, "9c0d5f4e7b6a4d3c8e2f1a0b9c8d7e6f")
    assert as_sent(library) == expected["payload_library_form"]


def test_recirculation_is_written_in_the_apps_form() -> None:
    expected = sample("mqtt_recirc_reservation_write_request")["app_form"]["payload"]
    entries = expected["request"]["reservation"]
    assert as_sent(messages.write_recirculation(HEATER, 2, entries, SESSION)) == expected


SIMPLE = {
    name: item
    for name, item in sample("mqtt_control_requests").items()
    if isinstance(item, dict) and "mode" in item.get("payload", {}).get("request", {})
}


@pytest.mark.parametrize("name", SIMPLE)
def test_every_simple_control_of_the_samples(name: str) -> None:
    request = SIMPLE[name]["payload"]["request"]
    message = messages.control(HEATER, request["command"], request["mode"], request["param"], SESSION)
    assert as_sent(message) == SIMPLE[name]["payload"]
    assert message.topic == SIMPLE[name]["topic"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("start", messages.gas_query(TANKLESS, GasQuery.START, SESSION)),
        ("channelstatus", messages.gas_query(TANKLESS, GasQuery.CHANNEL_STATUS, SESSION, channel=1, units=1)),
        ("weeklyschedule", messages.gas_query(TANKLESS, GasQuery.WEEKLY_SCHEDULE, SESSION, channel=1)),
        ("power_on", messages.gas_control(TANKLESS, GasCommand.POWER, "power", (1,), SESSION)),
        (
            "set_120F",
            messages.gas_control(TANKLESS, GasCommand.HOT_WATER_TEMPERATURE, "DHWTemperature", [120], SESSION),
        ),
        ("on_demand", messages.gas_control(TANKLESS, GasCommand.ON_DEMAND, "onDemand", [1], SESSION)),
    ],
)
def test_gas_requests_of_the_samples(name: str, message: messages.Message) -> None:
    assert as_sent(message) == sample("gas_requests")[name]["payload"]


def test_the_last_will() -> None:
    topic, data = messages.will(HEATER, SESSION)
    expected = sample("mqtt_app_connection")
    assert topic == expected["topic"]
    assert orjson.loads(data) == expected["last_will_payload"]


def test_every_reply_has_a_filter() -> None:
    for address in (HEATER, LIBRARY):
        found = messages.filters(address)
        assert len(found) == len(set(found))
        assert f"{address.stem}/#" in found
        assert messages.DISCONNECT_EVENT in found
        for query in Query:
            reply = address.reply(messages.query(address, query, SESSION).reply_topic.partition("/res/")[2])
            assert reply in found or reply.startswith(f"{address.stem}/")
        assert all("+" not in topic for topic in found if topic != messages.DISCONNECT_EVENT)


def test_filters_of_a_gas_unit() -> None:
    found = messages.filters(TANKLESS)
    assert f"cmd/1/navilink-{GAS_MAC}/res/#" in found
    assert f"cmd/1/31007/41250/{CLIENT}/res/channelstatus" in found
    assert f"evt/1/navilink-{GAS_MAC}/connection" in found


@pytest.mark.parametrize(
    "name",
    [
        "mqtt_status_response",
        "mqtt_did_response",
        "mqtt_ctrl_fail",
        "mqtt_reservation_read_response",
        "mqtt_tou_response",
        "gas_channelstatus_response",
        "gas_controlfail",
    ],
)
def test_answers_of_the_samples_are_made_again(name: str) -> None:
    expected = sample(name)["payload"]
    response = expected["response"]
    identity = {"deviceType", "macAddress", "additionalValue"}
    made = messages.answer(
        response["macAddress"],
        response["additionalValue"],
        {key: value for key, value in response.items() if key not in identity},
        device_type=response["deviceType"],
        client_id=expected["clientID"],
        session_id=expected["sessionID"],
        request_topic=expected["requestTopic"],
    )
    assert orjson.loads(made) == expected
    assert frames.parse(made).session_id == expected["sessionID"]


def test_reading_the_plan_names_the_controller() -> None:
    sent = as_sent(messages.read_tou(HEATER, "NWP5SAMPLE000123", SESSION))
    assert sent["request"]["command"] == Command.TOU_WRITE
    assert "reservation" not in sent["request"]
