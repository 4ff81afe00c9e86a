"""What is wrong with a configuration, in words: what was given, what is allowed, what was probably meant.

The words about a single option come from the JSON Schema of the models in `navibridge.config`, so that there is no
second list of options. Nothing here repeats what was given where the schema calls it a password or an e-mail address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from navibridge import sources
from navibridge.errors import Problem, counted
from navibridge.sources import Branch, Listing, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from navibridge.sources import Tree

Schema: TypeAlias = "dict[str, Any]"
"""A JSON Schema, or the part of one that an option has."""

UNKNOWN: Final = "unknown option"


def message(
    found: Mapping[str, Any], path: tuple[str, ...], node: Tree | None, shape: Schema, everywhere: Iterable[str]
) -> str:
    """One finding of pydantic in our words.

    Args:
        found: what it found.
        path: where, within the model that was validated.
        node: what stands there, if anything.
        shape: the model's JSON Schema.
        everywhere: the key paths of all options, for one that stands in the wrong section.
    """
    sort = found["type"]
    if sort == "extra_forbidden":
        return UNKNOWN + _meant_option(path, shape, everywhere)
    option = _shape_of(path, shape)
    if sort == "missing":
        return f"missing: {option.get('description', '')}"
    if sort == "value_error" and isinstance(node, Branch):  # a rule about several options
        return str(found["msg"]).removeprefix("Value error, ")
    if isinstance(node, Branch | Listing):
        given = "a section" if isinstance(node, Branch) else "a list"
    elif isinstance(node, Text):
        hidden = option.get("format") in ("password", "email")
        given = f"{counted(len(node), 'character')} (not shown)" if hidden else node.shown
        if option.get("type") == "object":
            given = "a single value"
    else:
        given = "nothing"
    words = [str(word) for word in option.get("enum", [])]
    if isinstance(node, Text) and words:
        return choice(node, words)
    if sort == "value_error" and "x-allowed" not in option and "x-unit" not in option:
        return f"given {given}: {found['msg'].removeprefix('Value error, ')}"
    return f"given {given}, allowed: {allowed(option)}"


def choice(given: Text, words: Iterable[str]) -> str:
    """The words about a value that is none of a closed list."""
    words = list(words)
    near = sources.nearest(given, words)
    return f"given {given.shown}, allowed: {', '.join(words)}" + (f", did you mean {near!r}?" if near else "")


def unmatched_device(section: str, ids: Mapping[str, str]) -> str:
    """The words about a section of ``devices`` that is about no device of the accounts.

    Args:
        section: its key.
        ids: the ids of the devices that have no section, by the keys that theirs would have.
    """
    near = sources.nearest(section, ids)
    hint = (
        f" (did you mean {ids[near]!r}?)" if near else f" (without a section are: {', '.join(ids.values()) or 'none'})"
    )
    return f"devices.{section} is about no device of the accounts{hint}"


def _shape_of(path: tuple[str, ...], shape: Schema) -> Schema:
    """The part of a JSON Schema that describes a key path; empty where it says nothing."""
    node = resolved(shape, shape)
    for name in path:
        below = node.get("properties", {}).get(name, node.get("items", node.get("additionalProperties")))
        if not isinstance(below, dict):
            return {}
        node = resolved(below, shape)
    return node


def resolved(node: Schema, shape: Schema) -> Schema:
    """A part with its reference followed and ``or null`` taken away."""
    for choice in node.get("anyOf", []):
        if choice.get("type") != "null":
            node = {**node, **choice}
    if "$ref" in node:
        target = shape["$defs"][node["$ref"].rpartition("/")[2]]
        node = {**target, "description": node.get("description", target.get("description"))}
    if "const" in node:
        node = {**node, "enum": [node["const"]]}
    return node


def _meant_option(path: tuple[str, ...], shape: Schema, everywhere: Iterable[str]) -> str:
    """What an unknown key was probably meant to be: a sibling, or the same name in another section."""
    *section, name = path
    known = _shape_of(tuple(section), shape).get("properties", {})
    if ":" in name:
        return f"; a space belongs after the colon of {sources.shown_key(name)}"
    if near := sources.nearest(name, known):
        return f", did you mean {near!r}?"
    known_paths = list(everywhere)
    elsewhere = [other for other in known_paths if name in other.split(".")]
    if meant := elsewhere[0] if elsewhere else sources.nearest(name, known_paths, cutoff=0.75):
        return f", did you mean {meant!r}?"
    return f", known here: {', '.join(known)}"


def allowed(option: Schema) -> str:
    """What an option takes, in words."""
    if option.get("default") is not None and {"type": "null"} in option.get("anyOf", []):
        return f"{allowed({**option, 'anyOf': []})}; or off"
    if "enum" in option:
        return ", ".join(str(word) for word in option["enum"])
    if "x-allowed" in option:
        return str(option["x-allowed"])
    if option.get("x-unit") == "s":
        return "a time such as 90, 90 s, 5 min or 2 h" + _bounds(option, " s")
    if option.get("type") == "object":
        names = option.get("properties", {})
        return "a section" + (f" with {', '.join(names)}" if names else "")
    sorts = {
        "boolean": "true or false (or yes, no, on, off)",
        "integer": "a whole number" + _bounds(option, ""),
        "number": "a number" + _bounds(option, ""),
        "array": "a list",
        "string": "text" + _lengths(option),
    }
    return sorts.get(option.get("type", ""), "another value")


def _bounds(option: Schema, unit: str) -> str:
    words = []
    for key, word in (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
        ("exclusiveMaximum", "below"),
    ):
        if key in option:
            words.append(f"{word} {option[key]:g}{unit}")
    return f", {' '.join(words)}" if words else ""


def _lengths(option: Schema) -> str:
    low, high = option.get("minLength"), option.get("maxLength")
    if high is None:
        return ", not empty" if low else ""
    return f" of {low or 0} to {high} characters"


def unusable(tree: Branch) -> Iterator[Problem]:
    """Texts that no protocol can carry: bytes that are not UTF-8, zero characters."""
    for path, text in sources.texts(tree):
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            text.broken = True
            yield Problem(str(text.origin), sources.dotted(path), "is not UTF-8 text, or has a zero character in it")


def contradictions(tree: Branch, *, base_topic: str, prefix: str) -> Iterator[Problem]:
    """Options that are right by themselves but not together; found in the texts, so that they are told at once.

    Args:
        tree: what was given.
        base_topic: the default of ``broker.base_topic``.
        prefix: the default of ``discovery.prefix``.
    """
    certificate, key = _said(tree, "broker", "tls", "cert_file"), _said(tree, "broker", "tls", "key_file")
    for one, other, missing in ((certificate, key, "key_file"), (key, certificate, "cert_file")):
        if one is not None and other is None:
            yield Problem(str(one.origin), "broker.tls", f"{missing} is missing: a certificate and its key go together")
    password = _said(tree, "broker", "password")
    if password is not None and _said(tree, "broker", "username") is None:
        yield Problem(str(password.origin), "broker.username", "missing: MQTT has no password without a user name")
    base, discovery = _said(tree, "broker", "base_topic"), _said(tree, "discovery", "prefix")
    if (base or base_topic) == (discovery or prefix):
        where = str((base or discovery or tree).origin)
        yield Problem(where, "broker.base_topic", "the same as discovery.prefix; the bridge needs a topic of its own")
    yield from _same_accounts(tree)
    yield from _same_topics(tree)


def _same_accounts(tree: Branch) -> Iterator[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for name in _names(tree, "accounts"):
        vendor, email = _said(tree, "accounts", name, "vendor"), _said(tree, "accounts", name, "email")
        if vendor is None or email is None:
            continue
        first = seen.setdefault((vendor.strip().lower(), email.lower()), name)
        if first != name:
            message = f"the same account as {first}; two connections of one account cut each other off"
            yield Problem(str(email.origin), f"accounts.{name}.email", message)


def _same_topics(tree: Branch) -> Iterator[Problem]:
    taken = {"bridge": "the bridge itself"}
    for name in _names(tree, "devices"):
        topic = _said(tree, "devices", name, "topic")
        if topic is not None and taken.setdefault(topic, name) != name:
            message = f"given {topic.shown}, which is the topic of {taken[topic]}"
            yield Problem(str(topic.origin), f"devices.{name}.topic", message)


def _said(tree: Branch, *path: str) -> Text | None:
    node = sources.look(tree, path)
    return node if isinstance(node, Text) and not node.unset and not node.broken else None


def _names(tree: Branch, section: str) -> list[str]:
    node = tree.get(section)
    return list(node) if isinstance(node, Branch) else []


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in the order of the lines that they are about."""

    def place(problem: Problem) -> tuple[str, int, str]:
        source, _, line = problem.where.rpartition(":")
        return (source, int(line), problem.path) if line.isdecimal() else (problem.where, 0, problem.path)

    return sorted(dict.fromkeys(problems), key=place)
