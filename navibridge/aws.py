"""A connection to AWS IoT Core: MQTT 3.1.1 or 5 over a signed WebSocket, by the AWS runtime.

The only module that imports the runtime. It opens one connection per attempt and never lets the library reconnect:
with 3.1.1 a refused upgrade would repeat in silence for ever, with credentials that may have expired. Whoever holds a
`CloudLink` learns of its end from `CloudLink.messages`, and opens another one.

The library calls back on threads of its own. A callback does one thing: it posts to the event loop.

What the library does not tell, or only after half a minute, `navibridge.diagnosis` finds out. An attempt that hangs at
the upgrade can not be broken off at all: such attempts are counted, and there is a limit to them.

The protocol's side of this file is docs/protocol/navilink.md 2 and docs/protocol/mysa.md 3.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import weakref
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, TypeVar

from awscrt import auth, io, mqtt, mqtt5
from awscrt.exceptions import AwsCrtError
from awsiot import mqtt5_client_builder, mqtt_connection_builder

from navibridge import sigv4
from navibridge.diagnosis import LIMIT, Credentials, Endpoint, diagnose, unreadable_authorities
from navibridge.errors import ADVICE, LinkError
from navibridge.sockets import UNDELIVERED, give_up_all_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

__all__ = [
    "LIMITS",
    "CloudLink",
    "Credentials",
    "Endpoint",
    "Limits",
    "Message",
    "Will",
    "diagnose",
]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_FAILURES: Final = (AwsCrtError, RuntimeError)
"""What the library raises: the second for what it will not even begin."""

FILTERS_PER_SUBSCRIBE: Final = 8
"""More topic filters in one SUBSCRIBE, and AWS IoT closes the connection (docs/protocol/mysa.md 3.5)."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the cloud publishes for us when the link ends without a goodbye."""

    topic: str
    payload: bytes
    qos: int = 1


