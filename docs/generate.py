#!/usr/bin/env python3
"""Writes the reference pages that follow from the code: `make docs`.

    docs/devices/<vendor>.md    the attribute tables
    docs/configuration.md       the options, from the models of the configuration
    docs/commands.md            the command line, from its own help

`pages` is pure and makes them all; a test compares it with the files. Nothing is said here that is not taken from the
table, model or command that the program itself works with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import typer

from navibridge import config, mistakes, vendors
from navibridge.cli import app
from navibridge.discovery import CORE_KEYS, device_document
from navibridge.model import FOREVER, NOTHING, Attribute, Device, Features, Kind, Range, Sort, Value, always
from navibridge.topics import Topics

ROOT: Final = Path(__file__).resolve().parent.parent
NOTICE: Final = "<!-- Written by `make docs` from the code; change it there. -->"

GROUPS: Final = {
    None: "Values and controls",
    "config": "Settings",
    "diagnostic": "Diagnostics",
}
SORTS: Final = {
    Sort.NUMBER: "number",
    Sort.FLAG: "`true` or `false`",
    Sort.TEXT: "text",
    Sort.CODE: "code, a number",
    Sort.TIME: "time, ISO 8601 in UTC",
    Sort.ACTION: "none; it is only sent",
}
HELP_WIDTH: Final = 100

DEVICES: Final = """\
# {title}: devices and their attributes

One row is one attribute: a key of the state document, of `.../set` and of `.../set/<attribute>`. A unit has the
attributes that it reports and that it says it can do; `navibridge devices --json` and the state document show which.
Units and limits are canonical; with `temperature_unit: F` temperatures are in °F instead.

- **Set**: what a command may ask for. A number is snapped to the step. Where the limits or words are the unit's own,
  the ones here hold until it has told them.
- **Home Assistant**: what it is announced as. *hidden* is disabled until you enable it; what is not announced stands in
  the state document alone.
- **Read from**: the vendor's field, in brackets the forms of message and the encoding, then the section of
  [the protocol page](../protocol/{vendor}.md).

A value that was neither told nor confirmed for as long as the device's timeout (`stale_after`) is unknown, unless the
text says how long it lasts; then so long.

Every device has {core} and a few more keys besides; see the [README](../../README.md).
"""

CONFIGURATION: Final = """\
# Configuration

Every option of `config.yaml`. [config.yaml.example](../config.yaml.example) has them all as a file to copy, `navibridge
schema` prints the same as a JSON Schema for editors, and the [README](../README.md) says where the file is looked for
and how secrets are kept out of it.

The environment variable goes over the file; the same name with `_FILE` behind it reads the value from a file. `<NAME>`
is an account's name, with `_` for a `-` in it, and `<ID>` a device's id. Times are seconds, or such as `90 s`, `5 min`,
`2 h`, `1 d`.
"""


def pages() -> dict[Path, str]:
    """Every page by its path below the repository."""
    found = {Path("docs/devices", f"{name}.md"): devices_page(name) for name in vendors.names()}
    found[Path("docs/configuration.md")] = configuration_page()
    found[Path("docs/commands.md")] = commands_page()
    return found


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def code(words: Sequence[object]) -> str:
    """Words as they are written, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def page(lines: Sequence[str]) -> str:
    """The lines as a file."""
    return "\n".join([NOTICE, "", *lines]) + "\n"


# ---------------------------------------------------------------------------------------------------------- devices


def devices_page(vendor: str) -> str:
    """What is known of the devices of a vendor."""
    loaded = vendors.load(vendor)
    sections = anchors((ROOT / f"docs/protocol/{vendor}.md").read_text(encoding="utf-8"))
    lines = DEVICES.format(title=loaded.TITLE, vendor=vendor, core=code(CORE_KEYS)).splitlines()
    for kind in loaded.KINDS:
        shown = announced(vendor, kind)
        title = kind.name.replace("_", " ").capitalize()
        lines += ["", f"## {title}", "", f"`{kind.name}`, by {kind.manufacturer}; {len(kind.attributes)} attributes."]
        for category, heading in GROUPS.items():
            rows = [row for row in kind.attributes if row.category == category]
            if rows:
                lines += ["", f"### {title}: {heading.lower()}", ""]
                lines += table(
                    ("Attribute", "What it is", "Value", "Set", "Home Assistant", "Read from"),
                    (described(row, kind, shown, vendor, sections) for row in rows),
                )
    return page(lines)


