"""The simulated Mysa cloud without sockets: sign-in, REST, policy, what thermostats say and obey, faults, physics."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest
from support.mysa import sample
from support.thermostats import CLIENT_ID, NOON, Bench

from navibridge.simulation import Request, RestFault
from navibridge.vendors.mysa import devices, frames
from navibridge.vendors.mysa.models import Family
from navibridge.vendors.mysa.simulated.accounts import MFA_CODE, USER_POOL
from navibridge.vendors.mysa.simulated.cloud import (
    MODELS,
    cognito_fault,
    is_start_publishing,
    simulator,
)
from navibridge.vendors.mysa.simulated.cognito import CLIENT_IDS, IDENTITY_POOLS, LOGIN
from navibridge.vendors.mysa.simulated.physics import DAY, Room, Weather, Zone
from navibridge.vendors.mysa.simulated.verifier import Challenge, Verifier, is_timestamp, read_number


@pytest.fixture
def bench() -> Bench:
    return Bench()


def shape(value: Any) -> Any:
    """What a JSON value looks like, whatever stands in it; whole and broken numbers count as the same."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if type(value) in (int, float) else type(value).__name__


# --- SRP --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vector() -> dict[str, str]:
    found: dict[str, str] = sample("srp_vector")
    return found


def test_the_vector(vector: dict[str, str]) -> None:
    verifier = Verifier.enrol(vector["pool_id"], vector["user_id_for_srp"], vector["password"], vector["salt"])
    assert f"{verifier.number:x}" == vector["verifier"]
    block = base64.b64decode(vector["secret_block_b64"])
    challenge = Challenge(verifier, int(vector["A"], 16), int(vector["b"], 16), block)
    assert f"{challenge.number:x}" == vector["B"]
    assert challenge.key().hex() == vector["hkdf_key"]
    assert challenge.accepts(vector["password_claim_signature"], vector["timestamp"])
    assert not challenge.accepts(vector["password_claim_signature"], "Thu Jan 15 12:00:01 UTC 2026")
    assert not challenge.accepts("not base64", vector["timestamp"])
    assert vector["password"] not in repr(challenge)
    assert vector["verifier"] not in repr(challenge)


def test_leading_zeros_of_a_salt_count_for_nothing() -> None:
    plain = Verifier.enrol(USER_POOL, "user", "password", "ab12")
    padded = Verifier.enrol(USER_POOL, "user", "password", "0000ab12")
    assert plain.number == padded.number
    assert padded.salt == "0000ab12"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("Thu Jan 1 00:00:00 UTC 2026", True),
        ("Thu Jan 15 12:00:00 UTC 2026", True),
        ("Thu Jan 01 00:00:00 UTC 2026", False),
        ("Do. Jan 15 12:00:00 UTC 2026", False),
        ("2026-01-15T12:00:00Z", False),
    ],
)
def test_timestamps(text: str, good: bool) -> None:
    assert is_timestamp(text) is good


@pytest.mark.parametrize(
    ("text", "number"), [("0a", 10), ("ABC", 0xABC), ("", None), ("0x1", None), (7, None), ("f" * 2000, None)]
)
def test_hexadecimal_numbers(text: Any, number: int | None) -> None:
    assert read_number(text) == number


# --- the user pool ----------------------------------------------------------------------------------------------------


async def test_sign_in_looks_like_the_samples(bench: Bench) -> None:
    opened = await bench.initiate("USER_SRP_AUTH", USERNAME=bench.owner.email, SRP_A="2")
    assert shape(opened.body) == shape(sample("cognito_initiate_auth_response"))
    assert opened.content_type == "application/x-amz-json-1.1"
    assert opened.body["ChallengeParameters"]["USERNAME"] == bench.owner.user_id != bench.owner.email
    result = await bench.prove()
    assert result.status == 200
    assert shape(result.body) == shape(sample("cognito_respond_response"))
    tokens = result.body["AuthenticationResult"]
    assert (tokens["ExpiresIn"], tokens["TokenType"]) == (3600, "Bearer")
    assert "NewDeviceMetadata" not in tokens


@pytest.mark.parametrize("salt", ["00" * 2 + "ab" * 14, "f" * 32, "8" + "0" * 31, "1"])
async def test_every_sort_of_salt_works(bench: Bench, salt: str) -> None:
    bench.owner.set_password("p$ä #\"'` 1", salt=salt)
    assert (await bench.prove("p$ä #\"'` 1")).status == 200
    assert (await bench.prove("p$ä #\"'` 2")).status == 400


def refusal(reply: Any) -> str:
    assert reply.status == 400
    assert set(reply.body) == {"__type", "message"}
    assert reply.headers["x-amzn-ErrorType"] == f"{reply.body['__type']}:"
    return str(reply.body["__type"])


async def test_refused_sign_ins(bench: Bench) -> None:
    wrong = await bench.prove("wrong")
    assert wrong.body == sample("cognito_error_bad_password")
    unknown = await bench.prove(email="nobody@example.com")
    assert unknown.body == sample("cognito_error_unknown_user")
    plain = await bench.initiate("USER_PASSWORD_AUTH", USERNAME=bench.owner.email, PASSWORD=bench.owner.password)
    assert refusal(plain) == "InvalidParameterException"
    for spoiled in ("0", "", "xyz"):
        opened = await bench.initiate("USER_SRP_AUTH", USERNAME=bench.owner.email, SRP_A=spoiled)
        assert refusal(opened) == "InvalidParameterException"
    assert refusal(await bench.prove(TIMESTAMP="yesterday")) == "InvalidParameterException"
    assert refusal(await bench.prove(PASSWORD_CLAIM_SECRET_BLOCK="?")) == "InvalidParameterException"
    other_block = base64.b64encode(b"another").decode()
    assert refusal(await bench.prove(PASSWORD_CLAIM_SECRET_BLOCK=other_block)) == "NotAuthorizedException"
    bench.owner.locked = True
    assert refusal(await bench.prove()) == "LimitExceededException"


async def test_a_challenge_is_good_for_one_answer(bench: Bench) -> None:
    neighbour = bench.sim.add_account("neighbour@example.com", bench.owner.password)
    # Nor for another user's, even with the same password.
    assert refusal(await bench.prove(USERNAME=neighbour.user_id)) == "NotAuthorizedException"


@pytest.mark.parametrize(
    ("operation", "body", "sort"),
    [
        ("InitiateAuth", {}, "InvalidParameterException"),
        ("InitiateAuth", {"ClientId": CLIENT_ID}, "InvalidParameterException"),
        ("InitiateAuth", {"ClientId": CLIENT_ID, "AuthParameters": {}}, "InvalidParameterException"),
        ("InitiateAuth", {"ClientId": "another", "AuthParameters": {}}, "ResourceNotFoundException"),
        ("RespondToAuthChallenge", {"ClientId": CLIENT_ID, "ChallengeResponses": {}}, "InvalidParameterException"),
        ("InitiateAuth", b"[]", "SerializationException"),
        ("InitiateAuth", b"{", "SerializationException"),
        ("ForgetMe", {}, "UnknownOperationException"),
    ],
)
async def test_requests_that_make_no_sense(bench: Bench, operation: str, body: Any, sort: str) -> None:
    assert refusal(await bench.amazon(operation, body)) == sort


