"""Commands worth trying on a device, taken from its own table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from navibridge.model import Sort

if TYPE_CHECKING:
    from navibridge.model import Attribute, Device, Scalar, Values

MOST: Final = 3


def changes_to_try(device: Device, values: Values) -> dict[str, Scalar]:
    """A few attributes and a value for each that the device takes and does not have yet; a temperature first."""
    tries: dict[str, Scalar] = {}
    rows = [row for row in device.attributes if row.writes and row.category is None]
    for row in sorted(rows, key=lambda row: row.quantity.device_class != "temperature"):
        value = _other(row, values)
        if value is not None and len(tries) < MOST:
            tries[row.key] = value
    return tries


def _other(row: Attribute, values: Values) -> Scalar | None:
    """A value that the attribute does not have now; ``None`` where there is none to suggest."""
    now = values.get(row.key)
    if row.quantity.sort is Sort.OPTION:
        return next((word for word in row.words if word != now and word not in ("off", "power_off")), None)
    if row.quantity.sort is Sort.NUMBER and row.limits is not None:
        # Two whole degrees (or whatever it is) from where it is now, on the device's grid.
        start = now if isinstance(now, int | float) else row.limits.low
        wanted = start + 2 if start + 2 <= row.limits.high else start - 2
        checked = row.check(wanted)
        return int(checked) if isinstance(checked, float) and checked.is_integer() else checked
    return None
