"""When what is published: at a new connection, at a birth, as time passes, and however much there is of it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from support import acme
from support.gadget import gadget
from support.listener import listening
from support.relay import Relay
from support.waiting import until

from navibridge.bridge import Timing
from navibridge.broker import Limits, LocalBroker, Message
from navibridge.errors import LinkError
from navibridge.model import Alert, Confirmed, Gone, Presence, Reading
from navibridge.publisher import KEPT_RESULTS
from navibridge.state import iso

BASE = "navibridge/acme_a1"
CONFIG = "homeassistant/device/navibridge_acme_a1/config"


async def test_the_broker_comes_back_empty(mosquitto, listener, world, tmp_path) -> None:
    for number in range(20):
        world.devices[f"b{number}"] = gadget(f"Room {number}", f"b{number}")
        world.values[f"b{number}"] = {"room": 20.0 + number}
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for("navibridge/acme_b19/state")
        await mosquitto.restart(keep=False)
        async with listening(mosquitto, "#") as late:
            for number in range(20):
                await late.wait_for(f"navibridge/acme_b{number}/state", timeout=10)
                await late.wait_for(f"homeassistant/device/navibridge_acme_b{number}/config")
            assert (await late.wait_for("navibridge/bridge/state")).text == "online"
            assert (await late.wait_for("navibridge/bridge/account/home/availability")).text == "online"
            await late.publish(f"{BASE}/set/lamp", "ON")
            await acme.verdict(late, verdict="applied")


async def test_the_broker_comes_later(mosquitto, world, tmp_path) -> None:
    await mosquitto.stop()
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await until(lambda: world.up)
        await mosquitto.start()
        async with listening(mosquitto, "#") as late:
            await late.wait_for(f"{BASE}/state", timeout=10)


async def test_a_birth_brings_everything_again_and_births_together_count_as_one(
    mosquitto, listener, world, tmp_path
) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for("navibridge/bridge/state", lambda heard: heard.text == "online")
        since = listener.mark()
        for _ in range(3):
            await listener.publish("homeassistant/status", "online", qos=0)
        await listener.publish("homeassistant/status", "offline", qos=0)
        await listener.wait_for(f"{BASE}/availability", since=since, timeout=2)
        order = [message.topic for message in listener.heard[since:]]
        assert order.index(CONFIG) < order.index(f"{BASE}/state") < order.index(f"{BASE}/availability")
        await listener.publish(f"{BASE}/set/lamp", "ON")
        await acme.verdict(listener, verdict="applied")
        assert len(listener.all(CONFIG, since=since)) == 1


async def test_two_bridges_on_one_broker_have_the_same_device_side_by_side(
    mosquitto, listener, world, tmp_path
) -> None:
    other = acme.world("other@example.com")
    same = {"home": {"vendor": "acme", "email": "other@example.com", "password": "long-enough-secret"}}
    cabin = acme.settings(mosquitto.port, accounts=same, broker={"base_topic": "cabin"})
    its_config = "homeassistant/device/navibridge_cabin_acme_a1/config"
    async with (
        acme.running(acme.settings(mosquitto.port), tmp_path / "one"),
        acme.running(cabin, tmp_path / "two"),
    ):
        for base, config in (("navibridge", CONFIG), ("cabin", its_config)):
            await listener.wait_for(f"{base}/acme_a1/state")
            found = await listener.wait_for(config)
            assert found.json["state_topic"] == f"{base}/acme_a1/state"
        other.tell(Gone("a1"))
        await listener.wait_for("cabin/acme_a1/state", lambda heard: heard.payload == b"")
        await listener.wait_for(its_config, lambda heard: heard.payload == b"")
        world.report(room=23.0)
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["room"] == 23.0)
    assert {message.json["state_topic"] for message in listener.all(CONFIG)} == {f"{BASE}/state"}


async def test_topics_of_single_values_go_with_the_option(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port, attribute_topics=True), tmp_path):
        await listener.wait_for(f"{BASE}/value/room", lambda heard: heard.text == "20.0")
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/value/room", lambda heard: heard.payload == b"")
        await listener.wait_for(f"{BASE}/value/temperature_unit", lambda heard: heard.payload == b"")
    async with listening(mosquitto, "navibridge/#") as late:
        await late.wait_for(f"{BASE}/state")
        assert not [message.topic for message in late.heard if "/value/" in message.topic]


async def test_verdicts_that_wait_for_the_broker_are_bounded_and_the_oldest_go_first(
    mosquitto, world, tmp_path
) -> None:
    topic = "navibridge/acme_a1/result"
    async with Relay(lambda: (mosquitto.host, mosquitto.port)) as line:
        await line.close()
        async with acme.running(acme.settings(line.port), tmp_path) as bridge, listening(mosquitto, topic) as listener:
            await until(lambda: world.up)
            for number in range(KEPT_RESULTS + 200):
                bridge._publisher.say(Message(topic, str(number).encode()))
            await line.open()
            await listener.wait_for(topic, lambda heard: heard.text == str(KEPT_RESULTS + 199))
            told = sorted(int(message.text) for message in listener.heard)
    assert told == [*range(200, KEPT_RESULTS + 200)]


async def test_a_device_that_goes_without_a_word_leaves_no_value_of_an_earlier_run(
    mosquitto, listener, world, tmp_path
) -> None:
    configuration = acme.settings(mosquitto.port, attribute_topics=True)
    async with acme.running(configuration, tmp_path):
        await listener.wait_for(f"{BASE}/value/room", lambda heard: heard.text == "20.0")
    world.silent.add("a1")
    since = listener.mark()
    async with acme.running(configuration, tmp_path):
        await listener.wait_for("navibridge/bridge/state", lambda heard: heard.text == "online", since=since)
        world.tell(Gone("a1"))
        await listener.wait_for(f"{BASE}/value/room", lambda heard: heard.payload == b"", since=since)
        await listener.wait_for(CONFIG, lambda heard: heard.payload == b"", since=since)
    async with listening(mosquitto, f"{BASE}/#") as late:
        await late.publish(f"{BASE}/end", "")
        await late.wait_for(f"{BASE}/end")
        assert [message.topic for message in late.heard] == [f"{BASE}/end"]


async def test_a_value_that_was_not_told_for_long_is_unknown_until_it_is_confirmed(
    mosquitto, listener, world, tmp_path
) -> None:
    now, begin, passed = time.time(), time.monotonic(), 0.0
    async with acme.running(
        acme.settings(mosquitto.port, devices={"a1": {"stale_after": 30}}),
        tmp_path,
        clock=lambda: now + passed,
        monotonic=lambda: begin + passed,
    ):
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["room"] == 20.0)
        world.tell(Confirmed("nobody", {"lamp": True}, now))
        passed = 20.0
        world.tell(Reading("a1", {"error": 0}, now + 20, "push"))
        world.tell(Confirmed("a1", {"room": 20.0}, now + 20))
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["error"] == 0)
        passed = 40.0
        state = await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["lamp"] is None)
        assert (state.json["room"], state.json["stale"]) == (20.0, False)
        assert listener.last(f"{BASE}/availability").text == "online"
        since = listener.mark()
        world.tell(Confirmed("a1", {"lamp": False}, now + 39))
        state = await listener.wait_for(f"{BASE}/state", since=since)
        assert state.json["lamp"] is False
        assert state.json["seen_at"] == iso(now + 20), "nobody has heard of it"


async def test_silence_makes_a_device_unavailable_and_a_word_brings_it_back(
    mosquitto, listener, world, tmp_path
) -> None:
    devices = {"a1": {"stale_after": 30}}
    now, begin, passed = time.time(), time.monotonic(), 0.0
    async with acme.running(
        acme.settings(mosquitto.port, devices=devices),
        tmp_path,
        clock=lambda: now + passed,
        monotonic=lambda: begin + passed,
    ):
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online")
        passed = 60.0
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "offline")
        state = await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["stale"])
        assert state.json["problem"] is True
        assert "Device offline" in state.json["problem_text"]
        world.tell(Reading("a1", {"room": 19.0}, now + 60, "push"))
        since = listener.mark()
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online", since=since)
        world.tell(Presence("a1", online=False, reason="the cloud says disconnected"))
        state = await listener.wait_for(f"{BASE}/state", lambda heard: "cloud says" in heard.json["problem_text"])
        assert (listener.last(f"{BASE}/availability") or state).text == "offline"


async def test_a_device_whose_state_can_not_be_said_is_unavailable_and_the_others_go_on(
    mosquitto, listener, world, tmp_path, caplog
) -> None:
    broken = Alert("broken", "room", above=30, explain=lambda values: str(values["room"] / 0))
    async with acme.running(acme.settings(mosquitto.port), tmp_path, timing=Timing(tick=0.02, health=0.2)):
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online")
        world.add(replace(gadget("Hall"), alerts=(broken,)))
        world.report(room=31.0)
        since = listener.mark()
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "offline")
        for _ in range(3):  # a few looks of the ticker
            await listener.wait_for("navibridge/bridge/health", since=listener.mark())
        said = [heard.text for heard in listener.heard[since:] if heard.topic == f"{BASE}/availability"]
        assert said == ["offline"], "once is enough"
        world.add(gadget("Cellar", "b2"))
        await listener.wait_for("navibridge/acme_b2/state", since=since)
        world.report(room=22.0)
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["room"] == 22.0)
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online", since=listener.mark() - 2)
    assert caplog.text.count("unexpected error in its state") == 1


async def test_why_a_link_ended_is_told_with_what_to_do(
    mosquitto, listener, world, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    timing = Timing(broker_limits=Limits(call=1.0))
    async with acme.running(acme.settings(mosquitto.port), tmp_path, timing=timing):
        await listener.wait_for("navibridge/bridge/state", lambda heard: heard.text == "online")
        mosquitto.pause()
        world.report(room=23.0)
        await until(lambda: "did not acknowledge" in caplog.text)
        mosquitto.resume()
    (said,) = [line for line in caplog.messages if "did not acknowledge" in line]
    assert "Look at the broker's log" in said


async def test_what_meets_a_link_that_breaks_is_published_over_the_next(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path) as bridge:
        await listener.wait_for("navibridge/bridge/state", lambda heard: heard.text == "online")
        async with LocalBroker(bridge.config.broker, client_id="other", will=None).open() as link:
            await mosquitto.stop()
            await until(lambda: not bridge.connected)
            with pytest.raises(LinkError):
                await link.publish("navibridge/other", b"")
            bridge.publish_log(b"a warning")
            with pytest.raises(LinkError):
                await bridge._publisher._flush(link)
        await mosquitto.start()
        async with listening(mosquitto, "#") as late:
            assert (await late.wait_for("navibridge/bridge/log", timeout=10)).text == "a warning"


async def test_a_flood_of_commands_loses_no_verdict(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path) as bridge:
        await listener.wait_for(f"{BASE}/state")
        for number in range(2 * KEPT_RESULTS):
            await listener.publish_json(f"{BASE}/set", {"nonsense": 1, "id": number}, qos=0)  # waiting for nobody
        results = f"{BASE}/result"
        await listener.wait_for(results, lambda heard: heard.json["id"] == 2 * KEPT_RESULTS - 1, 20)
    told = [message.json["id"] for message in listener.heard if message.topic == results]
    assert told == [*range(2 * KEPT_RESULTS)]
    assert bridge.metrics.group("verdicts") == {"rejected": 2 * KEPT_RESULTS}
