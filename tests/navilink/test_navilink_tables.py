"""Every row of both tables, whatever it is: a new row is tested by existing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.navilink import MAC, payload, sample

from navibridge.model import Attribute, Codec, Kind, Sort
from navibridge.vendors.navilink import codecs, devices, frames

ROWS = [pytest.param(kind, row, id=f"{kind.name}.{row.key}") for kind in devices.KINDS for row in kind.attributes]
FEATURES = devices.decode(frames.parse(payload("mqtt_did_response"))).values
GAS_FEATURES = devices.decode(frames.parse(payload("gas_channelinfo_response"))).values
NOT_A_FIGURE = {"reservation"}

WORDED: dict[str, tuple[Any, ...]] = {
    "text": ("NWP5SAMPLE000123", ""),
    "dotted bytes": (0, 167838208, 0xFFFFFFFF),
    "4 Wh": (0, 948, 1861),
    "bit mask": (0, 8, 255),
    "0 off, otherwise on": (0, 1),
}


def every_codec() -> dict[str, Codec]:
    return {
        wire.codec.name: wire.codec
        for kind in devices.KINDS
        for row in kind.attributes
        for wire in row.reads
        if wire.name not in NOT_A_FIGURE
    }


@pytest.mark.parametrize("name", every_codec())
def test_encoding_is_the_inverse_of_decoding(name: str) -> None:
    codec = every_codec()[name]
    for raw in WORDED.get(name, range(-700, 700)):
        try:
            value = codec.decode(raw)
        except ValueError:
            continue  # a number that the enumeration does not list
        again = codec.encode(value)
        assert codec.decode(again) == value
        if name in WORDED or type(value) is float:
            assert again == raw


def test_how_long_a_value_is_shown_that_is_not_told_again() -> None:
    """What the status tells lasts for the device's timeout, what is asked for once an hour longer, a fact for ever."""
    gas, heat_pump = devices.GAS, devices.HEAT_PUMP
    told = {kind.name: {row.key for row in kind.attributes if row.reads} for kind in devices.KINDS}
    for kind in devices.KINDS:
        for key in told[kind.name] - dict(kind.fading).keys():
            forms = {wire.form for wire in kind.by_key[key].reads}
            facts = {form for form in forms if form == "feature" or "channel_info" in form}
            assert facts, f"{kind.name}.{key} is no fact and is shown for ever"
    assert {lasts for _, lasts in gas.fading} == {0.0}
    rare = {key: {wire.form for wire in heat_pump.by_key[key].reads} for key, lasts in heat_pump.fading if lasts}
    assert {form for forms in rare.values() for form in forms} == {
        *("reservations", "recirculation_schedule", "tou", "energy"),
    }
    assert len(rare) == 10


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_a_row_is_complete(kind: Kind, row: Attribute) -> None:
    assert row.name
    assert row.name[0].isupper()
    assert row.source or row.integrates
    assert len({(wire.form, wire.name) for wire in row.reads}) == len(row.reads)
    assert set(row.needs) <= set(kind.by_key)
    if row.integrates:
        assert kind.by_key[row.integrates].quantity.unit == "W"
    if not row.reads and row.quantity.sort is not Sort.ACTION:
        assert row.needs, "a derived value says what it needs"
    if row.about:
        assert row.about.endswith((".", "`"))


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_a_row_resolves_with_and_without_features(kind: Kind, row: Attribute) -> None:
    for features in ({}, FEATURES if kind is devices.HEAT_PUMP else GAS_FEATURES):
        resolved = row.resolve(features)
        if resolved.writes and resolved.quantity.sort is Sort.NUMBER:
            assert resolved.limits is not None
            assert resolved.limits.low < resolved.limits.high
            assert isinstance(resolved.step, int | float)
        if resolved.quantity.sort is Sort.OPTION:
            assert len(set(resolved.words)) == len(resolved.words) > 0


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_options_are_all_the_words_a_row_can_hold(kind: Kind, row: Attribute) -> None:
    if row.quantity.sort is not Sort.OPTION:
        return
    words = set(row.resolve({}).words)
    for wire in row.reads:
        decoded = {kind.decode(wire.form, {wire.name: raw}).values[row.key] for raw in range(600)}
        assert decoded - {None} <= words


def test_no_key_and_no_alias_is_ambiguous() -> None:
    for kind in devices.KINDS:
        writable = [row for row in kind.attributes if row.writes]
        aliases = [alias for row in kind.attributes for alias in row.aliases]
        assert len(set(aliases)) == len(aliases)
        assert not {row.key for row in writable} & set(aliases)


def test_every_control_field_is_written_by_a_row_that_exists() -> None:
    for kind in devices.KINDS:
        for composite in kind.composites:
            assert set(composite.roles.values()) <= set(kind.by_key)


@pytest.mark.parametrize("name", ["mqtt_status_response", "mqtt_status_unsolicited", "mqtt_control_ack"])
def test_every_status_field_of_the_samples_has_a_row(name: str) -> None:
    frame = frames.parse(payload(name), MAC)
    decoded = devices.decode(frame)
    assert decoded.unknown == {}
    assert len(decoded.values) > len(frame.fields)


def test_every_feature_of_the_samples_has_a_row() -> None:
    assert devices.decode(frames.parse(payload("mqtt_did_response"))).unknown == {}


def decoded_sample() -> list[tuple[str, Any]]:
    return list(sample("mqtt_status_response_decoded")["values"].items())


