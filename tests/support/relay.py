"""A TCP line that a test can cut, freeze, close to newcomers, or let flap, between anything and anything."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "127.0.0.1"


class Relay:
    """Listens on a port of its own and passes bytes on to wherever ``target`` says at that moment.

    Args:
        target: host and port, asked for each new connection.

    Attributes:
        target: the same; may be changed.
        port: where it listens; kept while it is closed to newcomers.
        frozen: nothing passes; a connection that met this state stays dead ever after, as half-open ones do.
        lifetime: seconds after which each new connection is cut; ``None`` lets it live.
        accepted: connections taken so far.
        slowness: seconds that each piece of data takes.
    """

    def __init__(self, target: Callable[[], tuple[str, int]]) -> None:
        # Bound and never listened on: nobody's outgoing connection takes the port while it is closed to newcomers.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind((HOST, 0))
        self.port: int = self._place.getsockname()[1]
        self.frozen = False
        self.lifetime: float | None = None
        self.slowness = 0.0
        self.accepted = 0
        self.target = target
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        self._place.close()

    async def open(self) -> None:
        """Take connections; on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._take, HOST, self.port, reuse_port=True)

    async def close(self) -> None:
        """Refuse newcomers, and cut everybody else."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()
        await asyncio.gather(*(line.ended() for line in tuple(self._lines)), return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection there is."""
        for line in tuple(self._lines):
            line.cut()

    def freeze(self) -> None:
        """Nothing passes from now on, and nobody is told."""
        self.frozen = True
        for line in self._lines:
            line.dead = True

    def thaw(self) -> None:
        """New connections pass again; the old ones stay dead."""
        self.frozen = False

    def bury(self) -> None:
        """Let the dead ones end at last: whoever was at one has given it up by now, and it takes memory."""
        for line in tuple(self._lines):
            if line.dead:
                line.cut()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        line = _Line(self, writer)
        line.dead = self.frozen
        self._lines.add(line)
        timer = None
        if self.lifetime is not None:
            timer = asyncio.get_running_loop().call_later(self.lifetime, line.cut)
        try:
            await line.carry(reader, self.target())
        finally:
            self._lines.discard(line)
            if timer is not None:
                timer.cancel()


class _Line:
    """One connection and its continuation."""

    def __init__(self, relay: Relay, near: asyncio.StreamWriter) -> None:
        self.dead = False
        self._relay = relay
        self._writers = [near]
        self._over = asyncio.Event()
        self._left = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, target: tuple[str, int]) -> None:
        pumps: list[asyncio.Task[None]] = []
        try:
            if not self.dead:
                far_reader, far_writer = await asyncio.open_connection(*target)
                self._writers.append(far_writer)
                pumps.append(asyncio.create_task(self._pump(far_reader, self._writers[0]), name="relay back"))
                pumps.append(asyncio.create_task(self._pump(reader, far_writer), name="relay forth"))
            else:
                pumps.append(asyncio.create_task(self._swallow(reader), name="relay nowhere"))
            await self._over.wait()
        except OSError:
            pass  # the target is away, and so is its mirror image
        finally:
            self.cut()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._left.set()

    def cut(self) -> None:
        self._over.set()
        for writer in self._writers:
            writer.transport.abort()

    async def ended(self) -> None:
        await self._left.wait()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self._relay.slowness:
                    await asyncio.sleep(self._relay.slowness)
                if not self.dead:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass  # one side is gone, and the other follows
        if not self.dead:
            self._over.set()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        self._over.set()
