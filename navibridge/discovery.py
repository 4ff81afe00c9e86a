"""Devices as Home Assistant discovers them over MQTT; everything follows from the attribute tables. Pure.

    device_document, bridge_document     one device with all its entities
    messages                             the same as topic -> document, in the chosen format
    steps                                what to publish so that the retained messages become those
    ghosts                               retained messages of ours that are announced no more

The device form is one message per device, the entity form (openHAB before 5.2, Home Assistant before 2024.11) one per
entity. The second is made from the first, with the same ids, so both are always the same entities, and Home Assistant
can move from one to the other without losing names or history (`docs/protocol/home-assistant.md` 1.1 and 1.7).

Which component an attribute becomes is derived: a writable flag is a switch, a writable number a number, a writable
option a select, an action a button, all else a sensor or a binary sensor. What a composite (water heater, climate) lets
people set or shows anyway, is not announced a second time; only measured values are, such as the current temperature,
because Home Assistant keeps long-term statistics of sensors alone. Component ids are attribute keys. A row that is
writable on some units and read-only on this one has the id ``<key>_reading`` here: an id never changes its platform.

Templates are ``{{ value_json.key }}`` and nothing else, names of keys are written out, and nothing is announced that
one of the supported consumers would reject: one unknown key at the top would lose the whole device. A message has some
300 bytes for each entity; what a table marks as not `announced` stands in the state document alone and keeps it short.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson

from navibridge import __version__
from navibridge.model import Attribute, Sort
from navibridge.state import in_unit
from navibridge.topics import BASE, slug

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from navibridge.model import Composite, Device, Range
    from navibridge.state import TemperatureUnit
    from navibridge.topics import Topics

Document: TypeAlias = dict[str, Any]
Format: TypeAlias = Literal["device", "entity"]

ORIGIN: Final = "navibridge"

CORE_KEYS: Final = ("problem", "problem_text", "seen_at")
"""Keys of a state document that every device has beside its attributes, and that are announced."""

BRIDGE_INFO_KEYS: Final = ("version", "started_at")
"""Keys of the bridge's info document that are announced."""

BRIDGE_HEALTH_KEYS: Final = ("problem", "problem_text")
"""Keys of the bridge's health document that are announced."""

VERDICTS: Final = ("applied", "rejected", "refused", "superseded", "expired", "unconfirmed")

WATER_HEATER_MODES: Final = ("eco", "electric", "gas", "heat_pump", "high_demand", "performance", "off")
"""openHAB refuses the whole device for any other (`docs/protocol/home-assistant.md` 3.1 and 6.3)."""

CLIMATE_MODES: Final = ("off", "heat", "cool", "heat_cool", "auto", "dry", "fan_only")

MIGRATE: Final = b'{"migrate_discovery":true}'
"""Tells Home Assistant that the entities of a topic are about to be announced on another."""

ONE_MODE_ROLES: Final = (
    ("fan_mode", "fan_modes"),
    ("swing_mode", "swing_modes"),
    ("swing_horizontal_mode", "swing_horizontal_modes"),
)
"""Roles of a climate that are a word from a list, and the key the list stands under."""

_MEASURED_ROLES: Final = frozenset({"current_temperature", "current_humidity"})
_WITHOUT_STATE_TOPIC: Final = frozenset({"climate", "water_heater", "button"})
_SHARED: Final = ("availability", "availability_mode", "state_topic")
_FINEST_WHOLE_STEP: Final = 0.5


def object_id(topics: Topics, device: str) -> str:
    """A device's id in discovery: its topic, in a name space of our own under the prefix that all bridges share.

    Two bridges on one broker differ in their base topic, and may have the same device.
    """
    return f"{ORIGIN}_{device}" if topics.base == BASE else f"{ORIGIN}_{slug(topics.base)}_{device}"


def bridge_id(topics: Topics) -> str:
    """The bridge's own id in discovery; no device can have that topic."""
    return object_id(topics, "bridge")


def announced_keys(device: Device) -> tuple[str, ...]:
    """Every key that a template of the device names; a state document without one floods Home Assistant's log."""
    return (*(row.key for row in device.attributes if row.quantity.sort is not Sort.ACTION), *CORE_KEYS)


