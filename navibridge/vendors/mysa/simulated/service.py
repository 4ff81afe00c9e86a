"""The REST service of the simulated cloud (`docs/protocol/mysa.md` 2, 11 and 14.4)."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge.vendors.mysa.models import Family
from navibridge.vendors.mysa.simulated import listing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.simulation import Request
    from navibridge.vendors.mysa.simulated.accounts import Account
    from navibridge.vendors.mysa.simulated.thermostat import Thermostat

ROOTS: Final = frozenset({"devices", "homes", "users", "schedules", "energy"})
"""First parts of the service's paths."""

_BARE: Final = {"Google": False, "MysaIntegration": False}
_SAME: Final = ("Lock", "ButtonState")


@dataclass(slots=True)
class RestManners:
    """In which of its forms the service answers; may be changed while it runs.

    Attributes:
        list_form: devices and states as lists instead of objects.
        bearer: takes tokens that follow the word ``Bearer`` too, as the service of 2020 did.
        milliseconds: times of values count milliseconds.
        missing: fields of a state that are -1.
        number_texts: numbers of a state are texts.
        bare: values of a state without their times.
        without_names: devices have no name.
        ahead: seconds that the times of a state are ahead.
    """

    list_form: bool = False
    bearer: bool = False
    milliseconds: bool = False
    missing: frozenset[str] = frozenset()
    number_texts: bool = False
    bare: bool = False
    without_names: bool = False
    ahead: int = 0


class Rejected(Exception):
    """An answer other than 200.

    Attributes:
        status: of HTTP.
        body: any JSON.
    """

    def __init__(self, status: HTTPStatus, body: Any) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


