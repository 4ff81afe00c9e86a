"""The whole Mysa line with real parts: awscrt over signed WebSockets, the bridge, aiomqtt, a real broker."""

from __future__ import annotations

import importlib
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.house import House, house
from support.waiting import until

from navibridge.vendors.mysa.simulated.cloud import MODELS, RestFault, is_start_publishing, simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.mosquitto import Mosquitto

    from navibridge.vendors.mysa.simulated.cloud import MysaCloud
    from navibridge.vendors.mysa.simulated.thermostat import Thermostat

V1, V2, LITE, IN_FLOOR, AC, AC_2 = MODELS
QUICK = {"quiet": 0.0, "answer": (0.0, 0.05), "status": 0.5, "rest": (0.0, 0.05), "flush": (0.0, 0.05)}


def cloud(*models: str, **options: Any) -> MysaCloud:
    return simulator(len(models), models=models or (V2,), **QUICK | options)


def topics(sim: MysaCloud) -> list[str]:
    return [f"mysa_{device_id}" for device_id in sim.thermostats]


def hasten(made: House, **times: float) -> None:
    """Times that are too short for a real account, and that its settings therefore do not take."""

    def configuration() -> Any:
        built = House.configuration(made)
        accounts = {name: settings.model_copy(update=times) for name, settings in built.accounts.items()}
        return built.model_copy(update={"accounts": accounts})

    made.configuration = configuration  # type: ignore[method-assign]


@asynccontextmanager
async def home(
    mosquitto: Mosquitto, directory: Path, *models: str, sections: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[House, MysaCloud]]:
    sim = cloud(*models, **options)
    async with house(mosquitto, directory, {"cabin": sim}, **(sections or {})) as made:
        yield made, sim
    assert sim.pairing == ()


def only(sim: MysaCloud) -> tuple[str, Thermostat]:
    [(device_id, thermostat)] = sim.thermostats.items()
    return f"mysa_{device_id}", thermostat


# --- start ------------------------------------------------------------------------------------------------------------


async def test_from_start_to_first_state_of_every_model(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, *MODELS) as (made, sim):
        started = time.monotonic()
        async with made.bridge():
            for topic, thermostat in zip(topics(sim), sim.thermostats.values(), strict=True):
                state = await made.state(topic, source="push")
                truth = thermostat.state
                assert state["mode"] == truth.mode, topic
                assert state["target_temperature"] == truth.setpoint, topic
                assert -10 < state["current_temperature"] < 40
                assert 0 < state["humidity"] <= 100
                assert (state["stale"], state["problem"]) == (False, False)
                assert state["connected"] is True
                assert state["action"] in ("off", "heating", "cooling", "idle")
            assert time.monotonic() - started < 10
            account = await made.account("cabin", state="online")
            assert account["reason"] == ""
            documents = [
                (await made.listener.wait_for(f"homeassistant/device/navibridge_{topic}/config")).json
                for topic in topics(sim)
            ]
    climates = [document["components"]["climate"] for document in documents]
    assert [climate["modes"] for climate in climates[:4]] == [["off", "heat"]] * 4
    assert climates[4]["modes"] == ["off", "heat", "cool", "auto", "dry", "fan_only"]
    assert [(climate["min_temp"], climate["max_temp"]) for climate in climates] == [
        *[(5, 30)] * 3,
        (5, 40),
        (17, 30),
        (17, 30),
    ]
    assert [climate["temp_step"] for climate in climates] == [*[0.5] * 4, 1, 1]
    assert climates[4]["fan_modes"] == ["auto", "low", "medium", "high", "max"]
    assert climates[5]["fan_modes"] == ["auto", "low", "medium", "high"]
    assert "floor_temperature" in documents[3]["components"]
    assert not {"power", "energy"} & documents[4]["components"].keys(), "an air conditioner measures neither"
    assert sim.requests.count("InitiateAuth") == 1


