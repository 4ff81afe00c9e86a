"""What is published, step by step, so that the broker's retained messages become those of now."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest
from support.appliances import HEATER, device

from navibridge.announce import Announcer
from navibridge.config import Discovery
from navibridge.topics import Topics

if TYPE_CHECKING:
    from navibridge.discovery import Format
    from navibridge.model import Device

FORMS: tuple[Format, ...] = ("device", "entity")


def announcer(form: Format, *, enabled: bool = True) -> Announcer:
    return Announcer(Topics(), Discovery(format=form, enabled=enabled))


def announced(announcer: Announcer, described: Device) -> dict[str, bytes]:
    return {message.topic: message.payload for message in announcer.device(described.id, described, "home", "C")}


def without_hours(described: Device) -> Device:
    """The device without an attribute that was announced as a plain sensor."""
    return replace(described, attributes=tuple(row for row in described.attributes if row.key != "hours"))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_announced_again_is_the_same(form: Format) -> None:
    made = announcer(form)
    described = device(HEATER)
    first = announced(made, described)
    assert first
    assert announced(made, described) == first
    other = announced(made, replace(described, id="b2"))
    assert not other.keys() & first.keys(), "devices that are alike share what is remembered, and nothing else"


def test_an_entity_that_is_gone_is_cleared_in_the_entity_form() -> None:
    made = announcer("entity")
    described = without_hours(device(HEATER))
    first = announced(made, device(HEATER))
    then = announced(made, described)
    assert [topic for topic, payload in then.items() if not payload] == [topic for topic in first if "/hours/" in topic]
    assert first.keys() == then.keys()
    made.arrived([described.id])
    assert sorted(made.withdraw(described.id)) == sorted(topic for topic, payload in then.items() if payload)


def test_an_entity_that_is_gone_is_reduced_to_its_platform_in_the_device_form() -> None:
    made = announcer("device")
    described = without_hours(device(HEATER))
    (topic,) = announced(made, device(HEATER))
    then = made.device(described.id, described, "home", "C")
    assert [message.topic for message in then] == [topic, topic]
    assert orjson.loads(then[0].payload)["components"]["hours"] == {"platform": "sensor"}
    assert "hours" not in orjson.loads(then[1].payload)["components"]
    assert made.withdraw(described.id) == [topic]


@pytest.mark.parametrize("form", FORMS)
def test_an_entity_goes_away_however_often_the_link_breaks_over_it(form: Format) -> None:
    made = announcer(form)
    described = without_hours(device(HEATER))
    announced(made, device(HEATER))
    made.arrived([described.id])
    step = made.device(described.id, described, "home", "C")
    assert made.device(described.id, described, "home", "C") == step, "nobody said that it has arrived"
    made.arrived([described.id])
    then = made.device(described.id, described, "home", "C")
    assert len(then) == len(step) - 1
    assert all(message.payload for message in then)


@pytest.mark.parametrize("form", FORMS)
def test_a_device_in_another_format_than_before_is_withdrawn_from_both_when_nothing_has_arrived(form: Format) -> None:
    (other,) = (one for one in FORMS if one != form)
    left = announced(announcer(other), device(HEATER))
    made = announcer(form)
    for topic, payload in left.items():
        made.remember(topic, payload)
    new = announced(made, device(HEATER))
    assert sorted(made.withdraw("a1")) == sorted({*left, *new})


def test_nothing_is_announced_where_nothing_is_wanted() -> None:
    made = announcer("device", enabled=False)
    assert not announced(made, device(HEATER))
    assert not announced(made, device(HEATER))
    assert made.withdraw("a1") == []


@pytest.mark.parametrize("form", FORMS)
def test_devices_that_are_alike_are_remembered_in_little_memory(form: Format) -> None:
    made = announcer(form)
    described = device(HEATER)
    announced(made, described)
    keys = [f"heater_{number}" for number in range(200)]
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for key in keys:
            made.device(key, described, "home", "C")
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(keys) < 500, "bytes for each"
