"""Requests to the IoT control plane, which are signed in their headers (`docs/protocol/mysa.md` 3.8)."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.simulation import Grant, Request

SERVICE: Final = "iot"
WINDOW: Final = 300.0
"""Seconds that the clocks of signer and checker may differ."""

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_AUTHORIZATION: Final = re.compile(
    rf"{_ALGORITHM} Credential=([^/,\s]+)/(\d{{8}}/[\w-]+/{SERVICE}/aws4_request), ?"
    r"SignedHeaders=([\w;-]+), ?Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Signed:
    """What an ``Authorization`` header says.

    Attributes:
        access_key: whose credentials were used.
        scope: date, region and service.
        headers: names of the signed headers, in order.
        signature: hexadecimal.
    """

    access_key: str
    scope: str
    headers: tuple[str, ...]
    signature: str

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Signed | None:
        """The signature of a request; ``None`` where there is none of this sort."""
        match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        return cls(match[1], match[2], tuple(match[3].split(";")), match[4]) if match else None


def is_genuine(request: Request, signed: Signed, grant: Grant, now: float) -> bool:
    """Whether a request without a query was signed with these credentials, just now."""
    headers = request.headers
    date = headers.get("x-amz-date", "")
    try:
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return False
    if "host" not in signed.headers or any(name not in headers for name in signed.headers):
        return False
    if headers.get("x-amz-security-token") != grant.session_token:
        return False
    lines = [
        request.method.upper(),
        request.path,
        "",
        *(f"{name}:{' '.join(headers[name].split())}" for name in signed.headers),
        "",
        ";".join(signed.headers),
        hashlib.sha256(request.body).hexdigest(),
    ]
    digest = hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()
    key = f"AWS4{grant.secret_key}".encode()
    for part in signed.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.digest(key, f"{_ALGORITHM}\n{date}\n{signed.scope}\n{digest}".encode(), "sha256").hex()
    timely = abs(now - signed_at) <= WINDOW and now < grant.expires_at
    return timely and hmac.compare_digest(expected, signed.signature)
