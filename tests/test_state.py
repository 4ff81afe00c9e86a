"""What is known of a device: merging, energy, staleness, documents."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.gadget import GADGET, gadget

from navibridge.model import ENERGY, FOREVER, POWER, TEMPERATURE, TEMPERATURE_DELTA, Range, Reading
from navibridge.state import (
    BESIDES,
    LONGEST_GAP,
    MOST_UNKNOWN,
    Cache,
    DeviceState,
    Display,
    in_unit,
    iso,
    shown,
    to_celsius,
    to_fahrenheit,
)

NOW = 1_800_000_000.0
AS_USUAL = Display()


def reading(
    at: float = NOW, /, source: str = "push", unknown: dict[str, object] | None = None, **values: object
) -> Reading:
    return Reading("a1", values, at, source, unknown or {})  # type: ignore[arg-type]


def state_of(display: Display = AS_USUAL, /, **values: object) -> DeviceState:
    state = DeviceState(gadget(), "home", display)
    state.merge(reading(**values), NOW)
    return state


def test_a_newer_observation_wins_and_an_older_one_never_overwrites_it() -> None:
    state = state_of(room=20.0)
    state.merge(reading(NOW - 60, "batch", room=10.0, counter=3), NOW)
    assert state.values["room"] == 20.0
    assert state.values["counter"] == 3, "a value that was not known yet is taken from a late reading too"
    assert (state.seen_at, state.source) == (NOW, "push")
    state.merge(reading(NOW + 1, "poll", room=21.0), NOW + 1)
    assert (state.values["room"], state.seen_at, state.source) == (21.0, NOW + 1, "poll")


@pytest.mark.parametrize("ahead", [0.5, 3.0, 86_400.0])
def test_an_observation_from_the_future_counts_as_made_now(ahead: float) -> None:
    state = state_of()
    state.merge(reading(NOW + ahead, room=20.0), NOW)
    assert state.seen_at == NOW
    assert state.stale(NOW + state.display.stale_after + 0.1), "it is not fresh for longer because a clock is ahead"
    state.merge(reading(NOW + 0.1, room=21.0), NOW + 0.1)
    assert state.values["room"] == 21.0


def test_a_clock_that_was_set_back_neither_freezes_values_nor_hides_silence() -> None:
    state = DeviceState(gadget(), "home")
    state.merge(Reading("a1", {"room": 20.0}, 90_000.0, "push"), 90_000.0)
    assert state.stale(10_000.0), "nobody knows how old that is"
    state.merge(Reading("a1", {"room": 25.0}, 10_000.0, "poll"), 10_000.0)
    assert (state.values["room"], state.seen_at, state.source) == (25.0, 10_000.0, "poll")
    assert not state.stale(10_100.0)
    assert state.stale(10_200.0)


def test_derived_values_see_what_was_before() -> None:
    state = state_of(speed="slow", counter=4)
    assert state.values["doubled"] == 8
    assert state.values["speed_before"] is None
    state.merge(reading(NOW + 1, speed="fast"), NOW + 1)
    assert state.values["speed_before"] == "slow"


def test_energy_holds_the_power_until_the_next_frame() -> None:
    state = state_of(power=1000)
    assert state.values["energy"] == 0.0
    state.merge(reading(NOW + 36, power=0), NOW + 36)
    assert state.values["energy"] == pytest.approx(0.01)
    state.merge(reading(NOW + 72, power=500), NOW + 72)
    assert state.values["energy"] == pytest.approx(0.01), "nothing was drawn while the power was 0"


def test_energy_is_not_invented_over_a_gap_nor_from_a_late_frame() -> None:
    state = state_of(power=1000)
    state.merge(reading(NOW + LONGEST_GAP + 1, power=1000), NOW + LONGEST_GAP + 1)
    assert state.values["energy"] == 0.0
    state.merge(reading(NOW - 5, "batch", power=5000), NOW + LONGEST_GAP + 2)
    assert state.values["energy"] == 0.0


def test_a_counter_that_the_device_itself_reports_is_not_integrated() -> None:
    state = state_of(power=1000, energy=7.5)
    assert state.values["energy"] == 7.5


def test_counters_survive_a_restart_and_nonsense_does_not() -> None:
    state = state_of(power=1000)
    state.merge(reading(NOW + 36, power=1000), NOW + 36)
    kept = state.counters()
    fresh = DeviceState(gadget(), "home")
    fresh.restore({"energy": "much"})
    assert fresh.counters() == {}
    fresh.restore({"energy": -1})
    assert fresh.counters() == {}
    fresh.restore(kept)
    fresh.restore({"energy": 99.0})
    assert fresh.counters() == kept, "what is known already is not set back"
    fresh.merge(reading(NOW + 100, power=0), NOW + 100)
    assert fresh.counters() == kept


def test_unknown_fields_are_kept_once_and_bounded() -> None:
    state = DeviceState(gadget(), "home", Display(raw=True))
    assert state.merge(reading(unknown={"a": 1}), NOW) == {"a"}
    assert state.merge(reading(unknown={"a": 2}), NOW) == frozenset()
    assert state.unknown == {"a": 2}
    many = reading(unknown={f"f{n}": n for n in range(500)})
    assert len(state.merge(many, NOW)) == MOST_UNKNOWN - 1
    assert not state.merge(many, NOW), "what is not kept is no news each time it comes"
    assert len(state.unknown) == MOST_UNKNOWN
    document = state.document(NOW)
    assert document["raw"]["a"] == 2


def test_staleness_and_presence_decide_availability() -> None:
    state = DeviceState(gadget(), "home", Display(stale_after=60))
    assert state.stale(NOW)
    assert not state.available(NOW)
    state.merge(reading(room=20.0), NOW)
    assert state.available(NOW + 60)
    assert not state.available(NOW + 61)
    assert state.document(NOW + 61)["stale"] is True
    state.present, state.reason = False, "the cloud says disconnected"
    assert not state.available(NOW)
    assert state.problems(state.values, NOW) == ["Device offline: the cloud says disconnected"]


def test_a_value_that_is_left_out_fades_and_of_a_device_that_is_gone_none_does() -> None:
    state = DeviceState(gadget(), "home", Display(stale_after=60, unit="F"))
    state.merge(reading(room=20.0, counter=3), NOW)
    assert state.document(NOW)["room"] == 68.0
    assert state.fades_at == NOW + 60
    state.merge(reading(NOW + 50, counter=4), NOW + 50)
    document = state.document(NOW + 61)
    assert (document["room"], document["counter"], document["doubled"]) == (None, 4, 8)
    assert state.fades_at == NOW + 110, "the counter is the next"
    document = state.document(NOW + 111)
    assert (document["stale"], document["room"], document["counter"]) == (True, 68.0, 4)
    assert state.fades_at > NOW + 111, "or its document would be made again each second"


def test_a_value_lasts_as_long_as_its_row_says_and_at_least_as_long_as_the_devices_timeout() -> None:
    lasting = {"room": 120.0, "label": FOREVER, "counter": 10.0}
    rows = tuple(replace(row, lasts=lasting.get(row.key, 0.0)) for row in GADGET.attributes)
    kind = replace(GADGET, attributes=rows)
    state = DeviceState(replace(gadget(), kind=kind), "home", Display(stale_after=60))
    state.merge(reading(room=20.0, label="old", counter=1, lamp=True), NOW)
    for since in (50, 100, 150):
        state.merge(reading(NOW + since, error=0), NOW + since)
    keys = ("room", "label", "counter", "lamp")
    shown_at = {after: [key for key in keys if state.live(NOW + after)[key] is not None] for after in (60, 61, 121)}
    assert shown_at == {60: [*keys], 61: ["room", "label"], 121: ["label"]}
    regular = DeviceState(replace(gadget(), kind=replace(kind, regular=frozenset({"json"}))), "home", state.display)
    regular.merge(reading(room=20.0, label="old"), NOW)
    live = regular.live(NOW + 61)
    assert (live["room"], live["label"]) == (None, None), "what is told all the time is missed soon"


def test_what_is_confirmed_is_shown_for_longer_and_hides_no_news() -> None:
    state = DeviceState(gadget(), "home", Display(stale_after=60))
    state.merge(reading(speed="slow", lamp=True), NOW)
    assert not state.confirm({"speed": "slow"}, NOW + 50, NOW + 50), "nothing is shown that was not"
    assert state.seen_at == NOW, "it is no sign of life"
    state.merge(reading(NOW + 55, error=0), NOW + 55)
    live = state.live(NOW + 61)
    assert (live["speed"], live["lamp"], state.fades_at) == ("slow", None, NOW + 110)
    assert state.confirm({"lamp": True, "speed": "slow"}, NOW + 60, NOW + 62)
    state.confirm({"lamp": True}, NOW + 10, NOW + 63)
    assert state.live(NOW + 120)["lamp"] is True, "an older confirmation takes nothing back"
    state.merge(reading(NOW + 20, "poll", speed="fast"), NOW + 63)
    assert state.values["speed"] == "fast", "it was seen after the word before, and told late"
    assert state.live(NOW + 81)["speed"] is None, "what was confirmed was the other value"
    state.confirm({"speed": "fast"}, NOW + 9_000, NOW + 90)
    assert state.live(NOW + 151)["speed"] is None, "nothing is known of the future"
    state.confirm({"speed": "fast"}, NOW + 200, NOW + 200)
    state.shift(-1_000)
    assert state.live(NOW - 750)["speed"] == "fast"


def test_what_holds_still_though_it_was_never_told_here_is_taken_in() -> None:
    state = DeviceState(gadget(), "home", Display(stale_after=60))
    state.merge(reading(speed="slow", error=0), NOW)
    assert not state.confirm({"speed": "fast"}, NOW, NOW + 10), "what was told here is as new"
    assert state.live(NOW + 61)["speed"] is None, "nobody has confirmed this"
    assert state.confirm({"speed": "fast", "lamp": True}, NOW + 20, NOW + 21)
    state.merge(reading(NOW + 70, error=0), NOW + 70)
    live = state.live(NOW + 80)
    assert (live["speed"], live["lamp"]) == ("fast", True)
    live = state.live(NOW + 81)
    assert (live["speed"], live["lamp"]) == (None, None)
    state.merge(reading(NOW + 10, "poll", speed="slow"), NOW + 82)
    assert state.values["speed"] == "slow", "it was seen after the word before, and told late"


def test_alerts_become_sentences() -> None:
    document = state_of(room=41.5, error=0).document(NOW)
    assert document["problems"] == ["Room is 41.5 °C, above 40 °C"]
    assert document["problem"] is True
    document = state_of(room=1.0, error=96).document(NOW)
    assert document["problem_text"] == "Room is 1.0 °C, below 5 °C; Error 96"
    document = state_of(room=20.0).document(NOW)
    assert (document["problem"], document["problems"], document["problem_text"]) == (False, [], "No problem")
    document = state_of(lamp=True).document(NOW)
    assert document["problem"] is False
    state = DeviceState(gadget(), "home", Display(stale_after=60))
    state.merge(reading(room=41.5, lamp=True), NOW)
    state.merge(reading(NOW + 50, lamp=True), NOW + 50)
    document = state.document(NOW + 61)
    assert (document["room"], document["problem"]) == (None, False), "nobody knows whether it is too warm still"
    assert state.document(NOW + 200)["problem_text"].endswith("Room is 41.5 °C, above 40 °C"), "it was, at the last"


def test_what_a_document_has_besides_is_listed_once() -> None:
    state = state_of(room=20.0)
    plain = {key for key, value in state.document(NOW).items() if not isinstance(value, list)}
    assert plain - {row.key for row in state.device.attributes} == set(BESIDES)


def test_the_document_has_every_announced_attribute_and_nothing_for_actions() -> None:
    document = state_of(room=20.26, lamp=False, counter=3).document(NOW)
    assert document["room"] == 20.3
    assert document["lamp"] is False
    assert document["target"] is None
    assert "reset" not in document
    assert "extra" not in document
    assert document["temperature_unit"] == "C"
    assert document["seen_at"] == iso(NOW)
    assert document["source"] == "push"
    assert "raw" not in document


def test_the_document_in_fahrenheit() -> None:
    document = state_of(Display(unit="F"), room=20, target=49.0, superheat=5.0, counter=4).document(NOW)
    assert (document["room"], document["target"], document["superheat"]) == (68.0, 120.2, 9.0)
    assert document["counter"] == 4
    assert document["temperature_unit"] == "F"


def test_values_are_shown_with_the_digits_they_are_worth() -> None:
    assert shown(1234.56789, ENERGY) == 1234.568
    assert shown(99.7, POWER) == 100
    assert isinstance(shown(99.7, POWER), int)
    assert shown(None, POWER) is None
    assert shown(True, POWER, "F") is True
    assert shown(99.0, POWER, "F") == 99
    assert shown(7, POWER, "F") == 7


def test_units_there_and_back() -> None:
    for quantity in (TEMPERATURE, TEMPERATURE_DELTA, POWER):
        assert to_celsius(to_fahrenheit(21.5, quantity), quantity) == pytest.approx(21.5)
    target = next(row for row in gadget().attributes if row.key == "target")
    assert in_unit(target, "C") is target
    fahrenheit = in_unit(target, "F")
    assert (fahrenheit.quantity.unit, fahrenheit.limits, fahrenheit.step) == ("°F", Range(50, 86), 0.9)
    room = in_unit(next(row for row in gadget().attributes if row.key == "room"), "F")
    assert (room.limits, room.step) == (None, None)


def test_the_cache_remembers_what_changed() -> None:
    cache = Cache()
    first = cache.put("one", gadget(), "home")
    cache.put("two", gadget(device_id="b2"), "home")
    assert [key for key, _ in cache.take_changed()] == ["one", "two"]
    assert cache.take_changed() == ()
    cache.mark("two")
    cache.mark("one")
    cache.mark("two")
    assert [key for key, _ in cache.take_changed()] == ["two", "one"]
    renamed = cache.put("one", gadget(name="Attic"), "cabin")
    assert renamed is first
    assert (renamed.device.name, renamed.account) == ("Attic", "cabin")
    cache.mark_all()
    assert cache.drop("two") is not None
    assert cache.drop("two") is None
    assert [key for key, _ in cache.take_changed()] == ["one"]
    assert (list(cache), len(cache), cache.get("two")) == (["one"], 1, None)
    assert cache.items() == (("one", first),)
    cache.mark("nowhere")
    assert cache.take_changed() == ()
