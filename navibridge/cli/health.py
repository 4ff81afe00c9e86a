"""`navibridge health`: one line and an exit code, for container checks.

The bridge's own web endpoint is asked where it is enabled; otherwise, and where it does not answer, the broker has what
the bridge said of itself last.
"""

# typer reads annotations at run time, and what is heavy is imported where it is used, so that `navibridge --help` is
# quick.
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from navibridge.cli.outcome import Code, once
from navibridge.cli.settings import BrokerOption, ConfigOption, load_quietly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.config import Config, Web

OLD: Final = 180.0
"""Seconds after which a health document says nothing any more; a bridge publishes one each minute."""

EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be asked, not to be bound
"""Where to ask a server that listens on every interface."""


def health(
    context: typer.Context,
    config: ConfigOption = None,
    broker: BrokerOption = None,
    seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long an answer may take.")
    ] = 5,
) -> None:
    """Say in one line whether the bridge is well.

    Exit code 0 when it is, 1 when it is not, 3 when neither its web endpoint nor the broker can be reached.
    """
    once(_health(load_quietly(context, config, broker), seconds))


async def _health(config: Config, seconds: float) -> Code:
    import asyncio

    found: Mapping[str, Any] | None = None
    if config.web.enabled:
        found = await asyncio.to_thread(_from_web, config.web, seconds)
        if found is not None and found.get("base_topic") != config.broker.base_topic:
            found = None  # another bridge has the port
    if found is None:
        found = await _from_broker(config, seconds)
    reasons = found.get("reasons") or []
    if found.get("healthy") is True:
        devices = f"{found.get('devices_available')} of {found.get('devices')} devices available"
        typer.echo(f"healthy: {devices}, up for {found.get('uptime_s')} s")
        return Code.DONE
    typer.echo(f"not healthy: {' '.join(str(reason) for reason in reasons)}")
    return Code.FAILED


def _from_web(web: Web, seconds: float) -> dict[str, Any] | None:
    """What the web endpoint says; ``None`` when it does not answer as one."""
    import http.client

    import orjson

    host, port = web.address
    connection = http.client.HTTPConnection(EVERYWHERE.get(host, host), port, timeout=seconds)
    try:
        connection.request("GET", "/health")
        document = orjson.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
        return None
    finally:
        connection.close()
    return document if isinstance(document, dict) and "healthy" in document else None


async def _from_broker(config: Config, seconds: float) -> Mapping[str, Any]:
    """What the bridge said of itself last.

    Raises:
        LinkError: the broker can not be reached.
    """
    import asyncio
    import secrets
    import time
    from datetime import datetime

    import orjson

    from navibridge.broker import LocalBroker
    from navibridge.errors import LinkError
    from navibridge.topics import Topics

    topics = Topics(config.broker.base_topic, config.discovery.prefix)
    retained: dict[str, bytes] = {}
    name = f"navibridge-cli-{secrets.token_hex(4)}"
    broker = LocalBroker(config.broker, client_id=name, will=None)
    try:
        async with asyncio.timeout(seconds) as limit, broker.open() as link:
            await link.subscribe([topics.bridge_state, topics.bridge_health])
            async for message in link.messages():
                retained[message.topic] = message.payload
                if len(retained) == 2 or message.payload == b"offline":  # noqa: PLR2004 - both of them
                    break
    except TimeoutError:
        if not limit.expired():
            raise
        if not retained:
            where = f"{broker.where} under {topics.base!r}"
            raise LinkError(
                f"nothing of a bridge came from {where} within {seconds:g} s",
                reason="silent",
                what_to_do="Check that one is running there, and broker.base_topic.",
            ) from None
    if retained.get(topics.bridge_state) != b"online":
        return {"reasons": [f"The bridge is {retained.get(topics.bridge_state, b'away').decode()}."]}
    try:
        found = orjson.loads(retained[topics.bridge_health])
        age = time.time() - datetime.fromisoformat(found["at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return {"reasons": ["The bridge is online, but it does not say how it is."]}
    if age > OLD:
        return {"reasons": [f"The bridge says that it is online, but it has been silent for {age:.0f} s."]}
    checked: Mapping[str, Any] = found
    return checked
