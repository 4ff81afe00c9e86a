"""Replays a capture: the real sessions read it, and the real bridge publishes what they say.

It goes in two steps, and neither depends on how fast a machine is. First the sessions live through the capture in
virtual time, on a network that answers as the cloud did; what they say, and when, is the `Story`. Then a bridge is told
the story, one event at a time: its clocks are the capture's, and it has always published everything before time goes
on. So the same messages are published in the same order at any speed.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import defaultdict, deque
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import orjson

from navibridge import config, vendors, virtual
from navibridge.bridge import Bridge
from navibridge.errors import AuthError, CommandError, FrameError, LinkError, NavibridgeError
from navibridge.model import Event, LinkDown
from navibridge.network import Network
from navibridge.recording import operation
from navibridge.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
    from typing import Self

    from navibridge.aws import CloudLink, Message
    from navibridge.capture import Head, Line
    from navibridge.model import Device, Scalar, Values
    from navibridge.rest import Answer, Rest

RETRY: Final = 2.0
"""Seconds of the capture until a session is tried again that has ended."""

AFTERWARDS: Final = 7.0
"""Seconds that sessions live on after the last line, to say what follows from it.

A device that has not said what it can do is announced without it after six, and counts as silent after ten.
"""

EMAIL: Final = "replay@example.com"
PASSWORD: Final = "replay"  # noqa: S105 - of an account that does not exist


# --- the first step: sessions in virtual time -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counted:
    """A session counted something, such as a frame."""

    name: str


What: TypeAlias = Event | Counted | AuthError


@dataclass(frozen=True, slots=True)
class Step:
    """What an account's session said, and when, in seconds since the epoch."""

    at: float
    account: str
    what: What


def settings(head: Head, values: Mapping[str, Any]) -> config.Config:
    """The configuration of a replay: the given one with the capture's accounts.

    Args:
        head: of the capture.
        values: further sections.

    Raises:
        ConfigError: a vendor does not know an option of the capture.
        FrameError: nobody knows the vendor of an account.
    """
    for name, options in head.accounts.items():
        if options["vendor"] not in vendors.names():
            raise FrameError(f"account {name} is of a vendor {options['vendor']!r} that is not known", sort="capture")
    accounts = {name: {**options, "email": EMAIL, "password": PASSWORD} for name, options in head.accounts.items()}
    return config.build(
        {**values, "accounts": accounts},
        vendors=lambda name: vendors.load(name).Settings,
        vendor_names=vendors.names(),
        source="capture",
    )


def story(settings: config.Config, head: Head, lines: Iterable[Line]) -> list[Step]:
    """What the sessions say of the capture, in the order of its time. Not to be called where an event loop runs.

    Args:
        settings: of the replay; see `settings`.
        head: of the capture.
        lines: in the order of their time.
    """
    of_account: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        of_account[line.account].append(line)
    steps: list[Step] = []
    chance = random.getstate()
    try:
        for name in head.accounts:
            random.seed(name)  # pauses have jitter, and each replay shall have the same
            with tempfile.TemporaryDirectory(prefix="navibridge-replay-") as directory:
                steps += virtual.run(_live(name, settings, of_account[name], Store(Path(directory))), began=head.at)
    finally:
        random.setstate(chance)
    return sorted(steps, key=lambda step: step.at)


async def _live(account: str, settings: config.Config, lines: Sequence[Line], store: Store) -> list[Step]:
    """What one account's session says, from the first line to the last."""
    loop = virtual.running()
    steps: list[Step] = []

    def say(what: What) -> None:
        steps.append(Step(loop.clock(), account, what))

    network = ReplayedNetwork(lines)
    own = settings.accounts[account]
    session = vendors.load(own.vendor).open_session(
        own,
        vendors.Context(
            account=account,
            store=store,
            clock=loop.clock,
            count=lambda name: say(Counted(name)),
            device_settings=partial(settings.device, own.vendor),
            answer_timeout=settings.commands.timeout,
            network=network,
        ),
    )
    living = asyncio.create_task(_keep(session, say), name=f"account {account}")
    for line in lines:
        await asyncio.sleep(line.at - loop.clock())
        network.happen(line)
    await asyncio.sleep(AFTERWARDS)
    living.cancel()
    with suppress(asyncio.CancelledError):
        await living
    return steps


