"""The sample payloads of NaviLink, as bytes and as the objects beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson

SAMPLES = Path(__file__).parent.parent / "samples" / "navilink"
MAC = "a1b2c3d4e5f6"
GAS_MAC = "a1b2c3d4e600"

PACKED_EXAMPLE = bytes.fromhex(
    "01000003 61316232 0113"
    "0063 007a 0079 0020 0002 0001 0001 0002 0001 0000 0000 ffc5 0002 0000 025d 0262 02f9 00ee 01d2"
)
"""The worked example of `docs/protocol/navilink-binary.md`."""


def sample(name: str) -> Any:
    """A sample file as it stands."""
    return json.loads((SAMPLES / f"{name}.json").read_text())


def payload(name: str) -> bytes:
    """What travels, of a sample message."""
    return orjson.dumps(sample(name)["payload"])


def binary(*path: str) -> bytes:
    """One of the recorded binary frames."""
    found = sample("binary_frames")
    for key in path:
        found = found[key]
    return bytes.fromhex(found)


def messages() -> dict[str, bytes]:
    """Every message of the samples, by where it stands."""
    found: dict[str, bytes] = {"packed_example": PACKED_EXAMPLE}

    def walk(node: Any, place: str) -> None:
        if isinstance(node, dict) and not {"clientID", "response"}.isdisjoint(node):
            found[place] = orjson.dumps(node)
        elif isinstance(node, dict):
            for key, child in node.items():
                walk(child, f"{place}/{key}")
        elif isinstance(node, str) and place.endswith("_hex"):
            found[place] = bytes.fromhex(node)

    for path in sorted(SAMPLES.glob("*.json")):
        if path.name.startswith(("mqtt_", "gas_", "binary_")):
            walk(json.loads(path.read_text()), path.stem)
    return found
