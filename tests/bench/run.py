"""The budgets, measured side by side in one run: `make bench`, or ``python tests/bench/run.py NAME...`` for some.

Every figure stands beside its budget. Nothing here fails because a machine is slow: the table is for reading.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import aiomqtt
import orjson
import yaml
from support import mosquitto as brokers
from support.house import house
from support.listener import listening

from navibridge import vendors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SAMPLES = Path(__file__).parent.parent / "samples"
SETTLE = 8.0
"""Seconds after the last first state before memory and processor time are looked at."""


@dataclass(frozen=True)
class Figure:
    what: str
    measured: str
    budget: str = ""

    def __str__(self) -> str:
        return f"{self.what:<58} {self.measured:>26}   {self.budget}"


def water_heaters(devices: int, **options: Any) -> Any:
    quick = {"answer": (0.0, 0.0), "notice": (0.05, 0.1), "control_interval": 0.0, "report": 86_400.0}
    return vendors.load("navilink").simulator(devices, **quick | options)


async def decode() -> list[Figure]:
    """One status of 102 keys, from bytes to values."""
    frames = importlib.import_module("navibridge.vendors.navilink.frames")
    kind = importlib.import_module("navibridge.vendors.navilink.devices").HEAT_PUMP
    payload = orjson.dumps(orjson.loads((SAMPLES / "navilink/mqtt_status_response.json").read_bytes())["payload"])
    rounds = []
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(2000):
            frame = frames.parse(payload)
            kind.decode(frame.form, frame.fields)
        rounds.append((time.perf_counter() - started) / 2000)
    return [Figure("decode a status of 102 keys", f"{statistics.median(rounds) * 1e6:.1f} µs")]


async def batch() -> list[Figure]:
    """Binary batch readings per second."""
    try:
        batches = importlib.import_module("navibridge.vendors.mysa.batch")
    except ModuleNotFoundError:
        return []
    record = bytes.fromhex("caa003c0d66869f600c500cd00292f8d00a8004601421c3f01ef0073020000001a")
    blob = record * 1000
    rounds = []
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(20):
            batches.decode(blob)
        rounds.append(20_000 / (time.perf_counter() - started))
    return [Figure("binary batch decode", f"{statistics.median(rounds):,.0f} records/s", "≥ 100,000 records/s")]


class LinkOpened(logging.Handler):
    """Notes when the cloud link came up."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.at: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if "link open" in record.getMessage():
            self.at = time.perf_counter()


async def first_state() -> list[Figure]:
    """From the open link to the states of 100 devices, 50 ms away."""
    simulator = water_heaters(100)
    opened = LinkOpened()
    log = logging.getLogger("navibridge.aws")
    log.addHandler(opened)
    log.setLevel(logging.DEBUG)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(brokers.running(brokers.Mosquitto(_directory(stack))))
        made = await stack.enter_async_context(house(broker, _directory(stack), {"home": simulator}))
        made.cloud.faults.latency = 0.05
        made.cloud.faults.rest_delay = 0.05
        started = time.perf_counter()
        async with made.bridge():
            wanted = {f"navibridge/navilink_{mac}/state" for mac in simulator.devices}
            firsts: dict[str, float] = {}
            while len(firsts) < len(wanted):
                await made.listener.wait_for("navibridge/+/state", timeout=30, since=made.listener.mark())
                now = time.perf_counter()
                for message in made.listener.heard:
                    if message.topic in wanted:
                        firsts.setdefault(message.topic, now)
            times = list(firsts.values())
    log.removeHandler(opened)
    log.setLevel(logging.NOTSET)
    assert opened.at is not None, "nothing says any longer when the link is open"
    up = opened.at
    return [
        Figure("start to open link, 50 ms round trips", f"{up - started:.2f} s"),
        Figure("first state after the link is up, 100 devices", f"{min(times) - up:.2f} s", "≤ 1 s"),
        Figure("all 100 first states after the link is up", f"{max(times) - up:.2f} s", "≤ 2 s"),
    ]


async def broker_restart() -> list[Figure]:
    """The broker comes back empty: until everything of 100 devices is there again."""
    simulator = water_heaters(100)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(brokers.running(brokers.Mosquitto(_directory(stack))))
        made = await stack.enter_async_context(house(broker, _directory(stack), {"home": simulator}))
        async with made.bridge():
            for mac in simulator.devices:
                await made.state(f"navilink_{mac}", timeout=30)
            await broker.restart(keep=False)
            back = time.perf_counter()
            async with listening(broker, "#") as late:
                for mac in simulator.devices:
                    await late.wait_for(f"navibridge/navilink_{mac}/state", timeout=30)
                    await late.wait_for(f"homeassistant/device/navibridge_navilink_{mac}/config", timeout=30)
            took = time.perf_counter() - back
    return [
        Figure("broker back empty: all topics of 100 devices", f"{took:.2f} s", "≤ 2 s (incl. the reconnect's wait)")
    ]


