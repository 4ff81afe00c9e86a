"""The simulated NaviLink cloud: accounts, tokens, the REST service, what an account may subscribe to, and its devices.

`NavilinkCloud` is a `navibridge.simulation.Simulator`; whoever hosts it (`navibridge.demo.cloud`) brings the sockets,
the WebSocket upgrade and the broker. What it promises is `docs/protocol/navilink.md` 15 and 17: an unmodified client
can not tell the difference.

It does no I/O and waits for nothing: a request is answered at once (its delay is part of the reply), a published
message is put on an `Agenda`, and `NavilinkCloud.advance` does what is due. `NavilinkCloud.run` only calls that often
enough; a test turns the clock itself.

Everything that is wrong can be set while it runs: of a device in `DeviceFaults` (``cloud.devices[mac].faults``), of
an account in `Account`, of the REST service in `NavilinkCloud.rest_faults`. The truth about a device is in
``cloud.devices[mac].state``, and every control that arrived is in `NavilinkCloud.received_controls`.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

import orjson

from navibridge.simulation import Agenda, Grant, Manners, Reply, Request, RestFault, live
from navibridge.vendors.navilink.simulated import tariff
from navibridge.vendors.navilink.simulated.appliance import DeviceFaults, ReceivedControl, Timing
from navibridge.vendors.navilink.simulated.gas import GasUnit
from navibridge.vendors.navilink.simulated.heater import FIRMWARES, Dialect, HeatPump
from navibridge.vendors.navilink.simulated.physics import Heater, Model
from navibridge.vendors.navilink.simulated.tankless import Tankless

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from navibridge.simulation import Cloud

__all__ = ["Account", "DeviceFaults", "NavilinkCloud", "RestFault", "Timing", "simulator"]

log = logging.getLogger(__name__)

REST_HOST: Final = "nlus.naviensmartcontrol.com"
IOT_HOST: Final = "a1t30mldyslmuq-ats.iot.us-east-1.amazonaws.com"
VANITY_HOST: Final = "nlus-iot.naviensmartcontrol.com"  # in the app's traffic; no public client connects to it
API: Final = "/api/v2.1"
OLDER_API: Final = "/api/v2"
EMAIL: Final = "owner@example.com"
PASSWORD: Final = "demo-water-heater"  # noqa: S105 - the simulated cloud's own
NAMES: Final = ("Garage heat pump", "Basement heat pump", "Guest house", "Cabin")
DISCONNECT_EVENT: Final = "evt/52/mobile/event/disconnect-mqtt"
MOST_TOKENS: Final = 1_000
MOST_CONTROLS: Final = 10_000
LONGEST_PAUSE: Final = 60.0  # seconds; a machine that slept does not make up for its night


@dataclass(slots=True)
class Account:
    """One account of the simulated cloud; everything may be changed while it runs.

    Attributes:
        email: how it signs in.
        password: with what.
        user_seq: its number; part of response topics.
        home_seq: its home's number.
        macs: its devices, in the order of its list.
        empty_list: the device list comes back empty.
        locked: sign-in is refused as for a wrong password.
    """

    email: str
    password: str
    user_seq: int
    home_seq: int
    macs: list[str] = field(default_factory=list)
    empty_list: bool = False
    locked: bool = False

    @property
    def principal(self) -> str:
        """What its AWS credentials belong to."""
        return f"navilink/{self.user_seq}"


@dataclass(frozen=True, slots=True)
class _Token:
    email: str
    expires_at: float


class _Refused(Exception):
    """An answer other than success; only between a route and the envelope."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class NavilinkCloud:
    """A simulated NaviLink cloud with its devices.

    Args:
        timing: how quick the devices are.
        seed: the same seed gives the same devices, tokens and choices.
        token_seconds: how long an access token lasts.
        credential_seconds: how long AWS credentials last.
        clock: seconds since the epoch; what tokens and the devices' calendars go by.
        monotonic: the clock that answers are planned by.

    Attributes:
        accounts: by e-mail address.
        devices: every device of every account, by MAC address.
        rest_faults: by path below the API's root, such as ``/device/list``; ``*`` for all.
        received_controls: the controls that arrived, oldest first.
        requests: the REST paths asked for, oldest first.
    """

    vendor = "navilink"
    hosts = frozenset({REST_HOST, IOT_HOST, VANITY_HOST})

    def __init__(
        self,
        *,
        timing: Timing | None = None,
        seed: int = 1,
        token_seconds: float = 3600,
        credential_seconds: float = 3600,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timing = timing or Timing()
        self.manners = Manners()
        self.seed = seed
        self.token_seconds = token_seconds
        self.credential_seconds = credential_seconds
        self.accounts: dict[str, Account] = {}
        self.devices: dict[str, HeatPump | GasUnit] = {}
        self.rest_faults: dict[str, RestFault] = {}
        self.received_controls: deque[ReceivedControl] = deque(maxlen=MOST_CONTROLS)
        self.requests: deque[str] = deque(maxlen=MOST_CONTROLS)
        self.poll_interval: float | None = None
        self._clock = clock
        self._agenda = Agenda(monotonic)
        self._chance = random.Random(seed)  # noqa: S311 - tokens of a simulated cloud guard nothing
        self._cloud: Cloud | None = None
        self._access: dict[str, _Token] = {}
        self._refresh: dict[str, str] = {}
        self._grants: dict[str, Grant] = {}
        self._tou: dict[str, dict[str, Any]] = {}
        self._devices_made = 0
        self._last_tick = self._agenda.now

    # -- accounts and devices ------------------------------------------------------------------------------------

    @property
    def heaters(self) -> Mapping[str, HeatPump]:
        """The heat-pump water heaters, by MAC address."""
        return {mac: device for mac, device in self.devices.items() if isinstance(device, HeatPump)}

    @property
    def gas_units(self) -> Mapping[str, GasUnit]:
        """The gas units, by MAC address."""
        return {mac: device for mac, device in self.devices.items() if isinstance(device, GasUnit)}

    def add_account(self, email: str = EMAIL, password: str = PASSWORD) -> Account:
        """A further account, without devices."""
        number = len(self.accounts)
        account = Account(email, password, 41250 + number, 31007 + number)
        self.accounts[email] = account
        return account

    def add_heater(
        self,
        *,
        account: Account | None = None,
        name: str | None = None,
        dialect: Dialect = "json",
        model: Model | None = None,
    ) -> HeatPump:
        """A further heat-pump water heater; it is in the next device list."""
        number, mac, wiring = self._wire(account)
        model = model or Model(serial=f"NWP5SIM{number:09d}")
        unit = Heater(model, time=self._clock(), seed=f"{self.seed}/{mac}")
        device = HeatPump(mac, name or _name(number), unit=unit, dialect=dialect, **wiring)
        self.devices[mac] = device
        return device

    def add_gas_unit(
        self, *, account: Account | None = None, name: str = "Cabin tankless", fahrenheit: bool = True
    ) -> GasUnit:
        """A further gas unit."""
        _, mac, wiring = self._wire(account)
        unit = Tankless(time=self._clock(), seed=f"{self.seed}/{mac}", fahrenheit=fahrenheit)
        device = GasUnit(mac, name, unit=unit, **wiring)
        self.devices[mac] = device
        return device

    def _wire(self, account: Account | None) -> tuple[int, str, dict[str, Any]]:
        """A number, a MAC address and the surroundings of a device about to be made."""
        account = account or next(iter(self.accounts.values()))
        number = self._devices_made
        self._devices_made += 1
        # The documentation range of RFC 7042 with the bit of locally administered addresses set: nobody's device.
        mac = f"{0x02005E530000 + number + 1:012x}"
        account.macs.append(mac)
        wiring = {
            "additional_value": str(5301 + 37 * number),
            "home_seq": account.home_seq,
            "timing": self.timing,
            "agenda": self._agenda,
            "publish": self._publish,
            "chance": random.Random(f"{self.seed}/{mac}/wire"),  # noqa: S311 - choices of a simulation
            "received": self.received_controls.append,
        }
        return number, mac, wiring

    def remove(self, mac: str) -> None:
        """Take a device out of its account: no list shows it, and it falls silent."""
        device = self.devices.pop(mac)
        device.faults.offline = True
        for account in self.accounts.values():
            if mac in account.macs:
                account.macs.remove(mac)

    def unplug(self, mac: str) -> None:
        """The device loses its connection, and the service says so."""
        device = self.devices[mac]
        device.announce_connection(connected=False)
        device.faults.offline = True

    def plug_in(self, mac: str) -> None:
        """The device is back, and says so."""
        device = self.devices[mac]
        device.faults.offline = False
        device.announce_connection(connected=True)

    def announce_maintenance(self) -> None:
        """Broadcast that the service is about to close its connections."""
        self._publish(DISCONNECT_EVENT, b"{}")

    def revoke_tokens(self, account: Account) -> None:
        """Every access and refresh token of the account is void from now on."""
        self._access = {token: entry for token, entry in self._access.items() if entry.email != account.email}
        self._refresh = {token: email for token, email in self._refresh.items() if email != account.email}

    def revoke_credentials(self, account: Account) -> None:
        """Every AWS credential of the account is void from now on; open connections stay."""
        mine = [key for key, grant in self._grants.items() if grant.principal == account.principal]
        for key in mine:
            del self._grants[key]

    def disconnect(self, account: Account) -> None:
        """Cut the account's connections without a word."""
        if self._cloud is not None:
            self._cloud.disconnect(account.principal)

    # -- the simulator's contract --------------------------------------------------------------------------------

    def account(self, host: str, port: int, ca_file: str, email: str | None = None) -> dict[str, Any]:
        """The account section of a configuration that points a bridge at this simulator."""
        account = self.accounts[email] if email else next(iter(self.accounts.values()))
        section: dict[str, Any] = {
            "vendor": self.vendor,
            "email": account.email,
            "password": account.password,
            "api_url": f"https://{host}:{port}{API}",
            "iot_host": host,
            "iot_port": port,
            "ca_file": ca_file,
        }
        if self.poll_interval is not None:
            section["poll_interval"] = self.poll_interval
        return section

    def serves(self, request: Request) -> bool:
        """Whether the request is for the paths of this vendor's REST service."""
        return request.path.startswith((f"{API}/", f"{OLDER_API}/"))

    def grant(self, access_key: str) -> Grant | None:
        """The credentials of an access key id, if issued here; expired ones too."""
        return self._grants.get(access_key)

    def may_subscribe(self, principal: str, client_id: str, topic_filter: str) -> bool:
        """Whether the account's policy allows the filter.

        What is known to work (`docs/protocol/navilink.md` 2.2) is allowed: everything below a device of the account
        in ``cmd/``, exact event topics, the session's own response topics, and the broadcast. A ``+`` stands for a
        whole level.
        """
        levels = topic_filter.split("/")
        if any("+" in level and level != "+" for level in levels) or any("#" in level for level in levels[:-1]):
            return False
        if levels[0] == "evt" and levels[2:] == ["mobile", "event", "disconnect-mqtt"]:
            return levels[1] == "+" or levels[1].isdigit()
        account = self._account_of(principal)
        if account is None or len(levels) < 4 or not levels[1].isdigit():  # noqa: PLR2004 - kind, type, whose, what
            return False
        if self._owns(account, levels[2]):
            return levels[0] == "cmd" or (levels[0] == "evt" and levels[3:] in (["connection"], ["app-connection"]))
        exact = not set(levels) & {"+", "#"}
        return exact and levels[0] == "cmd" and self._is_reply(account, client_id, levels)

    def may_publish(self, principal: str, client_id: str, topic: str) -> bool:
        """Whether the account's policy allows publishing there: to its own devices, and their app-connection event."""
        del client_id
        levels = topic.split("/")
        account = self._account_of(principal)
        if account is None or len(levels) < 4 or not levels[1].isdigit():  # noqa: PLR2004 - see may_subscribe
            return False
        if not self._owns(account, levels[2]) or set(levels) & {"+", "#"}:
            return False
        return levels[0] == "cmd" or (levels[0] == "evt" and levels[3:] in (["connection"], ["app-connection"]))

    def _is_reply(self, account: Account, client_id: str, levels: Sequence[str]) -> bool:
        app = [str(account.home_seq), str(account.user_seq), client_id, "res"]
        library = [client_id, "res"]
        return levels[2:6] == app or levels[2:4] == library

    def _owns(self, account: Account, address: str) -> bool:
        return address.removeprefix("navilink-") in account.macs and address.startswith("navilink-")

    def _account_of(self, principal: str) -> Account | None:
        return next((account for account in self.accounts.values() if account.principal == principal), None)

    def received(self, principal: str, client_id: str, topic: str, payload: bytes) -> None:
        """A client published: the device it is for hears it."""
        del principal, client_id
        levels = topic.split("/", 3)
        if len(levels) < 4:  # noqa: PLR2004 - see may_subscribe
            return
        device = self.devices.get(levels[2].removeprefix("navilink-"))
        if device is None:
            return
        if levels[0] == "cmd" and levels[1] == str(device.device_type):
            device.hear(topic, levels[3], payload)
        elif levels[0] == "evt" and levels[3] == "app-connection" and isinstance(device, HeatPump):
            self._welcome(device, payload)

    def _welcome(self, device: HeatPump, payload: bytes) -> None:
        """An app that came gets a report; one that went, nothing."""
        with contextlib.suppress(orjson.JSONDecodeError, AttributeError, TypeError):
            connection = orjson.loads(payload).get("event", {}).get("connection", {})
            if connection.get("status", 1) > 0 and not device.faults.offline:
                self._agenda.after(self._chance.uniform(*self.timing.answer), device.report)

    async def run(self, cloud: Cloud) -> None:
        """Live the devices' lives until cancelled."""
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
        """Do what is due by now, and let the devices live up to now.

        Returns:
            Seconds until it wants to be called again.
        """
        pause = self._agenda.run()
        elapsed = self._agenda.now - self._last_tick
        if elapsed >= self.timing.tick:
            self._last_tick += elapsed
            for device in tuple(self.devices.values()):
                device.tick(min(elapsed, LONGEST_PAUSE))
            elapsed = 0.0
        return min(pause, self.timing.tick - elapsed)

    def _publish(self, topic: str, payload: bytes) -> None:
        if self._cloud is not None:
            self._cloud.publish(topic, payload, qos=1)

    # -- REST ----------------------------------------------------------------------------------------------------

    async def rest(self, request: Request) -> Reply:
        """Answer a REST request, or do to it what `rest_faults` says."""
        path = request.path.removeprefix(API).removeprefix(OLDER_API)
        self.requests.append(path)
        fault = RestFault.take(self.rest_faults, path)
        if fault is not None and fault.status is not None:
            return Reply(fault.body, fault.status, fault.headers, fault.content_type, fault.delay)
        delay = fault.delay if fault else 0.0
        try:
            return Reply({"code": 200, "msg": "SUCCESS", **self._route(path, request)}, delay=delay)
        except _Refused as refusal:
            envelope = {"code": refusal.code, "msg": refusal.message, "data": None}
            return Reply(envelope, refusal.code, delay=delay)

    def _route(self, path: str, request: Request) -> dict[str, Any]:
        """The envelope's ``data``, in a dictionary because one answer has none."""
        open_routes: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Any]] = {
            ("POST", "/user/sign-in"): self._sign_in,
            ("POST", "/auth/refresh"): self._refresh_token,
        }
        routes: Mapping[tuple[str, str], Callable[[Account, Mapping[str, Any]], Any]] = {
            ("POST", "/device/list"): self._list,
            ("POST", "/device/info"): self._info,
            ("POST", "/device/firmware/info"): self._firmware,
            ("GET", "/device/tou"): self._get_tou,
            ("PUT", "/device/tou"): self._put_tou,
            ("POST", "/device/tou/convert"): self._convert_tou,
            ("POST", "/app/update-push-token"): self._push_token,
        }
        if path == "/device/connectivity-status":
            raise _Refused(403, "Forbidden")
        key = (request.method.upper(), path)
        if key in open_routes:
            return {"data": open_routes[key](_fields(request))}
        if key not in routes:
            raise _Refused(404, "NOT_FOUND")
        account = self._authorised(request)
        fields = _fields(request)
        if fields.get("userId") != account.email:
            raise _Refused(400, "userId is missing or not the token's")
        data = routes[key](account, fields)
        return {} if data is None else {"data": data}

    def _authorised(self, request: Request) -> Account:
        token = self._access.get(request.headers.get("authorization", ""))
        if token is None or token.expires_at <= self._clock() or token.email not in self.accounts:
            raise _Refused(401, "Unauthorized")
        return self.accounts[token.email]

    def _sign_in(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        # The founding description calls the field ``email``; both are understood.
        email, password = fields.get("userId", fields.get("email")), fields.get("password")
        if not isinstance(email, str) or not isinstance(password, str):
            raise _Refused(400, "userId and password are needed")
        account = self.accounts.get(email)
        if account is None:
            raise _Refused(401, "USER_NOT_FOUND")
        if account.locked or password != account.password:
            raise _Refused(401, "Invalid credentials")
        return {
            "userInfo": {
                "userType": "O",
                "userFirstName": "Sample",
                "userLastName": "Owner",
                "userStatus": "NORMAL",
                "userSeq": account.user_seq,
            },
            "legal": [_legal("pp", "privacy"), _legal("tc", "terms")],
            "token": {**self._issue_tokens(account), **self._issue_credentials(account)},
        }

    def _refresh_token(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        token = fields.get("refreshToken")
        if not isinstance(token, str):
            raise _Refused(400, "refreshToken is needed")
        account = self.accounts.get(self._refresh.get(token, ""))
        if account is None:
            raise _Refused(401, "Unauthorized")
        return self._issue_tokens(account, refresh_token=token)

    def _issue_tokens(self, account: Account, refresh_token: str | None = None) -> dict[str, Any]:
        """A flat token object; the old access tokens stay valid until their own expiry."""
        now = self._clock()
        claims = {"sub": str(account.user_seq), "iat": int(now), "exp": int(now + self.token_seconds)}
        access = self._jwt({**claims, "token_use": "access", "jti": self._chance.randbytes(8).hex()})
        self._access = {token: entry for token, entry in self._access.items() if entry.expires_at > now}
        self._access[access] = _Token(account.email, now + self.token_seconds)
        if refresh_token is None:
            refresh_token = ".".join(_base64url(self._chance.randbytes(size)) for size in (60, 256, 12, 980, 16))
            self._refresh[refresh_token] = account.email
        _shorten(self._access)
        _shorten(self._refresh)
        return {
            "idToken": self._jwt({**claims, "token_use": "id", "at_hash": self._chance.randbytes(240).hex()}),
            "accessToken": access,
            "refreshToken": refresh_token,
            "authenticationExpiresIn": int(self.token_seconds),
        }

    def _issue_credentials(self, account: Account) -> dict[str, Any]:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        key = "ASIA" + "".join(self._chance.choices(letters, k=16))
        secret = base64.b64encode(self._chance.randbytes(30)).decode()
        session = base64.b64encode(self._chance.randbytes(480)).decode()
        self._grants[key] = Grant(secret, session, self._clock() + self.credential_seconds, account.principal)
        _shorten(self._grants)
        return {
            "accessKeyId": key,
            "secretKey": secret,
            "sessionToken": session,
            "authorizationExpiresIn": int(self.credential_seconds),
        }

    def _jwt(self, claims: Mapping[str, Any]) -> str:
        header = {"kid": "simulated", "alg": "RS256"}
        parts = (orjson.dumps(header), orjson.dumps(claims), self._chance.randbytes(256))
        return ".".join(_base64url(part) for part in parts)

    def _list(self, account: Account, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        offset, number = fields.get("offset", 0), fields.get("count", 20)
        if type(offset) is not int or type(number) is not int or offset < 0 or number < 1:
            raise _Refused(400, "offset and count are whole numbers")
        if account.empty_list:
            return []
        devices = [self.devices[mac] for mac in account.macs]
        return [
            {
                "deviceInfo": {
                    "homeSeq": device.home_seq,
                    "macAddress": device.mac,
                    "additionalValue": device.additional_value,
                    "deviceType": device.device_type,
                    "deviceName": device.name,
                    "connected": device.connected,
                    "installType": "R",
                },
                "location": _location(),
            }
            for device in devices[offset : offset + number]
        ]

    def _info(self, account: Account, fields: Mapping[str, Any]) -> dict[str, Any]:
        device = self._device(account, fields)
        return {
            "deviceInfo": {
                "homeSeq": device.home_seq,
                "deviceName": device.name,
                "deviceType": device.device_type,
                "installType": "R",
                "connected": device.connected,
            },
            "location": _location(),
            "installer": dict.fromkeys(
                ("installerId", "installerFirstName", "installerLastName", "installerPhoneNumber")
            ),
            "alarmInfo": {"isEtcAlarm": 1, "isErrorAlarm": 1},
            "descaling": dict.fromkeys(("descalingStartTime", "descalingEndTime")),
        }

    def _firmware(self, account: Account, fields: Mapping[str, Any]) -> dict[str, Any]:
        device = self._device(account, fields)
        shared = {
            "macAddress": device.mac,
            "additionalValue": device.additional_value,
            "deviceType": device.device_type,
            "deviceGroup": None,
        }
        firmwares = [
            {**shared, "curSwCode": code, "curVersion": version, "downloadedVersion": 0} for code, version in FIRMWARES
        ]
        return {"firmwares": firmwares}

    def _device(self, account: Account, fields: Mapping[str, Any]) -> HeatPump | GasUnit:
        device = self.devices.get(str(fields.get("macAddress")))
        mine = device is not None and device.mac in account.macs
        if device is None or not mine or fields.get("additionalValue") != device.additional_value:
            raise _Refused(400, "macAddress or additionalValue is missing or wrong")
        return device

    def _get_tou(self, account: Account, fields: Mapping[str, Any]) -> dict[str, Any]:
        device = self._device(account, fields)
        if fields.get("userType") not in ("O", "I"):
            raise _Refused(400, "userType is missing")
        if not isinstance(device, HeatPump) or fields.get("controllerId") != device.unit.model.serial:
            raise _Refused(400, "controllerId is missing or wrong")
        return self._plan(device)

    def _plan(self, device: HeatPump) -> dict[str, Any]:
        """The stored plan; without one, only what names the unit: an absent field is left out, never null."""
        known = {"controllerId": device.unit.model.serial, "manufactureId": "56"}
        stored = self._tou.get(device.mac, {"registerPath": "wifi", "sourceType": "openei", "touInfo": {}})
        return {**stored, "touInfo": {**known, **stored["touInfo"]}}

    def _put_tou(self, account: Account, fields: Mapping[str, Any]) -> dict[str, Any]:
        device = self._device(account, fields)
        plan = fields.get("touInfo")
        if not isinstance(device, HeatPump) or not isinstance(plan, dict) or not isinstance(plan.get("schedule"), list):
            raise _Refused(400, "touInfo with a schedule is needed")
        kept = {name: plan[name] for name in ("name", "utility", "schedule", "zipCode") if plan.get(name)}
        if fields.get("zipCode"):
            kept.setdefault("zipCode", fields["zipCode"])
        source = {"registerPath": fields.get("registerPath", "wifi"), "sourceType": fields.get("sourceType", "openei")}
        self._tou[device.mac] = {**source, "touInfo": kept}
        return self._plan(device)

    def _convert_tou(self, account: Account, fields: Mapping[str, Any]) -> dict[str, Any]:
        del account
        rates = fields.get("sourceData")
        if not isinstance(rates, list) or not all(isinstance(rate, dict) for rate in rates):
            raise _Refused(400, "sourceData is a list of rates")
        try:
            return {"touInfo": [tariff.convert(rate) for rate in rates]}
        except ValueError as error:
            raise _Refused(400, str(error)) from error

    def _push_token(self, account: Account, fields: Mapping[str, Any]) -> None:
        del account
        if not isinstance(fields.get("pushToken"), str):
            raise _Refused(400, "pushToken is needed")


def simulator(
    devices: int = 1,
    *,
    gas_units: int = 0,
    email: str = EMAIL,
    password: str = PASSWORD,
    dialects: Sequence[Dialect] = ("json",),
    seed: int = 1,
    speed: float = 1.0,
    answer: tuple[float, float] = (0.2, 1.0),
    notice: tuple[float, float] = (1.0, 3.0),
    report: float = 300.0,
    control_interval: float = 1.0,
    tick: float = 1.0,
    token_seconds: float = 3600,
    credential_seconds: float = 3600,
    poll_interval: float | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> NavilinkCloud:
    """A simulated cloud with one account.

    Args:
        devices: how many heat-pump water heaters it holds: 65, 50 and 80 gallons in turn, the third with the
            recirculation kit.
        gas_units: how many gas units besides, the first in Fahrenheit, the second in Celsius.
        email: the account.
        password: its password.
        dialects: what the water heaters speak, in turn.
        seed: the same seed gives the same devices, tokens and choices.
        speed: seconds the devices live in one second; 60 makes a morning of a few minutes.
        answer: see `Timing`.
        notice: see `Timing`.
        report: see `Timing`.
        control_interval: see `Timing`.
        tick: see `Timing`.
        token_seconds: how long an access token lasts.
        credential_seconds: how long AWS credentials last.
        poll_interval: what `NavilinkCloud.account` suggests to the bridge; ``None`` leaves it to the bridge.
        clock: seconds since the epoch.
        monotonic: the clock that answers are planned by.

    Raises:
        ValueError: there is no such dialect.
    """
    cloud = NavilinkCloud(
        timing=Timing(answer, notice, report, control_interval, speed, tick),
        seed=seed,
        token_seconds=token_seconds,
        credential_seconds=credential_seconds,
        clock=clock,
        monotonic=monotonic,
    )
    cloud.poll_interval = poll_interval
    cloud.add_account(email, password)
    if unknown := set(dialects) - set(get_args(Dialect)):
        raise ValueError(f"no dialect of a water heater: {', '.join(sorted(unknown))}")
    for number in range(devices):
        model = Model(
            volume_code=(2, 1, 3)[number % 3],
            fahrenheit=number % 3 != 1,
            recirculation=number % 3 == 2,  # noqa: PLR2004 - every third
            serial=f"NWP5SIM{number + 1:09d}",
        )
        cloud.add_heater(dialect=dialects[number % len(dialects)], model=model)
    for number in range(gas_units):
        cloud.add_gas_unit(fahrenheit=number % 2 == 0)
    return cloud


def _fields(request: Request) -> Mapping[str, Any]:
    """A request's parameters: of its body, or of its query where it has none."""
    if request.method.upper() == "GET":
        return request.query
    try:
        fields = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise _Refused(400, "the body is not JSON") from error
    if not isinstance(fields, dict):
        raise _Refused(400, "the body is not an object")
    return fields


def _name(number: int) -> str:
    return NAMES[number] if number < len(NAMES) else f"Water heater {number + 1}"


def _location() -> dict[str, Any]:
    return {
        "state": "Oregon",
        "city": "Sampleville",
        "address": "1 Example Way",
        "latitude": 44.05,
        "longitude": -123.09,
        "altitude": 131.0,
    }


def _legal(sort: str, page: str) -> dict[str, Any]:
    return {
        "legalType": sort,
        "userVersion": "1.2",
        "userAgree": 1,
        "version": "1.2",
        "agreement": 1,
        "mandatory": 1,
        "reagree": 2,
        "url": f"https://example.invalid/{page}",
        "description": page.capitalize(),
        "language": "US",
        "revisionAt": 1704067200000,
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _shorten(kept: dict[str, Any]) -> None:
    """Forget the oldest entries of what would otherwise grow for ever."""
    while len(kept) > MOST_TOKENS:
        del kept[next(iter(kept))]
