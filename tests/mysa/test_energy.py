"""The energy ledger: nothing counted twice, nothing lost, never backwards."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mysa import example

from navibridge.vendors.mysa import batch
from navibridge.vendors.mysa.energy import LONGEST_GAP, MOST_SPANS, PATIENCE, Ledger, usage
from navibridge.vendors.mysa.models import Family

T = 1_768_478_400.0
HOUR = 3600.0


def live(ledger: Ledger, watts: float | None, *, start: float = 0.0, end: float, every: float = 10.0) -> None:
    at = start
    while at <= end:
        ledger.observe(T + at, watts)
        at += every


def test_live_power_is_integrated() -> None:
    ledger = Ledger()
    live(ledger, 1500.0, end=HOUR)
    assert ledger.kwh == pytest.approx(1.5)


def test_power_is_that_of_the_message_before() -> None:
    ledger = Ledger()
    for at, watts in ((0.0, 1000.0), (100.0, 0.0), (200.0, 3000.0)):
        ledger.observe(T + at, watts)
    assert ledger.kwh == pytest.approx(1000 * 100 / 3.6e6)


def test_over_a_gap_nobody_knows() -> None:
    ledger = Ledger()
    ledger.observe(T, 1000.0)
    ledger.observe(T + LONGEST_GAP + 1, 1000.0)
    assert ledger.kwh == 0
    ledger.observe(T + LONGEST_GAP + 11, None)
    counted = ledger.kwh
    ledger.observe(T + LONGEST_GAP + 21, 1000.0)
    assert ledger.kwh == counted == pytest.approx(1000 * 10 / 3.6e6)


def test_messages_in_disorder_and_clocks_set_back() -> None:
    ledger = Ledger()
    ledger.observe(T, 1000.0)
    ledger.observe(T + 10, 1000.0)
    ledger.observe(T + 5, 9000.0)
    ledger.observe(T + 20, 1000.0)
    assert ledger.kwh == pytest.approx(20 * 1000 / 3.6e6)
    ledger.observe(T - 86_400, 1000.0)
    ledger.observe(T - 86_390, 1000.0)
    assert ledger.kwh == pytest.approx(30 * 1000 / 3.6e6)
    live(ledger, 1000.0, end=3000)
    counted = ledger.kwh
    live(ledger, 1000.0, end=3000)
    assert ledger.kwh == pytest.approx(counted), "the same times again"


def test_a_batch_takes_the_place_of_what_was_counted_live() -> None:
    ledger = Ledger()
    live(ledger, 1000.0, end=120)
    for at in (30, 60):
        ledger.settle(T + at, 30, 20.0)
    assert ledger.kwh * 1000 == pytest.approx(40 + 60 * 1000 / HOUR)


def test_a_batch_fills_what_was_missed() -> None:
    ledger = Ledger()
    live(ledger, 1000.0, end=60)
    live(ledger, 1000.0, start=660, end=720)
    for at in range(90, 690, 30):
        ledger.settle(T + at, 30, 1000 * 30 / HOUR)
    assert ledger.kwh == pytest.approx(1000 * 720 / 3.6e6)


def test_a_repeated_batch_counts_once() -> None:
    ledger = Ledger()
    for _ in range(3):
        ledger.settle(T, 30, 12.0)
    assert ledger.kwh * 1000 == pytest.approx(12)
    ledger.settle(T + 15, 30, 12.0)
    assert ledger.kwh * 1000 == pytest.approx(18), "of an overlap only the new half"


def test_a_batch_that_comes_before_the_live_message_that_covers_it() -> None:
    ledger = Ledger()
    ledger.observe(T, 1000.0)
    ledger.settle(T + 30, 30, 5.0)
    ledger.observe(T + 60, 1000.0)
    assert ledger.kwh * 1000 == pytest.approx(5 + 30 * 1000 / HOUR)


def test_the_counter_waits_instead_of_going_back() -> None:
    ledger = Ledger()
    live(ledger, 3000.0, end=60)
    high = ledger.kwh
    ledger.settle(T + 60, 60, 0.0)
    assert ledger.kwh == high
    live(ledger, 3000.0, start=60, end=110)
    assert ledger.kwh == high, "until it is true again"
    live(ledger, 3000.0, start=110, end=130)
    assert ledger.kwh > high


def test_what_is_old_is_final() -> None:
    ledger = Ledger()
    live(ledger, 1000.0, end=PATIENCE + 600)
    counted = ledger.kwh
    ledger.settle(T + 300, 300, 0.0)
    assert ledger.kwh == counted
    assert len(ledger._pending) <= PATIENCE / 30 + 2
    assert len(ledger.dump()["spans"]) == 1


def test_the_book_stays_short() -> None:
    ledger = Ledger()
    for index in range(10 * MOST_SPANS):
        ledger.settle(T + 1000 * index, 30, 1.0)
    assert len(ledger.dump()["spans"]) == MOST_SPANS
    before = ledger.kwh
    ledger.settle(T + 500, 30, 1.0)
    assert ledger.kwh == before, "long closed"


def test_a_restart_makes_what_is_provisional_final() -> None:
    ledger = Ledger()
    live(ledger, 1000.0, end=600)
    again = Ledger.load(ledger.dump())
    assert again.kwh == pytest.approx(ledger.kwh)
    again.settle(T + 300, 300, 5000.0)
    assert again.kwh == pytest.approx(ledger.kwh), "it is counted already"
    again.settle(T + 630, 30, 12.0)
    assert again.kwh * 1000 == pytest.approx(ledger.kwh * 1000 + 12)


Event = tuple[bool, float, float]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 7200), st.floats(0, 300)), max_size=60),
    st.sampled_from([0.0, 700.0, 1500.0]),
)
def test_whatever_comes_in_whatever_order_the_truth_is_not_exceeded(events: list[Event], watts: float) -> None:
    """Power is constant, so that the truth is known: at most the time that anybody told of, times the power."""
    ledger = Ledger()
    told = 0.0
    first, last = 7200.0, 0.0
    for is_batch, at, seconds in events:
        if is_batch:
            ledger.settle(T + at, seconds, watts * seconds / HOUR)
            first, last = min(first, at - seconds), max(last, at)
        else:
            ledger.observe(T + at, watts)
            first, last = min(first, at), max(last, at)
        assert ledger.kwh >= told
        told = ledger.kwh
    assert told * 1000 <= watts * max(0.0, last - first) / HOUR + 1e-6
    again = Ledger.load(ledger.dump())
    assert again.kwh == pytest.approx(told)


@pytest.mark.parametrize(
    "spoil",
    [
        {"settled": "x"},
        {"spans": [[2, 1]]},
        {"spans": [[0, 5], [3, 8]]},
        {"spans": "x"},
        {"spans": [[1, "2"]]},
        {"spans": [[1, 2, 3]]},
        {"closed": None},
    ],
)
def test_of_a_damaged_entry_the_counter_is_kept(spoil: dict[str, object]) -> None:
    ledger = Ledger()
    live(ledger, 1000.0, end=600)
    again = Ledger.load(ledger.dump() | spoil)
    assert again.kwh == pytest.approx(ledger.kwh)
    before = again.kwh
    live(again, 1000.0, start=600, end=700)
    assert again.kwh > before, "and it goes on from there"


@pytest.mark.parametrize("kept", [None, 5, [], {}, {"shown": -4}])
def test_nothing_kept_is_a_new_ledger(kept: object) -> None:
    assert Ledger.load(kept).kwh == 0


# --- records ----------------------------------------------------------------------------------------------------------


def record(name: str) -> batch.BatchReading:
    return batch.decode(example(name)).readings[0]


def test_the_worked_example() -> None:
    used = usage(Family.BASEBOARD_V2, record("v3"), rated_watts=None, heating_watts=None)
    assert used is not None
    assert used.seconds == pytest.approx(30.9)
    assert used.amount == pytest.approx(239 * 6.27 * 14.1 / HOUR)
    assert used.amount / used.seconds * HOUR == pytest.approx(684, abs=0.5), "W on average"


def test_the_current_of_a_lite_means_nothing() -> None:
    assert usage(Family.LITE, record("v3"), rated_watts=None, heating_watts=None) is None
    used = usage(Family.LITE, record("v3"), rated_watts=1000.0, heating_watts=None)
    assert used is not None
    assert used.amount == pytest.approx(1000 * 14.1 / HOUR)


def test_a_v1_goes_by_what_it_was_seen_to_draw() -> None:
    reading = record("v0")
    assert usage(Family.BASEBOARD_V1, reading, rated_watts=None, heating_watts=None) is None
    for rated, heating, watts in ((2000.0, None, 2000), (2000.0, 1400.0, 1400)):
        used = usage(Family.BASEBOARD_V1, reading, rated_watts=rated, heating_watts=heating)
        assert used is not None
        assert used.amount == pytest.approx(watts * 18.6 / HOUR)


def test_off_is_known_without_any_watts() -> None:
    assert usage(Family.LITE, record("cold"), rated_watts=None, heating_watts=None) == (30.4, 0.0)


def test_a_record_without_an_interval() -> None:
    fields = dict(record("v3").fields) | {"on_time": 0, "off_time": 0}
    reading = batch.decode(batch.encode_record(3, fields)).readings[0]
    assert usage(Family.BASEBOARD_V2, reading, rated_watts=1000.0, heating_watts=None) is None
