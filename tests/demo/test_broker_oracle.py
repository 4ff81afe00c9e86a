"""The embedded broker held against Mosquitto as the oracle: the same scenarios, the same transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.wire import Bench

from navibridge.demo.broker import (
    Ack,
    Broker,
    Connack,
    Connect,
    Kind,
    Message,
    Publish,
    Rules,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from support.mosquitto import BrokerKind, Mosquitto

# A scenario plays on a bench and returns what it is about: for each client, lines that must come in this order.
# The rest of the transcript has to be the same with both brokers, whatever it is.
Expected = dict[str, list[str]]


async def retained_messages_are_replayed_with_the_flag(bench: Bench) -> Expected:
    early = await bench.connect("early")
    await early.subscribe(("a/#", 2))
    source = await bench.connect("source")
    await source.publish("a/zero", "0", qos=0, retain=True)
    await source.publish("a/one", "1", qos=1, retain=True)
    await source.publish("a/two", "2", qos=2, retain=True)
    await source.publish("a/one", "1 again", qos=1, retain=True)
    await source.publish("a/zero", "not kept", qos=0)
    late = await bench.connect("late")
    await late.subscribe(("a/one", 2))
    await late.subscribe(("a/two", 1))
    await late.subscribe(("a/zero", 1))
    await late.subscribe(("a/zero", 0))
    return {
        "early": ["PUBLISH a/zero '0' qos 0", "PUBLISH a/one '1' qos 1 #1", "PUBLISH a/zero 'not kept' qos 0"],
        "late": [
            "PUBLISH a/one '1 again' qos 1 #1 retain",
            "PUBLISH a/two '2' qos 1 #2 retain",
            "PUBLISH a/zero '0' qos 0 retain",
            "SUBACK #4 [0]",
            "PUBLISH a/zero '0' qos 0 retain",
        ],
    }


async def an_empty_retained_message_clears(bench: Bench) -> Expected:
    source = await bench.connect("source")
    await source.subscribe(("a", 1))
    await source.publish("a", "1", qos=1, retain=True)
    await source.publish("a", "", qos=1, retain=True)
    late = await bench.connect("late")
    await late.subscribe(("#", 1))
    await late.publish("end")
    return {"source": ["PUBLISH a '' qos 1 #2"], "late": ["SUBACK #1 [1]", "PUBLISH end '' qos 0"]}


async def suback_comes_before_the_retained_messages(bench: Bench) -> Expected:
    source = await bench.connect("source")
    await source.publish("a", "1", retain=True)
    await source.subscribe(("a", 0), ("b", 2), ("c/+/#", 1))
    return {"source": ["SUBACK #1 [0, 2, 1]", "PUBLISH a '1' qos 0 retain"]}


async def a_will_is_published_on_loss(bench: Bench) -> Expected:
    watcher = await bench.connect("watcher")
    await watcher.subscribe(("wills/#", 2))
    mortal = await bench.connect("mortal", will=Message("wills/a", b"gone", 1, retain=True))
    await mortal.vanish()
    late = await bench.connect("late")
    await late.subscribe(("wills/#", 2))
    return {"watcher": ["PUBLISH wills/a 'gone' qos 1 #1"], "late": ["PUBLISH wills/a 'gone' qos 1 #1 retain"]}


async def no_will_after_goodbye(bench: Bench) -> Expected:
    watcher = await bench.connect("watcher")
    await watcher.subscribe(("#", 0))
    polite = await bench.connect("polite", will=Message("wills/a", b"gone"))
    await polite.leave()
    await watcher.publish("end")
    return {"watcher": ["SUBACK #1 [0]", "PUBLISH end '' qos 0"]}


async def a_will_is_published_after_a_malformed_packet(bench: Bench) -> Expected:
    watcher = await bench.connect("watcher")
    await watcher.subscribe(("#", 0))
    broken = await bench.connect("broken", will=Message("wills/a", b"gone", 2))
    await broken.send(b"\x00\x00")
    return {"watcher": ["PUBLISH wills/a 'gone' qos 0"], "broken": ["CONNACK 0", "closed"]}


async def an_empty_will(bench: Bench) -> Expected:
    watcher = await bench.connect("watcher")
    await watcher.publish("wills/a", "alive", retain=True)
    await watcher.subscribe(("#", 0))
    mortal = await bench.connect("mortal", will=Message("wills/a", b"", retain=True))
    await mortal.vanish()
    await watcher.subscribe(("wills/a", 0))
    return {"watcher": ["PUBLISH wills/a 'alive' qos 0 retain", "PUBLISH wills/a '' qos 0", "SUBACK #2 [0]"]}


async def silence_ends_a_connection(bench: Bench) -> Expected:
    watcher = await bench.connect("watcher")
    await watcher.subscribe(("#", 0))
    silent = await bench.dial("silent")
    silent.write(Connect("silent", keep_alive=1, will=Message("wills/a", b"gone")))
    await silent.until_closed()
    await bench.settle()
    return {"silent": ["CONNACK 0", "closed"], "watcher": ["PUBLISH wills/a 'gone' qos 0"]}


async def a_new_connection_takes_over(bench: Bench) -> Expected:
    watcher = await bench.connect("watcher")
    await watcher.subscribe(("#", 0))
    await bench.connect("twin", will=Message("wills/a", b"the first"))
    second = await bench.connect("twin", will=Message("wills/a", b"the second"))
    await second.publish("a", "alive")
    await second.leave()
    return {
        "twin": ["CONNACK 0", "closed", "CONNACK 0"],
        "watcher": ["PUBLISH wills/a 'the first' qos 0", "PUBLISH a 'alive' qos 0"],
    }


async def a_takeover_keeps_a_persistent_session(bench: Bench) -> Expected:
    first = await bench.connect("twin", clean=False)
    await first.subscribe(("a", 1))
    second = await bench.connect("second", clean=False, client_id="twin")
    await second.publish("a", "1")
    return {
        "twin": ["CONNACK 0", "SUBACK #1 [1]", "closed"],
        "second": ["CONNACK 0 session present", "PUBLISH a '1' qos 0"],
    }


async def a_takeover_with_a_clean_session_starts_anew(bench: Bench) -> Expected:
    first = await bench.connect("twin", clean=False)
    await first.subscribe(("a", 1))
    await bench.connect("second", clean=True, client_id="twin")
    third = await bench.connect("third", clean=False, client_id="twin")
    await third.publish("a", "1")
    return {
        "twin": ["CONNACK 0", "SUBACK #1 [1]", "closed"],
        "second": ["CONNACK 0", "closed"],
        "third": ["CONNACK 0"],
    }


async def a_persistent_session_keeps_what_was_promised(bench: Bench) -> Expected:
    away = await bench.connect("away", clean=False)
    await away.subscribe(("zero", 0), ("one", 1), ("two", 2), ("not", 1))
    await away.unsubscribe("not")
    await away.leave()
    source = await bench.connect("source")
    for qos in range(3):
        for topic in ("zero", "one", "two", "not"):
            await source.publish(topic, str(qos), qos)
    back = await bench.connect("away", clean=False)
    await back.publish("one", "still subscribed")
    return {
        "away": [
            "CONNACK 0",
            "CONNACK 0 session present",
            "PUBLISH one '1' qos 1 #1",
            "PUBLISH two '1' qos 1 #2",
            "PUBLISH one '2' qos 1 #3",
            "PUBLISH two '2' qos 2 #4",
            "PUBREL #4",
            "PUBLISH one 'still subscribed' qos 0",
        ]
    }


async def a_clean_session_forgets(bench: Bench) -> Expected:
    away = await bench.connect("away", clean=False)
    await away.subscribe(("a", 1))
    await away.leave()
    source = await bench.connect("source")
    await source.publish("a", "1", 1)
    clean = await bench.connect("away", clean=True)
    await clean.leave()
    back = await bench.connect("away", clean=False)
    await back.publish("a", "2")
    return {"away": ["CONNACK 0", "SUBACK #1 [1]", "CONNACK 0", "CONNACK 0"]}


async def what_was_not_acknowledged_is_sent_again(bench: Bench) -> Expected:
    deaf = await bench.connect("deaf", clean=False, acknowledges=False)
    await deaf.subscribe(("#", 2))
    source = await bench.connect("source")
    await source.publish("a", "zero", 0)
    await source.publish("a", "one", 1)
    await source.publish("a", "two", 2)
    await source.publish("a", "two more", 2)
    await deaf.send(Ack(Kind.PUBREC, 3))
    await deaf.vanish()
    await bench.connect("deaf", clean=False)
    return {
        "deaf": [
            "PUBLISH a 'two more' qos 2 #3",
            "PUBREL #3",
            "CONNACK 0 session present",
            "PUBLISH a 'one' qos 1 #1 dup",
            "PUBLISH a 'two' qos 2 #2 dup",
            "PUBREL #3",
            "PUBREL #2",
        ]
    }


async def a_message_of_qos_2_is_delivered_once(bench: Bench) -> Expected:
    source = await bench.connect("source", clean=False)
    watcher = await bench.connect("watcher")
    await watcher.subscribe(("#", 2))
    sent_twice = (Publish("a", b"1", 2, packet_id=7), Publish("a", b"1", 2, dup=True, packet_id=7))
    await source.send(*sent_twice)
    await source.send(Ack(Kind.PUBREL, 7))
    await source.send(Ack(Kind.PUBREL, 99))
    return {
        "source": ["PUBREC #7", "PUBREC #7", "PUBCOMP #7", "PUBCOMP #99"],
        "watcher": ["PUBLISH a '1' qos 2 #1", "PUBREL #1"],
    }


async def every_qos_to_every_qos(bench: Bench) -> Expected:
    for granted in range(3):
        sink = await bench.connect(f"sink {granted}")
        await sink.subscribe(("a", granted))
    source = await bench.connect("source")
    for qos in range(3):
        await source.publish("a", f"sent with {qos}", qos)
    return {
        "sink 1": ["PUBLISH a 'sent with 0' qos 0", "PUBLISH a 'sent with 2' qos 1 #2"],
        "sink 2": ["PUBLISH a 'sent with 0' qos 0", "PUBLISH a 'sent with 2' qos 2 #2"],
        "source": ["PUBACK #1", "PUBREC #2", "PUBCOMP #2"],
    }


async def own_messages_come_back(bench: Bench) -> Expected:
    echo = await bench.connect("echo")
    await echo.subscribe(("a", 1))
    await echo.publish("a", "1", 1)
    return {"echo": ["PUBLISH a '1' qos 1 #1"]}


async def subscribing_again_changes_the_qos(bench: Bench) -> Expected:
    client = await bench.connect("client")
    await client.subscribe(("a", 0))
    await client.publish("a", "1", 1)
    await client.subscribe(("a", 1))
    await client.publish("a", "2", 1)
    return {"client": ["PUBLISH a '1' qos 0", "SUBACK #3 [1]", "PUBLISH a '2' qos 1 #1"]}


async def unsubscribing(bench: Bench) -> Expected:
    client = await bench.connect("client")
    await client.subscribe(("a/+", 0), ("b", 0))
    await client.unsubscribe("a/+", "never/there")
    await client.publish("a/b")
    await client.publish("b")
    await client.unsubscribe("b", "b")
    await client.publish("b", "again")
    return {"client": ["UNSUBACK #2", "PUBLISH b '' qos 0", "UNSUBACK #3"]}


FILTERS = (
    "a", "a/b", "a/b/c", "a/+", "+/b", "+/+", "a/+/c", "+/b/#", "a/#", "a/b/#", "a/b/c/#", "#", "+", "+/#", "/+",
    "/#", "+/", "/", "//", "a/", "a//c", "a/+/", "$x/a", "$x/#", "$x/+", "+/a", "A/B", "ä/☃",
)  # fmt: skip
TOPICS = (
    "a",
    "a/b",
    "a/b/c",
    "a/b/c/d",
    "/",
    "//",
    "/a",
    "a/",
    "a//c",
    "a//",
    "$x",
    "$x/a",
    "A/B",
    "ä/☃",
    " ",
    "a b/c",
)


async def wildcards(bench: Bench) -> Expected:
    for topic_filter in FILTERS:
        client = await bench.connect(f"on {topic_filter}")
        await client.subscribe((topic_filter, 0))
    source = await bench.connect("source")
    for topic in TOPICS:
        await source.publish(topic, "x")
    return {
        "on a/b/#": ["PUBLISH a/b 'x' qos 0", "PUBLISH a/b/c 'x' qos 0", "PUBLISH a/b/c/d 'x' qos 0"],
        "on $x/#": ["PUBLISH $x 'x' qos 0", "PUBLISH $x/a 'x' qos 0"],
        "on /+": ["PUBLISH / 'x' qos 0", "PUBLISH /a 'x' qos 0"],
    }


async def wildcards_on_retained_messages(bench: Bench) -> Expected:
    source = await bench.connect("source")
    for topic in TOPICS:
        await source.publish(topic, "x", retain=True)
    for topic_filter in FILTERS:
        client = await bench.connect(f"on {topic_filter}")
        await client.subscribe((topic_filter, 0))
    # The order of replay is nobody's promise.
    bench.transcript.sort()
    return {"on a/b/#": ["PUBLISH a/b 'x' qos 0 retain", "PUBLISH a/b/c 'x' qos 0 retain"]}


async def a_client_id_is_made_up_for_a_clean_session_only(bench: Bench) -> Expected:
    nameless = await bench.dial("nameless")
    await nameless.send(Connect(""))
    await nameless.publish("a")
    lasting = await bench.dial("lasting")
    lasting.write(Connect("", clean_session=False))
    await lasting.until_closed()
    return {"nameless": ["CONNACK 0"], "lasting": ["CONNACK 2", "closed"]}


async def long_and_odd_names(bench: Bench) -> Expected:
    client = await bench.connect("x" * 300, username="?SDK=Android&Version=2.16.12")
    await client.subscribe(("t" * 3000, 1))
    await client.publish("t" * 3000, "p" * 100_000, 1)
    return {"x" * 300: ["CONNACK 0", "SUBACK #1 [1]"]}


async def repeated_packet_ids_are_tolerated(bench: Bench) -> Expected:
    client = await bench.connect("client", acknowledges=False)
    await client.subscribe(("a", 1))
    await client.send(*(Publish("a", b"%d" % number, 1, packet_id=7) for number in range(3)))
    await client.send(Ack(Kind.PUBACK, 1), Ack(Kind.PUBACK, 1), Ack(Kind.PUBACK, 500), Ack(Kind.PUBCOMP, 500))
    return {"client": ["PUBLISH a '2' qos 1 #3"]}


SCENARIOS = (
    retained_messages_are_replayed_with_the_flag,
    an_empty_retained_message_clears,
    suback_comes_before_the_retained_messages,
    a_will_is_published_on_loss,
    no_will_after_goodbye,
    a_will_is_published_after_a_malformed_packet,
    an_empty_will,
    silence_ends_a_connection,
    a_new_connection_takes_over,
    a_takeover_keeps_a_persistent_session,
    a_takeover_with_a_clean_session_starts_anew,
    a_persistent_session_keeps_what_was_promised,
    a_clean_session_forgets,
    what_was_not_acknowledged_is_sent_again,
    a_message_of_qos_2_is_delivered_once,
    every_qos_to_every_qos,
    own_messages_come_back,
    subscribing_again_changes_the_qos,
    unsubscribing,
    wildcards,
    wildcards_on_retained_messages,
    a_client_id_is_made_up_for_a_clean_session_only,
    long_and_odd_names,
    repeated_packet_ids_are_tolerated,
)


async def play(scenario: Callable[[Bench], Awaitable[Expected]], port: int) -> dict[str, list[str]]:
    """A scenario's transcript by client, once what it is about was found in it."""
    async with Bench("127.0.0.1", port) as bench:
        expected = await scenario(bench)
        names = sorted({name for name, _ in bench.transcript})
        for name, lines in expected.items():
            rest = iter(bench.of(name))
            for line in lines:
                assert line in rest, f"{name}: {line} is missing or out of order in {bench.of(name)}"
        return {name: bench.of(name) for name in names}


