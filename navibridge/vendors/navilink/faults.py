"""What error codes mean (`docs/protocol/navilink.md` 9.8)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from navibridge.model import Values

_RANGE: Final = {1: "reads below its range", 2: "reads above its range"}

FAULTS: Final = MappingProxyType(
    {
        96: "upper heating element abnormal",
        97: "lower heating element abnormal",
        326: "dry fire, there is no water",
        407: "hot-water sensor",
        445: "mixing valve",
        480: "upper tank sensor",
        481: "lower tank sensor",
        515: "relay",
        517: "DIP switches",
        593: "a key of the panel is stuck",
        594: "EEPROM",
        595: "power meter",
        596: "Wi-Fi",
        598: "real-time clock",
        615: "feedback",
        781: "CTA-2045 module",
        798: "shut-off valve",
        799: "water leak",
        901: "high-limit switch (ECO) tripped",
        907: "compressor power line",
        908: "compressor",
        909: "evaporator fan",
        910: "discharge sensor",
        911: "discharge temperature too high",
        912: "suction sensor",
        913: "suction temperature too low",
        914: "evaporator sensor",
        915: "difference of discharge and suction abnormal",
        916: "evaporator temperature abnormal",
        920: "ambient sensor",
        940: "refrigerant blockage",
        990: "condensate overflow",
    }
)
"""Error code to fault."""

DETAILS: Final = MappingProxyType(
    {
        407: _RANGE,
        445: {1: "stuck open", 2: "stuck closed"},
        480: _RANGE,
        481: _RANGE,
        515: {25: "upper element", 26: "lower element", 27: "compressor"},
        615: {
            4: "ADC reference",
            27: "high-limit switch (ECO)",
            28: "compressor",
            29: "upper element",
            30: "lower element",
        },
        910: _RANGE,
        912: _RANGE,
        914: _RANGE,
        920: _RANGE,
    }
)
"""Error code to sub code to detail."""


def name(code: int) -> str:
    """The code as the panel shows it, such as ``E096``."""
    return f"E{code:03d}"


def describe(code: int, sub_code: int | None = None) -> str:
    """A sentence such as ``E480: upper tank sensor, reads below its range``; an unlisted code stands alone."""
    words = FAULTS.get(code)
    if words is None:
        return f"{name(code)}-{sub_code}" if sub_code else name(code)
    detail = DETAILS.get(code, {}).get(sub_code or 0)
    return f"{name(code)}: {words}, {detail}" if detail else f"{name(code)}: {words}"


def describe_heat_pump(values: Values) -> str:
    """The sentence for a heat pump that reports an error."""
    code, sub_code = values.get("error_code"), values.get("sub_error_code")
    if not isinstance(code, int):
        return "error"
    return describe(code, sub_code if isinstance(sub_code, int) else None)


def describe_gas(values: Values) -> str:
    """The sentence for a gas unit that reports an error; its codes are other ones and not listed here."""
    code, sub_code = values.get("error_code"), values.get("sub_error_code")
    if not isinstance(code, int):
        return "error"
    return f"{name(code)}-{sub_code}" if sub_code else name(code)
