"""What shows only in numbers: thousands of commands, hundreds of reconnects and kills; days, see `faults.long_life`."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aiomqtt
import orjson
from faults.canaries import canaries
from faults.long_life import days_twice, quiet_logs, sixty_days, week_without_broker
from support.belongings import Belongings, tasks
from support.oracle import login
from support.plants import ATTRIBUTE
from support.scene import ACCOUNT, TIMING, Scene, scene

from navibridge.backoff import Backoff
from navibridge.errors import counted
from navibridge.publisher import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

TTL = 10.0
SHORT_TTL = 1.0
"""Of commands to the first device, which gets one in an outage that outlasts it alone: no newer one supersedes it."""
NEVER_SENT = ("rejected", "superseded", "expired")
LATENESS = 0.5
"""Seconds that a control may be on its way to a device; it has left the house in time."""


# --- chaos ------------------------------------------------------------------------------------------------------------


@dataclass
class Sent:
    """One command of the chaos, and its verdicts."""

    name: str
    device: str
    value: float
    at: float
    ttl: float
    verdicts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def understood(self) -> float:
        """The value on the device's own grid."""
        return float(self.verdicts[0]["changes"][ATTRIBUTE])


class Chaos:
    """Commands to every device while everything around them breaks and heals.

    Args:
        made: the scene; its bridge runs.
        number: how many commands.
        chance: what happens when.
    """

    def __init__(self, made: Scene, number: int, chance: random.Random) -> None:
        self.sent: list[Sent] = []
        self._made = made
        self._number = number
        self._chance = chance
        self._gate = asyncio.Event()
        self._gate.set()
        self._sending = asyncio.Lock()
        self._numbers: Counter[str] = Counter()
        self._cuts = 0
        self._outlasted = False
        self._faults: tuple[Callable[[], Awaitable[None]], ...] = (
            self._cut_cloud,
            self._close_iot,
            self._outlast,
            self._cut_lan,
            lambda: self._device("drop_acks", value=True),
            lambda: self._device("late_acks", value=chance.uniform(0.1, 2.5)),
            lambda: self._device("double_acks", value=True),
            lambda: self._device("contradict_acks", value=True),
            lambda: self._device("duplicate", value=True),
            lambda: self._device("garbled", value=True),
            lambda: self._device("silent", value=True),
            lambda: self._device("offline", value=True),
        )

    async def run(self) -> None:
        """All of it; whatever was promised and not kept is raised."""
        breaking = asyncio.create_task(self._break_things(), name="chaos")
        try:
            await self._send_all()
        finally:
            breaking.cancel()
            [ended] = await asyncio.gather(breaking, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended
        await self._heal()
        await self._judge()

    async def _break_things(self) -> None:
        await self._outlast()
        while True:
            await self._chance.choice(self._faults)()
            await asyncio.sleep(self._chance.uniform(0.0, 0.3))  # chaos is about time

    async def _cut_cloud(self) -> None:
        self._made.cloud.drop_all()

    async def _close_iot(self) -> None:
        await self._made.iot.close()
        await asyncio.sleep(self._chance.uniform(0.1, 1.5))
        await self._made.iot.open()

    async def _outlast(self) -> None:
        """An outage in which a command's time is over."""
        await self._made.iot.close()
        self._outlasted = True
        await asyncio.sleep(2.5 * SHORT_TTL)
        await self._made.iot.open()

    async def _device(self, name: str, value: Any) -> None:
        faults = self._made.plant.faults(self._chance.choice(self._made.plant.devices))
        usual = getattr(faults, name)
        setattr(faults, name, value)
        try:
            await asyncio.sleep(self._chance.uniform(0.1, 0.8))
        finally:
            setattr(faults, name, usual)

    async def _cut_lan(self) -> None:
        async with self._all_taken_in():
            self._cuts += 1
            self._made.lan.cut()

    @asynccontextmanager
    async def _all_taken_in(self) -> AsyncIterator[None]:
        """No command is under way to the bridge inside: one that gets lost before, nobody can have a verdict on."""
        made = self._made
        self._gate.clear()
        try:
            async with self._sending:
                await self._through(made)
                begin = time.monotonic()
                yield
                await made.reach(lambda: self._online_since(begin), 15, "not back")
        finally:
            self._gate.set()

    def _online_since(self, begin: float) -> bool:
        consumer = self._made.consumer
        return consumer.arrived["navibridge/bridge/state"] > begin and consumer.says("bridge/state") == "online"

    async def _through(self, made: Scene) -> None:
        """Wait for an answer of the bridge: what was published before it has been taken in."""
        before = made.consumer.arrived.get("navibridge/bridge/response/info", 0.0)
        for _ in range(10):
            with suppress(aiomqtt.MqttError):
                await made.publish("navibridge/bridge/request/info", b"")
            with suppress(AssertionError):
                await made.reach(
                    lambda: made.consumer.arrived.get("navibridge/bridge/response/info", 0.0) > before, 3, "no answer"
                )
                return
        raise AssertionError("the bridge does not answer")

    async def _send_all(self) -> None:
        made = self._made
        while len(self.sent) < self._number:
            await self._gate.wait()
            with suppress(aiomqtt.MqttError):
                async with aiomqtt.Client(made.mosquitto.host, made.mosquitto.port, **login(made.mosquitto)) as client:
                    while self._gate.is_set() and len(self.sent) < self._number:
                        async with self._sending:
                            await self._send(client)
                        await asyncio.sleep(self._chance.uniform(0.0, 0.02))

    async def _send(self, client: aiomqtt.Client) -> None:
        made = self._made
        number, devices = len(self.sent), made.plant.devices
        if self._outlasted:
            self._outlasted, device, ttl = False, devices[0], SHORT_TTL
        else:
            device, ttl = devices[1 + number % (len(devices) - 1)], TTL
        value = made.plant.value(self._numbers[device])
        self._numbers[device] += 1
        command = Sent(f"chaos {number}", device, value, time.monotonic(), ttl)
        self.sent.append(command)
        payload = orjson.dumps({ATTRIBUTE: value, "id": command.name, "ttl": ttl})
        await client.publish(f"navibridge/{device}/set", payload, qos=1)

    async def _heal(self) -> None:
        made = self._made
        await made.iot.open()
        await made.shown(30)

    async def _judge(self) -> None:
        made = self._made
        by_name = {command.name: command for command in self.sent}

        def told() -> bool:
            return by_name.keys() <= {result["id"] for result in made.consumer.verdicts}

        with suppress(AssertionError):
            await made.reach(told, 40, "not told")
        for result in made.consumer.verdicts:
            if result["id"] in by_name:
                by_name[result["id"]].verdicts.append(result)
        without = [command.name for command in self.sent if not command.verdicts]
        assert not without, f"{len(without)} of {len(self.sent)} commands have no verdict: {without[:5]}"
        # With quality of service 1, what was not acknowledged is sent again as it was.
        several = [command for command in self.sent if any(other != command.verdicts[0] for other in command.verdicts)]
        assert not several, f"{len(several)} commands have several verdicts: {several[0]}"
        again = sum(len(command.verdicts) - 1 for command in self.sent)
        assert again <= AT_ONCE * self._cuts, f"{again} verdicts came twice, with {self._cuts} cuts of the line"
        self._judge_effects()
        await made.reach(self._true, 15, "what is shown is not what the devices are")

    def _judge_effects(self) -> None:
        """Every control that arrived is one command's, in their order, none twice, none too late."""
        made = self._made
        for device in made.plant.devices:
            commands = [
                command
                for command in self.sent
                if command.device == device and command.verdicts[0]["verdict"] not in NEVER_SENT
            ]
            place = len(commands)
            for at, value in reversed(made.plant.controls(device)):
                place -= 1
                while place >= 0 and (abs(commands[place].understood - value) > 0.3 or commands[place].at > at):
                    place -= 1
                assert place >= 0, f"{device} was set to {value} once more than was asked for, or out of order"
                late = at - commands[place].at
                assert late <= commands[place].ttl + LATENESS, (
                    f"{device} was set to {value} {late:.1f} s after it was asked for"
                )

    def _true(self) -> bool:
        made = self._made
        for device, values in made.plant.truth().items():
            state = made.consumer.shows(ACCOUNT, device)
            if state is None or abs((state[ATTRIBUTE] or 0.0) - values[ATTRIBUTE]) > 0.3:
                return False
        return True


async def chaos(directory: Path, commands: int, vendor: str = "navilink", *, seed: int = 1) -> str:
    """That many commands to a vendor's devices under random faults."""
    sections = {"commands": {"spacing": 0.1, "timeout": 1.0, "ttl": TTL}}
    broker = {"extra": ("max_queued_messages 100000",)}
    async with scene(directory, vendor=vendor, devices=10, sections=sections, broker=broker, stale_after=6.0) as made:
        made.turning = False
        made.start()
        await made.shown()
        play = Chaos(made, commands, random.Random(seed))
        await play.run()
        verdicts = Counter(command.verdicts[0]["verdict"] for command in play.sent)
        assert verdicts["expired"], "no command's time was over"
        repeated = sum(len(command.verdicts) - 1 for command in play.sent)
    words = ", ".join(f"{number} {word}" for word, number in sorted(verdicts.items()))
    return f"{commands} commands: {words}; {repeated} verdicts came twice word for word"


# --- kills ------------------------------------------------------------------------------------------------------------


async def kills(directory: Path, number: int, *, seed: int = 1) -> str:
    """Kill the program at random moments, again and again, and count what its restarts cost."""
    chance = random.Random(seed)
    async with scene(directory, stale_after=30.0) as made:
        del made.sections["accounts"][ACCOUNT]["sign_ins"]
        for _ in range(number):
            made.start_program()
            await asyncio.sleep(chance.uniform(0.1, 2.5))
            await made.end_program(signal.SIGKILL)
        made.start_program()
        await made.shown(90)
        sign_ins, requests = made.plant.sign_ins(), len(made.plant.simulator.requests)
        assert sign_ins <= 4, f"{sign_ins} sign-ins"
        assert requests <= 20 + 2 * number, f"{requests} requests"
        assert not made.oracle.lies, made.oracle.lies[0]
    return f"{number} kills at random moments: {counted(sign_ins, 'sign-in')}, {counted(requests, 'request')}"


async def impatient_kills(directory: Path, number: int) -> str:
    """The same with a state directory that keeps nothing but the book: each start would have to sign in."""
    async with scene(directory, stale_after=30.0, options={"credential_seconds": 1}) as made:
        del made.sections["accounts"][ACCOUNT]["sign_ins"]
        for _ in range(number):
            made.start_program()
            with suppress(AssertionError):
                await made.reach(lambda: made.consumer.document(f"bridge/account/{ACCOUNT}/state"), 5, "silent")
            await asyncio.sleep(1.2)  # by then the credentials have expired
            await made.end_program(signal.SIGKILL)
        sign_ins = made.plant.sign_ins()
        assert sign_ins <= 4, f"{sign_ins} sign-ins"
    return f"{number} kills, credentials expired each time: {counted(sign_ins, 'sign-in')}"


# --- reconnects -------------------------------------------------------------------------------------------------------


async def reconnects(directory: Path, number: int) -> str:
    """Cut the link to the cloud that often, and the line to the broker each tenth time; nothing may be left over."""
    quick = Backoff(first_wait=0.02, longest_wait=0.05, stable_after=0.0)
    timing = replace(TIMING, account_retry=quick, broker_retry=quick)
    async with scene(directory, timing=timing) as made:
        made.start()
        await made.shown()
        assert made.bridge is not None
        account = made.bridge.accounts[ACCOUNT]

        async def cut(times: int) -> None:
            for turn in range(times):
                up = account.reconnects
                made.cloud.drop_all()
                if turn % 10 == 0:
                    made.lan.cut()
                await made.reach(lambda: account.reconnects > up and account.up.is_set(), 20, "not back")  # noqa: B023 - called at once
            await made.shown()

        await cut(max(10, number // 5))
        before = await _settled(lambda: False)
        await cut(number)
        after = await _settled(lambda: tasks() <= before.tasks and Belongings.now().descriptors <= before.descriptors)
        assert after.tasks <= before.tasks, f"{before} became {after}"
        assert after.descriptors <= before.descriptors, f"{before} became {after}"
        assert after.threads <= before.threads, f"{before} became {after}"
        grown = after.resident - before.resident
        assert grown < 3 + number * 0.02, f"{grown:.1f} MB more"
        assert made.plant.sign_ins() == 1
    return (
        f"{number} reconnects: tasks {before.tasks.total()} -> {after.tasks.total()}, "
        f"descriptors {before.descriptors} -> {after.descriptors}, "
        f"threads {before.threads} -> {after.threads}, memory {grown:+.1f} MB"
    )


async def _settled(condition: Callable[[], bool]) -> Belongings:
    """What is held once everything that is on its way out has left."""
    for _ in range(50):
        await asyncio.sleep(0.1)  # what leaves, takes its time, and tells nobody
        if condition():
            break
    return Belongings.now()


SHORT: dict[str, Callable[[Path], Awaitable[str]]] = {
    "chaos": lambda directory: chaos(directory, 600),
    "chaos, mysa": lambda directory: chaos(directory, 600, "mysa"),
    "kills": lambda directory: kills(directory, 3),
    "reconnects": lambda directory: reconnects(directory, 15),
    "days of misfortunes": lambda _: days_twice(3),
    "quiet logs": lambda _: quiet_logs(4),
    "week without a broker": lambda _: week_without_broker(1),
    "canaries": canaries,
}
LONG: dict[str, Callable[[Path], Awaitable[str]]] = {
    "chaos": lambda directory: chaos(directory, 10_000),
    "chaos, mysa": lambda directory: chaos(directory, 10_000, "mysa"),
    "kills": lambda directory: kills(directory, 100),
    "kills, credentials expired": lambda directory: impatient_kills(directory, 12),
    "reconnects": lambda directory: reconnects(directory, 200),
    "sixty days of misfortunes": lambda _: sixty_days(),
    "quiet logs": lambda _: quiet_logs(),
    "week without a broker": lambda _: week_without_broker(),
    "canaries": canaries,
}
