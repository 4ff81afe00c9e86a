from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.home import Home
from support.waiting import until

from navibridge import vendors
from navibridge.demo.cloud import SimulatedCloud
from navibridge.errors import AuthError, CommandError, LinkError, Throttled
from navibridge.model import Found, Gone, LinkUp, Presence, Reading
from navibridge.store import Store
from navibridge.vendors.navilink import Settings, packed
from navibridge.vendors.navilink.codes import Query
from navibridge.vendors.navilink.session import NavilinkSession, Timing
from navibridge.vendors.navilink.simulated.cloud import NavilinkCloud, RestFault, simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from navibridge.vendors.navilink.simulated.heater import HeatPump

QUICK = Timing(
    answer=0.3,
    introduction=1.0,
    settling=0.15,
    retry=0.1,
    listing=60.0,
    listing_offline=0.2,
    features=60.0,
    rarely=60.0,
    saving=60.0,
)


class Neighbourhood:
    """A simulated cloud, and homes that use it; each home called the same keeps its store."""

    def __init__(self, sim: NavilinkCloud, cloud: SimulatedCloud, directory: Path) -> None:
        self.sim = sim
        self.cloud = cloud
        self._directory = directory
        self._homes: list[Home] = []

    @property
    def heater(self) -> HeatPump:
        return next(iter(self.sim.heaters.values()))

    def home(
        self,
        *,
        timing: Timing = QUICK,
        poll_interval: float = 60.0,
        answer_timeout: float = 15.0,
        clock: Callable[[], float] = time.time,
        **changes: Any,
    ) -> Home:
        section = self.sim.account(self.cloud.host, self.cloud.port, self.cloud.ca_file)
        # Checked settings first; times too short for a real account afterwards.
        settings = Settings.model_validate(section).model_copy(update={"poll_interval": poll_interval, **changes})
        counts: Counter[str] = Counter()
        context = vendors.Context(
            "home",
            Store(self._directory),
            clock,
            lambda name: counts.update((name,)),
            answer_timeout=answer_timeout,
        )
        home = Home(NavilinkSession(settings, context, timing=timing), counts)
        self._homes.append(home)
        home.start()
        return home

    async def close(self) -> None:
        for home in self._homes:
            await home.stop()

    def say(self, topic: str, payload: bytes) -> None:
        """Publish as the service does."""
        self.cloud.broker("navilink").publish(topic, payload, qos=1)


@pytest.fixture
def town(tmp_path: Path) -> Callable[..., Any]:
    """Opens a `Neighbourhood` around a simulated cloud with these options."""

    @asynccontextmanager
    async def open_town(devices: int = 1, **options: Any) -> AsyncIterator[Neighbourhood]:
        quick = {"answer": (0.01, 0.02), "notice": (0.02, 0.03), "report": 0.0, "control_interval": 0.0}
        sim = simulator(devices, **{**quick, **options})
        for heater in sim.heaters.values():
            heater.faults.frozen = True  # it speaks only when spoken to
        async with SimulatedCloud([sim]) as cloud:
            neighbourhood = Neighbourhood(sim, cloud, tmp_path)
            try:
                yield neighbourhood
            finally:
                await neighbourhood.close()

    return open_town


Town = "Callable[..., Any]"


# --- starting ---------------------------------------------------------------------------------------------------------


async def test_it_starts(town: Town) -> None:
    async with town(3) as place:
        home = place.home()
        await home.up()
        assert len(home.of(Found)) == 3
        assert isinstance(home.events[-1], LinkUp)
        for mac in place.sim.heaters:
            assert home.presence(mac) is True
            readings = home.of(Reading, mac)
            assert all(reading.source == "poll" for reading in readings)
            values = {key: value for reading in readings for key, value in reading.values.items()}
            assert values["operation_mode"] == "energy_saver"
            assert isinstance(values["current_temperature"], float)
            assert time.time() - readings[-1].at < 5
        device = home.device(place.heater.mac)
        assert (device.vendor, device.model, device.name) == ("navilink", "NWP500 (65 gal)", place.heater.name)
        assert device.serial == "NWP5SIM000000001"
        assert device.attribute("target_temperature").limits is not None
        assert {alert.key for alert in device.alerts} == {"error", "low_charge", "high_power"}
        assert place.sim.requests.count("/user/sign-in") == 1
        assert home.counts["frame_errors"] == 0


