"""A raw MQTT client for conformance tests: it says exactly what it is told to, and keeps what comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from navibridge.demo.broker import (
    Ack,
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

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE = 10.0  # seconds; both brokers answer within milliseconds
ROUNDS = 20


def shown(packet: Packet) -> str:
    """A packet as one line of a transcript."""
    match packet:
        case Publish():
            flags = "".join(f" {name}" for name in ("retain", "dup") if getattr(packet, name))
            number = f" #{packet.packet_id}" if packet.qos else ""
            return f"PUBLISH {packet.topic} {packet.payload.decode()!r} qos {packet.qos}{number}{flags}"
        case Ack() | Signal():
            number = f" #{packet.packet_id}" if isinstance(packet, Ack) else ""
            return f"{packet.kind.name}{number}"
        case Connack():
            return f"CONNACK {packet.code}{' session present' if packet.session_present else ''}"
        case Suback():
            return f"SUBACK #{packet.packet_id} {list(packet.codes)}"
        case _:
            return repr(packet)


class WireClient:
    """One TCP connection. It acknowledges deliveries by itself unless told not to."""

    def __init__(self, bench: Bench, name: str, *, acknowledges: bool) -> None:
        self.name = name
        self.acknowledges = acknowledges
        self.open = True
        self._bench = bench
        self._decoder = Decoder(16 * 1024 * 1024)
        self._pongs = 0
        self._packet_id = 0

    async def dial(self, host: str, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection(host, port)

    async def send(self, *packets: Packet | bytes) -> None:
        """Send packets, or any bytes, and let everything that follows from them happen."""
        self.write(*packets)
        await self._bench.settle()

    def write(self, *packets: Packet | bytes) -> None:
        """Send, and go on at once."""
        self._writer.write(b"".join(packet if isinstance(packet, bytes) else encode(packet) for packet in packets))

    async def publish(self, topic: str, payload: str = "", qos: int = 0, *, retain: bool = False) -> None:
        await self.send(Publish(topic, payload.encode(), qos, retain, packet_id=self._next() if qos else 0))

    async def subscribe(self, *filters: tuple[str, int]) -> None:
        await self.send(Subscribe(self._next(), filters))

    async def unsubscribe(self, *filters: str) -> None:
        await self.send(Unsubscribe(self._next(), filters))

    async def leave(self) -> None:
        """Say goodbye, then close."""
        self.write(Signal(Kind.DISCONNECT))
        await self.vanish()

    async def vanish(self) -> None:
        """Close the socket without a word."""
        self.open = False
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)
        await self._bench.settle()

    async def until_closed(self) -> None:
        """Say nothing, and wait for the broker to close the connection."""
        async with asyncio.timeout(PATIENCE):
            while self.open:
                await self._read()

    async def ping(self) -> bool:
        """One PINGREQ and all that comes before its answer; whether anything came."""
        before = len(self._bench.transcript)
        wanted = self._pongs + 1
        self.write(Signal(Kind.PINGREQ))
        async with asyncio.timeout(PATIENCE):
            while self.open and self._pongs < wanted:
                await self._read()
        return len(self._bench.transcript) > before

    async def _read(self) -> None:
        try:
            data = await self._reader.read(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.open = False
            self._writer.close()
            await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)
            self._note("closed")
        for packet in self._decoder.feed(data):
            self._arrived(packet)

    def _arrived(self, packet: Packet) -> None:
        if packet == Signal(Kind.PINGRESP):
            self._pongs += 1
            return
        self._note(shown(packet))
        match packet:
            case Publish(qos=1) if self.acknowledges:
                self.write(Ack(Kind.PUBACK, packet.packet_id))
            case Publish(qos=2) if self.acknowledges:
                self.write(Ack(Kind.PUBREC, packet.packet_id))
            case Ack(kind=Kind.PUBREL) if self.acknowledges:
                self.write(Ack(Kind.PUBCOMP, packet.packet_id))
            case Ack(kind=Kind.PUBREC):
                self.write(Ack(Kind.PUBREL, packet.packet_id))

    def _note(self, line: str) -> None:
        self._bench.transcript.append((self.name, line))

    def _next(self) -> int:
        self._packet_id += 1
        return self._packet_id


class Bench:
    """A broker under test, its clients, and the transcript of what they received: pairs of client and line."""

    def __init__(self, host: str, port: int) -> None:
        self.transcript: list[tuple[str, str]] = []
        self._host = host
        self._port = port
        self._clients: list[WireClient] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.open = False
            client._writer.close()
            await asyncio.gather(client._writer.wait_closed(), return_exceptions=True)

    def of(self, name: str) -> list[str]:
        """What one client received; also over several connections."""
        return [line for client, line in self.transcript if client == name]

    async def dial(self, name: str, *, acknowledges: bool = True) -> WireClient:
        """A connection on which nothing was said yet."""
        client = WireClient(self, name, acknowledges=acknowledges)
        await client.dial(self._host, self._port)
        self._clients.append(client)
        return client

    async def connect(
        self,
        name: str,
        *,
        clean: bool = True,
        will: Message | None = None,
        keep_alive: int = 60,
        acknowledges: bool = True,
        username: str | None = None,
        password: str | None = None,
        client_id: str | None = None,
    ) -> WireClient:
        """A connected client; its client id is its name, unless another is given.

        Connections of one client id need names of their own: which of two lines is heard first, is a matter of luck.
        """
        client = await self.dial(name, acknowledges=acknowledges)
        secret = None if password is None else password.encode()
        await client.send(Connect(client_id or name, clean, keep_alive, will, username, secret))
        return client

    async def settle(self) -> None:
        """Let everything under way arrive: ping every client in turn until two rounds brought nothing.

        A ping's answer comes after all that was sent before it. Two rounds, since what one client caused may reach
        another that was asked before.
        """
        silent = 0
        for _ in range(ROUNDS):
            news = [await client.ping() for client in self._clients if client.open]
            silent = 0 if any(news) else silent + 1
            if silent == 2:
                return
        raise AssertionError("the brokers never come to rest")
