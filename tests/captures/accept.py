#!/usr/bin/env python3
"""Writes the final states of captures beside them: ``python tests/captures/accept.py FILE.jsonl...``.

What is written is what the code makes of the capture now. Compare it with what the vendor's app showed, and correct it
by hand, before it is committed: from then on it is what has to come out.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.captured import final_states, opened, replayed

from navibridge.demo.broker import Broker


@dataclass
class _Address:
    host: str
    port: int


async def accept(path: Path) -> None:
    broker = Broker()
    port = await broker.listen()
    try:
        states = final_states(await replayed(_Address("127.0.0.1", port), *opened(path)))
    finally:
        await broker.close()
    beside = path.with_suffix(".expected.json")
    beside.write_text(json.dumps(states, indent=2, ensure_ascii=False) + "\n")
    print(f"{beside}: {len(states)} devices")  # noqa: T201 - a program


if __name__ == "__main__":
    for name in sys.argv[1:]:
        asyncio.run(accept(Path(name)))