def device_document(
    device: Device,
    topics: Topics,
    *,
    topic: str,
    account: str,
    name: str | None = None,
    unit: TemperatureUnit = "C",
    serial: bool = True,
) -> Document:
    """A device with all its entities, in the device form.

    Args:
        device: the device, its attributes resolved.
        topics: the bridge's topics.
        topic: the device's own level below the base topic.
        account: the account it belongs to; the device is unavailable when the account is.
        name: its name, if not the one that the vendor's cloud holds.
        unit: what its temperatures are published in.
        serial: whether its serial number is shown.
    """
    about = {
        "identifiers": [object_id(topics, topic)],
        "name": name or device.name,
        "manufacturer": device.kind.manufacturer,
        "model": device.model,
        "serial_number": device.serial if serial else None,
        "sw_version": device.firmware,
        "via_device": bridge_id(topics),
    }
    components = _Components(device, topics, topic, unit).all()
    return {
        "device": {key: value for key, value in about.items() if value},
        "origin": _origin(),
        "availability": _availability(
            topics.bridge_state, topics.account_availability(account), topics.availability(topic)
        ),
        "availability_mode": "all",
        "state_topic": topics.state(topic),
        "components": _with_unique_ids(object_id(topics, topic), components),
    }


def bridge_document(
    topics: Topics, accounts: Iterable[str] = (), *, requests: Mapping[str, str] | None = None
) -> Document:
    """The bridge itself with its accounts, in the device form.

    Args:
        topics: the bridge's topics.
        accounts: the names of its accounts.
        requests: verbs that get a button, each with the button's name.
    """
    components: dict[str, Document] = {
        "problem": {
            **_problem("Problem"),
            "state_topic": topics.bridge_health,
        },
        "problem_text": {
            **_plain("sensor", "problem_text", "Problem description", "diagnostic"),
            "state_topic": topics.bridge_health,
            "icon": "mdi:alert-circle-outline",
        },
        "version": {
            **_plain("sensor", "version", "Version", "diagnostic"),
            "state_topic": topics.bridge_info,
            "icon": "mdi:tag-outline",
        },
        "started_at": {
            **_plain("sensor", "started_at", "Started", "diagnostic"),
            "state_topic": topics.bridge_info,
            "device_class": "timestamp",
            "enabled_by_default": False,
        },
    }
    for account in accounts:
        components[f"account_{slug(account)}"] = {
            "platform": "binary_sensor",
            "name": f"Account {account}",
            "state_topic": topics.account_availability(account),
            "payload_on": "online",
            "payload_off": "offline",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
        }
        components[f"account_{slug(account)}_state"] = {
            **_plain("sensor", "state", f"Account {account} state", "diagnostic"),
            "state_topic": topics.account_state(account),
            "json_attributes_topic": topics.account_state(account),
            "device_class": "enum",
            "options": ["online", "offline", "needs_attention"],
            "icon": "mdi:cloud-outline",
        }
    for verb, label in (requests or {}).items():
        components[slug(verb)] = {
            "platform": "button",
            "name": label,
            "command_topic": topics.request(verb),
            "payload_press": "{}",
            "qos": 1,
            "entity_category": "diagnostic",
        }
    identity = bridge_id(topics)
    return {
        "device": {
            "identifiers": [identity],
            "name": ORIGIN if topics.base == BASE else f"{ORIGIN} ({topics.base})",
            "manufacturer": ORIGIN,
            "model": "MQTT bridge",
            "sw_version": __version__,
        },
        "origin": _origin(),
        "availability": _availability(topics.bridge_state),
        "availability_mode": "all",
        "components": _with_unique_ids(identity, components),
    }


def messages(document: Document, topics: Topics, form: Format) -> dict[str, Document]:
    """A device's discovery messages by topic, in the chosen format."""
    identity = document["device"]["identifiers"][0]
    if form == "device":
        return {topics.device_config(identity): document}
    return entity_documents(document, topics)


def entity_documents(document: Document, topics: Topics) -> dict[str, Document]:
    """The entity form of a device document: one message per entity, by topic, with the same ids."""
    identity = document["device"]["identifiers"][0]
    found: dict[str, Document] = {}
    for component, entity in document["components"].items():
        alone = _on_its_own(document, entity)
        platform = alone.pop("platform")
        found[topics.entity_config(platform, identity, component)] = alone
    return found


def entities(found: Mapping[str, Document]) -> set[tuple[str, str]]:
    """The entities that discovery messages of either form announce, as Home Assistant knows them: (platform, id).

    Removal markers and migration payloads announce nothing.
    """
    announced: set[tuple[str, str]] = set()
    for topic, document in found.items():
        *_, platform, owner, _ = topic.split("/")
        if platform == "device":
            components = _components_of(document).items()
            announced |= {(entity["platform"], f"{owner} {name}") for name, entity in components if len(entity) > 1}
        elif "device" in document:
            *_, platform, owner, component, _ = topic.split("/")
            announced.add((platform, f"{owner} {component}"))
    return announced


