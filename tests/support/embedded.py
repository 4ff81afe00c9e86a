"""The embedded broker as a program of its own, in the place of Mosquitto: ``python embedded.py PORT DIRECTORY``.

It can be stopped, killed and paused as any program. At an orderly stop it leaves its retained messages in the
directory, and takes up those that it finds there; ``passwords.json`` beside them has the users, if there are any.
"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from pathlib import Path

from navibridge.demo.broker import Broker, Rules

KEPT = "retained.json"
PASSWORDS = "passwords.json"
LARGEST = 256 * 1024 * 1024
"""Bytes of a packet, as Mosquitto has it."""


async def main(port: int, directory: Path) -> None:
    passwords = directory / PASSWORDS
    broker = Broker(
        rules=Rules(
            max_packet_size=LARGEST, passwords=json.loads(passwords.read_text()) if passwords.exists() else None
        )
    )
    if (kept := directory / KEPT).exists():
        for topic, payload in json.loads(kept.read_text()).items():
            broker.publish(topic, base64.b64decode(payload), qos=1, retain=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await broker.listen("127.0.0.1", port)
    await stopped.wait()
    # As Mosquitto does it, whoever is connected gets its last will.
    for principal in {client.principal for client in broker.clients.values()}:
        broker.disconnect(principal)
    await broker.close()
    kept.write_text(json.dumps({topic: base64.b64encode(what).decode() for topic, what in broker.retained.items()}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
