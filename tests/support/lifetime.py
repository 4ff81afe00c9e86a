"""A house in virtual time: devices of every vendor, their clouds, a broker, the bridge, and whoever judges them.

    devices ── simulated clouds ══ CloudSide ══ real sessions, real bridge ══ LocalSide ── the judge

Months pass in a minute, so a few things go slower than in a real house. Devices are asked every five minutes, the
longest interval that the configuration allows; rooms and tanks live a tenth as fast, since their physics would take
most of the time; and the bridge's ticker passes over the looks at which nothing can have changed (`Unhurried`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import tempfile
from collections import Counter, deque
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson
from support.inside import CloudSide, LocalSide
from support.oracle import GRACE, Consumer, Oracle

from navibridge import config, vendors, virtual
from navibridge.bridge import Bridge, Timing
from navibridge.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
    from typing import TypeVar

    from support.inside import Broken

    from navibridge.demo.broker import Message, Publish
    from navibridge.simulation import Request

    T = TypeVar("T")

DAY: Final = 86_400.0

HEATERS: Final = "home"
THERMOSTATS: Final = "cabin"
"""The accounts."""

ATTRIBUTE: Final = "target_temperature"

POLL: Final = 300.0
STALE_AFTER: Final = 3 * POLL + 30
"""Seconds; what the configuration makes of the interval by itself."""

PACE: Final = 0.1
"""Seconds that rooms and tanks live in one second."""

LONGEST_LOOK: Final = 20.0
"""Seconds that the ticker passes over at most; less than an account is given before it is shown as away."""

LIVE_AGAIN: Final = 240.0
"""Seconds after an outage by which everything is live again: a dead line is noticed within 60, the longest wait for the
next attempt is 120, and signing in, opening the link and the first answers take the rest."""

TIMING: Final = Timing(health=600.0)


class Unhurried(Bridge):
    """The bridge, whose ticker sleeps through the seconds in which nothing grows stale."""

    async def sleep(self, seconds: float) -> None:
        """Until the next look that may find something."""
        now = virtual.running().clock()
        due = [LONGEST_LOOK + now]
        for state in self.cache.values():
            due += [state.fades_at, (state.seen_at or 0.0) + STALE_AFTER]
        due += [account.state.since + self.timing.account_grace for account in self.accounts.values()]
        await asyncio.sleep(max(seconds, min(at for at in due if at >= now) - now))


class Devices:
    """What one account's devices really are, and what somebody in the house does to them.

    Args:
        simulator: their cloud.
        vendor: as topics spell it.
        members: the devices by id, each with a ``state`` that has a ``setpoint``.
        values: the lowest value and how many there are above it, half a degree apart.
    """

    digits: ClassVar = {ATTRIBUTE: 1}

    def __init__(self, simulator: Any, vendor: str, members: Mapping[str, Any], values: tuple[float, int]) -> None:
        self.simulator = simulator
        self._members = {f"{vendor}_{device_id}": device for device_id, device in members.items()}
        self._ids = {f"{vendor}_{device_id}": device_id for device_id in members}
        self._lowest, self._number = values
        self._turns = 0

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self._members)

    def device(self, topic: str) -> Any:
        return self._members[topic]

    def truth(self) -> dict[str, dict[str, float]]:
        return {topic: {ATTRIBUTE: device.state.setpoint} for topic, device in self._members.items()}

    def passed(self) -> list[tuple[str, str, Any]]:
        """Nothing: the judge looks whenever something has happened."""
        return []

    def value(self) -> float:
        """One that none of them has had for long."""
        self._turns += 1
        return self._lowest + self._turns % self._number * 0.5

    def turn(self) -> None:
        """Somebody turns all that have power by hand."""
        value = self.value()
        for device in self._members.values():
            if not device.faults.offline:
                device.state.setpoint = value

    def unplug(self, topic: str) -> None:
        self.simulator.unplug(self._ids[topic])

    def plug_in(self, topic: str) -> None:
        self.simulator.plug_in(self._ids[topic])

    def silence(self, topic: str, *, silent: bool = True) -> None:
        """Nothing more is heard of a device, by whatever way, though nobody says that it is gone."""
        faults = self._members[topic].faults
        faults.silent = silent
        if hasattr(faults, "stale"):
            faults.stale = silent

    def forget_tokens(self) -> None:
        """Every token that was granted, refresh tokens included, is void from now on, as after a month."""
        for account in self.simulator.accounts.values():
            self.simulator.revoke_tokens(account)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log.

    Attributes:
        at: seconds since the beginning.
        level: of the record.
        text: the message.
    """

    at: float
    level: int
    text: str


