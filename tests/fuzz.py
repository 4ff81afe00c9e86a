"""Throws mangled frames at the decoders: ``python tests/fuzz.py [count] [seed]``.

Frames of every form are cut, flipped, spliced and filled with noise. A decoder may answer with a frame or with
`FrameError`; anything else is a failure, printed with the bytes that caused it.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from support import mysa, navilink

from navibridge.errors import FrameError
from navibridge.vendors.mysa import batch
from navibridge.vendors.mysa import devices as mysa_devices
from navibridge.vendors.mysa import frames as mysa_frames
from navibridge.vendors.mysa.explaining import explain as explain_mysa
from navibridge.vendors.navilink import devices, frames, packed, tcp
from navibridge.vendors.navilink.explaining import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXPLAINED_EVERY = 40
"""Explaining is slow and decodes with the same code, so only one frame in so many is explained."""

TOKENS = (
    b"null",
    b"true",
    b"-1",
    b"1e308",
    b"18446744073709551616",
    b'"x"',
    b"[]",
    b"{}",
    b"[1,2]",
    b'{"a":1}',
    b"0.5",
)


@dataclass(frozen=True)
class Target:
    """A decoder and whole frames to start from."""

    name: str
    frames: tuple[bytes, ...]
    decode: Callable[[bytes], object]
    explain: Callable[[bytes], object]


def decode_navilink(payload: bytes) -> None:
    """All that a session does with a payload."""
    frame = frames.parse(payload)
    for part in (frame, *frame.also):
        decoded = devices.decode(part, {"display_unit": "fahrenheit"})
        kind, _ = devices.table_of(part)
        kind.derive(decoded.values, decoded.values)
    devices.usage(frame.fields, 2025, 9, 5)


def navilink_frames() -> tuple[bytes, ...]:
    """The samples, and recorded frames of the types that no sample shows."""
    recorded = []
    for sort, length in ((1, 58), (2, 273), (3, 39), (3, 43), (4, 703), (5, 549), (6, 23)):
        fields: dict[str, int | str] = {"controlType": sort, "swVersionMajor": 16, "recordCount": 1}
        recorded.append(tcp.encode(fields, length))
    short = packed.encode_header(0x01000003, navilink.MAC) + packed.encode({"dhw_charge_per": 50}, count=3)
    return (*navilink.messages().values(), *recorded, short)


THERMOSTATS = tuple(mysa.thermostat(name) for name in mysa.NAMES)


def decode_mysa(payload: bytes) -> None:
    """All that a session does with a message of any model."""
    frame = mysa_frames.parse(payload)
    for device in THERMOSTATS:
        decoded = mysa_devices.decode(device, frame, {"mode": "cool"})
        device.kind.derive(decoded.values, decoded.values)
    if frame.form == "batch":
        decode_batch(frame.fields["readings"])


def decode_batch(blob: bytes) -> None:
    """Decode the readings; every byte is accounted for, and what is good encodes to itself."""
    found = batch.decode(blob)
    for reading in found.readings:
        assert not reading.checksum_ok or batch.encode((reading,)) == reading.data
        mysa_devices.decode_reading(THERMOSTATS[0], reading)
    assert sum(len(reading.data) for reading in found.readings) + found.skipped + len(found.remainder) == len(blob)


def mysa_frames_of_every_sort() -> tuple[bytes, ...]:
    """The samples of messages, batches and objects of the REST service."""
    names = (*mysa.MESSAGES, *mysa.BATCHES, "device_state_single", "device_update_available")
    return tuple(mysa.payload(name) for name in names if "truncated_json" not in name)


TARGETS: tuple[Target, ...] = (
    Target("navilink", navilink_frames(), decode_navilink, explain),
    Target("mysa", mysa_frames_of_every_sort(), decode_mysa, explain_mysa),
    Target("mysa readings", tuple(mysa.blob(name) for name in mysa.BATCHES), decode_batch, explain_mysa),
)


def mangle(whole: bytes, others: tuple[bytes, ...], random_: random.Random) -> bytes:
    """One frame, made wrong in one of seven ways."""
    data = bytearray(whole)
    match random_.randrange(7):
        case 0:
            return random_.randbytes(random_.randrange(64))
        case 1:
            return bytes(data[: random_.randrange(len(data) + 1)])
        case 2:
            for _ in range(random_.randrange(1, 6)):
                data[random_.randrange(len(data))] = random_.randrange(256)
        case 3:
            data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        case 4:
            other = random_.choice(others)
            return bytes(data[: random_.randrange(len(data))]) + other[random_.randrange(len(other)) :]
        case 5:
            return with_token(whole, random_)
        case _:
            at = random_.randrange(len(data) + 1)
            data[at:at] = random_.randbytes(random_.randrange(1, 9))
    return bytes(data)


def with_token(whole: bytes, random_: random.Random) -> bytes:
    """JSON stays JSON, but one value has another type."""
    colons = [index for index, byte in enumerate(whole) if byte == ord(":")]
    if not colons:
        return whole + random_.randbytes(2)
    start = random_.choice(colons) + 1
    end = start
    while end < len(whole) and whole[end] not in b",}]":
        end += 1
    return whole[:start] + random_.choice(TOKENS) + whole[end:]


def run(count: int, seed: int, targets: tuple[Target, ...] = TARGETS) -> Mapping[str, Counter[str]]:
    """Mangle and decode that many frames for each target; returns how often each outcome was met.

    Raises:
        AssertionError: a decoder raised something else than `FrameError`; names the bytes.
    """
    outcomes: dict[str, Counter[str]] = {}
    for target in targets:
        random_ = random.Random(f"{seed}/{target.name}")
        met = outcomes.setdefault(target.name, Counter())
        for number in range(count):
            payload = mangle(random_.choice(target.frames), target.frames, random_)
            look = target.explain if number % EXPLAINED_EVERY == 0 else target.decode
            try:
                look(payload)
            except FrameError as error:
                met[error.sort] += 1
            except Exception as error:
                raise AssertionError(f"{target.name}: {error!r} on {payload.hex()}") from error
            else:
                met["decoded"] += 1
    return outcomes


def main() -> None:
    """Run as a program."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    started = time.monotonic()
    for name, met in run(count, seed).items():
        refused = ", ".join(f"{sort} {times}" for sort, times in met.most_common() if sort != "decoded")
        took = time.monotonic() - started
        print(f"{name}: {count} frames in {took:.1f} s, {met['decoded']} decoded, nothing but FrameError: {refused}")  # noqa: T201 - a program's output


if __name__ == "__main__":
    main()
