"""Access rules and the health of a bridge, with a real broker and a real bridge."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from support.house import house
from support.listener import listening
from support.mosquitto import free_port
from support.program import Ended, invoke, started

from navibridge import vendors
from navibridge.broker import LocalBroker, Message
from navibridge.cli.acl import Users, rules
from navibridge.cli.observer import observing
from navibridge.config import Broker
from navibridge.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from support.mosquitto import BrokerKind, Mosquitto
    from support.program import Clouds

DEVICE = "navilink_02005e530001"
PASSWORDS = {"navibridge": "b-secret", "homeassistant": "h-secret", "flows": "f-secret", "viewer": "v-secret"}


async def program(*arguments: str) -> Ended:
    """A command as a process of its own, in the working directory of the test."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "navibridge", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.parametrize("form", ["device", "entity"])
async def test_the_rules_allow_what_is_needed_and_nothing_more(
    form: str, start_mosquitto: Callable[..., Awaitable[Mosquitto]], broker_kind: BrokerKind, tmp_path: Path
) -> None:
    if broker_kind == "embedded":
        pytest.skip("the embedded broker knows no access rules")
    text = rules(Topics(), Users("navibridge"))
    broker = await start_mosquitto(users=PASSWORDS, acl=text)
    simulator = vendors.load("navilink").simulator(1, answer=(0.0, 0.02), control_interval=0.0)

    def client(name: str) -> dict[str, str]:
        return {"username": name, "password": PASSWORDS[name]}

    async with (
        listening(broker, "navibridge/#", "homeassistant/#", **client("homeassistant")) as assistant,
        listening(broker, "navibridge/#", **client("flows")) as flows,
        house(
            broker,
            tmp_path,
            {"home": simulator},
            observer=client("viewer"),
            broker=client("navibridge"),
            discovery={"format": form},
        ) as made,
    ):
        viewer = made.listener
        async with made.bridge():
            await made.state(DEVICE, timeout=15)
            await assistant.wait_for("homeassistant/#", lambda heard: DEVICE in heard.topic)
            since = assistant.mark()
            await assistant.publish("homeassistant/status", "online")
            await assistant.wait_for("homeassistant/#", lambda heard: DEVICE in heard.topic, since=since)
            await viewer.publish(f"navibridge/{DEVICE}/set/target_temperature", "51")
            await viewer.publish(f"navibridge/{DEVICE}/state", "{}", retain=True)
            await flows.publish_json(f"navibridge/{DEVICE}/set", {"target_temperature": 52, "id": "flow"})
            result = await flows.wait_for(f"navibridge/{DEVICE}/result")
            assert (result.json["id"], result.json["verdict"]) == ("flow", "applied"), "the viewer's went nowhere"
            await assistant.publish(f"navibridge/{DEVICE}/set/target_temperature", "50")
            await assistant.wait_for(f"navibridge/{DEVICE}/result", lambda heard: heard.json["id"] is None)
            assert not [heard for heard in viewer.heard if heard.payload == b"{}"]
        await viewer.wait_for("navibridge/bridge/state", lambda heard: heard.text == "offline")
    assert len(simulator.received_controls) == 2


async def test_under_the_rules_nothing_of_an_earlier_run_stays_behind(
    start_mosquitto: Callable[..., Awaitable[Mosquitto]], broker_kind: BrokerKind, tmp_path: Path
) -> None:
    """What an earlier run left is seen, and may be cleared: another format, a device that is gone."""
    if broker_kind == "embedded":
        pytest.skip("the embedded broker knows no access rules")
    broker = await start_mosquitto(users=PASSWORDS, acl=rules(Topics(), Users("navibridge")))
    own = {"username": "navibridge", "password": PASSWORDS["navibridge"]}
    assistant = {"username": "homeassistant", "password": PASSWORDS["homeassistant"]}
    earlier = f"homeassistant/device/navibridge_{DEVICE}/config"
    gone = "navilink_02005e530002"
    for devices, form in ((2, "device"), (1, "entity")):
        simulator = vendors.load("navilink").simulator(devices, answer=(0.0, 0.02))
        async with (
            listening(broker, "navibridge/#", "homeassistant/#", **assistant) as heard,
            house(
                broker,
                tmp_path / form,
                {"home": simulator},
                observer=assistant,
                broker=own,
                discovery={"format": form},
            ) as made,
            made.bridge(),
        ):
            await made.state(DEVICE, timeout=15)
            if form == "device":
                await heard.wait_for(earlier, lambda message: message.payload)
                await made.state(gone, timeout=15)
            else:
                for topic in (earlier, f"navibridge/{gone}/state", f"navibridge/{gone}/availability"):
                    await heard.wait_for(topic, lambda message: not message.payload)
    async with listening(broker, "navibridge/#", "homeassistant/#", **assistant) as late:
        await late.wait_for("navibridge/bridge/state")
        await late.wait_for(f"navibridge/{DEVICE}/state")
        assert not [message.topic for message in late.heard if gone in message.topic or message.topic == earlier]


