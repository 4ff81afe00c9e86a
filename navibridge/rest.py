"""A REST client over HTTPS that speaks JSON and raises only what `navibridge.errors` knows; the only HTTP client.

It judges what concerns every service alike (not reachable, busy, broken); what a status of 4xx means is the vendor's
business. No text it makes carries a query, a header or a body: these hold addresses and secrets.
"""

from __future__ import annotations

import errno
import functools
import logging
import socket
import ssl
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson

from navibridge.errors import LinkError, Throttled
from navibridge.sockets import UNDELIVERED, give_up_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

log = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for the TCP and TLS handshakes."""

TOTAL_TIMEOUT: Final = 30.0
"""Seconds for a whole request, its answer's body included."""

LARGEST_BODY: Final = 4 * 1024 * 1024
"""Bytes of an answer; more is no answer of the services we know, and a small machine has to hold it."""

START: Final = 200
"""Characters of a body that is no JSON kept for diagnosis."""

UNTRUSTED: Final = "Check this machine's clock and ca_file; if both are right, something intercepts the connection."

DEFAULT_PATIENCE: Final = 60.0
LONGEST_PATIENCE: Final = 3600.0
"""Seconds to wait when asked for patience without a time, and at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A service's answer.

    Attributes:
        status: HTTP status, 2xx or 4xx.
        body: the decoded JSON, ``None`` when the body was empty or (with a status of 4xx) no JSON.
        text_start: the first characters of a body that was no JSON.
        headers: by lower-case name.
    """

    status: int
    body: Any = field(repr=False)  # may hold tokens
    text_start: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


@functools.cache
def user_agent() -> str:
    """What we call ourselves."""
    try:
        return f"navibridge/{version('navibridge')}"
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "navibridge"


