"""A program in a network of its own, whose line is dead for a while: does what was published meanwhile arrive later?

    python dead_line.py PROTOCOL UNDELIVERED

The protocol is ``MQTT3``, ``MQTT5`` or ``HTTPS``; the number is seconds, see `navibridge.sockets`.

It prints ``arrived`` or ``never``, or why there can be no such network here and ends with `NO_NETWORK`.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.postbox import Postbox, endpoint

from navibridge.aws import CloudLink, Limits
from navibridge.demo.cloud import SimulatedCloud
from navibridge.errors import LinkError
from navibridge.rest import Rest

NO_NETWORK: Final = 77
DEAD: Final = 2.5
"""Seconds; the system sends again half a second later, since each of its pauses is twice as long as the one before."""

ALIVE_AGAIN: Final = 4.0

NEW_USER, NEW_NETWORK = 0x1000_0000, 0x4000_0000
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1
IFREQ: Final = struct.Struct("16sH14x")


def own_network() -> None:
    """Leave the machine's network for an empty one. Raises `OSError` where that is not allowed."""
    system = ctypes.CDLL(None, use_errno=True)
    if system.unshare(NEW_NETWORK) != 0 and system.unshare(NEW_USER | NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "no network of one's own")


def set_line(*, alive: bool) -> None:
    """Everything here goes over the loopback device."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _, flags = IFREQ.unpack(fcntl.ioctl(control, GET_FLAGS, IFREQ.pack(b"lo", 0)))
        fcntl.ioctl(control, SET_FLAGS, IFREQ.pack(b"lo", flags | UP if alive else flags & ~UP))


async def published(box: Postbox, cloud: SimulatedCloud, protocol: str, undelivered: float) -> None:
    """Publish a message on a dead line."""
    to = endpoint(cloud, protocol=protocol)
    link = await CloudLink.open(to, "me", box.credentials, limits=Limits(undelivered=undelivered))
    set_line(alive=False)
    await link.publish("post/1", b"too late", wait=False)


async def posted(cloud: SimulatedCloud, undelivered: float) -> None:
    """Post something on a dead line, and give up waiting for the answer."""
    url = f"https://localhost:{cloud.port}"
    async with Rest(url, ca_file=str(cloud.ca_file), total_timeout=DEAD / 2, undelivered=undelivered) as rest:
        await rest.request("GET", "/post")
        set_line(alive=False)
        with suppress(LinkError):
            await rest.request("POST", "/post", json="too late")


async def arrives(protocol: str, undelivered: float) -> bool:
    """Whether what was sent on a dead line arrives when that is alive again."""
    box = Postbox()

    def arrived() -> bool:
        return bool(box.posted) or any(request.method == "POST" for request in box.asked)

    async with SimulatedCloud([box]) as cloud:
        if protocol == "HTTPS":
            await posted(cloud, undelivered)
        else:
            await published(box, cloud, protocol, undelivered)
        await asyncio.sleep(DEAD)  # that long it is dead
        assert not arrived()
        set_line(alive=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(ALIVE_AGAIN):
                while not arrived():  # noqa: ASYNC110 - nothing tells of what does not come
                    await asyncio.sleep(0.1)
        return arrived()


def main(protocol: str, undelivered: str) -> int:
    try:
        own_network()
        set_line(alive=True)
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        return NO_NETWORK
    sys.stdout.write("arrived\n" if asyncio.run(arrives(protocol, float(undelivered))) else "never\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
