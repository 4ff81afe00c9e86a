"""What Mysa's REST service knows of an account (`docs/protocol/mysa.md` 2)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from navibridge.errors import FrameError, LinkError
from navibridge.vendors.mysa import frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.vendors.mysa.auth import Auth

log = logging.getLogger(__name__)

FORBIDDEN_SETTING: Final = "Model"
"""Writing it changes how the app treats a device, and breaks it there."""


@dataclass(frozen=True, slots=True)
class Home:
    """A home of the account; its address is left out on purpose.

    Attributes:
        id: the vendor's.
        name: its owner's name for it.
        zones: zone id to name.
    """

    id: str
    name: str
    zones: Mapping[str, str]


class Api:
    """Questions about an account; every method raises `AuthError` and `LinkError` as `Auth.call` does."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def devices(self) -> dict[str, dict[str, Any]]:
        """Every device the account may use, by id, with its settings (2.3)."""
        return await self._by_id("/devices", "DevicesObj", "Devices")

    async def states(self) -> dict[str, dict[str, Any]]:
        """What each device last reported, by id; a device may be missing (2.4)."""
        return await self._by_id("/devices/state", "DeviceStatesObj", "DeviceStates")

    async def state(self, device_id: str) -> dict[str, Any]:
        """What one device last reported (2.4)."""
        return _object(await self._get(f"/devices/state/{device_id}"), "DeviceState")

    async def installed(self) -> dict[str, str]:
        """The firmware of each device, by id; it may be missing (2.2)."""
        found = await self._by_id("/devices/firmware", "Firmware", "Firmware")
        versions = {device_id: entry.get("InstalledVersion") for device_id, entry in found.items()}
        return {device_id: version for device_id, version in versions.items() if isinstance(version, str) and version}

    async def firmware(self, device_id: str) -> dict[str, Any]:
        """Whether there is newer firmware for a device; fails for one that never told its version (2.2)."""
        return _object(await self._get(f"/devices/update_available/{device_id}"))

    async def homes(self) -> tuple[Home, ...]:
        """The account's homes (2.5)."""
        answer = _object(await self._get("/homes"))
        listed = answer.get("Homes")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        return tuple(_home(entry) for entry in entries if _word(entry.get("Id")))

    async def user(self) -> dict[str, Any]:
        """The account's profile: its id, which commands are signed with, and what was paired (2.5)."""
        return _object(await self._get("/users"), "User")

    async def change(self, device_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings of a device; returns the device as it is then, as far as the service says (2.7)."""
        if FORBIDDEN_SETTING in settings:
            raise ValueError(f"{FORBIDDEN_SETTING} is never written")
        answer = await self._auth.call("POST", f"/devices/{device_id}", json=dict(settings))
        return _listed(answer, device_id)

    async def device(self, device_id: str) -> dict[str, Any]:
        """One device with its settings (2.2)."""
        return _listed(await self._get(f"/devices/{device_id}"), device_id)

    async def _get(self, path: str) -> Any:
        return await self._auth.call("GET", path)

    async def _by_id(self, path: str, keyed: str, listed: str) -> dict[str, dict[str, Any]]:
        try:
            return frames.objects_by_id(_object(await self._get(path)), keyed, listed)
        except FrameError as error:
            raise LinkError(f"Mysa's answer to {path} can not be read: {error}", reason="service") from error


def _object(answer: Any, wrapper: str = "") -> dict[str, Any]:
    """The object that was asked for, in its wrapper or bare."""
    found = answer.get(wrapper, answer) if wrapper and isinstance(answer, dict) else answer
    if not isinstance(found, dict):
        raise LinkError("Mysa answered without the object asked for", reason="service")
    return found


def _listed(answer: Any, device_id: str) -> dict[str, Any]:
    """A device in any of the wrappers that an answer about one device may have (2.2)."""
    found = _object(answer, "Device")
    several = found.get("DevicesObj")
    if isinstance(several, dict):
        found = _object(several.get(device_id, {}))
    return found


def _home(entry: Mapping[str, Any]) -> Home:
    listed = entry.get("Zones")
    zones = [zone for zone in listed if isinstance(zone, dict)] if isinstance(listed, list) else []
    names = {str(zone.get("Id")): _word(zone.get("Name")) for zone in zones}
    return Home(
        str(entry["Id"]),
        _word(entry.get("Name")) or str(entry["Id"]),
        {zone: name for zone, name in names.items() if name},
    )


def _word(raw: object) -> str | None:
    return raw.strip() or None if isinstance(raw, str) else None
