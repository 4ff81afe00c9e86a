"""Compares, many times a second, what devices really are with what a consumer of the broker believes.

The consumer is one as Home Assistant is: a value counts as shown only while the connection to the broker stands and
the bridge, the account and the device are all said to be online. A value that is shown has to be the device's truth of
some moment that is not longer ago than the declared timeout and one second: settings, words, switches and measurements
alike.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import aiomqtt
import orjson

from navibridge.broker import _Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from support.listener import Address

EVERY = 0.1
"""Seconds between two comparisons."""

GRACE = 1.0
"""Seconds that a value may be shown beyond its declared timeout."""

KEEPALIVE = 2
"""Seconds; how soon the consumer itself notices a broker that hangs."""


WATCHER = "oracle"
"""The consumer's user name, at brokers that ask for one."""


QUIET = logging.getLogger("support.oracle")
"""What the library says of connections that break: here they are broken on purpose."""
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class Truth(Protocol):
    """What knows how the devices really are.

    Attributes:
        digits: decimal places that an attribute is published with, by its key.
    """

    @property
    def digits(self) -> Mapping[str, int | None]: ...

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        """The values of each device's attributes, by the device's topic; a device that is gone is not there."""
        ...

    def passed(self) -> Sequence[tuple[str, str, Any]]:
        """What was true for a moment since this was asked last: device, attribute, value."""
        ...


@dataclass(frozen=True, slots=True)
class Lie:
    """A value that was shown and had not been true for too long."""

    at: float
    device: str
    attribute: str
    shown: Any
    truth: Any

    def __str__(self) -> str:
        return f"{self.device} showed {self.attribute} = {self.shown!r}; it is {self.truth!r}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: which devices a consumer would show as available, and how the account says it is."""

    at: float
    shown: frozenset[str]
    account: Mapping[str, Any]
    connected: bool


class Consumer:
    """What a program on the local network knows, from the broker alone.

    Attributes:
        topics: the newest payload of each topic, as far as the connection stands.
        connected: whether it does.
        verdicts: every result heard, whatever the connection did in between.
        arrived: when something came last, by topic.
        seen: everything that came, as far as one cares to remember.
    """

    def __init__(self, address: Address, base: str = "navibridge") -> None:
        self.topics: dict[str, bytes] = {}
        self.connected = False
        self.verdicts: list[dict[str, Any]] = []
        self.arrived: dict[str, float] = {}
        self.seen: deque[tuple[str, bytes]] = deque(maxlen=2000)
        self._address = address
        self._base = base

    async def run(self) -> None:
        """Stay connected, as far as the broker lets it."""
        while True:
            try:
                async with connected(self._address, keepalive=KEEPALIVE, timeout=5) as client:
                    await client.subscribe([(f"{self._base}/#", 1), ("homeassistant/#", 1)])
                    self.connected = True
                    async for message in client.messages:
                        self._take(str(message.topic), bytes(message.payload))
            except aiomqtt.MqttError:
                pass  # the broker is away; so is everything that it said
            finally:
                self.connected = False
                self.topics.clear()
            await asyncio.sleep(EVERY)

    def _take(self, topic: str, payload: bytes) -> None:
        self.arrived[topic] = time.monotonic()
        self.seen.append((topic, payload))
        if topic.endswith("/result"):
            self.verdicts.append(orjson.loads(payload))
        elif payload:
            self.topics[topic] = payload
        else:
            self.topics.pop(topic, None)

    def says(self, topic: str) -> str:
        """The text that stands on a topic below the base; empty when nothing does."""
        return self.topics.get(f"{self._base}/{topic}", b"").decode()

    def document(self, topic: str) -> dict[str, Any]:
        """The JSON object that stands on a topic below the base; empty when nothing does."""
        found: dict[str, Any] = orjson.loads(self.topics.get(f"{self._base}/{topic}", b"{}"))
        return found

    def shows(self, account: str, device: str) -> dict[str, Any] | None:
        """The state of a device that counts as available, else ``None``."""
        availability = ("bridge/state", f"bridge/account/{account}/availability", f"{device}/availability")
        if not self.connected or any(self.says(topic) != "online" for topic in availability):
            return None
        return self.document(f"{device}/state") or None


def login(address: Address) -> dict[str, str]:
    """The user name and password of those who watch, where the broker asks for them."""
    users: Mapping[str, str] = getattr(address, "users", {})
    return {"username": WATCHER, "password": users[WATCHER]} if WATCHER in users else {}


@asynccontextmanager
async def connected(address: Address, **options: Any) -> AsyncIterator[aiomqtt.Client]:
    """Somebody else's connection to the broker, with the password and the authority that it takes, if any.

    It may be broken at any moment, which nobody needs to read about on the screen.

    Args:
        address: where.
        options: of the client.
    """
    ca_file = getattr(address, "ca_file", None)
    tls = {"tls_context": ssl.create_default_context(cafile=str(ca_file))} if ca_file else {}
    # The bridge's own kind of client: it leaves nothing behind when a connection breaks that is being written to.
    client = _Client(address.host, address.port, logger=QUIET, **login(address), **tls, **options)
    client.pending_calls_threshold = 100_000
    try:
        async with client:
            yield client
    finally:
        client.abandon()
        if client.disconnected.done() and not client.disconnected.cancelled():
            client.disconnected.exception()  # who leaves when it is broken already does not ask why


