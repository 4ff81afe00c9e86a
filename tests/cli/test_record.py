"""The rows of `navibridge record`, from state documents."""

from __future__ import annotations

import io
from typing import Any

import pytest

from navibridge.cli.observer import Known
from navibridge.cli.record import COLUMNS, FURTHER, HEADER, Rows, cell, is_tank, timestamp

TANK = Known(
    topic="navilink_a1",
    id="a1",
    vendor="navilink",
    account="home",
    name="Garage",
    kind="heat_pump_water_heater",
    model="NWP500",
    firmware=None,
    available=True,
    seen_at=None,
    attributes=(),
    writable=(),
)
STATE: dict[str, Any] = {
    "seen_at": "2025-09-26T22:18:03+00:00",
    "tank_charge": 99,
    "activity": "heat_pump",
    "current_temperature": 60.5,
    "target_temperature": 60.5,
    "power": 466,
    "tank_upper_temperature": 60.5,
    "tank_lower_temperature": 61.0,
    "temperature_unit": "C",
}
FAHRENHEIT = STATE | {
    "current_temperature": 140.9,
    "target_temperature": 140.9,
    "tank_upper_temperature": 140.9,
    "tank_lower_temperature": 141.8,
    "temperature_unit": "F",
}
EXAMPLE = "2025-09-26T22:18:03,99,32,121,466,60.5,61.0"
"""The row of `docs/protocol/navilink.md` 13.1."""


def rows(interval: float | None = None) -> tuple[Rows, io.StringIO]:
    text = io.StringIO()
    return Rows(text, interval), text


@pytest.mark.parametrize("state", [STATE, FAHRENHEIT], ids=["C", "F"])
def test_the_row_is_that_of_the_founding_description(state: dict[str, Any]) -> None:
    written, text = rows()
    written.write(TANK, state, 0.0)
    assert text.getvalue() == f"{EXAMPLE},navilink_a1,60.5,60.5\n"
    assert len(text.getvalue().split(",")) == len(HEADER)


def test_what_is_unknown_is_empty() -> None:
    written, text = rows()
    written.write(TANK, {"seen_at": STATE["seen_at"], "power": 1, "activity": None}, 0.0)
    assert text.getvalue() == "2025-09-26T22:18:03,,,,1,,,navilink_a1,,\n"
    written.write(TANK, {"power": 1}, 1.0)
    assert written.written == 1


@pytest.mark.parametrize(
    ("activity", "number"),
    [("standby", "0"), ("heat_pump", "32"), ("electric", "64"), ("heat_pump_and_electric", "96")],
)
def test_activities_are_the_vendor_s_numbers(activity: str, number: str) -> None:
    column = next(column for column in COLUMNS if column.name == "operation_mode")
    assert cell(TANK, {"activity": activity}, column) == number


def test_one_observation_is_one_row() -> None:
    written, _ = rows()
    for now in (0.0, 1.0, 2.0):
        written.write(TANK, STATE, now)
    assert written.written == 1


def test_an_interval_thins_the_rows_out() -> None:
    written, text = rows(interval=10)
    for second in range(30):
        written.write(TANK, STATE | {"seen_at": f"2025-09-26T22:18:{second:02}+00:00"}, float(second))
    seconds = [int(line[17:19]) for line in text.getvalue().splitlines()]
    assert seconds == [0, 9, 18, 27]


def test_times_are_utc_without_an_offset() -> None:
    assert timestamp("2025-09-26T22:18:03+02:00") == "2025-09-26T20:18:03"


def test_only_tanks_are_recorded() -> None:
    assert is_tank(TANK)
    for kind, vendor in (("gas_unit", "navilink"), ("heat_pump_water_heater", "acme"), (None, "navilink")):
        described = {name: getattr(TANK, name) for name in Known.__dataclass_fields__} | {
            "kind": kind,
            "vendor": vendor,
        }
        assert not is_tank(Known.described(described))


def test_every_column_names_an_attribute_of_the_tank() -> None:
    assert all(TANK.row(column.attribute) is not None for column in (*COLUMNS, *FURTHER))
