"""What the bridge has done so far, counted in one plain object, and how that looks to Prometheus."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

Series: TypeAlias = "Iterable[tuple[Sequence[str], float]]"
"""Values of one figure, each with its labels'."""

ACCOUNT_STATES: Final = ("online", "offline", "needs_attention")
OWN_COUNTERS: Final = ("frames", "frame_errors")
"""Counters of every account; what a vendor counts beyond them are its events."""


class Metrics:
    """Counters by group and name, such as ``account home`` / ``frames``."""

    def __init__(self) -> None:
        self._groups: dict[str, Counter[str]] = {}

    def count(self, group: str, name: str, number: int = 1) -> None:
        """Add to a counter."""
        self._groups.setdefault(group, Counter())[name] += number

    def group(self, group: str) -> dict[str, int]:
        """One group's counters."""
        return dict(self._groups.get(group, {}))


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """One device in figures.

    Attributes:
        available: whether it is there and spoke lately.
        seen_seconds: since anything was seen of it; ``None`` before the first time.
    """

    available: bool
    seen_seconds: float | None


def exposition(health: Mapping[str, Any], devices: Mapping[str, DeviceFigures]) -> bytes:
    """The figures in Prometheus' text format.

    Args:
        health: the bridge's health document.
        devices: by the device's topic.
    """
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - only who is asked needs it
    from prometheus_client.registry import Collector  # noqa: PLC0415 - as above

    class Snapshot(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _bridge(health)
            yield from _accounts(health["accounts"])
            yield from _devices(devices)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot())
    return generate_latest(registry)


def _bridge(health: Mapping[str, Any]) -> Iterator[Metric]:
    from prometheus_client.core import InfoMetricFamily  # noqa: PLC0415 - see `exposition`

    yield InfoMetricFamily("navibridge", "The bridge.", {"version": health["version"]})
    yield _gauge("healthy", "Whether the broker is connected and no account needs a person.", health["healthy"])
    yield _gauge("uptime_seconds", "Since the bridge was started.", health["uptime_s"])
    if health["memory_mb"] is not None:
        yield _gauge("resident_memory_bytes", "Memory of the process.", health["memory_mb"] * 1e6)
    broker = health["broker"]
    yield _gauge("broker_connected", "Whether the broker is connected.", broker["connected"])
    yield _counter("broker_connects", "Connections to the broker.", broker.get("connects", 0))
    yield _counter("publishes", "State documents and availabilities published.", broker.get("publishes", 0))
    yield _counter("readings", "What devices said.", health["bridge"].get("readings", 0))
    verdicts = (((verdict,), number) for verdict, number in health["verdicts"].items())
    yield _counters("commands", "Commands by their verdict.", ("verdict",), verdicts)
    yield _gauge("devices", "Devices that are known.", health["devices"])
    yield _gauge("devices_available", "Devices that are there and spoke lately.", health["devices_available"])


def _accounts(accounts: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    states = (
        ((name, account["vendor"], state), account["state"] == state)
        for name, account in accounts.items()
        for state in ACCOUNT_STATES
    )
    yield _gauges("account_state", "1 for the state that the account is in.", ("account", "vendor", "state"), states)
    for counter, words in (
        ("reconnects", "Cloud links opened again."),
        ("frames", "Messages of the cloud."),
        ("frame_errors", "Messages that could not be read."),
    ):
        values = [((name,), account.get(counter, 0)) for name, account in accounts.items()]
        yield _counters(f"account_{counter}", words, ("account",), values)
    events = (
        ((name, event), number)
        for name, account in accounts.items()
        for event, number in account.items()
        if event not in (*OWN_COUNTERS, "vendor", "state", "reconnects")
    )
    yield _counters("account_events", "What else the vendor's part counts.", ("account", "event"), events)


def _devices(devices: Mapping[str, DeviceFigures]) -> Iterator[Metric]:
    available = (((key,), figures.available) for key, figures in devices.items())
    yield _gauges("device_available", "Whether the device is there and spoke lately.", ("device",), available)
    known = ((key, figures.seen_seconds) for key, figures in devices.items())
    seen = (((key,), seconds) for key, seconds in known if seconds is not None)
    yield _gauges("device_seen_seconds", "Since anything was seen of the device.", ("device",), seen)


def _gauge(name: str, words: str, value: float) -> Metric:
    return _gauges(name, words, (), [((), value)])


def _counter(name: str, words: str, value: float) -> Metric:
    return _counters(name, words, (), [((), value)])


def _gauges(name: str, words: str, labels: tuple[str, ...], values: Series) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - see `exposition`

    family = GaugeMetricFamily(f"navibridge_{name}", words, labels=labels)
    for key, value in values:
        family.add_metric(key, float(value))
    return family


def _counters(name: str, words: str, labels: tuple[str, ...], values: Series) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - see `exposition`

    family = CounterMetricFamily(f"navibridge_{name}", words, labels=labels)
    for key, value in values:
        family.add_metric(key, float(value))
    return family
