"""How memory is judged in a soak, whose own time is too long for a test."""

from __future__ import annotations

import random

import pytest
from faults.soak import GROWTH, rise, warm


def rows(grown: float, *, number: int = 720) -> list[tuple[float, float]]:
    """Rows of an hour that begins with 30 MB more within some minutes, and then grows by so many MB, with noise."""
    chance = random.Random(1)
    return [
        (5.0 * at, 70 + 30 * min(1.0, at / 100) + grown * at / number + chance.uniform(-1, 1)) for at in range(number)
    ]


def test_what_grows_before_it_is_warm_is_no_growth() -> None:
    assert abs(rise(warm(rows(0.0)))) < 0.5


def test_what_goes_on_growing_is() -> None:
    grown = rise(warm(rows(10.0)))
    assert grown == pytest.approx(8.0, abs=0.5)
    assert grown > GROWTH


def test_a_single_row_tells_nothing() -> None:
    assert rise(warm([(5.0, 70.0)])) == 0.0
