"""A simulated heat-pump water heater on the wire (`docs/protocol/navilink.md` 3 to 5, 10 and 15).

Its dialects:

    json     102 fields, the newer firmware
    json87   87 fields, the captured firmware
    binary   `docs/protocol/navilink-binary.md`: a status is a packed record under the status command, whatever caused
             it. A packed record has no room for a session, so everything else, acknowledgements of controls
             included, is the eight-byte header with the command's own code, then the JSON envelope. It answers on
             the response topic of a JSON request, and on its own ``cmd/52/{dev}/res...`` where there is none (an
             eight-byte poll) or where only the topic could tell whose record it is, and does not.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from navibridge.errors import FrameError
from navibridge.vendors.navilink import packed, schedules
from navibridge.vendors.navilink.codes import CONTROL_CLASS, HEAT_PUMP_TYPE, INTERVAL_EXCEEDED, Notice, Query
from navibridge.vendors.navilink.simulated import reports
from navibridge.vendors.navilink.simulated.appliance import Appliance, Asked, ReceivedControl, parameters
from navibridge.vendors.navilink.simulated.physics import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.vendors.navilink.simulated.physics import Heater, HeaterState

log = logging.getLogger(__name__)

Dialect: TypeAlias = Literal["json", "json87", "binary"]

CONTROLS: Final[Mapping[int, str]] = {
    0x02000001: "power-off",
    0x02000002: "power-on",
    0x02000005: "dhw-mode",
    0x02000009: "reservation-mode",
    0x0200000B: "ota-check",
    0x0200000C: "recirc-hotbtn",
    0x0200000D: "recirc-mode",
    0x0200000E: "wifi-reconnect",
    0x0200000F: "wifi-reset",
    0x02000013: "frez-temp",
    0x02000017: "smart-diagnostic",
    0x02000020: "dhw-temperature",
    0x02000022: "goout-day",
    0x02000023: "intelligent-off",
    0x02000024: "intelligent-on",
    0x02000025: "dr-off",
    0x02000026: "dr-on",
    0x02000027: "anti-leg-off",
    0x02000028: "anti-leg-on",
    0x02000029: "air-filter-reset",
    0x0200002A: "air-filter-life",
    0x0200002B: "tou-off",
    0x0200002C: "tou-on",
}
"""The simple controls: the code and the word that must come with it (`docs/protocol/navilink.md` 4.4)."""

RESERVATIONS_WRITE: Final = 0x0100000A  # the number of the monthly energy query, on another topic
WEEKLY_WRITE: Final = 0x02000006
TOU_WRITE: Final = 0x02000007
RECIRCULATION_WRITE: Final = 0x02000008
COMMIT_FIRMWARE: Final = 0x0200000A
FIRMWARES: Final = ((33556241, 167838208), (268435985, 34013440), (268435761, 60711), (268435777, 60711))
"""Code and version of a heat pump's four components."""


