"""The simulated Mysa cloud through its real sockets, used by clients that share no code with ours.

pycognito signs in by SRP and checks the tokens as the Python clients do, botocore gets and uses the AWS credentials,
aiohttp asks the REST service, paho-mqtt speaks MQTT over a WebSocket of its own; only the signature of its URL is made
by `navibridge.sigv4`, which has vectors of its own. The steps are those of `docs/protocol/mysa.md` 14.2 and 14.3.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp
import boto3
import paho.mqtt.client as paho
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from paho.mqtt.enums import CallbackAPIVersion
from pycognito import Cognito
from pycognito.aws_srp import AWSSRP

from navibridge import sigv4
from navibridge.demo.cloud import SimulatedCloud
from navibridge.vendors.mysa import batch, frames
from navibridge.vendors.mysa.simulated.accounts import USER_POOL
from navibridge.vendors.mysa.simulated.cloud import EMAIL, PASSWORD, MysaCloud, is_start_publishing, simulator
from navibridge.vendors.mysa.simulated.cognito import CLIENT_IDS, IDENTITY_POOLS, ISSUER, KEY_SET_PATH, LOGIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from paho.mqtt.reasoncodes import ReasonCode

PATIENCE = 15.0
REGION = "us-east-1"

# What other people's libraries do with the standard library is not for these tests to judge.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Client:
    """paho on its own thread; whatever it tells, arrives in one queue."""

    def __init__(self, cloud: SimulatedCloud, url: str, *, client_id: str) -> None:
        parts = urlsplit(url)
        self._loop = asyncio.get_running_loop()
        self.told: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, transport="websockets")
        self._client.ws_set_options(path=f"{parts.path}?{parts.query}")
        self._client.tls_set_context(ssl.create_default_context(cafile=cloud.ca_file))
        self._client.username_pw_set("?SDK=IoTDeviceSDK/JS&Platform=Unix")
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._tell("connect", reason)
        self._client.on_subscribe = lambda _c, _u, _m, reasons, _p: self._tell("subscribe", reasons)
        self._client.on_publish = lambda _c, _u, mid, _r, _p: self._tell("publish", mid)
        self._client.on_message = lambda _c, _u, message: self._tell("message", message)
        self._client.on_disconnect = lambda _c, _u, _f, reason, _p: self._tell("disconnect", reason)
        self._client.reconnect_delay_set(60, 60)
        self._place = (cloud.host, cloud.port)

    def _tell(self, what: str, value: object) -> None:
        self._loop.call_soon_threadsafe(self.told.put_nowait, (what, value))

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._client.connect, *self._place, keepalive=30)
        self._client.loop_start()
        assert not (await self.next("connect")).is_failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def next(self, *wanted: str) -> Any:
        """The next thing of these sorts; others are passed over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                what, value = await self.told.get()
                if what in wanted:
                    return value

    async def subscribe(self, *filters: str) -> list[ReasonCode]:
        self._client.subscribe([(topic_filter, 1) for topic_filter in filters])
        found: list[ReasonCode] = await self.next("subscribe")
        return found

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1, and wait for the acknowledgement."""
        self._client.publish(topic, payload, qos=1)
        await self.next("publish")

    def send(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1)

    async def message(self, topic: str, number: int) -> dict[str, Any]:
        """The next message of that number there."""
        while True:
            message = await self.next("message")
            if message.topic == topic:
                body = json.loads(message.payload)
                if body.get("MsgType", body.get("msg")) == number:
                    return dict(body)


class Account:
    """The rest of a client: sign-in, credentials, REST."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self._cloud = cloud
        self.base = f"https://localhost:{cloud.port}"
        self.tls = ssl.create_default_context(cafile=cloud.ca_file)
        self.tokens: dict[str, Any] = {}
        self.credentials: dict[str, Any] = {}
        self.identity = ""

    @contextmanager
    def amazon(self, service: str, **keys: str) -> Iterator[Any]:
        """A botocore client that closes its connections."""
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        client = boto3.session.Session().client(
            service, region_name=REGION, endpoint_url=self.base, verify=self._cloud.ca_file, config=config, **keys
        )
        try:
            yield client
        finally:
            client.close()

    def unsigned(self, service: str) -> AbstractContextManager[Any]:
        return self.amazon(service, aws_access_key_id="none", aws_secret_access_key="none")

    async def sign_in(self, password: str = PASSWORD) -> dict[str, Any]:
        def prove() -> dict[str, Any]:
            with self.unsigned("cognito-idp") as client:
                srp = AWSSRP(EMAIL, password, USER_POOL, CLIENT_IDS[0], client=client)
                return dict(srp.authenticate_user()["AuthenticationResult"])

        self.tokens = await asyncio.to_thread(prove)
        return self.tokens

    async def get_credentials(self) -> dict[str, Any]:
        logins = {LOGIN: self.tokens["IdToken"]}

        def exchange() -> dict[str, Any]:
            with self.unsigned("cognito-identity") as client:
                self.identity = client.get_id(IdentityPoolId=IDENTITY_POOLS[0], Logins=logins)["IdentityId"]
                granted = client.get_credentials_for_identity(IdentityId=self.identity, Logins=logins)
                return dict(granted["Credentials"])

        self.credentials = await asyncio.to_thread(exchange)
        return self.credentials

    async def get(self, path: str, *, authorized: bool = True) -> Any:
        headers = {"Authorization": self.tokens["IdToken"]} if authorized else {}
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.base + path, headers=headers, ssl=self.tls) as answer,
        ):
            assert answer.status == 200
            assert answer.content_type == "application/json"
            return await answer.json()

    def url(self, now: float, *, expires: int | None = None) -> str:
        return sigv4.presign(
            f"{self._cloud.host}:{self._cloud.port}",
            access_key=self.credentials["AccessKeyId"],
            secret_key=self.credentials["SecretKey"],
            session_token=self.credentials["SessionToken"],
            region=REGION,
            now=now,
            expires=expires,
        )


