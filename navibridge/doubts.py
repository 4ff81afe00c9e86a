"""What earlier links to a cloud taught about topic filters, kept from one link to the next.

A cloud that dislikes a filter refuses it, or closes the connection without a word, and neither may happen over and over
again: who breaks the link is found by subscribing one group after the other, and is then left out for a while.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

BREAKS: Final = 2
"""Times that a group of filters may break the link when it is subscribed by itself."""

LEFT_OUT_FOR: Final = 3600.0
"""Seconds until a group that was left out is tried again."""


@dataclass(slots=True)
class Doubts:
    """What earlier links taught about topic filters, in groups: such as one for each device.

    Attributes:
        refused: filters that the cloud refused.
        suspects: groups that were being subscribed when a link was closed; subscribed one by one from then on.
        breaks: how often a group closed the link all by itself.
        left_out: groups that did it too often, with the loop's time at which they are tried again.
    """

    refused: set[str] = field(default_factory=set)
    suspects: set[str] = field(default_factory=set)
    breaks: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, float] = field(default_factory=dict)

    def blame(self, groups: Iterable[str], now: float) -> None:
        """The cloud closed the link while these groups were being subscribed."""
        names = list(groups)
        self.suspects.update(names)
        if len(names) != 1:
            return
        (name,) = names
        self.breaks[name] += 1
        if self.breaks[name] >= BREAKS:
            self.left_out[name] = now + LEFT_OUT_FOR
            log.error(
                "the cloud closes the link when the topics of %s are subscribed; they are left out for %.0f minutes, "
                "then tried again by themselves. Check in the vendor's app whether the account still has the device",
                name,
                LEFT_OUT_FOR / 60,
            )

    def acquit(self, group: str) -> None:
        """The group was subscribed and the link still stands."""
        self.suspects.discard(group)
        self.breaks.pop(group, None)

    def allows(self, group: str, now: float) -> bool:
        """Whether the group may be subscribed."""
        if self.left_out.get(group, now) <= now:
            self.left_out.pop(group, None)
            return True
        return False