@pytest.fixture
async def oracle(mosquitto: Mosquitto, broker_kind: BrokerKind) -> Mosquitto:
    if broker_kind == "embedded":
        pytest.skip("the embedded broker can not be its own oracle; needs a real Mosquitto")
    return mosquitto


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    broker = Broker()
    yield broker
    await broker.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_behaves_as_mosquitto_does(
    scenario: Callable[[Bench], Awaitable[Expected]], oracle: Mosquitto, broker: Broker
) -> None:
    assert await play(scenario, await broker.listen()) == await play(scenario, oracle.port)


def raw_connect(flags: int, payload: bytes = b"\0\1c", *, name: bytes = b"MQTT", level: int = 4) -> bytes:
    body = len(name).to_bytes(2, "big") + name + bytes((level, flags)) + b"\0\x3c" + payload
    return bytes((0x10, len(body))) + body


def subscribe(*filters: tuple[str, int]) -> bytes:
    return encode(Subscribe(1, filters))


def publish(topic: str) -> bytes:
    return encode(Publish(topic, b"x"))


# What a client says first, and what comes of it, with both brokers.
CLOSED = ["closed"]
FIRST_WORDS = {
    "a PUBLISH": (publish("a"), CLOSED),
    "a PINGREQ": (encode(Signal(Kind.PINGREQ)), CLOSED),
    "a DISCONNECT": (encode(Signal(Kind.DISCONNECT)), CLOSED),
    "a CONNACK": (encode(Connack(session_present=False, code=0)), CLOSED),
    "zeros": (b"\0\0", CLOSED),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", CLOSED),
    "flags in the first byte": (b"\x11" + raw_connect(2)[1:], CLOSED),
    "the reserved connect flag": (raw_connect(0x03), CLOSED),
    "a password without a user name": (raw_connect(0x42, b"\0\1c\0\1x"), CLOSED),
    "a will QoS without a will": (raw_connect(0x0A), CLOSED),
    "a retained will without a will": (raw_connect(0x22), CLOSED),
    "a will of QoS 3": (raw_connect(0x1E, b"\0\1c\0\1a\0\1b"), CLOSED),
    "a will on a wildcard": (raw_connect(0x06, b"\0\1c\0\1#\0\1b"), CLOSED),
    "a will without a topic": (raw_connect(0x06, b"\0\1c\0\0\0\1b"), CLOSED),
    "half a will": (raw_connect(0x06, b"\0\1c\0\1a"), CLOSED),
    "bytes left over": (raw_connect(0x02, b"\0\1cx"), CLOSED),
    "a missing user name": (raw_connect(0x82), CLOSED),
    "another protocol": (raw_connect(0x02, name=b"MQTX"), CLOSED),
    "level 0": (raw_connect(0x02, level=0), ["CONNACK 1", "closed"]),
    "level 6": (raw_connect(0x02, level=6), ["CONNACK 1", "closed"]),
    "a NUL in the client id": (encode(Connect("a\0b")), CLOSED),
    "a client id that is not UTF-8": (raw_connect(0x02, b"\0\1\xff"), CLOSED),
    "a NUL in the user name": (encode(Connect("c", username="\0")), CLOSED),
}