async def test_tokens_say_what_clients_look_at(bench: Bench) -> None:
    tokens = await bench.sign_in()
    header, access_header = (json.loads(_part(tokens[name], 0)) for name in ("IdToken", "AccessToken"))
    claims, access = (json.loads(_part(tokens[name], 1)) for name in ("IdToken", "AccessToken"))
    assert (header["alg"], claims["token_use"], access["token_use"]) == ("RS256", "id", "access")
    assert claims["iss"] == access["iss"] == f"https://cognito-idp.us-east-1.amazonaws.com/{USER_POOL}"
    assert claims["sub"] == claims["cognito:username"] == access["username"] == bench.owner.user_id
    assert (claims["aud"], access["client_id"]) == (CLIENT_ID, CLIENT_ID)
    assert (claims["iat"], claims["exp"]) == (int(NOON), int(NOON) + 3600)
    published = {key["kid"] for key in bench.sim.cognito.key_set()["keys"]}
    assert published == {header["kid"], access_header["kid"]}


def _part(token: str, number: int) -> bytes:
    part = token.split(".")[number]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def test_refreshing(bench: Bench) -> None:
    first = await bench.sign_in()
    reply = await bench.initiate("REFRESH_TOKEN_AUTH", REFRESH_TOKEN=first["RefreshToken"])
    assert shape(reply.body) == shape(sample("cognito_refresh_response"))
    assert reply.body["AuthenticationResult"]["IdToken"] != first["IdToken"]
    assert bench.sim.cognito.account_of(first["IdToken"]) is bench.owner  # the old one is good until it expires
    assert refusal(await bench.initiate("REFRESH_TOKEN_AUTH", REFRESH_TOKEN="made up")) == "NotAuthorizedException"
    other = {"AuthFlow": "REFRESH_TOKEN_AUTH", "ClientId": CLIENT_IDS[1]}
    spoiled = await bench.amazon("InitiateAuth", {**other, "AuthParameters": {"REFRESH_TOKEN": first["RefreshToken"]}})
    assert refusal(spoiled) == "NotAuthorizedException"
    bench.now += 31 * DAY
    expired = await bench.initiate("REFRESH_TOKEN_AUTH", REFRESH_TOKEN=first["RefreshToken"])
    assert expired.body == sample("cognito_error_refresh_expired")


async def test_using_a_refresh_token_keeps_it_alive(bench: Bench) -> None:
    token = (await bench.sign_in())["RefreshToken"]
    for _ in range(3):
        bench.now += 20 * DAY
        assert (await bench.initiate("REFRESH_TOKEN_AUTH", REFRESH_TOKEN=token)).status == 200


async def test_revoked_tokens(bench: Bench) -> None:
    tokens = await bench.sign_in()
    bench.sim.revoke_tokens(bench.owner)
    reply = await bench.initiate("REFRESH_TOKEN_AUTH", REFRESH_TOKEN=tokens["RefreshToken"])
    assert reply.body["message"] == "Refresh Token has been revoked"
    assert (await bench.ask("GET", "/devices")).status == 401
    await bench.sign_in()
    assert (await bench.ask("GET", "/devices")).status == 200


async def test_lives_are_parameters() -> None:
    bench = Bench(token_seconds=5, credential_seconds=7.5)
    tokens = await bench.sign_in()
    assert tokens["ExpiresIn"] == 5
    credentials = await bench.credentials()
    assert credentials["Expiration"] == NOON + 7.5
    bench.now += 5
    reply = await bench.ask("GET", "/devices")
    assert (reply.status, reply.body) == (401, sample("error_401"))
    bench.sim.cognito.token_seconds = 100
    assert (await bench.sign_in())["ExpiresIn"] == 100


async def test_throttling_and_outages(bench: Bench) -> None:
    bench.sim.rest_faults["InitiateAuth"] = cognito_fault("TooManyRequestsException", "Too many requests", times=2)
    assert [refusal(await bench.prove()) for _ in range(2)] == ["TooManyRequestsException"] * 2
    assert (await bench.prove()).status == 200
    bench.sim.rest_faults["*"] = RestFault.outage(times=1)
    assert (await bench.prove()).status == 504


async def test_a_second_factor(bench: Bench) -> None:
    bench.owner.mfa = "SOFTWARE_TOKEN_MFA"
    asked = (await bench.prove()).body
    assert (asked["ChallengeName"], asked["ChallengeParameters"]) == ("SOFTWARE_TOKEN_MFA", {})
    wrong = await bench.respond("SOFTWARE_TOKEN_MFA", {"SOFTWARE_TOKEN_MFA_CODE": "000000"}, Session=asked["Session"])
    assert refusal(wrong) == "CodeMismatchException"
    responses = {"USERNAME": bench.owner.user_id, "SOFTWARE_TOKEN_MFA_CODE": MFA_CODE}
    right = await bench.respond("SOFTWARE_TOKEN_MFA", responses, Session=asked["Session"])
    assert right.body["AuthenticationResult"]["TokenType"] == "Bearer"
    again = await bench.respond("SOFTWARE_TOKEN_MFA", responses, Session=asked["Session"])
    assert refusal(again) == "NotAuthorizedException"


# --- the identity pool ------------------------------------------------------------------------------------------------


async def test_credentials(bench: Bench) -> None:
    token = (await bench.sign_in())["IdToken"]
    logins = {"Logins": {LOGIN: token}}
    for pool in IDENTITY_POOLS:
        identity = await bench.amazon("GetId", {"IdentityPoolId": pool, **logins})
        assert shape(identity.body) == shape(sample("identity_get_id_response"))
    granted = await bench.amazon("GetCredentialsForIdentity", {**identity.body, **logins})
    assert shape(granted.body) == shape(sample("identity_credentials_response"))
    credentials = granted.body["Credentials"]
    assert type(credentials["Expiration"]) is float
    grant = bench.sim.grant(credentials["AccessKeyId"])
    assert grant is not None
    assert (grant.secret_key, grant.session_token) == (credentials["SecretKey"], credentials["SessionToken"])
    assert grant.principal == bench.owner.principal
    bench.owner.realtime = False
    assert bench.sim.grant(credentials["AccessKeyId"]) is None
    bench.owner.realtime = True
    bench.sim.revoke_credentials(bench.owner)
    assert bench.sim.grant(credentials["AccessKeyId"]) is None


async def test_refused_credentials(bench: Bench) -> None:
    tokens = await bench.sign_in()
    pool, good = {"IdentityPoolId": IDENTITY_POOLS[0]}, {"Logins": {LOGIN: tokens["IdToken"]}}
    assert (
        refusal(await bench.amazon("GetId", {"IdentityPoolId": "us-east-1:x", **good})) == "ResourceNotFoundException"
    )
    for logins in ({}, {"Logins": {}}, {"Logins": {"accounts.example": "x"}}, {"Logins": {LOGIN: "x"}}):
        assert refusal(await bench.amazon("GetId", {**pool, **logins})) == "NotAuthorizedException"
    access = {"Logins": {LOGIN: tokens["AccessToken"]}}
    assert refusal(await bench.amazon("GetId", {**pool, **access})) == "NotAuthorizedException"
    other = await bench.amazon("GetCredentialsForIdentity", {"IdentityId": "us-east-1:other", **good})
    assert refusal(other) == "ResourceNotFoundException"
    bench.now += 3600
    late = await bench.amazon("GetId", {**pool, **good})
    assert "Token expired" in late.body["message"]


