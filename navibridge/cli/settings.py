"""What is configured, for every command: options that several share, and the reading of the configuration."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from navibridge.cli.outcome import note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.config import Config, Loaded, Log

ConfigOption = Annotated[
    str | None, typer.Option("--config", "-c", metavar="PATH", help="The configuration file.", show_default=False)
]
BrokerOption = Annotated[
    str | None,
    typer.Option("--broker", metavar="HOST:PORT", help="The MQTT broker, instead of the configured one."),
]
ForOption = Annotated[
    float | None, typer.Option("--for", metavar="SECONDS", min=0.1, help="End by itself after that many seconds.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def split_address(given: str, *, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; IPv6 addresses stand in brackets.

    Raises:
        typer.BadParameter: it is neither.
    """
    host, colon, port = given.rpartition(":")
    if not colon or (given.count(":") > 1 and not host.endswith("]")):
        host, port = given, "" if default_port is None else str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest port
        raise typer.BadParameter(f"{given!r} is not HOST:PORT")
    return host, int(port)


def broker_flag(broker: str | None) -> dict[str, Mapping[str, object]]:
    """What ``--broker`` sets in the configuration."""
    if broker is None:
        return {}
    host, port = split_address(broker, default_port=1883)
    return {"--broker": {"broker.host": host, "broker.port": port}}


def load(
    context: typer.Context,
    config: str | None,
    flags: Mapping[str, Mapping[str, object]] | None = None,
    *,
    need_account: bool = True,
) -> Loaded:
    """The configuration as the file, the environment and the flags have it.

    Raises:
        ConfigError: with every problem there is.
    """
    from navibridge import config as configuration
    from navibridge import vendors

    named = config or context.obj
    return configuration.load(
        Path(named).expanduser() if named else None,
        vendors=lambda name: vendors.load(name).Settings,
        vendor_names=vendors.names(),
        flags=flags,
        need_account=need_account,
    )


def load_quietly(
    context: typer.Context,
    config: str | None,
    broker: str | None,
    flags: Mapping[str, Mapping[str, object]] | None = None,
    *,
    need_account: bool = False,
) -> Config:
    """The configuration for a command that is no bridge: its log stays silent but for what needs a person."""
    from navibridge import log

    loaded = load(context, config, broker_flag(broker) | {**(flags or {})}, need_account=need_account)
    for warning in loaded.warnings:
        note(f"warning: {warning}")
    level = loaded.config.log.level if loaded.config.log.level == "debug" else "error"
    log.set_up(log_settings(level), loaded.config.secrets())
    return loaded.config


def log_settings(level: str) -> Log:
    """Text lines of that level and above.

    Raises:
        typer.BadParameter: there is no such level.
    """
    from navibridge import config as configuration

    level = level.lower()
    if level not in get_args(configuration.Log.model_fields["level"].annotation):
        raise typer.BadParameter(f"{level!r} is not debug, info, warning or error", param_hint="--log-level")
    return configuration.Log(level=level)
