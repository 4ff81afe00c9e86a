"""What the bridge has done so far, counted in one plain object."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Metrics:
    """Counters by group and name, such as ``account home`` / ``frames``."""

    def __init__(self) -> None:
        self._groups: dict[str, Counter[str]] = {}

    def count(self, group: str, name: str, number: int = 1) -> None:
        """Add to a counter."""
        self._groups.setdefault(group, Counter())[name] += number

    def group(self, group: str) -> dict[str, int]:
        """One group's counters."""
        return dict(self._groups.get(group, {}))

    def snapshot(self) -> dict[str, Any]:
        """Every counter, by group and name."""
        return {group: dict(counters) for group, counters in sorted(self._groups.items())}
