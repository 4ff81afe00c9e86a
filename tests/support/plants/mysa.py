"""Thermostats of several models; the first is a baseboard V2."""

from __future__ import annotations

import base64
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from support.plants import ATTRIBUTE, Simulated

from navibridge.vendors.mysa import frames
from navibridge.vendors.mysa.models import Family
from navibridge.vendors.mysa.simulated import reports
from navibridge.vendors.mysa.simulated.physics import saturated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.vendors.mysa.simulated.thermostat import Thermostat

MODELS: Final = ("BB-V2-0", "AC-V1-1", "BB-V1-1", "INF-V1-0")

AC_MODES: Final = ("heat", "cool", "auto")
HEATER_MODES: Final = ("heat", "off")

TURNS_AN_AC_MODE: Final = 4
TURNS_A_WORD: Final = 10
"""Of the few modes, and of the lock, each has to be over for longer than the timeout before it comes again."""


class Plant(Simulated):
    """Thermostats; their own messages tell of them, and beside that the REST service does."""

    sign_in = "InitiateAuth"
    listing = "/devices"
    states = "/devices/state"
    pace = 50.0
    scaled: Mapping[str, Any] = {"poll_interval": 0.5, "keep_alive": 5, "watchdog": 3.0}

    def __init__(self, devices: int, **options: Any) -> None:
        quick = {
            "quiet": 0.0,
            "answer": (0.0, 0.02),
            "status": 0.5,
            "report": 0.0,
            "record": 1.0,
            "batch_minutes": 1 / 20,
            "flush": (0.0, 0.05),
            "rest": (0.0, 0.05),
            "tick": 0.2,
        }
        super().__init__("mysa", devices, models=MODELS, **quick | options)
        self.simulator.timing.boot = (0.0, 0.1)
        for thermostat in self.simulator.thermostats.values():
            thermostat.faults.frozen = True

    @property
    def devices(self) -> list[str]:
        return [_name(ident) for ident in self.simulator.thermostats]

    def thermostat(self, device: str) -> Thermostat:
        found: Thermostat = self.simulator.thermostats[device.removeprefix("mysa_")]
        return found

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        return {_name(ident): _true(thermostat) for ident, thermostat in self.simulator.thermostats.items()}

    def passed(self) -> list[tuple[str, str, Any]]:
        since, self._asked = self._asked, time.monotonic()
        found = []
        for command in reversed(self.simulator.received_commands):
            if command.at < since - 0.2:  # a device takes a moment to obey
                break
            if "sp" in command.cmd and command.outcome == "applied":
                found.append((_name(command.device_id), ATTRIBUTE, float(command.cmd["sp"])))
        news, self._news = self._news, []
        return [*found[::-1], *news]

    def turn(self) -> None:
        self._turns += 1
        for number, (ident, thermostat) in enumerate(self.simulator.thermostats.items()):
            turns = self._turns + 13 * number  # no two alike: nobody may take one for the other
            state = thermostat.state
            state.air = 12.0 + turns % 97 * 0.13
            state.vapour = saturated(state.air) * (20 + turns % 29 * 2.2) / 100
            ac = thermostat.model.family is Family.AC
            modes, turns_a_mode = (AC_MODES, TURNS_AN_AC_MODE) if ac else (HEATER_MODES, TURNS_A_WORD)
            thermostat.press(
                setpoint=17.0 + turns % 13 if ac else self.value(turns),
                mode=modes[turns // turns_a_mode % len(modes)],
                locked=turns // TURNS_A_WORD % 2 == 1,
            )
            self._news += [(_name(ident), attribute, value) for attribute, value in _true(thermostat).items()]

    def change_what_no_status_tells(self, device: str) -> None:
        """Somebody switches a heater's mode and its lock."""
        thermostat = self.thermostat(device)
        mode = HEATER_MODES[thermostat.state.mode == HEATER_MODES[0]]
        thermostat.press(mode=mode, locked=not thermostat.panel.locked)

    def value(self, number: int) -> float:
        return 5.5 + number % 48 * 0.5

    def faults(self, device: str) -> Any:
        return self.thermostat(device).faults

    def silence(self, device: str, *, silent: bool = True) -> None:
        faults = self.faults(device)
        faults.silent = faults.stale = silent

    def garble(self, device: str, *, garbled: bool = True) -> None:
        faults = self.faults(device)
        # What is damaged in a text that nobody needs can be read all the same, and is; what is cut off too can not.
        faults.garbled = faults.truncated = faults.stale = garbled

    def die(self, device: str) -> None:
        faults = self.faults(device)
        faults.offline = faults.connected = True

    def puzzle(self, device: str) -> None:
        self.faults(device).unknown_messages = True

    def sign_ins(self) -> int:
        return self.requests("RespondToAuthChallenge")

    def refuse_renewals(self) -> None:
        self.simulator.cognito.refresh_seconds = 0.0

    def effects(self) -> Counter[tuple[str, float]]:
        return Counter(
            (_name(command.device_id), float(command.cmd["sp"]))
            for command in self.simulator.received_commands
            if "sp" in command.cmd
        )

    def controls(self, device: str) -> list[tuple[float, float]]:
        return [
            (command.at, float(command.cmd["sp"]))
            for command in self.simulator.received_commands
            if "sp" in command.cmd and _name(command.device_id) == device
        ]

    def secrets(self) -> set[str]:
        cognito = self.simulator.cognito
        keys = {secret for grant in cognito._grants.values() for secret in (grant.secret_key, grant.session_token)}
        return {*cognito._id_tokens, *cognito._refresh_tokens, *cognito._grants, *keys}

    def rename(self, device: str, name: str) -> None:
        self.thermostat(device).listed["Name"] = name

    def remove(self, device: str) -> None:
        self.simulator.remove(device.removeprefix("mysa_"))

    def add(self) -> str:
        thermostat = self.simulator.add_thermostat(MODELS[0])
        thermostat.faults.frozen = True
        return _name(thermostat.id)

    def unplug(self, device: str) -> None:
        self.simulator.unplug(device.removeprefix("mysa_"))

    def plug_in(self, device: str) -> None:
        self.faults(device).connected = None
        self.simulator.plug_in(device.removeprefix("mysa_"))

    def report(self, device: str) -> None:
        self.thermostat(device).report()

    def tell(self, device: str, payload: bytes) -> None:
        self.simulator._publish(frames.topic_out(device.removeprefix("mysa_")), payload, 0)

    def frame(self, device: str) -> bytes:
        thermostat = self.thermostat(device)
        message = reports.message(thermostat.id, 40, reports.status_v2(thermostat.zone), at=time.time())
        return orjson.dumps(message)

    def batch(self, device: str, *, ahead: float = 0.0) -> bytes:
        """The readings that the device would send now, by a clock that is so many seconds ahead."""
        thermostat = self.thermostat(device)
        interval = replace(thermostat._interval, at=int(time.time() + ahead))
        readings = base64.b64encode(reports.record(thermostat.model.family, thermostat.zone, interval)).decode()
        return orjson.dumps(reports.message(thermostat.id, 3, {"readings": readings}, at=time.time() + ahead))

    def tell_batch(self, device: str, payload: bytes) -> None:
        """A message with readings, in the device's name."""
        self.simulator._publish(frames.topic_batch(device.removeprefix("mysa_")), payload, 0)

    def look_again(self) -> None:
        """Nothing: the session reads the list every few seconds."""


def _name(ident: str) -> str:
    return f"mysa_{ident}"


def _true(thermostat: Thermostat) -> dict[str, Any]:
    state = thermostat.state
    return {
        ATTRIBUTE: float(state.setpoint),
        "mode": state.mode,
        "current_temperature": state.air,
        "humidity": state.humidity,
        "lock": thermostat.panel.locked,
    }
