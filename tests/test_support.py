"""The tests' own broker and listener: what other tests build on has to hold."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import aiomqtt
import pytest
from support.listener import listening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from support.mosquitto import BrokerKind, Mosquitto


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


async def test_pause_freezes_and_resume_goes_on(mosquitto: Mosquitto, broker_kind: BrokerKind) -> None:
    if broker_kind == "embedded":
        pytest.skip("the embedded broker can not be paused")
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
