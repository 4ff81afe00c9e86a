"""Reservations, time-of-use plans and their bitfields."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.navilink import sample

from navibridge.errors import FrameError
from navibridge.vendors.navilink import schedules
from navibridge.vendors.navilink.heat_pump import OPERATION_MODES

WORKED = "027c060f036c02820800047301fe161e0162000000000000"

entries = st.lists(
    st.fixed_dictionaries({name: st.integers(0, 255) for name in schedules.RESERVATION}).filter(
        lambda entry: any(entry.values())
    ),
    max_size=16,
)


def test_the_worked_example() -> None:
    decoded, rest = schedules.from_hex(WORKED)
    assert decoded == sample("mqtt_reservation_read_response")["decoded"]
    assert rest == ""
    assert [schedules.reservation_words(entry, OPERATION_MODES) for entry in decoded] == [
        "Mon-Fri 06:15 energy_saver 54 °C",
        "Sat+Sun 08:00 high_demand 57.5 °C",
        "(daily 22:30 heat_pump 49 °C)",
    ]
    assert schedules.to_hex(decoded, empty=1) == WORKED


@given(entries, st.integers(0, 3))
def test_hex_and_entries_are_inverse(given_entries: list[dict[str, int]], empty: int) -> None:
    text = schedules.to_hex(given_entries, empty=empty)
    assert schedules.from_hex(text) == (given_entries, "")
    assert schedules.from_hex(text.upper()) == (given_entries, "")


@given(st.text(max_size=40))
def test_any_text_is_a_list_or_a_frame_error(text: str) -> None:
    try:
        schedules.from_hex(text)
    except FrameError as error:
        assert error.sort == "reservation_hex"  # noqa: PT017 - the other outcome is as good


def test_a_value_that_does_not_fit_is_not_sent() -> None:
    with pytest.raises(FrameError):
        schedules.to_hex([{"enable": 2, "week": 300}])


@pytest.mark.parametrize(
    ("week", "days", "words"),
    [
        (124, ("Mon", "Tue", "Wed", "Thu", "Fri"), "Mon-Fri"),
        (130, ("Sun", "Sat"), "Sat+Sun"),
        (254, ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"), "daily"),
        (40, ("Tue", "Thu"), "Tue+Thu"),
        (134, ("Sun", "Fri", "Sat"), "Sun+Fri+Sat"),
        (0, (), "never"),
    ],
)
def test_week_bitfields(week: int, days: tuple[str, ...], words: str) -> None:
    assert schedules.days_of(week) == days
    assert schedules.week_of(days) == week
    assert schedules.week_words(week) == words


@pytest.mark.parametrize(
    ("season", "words"),
    [
        (4095, "all year"),
        (224, "Jun-Aug"),
        (448, "Jul-Sep"),
        (2051, "Jan-Feb+Dec"),
        (480, "Jun-Sep"),
        (3615, "Jan-May+Oct-Dec"),
        (2048, "Dec"),
        (0, "never"),
    ],
)
def test_season_bitfields(season: int, words: str) -> None:
    assert schedules.season_words(season) == words
    assert schedules.season_of(schedules.months_of(season)) == season


def test_unknown_days_and_months_are_refused() -> None:
    with pytest.raises(ValueError, match="no day"):
        schedules.week_of(["Someday"])
    with pytest.raises(ValueError, match="no month"):
        schedules.season_of(["Smarch"])
    with pytest.raises(ValueError, match="no price"):
        schedules.raw_price("dear", 2)


@pytest.mark.parametrize(("price", "point", "raw"), [("0.225", 2, 23), (0.225, 2, 23), ("0.2765", 5, 27650), (1, 0, 1)])
def test_prices_are_rounded_as_in_commerce(price: Any, point: int, raw: int) -> None:
    assert schedules.raw_price(price, point) == raw


def test_a_price_is_decimal() -> None:
    assert schedules.price_of(27650, 5) == Decimal("0.27650")


def test_time_of_use_in_words() -> None:
    plan = schedules.from_tou_list(sample("mqtt_tou_response")["payload"]["response"]["reservation"])
    assert [schedules.tou_words(entry) for entry in plan] == [
        "Jan-May+Oct-Dec Mon-Fri 16:00-20:59 0.2765",
        "Jun-Sep Mon-Fri 16:00-20:59 0.3912",
        "all year daily 21:00-15:59 0.1184-0.1251",
    ]


def test_lists_are_compared_without_their_order() -> None:
    one, two = {"week": 2, "hour": 6}, {"week": 4, "hour": 6}
    assert schedules.same([one, two], [two, one])
    assert not schedules.same([one, two], [one, one])


def test_two_reservations_for_one_minute_conflict() -> None:
    entry = {"enable": 2, "week": 2, "hour": 6, "min": 0, "mode": 1, "param": 98}
    assert schedules.conflicts([entry, {**entry, "param": 100}])
    assert not schedules.conflicts([entry, {**entry, "hour": 7}])
