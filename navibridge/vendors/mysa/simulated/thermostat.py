"""One simulated thermostat on the wire: what it hears, what it says, and when (`docs/protocol/mysa.md` 4, 5 and 11).

A `Thermostat` knows no broker and no clock: it publishes through a function and plans through an `Agenda`, so that a
test turns time by hand. A command is carried out at the moment of its answer, not at its arrival. A refused command is
answered by silence, as the maintained clients report it; a `DeviceFaults` switch makes it an answer of failure.

What is wrong with it can be set and unset while it runs, in `Thermostat.faults`; the truth is in `Thermostat.state`.
"""

from __future__ import annotations

import base64
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge.vendors.mysa import codecs, frames
from navibridge.vendors.mysa.models import Family
from navibridge.vendors.mysa.simulated import reports
from navibridge.vendors.mysa.simulated.faults import DeviceFaults
from navibridge.vendors.mysa.simulated.orders import Changes, Reader, ReceivedCommand, Refused, settings_in
from navibridge.vendors.mysa.simulated.reports import BATCH_VERSIONS, BY_APP, BY_BUTTONS, Interval, Panel

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from navibridge.simulation import Agenda
    from navibridge.vendors.mysa.models import Model
    from navibridge.vendors.mysa.simulated.faults import Timing
    from navibridge.vendors.mysa.simulated.physics import Zone, ZoneState

log = logging.getLogger(__name__)

ECHOES: Final = (40, 5)
"""Legacy messages that send a thermostat into pairing when they carry ``EchoID`` (`docs/protocol/mysa.md` 4.13)."""

PAIRING_AFTER: Final = 30.0
MOST_RECORDS: Final = 60
LONGEST_RECORD: Final = 3_000
"""Seconds; more tenths of a second than a record of any version has room for must not come up."""

LONGEST_PUBLISHING: Final = 3_600
MILLISECONDS: Final = 10**11
"""Command ids below are no milliseconds, and such commands are ignored."""

IN_FLOOR_OTHER: Final = 7
"""Each so many status messages of the in-floor come under number 40."""

ELECTRICITY_EVERY: Final = 6
"""Each so many status messages of the in-floor are followed by msg 16."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the REST service shows of a thermostat."""

    fields: Mapping[str, Any]
    times: Mapping[str, int]
    at: int


