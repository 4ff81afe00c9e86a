"""What comes of a capture: its replay to a broker, seen by somebody who listens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from support.listener import listening

from navibridge import replay
from navibridge.capture import read

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from support.listener import Address, Heard

    from navibridge.capture import Head, Line

CAPTURES = "captures/*/*.jsonl"
AT_ONCE = 1e9
"""A speed at which nobody waits."""


def opened(path: Path) -> tuple[Head, list[Line]]:
    with path.open("rb") as file:
        return read(file)


async def replayed(broker: Address, head: Head, lines: Iterable[Line], *, speed: float = AT_ONCE) -> list[Heard]:
    """Every message that a replay publishes, in order."""
    settings = replay.settings(head, {"broker": {"host": broker.host, "port": broker.port}})
    steps = await asyncio.to_thread(replay.story, settings, head, list(lines))
    async with listening(broker, "navibridge/#", "homeassistant/#") as listener:
        since = listener.mark()
        await replay.replay(settings, head, steps, speed=speed)
        # The last account's state is the last thing that is said.
        last = f"navibridge/bridge/account/{[*head.accounts][-1]}/state"
        await listener.wait_for(last, lambda heard: heard.json["reason"] == "stopped")
        return listener.heard[since:]


def final_states(heard: Iterable[Heard]) -> dict[str, Any]:
    """The last state of each device, by its topic."""
    states = {}
    for message in heard:
        levels = message.topic.split("/")
        if levels[0] == "navibridge" and levels[2:] == ["state"] and levels[1] != "bridge":
            states[levels[1]] = message.json
    return dict(sorted(states.items()))
