"""The devices of a NaviLink account: their tables, and what a frame or a list entry means by them.

The tables stand in `heat_pump` and `gas`, the commands in `controls`; sessions and simulators take them from here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from navibridge.errors import FrameError
from navibridge.model import NOTHING, Alert, Attribute, Decoded, Device, Features, Kind, Value
from navibridge.vendors.navilink import faults, gas
from navibridge.vendors.navilink.codes import HEAT_PUMP_TYPE
from navibridge.vendors.navilink.controls import Control, controls
from navibridge.vendors.navilink.gas import GAS_UNIT as GAS
from navibridge.vendors.navilink.heat_pump import GALLONS, HEAT_PUMP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.model import Raw
    from navibridge.vendors.navilink.frames import Frame

__all__ = [
    "GAS",
    "HEAT_PUMP",
    "KINDS",
    "Control",
    "alerts",
    "controls",
    "decode",
    "device",
    "kind_of",
    "table_of",
    "usage",
]

VENDOR: Final = "navilink"
KINDS: Final = (HEAT_PUMP, GAS)

_GAS_FORMS: Final = frozenset({gas.INFO, gas.STATUS, gas.TCP_INFO, gas.TCP_STATE})
"""Forms whose temperatures are in the unit that the channel information names."""

_UNIT_FIELDS: Final = {gas.INFO: "temperatureType", gas.TCP_INFO: "deviceTempFlag"}
_SUFFIXES: Final = {"celsius": gas.CELSIUS_SUFFIX, "fahrenheit": gas.FAHRENHEIT_SUFFIX}
_UNIT_WORDS: Final = {1: "celsius", 2: "fahrenheit"}


def kind_of(device_type: int | None) -> Kind:
    """The table of a device type: 52 is a heat pump, everything else a gas unit (`docs/protocol/navilink.md` 12)."""
    return HEAT_PUMP if device_type == HEAT_PUMP_TYPE else GAS


def decode(frame: Frame, features: Features = NOTHING) -> Decoded:
    """The values of a frame; total.

    Args:
        frame: any frame of `frames.parse`.
        features: what is known of the unit. A gas unit's temperatures can be read only when its ``display_unit`` is
            among them, or in the frame itself.
    """
    kind, form = table_of(frame, features)
    return kind.decode(form, frame.fields)


def table_of(frame: Frame, features: Features = NOTHING) -> tuple[Kind, str]:
    """The table that a frame's fields belong to, and the form they have there; as for `decode`."""
    if not frame.form.startswith(("gas_", "tcp_")):
        return HEAT_PUMP, frame.form
    if frame.form not in _GAS_FORMS:
        return GAS, frame.form
    field = _UNIT_FIELDS.get(frame.form)
    raw = frame.fields.get(field) if field else None
    unit = _UNIT_WORDS.get(raw) if type(raw) is int else features.get("display_unit")
    return GAS, frame.form + _SUFFIXES.get(str(unit), "")


def usage(fields: Mapping[str, Raw], year: int, month: int, day: int) -> dict[str, Raw]:
    """The figures of an energy answer that concern that day and month, for `HEAT_PUMP`'s form ``energy``.

    Args:
        fields: of a frame of form ``energy``, daily or monthly (`docs/protocol/navilink.md` 5.6).
        year: the unit's local date
        month: 1 to 12
        day: 1 to 31

    Returns:
        ``today.hpUsage``, ``today.heUsage``, ``month.hpUsage`` and ``month.heUsage`` in Wh, as far as the answer says.
    """
    figures: dict[str, Raw] = {}
    entries = fields.get("usage")
    for entry in entries if isinstance(entries, list) else ():
        data = entry.get("data") if isinstance(entry, dict) else None
        if not isinstance(data, list) or entry.get("year") != year:
            continue
        if "month" not in entry:
            figures |= _figures("month", data[month - 1 : month])
        elif entry["month"] == month:
            figures |= _figures("today", data[day - 1 : day]) | _figures("month", data)
    return figures


def _figures(period: str, counters: list[Any]) -> dict[str, Raw]:
    """The sums of both heaters' counters; nothing when there are none."""
    sums: dict[str, Raw] = {}
    for name in ("hpUsage", "heUsage"):
        counts = [item.get(name) for item in counters if isinstance(item, dict)]
        known = [count for count in counts if type(count) is int]
        if known:
            sums[f"{period}.{name}"] = sum(known)
    return sums


