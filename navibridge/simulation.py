"""What a vendor's simulated cloud is, to the server that hosts it.

`navibridge.demo.cloud` serves any number of `Simulator`s on one TLS port: their REST services by host name and path,
and the AWS IoT endpoint at ``/mqtt``, where it verifies SigV4 signatures against the credentials that a simulator
granted. A simulator itself does no I/O: requests and published messages come in, replies and published messages go out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    """

    vendor: str
    hosts: frozenset[str]

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
