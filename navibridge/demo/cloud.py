"""The simulated clouds' common front: one TLS port that answers as the vendors' REST services and as AWS IoT do.

    bridge ── HTTPS ──▶ SimulatedCloud ── Simulator.rest         by host name, else by what the request looks like
           ── wss ────▶ /mqtt, signature verified ── Broker ──▶ Simulator.received
                                                        ◀── Cloud.publish

It knows nothing of any vendor; a `navibridge.simulation.Simulator` knows nothing of sockets. Each simulator has a
broker of its own, as each vendor has an AWS account of its own; MQTT 5 is translated for it. Whatever can go wrong with
the real services can be made to go wrong here at any time: see `Faults` and `SimulatedCloud.drop_all`.

What a client must be shown to take this for the real thing is in docs/protocol/navilink.md 15 and 17, and in
docs/protocol/mysa.md 11 and 14.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import tempfile
import time
import weakref
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, cast
from urllib.parse import urlsplit

import orjson
import trustme
from aiohttp import WSMsgType, web

from navibridge import sigv4
from navibridge.demo.broker import AWS, Broker, ClientInfo, Kind, MalformedPacket, Message, Rules
from navibridge.demo.mqtt5 import Translator
from navibridge.simulation import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from navibridge.simulation import Simulator

logger = logging.getLogger(__name__)

MQTT_PATH: Final = "/mqtt"
_SUBPROTOCOL: Final = "mqtt"
_LINGER: Final = 2.0
"""Seconds that the last packets have to get out before the line is cut all the same."""


@dataclass(slots=True)
class Faults:
    """What is wrong with the cloud; every attribute may be set at any time, and counts from then on.

    Attributes:
        rest_delay: seconds before each REST answer, on top of what the simulator asks for.
        rest_status: answer every REST request with this status and a page of HTML, as a gateway does.
        refuse_upgrade: answer every WebSocket upgrade with this status.
        hang_upgrade: accept connections and then never answer an upgrade.
        close_after_connack: seconds after CONNACK that a new connection is closed.
        session_seconds: life of a new connection, in place of AWS IoT's 24 hours.
        latency: seconds that each MQTT packet takes on its way to a client.
        stop_delivering: deliver no message any more, while pings and acknowledgements go on.
        swallow_puback: acknowledge no message, though they are taken.
        lose: messages of clients (topic, payload) that vanish without an acknowledgement.
        clock_offset: seconds that the cloud's clock is ahead: of its ``Date`` headers and in judging signatures.
    """

    rest_delay: float = 0.0
    rest_status: int | None = None
    refuse_upgrade: int | None = None
    hang_upgrade: bool = False
    close_after_connack: float | None = None
    session_seconds: float | None = None
    latency: float = 0.0
    stop_delivering: bool = False
    swallow_puback: bool = False
    lose: Callable[[str, bytes], bool] | None = None
    clock_offset: float = 0.0


@dataclass(slots=True)
class Counts:
    """What the cloud was asked for: REST requests, WebSockets opened, and upgrades refused, by reason."""

    rest: int = 0
    upgrades: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class SimulatedCloud:
    """One TLS port for any number of simulated vendors.

    Use it as an asynchronous context manager, or by `start` and `stop`; it may be started again after a stop, on the
    same port if so wanted, and keeps its certificate.

    Args:
        simulators: the vendors.
        clock: seconds since the epoch.
        faults: what is wrong from the beginning.
        rules: the manners of the brokers; the policies and faults are filled in here.
        ca_path: where the certificate of the authority is written to; a temporary file when not given.
        names: host names and addresses that the certificate is for, besides this machine's own loopback ones and the
            vendors' real ones; for clients on other machines.

    Attributes:
        faults: may be set at any time.
        rules: count for new connections.
        counts: what was asked for.
        host: that was given to `start`.
        port: where it listens.
        ca_file: path of the PEM file of the authority that clients have to trust.
    """

    def __init__(
        self,
        simulators: Sequence[Simulator],
        *,
        clock: Callable[[], float] = time.time,
        faults: Faults | None = None,
        rules: Rules = AWS,
        ca_path: str | Path | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.simulators = tuple(simulators)
        self.rules = rules
        self.faults = faults or Faults()
        self.counts = Counts()
        self.host = ""
        self.port = 0
        self._clock = clock
        self._brokers = {id(simulator): Broker(on_publish=_reporter(simulator)) for simulator in self.simulators}
        self._transports: set[asyncio.Transport] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.ServerRunner | None = None
        authority = trustme.CA(organization_name="navibridge simulated clouds")
        certified = {"localhost", "127.0.0.1", "::1", *names}.union(*(simulator.hosts for simulator in self.simulators))
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*sorted(certified)).configure_cert(self._tls)
        if ca_path is None:
            directory = tempfile.mkdtemp(prefix="navibridge-ca-")
            # Not removed at stop: clients may ask for it while the cloud is away for a moment.
            weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
            ca_path = Path(directory, "ca.pem")
        self.ca_file = str(ca_path)
        authority.cert_pem.write_to_path(self.ca_file)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen, and let the simulated devices live; port 0 takes any free one.

        Raises:
            OSError: the address can not be bound.
        """
        server = web.Server(self._answer, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, ssl_context=self._tls).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.host, self.port = host, cast("int", runner.addresses[0][1])
        for simulator in self.simulators:
            self._tasks.append(asyncio.create_task(self._live(simulator), name=f"simulated {simulator.vendor}"))
        logger.info("simulated clouds listen at %s:%d", self.host, self.port)

    async def stop(self) -> None:
        """Close everything; returns when nothing is left of it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.drop_all()
        for broker in self._brokers.values():
            await broker.close()
        runner, self._runner = self._runner, None
        if runner is None or runner.server is None:
            return
        lines = [connection.transport for connection in runner.server.connections]
        await runner.cleanup()
        # Closed politely, they would wait for the clients' own good-bye, long after the event loop has gone.
        for line in lines:
            if line is not None:
                line.abort()
        await asyncio.sleep(0)  # the sockets are closed in the loop's next round

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def broker(self, vendor: str) -> Broker:
        """The broker behind a vendor's ``/mqtt``.

        Raises:
            KeyError: there is no simulator of that vendor.
        """
        for simulator in self.simulators:
            if simulator.vendor == vendor:
                return self._brokers[id(simulator)]
        raise KeyError(vendor)

    def drop_all(self) -> None:
        """Cut every WebSocket at once, also those that hang at the upgrade, as an outage of the network does."""
        for transport in list(self._transports):
            transport.abort()

    async def _live(self, simulator: Simulator) -> None:
        try:
            await simulator.run(self._brokers[id(simulator)])
        except Exception:
            logger.exception("the simulated cloud of %s has stopped. Please report it", simulator.vendor)
            raise

    def _now(self) -> float:
        return self._clock() + self.faults.clock_offset

    # HTTP.

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == MQTT_PATH and "upgrade" in request.headers:
            return await self._upgrade(request)
        self.counts.rest += 1
        asked = Request(
            method=request.method,
            host=_host_of(request),
            path=request.path,
            query=dict(request.query),
            headers=_headers_of(request),
            body=await request.read(),
        )
        await asyncio.sleep(self.faults.rest_delay)
        if self.faults.rest_status is not None:
            return self._page(self.faults.rest_status)
        simulator = self._simulator_for(asked)
        if simulator is None:
            return self._page(HTTPStatus.NOT_FOUND)
        reply = await simulator.rest(asked)
        await asyncio.sleep(reply.delay)
        return web.Response(
            body=_encode(reply),
            status=reply.status,
            headers={"Content-Type": reply.content_type, "Date": self._date()} | dict(reply.headers),
        )

    def _simulator_for(self, request: Request) -> Simulator | None:
        for simulator in self.simulators:
            if request.host in simulator.hosts:
                return simulator
        return next((simulator for simulator in self.simulators if simulator.serves(request)), None)

    def _page(self, status: int) -> web.Response:
        """An answer that no simulator made, and that explains nothing."""
        text = f"<html><body><h1>{status}</h1></body></html>"
        return web.Response(text=text, status=status, content_type="text/html", headers={"Date": self._date()})

    def _date(self) -> str:
        return formatdate(self._now(), usegmt=True)

    # MQTT.

    async def _upgrade(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        if transport is None:  # the client has gone already
            return self._page(HTTPStatus.BAD_REQUEST)
        self._transports.add(transport)
        try:
            if self.faults.hang_upgrade:
                await asyncio.Event().wait()  # ended by the client's leaving, `drop_all` or `stop`
            if self.faults.refuse_upgrade is not None:
                return self._refuse(self.faults.refuse_upgrade, "fault")
            if _SUBPROTOCOL not in _subprotocols(request):
                return self._refuse(HTTPStatus.UPGRADE_REQUIRED, "subprotocol")
            admitted = self._admit(request)
            if isinstance(admitted, str):
                return self._refuse(HTTPStatus.FORBIDDEN, admitted)
            simulator, principal = admitted
            return await self._converse(request, transport, simulator, principal)
        finally:
            self._transports.discard(transport)

    def _refuse(self, status: int, reason: str) -> web.Response:
        self.counts.refused[reason] += 1
        logger.debug("upgrade refused with %d: %s", status, reason)
        return self._page(status)

    def _admit(self, request: web.BaseRequest) -> tuple[Simulator, str] | str:
        """Whose cloud a signed request belongs to, and on whose behalf; or the reason to refuse it."""
        query = request.raw_path.partition("?")[2]
        access_key = sigv4.access_key_of(query)
        if access_key is None:
            return "unsigned"
        for simulator in self.simulators:
            grant = simulator.grant(access_key)
            if grant is None:
                continue
            refusal = sigv4.verify(
                query,
                headers=_headers_of(request),
                secret_key=grant.secret_key,
                session_token=grant.session_token,
                expires_at=grant.expires_at,
                now=self._now(),
                path=MQTT_PATH,
            )
            return refusal.value if refusal is not None else (simulator, grant.principal)
        return "unknown_key"

    async def _converse(
        self, request: web.BaseRequest, transport: asyncio.Transport, simulator: Simulator, principal: str
    ) -> web.StreamResponse:
        """Carry bytes between a WebSocket and a connection of the simulator's broker until either ends."""
        socket = web.WebSocketResponse(protocols=(_SUBPROTOCOL,), compress=False)
        socket.headers["Date"] = self._date()
        await socket.prepare(request)
        self.counts.upgrades += 1
        translator = Translator(self.rules.max_packet_size)
        pipe = _Pipe(socket, transport, translator, self.faults)
        broker = self._brokers[id(simulator)]
        broker.rules = self._rules_of(simulator)
        connection = broker.attach(pipe, principal=principal)
        writing = asyncio.create_task(pipe.write_out(), name=f"write to a client of {simulator.vendor}")
        try:
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    break
                connection.receive(translator.to_broker(message.data))
        except MalformedPacket as error:
            connection.drop(str(error))
        finally:
            connection.lost()
            pipe.close()
            await writing
        return socket

    def _rules_of(self, simulator: Simulator) -> Rules:
        faults = self.faults
        return replace(
            self.rules,
            may_subscribe=simulator.may_subscribe,
            may_publish=simulator.may_publish,
            close_on_forbidden=self.rules.close_on_forbidden and simulator.manners.close_on_forbidden,
            max_subscriptions=simulator.manners.max_subscriptions or self.rules.max_subscriptions,
            quiet_seconds=simulator.manners.quiet_seconds or self.rules.quiet_seconds,
            max_session_seconds=faults.session_seconds or self.rules.max_session_seconds,
            max_retained=0,
            withholds=lambda _info, _message: faults.stop_delivering,
            loses=lambda _info, message: faults.lose is not None and faults.lose(message.topic, message.payload),
        )


