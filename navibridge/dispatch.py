"""Carries commands to their devices: queued, spaced, coalesced, sent, and each given its one verdict."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from navibridge.commands import Command, Queue, Result, Verdict, ended
from navibridge.errors import AuthError, CommandError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.account import Account
    from navibridge.model import Device, Scalar, Values
    from navibridge.tasks import TaskGroup

log = logging.getLogger(__name__)

Owner: TypeAlias = "Callable[[], tuple[Account, Device] | None]"
"""The account whose session reaches a device by now, and the device as it is known by now; ``None`` once it is gone."""

LOOK_AGAIN: Final = 0.5
"""Seconds after which a wait looks whether a command that came meanwhile expires before those that were there."""

LINK_PAUSE: Final = 0.2
"""Seconds before a command is tried again that met a link just gone, while the account still counts as online."""


class Dispatcher:
    """The queues of all devices, and one task for each device that has something to send.

    Args:
        group: where the tasks live.
        verdict: told each command's end, with the device's key.
        spacing: least seconds between two messages to one device.
        size: most commands that wait for one device.
        timeout: seconds after which even a message that a vendor tried more than once counts as unanswered.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        group: TaskGroup,
        verdict: Callable[[str, Result], None],
        *,
        spacing: float,
        size: int,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group = group
        self._verdict = verdict
        self._spacing = spacing
        self._size = size
        self._timeout = timeout
        self._clock = clock
        self._queues: dict[str, Queue] = {}
        self._last_sent: dict[str, float] = {}
        self._asking: set[str] = set()

    def submit(self, key: str, command: Command, owner: Owner) -> None:
        """Queue a checked command; its verdict follows, at once if the queue is full.

        Args:
            key: the device's key.
            command: what to do.
            owner: asked when the command's turn comes.
        """
        queue = self._queues.get(key)
        idle = queue is None
        queue = self._queues.setdefault(key, Queue(self._size))
        now = self._clock()
        try:
            superseded = queue.add(command, now)
        except CommandError as error:
            self._verdict(key, ended(command, Verdict.REJECTED, now, str(error), error.code))
            return
        for result in superseded:
            self._verdict(key, result)
        if idle:
            self._group.create_task(self._work(key, queue, owner), name=f"commands of {key}")

    def ask(self, key: str, account: Account, device: Device) -> None:
        """Ask a device for its state now; while it is being asked, further wishes are the same wish."""
        if key not in self._asking and account.up.is_set():
            self._asking.add(key)
            self._group.create_task(self._ask(key, account, device), name=f"question to {key}")

    async def _ask(self, key: str, account: Account, device: Device) -> None:
        try:
            await account.session.ask(device)
        except LinkError as error:
            log.info("%s could not be asked: %s", key, error)
        except Exception:
            # A defect in one vendor's code must not take the others down.
            log.exception("%s: unexpected error while asking for its state. Please report it.", key)
        finally:
            self._asking.discard(key)

    async def _work(self, key: str, queue: Queue, owner: Owner) -> None:
        """Send what waits for one device, then end."""
        sending: Command | None = None
        try:
            while await self._ready(key, queue, owner):
                sending = queue.next()
                if sending is not None and not await self._carry_out(key, sending, owner()):
                    queue.put_back(sending)
                    sending = None
                    await asyncio.sleep(LINK_PAUSE)
                sending = None
        finally:
            # Only a stop leaves anything here; even then no command goes without its verdict.
            now = self._clock()
            if sending is not None:
                self._verdict(key, ended(sending, Verdict.UNCONFIRMED, now, "navibridge was stopped", "stopped"))
            while (waiting := queue.next()) is not None:
                self._verdict(key, ended(waiting, Verdict.EXPIRED, now, "navibridge was stopped", "stopped"))
            del self._queues[key]

    async def _ready(self, key: str, queue: Queue, owner: Owner) -> bool:
        """Wait until the oldest command may be sent, or has nobody to be sent to; false once none is left."""
        while True:
            now = self._clock()
            owned = owner()
            account = owned[0] if owned else None
            for result in queue.expire(now):
                why = (account.state.detail or account.state.reason) if account else ""
                if account and not account.up.is_set() and why:
                    self._verdict(
                        key, replace(result, reason=f"{result.reason}; the account is {account.state.status}: {why}")
                    )
                else:
                    self._verdict(key, result)
            soonest = queue.soonest()
            if soonest is None or account is None:
                return soonest is not None
            if not account.up.is_set():
                try:
                    async with asyncio.timeout(min(LOOK_AGAIN, max(0.0, soonest - now))):
                        await account.up.wait()
                except TimeoutError:
                    continue
            pause = self._last_sent.get(key, -self._spacing) + self._spacing - self._clock()
            if pause <= 0:
                return True
            await asyncio.sleep(min(pause, LOOK_AGAIN, max(0.0, soonest - now)))

    async def _carry_out(self, key: str, command: Command, owned: tuple[Account, Device] | None) -> bool:
        """Send a command, part by part; false when the link was gone and it has to be tried again."""
        try:
            if owned is None:
                raise CommandError("the device is gone from the account", verdict="expired", code="unavailable")
            account, device = owned
            for part in device.kind.split(command.remaining):
                confirmed = await self._send(key, command, account, device, part)
                command.done.update(part)
                command.confirmed.update(confirmed)
        except LinkError:
            return False
        except CommandError as error:
            self._verdict(key, ended(command, Verdict(error.verdict), self._clock(), str(error), error.code))
        except AuthError as error:
            # Whether the account needs a person is for its own next attempt to say; here it is one command's end.
            self._verdict(key, ended(command, Verdict.REFUSED, self._clock(), str(error), "account_refused"))
        except Exception:
            # A defect in one vendor's code must neither leave a command without its verdict nor end the bridge.
            log.exception("%s: unexpected error while sending a command. Please report it.", key)
            what = "an unexpected error; see the log"
            self._verdict(key, ended(command, Verdict.UNCONFIRMED, self._clock(), what, "internal"))
        else:
            self._verdict(key, ended(command, Verdict.APPLIED, self._clock()))
        return True

    async def _send(
        self, key: str, command: Command, account: Account, device: Device, part: Mapping[str, Scalar]
    ) -> Values:
        """Send one message's worth of a command.

        Raises:
            AuthError: the vendor refuses the account.
            CommandError: it was not done, or nobody knows.
            LinkError: the link was gone; nothing was sent.
        """
        if command.done:
            await asyncio.sleep(max(0.0, self._last_sent.get(key, 0.0) + self._spacing - self._clock()))
        if self._clock() >= command.expires:
            late = "its time to live was over before all of it could be sent"
            raise CommandError(late, verdict="expired", code="expired")
        try:
            if command.sent is None:
                command.sent = self._clock()
            async with asyncio.timeout(self._timeout):
                return await account.session.send(device, part)
        except TimeoutError as error:
            unheard = str(error) or f"it was sent, but the device did not answer within {self._timeout:g} s"
            raise CommandError(unheard, verdict="unconfirmed", code="no_answer") from error
        finally:
            self._last_sent[key] = self._clock()
