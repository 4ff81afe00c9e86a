"""The tables of the families, what the samples mean by them, and what becomes of a command."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import homeassistant, mysa

from navibridge import discovery
from navibridge.errors import CommandError, FrameError
from navibridge.model import Attribute, Codec, Kind, Range, Sort
from navibridge.topics import Topics
from navibridge.vendors.mysa import attributes, batch, capabilities, codecs, controls, devices, frames, models
from navibridge.vendors.mysa.models import Family

ROWS = [pytest.param(kind, row, id=f"{kind.name}.{row.key}") for kind in devices.KINDS for row in kind.attributes]
FORMS = sorted({wire.form for kind in devices.KINDS for row in kind.attributes for wire in row.reads})
FIELDS = sorted({wire.name for kind in devices.KINDS for row in kind.attributes for wire in row.reads})

RAW: dict[str, tuple[Any, ...]] = {
    "V, 0 is none": (1, 240, 239.5),
    "dBm, above -10 is none": (-63, -10),
    "°C, 0 is none": (0, 5.0, 20.5, 40.0),
    "text": ("3.16.2.3",),
    "Locked, Unlocked or 0, 1": ("Locked", "Unlocked"),
    "unit": ("celsius", "fahrenheit"),
    "fraction of 1": (0, 0.25, 0.5, 1),
    "A": (0, 3.84),
    "number": (0, -5, 3.25),
    "°C": (-40, -6.8, 0, 17.92, 85),
    "%": (0, 41, 47.5, 100),
    "bytes": (b"\xcd\0\0",),
}


def every_codec() -> dict[str, Codec]:
    found = {wire.codec.name: wire.codec for kind in devices.KINDS for row in kind.attributes for wire in row.reads}
    return found | {field.codec.name: field.codec for fields in batch.VERSIONS.values() for field in fields}


def command(device: devices.Thermostat, changes: dict[str, Any], known: dict[str, Any]) -> Any:
    """The settings of the command that the changes become."""
    return controls.control(device, changes, known).cmd


# --- every row, whatever it is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", every_codec())
def test_encoding_is_the_inverse_of_decoding(name: str) -> None:
    codec = every_codec()[name]
    seen = 0
    for raw in RAW.get(name, range(-700, 700)):
        try:
            value = codec.decode(raw)
        except ValueError:
            continue  # a number that an enumeration does not list, or that was not measured
        assert codec.decode(codec.encode(value)) == value
        seen += 1
    assert seen


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_a_row_is_complete(kind: Kind, row: Attribute) -> None:
    assert row.name[0].isupper()
    assert row.source
    assert len({(wire.form, wire.name) for wire in row.reads}) == len(row.reads)
    if not row.reads:
        assert set(row.needs) & set(kind.by_key), "a derived value says what it needs"
    if row.about:
        assert row.about.endswith(".")


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_a_writable_row_can_be_commanded(kind: Kind, row: Attribute) -> None:
    device = next(
        device for name in mysa.NAMES if (device := mysa.thermostat(name)).kind is kind or kind is devices.SENSORS
    )
    if not row.writes:
        return
    resolved = device.attribute(row.key)
    if resolved is None:
        assert row.key == "swing_horizontal_mode", "the sample has no horizontal vane"
        return
    assert resolved.writes
    match row.quantity.sort:
        case Sort.NUMBER:
            assert resolved.limits is not None
            value: Any = resolved.limits.high
        case Sort.OPTION:
            value = resolved.words[0]
        case _:
            value = True
    checked = device.check({row.key: value})
    made = controls.control(device, checked, {"mode": "cool"})
    assert made.cmd or made.settings
    assert not (made.cmd and made.settings)
    assert made.confirms == checked
    if made.cmd:
        sent = frames.command(device.id, made.cmd, controls.body_type(device), user="u", sent_id=1768478430417)
        assert sent.message["body"]["type"] == device.true_model.body_type
        answer = {"state": made.cmd, "success": 1, "type": 4}
        frame = frames.parse(frames.orjson.dumps({"msg": 44, "body": answer}))
        assert devices.decode(device, frame, {"mode": "cool"}).values == checked
    else:
        assert devices.decode(device, frames.rest_device(made.settings)).values == checked


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_a_row_resolves_before_anything_is_known(kind: Kind, row: Attribute) -> None:
    resolved = row.resolve({})
    assert resolved.writes == row.writes
    assert bool(resolved.words) == (row.quantity.sort is Sort.OPTION)
    assert row.when({})


def test_what_no_table_lists_is_not_encoded() -> None:
    for codec, value in ((codecs.MODE, "heat_cool"), (codecs.DISPLAY_UNIT, "kelvin"), (codecs.LOCKED, None)):
        with pytest.raises(ValueError, match=repr(value)):
            codec.encode(value)
    with pytest.raises(TypeError):
        codecs.HEX.decode("cd0000")


def test_names_of_one_key_agree_over_the_families() -> None:
    quantities: dict[str, Any] = {}
    for kind in devices.KINDS:
        for row in kind.attributes:
            assert quantities.setdefault(row.key, row.quantity) == row.quantity


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(FORMS), st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), anything, max_size=20))
def test_decoding_and_deriving_are_total(form: str, fields: dict[str, Any]) -> None:
    frame = frames.Frame(form, fields, None, 0, "new")
    for device in DEVICES:
        values = devices.decode(device, frame, {"mode": "cool"}).values
        derived = device.kind.derive({}, values)
        for value in (*values.values(), *derived.values()):
            assert value is None or isinstance(value, bool | int | float | str)
            assert not isinstance(value, float) or math.isfinite(value)


@given(st.dictionaries(st.sampled_from(sorted(mysa.listed("ac"))), anything, max_size=6), anything, anything)
def test_building_a_device_is_total(changed: dict[str, Any], caps: Any, mode: Any) -> None:
    supported = {"modes": {"4": mode, "3": caps}, "tempRange": caps, "fanSpeeds": mode}
    for given_caps in (caps, supported):
        entry = mysa.listed("ac") | {"SupportedCaps": given_caps} | changed
        try:
            device = devices.build(entry, user=caps if isinstance(caps, dict) else None)
        except FrameError:
            assert not frames.normal_id(entry["Id"])
            continue
        target = device.attribute("target_temperature")
        assert target is None or target.limits is None or target.limits.low < target.limits.high
        frames.rest_device(entry)
        frames.rest_state(entry)


DEVICES = [mysa.thermostat(name) for name in mysa.NAMES] + [mysa.thermostat("v2", Id="02a17e4b1cff", Model="XX-V9")]


@pytest.mark.parametrize("raw", [None, [], {}, "x", "", math.inf, math.nan, 1e30, 10**30, "nan"], ids=repr)
def test_a_value_that_is_none_is_unknown_and_reported(raw: Any) -> None:
    for kind in devices.KINDS:
        for form in FORMS:
            for name, keys in kind.wires(form).items():
                texts = any(kind.by_key[key].quantity.sort is Sort.TEXT for key in keys)
                ours = form in ("ledger", "settings")
                clamped = name in ("dtyCycle", "heatStat", "duty_fraction", "Rssi") and raw in (1e30, 10**30)
                if not (ours or clamped or (texts and isinstance(raw, str))):
                    decoded = kind.decode(form, {name: raw})
                    assert decoded.values == dict.fromkeys(keys), (form, name)
                    assert decoded.unknown.keys() == {name}, (form, name)


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "family", "number"),
    [
        ("BB-V1-0", Family.BASEBOARD_V1, 1),
        ("BB-V1-1", Family.BASEBOARD_V1, 1),
        ("v1", Family.BASEBOARD_V1, 1),
        ("AC-V1-0", Family.AC, 2),
        ("AC-V1-X", Family.AC, 2),
        ("INF-V1-0", Family.IN_FLOOR, 3),
        ("BB-V2-0", Family.BASEBOARD_V2, 4),
        ("bb-v2-7", Family.BASEBOARD_V2, 4),
        ("BB-V2-0-L", Family.LITE, 5),
        (" bb-v2-3-l ", Family.LITE, 5),
        ("ST-V1-0", Family.CENTRAL, None),
        ("BB-V3-0", Family.BASEBOARD_V3, None),
        ("BB-V10-0", Family.UNKNOWN, None),
        ("V10", Family.UNKNOWN, None),
        ("XX-V1-0", Family.UNKNOWN, None),
        ("", Family.UNKNOWN, None),
        (None, Family.UNKNOWN, None),
        (7, Family.UNKNOWN, None),
    ],
)
def test_a_model_is_known_by_its_beginning(code: Any, family: Family, number: int | None) -> None:
    model = models.recognise(code)
    assert model.family is family
    assert model.body_type == number
    assert bool(model.product.unsupported) == (number is None)


def test_a_lite_in_disguise_is_found_out() -> None:
    disguised = mysa.listed("lite") | {"Model": "BB-V2-0"}
    assert devices.build(disguised).true_model.family is Family.BASEBOARD_V2
    device = devices.build(disguised, user=mysa.sample("users")["User"])
    assert device.true_model.family is Family.LITE
    assert device.kind is devices.LITE
    assert controls.body_type(device) == 5
    # The second air conditioner is not in the profile: the list has to do.
    assert mysa.thermostat("ac_2").true_model.code == "AC-V1-1"


@pytest.mark.parametrize(
    "user", [{}, {"DevicesPaired": None}, {"DevicesPaired": {"State": []}}, {"DevicesPaired": {"State": {"BB": 7}}}]
)
def test_a_profile_that_says_nothing_changes_nothing(user: dict[str, Any]) -> None:
    assert models.true_model(mysa.listed("v2"), user).family is Family.BASEBOARD_V2


@pytest.mark.parametrize("model", ["ST-V1-0", "BB-V3-0", "ZZ-9", None])
def test_what_is_not_supported_is_read_and_never_commanded(model: str | None) -> None:
    device = mysa.thermostat("v2", Id="02a17e4b1c07", Model=model)
    assert device.kind is devices.SENSORS
    assert not any(row.writes for row in device.attributes)
    assert device.true_model.product.unsupported.endswith(".")
    for changes in ({"mode": "off"}, {"target_temperature": 20.0}, {"lock": True}):
        with pytest.raises(CommandError) as caught:
            controls.control(device, changes, {})
        assert caught.value.code == "read_only"
    state = devices.decode(device, frames.rest_state(mysa.state("v2")))
    assert state.values["current_temperature"] == 19.7
    assert state.unknown == {}


# --- devices ----------------------------------------------------------------------------------------------------------


def test_a_device_is_named_by_its_owner_or_by_its_id() -> None:
    device = devices.build(mysa.listed("v1"), firmware="3.16.2.3", serial="SIM1")
    assert (device.vendor, device.id, device.name) == ("mysa", mysa.V1, "Guest Bedroom")
    assert (device.model, device.firmware, device.serial) == ("Baseboard V1 (BB-V1-1)", "3.16.2.3", "SIM1")
    for nameless in ({"Id": "02:A1:7E:4B:1C:01"}, {"Id": mysa.V1, "Name": "  "}, {"Id": mysa.V1, "Name": 7}):
        assert devices.build(nameless).name == mysa.V1
    assert devices.build(mysa.listed("v1"), name="Bed").name == "Bed"
    with pytest.raises(FrameError):
        devices.build({"Model": "BB-V1-0"})


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("v1", {"floor_temperature", "tracked_sensor", "fan_mode", "proximity", "auto_brightness", "heating_current"}),
        ("v2", {"floor_temperature", "tracked_sensor", "fan_mode", "climate_plus", "gfci_ok"}),
        ("lite", {"current", "heating_current", "proximity", "auto_brightness", "floor_temperature"}),
        ("in_floor", {"current", "proximity", "fan_mode"}),
        ("ac", {"power", "energy", "duty_cycle", "current", "line_voltage", "rated_power", "heat_sink_temperature"}),
        ("ac_2", {"swing_mode", "swing_horizontal_mode", "power"}),
    ],
)
def test_what_a_model_lacks_is_not_announced(name: str, lacks: set[str]) -> None:
    assert not lacks & {row.key for row in mysa.thermostat(name).attributes}


def test_what_never_arrived_is_not_announced() -> None:
    seen = frozenset({"mode", "target_temperature", "current_temperature", "duty_cycle"})
    device = devices.build(mysa.listed("v2"), seen=seen)
    keys = {row.key for row in device.attributes}
    assert keys == seen | {"action"}
    assert "power" in {row.key for row in devices.build(mysa.listed("v2"), seen=seen | {"rated_power"}).attributes}
    measured = {row.key for row in devices.build(mysa.listed("v2"), seen=seen | {"heating_current"}).attributes}
    assert {"power", "power_source", "current"} <= measured


@pytest.mark.parametrize("unit", ["C", "F"])
@pytest.mark.parametrize("form", ["device", "entity"])
@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_home_assistant_takes_every_device(device: devices.Thermostat, form: Any, unit: Any) -> None:
    topics = Topics("navibridge", "homeassistant")
    document = discovery.device_document(device, topics, topic=f"mysa_{device.id}", account="cabin", unit=unit)
    assert list(homeassistant.problems(discovery.messages(document, topics, form))) == []
    climate = document["components"].get("climate")
    assert (climate is None) == (device.kind is devices.SENSORS)
    assert "mode" not in document["components"]


def test_a_firmware_is_announced_as_an_update_once_both_versions_are_known() -> None:
    topics = Topics("navibridge", "homeassistant")
    seen = frozenset({"firmware", "mode"})
    for keys, component in ((seen, "firmware"), (seen | {"firmware_latest"}, "firmware_update")):
        device = devices.build(mysa.listed("v2"), seen=keys)
        components = discovery.device_document(device, topics, topic="x", account="a")["components"]
        assert component in components
        assert ("firmware_update" in components) == (component == "firmware_update")
    assert components["firmware_update"]["platform"] == "update"
    assert "command_topic" not in components["firmware_update"]


@pytest.mark.parametrize(
    ("name", "changed", "limits", "step"),
    [
        ("v1", {}, Range(5, 30), 0.5),
        ("v2", {"MinSetpoint": "7.5", "MaxSetpoint": "25"}, Range(7.5, 25), 0.5),
        ("v2", {"MinSetpoint": 30, "MaxSetpoint": 5}, Range(5, 30), 0.5),
        ("v2", {"MinSetpoint": None, "MaxSetpoint": "x"}, Range(5, 30), 0.5),
        ("in_floor", {}, Range(5, 40), 0.5),
        ("in_floor", {"MinSetpoint": None}, Range(5, 40), 0.5),
        ("ac", {}, Range(17, 30), 1.0),
        ("ac_2", {}, Range(17, 30), 1.0),
        ("ac", {"SupportedCaps": {"tempRange": [0, 31], "modes": {"4": {}}}}, Range(16, 31), 1.0),
        ("ac", {"SupportedCaps": {"tempRange": [18, "28"], "modes": {"4": {}}}}, Range(18, 28), 1.0),
        ("ac", {"SupportedCaps": {"tempRange": [30, 18], "modes": {"4": {}}}}, Range(16, 30), 1.0),
        ("ac", {"SupportedCaps": {"tempRange": [None, "x"], "modes": {"4": {}}}}, Range(16, 30), 1.0),
        ("ac", {"SupportedCaps": {"modes": {"4": {"temperatures": [20]}}}}, Range(16, 30), 1.0),
        (
            "ac",
            {"SupportedCaps": {"temperatureUnit": "F", "modes": {"4": {"temperatures": [61, 90]}}}},
            Range(16, 30),
            1.0,
        ),
        ("ac", {"SupportedCaps": None}, None, None),
    ],
)
def test_limits_and_steps_are_those_of_this_device(
    name: str, changed: dict[str, Any], limits: Range | None, step: float | None
) -> None:
    row = mysa.thermostat(name, **changed).attribute("target_temperature")
    assert row is not None
    if limits is None:
        assert not row.writes
    else:
        assert (row.limits, row.step, row.writes) == (limits, step, True)


# --- air conditioners -------------------------------------------------------------------------------------------------


def test_an_air_conditioner_offers_what_its_lists_say() -> None:
    device = mysa.thermostat("ac")
    words = {row.key: row.words for row in device.attributes if row.words}
    assert words["mode"] == ("off", "heat", "cool", "auto", "dry", "fan_only")
    assert words["fan_mode"] == ("auto", "low", "medium", "high", "max")
    assert words["swing_mode"] == ("auto", "top", "upper", "middle", "lower")
    assert "swing_horizontal_mode" not in words
    caps = device.capabilities
    assert {mode: tuple(entry.fans) for mode, entry in caps.modes.items()} == {
        "heat": ("auto", "low", "medium"),
        "cool": ("auto", "low", "medium", "high", "max"),
        "auto": ("auto",),
        "dry": ("auto", "low"),
        "fan_only": ("low", "medium", "high", "max"),
    }
    assert caps.modes["dry"].temperatures == caps.modes["fan_only"].temperatures == ()


def fans(mode: dict[str, Any] | None = None, **listed: Any) -> dict[str, int]:
    """The fan speeds of the mode cool, of a unit whose modes are cool and dry."""
    caps = {"modes": {"4": mode or {}, "6": listed.pop("dry", {})}, **listed.pop("caps", {})}
    return dict(capabilities.read({"SupportedCaps": caps, **listed}).modes["cool"].fans)


def test_fan_speeds_come_from_the_most_specific_source() -> None:
    assert fans({"fanSpeeds": [1, 3, 5, 7, 8]}) == {"auto": 1, "low": 3, "medium": 5, "high": 7, "max": 8}
    assert fans({"fanSpeeds": [12, 3]}, caps={"fanSpeeds": [1, 2]}) == {"sleep": 12, "low": 3}
    assert fans(caps={"fanSpeeds": [1, 2, 4, 6]}) == {"auto": 1, "low": 2, "medium": 4, "high": 6}
    assert fans(caps={"fanSpeeds": [1, 4, 5]}) == {"auto": 1, "low": 4, "medium": 5}, "by place"
    assert fans(caps={"fanSpeeds": [3, 5, 7]}) == {"low": 3, "medium": 5, "high": 7}, "a partial list has no places"
    assert fans(dry={"fanSpeeds": [1, 3]}) == {"auto": 1, "low": 3}, "what other modes offer"
    assert fans() == {"auto": 1, "low": 3, "medium": 5, "high": 7, "max": 8}
    for number in (1117, "1117"):
        assert fans(CodeNum=number) == {"auto": 1, "low": 2, "medium": 4, "high": 6}
    assert fans(CodeNum="2782") == {"auto": 1, "low": 2, "high": 6}
    assert fans({"fanSpeeds": [77, "x"]}, caps={"fanSpeeds": [99]}, CodeNum=None) == fans(), "nothing known in them"
    assert fans(caps={"fanSpeeds": [1, 3, 99, 5, 7, 12]}) == {"auto": 1, "low": 3, "medium": 5, "high": 7, "sleep": 12}
    assert fans({"fanSpeeds": ["1", "3"]}) == {"auto": 1, "low": 3}


def test_a_fan_code_means_what_it_means_on_this_unit() -> None:
    device = mysa.thermostat("ac", SupportedCaps={"modes": {"4": {}}, "fanSpeeds": [1, 3, 4, 5]})
    status = {"4": 5, "mode": 4}
    frame = frames.Frame("status_ac", status, None, 30, "new")
    assert devices.decode(device, frame).values["fan_mode"] == "high"
    assert command(device, {"fan_mode": "high"}, {"mode": "cool"}) == {"fn": 5}
    other = mysa.thermostat("ac")
    assert devices.decode(other, frame).values["fan_mode"] == "medium"
    # In a mode whose list lacks it, the lists of the other modes say it, and after them all that is known.
    heat = frames.Frame("ac_state", {"2": 3, "4": 8}, None, 31, "new")
    assert devices.decode(other, heat).values["fan_mode"] == "max"
    assert devices.decode(other, frames.Frame("ac_state", {"4": 12}, None, 31, "new")).values["fan_mode"] == "sleep"
    assert devices.decode(other, frames.Frame("ac_state", {"4": 99}, None, 31, "new")).values["fan_mode"] is None


@pytest.mark.parametrize(
    "changed",
    [{"SetupRequired": True}, {"SetupRequired": "true"}, {"SupportedCaps": None}, {"SupportedCaps": {"modes": {}}}],
)
def test_a_unit_that_is_not_set_up_is_read_only(changed: dict[str, Any]) -> None:
    device = mysa.thermostat("ac", **changed)
    assert not device.capabilities.ready
    for key in ("mode", "target_temperature", "fan_mode", "climate_plus"):
        row = device.attribute(key)
        assert row is not None
        assert not row.writes
    with pytest.raises(CommandError, match="set up in the Mysa app"):
        controls.control(device, {"mode": "cool"}, {})


# --- what the samples mean --------------------------------------------------------------------------------------------


def test_a_v1_measures_its_power() -> None:
    device = mysa.thermostat("v1")
    values = mysa.values(device, "out_status_v1_msgtype0", line_voltage=238, nominal_voltage=240)
    assert values["current_temperature"] == 17.92
    assert values["sensor_temperature"] == 21.64
    assert (values["humidity"], values["target_temperature"], values["current"]) == (47, 18.5, 3.84)
    assert values["power"] == pytest.approx(3.84 * 238)
    assert (values["power_source"], values["action"]) == ("measured", "heating")
    assert mysa.values(device, "out_status_v1_msgtype0", nominal_voltage=240)["power"] == pytest.approx(3.84 * 240)
    assert mysa.values(device, "out_status_v1_msgtype0")["power"] is None
    cold = mysa.values(device, current=0, line_voltage=238, mode="heat")
    assert (cold["power"], cold["action"]) == (0, "idle")
    off = mysa.values(device, current=0, mode="off")
    assert off["action"] == "off"
    batch_alone = mysa.values(device, duty_cycle=100, mode="heat", nominal_voltage=240, **devices.settled(1500))
    assert (batch_alone["action"], batch_alone["power"]) == (None, None), "that was twenty minutes ago"
    changed = mysa.values(device, "out_status_v1_msgtype0", "out_setpoint_change_msgtype1")
    assert changed["target_temperature"] == 19.5


def test_a_v2_tells_its_relay_and_later_its_current() -> None:
    device = mysa.thermostat("v2")
    live = mysa.values(device, "out_status_v2_msg40")
    assert (live["current_temperature"], live["target_temperature"], live["duty_cycle"]) == (19.7, 20.5, 100)
    assert (live["power"], live["power_source"], live["current"], live["action"]) == (None, None, None, "heating")
    rated = mysa.values(device, "out_status_v2_msg40", **devices.settled(1500))
    assert (rated["power"], rated["power_source"]) == (1500, "estimated")
    (reading,) = batch.decode(mysa.example("v3")).readings
    measured = devices.decode_reading(device, reading)
    assert measured.unknown == {}
    assert measured.values == {
        "sensor_temperature": 24.6,
        "current_temperature": 19.7,
        "target_temperature": 20.5,
        "humidity": 41,
        "heat_sink_temperature": 32.6,
        "wifi_signal": -63,
        "line_voltage": 239,
        "heating_current": 6.27,
        "duty_cycle": pytest.approx(45.631),
    }
    values = mysa.values(device, "out_status_v2_msg40", **{**measured.values, **devices.settled(1500)})
    assert values["power"] == pytest.approx(239 * 6.27)
    assert (values["power_source"], values["current"]) == ("measured", 6.27)
    assert devices.settled(None) == {}


def test_a_lite_never_shows_a_current() -> None:
    device = mysa.thermostat("lite")
    for reading in batch.decode(mysa.blob("batch_v3_lite_negative_temps")).readings:
        decoded = devices.decode_reading(device, reading)
        assert not {"current", "heating_current", "line_voltage", "wifi_signal"} & set(decoded.values)
        assert decoded.unknown == {}
    values = mysa.values(device, "out_status_lite_msg40", "out_ack_mode_off_lite_msg44", **devices.settled(1000))
    assert (values["power"], values["power_source"], values["action"], values["mode"]) == (0, "estimated", "off", "off")


def test_an_in_floor_goes_by_its_relay_and_never_by_its_duty() -> None:
    device = mysa.thermostat("in_floor")
    on = mysa.values(device, "out_status_infloor_msg17", "out_infloor_power_msg16", **devices.settled(800))
    assert (on["floor_temperature"], on["tracked_sensor"], on["duty_cycle"], on["power"]) == (23.8, "floor", 100, 800)
    assert (on["line_voltage"], on["gfci_ok"], on["action"]) == (240, True, "heating")
    off = mysa.values(device, "out_status_infloor_msg40", **devices.settled(800), mode="heat")
    assert (off["duty_cycle"], off["power"], off["action"]) == (0, 0, "idle")
    nobody_knows = mysa.values(device, "out_status_infloor_msg40")
    assert (nobody_knows.get("mode"), nobody_knows["action"]) == (None, None), "idle, or off"
    beside = mysa.values(device, "out_status_infloor_heatstat_outside_body", "out_ack_track_ambient_infloor_msg44")
    assert (beside["tracked_sensor"], beside["line_voltage"], beside["mode"]) == ("ambient", 241, "heat")
    (alert,) = device.alerts
    assert alert.check({"gfci_ok": True}) is None
    assert alert.check({"gfci_ok": None}) is None
    assert "tripped" in (alert.check({"gfci_ok": False}) or "")


def test_an_air_conditioner_has_no_target_in_dry_mode() -> None:
    device = mysa.thermostat("ac")
    cool = mysa.values(device, "out_status_ac_msg30")
    assert (cool["mode"], cool["target_temperature"], cool["fan_mode"], cool["swing_mode"]) == (
        "cool",
        24,
        "low",
        "auto",
    )
    assert (cool["action"], cool["climate_plus"]) == ("cooling", False)
    dry = mysa.values(device, "out_status_ac_msg30", "out_status_ac_dry_msg30")
    assert (dry["mode"], dry["target_temperature"], dry["action"]) == ("dry", None, "drying")
    assert mysa.values(device, target_temperature=25.0, mode="fan_only")["target_temperature"] is None
    for mode, action in (("auto", "idle"), ("heat", "heating"), ("off", "off"), ("fan_only", "fan"), (None, None)):
        assert mysa.values(device, mode=mode)["action"] == action


def test_a_compact_state_changes_what_it_names() -> None:
    device = mysa.thermostat("ac")
    values = mysa.values(device, "out_status_ac_msg30", "out_acstate_msg31")
    assert (values["mode"], values["target_temperature"], values["fan_mode"]) == ("heat", 22, "medium")
    assert (values["swing_mode"], values["current_temperature"]) == ("top", 25.1)
    partly = frames.Frame("ac_state", {"4": 8}, None, 31, "new")
    assert devices.decode(device, partly, values).values == {"fan_mode": "max"}


@pytest.mark.parametrize(
    "name", [name for name in mysa.MESSAGES if name.startswith("out_") and "truncated" not in name]
)
def test_every_field_of_the_samples_is_known(name: str) -> None:
    frame = frames.parse(mysa.payload(name))
    assert frame.device_id is not None
    assert devices.decode(mysa.thermostat(frame.device_id), frame).unknown == {}


@pytest.mark.parametrize("name", mysa.NAMES)
def test_every_field_of_the_lists_is_known(name: str) -> None:
    device = mysa.thermostat(name)
    state = devices.decode(device, frames.rest_state(mysa.state(name)))
    assert state.unknown == {}
    assert state.values["current_temperature"] == mysa.state(name)["CorrectedTemp"]["v"]
    assert "power" not in state.values
    assert "current" not in state.values
    listed = devices.decode(device, frames.rest_device(mysa.listed(name)))
    assert listed.unknown == {}
    assert listed.values["brightness_active"] == 90
    assert listed.values["eco"] is False
    for key in (*state.values, *listed.values):
        assert key in device.kind.by_key


def test_an_answer_without_a_mode_keeps_the_mode() -> None:
    device = mysa.thermostat("v2")
    values = mysa.values(device, "out_ack_setpoint_v2_msg44", "out_button_change_without_md_msg44")
    assert (values["mode"], values["target_temperature"], values["lock"]) == ("heat", 19.0, False)
    heat = mysa.values(mysa.thermostat("ac"), "out_ack_cool_ac_msg44", "out_ack_heat_ac_no_fan_msg44")
    assert (heat["mode"], heat["fan_mode"]) == ("heat", "medium")


def test_one_table_knows_the_mode_numbers() -> None:
    assert codecs.MODES == {1: "off", 2: "auto", 3: "heat", 4: "cool", 5: "fan_only", 6: "dry"}
    assert codecs.HEATER_MODE.decode(1) == "off"
    assert codecs.HEATER_MODE.decode(3) == "heat"
    with pytest.raises(ValueError, match="4"):
        codecs.HEATER_MODE.decode(4)
    assert devices.BASEBOARD_V1.decode("result", {"md": 4}).unknown == {"md": 4}


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "cmd"),
    [
        ("v1", {"target_temperature": 19.5}, {"sp": 19.5}),
        ("v2", {"mode": "off"}, {"md": 1}),
        ("lite", {"mode": "heat", "target_temperature": 21.0}, {"md": 3, "sp": 21.0}),
        ("in_floor", {"tracked_sensor": "ambient"}, {"tr": 5}),
        ("in_floor", {"tracked_sensor": "floor"}, {"tr": 3}),
        ("ac", {"mode": "cool", "target_temperature": 23, "fan_mode": "medium"}, {"md": 4, "sp": 23, "fn": 5}),
        ("ac", {"mode": "heat", "target_temperature": 21}, {"md": 3, "sp": 21}),
        ("ac", {"mode": "auto"}, {"md": 2}),
        ("ac", {"mode": "dry"}, {"md": 6}),
        ("ac", {"mode": "fan_only", "fan_mode": "max"}, {"md": 5, "fn": 8}),
        ("ac", {"mode": "off"}, {"md": 1}),
        ("ac", {"swing_mode": "upper"}, {"ss": 5}),
        ("ac", {"climate_plus": True}, {"it": 1}),
        ("ac_2", {"fan_mode": "low"}, {"fn": 2}),
    ],
)
def test_what_a_command_carries(name: str, changes: dict[str, Any], cmd: dict[str, Any]) -> None:
    device = mysa.thermostat(name)
    made = controls.control(device, device.check(changes), {"mode": "cool"})
    assert made.cmd == cmd
    assert [type(value) for value in made.cmd.values()] == [type(value) for value in cmd.values()]
    assert made.settings == {}
    assert made.confirms == changes


def test_before_the_mode_is_known_any_mode_may_offer_a_speed() -> None:
    assert command(mysa.thermostat("ac"), {"fan_mode": "max"}, {}) == {"fn": 8}


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"lock": True}, {"Lock": 1, "ButtonState": "Locked"}),
        ({"lock": False}, {"Lock": 0, "ButtonState": "Unlocked"}),
        ({"brightness_active": 90, "brightness_idle": 20}, {"MaxBrightness": 90, "MinBrightness": 20}),
        ({"auto_brightness": False, "proximity": True}, {"AutoBrightness": False, "ProximityMode": True}),
        ({"eco": True}, {"ecoMode": "0"}),
        ({"eco": False}, {"ecoMode": "1"}),
        ({"display_unit": "fahrenheit"}, {"Format": "fahrenheit"}),
    ],
)
def test_what_goes_by_the_rest_service(changes: dict[str, Any], settings: dict[str, Any]) -> None:
    made = controls.control(mysa.thermostat("v2"), changes, {})
    assert (made.cmd, made.settings, made.confirms) == ({}, settings, changes)


@pytest.mark.parametrize(
    ("changes", "mode", "says"),
    [
        ({"fan_mode": "max"}, "heat", "auto, low, medium"),
        ({"fan_mode": "auto"}, "fan_only", "low, medium, high, max"),
        ({"fan_mode": "low"}, "off", "the unit is off"),
        ({"fan_mode": "sleep"}, None, "auto, low, medium, high, max"),
        ({"mode": "dry", "fan_mode": "high"}, "cool", "auto, low"),
        ({"swing_mode": "bottom"}, "cool", "auto, top, upper, middle, lower"),
        ({"swing_horizontal_mode": "left"}, "cool", "nothing"),
        ({"target_temperature": 22}, "dry", "none in the mode dry"),
        ({"mode": "fan_only", "target_temperature": 22}, "cool", "none in the mode fan_only"),
        ({"mode": "nonsense"}, "cool", "off, heat, cool"),
        ({"energy": 1}, "cool", "can not be written"),
    ],
)
def test_what_the_mode_does_not_offer_is_rejected(changes: dict[str, Any], mode: str | None, says: str) -> None:
    with pytest.raises(CommandError, match=says) as caught:
        controls.control(mysa.thermostat("ac"), changes, {"mode": mode})
    assert caught.value.verdict == "rejected"


def test_a_target_that_only_another_mode_offers_is_rejected() -> None:
    caps = {"modes": {"3": {"temperatures": [10, 20]}, "4": {"temperatures": [18, 20, 30]}}}
    device = mysa.thermostat("ac", SupportedCaps=caps)
    assert command(device, {"target_temperature": 30}, {"mode": "cool"}) == {"sp": 30}
    for target, mode in ((30, "heat"), (10, "cool"), (19, "cool")):
        with pytest.raises(CommandError, match=f"not offered in the mode {mode}") as caught:
            controls.control(device, {"target_temperature": target}, {"mode": mode})
        assert caught.value.code == "out_of_range"
    assert command(device, {"target_temperature": 30}, {"mode": "off"}) == {"sp": 30}
    assert command(device, {"target_temperature": 30}, {}) == {"sp": 30}


def test_a_mode_that_the_unit_lacks_is_rejected() -> None:
    device = mysa.thermostat("ac", SupportedCaps={"modes": {"4": {}}})
    with pytest.raises(CommandError, match="off, cool"):
        device.check({"mode": "heat"})
    with pytest.raises(CommandError, match="off, cool"):
        controls.control(device, {"mode": "heat"}, {})
    with pytest.raises(CommandError, match="off, heat"):
        controls.control(mysa.thermostat("v1"), {"mode": "cool"}, {})


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("v2", 22.22222222, 22.0),
        ("v2", 22.25, 22.5),
        ("v2", "21", 21.0),
        ("v2", 30.2, 30.0),
        ("v2", 4.75, 5.0),
        ("in_floor", 40, 40.0),
        ("ac", 22.5, 23),
        ("ac", 22.22, 22),
        ("ac", 16.5, 17),
    ],
)
def test_a_target_is_snapped_to_the_devices_own_grid(name: str, given: Any, sent: float) -> None:
    device = mysa.thermostat(name)
    assert command(device, device.check({"target_temperature": given}), {"mode": "cool"}) == {"sp": sent}


@pytest.mark.parametrize(("name", "given"), [("v2", 30.26), ("v2", 4.7), ("in_floor", 41), ("ac", 16.4), ("ac", 31)])
def test_a_target_out_of_range_is_rejected(name: str, given: float) -> None:
    with pytest.raises(CommandError) as caught:
        mysa.thermostat(name).check({"target_temperature": given})
    assert caught.value.code == "out_of_range"


def test_changes_travel_in_as_few_messages_as_the_wire_allows() -> None:
    changes = {
        "lock": True,
        "target_temperature": 21.0,
        "tracked_sensor": "floor",
        "mode": "heat",
        "brightness_idle": 10,
    }
    assert devices.split(changes) == (
        {"mode": "heat", "target_temperature": 21.0},
        {"tracked_sensor": "floor"},
        {"lock": True, "brightness_idle": 10},
    )
    assert devices.split({}) == ()
    writable = {row.key for kind in devices.KINDS for row in kind.attributes if row.writes}
    assert {key for group in devices.split(dict.fromkeys(writable, True)) for key in group} == writable
    assert writable == set(controls._COMMANDS) | set(controls._SETTINGS)
    assert attributes.HEATER_MODE.options == ("off", "heat")


def test_how_long_a_value_is_shown_that_is_not_told_again() -> None:
    """The declared timeouts: the device's own unless stated here."""
    facts = {"rated_power", "energy", "firmware", "firmware_latest", "update_available", "nominal_voltage"}
    for kind in devices.KINDS:
        told = {row.key for row in kind.attributes if row.reads}
        assert told - dict(kind.fading).keys() == facts & told, kind.name
    settings = {"brightness_active", "brightness_idle", "eco", "display_unit"}
    batches = {"heat_sink_temperature", "wifi_signal"}
    slow = {kind.name: {key for key, lasts in kind.fading if lasts} for kind in devices.KINDS}
    assert slow == {
        "baseboard_v1_thermostat": {*settings, *batches, "line_voltage", "duty_cycle"},
        "baseboard_v2_thermostat": {
            *settings,
            *batches,
            *("line_voltage", "heating_current", "sensor_temperature", "auto_brightness", "proximity"),
        },
        "baseboard_lite_thermostat": {*settings, *batches, "line_voltage", "sensor_temperature"},
        "in_floor_thermostat": {*settings, *batches, "sensor_temperature", "gfci_ok"},
        "air_conditioner_controller": {*settings, "wifi_signal", "sensor_temperature"},
        "unsupported_thermostat": {*batches, "line_voltage", "sensor_temperature"},
    }
