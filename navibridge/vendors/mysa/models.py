"""The models that an account may hold, and what each speaks (`docs/protocol/mysa.md` 6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Family(StrEnum):
    """What a model is, whatever its revision."""

    BASEBOARD_V1 = "baseboard_v1"
    BASEBOARD_V2 = "baseboard_v2"
    LITE = "lite"
    IN_FLOOR = "in_floor"
    AC = "ac"
    CENTRAL = "central"
    BASEBOARD_V3 = "baseboard_v3"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Product:
    """What is known of a family.

    Attributes:
        title: for people.
        body_type: the ``type`` number of its commands; a device ignores a wrong one in silence. ``None``: no command
            is known.
        unsupported: why it can not be fully supported, as one sentence; empty for those that are.
    """

    title: str
    body_type: int | None = None
    unsupported: str = ""


PRODUCTS: Final[Mapping[Family, Product]] = {
    Family.BASEBOARD_V1: Product("Baseboard V1", 1),
    Family.AC: Product("Mini-split", 2),
    Family.IN_FLOOR: Product("In-floor", 3),
    Family.BASEBOARD_V2: Product("Baseboard V2", 4),
    Family.LITE: Product("Baseboard V2 Lite", 5),
    Family.CENTRAL: Product(
        "Central HVAC",
        unsupported="Mysa for central HVAC speaks another protocol; only what the account's list says of it is shown.",
    ),
    Family.BASEBOARD_V3: Product(
        "Baseboard V3",
        unsupported="Mysa Baseboard V3 takes its commands another way; its values are shown, it can not be set.",
    ),
    Family.UNKNOWN: Product(
        "Thermostat", unsupported="This model of Mysa is not known yet; its values are shown, it can not be set."
    ),
}

_PREFIXES: Final = {
    "BB-V1": Family.BASEBOARD_V1,
    "V1": Family.BASEBOARD_V1,
    "BB-V2": Family.BASEBOARD_V2,
    "BB-V3": Family.BASEBOARD_V3,
    "INF-V1": Family.IN_FLOOR,
    "AC-V1": Family.AC,
    "ST-V1": Family.CENTRAL,
}
_LITE_SUFFIX: Final = "-L"


@dataclass(frozen=True, slots=True)
class Model:
    """One model, as its code says.

    Attributes:
        code: the vendor's own, such as ``BB-V2-0-L``; empty when nobody said.
        family: what it is.
    """

    code: str
    family: Family

    @property
    def product(self) -> Product:
        """What is known of the family."""
        return PRODUCTS[self.family]

    @property
    def body_type(self) -> int | None:
        """The ``type`` number of its commands."""
        return self.product.body_type

    def __str__(self) -> str:
        return f"{self.product.title} ({self.code})" if self.code else self.product.title


UNKNOWN: Final = Model("", Family.UNKNOWN)


def recognise(code: object) -> Model:
    """The model of a code; revisions that nobody has seen yet belong to their family."""
    if not isinstance(code, str):
        return UNKNOWN
    code = code.strip()
    upper = code.upper()
    for prefix, family in _PREFIXES.items():
        if upper == prefix or upper.startswith(f"{prefix}-"):
            lite = family is Family.BASEBOARD_V2 and upper.endswith(_LITE_SUFFIX)
            return Model(code, Family.LITE if lite else family)
    return Model(code, Family.UNKNOWN)


def true_model(listed: Mapping[str, Any], user: Mapping[str, Any] | None = None) -> Model:
    """What a device really is.

    Its list entry can be overwritten, and is, by people whose app treats a Lite badly; the device goes on answering to
    its own number alone. What was paired stays in the user's profile (`docs/protocol/mysa.md` 6.1).

    Args:
        listed: the device of ``/devices``.
        user: ``User`` of ``/users``; ``None`` while unknown.
    """
    paired = recognise(_paired_code(user, listed.get("Id")))
    return paired if paired.family is not Family.UNKNOWN else recognise(listed.get("Model"))


def _paired_code(user: Mapping[str, Any] | None, device_id: object) -> object:
    paired = user.get("DevicesPaired") if isinstance(user, Mapping) else None
    sections = paired.get("State") if isinstance(paired, dict) else None
    for section in sections.values() if isinstance(sections, dict) else ():
        entry = section.get(device_id) if isinstance(section, dict) and isinstance(device_id, str) else None
        if isinstance(entry, dict):
            return entry.get("deviceType")
    return None
