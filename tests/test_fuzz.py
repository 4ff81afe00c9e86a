"""A short run of the fuzzer; `make fuzz` does a long one."""

from __future__ import annotations

import fuzz
import pytest


@pytest.mark.parametrize("target", fuzz.TARGETS, ids=lambda target: target.name)
def test_mangled_frames_raise_nothing_but_frame_errors(target: fuzz.Target) -> None:
    (met,) = fuzz.run(5000, seed=1, targets=(target,)).values()
    assert met.total() == 5000
    assert met["decoded"] > 0
    assert len(met) > 2
