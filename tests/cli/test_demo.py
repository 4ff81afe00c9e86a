"""`navibridge demo` and `navibridge simulate` as processes: what a first look at the product is."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import orjson
import pytest
import yaml
from support.listener import listening
from support.program import COMMAND, invoke, only, started

from navibridge import demo

if TYPE_CHECKING:
    from pathlib import Path

    from support.mosquitto import Mosquitto
    from support.program import Running

JSON, BINARY = "navilink_02005e530001", "navilink_02005e530002"
HEATERS = only("navilink", 2)


class Address:
    """Where a demo's broker is."""

    def __init__(self, running: Running) -> None:
        where = running.wait_for("Broker: ").removeprefix("Broker: ").split(". ")[0]
        self.host, port = where.split(":")
        self.port = int(port)


async def test_a_first_look_with_the_embedded_broker(home: Path) -> None:
    with started("demo", *HEATERS, directory=home) as running:
        address = await asyncio.to_thread(Address, running)
        async with listening(address) as heard:
            for topic in (JSON, BINARY):
                config = await heard.wait_for(f"homeassistant/device/navibridge_{topic}/config")
                assert config.json["origin"]["name"] == "navibridge"
                await heard.wait_for(f"navibridge/{topic}/availability", lambda message: message.text == "online")
                state = await heard.wait_for(f"navibridge/{topic}/state")
                assert state.json["stale"] is False
                assert 30 < state.json["current_temperature"] < 70
            await heard.publish(f"navibridge/{JSON}/set/target_temperature", "51")
            result = await heard.wait_for(f"navibridge/{JSON}/result")
            assert result.json["verdict"] == "applied", result.text
            assert result.json["values"] == {"target_temperature": 51}
            await heard.wait_for(f"navibridge/{JSON}/state", lambda state: state.json["target_temperature"] == 51)
            since = heard.mark()
            await heard.wait_for(f"navibridge/{BINARY}/state", lambda state: state.json["power"] > 0, since=since)
        await asyncio.to_thread(running.wait_for, f"{JSON}: applied after ")
        assert await asyncio.to_thread(running.stop, signal.SIGINT) == 0
        assert "Traceback" not in running.text


async def test_what_it_says_can_be_pasted(home: Path) -> None:
    with started("demo", *HEATERS, directory=home) as running:
        address = await asyncio.to_thread(Address, running)
        look = await asyncio.to_thread(running.wait_for, "mosquitto_sub")
        assert look.strip() == (
            f"mosquitto_sub -h {address.host} -p {address.port} -t 'navibridge/#' -t 'homeassistant/#' -v"
        )
        publish = (await asyncio.to_thread(running.wait_for, "mosquitto_pub")).split()
        topic, payload = publish[publish.index("-t") + 1], publish[publish.index("-m") + 1]
        device = topic.split("/")[1]
        async with listening(address) as heard:
            await heard.publish(topic, payload)
            result = await heard.wait_for(f"navibridge/{device}/result")
            assert result.json["verdict"] == "applied", result.text
        program, *arguments = (await asyncio.to_thread(running.wait_for, "    navibridge set")).split()
        assert program == "navibridge"
        with started(*arguments, directory=home) as setting:
            assert await asyncio.to_thread(setting.ended) == 0, setting.text
        assert await asyncio.to_thread(running.stop) == 0


async def test_a_real_broker_is_left_as_it_was_found(home: Path, mosquitto: Mosquitto) -> None:
    async with listening(mosquitto) as heard:
        await heard.publish("homeassistant/sensor/other/config", "{}", retain=True)
        broker = f"{mosquitto.host}:{mosquitto.port}"
        with started("demo", *HEATERS, "--broker", broker, directory=home) as running:
            await heard.wait_for(f"navibridge/{BINARY}/state")
            await heard.publish(f"navibridge/{BINARY}/set", '{"target_temperature": 50}')
            result = await heard.wait_for(f"navibridge/{BINARY}/result")
            assert result.json["verdict"] == "applied", result.text
            stopped = heard.mark()
            assert await asyncio.to_thread(running.stop) == 0
        await heard.wait_for("navibridge/bridge/state", lambda message: message.text == "offline", since=stopped)
    async with listening(mosquitto) as later:
        await later.publish("end", "")
        await later.wait_for("end")
        left = [message.topic for message in later.heard if message.retain]
        assert sorted(left) == ["homeassistant/sensor/other/config", "navibridge/bridge/state"]


def test_it_ends_by_itself_with_a_summary() -> None:
    ended = invoke("demo", *HEATERS, "--for", "3")
    assert ended.code == 0, ended.err
    assert ended.err == ""
    words = ended.lines[-1].split()
    assert words[:4] == ["2", "devices,", "live", "after"]
    assert float(words[4]) >= 0
    assert any(f"{JSON}: mode eco, target temperature" in line for line in ended.lines)


def test_time_passes_quickly_so_that_values_move() -> None:
    ended = invoke("demo", *only("navilink", 1), "--for", "4", "--speed", "600")
    changes = [line for line in ended.lines if f"{JSON}: " in line and "power" in line]
    assert len(changes) > 1


def test_no_broker_there_is_said(home: Path) -> None:
    ended = invoke("demo", *HEATERS, "--broker", "127.0.0.1:1", "--for", "3")
    assert ended.code == 3
    assert "broker 127.0.0.1:1 refused the connection" in ended.err


