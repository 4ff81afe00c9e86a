from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.appliances import HEATER, THERMOSTAT, device, every_kind, water_heater_of_the_samples
from support.homeassistant import expand, problems

from navibridge import discovery
from navibridge.commands import Verdict
from navibridge.discovery import (
    BRIDGE_HEALTH_KEYS,
    BRIDGE_INFO_KEYS,
    MIGRATE,
    announced_keys,
    bridge_document,
    device_document,
    encode,
    entities,
    entity_documents,
    left_by_us,
    messages,
    object_id,
    ours,
    steps,
)
from navibridge.model import (
    FLAG,
    OPTION,
    TEMPERATURE,
    Attribute,
    Composite,
    Device,
    Range,
    Sort,
)
from navibridge.state import DeviceState, Display, in_unit, shown
from navibridge.topics import Topics, device_topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.discovery import Document
    from navibridge.model import Value
    from navibridge.state import TemperatureUnit

SAMPLES = Path(__file__).parent / "samples" / "home-assistant"
FORMS = ("device", "entity")
UNITS = ("C", "F")


def document(described: Device, unit: TemperatureUnit = "C", topics: Topics | None = None, **options: Any) -> Document:
    topic = device_topic(described.vendor, described.id)
    return device_document(described, topics or Topics(), topic=topic, account="home", unit=unit, **options)


def components(described: Device, unit: TemperatureUnit = "C") -> dict[str, Document]:
    found = document(described, unit)["components"]
    assert isinstance(found, dict)
    return found


def some_value(row: Attribute) -> Value:
    """A value that such an attribute may have."""
    match row.quantity.sort:
        case Sort.NUMBER:
            return row.limits.high if row.limits else 21.25
        case Sort.FLAG:
            return True
        case Sort.OPTION:
            return row.words[-1] if row.words else None
        case Sort.TIME:
            return "2026-01-02T03:04:05+00:00"
        case Sort.CODE:
            return 7
    return "some text"


def state_of(described: Device, unit: TemperatureUnit = "C") -> dict[str, Any]:
    known = DeviceState(described, "home", Display(unit=unit), seen_at=1_700_000_000.0)
    known.values = {row.key: some_value(row) for row in described.attributes}
    return known.document(1_700_000_001.0)


def check(described: Device, form: discovery.Format, unit: TemperatureUnit) -> list[str]:
    topics = Topics()
    topic = device_topic(described.vendor, described.id)
    return problems(messages(document(described, unit), topics, form), {topics.state(topic): state_of(described, unit)})


# What the checker says of us


REAL = [*every_kind(), water_heater_of_the_samples()]
"""Every kind of every vendor, as a unit of which nothing is known yet, and one of which much is."""


def kind_name(described: Device) -> str:
    return described.kind.name


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("described", [device(HEATER), device(THERMOSTAT)], ids=kind_name)
def test_every_sort_is_announced_as_home_assistant_and_openhab_want_it(
    described: Device, form: discovery.Format, unit: TemperatureUnit
) -> None:
    assert check(described, form, unit) == []


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("described", REAL, ids=kind_name)
def test_so_are_the_vendors_devices(described: Device, form: discovery.Format, unit: TemperatureUnit) -> None:
    assert check(described, form, unit) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("base", ["navibridge", "home/nb"])
def test_so_is_the_bridge(form: discovery.Format, base: str) -> None:
    topics = Topics(base)
    announced = messages(
        bridge_document(topics, ["home", "cabin-2"], requests={"rediscover": "Announce again"}), topics, form
    )
    states = {
        topics.bridge_info: {"version": "1.0", "started_at": "2026-01-02T03:04:05+00:00"},
        topics.bridge_health: {"problem": False, "problem_text": "No problem"},
        topics.account_state("home"): {"state": "needs_attention"},
    }
    assert problems(announced, states) == []
    assert set(states[topics.bridge_info]) == set(BRIDGE_INFO_KEYS)
    assert set(states[topics.bridge_health]) == set(BRIDGE_HEALTH_KEYS)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "described",
    [device(HEATER), device(THERMOSTAT), *REAL],
    ids=kind_name,
)
def test_both_forms_are_the_same_entities(described: Device, unit: TemperatureUnit) -> None:
    topics = Topics("home/nb", "ha")
    whole = document(described, unit, topics)
    one, many = (messages(whole, topics, form) for form in FORMS)
    assert len(one) == 1
    assert len(many) == len(whole["components"])
    assert entities(one) == entities(many)
    assert len(entities(one)) == len(many)
    about = {"device": whole["device"], "origin": whole["origin"]}
    inherited = {key: entity | about for topic in one for key, entity in expand(topic, whole).items()}
    written_out = {key: entity for topic in many for key, entity in expand(topic, many[topic]).items()}
    assert inherited == written_out


