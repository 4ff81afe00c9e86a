"""The sample payloads of Mysa, as bytes and as the objects in them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from navibridge.vendors.mysa import devices, frames

SAMPLES = Path(__file__).parent.parent / "samples" / "mysa"

V1, V2, LITE, IN_FLOOR, AC, AC_2 = (f"02a17e4b1c0{number}" for number in range(1, 7))
NAMES = {"v1": V1, "v2": V2, "lite": LITE, "in_floor": IN_FLOOR, "ac": AC, "ac_2": AC_2}

BATCHES = sorted(path.stem for path in SAMPLES.glob("batch_*.json") if not path.name.endswith(".expected.json"))
MESSAGES = sorted(path.name for path in SAMPLES.iterdir() if path.name.startswith(("in_", "out_")))

EXAMPLES = {
    "v0": "caa0 00 c0d66869 d800 b300 b900 2f 3e ba00 7200 9d01 a011 3a 01 60",
    "v1": "caa0 01 c0d66869 f000 d500 f000 2c 28 7800 b400 5001 e817 32 01 f100 0d",
    "v3": "caa0 03 c0d66869 f600 c500 cd00 29 2f 8d00 a800 4601 421c 3f 01 ef00 7302 000000 1a",
    "odd": "caa0 03 a2d66869 f500 c400 cd00 29 00 7b00 ba00 4101 431c ff 01 ef00 7102 cd0000 b8",
    "cold": "caa0 03 a2d66869 e8ff bcff 3200 47 00 0000 3001 0f00 641b 01 00 0000 0000 000000 7d",
}
"""The worked examples of `docs/protocol/mysa.md` 5.3."""


def payload(name: str) -> bytes:
    """A sample file as it travels."""
    found = SAMPLES / name
    return (found if found.suffix else found.with_suffix(".json")).read_bytes()


def sample(name: str) -> Any:
    """The object in a sample file."""
    return json.loads(payload(name))


def blob(name: str) -> bytes:
    """The readings in a sample message."""
    return base64.b64decode(sample(name)["body"]["readings"])


def example(name: str) -> bytes:
    """One of the worked examples."""
    return bytes.fromhex(EXAMPLES[name])


def listed(name: str) -> dict[str, Any]:
    """A device's entry in the account's list, by its id or a short name."""
    found: dict[str, Any] = sample("devices")["DevicesObj"][NAMES.get(name, name)]
    return found


def state(name: str) -> dict[str, Any]:
    """A device's reported state, by its id or a short name."""
    found: dict[str, Any] = sample("devices_state")["DeviceStatesObj"][NAMES.get(name, name)]
    return found


def thermostat(name: str, **changed: Any) -> devices.Thermostat:
    """A sample device with everything that its family may have."""
    return devices.build(listed(name) | changed, user=sample("users")["User"])


def values(device: devices.Thermostat, *names: str, **known: Any) -> dict[str, Any]:
    """What a device is known to be after these sample messages, derived values included."""
    found: dict[str, Any] = dict(known)
    for name in names:
        frame = frames.parse(payload(name))
        before = dict(found)
        found.update(devices.decode(device, frame, found).values)
        found.update(device.kind.derive(before, found))
    return found | device.kind.derive(found, found)
