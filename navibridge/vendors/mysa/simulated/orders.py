"""What a simulated thermostat makes of a command: which of its settings it takes (`docs/protocol/mysa.md` 4.10, 6).

Pure. `settings_in` finds the settings in a message, `Reader.check` says what they change. What a device offers is what
its entry in the account's list says; this reads the lists as they stand there, and shares no code with how the bridge
does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from navibridge.vendors.mysa import codecs
from navibridge.vendors.mysa.models import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.vendors.mysa.simulated.physics import ZoneState
    from navibridge.vendors.mysa.simulated.reports import Panel

COMMON_FANS: Final = (1, 3, 5, 7, 8)
"""Fan codes of an air conditioner whose lists say nothing."""


@dataclass(slots=True)
class ReceivedCommand:
    """One command as it arrived, for tests and the curious.

    Attributes:
        device_id: whom it was for.
        body_type: its ``type``.
        cmd: its settings.
        sent_id: its id.
        message: all of it.
        at: when, by the simulator's clock.
        outcome: ``ignored`` where nothing says so, ``pending``, then ``applied``, ``refused`` or ``failed``.
    """

    device_id: str
    body_type: int | None
    cmd: Mapping[str, Any]
    sent_id: int | None
    message: Mapping[str, Any]
    at: float
    outcome: Literal["ignored", "pending", "applied", "refused", "failed"] = "ignored"


class Refused(Exception):
    """A command that the thermostat does not carry out."""


@dataclass(slots=True)
class Changes:
    """What a command changes, once all of it has been found good."""

    climate: dict[str, Any] = field(default_factory=dict)
    panel: dict[str, Any] = field(default_factory=dict)


class Reader:
    """One look at a command by one device.

    Args:
        family: what the device really is.
        listed: its entry of ``/devices``.
        state: how it is set now.
        panel: likewise.
    """

    def __init__(self, family: Family, listed: Mapping[str, Any], state: ZoneState, panel: Panel) -> None:
        self._family = family
        self._listed = listed
        self._state = state
        self._panel = panel

    def check(self, cmd: Mapping[str, Any]) -> Changes:
        """What a command changes.

        Raises:
            Refused: the thermostat would do nothing of it.
        """
        checks: Mapping[str, Callable[[Any, Changes], None]] = {
            "md": self._check_mode,  # first, since targets and fan speeds depend on it
            "sp": self._check_setpoint,
            "fn": self._check_fan,
            "ss": self._check_swing,
            "ssh": self._check_swing_horizontal,
            "it": self._check_climate_plus,
            "tr": self._check_tracked,
            "lk": self._check_lock,
            "br": self._check_brightness,
            "pr": self._check_proximity,
        }
        changes = Changes()
        for key, check in checks.items():
            if key in cmd:
                check(cmd[key], changes)
        self._check_hold(cmd, changes)
        return changes

    def _need(self, *families: Family) -> None:
        if self._family not in families:
            raise Refused("this model knows no such setting")

    def _mode_after(self, changes: Changes) -> str:
        return str(changes.climate.get("mode", self._state.mode))

    def _modes(self) -> Mapping[str, Any]:
        """What an air conditioner lists, by mode code; empty for one that was not set up."""
        if self._listed.get("SetupRequired"):
            return {}
        modes = self._listed.get("SupportedCaps", {}).get("modes", {})
        return modes if isinstance(modes, dict) else {}

    def _entry(self, mode: str) -> Mapping[str, Any]:
        entry = self._modes().get(str(codecs.MODE.encode(mode)), {})
        return entry if isinstance(entry, dict) else {}

    def _check_mode(self, raw: Any, changes: Changes) -> None:
        mode = codecs.MODES.get(raw) if type(raw) is int else None
        offered = {"heat"}
        if self._family is Family.AC:
            offered = {word for word in codecs.MODES.values() if str(codecs.MODE.encode(word)) in self._modes()}
        if mode is None or (mode != "off" and mode not in offered):
            raise Refused(f"mode {raw}")
        changes.climate["mode"] = mode
        targets = self._targets(mode)
        if self._family is Family.AC and targets and self._state.setpoint not in targets:
            # A remote control that is switched to another mode shows a target of that mode.
            changes.climate["setpoint"] = float(min(targets, key=lambda target: abs(target - self._state.setpoint)))

    def _targets(self, mode: str) -> list[float]:
        """The targets of an air conditioner in a mode; while it is off, those of all modes."""
        entries = [self._entry(mode)] if mode != "off" else self._modes().values()
        if mode in ("dry", "fan_only"):
            return []
        return sorted({float(target) for entry in entries for target in entry.get("temperatures", ()) if target})

    def _check_setpoint(self, raw: Any, changes: Changes) -> None:
        if type(raw) not in (int, float):
            raise Refused("a setpoint that is no number")
        if self._family is Family.AC:
            fits = float(raw) in self._targets(self._mode_after(changes))
        else:
            fits = self._listed["MinSetpoint"] <= raw <= self._listed["MaxSetpoint"] and (raw * 2) % 1 == 0
        if not fits:
            raise Refused(f"setpoint {raw}")
        changes.climate["setpoint"] = float(raw)

    def _check_fan(self, raw: Any, changes: Changes) -> None:
        self._need(Family.AC)
        own = self._entry(self._mode_after(changes)).get("fanSpeeds")
        offered = own or self._listed.get("SupportedCaps", {}).get("fanSpeeds") or COMMON_FANS
        _need_code(raw, offered)
        changes.climate["fan"] = raw

    def _check_swing(self, raw: Any, changes: Changes) -> None:
        self._need(Family.AC)
        _need_code(raw, self._entry(self._mode_after(changes)).get("verticalSwing", range(3, 10)))
        changes.climate["swing"] = raw

    def _check_swing_horizontal(self, raw: Any, changes: Changes) -> None:
        self._need(Family.AC)
        _need_code(raw, self._entry(self._mode_after(changes)).get("horizontalSwing", (*range(3, 10), 12)))
        changes.climate["swing_horizontal"] = raw

    def _check_climate_plus(self, raw: Any, changes: Changes) -> None:
        self._need(Family.AC)
        _need_code(raw, (0, 1))
        changes.climate["climate_plus"] = raw == 1

    def _check_tracked(self, raw: Any, changes: Changes) -> None:
        self._need(Family.IN_FLOOR)
        _need_code(raw, (3, 5))
        changes.climate["tracked"] = codecs.TRACKED.decode(raw)

    def _check_lock(self, raw: Any, changes: Changes) -> None:
        _need_code(raw, (0, 1))
        changes.panel["locked"] = raw == 1

    def _check_brightness(self, raw: Any, changes: Changes) -> None:
        self._need(Family.BASEBOARD_V2)
        limits = {"a_b": 1, "a_br": 100, "i_br": 100, "a_dr": 3_600, "i_dr": 3_600}
        if not isinstance(raw, dict) or not raw.keys() <= limits.keys():
            raise Refused("a brightness that is none")
        for name, value in raw.items():
            _need_code(value, range(limits[name] + 1))
        changes.panel["brightness"] = self._panel.brightness | raw

    def _check_proximity(self, raw: Any, changes: Changes) -> None:
        self._need(Family.BASEBOARD_V2)
        _need_code(raw, (0, 1))
        changes.panel["proximity"] = raw == 1

    def _check_hold(self, cmd: Mapping[str, Any], changes: Changes) -> None:
        until = cmd.get("tm", -1)
        if type(until) is not int:
            raise Refused("a time that is none")
        if "ho" in cmd:
            _need_code(cmd["ho"], (1, 2))
            changes.panel |= {"hold": cmd["ho"], "hold_until": until}


def _need_code(raw: Any, offered: Any) -> None:
    if type(raw) is not int or raw not in offered:
        raise Refused(f"{str(raw)[:20]} is not offered")


def settings_in(raw: Any) -> Mapping[str, Any] | None:
    """The one object of a command's ``cmd``; the app writes the list as a text at times."""
    if isinstance(raw, str):
        try:
            raw = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
    match raw:
        case [dict() as cmd]:
            return cmd
    return None
