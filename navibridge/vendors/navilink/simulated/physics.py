"""One simulated heat-pump water heater: its tank, its machinery, and the controller that runs them.

Pure: no I/O, no clock, no event loop. `Heater.step` lets time pass, `Heater.control` is what the controller does with a
command. Everything is in physical units (°C, W, L/min); how it travels is the business of `reports`. The same seed and
the same steps give the same water heater.

The tank is eight layers, from the top down. A draw takes the uppermost water and lets cold water in below, so that the
lower sensor sees it first. The heat pump's condenser is wrapped around the lower half, the two elements sit above and
below; warm water rises. Figures follow `docs/protocol/navilink.md` 15: 430 to 470 W at a coefficient of performance
near 2.9 warm a 65-gallon tank by 4.5 K an hour, an element by 18 K.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DAY: Final = 86_400.0
HOUR: Final = 3_600.0
LAYERS: Final = 8
UPPER_SENSOR: Final = 1
LOWER_SENSOR: Final = 6
LONGEST_STEP: Final = 5.0  # seconds; what longer steps are divided into
HEAT_CAPACITY: Final = 0.983 * 1.163  # Wh per litre and kelvin of hot water: 281 Wh/K for 65 gallons
REFERENCE: Final = 35.0  # °C; what the total capacity of the captured unit is counted from
LOSS: Final = 1.1  # W per kelvin, the whole tank
ELEMENT_WATTS: Final = 5_150.0
IDLE_WATTS: Final = 1.0
FAN_WATTS: Final = 16.0
PARKED_VALVE: Final = 480
LEGIONELLA_TARGET: Final = 60.0
ELECTRIC_HOURS: Final = 72
VACATION_REHEAT: Final = 9 * HOUR
HISTORY_DAYS: Final = 400  # since when the unit has been installed, and how long its energy ledger reaches back
ALL_MONTHS: Final = 4095
EVERY_DAY: Final = 254
ENABLED: Final = 2


class Setting(IntEnum):
    """The owner's mode: `docs/protocol/navilink.md` 9.1."""

    HEAT_PUMP = 1
    ELECTRIC = 2
    ENERGY_SAVER = 3
    HIGH_DEMAND = 4
    VACATION = 5
    OFF = 6


class Phase(IntEnum):
    """Where the heat pump stands in its cycle: `docs/protocol/navilink.md` 9.4."""

    IDLE = 20
    FAN = 30  # before and after the compressor
    STARTING = 40
    RUNNING = 50
    STOPPING = 60
    REQUESTED = 70


PHASE_SECONDS: Final[Mapping[Phase, float]] = {
    Phase.REQUESTED: 10,
    Phase.FAN: 90,
    Phase.STARTING: 20,
    Phase.STOPPING: 30,
}


@dataclass(frozen=True, slots=True)
class Model:
    """What the factory and the installer made of a unit.

    Attributes:
        volume_code: 1, 2 or 3 for 50, 65 and 80 gallons.
        fahrenheit: the owner's display preference; the wire is metric either way.
        recirculation: whether the pump kit is fitted.
        low: lowest setpoint, °C.
        high: highest setpoint, °C.
        serial: the controller's serial number.
    """

    volume_code: int = 2
    fahrenheit: bool = True
    recirculation: bool = False
    low: float = 40.5
    high: float = 65.5
    serial: str = "NWP5SIM000000001"

    @property
    def litres(self) -> float:
        """The tank's volume."""
        return {1: 189.2, 2: 246.0, 3: 302.8}[self.volume_code]

    @property
    def capacity(self) -> float:
        """Wh that warm the whole tank by one kelvin."""
        return self.litres * HEAT_CAPACITY


@dataclass(slots=True)
class Usage:
    """Electrical energy of one day, or a sum of days: Wh and seconds, heat pump and elements apart."""

    heat_pump_wh: float = 0.0
    element_wh: float = 0.0
    heat_pump_seconds: float = 0.0
    element_seconds: float = 0.0

    def add(self, other: Usage) -> None:
        """Count another sum in."""
        self.heat_pump_wh += other.heat_pump_wh
        self.element_wh += other.element_wh
        self.heat_pump_seconds += other.heat_pump_seconds
        self.element_seconds += other.element_seconds


