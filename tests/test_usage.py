"""What is asked of the vendors, over restarts."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from navibridge.budget import BUDGET_PERIOD
from navibridge.errors import Throttled
from navibridge.store import Store
from navibridge.usage import FREE_STARTS, MOST_STARTS, SAVING, Starts, Usage

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_040.0

    def __call__(self) -> float:
        return self.now


def usage(directory: Path, clock: Clock, allowed: int = 10) -> tuple[Usage, list[str]]:
    counted: list[str] = []
    return Usage(Store(directory), "home", clock, counted.append, allowed), counted


def test_requests_are_counted_and_bounded(tmp_path: Path) -> None:
    clock = Clock()
    made, counted = usage(tmp_path, clock)
    for _ in range(10):
        made.spend()
        clock.now += 6
    with pytest.raises(Throttled) as caught:
        made.spend()
    assert counted == ["rest_requests"] * 10
    clock.now += caught.value.retry_after
    made.spend()
    assert 0 < caught.value.retry_after <= BUDGET_PERIOD


def test_whoever_is_killed_again_and_again_has_one_budget(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(10):
        made, _ = usage(tmp_path, clock)
        made.spend()
        clock.now += 3
    made, _ = usage(tmp_path, clock)
    with pytest.raises(Throttled):
        made.spend()
    [file] = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("step", [0.0, -86_400.0, 86_400.0])
def test_memory_cards_wear_out(tmp_path: Path, step: float) -> None:
    clock = Clock()
    made, _ = usage(tmp_path, clock, 10_000)
    clock.now += step  # it was set since the start
    contents = set()
    for _ in range(3600):
        made.spend()
        contents.add(next(tmp_path.iterdir()).read_bytes())
        clock.now += 1
    assert len(contents) <= 61 + 3600 / SAVING


@pytest.mark.parametrize("kept", [[], {"minutes": 7}, {"minutes": {"x": 1, "28333334": "many"}}])
def test_a_damaged_count_is_none(tmp_path: Path, kept: object) -> None:
    Store(tmp_path).save("home-requests", kept if isinstance(kept, dict) else {"minutes": kept})
    made, _ = usage(tmp_path, Clock(), 1)
    made.spend()


def test_a_count_from_the_future_blocks_nobody(tmp_path: Path) -> None:
    clock = Clock()
    clock.now += 1e7
    made, _ = usage(tmp_path, clock, 1)
    made.spend()
    clock.now -= 1e7
    made.spend()


def test_a_crash_loop_waits_longer_and_longer(tmp_path: Path) -> None:
    clock, waits = Clock(), []
    for _ in range(12):
        waits.append(Starts(Store(tmp_path), clock).enter())
        clock.now += 1
    assert waits[: FREE_STARTS + 1] == [0.0] * (FREE_STARTS + 1)
    assert 1 <= waits[FREE_STARTS + 1] <= 2
    assert all(30 <= wait <= 60 for wait in waits[10:])
    clock.now += BUDGET_PERIOD
    assert Starts(Store(tmp_path), clock).enter() == 0


def test_a_regular_stop_counts_for_nothing(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(30):
        starts = Starts(Store(tmp_path), clock)
        assert starts.enter() == 0
        clock.now += 1
        starts.finish()


def test_starts_are_remembered_within_bounds(tmp_path: Path) -> None:
    clock, store = Clock(), Store(tmp_path)
    for _ in range(100):
        Starts(store, clock).enter()
        clock.now += 0.01
    assert len(store.load("starts")["unfinished"]) == MOST_STARTS


@pytest.mark.parametrize("kept", [{}, {"unfinished": "x"}, {"unfinished": ["1", None]}, {"unfinished": [9e12] * 9}])
def test_damaged_or_future_starts_are_none(tmp_path: Path, kept: dict[str, object]) -> None:
    Store(tmp_path).save("starts", kept)
    assert Starts(Store(tmp_path), Clock()).enter() == 0