def encode(document: Document) -> bytes:
    """A document as it is published."""
    return orjson.dumps(document)


def ours(payload: bytes, topics: Topics) -> Document | None:
    """The discovery document in a retained payload, if this bridge (its base topic, that is) has published it."""
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    match document:
        case {
            "device": {},
            "origin": {"name": "navibridge"},
            "availability": [{"topic": topic}, *_],
        } if topic == topics.bridge_state:
            return dict(document)
    return None


def left_by_us(topic: str, payload: bytes, topics: Topics) -> bool:
    """Whether a retained discovery message is this bridge's, a migration that was interrupted included.

    A migration's payload says nothing; it counts as ours by the topic it lies on.
    """
    return ours(payload, topics) is not None or (payload == MIGRATE and f"/{ORIGIN}_" in topic)


def steps(before: Mapping[str, Document], after: Mapping[str, Document]) -> tuple[tuple[str, bytes], ...]:
    """What to publish, retained and in this order, so that the retained messages ``before`` become ``after``.

    A component that went away is first reduced to its platform, or Home Assistant keeps it. Entities that move between
    the formats keep their names and history: their old topic says so, then they are announced, then it is cleared.

    Args:
        before: what is retained now, by topic, of the devices that are kept or removed by this.
        after: what shall be.
    """
    wanted = entities(after) if before else set()
    gone = {topic: document for topic, document in before.items() if topic not in after}
    moving = [topic for topic, document in gone.items() if entities({topic: document}) & wanted]
    plan: list[tuple[str, bytes]] = [(topic, b"") for topic in gone if topic not in moving]
    for topic in moving:
        dropped = _dropped({topic: gone[topic]}, wanted)
        if dropped:
            plan.append((topic, encode(_with_markers(gone[topic], dropped))))
        plan.append((topic, MIGRATE))
    for topic, document in after.items():
        if topic in before and (dropped := _dropped({topic: before[topic]}, wanted)):
            plan.append((topic, encode(_with_markers(document, dropped))))
        plan.append((topic, encode(document)))
    plan.extend((topic, b"") for topic in moving)
    return tuple(plan)