# --- REST -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "nonsense", "Bearer {}", "bearer {}"])
async def test_tokens_that_are_none(bench: Bench, token: str) -> None:
    await bench.sign_in()
    reply = await bench.ask("GET", "/devices", token=token.format(bench.id_token))
    assert (reply.status, reply.body) == (401, sample("error_401"))


async def test_a_lenient_service_takes_bearers(bench: Bench) -> None:
    await bench.sign_in()
    bench.sim.rest_manners.bearer = True
    assert (await bench.ask("GET", "/devices", token=f"Bearer {bench.id_token}")).status == 200


async def test_devices_look_like_the_samples(bench: Bench) -> None:
    listed = (await bench.get("/devices"))["DevicesObj"]
    samples = {entry["Model"]: entry for entry in sample("devices")["DevicesObj"].values()}
    assert [entry["Model"] for entry in listed.values()] == list(MODELS)
    for device_id, entry in listed.items():
        assert entry["Id"] == device_id
        wanted = samples[entry["Model"]]
        # Zones and the like are optional; the rest is as it was captured, down to the types.
        optional = {"Zone", "MeasuredVoltage", "CodeNum", "Lock", "schedGlobalOffset", "Mode"}
        assert set(wanted) - optional <= set(entry), entry["Model"]
        for name in set(wanted) & set(entry) - optional - {"SupportedCaps"}:
            assert shape(entry[name]) == shape(wanted[name]), (entry["Model"], name)
    caps = [entry["SupportedCaps"] for entry in listed.values() if "SupportedCaps" in entry]
    assert [set(cap["modes"]) for cap in caps] == [set("23456")] * 2


async def test_states_look_like_the_samples(bench: Bench) -> None:
    states = (await bench.get("/devices/state"))["DeviceStatesObj"]
    listed = (await bench.get("/devices"))["DevicesObj"]
    models = {listed_id: entry["Model"] for listed_id, entry in sample("devices")["DevicesObj"].items()}
    wanted = {models[device_id]: state for device_id, state in sample("devices_state")["DeviceStatesObj"].items()}
    for device_id, state in states.items():
        model = listed[device_id]["Model"]
        assert set(wanted[model]) <= set(state), model
        for name in wanted[model]:
            assert shape(state[name]) == shape(wanted[model][name]), (model, name)
        assert state["Connected"]["t"] > 10**12
        assert state["Current"]["v"] >= 0  # one client can not bear -1 here
    one = await bench.get(f"/devices/state/{bench.device.id}")
    assert one["DeviceState"] == states[bench.device.id]


async def test_the_other_routes(bench: Bench) -> None:
    firmware = (await bench.get("/devices/firmware"))["Firmware"]
    assert shape(next(iter(firmware.values()))) == {"Device": "str", "InstalledVersion": "str"}
    assert set(firmware) == set(bench.owner.devices)
    bench.device.allowed_firmware = "9.9.9.9"
    update = await bench.get(f"/devices/update_available/{bench.device.id}")
    assert update == {"update": True, "installedVersion": bench.device.firmware, "allowedVersion": "9.9.9.9"}
    user = (await bench.get("/users"))["User"]
    assert shape(user).keys() == shape(sample("users")["User"]).keys()
    assert user["Id"] == bench.owner.user_id == user["CognitoAttrs"]["sub"]
    assert await bench.get(f"/users/{bench.owner.user_id}") == {"User": user}
    home = (await bench.get("/homes"))["Homes"][0]
    assert home.keys() == sample("homes")["Homes"][0].keys()
    assert await bench.get(f"/homes/{home['Id']}") == {"Homes": [home]}
    assert await bench.get(f"/devices/{bench.device.id}") == bench.device.listed
    assert await bench.get("/devices/capabilities") == {}
    assert (await bench.get("/schedules")) == {"Schedules": []}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/devices/000000000000", 404),
        ("/devices/state/000000000000", 404),
        ("/energy/v3/home/1", 404),
        ("/users/readingsForUser", 500),
        ("/users/another", 404),
    ],
)
async def test_what_is_not_there(bench: Bench, path: str, status: int) -> None:
    await bench.sign_in()
    assert (await bench.ask("GET", path)).status == status


async def test_a_device_that_never_told_its_version(bench: Bench) -> None:
    bench.device.firmware = None
    assert bench.device.id not in (await bench.get("/devices/firmware"))["Firmware"]
    reply = await bench.ask("GET", f"/devices/update_available/{bench.device.id}")
    assert reply.status == 500
    assert isinstance(reply.body, str)


async def test_somebody_elses_devices_are_nobodys_business(bench: Bench) -> None:
    neighbour = bench.sim.add_account("neighbour@example.com", "neighbours-password")
    foreign = bench.sim.add_thermostat(account=neighbour)
    assert foreign.id not in (await bench.get("/devices"))["DevicesObj"]
    assert (await bench.ask("GET", f"/devices/{foreign.id}")).status == 404
    assert (await bench.ask("POST", f"/devices/{foreign.id}", {"Lock": 1})).status == 404


async def test_the_forms_of_the_service(bench: Bench) -> None:
    await bench.sign_in()
    manners = bench.sim.rest_manners
    manners.list_form = manners.without_names = True
    listed = await bench.get("/devices")
    assert [entry["Id"] for entry in listed["Devices"]] == bench.owner.devices
    assert not any("Name" in entry for entry in listed["Devices"])
    states = (await bench.get("/devices/state"))["DeviceStates"]
    assert [state["Id"] for state in states] == [state["Device"] for state in states] == bench.owner.devices
    manners.list_form = False
    manners.milliseconds, manners.number_texts, manners.missing = True, True, frozenset({"Rssi"})
    state = (await bench.get("/devices/state"))["DeviceStatesObj"][bench.device.id]
    assert state["CorrectedTemp"]["t"] > 10**12
    assert isinstance(state["CorrectedTemp"]["v"], str)
    assert state["Rssi"]["v"] == "-1"
    manners.ahead = 3600
    later = (await bench.get("/devices/state"))["DeviceStatesObj"][bench.device.id]
    assert later["CorrectedTemp"]["t"] - state["CorrectedTemp"]["t"] == 3_600_000
    assert later["Timestamp"] - state["Timestamp"] == 3600
    manners.bare = True
    state = (await bench.get("/devices/state"))["DeviceStatesObj"][bench.device.id]
    assert isinstance(state["CorrectedTemp"], str)


async def test_faults_of_the_service(bench: Bench) -> None:
    await bench.sign_in()
    bench.sim.rest_faults["/devices"] = RestFault(500, {"message": "x"}, times=1)
    assert (await bench.ask("GET", "/devices")).status == 500
    bench.sim.rest_faults["/devices/state"] = RestFault(delay=2.5)
    assert (await bench.ask("GET", "/devices/state")).delay == 2.5
    assert (await bench.ask("GET", "/devices")).status == 200
    assert list(bench.sim.requests)[-3:] == ["/devices", "/devices/state", "/devices"]