def described(
    row: Attribute, kind: Kind, shown: Mapping[str, str], vendor: str, sections: Mapping[str, str]
) -> tuple[str, ...]:
    """One attribute as a row of its table."""
    sentences = (f"{row.name}.", row.about, presence(row, kind), lasting(row, kind))
    about = " ".join(sentence for sentence in sentences if sentence)
    read = read_from(row)
    if row.source:
        read += f" [{row.source}](../protocol/{vendor}.md#{sections[row.source]})"
    return f"`{row.key}`", about, value_of(row), settable(row, kind), shown.get(row.key, "not announced"), read


def value_of(row: Attribute) -> str:
    """What its value looks like."""
    if row.quantity.sort is Sort.OPTION:
        return code(row.resolve(NOTHING).words)
    unit = row.quantity.unit
    return SORTS[row.quantity.sort] if unit is None else unit


def settable(row: Attribute, kind: Kind) -> str:
    """What a command may ask for, under which other names, and when."""
    if not row.writes:
        return "no"
    resolved = row.resolve(NOTHING)
    words = ["yes"]
    if row.quantity.sort is Sort.NUMBER:
        limits, step = resolved.limits, resolved.step
        words = ["the unit's own limits"]
        if limits is not None:
            words = [f"{limits.low:g} to {limits.high:g} {row.quantity.unit or ''}".rstrip()]
            words += ["the unit's own limits"] if callable(row.within) else []
        words.append(f"step {step:.3g}" + (", the unit's own" if callable(row.step) else ""))
    elif callable(row.options):
        words.append("the unit's own words")
    if row.aliases:
        words.append(f"also as {code(row.aliases)}")
    if condition := gate(row.writable_when, kind):
        words.append(condition)
    return "; ".join(words)


def presence(row: Attribute, kind: Kind) -> str:
    """Which units have it at all; nothing for all."""
    condition = gate(row.when, kind)
    return f"Present {condition}." if condition else ""


def lasting(row: Attribute, kind: Kind) -> str:
    """How long it is shown without being told again; nothing where that is the device's timeout."""
    lasts = dict(kind.fading).get(row.key, FOREVER)
    if not row.reads or lasts == 0:
        return ""
    return "Lasts until it changes." if lasts == FOREVER else f"Lasts {lasts / 60:.0f} min."


class Probe(Mapping[str, Value]):
    """Features that answer every question alike, and remember what was asked."""

    def __init__(self, answer: Value) -> None:
        self.asked: dict[str, None] = {}
        self._answer = answer

    def __getitem__(self, key: str) -> Value:
        self.asked[key] = None
        return self._answer

    def __iter__(self) -> Iterator[str]:
        return iter(("anything",))

    def __len__(self) -> int:
        return 1


def gate(condition: Callable[[Features], bool], kind: Kind) -> str:
    """The condition in words, as far as it can be told from outside; nothing for one that always holds."""
    if condition is always:
        return ""
    probes = {answer: Probe(answer) for answer in (None, True, False)}
    held = {answer: condition(probe) for answer, probe in probes.items()}
    asked = list(dict.fromkeys(key for probe in probes.values() for key in probe.asked))
    known = [key for key in asked if key in kind.by_key]
    match known, held[None], held[True], held[False]:
        case [key], False, True, False:
            return f"if `{key}`"
        case [key], True, True, False:
            return f"unless `{key}` is false"
        case [_, *_], _, _, _ if known == asked:
            return f"as {code(known)} tell" + ("s" if len(known) == 1 else "")
    return "as far as the unit can"


def read_from(row: Attribute) -> str:
    """Where its value comes from."""
    if row.integrates:
        return f"`{row.integrates}`, summed up over time"
    if not row.reads:
        return f"derived from {code(row.needs)}" if row.needs else "derived"
    places: dict[tuple[str, str], list[str]] = {}
    for wire in row.reads:
        places.setdefault((wire.name, wire.codec.name), []).append(wire.form)
    return "; ".join(f"`{name}` ({', '.join(forms)}: {codec})" for (name, codec), forms in places.items())


def announced(vendor: str, kind: Kind) -> dict[str, str]:
    """What Home Assistant is told of each attribute, by the discovery of a unit that can do everything."""
    rows = tuple(able(row) for row in kind.attributes)
    device = Device(vendor=vendor, id="1", name=kind.name, kind=kind, attributes=rows)
    components = device_document(device, Topics(), topic="device", account="home")["components"]
    found: dict[str, list[str]] = {}
    for composite in kind.composites:
        for key in composite.roles.values():
            found.setdefault(key, []).append(components[composite.key]["platform"])
    for row in rows:
        component = components.get(row.key)
        if component is not None:
            hidden = component.get("enabled_by_default") is False
            found.setdefault(row.key, []).append(component["platform"] + (", hidden" if hidden else ""))
    return {key: ", ".join(dict.fromkeys(words)) for key, words in found.items()}


