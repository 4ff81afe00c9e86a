"""A vendor's session being iterated, without a bridge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from support.waiting import until

from navibridge.errors import AuthError, LinkError
from navibridge.model import Found, LinkUp, Presence, Reading

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from navibridge.model import Device, Event
    from navibridge.vendors import Session

E = TypeVar("E")


class Home:
    """A session being iterated, and everything it has said."""

    def __init__(self, session: Session, counts: Counter[str]) -> None:
        self.session = session
        self.counts = counts
        self.events: list[Event] = []
        self.devices: dict[str, Device] = {}
        self.end: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.end = None
        self._task = asyncio.create_task(self._iterate(), name="home")

    async def _iterate(self) -> None:
        try:
            async for event in self.session.events():
                self.events.append(event)
                if isinstance(event, Found):
                    self.devices[event.device.id] = event.device
        except (AuthError, LinkError) as error:
            self.end = error

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def of(self, sort: type[E], device_id: str | None = None) -> list[E]:
        return [
            event
            for event in self.events
            if isinstance(event, sort) and device_id in (None, getattr(event, "device_id", None))
        ]

    async def up(self) -> None:
        await until(lambda: self.of(LinkUp) or self.end)
        if self.end is not None:
            raise self.end

    async def ended(self) -> Exception:
        await until(lambda: self.end is not None)
        assert self.end is not None
        return self.end

    def device(self, device_id: str | None = None) -> Device:
        return self.devices[device_id] if device_id else next(iter(self.devices.values()))

    def presence(self, device_id: str) -> bool | None:
        said = self.of(Presence, device_id)
        return said[-1].online if said else None

    async def reading(self, since: int, fits: Callable[[Reading], bool] = lambda _: True) -> Reading:
        """The first reading after that many events that fits."""
        await until(lambda: any(fits(event) for event in self.events[since:] if isinstance(event, Reading)))
        return next(event for event in self.events[since:] if isinstance(event, Reading) and fits(event))
