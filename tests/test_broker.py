from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.listener import listening

from navibridge import broker as broker_module
from navibridge.broker import LARGEST_PAYLOAD, MOST_WAITING, LocalBroker, Message
from navibridge.config import Broker, Secret, Tls
from navibridge.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from support.mosquitto import Mosquitto

    Start = Callable[..., Awaitable[Mosquitto]]

WILL = ("nb/bridge/state", "offline")


def local(mosquitto: Mosquitto, **settings: Any) -> LocalBroker:
    if settings.get("protocol") == "5":
        mosquitto.needs_mqtt5()
    return LocalBroker(
        Broker(**{"host": mosquitto.host, "port": mosquitto.port} | settings), client_id="navibridge-test", will=WILL
    )


async def refused(broker: LocalBroker) -> LinkError:
    with pytest.raises(LinkError) as caught:
        async with broker.open():
            pytest.fail("the connection was made")
    return caught.value


async def next_of(messages: AsyncIterator[Message]) -> Message:
    async with asyncio.timeout(10):
        return await anext(messages)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing could set an event there
            await asyncio.sleep(0.001)


# What goes out and comes in


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_publishes_and_hears(mosquitto: Mosquitto, protocol: str) -> None:
    async with listening(mosquitto, "nb/#") as other, local(mosquitto, protocol=protocol).open() as link:
        await link.subscribe(["nb/+/set", "nb/+/get"])
        await link.publish("nb/d/state", b'{"a":1}', retain=True)
        await link.publish("nb/d/result", "text", qos=0)
        assert (await other.wait_for("nb/d/state")).payload == b'{"a":1}'
        assert (await other.wait_for("nb/d/result")).payload == b"text"
        await other.publish("nb/d/set", b"\x00\xff")
        assert await next_of(link.messages()) == Message("nb/d/set", b"\x00\xff", qos=1, retain=False)
        await link.unsubscribe(["nb/+/set"])
        await other.publish("nb/d/set", b"unheard")
        await other.publish("nb/d/get", b"heard")
        assert (await next_of(link.messages())).payload == b"heard"


async def test_tells_a_kept_message_from_a_live_one(mosquitto: Mosquitto) -> None:
    async with listening(mosquitto, "nb/#") as other, local(mosquitto).open() as link:
        await other.publish("nb/d/set", b"kept", retain=True)
        await link.subscribe(["nb/+/set"])
        assert (await next_of(link.messages())).retain
        await other.publish("nb/d/set", b"live", retain=True)
        assert not (await next_of(link.messages())).retain


async def test_commands_that_came_while_it_was_away_are_not_kept_for_it(mosquitto: Mosquitto) -> None:
    broker = local(mosquitto)
    async with broker.open() as link:
        await link.subscribe(["nb/+/set"])
    async with listening(mosquitto, "nothing") as other:
        await other.publish("nb/d/set", b"late")
        async with broker.open() as link:
            await link.subscribe(["nb/+/set"])
            await other.publish("nb/d/set", b"now")
            assert (await next_of(link.messages())).payload == b"now"


async def test_hands_over_where_an_mqtt5_sender_wants_its_answer(mosquitto: Mosquitto) -> None:
    mosquitto.needs_mqtt5()
    version5 = aiomqtt.ProtocolVersion.V5
    async with (
        aiomqtt.Client(mosquitto.host, mosquitto.port, protocol=version5) as sender,
        local(mosquitto, protocol="5").open() as link,
    ):
        await link.subscribe(["nb/+/set"])
        await sender.subscribe("answers/#")
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = "answers/1"
        properties.CorrelationData = b"\x07"
        await sender.publish("nb/d/set", b"{}", properties=properties)
        asked = await next_of(link.messages())
        assert (asked.response_topic, asked.correlation) == ("answers/1", b"\x07")
        await link.publish("answers/1", b"done", correlation=asked.correlation)
        answer = await anext(aiter(sender.messages))
        assert answer.payload == b"done"
        assert answer.properties is not None
        assert answer.properties.CorrelationData == b"\x07"


async def test_a_correlation_is_left_out_where_the_link_can_not_carry_it(mosquitto: Mosquitto) -> None:
    async with listening(mosquitto, "nb/#") as other, local(mosquitto).open() as link:
        await link.publish("nb/answer", b"done", correlation=b"7")
        assert (await other.wait_for("nb/answer")).payload == b"done"


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_many_messages_keep_their_order(mosquitto: Mosquitto, protocol: str) -> None:
    async with listening(mosquitto, "nb/#") as other, local(mosquitto, protocol=protocol).open() as link:
        await link.publish_many(Message("nb/d/state", str(number).encode()) for number in range(900))
        await other.wait_for("nb/d/state", lambda heard: heard.payload == b"899")
        assert [int(heard.payload) for heard in other.heard] == list(range(900))


