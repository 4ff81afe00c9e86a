"""The numbers that NaviLink speaks in: command codes and unit types (`docs/protocol/navilink.md` 4, 9.7 and 12.3)."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import Final

HEAT_PUMP_TYPE: Final = 52
"""The only ``deviceType`` that speaks protocol version 2; every other one is a gas unit."""

NOTICE_CLASS: Final = 0x04
CONTROL_CLASS: Final = 0x02
QUERY_CLASS: Final = 0x01


class Query(IntEnum):
    """Questions to a heat pump (`docs/protocol/navilink.md` 4.3)."""

    FEATURE = 0x01000001
    END = 0x01000002
    STATUS = 0x01000003
    RESERVATIONS = 0x01000006
    ENERGY_DAILY = 0x01000009
    ENERGY_MONTHLY = 0x0100000A
    FIRMWARE = 0x0100000B
    TREND = 0x0100000C
    RECIRCULATION_SCHEDULE = 0x0100000F


RESERVATIONS_WRITE: Final = 0x0100000A
"""Writing reservations carries the number of `Query.ENERGY_MONTHLY`; the topic tells them apart."""


class Command(IntEnum):
    """Controls of a heat pump (`docs/protocol/navilink.md` 4.4), without the dangerous ones."""

    POWER_OFF = 0x02000001
    POWER_ON = 0x02000002
    OPERATION_MODE = 0x02000005
    TOU_WRITE = 0x02000007
    RECIRCULATION_WRITE = 0x02000008
    RESERVATIONS_ON = 0x02000009
    RECIRCULATION_HOT_BUTTON = 0x0200000C
    RECIRCULATION_MODE = 0x0200000D
    TEMPERATURE = 0x02000020
    VACATION_DAYS = 0x02000022
    ADAPTIVE_OFF = 0x02000023
    ADAPTIVE_ON = 0x02000024
    DEMAND_RESPONSE_OFF = 0x02000025
    DEMAND_RESPONSE_ON = 0x02000026
    ANTI_LEGIONELLA_OFF = 0x02000027
    ANTI_LEGIONELLA_ON = 0x02000028
    AIR_FILTER_RESET = 0x02000029
    TOU_OFF = 0x0200002B
    TOU_ON = 0x0200002C


class Notice(IntEnum):
    """Why a device reports without being asked (`docs/protocol/navilink.md` 5.2)."""

    PERIODIC = 0
    HEAT_SOURCE = 0x04000004
    OPERATION_MODE = 0x04000013
    ACTUATOR = 0x0400001C


class GasQuery(IntEnum):
    """Questions to a gas unit (`docs/protocol/navilink.md` 12.3)."""

    START = 0x01000001
    END = 0x01000002
    CHANNEL_INFO = 0x01000003
    CHANNEL_STATUS = 0x01000004
    WEEKLY_SCHEDULE = 0x01000006


class GasCommand(IntEnum):
    """Controls of a gas unit (`docs/protocol/navilink.md` 12.3)."""

    POWER = 0x02000001
    HEAT = 0x02000002
    HOT_WATER_TEMPERATURE = 0x02000003
    HEATING_TEMPERATURE = 0x02000004
    ON_DEMAND = 0x02000005


INTERVAL_EXCEEDED: Final = 2
"""The one ``failCode`` whose meaning is known: commands came too close together (`docs/protocol/navilink.md` 5.4)."""

UNIT_TYPES: Final = MappingProxyType(
    {
        0: "none",
        1: "NPE",
        2: "NCB",
        3: "NHB",
        4: "CAS_NPE",
        5: "CAS_NHB",
        6: "NFB",
        7: "CAS_NFB",
        8: "NFC",
        9: "NPN",
        10: "CAS_NPN",
        11: "NPE2",
        12: "CAS_NPE2",
        13: "NCB_H",
        14: "NVW",
        15: "CAS_NVW",
        16: "NHB_H",
        17: "CAS_NHB_H",
        20: "NFB_700",
        21: "CAS_NFB_700",
        257: "TWC",
        513: "NPF",
    }
)
"""``unitType`` and ``modelTypeCode`` (`docs/protocol/navilink.md` 9.7)."""
