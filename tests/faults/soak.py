"""A long time in a short one: the real parts for an hour or more, with faults at random, and a row of figures each few
seconds: `make soak MINUTES=60`.

Real are Mosquitto, the AWS runtime, aiomqtt, aiohttp and every socket; simulated are the clouds and the devices, within
this process. At the end it says what has grown, and fails when something is left over or a device is not live.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import logging
import random
import sys
import tempfile
import time
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

sys.path.insert(0, str(Path(__file__).parent.parent))

import aiomqtt
import orjson
from support.belongings import Belongings
from support.lifetime import make_forgetful
from support.mosquitto import Mosquitto
from support.oracle import Consumer
from support.relay import Relay
from support.scene import TIMING

from navibridge import config, vendors
from navibridge.bridge import Bridge
from navibridge.demo.cloud import SimulatedCloud
from navibridge.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

EVERY: Final = 5.0
"""Seconds between two rows."""

POLL: Final = 2.0
STALE_AFTER: Final = 10.0
"""Seconds; a real house has more of them. With few, the fuse of `navibridge.usage` would blow within the hour."""

PACE: Final = 5.0
"""How many times as fast the accounts wait. Faults come so often here that a link hardly ever stands for a minute, and
the back-off would grow to two; in a real house thermostats are live by REST meanwhile, here that is too slow for it."""

LIVE_AGAIN: Final = 60.0
"""Seconds after a fault by which every device has to be live; some wait for half a minute, whatever the pace."""

LEFT_OVER: Final = 60.0
"""Seconds that what is on its way out has, in the end."""

WARM_UP: Final = 0.2
LONGEST_WARM_UP: Final = 600.0
"""Part of the time, and seconds at most, in which memory may grow: tables fill, and the allocator finds its size."""

GROWTH: Final = 5.0
"""MB by which the line through all later rows may rise, whatever the time."""

COLUMNS: Final = (
    "seconds",
    "resident_mb",
    "descriptors",
    "tasks",
    "threads",
    "reconnects",
    "faults",
    "current_fault",
)


@dataclass
class Soak:
    """What stands for an hour.

    Attributes:
        cloud: both vendors'.
        mosquitto: the broker.
        lan: the line to it.
        rest: the line to the REST services.
        iot: the line to AWS IoT.
        consumer: what somebody at the broker sees.
        bridge: it.
        simulators: by account.
        chance: decides.
        faults: how many there were.
        fault: the one that is.
        complaints: what was not as it should be.
        rows: seconds and MB at moments without a fault.
    """

    cloud: SimulatedCloud
    mosquitto: Mosquitto
    lan: Relay
    rest: Relay
    iot: Relay
    consumer: Consumer
    bridge: Bridge
    simulators: dict[str, Any]
    chance: random.Random
    faults: int = 0
    fault: str = ""
    complaints: list[str] = field(default_factory=list)
    rows: list[tuple[float, float]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def devices(self) -> list[tuple[str, str]]:
        """Account and topic of each."""
        heaters, thermostats = self.simulators["home"], self.simulators["cabin"]
        return [
            *(("home", f"navilink_{mac}") for mac in heaters.devices),
            *(("cabin", f"mysa_{device_id}") for device_id in thermostats.thermostats),
        ]

    def dead(self) -> list[str]:
        """The devices that are not shown as live."""
        return [topic for account, topic in self.devices if self.consumer.shows(account, topic) is None]

    async def alive(self, limit: float, what: str) -> None:
        """Wait until every device is live; complain when that takes too long."""
        began = time.monotonic()
        while dead := self.dead():
            if time.monotonic() - began > limit:
                accounts = [f"{name} {account.state.document()}" for name, account in self.bridge.accounts.items()]
                self.complaints.append(
                    f"at {self.seconds:.0f} s, {limit:.0f} s after {what}, is not live: {', '.join(dead)}; accounts: "
                    + "; ".join(accounts)
                )
                return
            await asyncio.sleep(0.1)

    def row(self) -> list[object]:
        """The figures of this moment."""
        now = Belongings.now()
        if not self.fault:
            self.rows.append((self.seconds, now.resident))
        reconnects = sum(max(0, account.reconnects) for account in self.bridge.accounts.values())
        return [
            round(self.seconds, 1),
            round(now.resident, 2),
            now.descriptors,
            now.tasks.total(),
            now.threads,
            reconnects + self.bridge.metrics.group("broker").get("connects", 0) - 1,
            self.faults,
            self.fault,
        ]

    # -- faults --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _closed(self, line: Relay) -> AsyncIterator[None]:
        await line.close()
        try:
            yield
        finally:
            await line.open()

    @asynccontextmanager
    async def _frozen(self, line: Relay) -> AsyncIterator[None]:
        line.freeze()
        try:
            yield
        finally:
            line.thaw()

    @asynccontextmanager
    async def _set(self, thing: Any, **values: Any) -> AsyncIterator[None]:
        """Attributes have other values for a while."""
        usual = {name: getattr(thing, name) for name in values}
        for name, value in values.items():
            setattr(thing, name, value)
        try:
            yield
        finally:
            for name, value in usual.items():
                setattr(thing, name, value)

    @asynccontextmanager
    async def _flapping(self, line: Relay) -> AsyncIterator[None]:
        async with self._set(line, lifetime=0.5):
            line.cut()
            yield
        line.cut()

    @asynccontextmanager
    async def _stopped(self) -> AsyncIterator[None]:
        await self.mosquitto.stop()
        try:
            yield
        finally:
            await self.mosquitto.start()

    @asynccontextmanager
    async def _unplugged(self) -> AsyncIterator[None]:
        account, topic = self.chance.choice(self.devices)
        simulator, device_id = self.simulators[account], topic.partition("_")[2]
        simulator.unplug(device_id)
        try:
            yield
        finally:
            simulator.plug_in(device_id)

    @asynccontextmanager
    async def _once(self, happens: Callable[[], object]) -> AsyncIterator[None]:
        happens()
        yield

    def _forget_tokens(self) -> None:
        for simulator in self.simulators.values():
            for account in simulator.accounts.values():
                simulator.revoke_tokens(account)
                simulator.revoke_credentials(account)
        self.cloud.drop_all()

    async def befall(self, length: float) -> None:
        """One fault, for that many seconds, and what comes after it."""
        faults = self.cloud.faults
        self.fault, context = self.chance.choice(
            (
                ("REST refused", lambda: self._closed(self.rest)),
                ("REST silent", lambda: self._frozen(self.rest)),
                ("REST 502", lambda: self._set(faults, rest_status=502)),
                ("IoT refused", lambda: self._closed(self.iot)),
                ("IoT silent", lambda: self._frozen(self.iot)),
                ("IoT flapping", lambda: self._flapping(self.iot)),
                ("upgrade 503", lambda: self._set(faults, refuse_upgrade=503)),
                ("links cut", lambda: self._once(self.cloud.drop_all)),
                ("tokens revoked", lambda: self._once(self._forget_tokens)),
                ("broker refused", lambda: self._closed(self.lan)),
                ("broker silent", lambda: self._frozen(self.lan)),
                ("broker flapping", lambda: self._flapping(self.lan)),
                ("broker restarted empty", self._stopped),
                ("device unplugged", self._unplugged),
            )
        )
        self.faults += 1
        async with context():
            await asyncio.sleep(length)
        await self.alive(LIVE_AGAIN, f"{self.fault} for {length:.0f} s")
        for line in (self.lan, self.rest, self.iot):
            line.bury()
        self.fault = ""

    async def command(self) -> None:
        """Somebody sets a device now and then; a command that is lost with a line is nobody's fault."""
        while True:
            await asyncio.sleep(self.chance.uniform(2, 10))
            _, topic = self.chance.choice(self.devices)
            payload = orjson.dumps({"target_temperature": 42.0 + self.chance.randrange(10)})
            with suppress(aiomqtt.MqttError, TimeoutError):
                async with aiomqtt.Client(self.mosquitto.host, self.mosquitto.port, timeout=5) as client:
                    await client.publish(f"navibridge/{topic}/set", payload, qos=1)

    async def befall_all(self, until: float) -> None:
        """One after the other, with moments of rest."""
        while self.seconds < until:
            await asyncio.sleep(self.chance.uniform(2, 15))
            await self.befall(self.chance.choice((0.2, 2.0, 5.0, 15.0, 30.0)))

    # -- the end -------------------------------------------------------------------------------------------------

    async def judge(self, before: Belongings) -> Belongings:
        """Complain of what is left over, and of memory that grows; what is held in the end."""
        end = time.monotonic() + LEFT_OVER
        while time.monotonic() < end:
            now = Belongings.now()
            if now.tasks <= before.tasks and now.descriptors <= before.descriptors:
                break
            await asyncio.sleep(0.5)
        if more := now.tasks - before.tasks:
            self.complaints.append(f"tasks are left over: {dict(more)}")
        if now.descriptors > before.descriptors:
            self.complaints.append(f"descriptors are left over: {before.descriptors} became {now.descriptors}")
        if now.threads > before.threads:
            self.complaints.append(f"threads are left over: {before.threads} became {now.threads}")
        if (grown := rise(warm(self.rows))) > GROWTH:
            self.complaints.append(f"memory grows: {grown:.1f} MB")
        return now