class _Pipe:
    """A WebSocket as the broker's `navibridge.demo.broker.Transport`: one MQTT packet in one binary message."""

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, translator: Translator, faults: Faults
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._translator = translator
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._packets: deque[tuple[float, bytes]] = deque()
        self._waiting = 0
        self._news = asyncio.Event()
        self._closing = False
        self._end: asyncio.TimerHandle | None = None

    def write(self, packet: bytes) -> None:
        kind = packet[0] >> 4
        if kind == Kind.PUBACK and self._faults.swallow_puback:
            return
        if kind == Kind.CONNACK and self._faults.close_after_connack is not None:
            self._end = self._loop.call_later(self._faults.close_after_connack, self._transport.abort)
        packet = self._translator.to_client(packet)
        self._packets.append((self._loop.time() + self._faults.latency, packet))
        self._waiting += len(packet)
        self._news.set()

    def backlog(self) -> int:
        return self._waiting

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._news.set()
            # A client that does not read would keep what was written, and the line, for ever.
            self._loop.call_later(_LINGER + self._faults.latency, self._transport.abort)

    async def write_out(self) -> None:
        """Send what is written, then cut the line; no close frame, since AWS IoT parts without a word."""
        try:
            while True:
                while self._packets:
                    due, packet = self._packets.popleft()
                    if due > self._loop.time():
                        await asyncio.sleep(due - self._loop.time())
                    await self._socket.send_bytes(packet)
                    self._waiting -= len(packet)
                if self._closing:
                    return
                self._news.clear()
                await self._news.wait()
        except ConnectionError as error:
            logger.debug("a client has gone: %s", error)
        finally:
            if self._end is not None:
                self._end.cancel()
            self._transport.close()


def _reporter(simulator: Simulator) -> Callable[[ClientInfo, Message], None]:
    def report(info: ClientInfo, message: Message) -> None:
        simulator.received(info.principal, info.client_id, message.topic, message.payload)

    return report


def _host_of(request: web.BaseRequest) -> str:
    return (urlsplit(f"//{request.host}").hostname or "").lower()


def _headers_of(request: web.BaseRequest) -> Mapping[str, str]:
    """By lower-case name; what came several times is joined by commas."""
    return {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}


def _subprotocols(request: web.BaseRequest) -> list[str]:
    return [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]


def _encode(reply: Reply) -> bytes:
    """The body: bytes as they are, text where the content type is another than JSON, else JSON."""
    if isinstance(reply.body, bytes):
        return reply.body
    if isinstance(reply.body, str) and "json" not in reply.content_type:
        return reply.body.encode()
    return orjson.dumps(reply.body)
