"""The life of a NaviLink account: list, connect, subscribe, ask, listen, command (`docs/protocol/navilink.md` 11).

`NavilinkSession.events` makes one attempt. Its tasks live in one group below it, and whatever they find goes through
one queue to whoever iterates:

    listen    messages -> frames -> values -> readings, acknowledgements, presence
    poll      one question per device and interval, spread over the interval
    watch     questions that stay unanswered: the device is silent, or, when all are, the link is dead
    settle    one question three seconds after each command
    list      the device list again: soon while something is offline, rarely otherwise

What is known of the devices (`Unit`) outlives the attempt; the link (`Link`) does not.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from navibridge.diagnosis import Credentials, Endpoint
from navibridge.doubts import Doubts
from navibridge.errors import CommandError, FrameError, LinkError, Throttled, cause
from navibridge.intake import Intake
from navibridge.model import Found, Gone, LinkUp, Presence, Reading
from navibridge.outbox import Outbox
from navibridge.tasks import TaskGroup
from navibridge.vendors.navilink import devices, messages, packed
from navibridge.vendors.navilink.api import Api
from navibridge.vendors.navilink.auth import Auth
from navibridge.vendors.navilink.codes import INTERVAL_EXCEEDED
from navibridge.vendors.navilink.commanding import FAILURES, Waiting, is_news
from navibridge.vendors.navilink.frames import Frame, parse
from navibridge.vendors.navilink.knowledge import Knowledge
from navibridge.vendors.navilink.link import Link
from navibridge.vendors.navilink.unit import FEATURE_FORMS, MOST_HELD, STATE_FORMS, UNREAD_FORMS, Unit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Container, Iterable, Iterator, Mapping
    from datetime import date

    from navibridge.aws import CloudLink, Message
    from navibridge.model import Device, Event, Scalar, Source, Value, Values
    from navibridge.vendors import Context
    from navibridge.vendors.navilink import Settings
    from navibridge.vendors.navilink.api import Listed
    from navibridge.vendors.navilink.auth import Tokens
    from navibridge.vendors.navilink.devices import Control
    from navibridge.vendors.navilink.link import Topic

log = logging.getLogger(__name__)

GATEWAY: Final = "navilink-"
"""What a device's MAC address follows in topics."""

LEFT_OUT: Final = "the NaviLink cloud closes the link when its topics are subscribed"
MISSING: Final = "the account's device list lacks it"
NOT_CONNECTED: Final = "the NaviLink cloud says that it is not connected"

GONE_AFTER: Final = 2
"""Complete lists in a row that have to lack a device before it counts as gone."""

TURNED_AWAY: Final = frozenset({"closed", "connect_refused"})
"""How an endpoint that can be reached says no without saying why."""

MOST_TURNED_AWAY: Final = 10
"""Times in a row after which the credentials are suspected, whatever their lifetime was said to be."""

MOST_CHANNELS: Final = 16
"""Channels of one gas gateway that are taken seriously; real ones have three."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each sort of waiting takes, in seconds.

    Attributes:
        answer: after which a question counts as unanswered.
        introduction: for features and a first status, before a device is announced without them.
        settling: between a command and the question for what came of it.
        retry: before a command is repeated that came too soon after another.
        listing: between two looks at the device list.
        listing_offline: the same while a device is offline; never more often.
        features: between two questions for what a device can do.
        rarely: between two questions for schedules and energy.
        saving: between two writes of what is known of the devices.
    """

    answer: float = 10.0
    introduction: float = 6.0
    settling: float = 3.0
    retry: float = 5.0
    listing: float = 600.0
    listing_offline: float = 60.0
    features: float = 1800.0
    rarely: float = 3600.0
    saving: float = 30.0

    def at(self, pace: float) -> Timing:
        """The same, so many times as fast."""
        return Timing(**{item.name: getattr(self, item.name) / pace for item in fields(self)})


