"""What has been announced to Home Assistant, and what an earlier run left behind. Pure, with a memory.

`navibridge.discovery` says what the messages of a device are; this says what has to be published so that the broker's
retained messages become those: nothing of an earlier name, format or device list stays behind as a ghost.
"""

from __future__ import annotations

import zlib
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from navibridge import discovery
from navibridge.broker import Message
from navibridge.discovery import Document, object_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from navibridge.config import Discovery
    from navibridge.model import Device
    from navibridge.state import TemperatureUnit
    from navibridge.topics import Topics

REQUESTS = {"rediscover": "Announce everything again"}
"""Requests to the bridge that get a button."""

AT_A_LOOK: Final = 3
"""How many devices' retained messages are asked for together; one has some 300 with entities and values one by one."""

Outline: TypeAlias = tuple[tuple[str, str], ...]
"""The components that a device announces, each with its platform: all that the next step from there needs to know.

Devices that are alike share it; a thousand devices' whole messages, or even their topics, would fill the memory.
"""


class Leftovers:
    """What is retained of a bridge, found by looking: first who has been here, then what there is of each.

    What a broker has to hand out at once beyond a limit, it drops (Mosquitto a thousand), and others may keep more than
    that under the discovery prefix. So a few devices are looked at at a time.

    Args:
        topics: the bridge's topics.

    Attributes:
        found: its discovery messages by topic, each compressed, since a thousand devices' would fill the memory; of all
            its other topics nothing is kept.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.found: dict[str, bytes] = {}

    def remember(self, topic: str, payload: bytes) -> None:
        """A retained message, of this bridge or of anybody."""
        if self._topics.parse_published(topic) is not None:
            self.found[topic] = b""
        elif topic.startswith(f"{self._topics.prefix}/") and discovery.left_by_us(topic, payload, self._topics):
            self.found[topic] = zlib.compress(payload)

    def payload(self, topic: str) -> bytes:
        """A discovery message that was found."""
        return zlib.decompress(self.found[topic])

    def looks(self, *further: Collection[str]) -> Iterator[tuple[str, ...]]:
        """The filters to collect under, look by look; what is remembered after one decides the next.

        Args:
            further: filters that may show whoever left no trace, for as many looks.
        """
        looked: set[str] = set()
        for first in (self._topics.traces, *further):
            yield tuple(first)
            unseen = [(identity, filters) for identity, filters in self._by_identity() if identity not in looked]
            looked.update(identity for identity, _ in unseen)
            for start in range(0, len(unseen), AT_A_LOOK):
                yield tuple(chain.from_iterable(filters for _, filters in unseen[start : start + AT_A_LOOK]))

    def _by_identity(self) -> list[tuple[str, tuple[str, ...]]]:
        """The filters of everything of the bridge, and of each device that something was found of."""
        published = map(self._topics.parse_published, self.found)
        names = {found.name for found in published if found is not None and found.of == "device"}
        own = {object_id(self._topics, name): self._topics.retained_of(name) for name in names}
        announced = {self._topics.announced(topic) for topic, payload in self.found.items() if payload}
        bridge = discovery.bridge_id(self._topics)
        return [
            (identity, (*self._topics.configs_of(identity), *own.get(identity, ())))
            for identity in (bridge, *sorted((own.keys() | announced) - {bridge}))
        ]


class Announcer:
    """Turns devices into discovery messages, step by step from what is retained already.

    Args:
        topics: the bridge's topics.
        settings: whether to announce at all, and in which format.
    """

    def __init__(self, topics: Topics, settings: Discovery) -> None:
        self._topics = topics
        self._settings = settings
        self._leftovers = Leftovers(topics)
        self._left = self._leftovers.found
        self._announced: dict[str, Outline] = {}
        self._doubtful: dict[str, dict[str, Document]] = {}
        self._outlines: dict[Outline, Outline] = {}
        self._bridge = discovery.bridge_id(topics)

    def remember(self, topic: str, payload: bytes) -> None:
        """A retained message that was on the broker before this run published anything."""
        self._leftovers.remember(topic, payload)

    def looks(self) -> Iterator[tuple[str, ...]]:
        """The filters to find under what an earlier run left, look by look; see `Leftovers.looks`."""
        return self._leftovers.looks()

    def device(self, key: str, device: Device, account: str, unit: TemperatureUnit) -> list[Message]:
        """What to publish so that the device is announced as it is now; whatever of it goes away, until `arrived`."""
        document = discovery.device_document(device, self._topics, topic=key, account=account, unit=unit)
        return self._become(object_id(self._topics, key), document)

    def bridge(self, accounts: Iterable[str]) -> list[Message]:
        """What to publish so that the bridge itself is announced."""
        return self._become(self._bridge, discovery.bridge_document(self._topics, sorted(accounts), requests=REQUESTS))

    def arrived(self, keys: Iterable[str]) -> None:
        """The broker has taken what was made last for these devices."""
        for key in keys:
            self._doubtful.pop(object_id(self._topics, key), None)

    def withdraw(self, key: str) -> list[str]:
        """The discovery topics to clear of a device that is gone."""
        identity = object_id(self._topics, key)
        announced = self._messages(identity, self._announced.pop(identity, ()))
        return [*(announced | self._doubtful.pop(identity, {})), *self._earlier(identity)]

    def unclaimed(self, devices: Collection[str], accounts: Collection[str]) -> list[str]:
        """The availability topics that an earlier run left of what nobody has claimed yet in this one.

        Until somebody does, or until it is cleared as a ghost, what stands beside them is not to be believed.
        """
        known = {"device": devices, "account": accounts}
        return [
            topic
            for topic in self._left
            if (published := self._topics.parse_published(topic)) is not None
            and published.what == "availability"
            and published.name not in known.get(published.of, (published.name,))
        ]

    def ghosts(self, devices: Collection[str], accounts: Collection[str], *, values: bool) -> list[str]:
        """The topics to clear of what an earlier run left and nobody has any more.

        Only to be asked while every account's device list is complete. What is returned is forgotten.

        Args:
            devices: the devices that are there.
            accounts: the accounts that are configured.
            values: whether each value has a topic of its own; otherwise those that there are would never change again.
        """
        configs = [topic for topic, kept in self._left.items() if kept]
        still = self._announced.keys() & {level for topic in configs for level in topic.split("/")}
        announced = {topic for identity in still for topic in self._messages(identity, self._announced[identity])}
        found = [topic for topic in configs if topic not in announced]
        own = [topic for topic, payload in self._left.items() if not payload]
        found += self._topics.left_over(own, devices=devices, accounts=accounts)
        if not values:
            published = {topic: self._topics.parse_published(topic) for topic in own}
            found += [topic for topic, parsed in published.items() if parsed is not None and parsed.what == "value"]
        self._left.clear()
        return list(dict.fromkeys(found))

    def _become(self, identity: str, document: Document) -> list[Message]:
        after: dict[str, Document] = {}
        outline: Outline = ()
        if self._settings.enabled:
            after = discovery.messages(document, self._topics, self._settings.format)
            outline = self._outline(document)
        known = self._announced.get(identity)
        if known is None:
            before = {
                topic: found
                for topic in self._earlier(identity)
                if (found := discovery.ours(self._leftovers.payload(topic), self._topics)) is not None
            }
        elif known is outline:
            before = {}  # the same entities: each message takes its own place, and none is left over
        else:
            before = self._messages(identity, known)
        for topic in before:
            self._left.pop(topic, None)
        before |= self._doubtful.get(identity, {})
        if before:
            self._doubtful[identity] = before
        self._announced[identity] = outline
        return [Message(topic, payload, retain=True) for topic, payload in discovery.steps(before, after)]

    def _outline(self, document: Document) -> Outline:
        """A document's outline; alike ones are the same object."""
        outline = tuple((component, entity["platform"]) for component, entity in document["components"].items())
        return self._outlines.setdefault(outline, outline)

    def _messages(self, identity: str, outline: Outline) -> dict[str, Document]:
        """As much of the messages that are announced as the next step from them needs."""
        if not outline:
            return {}
        components = {component: {"platform": platform, "unique_id": ""} for component, platform in outline}
        document = {"device": {"identifiers": [identity]}, "origin": {}, "components": components}
        return discovery.messages(document, self._topics, self._settings.format)

    def _earlier(self, identity: str) -> list[str]:
        """The discovery topics that an earlier run left for one device."""
        start = f"{self._topics.prefix}/"
        return [topic for topic in self._left if topic.startswith(start) and identity in topic.split("/")[-3:-1]]
