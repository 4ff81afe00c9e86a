"""Commands that look at one thing and end, without a running bridge: straight to the cloud."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from support.mosquitto import free_port
from support.program import Clouds, invoke

from navibridge import vendors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.mosquitto import Mosquitto

JSON, BINARY = "navilink_02005e530001", "navilink_02005e530002"


@pytest.fixture
def nowhere() -> dict[str, Any]:
    """A broker that is not there."""
    return {"host": "127.0.0.1", "port": free_port()}


@pytest.fixture
def configured(cloud: Clouds, configure: Callable[..., Path], nowhere: dict[str, Any]) -> Clouds:
    """One account in the simulated cloud, and no broker."""
    configure(accounts={"home": cloud.account()}, broker=nowhere)
    return cloud


# ------------------------------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize("command", [["run"], ["devices"], ["check"]])
def test_without_an_account_there_is_nothing_to_do(command: list[str]) -> None:
    ended = invoke(*command)
    assert ended.code == 2
    assert "no account: add one under accounts" in ended.out + ended.err


def test_every_problem_of_the_configuration_is_told(configure: Callable[..., Path]) -> None:
    configure(brokr={}, accounts={"home": {"vendor": "navilink", "email": "nobody"}})
    ended = invoke("run")
    assert ended.code == 2
    assert ended.err.startswith("navibridge: the configuration has 3 problems:")
    for said in ("did you mean 'broker'?", "accounts.home.email", "accounts.home.password: missing"):
        assert said in ended.err


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_file_may_be_named_before_and_after_the_command(
    configured: Clouds, home: Path, place: str, nowhere: dict[str, Any]
) -> None:
    (home / "config.yaml").rename(home / "other.yaml")
    named = ["--config", "other.yaml"]
    ended = invoke(*named, "devices") if place == "before" else invoke("devices", *named)
    assert (ended.code, len(ended.lines)) == (0, 3), ended.err


def test_a_file_that_is_not_there(home: Path) -> None:
    ended = invoke("devices", "--config", "nothing.yaml")
    assert ended.code == 2
    assert "nothing.yaml" in ended.err


# ------------------------------------------------------------------------------------------------------------ devices


def test_devices_lists_what_the_account_holds(configured: Clouds) -> None:
    ended = invoke("devices")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.lines] == ["topic", JSON, BINARY]
    listed = json.loads(invoke("devices", "--json").out)
    assert [device["topic"] for device in listed] == [JSON, BINARY]
    first = listed[0]
    assert first["name"] == "Garage heat pump"
    assert first["kind"] == "heat_pump_water_heater"
    assert first["account"] == "home"
    assert "target_temperature" in first["writable"]
    assert set(first["writable"]) - set(first["attributes"]) <= {
        key for key in first["writable"] if key not in first["attributes"]
    }


def test_devices_names_the_account_that_failed(cloud: Clouds, configure: Callable[..., Path]) -> None:
    configure(accounts={"good": cloud.account(), "bad": cloud.account() | {"email": "x@y.example", "password": "no"}})
    ended = invoke("devices")
    assert ended.code == 4
    assert len(ended.lines) == 3
    assert "account bad: NaviLink does not know this e-mail address" in ended.err


def test_devices_says_when_the_cloud_is_away(cloud: Clouds, configure: Callable[..., Path]) -> None:
    configure(accounts={"home": cloud.account() | {"api_url": f"https://127.0.0.1:{free_port()}/api/v2.1"}})
    ended = invoke("devices")
    assert (ended.code, ended.out) == (3, "")
    assert "account home:" in ended.err


def test_devices_waits_only_so_long(configured: Clouds) -> None:
    configured.call(lambda: setattr(configured.cloud.faults, "hang_upgrade", True))
    ended = invoke("devices", "--timeout", "1")
    assert ended.code == 3
    assert "account home: it was not ready within 1 s" in ended.err


def test_an_empty_account_is_no_failure(configured: Clouds) -> None:
    account = next(iter(configured.simulators[0].accounts.values()))  # type: ignore[attr-defined]
    configured.call(lambda: setattr(account, "empty_list", True))
    ended = invoke("devices")
    assert (ended.code, ended.out) == (0, "The accounts hold no devices.\n")


# -------------------------------------------------------------------------------------------------------- get and set


def test_get_one_value_is_the_value_alone(configured: Clouds) -> None:
    ended = invoke("get", JSON, "target_temperature")
    assert ended.code == 0, ended.err
    truth = configured.simulators[0].devices["02005e530001"].state.setpoint  # type: ignore[attr-defined]
    assert float(ended.out) == truth
    assert "asking the cloud directly" in ended.err


@pytest.mark.parametrize("wanted", ["02005E530002", BINARY, "basement HEAT pump"])
def test_a_device_goes_by_its_id_its_topic_and_its_name(configured: Clouds, wanted: str) -> None:
    ended = invoke("get", wanted, "power", "tank_charge", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert list(found) == ["power", "tank_charge"]
    assert all(isinstance(value, int) for value in found.values())


def test_get_everything(configured: Clouds) -> None:
    ended = invoke("get", JSON)
    assert ended.code == 0
    shown = dict(line.split(maxsplit=1) for line in ended.lines)
    assert shown["current_temperature"].endswith("°C")
    assert shown["operation_mode"] == "energy_saver"
    whole = json.loads(invoke("get", JSON, "--json").out)
    assert whole["stale"] is False
    assert whole.keys() > shown.keys() - {"problem"}


def test_an_unknown_device_and_an_unknown_attribute_are_refused(configured: Clouds) -> None:
    ended = invoke("get", "nobody")
    assert ended.code == 4
    assert f"there is no device 'nobody'; known are: {JSON} (Garage heat pump)" in ended.err
    ended = invoke("get", JSON, "target_temprature")
    assert ended.code == 4
    assert f"target_temprature: no attribute of {JSON}; it has mode," in ended.err


def test_a_name_of_two_devices_is_asked_back(configured: Clouds) -> None:
    device = configured.simulators[0].devices["02005e530002"]  # type: ignore[attr-defined]
    configured.call(lambda: setattr(device, "name", "Garage heat pump"))
    ended = invoke("get", "garage heat pump")
    assert ended.code == 4
    assert f"may be any of these, name one by its topic: {JSON} (Garage heat pump); {BINARY}" in ended.err


def test_a_wrong_password_is_refused_without_being_shown(cloud: Clouds, configure: Callable[..., Path]) -> None:
    configure(
        accounts={"home": cloud.account() | {"password": "hunter2-hunter2"}}, broker={"host": "127.0.0.1", "port": 1}
    )
    ended = invoke("get", JSON)
    assert ended.code == 4
    assert "account home is needs_attention: NaviLink refuses this e-mail address and password" in ended.err
    assert "hunter2" not in ended.err


def test_without_broker_and_account_nothing_can_be_reached(nowhere: dict[str, Any]) -> None:
    ended = invoke("get", JSON, "--broker", f"127.0.0.1:{nowhere['port']}")
    assert ended.code == 3
    assert "refused the connection" in ended.err


def test_set_waits_for_the_verdict(configured: Clouds) -> None:
    ended = invoke("set", JSON, "target_temperature=51.5", "mode=heat_pump")
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{JSON}: applied after ")
    assert "target_temperature = 51.5" in ended.out
    assert configured.simulators[0].devices["02005e530001"].state.setpoint == 51.5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("target_temperature=500", "outside"),
        ("target_temperature=nan", "is not a number"),
        ("mode=disco", "is not one of off, eco"),
        ("current_temperature=5", "can not be written"),
        ("flavour=mint", "is no attribute of this device"),
        ("power_state=maybe", "neither on nor off"),
    ],
)
def test_set_says_why_it_is_rejected(configured: Clouds, change: str, reason: str) -> None:
    ended = invoke("set", JSON, change, "--json")
    assert ended.code == 4
    result = json.loads(ended.out)
    assert result["verdict"] == "rejected"
    assert reason in result["reason"]
    assert not configured.simulators[0].received_controls  # type: ignore[attr-defined]


def test_a_device_that_does_not_answer_leaves_it_unconfirmed(
    cloud: Clouds, configure: Callable[..., Path], nowhere: dict[str, Any]
) -> None:
    configure(
        accounts={"home": cloud.account()},
        broker=nowhere,
        commands={"spacing": 0, "timeout": 1},
    )
    cloud.call(lambda: setattr(cloud.cloud.faults, "lose", lambda topic, _: topic.endswith("/ctrl")))
    ended = invoke("set", JSON, "target_temperature=51")
    assert ended.code == 1
    assert ended.out.startswith(f"{JSON}: unconfirmed (target_temperature = 51): ")


# -------------------------------------------------------------------------------------------------------------- check


def checked(*arguments: str) -> tuple[int, dict[str, str], str]:
    """The exit code, the verdict of each step, and everything that was said."""
    ended = invoke("check", "--json", *arguments)
    lines = [json.loads(line) for line in ended.lines]
    return ended.code, {line["step"]: line["verdict"] for line in lines}, ended.out + ended.err


def test_check_finds_nothing_wrong(cloud: Clouds, configure: Callable[..., Path], mosquitto: Mosquitto) -> None:
    configure(accounts={"home": cloud.account()}, broker={"host": mosquitto.host, "port": mosquitto.port})
    code, verdicts, said = checked()
    assert code == 0, said
    assert set(verdicts.values()) == {"ok"}
    assert list(verdicts) == [
        "configuration",
        *(
            f"home: {server}, {what}"
            for server in ("REST service", "AWS IoT")
            for what in ("name", "TCP", "TLS", "clock")
        ),
        "home: sign-in",
        "home: devices",
        "home: cloud link",
        "broker: connection",
        "broker: a message there and back",
        "bridge",
    ]
    assert "02005e530001 (Garage heat pump)" in said
    assert cloud.account()["password"] not in said
    assert invoke("check").lines[0].startswith("ok      configuration: config.yaml; accounts home (navilink)")


def test_check_finds_a_missing_broker(configured: Clouds) -> None:
    code, verdicts, said = checked()
    assert code == 3
    assert [step for step, verdict in verdicts.items() if verdict == "fail"] == ["broker: connection"]
    assert verdicts["bridge"] == "skipped"
    assert "Start the broker" in said


def test_check_finds_a_broker_that_refuses(cloud: Clouds, configure: Callable[..., Path], guarded: Mosquitto) -> None:
    broker = {"host": guarded.host, "port": guarded.port, "username": "me", "password": "wrong-wrong"}
    configure(accounts={"home": cloud.account()}, broker=broker)
    code, verdicts, said = checked()
    assert (code, verdicts["broker: connection"]) == (4, "fail")
    assert "Check broker.username and broker.password" in said
    assert "wrong-wrong" not in said


@pytest.fixture
async def guarded(start_mosquitto: Callable[..., Any]) -> Mosquitto:
    """A broker that asks for a password."""
    made: Mosquitto = await start_mosquitto(users={"me": "right"})
    return made


def test_check_finds_a_wrong_password(cloud: Clouds, configure: Callable[..., Path], nowhere: dict[str, Any]) -> None:
    configure(accounts={"home": cloud.account() | {"password": "hunter2-hunter2"}}, broker=nowhere)
    code, verdicts, said = checked()
    assert code == 4
    assert verdicts["home: sign-in"] == "fail"
    assert verdicts["home: cloud link"] == "skipped"
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("change", "step", "advice"),
    [
        ({"api_url": "https://no-such-host.invalid/api"}, "home: REST service, name", "name server"),
        ({"iot_port": 1}, "home: AWS IoT, TCP", "firewall"),
        ({"ca_file": None}, "home: REST service, TLS", "certificate authorities"),
    ],
)
def test_check_finds_what_is_in_the_way(
    cloud: Clouds, configure: Callable[..., Path], change: dict[str, Any], step: str, advice: str
) -> None:
    account = {name: value for name, value in (cloud.account() | change).items() if value is not None}
    configure(accounts={"home": account}, broker={"host": "127.0.0.1", "port": 1})
    code, verdicts, said = checked()
    assert code == 3
    assert next(name for name, verdict in verdicts.items() if verdict == "fail") == step
    assert verdicts["home: sign-in"] == "skipped"
    assert advice in said


def test_check_finds_a_wrong_clock(configured: Clouds) -> None:
    configured.call(lambda: setattr(configured.cloud.faults, "clock_offset", 3600.0))
    code, verdicts, said = checked()
    assert code == 3
    assert verdicts["home: REST service, clock"] == "fail"
    assert "this clock is 3600 s behind the server's" in said or "this clock is 3599 s behind the server's" in said
    assert "Set the clock of this machine" in said


def test_check_finds_a_link_that_is_refused(configured: Clouds) -> None:
    configured.call(lambda: setattr(configured.cloud.faults, "refuse_upgrade", 403))
    code, verdicts, said = checked()
    assert code == 3
    assert "fail" in {verdicts[step] for step in verdicts if "cloud link" in step}
    assert "upgrade was refused" in said


def test_check_lists_the_problems_of_a_configuration(configure: Callable[..., Path]) -> None:
    configure(brokr={}, accounts={})
    ended = invoke("check")
    assert ended.code == 2
    assert [line[:21] for line in ended.lines] == ["FAIL    configuration"] * len(ended.lines)


# ------------------------------------------------------------------------------------------------------------- schema


def test_schema_is_the_configuration_s_own() -> None:
    ended = invoke("schema")
    assert ended.code == 0
    document = json.loads(ended.out)
    assert {"broker", "accounts", "devices", "commands"} <= document["properties"].keys()
    assert set(vendors.names()) <= document["$defs"].keys()


def test_commands_leave_the_log_as_it_was(configured: Clouds) -> None:
    before = logging.getLogger().handlers[:]
    invoke("devices")
    assert logging.getLogger().handlers == before


@pytest.fixture
async def deaf(start_mosquitto: Callable[..., Any]) -> Mosquitto:
    """A broker that takes what it is sent and passes nothing on."""
    made: Mosquitto = await start_mosquitto(users={"me": "right"}, acl="user me\ntopic read #\n")
    return made


def test_check_finds_access_rules_in_the_way(cloud: Clouds, configure: Callable[..., Path], deaf: Mosquitto) -> None:
    broker = {"host": deaf.host, "port": deaf.port, "username": "me", "password": "right"}
    configure(accounts={"home": cloud.account()}, broker=broker)
    code, verdicts, said = checked()
    assert (code, verdicts["broker: a message there and back"]) == (4, "fail")
    assert "access rules" in said