@pytest.mark.parametrize("described", [device(HEATER), device(THERMOSTAT)], ids=kind_name)
def test_every_key_that_a_template_names_is_known(described: Device) -> None:
    named = {
        word for text in encode(document(described)).decode().split("value_json.")[1:] for word in text.split()[:1]
    }
    assert named <= set(announced_keys(described)) <= set(state_of(described))


# The tables, row by row


def test_components_follow_from_the_attributes() -> None:
    found = components(device(HEATER))
    assert {key: entity["platform"] for key, entity in found.items()} == {
        "water_heater": "water_heater",
        "current_temperature": "sensor",
        "operation_mode": "select",
        "source": "sensor",
        "days": "number",
        "loop_temperature": "number",
        "loop_margin": "number",
        "superheat": "sensor",
        "valve": "number",
        "power": "sensor",
        "energy": "sensor",
        "current": "sensor",
        "hours": "sensor",
        "running": "binary_sensor",
        "boost": "switch",
        "locked_reading": "binary_sensor",
        "error": "sensor",
        "note": "sensor",
        "since": "sensor",
        "reset": "button",
        "problem": "binary_sensor",
        "problem_text": "sensor",
        "seen_at": "sensor",
        "refresh": "button",
        "command_result": "event",
    }


def test_a_whole_document() -> None:
    described = device(HEATER, model="H1", firmware="1.2", serial="S9")
    found = document(described)
    assert {key: value for key, value in found.items() if key != "components"} == {
        "device": {
            "identifiers": ["navibridge_acme_a1"],
            "name": "Boiler",
            "manufacturer": "Acme",
            "model": "H1",
            "serial_number": "S9",
            "sw_version": "1.2",
            "via_device": "navibridge_bridge",
        },
        "origin": {"name": "navibridge", "sw_version": discovery.__version__},
        "availability": [
            {"topic": "navibridge/bridge/state"},
            {"topic": "navibridge/bridge/account/home/availability"},
            {"topic": "navibridge/acme_a1/availability"},
        ],
        "availability_mode": "all",
        "state_topic": "navibridge/acme_a1/state",
    }
    assert found["components"]["power"] == {
        "platform": "sensor",
        "unique_id": "navibridge_acme_a1_power",
        "name": "Power",
        "device_class": "power",
        "unit_of_measurement": "W",
        "state_class": "measurement",
        "suggested_display_precision": 0,
        "value_template": "{{ value_json.power }}",
    }
    assert found["components"]["boost"] == {
        "platform": "switch",
        "unique_id": "navibridge_acme_a1_boost",
        "name": "Boost",
        "state_on": True,
        "state_off": False,
        "payload_on": "ON",
        "payload_off": "OFF",
        "value_template": "{{ value_json.boost }}",
        "command_topic": "navibridge/acme_a1/set/boost",
        "qos": 1,
        "entity_category": "config",
    }
    assert found["components"]["days"] == {
        "platform": "number",
        "unique_id": "navibridge_acme_a1_days",
        "name": "Vacation days",
        "min": 1,
        "max": 30,
        "step": 1,
        "mode": "box",
        "value_template": "{{ value_json.days }}",
        "command_topic": "navibridge/acme_a1/set/days",
        "qos": 1,
        "entity_category": "config",
    }
    assert found["components"]["reset"] == {
        "platform": "button",
        "unique_id": "navibridge_acme_a1_reset",
        "name": "Reset filter",
        "payload_press": "PRESS",
        "command_topic": "navibridge/acme_a1/set/reset",
        "qos": 1,
        "entity_category": "config",
    }


def test_a_water_heater() -> None:
    state = "navibridge/acme_a1/state"
    assert components(device(HEATER))["water_heater"] == {
        "platform": "water_heater",
        "unique_id": "navibridge_acme_a1_water_heater",
        "name": None,
        "modes": ["off", "eco", "electric"],
        "mode_state_topic": state,
        "mode_state_template": "{{ value_json.mode }}",
        "mode_command_topic": "navibridge/acme_a1/set/mode",
        "current_temperature_topic": state,
        "current_temperature_template": "{{ value_json.current_temperature }}",
        "temperature_state_topic": state,
        "temperature_state_template": "{{ value_json.target_temperature }}",
        "temperature_command_topic": "navibridge/acme_a1/set/target_temperature",
        "min_temp": 40.5,
        "max_temp": 65.5,
        "power_command_topic": "navibridge/acme_a1/set/power_state",
        "payload_on": "ON",
        "payload_off": "OFF",
        "temperature_unit": "C",
        "qos": 1,
    }


