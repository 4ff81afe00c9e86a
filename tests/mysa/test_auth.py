"""Signing in to Mysa: against the simulated user pool and identity pool, whose clock the test turns."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.mysa import sample

from navibridge.budget import BUDGET_PERIOD
from navibridge.demo.cloud import SimulatedCloud
from navibridge.errors import AuthError, LinkError, Throttled
from navibridge.rest import Answer, Rest
from navibridge.store import Store
from navibridge.vendors.mysa import Settings, cognito
from navibridge.vendors.mysa.api import Api
from navibridge.vendors.mysa.auth import Auth, Pools, Tokens
from navibridge.vendors.mysa.simulated.cloud import MysaCloud, RestFault, cognito_fault, simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOON = 1_768_478_400.0
SIGN_IN = ["InitiateAuth", "RespondToAuthChallenge"]
CREDENTIALS = ["GetId", "GetCredentialsForIdentity"]


@dataclass
class Desk:
    """A simulated cloud at a time that stands still, and accounts that sign in there."""

    directory: Path
    now: float = NOON
    options: dict[str, Any] = field(default_factory=dict)
    sim: MysaCloud = field(init=False)
    cloud: SimulatedCloud = field(init=False)
    rests: list[Rest] = field(default_factory=list)

    @property
    def account(self) -> Any:
        return next(iter(self.sim.accounts.values()))

    def asked(self) -> list[str]:
        """What was asked of the cloud since the last time."""
        asked = list(self.sim.requests)
        self.sim.requests.clear()
        return asked

    def auth(self, *, budget: int = 4, **changes: Any) -> Auth:
        settings = Settings.model_validate(
            self.sim.account(self.cloud.host, self.cloud.port, self.cloud.ca_file) | changes
        )
        return Auth(
            *self.rests,
            pools=Pools(settings.user_pool, settings.client_id, settings.identity_pool),
            email=settings.email,
            password=settings.password,
            store=Store(self.directory),
            account="home",
            clock=lambda: self.now,
            budget=budget,
        )


@asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[Desk]:
    desk = Desk(directory)
    desk.sim = simulator(1, clock=lambda: desk.now, **options)
    async with SimulatedCloud((desk.sim,), clock=lambda: desk.now) as cloud:
        desk.cloud = cloud
        desk.rests = [Rest(f"https://{cloud.host}:{cloud.port}", ca_file=cloud.ca_file) for _ in range(3)]
        async with desk.rests[0], desk.rests[1], desk.rests[2]:
            yield desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as made:
        yield made


async def test_one_sign_in_serves_requests_and_links(desk: Desk) -> None:
    auth = desk.auth()
    assert auth.user == ""
    devices = await auth.call("GET", "/devices")
    first = await auth.credentials()
    second = await auth.credentials()
    assert desk.asked() == [*SIGN_IN, "/devices", *CREDENTIALS]
    assert devices.keys() == {"DevicesObj"}
    assert auth.user == desk.account.user_id
    assert (first, first.expires_at) == (second, NOON + 3600)
    grant = desk.sim.grant(first.access_key)
    assert grant is not None
    assert (grant.secret_key, grant.session_token) == (first.secret_key, first.session_token)


@pytest.mark.parametrize(
    "password",
    ["pa$$word", "with # hash", "\"quoted\" and 'quoted'", "  spaces  ", "`tick` \\ ${HOME} %s", "пароль-ß-密码"],
)
async def test_every_password_arrives_intact(tmp_path: Path, password: str) -> None:
    async with opened(tmp_path, password=password) as desk:
        assert await desk.auth().call("GET", "/users")


@pytest.mark.parametrize("salt", ["00ff00ff00ff00ff00ff00ff00ff00ff", "8" + "0" * 31, "1"])
async def test_every_salt_is_understood(desk: Desk, salt: str) -> None:
    desk.account.set_password("another one", salt=salt)
    assert await desk.auth(password="another one").call("GET", "/users")


async def test_tokens_survive_a_restart_and_no_password_is_kept(desk: Desk) -> None:
    first = await desk.auth().credentials()
    desk.asked()
    again = desk.auth()
    assert await again.credentials() == first
    await again.call("GET", "/users")
    assert desk.asked() == ["/users"]
    kept = (desk.directory / "home-sign-in.json").read_text()
    assert desk.account.password not in kept
    assert desk.account.email not in kept
    assert (desk.directory / "home-sign-in.json").stat().st_mode & 0o777 == 0o600


async def test_a_change_of_account_or_pool_forgets_the_tokens(desk: Desk) -> None:
    await desk.auth().call("GET", "/users")
    desk.asked()
    await desk.auth(client_id="6cktj934gasnc72f7jo2cmf6rt").call("GET", "/users")
    assert desk.asked() == [*SIGN_IN, "/users"]


async def test_tokens_are_renewed_before_they_lapse(desk: Desk) -> None:
    auth = desk.auth()
    await auth.credentials()
    desk.asked()
    desk.now += 3600 - 301
    await auth.call("GET", "/users")
    assert desk.asked() == ["/users"]
    desk.now += 2
    await auth.call("GET", "/users")
    assert desk.asked() == ["InitiateAuth", "/users"], "refreshed, five minutes before the end"
    renewed = await auth.credentials()
    assert desk.asked() == ["GetCredentialsForIdentity"], "the identity never changes"
    assert renewed.expires_at == desk.now + 3600


async def test_many_who_notice_at_once_renew_once(desk: Desk) -> None:
    auth = desk.auth()
    await asyncio.gather(*(auth.call("GET", "/users") for _ in range(5)), *(auth.credentials() for _ in range(5)))
    asked = desk.asked()
    assert asked.count("InitiateAuth") == 1
    assert asked.count("GetCredentialsForIdentity") == 1
    desk.now += 3600
    await asyncio.gather(*(auth.call("GET", "/users") for _ in range(5)))
    assert desk.asked().count("InitiateAuth") == 1


async def test_a_token_refused_too_early_is_replaced_once(desk: Desk) -> None:
    auth = desk.auth()
    await auth.call("GET", "/users")
    desk.asked()
    desk.sim.rest_faults["/users"] = RestFault(401, sample("error_401"), times=1)
    await auth.call("GET", "/users")
    assert desk.asked() == ["/users", "InitiateAuth", "/users"]
    desk.sim.rest_faults["/users"] = RestFault(401, sample("error_401"))
    with pytest.raises(LinkError) as caught:
        await auth.call("GET", "/users")
    assert caught.value.reason == "declined"
    assert desk.asked() == ["/users", "InitiateAuth", "/users"], "and not again and again"


async def test_a_dead_refresh_token_costs_one_sign_in(desk: Desk) -> None:
    auth = desk.auth()
    await auth.credentials()
    desk.asked()
    desk.now += 31 * 86_400
    await auth.credentials()
    assert desk.asked() == ["InitiateAuth", *SIGN_IN, *CREDENTIALS]
    desk.sim.revoke_tokens(desk.account)
    await auth.call("GET", "/users")
    assert desk.asked() == ["/users", "InitiateAuth", *SIGN_IN, "/users"]


async def test_the_identity_pool_refuses_a_token_that_rest_takes(desk: Desk) -> None:
    auth = desk.auth()
    await auth.call("GET", "/users")
    desk.asked()
    message = "Invalid login token. Token expired: 1 < 2"
    desk.sim.rest_faults["GetId"] = cognito_fault("NotAuthorizedException", message, times=1)
    await auth.credentials()
    assert desk.asked() == ["GetId", "InitiateAuth", *CREDENTIALS]
    auth.revoke_credentials("somebody else's")
    await auth.credentials()
    assert desk.asked() == []
    auth.revoke_credentials((await auth.credentials()).access_key)
    desk.sim.rest_faults["GetCredentialsForIdentity"] = cognito_fault("ResourceNotFoundException", "not found")
    with pytest.raises(LinkError) as caught:
        await auth.credentials()
    assert caught.value.reason == "no_credentials"
    desk.sim.rest_faults["GetCredentialsForIdentity"] = cognito_fault("TooManyRequestsException")
    with pytest.raises(Throttled):
        await auth.credentials()


async def test_wrong_password(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    wrong = "not the $right# one"
    with pytest.raises(AuthError) as caught:
        await desk.auth(password=wrong).call("GET", "/users")
    assert caught.value.reason == "wrong_password"
    assert f"{len(wrong)} characters" in str(caught.value)
    assert "$$" in caught.value.what_to_do
    assert wrong not in f"{caught.value!r} {caught.value} {caught.value.what_to_do} {caplog.text}"


async def test_unknown_user(desk: Desk) -> None:
    with pytest.raises(AuthError) as caught:
        await desk.auth(email="nobody@example.com").call("GET", "/users")
    assert caught.value.reason == "unknown_user"


@pytest.mark.parametrize("kind", ["SOFTWARE_TOKEN_MFA", "SMS_MFA"])
async def test_a_second_factor_is_asked_for(desk: Desk, kind: Any) -> None:
    desk.account.mfa = kind
    with pytest.raises(AuthError) as caught:
        await desk.auth().call("GET", "/users")
    assert caught.value.reason == "mfa"
    assert kind in str(caught.value)


async def test_another_client_or_pool(desk: Desk) -> None:
    with pytest.raises(AuthError) as caught:
        await desk.auth(client_id="unheard-of").call("GET", "/users")
    assert caught.value.reason == "misconfigured"
    assert "client_id" in caught.value.what_to_do


async def test_whoever_waited_for_a_sign_in_does_not_try_again_at_once_when_it_fails(desk: Desk) -> None:
    auth = desk.auth()
    desk.sim.rest_faults["InitiateAuth"] = RestFault(429, {}, headers={"Retry-After": "30"}, times=1)
    questions = [*(auth.call("GET", "/users") for _ in range(4)), auth.credentials()]
    told = await asyncio.gather(*questions, return_exceptions=True)
    assert [type(error) for error in told] == [Throttled] * 5
    assert desk.asked() == ["InitiateAuth"]
    await auth.call("GET", "/users")
    assert desk.asked() == [*SIGN_IN, "/users"], "who comes later tries"


async def test_requests_go_on_while_a_link_gets_no_credentials(desk: Desk) -> None:
    auth = desk.auth()
    await auth.call("GET", "/users")
    desk.sim.rest_faults["GetId"] = RestFault.outage()
    link, answer = await asyncio.gather(auth.credentials(), auth.call("GET", "/users"), return_exceptions=True)
    assert isinstance(link, LinkError)
    assert isinstance(answer, dict)


async def test_throttling_and_lockout_last_minutes(desk: Desk) -> None:
    desk.account.locked = True
    with pytest.raises(Throttled) as caught:
        await desk.auth().call("GET", "/users")
    assert caught.value.retry_after >= 60
    desk.account.locked = False
    desk.sim.rest_faults["InitiateAuth"] = cognito_fault("TooManyRequestsException", "Too many requests")
    with pytest.raises(Throttled) as caught:
        await desk.auth().call("GET", "/users")
    assert caught.value.retry_after >= 60


async def test_a_refresh_that_is_throttled_is_no_reason_to_sign_in(desk: Desk) -> None:
    auth = desk.auth()
    await auth.call("GET", "/users")
    desk.now += 3600
    desk.asked()
    desk.sim.rest_faults["InitiateAuth"] = cognito_fault("TooManyRequestsException", "Too many requests")
    with pytest.raises(Throttled):
        await auth.call("GET", "/users")
    assert desk.asked() == ["InitiateAuth"]


async def test_the_budget_counts_over_restarts_but_not_outages(desk: Desk) -> None:
    desk.sim.rest_faults["RespondToAuthChallenge"] = RestFault.outage(times=3)
    for _ in range(3):
        with pytest.raises(LinkError):
            await desk.auth(budget=2).call("GET", "/users")
    for _ in range(2):
        desk.now += 10
        with pytest.raises(AuthError):
            await desk.auth(budget=2, password="wrong").call("GET", "/users")
    desk.asked()
    with pytest.raises(Throttled) as caught:
        await desk.auth(budget=2).call("GET", "/users")
    assert caught.value.retry_after == pytest.approx(BUDGET_PERIOD - 10)
    assert desk.asked() == []
    desk.now += BUDGET_PERIOD
    await desk.auth(budget=2).call("GET", "/users")


async def test_damaged_tokens_are_no_tokens(desk: Desk) -> None:
    await desk.auth().credentials()
    path = desk.directory / "home-sign-in.json"
    kept = json.loads(path.read_text())
    for spoil in ({"term": "soon"}, {"id_token": ""}, {"login": None}, {"aws_term": [1]}):
        path.write_text(json.dumps(kept | {"tokens": kept["tokens"] | spoil}))
        desk.asked()
        await desk.auth().call("GET", "/users")
        assert desk.asked() == [*SIGN_IN, "/users"]


async def test_no_secret_in_any_repr(desk: Desk) -> None:
    auth = desk.auth()
    credentials = await auth.credentials()
    tokens = auth._vault.tokens
    assert tokens is not None
    shown = f"{tokens!r} {credentials!r}"
    for secret in (tokens.id_token, tokens.refresh, tokens.access_key, tokens.secret_key, tokens.session_token):
        assert secret not in shown
    assert Tokens.load(tokens.dump()) == tokens


# --- the exchanges by themselves --------------------------------------------------------------------------------------


def answered(name: str) -> Answer:
    return Answer(400, sample(name))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cognito_error_bad_password", "wrong_password"),
        ("cognito_error_unknown_user", "unknown_user"),
    ],
)
def test_the_recorded_refusals(name: str, reason: str) -> None:
    error = cognito.sign_in_refused(cognito.Refused.read(answered(name).body, 400), 9)
    assert isinstance(error, AuthError)
    assert error.reason == reason


@pytest.mark.parametrize(
    ("sort", "message", "expected"),
    [
        ("com.amazonaws#NotAuthorizedException", "Incorrect username or password.", "wrong_password"),
        ("PasswordResetRequiredException", "", "new_password"),
        ("UserNotConfirmedException", "", "unconfirmed"),
        ("InvalidParameterException", "USER_SRP_AUTH flow not enabled", "misconfigured"),
        ("InternalErrorException", "", "service"),
        ("", "", "service"),
    ],
)
def test_further_refusals(sort: str, message: str, expected: str) -> None:
    error = cognito.sign_in_refused(cognito.Refused.read({"__type": sort, "message": message}, 400), 9)
    assert isinstance(error, AuthError | LinkError)
    assert error.reason == expected


def test_too_many_attempts_are_no_wrong_password() -> None:
    refused = cognito.Refused("NotAuthorizedException", "Password attempts exceeded")
    error = cognito.sign_in_refused(refused, 9)
    assert isinstance(error, Throttled)
    assert error.retry_after >= 600


def test_the_recorded_sign_in() -> None:
    """The requests are those of the samples, whatever numbers are in them."""
    exchange = cognito.sign_in(
        "us-east-1_GUFWfhI7g", "19efs8tgqe942atbqmot5m36t3", "owner@example.com", "x", a=7, clock=lambda: NOON
    )
    call = next(exchange)
    expected = sample("cognito_initiate_auth_request")
    body = expected.get("body", expected)
    assert call.headers["X-Amz-Target"] == "AWSCognitoIdentityProviderService.InitiateAuth"
    assert call.body.keys() == body.keys() - {"ClientMetadata"}, "which not every client sends"
    assert call.body["AuthParameters"].keys() == body["AuthParameters"].keys()
    answer = sample("cognito_initiate_auth_response")
    call = exchange.send(answer.get("body", answer))
    expected = sample("cognito_respond_request")
    body = expected.get("body", expected)
    assert call.body["ChallengeResponses"].keys() == body["ChallengeResponses"].keys()
    assert call.body["ChallengeResponses"]["TIMESTAMP"] == "Thu Jan 15 12:00:00 UTC 2026"
    answer = sample("cognito_respond_response")
    with pytest.raises(StopIteration) as end:
        exchange.send(answer.get("body", answer))
    granted = end.value.value
    assert (granted.id_token, granted.refresh, granted.lasts) == ("<jwt>", "<opaque>", 3600)
    assert granted.login == "cognito-idp.us-east-1.amazonaws.com/us-east-1_GUFWfhI7g"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"ChallengeName": "PASSWORD_VERIFIER"},
        {"ChallengeName": "PASSWORD_VERIFIER", "ChallengeParameters": {"SALT": 5}},
    ],
)
def test_a_challenge_that_is_none(answer: Any) -> None:
    exchange = cognito.sign_in("us-east-1_GUFWfhI7g", "client", "owner@example.com", "x", a=7, clock=lambda: NOON)
    next(exchange)
    with pytest.raises(LinkError):
        exchange.send(answer)


def test_a_new_password_is_asked_for() -> None:
    exchange = cognito.renew("us-east-1_GUFWfhI7g", "client", "refresh")
    next(exchange)
    with pytest.raises(AuthError) as caught:
        exchange.send({"ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": "x"})
    assert caught.value.reason == "new_password"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.!!.c", "a.W10.c", "."])
def test_claims_of_what_is_no_token(token: str) -> None:
    assert cognito.claims(token) == {}


def test_credentials_lack_something() -> None:
    exchange = cognito.credentials("pool", "login", "token", "identity")
    next(exchange)
    with pytest.raises(LinkError):
        exchange.send({"Credentials": {"AccessKeyId": "A", "SecretKey": "B", "SessionToken": "C"}})


# --- what the REST service knows --------------------------------------------------------------------------------------


async def test_everything_the_rest_service_knows(desk: Desk) -> None:
    api = Api(desk.auth())
    [device_id] = desk.sim.thermostats
    assert (await api.devices())[device_id]["Id"] == device_id
    assert (await api.states())[device_id]["Device"] == device_id
    assert (await api.state(device_id))["Device"] == device_id
    assert (await api.installed())[device_id] == desk.sim.thermostats[device_id].firmware
    assert (await api.firmware(device_id)).keys() == {"update", "installedVersion", "allowedVersion"}
    assert (await api.user())["Id"] == desk.account.user_id
    assert (await api.device(device_id))["Id"] == device_id
    [home, *_] = await api.homes()
    assert home.id == desk.account.home_id
    assert (await api.change(device_id, {"MinBrightness": 11}))["MinBrightness"] == 11
    with pytest.raises(ValueError, match="never"):
        await api.change(device_id, {"Model": "BB-V2-0"})


@pytest.mark.parametrize("body", ["a sentence", [], {"Devices": 5}, None])
async def test_an_answer_that_is_none(desk: Desk, body: Any) -> None:
    auth = desk.auth()
    await auth.call("GET", "/users")
    desk.sim.rest_faults["*"] = RestFault(200, body)
    api = Api(auth)
    for question in (api.devices, api.states, api.installed):
        with pytest.raises(LinkError):
            await question()
