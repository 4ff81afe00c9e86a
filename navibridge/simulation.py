"""What a vendor's simulated cloud is, to the server that hosts it.

`navibridge.demo.cloud` serves any number of `Simulator`s on one TLS port: their REST services by host name and path,
and the AWS IoT endpoint at ``/mqtt``, where it verifies SigV4 signatures against the credentials that a simulator
granted. A simulator itself does no I/O: requests and published messages come in, replies and published messages go out.

`Agenda`, `live` and `RestFault` are what every simulator is built with.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to a simulated REST service; header names are lower case."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """Its answer: a body of JSON (any object), of text, or of bytes, with a status and a delay in seconds."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """Temporary AWS credentials that a simulator issued.

    Attributes:
        secret_key: the secret that signatures are verified with.
        session_token: must come with the request, outside the signature.
        expires_at: seconds since the epoch; a handshake after it is refused.
        principal: whom they were issued to; what `Simulator.may_subscribe` is asked about.
    """

    secret_key: str
    session_token: str
    expires_at: float
    principal: str


@dataclass(slots=True)
class Manners:
    """How a vendor's MQTT endpoint behaves where accounts at AWS IoT differ; may be changed while it runs.

    Attributes:
        close_on_forbidden: a filter or topic that the policy forbids ends the connection; otherwise the filter is
            answered as refused, and the message is dropped.
        max_subscriptions: filters per connection, further ones are answered as refused; ``None`` for any number.
        quiet_seconds: how long deliveries to a client are held back after its last SUBSCRIBE.
    """

    close_on_forbidden: bool = True
    max_subscriptions: int | None = None
    quiet_seconds: float = 0.0


class Cloud(Protocol):
    """What a running simulator is handed: the way to its devices' listeners."""

    def publish(self, topic: str, payload: bytes, *, qos: int = 0) -> None:
        """Publish as a device (or the service) does; goes to every matching subscription."""
        ...

    def disconnect(self, principal: str) -> None:
        """Cut every connection of a principal, without a word."""
        ...


class Simulator(Protocol):
    """A vendor's simulated cloud.

    Attributes:
        vendor: folder name.
        hosts: the vendor's real host names, REST and IoT; the server's certificate names them too.
        manners: of its MQTT endpoint.
    """

    vendor: str
    hosts: frozenset[str]
    manners: Manners

    def serves(self, request: Request) -> bool:
        """Whether this simulator answers a request whose host name is none of anybody's `hosts`."""
        ...

    async def rest(self, request: Request) -> Reply:
        """Answer a REST request."""
        ...

    def grant(self, access_key: str) -> Grant | None:
        """The credentials of an access key id, if issued here; expired ones too."""
        ...

    def may_subscribe(self, principal: str, client_id: str, topic_filter: str) -> bool:
        """Whether the account's policy allows the filter."""
        ...

    def may_publish(self, principal: str, client_id: str, topic: str) -> bool:
        """Whether the account's policy allows publishing there."""
        ...

    def received(self, principal: str, client_id: str, topic: str, payload: bytes) -> None:
        """A client published; called after the broker has distributed the message."""
        ...

    async def run(self, cloud: Cloud) -> None:
        """Live the devices' lives until cancelled."""
        ...

    def account(self, host: str, port: int, ca_file: str) -> dict[str, Any]:
        """The account section of a configuration that points a bridge at this simulator."""
        ...


class Agenda:
    """What is to happen, and when; whoever owns it calls `run` often enough.

    Args:
        now: seconds on any clock that only goes forward.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self.on_entry: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def now(self) -> float:
        """The clock everything is planned by."""
        return self._now()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Plan an action; those of the same time happen in the order they were planned."""
        heapq.heappush(self._entries, (time, next(self._number), action))
        self.on_entry()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan an action that many seconds from now."""
        self.at(self._now() + seconds, action)

    def run(self) -> float:
        """Do what is due.

        Returns:
            Seconds until the next entry, infinite when there is none.
        """
        # What the actions themselves plan for "at once" waits for the next round: an endless loop is impossible.
        due = []
        while self._entries and self._entries[0][0] <= self._now():
            due.append(heapq.heappop(self._entries))
        for _, _, action in due:
            action()
        return max(self._entries[0][0] - self._now(), 0.0) if self._entries else float("inf")


async def live(agenda: Agenda, advance: Callable[[], float]) -> None:
    """Call ``advance`` as often as it wants, and whenever something is put on the agenda; until cancelled.

    Args:
        agenda: whose new entries may be due earlier.
        advance: does what is due, and returns the seconds until it wants to be called again.
    """
    awake = asyncio.Event()
    agenda.on_entry = awake.set
    try:
        while True:
            awake.clear()
            pause = advance()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await awake.wait()
    finally:
        agenda.on_entry = lambda: None


@dataclass(slots=True)
class RestFault:
    """What a REST request is answered instead of the truth; simulators keep them by path or operation.

    Attributes:
        status: HTTP status; ``None`` keeps the real answer, only later.
        body: any JSON object, or text or bytes with another content type.
        content_type: of the body.
        headers: further headers, such as ``Retry-After``.
        delay: seconds before the answer.
        times: how often; ``None`` for until it is taken away.
    """

    status: int | None = None
    body: Any = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    times: int | None = None

    @classmethod
    def outage(cls, *, times: int | None = None) -> RestFault:
        """The gateway's HTML page while the service behind it is away."""
        return cls(504, "<html><body>504 Gateway Time-out</body></html>", "text/html", times=times)

    @classmethod
    def take(cls, faults: MutableMapping[str, RestFault], name: str) -> RestFault | None:
        """The fault of that name, or of all (``*``); one that has happened often enough is taken away."""
        for key in (name, "*"):
            fault = faults.get(key)
            if fault is None:
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    del faults[key]
            return fault
        return None
