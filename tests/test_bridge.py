"""The bridge between a vendor that does what the test says and a real broker: everything a local consumer sees."""

from __future__ import annotations

import asyncio
import math
import time
from itertools import pairwise

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support import acme
from support.listener import listening
from support.relay import Relay
from support.waiting import until

from navibridge.errors import AuthError, LinkError
from navibridge.model import Gone, LinkUp, ReadOnly
from navibridge.store import Store

BASE = "navibridge/acme_a1"
CONFIG = "homeassistant/device/navibridge_acme_a1/config"
CABIN = {"cabin": {"vendor": "acme", "email": "other@example.com", "password": "long-enough-secret"}}


async def test_from_start_to_first_state(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        state = await listener.wait_for(f"{BASE}/state")
        await listener.wait_for("navibridge/bridge/state")
        order = list(dict.fromkeys(message.topic for message in listener.heard))
    assert state.json["room"] == 20.0
    assert state.json["source"] == "push"
    assert state.json["problem"] is False
    wanted = [
        "navibridge/bridge/account/home/availability",
        "homeassistant/device/navibridge_bridge/config",
        CONFIG,
        f"{BASE}/state",
        f"{BASE}/availability",
        "navibridge/bridge/state",
    ]
    assert [topic for topic in order if topic in wanted] == wanted
    async with listening(mosquitto, "#") as late:
        for topic in wanted[1:]:
            assert (await late.wait_for(topic)).retain, topic
        assert (await late.wait_for("navibridge/bridge/state")).text == "offline", "a regular stop says so"
        account = (await late.wait_for("navibridge/bridge/account/home/state")).json
        assert (account["state"], account["reason"]) == ("offline", "stopped")
        info = (await late.wait_for("navibridge/bridge/info")).json
        assert info["devices"]["acme_a1"]["name"] == "Hall"
        assert "owner@example.com" not in str(info)
        assert (await late.wait_for("navibridge/bridge/health")).json["verdicts"]["applied"] == 0


async def test_accounts_are_left_alone_for_a_while_when_it_is_started_again_and_again(
    mosquitto, listener, world, tmp_path
) -> None:
    killed = [time.time() - seconds for seconds in (50, 40, 30, 20, 10)]
    Store(tmp_path).save("starts", {"unfinished": killed})
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        first = await listener.wait_for("navibridge/bridge/account/home/state")
        began = time.monotonic()
        assert (first.json["state"], first.json["reason"]) == ("offline", "restarts")
        await listener.wait_for(f"{BASE}/state")
        assert time.monotonic() - began > 1, "at the sixth start 4 s are waited, or half of them"


async def test_a_clock_that_is_set_after_the_start_does_not_make_the_bridge_older(
    mosquitto, listener, world, tmp_path
) -> None:
    ahead = -86_400.0
    async with acme.running(acme.settings(mosquitto.port), tmp_path, clock=lambda: time.time() + ahead) as bridge:
        info = await listener.wait_for("navibridge/bridge/info")
        ahead = 0.0
        await listener.wait_for(
            "navibridge/bridge/info", lambda heard: heard.json["started_at"] > info.json["started_at"]
        )
        assert 0 <= bridge.health()["uptime_s"] < 3600


async def test_a_command_is_applied_and_shown(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        await listener.publish(f"{BASE}/set/target", "22.3")
        result = await acme.verdict(listener, verdict="applied")
        assert result["changes"] == {"target": 22.5}
        assert result["values"] == {"target": 22.5}
        assert result["event_type"] == "applied"
        assert result["took_ms"] >= 0
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["target"] == 22.5)
        await listener.publish_json(f"{BASE}/set", {"target": 24, "light": "ON", "id": "both"})
        result = await acme.verdict(listener, id="both")
        assert result["verdict"] == "applied"
        assert result["values"] == {"target": 24.0, "lamp": True}
        await listener.publish(f"{BASE}/set/reset", "PRESS")
        await acme.verdict(listener, verdict="applied", changes={"reset": True})
    assert [changes for _, _, changes in world.sent] == [
        {"target": 22.5},
        {"target": 24.0},
        {"lamp": True},
        {"reset": True},
    ]


BAD = [
    ("set/target", b"warm", "invalid_value", "'warm' is not a number; allowed is 10 to 30 °C in steps of 0.5"),
    ("set/target", b"NaN", "invalid_value", "not a number"),
    ("set/target", b"1e400", "invalid_value", "not a number"),
    ("set/target", b"300", "out_of_range", "300' is outside 10 to 30 °C"),
    ("set/target", b"21 F", "invalid_value", "not a number"),
    ("set/target", b"", "invalid_value", "not a number"),
    ("set/target", b"\xff\xfe", "invalid_encoding", "not UTF-8"),
    ("set/target", b'{"value": 21}', "invalid_value", "plain value"),
    ("set/speed", b"warp", "unknown_option", "slow, fast"),
    ("set/lamp", b"maybe", "invalid_value", "neither on nor off"),
    ("set/room", b"20", "read_only", "can not be written"),
    ("set/nonsense", b"1", "unknown_attribute", "writable are"),
    ("set", b'{"target": 21', "invalid_json", "not JSON"),
    ("set", b'{"target": NaN}', "invalid_json", "not JSON"),
    ("set", b'{"target": 1e400}', "", ""),
    ("set", b'{"target": [21]}', "invalid_value", "not a number"),
    ("set", b'{"target": null}', "invalid_value", "not a number"),
    ("set", b'{"target": true}', "invalid_value", "not a number"),
    ("set", b'{"target": 21, "nonsense": 1}', "unknown_attribute", "'nonsense'"),
    ("set", b'{"lamp": "maybe", "speed": "warp"}', "invalid_value", "speed"),
    ("set", b"21", "invalid_json", "JSON object"),
    ("set", b"[]", "invalid_json", "JSON object"),
    ("set", b"{}", "invalid_json", "no change"),
    ("set", b'{"target": 21, "ttl": -1}', "invalid_value", "ttl"),
    ("set", b"x" * 5000, "too_large", "5000 bytes"),
    ("set", b"x" * 10_000_000, "too_large", "10000000 bytes"),
]


async def test_bad_commands_are_rejected_with_a_reason_and_nothing_is_sent(
    mosquitto, listener, world, tmp_path
) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        for topic, payload, code, words in BAD:
            since = listener.mark()
            await listener.publish(f"{BASE}/{topic}", payload)
            result = await acme.verdict(listener, since=since)
            assert result["verdict"] == "rejected", (topic, payload[:40])
            assert words in result["reason"], (topic, payload[:40], result)
            assert not code or result["code"] == code, (topic, payload[:40], result)
            await listener.wait_for(f"{BASE}/state", since=since)  # the truth again, so that a slider jumps back
        await listener.publish("navibridge/acme_b2/set/target", "21")
        result = await acme.verdict(listener, device="acme_b2")
        assert (result["verdict"], result["code"]) == ("rejected", "unknown_device")
        assert "acme_a1" in result["reason"]
        await listener.publish(f"{BASE}/set/target", "21")
        await acme.verdict(listener, verdict="applied")
    assert len(world.sent) == 1


async def test_a_retained_command_is_refused_and_cleared(mosquitto, listener, world, tmp_path) -> None:
    await listener.publish(f"{BASE}/set/target", "28", retain=True)
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        result = await acme.verdict(listener, verdict="rejected")
        assert result["code"] == "retained"
        await listener.wait_for(f"{BASE}/set/target", lambda heard: heard.payload == b"")
        await listener.publish(f"{BASE}/set/target", "21")
        await acme.verdict(listener, verdict="applied")
    assert [changes for _, _, changes in world.sent] == [{"target": 21.0}]
    assert len(listener.all(f"{BASE}/result")) == 2


async def test_every_other_verdict(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port, commands={"queue": 2, "spacing": 0.3}), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        world.answer = "refuse"
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "id": "refused"})
        result = await acme.verdict(listener, id="refused")
        assert (result["verdict"], result["code"]) == ("refused", "stubborn")
        world.answer = "crash"
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "id": "crash"})
        assert (await acme.verdict(listener, id="crash"))["verdict"] == "unconfirmed"
        world.answer = "silence"
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "id": "silent"})
        await until(lambda: len(world.sent) == 3)
        for number, changes in enumerate(({"target": 20}, {"target": 21}, {"speed": "fast"}, {"counter": 1})):
            await listener.publish_json(f"{BASE}/set", {**changes, "id": number})
        result = await acme.verdict(listener, id=0)
        assert (result["verdict"], "newer command" in result["reason"]) == ("superseded", True)
        result = await acme.verdict(listener, id=3)
        assert (result["verdict"], result["code"]) == ("rejected", "queue_full")
        result = await acme.verdict(listener, id="silent")
        assert (result["verdict"], result["code"]) == ("unconfirmed", "no_answer")
        world.answer = "apply"
        assert (await acme.verdict(listener, id=1))["verdict"] == "applied"
        assert (await acme.verdict(listener, id=2))["verdict"] == "applied"
    times = [at for at, _, _ in world.sent]
    assert all(later - earlier >= 0.29 for earlier, later in pairwise(times)), "spaced"


