"""Devices to announce: two made-up kinds that have one of everything, and the vendors' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from navibridge import vendors
from navibridge.model import (
    ACTION,
    CODE,
    CURRENT,
    ENERGY,
    FLAG,
    HOURS,
    HUMIDITY,
    NUMBER,
    OPTION,
    PERCENT,
    POWER,
    RUNNING,
    TEMPERATURE,
    TEMPERATURE_DELTA,
    TEXT,
    TIME,
    Attribute,
    Composite,
    Device,
    Kind,
    Range,
)
from navibridge.vendors.navilink import devices, frames

NAVILINK = Path(__file__).parent.parent / "samples" / "navilink"

HEATER = Kind(
    "heater",
    "Acme",
    (
        Attribute("mode", "Mode", OPTION, writes=True, options=("off", "eco", "electric")),
        Attribute("current_temperature", "Water temperature", TEMPERATURE),
        Attribute("target_temperature", "Target", TEMPERATURE, writes=True, within=Range(40.5, 65.5), step=0.5),
        Attribute("power_state", "On", FLAG, writes=True),
        Attribute(
            "operation_mode", "Operation mode", OPTION, writes=True, options=("slow", "vacation"), icon="mdi:fan"
        ),
        Attribute("source", "Source", OPTION, options=("pump", "none")),
        Attribute("days", "Vacation days", NUMBER, writes=True, within=Range(1, 30), step=1, category="config"),
        Attribute("loop_temperature", "Loop", TEMPERATURE, writes=True, within=Range(17.5, 60), step=0.5),
        Attribute("loop_margin", "Margin", TEMPERATURE_DELTA, writes=True, within=Range(0, 10), step=0.5),
        Attribute("superheat", "Superheat", TEMPERATURE_DELTA, category="diagnostic", enabled=False),
        Attribute("valve", "Valve", PERCENT, writes=True, within=Range(0, 100), step=5),
        Attribute("power", "Power", POWER),
        Attribute("energy", "Energy", ENERGY),
        Attribute("current", "Current", CURRENT),
        Attribute("hours", "Hours", HOURS),
        Attribute("running", "Compressor", RUNNING),
        Attribute("boost", "Boost", FLAG, writes=True, category="config"),
        Attribute("locked", "Locked", FLAG, writes=True, writable_when=lambda _: False, category="config"),
        Attribute("error", "Error code", CODE, category="diagnostic"),
        Attribute("note", "Note", TEXT, writes=True),
        Attribute("since", "Since", TIME),
        Attribute("reset", "Reset filter", ACTION, writes=True, category="config"),
        Attribute("can_fly", "Can fly", FLAG, category="diagnostic", enabled=False, announced=False),
    ),
    (
        Composite(
            "water_heater",
            "water_heater",
            {
                "mode": "mode",
                "current_temperature": "current_temperature",
                "temperature": "target_temperature",
                "power": "power_state",
            },
        ),
    ),
)

THERMOSTAT = Kind(
    "thermostat",
    "Acme",
    (
        Attribute("mode", "Mode", OPTION, writes=True, options=("off", "heat", "cool", "fan_only")),
        Attribute("action", "Action", OPTION, options=("off", "heating", "cooling", "fan", "idle")),
        Attribute("room", "Temperature", TEMPERATURE),
        Attribute("humidity", "Humidity", HUMIDITY),
        Attribute("setpoint", "Setpoint", TEMPERATURE, writes=True, within=Range(5, 30), step=0.5),
        Attribute("fan", "Fan", OPTION, writes=True, options=("auto", "low", "high")),
        Attribute("swing", "Swing", OPTION, writes=True, options=("on", "off")),
        Attribute("swing_across", "Swing across", OPTION, writes=True, options=("left", "right")),
        Attribute("on", "On", FLAG, writes=True),
    ),
    (
        Composite(
            "climate",
            "thermostat",
            {
                "mode": "mode",
                "action": "action",
                "current_temperature": "room",
                "current_humidity": "humidity",
                "temperature": "setpoint",
                "fan_mode": "fan",
                "swing_mode": "swing",
                "swing_horizontal_mode": "swing_across",
                "power": "on",
            },
        ),
    ),
)


def device(kind: Kind, *, name: str = "Boiler", without: tuple[str, ...] = (), **changes: Any) -> Device:
    rows = tuple(row for row in kind.resolve({}) if row.key not in without)
    return Device("acme", "a1", name, kind, rows, **changes)


def every_kind() -> list[Device]:
    """One device of every kind of every vendor, of which nothing is known yet."""
    return [
        Device(name, "a1b2c3", "Basement", kind, kind.resolve({}), model="M", firmware="1", serial="S")
        for name in vendors.names()
        for kind in vendors.load(name).KINDS
    ]


def water_heater_of_the_samples() -> Device:
    """The heat pump that the sample payloads describe, with what it can do and what it said."""
    features, said = (
        devices.HEAT_PUMP.decode(frame.form, frame.fields).values
        for frame in (
            frames.parse(
                json.dumps(json.loads((NAVILINK / f"mqtt_{name}_response.json").read_text())["payload"]).encode()
            )
            for name in ("did", "status")
        )
    )
    known = {**said, **features}
    known |= devices.HEAT_PUMP.derive({}, known)
    rows = devices.HEAT_PUMP.resolve(features, frozenset(known))
    return Device("navilink", "a1b2c3d4e5f6", "Basement", devices.HEAT_PUMP, rows, model="NWP500", serial="S1")
