"""How long to wait before a link is opened again."""

from __future__ import annotations

from navibridge.vendors.mysa.recovery import Recovery


def waits(reason: str, times: int, **more: float | None) -> list[float]:
    recovery = Recovery(lambda: 1.0)
    return [recovery.after(reason, stood=more.get("stood"), now=1000.0 * number).wait for number in range(times)]


def test_losses_are_answered_soon_at_first() -> None:
    assert waits("timeout", 9) == [2, 4, 8, 16, 32, 64, 120, 120, 120]


def test_accounts_that_are_never_let_in_are_tried_for_ever_but_rarely() -> None:
    assert waits("upgrade_refused", 8) == [2, 30, 60, 120, 240, 300, 300, 300]


def test_a_link_that_stood_is_forgiven() -> None:
    recovery = Recovery(lambda: 1.0)
    for number in range(5):
        recovery.after("timeout", stood=None, now=number)
    assert recovery.after("closed", stood=59.0, now=100.0).wait == 64
    assert recovery.after("closed", stood=61.0, now=200.0).wait == 2
    recovery.after("upgrade_refused", stood=None, now=300.0)
    recovery.after("closed", stood=5.0, now=301.0)
    assert recovery.after("upgrade_refused", stood=None, now=302.0).wait == 2, "it was let in meanwhile"


def test_three_closures_within_half_a_minute_are_a_storm() -> None:
    recovery = Recovery(lambda: 1.0)
    storms = [recovery.after("closed", stood=0.05, now=now).storm for now in (0.0, 20.0, 31.0, 45.0, 49.0, 100.0)]
    assert storms == [False, False, False, True, True, False]
    assert not any(Recovery(lambda: 1.0).after("dns", stood=None, now=now).storm for now in range(5))


def test_waits_are_spread() -> None:
    assert Recovery(lambda: 0.25).after("dns", stood=None, now=0.0).wait == 0.5