@dataclass(frozen=True, slots=True)
class Message:
    """A message from the cloud; ``at`` is when it came, in seconds since the epoch."""

    topic: str
    payload: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each sort of waiting may take, in seconds, and how much may pile up.

    Attributes:
        opening: from the first byte to CONNACK.
        patience: after which an attempt that is not open yet is looked into.
        diagnosis: for finding the reason of a failure.
        suback: for the answer to one SUBSCRIBE or UNSUBSCRIBE.
        puback: for the acknowledgement of one message.
        undelivered: for what the system has sent and the far end has not taken; then the connection breaks.
        goodbye: for an orderly close.
        queue: messages kept for a consumer that is behind; beyond it the oldest are dropped.
        in_flight: SUBSCRIBE packets sent before the first is answered.
        abandoned: attempts given up that the library still holds on to, each with a file descriptor.
        reconnect: before the library would connect again by itself; long before then it has been told not to.
    """

    opening: float = 15.0
    patience: float = 1.5
    diagnosis: float = LIMIT
    suback: float = 10.0
    puback: float = 10.0
    undelivered: float = UNDELIVERED
    goodbye: float = 2.0
    queue: int = 10_000
    in_flight: int = 64
    abandoned: int = 8
    reconnect: int = 10


LIMITS: Final = Limits()


class CloudLink:
    """One open connection to AWS IoT Core, from CONNACK to its end; made by `open`.

    Attributes:
        dropped: messages lost because the consumer was too far behind.
        unconfirmed: messages sent by ``publish(..., wait=False)`` whose acknowledgement failed to come.
    """

    # Descriptors are the whole program's, so attempts that still hold one are counted for all links together.
    _abandoned: ClassVar[dict[Future[None], Endpoint]] = {}

    def __init__(self, endpoint: Endpoint, limits: Limits = LIMITS, clock: Callable[[], float] = time.time) -> None:
        self.endpoint = endpoint
        self.dropped = 0
        self.unconfirmed = 0
        self._limits = limits
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._client: _Client | None = None
        self._queue: deque[Message] = deque()
        self._news = asyncio.Event()
        self._waiters: set[asyncio.Future[Any]] = set()
        self._end: LinkError | None = None
        self._closing = False

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        client_id: str,
        credentials: Callable[[], Credentials],
        *,
        will: Will | None = None,
        username: str | None = None,
        limits: Limits = LIMITS,
        clock: Callable[[], float] = time.time,
    ) -> CloudLink:
        """Connect, once.

        Args:
            endpoint: to connect to.
            client_id: AWS IoT closes any older connection of the same client id.
            credentials: asked for at each handshake, also on a thread of the library; must not block.
            will: published by the cloud should the link break.
            username: in CONNECT; AWS IoT ignores it.
            limits: on time and number.
            clock: seconds since the epoch.

        Raises:
            LinkError: with the reason, as far as it can be found out: ``dns``, ``refused``, ``unreachable``, ``tls``,
                ``timeout``, ``clock``, ``upgrade_refused``, ``service``, ``closed``, ``connect_refused``, or
                ``exhausted`` when too many attempts hang.
        """
        link = cls(endpoint, limits, clock)
        await link._ask_first(credentials)
        await link._connect(client_id, credentials, will, username)
        return link

    @classmethod
    def abandoned(cls, endpoint: Endpoint | None = None) -> int:
        """How many attempts, at all or to one endpoint, were given up and still hold a file descriptor.

        An attempt ends when the far end closes it; one that failed over a certificate after up to half a minute.
        """
        return sum(endpoint in (None, attempted) for attempted in list(cls._abandoned.values()))

    async def subscribe(self, filters: Sequence[str], qos: int = 1) -> dict[str, bool]:
        """Subscribe to topic filters; false stands for those that the cloud refused.

        Raises:
            LinkError: the link broke, as AWS IoT does on a filter that its policy forbids (``closed``), or no answer
                came in time (``suback_timeout``).
        """
        client = self._open_client()
        granted: dict[str, bool] = {}
        for burst in _chunks(_chunks(filters, client.filters_per_subscribe), self._limits.in_flight):
            asked = [(batch, self._waiter(client.subscribe(batch, qos), client.granted)) for batch in burst]
            for batch, waiter in asked:
                codes = await self._answer(waiter, self._limits.suback, "suback_timeout")
                granted.update(zip(batch, codes, strict=True))
        refused = [topic_filter for topic_filter, allowed in granted.items() if not allowed]
        if refused:
            logger.warning(
                "%s: %d of %d filters were refused. Check in the vendor's app whether the account still has all "
                "devices",
                self.endpoint,
                len(refused),
                len(granted),
            )
            logger.debug("%s: refused were %s", self.endpoint, refused)
        return granted

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """End subscriptions.

        Raises:
            LinkError: the link broke, or no answer came in time (``suback_timeout``).
        """
        client = self._open_client()
        for burst in _chunks(filters, self._limits.in_flight):
            for waiter in [self._waiter(client.unsubscribe(topic_filter), _raise_failure) for topic_filter in burst]:
                await self._answer(waiter, self._limits.suback, "suback_timeout")

    async def publish(self, topic: str, payload: bytes, qos: int = 1, *, wait: bool = True) -> None:
        """Publish a message.

        Args:
            topic: without wildcards.
            payload: its bytes.
            qos: 0 or 1.
            wait: for the acknowledgement, which says that the cloud has the message, not that a device has.

        Raises:
            LinkError: the link is gone, or no acknowledgement came in time (``puback_timeout``).
        """
        client = self._open_client()
        logger.debug("> %s %d bytes", topic, len(payload))
        sent = client.publish(topic, payload, qos)
        if wait:
            await self._answer(self._waiter(sent, client.acknowledged), self._limits.puback, "puback_timeout")
        else:
            sent.add_done_callback(lambda future: _post(self._loop, self._sent, client, future))

    async def messages(self) -> AsyncIterator[Message]:
        """Every message that comes, for one consumer. Ends when `close` is called, after what had come before it.

        Raises:
            LinkError: the link broke; what had come before is delivered first.
        """
        while True:
            while self._queue:
                yield self._queue.popleft()
            if self._end is not None:
                raise self._broken()
            if self._closing:
                return
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """Say goodbye and let go; does nothing on a link that broke or was closed before."""
        self._closing = True
        self._news.set()
        client, self._client = self._client, None
        if client is None:
            return
        self._fail_waiters()
        goodbye = self._waiter(client.disconnect(), _raise_failure)
        try:
            async with asyncio.timeout(self._limits.goodbye):
                await goodbye
        except (TimeoutError, *_FAILURES) as error:
            # The connection may have broken in this very moment, and then there is nobody left to answer.
            logger.debug("%s: no orderly close: %s", self.endpoint, error or "timeout")
        logger.debug("%s: link closed", self.endpoint)

    # Opening.

    async def _ask_first(self, credentials: Callable[[], Credentials]) -> None:
        """After an attempt that still hangs, ask in a way that we can break off, before the library is asked again."""
        if not self.abandoned(self.endpoint):
            return
        found = await self._diagnose(credentials())
        if found is not None:
            raise found
        if self.abandoned() >= self._limits.abandoned:
            raise LinkError(
                f"{self.abandoned()} attempts to connect hang in the middle and can not be broken off",
                reason="exhausted",
                what_to_do="Restart the bridge should this last for hours; each of them holds a file descriptor.",
            )

    async def _connect(
        self, client_id: str, credentials: Callable[[], Credentials], will: Will | None, username: str | None
    ) -> None:
        now = credentials()  # on our own thread first, where what it raises gets somewhere
        post = functools.partial(_post, self._loop)
        options = _Options(
            self.endpoint,
            client_id,
            _signing(self.endpoint, credentials),
            will,
            username,
            arrived=functools.partial(post, self._arrived),
            lost=functools.partial(post, self._lost),
            reconnect=self._limits.reconnect,
        )
        try:
            client = self._library(options)
        except OSError as error:
            raise unreadable_authorities(self.endpoint, error) from error
        except _FAILURES as error:
            if self.endpoint.ca_file is not None:  # all that the library says of a file that is no PEM
                raise unreadable_authorities(self.endpoint, error) from error
            raise _link_error(self.endpoint, error) from error
        self._client = client
        attempt = client.connect()
        try:
            await self._opened(attempt, functools.partial(self._diagnose, now))
        except BaseException:
            self._closing = True
            self._client = None
            self._abandon(client, attempt)
            raise
        if self._end is not None:
            raise self._broken()
        give_up_all_after(self._limits.undelivered, self.endpoint.port)
        logger.debug("%s: link open (%s)", self.endpoint, self.endpoint.protocol)

    def _library(self, options: _Options) -> _Client:
        """The library's client for the protocol in question; everything else about a link is the same for both."""
        return _Mqtt5(options) if options.endpoint.protocol == "MQTT5" else _Mqtt3(options)

    async def _opened(
        self, attempt: Future[None], diagnosis: Callable[[], Coroutine[Any, Any, LinkError | None]]
    ) -> None:
        """Wait for an attempt to succeed; one that takes long or fails is looked into."""
        opened = self._waiter(attempt, _raise_failure)
        asked: asyncio.Task[LinkError | None] | None = None
        found: LinkError | None = None
        try:
            async with asyncio.timeout(self._limits.opening):
                await asyncio.wait((opened,), timeout=self._limits.patience)
                if not opened.done():
                    asked = asyncio.create_task(diagnosis(), name=f"diagnose {self.endpoint}")
                    await asyncio.wait((opened, asked), return_when=asyncio.FIRST_COMPLETED)
                    found = asked.result() if asked.done() else None
                    if found is not None and found.reason not in _INDECISIVE and not opened.done():
                        raise found
                await opened
        except TimeoutError as error:
            raise found or _late(self.endpoint, self._limits.opening, "timeout") from error
        except _FAILURES as error:
            found = await (asked or diagnosis())
            failure = found or _link_error(self.endpoint, error)
            if found is None and failure.reason == "upgrade_refused":
                # The same credentials were granted the upgrade just now: nothing is wrong with them.
                text = f"{self.endpoint}: the upgrade was refused, and a moment later it was not"
                failure = LinkError(text, reason="service")
            raise failure from error
        except _ConnectRefused as error:
            text = f"{self.endpoint} refused the MQTT connection: {error}"
            raise LinkError(text, reason="connect_refused") from error
        finally:
            if asked is not None:
                asked.cancel()
                await asyncio.wait((asked,))

    async def _diagnose(self, credentials: Credentials) -> LinkError | None:
        return await diagnose(self.endpoint, credentials, limit=self._limits.diagnosis, clock=self._clock)

    def _abandon(self, client: _Client, attempt: Future[None]) -> None:
        """Give an attempt up that the library can not break off, and see to it that it comes to nothing."""
        client.drop()

        def ended(_: Future[None]) -> None:
            # On a thread of the library, maybe after our loop has gone; a dict's pop needs neither.
            self._abandoned.pop(attempt, None)
            if attempt.exception() is None:
                # It succeeded after all: a second connection of this client id would throw out the one that follows.
                client.disconnect()

        self._abandoned[attempt] = self.endpoint
        attempt.add_done_callback(ended)

    # What the library says, brought to the event loop.

    def _arrived(self, topic: str, payload: bytes) -> None:
        if len(self._queue) >= self._limits.queue:
            if not self.dropped:
                logger.warning(
                    "%s: messages come faster than they are dealt with, the oldest are lost. Check whether this machine"
                    " has too much to do",
                    self.endpoint,
                )
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(Message(topic, payload, self._clock()))
        self._news.set()

    def _lost(self, error: AwsCrtError) -> None:
        client, self._client = self._client, None
        if self._closing or client is None:
            return
        self._end = _link_error(self.endpoint, error)
        logger.debug("%s: link lost: %s", self.endpoint, self._end)
        client.drop()
        self._fail_waiters()
        self._news.set()

    def _sent(self, client: _Client, future: Future[Any]) -> None:
        try:
            client.acknowledged(future)
        except (LinkError, *_FAILURES) as error:
            self.unconfirmed += 1
            logger.debug("%s: a message was not acknowledged: %s", self.endpoint, error)

    # Waiting for what it says.

    def _open_client(self) -> _Client:
        if self._client is None:
            raise self._broken()
        return self._client

    def _broken(self) -> LinkError:
        """A fresh exception each time: one that is raised twice would drag its first traceback along."""
        end = self._end
        if end is None:
            return LinkError(f"the link to {self.endpoint} is closed", reason="closed")
        return LinkError(str(end), reason=end.reason, what_to_do=end.what_to_do)

    def _waiter(self, future: Future[Any], read: Callable[[Future[Any]], T]) -> asyncio.Future[T]:
        """The library's future, seen from the event loop.

        `asyncio.wrap_future` will not do: cancelled, it cancels the library's future too, and the library then fails
        on a thread of its own when it wants to set the result.
        """
        waiter: asyncio.Future[T] = self._loop.create_future()
        self._waiters.add(waiter)
        waiter.add_done_callback(self._waiters.discard)

        def settle() -> None:
            if waiter.done():
                return
            try:
                waiter.set_result(read(future))
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
                _fail(waiter, error)

        future.add_done_callback(lambda _: _post(self._loop, settle))
        return waiter

    async def _answer(
        self, waiter: asyncio.Future[T], limit: float, overdue: Literal["suback_timeout", "puback_timeout"]
    ) -> T:
        try:
            async with asyncio.timeout(limit):
                return await waiter
        except TimeoutError as error:
            raise _late(self.endpoint, limit, overdue) from error
        except _FAILURES as error:
            raise _link_error(self.endpoint, error) from error

    def _fail_waiters(self) -> None:
        for waiter in list(self._waiters):
            if not waiter.done():
                _fail(waiter, self._broken())


