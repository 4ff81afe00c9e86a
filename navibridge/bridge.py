"""Joins the two lines: what the clouds say goes to the broker, what the broker is told goes to the clouds.

    up    session events -> Fleet -> Cache -> Publisher -> discovery, availability, state documents
    down  command topics -> commands.check -> Dispatcher -> session.send -> one verdict on the result topic

`fleet.py` knows which devices there are, `publisher.py` publishes what is marked, `lookaround.py` learns what an
earlier run left, `status.py` has the bridge's documents of itself and `requests.py` its answers; each owns its state.
What is here is who tells whom.

One task group holds everything: the broker connection, a task per account, the ticker, and a task per device that has
commands to send.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge import vendors
from navibridge.account import RESTARTS_ADVICE, Account
from navibridge.announce import Announcer
from navibridge.backoff import Backoff
from navibridge.broker import LIMITS, Limits, LocalBroker, Message
from navibridge.commands import Command, Reply, Request, Result, Verdict, check, read_object, read_value
from navibridge.dispatch import Dispatcher
from navibridge.errors import CommandError, LinkError, cause
from navibridge.fleet import Fleet
from navibridge.lookaround import LookAround
from navibridge.metrics import Metrics
from navibridge.model import Event, Reading
from navibridge.network import Network
from navibridge.publisher import OFFLINE, ONLINE, Publisher
from navibridge.requests import Requests
from navibridge.retry import supervise
from navibridge.state import Cache
from navibridge.status import Status
from navibridge.tasks import TaskGroup
from navibridge.topics import Birth, BridgeRequest, Get, SetAttribute, SetChanges, Topics, slug
from navibridge.transitions import Transitions, Whereabouts
from navibridge.usage import Starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from navibridge.broker import Link
    from navibridge.config import AccountSettings, Config
    from navibridge.store import Store
    from navibridge.web import Web

log = logging.getLogger(__name__)

BACKSTOP: Final = 4
"""A vendor may try a message again, and one change may take two; so many times a device's time to answer is enough."""

CLOCK_STEP: Final = 0.5
"""Seconds between two looks at the clock by which it is no longer slow or fast, but was set."""

