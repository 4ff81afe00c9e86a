"""What NaviLink's REST service knows of an account's devices (`docs/protocol/navilink.md` 1.5 to 1.7)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from navibridge.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.vendors.navilink.auth import Auth

log = logging.getLogger(__name__)

PAGE: Final = 20
"""Devices asked for at once."""

MOST_PAGES: Final = 100
"""Where reading pages ends even if the service goes on sending full ones."""

CONNECTED: Final = 2
DISCONNECTED: Final = 1

_MAC: Final = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A device as the account's list shows it; where it stands (address, coordinates) is left out on purpose.

    Attributes:
        mac: 12 hex digits, lower case.
        additional: opaque; goes with every request.
        type: 52 for heat pumps, anything else is a gas unit.
        home: number of the home; part of response topics.
        name: its owner's name for it.
        connected: ``None`` while the service does not know.
    """

    mac: str
    additional: str
    type: int
    home: str
    name: str
    connected: bool | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The devices of an account.

    Attributes:
        devices: in the order of the service.
        complete: false when some entry could not be read; then nothing follows from a device's absence.
    """

    devices: tuple[Listed, ...]
    complete: bool


class Api:
    """Questions about devices; every method raises `AuthError` and `LinkError` as `Auth.call` does."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def devices(self) -> Listing:
        """Every device of the account (`docs/protocol/navilink.md` 1.5)."""
        found: dict[str, Listed] = {}
        complete = True
        for page in range(MOST_PAGES):
            asked = {"offset": page * PAGE, "count": PAGE, "userId": self._auth.email}
            entries = await self._auth.call("POST", "/device/list", json=asked)
            if not isinstance(entries, list):
                raise LinkError("NaviLink's device list is no list", reason="service")
            for entry in entries:
                listed = _listed(entry)
                if listed is None:
                    complete = False
                    log.debug("an entry of the device list can not be read")
                else:
                    found[listed.mac] = listed
            if len(entries) < PAGE:
                break
        return Listing(tuple(found.values()), complete)

    async def connected(self, device: Listed) -> bool | None:
        """Whether a device is connected, asked about it alone; third parties are told nothing: ``None`` (1.2)."""
        data = await self._auth.try_once("POST", "/device/connectivity-status", json=self._named(device))
        answer = data.get("connected") if isinstance(data, dict) else None
        return _connected(answer)

    async def info(self, device: Listed) -> Mapping[str, Any]:
        """More of one device: installer's settings, alarms, descaling (1.6). Holds its address: not for logs."""
        return _object(await self._auth.call("POST", "/device/info", json=self._named(device)))

    async def firmware(self, device: Listed) -> tuple[tuple[int, int], ...]:
        """The firmware's components as (code, version) (1.6)."""
        data = _object(await self._auth.call("POST", "/device/firmware/info", json=self._named(device)))
        listed = data.get("firmwares")
        parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
        pairs = ((part.get("curSwCode"), part.get("curVersion")) for part in parts)
        return tuple((code, version) for code, version in pairs if isinstance(code, int) and isinstance(version, int))

    async def tariff(self, device: Listed, controller: str, user_type: str) -> Mapping[str, Any]:
        """The time-of-use plan of a heat pump; ``controller`` is the serial number of its features (1.7)."""
        query = {
            "additionalValue": device.additional,
            "controllerId": controller,
            "macAddress": device.mac,
            "userId": self._auth.email,
            "userType": user_type,
        }
        return _object(await self._auth.call("GET", "/device/tou", query=query))

    def _named(self, device: Listed) -> dict[str, str]:
        return {"macAddress": device.mac, "additionalValue": device.additional, "userId": self._auth.email}


def _listed(entry: Any) -> Listed | None:
    """One entry of the list; ``None`` when it lacks what requests need."""
    info = entry.get("deviceInfo") if isinstance(entry, dict) else None
    if not isinstance(info, dict):
        return None
    mac = str(info.get("macAddress", "")).lower().replace(":", "")
    kind, additional = info.get("deviceType"), info.get("additionalValue")
    if not _MAC.fullmatch(mac) or not isinstance(kind, int) or additional is None:
        return None
    return Listed(
        mac=mac,
        additional=str(additional),
        type=kind,
        home=str(info.get("homeSeq", "")),
        name=str(info.get("deviceName") or "").strip() or f"NaviLink {mac[-4:]}",
        connected=_connected(info.get("connected")),
    )


def _connected(answer: object) -> bool | None:
    return {CONNECTED: True, DISCONNECTED: False}.get(answer) if type(answer) is int else None


def _object(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise LinkError("NaviLink answered without the object asked for", reason="service")
    return data
