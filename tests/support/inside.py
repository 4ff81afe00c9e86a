"""A house without sockets: the bridge's broker, its links and its REST services, all within one event loop.

What is replaced is as little as can be: the libraries that own the sockets. Around them everything is real.

    LocalBroker, Link      over `_Local` in place of aiomqtt's client    ─┐
    CloudLink              over `_Remote` in place of awscrt's client    ─┴─▶ `Pipe` ─▶ an embedded `Broker`
    Rest                   over `_Http` in place of aiohttp's session    ───────────▶ `Simulator.rest`

What can go wrong is set in `Broken`, at any time: of the broker in `LocalSide.broken`, of the clouds in `CloudSide`.
"""

from __future__ import annotations

import asyncio
import errno
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import aiohttp
import aiomqtt
import orjson
from aiohttp.client_reqrep import ConnectionKey
from awscrt.exceptions import AwsCrtError

from navibridge import aws
from navibridge.broker import LocalBroker
from navibridge.demo.broker import (
    AWS,
    REFUSED,
    Ack,
    Broker,
    ClientInfo,
    Connack,
    Connect,
    Decoder,
    Kind,
    Message,
    Packet,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    encode,
)
from navibridge.errors import LinkError
from navibridge.network import Network
from navibridge.rest import Rest
from navibridge.simulation import Reply, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from navibridge.diagnosis import Credentials, Endpoint
    from navibridge.simulation import Simulator

Broken = Literal["", "refused", "unreachable", "silent", "service"]
"""What is wrong with a line: nothing, nobody listens, no way there, half-open, or a gateway in place of the service."""

LARGEST = 16 * 1024 * 1024
NOTICED = 60.0
"""Seconds after which a client's pings tell that a line is dead."""


class Pipe:
    """An MQTT client on a pipe into a `Broker`, whose `navibridge.demo.broker.Transport` it is.

    Args:
        broker: at the far end.
        connect: the first packet.
        principal: whom the pipe belongs to.
        arrived: gets every message, acknowledged already.
        lost: is told once when the pipe is gone, unless it was closed here.

    Attributes:
        code: the broker's answer to the first packet; ``None`` when there was none.
        dead: nothing passes any more, and nobody is told.
    """

    def __init__(
        self,
        broker: Broker,
        connect: Connect,
        *,
        principal: str,
        arrived: Callable[[Publish], None],
        lost: Callable[[], None],
    ) -> None:
        self.code: int | None = None
        self.dead = False
        self._arrived = arrived
        self._lost = lost
        self._over = False
        self._number = 0
        self._asked: dict[int, Callable[[Packet], None]] = {}
        self._decoder = Decoder(LARGEST)
        self._connection = broker.attach(self, principal=principal)
        self.send(connect)

    def send(self, packet: Packet) -> None:
        if not self.dead:
            self._connection.receive(encode(packet))

    def ask(self, make: Callable[[int], Packet], answered: Callable[[Packet], None]) -> None:
        """Send a packet with a number of its own; its acknowledgement goes to ``answered``."""
        self._number = self._number % 0xFFFF + 1
        self._asked[self._number] = answered
        self.send(make(self._number))

    def leave(self) -> None:
        """Say goodbye."""
        self._over = True
        self.send(Signal(Kind.DISCONNECT))
        self._connection.lost()

    def cut(self) -> None:
        """Lose the line."""
        self._connection.lost()

    # What the broker does with its end.

    def write(self, packet: bytes) -> None:
        if self.dead:
            return
        for received in self._decoder.feed(packet):
            match received:
                case Connack():
                    self.code = received.code
                case Publish():
                    if received.qos:
                        self.send(Ack(Kind.PUBACK, received.packet_id))
                    self._arrived(received)
                case Ack() | Suback():
                    answered = self._asked.pop(received.packet_id, None)
                    if answered is not None:
                        answered(received)

    def backlog(self) -> int:
        return 0

    def close(self) -> None:
        if not self.dead:
            self.end()

    def end(self) -> None:
        """It is over, and whoever holds this end learns of it."""
        if not self._over:
            self._over = True
            self._lost()


