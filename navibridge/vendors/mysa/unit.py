"""One device as its session knows it: what is listed, what it said and when, what it used, what it owes an answer to.

Three paths tell of a device: its own messages at once, its batches minutes later, and the REST service, which lags
behind both and may show the value from before a command (`docs/protocol/mysa.md` 8.2). A `Unit` makes readings of all
three, each with the time of its observation, and holds back what the REST service can not know yet.

Some of what is set is told when it changes and at no other time (4.11). It is known to hold as long as the REST service
shows the same, or can not know better yet, and the device was heard without a break; after a silence somebody may have
changed it unheard, until the device has reported to the service again. Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from navibridge.model import Confirmed, Reading, Sort
from navibridge.state import EARLIEST, DeviceState
from navibridge.vendors.mysa import batch, codecs, devices, frames
from navibridge.vendors.mysa.energy import Ledger, usage
from navibridge.vendors.mysa.models import Family

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping

    from navibridge.model import Raw, Source, Value, Values
    from navibridge.vendors.mysa.batch import BatchReading
    from navibridge.vendors.mysa.devices import Thermostat
    from navibridge.vendors.mysa.frames import Frame

HOLD: Final = 90.0
"""Seconds after a command for which the REST service is not believed about what was commanded."""

SILENCE: Final = 30.0
"""Seconds between two messages of a device after which it may have been changed unheard; it is told to report every few
(`docs/protocol/mysa.md` 4.3)."""

ALIVE: Final = 1800.0
"""Seconds after which a device that nobody heard of is no reason to doubt the link; batches come within 20 minutes."""

KEPT_RECORDS: Final = 512
"""Times of batch records that are remembered; a repeated batch is one of the last few."""

NOT_CONNECTED: Final = "the Mysa cloud says that it is not connected"

STATUS_OF: Final[Mapping[Family, tuple[str, ...]]] = {
    Family.BASEBOARD_V1: ("status_v1",),
    Family.BASEBOARD_V2: ("status_v2",),
    Family.LITE: ("status_v2",),
    Family.IN_FLOOR: ("status_infloor", "infloor_power"),
    Family.AC: ("status_ac",),
}
"""What each family reports sooner or later, so that it can be announced as it is before it has said anything."""

POWER_FORMS: Final = frozenset({"status_v1", "status_v2", "status_infloor"})
"""The forms that tell what a heater does now."""


@dataclass(slots=True)
class Unit:
    """One device.

    Attributes:
        device: as it is known now.
        listed: its entry in the account's list.
        rated_watts: power of its heater, as configured.
        state: the newest value of each attribute, derived ones included, and when it was observed.
        ledger: its energy.
        seen: attribute keys that have ever arrived.
        hold_for: seconds, see `HOLD`.
        silence: seconds, see `SILENCE`.
        announced: as it was announced last; ``None`` before.
        online: ``None`` while nobody has said.
        missing: complete lists in a row that lacked it.
        heard_at: when its own last message came; seconds since the epoch, as all times here.
        heard_since: when the first of those came that followed one another without a break; ``None`` when the next
            one will be the first.
        reported_at: when it reported to the REST service last, by that service's clock, as far as that can be.
        waiting: commands that wait for their answer, by the id that it echoes.
    """

    device: Thermostat
    listed: Mapping[str, Any]
    rated_watts: float | None
    ledger: Ledger
    seen: set[str]
    hold_for: float = HOLD
    silence: float = SILENCE
    state: DeviceState = field(init=False)
    announced: Thermostat | None = None
    online: bool | None = None
    missing: int = 0
    heard_at: float | None = None
    heard_since: float | None = None
    reported_at: float | None = None
    waiting: dict[int, asyncio.Future[Frame]] = field(default_factory=dict)
    _polled: dict[str, tuple[float | None, Raw]] = field(default_factory=dict)
    _held: dict[str, float] = field(default_factory=dict)
    _attached: dict[str, Value] = field(default_factory=dict)
    _settings: dict[str, Value] = field(default_factory=dict)
    _records: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_RECORDS))
    _heating_watts: float | None = None
    _described: int = 0
    _told: dict[str, float] = field(default_factory=dict)
    _report: float = 0.0
    _reported_after: float | None = None
    _looked_at: float | None = None
    _connected: bool | None = None
    _connected_since: float | None = None

    def __post_init__(self) -> None:
        """Begin with what is known before it says anything."""
        self.state = DeviceState(self.device, "")
        known = devices.settled(self.rated_watts)
        self._attached.update(known)
        self.seen.update(known)
        for form in STATUS_OF.get(self.device.true_model.family, ()):
            self.seen.update(key for keys in self.device.kind.wires(form).values() for key in keys)
        self._has_energy()
        if self.ledger.kwh > 0:
            self._attached["energy"] = self.ledger.kwh

    @property
    def id(self) -> str:
        """The vendor's id of it."""
        return self.device.id

    # --- what it is ---------------------------------------------------------------------------------------------------

    def describe(self, user: Mapping[str, Any] | None, firmware: str | None = None, serial: str | None = None) -> None:
        """Describe it anew from its entry in the list and what has arrived from it."""
        told = self.state.values.get("firmware")
        self.device = devices.build(
            self.listed,
            user=user,
            firmware=firmware or (told if isinstance(told, str) else self.device.firmware),
            serial=serial or self.device.serial,
            seen=frozenset(self.seen),
        )
        self.state.device = self.device
        self._described = len(self.seen)

    def is_described(self) -> bool:
        """Whether `device` shows everything that has arrived."""
        return len(self.seen) == self._described

    def _has_energy(self) -> None:
        """Its energy is counted as soon as its power can be told."""
        power = self.device.kind.by_key.get("power")
        if power is not None and not self.seen.isdisjoint(power.needs):
            self.seen.add("energy")

    # --- what it says -------------------------------------------------------------------------------------------------

    def take(self, frame: Frame, at: float, source: Source) -> Reading | None:
        """One of its own messages; ``None`` when there is nothing in it."""
        self._hear(at, anew=frame.form in frames.BOOT_FORMS)
        decoded = devices.decode(self.device, frame, self.state.values)
        if not decoded.values and not decoded.unknown:
            return None
        reading = self._merged(Reading(self.id, self._with_attached(decoded.values), at, source, decoded.unknown), at)
        if frame.form == "result":
            self.hold(decoded.values, at)
            self._told.update(dict.fromkeys(decoded.values, at))
        if frame.form not in POWER_FORMS:
            return reading
        power = self._number("power")
        self.ledger.observe(at, power)
        if power is None:
            return reading
        if power > 0 and self.device.true_model.family is Family.BASEBOARD_V1 and self._number("current"):
            self._heating_watts = power
        return replace(reading, values={**reading.values, "energy": self.ledger.kwh})

    def take_batch(self, records: Iterable[BatchReading], at: float, said_at: float | None) -> list[Reading]:
        """The records of a batch; those that came before are left out.

        Args:
            records: oldest first.
            at: when it came.
            said_at: when it was sent, by the device's clock.
        """
        self._hear(at)
        # It can not have been sent later than it came. That it came later than it was sent is how batches are.
        ahead = max(0.0, said_at - at) if said_at is not None else 0.0
        readings = []
        for record in records:
            if not batch.is_plausible(record.at, at) or record.at in self._records:
                continue
            self._records.append(record.at)
            measured_at = record.at - ahead
            decoded = devices.decode_reading(self.device, record)
            readings.append(self._merged(Reading(self.id, decoded.values, measured_at, "batch", decoded.unknown), at))
            used = usage(
                self.device.true_model.family,
                record,
                rated_watts=self.rated_watts,
                heating_watts=self._heating_watts,
            )
            if used is not None:
                self.ledger.settle(measured_at, *used)
        if readings and "energy" in self.seen:
            readings.append(Reading(self.id, self._with_attached({"energy": self.ledger.kwh}), at, "batch"))
        return readings

    def take_state(self, state: Mapping[str, Any], now: float) -> list[Reading | Confirmed]:
        """What the REST service last heard of it: a reading for each time of observation, and what holds still."""
        frame = frames.rest_state(state)
        self._note_connection(frame)
        if frame.at is not None:
            self._note_report(frame.at, now)
        groups: dict[float, dict[str, Raw]] = {}
        for name, raw in frame.fields.items():
            at = frame.times.get(name)
            if self._polled.get(name) != (at, raw) and not self._is_held(name, now):
                self._polled[name] = (at, raw)
                groups.setdefault(now if at is None else at, {})[name] = raw
        readings: list[Reading] = []
        for at in sorted(groups):
            decoded = devices.decode(self.device, replace(frame, fields=groups[at]), self.state.values)
            if decoded.values or decoded.unknown:
                readings.append(self._merged(Reading(self.id, decoded.values, at, "poll", decoded.unknown), now))
        if readings:
            # What has no time of its own goes with the newest: it must not make a silent device look alive.
            newest = readings[-1]
            readings[-1] = replace(newest, values={**newest.values, **self._take_attached()})
        believed = {name: raw for name, raw in frame.fields.items() if not self._is_held(name, now)}
        shown = devices.decode(self.device, replace(frame, fields=believed), self.state.values).values
        return [*readings, *self._confirmed(shown)]

    def take_settings(self, listed: Mapping[str, Any], now: float) -> list[Confirmed]:
        """Its entry in the list; what changed goes with its next reading, since nobody says when it did.

        Returns what holds still.
        """
        self.listed = listed
        decoded = devices.decode(self.device, frames.rest_device(listed), self.state.values)
        self._attach(decoded.values, now)
        return self._confirmed(decoded.values)

    def _hear(self, at: float, *, anew: bool = False) -> None:
        """It spoke: without a break since it did so last, or not."""
        # A time before the last one is of a clock that was set back since: by that nothing can be compared.
        if (
            anew
            or self.heard_at is None
            or self.heard_since is None
            or not self.heard_at <= at <= self.heard_at + self.silence
        ):
            self.doubt()
            self.heard_since = at
        self.heard_at = at

    def doubt(self) -> None:
        """Something that it said may have been missed: what comes next does not follow on what came before."""
        self.heard_since = None
        self._told.clear()

    def _note_report(self, at: float, now: float) -> None:
        """The time of its newest report at the REST service, by that service's clock."""
        if at != self._report:  # earlier, too: that clock may have been set
            self._report, self.reported_at = at, min(at, now)
            # By a clock that is ahead nobody knows when it was, only that it was after the last look.
            self._reported_after = self.reported_at if at <= now + EARLIEST else self._looked_at
        self._looked_at = now

    @property
    def sure(self) -> bool:
        """Whether it can not have been changed since its last report without our hearing of it."""
        reported, since = self._reported_after, self.heard_since
        return reported is not None and since is not None and reported >= since

    def _confirmed(self, shown: Values) -> list[Confirmed]:
        """What the REST service shows and is known already, as far as it only changes when somebody changes it."""
        times = [at for at in (self.reported_at, self.heard_at if self.sure else None) if at is not None]
        rows = self.device.kind.by_key
        still = {
            key: value
            for key, value in shown.items()
            if value is not None
            and value == self.state.values.get(key)
            and (rows[key].writes or rows[key].quantity.sort in (Sort.FLAG, Sort.OPTION))
        }
        confirmed = [Confirmed(self.id, still, max(times))] if still and times else []
        own = self._own_words()
        return [*confirmed, Confirmed(self.id, own, self.heard_at)] if own and self.heard_at is not None else confirmed

    def _own_words(self) -> dict[str, Value]:
        """What it said of a change since its last report; the REST service can not know that yet."""
        reported = self.reported_at or 0.0
        return {
            key: self.state.values.get(key)
            for key, at in self._told.items()
            if at >= reported and self.state.stamps.get(key) == at
        }

    def take_firmware(self, frame: Frame, now: float) -> None:
        """What the REST service knows of its firmware; goes with its next reading."""
        self._attach(devices.decode(self.device, frame).values, now)

    def _attach(self, values: Values, now: float) -> None:
        for key, value in values.items():
            if not self._holds(key, now) and self._settings.get(key, self) != value:
                self._settings[key] = self._attached[key] = value

    def _take_attached(self) -> dict[str, Value]:
        attached, self._attached = self._attached, {}
        self.state.values.update(attached)
        self.seen.update(attached)
        self._has_energy()
        return attached

    def _with_attached(self, values: Values) -> dict[str, Value]:
        return {**self._take_attached(), **values}

    def _merged(self, reading: Reading, now: float) -> Reading:
        self.state.merge(reading, now)
        self.seen.update(reading.values)
        self._has_energy()
        return reading

    def _number(self, key: str) -> float | None:
        value = self.state.values.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    # --- commands -----------------------------------------------------------------------------------------------------

    def hold(self, keys: Iterable[str], now: float) -> None:
        """Do not believe the REST service about these attributes for a while: they have just been set."""
        self._held = {key: until for key, until in self._held.items() if until > now}
        self._held.update(dict.fromkeys(keys, now + self.hold_for))

    def _is_held(self, name: str, now: float) -> bool:
        return any(self._holds(key, now) for key in self.device.kind.wires("rest_state").get(name, ()))

    def _holds(self, key: str, now: float) -> bool:
        # Longer than it was meant to: by a clock that was set back since.
        return 0.0 < self._held.get(key, now) - now <= self.hold_for + EARLIEST

    def forget_link(self) -> None:
        """The link is gone, and with it the answers that were under way on it."""
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(TimeoutError("the link to the cloud broke before the device answered"))
        self.waiting.clear()
        self.doubt()  # nothing is queued for a link that is away, be it only for a second

    # --- presence -----------------------------------------------------------------------------------------------------

    def _note_connection(self, frame: Frame) -> None:
        try:
            connected = codecs.FLAG.decode(frame.fields["Connected"])
        except (KeyError, TypeError, ValueError):
            return
        self._connected, self._connected_since = connected is True, frame.times.get("Connected")

    def is_connected(self) -> bool | None:
        """Whether it is there, as far as the REST service said; ``None`` if it did not.

        What that says may be hours old; a message that the device itself sent since then outranks it
        (`docs/protocol/mysa.md` 8.6).
        """
        since = self._connected_since
        if self._connected is False and self.heard_at is not None and (since is None or since < self.heard_at):
            return True
        return self._connected

    def is_alive(self, now: float) -> bool:
        """Whether messages are to be expected from it."""
        times = [at for at in (self.heard_at, self.reported_at) if at is not None]
        return self.online is not False and bool(times) and now - max(times) < ALIVE