def test_a_climate() -> None:
    climate = components(device(THERMOSTAT))["thermostat"]
    assert climate["name"] is None
    assert (climate["min_temp"], climate["max_temp"], climate["temp_step"]) == (5, 30, 0.5)
    assert climate["action_template"] == "{{ value_json.action }}"
    assert climate["current_humidity_template"] == "{{ value_json.humidity }}"
    for role, key in (("fan_mode", "fan"), ("swing_mode", "swing"), ("swing_horizontal_mode", "swing_across")):
        assert climate[f"{role}_state_template"] == f"{{{{ value_json.{key} }}}}"
        assert climate[f"{role}_command_topic"] == f"navibridge/acme_a1/set/{key}"
    assert climate["fan_modes"] == ["auto", "low", "high"]
    assert set(components(device(THERMOSTAT))) >= {"room", "humidity"}, "measurements keep sensors, for statistics"
    assert not set(components(device(THERMOSTAT))) & {"mode", "action", "setpoint", "fan", "swing", "on"}


def test_a_role_that_the_unit_lacks_is_left_out() -> None:
    climate = components(device(THERMOSTAT, without=("fan", "action", "humidity", "on")))["thermostat"]
    assert not [key for key in climate if key.startswith(("fan", "action", "current_humidity", "power"))]


def test_a_climate_without_a_target_has_no_limits() -> None:
    climate = components(device(THERMOSTAT, without=("setpoint",)))["thermostat"]
    assert not [key for key in climate if key.startswith(("min_", "max_", "temp_"))]


def test_without_mode_and_temperature_there_is_no_composite() -> None:
    found = components(device(THERMOSTAT, without=("mode", "setpoint")))
    assert "thermostat" not in found
    assert found["fan"]["platform"] == "select"


def test_what_can_not_be_written_is_shown_all_the_same() -> None:
    rows = tuple(replace(row, writes=False) for row in HEATER.resolve({}) if row.key != "reset")
    heater = components(Device("acme", "a1", "Boiler", HEATER, rows))["water_heater"]
    assert not [key for key in heater if "command" in key or key == "payload_on"]
    assert heater["temperature_state_template"]


def test_modes_that_home_assistant_does_not_know_are_not_announced() -> None:
    mode = Attribute("mode", "Mode", OPTION, writes=True, options=("off", "vacation", "eco"))
    kind = replace(HEATER, attributes=(mode, *HEATER.attributes[1:]))
    assert components(device(kind))["water_heater"]["modes"] == ["off", "eco"]


def test_a_second_composite_has_a_name_of_its_own() -> None:
    second = Composite("climate", "loop_heating", {"temperature": "loop_temperature"})
    kind = replace(HEATER, composites=(*HEATER.composites, second))
    found = components(device(kind))
    assert found["water_heater"]["name"] is None
    assert found["loop_heating"]["name"] == "Loop heating"


def test_an_id_never_changes_its_platform() -> None:
    """A number on one unit that is a sensor on another has another id there."""
    rows = {row.key: row for row in HEATER.resolve({})}
    read_only = tuple(replace(row, writes=row.key == "reset") for row in rows.values())
    able, unable = components(device(HEATER)), components(Device("acme", "a1", "Boiler", HEATER, read_only))
    assert able.keys() & unable.keys()
    for key in able.keys() & unable.keys():
        assert able[key]["platform"] == unable[key]["platform"]
    assert unable["days_reading"]["platform"] == "sensor"
    assert unable["days_reading"]["entity_category"] == "diagnostic", "a sensor is no setting"


def test_two_components_with_one_name_are_refused() -> None:
    clash = replace(HEATER, attributes=(*HEATER.attributes, Attribute("problem", "Problem", FLAG)))
    with pytest.raises(ValueError, match="two components would be called problem"):
        components(device(clash))
    same = replace(HEATER, attributes=(*HEATER.attributes, Attribute("water_heater", "Heater", FLAG)))
    with pytest.raises(ValueError, match="two components would be called water_heater"):
        components(device(same))


def test_an_option_of_which_the_unit_knows_no_word_is_a_plain_sensor() -> None:
    wordless = Attribute("wordless", "Wordless", OPTION, options=lambda _: ())
    kind = replace(HEATER, attributes=(*HEATER.attributes, wordless))
    assert components(device(kind))["wordless"].keys() == {"platform", "unique_id", "name", "value_template"}


def test_a_climate_without_words_for_a_mode_has_none() -> None:
    mode = Attribute("mode", "Mode", OPTION, writes=True, options=lambda _: ())
    kind = replace(THERMOSTAT, attributes=(mode, *THERMOSTAT.attributes[1:]))
    climate = components(device(kind))["thermostat"]
    assert [key for key in climate if key.startswith("mode")] == ["modes"]
    assert climate["modes"] == [], "or Home Assistant would offer all that it knows"
    assert check(device(kind), "device", "C") == []


