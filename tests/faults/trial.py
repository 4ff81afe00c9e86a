"""Plays one fault through: inject, notice, hold, heal, recover; and says what came of what was promised."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.oracle import Sample
from support.plants import VENDORS
from support.scene import STALE_AFTER, Scene, scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Step = Callable[[Scene], Awaitable[None] | None]
Sign = Callable[[Scene, Sample], bool]
"""How a fault shows."""

Case = tuple["Fault", str]
"""A fault, and the vendor whose devices it befalls."""

AT_ONCE = 8
"""Scenarios that run at the same time; nearly all of their time is waiting."""


def whatever(_: Scene, __: Sample) -> bool:
    """It may show or not; there is nothing to be timed."""
    return True


def account_says(*reasons: str) -> Sign:
    """The account is not online and names one of these reasons; when none is given, that it names any."""

    def sign(_: Scene, sample: Sample) -> bool:
        if not reasons:
            return bool(sample.account.get("reason"))
        away = sample.account.get("state") in ("offline", "needs_attention")
        return away and sample.account.get("reason") in reasons

    return sign


def read_only(_: Scene, sample: Sample) -> bool:
    """The account says that it can be read, and that commands have to wait."""
    return sample.account.get("state") == "online" and sample.account.get("reason") == "no_realtime"


def device_away(made: Scene, sample: Sample) -> bool:
    """The first device is not shown any more."""
    return made.device not in sample.shown


def all_away(_: Scene, sample: Sample) -> bool:
    """Nothing is shown any more."""
    return not sample.shown


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, and what is promised all the same.

    What is promised always: no value is shown as live that has not been true within the declared timeout and one
    second. Besides that:

    Attributes:
        name: what goes wrong.
        promise: what is promised, for people.
        inject: makes it go wrong.
        heal: puts it right; ``None`` for what stays wrong.
        at_start: it is wrong before the bridge starts.
        sign: how it shows; ``None`` for what nobody may notice: all devices stay shown throughout.
        within: seconds after which it has to show at the latest.
        recover: seconds after the healing within which fresh values of every device have to be shown.
        hold: seconds that it stays wrong after it has shown.
        during: what happens meanwhile.
        after: what is looked at in the end.
        others_stay: the other devices are shown all the time.
        devices: how many there are.
        turning: whether somebody keeps turning the devices.
        options: of the scene.
        forgiven: seconds after the healing in which the broker speaks for itself, from its memory of an earlier moment;
            nobody but the broker could do anything about it.
        busy: it keeps the processor busy, so that others at the same time would be late.
        slow: it is not for every day.
        program: the bridge is a program of its own, with times as they are in real houses.
        vendors: whose devices it befalls; each vendor's is played on its own.
    """

    name: str
    promise: str
    inject: Step = lambda _: None
    heal: Step | None = None
    at_start: bool = False
    sign: Sign | None = None
    within: float = 5.0
    recover: float = 5.0
    hold: float = 0.5
    during: Step | None = None
    after: Step | None = None
    others_stay: bool = False
    devices: int = 2
    turning: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    forgiven: float = 0.0
    busy: bool = False
    slow: bool = False
    program: bool = False
    vendors: tuple[str, ...] = VENDORS


@dataclass
class Outcome:
    """What came of it: seconds, and whatever broke the promise; or why it could not be played here."""

    fault: Fault
    vendor: str
    noticed: float | None = None
    recovered: float | None = None
    took: float = 0.0
    problems: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def kept(self) -> bool:
        return not self.problems


def cases(faults: Iterable[Fault]) -> list[Case]:
    """What there is to be played."""
    return [(fault, vendor) for fault in faults for vendor in fault.vendors]


async def play(fault: Fault, vendor: str, directory: Path) -> Outcome:
    """Play one fault through."""
    outcome = Outcome(fault, vendor)
    began = time.monotonic()
    try:
        async with asyncio.timeout(180):
            options = {"stale_after": STALE_AFTER} | fault.options
            async with scene(directory, vendor=vendor, devices=fault.devices, **options) as made:
                made.turning = fault.turning
                await _play(fault, made, outcome)
    except pytest.skip.Exception as reason:
        outcome.skipped = str(reason)
    except Exception as error:  # noqa: BLE001 - one failure must not hide what came of the other faults
        outcome.problems.append(_words(error))
    outcome.took = time.monotonic() - began
    return outcome