class HeatPump(Appliance):
    """A heat-pump water heater on the wire: device type 52, protocol version 2."""

    device_type = HEAT_PUMP_TYPE

    def __init__(self, mac: str, name: str, *, unit: Heater, dialect: Dialect = "json", **wiring: Any) -> None:
        super().__init__(mac, name, **wiring)
        self.unit = unit
        self.dialect: Dialect = dialect
        self._settling = 0
        self._next_digit = 0
        self._next_report = self._agenda.now + self._timing.report * self._chance.uniform(0.5, 1.0)
        self._told = self._signature()
        self._answers: Mapping[tuple[str, int], Callable[[Asked], None]] = {
            ("st", Query.STATUS): self._answer_status,
            ("st/did", Query.FEATURE): self._answer_feature,
            ("st/end", Query.END): lambda asked: self._reply(asked, {}),
            ("st/rsv/rd", Query.RESERVATIONS): self._answer_reservations,
            ("st/energy-usage-daily-query/rd", Query.ENERGY_DAILY): self._answer_daily_energy,
            ("st/energy-usage-monthly-query/rd", Query.ENERGY_MONTHLY): self._answer_monthly_energy,
            ("st/dl-sw-info", Query.FIRMWARE): self._answer_firmware,
            ("st/td/rd", Query.TREND): self._answer_trend,
            ("st/recirc-rsv/rd", Query.RECIRCULATION_SCHEDULE): self._answer_recirculation,
        }
        self._writes: Mapping[tuple[str, int], Callable[[Asked], bool]] = {
            ("ctrl/rsv/rd", RESERVATIONS_WRITE): self._write_reservations,
            ("ctrl", WEEKLY_WRITE): self._write_weekly,
            ("ctrl/tou/rd", TOU_WRITE): self._write_tou,
            ("ctrl/recirc-rsv/rd", RECIRCULATION_WRITE): self._write_recirculation,
            ("ctrl", RECIRCULATION_WRITE): self._write_recirculation,
        }
        self._echoes: Mapping[int, Callable[[Asked], None]] = {
            RESERVATIONS_WRITE: self._echo_reservations,
            WEEKLY_WRITE: self._echo_weekly,
            TOU_WRITE: self._echo_tou,
            RECIRCULATION_WRITE: self._echo_recirculation,
        }

    @property
    def state(self) -> HeaterState:
        """The truth about the unit."""
        return self.unit.state

    # -- life ----------------------------------------------------------------------------------------------------

    def tick(self, seconds: float) -> None:
        """Let that much real time pass, and say what changed by itself."""
        self.unit.frozen = self.faults.frozen
        self.unit.step(seconds * self._timing.speed)
        if not self._settling:
            self._notify(self._told)
        if self._timing.report and self._agenda.now >= self._next_report:
            self._next_report = self._agenda.now + self._timing.report
            self.report()

    def report(self, reason: int = Notice.PERIODIC) -> None:
        """Publish a status nobody asked for."""
        session = str(self._next_digit)
        self._next_digit = (self._next_digit + 1) % 10
        asked = Asked(f"cmd/52/{self.address}/st", f"cmd/52/{self.address}/res", reason, session_id=session)
        self._say_status(asked, reason)

    def _signature(self) -> tuple[tuple[int], tuple[bool, bool, bool], tuple[bool, int]]:
        """What notices are about: the activity, what is switched on, and the heat source."""
        state = self.unit.state
        source = self.unit.planned
        return (
            (state.activity,),
            (state.compressor, state.upper_element, state.lower_element),
            (bool(state.activity), source),
        )

    def _notify(self, before: tuple[object, ...]) -> None:
        """Publish a notice for each part of the signature that is another than before."""
        self._told = self._signature()
        reasons = (Notice.OPERATION_MODE, Notice.ACTUATOR, Notice.HEAT_SOURCE)
        changed = [reason for reason, old, new in zip(reasons, before, self._told, strict=True) if old != new]
        # The heat source is worth a notice of its own only when nothing else tells of it.
        for reason in changed[:2] if len(changed) > 1 else changed:
            self.report(reason)

    # -- requests ------------------------------------------------------------------------------------------------

    def hear(self, topic: str, suffix: str, payload: bytes) -> None:
        """A message arrived under the device's own topics."""
        if self.faults.offline:
            return
        asked = self._poll(topic, payload) if self.dialect == "binary" else None
        asked = asked or self._understand(topic, payload)
        if asked is None:
            return
        answer = self._answers.get((suffix, asked.command))
        if answer is not None:
            self._plan_answer(lambda: answer(asked))
        elif (suffix, asked.command) in self._writes:
            self._hear_write(suffix, asked)
        elif suffix in ("ctrl", "ctrl/commit-ota") and asked.command >> 24 == CONTROL_CLASS:
            self._hear_control(asked)
        else:
            log.debug("%s ignores command 0x%08x on %s", self.address, asked.command, suffix)

    def _poll(self, topic: str, payload: bytes) -> Asked | None:
        """The eight-byte request, for a device that speaks binary."""
        if len(payload) != packed.HEADER.size or not packed.is_header(payload):
            return None
        try:
            command, _ = packed.decode_header(payload, self.mac)
        except FrameError:
            return None
        ways = {Query.STATUS: "res", Query.FEATURE: "res/did", Query.RESERVATIONS: "res/rsv/rd"}
        way = next((suffix for query, suffix in ways.items() if query == command), None)
        return Asked(topic, f"cmd/52/{self.address}/{way}", command) if way else None

    def _hear_control(self, asked: Asked) -> None:
        mode = str(asked.request.get("mode", ""))
        param = parameters(asked.request.get("param", []))
        control = self._note(asked, mode, param or ())
        known = asked.command == COMMIT_FIRMWARE or CONTROLS.get(asked.command) == mode
        if self._fails(asked, control):
            return

        def carry_out() -> None:
            before = self._told = self._signature()
            obeys = known and param is not None and not self.faults.contradict_acks
            applied = obeys and (asked.command == COMMIT_FIRMWARE or self.unit.control(mode, param or ()))
            control.outcome = "applied" if applied else "unchanged"
            self._acknowledge(lambda: self._say_status(asked, asked.command))
            if applied:
                self._settle(before)
            if applied and mode == "wifi-reset":
                self.faults.offline = True

        self._plan_answer(carry_out)

    def _hear_write(self, suffix: str, asked: Asked) -> None:
        write = self._writes[suffix, asked.command]
        echo = self._echoes[asked.command]
        if asked.command == TOU_WRITE and "reservation" not in asked.request:
            self._plan_answer(lambda: echo(asked))  # the read has the same code and topic
            return
        control = self._note(asked, "", ())
        if self._fails(asked, control):
            return

        def carry_out() -> None:
            applied = not self.faults.contradict_acks and write(asked)
            control.outcome = "applied" if applied else "unchanged"
            self._acknowledge(lambda: echo(asked))

        self._plan_answer(carry_out)

    def _fails(self, asked: Asked, control: ReceivedControl) -> bool:
        """Whether a control is refused, and says so."""
        fail_code = self.faults.fail_code
        if fail_code is None and self._too_soon():
            fail_code = INTERVAL_EXCEEDED
        if fail_code is None:
            return False
        control.outcome = "failed"
        body = {"swVersion": 0, "failCode": fail_code}
        topic = f"cmd/52/{self.address}/ctrl-fail"
        self._plan_answer(lambda: self._say_json(topic, asked, body))
        return True

    def _acknowledge(self, say: Callable[[], None]) -> None:
        if self.faults.drop_acks:
            return
        for _ in range(2 if self.faults.double_acks else 1):
            if self.faults.late_acks:
                self._agenda.after(self.faults.late_acks, say)
            else:
                say()

    def _settle(self, before: tuple[object, ...]) -> None:
        """Let the machinery follow, then say what it does now: first the activity, then what was switched."""
        self._settling += 1

        def notify() -> None:
            self._settling -= 1
            self.unit.step(0)
            self._told = self._signature()
            self.report(Notice.OPERATION_MODE)
            if before[1] != self._told[1]:
                self.report(Notice.ACTUATOR)

        self._agenda.after(self._chance.uniform(*self._timing.notice), notify)

    # -- answers -------------------------------------------------------------------------------------------------

    def _reply(self, asked: Asked, body: Mapping[str, Any]) -> None:
        self._say_json(asked.reply_topic, asked, body)

    def _say_json(self, topic: str, asked: Asked, body: Mapping[str, Any]) -> None:
        header = packed.encode_header(asked.command, self.mac) if self.dialect == "binary" else b""
        self._say(topic, header + self._message(asked, body))

    def _say_status(self, asked: Asked, reason: int) -> None:
        if self.dialect == "binary" and reason >> 24 != CONTROL_CLASS:
            record = packed.encode(reports.packed_status(self.unit))
            named = self.address in asked.reply_topic.split("/")
            topic = asked.reply_topic if named else f"cmd/52/{self.address}/res"
            self._say(topic, packed.encode_header(Query.STATUS, self.mac) + record)
            return
        self._say_json(asked.reply_topic, asked, {"status": self._status(reason)})

    def _status(self, reason: int) -> dict[str, Any]:
        fields = reports.status(self.unit) | {"command": reason}
        if self.dialect == "json87":
            fields = {name: raw for name, raw in fields.items() if name not in reports.NEWER_FIRMWARE}
        if self.faults.unknown_keys:
            fields |= {"ultraQuietUse": 2, "compressorCasing": 417}
        if self.faults.unknown_enums:
            fields |= {"operationMode": 48, "dhwOperationSetting": 9, "currentHeatUse": 7}
        fields = {name: raw for name, raw in fields.items() if name not in self.faults.missing_keys}
        if self._chance.random() < 0.1:  # noqa: PLR2004 - now and then; JSON promises no order
            names = list(fields)
            self._chance.shuffle(names)
            fields = {name: fields[name] for name in names}
        return fields

    def _answer_status(self, asked: Asked) -> None:
        self._say_status(asked, Query.STATUS)

    def _answer_feature(self, asked: Asked) -> None:
        self._reply(asked, {"feature": reports.feature(self.unit)})

    def _answer_reservations(self, asked: Asked) -> None:
        state = self.unit.state
        listed = schedules.to_hex(state.reservations, empty=1)
        self._reply(asked, {"reservationUse": _use(state.reservations_on), "reservation": listed})

    def _answer_recirculation(self, asked: Asked) -> None:
        state = self.unit.state
        listed = schedules.to_hex(state.recirculation, empty=1)
        self._reply(asked, {"reservationUse": _use(state.recirculation_on), "reservation": listed})

    def _answer_daily_energy(self, asked: Asked) -> None:
        year, months = asked.request.get("year"), asked.request.get("month")
        total, usage = Usage(), []
        for month in months if isinstance(months, list) else []:
            if type(year) is not int or type(month) is not int or not _is_month(year, month):
                continue
            day, entries = datetime(year, month, 1, tzinfo=UTC).date(), []
            while day.month == month:
                used = self.unit.usage(day) or Usage()
                total.add(used)
                entries.append(_energy(used))
                day += timedelta(days=1)
            usage.append({"year": year, "month": month, "data": entries})
        self._reply(asked, {"typeOfUsage": 1, "total": _energy(total), "usage": usage})

    def _answer_monthly_energy(self, asked: Asked) -> None:
        years = asked.request.get("year")
        total, usage = Usage(), []
        for year in years if isinstance(years, list) else []:
            if type(year) is not int or not _is_month(year, 1):
                continue
            months = [self.unit.usage_of_month(year, month) for month in range(1, 13)]
            for month in months:
                total.add(month)
            usage.append({"year": year, "data": [_energy(month) for month in months]})
        self._reply(asked, {"typeOfUsage": 1, "total": _energy(total), "usage": usage})

    def _answer_firmware(self, asked: Asked) -> None:
        listed = [
            {"swCode": code, "otaMode": 1, "swVersion": version, "status": 0} for code, version in FIRMWARES[:3:2]
        ]
        self._reply(asked, {"downloadSwInfo": listed})

    def _answer_trend(self, asked: Asked) -> None:
        self._reply(asked, {"data": reports.trend(self.unit)})

    # -- schedules -----------------------------------------------------------------------------------------------

    def _write_reservations(self, asked: Asked) -> bool:
        state = self.unit.state
        entries = _reservations(asked.request, modes=range(1, 7))
        if entries is None:
            return False
        state.reservations_on, state.reservations = asked.request["reservationUse"] == 2, entries  # noqa: PLR2004 - on
        return True

    def _echo_reservations(self, asked: Asked) -> None:
        state = self.unit.state
        self._reply(asked, {"reservationUse": _use(state.reservations_on), "reservation": state.reservations})

    def _write_weekly(self, asked: Asked) -> bool:
        state = self.unit.state
        entries = _reservations(asked.request, modes=range(7))
        if entries is None:
            return False
        state.weekly_on, state.weekly = asked.request["reservationUse"] == 2, entries  # noqa: PLR2004 - on
        return True

    def _echo_weekly(self, asked: Asked) -> None:
        """The stored list; also where the maintained client waits for it (`docs/protocol/navilink.md` 17.5)."""
        state = self.unit.state
        body = {"reservationUse": _use(state.weekly_on), "reservation": state.weekly}
        for topic in (asked.reply_topic, f"cmd/52/{asked.client_id}/res/rsv-weekly/rd"):
            self._say_json(topic, asked, body)

    def _write_tou(self, asked: Asked) -> bool:
        state = self.unit.state
        request = asked.request
        if request.get("controllerSerialNumber") != self.unit.model.serial or request.get("reservationUse") not in (
            1,
            2,
        ):
            return False
        try:
            entries = schedules.from_tou_list(request["reservation"])
        except FrameError:
            return False
        if len(entries) > schedules.MAX_ENTRIES or any(set(entry) != set(schedules.TOU) for entry in entries):
            return False
        state.tou, state.tou_plan = request["reservationUse"] == 2, entries  # noqa: PLR2004 - on
        return True

    def _echo_tou(self, asked: Asked) -> None:
        state = self.unit.state
        self._reply(asked, {"reservationUse": _use(state.tou), "reservation": state.tou_plan})

    def _write_recirculation(self, asked: Asked) -> bool:
        state = self.unit.state
        if not self.unit.model.recirculation:
            return False
        if "schedule" in asked.request:
            try:
                entries = schedules.from_list(asked.request["schedule"])
            except FrameError:
                return False
            if any(set(entry) != set(schedules.RECIRCULATION) for entry in entries):
                return False
            state.recirculation_periods = entries
            return True
        records = _reservations(asked.request, modes=range(1, 3))
        if records is None:
            return False
        state.recirculation_on, state.recirculation = asked.request["reservationUse"] == 2, records  # noqa: PLR2004 - on
        return True

    def _echo_recirculation(self, asked: Asked) -> None:
        """The stored list in the form that was written; the library's form also where the library waits for it."""
        state = self.unit.state
        if "schedule" not in asked.request:
            body = {"reservationUse": _use(state.recirculation_on), "reservation": state.recirculation}
            self._reply(asked, body)
            return
        for topic in (asked.reply_topic, f"cmd/52/{asked.client_id}/res/recirc-rsv/rd"):
            self._say_json(topic, asked, {"schedule": state.recirculation_periods})


