"""What the core knows of a vendor: this contract, and nothing more.

A vendor is one folder here. Its package exports, by these names:

    TITLE          the vendor's name for people
    Settings       its section of the configuration, a `navibridge.config.AccountSettings`
    KINDS          its device tables
    open_session   (settings, context) -> Session: the life of one account
    explain        (payload) -> Explained: for the `decode` command
    simulator      (...) -> navibridge.simulation.Simulator: its simulated cloud
    DEMO           the options of `simulator` that make a lively demo
    DIALECTS       the ways its simulated devices can speak (the option ``dialects``); empty for just one
    servers        (settings) -> the servers that an account needs: for the `check` command
    PRIVATE        what captures must not show, a `navibridge.capture.Private`; without it there are none

The package's ``__init__`` imports nothing heavy: `Settings` is needed to check a configuration, the rest is imported
inside the functions when it is used. Folders are found by looking; adding a vendor edits no other file.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from navibridge.network import Network
from navibridge.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from navibridge.capture import Private
    from navibridge.config import AccountSettings, DeviceSettings
    from navibridge.model import Device, Event, Explained, Kind, Scalar, Values
    from navibridge.rest import Rest
    from navibridge.simulation import Simulator
    from navibridge.store import Store


def nothing_set(_device_id: str) -> DeviceSettings:
    """What a configuration that names no device says of each."""
    from navibridge.config import DeviceSettings  # noqa: PLC0415 - listing the vendors needs no models

    return DeviceSettings()


@dataclass(frozen=True, slots=True)
class Context:
    """What an account is handed by the core.

    Attributes:
        account: the account's name in the configuration.
        store: what the account keeps over restarts: tokens, what is known of its devices, the install id.
        clock: seconds since the epoch.
        count: adds one to a named counter, such as ``frames`` or ``frame_errors``.
        device_settings: what the configuration says of one device, by the vendor's id.
        answer_timeout: seconds that a device has to confirm one message of a command.
        pace: how many times as fast as usual the session shall go about its own waiting; other than 1 for tests alone.
        network: opens all connections of the session.
        usage: counts its REST requests.
    """

    account: str
    store: Store
    clock: Callable[[], float]
    count: Callable[[str], None]
    device_settings: Callable[[str], DeviceSettings] = nothing_set
    answer_timeout: float = 15.0
    pace: float = 1.0
    network: Network = field(default_factory=Network)
    usage: Usage = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "usage", Usage(self.store, self.account, self.clock, self.count))

    def rest(self, base_url: str, ca_file: str | None) -> Rest:
        """A client of one REST service, not open yet; see `navibridge.rest.Rest`."""
        return self.network.rest(base_url, ca_file=ca_file, clock=self.clock, spend=self.usage.spend)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that an account needs.

    Attributes:
        name: what it is for, such as ``REST service``.
        host: name or address.
        port: of its TLS listener.
        ca_file: PEM file of the only authorities to trust; ``None`` for those of the system.
    """

    name: str
    host: str
    port: int = 443
    ca_file: str | None = None


class Session(Protocol):
    """The life of one account."""

    def events(self) -> AsyncGenerator[Event, None]:
        """One attempt: sign in, list the devices, open the link, then whatever the devices say.

        Ends only by raising; every resource of the attempt is released by then. May be called again.

        Raises:
            AuthError: a person has to act.
            LinkError: worth another attempt.
        """
        ...

    async def send(self, device: Device, changes: Mapping[str, Scalar]) -> Values:
        """Send one message's worth of checked changes and wait for the device's own answer.

        Returns:
            The values that the device confirmed, of the changed attributes at least.

        Raises:
            CommandError: verdict ``refused`` (device or cloud said no, or confirmed another value).
            LinkError: nothing was sent, the link is away.
            TimeoutError: sent, but no answer came.
        """
        ...

    async def ask(self, device: Device) -> None:
        """Ask the device for its state now; the answer arrives as a `Reading`.

        Raises:
            LinkError: the link is away.
        """
        ...


class Vendor(Protocol):
    """A vendor's package, as `load` returns it."""

    TITLE: str
    Settings: type[AccountSettings]
    KINDS: tuple[Kind, ...]
    DEMO: Mapping[str, Any]
    PRIVATE: Private
    DIALECTS: tuple[str, ...]

    def open_session(self, settings: AccountSettings, context: Context) -> Session:
        """An account's session; opens nothing yet."""
        ...

    def explain(self, payload: bytes) -> Explained:
        """Take a payload apart. Raises `FrameError`."""
        ...

    def simulator(self, devices: int, **options: object) -> Simulator:
        """The vendor's simulated cloud with that many devices; the options are the vendor's own."""
        ...

    def servers(self, settings: AccountSettings) -> tuple[Server, ...]:
        """The servers that an account needs, in the order in which they are needed."""
        ...


def names() -> tuple[str, ...]:
    """Every vendor there is, by folder name, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


def load(name: str) -> Vendor:
    """The vendor of that folder name.

    Raises:
        KeyError: there is no such vendor.
    """
    if name not in names():
        raise KeyError(name)
    return cast("Vendor", importlib.import_module(f"{__name__}.{name}"))
