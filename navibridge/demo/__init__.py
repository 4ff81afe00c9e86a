"""Everything in one process: an embedded broker, the simulated clouds and a bridge between them.

    async with stage({"navilink": 2}) as demo:
        await demo.bridge.run()

Nothing outlives the block: state is kept in a temporary directory, and the broker and the clouds listen on the loopback
interface alone.
"""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from navibridge import config, vendors
from navibridge.errors import NavibridgeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from navibridge.bridge import Bridge
    from navibridge.demo.cloud import SimulatedCloud
    from navibridge.simulation import Simulator

HOST: Final = "127.0.0.1"
MQTT_PORT: Final = 1883
"""Where everybody looks for a broker first; another port is taken when this one is not free."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What is on stage.

    Attributes:
        bridge: not running yet; `navibridge.bridge.Bridge.run` is the caller's to call.
        cloud: the simulated clouds.
        settings: the bridge's configuration.
        embedded: whether the broker is the embedded one.
    """

    bridge: Bridge
    cloud: SimulatedCloud
    settings: config.Config
    embedded: bool


def vendors_with_simulator() -> tuple[str, ...]:
    """The vendors whose cloud can be simulated."""
    return tuple(name for name in vendors.names() if hasattr(vendors.load(name), "simulator"))


def simulators(
    devices: Mapping[str, int | None], options: Mapping[str, Any], *, lively: bool = False
) -> list[Simulator]:
    """The simulated clouds of the vendors that are to have devices.

    Args:
        devices: how many, by vendor; ``None`` leaves it to the vendor.
        options: of the vendors' own ``simulator``.
        lively: whether the vendors' options for a demo are the defaults.

    Raises:
        NavibridgeError: a vendor does not know an option.
    """
    made = []
    for name in vendors_with_simulator():
        vendor = vendors.load(name)
        chosen = {"devices": 1, **(vendor.DEMO if lively else {}), **options}
        if not vendor.DIALECTS:
            chosen.pop("dialects", None)  # its devices speak one way only
        number = devices.get(name)
        if number is not None:
            chosen["devices"] = number
        if chosen["devices"]:
            try:
                made.append(vendor.simulator(**chosen))
            except (TypeError, ValueError) as error:
                raise NavibridgeError(f"the simulated cloud of {name} does not take these options: {error}") from error
    return made


def simulated_cloud(chosen: list[Simulator], *, ca_path: Path | None = None) -> SimulatedCloud:
    """The clouds' common server, not started yet.

    Raises:
        NavibridgeError: the extra ``demo`` is not installed, or the certificate can not be written.
    """
    try:
        from navibridge.demo.cloud import SimulatedCloud  # noqa: PLC0415 - needs the extra `demo`
    except ModuleNotFoundError as error:
        raise NavibridgeError(
            f"the simulated clouds need the package {error.name}; install it with: pip install 'navibridge[demo]'"
        ) from error
    try:
        return SimulatedCloud(chosen, ca_path=ca_path)
    except OSError as error:
        raise NavibridgeError(f"the certificate can not be written in {error.filename}: {error.strerror}") from error


@asynccontextmanager
async def stage(
    devices: Mapping[str, int | None],
    *,
    broker: tuple[str, int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> AsyncIterator[Demo]:
    """A demo that is ready to run.

    Args:
        devices: see `simulators`.
        broker: host and port of a real broker; the embedded one without.
        options: see `simulators`.

    Raises:
        NavibridgeError: see `simulators` and `simulated_cloud`.
    """
    from navibridge.bridge import Bridge  # noqa: PLC0415 - heavy, and not needed by everybody who simulates
    from navibridge.store import Store  # noqa: PLC0415 - as above

    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="navibridge-demo-"))
        cloud = simulated_cloud(simulators(devices, options or {}, lively=True), ca_path=Path(directory, "ca.pem"))
        await cloud.start(HOST)
        stack.push_async_callback(cloud.stop)
        host, port = broker or await _embedded_broker(stack)
        settings = config.build(
            {
                "broker": {"host": host, "port": port, "client_id": f"navibridge-demo-{cloud.port}"},
                "accounts": {
                    simulator.vendor: simulator.account(cloud.host, cloud.port, cloud.ca_file)
                    for simulator in cloud.simulators
                },
                "state_dir": directory,
            },
            vendors=lambda name: vendors.load(name).Settings,
            vendor_names=vendors.names(),
            source="demo",
        )
        yield Demo(Bridge(settings, Store(settings.state_dir)), cloud, settings, embedded=broker is None)


async def _embedded_broker(stack: AsyncExitStack) -> tuple[str, int]:
    from navibridge.demo.broker import Broker  # noqa: PLC0415 - not needed with a real broker

    broker = Broker()
    try:
        port = await broker.listen(HOST, MQTT_PORT)
    except OSError:
        port = await broker.listen(HOST)
    stack.push_async_callback(broker.close)
    return HOST, port
