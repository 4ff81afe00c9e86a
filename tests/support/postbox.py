"""A tiny vendor for the tests of what lies below the vendors: one credential, no devices, messages kept."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from navibridge.diagnosis import Credentials, Endpoint
from navibridge.simulation import Grant, Manners, Reply, Request

if TYPE_CHECKING:
    from navibridge.demo.cloud import SimulatedCloud
    from navibridge.simulation import Cloud

ACCESS_KEY = "ASIAPOSTBOX"
SECRET_KEY = "a+secret/key"
TOKEN = "a+session/token=="
HOST = "postbox.example"


class Postbox:
    """A simulator whose policy allows the topics under ``post/`` and nothing else."""

    def __init__(self, vendor: str = "postbox", access_key: str = ACCESS_KEY) -> None:
        self.vendor = vendor
        self.hosts = frozenset({HOST})
        self.manners = Manners()
        self.access_key = access_key
        self.expires_at = time.time() + 3600
        self.posted: list[tuple[str, str, str, bytes]] = []
        self.asked: list[Request] = []
        self.reply = Reply({"ok": True})
        self.cloud: Cloud | None = None

    def serves(self, request: Request) -> bool:
        return request.path.startswith("/post")

    async def rest(self, request: Request) -> Reply:
        self.asked.append(request)
        return self.reply

    def grant(self, access_key: str) -> Grant | None:
        if access_key != self.access_key:
            return None
        return Grant(SECRET_KEY, TOKEN, self.expires_at, principal="owner")

    def may_subscribe(self, principal: str, client_id: str, topic_filter: str) -> bool:
        return topic_filter.startswith("post/") and bool(principal and client_id)

    def may_publish(self, principal: str, client_id: str, topic: str) -> bool:
        return self.may_subscribe(principal, client_id, topic)

    def received(self, principal: str, client_id: str, topic: str, payload: bytes) -> None:
        self.posted.append((principal, client_id, topic, payload))

    async def run(self, cloud: Cloud) -> None:
        self.cloud = cloud
        await asyncio.Event().wait()

    def account(self, host: str, port: int, ca_file: str) -> dict[str, Any]:
        return {"vendor": self.vendor, "host": host, "port": port, "ca_file": ca_file}

    def credentials(self) -> Credentials:
        """What a client of it signs with."""
        return Credentials(self.access_key, SECRET_KEY, TOKEN, self.expires_at)


def endpoint(cloud: SimulatedCloud, **changes: Any) -> Endpoint:
    """The way to the simulated cloud's ``/mqtt``."""
    return Endpoint(**({"host": "localhost", "port": cloud.port, "ca_file": cloud.ca_file} | changes))
