"""An embedded MQTT 3.1.1 broker for the demo, the simulated AWS IoT endpoint and tests.

Everything above the pipes is sans-I/O. Bytes come in by `Connection.receive`, bytes go out by `Transport.write`, one
MQTT packet per call, and what takes time is asked of `Timers`, which an event loop is. A pipe can be anything: a TCP
socket (`Broker.listen`), a WebSocket (`Broker.attach`), or a list in a test.

The file reads from the wire upwards: packets, topics, rules, sessions, connections, the broker, TCP.

How it behaves where the standard leaves a choice:

* A client that subscribes to a topic by several overlapping filters gets each message once, at the highest QoS granted.
* A message of QoS 1 or 2 is written at once; the client's acknowledgement is waited for, but the next message is not
  held back for it. Past `Rules.max_queued` unacknowledged messages the oldest counts as delivered: clients that never
  acknowledge exist (docs/protocol/mysa.md 14.4).
* Unacknowledged messages are sent again when the session is resumed, and only then.
* The will is published whenever a connection ends without DISCONNECT: loss, silence, malformed packet, takeover, the
  end of the session time. It is not published when the broker itself closes.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import uuid
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, cast

from navibridge.errors import NavibridgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

logger = logging.getLogger(__name__)


# Packets --------------------------------------------------------------------------------------------------------------


class MalformedPacket(NavibridgeError):
    """Bytes that are no MQTT 3.1.1 packet, or a packet out of place; the reaction is to close that connection."""


class UnacceptableProtocol(MalformedPacket):
    """A CONNECT of another MQTT version; it is answered with return code 1 before the connection is closed."""


class Kind(IntEnum):
    """The control packet types, as in the upper half of a packet's first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class ReturnCode(IntEnum):
    """The return codes of CONNACK."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USERNAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


REFUSED: Final = 0x80
"""The return code of SUBACK for a filter that was refused."""

AckKind: TypeAlias = Literal[Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP, Kind.UNSUBACK]
SignalKind: TypeAlias = Literal[Kind.PINGREQ, Kind.PINGRESP, Kind.DISCONNECT]


@dataclass(frozen=True, slots=True)
class Message:
    """An application message."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Connect:
    """A client's first packet; ``keep_alive`` is in seconds, 0 for none."""

    client_id: str
    clean_session: bool = True
    keep_alive: int = 0
    will: Message | None = None
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Connack:
    """The answer to CONNECT."""

    session_present: bool
    code: int


@dataclass(frozen=True, slots=True)
class Publish:
    """A message under way; ``packet_id`` is 0 with QoS 0 and only then."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """A packet that is nothing but a packet id."""

    kind: AckKind
    packet_id: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A request for subscriptions: pairs of topic filter and requested QoS."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Suback:
    """The answer, one code per filter: the granted QoS or `REFUSED`."""

    packet_id: int
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """A request to end subscriptions."""

    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signal:
    """A packet without a body."""

    kind: SignalKind


Packet: TypeAlias = Connect | Connack | Publish | Ack | Subscribe | Suback | Unsubscribe | Signal

_MAX_QOS: Final = 2
_PACKET_IDS: Final = 0xFFFF  # 1 to this
_LENGTH_BYTES: Final = 4  # of the remaining length
_BYTE: Final = 0x7F  # of a remaining length, the payload bits of each byte
# The lower half of the first byte: 0 for all others, but flags of its own for PUBLISH.
_FLAGS: Final[Mapping[int, int]] = {Kind.PUBREL: 0x02, Kind.SUBSCRIBE: 0x02, Kind.UNSUBSCRIBE: 0x02}
_ACKS: Final[Mapping[int, AckKind]] = {
    kind: kind for kind in (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP, Kind.UNSUBACK)
}
_SIGNALS: Final[Mapping[int, SignalKind]] = {kind: kind for kind in (Kind.PINGREQ, Kind.PINGRESP, Kind.DISCONNECT)}

# The flags of CONNECT, section 3.1.2.3 of the standard.
_USERNAME: Final = 0x80
_PASSWORD: Final = 0x40
_WILL_RETAIN: Final = 0x20
_WILL_QOS: Final = 0x18
_WILL: Final = 0x04
_CLEAN_SESSION: Final = 0x02
_RESERVED: Final = 0x01


def encode(packet: Packet) -> bytes:  # noqa: PLR0911 - one case per type
    """The bytes of one packet; the inverse of `decode`. Values are taken to be valid."""
    match packet:
        case Publish():
            first = packet.dup << 3 | packet.qos << 1 | packet.retain
            packet_id = _number(packet.packet_id) if packet.qos else b""
            return _framed(Kind.PUBLISH, _text(packet.topic) + packet_id + packet.payload, first)
        case Ack():
            return _framed(packet.kind, _number(packet.packet_id))
        case Signal():
            return _framed(packet.kind, b"")
        case Connect():
            return _framed(Kind.CONNECT, _encode_connect(packet))
        case Connack():
            return _framed(Kind.CONNACK, bytes((packet.session_present, packet.code)))
        case Subscribe():
            wanted = b"".join(_text(topic_filter) + bytes((qos,)) for topic_filter, qos in packet.filters)
            return _framed(Kind.SUBSCRIBE, _number(packet.packet_id) + wanted)
        case Suback():
            return _framed(Kind.SUBACK, _number(packet.packet_id) + bytes(packet.codes))
        case Unsubscribe():
            return _framed(Kind.UNSUBSCRIBE, _number(packet.packet_id) + b"".join(map(_text, packet.filters)))


def _framed(kind: Kind, body: bytes, flags: int | None = None) -> bytes:
    head = bytearray((kind << 4 | (_FLAGS.get(kind, 0) if flags is None else flags),))
    length = len(body)
    while length > _BYTE:
        head.append(length & _BYTE | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + body


def _number(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(value: bytes) -> bytes:
    return _number(len(value)) + value


def _encode_connect(packet: Connect) -> bytes:
    flags = _CLEAN_SESSION if packet.clean_session else 0
    rest = _text(packet.client_id)
    if packet.will is not None:
        flags |= _WILL | packet.will.qos << 3 | (_WILL_RETAIN if packet.will.retain else 0)
        rest += _text(packet.will.topic) + _binary(packet.will.payload)
    if packet.username is not None:
        flags |= _USERNAME
        rest += _text(packet.username)
    if packet.password is not None:
        flags |= _PASSWORD
        rest += _binary(packet.password)
    return _text("MQTT") + bytes((4, flags)) + _number(packet.keep_alive) + rest


class _Body:
    """A packet's body, read from front to back; every read beyond its end is a malformed packet."""

    __slots__ = ("_at", "_bytes")

    def __init__(self, body: bytes) -> None:
        self._bytes = body
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._bytes)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._bytes):
            raise MalformedPacket("the packet is shorter than its contents")
        taken = self._bytes[self._at : end]
        self._at = end
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._bytes) - self._at)

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def packet_id(self) -> int:
        number = self.number()
        if number == 0:
            raise MalformedPacket("a packet id of 0")
        return number

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise MalformedPacket("a text that is not UTF-8") from error
        if "\0" in text:
            raise MalformedPacket("a text with a NUL in it")
        return text

    def end(self) -> None:
        if self.more():
            raise MalformedPacket("the packet is longer than its contents")