async def test_under_the_rules_the_command_line_has_the_answers(
    start_mosquitto: Callable[..., Awaitable[Mosquitto]],
    broker_kind: BrokerKind,
    home: Path,
    cloud: Clouds,
    configure: Callable[..., Path],
) -> None:
    """It signs in to the broker as the bridge does, with the same configuration."""
    if broker_kind == "embedded":
        pytest.skip("the embedded broker knows no access rules")
    broker = await start_mosquitto(users=PASSWORDS, acl=rules(Topics(), Users("navibridge")))
    own = {"host": broker.host, "port": broker.port, "username": "navibridge", "password": PASSWORDS["navibridge"]}
    configure(accounts={"home": cloud.account()}, broker=own)
    with started("run", directory=home) as running:
        await asyncio.to_thread(running.wait_for, "account home is online")
        ended = await program("set", DEVICE, "target_temperature=51")
        assert (ended.code, "applied" in ended.out) == (0, True), ended.err
        ended = await program("clean")
        assert (ended.code, ended.err) == (0, "navibridge: nothing to clear\n")
        assert await asyncio.to_thread(running.stop) == 0


def test_rules_follow_the_configuration(configure: Callable[..., Path]) -> None:
    configure(broker={"base_topic": "house/bridge", "username": "me"}, discovery={"prefix": "ha"})
    ended = invoke("acl")
    assert ended.code == 0
    assert "user me\n" in ended.out
    assert "topic readwrite house/bridge/bridge/state\n" in ended.out
    assert "topic readwrite ha/+/+/config\n" in ended.out
    assert invoke("acl", "--flows", "me").code == 2


async def test_more_is_cleared_than_a_broker_hands_out_at_once(
    mosquitto: Mosquitto, configure: Callable[..., Path]
) -> None:
    """Mosquitto has a thousand for one subscriber at a time: with many devices, or with many of others."""
    configure(broker={"host": mosquitto.host, "port": mosquitto.port})
    topics = Topics()
    devices = [f"acme_{number}" for number in range(40)]
    document = (
        b'{"device": {}, "origin": {"name": "navibridge"}, "availability": [{"topic": "navibridge/bridge/state"}]}'
    )
    ours = {topics.bridge_state: b"offline", topics.device_config("navibridge_acme_gone"): document}
    for device in devices:
        ours |= {topics.state(device): b"{}", topics.availability(device): b"offline"}
        ours |= {topics.value(device, f"value_{number}"): b"1" for number in range(40)}
        ours |= {topics.entity_config("sensor", f"navibridge_{device}", str(number)): document for number in range(10)}
    others = [f"homeassistant/sensor/another_{number}/power/config" for number in range(1500)]
    kept = [Message(topic, payload, retain=True) for topic, payload in ours.items()]
    kept += [Message(topic, b"{}", retain=True) for topic in others]
    settings = Broker(host=mosquitto.host, port=mosquitto.port)
    async with LocalBroker(settings, client_id="earlier", will=None).open() as link:
        await link.publish_many(kept)
    ended = await program("clean", "--all", "--yes")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == sorted(ours)
    assert f"{len(ours)} retained messages cleared" in ended.err
    assert "what is listed may not be all" in ended.err, "others have more under the prefix than can be looked through"
    async with listening(mosquitto, "navibridge/#", "homeassistant/device/#") as late:
        await late.publish("navibridge/end", "")
        await late.wait_for("navibridge/end")
        assert [heard.topic for heard in late.heard if heard.retain] == []


async def test_a_bridge_is_seen_behind_more_devices_than_a_broker_hands_out_at_once(mosquitto: Mosquitto) -> None:
    topics, settings = Topics(), Broker(host=mosquitto.host, port=mosquitto.port)
    kept = {topics.bridge_state: b"online", topics.bridge_info: b'{"accounts": {"home": {}}}'}
    kept |= {topics.state(f"acme_{number}"): b"{}" for number in range(1500)}
    async with LocalBroker(settings, client_id="bridge", will=None).open() as link:
        await link.publish_many([Message(topic, payload, retain=True) for topic, payload in kept.items()])
    async with observing(settings, topics) as observer:
        assert observer.echoed
        assert observer.online
        assert observer.info["accounts"] == {"home": {}}


@pytest.mark.parametrize("web", [False, True])
async def test_health_of_a_bridge(
    web: bool, home: Path, cloud: Clouds, mosquitto: Mosquitto, configure: Callable[..., Path]
) -> None:
    configure(
        accounts={"home": cloud.account()},
        broker={"host": mosquitto.host, "port": mosquitto.port},
        web={"enabled": web, "listen": f"127.0.0.1:{free_port()}"},
    )
    ended = await program("health", "--timeout", "0.5")
    assert ended.code == 3, "nothing of a bridge has ever been there"
    with started("run", directory=home) as running:
        await asyncio.to_thread(running.wait_for, "account home is online")
        async with listening(mosquitto, "navibridge/bridge/health") as heard:
            await heard.wait_for("navibridge/bridge/health", lambda found: found.json["healthy"])
        ended = await program("health")
        assert ended.code == 0, ended.err
        assert ended.out.startswith("healthy: ")
        assert await asyncio.to_thread(running.stop) == 0
    ended = await program("health")
    assert ended.code == 1
    assert "offline" in ended.out


async def test_health_of_a_bridge_whose_account_needs_a_person(
    home: Path, cloud: Clouds, mosquitto: Mosquitto, configure: Callable[..., Path]
) -> None:
    configure(
        accounts={"home": cloud.account() | {"password": "not-the-password"}},
        broker={"host": mosquitto.host, "port": mosquitto.port},
    )
    with started("run", directory=home) as running:
        await asyncio.to_thread(running.wait_for, "needs attention")
        async with listening(mosquitto, "navibridge/bridge/health") as heard:
            await heard.wait_for("navibridge/bridge/health", lambda found: not found.json["healthy"])
        ended = await program("health")
        assert ended.code == 1
        assert "Account home needs attention" in ended.out
        assert "not-the-password" not in ended.out
        assert await asyncio.to_thread(running.stop) == 0
