from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from navibridge.budget import BUDGET_PERIOD, Term
from navibridge.config import Secret
from navibridge.errors import AuthError, LinkError, Throttled
from navibridge.rest import Rest
from navibridge.store import Store
from navibridge.vendors.navilink.auth import Auth, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SAMPLES = Path(__file__).parent.parent / "samples" / "navilink"
EMAIL = "sample@example.org"
PASSWORD = "correct horse battery"


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


@dataclass
class Service:
    """The REST service, as far as signing in goes: answers as section 1 says, and remembers what it was asked."""

    url: str = ""
    now: float = 1_768_478_400.0
    lifetimes: tuple[object, object] = (3600, 3600)
    paths: list[str] = field(default_factory=list)
    replies: dict[str, list[web.Response]] = field(default_factory=dict)
    refresh_token: str = ""
    tokens: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.Response:  # noqa: PLR0911 - one return per path
        path = request.path.removeprefix("/api/v2.1")
        self.paths.append(path)
        body = await request.json() if request.can_read_body else None
        if self.replies.get(path):
            return self.replies[path].pop(0)
        match path:
            case "/user/sign-in":
                assert "authorization" not in request.headers
                if body != {"userId": EMAIL, "password": PASSWORD}:
                    return reply(401, "Invalid credentials")
                answer = sample("rest_sign_in_response.json")
                token = answer["data"]["token"]
                token["authenticationExpiresIn"], token["authorizationExpiresIn"] = self.lifetimes
                token["accessToken"] = self.grant()
                token["refreshToken"] = self.refresh_token = f"refresh-{len(self.tokens)}"
                token["accessKeyId"] = f"ASIA{len(self.tokens):016d}"
                return web.json_response(answer)
            case "/auth/refresh":
                if body != {"refreshToken": self.refresh_token}:
                    return reply(401, "Unauthorized")
                answer = sample("rest_refresh_response.json")
                answer["data"].update(accessToken=self.grant(), authenticationExpiresIn=self.lifetimes[0])
                del answer["data"]["refreshToken"]
                return web.json_response(answer)
            case _:
                given = request.headers.get("authorization", "")
                if given not in self.tokens or given in self.revoked:
                    return reply(401, "Unauthorized")
                return web.json_response({"code": 200, "msg": "SUCCESS", "data": [path, body]})

    def grant(self) -> str:
        self.tokens.append(f"access-{len(self.tokens)}")
        return self.tokens[-1]

    def auth(self, rest: Rest, store: Store, *, password: str = PASSWORD, email: str = EMAIL, budget: int = 4) -> Auth:
        return Auth(rest, email, Secret(password), store=store, account="home", clock=lambda: self.now, budget=budget)


def reply(code: int, message: str, *, status: int | None = None) -> web.Response:
    return web.json_response({"code": code, "msg": message, "data": None}, status=status or code)


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Service, Rest]]:
    service = Service()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v2.1"
    try:
        async with Rest(service.url) as rest:
            yield service, rest
    finally:
        await runner.cleanup()


async def test_one_sign_in_serves_requests_and_the_link(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path))
        assert await auth.call("POST", "/device/list", json={"offset": 0}) == ["/device/list", {"offset": 0}]
        tokens = await auth.for_link()
        assert await auth.call("GET", "/device/tou", query={"userId": EMAIL}) == ["/device/tou", None]
    assert service.paths == ["/user/sign-in", "/device/list", "/device/tou"]
    assert (tokens.user_seq, tokens.user_type, tokens.access_key) == (41250, "O", "ASIA0000000000000001")
    assert tokens.secret_key == "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    for secret in (tokens.access, tokens.refresh, tokens.secret_key, tokens.session_token, tokens.access_key):
        assert secret not in repr(tokens)


async def test_the_two_clocks(tmp_path: Path) -> None:
    async with running() as (service, rest):
        service.lifetimes = (3600, "7200")
        auth = service.auth(rest, Store(tmp_path))
        first = await auth.for_link()
        service.now += 3600 - 299
        await auth.call("GET", "/x")
        assert service.paths == ["/user/sign-in", "/auth/refresh", "/x"]
        second = await auth.for_link()
        # A refresh brings no AWS credentials and, here, no refresh token: the old ones stay.
        assert (second.access_key, second.refresh) == (first.access_key, first.refresh)
        assert second.access != first.access
        service.now += 3600
        third = await auth.for_link()
        assert third.access_key != first.access_key
    assert service.paths[3:] == ["/user/sign-in"]