def decode(first: int, body: bytes) -> Packet:
    """The packet of a first byte and a body; what follows from the packet alone is checked, topics included.

    Raises:
        MalformedPacket: this is no packet of MQTT 3.1.1. Nothing else is ever raised.
    """
    kind = _check_first(first)
    reader = _Body(body)
    if kind == Kind.PUBLISH:
        return _decode_publish(first & 0x0F, reader)
    packet: Packet
    if kind in _ACKS:
        packet = Ack(_ACKS[kind], reader.packet_id())
    elif kind in _SIGNALS:
        packet = Signal(_SIGNALS[kind])
    elif kind == Kind.CONNECT:
        packet = _decode_connect(reader)
    elif kind == Kind.CONNACK:
        packet = Connack(_flag(reader.byte()), reader.byte())
    elif kind == Kind.SUBSCRIBE:
        packet = Subscribe(reader.packet_id(), tuple(_decode_filters(reader)))
    elif kind == Kind.SUBACK:
        packet = Suback(reader.packet_id(), tuple(reader.rest()))
    else:
        packet = Unsubscribe(reader.packet_id(), tuple(_decode_unwanted(reader)))
    reader.end()
    return packet


def _check_first(first: int) -> int:
    """The packet type in a first byte."""
    kind, flags = first >> 4, first & 0x0F
    if not Kind.CONNECT <= kind <= Kind.DISCONNECT or (kind != Kind.PUBLISH and flags != _FLAGS.get(kind, 0)):
        raise MalformedPacket(f"a first byte of {first:#x}")
    return kind


def _decode_publish(flags: int, reader: _Body) -> Publish:
    dup, qos, retain = bool(flags & 0x08), flags >> 1 & 0x03, bool(flags & 0x01)
    if qos > _MAX_QOS or (dup and not qos):
        raise MalformedPacket(f"a PUBLISH with flags {flags:#x}")
    topic = _valid_topic(reader.text())
    packet_id = reader.packet_id() if qos else 0
    return Publish(topic, reader.rest(), qos, retain, dup, packet_id)


def _decode_connect(reader: _Body) -> Connect:
    name, level = reader.text(), reader.byte()
    if (name, level) != ("MQTT", 4):
        # Further on, the packet of another version is laid out differently.
        raise (UnacceptableProtocol if name in {"MQTT", "MQIsdp"} else MalformedPacket)(f"protocol {name!r}, {level}")
    flags, keep_alive = reader.byte(), reader.number()
    will_qos = (flags & _WILL_QOS) >> 3
    if (
        flags & _RESERVED
        or will_qos > _MAX_QOS
        or (not flags & _WILL and flags & (_WILL_QOS | _WILL_RETAIN))
        or (flags & _PASSWORD and not flags & _USERNAME)
    ):
        raise MalformedPacket(f"a CONNECT with flags {flags:#x}")
    client_id = reader.text()
    will = None
    if flags & _WILL:
        will = Message(_valid_topic(reader.text()), reader.binary(), will_qos, bool(flags & _WILL_RETAIN))
    username = reader.text() if flags & _USERNAME else None
    password = reader.binary() if flags & _PASSWORD else None
    return Connect(client_id, bool(flags & _CLEAN_SESSION), keep_alive, will, username, password)


