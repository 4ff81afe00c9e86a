"""`navibridge decode`: every way to hand a payload over, and what comes out."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.navilink import PACKED_EXAMPLE, SAMPLES, sample
from support.program import COMMAND, invoke

STATUS = sample("mqtt_status_response")["payload"]
TEXT = json.dumps(STATUS)


def decoded(*arguments: str, stdin: str | bytes | None = None, code: int = 0) -> list[dict[str, Any]]:
    ended = invoke("decode", "navilink", *arguments, "--json", stdin=stdin)
    assert ended.code == code, ended.err
    return [json.loads(line) for line in ended.lines]


def test_json_is_explained_field_by_field() -> None:
    [found] = decoded(TEXT)
    assert found.keys() == {"frame", "device", "fields", "values"}
    assert found["frame"] == "status"
    assert found["device"] == "a1b2c3d4e5f6"
    by_name = {field["name"]: field for field in found["fields"]}
    assert by_name["dhwTemperature"] == {
        "name": "dhwTemperature",
        "raw": STATUS["response"]["status"]["dhwTemperature"],
        "value": STATUS["response"]["status"]["dhwTemperature"] / 2,
        "unit": "°C",
        "attribute": "current_temperature",
    }
    assert found["values"]["current_temperature"] == by_name["dhwTemperature"]["value"]


@pytest.mark.parametrize(
    "text",
    [
        PACKED_EXAMPLE.hex(),
        PACKED_EXAMPLE.hex(" "),
        PACKED_EXAMPLE.hex(":").upper(),
        "0x" + PACKED_EXAMPLE.hex(),
        f'"{PACKED_EXAMPLE.hex()}"',
        f"  {PACKED_EXAMPLE.hex(' ', 4)}\n",
        base64.b64encode(PACKED_EXAMPLE).decode(),
        base64.urlsafe_b64encode(PACKED_EXAMPLE).decode().rstrip("="),
        json.dumps({"topic": "x", "payload": PACKED_EXAMPLE.hex()}),
    ],
    ids=["hex", "spaces", "colons", "0x", "quoted", "groups", "base64", "base64url", "wrapped"],
)
def test_binary_is_taken_however_it_is_written(text: str) -> None:
    [found] = decoded(text)
    assert found["frame"] == "packed"
    power = next(field for field in found["fields"] if field["attribute"] == "power")
    assert power == {
        "name": "current_inst_power",
        "raw": 466,
        "value": 466,
        "unit": "W",
        "attribute": "power",
        "offset": 46,
    }


def test_raw_bytes_come_by_file_and_by_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "frame.bin"
    file.write_bytes(PACKED_EXAMPLE)
    by_file = decoded("--file", str(file))
    assert by_file == decoded(f"@{file}") == decoded(stdin=PACKED_EXAMPLE) == decoded("-", stdin=PACKED_EXAMPLE)
    assert by_file[0]["frame"] == "packed"


def test_one_payload_per_line_and_each_has_its_line() -> None:
    found = decoded(stdin=f"{TEXT}\n\n{PACKED_EXAMPLE.hex()}\nrubbish!\n", code=1)
    assert [line.get("frame") for line in found] == ["status", "packed", None]
    assert found[2] == {"error": "'rubbish!' is neither JSON nor hex nor base64"}


@pytest.mark.parametrize("indent", [None, 2])
def test_one_document_may_go_over_several_lines(tmp_path: Path, indent: int | None) -> None:
    file = tmp_path / "status.json"
    file.write_text(json.dumps(STATUS, indent=indent))
    [found] = decoded("-f", str(file))
    assert found["frame"] == "status"


def test_samples_are_unwrapped() -> None:
    [found] = decoded(f"@{SAMPLES / 'mqtt_status_response.json'}")
    assert found == decoded(TEXT)[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing to decode"),
        ("{", "JSON"),
        ("{}", "no known form"),
        ("0g", "no known form"),
        ("what is this", "neither JSON nor hex nor base64"),
        ('{"payload": 5}', "no message"),
        ("x" * 1001, "neither"),
    ],
)
def test_what_can_not_be_decoded_is_an_object_with_an_error(text: str, said: str) -> None:
    [found] = decoded(stdin=text, code=1)
    assert found.keys() == {"error"}
    assert said in found["error"]


def test_a_missing_file_is_said() -> None:
    ended = invoke("decode", "navilink", "@nowhere.json")
    assert (ended.code, ended.out) == (1, "")
    assert "nowhere.json can not be read: No such file" in ended.err


def test_people_get_a_table() -> None:
    ended = invoke("decode", "navilink", PACKED_EXAMPLE.hex())
    assert ended.code == 0
    head, columns, *rows = ended.lines
    assert head == "packed frame of no named device, 23 fields"
    assert columns.split() == ["offset", "bytes", "field", "raw", "value", "attribute"]
    line = next(row for row in rows if "current_inst_power" in row)
    assert line.split() == ["46", "01d2", "current_inst_power", "466", "466", "W", "power"]
    starts = {row.index(row.split()[2]) for row in rows}
    assert starts == {columns.index("field")}


def test_people_see_errors_and_go_on() -> None:
    ended = invoke("decode", "navilink", stdin=f"rubbish!\n{TEXT}")
    assert ended.code == 1
    assert ended.lines[0].startswith("error: 'rubbish!'")
    assert any(line.startswith("status frame of a1b2c3d4e5f6") for line in ended.lines)


@pytest.mark.parametrize(("payload", "said"), [("00", "1 byte of no known form"), ("0001", "2 bytes of no known form")])
def test_one_is_not_many(payload: str, said: str) -> None:
    assert f"error: {said}" in invoke("decode", "navilink", payload).out


def test_without_standard_input_there_is_nothing_to_decode() -> None:
    closed = [sys.executable, "-c", "import os, sys; os.close(0); os.execv(sys.executable, sys.argv[1:])", *COMMAND]
    ended = subprocess.run([*closed, "decode", "mysa"], capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "error: there is nothing to decode\n", "")


def test_a_full_disk_is_said_and_not_a_traceback() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([*COMMAND, "schema"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr.decode() == "navibridge: what was to be printed can not be written: No space left on device\n"
