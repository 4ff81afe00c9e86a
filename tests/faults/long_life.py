"""What shows only after days, lived through in virtual time: sixty of misfortunes, quiet logs, a week without a broker.

sixty days           one misfortune after the other, and nobody intervenes; the promises are kept all the time
quiet logs           how many lines an ordinary day and a day-long outage of each sort are worth
week without broker  frames come, ever new ones among them, and nobody can be told; nothing grows
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson
from support.advice import says_what_to_do
from support.belongings import Belongings, tasks
from support.lifetime import DAY, LIVE_AGAIN, POLL, STALE_AFTER, lifetime, live

from navibridge.budget import BUDGET_PERIOD
from navibridge.log import Redactor, forwarded
from navibridge.publisher import KEPT_LOG_LINES, KEPT_RESULTS
from navibridge.state import MOST_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.lifetime import Lifetime

HOUR: Final = 3600.0

WHERE: Final = ("rest", "iot", "cloud", "broker", "all")
HOW: Final = ("refused", "unreachable", "silent", "service")
LENGTHS: Final = (5.0, 40.0, 300.0, 900.0, HOUR, 3 * HOUR, 6 * HOUR, DAY)

ALLOWED: Final = 4
"""Sign-ins within `BUDGET_PERIOD`, as configured by default."""

SIGN_INS: Final = {"home": 3.0, "cabin": 0.5}
"""Most sign-ins a day, on average. NaviLink's grant the credentials for the link, which last an hour: each reconnect
costs one, and so does each hour in which only the link can not be had. Mysa's last until somebody revokes them."""

MOST_FILES: Final = 10
LARGEST_FILE: Final = 32_000
"""What the bridge keeps in its directory, for two accounts."""

BLOCKS: Final = 20_000
"""Blocks of memory, some 70 bytes each, that may be more after months than after five days. Most of them belong to the
simulated clouds, which remember the tokens of the last weeks."""

MEGABYTES: Final = 6.0
"""The same as the system counts it, which is in pages, and never gets all of them back."""

STEADY: Final = 20
OUTAGE: Final = 60
"""Lines of INFO and above in an ordinary day, and in one that is nothing but an outage, its end included."""


# --- sixty days -------------------------------------------------------------------------------------------------------


class Story:
    """What befalls a house.

    Args:
        house: whom.
        chance: decides.

    Attributes:
        slowest: seconds after which everything was live again, and after what.
        misfortunes: how many there were.
    """

    def __init__(self, house: Lifetime, chance: random.Random) -> None:
        self.slowest = (0.0, "the start")
        self.misfortunes = 0
        self._house = house
        self._chance = chance
        self._deck = self._shuffled()

    async def tell(self, until: float) -> None:
        """One misfortune after the other, while everybody lives on."""
        house = self._house
        async with asyncio.TaskGroup() as group:
            living = [group.create_task(task) for task in (self._turn(), self._command(), self._start_anew())]
            while (pause := self._chance.uniform(2, 16) * HOUR) + house.now < until:
                await asyncio.sleep(pause)
                where, how = next(self._deck)
                length = self._chance.choice(LENGTHS) * self._chance.uniform(0.8, 1.2)
                await self._suffer(where, how, min(length, max(5.0, until - house.now)))
            await asyncio.sleep(max(0.0, until - house.now))
            for task in living:
                task.cancel()

    def _shuffled(self) -> Iterator[tuple[str, str]]:
        """Each misfortune once, in any order; then all again."""
        cards = [(where, how) for where in WHERE for how in HOW]
        cards += [("broker", "cut"), ("broker", "restart"), ("iot", "cut"), ("rest", "tokens")]
        cards += [("device", "unplugged"), ("device", "silent")] * 2
        while True:
            self._chance.shuffle(cards)
            yield from cards

    async def _suffer(self, where: str, how: Any, length: float) -> None:
        house, limit = self._house, LIVE_AGAIN
        self.misfortunes += 1
        match (where, how):
            case ("device", _):
                await self._lose_device(how, length)
                limit += POLL
            case ("broker", "cut"):
                house.local.cut()
            case ("broker", "restart"):
                house.restart_broker()
            case ("iot", "cut"):
                house.clouds.cut()
            case ("rest", "tokens"):
                for devices in house.accounts.values():
                    devices.forget_tokens()
            case _:
                house.break_(where, how)
                await asyncio.sleep(length)
                noticed = where == "rest" or length < HOUR / 2 or not house.live()
                assert noticed, f"{where} {how} for {length:.0f} s, and nobody notices"
                house.heal()
        took = await house.alive(limit, f"{where} {how} for {length:.0f} s")
        self.slowest = max(self.slowest, (took, f"{where} {how}"))

    async def _lose_device(self, how: str, length: float) -> None:
        house = self._house
        topic = self._chance.choice(house.topics)
        devices = house.devices_of(topic)
        lose, bring_back = {
            "unplugged": (devices.unplug, devices.plug_in),
            "silent": (devices.silence, partial(devices.silence, silent=False)),
        }[how]
        lose(topic)
        await asyncio.sleep(length)
        assert length < STALE_AFTER + POLL or not house.shown(topic), f"{topic} was {how}, and is shown"
        bring_back(topic)

    async def _turn(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(600, 1800))
            self._house.turn()

    async def _command(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(1, 6) * HOUR)
            for _ in range(self._chance.choice((1, 1, 3))):
                self._house.command(self._chance.choice(self._house.topics))

    async def _start_anew(self) -> None:
        """Home Assistant starts anew now and then, and is told everything."""
        house = self._house
        while True:
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) * DAY)
            at, alive = house.now, house.live()
            house.birth()
            await asyncio.sleep(2)
            for topic in house.topics if alive and house.live() else ():
                assert house.heard[f"navibridge/{topic}/state"] > at, f"{topic} is not told again"


