# ruff: noqa: E501 - the tables are read by their rows
from __future__ import annotations

import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator, model_validator

from navibridge import config, vendors
from navibridge.config import AccountSettings, Config, DeviceSettings, Loaded, Options, Seconds, Secret, Tls
from navibridge.errors import ConfigError, Problem
from navibridge.sources import MAX_BYTES, Branch, look, read_config, read_dotenv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLE = Path(__file__).parent.parent / "config.yaml.example"
PASSWORD = "hunter2-tea"  # what no message may show


class Acme(AccountSettings):
    vendor: Literal["acme"] = "acme"
    poll_interval: Seconds = Field(30, ge=20, le=120, description="Seconds between two questions.")
    gas_units: bool = Field(False, description="Whether there are gas units.")
    wait_file: str | None = Field(None, description="An option of which the name ends like a file's.")
    zones: list[int] = Field([], description="Zones to show.")
    limit: Annotated[float, Field(ge=0, le=9)] | None = Field(5, description="A limit that can be switched off.")

    @field_validator("wait_file")
    @classmethod
    def _no_slash(cls, given: str) -> str:
        if given.startswith("/"):
            raise ValueError("must not begin with a slash")
        return given

    @model_validator(mode="after")
    def _zones_need_gas(self) -> Acme:
        if self.zones == [9] and not self.gas_units:
            raise ValueError("zones are for gas units only")
        return self


class Other(AccountSettings):
    vendor: Literal["other"] = "other"


SETTINGS: dict[str, type[AccountSettings]] = {"acme": Acme, "other": Other}
ACCOUNT = f"accounts: {{home: {{vendor: acme, email: a@b.example, password: {PASSWORD}}}}}\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secrets.yaml").write_text(f"acme: {PASSWORD}\nhostile: 'p$a #\"x'' '\nnothing:\n")
    (tmp_path / "ca.pem").write_text("a certificate")
    return tmp_path


