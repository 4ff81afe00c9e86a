"""Puts every discovery message that navibridge can make through Home Assistant's own schemas.

Home Assistant is no dependency of anything here: it wants another Python and some 250 MB. So this is run by hand, in an
environment of its own, when discovery has changed:

    python3.13 -m venv /tmp/ha && /tmp/ha/bin/pip install homeassistant==2025.4.4 paho-mqtt==2.1.0 pydantic
    PYTHONPATH=.:tests /tmp/ha/bin/python tests/oracle/homeassistant_schema.py

2025.4 also stands for openHAB 5, which took its schemas from there (`docs/protocol/home-assistant.md` 9).
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import voluptuous as vol
from homeassistant.components.mqtt import schemas
from homeassistant.core import HomeAssistant
from homeassistant.helpers import frame
from support.appliances import HEATER, THERMOSTAT, device, every_kind, water_heater_of_the_samples

from navibridge import discovery
from navibridge.topics import Topics, device_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from navibridge.discovery import Document

WITHOUT_STATE_TOPIC = {"climate", "water_heater", "button"}


def documents(topics: Topics) -> Iterator[tuple[str, Document]]:
    """The bridge, every kind of every vendor, and kinds that have one of everything, in both units."""
    yield "bridge", discovery.bridge_document(topics, ["home"], requests={"rediscover": "Announce again"})
    for described in (device(HEATER), device(THERMOSTAT), water_heater_of_the_samples(), *every_kind()):
        for unit in ("C", "F"):
            topic = device_topic(described.vendor, described.id)
            title = f"{described.vendor} {described.kind.name}, {len(described.attributes)} attributes, °{unit}"
            yield title, discovery.device_document(described, topics, topic=topic, account="home", unit=unit)


def schema(platform: str, name: str) -> Any:
    return getattr(importlib.import_module(f"homeassistant.components.mqtt.{platform}"), name)


def complaints(topics: Topics) -> Iterator[str]:
    """What Home Assistant says against it."""
    for title, document in documents(topics):
        try:
            schemas.DEVICE_DISCOVERY_SCHEMA(document)
        except vol.Invalid as error:
            yield f"{title}: {error}"
        for component, entity in document["components"].items():
            inherited = (
                {} if entity["platform"] in WITHOUT_STATE_TOPIC else {"state_topic": document.get("state_topic")}
            )
            merged = {key: value for key, value in inherited.items() if value} | entity
            # The strict twin of the discovery schema finds keys that it would drop in silence.
            strict = {key: value for key, value in merged.items() if key != "platform"}
            yield from said(f"{title} {component}", entity["platform"], "DISCOVERY_SCHEMA", merged)
            yield from said(f"{title} {component}", entity["platform"], "PLATFORM_SCHEMA_MODERN", strict)
        for topic, entity in discovery.entity_documents(document, topics).items():
            yield from said(f"{title} {topic}", topic.split("/")[1], "DISCOVERY_SCHEMA", entity)


def said(title: str, platform: str, name: str, entity: Document) -> Iterator[str]:
    try:
        schema(platform, name)(entity)
    except vol.Invalid as error:
        yield f"{title}: {name}: {error}"


async def main() -> int:
    """Home Assistant's templates want an instance and a running loop."""
    with tempfile.TemporaryDirectory() as directory:
        hass = HomeAssistant(directory)
        frame.async_setup(hass)
        topics = Topics()
        made = [(title, len(found["components"]), len(discovery.encode(found))) for title, found in documents(topics)]
        found = list(complaints(topics))
        await hass.async_stop(force=True)
    lines = [f"{title}: {components} components, {size} bytes" for title, components, size in made]
    lines += found or ["Home Assistant accepts all of it."]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