async def test_what_is_known_survives_a_restart(town: Town) -> None:
    async with town(2) as place:
        home = place.home()
        await home.up()
        await home.stop()
        for heater in place.sim.heaters.values():
            heater.faults.silent = True
        place.sim.requests.clear()
        again = place.home()
        await again.up()
        # The same client id, no further sign-in, and every device complete before it said a word.
        assert place.sim.requests.count("/user/sign-in") == 0
        clients = list(place.cloud.broker("navilink").clients)
        assert len(clients) == 1
        assert clients[0].startswith("navibridge-41250-")
        assert {found.device.id for found in again.of(Found)} == set(place.sim.heaters)
        assert again.device(place.heater.mac) == home.device(place.heater.mac)
        assert not again.of(Reading)


async def test_a_device_that_does_not_answer_is_announced_all_the_same(town: Town) -> None:
    async with town(2) as place:
        silent, other = place.sim.heaters.values()
        silent.faults.silent = True
        home = place.home(timing=Timing(introduction=0.3))
        await home.up()
        assert {found.device.id for found in home.of(Found)} == {silent.mac, other.mac}
        assert not home.of(Reading, silent.mac)
        silent.faults.silent = False
        silent.report()
        await home.reading(0, lambda reading: reading.device_id == silent.mac)
        assert home.device(silent.mac).attribute("tank_charge") is not None


async def test_an_offline_device_is_not_waited_for(town: Town) -> None:
    async with town(2) as place:
        away = place.heater
        away.faults.offline = True
        home = place.home(timing=Timing(introduction=60.0))
        await home.up()
        assert home.presence(away.mac) is False
        assert home.of(Presence, away.mac)[-1].reason


@pytest.mark.parametrize("changes", [{"response_topics": "library"}, {"mqtt_protocol": "MQTT5"}])
async def test_the_other_ways_to_speak(town: Town, changes: dict[str, str]) -> None:
    async with town(1) as place:
        home = place.home(**changes)
        await home.up()
        assert (await home.session.send(home.device(), {"target_temperature": 52.0})) == {"target_temperature": 52.0}


async def test_an_empty_account(town: Town) -> None:
    async with town(0) as place:
        home = place.home()
        await home.up()
        assert home.events == [LinkUp()]


# --- polling and pushing ----------------------------------------------------------------------------------------------


async def test_it_polls(town: Town) -> None:
    async with town(2) as place:
        home = place.home(poll_interval=0.2)
        await home.up()
        for mac in place.sim.heaters:
            for _ in range(3):
                await home.reading(
                    len(home.events),
                    lambda reading: reading.device_id == mac and "power" in reading.values,  # noqa: B023 - used at once
                )
        assert {reading.source for reading in home.of(Reading)} == {"poll"}


async def test_rarely_needed_things_are_asked_for(town: Town) -> None:
    async with town(3) as place:
        home = place.home(poll_interval=0.1)
        await home.up()
        keys = {"reservations", "heat_pump_energy_today", "recirculation_entries"}
        await until(lambda: keys <= {key for reading in home.of(Reading) for key in reading.values})
        # And announced, now that they are known to exist.
        announced = {row.key for found in home.of(Found) for row in found.device.attributes}
        assert keys <= announced


async def test_a_new_day_does_not_begin_with_the_energy_of_the_day_before(town: Town) -> None:
    ahead = 0.0
    async with town(1) as place:
        home = place.home(poll_interval=0.1, clock=lambda: time.time() + ahead)
        await home.up()

        def told() -> int:
            return sum("heat_pump_energy_month" in reading.values for reading in home.of(Reading))

        await until(lambda: told() == 1)
        since = len(home.events)
        await home.reading(since, lambda reading: "power" in reading.values)
        assert told() == 1, "once an hour is enough"
        ahead = 86_400.0
        await until(lambda: told() == 2)


