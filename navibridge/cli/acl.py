"""`navibridge acl`: what each user of a Mosquitto broker has to be allowed, and nothing more."""

# typer reads annotations at run time, and what is heavy is imported where it is used, so that `navibridge --help` is
# quick; options are named by those who use them.
# ruff: noqa: PLC0415, PLR0917

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from navibridge.cli.settings import BrokerOption, ConfigOption, load_quietly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from navibridge.topics import Topics


@dataclass(frozen=True)
class Users:
    """The names that the parties have at the broker."""

    bridge: str
    home_assistant: str = "homeassistant"
    flows: str = "flows"
    viewer: str = "viewer"


def acl(
    context: typer.Context,
    config: ConfigOption = None,
    broker: BrokerOption = None,
    bridge: Annotated[
        str | None,
        typer.Option("--bridge", metavar="USER", help="The bridge's user; broker.username when not given."),
    ] = None,
    home_assistant: Annotated[
        str, typer.Option("--home-assistant", metavar="USER", help="Home Assistant's user.")
    ] = Users.home_assistant,
    flows: Annotated[
        str, typer.Option("--flows", metavar="USER", help="The user of flows that read and command.")
    ] = Users.flows,
    viewer: Annotated[
        str, typer.Option("--viewer", metavar="USER", help="The user of whoever only reads.")
    ] = Users.viewer,
) -> None:
    """Print least-privilege access rules for Mosquitto.

    For the acl_file of mosquitto.conf, where every user has a password.
    """
    from navibridge.topics import Topics

    settings = load_quietly(context, config, broker)
    names = [bridge or settings.broker.username or "navibridge", home_assistant, flows, viewer]
    for name in names:
        if not name.strip() or not name.isprintable():
            raise typer.BadParameter(f"{name!r} can not be a user's name")
    if len({*names}) < len(names):
        raise typer.BadParameter("each of the four needs a name of its own")
    typer.echo(rules(Topics(settings.broker.base_topic, settings.discovery.prefix), Users(*names)), nl=False)


def rules(topics: Topics, users: Users) -> str:
    """The rules as the text of Mosquitto's ``acl_file``, made from what the bridge itself subscribes and publishes."""
    return "\n".join(
        [
            "# Access rules for navibridge, printed by `navibridge acl`. In mosquitto.conf:",
            "#",
            "#     allow_anonymous false",
            "#     password_file /mosquitto/config/passwords",
            "#     acl_file /mosquitto/config/acl",
            "#",
            "# An MQTT 5 client that wants verdicts on a response topic of its own has to let the bridge write there.",
            "",
            "# The bridge and its command line. It writes commands too: to send them, and to clear what somebody has",
            "# retained by mistake. It reads what it says too: what an earlier run left, and the answers.",
            *_rules(users.bridge, "readwrite", (*topics.outgoing, *topics.configs, *topics.wishes)),
            *_only("read", topics.births),
            "",
            "# Home Assistant. It clears the discovery of devices that are deleted there.",
            *_rules(users.home_assistant, "read", topics.outgoing),
            *_only("readwrite", (*topics.configs, *topics.births)),
            *_only("write", topics.wishes),
            "",
            "# Flows, such as Node-RED, that read and command.",
            *_rules(users.flows, "read", topics.outgoing),
            *_only("write", topics.wishes),
            "",
            "# Whoever reads and can not command.",
            *_rules(users.viewer, "read", topics.outgoing),
            "",
        ]
    )


Access = Literal["read", "write", "readwrite"]


def _rules(user: str, access: Access, filters: tuple[str, ...]) -> Iterator[str]:
    yield f"user {user}"
    yield from _only(access, filters)


def _only(access: Access, filters: tuple[str, ...]) -> Iterator[str]:
    for topic_filter in filters:
        yield f"topic {access} {topic_filter}"
