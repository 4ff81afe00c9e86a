"""A bridge as its broker shows it, and a way to ask it; the bridge need not be of this process.

`observing` looks at the bridge of the configured broker. `some_bridge` does the same, and where none runs it starts one
of its own for the moment, on a broker of its own: what a command does is the same either way, and so is the checking.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge import vendors
from navibridge.bridge import Bridge
from navibridge.broker import LocalBroker
from navibridge.cli.outcome import note
from navibridge.config import Broker as BrokerSettings
from navibridge.config import Discovery, Secret
from navibridge.demo.broker import Broker, Rules
from navibridge.errors import AuthError, CommandError, LinkError
from navibridge.state import is_temperature
from navibridge.store import Store
from navibridge.topics import Topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from navibridge.broker import Link, Message
    from navibridge.config import Config
    from navibridge.model import Attribute, Kind
    from navibridge.state import TemperatureUnit
    from navibridge.topics import Published

ECHO_LIMIT: Final = 3.0
"""Seconds for the broker to hand over what is retained."""

BRIEF: Final = 1.0
"""The same, once an echo has not come."""

ANSWER_LIMIT: Final = 5.0
"""Seconds for a running bridge to answer."""

DEVICES_LIMIT: Final = 45.0
"""Seconds for a bridge that has just started to sign in and list its devices."""


@dataclass(frozen=True, slots=True)
class Known:
    """A device as a bridge describes it; see ``devices`` in `navibridge.status`."""

    topic: str
    id: str
    vendor: str
    account: str
    name: str
    kind: str
    model: str
    firmware: str | None
    available: bool
    seen_at: str | None
    attributes: tuple[str, ...]
    writable: tuple[str, ...]

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> Known:
        """From one entry of the bridge's answer; what a newer bridge says beyond that is left aside."""
        fields = {name: description.get(name) for name in cls.__dataclass_fields__}
        for name in ("attributes", "writable"):
            fields[name] = tuple(description.get(name) or ())
        return cls(**fields)  # type: ignore[arg-type]

    @property
    def table(self) -> Kind | None:
        """Its kind's table."""
        if self.vendor not in vendors.names():
            return None
        return next((kind for kind in vendors.load(self.vendor).KINDS if kind.name == self.kind), None)

    def row(self, key: str) -> Attribute | None:
        """One attribute of its table."""
        table = self.table
        return table.by_key.get(key) if table else None

    def unit(self, key: str, unit: TemperatureUnit = "C") -> str | None:
        """The unit that an attribute is published in."""
        row = self.row(key)
        if row is None:
            return None
        return "°F" if unit == "F" and is_temperature(row.quantity) else row.quantity.unit


def same_device(wanted: str, *names: str) -> bool:
    """Whether a person means the device of one of these names, in any case."""
    return wanted.casefold().strip() in {name.casefold() for name in names}