class NavilinkSession:
    """One account of NaviLink; a `navibridge.vendors.Session`.

    Args:
        settings: the account's section of the configuration.
        context: what the core hands it.
        timing: how long it waits for what.
    """

    def __init__(self, settings: Settings, context: Context, *, timing: Timing | None = None) -> None:
        self._settings = settings
        self._context = context
        self._timing = timing or Timing().at(context.pace)
        ca_file = str(settings.ca_file) if settings.ca_file else None
        self._rest = context.rest(settings.api_url, ca_file)
        self._auth = Auth(
            self._rest,
            settings.email,
            settings.password,
            store=context.store,
            account=context.account,
            clock=context.clock,
            budget=settings.sign_ins,
        )
        self._api = Api(self._auth)
        self._knowledge = Knowledge(context.store, f"{context.account}-devices")
        self._units: dict[str, Unit] = {}
        self._doubts = Doubts()
        self._link: Link | None = None
        self._outbox = Outbox()
        self._announced = asyncio.Event()
        self._look_again = asyncio.Event()
        self._listed_at = float("-inf")
        self._turned_away = 0
        self._tells_connectivity = True
        self._last_session_id = 0
        self._intake = Intake(context.count)

    # --- the contract -------------------------------------------------------------------------------------------------

    async def events(self) -> AsyncGenerator[Event, None]:
        """One attempt; see `navibridge.vendors.Session.events`.

        When `LinkUp` comes, every listed device has been announced.

        Raises:
            AuthError: NaviLink refuses the account.
            LinkError: worth another attempt.
        """
        async with aclosing(
            self._outbox.events(self._attempt(), f"navilink account {self._context.account}")
        ) as events:
            async for event in events:
                yield event

    async def send(self, device: Device, changes: Mapping[str, Scalar]) -> Values:
        """Carry out one message's worth of changes; see `navibridge.vendors.Session.send`.

        Raises:
            CommandError: the device refused, or confirmed another value.
            LinkError: the link is away; nothing was sent.
            TimeoutError: sent, but no answer came.
        """
        link, unit = self._reached(device)
        confirmed: dict[str, Value] = {}
        for number, control in enumerate(devices.controls(device, changes, unit.values)):
            try:
                confirmed |= await self._carry_out(link, unit, device, control)
            except LinkError as error:
                if number == 0:
                    raise
                raise TimeoutError("the link to the cloud broke before everything was sent") from error
        return {key: confirmed[key] for key in changes if key in confirmed}

    async def ask(self, device: Device) -> None:
        """Ask a device how it is; see `navibridge.vendors.Session.ask`.

        Raises:
            LinkError: the link is away.
        """
        link, unit = self._reached(device)
        await link.ask(unit)

    def _reached(self, device: Device) -> tuple[Link, Unit]:
        link, unit = self._link, self._units.get(device.id)
        if link is None or unit is None:
            raise LinkError("the link to the NaviLink cloud is away", reason="closed")
        if not link.reaches(unit):
            raise LinkError(f"the device can not be reached: {unit.reason}", reason="left_out")
        return link, unit

    # --- one attempt --------------------------------------------------------------------------------------------------

    async def _attempt(self) -> None:
        """From the sign-in to the end of the link."""
        async with self._rest:
            tokens = await self._auth.for_link()
            await self._list_or_go_on()
            await self._live(tokens)

    async def _list_or_go_on(self) -> None:
        """Read the device list; who has one already does not depend on the REST service to open the link again.

        Raises:
            LinkError: the list can not be read, and there is no earlier one.
        """
        try:
            await self._read_list()
        except LinkError as error:
            if not self._units:
                raise
            log.debug("the device list can not be read, the earlier one will do: %s", error)
            self._look_again.set()

    async def _live(self, tokens: Tokens) -> None:
        """Open the link and run the tasks until one of them fails."""
        client_id = f"navibridge-{tokens.user_seq}-{self._knowledge.install_id}"
        link = Link(
            await self._open(tokens, client_id),
            client_id=client_id,
            user_seq=tokens.user_seq,
            session_id=self._session_id,
            doubts=self._doubts,
            patience=self._timing.answer,
            settling=self._timing.settling,
        )
        try:
            async with TaskGroup() as group:
                group.create_task(self._listen(link), name="navilink listen")
                group.create_task(self._watch(link), name="navilink watch")
                group.create_task(self._settle(link), name="navilink settle")
                units = tuple(self._units.values())
                for unit in units:
                    if not unit.missing and not link.reaches(unit):
                        self._set_online(unit, online=False, reason=LEFT_OUT)
                await link.subscribe(units)
                self._link = link
                await self._introduce(link, units)
                self._outbox.emit(LinkUp())
                group.create_task(self._poll(link), name="navilink poll")
                group.create_task(self._list(link), name="navilink list")
                group.create_task(self._save_now_and_then(), name="navilink save")
        except* LinkError as errors:
            if link.broken(cause(errors)):
                # Likeliest because the account has lost a device; the others are not to wait for the next list.
                self._listed_at = float("-inf")
            raise
        finally:
            self._link = None
            for unit in self._units.values():
                unit.forget_link()
            self._knowledge.save(self._units.values())
            await link.cloud.close()

    async def _open(self, tokens: Tokens, client_id: str) -> CloudLink:
        """The connection to AWS IoT, with the last will of `docs/protocol/navilink.md` 4.5 on the first device."""
        settings = self._settings
        endpoint = Endpoint(
            settings.iot_host,
            settings.iot_port,
            ca_file=str(settings.ca_file) if settings.ca_file else None,
            region=settings.region,
            protocol=settings.mqtt_protocol,
            keep_alive=settings.keep_alive,
        )
        credentials = Credentials(
            tokens.access_key, tokens.secret_key, tokens.session_token, expires_at=tokens.aws_term.ends
        )
        first = next((unit for unit in self._units.values() if not unit.missing), None)
        will = None
        # A will that the account's policy forbids keeps the link from opening, so every second try goes without.
        if first is not None and self._turned_away % 2 == 0:
            will = messages.will(first.address(client_id, tokens.user_seq), self._session_id())
        try:
            cloud = await self._context.network.open_link(
                endpoint, client_id, lambda: credentials, will=will, clock=self._context.clock
            )
        except LinkError as error:
            if error.reason in TURNED_AWAY:
                self._turned_away += 1
            if error.reason == "upgrade_refused" or self._turned_away >= MOST_TURNED_AWAY:
                # The same ones would be refused until they expire, up to an hour from now.
                self._auth.revoke_credentials(tokens.access_key)
                self._turned_away = 0
            raise
        self._turned_away = 0
        return cloud

    async def _introduce(self, link: Link, units: Iterable[Unit]) -> None:
        """Ask devices what they can do and how they are, and announce them, whether they answer or not."""
        introduced = list(units)
        for unit in introduced:
            if link.reaches(unit):
                await link.ask_about(unit, "features", self._today())
                await link.ask(unit)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.introduction):
                while any(unit.device is None and unit.online is not False for unit in introduced):
                    self._announced.clear()
                    await self._announced.wait()
        for unit in introduced:
            if unit.device is None:
                self._announce(unit)

    # --- tasks --------------------------------------------------------------------------------------------------------

    async def _listen(self, link: Link) -> None:
        async for message in link.cloud.messages():
            self._take(link, message)
            await self._outbox.room()
        raise LinkError("the link was closed", reason="closed")

    async def _poll(self, link: Link) -> None:
        """Ask every device once per interval, one after the other, evenly."""
        time = asyncio.get_running_loop().time
        due = time()
        while True:
            units = tuple(self._units.values())
            pause = self._settings.poll_interval / max(len(units), 1)
            for unit in units or (None,):
                due = max(due + pause, time())
                await asyncio.sleep(due - time())
                if unit is not None and unit.id in self._units and link.reaches(unit):
                    await link.ask(unit)
                    if unit.heard:
                        await self._ask_more(link, unit, time())

    async def _ask_more(self, link: Link, unit: Unit, now: float) -> None:
        """The first of the rare questions that is due, if any."""
        for topic, interval in self._rare_topics(unit):
            asked = unit.asked_for.get(topic)
            past = topic == "energy" and unit.energy_of != self._today()
            if asked is None or now - asked >= interval or past:
                await link.subscribe((unit,))  # the answers' topics, should the unit have changed its family
                await link.ask_about(unit, topic, self._today())
                return

    def _rare_topics(self, unit: Unit) -> Iterator[tuple[Topic, float]]:
        """What a unit is worth asking about, and every how many seconds."""
        yield "features", self._timing.features if unit.features else 0.0
        # The time-of-use plan is not asked for: the question is a write command that lacks the plan (section 10.3).
        if unit.features.get("supports_reservations") is True:
            yield "reservations", self._timing.rarely
        if unit.features.get("supports_recirculation_schedule") is True:
            yield "recirculation", self._timing.rarely
        if unit.features.get("supports_energy_usage") is True:
            yield "energy", self._timing.rarely

    def _today(self) -> date:
        return datetime.fromtimestamp(self._context.clock()).astimezone().date()

    async def _watch(self, link: Link) -> None:
        """Count the questions that are not answered in time."""
        time = asyncio.get_running_loop().time
        while True:
            while link.asked and link.asked[0].due <= time():
                question = link.asked.popleft()
                if question.unit.asked == question.at:
                    self._missed(question.unit)
            # All questions have the same patience, so that the first one in the queue is always due first.
            await asyncio.sleep(link.asked[0].due - time() if link.asked else self._timing.answer)

    def _missed(self, unit: Unit) -> None:
        unit.asked = None
        unit.unanswered += 1
        if not unit.silent:
            return
        self._set_online(unit, online=False, reason="no answer to three polls")
        heard = [other for other in self._units.values() if other.heard]
        if heard and all(other.silent for other in heard):
            raise LinkError("nothing is answered any more, though the link seems to stand", reason="half_open")

    async def _settle(self, link: Link) -> None:
        """Ask again a little after each command; the delay is always the same, so first in is first due."""
        time = asyncio.get_running_loop().time
        while True:
            due, unit = await link.commanded.get()
            await asyncio.sleep(max(0.0, due - time()))
            await link.ask(unit)

    async def _list(self, link: Link) -> None:
        """Read the device list again: rarely, soon when something is offline or uncertain, never too often."""
        time = asyncio.get_running_loop().time
        not_before, failing = 0.0, False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.listing):
                    await self._look_again.wait()
            await asyncio.sleep(max(0.0, not_before - time(), self._listed_at + self._timing.listing_offline - time()))
            try:
                found = await self._read_list()
            except LinkError as error:
                if not failing:
                    log.info("the device list can not be read for now: %s", error)
                failing = True
                patience = error.retry_after if isinstance(error, Throttled) else self._timing.listing_offline
                not_before = time() + patience
                self._look_again.set()
                continue
            failing = False
            if found:
                await link.subscribe(found)
                await self._introduce(link, found)

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._timing.saving)
            self._knowledge.save(self._units.values())

    # --- the device list ----------------------------------------------------------------------------------------------

    async def _read_list(self) -> list[Unit]:
        """Read the device list, unless that was done just now; returns the units that are new, or back."""
        now = asyncio.get_running_loop().time()
        if now < self._listed_at + self._timing.listing_offline:  # the very sum that `_list` waits for
            return []
        self._look_again.clear()
        listing = await self._api.devices()
        self._listed_at = asyncio.get_running_loop().time()
        listed = {device.mac for device in listing.devices}
        # An account's first list may be the one that lacks a device by accident, so it is compared with the last run's.
        earlier = [] if self._units else [device for device in self._knowledge.devices() if device.mac not in listed]
        found = [unit for device in (*listing.devices, *earlier) for unit in self._take_listed(device)]
        for unit in tuple(self._units.values()):
            if unit.listed.connected is None and not unit.heard and self._tells_connectivity:
                connected = await self._api.connected(unit.listed)
                self._tells_connectivity = connected is not None
                self._take_connectivity(unit, connected)
        if listing.complete:
            await self._drop_missing(listed)
        if any(unit.online is False or unit.missing for unit in self._units.values()):
            self._look_again.set()
        return found

    def _take_listed(self, listed: Listed) -> list[Unit]:
        """Take one entry of the list in; returns its units if they are new, or back."""
        known = [unit for unit in self._units.values() if unit.listed.mac == listed.mac]
        units = known or self._units_of(listed)
        known = [unit for unit in known if not unit.missing]
        for unit in units:
            unit.listed, unit.missing = listed, 0
            if unit.described or unit.device is not None:
                self._announce(unit)
            self._take_connectivity(unit, listed.connected)
        return [] if known else units

    def _take_connectivity(self, unit: Unit, connected: bool | None) -> None:  # noqa: FBT001 - as the service says it
        """What the service says of a device's connection; what the device itself says or fails to say outranks it."""
        if connected is False and (unit.unanswered or not unit.heard):
            self._set_online(unit, online=False, reason=NOT_CONNECTED)
        elif connected is True and (unit.online is None or unit.reason in (NOT_CONNECTED, MISSING)):
            self._set_online(unit, online=True)
            if self._link is not None:
                self._link.again(unit)

    def _units_of(self, listed: Listed) -> list[Unit]:
        """The units of an entry that is new, with what is known of them from earlier runs."""
        units = self._knowledge.units(listed, self._settings.response_topics)
        self._units |= {unit.id: unit for unit in units}
        return units

    async def _drop_missing(self, listed: Container[str]) -> None:
        """Say goodbye to what two complete lists in a row lacked; one might be an accident of the service."""
        for unit in tuple(self._units.values()):
            if unit.listed.mac in listed:
                continue
            unit.missing += 1
            self._set_online(unit, online=False, reason=MISSING)
            if unit.missing >= GONE_AFTER:
                del self._units[unit.id]
                self._knowledge.forget(unit.listed.mac)
                self._outbox.emit(Gone(unit.id))
                if self._link is not None:
                    await self._link.unsubscribe(unit)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def _take(self, link: Link, message: Message) -> None:
        """One message of the cloud; whatever is wrong with it, the session goes on."""
        with self._intake.frame():
            self._take_message(link, message)

    def _take_message(self, link: Link, message: Message) -> None:
        """One message of the cloud.

        Raises:
            FrameError: it is not what it should be.
        """
        levels = message.topic.split("/")
        if levels[-1] == "disconnect-mqtt":
            log.info("the cloud announced that connections end; looking at the device list again")
            self._look_again.set()
            return
        mac = next((level.removeprefix(GATEWAY) for level in levels[2:3] if level.startswith(GATEWAY)), None)
        frame = parse(message.payload, mac, topic=message.topic)
        if frame.form == "request":
            return  # our own, or another client's: they travel under the device's own topics
        unit = self._units.get(frame.device_id or self._owner(link, message.payload))
        if unit is None:
            log.debug("a frame of form %s of a device that is not listed", frame.form)
        elif frame.form == "connection":
            self._take_connection(link, unit, frame, levels)
        else:
            for part in (frame, *frame.also):
                self._take_frame(link, self._channel(unit, part), part, message.at)

    def _owner(self, link: Link, payload: bytes) -> str:
        """The device of a frame that names none: of a binary one, the first four characters of the MAC address do.

        Where they fit several devices, these are asked to answer under their own topics from now on.

        Raises:
            FrameError: it could be anybody's.
        """
        if not packed.is_header(payload):
            raise FrameError("a frame that names no device, on a topic that names none", sort="no_device")
        _, prefix = packed.decode_header(payload)
        candidates = [
            unit
            for unit in self._units.values()
            if unit.kind is devices.HEAT_PUMP
            and prefix.encode().ljust(packed.PREFIX_SIZE, b"\0") in packed.prefixes(unit.listed.mac)
        ]
        if len(candidates) == 1:
            return candidates[0].id
        undecided = [unit for unit in candidates if unit.family == "app"]
        for unit in undecided:
            unit.family = "library"
            link.again(unit)
        if undecided:
            log.info("binary frames fit %d devices; these answer under their own topics from now on", len(candidates))
            return ""
        raise FrameError(f"a binary frame that any of {len(candidates)} devices may have sent", sort="ambiguous_device")

    def _channel(self, unit: Unit, frame: Frame) -> Unit:
        """The unit of a gas unit's channel; channel information that names a further one makes it known."""
        channel = frame.channel
        if channel is None or unit.channel == channel:
            return unit
        if unit.channel is None:
            unit.channel = channel
            return unit
        key = f"{unit.listed.mac}_{channel}"
        if key not in self._units and frame.form in FEATURE_FORMS and 0 < channel <= MOST_CHANNELS:
            self._units[key] = Unit(key, unit.listed, channel, family=unit.family, online=unit.online)
        return self._units.get(key, unit)

    def _take_connection(self, link: Link, unit: Unit, frame: Frame, levels: list[str]) -> None:
        """A device came or went (`docs/protocol/navilink.md` 4.5); other apps' comings and goings look alike."""
        status = frame.fields.get("status")
        if not isinstance(status, int) or (levels[-1] == "app-connection" and "sessionNumber" not in frame.fields):
            return
        self._look_again.set()
        if status > 0:
            unit.unanswered = 0
            self._set_online(unit, online=True)
            link.again(unit)
        else:
            self._set_online(unit, online=False, reason="it disconnected from the NaviLink cloud")

    def _take_frame(self, link: Link, unit: Unit, frame: Frame, at: float) -> None:
        """What a device said: decoded, remembered, and told to whoever wants to know.

        Raises:
            FrameError: it is not what devices of this sort say.
        """
        if (unit.kind is devices.HEAT_PUMP) is frame.form.startswith(("gas_", "tcp_")):
            raise FrameError(f"a frame of form {frame.form} from a {unit.kind.name}", sort="wrong_kind")
        if frame.form == "energy":
            today = self._today()
            frame = replace(frame, fields=devices.usage(frame.fields, today.year, today.month, today.day))
        self._heard(unit)
        decoded = devices.decode(frame, unit.features)
        news = not decoded.values.keys() <= unit.seen
        if news:
            unit.seen = self._knowledge.shared(unit.seen | decoded.values.keys())
        if frame.form in FEATURE_FORMS:
            news = True
            unit.features |= decoded.values
            count = frame.fields.get("unitCount")
            unit.units = count if isinstance(count, int) and count > 0 else 1
        elif frame.form in STATE_FORMS:
            unit.spoke = True
        merged = unit.take(decoded.values)
        if news if unit.device is not None else unit.described:
            self._announce(unit)
        source: Source = "poll" if frame.client_id == link.client_id else "push"
        if self._answer(link, unit, frame, merged):
            source = "ack"
        if frame.form not in UNREAD_FORMS and (decoded.values or decoded.unknown):
            self._tell(unit, Reading(unit.id, decoded.values, at, source, decoded.unknown))

    def _answer(self, link: Link, unit: Unit, frame: Frame, values: Values) -> bool:
        """Hand a frame to the command that waits for it, if one does."""
        for waiting in unit.waiting:
            if not waiting.answer.done() and waiting.is_answered_by(frame, values, link.client_id):
                waiting.answer.set_result((frame, values))
                return True
        return False

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _tell(self, unit: Unit, reading: Reading) -> None:
        if unit.device is not None:
            self._outbox.emit(reading)
        else:
            unit.held = [*unit.held, reading][-MOST_HELD:]

    def _announce(self, unit: Unit) -> None:
        """Say what is known of a device, if that is more or other than was said before."""
        alerts = self._settings.alerts
        device = unit.describe(charge_below=alerts.charge_below, power_above=alerts.power_above)
        if device == unit.device:
            return
        first = unit.device is None
        unit.device = device
        self._outbox.emit(Found(device))
        if first:
            if unit.online is not None:
                self._outbox.emit(Presence(unit.id, unit.online, unit.reason))
            for reading in unit.held:
                self._outbox.emit(reading)
            unit.held.clear()
            self._announced.set()

    def _heard(self, unit: Unit) -> None:
        unit.heard = True
        unit.asked = None
        unit.unanswered = 0
        self._set_online(unit, online=True)

    def _set_online(self, unit: Unit, *, online: bool, reason: str = "") -> None:
        if unit.online is online:
            return
        unit.online, unit.reason = online, reason
        if unit.device is not None:
            self._outbox.emit(Presence(unit.id, online, reason))
        if not online:
            self._look_again.set()

    async def _carry_out(self, link: Link, unit: Unit, device: Device, control: Control) -> Values:
        """Send one control and judge what the device says to it; once more if it came too soon after another."""
        waiting, frame, values = await self._exchange(link, unit, device, control)
        if frame.form in FAILURES and frame.fields.get("failCode") == INTERVAL_EXCEEDED:
            await asyncio.sleep(self._timing.retry)
            waiting, frame, values = await self._exchange(link, unit, device, control)
        if frame.form in FAILURES:
            raise CommandError(
                f"the device refused (failCode {frame.fields.get('failCode')})",
                verdict="refused",
                code="device_refused",
            )
        wrong = waiting.contradiction(values)
        if wrong:
            raise CommandError(
                "; ".join(f"{key}: asked for {control.confirms[key]}, the device says {values[key]}" for key in wrong),
                verdict="refused",
                code="not_confirmed",
            )
        return values

    async def _exchange(
        self, link: Link, unit: Unit, device: Device, control: Control
    ) -> tuple[Waiting, Frame, Values]:
        """Send one control, and wait for the frame that answers it."""
        waiting = Waiting(
            control,
            self._session_id(),
            device,
            is_news(device, control, unit.values),
            asyncio.get_running_loop().create_future(),
        )
        unit.waiting.append(waiting)
        try:
            await link.command(unit, control, waiting.session_id)
            return waiting, *await self._answered(waiting)
        finally:
            if waiting in unit.waiting:
                unit.waiting.remove(waiting)

    async def _answered(self, waiting: Waiting) -> tuple[Frame, Values]:
        limit = self._context.answer_timeout
        try:
            async with asyncio.timeout(limit) as timeout:
                return await waiting.answer
        except TimeoutError as error:
            if timeout.expired():
                raise TimeoutError(f"the device did not answer within {limit:g} s") from error
            raise  # the link broke meanwhile

    def _session_id(self) -> str:
        """The time in milliseconds, never twice the same: the device echoes it, and so the answer is recognised."""
        self._last_session_id = max(self._last_session_id + 1, int(self._context.clock() * 1000))
        return str(self._last_session_id)
