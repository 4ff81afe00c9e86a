"""What this process holds: what is left over, or grows, shows here."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Of glibc; others have none."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """What it holds at one moment, once the garbage is collected and the C library has given back what it keeps.

    That grows by some MB in an hour of faults, with the sizes of what is asked for, and is none of the program's.

    Attributes:
        tasks: of the running loop, by name without numbers.
        descriptors: open files and sockets.
        threads: Python's, without those of the loop's own pool: it has few, and keeps them.
        blocks: of memory, whatever their size; exact, and the same for the same run.
        resident: MB, as the system counts them.
    """

    tasks: Counter[str]
    descriptors: int
    threads: int
    blocks: int
    resident: float

    @classmethod
    def now(cls) -> Belongings:
        gc.collect()
        if trim is not None:
            trim(0)
        with Path("/proc/self/statm").open(encoding="ascii") as statm:
            pages = int(statm.read().split()[1])
        return cls(
            tasks(),
            len([*Path("/proc/self/fd").iterdir()]),
            sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate()),
            sys.getallocatedblocks(),
            pages * 4096 / 1e6,
        )


def tasks() -> Counter[str]:
    """The tasks of the running loop, by name without numbers."""
    return Counter(task.get_name().rstrip("0123456789") for task in asyncio.all_tasks())