def _fail(waiter: asyncio.Future[Any], error: Exception) -> None:
    waiter.set_exception(error)
    waiter.exception()  # counts as retrieved, should nobody wait any more


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


# The library's two clients, made alike --------------------------------------------------------------------------------

_OPERATION_SECONDS: Final = 60
"""After which the library forgets a message that nobody acknowledges; longer than all our own limits."""
_PING_SECONDS: Final = 10.0
_TCP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Options:
    """What both clients are made from; the callbacks may be called on any thread."""

    endpoint: Endpoint
    client_id: str
    sign: Callable[..., None]
    will: Will | None
    username: str | None
    arrived: Callable[[str, bytes], None]
    lost: Callable[[AwsCrtError], None]
    reconnect: int


class _ConnectRefused(Exception):
    """A CONNACK that says no; its text says why."""


class _Client(Protocol):
    """What a `CloudLink` asks of the library; every method returns at once."""

    filters_per_subscribe: int

    def connect(self) -> Future[None]: ...
    def disconnect(self) -> Future[Any]: ...
    def drop(self) -> None: ...
    def subscribe(self, filters: Sequence[str], qos: int) -> Future[Any]: ...
    def granted(self, answer: Future[Any]) -> list[bool]: ...
    def unsubscribe(self, topic_filter: str) -> Future[Any]: ...
    def publish(self, topic: str, payload: bytes, qos: int) -> Future[Any]: ...
    def acknowledged(self, answer: Future[Any]) -> None: ...


