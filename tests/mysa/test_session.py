"""A Mysa session and the simulated cloud: real REST, real WebSockets, no bridge."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from support.home import Home
from support.relay import Relay
from support.waiting import until

from navibridge import vendors
from navibridge.config import DeviceSettings
from navibridge.demo.cloud import SimulatedCloud
from navibridge.errors import AuthError, CommandError, LinkError
from navibridge.model import Confirmed, Found, Gone, LinkDown, LinkUp, Presence, Reading, ReadOnly
from navibridge.store import Store
from navibridge.vendors.mysa import Settings
from navibridge.vendors.mysa.session import MysaSession, Timing
from navibridge.vendors.mysa.simulated.cloud import (
    MODELS,
    MysaCloud,
    RestFault,
    cognito_fault,
    is_start_publishing,
    simulator,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from navibridge.vendors.mysa.simulated.thermostat import Thermostat

V1, V2, LITE, IN_FLOOR, AC, AC_2 = MODELS
QUICK = {"quiet": 0.0, "answer": (0.0, 0.02), "status": 0.2, "rest": (0.0, 0.02), "flush": (0.0, 0.02)}
TIMING = Timing(listing=60.0, listing_again=0.1, asking=0.0, firmware_first=3600.0, saving=3600.0)


class Street:
    """A simulated cloud, and homes that use it; each home keeps the same store."""

    def __init__(self, sim: MysaCloud, cloud: SimulatedCloud, directory: Path) -> None:
        self.sim = sim
        self.cloud = cloud
        self.directory = directory
        self._homes: list[Home] = []

    @property
    def account(self) -> Any:
        return next(iter(self.sim.accounts.values()))

    @property
    def thermostat(self) -> Thermostat:
        return next(iter(self.sim.thermostats.values()))

    def connections(self) -> int:
        return len(self.cloud.broker("mysa").clients)

    def subscriptions(self) -> list[int]:
        """How many each connection has."""
        broker = self.cloud.broker("mysa")
        return [len(broker.subscriptions(client_id)) for client_id in broker.clients]

    def sent(self, number: int) -> list[dict[str, Any]]:
        """The messages with that number that arrived at the devices."""
        messages = [json.loads(payload) for _, payload in self.sim.received_messages]
        return [message for message in messages if number in (message.get("MsgType"), message.get("msg"))]

    def home(
        self,
        *,
        timing: Timing = TIMING,
        rated_watts: float | None = None,
        answer_timeout: float = 5.0,
        poll_interval: float = 60.0,
        chance: float = 0.0,
        **changes: Any,
    ) -> Home:
        section = self.sim.account(self.cloud.host, self.cloud.port, self.cloud.ca_file)
        # Checked settings first; times too short for a real account afterwards.
        settings = Settings.model_validate(section).model_copy(update={"poll_interval": poll_interval, **changes})
        counts: Counter[str] = Counter()
        context = vendors.Context(
            "home",
            Store(self.directory),
            time.time,
            lambda name: counts.update((name,)),
            device_settings=lambda _: DeviceSettings(rated_watts=rated_watts),
            answer_timeout=answer_timeout,
        )
        home = Home(MysaSession(settings, context, timing=timing, chance=lambda: chance), counts)
        self._homes.append(home)
        home.start()
        return home

    async def close(self) -> None:
        for home in self._homes:
            await home.stop()


@asynccontextmanager
async def street(directory: Path, *models: str, **options: Any) -> AsyncIterator[Street]:
    sim = simulator(len(models), models=models or (V2,), **QUICK | options)
    async with SimulatedCloud((sim,)) as cloud:
        made = Street(sim, cloud, directory)
        try:
            yield made
        finally:
            await made.close()
    assert sim.pairing == (), "a thermostat was told to leave the network"


def seen(home: Home, device_id: str) -> dict[str, Any]:
    """The newest value of each attribute, as the core would have it."""
    values: dict[str, tuple[float, Any]] = {}
    for reading in home.of(Reading, device_id):
        for key, value in reading.values.items():
            if reading.at >= values.get(key, (0.0, None))[0]:
                values[key] = (reading.at, value)
    return {key: value for key, (_, value) in values.items()}


def sources(home: Home, device_id: str) -> set[str]:
    return {reading.source for reading in home.of(Reading, device_id)}


# --- start ------------------------------------------------------------------------------------------------------------


async def test_from_sign_in_to_live_values_of_every_model(tmp_path: Path) -> None:
    async with street(tmp_path, *MODELS) as it:
        home = it.home()
        await home.up()
        ids = list(it.sim.thermostats)
        announced = [event.device.id for event in home.events if isinstance(event, Found)]
        assert announced == ids, "each once"
        assert home.events.index(home.of(LinkUp)[0]) > max(home.events.index(found) for found in home.of(Found))
        for device_id in ids:
            await home.reading(
                0, lambda reading, device_id=device_id: (reading.device_id, reading.source) == (device_id, "push")
            )
            assert home.presence(device_id) is True
            first = next(event for event in home.events if getattr(event, "device_id", None) == device_id)
            assert first.source == "poll", "what the REST service knows comes first"
        assert list(it.sim.requests)[:2] == ["InitiateAuth", "RespondToAuthChallenge"]
        assert set(it.sim.requests) == {
            *("InitiateAuth", "RespondToAuthChallenge", "GetId", "GetCredentialsForIdentity"),
            *("/devices", "/devices/state", "/devices/firmware", "/users"),
        }
        assert [message["Device"] for message in it.sent(11)] == ids
        assert it.connections() == 1
        assert it.subscriptions() == [2 * len(ids)]


async def test_a_restart_needs_no_sign_in(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        for _ in range(3):
            home = it.home()
            await home.up()
            await home.stop()
        assert it.sim.requests.count("InitiateAuth") == 1


async def test_an_account_without_devices_is_online_and_finds_the_first(tmp_path: Path) -> None:
    async with street(tmp_path) as it:
        home = it.home(poll_interval=0.1, timing=Timing(listing=0.1, listing_again=0.05))
        await home.up()
        assert not home.devices
        device = it.sim.add_thermostat(V1)
        await home.reading(0, lambda reading: (reading.device_id, reading.source) == (device.id, "push"))


async def test_more_devices_than_one_connection_may_serve(tmp_path: Path) -> None:
    async with street(tmp_path, *(MODELS * 10)) as it:
        home = it.home()
        await home.up()
        for device_id in it.sim.thermostats:
            await home.reading(
                0, lambda reading, device_id=device_id: (reading.device_id, reading.source) == (device_id, "push")
            )
        assert sorted(it.subscriptions()) == [20, 50, 50]


async def test_wrong_password_and_no_service(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        it.account.set_password("another")
        it.account.password = "the old one"
        error = await it.home().ended()
        assert isinstance(error, AuthError)
        assert error.reason == "wrong_password"
        it.account.set_password("right")
        it.sim.rest_faults["/devices"] = RestFault.outage()
        error = await it.home().ended()
        assert isinstance(error, LinkError)
        assert error.reason == "service"


async def test_what_the_service_can_do_without(tmp_path: Path) -> None:
    async with street(tmp_path, LITE) as it:
        it.sim.rest_faults["/users"] = RestFault(500, {"message": "out of order"})
        it.sim.rest_faults["/devices/firmware"] = RestFault(404, {"message": "none"})
        it.sim.rest_manners.list_form = True
        home = it.home()
        await home.up()
        await home.session.send(home.device(), {"target_temperature": 9.5})
        assert it.sim.received_commands[-1].message["src"]["ref"] == it.account.user_id, "as the token tells it"


# --- the two paths ----------------------------------------------------------------------------------------------------


async def test_the_rest_service_never_undoes_a_command(tmp_path: Path) -> None:
    async with street(tmp_path, V2, rest=(0.6, 0.6)) as it:
        home = it.home(poll_interval=0.05)
        await home.up()
        await home.reading(0, lambda reading: reading.source == "push")
        since = len(home.events)
        assert await home.session.send(home.device(), {"target_temperature": 25.0}) == {"target_temperature": 25.0}
        asked = it.sim.requests.count("/devices/state")
        await until(lambda: it.sim.requests.count("/devices/state") > asked + 5)
        told = [
            event.values["target_temperature"]
            for event in home.events[since:]
            if isinstance(event, Reading) and "target_temperature" in event.values
        ]
        assert told
        assert set(told) == {25.0}


async def test_what_was_held_back_is_told_when_it_is_believed_again(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(poll_interval=0.05, timing=replace(TIMING, hold=0.3))
        await home.up()
        await home.session.send(home.device(), {"mode": "off"})
        await home.reading(0, lambda reading: reading.source == "poll" and reading.values.get("mode") == "off")


def test_a_session_in_a_hurry_waits_for_everything_less_long() -> None:
    slow, quick = Timing(), Timing().at(50)
    assert (slow.hold, quick.hold, quick.listing) == (90.0, 1.8, 6.0)
    assert all(getattr(quick, item.name) == getattr(slow, item.name) / 50 for item in fields(Timing))


async def test_an_unchanged_state_is_no_news(tmp_path: Path) -> None:
    async with street(tmp_path, V1) as it:
        home = it.home(poll_interval=0.02)
        await home.up()
        await until(lambda: it.sim.requests.count("/devices/state") > 20)
        polls = [reading for reading in home.of(Reading) if reading.source == "poll"]
        assert len(polls) <= 3, "one for each time of observation"


async def test_the_rest_service_is_asked_soon_after_devices_speak_anew(tmp_path: Path) -> None:
    async with street(tmp_path, V2, status=0.05) as it:
        home = it.home(timing=replace(TIMING, settling=0.3, silence=0.5))
        await home.up()
        await home.reading(0, lambda reading: reading.source == "push")
        asked = it.sim.requests.count("/devices/state")
        await until(lambda: it.sim.requests.count("/devices/state") == asked + 1)
        await until(lambda: home.of(Confirmed, it.thermostat.id))
        assert "mode" in home.of(Confirmed, it.thermostat.id)[-1].values
        spoke = len(home.of(Reading))
        await until(lambda: len(home.of(Reading)) > spoke + 12)
        assert it.sim.requests.count("/devices/state") == asked + 1, "it went on without a break"
        it.thermostat.faults.silent = True
        await until(lambda: time.time() - home.of(Reading)[-1].at > 0.6)
        it.thermostat.faults.silent = False
        await until(lambda: it.sim.requests.count("/devices/state") == asked + 2)


async def test_devices_that_speak_rarely_do_not_have_the_rest_service_asked_each_time(tmp_path: Path) -> None:
    async with street(tmp_path, V2, status=0.1) as it:
        home = it.home(timing=replace(TIMING, settling=0.05, silence=0.02, listing_again=0.5))
        await home.up()
        begin, asked = time.monotonic(), it.sim.requests.count("/devices/state")
        await until(lambda: it.sim.requests.count("/devices/state") == asked + 3)
        assert time.monotonic() - begin > 1.0


async def test_a_look_that_was_brought_forward_in_an_earlier_attempt_is_none_of_the_next(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(timing=replace(TIMING, settling=0.0))
        await home.up()
        await until(lambda: it.sim.requests.count("/devices/state") > 1 and home.session._next_look is not None)
        await home.stop()
        home.session._look_soon()


async def test_the_links_go_on_without_the_rest_service(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with street(tmp_path, V2) as it:
        home = it.home(poll_interval=0.5)
        await home.up()
        it.sim.rest_faults["*"] = RestFault.outage()
        await until(lambda: any("does not answer for now" in record.message for record in caplog.records))
        since = len(home.events)
        await home.reading(since, lambda reading: reading.source == "push")
        assert await home.session.send(home.device(), {"target_temperature": 22.0})
        assert home.end is None
        it.cloud.faults.refuse_upgrade = 503
        it.cloud.drop_all()
        error = await home.ended()
        assert isinstance(error, LinkError)
        assert error.reason == "service", "with both paths gone the attempt is over"
        assert home.of(LinkDown)
        it.cloud.faults.refuse_upgrade = None
        since = len(home.events)
        home.start()
        await home.reading(since, lambda reading: reading.source == "push")
        assert any(isinstance(event, LinkUp) for event in home.events[since:]), "the next one does without REST"
        assert await home.session.send(home.device(), {"target_temperature": 23.0})


async def test_an_account_that_no_websocket_lets_in_is_read_all_the_same(tmp_path: Path) -> None:
    async with street(tmp_path, LITE, record=0.1) as it:
        it.account.realtime = False
        home = it.home(poll_interval=0.1)
        await until(lambda: home.of(ReadOnly))
        assert not home.of(LinkUp)
        said = home.of(ReadOnly)[0]
        assert said.reason == "no_realtime"
        assert "commands have to wait" in said.detail
        with pytest.raises(LinkError):
            await home.session.send(home.device(), {"target_temperature": 10.0})
        since = len(home.events)
        await home.reading(since, lambda reading: reading.source == "poll")
        assert home.end is None
        it.account.realtime = True
        await home.up()
        assert await home.session.send(home.device(), {"target_temperature": 10.0})


async def test_devices_come_are_renamed_and_go(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(poll_interval=0.05, timing=Timing(listing=0.05, listing_again=0.05))
        await home.up()
        second = it.sim.add_thermostat(AC)
        await home.reading(0, lambda reading: (reading.device_id, reading.source) == (second.id, "push"))
        second.listed["Name"] = "A/B #1 +"
        await until(lambda: home.devices[second.id].name == "A/B #1 +")
        it.sim.remove(second.id)
        await until(lambda: home.of(Gone))
        assert home.of(Gone) == [Gone(second.id)]
        with pytest.raises(LinkError):
            await home.session.send(home.devices[second.id], {"mode": "off"})
        assert home.end is None
        assert not home.of(LinkDown)


async def test_a_device_that_lacks_everything_but_its_id(tmp_path: Path) -> None:
    async with street(tmp_path, V1) as it:
        it.thermostat.faults.absent_from_state = True
        it.thermostat.listed.pop("Name")
        home = it.home()
        await home.up()
        assert home.device().name == it.thermostat.id
        reading = await home.reading(0)
        assert reading.source == "push"


async def test_central_hvac_is_listed_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with street(tmp_path, V2, "ST-V1-0") as it:
        home = it.home()
        await home.up()
        central = list(it.sim.thermostats)[1]
        assert sum("central HVAC" in record.message for record in caplog.records) == 1
        assert it.subscriptions() == [2]
        with pytest.raises(CommandError, match="central HVAC"):
            await home.session.send(home.devices[central], {"mode": "off"})
        await home.session.ask(home.devices[central])
        assert it.sim.requests.count(f"/devices/state/{central}") == 1


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_buttons_are_seen_at_once(tmp_path: Path) -> None:
    async with street(tmp_path, V1, status=60.0) as it:
        home = it.home()
        await home.up()
        await home.reading(0, lambda reading: reading.source == "push")
        since = len(home.events)
        it.thermostat.press(setpoint=23.5, mode="off")
        await home.reading(since, lambda reading: reading.values.get("target_temperature") == 23.5)
        assert seen(home, it.thermostat.id)["mode"] == "off"
        assert sources(home, it.thermostat.id) == {"poll", "push"}


async def test_strange_messages_are_counted_and_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with street(tmp_path, IN_FLOOR) as it:
        home = it.home()
        await home.up()
        faults = it.thermostat.faults
        faults.truncated = True
        await until(lambda: home.counts["frame_errors"] >= 3)
        assert sum("was dropped" in record.message for record in caplog.records) == 1, "once per sort"
        faults.truncated = False
        faults.unknown_messages = True
        await until(lambda: home.counts["unknown_frames"])
        since = len(home.events)
        await home.reading(since, lambda reading: reading.source == "push")
        assert home.end is None


async def test_a_device_that_boots_is_asked_again_and_tells_its_firmware(tmp_path: Path) -> None:
    async with street(tmp_path, V2, status=60.0) as it:
        it.sim.timing.boot = (0.0, 0.0)
        home = it.home()
        await home.up()
        await until(lambda: len(it.sent(11)) == 1)
        it.thermostat.firmware = "3.18.0.1"
        it.thermostat.boot()
        await until(lambda: len(it.sent(11)) >= 2)
        await until(lambda: home.device().firmware == "3.18.0.1")


async def test_presence(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(poll_interval=0.05)
        await home.up()
        await home.reading(0, lambda reading: reading.source == "push")
        device = it.thermostat
        asked = it.sim.requests.count("/devices/state")
        device.faults.connected = False
        await until(lambda: it.sim.requests.count("/devices/state") > asked + 2)
        assert home.presence(device.id) is True, "its own words outrank what the cloud thought before"
        device.faults.connected = None
        it.sim.unplug(device.id)
        await until(lambda: home.presence(device.id) is False)
        assert "not connected" in home.of(Presence)[-1].reason
        it.sim.timing.boot = (0.0, 0.0)
        it.sim.plug_in(device.id)
        await until(lambda: home.presence(device.id) is True)


async def test_newer_firmware_is_noticed(tmp_path: Path) -> None:
    async with street(tmp_path, V2, LITE) as it:
        it.thermostat.allowed_firmware = "9.9.9.9"
        second = list(it.sim.thermostats.values())[1]
        second.firmware = None
        home = it.home(timing=Timing(firmware_first=0.0, firmware_apart=0.0))
        await home.up()
        reading = await home.reading(0, lambda reading: "firmware_latest" in reading.values)
        assert reading.device_id == it.thermostat.id
        assert (reading.values["firmware_latest"], reading.values["update_available"]) == ("9.9.9.9", True)
        await until(lambda: it.sim.requests.count(f"/devices/update_available/{second.id}"))
        assert home.end is None


# --- batches and energy -----------------------------------------------------------------------------------------------


async def test_batches_tell_what_live_messages_can_not(tmp_path: Path) -> None:
    async with street(tmp_path, V2, status=60.0) as it:
        home = it.home()
        await home.up()
        device = it.thermostat
        device.flush()
        await home.reading(0, lambda reading: reading.source == "batch" and "heating_current" in reading.values)
        batch = [reading for reading in home.of(Reading) if reading.source == "batch"]
        times = [reading.at for reading in batch]
        assert times == sorted(times)
        assert times[0] < time.time() - 20, "with the time of its measurement"
        told = [reading.values["energy"] for reading in batch if "energy" in reading.values]
        assert len(told) == 1
        assert told[0] > 0
        assert {"power", "energy", "current", "heating_current"} <= {row.key for row in home.device().attributes}


async def test_a_batch_that_comes_late_or_twice(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        device = it.thermostat
        device.faults.late_batches = 0.5
        device.faults.duplicate_batches = True
        home = it.home()
        await home.up()
        device.flush()
        live = await home.reading(0, lambda reading: reading.source == "push")
        await home.reading(0, lambda reading: reading.source == "batch")
        since = len(home.events)
        frames = home.counts["frames"]
        await until(lambda: home.counts["frames"] > frames + 2)
        assert not [event for event in home.events[since:] if isinstance(event, Reading) and event.source == "batch"][
            3:
        ]
        batch = [reading for reading in home.of(Reading) if reading.source == "batch"]
        ambient = [reading for reading in batch if "current_temperature" in reading.values]
        assert len({reading.at for reading in ambient}) == len(ambient), "each record once"
        assert max(reading.at for reading in ambient) < live.at, "so that fresher values stay"


async def test_a_device_whose_clock_is_ahead_does_not_outlive_its_own_words(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        device = it.thermostat
        device.faults.clock_offset = 3600.0
        home = it.home()
        await home.up()
        await home.reading(0, lambda reading: reading.source == "push")
        since = len(home.events)
        device.press(setpoint=27.5)
        await home.reading(since, lambda reading: reading.values.get("target_temperature") == 27.5)
        device.flush()
        await home.reading(since, lambda reading: reading.source == "batch")
        batch = [reading for reading in home.of(Reading) if reading.source == "batch"]
        assert all(reading.at <= time.time() + 1 for reading in batch)
        assert seen(home, device.id)["target_temperature"] == 27.5


async def test_damaged_records_are_left_out(tmp_path: Path) -> None:
    async with street(tmp_path, V2, status=60.0) as it:
        it.thermostat.faults.bad_checksums = True
        home = it.home()
        await home.up()
        it.thermostat.flush()
        await until(lambda: home.counts["damaged_batches"])
        assert home.end is None


async def test_energy_is_counted_live_and_kept_over_a_restart(tmp_path: Path) -> None:
    async with street(tmp_path, LITE, speed=20.0) as it:
        it.thermostat.state.setpoint = 30.0
        home = it.home(rated_watts=90_000.0)
        await home.up()
        reading = await home.reading(0, lambda reading: reading.values.get("energy", 0) > 0)
        await home.stop()
        again = it.home(rated_watts=90_000.0)
        await again.up()
        first = next(reading for reading in again.of(Reading) if "energy" in reading.values)
        assert first.values["energy"] >= reading.values["energy"]
        assert first.source == "poll", "told at once"


async def test_the_counter_agrees_with_what_the_heater_really_used(tmp_path: Path) -> None:
    async with street(tmp_path, V2, record=1.0, batch_minutes=0.02) as it:
        device = it.thermostat
        device.state.setpoint = 30.0
        home = it.home()
        await home.up()
        counter = "energy"
        await home.reading(0, lambda reading: reading.source == "batch" and reading.values.get(counter, 0) > 0)
        counted, used = seen(home, device.id)[counter] * 1000, device.state.energy
        await until(lambda: device.state.energy > used + 2.0)
        since = len(home.events)
        await home.reading(since, lambda reading: reading.source == "batch" and counter in reading.values)
        difference = (seen(home, device.id)[counter] * 1000 - counted) - (device.state.energy - used)
        second = 1500 / 3600
        assert abs(difference) < 2 * second, "Wh; the seconds at both ends are not measured yet"


async def test_no_energy_without_any_watts(tmp_path: Path) -> None:
    async with street(tmp_path, LITE, AC) as it:
        home = it.home()
        await home.up()
        for device_id in it.sim.thermostats:
            await home.reading(
                0, lambda reading, device_id=device_id: (reading.device_id, reading.source) == (device_id, "push")
            )
            assert not {"energy", "power"} & {row.key for row in home.devices[device_id].attributes}
            assert "energy" not in seen(home, device_id)


# --- commands ---------------------------------------------------------------------------------------------------------


async def test_a_command_and_its_answer(tmp_path: Path) -> None:
    async with street(tmp_path, *MODELS) as it:
        home = it.home()
        await home.up()
        before = time.time()
        for number, (device_id, thermostat) in enumerate(it.sim.thermostats.items()):
            target = 20.0 + number
            confirmed = await home.session.send(home.devices[device_id], {"target_temperature": target})
            assert confirmed == {"target_temperature": target}
            assert thermostat.state.setpoint == target
        commands = list(it.sim.received_commands)
        assert [command.body_type for command in commands] == [1, 4, 5, 3, 2, 2]
        ids = [command.sent_id for command in commands]
        assert ids == sorted(set(ids))
        assert all(before * 1000 - 1 <= sent_id <= time.time() * 1000 + 1 for sent_id in ids if sent_id is not None)
        assert {command.message["src"]["ref"] for command in commands} == {it.account.user_id}
        await home.reading(0, lambda reading: reading.source == "ack")


async def test_commands_at_the_same_moment_find_their_own_answers(tmp_path: Path) -> None:
    async with street(tmp_path, V2, answer=(0.0, 0.3)) as it:
        home = it.home()
        await home.up()
        targets = [18.0, 19.0, 20.0, 21.0]
        answers = await asyncio.gather(
            *(home.session.send(home.device(), {"target_temperature": target}) for target in targets)
        )
        assert [answer["target_temperature"] for answer in answers] == targets
        ids = [command.sent_id for command in it.sim.received_commands]
        assert len(set(ids)) == 4


async def test_no_answer_a_late_one_and_two(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(answer_timeout=0.3)
        await home.up()
        faults = it.thermostat.faults
        faults.late_acks = 0.5
        unit = home.session._units[it.thermostat.id]
        await until(lambda: unit.heard_since is not None)
        since = unit.heard_since
        with pytest.raises(TimeoutError, match=r"0\.3 s"):
            await home.session.send(home.device(), {"target_temperature": 24.0})
        assert unit.heard_since != since, "what was known before the command may have changed by it"
        await home.reading(0, lambda reading: reading.values.get("lock") is False and reading.source == "push")
        faults.late_acks = 0.0
        faults.double_acks = True
        assert await home.session.send(home.device(), {"target_temperature": 25.0}) == {"target_temperature": 25.0}
        assert unit.waiting == {}
        assert home.end is None


@pytest.mark.parametrize("fault", ["fail_acks", "contradict_acks"])
async def test_a_device_that_says_no(tmp_path: Path, fault: str) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home()
        await home.up()
        setattr(it.thermostat.faults, fault, True)
        with pytest.raises(CommandError) as caught:
            await home.session.send(home.device(), {"target_temperature": 29.0})
        assert caught.value.verdict == "refused"


async def test_an_answer_that_leaves_the_mode_out_confirms_it(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home()
        await home.up()
        it.thermostat.faults.without_mode = True
        assert await home.session.send(home.device(), {"mode": "off"}) == {"mode": "off"}


async def test_settings_are_written_at_the_rest_service_and_the_device_is_told(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home()
        await home.up()
        device = home.device()
        changes = {"lock": True, "brightness_idle": 33, "eco": True, "proximity": False, "display_unit": "fahrenheit"}
        assert await home.session.send(device, changes) == changes
        assert it.thermostat.listed["MinBrightness"] == 33
        assert it.thermostat.listed["Format"] == "fahrenheit"
        await until(lambda: it.sent(6))
        await until(lambda: it.thermostat.panel.locked)
        it.sim.rest_faults[f"/devices/{device.id}"] = RestFault(400, {"message": "no"})
        with pytest.raises(CommandError) as caught:
            await home.session.send(device, {"lock": False})
        assert caught.value.verdict == "refused"
        it.sim.rest_faults[f"/devices/{device.id}"] = RestFault.outage()
        with pytest.raises(TimeoutError):
            await home.session.send(device, {"lock": False})


async def test_a_setting_that_never_came_to_the_service_was_not_refused_by_it(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it, Relay(lambda: (it.cloud.host, it.cloud.port)) as line:
        home = it.home(api_url=f"https://{it.cloud.host}:{line.port}")
        await home.up()
        await line.close()
        with pytest.raises(TimeoutError, match="connection refused"):
            await home.session.send(home.device(), {"lock": True})


async def test_a_question_asks_both_paths(tmp_path: Path) -> None:
    async with street(tmp_path, V2, status=60.0) as it:
        home = it.home()
        await home.up()
        await until(lambda: len(it.sent(11)) == 1)
        await home.session.ask(home.device())
        await until(lambda: len(it.sent(11)) == 2)
        assert it.sim.requests.count(f"/devices/state/{it.thermostat.id}") == 1


async def test_a_question_does_without_the_rest_service(tmp_path: Path) -> None:
    async with street(tmp_path, V2, status=60.0) as it:
        home = it.home()
        await home.up()
        it.sim.rest_faults["*"] = RestFault.outage()
        since = len(home.events)
        await home.session.ask(home.device())
        await home.reading(since, lambda reading: reading.source == "push")


async def test_the_token_after_the_word_bearer(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        error = await it.home(authorization="bearer").ended()
        assert isinstance(error, LinkError)
        assert error.reason == "declined"
        it.sim.rest_manners.bearer = True
        await it.home(authorization="bearer").up()


async def test_nothing_but_the_four_harmless_messages_is_ever_sent(tmp_path: Path) -> None:
    async with street(tmp_path, V2, AC) as it:
        home = it.home()
        await home.up()
        for device in home.devices.values():
            await home.session.ask(device)
            await home.session.send(device, {"target_temperature": 21.0})
            await home.session.send(device, {"lock": True})
        for topic, payload in it.sim.received_messages:
            message = json.loads(payload)
            assert topic.endswith("/in")
            assert message.get("MsgType") in (6, 11) or message.get("msg") == 44
            assert "EchoID" not in message


# --- links that fail --------------------------------------------------------------------------------------------------


async def test_a_lost_link_is_back_in_a_moment_with_everything_asked_again(tmp_path: Path) -> None:
    async with street(tmp_path, V2, V1) as it:
        home = it.home()
        await home.up()
        before = set(it.cloud.broker("mysa").clients)
        asked = len(it.sent(11))
        it.cloud.drop_all()
        await until(lambda: len(home.of(LinkUp)) == 2)
        assert [event.reason for event in home.of(LinkDown)] == ["closed"]
        await until(lambda: len(it.sent(11)) >= asked + 2)
        assert not before & set(it.cloud.broker("mysa").clients), "under a new client id"
        assert it.sim.requests.count("GetCredentialsForIdentity") == 1
        assert await home.session.send(home.device(), {"target_temperature": 21.0})


async def test_an_account_is_read_while_its_lost_link_has_to_wait_for_long(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(poll_interval=0.1, timing=replace(TIMING, moment=1.0), chance=1.0)
        await home.up()
        it.cloud.drop_all()  # and two seconds are to pass before the next attempt
        await until(lambda: home.of(ReadOnly))
        assert [type(event) for event in home.events if isinstance(event, LinkUp | LinkDown | ReadOnly)] == [
            *(LinkUp, LinkDown, ReadOnly),
        ]
        await until(lambda: len(home.of(LinkUp)) == 2)


async def test_a_command_on_its_way_ends_with_the_link(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home()
        await home.up()
        it.thermostat.faults.deaf = True
        sending = asyncio.create_task(home.session.send(home.device(), {"target_temperature": 21.0}))
        await until(lambda: home.session._units[it.thermostat.id].waiting)
        it.cloud.drop_all()
        with pytest.raises(TimeoutError, match="broke"):
            await sending


async def test_expired_credentials_are_renewed_before_a_link_is_opened(tmp_path: Path) -> None:
    async with street(tmp_path, V2, credential_seconds=0.5, token_seconds=1) as it:
        home = it.home()
        await home.up()
        until_expired = time.time() + 1.1
        await until(lambda: time.time() > until_expired)
        assert await home.session.send(home.device(), {"target_temperature": 21.0}), "an open link outlives them"
        it.cloud.drop_all()
        await until(lambda: len(home.of(LinkUp)) == 2)
        assert it.cloud.counts.refused.total() == 0
        assert it.sim.requests.count("RespondToAuthChallenge") == 1


async def test_revoked_credentials_are_replaced(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home()
        await home.up()
        it.sim.revoke_credentials(it.account)
        it.cloud.drop_all()
        await until(lambda: len(home.of(LinkUp)) == 2)
        assert it.sim.requests.count("GetCredentialsForIdentity") == 2


async def test_a_subscription_that_died_silently(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(watchdog=0.5)
        await home.up()
        await home.reading(0, lambda reading: reading.source == "push")
        before = set(it.cloud.broker("mysa").clients)
        it.cloud.faults.stop_delivering = True
        await until(lambda: home.of(LinkDown))
        assert home.of(LinkDown)[0].reason == "silent"
        it.cloud.faults.stop_delivering = False
        await until(lambda: len(home.of(LinkUp)) >= 2)
        since = len(home.events)
        await home.reading(since, lambda reading: reading.source == "push")
        assert not before & set(it.cloud.broker("mysa").clients)


async def test_devices_that_are_off_do_not_alarm_the_watchdog(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        it.thermostat.faults.offline = True
        home = it.home(watchdog=0.1)
        await home.up()
        asked = it.connections()
        await until(lambda: home.presence(it.thermostat.id) is False)
        looks = it.sim.requests.count("/devices/state")
        await home.session.ask(home.device())
        await until(lambda: it.sim.requests.count(f"/devices/state/{it.thermostat.id}") > 0)
        assert it.connections() == asked
        assert not home.of(LinkDown)
        assert looks


async def test_a_storm_of_interruptions_is_met_with_new_credentials(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        it.cloud.faults.close_after_connack = 0.01
        home = it.home()
        await until(lambda: it.sim.requests.count("GetCredentialsForIdentity") >= 2, 20)
        it.cloud.faults.close_after_connack = None
        await until(lambda: home.of(LinkUp), 20)


async def test_nobody_waits_for_the_cloud_to_take_the_request_to_publish(tmp_path: Path) -> None:
    async with street(tmp_path, V2, V1, report=0.3) as it:
        it.cloud.faults.lose = is_start_publishing
        home = it.home()
        await home.up()
        await home.reading(0, lambda reading: reading.source == "push")
        assert await home.session.send(home.device(), {"target_temperature": 21.0})
        assert not it.sent(11)
        assert not home.of(LinkDown)


async def test_devices_are_asked_again_before_they_stop_to_publish(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(publish_timeout=10.1)
        await home.up()
        await until(lambda: len(it.sent(11)) >= 3)
        assert {message["Timeout"] for message in it.sent(11)} == {10}


async def test_a_link_is_replaced_before_its_time_is_up(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        home = it.home(timing=Timing(life=0.5))
        await home.up()
        before = set(it.cloud.broker("mysa").clients)
        await until(lambda: it.connections() and not before & set(it.cloud.broker("mysa").clients))
        assert not home.of(LinkDown)
        since = len(home.events)
        await home.reading(since, lambda reading: reading.source == "push")


async def test_a_filter_that_closes_the_link_is_found_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with street(tmp_path, V2, V1, LITE) as it:
        it.sim.manners.close_on_forbidden = True
        forbidden = list(it.sim.thermostats)[1]
        it.account.devices = _Listed(it.account.devices, without=forbidden)
        home = it.home()
        await until(lambda: home.of(LinkUp), 30)
        assert any(forbidden in record.message and record.levelno == logging.ERROR for record in caplog.records)
        for device in home.devices.values():
            if device.id != forbidden:
                assert await home.session.send(device, {"target_temperature": 20.0})
        with pytest.raises(CommandError, match="keeps this account"):
            await home.session.send(home.devices[forbidden], {"target_temperature": 20.0})


class _Listed(list[str]):
    """Devices that are all listed, and all but one allowed."""

    def __init__(self, ids: list[str], without: str) -> None:
        super().__init__(ids)
        self._without = without

    def __contains__(self, device_id: object) -> bool:
        return device_id != self._without and super().__contains__(device_id)


async def test_the_identity_pool_is_away(tmp_path: Path) -> None:
    async with street(tmp_path, V2) as it:
        it.sim.rest_faults["GetId"] = cognito_fault("InternalErrorException")
        home = it.home()
        await until(lambda: home.of(ReadOnly))
        assert home.end is None
        del it.sim.rest_faults["GetId"]
        await until(lambda: home.of(LinkUp), 20)
