"""Recorded frames of the retired TCP service."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.navilink import binary, sample

from navibridge.errors import FrameError
from navibridge.vendors.navilink import devices, frames, tcp

GID = "a1b2c3d4e5f60718"
LENGTHS = [(1, 52), (1, 58), (2, 271), (2, 273), (3, 39), (3, 43), (4, 21), (4, 43), (4, 703), (5, 549), (6, 23)]


def frame_of(sort: int, length: int, filling: bytes) -> bytes:
    """A frame of that type and length whose bytes do not contradict each other."""
    data = bytearray((filling * (length // len(filling) + 1))[:length])
    data[9] = sort
    if sort == 1:
        data[10], data[11] = (15, 0) if length == 52 else (15, 1)
    if sort in (4, 5):
        data[20] = (length - 21) // 22
    return bytes(data)


def test_channel_information_of_the_samples() -> None:
    expected = sample("binary_frames")["legacy_tcp"]["channel_information_decoded"]
    fields = tcp.decode(binary("legacy_tcp", "channel_information_hex"))
    for index, channel in enumerate(expected.pop("channels")):
        for name, value in channel.items():
            assert fields[f"channels[{index}].{name}"] == value
    assert {name: fields[name] for name in expected} == expected


def test_state_of_the_samples() -> None:
    expected = sample("binary_frames")["legacy_tcp"]["state_decoded"]
    fields = tcp.decode(binary("legacy_tcp", "state_hex"))
    plain = {
        name: value
        for name, value in expected.items()
        if type(value) is not float and not isinstance(value, str | dict)
    }
    for name, value in plain.items():
        wire = name.removesuffix("_raw").removesuffix("_f")
        assert fields[wire] == value, name
    assert fields["powerStatus"] == 1
    assert (fields["schedule[1].dayOfWeek"], fields["schedule[1].count"]) == (2, 2)
    assert [fields[f"schedule[1].entries[1].{name}"] for name in ("hour", "minute", "flag")] == [22, 30, 2]


def test_the_state_means_what_the_page_says() -> None:
    info = devices.decode(frames.parse(binary("legacy_tcp", "channel_information_hex")))
    decoded = devices.decode(frames.parse(binary("legacy_tcp", "state_hex")), info.values)
    assert decoded.unknown == {}
    values = decoded.values
    assert values["heating_capacity"] == 41.5
    assert values["gas_total"] == 1456.7
    assert values["target_temperature"] == 50.0
    assert values["unit_outlet_temperature"] == pytest.approx((119 - 32) / 1.8)
    assert values["inlet_temperature"] == pytest.approx((64 - 32) / 1.8)
    assert values["hot_water_flow"] == 8.3
    assert values["unit_type"] == "NPE2"
    assert (values["power_state"], values["heating"], values["hot_button"]) == (True, False, False)
    assert devices.GAS.derive({}, values)["gas_power"] == pytest.approx(312 * 1.163, abs=0.1)


def test_channels_in_use_become_frames() -> None:
    frame = frames.parse(binary("legacy_tcp", "channel_information_hex"))
    assert (frame.channel, frame.also, frame.device_id) == (1, (), GID)
    fields = dict(tcp.decode(binary("legacy_tcp", "channel_information_hex")))
    fields["channels[2].deviceSorting"] = 2
    frame = frames.parse(tcp.encode(fields, 52))
    assert [part.channel for part in (frame, *frame.also)] == [1, 3]
    fields |= {"channels[0].deviceSorting": 0, "channels[2].deviceSorting": 0}
    assert frames.parse(tcp.encode(fields, 52)).channel is None


def test_requests_of_the_samples_are_encoded() -> None:
    state = {"deviceID": GID, "channel": 1, "deviceNumber": 1, "sorting": 1, "infoItem": 2}
    assert tcp.encode_request(state) == binary("legacy_tcp", "state_request_hex")
    warmer = {"deviceID": GID, "channel": 1, "deviceNumber": 1, "sorting": 2, "controlItem": 3, "value": 120}
    assert tcp.encode_request(warmer) == binary("legacy_tcp", "set_120F_request_hex")


@pytest.mark.parametrize(("sort", "length"), LENGTHS)
def test_slots_cover_a_frame_without_gaps(sort: int, length: int) -> None:
    offset = 0
    for slot in tcp.slots(frame_of(sort, length, b"\x01\x02\x03")):
        assert slot.offset == offset
        offset += slot.size
    assert offset == length


@pytest.mark.parametrize(
    ("sort", "length", "name", "offset"),
    [
        (1, 58, "channels[1].channel", 28),
        (1, 58, "channels[0].minRecirculation", 26),
        (2, 273, "hotWaterAverage", 267),
        (2, 273, "recirculationTemperature", 272),
        (2, 271, "powerStatus", 38),
        (2, 271, "schedule[1].dayOfWeek", 75),
        (3, 43, "modelInfo", 20),
        (3, 43, "totalDhwTime", 39),
        (4, 65, "records[1].index", 43),
        (5, 43, "records[0].dhw", 41),
        (6, 23, "errorCD", 21),
    ],
)
def test_fields_lie_where_the_page_says(sort: int, length: int, name: str, offset: int) -> None:
    places = {slot.name: slot.offset for slot in tcp.slots(frame_of(sort, length, b"\x00"))}
    assert places[name] == offset


@given(st.sampled_from(LENGTHS), st.binary(min_size=1, max_size=80))
def test_decoding_and_encoding_are_inverse(kind: tuple[int, int], filling: bytes) -> None:
    data = frame_of(*kind, filling)
    assert tcp.encode(tcp.decode(data), len(data)) == data
    devices.decode(frames.parse(data))


@given(st.binary(min_size=47, max_size=47))
def test_requests_are_inverse_too(rest: bytes) -> None:
    data = tcp.REQUEST_START + rest
    assert tcp.encode_request(tcp.decode(data)) == data


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        tcp.decode(data)
    except FrameError as error:
        assert error.sort  # noqa: PT017 - the other outcome is as good


@pytest.mark.parametrize(
    ("fields", "length", "sort"),
    [
        ({"controlType": 7}, 52, "tcp_length"),
        ({"controlType": 2}, 270, "tcp_length"),
        ({"controlType": 2, "errorCD": 70000}, 271, "out_of_range"),
        ({"controlType": 2, "deviceID": "no hex"}, 271, "out_of_range"),
        ({"controlType": 1, "swVersionMajor": 99}, 52, "tcp_length"),
        ({"controlType": 4, "recordCount": 3}, 43, "truncated"),
    ],
)
def test_an_impossible_frame_is_not_encoded(fields: dict[str, Any], length: int, sort: str) -> None:
    with pytest.raises(FrameError) as caught:
        tcp.encode(fields, length)
    assert caught.value.sort == sort