async def test_a_refresh_may_bring_credentials_and_a_refresh_token(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path))
        await auth.for_link()
        service.now += 3500
        data = sample("rest_sign_in_response.json")["data"]["token"] | {
            "accessToken": service.grant(),
            "accessKeyId": "ASIANEW",
        }
        service.replies["/auth/refresh"] = [web.json_response({"code": 200, "msg": "SUCCESS", "data": data})]
        await auth.call("GET", "/x")
        tokens = await auth.for_link()
    assert (tokens.access_key, tokens.refresh) == ("ASIANEW", "FAKE.JWE.REFRESH-1")
    assert service.paths == ["/user/sign-in", "/auth/refresh", "/x"]


async def test_tokens_survive_a_restart(tmp_path: Path) -> None:
    async with running() as (service, rest):
        before = await service.auth(rest, Store(tmp_path)).for_link()
        auth = service.auth(rest, Store(tmp_path))
        assert await auth.for_link() == before
        await auth.call("GET", "/x")
        assert service.paths == ["/user/sign-in", "/x"]
        # An expired access token is refreshed, expired credentials need a sign-in.
        service.now += 3400
        auth = service.auth(rest, Store(tmp_path))
        await auth.call("GET", "/x")
        await auth.for_link()
        assert service.paths[2:] == ["/auth/refresh", "/x", "/user/sign-in"]
        kept = Store(tmp_path).path("home-sign-in").read_text()
        # Another account's tokens are not used.
        with pytest.raises(AuthError):
            await service.auth(rest, Store(tmp_path), email="other@example.org").for_link()
    assert "access-" in kept
    assert PASSWORD not in kept
    assert EMAIL not in kept


@pytest.mark.parametrize(
    "kept", [{}, {"tokens": 1}, {"tokens": {"user_seq": "x"}}, {"sign_ins": "x", "tokens": {"access_term": [1]}}]
)
async def test_a_damaged_store_costs_a_sign_in(tmp_path: Path, kept: dict[str, Any]) -> None:
    async with running() as (service, rest):
        store = Store(tmp_path)
        owner = store.load("home-sign-in").get("owner")
        store.save("home-sign-in", {"owner": owner} | kept)
        await service.auth(rest, store).for_link()
        assert service.paths == ["/user/sign-in"]


async def test_a_refused_token_is_refreshed_once_and_the_request_repeated_once(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path))
        await auth.call("GET", "/x")
        service.revoked.add(service.tokens[-1])
        assert await auth.call("GET", "/x") == ["/x", None]
        assert service.paths[2:] == ["/x", "/auth/refresh", "/x"]
        # Said with HTTP 200 it means the same.
        service.paths.clear()
        service.replies["/x"] = [reply(401, "Unauthorized", status=200)]
        assert await auth.call("GET", "/x") == ["/x", None]
        assert service.paths == ["/x", "/auth/refresh", "/x"]
        # And 403 does.
        service.paths.clear()
        service.replies["/x"] = [reply(403, "Forbidden"), reply(403, "Forbidden")]
        with pytest.raises(LinkError) as caught:
            await auth.call("GET", "/x")
        assert caught.value.reason == "declined"
        assert service.paths == ["/x", "/auth/refresh", "/x"]


async def test_a_refused_refresh_falls_through_to_a_sign_in(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path))
        await auth.call("GET", "/x")
        service.refresh_token = "another"
        service.revoked.add(service.tokens[-1])
        await auth.call("GET", "/x")
        assert service.paths[2:] == ["/x", "/auth/refresh", "/user/sign-in", "/x"]


async def test_an_outage_during_a_refresh_is_no_sign_in(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path))
        await auth.call("GET", "/x")
        service.now += 3500
        service.replies["/auth/refresh"] = [web.Response(status=502, text="<html>"), reply(500, "oops", status=200)]
        for _ in range(2):
            with pytest.raises(LinkError) as caught:
                await auth.call("GET", "/x")
            assert caught.value.reason == "service"
        assert await auth.call("GET", "/x") == ["/x", None]
        assert service.paths.count("/user/sign-in") == 1


async def test_two_tasks_refresh_once(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path))
        await asyncio.gather(*(auth.call("GET", "/x") for _ in range(5)))
        assert service.paths.count("/user/sign-in") == 1
        service.now += 3500
        await asyncio.gather(*(auth.call("GET", "/x") for _ in range(5)))
        assert service.paths.count("/auth/refresh") == 1
        service.revoked.add(service.tokens[-1])
        await asyncio.gather(*(auth.call("GET", "/x") for _ in range(5)))
        assert service.paths.count("/auth/refresh") == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(401, "Invalid credentials"), "wrong_password"),
        (reply(401, "x", status=200), "wrong_password"),
        (reply(404, "USER_NOT_FOUND", status=200), "unknown_user"),
        (reply(400, "INVALID_PASSWORD"), "wrong_password"),
        (reply(500, "unauthorized", status=200), "wrong_password"),
    ],
)
async def test_wrong_credentials_need_a_person(tmp_path: Path, answer: web.Response, reason: str) -> None:
    async with running() as (service, rest):
        service.replies["/user/sign-in"] = [answer]
        with pytest.raises(AuthError) as caught:
            await service.auth(rest, Store(tmp_path)).for_link()
    assert caught.value.reason == reason
    assert caught.value.what_to_do
    assert PASSWORD not in str(caught.value)
    assert EMAIL not in str(caught.value)
    assert service.paths == ["/user/sign-in"]


