"""A house that a fault is let loose in: broker, clouds, lines between them, the bridge, and an oracle that watches.

    devices ── simulated cloud ══ rest, iot (relays) ══ bridge ══ lan (relay) ══ Mosquitto ── consumer, oracle

Everything that takes minutes in a real house takes seconds here, by the parameters that the product has for it: the
same code waits, only less long.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson
from support import plants
from support.mosquitto import Mosquitto
from support.oracle import Consumer, Oracle, connected, watching
from support.relay import Relay

from navibridge import config, vendors
from navibridge.backoff import Backoff
from navibridge.bridge import Bridge, Timing
from navibridge.broker import Limits
from navibridge.demo.cloud import SimulatedCloud
from navibridge.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.plants import Plant

ACCOUNT = "home"
STALE_AFTER = 4.0
TURN = 0.7
"""Seconds between two changes at the devices; slower than questions, quicker than the timeout."""

TIMING = Timing(
    tick=0.2,
    account_grace=3.0,
    births_together=1.0,
    account_retry=Backoff(first_wait=0.2, longest_wait=2.0, stable_after=4.0),
    broker_retry=Backoff(first_wait=0.2, longest_wait=1.0, stable_after=4.0),
    broker_limits=Limits(connect=2.0, call=2.0),
)
"""A tenth or so of everything."""


PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1


def give_up_override() -> None:
    """Whatever this process executes from now on is bound by the permissions of files, root's programs included."""
    system = ctypes.CDLL(None, use_errno=True)
    if system.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the capability to write everywhere can not be given up")


