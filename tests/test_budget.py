"""What every sign-in is bound by."""

from __future__ import annotations

import pytest

from navibridge.budget import BUDGET_PERIOD, Budget, Term
from navibridge.errors import Throttled


@pytest.mark.parametrize(
    ("lasts", "age", "fresh"), [(3600, 3299, True), (3600, 3300, False), (10, 7.9, True), (10, 8, False)]
)
def test_a_token_is_old_before_it_ends(lasts: float, age: float, fresh: bool) -> None:
    assert Term(1000.0, lasts).fresh(1000.0 + age) is fresh


def test_a_token_from_the_future_is_not_trusted() -> None:
    assert not Term(10_000.0, 3600).fresh(1000.0)


def test_a_budget_is_spent_and_comes_back_with_time() -> None:
    budget = Budget(2)
    assert [budget.spend(1000.0), budget.spend(1040.0)] == [1000.0, 1040.0]
    with pytest.raises(Throttled) as caught:
        budget.spend(1100.0)
    assert caught.value.retry_after == pytest.approx(BUDGET_PERIOD - 100)
    assert budget.spend(1000.0 + BUDGET_PERIOD) == 1000.0 + BUDGET_PERIOD
    assert budget.entries == [1040.0, 1000.0 + BUDGET_PERIOD]


def test_what_nobody_judged_is_given_back() -> None:
    budget = Budget(1)
    budget.refund(budget.spend(1000.0))
    assert budget.spend(1001.0) == 1001.0


def test_a_restart_renews_no_budget() -> None:
    with pytest.raises(Throttled):
        Budget(1, [1000.0]).spend(1001.0)


@pytest.mark.parametrize("kept", [None, "x", {"a": 1}, ["1000", None]])
def test_a_damaged_book_is_an_empty_one(kept: object) -> None:
    assert Budget(1, kept).entries == []


def test_an_entry_from_the_future_blocks_nobody() -> None:
    budget = Budget(1, [5000.0])
    assert budget.spend(1000.0) == 1000.0
