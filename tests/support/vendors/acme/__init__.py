"""A third vendor, as small as one can be: gadgets in a world that a test holds in its hands.

It lies outside the package, and `support.acme` puts its folder on the package's path: nothing else has to know of it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from support.gadget import ALERTS, GADGET, gadget

from navibridge.config import AccountSettings
from navibridge.errors import AuthError, CommandError, FrameError, LinkError
from navibridge.model import Explained, Found, LinkUp, Presence, Reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from navibridge.model import Device, Event, Scalar, Values
    from navibridge.vendors import Context, Session

TITLE = "Acme"
KINDS = (GADGET,)
DEMO: dict[str, Any] = {}
DIALECTS = ()


class Settings(AccountSettings):
    """An account at Acme."""

    vendor: Literal["acme"] = "acme"
    flavour: str = Field("plain", description="What it tastes of.")


class World:
    """The gadgets of one account, and how they behave.

    Attributes:
        values: what each gadget really is, by device id.
        answer: what becomes of a command: ``apply``, ``refuse``, ``silence``, ``locked out`` or ``crash``.
        error: raised instead of opening a link.
        sent: every command that reached a gadget, with the time.
        asked: the devices that were asked for their state.
        links: how often a link was opened.
        silent: the gadgets that say nothing of themselves at the start.
    """

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {"a1": {"room": 20.0, "target": 21.0, "power": 0, "lamp": False}}
        self.devices: dict[str, Device] = {"a1": gadget()}
        self.answer = "apply"
        self.error: Exception | None = None
        self.sent: list[tuple[float, str, Mapping[str, Scalar]]] = []
        self.asked: list[str] = []
        self.links = 0
        self.silent: set[str] = set()
        self._events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.up = False

    def tell(self, event: Event | Exception) -> None:
        """What the session says next; an exception breaks the link."""
        self._events.put_nowait(event)

    def report(self, device_id: str = "a1", **changes: Any) -> None:
        """A gadget changes, and says so."""
        self.values[device_id].update(changes)
        self.tell(Reading(device_id, dict(self.values[device_id]), time.time(), "push"))

    def add(self, device: Device) -> None:
        """Another gadget appears."""
        self.devices[device.id] = device
        self.values.setdefault(device.id, {"room": 20.0, "target": 21.0, "power": 0, "lamp": False})
        self.tell(Found(device))
        self.report(device.id)

    def cut(self) -> None:
        """Break the link."""
        self.tell(LinkError("the far end hung up", reason="closed"))

    async def events(self) -> AsyncGenerator[Event, None]:
        """One life of the link."""
        if self.error is not None:
            raise self.error
        self._events = asyncio.Queue()
        self.links += 1
        self.up = True
        try:
            for device in self.devices.values():
                yield Found(device)
            yield LinkUp()
            for device_id in self.devices:
                self.tell(Presence(device_id, online=True))
                if device_id not in self.silent:
                    self.report(device_id)
            while True:
                event = await self._events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.up = False

    async def send(self, device: Device, changes: Mapping[str, Scalar]) -> Values:
        """A command arrives at a gadget, or not."""
        if not self.up:
            raise LinkError("no link", reason="closed")
        self.sent.append((time.monotonic(), device.id, dict(changes)))
        match self.answer:
            case "refuse":
                raise CommandError("the gadget does not want to", verdict="refused", code="stubborn")
            case "silence":
                await asyncio.Event().wait()
            case "locked out":
                raise AuthError("Acme knows you no more", reason="wrong_password", what_to_do="Ask Acme.")
            case "crash":
                raise ZeroDivisionError
        self.report(device.id, **{key: value for key, value in changes.items() if key != "reset"})
        return changes

    async def ask(self, device: Device) -> None:
        """A gadget is asked."""
        self.asked.append(device.id)
        self.report(device.id)


WORLDS: dict[str, World] = {}
"""By the account's e-mail address."""


def open_session(settings: AccountSettings, context: Context) -> Session:
    """The session of an account: its world."""
    assert context.account
    return WORLDS.setdefault(settings.email, World())


def explain(payload: bytes) -> Explained:
    """Acme's payloads are one letter."""
    if len(payload) != 1:
        raise FrameError(f"{len(payload)} bytes instead of 1", sort="length")
    return Explained("letter", None, (), {"letter": payload.decode("latin-1")})


def simulator(devices: int, **options: object) -> Any:
    """Acme has no simulated cloud."""
    raise NotImplementedError


__all__ = ["ALERTS", "KINDS", "TITLE", "Settings", "World", "explain", "open_session", "simulator"]