def _decode_filters(reader: _Body) -> Iterator[tuple[str, int]]:
    while True:  # at least one; each round takes bytes or raises
        topic_filter, qos = _valid_filter(reader.text()), reader.byte()
        if qos > _MAX_QOS:
            raise MalformedPacket(f"a SUBSCRIBE with QoS {qos:#x}")
        yield topic_filter, qos
        if not reader.more():
            return


def _decode_unwanted(reader: _Body) -> Iterator[str]:
    while True:
        yield _valid_filter(reader.text())
        if not reader.more():
            return


def _flag(number: int) -> bool:
    if number > 1:
        raise MalformedPacket(f"{number:#x} in place of a flag")
    return bool(number)


class Decoder:
    """Cuts a byte stream into packets.

    Args:
        max_packet_size: in bytes, with the header; a longer packet is refused before its body has arrived.
    """

    def __init__(self, max_packet_size: int) -> None:
        self._buffer = bytearray()
        self._max_packet_size = max_packet_size

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that these bytes complete; the iterator must be exhausted, or the decoder dropped.

        May be called again from within the loop over its packets, as happens when a client answers at once.

        Raises:
            MalformedPacket: the stream is no MQTT, and is not to be read on.
        """
        buffer = self._buffer
        buffer += data
        while (limits := self._body_limits()) is not None and limits[1] <= len(buffer):
            start, end = limits
            first, body = buffer[0], bytes(buffer[start:end])
            del buffer[:end]  # cheap: a bytearray moves its start, not its bytes
            yield decode(first, body)
        if buffer:
            _check_first(buffer[0])  # what is no MQTT at all, say HTTP, is not waited for

    def _body_limits(self) -> tuple[int, int] | None:
        """Where the body of the first packet starts and ends; ``None`` while its length is incomplete."""
        length = 0
        for at, byte in enumerate(self._buffer[1 : 1 + _LENGTH_BYTES]):
            length |= (byte & _BYTE) << (7 * at)
            if byte <= _BYTE:
                start = at + 2
                if start + length > self._max_packet_size:
                    raise MalformedPacket(f"a packet of {start + length} bytes")
                return start, start + length
        if len(self._buffer) > _LENGTH_BYTES:
            raise MalformedPacket("a length of more than four bytes")
        return None


# Topics ---------------------------------------------------------------------------------------------------------------


def _valid_topic(topic: str) -> str:
    if not topic or "+" in topic or "#" in topic:
        raise MalformedPacket("a topic that is empty or has wildcards")
    return topic


def _valid_filter(topic_filter: str) -> str:
    levels = topic_filter.split("/")
    if (
        not topic_filter
        or any(len(level) > 1 and ("+" in level or "#" in level) for level in levels)
        or "#" in levels[:-1]
    ):
        raise MalformedPacket("a topic filter that is empty or has a wildcard out of place")
    return topic_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a valid filter takes in a topic: ``a/#`` takes ``a`` too, leading wildcards never take ``$...``."""
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at == len(levels) or level not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


class _Node:
    """One level of the tree of filters."""

    __slots__ = ("children", "subscribers")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.subscribers: dict[_Session, int] = {}


class _Subscriptions:
    """Every subscription there is, found by topic without looking at those that do not match."""

    _CACHED: Final = 4096  # topics; the devices' topics repeat, so nearly every message finds its answer here

    def __init__(self) -> None:
        self._root = _Node()
        self._cache: dict[str, tuple[tuple[_Session, int], ...]] = {}

    def add(self, session: _Session, topic_filter: str, qos: int) -> None:
        self._cache.clear()
        node = self._root
        for level in topic_filter.split("/"):
            node = node.children.setdefault(level, _Node())
        node.subscribers[session] = qos

    def remove(self, session: _Session, topic_filter: str) -> None:
        self._cache.clear()
        path = [self._root]
        levels = topic_filter.split("/")
        for level in levels:
            path.append(path[-1].children[level])
        del path[-1].subscribers[session]
        for parent, level in zip(reversed(path[:-1]), reversed(levels), strict=True):
            child = parent.children[level]
            if child.children or child.subscribers:
                break
            del parent.children[level]

    def of(self, topic: str) -> tuple[tuple[_Session, int], ...]:
        """Who gets a topic, each session once with the highest QoS of its matching subscriptions."""
        found = self._cache.get(topic)
        if found is None:
            if len(self._cache) >= self._CACHED:
                self._cache.clear()
            found = self._cache[topic] = tuple(self._search(topic).items())
        return found

    def _search(self, topic: str) -> dict[_Session, int]:
        found: dict[_Session, int] = {}

        def take(node: _Node | None) -> None:
            for session, qos in node.subscribers.items() if node else ():
                found[session] = max(qos, found.get(session, 0))

        wildcards = not topic.startswith("$")  # but not on the first level of a topic of the broker's own
        nodes = [self._root]
        for level in topic.split("/"):
            below = []
            for node in nodes:
                if wildcards:
                    take(node.children.get("#"))
                names = (level, "+") if wildcards else (level,)
                below += [node.children[name] for name in names if name in node.children]
            nodes, wildcards = below, True
        for node in nodes:
            take(node)
            take(node.children.get("#"))
        return found


# Rules ----------------------------------------------------------------------------------------------------------------