async def test_a_command_waits_for_the_cloud_but_not_for_ever(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        world.error = LinkError("no route to Acme", reason="unreachable", what_to_do="Wait.")
        world.cut()
        await listener.wait_for(
            "navibridge/bridge/account/home/state", lambda heard: heard.json["state"] == "offline", since=1
        )
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "ttl": 1, "id": "late"})
        result = await acme.verdict(listener, id="late")
        assert result["verdict"] == "expired"
        assert "account is offline" in result["reason"]
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "ttl": 30, "id": "patient"})
        world.error = None
        result = await acme.verdict(listener, id="patient")
        assert result["verdict"] == "applied"
        state = await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["lamp"] is True)
        assert state.json["stale"] is False
    assert world.links == 2
    assert len(world.sent) == 1


async def test_an_account_that_can_only_be_read_shows_values_and_takes_no_commands(
    mosquitto, listener, world, tmp_path
) -> None:
    state_topic = "navibridge/bridge/account/home/state"
    async with acme.running(acme.settings(mosquitto.port), tmp_path) as bridge:
        await listener.wait_for(f"{BASE}/state")
        world.tell(ReadOnly("no_realtime", "Acme lets nobody in by the back door.", "Wait."))
        said = await listener.wait_for(state_topic, lambda heard: heard.json["reason"] == "no_realtime")
        assert (said.json["state"], said.json["what_to_do"]) == ("online", "Wait.")
        assert bridge.health()["problem_text"] == "Account home is online: Acme lets nobody in by the back door."
        world.report(room=23.0)
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["room"] == 23.0)
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "ttl": 1, "id": "late"})
        result = await acme.verdict(listener, id="late")
        assert result["verdict"] == "expired"
        assert "back door" in result["reason"]
        assert not world.sent
        world.tell(LinkUp())
        await listener.wait_for(state_topic, lambda heard: heard.json["reason"] == "", since=listener.mark() - 1)
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "id": "now"})
        assert (await acme.verdict(listener, id="now"))["verdict"] == "applied"
        assert listener.last("navibridge/bridge/account/home/availability").text == "online"