@dataclass(frozen=True, slots=True)
class Threshold:
    """When one heat source starts and stops, by one sensor; differences from the target in kelvin."""

    used: bool = False
    on: float = 0.0
    off: float = 0.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The controller's program of one mode."""

    hp_upper: Threshold = Threshold()
    hp_lower: Threshold = Threshold()
    he_upper: Threshold = Threshold()
    he_lower: Threshold = Threshold()


NOTHING_WANTED: Final = Thresholds()
HEAT_PUMP_ONLY: Final = Thresholds(hp_upper=Threshold(True, 1.0), hp_lower=Threshold(True, 3.0, 0.2))
PROGRAMS: Final[Mapping[Setting, Thresholds]] = {
    Setting.HEAT_PUMP: HEAT_PUMP_ONLY,
    Setting.ELECTRIC: Thresholds(he_upper=Threshold(True, 2.0), he_lower=Threshold(True, 3.0, 0.2)),
    Setting.ENERGY_SAVER: Thresholds(HEAT_PUMP_ONLY.hp_upper, HEAT_PUMP_ONLY.hp_lower, Threshold(True, 8.0)),
    Setting.HIGH_DEMAND: Thresholds(HEAT_PUMP_ONLY.hp_upper, HEAT_PUMP_ONLY.hp_lower, Threshold(True, 2.0)),
    Setting.VACATION: NOTHING_WANTED,
    Setting.OFF: NOTHING_WANTED,
}


@dataclass(slots=True)
class HeaterState:
    """The truth about one unit; tests compare with it what arrives at the far end.

    Temperatures in °C, flow in L/min, power in W, energy in Wh, times in seconds.
    """

    time: float
    layers: list[float]
    setpoint: float = 54.0
    setting: Setting = Setting.ENERGY_SAVER
    resume: Setting = Setting.ENERGY_SAVER  # what ``power-on`` and the end of a vacation return to

    phase: Phase = Phase.IDLE
    phase_left: float = 0.0
    heat_pump_called: bool = False
    upper_element: bool = False
    lower_element: bool = False
    power: float = IDLE_WATTS
    shown_power: float = IDLE_WATTS  # lags the machinery, as the real meter does

    ambient: float = 21.0
    inlet: float = 12.0
    evaporator: float = 21.0
    suction: float = 21.5
    discharge: float = 30.0
    superheat: float = 0.5
    fan_rpm: float = 0.0
    valve_step: float = PARKED_VALVE
    flow: float = 0.0
    flowing_for: float = 0.0

    drawn_litres: float = 0.0
    heat_added: float = 0.0
    heat_drawn: float = 0.0
    heat_lost: float = 0.0
    fan_seconds: float = 0.0
    filter_seconds: float = 0.0
    filter_hours: int = 1_000
    compressor_starts: int = 0

    electric_until: float = math.inf
    vacation_days: int = 0
    vacation_until: float = 0.0
    anti_legionella: bool = False
    anti_legionella_period: int = 7
    anti_legionella_due: float = math.inf
    anti_legionella_running: bool = False
    freeze_threshold: float = 6.0
    tou: bool = False
    tou_override: bool = False
    demand_response: bool = False
    demand_event: int = 0
    adaptive: bool = False
    recirculation_mode: int = 0
    recirculation_until: float = 0.0

    reservations_on: bool = False
    reservations: list[dict[str, int]] = field(default_factory=list)
    weekly_on: bool = False
    weekly: list[dict[str, int]] = field(default_factory=list)
    tou_plan: list[dict[str, int]] = field(default_factory=list)
    recirculation_on: bool = False
    recirculation: list[dict[str, int]] = field(default_factory=list)
    recirculation_periods: list[dict[str, int]] = field(default_factory=list)

    error_code: int = 0
    sub_error_code: int = 0

    @property
    def compressor(self) -> bool:
        """Whether the compressor runs."""
        return self.phase in (Phase.STARTING, Phase.RUNNING)

    @property
    def fan(self) -> bool:
        """Whether the evaporator's fan runs."""
        return self.phase in (Phase.FAN, Phase.STARTING, Phase.RUNNING)

    @property
    def element(self) -> bool:
        """Whether either element is on."""
        return self.upper_element or self.lower_element

    @property
    def activity(self) -> int:
        """What the machine is doing: bit 5 the heat pump, bit 6 an element."""
        return (0x20 if self.heat_pump_called else 0) | (0x40 if self.element else 0)

    @property
    def upper(self) -> float:
        """What the upper thermistor measures."""
        return self.layers[UPPER_SENSOR]

    @property
    def lower(self) -> float:
        """What the lower thermistor measures."""
        return self.layers[LOWER_SENSOR]

    @property
    def mean(self) -> float:
        """The water's mean temperature."""
        return sum(self.layers) / len(self.layers)


