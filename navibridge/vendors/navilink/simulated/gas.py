"""A simulated gas unit's gateway on the wire (`docs/protocol/navilink.md` 12): one channel, one unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from navibridge.vendors.navilink.codes import INTERVAL_EXCEEDED, GasCommand, GasQuery
from navibridge.vendors.navilink.simulated.appliance import Appliance, Asked, parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.vendors.navilink.simulated.tankless import Tankless, TanklessState

GAS_TYPE: Final = 1
GAS_CONTROLS: Final[Mapping[int, str]] = {
    GasCommand.POWER: "power",
    GasCommand.HEAT: "heat",
    GasCommand.HOT_WATER_TEMPERATURE: "DHWTemperature",
    GasCommand.HEATING_TEMPERATURE: "heatTemperature",
    GasCommand.ON_DEMAND: "onDemand",
}
GAS_WEEKLY_WRITE: Final = 0x02000006
UNKNOWN_CONTROL: Final = 1  # the ``failCode`` of the gas sample; the meaning is not known


class GasUnit(Appliance):
    """A gas unit's gateway on the wire: protocol version 1; requests in the heat pump's form are ignored."""

    device_type = GAS_TYPE

    def __init__(self, mac: str, name: str, *, unit: Tankless, **wiring: Any) -> None:
        super().__init__(mac, name, **wiring)
        self.unit = unit
        self._answers: Mapping[tuple[str, int], Callable[[Asked], None]] = {
            ("status/start", GasQuery.START): self._answer_info,
            ("status/channelinfo", GasQuery.CHANNEL_INFO): self._answer_info,
            ("status/channelstatus", GasQuery.CHANNEL_STATUS): self._answer_status,
            ("status/weeklyschedule", GasQuery.WEEKLY_SCHEDULE): self._answer_schedule,
            ("status/end", GasQuery.END): lambda asked: self._say_body(asked, {}),
        }

    @property
    def state(self) -> TanklessState:
        """The truth about the unit."""
        return self.unit.state

    def tick(self, seconds: float) -> None:
        """Let that much real time pass; a gas unit says nothing by itself."""
        self.unit.frozen = self.faults.frozen
        self.unit.step(seconds * self._timing.speed)

    def hear(self, topic: str, suffix: str, payload: bytes) -> None:
        """A message arrived under the device's own topics."""
        asked = None if self.faults.offline else self._understand(topic, payload)
        if asked is None:
            return
        answer = self._answers.get((suffix, asked.command))
        if answer is not None:
            channel = asked.request.get("status", {"channelNumber": 1})
            if isinstance(channel, dict) and channel.get("channelNumber", 1) == 1:
                self._plan_answer(lambda: answer(asked))
        elif suffix == "control":
            self._hear_control(asked)

    def _hear_control(self, asked: Asked) -> None:
        given = asked.request.get("control")
        wanted = given if isinstance(given, dict) else {}
        mode, param = str(wanted.get("mode", "")), parameters(wanted.get("param", []))
        control = self._note(asked, mode, param or ())
        fail_code = self.faults.fail_code
        if fail_code is None and self._too_soon():
            fail_code = INTERVAL_EXCEEDED

        def carry_out() -> None:
            nonlocal fail_code
            if fail_code is None and not self._obey(asked, wanted, mode, param):
                fail_code = UNKNOWN_CONTROL
            control.outcome = "applied" if fail_code is None else "failed"
            if fail_code is not None:
                topic = f"cmd/{self.device_type}/{self.address}/res/controlfail"
                self._say_body(asked, {"failCode": fail_code}, topic)
            elif not self.faults.drop_acks:
                answer = self._answer_schedule if asked.command == GAS_WEEKLY_WRITE else self._answer_status
                for _ in range(2 if self.faults.double_acks else 1):
                    answer(asked)

        self._plan_answer(carry_out, later=self.faults.late_acks)

    def _obey(self, asked: Asked, wanted: Mapping[str, Any], mode: str, param: tuple[int, ...] | None) -> bool:
        if self.faults.contradict_acks:
            return True
        if asked.command == GAS_WEEKLY_WRITE:
            days = wanted.get("weeklyScheduleList")
            if wanted.get("weeklyControl") not in (1, 2) or not isinstance(days, list):
                return False
            self.unit.state.weekly_on, self.unit.state.weekly = wanted["weeklyControl"] == 1, days
            return True
        return GAS_CONTROLS.get(asked.command) == mode and param is not None and self.unit.control(mode, param)

    def _say_body(self, asked: Asked, body: Mapping[str, Any], topic: str | None = None) -> None:
        module = {"swVersion": 4352, "wifiRssi": 0, "countryCode": 1}
        self._say(topic or asked.reply_topic, self._message(asked, {**module, **body}))

    def _answer_info(self, asked: Asked) -> None:
        self._say_body(asked, {"channelInfo": self.unit.info()})

    def _answer_status(self, asked: Asked) -> None:
        self._say_body(asked, {"channelStatus": self.unit.status()})

    def _answer_schedule(self, asked: Asked) -> None:
        self._say_body(asked, {"weeklySchedule": self.unit.schedule()})
