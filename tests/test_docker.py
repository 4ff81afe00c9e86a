from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from navibridge.config import Config

if TYPE_CHECKING:
    from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
MADE_BY_THE_USER = {"navibridge.env", "passwords"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text()


def test_compose_mounts_only_files_that_exist_and_volumes_that_are_declared(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (DOCKER / source).is_file() if source.startswith(".") else source in compose["volumes"], volume


def test_compose_builds_from_this_repository(compose: dict[str, Any]) -> None:
    build = compose["services"]["navibridge"]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == DOCKER / "Dockerfile"


def test_both_services_run_without_rights_and_survive_a_reboot(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["restart"] == "unless-stopped"


def test_a_broker_without_password_is_not_open_to_the_network(compose: dict[str, Any]) -> None:
    assert "\nallow_anonymous true\n" in (DOCKER / "mosquitto.conf").read_text()
    assert [port.split(":")[0] for port in compose["services"]["mosquitto"]["ports"]] == ["127.0.0.1"]


def test_what_is_copied_into_the_image_exists_and_passes_the_ignore_file(dockerfile: str) -> None:
    copied = [name for line in re.findall(r"^COPY (?!--)(.+)$", dockerfile, re.MULTILINE) for name in line.split()[:-1]]
    assert copied
    ignore = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name.removeprefix('./')}" in ignore


def test_the_image_keeps_its_state_where_compose_mounts_the_volume(compose: dict[str, Any], dockerfile: str) -> None:
    (state,) = re.findall(r"NAVIBRIDGE_STATE_DIR=(\S+)", dockerfile)
    assert f"state:{state}" in compose["services"]["navibridge"]["volumes"]
    assert f"\nVOLUME {state}\n" in dockerfile


def test_the_image_does_not_run_as_root(dockerfile: str) -> None:
    assert re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE) == ["10001:10001"]


def test_what_the_user_makes_stays_out_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {f"/docker/{name}" for name in MADE_BY_THE_USER} <= set(ignored)


def test_every_variable_named_here_is_an_option() -> None:
    text = "\n".join(path.read_text() for path in DOCKER.iterdir())
    names = set(re.findall(r"\bNAVIBRIDGE_(?=[A-Z])(\w+)\b", text))
    assert {"STATE_DIR", "BROKER__HOST"} <= names
    for name in names:
        model: type[BaseModel] = Config
        *sections, option = name.lower().split("__")
        for section in sections:
            model = model.model_fields[section].annotation
        assert option in model.model_fields, name
