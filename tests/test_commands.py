"""A command's life on paper: payloads, checks, queues, verdicts."""

from __future__ import annotations

import orjson
import pytest
from support.gadget import gadget

from navibridge.commands import (
    LONGEST_PAYLOAD,
    Command,
    Queue,
    Reply,
    Request,
    Result,
    Verdict,
    check,
    ended,
    read_object,
    read_value,
)
from navibridge.errors import CommandError


def test_an_object_of_changes() -> None:
    assert read_object(b'{"target": 21, "id": "x", "ttl": 5}') == Request({"target": 21}, "x", 5.0)
    assert read_object(b'{"target": 21, "transaction": 7}') == Request({"target": 21}, 7, None)


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        (b"warm", "invalid_json", "not JSON"),
        (b'{"target": 21', "invalid_json", "not JSON"),
        (b'{"target": NaN}', "invalid_json", "not JSON"),
        (b"[1]", "invalid_json", "not a list"),
        (b"21", "invalid_json", "not a number"),
        (b"{}", "invalid_json", "no change"),
        (b'{"id": 1}', "invalid_json", "no change"),
        (b'{"a": 1, "ttl": 0}', "invalid_value", "ttl: 0 is not 1 to 3600 seconds"),
        (b'{"a": 1, "ttl": "soon"}', "invalid_value", "ttl"),
        (b'{"a": 1, "ttl": true}', "invalid_value", "ttl"),
        (b'{"a": 1, "id": [1]}', "invalid_value", "id"),
        (b'{"a": 1, "id": true}', "invalid_value", "id"),
        (b'{"a": 1, "id": "' + b"x" * 200 + b'"}', "invalid_value", "128"),
        (b"\xff\xfe", "invalid_encoding", "not UTF-8"),
        (b" " * (LONGEST_PAYLOAD + 1), "too_large", "4097 bytes"),
    ],
)
def test_objects_that_are_none(payload, code, message) -> None:
    with pytest.raises(CommandError) as refused:
        read_object(payload)
    assert refused.value.code == code
    assert message in str(refused.value)


@pytest.mark.parametrize("payload", [b'{"id": "mine"}', b'{"a": 1, "ttl": 0, "id": "mine"}'])
def test_an_object_that_is_none_still_names_its_sender(payload) -> None:
    with pytest.raises(CommandError) as refused:
        read_object(payload)
    assert refused.value.id == "mine"


@pytest.mark.parametrize(
    ("payload", "given"),
    [(b"21.5", "21.5"), (b" eco\n", "eco"), (b'"eco"', "eco"), (b'"eco', '"eco'), (b"", ""), (b"null", "null")],
)
def test_a_plain_value(payload, given) -> None:
    assert read_value("mode", payload).changes == {"mode": given}


@pytest.mark.parametrize("payload", [b'{"mode": "eco"}', b"[1, 2]"])
def test_a_plain_value_is_no_object(payload) -> None:
    with pytest.raises(CommandError, match="plain value"):
        read_value("mode", payload)


def test_in_celsius_the_device_checks() -> None:
    assert check(gadget(), Request({"target": "21.2"}), "C") == {"target": 21.0}


def test_in_fahrenheit_the_device_is_asked_on_its_own_grid() -> None:
    assert check(gadget(), Request({"target": "70", "counter": "4"}), "F") == {"target": 21.0, "counter": 4}
    assert check(gadget(), Request({"target": 86.4, "light": "ON"}), "F") == {"target": 30.0, "lamp": True}
    with pytest.raises(CommandError, match="20 is outside 50 to 86 °F"):
        check(gadget(), Request({"target": 20}), "F")


def command(now: float = 0.0, ttl: float = 60.0, ident: str | None = None, **changes: object) -> Command:
    return Command("acme_a1", dict(changes), arrived=now, expires=now + ttl, id=ident, started=now)  # type: ignore[arg-type]


def test_a_newer_value_supersedes_the_older() -> None:
    queue = Queue(10)
    assert queue.add(command(ident="one", target=20.0), 0) == []
    [result] = queue.add(command(ident="two", target=21.0), 1.0)
    assert (result.id, result.verdict, result.took) == ("one", Verdict.SUPERSEDED, 1.0)
    assert "target" in result.reason
    assert len(queue) == 1


