"""Telling the forms apart, and taking the JSON ones apart."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.navilink import GAS_MAC, MAC, PACKED_EXAMPLE, binary, messages, payload, sample

from navibridge.errors import FrameError
from navibridge.vendors.navilink import frames

FORMS = {
    "mqtt_status_response": "status",
    "mqtt_status_unsolicited": "status",
    "mqtt_control_ack": "status",
    "mqtt_ctrl_fail": "control_fail",
    "mqtt_did_response": "feature",
    "mqtt_dl_sw_info_response": "firmware",
    "mqtt_energy_daily_response": "energy",
    "mqtt_energy_monthly_response": "energy",
    "mqtt_reservation_read_response": "reservations",
    "mqtt_tou_response": "tou",
    "mqtt_trend_response": "trend",
    "gas_channelinfo_response": "gas_channel_info",
    "gas_channelstatus_response": "gas_channel_status",
    "gas_weeklyschedule_response": "gas_schedule",
    "gas_controlfail": "gas_control_fail",
}


@pytest.mark.parametrize(("name", "form"), FORMS.items())
def test_every_answer_of_the_samples_is_known_by_its_form(name: str, form: str) -> None:
    frame = frames.parse(payload(name))
    assert frame.form == form
    assert frame.device_id == sample(name)["payload"]["response"]["macAddress"]
    assert frame.session_id == sample(name)["payload"]["sessionID"]
    assert frame.client_id == sample(name)["payload"]["clientID"]
    assert frame.device_type in (1, 52)


def test_every_message_of_the_samples_can_be_taken_apart() -> None:
    found = {place: frames.parse(data).form for place, data in messages().items()}
    assert len(found) > 60
    requests = [place for place in found if "_request" in place]
    assert {found[place] for place in requests} == {"request", "tcp_request"}


def test_a_status_keeps_every_field_and_its_command() -> None:
    frame = frames.parse(payload("mqtt_status_response"), MAC)
    assert frame.fields == sample("mqtt_status_response")["payload"]["response"]["status"]
    assert len(frame.fields) == 102
    assert frame.command == 0x01000003
    assert frames.parse(payload("mqtt_control_ack")).command == 33554437


def enveloped(body: dict[str, Any], **outside: Any) -> bytes:
    identity = {"deviceType": 52, "macAddress": MAC, "additionalValue": "7741"}
    return orjson.dumps({"protocolVersion": 2, "response": {**identity, **body}, **outside})


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (enveloped({"st": {"dhwTemperature": 104}}), "status"),
        (enveloped({"did": {"countryCode": 3}}), "feature"),
        (enveloped({}, status={"dhwTemperature": 104}), "status"),
        (enveloped({}, feature={"countryCode": 3}), "feature"),
        (b'{"status": {"dhwTemperature": 104}}', "status"),
        (b'{"st": {"dhwTemperature": 104}}', "status"),
        (b'{"did": {"countryCode": 3}}', "feature"),
        (b' \n{"dhwTemperature": 104, "dhwChargePer": 76}', "status"),
        (b'{"dhw_temperature": 104, "dhw_charge_per": 76}', "status"),
        (enveloped({"status": {"dhw_temperature": 104}}), "status"),
        (enveloped({}), "acknowledgement"),
        (enveloped({"somethingNew": {"a": 1}}), "acknowledgement"),
        (enveloped({"schedule": []}), "recirculation_schedule"),
        (enveloped({"reservationUse": 1, "reservation": ""}), "reservations"),
        (enveloped({"reservationUse": 1}), "reservations"),
        (enveloped({"reservation": []}, requestTopic="cmd/52/navilink-x/ctrl/tou/rd"), "tou"),
        (
            enveloped({"reservation": "020206000200"}, requestTopic="cmd/52/x/st/recirc-rsv/rd"),
            "recirculation_schedule",
        ),
        (orjson.dumps(sample("mqtt_app_connection")["last_will_payload"]), "connection"),
        (orjson.dumps(sample("mqtt_app_connection")["live_event_payload"]), "connection"),
        (orjson.dumps(sample("mqtt_app_connection")["library_signal_payload"]), "connection"),
        (bytes.fromhex("0100000361316232"), "request"),
        (PACKED_EXAMPLE, "packed"),
        (bytes.fromhex("0100000361316232") + b'{"dhw_temperature": 122}', "status"),
        (bytes.fromhex("0100000361316232") + payload("mqtt_status_response"), "status"),
        (bytes.fromhex("0100000161316232") + payload("mqtt_did_response"), "feature"),
        (bytes.fromhex("0200000561316232") + b"\x01\x00", "packed"),
        (binary("legacy_tcp", "channel_information_hex"), "tcp_channel_info"),
        (binary("legacy_tcp", "state_hex"), "tcp_state"),
        (binary("legacy_tcp", "state_request_hex"), "tcp_request"),
    ],
)
def test_a_form_is_told_by_what_is_in_it(data: bytes, form: str) -> None:
    assert frames.parse(data).form == form


def test_founding_names_are_those_of_the_wire() -> None:
    described = {
        "dhw_charge_percent": 99,
        "dhw_temperature": 121,
        "dhw_temperature_setting": 120,
        "dhw_temperature_2": 0,
        "tank_upper_temp": 605,
        "tank_lower_temp": 610,
        "eva_fan_use": 2,
        "wifi_rssi": 57,
    }
    assert frames.parse(orjson.dumps(described)).fields == {
        "dhwChargePer": 99,
        "dhwTemperature": 121,
        "dhwTemperatureSetting": 120,
        "dhwTargetTemperatureSetting": 120,
        "dhwTemperature2": 0,
        "tankUpperTemperature": 605,
        "tankLowerTemperature": 610,
        "evaFanUse": 2,
        "wifiRssi": 57,
    }


def test_the_body_of_a_binary_frame_takes_the_command_of_its_header() -> None:
    frame = frames.parse(bytes.fromhex("0100000361316232") + b'{"dhw_temperature": 122}', MAC)
    assert (frame.command, frame.device_id) == (0x01000003, MAC)


def test_reservations_are_entries_whatever_form_they_travel_in() -> None:
    expected = sample("mqtt_reservation_read_response")["decoded"]
    assert frames.parse(payload("mqtt_reservation_read_response")).fields == {
        "reservationUse": 2,
        "reservation": expected,
    }
    listed = enveloped({"reservationUse": 2, "reservation": [*expected, dict.fromkeys(expected[0], 0)]})
    assert frames.parse(listed).fields["reservation"] == expected


def test_an_incomplete_reservation_is_reported_and_the_whole_ones_are_kept() -> None:
    frame = frames.parse(enveloped({"reservationUse": 2, "reservation": "027C060F036C0282"}))
    assert len(frame.fields["reservation"]) == 1
    assert frame.fields["incompleteReservation"] == "0282"


def test_both_spellings_of_time_of_use_minutes_are_understood() -> None:
    entry = {"season": 4095, "week": 254, "startHour": 16, "startMin": 5, "endHour": 20, "endMin": 59}
    fields = frames.parse(enveloped({"reservationUse": 2, "reservation": [entry]})).fields
    assert fields["reservation"][0]["startMinute"] == 5
    assert fields["reservation"][0]["endMinute"] == 59


def test_the_topic_tells_apart_what_looks_alike() -> None:
    data = enveloped({"reservationUse": 2, "reservation": "027c06000200"})
    assert frames.parse(data).form == "reservations"
    assert frames.parse(data, topic="cmd/52/31007/41250/me/res/recirc-rsv/rd").form == "recirculation_schedule"


def test_a_request_says_where_its_answer_belongs() -> None:
    asked = sample("mqtt_status_request")["payload_app_form"]
    frame = frames.parse(orjson.dumps(asked))
    assert (frame.command, frame.device_id) == (16777219, MAC)
    assert frame.reply_topic == asked["responseTopic"]
    assert frame.request_topic == asked["requestTopic"]


def test_an_envelope_may_say_less_than_usual() -> None:
    frame = frames.parse(b'{"protocolVersion": 2, "sessionID": 4, "response": {"failCode": 2}}', MAC)
    assert (frame.form, frame.session_id, frame.device_type, frame.device_id) == ("control_fail", "4", 52, MAC)


def test_a_wide_message_is_not_a_deep_one() -> None:
    entry = {"enable": 2, "week": 254, "hour": 6, "min": 0, "mode": 1, "param": 98}
    assert len(frames.parse(enveloped({"reservation": [entry] * 100})).fields["reservation"]) == 100


def test_units_of_a_cascade_speak_together() -> None:
    message = sample("gas_channelstatus_response")["payload"]
    unit = message["response"]["channelStatus"]["channel"]["unitInfo"]["unitStatusList"][0]
    faulty = {
        **unit,
        "unitNumber": 2,
        "gasInstantUsage": 100,
        "errorCode": 12,
        "subErrorCode": 3,
        "currentInletTemp": 1,
    }
    message["response"]["channelStatus"]["channel"]["unitInfo"]["unitStatusList"].append(faulty)
    fields = frames.parse(orjson.dumps(message)).fields
    assert fields["gasInstantUsage"] == 412
    assert (fields["errorCode"], fields["subErrorCode"]) == (12, 3)
    assert fields["currentInletTemp"] == 58


def test_each_channel_in_use_is_a_frame() -> None:
    message = sample("gas_channelinfo_response")["payload"]
    channels = message["response"]["channelInfo"]["channelList"]
    second = {"channelNumber": 2, "channel": {**channels[0]["channel"], "unitType": 2}}
    unused = {"channelNumber": 3, "channel": {"unitType": 0}}
    channels.extend([second, unused, {"channelNumber": 3}])
    frame = frames.parse(orjson.dumps(message), GAS_MAC)
    assert [part.channel for part in (frame, *frame.also)] == [1, 2]
    assert frame.also[0].fields["unitType"] == 2


def test_a_gateway_without_a_channel_is_no_error() -> None:
    data = b'{"response": {"channelInfo": {"channelList": []}}}'
    assert frames.parse(data).fields == {}


def test_a_mac_address_is_lower_case_and_bare() -> None:
    assert (
        frames.parse(b'{"response": {"macAddress": "A1:B2:C3:D4:E5:F6", "status": {}}}', MAC.upper()).device_id == MAC
    )


WRONG = {
    "unknown_form": [b"", b"\x00", b"hello", b"\xff" * 30, b"null", b"12", b'"text"', b"\x01\x00\x00"],
    "json": [b"{", b"{]", b'{"a": NaN}', b'{"a": "\xff"}', b"[" * 5000, b'{"a":' * 2000 + b"1" + b"}" * 2000],
    "not_an_object": [b"[]", b" [1, 2]"],
    "too_large": [b'{"a": "' + b"x" * frames.MAX_SIZE + b'"}'],
    "too_deep": [b'{"status": ' + b'{"a":' * 100 + b"1" + b"}" * 101],
    "unknown_object": [b"{}", b'{"status": null}', b'{"a": 1}', b'{"some_thing": 1}'],
    "wrong_type": [
        b'{"response": 1}',
        b'{"response": []}',
        b'{"response": {"status": 5}}',
        b'{"response": {"status": [1]}}',
        b'{"response": {"feature": "x"}}',
        b'{"response": {"macAddress": 7, "status": {}}}',
        b'{"response": {"deviceType": "52", "status": {}}}',
        b'{"response": {"status": {"command": "x"}}}',
        b'{"response": {"status": {}}, "sessionID": {}}',
        b'{"response": {"reservation": 5}}',
        b'{"response": {"reservation": [5]}}',
        b'{"response": {"reservation": [{"week": "x"}]}}',
        b'{"response": {"channelInfo": 5}}',
        b'{"response": {"channelInfo": {"channelList": 5}}}',
        b'{"response": {"channelInfo": {"channelList": [5]}}}',
        b'{"response": {"channelStatus": {"channelNumber": "x"}}}',
        b'{"response": {"channelStatus": {"channel": {"unitInfo": {"unitStatusList": 1}}}}}',
        b'{"response": {"channelStatus": {"channel": {"unitInfo": {"unitStatusList": [1]}}}}}',
        b'{"request": 5}',
        b'{"event": 5}',
        b'{"event": {"connection": 5}}',
    ],
    "reservation_hex": [
        b'{"response": {"reservation": "zz7c060f036c"}}',
        b'{"response": {"reservation": "02 7c 06 0f "}}',
    ],
    "unknown_command": [bytes.fromhex("0100000161316232") + b"\x01\x00"],
    "packed_version": [bytes.fromhex("0100000361316232") + b"\x02\x00"],
    "packed_length": [PACKED_EXAMPLE[:-1], PACKED_EXAMPLE + b"\x00"],
    "truncated": [bytes.fromhex("0100000361316232") + b"\x01"],
}


@pytest.mark.parametrize(("sort", "data"), [(sort, data) for sort, rows in WRONG.items() for data in rows])
def test_what_is_wrong_is_named(sort: str, data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        frames.parse(data)
    assert caught.value.sort == sort


@pytest.mark.parametrize(
    "data",
    [
        payload("mqtt_status_response"),
        PACKED_EXAMPLE,
        bytes.fromhex("0100000361316232"),
        binary("legacy_tcp", "state_hex"),
    ],
)
def test_a_frame_of_another_device_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        frames.parse(data, "ffeeddccbbaa")
    assert caught.value.sort == "wrong_device"


def test_a_binary_frame_may_carry_the_prefix_of_the_name_in_topics() -> None:
    data = binary("founding_command_form", "status_request_device_id_from_navilink_prefix_hex")
    assert frames.parse(data, MAC).command == 0x01000003


def test_no_error_quotes_the_payload() -> None:
    with pytest.raises(FrameError) as caught:
        frames.parse(b'{"password": "hunter2hunter2", }')
    assert "hunter2" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
names = st.sampled_from(
    [
        "response",
        "request",
        "event",
        "status",
        "feature",
        "reservation",
        "channelInfo",
        "channelStatus",
        "usage",
        "macAddress",
        "deviceType",
        "sessionID",
        "command",
        "data",
        "schedule",
        "channelList",
        "channel",
        "unitInfo",
        "weeklySchedule",
        "downloadSwInfo",
        "unitStatusList",
        "dhw_temperature",
        "connection",
        "failCode",
    ]
)
messages_of_any_sort = st.recursive(
    json_values,
    lambda inner: st.dictionaries(names, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=20,
)


@given(messages_of_any_sort)
def test_any_json_is_a_frame_or_a_frame_error(message: Any) -> None:
    try:
        data = orjson.dumps(message)
    except TypeError:  # an integer of more than 64 bits
        return
    try:
        frames.parse(data)
    except FrameError as error:
        assert error.sort  # noqa: PT017 - the other outcome is as good


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x01\x00\x00\x03", b"{", b"\x07\x99\x00\xa6\x37\x00"]))
def test_any_bytes_are_a_frame_or_a_frame_error(data: bytes, start: bytes) -> None:
    try:
        frames.parse(start + data, MAC)
    except FrameError as error:
        assert error.sort  # noqa: PT017 - the other outcome is as good