async def test_it_keeps_away_from_a_running_bridge(home: Path, mosquitto: Mosquitto) -> None:
    async with listening(mosquitto) as other:
        await other.publish("navibridge/bridge/state", "online", retain=True)
        with started("demo", *HEATERS, "--broker", f"{mosquitto.host}:{mosquitto.port}", directory=home) as running:
            assert await asyncio.to_thread(running.ended) == 4
        assert f"a bridge is running at {mosquitto.host}:{mosquitto.port}" in running.text


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    monkeypatch.delitem(sys.modules, "navibridge.demo.cloud")
    monkeypatch.delattr(demo, "cloud")
    for command in (["demo", *HEATERS, "--for", "1"], ["simulate", *HEATERS, "--for", "1"]):
        ended = invoke(*command)
        assert ended.code == 1
        assert "install it with: pip install 'navibridge[demo]'" in ended.err


# ------------------------------------------------------------------------------------------------------------- simulate


def test_simulate_says_how_to_be_used(home: Path) -> None:
    """What it prints is a configuration, and that configuration works."""
    arguments = ("simulate", *HEATERS, "--dialect", "json", "--dialect", "binary", "--listen", "127.0.0.1:0")
    with started(*arguments, "--ca", "ca.pem", directory=home) as running:
        running.wait_for("/etc/hosts")
        running.wait_for("nlus.naviensmartcontrol.com")
        lines = [line for line in running.lines if not line.startswith(("#", "20"))]
        section = yaml.safe_load("\n".join(lines))
        account = section["accounts"]["navilink"]
        assert account["ca_file"] == str(home / "ca.pem")
        (home / "config.yaml").write_text("\n".join(lines))
        ended = invoke("devices", "--json")
        assert ended.code == 0, ended.err
        assert [device["topic"] for device in json.loads(ended.out)] == [JSON, BINARY]
        assert running.stop() == 0
        assert "Traceback" not in running.text


def test_simulated_faults_can_be_asked_for(home: Path) -> None:
    arguments = ("--listen", "127.0.0.1:0", "--fault", "rest_status=503", "--latency", "0.1", "--token-lifetime", "60")
    with started("simulate", *HEATERS, *arguments, directory=home) as running:
        running.wait_for("/etc/hosts")
        lines = [line for line in running.lines if not line.startswith(("#", "20"))]
        (home / "config.yaml").write_text("\n".join(lines))
        ended = invoke("devices")
        assert ended.code == 3
        assert "503" in ended.err


def test_simulate_ends_by_itself() -> None:
    ended = invoke("simulate", *HEATERS, "--listen", "127.0.0.1:0", "--for", "0.2")
    assert ended.code == 0
    assert ended.out.startswith("# Simulated clouds at https://127.0.0.1:")


def test_a_port_that_is_taken_is_said() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = invoke("simulate", *HEATERS, "--listen", f"127.0.0.1:{port}")
    assert ended.code == 1
    assert f"127.0.0.1:{port} can not be listened at: " in ended.err


def test_a_certificate_that_can_not_be_written_is_said(home: Path) -> None:
    ended = invoke("simulate", *HEATERS, "--listen", "127.0.0.1:0", "--ca", str(home / "missing" / "ca.pem"))
    assert ended.code == 1
    assert "the certificate can not be written" in ended.err


def test_an_option_that_no_device_knows_is_said() -> None:
    ended = invoke("simulate", *HEATERS, "--listen", "127.0.0.1:0", "--dialect", "klingon", "--for", "0.2")
    assert ended.code == 1
    assert "klingon" in ended.err


def test_the_stage_is_bare_when_it_is_left(home: Path) -> None:
    """Everything of a demo is gone with it: its directory, its ports."""

    async def look() -> tuple[str, int, bytes]:
        async with demo.stage(
            {name: None if name == "navilink" else 0 for name in demo.vendors_with_simulator()}
        ) as scene:
            task = asyncio.create_task(scene.bridge.run())
            async with listening(scene.settings.broker) as heard:
                message = await heard.wait_for(f"navibridge/{JSON}/state")
            task.cancel()
            await asyncio.wait((task,))
            return scene.cloud.ca_file, scene.settings.broker.port, message.payload

    ca_file, port, payload = asyncio.run(look())
    assert orjson.loads(payload)["stale"] is False
    assert not (home / ca_file).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def on_a_terminal(home: Path, columns: int) -> str:
    """What the demo shows on a terminal of that width, without the movements."""
    parent, child = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "50"}
    process = subprocess.Popen(
        [*COMMAND, "demo", *HEATERS, "--for", "3"], cwd=home, env=environment, stdout=child, stderr=child
    )
    os.close(child)
    shown = b""
    with suppress(OSError):  # how Linux says that the other side is closed
        while part := os.read(parent, 65536):
            shown += part
    os.close(parent)
    assert process.wait(20) == 0
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def test_on_a_narrow_terminal_there_are_lines(home: Path) -> None:
    text = on_a_terminal(home, 40)
    assert any(f"{JSON}: mode eco, target temperature" in line for line in text.splitlines())
    assert "│" not in text


def test_on_a_terminal_there_is_a_live_table(home: Path) -> None:
    text = on_a_terminal(home, 160)
    assert "Stop with Ctrl-C." in text
    line = next(line for line in text.splitlines() if JSON in line and "mode eco" in line)
    assert [cell.strip() for cell in line.split("│")][1:4] == [JSON, "Garage heat pump", "online"]
    assert "Traceback" not in text