def test_the_verdicts_are_those_of_the_commands() -> None:
    assert components(device(HEATER))["command_result"]["event_types"] == [str(verdict) for verdict in Verdict]


def test_a_name_of_the_users_own_and_a_serial_number_kept_back() -> None:
    found = document(device(HEATER, serial="S9"), name="Cellar", serial=False)["device"]
    assert found["name"] == "Cellar"
    assert "serial_number" not in found


# Degrees Fahrenheit


def test_everything_that_is_a_temperature_is_in_fahrenheit() -> None:
    found = components(device(HEATER), "F")
    assert found["current_temperature"]["unit_of_measurement"] == "°F"
    assert found["superheat"]["unit_of_measurement"] == "°F"
    assert [found["loop_temperature"][key] for key in ("min", "max", "step")] == [63.5, 140, 0.9]
    assert [found["loop_margin"][key] for key in ("min", "max", "step")] == [0, 18, 0.9]
    assert found["water_heater"]["temperature_unit"] == "F"


@pytest.mark.parametrize(
    ("low", "high", "step", "expected"),
    [
        (40.5, 65.5, 0.5, (105, 150, 1)),  # 104.9 and 149.9: half a step is granted to a command
        (5, 30, 0.5, (41, 86, 1)),
        (17.5, 31, 0.5, (64, 88, 1)),  # 63.5 is too far from 63
        (18, 27.5, 0.5, (64, 81, 1)),  # 64.4 and 81.5
        (16, 30, 1, (61, 86, 2)),
        (16, 30, 0.1, (61, 86, 0.2)),
    ],
)
def test_limits_are_whole_degrees_that_the_device_grants(
    low: float, high: float, step: float, expected: tuple[float, ...]
) -> None:
    row = Attribute("setpoint", "Setpoint", TEMPERATURE, writes=True, within=Range(low, high), step=step)
    kind = replace(THERMOSTAT, attributes=tuple(row if one.key == "setpoint" else one for one in THERMOSTAT.attributes))
    climate = components(device(kind), "F")["thermostat"]
    assert (climate["min_temp"], climate["max_temp"], climate["temp_step"]) == expected
    for limit in expected[:2]:
        assert low <= row.check((limit - 32) * 5 / 9) <= high


def test_a_numbers_own_state_is_within_its_limits() -> None:
    row = next(row for row in device(HEATER).attributes if row.key == "loop_temperature")
    entity = components(device(HEATER), "F")["loop_temperature"]
    assert row.limits
    for value in (row.limits.low, row.limits.high):
        published = shown(float(value), row.quantity, "F")
        assert isinstance(published, float)
        assert entity["min"] <= published <= entity["max"]
    assert in_unit(row, "F").quantity.unit == entity["unit_of_measurement"]


# The bridge


def test_two_bridges_on_one_broker_are_two_devices() -> None:
    one, other = bridge_document(Topics()), bridge_document(Topics("home/nb"))
    assert one["device"]["identifiers"] == ["navibridge_bridge"]
    assert one["device"]["identifiers"] != other["device"]["identifiers"]
    assert other["device"]["name"] == "navibridge (home/nb)"
    assert (
        document(device(HEATER), topics=Topics("home/nb"))["device"]["via_device"] == other["device"]["identifiers"][0]
    )


def test_an_account_of_the_bridge() -> None:
    found = bridge_document(Topics(), ["home"])["components"]
    assert found["account_home"]["state_topic"] == "navibridge/bridge/account/home/availability"
    assert (found["account_home"]["payload_on"], found["account_home"]["payload_off"]) == ("online", "offline")
    assert found["account_home_state"]["options"] == ["online", "offline", "needs_attention"]


# From what is retained to what shall be


def retained(plan: tuple[tuple[str, bytes], ...], before: Mapping[str, Document]) -> dict[str, Any]:
    """What a broker holds after the plan."""
    held = {topic: encode(found) for topic, found in before.items()}
    for topic, payload in plan:
        held.pop(topic, None)
        if payload:
            held[topic] = payload
    return {topic: json.loads(payload) for topic, payload in held.items()}


@pytest.mark.parametrize("before", [*FORMS, None])
@pytest.mark.parametrize("after", [*FORMS, None])
@pytest.mark.parametrize("changed", [False, True])
def test_nothing_is_left_behind(before: Any, after: Any, changed: bool) -> None:
    topics = Topics()
    old = device(HEATER)
    new = device(HEATER, without=("power", "boost")) if changed else old
    was = messages(document(old), topics, before) if before else {}
    wanted = messages(document(new), topics, after) if after else {}
    assert retained(steps(was, wanted), was) == wanted