@pytest.mark.parametrize(
    "answer",
    [
        reply(503, "busy", status=200),
        reply(400, "BAD_REQUEST"),
        web.json_response(
            {"code": 200, "msg": "SUCCESS", "data": {"userInfo": {"userSeq": 1}, "token": {"accessToken": "t0p"}}}
        ),
        web.json_response({"code": 200, "msg": "SUCCESS", "data": None}),
        web.json_response({"code": "x"}),
        web.json_response([]),
    ],
)
async def test_anything_else_at_sign_in_is_worth_another_attempt(tmp_path: Path, answer: web.Response) -> None:
    async with running() as (service, rest):
        service.replies["/user/sign-in"] = [answer]
        auth = service.auth(rest, Store(tmp_path))
        with pytest.raises(LinkError) as caught:
            await auth.for_link()
        assert caught.value.reason == "service"
        assert "t0p" not in str(caught.value)
        assert (await auth.for_link()).user_seq == 41250


async def test_the_budget_of_sign_ins_survives_restarts(tmp_path: Path) -> None:
    async with running() as (service, rest):
        for _ in range(4):
            with pytest.raises(AuthError):
                await service.auth(rest, Store(tmp_path), password="wrong").for_link()
            service.now += 10
        with pytest.raises(Throttled) as caught:
            await service.auth(rest, Store(tmp_path)).for_link()
        assert len(service.paths) == 4
        assert caught.value.retry_after == pytest.approx(BUDGET_PERIOD - 40)
        service.now += caught.value.retry_after
        await service.auth(rest, Store(tmp_path)).for_link()
        assert len(service.paths) == 5


async def test_a_clock_set_back_does_not_block(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path), budget=1)
        await auth.for_link()
        service.now -= 10 * 86400
        await auth.for_link()
        assert len(service.paths) == 2


async def test_an_outage_does_not_use_up_the_budget(tmp_path: Path) -> None:
    async with running() as (service, rest):
        service.replies["/user/sign-in"] = [web.Response(status=502) for _ in range(20)]
        auth = service.auth(rest, Store(tmp_path))
        for _ in range(20):
            with pytest.raises(LinkError) as caught:
                await auth.for_link()
            assert caught.value.reason == "service"
        await auth.for_link()


async def test_being_throttled_counts(tmp_path: Path) -> None:
    async with running() as (service, rest):
        service.replies["/user/sign-in"] = [web.Response(status=429, headers={"Retry-After": "5"}) for _ in range(9)]
        auth = service.auth(rest, Store(tmp_path))
        waits = []
        for _ in range(5):
            with pytest.raises(Throttled) as caught:
                await auth.for_link()
            waits.append(caught.value.retry_after)
    assert waits == [5, 5, 5, 5, BUDGET_PERIOD]


async def test_revoked_credentials_lead_to_a_sign_in(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path))
        tokens = await auth.for_link()
        auth.revoke_credentials("ASIAANOTHER")
        assert await auth.for_link() == tokens
        auth.revoke_credentials(tokens.access_key)
        assert (await auth.for_link()).access_key != tokens.access_key
        assert service.paths == ["/user/sign-in", "/user/sign-in"]


async def test_a_request_that_third_parties_are_refused(tmp_path: Path) -> None:
    async with running() as (service, rest):
        auth = service.auth(rest, Store(tmp_path))
        service.replies["/device/connectivity-status"] = [reply(403, "Forbidden")]
        assert await auth.try_once("POST", "/device/connectivity-status", json={}) is None
        assert await auth.try_once("POST", "/device/connectivity-status", json={}) == [
            "/device/connectivity-status",
            {},
        ]
        assert service.paths == ["/user/sign-in", *["/device/connectivity-status"] * 2]


def test_tokens_come_back_from_the_store() -> None:
    tokens = Tokens.granted(sample("rest_sign_in_response.json")["data"], 5.0)
    assert Tokens.load(json.loads(json.dumps(tokens.dump()))) == tokens
    assert tokens.aws_term == Term(5.0, 3600.0)