async def test_mysa_and_navilink_live_behind_one_port(mosquitto, tmp_path) -> None:
    water = importlib.import_module("navibridge.vendors.navilink").simulator(1, answer=(0.0, 0.02))
    heat = cloud(V1)
    async with house(mosquitto, tmp_path, {"home": water, "cabin": heat}) as made, made.bridge():
        await made.state(only(heat)[0], source="push")
        await made.state(f"navilink_{next(iter(water.devices))}")
        assert (await made.account("cabin", state="online"))["reason"] == ""
        assert (await made.account("home", state="online"))["reason"] == ""


async def test_a_restart_needs_no_sign_in(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2) as (made, sim):
        for _ in range(3):
            async with made.bridge():
                await made.state(only(sim)[0], since=made.listener.mark())
        assert sim.requests.count("InitiateAuth") == 1


async def test_a_hundred_thermostats(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, *(MODELS * 17)[:100], status=5.0) as (made, sim), made.bridge():
        for topic in topics(sim):
            await made.state(topic, timeout=20, source="push")
        broker = made.cloud.broker("mysa")
        assert sorted(len(broker.subscriptions(client)) for client in broker.clients) == [50] * 4
        for number in (0, 50, 99):
            topic = topics(sim)[number]
            assert (await made.command(topic, {"target_temperature": 21}))["verdict"] == "applied"


# --- commands ---------------------------------------------------------------------------------------------------------

HEATER: list[dict[str, Any]] = [
    {"target_temperature": 5.0},
    {"target_temperature": 22.5},
    {"mode": "off"},
    {"mode": "heat", "target_temperature": 21.0},
    {"lock": True},
    {"lock": False},
    {"brightness_active": 77},
    {"brightness_idle": 0},
    {"eco": True},
    {"eco": False},
    {"display_unit": "fahrenheit"},
    {"display_unit": "celsius"},
]
PANEL: list[dict[str, Any]] = [
    {"auto_brightness": False},
    {"auto_brightness": True},
    {"proximity": False},
    {"proximity": True},
]
FLOOR: list[dict[str, Any]] = [{"tracked_sensor": "ambient"}, {"tracked_sensor": "floor"}, {"target_temperature": 40.0}]
COOLER: list[dict[str, Any]] = [
    {"mode": "cool", "target_temperature": 17},
    {"fan_mode": "max"},
    {"swing_mode": "upper"},
    {"swing_mode": "auto"},
    {"mode": "heat", "fan_mode": "low", "target_temperature": 30},
    {"mode": "auto"},
    {"mode": "dry"},
    {"mode": "fan_only", "fan_mode": "high"},
    {"climate_plus": True},
    {"climate_plus": False},
    {"mode": "off"},
    *HEATER[4:],
]


@pytest.mark.parametrize(
    ("model", "commands"),
    [(V1, HEATER), (V2, HEATER + PANEL), (LITE, HEATER), (IN_FLOOR, HEATER + FLOOR), (AC, COOLER)],
)
async def test_every_writable_attribute_is_set_and_confirmed(mosquitto, tmp_path, model, commands) -> None:
    async with home(mosquitto, tmp_path, model) as (made, sim), made.bridge() as bridge:
        topic, _ = only(sim)
        await made.state(topic, source="push")
        for changes in commands:
            since = made.listener.mark()
            result = await made.command(topic, changes)
            assert result["verdict"] == "applied", (changes, result)
            assert result["values"] == changes
            await made.state(topic, since=since, **changes)
        [state] = [state for _, state in bridge.cache.items()]
        writable = {row.key for row in state.device.attributes if row.writes}
        assert writable == {key for changes in commands for key in changes}, "none is forgotten"
        sent = sim.received_commands
        assert all(command.outcome == "applied" for command in sent)


async def test_the_air_conditioner_of_the_other_code_set(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, AC_2) as (made, sim), made.bridge():
        topic, thermostat = only(sim)
        await made.state(topic, source="push")
        assert (await made.command(topic, {"fan_mode": "medium"}))["verdict"] == "applied"
        assert thermostat.state.fan == 4, "the third of the codes that this unit lists"
        await made.state(topic, fan_mode="medium")


