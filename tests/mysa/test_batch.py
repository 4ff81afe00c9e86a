"""The binary readings: samples, worked examples, every rule of the decoder, and both directions for anything."""

from __future__ import annotations

import time
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example as with_example
from hypothesis import given
from hypothesis import strategies as st
from support import mysa

from navibridge.errors import FrameError
from navibridge.vendors.mysa import batch

if TYPE_CHECKING:
    from navibridge.vendors.mysa.batch import BatchReading

EXPECTED_NAMES = {
    "timestamp": "timestamp",
    "sensor_temp_c": "sensor_temp",
    "ambient_temp_c": "ambient_temp",
    "setpoint_c": "setpoint",
    "humidity_pct": "humidity",
    "duty_pct": "duty",
    "heatsink_c": "heat_sink",
    "free_heap": "free_heap",
    "rssi_dbm": "rssi",
    "on_off": "on_off",
    "voltage_v": "line_voltage",
    "reserved_hex": "reserved",
}
THOUSANDTHS = {"on_ms": "on_time", "off_ms": "off_time", "current_ma": "current"}
CODECS = {field.name: field.codec for field in (*batch.COMMON, *batch.VERSIONS[3])}


def expectation(reading: BatchReading) -> dict[str, Any]:
    """A reading under the names and in the units of the expected files."""
    decoded = {name: CODECS[name].decode(raw) for name, raw in reading.fields.items() if name in CODECS}
    found: dict[str, Any] = {"version": reading.version, "checksum": reading.fields["checksum"]}
    found |= {name: decoded[own] for name, own in EXPECTED_NAMES.items() if own in decoded}
    found |= {name: round(decoded[own] * 1000) for name, own in THOUSANDTHS.items() if own in decoded}
    if reading.version not in batch.VERSIONS:
        found["unknown_tail_hex"] = reading.tail.hex()
    return found | {"checksum_ok": reading.checksum_ok}


@pytest.mark.parametrize("name", mysa.BATCHES)
def test_every_sample_decodes_to_what_stands_beside_it(name: str) -> None:
    expected = mysa.sample(f"{name}.expected.json")
    data = mysa.blob(name)
    assert data.hex() == expected["hex"]
    decoded = batch.decode(data)
    whole = [reading for reading in expected["readings"] if "error" not in reading]
    assert [expectation(reading) for reading in decoded.readings] == whole
    cut = [reading["error"] for reading in expected["readings"] if "error" in reading]
    assert cut == ([f"truncated record at {len(data) - len(decoded.remainder)}"] if decoded.remainder else [])
    assert decoded.skipped == 0
    if all(reading.checksum_ok for reading in decoded.readings):
        assert batch.encode(decoded.readings) + decoded.remainder == data


@pytest.mark.parametrize("name", mysa.EXAMPLES)
def test_the_worked_examples_both_ways(name: str) -> None:
    data = mysa.example(name)
    (reading,) = batch.decode(data).readings
    assert reading.checksum_ok
    assert reading.data == data
    assert len(data) == {0: 26, 1: 28, 3: 33}[reading.version]
    assert batch.encode_record(reading.version, reading.fields) == data


def test_a_worked_example_in_figures() -> None:
    (reading,) = batch.decode(mysa.example("v3")).readings
    values = {name: codec.decode(reading.fields[name]) for name, codec in CODECS.items()}
    assert values == {
        "timestamp": 1768478400,
        "sensor_temp": 24.6,
        "ambient_temp": 19.7,
        "setpoint": 20.5,
        "humidity": 41,
        "duty": 47,
        "on_time": 14.1,
        "off_time": 16.8,
        "heat_sink": 32.6,
        "free_heap": 72340,
        "rssi": -63,
        "on_off": 1,
        "line_voltage": 239,
        "current": 6.27,
        "reserved": "000000",
    }
    fraction = batch.measured(reading)["duty_fraction"]
    assert round(values["line_voltage"] * values["current"] * fraction) == 684


