"""The simulated clouds' front, asked by plain HTTP and WebSocket clients that know nothing of navibridge."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from support.postbox import HOST, SECRET_KEY, TOKEN, Postbox

from navibridge import sigv4
from navibridge.demo.broker import AWS, Connack, Connect, Decoder, Packet, Publish, Signal, Suback, Subscribe, encode
from navibridge.demo.broker import Kind as PacketKind
from navibridge.demo.cloud import Faults, SimulatedCloud
from navibridge.simulation import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WITHIN = 10.0


@pytest.fixture
def box() -> Postbox:
    return Postbox()


@pytest.fixture
async def cloud(box: Postbox) -> AsyncIterator[SimulatedCloud]:
    async with SimulatedCloud([box]) as cloud:
        yield cloud


@pytest.fixture
async def http(cloud: SimulatedCloud) -> AsyncIterator[aiohttp.ClientSession]:
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=cloud.ca_file))
    async with aiohttp.ClientSession(f"https://localhost:{cloud.port}", connector=trust) as session:
        yield session


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110 - the cloud sets no event for a test
            await asyncio.sleep(0.01)


class Client:
    """An MQTT client that says what it is told to."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, *packets: Packet) -> None:
        await self.socket.send_bytes(b"".join(map(encode, packets)))

    async def hear(self) -> Packet:
        """The next message, which has to be exactly one packet."""
        message = await self.socket.receive(WITHIN)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        [packet] = Decoder(1_000_000).feed(message.data)
        return packet

    async def closed(self) -> int | None:
        """That the cloud parts without another word; the close code as the client sees it."""
        message = await self.socket.receive(WITHIN)
        assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR}, message
        return self.socket.close_code


def query(cloud: SimulatedCloud, host: str = "", **changes: Any) -> str:
    keys = {
        "access_key": "ASIAPOSTBOX",
        "secret_key": SECRET_KEY,
        "session_token": TOKEN,
        "region": "us-east-1",
        "now": time.time(),
    }
    return sigv4.presign(host or f"localhost:{cloud.port}", **(keys | changes)).partition("?")[2]


async def upgraded(cloud: SimulatedCloud, http: aiohttp.ClientSession, signed: str = "", **options: Any) -> Client:
    from yarl import URL  # noqa: PLC0415 - to keep the escapes of the query as they are signed

    url = URL(f"https://localhost:{cloud.port}/mqtt?{signed or query(cloud)}", encoded=True)
    return Client(await http.ws_connect(url, **({"protocols": ("mqtt",)} | options)))


async def connected(cloud: SimulatedCloud, http: aiohttp.ClientSession, client_id: str = "me") -> Client:
    client = await upgraded(cloud, http)
    await client.say(Connect(client_id))
    assert await client.hear() == Connack(session_present=False, code=0)
    return client


async def refused(cloud: SimulatedCloud, http: aiohttp.ClientSession, signed: str = "", **options: Any) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        await upgraded(cloud, http, signed, **options)
    return raised.value.status


# REST.


async def test_a_request_reaches_its_simulator_and_the_answer_comes_back(
    cloud: SimulatedCloud, http: aiohttp.ClientSession, box: Postbox
) -> None:
    box.reply = Reply({"temperature": 51.5}, status=201, headers={"X-Amzn-ErrorType": "none"})
    async with http.post("/post/it?a=1&b=%40", data=b"\x00body", headers={"X-Amz-Target": "Some.Thing"}) as answer:
        assert (answer.status, answer.headers["X-Amzn-ErrorType"]) == (201, "none")
        assert answer.content_type == "application/json"
        assert await answer.json() == {"temperature": 51.5}
    [asked] = box.asked
    assert (asked.method, asked.host, asked.path, asked.query) == (
        "POST",
        "localhost",
        "/post/it",
        {"a": "1", "b": "@"},
    )
    assert (asked.headers["x-amz-target"], asked.body) == ("Some.Thing", b"\x00body")
    assert cloud.counts.rest == 1


