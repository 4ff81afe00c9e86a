"""`navibridge run` as a process, and the commands that go through it: a real broker, a simulated cloud."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.listener import listening
from support.mosquitto import free_port
from support.program import Clouds, Running, invoke, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.mosquitto import Mosquitto

JSON, BINARY = "navilink_02005e530001", "navilink_02005e530002"


@pytest.fixture
def house(cloud: Clouds, mosquitto: Mosquitto, configure: Callable[..., Path]) -> Callable[..., None]:
    """Writes the configuration of a bridge between the two, with what a test wants otherwise."""

    def write(**sections: Any) -> None:
        configure(
            **{
                "accounts": {"home": cloud.account()},
                "broker": {"host": mosquitto.host, "port": mosquitto.port},
                "commands": {"spacing": 0.1},
            }
            | sections
        )

    write()
    return write


@contextmanager
def bridge(home: Path) -> Iterator[Running]:
    """The bridge, online."""
    with started("run", directory=home) as running:
        running.wait_for("account home is online")
        yield running


# ------------------------------------------------------------------------------------------------------- start and stop


@contextmanager
def not_ignored(number: signal.Signals) -> Iterator[None]:
    """Programs started within get the signal as usual, even if whoever started the tests ignores it (nohup)."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_told_to_stop_it_says_offline_and_ends_well(
    house: object, home: Path, mosquitto: Mosquitto, number: signal.Signals
) -> None:
    del house
    async with listening(mosquitto) as heard:
        with not_ignored(number), started("run", directory=home) as running:
            await heard.wait_for(f"navibridge/{JSON}/state", lambda message: message.payload)
            await heard.wait_for("navibridge/bridge/state", lambda message: message.text == "online")
            stopped = heard.mark()
            code = await asyncio.to_thread(running.stop, number)
            assert code == 0, running.text
            await heard.wait_for("navibridge/bridge/state", lambda message: message.text == "offline", since=stopped)
        assert "Traceback" not in running.text
        assert running.lines[-1].endswith("navibridge: stopped")


async def test_it_runs_without_broker_and_cloud_until_they_come(
    house: Callable[..., None], home: Path, mosquitto: Mosquitto
) -> None:
    await mosquitto.stop()
    with started("run", directory=home) as running:
        await asyncio.to_thread(running.wait_for, "refused the connection: is Mosquitto running?")
        await mosquitto.start()
        await asyncio.to_thread(running.wait_for, "connected to the broker")
        assert await asyncio.to_thread(running.stop) == 0


def test_flags_win_over_the_file(house: Callable[..., None], home: Path, mosquitto: Mosquitto) -> None:
    house(broker={"host": "127.0.0.1", "port": free_port()}, log={"level": "debug"})
    flags = ("--broker", f"127.0.0.1:{mosquitto.port}", "--log-level", "info")
    with started("run", *flags, directory=home) as running:
        running.wait_for(f"connected to the broker 127.0.0.1:{mosquitto.port}")
        running.wait_for("account home is online")
        assert " DEBUG " not in running.text
        assert running.stop() == 0


def test_no_secret_is_ever_logged(house: Callable[..., None], home: Path, cloud: Clouds) -> None:
    house(log={"level": "debug"})
    with bridge(home) as running:
        assert running.stop() == 0
    account = cloud.account()
    assert account["password"] not in running.text
    grants = cloud.simulators[0]._grants  # type: ignore[attr-defined]
    for access_key, grant in grants.items():
        for secret in (access_key, grant.secret_key, grant.session_token):
            assert secret not in running.text
    information = [line for line in running.lines if " DEBUG " not in line]
    assert account["email"] not in "\n".join(information)


async def test_warnings_go_to_the_broker_where_wanted(
    house: Callable[..., None], home: Path, mosquitto: Mosquitto, cloud: Clouds
) -> None:
    house(log={"mqtt": True})
    async with listening(mosquitto, "navibridge/bridge/#") as heard:
        with started("run", directory=home) as running:
            await heard.wait_for(
                "navibridge/bridge/account/home/state", lambda message: message.json["state"] == "online"
            )
            cloud.call(cloud.cloud.drop_all)
            line = await heard.wait_for("navibridge/bridge/log")
            assert line.json["level"] == "warning"
            assert line.json["message"].startswith("account home is offline")
            assert not line.retain
            assert await asyncio.to_thread(running.stop) == 0


# ----------------------------------------------------------------------------------------------------------- through it