async def test_a_device_may_be_absent_from_the_state(bench: Bench) -> None:
    bench.device.faults.absent_from_state = True
    assert bench.device.id not in (await bench.get("/devices/state"))["DeviceStatesObj"]
    assert (await bench.get(f"/devices/state/{bench.device.id}"))["DeviceState"] == {}


async def test_the_state_follows_the_records_and_its_timestamp_advances(bench: Bench) -> None:
    async def timestamp() -> int:
        state = (await bench.get("/devices/state"))["DeviceStatesObj"][bench.device.id]
        return int(state["Timestamp"])

    first = await timestamp()
    bench.wait(45)
    second = await timestamp()
    assert first < second <= bench.now
    bench.device.faults.stale = True
    bench.wait(90)
    assert await timestamp() == second


async def test_connectivity_is_a_transition_in_milliseconds(bench: Bench) -> None:
    bench.wait(10)
    bench.sim.unplug(bench.device.id)
    bench.wait(2)
    state = (await bench.get("/devices/state"))["DeviceStatesObj"][bench.device.id]
    assert state["Connected"]["v"] is False
    assert abs(state["Connected"]["t"] / 1000 - (NOON + 11)) < 1.5
    bench.device.faults.connected = True
    state = (await bench.get("/devices/state"))["DeviceStatesObj"][bench.device.id]
    assert state["Connected"]["v"] is True


async def test_settings_are_fetched_when_the_device_is_told_to(bench: Bench) -> None:
    device = bench.device
    await bench.sign_in()
    reply = await bench.ask("POST", f"/devices/{device.id}", {"Lock": 1, "MinBrightness": 10, "ecoMode": "0"})
    assert reply.status == 200
    assert reply.body["ButtonState"] == "Locked"
    assert (reply.body["MinBrightness"], reply.body["ecoMode"]) == (10, 0)
    bench.wait(5)
    assert not device.panel.locked
    upper = frames.check_settings(device.id, bench.now).payload.replace(device.id.encode(), device.id.upper().encode())
    bench.send(upper)
    bench.wait(5)
    assert not device.panel.locked
    bench.send(frames.check_settings(device.id, bench.now).payload)
    bench.wait(5)
    assert device.panel.locked
    assert device.panel.brightness["i_br"] == 10
    state = (await bench.get("/devices/state"))["DeviceStatesObj"][device.id]
    assert state["Lock"]["v"] == 1


async def test_settings_that_are_none(bench: Bench) -> None:
    await bench.sign_in()
    for body in ([], {"Id": "another"}):
        assert (await bench.ask("POST", f"/devices/{bench.device.id}", body)).status == 400
    headers = {"authorization": bench.id_token}
    request = Request("POST", "h", f"/devices/{bench.device.id}", {}, headers, b"{")
    assert (await bench.sim.rest(request)).status == 400


async def test_brightness_is_kept_in_both_forms() -> None:
    bench = Bench("BB-V2-0")
    await bench.sign_in()
    changes = {"MaxBrightness": 40, "AutoBrightness": False, "ButtonState": "Locked"}
    entry = (await bench.ask("POST", f"/devices/{bench.device.id}", changes)).body
    assert (entry["Brightness"]["a_br"], entry["Brightness"]["a_b"], entry["Lock"]) == (40, 0, 1)


async def test_a_model_may_be_renamed_and_the_profile_still_knows_the_truth() -> None:
    bench = Bench("BB-V2-0-L")
    await bench.sign_in()
    entry = (await bench.ask("POST", f"/devices/{bench.device.id}", {"Model": "BB-V2-0"})).body
    assert entry["Model"] == "BB-V2-0"
    user = (await bench.get("/users"))["User"]
    assert user["DevicesPaired"]["State"]["BB"][bench.device.id]["deviceType"] == "BB-V2-0-L"
    bench.command(body_type=4, sp=10.0)
    assert bench.acks() == []
    bench.command(body_type=5, sp=10.0)
    assert len(bench.acks()) == 1


async def test_what_is_only_listed() -> None:
    bench = Bench("ST-V1-0", "BB-V3-0")
    listed = (await bench.get("/devices"))["DevicesObj"]
    assert set(next(iter(listed.values()))) == set(sample("devices_with_central_hvac")["DevicesObj"]["02a17e4b1c07"])
    assert (await bench.get("/devices/state"))["DeviceStatesObj"] == {}
    for device in bench.sim.thermostats.values():
        bench.send(frames.start_publishing(device.id, bench.now).payload, device)
        bench.command(device, body_type=4, sp=20.0)
    assert bench.wait(400) == []


# --- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("/v1/dev/{id}/out", True),
        ("/v1/dev/{id}/in", True),
        ("/v1/dev/{id}/batch", True),
        ("$aws/things/{id}/shadow/name/modes/get", True),
        ("$aws/things/{id}/shadow/name/modes/update/accepted", True),
        ("/v1/dev/{foreign}/out", False),
        ("/v1/dev/+/out", False),
        ("/v1/dev/{id}/#", False),
        ("v1/dev/{id}/out", False),
        ("/v1/dev/{id}/other", False),
        ("#", False),
        ("", False),
    ],
)
def test_the_policy(bench: Bench, topic: str, allowed: bool) -> None:
    foreign = bench.sim.add_thermostat(account=bench.sim.add_account("neighbour@example.com"))
    topic = topic.format(id=bench.device.id, foreign=foreign.id)
    assert bench.sim.may_subscribe(bench.owner.principal, "c", topic) is allowed
    assert bench.sim.may_publish(bench.owner.principal, "c", topic) is allowed
    assert not bench.sim.may_subscribe("mysa/nobody", "c", topic)


def test_what_it_serves(bench: Bench) -> None:
    def serves(path: str, **headers: str) -> bool:
        return bench.sim.serves(Request("GET", "localhost", path, {}, headers, b""))

    assert serves(f"/{USER_POOL}/.well-known/jwks.json")
    assert serves("/things/0123456789ab")
    assert serves("/devices/state")
    assert not serves("/")
    assert not serves("/api/v2.1/device/list")
    assert not serves("/", **{"x-amz-target": "DynamoDB_20120810.GetItem"})


async def test_unsigned_things_are_forbidden(bench: Bench) -> None:
    reply = await bench.ask("GET", f"/things/{bench.device.id}")
    assert (reply.status, reply.headers["x-amzn-ErrorType"]) == (403, "ForbiddenException")


# --- what thermostats say ---------------------------------------------------------------------------------------------


