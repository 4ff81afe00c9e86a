"""The tests' own broker and listener: what other tests build on has to hold."""

from __future__ import annotations

import asyncio
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiomqtt
import orjson
import pytest
from support import plants
from support.listener import listening
from support.oracle import GRACE, Consumer, Oracle
from support.scene import TURN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from support.mosquitto import Mosquitto

TIMEOUT = 4.0
SHOWN = [(vendor, key) for vendor in plants.VENDORS for key in next(iter(plants.plant(vendor, 1).truth().values()))]


async def test_listener_hears_and_waits(mosquitto: Mosquitto) -> None:
    async with listening(mosquitto, "a/#") as listener:
        await listener.publish_json("a/b", {"n": 1}, retain=True)
        await listener.publish("a/b", "2", qos=0)
        heard = await listener.wait_for("a/+", lambda message: message.text == "2")
        assert (heard.qos, heard.retain) == (0, False)
        assert [message.json for message in listener.all("a/b")] == [{"n": 1}, 2]
        with pytest.raises(AssertionError, match="no such message on nowhere"):
            await listener.wait_for("nowhere", timeout=0.01)
    async with listening(mosquitto) as listener:
        assert (await listener.wait_for("a/b")).retain


@pytest.mark.parametrize("keep", [True, False])
async def test_restart_keeps_retained_messages_only_when_asked(mosquitto: Mosquitto, keep: bool) -> None:
    port = mosquitto.port
    async with listening(mosquitto) as listener:
        await listener.publish("kept", "1", retain=True)
    await mosquitto.restart(keep=keep)
    assert mosquitto.port == port
    async with listening(mosquitto) as listener:
        await listener.publish("end", "")
        await listener.wait_for("end")
        assert (listener.last("kept") is not None) is keep


async def test_stop_ends_connections(mosquitto: Mosquitto) -> None:
    async with listening(mosquitto) as listener:
        await mosquitto.stop()
        with pytest.raises(aiomqtt.MqttError):
            await listener.wait_for("#")
        await mosquitto.start()


async def test_users(start_mosquitto: Callable[..., Awaitable[Mosquitto]]) -> None:
    mosquitto = await start_mosquitto(users={"anna": "geheim"})
    async with listening(mosquitto, username="anna", password="geheim") as listener:
        await listener.publish("a", "1")
        await listener.wait_for("a")
    with pytest.raises(aiomqtt.MqttError):
        async with listening(mosquitto, username="anna", password="falsch"):
            pass


async def test_acl(start_mosquitto: Callable[..., Awaitable[Mosquitto]]) -> None:
    mosquitto = await start_mosquitto(users={"anna": "geheim"}, acl="user anna\ntopic readwrite open/#\n")
    async with listening(mosquitto, username="anna", password="geheim") as listener:
        await listener.publish("shut", "1")
        await listener.publish("open/a", "1")
        await listener.wait_for("open/a")
        assert listener.last("shut") is None


@pytest.mark.parametrize("tls", ["server", "mutual"])
async def test_tls(start_mosquitto: Callable[..., Awaitable[Mosquitto]], tls: str) -> None:
    mosquitto = await start_mosquitto(tls=tls)
    context = ssl.create_default_context(cafile=str(mosquitto.ca_file))
    if mosquitto.client_cert_file:
        context.load_cert_chain(mosquitto.client_cert_file, mosquitto.client_key_file)
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, tls_context=context) as client:
        await client.publish("a", "1", qos=1)


async def test_pause_freezes_and_resume_goes_on(mosquitto: Mosquitto) -> None:
    async with listening(mosquitto) as listener:
        mosquitto.pause()
        publishing = asyncio.create_task(listener.publish("a", "1"))
        done, _ = await asyncio.wait([publishing], timeout=0.1)
        assert not done
        mosquitto.resume()
        await publishing
        await listener.wait_for("a")


