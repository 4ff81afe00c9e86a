"""Checks discovery messages as Home Assistant and openHAB would, by the tables of `docs/protocol/home-assistant.md`.

Home Assistant drops unknown keys of a component in silence and accepts much that fails later; this says no to all of
it. `problems` returns one sentence for each thing that is wrong, so a good set of messages gives an empty list.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Document = dict[str, Any]

# 1.3, 1.4
TOP_LEVEL = {"device", "origin", "components", "availability", "availability_mode", "state_topic"}
DEVICE = {
    *("identifiers", "connections", "name", "manufacturer", "model", "model_id", "hw_version", "sw_version"),
    *("serial_number", "suggested_area", "configuration_url", "via_device"),
}
ORIGIN = {"name", "sw_version", "support_url"}
AVAILABILITY = {"topic", "payload_available", "payload_not_available", "value_template"}

# 1.5; `object_id`, `expire_after` and availability of its own are legal and forbidden by our own rules.
COMMON = {
    *("platform", "unique_id", "name", "default_entity_id", "enabled_by_default", "visible_by_default"),
    *("entity_category", "icon", "entity_picture", "qos", "encoding", "json_attributes_topic"),
    "json_attributes_template",
}
IN_ENTITY_FORM = {"device", "origin", "availability", "availability_mode"}


def _topic_and_template(*names: str) -> set[str]:
    return {f"{name}_{end}" for name in names for end in ("topic", "template")}


_COMMANDS = {"retain", "optimistic"}
_ON_OFF = {"payload_on", "payload_off"}

# 3.1 to 3.12
PLATFORMS: dict[str, set[str]] = {
    "water_heater": {
        *("modes", "temperature_unit", "min_temp", "max_temp", "initial", "precision", "value_template"),
        *_topic_and_template("mode_state", "mode_command", "current_temperature", "temperature_state"),
        *_topic_and_template("temperature_command", "power_command"),
        *_ON_OFF,
        *_COMMANDS,
    },
    "climate": {
        *("modes", "fan_modes", "swing_modes", "swing_horizontal_modes", "preset_modes", "value_template"),
        *("temperature_unit", "min_temp", "max_temp", "temp_step", "initial", "precision"),
        *("min_humidity", "max_humidity", "preset_mode_value_template"),
        *_topic_and_template("mode_state", "mode_command", "action", "current_temperature", "current_humidity"),
        *_topic_and_template("temperature_state", "temperature_command", "power_command"),
        *_topic_and_template("temperature_low_state", "temperature_low_command"),
        *_topic_and_template("temperature_high_state", "temperature_high_command"),
        *_topic_and_template("target_humidity_state", "target_humidity_command"),
        *_topic_and_template("fan_mode_state", "fan_mode_command", "swing_mode_state", "swing_mode_command"),
        *_topic_and_template("swing_horizontal_mode_state", "swing_horizontal_mode_command"),
        *_topic_and_template("preset_mode_command"),
        "preset_mode_state_topic",
        *_ON_OFF,
        *_COMMANDS,
    },
    "sensor": {
        *("state_topic", "value_template", "device_class", "unit_of_measurement", "state_class", "options"),
        *("suggested_display_precision", "last_reset_value_template", "force_update"),
    },
    "binary_sensor": {"state_topic", "value_template", "device_class", "off_delay", "force_update", *_ON_OFF},
    "number": {
        *("state_topic", "value_template", "command_topic", "command_template", "min", "max", "step", "mode"),
        *("unit_of_measurement", "device_class", "payload_reset"),
        *_COMMANDS,
    },
    "select": {"state_topic", "value_template", "command_topic", "command_template", "options", *_COMMANDS},
    "switch": {
        *("state_topic", "value_template", "command_topic", "command_template", "state_on", "state_off"),
        "device_class",
        *_ON_OFF,
        *_COMMANDS,
    },
    "button": {"command_topic", "command_template", "payload_press", "device_class", "retain"},
    "update": {
        *("state_topic", "value_template", "command_topic", "payload_install", "device_class", "title"),
        *("release_summary", "release_url", "display_precision"),
        *_topic_and_template("latest_version"),
    },
    "event": {"state_topic", "value_template", "event_types", "device_class"},
    "device_automation": {"automation_type", "topic", "type", "subtype", "payload", "value_template"},
}
REQUIRED: dict[str, set[str]] = {
    "water_heater": {"modes", "temperature_unit"},
    "climate": {"modes", "temperature_unit"},
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "number": {"state_topic", "command_topic", "min", "max", "step"},
    "select": {"state_topic", "command_topic", "options"},
    "switch": {"state_topic", "command_topic"},
    "button": {"command_topic"},
    "update": {"state_topic"},
    "event": {"state_topic", "event_types"},
    "device_automation": {"automation_type", "topic", "type", "subtype"},
}
WITHOUT_STATE_TOPIC = {"water_heater", "climate", "button", "device_automation"}

WATER_HEATER_MODES = {"eco", "electric", "gas", "heat_pump", "high_demand", "performance", "off"}
CLIMATE_MODES = {"off", "heat", "cool", "heat_cool", "auto", "dry", "fan_only"}
ACTIONS = {"off", "heating", "cooling", "drying", "idle", "fan"}  # as openHAB knows them (6.3)
VERDICTS = {"applied", "rejected", "refused", "superseded", "expired", "unconfirmed"}

# 4.1: units and state classes of a sensor's device class; numbers share the units.
ANY = {"measurement", "total", "total_increasing"}
CLASSES: dict[str | None, tuple[set[str | None], set[str]]] = {
    "temperature": ({"°C", "°F", "K"}, {"measurement"}),
    "humidity": ({"%"}, {"measurement"}),
    "power": ({"W", "kW", "MW", "mW"}, {"measurement"}),
    "energy": ({"kWh", "Wh", "MWh", "J", "MJ", "cal", "kcal"}, {"total", "total_increasing"}),
    "energy_storage": ({"kWh", "Wh", "MWh", "J", "MJ", "cal", "kcal"}, {"measurement"}),
    "current": ({"A", "mA"}, {"measurement"}),
    "voltage": ({"V", "mV"}, {"measurement"}),
    "frequency": ({"Hz", "kHz"}, {"measurement"}),
    "signal_strength": ({"dBm", "dB"}, {"measurement"}),
    "volume_flow_rate": ({"L/min", "gal/min", "m³/h", "ft³/min"}, {"measurement"}),
    "water": ({"L", "gal", "m³", "ft³", "CCF"}, {"total", "total_increasing"}),
    "volume_storage": ({"L", "gal"}, {"measurement"}),
    "gas": ({"m³", "ft³", "CCF", "L"}, {"total", "total_increasing"}),
    "duration": ({"d", "h", "min", "s", "ms", "μs"}, ANY),
    "timestamp": ({None}, set()),
    "enum": ({None}, set()),
    None: ({None, "%", "rpm", "K", "°C", "°F"}, ANY),
}
BINARY_CLASSES = {
    *("connectivity", "problem", "running", "heat", "power", "moisture", "update", "safety", "lock"),
    *("cold", "opening", "door", "occupancy", "motion", "light"),
}
BUTTON_CLASSES = {"identify", "restart", "update"}

TEMPLATE = re.compile(r"\{\{ value_json\.([a-z0-9_]+) \}\}")
PLAIN_ID = re.compile(r"[a-zA-Z0-9_-]+")
SLUG = re.compile(r"[a-z0-9_]+")
LONGEST_STATE = 255


def expand(topic: str, document: Document) -> dict[str, Document]:
    """The entities of one message with what they inherit, by component id (`home-assistant.md` 1.3)."""
    if "components" not in document:
        *_, platform, _object_id, component, _ = topic.split("/")
        return {component: {"platform": platform, **document}}
    found = {}
    for component, entity in document["components"].items():
        shared = {key: document[key] for key in ("availability", "availability_mode", "state_topic") if key in document}
        if entity.get("platform") in WITHOUT_STATE_TOPIC:
            shared.pop("state_topic", None)
        found[component] = {**shared, **entity}
    return found


def problems(
    messages: Mapping[str, Document],
    states: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    prefix: str = "homeassistant",
) -> list[str]:
    """Everything that is wrong with the messages of one device, in either form.

    Args:
        messages: discovery documents by topic.
        states: state documents by topic; every template is looked up in the one of its topic, and its value is tried.
        prefix: the discovery prefix.
    """
    found: list[str] = []
    entities: list[tuple[str, Document]] = []
    for topic, document in messages.items():
        found += _topic_problems(topic, document, prefix)
        found += _frame_problems(topic, document)
        for component, entity in expand(topic, document).items():
            entities.append((component, entity))
            where = f"{component} ({entity.get('platform')})"
            found += (f"{where}: {sentence}" for sentence in _entity_problems(component, entity, states or {}))
    found += _set_problems(messages, entities)
    return found


def _topic_problems(topic: str, document: Document, prefix: str) -> Iterator[str]:
    start, _, rest = topic.partition(f"{prefix}/")
    levels = rest.split("/")
    if start or levels[-1:] != ["config"]:
        yield f"{topic} is no discovery topic"
    elif "components" in document and (len(levels) != 3 or levels[0] != "device"):
        yield f"{topic}: the device form lives at {prefix}/device/<object>/config"
    elif "components" not in document and (len(levels) != 4 or levels[0] not in PLATFORMS):
        yield f"{topic}: the entity form lives at {prefix}/<platform>/<object>/<component>/config"
    for level in levels:
        if not PLAIN_ID.fullmatch(level):
            yield f"{topic}: {level!r} is no id"


def _frame_problems(topic: str, document: Document) -> Iterator[str]:  # noqa: C901, PLR0912 - rules, one after the other
    """The strict part: one unknown key here loses the whole device."""
    if "components" in document:
        for key in document.keys() - TOP_LEVEL:
            yield f"{topic}: unknown key at the top: {key}"
    for part, allowed, required in (("device", DEVICE, {"identifiers", "name"}), ("origin", ORIGIN, {"name"})):
        section = document.get(part)
        if not isinstance(section, dict):
            yield f"{topic}: no {part}"
            continue
        for key in section.keys() - allowed:
            yield f"{topic}: unknown key in {part}: {key}"
        for key in required - section.keys():
            yield f"{topic}: {part} lacks {key}"
        for key, value in section.items():
            if value is None or value == "":
                yield f"{topic}: {part}.{key} is empty"
    device = document.get("device") or {}
    if not isinstance(device.get("identifiers"), list) or len(device["identifiers"]) != 1:
        yield f"{topic}: not exactly one identifier"
    if device.get("connections"):
        yield f"{topic}: connections would merge devices of other integrations"
    if "components" not in document and "model_id" in device:
        yield f"{topic}: model_id is unknown to the Home Assistants that need the entity form"
    for part, key in (("device", "configuration_url"), ("origin", "support_url")):
        url = (document.get(part) or {}).get(key)
        if url is not None and not re.match(r"https?://[^/]+", url):
            yield f"{topic}: {part}.{key} is no URL"
    if (identifiers := device.get("identifiers")) and device.get("via_device") in identifiers:
        yield f"{topic}: the device is its own parent"
    yield from (f"{topic}: {sentence}" for sentence in _availability_problems(document))


def _availability_problems(document: Document) -> Iterator[str]:
    entries = document.get("availability")
    if not isinstance(entries, list) or not entries:
        yield "no availability list"
        return
    for entry in entries:
        for key in entry.keys() - AVAILABILITY:
            yield f"unknown key in availability: {key}"
        yield from _topic_value_problems("availability", entry.get("topic"))
        for key, word in (("payload_available", "online"), ("payload_not_available", "offline")):
            if entry.get(key, word) != word:
                yield f"availability {key} is not {word}"
    if document.get("availability_mode") != "all":
        yield "availability_mode is not all"


def _entity_problems(component: str, entity: Document, states: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    platform = entity.get("platform")
    if platform not in PLATFORMS:
        yield "unknown platform"
        return
    if not PLAIN_ID.fullmatch(component):
        yield "no component id"
    allowed = PLATFORMS[platform] | IN_ENTITY_FORM
    allowed |= COMMON if platform != "device_automation" else {"platform"}
    for key in entity.keys() - allowed:
        yield f"unknown key {key}"
    for key in REQUIRED[platform] - entity.keys():
        yield f"lacks {key}"
    if platform != "device_automation" and not isinstance(entity.get("unique_id"), str):
        yield "lacks unique_id"
    yield from _common_problems(platform, entity)
    yield from _RULES.get(platform, _nothing)(entity)
    for key, value in entity.items():
        if key == "topic" or key.endswith("_topic"):
            yield from _topic_value_problems(key, value)
        if key.endswith("template"):
            yield from _template_problems(key, value, entity, states)


def _common_problems(platform: str, entity: Document) -> Iterator[str]:  # noqa: C901, PLR0912 - rules, one after the other
    category = entity.get("entity_category")
    if category not in (None, "config", "diagnostic"):
        yield f"entity_category {category}"
    if category == "config" and platform in ("sensor", "binary_sensor"):
        yield "a sensor can not be in the category config"
    if "entity_category" in entity and category is None:
        yield "entity_category is empty"
    for key in ("enabled_by_default", "visible_by_default", "force_update", "optimistic", "retain"):
        if not isinstance(entity.get(key, False), bool):
            yield f"{key} is no truth value"
    if entity.get("retain"):
        yield "commands would be retained"
    if entity.get("optimistic"):
        yield "an optimistic entity hides failures"
    if entity.get("qos", 0) not in (0, 1, 2) or isinstance(entity.get("qos"), bool):
        yield "qos is not 0, 1 or 2"
    if platform != "button" and any("command_topic" in key for key in entity) and entity.get("qos") != 1:
        yield "commands want qos 1"
    if "command_template" in "".join(entity):
        yield "command templates do not work everywhere"
    if (icon := entity.get("icon")) is not None and not re.fullmatch(r"mdi:[a-z0-9-]+", icon):
        yield f"icon {icon!r}"
    if (wanted := entity.get("default_entity_id")) is not None:
        domain, _, name = wanted.partition(".")
        if domain != platform or not SLUG.fullmatch(name):
            yield f"default_entity_id {wanted!r}"
    if platform != "device_automation":
        if "name" not in entity:
            yield "has no name"
        elif entity["name"] is not None and not (isinstance(entity["name"], str) and entity["name"].strip()):
            yield "name is neither a text nor null"


def _topic_value_problems(key: str, topic: object) -> Iterator[str]:
    if not isinstance(topic, str) or not topic or any(not level for level in topic.split("/")):
        yield f"{key} is no topic: {topic!r}"
    elif any(sign in topic for sign in "+#~ "):
        yield f"{key} has a sign that does not belong there: {topic!r}"


def _template_problems(
    key: str, template: object, entity: Document, states: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    match = TEMPLATE.fullmatch(template) if isinstance(template, str) else None
    if match is None:
        yield f"{key} is more than a key: {template!r}"
        return
    topic = entity.get("state_topic" if key == "value_template" else key.replace("template", "topic"))
    if key == "value_template" and entity["platform"] == "device_automation":
        topic = entity.get("topic")
    if topic is None:
        yield f"{key} has no topic"
    elif topic in states:
        state = states[topic]
        if match[1] not in state:
            yield f"{key} names {match[1]}, which the state document lacks"
        elif (value := state[match[1]]) is not None and (complaint := _value_problem(key, value, entity)):
            yield f"{match[1]} is {value!r}: {complaint}"


def _value_problem(key: str, value: object, entity: Document) -> str | None:  # noqa: C901, PLR0911, PLR0912 - a table in words
    """What Home Assistant would say to a value that arrives (3.0)."""
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    match entity["platform"], key:
        case "binary_sensor", _:
            if value not in (entity.get("payload_on", "ON"), entity.get("payload_off", "OFF")):
                return "neither on nor off"
        case "switch", _:
            states = (
                entity.get("state_on", entity.get("payload_on")),
                entity.get("state_off", entity.get("payload_off")),
            )
            if value not in states:
                return "neither on nor off"
        case "select", _:
            if value not in entity.get("options", ()):
                return "not among the options"
        case "number", _:
            if not numeric:
                return "no number"
            if not entity.get("min", value) <= value <= entity.get("max", value):
                return "outside the limits"
        case "sensor", _:
            if "options" in entity and value not in entity["options"]:
                return "not among the options"
            if entity.get("device_class") == "timestamp":
                try:
                    if datetime.fromisoformat(str(value)).tzinfo is None:
                        return "a time without a zone"
                except ValueError:
                    return "no time"
            elif _is_numeric(entity) and not numeric:
                return "no number"
            if len(str(value)) > LONGEST_STATE:
                return "too long a text"
        case _, _ if key.endswith("mode_state_template"):
            if value not in entity.get(key.replace("_state_template", "s"), ()):
                return "not among the modes"
        case _, "action_template":
            if value not in ACTIONS:
                return "no action"
        case "climate" | "water_heater", _:
            if not numeric:
                return "no number"
    return None


def _is_numeric(entity: Document) -> bool:
    return any(key in entity for key in ("unit_of_measurement", "state_class", "suggested_display_precision"))


def _sensor_problems(entity: Document) -> Iterator[str]:
    device_class = entity.get("device_class")
    if device_class not in CLASSES:
        yield f"device_class {device_class}"
        return
    units, state_classes = CLASSES[device_class]
    if entity.get("unit_of_measurement") not in units:
        yield f"unit {entity.get('unit_of_measurement')} does not fit device_class {device_class}"
    state_class = entity.get("state_class")
    if state_class is not None and state_class not in state_classes:
        yield f"state_class {state_class} does not fit device_class {device_class}"
    if (device_class == "enum") != ("options" in entity):
        yield "options and device_class enum belong together"
    if "options" in entity:
        yield from _list_problems("options", entity["options"])
    precision = entity.get("suggested_display_precision", 0)
    if not isinstance(precision, int) or isinstance(precision, bool) or precision < 0:
        yield "suggested_display_precision"
    if device_class in ("enum", "timestamp") and "suggested_display_precision" in entity:
        yield f"a {device_class} has no precision"
    if device_class == "temperature" and "suggested_display_precision" not in entity:
        yield "a converted value without a precision shows its tail"


def _binary_sensor_problems(entity: Document) -> Iterator[str]:
    if entity.get("device_class") not in {None, *BINARY_CLASSES}:
        yield f"device_class {entity['device_class']}"


def _number_problems(entity: Document) -> Iterator[str]:
    low, high, step = (entity.get(key) for key in ("min", "max", "step"))
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (low, high, step)):
        yield "limits and step are not all numbers"
    else:
        if low >= high:  # type: ignore[operator]
            yield "min is not below max"
        if step < 0.001:  # type: ignore[operator]
            yield "the step is too small"
    if entity.get("mode", "auto") not in ("auto", "box", "slider"):
        yield f"mode {entity['mode']}"
    device_class = entity.get("device_class")
    if device_class not in CLASSES or entity.get("unit_of_measurement") not in CLASSES[device_class][0]:
        yield f"unit {entity.get('unit_of_measurement')} does not fit device_class {device_class}"


def _select_problems(entity: Document) -> Iterator[str]:
    options = entity.get("options")
    yield from _list_problems("options", options)
    if isinstance(options, list) and any(str(option).lower() == "none" for option in options):
        yield "the option none means unknown"


def _switch_problems(entity: Document) -> Iterator[str]:
    if entity.get("device_class") not in (None, "switch", "outlet"):
        yield f"device_class {entity['device_class']}"


def _button_problems(entity: Document) -> Iterator[str]:
    if entity.get("device_class") not in {None, *BUTTON_CLASSES}:
        yield f"device_class {entity['device_class']}"


def _event_problems(entity: Document) -> Iterator[str]:
    yield from _list_problems("event_types", entity.get("event_types"))
    if str(entity.get("state_topic", "")).endswith("/state"):
        yield "an event needs a topic of its own that is not retained"
    if str(entity.get("state_topic", "")).endswith("/result") and set(entity.get("event_types") or ()) != VERDICTS:
        yield "the verdicts are not all listed"


def _update_problems(entity: Document) -> Iterator[str]:
    if entity.get("device_class") not in (None, "firmware"):
        yield f"device_class {entity['device_class']}"
    if "command_topic" in entity:
        yield "an install button for what can not be installed"


def _composite_problems(entity: Document) -> Iterator[str]:  # noqa: C901, PLR0912 - rules, one after the other
    allowed = WATER_HEATER_MODES if entity["platform"] == "water_heater" else CLIMATE_MODES
    if entity.get("modes") != [] or "mode_state_topic" in entity:
        yield from _list_problems("modes", entity.get("modes"))
    for mode in entity.get("modes") or ():
        if mode not in allowed:
            yield f"mode {mode}"
    if entity.get("temperature_unit") not in ("C", "F"):
        yield f"temperature_unit {entity.get('temperature_unit')!r}"
    if "temperature_command_topic" in entity:
        low, high = entity.get("min_temp"), entity.get("max_temp")
        if not isinstance(low, int | float) or not isinstance(high, int | float) or low >= high:
            yield "min_temp and max_temp"
        if entity["platform"] == "climate" and not entity.get("temp_step", 0) > 0:
            yield "temp_step"
    if "precision" in entity and entity["precision"] not in (0.1, 0.5, 1.0):
        yield "precision"
    for command in [key for key in entity if key.endswith("_command_topic") and key != "power_command_topic"]:
        if command.replace("_command_", "_state_") not in entity:
            yield f"{command} without a state would be optimistic"
    for role in ("fan_mode", "swing_mode", "swing_horizontal_mode"):
        if f"{role}_state_topic" in entity:
            yield from _list_problems(f"{role}s", entity.get(f"{role}s"))
    for role in ("mode", "fan_mode", "swing_mode", "temperature"):
        if (f"{role}_state_topic" in entity) != (f"{role}_state_template" in entity):
            yield f"{role} needs both a topic and a template"


def _device_automation_problems(entity: Document) -> Iterator[str]:
    if entity.get("automation_type") != "trigger":
        yield f"automation_type {entity.get('automation_type')}"


def _nothing(_: Document) -> Iterator[str]:
    yield from ()


_RULES = {
    "sensor": _sensor_problems,
    "binary_sensor": _binary_sensor_problems,
    "number": _number_problems,
    "select": _select_problems,
    "switch": _switch_problems,
    "button": _button_problems,
    "event": _event_problems,
    "update": _update_problems,
    "climate": _composite_problems,
    "water_heater": _composite_problems,
    "device_automation": _device_automation_problems,
}


def _list_problems(name: str, words: object) -> Iterator[str]:
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        yield f"{name} is no list of words"
    elif len(set(words)) != len(words):
        yield f"{name} says something twice"


def _set_problems(  # noqa: C901 - rules, one after the other
    messages: Mapping[str, Document], entities: list[tuple[str, Document]]
) -> Iterator[str]:
    """What concerns several entities at once."""
    for (platform, unique_id), count in Counter(
        (entity.get("platform"), entity.get("unique_id")) for _, entity in entities if "unique_id" in entity
    ).items():
        if count > 1:
            yield f"two of {platform} have the unique_id {unique_id}"
    for component, count in Counter(component for component, _ in entities).items():
        if count > 1:
            yield f"two components are called {component}"
    if sum("name" in entity and entity["name"] is None for _, entity in entities) > 1:
        yield "two entities take the device's name"
    for name, count in Counter(entity["name"] for _, entity in entities if entity.get("name")).items():
        if count > 1:
            yield f"two entities are called {name!r}"
    devices = [document.get("device") or {} for document in messages.values()]
    if any(device != devices[0] for device in devices):
        yield "the messages describe different devices"
    title = devices[0].get("name") if devices else None
    for component, entity in entities:
        if title and str(entity.get("name") or "").startswith(title):
            yield f"{component}: its name repeats the device's"
    # openHAB merges the availability of all components (6.3).
    if len({repr((entity.get("availability"), entity.get("availability_mode"))) for _, entity in entities}) > 1:
        yield "the entities differ in availability"
