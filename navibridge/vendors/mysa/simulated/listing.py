"""What the REST service says of devices, homes and users (`docs/protocol/mysa.md` 2.3, 2.5 and 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from navibridge.vendors.mysa.models import Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from navibridge.vendors.mysa.models import Model
    from navibridge.vendors.mysa.simulated.accounts import Account

PAIRED_AT: Final = 1_733_011_200
SECTIONS: Final[Mapping[Family, str]] = {Family.IN_FLOOR: "INF", Family.AC: "AC", Family.CENTRAL: "ST"}
"""Where a family stands in ``DevicesPaired``; the others are under ``BB``."""

_TARGETS: Final = list(range(17, 31))
_VANES: Final = [3, 4, 5, 6, 7]
_BUTTONS: Final = {
    "ButtonAVE": 16,
    "ButtonDI": 8,
    "ButtonLowPower": 0,
    "ButtonPolling": 175,
    "ButtonRepeatDelay": 20,
    "ButtonRepeatStart": 44,
    "ButtonThreshold": 10,
}


def device(
    device_id: str, name: str, model: Model, account: Account, *, setpoint: float, amperes: float
) -> dict[str, Any]:
    """The entry of ``/devices``.

    Args:
        device_id: twelve hex digits.
        name: the owner's.
        model: whose fields it has.
        account: whose device it is.
        setpoint: °C.
        amperes: the highest current seen.
    """
    family = model.family
    entry: dict[str, Any] = {
        "AllowedUsers": [account.user_id],
        "Format": "celsius",
        "Home": account.home_id,
        "Id": device_id,
        "LastPaired": PAIRED_AT,
        "Model": model.code,
        "Name": name,
        "Owner": account.user_id,
        "TimeZone": "America/Halifax",
    }
    if family is Family.CENTRAL:
        return entry
    entry |= _BUTTONS | {
        "Animation": "off",
        "ButtonState": "Unlocked",
        "DutyCycleOpt": 0 if family is Family.AC else 9,
        "HeaterType": "pi" if family in (Family.BASEBOARD_V2, Family.LITE) else "Baseboard",
        "MaxBrightness": 90,
        "MaxCurrent": f"{amperes:.6f}",
        "MaxSetpoint": 40 if family is Family.IN_FLOOR else 30,
        "MinBrightness": 25,
        "MinSetpoint": 5,
        "Mode": {"Id": 1},
        "SetPoint": setpoint,
        "Voltage": 240,
        "ecoMode": 1,
        "schedGlobalOffset": 0,
    }
    if family is Family.BASEBOARD_V2:
        brightness = {"a_b": 1, "a_br": 90, "a_dr": 60, "i_br": 25, "i_dr": 30}
        # This one tells its current as a number, and how bright it is in two ways.
        entry |= {"AutoBrightness": True, "Brightness": brightness, "MaxCurrent": amperes, "ProximityMode": True}
    if family in (Family.BASEBOARD_V2, Family.LITE):
        entry["Lock"] = 0
    elif family is Family.IN_FLOOR:
        entry["TrackedSensor"] = 3
    elif family is Family.AC:
        entry |= _device_wide_caps() if model.code.endswith("-1") else _caps_by_mode()
        entry |= {"IsThermostatic": model.code.endswith("-1"), "SetupRequired": False}
    return entry


def _caps_by_mode() -> dict[str, Any]:
    """A unit whose every mode says what it can do; the number of its code set is a text."""

    def mode(fans: list[int], targets: list[int]) -> dict[str, Any]:
        return {
            "fanSpeeds": fans,
            "horizontalSwing": [],
            "keyFunctions": [6, 5, 7, 3, 4],
            "temperatures": targets,
            "verticalSwing": _VANES,
        }

    return {
        "Brand": {"Brand": "ExampleCool", "Id": 41, "OEMBrand": "", "remoteModelNumber": "RC-17X"},
        "CodeNum": "1342",
        "SupportedCaps": {
            "keys": list(range(1, 15)),
            "modes": {
                "2": mode([1], _TARGETS),
                "3": mode([1, 3, 5], _TARGETS),
                "4": mode([1, 3, 5, 7, 8], _TARGETS),
                "5": mode([3, 5, 7, 8], [25]),
                "6": mode([1, 3], [0]),
            },
            "modifiedKeys": [1, 2, 3, 7, 4, 5, 6, 8, 9, 10, 11, 12],
            "tempRange": [0, 30],
            "temperatureStep": 1,
            "temperatureUnit": "C",
            "version": "1.2",
        },
    }


def _device_wide_caps() -> dict[str, Any]:
    """A unit with one list of fan speeds for all modes; the number of its code set is a number."""
    targets = {"2": _TARGETS, "3": _TARGETS, "4": _TARGETS, "5": [25], "6": []}
    return {
        "CodeNum": 1117,
        "SupportedCaps": {
            "fanSpeeds": [1, 2, 4, 6],
            "keys": list(range(1, 8)),
            "modes": {mode: {"temperatures": listed} for mode, listed in targets.items()},
            "tempRange": [17, 30],
            "temperatureStep": 1,
            "temperatureUnit": "C",
            "version": "1.1",
        },
    }


def home(account: Account) -> dict[str, Any]:
    """The account's home."""
    return {
        "Address": {
            "adminArea1Long": "Nova Scotia",
            "adminArea1Short": "NS",
            "city": "Sampleton",
            "countryLong": "Canada",
            "countryShort": "CA",
            "formattedAddress": "1 Example Lane, Sampleton, NS B0B 0B0, Canada",
            "postalCode": "B0B 0B0",
            "streetAddress": "1 Example Lane",
        },
        "AllowedUsers": [account.user_id],
        "ERate": account.e_rate,
        "Id": account.home_id,
        "Name": "Harbour House",
        "Owner": account.user_id,
        "Zones": [],
    }


def user(account: Account, devices: Iterable[tuple[str, Model]]) -> dict[str, Any]:
    """The account's profile.

    Args:
        account: whose.
        devices: id and true model of its devices; what the list says of a model can be changed, this can not.
    """
    paired: dict[str, dict[str, Any]] = {"BB": {}}
    for device_id, model in devices:
        entry: dict[str, Any] = {
            "deviceType": model.code,
            "firstPairingTimestamp": PAIRED_AT,
            "latestPairingTimestamp": PAIRED_AT,
        }
        if model.family is Family.AC:
            entry |= {"firstSetupTimestamp": PAIRED_AT + 60, "latestSetupTimestamp": PAIRED_AT + 60}
        paired.setdefault(SECTIONS.get(model.family, "BB"), {})[device_id] = entry
    return {
        "AllowedDevices": list(account.devices),
        "AllowedHomes": [account.home_id],
        "CognitoAttrs": {
            "cognito:user_status": "CONFIRMED",
            "email": account.email,
            "email_verified": "true",
            "family_name": "Owner",
            "given_name": "Sample",
            "name": "Sample Owner",
            "sub": account.user_id,
        },
        "DeviceType": "Simulated",
        "DevicesPaired": {"FirstPairingExcludedProducts": [], "State": paired},
        "ERate": str(account.e_rate),
        "Google": False,
        "Id": account.user_id,
        "LanguagePreference": "en-CA",
        "LastAppVersion": "4.11.0",
        "MysaIntegration": False,
        "OperatingSystem": "16",
        "PrimaryHome": account.home_id,
        "SourceIP": "0.0.0.0",  # noqa: S104 - nobody listens there
    }