# What a connected client says; an answer that is not CLOSED proves that the connection is still served.
WORDS = {
    "type 0": (b"\0\0", CLOSED),
    "type 15": (b"\xf0\0", CLOSED),
    "a second CONNECT": (encode(Connect("again")), CLOSED),
    "a CONNACK": (encode(Connack(session_present=False, code=0)), CLOSED),
    "SUBSCRIBE with flags 0": (b"\x80" + subscribe(("a", 0))[1:], CLOSED),
    "SUBSCRIBE with flags 3": (b"\x83" + subscribe(("a", 0))[1:], CLOSED),
    "UNSUBSCRIBE with flags 0": (b"\xa0" + encode(Unsubscribe(1, ("a",)))[1:], CLOSED),
    "PUBREL with flags 0": (b"\x60\2\0\1", CLOSED),
    "DISCONNECT with flags": (b"\xe1\0", CLOSED),
    "DISCONNECT with a body": (b"\xe0\1\0", CLOSED),
    "PUBLISH with QoS 3": (b"\x36\6\0\1a\0\1x", CLOSED),
    "PUBLISH with packet id 0": (b"\x32\6\0\1a\0\0x", CLOSED),
    "SUBSCRIBE with packet id 0": (b"\x82\6\0\0\0\1a\0", CLOSED),
    "UNSUBSCRIBE with packet id 0": (b"\xa2\5\0\0\0\1a", CLOSED),
    "PUBACK with packet id 0": (b"\x40\2\0\0", CLOSED),
    "PUBREL with packet id 0": (b"\x62\2\0\0", CLOSED),
    "PUBACK cut short": (b"\x40\1\0", CLOSED),
    "SUBSCRIBE without filters": (b"\x82\2\0\1", CLOSED),
    "UNSUBSCRIBE without filters": (b"\xa2\2\0\1", CLOSED),
    "SUBSCRIBE with QoS 3": (subscribe(("a", 3)), CLOSED),
    "SUBSCRIBE with QoS 128": (subscribe(("a", 0x80)), CLOSED),
    "SUBSCRIBE without QoS": (b"\x82\5\0\1\0\1a", CLOSED),
    "one good and one bad filter": (subscribe(("a", 0), ("b#", 0)), CLOSED),
    "PUBLISH without a topic": (b"\x30\0", CLOSED),
    "PUBLISH with half a length": (b"\x30\1\0", CLOSED),
    "a topic longer than its packet": (b"\x30\3\0\x09a", CLOSED),
    "a filter longer than its packet": (b"\x82\5\0\1\0\x09a", CLOSED),
    "a remaining length of five bytes": (b"\x30\xff\xff\xff\xff\1", CLOSED),
    "a topic that is not UTF-8": (b"\x30\5\0\2\xc0\x80x", CLOSED),
    "a topic with a surrogate": (b"\x30\6\0\3\xed\xa0\x80x", CLOSED),
    "a topic that ends within a letter": (b"\x30\4\0\1\xe2x", CLOSED),
    **{f"PUBLISH to {topic!r}": (publish(topic), CLOSED) for topic in ("", "+", "a/+", "#", "a#", "a\0b", "/" * 201)},
    **{
        f"SUBSCRIBE to {bad!r}": (subscribe((bad, 0)), CLOSED)
        for bad in ("", "a#", "a/#/b", "a+", "+a", "##", "++", "a/b#", "#/", "a\0", "/" * 201)
    },
    **{f"UNSUBSCRIBE from {bad!r}": (encode(Unsubscribe(1, (bad,))), CLOSED) for bad in ("", "a#", "a/#/b", "a+")},
    "a topic with 200 slashes": (encode(Publish("/" * 200, b"", 1, packet_id=1)), ["PUBACK #1"]),
    "a filter with 200 slashes": (subscribe(("/" * 200, 0)), ["SUBACK #1 [0]"]),
    "a byte order mark": (encode(Publish("\ufeffa", b"", 1, packet_id=1)), ["PUBACK #1"]),
    "a length of more bytes than needed": (b"\xc0\x80\0" + subscribe(("a", 1)), ["SUBACK #1 [1]"]),
    "a PUBREC for nothing": (encode(Ack(Kind.PUBREC, 9)), ["PUBREL #9"]),
    "a PUBREL for nothing": (encode(Ack(Kind.PUBREL, 9)), ["PUBCOMP #9"]),
}


