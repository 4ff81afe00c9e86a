from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navibridge.config import Log
from navibridge.log import HIDDEN, Redactor, forwarded, hide, redact, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "p$a&s#s w\"örd'\\"
LOGGER = logging.getLogger("navibridge.test_log")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("navibridge")
    before = root.level, own.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    own.setLevel(before[1])
    root.handlers[:] = before[2]


def lines(stream: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_text_lines_are_for_people() -> None:
    stream = io.StringIO()
    set_up(Log(), stream=stream)
    LOGGER.info("link of %s is up", "home")
    LOGGER.debug("a frame")
    (line,) = stream.getvalue().splitlines()
    when, _, rest = line.partition(" INFO    ")
    assert rest == "navibridge.test_log: link of home is up"
    assert len(when) == len("2026-01-01 12:00:00.000+00:00")


def test_json_lines_are_for_machines() -> None:
    stream = io.StringIO()
    set_up(Log(format="json", level="debug"), [PASSWORD], stream)
    try:
        raise ValueError(PASSWORD)
    except ValueError:
        LOGGER.exception("broken \ud800 by\n%s", PASSWORD, stack_info=True)
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert line["logger"] == "navibridge.test_log"
    assert line["message"] == f"broken \\ud800 by\n{HIDDEN}"
    assert line["exception"].endswith(f"ValueError: {HIDDEN}")
    assert "test_json_lines" in line["stack"]
    assert line["at"].endswith("+00:00")


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_secret_leaves_by_any_way(style: Any) -> None:
    stream = io.StringIO()
    set_up(Log(level="debug", format=style), [PASSWORD, ""], stream)
    hide("home", ["token-of-the-day"])
    LOGGER.debug("%s", PASSWORD)
    LOGGER.info("%r and %s", PASSWORD, {"password": PASSWORD})
    LOGGER.warning(PASSWORD)
    LOGGER.warning(json.dumps({"password": PASSWORD}))
    LOGGER.error("https://x.example/?p=p%24a%26s%23s%20w%22%C3%B6rd%27%5C&t=token-of-the-day")
    try:
        try:
            raise ValueError(PASSWORD)
        except ValueError as error:
            raise ExceptionGroup("several", [RuntimeError(PASSWORD), error]) from error
    except ExceptionGroup:
        LOGGER.exception("broken")
    logging.getLogger("some.library").warning("signed in with %s", PASSWORD)
    written = stream.getvalue()
    assert written.count(HIDDEN) >= 10
    for secret in ("örd", "u00f6", "w%22", "token-of-the-day"):
        assert secret not in written


def test_what_looks_like_a_secret_is_hidden_unknown() -> None:
    url = "wss://x.example/mqtt?X-Amz-Credential=ASIAIOSFODNN7EXAMPLE%2F2026&X-Amz-Date=2026&X-Amz-Signature=abc123&X-Amz-Security-Token=IQo%2B=="
    assert redact(url) == (
        f"wss://x.example/mqtt?X-Amz-Credential={HIDDEN}&X-Amz-Date=2026&X-Amz-Signature={HIDDEN}&X-Amz-Security-Token={HIDDEN}"
    )
    assert redact("key ASIAIOSFODNN7EXAMPLE used") == f"key {HIDDEN} used"
    assert redact("bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln sent") == f"bearer {HIDDEN} sent"
    assert redact("asian restaurants are open") == "asian restaurants are open"


def test_a_short_secret_does_not_tear_words_apart() -> None:
    assert redact("x-1: the ax-1 is x-1", ["x-1"]) == f"{HIDDEN}: the ax-1 is {HIDDEN}"


@pytest.mark.parametrize("secret", ["online", "Home", "MQTT", "a", "1883", "sunshine"])
def test_a_word_is_hidden_in_what_is_filled_in_and_not_in_our_own_text(secret: str) -> None:
    stream = io.StringIO()
    set_up(Log(), [secret], stream)
    LOGGER.info(f"{secret} is {secret}: %s, %r and %d", f"said {secret}!", {"it": secret}, 1883)  # noqa: G004 - each is one of our lines
    LOGGER.info(f"no arguments, which may be anybody's text: {secret}")  # noqa: G004 - as a library does it
    ours, anybodys = (line.partition(": ")[2] for line in stream.getvalue().splitlines())
    assert ours == f"{secret} is {secret}: said {HIDDEN}!, {{'it': '{HIDDEN}'}} and 1883"
    assert anybodys.endswith(HIDDEN)


def test_arguments_by_name_are_hidden_too() -> None:
    stream = io.StringIO()
    set_up(Log(), ["sunshine"], stream)
    LOGGER.info("%(what)s is %(number).1f", {"what": "sunshine", "number": 1.25})
    assert stream.getvalue().endswith(f"{HIDDEN} is 1.2\n")


def test_the_tokens_of_the_last_two_times_are_hidden() -> None:
    stream = io.StringIO()
    set_up(Log(), stream=stream)
    for number in range(4):
        for _ in range(2):
            hide("home", [f"token-number-{number}"])
    hide("cabin", ["token-of-the-cabin"])
    LOGGER.info("%s", [*(f"token-number-{number}" for number in range(4)), "token-of-the-cabin"])
    assert stream.getvalue().endswith(f"['token-number-0', 'token-number-1', '{HIDDEN}', '{HIDDEN}', '{HIDDEN}']\n"), (
        "and no more, or years of them would pile up"
    )


def test_the_longest_secret_goes_first() -> None:
    assert redact("secret-and-more", ["secret", "secret-and-more"]) == HIDDEN


def test_e_mail_addresses_are_for_debugging_only() -> None:
    stream = io.StringIO()
    set_up(Log(level="debug"), stream=stream)
    for level in (logging.DEBUG, logging.INFO):
        LOGGER.log(level, "account %s: users/me%%40b.example", "me.too+x@b.example")
    debug, info = stream.getvalue().splitlines()
    assert "me.too+x@b.example" in debug
    assert info.endswith(f"account {HIDDEN}: users/{HIDDEN}")


def test_a_message_is_one_line() -> None:
    stream = io.StringIO()
    set_up(Log(), stream=stream)
    LOGGER.info("device %s", "Boiler\n2026-01-01 ERROR forged\x1b[2J\u2028x")
    assert len(stream.getvalue().splitlines()) == 1
    assert "Boiler\\n2026-01-01 ERROR forged\\x1b[2J\\u2028x" in stream.getvalue()


def test_a_wrong_log_call_harms_nobody() -> None:
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "two %s %s", (PASSWORD,), None)
    assert Redactor([PASSWORD]).filter(record)
    assert record.getMessage() == "two %s %s (its arguments do not fit)"


