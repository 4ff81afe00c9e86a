"""A subscriber that keeps everything it hears, and waits for what a test expects."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import aiomqtt
import orjson

from navibridge.demo.broker import matches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path


class Address(Protocol):
    """Whatever has a host and a port: a `Mosquitto`, for one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Heard:
    """One message as it arrived; ``retain`` tells a replay from a live message."""

    topic: str
    payload: bytes
    qos: int
    retain: bool

    @property
    def text(self) -> str:
        return self.payload.decode()

    @property
    def json(self) -> Any:
        """The payload as JSON; ``None`` for an empty one, such as a cleared retained message."""
        return orjson.loads(self.payload) if self.payload else None


class Listener:
    """What `listening` yields. Also publishes, so that a test needs one client only.

    Attributes:
        heard: every message, in the order of arrival.
    """

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: list[Heard] = []
        self._arrival = asyncio.Event()
        self._end: Exception | None = None

    def mark(self) -> int:
        """This moment, for ``since``."""
        return len(self.heard)

    def clear(self) -> None:
        """Forget what was heard so far."""
        self.heard.clear()

    def all(self, topic: str, *, since: int = 0) -> list[Heard]:
        """Every message on a topic or matching a filter."""
        return [message for message in self.heard[since:] if matches(topic, message.topic)]

    def last(self, topic: str) -> Heard | None:
        """The newest message on a topic or matching a filter."""
        return next((message for message in reversed(self.heard) if matches(topic, message.topic)), None)

    async def wait_for(
        self,
        topic: str,
        predicate: Callable[[Heard], object] = lambda _: True,
        timeout: float = 10.0,  # noqa: ASYNC109 - one word less in every test
        *,
        since: int = 0,
    ) -> Heard:
        """The first message on a topic (or filter) that satisfies the predicate, heard already or still to come."""
        seen = since
        try:
            async with asyncio.timeout(timeout):
                while True:
                    while seen < len(self.heard):
                        message = self.heard[seen]
                        seen += 1
                        if matches(topic, message.topic) and predicate(message):
                            return message
                    await self._next()
        except TimeoutError:
            newest = "\n".join(f"  {message}"[:400] for message in self.all(topic, since=since)[-5:]) or "  nothing"
            raise AssertionError(f"no such message on {topic} within {timeout:g} s; heard there:\n{newest}") from None

    async def wait_until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:  # noqa: ASYNC109 - as above
        """Wait for a condition over what was heard; it is looked at after each message."""
        async with asyncio.timeout(timeout):
            while not condition():
                await self._next()

    async def publish(self, topic: str, payload: str | bytes | None, *, qos: int = 1, retain: bool = False) -> None:
        await self.client.publish(topic, payload, qos=qos, retain=retain)

    async def publish_json(self, topic: str, payload: Any, *, qos: int = 1, retain: bool = False) -> None:
        await self.client.publish(topic, orjson.dumps(payload), qos=qos, retain=retain)

    async def _next(self) -> None:
        if self._end is not None:
            raise self._end
        self._arrival.clear()
        await self._arrival.wait()

    async def _collect(self) -> None:
        try:
            async for message in self.client.messages:
                payload = message.payload
                assert isinstance(payload, bytes)
                self.heard.append(Heard(str(message.topic), payload, message.qos, message.retain))
                self._arrival.set()
        except aiomqtt.MqttError as error:
            self._end = error
            self._arrival.set()


@asynccontextmanager
async def listening(
    broker: Address,
    *filters: str,
    qos: int = 2,
    client_id: str | None = None,
    username: str | None = None,
    password: str | None = None,
    ca_file: Path | None = None,
    protocol: aiomqtt.ProtocolVersion = aiomqtt.ProtocolVersion.V311,
) -> AsyncIterator[Listener]:
    """A connected `Listener`, subscribed to the filters (``#`` when none is given) before this yields."""
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=client_id,
        username=username,
        password=password,
        protocol=protocol,
        tls_context=ssl.create_default_context(cafile=str(ca_file)) if ca_file else None,
    )
    # A test may publish a burst; the warning is for programs that never wait.
    client.pending_calls_threshold = 10_000
    async with client:
        wanted: Sequence[str] = filters or ("#",)
        listener = Listener(client)
        collecting = asyncio.create_task(listener._collect(), name="listener")
        try:
            await client.subscribe([(topic_filter, qos) for topic_filter in wanted])
            yield listener
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