def test_a_component_that_went_away_is_marked_first() -> None:
    topics = Topics()
    was = messages(document(device(HEATER)), topics, "device")
    wanted = messages(document(device(HEATER, without=("power", "boost"))), topics, "device")
    (first, marked), (second, last) = steps(was, wanted)
    assert first == second == "homeassistant/device/navibridge_acme_a1/config"
    assert json.loads(marked)["components"]["power"] == {"platform": "sensor"}
    assert json.loads(marked)["components"]["boost"] == {"platform": "switch"}
    assert json.loads(marked)["components"].keys() > json.loads(last)["components"].keys()
    assert json.loads(last) == wanted[second]


def test_a_component_of_another_platform_is_removed_before_it_returns() -> None:
    topics = Topics()
    wanted = messages(document(device(HEATER)), topics, "device")
    was = copy.deepcopy(wanted)
    (found,) = was.values()
    found["components"]["power"]["platform"] = "number"
    (_, marked), (_, last) = steps(was, wanted)
    assert json.loads(marked)["components"]["power"] == {"platform": "number"}
    assert json.loads(last)["components"]["power"]["platform"] == "sensor"


def test_what_stays_the_same_is_published_once_and_not_cleared() -> None:
    topics = Topics()
    for form in FORMS:
        wanted = messages(document(device(HEATER)), topics, form)
        assert steps(wanted, wanted) == tuple((topic, encode(found)) for topic, found in wanted.items())


@pytest.mark.parametrize(("before", "after"), [("device", "entity"), ("entity", "device")])
def test_moving_to_the_other_form_keeps_names_and_history(before: Any, after: Any) -> None:
    topics = Topics()
    was = messages(document(device(HEATER)), topics, before)
    wanted = messages(document(device(HEATER)), topics, after)
    plan = steps(was, wanted)
    assert plan[: len(was)] == tuple((topic, MIGRATE) for topic in was)
    assert plan[len(was) : -len(was)] == tuple((topic, encode(found)) for topic, found in wanted.items())
    assert plan[-len(was) :] == tuple((topic, b"") for topic in was)


def test_moving_to_entities_removes_what_went_away_first() -> None:
    topics = Topics()
    was = messages(document(device(HEATER)), topics, "device")
    wanted = messages(document(device(HEATER, without=("power",))), topics, "entity")
    (topic, marked), (same, marker), *_ = steps(was, wanted)
    assert topic == same
    assert json.loads(marked)["components"]["power"] == {"platform": "sensor"}
    assert marker == MIGRATE


def test_moving_from_entities_clears_what_went_away() -> None:
    topics = Topics()
    was = messages(document(device(HEATER)), topics, "entity")
    wanted = messages(document(device(HEATER, without=("power",))), topics, "device")
    assert steps(was, wanted)[0] == ("homeassistant/sensor/navibridge_acme_a1/power/config", b"")


def test_what_an_earlier_run_left_is_known_by_its_base_topic_or_its_place() -> None:
    topics = Topics()
    mine = messages(document(device(HEATER)), topics, "device")
    gone = messages(document(replace(device(HEATER), id="gone")), topics, "device")
    entity = messages(document(replace(device(HEATER), id="old")), topics, "entity")
    other = messages(document(replace(device(HEATER), id="b2"), topics=Topics("other")), Topics("other"), "device")
    seen = {topic: encode(found) for topic, found in (mine | gone | entity | other).items()}
    seen |= {
        "homeassistant/sensor/navibridge_acme_c3/power/config": MIGRATE,
        "homeassistant/sensor/somebody/power/config": MIGRATE,
        "homeassistant/sensor/z2m/config": b'{"origin":{"name":"zigbee2mqtt"}}',
        "homeassistant/sensor/text/config": b"no json",
        "homeassistant/sensor/list/config": b"[]",
        "homeassistant/sensor/empty/config": b"",
        "homeassistant/sensor/mimic/config": b'{"origin":{"name":"navibridge"},"availability":[]}',
    }
    migrating = "homeassistant/sensor/navibridge_acme_c3/power/config"
    assert {topic for topic, payload in seen.items() if left_by_us(topic, payload, topics)} == {
        *mine,
        *gone,
        *entity,
        migrating,
    }
    assert {topic for topic, payload in seen.items() if left_by_us(topic, payload, Topics("other"))} == {
        *other,
        migrating,
    }


def test_whose_a_payload_is() -> None:
    topics = Topics()
    found = document(device(HEATER))
    assert ours(encode(found), topics) == found
    assert ours(encode(bridge_document(topics)), topics) == bridge_document(topics)
    (entity, *_) = entity_documents(found, topics).values()
    assert ours(encode(entity), topics) == entity
    assert ours(encode(found), Topics("other")) is None


