"""A made-up kind of device with an attribute of every sort, for tests of the core."""

from __future__ import annotations

from navibridge.model import (
    ACTION,
    CODE,
    ENERGY,
    FLAG,
    NUMBER,
    OPTION,
    POWER,
    TEMPERATURE,
    TEMPERATURE_DELTA,
    TEXT,
    Alert,
    Attribute,
    Codec,
    Composite,
    Device,
    Kind,
    Range,
    UnknownRaw,
    Values,
    Wire,
)

PLAIN = Codec("as it is", lambda raw: raw, lambda value: value)
TENTHS = Codec("tenths", lambda raw: raw / 10, lambda value: round(value * 10))
WORDS = {1: "slow", 2: "fast"}


def _word(raw: object) -> str:
    if raw not in WORDS:
        raise UnknownRaw(raw)
    return WORDS[raw]  # type: ignore[index]


SPEED_WORD = Codec("speed", _word, lambda value: {word: raw for raw, word in WORDS.items()}[value])


def derive(before: Values, now: Values) -> Values:
    """Doubles the counter, and remembers the speed before."""
    counter = now.get("counter")
    doubled = counter * 2 if isinstance(counter, int) else None
    return {"doubled": doubled, "speed_before": before.get("speed")}


GADGET = Kind(
    name="gadget",
    manufacturer="Acme",
    attributes=(
        Attribute("room", "Room temperature", TEMPERATURE, reads=(Wire("json", "room", TENTHS),)),
        Attribute(
            "target",
            "Target",
            TEMPERATURE,
            reads=(Wire("json", "tgt", TENTHS), Wire("blob", "target", PLAIN)),
            writes=True,
            within=lambda features: Range(10, float(features.get("hottest") or 30)),
            step=0.5,
        ),
        Attribute("superheat", "Superheat", TEMPERATURE_DELTA, reads=(Wire("json", "sh", TENTHS),)),
        Attribute("power", "Power", POWER, reads=(Wire("json", "w", PLAIN),)),
        Attribute("energy", "Energy", ENERGY, integrates="power", needs=("power",)),
        Attribute(
            "lamp",
            "Lamp",
            FLAG,
            reads=(Wire("json", "lamp", PLAIN),),
            writes=True,
            aliases=("light",),
            category="config",
        ),
        Attribute(
            "speed",
            "Speed",
            OPTION,
            reads=(Wire("json", "spd", SPEED_WORD),),
            writes=True,
            options=("slow", "fast"),
        ),
        Attribute("speed_before", "Speed before", OPTION, options=("slow", "fast"), needs=("speed",)),
        Attribute(
            "counter", "Counter", NUMBER, reads=(Wire("json", "n", PLAIN),), writes=True, within=Range(0, 10), step=1
        ),
        Attribute("doubled", "Doubled", NUMBER, needs=("counter",)),
        Attribute("label", "Label", TEXT, reads=(Wire("json", "label", PLAIN),), writes=True),
        Attribute("error", "Error code", CODE, reads=(Wire("json", "err", PLAIN),), category="diagnostic"),
        Attribute(
            "extra",
            "Extra",
            NUMBER,
            reads=(Wire("json", "x", PLAIN),),
            when=lambda features: bool(features.get("extra")),
        ),
        Attribute("reset", "Reset", ACTION, writes=True, category="config"),
    ),
    composites=(Composite("climate", "climate", {"current_temperature": "room", "temperature": "target"}),),
    ignored={"json": frozenset({"envelope"})},
    derive=derive,
)

ALERTS = (
    Alert("hot", "room", above=40, words="Room is {value} °C, above {limit} °C"),
    Alert("cold", "room", below=5, words="Room is {value} °C, below {limit} °C"),
    Alert("error", "error", unless=0, explain=lambda values: f"Error {values['error']}"),
)


def gadget(name: str = "Hall", device_id: str = "a1", **features: object) -> Device:
    """One gadget with all its attributes."""
    resolved = GADGET.resolve(features)  # type: ignore[arg-type]
    return Device("acme", device_id, name, GADGET, attributes=resolved, alerts=ALERTS, model="G1")