async def latency() -> list[Figure]:
    """Cloud frame to local state at 200 frames/s, beside a plain hop over the same broker."""
    simulator = water_heaters(10)
    count, rate = 2000, 200
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(brokers.running(brokers.Mosquitto(_directory(stack))))
        made = await stack.enter_async_context(house(broker, _directory(stack), {"home": simulator}))
        async with made.bridge():
            for mac in simulator.devices:
                await made.state(f"navilink_{mac}", timeout=30)
            template = orjson.loads((SAMPLES / "navilink/mqtt_status_response.json").read_bytes())["payload"]
            macs = list(simulator.devices)
            sent: dict[int, float] = {}
            took: list[float] = []
            hops: list[float] = []

            async def watch(kind: str, into: list[float]) -> None:
                async with aiomqtt.Client(broker.host, broker.port) as client:
                    await client.subscribe("navibridge/+/state" if kind == "state" else "bench/hop", qos=1)
                    async for message in client.messages:
                        now = time.perf_counter()
                        if message.topic.value == "navibridge/bridge/state":
                            continue
                        number = orjson.loads(message.payload)["fan_drive"]
                        if number in sent:
                            into.append(now - sent[number])

            for kind, into in (("hop", hops), ("state", took)):
                watcher = asyncio.create_task(watch(kind, into))
                await asyncio.sleep(0.5)
                async with aiomqtt.Client(broker.host, broker.port) as client:
                    client.pending_calls_threshold = 1000
                    started = time.perf_counter()
                    for number in range(1, count + 1):
                        identity = number + (100_000 if kind == "state" else 0)
                        pause = started + number / rate - time.perf_counter()
                        if pause > 0:
                            await asyncio.sleep(pause)
                        if kind == "hop":
                            sent[identity] = time.perf_counter()
                            await client.publish("bench/hop", b'{"fan_drive": %d, "x": "%s"}' % (identity, b"x" * 3000))
                        else:
                            mac = macs[number % len(macs)]
                            response = template["response"]
                            response["macAddress"] = mac
                            response["status"]["fanPwm"] = identity
                            payload = orjson.dumps(template)
                            sent[identity] = time.perf_counter()
                            made.cloud.broker("navilink").publish(f"cmd/52/navilink-{mac}/res", payload)
                deadline = time.perf_counter() + 5
                while len(into) < count * 0.99 and time.perf_counter() < deadline:
                    await asyncio.sleep(0.05)
                if watcher.done():
                    await watcher
                watcher.cancel()
    p50, p99 = _quantiles(took)
    hop50, hop99 = _quantiles(hops)
    return [
        Figure("plain hop over the broker, 200/s: p50, p99", f"{hop50 * 1e3:.2f}, {hop99 * 1e3:.2f} ms"),
        Figure(
            f"cloud frame to local state, 200/s: p50, p99 ({len(took)} seen)", f"{p50 * 1e3:.2f}, {p99 * 1e3:.2f} ms"
        ),
        Figure("  above the plain hop", f"{(p50 - hop50) * 1e3:.2f}, {(p99 - hop99) * 1e3:.2f} ms", "≤ 2 ms, ≤ 8 ms"),
    ]


def _quantiles(times: list[float]) -> tuple[float, float]:
    if len(times) < 2:
        return float("nan"), float("nan")
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


