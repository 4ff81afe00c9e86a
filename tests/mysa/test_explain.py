"""Payloads taken apart for people: every field in its place, with its meaning and, in a batch, its bytes."""

from __future__ import annotations

import base64
from functools import reduce
from operator import xor

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import mysa

from navibridge.errors import FrameError
from navibridge.model import Explained, ExplainedField
from navibridge.vendors import mysa as vendor
from navibridge.vendors.mysa import batch
from navibridge.vendors.mysa.explaining import explain


def field(explained: Explained, name: str) -> ExplainedField:
    (found,) = [field for field in explained.fields if field.name == name]
    return found


@pytest.mark.parametrize("name", [name for name in mysa.MESSAGES if "truncated" not in name])
def test_every_message_is_explained(name: str) -> None:
    explained = vendor.explain(mysa.payload(name))
    assert explained.device is not None
    names = [field.name for field in explained.fields]
    assert len(names) == len(set(names))
    fed = {field.attribute: field.value for field in explained.fields if field.attribute}
    if explained.frame == "log":
        assert explained.values == ({"firmware": "3.16.2.3"} if "raw_newline" not in name else {})
    elif explained.frame != "request":
        assert fed == explained.values
    assert "192.0.2" not in str(explained)


def test_a_status_field_by_field() -> None:
    explained = explain(mysa.payload("out_status_v1_msgtype0"))
    assert (explained.frame, explained.device) == ("status_v1", mysa.V1)
    assert field(explained, "MainTemp") == ExplainedField("MainTemp", 17.92, 17.92, "°C", "current_temperature")
    assert field(explained, "Current") == ExplainedField("Current", 3.84, 3.84, "A", "current")
    assert field(explained, "Stream") == ExplainedField("Stream", 1)
    assert field(explained, "Timestamp").value == 1768478400


def test_an_answer_means_what_it_means_on_its_family() -> None:
    cool = explain(mysa.payload("out_ack_cool_ac_msg44"))
    assert (field(cool, "md").value, field(cool, "fn").value, field(cool, "src.ref").raw) == ("cool", "medium", mysa.AC)
    tracked = explain(mysa.payload("out_ack_track_ambient_infloor_msg44"))
    assert field(tracked, "tr").attribute == "tracked_sensor"


@pytest.mark.parametrize("name", ["in_cmd_stringified_msg44", "in_cmd_setpoint_v2_msg44"])
def test_a_command_says_what_is_asked_for_and_sets_no_value(name: str) -> None:
    explained = explain(mysa.payload(name))
    assert field(explained, "cmd.sp") == ExplainedField("cmd.sp", 21.0, 21.0, "°C", "target_temperature")
    assert field(explained, "cmd.tm").attribute is None
    assert explained.values == {}
    cool = explain(mysa.payload("in_cmd_cool_ac_msg44"))
    assert field(cool, "cmd.md").value == "cool"


@pytest.mark.parametrize("name", mysa.BATCHES)
def test_every_byte_of_a_batch_is_shown_in_its_place(name: str) -> None:
    data = mysa.blob(name)
    for payload in (mysa.payload(name), data):
        explained = explain(payload)
        assert explained.frame == "batch"
        assert explained.device == (None if payload is data else mysa.sample(name)["src"]["ref"])
        placed = [field for field in explained.fields if field.data is not None]
        end = 0
        for piece in placed:
            assert piece.offset == end
            assert piece.data == data[end : end + len(piece.data or b"")]
            end += len(piece.data or b"")
        assert end == len(data)


def test_a_record_field_by_field() -> None:
    explained = explain(mysa.example("v3") + mysa.example("cold"))
    assert field(explained, "readings[0].ambient_temp") == ExplainedField(
        "readings[0].ambient_temp", 197, 19.7, "°C", "current_temperature", 9, b"\xc5\x00"
    )
    assert field(explained, "readings[0].current") == ExplainedField(
        "readings[0].current", 627, 6.27, "A", "heating_current", 27, b"\x73\x02"
    )
    cold = field(explained, "readings[1].sensor_temp")
    assert (cold.raw, cold.value, cold.offset) == (-24, -2.4, 33 + 7)
    assert field(explained, "readings[1].rssi").attribute is None, "filler"
    assert explained.values["current_temperature"] == 19.7, "of the newest, which is the first"