CLOUD_RETRY: Final = Backoff()
BROKER_RETRY: Final = Backoff(first_wait=1.0, longest_wait=5.0)
"""It is near, and everybody in the house waits for it."""


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
        self.connected = False
        self.web: Web | None = None
        self._clock = clock
        self._monotonic = monotonic
        self._ahead = clock() - monotonic()
        self._store = store
        self._starts = Starts(store, clock)
        self._network = network or Network()
        self._broker = broker(
            config.broker,
            client_id=config.broker.client_id or f"navibridge-{slug(config.broker.base_topic)}",
            will=(self.topics.bridge_state, OFFLINE.decode()),
            limits=self.timing.broker_limits,
        )
        self.accounts = {name: self._account(name) for name in config.accounts}
        self._status = Status(
            config,
            self.topics,
            self.accounts,
            self.cache,
            self.metrics,
            started=clock(),
            broker=self._broker.where,
        )
        announcer = Announcer(self.topics, config.discovery)
        whereabouts = Whereabouts(log)
        self._look_around = LookAround(self.topics, announcer, limit=self.timing.look_around)
        self._publisher = Publisher(
            self.topics,
            self.cache,
            self.accounts,
            announcer,
            self._look_around,
            metrics=self.metrics,
            info=self.info,
            health=self.health,
            attribute_topics=config.attribute_topics,
            whereabouts=whereabouts,
            clock=clock,
        )
        self._fleet = Fleet(
            config,
            self.accounts,
            self.cache,
            self._publisher,
            store,
            metrics=self.metrics,
            whereabouts=whereabouts,
            clock=clock,
        )
        self._requests = Requests(
            info=self.info,
            health=self.health,
            devices=lambda: self._status.devices(clock()),
            rediscover=self._rediscover,
        )
        self._dispatcher: Dispatcher | None = None
        self._cleared: set[str] = set()
        self._last_birth = float("-inf")

    def _account(self, name: str) -> Account:
        settings = self.config.accounts[name]
        context = vendors.Context(
            account=name,
            store=self._store,
            clock=self._clock,
            count=partial(self.metrics.count, f"account {name}"),
            device_settings=lambda device_id: self._fleet.settings(settings.vendor, device_id),
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
            grace=self.timing.account_grace,
            backoff=self.timing.account_retry,
        )

    def open_session(self, settings: AccountSettings, context: vendors.Context) -> vendors.Session:
        """The session of an account; a replay has others."""
        return vendors.load(settings.vendor).open_session(settings, context)

    async def sleep(self, seconds: float) -> None:
        """Let time pass for the ticker; in a replay it is the capture's."""
        await asyncio.sleep(seconds)

    async def settled(self) -> None:
        """Wait until everything that has happened until now has been published."""
        await self._publisher.settled()

    def info(self) -> dict[str, Any]:
        """What the bridge is and what it publishes."""
        return self._status.info(self._fleet.unmatched())

    def health(self) -> dict[str, Any]:
        """Figures for people who watch the bridge."""
        return self._status.health(self._clock(), connected=self.connected, memory=memory())

    def publish_log(self, line: bytes) -> None:
        """Publish a line of the log, as soon as the broker is there."""
        self._publisher.say_log(line)

    # ------------------------------------------------------------------ running

    async def run(self) -> None:
        """Run until cancelled. Says goodbye on the broker before it ends."""
        wait = self._starts.enter()
        if wait:
            log.warning("started again and again; the accounts wait for %.0f s. %s", wait, RESTARTS_ADVICE)
        try:
            async with TaskGroup() as group:
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
            self._fleet.keep_counters()

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

        self.web = Web(self.config.web, self.health, self._figures)
        await self.web.run()

    def _figures(self) -> bytes:
        return self._status.figures(self._clock(), self.health())

    async def _serve(self, link: Link) -> None:
        """Publish and listen until the connection breaks."""
        try:
            async with TaskGroup() as group:
                group.create_task(self._listen(link), name="broker listener")
                group.create_task(self._publisher.run(link), name="broker publisher")
        except ExceptionGroup as errors:
            ended = cause(errors)
            if not isinstance(ended, LinkError):
                raise
            raise LinkError(str(ended), reason=ended.reason, what_to_do=ended.what_to_do) from errors
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # the dispatcher gives its last verdicts when it is cancelled, just now
            await self._publisher.goodbye(link, limit=self.timing.goodbye)
            raise

    # ------------------------------------------------------------------ up: events of the accounts

    def _take_event(self, account: Account, event: Event) -> None:
        self._mind_the_clock()
        self._fleet.take(account, event)

    def _account_changed(self, account: Account) -> None:
        self._publisher.mark_account(account.name)

    # ------------------------------------------------------------------ down: messages of the broker

    async def _listen(self, link: Link) -> None:
        async for arrival in link.messages():
            # A flood of commands waits until its verdicts are out; otherwise the oldest of these would be lost.
            await self._publisher.room()
            try:
                self._take_message(arrival)
            except Exception:
                # Whatever one message brings to light, the others are still served.
                log.exception("unexpected error at a message on %s; it is dropped. Please report it.", arrival.topic)

    def _take_message(self, arrival: Message) -> None:
        incoming = self.topics.parse(arrival.topic)
        if incoming is None or arrival.topic == self._look_around.echo:
            self._look_around.hear(arrival)
        elif isinstance(incoming, Birth):
            if arrival.payload == ONLINE and not arrival.retain:
                self._take_birth()
        elif arrival.topic in self._cleared and not arrival.payload:
            self._cleared.discard(arrival.topic)  # the broker tells us of our own clearing
        elif arrival.retain:
            self._refuse_retained(arrival, incoming)
        else:
            self._take_wish(arrival, incoming)

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
                answer = self._requests.answer(verb, arrival.payload, oversize=arrival.oversize)
                self._publisher.say(Message(self.topics.response(verb), answer))

    def _refuse_retained(self, arrival: Message, incoming: object) -> None:
        """A retained command is replayed at every reconnect, hours or months late: ignore it, and clear it."""
        log.warning(
            "ignored a retained command on %s and cleared it; publish commands without the retain flag", arrival.topic
        )
        self._cleared.add(arrival.topic)
        self._publisher.clear([arrival.topic])
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
            changes = check(state.device, request, state.display.unit)
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
            self._dispatcher.submit(key, command, partial(self._fleet.owner, key))

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
        device, unit = (state.device, state.display.unit) if state else (None, self.config.temperature_unit)
        payload = orjson.dumps(result.document(self._clock(), device, unit))
        self._publisher.say(Message(self.topics.result(key), payload))
        if result.reply is not None:
            self._publisher.say(Message(result.reply.topic, payload, correlation=result.reply.correlation))

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
        asyncio.get_running_loop().call_later(jitter, self._publisher.mark_everything)

    def _rediscover(self) -> dict[str, Any]:
        self._publisher.mark_everything()
        return {"devices": len(self.cache)}

    # ------------------------------------------------------------------ time

    async def _tick(self) -> None:
        """Once a second: what grew stale is said to be. More rarely: health, counters, a refresh of the states."""
        now, timing = self._monotonic(), self.timing
        next_health, next_keep, next_refresh = now + timing.health, now + timing.keep, now + self.config.refresh
        while True:
            await self.sleep(timing.tick)
            self._mind_the_clock()
            for account in self.accounts.values():
                if not account.available:
                    self._fleet.pass_on(account)
            self._publisher.mark_what_time_changed()
            now = self._monotonic()
            if now >= next_health:
                next_health = now + timing.health
                self._publisher.mark_health()
            if now >= next_keep:
                next_keep = now + timing.keep
                self._fleet.keep_counters()
            if self.config.refresh and now >= next_refresh:
                next_refresh = now + self.config.refresh
                self.cache.mark_all()
                self._publisher.wake()

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
        self._status.shift(step)
        self._publisher.mark_info()


def memory() -> float | None:
    """Resident memory in MB, where the system tells."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - read each minute, no path to build
            pages = int(statm.read().split()[1])
    except OSError:
        return None
    return round(pages * 4096 / 1e6, 1)
