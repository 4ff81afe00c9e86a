"""Joins the two lines: what the clouds say goes to the broker, what the broker is told goes to the clouds.

    up    session events -> Cache.merge -> (publisher) -> discovery, availability, state documents
    down  command topics -> commands.check -> Dispatcher -> session.send -> one verdict on the result topic

One task group holds everything: the broker connection, a task per account, the ticker, and a task per device that has
commands to send. Nothing is queued on the way up: the publisher makes documents of what is marked as changed, and a
new connection to the broker marks everything.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge import __version__, vendors
from navibridge.account import RESTARTS_ADVICE, Account, AccountState
from navibridge.announce import Announcer
from navibridge.broker import LIMITS, Limits, LocalBroker, Message
from navibridge.commands import Command, Reply, Request, Result, Verdict, check, read_object, read_value
from navibridge.dispatch import Dispatcher
from navibridge.errors import CommandError, LinkError
from navibridge.metrics import DeviceFigures, Metrics, exposition
from navibridge.model import Device, Event, Found, Gone, LinkDown, LinkUp, Presence, Reading, ReadOnly, Sort
from navibridge.network import Network
from navibridge.retry import Backoff, supervise
from navibridge.state import LONGEST_TEXT, NO_PROBLEM, Cache, DeviceState, TemperatureUnit, iso
from navibridge.topics import Birth, BridgeRequest, Get, SetAttribute, SetChanges, Topics, device_topic, slug
from navibridge.transitions import Transitions
from navibridge.usage import Starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from navibridge.broker import Link
    from navibridge.config import AccountSettings, Config, DeviceSettings
    from navibridge.store import Store
    from navibridge.web import Web

log = logging.getLogger(__name__)

BACKSTOP: Final = 4
"""A vendor may try a message again, and one change may take two; so many times a device's time to answer is enough."""

AT_ONCE: Final = 50
"""How many devices' documents are made and published before other tasks get their turn."""

AT_A_LOOK: Final = 3
"""How many devices' retained messages are asked for together; one has some 300 with entities and values one by one."""

KEPT_RESULTS: Final = 1000
"""How many verdicts wait for a broker that is away; the oldest go first."""

KEPT_LOG_LINES: Final = 100
"""The same for lines of the log."""

CLOCK_STEP: Final = 0.5
"""Seconds between two looks at the clock by which it is no longer slow or fast, but was set."""

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"