async def _keep(session: vendors.Session, say: Callable[[What], None]) -> None:
    """Attempt after attempt, as an account makes them, only without chance in the pauses between."""
    while True:
        try:
            async with aclosing(session.events()) as events:
                async for event in events:
                    say(event)
        except AuthError as error:
            say(error)
            return
        except LinkError as error:
            say(LinkDown(error.reason, str(error)))
        await asyncio.sleep(RETRY)


class ReplayedNetwork(Network):
    """A network that answers as a captured one did.

    Args:
        lines: of one account, in the order of their time.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self._answers: dict[str, deque[Line]] = defaultdict(deque)
        self._attempts: deque[Line] = deque()
        self._links: list[_ReplayedLink] = []
        self._number = count(1)
        for line in lines:
            if line.direction == "rest":
                self._answers[line.topic].append(line)
            elif line.direction in ("open", "refused"):
                self._attempts.append(line)

    def rest(self, *_: object, **__: object) -> Rest:
        """A client of the captured answers."""
        return cast("Rest", _ReplayedRest(self._answers))

    async def open_link(self, *_: object, **__: object) -> CloudLink:
        """A link that brings the captured frames.

        Raises:
            LinkError: that attempt failed when it was captured.
        """
        outcome = self._attempts.popleft() if self._attempts else None
        number = next(self._number)
        if outcome is not None and outcome.direction == "refused":
            reason = outcome.payload.decode("utf-8", "replace")
            raise LinkError(f"the link could not be opened: {reason}", reason=reason)
        link = _ReplayedLink(number)
        self._links.append(link)
        return cast("CloudLink", link)

    def happen(self, line: Line) -> None:
        """Let a line's frame come, or its link end."""
        self._links = [link for link in self._links if link.open]
        link = next((link for link in self._links if link.number == line.link), None)
        if link is None and self._links:
            link = self._links[-1]  # links are opened in another order sometimes
        if link is not None and line.direction in ("in", "close"):
            link.happen(line)


class _ReplayedRest:
    """A `Rest` that gives the answers to each question in their order, the last one again and again."""

    def __init__(self, answers: Mapping[str, deque[Line]]) -> None:
        self._answers = answers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **_: object) -> Answer:
        from navibridge.rest import Answer  # noqa: PLC0415 - brings the HTTP library along

        asked = operation(method, path, headers)
        answers = self._answers.get(asked)
        if not answers:
            raise LinkError(f"the capture has no answer to {asked}", reason="not_captured")
        line = answers.popleft() if len(answers) > 1 else answers[0]
        if not line.status:
            reason = line.payload.decode("utf-8", "replace")
            raise LinkError(f"{asked}: {reason}", reason=reason)
        try:
            return Answer(line.status, orjson.loads(line.payload))
        except orjson.JSONDecodeError as error:
            raise LinkError(f"{asked}: the answer is not JSON", reason="service") from error


class _ReplayedLink:
    """A `CloudLink` on which comes what was captured; what is sent on it goes nowhere."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.open = True
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue()

    def happen(self, line: Line) -> None:
        self._lines.put_nowait(line)

    async def subscribe(self, filters: Sequence[str], qos: int = 1) -> dict[str, bool]:  # noqa: ARG002 - a link's
        return dict.fromkeys(filters, True)

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Nothing comes but what was captured."""

    async def publish(self, topic: str, payload: bytes, qos: int = 1, *, wait: bool = True) -> None:
        """Nobody is there to hear it."""

    async def messages(self) -> AsyncIterator[Message]:
        from navibridge.aws import Message  # noqa: PLC0415 - brings the AWS runtime along

        while (line := await self._lines.get()) is not None:
            if line.direction == "close":
                self.open = False
                reason = line.payload.decode("utf-8", "replace") or "closed"
                raise LinkError(f"the link ended when this was captured: {reason}", reason=reason)
            yield Message(line.topic, line.payload, line.at)

    async def close(self) -> None:
        self.open = False
        self._lines.put_nowait(None)