def test_a_command_that_is_superseded_in_part_lives_on() -> None:
    queue = Queue(10)
    queue.add(command(ident="both", target=20.0, lamp=True), 0)
    assert queue.add(command(ident="target", target=21.0), 1) == []
    first = queue.next()
    assert first is not None
    assert first.changes == {"lamp": True}
    result = ended(first, Verdict.APPLIED, 2)
    assert result.reason == "superseded by a newer command: target"
    queue.put_back(first)
    [result] = queue.add(command(ident="lamp", lamp=False), 3)
    assert (result.id, result.verdict) == ("both", Verdict.SUPERSEDED)
    assert "target, lamp" in result.reason


def test_both_parts_at_once() -> None:
    queue = Queue(10)
    queue.add(command(ident="both", target=20.0, lamp=True), 0)
    [result] = queue.add(command(ident="new", lamp=False, target=21.0), 1)
    assert result.id == "both"
    assert len(queue) == 1


def test_a_full_queue_says_so() -> None:
    queue = Queue(2)
    queue.add(command(target=20.0), 0)
    queue.add(command(lamp=True), 0)
    with pytest.raises(CommandError) as refused:
        queue.add(command(speed="fast"), 0)
    assert refused.value.code == "queue_full"
    assert queue.add(command(lamp=False), 0), "a command that supersedes needs no new place"


def test_a_command_that_does_not_get_in_takes_nothing_from_those_that_wait() -> None:
    queue = Queue(1)
    older = Command("a1", {"lamp": True, "target": 21.0}, arrived=0, expires=60)
    queue.add(older, 0)
    with pytest.raises(CommandError, match="waiting already"):
        queue.add(Command("a1", {"target": 22.0}, arrived=1, expires=60), 1)
    assert older.changes == {"lamp": True, "target": 21.0}
    assert not older.superseded


def test_a_command_that_came_back_into_a_full_queue_keeps_its_verdict() -> None:
    queue = Queue(1)
    sent, waiting = (Command("a1", {key: True}, arrived=0, expires=60, id=key) for key in ("lamp", "reset"))
    queue.add(sent, 0)
    assert queue.next() is sent
    queue.add(waiting, 0)
    queue.put_back(sent)
    with pytest.raises(CommandError, match="waiting already"):
        queue.add(Command("a1", {"lamp": False}, arrived=1, expires=60), 1)
    assert [queue.next(), queue.next()] == [sent, waiting]


def test_what_is_too_old_is_never_sent() -> None:
    queue = Queue(10)
    queue.add(command(ttl=5, ident="short", target=20.0), 0)
    queue.add(command(ttl=50, ident="long", lamp=True), 0)
    assert queue.soonest() == 5
    assert queue.expire(4.9) == []
    [result] = queue.expire(5)
    assert (result.id, result.verdict) == ("short", Verdict.EXPIRED)
    assert queue.soonest() == 50
    assert queue.next() is not None
    assert queue.next() is None
    assert queue.soonest() is None


def test_a_result_says_everything() -> None:
    asked = command(ident="x", target=20.0, lamp=True)
    asked.done.add("lamp")
    asked.confirmed["lamp"] = True
    assert asked.remaining == {"target": 20.0}
    asked.reply = Reply("answers", b"7")
    result = ended(asked, Verdict.REFUSED, 1.5, "no", "busy")
    assert result.reply == Reply("answers", b"7")
    document = result.document(0, gadget(), "F")
    assert document == {
        "event_type": "refused",
        "id": "x",
        "changes": {"target": 68.0, "lamp": True},
        "verdict": "refused",
        "reason": "no; already applied: lamp",
        "code": "busy",
        "values": {"lamp": True},
        "took_ms": 1500,
        "at": "1970-01-01T00:00:00+00:00",
    }
    orjson.dumps(document)


def test_a_rejected_command_is_shown_as_given() -> None:
    document = Result(Verdict.REJECTED, {"target": "999"}, reason="too hot", code="out_of_range").document(
        0, gadget(), "F"
    )
    assert document["changes"] == {"target": "999"}
    document = Result(Verdict.APPLIED, {"new": 1}).document(0, gadget())
    assert (document["changes"], document["code"]) == ({"new": 1}, None)
    assert Result(Verdict.APPLIED, {"new": 1}).document(0)["changes"] == {"new": 1}
