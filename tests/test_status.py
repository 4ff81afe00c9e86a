"""What the bridge says of itself; what watches it over HTTP is in `test_web.py`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from support import acme
from support.gadget import gadget

from navibridge.errors import LinkError

if TYPE_CHECKING:
    import pytest

INFO = "navibridge/bridge/info"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "navibridge.bridge"]


async def test_settings_for_devices_that_there_are_not_are_told_once_with_the_nearest_id(
    mosquitto, listener, world, tmp_path, caplog
) -> None:
    caplog.set_level(logging.WARNING)
    world.devices = {name: gadget(name, name) for name in ("04786332fca0", "04786332fca1", "c3")}
    world.values = {name: {"room": 20.0} for name in world.devices}
    devices: dict[str, Any] = {
        "0478:6332:fca1": {"raw": True},
        "04786332fcaO": {"name": "Attic"},
        "acme_c3": {"exclude": True},
        "0000": {"exclude": True},
    }
    async with acme.running(acme.settings(mosquitto.port, devices=devices), tmp_path) as bridge:
        info = await listener.wait_for(INFO, lambda heard: heard.json["unmatched_devices"])
        assert info.json["unmatched_devices"] == ["04786332fcao", "0000"]
        advice = "Correct it or take it out of the configuration; `navibridge devices` lists the ids"
        assert warnings(caplog) == [
            f"devices.04786332fcao is about no device of the accounts (did you mean '04786332fca0'?). {advice}",
            f"devices.0000 is about no device of the accounts (without a section are: 04786332fca0). {advice}",
        ]
        world.cut()
        reconnected = bridge.accounts["home"].reconnects + 1
        since = listener.mark()
        state = "navibridge/bridge/account/home/state"
        await listener.wait_for(state, lambda heard: heard.json["state"] == "online", since=since)
        assert bridge.accounts["home"].reconnects == reconnected
        assert len(warnings(caplog)) == 2
        world.add(gadget("Late", "0000"))
        await listener.wait_for(INFO, lambda heard: heard.json["unmatched_devices"] == ["04786332fcao"], since=since)


async def test_nothing_is_unmatched_while_an_account_has_not_said_what_it_has(
    mosquitto, listener, world, tmp_path, caplog
) -> None:
    caplog.set_level(logging.WARNING)
    other = acme.world("other@example.com")
    other.error = LinkError("no route to Acme", reason="unreachable")
    other.devices = {"b2": gadget("Attic", "b2")}
    accounts = {"cabin": {"vendor": "acme", "email": "other@example.com", "password": "long-enough-secret"}}
    settings = acme.settings(mosquitto.port, accounts=accounts, devices={"b2": {"name": "Loft"}, "c3": {}})
    async with acme.running(settings, tmp_path):
        await listener.wait_for("navibridge/acme_a1/state")
        await listener.wait_for(INFO, lambda heard: "acme_a1" in heard.json["devices"])
        assert not warnings(caplog)
        other.error = None
        await listener.wait_for(INFO, lambda heard: heard.json["unmatched_devices"] == ["c3"])
        assert len(warnings(caplog)) == 1
    assert listener.all(INFO)[0].json["unmatched_devices"] == []