def test_what_is_retained_may_be_anything() -> None:
    topics = Topics()
    wanted = messages(document(device(HEATER)), topics, "device")
    (topic,) = wanted
    odd: Document = {"device": {}, "origin": {}, "components": ["no map"]}
    assert retained(steps({topic: odd}, wanted), {topic: odd}) == wanted
    odd["components"] = {"power": "no component", "x": {}, "y": {"name": "no platform"}, "old": {"platform": "sensor"}}
    assert retained(steps({topic: odd}, wanted), {topic: odd}) == wanted


def test_markers_announce_nothing() -> None:
    found = document(device(HEATER))
    found["components"]["power"] = {"platform": "sensor"}
    announced = entities({"homeassistant/device/navibridge_acme_a1/config": found})
    assert ("sensor", "navibridge_acme_a1 power") not in announced
    assert len(announced) == len(found["components"]) - 1
    assert entities({"homeassistant/sensor/navibridge_acme_a1/power/config": json.loads(MIGRATE)}) == set()


def test_the_object_id_has_a_name_space_of_its_own() -> None:
    assert object_id(Topics(), "acme_a1") == "navibridge_acme_a1"


def test_two_bridges_can_announce_the_same_device() -> None:
    one, other = (document(device(HEATER), topics=topics) for topics in (Topics(), Topics("cabin")))
    assert one["device"]["identifiers"] == ["navibridge_acme_a1"], "stable for ever"
    assert other["device"]["identifiers"] == ["navibridge_cabin_acme_a1"]
    ids = [{entity["unique_id"] for entity in found["components"].values()} for found in (one, other)]
    assert not ids[0] & ids[1]
    for form in FORMS:
        assert not messages(one, Topics(), form).keys() & messages(other, Topics("cabin"), form).keys()


# The checker itself: it takes the samples, and each rule can fail


def sample(name: str) -> tuple[dict[str, Document], dict[str, Any]]:
    found = json.loads((SAMPLES / f"device-{name}.json").read_text())
    state = json.loads((SAMPLES / f"state-{name}.json").read_text())
    identity = found["device"]["identifiers"][0]
    return {f"homeassistant/device/{identity}/config": found}, {found["state_topic"]: state}


@pytest.mark.parametrize("name", ["water_heater", "climate"])
def test_the_samples_pass(name: str) -> None:
    assert problems(*sample(name)) == []