async def test_what_a_device_says_by_itself_is_a_push(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        before = len(home.events)
        place.heater.state.setpoint = 55.0
        place.heater.report()
        assert (await home.reading(before)).source == "push"


async def test_ask(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        before = len(home.events)
        await home.session.ask(home.device())
        assert (await home.reading(before)).source == "poll"


async def test_unknown_fields_and_codes_are_handed_on(town: Town) -> None:
    async with town(1) as place:
        place.heater.faults.unknown_keys = place.heater.faults.unknown_enums = True
        home = place.home()
        await home.up()
        reading = await home.reading(0, lambda reading: "ultraQuietUse" in reading.unknown)
        assert reading.unknown["dhwOperationSetting"] == 9
        assert reading.values["operation_mode"] is None


async def test_damaged_frames_are_dropped_counted_and_logged_once(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        topic = f"cmd/52/navilink-{place.heater.mac}/res"
        damaged = (
            b"",
            b"{",
            b'{"response":{"macAddress":"000000000000","status":{"dhwTemperature":100}}}',
            b'{"response":{"channelStatus":{"channelNumber":1,"channel":{}}}}',
            b"\xff" * 40,
            # A binary frame whose prefix is another device's.
            bytes.fromhex("01000003 61316232 0101 0063"),
        )
        for _ in range(2):
            for payload in damaged:
                place.say(topic, payload)
        before = len(home.events)
        place.heater.report()
        await home.reading(before)
        assert home.counts["frame_errors"] == 2 * len(damaged)
        dropped = [record for record in caplog.records if "dropped" in record.getMessage()]
        assert 0 < len(dropped) <= len(damaged)
        assert home.end is None


async def test_requests_of_other_clients_are_not_readings(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        before = len(home.events)
        mac = place.heater.mac
        request = {"clientID": "x", "sessionID": "1", "request": {"command": 33554437, "macAddress": mac, "param": [2]}}
        place.say(f"cmd/52/navilink-{mac}/ctrl", json.dumps(request).encode())
        place.heater.report()
        await home.reading(before)
        assert len(home.events) == before + 1
        assert home.counts["frame_errors"] == 0


# --- commands ---------------------------------------------------------------------------------------------------------


async def test_a_command_is_confirmed_by_the_device(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        before = len(home.events)
        confirmed = await home.session.send(home.device(), {"target_temperature": 52.5})
        assert confirmed == {"target_temperature": 52.5}
        ack = await home.reading(before, lambda reading: reading.source == "ack")
        assert ack.values["target_temperature"] == 52.5
        # A little later it is asked once what came of it.
        await home.reading(before, lambda reading: reading.source == "poll")
        assert [control.mode for control in place.sim.received_controls] == ["dhw-temperature"]


async def test_derived_values_are_confirmed_too(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        assert await home.session.send(home.device(), {"mode": "high_demand"}) == {"mode": "high_demand"}
        assert await home.session.send(home.device(), {"mode": "off"}) == {"mode": "off"}
        # Off, it takes two controls to heat again.
        assert await home.session.send(home.device(), {"mode": "eco"}) == {"mode": "eco"}
        assert [control.mode for control in place.sim.received_controls] == [
            "dhw-mode",
            "power-off",
            "power-on",
            "dhw-mode",
        ]


async def test_a_device_that_confirms_another_value(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        place.heater.faults.contradict_acks = True
        with pytest.raises(CommandError, match=r"target_temperature: asked for 52.5, the device says \d") as caught:
            await home.session.send(home.device(), {"target_temperature": 52.5})
        assert caught.value.verdict == "refused"


async def test_a_device_that_refuses(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        place.heater.faults.fail_code = 7
        with pytest.raises(CommandError, match="failCode 7") as caught:
            await home.session.send(home.device(), {"target_temperature": 52.5})
        assert caught.value.verdict == "refused"
        assert len(place.sim.received_controls) == 1
        place.heater.faults.fail_code = 2
        with pytest.raises(CommandError, match="failCode 2"):
            await home.session.send(home.device(), {"target_temperature": 52.5})
        assert len(place.sim.received_controls) == 3


async def test_a_command_too_soon_after_another_is_repeated(town: Town) -> None:
    async with town(1, control_interval=0.3) as place:
        home = place.home(timing=Timing(introduction=1.0, retry=0.4))
        await home.up()
        await home.session.send(home.device(), {"target_temperature": 52.5})
        assert await home.session.send(home.device(), {"target_temperature": 53.0}) == {"target_temperature": 53.0}
        assert len(place.sim.received_controls) == 3


async def test_a_lost_acknowledgement_is_made_up_for_by_the_next_report(town: Town) -> None:
    async with town(1) as place:
        home = place.home(answer_timeout=1.0)
        await home.up()
        place.heater.faults.drop_acks = True
        assert await home.session.send(home.device(), {"target_temperature": 52.5}) == {"target_temperature": 52.5}
        # But what was so before proves nothing.
        with pytest.raises(TimeoutError, match="did not answer within 1 s"):
            await home.session.send(home.device(), {"target_temperature": 52.5})


async def test_a_silent_device_leaves_a_command_unconfirmed(town: Town) -> None:
    async with town(1) as place:
        home = place.home(answer_timeout=0.3)
        await home.up()
        place.heater.faults.silent = True
        with pytest.raises(TimeoutError, match="did not answer"):
            await home.session.send(home.device(), {"power_state": False})
        assert len(place.sim.received_controls) == 1


async def test_another_clients_acknowledgement_is_not_ours(town: Town) -> None:
    async with town(1) as place:
        home = place.home(answer_timeout=0.5)
        await home.up()
        heater = place.heater
        heater.faults.silent = True
        sending = asyncio.create_task(home.session.send(home.device(), {"anti_legionella": False}))
        await until(lambda: place.sim.received_controls)
        status = {"command": 33554471, "antiLegionellaUse": 2}
        answer = {
            "clientID": "another",
            "sessionID": "1768478400123",
            "response": {"macAddress": heater.mac, "status": status},
        }
        place.say(f"cmd/52/navilink-{heater.mac}/res", json.dumps(answer).encode())
        with pytest.raises(TimeoutError):
            await sending


async def test_a_link_that_breaks_while_a_command_waits(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        device = home.device()
        place.heater.faults.silent = True
        sending = asyncio.create_task(home.session.send(device, {"power_state": False}))
        await until(lambda: place.sim.received_controls)
        place.cloud.drop_all()
        with pytest.raises(TimeoutError, match="link"):
            await sending
        await home.ended()
        with pytest.raises(LinkError):
            await home.session.send(device, {"power_state": False})
        with pytest.raises(LinkError):
            await home.session.ask(device)
        assert len(place.sim.received_controls) == 1


async def test_commands_to_several_devices_at_once(town: Town) -> None:
    async with town(3) as place:
        home = place.home()
        await home.up()
        wanted = {mac: 50.0 + number for number, mac in enumerate(place.sim.heaters)}
        confirmed = await asyncio.gather(
            *(home.session.send(home.device(mac), {"target_temperature": value}) for mac, value in wanted.items())
        )
        assert [values["target_temperature"] for values in confirmed] == list(wanted.values())


# --- presence ---------------------------------------------------------------------------------------------------------


async def test_three_unanswered_polls_are_offline_and_a_word_is_back(town: Town) -> None:
    async with town(2) as place:
        quiet = place.heater
        home = place.home(poll_interval=0.2)
        await home.up()
        quiet.faults.silent = True
        await until(lambda: home.presence(quiet.mac) is False)
        assert home.of(Presence, quiet.mac)[-1].reason == "no answer to three polls"
        assert home.end is None
        # The list goes on saying that it is connected; that alone does not bring it back.
        listed = place.sim.requests.count("/device/list")
        await until(lambda: place.sim.requests.count("/device/list") >= listed + 2)
        assert home.presence(quiet.mac) is False
        quiet.faults.silent = False
        await until(lambda: home.presence(quiet.mac) is True)


async def test_silence_of_everything_is_a_dead_link(town: Town) -> None:
    async with town(2) as place:
        home = place.home(poll_interval=0.2)
        await home.up()
        place.cloud.faults.stop_delivering = True
        error = await home.ended()
        assert isinstance(error, LinkError)
        assert error.reason == "half_open"
        # A device that is silent over the next link as well does not end that one.
        place.cloud.faults.stop_delivering = False
        for heater in place.sim.heaters.values():
            heater.faults.silent = True
        home.events.clear()
        home.start()
        await home.up()
        polls = place.cloud.counts.upgrades
        await until(
            lambda: all(len(unit.waiting) == 0 and unit.unanswered > 6 for unit in home.session._units.values())
        )
        assert home.end is None
        assert place.cloud.counts.upgrades == polls


async def test_a_device_that_says_goodbye(town: Town) -> None:
    async with town(2) as place:
        home = place.home(timing=QUICK)
        await home.up()
        mac = place.heater.mac
        place.sim.unplug(mac)
        await until(lambda: home.presence(mac) is False)
        place.sim.plug_in(mac)
        await until(lambda: home.presence(mac) is True)


async def test_the_list_says_who_is_connected(town: Town) -> None:
    async with town(2) as place:
        away = place.heater
        away.faults.offline = True
        home = place.home()
        await home.up()
        assert home.presence(away.mac) is False
        away.faults.offline = False
        # While something is offline, the list is looked at again and again.
        await until(lambda: home.presence(away.mac) is True)


async def test_another_apps_last_will_is_not_the_devices(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        mac = place.heater.mac
        event = {"connection": {"os": "A", "status": 0}, "deviceType": 52, "macAddress": mac}
        place.say(f"evt/52/navilink-{mac}/app-connection", json.dumps({"clientID": "app", "event": event}).encode())
        before = len(home.events)
        place.heater.report()
        await home.reading(before)
        assert home.presence(mac) is True
        assert len(home.of(Presence)) == 1


async def test_a_maintenance_broadcast_has_the_list_read_again(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        listed = place.sim.requests.count("/device/list")
        place.sim.announce_maintenance()
        await until(lambda: place.sim.requests.count("/device/list") == listed + 1)


async def test_a_device_the_list_knows_nothing_about(town: Town) -> None:
    async with town(1) as place:
        place.heater.faults.connected = 0
        home = place.home()
        await home.up()
        # The service tells third parties nothing, and that is no reason to stop.
        assert "/device/connectivity-status" in place.sim.requests
        assert home.presence(place.heater.mac) is True


# --- the device list --------------------------------------------------------------------------------------------------


async def test_devices_come_and_go_and_are_renamed(town: Town) -> None:
    async with town(2) as place:
        home = place.home(timing=Timing(introduction=1.0, listing=0.2, listing_offline=0.1))
        await home.up()
        first, second = place.sim.heaters.values()
        first.name = "Attic"
        await until(lambda: home.device(first.mac).name == "Attic")
        new = place.sim.add_heater(name="Barn")
        new.faults.frozen = True
        await until(lambda: any(found.device.id == new.mac for found in home.of(Found)))
        assert await home.session.send(home.device(new.mac), {"target_temperature": 52.0}) == {
            "target_temperature": 52.0
        }
        place.sim.remove(second.mac)
        await until(lambda: home.of(Gone))
        assert home.of(Gone) == [Gone(second.mac)]
        with pytest.raises(LinkError):
            await home.session.ask(home.device(second.mac))
        assert home.end is None


async def test_one_list_without_a_device_is_no_goodbye(town: Town) -> None:
    async with town(1) as place:
        home = place.home(timing=Timing(introduction=1.0, listing=0.3, listing_offline=0.3))
        await home.up()
        listed = place.sim.requests.count("/device/list")
        empty = {"code": 200, "msg": "SUCCESS", "data": []}
        place.sim.rest_faults["/device/list"] = RestFault(200, empty, times=1)
        await until(lambda: place.sim.requests.count("/device/list") >= listed + 4)
        assert not home.of(Gone)
        # Nor is one that can not be read completely, however often it comes.
        odd = {"code": 200, "msg": "SUCCESS", "data": [{"deviceInfo": {"deviceName": "?"}}]}
        place.sim.rest_faults["/device/list"] = RestFault(200, odd)
        await until(lambda: place.sim.requests.count("/device/list") >= listed + 8)
        assert not home.of(Gone)


async def test_an_empty_list_at_the_start_is_no_goodbye_either(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        await home.stop()
        place.sim.rest_faults["/device/list"] = RestFault(200, {"code": 200, "msg": "SUCCESS", "data": []}, times=1)
        again = place.home()
        await again.up()
        assert again.device(place.heater.mac) == home.device(place.heater.mac)
        await until(lambda: again.presence(place.heater.mac) is True)
        # Gone while nobody looked, it is missed twice all the same, and then it is gone.
        await again.stop()
        place.sim.remove(place.heater.mac)
        third = place.home()
        await third.up()
        await until(lambda: third.of(Gone))
        await third.stop()
        fourth = place.home()
        await fourth.up()
        assert fourth.events == [LinkUp()]


async def test_pages_of_the_list(town: Town) -> None:
    async with town(41) as place:
        home = place.home()
        await home.up()
        assert len({found.device.id for found in home.of(Found)}) == 41
        assert place.sim.requests.count("/device/list") == 3


async def test_an_outage_of_the_rest_service_does_not_end_the_link(town: Town) -> None:
    async with town(1) as place:
        home = place.home(timing=Timing(introduction=1.0, listing=0.1, listing_offline=0.1), poll_interval=0.2)
        await home.up()
        place.sim.rest_faults["*"] = RestFault.outage()
        listed = place.sim.requests.count("/device/list")
        await until(lambda: place.sim.requests.count("/device/list") >= listed + 3)
        place.sim.rest_faults["*"] = RestFault(429, {}, headers={"Retry-After": "1"}, times=1)
        await until(lambda: "*" not in place.sim.rest_faults or place.sim.rest_faults["*"].times == 0)
        place.sim.rest_faults.clear()
        before = len(home.events)
        await home.reading(before)
        assert home.end is None


# --- links that fail --------------------------------------------------------------------------------------------------


async def test_wrong_password(town: Town) -> None:
    async with town(1) as place:
        place.sim.accounts["owner@example.com"].locked = True
        error = await place.home().ended()
        assert isinstance(error, AuthError)
        assert error.reason == "wrong_password"


async def test_a_restart_loop_is_throttled(town: Town) -> None:
    async with town(1) as place:
        place.sim.accounts["owner@example.com"].locked = True
        for _ in range(4):
            assert isinstance(await place.home().ended(), AuthError)
        error = await place.home().ended()
        assert isinstance(error, Throttled)
        assert 590 < error.retry_after <= 600


async def test_revoked_credentials_lead_to_a_sign_in(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        account = place.sim.accounts["owner@example.com"]
        place.sim.revoke_credentials(account)
        place.cloud.drop_all()
        assert (await home.ended()).reason == "closed"  # type: ignore[attr-defined]
        home.start()
        assert (await home.ended()).reason == "upgrade_refused"  # type: ignore[attr-defined]
        home.events.clear()
        home.start()
        await home.up()
        assert place.sim.requests.count("/user/sign-in") == 2


async def test_tokens_are_renewed_while_the_link_stands(town: Town) -> None:
    async with town(1, token_seconds=0.5, credential_seconds=3600) as place:
        home = place.home(timing=Timing(introduction=1.0, listing=0.2, listing_offline=0.1))
        await home.up()
        await until(lambda: place.sim.requests.count("/auth/refresh") >= 3)
        assert place.sim.requests.count("/user/sign-in") == 1
        assert place.cloud.counts.upgrades == 1
        assert home.end is None


async def test_a_reconnect_uses_fresh_credentials(town: Town) -> None:
    async with town(1, credential_seconds=1.0) as place:
        home = place.home()
        await home.up()
        issued = time.time()
        await until(lambda: time.time() - issued > 1.0)
        place.cloud.drop_all()
        await home.ended()
        home.events.clear()
        home.start()
        await home.up()
        assert place.sim.requests.count("/user/sign-in") == 2
        assert not place.cloud.counts.refused
        # The list was read just now; reconnecting does not read it again.
        assert place.sim.requests.count("/device/list") <= 2


async def test_known_devices_are_announced_though_the_link_fails(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        await home.stop()
        place.cloud.faults.refuse_upgrade = 503
        again = place.home()
        error = await again.ended()
        assert isinstance(error, LinkError)
        assert again.device() == home.device()
        assert not again.of(LinkUp)


async def test_a_refused_filter_is_not_tried_again(town: Town) -> None:
    async with town(1) as place:
        refused: list[str] = []
        allowed = place.sim.may_subscribe

        def policy(principal: str, client_id: str, topic_filter: str) -> bool:
            if topic_filter.endswith("td/rd"):
                refused.append(topic_filter)
                return False
            return allowed(principal, client_id, topic_filter)

        place.sim.may_subscribe = policy
        place.cloud.rules = replace(place.cloud.rules, close_on_forbidden=False)
        home = place.home()
        await home.up()
        place.cloud.drop_all()
        await home.ended()
        home.events.clear()
        home.start()
        await home.up()
        assert len(refused) == 1
        assert await home.session.send(home.device(), {"target_temperature": 52.0}) == {"target_temperature": 52.0}


async def test_a_forbidden_last_will_does_not_keep_the_link_from_opening(town: Town) -> None:
    async with town(1) as place:
        allowed = place.sim.may_publish
        place.sim.may_publish = lambda principal, client_id, topic: (
            not topic.startswith("evt/") and allowed(principal, client_id, topic)
        )
        home = place.home()
        assert isinstance(await home.ended(), LinkError)
        home.start()
        await home.up()


async def test_credentials_are_suspected_when_the_link_never_opens(town: Town) -> None:
    async with town(1) as place:
        place.cloud.rules = replace(place.cloud.rules, max_packet_size=20)  # no CONNECT is so small
        home = place.home()
        for _ in range(10):
            assert isinstance(await home.ended(), LinkError)
            assert place.sim.requests.count("/user/sign-in") == 1
            home.start()
        await home.ended()
        assert place.sim.requests.count("/user/sign-in") == 2


async def test_one_poisonous_device_does_not_take_the_others_down(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    async with town(3) as place:
        poison = list(place.sim.heaters)[1]
        allowed = place.sim.may_subscribe

        def policy(principal: str, client_id: str, topic_filter: str) -> bool:
            return poison not in topic_filter and allowed(principal, client_id, topic_filter)

        place.sim.may_subscribe = policy
        home = place.home()
        attempts = 0
        while not home.of(LinkUp):
            attempts += 1
            assert attempts <= 4
            await until(lambda: home.end or home.of(LinkUp))
            if home.end:
                home.start()
        assert {found.device.id for found in home.of(Found)} == set(place.sim.heaters)
        others = set(place.sim.heaters) - {poison}
        for mac in others:
            await home.session.send(home.device(mac), {"target_temperature": 52.0})
        assert home.presence(poison) is False
        with pytest.raises(LinkError, match="closes the link"):
            await home.session.ask(home.device(poison))
        said = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(said) == 1
        assert poison in said[0].getMessage()


async def test_stopping_leaves_nothing_behind(town: Town) -> None:
    async with town(2) as place:
        before = asyncio.all_tasks()
        home = place.home(poll_interval=0.1)
        await home.up()
        place.heater.faults.silent = True
        sending = asyncio.create_task(home.session.send(home.device(place.heater.mac), {"power_state": False}))
        await until(lambda: place.sim.received_controls)
        await home.stop()
        with pytest.raises(TimeoutError):
            await sending
        await until(lambda: not place.cloud.broker("navilink").clients)
        await until(lambda: {task for task in asyncio.all_tasks() - before if "broker" not in task.get_name()} == set())


async def test_no_secret_and_no_address_is_logged(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with town(1) as place:
        home = place.home(poll_interval=0.2)
        await home.up()
        await home.session.send(home.device(), {"target_temperature": 52.0})
        tokens = home.session._auth._vault.tokens
        assert tokens is not None
        secrets = [tokens.access, tokens.refresh, tokens.secret_key, tokens.session_token, "demo-water-heater"]
    text = "\n".join(record.getMessage() for record in caplog.records if record.name != "asyncio")
    assert [secret for secret in secrets if secret in text] == []
    informed = "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.INFO)
    assert "owner@example.com" not in informed


# --- binary devices and gas units -------------------------------------------------------------------------------------


async def test_a_device_that_speaks_binary(town: Town) -> None:
    async with town(1, dialects=("binary",)) as place:
        home = place.home(poll_interval=0.2)
        await home.up()
        reading = await home.reading(0, lambda reading: "tank_charge" in reading.values)
        assert "operation_mode" not in reading.values
        assert await home.session.send(home.device(), {"target_temperature": 52.0}) == {"target_temperature": 52.0}
        assert home.counts["frame_errors"] == 0


async def test_a_binary_frame_whose_topic_names_no_device(town: Town) -> None:
    async with town(1) as place:
        home = place.home()
        await home.up()
        (client_id,) = place.cloud.broker("navilink").clients
        topic = f"cmd/52/31007/41250/{client_id}/res"
        record = packed.encode_header(Query.STATUS, place.heater.mac) + packed.encode({"dhw_charge_per": 42})
        before = len(home.events)
        place.say(topic, record)
        assert (await home.reading(before)).values["tank_charge"] == 42
        # With two devices of the same prefix it is nobody's, and they are asked to answer under their own topics.
        await home.stop()
        place.sim.add_heater().faults.frozen = True
        again = place.home()
        await again.up()
        reply_topics: set[str] = set()

        def overhear(_topic: str, payload: bytes) -> bool:
            reply_topics.add(json.loads(payload)["responseTopic"])
            return False

        place.cloud.faults.lose = overhear
        place.say(topic, record)
        await until(lambda: reply_topics == {f"cmd/52/navilink-{mac}/{client_id}/res" for mac in place.sim.heaters})
        assert again.counts["frame_errors"] == 0, "it is no mistake of anybody's"
        place.say(topic, record)
        await until(lambda: again.counts["frame_errors"] == 1)
        await again.stop()
        # Which is known from then on.
        third = place.home()
        await third.up()
        assert {unit.family for unit in third.session._units.values()} == {"library"}


async def test_a_packed_acknowledgement_in_another_unit(town: Town) -> None:
    async with town(1, dialects=("binary",)) as place:
        home = place.home()
        await home.up()
        place.heater.faults.silent = True
        sending = asyncio.create_task(home.session.send(home.device(), {"target_temperature": 52.5}))
        await until(lambda: place.sim.received_controls)
        # 52.5 °C are 126.5 °F, and the record counts in whole ones.
        record = packed.encode({"dhw_temperature_setting": 126, "dhw_charge_per": 50})
        header = packed.encode_header(place.sim.received_controls[0].command, place.heater.mac)
        place.say(f"cmd/52/navilink-{place.heater.mac}/res", header + record)
        assert (await sending)["target_temperature"] == pytest.approx(52.22, abs=0.01)


async def test_gas_units(town: Town) -> None:
    async with town(1, gas_units=2) as place:
        home = place.home(poll_interval=0.3)
        await home.up()
        for mac, unit in place.sim.gas_units.items():
            device = home.device(mac)
            assert device.kind.name == "gas_water_heater"
            reading = await home.reading(
                0,
                lambda reading: reading.device_id == mac and "target_temperature" in reading.values,  # noqa: B023 - used at once
            )
            assert reading.values["target_temperature"] == pytest.approx(unit.state.setpoint, abs=0.3)
            confirmed = await home.session.send(device, {"target_temperature": 45.0})
            assert confirmed["target_temperature"] == pytest.approx(45.0, abs=0.3)
            assert await home.session.send(device, {"power_state": False}) == {"power_state": False}
        assert home.counts["frame_errors"] == 0


async def test_the_channels_of_a_gas_gateway_are_devices(town: Town) -> None:
    async with town(0, gas_units=1) as place:
        home = place.home()
        await home.up()
        (mac,) = place.sim.gas_units
        info = place.sim.gas_units[mac].unit.info()
        (entry,) = info["channelList"]
        second = {"channelNumber": 2, "channel": dict(entry["channel"])}
        answer = {
            "response": {"deviceType": 1, "macAddress": mac, "channelInfo": info | {"channelList": [entry, second]}}
        }
        place.say(f"cmd/1/navilink-{mac}/res/channelinfo", json.dumps(answer).encode())
        status = place.sim.gas_units[mac].unit.status() | {"channelNumber": 2}
        answer = {"response": {"deviceType": 1, "macAddress": mac, "channelStatus": status}}
        place.say(f"cmd/1/navilink-{mac}/res/channelstatus", json.dumps(answer).encode())
        await until(lambda: any(found.device.id == f"{mac}_2" for found in home.of(Found)))
        assert home.device(f"{mac}_2").name.endswith(" 2")
        assert home.of(Reading, f"{mac}_2")