def alerts(
    kind: Kind = HEAT_PUMP, *, charge_below: float | None = 20, power_above: float | None = 4000
) -> tuple[Alert, ...]:
    """The conditions a person should know of; ``None`` switches a threshold off (`docs/protocol/navilink.md` 13.1)."""
    if kind is GAS:
        return (Alert("error", "error_code", unless=0, explain=faults.describe_gas),)
    watched = [Alert("error", "error_code", unless=0, explain=faults.describe_heat_pump)]
    if charge_below is not None:
        words = "only {value:g} % of the hot water is left (limit {limit:g} %)"
        watched.append(Alert("low_charge", "tank_charge", below=charge_below, words=words))
    if power_above is not None:
        words = "it draws {value:g} W (limit {limit:g} W)"
        watched.append(Alert("high_power", "power", above=power_above, words=words))
    return tuple(watched)


def device(
    listed: Mapping[str, Any],
    features: Features = NOTHING,
    seen: frozenset[str] | None = None,
    *,
    name: str | None = None,
    charge_below: float | None = 20,
    power_above: float | None = 4000,
) -> Device:
    """One entry of the device list as a device with the attributes that this very unit has.

    Args:
        listed: an item of the list (`docs/protocol/navilink.md` 1.5).
        features: values decoded from its feature message or channel information; empty while unknown.
        seen: attribute keys that have arrived from it; ``None`` announces everything the unit may have.
        name: replaces the name of the list.
        charge_below: alert threshold, %.
        power_above: alert threshold, W.

    Raises:
        FrameError: the entry names no device.
    """
    info = listed.get("deviceInfo")
    mac = info.get("macAddress") if isinstance(info, dict) else None
    if not isinstance(info, dict) or not isinstance(mac, str) or not mac:
        raise FrameError("an entry of the device list without a MAC address", sort="device_list")
    kind = kind_of(info.get("deviceType"))
    listed_name = info.get("deviceName")
    model = _heat_pump_model(features) if kind is HEAT_PUMP else _gas_model(features)
    return Device(
        vendor=VENDOR,
        id=mac.lower().replace(":", ""),
        name=name or (listed_name if isinstance(listed_name, str) and listed_name else model),
        kind=kind,
        attributes=_attributes(kind, features, seen),
        alerts=alerts(kind, charge_below=charge_below, power_above=power_above),
        model=model,
        firmware=_word(features.get("controller_version")),
        serial=_word(features.get("serial_number")),
    )


def _word(value: Value) -> str | None:
    return str(value) if value else None


def _heat_pump_model(features: Features) -> str:
    volume = features.get("tank_volume")
    gallons = GALLONS.get(volume) if isinstance(volume, float) else None
    return f"NWP500 ({gallons} gal)" if gallons else "NWP500"


def _gas_model(features: Features) -> str:
    unit_type = features.get("unit_type")
    return "gas unit" if unit_type in (None, "none") else str(unit_type).replace("_", "-")


def _attributes(kind: Kind, features: Features, seen: frozenset[str] | None) -> tuple[Attribute, ...]:
    """The resolved rows, shared by all units that can do the same: an account may hold many alike."""
    relevant = frozenset((key, value) for key, value in features.items() if key in _DECISIVE[kind.name])
    return _resolved(KINDS.index(kind), relevant, seen)


_DECISIVE: Final = {
    HEAT_PUMP.name: frozenset(key for key in HEAT_PUMP.by_key if key.startswith("supports_"))
    | {"temperature_adjustment", "temperature_min", "temperature_max"},
    GAS.name: frozenset(
        {
            "display_unit",
            "supports_hot_button",
            "temperature_min",
            "temperature_max",
            "heating_temperature_min",
            "heating_temperature_max",
        }
    ),
}
"""The features that gates and limits ask for; serial numbers and versions are not among them."""


@lru_cache(maxsize=64)
def _resolved(kind: int, features: frozenset[tuple[str, Value]], seen: frozenset[str] | None) -> tuple[Attribute, ...]:
    return KINDS[kind].resolve(dict(features), seen)