class Mute:
    def __str__(self) -> str:
        raise ValueError(PASSWORD)


@pytest.mark.parametrize("call", [(Mute(), ()), ("of %s", (Mute(),))])
def test_what_can_not_be_said_harms_nobody(call: tuple[Any, tuple[object, ...]]) -> None:
    record = logging.LogRecord("x", logging.WARNING, "x", 1, *call, None)
    assert Redactor([PASSWORD]).filter(record)
    assert record.getMessage().endswith(" (its arguments do not fit)")


@pytest.mark.parametrize(
    "shown", [{"pä$$wörd": 1}, {"key": {"pä$$wörd": 1}}, "pä$$wörd".encode(), ["pä$$wörd".encode()]]
)
def test_a_secret_is_found_in_names_and_in_bytes(shown: Any) -> None:
    stream = io.StringIO()
    set_up(Log(), ["pä$$wörd"], stream)
    LOGGER.info("it is %s", shown)
    message = stream.getvalue().partition("it is ")[2]
    assert HIDDEN in message
    assert "rd" not in message


def test_our_own_text_stays_whole_however_many_handlers_there_are() -> None:
    handed: list[bytes] = []
    stream = io.StringIO()
    redactor = set_up(Log(format="json"), ["online"], stream)
    with forwarded(redactor, handed.append):
        LOGGER.warning("online is %s", "online")
    (line,) = lines(stream)
    assert line["message"] == json.loads(handed[0])["message"] == f"online is {HIDDEN}"


def test_levels_of_the_bridge_and_of_libraries() -> None:
    stream = io.StringIO()
    library = logging.getLogger("some.library")
    for level, expected in (("debug", "DI-i"), ("info", "I"), ("warning", ""), ("error", "")):
        stream.seek(0)
        stream.truncate()
        set_up(Log(level=level), stream=stream)  # type: ignore[arg-type]
        LOGGER.debug("D")
        LOGGER.info("I")
        library.debug("-d")
        library.info("-i")
        assert "".join(line.rpartition(": ")[2] for line in stream.getvalue().splitlines()) == expected


def test_warnings_can_be_handed_on() -> None:
    taken: list[bytes] = []
    redactor = set_up(Log(), [PASSWORD], io.StringIO())
    with forwarded(redactor, taken.append):
        LOGGER.info("not this")
        LOGGER.warning("but %s", PASSWORD)
    LOGGER.warning("not any more")
    (line,) = taken
    assert json.loads(line)["message"] == f"but {HIDDEN}"


def test_setting_up_again_replaces_what_was_set_up() -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up(Log(), stream=first)
    set_up(Log(), stream=second)
    LOGGER.warning("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


@given(st.text(min_size=1, max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_a_secret_is_found_wherever_it_stands(secret: str, before: str, after: str) -> None:
    if len(secret) >= 6 and HIDDEN not in secret:
        assert secret not in redact(f"{before}\n{secret}\n{after}", [secret]).removeprefix(before).removesuffix(after)


def test_a_long_text_is_searched_in_no_time() -> None:
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s", ("a" * 300_000,), None)
    assert Redactor(["secret-one"]).filter(record)
    assert len(record.getMessage()) == 300_000