def test_get_and_set_go_through_the_running_bridge(house: object, home: Path, cloud: Clouds) -> None:
    del house
    with bridge(home) as running:
        connections = cloud.cloud.counts.upgrades
        assert invoke("get", "garage heat pump", "operation_mode").out == "energy_saver\n"
        ended = invoke("set", JSON, "target_temperature=50.5", "--json")
        assert ended.code == 0, ended.err
        result = json.loads(ended.out)
        assert (result["verdict"], result["values"]) == ("applied", {"target_temperature": 50.5})
        assert invoke("get", JSON, "target_temperature").out == "50.5\n"
        rejected = invoke("set", JSON, "target_temperature=500")
        assert rejected.code == 4
        assert rejected.out.startswith(f"{JSON}: rejected")
        assert invoke("get", "nobody").code == 4
        assert cloud.cloud.counts.upgrades == connections
        assert f"{JSON}: {{'target_temperature': 50.5}} applied" in running.text


def test_fahrenheit_is_said_and_taken(house: Callable[..., None], home: Path) -> None:
    house(temperature_unit="F")
    with bridge(home):
        assert invoke("set", JSON, "target_temperature=122").code == 0
        assert invoke("get", JSON, "target_temperature").out == "122\n"
        shown = invoke("get", JSON, "target_temperature", "power").lines
        assert shown[0].split() == ["target_temperature", "122", "°F"]


def test_a_silent_device_is_shown_as_it_was_seen_last(house: object, home: Path, cloud: Clouds) -> None:
    del house
    with bridge(home):
        assert invoke("get", BINARY, "power").code == 0
        device = cloud.simulators[0].devices["02005e530002"]  # type: ignore[attr-defined]
        cloud.call(lambda: setattr(device.faults, "offline", True))
        ended = invoke("get", BINARY, "power", "--timeout", "1")
        assert ended.out.strip().isdecimal()
        assert f"{BINARY} did not answer within 1 s; this was seen " in ended.err


def test_watch_prints_a_line_for_each_change(house: object, home: Path) -> None:
    del house
    with bridge(home), started("watch", directory=home) as watching:
        watching.wait_for(f"{JSON}: mode ")
        watching.wait_for(f"{BINARY}: target temperature ")
        watching.wait_for("account home: online")
        assert invoke("set", JSON, "target_temperature=49").code == 0
        watching.wait_for(f"{JSON}: applied after ")
        assert "target temperature 49 °C" in watching.wait_for(f"{JSON}: target temperature 49")
        assert watching.stop(signal.SIGINT) == 0
        assert "Traceback" not in watching.text


def test_watch_ends_by_itself(house: object, home: Path) -> None:
    del house
    with bridge(home):
        ended = invoke("watch", "--for", "0.5")
    assert ended.code == 0
    assert any(f"{JSON}: mode " in line for line in ended.lines)


def test_watch_and_clean_need_a_running_bridge(house: object) -> None:
    del house
    for command in ("watch", "clean"):
        ended = invoke(command)
        assert ended.code == 3
        assert "no bridge is running at 127.0.0.1:" in ended.err


def test_a_bridge_that_is_gone_without_a_word_is_not_taken_for_running(house: object, home: Path) -> None:
    del house
    with bridge(home) as running:
        assert running.stop(signal.SIGKILL) == -signal.SIGKILL
        assert invoke("watch").code == 3
        ended = invoke("get", JSON, "operation_mode")
        assert (ended.code, ended.out) == (0, "energy_saver\n")


# --------------------------------------------------------------------------------------------------------------- record

HEADER = (
    "timestamp,dhw_charge_percent,operation_mode,dhw_temperature,current_inst_power,tank_upper_temp,tank_lower_temp"
)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("through", ["bridge", "cloud"])
def test_record_writes_rows_of_the_tank(house: object, home: Path, cloud: Clouds, through: str) -> None:
    del house
    file = home / "tank.csv"

    def record(*more: str) -> None:
        ended = invoke("record", str(file), "--for", "1.2", "--interval", "1", *more)
        assert ended.code == 0, ended.err
        assert f" written to {file}" in ended.err

    if through == "bridge":
        with bridge(home):
            record()
    else:
        record()
    assert file.read_text().startswith(f"{HEADER},")
    rows = rows_of(file)
    assert {row["device"] for row in rows} == {JSON, BINARY}
    truth = cloud.simulators[0].devices["02005e530001"].state  # type: ignore[attr-defined]
    row = next(row for row in rows if row["device"] == JSON)
    assert row["timestamp"][10] == "T"
    assert len(row["timestamp"]) == len("2025-09-26T22:18:03")
    assert int(row["operation_mode"]) in (0, 32)
    assert float(row["target_temperature_c"]) == truth.setpoint
    assert int(row["dhw_temperature"]) / 2 == float(row["dhw_temperature_c"])
    assert 0 <= int(row["dhw_charge_percent"]) <= 100
    assert float(row["tank_upper_temp"]) > float(row["tank_lower_temp"])
    before = len(rows)
    with bridge(home):
        record("--device", "garage heat pump")
    added = rows_of(file)[before:]
    assert added
    assert {row["device"] for row in added} == {JSON}


