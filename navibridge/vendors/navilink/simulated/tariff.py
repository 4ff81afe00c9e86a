"""Rate plans of the OpenEI database as the bitfields that a water heater understands.

Pure. `convert` is what the cloud's ``/device/tou/convert`` does (`docs/protocol/navilink.md` 1.7 and 10.1): two 12 by
24 tables of tariff periods, one for weekdays and one for weekends, become seasons of intervals with a price.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from navibridge.vendors.navilink import schedules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DECIMALS: Final = 5
WEEKDAYS: Final = 124
WEEKEND: Final = 130
MONTHS: Final = 12
HOURS: Final = 24


def convert(rate: Mapping[str, Any]) -> dict[str, Any]:
    """One rate of OpenEI as ``{utility, name, schedule}``.

    Raises:
        ValueError: the rate lacks its tables, or they have the wrong shape.
    """
    try:
        weekday, weekend = rate["energyweekdayschedule"], rate["energyweekendschedule"]
        prices = [schedules.raw_price(period[0]["rate"], DECIMALS) for period in rate["energyratestructure"]]
        months = [(tuple(weekday[month][:HOURS]), tuple(weekend[month][:HOURS])) for month in range(MONTHS)]
        seasons: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        for month, tables in enumerate(months):
            seasons[tables] = seasons.get(tables, 0) | 1 << month
        schedule = [
            {
                "season": season,
                "interval": [*_intervals(WEEKDAYS, tables[0], prices), *_intervals(WEEKEND, tables[1], prices)],
            }
            for tables, season in seasons.items()
        ]
        return {"utility": str(rate.get("utility", "")), "name": str(rate.get("name", "")), "schedule": schedule}
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("a rate without complete tables") from error


def _intervals(week: int, hours: Sequence[int], prices: Sequence[int]) -> list[dict[str, int]]:
    """Hours of equal tariff period joined; the end minute is included."""
    intervals = []
    for period, run in groupby(range(len(hours)), key=lambda hour: hours[hour]):
        first, *rest = run
        price = prices[period]
        intervals.append(
            {
                "week": week,
                "startHour": first,
                "startMinute": 0,
                "endHour": rest[-1] if rest else first,
                "endMinute": 59,
                "priceMin": price,
                "priceMax": price,
                "decimalPoint": DECIMALS,
            }
        )
    return intervals
