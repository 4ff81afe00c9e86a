"""Telling the messages apart in both envelopes, reading them leniently, and sending nothing but what does no harm."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import mysa

from navibridge.errors import CommandError, FrameError
from navibridge.vendors.mysa import frames

FORMS = {
    "out_status_v1_msgtype0.json": "status_v1",
    "out_status_v2_msg40.json": "status_v2",
    "out_status_lite_msg40.json": "status_v2",
    "out_status_infloor_msg17.json": "status_infloor",
    "out_status_infloor_msg40.json": "status_infloor",
    "out_status_infloor_heatstat_outside_body.json": "status_infloor",
    "out_infloor_power_msg16.json": "infloor_power",
    "out_status_ac_msg30.json": "status_ac",
    "out_status_ac_dry_msg30.json": "status_ac",
    "out_acstate_msg31.json": "ac_state",
    "out_setpoint_change_msgtype1.json": "setpoint_change",
    "out_log_msgtype4.json": "log",
    "out_log_raw_newline_msgtype4.txt": "log",
    "out_post_boot_msgtype10.json": "post_boot",
    "out_boot_firmware_msg61.json": "boot_firmware",
    **{name: "result" for name in mysa.MESSAGES if name.endswith("msg44.json") and name.startswith("out_")},
    **{name: "request" for name in mysa.MESSAGES if name.startswith("in_")},
}


def device_in(message: dict[str, Any]) -> str:
    party = message.get("dest", message.get("src", {}))
    return str(message.get("Device", message.get("device", party.get("ref"))))


@pytest.mark.parametrize("name", mysa.MESSAGES)
def test_every_sample_is_known_by_its_form(name: str) -> None:
    if name == "out_truncated_json.txt":
        with pytest.raises(FrameError) as caught:
            frames.parse(mysa.payload(name))
        assert caught.value.sort == "json"
        return
    message = json.loads(mysa.payload(name), strict=False)
    frame = frames.parse(mysa.payload(name))
    assert frame.form == FORMS[name]
    assert frame.device_id == device_in(message)
    assert frame.number == message.get("MsgType", message.get("msg"))
    assert frame.envelope == ("legacy" if "MsgType" in message else "new")
    assert frame.sent_id == message.get("id")
    assert frame.resp_id == message.get("resp_id")
    leaf = "in" if name.startswith("in_") else "out"
    topic = {"in": frames.topic_in, "out": frames.topic_out}[leaf](str(frame.device_id))
    assert frames.parse(mysa.payload(name), topic) == frame
    assert frames.device_of(topic) == frame.device_id


@pytest.mark.parametrize("name", mysa.BATCHES)
def test_a_batch_is_unpacked_to_bytes(name: str) -> None:
    frame = frames.parse(mysa.payload(name))
    assert (frame.form, frame.number, frame.device_id) == ("batch", 3, mysa.sample(name)["src"]["ref"])
    assert frame.fields == {"readings": mysa.blob(name)}
    assert frames.parse(mysa.payload(name), frames.topic_batch(str(frame.device_id))) == frame
    assert frame.at == 1768478404


# --- envelopes --------------------------------------------------------------------------------------------------------


def message(number: int, body: dict[str, Any], **outside: Any) -> bytes:
    return orjson.dumps({"ver": "1.0", "src": {"ref": mysa.V2, "type": 1}, "msg": number, "body": body, **outside})


def test_a_number_means_different_things_in_the_two_envelopes() -> None:
    for number, form in ((0, "status_v1"), (3, "unknown"), (30, "unknown"), (40, "unknown"), (44, "unknown")):
        assert frames.parse(orjson.dumps({"MsgType": number, "Device": mysa.V1})).form == form
    for number, form in ((0, "unknown"), (1, "unknown"), (30, "status_ac"), (40, "status_v2")):
        assert frames.parse(message(number, {})).form == form


@pytest.mark.parametrize("key", ["MsgType", "msg"])
def test_log_and_boot_are_taken_under_either_key(key: str) -> None:
    for number, form in ((4, "log"), (10, "post_boot")):
        data = orjson.dumps({key: number, "Device": mysa.V2, "body": {"version": "3.17.4.1"}, "src": {"ref": mysa.V2}})
        assert frames.parse(data).form == form


def test_an_unknown_number_is_a_frame_that_says_so() -> None:
    frame = frames.parse(message(99, {"a": 1}, time=1768478400))
    assert (frame.form, frame.number, frame.fields) == ("unknown", 99, {"a": 1})
    assert frames.parse(b'{"MsgType": 77, "Device": "02A17E4B1C01", "x": 1}').device_id == mysa.V1


@pytest.mark.parametrize("number", [True, None, 1.5, "x", "", [], {}, -1, 2**31])
def test_a_number_that_is_none_is_refused(number: Any) -> None:
    for key in ("MsgType", "msg"):
        with pytest.raises(FrameError) as caught:
            frames.parse(orjson.dumps({key: number, "body": {}}))
        assert caught.value.sort == "no_number"


def test_a_number_may_be_a_text() -> None:
    assert frames.parse(b'{"MsgType": "0", "Device": "02a17e4b1c01", "MainTemp": "17.92"}').form == "status_v1"


def test_the_topic_counts_and_the_payload_has_to_agree() -> None:
    data = mysa.payload("out_status_v2_msg40")
    assert frames.parse(data, frames.topic_out(mysa.V2)).device_id == mysa.V2
    with pytest.raises(FrameError) as caught:
        frames.parse(data, frames.topic_out(mysa.V1))
    assert caught.value.sort == "wrong_device"
    bare = orjson.dumps({"MsgType": 0, "MainTemp": 17.9})
    assert frames.parse(bare).device_id is None
    assert frames.parse(bare, frames.topic_out(mysa.V1)).device_id == mysa.V1
    upper = orjson.dumps({"MsgType": 0, "Device": "02:A1:7E:4B:1C:01"})
    assert frames.parse(upper, frames.topic_out(mysa.V1)).device_id == mysa.V1


@pytest.mark.parametrize("topic", ["", "x", "/v1/dev/out", "/v1/dev/a/b/out", "/v2/dev/02a17e4b1c01/out"])
def test_other_topics_name_no_device(topic: str) -> None:
    assert frames.device_of(topic) is None
    assert frames.parse(mysa.payload("out_status_v2_msg40"), topic).device_id == mysa.V2


def test_the_same_message_is_a_command_on_the_way_in_and_a_result_on_the_way_out() -> None:
    data = orjson.dumps({"msg": 44, "body": {"cmd": [{"sp": 20}], "type": 4}})
    assert frames.parse(data, frames.topic_in(mysa.V2)).form == "request"
    assert frames.parse(data, frames.topic_out(mysa.V2)).form == "result"


def test_ids_of_64_bits_stay_exact() -> None:
    frame = frames.parse(message(44, {}, id=2**63 + 1, resp_id=str(2**63 + 3)))
    assert (frame.sent_id, frame.resp_id) == (2**63 + 1, 2**63 + 3)
    with_newline = b'{"msg":44,"id":9223372036854775809,"resp_id":9007199254740993,"body":{"x":"a\nb"}}'
    frame = frames.parse(with_newline)
    assert (frame.sent_id, frame.resp_id) == (9223372036854775809, 9007199254740993)
    assert frames.parse(message(44, {}, id=1.5, resp_id=None)).sent_id is None


@pytest.mark.parametrize(
    ("raw", "at"),
    [
        (0, None),
        (25, None),
        (-1, None),
        (None, None),
        (True, None),
        ("1768478400", None),
        (1e300, None),
        (1e14, None),
        (1768478400, 1768478400.0),
        (1768478400.5, 1768478400.5),
        (1768438400417, 1768438400.417),
    ],
)
def test_times_that_are_none_are_ignored(raw: Any, at: float | None) -> None:
    assert frames.moment(10**400) is None
    assert frames.moment(raw) == at
    assert frames.parse(message(40, {}, time=raw)).at == at
    assert frames.parse(orjson.dumps({"MsgType": 0, "timestamp": raw})).at == at


# --- lenient JSON -----------------------------------------------------------------------------------------------------


def test_raw_control_characters_within_texts_are_taken() -> None:
    frame = frames.parse(mysa.payload("out_log_raw_newline_msgtype4.txt"))
    assert frame.fields["serial"] == "SIM0000417"
    assert frame.fields["Message"] == "Local IP: (hidden)\nDevice Serial: SIM0000417"


@pytest.mark.parametrize(
    ("data", "sort"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b'{"msg":44,"body":', "json"),
        (b'{"msg":44,"x":"\n', "json"),
        (b'{"msg":NaN,"body":{}}', "json"),
        (b'{"msg":44,"x":"\n","y":' + b"9" * 5000 + b"}", "json"),
        (b'{"msg":44,"x":"\n","y":' + b"9" * 30 + b"}", "json"),
        (b'{"msg":44,"x":"\n\\ud800"}', "json"),
        (b"[]", "not_an_object"),
        (b"0", "not_an_object"),
        (b'{"msg":40}', "no_body"),
        (b'{"msg":40,"body":[]}', "no_body"),
        (b'{"msg":3,"body":{}}', "no_readings"),
        (b'{"msg":3,"body":{"readings":7}}', "no_readings"),
        (b'{"msg":3,"body":{"readings":"?"}}', "base64"),
        (b'{"msg":3,"body":{"readings":"\xc3\xa9"}}', "base64"),
        (b'{"msg":44,"dest":{"ref":"x"},"body":{"cmd":"["}}', "cmd"),
        (b'{"hello":1}', "unknown_object"),
        (b"[" * 120_000, "too_deep"),
        (b'{"msg":40,"body":' + b'{"a":' * 20 + b"1" + b"}" * 21, "too_deep"),
        (b'{"msg":44,"dest":{"ref":"x"},"body":{"cmd":"' + b"[" * 20 + b"]" * 20 + b'"}}', "too_deep"),
        (b"x" * (128 * 1024 + 1), "too_large"),
    ],
)
def test_what_is_no_message_is_refused_by_its_sort(data: bytes, sort: str) -> None:
    with pytest.raises(FrameError) as caught:
        frames.parse(data)
    assert caught.value.sort == sort


def test_an_error_quotes_nothing_of_the_payload() -> None:
    with pytest.raises(FrameError) as caught:
        frames.parse(b'{"secret":"hunter2')
    assert "hunter2" not in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "MsgType",
    "msg",
    "body",
    "src",
    "dest",
    "Device",
    "time",
    "id",
    "resp_id",
    "cmd",
    "state",
    "readings",
    "v",
    "Id",
]
objects = st.dictionaries(st.sampled_from(KEYS), anything | st.integers(0, 61), max_size=8)


@given(objects, objects, st.sampled_from(["", "/v1/dev/02a17e4b1c02/out", "/v1/dev/02a17e4b1c02/in"]))
def test_parsing_is_total(outer: dict[str, Any], body: dict[str, Any], topic: str) -> None:
    try:
        data = orjson.dumps(outer | {"body": body})
    except TypeError:  # integers beyond 64 bits
        data = json.dumps(outer | {"body": body}).encode()
    try:
        frame = frames.parse(data, topic)
    except FrameError:
        return
    assert frame.form
    assert frame.device_id is None or isinstance(frame.device_id, str)


# --- bodies -----------------------------------------------------------------------------------------------------------


def test_in_floor_fields_beside_the_body_are_found() -> None:
    fields = frames.parse(mysa.payload("out_status_infloor_heatstat_outside_body")).fields
    assert (fields["heatStat"], fields["lineVtg"], fields["trackedSnsr"]) == (0, 241, 5)


def test_a_command_sent_as_a_text_reads_like_any_other() -> None:
    stringified = frames.parse(mysa.payload("in_cmd_stringified_msg44")).fields
    assert stringified == frames.parse(mysa.payload("in_cmd_setpoint_v2_msg44")).fields
    assert stringified == {"type": 4, "tm": -1, "sp": 21.0}
    for empty in ("[]", '""', "null", '"[]"'):
        data = b'{"msg":44,"dest":{"ref":"x"},"body":{"type":4,"cmd":%s}}' % empty.encode()
        try:
            assert set(frames.parse(data).fields) <= {"type", "cmd"}
        except FrameError as error:
            assert error.sort == "cmd"  # noqa: PT017 - "" is no JSON


def test_a_result_shows_state_success_and_who_asked() -> None:
    fields = frames.parse(mysa.payload("out_ack_cool_ac_msg44")).fields
    assert (fields["success"], fields["trig_src"], fields["type"], fields["md"], fields["fn"]) == (1, 3, 2, 4, 5)
    brightness = frames.parse(message(44, {"state": {"br": {"a_br": 90, "i_br": 25}}})).fields
    assert brightness == {"br.a_br": 90, "br.i_br": 25}
    assert frames.parse(message(44, {"state": None, "success": 1})).fields == {"success": 1}


def test_addresses_of_the_home_network_are_left_out() -> None:
    for name in ("out_post_boot_msgtype10.json", "out_log_raw_newline_msgtype4.txt"):
        assert "192.0.2" not in str(frames.parse(mysa.payload(name)))
    wrapped = message(10, {"ip": "192.0.2.7", "version": "3.17.4.1"})
    assert frames.parse(wrapped).fields == {"version": "3.17.4.1"}


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (message(61, {"fw": "3.17.4.1"}), {"fw": "3.17.4.1"}),
        (message(61, {}, ver="3.17.4.1"), {"version": "3.17.4.1"}),
        (message(10, {"version": "3.16.2.3"}), {"version": "3.16.2.3"}),
    ],
)
def test_a_firmware_version_is_found_wherever_it_stands(data: bytes, fields: dict[str, Any]) -> None:
    assert frames.parse(data).fields == fields
    assert frames.parse(mysa.payload("out_log_msgtype4")).fields["version"] == "3.16.2.3"


# --- REST -------------------------------------------------------------------------------------------------------------


def test_a_state_is_unwrapped_with_its_times() -> None:
    frame = frames.rest_state(mysa.state("lite"))
    assert (frame.form, frame.device_id, frame.at) == ("rest_state", mysa.LITE, 1768478388)
    assert frame.fields["CorrectedTemp"] == 8.4
    assert frame.times["CorrectedTemp"] == 1768478388
    assert frame.times["Lock"] == 1768474800
    assert frame.times["Connected"] == 1768438400.417
    assert frame.fields["Connected"] is True
    assert not {"Voltage", "Rssi", "HoldTime"} & set(frame.fields), "-1 is missing"
    assert set(frame.times) <= set(frame.fields)


def test_a_state_may_be_bare_and_have_gaps() -> None:
    frame = frames.rest_state({"Device": "02A17E4B1C01", "CorrectedTemp": 20.5, "Humidity": None, "Rssi": "-1"})
    assert (frame.device_id, frame.fields, frame.times) == (
        mysa.V1,
        {"Device": "02A17E4B1C01", "CorrectedTemp": 20.5},
        {},
    )
    assert frames.rest_state({}).fields == {}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"CorrectedTemp": 0, "SensorTemp": 21.6}, {"SensorTemp"}),
        ({"CorrectedTemp": 18.2, "SensorTemp": 0, "HeatSink": 0, "Infloor": 0.0}, {"CorrectedTemp"}),
        ({"CorrectedTemp": 0, "SensorTemp": 3.9}, {"CorrectedTemp", "SensorTemp"}),
        ({"CorrectedTemp": 0}, {"CorrectedTemp"}),
        ({"CorrectedTemp": 0, "SensorTemp": "x"}, {"CorrectedTemp", "SensorTemp"}),
    ],
)
def test_a_zero_that_another_probe_contradicts_is_no_temperature(given: dict[str, Any], kept: set[str]) -> None:
    wrapped = {name: {"t": 1768478388, "v": value} for name, value in given.items()}
    assert set(frames.rest_state(wrapped).fields) == kept


def test_the_compact_state_stands_in_for_what_is_missing() -> None:
    whole = mysa.state("ac")
    assert frames.rest_state(whole).fields["FanSpeed"] == 3
    short = {
        "ACState": {"t": 1768478388, "v": {"2": 6, "3": 0, "4": 1, "5": 3}},
        "TstatMode": {"t": 1768478388, "v": 4},
    }
    frame = frames.rest_state(short)
    assert (frame.fields["TstatMode"], frame.fields["SetPoint"], frame.fields["SwingState"]) == (4, 0, 3)
    assert frame.times["SetPoint"] == 1768478388
    assert frames.rest_state({"ACState": {"2": 6}}).times == {}
    assert frames.rest_state({"ACState": {"2": 6}}).fields["TstatMode"] == 6


def test_of_two_copies_of_a_setting_one_counts() -> None:
    fields = frames.rest_device(mysa.listed("v2")).fields
    assert fields["Lock"] == 0
    assert not {"ButtonState", "Brightness.a_br", "Brightness.i_br"} & set(fields)
    assert fields["Brightness.a_b"] == 1
    assert frames.rest_device(mysa.listed("v1")).fields["ButtonState"] == "Unlocked"
    assert frames.rest_device({"Id": mysa.V2, "Brightness": {"a_br": 80}}).fields["Brightness.a_br"] == 80


def test_both_forms_of_a_list_are_the_same() -> None:
    keyed = frames.objects_by_id(mysa.sample("devices"), "DevicesObj", "Devices")
    listed = frames.objects_by_id(mysa.sample("devices_list_form"), "DevicesObj", "Devices")
    assert set(listed) == {mysa.V1, mysa.LITE}
    assert listed.items() <= keyed.items()
    states = {"DeviceStates": [{"Device": mysa.V1}, {"Id": mysa.V2}, {}, None, 7]}
    assert set(frames.objects_by_id(states, "DeviceStatesObj", "DeviceStates")) == {mysa.V1, mysa.V2}
    assert frames.objects_by_id({"DevicesObj": {}}, "DevicesObj", "Devices") == {}
    with pytest.raises(FrameError):
        frames.objects_by_id({"error": "x"}, "DevicesObj", "Devices")


# --- out --------------------------------------------------------------------------------------------------------------

USER = "5f0c2b7e-91d4-4c36-8a1e-2d7b60c9e413"


def sent(name: str) -> Any:
    return mysa.sample(name)


def test_what_is_sent_is_what_the_samples_show() -> None:
    at = 1768478400.9
    assert frames.start_publishing(mysa.V2, at).message == sent("in_start_publishing_msgtype11")
    assert frames.check_settings(mysa.V2, at).message == sent("in_check_settings_msgtype6")
    assert frames.dump_readings(mysa.V2, at).message == sent("in_dump_readings_msgtype7")
    for name, device, kind, cmd in (
        ("setpoint_v1", mysa.V1, 1, {"sp": 19.5}),
        ("setpoint_v2", mysa.V2, 4, {"sp": 21.0}),
        ("mode_off_lite", mysa.LITE, 5, {"md": 1}),
        ("track_ambient_infloor", mysa.IN_FLOOR, 3, {"tr": 5}),
        ("cool_ac", mysa.AC, 2, {"md": 4, "sp": 23, "fn": 5}),
        ("heat_ac_no_fan", mysa.AC, 2, {"md": 3, "sp": 21}),
        ("swing_ac", mysa.AC, 2, {"ss": 5}),
    ):
        outgoing = frames.command(device, cmd, kind, user=USER, sent_id=1768478430417)
        assert outgoing.message == sent(f"in_cmd_{name}_msg44")
        assert orjson.loads(outgoing.payload) == outgoing.message
        assert outgoing.topic == f"/v1/dev/{device}/in"
        assert outgoing.sent_id == 1768478430417
        assert frames.parse(outgoing.payload, outgoing.topic).form == "request"


def legacy(number: Any, **more: Any) -> dict[str, Any]:
    return {"Device": mysa.V2, "MsgType": number, "Timestamp": 1768478400, **more}


GOOD = orjson.loads(frames.command(mysa.V2, {"sp": 21.0}, 4, user=USER, sent_id=1768478430417).payload)

FORBIDDEN: dict[str, dict[str, Any]] = {
    "pairing": legacy(40, EchoID=1),
    "pairing, H2 fault": legacy(40, EchoID=2),
    "echo": legacy(5, EchoID=1),
    "echo smuggled into an allowed one": legacy(7, EchoID=1),
    "echo smuggled into settings": legacy(6, EventType=0, EchoID=3),
    "no EventType": legacy(6),
    "status": legacy(0),
    "nudge": legacy(20),
    "text number": legacy("7"),
    "true is 1": legacy(True),
    "a float": legacy(7.0),
    "a float time": legacy(11, Timeout=1.5),
    "both types": legacy(40, msg=44),
    "both types again": {**GOOD, "MsgType": 40},
    "lower case": {"device": mysa.V2, "msgtype": 40, "timestamp": 0},
    "nothing": {},
    "another device": legacy(7) | {"Device": mysa.V1},
    "another message": {**GOOD, "msg": 34},
    "a message number that is a float": {**GOOD, "msg": 44.0},
    "extra key": {**GOOD, "EchoID": 1},
    "extra key in the body": {**GOOD, "body": {**GOOD["body"], "EchoID": 1}},
    "extra setting": {**GOOD, "body": {**GOOD["body"], "cmd": [{"tm": -1, "EchoID": 1}]}},
    "a text as setting": {**GOOD, "body": {**GOOD["body"], "cmd": [{"sp": "21"}]}},
    "null as setting": {**GOOD, "body": {**GOOD["body"], "cmd": [{"sp": None}]}},
    "an object as setting": {**GOOD, "body": {**GOOD["body"], "cmd": [{"sp": {"MsgType": 40}}]}},
    "two commands": {**GOOD, "body": {**GOOD["body"], "cmd": [{"sp": 21.0}, {"md": 1}]}},
    "a stringified command": {**GOOD, "body": {**GOOD["body"], "cmd": '[{"sp":21.0}]'}},
    "type 0": {**GOOD, "body": {**GOOD["body"], "type": 0}},
    "type 6": {**GOOD, "body": {**GOOD["body"], "type": 6}},
    "no dest": {key: raw for key, raw in GOOD.items() if key != "dest"},
    "dest of another device": {**GOOD, "dest": {"ref": mysa.V1, "type": 1}},
    "src without a ref": {**GOOD, "src": {"type": 100}},
    "an object as time": {**GOOD, "time": {"MsgType": 40}},
    "a version that is none": {**GOOD, "ver": 1},
    "an empty body": {**GOOD, "body": {}},
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_nothing_else_can_be_made_to_be_sent(name: str) -> None:
    with pytest.raises(CommandError) as caught:
        frames.Outgoing(mysa.V2, FORBIDDEN[name])
    assert (caught.value.verdict, caught.value.code) == ("rejected", "forbidden")


@pytest.mark.parametrize(
    "device", ["", "02A17E4B1C02", "02a17e4b1c02/../x", "+", "#", "02a17e4b1c0", f"{mysa.V2}/out", "02a17e4b1c02\n"]
)
def test_nothing_is_sent_anywhere_but_to_a_device(device: str) -> None:
    for build in (frames.start_publishing, frames.check_settings, frames.dump_readings):
        with pytest.raises(CommandError):
            build(device, 1768478400)
    with pytest.raises(CommandError):
        frames.command(device, {"sp": 21.0}, 4, user=USER, sent_id=1768478430417)


def test_a_setting_that_no_device_knows_is_not_sent() -> None:
    for cmd in ({"EchoID": 1}, {"sp": "21"}, {"sp": None}, {"md": True}, {"br": {"a_br": "x"}}):
        with pytest.raises(CommandError):
            frames.command(mysa.V2, cmd, 4, user=USER, sent_id=1768478430417)
    assert frames.command(mysa.V2, {"br": {"a_br": 90}}, 4, user=USER, sent_id=1).topic.endswith("/in")


def test_what_was_checked_can_not_be_changed_before_it_is_sent() -> None:
    given = legacy(7)
    outgoing = frames.Outgoing(mysa.V2, given)
    given["MsgType"] = 40
    assert orjson.loads(outgoing.payload)["MsgType"] == 7
    with pytest.raises(TypeError):
        outgoing.message["MsgType"] = 40  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        outgoing.payload = b"{}"  # type: ignore[misc]
    with pytest.raises(CommandError):
        dataclasses.replace(outgoing, message=legacy(40, EchoID=1))


@given(st.dictionaries(st.sampled_from(["MsgType", "msg", "Device", "EchoID", "Timestamp", "EventType"]), anything))
def test_whatever_goes_out_is_one_of_the_four(given_message: dict[str, Any]) -> None:
    for made in (given_message, legacy(7) | given_message, GOOD | given_message):
        try:
            outgoing = frames.Outgoing(mysa.V2, made)
        except CommandError:
            continue
        sent_message = orjson.loads(outgoing.payload)
        assert "EchoID" not in sent_message
        assert sent_message.get("MsgType", 44) in (6, 7, 11, 44)
        assert sent_message.get("msg", 44) == 44
        assert outgoing.topic == f"/v1/dev/{mysa.V2}/in"


def test_nobody_else_spells_a_topic_or_publishes_anything_but_an_outgoing() -> None:
    for path in Path(frames.__file__).parent.glob("*.py"):
        if path.name in ("frames.py", "private.py"):  # the second finds ids in topics, to hide them in captures
            continue
        text = path.read_text()
        assert "/v1/dev" not in text, path.name
        for node in ast.walk(ast.parse(text)):
            is_publish = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "publish"
            )
            if is_publish and len(node.args) > 1:  # with one argument it is an `Outgoing`, as its type says
                given_names = [part.attr for part in node.args[:2] if isinstance(part, ast.Attribute)]
                assert given_names == ["topic", "payload"], f"{path.name}:{node.lineno}"
