"""The simulated Mysa cloud: accounts, sign-in, the REST service, what an account may subscribe to, and its thermostats.

`MysaCloud` is a `navibridge.simulation.Simulator`; whoever hosts it (`navibridge.demo.cloud`) brings the sockets, the
WebSocket upgrade and the broker. What it promises is `docs/protocol/mysa.md` 11 and 14: an unmodified client can not
tell the difference.

It does no I/O and waits for nothing: a request is answered at once (its delay is part of the reply), a published
message is put on an `Agenda`, and `MysaCloud.advance` does what is due. `MysaCloud.run` only calls that often enough; a
test turns the clock itself.

Everything that is wrong can be set while it runs: of a device in `DeviceFaults` (``cloud.thermostats[id].faults``), of
an account in `Account`, of requests in `MysaCloud.rest_faults`, of the forms of the REST service in
`MysaCloud.rest_manners`, of the MQTT endpoint in `MysaCloud.manners`. The truth about a thermostat is in
``cloud.thermostats[id].state``, and every command that arrived is in `MysaCloud.received_commands`.
"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge.simulation import Agenda, Grant, Manners, Reply, Request, RestFault, live
from navibridge.vendors.mysa import frames
from navibridge.vendors.mysa.models import Family, Model, recognise
from navibridge.vendors.mysa.simulated import listing, signing
from navibridge.vendors.mysa.simulated.accounts import EMAIL, PASSWORD, Account
from navibridge.vendors.mysa.simulated.cognito import (
    IDENTITY_POOL_HOST,
    IDENTITY_POOL_SERVICE,
    KEY_SET_PATH,
    MONTH,
    USER_POOL_HOST,
    USER_POOL_SERVICE,
    Cognito,
    Refused,
)
from navibridge.vendors.mysa.simulated.faults import DeviceFaults, Timing
from navibridge.vendors.mysa.simulated.physics import Room, Weather, Zone
from navibridge.vendors.mysa.simulated.service import ROOTS, Rejected, RestManners, Service
from navibridge.vendors.mysa.simulated.thermostat import Thermostat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from navibridge.simulation import Cloud
    from navibridge.vendors.mysa.simulated.orders import ReceivedCommand

__all__ = [
    "Account",
    "DeviceFaults",
    "MysaCloud",
    "RestFault",
    "RestManners",
    "Timing",
    "cognito_fault",
    "is_start_publishing",
    "simulator",
]

REST_HOST: Final = "app-prod.mysa.cloud"
IOT_HOST: Final = "a3q27gia9qg3zy-ats.iot.us-east-1.amazonaws.com"
CONTROL_HOST: Final = "iot.us-east-1.amazonaws.com"
THINGS: Final = "/things/"
AMAZON_JSON: Final = "application/x-amz-json-1.1"
MODELS: Final = ("BB-V1-1", "BB-V2-0", "BB-V2-0-L", "INF-V1-0", "AC-V1-0", "AC-V1-1")
QUIET: Final = 1.0
"""Seconds after a SUBSCRIBE in which some clients expect nothing but its SUBACK (`docs/protocol/mysa.md` 14.3)."""

MOST_SUBSCRIPTIONS: Final = 50
MOST_KEPT: Final = 10_000
LONGEST_PAUSE: Final = 60.0  # seconds; a machine that slept does not make up for its night


@dataclass(frozen=True, slots=True)
class _Home:
    """What a thermostat of one model is born with."""

    name: str
    room: Room
    mode: str
    setpoint: float
    firmware: str


_HOMES: Final[Mapping[str, _Home]] = {
    "BB-V1-1": _Home("Guest Bedroom", Room(watts=1_485, triac=True, electronics=22), "heat", 18.5, "3.16.2.3"),
    "BB-V2-0": _Home("Living Room", Room(watts=1_500), "heat", 20.5, "3.17.4.1"),
    "BB-V2-0-L": _Home("Sun Porch", Room(watts=1_000, loss=38, gains=0, window=90), "heat", 8.0, "3.17.5.13"),
    "INF-V1-0": _Home(
        "Ensuite Floor", Room("floor", watts=1_200, loss=20, gains=40, electronics=10), "heat", 24.0, "3.16.2.3"
    ),
    "AC-V1-0": _Home("Loft Split", Room("air_conditioner", watts=3_500, loss=60, air=600e3), "heat", 21.0, "4.2.1.0"),
    "AC-V1-1": _Home(
        "Workshop", Room("air_conditioner", watts=3_500, loss=20, gains=900, window=0), "cool", 24.0, "4.2.1.0"
    ),
}
_FAMILY_HOMES: Final[Mapping[Family, str]] = {
    Family.BASEBOARD_V1: "BB-V1-1",
    Family.LITE: "BB-V2-0-L",
    Family.IN_FLOOR: "INF-V1-0",
    Family.AC: "AC-V1-0",
}


class MysaCloud:
    """A simulated Mysa cloud with its thermostats.

    Args:
        timing: how quick the thermostats are.
        seed: the same seed gives the same rooms, ids and choices; the keys that tokens are signed with differ.
        token_seconds: how long id and access tokens last.
        refresh_seconds: how long a refresh token lasts without being used.
        credential_seconds: how long AWS credentials last.
        clock: seconds since the epoch; what tokens and the thermostats' calendars go by.
        monotonic: the clock that answers are planned by.

    Attributes:
        accounts: by e-mail address.
        thermostats: every device of every account, by id.
        cognito: user pool and identity pool, with the lives of what they issue.
        manners: of the MQTT endpoint.
        rest_faults: by path such as ``/devices/state``, or by operation such as ``InitiateAuth``; ``*`` for all.
        received_commands: the commands that arrived, oldest first.
        received_messages: all messages that clients published: topic and payload, oldest first.
        requests: the REST paths and operations asked for, oldest first.
    """

    vendor = "mysa"
    hosts = frozenset({REST_HOST, IOT_HOST, CONTROL_HOST, USER_POOL_HOST, IDENTITY_POOL_HOST})

    def __init__(
        self,
        *,
        timing: Timing | None = None,
        seed: int = 1,
        token_seconds: float = 3600,
        refresh_seconds: float = MONTH,
        credential_seconds: float = 3600,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timing = timing or Timing()
        self.seed = seed
        self.manners = Manners(close_on_forbidden=False, max_subscriptions=MOST_SUBSCRIPTIONS, quiet_seconds=QUIET)
        self.accounts: dict[str, Account] = {}
        self.thermostats: dict[str, Thermostat] = {}
        self.rest_faults: dict[str, RestFault] = {}
        self.received_commands: deque[ReceivedCommand] = deque(maxlen=MOST_KEPT)
        self.received_messages: deque[tuple[str, bytes]] = deque(maxlen=MOST_KEPT)
        self.requests: deque[str] = deque(maxlen=MOST_KEPT)
        self.poll_interval: float | None = None
        self._clock = clock
        self._agenda = Agenda(monotonic)
        self._chance = random.Random(seed)  # noqa: S311 - tokens of a simulated cloud guard nothing
        self._weather = Weather(f"{seed}/weather")
        self._cloud: Cloud | None = None
        self._devices_made = 0
        self._last_tick = self._agenda.now
        self.cognito = Cognito(
            self.accounts,
            chance=self._chance,
            clock=clock,
            token_seconds=token_seconds,
            refresh_seconds=refresh_seconds,
            credential_seconds=credential_seconds,
        )
        self._service = Service(self.thermostats, self.cognito.account_of)

    # -- accounts and devices ------------------------------------------------------------------------------------

    @property
    def rest_manners(self) -> RestManners:
        """In which of its forms the REST service answers."""
        return self._service.manners

    def add_account(self, email: str = EMAIL, password: str = PASSWORD) -> Account:
        """A further account, without devices."""
        account = Account.open(email, password, self._chance)
        self.accounts[email] = account
        return account

    def add_thermostat(
        self,
        model: str = "BB-V2-0",
        *,
        account: Account | None = None,
        name: str | None = None,
        mode: str | None = None,
        setpoint: float | None = None,
        room: Room | None = None,
    ) -> Thermostat:
        """A further thermostat; it is in the next list of devices.

        Args:
            model: the vendor's code; ``ST-V1-0`` and ``BB-V3-0`` are listed, and silent.
            account: the first one without.
            name: the owner's.
            mode: Home Assistant's word.
            setpoint: °C.
            room: what it is in.
        """
        account = account or next(iter(self.accounts.values()))
        self._devices_made += 1
        number = self._devices_made
        # A locally administered address: nobody's device.
        device_id = f"{0x02A17E540000 + number:012x}"
        recognised = recognise(model)
        home = _home_of(recognised)
        zone = Zone(
            room or home.room,
            self._weather,
            time=self._clock(),
            mode=mode or home.mode,
            setpoint=home.setpoint if setpoint is None else setpoint,
            seed=f"{self.seed}/{device_id}",
        )
        if name is None:
            name = home.name if number <= len(MODELS) else f"{home.name} {number}"
        listed = listing.device(
            device_id,
            name,
            recognised,
            account,
            setpoint=zone.state.setpoint,
            amperes=0.0 if recognised.family in (Family.AC, Family.LITE) else round(zone.on_current, 2),
        )
        device = Thermostat(
            device_id,
            recognised,
            listed,
            zone,
            timing=self.timing,
            agenda=self._agenda,
            clock=self._clock,
            publish=self._publish,
            chance=random.Random(f"{self.seed}/{device_id}/wire"),  # noqa: S311 - choices of a simulation
            received=self.received_commands.append,
        )
        device.firmware = device.allowed_firmware = home.firmware
        zone.state.climate_plus = bool(listed.get("IsThermostatic", False))
        account.devices.append(device_id)
        self.thermostats[device_id] = device
        device.start()
        return device

    def remove(self, device_id: str) -> None:
        """Unpair a thermostat: no list shows it, and it falls silent."""
        self.thermostats.pop(device_id).leave()
        for account in self.accounts.values():
            if device_id in account.devices:
                account.devices.remove(device_id)

    def unplug(self, device_id: str) -> None:
        """A thermostat loses its power."""
        self.thermostats[device_id].faults.offline = True

    def plug_in(self, device_id: str) -> None:
        """It is back, and says so."""
        self.thermostats[device_id].boot()

    def revoke_tokens(self, account: Account) -> None:
        """Every token of the account, refresh tokens included, is void from now on."""
        self.cognito.revoke(account)

    def revoke_credentials(self, account: Account) -> None:
        """Every AWS credential of the account is void from now on; open connections stay."""
        self.cognito.revoke_credentials(account)

    def disconnect(self, account: Account) -> None:
        """Cut the account's connections without a word."""
        if self._cloud is not None:
            self._cloud.disconnect(account.principal)

    @property
    def pairing(self) -> tuple[str, ...]:
        """Ids of the thermostats that were told to leave the network; there must never be one."""
        return tuple(device.id for device in self.thermostats.values() if device.pairing)

    # -- the simulator's contract --------------------------------------------------------------------------------

    def account(self, host: str, port: int, ca_file: str, email: str | None = None) -> dict[str, Any]:
        """The account section of a configuration that points a bridge at this simulator."""
        account = self.accounts[email] if email else next(iter(self.accounts.values()))
        url = f"https://{host}:{port}"
        section: dict[str, Any] = {
            "vendor": self.vendor,
            "email": account.email,
            "password": account.password,
            "api_url": url,
            "user_pool_url": url,
            "identity_pool_url": url,
            "iot_host": host,
            "iot_port": port,
            "ca_file": ca_file,
        }
        if self.poll_interval is not None:
            section["poll_interval"] = self.poll_interval
        return section

    def serves(self, request: Request) -> bool:
        """Whether the request is for one of this vendor's services, by its operation or its path."""
        service, _, _ = request.headers.get("x-amz-target", "").partition(".")
        if service in (USER_POOL_SERVICE, IDENTITY_POOL_SERVICE):
            return True
        if request.path == KEY_SET_PATH or request.path.startswith(THINGS):
            return True
        return request.path.strip("/").partition("/")[0] in ROOTS

    def grant(self, access_key: str) -> Grant | None:
        """The credentials of an access key id, if issued here; expired ones too."""
        grant = self.cognito.grant(access_key)
        account = self._account_of(grant.principal) if grant is not None else None
        return grant if account is not None and account.realtime else None

    def may_subscribe(self, principal: str, client_id: str, topic_filter: str) -> bool:
        """Whether the account's policy allows the filter: the exact topics of its own devices, and no wildcard."""
        del client_id
        return self._is_own(principal, topic_filter)

    def may_publish(self, principal: str, client_id: str, topic: str) -> bool:
        """Whether the account's policy allows publishing there."""
        del client_id
        return self._is_own(principal, topic)

    def _is_own(self, principal: str, topic: str) -> bool:
        account = self._account_of(principal)
        if account is None or set(topic) & {"+", "#"}:
            return False
        match topic.split("/"):
            case ["", "v1", "dev", device_id, "in" | "out" | "batch"]:
                return device_id in account.devices
            case ["$aws", "things", device_id, "shadow", "name", _, _, *_]:
                return device_id in account.devices
        return False

    def _account_of(self, principal: str) -> Account | None:
        return next((account for account in self.accounts.values() if account.principal == principal), None)

    def received(self, principal: str, client_id: str, topic: str, payload: bytes) -> None:
        """A client published: the thermostat it is for hears it."""
        del principal, client_id
        self.received_messages.append((topic, payload))
        match topic.split("/"):
            case ["", "v1", "dev", device_id, "in"] if device_id in self.thermostats:
                self.thermostats[device_id].hear(payload)

    async def run(self, cloud: Cloud) -> None:
        """Live the thermostats' lives until cancelled."""
        self.connect(cloud)
        try:
            await live(self._agenda, self.advance)
        finally:
            self._cloud = None

    def connect(self, cloud: Cloud) -> None:
        """Where to publish; `run` does this, a test that turns the clock itself calls it."""
        self._cloud = cloud
        self._last_tick = self._agenda.now

    def advance(self) -> float:
        """Do what is due by now, and let the rooms live up to now.

        Returns:
            Seconds until it wants to be called again.
        """
        elapsed = self._agenda.now - self._last_tick
        if elapsed >= self.timing.tick:
            self._last_tick += elapsed
            for device in tuple(self.thermostats.values()):
                device.tick(min(elapsed, LONGEST_PAUSE))
            elapsed = 0.0
        return min(self._agenda.run(), self.timing.tick - elapsed)

    def _publish(self, topic: str, payload: bytes, qos: int) -> None:
        if self._cloud is not None:
            self._cloud.publish(topic, payload, qos=qos)

    # -- HTTP ----------------------------------------------------------------------------------------------------

    async def rest(self, request: Request) -> Reply:
        """Answer a request to any of the services, or do to it what `rest_faults` says."""
        target = request.headers.get("x-amz-target", "")
        name = target.rpartition(".")[2] or request.path
        self.requests.append(name)
        fault = RestFault.take(self.rest_faults, name)
        if fault is not None and fault.status is not None:
            return Reply(fault.body, fault.status, fault.headers, fault.content_type, fault.delay)
        delay = fault.delay if fault else 0.0
        if target:
            return self._answer_amazon(target, request, delay)
        if request.path == KEY_SET_PATH:
            return Reply(self.cognito.key_set(), delay=delay)
        if request.path.startswith(THINGS):
            return self._answer_thing(request, delay)
        try:
            return Reply(self._service.answer(request), delay=delay)
        except Rejected as rejected:
            return Reply(rejected.body, rejected.status, delay=delay)

    def _answer_amazon(self, target: str, request: Request, delay: float) -> Reply:
        try:
            fields = orjson.loads(request.body)
            if not isinstance(fields, dict):
                raise Refused("SerializationException", "The body is not an object.")
            return Reply(self.cognito.answer(target, fields), content_type=AMAZON_JSON, delay=delay)
        except orjson.JSONDecodeError:
            refusal = Refused("SerializationException", "The body is not JSON.")
        except Refused as error:
            refusal = error
        fault = cognito_fault(refusal.sort, refusal.message)
        return Reply(fault.body, HTTPStatus.BAD_REQUEST, fault.headers, fault.content_type, delay)

    def _answer_thing(self, request: Request, delay: float) -> Reply:
        """A device as the control plane of AWS IoT describes it: the only source of serial numbers."""
        device_id = request.path.removeprefix(THINGS)
        signed = signing.Signed.read(request.headers)
        grant = self.grant(signed.access_key) if signed is not None else None
        genuine = signed is not None and grant is not None and signing.is_genuine(request, signed, grant, self._clock())
        account = self._account_of(grant.principal) if genuine and grant is not None else None
        if account is None or device_id not in account.devices:
            headers = {"x-amzn-ErrorType": "ForbiddenException"}
            return Reply({"message": "Forbidden"}, HTTPStatus.FORBIDDEN, headers, delay=delay)
        thing = {
            "attributes": {"Serial": self.thermostats[device_id].serial},
            "defaultClientId": device_id,
            "thingName": device_id,
            "version": 1,
        }
        return Reply(thing, delay=delay)


