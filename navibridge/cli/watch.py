"""`navibridge watch`: live values of the running bridge."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: PLC0415, TC002

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from navibridge.cli.outcome import limited, until_stopped
from navibridge.cli.settings import BrokerOption, ConfigOption, ForOption, load_quietly

if TYPE_CHECKING:
    from navibridge.config import Config


def watch(
    context: typer.Context,
    config: ConfigOption = None,
    broker: BrokerOption = None,
    seconds: ForOption = None,
) -> None:
    """Show the running bridge's values as they change.

    A table on a terminal, otherwise a line for each change.
    """
    until_stopped(_watch(load_quietly(context, config, broker), seconds))


async def _watch(config: Config, seconds: float | None) -> None:
    from navibridge.cli.board import Board
    from navibridge.cli.observer import no_bridge, observing
    from navibridge.topics import Topics

    board = Board()
    async with observing(config.broker, Topics(config.broker.base_topic, config.discovery.prefix), board.heard) as seen:
        if not seen.online:
            raise no_bridge(config)
        await limited(board.show(seen), seconds)