# The user's broker ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A message as aiomqtt hands it out."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: None = None


class _Local:
    """aiomqtt's client, as far as `navibridge.broker` knows it."""

    def __init__(self, side: LocalSide, connect: Connect, inbox: Any) -> None:
        self.timeout = 0.0
        self.disconnected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._side = side
        self._connect = connect
        self._inbox = inbox
        self._pipe: Pipe | None = None
        self._end: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        side = self._side
        match side.broken:
            case "silent":
                await asyncio.Event().wait()
            case "refused":
                await self._fail(ConnectionRefusedError(111, "Connection refused"))
            case "unreachable" | "service":
                await self._fail(OSError(113, "No route to host"))
        self._pipe = Pipe(side.broker, self._connect, principal="", arrived=self._arrived, lost=self._lost)
        side.clients[self] = None
        return self

    async def _fail(self, error: OSError) -> None:
        try:
            raise error
        except OSError:
            raise aiomqtt.MqttError(str(error))  # noqa: B904 - as aiomqtt does: the cause is the context

    async def __aexit__(self, *_: object) -> None:
        if self._pipe is not None:
            self._pipe.leave()

    def abandon(self) -> None:
        self._side.clients.pop(self, None)
        if self._end is not None:
            self._end.cancel()
        if self._pipe is not None:
            self._pipe.cut()

    async def publish(
        self, topic: str, payload: bytes | str, qos: int, retain: bool, _properties: object, **_: object
    ) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        if not qos:
            self._open.send(Publish(topic, data, retain=retain))
            return
        await self._answer(lambda number: Publish(topic, data, qos, retain, packet_id=number))

    async def subscribe(self, wanted: list[tuple[str, int]], **_: object) -> tuple[int, ...]:
        answer = await self._answer(lambda number: Subscribe(number, tuple(wanted)))
        assert isinstance(answer, Suback)
        return answer.codes

    async def unsubscribe(self, filters: list[str], **_: object) -> None:
        await self._answer(lambda number: Unsubscribe(number, tuple(filters)))

    def freeze(self) -> None:
        """The line is dead from now on; pings tell after a while."""
        if self._pipe is not None:
            self._pipe.dead = True
            if self._end is not None:
                self._end.cancel()
            self._end = asyncio.get_running_loop().call_later(NOTICED, self._pipe.end)

    def cut(self) -> None:
        if self._pipe is not None:
            self._pipe.cut()

    @property
    def _open(self) -> Pipe:
        assert self._pipe is not None
        return self._pipe

    async def _answer(self, make: Callable[[int], Packet]) -> Packet:
        future: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()

        def answered(packet: Packet) -> None:
            if not future.done():
                future.set_result(packet)

        self._open.ask(make, answered)
        await asyncio.sleep(0)  # no answer is as quick as the question
        return await future

    def _arrived(self, packet: Publish) -> None:
        self._side.delivered(packet)
        self._inbox.put_nowait(_Incoming(packet.topic, packet.payload, packet.qos, packet.retain))

    def _lost(self) -> None:
        if not self.disconnected.done():
            self.disconnected.set_result(None)