def test_every_model_publishes_in_its_own_way(bench: Bench) -> None:
    wanted = {
        "BB-V1-1": {0: "out_status_v1_msgtype0"},
        "BB-V2-0": {40: "out_status_v2_msg40"},
        "BB-V2-0-L": {40: "out_status_lite_msg40"},
        "INF-V1-0": {17: "out_status_infloor_msg17", 16: "out_infloor_power_msg16", 40: "out_status_infloor_msg17"},
        "AC-V1-0": {30: "out_status_ac_msg30", 31: "out_acstate_msg31"},
        "AC-V1-1": {30: "out_status_ac_msg30", 31: "out_acstate_msg31"},
    }
    for device in bench.sim.thermostats.values():
        bench.send(frames.start_publishing(device.id, bench.now).payload, device)
    said = bench.wait(60)
    for device in bench.sim.thermostats.values():
        mine = [json.loads(payload) for topic, payload, qos in said if topic == frames.topic_out(device.id)]
        samples = wanted[device.model.code]
        assert {message.get("MsgType", message.get("msg")) for message in mine} == set(samples)
        for message in mine:
            number = message.get("MsgType", message.get("msg"))
            pattern = sample(samples[number])
            if number == 40:
                pattern["msg"] = 40
            assert shape(message) == shape(pattern)
        # At once, and then each five seconds.
        assert 11 <= sum(message.get("MsgType", message.get("msg")) in (0, 17, 30, 40) for message in mine) <= 13
    assert {qos for _, _, qos in said} == {0}


def test_what_it_says_is_the_truth_when_decoded(bench: Bench) -> None:
    for device in bench.sim.thermostats.values():
        built = devices.build(device.listed)
        device.zone.frozen = device.faults.frozen = True
        bench.send(frames.start_publishing(device.id, bench.now).payload, device)
        topic = frames.topic_out(device.id)
        found: dict[str, Any] = {}
        for _, payload, _ in [item for item in bench.wait(7) if item[0] == topic]:
            found |= devices.decode(built, frames.parse(payload, topic), found).values
        state = device.state
        assert found["current_temperature"] == pytest.approx(state.air, abs=0.051)
        assert found["humidity"] == pytest.approx(state.humidity, abs=0.51)
        assert found["target_temperature"] == pytest.approx(state.setpoint)
        if device.model.family is Family.IN_FLOOR:
            assert found["floor_temperature"] == pytest.approx(state.surface, abs=0.051)
            assert found["tracked_sensor"] == "floor"
        if device.model.family is Family.BASEBOARD_V1:
            assert found["current"] == pytest.approx(device.zone.current, abs=0.01)
        if device.model.family is Family.AC:
            assert found["mode"] == state.mode


def test_publishing_ends_by_itself_and_can_be_prolonged() -> None:
    bench = Bench("BB-V2-0")
    bench.send(frames.start_publishing(bench.device.id, bench.now, 20).payload)
    assert len(bench.heard(15)) == 3
    assert bench.device.publishing
    bench.send(frames.start_publishing(bench.device.id, bench.now, 20).payload)
    assert len(bench.heard(60)) == 4
    assert not bench.device.publishing
    for timeout in (0, -1, "300", 10**9):
        message = {"Device": bench.device.id, "MsgType": 11, "Timeout": timeout, "Timestamp": int(bench.now)}
        bench.send(json.dumps(message).encode())
    assert bench.heard(20) == []


def test_the_cadence_follows_the_speed() -> None:
    bench = Bench("BB-V2-0", speed=2.0)
    bench.send(frames.start_publishing(bench.device.id, bench.now).payload)
    assert 10 <= len(bench.heard(30)) <= 13
    bench = Bench("BB-V2-0", speed=3600.0)
    bench.send(frames.start_publishing(bench.device.id, bench.now).payload)
    assert 27 <= len(bench.heard(30)) <= 33


def test_unasked_reports_are_rare() -> None:
    bench = Bench("BB-V2-0", report=300.0)
    assert 10 <= len(bench.heard(3600)) <= 15


def test_dry_mode_has_no_target() -> None:
    bench = Bench("AC-V1-0")
    bench.command(md=6)
    assert bench.acks()[0]["body"]["state"]["sp"] == 0
    bench.device.report()
    status = bench.heard(0.1)[0]
    assert shape(status) == shape(sample("out_status_ac_dry_msg30"))
    assert (status["body"]["stpt"], status["body"]["3"]) == (0, 0)


def test_msg_31_carries_what_has_changed() -> None:
    bench = Bench("AC-V1-0")
    bench.device.report()
    assert set(bench.heard(0.1)[1]["body"]) == {"1", "2", "3", "4", "5", "9", "98"}
    bench.command(md=4, fn=5)
    bench.wait(1)
    bench.device.report()
    assert bench.heard(0.1)[1]["body"] == {"2": 4, "4": 5}


def test_boot_messages() -> None:
    bench = Bench("BB-V2-0")
    bench.send(frames.start_publishing(bench.device.id, bench.now).payload)
    bench.wait(5)
    bench.sim.unplug(bench.device.id)
    assert bench.wait(20) == []
    bench.sim.plug_in(bench.device.id)
    greeting, firmware = bench.heard(20)  # and no status: it has forgotten that it was asked
    assert shape(greeting) == shape(sample("out_post_boot_msgtype10"))
    assert shape(firmware) == shape(sample("out_boot_firmware_msg61"))
    assert firmware["time"] == 0


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_dump_brings_the_records_and_then_log_and_firmware(bench: Bench) -> None:
    versions = {"BB-V1-1": 0, "BB-V2-0": 3, "BB-V2-0-L": 3, "INF-V1-0": 1}
    for device in bench.sim.thermostats.values():
        bench.send(frames.dump_readings(device.id, bench.now).payload, device)
        said = bench.wait(5)
        readings = bench.readings(said)
        if device.model.family is Family.AC:
            assert readings == []
        else:
            assert {reading.version for reading in readings} == {versions[device.model.code]}
            assert all(reading.checksum_ok for reading in readings)
            assert len(readings) >= 2
            times = [reading.at for reading in readings]
            assert times == sorted(set(times))
            assert bench.now - 660 < times[0] < times[-1] <= bench.now
            carrier = next(json.loads(payload) for topic, payload, _ in said if topic.endswith("/batch"))
            assert shape(carrier) == shape(sample("batch_v3_baseboard_v2"))
        others = [json.loads(payload) for topic, payload, _ in said if topic.endswith("/out")]
        assert [message.get("MsgType", message.get("msg")) for message in others] == [4, 4, 61]
        assert device.serial in others[1]["Message"]


def test_records_are_what_happened() -> None:
    bench = Bench("BB-V2-0", "INF-V1-0", batch_minutes=10)
    bench.wait(1200)
    energies = {device.id: device.state.energy for device in bench.sim.thermostats.values()}
    said = bench.wait(7200)
    for device in bench.sim.thermostats.values():
        readings = bench.readings([item for item in said if item[0] == frames.topic_batch(device.id)])
        assert 230 <= len(readings) <= 270
        on = sum(reading.fields["on_time"] / 10 for reading in readings)
        used = device.state.energy - energies[device.id]
        assert device.zone.room.watts * on / 3600 == pytest.approx(used, rel=0.15)
        for reading in readings:
            assert 29.0 <= (reading.fields["on_time"] + reading.fields["off_time"]) / 10 <= 31.1
            assert reading.fields["setpoint"] == round(device.state.setpoint * 10)
            assert reading.fields["sensor_temp"] > reading.fields["ambient_temp"]
            if device.model.family is Family.BASEBOARD_V2 and reading.fields["on_time"]:
                assert reading.fields["current"] == pytest.approx(625, rel=0.05)


