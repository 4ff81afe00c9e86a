"""Why an endpoint can not be reached: walls of every sort, and what is said of them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from support.postbox import Postbox, endpoint

from navibridge.demo.cloud import SimulatedCloud
from navibridge.diagnosis import Credentials, Endpoint, diagnose
from navibridge.errors import ADVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = 1_768_478_400.0  # 2026-01-15 12:00 UTC
KEYS = Credentials("ASIAEXAMPLE", "secret", "token", NOW + 3600)


@asynccontextmanager
async def wall(
    answer: bytes | None,
    path: Path,
    *,
    names: tuple[str, ...] = ("localhost",),
    not_before: datetime | None = None,
) -> AsyncIterator[Endpoint]:
    """A TLS server that answers any request like this and closes; it never answers for ``None``."""
    authority = trustme.CA()
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names, not_before=not_before).configure_cert(trust)
    authority.cert_pem.write_to_path(path / "ca.pem")
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await over.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=trust)
    async with server:
        yield Endpoint("localhost", server.sockets[0].getsockname()[1], ca_file=str(path / "ca.pem"))
        over.set()


def head(first: str, **headers: str) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def reason_of(to: Endpoint, *, limit: float = 3.0) -> tuple[str, str]:
    found = await diagnose(to, KEYS, limit=limit, clock=lambda: NOW)
    assert found is not None
    assert found.what_to_do
    assert found.reason in ADVICE
    assert str(to) in str(found) or (to.ca_file or "") in str(found)
    return found.reason, str(found)


async def test_a_granted_upgrade_is_no_finding() -> None:
    box = Postbox()
    async with SimulatedCloud([box]) as cloud:
        assert await diagnose(endpoint(cloud), box.credentials()) is None
        assert await diagnose(endpoint(cloud, host="127.0.0.1"), box.credentials()) is None
        box.expires_at = time.time() - 1
        found = await diagnose(endpoint(cloud), box.credentials())
        assert found is not None
        assert found.reason == "upgrade_refused"
        assert "expired" in str(found)


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (head("HTTP/1.1 403 Forbidden"), "upgrade_refused", "403"),
        (head("HTTP/1.1 401 Unauthorized"), "upgrade_refused", "401"),
        (head("HTTP/1.1 403 Forbidden", Date="Thu, 15 Jan 2026 12:04:59 GMT"), "upgrade_refused", "403"),
        (head("HTTP/1.1 403 Forbidden", Date="Thu, 15 Jan 2026 12:10:00 GMT"), "clock", "600 s behind"),
        (head("HTTP/1.1 403 Forbidden", Date="Thu, 15 Jan 2026 11:00:00 GMT"), "clock", "3600 s ahead"),
        (head("HTTP/1.1 403 Forbidden", Date="some day"), "upgrade_refused", "403"),
        (head("HTTP/1.1 500 No"), "service", "500"),
        (head("HTTP/1.0 503 No"), "service", "503"),
        (head("HTTP/1.1 429 No"), "service", "429"),
        (head("HTTP/1.1 302 Found", Location="/login"), "service", "302"),
        (head("HTTP/1.1 200 OK"), "service", "200"),
        (head("SSH-2.0-OpenSSH"), "service", "no HTTP"),
        (b"x" * 100_000, "service", "no end"),
        (b"HTTP/1.1 403 Forbidden\r\n", "closed", "closed"),
        (b"", "closed", "closed"),
    ],
)
async def test_what_an_answer_means(tmp_path: Path, answer: bytes, reason: str, text: str) -> None:
    async with wall(answer, tmp_path) as to:
        found = await reason_of(to)
    assert found[0] == reason
    assert text in found[1]


async def test_no_answer_to_the_request(tmp_path: Path) -> None:
    async with wall(None, tmp_path) as to:
        reason, text = await reason_of(to, limit=0.3)
    assert reason == "timeout"
    assert "WebSocket" in text


async def test_no_answer_to_the_handshake() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        reason, text = await reason_of(Endpoint("127.0.0.1", deaf.getsockname()[1]), limit=0.3)
    assert reason == "timeout"
    assert "TLS" in text


async def test_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert (await reason_of(Endpoint("localhost", reserved.getsockname()[1])))[0] == "refused"


@pytest.mark.parametrize(("greeting", "reason"), [(b"220 smtp ready\r\n", "tls"), (b"", "closed")])
async def test_a_server_without_tls(greeting: bytes, reason: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        assert (await reason_of(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])))[0] == reason


async def test_an_unknown_authority_and_a_certificate_of_another_host(tmp_path: Path) -> None:
    async with wall(b"", tmp_path, names=("other.example",)) as to:
        reason, text = await reason_of(to)
        assert (reason, "localhost" in text) == ("tls", True)
        reason, text = await reason_of(replace(to, ca_file=None))
        assert (reason, "issuer" in text) == ("tls", True)


async def test_a_certificate_of_another_time_points_at_the_clock(tmp_path: Path) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    async with wall(b"", tmp_path, not_before=tomorrow) as to:
        found = await diagnose(to, KEYS)
    assert found is not None
    assert (found.reason, found.what_to_do) == ("tls", ADVICE["clock"])


@pytest.mark.parametrize("host", ["x" * 64 + ".invalid", "a..b", ""])
async def test_a_name_that_is_none(host: str) -> None:
    assert (await reason_of(Endpoint(host, 9)))[0] in {"dns", "refused"}


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_authorities_that_can_not_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    reason, text = await reason_of(Endpoint("127.0.0.1", 9, ca_file=str(path)))
    assert reason == "tls"
    assert str(path) in text


async def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Postbox()
    async with SimulatedCloud([box]) as cloud:
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def two(host: str, port: int, **options: int) -> list[tuple[object, ...]]:
            """Nobody listens at the first: 127.0.0.2 is loopback too."""
            found = await real(host, port, **options)
            if host != "localhost":
                return list(found)
            return [(*entry[:4], (address, port)) for entry in found[:1] for address in ("127.0.0.2", "127.0.0.1")]

        monkeypatch.setattr(loop, "getaddrinfo", two)
        assert await diagnose(endpoint(cloud), box.credentials()) is None
