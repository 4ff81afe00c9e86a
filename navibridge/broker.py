"""The link to the user's own MQTT broker; the only module that knows aiomqtt.

One `LocalBroker.open` is one connection: whoever supervises it opens it again when it breaks. Errors of aiomqtt, paho
and the operating system become `LinkError` here, with a sentence that says what to look at.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Sized
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from navibridge.errors import LinkError
from navibridge.tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from navibridge.config import Broker

log = logging.getLogger(__name__)

T = TypeVar("T")

PENDING: Final = 50
"""Publishes that wait for their acknowledgement at the same time."""

LARGEST_PAYLOAD: Final = 256 * 1024
"""Bytes; what comes in larger arrives without its payload. Nothing the bridge listens to is nearly as large."""

MOST_WAITING: Final = 1000
"""Messages that wait to be read; further ones are dropped."""

_BAD_CREDENTIALS: Final = frozenset({0x86, 0x87, 0x8A, 0x8C})
_REFUSED_FILTER: Final = 0x80

_SILENT_TEXT: Final = "closed the connection before it said anything"
_SILENT_ADVICE: Final = (
    "Check that the port speaks MQTT (not WebSocket), whether it expects TLS (broker.tls), and whether it asks for a "
    "client certificate (broker.tls.cert_file)."
)
_FAILURES: Final = (
    (
        socket.gaierror,
        "dns",
        "has a name that can not be resolved: {detail}",
        "Check broker.host; an IP address works without a name server.",
    ),
    (
        ssl.SSLCertVerificationError,
        "tls",
        "has a certificate that is not trusted: {detail}",
        "Check broker.tls.ca_file, and that broker.host is a name in the broker's certificate.",
    ),
    (
        ssl.SSLError,
        "tls",
        "does not speak TLS as expected: {detail}",
        "Check that broker.port is the broker's TLS port, usually 8883.",
    ),
    (
        ConnectionRefusedError,
        "refused",
        "refused the connection: is Mosquitto running?",
        "Start the broker, or check broker.host and broker.port.",
    ),
    (ConnectionError, "closed", _SILENT_TEXT, _SILENT_ADVICE),
    (
        TimeoutError,
        "timeout",
        "can not be reached: no answer",
        "Check broker.host, broker.port and any firewall between.",
    ),
    (OSError, "unreachable", "can not be reached: {detail}", "Check the network and broker.host."),
)
"""What the system says, from the particular to the general: reason, text and advice."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each sort of waiting may take, in seconds.

    Attributes:
        connect: for name, TCP, TLS and the broker's welcome together.
        call: for the broker's acknowledgement of one publish or subscribe.
        close: for saying goodbye.
    """

    connect: float = 15.0
    call: float = 10.0
    close: float = 2.0


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Message:
    """One message, in either direction.

    Attributes:
        topic: where it was or shall be published.
        payload: its bytes.
        qos: quality of service, 0 to 2.
        retain: going out, whether the broker shall keep it; coming in, whether it was kept rather than just published.
        response_topic: where its sender wants the answer (MQTT 5).
        correlation: what its sender knows the answer by (MQTT 5).
        oversize: bytes of an incoming payload that was too large and is not here; 0 for one that is.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    oversize: int = 0


