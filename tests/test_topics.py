from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navibridge.topics import (
    Birth,
    BridgeRequest,
    Get,
    Published,
    SetAttribute,
    SetChanges,
    Topics,
    check_device_topic,
    device_topic,
    slug,
)

BASES = ["navibridge", "home/cellar/nb"]
LEVEL = st.text(st.characters(blacklist_characters="/+#\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)


@pytest.fixture(params=BASES)
def topics(request: pytest.FixtureRequest) -> Topics:
    return Topics(request.param, "homeassistant")


def test_what_the_design_lists() -> None:
    topics = Topics()
    assert {
        topics.bridge_state,
        topics.bridge_info,
        topics.bridge_health,
        topics.account_availability("home"),
        topics.account_state("home"),
        topics.state("d"),
        topics.availability("d"),
        topics.value("d", "power"),
        topics.set("d"),
        topics.set_attribute("d", "power"),
        topics.get("d"),
        topics.result("d"),
        topics.request("devices"),
        topics.response("devices"),
        topics.log,
    } == {
        "navibridge/bridge/state",
        "navibridge/bridge/info",
        "navibridge/bridge/health",
        "navibridge/bridge/account/home/availability",
        "navibridge/bridge/account/home/state",
        "navibridge/d/state",
        "navibridge/d/availability",
        "navibridge/d/value/power",
        "navibridge/d/set",
        "navibridge/d/set/power",
        "navibridge/d/get",
        "navibridge/d/result",
        "navibridge/bridge/request/devices",
        "navibridge/bridge/response/devices",
        "navibridge/bridge/log",
    }
    assert topics.device_config("navibridge_d") == "homeassistant/device/navibridge_d/config"
    assert topics.entity_config("sensor", "navibridge_d", "power") == "homeassistant/sensor/navibridge_d/power/config"


def test_what_comes_in_is_told_apart(topics: Topics) -> None:
    assert topics.parse(topics.set("d")) == SetChanges("d")
    assert topics.parse(topics.set_attribute("d", "power")) == SetAttribute("d", "power")
    assert topics.parse(topics.get("d")) == Get("d")
    assert topics.parse(topics.request("devices")) == BridgeRequest("devices")
    assert topics.parse("homeassistant/status") == Birth()


def test_what_goes_out_is_told_apart(topics: Topics) -> None:
    assert topics.parse_published(topics.bridge_state) == Published("bridge", "", "state")
    assert topics.parse_published(topics.bridge_info) == Published("bridge", "", "info")
    assert topics.parse_published(topics.bridge_health) == Published("bridge", "", "health")
    assert topics.parse_published(topics.log) == Published("bridge", "", "log")
    assert topics.parse_published(topics.response("x")) == Published("bridge", "", "response", "x")
    assert topics.parse_published(topics.account_state("home")) == Published("account", "home", "state")
    assert topics.parse_published(topics.account_availability("home")) == Published("account", "home", "availability")
    assert topics.parse_published(topics.state("d")) == Published("device", "d", "state")
    assert topics.parse_published(topics.availability("d")) == Published("device", "d", "availability")
    assert topics.parse_published(topics.result("d")) == Published("device", "d", "result")
    assert topics.parse_published(topics.value("d", "power")) == Published("device", "d", "value", "power")


@pytest.mark.parametrize(
    "rest",
    [
        *("", "d", "d/", "/set", "d/set/", "d/set/a/b", "d/got", "d/get/x", "bridge/set", "bridge/set/x", "bridge/get"),
        *("bridge/request", "bridge/request/", "bridge/request/a/b", "bridge", "d/state", "d/value/x", "d/result"),
    ],
)
def test_nothing_else_comes_in(topics: Topics, rest: str) -> None:
    assert topics.parse(f"{topics.base}/{rest}") is None
    assert topics.parse(f"other/{topics.base}/{rest}") is None


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "d/set",
        "d/get",
        "d/value/",
        "d/value",
        "d/value/a/b",
        "/state",
        "bridge/account/home",
        "bridge/account//state",
        "bridge/request/x",
        "bridge/response/",
        "bridge/availability",
        "bridge/else",
    ],
)
def test_nothing_else_goes_out(topics: Topics, rest: str) -> None:
    assert topics.parse_published(f"{topics.base}/{rest}") is None


def test_neighbours_are_not_ours(topics: Topics) -> None:
    assert topics.parse(f"{topics.base}2/d/set") is None
    assert topics.parse_published("homeassistant/device/x/config") is None


@given(LEVEL, LEVEL)
def test_parsing_undoes_building(device: str, attribute: str) -> None:
    topics = Topics("a/b", "ha")
    if device == "bridge":
        return
    assert topics.parse(topics.set(device)) == SetChanges(device)
    assert topics.parse(topics.set_attribute(device, attribute)) == SetAttribute(device, attribute)
    assert topics.parse_published(topics.value(device, attribute)) == Published("device", device, "value", attribute)