CLOUD_RETRY: Final = Backoff()
BROKER_RETRY: Final = Backoff(first_wait=1.0, longest_wait=30.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the bridge waits for what, in seconds; tests have less time.

    Attributes:
        tick: between two looks at what grew stale.
        health: between two publications of the figures.
        keep: between two writes of the energy counters; memory cards wear out.
        account_grace: before an account whose link is gone is shown as unavailable: a daily reconnect must not flicker.
        birth_jitter: after a birth, at most, since not all bridges of a house should answer in the same instant.
        births_together: within which several births count as one.
        look_around: for learning what an earlier run left on the broker.
        goodbye: for the last words.
        account_retry: how patiently a cloud is tried again.
        broker_retry: how patiently the broker is.
        broker_limits: on waiting for the broker.
        pace: how many times as fast as usual the accounts' sessions go about their own waiting.
    """

    tick: float = 1.0
    health: float = 60.0
    keep: float = 300.0
    account_grace: float = 30.0
    birth_jitter: float = 0.5
    births_together: float = 5.0
    look_around: float = 3.0
    goodbye: float = 2.0
    account_retry: Backoff = CLOUD_RETRY
    broker_retry: Backoff = BROKER_RETRY
    broker_limits: Limits = LIMITS
    pace: float = 1.0


class Bridge:
    """The bridge: every account, every device, one broker.

    Args:
        config: the whole configuration.
        store: what is kept over restarts.
        clock: seconds since the epoch.
        monotonic: monotonic seconds.
        timing: how long it waits for what.
        network: the way to the vendors' clouds.
        broker: what connects to the user's broker.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        timing: Timing | None = None,
        network: Network | None = None,
        broker: type[LocalBroker] = LocalBroker,
    ) -> None:
        self.config = config
        self.timing = timing or Timing()
        self.topics = Topics(config.broker.base_topic, config.discovery.prefix)
        self.cache = Cache()
        self.metrics = Metrics()
        self.started = clock()
        self._ahead = clock() - monotonic()
        self._store = store
        self._starts = Starts(store, clock)
        self._clock = clock
        self._monotonic = monotonic
        self._echo = self.topics.request("echo")
        self._network = network or Network()
        self._broker = broker(
            config.broker,
            client_id=config.broker.client_id or f"navibridge-{slug(config.broker.base_topic)}",
            will=(self.topics.bridge_state, OFFLINE.decode()),
            limits=self.timing.broker_limits,
        )
        self._announcer = Announcer(self.topics, config.discovery)
        self.accounts = {name: self._account(name) for name in config.accounts}
        self._dispatcher: Dispatcher | None = None
        self._keys: dict[tuple[str, str], str] = {}
        self._settings: dict[str, DeviceSettings] = {}
        self._counters: dict[str, Any] = store.load("counters")
        self._wake = asyncio.Event()
        self._at_rest = asyncio.Event()
        self._looked_around = False
        self._last_birth = float("-inf")
        self._info_changed = True
        self._bridge_unannounced = True
        self._health_changed = True
        self._accounts_changed: dict[str, None] = {}
        self._to_announce: dict[str, None] = {}
        self._to_clear: dict[str, None] = {}
        self._cleared: set[str] = set()
        self._shown_availability: dict[str, bytes] = {}
        self._shown_values: dict[str, dict[str, bytes]] = {}
        self._untold: set[str] = set()
        self._results: deque[Message] = deque(maxlen=KEPT_RESULTS)
        self._log_lines: deque[Message] = deque(maxlen=KEPT_LOG_LINES)
        self._room = asyncio.Event()
        self._room.set()
        self._scan: asyncio.Future[None] | None = None
        self.connected = False
        self.web: Web | None = None

    def _account(self, name: str) -> Account:
        settings = self.config.accounts[name]
        context = vendors.Context(
            account=name,
            store=self._store,
            clock=self._clock,
            count=partial(self.metrics.count, f"account {name}"),
            device_settings=partial(self.config.device, settings.vendor),
            answer_timeout=self.config.commands.timeout,
            pace=self.timing.pace,
            network=self._network,
        )
        return Account(
            name,
            settings.vendor,
            self.open_session(settings, context),
            event=self._take_event,
            changed=self._account_changed,
            clock=self._clock,
            backoff=self.timing.account_retry,
        )

    def open_session(self, settings: AccountSettings, context: vendors.Context) -> vendors.Session:
        """The session of an account; a replay has others."""
        return vendors.load(settings.vendor).open_session(settings, context)

    async def sleep(self, seconds: float) -> None:
        """Let time pass for the ticker; in a replay it is the capture's."""
        await asyncio.sleep(seconds)

    async def settled(self) -> None:
        """Wait until everything that is marked now has been published."""
        while not self._at_rest.is_set() or self._wake.is_set():
            await self._at_rest.wait()
            await asyncio.sleep(0)

    # ------------------------------------------------------------------ running

    async def run(self) -> None:
        """Run until cancelled. Says goodbye on the broker before it ends."""
        wait = self._starts.enter()
        if wait:
            log.warning("started again and again; the accounts wait for %.0f s. %s", wait, RESTARTS_ADVICE)
        try:
            async with asyncio.TaskGroup() as group:
                self._dispatcher = Dispatcher(
                    group,
                    self._take_verdict,
                    spacing=self.config.commands.spacing,
                    size=self.config.commands.queue,
                    timeout=BACKSTOP * self.config.commands.timeout,
                    clock=self._monotonic,
                )
                group.create_task(self._keep_broker(), name="broker")
                group.create_task(self._tick(), name="ticker")
                if self.config.web.enabled:
                    group.create_task(self._serve_web(), name="web")
                for name, account in self.accounts.items():
                    group.create_task(account.run(wait), name=f"account {name}")
        except asyncio.CancelledError:
            self._starts.finish()
            raise
        finally:
            self._keep_counters()

    async def _keep_broker(self) -> None:
        transitions = Transitions(log)

        def waiting(error: LinkError, seconds: float) -> None:
            advice = f" {error.what_to_do}" if error.what_to_do else ""
            words = "%s (tried again by itself, next in %.0f s).%s"
            transitions.say(error.reason, logging.WARNING, words, error, seconds, advice)

        async def attempt(stands: Callable[[], None]) -> None:
            async with self._broker.open() as link:
                stands()
                transitions.say("connected", logging.INFO, "connected to the broker %s", self._broker.where)
                self.metrics.count("broker", "connects")
                self.connected = True
                try:
                    await self._serve(link)
                finally:
                    self.connected = False

        try:
            await supervise(attempt, waiting=waiting, backoff=self.timing.broker_retry)
        finally:
            transitions.close()

    async def _serve_web(self) -> None:
        from navibridge.web import Web  # noqa: PLC0415 - the server's parts take memory, and most do without them

        self.web = Web(self.config.web, self.health, self._exposition)
        await self.web.run()

    async def _serve(self, link: Link) -> None:
        """Publish and listen until the connection breaks."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(link), name="broker listener")
                group.create_task(self._publish(link), name="broker publisher")
        except ExceptionGroup as errors:
            lost, other = errors.split(LinkError)
            if other is not None or lost is None:
                raise
            raise LinkError(str(lost.exceptions[0]), reason="closed") from errors
        except asyncio.CancelledError:
            await self._say_goodbye(link)
            raise

    async def _say_goodbye(self, link: Link) -> None:
        """The last words of a regular stop: a clean disconnect does not trigger the will."""
        await asyncio.sleep(0)  # the dispatcher gives its last verdicts when it is cancelled, just now
        farewell = [*self._results, Message(self.topics.bridge_state, OFFLINE, retain=True)]
        stopped = AccountState("offline", self._clock(), "stopped", "navibridge was stopped.")
        for name in self.accounts:
            farewell += [
                Message(self.topics.account_availability(name), OFFLINE, retain=True),
                Message(self.topics.account_state(name), orjson.dumps(stopped.document()), retain=True),
            ]
        try:
            async with asyncio.timeout(self.timing.goodbye):
                await link.publish_many(farewell)
        except (LinkError, TimeoutError) as error:
            log.warning("the broker did not take the goodbye (%s); its last will says offline instead", error)

    # ------------------------------------------------------------------ up: events of the accounts

    def _take_event(self, account: Account, event: Event) -> None:
        self._mind_the_clock()
        match event:
            case Found(device):
                self._found(account, device)
            case Gone(device_id):
                self._gone(account, device_id)
            case Reading():
                self._read(account, event)
            case Presence(device_id, online, reason):
                self._present(account, device_id, online, reason)
            case LinkUp() | LinkDown() | ReadOnly():
                self._info_changed = True
        self._wake.set()

    def _found(self, account: Account, device: Device) -> None:
        settings = self.config.device(device.vendor, device.id)
        if settings.exclude:
            return
        if settings.name:
            device = replace(device, name=settings.name)
        key = settings.topic or device_topic(device.vendor, device.id)
        known = self.cache.get(key)
        if known is not None and known.account != account.name and self.accounts[known.account].up.is_set():
            log.info("device %s is in account %s already; account %s leaves it alone", key, known.account, account.name)
            return
        if known is None:
            log.info("found %s %r (%s)", key, device.name, device.model)
        if known is None or known.device != device:
            self._to_announce[key] = None
            self._info_changed = True
        self._keys[account.name, device.id] = key
        self._settings[key] = settings
        state = self.cache.put(key, device, account.name)
        state.restore(self._counters.get(key, {}))

    def _gone(self, account: Account, device_id: str) -> None:
        key = self._keys.pop((account.name, device_id), None)
        state = self.cache.drop(key) if key else None
        if key is None or state is None:
            return
        log.info("%s is no longer in account %s; its topics are cleared", key, account.name)
        self._to_announce.pop(key, None)
        self._shown_availability.pop(key, None)
        self._clear(self._announcer.withdraw(key))
        self._clear([self.topics.state(key), self.topics.availability(key)])
        self._clear([self.topics.value(key, name) for name in self._shown_values.pop(key, {})])
        self._info_changed = True

    def _read(self, account: Account, reading: Reading) -> None:
        key = self._keys.get((account.name, reading.device_id))
        state = self.cache.get(key) if key else None
        if key is None or state is None:
            return
        new = state.merge(reading, self._clock())
        if new:
            log.info("%s sends what is not known (kept as raw): %s", key, ", ".join(sorted(new)))
        self.metrics.count("bridge", "readings")
        self.cache.mark(key)

    def _present(self, account: Account, device_id: str, online: bool, reason: str) -> None:  # noqa: FBT001 - an event's field
        key = self._keys.get((account.name, device_id))
        state = self.cache.get(key) if key else None
        if key is None or state is None or (state.present, state.reason) == (online, reason):
            return
        if state.present != online:
            log.info("%s is %s%s", key, "back" if online else "offline", f": {reason}" if reason else "")
        state.present, state.reason = online, reason
        self.cache.mark(key)

    def _account_changed(self, account: Account) -> None:
        self._accounts_changed[account.name] = None
        self._health_changed = True
        self._wake.set()

    # ------------------------------------------------------------------ up: publishing

    async def _publish(self, link: Link) -> None:
        """Greet the broker, then publish whatever is marked."""
        await link.subscribe(self.topics.incoming)
        if not self._looked_around:
            await self._look_around(link)
            unclaimed = self._announcer.unclaimed(tuple(self.cache), tuple(self.accounts))
            await link.publish_many([Message(topic, OFFLINE, retain=True) for topic in unclaimed])
        self.mark_everything()
        self._wake.clear()
        await self._flush(link)
        # Last, since from here on the devices are believed: by now nothing that an outage made old stands there.
        await link.publish(self.topics.bridge_state, ONLINE, retain=True)
        while True:
            self._at_rest.set()
            try:
                await self._wake.wait()
            finally:
                self._at_rest.clear()
            self._wake.clear()
            await self._flush(link)

    async def _look_around(self, link: Link) -> None:
        """Learn what an earlier run left on the broker: discovery to be migrated or, later, cleared.

        First who was here, then what there is of each, a few at a time: what a broker has to hand out at once beyond a
        limit, it drops (Mosquitto a thousand), and others may keep more than that under the discovery prefix.
        """
        try:
            await self._collect(link, self.topics.traces)
            leftovers = self._announcer.leftovers()
            for start in range(0, len(leftovers), AT_A_LOOK):
                await self._collect(link, tuple(chain.from_iterable(leftovers[start : start + AT_A_LOOK])))
        except TimeoutError:
            log.debug("the broker did not echo; what an earlier run left is not tidied up")
        self._looked_around = True

    async def _collect(self, link: Link, filters: Sequence[str]) -> None:
        """Have the announcer remember what is retained under these filters.

        Raises:
            TimeoutError: nobody can say whether that was all.
        """
        self._scan = asyncio.get_running_loop().create_future()
        await link.subscribe(filters)
        # Retained messages come before what is published after the subscription: an echo says that all have come.
        await link.publish(self._echo, b"{}")
        try:
            async with asyncio.timeout(self.timing.look_around):
                await self._scan
        finally:
            self._scan = None
            await link.unsubscribe(filters)

    def mark_everything(self) -> None:
        """Everything has to be published again: a new broker connection, a birth, a request."""
        self._info_changed = True
        self._health_changed = True
        self._accounts_changed = dict.fromkeys(self.accounts)
        self._shown_availability.clear()
        self._shown_values.clear()
        self._to_announce = dict.fromkeys(self.cache)
        self.cache.mark_all()
        self._bridge_unannounced = True
        self._wake.set()

    async def _flush(self, link: Link) -> None:
        """Publish everything that is marked, discovery before state, verdicts last."""
        to_clear = tuple(self._to_clear)
        await link.publish_many([Message(topic, b"", retain=True) for topic in to_clear])
        for topic in to_clear:  # not before: what a breaking link has swallowed would stay for ever
            self._to_clear.pop(topic, None)
        await link.publish_many(self._bridge_publications())
        while self._to_announce:
            keys = [key for key, _ in zip(tuple(self._to_announce), range(AT_ONCE), strict=False)]
            announced = []
            for key in keys:
                del self._to_announce[key]
                announced += self._discovery_publications(key)
            await link.publish_many(announced)
        changed = self.cache.take_changed()
        for start in range(0, len(changed), AT_ONCE):
            publications = [
                publication
                for key, state in changed[start : start + AT_ONCE]
                for publication in self._state_publications(key, state)
            ]
            self.metrics.count("broker", "publishes", len(publications))
            await link.publish_many(publications)
        while self._results:
            await self._publish_results(link)
        lines = [*self._log_lines]
        self._log_lines.clear()
        await link.publish_many(lines)

    async def _publish_results(self, link: Link) -> None:
        """Publish some of the verdicts and responses; what did not get out is the first of the next time."""
        batch = [self._results.popleft() for _ in range(min(AT_ONCE, len(self._results)))]
        try:
            await link.publish_many(batch)
        except BaseException:
            self._results.extendleft(reversed(batch))
            raise
        if len(self._results) < KEPT_RESULTS // 2:
            self._room.set()

    def _reply(self, message: Message) -> None:
        """Publish a verdict or a response, as soon as the broker is there."""
        self._results.append(message)
        if len(self._results) >= KEPT_RESULTS // 2:
            self._room.clear()
        self._wake.set()

    def publish_log(self, line: bytes) -> None:
        """Publish a line of the log, as soon as the broker is there."""
        self._log_lines.append(Message(self.topics.log, line, qos=0))
        self._wake.set()

    def _bridge_publications(self) -> list[Message]:
        publications = self._account_publications()
        if self._health_changed:
            self._health_changed = False
            publications.append(Message(self.topics.bridge_health, self._health(), retain=True))
        if self._info_changed:
            self._info_changed = False
            publications.append(Message(self.topics.bridge_info, orjson.dumps(self.info()), retain=True))
            if self._looked_around and all(account.listed for account in self.accounts.values()):
                ghosts = self._announcer.ghosts(
                    tuple(self.cache), tuple(self.accounts), values=self.config.attribute_topics
                )
                self._clear(ghosts)
        if self._bridge_unannounced:
            self._bridge_unannounced = False
            publications += self._announcer.bridge(self.accounts)
        return publications

    def _account_publications(self) -> list[Message]:
        publications = []
        names, self._accounts_changed = self._accounts_changed, {}
        for name in names:
            account = self.accounts[name]
            availability = ONLINE if self._account_available(account) else OFFLINE
            publications += [
                Message(self.topics.account_availability(name), availability, retain=True),
                Message(self.topics.account_state(name), orjson.dumps(account.state.document()), retain=True),
            ]
            self._shown_availability[f"account {name}"] = availability
        return publications

    def _account_available(self, account: Account) -> bool:
        if account.state.status == "online":
            return True
        lately = self._clock() - account.state.since < self.timing.account_grace
        return account.state.status == "offline" and account.listed and lately

    def _discovery_publications(self, key: str) -> list[Message]:
        state = self.cache.get(key)
        if state is None:
            return []
        return self._announcer.device(key, state.device, state.account, self._unit(key))

    def _state_publications(self, key: str, state: DeviceState) -> list[Message]:
        try:
            publications = [*self._told_of(key, state)]
        except Exception:
            # A defect in one vendor's table must not silence the other devices, nor leave old values looking alive.
            if key not in self._untold:
                log.exception("%s: unexpected error in its state, which is not published. Please report it.", key)
            self._untold.add(key)
            self._shown_availability[key] = OFFLINE
            return [Message(self.topics.availability(key), OFFLINE, retain=True)]
        self._untold.discard(key)
        return publications

    def _told_of(self, key: str, state: DeviceState) -> Iterator[Message]:
        now = self._clock()
        stale_after = self._stale_after(key, state)
        availability = ONLINE if state.available(now, stale_after) else OFFLINE
        # Going, it is said to be away before anything else; coming, last, so that nothing old is believed in between.
        if availability == OFFLINE:
            yield from self._availability(key, availability)
        document = state.document(now, stale_after=stale_after, unit=self._unit(key), raw=self._settings[key].raw)
        if state.seen_at is None:
            return  # nothing is known yet: what an earlier run retained is not overwritten by a document of nulls
        yield Message(self.topics.state(key), orjson.dumps(document), retain=True)
        if self.config.attribute_topics:
            shown = self._shown_values.setdefault(key, {})
            for name, value in document.items():
                text = plain(value)
                if text is not None and shown.get(name) != text:
                    shown[name] = text
                    yield Message(self.topics.value(key, name), text, retain=True)
        if availability == ONLINE:
            yield from self._availability(key, availability)

    def _availability(self, key: str, availability: bytes) -> Iterator[Message]:
        if self._shown_availability.get(key) != availability:
            self._shown_availability[key] = availability
            yield Message(self.topics.availability(key), availability, retain=True)

    def _unit(self, key: str) -> TemperatureUnit:
        settings = self._settings.get(key)
        return (settings.temperature_unit if settings else None) or self.config.temperature_unit

    def _stale_after(self, key: str, state: DeviceState) -> float:
        return self.config.stale_seconds(state.account, self._settings[key])

    def _available(self, key: str, state: DeviceState) -> bool:
        return state.available(self._clock(), self._stale_after(key, state))

    def _clear(self, topics: Iterable[str]) -> None:
        self._to_clear.update(dict.fromkeys(topics))
        self._wake.set()

    # ------------------------------------------------------------------ down: messages of the broker

    async def _listen(self, link: Link) -> None:
        async for arrival in link.messages():
            # A flood of commands waits until its verdicts are out; otherwise the oldest of these would be lost.
            await self._room.wait()
            try:
                self._take_message(arrival)
            except Exception:
                # Whatever one message brings to light, the others are still served.
                log.exception("unexpected error at a message on %s; it is dropped. Please report it.", arrival.topic)

    def _take_message(self, arrival: Message) -> None:
        incoming = self.topics.parse(arrival.topic)
        if arrival.topic == self._echo or incoming is None:
            self._take_leftover(arrival)
        elif isinstance(incoming, Birth):
            if arrival.payload == ONLINE and not arrival.retain:
                self._take_birth()
        elif arrival.topic in self._cleared and not arrival.payload:
            self._cleared.discard(arrival.topic)  # the broker tells us of our own clearing
        elif arrival.retain:
            self._refuse_retained(arrival, incoming)
        else:
            self._take_wish(arrival, incoming)

    def _take_leftover(self, arrival: Message) -> None:
        """What was retained before this run; the echo of our own request says that all of it has come."""
        if self._scan is None or self._scan.done():
            return
        if arrival.topic == self._echo:
            self._scan.set_result(None)
        elif arrival.retain:
            self._announcer.remember(arrival.topic, arrival.payload)

    def _take_wish(self, arrival: Message, incoming: SetChanges | SetAttribute | Get | BridgeRequest) -> None:
        reply = Reply(arrival.response_topic, arrival.correlation) if arrival.response_topic else None
        match incoming:
            case SetChanges(device):
                self._take_command(device, arrival, reply, lambda: read_object(arrival.payload))
            case SetAttribute(device, attribute):
                self._take_command(device, arrival, reply, lambda: read_value(attribute, arrival.payload))
            case Get(device):
                self._take_get(device)
            case BridgeRequest(verb):
                self._take_request(verb, arrival.payload)

    def _refuse_retained(self, arrival: Message, incoming: object) -> None:
        """A retained command is replayed at every reconnect, hours or months late: ignore it, and clear it."""
        log.warning(
            "ignored a retained command on %s and cleared it; publish commands without the retain flag", arrival.topic
        )
        self._cleared.add(arrival.topic)
        self._clear([arrival.topic])
        if isinstance(incoming, SetChanges | SetAttribute):
            reason = "a retained command is never carried out, since it would be replayed at every reconnect"
            self._take_verdict(incoming.device, Result(Verdict.REJECTED, {}, reason=reason, code="retained"))

    def _take_command(self, key: str, arrival: Message, reply: Reply | None, read: Callable[[], Request]) -> None:
        now = self._monotonic()
        request = Request({})
        try:
            if arrival.oversize:
                raise CommandError(f"the payload has {arrival.oversize} bytes and was not read", code="too_large")
            request = read()
            state = self.cache.get(key)
            if state is None:
                raise CommandError(
                    f"there is no device {key!r}; known are: {', '.join(self.cache) or 'none yet'}",
                    code="unknown_device",
                )
            changes = check(state.device, request, self._unit(key))
        except CommandError as error:
            rejected = Result(
                Verdict.REJECTED,
                request.changes,
                id=error.id if request.id is None else request.id,
                reason=str(error),
                code=error.code,
                reply=reply,
            )
            self._take_verdict(key, rejected)
            return
        ttl = request.ttl if request.ttl is not None else self.config.commands.ttl
        command = Command(
            key, changes, arrived=self._clock(), expires=now + ttl, id=request.id, reply=reply, started=now
        )
        if self._dispatcher is not None:
            self._dispatcher.submit(key, command, self.accounts[state.account], partial(self._device, key))

    def _device(self, key: str) -> Device | None:
        state = self.cache.get(key)
        return state.device if state else None

    def _take_verdict(self, key: str, result: Result) -> None:
        """Publish a command's end; the truth with it, so that a control that moved by itself jumps back."""
        self.metrics.count("verdicts", result.verdict)
        log.info(
            "%s: %s %s%s", key, dict(result.changes), result.verdict, f" ({result.reason})" if result.reason else ""
        )
        state = self.cache.get(key)
        if state is not None:
            if result.verdict is Verdict.APPLIED:
                # As of its sending: what the device has said since is newer than what it confirmed.
                now = self._clock()
                state.merge(Reading(state.device.id, result.values, now - result.age, "ack"), now)
            self.cache.mark(key)
        unit = self._unit(key)
        payload = orjson.dumps(result.document(self._clock(), state.device if state else None, unit))
        self._reply(Message(self.topics.result(key), payload))
        if result.reply is not None:
            self._reply(Message(result.reply.topic, payload, correlation=result.reply.correlation))

    def _take_get(self, key: str) -> None:
        state = self.cache.get(key)
        if state is not None and self._dispatcher is not None:
            self._dispatcher.ask(key, self.accounts[state.account], state.device)

    def _take_birth(self) -> None:
        """Home Assistant (or openHAB) started: everything again, births within a few seconds counting as one."""
        now = self._monotonic()
        if now - self._last_birth < self.timing.births_together:
            return
        self._last_birth = now
        log.info("Home Assistant started; publishing everything again")
        jitter = random.uniform(0, self.timing.birth_jitter)  # noqa: S311 - keeps no secret
        asyncio.get_running_loop().call_later(jitter, self.mark_everything)

    # ------------------------------------------------------------------ the bridge's own requests and documents

    def _take_request(self, verb: str, payload: bytes) -> None:
        answer: dict[str, Any] = {"status": "ok"}
        transaction = None
        try:
            asked = orjson.loads(payload) if payload.strip() else {}
            if isinstance(asked, dict):
                transaction = asked.get("transaction")
            answer["data"] = self._answer(verb, asked)
        except (orjson.JSONDecodeError, CommandError) as error:
            answer = {"status": "error", "error": str(error)}
        if transaction is not None:
            answer["transaction"] = transaction
        self._reply(Message(self.topics.response(verb), orjson.dumps(answer)))

    def _answer(self, verb: str, asked: Any) -> Any:
        match verb:
            case "info":
                return self.info()
            case "health":
                return self.health()
            case "devices":
                return [self._described(key, state) for key, state in self.cache.items()]
            case "rediscover":
                self.mark_everything()
                return {"devices": len(self.cache)}
            case "log_level":
                level = str(asked.get("level", "") if isinstance(asked, dict) else asked).upper()
                if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
                    raise CommandError(f"level {level!r} is not one of debug, info, warning, error")
                logging.getLogger("navibridge").setLevel(level)
                return {"level": level.lower()}
            case _:
                raise CommandError(
                    f"there is no request {verb!r}; there are info, health, devices, rediscover, log_level"
                )

    def _described(self, key: str, state: DeviceState) -> dict[str, Any]:
        device = state.device
        return {
            "topic": key,
            "id": device.id,
            "vendor": device.vendor,
            "account": state.account,
            "name": device.name,
            "kind": device.kind.name,
            "model": device.model,
            "firmware": device.firmware,
            "available": self._available(key, state),
            "seen_at": iso(state.seen_at) if state.seen_at is not None else None,
            "attributes": [row.key for row in device.attributes if row.quantity.sort is not Sort.ACTION],
            "writable": [row.key for row in device.attributes if row.writes],
        }

    def info(self) -> dict[str, Any]:
        """What the bridge is and what it publishes; no secrets."""
        return {
            "version": __version__,
            "started_at": iso(self.started),
            "vendors": sorted({account.vendor for account in self.accounts.values()}),
            "accounts": {name: {"vendor": account.vendor} for name, account in self.accounts.items()},
            "devices": {
                key: {"id": state.device.id, "name": state.device.name, "state": self.topics.state(key)}
                for key, state in self.cache.items()
            },
            "base_topic": self.config.broker.base_topic,
            "discovery": self.config.discovery.format if self.config.discovery.enabled else None,
        }

    def health(self) -> dict[str, Any]:
        """Figures for people who watch the bridge."""
        now = self._clock()
        problems = [
            f"Account {name} is {account.state.status}: {account.state.detail or account.state.reason}"
            for name, account in self.accounts.items()
            if not self._account_available(account) or (account.state.status == "online" and account.state.reason)
        ]
        reasons = self._reasons()
        return {
            "at": iso(now),
            "version": __version__,
            "base_topic": self.topics.base,
            "healthy": not reasons,
            "reasons": reasons,
            "problem": bool(problems),
            "problem_text": "; ".join(problems)[:LONGEST_TEXT] or NO_PROBLEM,
            "uptime_s": round(now - self.started),
            "memory_mb": memory(),
            "devices": len(self.cache),
            "devices_available": sum(self._available(key, state) for key, state in self.cache.items()),
            "broker": {"connected": self.connected, **self.metrics.group("broker")},
            "bridge": self.metrics.group("bridge"),
            "verdicts": {verdict.value: self.metrics.group("verdicts").get(verdict, 0) for verdict in Verdict},
            "accounts": {
                name: {
                    "vendor": account.vendor,
                    "state": account.state.status,
                    "reconnects": max(0, account.reconnects),
                    **self.metrics.group(f"account {name}"),
                }
                for name, account in self.accounts.items()
            },
        }

    def _reasons(self) -> list[str]:
        """What only a person can mend, or keeps everything from being seen; none of it passes by a restart."""
        reasons = [] if self.connected else [f"The broker {self._broker.where} is not connected."]
        for name, account in self.accounts.items():
            if account.state.status == "needs_attention":
                reasons.append(f"Account {name} needs attention: {account.state.detail}. {account.state.what_to_do}")
        return reasons

    def _exposition(self) -> bytes:
        """The figures as Prometheus text; devices by their topic, accounts by their name, nothing of their owner."""
        now = self._clock()
        devices = {
            key: DeviceFigures(
                self._available(key, state), None if state.seen_at is None else max(0.0, now - state.seen_at)
            )
            for key, state in self.cache.items()
        }
        return exposition(self.health(), devices)

    def _health(self) -> bytes:
        return orjson.dumps(self.health())

    # ------------------------------------------------------------------ time

    async def _tick(self) -> None:
        """Once a second: what grew stale is said to be. More rarely: health, counters, a refresh of the states."""
        now, timing = self._monotonic(), self.timing
        next_health, next_keep, next_refresh = now + timing.health, now + timing.keep, now + self.config.refresh
        while True:
            await self.sleep(timing.tick)
            self._notice_changes()
            now = self._monotonic()
            if now >= next_health:
                next_health = now + timing.health
                self._health_changed = True
                self._wake.set()
            if now >= next_keep:
                next_keep = now + timing.keep
                self._keep_counters()
            if self.config.refresh and now >= next_refresh:
                next_refresh = now + self.config.refresh
                self.cache.mark_all()
                self._wake.set()

    def _mind_the_clock(self) -> None:
        """What was observed before the clock was set is as old as before; small machines start with a wrong one."""
        ahead = self._clock() - self._monotonic()
        step, self._ahead = ahead - self._ahead, ahead
        if abs(step) < CLOCK_STEP:
            return
        log.info("the clock was set %s by %.0f s", "forward" if step > 0 else "back", abs(step))
        for state in self.cache.values():
            state.shift(step)
        for account in self.accounts.values():
            account.shift(step)

    def _notice_changes(self) -> None:
        """Devices and accounts whose availability changed because time passed, and values that have had their time."""
        self._mind_the_clock()
        now = self._clock()
        for key, state in self.cache.items():
            if now > state.fades_at:
                self.cache.mark(key)
                self._wake.set()
            availability = ONLINE if self._available(key, state) else OFFLINE
            if self._shown_availability.get(key, availability) != availability:
                if state.present and availability == OFFLINE:
                    log.info("%s is stale: nothing was heard of it for too long", key)
                self.cache.mark(key)
                self._wake.set()
        for name, account in self.accounts.items():
            availability = ONLINE if self._account_available(account) else OFFLINE
            if self._shown_availability.get(f"account {name}", availability) != availability:
                self._account_changed(account)

    def _keep_counters(self) -> None:
        """Keep the energy counters over a restart; what is away at the moment is kept as it was."""
        counters = self._counters | {key: state.counters() for key, state in self.cache.items() if state.counters()}
        if counters != self._counters:
            self._counters = counters
            self._store.save("counters", counters)


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


def memory() -> float | None:
    """Resident memory in MB, where the system tells."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - read each minute, no path to build
            pages = int(statm.read().split()[1])
    except OSError:
        return None
    return round(pages * 4096 / 1e6, 1)