class LocalBroker:
    """The user's broker, and how to connect to it.

    Args:
        settings: host, port, protocol, credentials and certificates.
        client_id: the name the broker knows the bridge by; two with the same would throw each other out.
        will: topic and payload that the broker publishes, retained, when the bridge is gone without a word; ``None``
            for who may go without one.
        limits: on waiting.
    """

    def __init__(
        self, settings: Broker, *, client_id: str, will: tuple[str, str] | None, limits: Limits = LIMITS
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._client_id = client_id
        self._will = will
        self.where = f"{settings.host}:{settings.port}"
        if settings.tls.active and not settings.tls.verify:
            log.warning(
                "the certificate of broker %s is not checked (broker.tls.verify): it may be anybody. Set "
                "broker.tls.ca_file to what it was signed with instead",
                self.where,
            )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Link]:
        """One connection; leaving the block says goodbye, which keeps the last will from being published.

        Raises:
            LinkError: no connection; ``reason`` is ``refused``, ``dns``, ``tls``, ``timeout``, ``not_authorised``,
                ``closed`` or ``unreachable``.
        """
        inbox = _Inbox(self.where)
        client = await self._connect(inbox)
        link = Link(client, inbox, self.where, mqtt5=self._mqtt5, limits=self._limits)
        try:
            yield link
        finally:
            client.timeout = self._limits.close
            try:
                await client.__aexit__(None, None, None)
            except aiomqtt.MqttError as error:
                log.debug("x broker %s: no goodbye: %s", self.where, error)
            finally:
                client.abandon()

    @property
    def _mqtt5(self) -> bool:
        return self._settings.protocol == "5"

    async def _connect(self, inbox: _Inbox) -> _Client:
        client = self._client(inbox)
        try:
            async with asyncio.timeout(self._limits.connect):
                await client.__aenter__()
        except aiomqtt.MqttError as error:
            client.abandon()
            raise self._explained(error) from error
        except TimeoutError as error:
            client.abandon()
            raise LinkError(
                f"broker {self.where} did not answer within {self._limits.connect:g} s",
                reason="timeout",
                what_to_do="Check that an MQTT broker listens on that port, and with the TLS setting that it expects.",
            ) from error
        except BaseException:
            client.abandon()
            raise
        return client

    def _client(self, inbox: _Inbox) -> _Client:
        settings = self._settings
        client = _Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=settings.password.reveal() if settings.password is not None else None,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if self._mqtt5 else aiomqtt.ProtocolVersion.V311,
            # A command that was queued while the bridge was down would be hours old.
            clean_session=None if self._mqtt5 else True,
            keepalive=settings.keepalive,
            will=self._will and aiomqtt.Will(self._will[0], self._will[1].encode(), qos=1, retain=True),
            tls_context=self._tls(),
            tls_insecure=True if settings.tls.active and not settings.tls.verify else None,
            timeout=math.inf,  # every wait is limited here, where the limit can be named
            # aiomqtt makes one by calling the class; the link needs the very one.
            queue_type=cast("Any", lambda **_: inbox),
            logger=cast("Any", _Demoted(log)),
        )
        client.pending_calls_threshold = PENDING * 2
        return client

    def _tls(self) -> ssl.SSLContext | None:
        """The verification of the broker and, where wanted, our own certificate.

        Raises:
            LinkError: a file can not be read or does not hold what it should.
        """
        tls = self._settings.tls
        if not tls.active:
            return None
        try:
            context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
            if tls.cert_file:
                context.load_cert_chain(str(tls.cert_file), str(tls.key_file) if tls.key_file else None)
        except OSError as error:  # ssl.SSLError is one
            raise LinkError(
                f"the certificate files for broker {self.where} can not be used: {error}",
                reason="tls",
                what_to_do="Check broker.tls: ca_file, cert_file and key_file.",
            ) from error
        context.sslsocket_class = _TlsSocket
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _explained(self, error: aiomqtt.MqttError) -> LinkError:
        """Why there is no connection, in words; aiomqtt keeps what the system said as the error's context."""
        start = f"broker {self.where}"
        if isinstance(error, aiomqtt.MqttCodeError):
            if not isinstance(error.rc, ReasonCode):
                return LinkError(f"{start} {_SILENT_TEXT}", reason="closed", what_to_do=_SILENT_ADVICE)
            if error.rc.value in _BAD_CREDENTIALS:
                return LinkError(
                    f"{start} refused the credentials: {error.rc}",
                    reason="not_authorised",
                    what_to_do="Check broker.username and broker.password, and what the broker allows that user.",
                )
            return LinkError(
                f"{start} refused the connection: {error.rc}",
                reason="refused",
                what_to_do="Check broker.protocol and broker.client_id, and look at the broker's log.",
            )
        cause = error.__context__
        for kind, reason, text, advice in _FAILURES:
            if isinstance(cause, kind):
                return LinkError(f"{start} {text.format(detail=_detail(cause))}", reason=reason, what_to_do=advice)
        advice = "Check broker.host and broker.port, and look at the broker's log."
        return LinkError(f"{start} can not be reached: {error}", reason="unreachable", what_to_do=advice)