async def test_bad_commands_never_leave_the_house(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2, AC) as (made, sim), made.bridge():
        heater, cooler = topics(sim)
        for topic in (heater, cooler):
            await made.state(topic, source="push")
        assert (await made.command(cooler, {"mode": "dry"}))["verdict"] == "applied"
        await made.state(cooler, mode="dry", target_temperature=None)
        sim.received_commands.clear()
        for topic, changes, words in (
            (heater, {"target_temperature": 31}, "5 to 30 °C in steps of 0.5"),
            (heater, {"mode": "cool"}, "off, heat"),
            (heater, {"fan_mode": "low"}, "no attribute"),
            (heater, {"tracked_sensor": "floor"}, "no attribute"),
            (heater, {"brightness_idle": 101}, "0 to 100"),
            (cooler, {"target_temperature": 20}, "dry"),
            (cooler, {"fan_mode": "max"}, "not offered"),
            (cooler, {"swing_mode": "bottom"}, "auto, top"),
            (cooler, {"auto_brightness": True}, "no attribute"),
        ):
            result = await made.command(topic, changes)
            assert result["verdict"] == "rejected", (changes, result)
            assert words in result["reason"], (changes, result)
        result = await made.command(heater, {"target_temperature": 22.222})
        assert (result["verdict"], result["values"]) == ("applied", {"target_temperature": 22.0})
        assert len(sim.received_commands) == 1


async def test_a_lite_in_disguise_is_spoken_to_as_a_lite(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, LITE) as (made, sim):
        topic, thermostat = only(sim)
        thermostat.listed["Model"] = V2
        async with made.bridge():
            await made.state(topic, source="push")
            assert (await made.command(topic, {"target_temperature": 11.5}))["verdict"] == "applied"
            assert sim.received_commands[-1].body_type == 5


async def test_without_an_acknowledgement_nothing_is_shown(mosquitto, tmp_path) -> None:
    sections = {"commands": {"spacing": 0.05, "timeout": 1}}
    async with home(mosquitto, tmp_path, V2, sections=sections) as (made, sim), made.bridge():
        topic, thermostat = only(sim)
        before = await made.state(topic, source="push")
        thermostat.faults.deaf = True
        for changes in ({"target_temperature": 28.5}, {"mode": "off"}):
            since = made.listener.mark()
            result = await made.command(topic, changes)
            assert result["verdict"] == "unconfirmed", result
            state = await made.state(topic, since=since)
            assert {key: state[key] for key in changes} == {key: before[key] for key in changes}
        thermostat.faults.deaf = False
        thermostat.faults.drop_acks = True
        result = await made.command(topic, {"mode": "off"})
        assert result["verdict"] == "unconfirmed", result
        assert thermostat.state.mode == "off"
        assert made.listener.last(f"navibridge/{topic}/state").json["mode"] == "heat", "no status tells the mode"
        thermostat.faults.drop_acks = False
        assert (await made.command(topic, {"target_temperature": 23}))["verdict"] == "applied"
        await made.state(topic, mode="off")


async def test_a_refusal(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2) as (made, sim), made.bridge():
        topic, thermostat = only(sim)
        await made.state(topic, source="push")
        thermostat.faults.fail_acks = True
        result = await made.command(topic, {"target_temperature": 28.5})
        assert result["verdict"] == "refused"


# --- sign-in ----------------------------------------------------------------------------------------------------------


async def test_a_wrong_password_needs_a_person_and_disturbs_nobody(mosquitto, tmp_path, caplog) -> None:
    sim = cloud(V2)
    wrong = "not the $right# 'one'"
    async with house(mosquitto, tmp_path, {"cabin": sim}) as made:
        sim.add_account("second@example.com", "right")
        made.sections["accounts"]["second"] = made.sections["accounts"]["cabin"] | {
            "email": "second@example.com",
            "password": wrong,
        }
        async with made.bridge():
            state = await made.account("second", state="needs_attention")
            assert state["reason"] == "wrong_password"
            assert f"{len(wrong)} characters" in state["detail"]
            assert "quotes" in state["what_to_do"]
            await made.state(only(sim)[0], source="push")
            assert (await made.command(only(sim)[0], {"target_temperature": 21}))["verdict"] == "applied"
        heard = str([message.payload for message in made.listener.heard])
        assert wrong not in heard + caplog.text
        assert sim.requests.count("RespondToAuthChallenge") == 2, "a wrong password is never tried again"


