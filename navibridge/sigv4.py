"""Signature version 4 of the AWS IoT WebSocket URL: made, and checked.

AWS IoT signs the query of ``GET /mqtt``, with one peculiarity: the session token is added *after* signing and is no
part of what is signed (docs/protocol/navilink.md 2.1, docs/protocol/mysa.md 3.1). Clients differ in the headers they
sign and in where they put the token, so the checking half rebuilds what the client says it has signed and takes no form
for granted.

Pure: the time is an argument. Nothing here logs, since all of it is secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVICE: Final = "iotdevicegateway"
ALGORITHM: Final = "AWS4-HMAC-SHA256"
WINDOW: Final = 300.0
"""Seconds that the clocks of signer and checker may differ, either way."""
MAX_EXPIRES: Final = 86_400
"""Largest ``X-Amz-Expires``, in seconds."""

_TERMINATOR: Final = "aws4_request"
_EMPTY_BODY: Final = hashlib.sha256(b"").hexdigest()
_SIGNATURE: Final = "X-Amz-Signature"
_TOKEN: Final = "X-Amz-Security-Token"  # noqa: S105 - the parameter's name, no secret
_REQUIRED: Final = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", _SIGNATURE)


class Refusal(StrEnum):
    """Why a signed request is refused. The far end is told none of this: a real endpoint answers 403 to all of them."""

    MALFORMED = "malformed"  # a parameter is missing, doubled or unreadable, or a signed header did not come
    SCOPE = "scope"  # signed for another day, region or service
    DATE = "date"  # the signer's clock is off by more than the window
    EXPIRED = "expired"  # the URL is older than its own X-Amz-Expires
    CREDENTIALS_EXPIRED = "credentials_expired"
    TOKEN = "token"  # noqa: S105 - not the one that was issued with the key
    TOKEN_SIGNED = "token_signed"  # noqa: S105 - the token is part of the signature, as ordinary signers do it
    SIGNATURE = "signature"  # any other host, path, secret or parameter than was signed


def presign(
    host: str,
    *,
    access_key: str,
    secret_key: str,
    session_token: str,
    region: str,
    now: float,
    path: str = "/mqtt",
    expires: int | None = None,
) -> str:
    """The signed ``wss`` URL of an AWS IoT endpoint.

    Args:
        host: exactly what the ``Host`` header of the request will say, with the port if that says it.
        access_key: of temporary credentials, as are the next two.
        secret_key: never part of the URL.
        session_token: follows the signature.
        region: such as ``us-east-1``.
        now: seconds since the epoch.
        path: of the WebSocket.
        expires: ``X-Amz-Expires`` in seconds; without it only the receiver's window limits the URL.
    """
    date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = _scope(date, region)
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{access_key}/{scope}",
        "X-Amz-Date": date,
        "X-Amz-SignedHeaders": "host",
    }
    if expires is not None:
        parameters["X-Amz-Expires"] = str(expires)
    query = _canonical_query(parameters.items())
    signature = _sign("GET", path, query, [("host", host)], date=date, scope=scope, secret_key=secret_key)
    return f"wss://{host}{path}?{query}&{_SIGNATURE}={signature}&{_TOKEN}={_strict(session_token)}"


def access_key_of(query: str) -> str | None:
    """The access key id that a query string says it was signed with, ``None`` where it says none."""
    for name, value in _parameters(query):
        if name == "X-Amz-Credential":
            return value.partition("/")[0] or None
    return None


def verify(
    query: str,
    *,
    headers: Mapping[str, str],
    secret_key: str,
    session_token: str,
    expires_at: float,
    now: float,
    region: str | None = None,
    method: str = "GET",
    path: str = "/mqtt",
) -> Refusal | None:
    """Check a signed request; ``None`` means that it is genuine and timely.

    Args:
        query: the query string as received, still percent-encoded.
        headers: as received, names in lower case.
        secret_key: the secret issued with the access key id (see `access_key_of`).
        session_token: the token issued with it.
        expires_at: when these credentials expire, seconds since the epoch.
        now: seconds since the epoch.
        region: that the request must be signed for; any when ``None``.
        method: of the request.
        path: of the request.
    """
    signed = _read(query, headers)
    if signed is None:
        return Refusal.MALFORMED
    if signed.scope != _scope(signed.date, region or signed.region):
        return Refusal.SCOPE

    # The signature is judged before the times: only a genuine request is worth a finer answer.
    def matches(parameters: Iterable[tuple[str, str]]) -> bool:
        canonical = _canonical_query(parameters)
        expected = _sign(
            method, path, canonical, signed.headers, date=signed.date, scope=signed.scope, secret_key=secret_key
        )
        return hmac.compare_digest(signed.signature.encode(), expected.encode())

    if not matches(signed.parameters):
        ordinary = matches([*signed.parameters, (_TOKEN, signed.token)])
        return Refusal.TOKEN_SIGNED if ordinary else Refusal.SIGNATURE
    if not hmac.compare_digest(signed.token.encode(), session_token.encode()):
        return Refusal.TOKEN
    return _judge_times(signed, now, expires_at)


@dataclass(frozen=True, slots=True)
class _Signed:
    """A signed request taken apart: what it says of itself, nothing checked but the form."""

    signature: str = field(repr=False)
    token: str = field(repr=False)
    parameters: list[tuple[str, str]] = field(repr=False)  # all but those two
    headers: list[tuple[str, str]]
    date: str
    signed_at: float
    scope: str
    expires: int | None

    @property
    def region(self) -> str:
        return self.scope.split("/")[1] if "/" in self.scope else ""


def _read(query: str, headers: Mapping[str, str]) -> _Signed | None:
    pairs = _parameters(query)
    given = dict(pairs)
    if len(given) != len(pairs) or any(not given.get(name) for name in _REQUIRED):
        return None
    signed_at = _seconds(given["X-Amz-Date"])
    signed_headers = _signed_headers(given["X-Amz-SignedHeaders"], headers)
    expires = given.get("X-Amz-Expires", "1")
    if (
        given["X-Amz-Algorithm"] != ALGORITHM
        or signed_at is None
        or signed_headers is None
        or not re.fullmatch(r"[0-9]{1,5}", expires)
        or not 1 <= int(expires) <= MAX_EXPIRES
    ):
        return None
    return _Signed(
        signature=given[_SIGNATURE],
        token=given.get(_TOKEN, ""),
        parameters=[pair for pair in pairs if pair[0] not in (_SIGNATURE, _TOKEN)],
        headers=signed_headers,
        date=given["X-Amz-Date"],
        signed_at=signed_at,
        scope=given["X-Amz-Credential"].partition("/")[2],
        expires=int(expires) if "X-Amz-Expires" in given else None,
    )


def _judge_times(signed: _Signed, now: float, expires_at: float) -> Refusal | None:
    if abs(now - signed.signed_at) > WINDOW:
        return Refusal.DATE
    if signed.expires is not None and now > signed.signed_at + signed.expires:
        return Refusal.EXPIRED
    if now >= expires_at:
        return Refusal.CREDENTIALS_EXPIRED
    return None


def _scope(date: str, region: str) -> str:
    return f"{date[:8]}/{region}/{SERVICE}/{_TERMINATOR}"


def _strict(text: str) -> str:
    """Percent-encoding as signatures need it: everything but letters, digits and ``-._~``."""
    return quote(text, safe="-._~")


def _canonical_query(parameters: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted((_strict(n), _strict(v)) for n, v in parameters))


def _parameters(query: str) -> list[tuple[str, str]]:
    """The decoded pairs of a query string; a ``+`` stays one, since signers do not mean a blank by it."""
    # A server may hand on bytes that are no UTF-8 as lone surrogates, which nothing below could encode.
    text = query.encode("utf-8", "replace").decode()
    pairs = (item.partition("=") for item in text.split("&") if item)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _signed_headers(names: str, headers: Mapping[str, str]) -> list[tuple[str, str]] | None:
    """Name and value of each signed header, as listed; ``None`` if one did not come or the host is not signed."""
    listed = names.split(";")
    if "host" not in listed or any(name not in headers for name in listed):
        return None
    return [(name, " ".join(headers[name].split())) for name in listed]


def _seconds(date: str) -> float | None:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _sign(
    method: str,
    path: str,
    query: str,
    headers: Iterable[tuple[str, str]],
    *,
    date: str,
    scope: str,
    secret_key: str,
) -> str:
    headers = list(headers)
    lines = [
        method,
        path,
        query,
        *(f"{name}:{value}" for name, value in headers),
        "",
        ";".join(name for name, _ in headers),
        _EMPTY_BODY,
    ]
    canonical = hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, f"{ALGORITHM}\n{date}\n{scope}\n{canonical}".encode(), "sha256").hex()