@pytest.fixture
def simulated() -> MysaCloud:
    return simulator(
        6, answer=(0.0, 0.05), status=0.2, flush=(0.05, 0.1), rest=(0.0, 0.1), quiet=0.05, report=0.0, batch_minutes=0.0
    )


@pytest.fixture
async def cloud(simulated: MysaCloud) -> AsyncIterator[SimulatedCloud]:
    async with SimulatedCloud([simulated]) as running:
        yield running


async def test_tokens_stand_the_test_of_the_python_clients(cloud: SimulatedCloud) -> None:
    account = Account(cloud)
    tokens = await account.sign_in()
    assert tokens["TokenType"] == "Bearer"
    key_set = await account.get(KEY_SET_PATH, authorized=False)

    def verify() -> Cognito:
        verifier = Cognito(
            USER_POOL,
            CLIENT_IDS[0],
            id_token=tokens["IdToken"],
            access_token=tokens["AccessToken"],
            boto3_client_kwargs={"aws_access_key_id": "none", "aws_secret_access_key": "none"},
        )
        verifier.pool_jwk = key_set
        assert verifier.user_pool_url == ISSUER
        verifier.verify_tokens()
        return verifier

    verified = await asyncio.to_thread(verify)
    assert verified.id_claims["cognito:username"] == verified.access_claims["username"]


# Leading zeros are no part of this: pycognito hashes them, others do not, and a number has none.
@pytest.mark.parametrize("salt", ["ff" * 16, "7f" * 16, "abc", "1"])
async def test_pycognito_signs_in_whatever_the_salt(cloud: SimulatedCloud, simulated: MysaCloud, salt: str) -> None:
    simulated.accounts[EMAIL].set_password("correct horse 7", salt=salt)
    account = Account(cloud)
    assert (await account.sign_in("correct horse 7"))["IdToken"]
    with pytest.raises(ClientError, match="Incorrect username or password"):
        await account.sign_in("correct horse 8")


async def test_refreshing_and_its_end(cloud: SimulatedCloud, simulated: MysaCloud) -> None:
    account = Account(cloud)
    tokens = await account.sign_in()

    def refresh() -> dict[str, Any]:
        with account.unsigned("cognito-idp") as client:
            answer = client.initiate_auth(
                AuthFlow="REFRESH_TOKEN_AUTH",
                ClientId=CLIENT_IDS[0],
                AuthParameters={"REFRESH_TOKEN": tokens["RefreshToken"]},
            )
        return dict(answer["AuthenticationResult"])

    fresh = await asyncio.to_thread(refresh)
    assert "RefreshToken" not in fresh
    simulated.revoke_tokens(simulated.accounts[EMAIL])
    with pytest.raises(ClientError, match="revoked") as refusal:
        await asyncio.to_thread(refresh)
    assert refusal.value.response["Error"]["Code"] == "NotAuthorizedException"


