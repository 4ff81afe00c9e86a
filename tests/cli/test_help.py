"""What the program says of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.program import COMMAND, invoke, only

from navibridge import __version__, vendors

COMMANDS = (
    "run",
    "demo",
    "simulate",
    "check",
    "devices",
    "watch",
    "get",
    "set",
    "decode",
    "record",
    "capture",
    "replay",
    "schema",
    "clean",
    "acl",
    "health",
)


def test_help_lists_every_command() -> None:
    shown = invoke("--help")
    assert shown.code == 0
    listed = [line.split()[0] for line in shown.lines if line.startswith("  ") and line[2:3].isalpha()]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    shown = invoke(command, "--help")
    assert shown.code == 0
    assert shown.out.startswith(f"Usage: navibridge {command}")


def test_version() -> None:
    assert invoke("--version").out == f"navibridge {__version__}\n"


def test_nothing_at_all_shows_help() -> None:
    assert "Commands:" in invoke().err + invoke().out


def test_every_vendor_has_its_option() -> None:
    for command in ("demo", "simulate"):
        shown = invoke(command, "--help").out
        assert all(f"--{name} N" in shown for name in vendors.names())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rum",), "Did you mean 'run'"),
        (("set", "garage"), "NAME=VALUE"),
        (("set", "garage", "target_temperature"), "'target_temperature' is not NAME=VALUE"),
        (("set", "garage", "id=5"), "'id=5' is not NAME=VALUE"),
        (("set", "garage", "a=1", "a=2"), "a is given twice"),
        (("demo", "--broker", "localhost:port"), "'localhost:port' is not HOST:PORT"),
        (("demo", *only("navilink", 0)), "at least one device"),
        (("demo", "--log-level", "loud"), "'loud' is not debug, info, warning or error"),
        (("simulate", "--listen", "here"), "'here' is not HOST:PORT"),
        (("simulate", *only("navilink", 0)), "there is nothing to simulate"),
        (("simulate", *only("navilink", 1), "--fault", "fire=1"), "'fire' is none of rest_delay"),
        (("simulate", *only("navilink", 1), "--fault", "rest_status=many"), "rest_status: 'many' is not what it takes"),
        (("decode", "acme"), "'acme' is not one of"),
        (("decode", "navilink", "00", "--file", "x"), "a payload or a file, not both"),
        (("watch", "--for", "-1"), "--for"),
    ],
)
def test_wrong_usage_is_said_with_code_2(arguments: tuple[str, ...], said: str) -> None:
    ended = invoke(*arguments)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
    assert "Traceback" not in ended.err


def test_help_loads_nothing_heavy() -> None:
    """What makes `navibridge --help` quick, whatever the machine."""
    heavy = "{'aiohttp', 'aiomqtt', 'asyncio', 'awscrt', 'pydantic', 'rich', 'trustme', 'yaml'}"
    program = f"""
import sys
from navibridge.__main__ import main
sys.argv = ["navibridge", "--help"]
try:
    main()
finally:
    print("LOADED", sorted({heavy} & {{*sys.modules}}), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "LOADED []"
    assert "Commands:" in ended.stdout


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    process = subprocess.Popen([*COMMAND, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    process.wait(20)
    assert b"Traceback" not in said