@dataclass
class Scene:
    """What a scenario holds in its hands.

    Attributes:
        directory: of this scenario alone.
        plant: the devices.
        cloud: what serves them, with its faults.
        mosquitto: the broker.
        lan: the line between the bridge and the broker.
        rest: the line to the REST service.
        iot: the line to AWS IoT.
        oracle: what watches.
        turning: whether somebody keeps turning the devices.
        skew: seconds that the bridge's clock is ahead.
        sections: the configuration.
        scaled: options too short for a real house, by section.
        timing: the bridge's.
        notes: what one step of a scenario keeps for the next.
        bridge: in this process.
        program: the bridge as a program of its own.
    """

    directory: Path
    plant: Plant
    cloud: SimulatedCloud
    mosquitto: Mosquitto
    lan: Relay
    rest: Relay
    iot: Relay
    oracle: Oracle
    sections: dict[str, Any]
    scaled: dict[str, dict[str, Any]]
    timing: Timing = TIMING
    turning: bool = True
    skew: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    bridge: Bridge | None = None
    program: subprocess.Popen[bytes] | None = None
    _task: asyncio.Task[None] | None = None
    _sent: int = 0

    @property
    def consumer(self) -> Consumer:
        return self.oracle.consumer

    @property
    def device(self) -> str:
        """The first device: the one that faults of devices befall."""
        return self.plant.devices[0]

    @property
    def others(self) -> frozenset[str]:
        return frozenset(self.plant.devices[1:])

    @property
    def state_directory(self) -> Path:
        return self.directory / "state"

    def clock(self) -> float:
        return time.time() + self.skew

    def configuration(self) -> config.Config:
        """Checked as a user's is; what is too short for a real house is set afterwards."""
        checked = config.build(
            self.sections, vendors=lambda name: vendors.load(name).Settings, vendor_names=vendors.names()
        )
        accounts = {
            name: settings.model_copy(update=self.scaled["accounts"]) for name, settings in checked.accounts.items()
        }
        broker = checked.broker.model_copy(update=self.scaled["broker"])
        return checked.model_copy(update={**self.scaled["all"], "accounts": accounts, "broker": broker})

    def start(self) -> None:
        """Start the bridge."""
        self.bridge = Bridge(self.configuration(), Store(self.state_directory), clock=self.clock, timing=self.timing)
        self._task = asyncio.create_task(self.bridge.run(), name="bridge under test")

    async def stop(self) -> None:
        """Stop it as a person would; a bridge that has ended by itself has failed."""
        task, self._task = self._task, None
        if task is None:
            return
        ended_by_itself = task.done()
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=15)
        assert done, "the bridge does not stop"
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        assert not ended_by_itself, "the bridge has ended by itself"

    def start_program(self, *, powerless: bool = False, **limits: int) -> None:
        """Start the bridge as a program of its own.

        Args:
            powerless: permissions of files bind it, though it be root's.
            limits: of the system, such as ``RLIMIT_FSIZE``.
        """
        path = self.directory / "config.yaml"
        path.write_bytes(orjson.dumps(self.sections | {"stale_after": 30}))

        def limit() -> None:
            if powerless and os.geteuid() == 0:
                give_up_override()
            for name, most in limits.items():
                resource.setrlimit(getattr(resource, name), (most, most))

        with (self.directory / "program.log").open("ab") as log:
            self.program = subprocess.Popen(
                [sys.executable, "-m", "navibridge", "run", "--config", str(path)],
                stdout=log,
                stderr=log,
                preexec_fn=limit if limits or powerless else None,  # noqa: PLW1509 - this process has threads, but none that forks
            )

    async def end_program(self, number: signal.Signals) -> int:
        """Send it a signal that ends it; its exit code."""
        program, self.program = self.program, None
        assert program is not None
        program.send_signal(number)
        return await asyncio.to_thread(program.wait, 15)

    @property
    def program_log(self) -> str:
        return (self.directory / "program.log").read_text()

    async def publish(self, topic: str, payload: Any, *, retain: bool = False, qos: int = 1) -> None:
        """Publish on the broker, as a person with a program would."""
        await self.publish_all([(topic, payload)], retain=retain, qos=qos)

    async def publish_all(self, messages: list[tuple[str, Any]], *, retain: bool = False, qos: int = 1) -> None:
        async with connected(self.mosquitto) as client:
            await asyncio.gather(
                *(
                    client.publish(
                        topic, payload if isinstance(payload, str | bytes) else orjson.dumps(payload), qos, retain
                    )
                    for topic, payload in messages
                )
            )

    def order(self, changes: dict[str, Any], device: str | None = None, **extra: Any) -> tuple[str, tuple[str, Any]]:
        """A command not sent yet: its id, and what to publish where."""
        self._sent += 1
        name = f"order {self._sent}"
        return name, (f"navibridge/{device or self.device}/set", {**changes, **extra, "id": name})

    async def command(self, changes: dict[str, Any], device: str | None = None, **extra: Any) -> str:
        """Send a command; its id."""
        name, message = self.order(changes, device, **extra)
        await self.publish(*message)
        return name

    def verdicts(self, name: str) -> list[dict[str, Any]]:
        return [result for result in self.consumer.verdicts if result["id"] == name]

    async def verdict(self, name: str, limit: float = 10.0) -> dict[str, Any]:
        """The verdict of a command, once there is one."""
        await self.reach(lambda: self.verdicts(name), limit, f"no verdict for {name}")
        return self.verdicts(name)[0]

    async def reach(self, condition: Any, limit: float, complaint: str) -> None:
        """Wait for a condition."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not condition():  # noqa: ASYNC110 - conditions of every sort, with no event in common
                    await asyncio.sleep(0.02)
                return
        raise AssertionError(f"{complaint} within {limit:g} s")

    async def shown(self, limit: float = 15.0) -> None:
        """Wait until every device is shown."""
        await self.reach(
            lambda: set(self.plant.devices) <= self.oracle.samples[-1].shown if self.oracle.samples else False,
            limit,
            f"not all of {self.plant.devices} are shown ({self.oracle.samples[-1] if self.oracle.samples else ''})",
        )

    async def _turn(self) -> None:
        while True:
            if self.turning:
                self.plant.turn()
            await asyncio.sleep(TURN)


@asynccontextmanager
async def scene(
    directory: Path,
    *,
    vendor: str = "navilink",
    devices: int = 2,
    options: dict[str, Any] | None = None,
    broker: dict[str, Any] | None = None,
    sections: dict[str, Any] | None = None,
    stale_after: float = STALE_AFTER,
    timing: Timing = TIMING,
) -> AsyncIterator[Scene]:
    """Everything but the bridge, which the scenario starts.

    Args:
        directory: for all that is written.
        vendor: whose devices.
        devices: how many.
        options: of the simulated cloud.
        broker: options of `Mosquitto`.
        sections: of the configuration, over those that are needed.
        stale_after: the declared timeout.
        timing: of the bridge.
    """
    plant = plants.plant(vendor, devices, **options or {})
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(SimulatedCloud((plant.simulator,)))
        mosquitto = Mosquitto(directory / "mosquitto", **broker or {})
        stack.push_async_callback(mosquitto.stop)
        await mosquitto.start()
        lan = await stack.enter_async_context(Relay(lambda: (mosquitto.host, mosquitto.port)))
        rest = await stack.enter_async_context(Relay(lambda: (cloud.host, cloud.port)))
        iot = await stack.enter_async_context(Relay(lambda: (cloud.host, cloud.port)))
        oracle = await stack.enter_async_context(watching(mosquitto, plant, account=ACCOUNT, timeout=stale_after))
        account = plant.simulator.account(cloud.host, rest.port, cloud.ca_file)
        account["iot_port"] = iot.port
        account["sign_ins"] = 60
        built: dict[str, Any] = {
            "broker": {"host": mosquitto.host, "port": lan.port, "keepalive": 5},
            "commands": {"spacing": 0.25, "timeout": 1.5, "ttl": 10},
            "accounts": {ACCOUNT: account},
            "state_dir": str(directory / "state"),
        }
        for name, section in (sections or {}).items():
            built[name] = built[name] | section if isinstance(section, dict) and name in built else section
        scaled: dict[str, dict[str, Any]] = {
            "all": {"stale_after": stale_after},
            "broker": {"keepalive": 2},
            "accounts": dict(plant.scaled),
        }
        made = Scene(
            directory, plant, cloud, mosquitto, lan, rest, iot, oracle, built, scaled, replace(timing, pace=plant.pace)
        )
        turning = asyncio.create_task(made._turn(), name="somebody turns the devices")
        try:
            yield made
        finally:
            turning.cancel()
            try:
                await made.stop()
            finally:
                mosquitto.resume()
                # A frozen line would hold the farewells up.
                for relay in (lan, rest, iot):
                    relay.thaw()
                if made.program is not None:
                    await made.end_program(signal.SIGKILL)
                await asyncio.gather(turning, return_exceptions=True)