class Link:
    """An open connection. Every method raises `LinkError` once it is gone.

    Attributes:
        where: host and port of the broker.
    """

    def __init__(self, client: _Client, inbox: _Inbox, where: str, *, mqtt5: bool, limits: Limits = LIMITS) -> None:
        self.where = where
        self._limit = limits.call
        self._client = client
        self._inbox = inbox
        self._mqtt5 = mqtt5
        self._lost: LinkError | None = None
        self._waiting: set[asyncio.Timeout] = set()
        client.disconnected.add_done_callback(self._lose)

    @property
    def dropped(self) -> int:
        """How many incoming messages were dropped, too large or too many."""
        return self._inbox.dropped

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False, correlation: bytes | None = None
    ) -> None:
        """Publish one message; with quality of service 1 returns when the broker has it.

        Args:
            topic: where.
            payload: empty and retained, it clears the topic.
            qos: quality of service.
            retain: whether the broker keeps it for later subscribers.
            correlation: what the sender of a request knows the answer by; dropped where the link is not MQTT 5.
        """
        properties = None
        if correlation is not None and self._mqtt5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = correlation
        await self._call(
            topic,
            lambda: self._client.publish(topic, payload, qos, retain, properties, timeout=math.inf),
        )

    async def publish_many(
        self,
        messages: Iterable[Message],
        *,
        pending: int = PENDING,
        taken: Callable[[Message], object] = lambda _: None,
    ) -> None:
        """Publish all of them in that order, with several waiting for their acknowledgement at the same time.

        Args:
            messages: each is drawn when its turn comes, so they may be made on the way.
            pending: how many may wait.
            taken: is told of each that the broker has acknowledged.
        """
        waiting = iter(messages)

        async def work() -> None:
            for message in waiting:
                await self.publish(
                    message.topic,
                    message.payload,
                    qos=message.qos,
                    retain=message.retain,
                    correlation=message.correlation,
                )
                taken(message)

        if isinstance(messages, Sized):
            pending = min(pending, len(messages))  # mostly it is one, and fifty tasks for it are not for nothing
        if pending == 1:
            await work()
            return
        try:
            async with TaskGroup() as group:
                for number in range(pending):
                    group.create_task(work(), name=f"publish {number}")
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def subscribe(self, filters: Sequence[str], *, qos: int = 1) -> None:
        """Subscribe to all of the filters.

        Raises:
            LinkError: also, with reason ``not_authorised``, when the broker refuses one.
        """
        answers = await self._call(
            ", ".join(filters),
            lambda: self._client.subscribe([(one, qos) for one in filters], timeout=math.inf),
        )
        codes = [answer.value if isinstance(answer, ReasonCode) else answer for answer in answers]
        refused = [one for one, code in zip(filters, codes, strict=False) if code >= _REFUSED_FILTER]
        if refused:
            raise LinkError(
                f"broker {self.where} refused the subscription to {', '.join(refused)}",
                reason="not_authorised",
                what_to_do="Check the broker's access rules; `navibridge acl` prints what the bridge needs.",
            )

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Listen to these filters no more."""
        await self._call(", ".join(filters), lambda: self._client.unsubscribe(list(filters), timeout=math.inf))

    async def messages(self) -> AsyncIterator[Message]:
        """What comes in, for one reader; ends only by `LinkError` when the link is gone."""
        while self._lost is None or not self._inbox.empty():
            message = await self._inbox.get()
            if message is not None:
                yield message
        raise self._lost

    async def _call(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """One call to the broker within its time. aiomqtt's own limit goes unused: it does not end with the link."""
        if self._lost is not None:
            raise self._lost
        try:
            async with asyncio.timeout(self._limit) as limit:
                self._waiting.add(limit)
                try:
                    return await call()
                finally:
                    self._waiting.discard(limit)
        except TimeoutError as error:
            raise self._lost or LinkError(
                f"broker {self.where} did not acknowledge {what} within {self._limit:g} s",
                reason="timeout",
                what_to_do="Look at the broker's log and load, and check the network to it.",
            ) from error
        except aiomqtt.MqttError as error:
            raise self._lost or LinkError(f"broker {self.where}: {what}: {error}", reason="closed") from error

    def _lose(self, disconnected: asyncio.Future[None]) -> None:
        """End every call that waits, and the reader, once the connection is gone."""
        error = None if disconnected.cancelled() else disconnected.exception()
        # What paho has no reason for, it calls unspecified: nothing that a person needs to read.
        why = f": {error}" if error is not None and "Unspecified" not in str(error) else ""
        self._lost = LinkError(f"the connection to broker {self.where} is gone{why}", reason="closed")
        now = asyncio.get_running_loop().time()
        for limit in self._waiting:
            limit.reschedule(now)
        self._inbox.end()


