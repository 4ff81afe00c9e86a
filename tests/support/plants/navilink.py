"""Water heaters."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from support.plants import ATTRIBUTE, Simulated

from navibridge.simulation import RestFault
from navibridge.vendors.navilink.simulated.appliance import Asked
from navibridge.vendors.navilink.simulated.physics import UPPER_SENSOR, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

HEATING: Final = (Setting.ENERGY_SAVER, Setting.HEAT_PUMP, Setting.HIGH_DEMAND, Setting.ELECTRIC)
"""What they are turned to, one after the other, while they are on."""

TURNS_A_MODE: Final = 3
TURNS_ON_OR_OFF: Final = 10
"""Where there are few values, each has to be over for longer than the timeout before it comes again."""


class Plant(Simulated):
    """Water heaters; one frame tells all of how they are."""

    sign_in = "/user/sign-in"
    listing = "/device/list"
    pace = 10.0
    scaled: Mapping[str, Any] = {"poll_interval": 0.5, "keep_alive": 5}

    def __init__(self, devices: int, **options: Any) -> None:
        quick = {"answer": (0.0, 0.02), "notice": (0.05, 0.1), "control_interval": 0.0, "report": 0.0}
        super().__init__("navilink", devices, **quick | options)
        for heater in self.simulator.heaters.values():
            heater.faults.frozen = True

    @property
    def devices(self) -> list[str]:
        return [_name(mac) for mac in self.simulator.devices]

    def _heater(self, device: str) -> Any:
        return self.simulator.devices[device.removeprefix("navilink_")]

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        return {_name(mac): _true(heater.state) for mac, heater in self.simulator.heaters.items()}

    def passed(self) -> list[tuple[str, str, Any]]:
        since, self._asked = self._asked, time.monotonic()
        found = []
        for control in reversed(self.simulator.received_controls):
            if control.at < since - 0.2:  # a device takes a moment to obey
                break
            if control.mode == "dhw-temperature" and control.outcome == "applied":
                found.append((_name(control.mac), ATTRIBUTE, control.param[0] / 2))
        news, self._news = self._news, []
        return [*found[::-1], *news]

    def turn(self) -> None:
        self._turns += 1
        for number, (mac, heater) in enumerate(self.simulator.heaters.items()):
            turns = self._turns + 17 * number  # no two alike: nobody may take one for the other
            heater.state.setpoint = self.value(turns)
            on = turns // TURNS_ON_OR_OFF % 2 == 0
            heater.state.setting = HEATING[turns // TURNS_A_MODE % len(HEATING)] if on else Setting.OFF
            heater.state.layers[UPPER_SENSOR] = 40.0 + turns % 97 * 0.21
            heater.state.shown_power = 3.0 + turns % 97 * 5.3
            self._news += [(_name(mac), attribute, value) for attribute, value in _true(heater.state).items()]

    def value(self, number: int) -> float:
        return 41.0 + number % 47 * 0.5

    def faults(self, device: str) -> Any:
        return self._heater(device).faults

    def silence(self, device: str, *, silent: bool = True) -> None:
        self.faults(device).silent = silent

    def garble(self, device: str, *, garbled: bool = True) -> None:
        self.faults(device).garbled = garbled

    def die(self, device: str) -> None:
        self.faults(device).offline = True

    def puzzle(self, device: str) -> None:
        self.faults(device).unknown_keys = True

    def sign_ins(self) -> int:
        return self.requests(self.sign_in)

    def refuse_renewals(self) -> None:
        self.rest_fault("/auth/refresh", RestFault(401, {"code": 401}))

    def effects(self) -> Counter[tuple[str, float]]:
        return Counter(
            (_name(control.mac), control.param[0] / 2)
            for control in self.simulator.received_controls
            if control.mode == "dhw-temperature"
        )

    def controls(self, device: str) -> list[tuple[float, float]]:
        return [
            (control.at, control.param[0] / 2)
            for control in self.simulator.received_controls
            if control.mode == "dhw-temperature" and _name(control.mac) == device
        ]

    def secrets(self) -> set[str]:
        grants = self.simulator._grants
        keys = {secret for grant in grants.values() for secret in (grant.secret_key, grant.session_token)}
        return {*self.simulator._access, *self.simulator._refresh, *grants, *keys}

    def rename(self, device: str, name: str) -> None:
        self._heater(device).name = name

    def remove(self, device: str) -> None:
        self.simulator.remove(device.removeprefix("navilink_"))

    def add(self) -> str:
        heater = self.simulator.add_heater()
        heater.faults.frozen = True
        return _name(heater.mac)

    def unplug(self, device: str) -> None:
        self.simulator.unplug(device.removeprefix("navilink_"))

    def plug_in(self, device: str) -> None:
        self.simulator.plug_in(device.removeprefix("navilink_"))

    def report(self, device: str) -> None:
        self._heater(device).report()

    def tell(self, device: str, payload: bytes) -> None:
        mac = device.removeprefix("navilink_")
        self.simulator._publish(f"cmd/52/navilink-{mac}/res", payload)

    def frame(self, device: str) -> bytes:
        heater = self._heater(device)
        return bytes(heater._message(Asked("cmd", "", 0x01000003), {"status": heater._status(0x01000003)}))

    def leave_out(self, device: str) -> None:
        """It says everything but `ATTRIBUTE` from now on."""
        self.faults(device).missing_keys = frozenset({"dhwTargetTemperatureSetting", "dhwTemperatureSetting"})

    def look_again(self) -> None:
        self.simulator.announce_maintenance()


def _name(mac: str) -> str:
    return f"navilink_{mac}"


def _true(state: Any) -> dict[str, Any]:
    off = state.setting is Setting.OFF
    return {
        ATTRIBUTE: state.setpoint,
        "operation_mode": "power_off" if off else state.setting.name.lower(),
        "power_state": not off,
        "tank_upper_temperature": state.upper,
        "power": state.shown_power,
    }