# --- the second step: a bridge is told the story ----------------------------------------------------------------------


class _Told:
    """A `Session` that says what it is told to."""

    def __init__(self, context: vendors.Context) -> None:
        self._context = context
        self._steps: asyncio.Queue[What] = asyncio.Queue()
        self._over = False

    async def say(self, what: What) -> None:
        """Return when the bridge has heard it."""
        if not self._over:
            self._steps.put_nowait(what)
            await self._steps.join()

    async def events(self) -> AsyncGenerator[Event, None]:
        while True:
            what = await self._steps.get()
            try:
                match what:
                    case AuthError():
                        self._over = True
                        raise what
                    case Counted(name):
                        self._context.count(name)
                    case event:
                        yield event
            finally:
                self._steps.task_done()

    async def send(self, device: Device, changes: Mapping[str, Scalar]) -> Values:  # noqa: ARG002 - a session's
        raise CommandError("this is a replay: no device is there to be told anything", code="read_only")

    async def ask(self, device: Device) -> None:
        """No device is there to be asked."""


class Replay(Bridge):
    """A bridge that lives through a capture instead of the present.

    Args:
        settings: of the replay; see `settings`.
        head: of the capture.
        store: where it keeps its counters.
    """

    def __init__(self, settings: config.Config, head: Head, store: Store) -> None:
        self._now = head.at
        self._told: dict[str, _Told] = {}
        self._due: float | None = None
        self._tick_now = asyncio.Event()
        self._ticker_waits = asyncio.Event()
        super().__init__(settings, store, clock=lambda: self._now, monotonic=lambda: self._now)

    def open_session(self, settings: config.AccountSettings, context: vendors.Context) -> vendors.Session:  # noqa: ARG002 - a bridge's
        """A session that says what the story has."""
        told = self._told[context.account] = _Told(context)
        return told

    def health(self) -> dict[str, Any]:
        """The figures, without what this very process needs to replay."""
        return {**super().health(), "memory_mb": None}

    async def sleep(self, seconds: float) -> None:
        """Let the time of the capture pass."""
        self._due = self._now + seconds
        self._ticker_waits.set()
        try:
            await self._tick_now.wait()
        finally:
            self._tick_now.clear()

    async def play(self, steps: Iterable[Step], *, speed: float) -> None:
        """Tell the story, while `run` runs.

        Args:
            steps: in the order of their time.
            speed: how many seconds of the capture pass in one.
        """
        loop = asyncio.get_running_loop()
        began, first = loop.time(), self._now

        async def become(at: float) -> None:
            self._now = max(self._now, at)
            await asyncio.sleep(began + (self._now - first) / speed - loop.time())

        await self.settled()
        for step in steps:
            await self._ticker_waits.wait()
            while self._due is not None and self._due <= step.at:
                await become(self._due)
                await self._let_tick()
            await become(step.at)
            await self._told[step.account].say(step.what)
            if not isinstance(step.what, Counted):
                await self.settled()

    async def _let_tick(self) -> None:
        self._ticker_waits.clear()
        self._tick_now.set()
        await self._ticker_waits.wait()
        await self.settled()


async def replay(settings: config.Config, head: Head, steps: Iterable[Step], *, speed: float) -> Replay:
    """Publish a story; returns the bridge, stopped, when everything has been published.

    Args:
        settings: of the replay; see `settings`.
        head: of the capture.
        steps: its `story`.
        speed: how many seconds of the capture pass in one.
    """
    with tempfile.TemporaryDirectory(prefix="navibridge-replay-") as directory:
        bridge = Replay(settings, head, Store(Path(directory)))
        running = asyncio.create_task(bridge.run(), name="bridge")
        playing = asyncio.create_task(bridge.play(steps, speed=speed), name="story")
        try:
            await asyncio.wait((running, playing), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
                raise NavibridgeError("the bridge ended before the capture did")
            playing.result()
        finally:
            for task in (playing, running):
                task.cancel()
                await asyncio.wait((task,))
        return bridge
