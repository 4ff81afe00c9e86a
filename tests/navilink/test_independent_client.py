"""The simulated cloud through its real sockets, started up by a client that shares no code with ours.

paho-mqtt speaks MQTT over a WebSocket of its own, aiohttp asks the REST service; only the signature of the URL is made
by `navibridge.sigv4`, which has vectors of its own. The steps are those of `docs/protocol/navilink.md` 17.2.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from yarl import URL

from navibridge import sigv4
from navibridge.demo.cloud import SimulatedCloud
from navibridge.vendors.navilink.simulated.cloud import EMAIL, PASSWORD, NavilinkCloud, simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from paho.mqtt.reasoncodes import ReasonCode

CLIENT_ID = "navien-client-0a1b2c3d"
PATIENCE = 15.0


class Client:
    """paho on its own thread; whatever it tells, arrives in one queue."""

    def __init__(self, cloud: SimulatedCloud, url: str, *, client_id: str = CLIENT_ID) -> None:
        parts = urlsplit(url)
        self._loop = asyncio.get_running_loop()
        self.told: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, transport="websockets")
        self._client.ws_set_options(path=f"{parts.path}?{parts.query}")
        self._client.tls_set_context(ssl.create_default_context(cafile=cloud.ca_file))
        self._client.username_pw_set("?SDK=IoTDeviceSDK/Python&Platform=Linux&Metadata=(Version=1)")
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._tell("connect", reason)
        self._client.on_subscribe = lambda _c, _u, _m, reasons, _p: self._tell("subscribe", reasons)
        self._client.on_unsubscribe = lambda _c, _u, mid, _r, _p: self._tell("unsubscribe", mid)
        self._client.on_publish = lambda _c, _u, mid, _r, _p: self._tell("publish", mid)
        self._client.on_message = lambda _c, _u, message: self._tell("message", message)
        self._client.on_disconnect = lambda _c, _u, _f, reason, _p: self._tell("disconnect", reason)
        self._client.reconnect_delay_set(60, 60)
        self._place = (cloud.host, cloud.port)

    def _tell(self, what: str, value: object) -> None:
        self._loop.call_soon_threadsafe(self.told.put_nowait, (what, value))

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._client.connect, *self._place, keepalive=1200)
        self._client.loop_start()
        assert not (await self.next("connect")).is_failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def next(self, wanted: str) -> Any:
        """The next thing of that sort; others are passed over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                what, value = await self.told.get()
                if what == wanted:
                    return value

    async def subscribe(self, topic_filter: str) -> ReasonCode:
        self._client.subscribe(topic_filter, qos=1)
        (reason,) = await self.next("subscribe")
        return reason

    async def unsubscribe(self, topic_filter: str) -> None:
        self._client.unsubscribe(topic_filter)
        await self.next("unsubscribe")

    def publish(self, topic: str, message: dict[str, Any]) -> None:
        self._client.publish(topic, json.dumps(message).encode(), qos=1)

    async def response(self, part: str) -> tuple[str, Any]:
        """Topic and that part of the next answer that has it; requests come back through the wildcard too."""
        while True:
            message = await self.next("message")
            response = json.loads(message.payload).get("response", {})
            if part in response:
                return message.topic, response[part]


@pytest.fixture
def simulated() -> NavilinkCloud:
    return simulator(2, gas_units=1, answer=(0.0, 0.02), notice=(0.05, 0.1), control_interval=0.0, report=0.0)


@pytest.fixture
async def cloud(simulated: NavilinkCloud) -> AsyncIterator[SimulatedCloud]:
    async with SimulatedCloud([simulated]) as running:
        yield running


