"""What holds still of a thermostat, and what nobody can know any more: pure, with times that are handed in."""

from __future__ import annotations

from typing import Any

import pytest
from support import mysa

from navibridge.model import Confirmed, Reading
from navibridge.vendors.mysa import frames
from navibridge.vendors.mysa.energy import Ledger
from navibridge.vendors.mysa.unit import SILENCE, Unit

NOON = 1_768_478_400.0
HEAT, OFF = 3, 1
ACK = frames.parse(mysa.payload("out_ack_setpoint_v2_msg44.json"))


def unit(name: str = "v2") -> Unit:
    made = Unit(mysa.thermostat(name), mysa.listed(name), None, Ledger(), set())
    made.take_settings(mysa.listed(name), NOON)
    return made


def rest(at: float, *, mode: int = HEAT, mode_at: float | None = None) -> dict[str, Any]:
    """What the REST service shows, as of a time; the mode may bear an earlier one."""
    shown = {name: value | {"t": at} if isinstance(value, dict) else value for name, value in mysa.state("v2").items()}
    return shown | {"Timestamp": at, "TstatMode": {"t": at if mode_at is None else mode_at, "v": mode}}


def status() -> frames.Frame:
    return frames.parse(mysa.payload("out_status_v2_msg40.json"))


def confirmed(told: list[Reading | Confirmed]) -> dict[str, float]:
    """As of when each attribute holds."""
    return {key: event.at for event in told if isinstance(event, Confirmed) for key in event.values}


def speak(device: Unit, *times: float) -> None:
    for at in times:
        device.take(status(), at, "push")


def test_what_the_service_shows_holds_as_of_the_devices_last_report() -> None:
    device = unit()
    held = confirmed(device.take_state(rest(NOON), NOON + 5))
    assert held["mode"] == held["lock"] == held["target_temperature"] == NOON
    assert held.keys().isdisjoint({"current_temperature", "humidity", "wifi_signal"}), "measurements do not hold"
    assert confirmed(device.take_state(rest(NOON), NOON + 65))["mode"] == NOON, "it has not reported again"
    assert confirmed(device.take_state(rest(NOON + 60), NOON + 66))["mode"] == NOON + 60


def test_it_holds_until_the_last_word_of_a_device_that_was_heard_without_a_break() -> None:
    device = unit()
    device.take_state(rest(NOON), NOON)
    speak(device, NOON + 1)
    assert confirmed(device.take_state(rest(NOON), NOON + 10))["mode"] == NOON, "who knows what was before"
    device.take_state(rest(NOON + 20), NOON + 21)
    speak(device, NOON + 30, NOON + 60, NOON + 90)
    assert confirmed(device.take_state(rest(NOON + 20), NOON + 95))["mode"] == NOON + 90


def sure() -> Unit:
    """One whose mode is known for certain at noon and 30 s."""
    device = unit()
    speak(device, NOON)
    for after in (1, 20):
        device.take_state(rest(NOON + after), NOON + after)
    speak(device, NOON + 30)
    assert device.sure
    return device


@pytest.mark.parametrize("boots", [False, True])
def test_after_a_silence_or_a_start_it_holds_only_as_of_the_next_report(boots: bool) -> None:
    device = sure()
    back = NOON + 31 if boots else NOON + 30 + SILENCE + 1
    device.take(frames.parse(mysa.payload("out_boot_firmware_msg61.json")) if boots else status(), back, "push")
    assert not device.sure
    assert confirmed(device.take_state(rest(NOON + 20), back + 1))["mode"] == NOON + 20
    speak(device, back + 2)
    assert confirmed(device.take_state(rest(NOON + 29), back + 3))["mode"] == NOON + 29, "the service lags behind"
    assert confirmed(device.take_state(rest(back + 1), back + 4))["mode"] == back + 2


