"""What an earlier run left on the broker is found and tidied up; what others have there stays."""

from __future__ import annotations

from support import acme
from support.gadget import gadget
from support.listener import listening

BASE = "navibridge/acme_a1"


async def test_what_an_earlier_run_left_is_tidied_up(mosquitto, listener, world, tmp_path) -> None:
    world.devices["b2"] = gadget("Attic", "b2")
    world.values["b2"] = {"room": 1.0}
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for("navibridge/acme_b2/state")
    foreign = "homeassistant/sensor/somebody/else/config"
    await listener.publish_json(foreign, {"name": "x", "state_topic": "y"}, retain=True)
    del world.devices["b2"]
    async with acme.running(acme.settings(mosquitto.port, discovery={"format": "entity"}), tmp_path):
        await listener.wait_for("homeassistant/climate/navibridge_acme_a1/climate/config")
        await listener.wait_for("homeassistant/device/navibridge_acme_b2/config", lambda heard: heard.payload == b"")
        await listener.wait_for("navibridge/acme_b2/state", lambda heard: heard.payload == b"")
    async with listening(mosquitto, "#") as late:
        await late.wait_for(foreign)
        await late.wait_for(f"{BASE}/state")
        left = [message.topic for message in late.heard if message.retain]
    assert not [topic for topic in left if "acme_b2" in topic or topic.startswith("homeassistant/device/")]
    async with acme.running(acme.settings(mosquitto.port, discovery={"enabled": False}), tmp_path):
        await listener.wait_for(
            "homeassistant/climate/navibridge_acme_a1/climate/config", lambda heard: heard.payload == b""
        )
    async with listening(mosquitto, "homeassistant/#") as late:
        await late.wait_for(foreign)
        assert [message.topic for message in late.heard] == [foreign]


async def test_what_is_left_is_found_among_more_than_a_broker_hands_out_at_once(
    mosquitto, listener, world, tmp_path
) -> None:
    world.devices["b2"] = gadget("Attic", "b2")
    world.values["b2"] = {"room": 1.0}
    entity = "homeassistant/climate/navibridge_acme_b2/climate/config"
    async with acme.running(acme.settings(mosquitto.port, discovery={"format": "entity"}), tmp_path):
        await listener.wait_for("navibridge/acme_b2/state")
        await listener.wait_for(entity)
    others = {"name": "x", "state_topic": "y", "origin": {"name": "others"}}
    for number in range(1500):
        await listener.publish_json(f"homeassistant/sensor/others_{number}/x/config", others, retain=True, qos=0)
    del world.devices["b2"]
    await listener.publish("navibridge/attic (old)/availability", "online", retain=True)
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for(entity, lambda heard: heard.payload == b"")
        await listener.wait_for("navibridge/attic (old)/availability", lambda heard: heard.payload == b"")
        await listener.wait_for(
            "homeassistant/climate/navibridge_acme_a1/climate/config", lambda heard: heard.payload == b""
        )
