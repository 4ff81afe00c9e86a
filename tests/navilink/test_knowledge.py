from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from navibridge.store import Store
from navibridge.vendors.navilink.api import Listed
from navibridge.vendors.navilink.knowledge import Knowledge

if TYPE_CHECKING:
    from pathlib import Path

HEATER = Listed("a1b2c3d4e5f6", "7741", 52, "31007", "Garage heat pump", connected=True)
LISTED: dict[str, Any] = {"listed": ["a1b2c3d4e5f6", "7741", 52, "31007", "Garage heat pump"]}
GATEWAY = Listed("a1b2c3d4e600", "5301", 1, "31007", "Cabin tankless", connected=True)


def test_it_comes_back(tmp_path: Path) -> None:
    knowledge = Knowledge(Store(tmp_path), "home-devices")
    (heater,) = knowledge.units(HEATER, "app")
    assert not heater.described
    heater.features = {"supports_power": True, "temperature_min": 40.5}
    heater.seen = frozenset({"tank_charge", "power"})
    heater.spoke = True
    (channel,) = knowledge.units(GATEWAY, "app")
    channel.channel, channel.units, channel.family = 1, 3, "library"
    knowledge.save((heater, channel))

    again = Knowledge(Store(tmp_path), "home-devices")
    assert again.install_id == knowledge.install_id
    (known,) = again.units(HEATER, "app")
    assert known.described
    assert (known.features, known.seen) == (heater.features, heater.seen)
    (known,) = again.units(GATEWAY, "app")
    assert (known.channel, known.units, known.family) == (1, 3, "library")

    assert {listed.name for listed in again.devices()} == {"Garage heat pump", "Cabin tankless"}

    again.forget(HEATER.mac)
    assert [listed.mac for listed in again.devices()] == [GATEWAY.mac]
    assert not again.units(HEATER, "app")[0].described


def test_the_id_is_kept_before_anything_else_is_known(tmp_path: Path) -> None:
    first = Knowledge(Store(tmp_path), "home-devices").install_id
    assert len(first) == 8
    assert int(first, 16) >= 0
    assert Knowledge(Store(tmp_path), "home-devices").install_id == first
    assert Knowledge(Store(tmp_path), "cabin-devices").install_id != first


def test_the_names_of_attributes_are_kept_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    knowledge = Knowledge(store, "home-devices")
    units = []
    for number in range(50):
        (unit,) = knowledge.units(Listed(f"{number:012x}", "1", 52, "1", "x", connected=True), "app")
        unit.seen = knowledge.shared(unit.seen | unit.kind.by_key.keys())
        units.append(unit)
    knowledge.save(units)
    assert len({id(unit.seen) for unit in units}) == 1
    assert len(store.load("home-devices")["seen"]) == 1


@pytest.mark.parametrize(
    "kept",
    [
        {"devices": []},
        {"devices": {HEATER.mac: 1}, "seen": 1, "install_id": 5},
        {"devices": {HEATER.mac: {"listed": [HEATER.mac]}}},
        {"devices": {HEATER.mac: LISTED | {"features": [1], "seen": 7, "channel": "x", "spoke": "yes"}}},
        {"devices": {HEATER.mac: LISTED | {"features": {"power": []}, "seen": 0}}, "seen": [3]},
        {"devices": {HEATER.mac: LISTED | {"seen": 0}}, "seen": [[1, "no_such_attribute"]]},
        {"devices": {HEATER.mac: LISTED | {"seen": -1}}, "seen": [["power"]]},
    ],
)
def test_damage_costs_a_question(tmp_path: Path, kept: dict[str, Any]) -> None:
    store = Store(tmp_path)
    store.save("home-devices", kept)
    knowledge = Knowledge(store, "home-devices")
    (unit,) = knowledge.units(HEATER, "app")
    assert (unit.features, unit.seen, unit.spoke, unit.channel) == ({}, frozenset(), False, None)
    knowledge.save((unit,))
