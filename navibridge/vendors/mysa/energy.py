"""The energy of one heater, counted from two sources that overlap (`docs/protocol/mysa.md` 7).

Live messages tell the power every few seconds, as long as they come. The batches, minutes later, tell what really
flowed, the time of missed messages included. A `Ledger` integrates the first provisionally and puts the second in its
place where that covers the same time, so that nothing is counted twice and nothing is lost. Pure: times are handed in.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from navibridge.vendors.mysa import batch
from navibridge.vendors.mysa.models import Family

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from navibridge.vendors.mysa.batch import BatchReading

LONGEST_GAP: Final = 300.0
"""Seconds between live messages over which power is taken to be constant; over a longer gap nobody knows."""

PATIENCE: Final = 3600.0
"""Seconds until a provisional amount is final; batches come within 20 minutes."""

SLICE: Final = 30.0
"""Seconds up to which provisional amounts are kept as one; a batch counts in as many."""

MOST_SPANS: Final = 64
"""Separate stretches of time kept as counted; what lies before them is counted too."""

_SECONDS_PER_HOUR: Final = 3600.0


class Slice(NamedTuple):
    """An amount, provisional as long as no batch covers its time.

    Attributes:
        start: seconds since the epoch.
        end: likewise.
        amount: Wh.
    """

    start: float
    end: float
    amount: float

    def part(self, start: float, end: float) -> Slice:
        """What falls into a part of its time, as if power had been constant."""
        return Slice(start, end, self.amount * (end - start) / (self.end - self.start))


class Ledger:
    """The energy counter of one heater, in Wh; it never goes back."""

    def __init__(self) -> None:
        self._settled = 0.0
        self._shown = 0.0
        self._spans: list[tuple[float, float]] = []
        self._closed = 0.0
        self._pending: list[Slice] = []
        self._last: tuple[float, float] | None = None

    @property
    def kwh(self) -> float:
        """The counter. Where a batch takes back what was counted provisionally, it waits until it is true again."""
        self._shown = max(self._shown, self._settled + sum(piece.amount for piece in self._pending))
        return self._shown / 1000

    def observe(self, at: float, watts: float | None) -> None:
        """A live message told the power; ``None`` is unknown.

        Between two messages it is taken to have been that of the first (left Riemann sum).
        """
        before = self._last
        if before is not None and before[0] - LONGEST_GAP < at <= before[0]:
            return
        self._last = None if watts is None else (at, max(0.0, watts))
        if before is None or at - before[0] > LONGEST_GAP:
            return
        if at < before[0]:  # the clock was set back: the times that follow have been counted before
            self._close(before[0])
            return
        whole = Slice(before[0], at, before[1] * (at - before[0]) / _SECONDS_PER_HOUR)
        for start, end in self._uncounted(whole.start, whole.end):
            self._add(whole.part(start, end))
        self._close(at - PATIENCE)

    def settle(self, at: float, seconds: float, amount: float) -> None:
        """A batch told what was used in the ``seconds`` up to ``at``, in Wh; told twice, it counts once."""
        if seconds <= 0:
            return
        whole = Slice(at - seconds, at, max(0.0, amount))
        for start, end in tuple(self._uncounted(whole.start, whole.end)):
            self._settled += whole.part(start, end).amount
            self._pending = [rest for piece in self._pending for rest in _without(piece, start, end)]
            self._count(start, end)

    def _add(self, piece: Slice) -> None:
        last = self._pending[-1] if self._pending else None
        if last is not None and last.end == piece.start and piece.end - last.start <= SLICE:
            self._pending[-1] = Slice(last.start, piece.end, last.amount + piece.amount)
        else:
            self._pending.append(piece)

    def _uncounted(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """The parts of a stretch of time for which no final amount is known yet."""
        start = max(start, self._closed)
        for begins, ends in self._spans:
            if ends <= start:
                continue
            if begins >= end:
                break
            if begins > start:
                yield start, begins
            start = ends
        if start < end:
            yield start, end

    def _count(self, start: float, end: float) -> None:
        """Note that the amount of this time is final."""
        insort(self._spans, (start, end))
        merged = [self._spans[0]]
        for begins, ends in self._spans[1:]:
            if begins <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], ends))
            else:
                merged.append((begins, ends))
        for _, ends in merged[:-MOST_SPANS]:
            self._closed = ends
        self._spans = merged[-MOST_SPANS:]

    def _close(self, before: float) -> None:
        """Make final what is so old that no batch will correct it any more."""
        while self._pending and self._pending[0].end <= before:
            piece = self._pending.pop(0)
            self._settled += piece.amount
            self._count(piece.start, piece.end)

    def dump(self) -> dict[str, Any]:
        """For the store; short, since what is provisional is kept as if it were final."""
        whole = Ledger()
        whole._settled = self._settled + sum(piece.amount for piece in self._pending)
        whole._spans, whole._closed = list(self._spans), self._closed
        for piece in self._pending:
            whole._count(piece.start, piece.end)
        return {
            "shown": self.kwh * 1000,
            "settled": whole._settled,
            "closed": whole._closed,
            "spans": [list(span) for span in whole._spans],
        }

    @classmethod
    def load(cls, kept: Any) -> Ledger:
        """From the store; of damaged entries only the counter is taken, so that it does not go back."""
        ledger = cls()
        if not isinstance(kept, dict):
            return ledger
        ledger._shown = _amount(kept.get("shown")) or 0.0
        settled, closed = _amount(kept.get("settled")), _amount(kept.get("closed"))
        spans = _stretches(kept.get("spans"))
        if settled is None or closed is None or spans is None:
            ledger._settled = ledger._shown
        else:
            ledger._settled, ledger._closed, ledger._spans = settled, closed, spans
        return ledger


def _without(piece: Slice, start: float, end: float) -> Iterator[Slice]:
    """What is left of a slice when a stretch of time is taken out of it."""
    if piece.end <= start or piece.start >= end:
        yield piece
        return
    if piece.start < start:
        yield piece.part(piece.start, start)
    if piece.end > end:
        yield piece.part(end, piece.end)


def _amount(kept: object) -> float | None:
    return float(kept) if isinstance(kept, int | float) and kept >= 0 else None


def _stretches(kept: object) -> list[tuple[float, float]] | None:
    """Stretches of time, one after the other; ``None`` for anything else."""
    found: list[tuple[float, float]] = []
    for row in kept if isinstance(kept, list) else [None]:
        match row:
            case [int() | float() as start, int() | float() as end] if start < end and (
                not found or start >= found[-1][1]
            ):
                found.append((start, end))
            case _:
                return None
    return found


# --- what a batch says ------------------------------------------------------------------------------------------------


class Usage(NamedTuple):
    """What a record of a batch says of the interval before it.

    Attributes:
        seconds: its length.
        amount: Wh.
    """

    seconds: float
    amount: float


def usage(
    family: Family, reading: BatchReading, *, rated_watts: float | None, heating_watts: float | None
) -> Usage | None:
    """The energy of a record's interval; ``None`` when it can not be told.

    Args:
        family: of the device; the current in the records of a Lite means nothing.
        reading: the record.
        rated_watts: power of the heater as configured.
        heating_watts: power that a baseboard V1 was seen to draw while on.
    """
    measured = _decoded(reading)
    on, off = measured.get("on_time"), measured.get("off_time")
    if on is None or off is None or on + off <= 0:
        return None
    watts: float | None = None
    if family is Family.BASEBOARD_V2 and "line_voltage" in measured and "current" in measured:
        watts = measured["line_voltage"] * measured["current"]
    elif family is Family.BASEBOARD_V1 and heating_watts is not None:
        watts = heating_watts
    if watts is None:
        watts = rated_watts
    if watts is None:
        return Usage(on + off, 0.0) if on == 0 else None
    return Usage(on + off, watts * on / _SECONDS_PER_HOUR)


def _decoded(reading: BatchReading) -> Mapping[str, float]:
    found = batch.measured(reading)
    fields = (*batch.COMMON, *batch.VERSIONS.get(reading.version, ()))
    values = {field.name: field.codec.decode(found[field.name]) for field in fields if field.name in found}
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
