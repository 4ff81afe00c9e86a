"""What a scenario needs of a vendor's simulated devices, whichever vendor it is.

A plant is a module here with the vendor's name, whose class `Plant` does what the protocol says. All of the devices'
own time stands still: what they are changes only when somebody turns or commands them, so that what has been true, and
until when, is known exactly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

from navibridge import vendors
from navibridge.demo.broker import Connect, encode

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from navibridge.demo.cloud import SimulatedCloud
    from navibridge.simulation import RestFault, Simulator

ATTRIBUTE: Final = "target_temperature"
"""What is commanded; every thermostat and every water heater has it."""

VENDORS: Final = vendors.names()


class Plant(Protocol):
    """The devices of one simulated account, and what can be done to them.

    Attributes:
        simulator: their cloud.
        sign_in: REST path or operation that begins a sign-in.
        listing: the one that lists the devices.
        pace: how many times as fast as in a real house the session goes about its waiting.
        scaled: options of the account that are too short for a real house.
        digits: decimal places that an attribute is published with.
    """

    simulator: Simulator
    sign_in: str
    listing: str
    pace: float
    scaled: Mapping[str, Any]
    digits: Mapping[str, int | None]

    @property
    def devices(self) -> list[str]:
        """Their topics, below the base."""
        ...

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        """How each device is, by its topic: values of several sorts, by attribute."""
        ...

    def passed(self) -> list[tuple[str, str, Any]]:
        """What came to be true since this was asked last, however short a while it stood: device, attribute, value."""
        ...

    def turn(self) -> None:
        """Somebody turns every device, and what it measures moves: to values that it has not had for long."""
        ...

    def value(self, number: int) -> float:
        """One of many target temperatures."""
        ...

    def faults(self, device: str) -> Any:
        """The simulated device's own."""
        ...

    def silence(self, device: str, *, silent: bool = True) -> None:
        """Nothing new is heard of it by any way, though it hears and obeys."""
        ...

    def garble(self, device: str, *, garbled: bool = True) -> None:
        """Nothing that is heard of it can be read."""
        ...

    def die(self, device: str) -> None:
        """It is gone, and nobody says so."""
        ...

    def puzzle(self, device: str) -> None:
        """It says what no table lists, besides what it always says."""
        ...

    def requests(self, path: str) -> int:
        """How often the REST service was asked for it."""
        ...

    def sign_ins(self) -> int:
        """How often the account's password was used."""
        ...

    def effects(self) -> Counter[tuple[str, float]]:
        """How often each target temperature was set, by device, through the cloud."""
        ...

    def controls(self, device: str) -> list[tuple[float, float]]:
        """When its target temperature was set through the cloud, by the monotonic clock, and to what; oldest first."""
        ...

    def secrets(self) -> set[str]:
        """Every token and key that was issued and is known still."""
        ...

    def refuse_renewals(self) -> None:
        """No token is renewed any more: each needs a sign-in."""
        ...

    def rest_fault(self, path: str, fault: RestFault | None) -> None: ...
    def expire_tokens(self) -> None: ...
    def expire_credentials(self) -> None: ...
    def rename(self, device: str, name: str) -> None: ...
    def remove(self, device: str) -> None: ...
    def add(self) -> str: ...
    def unplug(self, device: str) -> None: ...
    def plug_in(self, device: str) -> None: ...
    def report(self, device: str) -> None: ...

    def tell(self, device: str, payload: bytes) -> None:
        """Whatever it is, in the device's name."""
        ...

    def frame(self, device: str) -> bytes:
        """What the device would say now."""
        ...

    def look_again(self) -> None:
        """The cloud gives a reason to read the list of devices soon, where the session would not by itself."""
        ...

    def take_over(self, cloud: SimulatedCloud) -> None:
        """Somebody else connects with the bridge's client id."""
        ...

    def policy(self, allows: Callable[[str], bool]) -> None:
        """The account may subscribe to these topics alone, and the endpoint hangs up for others."""
        ...

    def speed(self, **timing: Any) -> None: ...


def plant(vendor: str, devices: int, **options: Any) -> Plant:
    """The devices of a vendor, with options of its simulated cloud."""
    made: Plant = import_module(f"support.plants.{vendor}").Plant(devices, **options)
    return made


class Simulated:
    """What is the same for every vendor's simulated cloud."""

    def __init__(self, vendor: str, devices: int, **options: Any) -> None:
        module = vendors.load(vendor)
        self.simulator: Any = module.simulator(devices, **options)
        self.digits = {row.key: row.quantity.digits for kind in module.KINDS for row in kind.attributes}
        self._turns = 0
        self._asked = 0.0
        self._news: list[tuple[str, str, Any]] = []

    def rest_fault(self, path: str, fault: RestFault | None) -> None:
        if fault is None:
            self.simulator.rest_faults.pop(path, None)
        else:
            self.simulator.rest_faults[path] = fault

    def requests(self, path: str) -> int:
        return int(self.simulator.requests.count(path))

    def expire_tokens(self) -> None:
        for account in self.simulator.accounts.values():
            self.simulator.revoke_tokens(account)

    def expire_credentials(self) -> None:
        for account in self.simulator.accounts.values():
            self.simulator.revoke_credentials(account)

    def take_over(self, cloud: SimulatedCloud) -> None:
        broker = cloud.broker(self.simulator.vendor)
        for client in broker.clients.values():
            connection = broker.attach(_Nowhere(), principal=client.principal)
            connection.receive(encode(Connect(client.client_id)))

    def policy(self, allows: Callable[[str], bool]) -> None:
        allowed = type(self.simulator).may_subscribe

        def may_subscribe(principal: str, client_id: str, topic_filter: str) -> bool:
            return bool(allowed(self.simulator, principal, client_id, topic_filter)) and allows(topic_filter)

        self.simulator.may_subscribe = may_subscribe
        self.simulator.manners.close_on_forbidden = True

    def speed(self, **timing: Any) -> None:
        for name, value in timing.items():
            setattr(self.simulator.timing, name, value)


class _Nowhere:
    """A pipe that nobody reads."""

    def write(self, packet: bytes) -> None: ...
    def close(self) -> None: ...
    def backlog(self) -> int:
        return 0
