"""Every topic of the local broker, built and parsed; nothing else. Pure.

    <base>/bridge/...           the bridge itself and its accounts
    <base>/<device>/...         one device: state, availability, value/..., result out; set, set/..., get in
    <prefix>/.../config         Home Assistant discovery, see `docs/protocol/home-assistant.md` 1.1
    <prefix>/status             Home Assistant says that it has (re)started

``<device>`` is one level, made from the vendor and the vendor's stable id, never from a name that can change.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

BASE: Final = "navibridge"
PREFIX: Final = "homeassistant"
RESERVED: Final = frozenset({"bridge"})
"""Words that can not be a device's topic, because something else lives there."""

_SLUG: Final = re.compile(r"[a-z0-9_]+")
_OBJECT_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class SetChanges:
    """A JSON object of changes for a device."""

    device: str


@dataclass(frozen=True, slots=True)
class SetAttribute:
    """One plain value for one attribute of a device."""

    device: str
    attribute: str


@dataclass(frozen=True, slots=True)
class Get:
    """A device shall be asked for its state now."""

    device: str


@dataclass(frozen=True, slots=True)
class BridgeRequest:
    """A question or an order to the bridge itself."""

    verb: str


@dataclass(frozen=True, slots=True)
class Birth:
    """Home Assistant (or openHAB) says ``online`` or ``offline``."""


Incoming: TypeAlias = SetChanges | SetAttribute | Get | BridgeRequest | Birth


@dataclass(frozen=True, slots=True)
class Published:
    """A topic that a bridge publishes on, taken apart.

    Attributes:
        of: whom it is about.
        name: the device's topic, the account's name, or nothing for the bridge.
        what: ``state``, ``availability``, ``result``, ``info``, ``health``, ``log``, ``value`` or ``response``.
        detail: the attribute of a ``value``, the verb of a ``response``.
    """

    of: Literal["device", "account", "bridge"]
    name: str
    what: str
    detail: str = ""


class Topics:
    """All topics of one bridge.

    Args:
        base: what its own topics start with; may have several levels.
        prefix: Home Assistant's discovery prefix.

    Raises:
        ValueError: one of them can not be the start of a topic, or they are the same.
    """

    def __init__(self, base: str = BASE, prefix: str = PREFIX) -> None:
        self.base = _checked_start(base)
        self.prefix = _checked_start(prefix)
        if base == prefix:
            raise ValueError(f"the base topic and the discovery prefix are both {base!r}")
        self.bridge_state = f"{base}/bridge/state"
        self.bridge_info = f"{base}/bridge/info"
        self.bridge_health = f"{base}/bridge/health"
        self.log = f"{base}/bridge/log"
        self.birth = f"{prefix}/status"

    def account_availability(self, account: str) -> str:
        """``online`` or ``offline`` of an account, for machines."""
        return f"{self.base}/bridge/account/{_level(account)}/availability"

    def account_state(self, account: str) -> str:
        """How an account is doing, as JSON for people."""
        return f"{self.base}/bridge/account/{_level(account)}/state"

    def request(self, verb: str) -> str:
        """Where the bridge is asked something."""
        return f"{self.base}/bridge/request/{_level(verb)}"

    def response(self, verb: str) -> str:
        """Where the bridge answers a request."""
        return f"{self.base}/bridge/response/{_level(verb)}"

    def state(self, device: str) -> str:
        """The state document of a device."""
        return f"{self.base}/{_level(device)}/state"

    def availability(self, device: str) -> str:
        """``online`` or ``offline`` of a device."""
        return f"{self.base}/{_level(device)}/availability"

    def value(self, device: str, attribute: str) -> str:
        """One attribute as a plain value."""
        return f"{self.base}/{_level(device)}/value/{_level(attribute)}"

    def set(self, device: str) -> str:
        """Where a device takes a JSON object of changes."""
        return f"{self.base}/{_level(device)}/set"

    def set_attribute(self, device: str, attribute: str) -> str:
        """Where a device takes one attribute's plain value."""
        return f"{self.base}/{_level(device)}/set/{_level(attribute)}"

    def get(self, device: str) -> str:
        """Where a device is asked for its state."""
        return f"{self.base}/{_level(device)}/get"

    def result(self, device: str) -> str:
        """The verdicts on a device's commands."""
        return f"{self.base}/{_level(device)}/result"

    def device_config(self, object_id: str) -> str:
        """The discovery message of a whole device."""
        return f"{self.prefix}/device/{_object_id(object_id)}/config"

    def entity_config(self, platform: str, object_id: str, component: str) -> str:
        """The discovery message of one entity; its ids are those that the device form gives it."""
        return f"{self.prefix}/{_object_id(platform)}/{_object_id(object_id)}/{_object_id(component)}/config"

    @property
    def births(self) -> tuple[str, ...]:
        """Where Home Assistant says that it has started: its own topic stays when only the prefix is changed."""
        return tuple(dict.fromkeys((self.birth, f"{PREFIX}/status")))

    @property
    def wishes(self) -> tuple[str, ...]:
        """The filters of everything that the bridge and its devices are told or asked."""
        return (
            f"{self.base}/+/set",
            f"{self.base}/+/set/+",
            f"{self.base}/+/get",
            f"{self.base}/bridge/request/+",
        )

    @property
    def incoming(self) -> tuple[str, ...]:
        """The filters of everything that `parse` knows."""
        return (*self.wishes, *self.births)

    @property
    def configs(self) -> tuple[str, ...]:
        """The filters of all discovery messages, ours and others'."""
        return (f"{self.prefix}/+/+/config", f"{self.prefix}/+/+/+/config")

    @property
    def retained(self) -> tuple[str, ...]:
        """The filters of everything that a bridge leaves retained, discovery aside."""
        return (
            self.bridge_state,
            self.bridge_info,
            self.bridge_health,
            f"{self.base}/bridge/account/+/+",
            *self.retained_of("+"),
        )

    @property
    def outgoing(self) -> tuple[str, ...]:
        """The filters of everything that a bridge says, discovery aside; `parse_published` knows it all."""
        return (*self.retained, self.log, f"{self.base}/+/result", f"{self.base}/bridge/response/+")

    def configs_of(self, object_id: str) -> tuple[str, ...]:
        """The filters of one device's discovery messages, in both forms; none for an id that can not have any."""
        if not _OBJECT_ID.fullmatch(object_id):
            return ()
        return (self.device_config(object_id), f"{self.prefix}/+/{object_id}/+/config")

    def announced(self, topic: str) -> str:
        """Whom a discovery topic is about: ``<prefix>/<platform>/<object id>/...``."""
        return topic.removeprefix(f"{self.prefix}/").split("/")[1]

    @property
    def traces(self) -> tuple[str, ...]:
        """The filters of what tells who has been here: everything of the accounts, one topic of each device."""
        return (f"{self.base}/bridge/account/+/+", f"{self.base}/+/availability")

    def retained_of(self, device: str) -> tuple[str, ...]:
        """The filters of everything retained of one device; ``+`` for all devices."""
        start = f"{self.base}/{device}"
        return (f"{start}/state", f"{start}/availability", f"{start}/value/+")

    def parse(self, topic: str) -> Incoming | None:  # noqa: PLR0911 - one return per sort of topic
        """What a message on that topic is for; ``None`` for a topic that is not listened to."""
        if topic in self.births:
            return Birth()
        match self._levels(topic):
            case ["bridge", "request", verb] if verb:
                return BridgeRequest(verb)
            case ["bridge", *_] | ["", *_]:
                return None
            case [device, "set"]:
                return SetChanges(device)
            case [device, "set", attribute] if attribute:
                return SetAttribute(device, attribute)
            case [device, "get"]:
                return Get(device)
        return None

    def parse_published(self, topic: str) -> Published | None:  # noqa: PLR0911 - one return per sort of topic
        """What a bridge says on that topic; ``None`` for any other topic, the incoming ones included."""
        match self._levels(topic):
            case ["bridge", "state" | "info" | "health" | "log" as what]:
                return Published("bridge", "", what)
            case ["bridge", "response", verb] if verb:
                return Published("bridge", "", "response", verb)
            case ["bridge", "account", account, "state" | "availability" as what] if account:
                return Published("account", account, what)
            case ["bridge", *_] | ["", *_]:
                return None
            case [device, "state" | "availability" | "result" as what]:
                return Published("device", device, what)
            case [device, "value", attribute] if attribute:
                return Published("device", device, "value", attribute)
        return None

    def left_over(self, seen: Iterable[str], *, devices: Collection[str], accounts: Collection[str]) -> tuple[str, ...]:
        """The retained topics among ``seen`` that belong to devices and accounts which are no longer there.

        Only to be asked while the device lists are complete; whatever is returned is cleared.
        """
        known = {"device": devices, "account": accounts}
        return tuple(
            topic
            for topic in seen
            if (published := self.parse_published(topic)) is not None
            and published.of in known
            and published.name not in known[published.of]
        )

    def _levels(self, topic: str) -> list[str]:
        """The levels below the base topic."""
        start = f"{self.base}/"
        return topic[len(start) :].split("/") if topic.startswith(start) else []