async def test_a_command_whose_device_goes_while_it_waits_is_not_left_waiting(
    mosquitto, listener, world, tmp_path
) -> None:
    world.answer = "silence"
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "id": "sent"})
        await until(lambda: world.sent)
        await listener.publish_json(f"{BASE}/set", {"target": 21, "ttl": 60, "id": "waiting"})
        await listener.publish(f"{BASE}/get", "")
        await until(lambda: world.asked)  # so that both have been taken in
        world.tell(Gone("a1"))
        result = await acme.verdict(listener, id="waiting")
        assert (result["verdict"], result["code"]) == ("expired", "unavailable")
    assert len(world.sent) == 1


async def test_a_stop_leaves_no_command_without_its_verdict(mosquitto, listener, world, tmp_path) -> None:
    world.answer = "silence"
    async with acme.running(acme.settings(mosquitto.port, commands={"timeout": 60}), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "id": "sent"})
        await listener.publish_json(f"{BASE}/set", {"target": 21, "id": "waiting"})
        await until(lambda: world.sent)
        await listener.publish(f"{BASE}/get", "")
        await listener.wait_for(f"{BASE}/state", since=listener.mark())  # so that both have been taken in
    assert (await acme.verdict(listener, id="sent"))["verdict"] == "unconfirmed"
    assert (await acme.verdict(listener, id="waiting"))["verdict"] == "expired"
    assert (await listener.wait_for("navibridge/bridge/state", lambda heard: heard.text == "offline")) is not None


async def test_an_mqtt5_sender_gets_its_own_answer(mosquitto, listener, world, tmp_path) -> None:
    mosquitto.needs_mqtt5()
    async with acme.running(acme.settings(mosquitto.port, broker={"protocol": "5"}), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = "flow/answer"
        properties.CorrelationData = b"42"
        async with aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=aiomqtt.ProtocolVersion.V5) as sender:
            await sender.subscribe("flow/answer")
            await sender.publish(f"{BASE}/set/lamp", "ON", qos=1, properties=properties)
            async with asyncio.timeout(5):
                answer = await anext(aiter(sender.messages))
        assert answer.properties.CorrelationData == b"42"
        assert b'"applied"' in answer.payload


