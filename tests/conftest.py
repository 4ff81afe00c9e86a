"""Fixtures that more than one test file uses. Plain support code is in `support/`."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from support import acme
from support import mosquitto as broker_of_tests
from support.listener import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

    from support.listener import Listener
    from support.mosquitto import BrokerKind, Mosquitto
    from support.vendors.acme import World


# How long an example takes, is for the machine to say.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hostile texts end up in what a test logs; a report has to be able to travel between processes."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def broker_kind() -> BrokerKind:
    """What the fixture `mosquitto` is here: ``process`` and ``container`` are real."""
    return broker_of_tests.kind()


@pytest.fixture
async def start_mosquitto(
    tmp_path_factory: pytest.TempPathFactory, broker_kind: BrokerKind
) -> AsyncIterator[Callable[..., Awaitable[Mosquitto]]]:
    """Starts a broker with the options of `support.mosquitto.Mosquitto`; stopped after the test."""
    assert broker_kind
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Mosquitto:
            made = broker_of_tests.Mosquitto(tmp_path_factory.mktemp("mosquitto"), **options)
            return await stack.enter_async_context(broker_of_tests.running(made))

        yield start


@pytest.fixture
async def mosquitto(start_mosquitto: Callable[..., Awaitable[Mosquitto]]) -> Mosquitto:
    """A fresh broker that lets everybody in."""
    return await start_mosquitto()


@pytest.fixture
async def listener(mosquitto: Mosquitto) -> AsyncIterator[Listener]:
    """Hears everything on that broker from here on."""
    async with listening(mosquitto, "#") as heard:
        yield heard


@pytest.fixture
def world() -> Iterator[World]:
    """The third vendor is there, and this is what its account has."""
    with acme.installed():
        yield acme.world()
