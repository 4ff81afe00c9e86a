"""The README tells the truth where a program can tell: configurations load, topics are all there, commands exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from faults import table
from faults.catalogue import FAULTS
from faults.endurance import LONG

from navibridge import config, vendors
from navibridge.topics import Topics

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
CONFIGURATIONS = [text for language, text in BLOCKS if language == "yaml"]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_configurations_load(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "secrets.yaml").write_text("navien: a-long-password\n")
    loaded = config.load(
        tmp_path / "config.yaml",
        vendors=lambda name: vendors.load(name).Settings,
        vendor_names=vendors.names(),
        environ={"HOME": str(tmp_path)},
    )
    assert loaded.config.accounts
    assert not loaded.warnings


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "json"])
def test_documents_are_json(text: str) -> None:
    assert json.loads(text)


def test_every_topic_is_listed() -> None:
    topics = Topics()
    device, account = "<device>", "<account>"
    listed = set(re.findall(r"^\| `([^`]+)`", README, re.MULTILINE))
    expected = {
        topics.bridge_state,
        topics.bridge_info,
        topics.bridge_health,
        topics.log,
        topics.account_availability(account),
        topics.account_state(account),
        topics.state(device),
        topics.availability(device),
        topics.value(device, "<attribute>"),
        topics.set(device),
        topics.set_attribute(device, "<attribute>"),
        topics.get(device),
        topics.result(device),
        topics.request("<verb>"),
        topics.response("<verb>"),
    }
    assert expected <= listed


def test_every_command_is_listed() -> None:
    commands = (Path(__file__).parent.parent / "docs" / "commands.md").read_text()
    names = set(re.findall(r"^## `?(?:navibridge )?([a-z]+)", commands, re.MULTILINE))
    assert names
    for name in names:
        assert f"navibridge {name}" in README, name


def test_configurations_are_yaml() -> None:
    assert len(CONFIGURATIONS) >= 2
    for text in CONFIGURATIONS:
        assert yaml.compose(text)


def test_the_table_of_the_faults_has_those_that_there_are() -> None:
    faults, figures = table.told(README)
    assert faults == {(fault.name, fault.promise) for fault in FAULTS}
    assert figures == {*LONG}
    assert not re.search(r"\*\*broken|BROKEN", table.written(README)), "a promise that is broken is not to be forgotten"