def allow(_principal: str, _client_id: str, _topic: str) -> bool:
    """The policy that allows everything."""
    return True


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Who is connected.

    Attributes:
        client_id: as given, or made up by the broker when none was given.
        principal: whom the pipe belongs to: what `Broker.attach` was told, else the user name.
        username: as given in CONNECT.
        keep_alive: seconds, 0 for none.
        clean_session: whether its session ends with the connection.
    """

    client_id: str
    principal: str
    username: str | None
    keep_alive: int
    clean_session: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """The broker's manners. `OPEN` is a plain local broker, `AWS` behaves as AWS IoT does.

    ``broker.rules`` may be replaced at any time: what concerns a message, a filter or a new connection goes by the
    rules of that moment.

    Attributes:
        may_subscribe: policy, asked with principal, client id and filter.
        may_publish: policy, asked with principal, client id and topic; for wills too, at CONNECT.
        close_on_forbidden: a breach of policy closes the connection without a word. Otherwise a forbidden filter is
            answered `REFUSED`, and a forbidden message is acknowledged and dropped.
        max_qos: a PUBLISH, SUBSCRIBE or will above it closes the connection.
        max_filters_per_subscribe: more in one SUBSCRIBE close the connection; ``None`` for any number.
        max_subscriptions: filters per session; those beyond it are answered `REFUSED`; ``None`` for any number.
        max_topic_slashes: a topic or filter with more closes the connection.
        max_topic_size: in bytes of UTF-8; a longer topic or filter closes the connection.
        max_packet_size: in bytes; a longer packet closes the connection before its body has arrived.
        max_session_seconds: life of a connection, after which it is closed; ``None`` for no limit.
        connect_seconds: within which CONNECT has to come.
        max_backlog: bytes that a pipe may hold back; a client that reads more slowly is dropped.
        max_queued: messages kept for an absent client, and unacknowledged messages kept for a present one; 1 to 65534,
            since each of the latter has a packet id.
        max_sessions: present and kept; a new one beyond it replaces the longest absent, else return code 3.
        max_retained: retained messages; a new one beyond it is distributed but not kept.
        quiet_seconds: after a SUBSCRIBE, deliveries to that connection are held back so long. Some clients take the
            next packet for the SUBACK, whatever it is (docs/protocol/mysa.md 14.3).
        loses: a fault to inject: such a message from a client is neither distributed nor acknowledged.
        withholds: a fault to inject: such a delivery to a client silently does not happen.
        passwords: password by user name; ``None`` lets everybody in.
    """

    may_subscribe: Callable[[str, str, str], bool] = allow
    may_publish: Callable[[str, str, str], bool] = allow
    close_on_forbidden: bool = False
    max_qos: int = 2
    max_filters_per_subscribe: int | None = None
    max_subscriptions: int | None = None
    max_topic_slashes: int = 200
    max_topic_size: int = 65_535
    max_packet_size: int = 1024 * 1024
    max_session_seconds: float | None = None
    connect_seconds: float = 10.0
    max_backlog: int = 16 * 1024 * 1024
    max_queued: int = 1000
    max_sessions: int = 10_000
    max_retained: int = 100_000
    quiet_seconds: float = 0.0
    loses: Callable[[ClientInfo, Message], bool] | None = None
    withholds: Callable[[ClientInfo, Message], bool] | None = None
    passwords: Mapping[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse bounds that can not be kept."""
        if not 0 < self.max_queued < _PACKET_IDS:
            raise ValueError(f"max_queued is {self.max_queued}, not 1 to {_PACKET_IDS - 1}")


OPEN: Final = Rules()
"""A plain local broker: everybody may do everything."""

AWS: Final = Rules(
    close_on_forbidden=True,
    max_qos=1,
    max_filters_per_subscribe=8,
    max_topic_slashes=7,
    max_topic_size=256,
    max_packet_size=128 * 1024 + 512,  # a payload of 128 KiB, and room for topic and header
    max_session_seconds=24 * 60 * 60,
)
"""AWS IoT as the vendors' clients meet it (docs/protocol/navilink.md 2 and 15, docs/protocol/mysa.md 3.5 and 3.6)."""


