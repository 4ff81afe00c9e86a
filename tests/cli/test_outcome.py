"""How errors become messages and exit codes."""

from __future__ import annotations

import inspect

import pytest

from navibridge import errors
from navibridge.cli.outcome import Code, code_of, first, words
from navibridge.cli.settings import split_address
from navibridge.cli.table import aligned, lasted, shown
from navibridge.errors import (
    AuthError,
    CommandError,
    ConfigError,
    FrameError,
    LinkError,
    NavibridgeError,
    Problem,
    Throttled,
)

WRONG_PASSWORD = AuthError("wrong password", reason="wrong_password", what_to_do="Check it.")

CODES = [
    (ConfigError([Problem("f:1", "a", "b")]), Code.CONFIGURATION),
    (WRONG_PASSWORD, Code.REFUSED),
    (LinkError("gone", reason="dns"), Code.UNREACHABLE),
    (LinkError("who are you", reason="not_authorised"), Code.REFUSED),
    (Throttled("later", retry_after=5), Code.UNREACHABLE),
    (FrameError("what", sort="json"), Code.FAILED),
    (CommandError("no such thing"), Code.REFUSED),
    (CommandError("no", verdict="refused"), Code.REFUSED),
    (CommandError("silence", verdict="unconfirmed"), Code.FAILED),
    (NavibridgeError("hm"), Code.FAILED),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda value: type(value).__name__)
def test_each_error_has_its_code(error: NavibridgeError, code: Code) -> None:
    assert code_of(error) is code
    assert words(error)


def test_no_error_of_the_tree_is_forgotten() -> None:
    tree = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, NavibridgeError)}
    assert {type(error) for error, _ in CODES} == tree


def test_all_problems_of_a_configuration_are_said() -> None:
    text = words(ConfigError([Problem("c.yaml:1", "a", "b"), Problem("c.yaml:2", "c", "d")]))
    assert text.splitlines() == ["the configuration has 2 problems:", "  c.yaml:1: a: b", "  c.yaml:2: c: d"]


def test_the_next_step_follows_what_is_wrong() -> None:
    assert words(WRONG_PASSWORD) == "wrong password. Check it."


def test_a_defect_in_a_group_is_not_hidden_by_an_error_of_the_tree() -> None:
    lost, defect = LinkError("lost"), ZeroDivisionError()
    assert first(lost) is lost
    assert first(ExceptionGroup("", [lost, LinkError("other")])) is lost
    assert first(ExceptionGroup("", [lost, ExceptionGroup("", [defect])])) is defect


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("nas:1883", ("nas", 1883)),
        ("nas", ("nas", 99)),
        ("[::1]:8883", ("::1", 8883)),
        ("[::1]", ("::1", 99)),
        ("::1", ("::1", 99)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_addresses(given: str, address: tuple[str, int]) -> None:
    assert split_address(given, default_port=99) == address


def test_values_as_text() -> None:
    assert [shown(value) for value in (None, True, False, 0, 1.0, 16.11111111, "eco", [1], {"a": 1})] == [
        "\N{EN DASH}",
        "on",
        "off",
        "0",
        "1",
        "16.111",
        "eco",
        "[1]",
        '{"a":1}',
    ]
    assert shown(5, "W") == "5 W"
    assert shown(None, "W") == "\N{EN DASH}"


def test_tables_are_aligned() -> None:
    assert aligned([("a", "b"), ("ccc", "")], ("x", "y")) == ["x    y", "a    b", "ccc"]
    assert aligned([]) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3660, "1 h 1 min"), (90000, "1 d 1 h")]
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert lasted(seconds) == text
