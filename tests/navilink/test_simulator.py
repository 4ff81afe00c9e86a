"""The simulated cloud without sockets: REST, policy, answers, controls, dialects, faults and physics."""

from __future__ import annotations

import base64
import json
import random
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from support.heater import NOON, Bench
from support.navilink import sample

from navibridge.simulation import Agenda, Request
from navibridge.vendors.navilink import frames, messages, packed, schedules
from navibridge.vendors.navilink.codes import GasCommand, GasQuery, Query
from navibridge.vendors.navilink.simulated import reports
from navibridge.vendors.navilink.simulated.cloud import RestFault
from navibridge.vendors.navilink.simulated.physics import Heater, Model, Phase, Setting
from navibridge.vendors.navilink.simulated.tankless import Tankless


@pytest.fixture
def bench() -> Bench:
    return Bench()


def shape(value: Any) -> Any:
    """What a JSON value looks like, whatever stands in it."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


# --- REST -------------------------------------------------------------------------------------------------------------


async def test_sign_in_looks_like_the_sample(bench: Bench) -> None:
    reply = await bench.post("/user/sign-in", {"userId": bench.email, "password": bench.password})
    assert reply.status == 200
    assert shape(reply.body) == shape(sample("rest_sign_in_response"))
    token = reply.body["data"]["token"]
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", token["accessKeyId"])
    assert len(token["secretKey"]) == 40
    assert 1000 < len(token["idToken"]) < 1300
    assert 1600 < len(token["refreshToken"]) < 2000
    header, claims, _ = token["accessToken"].split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["alg"] == "RS256"
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["exp"] == int(NOON + 3600)


async def test_the_founding_description_may_say_email(bench: Bench) -> None:
    assert (await bench.post("/user/sign-in", {"email": bench.email, "password": bench.password})).status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"userId": "owner@example.com", "password": "wrong"}, 401),
        ({"userId": "nobody@example.com", "password": "wrong"}, 401),
        ({"userId": "owner@example.com"}, 400),
        ({}, 400),
        ([], 400),
    ],
)
async def test_refused_sign_ins(bench: Bench, body: Any, code: int) -> None:
    reply = await bench.post("/user/sign-in", body)
    assert (reply.status, reply.body["code"], reply.content_type) == (code, code, "application/json")
    assert isinstance(reply.body["msg"], str)


async def test_a_password_may_change_and_an_account_be_locked(bench: Bench) -> None:
    account = bench.sim.accounts[bench.email]
    account.password = "another-password"
    assert (await bench.post("/user/sign-in", {"userId": bench.email, "password": bench.password})).status == 401
    account.password, account.locked = bench.password, True
    assert (await bench.post("/user/sign-in", {"userId": bench.email, "password": bench.password})).status == 401


async def test_device_list_looks_like_the_sample(bench: Bench) -> None:
    await bench.sign_in()
    reply = await bench.post("/device/list", {"offset": 0, "count": 20, "userId": bench.email})
    (item,) = reply.body["data"]
    assert shape(item) == shape(sample("rest_device_list_response")["data"][0])
    assert re.fullmatch(r"02005e53[0-9a-f]{4}", item["deviceInfo"]["macAddress"])
    assert item["deviceInfo"]["connected"] == 2


@pytest.mark.parametrize("token", ["", "nonsense", "Bearer {}"])
async def test_tokens_that_are_none(bench: Bench, token: str) -> None:
    await bench.sign_in()
    reply = await bench.post("/device/list", {"userId": bench.email}, token=token.format(bench.token))
    assert (reply.status, reply.body["code"]) == (401, 401)


async def test_tokens_expire_and_the_old_one_stays_valid_after_a_refresh(bench: Bench) -> None:
    signed_in = await bench.sign_in()
    bench.pass_time(1800)
    fresh = (await bench.post("/auth/refresh", {"refreshToken": signed_in["refreshToken"]})).body["data"]
    assert set(fresh) == {"idToken", "accessToken", "refreshToken", "authenticationExpiresIn"}
    assert fresh["accessToken"] != signed_in["accessToken"]
    for token in (fresh["accessToken"], signed_in["accessToken"]):
        assert (await bench.post("/device/list", {"userId": bench.email}, token=token)).status == 200
    bench.pass_time(1801)
    assert (await bench.post("/device/list", {"userId": bench.email}, token=signed_in["accessToken"])).status == 401
    assert (await bench.post("/device/list", {"userId": bench.email}, token=fresh["accessToken"])).status == 200


async def test_unknown_and_revoked_refresh_tokens(bench: Bench) -> None:
    signed_in = await bench.sign_in()
    assert (await bench.post("/auth/refresh", {"refreshToken": "FAKE"})).status == 401
    assert (await bench.post("/auth/refresh", {})).status == 400
    bench.sim.revoke_tokens(bench.sim.accounts[bench.email])
    assert (await bench.post("/auth/refresh", {"refreshToken": signed_in["refreshToken"]})).status == 401
    assert (await bench.post("/device/list", {"userId": bench.email})).status == 401


async def test_lifetimes_are_parameters() -> None:
    bench = Bench(token_seconds=5, credential_seconds=7)
    token = await bench.sign_in()
    assert (token["authenticationExpiresIn"], token["authorizationExpiresIn"]) == (5, 7)
    grant = bench.sim.grant(token["accessKeyId"])
    assert grant is not None
    assert (grant.secret_key, grant.session_token) == (token["secretKey"], token["sessionToken"])
    assert (grant.expires_at, grant.principal) == (NOON + 7, "navilink/41250")
    bench.pass_time(60)
    assert bench.sim.grant(token["accessKeyId"]) == grant  # expired, and known as such
    bench.sim.revoke_credentials(bench.sim.accounts[bench.email])
    assert bench.sim.grant(token["accessKeyId"]) is None


@pytest.mark.parametrize("path", ["/device/list", "/device/info", "/device/firmware/info", "/device/tou/convert"])
async def test_the_user_id_must_be_the_tokens(bench: Bench, path: str) -> None:
    await bench.sign_in()
    device = {"macAddress": bench.heater.mac, "additionalValue": bench.heater.additional_value}
    assert (await bench.post(path, device)).status == 400
    assert (await bench.post(path, {**device, "userId": "other@example.com"})).status == 400


@pytest.mark.parametrize("path", ["/device/info", "/device/firmware/info"])
async def test_the_device_must_be_the_accounts(bench: Bench, path: str) -> None:
    other = bench.sim.add_account("neighbour@example.com", "neighbours-password")
    foreign = bench.sim.add_heater(account=other)
    await bench.sign_in()
    mine = {"userId": bench.email, "macAddress": bench.heater.mac, "additionalValue": bench.heater.additional_value}
    assert (await bench.post(path, mine)).status == 200
    for wrong in (
        {"additionalValue": "1"},
        {"macAddress": "02005e53ffff"},
        {"macAddress": foreign.mac, "additionalValue": foreign.additional_value},
    ):
        assert (await bench.post(path, {**mine, **wrong})).status == 400
    assert (await bench.post(path, {"userId": bench.email})).status == 400


@pytest.mark.parametrize(
    ("path", "name"),
    [("/device/info", "rest_device_info_response"), ("/device/firmware/info", "rest_firmware_info_response")],
)
async def test_device_answers_look_like_the_samples(bench: Bench, path: str, name: str) -> None:
    await bench.sign_in()
    body = {"userId": bench.email, "macAddress": bench.heater.mac, "additionalValue": bench.heater.additional_value}
    reply = await bench.post(path, body)
    expected = sample(name)
    if path == "/device/info":
        expected["data"]["location"]["altitude"] = 1.0
    else:
        assert len(reply.body["data"]["firmwares"]) == 4
    assert shape(reply.body) == shape(expected)


async def test_connectivity_status_is_forbidden(bench: Bench) -> None:
    await bench.sign_in()
    reply = await bench.post("/device/connectivity-status", {"userId": bench.email})
    assert (reply.status, reply.body["code"]) == (403, 403)


async def test_unknown_paths_and_the_older_base_path(bench: Bench) -> None:
    assert (await bench.post("/device/status", {})).status == 404
    assert (await bench.post("/user/sign-in", {}, method="GET")).status == 404
    body = {"userId": bench.email, "password": bench.password}
    assert (await bench.post("/user/sign-in", body, base="/api/v2")).status == 200
    assert bench.sim.serves(Request("POST", "127.0.0.1", "/api/v2/device/list", {}, {}, b""))
    assert not bench.sim.serves(Request("POST", "127.0.0.1", "/users", {}, {}, b""))


async def test_push_token_has_no_data(bench: Bench) -> None:
    await bench.sign_in()
    reply = await bench.post("/app/update-push-token", sample("rest_push_token_request"))
    assert reply.body == sample("rest_push_token_response")


async def test_paging() -> None:
    bench = Bench(45)
    await bench.sign_in()
    seen = []
    for offset, full in ((0, 20), (20, 20), (40, 5), (60, 0)):
        page = (await bench.post("/device/list", {"offset": offset, "count": 20, "userId": bench.email})).body["data"]
        assert len(page) == full
        seen += [item["deviceInfo"]["macAddress"] for item in page]
    assert seen == bench.sim.accounts[bench.email].macs
    for wrong in ({"offset": -1}, {"count": 0}, {"offset": "0"}):
        assert (await bench.post("/device/list", {**wrong, "userId": bench.email})).status == 400


async def test_what_the_list_says_of_a_device_can_be_set(bench: Bench) -> None:
    await bench.sign_in()
    bench.heater.name = "Renamed"
    bench.heater.faults.offline = True
    (info,) = await bench.listed()
    assert (info["deviceName"], info["connected"]) == ("Renamed", 1)
    bench.heater.faults.connected = 0
    assert (await bench.listed())[0]["connected"] == 0
    second = bench.sim.add_heater(name="New")
    assert [info["deviceName"] for info in await bench.listed()] == ["Renamed", "New"]
    bench.sim.remove(bench.heater.mac)
    assert [info["macAddress"] for info in await bench.listed()] == [second.mac]
    bench.sim.accounts[bench.email].empty_list = True
    assert await bench.listed() == []


async def test_rest_faults(bench: Bench) -> None:
    await bench.sign_in()
    bench.sim.rest_faults["/device/list"] = RestFault.outage(times=1)
    reply = await bench.post("/device/list", {"userId": bench.email})
    assert (reply.status, reply.content_type) == (504, "text/html")
    assert len(await bench.listed()) == 1
    bench.sim.rest_faults["*"] = RestFault(200, {"code": 401, "msg": "Unauthorized"})
    reply = await bench.post("/device/list", {"userId": bench.email})
    assert (reply.status, reply.body["code"]) == (200, 401)
    bench.sim.rest_faults["*"] = RestFault(delay=2.5)
    reply = await bench.post("/device/list", {"userId": bench.email})
    assert (reply.status, reply.delay) == (200, 2.5)
    bench.sim.rest_faults["*"] = RestFault(429, {"code": 429, "msg": "Slow"}, headers={"Retry-After": "7"})
    assert (await bench.post("/device/list", {})).headers == {"Retry-After": "7"}


async def test_time_of_use_plans_are_stored(bench: Bench) -> None:
    await bench.sign_in()
    query = {
        "additionalValue": bench.heater.additional_value,
        "controllerId": bench.heater.unit.model.serial,
        "macAddress": bench.heater.mac,
        "userId": bench.email,
        "userType": "O",
    }
    empty = (await bench.get("/device/tou", query)).body["data"]
    assert empty["touInfo"] == {"controllerId": bench.heater.unit.model.serial, "manufactureId": "56"}
    for missing in query:
        assert (await bench.get("/device/tou", {**query, missing: ""})).status == 400
    body = sample("rest_tou_put_request")
    body |= {"macAddress": bench.heater.mac, "additionalValue": bench.heater.additional_value}
    stored = await bench.post("/device/tou", body, method="PUT")
    assert stored.body["data"] == (await bench.get("/device/tou", query)).body["data"]
    assert shape(stored.body) == shape(sample("rest_tou_get_response"))
    assert stored.body["data"]["touInfo"]["schedule"] == body["touInfo"]["schedule"]
    assert (await bench.post("/device/tou", {**body, "touInfo": None}, method="PUT")).status == 400


async def test_rates_are_converted_to_the_sample(bench: Bench) -> None:
    """The rate of the sample, as OpenEI writes it: a dearer afternoon on weekdays, other prices in summer."""
    await bench.sign_in()
    winter_day, summer_day = [0] * 16 + [1] * 5 + [0] * 3, [2] * 16 + [3] * 5 + [2] * 3
    summer = range(5, 9)
    rate = {
        "utility": "Sample Power & Light",
        "name": "Sample TOU-4",
        "energyratestructure": [[{"rate": price}] for price in (0.1184, 0.2765, 0.1251, 0.3912)],
        "energyweekdayschedule": [summer_day if month in summer else winter_day for month in range(12)],
        "energyweekendschedule": [[2] * 24 if month in summer else [0] * 24 for month in range(12)],
    }
    body = {"sourceData": [rate], "sourceType": "openei", "sourceVersion": 7, "userId": bench.email, "userType": "O"}
    assert (await bench.post("/device/tou/convert", body)).body == sample("rest_tou_convert_response")
    body["sourceData"] = [{"name": "no tables"}]
    assert (await bench.post("/device/tou/convert", body)).status == 400


# --- what an account may do -------------------------------------------------------------------------------------------


async def test_the_policy(bench: Bench) -> None:
    other = bench.sim.add_account("neighbour@example.com", "neighbours-password")
    foreign = bench.sim.add_heater(account=other)
    mac, me = bench.heater.mac, "navilink/41250"
    allowed = (
        f"cmd/52/navilink-{mac}/#",
        f"cmd/52/navilink-{mac}/res",
        f"cmd/52/navilink-{mac}/+/res",
        f"cmd/1/navilink-{mac}/res/#",
        f"evt/52/navilink-{mac}/connection",
        f"evt/1/navilink-{mac}/app-connection",
        "cmd/52/31007/41250/mine/res",
        "cmd/52/31007/41250/mine/res/rsv/rd",
        "cmd/52/mine/res/rsv/rd",
        "evt/+/mobile/event/disconnect-mqtt",
    )
    refused = (
        "#",
        "cmd/#",
        "+/+/+/#",
        "cmd/52/#",
        "cmd/52/+/res",
        f"cmd/52/navilink-{foreign.mac}/#",
        f"evt/52/navilink-{foreign.mac}/connection",
        f"evt/52/navilink-{mac}/#",
        "cmd/52/31007/41250/other/res",
        "cmd/52/31007/41251/mine/res",
        "cmd/52/other/res/rsv/rd",
        "cmd/52/mine/res/#",
        f"cmd/52/{mac}/res",
        "cmd/52/navilink-+/#",
        "$SYS/#",
        "",
    )
    for topic_filter in allowed:
        assert bench.sim.may_subscribe(me, "mine", topic_filter), topic_filter
    for topic_filter in refused:
        assert not bench.sim.may_subscribe(me, "mine", topic_filter), topic_filter
    assert not bench.sim.may_subscribe("navilink/1", "mine", allowed[0])
    for topic in (f"cmd/52/navilink-{mac}/ctrl", f"evt/52/navilink-{mac}/app-connection"):
        assert bench.sim.may_publish(me, "mine", topic)
    for topic in (f"cmd/52/navilink-{foreign.mac}/st", f"evt/52/navilink-{mac}/x", "cmd/52", "evt/+/mobile/event/x"):
        assert not bench.sim.may_publish(me, "mine", topic)


@pytest.mark.parametrize("family", ["app", "library"])
def test_everything_our_sessions_subscribe_to_is_allowed(family: Any) -> None:
    bench = Bench(1, gas_units=1)
    for device in bench.sim.devices.values():
        address = bench.address(device, family=family)
        for topic_filter in messages.filters(address):
            assert bench.sim.may_subscribe("navilink/41250", address.client_id, topic_filter), topic_filter
        assert bench.sim.may_publish("navilink/41250", address.client_id, messages.will(address, "1")[0])


# --- questions --------------------------------------------------------------------------------------------------------


def test_an_answer_goes_where_the_request_wants_it(bench: Bench) -> None:
    bench.hold()
    for family in ("app", "library"):
        question = messages.query(bench.address(family=family), Query.STATUS, "1768478400123")
        assert not bench.ask(question, wait=0.1)
        ((topic, payload),) = bench.wait(1.0)
        envelope = json.loads(payload)
        assert topic == question.reply_topic
        assert (envelope["sessionID"], envelope["clientID"]) == ("1768478400123", "client-1")
        assert (envelope["requestTopic"], envelope["protocolVersion"]) == (question.topic, 2)
        assert "responseTopic" not in envelope
        assert envelope["response"]["status"]["command"] == Query.STATUS


@pytest.mark.parametrize("change", [{"macAddress": "02005e53ffff"}, {"additionalValue": "1"}, {"command": "x"}])
def test_a_request_for_somebody_else_is_ignored(bench: Bench, change: dict[str, Any]) -> None:
    bench.hold()
    question = messages.query(bench.address(), Query.STATUS, "1")
    envelope = json.loads(question.payload)
    envelope["request"] |= change
    bench.send(question.topic, json.dumps(envelope).encode())
    assert not bench.wait(20)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b'{"request": 3}', b"\x01\x00\x00\x03abcd", b"\xff"])
def test_nonsense_is_ignored(bench: Bench, payload: bytes) -> None:
    for suffix in ("st", "ctrl", "ctrl/rsv/rd", "", "res"):
        bench.send(f"cmd/52/{bench.heater.address}/{suffix}", payload)
    bench.send(f"evt/52/{bench.heater.address}/app-connection", payload)
    bench.send("a/b", payload)
    bench.send("cmd/52/navilink-000000000000/st", payload)
    assert all("/res" in topic for topic, _ in bench.wait(20))


@pytest.mark.parametrize(
    ("query", "form", "name"),
    [
        (Query.FEATURE, "feature", None),
        (Query.STATUS, "status", "mqtt_status_response"),
        (Query.RESERVATIONS, "reservations", "mqtt_reservation_read_response"),
        (Query.ENERGY_DAILY, "energy", "mqtt_energy_daily_response"),
        (Query.ENERGY_MONTHLY, "energy", "mqtt_energy_monthly_response"),
        (Query.FIRMWARE, "firmware", "mqtt_dl_sw_info_response"),
        (Query.TREND, "trend", "mqtt_trend_response"),
        (Query.RECIRCULATION_SCHEDULE, "recirculation_schedule", None),
        (Query.END, "acknowledgement", None),
    ],
)
def test_every_query_is_answered_like_its_sample(bench: Bench, query: Query, form: str, name: str | None) -> None:
    payload = bench.answer(query)
    assert frames.parse(payload, bench.heater.mac).form == form
    if name is not None:
        assert shape(json.loads(payload)) == shape(sample(name)["payload"])


def test_energy_adds_up(bench: Bench) -> None:
    response = json.loads(bench.answer(Query.ENERGY_DAILY, year=2026, month=[1, 12, 13]))["response"]
    january, december = response["usage"]
    assert (len(january["data"]), len(december["data"])) == (31, 31)
    assert january["data"][20] == december["data"][0] == {"heUsage": 0, "hpUsage": 0, "heTime": 0, "hpTime": 0}
    assert abs(response["total"]["hpUsage"] - sum(day["hpUsage"] for day in january["data"])) <= 31
    assert json.loads(bench.answer(Query.ENERGY_DAILY, year=2026, month=[1]))["response"]["usage"] == [january]
    monthly = json.loads(bench.answer(Query.ENERGY_MONTHLY, year=[2025, 2026]))["response"]["usage"]
    assert [entry["year"] for entry in monthly] == [2025, 2026]
    assert abs(monthly[1]["data"][0]["hpUsage"] - response["total"]["hpUsage"]) <= 1
    assert json.loads(bench.answer(Query.ENERGY_DAILY, year="x", month=None))["response"]["usage"] == []


def test_reservations_are_read_as_hex_with_an_empty_slot(bench: Bench) -> None:
    response = json.loads(bench.answer(Query.RESERVATIONS))["response"]
    assert response["reservation"].endswith("000000000000")
    assert schedules.from_hex(response["reservation"]) == (bench.heater.state.reservations, "")


# --- controls ---------------------------------------------------------------------------------------------------------

SIMPLE = {
    "power-off": (0x02000001, [], {"dhwOperationSetting": 6}),
    "dhw-mode": (0x02000005, [1], {"dhwOperationSetting": 1}),
    "vacation": (0x02000005, [5, 7], {"dhwOperationSetting": 5, "vacationDaySetting": 7}),
    "dhw-temperature": (0x02000020, [115], {"dhwTemperatureSetting": 115, "dhwTargetTemperatureSetting": 115}),
    "goout-day": (0x02000022, [9], {"vacationDaySetting": 9, "dhwOperationSetting": 3}),
    "anti-leg-on": (0x02000028, [14], {"antiLegionellaUse": 2, "antiLegionellaPeriod": 14}),
    "anti-leg-off": (0x02000027, [], {"antiLegionellaUse": 1}),
    "tou-on": (0x0200002C, [], {"touStatus": 1}),
    "tou-off": (0x0200002B, [], {"touStatus": 0}),
    "dr-on": (0x02000026, [], {"drEventStatus": 1}),
    "dr-off": (0x02000025, [], {"drEventStatus": 0}),
    "intelligent-on": (0x02000024, [], {}),
    "intelligent-off": (0x02000023, [], {}),
    "reservation-mode": (0x02000009, [], {"programReservationUse": 2}),
    "frez-temp": (0x02000013, [16], {"freezeProtectionTemperature": 16}),
    "air-filter-reset": (0x02000029, [], {"airFilterAlarmElapsed": 0}),
    "air-filter-life": (0x0200002A, [4], {"airFilterAlarmPeriod": 2000}),
    "smart-diagnostic": (0x02000017, [], {}),
    "ota-check": (0x0200000B, [], {}),
    "wifi-reconnect": (0x0200000E, [], {}),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_every_control_is_acknowledged_by_a_full_status(bench: Bench, name: str) -> None:
    bench.hold()
    command, param, expected = SIMPLE[name]
    mode = "dhw-mode" if name == "vacation" else name
    control = messages.control(bench.address(), command, mode, param, "77")
    ((topic, payload),) = bench.ask(control, wait=0.5)
    frame = frames.parse(payload, bench.heater.mac)
    assert (topic, frame.command, frame.session_id) == (control.reply_topic, command, "77")
    assert frame.request_topic == control.topic
    assert len(frame.fields) == 102
    assert {key: frame.fields[key] for key in expected} == expected
    (received,) = bench.sim.received_controls
    assert (received.mac, received.mode, received.param) == (bench.heater.mac, mode, tuple(param))
    assert received.outcome == "applied"


def test_the_samples_controls_are_understood() -> None:
    """All captured envelopes of the protocol pages, sent to a unit with their address."""
    for name, control in sample("mqtt_control_requests").items():
        bench = Bench(3)
        unit = bench.sim.heaters["02005e530003"]  # the one with the recirculation kit
        unit.mac, unit.additional_value = "a1b2c3d4e5f6", "7741"
        bench.sim.devices[unit.mac] = unit
        bench.send(control["topic"], json.dumps(control["payload"]).encode())
        replies = bench.wait(0.5)
        assert [topic for topic, _ in replies] == [control["payload"]["responseTopic"]], name
        assert json.loads(replies[0][1])["response"]["status"]["command"] == control["payload"]["request"]["command"]
        # Of these, power-on finds the unit on already.
        assert bench.sim.received_controls[0].outcome == "applied", name


@pytest.mark.parametrize(
    ("command", "mode", "param"),
    [
        (0x02000020, "dhw-temperature", [80]),
        (0x02000020, "dhw-temperature", [132]),
        (0x02000020, "dhw-temperature", []),
        (0x02000020, "dhw-temperature", ["108"]),
        (0x02000006, "dhw-temperature", [110]),  # a wrong variant in circulation
        (0x02000005, "dhw-mode", [0]),
        (0x02000005, "dhw-mode", [6]),
        (0x02000005, "dhw-mode", [5]),
        (0x02000005, "dhw-mode", [5, 0]),
        (0x02000028, "anti-leg-on", [31]),
        (0x02000028, "anti-legionella-setting", [7]),
        (0x02000013, "frez-temp", [21]),
        (0x0200000D, "recirc-mode", [1]),  # this unit has no kit
        (0x0200000C, "recirc-hotbtn", [1]),
        (0x0200002F, "unheard-of", []),
    ],
)
def test_what_makes_no_sense_changes_nothing(bench: Bench, command: int, mode: str, param: list[Any]) -> None:
    before = reports.status(bench.heater.unit)
    replies = bench.ask(messages.control(bench.address(), command, mode, param, "1"), wait=0.5)
    assert reports.status(bench.heater.unit) == before
    if command != 0x02000006:
        assert json.loads(replies[0][1])["response"]["status"] == before | {"command": command}
        assert bench.sim.received_controls[-1].outcome == "unchanged"


def test_an_acknowledgement_shows_new_settings_and_the_old_activity(bench: Bench) -> None:
    bench.live(600)
    assert bench.heater.state.activity == 0x20
    ack = bench.control(0x02000005, "dhw-mode", [4])
    assert (ack["dhwOperationSetting"], ack["currentHeatUse"], ack["operationMode"]) == (4, 3, 0x20)
    notices = bench.statuses(bench.wait(3.5))
    assert [status["command"] for status in notices] == [0x04000013, 0x0400001C]
    assert all(status["operationMode"] == 0x60 and status["heatUpperUse"] == 2 for status in notices)


def test_notices_come_within_seconds_on_the_devices_own_topic_with_a_rolling_digit(bench: Bench) -> None:
    bench.control(0x02000005, "dhw-mode", [2])
    assert not bench.wait(0.4)
    arrived = bench.wait(3.0)
    assert {topic for topic, _ in arrived} == {f"cmd/52/{bench.heater.address}/res"}
    envelopes = [json.loads(payload) for _, payload in arrived]
    first, second = (int(envelope["sessionID"]) for envelope in envelopes[:2])
    assert second == (first + 1) % 10
    assert {envelope["requestTopic"] for envelope in envelopes} == {f"cmd/52/{bench.heater.address}/st"}


def test_power_off_and_on_again(bench: Bench) -> None:
    bench.live(900)
    bench.control(0x02000005, "dhw-mode", [1])
    bench.wait(5)
    assert bench.heater.state.phase is Phase.RUNNING
    ack = bench.control(0x02000001, "power-off", [])
    assert (ack["dhwOperationSetting"], ack["operationMode"], ack["compUse"]) == (6, 0x20, 2)
    notices = bench.statuses(bench.wait(3.5))
    assert notices[0]["command"] == 0x04000013
    assert (notices[0]["operationMode"], notices[0]["currentStatenum"]) == (0, 60)
    bench.live(60)
    status = bench.status()
    assert (status["currentStatenum"], status["currentInstPower"], status["eevStep"]) == (20, 1, 480)
    # What is set meanwhile is taken, and shows once the power is on.
    assert bench.control(0x02000020, "dhw-temperature", [120])["dhwTemperatureSetting"] == 108
    assert bench.control(0x02000005, "dhw-mode", [4])["dhwOperationSetting"] == 6
    assert bench.control(0x02000002, "power-on", [])["dhwOperationSetting"] == 4
    bench.wait(5)
    assert bench.status()["operationMode"] & 0x20


def test_two_controls_at_once_are_one_too_many(bench: Bench) -> None:
    first = messages.control(bench.address(), 0x02000005, "dhw-mode", [1], "1")
    second = messages.control(bench.address(), 0x02000020, "dhw-temperature", [100], "2")
    bench.send(first.topic, first.payload)
    bench.pass_time(0.5)
    bench.send(second.topic, second.payload)
    bench.pass_time(0.5)
    bench.advance()
    failed = [payload for topic, payload in bench.take() if topic == f"cmd/52/{bench.heater.address}/ctrl-fail"]
    assert shape(json.loads(failed[0])) == shape(sample("mqtt_ctrl_fail")["payload"])
    assert json.loads(failed[0])["response"]["failCode"] == 2
    assert json.loads(failed[0])["sessionID"] == "2"
    assert bench.heater.state.setpoint == 54.0
    assert [control.outcome for control in bench.sim.received_controls] == ["applied", "failed"]
    bench.pass_time(1)
    assert bench.control(0x02000020, "dhw-temperature", [100])["dhwTemperatureSetting"] == 100


def test_vacation_ends_by_itself_and_reheats_before(bench: Bench) -> None:
    bench.control(0x02000005, "dhw-mode", [4])
    ack = bench.control(0x02000005, "dhw-mode", [5, 2])
    assert (ack["dhwOperationSetting"], ack["vacationDaySetting"], ack["vacationDayElapsed"]) == (5, 2, 2)
    unit = bench.heater.unit
    unit.step(86_400)
    assert (unit.state.setting, unit.state.activity) == (Setting.VACATION, 0)
    unit.step(86_400 - 2 * 3600)
    assert unit.state.setting is Setting.VACATION
    assert unit.state.upper > 50
    unit.step(3 * 3600)
    assert unit.state.setting is Setting.HIGH_DEMAND


# --- schedules --------------------------------------------------------------------------------------------------------

ENTRIES = [
    {"enable": 2, "week": 124, "hour": 6, "min": 15, "mode": 3, "param": 108},
    {"enable": 2, "week": 130, "hour": 8, "min": 0, "mode": 4, "param": 115},
]


def test_a_reservation_write_replaces_the_list(bench: Bench) -> None:
    bench.hold()
    write = messages.write_reservations(bench.address(family="library"), 2, ENTRIES, "5")
    ((topic, payload),) = bench.ask(write, wait=0.5)
    assert topic == "cmd/52/client-1/res/rsv/rd"
    response = json.loads(payload)["response"]
    assert (response["reservationUse"], response["reservation"]) == (2, ENTRIES)
    assert bench.heater.state.reservations == ENTRIES
    assert bench.status()["programReservationUse"] == 2
    read = json.loads(bench.answer(Query.RESERVATIONS))["response"]
    assert read["reservation"] == "027c060f036c028208000473" + "00" * 6


@pytest.mark.parametrize(
    "entries", [[{**ENTRIES[0], "week": 255}], [{"enable": 2}], ENTRIES * 9, [{**ENTRIES[0], "hour": 24}], "027c"]
)
def test_reservations_that_do_not_fit_leave_the_list(bench: Bench, entries: Any) -> None:
    bench.hold()
    before = list(bench.heater.state.reservations)
    write = messages.write_reservations(bench.address(), 2, [], "5")
    envelope = json.loads(write.payload)
    envelope["request"]["reservation"] = entries
    bench.send(write.topic, json.dumps(envelope).encode())
    ((_, payload),) = bench.wait(0.5)
    assert json.loads(payload)["response"]["reservation"] == bench.heater.state.reservations == before


def test_a_reservation_does_what_it_says_unless_suspended(bench: Bench) -> None:
    unit = bench.heater.unit
    unit.control("reservation-mode", ())
    weekday = datetime.fromtimestamp(NOON, UTC)
    bit = 128 >> (weekday.isoweekday() % 7)
    entry = {"enable": 2, "week": bit, "hour": weekday.hour + 1, "min": 30, "mode": 4, "param": 116}
    unit.state.reservations = [entry, {**entry, "week": 254 - bit, "mode": 2}, {**entry, "enable": 1, "mode": 1}]
    unit.step(5400 - 60)
    assert unit.state.setting is Setting.ENERGY_SAVER
    unit.step(120)
    assert (unit.state.setting, unit.state.setpoint) == (Setting.HIGH_DEMAND, 58.0)
    unit.control("dhw-mode", (1,))
    unit.control("tou-on", ())
    unit.state.reservations = [{**entry, "week": 254}]
    unit.step(86_400)
    assert unit.state.setting is Setting.HEAT_PUMP


def test_time_of_use_is_written_read_and_obeyed(bench: Bench) -> None:
    bench.hold()
    plan = sample("mqtt_tou_response")["payload"]["response"]["reservation"]
    serial = bench.heater.unit.model.serial
    address = bench.address(family="library")
    ((topic, payload),) = bench.ask(messages.write_tou(address, serial, 2, plan, "5"), wait=0.5)
    assert topic == "cmd/52/client-1/res/tou/rd"
    assert shape(json.loads(payload)) == shape(sample("mqtt_tou_response")["payload"])
    assert bench.status()["touStatus"] == 1
    ((_, payload),) = bench.ask(messages.read_tou(address, serial, "6"), wait=0.5)
    assert json.loads(payload)["response"]["reservation"] == plan
    bench.pass_time(2)
    bench.ask(messages.write_tou(address, "another serial", 1, [], "7"), wait=0.5)
    assert bench.heater.state.tou_plan == plan

    unit = bench.heater.unit  # Thursday noon: at 16:00 the dear hours begin
    unit.frozen = False
    unit.step(3 * 3600)
    assert not unit.held
    unit.step(1.5 * 3600)
    assert unit.held
    unit.state.tou_override = True
    assert not unit.held


def test_library_form_echoes_go_to_two_topics(bench: Bench) -> None:
    bench.hold()
    periods = sample("mqtt_recirc_reservation_write_request")["library_form"]["payload"]["request"]["schedule"]
    kit = Bench(3)
    unit = kit.sim.heaters["02005e530003"]
    address = kit.address(unit, family="library")
    question = messages.control(address, 0x02000008, "", [], "5")
    envelope = json.loads(question.payload)
    envelope["request"] |= {"schedule": periods}
    kit.send(question.topic, json.dumps(envelope).encode())
    replies = kit.wait(0.5)
    assert [topic for topic, _ in replies] == [question.reply_topic, "cmd/52/client-1/res/recirc-rsv/rd"]
    assert all(json.loads(payload)["response"]["schedule"] == periods for _, payload in replies)

    question = messages.control(bench.address(family="library"), 0x02000006, "", [], "5")
    envelope = json.loads(question.payload)
    envelope["request"] |= {"reservationUse": 2, "reservation": ENTRIES}
    bench.send(question.topic, json.dumps(envelope).encode())
    replies = bench.wait(0.5)
    assert [topic for topic, _ in replies] == [question.reply_topic, "cmd/52/client-1/res/rsv-weekly/rd"]
    assert json.loads(replies[0][1])["response"]["reservation"] == ENTRIES


def test_the_recirculation_schedule_in_the_apps_form() -> None:
    bench = Bench(3)
    unit = bench.sim.heaters["02005e530003"]
    records = sample("mqtt_recirc_reservation_write_request")["app_form"]["payload"]["request"]["reservation"]
    write = messages.write_recirculation(bench.address(unit), 2, records, "5")
    ((topic, payload),) = bench.ask(write, wait=0.5)
    assert (topic, json.loads(payload)["response"]["reservation"]) == (write.reply_topic, records)
    status = bench.status(unit)
    assert status["recircReservationUse"] == 2
    bench.control(0x0200000C, "recirc-hotbtn", [1], device=unit)
    status = bench.status(unit)
    assert (status["recircPumpOperationStatus"], status["recircHotBtnReady"]) == (2, 1)


# --- reports nobody asked for -----------------------------------------------------------------------------------------


def test_a_periodic_report_carries_code_nothing(bench: Bench) -> None:
    bench.sim.timing.report = 60
    arrived = bench.statuses(bench.wait(320))
    assert any(status["command"] == 0 for status in arrived)


def test_changes_are_told_by_notices(bench: Bench) -> None:
    commands = [status["command"] for status in bench.statuses(bench.wait(400))]
    assert 0x0400001C in commands  # the compressor started


def test_an_app_that_connects_gets_a_report(bench: Bench) -> None:
    bench.hold()
    topic = f"evt/52/{bench.heater.address}/app-connection"
    event = sample("mqtt_app_connection")
    bench.send(topic, json.dumps(event["library_signal_payload"]).encode())
    ((_, payload),) = bench.wait(0.5)
    assert json.loads(payload)["response"]["status"]["command"] == 0
    bench.send(topic, json.dumps(event["last_will_payload"]).encode())
    assert not bench.wait(0.5)


def test_connection_events_and_maintenance(bench: Bench) -> None:
    bench.sim.unplug(bench.heater.mac)
    bench.sim.plug_in(bench.heater.mac)
    bench.sim.announce_maintenance()
    (gone, back, broadcast) = bench.take()
    assert gone[0] == back[0] == f"evt/52/{bench.heater.address}/connection"
    frame = frames.parse(gone[1], bench.heater.mac)
    assert (frame.form, frame.fields["status"]) == ("connection", 0)
    assert frames.parse(back[1]).fields["status"] == 1
    assert broadcast[0] == "evt/52/mobile/event/disconnect-mqtt"
    bench.sim.disconnect(bench.sim.accounts[bench.email])
    assert bench.cut == ["navilink/41250"]


# --- dialects ---------------------------------------------------------------------------------------------------------


def test_the_older_firmware_says_87_things() -> None:
    bench = Bench(dialects=("json87",))
    status = bench.status()
    captured = sample("mqtt_status_unsolicited")["payload"]["response"]["status"]
    assert set(status) == set(captured)


def test_the_newer_firmware_says_102_things(bench: Bench) -> None:
    expected = sample("mqtt_status_response")["payload"]["response"]["status"]
    assert set(bench.status()) == set(expected)
    assert list(reports.readings(bench.heater.unit)) == list(expected)


def test_keys_are_reordered_now_and_then(bench: Bench) -> None:
    orders = {tuple(bench.status()) for _ in range(60)}
    assert 2 <= len(orders) < 30


def test_a_binary_device_answers_polls_and_requests() -> None:
    bench = Bench(dialects=("binary",))
    bench.hold()
    stem = f"cmd/52/{bench.heater.address}"
    bench.send(f"{stem}/st", packed.encode_header(Query.STATUS, bench.heater.mac))
    ((topic, payload),) = bench.wait(0.5)
    assert topic == f"{stem}/res"
    assert payload[:10] == bytes.fromhex("01000003") + bench.heater.mac[:4].encode() + b"\x01\x13"
    assert len(payload) == 48
    frame = frames.parse(payload, bench.heater.mac)
    state = bench.heater.state
    assert frame.fields["tank_upper_temperature"] == pytest.approx((state.upper * 1.8 + 32) * 10, abs=1.5)
    assert frame.fields["dhw_temperature_setting"] == round(state.setpoint * 1.8 + 32)
    assert frame.fields["device_connected"] in (1, 2)

    # The app's response topic names no device, and neither does a record: the device's own topic does.
    for family, expected in (("library", f"{stem}/client-1/res"), ("app", f"{stem}/res")):
        question = messages.query(bench.address(family=family), Query.STATUS, "1")
        ((topic, payload),) = bench.ask(question, wait=0.5)
        assert (topic, frames.parse(payload).form) == (expected, "packed")

    bench.send(f"{stem}/st/did", packed.encode_header(Query.FEATURE, bench.heater.mac))
    ((topic, payload),) = bench.wait(0.5)
    assert (topic, payload[:4]) == (f"{stem}/res/did", bytes.fromhex("01000001"))
    assert json.loads(payload[8:])["response"]["feature"]["dhwTemperatureMin"] == 81

    control = messages.control(bench.address(), 0x02000005, "dhw-mode", [4], "77")
    ((topic, payload),) = bench.ask(control, wait=0.5)
    assert payload[:4] == bytes.fromhex("02000005")
    frame = frames.parse(payload, bench.heater.mac)
    assert (frame.form, frame.command, frame.session_id) == ("status", 0x02000005, "77")
    notices = bench.wait(3.5)
    assert {frames.parse(payload).form for _, payload in notices} == {"packed"}

    bench.send(f"{stem}/st", packed.encode_header(Query.STATUS, "ffff00000000"))  # another device's prefix
    bench.send(f"{stem}/st", packed.encode_header(0x01000009, bench.heater.mac))  # no poll of this form
    assert not [payload for topic, payload in bench.wait(0.5) if topic.endswith("/energy-usage-daily-query/rd")]


def test_a_json_device_ignores_binary_polls(bench: Bench) -> None:
    bench.hold()
    bench.send(f"cmd/52/{bench.heater.address}/st", packed.encode_header(Query.STATUS, bench.heater.mac))
    assert not bench.wait(0.9)


# --- what the maintained client requires ------------------------------------------------------------------------------

CLOSED = {
    "temperatureType": {1, 2},
    "tempFormulaType": {0, 1},
    "dhwOperationSetting": set(range(1, 7)),
    "operationMode": {0, 32, 64, 96},
    "currentHeatUse": set(range(4)),
    "drEventStatus": set(range(6)),
    "recircOperationMode": set(range(5)),
    "errorCode": {0},
    "currentStatenum": {20, 30, 40, 50, 60, 70},
}
RANGES = {
    "dhwChargePer": (0, 100),
    "currentInstPower": (1, 5_700),
    "eevStep": (20, 480),
    "tankUpperTemperature": (50, 700),
    "tankLowerTemperature": (50, 700),
    "dischargeTemperature": (100, 900),
    "currentFanRpm": (0, 550),
    "availableEnergyCapacity": (0, 4_000),
    "totalEnergyCapacity": (300, 3_000),
    "wifiRssi": (50, 65),
}


def test_every_status_of_days_satisfies_the_maintained_client() -> None:
    """`docs/protocol/navilink.md` 17.3: closed lists, whole numbers, nothing missing; through all modes."""
    expected = set(sample("mqtt_status_response")["payload"]["response"]["status"])
    chance = random.Random(3)
    for number in range(3):
        model = Model((2, 1, 3)[number], recirculation=number == 2)
        heater = Heater(model, time=NOON, seed=str(number))
        for _ in range(200):
            if chance.random() < 0.05:
                heater.control("dhw-mode", (chance.randint(1, 4),))
            if chance.random() < 0.01:
                heater.control("dhw-mode", (5, 1))
            if chance.random() < 0.05:
                heater.control("dhw-temperature", (chance.randint(81, 131),))
            if chance.random() < 0.02:
                heater.control(chance.choice(("power-off", "power-on", "tou-on", "tou-off", "dr-on")), ())
            heater.step(chance.uniform(1, 900))
            status = reports.status(heater)
            assert set(status) == expected
            assert all(type(raw) is int for raw in status.values()), status
            for name, allowed in CLOSED.items():
                assert status[name] in allowed, name
            for name, (low, high) in RANGES.items():
                assert low <= status[name] <= high, (name, status[name])


@pytest.mark.parametrize("number", range(3))
def test_the_feature_satisfies_the_maintained_client(number: int) -> None:
    """`docs/protocol/navilink.md` 17.4."""
    bench = Bench(3)
    unit = list(bench.sim.heaters.values())[number]
    feature = json.loads(bench.answer(Query.FEATURE, device=unit))["response"]["feature"]
    expected = sample("mqtt_did_response")["payload"]["response"]["feature"]
    assert set(feature) == {*expected, "mixingValveUse"}
    assert {name: type(raw) for name, raw in feature.items() if name in expected} == {
        name: type(raw) for name, raw in expected.items()
    }
    assert feature["volumeCode"] == (2, 1, 3)[number]
    assert feature["recirculationUse"] == (1, 1, 2)[number]
    assert feature["dhwTemperatureSettingUse"] in range(5)


# --- faults -----------------------------------------------------------------------------------------------------------


def test_an_offline_device_says_nothing(bench: Bench) -> None:
    bench.heater.faults.offline = True
    assert not bench.ask(messages.query(bench.address(), Query.STATUS, "1"), wait=30)
    bench.ask(messages.control(bench.address(), 0x02000005, "dhw-mode", [1], "1"), wait=30)
    assert bench.heater.state.setting is Setting.ENERGY_SAVER
    bench.heater.faults.offline = False
    assert bench.status()


def test_a_silent_device_obeys(bench: Bench) -> None:
    bench.heater.faults.silent = True
    assert not bench.ask(messages.control(bench.address(), 0x02000005, "dhw-mode", [1], "1"), wait=30)
    assert bench.heater.state.setting is Setting.HEAT_PUMP


def test_acknowledgements_dropped_late_doubled_and_contradicting(bench: Bench) -> None:
    faults, address = bench.heater.faults, bench.address()

    def acks(mode: int, wait: float) -> list[dict[str, Any]]:
        bench.wait(5)
        arrived = bench.ask(messages.control(address, 0x02000005, "dhw-mode", [mode], "1"), wait=wait)
        return [status for status in bench.statuses(arrived) if status["command"] == 0x02000005]

    faults.drop_acks = True
    assert not acks(1, 10)
    assert bench.heater.state.setting is Setting.HEAT_PUMP
    faults.drop_acks, faults.late_acks = False, 20.0
    assert not acks(4, 15)
    assert [status["dhwOperationSetting"] for status in bench.statuses(bench.wait(10)) if status["command"] >> 24 == 2]
    faults.late_acks, faults.double_acks = 0.0, True
    assert len(acks(1, 0.5)) == 2
    faults.double_acks, faults.contradict_acks = False, True
    (ack,) = acks(4, 0.5)
    assert (ack["dhwOperationSetting"], bench.heater.state.setting) == (1, Setting.HEAT_PUMP)


def test_a_control_can_be_failed_with_any_code(bench: Bench) -> None:
    bench.heater.faults.fail_code = 7
    ((topic, payload),) = bench.ask(messages.control(bench.address(), 0x02000005, "dhw-mode", [1], "1"), wait=0.5)
    assert topic.endswith("/ctrl-fail")
    assert json.loads(payload)["response"]["failCode"] == 7


def test_damaged_doubled_and_strange_frames(bench: Bench) -> None:
    bench.hold()
    question = messages.query(bench.address(), Query.STATUS, "1")
    faults = bench.heater.faults
    faults.duplicate = True
    first, second = bench.ask(question, wait=0.5)
    assert first == second
    faults.duplicate, faults.garbled = False, True
    damaged = [bench.ask(question, wait=0.5)[0][1] for _ in range(20)]
    for payload in damaged:
        with pytest.raises(ValueError, match=r".*"):
            json.loads(payload)
    faults.garbled, faults.unknown_keys, faults.unknown_enums = False, True, True
    faults.missing_keys = frozenset({"wifiRssi"})
    status = bench.status()
    assert len(status) == 102 + 2 - 1
    assert (status["operationMode"], status["dhwOperationSetting"]) == (48, 9)


def test_a_frozen_device_and_an_error_code(bench: Bench) -> None:
    bench.heater.faults.frozen = True
    before = bench.status()
    bench.live(3600)
    assert bench.status() == before
    bench.heater.faults.frozen = False
    bench.heater.state.error_code, bench.heater.state.sub_error_code = 910, 1
    bench.live(300)
    status = bench.status()
    assert (status["errorCode"], status["subErrorCode"], status["compUse"]) == (910, 1, 1)


def test_resetting_the_wifi_cuts_the_device_off(bench: Bench) -> None:
    bench.control(0x0200000F, "wifi-reset", [])
    assert bench.heater.connected == 1


# --- physics ----------------------------------------------------------------------------------------------------------


def stored(heater: Heater) -> float:
    return heater.state.mean * heater.model.capacity


@pytest.mark.parametrize("seed", range(4))
def test_energy_is_kept_over_a_day(seed: int) -> None:
    heater = Heater(Model(), time=NOON, seed=str(seed))
    before, used = stored(heater), 0.0
    heater.step(86_400)
    state = heater.state
    assert stored(heater) - before == pytest.approx(state.heat_added - state.heat_drawn - state.heat_lost, abs=0.1)
    for day in (date(2026, 1, 15), date(2026, 1, 16)):
        usage = heater.usage(day)
        assert usage is not None
        used += usage.heat_pump_wh * 2.9 + usage.element_wh
    assert state.heat_added == pytest.approx(used, rel=0.1)
    assert 500 < state.heat_lost < 1_200
    assert 40 < state.drawn_litres - 1_234 < 400


def test_a_day_is_believable() -> None:
    heater = Heater(Model(), time=NOON, seed="day")
    phases = []
    for _ in range(24 * 360):
        heater.step(10)
        state = heater.state
        assert all(8 < layer < 68 for layer in state.layers)
        assert state.layers == sorted(state.layers, reverse=True)
        assert state.lower <= state.upper
        if state.phase is Phase.RUNNING:
            assert 425 < state.shown_power < 475 or state.shown_power < 60 or state.shown_power > 5_000
        if not phases or phases[-1] is not state.phase:
            phases.append(state.phase)
    cycle = [Phase.REQUESTED, Phase.FAN, Phase.STARTING, Phase.RUNNING, Phase.FAN, Phase.IDLE]
    assert phases[:7] == [*cycle, Phase.REQUESTED] or phases[1:8] == [*cycle, Phase.REQUESTED]


def test_the_heat_pump_warms_the_tank_as_the_real_one() -> None:
    heater = Heater(Model(), time=NOON - 10 * 3600, seed="quiet")  # at night nobody draws
    heater.state.layers = [45.0] * 8
    heater.step(600)
    before, deficit = heater.state.mean, heater.deficit
    heater.step(3600)
    warmed = heater.state.mean - before
    assert warmed == pytest.approx(4.5, abs=0.5)
    assert (deficit - heater.deficit) / 4 / warmed == pytest.approx(70, abs=2)
    state = heater.state
    assert abs((state.suction - state.evaporator) - state.superheat) < 2.5
    assert 60 < state.discharge < 75
    assert state.valve_step == pytest.approx(148, abs=2)


def test_an_element_warms_it_four_times_as_fast() -> None:
    heater = Heater(Model(), time=NOON - 10 * 3600, seed="quiet")
    heater.state.layers = [30.0] * 8
    heater.control("dhw-mode", (2,))
    heater.step(60)
    before = heater.state.mean
    heater.step(1800)
    assert (heater.state.mean - before) * 2 == pytest.approx(18, abs=1.5)
    assert heater.state.shown_power == pytest.approx(5_150, abs=40)
    heater.step(72 * 3600)
    assert heater.state.setting is Setting.ENERGY_SAVER  # reverts by itself


def test_a_draw_cools_the_lower_sensor_first() -> None:
    heater = Heater(Model(), time=NOON, seed="draw")
    heater.control("power-off", ())
    heater.state.layers = [54.0] * 8
    drawn = heater.state.drawn_litres
    for _ in range(2000):
        heater.step(30)
        if heater.state.drawn_litres - drawn > 60:
            break
    assert heater.state.lower < 40
    assert heater.state.upper > 52


def test_the_power_lags_the_machinery() -> None:
    heater = Heater(Model(), time=NOON, seed="lag")
    heater.state.layers = [30.0] * 8
    heater.control("dhw-mode", (2,))
    heater.step(1)
    status = reports.status(heater)
    assert (status["heatUpperUse"], status["currentInstPower"]) == (2, 1)
    heater.step(1)
    assert reports.status(heater)["currentInstPower"] > 5_000


def test_anti_legionella_and_frost() -> None:
    heater = Heater(Model(), time=NOON, seed="hot")
    heater.control("dhw-temperature", (90,))
    heater.control("anti-leg-on", (1,))
    heater.step(86_400 + 600)
    assert heater.state.anti_legionella_running
    heater.step(6 * 3600)
    assert not heater.state.anti_legionella_running
    heater.control("power-off", ())
    heater.state.layers = [5.0] * 8
    heater.step(60)
    assert heater.state.lower_element


def test_the_same_seed_gives_the_same_life() -> None:
    one, other, third = (Heater(Model(), time=NOON, seed=seed) for seed in ("a", "a", "b"))
    for heater in (one, other, third):
        for _ in range(100):
            heater.step(60)
    assert one.state == other.state
    assert one.state != third.state


def test_time_lapse() -> None:
    bench = Bench(speed=60.0)
    started = bench.heater.state.time
    bench.wait(60)
    assert bench.heater.state.time - started == pytest.approx(3600, abs=70)


def test_usage_before_and_after() -> None:
    heater = Heater(Model(), time=NOON, seed="u")
    today = date(2026, 1, 15)
    assert heater.usage(today + timedelta(days=1)) is None
    assert heater.usage(today - timedelta(days=500)) is None
    made_up = heater.usage(today - timedelta(days=3))
    assert made_up is not None
    assert made_up == heater.usage(today - timedelta(days=3))
    heater.step(3600)
    assert heater.usage(today) is heater.ledger[today.toordinal()]


# --- gas units --------------------------------------------------------------------------------------------------------


@pytest.fixture
def gas() -> Bench:
    bench = Bench(0, gas_units=1)
    bench.gas = next(iter(bench.sim.gas_units.values()))
    return bench


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (GasQuery.START, "gas_channelinfo_response"),
        (GasQuery.CHANNEL_STATUS, "gas_channelstatus_response"),
        (GasQuery.WEEKLY_SCHEDULE, None),
        (GasQuery.CHANNEL_INFO, "gas_channelinfo_response"),
        (GasQuery.END, None),
    ],
)
def test_gas_answers_look_like_the_samples(gas: Bench, query: GasQuery, name: str | None) -> None:
    question = messages.gas_query(gas.address(gas.gas), query, "1", channel=1, units=1)
    ((topic, payload),) = gas.ask(question, wait=0.5)
    assert topic == question.reply_topic
    assert json.loads(payload)["protocolVersion"] == 1
    if name is not None:
        expected, answered = shape(sample(name)["payload"]), shape(json.loads(payload))
        assert answered == expected


def test_gas_controls(gas: Bench) -> None:
    address = gas.address(gas.gas)

    def channel(control: messages.Message) -> dict[str, Any]:
        gas.wait(5)
        ((topic, payload),) = gas.ask(control, wait=0.5)
        assert topic == control.reply_topic
        return dict(json.loads(payload)["response"]["channelStatus"]["channel"])

    set_temperature = messages.gas_control(address, GasCommand.HOT_WATER_TEMPERATURE, "DHWTemperature", [120], "1")
    assert channel(set_temperature)["DHWSettingTemp"] == 120
    assert channel(messages.gas_control(address, GasCommand.ON_DEMAND, "onDemand", [1], "2"))["onDemandUseFlag"] == 1
    assert channel(messages.gas_control(address, GasCommand.POWER, "power", [2], "3"))["powerStatus"] == 2
    gas.wait(5)
    refused = messages.gas_control(address, GasCommand.HOT_WATER_TEMPERATURE, "DHWTemperature", [200], "4")
    ((topic, payload),) = gas.ask(refused, wait=0.5)
    assert topic == f"cmd/1/{gas.gas.address}/res/controlfail"
    assert shape(json.loads(payload)) == shape(sample("gas_controlfail")["payload"])


def test_the_gas_samples_requests_are_understood(gas: Bench) -> None:
    unit = gas.gas
    unit.mac, unit.additional_value = "a1b2c3d4e600", "5301"
    gas.sim.devices[unit.mac] = unit
    for name, request in sample("gas_requests").items():
        unit.state.power = True
        gas.wait(5)
        gas.send(request["topic"], json.dumps(request["payload"]).encode())
        expected = [] if name == "dailytrend" else [request["payload"]["responseTopic"]]  # it keeps no trends
        assert [topic for topic, _ in gas.wait(0.5)] == expected, name
    assert unit.state.weekly_on


def test_a_gas_unit_ignores_the_heat_pumps_requests(gas: Bench) -> None:
    address = gas.address(gas.gas)
    stem = f"cmd/1/{gas.gas.address}"
    payload = messages.query(address, Query.STATUS, "1").payload
    for topic in (f"{stem}/st", f"{stem}/st/did", f"cmd/52/{gas.gas.address}/st"):
        gas.send(topic, payload)
    assert not gas.wait(5)


def test_gas_follows_the_water() -> None:
    unit = Tankless(time=NOON, seed="1")
    burnt = unit.state.gas_used
    rates = []
    for _ in range(24 * 120):
        unit.step(30)
        rates.append((unit.state.flow, unit.state.gas_rate, unit.state.outlet))
    assert all((flow > 0) == (rate > 0) for flow, rate, _ in rates)
    assert any(flow > 0 for flow, _, _ in rates)
    assert max(outlet for _, _, outlet in rates) == pytest.approx(50, abs=1)
    assert unit.state.gas_used > burnt
    unit.control("power", (2,))
    unit.step(3600)
    assert unit.state.gas_rate == 0


def test_a_celsius_gas_unit_halves() -> None:
    unit = Tankless(time=NOON, fahrenheit=False)
    assert unit.info()["channelList"][0]["channel"]["setupDHWTempMax"] == 120
    assert unit.control("DHWTemperature", (98,))
    assert unit.state.setpoint == 49.0


# --- the cloud as a whole ---------------------------------------------------------------------------------------------


def test_an_agenda_keeps_the_order_and_cannot_loop() -> None:
    now, done = [0.0], []
    agenda = Agenda(lambda: now[0])

    def again() -> None:
        done.append("again")
        agenda.after(0, again)

    agenda.after(2, lambda: done.append("late"))
    agenda.after(1, lambda: done.append("first"))
    agenda.at(1, lambda: done.append("second"))
    assert agenda.run() == 1
    now[0] = 1.0
    assert agenda.run() == 1
    assert done == ["first", "second"]
    agenda.after(0, again)
    agenda.run()
    assert done[2:] == ["again"]
    assert len(agenda) == 2


def test_the_account_section(bench: Bench) -> None:
    section = bench.sim.account("127.0.0.1", 8443, "ca.pem")
    assert section["vendor"] == "navilink"
    assert section["api_url"] == "https://127.0.0.1:8443/api/v2.1"
    assert (section["iot_host"], section["iot_port"], section["ca_file"]) == ("127.0.0.1", 8443, "ca.pem")
    assert "poll_interval" not in section
    assert Bench(poll_interval=5).sim.account("h", 1, "c")["poll_interval"] == 5


def test_devices_tokens_and_choices_are_deterministic() -> None:
    one, other = Bench(4, gas_units=1), Bench(4, gas_units=1)
    assert list(one.sim.devices) == list(other.sim.devices)
    assert one.status() == other.status()
