"""`navibridge schema` and `navibridge clean`: for editors, and for what is retained for nobody."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: FBT002, PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from navibridge.cli.outcome import Code, note, once
from navibridge.cli.settings import BrokerOption, ConfigOption, load_quietly
from navibridge.cli.table import as_json
from navibridge.errors import counted

if TYPE_CHECKING:
    from collections.abc import Collection

    from navibridge.cli.observer import Observer
    from navibridge.config import Config
    from navibridge.topics import Topics


def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    from navibridge import config, vendors

    document = config.schema(lambda name: vendors.load(name).Settings, vendors.names())
    typer.echo(as_json(document, pretty=True))


def clean(
    context: typer.Context,
    config: ConfigOption = None,
    broker: BrokerOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Clear them; otherwise they are only listed.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything of navibridge, also what belongs to present devices.")
    ] = False,
) -> None:
    """Clear what is retained for devices that are gone.

    Lists the topics, and clears them with --yes.
    """
    once(_clean(load_quietly(context, config, broker), yes=yes, everything=everything))


async def _clean(config: Config, *, yes: bool, everything: bool) -> Code:
    from navibridge.cli.observer import no_bridge, observing
    from navibridge.cli.retained import clear, read
    from navibridge.topics import Topics

    topics = Topics(config.broker.base_topic, config.discovery.prefix)
    async with observing(config.broker, topics) as observer:
        if not observer.online and not everything:
            error = no_bridge(config)
            error.args = (f"{error}, and only a running one knows which devices are still there",)
            error.what_to_do = "Start it, or say --all to choose everything of navibridge."
            raise error
        kept = await read(config.broker, topics)
        if observer.online:
            kept.discard(topics.bridge_state)
        chosen = sorted(kept if everything else await _ghosts(observer, topics, kept))
        for topic in chosen:
            typer.echo(topic)
        if not chosen:
            note("nothing to clear")
        elif not yes:
            note(f"{counted(len(chosen), 'retained message')}; --yes clears what is listed")
        else:
            await clear(config.broker, chosen)
            note(f"{counted(len(chosen), 'retained message')} cleared")
            if everything and observer.online:
                await observer.request("rediscover")  # what is present is announced again
    return Code.DONE


async def _ghosts(observer: Observer, topics: Topics, kept: Collection[str]) -> list[str]:
    """What is retained of ours for devices and accounts that the running bridge does not know.

    Raises:
        LinkError: a device list is not complete yet, so that nobody can say.
    """
    from navibridge.discovery import bridge_id, object_id

    observer.raise_for_accounts("nobody can say which devices are gone")
    devices = {device.topic for device in await observer.devices()}
    accounts: Collection[str] = observer.info.get("accounts", {})
    own = [topic for topic in kept if topics.parse_published(topic) is not None]
    identities = {bridge_id(topics), *(object_id(topics, device) for device in devices)}
    announced_as = observer.info.get("discovery")
    ghosts = list(topics.left_over(own, devices=devices, accounts=accounts))
    for topic in kept:
        if topic in own:
            continue
        form = "device" if topic.startswith(f"{topics.prefix}/device/") else "entity"
        if topics.announced(topic) not in identities or form != announced_as:
            ghosts.append(topic)
    return ghosts
