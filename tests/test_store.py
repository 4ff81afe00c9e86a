from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING

import pytest

from navibridge.store import Store

if TYPE_CHECKING:
    from pathlib import Path

VALUES = {"tokens": {"refresh": "a"}, "sign_ins": [1.5, 2], "none": None}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_is_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    Store(tmp_path / "state").save("account_home", VALUES)
    store = Store(tmp_path / "state")
    assert store.load("account_home") == VALUES
    assert store.load("counters") == {}


def test_a_loaded_object_is_the_callers_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("counters", VALUES)
    store.load("counters")["sign_ins"].append(3)
    assert store.load("counters") == VALUES


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = Store(tmp_path / "deep" / "state")
        (tmp_path / "deep").mkdir()
        store.save("counters", VALUES)
    finally:
        os.umask(before)
    assert mode(tmp_path / "deep" / "state") == 0o700
    assert mode(store.path("counters")) == 0o600


def test_a_file_is_replaced_as_a_whole_and_leaves_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("counters", {"n": 1})
    first = store.path("counters").stat().st_ino
    store.save("counters", {"n": 2})
    assert store.path("counters").stat().st_ino != first
    assert [path.name for path in tmp_path.iterdir()] == ["counters.json"]


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("counters", {"n": 1})
    first = store.path("counters").stat().st_ino
    store.save("counters", {"n": 1})
    assert store.path("counters").stat().st_ino == first


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"text"', b"\xff\x00", b'{"a": 1'])
def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    (tmp_path / "counters.json").write_bytes(content)
    store = Store(tmp_path)
    assert store.load("counters") == {}
    assert (tmp_path / "counters.bad").read_bytes() == content
    store.save("counters", {"n": 1})
    assert Store(tmp_path).load("counters") == {"n": 1}
    (warning,) = warnings(caplog)
    assert "counters.json is damaged; it is set aside as counters.bad" in warning


def test_without_a_usable_directory_everything_is_kept_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    obstacle = tmp_path / "state"
    obstacle.write_text("a file where the directory should be")
    store = Store(obstacle)
    assert store.load("counters") == {}
    store.save("counters", {"n": 1})
    store.save("tokens", {"n": 2})
    assert (store.load("counters"), store.load("tokens")) == ({"n": 1}, {"n": 2})
    (warning,) = warnings(caplog)
    assert "Not a directory" in warning
    assert "set state_dir to one that is" in warning

    obstacle.unlink()
    caplog.clear()
    store.save("counters", {"n": 1})  # the same values, which are not on the disk yet
    assert Store(obstacle).load("counters") == {"n": 1}
    assert [record.getMessage() for record in caplog.records] == [f"state is kept in {obstacle} again"]


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    store.save("counters", {"n": 1})
    store.path("counters").with_suffix(f".{os.getpid()}.new").mkdir()  # the place of the new file is taken
    store.save("counters", {"n": 2})
    assert store.load("counters") == {"n": 2}
    assert Store(tmp_path).load("counters") == {"n": 1}
    assert len(warnings(caplog)) == 1


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    store = Store(tmp_path / "state")
    (tmp_path / "state").mkdir()
    store.path("counters").with_suffix(f".{os.getpid()}.new").symlink_to(victim)
    store.save("counters", {"n": 1})
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/b", "..", "", "Home", "tück", "x" * 300, "a\0b", "\ud800"]
)
def test_a_section_stays_within_the_directory_whatever_its_name(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "state")
    store.save(name, {"name": 1})
    (written,) = (tmp_path / "state").iterdir()
    assert written.suffix == ".json"
    assert Store(tmp_path / "state").load(name) == {"name": 1}


def test_names_that_look_alike_stay_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ["home", "Home", "HOME", "ho/me", "ho me", "ho_me"]
    assert len({store.path(name) for name in names}) == len(names)