def test_record_refuses_a_file_with_another_header(house: object, home: Path) -> None:
    del house
    file = home / "other.csv"
    file.write_text("time,value\n1,2\n")
    ended = invoke("record", str(file), "--for", "1")
    assert ended.code == 1
    assert "has another header, so nothing is added to it: time,value" in ended.err
    assert file.read_text() == "time,value\n1,2\n"


def test_record_says_what_can_not_be_written(house: object, home: Path) -> None:
    del house
    ended = invoke("record", str(home / "missing" / "tank.csv"))
    assert ended.code == 1
    assert "can not be written: No such file or directory" in ended.err


def test_record_fails_when_there_is_nothing_to_record(house: Callable[..., None], home: Path, cloud: Clouds) -> None:
    house(accounts={"home": cloud.account() | {"password": "not-the-password"}})
    ended = invoke("record", str(home / "tank.csv"), "--for", "2")
    assert ended.code == 4
    assert "nothing was recorded, and account home is needs_attention" in ended.err


# ---------------------------------------------------------------------------------------------------------------- clean


async def test_clean_clears_ghosts_and_nothing_else(house: object, home: Path, mosquitto: Mosquitto) -> None:
    del house
    async with listening(mosquitto) as heard:
        with started("run", directory=home) as running:
            await asyncio.to_thread(running.wait_for, "account home is online")
            discovery = f"homeassistant/device/navibridge_{JSON}/config"
            document = (await heard.wait_for(discovery)).text
            ghosts = {
                "homeassistant/device/navibridge_navilink_gone/config": document,
                f"homeassistant/sensor/navibridge_{JSON}/power/config": document,
                "navibridge/navilink_gone/state": "{}",
                "navibridge/navilink_gone/value/power": "1",
                "navibridge/bridge/account/gone/state": "{}",
            }
            others = {
                "homeassistant/device/other/config": "{}",
                "homeassistant/sensor/other/x/config": document.replace("navibridge/bridge/state", "zwave/state"),
                "zwave/thing/state": "{}",
            }
            for topic, payload in (ghosts | others).items():
                await heard.publish(topic, payload, retain=True)
            listed = await _ended("clean", directory=home)
            assert [line for line in listed if "/" in line] == sorted(ghosts)
            assert "navibridge: 5 retained messages; --yes clears what is listed" in listed
            since = heard.mark()
            cleared = await _ended("clean", "--yes", directory=home)
            assert "navibridge: 5 retained messages cleared" in cleared
            for topic in ghosts:
                await heard.wait_for(topic, lambda message: not message.payload, since=since)
            assert await _ended("clean", directory=home) == ["navibridge: nothing to clear"]
            async with listening(mosquitto) as later:
                await later.wait_for(discovery)
                for topic in others:
                    await later.wait_for(topic)
            assert await asyncio.to_thread(running.stop) == 0


async def test_clean_everything_when_no_bridge_runs(house: object, home: Path, mosquitto: Mosquitto) -> None:
    del house
    with started("run", directory=home) as running:
        await asyncio.to_thread(running.wait_for, "account home is online")
        async with listening(mosquitto) as heard:
            await heard.wait_for(f"navibridge/{BINARY}/state")
            await heard.publish("homeassistant/sensor/other/config", "{}", retain=True)
        assert await asyncio.to_thread(running.stop) == 0
    listed = await _ended("clean", "--all", "--yes", directory=home)
    assert "navibridge/bridge/state" in listed
    assert f"homeassistant/device/navibridge_{JSON}/config" in listed
    async with listening(mosquitto) as later:
        await later.publish("end", "")
        await later.wait_for("end")
        assert [message.topic for message in later.heard if message.retain] == ["homeassistant/sensor/other/config"]


async def test_everything_that_a_running_bridge_publishes_comes_back(
    house: object, home: Path, mosquitto: Mosquitto
) -> None:
    del house
    async with listening(mosquitto) as heard:
        with started("run", directory=home) as running:
            await heard.wait_for(f"navibridge/{JSON}/state")
            await asyncio.to_thread(running.wait_for, "account home is online")
            since = heard.mark()
            await _ended("clean", "--all", "--yes", directory=home)
            for topic in (f"navibridge/{JSON}/state", f"homeassistant/device/navibridge_{JSON}/config"):
                await heard.wait_for(topic, lambda message: not message.payload, since=since)
                await heard.wait_for(topic, lambda message: message.payload, since=since)
            assert heard.last("navibridge/bridge/state").text == "online"  # type: ignore[union-attr]
            assert await asyncio.to_thread(running.stop) == 0


async def _ended(*arguments: str, directory: Path) -> list[str]:
    """The lines of a command that ends well."""
    with started(*arguments, directory=directory) as command:
        code = await asyncio.to_thread(command.ended)
        assert code == 0, command.text
        return command.lines