class LocalSide:
    """The user's broker, and the only way there.

    Args:
        heard: gets every message that the bridge published.
        delivered: gets every message that reached the bridge.

    Attributes:
        broker: the broker that runs now.
        broken: what is wrong with the way there.
        clients: who is connected.
    """

    def __init__(self, *, heard: Callable[[Message], None], delivered: Callable[[Publish], None]) -> None:
        self.broken: Broken = ""
        self.clients: dict[_Local, None] = {}
        self.delivered = delivered
        self._heard = heard
        self.broker = self._start()

    def _start(self) -> Broker:
        return Broker(on_publish=lambda _, message: self._heard(message))

    def restart(self) -> None:
        """A broker that remembers nothing takes the place of the one before."""
        self.cut()
        self.broker = self._start()

    def cut(self) -> None:
        for client in tuple(self.clients):
            client.cut()

    def break_(self, how: Broken) -> None:
        """From now on this is wrong; lines that stand are cut, or freeze."""
        self.broken = how
        for client in tuple(self.clients):
            if how == "silent":
                client.freeze()
            elif how:
                client.cut()

    @property
    def connects(self) -> type[LocalBroker]:
        """What the bridge is to connect with."""
        side = self

        class Inside(LocalBroker):
            def _client(self, inbox: Any) -> Any:
                will = self._will and Message(self._will[0], self._will[1].encode(), qos=1, retain=True)
                return _Local(side, Connect(self._client_id, will=will or None), inbox)

        return Inside


# The clouds -----------------------------------------------------------------------------------------------------------


class _Remote:
    """awscrt's client, as far as `navibridge.aws` knows it."""

    filters_per_subscribe = 1

    def __init__(self, side: CloudSide, options: Any, access_key: str) -> None:
        self._side = side
        self._options = options
        self._access_key = access_key
        self._pipe: Pipe | None = None
        self._end: asyncio.TimerHandle | None = None

    def connect(self) -> Future[None]:
        answer: Future[None] = Future()
        options, side = self._options, self._side
        admitted = side.admit(self._access_key)
        if isinstance(admitted, str):
            if admitted == "silent":
                side.hanging.append(answer)
            else:
                answer.set_exception(_error(admitted))
            return answer
        simulator, principal = admitted
        will = options.will and Message(options.will.topic, options.will.payload, options.will.qos)
        broker = side.broker_of(simulator)
        connect = Connect(options.client_id, will=will)
        self._pipe = Pipe(broker, connect, principal=principal, arrived=self._arrived, lost=self._lost)
        if self._pipe.code != 0:
            answer.set_exception(_error("closed"))
            return answer
        side.clients[self] = None
        side.opened += 1
        answer.set_result(None)
        if side.stands_for is not None:
            self._end = asyncio.get_running_loop().call_later(side.stands_for, self.cut)
        return answer

    def disconnect(self) -> Future[Any]:
        done: Future[Any] = Future()
        if self._pipe is not None:
            self._pipe.leave()
        self._forget()
        done.set_result(None)
        return done

    def drop(self) -> None:
        if self._pipe is not None:
            self._pipe.cut()
        self._forget()

    def subscribe(self, filters: Sequence[str], qos: int) -> Future[Any]:
        return self._ask(lambda number: Subscribe(number, tuple((one, qos) for one in filters)))

    def granted(self, answer: Future[Any]) -> list[bool]:
        return [code < REFUSED for code in answer.result().codes]

    def unsubscribe(self, topic_filter: str) -> Future[Any]:
        return self._ask(lambda number: Unsubscribe(number, (topic_filter,)))

    def publish(self, topic: str, payload: bytes, qos: int) -> Future[Any]:
        return self._ask(lambda number: Publish(topic, payload, qos, packet_id=number))

    def acknowledged(self, answer: Future[Any]) -> None:
        answer.result()

    def freeze(self) -> None:
        """The line is dead from now on; pings tell after a while."""
        if self._pipe is not None:
            self._pipe.dead = True
            if self._end is not None:
                self._end.cancel()
            self._end = asyncio.get_running_loop().call_later(NOTICED, self._pipe.end)

    def cut(self) -> None:
        if self._pipe is not None:
            self._pipe.cut()

    def _forget(self) -> None:
        self._side.clients.pop(self, None)
        if self._end is not None:
            self._end.cancel()

    def _ask(self, make: Callable[[int], Packet]) -> Future[Any]:
        answer: Future[Any] = Future()
        assert self._pipe is not None
        self._pipe.ask(make, answer.set_result)
        return answer

    def _arrived(self, packet: Publish) -> None:
        self._options.arrived(packet.topic, packet.payload)

    def _lost(self) -> None:
        self._forget()
        self._options.lost(_error("closed"))