class Service:
    """The REST service, for all accounts.

    Args:
        thermostats: every device of every account, by id.
        account_of: whose id token it is, if it is valid.

    Attributes:
        manners: in which of its forms it answers.
    """

    def __init__(self, thermostats: Mapping[str, Thermostat], account_of: Callable[[str], Account | None]) -> None:
        self.manners = RestManners()
        self._thermostats = thermostats
        self._account_of = account_of

    def answer(self, request: Request) -> Any:  # noqa: C901, PLR0911 - one case per route
        """The body of the answer.

        Raises:
            Rejected: there is none, or not for whoever asks.
        """
        account = self._authorised(request)
        match (request.method.upper(), *request.path.strip("/").split("/")):
            case ("GET", "devices"):
                return self._devices(account)
            case ("GET", "devices", "state"):
                return self._states(account)
            case ("GET", "devices", "state", device_id):
                return {"DeviceState": self._state(self._device(account, device_id)) or {}}
            case ("GET", "devices", "firmware"):
                return {"Firmware": self._firmware(account)}
            case ("GET", "devices", "update_available", device_id):
                return self._update(self._device(account, device_id))
            case ("GET", "devices", "capabilities" | "drstate"):
                return {}
            case ("GET", "devices", device_id):
                return self._entry(self._device(account, device_id))
            case ("POST", "devices", device_id):
                return self._change(self._device(account, device_id), request.body)
            case ("GET", "homes") | ("GET", "homes", account.home_id):
                return {"Homes": [listing.home(account)]}
            case ("GET", "users") | ("GET", "users", account.user_id):
                models = [(device_id, self._thermostats[device_id].model) for device_id in account.devices]
                return {"User": listing.user(account, models)}
            case ("GET", "users", "readingsForUser"):
                raise Rejected(HTTPStatus.INTERNAL_SERVER_ERROR, {"message": "Internal server error"})
            case ("GET", "schedules"):
                return {"Schedules": []}
        raise Rejected(HTTPStatus.NOT_FOUND, {"error": "Not Found", "message": "No such route"})

    def _authorised(self, request: Request) -> Account:
        token = request.headers.get("authorization", "")
        if self.manners.bearer:
            token = token.removeprefix("Bearer ")
        account = self._account_of(token)
        if account is None:
            raise Rejected(HTTPStatus.UNAUTHORIZED, {"error": "Unauthorized", "message": "Token expired"})
        return account

    def _device(self, account: Account, device_id: str) -> Thermostat:
        if device_id not in account.devices:
            raise Rejected(HTTPStatus.NOT_FOUND, {"error": "Not Found", "message": f"No device {device_id}"})
        return self._thermostats[device_id]

    # -- devices -------------------------------------------------------------------------------------------------

    def _devices(self, account: Account) -> dict[str, Any]:
        entries = {device_id: self._entry(self._thermostats[device_id]) for device_id in account.devices}
        return {"Devices": list(entries.values())} if self.manners.list_form else {"DevicesObj": entries}

    def _entry(self, device: Thermostat) -> dict[str, Any]:
        entry = dict(device.listed)
        if self.manners.without_names:
            entry.pop("Name", None)
        return entry

    def _change(self, device: Thermostat, body: bytes) -> dict[str, Any]:
        """Store settings; the device fetches them when it is told to, or looks by itself."""
        try:
            fields = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Rejected(HTTPStatus.BAD_REQUEST, {"message": "The body is not JSON"}) from error
        if not isinstance(fields, dict) or fields.get("Id", device.id) != device.id:
            raise Rejected(HTTPStatus.BAD_REQUEST, {"message": "The body is not a set of fields"})
        listed = device.listed
        listed |= fields
        locked = next((fields[name] in ("Locked", 1, "1", True) for name in _SAME if name in fields), None)
        if locked is not None:
            listed["ButtonState"] = "Locked" if locked else "Unlocked"
            if "Lock" in listed:
                listed["Lock"] = int(locked)
        if "Brightness" in listed and isinstance(listed["Brightness"], dict):
            names = {"MaxBrightness": "a_br", "MinBrightness": "i_br", "AutoBrightness": "a_b"}
            inner = {short: int(fields[name]) for name, short in names.items() if _is_number(fields.get(name))}
            listed["Brightness"] = listed["Brightness"] | inner
        if "ecoMode" in fields:
            listed["ecoMode"] = int(fields["ecoMode"]) if str(fields["ecoMode"]).isdigit() else 1
        return self._entry(device)

    # -- states --------------------------------------------------------------------------------------------------

    def _states(self, account: Account) -> dict[str, Any]:
        found = {device_id: self._state(self._thermostats[device_id]) for device_id in account.devices}
        states = {device_id: state for device_id, state in found.items() if state is not None}
        if self.manners.list_form:
            return {"DeviceStates": [{"Id": device_id, **state} for device_id, state in states.items()]}
        return {"DeviceStatesObj": states}

    def _state(self, device: Thermostat) -> dict[str, Any] | None:
        fields, times, at = device.rest_state()
        ahead = self.manners.ahead
        if device.faults.absent_from_state or not fields:
            return None
        online, since = device.connected
        state = {name: self._value(name, value, times[name] + ahead) for name, value in fields.items()}
        state |= {"Connected": {"t": since, "v": online}, "Device": device.id, "Timestamp": at + ahead, **_BARE}
        return state

    def _value(self, name: str, value: Any, at: int) -> Any:
        manners = self.manners
        if name in manners.missing:
            value = -1
        if manners.number_texts and _is_number(value):
            value = str(value)
        if manners.bare:
            return value
        return {"t": at * 1000 if manners.milliseconds else at, "v": value}

    # -- firmware ------------------------------------------------------------------------------------------------

    def _firmware(self, account: Account) -> dict[str, Any]:
        devices = [self._thermostats[device_id] for device_id in account.devices]
        return {
            device.id: {"Device": device.id, "InstalledVersion": device.firmware}
            for device in devices
            if device.firmware is not None
        }

    def _update(self, device: Thermostat) -> dict[str, Any]:
        if device.firmware is None or device.model.family is Family.CENTRAL:
            sentence = f"No installed version found for device {device.id}"
            raise Rejected(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)
        return {
            "update": device.firmware != device.allowed_firmware,
            "installedVersion": device.firmware,
            "allowedVersion": device.allowed_firmware,
        }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