class Heater:
    """A unit that lives: `step` it, `control` it, look at its `state`.

    Args:
        model: the unit.
        time: its own clock at the start, seconds since the epoch. Its calendar is UTC.
        seed: whatever distinguishes it from its neighbours.

    Attributes:
        state: the truth; a test may set what it likes.
        frozen: while true, `step` changes nothing.
        installed: ordinal of the day it was installed.
        ledger: energy by ordinal of the day, since the simulation began.
    """

    def __init__(self, model: Model, *, time: float, seed: str = "0") -> None:
        self.model = model
        self.seed = seed
        self.frozen = False
        self._random = random.Random(seed)  # noqa: S311 - weather and showers need no cryptography
        self._draws: tuple[int, tuple[tuple[float, float, float], ...]] = (-1, ())
        self.ledger = {ordinal(time): Usage()}
        self.installed = ordinal(time) - HISTORY_DAYS
        # Begun with a half-empty tank, a unit has something to show from its first minute.
        warm = 49.0 + self._random.random() * 3
        layers = [warm - max(0, layer - 2) * 4.5 for layer in range(LAYERS)]
        self.state = HeaterState(time=time, layers=layers)
        self.state.fan_seconds = 1_387 * HOUR
        self.state.filter_seconds = 212 * HOUR
        self.state.drawn_litres = 1_234.0
        self.state.reservations = [
            {"enable": 2, "week": 124, "hour": 6, "min": 15, "mode": 3, "param": 108},
            {"enable": 1, "week": 254, "hour": 22, "min": 30, "mode": 1, "param": 98},
        ]
        self.state.tou_plan = [
            {"season": ALL_MONTHS, "week": 124, "startHour": 16, "startMinute": 0, "endHour": 20, "endMinute": 59,
             "priceMin": 27650, "priceMax": 27650, "decimalPoint": 5},
            {"season": ALL_MONTHS, "week": EVERY_DAY, "startHour": 21, "startMinute": 0, "endHour": 15, "endMinute": 59,
             "priceMin": 11840, "priceMax": 12510, "decimalPoint": 5},
        ]  # fmt: skip
        if model.recirculation:
            self.state.recirculation_mode = 2

    # -- time ----------------------------------------------------------------------------------------------------

    def step(self, seconds: float) -> None:
        """Let time pass; zero seconds only lets the controller look at its sensors and settings."""
        if self.frozen:
            return
        while seconds > LONGEST_STEP:
            self._short_step(LONGEST_STEP)
            seconds -= LONGEST_STEP
        self._short_step(seconds)

    def _short_step(self, seconds: float) -> None:
        state = self.state
        before = state.time
        state.time += seconds
        self._follow_calendar(before)
        self._draw(seconds)
        self._decide(seconds)
        self._heat(seconds)
        self._lose(seconds)
        _rise(state.layers)
        self._move_refrigerant(seconds)

    def _follow_calendar(self, before: float) -> None:
        """What the unit does by date and hour: vacations, reservations, anti-legionella cycles."""
        state = self.state
        if state.setting is Setting.ELECTRIC and state.time >= state.electric_until:
            self._set_mode(Setting.ENERGY_SAVER)
        if state.setting is Setting.VACATION and state.time >= state.vacation_until:
            state.setting = state.resume
        if state.anti_legionella and state.time >= state.anti_legionella_due:
            state.anti_legionella_running = True
            state.anti_legionella_due = state.time + state.anti_legionella_period * DAY
        if state.anti_legionella_running and (state.lower >= LEGIONELLA_TARGET or state.setting is Setting.OFF):
            state.anti_legionella_running = False
        suspended = state.tou or state.setting in (Setting.VACATION, Setting.OFF)
        if state.reservations_on and not suspended and int(before // 60) != int(state.time // 60):
            for entry in state.reservations:
                if _due(entry, state.time):
                    self._reserve(entry)

    def _reserve(self, entry: Mapping[str, int]) -> None:
        if entry.get("mode") in (1, 2, 3, 4):
            self._set_mode(Setting(entry["mode"]))
        target = entry.get("param", 0) / 2
        if self.model.low <= target <= self.model.high:
            self.state.setpoint = target

    # -- water ---------------------------------------------------------------------------------------------------

    def _draw(self, seconds: float) -> None:
        state = self.state
        state.ambient = 21.0 + 3.0 * math.sin((state.time % DAY) / DAY * math.tau - 2.0)
        state.flow = self.draw_at(state.time)
        if not state.flow or not seconds:
            state.flowing_for = state.flowing_for if state.flow else 0.0
            return
        state.flowing_for += seconds
        litres = state.flow * seconds / 60
        share = litres / (self.model.litres / LAYERS)
        state.drawn_litres += litres
        state.heat_drawn += litres * HEAT_CAPACITY * (state.layers[0] - state.inlet)
        below = [*state.layers[1:], state.inlet]
        state.layers[:] = [layer + share * (under - layer) for layer, under in zip(state.layers, below, strict=True)]

    def draw_at(self, time: float) -> float:
        """Litres per minute that the house takes at that time: showers, dishes, hands; another day, another pattern."""
        day = int(time // DAY)
        if self._draws[0] != day:
            self._draws = (day, self._household(day))
        second = time - day * DAY
        return sum(flow for start, end, flow in self._draws[1] if start <= second < end)

    def _household(self, day: int) -> tuple[tuple[float, float, float], ...]:
        """One day's draws as (from second, to second, litres per minute)."""
        chance = random.Random(f"{self.seed}/{day}")  # noqa: S311 - see above
        draws: list[tuple[float, float]] = []
        draws += [(chance.uniform(6.0, 8.5), chance.uniform(4, 8)) for _ in range(chance.randint(1, 3))]
        draws += [(chance.uniform(18.5, 22.5), chance.uniform(4, 8)) for _ in range(chance.randint(0, 2))]
        draws += [(chance.uniform(12.0, 20.0), chance.uniform(2, 4)) for _ in range(chance.randint(1, 2))]
        draws += [(chance.uniform(6.0, 23.0), chance.uniform(0.3, 1)) for _ in range(chance.randint(8, 14))]
        return tuple((hour * HOUR, hour * HOUR + minutes * 60, chance.uniform(5.0, 8.0)) for hour, minutes in draws)

    def _lose(self, seconds: float) -> None:
        """Heat through the tank's walls."""
        state = self.state
        for index, layer in enumerate(state.layers):
            lost = LOSS / LAYERS * (layer - state.ambient) * seconds / HOUR
            state.heat_lost += lost
            state.layers[index] = layer - lost / (self.model.capacity / LAYERS)

    # -- machinery -----------------------------------------------------------------------------------------------

    @property
    def target(self) -> float:
        """What is heated for now, °C."""
        state = self.state
        return max(state.setpoint, LEGIONELLA_TARGET) if state.anti_legionella_running else state.setpoint

    @property
    def held(self) -> bool:
        """Whether the tariff or the grid asks the unit to wait."""
        state = self.state
        return state.demand_event in (2, 5) or (state.tou and not state.tou_override and _peak(state))

    def thresholds(self) -> Thresholds:
        """The program in force: the mode's, or that of the last hours of a vacation, or of a cold tank."""
        state = self.state
        setting = state.setting
        if setting is Setting.VACATION and state.time >= state.vacation_until - VACATION_REHEAT:
            setting = state.resume
        if state.error_code:
            return NOTHING_WANTED
        program = PROGRAMS[setting]
        if self.held:
            later = Threshold(program.hp_lower.used, 20.0)
            return Thresholds(hp_upper=Threshold(program.hp_upper.used, 10.0), hp_lower=later)
        return program

    def plan(self) -> tuple[bool, bool, bool]:
        """Whether heat pump, upper and lower element are wanted, seen from what runs now."""
        state = self.state
        program = self.thresholds()
        frost = min(state.layers) < state.freeze_threshold
        heat_pump = self._wanted(program.hp_upper, state.upper, state.heat_pump_called) or self._wanted(
            program.hp_lower, state.lower, state.heat_pump_called
        )
        upper = self._wanted(program.he_upper, state.upper, state.upper_element)
        lower = not upper and (frost or self._wanted(program.he_lower, state.lower, state.lower_element))
        return heat_pump, upper, lower

    @property
    def planned(self) -> int:
        """The heat source of the present cycle, running or about to: 0 none, 1 heat pump, 2 element, 3 both."""
        heat_pump, upper, lower = self.plan()
        return (1 if heat_pump else 0) | (2 if upper or lower else 0)

    def _wanted(self, threshold: Threshold, temperature: float, running: bool) -> bool:  # noqa: FBT001 - a private step of `plan`
        if not threshold.used:
            return False
        return temperature < self.target - (threshold.off if running else threshold.on)

    def _decide(self, seconds: float) -> None:
        """What is switched on and off now."""
        state = self.state
        was_running = state.compressor
        state.heat_pump_called, state.upper_element, state.lower_element = self.plan()
        state.phase_left -= seconds
        called, over = state.heat_pump_called, state.phase_left <= 0
        match state.phase:
            case Phase.IDLE if called:
                self._enter(Phase.REQUESTED)
            case Phase.REQUESTED if over or not called:
                self._enter(Phase.FAN if called else Phase.IDLE)
            case Phase.FAN if over:
                self._enter(Phase.STARTING if called else Phase.IDLE)
            case Phase.STARTING if over or not called:
                self._enter(Phase.RUNNING if called else Phase.FAN)
            case Phase.RUNNING if not called:
                self._enter(Phase.STOPPING if state.setting is Setting.OFF else Phase.FAN)
            case Phase.STOPPING if over:
                self._enter(Phase.REQUESTED if called else Phase.IDLE)
            case _:
                pass
        if state.compressor and not was_running:
            state.compressor_starts += 1

    def _enter(self, phase: Phase) -> None:
        self.state.phase = phase
        self.state.phase_left = PHASE_SECONDS.get(phase, 0.0)

    def _heat(self, seconds: float) -> None:
        """What the machinery takes from the mains and gives to the water."""
        state = self.state
        hours = seconds / HOUR
        heat_pump = self._heat_pump_watts() if state.compressor else 0.0
        element = ELEMENT_WATTS + self._random.uniform(-20, 20) if state.element else 0.0
        fan = FAN_WATTS if state.fan and not state.compressor else 0.0
        state.shown_power = state.power
        state.power = heat_pump + element + fan + IDLE_WATTS
        self._warm(range(LAYERS // 2, LAYERS), heat_pump * self._performance() * hours)
        self._warm(range(1, 3) if state.upper_element else range(LAYERS - 2, LAYERS), element * hours)
        state.fan_seconds += seconds if state.fan else 0.0
        state.filter_seconds += seconds if state.fan else 0.0
        if seconds:
            self._book(
                Usage(heat_pump * hours, element * hours, seconds * bool(heat_pump), seconds * bool(element)),
            )

    def _heat_pump_watts(self) -> float:
        effort = min(max((self.state.lower - 25.0) / 35.0, 0.0), 1.0)
        return 432.0 + 34.0 * effort + self._random.uniform(-2, 2)

    def _performance(self) -> float:
        """Heat per electricity: worse the hotter the water, better the warmer the air."""
        return 2.9 + 0.03 * (self.state.ambient - 21.0) - 0.012 * (self.state.lower - 45.0)

    def _warm(self, layers: range, warmth: float) -> None:
        """Heat some layers; the colder one of them takes up more."""
        state = self.state
        surface = max(state.layers[index] for index in layers) + 3.0
        total = sum(surface - state.layers[index] for index in layers)
        shares = [(index, (surface - state.layers[index]) / total) for index in layers]
        for index, share in shares:
            state.layers[index] += warmth * share / (self.model.capacity / LAYERS)
        state.heat_added += warmth

    def _move_refrigerant(self, seconds: float) -> None:
        """The circuit's temperatures follow what drives them, within minutes."""
        state = self.state
        if state.compressor:
            near = 1 - math.exp(-seconds / 90)
            state.superheat += (4.6 + self._random.uniform(-0.3, 0.3) - state.superheat) * near
            state.evaporator += (state.ambient - 11.0 - state.evaporator) * near
            state.suction = state.evaporator + state.superheat
            state.discharge += (state.lower + 16.0 - state.discharge) * near
            state.valve_step += (148.0 - state.valve_step) * near
        else:
            near = 1 - math.exp(-seconds / 1_200)
            state.evaporator += (state.ambient - state.evaporator) * near
            state.suction += (state.ambient + 0.8 - state.suction) * near
            state.discharge += (state.ambient + 6.0 - state.discharge) * near
            state.superheat = state.suction - state.evaporator
            state.valve_step = PARKED_VALVE
        wanted = 545.0 if state.fan else 0.0
        state.fan_rpm += (wanted - state.fan_rpm) * (1 - math.exp(-seconds / 5))

    # -- energy --------------------------------------------------------------------------------------------------

    def _book(self, usage: Usage) -> None:
        today = ordinal(self.state.time)
        if today not in self.ledger:
            self.ledger = {day: used for day, used in self.ledger.items() if day > today - HISTORY_DAYS}
            self.ledger[today] = Usage()
        self.ledger[today].add(usage)

    def usage(self, day: date) -> Usage | None:
        """The energy of one day; ``None`` before the installation and in the future.

        Days before the simulation began are made up, the same ones each time.
        """
        number = day.toordinal()
        if not self.installed <= number <= ordinal(self.state.time):
            return None
        if number in self.ledger:
            return self.ledger[number]
        chance = random.Random(f"{self.seed}:{number}")  # noqa: S311 - see above
        watt_hours = chance.uniform(1_300, 1_900)
        element = chance.choice((0.0, 0.0, 0.0, 0.0, 820.0))
        return Usage(watt_hours, element, watt_hours / 450 * HOUR, element / ELEMENT_WATTS * HOUR)

    def usage_of_month(self, year: int, month: int) -> Usage:
        """The energy of a month, as far as it has come."""
        total = Usage()
        day = date(year, month, 1)
        while day.month == month:
            used = self.usage(day)
            if used is not None:
                total.add(used)
            day += timedelta(days=1)
        return total

    @property
    def total_capacity(self) -> float:
        """Wh between the reference temperature and the setpoint, the whole tank."""
        return max(self.state.setpoint - REFERENCE, 0.0) * self.model.capacity

    @property
    def deficit(self) -> float:
        """Wh still missing to the setpoint."""
        return sum(max(self.state.setpoint - layer, 0.0) for layer in self.state.layers) * self.model.capacity / LAYERS

    @property
    def charge(self) -> float:
        """Stored hot water in per cent of a tank that is full at the setpoint."""
        full = (self.state.setpoint - self.state.inlet) * self.model.capacity
        return min(max(100.0 * (1 - self.deficit / full), 0.0), 100.0)

    # -- commands ------------------------------------------------------------------------------------------------

    def control(self, mode: str, param: tuple[int, ...]) -> bool:  # noqa: C901, PLR0912 - a case for each line of 4.4
        """Do what a control of `docs/protocol/navilink.md` 4.4 says; the machinery follows with the next `step`.

        Returns:
            Whether anything was accepted: a value out of range, a function the unit lacks and a setting that the
            present mode does not take leave everything as it was.
        """
        state = self.state
        match mode, param:
            case "power-off", ():
                if state.setting is not Setting.OFF:
                    state.resume = state.resume if state.setting is Setting.VACATION else state.setting
                    state.setting = Setting.OFF
            case "power-on", ():
                if state.setting is Setting.OFF:
                    self._set_mode(state.resume)
            case "dhw-mode", (wanted,) if Setting.HEAT_PUMP <= wanted <= Setting.HIGH_DEMAND:
                if state.setting is Setting.OFF:  # remembered, and in force once the power is on
                    state.resume = Setting(wanted)
                    return False
                self._set_mode(Setting(wanted))
            case "dhw-mode", (Setting.VACATION, days) if 1 <= days <= 99:  # noqa: PLR2004 - the app's own picker
                if state.setting is Setting.OFF:
                    return False
                self._leave_for(days)
            case "dhw-temperature", (half,) if self.model.low <= half / 2 <= self.model.high:
                if state.setting in (Setting.OFF, Setting.VACATION):
                    return False
                state.setpoint = half / 2
            case "goout-day", (days,) if 0 <= days <= 99:  # noqa: PLR2004 - as above
                state.vacation_days = days
            case "anti-leg-on", (days,) if 1 <= days <= 30:  # noqa: PLR2004 - 4.4
                state.anti_legionella = True
                state.anti_legionella_period = days
                state.anti_legionella_due = state.time + days * DAY
            case "anti-leg-off", ():
                state.anti_legionella = state.anti_legionella_running = False
            case "tou-on" | "tou-off", ():
                state.tou = mode == "tou-on"
            case "dr-on" | "dr-off", ():
                state.demand_response = mode == "dr-on"
                state.demand_event = 1 if state.demand_response else 0
            case "intelligent-on" | "intelligent-off", ():
                state.adaptive = mode == "intelligent-on"
            case "reservation-mode", ():
                state.reservations_on = True
            case "frez-temp", (half,) if 12 <= half <= 20:  # noqa: PLR2004 - the limits it reports
                state.freeze_threshold = half / 2
            case "air-filter-reset", ():
                state.filter_seconds = 0.0
            case "air-filter-life", (halves,) if halves == 0 or 2 <= halves <= 20:  # noqa: PLR2004 - 1000 to 10000 h
                state.filter_hours = halves * 500
            case "recirc-hotbtn", (1 | 2 as button,) if self.model.recirculation:
                state.recirculation_until = state.time + 900 if button == 1 else 0.0
            case "recirc-mode", (1 | 2 | 3 | 4 as wanted,) if self.model.recirculation:
                state.recirculation_mode = wanted
            case "smart-diagnostic" | "ota-check" | "wifi-reconnect" | "wifi-reset", ():
                pass
            case _:
                return False
        return True

    def _set_mode(self, setting: Setting) -> None:
        state = self.state
        state.setting = state.resume = setting
        state.electric_until = state.time + ELECTRIC_HOURS * HOUR if setting is Setting.ELECTRIC else math.inf

    def _leave_for(self, days: int) -> None:
        state = self.state
        if state.setting is not Setting.VACATION:
            state.resume = state.setting
        state.setting = Setting.VACATION
        state.vacation_days = days
        state.vacation_until = state.time + days * DAY


def _rise(layers: list[float]) -> None:
    """Let warmer water rise: layers that stand upside down are mixed, their heat is kept."""
    pools: list[tuple[float, int]] = []
    for layer in layers:
        pool = (layer, 1)
        while pools and pools[-1][0] < pool[0] / pool[1]:
            mean, count = pools.pop()
            pool = (pool[0] + mean * count, pool[1] + count)
        pools.append((pool[0] / pool[1], pool[1]))
    layers[:] = [mean for mean, count in pools for _ in range(count)]


def ordinal(time: float) -> int:
    """The day of a time, as `datetime.date.toordinal` counts them."""
    return datetime.fromtimestamp(time, UTC).toordinal()


def _weekday_bit(moment: datetime) -> int:
    """The bit of a day in a week bitfield: Sunday 128, Monday 64 ... Saturday 2."""
    return 128 >> (moment.isoweekday() % 7)


def _due(entry: Mapping[str, int], time: float) -> bool:
    moment = datetime.fromtimestamp(time, UTC)
    at = (entry.get("hour"), entry.get("min"))
    today = entry.get("week", 0) & _weekday_bit(moment)
    return entry.get("enable") == ENABLED and bool(today) and at == (moment.hour, moment.minute)


def _peak(state: HeaterState) -> bool:
    """Whether electricity is dearest now, by the plan."""
    moment = datetime.fromtimestamp(state.time, UTC)
    minute = moment.hour * 60 + moment.minute
    season = [entry for entry in state.tou_plan if entry.get("season", 0) & 1 << (moment.month - 1)]
    dearest = max((entry.get("priceMax", 0) for entry in season), default=0)
    cheapest = min((entry.get("priceMax", 0) for entry in season), default=0)
    for entry in season:
        start = entry.get("startHour", 0) * 60 + entry.get("startMinute", 0)
        end = entry.get("endHour", 0) * 60 + entry.get("endMinute", 0)
        inside = start <= minute <= end if start <= end else minute >= start or minute <= end
        today = entry.get("week", 0) & _weekday_bit(moment)
        if inside and today and entry.get("priceMax", 0) == dearest > cheapest:
            return True
    return False