@pytest.mark.parametrize(
    ("reply", "body", "content_type"),
    [
        (Reply(b'{"cut'), b'{"cut', "application/json"),
        (Reply("text"), b'"text"', "application/json"),
        (Reply(None), b"null", "application/json"),
        (Reply({"a": 1}, content_type="application/x-amz-json-1.1"), b'{"a":1}', "application/x-amz-json-1.1"),
        (Reply("<html>", content_type="text/html"), b"<html>", "text/html"),
    ],
)
async def test_bodies(http: aiohttp.ClientSession, box: Postbox, reply: Reply, body: bytes, content_type: str) -> None:
    box.reply = reply
    async with http.get("/post") as answer:
        assert await answer.read() == body
        assert answer.content_type == content_type


async def test_a_vendor_is_found_by_its_host_else_by_what_it_serves(box: Postbox) -> None:
    other = Postbox("other")
    other.hosts = frozenset({"other.example"})
    async with SimulatedCloud([other, box]) as cloud:
        trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=cloud.ca_file))
        async with aiohttp.ClientSession(f"https://127.0.0.1:{cloud.port}", connector=trust) as http:
            for host, status, asked in (
                (HOST, 200, (0, 1)),
                (f"{HOST}:443", 200, (0, 2)),
                ("OTHER.example", 200, (1, 2)),
                ("elsewhere.example", 200, (2, 2)),
            ):
                async with http.get("/post", headers={"Host": host}) as answer:
                    assert answer.status == status
                assert (len(other.asked), len(box.asked)) == asked
            async with http.get("/unknown") as answer:
                assert answer.status == 404


async def test_rest_faults(cloud: SimulatedCloud, http: aiohttp.ClientSession, box: Postbox) -> None:
    cloud.faults.rest_status = 504
    async with http.get("/post") as answer:
        assert (answer.status, answer.content_type) == (504, "text/html")
    cloud.faults = Faults(rest_delay=0.1, clock_offset=3600)
    box.reply = Reply({}, delay=0.1)
    started = time.monotonic()
    async with http.get("/post") as answer:
        assert time.monotonic() - started >= 0.2
        ahead = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()
    assert 3590 < ahead < 3610


# The upgrade.


async def test_a_signed_upgrade(cloud: SimulatedCloud, http: aiohttp.ClientSession) -> None:
    client = await upgraded(cloud, http, compress=15)
    assert client.socket.protocol == "mqtt"
    assert not client.socket.compress, "the extension is declined"
    await client.socket.close()
    assert (cloud.counts.upgrades, cloud.counts.refused) == (1, {})
    without_port = await upgraded(cloud, http, query(cloud, "localhost", expires=60), headers={"Host": "localhost"})
    await without_port.socket.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"access_key": "ASIAOTHER"}, "unknown_key"),
        ({"secret_key": "other"}, "signature"),
        ({"session_token": "other"}, "token"),
        ({"host": "other.example"}, "signature"),
        ({"path": "/other"}, "signature"),
        ({"now": time.time() - 3600}, "date"),
        ({"now": time.time() + 3600}, "date"),
    ],
)
async def test_a_wrongly_signed_upgrade_is_refused_without_explanation(
    cloud: SimulatedCloud, http: aiohttp.ClientSession, changes: dict[str, Any], reason: str
) -> None:
    assert await refused(cloud, http, query(cloud, **changes)) == 403
    assert cloud.counts.refused == {reason: 1}
    assert cloud.counts.upgrades == 0


async def test_other_refusals(cloud: SimulatedCloud, http: aiohttp.ClientSession, box: Postbox) -> None:
    assert await refused(cloud, http, "unsigned=1") == 403
    assert await refused(cloud, http, protocols=()) == 426
    assert await refused(cloud, http, protocols=("mqttv3.1",)) == 426
    box.expires_at = time.time() - 1
    assert await refused(cloud, http) == 403
    box.expires_at = time.time() + 3600
    cloud.faults.clock_offset = 301
    assert await refused(cloud, http) == 403
    cloud.faults.clock_offset = 0
    cloud.faults.refuse_upgrade = 503
    assert await refused(cloud, http) == 503
    assert cloud.counts.refused == {
        "unsigned": 1, "subprotocol": 2, "credentials_expired": 1, "date": 1, "fault": 1,
    }  # fmt: skip


async def test_a_hang_ends_with_the_fault_s_victims(cloud: SimulatedCloud, http: aiohttp.ClientSession) -> None:
    cloud.faults.hang_upgrade = True
    hanging = asyncio.create_task(upgraded(cloud, http))
    await until(lambda: cloud._transports)
    await until(lambda: cloud.drop_all() or hanging.done())  # this client tries once more by itself
    with pytest.raises(aiohttp.ClientError):
        await hanging
    await until(lambda: not cloud._transports)