async def _days(directory: Path, number: int, seed: int) -> tuple[str, str]:
    """What came of that many days, and the digest of everything that was said in them."""
    async with lifetime(directory, seed=seed) as house:
        await house.alive()
        story = Story(house, random.Random(seed))
        first: Belongings | None = None
        early = now = Belongings.now()
        for day in range(1, number + 1):
            await story.tell(day * DAY)
            await house.alive(LIVE_AGAIN + POLL, f"day {day}")
            now = await _at_rest(first)
            first = first or now
            if day <= 5:
                early = now
            house.settle(older=2 * DAY)
            _check_files(directory)
            assert not house.lies, house.lies[:3]
        await asyncio.sleep(300)
        house.settle()
        sign_ins = _check_sign_ins(house, number)
        _check_warnings(house)
        blocks, grown = now.blocks - early.blocks, now.resident - early.resident
        assert blocks < BLOCKS, f"{blocks} blocks of memory more"
        assert grown < MEGABYTES, f"{grown:.1f} MB more"
        lines = [len(house.lines.between(day * DAY, day * DAY + DAY)) for day in range(number)]
        assert max(lines) <= 2 * OUTAGE, f"{max(lines)} lines in a day"
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(house.settled.items()))
        told = (
            f"{number} days, {story.misfortunes} misfortunes: all live again after {story.slowest[0]:.0f} s at most"
            f" ({story.slowest[1]}); {sign_ins}; commands {verdicts}; tasks {now.tasks.total()}, blocks {blocks:+},"
            f" memory {grown:+.1f} MB; {max(lines)} lines a day at most"
        )
        return told, house.transcript


async def _at_rest(first: Belongings | None) -> Belongings:
    """What is held at a moment at which there is no task that was not there on the first evening."""
    for _ in range(600):
        if first is None or tasks() <= first.tasks:
            return Belongings.now()
        await asyncio.sleep(1)
    assert first is not None
    raise AssertionError(f"tasks are left over: {tasks() - first.tasks}")


def _check_files(directory: Path) -> None:
    files = {path.name: path.stat().st_size for path in directory.rglob("*") if path.is_file()}
    assert len(files) <= MOST_FILES, files
    assert max(files.values()) <= LARGEST_FILE, files


def _check_sign_ins(house: Lifetime, days: int) -> str:
    for name, times in house.sign_ins.items():
        crowd = max(sum(at - BUDGET_PERIOD < other <= at for other in times) for at in times)
        assert crowd <= ALLOWED, f"account {name}: {crowd} sign-ins within {BUDGET_PERIOD:.0f} s"
        assert len(times) <= 5 + days * SIGN_INS[name], f"account {name}: {len(times)} sign-ins"
    return "sign-ins " + ", ".join(f"{name} {len(times)}" for name, times in house.sign_ins.items())


