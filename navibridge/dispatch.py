"""Carries commands to their devices: queued, spaced, coalesced, sent, and each given its one verdict."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from navibridge.commands import Command, Queue, Result, Verdict, ended
from navibridge.errors import CommandError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from navibridge.account import Account
    from navibridge.model import Device

log = logging.getLogger(__name__)

LINK_PAUSE: Final = 0.2
"""Seconds before a command is tried again that met a link just gone, while the account still counts as online."""


class Dispatcher:
    """The queues of all devices, and one task for each device that has something to send.

    Args:
        group: where the tasks live.
        verdict: told each command's end, with the device's key.
        spacing: least seconds between two messages to one device.
        size: most commands that wait for one device.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        verdict: Callable[[str, Result], None],
        *,
        spacing: float,
        size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group = group
        self._verdict = verdict
        self._spacing = spacing
        self._size = size
        self._clock = clock
        self._queues: dict[str, Queue] = {}
        self._last_sent: dict[str, float] = {}
        self._asking: set[str] = set()

    def submit(self, key: str, command: Command, account: Account, device: Callable[[], Device | None]) -> None:
        """Queue a checked command; its verdict follows, at once if the queue is full.

        Args:
            key: the device's key.
            command: what to do.
            account: whose session sends it.
            device: the device as it is known when the command's turn comes; ``None`` once it is gone.
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
            self._group.create_task(self._work(key, queue, account, device), name=f"commands of {key}")

    async def _work(self, key: str, queue: Queue, account: Account, device: Callable[[], Device | None]) -> None:
        """Send what waits for one device, then end."""
        sending: Command | None = None
        try:
            while await self._ready(key, queue, account):
                sending = queue.next()
                if sending is not None and not await self._carry_out(key, sending, account, device()):
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

    async def _ready(self, key: str, queue: Queue, account: Account) -> bool:
        """Wait until the oldest command may be sent; false once none is left."""
        while True:
            now = self._clock()
            for result in queue.expire(now):
                why = account.state.detail or account.state.reason
                if not account.up.is_set() and why:
                    self._verdict(
                        key, replace(result, reason=f"{result.reason}; the account is {account.state.status}: {why}")
                    )
                else:
                    self._verdict(key, result)
            soonest = queue.soonest()
            if soonest is None:
                return False
            if not account.up.is_set():
                try:
                    async with asyncio.timeout(max(0.0, soonest - now)):
                        await account.up.wait()
                except TimeoutError:
                    continue
            pause = self._last_sent.get(key, -self._spacing) + self._spacing - self._clock()
            if pause <= 0:
                return True
            await asyncio.sleep(min(pause, max(0.0, soonest - now)))

    async def _carry_out(self, key: str, command: Command, account: Account, device: Device | None) -> bool:
        """Send a command, part by part; false when the link was gone and it has to be tried again."""
        if device is None:
            self._end(key, command, Verdict.EXPIRED, "the device is gone from the account", "unavailable")
            return True
        for part in device.kind.split(command.remaining):
            if command.done:
                await asyncio.sleep(max(0.0, self._last_sent.get(key, 0.0) + self._spacing - self._clock()))
            if self._clock() >= command.expires:
                self._end(key, command, Verdict.EXPIRED, "its time to live was over before all of it could be sent")
                return True
            self._last_sent[key] = self._clock()
            try:
                confirmed = await account.session.send(device, part)
            except LinkError:
                return False
            except CommandError as error:
                self._end(key, command, Verdict(error.verdict), str(error), error.code)
                return True
            except TimeoutError as error:
                reason = str(error) or "the device did not answer"
                self._end(key, command, Verdict.UNCONFIRMED, reason, "no_answer")
                return True
            except Exception:
                # A defect in one vendor's code must not leave a command without a verdict.
                log.exception("%s: unexpected error while sending a command. Please report it.", key)
                self._end(key, command, Verdict.UNCONFIRMED, "an unexpected error; see the log", "internal")
                return True
            finally:
                self._last_sent[key] = self._clock()
            command.done.update(part)
            command.confirmed.update(confirmed)
        self._end(key, command, Verdict.APPLIED)
        return True

    def _end(self, key: str, command: Command, verdict: Verdict, reason: str = "", code: str = "") -> None:
        self._verdict(key, ended(command, verdict, self._clock(), reason, code))
