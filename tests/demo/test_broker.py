"""The embedded broker on its own: codec, rules, limits and faults, with pipes and a clock made of plain objects."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from contextlib import closing
from dataclasses import dataclass, field, replace
from socket import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.listener import listening
from support.waiting import until
from support.wire import shown

from navibridge.demo.broker import (
    AWS,
    OPEN,
    Ack,
    Broker,
    ClientInfo,
    Connack,
    Connect,
    Connection,
    Decoder,
    Kind,
    MalformedPacket,
    Message,
    Packet,
    Publish,
    Rules,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    encode,
    matches,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(order=True)
class Call:
    due: float
    number: int
    callback: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[Call] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Call:
        call = Call(self.now + delay, next(self._numbers), callback)
        heapq.heappush(self._calls, call)
        return call

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._calls and self._calls[0].due <= end:
            call = heapq.heappop(self._calls)
            self.now = max(self.now, call.due)
            if not call.cancelled:
                call.callback()
        self.now = end

    @property
    def pending(self) -> int:
        return sum(not call.cancelled for call in self._calls)


class Pipe:
    """A client at the end of a pipe, as the broker sees it: every write is one packet."""

    def __init__(self, broker: Broker, principal: str = "") -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.unread = 0
        self.connection: Connection = broker.attach(self, principal=principal)

    def write(self, packet: bytes, /) -> None:
        assert not self.closed
        self.written.append(packet)

    def backlog(self) -> int:
        return self.unread

    def close(self) -> None:
        self.closed = True

    def say(self, *packets: Packet) -> None:
        self.connection.receive(b"".join(map(encode, packets)))

    @property
    def heard(self) -> list[str]:
        """What was written, one line per write; fails when a write was not exactly one packet."""
        lines = []
        for packet in self.written:
            (decoded,) = Decoder(len(packet)).feed(packet)
            lines.append(shown(decoded))
        return lines

    def hears(self) -> list[str]:
        """What was written since the last time this was asked."""
        lines = self.heard
        self.written.clear()
        return lines


class Stage:
    """A broker with a clock of its own, and what `on_publish` was told."""

    def __init__(self, rules: Rules = OPEN) -> None:
        self.clock = Clock()
        self.told: list[tuple[str, Message]] = []
        self.broker = Broker(rules=rules, on_publish=self._tell, timers=self.clock)

    def _tell(self, info: ClientInfo, message: Message) -> None:
        self.told.append((info.client_id, message))

    def connect(
        self,
        client_id: str,
        principal: str = "",
        *,
        clean: bool = True,
        keep_alive: int = 0,
        will: Message | None = None,
    ) -> Pipe:
        pipe = Pipe(self.broker, principal)
        pipe.say(Connect(client_id, clean, keep_alive, will))
        return pipe


# The codec ------------------------------------------------------------------------------------------------------------

levels = st.text(st.characters(codec="utf-8", exclude_characters="\0+#/"), max_size=6)
topics = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
filters = (
    st.tuples(st.lists(levels | st.just("+"), max_size=5), st.booleans())
    .map(lambda parts: "/".join([*parts[0], *(["#"] if parts[1] else [])]))
    .filter(bool)
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
packet_ids = st.integers(1, 0xFFFF)
qos = st.integers(0, 2)
payloads = st.binary(max_size=300)
publishes = st.one_of(
    st.builds(Publish, topics, payloads, st.just(0), st.booleans()),
    st.builds(Publish, topics, payloads, st.integers(1, 2), st.booleans(), st.booleans(), packet_ids),
)
wills = st.none() | st.builds(Message, topics, payloads, qos, st.booleans())
connects = st.builds(
    Connect, texts, st.booleans(), st.integers(0, 0xFFFF), wills, texts, st.none() | payloads
) | st.builds(Connect, texts, st.booleans(), st.integers(0, 0xFFFF), wills)
packets: st.SearchStrategy[Packet] = st.one_of(
    connects,
    publishes,
    st.builds(Connack, st.booleans(), st.integers(0, 5)),
    st.builds(Ack, st.sampled_from((Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP, Kind.UNSUBACK)), packet_ids),
    st.builds(Subscribe, packet_ids, st.lists(st.tuples(filters, qos), min_size=1, max_size=9).map(tuple)),
    st.builds(Suback, packet_ids, st.lists(st.sampled_from((0, 1, 2, 0x80)), max_size=9).map(tuple)),
    st.builds(Unsubscribe, packet_ids, st.lists(filters, min_size=1, max_size=9).map(tuple)),
    st.builds(Signal, st.sampled_from((Kind.PINGREQ, Kind.PINGRESP, Kind.DISCONNECT))),
)
LIMIT = 1024 * 1024


@given(st.lists(packets, max_size=5), st.integers(1, 400))
def test_decoding_undoes_encoding_however_the_bytes_are_cut(sent: list[Packet], size: int) -> None:
    stream = b"".join(map(encode, sent))
    decoder = Decoder(LIMIT)
    received = [packet for at in range(0, len(stream), size) for packet in decoder.feed(stream[at : at + size])]
    assert received == sent


@given(packets, st.data())
def test_a_packet_cut_short_is_waited_for(packet: Packet, data: st.DataObject) -> None:
    stream = encode(packet)
    cut = data.draw(st.integers(0, len(stream) - 1))
    assert list(Decoder(LIMIT).feed(stream[:cut])) == []


@given(st.lists(packets, min_size=1, max_size=3), st.data())
def test_mangled_packets_raise_nothing_but_malformed_packet(sent: list[Packet], data: st.DataObject) -> None:
    stream = bytearray(b"".join(map(encode, sent)))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    decoder = Decoder(LIMIT)
    try:
        received = list(decoder.feed(bytes(stream)))
    except MalformedPacket:
        return
    # Whatever was still understood can be said again.
    for packet in received:
        assert list(Decoder(LIMIT).feed(encode(packet))) == [packet]


@given(st.binary(max_size=200), st.lists(packets, max_size=3), st.booleans())
def test_whatever_a_client_sends_the_broker_goes_on(noise: bytes, sent: list[Packet], connected: bool) -> None:
    stage = Stage()
    bystander = stage.connect("a bystander, whose name the noise does not hit")
    client = Pipe(stage.broker)
    if connected:
        client.say(Connect("noisy", will=Message("wills/noisy", b"gone")))
    client.say(*sent)
    client.connection.receive(noise)
    client.connection.lost()
    bystander.say(Signal(Kind.PINGREQ))
    assert bystander.heard == ["CONNACK 0", "PINGRESP"]
    assert client.closed


@given(filters, topics)
def test_the_tree_finds_what_matches_says(topic_filter: str, topic: str) -> None:
    stage = Stage()
    client = stage.connect("c")
    client.say(Subscribe(1, ((topic_filter, 0),)))
    client.hears()
    stage.broker.publish(topic, b"")
    assert bool(client.hears()) is matches(topic_filter, topic)
    client.say(Unsubscribe(2, (topic_filter,)))
    assert client.hears() == ["UNSUBACK #2"]
    stage.broker.publish(topic, b"")
    assert client.hears() == []


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_remaining_lengths(length: int) -> None:
    packet = Publish("a", b"x" * max(length - 3, 0))
    stream = encode(packet) if length >= 3 else encode(Signal(Kind.PINGREQ))
    assert len(list(Decoder(4 * LIMIT).feed(stream))) == 1


def test_a_long_packet_is_refused_by_its_header() -> None:
    stream = encode(Publish("a", b"x" * 1000))
    assert list(Decoder(len(stream)).feed(stream))
    with pytest.raises(MalformedPacket, match="1006 bytes"):
        list(Decoder(len(stream) - 1).feed(stream[:3]))


def test_more_topics_than_are_remembered() -> None:
    stage = Stage()
    client = stage.connect("c")
    client.say(Subscribe(1, (("a/+", 0),)))
    for number in range(5000):
        stage.broker.publish(f"a/{number}", b"")
    assert len(client.written) == 2 + 5000
    client.say(Unsubscribe(2, ("a/+",)))
    client.written.clear()
    stage.broker.publish("a/1", b"")
    assert client.heard == []


def test_a_flag_is_0_or_1() -> None:
    with pytest.raises(MalformedPacket, match="0x2"):
        list(Decoder(LIMIT).feed(b"\x20\x02\x02\x00"))


def test_passwords_are_in_no_repr() -> None:
    assert "geheim" not in repr(Connect("c", username="anna", password=b"geheim"))


# Publishing from inside -----------------------------------------------------------------------------------------------


def test_publishing_from_inside() -> None:
    stage = Stage()
    client = stage.connect("c")
    client.say(Subscribe(1, (("a/#", 1),)))
    stage.broker.publish("a", b"0")
    stage.broker.publish("a/b", b"2", qos=2, retain=True)
    assert client.heard[2:] == ["PUBLISH a '0' qos 0", "PUBLISH a/b '2' qos 1 #1"]
    assert stage.broker.retained == {"a/b": b"2"}
    stage.broker.publish("a/b", b"", retain=True)
    assert stage.broker.retained == {}
    assert stage.told == []


@pytest.mark.parametrize(
    ("topic", "qos"),
    [("", 0), ("a/+", 0), ("#", 0), ("a\0b", 0), ("ä" * 40_000, 0), ("\udc80", 0), ("a", 3), ("a", -1)],
)
def test_publishing_nonsense_from_inside(topic: str, qos: int) -> None:
    with pytest.raises(ValueError, match=r"no QoS|can not be published|surrogates not allowed"):
        Stage().broker.publish(topic, b"", qos=qos)


def test_on_publish_may_publish() -> None:
    broker = Broker(timers=Clock(), on_publish=lambda _, message: broker.publish("answers", message.payload))
    client = Pipe(broker)
    client.say(Connect("c"), Subscribe(1, (("#", 1),)), Publish("questions", b"why", 1, packet_id=1))
    # The message itself, its acknowledgement, then what came of it.
    assert client.heard[2:] == ["PUBLISH questions 'why' qos 1 #1", "PUBACK #1", "PUBLISH answers 'why' qos 0"]


def test_a_client_may_answer_from_within_its_transport() -> None:
    stage = Stage()

    class Prompt(Pipe):
        def write(self, packet: bytes, /) -> None:
            super().write(packet)
            (decoded,) = Decoder(len(packet)).feed(packet)
            if isinstance(decoded, Publish):
                self.say(Ack(Kind.PUBACK, decoded.packet_id), Publish("answers", decoded.payload))

    client = Prompt(stage.broker)
    questions = [Publish("questions", b"%d" % number, 1, packet_id=number) for number in (1, 2, 3)]
    client.say(Connect("c", clean_session=False), Subscribe(1, (("questions", 1),)), *questions)
    assert [message.payload for _, message in stage.told if message.topic == "answers"] == [b"1", b"2", b"3"]
    client.connection.lost()
    assert stage.connect("c", clean=False).heard == ["CONNACK 0 session present"]


def test_a_will_may_end_the_connection_that_takes_over() -> None:
    broker = Broker(timers=Clock(), on_publish=lambda info, _: broker.disconnect(info.principal))
    first = Pipe(broker, "me")
    first.say(Connect("twin", clean_session=False, will=Message("wills", b"")))
    second = Pipe(broker, "me")
    second.say(Connect("twin", clean_session=False))
    assert second.closed
    assert second.heard == []
    assert broker.clients == {}


def test_on_publish_is_told_of_messages_once_and_of_wills() -> None:
    stage = Stage()
    client = stage.connect("c", will=Message("wills/c", b"gone", 1))
    twice = Publish("two", b"2", 2, packet_id=3)
    client.say(Publish("zero", b"0"), twice, replace(twice, dup=True), Ack(Kind.PUBREL, 3), Ack(Kind.PUBREL, 3))
    client.connection.lost()
    assert stage.told == [
        ("c", Message("zero", b"0")),
        ("c", Message("two", b"2", 2)),
        ("c", Message("wills/c", b"gone", 1)),
    ]


def test_clients_and_subscriptions_are_shown() -> None:
    stage = Stage()
    client = stage.connect("c", "account", clean=False, keep_alive=30)
    client.say(Subscribe(1, (("a", 0), ("b", 1))), Unsubscribe(2, ("a",)))
    assert stage.broker.clients == {"c": ClientInfo("c", "account", None, 30, clean_session=False)}
    assert stage.broker.subscriptions("c") == {"b": 1}
    client.connection.lost()
    assert stage.broker.clients == {}
    assert stage.broker.subscriptions("c") == {"b": 1}
    assert stage.broker.subscriptions("nobody") == {}


# Time -----------------------------------------------------------------------------------------------------------------


def test_keep_alive_has_half_of_grace() -> None:
    stage = Stage()
    client = stage.connect("c", keep_alive=20)
    stage.clock.advance(29)
    client.say(Signal(Kind.PINGREQ))
    stage.clock.advance(29.9)
    assert stage.broker.clients
    stage.clock.advance(0.2)
    assert client.closed
    assert client.heard == ["CONNACK 0", "PINGRESP"]
    assert stage.clock.pending == 0


def test_no_keep_alive_is_no_limit() -> None:
    stage = Stage()
    client = stage.connect("c", keep_alive=0)
    stage.clock.advance(1_000_000)
    assert not client.closed


def test_connect_has_to_come_in_time() -> None:
    stage = Stage(Rules(connect_seconds=5))
    client = Pipe(stage.broker)
    client.connection.receive(b"\x10")
    stage.clock.advance(4.9)
    assert not client.closed
    stage.clock.advance(0.2)
    assert client.closed


def test_the_session_time_ends_a_connection_and_the_session_stays() -> None:
    stage = Stage(replace(AWS, max_session_seconds=3600))
    client = stage.connect("c", clean=False, keep_alive=1200, will=Message("wills/c", b"gone"))
    client.say(Subscribe(1, (("a", 1),)))
    stage.clock.advance(1700)
    client.say(Signal(Kind.PINGREQ))
    stage.clock.advance(1700)
    client.say(Signal(Kind.PINGREQ))
    stage.clock.advance(201)
    assert client.closed
    assert stage.told == [("c", Message("wills/c", b"gone"))]
    stage.broker.publish("a", b"meanwhile", qos=1)
    back = stage.connect("c", clean=False)
    assert back.heard == ["CONNACK 0 session present", "PUBLISH a 'meanwhile' qos 1 #1"]


def test_a_closed_connection_leaves_no_timer() -> None:
    stage = Stage(replace(AWS, quiet_seconds=1))
    client = stage.connect("c", keep_alive=30)
    client.say(Subscribe(1, (("a", 0),)), Signal(Kind.DISCONNECT))
    assert client.closed
    assert stage.clock.pending == 0


# The rules of AWS IoT, one by one -------------------------------------------------------------------------------------


def own_topics_only(principal: str, _client_id: str, topic: str) -> bool:
    return topic.startswith(f"{principal}/")


POLICY = replace(AWS, may_subscribe=own_topics_only, may_publish=own_topics_only)
FRIENDLY = replace(POLICY, close_on_forbidden=False)


def test_a_forbidden_filter_closes_without_a_word() -> None:
    client = Stage(POLICY).connect("c", "me")
    client.say(Subscribe(1, (("me/a", 1),)), Subscribe(2, (("me/b", 1), ("you/a", 1))))
    assert client.heard == ["CONNACK 0", "SUBACK #1 [1]"]
    assert client.closed


def test_a_forbidden_filter_is_refused_where_that_is_the_rule() -> None:
    stage = Stage(FRIENDLY)
    stage.broker.publish("you/a", b"secret", retain=True)
    client = stage.connect("c", "me")
    client.say(Subscribe(1, (("me/a", 1), ("you/a", 1), ("#", 0))))
    assert client.heard == ["CONNACK 0", "SUBACK #1 [1, 128, 128]"]
    assert not client.closed
    assert stage.broker.subscriptions("c") == {"me/a": 1}


def test_a_forbidden_message_closes_without_a_word() -> None:
    stage = Stage(POLICY)
    client = stage.connect("c", "me")
    client.say(Publish("you/a", b"", 1, packet_id=1))
    assert client.closed
    assert client.heard == ["CONNACK 0"]
    assert stage.told == []


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_forbidden_message_is_acknowledged_and_dropped_where_that_is_the_rule(qos: int) -> None:
    stage = Stage(replace(FRIENDLY, max_qos=2))
    client = stage.connect("c", "me")
    client.say(Publish("you/a", b"", qos, packet_id=1 if qos else 0), Ack(Kind.PUBREL, 1))
    answers = [[], ["PUBACK #1"], ["PUBREC #1"]][qos]
    assert client.heard == ["CONNACK 0", *answers, "PUBCOMP #1"]
    assert stage.told == []


def test_a_forbidden_will() -> None:
    will = Message("you/wills", b"")
    assert Stage(POLICY).connect("c", "me", will=will).closed
    stage = Stage(FRIENDLY)
    client = stage.connect("c", "me", will=will)
    assert client.heard == ["CONNACK 0"]
    client.connection.lost()
    assert stage.told == []


@pytest.mark.parametrize(
    "packet",
    [Publish("a", b"", 2, packet_id=1), Subscribe(1, (("a", 2),)), Subscribe(1, (("a", 1), ("b", 2)))],
    ids=["publish", "subscribe", "second filter"],
)
def test_qos_2_closes(packet: Packet) -> None:
    client = Stage(AWS).connect("c")
    client.say(packet)
    assert client.heard == ["CONNACK 0"]
    assert client.closed


def test_a_will_of_qos_2_closes() -> None:
    client = Stage(AWS).connect("c", will=Message("a", b"", 2))
    assert client.heard == []
    assert client.closed


def test_eight_filters_are_taken_and_nine_close() -> None:
    client = Stage(AWS).connect("c")
    client.say(Subscribe(1, tuple((f"a/{number}", 1) for number in range(8))))
    assert client.hears() == ["CONNACK 0", f"SUBACK #1 {[1] * 8}"]
    client.say(Subscribe(2, tuple((f"b/{number}", 1) for number in range(9))))
    assert client.hears() == []
    assert client.closed


def test_too_many_subscriptions_are_refused() -> None:
    stage = Stage(replace(AWS, max_subscriptions=2))
    client = stage.connect("c")
    client.say(Subscribe(1, (("a", 1), ("b", 1), ("c", 1))), Subscribe(2, (("a", 0),)))
    assert client.heard[1:] == ["SUBACK #1 [1, 1, 128]", "SUBACK #2 [0]"]


@pytest.mark.parametrize("topic", ["/" * 8, "x" * 257, "ä" * 129])
def test_long_topics_close(topic: str) -> None:
    for packet in (Publish(topic, b""), Subscribe(1, ((topic, 0),))):
        client = Stage(AWS).connect("c")
        client.say(packet)
        assert client.closed
    assert Stage(AWS).connect("c", will=Message(topic, b"")).closed
    client = Stage(AWS).connect("c")
    client.say(Publish(topic[1:], b"", 1, packet_id=1))
    assert client.heard == ["CONNACK 0", "PUBACK #1"]


def test_a_payload_of_128_kib_is_taken() -> None:
    client = Stage(AWS).connect("c")
    client.say(Publish("a", b"x" * 128 * 1024, 1, packet_id=1))
    assert client.heard == ["CONNACK 0", "PUBACK #1"]
    client.say(Publish("a", b"x" * 129 * 1024, 1, packet_id=2))
    assert client.closed


def test_one_connection_per_client_id() -> None:
    stage = Stage(AWS)
    first = stage.connect("twin", "account")
    second = stage.connect("twin", "account")
    assert first.heard == ["CONNACK 0"]  # and no DISCONNECT
    assert first.closed
    assert not second.closed
    first.connection.receive(encode(Signal(Kind.PINGREQ)))
    first.connection.lost()
    assert list(stage.broker.clients) == ["twin"]


def test_a_principal_is_cut_off() -> None:
    stage = Stage(AWS)
    watcher = stage.connect("watcher", "other")
    watcher.say(Subscribe(1, (("#", 0),)))
    pipes = [stage.connect("a", "mine", will=Message("wills/a", b"gone")), stage.connect("b", "mine")]
    pipes.append(Pipe(stage.broker, "mine"))
    stage.broker.disconnect("mine")
    assert all(pipe.closed for pipe in pipes)
    assert list(stage.broker.clients) == ["watcher"]
    assert watcher.heard[2:] == ["PUBLISH wills/a 'gone' qos 0"]


def test_quiet_after_subscribing() -> None:
    stage = Stage(replace(AWS, quiet_seconds=1))
    stage.broker.publish("a/kept", b"0", qos=1, retain=True)
    client = stage.connect("c")
    client.say(Subscribe(1, (("a/#", 1),)))
    stage.clock.advance(0.7)
    stage.broker.publish("a/live", b"1", qos=1)
    stage.broker.publish("a/live", b"2")
    client.say(Subscribe(2, (("b", 1),)), Publish("b", b"3", 1, packet_id=1))
    stage.clock.advance(0.7)
    assert client.hears() == ["CONNACK 0", "SUBACK #1 [1]", "SUBACK #2 [1]", "PUBACK #1"]
    stage.clock.advance(0.4)
    assert client.hears() == [
        "PUBLISH a/kept '0' qos 1 #1 retain",
        "PUBLISH a/live '1' qos 1 #2",
        "PUBLISH a/live '2' qos 0",
        "PUBLISH b '3' qos 1 #3",
    ]
    stage.broker.publish("a/live", b"4")
    assert client.hears() == ["PUBLISH a/live '4' qos 0"]


def test_what_waited_for_quiet_survives_as_far_as_it_was_promised() -> None:
    stage = Stage(replace(AWS, quiet_seconds=1))
    client = stage.connect("c", clean=False)
    client.say(Subscribe(1, (("a", 1),)))
    stage.broker.publish("a", b"promised", qos=1)
    stage.broker.publish("a", b"not promised")
    client.connection.lost()
    assert stage.connect("c", clean=False).heard == ["CONNACK 0 session present", "PUBLISH a 'promised' qos 1 #1"]


# Faults ---------------------------------------------------------------------------------------------------------------


def test_messages_may_get_lost_on_the_way_in() -> None:
    stage = Stage(Rules(loses=lambda info, message: info.client_id == "c" and b"11" in message.payload))
    client = stage.connect("c")
    client.say(Publish("a", b"11", 1, packet_id=1), Publish("a", b"12", 1, packet_id=2))
    assert client.heard == ["CONNACK 0", "PUBACK #2"]
    assert stage.told == [("c", Message("a", b"12", 1))]


def test_messages_may_be_withheld_while_pings_are_answered() -> None:
    stage = Stage()
    client = stage.connect("c")
    client.say(Subscribe(1, (("a", 1),)))
    stage.broker.rules = replace(stage.broker.rules, withholds=lambda info, _: info.client_id == "c")
    stage.broker.publish("a", b"1", qos=1)
    client.say(Signal(Kind.PINGREQ))
    assert client.heard[2:] == ["PINGRESP"]
    stage.broker.rules = replace(stage.broker.rules, withholds=None)
    stage.broker.publish("a", b"2", qos=1)
    assert client.heard[3:] == ["PUBLISH a '2' qos 1 #1"]


# Bounds ---------------------------------------------------------------------------------------------------------------


def test_the_queue_of_an_absent_client_is_bounded() -> None:
    stage = Stage(Rules(max_queued=2))
    stage.connect("c", clean=False).say(Subscribe(1, (("a", 1),)), Signal(Kind.DISCONNECT))
    for number in range(5):
        stage.broker.publish("a", b"%d" % number, qos=1)
    assert stage.connect("c", clean=False).heard[1:] == ["PUBLISH a '0' qos 1 #1", "PUBLISH a '1' qos 1 #2"]


def test_a_client_that_never_acknowledges_is_served_on() -> None:
    stage = Stage(Rules(max_queued=2))
    client = stage.connect("c", clean=False)
    client.say(Subscribe(1, (("a", 1),)))
    for number in range(5):
        stage.broker.publish("a", b"%d" % number, qos=1)
    assert len(client.heard[2:]) == 5
    client.connection.lost()
    assert stage.connect("c", clean=False).heard[1:] == ["PUBLISH a '3' qos 1 #4 dup", "PUBLISH a '4' qos 1 #5 dup"]


def test_packet_ids_go_round_and_spare_those_in_use() -> None:
    stage = Stage()
    client = stage.connect("c")
    client.say(Subscribe(1, (("a", 1),)))
    stage.broker.publish("a", b"never acknowledged", qos=1)
    for number in range(2, 0x10000):
        stage.broker.publish("a", b"", qos=1)
        client.say(Ack(Kind.PUBACK, number))
    client.written.clear()
    stage.broker.publish("a", b"", qos=1)
    assert client.hears() == ["PUBLISH a '' qos 1 #2"]


def test_messages_of_qos_2_that_are_never_released_are_bounded() -> None:
    client = Stage(Rules(max_queued=2)).connect("c")
    client.say(*(Publish("a", b"", 2, packet_id=number) for number in (1, 2, 3)))
    assert client.heard == ["CONNACK 0", "PUBREC #1", "PUBREC #2"]
    assert client.closed


def test_a_client_that_does_not_read_is_dropped() -> None:
    stage = Stage(Rules(max_backlog=1000))
    watcher = stage.connect("watcher")
    watcher.say(Subscribe(1, (("#", 0),)))
    slow = stage.connect("slow", will=Message("wills/slow", b"gone"))
    slow.say(Subscribe(1, (("a", 0),)))
    stage.broker.publish("a", b"1")
    slow.unread = 1001
    stage.broker.publish("a", b"2")
    stage.broker.publish("a", b"3")
    assert slow.closed
    assert slow.heard[2:] == ["PUBLISH a '1' qos 0", "PUBLISH a '2' qos 0"]
    assert "PUBLISH wills/slow 'gone' qos 0" in watcher.heard
    assert watcher.heard[-1] == "PUBLISH a '3' qos 0"


@pytest.mark.parametrize("max_queued", [0, 65_535])
def test_bounds_that_can_not_be_kept(max_queued: int) -> None:
    with pytest.raises(ValueError, match="max_queued"):
        Rules(max_queued=max_queued)


def test_sessions_are_bounded() -> None:
    stage = Stage(Rules(max_sessions=2))
    for name in ("oldest", "older"):
        stage.connect(name, clean=False).say(Subscribe(1, (("a", 1),)), Signal(Kind.DISCONNECT))
    new = stage.connect("new")
    assert stage.broker.subscriptions("oldest") == {}
    assert stage.broker.subscriptions("older") == {"a": 1}
    assert not new.closed
    stage.connect("newer")
    newest = stage.connect("newest")
    assert newest.heard == ["CONNACK 3"]
    assert newest.closed
    assert sorted(stage.broker.clients) == ["new", "newer"]


def test_retained_messages_are_bounded() -> None:
    stage = Stage(Rules(max_retained=2))
    for topic in ("a", "b", "c"):
        stage.broker.publish(topic, b"1", retain=True)
    stage.broker.publish("a", b"2", retain=True)
    assert stage.broker.retained == {"a": b"2", "b": b"1"}


# TCP ------------------------------------------------------------------------------------------------------------------


async def test_a_real_client_over_tcp() -> None:
    broker = Broker()

    @dataclass
    class At:
        host: str
        port: int

    at = At("127.0.0.1", await broker.listen())
    async with listening(at, "a/#", client_id="listener") as listener:
        for qos in range(3):
            await listener.publish(f"a/{qos}", "hello", qos=qos)
            heard = await listener.wait_for(f"a/{qos}")
            assert (heard.text, heard.qos, heard.retain) == ("hello", qos, False)
        assert list(broker.clients) == ["listener"]
    await broker.close()


async def test_closing_keeps_sessions_for_the_next_listening() -> None:
    broker = Broker()
    port = await broker.listen()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(Connect("c", clean_session=False)) + encode(Subscribe(1, (("a", 1),))))
    assert await reader.readexactly(9) == b"\x20\x02\x00\x00\x90\x03\x00\x01\x01"
    await broker.close()
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    broker.publish("a", b"", qos=1)
    await broker.listen(port=port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(Connect("c", clean_session=False)))
    assert await reader.readexactly(11) == b"\x20\x02\x01\x00\x32\x05\x00\x01a\x00\x01"
    writer.close()
    await broker.close()


async def test_a_socket_that_is_not_read_is_dropped_and_closed() -> None:
    broker = Broker(rules=Rules(max_backlog=100_000))
    port = await broker.listen()
    with closing(socket()) as sleeper:
        sleeper.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sleeper, ("127.0.0.1", port))
        sleeper.sendall(encode(Connect("sleeper")) + encode(Subscribe(1, (("a", 0),))))
        async with asyncio.timeout(10):
            await until(lambda: broker.subscriptions("sleeper"))
            while broker.clients:
                broker.publish("a", b"x" * 100_000)
                await asyncio.sleep(0)
            # Its last bytes never get out; after a while the socket is closed all the same.
            await until(lambda: not broker._sockets)
    await broker.close()