class _Inbox(asyncio.Queue["Message | None"]):
    """What has come in and was not read yet; bounded in number and size. ``None`` wakes the reader at the end."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.dropped = 0
        self._where = where

    def put_nowait(self, item: Any) -> None:
        """Called by aiomqtt for every message."""
        if self.qsize() >= MOST_WAITING:
            self._drop(item, f"{MOST_WAITING} others wait to be read")
        elif (size := len(item.payload)) > LARGEST_PAYLOAD:
            # Its sender is to be told; only the bytes are not kept.
            super().put_nowait(replace(_incoming(item), payload=b"", oversize=size))
        else:
            super().put_nowait(_incoming(item))

    def end(self) -> None:
        super().put_nowait(None)

    def _drop(self, message: aiomqtt.Message, why: str) -> None:
        self.dropped += 1
        # One flood is one warning.
        level = logging.WARNING if self.dropped == 1 else logging.DEBUG
        log.log(
            level,
            "a message from broker %s on %s was dropped: %s. Publish more slowly",
            self._where,
            message.topic,
            why,
        )


class _Client(aiomqtt.Client):
    """aiomqtt's client, which leaves three things open that can not be mended from outside.

    A connection that the broker closes before its welcome would be waited for until the time is up. The socket, its
    reader and a task of a connection that was given up would stay. And a link that breaks while something is to be
    written would make asyncio log a traceback.
    """

    _given_up = False

    @property
    def disconnected(self) -> asyncio.Future[None]:
        """Done when the connection is gone; public ways tell only the reader of messages."""
        return self._disconnected

    def abandon(self) -> None:
        """Let go of the socket, whatever its state; a connection attempt on its way ends when it notices."""
        self._given_up = True
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()  # has been dealt with, or is of no interest any more
        connection = self._client.socket()
        if connection is not None and cast("socket.socket", connection).fileno() >= 0:
            self._loop.remove_writer(connection)
            self._on_socket_close(self._client, None, connection)
            connection.close()

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttCodeError(None, "closed before the welcome"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        if self._given_up:
            sock.close()
            raise ConnectionAbortedError("given up meanwhile")
        super()._on_socket_open(client, userdata, sock)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ARG002 - paho's signature
        def write() -> None:
            try:
                client.loop_write()
            except Exception as error:  # noqa: BLE001 - whatever it is, the connection is broken
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        def register() -> None:
            if sock.fileno() >= 0:
                self._loop.add_writer(sock, write)

        self._loop.call_soon_threadsafe(register)


class _TlsSocket(ssl.SSLSocket):
    """A socket that is closed when its handshake fails; paho leaves it to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class _Demoted(logging.LoggerAdapter[logging.Logger]):
    """The libraries' own words as debug lines: what they mean is said once, by whoever holds the link."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        super().log(min(level, logging.DEBUG), msg, *args, **kwargs)


def _detail(cause: OSError) -> str:
    """What the system says, without error numbers and source lines."""
    for name in ("verify_message", "reason", "strerror"):
        if text := getattr(cause, name, None):
            return str(text)
    return str(cause)


def _incoming(message: aiomqtt.Message) -> Message:
    properties = message.properties
    response_topic = getattr(properties, "ResponseTopic", None)
    if response_topic is not None and any(sign in response_topic for sign in "+#"):
        response_topic = None  # nothing can be published there
    return Message(
        topic=str(message.topic),
        payload=message.payload if isinstance(message.payload, bytes) else str(message.payload).encode(),
        qos=message.qos,
        retain=message.retain,
        response_topic=response_topic or None,
        correlation=getattr(properties, "CorrelationData", None),
    )
