"""One link of a session to the cloud: what is subscribed on it, and what is asked over it.

A `Link` ends with its connection. What is learned about topic filters on the way outlives it in
`navibridge.doubts.Doubts`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from navibridge.errors import LinkError
from navibridge.tasks import TaskGroup
from navibridge.vendors.navilink import messages
from navibridge.vendors.navilink.codes import HEAT_PUMP_TYPE, GasQuery, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from navibridge.aws import CloudLink
    from navibridge.doubts import Doubts
    from navibridge.vendors.navilink.devices import Control
    from navibridge.vendors.navilink.messages import Address, Message
    from navibridge.vendors.navilink.unit import Unit

log = logging.getLogger(__name__)

AT_ONCE: Final = 32
"""Groups of filters subscribed at once."""

ACCOUNT: Final = "the account"
"""The group of filters that belong to no single device."""

Topic: TypeAlias = Literal["features", "reservations", "recirculation", "energy"]
"""What a device can be asked about besides how it is."""


class Question(NamedTuple):
    """One question on its way: when its answer is due, to whom it went, when it was asked; by the loop's time."""

    due: float
    unit: Unit
    at: float


class Link:
    """An open connection, its subscriptions, and the questions on their way.

    Args:
        cloud: the connection.
        client_id: it was opened with.
        user_seq: the account's number.
        session_id: a new one for each request.
        doubts: what earlier links taught.
        patience: seconds after which a question counts as unanswered.
        settling: seconds between a command and the question for what came of it.

    Attributes:
        asked: the questions on their way, oldest first.
        commanded: the units to be asked again after a command, and when.
    """

    def __init__(
        self,
        cloud: CloudLink,
        *,
        client_id: str,
        user_seq: int,
        session_id: Callable[[], str],
        doubts: Doubts,
        patience: float,
        settling: float,
    ) -> None:
        self.cloud = cloud
        self.client_id = client_id
        self.asked: deque[Question] = deque()
        self.commanded: asyncio.Queue[tuple[float, Unit]] = asyncio.Queue()
        self._user_seq = user_seq
        self._session_id = session_id
        self._doubts = doubts
        self._patience = patience
        self._settling = settling
        self._subscribed: set[str] = set()
        self._pending: set[str] = set()
        self._time = asyncio.get_running_loop().time

    def address(self, unit: Unit) -> Address:
        """Where a unit is asked over this link, and where it answers."""
        return unit.address(self.client_id, self._user_seq)

    def reaches(self, unit: Unit) -> bool:
        """Whether a unit may be spoken to: one that the account lacks, or that breaks the link, is left alone."""
        return not unit.missing and self._doubts.allows(unit.listed.mac, self._time())

    # --- subscriptions --------------------------------------------------------------------------------------------

    async def subscribe(self, units: Iterable[Unit]) -> None:
        """Subscribe to everything these units send; what is subscribed already, is left as it is.

        Raises:
            LinkError: the link broke.
        """
        groups = self._groups(units)
        window = asyncio.Semaphore(AT_ONCE)

        async def subscribe(name: str) -> None:
            async with window:
                self._pending.add(name)
                for topic_filter, granted in (await self.cloud.subscribe(groups[name])).items():
                    (self._subscribed if granted else self._doubts.refused).add(topic_filter)
                self._pending.discard(name)
                self._doubts.acquit(name)

        suspects = [name for name in groups if name in self._doubts.suspects]
        async with TaskGroup() as group:
            for name in groups:
                if name not in suspects:
                    group.create_task(subscribe(name), name=f"subscribe {name}")
        for name in suspects:
            await subscribe(name)

    def broken(self, error: Exception) -> bool:
        """Learn from the end of the link: whatever was being subscribed at that moment may have been the reason.

        Returns:
            Whether anything was.
        """
        blamed = isinstance(error, LinkError) and error.reason == "closed" and bool(self._pending)
        if blamed:
            self._doubts.blame(sorted(self._pending), self._time())
        return blamed

    def _groups(self, units: Iterable[Unit]) -> Mapping[str, list[str]]:
        """The filters that are not subscribed yet, without those that the cloud does not like."""
        groups: dict[str, list[str]] = {}
        known = self._subscribed | self._doubts.refused
        for unit in units:
            if not self.reaches(unit):
                continue
            for topic_filter in messages.filters(self.address(unit)):
                name = unit.listed.mac if unit.listed.mac in topic_filter else ACCOUNT
                if topic_filter not in known and self._doubts.allows(name, self._time()):
                    groups.setdefault(name, []).append(topic_filter)
        return {name: list(dict.fromkeys(filters)) for name, filters in groups.items()}

    async def unsubscribe(self, unit: Unit) -> None:
        """End the subscriptions that concern one unit alone."""
        mine = [topic_filter for topic_filter in self._subscribed if unit.listed.mac in topic_filter]
        self._subscribed.difference_update(mine)
        if mine:
            await self.cloud.unsubscribe(mine)

    # --- questions and commands -----------------------------------------------------------------------------------

    async def ask(self, unit: Unit) -> None:
        """Ask how a unit is, unless it still owes an answer.

        Raises:
            LinkError: the link is gone.
        """
        now = self._time()
        if unit.asked is not None and now - unit.asked < self._patience:
            return
        unit.asked = now
        self.asked.append(Question(now + self._patience, unit, now))
        address, session_id = self.address(unit), self._session_id()
        if unit.listed.type == HEAT_PUMP_TYPE:
            await self.publish(messages.query(address, Query.STATUS, session_id))
            return
        channel = unit.channel or 1
        await self.publish(
            messages.gas_query(address, GasQuery.CHANNEL_STATUS, session_id, channel=channel, units=unit.units)
        )

    async def ask_about(self, unit: Unit, topic: Topic, today: date) -> None:
        """Ask something else than how it is.

        Raises:
            LinkError: the link is gone.
        """
        unit.asked_for[topic] = self._time()
        address, session_id = self.address(unit), self._session_id()
        match topic:
            case "features" if unit.listed.type != HEAT_PUMP_TYPE:
                message = messages.gas_query(address, GasQuery.START, session_id)
            case "features":
                message = messages.query(address, Query.FEATURE, session_id)
            case "reservations":
                message = messages.query(address, Query.RESERVATIONS, session_id)
            case "recirculation":
                message = messages.query(address, Query.RECIRCULATION_SCHEDULE, session_id)
            case "energy":
                unit.energy_of = today
                message = messages.query(address, Query.ENERGY_DAILY, session_id, year=today.year, month=[today.month])
        await self.publish(message)

    def again(self, unit: Unit) -> None:
        """Have a unit asked as soon as possible, whatever it owes."""
        unit.asked = None
        self.commanded.put_nowait((self._time(), unit))

    async def command(self, unit: Unit, control: Control, session_id: str) -> None:
        """Send a control, and have the unit asked a little later what came of it. Raises `LinkError`."""
        address = self.address(unit)
        if unit.listed.type == HEAT_PUMP_TYPE:
            message = messages.control(address, control.command, control.mode, control.param, session_id)
        else:
            message = messages.gas_control(
                address, control.command, control.mode, control.param, session_id, channel=unit.channel or 1
            )
        await self.publish(message)
        self.commanded.put_nowait((self._time() + self._settling, unit))

    async def publish(self, message: Message) -> None:
        """Publish without waiting for the cloud's acknowledgement: only the device's own answer says anything."""
        await self.cloud.publish(message.topic, message.payload, wait=False)