# --- the rules, one by one --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sort"),
    [
        (b"", "batch_short"),
        (mysa.example("v0")[:25], "batch_short"),
        (mysa.example("v0")[1:] + b"\0", "batch_magic"),
        (bytes(26), "batch_magic"),
    ],
)
def test_only_what_is_no_batch_at_all_is_refused(data: bytes, sort: str) -> None:
    with pytest.raises(FrameError) as caught:
        batch.decode(data)
    assert caught.value.sort == sort


def test_the_version_may_change_from_record_to_record() -> None:
    data = b"".join(mysa.example(name) for name in ("v0", "v3", "v1", "odd", "v0"))
    decoded = batch.decode(data)
    assert [reading.version for reading in decoded.readings] == [0, 3, 1, 3, 0]
    assert [reading.offset for reading in decoded.readings] == [0, 26, 59, 87, 120]
    assert batch.encode(decoded.readings) == data


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :]


def test_a_wrong_checksum_is_flagged_and_costs_no_neighbour() -> None:
    data = mysa.example("v3") + damaged(mysa.example("odd"), 12) + mysa.example("cold")
    decoded = batch.decode(data)
    assert [reading.checksum_ok for reading in decoded.readings] == [True, False, True]
    assert decoded.usable == (decoded.readings[0], decoded.readings[2])
    assert decoded.skipped == 0


def test_a_lenient_reader_takes_dummy_checksums_for_good() -> None:
    data = (mysa.example("v3")[:-1] + b"\0") * 3
    assert batch.decode(data).usable == ()
    assert len(batch.decode(data, lenient=True).usable) == 3
    behind_noise = mysa.example("v1") + b"noise" + data
    assert [reading.version for reading in batch.decode(behind_noise, lenient=True).readings] == [1, 3, 3, 3]
    unknown = (b"\xca\xa0\x07" + bytes(29)) * 3
    assert [len(reading.data) for reading in batch.decode(unknown, lenient=True).readings] == [32, 32, 32]


@pytest.mark.parametrize("cut", range(1, 33))
def test_a_record_that_is_cut_off_is_reported(cut: int) -> None:
    data = mysa.example("v3") + mysa.example("odd")[:cut]
    decoded = batch.decode(data)
    assert len(decoded.readings) == 1
    assert decoded.remainder == mysa.example("odd")[:cut]
    assert decoded.skipped == 0


@pytest.mark.parametrize(
    "noise", [b"x", b"\xca", b"\xca\xa0", b"\xca\xa0\x03", b"\xca\xa0\x63" + bytes(40), bytes(200)]
)
def test_lost_sync_is_found_again(noise: bytes) -> None:
    good = mysa.example("v3") + mysa.example("odd")
    decoded = batch.decode(good + noise + good)
    assert [reading.checksum_ok for reading in decoded.readings] == [True] * 4
    assert decoded.skipped == len(noise)
    assert decoded.remainder == b""


@pytest.mark.parametrize("lost", range(3, 33))
def test_a_byte_lost_within_a_record_costs_that_record_alone(lost: int) -> None:
    first = mysa.example("v3")
    data = first[:lost] + first[lost + 1 :] + mysa.example("odd") + mysa.example("v0")
    decoded = batch.decode(data)
    good = [reading for reading in decoded.readings if reading.checksum_ok]
    # A lost zero at the end of the record leaves its XOR as it is; the length gives it away all the same.
    assert [reading.data for reading in good[-2:]] == [mysa.example("odd"), mysa.example("v0")]
    assert decoded.skipped == 32


def test_noise_behind_the_last_record_is_skipped() -> None:
    decoded = batch.decode(mysa.example("v0") + b"noise")
    assert (len(decoded.readings), decoded.skipped, decoded.remainder) == (1, 5, b"")


def test_an_unknown_version_is_read_as_far_as_it_is_known() -> None:
    data = mysa.blob("batch_unknown_version") + mysa.example("v3")
    decoded = batch.decode(data)
    assert [reading.version for reading in decoded.readings] == [7, 7, 3]
    assert decoded.readings[0].tail.hex() == "01020304"
    assert decoded.readings[0].fields["ambient_temp"] == 197
    assert batch.encode(decoded.readings) == data


