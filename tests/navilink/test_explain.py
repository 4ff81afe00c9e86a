"""The `decode` command's view of a payload."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.navilink import PACKED_EXAMPLE, binary, messages, payload

from navibridge.errors import FrameError
from navibridge.model import ExplainedField
from navibridge.vendors.navilink import devices, frames, packed
from navibridge.vendors.navilink.explaining import explain


def fields(data: bytes) -> dict[str, ExplainedField]:
    return {field.name: field for field in explain(data).fields}


@pytest.mark.parametrize("data", messages().values(), ids=messages())
def test_every_message_of_the_samples_is_explained(data: bytes) -> None:
    explained = explain(data)
    frame = frames.parse(data)
    assert (explained.frame, explained.device) == (frame.form, frame.device_id)
    assert explained.fields
    orjson.dumps([[field.name, field.raw, field.value, field.unit, field.attribute] for field in explained.fields])


def test_a_status_shows_envelope_and_fields_in_their_order() -> None:
    explained = explain(payload("mqtt_status_response"))
    assert [field.name for field in explained.fields][:4] == [
        "protocolVersion",
        "clientID",
        "sessionID",
        "requestTopic",
    ]
    found = fields(payload("mqtt_status_response"))
    assert found["dhwTemperature"] == ExplainedField("dhwTemperature", 104, 52.0, "°C", "current_temperature")
    assert found["compUse"].value is True
    assert found["macAddress"].attribute is None
    assert explained.values["tank_charge"] == 76
    assert len(explained.fields) == 102 + 7


def test_a_packed_record_shows_bytes_and_offsets() -> None:
    explained = explain(PACKED_EXAMPLE)
    assert explained.frame == "packed"
    assert b"".join(field.data or b"" for field in explained.fields) == PACKED_EXAMPLE
    assert [field.offset for field in explained.fields] == [0, 4, 8, 9, *range(10, 48, 2)]
    found = fields(PACKED_EXAMPLE)
    assert found["command"].raw == 0x01000003
    assert found["device_id_prefix"].raw == "a1b2"
    temperature = ExplainedField("dhw_temperature", 122, 50.0, "°C", "current_temperature", 12, b"\x00\x7a")
    assert found["dhw_temperature"] == temperature


def test_what_is_not_available_has_no_value() -> None:
    data = packed.encode_header(0x01000003, "a1b2c3d4e5f6") + packed.encode({"dhw_charge_per": 5})
    found = fields(data)["dhw_temperature"]
    assert (found.raw, found.value, found.attribute) == (-0x8000, None, "current_temperature")


def test_a_poll_is_its_header() -> None:
    explained = explain(bytes.fromhex("0100000361316232"))
    assert (explained.frame, [field.name for field in explained.fields]) == ("request", ["command", "device_id_prefix"])


def test_json_in_a_binary_frame() -> None:
    found = fields(bytes.fromhex("0100000361316232") + b'{"dhw_temperature": 104, "device_note": 1}')
    assert found["dhw_temperature"].value == 52.0
    assert found["device_note"].attribute is None


def test_reservations_are_shown_entry_by_entry() -> None:
    found = fields(payload("mqtt_reservation_read_response"))
    assert found["reservation"].value == 3
    assert found["reservation[0].week"].value == "Mon-Fri"
    assert found["reservation[0].mode"].value == "energy_saver"
    assert (found["reservation[0].param"].value, found["reservation[0].param"].unit) == (54.0, "°C")
    assert found["reservation[2].enable"].value is False
    assert fields(payload("mqtt_tou_response"))["reservation[1].season"].value == "Jun-Sep"


def test_a_gas_status_alone_is_read_as_fahrenheit() -> None:
    found = fields(payload("gas_channelstatus_response"))
    assert found["DHWSettingTemp"].value == 50.0
    assert found["gasInstantUsage"].attribute == "gas_rate"


@pytest.mark.parametrize("name", ["channel_information_hex", "state_hex", "state_request_hex", "set_120F_request_hex"])
def test_tcp_frames_show_every_byte(name: str) -> None:
    data = binary("legacy_tcp", name)
    assert b"".join(field.data or b"" for field in explain(data).fields) == data


def test_tcp_channels_mean_what_their_record_says() -> None:
    found = fields(binary("legacy_tcp", "channel_information_hex"))
    assert found["channels[0].minWater"].attribute == "temperature_min"
    assert found["channels[0].deviceSorting"].value == "NPE2"


def test_lists_of_mixed_content_are_shown_as_they_are() -> None:
    found = fields(b'{"response": {"status": {"dhwTemperature": 104}, "odd": [1, {"a": 2}]}}')
    assert (found["odd[0]"].raw, found["odd[1].a"].raw) == (1, 2)


def test_values_are_those_of_the_frame_and_what_follows_from_them() -> None:
    data = payload("mqtt_status_response")
    derived = {"heat_source": "heat_pump", "mode": "eco", "usable_energy": 2.228}
    assert explain(data).values == devices.decode(frames.parse(data)).values | derived


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(FrameError):
        explain(b"hello")


def test_a_hostile_message_is_explained_without_delay() -> None:
    message: dict[str, Any] = {"response": {"status": {f"unknown_{number}": number for number in range(4000)}}}
    assert len(explain(orjson.dumps(message)).fields) == 4000