class Lines(logging.Handler):
    """What the bridge logs at INFO and above, in virtual time.

    Attributes:
        warnings: every different text of WARNING and above.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(logging.INFO)
        self.warnings: set[str] = set()
        self._clock = clock
        self._lines: deque[Line] = deque(maxlen=20_000)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(Line(self._clock(), record.levelno, record.getMessage()))
        if record.levelno >= logging.WARNING:
            self.warnings.add(record.getMessage())

    def between(self, since: float, until: float) -> list[Line]:
        return [line for line in self._lines if since <= line.at < until]


@dataclass(slots=True)
class Order:
    """A command that the bridge has heard of.

    Attributes:
        at: when.
        verdicts: what was said of it.
    """

    at: float
    verdicts: list[bytes] = field(default_factory=list)


class Lifetime:
    """What a story about a long time holds in its hands; see `lifetime`.

    Attributes:
        bridge: it.
        local: the user's broker, and the way there.
        clouds: the vendors' clouds, and the way there.
        accounts: the devices by account.
        directory: where the bridge keeps its state.
        lines: its log.
        sign_ins: when each account was signed in to.
        lies: what was shown as live and was not.
        orders: commands that the bridge has heard of and that are not settled yet, by their id.
        settled: the verdicts of those that are, counted.
        heard: when something was published last, by topic.
        published: how many messages the bridge has published.
    """

    def __init__(self, directory: Path, sections: Mapping[str, Any]) -> None:
        loop = virtual.running()
        self.directory = directory
        self.sign_ins: dict[str, list[float]] = {HEATERS: [], THERMOSTATS: []}
        self.orders: dict[str, Order] = {}
        self.settled: Counter[str] = Counter()
        self.heard: dict[str, float] = {}
        self.published = 0
        self.lies: list[str] = []
        self._loop = loop
        self._transcript = hashlib.sha256()
        self._sent = 0
        clock = {"clock": loop.clock, "monotonic": loop.time}
        heaters: Any = vendors.load("navilink").simulator(1, **clock, tick=60.0, speed=PACE)
        thermostats: Any = vendors.load("mysa").simulator(
            1, **clock, tick=60.0, speed=PACE, status=POLL * PACE, record=POLL, batch_minutes=60
        )
        make_forgetful(heaters, thermostats)
        self.accounts = {
            HEATERS: Devices(heaters, "navilink", heaters.devices, (41.0, 47)),
            THERMOSTATS: Devices(thermostats, "mysa", thermostats.thermostats, (8.0, 40)),
        }
        hosts = {"navilink.test": heaters, "mysa.test": thermostats}
        self.clouds = CloudSide(hosts, loop.clock, asked=self._asked)
        self.clouds.stands_for = DAY
        self.local = LocalSide(heard=self._heard, delivered=self._delivered)
        self.consumer = Consumer(_Nobody())
        self.consumer.connected = True
        self.consumer.seen = deque(maxlen=0)
        self._oracles = [
            Oracle(self.consumer, devices, account=name, timeout=STALE_AFTER, clock=loop.time)
            for name, devices in self.accounts.items()
        ]
        for oracle in self._oracles:
            oracle.samples = deque(maxlen=1)
        self.lines = Lines(loop.time)
        self.bridge = Unhurried(
            self._configured(heaters, thermostats, sections),
            Store(directory),
            clock=loop.clock,
            monotonic=loop.time,
            timing=TIMING,
            network=self.clouds,
            broker=self.local.connects,
        )

    def _configured(self, heaters: Any, thermostats: Any, sections: Mapping[str, Any]) -> config.Config:
        accounts = {
            HEATERS: heaters.account("navilink.test", 443, ""),
            THERMOSTATS: thermostats.account("mysa.test", 443, "") | {"publish_timeout": 3600, "watchdog": 2 * POLL},
        }
        for account in accounts.values():
            del account["ca_file"]
            account["poll_interval"] = POLL
        return config.build(
            {"broker": {"host": "inside"}, "accounts": accounts, "state_dir": str(self.directory), **sections},
            vendors=lambda name: vendors.load(name).Settings,
            vendor_names=vendors.names(),
        )

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self._loop.time()

    @property
    def topics(self) -> tuple[str, ...]:
        """Every device's."""
        return tuple(topic for devices in self.accounts.values() for topic in devices.topics)

    @property
    def transcript(self) -> str:
        """A digest of everything that was published, and when; without the figures of this very process."""
        return self._transcript.hexdigest()

    def devices_of(self, topic: str) -> Devices:
        return next(devices for devices in self.accounts.values() if topic in devices.topics)

    # -- what happens in the house -------------------------------------------------------------------------------

    def turn(self) -> None:
        """Somebody turns every device."""
        for devices in self.accounts.values():
            devices.turn()
        self.look()

    def command(self, topic: str, **extra: Any) -> str:
        """Publish a command to set a device to a new value; its id."""
        self._sent += 1
        name = f"order {self._sent}"
        payload = orjson.dumps({ATTRIBUTE: self.devices_of(topic).value(), "id": name, **extra})
        self.local.broker.publish(f"navibridge/{topic}/set", payload, qos=1)
        return name

    def birth(self) -> None:
        """Home Assistant says that it has started."""
        self.local.broker.publish("homeassistant/status", b"online", qos=1)

    def break_(self, where: str, how: Broken) -> None:
        """From now on this is wrong with ``rest``, ``iot``, ``cloud`` (both of these), ``broker`` or ``all``."""
        self.clouds.break_(
            rest=how if where in ("rest", "cloud", "all") else "", iot=how if where in ("iot", "cloud", "all") else ""
        )
        self.local.break_(how if where in ("broker", "all") else "")

    def restart_broker(self) -> None:
        """A broker that remembers nothing takes the place of the one before."""
        self.consumer.topics.clear()
        self.local.restart()

    def heal(self) -> None:
        """Nothing is wrong any more."""
        self.break_("all", "")

    def settle(self, older: float = 0.0) -> None:
        """Each command that is that many seconds old has had its one verdict; with quality of service 1, what was not
        acknowledged is said again word for word."""
        for name, order in tuple(self.orders.items()):
            if self.now - order.at < older:
                continue
            assert order.verdicts, f"no verdict on {name} of day {order.at / DAY:.3f}"
            assert len({*order.verdicts}) == 1, f"several verdicts on {name}: {order.verdicts}"
            self.settled[orjson.loads(order.verdicts[0])["verdict"]] += 1
            del self.orders[name]

    # -- what the judge sees -------------------------------------------------------------------------------------

    def shown(self, topic: str) -> bool:
        """Whether a consumer would show the device's values as live."""
        account = next(name for name, devices in self.accounts.items() if topic in devices.topics)
        return self.consumer.shows(account, topic) is not None

    def live(self) -> bool:
        """Whether every device is shown, and no account has anything to complain of."""
        states = [self.consumer.document(f"bridge/account/{name}/state") for name in self.accounts]
        well = all(state.get("state") == "online" and not state["reason"] for state in states)
        return well and all(self.shown(topic) for topic in self.topics)

    async def until(self, condition: Callable[[], object], limit: float, complaint: str) -> float:
        """Wait for a condition; the seconds that it took."""
        began = self.now
        while not condition():
            assert self.now - began < limit, f"day {began / DAY:.2f}: {complaint} within {limit:g} s"
            await asyncio.sleep(0.5)
        return self.now - began

    async def alive(self, limit: float = LIVE_AGAIN, after: str = "the start") -> float:
        """Wait until everything is live; the seconds that it took."""
        return await self.until(self.live, limit, f"after {after} not everything is live")

    def look(self) -> None:
        """Compare what is shown with what is true, and with what it says of its own age."""
        now = self._loop.clock()
        for oracle, name in zip(self._oracles, self.accounts, strict=True):
            for topic in oracle.look().shown:
                seen = datetime.fromisoformat(self.consumer.document(f"{topic}/state")["seen_at"]).timestamp()
                if now - seen > STALE_AFTER + GRACE + 1:  # it is said to the second
                    self.lies.append(f"day {self.now / DAY:.3f}: {topic} of account {name} is {now - seen:.0f} s old")
            self.lies += [f"day {lie.at / DAY:.3f}: {lie}" for lie in oracle.lies]
            oracle.lies.clear()

    async def judge(self) -> None:
        """Look whenever a value that is shown has become too old, unless a newer one has come."""
        while True:
            self.look()
            now = self._loop.clock()
            seen = [
                datetime.fromisoformat(document["seen_at"]).timestamp()
                for topic in self.topics
                if self.shown(topic) and (document := self.consumer.document(f"{topic}/state"))
            ]
            due = min(seen, default=now) + STALE_AFTER + GRACE + 0.01
            await asyncio.sleep(max(1.0, due - now))

    def _heard(self, message: Message) -> None:
        self.published += 1
        now = self._loop.time()
        self.heard[message.topic] = now
        self.consumer._take(message.topic, message.payload)
        if message.topic != "navibridge/bridge/health":
            self._transcript.update(b"%.3f %s %s\n" % (now, message.topic.encode(), message.payload))
        if message.topic.endswith("/result"):
            self.consumer.verdicts.clear()
            name = orjson.loads(message.payload)["id"]
            if name in self.orders:
                self.orders[name].verdicts.append(message.payload)
            else:
                self.lies.append(f"day {now / DAY:.3f}: a verdict on {name}, which nobody waits for")
        if message.payload == b"online" or message.topic.endswith("/result"):
            self.look()

    def _delivered(self, packet: Publish) -> None:
        if packet.topic.endswith("/set") and not packet.retain:
            self.orders[orjson.loads(packet.payload)["id"]] = Order(self.now)

    def _asked(self, request: Request) -> None:
        if request.path.endswith("/user/sign-in"):
            self.sign_ins[HEATERS].append(self.now)
        elif request.headers.get("x-amz-target", "").endswith("RespondToAuthChallenge"):
            self.sign_ins[THERMOSTATS].append(self.now)


