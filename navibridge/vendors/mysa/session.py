"""The life of a Mysa account: two paths to its thermostats, one to each of them for commands (`docs/protocol/mysa.md`).

    REST     the list of devices, their settings, what the cloud last heard of them   read again and again
    links    what the devices say at once, their batches, answers to commands         each kept by a task of its own

Either path does without the other for a while. Without links the account can still be read, and says so by `ReadOnly`;
without the REST service the devices still speak. Only when both are gone does `MysaSession.events` end, and the core
makes another attempt. What is known of the devices (`Unit`) and of the links (`Link`) outlives the attempt.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import secrets
from contextlib import aclosing, suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from navibridge.diagnosis import Endpoint
from navibridge.doubts import Doubts
from navibridge.errors import CommandError, LinkError, Throttled, cause
from navibridge.intake import Intake
from navibridge.model import Confirmed, Found, Gone, LinkDown, LinkUp, Presence, Reading, ReadOnly
from navibridge.outbox import Outbox
from navibridge.tasks import TaskGroup
from navibridge.transitions import Transitions
from navibridge.vendors.mysa import batch, controls, devices, frames
from navibridge.vendors.mysa.api import Api
from navibridge.vendors.mysa.auth import Auth, Pools
from navibridge.vendors.mysa.energy import Ledger
from navibridge.vendors.mysa.frames import Frame
from navibridge.vendors.mysa.link import Link
from navibridge.vendors.mysa.models import Family
from navibridge.vendors.mysa.recovery import Recovery
from navibridge.vendors.mysa.unit import HOLD, NOT_CONNECTED, SILENCE, Unit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping

    from navibridge.aws import CloudLink, Message
    from navibridge.model import Device, Event, Scalar, Value, Values
    from navibridge.vendors import Context
    from navibridge.vendors.mysa import Settings
    from navibridge.vendors.mysa.controls import Control

log = logging.getLogger(__name__)

GONE_AFTER: Final = 2
"""Lists in a row that have to lack a device before it counts as gone; one might be an accident of the service."""

NEAR: Final = 0.01
"""By how much a confirmed number may differ from the one that was asked for."""

ABOUT_FORMS: Final = frozenset({*frames.BOOT_FORMS, "log"})
"""The forms that may tell firmware and serial number."""

JUST_STARTED: Final = "it has just started, and not said yet how it is"

_ID: Final = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each sort of waiting takes, in seconds.

    Attributes:
        listing: between two looks at the device list.
        listing_again: between two such looks at least, or two at the states, when something calls for one.
        asking: between two looks at one device's state at least, when somebody asks.
        firmware: between two looks for newer firmware.
        firmware_first: before the first of them; the start has more important things to do.
        firmware_apart: between two devices.
        saving: between two writes of what is known of the devices; memory cards wear out.
        life: of a link, before AWS IoT ends it after 24 hours.
        hold: after a command, before the REST service is believed again about what was commanded.
        silence: between two messages of a device, after which it may have been changed unheard.
        settling: between a device's first words and their show at the REST service, about.
        moment: for which an account without its links is not yet said to be readable by the REST service alone.
    """

    listing: float = 300.0
    listing_again: float = 30.0
    asking: float = 5.0
    firmware: float = 43_200.0
    firmware_first: float = 60.0
    firmware_apart: float = 1.0
    saving: float = 600.0
    life: float = 82_800.0
    hold: float = HOLD
    silence: float = SILENCE
    settling: float = 10.0
    moment: float = 10.0

    def at(self, pace: float) -> Timing:
        """The same, so many times as fast."""
        return Timing(**{item.name: getattr(self, item.name) / pace for item in fields(self)})


