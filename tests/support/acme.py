"""Puts the third vendor's folder where vendors are looked for, and runs a bridge on it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from navibridge import config, vendors
from navibridge.bridge import Bridge
from navibridge.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.listener import Listener
    from support.vendors.acme import World

FOLDER = str(Path(__file__).parent / "vendors")


@contextmanager
def installed() -> Iterator[None]:
    """The vendor is there as long as the test lasts."""
    vendors.__path__.append(FOLDER)
    try:
        yield
    finally:
        vendors.__path__.remove(FOLDER)
        vendors.load("navilink")  # the others are still found


def world(email: str = "owner@example.com") -> World:
    """The world of an account, new."""
    acme = vendors.load("acme")
    made: World = acme.World()  # type: ignore[attr-defined]
    acme.WORLDS[email] = made  # type: ignore[attr-defined]
    return made


def settings(port: int, **sections: Any) -> config.Config:
    """A configuration with one Acme account, spacing short enough for tests."""
    values: dict[str, Any] = {
        "broker": {"host": "127.0.0.1", "port": port},
        "accounts": {"home": {"vendor": "acme", "email": "owner@example.com", "password": "long-enough-secret"}},
        "commands": {"spacing": 0.05, "timeout": 1, "ttl": 5},
    }
    for name, section in sections.items():
        values[name] = values[name] | section if isinstance(section, dict) and name in values else section
    return config.build(values, vendors=lambda name: vendors.load(name).Settings, vendor_names=vendors.names())


@asynccontextmanager
async def running(configuration: config.Config, directory: Path, **parts: Any) -> AsyncIterator[Bridge]:
    """A bridge at work; stopped as a person would stop it."""
    bridge = Bridge(configuration, Store(directory), **parts)
    task = asyncio.create_task(bridge.run(), name="bridge under test")
    try:
        yield bridge
        assert not task.done(), task.exception() if not task.cancelled() else "cancelled"
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=10)
        assert task.done(), "it was told to stop, and does not"
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def verdict(listener: Listener, device: str = "acme_a1", since: int = 0, **match: object) -> dict[str, Any]:
    """The first verdict on a device that is like that."""
    message = await listener.wait_for(
        f"navibridge/{device}/result",
        lambda heard: all(heard.json.get(key) == value for key, value in match.items()),
        since=since,
    )
    assert not message.retain
    found: dict[str, Any] = message.json
    return found