# Sessions -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Delivery:
    """A message on its way to one client; ``released`` once the client has it and only PUBCOMP is missing."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    released: bool = False


class _Session:
    """What the broker keeps of one client id; a persistent one outlives its connections."""

    def __init__(self, broker: Broker, client_id: str, *, persistent: bool) -> None:
        self.client_id = client_id
        self.persistent = persistent
        self.connection: Connection | None = None
        self.subscriptions: dict[str, int] = {}
        self.received: dict[int, Message] = {}  # QoS 2, between PUBLISH and PUBREL
        self._broker = broker
        self._unacknowledged: dict[int, _Delivery] = {}  # by packet id, in the order they were sent
        self._waiting: deque[_Delivery] = deque()  # not sent yet: the client is away, or wants quiet
        self._packet_id = 0

    def deliver(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Send a message, keep it for later, or drop it where nothing was promised."""
        delivery = _Delivery(topic, payload, qos, retain)
        connection = self.connection
        if connection is None:
            if self.persistent and qos:
                self._keep(delivery)
        elif connection.withholds(delivery):
            logger.debug("%s: withheld a message on %s", self.client_id, topic)
        elif connection.quiet:
            self._keep(delivery)
        else:
            self._send(connection, delivery)

    def resume(self, connection: Connection) -> None:
        """Send what was not acknowledged, then what waits."""
        for packet_id, delivery in list(self._unacknowledged.items()):
            if delivery.released:
                connection.send(encode(Ack(Kind.PUBREL, packet_id)))
            else:
                connection.send(encode(_publish(delivery, packet_id, dup=True)))
        self.flush(connection)

    def flush(self, connection: Connection) -> None:
        """Send what waits."""
        while self._waiting and self.connection is connection:
            self._send(connection, self._waiting.popleft())

    def leave(self) -> None:
        """The client is gone and may come back; only what was promised to it is kept."""
        self.connection = None
        self._waiting = deque(delivery for delivery in self._waiting if delivery.qos)

    def acknowledged(self, kind: AckKind, packet_id: int) -> None:
        """Note the client's PUBACK, PUBREC or PUBCOMP; one that nothing waits for is let pass, as Mosquitto does."""
        delivery = self._unacknowledged.get(packet_id)
        if kind == Kind.PUBREC:
            if delivery is not None and delivery.qos == _MAX_QOS:
                delivery.released = True
            if self.connection is not None:
                self.connection.send(encode(Ack(Kind.PUBREL, packet_id)))
        elif delivery is not None and (kind == Kind.PUBACK) == (delivery.qos == 1):
            del self._unacknowledged[packet_id]

    def _keep(self, delivery: _Delivery) -> None:
        if len(self._waiting) < self._broker.rules.max_queued:
            self._waiting.append(delivery)
        else:
            logger.debug("%s: %d messages wait, dropped another", self.client_id, len(self._waiting))

    def _send(self, connection: Connection, delivery: _Delivery) -> None:
        packet_id = 0
        if delivery.qos:
            if len(self._unacknowledged) >= self._broker.rules.max_queued:
                del self._unacknowledged[next(iter(self._unacknowledged))]
            packet_id = self._next_packet_id()
            self._unacknowledged[packet_id] = delivery
        connection.send(encode(_publish(delivery, packet_id)))

    def _next_packet_id(self) -> int:
        while True:  # ends: fewer ids are taken than there are
            self._packet_id = self._packet_id % _PACKET_IDS + 1
            if self._packet_id not in self._unacknowledged:
                return self._packet_id


def _publish(delivery: _Delivery, packet_id: int, *, dup: bool = False) -> Publish:
    return Publish(
        delivery.topic,
        delivery.payload,
        delivery.qos,
        delivery.retain,
        dup=dup and delivery.qos > 0,
        packet_id=packet_id,
    )


# Connections ----------------------------------------------------------------------------------------------------------


class Transport(Protocol):
    """The far side of a connection's output."""

    def write(self, packet: bytes, /) -> None:
        """Take one whole MQTT packet; must not block and not raise."""
        ...

    def backlog(self) -> int:
        """Bytes taken by `write` and not yet handed on; 0 where that is not known."""
        ...

    def close(self) -> None:
        """Close the pipe after what was written; `Connection.lost` may be called for it, and need not be."""
        ...


class Timer(Protocol):
    """A call to come."""

    def cancel(self) -> None:
        """Call it off."""
        ...


class Timers(Protocol):
    """What the broker asks for time; an asyncio event loop is one."""

    def time(self) -> float:
        """Monotonic seconds."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Call once, after that many seconds."""
        ...


class _Deadline:
    """A point in time that can be moved on cheaply, as each arriving packet does with the end of the keep-alive."""

    def __init__(self, timers: Timers, reached: Callable[[], object]) -> None:
        self._timers = timers
        self._reached = reached
        self._due = 0.0
        self._timer: Timer | None = None

    @property
    def pending(self) -> bool:
        return self._timer is not None

    def set(self, delay: float) -> None:
        """The deadline is so many seconds from now, and not before the one that was set last."""
        self._due = self._timers.time() + delay
        if self._timer is None:
            self._timer = self._timers.call_later(delay, self._ring)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        left = self._due - self._timers.time()
        self._timer = self._timers.call_later(left, self._ring) if left > 0 else None
        if self._timer is None:
            self._reached()


