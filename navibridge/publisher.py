"""Publishes what is marked as changed: discovery before state, verdicts last.

Nothing is queued on the way up. A mark says that something has to be published, and the document is made when its turn
comes, of what is known by then; while the broker is away, marks simply stay. A new connection marks everything.

    mark_...      what has changed                      run       greet the broker, then publish what is marked
    withdraw      a device is gone, its topics with it  goodbye   the last words of a regular stop
    say, say_log  single messages: verdicts, responses, lines of the log; the only ones that wait, and not without end
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge.account import AccountState
from navibridge.broker import Message
from navibridge.errors import LinkError
from navibridge.state import BESIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from navibridge.account import Account
    from navibridge.announce import Announcer
    from navibridge.broker import Link
    from navibridge.lookaround import LookAround
    from navibridge.metrics import Metrics
    from navibridge.model import Device
    from navibridge.state import Cache, DeviceState
    from navibridge.topics import Topics
    from navibridge.transitions import Whereabouts

log = logging.getLogger(__name__)

AT_ONCE: Final = 50
"""How many devices' documents are made and published before other tasks get their turn."""

KEPT_RESULTS: Final = 1000
"""How many verdicts wait for a broker that is away; the oldest go first."""

KEPT_LOG_LINES: Final = 100
"""The same for lines of the log."""

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"