# MQTT.


async def test_messages_go_to_the_simulator_and_to_subscribers(
    cloud: SimulatedCloud, http: aiohttp.ClientSession, box: Postbox
) -> None:
    client = await connected(cloud, http)
    subscribe = encode(Subscribe(1, (("post/#", 1),)))
    for byte in subscribe[:-1]:
        await client.socket.send_bytes(bytes((byte,)))
    await client.socket.send_bytes(subscribe[-1:] + encode(Publish("post/a", b"1", qos=1, packet_id=2)))
    assert await client.hear() == Suback(1, (1,))
    heard = [await client.hear(), await client.hear()]
    assert Publish("post/a", b"1", qos=1, packet_id=1) in heard
    assert box.posted == [("owner", "me", "post/a", b"1")]
    assert box.cloud is not None
    box.cloud.publish("post/b", b"2", qos=0)
    assert await client.hear() == Publish("post/b", b"2")
    box.cloud.disconnect("owner")
    assert await client.closed() == 1006


@pytest.mark.parametrize(
    "packet",
    [
        Subscribe(1, (("other/#", 1),)),
        Subscribe(1, tuple((f"post/{number}", 1) for number in range(9))),
        Publish("other/a", b"", qos=1, packet_id=1),
        Publish("post/a", b"", qos=2, packet_id=1),
        Connect("me"),
    ],
)
async def test_aws_s_manners(cloud: SimulatedCloud, http: aiohttp.ClientSession, packet: Packet) -> None:
    client = await connected(cloud, http)
    await client.say(packet)
    assert await client.closed() == 1006


async def test_a_refusal_can_be_a_code_instead(cloud: SimulatedCloud, http: aiohttp.ClientSession) -> None:
    cloud.rules = replace(AWS, close_on_forbidden=False)
    client = await connected(cloud, http)
    await client.say(Subscribe(1, (("other/#", 1), ("post/a", 0))))
    assert await client.hear() == Suback(1, (0x80, 0))


async def test_a_client_id_is_taken_over(cloud: SimulatedCloud, http: aiohttp.ClientSession) -> None:
    one = await connected(cloud, http)
    two = await connected(cloud, http)
    assert await one.closed() == 1006
    await two.say(Signal(PacketKind.PINGREQ))
    assert await two.hear() == Signal(PacketKind.PINGRESP)
    assert set(cloud.broker("postbox").clients) == {"me"}
    with pytest.raises(KeyError):
        cloud.broker("other")


@pytest.mark.parametrize("fault", ["session_seconds", "close_after_connack"])
async def test_a_session_is_cut_short(cloud: SimulatedCloud, http: aiohttp.ClientSession, fault: str) -> None:
    setattr(cloud.faults, fault, 0.1)
    client = await connected(cloud, http)
    assert await client.closed() == 1006


async def test_no_word_but_mqtt(cloud: SimulatedCloud, http: aiohttp.ClientSession) -> None:
    for garbage in (b"\x00\x00", b"\x10\xff\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n" * 9):
        client = await upgraded(cloud, http)
        await client.socket.send_bytes(garbage)
        assert await client.closed() == 1006
    client = await upgraded(cloud, http)
    await client.socket.send_str("hello")
    assert await client.closed() == 1006


async def test_faults_on_the_way(cloud: SimulatedCloud, http: aiohttp.ClientSession, box: Postbox) -> None:
    client = await connected(cloud, http)
    await client.say(Subscribe(1, (("post/#", 0),)))
    assert await client.hear() == Suback(1, (0,))
    cloud.faults.swallow_puback = True
    await client.say(Publish("post/a", b"", qos=1, packet_id=1))
    assert await client.hear() == Publish("post/a", b"")
    cloud.faults.swallow_puback = False
    cloud.faults.stop_delivering = True
    await client.say(Publish("post/b", b"", qos=1, packet_id=2))
    assert (await client.hear()).packet_id == 2  # type: ignore[union-attr]
    cloud.faults.stop_delivering = False
    cloud.faults.lose = lambda topic, payload: (topic, payload) == ("post/c", b"3")
    await client.say(Publish("post/c", b"3", qos=1, packet_id=3), Publish("post/c", b"4"))
    assert await client.hear() == Publish("post/c", b"4")
    assert [posted[2:] for posted in box.posted] == [("post/a", b""), ("post/b", b""), ("post/c", b"4")]
    cloud.faults.latency = 0.2
    started = time.monotonic()
    await client.say(Publish("post/d", b"1"), Publish("post/d", b"2"))
    assert [await client.hear(), await client.hear()] == [Publish("post/d", b"1"), Publish("post/d", b"2")]
    assert 0.2 <= time.monotonic() - started < 2
    cloud.drop_all()
    assert await client.closed() == 1006