class Connection:
    """One client's connection: a state machine fed with bytes. Made by `Broker.attach`."""

    def __init__(self, broker: Broker, transport: Transport, principal: str, timers: Timers) -> None:
        rules = broker.rules
        self.principal = principal
        self.info: ClientInfo | None = None
        self._broker = broker
        self._transport = transport
        self._decoder = Decoder(rules.max_packet_size)
        self._session: _Session | None = None
        self._will: Message | None = None
        self._closed = False
        self._silence_allowed = 0.0
        self._connecting = _Deadline(timers, lambda: self.drop("no CONNECT came"))
        self._silence = _Deadline(timers, lambda: self.drop("silent for longer than its keep-alive"))
        self._life = _Deadline(timers, lambda: self.drop("the session time is over"))
        self._quiet = _Deadline(timers, self._end_quiet)
        self._connecting.set(rules.connect_seconds)
        if rules.max_session_seconds is not None:
            self._life.set(rules.max_session_seconds)

    @property
    def closed(self) -> bool:
        """Whether it is over; bytes are ignored then."""
        return self._closed

    @property
    def quiet(self) -> bool:
        """Whether deliveries are held back, see `Rules.quiet_seconds`."""
        return self._quiet.pending

    def receive(self, data: bytes) -> None:
        """Take bytes from the pipe; whatever they are, nothing is raised."""
        if self.closed:
            return
        if self._silence_allowed:
            self._silence.set(self._silence_allowed)
        try:
            for packet in self._decoder.feed(data):
                self._take(packet)
                if self._closed:
                    return
        except UnacceptableProtocol as error:
            self._refuse(ReturnCode.UNACCEPTABLE_PROTOCOL, str(error))
        except MalformedPacket as error:
            self.drop(str(error))

    def lost(self) -> None:
        """The pipe is gone. May be called more than once, and after the broker closed it."""
        self.drop("connection lost")

    def close(self) -> None:
        """Close without a word and without the will."""
        self._will = None
        self.drop("closed by the broker")

    def drop(self, reason: str) -> None:
        """End the connection without a word; the will goes out unless it was withdrawn."""
        if self._closed:
            return
        self._closed = True
        for deadline in (self._connecting, self._silence, self._life, self._quiet):
            deadline.cancel()
        self._transport.close()
        logger.debug("MQTT client %s: %s", self._name, reason)
        will, self._will = self._will, None
        self._broker.detach(self, self._session)
        if will is not None and self.info is not None:
            self._broker.distribute(will)
            self._broker.report(self.info, will)

    def send(self, packet: bytes) -> None:
        """Write one packet; a client that leaves too much of it unread is dropped."""
        if self._closed:
            return
        self._transport.write(packet)
        if self._transport.backlog() > self._broker.rules.max_backlog:
            logger.warning("MQTT client %s does not read; it is dropped. Check why it does not", self._name)
            self.drop("does not read")

    def withholds(self, delivery: _Delivery) -> bool:
        """Whether the rules want this delivery to be lost."""
        withholds = self._broker.rules.withholds
        if withholds is None or self.info is None:
            return False
        return withholds(self.info, Message(delivery.topic, delivery.payload, delivery.qos, delivery.retain))

    @property
    def _name(self) -> str:
        return repr(self.info.client_id) if self.info else "(not connected yet)"

    def _refuse(self, code: ReturnCode, reason: str) -> None:
        self.send(encode(Connack(session_present=False, code=code)))
        self.drop(reason)

    def _end_quiet(self) -> None:
        if self._session is not None:
            self._session.flush(self)

    def _take(self, packet: Packet) -> None:  # noqa: C901 - one case per type
        session = self._session
        if isinstance(packet, Connect):
            if session is not None:
                raise MalformedPacket("a second CONNECT")
            self._connect(packet)
            return
        if session is None or self.info is None:
            raise MalformedPacket("the first packet is no CONNECT")
        match packet:
            case Publish():
                self._publish(packet, session, self.info)
            case Ack(kind=Kind.PUBREL):
                self._release(packet.packet_id, session, self.info)
            case Ack(kind=Kind.PUBACK | Kind.PUBREC | Kind.PUBCOMP):
                session.acknowledged(packet.kind, packet.packet_id)
            case Subscribe():
                self._subscribe(packet, session, self.info)
            case Unsubscribe():
                for topic_filter in packet.filters:
                    self._broker.unsubscribe(session, topic_filter)
                self.send(encode(Ack(Kind.UNSUBACK, packet.packet_id)))
            case Signal(kind=Kind.PINGREQ):
                self.send(encode(Signal(Kind.PINGRESP)))
            case Signal(kind=Kind.DISCONNECT):
                self._will = None
                self.drop("said goodbye")
            case _:
                raise MalformedPacket(f"{packet} from a client")

    def _connect(self, packet: Connect) -> None:
        rules = self._broker.rules
        client_id = packet.client_id
        if not client_id:
            if not packet.clean_session:
                self._refuse(ReturnCode.IDENTIFIER_REJECTED, "a persistent session without a client id")
                return
            client_id = f"auto-{uuid.uuid4().hex}"
        if not _lets_in(rules.passwords, packet):
            self._refuse(ReturnCode.NOT_AUTHORIZED, "wrong user name or password")
            return
        principal = self.principal or packet.username or ""
        info = ClientInfo(client_id, principal, packet.username, packet.keep_alive, packet.clean_session)
        will = packet.will
        if will is not None:
            self._check(will.topic, will.qos)
            if not self._allowed(rules.may_publish(principal, client_id, will.topic), will.topic):
                will = None
        self._connecting.cancel()
        if packet.keep_alive:
            self._silence_allowed = 1.5 * packet.keep_alive
            self._silence.set(self._silence_allowed)
        attached = self._broker.open_session(self, info)
        if attached is None:
            self._refuse(ReturnCode.SERVER_UNAVAILABLE, "too many sessions")
            return
        self.info, self._will = info, will
        self._session, session_present = attached
        logger.debug("MQTT client %s connected", self._name)
        self.send(encode(Connack(session_present, ReturnCode.ACCEPTED)))
        self._session.resume(self)

    def _publish(self, packet: Publish, session: _Session, info: ClientInfo) -> None:
        rules = self._broker.rules
        self._check(packet.topic, packet.qos)
        message = Message(packet.topic, packet.payload, packet.qos, packet.retain)
        allowed = self._allowed(rules.may_publish(info.principal, info.client_id, packet.topic), packet.topic)
        if allowed and rules.loses is not None and rules.loses(info, message):
            logger.debug("%s: lost a message on %s", self._name, packet.topic)
            return
        if packet.qos == _MAX_QOS:
            if allowed:
                if len(session.received) >= rules.max_queued:
                    raise MalformedPacket("too many messages of QoS 2 are not released")
                session.received.setdefault(packet.packet_id, message)
            self.send(encode(Ack(Kind.PUBREC, packet.packet_id)))
            return
        if allowed:
            self._broker.distribute(message)
        if packet.qos:
            self.send(encode(Ack(Kind.PUBACK, packet.packet_id)))
        if allowed:
            self._broker.report(info, message)

    def _release(self, packet_id: int, session: _Session, info: ClientInfo) -> None:
        message = session.received.pop(packet_id, None)
        if message is not None:
            self._broker.distribute(message)
        self.send(encode(Ack(Kind.PUBCOMP, packet_id)))
        if message is not None:
            self._broker.report(info, message)

    def _subscribe(self, packet: Subscribe, session: _Session, info: ClientInfo) -> None:
        rules = self._broker.rules
        if rules.max_filters_per_subscribe is not None and len(packet.filters) > rules.max_filters_per_subscribe:
            raise MalformedPacket(f"{len(packet.filters)} filters in one SUBSCRIBE")
        for topic_filter, qos in packet.filters:
            self._check(topic_filter, qos)
        codes = []
        replay: list[tuple[Message, int]] = []
        for topic_filter, qos in packet.filters:
            allowed = self._allowed(rules.may_subscribe(info.principal, info.client_id, topic_filter), topic_filter)
            if allowed and self._broker.subscribe(session, topic_filter, qos):
                codes.append(qos)
                replay += [(message, min(message.qos, qos)) for message in self._broker.retained_for(topic_filter)]
            else:
                codes.append(REFUSED)
        self.send(encode(Suback(packet.packet_id, tuple(codes))))
        if rules.quiet_seconds:
            self._quiet.set(rules.quiet_seconds)
        for message, qos in replay:
            session.deliver(message.topic, message.payload, qos, retain=True)

    def _check(self, topic: str, qos: int) -> None:
        """Refuse what the rules do not take, be it a topic or a filter."""
        rules = self._broker.rules
        if qos > rules.max_qos:
            raise MalformedPacket(f"QoS {qos}")
        if topic.count("/") > rules.max_topic_slashes or len(topic.encode()) > rules.max_topic_size:
            raise MalformedPacket("a topic that is too long")

    def _allowed(self, allowed: bool, topic: str) -> bool:  # noqa: FBT001 - the answer of the policy, by position
        """The answer of the policy, unless the rules make a breach of it the end."""
        if not allowed and self._broker.rules.close_on_forbidden:
            raise MalformedPacket(f"the policy forbids {topic}")
        return allowed


