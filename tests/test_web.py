"""Health and metrics over HTTP, of a real bridge at a real broker."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import acme
from support.listener import listening
from support.waiting import until

from navibridge.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.mosquitto import Mosquitto
    from support.vendors.acme import World

    from navibridge.bridge import Bridge

WEB = {"enabled": True, "listen": "127.0.0.1:0"}


@asynccontextmanager
async def served(mosquitto: Mosquitto, directory: Path) -> AsyncIterator[tuple[Bridge, str]]:
    """A bridge that answers over HTTP, and where."""
    async with acme.running(acme.settings(mosquitto.port, web=WEB), directory) as bridge:
        await until(lambda: bridge.web is not None and bridge.web.address)
        assert bridge.web is not None
        assert bridge.web.address is not None
        host, port = bridge.web.address
        yield bridge, f"http://{host}:{port}"


async def figures(http: aiohttp.ClientSession, url: str) -> dict[tuple[str, ...], float]:
    """Every sample of /metrics: name and labels' values to value."""
    async with http.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    assert "owner@example.com" not in text
    assert "long-enough-secret" not in text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_health_and_figures_of_a_bridge_that_is_well(mosquitto: Mosquitto, world: World, tmp_path: Path) -> None:
    async with (
        served(mosquitto, tmp_path) as (bridge, url),
        listening(mosquitto, "#") as listener,
        aiohttp.ClientSession() as http,
    ):
        await listener.wait_for("navibridge/acme_a1/state")
        await listener.publish("navibridge/acme_a1/set/target", "22")
        await listener.wait_for("navibridge/acme_a1/result")
        async with http.get(url) as answer:  # by way of the root
            assert answer.status == 200
            assert str(answer.url) == f"{url}/health"
            health = await answer.json()
        assert (health["healthy"], health["reasons"]) == (True, [])
        assert health["base_topic"] == "navibridge"
        assert health["accounts"]["home"]["state"] == "online"
        assert "owner@example.com" not in str(health)
        found = await figures(http, url)
        assert found["navibridge_healthy",] == 1
        assert found["navibridge_broker_connected",] == 1
        assert found["navibridge_devices",] == found["navibridge_devices_available",] == 1
        assert found["navibridge_commands_total", "applied"] == 1
        assert found["navibridge_commands_total", "expired"] == 0
        assert found["navibridge_account_state", "home", "online", "acme"] == 1
        assert found["navibridge_account_state", "home", "needs_attention", "acme"] == 0
        assert found["navibridge_account_reconnects_total", "home"] == 0
        assert found["navibridge_account_frames_total", "home"] == 0
        assert found["navibridge_device_available", "acme_a1"] == 1
        assert 0 <= found["navibridge_device_seen_seconds", "acme_a1"] < 10
        assert found["navibridge_resident_memory_bytes",] > 1e6
        assert found["navibridge_publishes_total",] >= 1
        assert found["navibridge_readings_total",] >= 2
        async with http.get(f"{url}/secrets") as answer:
            assert answer.status == 404
        async with http.post(f"{url}/health") as answer:
            assert answer.status == 405
        world.cut()
        await until(lambda: bridge.health()["accounts"]["home"]["reconnects"] == 1, 10)
        assert (await figures(http, url))["navibridge_account_reconnects_total", "home"] == 1
    with pytest.raises(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession() as http, http.get(url):
            pass


async def test_an_account_that_needs_a_person_and_a_broker_that_is_away_are_reasons(
    mosquitto: Mosquitto, world: World, tmp_path: Path
) -> None:
    world.error = AuthError("Acme says no", reason="wrong_password", what_to_do="Check the password.")
    async with served(mosquitto, tmp_path) as (bridge, url), aiohttp.ClientSession() as http:
        await until(lambda: bridge.connected and bridge.accounts["home"].state.status == "needs_attention")
        async with http.get(f"{url}/health") as answer:
            assert answer.status == 503
            health = await answer.json()
        assert health["reasons"] == ["Account home needs attention: Acme says no. Check the password."]
        assert (await figures(http, url))["navibridge_account_state", "home", "needs_attention", "acme"] == 1
        await mosquitto.stop()
        await until(lambda: not bridge.connected)
        async with http.get(f"{url}/health") as answer:
            assert answer.status == 503
            assert (await answer.json())["reasons"][0] == f"The broker 127.0.0.1:{mosquitto.port} is not connected."
        await mosquitto.start()
        await until(lambda: bridge.connected, 10)
        assert (await figures(http, url))["navibridge_healthy",] == 0


async def test_an_account_that_is_merely_offline_is_no_reason_to_restart(
    mosquitto: Mosquitto, world: World, tmp_path: Path
) -> None:
    async with served(mosquitto, tmp_path) as (bridge, url), aiohttp.ClientSession() as http:
        await until(lambda: bridge.connected and bridge.accounts["home"].up.is_set())
        world.error = OSError("cable")
        world.cut()
        await until(lambda: bridge.accounts["home"].state.status == "offline")
        async with http.get(f"{url}/health") as answer:
            assert answer.status == 200


async def test_an_address_that_is_taken_costs_the_endpoint_and_not_the_bridge(
    mosquitto: Mosquitto, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    monkeypatch.setattr("navibridge.web.RETRY", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken, caplog.at_level(logging.WARNING):
        port = taken.getsockname()[1]
        settings = acme.settings(mosquitto.port, web={"enabled": True, "listen": f"127.0.0.1:{port}"})
        async with acme.running(settings, tmp_path) as bridge, listening(mosquitto, "#") as listener:
            await listener.wait_for("navibridge/acme_a1/state")
            await until(lambda: "can not listen" in caplog.text)
            assert bridge.web is not None
            assert bridge.web.address is None
            taken.close()
            await until(lambda: bridge.web is not None and bridge.web.address == ("127.0.0.1", port))
    warnings = [record.getMessage() for record in caplog.records if record.name == "navibridge.web"]
    assert len([line for line in warnings if "can not listen" in line]) == 1
    assert f"127.0.0.1:{port}" in warnings[0]
    assert "Set web.listen to a free address" in warnings[0]


async def test_nothing_listens_unless_it_is_wanted(mosquitto: Mosquitto, world: World, tmp_path: Path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path) as bridge:
        await until(lambda: bridge.connected)
        assert bridge.web is None
        assert "web" not in {task.get_name() for task in asyncio.all_tasks()}
