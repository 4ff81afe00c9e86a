"""Captures of the simulated clouds, made by the program itself and replayed through the real parts."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from support.captured import AT_ONCE, final_states, opened, replayed
from support.house import house
from support.listener import listening
from support.program import Clouds, invoke, invoked, started
from support.waiting import until

from navibridge import replay, vendors
from navibridge.capture import Head, Line
from navibridge.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.listener import Heard
    from support.mosquitto import Mosquitto

SECRETS = re.compile(r"owner@example|demo-water-heater|demo-thermostat|02005e53|02005e6d")
BEGAN = 1_768_478_400.0
MAC = "a1b2c3d4e5f6"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NAVIBRIDGE_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def clouds() -> Iterator[Clouds]:
    """Water heaters of both ways of speaking, and a thermostat of each sort."""
    quick = {"answer": (0.0, 0.05), "speed": 60.0, "report": 2.0}
    heaters = vendors.load("navilink").simulator(2, dialects=("json", "binary"), **quick)
    thermostats = vendors.load("mysa").simulator(5, speed=60.0, batch_minutes=0.03, record=0.5, status=1.0)
    with Clouds(heaters, thermostats) as made:
        yield made


def configured(directory: Path, clouds: Clouds, **sections: Any) -> None:
    cloud = clouds.cloud
    accounts = {
        f"villa_{simulator.vendor}": simulator.account(cloud.host, cloud.port, cloud.ca_file)
        for simulator in clouds.simulators
    }
    (directory / "config.yaml").write_bytes(orjson.dumps({"accounts": accounts, **sections}))


async def captured(directory: Path, *arguments: str, complete: Callable[[str], bool]) -> str:
    """What the program said while it made ``cap.jsonl``, stopped by Ctrl-C as soon as that is complete."""
    file = directory / "cap.jsonl"
    with started("capture", "cap.jsonl", *arguments, directory=directory) as running:
        await until(lambda: file.exists() and complete(file.read_text()), 30)
        assert await asyncio.to_thread(running.stop, signal.SIGINT) == 0
        return running.text


def has_everything(text: str) -> bool:
    """Whether every device has spoken, each in its own way."""
    spoke = {match[1] for match in re.finditer(r'"in","account":"mysa","topic":"/v1/dev/(\w+)/out"', text)}
    return len(spoke) == 5 and "/batch" in text and has_both_tanks(text)


def has_both_tanks(text: str) -> bool:
    """Whether the water heaters have said how they are, in JSON and in binary."""
    return '"base64":' in text and "dhwChargePer" in text


def shown(heard: list[Heard]) -> list[tuple[str, bytes]]:
    return [(message.topic, message.payload) for message in heard]


async def test_a_capture_of_both_clouds_is_the_same_at_any_speed_and_tells_nothing_of_their_owner(
    clouds: Clouds, home: Path, mosquitto: Mosquitto
) -> None:
    configured(home, clouds)
    said = await captured(home, complete=has_everything)
    text = (home / "cap.jsonl").read_text()
    assert (home / "cap.jsonl").stat().st_mode & 0o777 == 0o600
    assert not SECRETS.search(text)
    assert "villa" not in text
    assert "frames and" in said
    assert not SECRETS.search(said)

    head, lines = opened(home / "cap.jsonl")
    assert set(head.accounts) == {"navilink", "mysa"}
    sorts = Counter(line.direction for line in lines)
    assert {"in", "out", "rest", "open"} <= set(sorts)
    assert any(line.topic.endswith("/batch") for line in lines)
    assert any(not line.payload.isascii() or line.payload[:1] < b" " for line in lines if line.direction == "in")

    at_once = await replayed(mosquitto, head, lines)
    await mosquitto.restart()
    fast = await replayed(mosquitto, head, lines, speed=1000)
    await mosquitto.restart()
    began = asyncio.get_running_loop().time()
    as_it_was = await replayed(mosquitto, head, lines, speed=1)
    assert asyncio.get_running_loop().time() - began >= lines[-1].at - lines[0].at
    assert shown(at_once) == shown(fast) == shown(as_it_was)

    states = final_states(fast)
    assert Counter(name.partition("_")[0] for name in states) == {"navilink": 2, "mysa": 5}
    for name, state in states.items():
        assert state["current_temperature"] is not None, name
        assert not state["stale"], name
    setpoints = {heater.state.setpoint for heater in clouds.simulators[0].heaters.values()}  # type: ignore[attr-defined]
    for name, state in states.items():
        if "navilink" in name:
            assert min(abs(state["target_temperature"] - setpoint) for setpoint in setpoints) < 0.5
    discovered = [message.topic for message in fast if message.topic.startswith("homeassistant/device/")]
    assert len(set(discovered)) == 8


async def test_the_program_replays_to_a_broker_beside_the_bridge(
    clouds: Clouds, home: Path, mosquitto: Mosquitto
) -> None:
    configured(home, clouds, broker={"host": mosquitto.host, "port": mosquitto.port})
    await captured(home, "--account", "villa_navilink", complete=has_both_tanks)
    async with listening(mosquitto, "#") as listener:
        ended = await invoked("replay", "cap.jsonl", "--speed", "1000000")
        assert ended.code == 0, ended.err
        assert "2 devices published under 'navibridge-replay'" in ended.err
        state = await listener.wait_for("navibridge-replay/+/state", lambda heard: heard.payload != b"offline")
        assert state.retain is False
        assert not listener.all("homeassistant/#"), "nothing is announced unless it is wanted"
        assert not listener.all("navibridge/#")
        ended = await invoked("replay", "cap.jsonl", "--speed", "1000000", "--discovery", "--base-topic", "other")
        assert ended.code == 0, ended.err
        assert listener.all("homeassistant/device/#")
        await listener.publish("other/bridge/state", "online", retain=True)
        ended = await invoked("replay", "cap.jsonl", "--base-topic", "other")
        assert ended.code == 4
        assert "choose another --base-topic" in ended.err
        ended = await invoked("replay", "cap.jsonl", "--base-topic", "a/+/b")
        assert ended.code == 2
        assert "--base-topic: broker.base_topic: given 'a/+/b', allowed: a topic without wildcards" in ended.err


def test_what_can_not_be_captured_or_replayed_is_said(home: Path, clouds: Clouds) -> None:
    configured(home, clouds, broker={"port": 1})
    (home / "there.jsonl").write_text("{}")
    ended = invoke("capture", "there.jsonl")
    assert (ended.code, "is there already" in ended.err) == (1, True)
    ended = invoke("capture", "no/such/place.jsonl")
    assert (ended.code, "can not be written" in ended.err) == (1, True)
    ended = invoke("capture", "cap.jsonl", "--account", "cabin")
    assert (ended.code, "there is no account 'cabin'" in ended.err) == (2, True)
    ended = invoke("replay", "there.jsonl")
    assert (ended.code, "line 1 is not the beginning of a capture" in ended.err) == (1, True)
    ended = invoke("replay", "nowhere.jsonl")
    assert (ended.code, "can not be read" in ended.err) == (1, True)
    (home / "empty.jsonl").write_bytes(Head(BEGAN, "0.1.0", {"navilink": {"vendor": "navilink"}}).encode())
    ended = invoke("replay", "empty.jsonl")
    assert (ended.code, "refused the connection" in ended.err) == (3, True)
    configured(home, clouds)
    wrong = orjson.loads((home / "config.yaml").read_bytes())
    for account in wrong["accounts"].values():
        account["password"] = "not-this-one"
    (home / "config.yaml").write_bytes(orjson.dumps(wrong))
    ended = invoke("capture", "cap.jsonl", "--for", "20")
    assert "refuses this e-mail address and password" in ended.err
    assert "not-this-one" not in ended.err + (home / "cap.jsonl").read_text()


# --- what happens in a capture ----------------------------------------------------------------------------------------


def lines_of_a_tank(*further: Line) -> list[Line]:
    """A sign-in, a list of one heat pump, an open link and one status; then what a test adds."""
    token = dict.fromkeys(("accessToken", "refreshToken", "accessKeyId", "secretKey", "sessionToken"), "x")
    signed_in = {"code": 200, "msg": "SUCCESS", "data": {"userInfo": {"userSeq": 1}, "token": token}}
    tank = {"macAddress": MAC, "deviceType": 52, "additionalValue": "1", "deviceName": "Tank", "connected": 2}
    listed = {"code": 200, "msg": "SUCCESS", "data": [{"deviceInfo": tank}]}
    begun = [
        Line(BEGAN, "rest", "home", "POST /user/sign-in", orjson.dumps(signed_in), status=200),
        Line(BEGAN, "rest", "home", "POST /device/list", orjson.dumps(listed), status=200),
        Line(BEGAN + 1, "open", "home", "navibridge-1-00000000", b"", 1),
        status(2, 50),
    ]
    return [*begun, *further]


def status(seconds: float, temperature: int, link: int = 1) -> Line:
    body = {"dhwTemperature": 2 * temperature, "dhwTargetTemperatureSetting": 110, "dhwChargePer": 80}
    answer = {"deviceType": 52, "macAddress": MAC, "additionalValue": "1", "status": body}
    payload = orjson.dumps({"clientID": "", "sessionID": "1", "response": answer})
    return Line(BEGAN + seconds, "in", "home", f"cmd/52/navilink-{MAC}/res", payload, link)


async def tank(mosquitto: Mosquitto, *further: Line) -> list[Heard]:
    head = Head(BEGAN, "0.1.0", {"home": {"vendor": "navilink", "poll_interval": 30}})
    return await replayed(mosquitto, head, lines_of_a_tank(*further), speed=AT_ONCE)


def account_states(heard: list[Heard]) -> list[str]:
    found = [message.json for message in heard if message.topic == "navibridge/bridge/account/home/state"]
    return [f"{state['state']} {state['reason']}".strip() for state in found]


async def test_time_is_the_captures(mosquitto: Mosquitto) -> None:
    heard = await tank(mosquitto, status(62, 51), status(3600, 52))
    device = f"navibridge/navilink_{MAC}"
    states = [message.json for message in heard if message.topic == f"{device}/state"]
    assert [states[0]["seen_at"], states[-1]["seen_at"]] == ["2026-01-15T12:00:02+00:00", "2026-01-15T13:00:00+00:00"]
    assert [state["current_temperature"] for state in states if not state["stale"]][-1] == 52.0
    availability = [message.text for message in heard if message.topic == f"{device}/availability"]
    assert availability[-3:] == ["online", "offline", "online"], "nothing was heard of it for almost an hour"
    health = [message.json for message in heard if message.topic == "navibridge/bridge/health"]
    assert 58 <= len(health) <= 66
    assert {document["memory_mb"] for document in health} == {None}
    assert health[-1]["at"].startswith("2026-01-15T12:59") or health[-1]["at"].startswith("2026-01-15T13:00")
    assert health[-1]["accounts"]["home"]["frames"] >= 2


async def test_a_capture_that_ends_early_has_its_devices_all_the_same(mosquitto: Mosquitto) -> None:
    heard = await tank(mosquitto)
    assert final_states(heard)[f"navilink_{MAC}"]["current_temperature"] == 50.0


async def test_a_link_that_ends_and_one_that_is_refused_are_told_as_they_were(mosquitto: Mosquitto) -> None:
    heard = await tank(
        mosquitto,
        Line(BEGAN + 20, "close", "home", "navibridge-1-00000000", b"closed", 1),
        Line(BEGAN + 21, "refused", "home", "navibridge-1-00000000", b"tls", 2),
        Line(BEGAN + 30, "open", "home", "navibridge-1-00000000", b"", 3),
        status(40, 53, 3),
    )
    states = list(dict.fromkeys(account_states(heard)))
    assert states == ["offline starting", "online", "offline closed", "offline tls", "offline stopped"]
    assert account_states(heard).count("online") >= 2
    assert final_states(heard)[f"navilink_{MAC}"]["current_temperature"] == 53.0


async def test_a_service_that_failed_fails_again_and_what_is_not_captured_is_said(mosquitto: Mosquitto) -> None:
    head = Head(BEGAN, "0.1.0", {"home": {"vendor": "navilink"}})
    failed = [Line(BEGAN, "rest", "home", "POST /user/sign-in", b"dns", status=0), status(5, 50)]
    assert "offline dns" in account_states(await replayed(mosquitto, head, failed))
    await mosquitto.restart()
    assert "offline not_captured" in account_states(await replayed(mosquitto, head, [status(5, 50)]))
    await mosquitto.restart()
    refused = orjson.dumps({"code": 401, "msg": "USER_NOT_FOUND", "data": None})
    lines = [Line(BEGAN, "rest", "home", "POST /user/sign-in", refused, status=401), status(5, 50)]
    assert "needs_attention unknown_user" in account_states(await replayed(mosquitto, head, lines))


async def test_a_replay_takes_no_commands(mosquitto: Mosquitto) -> None:
    head = Head(BEGAN, "0.1.0", {"home": {"vendor": "navilink"}})
    lines = lines_of_a_tank(*(status(seconds, 50) for seconds in range(3, 120)))
    settings = replay.settings(head, {"broker": {"host": mosquitto.host, "port": mosquitto.port}})
    steps = await asyncio.to_thread(replay.story, settings, head, lines)
    async with listening(mosquitto, "navibridge/#") as listener:
        playing = asyncio.create_task(replay.replay(settings, head, steps, speed=20))
        try:
            await listener.wait_for(f"navibridge/navilink_{MAC}/state")
            await listener.publish(f"navibridge/navilink_{MAC}/set/target_temperature", "50")
            result = (await listener.wait_for(f"navibridge/navilink_{MAC}/result")).json
            await listener.publish(f"navibridge/navilink_{MAC}/get", "")
        finally:
            playing.cancel()
            await asyncio.wait((playing,))
    assert result["verdict"] == "rejected"
    assert "this is a replay" in result["reason"]
    assert (await _last(mosquitto, "navibridge/bridge/state")) == "offline"


async def _last(mosquitto: Mosquitto, topic: str) -> str:
    async with listening(mosquitto, topic) as late:
        return (await late.wait_for(topic)).text


def test_a_capture_of_a_vendor_that_nobody_knows_is_refused() -> None:
    with pytest.raises(FrameError, match="'acme' that is not known"):
        replay.settings(Head(BEGAN, "0.1.0", {"home": {"vendor": "acme"}}), {})


async def test_a_recorded_session_says_what_any_other_does(clouds: Clouds, home: Path, mosquitto: Mosquitto) -> None:
    """The bridge of a house and the replay of its capture show the same attributes."""
    configured(home, clouds)
    await captured(home, complete=has_both_tanks)
    states = final_states(await replayed(mosquitto, *opened(home / "cap.jsonl")))
    tanks = {name: state for name, state in states.items() if name.startswith("navilink")}
    await mosquitto.restart()
    simulator = vendors.load("navilink").simulator(2, dialects=("json", "binary"), answer=(0.0, 0.05), speed=60.0)
    async with house(mosquitto, home / "state", {"water": simulator}) as made, made.bridge():

        def attributes(found: dict[str, Any]) -> Counter[tuple[str, ...]]:
            return Counter(tuple(sorted(state)) for state in found.values())

        await made.listener.wait_until(
            lambda: attributes(final_states(made.listener.heard)) == attributes(tanks), timeout=20
        )