async def first_words(port: int, words: bytes) -> list[str]:
    async with Bench("127.0.0.1", port) as bench:
        client = await bench.dial("c")
        client.write(words)
        await client.until_closed()
        return bench.of("c")


async def words(port: int, words: bytes) -> list[str]:
    async with Bench("127.0.0.1", port) as bench:
        client = await bench.connect("c")
        await client.send(words)
        return bench.of("c")[1:]


async def test_wrong_first_words_end_a_connection(oracle: Mosquitto, broker: Broker) -> None:
    port = await broker.listen()
    for name, (data, expected) in FIRST_WORDS.items():
        assert await first_words(port, data) == expected, name
        assert await first_words(oracle.port, data) == expected, f"{name}, with Mosquitto"
    assert not broker.clients


async def test_malformed_packets_end_a_connection_and_nothing_else(oracle: Mosquitto, broker: Broker) -> None:
    port = await broker.listen()
    async with Bench("127.0.0.1", port) as bystander:
        client = await bystander.connect("bystander")
        for name, (data, expected) in WORDS.items():
            assert await words(port, data) == expected, name
            assert await words(oracle.port, data) == expected, f"{name}, with Mosquitto"
        await client.subscribe(("a", 0))
        assert bystander.of("bystander") == ["CONNACK 0", "SUBACK #1 [0]"]