async def test_serial_numbers_come_from_signed_requests(cloud: SimulatedCloud, simulated: MysaCloud) -> None:
    account = Account(cloud)
    await account.sign_in()
    granted = await account.get_credentials()
    device = next(iter(simulated.thermostats.values()))

    def describe(**changed: str) -> dict[str, Any]:
        keys = {
            "aws_access_key_id": granted["AccessKeyId"],
            "aws_secret_access_key": granted["SecretKey"],
            "aws_session_token": granted["SessionToken"],
        }
        with account.amazon("iot", **(keys | changed)) as client:
            return dict(client.describe_thing(thingName=device.id))

    thing = await asyncio.to_thread(describe)
    assert (thing["thingName"], thing["attributes"]["Serial"]) == (device.id, device.serial)
    for wrong in ({"aws_secret_access_key": "x" * 40}, {"aws_session_token": "x"}, {"aws_access_key_id": "ASIA"}):
        with pytest.raises(ClientError) as refusal:
            await asyncio.to_thread(describe, **wrong)
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


async def test_the_start_up_of_the_peer_step_by_step(cloud: SimulatedCloud, simulated: MysaCloud) -> None:
    account = Account(cloud)
    await account.sign_in()  # steps 1 and 2
    listed, firmware = await asyncio.gather(account.get("/devices"), account.get("/devices/firmware"))  # step 4
    ids = list(listed["DevicesObj"])
    assert set(firmware["Firmware"]) == set(ids)
    await account.get_credentials()  # step 5
    for device_id in ids:  # step 6
        state = (await account.get("/devices/state"))["DeviceStatesObj"][device_id]
        assert all(isinstance(state[name]["v"], int | float) for name in ("CorrectedTemp", "Humidity", "SetPoint"))
    credentials = await account.get_credentials()  # step 7
    assert credentials["Expiration"].timestamp() > simulated._clock()
    client_id = "mysa-js-sdk-" + "a" * 57
    async with Client(cloud, account.url(simulated._clock()), client_id=client_id) as client:  # steps 8 and 9
        for device_id in ids:  # step 10
            assert [reason.value for reason in await client.subscribe(frames.topic_out(device_id))] == [1]
            await client.publish(
                frames.topic_in(device_id), frames.start_publishing(device_id, simulated._clock()).payload
            )
        numbers = {"BB-V1-1": 0, "BB-V2-0": 40, "BB-V2-0-L": 40, "INF-V1-0": 17, "AC-V1-0": 30, "AC-V1-1": 30}
        for device_id in ids:  # step 11
            number = numbers[listed["DevicesObj"][device_id]["Model"]]
            status = await client.message(frames.topic_out(device_id), number)
            fields = status if number == 0 else status["body"]
            names = ("MainTemp", "Humidity") if number == 0 else ("ambTemp", "hum")
            assert all(isinstance(fields[name], int | float) for name in names)

        # The peer's own command: no Timestamp, the internal name as its source; and one that sets nothing.
        device_id = ids[1]
        for cmd in ({"tm": -1, "sp": 22.0}, {"tm": -1}):
            now = simulated._clock()
            message = {
                "ver": "1.0",
                "time": int(now),
                "id": int(now * 1000),
                "msg": 44,
                "resp": 2,
                "src": {"ref": simulated.accounts[EMAIL].user_id, "type": 100},
                "dest": {"ref": device_id, "type": 1},
                "body": {"ver": 1, "type": 4, "cmd": [cmd]},
            }
            client.send(frames.topic_in(device_id), json.dumps(message).encode())
            ack = await client.message(frames.topic_out(device_id), 44)
            assert ack["resp_id"] == message["id"]
            assert ack["body"]["state"]["sp"] == 22.0
    assert simulated.thermostats[device_id].state.setpoint == 22.0
    assert simulated.pairing == ()