def _use(on: bool) -> int:  # noqa: FBT001 - the flag of every schedule
    return 2 if on else 1


def _is_month(year: int, month: int) -> bool:
    return 2000 <= year <= 2999 and 1 <= month <= 12  # noqa: PLR2004 - a calendar


def _energy(usage: Usage) -> dict[str, int]:
    return {
        "heUsage": round(usage.element_wh),
        "hpUsage": round(usage.heat_pump_wh),
        "heTime": round(usage.element_seconds / 3600),
        "hpTime": round(usage.heat_pump_seconds / 3600),
    }


def _reservations(request: Mapping[str, Any], *, modes: range) -> list[dict[str, int]] | None:
    """The entries of a reservation write, ``None`` when the unit would not store them."""
    try:
        entries = schedules.from_list(request.get("reservation"))
    except FrameError:
        return None
    limits = {
        "enable": range(1, 3),
        "week": range(255),
        "hour": range(24),
        "min": range(60),
        "mode": modes,
        "param": range(256),
    }
    fits = all(
        set(entry) == set(limits) and all(entry[name] in allowed for name, allowed in limits.items())
        for entry in entries
    )
    if not fits or len(entries) > schedules.MAX_ENTRIES or request.get("reservationUse") not in (1, 2):
        return None
    return entries
