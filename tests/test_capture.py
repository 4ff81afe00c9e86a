"""Captures: written and read byte for byte, and nothing of anybody in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navibridge import vendors
from navibridge.capture import Head, Line, Private, Redaction, read
from navibridge.errors import FrameError
from navibridge.vendors.navilink import frames as navilink_frames
from navibridge.vendors.navilink import packed

SAMPLES = Path(__file__).parent / "samples"
KEY = b"sixteen bytes or more"
HEAD = Head(1_768_478_400.0, "0.1.0", {"home": {"vendor": "navilink"}})
PLAIN = Private(frozenset(), (), frozenset())

texts = st.text(st.characters(codec="utf-8", exclude_characters="\n"))
lines = st.builds(
    Line,
    at=st.floats(0, 4e9),
    direction=st.sampled_from(["in", "out", "rest", "open", "refused", "close"]),
    account=st.just("home"),
    topic=texts,
    payload=st.binary(max_size=200) | texts.map(str.encode),
    link=st.integers(0, 9),
)


def redaction(vendor: str = "", **options: Any) -> Redaction:
    return Redaction(vendors.load(vendor).PRIVATE if vendor else PLAIN, KEY, **options)


def frame(payload: bytes, topic: str = "t", direction: Any = "in") -> Line:
    return Line(0.0, direction, "home", topic, payload)


# --- the file ---------------------------------------------------------------------------------------------------------


@given(st.lists(lines, max_size=5))
def test_what_was_written_is_read_byte_for_byte(written: list[Line]) -> None:
    head, found = read([HEAD.encode(), *(line.encode() for line in written)])
    assert head == HEAD
    assert found == sorted(written, key=lambda line: line.at)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "line 1 is not the beginning"),
        (b"{}", "line 1 is not the beginning"),
        (b"\n[1]", "line 2 is not the beginning"),
        (HEAD.encode().replace(b'"capture":1', b'"capture":2'), "line 1 is not the beginning"),
        (HEAD.encode() + b"nonsense", "line 2 is not a line"),
        (HEAD.encode() + b"\n" + Line(0, "in", "cabin", "t", b"").encode(), "line 3 is not a line"),
        (HEAD.encode() + Line(0, "in", "home", "t", b"").encode().replace(b'"in"', b'"up"'), "line 2 is not a line"),
        (HEAD.encode() + Line(0, "in", "home", "t", b"\xff").encode().replace(b"/w==", b"#"), "line 2 is not a line"),
    ],
)
def test_what_is_no_capture_is_said_with_its_line(text: bytes, said: str) -> None:
    with pytest.raises(FrameError, match=said):
        read(text.splitlines(keepends=True))


# --- fakes ------------------------------------------------------------------------------------------------------------

ids = st.from_regex(r"[0-9a-f]{1,40}", fullmatch=True)


def shape(text: bytes) -> bytes:
    """A text with every letter and every digit alike."""
    return re.sub(rb"[a-z\x80-\xff]", b"a", re.sub(rb"[0-9]", b"0", text))


@given(st.text(max_size=60).map(str.encode))
def test_a_fake_is_as_long_and_of_the_same_sort(text: bytes) -> None:
    fake = redaction().fake(text)
    assert len(fake) == len(text)
    plain = re.sub(rb"\\u[0-9a-fA-F]{4}|(?s:\\.)", lambda escape: b"x" * len(escape[0]), text)
    assert shape(fake.lower()) == shape(plain.lower())
    fake.decode()


@given(ids, st.integers(1, 40))
def test_the_fake_of_a_beginning_is_the_beginning_of_the_fake(text: str, length: int) -> None:
    whole = redaction().fake(text.encode())
    assert redaction().fake(text.encode()[:length]) == whole[:length]
    assert redaction().fake(text.upper().encode()) == whole.upper()


@given(st.sets(ids.filter(lambda text: len(text) > 3), min_size=2, max_size=2), st.binary(min_size=1, max_size=64))
def test_different_ids_have_different_fakes_and_no_fake_is_the_id(pair: set[str], key: bytes) -> None:
    one, other = (text.encode() for text in pair)
    found = Redaction(PLAIN, key)
    assert found.fake(one) != found.fake(other)
    assert found.fake(one) != one or set(one) == {ord("0")}


def test_separators_are_no_part_of_an_id() -> None:
    found = redaction()
    assert found.fake(b"A1:B2:C3:D4:E5:F6").replace(b":", b"").lower() == found.fake(b"a1b2c3d4e5f6")


@given(st.integers(0, 10**9))
def test_the_fake_of_a_number_is_one(number: int) -> None:
    fake = redaction().fake(str(number).encode())
    assert len(str(orjson.loads(fake))) == len(str(number))


# --- what is found ----------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcde"), inner, max_size=4),
    max_leaves=20,
)


def same_shape(one: Any, other: Any) -> bool:
    match one, other:
        case dict(), dict():
            return list(one) == list(other) and all(map(same_shape, one.values(), other.values()))
        case list(), list():
            return len(one) == len(other) and all(map(same_shape, one, other))
        case _:
            return type(one) is type(other)


@given(values)
def test_json_with_private_fields_stays_json_of_the_same_shape(value: Any) -> None:
    payload = orjson.dumps({"kept": value, "b": 1, "private": value})
    found = Redaction(Private(frozenset({"private"}), (), frozenset()), KEY).line(frame(payload)).payload
    assert len(found) == len(payload)
    assert same_shape(orjson.loads(payload), orjson.loads(found))


def test_only_what_is_private_changes() -> None:
    private = Private(frozenset({"where", "seq"}), (rb"unit-(\d+)",), frozenset({"msg"}))
    found = Redaction(private, KEY)
    payload = b'{"where": {"lat": 44.05, "names": ["Oslo"]}, "seq":41250 , "t":41250, "m":"unit-77/x", "msg":"fine"}'
    changed = orjson.loads(found.line(frame(payload, "unit-77/in")).payload)
    assert (changed["t"], changed["msg"]) == (41250, "fine")
    assert changed["m"] == found.line(frame(b"", "unit-77/in")).topic.replace("/in", "/x")
    assert changed["seq"] != 41250
    assert changed["where"]["lat"] != 44.05
    assert changed["where"]["names"] != ["Oslo"]
    answer = found.line(frame(b'{"msg":"SUCCESS","name":"Oslo","n":5}', direction="rest"))
    assert orjson.loads(answer.payload) | {"name": ""} == {"msg": "SUCCESS", "name": "", "n": 5}
    assert b"Oslo" not in answer.payload


def test_what_was_private_once_is_found_everywhere_later() -> None:
    found = Redaction(Private(frozenset({"serial"}), (), frozenset()), KEY, ["hunter22-password"])
    fake = orjson.loads(found.line(frame(b'{"serial":"NWP5SAMPLE000123"}')).payload)["serial"]
    later = found.line(frame(b"log: nwp5sample000123 says hunter22-password", "x/NWP5SAMPLE000123")).payload.decode()
    assert later.startswith(f"log: {fake.lower()} says ")
    assert "hunter22" not in later


def test_a_word_is_not_looked_for_everywhere() -> None:
    found = Redaction(Private(frozenset({"name"}), (), frozenset()), KEY)
    assert b'"status":' in found.line(frame(b'{"name":"status","status":1}')).payload


@pytest.mark.parametrize(
    "canary",
    [
        "someone@example.org",
        "someone%40example.org",
        "5f0c2b7e-91d4-4c36-8a1e-2d7b60c9e413",
        "02a17e4b1c01",
        "02:A1:7E:4B:1C:01",
        "ASIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "X-Amz-Security-Token=IQoJb3JpZ2luX2Vj",
    ],
)
def test_what_looks_private_is_hidden_whoever_says_it(canary: str) -> None:
    secret = canary.rpartition("=")[2]
    for payload in (f'{{"note":"{canary}"}}', f"said {canary}, twice {canary}", f'{{"{canary}":1}}'):
        found = redaction().line(frame(payload.encode(), f"a/{canary}/b"))
        assert secret not in found.topic
        assert secret.encode() not in found.payload
        assert len(found.payload) == len(payload)


# --- the vendors ------------------------------------------------------------------------------------------------------

NAVILINK = ("a1b2c3d4e5f6", "41250", "31007", "7741", "owner@example.com", "NWP5SAMPLE000123", "Garage", "Sampleville")
MYSA = ("02a17e4b1c", "5f0c2b7e-91d4", "c1d95e30-6f2b", "owner@example.com", "Guest Bedroom", "Example Lane", "Halifax")


@pytest.mark.parametrize(("vendor", "canaries"), [("navilink", NAVILINK), ("mysa", MYSA)], ids=["navilink", "mysa"])
def test_no_sample_of_a_vendor_shows_its_owner(vendor: str, canaries: tuple[str, ...]) -> None:
    found = redaction(vendor)
    checked = 0
    for path in sorted((SAMPLES / vendor).glob("*.json")):
        if path.name.endswith(".expected.json") or "vector" in path.name or "request" in path.name:
            continue
        sample = orjson.loads(path.read_bytes())
        is_answer = path.name.startswith("rest_") or "DevicesObj" in sample or "User" in sample or "Homes" in sample
        if isinstance(sample, list):
            continue
        is_frame = isinstance(sample.get("payload"), dict) or path.name.startswith(("out_", "in_", "batch_"))
        if not is_answer and not is_frame:
            continue
        payload = orjson.dumps(sample if is_answer else sample.get("payload", sample))
        topic = "" if is_answer else str(sample.get("received_on") or sample.get("topic") or "")
        line = found.line(frame(payload, topic, "rest" if is_answer else "in"))
        shown = f"{line.topic} {line.payload.decode()}"
        for canary in canaries:
            assert not re.search(rf"(?<![0-9]){re.escape(canary)}", shown), f"{path.name}: {canary}"
        assert len(line.payload) == len(payload)
        assert same_values(orjson.loads(payload), orjson.loads(line.payload), path.name)
        checked += 1
    assert checked >= 15


def same_values(one: Any, other: Any, where: str) -> bool:
    """Whether everything that a device measures is as it was."""
    for name in ("status", "feature", "body", "state"):
        before, after = _found(one, name), _found(other, name)
        if isinstance(before, dict):
            assert isinstance(after, dict), where
            for key, value in before.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    assert after[key] == value, f"{where}: {key}"
    return True


def _found(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value[name] if name in value else next(filter(None, (_found(v, name) for v in value.values())), None)
    return None


def test_binary_frames_still_name_their_device() -> None:
    found = redaction("navilink")
    mac = found.line(frame(b"", "cmd/52/navilink-a1b2c3d4e5f6/st")).topic[len("cmd/52/navilink-") :][:12]
    record = packed.encode({"dhw_charge_per": 92, "wifi_rssi": 59})
    for header in (packed.encode_header(0x01000003, "a1b2c3d4e5f6"), b"\x01\x00\x00\x03navi"):
        line = found.line(frame(header + record, "cmd/52/navilink-a1b2c3d4e5f6/res"))
        assert line.payload[8:] == record
        assert navilink_frames.parse(line.payload, mac).fields == {"dhw_charge_per": 92, "wifi_rssi": 59}


def test_batches_are_left_alone() -> None:
    sample = orjson.loads((SAMPLES / "mysa/batch_v3_baseboard_v2.json").read_bytes())
    blob = next(value for value in _texts(sample) if re.fullmatch(r"[A-Za-z0-9+/=]{40,}", value))
    payload = orjson.dumps({"src": {"ref": "02a17e4b1c02"}, "msg": 3, "body": {"readings": blob}})
    line = redaction("mysa").line(frame(payload, "/v1/dev/02a17e4b1c02/batch"))
    assert orjson.loads(line.payload)["body"]["readings"] == blob
    assert orjson.loads(line.payload)["src"]["ref"] == line.topic.split("/")[3] != "02a17e4b1c02"


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [text for inner in (value.values() if isinstance(value, dict) else value) for text in _texts(inner)]
    return [value] if isinstance(value, str) else []
