"""Learns, at the first connection, what an earlier run left on the broker: to be migrated or, later, cleared."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from navibridge.announce import Announcer
    from navibridge.broker import Link, Message
    from navibridge.topics import Topics

log = logging.getLogger(__name__)


class LookAround:
    """One look at what is retained.

    Args:
        topics: the bridge's topics.
        announcer: knows where to look, and remembers what is found.
        limit: seconds for each part of it.

    Attributes:
        echo: where the broker sends our own request back, after all that it had to hand out before.
        done: whether there has been a look.
    """

    def __init__(self, topics: Topics, announcer: Announcer, *, limit: float) -> None:
        self.echo = topics.request("echo")
        self.done = False
        self._announcer = announcer
        self._limit = limit
        self._echoed: asyncio.Future[None] | None = None

    async def run(self, link: Link) -> None:
        """Look, once. What nobody can say is complete is left as it is."""
        try:
            for filters in self._announcer.looks():
                await self._collect(link, filters)
        except TimeoutError:
            log.debug("the broker did not echo; what an earlier run left is not tidied up")
        self.done = True

    async def _collect(self, link: Link, filters: Sequence[str]) -> None:
        """Have the announcer remember what is retained under these filters.

        Raises:
            TimeoutError: nobody can say whether that was all.
        """
        self._echoed = asyncio.get_running_loop().create_future()
        await link.subscribe(filters)
        # Retained messages come before what is published after the subscription: an echo says that all have come.
        await link.publish(self.echo, b"{}")
        try:
            async with asyncio.timeout(self._limit):
                await self._echoed
        finally:
            self._echoed = None
            await link.unsubscribe(filters)

    def hear(self, arrival: Message) -> None:
        """A message that is no command: retained before this run, or the echo."""
        if self._echoed is None or self._echoed.done():
            return
        if arrival.topic == self.echo:
            self._echoed.set_result(None)
        elif arrival.retain:
            self._announcer.remember(arrival.topic, arrival.payload)