async def test_a_strange_password_arrives_intact(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2, password="$HOME `x` #1 \"two\" 'three'  ") as (made, sim), made.bridge():
        await made.state(only(sim)[0], source="push")


async def test_expired_refresh_tokens_and_credentials_do_not_disturb(mosquitto, tmp_path) -> None:
    lives = {"token_seconds": 1, "refresh_seconds": 0.2, "credential_seconds": 1}
    async with home(mosquitto, tmp_path, V2, **lives) as (made, sim):
        hasten(made, poll_interval=0.3, sign_ins=60)
        async with made.bridge():
            topic, _ = only(sim)
            await made.state(topic, source="push")
            signed_in = sim.requests.count("RespondToAuthChallenge")
            await until(lambda: sim.requests.count("RespondToAuthChallenge") > signed_in + 1, 20)
            assert made.listener.last("navibridge/bridge/account/cabin/state").json["state"] == "online"
            assert (await made.command(topic, {"target_temperature": 21}))["verdict"] == "applied"
            since = made.listener.mark()
            made.cloud.drop_all()
            await made.account("cabin", since=since, state="offline")
            await made.account("cabin", since=since, state="online")
            assert (await made.command(topic, {"target_temperature": 22}))["verdict"] == "applied"
        assert made.cloud.counts.refused.total() == 0, "every handshake was signed with fresh credentials"


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def test_an_offline_device_is_said_to_be_offline_and_comes_back(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V1, V2) as (made, sim):
        sim.timing.boot = (0.0, 0.0)
        gone, there = topics(sim)
        thermostat = next(iter(sim.thermostats.values()))
        hasten(made, poll_interval=0.2)
        async with made.bridge():
            for topic in (gone, there):
                await made.listener.wait_for(f"navibridge/{topic}/availability", lambda heard: heard.text == "online")
            thermostat.faults.offline = True
            await made.listener.wait_for(f"navibridge/{gone}/availability", lambda heard: heard.text == "offline")
            state = await made.state(gone, problem=True)
            assert "not connected" in state["problem_text"]
            assert made.listener.last(f"navibridge/{there}/availability").text == "online"
            since = made.listener.mark()
            sim.plug_in(thermostat.id)
            await made.listener.wait_for(
                f"navibridge/{gone}/availability", lambda heard: heard.text == "online", since=since
            )


async def test_a_subscription_that_died_silently_is_noticed(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2) as (made, sim):
        hasten(made, watchdog=1.0)
        async with made.bridge():
            topic, thermostat = only(sim)
            await made.state(topic, source="push")
            since = made.listener.mark()
            made.cloud.faults.stop_delivering = True
            account = await made.account("cabin", since=since, reason="silent")
            assert "no message" in account["detail"]
            made.cloud.faults.stop_delivering = False
            await made.account("cabin", since=made.listener.mark() - 1, state="online")
            thermostat.press(setpoint=27.5)
            await made.state(topic, target_temperature=27.5)


async def test_an_account_without_realtime_can_be_read(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, LITE, record=0.3) as (made, sim):
        next(iter(sim.accounts.values())).realtime = False
        hasten(made, poll_interval=0.2)
        async with made.bridge():
            topic, thermostat = only(sim)
            account = await made.account("cabin", reason="no_realtime")
            assert account["state"] == "online"
            assert "commands have to wait" in account["detail"]
            await made.state(topic, source="poll")
            thermostat.press(setpoint=14.5)
            await made.state(topic, target_temperature=14.5, source="poll")
            assert made.listener.last(f"navibridge/{topic}/availability").text == "online"
            result = await made.command(topic, {"target_temperature": 20, "ttl": 1})
            assert result["verdict"] == "expired"
            assert "live connection" in result["reason"]


