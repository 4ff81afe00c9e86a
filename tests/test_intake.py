"""What becomes of frames that can not be dealt with."""

from __future__ import annotations

from collections import Counter

import pytest

from navibridge.errors import FrameError, LinkError
from navibridge.intake import MOST_SORTS, Intake


def deal(intake: Intake, error: Exception | None) -> None:
    with intake.frame():
        if error is not None:
            raise error


def test_what_is_wrong_with_a_frame_is_counted_and_told_once_per_sort(caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    intake = Intake(lambda name: counts.update((name,)))
    for error in (None, FrameError("too short", sort="truncated"), ZeroDivisionError("of ours")):
        for _ in range(2):
            deal(intake, error)
    assert counts == {"frames": 6, "frame_errors": 4}
    said = [(record.levelname, bool(record.exc_info)) for record in caplog.records]
    assert said == [("WARNING", False), ("ERROR", True), ("WARNING", False)]
    caplog.clear()
    for number in range(2 * MOST_SORTS):
        deal(intake, FrameError("strange", sort=f"sort {number}"))
    assert len(caplog.records) == MOST_SORTS - 2


def test_the_end_of_a_link_is_no_matter_of_the_frame() -> None:
    counts: Counter[str] = Counter()
    with pytest.raises(LinkError):
        deal(Intake(lambda name: counts.update((name,))), LinkError("away"))
    assert counts == {"frames": 1}