WATER_HEATER_BREAKAGES: list[tuple[str, str, Any, str]] = [
    # path, what to do with it, value, a part of the complaint
    ("qos", "set", 1, "unknown key at the top: qos"),
    ("name", "set", "x", "unknown key at the top: name"),
    ("state_topic", "set", "a/+/state", "does not belong there"),
    ("state_topic", "del", None, "lacks state_topic"),
    ("device", "del", None, "no device"),
    ("device.identifiers", "set", [], "not exactly one identifier"),
    ("device.identifiers", "del", None, "device lacks identifiers"),
    ("device.colour", "set", "red", "unknown key in device: colour"),
    ("device.model", "set", None, "device.model is empty"),
    ("device.connections", "set", [["mac", "x"]], "connections"),
    ("device.configuration_url", "set", "localhost", "configuration_url is no URL"),
    ("device.via_device", "set", "navibridge_navilink_00005e005301", "its own parent"),
    ("origin", "del", None, "no origin"),
    ("origin.name", "del", None, "origin lacks name"),
    ("origin.support_url", "set", "nowhere", "support_url is no URL"),
    ("origin.author", "set", "x", "unknown key in origin"),
    ("availability", "del", None, "no availability list"),
    ("availability_mode", "set", "any", "availability_mode is not all"),
    ("availability.0.topic", "set", "", "availability is no topic"),
    ("availability.0.payload_available", "set", "yes", "payload_available is not online"),
    ("availability.0.template", "set", "x", "unknown key in availability"),
    ("components.power.platform", "set", "gauge", "unknown platform"),
    ("components.power.unique_id", "del", None, "lacks unique_id"),
    ("components.power.unique_id", "set", "navibridge_navilink_00005e005301_energy", "two of sensor"),
    ("components.power.dev_cla", "set", "power", "unknown key dev_cla"),
    ("components.power.object_id", "set", "x", "unknown key object_id"),
    ("components.power.expire_after", "set", 60, "unknown key expire_after"),
    ("components.power.availability_topic", "set", "x", "unknown key availability_topic"),
    ("components.power.availability", "set", [{"topic": "x"}], "differ in availability"),
    ("components.power.name", "del", None, "has no name"),
    ("components.power.name", "set", " ", "neither a text nor null"),
    ("components.power.name", "set", None, "two entities take the device's name"),
    ("components.power.name", "set", "Energy", "two entities are called 'Energy'"),
    ("components.power.name", "set", "Basement Water Heater power", "repeats the device's"),
    ("components.power.device_class", "set", "powr", "device_class powr"),
    ("components.power.unit_of_measurement", "set", "BTU/h", "unit BTU/h"),
    ("components.power.unit_of_measurement", "del", None, "unit None"),
    ("components.power.state_class", "set", "total_increasing", "does not fit device_class power"),
    ("components.energy.state_class", "set", "measurement", "does not fit device_class energy"),
    ("components.power.suggested_display_precision", "set", -1, "suggested_display_precision"),
    ("components.ambient_temperature.suggested_display_precision", "del", None, "shows its tail"),
    ("components.power.entity_category", "set", "config", "can not be in the category config"),
    ("components.power.entity_category", "set", "main", "entity_category main"),
    ("components.power.entity_category", "set", None, "entity_category is empty"),
    ("components.power.enabled_by_default", "set", "no", "enabled_by_default is no truth value"),
    ("components.power.default_entity_id", "set", "switch.power", "default_entity_id"),
    ("components.power.default_entity_id", "set", "sensor.Power", "default_entity_id"),
    ("components.power.value_template", "set", "{{ value_json.power | float }}", "more than a key"),
    ("components.power.value_template", "set", "{{ value_json.pwr }}", "names pwr, which the state document lacks"),
    ("components.power.value_template", "set", "{{ value_json.operation_mode }}", "no number"),
    ("components.power.icon", "set", "fire", "icon 'fire'"),
    ("components.power.qos", "set", 3, "qos is not"),
    ("components.heat_source.options", "set", [], "options is no list"),
    ("components.heat_source.options", "set", ["a", "a"], "says something twice"),
    ("components.heat_source.options", "set", ["standby"], "not among the options"),
    ("components.heat_source.options", "del", None, "belong together"),
    ("components.heat_source.unit_of_measurement", "set", "%", "unit %"),
    ("components.heat_source.suggested_display_precision", "set", 0, "has no precision"),
    ("components.seen_at.unit_of_measurement", "set", "s", "unit s"),
    ("components.seen_at.state_class", "set", "measurement", "does not fit device_class timestamp"),
    ("components.error_code.device_class", "set", "timestamp", "no time"),
    ("components.compressor_running.device_class", "set", "run", "device_class run"),
    ("components.compressor_running.payload_on", "set", "ON", "neither on nor off"),
    ("components.operation_mode.options", "set", ["energy_saver", "None"], "the option none"),
    ("components.operation_mode.options", "set", ["heat_pump"], "not among the options"),
    ("components.operation_mode.command_topic", "del", None, "lacks command_topic"),
    ("components.operation_mode.qos", "del", None, "commands want qos 1"),
    ("components.operation_mode.retain", "set", True, "commands would be retained"),
    ("components.operation_mode.optimistic", "set", True, "hides failures"),
    ("components.operation_mode.command_template", "set", "{{ value_json.a }}", "command templates"),
    ("components.anti_legionella.state_on", "set", "ON", "neither on nor off"),
    ("components.anti_legionella.device_class", "set", "heat", "device_class heat"),
    ("components.vacation_days.min", "del", None, "limits and step are not all numbers"),
    ("components.vacation_days.max", "set", 1, "min is not below max"),
    ("components.vacation_days.max", "set", 5, "outside the limits"),
    ("components.vacation_days.step", "set", 0.0001, "the step is too small"),
    ("components.vacation_days.mode", "set", "dial", "mode dial"),
    ("components.vacation_days.device_class", "set", "power", "unit d does not fit"),
    ("components.vacation_days.value_template", "set", "{{ value_json.problem }}", "no number"),
    ("components.refresh.device_class", "set", "press", "device_class press"),
    ("components.refresh.command_topic", "del", None, "lacks command_topic"),
    ("components.alert.event_types", "set", [], "event_types is no list"),
    ("components.alert.state_topic", "del", None, "a topic of its own"),
    ("components.alert.state_topic", "set", "navibridge/x/result", "the verdicts are not all listed"),
    ("components.water_heater.modes", "set", ["off", "eco", "vacation"], "mode vacation"),
    ("components.water_heater.modes", "set", ["off"], "not among the modes"),
    ("components.water_heater.modes", "del", None, "lacks modes"),
    ("components.water_heater.temperature_unit", "set", "°F", "temperature_unit '°F'"),
    ("components.water_heater.temperature_unit", "del", None, "lacks temperature_unit"),
    ("components.water_heater.min_temp", "del", None, "min_temp and max_temp"),
    ("components.water_heater.max_temp", "set", 100, "min_temp and max_temp"),
    ("components.water_heater.precision", "set", "0.1", "precision"),
    ("components.water_heater.temp_step", "set", 1, "unknown key temp_step"),
    ("components.water_heater.action_topic", "set", "x", "unknown key action_topic"),
    ("components.water_heater.state_topic", "set", "x", "unknown key state_topic"),
    ("components.water_heater.mode_state_template", "del", None, "both a topic and a template"),
    ("components.water_heater.mode_state_topic", "del", None, "would be optimistic"),
    ("components.water_heater.current_temperature_topic", "del", None, "has no topic"),
    (
        "components.water_heater.current_temperature_template",
        "set",
        "{{ value_json.mode }}",
        "no number",
    ),
]
CLIMATE_BREAKAGES: list[tuple[str, str, Any, str]] = [
    ("components.thermostat.modes", "set", ["off", "heat", "warm"], "mode warm"),
    ("components.thermostat.action_template", "set", "{{ value_json.mode }}", "no action"),
    ("components.thermostat.temp_step", "set", 0, "temp_step"),
    ("components.thermostat.fan_mode_state_topic", "set", "x", "fan_modes is no list"),
    ("components.firmware.device_class", "set", "software", "device_class software"),
    ("components.firmware.command_topic", "set", "x", "install button"),
    ("components.error.automation_type", "set", "condition", "automation_type condition"),
    ("components.error.subtype", "del", None, "lacks subtype"),
    ("components.error.unique_id", "set", "x", "unknown key unique_id"),
    ("components.error.topic", "del", None, "lacks topic"),
]