class _Components:
    """The components of one device, by component id."""

    def __init__(self, device: Device, topics: Topics, topic: str, unit: TemperatureUnit) -> None:
        self._kind = device.kind
        self._rows = {row.key: in_unit(row, unit) for row in device.attributes}
        self._topics = topics
        self._topic = topic
        self._unit = unit

    def all(self) -> dict[str, Document]:
        """Composites first, then the attributes in the order of the table, then what every device has."""
        found: dict[str, Document] = {}
        shown: set[str] = set()
        for composite in self._kind.composites:
            roles = {role: self._rows[key] for role, key in composite.roles.items() if key in self._rows}
            if composite.component == "update":
                if len(roles) == len(composite.roles):
                    found[composite.key] = self._update(composite, roles)
                    shown |= {row.key for row in roles.values()}
            elif "mode" in roles or "temperature" in roles:
                # The device's main feature takes the device's name.
                name = composite.key.replace("_", " ").capitalize() if found else None
                found[composite.key] = self._composite(composite, name, roles)
                shown |= {row.key for role, row in roles.items() if role not in _MEASURED_ROLES}
        own = {
            self._component_id(row): self._entity(row)
            for key, row in self._rows.items()
            if row.announced and key not in shown
        }
        core = self._core()
        if clashes := (found.keys() & own.keys()) | ((found | own).keys() & core.keys()):
            raise ValueError(f"{self._kind.name}: two components would be called {', '.join(sorted(clashes))}")
        return found | own | core

    def _component_id(self, row: Attribute) -> str:
        return f"{row.key}_reading" if self._kind.by_key[row.key].writes and not row.writes else row.key

    def _entity(self, row: Attribute) -> Document:
        """One attribute as the component that it is."""
        entity: Document
        match row.quantity.sort:
            case Sort.ACTION:
                entity = {"platform": "button", "payload_press": "PRESS"}
            case Sort.FLAG if row.writes:
                entity = {
                    "platform": "switch",
                    "state_on": True,
                    "state_off": False,
                    "payload_on": "ON",
                    "payload_off": "OFF",
                }
            case Sort.FLAG:
                entity = {"platform": "binary_sensor", "payload_on": True, "payload_off": False}
                entity |= _known(device_class=row.quantity.device_class)
            case Sort.OPTION if row.writes:
                entity = {"platform": "select", "options": list(row.words)}
            case Sort.NUMBER if row.writes and (limits := row.limits):
                entity = _number(row, limits)
            case _:
                entity = _sensor(row)
        entity["name"] = row.name
        if row.quantity.sort is not Sort.ACTION:
            entity["value_template"] = _template(row.key)
        if entity["platform"] in ("button", "switch", "select", "number"):
            entity["command_topic"] = self._topics.set_attribute(self._topic, row.key)
            entity["qos"] = 1
        category = row.category
        if category == "config" and entity["platform"] in ("sensor", "binary_sensor"):
            category = "diagnostic"  # Home Assistant refuses a setting that can not be set.
        return entity | _known(
            entity_category=category, enabled_by_default=None if row.enabled else False, icon=row.icon
        )

    def _composite(self, composite: Composite, name: str | None, roles: Mapping[str, Attribute]) -> Document:
        """A water heater or a climate."""
        # Without a list of modes Home Assistant would offer all that it knows.
        entity: Document = {"platform": composite.component, "name": name, "modes": []}
        state = self._topics.state(self._topic)
        lists = {
            "mode": ("modes", WATER_HEATER_MODES if composite.component == "water_heater" else CLIMATE_MODES),
            **({role: (key, None) for role, key in ONE_MODE_ROLES} if composite.component == "climate" else {}),
        }
        for role, (key, allowed) in lists.items():
            if role in roles and (words := roles[role].words):
                entity[key] = [word for word in words if allowed is None or word in allowed]
                entity[f"{role}_state_topic"] = state
                entity[f"{role}_state_template"] = _template(roles[role].key)
                self._command(entity, role, roles[role])
        for role in ("current_temperature", *(("current_humidity", "action") * (composite.component == "climate"))):
            if role in roles:
                entity[f"{role}_topic"] = state
                entity[f"{role}_template"] = _template(roles[role].key)
        if "temperature" in roles:
            entity["temperature_state_topic"] = state
            entity["temperature_state_template"] = _template(roles["temperature"].key)
            self._command(entity, "temperature", roles["temperature"])
            entity |= self._limits(composite, roles["temperature"])
        if "power" in roles and roles["power"].writes:
            self._command(entity, "power", roles["power"])
            entity |= {"payload_on": "ON", "payload_off": "OFF"}
        return entity | {"temperature_unit": self._unit, "qos": 1}

    def _update(self, composite: Composite, roles: Mapping[str, Attribute]) -> Document:
        """A firmware; without a command topic it can be looked at alone, because a bridge flashes nothing."""
        return {
            "platform": "update",
            "name": composite.key.replace("_", " ").capitalize(),
            "device_class": "firmware",
            "value_template": _template(roles["installed"].key),
            "latest_version_topic": self._topics.state(self._topic),
            "latest_version_template": _template(roles["latest"].key),
            "entity_category": "diagnostic",
        }

    def _command(self, entity: Document, role: str, row: Attribute) -> None:
        if row.writes:
            entity[f"{role}_command_topic"] = self._topics.set_attribute(self._topic, row.key)

    def _limits(self, composite: Composite, row: Attribute) -> Document:
        """The limits and the step of a target temperature.

        In °F the limits are whole degrees where the command's grace of half a step allows it, as people know them.
        """
        if row.limits is None:
            return {}
        step = shown_step = _step(row)
        low, high = row.limits.low, row.limits.high
        if self._unit == "F":
            low, high = _whole(low, step, math.ceil), _whole(high, step, math.floor)
            # A user interface counts in this step from whole degrees; the device's own grid is the bridge's business.
            shown_step = max(1, round(step)) if step >= _FINEST_WHOLE_STEP else round(step, 1)
        found = {"min_temp": _tidy(low), "max_temp": _tidy(high)}
        return found | {"temp_step": _tidy(shown_step)} if composite.component == "climate" else found

    def _core(self) -> dict[str, Document]:
        """What every device has."""
        return {
            "problem": _problem("Problem"),
            "problem_text": {
                **_plain("sensor", "problem_text", "Problem description", "diagnostic"),
                "icon": "mdi:alert-circle-outline",
            },
            "seen_at": {
                **_plain("sensor", "seen_at", "Last seen", "diagnostic"),
                "device_class": "timestamp",
                # It changes with every frame, and each change is a row in Home Assistant's recorder.
                "enabled_by_default": False,
            },
            "refresh": {
                "platform": "button",
                "name": "Refresh",
                "command_topic": self._topics.get(self._topic),
                "payload_press": "{}",
                "qos": 1,
                "entity_category": "diagnostic",
                "icon": "mdi:refresh",
            },
            "command_result": {
                "platform": "event",
                "name": "Command result",
                "state_topic": self._topics.result(self._topic),
                "event_types": list(VERDICTS),
                "qos": 1,
                "entity_category": "diagnostic",
                "icon": "mdi:message-reply-text-outline",
            },
        }