def test_a_link_that_broke_for_a_moment_is_a_break() -> None:
    device = sure()
    device.forget_link()
    speak(device, NOON + 33, NOON + 60)
    assert confirmed(device.take_state(rest(NOON + 20), NOON + 61))["mode"] == NOON + 20, "it may have told of a change"
    assert confirmed(device.take_state(rest(NOON + 40), NOON + 62))["mode"] == NOON + 60


def test_after_the_clock_was_set_back_it_is_soon_certain_again() -> None:
    device = sure()
    speak(device, NOON - 3_600, NOON - 3_570)
    assert confirmed(device.take_state(rest(NOON - 3_590), NOON - 3_565))["mode"] == NOON - 3_570
    device.hold(["mode"], NOON)
    assert "mode" in confirmed(device.take_state(rest(NOON - 3_590), NOON - 3_565)), "that was long ago"
    device.hold(["mode"], NOON - 3_565)
    assert "mode" not in confirmed(device.take_state(rest(NOON - 3_590), NOON - 3_565))


def test_a_change_that_it_told_holds_while_the_service_lags_behind() -> None:
    device = sure()
    device.take(ACK, NOON + 31, "push")
    assert device.state.values["mode"] == "heat"
    lagging = rest(NOON + 29, mode=OFF)
    speak(device, *(NOON + after for after in range(60, 181, 30)))
    assert confirmed(device.take_state(lagging, NOON + 181))["mode"] == NOON + 180
    device.forget_link()
    speak(device, NOON + 190)
    assert "mode" not in confirmed(device.take_state(lagging, NOON + 191)), "it may have told of another one"


def test_a_change_told_before_the_clock_was_set_back_holds_no_longer_than_others() -> None:
    device = sure()
    device.take(ACK, NOON + 31, "push")
    for back in (NOON - 3_600, NOON - 3_000):
        speak(device, back)
        held = confirmed(device.take_state(rest(NOON - 7_200, mode=OFF), back + 1))
        assert held.get("mode", 0.0) <= NOON - 7_200, "the service knows better by now"


def test_what_the_service_shows_otherwise_does_not_hold() -> None:
    device = sure()
    device.take(ACK, NOON + 31, "push")
    assert device.state.values["mode"] == "heat"
    assert "mode" not in confirmed(device.take_state(rest(NOON + 35, mode=OFF, mode_at=NOON), NOON + 36))
    device.hold(["lock"], NOON + 40)
    assert "lock" not in confirmed(device.take_state(rest(NOON + 41), NOON + 42)), "it may be from before the command"


def test_a_service_whose_clock_is_ahead_makes_nothing_hold_for_longer() -> None:
    device = unit()
    ahead = rest(NOON + 28_800)
    assert confirmed(device.take_state(ahead, NOON))["mode"] == NOON
    assert confirmed(device.take_state(ahead, NOON + 600))["mode"] == NOON
    assert confirmed(device.take_state(rest(NOON + 28_860), NOON + 601))["mode"] == NOON + 601
    assert confirmed(device.take_state(rest(NOON + 630), NOON + 631))["mode"] == NOON + 630, "the clock was set"


def test_a_report_by_a_clock_that_is_ahead_may_be_of_the_silence_before() -> None:
    device = sure()
    back = NOON + 30 + SILENCE + 1
    speak(device, back)
    device.take_state(rest(back + 600), back + 10)
    assert not device.sure, "somebody may have changed it after the report, and before it was heard again"
    device.take_state(rest(back + 660), back + 70)
    assert device.sure


def test_the_list_confirms_settings_that_nothing_else_tells() -> None:
    device = sure()
    (still,) = device.take_settings(mysa.listed("v2"), NOON + 40)
    assert {"eco", "display_unit", "brightness_idle"} <= still.values.keys()
    assert still.at == NOON + 30
    changed = mysa.listed("v2") | {"ecoMode": 0}
    (still,) = device.take_settings(changed, NOON + 41)
    assert "eco" not in still.values
