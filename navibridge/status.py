"""What the bridge says of itself, for machines and for people: documents of what it is handed. Pure.

info      what it is and what it publishes       health    how it is doing, with the reasons if it is not well
devices   each device in words                   figures   the same as Prometheus text
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from navibridge import __version__
from navibridge.commands import Verdict
from navibridge.metrics import DeviceFigures, exposition
from navibridge.model import Sort
from navibridge.state import LONGEST_TEXT, NO_PROBLEM, iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from navibridge.account import Account
    from navibridge.config import Config
    from navibridge.metrics import Metrics
    from navibridge.state import Cache, DeviceState
    from navibridge.topics import Topics


class Status:
    """A view of the whole bridge; it changes nothing of it.

    Args:
        config: the whole configuration.
        topics: the bridge's topics.
        accounts: by their names.
        cache: what is known of the devices.
        metrics: what has been counted.
        started: when the bridge was started, seconds since the epoch.
        broker: which broker, in words.
    """

    def __init__(
        self,
        config: Config,
        topics: Topics,
        accounts: Mapping[str, Account],
        cache: Cache,
        metrics: Metrics,
        *,
        started: float,
        broker: str,
    ) -> None:
        self._config = config
        self._topics = topics
        self._accounts = accounts
        self._cache = cache
        self._metrics = metrics
        self._started = started
        self._broker = broker

    def shift(self, step: float) -> None:
        """The clock was set, by so many seconds: the bridge was started as long ago as before."""
        self._started += step

    def info(self, unmatched: Sequence[str]) -> dict[str, Any]:
        """What the bridge is and what it publishes; no secrets.

        Args:
            unmatched: the sections of ``devices`` that are about no device of the accounts.
        """
        return {
            "version": __version__,
            "started_at": iso(self._started),
            "vendors": sorted({account.vendor for account in self._accounts.values()}),
            "accounts": {name: {"vendor": account.vendor} for name, account in self._accounts.items()},
            "devices": {
                key: {"id": state.device.id, "name": state.device.name, "state": self._topics.state(key)}
                for key, state in self._cache.items()
            },
            "unmatched_devices": unmatched,
            "base_topic": self._config.broker.base_topic,
            "discovery": self._config.discovery.format if self._config.discovery.enabled else None,
        }

    def health(self, now: float, *, connected: bool, memory: float | None) -> dict[str, Any]:
        """Figures for people who watch the bridge.

        Args:
            now: seconds since the epoch.
            connected: whether the broker is.
            memory: resident memory in MB, where the system tells.
        """
        problems = self._problems()
        reasons = self._reasons(connected=connected)
        return {
            "at": iso(now),
            "version": __version__,
            "base_topic": self._topics.base,
            "healthy": not reasons,
            "reasons": reasons,
            "problem": bool(problems),
            "problem_text": "; ".join(problems)[:LONGEST_TEXT] or NO_PROBLEM,
            "uptime_s": round(now - self._started),
            "memory_mb": memory,
            "devices": len(self._cache),
            "devices_available": sum(state.available(now) for state in self._cache.values()),
            "broker": {"connected": connected, **self._metrics.group("broker")},
            "bridge": self._metrics.group("bridge"),
            "verdicts": {verdict.value: self._metrics.group("verdicts").get(verdict, 0) for verdict in Verdict},
            "accounts": {
                name: {
                    "vendor": account.vendor,
                    "state": account.state.status,
                    "reconnects": max(0, account.reconnects),
                    **self._metrics.group(f"account {name}"),
                }
                for name, account in self._accounts.items()
            },
        }

    def _problems(self) -> list[str]:
        """What is not as it should be; most of it passes by itself."""
        return [
            f"Account {name} is {account.state.status}: {account.state.detail or account.state.reason}"
            for name, account in self._accounts.items()
            if not account.available or (account.state.status == "online" and account.state.reason)
        ]

    def _reasons(self, *, connected: bool) -> list[str]:
        """What only a person can mend, or keeps everything from being seen; none of it passes by a restart."""
        reasons = [] if connected else [f"The broker {self._broker} is not connected."]
        for name, account in self._accounts.items():
            if account.state.status == "needs_attention":
                reasons.append(f"Account {name} needs attention: {account.state.detail}. {account.state.what_to_do}")
        return reasons

    def devices(self, now: float) -> list[dict[str, Any]]:
        """Every device in words, for tools."""
        return [_described(key, state, now) for key, state in self._cache.items()]

    def figures(self, now: float, health: Mapping[str, Any]) -> bytes:
        """The figures as Prometheus text; devices by their topic, accounts by their name, nothing of their owner."""
        devices = {
            key: DeviceFigures(state.available(now), None if state.seen_at is None else max(0.0, now - state.seen_at))
            for key, state in self._cache.items()
        }
        return exposition(health, devices)


def _described(key: str, state: DeviceState, now: float) -> dict[str, Any]:
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
        "available": state.available(now),
        "seen_at": iso(state.seen_at) if state.seen_at is not None else None,
        "attributes": [row.key for row in device.attributes if row.quantity.sort is not Sort.ACTION],
        "writable": [row.key for row in device.attributes if row.writes],
    }
