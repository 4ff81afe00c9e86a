"""The whole NaviLink line with real parts: awscrt over the signed WebSocket, the bridge, aiomqtt, a real broker."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.house import House, house

from navibridge import vendors
from navibridge.bridge import Timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from support.mosquitto import Mosquitto

QUICK = {"answer": (0.0, 0.02), "notice": (0.05, 0.1), "control_interval": 0.0}


def cloud(devices: int = 1, **options: Any) -> Any:
    return vendors.load("navilink").simulator(devices, **QUICK | options)


def topics(simulator: Any) -> list[str]:
    return [f"navilink_{mac}" for mac in simulator.devices]


@pytest.fixture
async def home(mosquitto: Mosquitto, tmp_path: Path) -> AsyncIterator[tuple[House, Any]]:
    """One JSON-speaking water heater."""
    simulator = cloud()
    async with house(mosquitto, tmp_path, {"home": simulator}) as made:
        yield made, simulator


async def until(condition: Callable[[], object], limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110 - a condition of the simulated cloud's, with no event to wait for
            await asyncio.sleep(0.01)


async def test_from_start_to_first_state(home) -> None:
    made, simulator = home
    [device] = topics(simulator)
    heater = next(iter(simulator.devices.values()))
    started = time.monotonic()
    async with made.bridge():
        state = await made.state(device)
        took = time.monotonic() - started
        assert state["target_temperature"] == heater.state.setpoint
        assert state["mode"] == "eco"
        assert state["power_state"] is True
        assert abs(state["tank_upper_temperature"] - state["current_temperature"]) <= 0.5
        assert state["stale"] is False
        assert (await made.account("home", state="online"))["reason"] == ""
        document = (await made.listener.wait_for(f"homeassistant/device/navibridge_{device}/config")).json
        heater_entity = document["components"]["water_heater"]
        assert (heater_entity["min_temp"], heater_entity["max_temp"]) == (40.5, 65.5)
        assert heater_entity["modes"] == ["off", "eco", "heat_pump", "high_demand", "electric"]
        assert not {"recirculation_hot_button"} & document["components"].keys(), "this unit has no recirculation kit"
    assert took < 10
    assert simulator.requests.count("/user/sign-in") == 1


COMMANDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"target_temperature": 52}, {"target_temperature": 52.0}),
    ({"target_temperature": 48.888888888888886}, {"target_temperature": 49.0}),
    ({"mode": "high_demand"}, {"mode": "high_demand", "operation_mode": "high_demand"}),
    ({"operation_mode": "heat_pump"}, {"mode": "heat_pump", "operation_mode": "heat_pump"}),
    ({"power_state": False}, {"power_state": False, "mode": "off", "operation_mode": "power_off"}),
    ({"power": "ON"}, {"power_state": True, "mode": "heat_pump"}),
    ({"mode": "off"}, {"power_state": False, "mode": "off"}),
    ({"mode": "eco"}, {"power_state": True, "mode": "eco", "operation_mode": "energy_saver"}),
    (
        {"operation_mode": "vacation", "vacation_days": 5},
        {"operation_mode": "vacation", "vacation_days": 5, "mode": "eco", "vacation": True},
    ),
    ({"vacation_days": 9}, {"operation_mode": "vacation", "vacation_days": 9}),
    ({"mode": "electric"}, {"operation_mode": "electric", "vacation": False}),
    ({"vacation_days": 3}, {"vacation_days": 3, "operation_mode": "electric"}),
    ({"anti_legionella": True}, {"anti_legionella": True}),
    ({"anti_legionella_period": 14}, {"anti_legionella": True, "anti_legionella_period": 14}),
    ({"anti_legionella": "OFF"}, {"anti_legionella": False}),
    ({"tou_enabled": True}, {"tou_enabled": True}),
    ({"tou_override": True}, {"tou_enabled": False}),
    ({"tou_override": False}, {"tou_enabled": True, "tou_override": False}),
    ({"tou_enabled": False}, {"tou_enabled": False}),
    ({"demand_response_on": True}, {}),
    ({"demand_response_off": True}, {}),
    ({"adaptive_reservation_on": True}, {}),
    ({"adaptive_reservation_off": True}, {}),
    ({"enable_reservations": True}, {"reservations_enabled": True}),
    ({"reset_air_filter": True}, {"air_filter_elapsed": 0}),
    ({"mode": "heat_pump", "target_temperature": 55}, {"mode": "heat_pump", "target_temperature": 55.0}),
]


async def test_every_control_is_confirmed_by_the_device(home) -> None:
    made, simulator = home
    [device] = topics(simulator)
    async with made.bridge():
        await made.state(device)
        for changes, expected in COMMANDS:
            since = made.listener.mark()
            result = await made.command(device, changes)
            assert result["verdict"] == "applied", (changes, result)
            try:
                await made.state(device, since=since, timeout=5, **expected)
            except AssertionError as error:
                last = made.listener.last(f"navibridge/{device}/state").json
                raise AssertionError(
                    f"{changes}: {expected} but { {key: last.get(key) for key in expected} }"
                ) from error
    assert all(control.outcome == "applied" for control in simulator.received_controls)


async def test_the_recirculation_kit(mosquitto, tmp_path) -> None:
    simulator = cloud(3)
    async with house(mosquitto, tmp_path, {"home": simulator}) as made, made.bridge():
        device = topics(simulator)[2]
        await made.state(device)
        assert (await made.command(device, {"recirculation_mode": "always"}))["verdict"] == "applied"
        await made.state(device, recirculation_mode="always")
        assert (await made.command(device, {"recirculation_hot_button": True}))["verdict"] == "applied"
        result = await made.command(topics(simulator)[0], {"recirculation_mode": "always"})
        assert result["verdict"] == "rejected", "the first unit has no kit"


async def test_json_and_binary_devices_side_by_side(mosquitto, tmp_path, caplog) -> None:
    simulator = cloud(4, dialects=("json", "binary", "json87", "binary"))
    async with house(mosquitto, tmp_path, {"home": simulator}) as made, made.bridge():
        for device, heater in zip(topics(simulator), simulator.devices.values(), strict=True):
            state = await made.state(device)
            assert abs(state["target_temperature"] - heater.state.setpoint) <= 0.3, "°F in the binary record"
        for device in topics(simulator):
            result = await made.command(device, {"target_temperature": 50})
            assert result["verdict"] == "applied", result
            await made.listener.wait_for(
                f"navibridge/{device}/state", lambda heard: abs(heard.json["target_temperature"] - 50) < 0.3
            )
    assert "WARNING" not in {record.levelname for record in caplog.records}


async def test_a_refusal_and_a_silence_have_their_verdicts(home) -> None:
    made, simulator = home
    [device] = topics(simulator)
    [heater] = simulator.devices.values()
    made.sections["commands"]["timeout"] = 1.5
    async with made.bridge():
        state = await made.state(device)
        kept = state["target_temperature"]
        heater.faults.fail_code = 7
        result = await made.command(device, {"target_temperature": 50})
        assert result["verdict"] == "refused"
        assert "7" in result["reason"]
        heater.faults.fail_code = None
        heater.faults.contradict_acks = True
        result = await made.command(device, {"target_temperature": 50})
        assert result["verdict"] == "refused", result
        heater.faults.contradict_acks = False
        heater.faults.silent = True
        since = made.listener.mark()
        result = await made.command(device, {"mode": "high_demand"})
        assert result["verdict"] == "unconfirmed", result
        await made.state(device, since=since)
        heater.faults.silent = False
        assert kept != 50


async def test_a_control_too_soon_is_tried_once_more(mosquitto, tmp_path) -> None:
    simulator = cloud(control_interval=0.5)
    async with (
        house(mosquitto, tmp_path, {"home": simulator}, commands={"timeout": 10}) as made,
        made.bridge(Timing(pace=5.0)),
    ):
        [device] = topics(simulator)
        await made.state(device)
        assert (await made.command(device, {"target_temperature": 50}))["verdict"] == "applied"
        result = await made.command(device, {"target_temperature": 51}, timeout=20)
        assert result["verdict"] == "applied", result


async def test_expired_tokens_and_credentials_do_not_disturb(mosquitto, tmp_path) -> None:
    simulator = cloud(token_seconds=3, credential_seconds=3)
    async with house(mosquitto, tmp_path, {"home": simulator}) as made:
        made.sections["accounts"]["home"]["sign_ins"] = 60
        async with made.bridge():
            [device] = topics(simulator)
            await made.state(device)
            await asyncio.sleep(3.2)  # the lifetime itself: an open link outlives its credentials
            assert (await made.command(device, {"target_temperature": 50}))["verdict"] == "applied"
            since = made.listener.mark()
            made.cloud.drop_all()
            await made.account("home", since=since, state="offline")
            await made.account("home", since=since, state="online", timeout=20)
            assert (await made.command(device, {"target_temperature": 51}))["verdict"] == "applied"
    assert made.cloud.counts.refused.total() == 0, "every handshake was signed with fresh credentials"


async def test_two_accounts_one_with_a_wrong_password(mosquitto, tmp_path) -> None:
    good, bad = cloud(), cloud(email="cabin@example.com", seed=2)
    async with house(mosquitto, tmp_path, {"home": good}) as made:
        wrong = dict(made.sections["accounts"]["home"])
        wrong |= {"password": "not-the-password", "email": "owner2@example.com"}
        good.add_account("owner2@example.com", "the-right-password")
        made.sections["accounts"]["cabin"] = wrong
        async with made.bridge():
            await made.state(topics(good)[0])
            state = await made.account("cabin", state="needs_attention")
            assert "password" in state["what_to_do"]
            assert "not-the-password" not in str([heard.payload for heard in made.listener.heard])
            assert (await made.command(topics(good)[0], {"target_temperature": 50}))["verdict"] == "applied"
        assert good.requests.count("/user/sign-in") == 2, "a wrong password is never tried again"
    assert bad.devices


async def test_a_restart_needs_no_sign_in(home) -> None:
    made, simulator = home
    [device] = topics(simulator)
    for _ in range(3):
        async with made.bridge():
            await made.state(device, since=made.listener.mark())
    assert simulator.requests.count("/user/sign-in") == 1


async def test_an_offline_device_is_said_to_be_offline_and_comes_back(mosquitto, tmp_path) -> None:
    simulator = cloud(2)
    gone, there = topics(simulator)
    heater = next(iter(simulator.devices.values()))
    heater.faults.offline = True
    async with house(mosquitto, tmp_path, {"home": simulator}) as made, made.bridge():
        await made.state(there)
        await made.listener.wait_for(f"navibridge/{gone}/availability", lambda heard: heard.text == "offline")
        await made.listener.wait_for(f"navibridge/{there}/availability", lambda heard: heard.text == "online")
        heater.faults.offline = False
        heater.announce_connection(connected=True)
        await made.listener.wait_for(f"navibridge/{gone}/availability", lambda heard: heard.text == "online", 20)
        await made.state(gone)


async def test_strange_frames_are_dropped_and_unknown_fields_kept(home, caplog) -> None:
    made, simulator = home
    [device] = topics(simulator)
    [heater] = simulator.devices.values()
    made.sections["devices"] = {heater.mac: {"raw": True}}
    async with made.bridge():
        await made.state(device)
        heater.faults.garbled = True
        since = made.listener.mark()
        await made.listener.publish(f"navibridge/{device}/get", "")
        await until(lambda: any("frame" in record.message for record in caplog.records))
        heater.faults.garbled = False
        heater.faults.unknown_keys = True
        heater.faults.unknown_enums = True
        await made.listener.publish(f"navibridge/{device}/get", "")
        message = await made.listener.wait_for(
            f"navibridge/{device}/state", lambda heard: heard.json.get("raw"), since=since
        )
        assert message.json["raw"]
        heater.faults.unknown_keys = heater.faults.unknown_enums = False
        assert (await made.command(device, {"target_temperature": 50}))["verdict"] == "applied"


async def test_bad_commands_never_leave_the_house(home) -> None:
    made, simulator = home
    [device] = topics(simulator)
    async with made.bridge():
        await made.state(device)
        for changes, words in (
            ({"target_temperature": 70}, "40.5 to 65.5 °C"),
            ({"target_temperature": 122}, "40.5 to 65.5 °C"),
            ({"mode": "gas"}, "off, eco, heat_pump, high_demand, electric"),
            ({"operation_mode": "vacations"}, "vacation"),
            ({"vacation_days": 31}, "1 to 30 d"),
            ({"vacation_days": 2.7, "anti_legionella_period": 0}, "anti_legionella_period"),
            ({"current_temperature": 50}, "can not be written"),
            ({"wifi_reset": True}, "no attribute"),
        ):
            result = await made.command(device, changes)
            assert result["verdict"] == "rejected", (changes, result)
            assert words in result["reason"], (changes, result)
    assert not simulator.received_controls


async def test_mqtt_5_towards_the_cloud(home) -> None:
    made, simulator = home
    [device] = topics(simulator)
    made.sections["accounts"]["home"]["mqtt_protocol"] = "MQTT5"
    async with made.bridge():
        await made.state(device)
        assert (await made.command(device, {"target_temperature": 50}))["verdict"] == "applied"


async def test_alerts_reach_the_user(home) -> None:
    made, simulator = home
    [device] = topics(simulator)
    [heater] = simulator.devices.values()
    async with made.bridge():
        await made.state(device)
        heater.state.error_code = 480
        heater.state.sub_error_code = 1
        await made.listener.publish(f"navibridge/{device}/get", "")
        state = await made.state(device, problem=True, error_code=480)
        assert "upper tank sensor" in state["problem_text"]


async def test_a_hundred_water_heaters(mosquitto, tmp_path) -> None:
    simulator = cloud(100)
    async with house(mosquitto, tmp_path, {"home": simulator}) as made, made.bridge():
        for device in topics(simulator):
            await made.state(device, timeout=20)
        assert (await made.command(topics(simulator)[77], {"target_temperature": 50}))["verdict"] == "applied"