def test_the_lite_measures_neither_current_nor_signal() -> None:
    bench = Bench("BB-V2-0-L")
    bench.send(frames.dump_readings(bench.device.id, bench.now).payload)
    for reading in bench.readings(bench.wait(5)):
        assert (reading.fields["current"], reading.fields["line_voltage"]) == (0, 0)
        assert reading.fields["rssi"] in (1, -1)


def test_late_duplicate_and_damaged_batches() -> None:
    bench = Bench("BB-V2-0")
    faults = bench.device.faults
    bench.wait(300)
    faults.late_batches = 60.0
    faults.duplicate_batches = faults.bad_checksums = True
    bench.send(frames.dump_readings(bench.device.id, bench.now).payload)
    assert bench.readings(bench.wait(30)) == []
    readings = bench.readings(bench.wait(60))
    half = len(readings) // 2
    assert [reading.data for reading in readings[:half]] == [reading.data for reading in readings[half:]]
    assert {reading.checksum_ok for reading in readings} == {True, False}
    assert bench.now - readings[0].at > 60


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "command", "answer"),
    [
        ("BB-V1-1", "in_cmd_setpoint_v1_msg44", "out_ack_setpoint_v1_msg44"),
        ("BB-V2-0", "in_cmd_setpoint_v2_msg44", "out_ack_setpoint_v2_msg44"),
        ("BB-V2-0", "in_cmd_stringified_msg44", "out_ack_setpoint_v2_msg44"),
        ("BB-V2-0-L", "in_cmd_mode_off_lite_msg44", "out_ack_mode_off_lite_msg44"),
        ("INF-V1-0", "in_cmd_track_ambient_infloor_msg44", "out_ack_track_ambient_infloor_msg44"),
        ("AC-V1-0", "in_cmd_cool_ac_msg44", "out_ack_cool_ac_msg44"),
        ("AC-V1-0", "in_cmd_heat_ac_no_fan_msg44", "out_ack_heat_ac_no_fan_msg44"),
    ],
)
def test_the_sample_commands_are_answered_as_in_the_samples(model: str, command: str, answer: str) -> None:
    bench = Bench(model)
    message, expected = sample(command), sample(answer)
    message["dest"]["ref"] = bench.device.id
    bench.send(json.dumps(message).encode())
    (ack,) = bench.acks()
    assert shape(ack) == shape(expected)
    assert ack["resp_id"] == message["id"]
    assert (ack["body"]["success"], ack["body"]["trig_src"]) == (1, 3)
    cmd = message["body"]["cmd"]
    settings = (json.loads(cmd) if isinstance(cmd, str) else cmd)[0]
    shown = {name: value for name, value in settings.items() if name != "tm"}
    assert shown.items() <= ack["body"]["state"].items()
    assert bench.sim.received_commands[-1].outcome == "applied"


def test_answers_take_their_time_and_keep_their_order() -> None:
    bench = Bench("BB-V2-0", answer=(0.2, 1.0))
    sent = [bench.command(sp=20.0 + number / 2) for number in range(5)]
    assert bench.heard(0.1) == []
    acks = bench.acks(1.5)
    assert [ack["resp_id"] for ack in acks] == sent
    assert acks[-1]["body"]["state"]["sp"] == bench.device.state.setpoint == 22.0


@pytest.mark.parametrize("wrong", [0, 1, 2, 3, 5, 44])
def test_a_wrong_type_is_ignored_in_silence(wrong: int) -> None:
    bench = Bench("BB-V2-0")
    bench.command(body_type=wrong, sp=25.0)
    assert bench.heard(20) == []
    assert bench.device.state.setpoint == 20.5
    assert bench.sim.received_commands[-1].outcome == "ignored"


REFUSED = [
    ("BB-V2-0", {"sp": 20.3}),
    ("BB-V2-0", {"sp": 4.5}),
    ("BB-V2-0", {"sp": 30.5}),
    ("BB-V2-0", {"sp": "20"}),
    ("BB-V2-0", {"sp": None}),
    ("BB-V2-0", {"md": 4}),
    ("BB-V2-0", {"md": 0}),
    ("BB-V2-0", {"md": True}),
    ("BB-V2-0", {"fn": 3}),
    ("BB-V2-0", {"tr": 5}),
    ("BB-V2-0", {"lk": 2}),
    ("BB-V2-0", {"br": {"a_br": 101}}),
    ("BB-V2-0", {"br": {"other": 1}}),
    ("BB-V2-0", {"ho": 3}),
    ("BB-V2-0", {"tm": "now"}),
    ("BB-V1-1", {"pr": 1}),
    ("INF-V1-0", {"sp": 40.5}),
    ("INF-V1-0", {"tr": 4}),
    ("AC-V1-0", {"sp": 21.5}),
    ("AC-V1-0", {"sp": 16}),
    ("AC-V1-0", {"md": 3, "fn": 7}),
    ("AC-V1-0", {"md": 6, "sp": 22}),
    ("AC-V1-0", {"ss": 9}),
    ("AC-V1-0", {"ssh": 4}),
    ("AC-V1-0", {"it": 2}),
    ("AC-V1-1", {"fn": 3}),
]


@pytest.mark.parametrize(("model", "cmd"), REFUSED)
def test_refused_commands_change_nothing(model: str, cmd: dict[str, Any]) -> None:
    bench = Bench(model)
    before = (bench.device.state.mode, bench.device.state.setpoint, bench.device.state.fan)
    bench.command(**cmd)
    assert bench.acks(20) == []
    assert (bench.device.state.mode, bench.device.state.setpoint, bench.device.state.fan) == before
    assert bench.sim.received_commands[-1].outcome == "refused"
    bench.device.faults.tell_refusals = True
    sent = bench.command(**cmd)
    (ack,) = bench.acks()
    assert (ack["resp_id"], ack["body"]["success"]) == (sent, 0)
    assert shape(ack).keys() == shape(sample("out_ack_failure_msg44")).keys()


ACCEPTED = [
    ("BB-V2-0", {}, {}),
    ("BB-V2-0", {"unknown": 1}, {}),
    ("BB-V2-0", {"md": 1}, {"mode": "off"}),
    ("BB-V2-0", {"sp": 5}, {"setpoint": 5.0}),
    ("INF-V1-0", {"sp": 40.0}, {"setpoint": 40.0}),
    ("INF-V1-0", {"tr": 5}, {"tracked": "ambient"}),
    ("AC-V1-0", {"md": 4, "sp": 24, "fn": 8, "ss": 7}, {"mode": "cool", "setpoint": 24.0, "fan": 8, "swing": 7}),
    ("AC-V1-0", {"it": 1}, {"climate_plus": True}),
    ("AC-V1-0", {"md": 5}, {"mode": "fan_only"}),
    ("AC-V1-0", {"md": 1}, {"mode": "off"}),
    ("AC-V1-1", {"fn": 6}, {"fan": 6}),
    ("AC-V1-1", {"ssh": 12}, {"swing_horizontal": 12}),
]


@pytest.mark.parametrize(("model", "cmd", "truth"), ACCEPTED)
def test_accepted_commands(model: str, cmd: dict[str, Any], truth: dict[str, Any]) -> None:
    bench = Bench(model)
    before = dict(_truth(bench))
    bench.command(**cmd)
    (ack,) = bench.acks()
    assert ack["body"]["success"] == 1
    assert {name: getattr(bench.device.state, name) for name in truth} == truth
    if not truth:
        assert _truth(bench) == before