async def test_a_cloud_that_loses_requests_to_publish(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2, report=0.5) as (made, sim):
        made.cloud.faults.lose = is_start_publishing
        async with made.bridge():
            topic, _ = only(sim)
            await made.state(topic, source="push")
            assert (await made.command(topic, {"target_temperature": 21}))["verdict"] == "applied"


async def test_the_rest_service_comes_and_goes(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2) as (made, sim):
        sim.rest_faults["/devices"] = RestFault.outage()
        async with made.bridge():
            account = await made.account("cabin", reason="service")
            assert account["state"] == "offline"
            del sim.rest_faults["/devices"]
            await made.account("cabin", state="online", timeout=20)
            await made.state(only(sim)[0], source="push")


# --- values -----------------------------------------------------------------------------------------------------------


async def test_power_is_measured_or_estimated_and_says_which(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V1, V2, LITE) as (made, sim):
        lite = list(sim.thermostats.values())[2]
        made.sections["devices"] = {lite.id: {"rated_watts": 1200}}
        for thermostat in sim.thermostats.values():
            thermostat.press(setpoint=30.0)
        async with made.bridge():
            v1, v2, estimated = topics(sim)
            state = await made.state(v1, power_source="measured", action="heating")
            assert state["power"] == pytest.approx(state["current"] * state["line_voltage"], abs=5)
            state = await made.state(estimated, power_source="estimated", power=1200)
            assert state["energy"] is not None
            state = await made.state(v2, source="push")
            assert state.get("power") is None
            sim.thermostats[v2.removeprefix("mysa_")].flush()
            state = await made.state(v2, power_source="measured", action="heating")
            assert state["power"] == pytest.approx(state["current"] * state["line_voltage"], abs=5)
            assert state["energy"] > 0


async def test_a_late_batch_overwrites_nothing(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2) as (made, sim):
        topic, thermostat = only(sim)
        thermostat.faults.late_batches = 0.7
        async with made.bridge():
            await made.state(topic, source="push")
            thermostat.flush()
            since = made.listener.mark()
            assert (await made.command(topic, {"target_temperature": 27.5}))["verdict"] == "applied"
            await made.state(topic, since=since, target_temperature=27.5)
            state = await made.state(topic, since=since, source="batch")
            assert state["target_temperature"] == 27.5
            assert state["heating_current"] > 0, "but what nothing else tells is taken"


async def test_buttons_and_renaming(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V1) as (made, sim):
        topic, thermostat = only(sim)
        async with made.bridge():
            await made.state(topic, source="push")
            thermostat.press(setpoint=26.5, locked=True)
            await made.state(topic, target_temperature=26.5, lock=True)
        thermostat.listed["Name"] = "Küche/Bad #2 +"
        since = made.listener.mark()
        async with made.bridge():
            document = await made.listener.wait_for(
                f"homeassistant/device/navibridge_{topic}/config",
                lambda heard: heard.payload and heard.json["device"]["name"] == "Küche/Bad #2 +",
                since=since,
            )
            assert json.dumps(document.json).count(topic) > 5, "its topics stay"


async def test_fahrenheit(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2, sections={"temperature_unit": "F"}) as (made, sim), made.bridge():
        topic, thermostat = only(sim)
        await made.state(topic, source="push")
        result = await made.command(topic, {"target_temperature": 72})
        assert result["verdict"] == "applied"
        assert thermostat.state.setpoint == 22.0
        assert (await made.state(topic, target_temperature=71.6))["temperature_unit"] == "F"


async def test_mqtt_5_towards_the_cloud(mosquitto, tmp_path) -> None:
    async with home(mosquitto, tmp_path, V2) as (made, sim):
        made.sections["accounts"]["cabin"]["mqtt_protocol"] = "MQTT5"
        async with made.bridge():
            await made.state(only(sim)[0], source="push")
            assert (await made.command(only(sim)[0], {"target_temperature": 21}))["verdict"] == "applied"
