"""One device as its session knows it: what is listed, what it can do, what it said, and what it owes an answer to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from navibridge.vendors.navilink import devices
from navibridge.vendors.navilink.messages import Address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from navibridge.model import Device, Kind, Reading, Value, Values
    from navibridge.vendors.navilink.api import Listed
    from navibridge.vendors.navilink.commanding import Waiting

SILENT_AFTER: Final = 3
"""Unanswered questions after which a device counts as offline (`docs/protocol/navilink.md` 11.3)."""

MOST_HELD: Final = 8
"""Readings kept for a device that has not been announced yet; each later one repeats nearly all of the earlier."""

LISTED: Final = ("mac", "additional", "type", "home", "name")
"""What is kept of a device's entry in the account's list, in this order."""

FEATURE_FORMS: Final = frozenset({"feature", "gas_channel_info"})
"""The forms that say what a unit can do."""

STATE_FORMS: Final = frozenset({"status", "packed", "gas_channel_status"})
"""The forms that say how it is."""


UNREAD_FORMS: Final = frozenset({"acknowledgement", "control_fail", "gas_control_fail", "firmware", "trend"})
"""Forms that no attribute is read from: answers to commands, and to questions that only other clients ask."""


@dataclass(slots=True)
class Unit:
    """One device; a gas unit's gateway has one for each channel in use.

    Attributes:
        id: the MAC address; that of a gateway's further channels ends in the channel's number.
        listed: as the account's list shows it.
        channel: of a gas unit, ``None`` before it has told its channels, and for a heat pump.
        features: what it can do.
        values: the newest value of each attribute, derived ones included.
        seen: attribute keys that have ever arrived; units alike share the set.
        spoke: whether it has ever said how it is.
        family: which reply topics it is asked to use.
        units: how many units a gas channel has.
        device: as announced last; ``None`` before.
        online: ``None`` while nobody has said.
        reason: why it is not online.
        asked: the loop's time of the question that has no answer yet.
        unanswered: questions in a row that had none.
        heard: whether anything came from it over this link.
        missing: complete lists in a row that lacked it.
        held: readings that wait for its announcement.
        waiting: controls that wait for their answer, oldest first.
        asked_for: the loop's time at which something rarely needed was asked for, by what it was.
        energy_of: the day whose energy was asked for last; another day begins with another figure.
    """

    id: str
    listed: Listed
    channel: int | None = None
    features: dict[str, Value] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    spoke: bool = False
    family: Literal["app", "library"] = "app"
    units: int = 1
    device: Device | None = None
    online: bool | None = None
    reason: str = ""
    asked: float | None = None
    unanswered: int = 0
    heard: bool = False
    missing: int = 0
    held: list[Reading] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    asked_for: dict[str, float] = field(default_factory=dict)
    energy_of: date | None = None

    @property
    def kind(self) -> Kind:
        """Its table."""
        return devices.kind_of(self.listed.type)

    @property
    def silent(self) -> bool:
        """Whether it left so many questions unanswered that it counts as offline."""
        return self.unanswered >= SILENT_AFTER

    @property
    def described(self) -> bool:
        """Whether enough is known to announce it: what it can do, and what it says."""
        return bool(self.features) and self.spoke

    def address(self, client_id: str, user_seq: int) -> Address:
        """Where it is asked, and where it answers."""
        return Address(
            mac=self.listed.mac,
            additional_value=self.listed.additional,
            client_id=client_id,
            device_type=self.listed.type,
            home_seq=self.listed.home,
            user_seq=user_seq,
            family=self.family,
        )

    def describe(self, *, charge_below: float | None, power_above: float | None) -> Device:
        """The device as it is announced with what is known now; the thresholds are those of its alerts."""
        listed = self.listed
        device = devices.device(
            {"deviceInfo": {"macAddress": listed.mac, "deviceType": listed.type, "deviceName": listed.name}},
            self.features,
            self.seen,
            charge_below=charge_below,
            power_above=power_above,
        )
        return replace(
            device, id=self.id, name=device.name if self.id == listed.mac else f"{listed.name} {self.channel}"
        )

    def take(self, values: Values) -> Values:
        """Merge what it said; returns it together with what follows from it."""
        before = dict(self.values)
        self.values.update(values)
        derived = self.kind.derive(before, self.values)
        self.values.update(derived)
        return {**values, **derived}

    def forget_link(self) -> None:
        """The link is gone, and with it everything that was under way on it."""
        self.asked = None
        self.heard = False
        for waiting in self.waiting:
            if not waiting.answer.done():
                waiting.answer.set_exception(TimeoutError("the link to the cloud broke before the device answered"))
        self.waiting.clear()

    def dump(self) -> dict[str, Any]:
        """For the store: what would have to be asked for again, except `seen`."""
        return {
            "listed": [getattr(self.listed, name) for name in LISTED],
            "channel": self.channel,
            "features": self.features,
            "spoke": self.spoke,
            "family": self.family,
            "units": self.units,
        }

    def restore(self, kept: Mapping[str, Any], seen: frozenset[str]) -> None:
        """Go on with what was kept; whatever is damaged is left out and asked for again."""
        features, known = kept.get("features"), self.kind.by_key
        if isinstance(features, dict):
            self.features = {key: value for key, value in features.items() if key in known and _is_value(value)}
        self.seen = seen
        self.spoke = kept.get("spoke") is True
        if kept.get("family") == "library":
            self.family = "library"
        if isinstance(kept.get("units"), int):
            self.units = kept["units"]
        if isinstance(kept.get("channel"), int):
            self.channel = kept["channel"]


def _is_value(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