def test_a_damaged_record_feeds_nothing() -> None:
    explained = explain(mysa.payload("batch_v0_bad_checksum"))
    assert field(explained, "readings[1].checksum_ok").value is False
    assert not any(field.attribute for field in explained.fields if field.name.startswith("readings[1]"))
    assert any(field.attribute for field in explained.fields if field.name.startswith("readings[2]"))
    all_bad = mysa.example("v0")[:-1] + b"\0"
    assert explain(all_bad).values == {}


def test_what_can_not_be_read_is_shown_as_such() -> None:
    noisy = explain(mysa.example("v3") + b"noise" + mysa.example("v0")[:20])
    assert field(noisy, "skipped").raw == 25
    cut = explain(mysa.payload("batch_v0_truncated"))
    assert field(cut, "remainder").offset == 26
    unknown = explain(mysa.payload("batch_unknown_version"))
    assert field(unknown, "readings[0].unknown").raw == "01020304"


def test_objects_of_the_rest_service_are_explained() -> None:
    state = explain(mysa.payload("device_state_single"))
    assert (state.frame, state.device) == ("rest_state", mysa.V1)
    assert field(state, "CorrectedTemp").attribute == "current_temperature"
    assert field(state, "Connected.t").value == 1768438400.417
    assert state.values["mode"] == "heat"
    for name, key in (("ac", "fan_mode"), ("in_floor", "floor_temperature")):
        assert explain(orjson.dumps(mysa.state(name))).values[key]
    device = explain(orjson.dumps(mysa.listed("v2")))
    assert (device.frame, device.values["proximity"]) == ("rest_device", True)
    assert explain(orjson.dumps({"Device": mysa.listed("ac")})).device == mysa.AC
    assert explain(mysa.payload("device_update_available")).values == {
        "update_available": True,
        "firmware": "3.16.2.3",
        "firmware_latest": "3.17.4.1",
    }
    firmware = mysa.sample("devices_firmware")["Firmware"][mysa.V1]
    assert explain(orjson.dumps(firmware)).values == {"firmware": "3.16.2.3"}


def test_a_version_in_place_of_the_envelopes_is_a_firmware() -> None:
    boot = b'{"ver":"3.17.4.1","src":{"ref":"02a17e4b1c02","type":1},"msg":61,"body":{}}'
    assert field(explain(boot), "ver").attribute == "firmware"
    assert field(explain(mysa.payload("out_boot_firmware_msg61")), "fw").attribute == "firmware"


def test_addresses_are_hidden_and_wrong_settings_have_no_meaning() -> None:
    boot = b'{"src":{"ref":"02a17e4b1c02","type":1},"msg":10,"body":{"ip":"192.0.2.9","version":"3.17.4.1"}}'
    assert field(explain(boot), "ip").raw == "(hidden)"
    wrong = explain(b'{"dest":{"ref":"02a17e4b1c02","type":1},"msg":44,"body":{"type":4,"cmd":[{"md":99,"zz":1}]}}')
    assert field(wrong, "cmd.md") == ExplainedField("cmd.md", 99)
    assert field(wrong, "cmd.zz") == ExplainedField("cmd.zz", 1)


@pytest.mark.parametrize("payload", [b"", b"x", b"{}", b"[1]", mysa.MESSAGES[0].encode(), batch.MAGIC, bytes(40)])
def test_what_is_no_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        explain(payload)


@given(st.binary(max_size=120), st.sampled_from(["", "v0", "v1", "v3"]))
def test_explaining_is_total(noise: bytes, start: str) -> None:
    blob = (mysa.example(start) if start else b"") + noise
    sealed = batch.MAGIC + noise
    carrier = orjson.dumps({"msg": 3, "body": {"readings": base64.b64encode(blob).decode()}})
    for payload in (blob, sealed + bytes((reduce(xor, sealed),)), carrier):
        try:
            explain(payload)
        except FrameError:
            continue