class Observer:
    """What one bridge has published, and a way to ask it.

    Attributes:
        where: the broker.
        topics: of that bridge.
        online: whether the bridge says that it runs.
        info: its info document.
        accounts: state documents of its accounts, by name.
        states: state documents of its devices, by topic.
        availability: ``online`` or ``offline`` of its devices, by topic.
    """

    def __init__(self, link: Link, topics: Topics, heard: Callable[[Published, Message], None] | None) -> None:
        self.where = link.where
        self.topics = topics
        self.online = False
        self.info: dict[str, Any] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.states: dict[str, dict[str, Any]] = {}
        self.availability: dict[str, str] = {}
        self._link = link
        self._heard = heard
        self._name = f"cli-{secrets.token_hex(4)}"
        self._echo = topics.response(self._name)
        self.echoed = False
        self._settled = False
        self._asked: set[str] = set()
        self._answers: dict[str, dict[str, Any]] = {}
        self._fresh: set[str] = set()
        self._arrival = asyncio.Event()
        self._end: Exception | None = None

    async def listen(self) -> None:
        """Take in whatever the bridge publishes, until cancelled; what ends it is told to those that wait."""
        try:
            async for message in self._link.messages():
                self._take(message)
                self._arrival.set()
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits, see `wait_until`
            self._end = error
            self._arrival.set()

    async def subscribe(self) -> None:
        """Subscribe, and return when everything retained has come.

        First to the bridge itself: of a thousand devices a broker may not hand out all that is retained at once.
        """
        base, topics = self.topics.base, self.topics
        own = (topics.bridge_state, topics.bridge_info, f"{base}/bridge/account/+/+", f"{base}/bridge/response/+")
        devices = (f"{base}/+/state", f"{base}/+/availability", f"{base}/+/result")
        limit = ECHO_LIMIT
        for filters in (own, devices):
            self._settled = False
            await self._link.subscribe(filters)
            await self._link.publish(self._echo, b"{}")
            # Retained messages come before what is published after the subscription. A broker whose access rules keep
            # the echo back costs a moment, nothing else.
            if not await self.wait_until(lambda: self._settled, limit):
                limit = BRIEF

    async def wait_until(self, condition: Callable[[], object], seconds: float | None) -> bool:
        """Wait for a condition over what was published; false when it did not come true in time.

        Raises:
            LinkError: the broker is gone.
        """
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if self._end is not None:
                        raise self._end
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            return False
        return True

    async def request(self, verb: str, **asked: Any) -> Any:
        """The bridge's answer to one request.

        Raises:
            LinkError: it does not answer.
            CommandError: it answers that it can not.
        """
        transaction = self._new_question()
        await self._link.publish(self.topics.request(verb), orjson.dumps({**asked, "transaction": transaction}))
        answer = await self._answer(transaction, ANSWER_LIMIT)
        if answer is None:
            raise LinkError(
                f"the bridge at {self.where} says that it is online, but it did not answer within {ANSWER_LIMIT:g} s",
                reason="timeout",
                what_to_do="Look at its log, and restart it.",
            )
        if answer.get("status") != "ok":
            raise CommandError(str(answer.get("error")), code="invalid_value")
        return answer.get("data")

    async def devices(self) -> list[Known]:
        """Every device that the bridge knows now."""
        return [Known.described(description) for description in await self.request("devices")]

    async def find(self, wanted: str) -> Known:
        """The one device that goes by that topic, id or name.

        Raises:
            CommandError: none does, or several do.
            AuthError, LinkError: none does, and an account that might have it is not online.
        """
        # Only a complete list tells whether a name is one device's alone.
        await self.wait_until(lambda: self._identified(wanted) or not self.starting, DEVICES_LIMIT)
        devices = await self.devices()
        found = [device for device in devices if same_device(wanted, device.topic, device.id)] or [
            device for device in devices if same_device(wanted, device.name)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            named = "; ".join(f"{device.topic} ({device.name})" for device in found)
            raise CommandError(f"{wanted!r} may be any of these, name one by its topic: {named}", code="unknown_device")
        self.raise_for_accounts(f"there is no device {wanted!r} yet")
        known = ", ".join(f"{device.topic} ({device.name})" for device in devices) or "none"
        raise CommandError(f"there is no device {wanted!r}; known are: {known}", code="unknown_device")

    def raise_for_accounts(self, start: str) -> None:
        """Raise what keeps the first account that is not online from being so, if there is one."""
        known = self.info.get("accounts", self.accounts)
        for name, state in self.accounts.items():
            if state.get("state") == "online" or name not in known:
                continue
            text = f"{start}, and account {name} is {state.get('state')}: {state.get('detail') or state.get('reason')}"
            reason, advice = str(state.get("reason")), str(state.get("what_to_do") or "")
            if state.get("state") == "needs_attention":
                raise AuthError(text, reason=reason, what_to_do=advice)
            raise LinkError(text, reason=reason, what_to_do=advice)

    @property
    def starting(self) -> bool:
        """Whether an account is still on its way through its first sign-in."""
        names = self.info.get("accounts", {})
        first = {"state": "offline", "reason": "starting"}
        states = (self.accounts.get(name, first) for name in names)
        return not names or any(
            (state.get("state"), state.get("reason")) == ("offline", "starting") for state in states
        )

    def _identified(self, wanted: str) -> bool:
        """Whether a device of that topic or id is listed; either is no other's."""
        devices: Mapping[str, Mapping[str, str]] = self.info.get("devices", {})
        return any(same_device(wanted, topic, str(device.get("id"))) for topic, device in devices.items())

    async def ask(self, device: Known, seconds: float) -> bool:
        """Have the device asked for its state now; whether one arrived in time."""
        self._fresh.discard(device.topic)
        await self._link.publish(self.topics.get(device.topic), b"")
        return await self.wait_until(lambda: device.topic in self._fresh, seconds)

    async def send(
        self, device: Known, changes: Mapping[str, object], *, ttl: float | None, seconds: float
    ) -> dict[str, Any]:
        """Have the device commanded; its verdict as published.

        Raises:
            TimeoutError: there was none within the time.
        """
        command_id = self._new_question()
        payload: dict[str, object] = {**changes, "id": command_id}
        if ttl is not None:
            payload["ttl"] = ttl
        await self._link.publish(self.topics.set(device.topic), orjson.dumps(payload))
        result = await self._answer(command_id, seconds)
        if result is None:
            raise TimeoutError
        return result

    def _new_question(self) -> str:
        """A name for a question or a command; only what answers those asked here is kept."""
        name = f"cli-{secrets.token_hex(8)}"
        self._asked.add(name)
        return name

    async def _answer(self, name: str, seconds: float) -> dict[str, Any] | None:
        try:
            await self.wait_until(lambda: name in self._answers, seconds)
        finally:
            self._asked.discard(name)
        return self._answers.pop(name, None)

    def _take(self, message: Message) -> None:
        if message.topic == self._echo:
            self.echoed = self._settled = True
            return
        published = self.topics.parse_published(message.topic)
        if published is None:
            return
        try:
            self._note(published, message)
        except (orjson.JSONDecodeError, UnicodeDecodeError, TypeError):
            return  # something else publishes below our base topic
        if self._heard is not None:
            self._heard(published, message)

    def _note(self, published: Published, message: Message) -> None:
        name, payload = published.name, message.payload
        match published.of, published.what:
            case "bridge", "state":
                self.online = payload == b"online"
            case "bridge", "info":
                self.info = _document(payload)
            case "bridge", "response":
                self._note_answer("transaction", _document(payload))
            case "account", "state":
                self.accounts[name] = _document(payload)
            case "device", "state" if payload:
                self.states[name] = _document(payload)
                if not message.retain:
                    self._fresh.add(name)
            case "device", "state":
                self.states.pop(name, None)
            case "device", "availability":
                self.availability[name] = payload.decode()
            case "device", "result":
                self._note_answer("id", _document(payload))

    def _note_answer(self, key: str, answer: dict[str, Any]) -> None:
        if isinstance(name := answer.get(key), str) and name in self._asked:
            self._answers[name] = answer


def _document(payload: bytes) -> dict[str, Any]:
    document = orjson.loads(payload) if payload else {}
    if not isinstance(document, dict):
        raise TypeError("no object")
    return document


@asynccontextmanager
async def observing(
    settings: BrokerSettings, topics: Topics, heard: Callable[[Published, Message], None] | None = None
) -> AsyncIterator[Observer]:
    """The bridge of a broker, once everything retained has come.

    Args:
        settings: the broker.
        topics: the bridge's topics.
        heard: told of every message of the bridge, after it was noted.

    Raises:
        LinkError: the broker can not be reached.
    """
    # A client id of its own: with the bridge's it would throw the bridge out.
    broker = LocalBroker(settings, client_id=f"navibridge-cli-{secrets.token_hex(4)}", will=None)
    async with broker.open() as link:
        observer = Observer(link, topics, heard)
        listening = asyncio.create_task(observer.listen(), name="observer")
        try:
            await observer.subscribe()
            yield observer
        finally:
            listening.cancel()
            await asyncio.wait((listening,))


@asynccontextmanager
async def some_bridge(
    config: Config, visit: str, heard: Callable[[Published, Message], None] | None = None
) -> AsyncIterator[Observer]:
    """The running bridge, else one of our own for as long as this lasts.

    Args:
        config: the configuration.
        visit: the directory, below the state directory, where a bridge of our own keeps its tokens: it must not share
            the running bridge's, whose identity in the cloud goes with them.
        heard: see `observing`.

    Raises:
        LinkError: there is no bridge, and no account to sign in to instead.
    """
    async with AsyncExitStack() as stack:
        observer = await _running(stack, config, heard)
        if observer is None:
            observer = await stack.enter_async_context(_own_bridge(config, visit, heard))
        yield observer


async def _running(
    stack: AsyncExitStack, config: Config, heard: Callable[[Published, Message], None] | None
) -> Observer | None:
    """The running bridge, closed with the stack; ``None`` where there is none but there are accounts."""
    topics = Topics(config.broker.base_topic, config.discovery.prefix)
    try:
        async with AsyncExitStack() as trial:
            observer = await trial.enter_async_context(observing(config.broker, topics, heard))
            if observer.online:
                stack.push_async_exit(trial.pop_all())
                return observer
    except LinkError as error:
        if not config.accounts:
            raise
        note(f"asking the cloud directly: {error}")
        return None
    if not config.accounts:
        raise no_bridge(config)
    return None


def no_bridge(config: Config) -> LinkError:
    """What to say where a running bridge is needed and there is none."""
    broker = config.broker
    return LinkError(
        f"no bridge is running at {broker.host}:{broker.port} under {broker.base_topic!r}",
        reason="no_bridge",
        what_to_do="Start one with `navibridge run`, or check broker.host and broker.base_topic.",
    )


@asynccontextmanager
async def _own_bridge(
    config: Config, visit: str, heard: Callable[[Published, Message], None] | None
) -> AsyncIterator[Observer]:
    """A bridge of this process, on an embedded broker that lets nobody else in."""
    name, password = "visit", secrets.token_urlsafe(24)
    broker = Broker(rules=Rules(passwords={name: password}))
    port = await broker.listen()
    settings = BrokerSettings(host="127.0.0.1", port=port, username=name, password=Secret(password))
    own = config.model_copy(update={"broker": settings, "discovery": Discovery(enabled=False)})
    running = asyncio.create_task(Bridge(own, Store(config.state_dir / visit)).run(), name="own bridge")
    try:
        async with observing(settings, Topics(), heard) as observer:
            await observer.wait_until(lambda: running.done() or observer.online, ANSWER_LIMIT)
            if running.done():
                running.result()
            yield observer
    finally:
        running.cancel()
        await asyncio.wait((running,))
        await broker.close()