def make_forgetful(heaters: Any, thermostats: Any) -> None:
    """Let simulated clouds not remember what they were asked for: it would grow for weeks."""
    for simulator in (heaters, thermostats):
        simulator.requests = deque(maxlen=0)
    heaters.received_controls = deque(maxlen=100)
    thermostats.received_commands = deque(maxlen=100)
    thermostats.received_messages = deque(maxlen=0)


class _Nobody:
    """An address that nobody connects to: the messages are brought."""

    host = ""
    port = 0


@asynccontextmanager
async def lifetime(directory: Path, *, seed: int = 1, **sections: Any) -> AsyncIterator[Lifetime]:
    """A house whose bridge has started; to be entered in a `navibridge.virtual` loop.

    Args:
        directory: for the bridge's state.
        seed: of every choice that the product makes by chance.
        sections: of the configuration, over those that are needed.
    """
    random.seed(seed)
    house = Lifetime(directory, sections)
    with _logged(house.lines):
        async with house.clouds.alive():
            tasks = [
                asyncio.create_task(house.bridge.run(), name="bridge under test"),
                asyncio.create_task(house.judge(), name="judge"),
            ]
            try:
                yield house
                for task in tasks:
                    assert not task.done(), task.exception() if not task.cancelled() else "it was cancelled"
            finally:
                house.heal()
                for task in tasks[::-1]:
                    task.cancel()
                    await asyncio.wait([task])
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


@contextmanager
def _logged(handler: logging.Handler) -> Iterator[None]:
    """The bridge's own records of INFO and above go to the handler and nowhere else."""
    logger = logging.getLogger("navibridge")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def live(story: Callable[[Path], Coroutine[Any, Any, T]]) -> T:
    """Tell a story in virtual time. Its directory is in memory where there is such a place: each of a thousand times a
    day that something is kept would wait for the disk."""
    memory = Path("/dev/shm")  # noqa: S108 - what is made there has a name of its own
    chance = random.getstate()
    try:
        with tempfile.TemporaryDirectory(
            prefix="navibridge-lifetime-", dir=memory if memory.is_dir() else None
        ) as directory:
            return virtual.run(story(Path(directory)))
    except ExceptionGroup as errors:
        raise _first(errors) from errors
    finally:
        random.setstate(chance)


def _first(error: Exception) -> Exception:
    """The first of what went wrong, out of its groups."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