async def _begin(fault: Fault, made: Scene) -> float:
    """Start the bridge and inject the fault, in the order that the fault wants; when it was injected."""
    start = made.start_program if fault.program else made.start
    if not fault.at_start:
        start()
        await made.shown()
    injected = time.monotonic()
    await _do(fault.inject, made)
    if fault.at_start and made.program is None:
        start()
    return injected


async def _play(fault: Fault, made: Scene, outcome: Outcome) -> None:
    injected = await _begin(fault, made)
    if fault.sign is not None and fault.sign is not whatever:
        sign = fault.sign
        seen = await made.oracle.until(lambda sample: sign(made, sample), fault.within)
        if seen is None:
            outcome.problems.append(f"not noticed within {fault.within:g} s; at the end {made.oracle.samples[-1]}")
        else:
            outcome.noticed = seen.at - injected
    await _do(fault.during, made)
    await asyncio.sleep(fault.hold)  # how long it lasts is part of the fault
    healed = time.monotonic()
    if fault.heal is not None:
        await _do(fault.heal, made)
        outcome.recovered = await _recovered(fault, made)
        if outcome.recovered is None:
            outcome.problems.append(f"not back within {fault.recover:g} s; at the end {made.oracle.samples[-1]}")
    await _do(fault.after, made)
    made.oracle.look()
    samples = [sample for sample in made.oracle.samples if sample.at >= injected]
    if fault.sign is None:
        _always(samples, frozenset(made.plant.devices), outcome)
    elif fault.others_stay:
        _always(samples, made.others, outcome)
    await made.stop()
    lies = [lie for lie in made.oracle.lies if not healed <= lie.at < healed + fault.forgiven]
    if lies:
        outcome.problems.append(f"{len(lies)} times something untrue was shown, first {lies[0]}, last {lies[-1]}")


def _always(samples: Sequence[Sample], devices: frozenset[str], outcome: Outcome) -> None:
    for sample in samples:
        if not devices <= sample.shown:
            missing = ", ".join(sorted(devices - sample.shown))
            outcome.problems.append(
                f"{missing} went away {sample.at - samples[0].at:.1f} s after the fault began, account {sample.account}"
            )
            return


async def _recovered(fault: Fault, made: Scene) -> float | None:
    """Seconds until every device shows nothing but what has been true since the healing, and its account is well."""
    healed = time.monotonic()
    if fault.turning:
        made.plant.turn()
    begin = made.oracle.look().at

    def back(sample: Sample) -> bool:
        return (
            sample.account.get("state") == "online"
            and not sample.account.get("reason")
            and all(
                made.consumer.arrived.get(f"navibridge/{device}/state", 0.0) >= healed
                and made.oracle.untrue(device, begin) == []
                for device in made.plant.devices
            )
        )

    seen = await made.oracle.until(back, fault.recover)
    return None if seen is None else time.monotonic() - healed


async def _do(step: Step | None, made: Scene) -> None:
    if step is not None:
        result = step(made)
        if result is not None:
            await result


def _words(error: BaseException) -> str:
    if isinstance(error, AssertionError):
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{error or where.line} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
    return "".join(traceback.format_exception(error))[-1500:]


async def play_all(
    chosen: Sequence[Case],
    directory: Path,
    *,
    at_once: int = AT_ONCE,
    told: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Play several faults, some at the same time, the longest first as they stand in the table."""
    gate = asyncio.Semaphore(at_once)

    async def one(fault: Fault, vendor: str) -> Outcome:
        async with gate:
            name = f"{vendor} {fault.name}".replace(" ", "_").replace("/", "_")
            outcome = await play(fault, vendor, directory / name)
        told(outcome)
        return outcome

    calm = [(fault, vendor) for fault, vendor in chosen if not fault.busy]
    calm.sort(key=lambda case: not case[0].slow)
    outcomes = await asyncio.gather(*(one(fault, vendor) for fault, vendor in calm))
    return [*outcomes, *[await one(fault, vendor) for fault, vendor in chosen if fault.busy]]
