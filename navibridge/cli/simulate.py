"""`navibridge simulate`: the simulated clouds alone, for this or any other client."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: PLC0415, PLR0917, TC003

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from navibridge.cli.outcome import fail, limited, until_stopped
from navibridge.cli.settings import ForOption, log_settings, split_address
from navibridge.cli.table import as_json
from navibridge.cli.vendor_options import with_vendor_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from navibridge.demo.cloud import Faults, SimulatedCloud

HTTPS: Final = 443


@with_vendor_options
def simulate(
    devices: Mapping[str, int | None],
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 is any free one.")
    ] = "127.0.0.1:8443",
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="Where to write the certificate that clients trust.")
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", min=0.1, max=3600, help="Seconds that the devices live in one second.")
    ] = 1,
    dialect: Annotated[
        list[str] | None, typer.Option("--dialect", help="How the devices speak, in turn: json, json87, binary.")
    ] = None,
    latency: Annotated[
        float, typer.Option("--latency", metavar="SECONDS", min=0, help="Added to each answer and message.")
    ] = 0,
    token_lifetime: Annotated[
        float | None, typer.Option("--token-lifetime", metavar="SECONDS", min=1, help="How long access tokens last.")
    ] = None,
    credential_lifetime: Annotated[
        float | None,
        typer.Option("--credential-lifetime", metavar="SECONDS", min=1, help="How long AWS credentials last."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="NAME=VALUE", help="Something that is wrong; --fault help lists them."),
    ] = None,
    seconds: ForOption = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Run the simulated clouds alone.

    Prints what a configuration needs to use them, and how to point any other client here.
    """
    from navibridge import log
    from navibridge.demo import simulated_cloud, simulators

    host, port = split_address(listen)
    given = {
        "speed": speed,
        "dialects": tuple(dialect) if dialect else None,
        "token_seconds": token_lifetime,
        "credential_seconds": credential_lifetime,
    }
    chosen = simulators(devices, {name: value for name, value in given.items() if value is not None})
    if not chosen:
        raise typer.BadParameter("there is nothing to simulate; give the number of devices of a vendor")
    log.set_up(log_settings(log_level))
    cloud = simulated_cloud(chosen, ca_path=ca.absolute() if ca else None)
    _set_faults(cloud.faults, {"latency": str(latency), "rest_delay": str(latency)} if latency else {})
    _set_faults(cloud.faults, _pairs(fault or []))
    until_stopped(limited(_serve(cloud, host, port), seconds))


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals and name != "help":
            raise typer.BadParameter(f"{one!r} is not NAME=VALUE", param_hint="--fault")
        pairs[name] = value
    return pairs


def _set_faults(faults: Faults, wanted: Mapping[str, str]) -> None:
    """Set faults from texts.

    Raises:
        typer.BadParameter: there is no such fault, or it takes no such value.
    """
    kinds = {name: kind for name, kind in get_type_hints(type(faults), *_faults_names()).items() if name != "lose"}
    if "help" in wanted:
        typer.echo(f"Faults: {', '.join(kinds)}")
        raise typer.Exit
    for name, text in wanted.items():
        if name not in kinds:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(kinds)}", param_hint="--fault")
        setattr(faults, name, _value(name, text, kinds[name]))


def _faults_names() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the annotations of `Faults` mention."""
    from collections.abc import Callable

    return {}, {"Callable": Callable}


def _value(name: str, text: str, kind: Any) -> bool | int | float:
    try:
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        return int(text) if kind == int | None else float(text)
    except (KeyError, ValueError):
        raise typer.BadParameter(f"{name}: {text!r} is not what it takes", param_hint="--fault") from None


async def _serve(cloud: SimulatedCloud, host: str, port: int) -> None:
    import asyncio

    try:
        await cloud.start(host, port)
    except OSError as error:
        fail(f"{host}:{port} can not be listened at: {error.strerror or error}")
    try:
        _print_how_to_use(cloud)
        await asyncio.Event().wait()
    finally:
        await cloud.stop()


def _print_how_to_use(cloud: SimulatedCloud) -> None:
    reached = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(cloud.host, cloud.host)  # noqa: S104 - compared, not bound
    typer.echo(f"# Simulated clouds at https://{reached}:{cloud.port}, certificate authority in {cloud.ca_file}.")
    typer.echo("# In a configuration of navibridge:")
    typer.echo("accounts:")
    for simulator in cloud.simulators:
        typer.echo(f"  {simulator.vendor}:")
        for name, value in simulator.account(reached, cloud.port, cloud.ca_file).items():
            # A JSON scalar is a YAML scalar.
            typer.echo(f"    {name}: {as_json(value)}")
    typer.echo("# Any other client: trust the authority, for instance with")
    typer.echo(f"#   SSL_CERT_FILE={cloud.ca_file}")
    typer.echo("# and let the vendors' host names lead here, in /etc/hosts:")
    for simulator in cloud.simulators:
        typer.echo(f"#   {reached} {' '.join(sorted(simulator.hosts))}")
    if cloud.port != HTTPS:
        typer.echo(f"# Clients that insist on port {HTTPS} need --listen {reached}:{HTTPS} (as root, or forwarded).")