class Publisher:
    """What has to be published, and what is shown already.

    Args:
        topics: the bridge's topics.
        cache: what is known of the devices, and which of them have changed.
        accounts: by their names.
        announcer: what makes the discovery messages.
        look_around: what learns what an earlier run left.
        metrics: where publications are counted.
        info: the bridge's document of itself.
        health: its figures.
        attribute_topics: whether each value has a topic of its own as well.
        whereabouts: is told of devices that grew stale.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        topics: Topics,
        cache: Cache,
        accounts: Mapping[str, Account],
        announcer: Announcer,
        look_around: LookAround,
        *,
        metrics: Metrics,
        info: Callable[[], Mapping[str, Any]],
        health: Callable[[], Mapping[str, Any]],
        attribute_topics: bool,
        whereabouts: Whereabouts,
        clock: Callable[[], float],
    ) -> None:
        self._topics = topics
        self._cache = cache
        self._accounts = accounts
        self._announcer = announcer
        self._look_around = look_around
        self._metrics = metrics
        self._info = info
        self._health = health
        self._attribute_topics = attribute_topics
        self._whereabouts = whereabouts
        self._clock = clock
        self._info_changed = True
        self._health_changed = True
        self._bridge_unannounced = True
        self._accounts_changed: dict[str, None] = {}
        self._to_announce: dict[str, None] = {}
        self._to_clear: dict[str, None] = {}
        self._shown_accounts: dict[str, bytes] = {}
        self._shown_devices: dict[str, bytes] = {}
        self._shown_values: dict[str, dict[str, bytes]] = {}
        self._untold: set[str] = set()
        self._results: deque[Message] = deque(maxlen=KEPT_RESULTS)
        self._log_lines: deque[Message] = deque(maxlen=KEPT_LOG_LINES)
        self._room = asyncio.Event()
        self._room.set()
        self._wake = asyncio.Event()
        self._at_rest = asyncio.Event()

    # ------------------------------------------------------------------ what is to be published

    def wake(self) -> None:
        """Something is marked, here or in the cache."""
        self._wake.set()

    def mark_info(self) -> None:
        """The bridge's document of itself has changed."""
        self._info_changed = True
        self.wake()

    def mark_health(self) -> None:
        """It is time for the figures."""
        self._health_changed = True
        self.wake()

    def mark_account(self, name: str) -> None:
        """An account is doing otherwise than before; the figures say so too."""
        self._accounts_changed[name] = None
        self.mark_health()

    def mark_device(self, key: str) -> None:
        """A device is new, or described otherwise than before."""
        self._to_announce[key] = None
        self.mark_info()

    def mark_everything(self) -> None:
        """Everything has to be published again: a new broker connection, a birth, a request."""
        self._info_changed = True
        self._health_changed = True
        self._accounts_changed = dict.fromkeys(self._accounts)
        self._shown_accounts.clear()
        self._shown_devices.clear()
        self._shown_values.clear()
        self._to_announce = dict.fromkeys(self._cache)
        self._cache.mark_all()
        self._bridge_unannounced = True
        self.wake()

    def mark_what_time_changed(self) -> None:
        """Devices and accounts whose availability changed because time passed, and values that have had their time."""
        now = self._clock()
        for key, state in self._cache.items():
            if now > state.fades_at:
                self._cache.mark(key)
                self.wake()
            availability = _word(available=state.available(now) and key not in self._untold)
            if self._shown_devices.get(key, availability) != availability:
                if state.present and availability == OFFLINE:
                    self._whereabouts.away(key, "stale", "%s is stale: nothing was heard of it for too long", key)
                self._cache.mark(key)
                self.wake()
        for name, account in self._accounts.items():
            availability = _word(available=account.available)
            if self._shown_accounts.get(name, availability) != availability:
                self.mark_account(name)

    def withdraw(self, key: str, device: Device) -> None:
        """A device is gone from the cache, and nothing of it shall stay on the broker."""
        self._to_announce.pop(key, None)
        self._shown_devices.pop(key, None)
        self._untold.discard(key)
        self.clear(self._announcer.withdraw(key))
        self.clear([self._topics.state(key), self._topics.availability(key)])
        if self._attribute_topics:
            # One that has said nothing in this run may have values of an earlier one.
            names = {*self._shown_values.pop(key, {}), *(row.key for row in device.attributes), *BESIDES}
            self.clear([self._topics.value(key, name) for name in sorted(names)])
        self.mark_info()

    def clear(self, topics: Iterable[str]) -> None:
        """Nothing shall be retained on these topics."""
        self._to_clear.update(dict.fromkeys(topics))
        self.wake()

    def say(self, message: Message) -> None:
        """Publish a verdict or a response, as soon as the broker is there."""
        self._results.append(message)
        if len(self._results) >= KEPT_RESULTS // 2:
            self._room.clear()
        self.wake()

    def say_log(self, line: bytes) -> None:
        """Publish a line of the log, as soon as the broker is there."""
        self._log_lines.append(Message(self._topics.log, line, qos=0))
        self.wake()

    async def room(self) -> None:
        """Wait until no verdict would be lost by another one."""
        await self._room.wait()

    async def settled(self) -> None:
        """Wait until everything that is marked now has been published."""
        while not self._at_rest.is_set() or self._wake.is_set():
            await self._at_rest.wait()
            await asyncio.sleep(0)

    # ------------------------------------------------------------------ one connection

    async def run(self, link: Link) -> None:
        """Greet the broker, then publish whatever is marked, until the connection breaks."""
        await link.subscribe(self._topics.incoming)
        if not self._look_around.done:
            await self._look_around.run(link)
            unclaimed = self._announcer.unclaimed(tuple(self._cache), tuple(self._accounts))
            await link.publish_many([Message(topic, OFFLINE, retain=True) for topic in unclaimed])
        self.mark_everything()
        self._wake.clear()
        await self._flush(link)
        # Last, since from here on the devices are believed: by now nothing that an outage made old stands there.
        await link.publish(self._topics.bridge_state, ONLINE, retain=True)
        while True:
            self._at_rest.set()
            try:
                await self._wake.wait()
            finally:
                self._at_rest.clear()
            self._wake.clear()
            await self._flush(link)

    async def goodbye(self, link: Link, *, limit: float) -> None:
        """The last words of a regular stop: a clean disconnect does not trigger the will."""
        farewell = [*self._results, Message(self._topics.bridge_state, OFFLINE, retain=True)]
        stopped = AccountState("offline", self._clock(), "stopped", "navibridge was stopped.")
        for name in self._accounts:
            farewell += self._account_messages(name, OFFLINE, stopped)
        try:
            async with asyncio.timeout(limit):
                await link.publish_many(farewell)
        except (LinkError, TimeoutError) as error:
            log.warning(
                "the broker did not take the goodbye (%s). Nothing to do: its last will says offline instead", error
            )

    async def _flush(self, link: Link) -> None:
        """Publish everything that is marked."""
        to_clear = tuple(self._to_clear)
        await link.publish_many([Message(topic, b"", retain=True) for topic in to_clear])
        for topic in to_clear:  # not before: what a breaking link has swallowed would stay for ever
            self._to_clear.pop(topic, None)
        await link.publish_many(self._bridge_publications())
        self._announcer.arrived(("bridge",))
        while self._to_announce:
            keys = [key for key, _ in zip(tuple(self._to_announce), range(AT_ONCE), strict=False)]
            announced = []
            for key in keys:
                del self._to_announce[key]
                announced += self._discovery_publications(key)
            await link.publish_many(announced)
            self._announcer.arrived(keys)
        changed = self._cache.take_changed()
        for start in range(0, len(changed), AT_ONCE):
            publications = [
                publication
                for key, state in changed[start : start + AT_ONCE]
                for publication in self._state_publications(key, state)
            ]
            self._metrics.count("broker", "publishes", len(publications))
            await link.publish_many(publications)
        for waiting in (self._results, self._log_lines):
            while waiting:
                await self._publish_some(link, waiting)

    async def _publish_some(self, link: Link, waiting: deque[Message]) -> None:
        """Publish some of the messages that wait; what the broker has not taken is the first of the next time."""
        batch = [waiting.popleft() for _ in range(min(AT_ONCE, len(waiting)))]
        left = {id(message): message for message in batch}
        try:
            await link.publish_many(batch, taken=lambda message: left.pop(id(message)))
        except BaseException:
            room = (waiting.maxlen or 0) - len(waiting)  # others came meanwhile, and the oldest go first
            waiting.extendleft([*reversed(left.values())][:room])
            raise
        if len(self._results) < KEPT_RESULTS // 2:
            self._room.set()

    # ------------------------------------------------------------------ the bridge and its accounts

    def _bridge_publications(self) -> list[Message]:
        publications = self._account_publications()
        if self._health_changed:
            self._health_changed = False
            publications.append(Message(self._topics.bridge_health, orjson.dumps(self._health()), retain=True))
        if self._info_changed:
            self._info_changed = False
            publications.append(Message(self._topics.bridge_info, orjson.dumps(self._info()), retain=True))
            if self._look_around.done and all(account.listed for account in self._accounts.values()):
                self.clear(
                    self._announcer.ghosts(tuple(self._cache), tuple(self._accounts), values=self._attribute_topics)
                )
        if self._bridge_unannounced:
            self._bridge_unannounced = False
            publications += self._announcer.bridge(self._accounts)
        return publications

    def _account_publications(self) -> list[Message]:
        publications = []
        names, self._accounts_changed = self._accounts_changed, {}
        for name in names:
            account = self._accounts[name]
            availability = self._shown_accounts[name] = _word(available=account.available)
            publications += self._account_messages(name, availability, account.state)
        return publications

    def _account_messages(self, name: str, availability: bytes, state: AccountState) -> list[Message]:
        return [
            Message(self._topics.account_availability(name), availability, retain=True),
            Message(self._topics.account_state(name), orjson.dumps(state.document()), retain=True),
        ]

    # ------------------------------------------------------------------ devices

    def _discovery_publications(self, key: str) -> list[Message]:
        state = self._cache.get(key)
        if state is None:
            return []
        return self._announcer.device(key, state.device, state.account, state.display.unit)

    def _state_publications(self, key: str, state: DeviceState) -> list[Message]:
        try:
            publications = [*self._told_of(key, state)]
        except Exception:
            # A defect in one vendor's table must not silence the other devices, nor leave old values looking alive.
            if key not in self._untold:
                log.exception("%s: unexpected error in its state, which is not published. Please report it.", key)
            self._untold.add(key)
            self._shown_devices[key] = OFFLINE
            return [Message(self._topics.availability(key), OFFLINE, retain=True)]
        self._untold.discard(key)
        return publications

    def _told_of(self, key: str, state: DeviceState) -> Iterator[Message]:
        now = self._clock()
        availability = _word(available=state.available(now))
        # Going, it is said to be away before anything else; coming, last, so that nothing old is believed in between.
        if availability == OFFLINE:
            yield from self._availability(key, availability)
        document = state.document(now)
        if state.seen_at is None:
            return  # nothing is known yet: what an earlier run retained is not overwritten by a document of nulls
        yield Message(self._topics.state(key), orjson.dumps(document), retain=True)
        if self._attribute_topics:
            shown = self._shown_values.setdefault(key, {})
            for name, value in document.items():
                text = plain(value)
                if text is not None and shown.get(name) != text:
                    shown[name] = text
                    yield Message(self._topics.value(key, name), text, retain=True)
        if availability == ONLINE:
            yield from self._availability(key, availability)

    def _availability(self, key: str, availability: bytes) -> Iterator[Message]:
        if self._shown_devices.get(key) != availability:
            self._shown_devices[key] = availability
            yield Message(self._topics.availability(key), availability, retain=True)


def _word(*, available: bool) -> bytes:
    return ONLINE if available else OFFLINE


def plain(value: Any) -> bytes | None:
    """One value as a bare scalar for its own topic; ``None`` for what has no plain form."""
    match value:
        case None:
            return b"null"
        case bool():
            return b"true" if value else b"false"
        case str():
            return value.encode() or b"null"
        case int() | float():
            return orjson.dumps(value)
        case _:
            return None