# Where the standard says that the connection must be closed, and Mosquitto 2.0 lets it pass.
STRICTER = {
    "PUBACK with flags": b"\x42\2\0\1",
    "PUBACK with bytes left over": b"\x40\3\0\1\0",
    "PINGREQ with flags": b"\xc1\0",
    "PINGREQ with a body": b"\xc0\1\0",
    "DUP with QoS 0": b"\x38\4\0\1ax",
    "a SUBACK from a client": encode(Suback(1, (0,))),
    "an UNSUBACK from a client": encode(Ack(Kind.UNSUBACK, 1)),
    "a PINGRESP from a client": encode(Signal(Kind.PINGRESP)),
}


@pytest.mark.parametrize("data", STRICTER.values(), ids=STRICTER.keys())
async def test_is_stricter_than_mosquitto(data: bytes, broker: Broker) -> None:
    assert await words(await broker.listen(), data) == CLOSED


async def test_takes_control_characters_that_mosquitto_refuses(oracle: Mosquitto, broker: Broker) -> None:
    # The standard says that they should not be used, and leaves it to the broker to close the connection.
    packet = encode(Publish("a\x01", b"", 1, packet_id=1))
    assert await words(await broker.listen(), packet) == ["PUBACK #1"]
    assert await words(oracle.port, packet) == CLOSED


