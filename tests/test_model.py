"""Devices as tables: the checks of a row, of a table, of a command."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gadget import ALERTS, GADGET, PLAIN, gadget

from navibridge.errors import CommandError
from navibridge.model import (
    ACTION,
    FLAG,
    NUMBER,
    OPTION,
    Alert,
    Attribute,
    Composite,
    Kind,
    Range,
    Wire,
    always,
    derive_nothing,
    one_by_one,
    snap,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (lambda: Attribute("Bad Key", "x", FLAG), "snake_case"),
        (lambda: Attribute("x", "x", NUMBER, writes=True, step=1), "limits and a step"),
        (lambda: Attribute("x", "x", NUMBER, writes=True, within=Range(0, 1)), "limits and a step"),
        (lambda: Attribute("x", "x", OPTION), "options"),
        (lambda: Attribute("x", "x", FLAG, options=("a",)), "options"),
        (lambda: Attribute("x", "x", ACTION), "action"),
        (lambda: Attribute("x", "x", ACTION, writes=True, reads=(Wire("f", "n", PLAIN),)), "action"),
    ],
)
def test_a_contradictory_row_can_not_be_built(row, message) -> None:
    with pytest.raises(ValueError, match=message):
        row()


def test_a_contradictory_table_can_not_be_built() -> None:
    twice = (Attribute("x", "x", FLAG), Attribute("x", "y", FLAG))
    with pytest.raises(ValueError, match="two rows for x"):
        Kind("k", "m", twice)
    with pytest.raises(ValueError, match="names no attribute"):
        Kind("k", "m", (Attribute("x", "x", FLAG),), composites=(Composite("climate", "c", {"mode": "y"}),))


def test_decoding_takes_what_it_knows_and_reports_the_rest() -> None:
    fields = {"room": 215, "spd": 7, "lamp": True, "envelope": 1, "news": [1], "sh": "no number", "n": None}
    decoded = GADGET.decode("json", fields)
    assert decoded.values == {"room": 21.5, "speed": None, "lamp": True, "superheat": None, "counter": None}
    assert decoded.unknown == {"spd": 7, "news": [1], "sh": "no number"}
    assert GADGET.decode("blob", {"target": 21.0}).values == {"target": 21.0}
    assert GADGET.decode("nothing", {"a": 1}).unknown == {"a": 1}
    assert GADGET.wires("json")["room"] == ("room",)
    assert GADGET.wires("nothing") == {}


@given(st.dictionaries(st.sampled_from(["room", "tgt", "spd", "lamp", "n", "news"]), JSON))
def test_decoding_is_total(fields) -> None:
    decoded = GADGET.decode("json", fields)
    assert set(decoded.unknown) <= set(fields)


def test_rows_are_resolved_for_one_unit() -> None:
    keys = {row.key for row in gadget().attributes}
    assert "extra" not in keys
    assert gadget(hottest=25.0).attribute("target").limits == Range(10, 25)  # type: ignore[union-attr]
    assert "extra" in {row.key for row in gadget(extra=True).attributes}
    seen = {row.key for row in GADGET.resolve({}, frozenset({"room", "power"}))}
    assert seen == {"room", "power", "energy", "reset"}, "what never arrived is not announced, nor what derives from it"


def test_a_unit_that_lacks_limits_can_not_be_written() -> None:
    row = Attribute("x", "x", NUMBER, writes=True, within=lambda _: None, step=lambda _: 1).resolve({})
    assert (row.writes, row.limits) == (False, None)
    row = Attribute("x", "x", FLAG, writes=True, writable_when=lambda _: False).resolve({})
    assert not row.writes
    unresolved = Attribute("x", "x", OPTION, options=lambda _: ("a",))
    assert (unresolved.words, unresolved.resolve({}).words, unresolved.limits) == ((), ("a",), None)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (21.5, 21.5),
        ("21.5", 21.5),
        (" 21 ", 21.0),
        ("2.1e1", 21.0),
        (21.1111111, 21.0),
        (21.25, 21.5),
        (9.8, 10.0),
        (30.2, 30.0),
    ],
)
def test_numbers_are_snapped_to_the_grid(given, value) -> None:
    assert gadget().check({"target": given}) == {"target": value}


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"target": 9.7}, "out_of_range", "9.7 is outside 10 to 30 °C in steps of 0.5"),
        ({"target": 31}, "out_of_range", "outside"),
        ({"target": "warm"}, "invalid_value", "'warm' is not a number; allowed is 10 to 30 °C"),
        ({"target": "nan"}, "invalid_value", "not a number"),
        ({"target": math.inf}, "invalid_value", "not a number"),
        ({"target": "1e400"}, "invalid_value", "not a number"),
        ({"target": 10**400}, "invalid_value", "not a number"),
        ({"target": True}, "invalid_value", "true is not a number"),
        ({"target": None}, "invalid_value", "null is not a number"),
        ({"target": [21]}, "invalid_value", "not a number"),
        ({"lamp": "maybe"}, "invalid_value", "'maybe' is neither on nor off"),
        ({"lamp": None}, "invalid_value", "null is neither on nor off"),
        ({"lamp": 2}, "invalid_value", "neither"),
        ({"speed": "warp"}, "unknown_option", "'warp' is not one of slow, fast"),
        ({"speed": 1}, "unknown_option", "1 is not one of"),
        ({"label": 1}, "invalid_value", "not a text"),
        ({"room": 20}, "read_only", "room can not be written"),
        ({"nonsense": 1}, "unknown_attribute", "writable are: counter, label, lamp, reset, speed, target"),
        ({"lamp": True, "light": False}, "invalid_value", "lamp is given twice"),
        ({"target": 99, "speed": "warp"}, "out_of_range", "speed: 'warp'"),
        ({"speed": "x" * 500}, "unknown_option", "xxx..."),
    ],
)
def test_what_can_not_be_done_is_said_with_what_is_allowed(changes, code, message) -> None:
    with pytest.raises(CommandError) as refused:
        gadget().check(changes)
    assert refused.value.code == code
    assert message in str(refused.value)
    assert refused.value.verdict == "rejected"


@pytest.mark.parametrize("given", [True, "ON", "on", "true", "True", 1, "1", 1.0])
def test_everything_that_means_on(given) -> None:
    assert gadget().check({"light": given}) == {"lamp": True}


@pytest.mark.parametrize("given", [False, "OFF", "off", "false", 0, "0"])
def test_everything_that_means_off(given) -> None:
    assert gadget().check({"lamp": given}) == {"lamp": False}


def test_the_other_sorts() -> None:
    assert gadget().check({"speed": " FAST "}) == {"speed": "fast"}
    assert gadget().check({"label": "x"}) == {"label": "x"}
    assert gadget().check({"reset": ""}) == {"reset": True}
    counter = gadget().check({"counter": "3.2"})["counter"]
    assert (counter, type(counter)) == (3, int)


def test_an_alias_serves_commands_where_the_key_itself_can_not() -> None:
    assert gadget().attribute("light") is gadget().attribute("lamp") or gadget().attribute("light").key == "lamp"  # type: ignore[union-attr]
    assert gadget().attribute("nowhere") is None
    rows = (Attribute("power", "Power", NUMBER), Attribute("on", "On", FLAG, writes=True, aliases=("power",)))
    kind = Kind("k", "m", rows)
    device = gadget()
    switch = type(device)("v", "1", "n", kind, attributes=kind.resolve({}))
    assert switch.check({"power": "ON"}) == {"on": True}


@given(st.floats(-1000, 1000), st.sampled_from([0.1, 0.5, 1.0, 5.0]))
def test_snapping_goes_to_the_nearest_step(number, step) -> None:
    snapped = snap(number, step)
    assert abs(snapped - number) <= step / 2 + 1e-6
    assert snap(snapped, step) == snapped


@pytest.mark.parametrize(
    ("number", "step", "snapped"), [(0.25, 0.5, 0.5), (-0.25, 0.5, -0.5), (0.2, 0.5, 0.0), (48.25, 0.5, 48.5)]
)
def test_halves_go_away_from_zero(number, step, snapped) -> None:
    assert snap(number, step) == snapped


def test_alerts_know_their_limits() -> None:
    hot, cold, error = ALERTS
    assert hot.check({"room": 40}) is None
    assert hot.check({"room": 40.1}) == "Room is 40.1 °C, above 40 °C"
    assert cold.check({"room": 4}) == "Room is 4 °C, below 5 °C"
    assert error.check({"error": 0}) is None
    assert error.check({}) is None
    assert Alert("stuck", "lamp", above=1).check({"lamp": True}) is None


def test_the_plain_ways() -> None:
    assert always({})
    assert derive_nothing({}, {}) == {}
    assert one_by_one({"a": 1, "b": 2}) == ({"a": 1}, {"b": 2})