class _Mqtt3:
    """MQTT 3.1.1; a SUBSCRIBE of this client holds one filter."""

    filters_per_subscribe = 1

    def __init__(self, options: _Options) -> None:
        endpoint, will = options.endpoint, options.will

        def interrupted(connection: Any, error: AwsCrtError, **_: object) -> None:
            # Here on the library's own thread: what is published until we hear of the end, the library would keep, and
            # send when it reconnects by itself, a minute later and in the place of the link that stands by then.
            connection.disconnect()
            options.lost(error)

        self._connection = mqtt_connection_builder.websockets_with_custom_handshake(
            options.sign,
            endpoint=endpoint.host,
            port=endpoint.port,
            client_id=options.client_id,
            client_bootstrap=_bootstrap(),
            clean_session=True,
            keep_alive_secs=endpoint.keep_alive,
            ping_timeout_ms=_ping_ms(endpoint),
            tcp_connect_timeout_ms=int(_TCP_SECONDS * 1000),
            protocol_operation_timeout_ms=_OPERATION_SECONDS * 1000,
            reconnect_min_timeout_secs=options.reconnect,
            reconnect_max_timeout_secs=options.reconnect,
            will=mqtt.Will(will.topic, mqtt.QoS(will.qos), will.payload, retain=False) if will else None,
            username=options.username,
            enable_metrics_collection=False,
            on_connection_interrupted=interrupted,
            **_trust(endpoint),
        )
        self._connection.on_message(lambda topic, payload, **_: options.arrived(topic, payload))

    def connect(self) -> Future[None]:
        answer: Future[None] = Future()

        def opened(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                answer.set_result(None)
            elif isinstance(error, _FAILURES):
                answer.set_exception(error)
            else:  # a bare Exception that carries the return code of CONNACK
                answer.set_exception(_ConnectRefused(str(error)))

        self._connection.connect().add_done_callback(opened)
        return answer

    def disconnect(self) -> Future[Any]:
        future: Future[Any] = self._connection.disconnect()
        return future

    def drop(self) -> None:
        """Let go: an attempt can not be broken off, and a connection that broke has been told to stay so."""

    def subscribe(self, filters: Sequence[str], qos: int) -> Future[Any]:
        future: Future[Any]
        future, _ = self._connection.subscribe(filters[0], mqtt.QoS(qos))
        return future

    def granted(self, answer: Future[Any]) -> list[bool]:
        try:
            answer.result()
        except mqtt.SubscribeError:
            return [False]
        return [True]

    def unsubscribe(self, topic_filter: str) -> Future[Any]:
        future: Future[Any]
        future, _ = self._connection.unsubscribe(topic_filter)
        return future

    def publish(self, topic: str, payload: bytes, qos: int) -> Future[Any]:
        future: Future[Any]
        future, _ = self._connection.publish(topic, payload, mqtt.QoS(qos))
        return future

    def acknowledged(self, answer: Future[Any]) -> None:
        answer.result()


class _Mqtt5:
    """MQTT 5."""

    filters_per_subscribe = FILTERS_PER_SUBSCRIBE

    def __init__(self, options: _Options) -> None:
        endpoint, will = options.endpoint, options.will
        self._attempt: Future[None] = Future()
        self._stopped: Future[None] = Future()
        attempt, stopped = self._attempt, self._stopped
        known = weakref.ref(self)

        def succeeded(_: mqtt5.LifecycleConnectSuccessData) -> None:
            if not attempt.done():
                attempt.set_result(None)

        def failed(data: mqtt5.LifecycleConnectFailureData) -> None:
            _give_up(known)
            if attempt.done():
                return
            if data.connack_packet is not None:
                attempt.set_exception(_ConnectRefused(data.connack_packet.reason_code.name))
            else:
                attempt.set_exception(data.exception)

        def ended(_: mqtt5.LifecycleStoppedData) -> None:
            if not attempt.done():
                attempt.set_exception(_ConnectRefused("broken off"))
            if not stopped.done():
                stopped.set_result(None)

        sockets = io.SocketOptions()
        sockets.connect_timeout_ms = int(_TCP_SECONDS * 1000)
        client_options = mqtt5.ClientOptions(
            host_name=endpoint.host,
            port=endpoint.port,
            bootstrap=_bootstrap(),
            socket_options=sockets,
            connect_options=mqtt5.ConnectPacket(
                client_id=options.client_id,
                keep_alive_interval_sec=endpoint.keep_alive,
                will=mqtt5.PublishPacket(topic=will.topic, payload=will.payload, qos=mqtt5.QoS(will.qos))
                if will
                else None,
            ),
            session_behavior=mqtt5.ClientSessionBehaviorType.CLEAN,
            offline_queue_behavior=mqtt5.ClientOperationQueueBehaviorType.FAIL_ALL_ON_DISCONNECT,
            min_reconnect_delay_ms=options.reconnect * 1000,
            max_reconnect_delay_ms=options.reconnect * 1000,
            retry_jitter_mode=mqtt5.ExponentialBackoffJitterMode.NONE,
            ping_timeout_ms=_ping_ms(endpoint),
            ack_timeout_sec=_OPERATION_SECONDS,
            on_publish_callback_fn=lambda data: options.arrived(data.publish_packet.topic, data.publish_packet.payload),
            on_lifecycle_event_connection_success_fn=succeeded,
            on_lifecycle_event_connection_failure_fn=failed,
            on_lifecycle_event_disconnection_fn=functools.partial(_disconnected, known, options.lost),
            on_lifecycle_event_stopped_fn=ended,
        )
        self._client = mqtt5_client_builder.websockets_with_custom_handshake(
            options.sign,
            client_options=client_options,
            endpoint=endpoint.host,
            username=options.username,
            enable_metrics_collection=False,
            **_trust(endpoint),
        )

    def connect(self) -> Future[None]:
        self._client.start()
        return self._attempt

    def disconnect(self) -> Future[Any]:
        self._client.stop(mqtt5.DisconnectPacket())
        return self._stopped

    def drop(self) -> None:
        """Stop, or the client reconnects for as long as it exists."""
        self._client.stop()

    def subscribe(self, filters: Sequence[str], qos: int) -> Future[Any]:
        wanted = [mqtt5.Subscription(topic_filter, mqtt5.QoS(qos)) for topic_filter in filters]
        return _started(self._client.subscribe, mqtt5.SubscribePacket(wanted))

    def granted(self, answer: Future[Any]) -> list[bool]:
        return [
            code is not None and code < mqtt5.SubackReasonCode.UNSPECIFIED_ERROR
            for code in answer.result().reason_codes
        ]

    def unsubscribe(self, topic_filter: str) -> Future[Any]:
        return _started(self._client.unsubscribe, mqtt5.UnsubscribePacket([topic_filter]))

    def publish(self, topic: str, payload: bytes, qos: int) -> Future[Any]:
        return _started(self._client.publish, mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS(qos)))

    def acknowledged(self, answer: Future[Any]) -> None:
        puback = answer.result().puback
        code = puback.reason_code if puback is not None else None
        if code is not None and code >= mqtt5.PubackReasonCode.UNSPECIFIED_ERROR:
            raise LinkError(f"the cloud did not take the message: {code.name}", reason="publish_refused")