async def test_many_messages_have_several_under_way(mosquitto: Mosquitto) -> None:
    taken = 0

    def messages() -> Any:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield Message(f"nb/d{number}/state", b"1", retain=True)

    async with local(mosquitto).open() as link:
        mosquitto.pause()
        publishing = asyncio.create_task(link.publish_many(messages(), pending=30))
        await until(lambda: taken >= 30)
        assert taken == 30
        mosquitto.resume()
        await publishing
        assert taken == 500


# The last will


async def test_a_goodbye_keeps_the_will_back_and_a_break_does_not(mosquitto: Mosquitto) -> None:
    broker = local(mosquitto)
    async with listening(mosquitto, "nb/#") as other:
        async with broker.open() as link:
            await link.publish(WILL[0], b"online", retain=True)
        async with broker.open() as link:
            await link.publish("nb/second", b"")
            await other.wait_for("nb/second")
            assert [heard.text for heard in other.all(WILL[0])] == ["online"]
            link._client._client.socket().shutdown(socket.SHUT_RDWR)
            will = await other.wait_for(WILL[0], lambda heard: heard.payload == b"offline")
            assert will.qos == 1
    async with listening(mosquitto, WILL[0]) as late:
        assert (await late.wait_for(WILL[0])).payload == b"offline"


# Why there is no connection


async def test_a_broker_that_does_not_run(mosquitto: Mosquitto) -> None:
    await mosquitto.stop()
    error = await refused(local(mosquitto))
    assert (error.reason, str(error)) == (
        "refused",
        f"broker {mosquitto.host}:{mosquitto.port} refused the connection: is Mosquitto running?",
    )
    assert error.what_to_do


async def test_a_name_that_nobody_knows() -> None:
    error = await refused(LocalBroker(Broker(host="no-such-host.invalid"), client_id="x", will=WILL))
    assert error.reason == "dns"
    assert "no-such-host.invalid:1883 has a name that can not be resolved" in str(error)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_a_password(start_mosquitto: Start, protocol: str) -> None:
    mosquitto = await start_mosquitto(users={"ann": "right"})
    async with local(mosquitto, username="ann", password=Secret("right"), protocol=protocol).open() as link:
        await link.publish("nb/x", b"1")
    for wrong in ({"username": "ann", "password": Secret("wr0ng")}, {}):
        error = await refused(local(mosquitto, protocol=protocol, **wrong))
        assert error.reason == "not_authorised"
        assert "refused the credentials" in str(error)
        assert "wr0ng" not in f"{error} {error.what_to_do} {error.__cause__!r}"


async def test_a_subscription_that_is_not_allowed(start_mosquitto: Start) -> None:
    mosquitto = await start_mosquitto()
    async with local(mosquitto).open() as link:
        # Mosquitto refuses filters with more than 200 levels.
        with pytest.raises(LinkError) as caught:
            await link.subscribe(["nb/+/set", "/".join("x" * 250)])
    assert caught.value.reason in ("not_authorised", "closed")


async def test_tls_with_an_authority_of_ones_own(start_mosquitto: Start) -> None:
    mosquitto = await start_mosquitto(tls="server")
    async with local(mosquitto, tls=Tls(ca_file=mosquitto.ca_file)).open() as link:
        await link.publish_many(Message(f"nb/{number}", b"x" * 5000) for number in range(100))


async def test_a_certificate_of_an_unknown_authority(start_mosquitto: Start) -> None:
    mosquitto = await start_mosquitto(tls="server")
    error = await refused(local(mosquitto, tls=Tls(enabled=True)))
    assert error.reason == "tls"
    assert "certificate that is not trusted" in str(error)
    assert "broker.tls.ca_file" in error.what_to_do


