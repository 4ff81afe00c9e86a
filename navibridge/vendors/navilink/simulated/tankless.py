"""One simulated tankless gas unit behind its NaviLink gateway (`docs/protocol/navilink.md` 12).

Pure: no I/O, no clock, no event loop. It heats water while somebody draws it, and counts gas. Unlike the heat pump it
speaks its owner's unit on the wire: whole degrees Fahrenheit, or half degrees Celsius.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any, Final

NPE2: Final = 11
ON: Final = 1  # the reverse of the heat pump's flags
OFF: Final = 2
INLET: Final = 14.0  # °C
LOWEST, HIGHEST = 36.5, 60.0
WATER: Final = 1.0  # kcal per litre and kelvin
EFFICIENCY: Final = 0.95
KCAL_PER_CUBIC_METRE: Final = 9_400.0
FULL_FIRE: Final = 48_000.0  # kcal/h
HOT_BUTTON_SECONDS: Final = 300.0


@dataclass(slots=True)
class TanklessState:
    """The truth about one gas unit: °C, L/min, m³, kcal/h, seconds."""

    time: float
    power: bool = True
    setpoint: float = 50.0
    flow: float = 0.0
    outlet: float = 30.0
    gas_rate: float = 0.0
    gas_used: float = 1_456.7
    hot_button_until: float = 0.0
    weekly_on: bool = False
    weekly: list[dict[str, Any]] = field(default_factory=list)
    error_code: int = 0
    sub_error_code: int = 0


class Tankless:
    """A unit that lives: `step` it, `control` it, read its channel's `info` and `status`."""

    def __init__(self, *, time: float, seed: str = "0", fahrenheit: bool = True) -> None:
        self.fahrenheit = fahrenheit
        self.frozen = False
        self.state = TanklessState(time=time)
        self._seed = seed

    def step(self, seconds: float) -> None:
        """Let time pass."""
        if self.frozen:
            return
        state = self.state
        state.time += seconds
        state.flow = self._flow()
        burning = state.power and state.flow > 0 and not state.error_code
        demand = state.flow * 60 * WATER * max(state.setpoint - INLET, 0.0) / EFFICIENCY
        state.gas_rate = min(demand, FULL_FIRE) if burning else 0.0
        state.gas_used += state.gas_rate * seconds / 3600 / KCAL_PER_CUBIC_METRE
        heated = INLET + state.gas_rate * EFFICIENCY / (state.flow * 60 * WATER) if state.flow else 22.0
        state.outlet += (heated - state.outlet) * (1 - math.exp(-seconds / (20 if state.flow else 1_800)))

    def _flow(self) -> float:
        """Litres per minute: in some quarters of an hour somebody draws; at night rarely."""
        state = self.state
        if state.time < state.hot_button_until:
            return 3.0
        quarter = int(state.time // 900)
        chance = random.Random(f"{self._seed}/{quarter}")  # noqa: S311 - showers need no cryptography
        awake = 6 <= (quarter // 4) % 24 < 23  # noqa: PLR2004 - hours of the day
        draws = chance.random() < (0.4 if awake else 0.05)
        begins, lasts = chance.uniform(0, 300), chance.uniform(60, 480)
        return chance.uniform(3.0, 9.0) if draws and begins <= state.time % 900 < begins + lasts else 0.0

    def control(self, mode: str, param: tuple[int, ...]) -> bool:
        """Do what a control of `docs/protocol/navilink.md` 12.3 says; false when it makes no sense here."""
        state = self.state
        match mode, param:
            case "power", (1 | 2 as power,):
                state.power = power == ON
            case "DHWTemperature", (raw,) if LOWEST <= self.celsius(raw) <= HIGHEST:
                state.setpoint = self.celsius(raw)
            case "onDemand", (1 | 3,) if state.power:
                state.hot_button_until = state.time + HOT_BUTTON_SECONDS
            case "onDemand", (2,):
                state.hot_button_until = 0.0
            case _:
                return False
        return True

    def celsius(self, raw: int) -> float:
        """A temperature as it travels, in °C."""
        return (raw - 32) / 1.8 if self.fahrenheit else raw / 2

    def raw(self, celsius: float) -> int:
        """A temperature in °C as it travels."""
        return round(celsius * 1.8 + 32) if self.fahrenheit else round(celsius * 2)

    def info(self) -> dict[str, Any]:
        """The ``channelInfo`` of its one channel."""
        none = self.raw(0.0)
        channel = {
            "unitType": NPE2,
            "unitCount": 1,
            "temperatureType": 2 if self.fahrenheit else 1,
            "setupDHWTempMin": self.raw(LOWEST),
            "setupDHWTempMax": self.raw(HIGHEST),
            "setupHeatTempMin": none,
            "setupHeatTempMax": none,
            "onDemandUse": ON,
            "heatControl": 1,
            "wwsd": OFF,
            "commercialLock": OFF,
            "recirculationUse": OFF,
            "highTempDHWUse": OFF,
            "reCirculationSetupTempMin": none,
            "reCirculationSetupTempMax": none,
            "panelDipSwitchInfo": 0,
            "mainDipSwitchInfo": 8192,
            "presumeHeatTempUse": OFF,
            "airSupplyReturnType": 0,
            "setupDHWTankTempMin": 0,
            "setupDHWTankTempMax": 0,
            "setupAirTempMin": 0,
            "setupAirTempMax": 0,
            "setupFanAirFlowMin": 0,
            "setupFanAirFlowMax": 0,
            "freezeProtectionUse": 0,
            "DHWTankSensorUse": OFF,
            "DHWUse": OFF,
            "DHWTankUse": OFF,
        }
        return {"channelCount": 1, "channelUse": 1, "channelList": [{"channelNumber": 1, "channel": channel}]}

    def status(self) -> dict[str, Any]:
        """The ``channelStatus`` of its one channel, with its one unit."""
        state = self.state
        outlet, inlet = self.raw(state.outlet), self.raw(INLET)
        unit = {
            "unitNumber": 1,
            "controllerVersion": 3079,
            "panelVersion": 6912,
            "errorCode": state.error_code,
            "subErrorCode": state.sub_error_code,
            "operationMode": 0,
            "gasInstantUsage": round(state.gas_rate),
            "accumulatedGasUsage": round(state.gas_used * 10),
            "currentOutletTemp": outlet,
            "currentInletTemp": inlet,
            "currentSupplyTemp": self.raw(0.0),
            "currentReturnTemp": self.raw(0.0),
            **dict.fromkeys(
                (
                    "currentRecirculationTemp",
                    "currentSupplyAirTemp",
                    "currentReturnAirTemp",
                    "currentHeatFlowRate",
                    "blowerCFM",
                    "waterLevel",
                    "thermostatStatus",
                    "currentOutputTDSValue",
                    "accumulatedWaterUsage",
                    "daysFilterUsed",
                    "filterStatus",
                    "numOfWaterUse",
                    "numOfShortWaterUse",
                    "currentDHWTankTemp",
                    "freezeProtectionStatus",
                ),
                0,
            ),
            "DHWFlowRate": round(state.flow * 10),
            **dict.fromkeys(
                (
                    "PoEStatus",
                    "CIPSolutionRemained",
                    "CIPStatus",
                    "CIPOperationTimeHour",
                    "CIPOperationTimeMin",
                    "CIPSolutionSupplement",
                ),
                0,
            ),
        }
        channel = {
            "unitCount": 1,
            "unitType": NPE2,
            "operationUnitCount": 1 if state.gas_rate else 0,
            "weeklyControl": ON if state.weekly_on else OFF,
            "totalDayCount": len(state.weekly),
            "avgCalorie": round(200 * state.gas_rate / FULL_FIRE),
            "heatSettingTemp": 0,
            "powerStatus": ON if state.power else OFF,
            "heatStatus": OFF,
            "onDemandUseFlag": ON if state.time < state.hot_button_until else OFF,
            "avgOutletTemp": outlet,
            "avgInletTemp": inlet,
            "avgSupplyTemp": self.raw(0.0),
            "avgReturnTemp": self.raw(0.0),
            "recirculationSettingTemp": 0,
            "outdoorTemperature": 0,
            "airSettingTemp": 0,
            "fanSettingAirFlow": 0,
            "DHWSettingTemp": self.raw(state.setpoint),
            "DHWTankSettingTemp": 0,
            "unitInfo": {"unitNumberStart": 1, "unitNumberEnd": 1, "unitStatusList": [unit]},
        }
        return {"channelNumber": 1, "channel": channel}

    def schedule(self) -> dict[str, Any]:
        """The ``weeklySchedule`` of its one channel."""
        state = self.state
        channel = {
            "weeklyControl": ON if state.weekly_on else OFF,
            "totalDayCount": len(state.weekly),
            "weeklySchdList": state.weekly,
        }
        return {"channelNumber": 1, "channel": channel}
