"""`navibridge devices`: what the accounts hold, straight from the cloud."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: FBT002, PLC0415

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from navibridge.cli.outcome import Code, code_of, note, once, words
from navibridge.cli.settings import ConfigOption, JsonOption, load_quietly
from navibridge.cli.table import UNKNOWN, aligned, as_json

if TYPE_CHECKING:
    from navibridge.config import Config
    from navibridge.errors import NavibridgeError
    from navibridge.model import Device


@dataclass(slots=True)
class Holding:
    """What one account holds, or why nobody knows."""

    account: str
    devices: dict[str, Device] = field(default_factory=dict)
    error: NavibridgeError | None = None


def devices(
    context: typer.Context,
    config: ConfigOption = None,
    json: JsonOption = False,
    limit: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long an account may take.")
    ] = 60,
) -> None:
    """List what the accounts hold, asking the cloud."""
    once(_devices(load_quietly(context, config, None, need_account=True), json=json, limit=limit))


async def _devices(config: Config, *, json: bool, limit: float) -> Code:
    import asyncio

    holdings = await asyncio.gather(*(_look(config, name, limit) for name in config.accounts))
    described = [
        _described(config, holding.account, device)
        for holding in holdings
        for _, device in sorted(holding.devices.items())
    ]
    if json:
        typer.echo(as_json(described, pretty=True))
    elif described:
        head = ("topic", "id", "account", "name", "model", "firmware", "attributes", "writable")
        rows = [
            [str(len(one[key]) if isinstance(one[key], list) else one[key] or UNKNOWN) for key in head]
            for one in described
        ]
        typer.echo("\n".join(aligned(rows, head)))
    elif not any(holding.error for holding in holdings):
        typer.echo("The accounts hold no devices.")
    code = Code.DONE
    for holding in holdings:
        if holding.error is not None:
            note(f"account {holding.account}: {words(holding.error)}")
            code = code or code_of(holding.error)
    return code


async def _look(config: Config, name: str, limit: float) -> Holding:
    """One attempt at one account: until its link stands, every device has been announced by then."""
    import asyncio

    from navibridge.cli.visit import visiting
    from navibridge.errors import LinkError, NavibridgeError
    from navibridge.model import Found, LinkUp, ReadOnly

    holding = Holding(name)
    try:
        async with asyncio.timeout(limit), visiting(config, name) as events:
            async for event in events:
                match event:
                    case Found(device):
                        holding.devices[device.id] = device
                    case LinkUp() | ReadOnly():
                        break
    except TimeoutError:
        holding.error = LinkError(f"it was not ready within {limit:g} s", reason="timeout")
    except NavibridgeError as error:
        holding.error = error
    return holding


def _described(config: Config, account: str, device: Device) -> dict[str, Any]:
    from navibridge.model import Sort
    from navibridge.topics import device_topic

    settings = config.device(device.vendor, device.id)
    return {
        "topic": settings.topic or device_topic(device.vendor, device.id),
        "id": device.id,
        "vendor": device.vendor,
        "account": account,
        "name": settings.name or device.name,
        "kind": device.kind.name,
        "model": device.model,
        "firmware": device.firmware,
        "excluded": settings.exclude,
        "attributes": [row.key for row in device.attributes if row.quantity.sort is not Sort.ACTION],
        "writable": [row.key for row in device.attributes if row.writes],
    }