def test_an_unknown_record_without_an_end_is_passed_over() -> None:
    header = b"\xca\xa0\x07" + bytes(range(60))
    decoded = batch.decode(mysa.example("v3") + header + mysa.example("v0"))
    assert [reading.version for reading in decoded.readings] == [3, 0]
    assert decoded.skipped == len(header)
    assert batch.decode(header * 10).remainder == b""
    cut = mysa.blob("batch_unknown_version")[:40]
    assert len(batch.decode(cut).readings) == 1
    assert batch.decode(cut).remainder == cut[30:]


def test_scaling_rounds() -> None:
    raw = batch.scale(
        3, {"ambient_temp": 17.96, "current": 6.268, "on_time": 14.06, "rssi": -63, "timestamp": 1768478400}
    )
    assert raw["ambient_temp"] == 180
    assert raw["current"] == 627
    assert raw["on_time"] == 141
    assert raw["rssi"] == 63
    assert raw["reserved"] == b"\0\0\0"
    (reading,) = batch.decode(batch.encode_record(3, raw)).readings
    assert reading.fields == raw | {"checksum": reading.fields["checksum"]}
    assert reading.at == 1768478400


@pytest.mark.parametrize("fields", [{}, {"timestamp": "x"}, {"timestamp": -1}, {"timestamp": 2**32}])
def test_what_does_not_fit_is_not_encoded(fields: dict[str, Any]) -> None:
    for version in (0, 1, 3, 9):
        whole = batch.scale(version if version in batch.VERSIONS else 0, {})
        given = whole | fields if fields else {}
        with pytest.raises(ValueError, match=f"version {version}"):
            batch.encode_record(version, given)


def reading(**values: Any) -> BatchReading:
    """A record of version 3 with these physical values."""
    usual = {"timestamp": 1768478400, "sensor_temp": 24.6, "ambient_temp": 19.7, "on_time": 14.1, "off_time": 16.8}
    usual |= {"rssi": -63, "line_voltage": 239, "current": 6.27, "humidity": 41}
    (found,) = batch.decode(batch.encode_record(3, batch.scale(3, usual | values))).readings
    return found


def test_filler_and_impossible_values_are_no_measurements() -> None:
    assert batch.measured(reading())["rssi"] == 63
    for filler in (1, -1, 0, -9, 20):
        assert "rssi" not in batch.measured(reading(rssi=filler))
    assert batch.measured(reading(rssi=-10))["rssi"] == 10
    assert "ambient_temp" not in batch.measured(reading(ambient_temp=-40.1))
    assert "ambient_temp" in batch.measured(reading(ambient_temp=-40))
    assert "sensor_temp" not in batch.measured(reading(sensor_temp=85.1))
    assert "humidity" not in batch.measured(reading(humidity=101))
    assert "humidity" not in batch.measured(reading(humidity=-1))
    assert "line_voltage" not in batch.measured(reading(line_voltage=0))
    assert "on_time" not in batch.measured(reading(on_time=-1))
    assert "duty_fraction" not in batch.measured(reading(on_time=-1))


def test_the_current_while_on_is_unknown_when_nothing_was_on() -> None:
    assert batch.measured(reading())["current"] == 627
    assert "current" not in batch.measured(reading(on_time=0))
    assert "current" not in batch.measured(reading(current=0))


def test_the_duty_is_made_from_the_times() -> None:
    (odd,) = batch.decode(mysa.example("odd")).readings
    assert odd.fields["duty"] == 0
    assert batch.measured(odd)["duty_fraction"] == pytest.approx(0.398, abs=0.001)
    assert "duty_fraction" not in batch.measured(reading(on_time=0, off_time=0))


@pytest.mark.parametrize(
    ("at", "plausible"),
    [(0, False), (1_420_070_399, False), (1_420_070_400, True), (1e9 + 86_400, True), (2e9 + 86_401, False)],
)
def test_a_clock_that_is_not_set_is_noticed(at: float, plausible: bool) -> None:
    now = 2e9
    assert batch.is_plausible(at if at != 1e9 + 86_400 else now + 86_400, now) is plausible