def able(row: Attribute) -> Attribute:
    """The row of a unit that can do everything; limits that only a unit can tell are made up, to have some."""
    resolved = row.resolve(NOTHING)
    needs_limits = row.writes and row.quantity.sort is Sort.NUMBER and resolved.within is None
    return replace(resolved, writes=row.writes, within=Range(0, 100) if needs_limits else resolved.within)


def anchors(text: str) -> dict[str, str]:
    """Section number to anchor, of a protocol page."""
    headings = re.findall(r"^#{2,} +((\d+(?:\.\d+)*)\.? .*)$", text, re.MULTILINE)
    return {
        number: re.sub(r"[^\w -]", "", re.sub(r"[`*]", "", heading).strip().lower()).replace(" ", "-")
        for heading, number in headings
    }


# ---------------------------------------------------------------------------------------------------- configuration


def configuration_page() -> str:
    """Every option, from the models."""
    lines = CONFIGURATION.splitlines()
    whole = config.Config.model_json_schema()
    parts = whole["properties"]
    single = {name: part for name, part in parts.items() if name not in ("accounts", "devices")}
    lines += ["", "## Top level", "", *options_table(single, whole, ())]
    for name, part in ((name, mistakes.resolved(part, whole)) for name, part in parts.items()):
        if name == "accounts":
            for vendor in vendors.names():
                lines += account_section(vendor)
        elif name == "devices":
            below = mistakes.resolved(part["additionalProperties"], whole)
            lines += ["", "## devices.&lt;id&gt;", "", part["description"], ""]
            lines += options_table(below["properties"], whole, ("devices", "<id>"))
        elif "properties" in part:
            lines += section(part, whole, (name,))
    return page(lines)


def account_section(vendor: str) -> list[str]:
    """The options of an account at a vendor."""
    loaded = vendors.load(vendor)
    shape = loaded.Settings.model_json_schema()
    short = code([f"{vendor.upper()}_{word}" for word in (*config.SHORT_HANDS, "LOG_LEVEL")])
    return [
        "",
        f"## accounts.&lt;name&gt; with vendor: {vendor}",
        "",
        f"An account at {loaded.TITLE}. With only one of them, these variables do without a file, or go over it:",
        f"{short}.",
        "",
        *section(shape, shape, ("accounts", "<name>"))[5:],
    ]


def section(part: mistakes.Schema, whole: mistakes.Schema, path: tuple[str, ...]) -> list[str]:
    """A section with its options, then the sections within it."""
    heading = ".".join(path).replace("<", "&lt;").replace(">", "&gt;")
    below = {name: mistakes.resolved(option, whole) for name, option in part["properties"].items()}
    lines = ["", f"## {heading}", "", part.get("description", ""), "", *options_table(below, whole, path)]
    for name, option in below.items():
        if "properties" in option:
            lines += section(option, whole, (*path, name))
    return lines


def options_table(options: Mapping[str, mistakes.Schema], whole: mistakes.Schema, path: tuple[str, ...]) -> list[str]:
    """The options of one section that are no sections themselves."""
    rows = {name: mistakes.resolved(option, whole) for name, option in options.items()}
    return table(
        ("Option", "Allowed", "Default", "What it does", "Environment variable"),
        (
            (
                f"`{name}`",
                mistakes.allowed(option).replace("<", "&lt;"),
                default_of(options[name]),
                option.get("description", "").replace("<", "&lt;"),
                f"`NAVIBRIDGE_{'__'.join((*path, name)).upper()}`",
            )
            for name, option in rows.items()
            if "properties" not in option
        ),
    )


def default_of(option: mistakes.Schema) -> str:
    """The default of an option."""
    if "default" not in option:
        return "required"
    default: Any = option["default"]
    if default is None:
        return "not set"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


# ---------------------------------------------------------------------------------------------------------- commands


def commands_page() -> str:
    """Every command with its own help."""
    group: Any = typer.main.get_command(app)
    above = context_of(group, "navibridge")
    lines = ["# Command line", "", "What `--help` says, command by command. The README shows them at work.", ""]
    lines += ["```", *help_of(above), "```"]
    for name, command in group.commands.items():
        help_text = help_of(context_of(command, name, parent=above))
        lines += ["", f"## navibridge {name}", "", "```", *help_text, "```"]
    return page(lines)


def context_of(command: Any, name: str, parent: Any = None) -> Any:
    """What a command makes its help from, at a width of its own."""
    widths = {"terminal_width": HELP_WIDTH, "max_content_width": HELP_WIDTH}
    return command.context_class(command, info_name=name, parent=parent, **widths, **command.context_settings)


def help_of(context: Any) -> list[str]:
    """A command's help."""
    return str(context.get_help()).rstrip().splitlines()


if __name__ == "__main__":
    main()