def load(place: Path, text: str | bytes | None = None, /, **options: Any) -> Loaded:
    if text is not None:
        (place / "config.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    options.setdefault("environ", {"HOME": str(place)})
    return config.load(vendors=SETTINGS.__getitem__, vendor_names=SETTINGS.keys(), directory=place, **options)


def problems_of(place: Path, text: str | bytes | None = None, /, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(place, text, **options)
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(caught.value)
    return [str(problem) for problem in caught.value.problems]


# ------------------------------------------------------------------------------------------------ broken ones


class Broken(NamedTuple):
    text: str | bytes
    expected: tuple[str, ...]  # each is a part of one line of the error
    environ: Mapping[str, str] = MappingProxyType({})


A = ACCOUNT
BROKEN = {
    "misspelt option": Broken(A + "broker:\n  hots: nas\n", ("config.yaml:3: broker.hots: unknown option, did you mean 'host'?",)),
    "misspelt section": Broken(A + "brokr: {host: nas}\n", ("config.yaml:2: brokr: unknown option, did you mean 'broker'?",)),
    "option in the wrong section": Broken(
        A + "keepalive: 20\n", ("config.yaml:2: keepalive: unknown option, did you mean 'broker.keepalive'?",)
    ),
    "unknown option far from any": Broken(A + "zzz: 1\n", ("config.yaml:2: zzz: unknown option, known here: broker,",)),
    "unknown option without a value": Broken(A + "hots:\n", ("config.yaml:2: hots: unknown option",)),
    "port too high": Broken(
        A + "broker: {port: 70000}", ("config.yaml:2: broker.port: given '70000', allowed: a whole number, from 1 to 65535",)
    ),
    "port zero": Broken(A + "broker: {port: 0}", ("broker.port: given '0', allowed",)),
    "port not a number": Broken(A + "broker: {port: mqtt}", ("broker.port: given 'mqtt', allowed: a whole number",)),
    "port with a fraction": Broken(A + "broker: {port: 1883.5}", ("broker.port: given '1883.5', allowed",)),
    "a list for a number": Broken(A + "broker: {port: [1, 2]}", ("broker.port: given a list, allowed",)),
    "a section for a number": Broken(A + "broker: {port: {a: 1}}", ("broker.port: given a section, allowed",)),
    "a value for a section": Broken(A + "broker: nas\n", ("config.yaml:2: broker: given a single value, allowed: a section with host",)),
    "a list for a section": Broken(A + "broker: [nas]\n", ("config.yaml:2: broker: given a list, allowed: a section",)),
    "accounts as a list": Broken("accounts:\n- vendor: acme\n", ("config.yaml:2: accounts: given a list, allowed: a section",)),
    "accounts as a value": Broken("accounts: acme\n", ("config.yaml:1: accounts: given a single value, allowed: a section",)),
    "host with a scheme": Broken(
        A + f"broker: {{host: 'mqtt://me:{PASSWORD}@nas'}}",
        ("broker.host: given 'mqtt://…@nas', allowed: a host name or address alone, without mqtt://",),
    ),
    "host with a port": Broken(A + "broker: {host: 'nas:1883'}", ("broker.host: given 'nas:1883', allowed",)),
    "unknown protocol": Broken(A + "broker: {protocol: 3.1}", ("broker.protocol: given '3.1', allowed: 3.1.1, 5, did you mean '3.1.1'?",)),
    "wildcard in the base topic": Broken(A + "broker: {base_topic: 'a/#'}", ("broker.base_topic: given 'a/#', allowed: a topic without",)),
    "base topic with a slash at the end": Broken(A + "broker: {base_topic: navi/}", ("broker.base_topic: given 'navi/'",)),
    "base topic with a slash first": Broken(A + "broker: {base_topic: /navi}", ("broker.base_topic: given '/navi'",)),
    "base topic with a dollar": Broken(A + "broker: {base_topic: $SYS}", ("broker.base_topic: given '$SYS'",)),
    "base topic empty": Broken(A + "broker: {base_topic: ''}", ("broker.base_topic: given ''",)),
    "prefix with a plus": Broken(A + "discovery: {prefix: +/a}", ("discovery.prefix: given '+/a'",)),
    "base topic is the prefix": Broken(
        A + "broker: {base_topic: homeassistant}", ("config.yaml:2: broker.base_topic: the same as discovery.prefix",)
    ),
    "unknown format": Broken(A + "discovery: {format: devcie}", ("discovery.format: given 'devcie', allowed: device, entity, did you mean 'device'?",)),
    "not a flag": Broken(A + "discovery: {enabled: maybe}", ("discovery.enabled: given 'maybe', allowed: true or false",)),
    "certificate without key": Broken(A + "broker: {tls: {cert_file: ca.pem}}", ("broker.tls: key_file is missing",)),
    "key without certificate": Broken(A + "broker: {tls: {key_file: ca.pem}}", ("broker.tls: cert_file is missing",)),
    "certificates that are not there": Broken(
        A + "broker:\n  tls:\n    ca_file: none.pem\n",
        ("config.yaml:4: broker.tls.ca_file: given 'none.pem', allowed: the path of a file that can be read",),
    ),
    "password without user": Broken(
        A + f"broker: {{password: {PASSWORD}}}", ("config.yaml:2: broker.username: missing: MQTT has no password without",)
    ),
    "no account": Broken("broker: {host: nas}\n", ("config.yaml: accounts: no account", "set ACME_EMAIL and ACME_PASSWORD")),
    "accounts with nothing below": Broken("accounts:\n", ("config.yaml:1: accounts: no account",)),
    "account with nothing below": Broken(
        "accounts:\n  home:\n",
        ("config.yaml:2: accounts.home.vendor: missing", "accounts.home.email: missing", "accounts.home.password: missing"),
    ),
    "account as a value": Broken(
        f"accounts:\n  home: password:{PASSWORD}\n", ("config.yaml:2: accounts.home: given a single value, allowed: a section",)
    ),
    "unknown vendor": Broken(
        f"accounts:\n  home:\n    vendor: amce\n    email: a@b.example\n    password: {PASSWORD}\n",
        ("config.yaml:3: accounts.home.vendor: given 'amce', allowed: acme, other, did you mean 'acme'?",),
    ),
    "missing password": Broken(
        "accounts:\n  home:\n    vendor: acme\n    email: a@b.example\n    password:\n",
        ("config.yaml:5: accounts.home.password: missing: Password of the account",),
    ),
    "empty password": Broken(
        "accounts: {home: {vendor: acme, email: a@b.example, password: ''}}",
        ("accounts.home.password: given 0 characters (not shown), allowed: text, not empty",),
    ),
    "password as a list": Broken(
        f"accounts: {{home: {{vendor: acme, email: a@b.example, password: [{PASSWORD}]}}}}",
        ("accounts.home.password: given a list, allowed: text",),
    ),
    "password where the e-mail address belongs": Broken(
        f"accounts: {{home: {{vendor: acme, email: {PASSWORD}, password: x}}}}",
        ("accounts.home.email: given 11 characters (not shown), allowed: an e-mail address",),
    ),
    "no space after the colon": Broken(
        f"accounts: {{home: {{vendor: acme, email: a@b.example, password:{PASSWORD}}}}}",
        ("accounts.home.password: unknown option; a space belongs after the colon of 'password'", "accounts.home.password: missing"),
    ),
    "poll interval below a vendor's own limit": Broken(
        A.replace("vendor", "poll_interval: 15, vendor"),
        ("config.yaml:1: accounts.home.poll_interval: given '15', allowed: a time such as 90, 90 s, 5 min or 2 h, from 20 s to 120 s",),
    ),
    "stale_after too short": Broken(
        ACCOUNT + "stale_after: 5\n",
        ("config.yaml:2: stale_after: given '5', allowed: a time such as 90, 90 s, 5 min or 2 h, from 30 s to 604800 s",),
    ),
    "poll interval in a wrong unit": Broken(
        A.replace("vendor", "poll_interval: 1 week, vendor"), ("accounts.home.poll_interval: given '1 week'",)
    ),
    "poll interval not a number": Broken(A.replace("vendor", "poll_interval: nan, vendor"), ("poll_interval: given 'nan'",)),
    "misspelt option of a vendor": Broken(
        A.replace("vendor", "gas_unit: yes, vendor"), ("accounts.home.gas_unit: unknown option, did you mean 'gas_units'?",)
    ),
    "option of another vendor": Broken(
        A.replace("acme", "other").replace("vendor", "gas_units: yes, vendor"), ("accounts.home.gas_units: unknown option",)
    ),
    "bad item of a list": Broken(
        A.replace("vendor", "zones: [1, two], vendor"), ("config.yaml:1: accounts.home.zones.1: given 'two', allowed: a whole number",)
    ),
    "rule of a vendor about one option": Broken(
        A.replace("vendor", "wait_file: /x, vendor"), ("config.yaml:1: accounts.home.wait_file: given '/x': must not begin with a slash",)
    ),
    "rule of a vendor about several options": Broken(
        A.replace("vendor", "zones: [9], vendor"), ("config.yaml:1: accounts.home: zones are for gas units only",)
    ),
    "limit of a vendor": Broken(
        A.replace("vendor", "limit: 10, vendor"), ("accounts.home.limit: given '10', allowed: a number, from 0 to 9; or off",)
    ),
    "account name with a space": Broken(
        A.replace("home", "My Home"), ("config.yaml:1: accounts: given 'My Home' as an account's name", "did you mean 'my_home'?")
    ),
    "two connections of one account": Broken(
        "accounts:\n  one: {vendor: acme, email: a@b.example, password: x}\n  two: {vendor: Acme, email: A@B.example, password: y}\n",
        ("config.yaml:3: accounts.two.email: the same account as one",),
    ),
    "MQTT version of a cloud": Broken(
        A.replace("vendor", "mqtt_protocol: MQTT4, vendor"), ("accounts.home.mqtt_protocol: given 'MQTT4', allowed: MQTT3, MQTT5",)
    ),
    "topic of the bridge": Broken(A + "devices: {a1: {topic: bridge}}", ("devices.a1.topic: given 'bridge', which is the topic of the bridge",)),
    "one topic for two devices": Broken(
        A + "devices:\n  a1: {topic: x}\n  a2: {topic: x}\n", ("config.yaml:4: devices.a2.topic: given 'x', which is the topic of a1",)
    ),
    "topic with levels": Broken(A + "devices: {a1: {topic: a/b}}", ("devices.a1.topic: given 'a/b', allowed: 1 to 64 letters",)),
    "one device twice": Broken(
        A + "devices:\n  A1:B2: {name: x}\n  a1b2: {name: y}\n",
        ("config.yaml:4: devices.a1b2: the same device twice; the other is at config.yaml:3",),
    ),
    "device without an id": Broken(A + "devices: {':': {name: x}}", ("config.yaml:2: devices: given",)),
    "device as a value": Broken(A + "devices: {a1: Boiler}", ("devices.a1: given a single value, allowed: a section with name",)),
    "negative power": Broken(A + "devices: {a1: {rated_watts: -5}}", ("devices.a1.rated_watts: given '-5', allowed: a number, above 0",)),
    "misspelt option of a device": Broken(A + "devices: {a1: {nmae: x}}", ("devices.a1.nmae: unknown option, did you mean 'name'?",)),
    "unknown unit": Broken(A + "temperature_unit: K", ("temperature_unit: given 'K', allowed: C, F",)),
    "unknown level": Broken(A + "log: {level: inof}", ("log.level: given 'inof', allowed: debug, info, warning, error, did you mean 'info'?",)),
    "negative time": Broken(A + "commands: {ttl: -5}", ("commands.ttl: given '-5', allowed: a time",)),
    "no queue": Broken(A + "commands: {queue: 0}", ("commands.queue: given '0', allowed: a whole number, from 1",)),
    "home of nobody": Broken(A + "state_dir: ~nobody-at-all/x", ("config.yaml:2: state_dir: the home directory is not known",)),
    "absurdly long value": Broken(A + f"log: {{level: {'x' * 500}}}", (f"log.level: given '{'x' * 40}'…, allowed",)),
    # secrets and variables
    "unknown secret": Broken(A + "broker: {username: !secret acm}", ("config.yaml:2: broker.username: no secret 'acm' in secrets.yaml, did you mean 'acme'?",)),
    "secret without a value": Broken(A + "broker: {username: !secret nothing}", ("the secret 'nothing' in secrets.yaml has no value",)),
    "secret of the wrong type": Broken(A + "broker: {port: !secret acme}", ("broker.port: given !secret acme, allowed: a whole number",)),
    "variable that is not set": Broken(A + "broker:\n  host: ${NAS}\n", ("config.yaml:3: broker.host: the environment variable 'NAS' is not set",)),
    "variable of the wrong type": Broken(
        A + "broker: {port: '${PORT}'}", ("broker.port: given a value with ${PORT} in it, allowed: a whole number",), {"PORT": PASSWORD}
    ),
    "path with a zero character": Broken(A, ("can not be read: embedded null byte",), {"NAVIBRIDGE_CONFIG": "a\0b"}),
    # the environment
    "variable with a misspelt option": Broken(
        A, ("NAVIBRIDGE_BROKER__HOTS: broker.hots: unknown option, did you mean 'host'?",), {"NAVIBRIDGE_BROKER__HOTS": "nas"}
    ),
    "variable with a misspelt section": Broken(
        A, ("NAVIBRIDGE_BROKR__HOST: brokr.host: unknown option, did you mean NAVIBRIDGE_BROKER__HOST?",), {"NAVIBRIDGE_BROKR__HOST": "nas"}
    ),
    "variable with a single underscore": Broken(
        A, ("NAVIBRIDGE_LOG_LEVEL: log_level: unknown option, did you mean NAVIBRIDGE_LOG__LEVEL?",), {"NAVIBRIDGE_LOG_LEVEL": "info"}
    ),
    "variable with a bad value": Broken(
        A, ("NAVIBRIDGE_BROKER__PORT: broker.port: given 'tcp', allowed: a whole number",), {"NAVIBRIDGE_BROKER__PORT": "tcp"}
    ),
    "variable for a whole section": Broken(A, ("NAVIBRIDGE_BROKER: broker: given a single value",), {"NAVIBRIDGE_BROKER": "nas"}),
    "variable of an account's option": Broken(
        A,
        ("NAVIBRIDGE_ACCOUNTS__HOME__POL_INTERVAL: accounts.home.pol_interval: unknown option, did you mean 'poll_interval'?",),
        {"NAVIBRIDGE_ACCOUNTS__HOME__POL_INTERVAL": "60"},
    ),
    "variable without a name": Broken(A, ("NAVIBRIDGE_BROKER__: is not a key path",), {"NAVIBRIDGE_BROKER__": "x"}),
    "file of a value that is not there": Broken(
        A, ("NAVIBRIDGE_BROKER__PASSWORD_FILE: can not be read",), {"NAVIBRIDGE_BROKER__PASSWORD_FILE": "/nonexistent/secret"}
    ),
    "value and file": Broken(
        A,
        ("both NAVIBRIDGE_BROKER__USERNAME and NAVIBRIDGE_BROKER__USERNAME_FILE are set",),
        {"NAVIBRIDGE_BROKER__USERNAME": "me", "NAVIBRIDGE_BROKER__USERNAME_FILE": "ca.pem"},
    ),
    "short-hand with a bad value": Broken(
        "", ("ACME_POLLING_INTERVAL: accounts.acme.poll_interval: given '5'",), {"ACME_EMAIL": "a@b.c", "ACME_PASSWORD": "x", "ACME_POLLING_INTERVAL": "5"}
    ),
    "short-hand without a password": Broken("", ("ACME_EMAIL: accounts.acme.password: missing",), {"ACME_EMAIL": "a@b.c"}),
    "short-hand where the name is taken": Broken(
        A.replace("home", "other"), ("OTHER_EMAIL: accounts.other: makes an account named other, but",), {"OTHER_EMAIL": "a@b.c"}
    ),
    "undecodable variable": Broken(A, ("NAVIBRIDGE_BROKER__USERNAME: broker.username: is not UTF-8 text",), {"NAVIBRIDGE_BROKER__USERNAME": "\udcff"}),
    # hostile YAML
    "a list at the top": Broken("- a\n- b\n", ("config.yaml:1: a list is given where sections are expected",)),
    "a value at the top": Broken(PASSWORD, ("config.yaml:1: a single value is given where sections are expected",)),
    "the same option twice": Broken(A + "broker:\n  host: a\n  host: b\n", ("config.yaml:4: broker.host: given twice; the first is in line 3",)),
    "the same section twice": Broken(A + "log: {}\nlog: {}\n", ("config.yaml:3: log: given twice; the first is in line 2",)),
    "tabs": Broken("broker:\n\thost: nas\n", ("config.yaml:2: can not be read as YAML: a tab; indent with spaces",)),
    "wrong indentation": Broken("broker:\n  host: a\n port: 1\n", ("config.yaml:3: can not be read as YAML: wrong indentation",)),
    "quote not closed": Broken(f"a: '{PASSWORD}\nb: 1\n", ("can not be read as YAML: a quotation mark that is not closed",)),
    "quote closed too early": Broken(f"a: '{PASSWORD}'s'\n", ("config.yaml:1: can not be read as YAML: wrong indentation, or a value",)),
    "unknown escape": Broken(f'a: "{PASSWORD}\\q"\n', ("can not be read as YAML: an unknown escape",)),
    "escape beyond Unicode": Broken(f'a: "{PASSWORD}\\UFFFFFFFF"\n', ("config.yaml: is not valid YAML",)),
    "escape of half a character": Broken(A + 'broker: {username: "\\ud800"}\n', ("config.yaml:2: broker.username: is not UTF-8 text",)),
    "bracket not closed": Broken(f"a: {{b: {PASSWORD}\n", ("can not be read as YAML: a bracket that is not closed",)),
    "colon in a value": Broken(f"a: b: {PASSWORD}\n", ("config.yaml:1: can not be read as YAML: a second colon",)),
    "value with a star": Broken(f"a: *{PASSWORD}\n", ("config.yaml:1: an unknown alias; put a value that begins with * in quotes",)),
    "value with a percent sign": Broken(f"a: %{PASSWORD}\n", ("config.yaml:1: can not be read as YAML: a value that begins with a special",)),
    "value with an exclamation mark": Broken(A + f"log: {{level: !{PASSWORD} x}}\n", ("config.yaml:2: log.level: an unknown tag: only !secret is known",)),
    "a Python object": Broken("a: !!python/object/apply:os.system ['true']\n", ("config.yaml:1: an unknown tag",)),
    "a template": Broken("broker: {host: {{ host }}}\n", ("config.yaml:1: a key that is not plain text",)),
    "two documents": Broken("a: 1\n---\nb: 2\n", ("config.yaml:2: a second document",)),
    "deep nesting": Broken("[" * 100_000, ("config.yaml:1: nested deeper than 16 levels",)),
    "deep nesting of sections": Broken("{a: " * 5_000, ("nested deeper than",)),
    "an alias of itself": Broken("a: &a [*a]\n", ("config.yaml:1: an unknown alias",)),
    "a billion laughs": Broken(
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        ("more than 10000 values, aliases included",),
    ),
    "a tower of aliases": Broken("a: &a0 [x]\n" + "".join(f"b{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 40)), ("nested deeper than",)),
    "too large": Broken("#" * (MAX_BYTES + 1), ("config.yaml: is larger than 256 KiB",)),
    "binary": Broken(bytes(range(256)), ("config.yaml:",)),
    "zero characters": Broken(b"a: \x00\n", ("config.yaml:1: an unprintable character (U+0000)",)),
    "Latin-1": Broken("a: 1\nb: gr\xfcn\n".encode("latin-1"), ("config.yaml:2: is not UTF-8 text",)),
    "UTF-16": Broken("a: 1\n".encode("utf-16"), ("config.yaml:1: is not UTF-8 text",)),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_is_said_with_its_place(place: Path, broken: Broken) -> None:
    told = problems_of(place, broken.text, environ=broken.environ)
    for part in broken.expected:
        assert any(part in line for line in told), f"{part!r} in none of {told}"


def test_there_is_a_good_table_of_mistakes() -> None:
    assert len(BROKEN) >= 100


def test_all_problems_are_told_at_once_in_the_order_of_their_lines(place: Path) -> None:
    told = problems_of(
        place,
        "broker:\n  port: 0\n  hots: x\naccounts:\n  a: {vendor: acme}\n  b:\n    vendor: nobody\n"
        "log: {level: loud}\nlog: {}\nstate_dir: ${NOWHERE}\n",
        environ={"NAVIBRIDGE_REFRESH": "soon"},
    )
    places = [line.split(": ")[:2] for line in told]
    assert places == [
        ["NAVIBRIDGE_REFRESH", "refresh"],
        ["config.yaml:2", "broker.port"],
        ["config.yaml:3", "broker.hots"],
        ["config.yaml:5", "accounts.a.email"],
        ["config.yaml:5", "accounts.a.password"],
        ["config.yaml:6", "accounts.b.email"],
        ["config.yaml:6", "accounts.b.password"],
        ["config.yaml:7", "accounts.b.vendor"],
        ["config.yaml:8", "log.level"],
        ["config.yaml:9", "log"],
        ["config.yaml:10", "state_dir"],
    ]


FRAGMENTS = st.sampled_from([
    "accounts", "broker", "host", "home", "vendor", "acme", "password", "port", ": ", ":", "\n", "\n  ", "\n    ", "- ",
    "{", "}", "[", "]", ", ", "'", '"', "!secret ", "${X}", "&a ", "*a", "|", ">", "#", "\t", "---\n", "? ", "<<", "~",
    "1", "yes", "\x00", "\ud800", "ü", "%", "@", "!!binary ", "\\",
])  # fmt: skip


@given(
    st.lists(FRAGMENTS, max_size=40).map("".join),
    st.dictionaries(st.sampled_from(["X", "NAVIBRIDGE_BROKER"]), FRAGMENTS),
)
def test_whatever_stands_there_is_a_configuration_or_a_list_of_problems(
    tmp_path_factory: pytest.TempPathFactory, text: str, environ: dict[str, str]
) -> None:
    place = tmp_path_factory.getbasetemp()
    try:
        told = load(place, text.encode("utf-8", "surrogatepass"), environ=environ).origins
    except ConfigError as error:
        told = {str(problem): problem.message for problem in error.problems}
    assert told


@given(st.text(max_size=60).filter(lambda text: not text.isspace()))
def test_any_line_of_an_env_file_is_read_or_warned_about(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    place = tmp_path_factory.getbasetemp() / "dotenv"
    place.write_bytes(f"NAME={text}".encode("utf-8", "surrogatepass"))
    warnings: list[Problem] = []
    words = read_dotenv(place, warnings)
    assert "NAME" in words or warnings


# ----------------------------------------------------------------------------------------------------- layers


def test_flags_go_over_the_environment_and_that_over_the_file(place: Path) -> None:
    (place / ".env").write_text(
        "NAVIBRIDGE_BROKER__HOST=dotenv\nNAVIBRIDGE_BROKER__KEEPALIVE=25\nNAVIBRIDGE_LOG__LEVEL=debug\n"
    )
    loaded = load(
        place,
        ACCOUNT + "broker:\n  host: file\n  port: 1\n  keepalive: 20\n  username: file\nlog:\n  level: error\n",
        environ={
            "NAVIBRIDGE_BROKER__HOST": "environment",
            "NAVIBRIDGE_BROKER__PORT": "2",
            "NAVIBRIDGE_REFRESH": "1 min",
        },
        flags={"--broker": {"broker.port": 3, "broker.host": None}, "--format": {"log.format": "json"}},
    )
    broker, log = loaded.config.broker, loaded.config.log
    assert (broker.host, broker.port, broker.keepalive, broker.username) == ("environment", 3, 25, "file")
    assert (log.level, log.format, loaded.config.refresh) == ("debug", "json", 60)
    assert loaded.origins == {
        "accounts.home.vendor": "config.yaml:1",
        "accounts.home.email": "config.yaml:1",
        "accounts.home.password": "config.yaml:1",
        "broker.host": "NAVIBRIDGE_BROKER__HOST",
        "broker.port": "--broker",
        "broker.keepalive": ".env:2",
        "broker.username": "config.yaml:6",
        "log.level": ".env:3",
        "log.format": "--format",
        "refresh": "NAVIBRIDGE_REFRESH",
    }
    assert loaded.path == place / "config.yaml"
    assert loaded.warnings == ()


def test_what_is_set_to_nothing_is_the_default(place: Path) -> None:
    loaded = load(
        place,
        ACCOUNT + "broker: {port:, username: ~, password: null, tls:}\ndiscovery:\ndevices:\n  a1:\n",
        environ={"NAVIBRIDGE_BROKER__HOST": "", "NAVIBRIDGE_BROKER__PASSWORD_FILE": ""},
    )
    assert loaded.config.broker == Config().broker
    assert loaded.config.devices == {"a1": DeviceSettings()}


def test_the_documented_file_loads(place: Path) -> None:
    text = """
    broker:     {host: localhost, port: 1883, protocol: 3.1.1, keepalive: 15, username:, password:, tls: {ca_file:, cert_file:, key_file:}, base_topic: navibridge}
    discovery:  {enabled: true, prefix: homeassistant, format: device}
    accounts:
      home:     {vendor: acme, email: a@b.example, password: !secret acme, poll_interval: 60}
      cabin:    {vendor: other, email: a@b.example, password: x}
    devices:
      a1b2c3d4e5f6: {name: Boiler room, rated_watts: 1500, exclude: false}
    commands:   {spacing: 2, ttl: 60}
    log:        {level: info, format: text}
    state_dir:  ~/.local/state/navibridge
"""
    loaded = load(place, text).config
    assert isinstance(loaded.accounts["home"], Acme)
    assert isinstance(loaded.accounts["cabin"], Other)
    assert loaded.accounts["home"].password == Secret(PASSWORD)
    assert loaded.device("acme", "A1:B2:C3:D4:E5:F6").rated_watts == 1500
    assert not loaded.broker.tls.active
    assert loaded.state_dir == Path.home() / ".local/state/navibridge"


def test_the_words_of_a_file_stay_what_they_look_like(place: Path) -> None:
    text = (
        ACCOUNT
        + "devices:\n  0123456789ab: {name: yes}\n  1e5: {name: 007}\n  12:34:56: {name: 1:30}\nbroker: {username: 0x10}\n"
    )
    loaded = load(place, text).config
    names = {key: device.name for key, device in loaded.devices.items()}
    assert names == {"0123456789ab": "yes", "1e5": "007", "123456": "1:30"}
    assert loaded.broker.username == "0x10"


def test_leniently_written_values(place: Path) -> None:
    text = ACCOUNT.replace("vendor: acme", "vendor: ' Acme', mqtt_protocol: mqtt5, poll_interval: 1.5 min") + (
        "log: {level: DEBUG, mqtt: on}\ntemperature_unit: f\nattribute_topics: 'Yes'\nstale_after: 1h\nrefresh: '0'\n"
        "commands: {spacing: .5, ttl: 2 Min, timeout: 10 s}\ndiscovery: {enabled: off}\nbroker: {host: '::1', protocol: 5}\n"
    )
    loaded = load(place, text).config
    home = loaded.accounts["home"]
    assert (home.vendor, home.mqtt_protocol, home.poll_interval) == ("acme", "MQTT5", 90)
    assert (loaded.log.level, loaded.log.mqtt, loaded.temperature_unit) == ("debug", True, "F")
    assert (loaded.attribute_topics, loaded.stale_after, loaded.refresh) == (True, 3600, 0)
    assert (loaded.commands.spacing, loaded.commands.ttl, loaded.commands.timeout) == (0.5, 120, 10)
    assert (loaded.discovery.enabled, loaded.broker.host, loaded.broker.protocol) == (False, "::1", "5")


def test_a_limit_can_be_switched_off(place: Path) -> None:
    limits = {
        word: load(place, ACCOUNT.replace("vendor", f"limit: {word}, vendor")).config.accounts["home"]
        for word in ("", "Off", "3")
    }
    assert {word: account.limit for word, account in limits.items()} == {"": 5, "Off": None, "3": 3}  # type: ignore[attr-defined]


def test_aliases_repeat_what_their_anchor_has(place: Path) -> None:
    text = ACCOUNT + "devices:\n  a1: &quiet {exclude: true}\n  a2: *quiet\n"
    assert load(place, text).config.devices["a2"].exclude


def test_tls_moves_the_port(place: Path) -> None:
    for tls, port in (
        ("{ca_file: ca.pem}", 8883),
        ("{enabled: true}", 8883),
        ("{verify: no}", 8883),
        ("{enabled: no, ca_file: ca.pem}", 1883),
    ):
        assert load(place, ACCOUNT + f"broker: {{tls: {tls}}}").config.broker.port == port
    assert load(place, ACCOUNT + "broker: {port: 1884, tls: {enabled: yes}}").config.broker.port == 1884
    assert Tls().active is False


def test_a_relative_path_starts_where_it_was_written(place: Path) -> None:
    nested = place / "etc"
    nested.mkdir()
    (nested / "mine.yaml").write_text(ACCOUNT + "broker: {tls: {ca_file: here.pem}}\nstate_dir: state\n")
    (nested / "here.pem").write_text("a certificate")
    from_file = load(place, path=nested / "mine.yaml").config
    assert from_file.broker.tls.ca_file == nested / "here.pem"
    assert from_file.state_dir == nested / "state"
    from_environment = load(place, path=nested / "mine.yaml", environ={"NAVIBRIDGE_STATE_DIR": "state"}).config
    assert from_environment.state_dir == Path("state")


# ---------------------------------------------------------------------------------------------- finding the file


def test_where_a_file_is_looked_for(place: Path) -> None:
    assert config.places({"HOME": "/home/me"}, place) == (
        place / "config.yaml",
        Path("/home/me/.config/navibridge/config.yaml"),
        Path("/etc/navibridge/config.yaml"),
    )
    assert config.places({"HOME": "/home/me", "XDG_CONFIG_HOME": "/cfg"}, place)[1] == Path(
        "/cfg/navibridge/config.yaml"
    )


def test_the_named_file_goes_before_the_variable_and_that_before_the_places(place: Path) -> None:
    user = place / ".config" / "navibridge"
    user.mkdir(parents=True)
    for path, name in (
        (place / "flag.yaml", "flag"),
        (place / "variable.yaml", "variable"),
        (user / "config.yaml", "user"),
    ):
        path.write_text(ACCOUNT + f"broker: {{host: {name}}}\n")
    home = {"HOME": str(place)}
    variable = home | {"NAVIBRIDGE_CONFIG": "variable.yaml"}
    assert load(place, path=place / "flag.yaml", environ=variable).config.broker.host == "flag"
    assert load(place, environ=variable).config.broker.host == "variable"
    assert load(place, environ=home).config.broker.host == "user"
    assert load(place, ACCOUNT + "broker: {host: here}", environ=home).config.broker.host == "here"


def test_a_named_file_must_be_there(place: Path) -> None:
    assert problems_of(place, path=place / "none.yaml") == ["none.yaml: can not be read: No such file or directory"]
    assert "Is a directory" in problems_of(place, environ={"NAVIBRIDGE_CONFIG": str(place)})[0]


def test_without_a_file_the_environment_does(place: Path) -> None:
    loaded = load(place, environ={"HOME": str(place), "ACME_EMAIL": "a@b.example", "ACME_PASSWORD": PASSWORD})
    assert loaded.path is None
    assert list(loaded.config.accounts) == ["acme"]


def test_an_account_is_needed_only_where_one_is_used(place: Path) -> None:
    assert load(place, "broker: {host: nas}", need_account=False).config.accounts == {}
    assert load(place, "", need_account=False).config == load(place, "# nothing\n", need_account=False).config


def test_the_state_directory_follows_the_environment(place: Path) -> None:
    assert load(place, ACCOUNT, environ={"XDG_STATE_HOME": "/xdg"}).config.state_dir == Path("/xdg/navibridge")
    assert load(place, ACCOUNT + "state_dir: /mine", environ={"XDG_STATE_HOME": "/xdg"}).config.state_dir == Path(
        "/mine"
    )


# ------------------------------------------------------------------------------------------------ short-hands


def test_short_hands_make_an_account_of_the_vendors_name(place: Path) -> None:
    loaded = load(
        place,
        environ={
            "ACME_EMAIL": "a@b.example",
            "ACME_PASSWORD": PASSWORD,
            "ACME_POLLING_INTERVAL": "45",
            "ACME_MQTT_PROTOCOL": "MQTT5",
            "ACME_LOG_LEVEL": "DEBUG",
        },
    )
    account = loaded.config.accounts["acme"]
    assert isinstance(account, Acme)
    assert (account.email, account.password, account.poll_interval) == ("a@b.example", Secret(PASSWORD), 45)
    assert account.mqtt_protocol == "MQTT5"
    assert loaded.config.log.level == "debug"
    assert loaded.origins["accounts.acme.password"] == "ACME_PASSWORD"


def test_short_hands_fill_the_only_account_of_the_vendor(place: Path) -> None:
    loaded = load(
        place,
        "accounts:\n  home: {vendor: acme, email: a@b.example, poll_interval: 60}\n",
        environ={"ACME_PASSWORD": PASSWORD, "ACME_POLLING_INTERVAL": "45", "OTHER_POLLING_INTERVAL": "45"},
    )
    account = loaded.config.accounts["home"]
    assert (account.email, account.password, account.poll_interval) == ("a@b.example", Secret(PASSWORD), 45)
    assert [str(warning) for warning in loaded.warnings] == [
        "OTHER_POLLING_INTERVAL: ignored: there is no other account"
    ]


def test_short_hands_stay_below_the_bridges_own_variables(place: Path) -> None:
    own = {"NAVIBRIDGE_ACCOUNTS__HOME__POLL_INTERVAL": "50", "NAVIBRIDGE_LOG__LEVEL": "error"}
    loaded = load(place, ACCOUNT, environ={"ACME_POLLING_INTERVAL": "45", "ACME_LOG_LEVEL": "DEBUG"} | own).config
    assert (loaded.accounts["home"].poll_interval, loaded.log.level) == (50, "error")


def test_short_hands_are_no_use_to_several_accounts(place: Path) -> None:
    text = "accounts:\n  one: {vendor: acme, email: a@b.c, password: x}\n  two: {vendor: acme, email: b@b.c, password: y}\n"
    loaded = load(place, text, environ={"ACME_PASSWORD": PASSWORD})
    assert loaded.config.accounts["one"].password == Secret("x")
    assert "several acme accounts (one, two)" in str(loaded.warnings[0])


def test_an_account_may_come_from_the_bridges_own_variables_alone(place: Path) -> None:
    prefix = "NAVIBRIDGE_ACCOUNTS__MY_HOME__"
    environ = {f"{prefix}VENDOR": "acme", f"{prefix}EMAIL": "a@b.c", f"{prefix}PASSWORD": PASSWORD}
    assert load(place, environ=environ).config.accounts["my_home"].password == Secret(PASSWORD)
    dashed = load(place, "accounts: {my-home: {poll_interval: 50}}", environ=environ).config
    assert dashed.accounts["my-home"].poll_interval == 50


def test_variables_of_others_are_a_warning(place: Path) -> None:
    service = {"NAVIBRIDGE_PORT": "tcp://10.0.0.1:8321", "NAVIBRIDGE_SERVICE_HOST": "10.0.0.1"}
    loaded = load(place, ACCOUNT, environ=service)
    assert {str(warning) for warning in loaded.warnings} == {
        f"{name}: is no option of navibridge; ignored" for name in service
    }


def test_an_option_whose_name_ends_in_file_is_not_read_from_a_file(place: Path) -> None:
    prefix = "NAVIBRIDGE_ACCOUNTS__HOME__"
    (place / "words").write_text("what to wait for\n")
    assert load(place, ACCOUNT, environ={f"{prefix}WAIT_FILE": "words"}).config.accounts["home"].wait_file == "words"  # type: ignore[attr-defined]
    loaded = load(place, ACCOUNT, environ={f"{prefix}WAIT_FILE_FILE": "words"}).config
    assert loaded.accounts["home"].wait_file == "what to wait for"  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------------- secrets

PASSWORDS = [
    "p$a$$b",
    "${HOME}",
    "$${x}",
    "a#b #c",
    "it's",
    'say "hi"',
    "'quoted'",
    '"quoted"',
    " spaces at both ends ",
    "back\\slash\\n",
    "*star",
    "&and",
    "!bang",
    "%percent",
    "@at",
    "{brace}: [x]",
    "null",
    "yes",
    "0123",
    "ünïcödé 密碼",
    "-",
]


def yaml_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("password", PASSWORDS)
def test_passwords_arrive_as_they_are_from_every_source(place: Path, password: str) -> None:
    account = "accounts:\n  home:\n    vendor: acme\n    email: a@b.example\n    password: %s\n"
    variable = "NAVIBRIDGE_ACCOUNTS__HOME__PASSWORD"
    without = account.replace("    password: %s\n", "")
    double = '"' + re.sub(r'(["\\$])', r"\\\1", password) + '"'
    (place / "password").write_text(password + "\n")
    (place / "secrets.yaml").write_text(f"it: {yaml_quoted(password)}\n")

    escaped = re.sub(r"\$(?=\{\w+\})", "$$", password) if password != "$${x}" else "$$${x}"
    texts = {
        "file, single quotes": (account % yaml_quoted(escaped), {}, ""),
        "file, double quotes": (account % json.dumps(escaped), {}, ""),
        "secret": (account % "!secret it", {}, ""),
        "variable": (without, {variable: password}, ""),
        "file of a variable": (without, {f"{variable}_FILE": "password"}, ""),
        "file of a short-hand": (without, {"ACME_PASSWORD_FILE": "password"}, ""),
        "short-hand": (without, {"ACME_PASSWORD": password}, ""),
        "reference": (account % "${IT}", {"IT": password}, ""),
        ".env, double quotes": (without, {}, f"export ACME_PASSWORD={double}  # mine\n"),
        ".env, reference": (account % "${IT}", {}, f"IT={double}\n"),
    }
    if "'" not in password:
        texts[".env, single quotes"] = (without, {}, f"ACME_PASSWORD='{password}' # mine\n")
    if password == password.strip() and " #" not in password and password[0] not in "'\"":
        texts[".env, no quotes"] = (without, {}, f"\nACME_PASSWORD = {password}   # mine\n")
    for source, (text, environ, dotenv) in texts.items():
        (place / ".env").write_text(dotenv)
        loaded = load(place, text, environ=environ)
        assert loaded.config.accounts["home"].password.reveal() == password, source
        assert password not in repr(loaded.config) or len(password) < 5, source


def test_flags_and_values_of_a_program_may_hold_secrets(place: Path) -> None:
    flags = {"--password": {"accounts.home.password": Secret(PASSWORD)}}
    assert load(place, ACCOUNT.replace(PASSWORD, "x"), flags=flags).config.accounts["home"].password == Secret(PASSWORD)


def test_doubtful_passwords_are_warned_about_by_their_length_alone(place: Path) -> None:
    (place / ".env").write_text(f"OTHER_EMAIL=a@b.example\nOTHER_PASSWORD={PASSWORD} #more\n")
    loaded = load(
        place,
        f"accounts:\n  a: {{vendor: acme, email: a@b.c, password: '{PASSWORD} '}}\n"
        f"  b: {{vendor: acme, email: b@b.c, password: '\"{PASSWORD}\"'}}\n"
        f"  c:\n    vendor: acme\n    email: c@b.c\n    password: {PASSWORD} #more\n",
    )
    told = [str(warning) for warning in loaded.warnings]
    assert [line.partition(" (")[0] for line in told] == [
        "config.yaml:2: accounts.a.password: begins or ends with white space",
        "config.yaml:3: accounts.b.password: begins or ends with a quotation mark",
        "config.yaml:7: accounts.c.password: a comment follows; if its # belongs to the secret",
        ".env:2: accounts.other.password: a comment follows; if its # belongs to the secret",
    ]
    assert "12 characters" in told[0]
    assert PASSWORD not in "".join(told)


@pytest.mark.parametrize("password", ["online", "x", "0000"])
def test_a_password_that_a_hole_tells_is_warned_about_without_showing_it(place: Path, password: str) -> None:
    loaded = load(place, f"accounts:\n  a: {{vendor: acme, email: a@b.c, password: '{password}'}}\n")
    (told,) = [str(warning) for warning in loaded.warnings]
    length = "1 character" if password == "x" else f"{len(password)} characters"
    assert told.startswith(f"config.yaml:2: accounts.a.password: so short or plain ({length}) that the hole")
    assert password not in told.replace("config.yaml", "").replace("longer one", "").split()


def test_what_follows_from_a_mistake_is_no_other(place: Path) -> None:
    (told,) = problems_of(place, f"{ACCOUNT}broker: {{host: 'mqtt://x'}}\n")
    assert "broker.host" in told


@pytest.mark.parametrize("path", [".", "..", "/"])
def test_a_directory_is_no_configuration(path: str) -> None:
    with pytest.raises(ConfigError, match="can not be read: Is a directory"):
        config.load(Path(path), vendors=SETTINGS.__getitem__, vendor_names=SETTINGS.keys(), environ={})


def test_a_strange_env_file_is_a_warning(place: Path) -> None:
    (place / ".env").write_text("# fine\n\nACME_EMAIL=a@b.example\r\nACME_PASSWORD='it's\nnot an assignment\n")
    loaded = load(place)
    assert loaded.config.accounts["acme"].password == Secret("'it's")
    assert [str(warning) for warning in loaded.warnings] == [
        ".env:4: ACME_PASSWORD: quotes that do not match; taken as it is written",
        ".env:5: is not NAME=value; ignored",
        ".env:4: accounts.acme.password: begins or ends with a quotation mark (5 characters); it is taken as a part of it",
    ]
    (place / ".env").write_bytes(b"ACME_EMAIL=\xff\n")
    assert [str(warning) for warning in load(place, ACCOUNT).warnings] == [
        ".env:1: is not UTF-8 text; save the file as UTF-8"
    ]


def test_secrets_that_are_not_used_need_no_file(place: Path) -> None:
    (place / "secrets.yaml").unlink()
    assert load(place, ACCOUNT).config.accounts
    told = problems_of(place, ACCOUNT.replace(PASSWORD, "!secret acme"))
    assert told[-1] == "secrets.yaml: can not be read: No such file or directory"
    (place / "secrets.yaml").write_text(f"acme: {PASSWORD}\n\tother: x\n")
    assert (
        "secrets.yaml:2: can not be read as YAML: a tab"
        in problems_of(place, ACCOUNT.replace(PASSWORD, "!secret acme"))[1]
    )


def test_a_secret_shows_itself_to_those_who_ask_for_it_only() -> None:
    secret = Secret(PASSWORD)
    assert secret.reveal() == PASSWORD
    shown = f"{secret} {secret!r} {secret!s:>5} {[secret]} {secret:}"
    account = Acme(email="a@b.example", password=secret)
    shown += f"{account} {account!r} {account.model_dump()} {account.model_dump_json()}"
    assert PASSWORD not in shown
    assert secret == Secret(PASSWORD)
    assert hash(secret) == hash(Secret(PASSWORD))
    assert secret != PASSWORD
    assert len(secret) == len(PASSWORD)
    assert Acme(email="a@b.example", password=PASSWORD).password == secret  # type: ignore[arg-type]


def test_every_secret_of_a_configuration_is_known(place: Path) -> None:
    loaded = load(place, ACCOUNT + "broker: {username: me, password: 'broker''s'}\n")
    assert set(loaded.config.secrets()) == {PASSWORD, "broker's"}


# ------------------------------------------------------------------------------------------------ the models


def test_a_device_is_found_however_its_id_is_written(place: Path) -> None:
    loaded = load(place, ACCOUNT + "devices: {A1-B2: {name: one}, acme_c3: {name: two}}").config
    assert loaded.device("acme", "a1:b2").name == "one"
    assert loaded.device("acme", "C3").name == "two"
    assert loaded.device("acme", "d4") == DeviceSettings()


def test_when_a_device_is_stale(place: Path) -> None:
    text = ACCOUNT.replace("vendor", "poll_interval: %s, vendor")
    derived = load(place, text % 120).config
    assert derived.stale_seconds("home", DeviceSettings()) == 390
    assert derived.stale_seconds("home", DeviceSettings(stale_after=60)) == 60
    assert load(place, text % 20).config.stale_seconds("home", DeviceSettings()) == 180
    assert load(place, text % 20 + "stale_after: 2 min").config.stale_seconds("home", DeviceSettings()) == 120


def test_a_configuration_can_be_built_of_values(place: Path) -> None:
    values = {
        "broker": {"port": 5, "tls": {"ca_file": place / "ca.pem"}, "username": None},
        "accounts": {"home": {"vendor": "acme", "email": "a@b.example", "password": Secret(PASSWORD), "zones": [1, 2]}},
        "attribute_topics": True,
    }
    built = config.build(values, vendors=SETTINGS.__getitem__, vendor_names=SETTINGS.keys())
    assert (built.broker.port, built.broker.tls.ca_file, built.attribute_topics) == (5, place / "ca.pem", True)
    assert built.accounts["home"] == Acme(email="a@b.example", password=Secret(PASSWORD), zones=[1, 2])
    with pytest.raises(ConfigError, match=r"^demo: broker\.port: given '0', allowed"):
        config.build({"broker": {"port": 0}}, vendors=SETTINGS.__getitem__, vendor_names=SETTINGS.keys(), source="demo")


def models() -> Iterator[type[Options]]:
    yield from (Config, config.Broker, Tls, config.Discovery, DeviceSettings, config.Commands, config.Log, config.Web)
    yield from real_vendors().values()


def real_vendors() -> dict[str, type[AccountSettings]]:
    return {name: vendors.load(name).Settings for name in vendors.names()}


def test_every_option_has_a_description_and_nearly_every_one_a_default() -> None:
    needed = set()
    for model in models():
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert field.description.endswith("."), f"{model.__name__}.{name}"
            if field.is_required():
                needed.add(name)
    assert needed <= {"vendor", "email", "password"}


# ------------------------------------------------------------------------------------- the example and the schema


def uncommented(text: str) -> str:
    """The example with every option that is commented out; prose has one space after its #."""
    return re.sub(r"^( *)#(?! \S)( *[\w-]+:)", r"\1\2", text, flags=re.MULTILINE)


def example_tree(tmp_path: Path) -> Branch:
    (tmp_path / "config.yaml").write_text(uncommented(EXAMPLE.read_text()))
    problems: list[Problem] = []
    tree = read_config(tmp_path / "config.yaml", "config.yaml", {}, problems)
    assert not problems
    return tree


def load_real(path: Path, directory: Path) -> Loaded:
    real = real_vendors()
    return config.load(path, vendors=real.__getitem__, vendor_names=real.keys(), environ={}, directory=directory)


def defaults(model: type[Options]) -> Iterator[tuple[str, Any]]:
    """Every option of a model with its default as a file would say it; sections aside."""
    shape = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            yield from ((f"{name}.{inner}", value) for inner, value in defaults(field.annotation))
        elif name not in ("accounts", "devices"):
            yield name, shape[name].get("default")


def said(value: Any) -> str:
    return {None: "", True: "true", False: "false"}.get(value, str(value)) if not isinstance(value, list) else value


def test_the_example_shows_every_option_with_its_default(tmp_path: Path) -> None:
    tree = example_tree(tmp_path)
    sections: list[tuple[tuple[str, ...], type[Options]]] = [
        ((), Config),
        (("devices", "a1b2c3d4e5f6"), DeviceSettings),
    ]
    accounts = {str(account["vendor"]): name for name, account in tree["accounts"].items()}
    sections += [(("accounts", accounts[vendor]), settings) for vendor, settings in real_vendors().items()]
    for where, model in sections:
        for option, default in defaults(model):
            if option in ("vendor", "email", "password"):
                continue
            shown = look(tree, (*where, *option.split(".")))
            assert shown is not None, f"{option} of {'.'.join(where)} is not in the example"
            assert shown == said(default), f"{option} of {'.'.join(where)}"


def test_the_example_explains_every_option() -> None:
    for line in EXAMPLE.read_text().splitlines():
        if re.match(r" *#?(?! \S) *[\w-]+: ", line) and not re.match(r" *#? *[\w-]+:$", line):
            assert re.search(r" # \S", line), line


def test_the_example_loads_as_it_is_and_with_every_option(tmp_path: Path) -> None:
    as_it_is = load_real(EXAMPLE, tmp_path)
    assert as_it_is.warnings == ()
    (tmp_path / "all.yaml").write_text(uncommented(EXAMPLE.read_text()))
    everything = load_real(tmp_path / "all.yaml", tmp_path)
    assert everything.warnings == ()
    assert everything.config.broker == as_it_is.config.broker == Config().broker
    assert everything.config.log == Config().log
    assert everything.config.commands == Config().commands
    assert everything.config.devices == {"a1b2c3d4e5f6": DeviceSettings()}
    assert everything.config.state_dir == Config().state_dir


SORTS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def is_a(value: Any, sort: str) -> bool:
    return isinstance(value, SORTS[sort]) and (sort == "boolean" or not isinstance(value, bool))


def mismatches(value: Any, shape: dict[str, Any], whole: dict[str, Any], path: str = "") -> list[str]:
    """What of JSON Schema the published one uses, checked."""
    if "$ref" in shape:
        shape = {**whole["$defs"][shape["$ref"].rpartition("/")[2]], **{k: v for k, v in shape.items() if k != "$ref"}}
    if "type" in shape and not is_a(value, shape["type"]):
        return [f"{path}: {value!r} is no {shape['type']}"]
    number = isinstance(value, int | float)
    matching = {
        key: sum(not mismatches(value, one, whole, path) for one in shape.get(key, [])) for key in ("anyOf", "oneOf")
    }
    wrong = {
        "anyOf": "anyOf" in shape and matching["anyOf"] < 1,
        "oneOf": "oneOf" in shape and matching["oneOf"] != 1,
        "enum": value not in shape.get("enum", [value]),
        "const": value != shape.get("const", value),
        "pattern": isinstance(value, str) and not re.search(shape.get("pattern", ""), value),
        "minimum": number and value < shape.get("minimum", value),
        "maximum": number and value > shape.get("maximum", value),
    }
    found = [f"{path}: {value!r} against {key}" for key, bad in wrong.items() if bad]
    if isinstance(value, dict):
        found += [f"{path}: no {name}" for name in shape.get("required", []) if name not in value]
        for name, inner in value.items():
            below = shape.get("properties", {}).get(name, shape.get("additionalProperties", {}))
            found += (
                [f"{path}.{name}: unknown"] if below is False else mismatches(inner, below, whole, f"{path}.{name}")
            )
    return found


def schema() -> dict[str, Any]:
    real = real_vendors()
    return config.schema(real.__getitem__, real.keys())


def test_the_schema_takes_the_example() -> None:
    assert mismatches(yaml.safe_load(EXAMPLE.read_text()), schema(), schema()) == []


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    shape = config.schema(SETTINGS.__getitem__, SETTINGS.keys())
    account = {"vendor": "acme", "email": "a@b.example", "password": "x"}
    assert not mismatches({"accounts": {"home": account}}, shape, shape)
    assert not mismatches(
        {"accounts": {"home": account | {"poll_interval": "1 min", "gas_units": "${GAS}"}}}, shape, shape
    )
    assert not mismatches({"broker": {"protocol": 5, "port": "${PORT}"}}, shape, shape)
    for wrong in (
        {"broker": {"port": 0}},
        {"broker": {"port": "mqtt"}},
        {"brokr": {}},
        {"log": {"level": "loud"}},
        {"accounts": {"home": account | {"vendor": "nobody"}}},
        {"accounts": {"home": account | {"poll_interval": 5}}},
        {"accounts": {"home": account | {"vendor": "other", "gas_units": True}}},
        {"accounts": {"home": {"vendor": "acme"}}},
    ):
        assert mismatches(wrong, shape, shape), wrong


def test_the_schema_is_json_and_describes_every_option() -> None:
    shape = json.loads(json.dumps(schema()))
    for name, part in shape["$defs"].items():
        for option, below in part["properties"].items():
            assert "description" in below, f"{name}.{option}"
    assert shape["$defs"]["Broker"]["properties"]["password"]["anyOf"][0]["format"] == "password"
