"""What the bridge answers when it is asked something itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from support import acme

from navibridge.requests import Requests

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def requests() -> Requests:
    return Requests(
        info=lambda: {"version": "1"},
        health=lambda: {"healthy": True},
        devices=lambda: [{"topic": "acme_a1"}],
        rediscover=lambda: {"devices": 1},
    )


@pytest.fixture(autouse=True)
def own_level() -> Iterator[None]:
    logger = logging.getLogger("navibridge")
    before = logger.level
    yield
    logger.setLevel(before)


def answer(requests: Requests, verb: str, payload: bytes = b"") -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(requests.answer(verb, payload))
    return found


@pytest.mark.parametrize(
    ("verb", "data"),
    [
        ("info", {"version": "1"}),
        ("health", {"healthy": True}),
        ("devices", [{"topic": "acme_a1"}]),
        ("rediscover", {"devices": 1}),
    ],
)
@pytest.mark.parametrize("payload", [b"", b" ", b"{}"])
def test_each_verb_has_its_answer(requests: Requests, verb: str, data: object, payload: bytes) -> None:
    assert answer(requests, verb, payload) == {"status": "ok", "data": data}


def test_a_transaction_comes_back(requests: Requests) -> None:
    assert answer(requests, "health", b'{"transaction": "t1"}')["transaction"] == "t1"
    assert answer(requests, "nonsense", b'{"transaction": 0}') == {
        "status": "error",
        "error": "there is no request 'nonsense'; there are info, health, devices, rediscover, log_level",
        "transaction": 0,
    }


def test_the_level_of_the_log_is_set(requests: Requests) -> None:
    assert answer(requests, "log_level", b'{"level": "debug"}') == {"status": "ok", "data": {"level": "debug"}}
    assert logging.getLogger("navibridge").level == logging.DEBUG
    assert answer(requests, "log_level", b'"Warning"')["data"] == {"level": "warning"}
    assert logging.getLogger("navibridge").level == logging.WARNING
    assert "'LOUD' is not one of debug, info, warning, error" in answer(requests, "log_level", b'"loud"')["error"]
    assert logging.getLogger("navibridge").level == logging.WARNING


async def test_a_running_bridge_answers(mosquitto, listener, world, tmp_path) -> None:
    async with acme.running(acme.settings(mosquitto.port), tmp_path):
        await listener.wait_for("navibridge/acme_a1/state")
        await listener.publish_json("navibridge/bridge/request/devices", {"transaction": "t1"})
        found = (await listener.wait_for("navibridge/bridge/response/devices")).json
        assert (found["status"], found["transaction"]) == ("ok", "t1")
        assert found["data"][0]["writable"] == ["target", "lamp", "speed", "counter", "label", "reset"]
        for verb in ("info", "health", "rediscover"):
            await listener.publish(f"navibridge/bridge/request/{verb}", "")
            assert (await listener.wait_for(f"navibridge/bridge/response/{verb}")).json["status"] == "ok"
        await listener.publish("navibridge/bridge/request/nonsense", "{")
        assert (await listener.wait_for("navibridge/bridge/response/nonsense")).json["status"] == "error"
