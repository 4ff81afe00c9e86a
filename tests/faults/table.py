"""What came of the faults, as a table: on the terminal row by row, and in the README as a whole."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

from faults.catalogue import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from faults.trial import Outcome

HEAD: Final = f"{'fault':<58} {'vendor':<8} {'promise':<70} {'noticed':>8} {'back':>8}   verdict"

BEGIN: Final = "<!-- faults: written by `make faults ARGS=--readme` -->\n"
END: Final = "<!-- end of faults -->\n"


def row(outcome: Outcome) -> str:
    """One fault on the terminal."""
    verdict = outcome.skipped or ("kept" if outcome.kept else "BROKEN")
    return (
        f"{outcome.fault.name:<58} {outcome.vendor:<8} {outcome.fault.promise:<70} {seconds(outcome.noticed):>8} "
        f"{seconds(outcome.recovered):>8}   {verdict}"
    )


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def markdown(outcomes: Iterable[Outcome], figures: Mapping[str, str]) -> str:
    """All of them as a page has them: vendors with the same promise side by side, then what shows only in numbers."""
    places = {(fault.name, fault.promise): place for place, fault in enumerate(FAULTS)}
    ordered = sorted(outcomes, key=lambda outcome: (places[outcome.fault.name, outcome.fault.promise], outcome.vendor))
    lines = ["| fault | promise | noticed | back |", "|---|---|---|---|"]
    for _, group in groupby(ordered, key=lambda outcome: (outcome.fault.name, outcome.fault.promise)):
        alike = [*group]
        fault = alike[0].fault
        broken = "".join(f" **broken for {outcome.vendor}**" for outcome in alike if not outcome.kept)
        noticed = [(outcome.vendor, outcome.noticed) for outcome in alike]
        back = [(outcome.vendor, outcome.recovered) for outcome in alike]
        lines.append(f"| {fault.name} | {fault.promise}{broken} | {_times(noticed)} | {_times(back)} |")
    lines += ["", "| over long | what came of it |", "|---|---|"]
    lines += [f"| {name} | {what} |" for name, what in figures.items()]
    return "\n".join(lines) + "\n"


def _times(measured: Iterable[tuple[str, float | None]]) -> str:
    return ", ".join(f"{vendor} {value:.1f} s" for vendor, value in measured if value is not None)


def put(path: Path, text: str) -> None:
    """Put it in its place on a page."""
    page = path.read_text()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the table: {BEGIN.strip()} … {END.strip()}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def written(page: str) -> str:
    """The table that a page has."""
    return page.partition(BEGIN)[2].partition(END)[0]


def told(page: str) -> tuple[set[tuple[str, str]], set[str]]:
    """What a page has in its table: faults with their promises, and what shows only in numbers."""
    faults, _, figures = written(page).partition("| over long |")
    rows = re.findall(r"^\| (.+?) \| (.+?) \| .*? \| .*? \|$", faults, re.MULTILINE)
    names = re.findall(r"^\| (.+?) \| .+ \|$", figures, re.MULTILINE)
    return {(name, promise) for name, promise in rows if name != "fault"}, {*names}
