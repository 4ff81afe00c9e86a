"""All faults, played through, as a table: `make faults`, or ``python tests/faults/run.py WORD...`` for some of them.

A word is part of a fault's name, or the name of a vendor. With ``--readme`` all of them are played, and the README's
table is written anew.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from faults import table
from faults.catalogue import FAULTS
from faults.endurance import LONG
from faults.trial import cases, play_all
from support.plants import VENDORS

README_OPTION: Final = "--readme"
README: Final = Path(__file__).parent.parent.parent / "README.md"
BROKEN: Final = "BROKEN"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def endure(words: list[str], directory: Path) -> dict[str, str]:
    """What shows only in numbers, one after the other, and what came of each."""
    figures = {}
    for name, run in LONG.items():
        if words and not any(word.lower() in name for word in words):
            continue
        began = time.monotonic()
        try:
            what = asyncio.run(run(directory / name.replace(" ", "_")))
        except AssertionError as error:
            what = f"{BROKEN}: {error}"
        figures[name] = f"{what} ({time.monotonic() - began:.0f} s)"
        say(f"{name:<32} {figures[name]}")
    return figures


def main(words: list[str]) -> int:
    readme = README_OPTION in words
    words = [] if readme else words
    logging.getLogger("navibridge").setLevel(logging.CRITICAL)
    vendors = [word for word in words if word in VENDORS]
    parts = [word.lower() for word in words if word not in VENDORS]
    chosen = [
        (fault, vendor)
        for fault, vendor in cases(FAULTS)
        if (not vendors or vendor in vendors) and (not parts or any(part in fault.name.lower() for part in parts))
    ]
    say(table.HEAD)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="navibridge-faults-") as directory:
        outcomes = asyncio.run(play_all(chosen, Path(directory), told=lambda outcome: say(table.row(outcome))))
        broken = [outcome for outcome in outcomes if not outcome.kept]
        for outcome in broken:
            say(f"\n{outcome.fault.name}, {outcome.vendor}:")
            for problem in outcome.problems:
                say(f"    {problem}")
        skipped = sum(bool(outcome.skipped) for outcome in outcomes)
        missing = f", {skipped} not played" if skipped else ""
        say(f"\n{len(outcomes)} faults in {time.monotonic() - began:.0f} s, {len(broken)} promises broken{missing}\n")
        figures = endure(words, Path(directory))
    if readme and not skipped:
        table.put(README, table.markdown(outcomes, figures))
    return 1 if broken or any(what.startswith(BROKEN) for what in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