class Rest:
    """One REST service: ``async with`` opens its connections and closes them; it can be opened again afterwards.

    Args:
        base_url: scheme, host, and the path that every request's path is appended to.
        ca_file: PEM file of the only authorities trusted; ``None`` trusts the system's.
        connect_timeout: seconds, see `CONNECT_TIMEOUT`.
        total_timeout: seconds, see `TOTAL_TIMEOUT`.
        undelivered: seconds, see `navibridge.sockets.UNDELIVERED`.
        largest_body: bytes, see `LARGEST_BODY`.
        clock: seconds since the epoch, for a ``Retry-After`` that is a date.
        spend: called before each request; raises `Throttled` when it would be one too many.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ca_file: str | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        total_timeout: float = TOTAL_TIMEOUT,
        undelivered: float = UNDELIVERED,
        largest_body: int = LARGEST_BODY,
        clock: Callable[[], float] = time.time,
        spend: Callable[[], None] = lambda: None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._ca_file = ca_file
        self._timeout = aiohttp.ClientTimeout(total=total_timeout, sock_connect=connect_timeout)
        self._undelivered = undelivered
        self._largest_body = largest_body
        self._clock = clock
        self._spend = spend
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open. Raises `LinkError` when the file of authorities can not be read."""
        if self._session is not None:
            raise RuntimeError("is open already")
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise LinkError(
                f"the certificate authorities in {self._ca_file} can not be read: {error.strerror or error}",
                reason="tls",
                what_to_do="Check ca_file: it has to be a readable PEM file.",
            ) from error
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, socket_factory=self._socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": user_agent(), "Accept": "application/json"},
            timeout=self._timeout,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one request.

        Args:
            method: such as ``POST``.
            path: appended to the base URL.
            json: sent as the JSON body unless ``None``.
            query: parameters, not encoded yet.
            headers: further headers; a ``Content-Type`` here wins.

        Raises:
            Throttled: 429, or 503 with a time; or there were too many requests.
            LinkError: not reachable (``dns``, ``refused``, ``timeout``, ``tls``, ``closed``, ``unreachable``), or
                broken (``service``: 5xx, a redirect, a body that is no JSON or too large).
        """
        if self._session is None:
            raise LinkError("the REST client is closed", reason="closed")
        self._spend()
        sent = dict(headers or {})
        data = None
        if json is not None:
            data = orjson.dumps(json)
            if not any(name.lower() == "content-type" for name in sent):
                sent["Content-Type"] = "application/json"
        url = self._base_url + path
        try:
            async with self._session.request(
                method, url, params=query, data=data, headers=sent, allow_redirects=False
            ) as response:
                body = await self._read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise self._mapped(error, self._named(method, path)) from error
        log.debug("> %s: %d, %d bytes", self._named(method, path), response.status, len(body))
        return self._judged(response, body, self._named(method, path))

    def _socket(self, address: tuple[int, int, int, str, Any]) -> socket.socket:
        """A socket for an address, as `socket.getaddrinfo` has it."""
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        give_up_after(self._undelivered, made)
        return made

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._largest_body:
                response.close()
                raise LinkError(f"the answer is larger than {self._largest_body} bytes", reason="service")
            parts.append(part)
        return b"".join(parts)

    def _judged(self, response: aiohttp.ClientResponse, body: bytes, name: str) -> Answer:
        status = response.status
        headers = {key.lower(): value for key, value in response.headers.items()}
        if status == 429 or (status == 503 and "retry-after" in headers):  # noqa: PLR2004 - the numbers are the names
            patience = _patience(headers.get("retry-after"), self._clock())
            raise Throttled(f"{name}: asked for patience for {patience:.0f} s ({status})", retry_after=patience)
        if status >= 500:  # noqa: PLR2004 - as above
            raise LinkError(
                f"{name}: the service is out of order ({status})",
                reason="service",
                what_to_do="Nothing; outages of the service pass by themselves.",
            )
        if 300 <= status < 400:  # noqa: PLR2004 - as above
            raise LinkError(
                f"{name}: redirected ({status})",
                reason="service",
                what_to_do="Check whether this network asks for a login in a browser first.",
            )
        if not body.strip():
            return Answer(status, None, headers=headers)
        try:
            return Answer(status, orjson.loads(body), headers=headers)
        except orjson.JSONDecodeError as error:
            if status >= 400:  # noqa: PLR2004 - as above
                return Answer(status, None, body[: 4 * START].decode(errors="replace")[:START], headers)
            raise LinkError(
                f"{name}: the answer is not JSON ({status}, {response.content_type}, {len(body)} bytes)",
                reason="service",
                what_to_do="Check whether something between here and the service, such as a proxy, answers instead.",
            ) from error

    def _named(self, method: str, path: str) -> str:
        host = self._base_url.partition("://")[2].partition("/")[0]
        return f"{method} {host} {path}"

    def _mapped(self, error: Exception, name: str) -> LinkError:
        """What our users are told of a foreign exception; the most special class first."""
        advice = ""
        match error:
            case TimeoutError():
                total, connect = self._timeout.total, self._timeout.sock_connect
                reason, text = "timeout", f"no answer in time ({connect:g} s to connect, {total:g} s in all)"
            case aiohttp.ClientConnectorDNSError():
                reason, text = "dns", f"the host name is not known: {error.os_error.strerror}"
                advice = "Check the name server and the internet connection."
            case aiohttp.ClientConnectorCertificateError():
                reason, text, advice = "tls", str(error.certificate_error), UNTRUSTED
            case aiohttp.ClientSSLError() | ssl.SSLError():
                reason, text, advice = "tls", str(error), UNTRUSTED
            case aiohttp.ClientConnectorError() if error.errno == errno.ECONNREFUSED:
                reason, text = "refused", "connection refused"
            case aiohttp.ClientConnectorError():
                reason, text = "unreachable", error.os_error.strerror or str(error.os_error)
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
                reason, text = "closed", "the connection broke within the answer"
            case aiohttp.InvalidURL():
                reason, text, advice = "url", "not an address", "Check the configured URL."
            case aiohttp.ClientConnectionError() | OSError():
                reason, text = "unreachable", type(error).__name__
            case _:  # the peer speaks, but no HTTP that we understand
                reason, text = "service", type(error).__name__
        return LinkError(f"{name}: {text}", reason=reason, what_to_do=advice)


def _patience(retry_after: str | None, now: float) -> float:
    """The seconds that a ``Retry-After`` asks for: a number, or a date."""
    if retry_after is None:
        return DEFAULT_PATIENCE
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - now
        except ValueError:
            return DEFAULT_PATIENCE
    if seconds != seconds:  # noqa: PLR0124 - NaN is the only number that differs from itself
        return DEFAULT_PATIENCE
    return min(max(seconds, 1.0), LONGEST_PATIENCE)
