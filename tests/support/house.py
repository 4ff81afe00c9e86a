"""A whole house: a simulated cloud, a real broker, the bridge between them, and somebody who listens."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.listener import Listener, listening

from navibridge import config, vendors
from navibridge.bridge import Bridge, Timing
from navibridge.demo.cloud import SimulatedCloud
from navibridge.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.mosquitto import Mosquitto

    from navibridge.simulation import Simulator


@dataclass
class House:
    """What a test of the whole line holds in its hands.

    Attributes:
        mosquitto: the broker.
        cloud: the simulated clouds' server, with its faults.
        listener: hears everything on the broker.
        directory: the bridge's state directory.
        sections: the configuration, by section; changed before `bridge` starts.
    """

    mosquitto: Mosquitto
    cloud: SimulatedCloud
    listener: Listener
    directory: Path
    sections: dict[str, Any] = field(default_factory=dict)

    def configuration(self) -> config.Config:
        return config.build(
            self.sections, vendors=lambda name: vendors.load(name).Settings, vendor_names=vendors.names()
        )

    @asynccontextmanager
    async def bridge(self, timing: Timing | None = None) -> AsyncIterator[Bridge]:
        """The bridge at work, stopped as a person would stop it."""
        bridge = Bridge(self.configuration(), Store(self.directory), timing=timing)
        task = asyncio.create_task(bridge.run(), name="bridge under test")
        try:
            yield bridge
            assert not task.done(), task.exception() if not task.cancelled() else "cancelled"
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=10)
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def state(self, device: str, timeout: float = 10.0, since: int = 0, **expected: Any) -> dict[str, Any]:  # noqa: ASYNC109 - handed on
        """The first state document of a device in which these values stand."""
        message = await self.listener.wait_for(
            f"navibridge/{device}/state",
            lambda heard: heard.payload and all(heard.json.get(key) == value for key, value in expected.items()),
            timeout,
            since=since,
        )
        found: dict[str, Any] = message.json
        return found

    async def command(self, device: str, changes: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:  # noqa: ASYNC109 - handed on
        """Send a command, and wait for its verdict."""
        ident = f"test {self.listener.mark()}"
        await self.listener.publish_json(f"navibridge/{device}/set", {**changes, "id": ident})
        message = await self.listener.wait_for(
            f"navibridge/{device}/result", lambda heard: heard.json["id"] == ident, timeout
        )
        found: dict[str, Any] = message.json
        return found

    async def account(self, name: str, timeout: float = 10.0, since: int = 0, **expected: Any) -> dict[str, Any]:  # noqa: ASYNC109 - handed on
        """The first state of an account in which these values stand."""
        message = await self.listener.wait_for(
            f"navibridge/bridge/account/{name}/state",
            lambda heard: all(heard.json.get(key) == value for key, value in expected.items()),
            timeout,
            since=since,
        )
        found: dict[str, Any] = message.json
        return found


@asynccontextmanager
async def house(
    mosquitto: Mosquitto,
    directory: Path,
    accounts: dict[str, Simulator],
    *,
    observer: dict[str, str] | None = None,
    **sections: Any,
) -> AsyncIterator[House]:
    """A house with these accounts; the bridge is started by the test.

    Args:
        mosquitto: the broker.
        directory: for the bridge's state.
        accounts: account name to its vendor's simulated cloud.
        observer: user name and password of whoever listens.
        sections: further sections of the configuration.
    """
    async with (
        SimulatedCloud(tuple(accounts.values())) as cloud,
        listening(mosquitto, "#", **(observer or {})) as listener,
    ):
        built: dict[str, Any] = {
            "broker": {"host": mosquitto.host, "port": mosquitto.port},
            "commands": {"spacing": 0.05, "timeout": 3},
            "accounts": {
                name: simulator.account(cloud.host, cloud.port, cloud.ca_file) for name, simulator in accounts.items()
            },
        }
        for name, section in sections.items():
            built[name] = built[name] | section if isinstance(section, dict) and name in built else section
        yield House(mosquitto, cloud, listener, directory, built)
