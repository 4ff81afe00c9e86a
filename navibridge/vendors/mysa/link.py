"""One of an account's connections to AWS IoT, and the devices that it serves (`docs/protocol/mysa.md` 3).

AWS IoT grants 50 subscriptions to a connection, so an account of many devices has several. A `Link` outlives its
connections: `Link.hold` makes one, keeps it as long as it is any good, and tells by its end why it was not any longer.

    listen      messages -> the session
    publish     "start publishing" to every device, again and again; nobody waits for an acknowledgement
    watch       only messages count as a sign of life: subscriptions die while pings are still answered
    retire      the connection is replaced before AWS IoT closes it, when no command is on its way
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from navibridge.errors import LinkError
from navibridge.tasks import TaskGroup
from navibridge.vendors.mysa import frames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from navibridge.aws import CloudLink, Message
    from navibridge.doubts import Doubts
    from navibridge.vendors.mysa.frames import Outgoing
    from navibridge.vendors.mysa.recovery import Recovery
    from navibridge.vendors.mysa.unit import Unit

log = logging.getLogger(__name__)

SUBSCRIPTIONS: Final = 50
"""What AWS IoT grants to one connection."""

PER_DEVICE: Final = 2
"""Subscriptions of a device: ``out`` and ``batch``. What goes to ``in`` shows in the answers on ``out``."""

DEVICES: Final = SUBSCRIPTIONS // PER_DEVICE

EARLIER: Final = 10.0
"""Seconds before its end at which a device is asked again to publish."""

LONGEST_PATIENCE: Final = 3600.0
"""Seconds that the watchdog waits at most after it has barked in vain."""


class Retired(Exception):
    """The connection has done its time."""


@dataclass(slots=True)
class Link:
    """One connection after the other, for some of the devices.

    Attributes:
        number: which of the account's links, from 1.
        connect: opens a connection.
        take: gets every message.
        opened: is told when everything is subscribed.
        doubts: what earlier connections taught about topic filters.
        recovery: judges its failures.
        clock: seconds since the epoch.
        publish_timeout: seconds for which devices are asked to publish.
        watchdog: seconds without a message after which the connection is given up.
        life: seconds after which it is replaced.
        units: the devices, by id.
        stood: seconds that the last connection was of use; ``None`` when it could not be opened.
    """

    number: int
    connect: Callable[[], Awaitable[CloudLink]]
    take: Callable[[Message], Awaitable[None]]
    opened: Callable[[Link], None]
    doubts: Doubts
    recovery: Recovery
    clock: Callable[[], float]
    publish_timeout: float
    watchdog: float
    life: float
    units: dict[str, Unit] = field(default_factory=dict)
    stood: float | None = None
    _cloud: CloudLink | None = None
    _subscribed: set[str] = field(default_factory=set)
    _fed: float = 0.0
    _patience: float = 0.0

    @property
    def up(self) -> bool:
        """Whether messages go in and out."""
        return self._cloud is not None

    @property
    def room(self) -> int:
        """How many more devices it can serve."""
        return DEVICES - len(self.units)

    async def hold(self) -> None:
        """Open a connection and keep it; returns when it is to be replaced at once.

        Raises:
            AuthError: the account is refused.
            LinkError: it could not be opened, or was lost.
        """
        self.stood = None
        cloud = await self.connect()
        time = asyncio.get_running_loop().time
        since: float | None = None
        self._subscribed.clear()
        self._fed = time()
        try:
            async with TaskGroup() as group:
                name = f"mysa link {self.number}"
                group.create_task(self._listen(cloud), name=f"{name} listen")
                await self._subscribe(cloud, self.units.values())
                self._cloud, since = cloud, time()
                self.opened(self)
                group.create_task(self._keep_publishing(), name=f"{name} publish")
                group.create_task(self._watch(), name=f"{name} watch")
                group.create_task(self._retire(), name=f"{name} retire")
        except* Retired:
            log.info("link %d has done its time; opening another one", self.number)
        finally:
            self.stood = None if since is None else time() - since
            self._cloud = None
            for unit in self.units.values():
                unit.forget_link()
            await cloud.close()

    async def add(self, unit: Unit) -> None:
        """Serve one more device. Raises `LinkError` when the connection breaks over it."""
        self.units[unit.id] = unit
        if self._cloud is not None:
            await self._subscribe(self._cloud, (unit,))
            await self.start_publishing(unit)

    async def drop(self, unit: Unit) -> None:
        """Serve a device no longer. Raises `LinkError` as `add` does."""
        del self.units[unit.id]
        unit.forget_link()
        gone = [topic for topic in _topics(unit) if topic in self._subscribed]
        self._subscribed.difference_update(gone)
        if self._cloud is not None and gone:
            await self._cloud.unsubscribe(gone)

    async def publish(self, message: Outgoing) -> None:
        """Send a message to a device; only the device's own answer says that it arrived.

        Raises:
            LinkError: there is no connection.
        """
        if self._cloud is None:
            raise LinkError("the link to the Mysa cloud is away", reason="closed")
        await self._cloud.publish(message.topic, message.payload, wait=False)

    async def start_publishing(self, unit: Unit) -> None:
        """Ask a device to report at once, and then every few seconds for a while. Raises as `publish`."""
        if self.reaches(unit):
            await self.publish(frames.start_publishing(unit.id, self.clock(), int(self.publish_timeout)))

    def reaches(self, unit: Unit) -> bool:
        """Whether the service lets this account near the device; a forbidden message closes the connection, too."""
        return self.doubts.allows(unit.id, asyncio.get_running_loop().time())

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _subscribe(self, cloud: CloudLink, units: Iterable[Unit]) -> None:
        """One SUBSCRIBE for each device; those that may have broken an earlier connection come last, one by one."""
        wanted = [unit for unit in units if self.reaches(unit)]
        suspects = [unit for unit in wanted if unit.id in self.doubts.suspects]
        pending: set[str] = set()

        async def subscribe(unit: Unit) -> None:
            pending.add(unit.id)
            granted = await cloud.subscribe(_topics(unit))
            pending.discard(unit.id)
            self.doubts.acquit(unit.id)
            self._subscribed.update(topic for topic, allowed in granted.items() if allowed)

        try:
            async with TaskGroup() as group:
                for unit in wanted:
                    if unit.id not in self.doubts.suspects:
                        group.create_task(subscribe(unit), name=f"subscribe {unit.id}")
            for unit in suspects:
                await subscribe(unit)
        except* LinkError as errors:
            if any(isinstance(error, LinkError) and error.reason == "closed" for error in errors.exceptions):
                self.doubts.blame(sorted(pending), asyncio.get_running_loop().time())
            raise

    async def _listen(self, cloud: CloudLink) -> None:
        time = asyncio.get_running_loop().time
        async for message in cloud.messages():
            self._fed = time()
            self._patience = self.watchdog
            await self.take(message)
        raise LinkError("the link was closed", reason="closed")

    async def _keep_publishing(self) -> None:
        while True:
            for unit in tuple(self.units.values()):
                await self.start_publishing(unit)
            await asyncio.sleep(self.publish_timeout - EARLIER)

    async def _watch(self) -> None:
        time = asyncio.get_running_loop().time
        self._patience = max(self._patience, self.watchdog)
        while True:
            due = self._fed + self._patience
            if time() < due:
                await asyncio.sleep(due - time())
                continue
            now = self.clock()
            if any(unit.is_alive(now) for unit in self.units.values()):
                quiet = time() - self._fed
                # Should it be the devices that are silent, a new connection is of no use: bark less often.
                self._patience = min(2 * self._patience, LONGEST_PATIENCE)
                raise LinkError(f"no message came for {quiet:.0f} s, though devices are online", reason="silent")
            await asyncio.sleep(self.watchdog)

    async def _retire(self) -> None:
        await asyncio.sleep(self.life)
        while unanswered := [
            answer for unit in self.units.values() for answer in unit.waiting.values() if not answer.done()
        ]:
            await asyncio.wait(unanswered)
        raise Retired


def _topics(unit: Unit) -> tuple[str, ...]:
    return frames.topic_out(unit.id), frames.topic_batch(unit.id)