def cognito_fault(sort: str, message: str = "", *, times: int | None = None) -> RestFault:
    """A refusal by Cognito, for `MysaCloud.rest_faults`: ``cognito_fault("TooManyRequestsException")``."""
    body = {"__type": sort, "message": message}
    headers = {"x-amzn-ErrorType": f"{sort}:", "x-amzn-ErrorMessage": message}
    return RestFault(HTTPStatus.BAD_REQUEST, body, AMAZON_JSON, headers, times=times)


def is_start_publishing(topic: str, payload: bytes) -> bool:
    """Whether a client's message asks a device to publish: what the real broker loses at times.

    For `navibridge.demo.cloud.Faults.lose` (`docs/protocol/mysa.md` 3.7).
    """
    try:
        message = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    asks = isinstance(message, dict) and message.get("MsgType") == frames.START_PUBLISHING
    return asks and topic.endswith("/in")


def simulator(
    devices: int = 6,
    *,
    email: str = EMAIL,
    password: str = PASSWORD,
    models: Sequence[str] = MODELS,
    seed: int = 1,
    speed: float = 1.0,
    answer: tuple[float, float] = (0.2, 1.0),
    status: float = 5.0,
    report: float = 300.0,
    record: float = 30.0,
    batch_minutes: float = 10.0,
    flush: tuple[float, float] = (0.5, 2.0),
    rest: tuple[float, float] = (2.0, 8.0),
    tick: float = 1.0,
    quiet: float = QUIET,
    token_seconds: float = 3600,
    refresh_seconds: float = MONTH,
    credential_seconds: float = 3600,
    poll_interval: float | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> MysaCloud:
    """A simulated cloud with one account.

    Args:
        devices: how many thermostats it holds.
        email: the account.
        password: its password.
        models: what they are, in turn.
        seed: the same seed gives the same rooms, ids and choices.
        speed: seconds the rooms live in one second; 60 makes a morning of a few minutes.
        answer: see `Timing`.
        status: see `Timing`.
        report: see `Timing`.
        record: see `Timing`.
        batch_minutes: between batches nobody asked for; 0 for none.
        flush: see `Timing`.
        rest: see `Timing`.
        tick: see `Timing`.
        quiet: seconds after a SUBSCRIBE in which nothing is delivered to that client.
        token_seconds: how long id and access tokens last.
        refresh_seconds: how long a refresh token lasts without being used.
        credential_seconds: how long AWS credentials last.
        poll_interval: what `MysaCloud.account` suggests to the bridge; ``None`` leaves it to the bridge.
        clock: seconds since the epoch.
        monotonic: the clock that answers are planned by.
    """
    cloud = MysaCloud(
        timing=Timing(
            answer=answer,
            status=status,
            report=report,
            record=record,
            batch=60 * batch_minutes,
            flush=flush,
            rest=rest,
            speed=speed,
            tick=tick,
        ),
        seed=seed,
        token_seconds=token_seconds,
        refresh_seconds=refresh_seconds,
        credential_seconds=credential_seconds,
        clock=clock,
        monotonic=monotonic,
    )
    cloud.manners.quiet_seconds = quiet
    cloud.poll_interval = poll_interval
    cloud.add_account(email, password)
    for number in range(devices):
        cloud.add_thermostat(models[number % len(models)])
    return cloud


def _home_of(model: Model) -> _Home:
    return _HOMES.get(model.code) or _HOMES[_FAMILY_HOMES.get(model.family, "BB-V2-0")]