class Oracle:
    """Judges a consumer's view against the truth, and times how faults are noticed and survived.

    Args:
        consumer: whose view.
        plant: what the devices really are.
        account: the account they belong to.
        timeout: seconds after which a value may not be shown any more, as declared.
        clock: monotonic seconds.

    Attributes:
        lies: what was shown and was not true.
        samples: every look so far, oldest first.
    """

    def __init__(
        self,
        consumer: Consumer,
        plant: Truth,
        *,
        account: str,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.consumer = consumer
        self.lies: list[Lie] = []
        self.samples: deque[Sample] = deque(maxlen=20_000)
        self._plant = plant
        self._account = account
        self._timeout = timeout
        self._clock = clock
        self._began = clock()
        self._truths: dict[tuple[str, str], deque[tuple[float, Any]]] = {}

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            await asyncio.sleep(EVERY)

    def look(self) -> Sample:
        """Compare now."""
        now = self._clock()
        for device, attribute, value in self._plant.passed():
            self._remember(device, attribute, value, now)
        truths = self._plant.truth()
        for device, values in truths.items():
            for attribute, value in values.items():
                self._remember(device, attribute, value, now)
        shown = set()
        for device in self._devices():
            state = self.consumer.shows(self._account, device)
            if state is not None:
                shown.add(device)
                self._judge(device, state, truths.get(device), now)
        account = self.consumer.document(f"bridge/account/{self._account}/state")
        sample = Sample(now, frozenset(shown), account, self.consumer.connected)
        self.samples.append(sample)
        return sample

    def _devices(self) -> set[str]:
        return {device for device, _ in self._truths}

    def _remember(self, device: str, attribute: str, value: Any, now: float) -> None:
        """Keep since when each value has been true, newest last; what ended before the timeout began is forgotten."""
        known = self._truths.setdefault((device, attribute), deque())
        if not known or known[-1][1] != value:
            known.append((now, value))
        horizon = now - self._timeout - GRACE
        while len(known) > 1 and known[1][0] < horizon:
            known.popleft()

    def _judge(self, device: str, state: Mapping[str, Any], truth: Mapping[str, Any] | None, now: float) -> None:
        for (known_device, attribute), known in self._truths.items():
            if known_device != device or (value := state.get(attribute)) is None:
                continue
            if truth is None:
                # A device that is gone has no truth any more; its last one fades after the timeout.
                self._remember(device, attribute, None, now)
            if not any(self._agree(attribute, value, true) for _, true in known):
                self.lies.append(Lie(now, device, attribute, value, (truth or {}).get(attribute)))

    def untrue(self, device: str, since: float) -> list[str] | None:
        """The attributes shown of a device that are unknown, or that nobody knows to have been so since then.

        ``None`` while the device is not shown.
        """
        state = self.consumer.shows(self._account, device)
        if state is None:
            return None
        truth = self._plant.truth().get(device, {})
        return [
            attribute
            for attribute in truth
            if not any(
                self._agree(attribute, state.get(attribute), true)
                for true in self._true_since(device, attribute, since)
            )
        ]

    def _true_since(self, device: str, attribute: str, since: float) -> list[Any]:
        """Every value that an attribute has had at some moment since then."""
        known = self._truths.get((device, attribute), ())
        return [
            true for number, (_, true) in enumerate(known) if number + 1 == len(known) or known[number + 1][0] > since
        ]

    def _agree(self, attribute: str, shown: Any, true: Any) -> bool:
        """Whether a published value is the true one, as far as its digits go."""
        if isinstance(shown, bool) or isinstance(true, bool) or not isinstance(shown, float | int):
            return shown is true or (isinstance(shown, str) and shown == true)
        digits = self._plant.digits.get(attribute)
        # One unit of the last digit: half of one is lost when the device speaks, half of one when it is published.
        return isinstance(true, float | int) and abs(shown - true) <= 10.0 ** -(digits or 0) + 1e-9

    async def until(self, condition: Callable[[Sample], object], limit: float) -> Sample | None:
        """The first look for which the condition holds; ``None`` when none does within the limit."""
        end = self._clock() + limit
        while (sample := self.look()).at < end:
            if condition(sample):
                return sample
            await asyncio.sleep(EVERY / 2)
        return None


@asynccontextmanager
async def watching(address: Address, plant: Truth, *, account: str, timeout: float) -> AsyncIterator[Oracle]:  # noqa: ASYNC109 - the declared timeout of values
    """An oracle at work."""
    oracle = Oracle(Consumer(address), plant, account=account, timeout=timeout)
    tasks = [
        asyncio.create_task(oracle.consumer.run(), name="consumer"),
        asyncio.create_task(oracle.run(), name="oracle"),
    ]
    try:
        yield oracle
    finally:
        for task in tasks:
            task.cancel()
        failed = [
            error for error in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(error, Exception)
        ]
        if failed:
            raise failed[0]
