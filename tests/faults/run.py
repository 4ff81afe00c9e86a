"""All faults, played through, as a table: `make faults`, or ``python tests/faults/run.py WORD...`` for some of them.

A word is part of a fault's name, or the name of a vendor.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))

from faults.catalogue import FAULTS
from faults.endurance import LONG
from faults.trial import cases, play_all
from support.plants import VENDORS

if TYPE_CHECKING:
    from faults.trial import Outcome


def row(outcome: Outcome) -> str:
    verdict = "kept" if outcome.kept else "BROKEN"
    return (
        f"{outcome.fault.name:<58} {outcome.vendor:<8} {outcome.fault.promise:<70} {seconds(outcome.noticed):>8} "
        f"{seconds(outcome.recovered):>8}   {verdict}"
    )


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def endure(words: list[str], directory: Path) -> int:
    """What shows only in numbers, one after the other; how many promises were broken."""
    broken = 0
    for name, run in LONG.items():
        if words and not any(word.lower() in name for word in words):
            continue
        began = time.monotonic()
        try:
            what = asyncio.run(run(directory / name.replace(" ", "_")))
        except AssertionError as error:
            broken += 1
            what = f"BROKEN: {error}"
        say(f"{name:<32} {what} ({time.monotonic() - began:.0f} s)")
    return broken


def main(words: list[str]) -> int:
    logging.getLogger("navibridge").setLevel(logging.CRITICAL)
    vendors = [word for word in words if word in VENDORS]
    parts = [word.lower() for word in words if word not in VENDORS]
    chosen = [
        (fault, vendor)
        for fault, vendor in cases(FAULTS)
        if (not vendors or vendor in vendors) and (not parts or any(part in fault.name.lower() for part in parts))
    ]
    say(f"{'fault':<58} {'vendor':<8} {'promise':<70} {'noticed':>8} {'back':>8}   verdict")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="navibridge-faults-") as directory:
        outcomes = asyncio.run(play_all(chosen, Path(directory), told=lambda outcome: say(row(outcome))))
        broken = [outcome for outcome in outcomes if not outcome.kept]
        for outcome in broken:
            say(f"\n{outcome.fault.name}, {outcome.vendor}:")
            for problem in outcome.problems:
                say(f"    {problem}")
        say(f"\n{len(outcomes)} faults in {time.monotonic() - began:.0f} s, {len(broken)} promises broken\n")
        worn = endure(words, Path(directory))
    return 1 if broken or worn else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
