"""MQTT 5 rewritten into 3.1.1 and back; that real clients get along with it, the tests of the cloud link show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navibridge.demo.broker import (
    Ack,
    Connack,
    Connect,
    Decoder,
    Kind,
    MalformedPacket,
    Message,
    Packet,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    encode,
)
from navibridge.demo.mqtt5 import Translator

LIMIT = 10_000


def packet(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((first, len(body))) + body


def text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


CONNECT = packet(
    0x10,
    text("MQTT") + b"\x05\xf6\x00\x3c" + b"\x05\x11\x00\x00\x00\x05" + text("me")
    + b"\x05\x18\x00\x00\x00\x01" + text("will") + text("gone") + text("user") + text("word"),
)  # fmt: skip

FROM_CLIENT = [
    (
        CONNECT,
        Connect(
            "me",
            keep_alive=60,
            clean_session=True,
            will=Message("will", b"gone", qos=2, retain=True),
            username="user",
            password=b"word",
        ),
    ),
    (packet(0x32, text("a/b") + b"\x00\x07" + b"\x02\x01\x01" + b"data"), Publish("a/b", b"data", qos=1, packet_id=7)),
    (packet(0x30, text("a") + b"\x00"), Publish("a", b"")),
    (packet(0x82, b"\x00\x08" + b"\x02\x0b\x01" + text("a/#") + b"\x2d"), Subscribe(8, (("a/#", 1),))),
    (packet(0xA2, b"\x00\x09" + b"\x00" + text("a/#") + text("b")), Unsubscribe(9, ("a/#", "b"))),
    (packet(0x40, b"\x00\x07\x10\x00"), Ack(Kind.PUBACK, 7)),
    (packet(0x40, b"\x00\x07"), Ack(Kind.PUBACK, 7)),
    (packet(0xC0, b""), Signal(Kind.PINGREQ)),
    (packet(0xE0, b"\x04\x00"), Signal(Kind.DISCONNECT)),
]
TO_CLIENT = [
    (Connack(session_present=True, code=0), packet(0x20, b"\x01\x00\x02\x24\x01")),
    (Connack(session_present=False, code=5), packet(0x20, b"\x00\x87\x02\x24\x01")),
    (Publish("a/b", b"data", qos=1, packet_id=7), packet(0x32, text("a/b") + b"\x00\x07\x00data")),
    (Publish("a/b", b"data"), packet(0x30, text("a/b") + b"\x00data")),
    (Suback(8, (1, 0x80)), packet(0x90, b"\x00\x08\x00\x01\x87")),
    (Ack(Kind.UNSUBACK, 9), packet(0xB0, b"\x00\x09\x00\x00\x00")),
    (Ack(Kind.PUBACK, 7), packet(0x40, b"\x00\x07")),
    (Signal(Kind.PINGRESP), packet(0xD0, b"")),
]


def older(translator: Translator, *pieces: bytes) -> list[Packet]:
    decoder = Decoder(LIMIT)
    return [packet for piece in pieces for packet in decoder.feed(translator.to_broker(piece))]


def test_what_a_client_of_5_says() -> None:
    said = b"".join(newer for newer, _ in FROM_CLIENT)
    meant = [packet for _, packet in FROM_CLIENT]
    assert older(Translator(LIMIT), said) == meant
    assert older(Translator(LIMIT), *(said[at : at + 1] for at in range(len(said)))) == meant


def test_what_it_is_told() -> None:
    translator = Translator(LIMIT)
    older(translator, *(newer for newer, _ in FROM_CLIENT))
    for packet_, newer in TO_CLIENT:
        assert translator.to_client(encode(packet_)) == newer


def test_long_packets() -> None:
    translator = Translator(LIMIT)
    older(translator, CONNECT)
    payload = bytes(5000)
    [sent] = older(translator, translator.to_client(encode(Publish("a", payload))))
    assert sent == Publish("a", payload)
    with pytest.raises(MalformedPacket):
        translator.to_broker(b"\x30\xff\x7f")


def test_a_client_of_3_1_1_does_not_notice_it() -> None:
    translator = Translator(LIMIT)
    said = [encode(Connect("me")), encode(Publish("a", b"1")), encode(Subscribe(1, (("a", 1),)))]
    for pieces in ([b"".join(said)], said, [b"".join(said)[at : at + 1] for at in range(len(b"".join(said)))]):
        translator = Translator(LIMIT)
        assert b"".join(translator.to_broker(piece) for piece in pieces) == b"".join(said)
    for packet_, _ in TO_CLIENT:
        assert translator.to_client(encode(packet_)) == encode(packet_)


@pytest.mark.parametrize("newer", [newer for newer, _ in FROM_CLIENT[1:5]])
def test_a_packet_cut_short_is_malformed(newer: bytes) -> None:
    for length in range(2 if newer[0] != 0x30 else 0, len(newer) - 6):
        translator = Translator(LIMIT)
        translator.to_broker(CONNECT)
        with pytest.raises(MalformedPacket):
            older(translator, bytes((newer[0], length)) + newer[2 : 2 + length])


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_translated_or_malformed(start: bytes, rest: bytes) -> None:
    for said in (start + rest, CONNECT + start + rest):
        translator = Translator(LIMIT)
        try:
            translator.to_broker(said)
        except MalformedPacket as error:
            assert str(error)  # noqa: PT017 - raising is allowed here, not required