async def test_speaks_one_version_only(oracle: Mosquitto, broker: Broker) -> None:
    port = await broker.listen()
    version_3_1 = raw_connect(0x02, name=b"MQIsdp", level=3)
    version_5 = raw_connect(0x02, b"\0\0\1c", level=5)
    for data in (version_3_1, version_5):
        assert await first_words(port, data) == ["CONNACK 1", "closed"]
    async with Bench(oracle.host, oracle.port) as bench:
        client = await bench.dial("c")
        await client.send(version_3_1)
        assert bench.of("c") == ["CONNACK 0"]


async def overlapping(port: int) -> list[str]:
    async with Bench("127.0.0.1", port) as bench:
        client = await bench.connect("c")
        await client.subscribe(("a/b", 0), ("a/+", 2), ("a/#", 1), ("#", 1))
        await client.publish("a/b", "x", 2)
        return [line for line in bench.of("c") if line.startswith("PUBLISH")]


async def test_overlapping_subscriptions_bring_a_message_once_at_the_highest_qos(
    oracle: Mosquitto, broker: Broker
) -> None:
    # Mosquitto brings it once too, but at the QoS of whichever it finds first, or once each, as configured.
    assert await overlapping(await broker.listen()) == ["PUBLISH a/b 'x' qos 2 #1"]
    theirs = await overlapping(oracle.port)
    assert theirs
    assert all(line.startswith("PUBLISH a/b 'x' qos") for line in theirs)


