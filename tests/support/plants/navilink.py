"""What a scenario needs of a vendor's simulated devices, whichever vendor it is.

Another vendor joins by a class of its own here and a line in `PLANTS`.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from navibridge import vendors
from navibridge.demo.broker import Connect, encode
from navibridge.vendors.navilink.simulated.appliance import Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.demo.cloud import SimulatedCloud
    from navibridge.simulation import RestFault, Simulator

ATTRIBUTE = "target_temperature"
"""What is turned and commanded; every thermostat and every water heater has it."""


class Plant(Protocol):
    """The devices of one simulated account, and what can be done to them.

    Attributes:
        simulator: their cloud.
        devices: their topics, below the base.
        tokens: REST paths that grant and renew tokens, and the one that lists the devices.
    """

    simulator: Simulator
    sign_in: str
    listing: str

    @property
    def devices(self) -> list[str]: ...
    def truth(self) -> Mapping[str, Mapping[str, Any]]: ...
    def passed(self) -> list[tuple[str, str, Any]]: ...
    def turn(self) -> None: ...
    def value(self, number: int) -> float: ...
    def faults(self, device: str) -> Any: ...
    def sign_ins(self) -> int: ...
    def effects(self) -> Counter[tuple[str, float]]: ...
    def controls(self, device: str) -> list[tuple[float, float]]: ...
    def secrets(self) -> set[str]: ...
    def rest_fault(self, path: str, fault: RestFault | None) -> None: ...
    def expire_tokens(self) -> None: ...
    def expire_credentials(self) -> None: ...
    def rename(self, device: str, name: str) -> None: ...
    def remove(self, device: str) -> None: ...
    def add(self) -> str: ...
    def unplug(self, device: str) -> None: ...
    def plug_in(self, device: str) -> None: ...
    def report(self, device: str) -> None: ...
    def tell(self, device: str, payload: bytes) -> None: ...
    def frame(self, device: str) -> bytes: ...
    def leave_out(self, device: str) -> None: ...
    def look_again(self) -> None: ...
    def take_over(self, cloud: SimulatedCloud) -> None: ...
    def policy(self, allows: Callable[[str], bool]) -> None: ...
    def speed(self, **timing: Any) -> None: ...


class Navilink:
    """Water heaters; their set temperature is what moves."""

    sign_in = "/user/sign-in"
    listing = "/device/list"

    def __init__(self, devices: int, **options: Any) -> None:
        quick = {"answer": (0.0, 0.02), "notice": (0.05, 0.1), "control_interval": 0.0, "report": 0.0}
        self.simulator: Any = vendors.load("navilink").simulator(devices, **quick | options)
        self._turns = 0
        self._asked = 0.0

    @property
    def devices(self) -> list[str]:
        return [f"navilink_{mac}" for mac in self.simulator.devices]

    def _heater(self, device: str) -> Any:
        return self.simulator.devices[device.removeprefix("navilink_")]

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        return {f"navilink_{mac}": {ATTRIBUTE: heater.state.setpoint} for mac, heater in self.simulator.heaters.items()}

    def passed(self) -> list[tuple[str, str, Any]]:
        """What commands have set since this was asked last, however short a while it stood."""
        since, self._asked = self._asked, time.monotonic()
        found = []
        for control in reversed(self.simulator.received_controls):
            if control.at < since - 0.2:  # a device takes a moment to obey
                break
            if control.mode == "dhw-temperature" and control.outcome == "applied":
                found.append((f"navilink_{control.mac}", ATTRIBUTE, control.param[0] / 2))
        return found[::-1]

    def turn(self) -> None:
        """Somebody in the house turns every device to a value that it has not had for long."""
        self._turns += 1
        for heater in self.simulator.heaters.values():
            heater.state.setpoint = self.value(self._turns)

    def value(self, number: int) -> float:
        return 41.0 + number % 47 * 0.5

    def faults(self, device: str) -> Any:
        return self._heater(device).faults

    def sign_ins(self) -> int:
        return int(self.simulator.requests.count(self.sign_in))

    def effects(self) -> Counter[tuple[str, float]]:
        """How often each value was set, by device, through the cloud."""
        return Counter(
            (f"navilink_{control.mac}", control.param[0] / 2)
            for control in self.simulator.received_controls
            if control.mode == "dhw-temperature"
        )

    def controls(self, device: str) -> list[tuple[float, float]]:
        """When a device was set through the cloud, by the monotonic clock, and to what; oldest first."""
        return [
            (control.at, control.param[0] / 2)
            for control in self.simulator.received_controls
            if control.mode == "dhw-temperature" and f"navilink_{control.mac}" == device
        ]

    def secrets(self) -> set[str]:
        """Every token and key that was issued and is known still."""
        grants = self.simulator._grants
        keys = {secret for grant in grants.values() for secret in (grant.secret_key, grant.session_token)}
        return {*self.simulator._access, *self.simulator._refresh, *grants, *keys}

    def rest_fault(self, path: str, fault: RestFault | None) -> None:
        if fault is None:
            self.simulator.rest_faults.pop(path, None)
        else:
            self.simulator.rest_faults[path] = fault

    def expire_tokens(self) -> None:
        for account in self.simulator.accounts.values():
            self.simulator.revoke_tokens(account)

    def expire_credentials(self) -> None:
        for account in self.simulator.accounts.values():
            self.simulator.revoke_credentials(account)

    def rename(self, device: str, name: str) -> None:
        self._heater(device).name = name

    def remove(self, device: str) -> None:
        self.simulator.remove(device.removeprefix("navilink_"))

    def add(self) -> str:
        return f"navilink_{self.simulator.add_heater().mac}"

    def unplug(self, device: str) -> None:
        self.simulator.unplug(device.removeprefix("navilink_"))

    def plug_in(self, device: str) -> None:
        self.simulator.plug_in(device.removeprefix("navilink_"))

    def report(self, device: str) -> None:
        self._heater(device).report()

    def tell(self, device: str, payload: bytes) -> None:
        """Whatever it is, in the device's name."""
        mac = device.removeprefix("navilink_")
        self.simulator._publish(f"cmd/52/navilink-{mac}/res", payload)

    def frame(self, device: str) -> bytes:
        """What the device would say now."""
        heater = self._heater(device)
        return bytes(heater._message(Asked("cmd", "", 0x01000003), {"status": heater._status(0x01000003)}))

    def take_over(self, cloud: SimulatedCloud) -> None:
        """Somebody else connects with the bridge's client id."""
        broker = cloud.broker(self.simulator.vendor)
        for client in broker.clients.values():
            connection = broker.attach(_Nowhere(), principal=client.principal)
            connection.receive(encode(Connect(client.client_id)))

    def leave_out(self, device: str) -> None:
        """It says everything but `ATTRIBUTE` from now on."""
        self.faults(device).missing_keys = frozenset({"dhwTargetTemperatureSetting", "dhwTemperatureSetting"})

    def look_again(self) -> None:
        self.simulator.announce_maintenance()

    def policy(self, allows: Callable[[str], bool]) -> None:
        allowed = type(self.simulator).may_subscribe

        def may_subscribe(principal: str, client_id: str, topic_filter: str) -> bool:
            return allowed(self.simulator, principal, client_id, topic_filter) and allows(topic_filter)

        self.simulator.may_subscribe = may_subscribe

    def speed(self, **timing: Any) -> None:
        for name, value in timing.items():
            setattr(self.simulator.timing, name, value)


class _Nowhere:
    """A pipe that nobody reads."""

    def write(self, packet: bytes) -> None: ...
    def close(self) -> None: ...
    def backlog(self) -> int:
        return 0


PLANTS: dict[str, Callable[..., Plant]] = {"navilink": Navilink}
"""By vendor."""