async def test_websockets(start_mosquitto: Callable[..., Awaitable[Mosquitto]]) -> None:
    mosquitto = await start_mosquitto(websockets=True)
    assert mosquitto.websocket_port
    client = aiomqtt.Client(mosquitto.host, mosquitto.websocket_port, transport="websockets", websocket_path="/mqtt")
    async with client:
        await client.publish("a", "1", qos=1)


class View:
    """An oracle whose clock the test turns, and a consumer that is told what the test wants it to believe."""

    def __init__(self, vendor: str) -> None:
        self.now = 1000.0
        self.plant = plants.plant(vendor, 2)
        self.consumer = Consumer(SimpleNamespace(host="", port=0))
        self.consumer.connected = True
        self.oracle = Oracle(self.consumer, self.plant, account="home", timeout=TIMEOUT, clock=lambda: self.now)
        for topic in ("bridge/state", "bridge/account/home/availability"):
            self.show(topic, b"online")

    def show(self, topic: str, payload: bytes) -> None:
        self.consumer.topics[f"navibridge/{topic}"] = payload

    def step(self, **stale: Any) -> None:
        """Everything is turned; what is shown then is the truth, rounded as it is published, but for what is stale."""
        self.now += TURN
        self.plant.turn()
        for device, values in self.plant.truth().items():
            digits = self.plant.digits
            rounded = {
                key: round(value, digits[key]) if isinstance(value, float) else value for key, value in values.items()
            }
            first = device == self.plant.devices[0]
            self.show(f"{device}/state", orjson.dumps(rounded | stale if first else rounded))
            self.show(f"{device}/availability", b"online")
        self.oracle.look()


@pytest.mark.parametrize(("vendor", "attribute"), SHOWN)
def test_the_oracle_sees_a_stale_value_of_every_sort(vendor: str, attribute: str) -> None:
    view = View(vendor)
    for _ in range(20):
        view.step()
    assert not view.oracle.lies, "what is true is no lie"
    device = view.plant.devices[0]
    stale = orjson.loads(view.consumer.topics[f"navibridge/{device}/state"])[attribute]
    untrue_since = None
    for _ in range(40):
        view.step(**{attribute: stale})
        if untrue_since is None and view.oracle.untrue(device, view.now):
            untrue_since = view.now
        if view.oracle.lies:
            break
    [lie] = view.oracle.lies
    assert (lie.device, lie.attribute, lie.shown) == (device, attribute, stale)
    assert untrue_since is not None
    assert TIMEOUT + GRACE < lie.at - untrue_since <= TIMEOUT + GRACE + 2 * TURN
    assert view.oracle.untrue(device, view.now) == [attribute]


@pytest.mark.parametrize("vendor", plants.VENDORS)
def test_the_oracle_is_not_deceived_by_what_is_near(vendor: str) -> None:
    view = View(vendor)
    view.step()
    device = view.plant.devices[0]
    for attribute, value in view.plant.truth()[device].items():
        if isinstance(value, float):
            digit = 10.0 ** -(view.plant.digits[attribute] or 0)
            for far, lies in ((0.9, 0), (1.6, 1)):
                view.oracle.lies.clear()
                view.show(f"{device}/state", orjson.dumps({attribute: value + far * digit}))
                view.oracle.look()
                assert len(view.oracle.lies) == lies, (attribute, far)


@pytest.mark.parametrize("vendor", plants.VENDORS)
def test_the_oracle_takes_nothing_unavailable_for_a_lie(vendor: str) -> None:
    view = View(vendor)
    view.step()
    device = view.plant.devices[0]
    view.show(f"{device}/availability", b"offline")
    view.show(f"{device}/state", orjson.dumps({"target_temperature": -1.0}))
    assert device not in view.oracle.look().shown
    assert not view.oracle.lies
    assert view.oracle.untrue(device, view.now) is None
    view.show(f"{device}/availability", b"online")
    assert device in view.oracle.look().shown
    assert [lie.attribute for lie in view.oracle.lies] == ["target_temperature"]