def warm(rows: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The rows, of seconds and MB, after the warm-up."""
    warm_up = min(WARM_UP * rows[-1][0], LONGEST_WARM_UP)
    return [(seconds, resident) for seconds, resident in rows if seconds >= warm_up]


def rise(rows: Sequence[tuple[float, float]]) -> float:
    """By how many MB the straight line through the rows rises (least squares): a peak in a row is no growth."""
    middle = sum(seconds for seconds, _ in rows) / len(rows)
    level = sum(resident for _, resident in rows) / len(rows)
    spread = sum((seconds - middle) ** 2 for seconds, _ in rows)
    if not spread:
        return 0.0
    slope = sum((seconds - middle) * (resident - level) for seconds, resident in rows) / spread
    return slope * (rows[-1][0] - rows[0][0])


@asynccontextmanager
async def standing(directory: Path, chance: random.Random) -> AsyncIterator[Soak]:
    """Everything, with a bridge that has been started."""
    heaters: Any = vendors.load("navilink").simulator(2, dialects=("json", "binary"), control_interval=0.0)
    thermostats: Any = vendors.load("mysa").simulator(3)
    make_forgetful(heaters, thermostats)
    simulators = {"home": heaters, "cabin": thermostats}
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(SimulatedCloud((heaters, thermostats)))
        mosquitto = Mosquitto(directory / "mosquitto")
        stack.push_async_callback(mosquitto.stop)
        await mosquitto.start()
        lan = await stack.enter_async_context(Relay(lambda: (mosquitto.host, mosquitto.port)))
        rest = await stack.enter_async_context(Relay(lambda: (cloud.host, cloud.port)))
        iot = await stack.enter_async_context(Relay(lambda: (cloud.host, cloud.port)))
        accounts = {
            name: simulator.account(cloud.host, rest.port, cloud.ca_file) | {"iot_port": iot.port, "sign_ins": 60}
            for name, simulator in simulators.items()
        }
        sections = {
            "broker": {"host": mosquitto.host, "port": lan.port, "keepalive": 5},
            "commands": {"spacing": 0.25, "timeout": 1.5, "ttl": 10},
            "accounts": accounts,
            "state_dir": str(directory / "state"),
        }
        checked = config.build(sections, vendors=lambda name: vendors.load(name).Settings, vendor_names=vendors.names())
        scaled = {
            name: settings.model_copy(update={"poll_interval": POLL, "keep_alive": 5})
            for name, settings in checked.accounts.items()
        }
        settings = checked.model_copy(update={"stale_after": STALE_AFTER, "accounts": scaled})
        bridge = Bridge(settings, Store(directory / "state"), timing=replace(TIMING, pace=PACE))
        consumer = Consumer(mosquitto)
        consumer.seen = deque(maxlen=0)
        consumer.verdicts = deque(maxlen=0)
        running = [
            asyncio.create_task(consumer.run(), name="consumer"),
            asyncio.create_task(bridge.run(), name="bridge under test"),
        ]
        try:
            yield Soak(cloud, mosquitto, lan, rest, iot, consumer, bridge, simulators, chance)
            for task in running:
                assert not task.done(), f"{task.get_name()} has ended by itself"
        finally:
            for task in running[::-1]:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def soak(minutes: float, table: TextIO, *, seed: int = 1, say: Callable[[str], object] = print) -> list[str]:
    """Let it stand, with faults; what there is to complain of.

    Args:
        minutes: how long.
        table: gets the rows.
        seed: of the faults.
        say: gets a few lines in the end.
    """
    rows = csv.writer(table)
    rows.writerow(COLUMNS)
    with tempfile.TemporaryDirectory(prefix="navibridge-soak-") as directory:
        async with standing(Path(directory), random.Random(seed)) as made:

            async def write() -> None:
                while True:
                    rows.writerow(made.row())
                    table.flush()
                    await asyncio.sleep(EVERY)

            await made.alive(LIVE_AGAIN, "the start")
            await asyncio.sleep(EVERY)
            before = Belongings.now()
            living = [asyncio.create_task(write(), name="table"), asyncio.create_task(made.command(), name="commands")]
            try:
                await made.befall_all(60 * minutes)
            finally:
                for task in living:
                    task.cancel()
                ended = await asyncio.gather(*living, return_exceptions=True)
            made.complaints += [f"unexpected {error!r}" for error in ended if isinstance(error, Exception)]
            await made.alive(LIVE_AGAIN, "everything")
            after = await made.judge(before)
            _tell(made, before, after, say)
            return made.complaints


def _tell(made: Soak, before: Belongings, after: Belongings, say: Callable[[str], object]) -> None:
    reconnects, rows = made.row()[COLUMNS.index("reconnects")], warm(made.rows)
    say(f"{made.seconds / 60:.1f} minutes, {made.faults} faults, {reconnects} reconnects")
    say(
        f"tasks {before.tasks.total()} -> {after.tasks.total()}, descriptors {before.descriptors} -> "
        f"{after.descriptors}, threads {before.threads} -> {after.threads}"
    )
    say(
        f"memory {before.resident:.1f} -> {after.resident:.1f} MB; after the warm-up {rise(rows):+.1f} MB over "
        f"{len(rows)} rows (at most {GROWTH:+.1f})"
    )
    for complaint in made.complaints:
        say(f"BROKEN: {complaint}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name in ("navibridge", "mqtt"):  # what is broken on purpose is no news
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with given.csv.open("w", newline="", encoding="utf-8") as table:
        return 1 if asyncio.run(soak(given.minutes, table, seed=given.seed)) else 0


if __name__ == "__main__":
    sys.exit(main())