def _check_warnings(house: Lifetime) -> None:
    silent = [text for text in house.lines.warnings if not says_what_to_do(text)]
    assert not silent, f"does not say what to do: {silent[0]}"


async def sixty_days(number: int = 60, *, seed: int = 1) -> str:
    """Live through that many days."""
    told, _ = await asyncio.to_thread(live, partial(_days, number=number, seed=seed))
    return told


async def days_twice(number: int, *, seed: int = 1) -> str:
    """Live through them again, and hear the same, word for word and to the millisecond."""
    told, once = await asyncio.to_thread(live, partial(_days, number=number, seed=seed))
    _, again = await asyncio.to_thread(live, partial(_days, number=number, seed=seed))
    assert once == again, "the same days went otherwise"
    return f"{told}; the same again"


# --- quiet logs -------------------------------------------------------------------------------------------------------


async def _nothing(house: Lifetime) -> None:
    """An ordinary day; its disconnect comes all the same."""
    await asyncio.sleep(DAY)


async def _outage(house: Lifetime, where: str, how: Any) -> None:
    house.break_(where, how)
    await asyncio.sleep(DAY)
    house.heal()


async def _links_flap(house: Lifetime) -> None:
    house.clouds.stands_for = 5.0
    house.clouds.cut()
    await asyncio.sleep(DAY)
    house.clouds.stands_for = DAY
    house.clouds.cut()


async def _everything_flaps(house: Lifetime) -> None:
    end = house.now + DAY
    while house.now < end:
        house.local.cut()
        house.clouds.cut()
        await asyncio.sleep(30)


async def _device_flaps(house: Lifetime) -> None:
    for _ in range(round(DAY / 600)):
        for change in ("unplug", "plug_in"):
            for topic in house.topics:
                getattr(house.devices_of(topic), change)(topic)
            await asyncio.sleep(300)


BAD_DAYS: Final = {
    "cloud refused": partial(_outage, where="cloud", how="refused"),
    "REST 502": partial(_outage, where="rest", how="service"),
    "broker away": partial(_outage, where="broker", how="refused"),
    "all refused": partial(_outage, where="all", how="refused"),
    "links flapping": _links_flap,
    "cloud silent": partial(_outage, where="cloud", how="silent"),
    "cloud 502": partial(_outage, where="cloud", how="service"),
    "REST refused": partial(_outage, where="rest", how="refused"),
    "IoT refused": partial(_outage, where="iot", how="refused"),
    "IoT silent": partial(_outage, where="iot", how="silent"),
    "broker silent": partial(_outage, where="broker", how="silent"),
    "all silent": partial(_outage, where="all", how="silent"),
    "links and broker flapping": _everything_flaps,
    "devices flapping": _device_flaps,
}
"""Days of outages, by name; the first four are the short form's."""


async def _quiet(directory: Path, number: int) -> str:
    async with lifetime(directory) as house:
        await house.alive()
        await asyncio.sleep(DAY - house.now)
        counted: dict[str, int] = {}
        for name, day in {"steady": _nothing, **dict(list(BAD_DAYS.items())[:number])}.items():
            began = house.now
            await day(house)
            await house.alive(LIVE_AGAIN + POLL, name)
            await asyncio.sleep(1800)
            lines = house.lines.between(began, house.now)
            allowed = STEADY if name == "steady" else OUTAGE
            common = Counter(line.text[:80] for line in lines).most_common(3)
            assert len(lines) <= allowed, f"{name}: {len(lines)} lines, most of all {common}"
            counted[name] = len(lines)
            await asyncio.sleep(DAY / 4)  # an hour at least between two lines that were one too many
        assert not house.lies, house.lies[:3]
        _check_warnings(house)
    return "lines of the log a day: " + ", ".join(f"{name} {lines}" for name, lines in counted.items())


async def quiet_logs(number: int = len(BAD_DAYS)) -> str:
    """Count the lines of an ordinary day, and of that many bad ones."""
    return await asyncio.to_thread(live, partial(_quiet, number=number))