def _sensor(row: Attribute) -> Document:
    quantity = row.quantity
    entity: Document = {"platform": "sensor"}
    match quantity.sort:
        case Sort.NUMBER:
            return entity | _known(
                device_class=quantity.device_class,
                unit_of_measurement=quantity.unit,
                state_class=quantity.state_class,
                suggested_display_precision=quantity.digits,
            )
        case Sort.OPTION if row.words:
            return entity | {"device_class": "enum", "options": list(row.words)}
        case Sort.TIME:
            return entity | {"device_class": "timestamp"}
    return entity


def _number(row: Attribute, limits: Range) -> Document:
    return {
        "platform": "number",
        # Not rounded to whole degrees in °F: Home Assistant drops a state outside the limits.
        "min": _tidy(limits.low),
        "max": _tidy(limits.high),
        "step": _tidy(_step(row)),
        "mode": "slider" if row.quantity.unit == "%" else "box",
    } | _known(device_class=row.quantity.device_class, unit_of_measurement=row.quantity.unit)


def _step(row: Attribute) -> float:
    return row.step if isinstance(row.step, int | float) else 1.0


def _whole(limit: float, step: float, inward: Callable[[float], int]) -> float:
    """A limit in whole degrees, further out than it is by half a step at most."""
    nearest = math.floor(limit + 0.5)
    return nearest if abs(nearest - limit) <= step / 2 + 1e-9 else inward(limit)


def _tidy(number: float) -> float:
    """Without the tail that a conversion leaves, and without a point where there is nothing behind it."""
    rounded = round(float(number), 3)
    return int(rounded) if rounded.is_integer() else rounded


def _problem(name: str) -> Document:
    return {
        **_plain("binary_sensor", "problem", name, "diagnostic"),
        "payload_on": True,
        "payload_off": False,
        "device_class": "problem",
    }


def _plain(platform: str, key: str, name: str, category: str) -> Document:
    return {"platform": platform, "name": name, "value_template": _template(key), "entity_category": category}


def _template(key: str) -> str:
    return f"{{{{ value_json.{key} }}}}"


def _known(**options: object) -> Document:
    """The options that are not ``None``."""
    return {key: value for key, value in options.items() if value is not None}


def _origin() -> Document:
    return {"name": ORIGIN, "sw_version": __version__}


def _availability(*topics: str) -> list[Document]:
    return [{"topic": topic} for topic in topics]


def _with_unique_ids(identity: str, components: Mapping[str, Document]) -> dict[str, Document]:
    return {
        component: {"platform": entity["platform"], "unique_id": f"{identity}_{component}"} | entity
        for component, entity in components.items()
    }


def _on_its_own(document: Document, entity: Document) -> Document:
    """A component with what it inherits from its device's message."""
    shared = {key: document[key] for key in _SHARED if key in document}
    if entity.get("platform") in _WITHOUT_STATE_TOPIC:
        shared.pop("state_topic", None)
    return shared | entity | {"device": document["device"], "origin": document["origin"]}


def _components_of(document: Document) -> dict[str, Document]:
    """The components of a device message; one that was read from the broker may hold anything."""
    components = document.get("components")
    if not isinstance(components, dict):
        return {}
    return {key: entity for key, entity in components.items() if isinstance(entity, dict) and "platform" in entity}


def _dropped(before: Mapping[str, Document], wanted: Collection[tuple[str, str]]) -> dict[str, str]:
    """Component id to platform, of what a message announced and nothing announces any more."""
    return {found.split(" ", 1)[1]: platform for platform, found in entities(before) if (platform, found) not in wanted}


def _with_markers(document: Document, dropped: Mapping[str, str]) -> Document:
    markers = {component: {"platform": platform} for component, platform in dropped.items()}
    return document | {"components": _components_of(document) | markers}
