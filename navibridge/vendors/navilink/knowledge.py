"""What is known of an account's devices over restarts, so that they are announced before they have said a word."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from navibridge.vendors.navilink.api import Listed
from navibridge.vendors.navilink.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from navibridge.store import Store

MOST_SHARED: Final = 64
"""Sets of attribute keys that are held once for all the units that have the same."""


class Entry(NamedTuple):
    """What is kept of one unit: its device's entry in the list, what it told, and the attributes it has."""

    listed: Listed
    kept: Mapping[str, Any]
    seen: frozenset[str]


class Knowledge:
    """A section of the store: what each device can do, which attributes it has, and this installation's id.

    Devices of one model have the same 200 attributes; these sets of names are kept apart, once each.

    Args:
        store: where it is kept.
        section: the store's name for it.

    Attributes:
        install_id: eight hex digits that tell this installation from others of the same account.
    """

    def __init__(self, store: Store, section: str) -> None:
        self._store = store
        self._section = section
        self._shared: dict[frozenset[str], frozenset[str]] = {}
        kept = store.load(section)
        install_id = kept.get("install_id")
        self.install_id = install_id if isinstance(install_id, str) and install_id else secrets.token_hex(4)
        self._known = dict(_read(kept))
        # Before it is used for the first time: a process that is killed must not leave a second one behind.
        store.save(section, {**kept, "install_id": self.install_id})

    def devices(self) -> tuple[Listed, ...]:
        """The devices that the account had when it was looked at last; nobody knows whether they are connected."""
        return tuple({entry.listed.mac: entry.listed for entry in self._known.values()}.values())

    def units(self, listed: Listed, family: Literal["app", "library"]) -> list[Unit]:
        """The units of a device, as they were known last; one of which nothing is known if it is new."""
        known = {listed.mac: Entry(listed, {}, frozenset())}
        known |= {key: entry for key, entry in self._known.items() if entry.listed.mac == listed.mac}
        units = []
        for key, entry in known.items():
            unit = Unit(key, listed, family=family)
            unit.restore(entry.kept, self.shared(entry.seen & unit.kind.by_key.keys()))
            units.append(unit)
        return units

    def shared(self, keys: Iterable[str]) -> frozenset[str]:
        """These attribute keys as the one set that all units with the same keys have."""
        same = frozenset(keys)
        if same not in self._shared and len(self._shared) >= MOST_SHARED:
            self._shared.clear()
        return self._shared.setdefault(same, same)

    def forget(self, mac: str) -> None:
        """The account holds this device no more."""
        self._known = {key: entry for key, entry in self._known.items() if entry.listed.mac != mac}

    def save(self, units: Iterable[Unit]) -> None:
        """Keep what is known of these units now; the store does not write what it has already."""
        self._known |= {unit.id: Entry(unit.listed, unit.dump(), unit.seen) for unit in units}
        numbers: dict[frozenset[str], int] = {}
        devices = {
            key: {**entry.kept, "seen": numbers.setdefault(entry.seen, len(numbers))}
            for key, entry in self._known.items()
        }
        sets = [sorted(seen) for seen in numbers]
        self._store.save(self._section, {"install_id": self.install_id, "seen": sets, "devices": devices})


def _read(kept: dict[str, Any]) -> Iterable[tuple[str, Entry]]:
    """Device id to what was kept of it; whatever is damaged is left out."""
    devices, lists = kept.get("devices"), kept.get("seen")
    sets = [
        frozenset(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else frozenset[str]()
        for keys in (lists if isinstance(lists, list) else [])
    ]
    for key, entry in devices.items() if isinstance(devices, dict) else ():
        match entry:
            case {"listed": [str(mac), str(additional), int(kind), str(home), str(name)]}:
                number = entry.get("seen")
                seen = sets[number] if isinstance(number, int) and 0 <= number < len(sets) else frozenset[str]()
                yield key, Entry(Listed(mac, additional, kind, home, name, connected=None), entry, seen)