async def test_two_accounts_one_with_a_wrong_password(mosquitto, listener, world, tmp_path) -> None:
    other = acme.world("other@example.com")
    other.error = AuthError(
        "the password is wrong", reason="wrong_password", what_to_do="Mend accounts.cabin.password."
    )
    async with acme.running(acme.settings(mosquitto.port, accounts=CABIN), tmp_path):
        state = await listener.wait_for(
            "navibridge/bridge/account/cabin/state", lambda heard: heard.json["state"] == "needs_attention"
        )
        assert state.json["reason"] == "wrong_password"
        assert state.json["what_to_do"] == "Mend accounts.cabin.password."
        await listener.wait_for("navibridge/bridge/account/cabin/availability", lambda heard: heard.text == "offline")
        await listener.publish(f"{BASE}/set/lamp", "ON")
        await acme.verdict(listener, verdict="applied")
        health = await listener.wait_for(
            "navibridge/bridge/health", lambda heard: "cabin" in heard.json["problem_text"]
        )
        assert health.json["problem"] is True
    assert other.links == 0


async def test_a_defect_in_a_vendor_is_not_the_end(mosquitto, listener, world, tmp_path, caplog) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        world.tell(ZeroDivisionError("oops"))
        state = await listener.wait_for(
            "navibridge/bridge/account/home/state", lambda heard: heard.json["reason"] == "internal"
        )
        assert state.json["state"] == "offline"
        since = listener.mark()
        await listener.wait_for(
            "navibridge/bridge/account/home/state", lambda heard: heard.json["state"] == "online", since=since
        )
    assert "unexpected error" in caplog.text


async def test_an_account_refused_in_the_middle_of_a_command_is_not_the_end(
    mosquitto, listener, world, tmp_path
) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        world.answer = "locked out"
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "id": "late"})
        result = await acme.verdict(listener, id="late")
        assert (result["verdict"], result["code"]) == ("refused", "account_refused")
        world.answer = "apply"
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "id": "again"})
        assert (await acme.verdict(listener, id="again"))["verdict"] == "applied"


async def test_a_shorter_time_to_live_is_over_first_while_a_longer_one_waits(
    mosquitto, listener, world, tmp_path
) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        world.error = LinkError("no route to Acme", reason="unreachable")
        world.cut()
        await listener.wait_for(
            "navibridge/bridge/account/home/state", lambda heard: heard.json["state"] == "offline", since=1
        )
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "ttl": 30, "id": "long"})
        await listener.publish_json(f"{BASE}/set", {"target": 20, "ttl": 1, "id": "short"})
        result = await acme.verdict(listener, id="short")
        assert (result["verdict"], result["code"]) == ("expired", "expired")


async def test_in_fahrenheit(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port, temperature_unit="F"), tmp_path):
        state = await listener.wait_for(f"{BASE}/state")
        assert (state.json["room"], state.json["temperature_unit"]) == (68.0, "F")
        climate = (await listener.wait_for(CONFIG)).json["components"]["climate"]
        assert (climate["temperature_unit"], climate["min_temp"], climate["max_temp"]) == ("F", 50, 86)
        await listener.publish(f"{BASE}/set/target", "70.0")
        result = await acme.verdict(listener, verdict="applied")
        assert result["values"] == {"target": 69.8}
    assert math.isclose(world.values["a1"]["target"], 21.0)


async def test_asking_a_device(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        await listener.publish(f"{BASE}/get", "")
        await listener.wait_for(f"{BASE}/state", since=listener.mark())
        assert world.asked == ["a1"]


@pytest.mark.parametrize("moments", [0, 1, 2, 3, 4, 5, 8])
async def test_it_stops_in_the_moment_in_which_its_broker_goes(mosquitto, world, tmp_path, moments: int) -> None:
    """As everything does when a machine is shut down; the words of a broken link must not be taken for more."""
    async with Relay(lambda: (mosquitto.host, mosquitto.port)) as line:
        async with acme.running(acme.settings(line.port), tmp_path) as bridge:
            await until(lambda: bridge.connected and world.up)
            line.cut()
            for _ in range(moments):
                await asyncio.sleep(0)
        assert not bridge.connected