def _truth(bench: Bench) -> dict[str, Any]:
    state = bench.device.state
    return {name: getattr(state, name) for name in ("mode", "setpoint", "fan", "swing", "tracked", "climate_plus")}


def test_panel_commands() -> None:
    bench = Bench("BB-V2-0")
    bench.command(lk=1, pr=0, ho=2, br={"a_br": 50, "a_b": 0})
    (ack,) = bench.acks()
    state = ack["body"]["state"]
    assert (state["lk"], state["ho"]) == (1, 2)
    assert state["br"] == {"a_b": 0, "a_br": 50, "a_dr": 60, "i_br": 25, "i_dr": 30}
    bench.wait(5)
    listed = bench.device.listed
    assert (listed["ButtonState"], listed["Lock"], listed["MaxBrightness"]) == ("Locked", 1, 50)
    assert listed["ProximityMode"] is False


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message.update(id=message["id"] // 1000),
        lambda message: message.update(id=None),
        lambda message: message["dest"].update(ref=message["dest"]["ref"].upper()),
        lambda message: message.update(dest=None),
        lambda message: message.update(body=[]),
        lambda message: message["body"].update(cmd={"sp": 25.0}),
        lambda message: message["body"].update(cmd=[{"sp": 25.0}, {}]),
        lambda message: message["body"].update(cmd="["),
        lambda message: message["body"].update(cmd=[]),
        lambda message: message["body"].update(type="4"),
        lambda message: message.update(msg=45),
    ],
)
def test_commands_that_a_device_does_not_understand(spoil: Any) -> None:
    bench = Bench("BB-V2-0")
    message = sample("in_cmd_setpoint_v2_msg44")
    message["dest"]["ref"] = bench.device.id
    spoil(message)
    bench.send(json.dumps(message).encode())
    assert bench.heard(20) == []
    assert bench.device.state.setpoint == 20.5


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"msg":44}', b'{"MsgType":11}'])
def test_rubbish_is_not_heard(payload: bytes) -> None:
    bench = Bench("BB-V2-0")
    bench.send(payload)
    assert bench.heard(20) == []


def test_an_air_conditioner_that_was_not_set_up_takes_nothing_but_off() -> None:
    bench = Bench("AC-V1-0")
    bench.device.listed["SetupRequired"] = True
    bench.command(md=4)
    assert bench.acks() == []
    bench.command(md=1)
    assert len(bench.acks()) == 1


async def test_the_rest_service_learns_of_a_command_later() -> None:
    bench = Bench("BB-V2-0", rest=(5.0, 5.0))
    bench.command(sp=25.0)
    bench.acks()

    async def shown() -> float:
        state = (await bench.get("/devices/state"))["DeviceStatesObj"][bench.device.id]
        return float(state["SetPoint"]["v"])

    assert await shown() == 20.5
    assert bench.device.state.setpoint == 25.0
    bench.wait(6)
    assert await shown() == 25.0
    assert bench.device.listed["SetPoint"] == 25.0


def test_the_v1_says_a_new_setpoint_twice() -> None:
    bench = Bench("BB-V1-1")
    bench.command(sp=19.5)
    said = bench.wait(1)
    change, qos = next((json.loads(payload), qos) for _, payload, qos in said if b'"Next"' in payload)
    assert qos == 1
    assert shape(change) == shape(sample("out_setpoint_change_msgtype1"))
    assert (change["Prev"], change["Next"], change["Source"]) == (18.5, 19.5, 3)
    bench.device.press(setpoint=17.0)
    messages = bench.heard(0.1)
    assert messages[0]["body"]["trig_src"] == 1
    assert "resp_id" not in messages[0]
    assert (messages[1]["Next"], messages[1]["Source"]) == (17.0, 1)


def test_buttons() -> None:
    bench = Bench("BB-V2-0")
    bench.device.faults.without_mode = True
    bench.device.press(setpoint=19.0)
    (message,) = bench.heard(0.1)
    assert shape(message) == shape(sample("out_button_change_without_md_msg44"))
    bench.device.press(mode="off", locked=True)
    assert bench.device.state.mode == "off"
    assert bench.device.panel.locked