async def test_an_unverified_certificate_is_possible_and_said(
    start_mosquitto: Start, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto = await start_mosquitto(tls="server")
    async with local(mosquitto, tls=Tls(verify=False)).open() as link:
        await link.publish("nb/x", b"1")
    assert "is not checked" in caplog.text


async def test_mutual_tls(start_mosquitto: Start) -> None:
    mosquitto = await start_mosquitto(tls="mutual")
    tls = Tls(ca_file=mosquitto.ca_file, cert_file=mosquitto.client_cert_file, key_file=mosquitto.client_key_file)
    async with local(mosquitto, tls=tls).open() as link:
        await link.publish("nb/x", b"1")
    # TLS 1.3 tells a client without a certificate only after the handshake.
    started = asyncio.get_running_loop().time()
    error = await refused(local(mosquitto, tls=Tls(ca_file=mosquitto.ca_file)))
    assert error.reason in ("closed", "tls")
    assert "client certificate" in error.what_to_do
    assert asyncio.get_running_loop().time() - started < 5


async def test_tls_towards_a_plain_port(mosquitto: Mosquitto) -> None:
    error = await refused(local(mosquitto, tls=Tls(enabled=True)))
    assert error.reason in ("tls", "closed")


async def test_a_plain_link_towards_a_tls_port(start_mosquitto: Start) -> None:
    mosquitto = await start_mosquitto(tls="server")
    error = await refused(local(mosquitto))
    assert error.reason == "closed"
    assert "whether it expects TLS" in error.what_to_do


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
async def test_certificate_files_that_hold_something_else(mosquitto: Mosquitto, tmp_path: Any, name: str) -> None:
    path = tmp_path / "not.pem"
    path.write_text("nothing of the sort")
    error = await refused(local(mosquitto, tls=Tls.model_construct(**{name: path})))
    assert error.reason == "tls"
    assert "broker.tls" in error.what_to_do


@contextlib.asynccontextmanager
async def listener_that(do: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Any:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await do(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_port_that_closes_at_once() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listener_that(hang_up) as port:
        error = await refused(LocalBroker(Broker(host="127.0.0.1", port=port), client_id="x", will=WILL))
    assert error.reason == "closed"


async def test_a_port_that_never_answers() -> None:
    limits = broker_module.Limits(connect=0.3)
    gone = asyncio.Event()

    async def listen_only(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        gone.set()

    async with listener_that(listen_only) as port:
        settings = Broker(host="127.0.0.1", port=port)
        error = await refused(LocalBroker(settings, client_id="x", will=WILL, limits=limits))
        assert error.reason == "timeout"
        assert "did not answer within 0.3 s" in str(error)
        # The connection that was given up is let go of.
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_connection_that_was_given_up_does_not_come_to_life_later() -> None:
    """The blocking part runs in a thread that can not be stopped; it must not leave a second client behind."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = LocalBroker(Broker(host="127.0.0.1", port=server.getsockname()[1]), client_id="x", will=WILL)
        client = broker._client(broker_module._Inbox("x"))
        client.abandon()
        with pytest.raises(aiomqtt.MqttError):
            await client.__aenter__()
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b""


async def test_a_cancelled_attempt_lets_go(mosquitto: Mosquitto) -> None:
    mosquitto.pause()

    async def attempt() -> None:
        async with local(mosquitto).open():
            pytest.fail("a paused broker does not answer")

    attempting = asyncio.create_task(attempt())
    await asyncio.sleep(0)
    attempting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempting
    mosquitto.resume()
    async with local(mosquitto).open() as link:
        await link.publish("nb/x", b"1")


# What happens when it goes


async def test_a_broker_that_dies_ends_everything_that_waits(mosquitto: Mosquitto) -> None:
    async with local(mosquitto).open() as link:
        reading = asyncio.create_task(anext(link.messages()))
        mosquitto.pause()
        waiting = [
            reading,
            asyncio.create_task(link.publish("nb/x", b"1")),
            asyncio.create_task(link.publish_many(Message("nb/y", b"1") for _ in range(100))),
        ]
        await asyncio.sleep(0)
        await mosquitto.stop(kill=True)
        for task in waiting:
            with pytest.raises(LinkError) as caught:
                await asyncio.wait_for(task, 5)
            assert caught.value.reason == "closed"
        for call in (link.publish("nb/x", b"1"), link.subscribe(["nb/#"]), link.publish_many([Message("a", b"")])):
            with pytest.raises(LinkError):
                await call
        with pytest.raises(LinkError):
            await anext(link.messages())


async def test_what_the_broker_took_before_it_died_is_known(mosquitto: Mosquitto) -> None:
    taken: list[bytes] = []

    def messages() -> Iterator[Message]:
        for number in range(10_000):
            yield Message("nb/x", str(number).encode())

    async with local(mosquitto).open() as link:
        publishing = asyncio.create_task(
            link.publish_many(messages(), pending=10, taken=lambda message: taken.append(message.payload))
        )
        await until(lambda: len(taken) > 100)
        await mosquitto.stop(kill=True)
        with pytest.raises(LinkError):
            await publishing
    assert sorted(taken, key=int) == [str(number).encode() for number in range(len(taken))]
    assert len(taken) < 10_000


async def test_it_comes_back_after_a_restart(mosquitto: Mosquitto) -> None:
    broker = local(mosquitto)
    async with broker.open() as link:
        await mosquitto.restart()
        with pytest.raises(LinkError):
            await asyncio.wait_for(anext(link.messages()), 5)
    async with listening(mosquitto, "nb/#") as other, broker.open() as link:
        await link.publish("nb/x", b"again")
        assert (await other.wait_for("nb/x")).payload == b"again"


async def test_what_had_come_before_the_end_is_still_read(mosquitto: Mosquitto) -> None:
    async with local(mosquitto).open() as link:
        await link.subscribe(["nb/x"])
        await link.publish("nb/x", b"last")
        await mosquitto.stop()
        messages = link.messages()
        assert (await next_of(messages)).payload == b"last"
        with pytest.raises(LinkError):
            await next_of(messages)


async def test_a_broker_that_hangs_is_noticed_by_the_call(mosquitto: Mosquitto) -> None:
    settings, limits = Broker(host=mosquitto.host, port=mosquitto.port), broker_module.Limits(call=0.3)
    async with LocalBroker(settings, client_id="x", will=WILL, limits=limits).open() as link:
        mosquitto.pause()
        with pytest.raises(LinkError) as caught:
            await link.publish("nb/d/state", b"1")
        assert caught.value.reason == "timeout"
        assert "did not acknowledge nb/d/state within 0.3 s" in str(caught.value)


async def test_a_broker_that_hangs_is_noticed_by_the_keepalive(mosquitto: Mosquitto) -> None:
    settings = Broker(host=mosquitto.host, port=mosquitto.port).model_copy(update={"keepalive": 1})
    async with LocalBroker(settings, client_id="x", will=WILL).open() as link:
        mosquitto.pause()
        with pytest.raises(LinkError) as caught:
            await asyncio.wait_for(anext(link.messages()), 15)
        assert caught.value.reason == "closed"


async def test_leaving_takes_no_longer_than_it_should(mosquitto: Mosquitto) -> None:
    loop = asyncio.get_running_loop()
    async with local(mosquitto).open():
        mosquitto.pause()
        started = loop.time()
    assert loop.time() - started < broker_module.LIMITS.close + 1


async def test_two_with_one_client_id(mosquitto: Mosquitto) -> None:
    async with local(mosquitto).open() as first, local(mosquitto).open() as second:
        with pytest.raises(LinkError):
            await asyncio.wait_for(anext(first.messages()), 5)
        await second.publish("nb/x", b"1")


# What is too much


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_too_large_a_message_comes_without_its_payload(mosquitto: Mosquitto, protocol: str) -> None:
    async with listening(mosquitto, "nothing") as other, local(mosquitto, protocol=protocol).open() as link:
        await link.subscribe(["nb/+/set"])
        await other.publish("nb/d/set", b"x" * (LARGEST_PAYLOAD + 1))
        await other.publish("nb/d/set", b"x" * LARGEST_PAYLOAD)
        messages = link.messages()
        assert await next_of(messages) == Message("nb/d/set", b"", oversize=LARGEST_PAYLOAD + 1)
        assert len((await next_of(messages)).payload) == LARGEST_PAYLOAD
        assert link.dropped == 0


async def test_too_many_messages_are_dropped(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(mosquitto, "nothing") as other, local(mosquitto).open() as link:
        await link.subscribe(["nb/+/set"], qos=0)
        extra = 50
        await asyncio.gather(*(other.publish("nb/d/set", b"%d" % number) for number in range(MOST_WAITING + extra)))
        await until(lambda: link.dropped >= extra)
        assert link.dropped == extra
        assert (await next_of(link.messages())).payload == b"0"
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, "one flood is one warning"
    assert "nb/d/set was dropped" in warnings[0].getMessage()


async def test_the_libraries_do_not_chatter(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with local(mosquitto, username="ann", password=Secret("s3cret-text")).open() as link:
        await mosquitto.stop(kill=True)
        with pytest.raises(LinkError):
            await asyncio.wait_for(anext(link.messages()), 5)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert "s3cret-text" not in caplog.text