async def idle() -> list[Figure]:
    """Resident memory and processor time of the bridge as its own process."""
    figures = []
    for devices, budget in ((1, "≤ 70 MB"), (10, "CPU ≤ 0.5 %"), (100, "≤ 80 MB"), (1000, "≤ 130 MB")):
        simulator = water_heaters(devices)
        async with AsyncExitStack() as stack:
            directory = _directory(stack)
            broker = await stack.enter_async_context(brokers.running(brokers.Mosquitto(_directory(stack))))
            made = await stack.enter_async_context(house(broker, directory, {"home": simulator}))
            made.sections["state_dir"] = str(directory / "state")
            config = directory / "config.yaml"
            config.write_text(yaml.safe_dump(made.sections))
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "navibridge",
                "--config",
                str(config),
                "run",
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                for mac in simulator.devices:
                    await made.state(f"navilink_{mac}", timeout=60)
                await asyncio.sleep(SETTLE)
                before = _cpu_seconds(process.pid)
                seconds = 60.0 if devices == 10 else 5.0
                await asyncio.sleep(seconds)
                used = (_cpu_seconds(process.pid) - before) / seconds * 100
                memory = _resident_mb(process.pid)
            finally:
                process.terminate()
                await process.wait()
        if devices == 10:
            figures.append(Figure("idle processor time, 10 devices, 60 s polls", f"{used:.2f} % of a core", "≤ 0.5 %"))
        else:
            figures.append(Figure(f"idle resident memory, {devices} devices", f"{memory:.1f} MB", budget))
    return figures


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def throughput() -> list[Figure]:
    """Statuses per second through the bridge, beside a copy loop of aiomqtt that decodes nothing.

    The cloud side is Mosquitto's WebSocket listener, so that the simulated cloud is not the limit.
    """
    count, devices = 4000, 100
    simulator = water_heaters(devices)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(brokers.running(brokers.Mosquitto(_directory(stack))))
        cloud = await stack.enter_async_context(
            brokers.running(brokers.Mosquitto(_directory(stack), tls="server", websockets=True))
        )
        made = await stack.enter_async_context(house(broker, _directory(stack), {"home": simulator}))
        template = orjson.loads((SAMPLES / "navilink/mqtt_status_response.json").read_bytes())["payload"]
        payloads = []
        for number, mac in enumerate(simulator.devices):
            response = template["response"]
            response["macAddress"], response["status"]["fanPwm"] = mac, number
            payloads.append((f"cmd/52/navilink-{mac}/res", orjson.dumps(template)))
        section = made.sections["accounts"]["home"]
        bundle = made.directory / "authorities.pem"
        bundle.write_text(Path(made.cloud.ca_file).read_text() + Path(str(cloud.ca_file)).read_text())
        section |= {"iot_port": cloud.websocket_port, "iot_host": "127.0.0.1", "ca_file": str(bundle)}

        async def flood() -> None:
            async with aiomqtt.Client(
                cloud.host, cloud.port, tls_params=aiomqtt.TLSParameters(ca_certs=str(cloud.ca_file))
            ) as client:
                client.pending_calls_threshold = 10_000
                for number in range(count):
                    topic, payload = payloads[number % devices]
                    await client.publish(topic, payload)

        async def counted(topic: str, enough: Callable[[int], bool], feed: Awaitable[None]) -> tuple[int, float]:
            seen, ready = 0, asyncio.Event()

            async def watch() -> float:
                nonlocal seen
                async with aiomqtt.Client(broker.host, broker.port) as client:
                    await client.subscribe(topic, qos=0)
                    ready.set()
                    async for message in client.messages:
                        if not message.retain:
                            seen += 1
                            if enough(seen):
                                break
                return time.perf_counter()

            watcher = asyncio.create_task(watch())
            await ready.wait()
            started = time.perf_counter()
            await feed
            async with asyncio.timeout(60):
                return seen, (await watcher) - started

        async def copy() -> None:
            async with (
                aiomqtt.Client(
                    cloud.host, cloud.port, tls_params=aiomqtt.TLSParameters(ca_certs=str(cloud.ca_file))
                ) as source,
                aiomqtt.Client(broker.host, broker.port) as target,
            ):
                target.pending_calls_threshold = 10_000
                await source.subscribe("cmd/#", qos=1)
                copying.set()
                async for message in source.messages:
                    await target.publish("bench/copy", message.payload, qos=1, retain=True)

        copying = asyncio.Event()
        copier = asyncio.create_task(copy())
        await copying.wait()
        _, plain = await counted("bench/copy", lambda seen: seen >= count, flood())
        copier.cancel()

        async with made.bridge() as bridge:
            async with asyncio.timeout(30):
                while len(bridge.cache) < devices:
                    for topic, payload in payloads:
                        made.cloud.broker("navilink").publish(topic, payload)
                    await flood_once(cloud, payloads)
                    await asyncio.sleep(0.3)
            before = bridge.metrics.group("bridge").get("readings", 0)
            started = time.perf_counter()
            await flood()
            async with asyncio.timeout(60):
                while bridge.metrics.group("bridge").get("readings", 0) - before < count:
                    await asyncio.sleep(0.005)
            own = time.perf_counter() - started
            published = bridge.metrics.group("broker").get("publishes", 0)
    return [
        Figure("copy loop of aiomqtt, no decoding", f"{count / plain:,.0f} messages/s"),
        Figure("bridge, status of 102 keys in, states out", f"{count / own:,.0f} frames/s ({published} published)"),
        Figure("  ratio", f"{plain / own:.2f}", "≥ 0.7"),
    ]


async def flood_once(cloud: Any, payloads: list[tuple[str, bytes]]) -> None:
    async with aiomqtt.Client(
        cloud.host, cloud.port, tls_params=aiomqtt.TLSParameters(ca_certs=str(cloud.ca_file))
    ) as client:
        for topic, payload in payloads:
            await client.publish(topic, payload)


async def help_text() -> list[Figure]:
    """``navibridge --help``."""
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "navibridge", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return [Figure("navibridge --help", f"{statistics.median(times):.2f} s", "≤ 0.3 s")]


def _directory(stack: AsyncExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


MEASUREMENTS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "decode": decode,
    "batch": batch,
    "help": help_text,
    "first": first_state,
    "restart": broker_restart,
    "latency": latency,
    "throughput": throughput,
    "idle": idle,
}


async def main(wanted: list[str]) -> None:
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, broker: {brokers.kind()}")
    for name in wanted or list(MEASUREMENTS):
        for figure in await MEASUREMENTS[name]():
            print(figure, flush=True)


if __name__ == "__main__" and os.environ.get("BENCH_LOG"):
    logging.basicConfig(level=os.environ["BENCH_LOG"])
if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
