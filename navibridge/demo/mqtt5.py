"""MQTT 5 in front of a broker that speaks 3.1.1: every packet is rewritten, every property is left out.

AWS IoT takes both versions. They differ little in what the vendors' clients use: a block of properties here and there,
reason codes where there were none, and a longer answer to UNSUBSCRIBE. A `Translator` stands between a pipe and a
`navibridge.demo.broker.Connection`; a client of 3.1.1 does not notice it. Sans-I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from navibridge.demo.broker import Kind, MalformedPacket

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEVEL: Final = 5
_CONNACK_REASONS: Final = {0: 0x00, 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
"""Return codes of 3.1.1 and what they are called now."""
_REFUSED: Final = 0x80
_NOT_AUTHORIZED: Final = 0x87
_MAXIMUM_QOS_1: Final = b"\x02\x24\x01"
"""The properties of CONNACK: QoS 2 is not to be used, as AWS IoT says."""
_NO_PROPERTIES: Final = b"\x00"
_ACKS: Final = frozenset({Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP})
_WILL: Final = 0x04
_LENGTH_BYTES: Final = 4


class Translator:
    """One connection's translation, in both directions; which version the client speaks its CONNECT tells.

    Args:
        max_packet_size: in bytes; a longer packet of the client is refused before it has come.
    """

    def __init__(self, max_packet_size: int) -> None:
        self._limit = max_packet_size
        self._level: int | None = None
        self._bytes = bytearray()
        self._unsubscribing: dict[bytes, int] = {}  # how many filters, by packet id

    def to_broker(self, data: bytes) -> bytes:
        """What a client sent, in 3.1.1; empty until a packet is complete.

        Raises:
            MalformedPacket: this is no MQTT.
        """
        if self._level not in (None, _LEVEL):
            return data
        self._bytes += data
        done = bytearray()
        try:
            for first, body in self._packets():
                if self._level is None:
                    self._level = body[2 + int.from_bytes(body[:2], "big")]
                    if self._level != _LEVEL:
                        rest, self._bytes = bytes(self._bytes), bytearray()
                        return _framed(first, body) + rest
                done += _framed(first, self._older(first >> 4, first & 0x0F, body))
        except IndexError as error:
            raise MalformedPacket("the packet is shorter than its contents") from error
        return bytes(done)

    def to_client(self, packet: bytes) -> bytes:
        """One packet of the broker, in the client's version."""
        if self._level != _LEVEL:
            return packet
        _, start = _number(packet, 1)
        first, body = packet[0], packet[start:]
        match first >> 4:
            case Kind.CONNACK:
                return _framed(first, bytes((body[0], _CONNACK_REASONS[body[1]])) + _MAXIMUM_QOS_1)
            case Kind.PUBLISH:
                end = _after_topic(first, body)
                return _framed(first, body[:end] + _NO_PROPERTIES + body[end:])
            case Kind.SUBACK:
                codes = bytes(_NOT_AUTHORIZED if code == _REFUSED else code for code in body[2:])
                return _framed(first, body[:2] + _NO_PROPERTIES + codes)
            case Kind.UNSUBACK:
                return _framed(first, body + _NO_PROPERTIES + bytes(self._unsubscribing.pop(body, 1)))
            case _:
                return packet

    def _packets(self) -> Iterator[tuple[int, bytes]]:
        """The complete packets there are: first byte and body. They are taken out of the buffer."""
        while len(self._bytes) > 1:
            try:
                length, start = _number(self._bytes, 1)
            except IndexError:
                return  # the length itself is not complete
            if start + length > self._limit:
                raise MalformedPacket(f"a packet of {start + length} bytes")
            if len(self._bytes) < start + length:
                return
            first, body = self._bytes[0], bytes(self._bytes[start : start + length])
            del self._bytes[: start + length]
            yield first, body

    def _older(self, kind: int, flags: int, body: bytes) -> bytes:
        """A body without what 3.1.1 does not know."""
        if kind == Kind.CONNECT:
            return _older_connect(body)
        if kind == Kind.PUBLISH:
            end = _after_topic(flags, body)
            return body[:end] + body[_after_properties(body, end) :]
        if kind in _ACKS:
            return body[:2]
        if kind == Kind.SUBSCRIBE:
            at = _after_properties(body, 2)
            wanted = bytearray(body[:2])
            while at < len(body):
                end = _after_text(body, at)
                wanted += body[at:end] + bytes((body[end] & 0x03,))  # the QoS, without the newer options
                at = end + 1
            return bytes(wanted)
        if kind == Kind.UNSUBSCRIBE:
            at = start = _after_properties(body, 2)
            count = 0
            while at < len(body):
                at = _after_text(body, at)
                count += 1
            self._unsubscribing[body[:2]] = count
            return body[:2] + body[start:]
        return b""  # PINGREQ has no body, and the reason of a DISCONNECT is of no interest here


def _older_connect(body: bytes) -> bytes:
    level = _after_text(body, 0)
    flags = body[level + 1]
    properties = level + 4  # after the flags and the keep-alive
    client_id = _after_properties(body, properties)
    end = _after_text(body, client_id)
    will = _after_properties(body, end) if flags & _WILL else end
    return body[:level] + b"\x04" + body[level + 1 : properties] + body[client_id:end] + body[will:]


def _after_topic(flags: int, body: bytes) -> int:
    """Where a PUBLISH goes on after topic and packet id; the latter comes with QoS 1 and 2 only."""
    return _after_text(body, 0) + (2 if flags & 0x06 else 0)


def _after_text(body: bytes, at: int) -> int:
    end = at + 2 + (body[at] << 8 | body[at + 1])
    if end > len(body):
        raise IndexError(end)
    return end


def _after_properties(body: bytes, at: int) -> int:
    length, start = _number(body, at)
    if start + length > len(body):
        raise IndexError(start + length)
    return start + length


def _number(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for place in range(_LENGTH_BYTES):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at + place + 1
    raise MalformedPacket("a length of more than four bytes")


def _framed(first: int, body: bytes) -> bytes:
    head = bytearray((first,))
    length = len(body)
    while length > 0x7F:  # noqa: PLR2004 - as above
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + body