class Account:
    """The REST half of a client."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self._base = f"https://{cloud.host}:{cloud.port}/api/v2.1"
        self.tls = ssl.create_default_context(cafile=cloud.ca_file)
        self._host = f"{cloud.host}:{cloud.port}"
        self.token: dict[str, Any] = {}

    async def ask(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        headers = {"authorization": self.token["accessToken"]} if self.token else {}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._base + path, json=body, headers=headers, ssl=self.tls) as answer,
        ):
            assert answer.content_type == "application/json"
            return answer.status, await answer.json()

    async def sign_in(self) -> dict[str, Any]:
        status, body = await self.ask("/user/sign-in", {"userId": EMAIL, "password": PASSWORD})
        assert (status, body["code"], body["msg"]) == (200, 200, "SUCCESS")
        self.token = body["data"]["token"]
        assert isinstance(body["data"]["userInfo"]["userSeq"], int)
        return self.token

    def url(self, now: float, **changes: str) -> str:
        keys = {
            "access_key": self.token["accessKeyId"],
            "secret_key": self.token["secretKey"],
            "session_token": self.token["sessionToken"],
        }
        return sigv4.presign(self._host, region="us-east-1", now=now, **{**keys, **changes})


async def test_start_up_step_by_step(cloud: SimulatedCloud, simulated: NavilinkCloud) -> None:
    account = Account(cloud)
    await account.sign_in()
    _, refreshed = await account.ask("/auth/refresh", {"refreshToken": account.token["refreshToken"]})
    assert "accessKeyId" not in refreshed["data"]
    status, listed = await account.ask("/device/list", {"offset": 0, "count": 20, "userId": EMAIL})
    assert status == 200
    devices = [item["deviceInfo"] for item in listed["data"]]
    assert [device["deviceType"] for device in devices] == [52, 52, 1]
    mac, additional = devices[0]["macAddress"], devices[0]["additionalValue"]
    stem, reply = f"cmd/52/navilink-{mac}", f"cmd/52/navilink-{mac}/{CLIENT_ID}/res"

    def request(suffix: str, command: int, response_topic: str, **body: Any) -> tuple[str, dict[str, Any]]:
        inner = {"command": command, "deviceType": 52, "macAddress": mac, "additionalValue": additional, **body}
        topic = f"{stem}/{suffix}"
        return topic, {
            "clientID": CLIENT_ID,
            "sessionID": "c0ffee",
            "protocolVersion": 2,
            "request": inner,
            "requestTopic": topic,
            "responseTopic": response_topic,
        }

    async with Client(cloud, account.url(simulated._clock())) as client:
        assert (await client.subscribe(f"{stem}/#")).value == 1
        client.publish(*request("st/did", 0x01000001, reply))
        topic, feature = await client.response("feature")
        assert (topic, feature["dhwTemperatureMin"]) == (reply, 81)
        client.publish(*request("st", 0x01000003, reply))
        topic, status_of_device = await client.response("status")
        assert (topic, len(status_of_device)) == (reply, 102)

        schedule = f"cmd/52/{CLIENT_ID}/res/rsv/rd"
        assert (await client.subscribe(schedule)).value == 1
        client.publish(*request("st/rsv/rd", 0x01000006, schedule))
        topic, entries = await client.response("reservation")
        assert (topic, len(entries)) == (schedule, 36)
        await client.unsubscribe(schedule)

        client.publish(*request("ctrl", 0x02000005, reply, mode="dhw-mode", param=[4], paramStr=""))
        topic, acknowledged = await client.response("status")
        assert (topic, acknowledged["command"], acknowledged["dhwOperationSetting"]) == (reply, 0x02000005, 4)
        topic, noticed = await client.response("status")
        assert (topic, noticed["command"]) == (f"{stem}/res", 0x04000013)
        assert simulated.received_controls[0].outcome == "applied"

        # The gas unit, asked in the wrong protocol, says nothing; the next answer is the heat pump's.
        gas = f"cmd/1/navilink-{devices[2]['macAddress']}"
        assert (await client.subscribe(f"{gas}/#")).value == 1
        client.publish(f"{gas}/st", request("st", 0x01000003, reply)[1])
        client.publish(*request("st/td/rd", 0x0100000C, reply))
        topic, trend = await client.response("data")
        assert trend["tsData"]["daysSinceInstallation"] == 400


@pytest.mark.parametrize("wrong", [{"secret_key": "x" * 40}, {"session_token": "x"}, {"access_key": "ASIA" + "A" * 16}])
async def test_a_wrong_signature_is_refused(
    cloud: SimulatedCloud, simulated: NavilinkCloud, wrong: dict[str, str]
) -> None:
    account = Account(cloud)
    await account.sign_in()
    url = URL(account.url(simulated._clock(), **wrong), encoded=True)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await session.ws_connect(url, protocols=("mqtt",), ssl=account.tls)
    assert refusal.value.status == 403
    assert cloud.counts.refused.total() == 1


async def test_somebody_elses_topic_is_refused(cloud: SimulatedCloud, simulated: NavilinkCloud) -> None:
    other = simulated.add_account("neighbour@example.com", "neighbours-password")
    foreign = simulated.add_heater(account=other)
    account = Account(cloud)
    await account.sign_in()
    async with Client(cloud, account.url(simulated._clock())) as client:
        client._client.subscribe(f"cmd/52/navilink-{foreign.mac}/#", qos=1)
        async with asyncio.timeout(PATIENCE):
            what, value = await client.told.get()
        # AWS IoT answers with 0x80, or closes; either way nothing is heard from there.
        assert what == "disconnect" or value[0].is_failure


async def test_cutting_an_account_ends_its_connections(cloud: SimulatedCloud, simulated: NavilinkCloud) -> None:
    account = Account(cloud)
    await account.sign_in()
    async with Client(cloud, account.url(simulated._clock())) as client:
        simulated.disconnect(simulated.accounts[EMAIL])
        assert (await client.next("disconnect")).is_failure
