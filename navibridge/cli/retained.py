"""What is retained of ours on a broker, and the way to clear it."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from navibridge import discovery
from navibridge.announce import Leftovers
from navibridge.broker import LocalBroker, Message
from navibridge.cli.outcome import note

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from navibridge.broker import Link
    from navibridge.config import Broker
    from navibridge.topics import Topics

LIMIT: Final = 10.0
"""Seconds for the broker to hand over what is retained."""

BRIEF: Final = 1.0
"""The same, once access rules have kept an echo back."""

AGAIN: Final = 0.2
"""Seconds until another echo: one that meets a full queue is dropped."""

FULL: Final = 1000
"""So many messages at a look may be as many as the broker hands out, and not all that there are."""


async def read(settings: Broker, topics: Topics) -> set[str]:
    """The topics with something retained of ours: below the base topic, and discovery that we announced.

    Raises:
        LinkError: the broker can not be reached.
    """
    leftovers = Leftovers(topics)
    # Who left no trace may have left one of these; each is a look of its own, and goes as far as a broker lets it.
    further = [one for one in (*topics.retained_of("+"), *topics.configs) if one not in topics.traces]
    async with _broker(settings).open() as link:
        reader = _Reader(link, topics, leftovers)
        for filters in leftovers.looks(
            (topics.bridge_state, topics.bridge_info, topics.bridge_health), *((one,) for one in further)
        ):
            if await reader.look(filters) >= FULL:
                note(
                    f"the broker may have more retained under {', '.join(filters)} than it hands out at once; what is "
                    "listed may not be all (Mosquitto: max_queued_messages)"
                )
    return {*leftovers.found}


class _Reader:
    """Looks at what is retained, one look after another over one connection."""

    def __init__(self, link: Link, topics: Topics, leftovers: Leftovers) -> None:
        self._link = link
        self._leftovers = leftovers
        self._echo = topics.response(f"cli-{secrets.token_hex(4)}")
        self._number = 0
        self._limit = LIMIT

    async def look(self, filters: tuple[str, ...]) -> int:
        """Remember what is retained under these filters, ours and others'; how many messages there were."""
        self._number += 1
        reading = asyncio.create_task(self._read(str(self._number).encode()), name="retained")
        try:
            await self._link.subscribe((self._echo, *filters))
            await self._echoed(reading)
        finally:
            reading.cancel()
            await asyncio.wait((reading,))
        await self._link.unsubscribe(filters)
        return await reading

    async def _echoed(self, reading: asyncio.Task[int]) -> None:
        """Wait for an echo: retained messages come before what is published after the subscription."""
        try:
            async with asyncio.timeout(self._limit):
                while not reading.done():
                    await self._link.publish(self._echo, str(self._number))
                    await asyncio.wait((reading,), timeout=AGAIN)
        except TimeoutError:
            self._limit = BRIEF  # access rules may keep the echo back; what is retained has come by now

    async def _read(self, last: bytes) -> int:
        """Read until the echo of that payload comes, or until cancelled."""
        number = 0
        try:
            async for message in self._link.messages():
                if message.topic == self._echo:
                    if message.payload == last:
                        break
                elif message.retain and message.payload:
                    number += 1
                    self._leftovers.remember(message.topic, message.payload)
        except asyncio.CancelledError:
            pass  # how many have come by then is what is asked
        return number


async def clear(settings: Broker, chosen: Iterable[str]) -> None:
    """Clear retained topics.

    Raises:
        LinkError: the broker can not be reached.
    """
    async with _broker(settings).open() as link:
        await link.publish_many(Message(topic, b"", retain=True) for topic in chosen)


def of_devices(kept: Collection[str], topics: Topics, devices: Iterable[str], accounts: Iterable[str]) -> list[str]:
    """Those of the topics that belong to these devices and accounts, and the bridge's own but its last word."""
    identities = {discovery.bridge_id(topics), *(discovery.object_id(topics, device) for device in devices)}
    names = {"device": {*devices}, "account": {*accounts}, "bridge": {""}}
    chosen = []
    for topic in kept:
        published = topics.parse_published(topic)
        if published is None:
            mine = topics.announced(topic) in identities
        else:
            mine = published.name in names[published.of] and topic != topics.bridge_state
        if mine:
            chosen.append(topic)
    return chosen


def _broker(settings: Broker) -> LocalBroker:
    return LocalBroker(settings, client_id=f"navibridge-cli-{secrets.token_hex(4)}", will=None)