class Thermostat:
    """One simulated thermostat of any model.

    Args:
        device_id: 12 hex digits.
        model: what it really is.
        listed: its entry of ``/devices``; its name and settings are there, and may be changed.
        zone: the room it is in.
        timing: shared with the simulator, which may change it.
        agenda: where it plans.
        clock: seconds since the epoch.
        publish: topic, payload and QoS to the broker.
        chance: its random choices.
        received: where it notes the commands it hears.

    Attributes:
        firmware: version that it runs; ``None`` for one that never said.
        allowed_firmware: version that it may be updated to.
        serial: its serial number.
        panel: its settings beside the climate.
        pairing: whether it was told to leave the network, which must never happen.
        faults: what is wrong with it.
    """

    def __init__(
        self,
        device_id: str,
        model: Model,
        listed: dict[str, Any],
        zone: Zone,
        *,
        timing: Timing,
        agenda: Agenda,
        clock: Callable[[], float],
        publish: Callable[[str, bytes, int], None],
        chance: random.Random,
        received: Callable[[ReceivedCommand], None],
    ) -> None:
        self.id = device_id
        self.model = model
        self.listed = listed
        self.zone = zone
        self.firmware: str | None = "3.17.4.1"
        self.allowed_firmware = "3.17.4.1"
        self.serial = f"SIM{int(device_id[-6:], 16):07d}"
        self.panel = Panel()
        self.pairing = False
        self.faults = DeviceFaults()
        self._timing = timing
        self._agenda = agenda
        self._clock = clock
        self._publish = publish
        self._chance = chance
        self._received = received
        self._gone = False
        self._boots = 217
        self._publishing_until = float("-inf")
        self._publishing = False
        self._statuses = 0
        self._last_answer = 0.0
        self._records: deque[bytes] = deque(maxlen=MOST_RECORDS)
        self._recorded_at = int(clock())
        self._was_offline = False
        self._transition = clock() - 11 * 3600
        self._said_ac: Mapping[str, Any] = {}
        self._shown = _Shown({}, {}, 0)
        if self.speaks:
            self._live_before_now()

    @property
    def speaks(self) -> bool:
        """Whether it uses the topics of this protocol at all; the central HVAC and what is newer do not."""
        return self.model.body_type is not None

    @property
    def state(self) -> ZoneState:
        """The truth about it and its room."""
        return self.zone.state

    # -- time ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to measure and to report; called once."""
        if not self.speaks:
            return
        # Not all at the same moment, as devices that were paired on different days.
        self._after(self._chance.uniform(0.1, 1.0) * self._timing.record, self._tick_record)
        for period, action in ((self._timing.report, self._tick_report), (self._timing.batch, self._tick_batch)):
            if period > 0:
                self._after(self._chance.uniform(0.3, 1.0) * period, action)

    def tick(self, seconds: float) -> None:
        """Let that much real time pass in its room."""
        self.zone.frozen = self.faults.frozen
        self.zone.step(seconds * self._timing.speed)
        if self.faults.offline != self._was_offline:
            self._was_offline, self._transition = self.faults.offline, self._clock()
            if self.faults.offline:
                self._publishing_until = float("-inf")
                self._records.clear()

    def leave(self) -> None:
        """It is no part of any account any more: nothing of it is heard from now on."""
        self._gone = self.faults.offline = True

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        def act() -> None:
            if not self._gone:
                action()

        self._agenda.after(seconds, act)

    def _live_before_now(self) -> None:
        """Fill the buffer with the records since the last batch, so that somebody who asks at once gets some."""
        count = self._chance.randrange(2, 20)
        now = int(self._clock())
        seconds = round(self._timing.record)
        self.state.time -= count * self._timing.record
        for back in range(count - 1, -1, -1):
            self.zone.step(self._timing.record)
            self._measure(now - back * seconds - (self._chance.randrange(2) if back else 0))
        self._show()

    # -- measuring -----------------------------------------------------------------------------------------------

    def _tick_record(self) -> None:
        self._after(self._timing.record, self._tick_record)
        if not self.faults.offline:
            self._measure(int(self._clock()))
            self._show()

    def _measure(self, now: int) -> None:
        """Close an interval with a record; nothing where no whole second has passed since the last."""
        length = now - self._recorded_at
        if self._records and length < 1:
            return
        on, whole = self.zone.take_interval()
        longest = min(MOST_RECORDS * self._timing.record, LONGEST_RECORD)
        length = length if 0 < length < longest else round(self._timing.record)
        share = on / whole if whole else 0.0
        if self.model.family is Family.AC:
            share = float(self.state.mode != "off")
        on = round(length * share, 1)
        self._recorded_at = now
        self._interval = Interval(
            now + round(self.faults.clock_offset), on, round(length - on, 1), self._signal(), self._heap()
        )
        if self.model.family in BATCH_VERSIONS:
            self._records.append(reports.record(self.model.family, self.zone, self._interval))

    def _signal(self) -> int:
        """dBm; the Lite, and at times the V2, fill in 1 or -1."""
        if self.model.family is Family.LITE or (
            self.model.family is Family.BASEBOARD_V2 and self._chance.random() < 0.1  # noqa: PLR2004 - now and then
        ):
            return self._chance.choice((1, -1))
        return -58 + int(self.id[-1], 16) + self._chance.randrange(-2, 3)

    def _heap(self) -> int:
        return 10 * (7_000 - 11 * int(self.id[-2:], 16) + self._chance.randrange(-3, 4))

    def _show(self) -> None:
        """Let the REST service know, after a while."""
        fields = reports.rest_state(self.model.family, self.zone, self.panel, self._interval)
        at = int(self._clock())
        measured = self._interval.at

        def show() -> None:
            if self.faults.stale or self.faults.offline:
                return
            shown = self._shown
            kept = {"Brightness", "HoldTime", "Lock", "ScheduleMode"}
            times = {
                name: shown.times.get(name, measured) if name in kept and shown.fields.get(name) == value else at
                for name, value in fields.items()
            }
            self._shown = _Shown(fields, times, max(at, shown.at + 1))

        if self._shown.at:
            self._after(self._chance.uniform(*self._timing.rest), show)
        else:
            show()

    def rest_state(self) -> tuple[Mapping[str, Any], Mapping[str, int], int]:
        """What the REST service shows: the fields, when each was seen, and when any was."""
        return self._shown.fields, self._shown.times, self._shown.at

    @property
    def connected(self) -> tuple[bool, int]:
        """Whether the REST service believes it to be online, and since when, in milliseconds."""
        said = self.faults.connected
        return (not self.faults.offline if said is None else said), int(self._transition * 1000)

    # -- speaking ------------------------------------------------------------------------------------------------

    def _tick_report(self) -> None:
        self._after(self._timing.report * self._chance.uniform(0.8, 1.2), self._tick_report)
        if not self._publishing:
            self.report()

    def _tick_batch(self) -> None:
        self._after(self._timing.batch, self._tick_batch)
        self.flush()
        self._fetch_settings()

    def _tick_status(self) -> None:
        if self._agenda.now >= self._publishing_until:
            self._publishing = False
            return
        cadence = max(self._timing.status / self._timing.speed, min(self._timing.status, 1.0))
        self._after(cadence * self._chance.uniform(0.95, 1.05), self._tick_status)
        self.report()

    @property
    def publishing(self) -> bool:
        """Whether it reports each few seconds, because somebody asked it to."""
        return self._publishing

    def report(self) -> None:
        """Say how it is, in the way of its model."""
        zone = self.zone
        self._statuses += 1
        match self.model.family:
            case Family.BASEBOARD_V1:
                self._say_legacy(0, reports.status_v1(zone))
            case Family.BASEBOARD_V2 | Family.LITE:
                self._say_new(40, reports.status_v2(zone))
            case Family.IN_FLOOR:
                self._report_in_floor()
            case Family.AC:
                self._say(reports.message(self.id, 30, reports.status_ac(zone), at=self._now()))
                self._report_ac_changes()
        if self.faults.unknown_messages:
            self._say_new(77, {"hello": 1})

    def _report_in_floor(self) -> None:
        body = reports.status_infloor(self.zone)
        beside = {}
        if self.faults.beside_body:
            beside = {name: body.pop(name) for name in ("heatStat", "lineVtg")}
        number = 40 if self._statuses % IN_FLOOR_OTHER == 0 else 17
        self._say(reports.message(self.id, number, body, at=self._now(), sent_id=self._new_id()) | beside)
        if self._statuses % ELECTRICITY_EVERY == 1:
            self._say_new(16, reports.electricity(self.zone), at=0)

    def _report_ac_changes(self) -> None:
        """Msg 31, with the keys that changed since it was last said; the first time, all."""
        state = reports.ac_state(self.zone)
        news = {key: value for key, value in state.items() if self._said_ac.get(key) != value}
        if news:
            self._said_ac = state
            self._say_new(31, news)

    def flush(self, *, close: bool = False) -> None:
        """Send the records that have piled up; ``close`` adds one of the time since the last."""
        if self.faults.offline or self.model.family not in BATCH_VERSIONS:
            return
        if close or not self._records:
            self._measure(int(self._clock()))
        records, count = [*self._records], len(self._records)
        self._records.clear()
        if not count:
            return
        if self.faults.bad_checksums:
            records[::2] = [record[:-1] + bytes((record[-1] ^ 0x5A,)) for record in records[::2]]
        readings = base64.b64encode(b"".join(records)).decode()
        payload = reports.message(self.id, 3, {"readings": readings}, at=self._now(), sent_id=self._new_id())
        for _ in range(2 if self.faults.duplicate_batches else 1):
            self._after(self.faults.late_batches, lambda: self._say(payload, topic=frames.topic_batch(self.id)))

    def boot(self) -> None:
        """Start anew, after a failure of the power: it forgets that it was told to publish."""
        self.faults.offline = False
        self._publishing_until = float("-inf")
        self._boots += 1
        self._after(self._chance.uniform(*self._timing.boot), self._greet)

    def _greet(self) -> None:
        now = int(self._now())
        greeting = {
            "device": self.id,
            "timestamp": now,
            "MsgType": 10,
            "bootTime": now - 5,
            "bootCount": self._boots,
            "version": self.firmware,
            "ip": "192.0.2.52",
        }
        self._say(greeting)
        self._say_firmware()

    def _say_firmware(self) -> None:
        self._say_new(61, {"fw": self.firmware}, at=0)

    def _say_metadata(self) -> None:
        self._say_legacy(4, {"Level": "INFO", "Message": f"api got version {self.firmware}"})
        text = f"Local IP: 192.0.2.{1 + int(self.id[-2:], 16) % 250}\nDevice Serial: {self.serial}"
        payload = orjson.dumps(reports.legacy(self.id, 4, {"Level": "INFO", "Message": text}, at=self._now()))
        self._say(payload.replace(rb"\n", b"\n") if self.faults.raw_newline else payload)
        self._say_firmware()

    def _say_legacy(self, number: int, fields: Mapping[str, Any], *, qos: int = 0) -> None:
        self._say(reports.legacy(self.id, number, fields, at=self._now()), qos=qos)

    def _say_new(self, number: int, body: Mapping[str, Any], *, at: float | None = None) -> None:
        moment = self._now() if at is None else at
        self._say(reports.message(self.id, number, body, at=moment, sent_id=self._new_id()))

    def _say(self, said: Mapping[str, Any] | bytes, *, topic: str | None = None, qos: int = 0) -> None:
        """Publish, with what is wrong with the device's voice."""
        if self._gone or self.faults.offline or self.faults.silent:
            return
        payload = said if isinstance(said, bytes) else orjson.dumps(said)
        if self.faults.garbled:
            place = self._chance.randrange(len(payload))
            payload = payload[:place] + b"\xff\x00\xfe" + payload[place + 3 :]
        if self.faults.truncated:
            payload = payload[: self._chance.randrange(1, len(payload))]
        for _ in range(2 if self.faults.duplicate else 1):
            self._publish(topic or frames.topic_out(self.id), payload, qos)

    def _now(self) -> float:
        """The time by its own clock."""
        return self._clock() + self.faults.clock_offset

    def _new_id(self) -> int:
        return self._chance.getrandbits(63)

    # -- hearing -------------------------------------------------------------------------------------------------

    def hear(self, payload: bytes) -> None:
        """A message arrived on its topic ``in``."""
        if not self.speaks or self._gone or self.faults.offline or self.faults.deaf:
            return
        try:
            message = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return
        if not isinstance(message, dict):
            return
        if "MsgType" in message:
            self._hear_legacy(message)
        elif message.get("msg") == frames.COMMAND:
            self._hear_command(message)

    def _hear_legacy(self, message: Mapping[str, Any]) -> None:
        if message.get("Device") != self.id:  # in upper case or with colons it is another's
            return
        number = message["MsgType"]
        if number in ECHOES and "EchoID" in message:
            self.pairing = True
            log.error("%s was told to leave the network, and goes into pairing. Please report it", self.id)
            self._after(PAIRING_AFTER, self.leave)
        elif number == frames.CHECK_SETTINGS:
            self._after(self._chance.uniform(*self._timing.answer), self._fetch_settings)
        elif number == frames.DUMP_READINGS:
            wait = self._chance.uniform(*self._timing.flush)
            self._after(wait, lambda: self.flush(close=True))
            self._after(2 * wait, self._say_metadata)
        elif number == frames.START_PUBLISHING:
            self._start_publishing(message.get("Timeout"))

    def _start_publishing(self, timeout: Any) -> None:
        if type(timeout) is not int or not 0 < timeout <= LONGEST_PUBLISHING:
            return
        self._publishing_until = self._agenda.now + timeout
        if not self._publishing:
            self._publishing = True
            self._after(self._chance.uniform(*self._timing.answer), self._tick_status)

    def _fetch_settings(self) -> None:
        """Take over what the REST service was told to change."""
        if self.faults.offline:
            return
        listed, panel = self.listed, self.panel
        panel.locked = listed.get("ButtonState") == "Locked"
        panel.brightness["a_br"] = listed.get("MaxBrightness", panel.brightness["a_br"])
        panel.brightness["i_br"] = listed.get("MinBrightness", panel.brightness["i_br"])
        panel.brightness["a_b"] = int(listed.get("AutoBrightness", panel.brightness["a_b"]))
        panel.proximity = bool(listed.get("ProximityMode", panel.proximity))
        if listed.get("TrackedSensor") is not None:
            self.state.tracked = str(codecs.TRACKED.decode(listed["TrackedSensor"]))
        if "IsThermostatic" in listed:
            self.state.climate_plus = bool(listed["IsThermostatic"])
        self.zone.obey()
        self._show()

    # -- commands ------------------------------------------------------------------------------------------------

    def _hear_command(self, message: Mapping[str, Any]) -> None:
        body, target = message.get("body"), message.get("dest")
        if not isinstance(body, dict) or not isinstance(target, dict) or target.get("ref") != self.id:
            return
        sent_id = message.get("id")
        cmd = settings_in(body.get("cmd"))
        given = body.get("type")
        received = ReceivedCommand(
            self.id,
            given if type(given) is int else None,
            cmd if cmd is not None else {},
            sent_id if type(sent_id) is int else None,
            message,
            self._agenda.now,
        )
        self._received(received)
        if cmd is None or given != self.model.body_type or type(sent_id) is not int or sent_id < MILLISECONDS:
            log.debug("%s ignores a command", self.id)
            return
        received.outcome = "pending"
        # Answers keep the order of their commands.
        self._last_answer = max(self._agenda.now + self._chance.uniform(*self._timing.answer), self._last_answer)
        self._after(self._last_answer - self._agenda.now, lambda: self._answer(received))

    def _answer(self, received: ReceivedCommand) -> None:
        if self.faults.offline:
            received.outcome = "ignored"
            return
        faults = self.faults
        if faults.fail_acks or faults.contradict_acks:
            received.outcome = "failed"
            self._acknowledge(received, success=faults.contradict_acks)
            return
        try:
            changes = Reader(self.model.family, self.listed, self.state, self.panel).check(received.cmd)
        except Refused as refusal:
            log.debug("%s refuses a command: %s", self.id, refusal)
            received.outcome = "refused"
            if faults.tell_refusals:
                self._acknowledge(received, success=False)
            return
        before = self.state.setpoint
        self._apply(changes)
        received.outcome = "applied"
        if not faults.drop_acks:
            self._acknowledge(received, success=True)
        self._tell_setpoint(before, BY_APP)
        self._synchronise()

    def press(self, *, setpoint: float | None = None, mode: str | None = None, locked: bool | None = None) -> None:
        """Somebody touches the thermostat; values are taken as they are.

        Args:
            setpoint: °C.
            mode: Home Assistant's word.
            locked: whether the buttons are locked afterwards.
        """
        before = self.state.setpoint
        changes = Changes()
        if setpoint is not None:
            changes.climate["setpoint"] = setpoint
        if mode is not None:
            changes.climate["mode"] = mode
        if locked is not None:
            changes.panel["locked"] = locked
        self._apply(changes)
        if not self.faults.untold:
            self._say_changed(BY_BUTTONS, success=True)
            self._tell_setpoint(before, BY_BUTTONS)
        self._synchronise()

    def _apply(self, changes: Changes) -> None:
        for name, value in changes.climate.items():
            setattr(self.state, name, value)
        for name, value in changes.panel.items():
            setattr(self.panel, name, value)
        self.zone.obey()

    def _acknowledge(self, received: ReceivedCommand, *, success: bool) -> None:
        resp_id = None if self.faults.without_resp_id else received.sent_id

        def say() -> None:
            for _ in range(2 if self.faults.double_acks else 1):
                self._say_changed(BY_APP, success=success, resp_id=resp_id, long="br" in received.cmd)

        if self.faults.late_acks:
            self._after(self.faults.late_acks, say)
        else:
            say()

    def _say_changed(self, source: int, *, success: bool, resp_id: int | None = None, long: bool = False) -> None:
        state = reports.changed(self.model.family, self.zone, self.panel)
        if long:
            state["br"] = dict(self.panel.brightness)
        if self.faults.without_mode:
            del state["md"]
        body = {"success": int(success), "trig_src": source, "type": self.model.body_type, "state": state}
        self._say(reports.message(self.id, 44, body, at=self._now(), sent_id=self._new_id(), resp_id=resp_id))

    def _tell_setpoint(self, before: float, source: int) -> None:
        """The V1 says a changed setpoint a second time, on its own."""
        if self.model.family is Family.BASEBOARD_V1 and before != self.state.setpoint:
            self._say_legacy(1, {"Next": self.state.setpoint, "Prev": before, "Source": source}, qos=1)

    def _synchronise(self) -> None:
        """The REST service learns of a change: its state at once, its list of settings with it."""
        self._show()

        def write() -> None:
            listed, panel = self.listed, self.panel
            listed["SetPoint"] = self.state.setpoint
            listed["ButtonState"] = "Locked" if panel.locked else "Unlocked"
            listed["MaxBrightness"], listed["MinBrightness"] = panel.brightness["a_br"], panel.brightness["i_br"]
            if "Lock" in listed:
                listed["Lock"] = int(panel.locked)
            if "Brightness" in listed:
                listed["Brightness"] = dict(panel.brightness)
                listed["AutoBrightness"] = bool(panel.brightness["a_b"])
                listed["ProximityMode"] = panel.proximity
            if "TrackedSensor" in listed:
                listed["TrackedSensor"] = codecs.TRACKED.encode(self.state.tracked)
            if "IsThermostatic" in listed:
                listed["IsThermostatic"] = self.state.climate_plus

        self._after(self._chance.uniform(*self._timing.rest), write)