@given(st.text(max_size=60))
def test_any_topic_is_read_without_an_error(text: str) -> None:
    topics = Topics()
    for topic in (text, f"navibridge/{text}"):
        topics.parse(topic)
        topics.parse_published(topic)


def test_the_filters_cover_what_is_parsed(topics: Topics) -> None:
    assert topics.incoming == (
        f"{topics.base}/+/set",
        f"{topics.base}/+/set/+",
        f"{topics.base}/+/get",
        f"{topics.base}/bridge/request/+",
        "homeassistant/status",
    )
    assert topics.configs == ("homeassistant/+/+/config", "homeassistant/+/+/+/config")


def test_home_assistants_own_topic_stays_when_the_prefix_is_another() -> None:
    topics = Topics("navibridge", "ha")
    assert topics.births == ("ha/status", "homeassistant/status")
    assert topics.parse("ha/status") == topics.parse("homeassistant/status") == Birth()


@pytest.mark.parametrize("bad", ["", "/a", "a/", "a//b", "a/+", "#", "$SYS/x", "a\0"])
def test_a_start_that_is_none(bad: str) -> None:
    with pytest.raises(ValueError, match="can not start a topic"):
        Topics(bad)
    with pytest.raises(ValueError, match="can not start a topic"):
        Topics("navibridge", bad)


def test_base_and_prefix_are_not_the_same() -> None:
    with pytest.raises(ValueError, match="both"):
        Topics("x", "x")


@pytest.mark.parametrize("bad", ["", "a/b", "+", "a#"])
def test_a_level_that_is_none(topics: Topics, bad: str) -> None:
    for build in (topics.state, topics.get, topics.request, topics.account_state, topics.availability):
        with pytest.raises(ValueError, match="one level"):
            build(bad)
    with pytest.raises(ValueError, match="discovery topic"):
        topics.device_config(f"x{bad} ")


# Devices' own names


def test_a_device_topic_is_made_of_vendor_and_id() -> None:
    assert device_topic("navilink", "a1b2c3d4e5f6") == "navilink_a1b2c3d4e5f6"
    assert device_topic("navilink", "A1B2C3D4E5F6") == "navilink_a1b2c3d4e5f6"
    assert device_topic("mysa", "a_1") == "mysa_a_1"


def test_ids_that_differ_in_punctuation_do_not_meet() -> None:
    ids = ["a1:b2", "a1-b2", "a1b2", "a1_b2", "a1.b2", "a1 b2", "a1/b2", "a1::b2", "+", "#", "-", "é", "ü"]
    topics = [device_topic("v", one) for one in ids]
    assert len(set(topics)) == len(ids)
    assert topics == [device_topic("v", one) for one in ids], "the same every time"
    assert device_topic("v", "a1:b2") == "v_a1_b2_a5ec0707", "and in every release"


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_texts_have_different_slugs(one: str, other: str) -> None:
    assert check_device_topic(slug(one))
    if one.lower() != other.lower():
        assert slug(one) != slug(other)


@pytest.mark.parametrize(("vendor", "device_id"), [("", "a"), ("a", "")])
def test_a_device_without_an_id(vendor: str, device_id: str) -> None:
    with pytest.raises(ValueError, match="needs a vendor and an id"):
        device_topic(vendor, device_id)


@pytest.mark.parametrize("bad", ["bridge", "", "a/b", "a b", "Küche", "a+"])
def test_a_topic_of_the_users_own_that_can_not_be(bad: str) -> None:
    with pytest.raises(ValueError, match="can not be a device's topic"):
        check_device_topic(bad)


def test_a_topic_of_the_users_own() -> None:
    assert check_device_topic("Cellar-1_x") == "Cellar-1_x"


def test_what_is_left_of_devices_and_accounts_that_are_gone(topics: Topics) -> None:
    mine = [topics.state("here"), topics.availability("here"), topics.account_state("home"), topics.bridge_info]
    old = [topics.state("gone"), topics.value("gone", "x"), topics.account_availability("old")]
    others = ["other/gone/state", topics.set("gone"), topics.device_config("navibridge_gone")]
    assert topics.left_over([*mine, *old, *others], devices={"here"}, accounts={"home"}) == tuple(old)


def test_the_filters_of_what_is_kept(topics: Topics) -> None:
    assert topics.retained_of("d") == (topics.state("d"), topics.availability("d"), f"{topics.base}/d/value/+")
    assert set(topics.retained_of("+")) < set(topics.retained)
    assert set(topics.traces) < set(topics.retained)
    assert topics.configs_of("x") == ("homeassistant/device/x/config", "homeassistant/+/x/+/config")
    assert topics.configs_of("attic (old)") == ()