async def will_of_a_taken_over_session(port: int) -> list[str]:
    async with Bench("127.0.0.1", port) as bench:
        watcher = await bench.connect("watcher")
        await watcher.subscribe(("#", 0))
        await bench.connect("twin", clean=False, will=Message("wills/a", b"gone"))
        await bench.connect("twin", clean=False)
        return bench.of("watcher")[2:]


async def test_takeover_publishes_the_will_of_persistent_sessions_too(oracle: Mosquitto, broker: Broker) -> None:
    # Mosquitto does so only where one of the two sessions is clean. The standard makes no such difference.
    assert await will_of_a_taken_over_session(await broker.listen()) == ["PUBLISH wills/a 'gone' qos 0"]
    assert await will_of_a_taken_over_session(oracle.port) == []


async def test_passwords(
    start_mosquitto: Callable[..., Awaitable[Mosquitto]], broker_kind: BrokerKind, broker: Broker
) -> None:
    if broker_kind == "embedded":
        pytest.skip("needs a real Mosquitto")
    users = {"anna": "geheim"}
    broker.rules = Rules(passwords=users)
    assert "geheim" not in repr(broker.rules)
    strict = await start_mosquitto(users=users)
    for port in (await broker.listen(), strict.port):
        for username, password, code in (
            ("anna", "geheim", 0),
            ("anna", "falsch", 5),
            ("otto", "geheim", 5),
            ("anna", None, 5),
            (None, None, 5),
        ):
            async with Bench("127.0.0.1", port) as bench:
                await bench.connect("c", username=username, password=password)
                assert bench.of("c") == [f"CONNACK {code}", *(["closed"] if code else [])]
