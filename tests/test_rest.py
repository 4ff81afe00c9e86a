from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp import web

from navibridge.errors import LinkError, Throttled
from navibridge.rest import LONGEST_PATIENCE, Rest, user_agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

NOW = 1_768_478_400.0
SECRET = "hunter2-hunter2"


@asynccontextmanager
async def service(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if context else 'http'}://localhost:{port}/api"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_service(answer: bytes) -> AsyncIterator[str]:
    """Says these bytes to whoever connects and sends something, then closes."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def failure(url: str, **options: object) -> LinkError:
    async with Rest(url, clock=lambda: NOW, **options) as rest:  # type: ignore[arg-type]
        with pytest.raises(LinkError) as caught:
            await rest.request(
                "POST", "/sign-in", json={"password": SECRET}, query={"user": SECRET}, headers={"authorization": SECRET}
            )
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    return caught.value


async def test_a_request_arrives_as_it_was_made() -> None:
    seen: dict[str, object] = {}

    async def answer(request: web.Request) -> web.Response:
        seen.update(method=request.method, path=request.path, query=dict(request.query), body=await request.json())
        seen["headers"] = {name.lower(): value for name, value in request.headers.items()}
        return web.json_response({"code": 200}, headers={"X-Thing": "1"})

    async with service(answer) as url, Rest(url) as rest:
        got = await rest.request(
            "PUT",
            "/a/b",
            json={"k": ["ü", 1.5, None]},
            query={"userId": "a+b@example.org"},
            headers={"authorization": "t"},
        )
    assert (got.status, got.body, got.headers["x-thing"]) == (200, {"code": 200}, "1")
    assert seen["method"] == "PUT"
    assert seen["path"] == "/api/a/b"
    assert seen["query"] == {"userId": "a+b@example.org"}
    assert seen["body"] == {"k": ["ü", 1.5, None]}
    headers = seen["headers"]
    assert isinstance(headers, dict)
    assert headers["user-agent"] == user_agent()
    assert headers["user-agent"].startswith("navibridge/")
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "t"
    assert "cookie" not in headers


async def test_its_own_content_type_wins_and_cookies_are_not_kept() -> None:
    seen: list[tuple[str, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers["Content-Type"], request.headers.get("Cookie")))
        response = web.Response(body=b'{"ok":true}', content_type="application/x-amz-json-1.1")
        response.set_cookie("session", "1")
        return response

    async with service(answer) as url, Rest(url) as rest:
        for _ in range(2):
            got = await rest.request("POST", "/", json={}, headers={"Content-Type": "application/x-amz-json-1.1"})
            assert got.body == {"ok": True}
    assert seen == [("application/x-amz-json-1.1", None)] * 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
async def test_a_client_error_is_the_vendors_to_judge(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"msg": "no"}, status=status)

    async with service(answer) as url, Rest(url) as rest:
        got = await rest.request("GET", "/")
    assert (got.status, got.body) == (status, {"msg": "no"})


async def test_a_client_error_in_html_has_no_body_but_its_start() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<html>" + "x" * 5000, status=403, content_type="text/html")

    async with service(answer) as url, Rest(url) as rest:
        got = await rest.request("GET", "/")
    assert (got.status, got.body, got.text_start[:6], len(got.text_start)) == (403, None, "<html>", 200)
    assert "html" not in repr(got)


async def test_an_empty_body_is_none() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=204)

    async with service(answer) as url, Rest(url) as rest:
        assert (await rest.request("GET", "/")).body is None


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (502, "<html>Bad gateway</html>", "text/html"),
        (504, "", "text/html"),
        (500, '{"code": 500}', "application/json"),
        (200, '{"code": 200, "data": [1, 2', "application/json"),
        (200, "<html>Please sign in to the hotel's network</html>", "text/html"),
        (302, "", "text/html"),
    ],
)
async def test_a_broken_service_is_worth_another_attempt(status: int, body: str, content_type: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            status=status, text=body, content_type=content_type, headers={"Location": "http://x.invalid"}
        )

    async with service(answer) as url:
        error = await failure(url)
    assert error.reason == "service"
    assert not isinstance(error, Throttled)


def in_two_minutes() -> str:
    return format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(minutes=2), usegmt=True)


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (429, "7", 7.0),
        (429, None, 60.0),
        (429, in_two_minutes(), 120.0),
        (429, "soon", 60.0),
        (429, "nan", 60.0),
        (429, "-5", 1.0),
        (429, "1e9", LONGEST_PATIENCE),
        (503, "9", 9.0),
    ],
)
async def test_being_asked_for_patience(status: int, retry_after: str | None, seconds: float) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": retry_after} if retry_after else {})

    async with service(answer) as url:
        error = await failure(url)
    assert isinstance(error, Throttled)
    assert error.retry_after == pytest.approx(seconds)


async def test_a_huge_body_is_not_read_to_its_end() -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(1000):
                await response.write(b" " * 65536)
                sent += 65536
        except ConnectionError:
            pass  # the client hung up, as it should
        return response

    async with service(answer) as url:
        error = await failure(url, largest_body=100_000)
    assert error.reason == "service"
    assert sent < 64_000_000


async def test_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        error = await failure(f"http://127.0.0.1:{port}")
    assert error.reason == "refused"


async def test_an_unknown_host() -> None:
    error = await failure("https://no-such-host.invalid")
    assert error.reason == "dns"
    assert "name server" in error.what_to_do


async def test_no_answer_in_time() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with service(answer) as url:
        error = await failure(url, total_timeout=0.1)
    assert error.reason == "timeout"


async def test_an_answer_that_breaks_off() -> None:
    async with raw_service(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{") as url:
        assert (await failure(url)).reason == "closed"
    async with raw_service(b"") as url:
        assert (await failure(url)).reason == "closed"


async def test_no_http_at_all() -> None:
    async with raw_service(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as url:
        assert (await failure(url)).reason == "service"


async def test_an_address_that_is_none() -> None:
    assert (await failure("https://")).reason == "url"


async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response([1])

    async with service(answer, context) as url:
        async with Rest(url, ca_file=str(tmp_path / "ca.pem")) as rest:
            assert (await rest.request("GET", "/")).body == [1]
        for options in ({}, {"ca_file": str(tmp_path / "another.pem")}):
            error = await failure(url, **options)
            assert error.reason == "tls"
            assert "clock" in error.what_to_do
        wrong_name = await failure(url.replace("localhost", "127.0.0.1"), ca_file=str(tmp_path / "ca.pem"))
        assert wrong_name.reason == "tls"


async def test_authorities_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(LinkError) as caught:
            await Rest("https://localhost", ca_file=str(tmp_path / name)).__aenter__()
        assert caught.value.reason == "tls"
        assert "ca_file" in caught.value.what_to_do


async def test_it_can_be_opened_again() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(1)

    async with service(answer) as url:
        rest = Rest(url)
        for _ in range(2):
            async with rest:
                assert (await rest.request("GET", "/")).body == 1
            with pytest.raises(LinkError, match="closed"):
                await rest.request("GET", "/")
