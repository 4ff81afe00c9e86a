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
        "error": "there is no request 'nonsense'; there are: info, health, devices, rediscover, log_level",
        "transaction": 0,
    }


def test_an_error_names_the_verb_that_was_probably_meant(requests: Requests) -> None:
    assert "did you mean 'devices'?" in answer(requests, "device")["error"]
    assert "did you mean 'log_level'?" in answer(requests, "loglevel", b"debug")["error"]


@pytest.mark.parametrize(
    ("payload", "given"),
    [
        (b"now", "'now'"),
        (b"[1, 2]", "'[1,2]'"),
        (b"null", "'null'"),
        (b'{"transaction": ', "'{\"transaction\":'"),
        (b"\xff\xfe", "'\ufffd\ufffd'"),
        (b"x" * 5000, f"'{'x' * 40}\u2026'"),
    ],
)
@pytest.mark.parametrize("verb", ["info", "health", "devices", "rediscover"])
def test_a_payload_that_says_nothing_gets_an_example_of_one_that_does(
    requests: Requests, verb: str, payload: bytes, given: str
) -> None:
    assert answer(requests, verb, payload) == {
        "status": "error",
        "error": f"given {given}, allowed: nothing, or a JSON object; for example "
        '{"transaction": 7}, which comes back in the answer',
    }


@pytest.mark.parametrize("payload", [b'{"level": "debug"}', b"debug", b'"debug"', b" DEBUG\n"])
def test_the_level_of_the_log_is_set_by_a_plain_word_too(requests: Requests, payload: bytes) -> None:
    assert answer(requests, "log_level", payload) == {"status": "ok", "data": {"level": "debug"}}
    assert logging.getLogger("navibridge").level == logging.DEBUG


@pytest.mark.parametrize(
    ("payload", "given", "meant"),
    [
        (b"warn", "'warn'", ", did you mean 'warning'?"),
        (b'{"level": "loud"}', "'loud'", ""),
        (b'{"level": 10}', "'10'", ""),
        (b"", "nothing", ""),
        (b"{}", "nothing", ""),
        (b"[]", "'[]'", ""),
        (b'{"level": "debug"', '\'{"level": "debug"\'', ""),
    ],
)
def test_a_level_that_there_is_not_changes_nothing_and_gets_an_example(
    requests: Requests, payload: bytes, given: str, meant: str
) -> None:
    before = logging.getLogger("navibridge").level
    assert answer(requests, "log_level", payload) == {
        "status": "error",
        "error": f"given {given}, allowed: debug, info, warning, error{meant}; for example debug, or "
        '{"level": "debug", "transaction": 7}',
    }
    assert logging.getLogger("navibridge").level == before


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


def test_what_was_too_large_to_be_read_is_no_empty_request(requests: Requests) -> None:
    found = orjson.loads(requests.answer("rediscover", b"", oversize=300_000))
    assert found == {"status": "error", "error": "the payload has 300000 bytes and was not read"}