@pytest.mark.parametrize(("number", "echo"), [(40, 2), (5, 0), (40, 1)])
def test_the_echo_sends_it_into_pairing(number: int, echo: int, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench("BB-V2-0")
    assert bench.sim.pairing == ()
    message = {"Device": bench.device.id, "MsgType": number, "EchoID": echo, "Timestamp": int(bench.now)}
    with caplog.at_level(logging.ERROR):
        bench.send(json.dumps(message).encode())
    assert bench.sim.pairing == (bench.device.id,)
    assert "pairing" in caplog.text
    bench.wait(40)
    bench.send(frames.start_publishing(bench.device.id, bench.now).payload)
    assert bench.wait(20) == []


def test_harmless_messages_without_an_echo_do_nothing() -> None:
    bench = Bench("BB-V2-0")
    for name in ("in_cloud_nudge_msgtype20", "in_schedule_set_msg34", "in_schedule_delete_msg34"):
        bench.send(json.dumps(sample(name)).replace("02a17e4b1c02", bench.device.id).encode())
    bench.send(json.dumps({"Device": bench.device.id, "MsgType": 5}).encode())
    assert bench.wait(60) == []
    assert bench.sim.pairing == ()


# --- faults -----------------------------------------------------------------------------------------------------------


def test_faults_of_acknowledgements() -> None:
    bench = Bench("BB-V2-0")
    faults, state = bench.device.faults, bench.device.state
    faults.drop_acks = True
    bench.command(sp=21.0)
    assert bench.acks(20) == []
    assert state.setpoint == 21.0
    faults.drop_acks = False

    faults.late_acks = 12.0
    bench.command(sp=21.5)
    assert bench.acks(11) == []
    assert state.setpoint == 21.5
    assert len(bench.acks(3)) == 1
    faults.late_acks = 0.0

    faults.double_acks = True
    bench.command(sp=22.0)
    assert len(bench.acks()) == 2
    faults.double_acks = False

    faults.contradict_acks = True
    bench.command(sp=25.0)
    (ack,) = bench.acks()
    assert (ack["body"]["success"], ack["body"]["state"]["sp"], state.setpoint) == (1, 22.0, 22.0)
    faults.contradict_acks = False

    faults.fail_acks = True
    bench.command(sp=25.0)
    (ack,) = bench.acks()
    assert (ack["body"]["success"], ack["body"]["state"]["sp"]) == (0, 22.0)
    assert bench.sim.received_commands[-1].outcome == "failed"
    faults.fail_acks = False

    faults.without_resp_id = faults.without_mode = True
    bench.command(sp=23.0)
    (ack,) = bench.acks()
    assert "resp_id" not in ack
    assert "md" not in ack["body"]["state"]


def test_devices_that_do_not_hear_or_are_not_heard() -> None:
    bench = Bench("BB-V2-0")
    faults, state = bench.device.faults, bench.device.state
    faults.deaf = True
    bench.command(sp=21.0)
    bench.device.report()
    assert len(bench.heard(2)) == 1
    assert state.setpoint == 20.5
    faults.deaf = False
    faults.silent = True
    bench.command(sp=21.0)
    assert bench.heard(2) == []
    assert state.setpoint == 21.0
    faults.silent = False
    bench.command(sp=22.0)
    faults.offline = True
    assert bench.heard(2) == []
    assert state.setpoint == 21.0
    assert bench.sim.received_commands[-1].outcome == "ignored"


def test_faults_of_the_voice() -> None:
    bench = Bench("BB-V2-0")
    faults = bench.device.faults

    def said() -> list[bytes]:
        bench.device.report()
        return [payload for _, payload, _ in bench.wait(0.1)]

    faults.duplicate = True
    first, second = said()
    assert first == second
    faults.duplicate = False
    faults.truncated = True
    assert not said()[0].endswith(b"}")
    faults.truncated = False
    faults.garbled = True
    assert b"\xff\x00\xfe" in said()[0]
    faults.garbled = False
    faults.unknown_messages = True
    assert json.loads(said()[1])["msg"] == 77
    faults.unknown_messages = False
    faults.clock_offset = -5000.0
    assert json.loads(said()[0])["time"] == int(bench.now - 0.1) - 5000


def test_a_raw_newline_in_the_log() -> None:
    bench = Bench("BB-V2-0")
    bench.device.faults.raw_newline = True
    bench.send(frames.dump_readings(bench.device.id, bench.now).payload)
    line = next(payload for _, payload, _ in bench.wait(5) if b"Serial" in payload)
    assert b"\n" in line
    frame = frames.parse(line)
    assert frame.fields["serial"] == bench.device.serial


def test_the_in_floor_may_say_things_beside_the_body() -> None:
    bench = Bench("INF-V1-0")
    bench.device.faults.beside_body = True
    bench.device.report()
    message = bench.heard(0.1)[0]
    assert "heatStat" in message
    assert "heatStat" not in message["body"]


def test_frozen_rooms_stay_as_they_are() -> None:
    bench = Bench("BB-V2-0")
    bench.device.faults.frozen = True
    before = bench.device.state.air
    bench.wait(600)
    assert bench.device.state.air == before


async def test_removed_devices_are_gone(bench: Bench) -> None:
    device = bench.device
    bench.send(frames.start_publishing(device.id, bench.now).payload)
    bench.wait(3)
    bench.sim.remove(device.id)
    assert bench.wait(60) == []
    assert device.id not in (await bench.get("/devices"))["DevicesObj"]
    assert not bench.sim.may_subscribe(bench.owner.principal, "c", frames.topic_out(device.id))


def test_cutting_an_account(bench: Bench) -> None:
    bench.sim.disconnect(bench.owner)
    assert bench.cut == [bench.owner.principal]


def test_what_the_real_broker_loses() -> None:
    topic = frames.topic_in("0123456789ab")
    assert is_start_publishing(topic, frames.start_publishing("0123456789ab", NOON).payload)
    assert not is_start_publishing(topic, frames.dump_readings("0123456789ab", NOON).payload)
    assert not is_start_publishing(topic, b"{")


# --- the whole --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_house() -> None:
    def life(seed: int) -> list[tuple[str, bytes, int]]:
        bench = Bench(seed=seed, batch_minutes=1, report=10.0)
        return bench.wait(120)

    assert life(1) == life(1)
    assert life(1) != life(2)


def test_the_account_section(bench: Bench) -> None:
    section = bench.sim.account("localhost", 8443, "/ca.pem")
    assert (section["vendor"], section["email"], section["password"]) == (
        "mysa",
        bench.owner.email,
        bench.owner.password,
    )
    assert section["api_url"] == section["user_pool_url"] == section["identity_pool_url"] == "https://localhost:8443"
    assert "poll_interval" not in section
    assert simulator(0, poll_interval=60).account("h", 1, "x")["poll_interval"] == 60


def test_a_hundred_thermostats_have_a_name_each() -> None:
    sim = simulator(100)
    assert len({device.listed["Name"] for device in sim.thermostats.values()}) == 100
    assert {device.model.code for device in sim.thermostats.values()} == set(MODELS)


# --- physics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_day_of_each_model_is_plausible(model: str) -> None:
    bench = Bench(model)
    zone, state = bench.device.zone, bench.device.state
    tracked, humidity, duties, energy = [], [], [], state.energy
    for _ in range(1440):
        zone.step(60)
        tracked.append(zone.tracked)
        humidity.append(state.humidity)
        duties.append(state.duty)
        assert -15 < state.outside < 15
        assert 1.0 < state.sensor - state.air < 5.0  # warmed by the electronics
        assert 230 < state.voltage < 250
        assert 0 <= state.duty <= 1
    # The sun may make it warmer than wanted, a machine colder by half a degree.
    assert state.setpoint - 1.0 < min(tracked) < max(tracked) < state.setpoint + 2.0
    assert 10 < min(humidity) <= max(humidity) < 95
    used = state.energy - energy
    if bench.device.model.family is Family.AC:
        assert state.duty == 0
        assert 1_000 < used < 20_000
    else:
        assert 0.03 < sum(duties) / len(duties) < 0.8
        assert used == pytest.approx(sum(duties) / len(duties) * zone.room.watts * 24, rel=0.1)


def test_a_relay_cycles_and_a_triac_does_not() -> None:
    weather = Weather("1")
    relay = Zone(Room(), weather, time=NOON)
    triac = Zone(Room(triac=True), weather, time=NOON)
    currents = set()
    for _ in range(3600):
        relay.step(1)
        triac.step(1)
        currents.add(round(relay.current > 0))
        if triac.state.duty:
            assert triac.current == pytest.approx(triac.state.duty * triac.on_current)
    assert currents == {0, 1}
    assert 100 <= relay.state.switched <= 121  # once in 30 s


def test_switched_off_it_cools_down_and_a_higher_target_warms_it_up() -> None:
    bench = Bench("BB-V2-0")
    zone, state = bench.device.zone, bench.device.state
    bench.command(md=1)
    bench.acks()
    assert not state.relay
    zone.step(6 * 3600)
    cold = state.air
    assert cold < 19
    bench.command(md=3, sp=24.0)
    bench.acks()
    assert state.relay
    zone.step(3 * 3600)
    assert state.air > cold + 2


def test_an_air_conditioner_cools_and_dries() -> None:
    bench = Bench("AC-V1-1")
    zone, state = bench.device.zone, bench.device.state
    zone.step(3600)
    damp = state.vapour
    bench.command(sp=20)
    bench.acks()
    zone.step(2 * 3600)
    assert state.heat < 0
    assert abs(state.air - 20) < 1
    assert state.vapour < damp
    bench.command(md=1)
    bench.acks()
    zone.step(3600)
    assert abs(state.heat) < 1
    assert state.air > 21


def test_time_may_pass_in_any_pieces() -> None:
    weather = Weather("7")
    whole = Zone(Room(), weather, time=NOON, seed="a")
    pieces = Zone(Room(), weather, time=NOON, seed="a")
    whole.step(3600)
    for _ in range(360):
        pieces.step(10)
    assert pieces.state.time == pytest.approx(whole.state.time)
    assert pieces.state.air == pytest.approx(whole.state.air, abs=0.3)