def _give_up(client: weakref.ref[_Mqtt5]) -> None:
    """Tell a client of MQTT 5 at once not to connect again, on the library's own thread, as the one of 3.1.1 is."""
    if (known := client()) is not None:
        known.drop()


def _disconnected(
    client: weakref.ref[_Mqtt5], lost: Callable[[AwsCrtError], None], data: mqtt5.LifecycleDisconnectData
) -> None:
    _give_up(client)
    lost(data.exception)


def _started(operation: Callable[[Any], Future[Any]], packet: object) -> Future[Any]:
    """The operation's future, also when the library refuses to begin: as its 3.1.1 client does it."""
    try:
        return operation(packet)
    except _FAILURES as error:
        refused: Future[Any] = Future()
        refused.set_exception(error)
        return refused


def _ping_ms(endpoint: Endpoint) -> int:
    return int(min(_PING_SECONDS, endpoint.keep_alive / 2) * 1000)


@functools.cache
def _bootstrap() -> io.ClientBootstrap:
    """The library's event loop, one thread for all links: its default is a thread per core, each with its memory."""
    group = io.EventLoopGroup(1)
    return io.ClientBootstrap(group, io.DefaultHostResolver(group))


def _trust(endpoint: Endpoint) -> dict[str, bytes]:
    """The builders' argument for whom to trust; read here, since the library does not say what is wrong with a file."""
    return {"ca_bytes": Path(endpoint.ca_file).read_bytes()} if endpoint.ca_file is not None else {}