def broken(found: Document, path: str, action: str, value: Any) -> None:
    *way, last = path.split(".")
    place: Any = found
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if action == "del":
        del place[last]
    else:
        place[last] = value


@pytest.mark.parametrize(
    ("name", "path", "action", "value", "complaint"),
    [
        *(("water_heater", *breakage) for breakage in WATER_HEATER_BREAKAGES),
        *(("climate", *breakage) for breakage in CLIMATE_BREAKAGES),
    ],
)
def test_the_checker_notices(name: str, path: str, action: str, value: Any, complaint: str) -> None:
    announced, states = sample(name)
    (found,) = announced.values()
    broken(found, path, action, value)
    assert any(complaint in sentence for sentence in problems(announced, states)), problems(announced, states)


def test_the_checker_notices_a_wrong_place() -> None:
    announced, states = sample("water_heater")
    (found,) = announced.values()
    for topic, complaint in (
        ("homeassistant/device/a/b/config", "the device form lives at"),
        ("homeassistant/sensor/a/config", "the device form lives at"),
        ("homeassistant/device/a/state", "no discovery topic"),
        ("ha/device/a/config", "no discovery topic"),
        ("homeassistant/device/a b/config", "is no id"),
    ):
        assert any(complaint in sentence for sentence in problems({topic: found}, states))
    alone = entity_documents(found, Topics())
    (topic, entity) = next(iter(alone.items()))
    assert any("the entity form lives at" in one for one in problems({"homeassistant/sensor/a/config": entity}, states))
    assert not any("the entity form lives at" in one for one in problems({topic: entity}, states))


def test_the_checker_knows_the_entity_form() -> None:
    announced, states = sample("climate")
    (found,) = announced.values()
    del found["components"]["error"]  # a trigger is no entity; the product announces none
    alone = entity_documents(found, Topics())
    assert {one for one in problems(alone, states) if "model_id" not in one} == set()
    assert any("model_id is unknown" in one for one in problems(alone, states))
    first = next(iter(alone.values()))
    first["device"] = first["device"] | {"name": "Another"}
    assert "the messages describe different devices" in problems(alone, states)
    alone["homeassistant/sensor/navibridge_mysa_00005e005302/refresh/config"] = alone.pop(
        "homeassistant/button/navibridge_mysa_00005e005302/refresh/config"
    )
    assert any("unknown key payload_press" in one for one in problems(alone, states))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("seen_at", "yesterday", "no time"),
        ("seen_at", "2026-01-02T03:04:05", "a time without a zone"),
        ("heat_source", "x" * 300, "not among the options"),
        ("error_code", "x" * 300, "too long a text"),
        ("compressor_running", "on", "neither on nor off"),
        ("power", "462", "no number"),
        ("current_temperature", "warm", "no number"),
    ],
)
def test_the_checker_tries_the_values(key: str, value: Any, complaint: str) -> None:
    announced, states = sample("water_heater")
    (state,) = states.values()
    state[key] = value
    assert any(complaint in sentence for sentence in problems(announced, states))
