"""Why an AWS IoT endpoint can not be reached: one plain request for the WebSocket, taken as far as it gets.

The AWS runtime gives one and the same error for a refused signature, for expired keys and for a service that is down,
takes 13 to 23 s to find a certificate untrusted, and waits without end for a server that hangs at the upgrade. This
module asks by itself, with Python's TLS and the signature of `navibridge.sigv4`, and can break off when it likes
(docs/protocol/navilink.md 2.1, docs/protocol/mysa.md 3.2).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from navibridge import sigv4
from navibridge.errors import ADVICE, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an AWS IoT endpoint is and how it is spoken to.

    Attributes:
        host: name or address; also what the certificate must name.
        port: of the TLS listener.
        ca_file: PEM file of the only authorities to trust; ``None`` for those of the system.
        region: that the URL is signed for.
        protocol: ``MQTT3`` is 3.1.1.
        keep_alive: seconds between pings; also how soon a silent connection is noticed.
        path: of the WebSocket.
    """

    host: str
    port: int = 443
    ca_file: str | None = None
    region: str = "us-east-1"
    protocol: Literal["MQTT3", "MQTT5"] = "MQTT3"
    keep_alive: int = 60
    path: str = "/mqtt"

    def __str__(self) -> str:
        """As log lines and messages name it."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary AWS credentials; ``expires_at`` is in seconds since the epoch. Their repr shows no secret."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: float


LIMIT: Final = 4.0
"""Seconds that finding the reason may take."""
_CLOCK_MATTERS: Final = frozenset({9, 10})
"""OpenSSL's verify codes of a certificate that is not valid yet, or no longer."""
_HEAD_LIMIT: Final = 16 * 1024


async def diagnose(
    endpoint: Endpoint,
    credentials: Credentials,
    *,
    limit: float = LIMIT,
    clock: Callable[[], float] = time.time,
) -> LinkError | None:
    """Why no connection can be opened: one plain request for the same upgrade, taken as far as it gets.

    Args:
        endpoint: to be asked.
        credentials: the request is signed with these.
        limit: seconds for the whole of it.
        clock: seconds since the epoch.

    Returns:
        The finding, or ``None`` when the upgrade is granted, so that at least now nothing is wrong. Its reason is one
        of the keys of `ADVICE`.
    """
    connected = False
    try:
        async with asyncio.timeout(limit):
            reader, writer = await _dial(endpoint)
            connected = True
            try:
                head = await _ask(endpoint, reader, writer, _upgrade_request(endpoint, credentials, clock()))
            finally:
                writer.transport.abort()
            _judge(endpoint, credentials, head, clock())
    except TimeoutError:
        text = "the request for a WebSocket was not answered" if connected else "no TLS connection"
        return _finding(endpoint, "timeout", f"{text} within {limit:g} s")
    except LinkError as finding:
        return finding
    return None


def unreadable_authorities(endpoint: Endpoint, error: Exception) -> LinkError:
    """The finding that there is nobody to trust."""
    return LinkError(
        f"the certificate authorities in {endpoint.ca_file} can not be read: {error}",
        reason="tls",
        what_to_do="Check ca_file: it has to be a readable PEM file.",
    )


async def _dial(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TLS connection, the addresses of the host tried one by one."""
    try:
        # In a thread: reading the system's authorities takes up to a fifth of a second on a small machine.
        trust = await asyncio.to_thread(ssl.create_default_context, cafile=endpoint.ca_file)
    except OSError as error:
        raise unreadable_authorities(endpoint, error) from error
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise _finding(endpoint, "dns", f"the host name can not be resolved: {error}") from error
    failure: LinkError | None = None
    for *_, (address, *_) in found:
        try:
            return await asyncio.open_connection(
                str(address), endpoint.port, ssl=trust, limit=_HEAD_LIMIT, server_hostname=endpoint.host
            )
        except OSError as error:
            failure = _dial_failure(endpoint, error)
    raise failure or _finding(endpoint, "dns", "the host name has no address")


def _dial_failure(endpoint: Endpoint, error: OSError) -> LinkError:
    match error:
        case ssl.SSLCertVerificationError():
            advice = ADVICE["clock"] if error.verify_code in _CLOCK_MATTERS else ""
            return _finding(endpoint, "tls", f"the certificate is not trusted: {error.verify_message}", advice)
        case ssl.SSLError():
            return _finding(endpoint, "tls", f"TLS failed: {error.reason or error}")
        case ConnectionRefusedError():
            return _finding(endpoint, "refused", "the connection was refused")
        case ConnectionError():
            return _finding(endpoint, "closed", "the connection was closed during the TLS handshake")
        case TimeoutError():
            return _finding(endpoint, "timeout", "the connection could not be made in time")
        case _:
            return _finding(endpoint, "unreachable", str(error.strerror or error))


async def _ask(endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    try:
        writer.write(request)
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError) as error:
        text = "the connection was closed instead of an answer to the upgrade"
        raise _finding(endpoint, "closed", text) from error
    except asyncio.LimitOverrunError as error:
        raise _finding(endpoint, "service", "this is no AWS IoT endpoint: its answer has no end") from error


def _upgrade_request(endpoint: Endpoint, credentials: Credentials, now: float) -> bytes:
    host = endpoint.host if endpoint.port == 443 else str(endpoint)  # noqa: PLR2004 - the port that goes without saying
    url = sigv4.presign(
        host,
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
        session_token=credentials.session_token,
        region=endpoint.region,
        now=now,
        path=endpoint.path,
    )
    lines = (
        f"GET {url.removeprefix(f'wss://{host}')} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: bmF2aWJyaWRnZS1wcm9iZQ==",
        "Sec-WebSocket-Protocol: mqtt",
        "\r\n",
    )
    return "\r\n".join(lines).encode()


def _judge(endpoint: Endpoint, credentials: Credentials, head: bytes, now: float) -> None:
    """Raise what the head of the answer says, unless the upgrade is granted."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    answer = re.match(r"HTTP/1\.[01] ([0-9]{3})", first)
    status = int(answer[1]) if answer else 0
    if status == HTTPStatus.SWITCHING_PROTOCOLS:
        return
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise _finding(endpoint, "service", f"the service turns everybody away ({status})")
    if status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise _finding(endpoint, "service", f"this is no AWS IoT endpoint: it answers {status or 'no HTTP'}")
    refused = f"the upgrade was refused ({status})"
    skew = _skew(headers.get("date"), now)
    if skew is not None and abs(skew) > sigv4.WINDOW:
        raise _finding(
            endpoint, "clock", f"{refused}: this clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
        )
    if now >= credentials.expires_at:
        refused += ": the credentials have expired"
    raise _finding(endpoint, "upgrade_refused", refused)


def _skew(date: str | None, now: float) -> float | None:
    """Seconds that this clock is ahead of the far end's."""
    try:
        return now - parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None


def _finding(endpoint: Endpoint, reason: str, text: str, advice: str = "") -> LinkError:
    return LinkError(f"{endpoint}: {text}", reason=reason, what_to_do=advice)
