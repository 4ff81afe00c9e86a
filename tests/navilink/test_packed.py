"""The eight-byte header and the packed status record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.navilink import MAC, PACKED_EXAMPLE, binary

from navibridge.errors import FrameError
from navibridge.vendors.navilink import frames, packed
from navibridge.vendors.navilink.codes import Query
from navibridge.vendors.navilink.heat_pump import HEAT_PUMP

raws = st.integers(-0x7FFF, 0x7FFF)
records = st.dictionaries(st.sampled_from(packed.FIELDS), raws)

WORKED_VALUES = {
    "tank_charge": 99,
    "current_temperature": 50.0,
    "target_temperature": 89 * 5 / 9,
    "activity": "heat_pump",
    "compressor_running": True,
    "upper_element_running": False,
    "lower_element_running": False,
    "fan_running": True,
    "hot_water_in_use": False,
    "error_code": 0,
    "sub_error_code": 0,
    "wifi_signal": -59,
    "device_connected": True,
    "outdoor_temperature": pytest.approx(-17.777778),
    "tank_upper_temperature": pytest.approx((60.5 - 32) / 1.8),
    "tank_lower_temperature": pytest.approx((61.0 - 32) / 1.8),
    "discharge_temperature": 24.5,
    "ambient_temperature": pytest.approx((23.8 - 32) / 1.8),
    "power": 466,
}


def test_the_worked_example() -> None:
    frame = frames.parse(PACKED_EXAMPLE, MAC)
    decoded = HEAT_PUMP.decode(frame.form, frame.fields)
    assert decoded.values == WORKED_VALUES
    assert decoded.unknown == {}
    assert HEAT_PUMP.derive({}, decoded.values)["heat_source"] == "heat_pump"


def test_the_worked_example_is_encoded_again() -> None:
    frame = frames.parse(PACKED_EXAMPLE, MAC)
    assert packed.encode_header(Query.STATUS, MAC) + packed.encode(frame.fields) == PACKED_EXAMPLE


def test_a_poll_is_the_header_alone() -> None:
    poll = packed.encode_header(Query.STATUS, MAC)
    assert poll == binary("founding_command_form", "status_request_device_id_from_mac_hex")
    assert frames.parse(poll, MAC).form == "request"


@given(records, st.integers(0, len(packed.FIELDS)))
def test_encoding_and_decoding_are_inverse(fields: dict[str, int], count: int) -> None:
    kept = {name: value for name, value in fields.items() if name in packed.FIELDS[:count]}
    assert packed.decode(packed.encode(fields, count=count)) == kept


@given(st.binary(max_size=60))
def test_any_record_is_decoded_or_refused(record: bytes) -> None:
    try:
        fields = packed.decode(record)
    except FrameError:
        return
    HEAT_PUMP.decode("packed", fields)


def test_not_available_is_absent_and_never_zero() -> None:
    fields = packed.decode(packed.encode({"dhw_temperature": 0, "dhw_charge_per": packed.NOT_AVAILABLE}))
    assert fields == {"dhw_temperature": 0}


def test_fields_beyond_the_table_are_reported_as_unknown() -> None:
    record = bytes([1, 20]) + bytes(2 * 19) + b"\x00\x07"
    decoded = HEAT_PUMP.decode("packed", packed.decode(record))
    assert decoded.unknown == {"field_20": 7}


def test_ready_is_off() -> None:
    values = HEAT_PUMP.decode("packed", {"comp_use": 1, "heat_upper_use": 0, "device_connected": 1}).values
    assert values == {"compressor_running": False, "upper_element_running": False, "device_connected": True}


def test_a_value_too_large_is_not_sent() -> None:
    with pytest.raises(FrameError) as caught:
        packed.encode({"current_inst_power": 40000})
    assert caught.value.sort == "out_of_range"


def test_a_header_cut_short_is_refused() -> None:
    with pytest.raises(FrameError) as caught:
        packed.decode_header(PACKED_EXAMPLE[:7])
    assert caught.value.sort == "truncated"


def test_slots_lie_where_the_page_says() -> None:
    slots = list(packed.slots(PACKED_EXAMPLE[8:], 8))
    assert [slot.name for slot in slots] == list(packed.FIELDS)
    assert [slot.offset for slot in slots] == list(range(10, 48, 2))
