"""`navibridge run`: the bridge."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from navibridge.cli.outcome import until_stopped
from navibridge.cli.settings import BrokerOption, ConfigOption, broker_flag, load

if TYPE_CHECKING:
    from navibridge.config import Config
    from navibridge.log import Redactor


def run(
    context: typer.Context,
    config: ConfigOption = None,
    broker: BrokerOption = None,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error, instead of the configured."),
    ] = None,
) -> None:
    """Run the bridge until it is told to stop."""
    import logging

    from navibridge import __version__, log

    flags = broker_flag(broker)
    if log_level is not None:
        flags["--log-level"] = {"log.level": log_level}
    loaded = load(context, config, flags)
    redactor = log.set_up(loaded.config.log, loaded.config.secrets())
    own = logging.getLogger("navibridge")
    own.info("navibridge %s, configured by %s", __version__, loaded.path or "the environment")
    for warning in loaded.warnings:
        own.warning("%s", warning)
    until_stopped(_bridge(loaded.config, redactor))
    own.info("stopped")


async def _bridge(config: Config, redactor: Redactor) -> None:
    import asyncio
    from contextlib import nullcontext

    from navibridge import log
    from navibridge.bridge import Bridge
    from navibridge.store import Store

    bridge = Bridge(config, Store(config.state_dir))
    loop = asyncio.get_running_loop()

    def publish(line: bytes) -> None:
        loop.call_soon_threadsafe(bridge.publish_log, line)

    with log.forwarded(redactor, publish) if config.log.mqtt else nullcontext():
        await bridge.run()
