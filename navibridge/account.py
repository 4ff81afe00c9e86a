"""One account of a vendor: its session kept alive, and its state in words."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from navibridge.errors import ADVICE, OTHERWISE, AuthError, LinkError, NavibridgeError
from navibridge.model import LinkDown, LinkUp, ReadOnly
from navibridge.retry import supervise
from navibridge.state import iso
from navibridge.transitions import Transitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from navibridge.backoff import Backoff
    from navibridge.model import Event
    from navibridge.vendors import Session

log = logging.getLogger(__name__)

Status = Literal["online", "offline", "needs_attention"]

RESTARTS_ADVICE: Final = "Look in the log for what ended the earlier runs without a goodbye."

MOST_DEFECTS: Final = 16
"""Unexpected errors of a session that get a traceback in the log, each once."""


@dataclass(frozen=True, slots=True)
class AccountState:
    """How an account is doing, as published on its state topic.

    Attributes:
        status: ``online``, ``offline`` (tried again by itself) or ``needs_attention`` (a person has to act). An
            account that is online with a reason can be read, but takes no commands.
        since: when it came to be so, seconds since the epoch.
        reason: one word for machines.
        detail: a sentence for people.
        what_to_do: the next step for a person; empty when there is none.
    """

    status: Status
    since: float
    reason: str = ""
    detail: str = ""
    what_to_do: str = ""

    def document(self) -> dict[str, Any]:
        """The state as it is published."""
        return {
            "state": self.status,
            "since": iso(self.since),
            "reason": self.reason,
            "detail": self.detail,
            "what_to_do": self.what_to_do,
        }


class Account:
    """Keeps one session alive, hands its events on, and says how the account is doing.

    Attributes:
        name: as in the configuration.
        vendor: the vendor's folder name.
        session: the vendor's session.
        state: how it is doing.
        up: set while the cloud link stands.
        listed: whether the device list has been read completely since the start.
        reconnects: how often the link came up again.
    """

    def __init__(
        self,
        name: str,
        vendor: str,
        session: Session,
        *,
        event: Callable[[Account, Event], None],
        changed: Callable[[Account], None],
        clock: Callable[[], float],
        grace: float,
        backoff: Backoff | None = None,
    ) -> None:
        self.name = name
        self.vendor = vendor
        self.session = session
        self.state = AccountState("offline", clock(), "starting", "Signing in for the first time.")
        self.up = asyncio.Event()
        self.listed = False
        self.reconnects = -1
        self._event = event
        self._changed = changed
        self._clock = clock
        self._grace = grace
        self._backoff = backoff
        self._transitions = Transitions(log)
        self._defects: set[str] = set()

    @property
    def available(self) -> bool:
        """Whether what it said last can be believed: it is online, or was a moment ago."""
        if self.state.status == "online":
            return True
        lately = self._clock() - self.state.since < self._grace
        return self.state.status == "offline" and self.listed and lately

    async def run(self, after: float = 0.0) -> None:
        """Keep the session alive; returns only when a person has to act.

        Args:
            after: seconds to wait first, since this program is started again and again.
        """
        if after:
            detail = f"navibridge was started again and again; the account is signed in to in {after:.0f} s"
            self._become("offline", "restarts", detail, RESTARTS_ADVICE)
            await asyncio.sleep(after)
        try:
            await supervise(self._attempt, waiting=self._wait, backoff=self._backoff)
        except AuthError as error:
            self._become("needs_attention", error.reason, str(error), error.what_to_do)
            log.error("account %s needs attention: %s. %s", self.name, error, error.what_to_do)  # noqa: TRY400 - a person needs the sentence, not the traceback
        finally:
            self._transitions.close()

    async def _attempt(self, stands: Callable[[], None]) -> None:
        try:
            async with aclosing(self.session.events()) as events:
                async for event in events:
                    if isinstance(event, LinkUp | ReadOnly):
                        stands()
                    self._take(event)
        except NavibridgeError:
            raise
        except Exception as error:
            # A defect in one vendor's code must not take the other accounts down.
            if self._is_new(error):
                log.exception("account %s: unexpected error; the session is started anew. Please report it.", self.name)
            raise LinkError(f"unexpected {type(error).__name__}", reason="internal") from error
        finally:
            self.up.clear()

    def _is_new(self, error: Exception) -> bool:
        """Whether a defect has not been in the log before, and there is room for it."""
        defect = f"{type(error).__name__}: {error}"
        if defect in self._defects or len(self._defects) >= MOST_DEFECTS:
            return False
        self._defects.add(defect)
        return True

    def _read_only(self, event: ReadOnly) -> None:
        self.listed = True
        self.up.clear()
        self._transitions.say(
            ("read only", event.reason),
            logging.WARNING,
            "account %s can only be read: %s. %s",
            self.name,
            event.detail,
            event.what_to_do,
        )
        self._become("online", event.reason, event.detail, event.what_to_do)

    def _take(self, event: Event) -> None:
        match event:
            case LinkUp():
                self.listed = True
                self.reconnects += 1
                self._become("online", "", "", "")
                self.up.set()
                self._transitions.say("online", logging.INFO, "account %s is online", self.name)
            case LinkDown(reason, detail):
                self._down(reason, detail, ADVICE.get(reason, OTHERWISE))
            case ReadOnly():
                self._read_only(event)
        try:
            self._event(self, event)
        except Exception as error:
            # A session says most of what it knows once: whatever one event brings to light, the next are still taken.
            if self._is_new(error):
                log.exception("account %s: unexpected error at %s; it is dropped. Please report it.", self.name, event)

    def _wait(self, error: LinkError, seconds: float) -> None:
        self._transitions.say(
            ("offline", error.reason),
            logging.WARNING,
            "account %s is offline: %s. It is tried again by itself, next in %.0f s. %s",
            self.name,
            error,
            seconds,
            error.what_to_do,
        )
        self._down(error.reason, str(error), error.what_to_do)

    def shift(self, step: float) -> None:
        """The clock was set, by so many seconds: the state has lasted as long as before."""
        self.state = replace(self.state, since=self.state.since + step)

    def _down(self, reason: str, detail: str, what_to_do: str) -> None:
        self.up.clear()
        self._become("offline", reason, detail, what_to_do)

    def _become(self, status: Status, reason: str, detail: str, what_to_do: str) -> None:
        since = self.state.since if self.state.status == status else self._clock()
        state = AccountState(status, since, reason, detail, what_to_do)
        if state != self.state:
            self.state = state
            self._changed(self)