def _signing(endpoint: Endpoint, credentials: Callable[[], Credentials]) -> Callable[..., None]:
    """Signs the upgrade request, with the credentials of that moment."""

    def current() -> auth.AwsCredentials:
        keys = credentials()
        return auth.AwsCredentials(keys.access_key, keys.secret_key, keys.session_token)

    provider = auth.AwsCredentialsProvider.new_delegate(current)

    def sign(transform_args: Any, **_: object) -> None:
        transform_args.http_request.path = endpoint.path
        config = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4,
            signature_type=auth.AwsSignatureType.HTTP_REQUEST_QUERY_PARAMS,
            credentials_provider=provider,
            region=endpoint.region,
            service=sigv4.SERVICE,
            omit_session_token=True,  # AWS IoT wants the token beside the signature, not in it
        )
        signed = auth.aws_sign_request(transform_args.http_request, config)
        signed.add_done_callback(lambda future: transform_args.set_done(future.exception()))

    return sign


def _post(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: Any) -> None:
    """Call on the event loop, from a thread of the library."""
    with suppress(RuntimeError):  # the loop is closed, and with it everybody who could want to know
        loop.call_soon_threadsafe(call, *args)


def _raise_failure(future: Future[Any]) -> None:
    future.result()


# Reasons --------------------------------------------------------------------------------------------------------------

