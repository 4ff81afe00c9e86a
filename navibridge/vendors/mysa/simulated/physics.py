"""One simulated room with its heater or air conditioner, the thermostat's control of it, and the weather outside.

Pure: no I/O, no clock, no event loop. `Zone.step` lets time pass; whoever owns it sets ``state.mode``,
``state.setpoint`` and the like. Everything is in physical units and in words; how it travels is the business of
`reports`. The same seed and the same steps give the same room.

A room is air that exchanges heat with its walls and with the outside. A baseboard warms the air after a few minutes, a
heated floor after hours, an air conditioner at once. The thermostat decides once in half a minute how large a part of
the next half minute the heater is on (`docs/protocol/mysa.md` 5.2: on and off times of a record add up to 30 s): by a
relay, which is on first and off then, or by a triac, which lets a part of the current through all the time. Its own
electronics warm the sensor by 2 to 4 K (8.7), so that it knows a raw and a calibrated temperature.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

DAY: Final = 86_400.0
HOUR: Final = 3_600.0
PERIOD: Final = 30.0  # seconds between two decisions of the thermostat
LONGEST_STEP: Final = 5.0  # seconds; what longer steps are divided into
LEAST_DUTY, MOST_DUTY = 0.04, 0.96  # a relay is not switched for less than a second
LOCAL_NOON: Final = 16.0  # hour of UTC at which it is noon in the simulated house
DRAUGHT_LASTS: Final = 900.0  # seconds
DRAUGHT: Final = 120.0  # W; doors that open and close, a kettle, a cat on the sill
BLANK: Final = 0.5  # kelvin around its target within which an air conditioner on "auto" does nothing


class Weather:
    """A cold, partly sunny season that never ends.

    Args:
        seed: whatever distinguishes it from other weather.
    """

    def __init__(self, seed: str) -> None:
        chance = random.Random(seed)  # noqa: S311 - weather needs no cryptography
        self._fronts = [(chance.uniform(1.4, 4.8) * DAY, chance.uniform(0, math.tau)) for _ in range(3)]

    def outside(self, time: float) -> float:
        """The temperature outside, °C."""
        daily = 4.0 * math.cos(math.tau * (time / DAY - (LOCAL_NOON + 2.5) / 24))
        return 1.0 + daily + sum(1.3 * math.sin(math.tau * time / period + phase) for period, phase in self._fronts)

    def sun(self, time: float) -> float:
        """How strongly the sun shines in: 0 at night, up to 1."""
        height = math.cos(math.tau * (time / DAY - LOCAL_NOON / 24)) - 0.35
        period, phase = self._fronts[0]
        clouds = 0.55 + 0.45 * math.sin(math.tau * time / (period / 5) + phase)
        return max(height, 0.0) / 0.65 * clouds

    def vapour(self, time: float) -> float:
        """Water in the air outside, g/m³."""
        return 0.8 * saturated(self.outside(time))


@dataclass(frozen=True, slots=True)
class Room:
    """What a room and its heating are made of.

    Attributes:
        heater: how heat comes in.
        watts: of the heater, or the most that an air conditioner gives or takes.
        loss: W/K to the outside.
        air: J/K of the air and what is in the room.
        walls: J/K of what the air exchanges heat with.
        exchange: W/K between air and walls.
        gains: W of people and appliances.
        window: W of full sunshine.
        triac: whether it lets a part of the current through, rather than switching all of it.
        electronics: kelvin that its heat sink is warmer than the room at full load, beyond what it is at none.
    """

    heater: str = "baseboard"  # or "floor", "air_conditioner"
    watts: float = 1500.0
    loss: float = 26.0
    air: float = 260e3
    walls: float = 3.0e6
    exchange: float = 90.0
    gains: float = 60.0
    window: float = 220.0
    triac: bool = False
    electronics: float = 12.0


@dataclass(slots=True)
class ZoneState:
    """The truth about one room and its thermostat; tests compare with it what arrives at the far end.

    Attributes:
        time: the room's own, seconds since the epoch.
        air: temperature of the air, °C.
        walls: of the walls, °C.
        surface: of the baseboard's fins or of the floor, °C.
        outside: °C.
        vapour: water in the air, g/m³.
        heat_sink: of the thermostat's electronics, °C.
        mode: Home Assistant's word.
        setpoint: °C.
        tracked: the sensor that an in-floor thermostat goes by: ``floor`` or ``ambient``.
        climate_plus: whether an air conditioner is regulated by the thermostat's own sensor.
        fan: code of the fan speed.
        swing: code of the vertical vane's position.
        swing_horizontal: code of the horizontal vane's position.
        duty: part of the time that the thermostat wants the heater to be on, 0 to 1.
        relay: whether the heater is on now.
        voltage: of the line, V.
        heat: W that come into the room, negative when it is cooled.
        energy: Wh used since the beginning.
        switched: how often the relay went on.
    """

    time: float
    air: float
    walls: float
    surface: float
    outside: float
    vapour: float
    heat_sink: float
    mode: str = "heat"
    setpoint: float = 20.5
    tracked: str = "floor"
    climate_plus: bool = False
    fan: int = 1
    swing: int = 3
    swing_horizontal: int = 3
    duty: float = 0.0
    relay: bool = False
    voltage: float = 240.0
    heat: float = 0.0
    energy: float = 0.0
    switched: int = 0

    @property
    def humidity(self) -> float:
        """Relative humidity, %."""
        return min(max(100 * self.vapour / saturated(self.air), 5.0), 99.0)

    @property
    def sensor(self) -> float:
        """What the raw sensor says, °C: it sits beside the electronics."""
        return self.air + 1.4 + 0.1 * max(self.heat_sink - self.air, 0.0)


class Zone:
    """A room that lives: `step` it, set its state, look at it.

    Args:
        room: what it is made of.
        weather: outside.
        time: its own clock at the start, seconds since the epoch.
        mode: see `ZoneState`.
        setpoint: see `ZoneState`.
        seed: whatever distinguishes it from its neighbours.

    Attributes:
        state: the truth; a test may set what it likes.
        frozen: while true, `step` changes nothing.
    """

    def __init__(
        self, room: Room, weather: Weather, *, time: float, mode: str = "heat", setpoint: float = 20.5, seed: str = "0"
    ) -> None:
        self.room = room
        self.frozen = False
        self._weather = weather
        self._random = random.Random(seed)  # noqa: S311 - rooms need no cryptography
        self._phase = self._random.uniform(0, PERIOD)
        self._line = self._random.uniform(236.5, 242.5)
        self._draught = 0.0
        self._on_seconds = 0.0
        self._seconds = 0.0
        outside = weather.outside(time)
        off = mode == "off"
        # As it would be after some hours: otherwise every first minute would show a house that was just built.
        air = setpoint + self._random.uniform(-0.3, 0.3) if not off else 17.0 + self._random.uniform(-1, 1)
        needed = 0.0 if off else min(max((room.loss * (air - outside) - room.gains) / room.watts, 0.0), 1.0)
        if room.heater == "floor":
            air -= needed * room.watts / self._emission
        self._integral = needed
        self.state = ZoneState(
            time=time,
            air=air,
            walls=air - 0.4,
            surface=air + (needed * room.watts / self._emission if room.heater != "air_conditioner" else 0.0),
            outside=outside,
            vapour=weather.vapour(time) + 3.0,
            heat_sink=air + 8 + room.electronics * needed,
            mode=mode,
            setpoint=setpoint,
            voltage=self._line,
            heat=needed * room.watts,
        )
        self._decide()
        self._switch()

    # -- what it is like -----------------------------------------------------------------------------------------

    @property
    def tracked(self) -> float:
        """The temperature that the thermostat goes by, °C."""
        floor = self.room.heater == "floor" and self.state.tracked == "floor"
        return self.state.surface if floor else self.state.air

    @property
    def on_current(self) -> float:
        """A, of the heater while it is on."""
        return 0.0 if self.room.heater == "air_conditioner" else self.state.voltage / self._resistance

    @property
    def current(self) -> float:
        """A, flowing now."""
        return self.on_current * self._share

    @property
    def power(self) -> float:
        """W, drawn by the heater now."""
        return self.current * self.state.voltage

    @property
    def _resistance(self) -> float:
        return 240.0**2 / self.room.watts

    @property
    def _share(self) -> float:
        """The part of the current that is let through now."""
        if self.room.triac:
            return self.state.duty
        return 1.0 if self.state.relay else 0.0

    @property
    def _emission(self) -> float:
        """W that the heater's surface gives off for each kelvin it is warmer than the air."""
        return {"baseboard": 25.0, "floor": 85.0}.get(self.room.heater, 1.0)

    @property
    def _surface_capacity(self) -> float:
        return {"baseboard": 7.5e3, "floor": 320e3}.get(self.room.heater, 1.0)

    def take_interval(self) -> tuple[float, float]:
        """Seconds that the heater was on since this was last asked, and seconds that have passed since."""
        taken = self._on_seconds, self._seconds
        self._on_seconds = self._seconds = 0.0
        return taken

    # -- time ----------------------------------------------------------------------------------------------------

    def step(self, seconds: float) -> None:
        """Let time pass."""
        if self.frozen:
            return
        while seconds > 0:
            part = min(seconds, LONGEST_STEP, self._until_switch())
            self._short_step(part)
            seconds -= part

    def _until_switch(self) -> float:
        """Seconds until the relay may change."""
        end = PERIOD - self._phase
        turn = self.state.duty * PERIOD - self._phase
        return turn if 0 < turn < end else end

    def _short_step(self, seconds: float) -> None:
        state, room = self.state, self.room
        state.time += seconds
        state.outside = self._weather.outside(state.time)
        state.voltage = self._line + 1.5 * math.sin(math.tau * state.time / 5_400) + self._random.gauss(0, 0.2)
        if room.heater == "air_conditioner":
            self._run_unit(seconds)
        else:
            self._run_heater(seconds)
        self._exchange(seconds)
        self._moisten(seconds)
        load = state.duty if state.mode != "off" else 0.0
        _approach(state, "heat_sink", state.air + 8 + room.electronics * load, seconds / 400)
        self._seconds += seconds
        self._phase += seconds
        if self._phase >= PERIOD - 1e-6:
            self._phase = 0.0
            self._decide()
        self._switch()

    def _run_heater(self, seconds: float) -> None:
        state = self.state
        self._on_seconds += seconds * self._share
        state.energy += self.power * seconds / HOUR
        given = self._emission * (state.surface - state.air)
        state.surface += (self.power - given) * seconds / self._surface_capacity
        state.heat = given

    def _run_unit(self, seconds: float) -> None:
        """An air conditioner modulates by itself; the thermostat only tells it what to aim at."""
        state, most = self.state, self.room.watts
        # Its own sensor hangs below the ceiling, where it is warmer.
        missing = state.setpoint - (state.air if state.climate_plus else state.air + 0.4)
        wanted = 2_500.0 * missing
        if state.mode in ("off", "fan_only") or (state.mode == "auto" and abs(missing) < BLANK):
            wanted = 0.0
        elif state.mode == "heat":
            wanted = min(max(wanted, 0.0), most)
        elif state.mode == "cool":
            wanted = max(min(wanted, 0.0), -most)
        elif state.mode == "dry":
            wanted = -350.0
        _approach(state, "heat", min(max(wanted, -most), most), seconds / 90)
        state.energy += (abs(state.heat) / 3.2 + (25 if state.mode != "off" else 0)) * seconds / HOUR

    def _exchange(self, seconds: float) -> None:
        state, room = self.state, self.room
        to_walls = room.exchange * (state.air - state.walls)
        gained = room.gains + room.window * self._weather.sun(state.time)
        self._draught -= self._draught * seconds / DRAUGHT_LASTS
        self._draught += self._random.gauss(0, DRAUGHT * math.sqrt(2 * seconds / DRAUGHT_LASTS))
        lost = room.loss * (state.air - state.outside) + self._draught
        state.air += (state.heat + gained - lost - to_walls) * seconds / room.air
        state.walls += to_walls * seconds / room.walls

    def _moisten(self, seconds: float) -> None:
        state = self.state
        indoors = 3.0 + 0.8 * math.sin(math.tau * state.time / (0.43 * DAY))
        # More would condense on the windows.
        target = min(self._weather.vapour(state.time) + indoors, 0.8 * saturated(state.air))
        if state.mode == "dry" or (state.mode == "cool" and state.heat < 0):
            target *= 0.6
        _approach(state, "vapour", target, seconds / (2 * HOUR))

    # -- the thermostat ------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        """The duty of the next period, from what is missing now and what has been missing so far."""
        state = self.state
        if state.mode != "heat" or self.room.heater == "air_conditioner":
            state.duty = 0.0
            return
        missing = state.setpoint - self.tracked
        duty = 0.45 * missing + self._integral
        if 0 < duty < 1:  # what it can not make up for must not pile up
            self._integral = min(max(self._integral + missing * PERIOD / 4_000, 0.0), 1.0)
        state.duty = _tidied(duty)

    def _switch(self) -> None:
        state = self.state
        on = state.mode == "heat" and self._phase < state.duty * PERIOD - 1e-6
        if on and not state.relay:
            state.switched += 1
        state.relay = on

    def obey(self) -> None:
        """Act on changed settings at once, as the thermostat does when it is touched."""
        self._phase = 0.0
        self._decide()
        self._switch()


def saturated(celsius: float) -> float:
    """Water that air can hold, g/m³ (Magnus)."""
    pressure = 610.94 * math.exp(17.625 * celsius / (celsius + 243.04))
    return pressure / (461.5 * (celsius + 273.15)) * 1000


def _tidied(duty: float) -> float:
    if duty < LEAST_DUTY:
        return 0.0
    return 1.0 if duty > MOST_DUTY else duty


def _approach(state: ZoneState, name: str, target: float, part: float) -> None:
    value = getattr(state, name)
    setattr(state, name, value + (target - value) * min(part, 1.0))