async def test_a_client_that_does_not_read_is_cut_off(cloud: SimulatedCloud, http: aiohttp.ClientSession) -> None:
    cloud.rules = replace(AWS, max_backlog=100_000)
    client = await connected(cloud, http)
    await client.say(Subscribe(1, (("post/#", 0),)))
    assert await client.hear() == Suback(1, (0,))
    assert client.socket._response.connection is not None
    transport = client.socket._response.connection.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    await until(lambda: flooded(cloud))
    await until(lambda: not cloud._transports)
    transport.abort()


def flooded(cloud: SimulatedCloud) -> bool:
    """Whether the client has been dropped; else it gets another megabyte."""
    for _ in range(16):
        cloud.broker("postbox").publish("post/a", bytes(65_536))
    return not cloud.broker("postbox").clients


# Its life.


async def test_it_can_be_stopped_and_started_again_at_the_same_place(box: Postbox) -> None:
    cloud = SimulatedCloud([box])
    trust = ssl.create_default_context(cafile=cloud.ca_file)
    await cloud.start()
    port = cloud.port
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
        for _ in range(2):
            client = await connected(cloud, http)
            async with http.get(f"https://localhost:{port}/post") as answer:
                assert answer.status == 200
            await cloud.stop()
            assert await client.closed() == 1006
            with pytest.raises(aiohttp.ClientError):
                await http.get(f"https://localhost:{port}/post")
            await cloud.start(port=port)
    with pytest.raises(OSError, match="in use"):
        await SimulatedCloud([box]).start(port=port)
    await cloud.stop()
    await cloud.stop()


async def test_stopping_leaves_nothing_running(box: Postbox) -> None:
    before = asyncio.all_tasks()
    async with SimulatedCloud([box]) as cloud:
        trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=cloud.ca_file))
        async with aiohttp.ClientSession(connector=trust) as http:
            client = await connected(cloud, http)
            cloud.faults.hang_upgrade = True
            hanging = asyncio.create_task(upgraded(cloud, http))
            await until(lambda: len(cloud._transports) == 2)
            await cloud.stop()
            with pytest.raises(aiohttp.ClientError):
                await hanging
            assert await client.closed() == 1006
    await until(lambda: asyncio.all_tasks() == before)


def test_the_authority_s_file_goes_with_the_cloud(box: Postbox, tmp_path: Path) -> None:
    cloud = SimulatedCloud([box])
    written = Path(cloud.ca_file)
    assert written.exists()
    del cloud
    gc.collect()
    assert not written.parent.exists()
    path = tmp_path / "ca.pem"
    assert SimulatedCloud([], ca_path=path).ca_file == str(path)
    assert path.read_text().startswith("-----BEGIN CERTIFICATE-----")


async def test_a_simulator_that_fails_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Postbox):
        async def run(self, cloud: object) -> None:
            raise RuntimeError(f"no devices for {cloud}")

    async with SimulatedCloud([Broken()]):
        await until(lambda: "has stopped" in caplog.text)


async def test_the_certificate_satisfies_strict_verification_by_every_name(box: Postbox) -> None:
    """As Python 3.13 and later verify by default."""
    async with SimulatedCloud([box], names=("192.0.2.7", "nas.example")) as cloud:
        trust = ssl.create_default_context(cafile=cloud.ca_file)
        trust.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        for name in ("localhost", "127.0.0.1", HOST, "192.0.2.7", "nas.example"):
            _, writer = await asyncio.open_connection("127.0.0.1", cloud.port, ssl=trust, server_hostname=name)
            writer.close()
            await writer.wait_closed()
