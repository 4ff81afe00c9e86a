"""How long is waited."""

from __future__ import annotations

from navibridge.backoff import Backoff


def test_the_bound_of_the_waits() -> None:
    backoff = Backoff()
    assert [backoff.wait(number, lambda: 1.0) for number in range(1, 9)] == [2, 4, 8, 16, 32, 64, 120, 120]
    assert backoff.wait(1_000_000, lambda: 1.0) == 120, "after years of failures"
    assert backoff.at(10).wait(1, lambda: 1.0) == 0.2
