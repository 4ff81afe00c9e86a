from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.navilink import sample

from navibridge.config import Secret
from navibridge.demo.cloud import SimulatedCloud
from navibridge.errors import LinkError
from navibridge.rest import Rest
from navibridge.store import Store
from navibridge.vendors.navilink.api import PAGE, Api, Listed
from navibridge.vendors.navilink.auth import Auth
from navibridge.vendors.navilink.simulated.cloud import NavilinkCloud, RestFault, simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def opened(directory: Path, devices: int = 1) -> AsyncIterator[tuple[Api, NavilinkCloud]]:
    sim = simulator(devices)
    async with SimulatedCloud([sim]) as cloud:
        section = sim.account(cloud.host, cloud.port, cloud.ca_file)
        async with Rest(section["api_url"], ca_file=cloud.ca_file) as rest:
            auth = Auth(
                rest,
                section["email"],
                Secret(section["password"]),
                store=Store(directory),
                account="home",
                clock=time.time,
            )
            yield Api(auth), sim


def listing(data: Any) -> RestFault:
    return RestFault(200, {"code": 200, "msg": "SUCCESS", "data": data})


async def test_the_sample_list(tmp_path: Path) -> None:
    async with opened(tmp_path) as (api, sim):
        sim.rest_faults["/device/list"] = listing(sample("rest_device_list_response")["data"])
        found = await api.devices()
    assert found.complete
    assert found.devices == (
        Listed("a1b2c3d4e5f6", "7741", 52, "31007", "Garage heat pump", connected=True),
        Listed("a1b2c3d4e600", "5301", 1, "31007", "Cabin tankless", connected=False),
    )
    assert "Oregon" not in repr(found)


async def test_what_a_device_says_of_itself(tmp_path: Path) -> None:
    async with opened(tmp_path) as (api, sim):
        (device,) = (await api.devices()).devices
        assert (await api.info(device))["deviceInfo"]["deviceType"] == 52
        assert 33556241 in dict(await api.firmware(device))
        heater = sim.heaters[device.mac]
        plan = await api.tariff(device, heater.unit.model.serial, "O")
        assert "touInfo" in plan
        assert await api.connected(device) is None


async def test_odd_entries_are_left_out_and_make_the_list_incomplete(tmp_path: Path) -> None:
    odd = [
        None,
        {},
        {"deviceInfo": {"macAddress": "a1b2c3d4e5f6", "deviceType": 52}},
        {"deviceInfo": {"macAddress": "nonsense", "deviceType": 52, "additionalValue": "1"}},
        {"deviceInfo": {"macAddress": "A1:B2:C3:D4:E5:F6", "deviceType": 52, "additionalValue": 7741, "connected": 0}},
    ]
    async with opened(tmp_path) as (api, sim):
        sim.rest_faults["/device/list"] = listing(odd)
        found = await api.devices()
    assert not found.complete
    assert found.devices == (Listed("a1b2c3d4e5f6", "7741", 52, "", "NaviLink e5f6", connected=None),)


async def test_pages_end_even_if_the_service_does_not_end_them(tmp_path: Path) -> None:
    entry = sample("rest_device_list_response")["data"][0]
    async with opened(tmp_path) as (api, sim):
        sim.rest_faults["/device/list"] = listing([entry] * PAGE)
        found = await api.devices()
    assert len(found.devices) == 1


@pytest.mark.parametrize("data", [None, {}, "x"])
async def test_no_list_at_all(tmp_path: Path, data: object) -> None:
    async with opened(tmp_path) as (api, sim):
        sim.rest_faults["/device/list"] = listing(data)
        with pytest.raises(LinkError):
            await api.devices()