class MysaSession:
    """One account of Mysa; a `navibridge.vendors.Session`.

    Args:
        settings: the account's section of the configuration.
        context: what the core hands it.
        timing: how long it waits for what.
        chance: random numbers from 0 to 1.
    """

    def __init__(
        self,
        settings: Settings,
        context: Context,
        *,
        timing: Timing | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._context = context
        self._timing = timing or Timing().at(context.pace)
        self._chance = chance
        ca_file = str(settings.ca_file) if settings.ca_file else None
        self._rests = tuple(
            context.rest(url, ca_file) for url in (settings.api_url, settings.user_pool_url, settings.identity_pool_url)
        )
        self._auth = Auth(
            *self._rests,
            pools=Pools(
                settings.user_pool,
                settings.client_id,
                settings.identity_pool,
                scheme="Bearer " if settings.authorization == "bearer" else "",
            ),
            email=settings.email,
            password=settings.password,
            store=context.store,
            account=context.account,
            clock=context.clock,
            budget=settings.sign_ins,
        )
        self._api = Api(self._auth)
        self._section = f"{context.account}-devices"
        kept = context.store.load(self._section).get("devices")
        self._kept: dict[str, Any] = kept if isinstance(kept, dict) else {}
        self._units: dict[str, Unit] = {}
        self._links: list[Link] = []
        self._doubts = Doubts()
        self._user: dict[str, Any] | None = None
        self._up = False
        self._outbox = Outbox()
        self._group: TaskGroup | None = None
        self._look_again = asyncio.Event()
        self._next_look: asyncio.Timeout | None = None
        self._listed_at = self._polled_at = self._asked_at = float("-inf")
        self._access_key = ""
        self._last_id = 0
        self._intake = Intake(context.count)
        self._spared = {what: Transitions(log) for what in ("firmware", "user")}

    # --- the contract -------------------------------------------------------------------------------------------------

    async def events(self) -> AsyncGenerator[Event, None]:
        """One attempt; see `navibridge.vendors.Session.events`.

        When `LinkUp` or `ReadOnly` comes, every listed device has been announced.

        Raises:
            AuthError: Mysa refuses the account.
            LinkError: worth another attempt.
        """
        async with aclosing(self._outbox.events(self._attempt(), f"mysa account {self._context.account}")) as events:
            async for event in events:
                yield event

    async def send(self, device: Device, changes: Mapping[str, Scalar]) -> Values:
        """Carry out one message's worth of changes; see `navibridge.vendors.Session.send`.

        Raises:
            CommandError: the device or the service refused, or confirmed another value.
            LinkError: the link is away; nothing was sent.
            TimeoutError: sent, but no answer came.
        """
        link, unit = self._reached(device)
        control = controls.control(unit.device, changes, unit.state.values)
        confirmed: dict[str, Value] = {}
        if control.cmd:
            confirmed |= await self._command(link, unit, control)
        if control.settings:
            confirmed |= await self._write(link, unit, control)
        return {key: confirmed[key] for key in changes if key in confirmed}

    async def ask(self, device: Device) -> None:
        """Ask a device how it is, and the REST service what it last heard; see `navibridge.vendors.Session.ask`.

        Raises:
            LinkError: the link is away.
        """
        unit = self._known(device)
        if (link := self._link_of(unit.id)) is not None:
            await link.start_publishing(unit)
        now = asyncio.get_running_loop().time()
        if now - self._asked_at < self._timing.asking:
            return
        self._asked_at = now
        try:
            self._take_states({unit.id: await self._api.state(unit.id)})
        except LinkError as error:
            log.debug("the device was asked, the REST service does not answer: %s", error)

    def _known(self, device: Device) -> Unit:
        unit = self._units.get(device.id)
        if unit is None:
            raise LinkError("the account does not list the device at the moment", reason="closed")
        return unit

    def _reached(self, device: Device) -> tuple[Link, Unit]:
        unit = self._known(device)
        link = self._link_of(unit.id)
        if link is None:
            raise CommandError(unit.device.true_model.product.unsupported, code="read_only")
        if not link.up:
            raise LinkError("the link to the Mysa cloud is away", reason="closed")
        if not link.reaches(unit):
            raise CommandError("the Mysa cloud keeps this account from the device", verdict="refused", code="forbidden")
        return link, unit

    def _link_of(self, device_id: str) -> Link | None:
        return next((link for link in self._links if device_id in link.units), None)

    # --- one attempt --------------------------------------------------------------------------------------------------

    async def _attempt(self) -> None:
        """From the sign-in to the end of both paths."""
        self._up = False
        api, user_pool, identity_pool = self._rests
        try:
            async with api, user_pool, identity_pool:
                await self._live()
        finally:
            self._group = None
            self._save()

    async def _read_account_or_go_on(self) -> None:
        """Read everything; who has read it before does not depend on the REST service to open the links again.

        Raises:
            LinkError: it can not be read, and never was.
        """
        try:
            await self._read_account()
        except LinkError as error:
            if not self._units:
                raise
            log.debug("the account can not be read, what is known of it will do: %s", error)

    async def _live(self) -> None:
        await self._read_account_or_go_on()
        async with TaskGroup() as group:
            self._group = group
            for link in self._links:
                group.create_task(self._keep(link), name=f"mysa link {link.number}")
            for unit in tuple(self._units.values()):
                await self._connect_unit(unit)
            if not self._links:
                self._up = True  # nobody to be connected to
                self._outbox.emit(LinkUp())
            group.create_task(self._poll(), name="mysa poll")
            group.create_task(self._look_for_firmware(), name="mysa firmware")
            group.create_task(self._save_now_and_then(), name="mysa save")

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._timing.saving)
            self._save()

    def _save(self) -> None:
        """Keep what can not be asked for again; the store does not write what it has already."""
        self._kept |= {
            unit.id: {"seen": sorted(unit.seen), "ledger": unit.ledger.dump()} for unit in self._units.values()
        }
        self._context.store.save(self._section, {"devices": self._kept})

    # --- the links ----------------------------------------------------------------------------------------------------

    async def _connect_unit(self, unit: Unit) -> None:
        """See to it that a device is served by a link; central HVAC speaks another protocol and has none."""
        if unit.device.true_model.family is Family.CENTRAL or self._link_of(unit.id) is not None:
            return
        link = next((link for link in self._links if link.room), None)
        if link is None:
            link = self._new_link()
            if self._group is not None:
                self._group.create_task(self._keep(link), name=f"mysa link {link.number}")
        with suppress(LinkError):  # the link's own task finds out, and subscribes again
            await link.add(unit)

    def _new_link(self) -> Link:
        link = Link(
            number=len(self._links) + 1,
            connect=self._open,
            take=self._take,
            opened=self._link_opened,
            doubts=self._doubts,
            recovery=Recovery(self._chance, self._context.pace),
            clock=self._context.clock,
            publish_timeout=self._settings.publish_timeout,
            watchdog=self._settings.watchdog,
            life=self._timing.life,
        )
        self._links.append(link)
        return link

    async def _open(self) -> CloudLink:
        """A connection to AWS IoT, with fresh credentials and a client id that nobody has used before."""
        settings = self._settings
        endpoint = Endpoint(
            settings.iot_host,
            settings.iot_port,
            ca_file=str(settings.ca_file) if settings.ca_file else None,
            region=settings.region,
            protocol=settings.mqtt_protocol,
            keep_alive=settings.keep_alive,
            path=settings.iot_path,
        )
        try:
            credentials = await self._auth.credentials()
        except LinkError as error:
            if error.reason != "closed":
                raise
            # A link that is closed again and again calls for other credentials; a service that closes is no link.
            raise LinkError(str(error), reason="service", what_to_do=error.what_to_do) from error
        self._access_key = credentials.access_key
        client_id = f"navibridge-{secrets.token_hex(8)}"
        try:
            return await self._context.network.open_link(
                endpoint, client_id, lambda: credentials, clock=self._context.clock
            )
        except LinkError as error:
            if error.reason == "upgrade_refused":
                # Revoked or mis-clocked: the same ones would be refused again, until they expire an hour from now.
                self._auth.revoke_credentials(credentials.access_key)
            raise

    async def _keep(self, link: Link) -> None:
        """Keep one link alive. Ends only when a person has to act, or when the REST service is gone as well."""
        time = asyncio.get_running_loop().time
        while True:
            try:
                await link.hold()
                continue
            except Exception as error:
                ended = cause(error)
                if not isinstance(ended, LinkError):
                    raise ended from error
            verdict = link.recovery.after(ended.reason, stood=link.stood, now=time())
            if verdict.storm:
                log.debug("link %d is closed again and again; trying other credentials", link.number)
                self._auth.revoke_credentials(self._access_key)
            wait = max(verdict.wait, ended.retry_after if isinstance(ended, Throttled) else 0.0)
            await self._link_failed(link, ended, wait)
            await asyncio.sleep(wait)

    def _link_opened(self, link: Link) -> None:
        log.debug("link %d serves %d devices", link.number, len(link.units))
        if not self._up:
            self._up = True
            self._outbox.emit(LinkUp())
        self._look_soon()

    async def _link_failed(self, link: Link, error: LinkError, wait: float) -> None:
        """Say what the loss of a link means for the account, until the next attempt after so many seconds.

        Raises:
            LinkError: the REST service is gone, too.
        """
        log.debug("link %d: %s", link.number, error)  # what it means for the account is said there
        if any(other.up for other in self._links):
            return
        if self._up:
            self._up = False
            self._outbox.emit(LinkDown(error.reason, str(error)))
            if wait < self._timing.moment:
                return  # mostly it is back in a second, so that this is all there is to say for now
        if asyncio.get_running_loop().time() - self._polled_at > self._settings.poll_interval / 2:
            await self._read_states()
        self._outbox.emit(
            ReadOnly(
                "no_realtime",
                f"Mysa's live connection can not be opened ({error}). Values are read every"
                f" {self._settings.poll_interval:.0f} s, and commands have to wait",
                error.what_to_do,
            )
        )

    # --- the REST service ---------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        """Read the REST service again and again; what it can not tell now, the links may."""
        time = asyncio.get_running_loop().time
        failing, patience = False, 0.0
        while True:
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.poll_interval) as self._next_look:
                        await self._look_again.wait()
            finally:
                self._next_look = None  # also at the end of an attempt: it can not be brought forward any more
            await asyncio.sleep(patience)
            try:
                if self._look_again.is_set() or time() - self._listed_at >= self._timing.listing:
                    await asyncio.sleep(self._listed_at + self._timing.listing_again - time())
                    await self._read_account()
                else:
                    await self._read_states()
            except LinkError as error:
                if not self._up:
                    raise
                if not failing:
                    log.info("the REST service does not answer for now: %s", error)
                failing = True
                patience = error.retry_after if isinstance(error, Throttled) else self._settings.poll_interval
            else:
                failing, patience = False, 0.0

    def _look_soon(self) -> None:
        """Devices speak again: ask the REST service for what they do not tell, once they have reported there too.

        Not too often: some speak so rarely that each of their messages comes after a silence.
        """
        settled = asyncio.get_running_loop().time() + self._timing.settling
        soon = max(settled, self._polled_at + self._timing.listing_again)
        if self._next_look is not None and (self._next_look.when() or 0.0) > soon:
            self._next_look.reschedule(soon)

    async def _read_account(self) -> None:
        """Read everything: who may be there, what each can do and is set to, and what was last heard of it."""
        self._look_again.clear()
        listed, states, installed, user = await _together(
            self._api.devices(),
            self._api.states(),
            self._unless_refused("firmware", self._api.installed()),
            self._unless_refused("user", self._api.user()),
        )
        self._listed_at = self._polled_at = asyncio.get_running_loop().time()
        self._user = user or self._user
        for device_id, entry in listed.items():
            self._take_listed({**entry, "Id": device_id}, (installed or {}).get(device_id))
        self._take_states(states)
        for unit in tuple(self._units.values()):
            unit.describe(self._user)
            self._announce(unit)
            if self._group is not None:
                await self._connect_unit(unit)
        await self._drop_missing(listed)

    async def _unless_refused(self, what: str, question: Coroutine[Any, Any, Any]) -> Any:
        """The answer to a question that the account can do without; ``None`` when the service has none."""
        try:
            answer = await question
        except LinkError as error:
            if error.reason not in ("declined", "service"):
                raise
            self._spared[what].say(str(error), logging.INFO, "%s; going on without it", error)
            return None
        self._spared[what].say("", logging.DEBUG, "the service tells the %s", what)
        return answer

    async def _read_states(self) -> None:
        states = await self._api.states()
        self._polled_at = asyncio.get_running_loop().time()
        self._take_states(states)
        if states.keys() - self._units.keys():
            self._look_again.set()

    def _take_listed(self, listed: Mapping[str, Any], installed: str | None) -> None:
        """One entry of the device list."""
        now, device_id = self._context.clock(), listed["Id"]
        if not _ID.fullmatch(device_id):
            log.debug("a device of the list has no proper id; it is left out")
            return
        unit = self._units.get(device_id)
        if unit is None:
            unit = self._units[device_id] = self._new_unit(device_id, listed)
        unit.missing = 0
        for confirmed in unit.take_settings(listed, now):
            self._outbox.emit(confirmed)
        if installed:
            unit.take_firmware(Frame("rest_firmware", {"InstalledVersion": installed}, device_id, -1, "rest"), now)
            unit.describe(self._user, firmware=installed)

    def _new_unit(self, device_id: str, listed: Mapping[str, Any]) -> Unit:
        """A device that is new, with what is known of it from earlier runs."""
        kept = self._kept.get(device_id)
        found = kept if isinstance(kept, dict) else {}
        device = devices.build(listed, user=self._user)
        if why := device.true_model.product.unsupported:
            log.warning(
                "%s is a %s. %s It can be left alone: set devices.%s.exclude", device_id, device.model, why, device_id
            )
        return Unit(
            device,
            listed,
            rated_watts=self._context.device_settings(device_id).rated_watts,
            ledger=Ledger.load(found.get("ledger")),
            seen={key for key in found.get("seen") or () if key in device.kind.by_key},
            hold_for=self._timing.hold,
            silence=self._timing.silence,
        )

    def _take_states(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """What the REST service last heard of devices."""
        now = self._context.clock()
        for device_id, state in states.items():
            unit = self._units.get(device_id)
            if unit is None:
                continue
            self._tell(unit, unit.take_state(state, now))
            online = unit.is_connected()
            if online is not None:
                self._set_online(unit, online=online)

    async def _drop_missing(self, listed: Mapping[str, Any]) -> None:
        for unit in tuple(self._units.values()):
            if unit.id in listed:
                continue
            unit.missing += 1
            self._look_again.set()
            if unit.missing >= GONE_AFTER:
                del self._units[unit.id]
                self._kept.pop(unit.id, None)
                self._outbox.emit(Gone(unit.id))
                link = self._link_of(unit.id)
                if link is not None:
                    with suppress(LinkError):  # with the link its subscriptions are gone as well
                        await link.drop(unit)

    async def _look_for_firmware(self) -> None:
        """Ask for newer firmware, rarely and one device after the other: there is no question about all of them."""
        await asyncio.sleep(self._timing.firmware_first)
        while True:
            for unit in tuple(self._units.values()):
                try:
                    answer = await self._api.firmware(unit.id)
                except LinkError as error:
                    log.debug("nothing is known of newer firmware for %s: %s", unit.id, error)
                    await asyncio.sleep(error.retry_after if isinstance(error, Throttled) else 0.0)
                else:
                    unit.take_firmware(Frame("rest_update", answer, unit.id, -1, "rest"), self._context.clock())
                await asyncio.sleep(self._timing.firmware_apart)
            await asyncio.sleep(self._timing.firmware)

    # --- what comes in ------------------------------------------------------------------------------------------------

    async def _take(self, message: Message) -> None:
        """One message of a device; whatever is wrong with it, the session goes on."""
        with self._intake.frame():
            frame = frames.parse(message.payload, message.topic)
            unit = self._units.get(frame.device_id or "")
            if unit is not None:
                await self._take_frame(unit, frame, message.at)
        await self._outbox.room()

    async def _take_frame(self, unit: Unit, frame: Frame, at: float) -> None:
        if frame.form == "request":
            return  # somebody else's
        since = unit.heard_since
        if frame.form == "unknown":
            self._context.count("unknown_frames")
            log.debug("%s: %s message %d is not known: %s", unit.id, frame.envelope, frame.number, frame.fields)
            return
        if frame.form == "batch":
            self._tell(unit, self._read_batch(unit, frame, at))
        else:
            if frame.form in frames.BOOT_FORMS:
                # It was away, and what was known of it before may be long past: it is back once it has said how it is.
                self._set_online(unit, online=False, reason=JUST_STARTED)
            reading = unit.take(frame, at, "ack" if self._answer(unit, frame) else "push")
            if frame.form in ABOUT_FORMS:
                serial = frame.fields.get("serial")
                unit.describe(self._user, serial=serial if isinstance(serial, str) else None)
            self._tell(unit, [] if reading is None else [reading])
        if unit.heard_since != since:
            self._look_soon()
        if frame.form not in ABOUT_FORMS:
            self._set_online(unit, online=True)
        if frame.form in frames.BOOT_FORMS and (link := self._link_of(unit.id)) is not None and link.up:
            await link.start_publishing(unit)

    def _read_batch(self, unit: Unit, frame: Frame, at: float) -> list[Reading]:
        found = batch.decode(frame.fields["readings"])
        damaged = len(found.readings) - len(found.usable)
        if damaged or found.skipped or found.remainder:
            self._context.count("damaged_batches")
            log.debug(
                "%s: a batch with %d bad records, %d bytes of none and %d of a cut-off one",
                unit.id,
                damaged,
                found.skipped,
                len(found.remainder),
            )
        return unit.take_batch(found.usable, at, frame.at)

    def _answer(self, unit: Unit, frame: Frame) -> bool:
        """Hand the answer to a command to whoever waits for it; false for what nobody asked for, or asked no more."""
        answer = unit.waiting.get(frame.resp_id or 0) if frame.form == "result" else None
        if answer is None or answer.done():
            return False
        answer.set_result(frame)
        return True

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _tell(self, unit: Unit, readings: Iterable[Reading | Confirmed]) -> None:
        """Hand readings on; what a device has not shown before is announced first."""
        if not unit.is_described():
            unit.describe(self._user)
        self._announce(unit)
        for reading in readings:
            self._outbox.emit(reading)

    def _announce(self, unit: Unit) -> None:
        """Say what is known of a device, if that is more or other than was said before."""
        if unit.device != unit.announced:
            unit.announced = unit.device
            self._outbox.emit(Found(unit.device))

    def _set_online(self, unit: Unit, *, online: bool, reason: str = NOT_CONNECTED) -> None:
        if unit.online is not online:
            unit.online = online
            self._outbox.emit(Presence(unit.id, online, "" if online else reason))

    async def _command(self, link: Link, unit: Unit, control: Control) -> dict[str, Value]:
        """Send a command and wait for the device's own answer, which repeats its id."""
        sent_id = self._next_id()
        user = self._user or {}
        message = frames.command(
            unit.id,
            control.cmd,
            controls.body_type(unit.device),
            user=str(user.get("Id") or self._auth.user),
            sent_id=sent_id,
        )
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        unit.waiting[sent_id] = answer
        unit.hold(control.confirms, self._context.clock())
        try:
            await link.publish(message)
            frame = await self._in_time(answer)
        except TimeoutError:
            unit.doubt()  # perhaps it obeyed, and only its answer was lost
            raise
        finally:
            unit.waiting.pop(sent_id, None)
        if frame.fields.get("success") == 0:
            raise CommandError("the device refused", verdict="refused", code="device_refused")
        told = devices.decode(unit.device, frame, unit.state.values).values
        _check_told(control.confirms, told)
        if frame.fields.get("success") != 1:
            return dict(told)
        # A success that leaves a setting out means it all the same: the answer is to this very command.
        confirmed = {**control.confirms, **told}
        now = self._context.clock()
        unit.state.merge(Reading(unit.id, confirmed, now, "ack"), now)
        return confirmed

    async def _in_time(self, answer: asyncio.Future[Frame]) -> Frame:
        limit = self._context.answer_timeout
        try:
            async with asyncio.timeout(limit) as timeout:
                return await answer
        except TimeoutError as error:
            if timeout.expired():
                raise TimeoutError(f"the device did not answer within {limit:g} s") from error
            raise  # the link broke meanwhile

    def _next_id(self) -> int:
        """The time in milliseconds, never twice the same: devices ignore other ids, and repeat it in the answer."""
        self._last_id = max(self._last_id + 1, int(self._context.clock() * 1000))
        return self._last_id

    async def _write(self, link: Link, unit: Unit, control: Control) -> dict[str, Value]:
        """Change settings at the REST service, and have the device look at them."""
        try:
            listed = await self._api.change(unit.id, control.settings)
            told = self._settings_in(unit, listed)
            if not control.confirms.keys() <= told.keys():
                told |= self._settings_in(unit, await self._api.device(unit.id))
        except LinkError as error:
            if error.reason == "declined":
                raise CommandError(str(error), verdict="refused", code="service_refused") from error
            raise TimeoutError(f"whether it was done is not known: {error}") from error
        _check_told(control.confirms, told)
        confirmed = {key: told[key] for key in control.confirms if key in told}
        if not confirmed:
            raise TimeoutError("the service took the settings, but does not show them")
        now = self._context.clock()
        unit.hold(confirmed, now)
        unit.state.merge(Reading(unit.id, confirmed, now, "ack"), now)
        with suppress(LinkError):  # the device looks by itself, only later
            await link.publish(frames.check_settings(unit.id, now))
        return confirmed

    def _settings_in(self, unit: Unit, listed: Mapping[str, Any]) -> dict[str, Value]:
        return devices.decode(unit.device, frames.rest_device(listed), unit.state.values).values


async def _together(*questions: Coroutine[Any, Any, Any]) -> list[Any]:
    """The answers to questions asked at once.

    Raises:
        NavibridgeError: the first failure that counts.
    """
    try:
        async with TaskGroup() as group:
            tasks = [group.create_task(question, name="mysa question") for question in questions]
    except ExceptionGroup as errors:
        raise cause(errors) from errors
    return [task.result() for task in tasks]


def _check_told(asked: Values, told: Values) -> None:
    """Refuse an answer that shows other values than were asked for; what it leaves out is no no."""
    wrong = [key for key in asked if key in told and not _agree(asked[key], told[key])]
    if wrong:
        raise CommandError(
            "; ".join(f"{key}: asked for {asked[key]}, the device says {told[key]}" for key in wrong),
            verdict="refused",
            code="not_confirmed",
        )


def _agree(asked: Value, told: Value) -> bool:
    if isinstance(asked, bool) or isinstance(told, bool):
        return asked is told
    if isinstance(asked, int | float) and isinstance(told, int | float):
        return abs(asked - told) < NEAR
    return asked == told