# --- a week without a broker ------------------------------------------------------------------------------------------


class Novelties:
    """Devices of a new firmware that say something new each time.

    Args:
        house: where they are.
    """

    def __init__(self, house: Lifetime) -> None:
        self._house = house
        self._number = 0

    async def tell(self, until: float) -> None:
        """A new field, a new code and a new message of each device, every five minutes."""
        while self._house.now < until:
            self._number += 1
            for devices in self._house.accounts.values():
                for topic in devices.topics:
                    getattr(self, f"_{devices.simulator.vendor}")(devices.device(topic))
            await asyncio.sleep(POLL)

    def _navilink(self, heater: Any) -> None:
        status = heater._status(0) | {f"new{self._number}": 1, "operationMode": 1000 + self._number}
        frame = orjson.dumps({"clientID": "", "response": {**self._envelope(heater), "status": status}})
        heater._publish(f"cmd/52/{heater.address}/res", frame)

    def _envelope(self, heater: Any) -> dict[str, Any]:
        return {"deviceType": 52, "macAddress": heater.mac, "additionalValue": heater.additional_value}

    def _mysa(self, thermostat: Any) -> None:
        thermostat._say_legacy(0, {f"new{self._number}": 1, "Mode": 1000 + self._number})
        thermostat._say_new(1000 + self._number, {"hello": self._number})


async def _week(directory: Path, days: float) -> str:
    async with lifetime(directory, commands={"ttl": DAY}) as house:
        with forwarded(Redactor(), house.bridge.publish_log):
            logging.getLogger("navibridge").propagate = True  # to where lines are forwarded from
            await house.alive()
            await asyncio.sleep(HOUR)
            house.break_("broker", "refused")
            novelties = Novelties(house)
            await novelties.tell(house.now + days * DAY / 7)  # tables fill
            before, readings = Belongings.now(), house.bridge.metrics.group("bridge")["readings"]
            await novelties.tell(house.now + days * DAY)
            after = Belongings.now()
            told = house.bridge.metrics.group("bridge")["readings"] - readings
            logged, published = len(house.lines.between(HOUR, house.now)), house.published
            house.heal()
            await house.alive()
            caught_up = house.published - published
            assert house.heard["navibridge/bridge/log"] > house.now - LIVE_AGAIN, "no line of the log was forwarded"
            pending = await _too_many_commands(house)
        blocks, grown = after.blocks - before.blocks, after.resident - before.resident
        assert told > days * 2 * DAY / POLL, f"{told} readings: the frames did not come"
        assert blocks < BLOCKS / 4, f"{blocks} blocks of memory more"
        assert grown < MEGABYTES / 2, f"{grown:.1f} MB more"
        assert caught_up < KEPT_RESULTS + KEPT_LOG_LINES, f"{caught_up} messages had piled up"
        assert logged <= 2 * MOST_UNKNOWN + OUTAGE * (days + 1), f"{logged} lines"
        _check_warnings(house)
        assert not house.lies, house.lies[:3]
    return (
        f"{days:g} days without a broker, {told} readings: blocks {blocks:+}, memory {grown:+.1f} MB, {logged} lines, "
        f"{caught_up} messages afterwards; {pending}"
    )


async def _too_many_commands(house: Lifetime) -> str:
    """A day of commands while the clouds are away: few wait, and each gets its one verdict in the end."""
    house.break_("cloud", "refused")
    attributes = ("target_temperature", "mode", "power")
    for _ in range(200):
        for topic in house.topics:
            house.command(topic)
        await asyncio.sleep(60)
    waiting = sum(not order.verdicts for order in house.orders.values())
    assert waiting <= len(house.topics) * len(attributes), f"{waiting} commands wait"
    house.heal()
    await house.alive()
    await asyncio.sleep(300)
    heard = len(house.orders)
    house.settle()
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(house.settled.items()))
    return f"{heard} commands without a cloud, {waiting} of them pending: {verdicts}"


async def week_without_broker(days: float = 7) -> str:
    """A week in which frames arrive, ever new ones among them, and nobody can be told."""
    return await asyncio.to_thread(live, partial(_week, days=days))