def device_topic(vendor: str, device_id: str) -> str:
    """A device's own level below the base topic, ``<vendor>_<id>``: stable for ever.

    Ids are the same whatever their case. An id with other characters than letters, digits and ``_`` gets a suffix made
    from all of it, so that two ids that differ only in punctuation do not meet.

    Raises:
        ValueError: there is no id.
    """
    if not vendor or not device_id:
        raise ValueError(f"a device needs a vendor and an id, not {vendor!r} and {device_id!r}")
    return f"{slug(vendor)}_{slug(device_id)}"


def slug(text: str) -> str:
    """The text in the letters ``a-z0-9_``; different texts (case aside) give different slugs."""
    lowered = text.lower()
    if _SLUG.fullmatch(lowered):
        return lowered
    digest = hashlib.sha256(lowered.encode()).hexdigest()[:8]
    return f"{re.sub('[^a-z0-9]+', '_', lowered).strip('_')}_{digest}".lstrip("_")


def check_device_topic(text: str) -> str:
    """The text, when a user may have it as a device's topic.

    Raises:
        ValueError: what is wrong with it.
    """
    if not _OBJECT_ID.fullmatch(text):
        raise ValueError(f"{text!r} can not be a device's topic: letters, digits, _ and - only")
    if text in RESERVED:
        raise ValueError(f"{text!r} can not be a device's topic: the bridge itself lives there")
    return text


def _checked_start(text: str) -> str:
    if not text or any(not level for level in text.split("/")) or any(sign in text for sign in "+#\0"):
        raise ValueError(f"{text!r} can not start a topic: no empty levels, no + and #")
    if text.startswith("$"):
        raise ValueError(f"{text!r} can not start a topic: $ is the broker's own")
    return text


def _level(text: str) -> str:
    if not text or any(sign in text for sign in "/+#\0"):
        raise ValueError(f"{text!r} can not be one level of a topic")
    return text


def _object_id(text: str) -> str:
    if not _OBJECT_ID.fullmatch(text):
        raise ValueError(f"{text!r} can not be part of a discovery topic: letters, digits, _ and - only")
    return text