_NAMES: Final = {
    "AWS_IO_DNS_INVALID_NAME": "dns",
    "AWS_IO_DNS_NO_ADDRESS_FOR_HOST": "dns",
    "AWS_IO_DNS_QUERY_FAILED": "dns",
    "AWS_IO_DNS_QUERY_AGAIN": "dns",
    "AWS_IO_DNS_HOST_REMOVED_FROM_CACHE": "dns",
    "AWS_IO_SOCKET_CONNECTION_REFUSED": "refused",
    "AWS_IO_SOCKET_NO_ROUTE_TO_HOST": "unreachable",
    "AWS_IO_SOCKET_NETWORK_DOWN": "unreachable",
    "AWS_IO_SOCKET_TIMEOUT": "timeout",
    "AWS_IO_TLS_NEGOTIATION_TIMEOUT": "timeout",
    "AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE": "tls",
    "AWS_ERROR_HTTP_WEBSOCKET_UPGRADE_FAILURE": "upgrade_refused",
    "AWS_ERROR_MQTT_TIMEOUT": "timeout",
    "AWS_ERROR_MQTT5_PING_RESPONSE_TIMEOUT": "timeout",
    "AWS_ERROR_MQTT5_CONNACK_TIMEOUT": "timeout",
    "AWS_ERROR_MQTT_UNEXPECTED_HANGUP": "closed",
    "AWS_ERROR_MQTT5_DISCONNECT_RECEIVED": "closed",
    "AWS_ERROR_HTTP_CONNECTION_CLOSED": "closed",
    "AWS_ERROR_MQTT_CANCELLED_FOR_CLEAN_SESSION": "closed",
    "AWS_ERROR_MQTT_CONNECTION_DESTROYED": "closed",
    "AWS_ERROR_MQTT_CONNECTION_SHUTDOWN": "closed",
    "AWS_ERROR_MQTT_NOT_CONNECTED": "closed",
    "AWS_ERROR_MQTT5_OPERATION_FAILED_DUE_TO_OFFLINE_QUEUE_POLICY": "closed",
    "AWS_ERROR_MQTT5_USER_REQUESTED_STOP": "closed",
    "AWS_IO_SOCKET_CLOSED": "closed",
    "AWS_ERROR_MQTT5_DECODE_PROTOCOL_ERROR": "connect_refused",
}

_INDECISIVE: Final = frozenset({"timeout", "closed", "unreachable"})
"""Findings that a slow network explains as well: the attempt goes on."""


def _link_error(endpoint: Endpoint, error: Exception) -> LinkError:
    if not isinstance(error, AwsCrtError):
        return LinkError(f"{endpoint}: {error}", reason="failed")
    reason = _NAMES.get(error.name, "tls" if "_TLS_" in error.name else "failed")
    text = {"closed": "closed the connection", "timeout": "does not answer"}.get(reason, f"failed: {error.message}")
    return LinkError(f"{endpoint} {text} ({error.name})", reason=reason)


def _late(
    endpoint: Endpoint, limit: float, reason: Literal["timeout", "suback_timeout", "puback_timeout"]
) -> LinkError:
    text = f"{endpoint} did not answer within {limit:g} s"
    return LinkError(text, reason=reason, what_to_do=ADVICE["timeout"])