async def test_the_inspector_watches_all_topics_of_a_device(cloud: SimulatedCloud, simulated: MysaCloud) -> None:
    account = Account(cloud)
    await account.sign_in()
    for path in ("/users", "/homes", "/devices", "/devices/state", "/devices/firmware"):
        assert await account.get(path)
    await account.get_credentials()
    device = simulated.thermostats[simulated.accounts[EMAIL].devices[1]]
    topics = [frames.topic_out(device.id), frames.topic_in(device.id), frames.topic_batch(device.id)]
    url = account.url(simulated._clock(), expires=3600)
    async with Client(cloud, url, client_id="0a1b2c3d-0000-4000-8000-000000000000") as client:
        assert [reason.value for reason in await client.subscribe(*topics)] == [1, 1, 1]
        client.send(frames.topic_in(device.id), frames.dump_readings(device.id, simulated._clock()).payload)
        # Its own message comes back, then the readings, the log and the firmware.
        assert (await client.message(topics[1], 7))["Device"] == device.id
        carrier = await client.message(topics[2], 3)
        frame = frames.parse(json.dumps(carrier).encode(), topics[2])
        blob = frame.fields["readings"]
        assert isinstance(blob, bytes)
        readings = batch.decode(blob).readings
        assert {reading.version for reading in readings} == {3}
        assert all(reading.checksum_ok for reading in readings)
        assert "Level" in await client.message(topics[0], 4)
        assert (await client.message(topics[0], 61))["body"] == {"fw": device.firmware}
        assert (await account.get(f"/devices/state/{device.id}"))["DeviceState"]["Device"] == device.id


async def test_the_manners_of_the_endpoint(cloud: SimulatedCloud, simulated: MysaCloud) -> None:
    account = Account(cloud)
    await account.sign_in()
    await account.get_credentials()
    foreign = simulated.add_thermostat(account=simulated.add_account("neighbour@example.com"))
    simulated.manners.max_subscriptions = 4
    first = next(iter(simulated.thermostats))
    async with Client(cloud, account.url(simulated._clock()), client_id="a") as client:
        refused = await client.subscribe("/v1/dev/+/out", frames.topic_out(foreign.id), "#", frames.topic_out(first))
        assert [reason.value for reason in refused] == [0x80, 0x80, 0x80, 1]
        mine = [frames.topic_batch(device_id) for device_id in simulated.accounts[EMAIL].devices]
        granted = [reason.value for reason in await client.subscribe(*mine)]
        assert granted == [1, 1, 1, 0x80, 0x80, 0x80]
        client._client.subscribe([(topic, 1) for topic in [*mine, *mine]])  # more than eight in one packet
        assert (await client.next("disconnect")).is_failure
    simulated.manners.close_on_forbidden = True
    async with Client(cloud, account.url(simulated._clock()), client_id="b") as client:
        client._client.subscribe("/v1/dev/+/out", 1)
        assert (await client.next("disconnect")).is_failure


async def test_start_publishing_may_be_lost_without_an_acknowledgement(
    cloud: SimulatedCloud, simulated: MysaCloud
) -> None:
    account = Account(cloud)
    await account.sign_in()
    await account.get_credentials()
    cloud.faults.lose = is_start_publishing
    device = next(iter(simulated.thermostats.values()))
    async with Client(cloud, account.url(simulated._clock()), client_id="a") as client:
        await client.subscribe(frames.topic_out(device.id))
        client.send(frames.topic_in(device.id), frames.start_publishing(device.id, simulated._clock()).payload)
        # The message after it is acknowledged first, and the only one.
        acknowledged: list[int] = []
        client.send(frames.topic_in(device.id), frames.check_settings(device.id, simulated._clock()).payload)
        acknowledged.append(await client.next("publish"))
        assert not device.publishing
        assert [topic for topic, _ in simulated.received_messages] == [frames.topic_in(device.id)]
        assert len(acknowledged) == 1


async def test_an_account_without_realtime_is_refused_at_the_handshake(
    cloud: SimulatedCloud, simulated: MysaCloud
) -> None:
    account = Account(cloud)
    await account.sign_in()
    await account.get_credentials()
    simulated.accounts[EMAIL].realtime = False
    url = account.url(simulated._clock()).replace("wss://", "https://")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await session.ws_connect(url, protocols=("mqtt",), ssl=account.tls)
    assert refusal.value.status == 403


async def test_cutting_an_account_ends_its_connections(cloud: SimulatedCloud, simulated: MysaCloud) -> None:
    account = Account(cloud)
    await account.sign_in()
    await account.get_credentials()
    async with Client(cloud, account.url(simulated._clock()), client_id="a") as client:
        simulated.disconnect(simulated.accounts[EMAIL])
        assert (await client.next("disconnect")).is_failure


async def test_the_real_host_names_lead_to_the_services(cloud: SimulatedCloud) -> None:
    account = Account(cloud)
    await account.sign_in()
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{account.base}/devices",
            headers={"Host": "app-prod.mysa.cloud", "Authorization": account.tokens["IdToken"]},
            ssl=account.tls,
        ) as answer,
    ):
        assert answer.status == 200
        assert len((await answer.json())["DevicesObj"]) == 6
