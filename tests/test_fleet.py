"""Which devices there are, whose they are, and what is set for them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from support import acme
from support.gadget import gadget
from support.listener import listening
from support.waiting import until

from navibridge.backoff import Backoff
from navibridge.bridge import Timing
from navibridge.errors import AuthError, LinkError
from navibridge.model import Confirmed, Found, Gone, Presence, Reading
from navibridge.transitions import BURST

if TYPE_CHECKING:
    import pytest

BASE = "navibridge/acme_a1"
CONFIG = "homeassistant/device/navibridge_acme_a1/config"
INFO = "navibridge/bridge/info"
CABIN = {"cabin": {"vendor": "acme", "email": "other@example.com", "password": "long-enough-secret"}}


async def test_devices_come_go_and_change_their_names(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port, attribute_topics=True), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        world.add(gadget("Attic", "b2"))
        await listener.wait_for("navibridge/acme_b2/state")
        await listener.wait_for("navibridge/acme_b2/value/room", lambda heard: heard.text == "20.0")
        world.tell(Found(gadget("Cellar", "a1")))
        await listener.wait_for(CONFIG, lambda heard: heard.json["device"]["name"] == "Cellar")
        world.tell(Gone("b2"))
        for topic in ("state", "availability", "value/room"):
            await listener.wait_for(f"navibridge/acme_b2/{topic}", lambda heard: heard.payload == b"")
        await listener.wait_for("homeassistant/device/navibridge_acme_b2/config", lambda heard: heard.payload == b"")
    async with listening(mosquitto, "#") as late:
        await late.wait_for(f"{BASE}/state")
        assert not [message.topic for message in late.heard if "acme_b2" in message.topic]


async def test_settings_of_a_device(mosquitto, listener, world, tmp_path) -> None:
    world.devices["b2"] = gadget("Attic", "b2")
    world.values["b2"] = {"room": 1.0}
    world.devices["c3"] = gadget("Secret", "c3")
    world.values["c3"] = {"room": 1.0}
    devices = {"a1": {"name": "Boiler room", "topic": "boiler"}, "b2": {"raw": True}, "c3": {"exclude": True}}
    async with acme.running(acme.settings(mosquitto.port, devices=devices), tmp_path):
        await listener.wait_for("navibridge/boiler/state")
        config = await listener.wait_for("homeassistant/device/navibridge_boiler/config")
        assert config.json["device"]["name"] == "Boiler room"
        world.tell(Reading("b2", {"room": 2.0}, time.time(), "push", {"mystery": 7}))
        await listener.wait_for("navibridge/acme_b2/state", lambda heard: heard.json.get("raw") == {"mystery": 7})
        assert not [message for message in listener.heard if "c3" in message.topic]


async def test_a_device_that_can_not_be_shown_does_not_hide_those_after_it(
    mosquitto, listener, world, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path) as bridge:
        await listener.wait_for(f"{BASE}/state")
        for _ in range(2):
            world.tell(Found(gadget("Nobody", "")))
        world.add(gadget("Attic", "b2"))
        await listener.wait_for("navibridge/acme_b2/state")
        assert bridge.accounts["home"].up.is_set()
    assert caplog.text.count("unexpected error at Found") == 1


async def test_a_device_with_the_topic_of_another_one_is_left_out(
    mosquitto, listener, world, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    async with acme.running(acme.settings(mosquitto.port, devices={"b2": {"topic": "acme_a1"}}), tmp_path) as bridge:
        await listener.wait_for(f"{BASE}/state")
        for _ in range(2):
            world.add(gadget("Attic", "b2"))
        world.tell(Reading("b2", {"room": 99.0}, time.time(), "push"))
        world.tell(Gone("b2"))
        world.report(room=23.0)
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["room"] == 23.0)
        assert bridge.cache.get("acme_a1").device.id == "a1"
        assert 99.0 not in [message.json["room"] for message in listener.all(f"{BASE}/state")]
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said == (
        "device b2 is left out: its topic acme_a1 is that of device a1. Set another one in devices.b2.topic"
    )


async def test_a_device_in_two_accounts_passes_to_the_other_when_the_first_loses_it(
    mosquitto, listener, world, tmp_path
) -> None:
    other = acme.world("other@example.com")
    other.devices.clear()
    async with acme.running(acme.settings(mosquitto.port, accounts=CABIN), tmp_path) as bridge:
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online")
        await listener.wait_for("navibridge/bridge/account/cabin/availability", lambda heard: heard.text == "online")
        other.add(gadget())
        other.add(gadget("Attic", "b2"))
        await listener.wait_for("navibridge/acme_b2/state")
        world.tell(Presence("a1", online=False, reason="removed"))
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "offline")
        since = listener.mark()
        world.tell(Gone("a1"))
        account = {"topic": "navibridge/bridge/account/cabin/availability"}
        await listener.wait_for(CONFIG, lambda heard: account in heard.json["availability"], since=since)
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online", since=since)
        assert bridge.cache.get("acme_a1").account == "cabin"
        await listener.publish(f"{BASE}/set/lamp", "ON")
        await acme.verdict(listener, verdict="applied")
        assert (len(world.sent), len(other.sent)) == (0, 1)
        world.add(gadget())
        world.add(gadget("Cellar", "b3"))
        await listener.wait_for("navibridge/acme_b3/state")
        since = listener.mark()
        other.tell(Gone("a1"))
        account = {"topic": "navibridge/bridge/account/home/availability"}
        await listener.wait_for(CONFIG, lambda heard: account in heard.json["availability"], since=since)
        assert not [message for message in listener.heard if "acme_a1" in message.topic and not message.payload]
        world.tell(Gone("a1"))
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.payload == b"")
        await listener.wait_for(CONFIG, lambda heard: heard.payload == b"")


async def test_a_device_in_two_accounts_passes_to_the_other_when_the_first_needs_a_person(
    mosquitto, listener, world, tmp_path
) -> None:
    other = acme.world("other@example.com")
    other.devices.clear()
    async with acme.running(acme.settings(mosquitto.port, accounts=CABIN), tmp_path) as bridge:
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online")
        await until(lambda: other.up)
        other.add(gadget())
        other.add(gadget("Attic", "b2"))
        await listener.wait_for("navibridge/acme_b2/state")
        assert bridge.cache.get("acme_a1").account == "home"
        world.error = AuthError("the password is wrong", reason="wrong_password", what_to_do="Mend it.")
        world.cut()
        account = {"topic": "navibridge/bridge/account/cabin/availability"}
        await listener.wait_for(CONFIG, lambda heard: account in heard.json["availability"])
        await listener.publish(f"{BASE}/set/lamp", "ON")
        await acme.verdict(listener, verdict="applied")
        assert (len(world.sent), len(other.sent)) == (0, 1)


async def test_a_device_in_two_accounts_passes_to_the_other_when_the_first_stays_away(
    mosquitto, listener, world, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    other = acme.world("other@example.com")
    other.devices.clear()
    quick = Timing(tick=0.02, account_grace=0.3)
    async with acme.running(acme.settings(mosquitto.port, accounts=CABIN), tmp_path, timing=quick) as bridge:
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online")
        await until(lambda: other.up)
        other.add(gadget())
        other.add(gadget("Attic", "b2"))
        await listener.wait_for("navibridge/acme_b2/state")
        world.error = LinkError("nobody there", reason="refused")
        world.cut()
        await until(lambda: not world.up)
        assert bridge.cache.get("acme_a1").account == "home", "it may be back in a moment"
        other.tell(Reading("a1", {"speed": "fast"}, time.time(), "push"))
        account = {"topic": "navibridge/bridge/account/cabin/availability"}
        await listener.wait_for(CONFIG, lambda heard: account in heard.json["availability"])
        await listener.publish(f"{BASE}/set/lamp", "ON")
        await acme.verdict(listener, verdict="applied")
        assert (len(world.sent), len(other.sent)) == (0, 1)
        other.tell(Confirmed("a1", {"speed": "fast"}, time.time()))
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["speed"] == "fast")
    passed = [record.getMessage() for record in caplog.records if "goes on with account" in record.getMessage()]
    assert passed == ["acme_a1 goes on with account cabin, since account home is away"]


async def test_accounts_that_take_turns_in_being_away_do_not_fill_the_log(
    mosquitto, listener, world, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    worlds = {"home": world, "cabin": acme.world("other@example.com")}
    worlds["cabin"].devices.clear()
    quick = Timing(tick=0.02, account_grace=0.05, account_retry=Backoff(first_wait=0.05, longest_wait=0.05))
    async with acme.running(acme.settings(mosquitto.port, accounts=CABIN), tmp_path, timing=quick) as bridge:
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online")
        await until(lambda: worlds["cabin"].up)
        worlds["cabin"].add(gadget())
        await until(lambda: "leaves it alone" in caplog.text)
        for away, there in [("home", "cabin"), ("cabin", "home")] * 5:
            worlds[away].error = LinkError("nobody there", reason="refused")
            worlds[away].cut()
            await until(lambda there=there: bridge.cache.get("acme_a1").account == there)
            worlds[away].error = None
            await until(bridge.accounts[away].up.is_set)
    passed = [record.getMessage() for record in caplog.records if "goes on with account" in record.getMessage()]
    assert len(passed) == BURST, "ten times it did"
    assert "once in two hours" in passed[-1]


async def test_an_account_that_comes_back_does_not_take_a_device_away_again(
    mosquitto, listener, world, tmp_path
) -> None:
    other = acme.world("other@example.com")
    other.devices.clear()
    async with acme.running(acme.settings(mosquitto.port, accounts=CABIN), tmp_path) as bridge:
        await listener.wait_for(f"{BASE}/availability", lambda heard: heard.text == "online")
        await until(lambda: other.up)
        world.error = LinkError("no route to Acme", reason="unreachable")
        world.cut()
        await until(lambda: not bridge.accounts["home"].up.is_set())
        await listener.publish_json(f"{BASE}/set", {"lamp": True, "ttl": 60, "id": "early"})
        await listener.wait_for(f"{BASE}/set")
        other.add(gadget())
        account = {"topic": "navibridge/bridge/account/cabin/availability"}
        await listener.wait_for(CONFIG, lambda heard: account in heard.json["availability"])
        assert (await acme.verdict(listener, id="early"))["verdict"] == "applied", "it goes where the device is by now"
        assert (len(world.sent), len(other.sent)) == (0, 1)
        world.error = None
        await until(bridge.accounts["home"].up.is_set)
        world.report(room=99.0)
        world.tell(Gone("a1"))
        other.report(room=23.0)
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["room"] == 23.0)
        world.add(gadget("Attic", "b2"))
        await listener.wait_for("navibridge/acme_b2/state")
        heard = [message for message in listener.heard if message.topic in (CONFIG, f"{BASE}/state")]
        assert all(message.payload for message in heard)
        assert 99.0 not in [message.json.get("room") for message in heard]


async def test_energy_goes_on_after_a_restart(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(f"{BASE}/state")
        world.tell(Reading("a1", {"power": 3.6e9}, time.time(), "push"))
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["power"] == 3.6e9)
        world.tell(Reading("a1", {"power": 0}, time.time(), "push"))
        state = await listener.wait_for(f"{BASE}/state", lambda heard: (heard.json["energy"] or 0) > 0)
    kept = state.json["energy"]
    since = listener.mark()
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        state = await listener.wait_for(f"{BASE}/state", since=since)
        assert state.json["energy"] == kept


async def test_energy_goes_on_when_a_device_is_listed_again(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path) as bridge:
        await listener.wait_for(f"{BASE}/state")
        world.tell(Reading("a1", {"power": 3.6e9}, time.time(), "push"))
        await listener.wait_for(f"{BASE}/state", lambda heard: heard.json["power"] == 3.6e9)
        world.tell(Reading("a1", {"power": 0}, time.time(), "push"))
        state = await listener.wait_for(f"{BASE}/state", lambda heard: (heard.json["energy"] or 0) > 0)
        world.tell(Gone("a1"))
        await until(lambda: bridge.cache.get("acme_a1") is None)
        since = listener.mark()
        world.add(gadget())
        again = await listener.wait_for(f"{BASE}/state", lambda heard: heard.payload, since=since)
        assert again.json["energy"] == state.json["energy"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "navibridge.fleet"]


async def test_settings_for_devices_that_there_are_not_are_told_once_with_the_nearest_id(
    mosquitto, listener, world, tmp_path, caplog
) -> None:
    caplog.set_level(logging.WARNING)
    world.devices = {name: gadget(name, name) for name in ("04786332fca0", "04786332fca1", "c3")}
    world.values = {name: {"room": 20.0} for name in world.devices}
    devices: dict[str, Any] = {
        "0478:6332:fca1": {"raw": True},
        "04786332fcaO": {"name": "Attic"},
        "acme_c3": {"exclude": True},
        "0000": {"exclude": True},
    }
    async with acme.running(acme.settings(mosquitto.port, devices=devices), tmp_path) as bridge:
        info = await listener.wait_for(INFO, lambda heard: heard.json["unmatched_devices"])
        assert info.json["unmatched_devices"] == ["04786332fcao", "0000"]
        advice = "Correct it or take it out of the configuration; `navibridge devices` lists the ids"
        assert warnings(caplog) == [
            f"devices.04786332fcao is about no device of the accounts (did you mean '04786332fca0'?). {advice}",
            f"devices.0000 is about no device of the accounts (without a section are: 04786332fca0). {advice}",
        ]
        world.cut()
        reconnected = bridge.accounts["home"].reconnects + 1
        since = listener.mark()
        state = "navibridge/bridge/account/home/state"
        await listener.wait_for(state, lambda heard: heard.json["state"] == "online", since=since)
        assert bridge.accounts["home"].reconnects == reconnected
        assert len(warnings(caplog)) == 2
        world.add(gadget("Late", "0000"))
        await listener.wait_for(INFO, lambda heard: heard.json["unmatched_devices"] == ["04786332fcao"], since=since)


async def test_nothing_is_unmatched_while_an_account_has_not_said_what_it_has(
    mosquitto, listener, world, tmp_path, caplog
) -> None:
    caplog.set_level(logging.WARNING)
    other = acme.world("other@example.com")
    other.error = LinkError("no route to Acme", reason="unreachable")
    other.devices = {"b2": gadget("Attic", "b2")}
    settings = acme.settings(mosquitto.port, accounts=CABIN, devices={"b2": {"name": "Loft"}, "c3": {}})
    async with acme.running(settings, tmp_path):
        await listener.wait_for("navibridge/acme_a1/state")
        await listener.wait_for(INFO, lambda heard: "acme_a1" in heard.json["devices"])
        assert not warnings(caplog)
        other.error = None
        await listener.wait_for(INFO, lambda heard: heard.json["unmatched_devices"] == ["c3"])
        assert len(warnings(caplog)) == 1
    assert listener.all(INFO)[0].json["unmatched_devices"] == []
