"""The command line: the only place that prints, and the only one that knows exit codes.

    run       the bridge                         demo      all of it in one process, without an account
    simulate  the simulated clouds alone         check     what is wrong, step by step
    devices   what the accounts hold             watch     live values of the running bridge
    get, set  one device, once                   decode    a payload, field by field
    record    a CSV of the tank                  schema    the configuration's JSON Schema
    clean     what is retained for nobody        health    whether the bridge is well, for container checks
    acl       access rules for Mosquitto         capture, replay  what the clouds say, kept and told again

Each command is a module of that name, or stands beside its sibling. `outcome` says how a command ends, `settings` what
is configured, `observer` how a running bridge is seen and asked. Whatever is heavy is imported inside the commands, so
that `navibridge --help` is quick.
"""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: FBT002

from __future__ import annotations

from typing import Annotated

import typer

from navibridge import __version__
from navibridge.cli import (
    acl,
    capture,
    check,
    control,
    decode,
    demo,
    devices,
    health,
    record,
    run,
    simulate,
    upkeep,
    watch,
)
from navibridge.cli.outcome import Program

app = typer.Typer(
    cls=Program,
    name="navibridge",
    help="Bridges Navien NaviLink water heaters and Mysa thermostats to your own MQTT broker.",
    epilog="Exit codes: 0 done, 1 failed, 2 configuration or usage, 3 not reachable, 4 refused or rejected.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - a callback's only argument
    if wanted:
        typer.echo(f"navibridge {__version__}")
        raise typer.Exit


@app.callback()
def navibridge(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", metavar="PATH", help="The configuration file, for every command that reads one."
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    context.obj = config


app.command("run")(run.run)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.command("check")(check.check)
app.command("devices")(devices.devices)
app.command("watch")(watch.watch)
app.command("get")(control.get)
app.command("set", no_args_is_help=True)(control.set_values)
app.command("decode")(decode.decode)
app.command("record")(record.record)
app.command("capture")(capture.capture)
app.command("replay")(capture.replay)
app.command("schema")(upkeep.schema)
app.command("clean")(upkeep.clean)
app.command("acl")(acl.acl)
app.command("health")(health.health)
