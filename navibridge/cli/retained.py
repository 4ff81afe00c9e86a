"""What is retained of ours on a broker, and the way to clear it."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from navibridge import discovery
from navibridge.broker import LocalBroker, Message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from navibridge.config import Broker
    from navibridge.topics import Topics

LIMIT: Final = 10.0
"""Seconds for the broker to hand over what is retained."""


async def read(settings: Broker, topics: Topics) -> set[str]:
    """The topics with something retained of ours: below the base topic, and discovery that we announced.

    Raises:
        LinkError: the broker can not be reached.
    """
    found = set()
    name = f"cli-{secrets.token_hex(4)}"
    async with _broker(settings).open() as link:
        await link.subscribe([topics.response(name), *topics.configs, *topics.retained])
        # Retained messages come before what is published after the subscription.
        await link.publish(topics.response(name), b"{}")
        try:
            async with asyncio.timeout(LIMIT):
                async for message in link.messages():
                    if message.topic == topics.response(name):
                        break
                    if message.retain and message.payload and _is_ours(message, topics):
                        found.add(message.topic)
        except TimeoutError:
            pass  # access rules may keep the echo back; what is retained has come by now
    return found


async def clear(settings: Broker, chosen: Iterable[str]) -> None:
    """Clear retained topics.

    Raises:
        LinkError: the broker can not be reached.
    """
    async with _broker(settings).open() as link:
        await link.publish_many(Message(topic, b"", retain=True) for topic in chosen)


def of_devices(kept: Collection[str], topics: Topics, devices: Iterable[str], accounts: Iterable[str]) -> list[str]:
    """Those of the topics that belong to these devices and accounts, and the bridge's own but its last word."""
    identities = {discovery.bridge_id(topics), *(discovery.object_id(device) for device in devices)}
    names = {"device": {*devices}, "account": {*accounts}, "bridge": {""}}
    chosen = []
    for topic in kept:
        published = topics.parse_published(topic)
        if published is None:
            mine = identity(topic, topics) in identities
        else:
            mine = published.name in names[published.of] and topic != topics.bridge_state
        if mine:
            chosen.append(topic)
    return chosen


def identity(topic: str, topics: Topics) -> str:
    """Whom a discovery topic is about: ``<prefix>/<platform>/<identity>/...``."""
    return topic.removeprefix(f"{topics.prefix}/").split("/")[1]


def _broker(settings: Broker) -> LocalBroker:
    return LocalBroker(settings, client_id=f"navibridge-cli-{secrets.token_hex(4)}", will=None)


def _is_ours(message: Message, topics: Topics) -> bool:
    if topics.parse_published(message.topic) is not None:
        return True
    if message.payload == discovery.MIGRATE:
        return f"/{discovery.ORIGIN}_" in message.topic
    return discovery.ours(message.payload, topics) is not None