@pytest.mark.parametrize(("field", "expected"), decoded_sample())
def test_the_decoded_sample(field: str, expected: Any) -> None:
    raw = frames.parse(payload("mqtt_status_response")).fields
    values = devices.HEAT_PUMP.decode("status", raw).values
    values |= devices.HEAT_PUMP.derive({}, values)
    special = {"usableEnergy": "usable_energy", "touOverrideActive": "tou_override"}
    key = special.get(field) or devices.HEAT_PUMP.wires("status")[field][0]
    value = values[key]
    if isinstance(expected, dict) and "wh" in expected:
        expected = expected["wh"] / 1000
    elif isinstance(expected, dict):
        expected = expected.get("c", expected.get("l", expected.get("lpm")))
    assert value == expected


@pytest.mark.parametrize(
    ("codec", "raw", "value"),
    [
        (codecs.HALF_CELSIUS, 81, 40.5),
        (codecs.HALF_CELSIUS, 93, 46.5),
        (codecs.HALF_CELSIUS, 115, 57.5),
        (codecs.HALF_CELSIUS, 121, 60.5),
        (codecs.HALF_CELSIUS, -5, -2.5),
        (codecs.TENTH_CELSIUS, 605, 60.5),
        (codecs.TENTH_CELSIUS, 431, 43.1),
        (codecs.TENTH_CELSIUS, -35, -3.5),
        (codecs.TENTH_KELVIN, 30, 3.0),
        (codecs.TENTH_FLOW, 37, 3.7),
        (codecs.ENERGY_COUNT, 948, 3.792),
        (codecs.FAHRENHEIT, 122, 50.0),
        (codecs.TENTH_FAHRENHEIT, 761, 24.5),
        (codecs.HALF_PERCENT, 83, 41.5),
        (codecs.TENTH_CUBIC_METRE, 14567, 1456.7),
        (codecs.FLAG, 2, True),
        (codecs.TRI, 0, None),
        (codecs.GAS_FLAG, 1, True),
        (codecs.OVERRIDE, 1, True),
        (codecs.VERSION, 167838208, "10.1.2.0"),
    ],
)
def test_worked_examples(codec: Codec, raw: int, value: Any) -> None:
    assert codec.decode(raw) == value
    assert codec.encode(value) == raw


@pytest.mark.parametrize(
    ("fahrenheit", "raw"),
    [(110, 87), (115, 92), (118, 96), (122, 100), (125, 103), (128, 107), (135, 114), (145, 126), (149, 130)],
)
def test_setpoints_asked_for_in_fahrenheit(fahrenheit: int, raw: int) -> None:
    assert codecs.HALF_CELSIUS.encode((fahrenheit - 32) * 5 / 9) == raw


WRONG = [None, True, False, "2", "", 1.5, [], {}, [1], math.inf, "x" * 100]


@pytest.mark.parametrize("raw", WRONG, ids=repr)
def test_a_wrong_type_is_unknown_and_reported(raw: Any) -> None:
    for kind in devices.KINDS:
        for form in ("status", "feature", "packed", "gas_channel_status_c", "gas_channel_info_f", "tcp_state_f"):
            for name, keys in kind.wires(form).items():
                decoded = kind.decode(form, {name: raw})
                if name == "controllerSerialNumber" and isinstance(raw, str):
                    continue
                assert decoded.values == dict.fromkeys(keys)
                assert decoded.unknown == {name: raw}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FORMS = sorted({wire.form for kind in devices.KINDS for row in kind.attributes for wire in row.reads})
FIELDS = sorted({wire.name for kind in devices.KINDS for row in kind.attributes for wire in row.reads})


@given(st.sampled_from(FORMS), st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), anything, max_size=20))
def test_decoding_and_deriving_are_total(form: str, fields: dict[str, Any]) -> None:
    for kind in devices.KINDS:
        values = kind.decode(form, fields).values
        for value in values.values():
            assert value is None or isinstance(value, bool | int | float | str)
            assert not isinstance(value, float) or math.isfinite(value)
        kind.derive(values, values)


def test_an_unknown_number_of_an_enumeration_is_unknown() -> None:
    decoded = devices.HEAT_PUMP.decode("status", {"operationMode": 128, "dhwOperationSetting": 9, "compUse": 7})
    assert set(decoded.values.values()) == {None}
    assert decoded.unknown == {"operationMode": 128, "dhwOperationSetting": 9, "compUse": 7}


def test_both_spellings_of_the_misspelt_field_are_read() -> None:
    for name in ("heLowerOnTDiffempSetting", "heLowerOnDiffTempSetting"):
        assert devices.HEAT_PUMP.decode("status", {name: 20}).values == {"element_lower_on_difference": 2.0}
    for name in ("mixingValueUse", "mixingValveUse"):
        assert devices.HEAT_PUMP.decode("feature", {name: 2}).values == {"supports_mixing_valve": True}


def test_a_word_that_the_wire_does_not_know_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="half_asleep"):
        codecs.table("mood", {1: "awake"}).encode("half_asleep")
    schedule = devices.HEAT_PUMP.by_key["reservation_list"].reads[0].codec
    with pytest.raises(ValueError, match="not written"):
        schedule.encode("Mon-Fri 06:15")


@pytest.mark.parametrize("raw", ["x", [5], [{"week": "x"}], 7])
def test_a_schedule_of_the_wrong_type_is_unknown(raw: Any) -> None:
    for form in ("reservations", "tou", "recirculation_schedule"):
        decoded = devices.HEAT_PUMP.decode(form, {"reservation": raw})
        texts = {key: value for key, value in decoded.values.items() if isinstance(value, str)}
        assert texts == {}
        assert decoded.unknown == {"reservation": raw} or isinstance(raw, list)


def test_energy_counts_and_watt_hours_are_integers() -> None:
    for codec in (codecs.ENERGY_COUNT, codecs.WATT_HOURS, codecs.counting("entries")):
        with pytest.raises(TypeError):
            codec.decode("5")
