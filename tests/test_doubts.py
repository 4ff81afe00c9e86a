from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from navibridge.doubts import LEFT_OUT_FOR, Doubts

if TYPE_CHECKING:
    import pytest


def test_a_break_with_several_on_their_way_makes_suspects_only() -> None:
    doubts = Doubts()
    doubts.blame(("a", "b", "c"), 0.0)
    assert doubts.suspects == {"a", "b", "c"}
    assert all(doubts.allows(name, 0.0) for name in "abc")
    doubts.acquit("a")
    assert doubts.suspects == {"b", "c"}


def test_who_breaks_the_link_twice_all_alone_is_left_out_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    doubts = Doubts()
    doubts.blame(("a",), 0.0)
    assert doubts.allows("a", 0.0)
    doubts.blame(("a",), 10.0)
    assert not doubts.allows("a", 10.0)
    assert doubts.allows("b", 10.0)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert doubts.allows("a", 10.0 + LEFT_OUT_FOR)


def test_success_in_between_forgives() -> None:
    doubts = Doubts()
    doubts.blame(("a",), 0.0)
    doubts.acquit("a")
    doubts.blame(("a",), 10.0)
    assert doubts.allows("a", 10.0)