# --- anything at all --------------------------------------------------------------------------------------------------

INTEGERS = {"b": (-128, 127), "B": (0, 255), "h": (-(2**15), 2**15 - 1), "H": (0, 2**16 - 1), "I": (0, 2**32 - 1)}


def raw_of(field: batch.Field) -> st.SearchStrategy[Any]:
    if field.code == "3s":
        return st.binary(min_size=3, max_size=3)
    return st.integers(*INTEGERS[field.code])


def record_of(version: int) -> st.SearchStrategy[tuple[int, dict[str, Any]]]:
    names = {field.name: raw_of(field) for field in (*batch.COMMON, *batch.VERSIONS[version])}
    return st.tuples(st.just(version), st.fixed_dictionaries(names))


records = st.lists(st.sampled_from(sorted(batch.VERSIONS)).flatmap(record_of), min_size=1, max_size=12)


@given(records)
def test_encoding_and_decoding_are_inverse(given_records: list[tuple[int, dict[str, Any]]]) -> None:
    data = b"".join(batch.encode_record(version, fields) for version, fields in given_records)
    decoded = batch.decode(data)
    assert (decoded.skipped, decoded.remainder) == (0, b"")
    assert [found.version for found in decoded.readings] == [version for version, _ in given_records]
    for found, (_, fields) in zip(decoded.readings, given_records, strict=True):
        assert found.checksum_ok
        assert found.fields == fields | {"checksum": found.fields["checksum"]}
        assert reduce(xor, found.data) == 0
        batch.measured(found)
    assert batch.encode(decoded.readings) == data


WHOLE = b"".join(mysa.blob(name) for name in mysa.BATCHES)
edits = st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 40), st.binary(max_size=12)), max_size=8)


@given(edits, st.booleans())
@with_example([], True)
def test_mangled_blobs_account_for_every_byte(changes: list[tuple[int, int, bytes]], lenient: bool) -> None:
    data = WHOLE
    for at, cut, inserted in changes:
        data = data[:at] + inserted + data[at + cut :]
    try:
        decoded = batch.decode(data, lenient=lenient)
    except FrameError:
        return
    end = 0
    for found in decoded.readings:
        assert found.offset >= end
        end = found.offset + len(found.data)
        assert found.data == data[found.offset : end]
        assert found.checksum_ok is (reduce(xor, found.data) == 0)
        assert b"".join(part.data for part in batch.parts(found)) == found.data
        batch.measured(found)
    assert decoded.skipped >= 0
    assert end + len(decoded.remainder) <= len(data)
    assert sum(len(found.data) for found in decoded.readings) + decoded.skipped + len(decoded.remainder) == len(data)


@given(st.binary(max_size=200).map(lambda data: batch.MAGIC + data))
def test_noise_is_decoded_or_refused(data: bytes) -> None:
    try:
        batch.decode(data)
    except FrameError as error:
        assert error.sort == "batch_short"  # noqa: PT017 - most noise is decoded to nothing


HOSTILE = {
    "magic": batch.MAGIC,
    "unknown headers": b"\xca\xa0\x07",
    "known headers": b"\xca\xa0\x03",
    "headers behind good records": mysa.example("v3") + b"\xca\xa0\x07",
    "bad checksums": b"\xca\xa0\x03" + bytes(30),
    "one byte short": b"\xca\xa0\x03" + bytes(29),
    "unknown without end": b"\xca\xa0\x09" + bytes(29) + b"\1",
    "many ends": mysa.example("v3") + b"\xca\xa0\x07" * 40,
    "nothing behind": mysa.example("v3") * 2 + bytes(300),
}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_the_largest_hostile_blob_is_done_with_at_once(name: str, lenient: bool) -> None:
    pattern = HOSTILE[name]
    data = batch.MAGIC + (pattern * (128 * 1024 // len(pattern) + 1))[2 : 128 * 1024]
    started = time.perf_counter()
    batch.decode(data, lenient=lenient)
    # A tenth of this is usual; what is quadratic takes minutes.
    assert time.perf_counter() - started < 2