_NAMES = {
    "refused": "AWS_IO_SOCKET_CONNECTION_REFUSED",
    "unreachable": "AWS_IO_DNS_NO_ADDRESS_FOR_HOST",
    "service": "AWS_ERROR_HTTP_WEBSOCKET_UPGRADE_FAILURE",
    "expired": "AWS_ERROR_HTTP_WEBSOCKET_UPGRADE_FAILURE",
    "closed": "AWS_ERROR_MQTT_UNEXPECTED_HANGUP",
}


def _error(sort: str) -> AwsCrtError:
    return AwsCrtError(1, _NAMES[sort], sort)


_FOUND = {"refused": "refused", "unreachable": "dns", "service": "service", "expired": "upgrade_refused"}
"""What `navibridge.diagnosis` would find."""


class CloudSide(Network):
    """All clouds, and the only way there.

    Args:
        simulators: by the host name that their account's configuration has.
        clock: seconds since the epoch.
        asked: is told of every request that reached a REST service.

    Attributes:
        rest_broken: what is wrong with the REST services.
        iot_broken: what is wrong with the links.
        stands_for: seconds that a new link stands; ``None`` for as long as it likes.
        clients: the links that stand.
        hanging: attempts that hang; the far end ends them when it is well again.
        opened: how many links were opened.
    """

    def __init__(
        self,
        simulators: Mapping[str, Simulator],
        clock: Callable[[], float],
        *,
        asked: Callable[[Request], None] = lambda _: None,
    ) -> None:
        self.rest_broken: Broken = ""
        self.iot_broken: Broken = ""
        self.stands_for: float | None = None
        self.clients: dict[_Remote, None] = {}
        self.hanging: list[Future[None]] = []
        self.opened = 0
        self.asked = asked
        self._links = self._link_class()
        self._clock = clock
        self._simulators = dict(simulators)
        self._brokers = {id(simulator): self._start(simulator) for simulator in simulators.values()}

    def _start(self, simulator: Simulator) -> Broker:
        def report(info: ClientInfo, message: Message) -> None:
            simulator.received(info.principal, info.client_id, message.topic, message.payload)

        manners = simulator.manners
        return Broker(
            on_publish=report,
            rules=replace(
                AWS,
                may_subscribe=simulator.may_subscribe,
                may_publish=simulator.may_publish,
                close_on_forbidden=manners.close_on_forbidden,
                max_subscriptions=manners.max_subscriptions,
                quiet_seconds=manners.quiet_seconds,
                max_retained=0,
            ),
        )

    def broker_of(self, simulator: Simulator) -> Broker:
        return self._brokers[id(simulator)]

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """The devices live."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(simulator.run(self.broker_of(simulator)), name=f"simulated {simulator.vendor}")
                for simulator in self._simulators.values()
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def break_(self, *, rest: Broken = "", iot: Broken = "") -> None:
        """From now on this is wrong; links that stand are cut, or freeze."""
        self.rest_broken, self.iot_broken = rest, iot
        for client in tuple(self.clients):
            if iot == "silent":
                client.freeze()
            elif iot:
                client.cut()
        if iot != "silent":
            for attempt in self.hanging:
                attempt.set_exception(_error("closed"))
            self.hanging.clear()

    def cut(self) -> None:
        for client in tuple(self.clients):
            client.cut()

    # The network, as sessions are handed it.

    def rest(self, base_url: str, **options: Any) -> Rest:
        return _Rest(base_url, side=self, **options)

    async def open_link(
        self,
        endpoint: Endpoint,
        client_id: str,
        credentials: Callable[[], Credentials],
        *,
        will: tuple[str, bytes] | None = None,
        clock: Callable[[], float],
    ) -> aws.CloudLink:
        last_words = aws.Will(*will) if will is not None else None
        return await self._links.open(endpoint, client_id, credentials, will=last_words, clock=clock)

    def _link_class(self) -> type[aws.CloudLink]:
        side = self

        class Inside(aws.CloudLink):
            async def _connect(self, client_id: str, credentials: Callable[[], Credentials], *rest: Any) -> None:
                self._access_key = credentials().access_key
                await super()._connect(client_id, credentials, *rest)

            def _library(self, options: Any) -> Any:
                return _Remote(side, options, self._access_key)

            async def _diagnose(self, keys: Credentials) -> LinkError | None:
                await asyncio.sleep(0.1)
                return side.diagnose(keys.access_key)

        return Inside

    def admit(self, access_key: str) -> tuple[Simulator, str] | Broken | Literal["expired"]:
        if self.iot_broken:
            return self.iot_broken
        for simulator in self._simulators.values():
            grant = simulator.grant(access_key)
            if grant is not None and grant.expires_at > self._clock():
                return simulator, grant.principal
        return "expired"

    def diagnose(self, access_key: str) -> LinkError | None:
        admitted = self.admit(access_key)
        if isinstance(admitted, tuple):
            return None
        reason = _FOUND.get(admitted, "timeout")
        return LinkError(f"the endpoint: {reason}", reason=reason)

    async def answer(self, method: str, url: str, query: Mapping[str, str], headers: Any, body: bytes) -> Reply:
        """One request to whichever service the host name belongs to."""
        await asyncio.sleep(0.05)
        match self.rest_broken:
            case "refused":
                raise _unreached(url, ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
            case "unreachable":
                raise _unreached(url, OSError(errno.EHOSTUNREACH, "No route to host"))
            case "silent":
                await asyncio.sleep(30)
                raise TimeoutError
            case "service":
                return Reply("<html>502</html>", HTTPStatus.BAD_GATEWAY, content_type="text/html")
        parts = urlsplit(url)
        lower = {name.lower(): value for name, value in headers.items()}
        request = Request(method, parts.hostname or "", parts.path, dict(query), lower, body)
        self.asked(request)
        reply = await self._simulators[request.host].rest(request)
        await asyncio.sleep(reply.delay)
        return reply


def _unreached(url: str, error: OSError) -> aiohttp.ClientConnectorError:
    """What aiohttp makes of it."""
    key = ConnectionKey(
        urlsplit(url).hostname or "", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
    )
    return aiohttp.ClientConnectorError(key, error)


class _Rest(Rest):
    """The real client, with another session in place of aiohttp's."""

    def __init__(self, base_url: str, *, side: CloudSide, **options: Any) -> None:
        super().__init__(base_url, **options)
        self._side = side

    async def __aenter__(self) -> Self:
        assert self._session is None
        self._session = _Http(self._side)  # type: ignore[assignment]
        return self


class _Http:
    """aiohttp's session, as far as `navibridge.rest` knows it."""

    def __init__(self, side: CloudSide) -> None:
        self._side = side

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str],
        **_: object,
    ) -> AsyncIterator[_Response]:
        yield _Response(await self._side.answer(method, url, params or {}, headers, data or b""))

    async def close(self) -> None:
        pass


class _Response:
    """aiohttp's response, likewise; it is its own content, too."""

    def __init__(self, reply: Reply) -> None:
        self.status = int(reply.status)
        self.content_type = reply.content_type
        self.headers = {"Content-Type": reply.content_type, **reply.headers}
        self.content = self
        self._body = reply.body

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield (
            self._body
            if isinstance(self._body, bytes)
            else (self._body.encode() if isinstance(self._body, str) else orjson.dumps(self._body))
        )

    def close(self) -> None:
        pass