def _lets_in(passwords: Mapping[str, str] | None, packet: Connect) -> bool:
    if passwords is None:
        return True
    expected = passwords.get(packet.username or "")
    return expected is not None and hmac.compare_digest(expected.encode(), packet.password or b"")


# The broker -----------------------------------------------------------------------------------------------------------


class Broker:
    """The broker: sessions, subscriptions and retained messages, and the way from publishers to subscribers.

    Args:
        rules: its manners; may be replaced at any time.
        on_publish: told of every message of a client (wills too) that was accepted, after it was distributed and
            acknowledged. It may call `publish` and `disconnect`, and must not raise.
        timers: what to ask for time; ``None`` takes the event loop that runs when a connection is made.
    """

    def __init__(
        self,
        *,
        rules: Rules = OPEN,
        on_publish: Callable[[ClientInfo, Message], None] | None = None,
        timers: Timers | None = None,
    ) -> None:
        self.rules = rules
        self._on_publish = on_publish
        self._timers = timers
        self._connections: set[Connection] = set()
        self._sessions: dict[str, _Session] = {}  # the longest absent come first
        self._subscriptions = _Subscriptions()
        self._retained: dict[str, Message] = {}
        self._listeners: list[asyncio.Server] = []
        self._sockets: set[_Socket] = set()

    @property
    def listening(self) -> bool:
        """Whether TCP connections are taken."""
        return bool(self._listeners)

    @property
    def clients(self) -> Mapping[str, ClientInfo]:
        """Who is connected now, by client id; a copy."""
        infos = (connection.info for connection in self._connections)
        return {info.client_id: info for info in infos if info is not None}

    @property
    def retained(self) -> Mapping[str, bytes]:
        """The retained payloads by topic; a copy."""
        return {topic: message.payload for topic, message in self._retained.items()}

    def subscriptions(self, client_id: str) -> Mapping[str, int]:
        """The granted QoS by filter of one client, present or kept; a copy, empty for an unknown client."""
        session = self._sessions.get(client_id)
        return dict(session.subscriptions) if session else {}

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Take plain TCP connections; may be called several times, and again after `close`.

        Returns:
            The port, chosen by the system when 0 was given.

        Raises:
            OSError: the address can not be bound.
        """
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: _Socket(self, self._sockets), host, port)
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    def attach(self, transport: Transport, *, principal: str = "") -> Connection:
        """Take any pipe as a client's connection; feed `Connection.receive` with what comes out of it.

        Args:
            transport: where the broker's packets go.
            principal: whom the pipe belongs to, where that is known beforehand.
        """
        connection = Connection(self, transport, principal, self._timers or asyncio.get_running_loop())
        self._connections.add(connection)
        return connection

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish from inside: no policy is asked, and `on_publish` is not told.

        Raises:
            ValueError: the topic is empty, too long or has wildcards, or the QoS is none.
        """
        try:
            _Body(_text(_valid_topic(topic))).text()
        except (MalformedPacket, OverflowError) as error:
            raise ValueError(f"{topic[:100]!r} can not be published to") from error
        if qos not in range(_MAX_QOS + 1):
            raise ValueError(f"{qos!r} is no QoS")
        self.distribute(Message(topic, payload, qos, retain))

    def disconnect(self, principal: str) -> None:
        """Cut every connection of a principal without a word; their wills go out."""
        for connection in list(self._connections):
            owner = connection.info.principal if connection.info else connection.principal
            if owner == principal:
                connection.drop("cut by the broker")

    async def close(self) -> None:
        """Close all listeners and connections; sessions and retained messages stay for the next `listen`."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        for connection in list(self._connections):
            connection.close()
        for socket in list(self._sockets):
            socket.abort()
        await asyncio.gather(*(socket.gone for socket in self._sockets))
        for listener in listeners:
            await listener.wait_closed()

    # What the connections ask of it.

    def open_session(self, connection: Connection, info: ClientInfo) -> tuple[_Session, bool] | None:
        """Give a connection its session, and whether one was there; ``None`` when it can not have one.

        An older connection of the same client id is closed without a word.
        """
        old = self._sessions.get(info.client_id)
        if old is not None and old.connection is not None:
            old.connection.drop("taken over by a new connection")
            old = self._sessions.get(info.client_id)
        if old is not None and info.clean_session:
            self._end(old)
            old = None
        # The older connection's will may have moved a listener to cut this one too.
        if connection.closed or (old is None and not self._make_room()):
            return None
        session = old or _Session(self, info.client_id, persistent=not info.clean_session)
        session.connection = connection
        self._sessions[info.client_id] = session
        return session, old is not None

    def detach(self, connection: Connection, session: _Session | None) -> None:
        """A connection is over; its session too, unless it is persistent."""
        self._connections.discard(connection)
        if session is None or session.connection is not connection:
            return
        if session.persistent:
            session.leave()
            self._sessions[session.client_id] = self._sessions.pop(session.client_id)
        else:
            self._end(session)

    def subscribe(self, session: _Session, topic_filter: str, qos: int) -> bool:
        """Add or change a subscription; false when the session has too many."""
        limit = self.rules.max_subscriptions
        if topic_filter not in session.subscriptions and limit is not None and len(session.subscriptions) >= limit:
            return False
        session.subscriptions[topic_filter] = qos
        self._subscriptions.add(session, topic_filter, qos)
        return True

    def unsubscribe(self, session: _Session, topic_filter: str) -> None:
        """End a subscription, if there is one."""
        if session.subscriptions.pop(topic_filter, None) is not None:
            self._subscriptions.remove(session, topic_filter)

    def retained_for(self, topic_filter: str) -> list[Message]:
        """The retained messages that a filter takes in."""
        if "+" not in topic_filter and "#" not in topic_filter:
            message = self._retained.get(topic_filter)
            return [message] if message else []
        return [message for topic, message in self._retained.items() if matches(topic_filter, topic)]

    def distribute(self, message: Message) -> None:
        """Bring a message to its subscribers, and keep or clear it where it is to be retained."""
        if message.retain:
            self._retain(message)
        for session, qos in self._subscriptions.of(message.topic):
            session.deliver(message.topic, message.payload, min(qos, message.qos), retain=False)

    def report(self, info: ClientInfo, message: Message) -> None:
        """Tell `on_publish`."""
        if self._on_publish is not None:
            self._on_publish(info, message)

    def _retain(self, message: Message) -> None:
        if not message.payload:
            self._retained.pop(message.topic, None)
        elif message.topic in self._retained or len(self._retained) < self.rules.max_retained:
            self._retained[message.topic] = message
        else:
            logger.debug("%d messages are retained, %s is not", len(self._retained), message.topic)

    def _make_room(self) -> bool:
        if len(self._sessions) < self.rules.max_sessions:
            return True
        absent = next((session for session in self._sessions.values() if session.connection is None), None)
        if absent is not None:
            self._end(absent)
        return absent is not None

    def _end(self, session: _Session) -> None:
        session.connection = None
        for topic_filter in list(session.subscriptions):
            self.unsubscribe(session, topic_filter)
        self._sessions.pop(session.client_id, None)


# TCP ------------------------------------------------------------------------------------------------------------------


class _Socket(asyncio.Protocol):
    """A TCP connection, as asyncio's protocol on one side and as the broker's `Transport` on the other."""

    _LINGER: Final = 2.0  # seconds that the last packets have to get out before the socket is closed all the same

    def __init__(self, broker: Broker, sockets: set[_Socket]) -> None:
        self._broker = broker
        self._sockets = sockets
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._transport: asyncio.Transport | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sockets.add(self)
        if self._broker.listening:
            self._connection = self._broker.attach(self)
        else:  # it was accepted just before the listener was closed
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        logger.debug("socket closed: %s", exc or "in order")
        self._sockets.discard(self)
        if self._lingering is not None:
            self._lingering.cancel()
        if self._connection is not None:
            self._connection.lost()
        self.gone.set_result(None)

    def write(self, packet: bytes) -> None:
        if self._transport is not None:
            self._transport.write(packet)

    def backlog(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._lingering = self._loop.call_later(self._LINGER, self._transport.abort)

    def abort(self) -> None:
        """Close at once, whatever is still unsent."""
        if self._transport is not None:
            self._transport.abort()
