"""What every simulated device on the wire has: an address, a voice, faults, and a plan of what to say when.

An `Appliance` knows no broker and no clock: it publishes through a function and plans through an `Agenda`, so that a
test turns time by hand. A command is carried out at the moment of its answer, not at its arrival: the acknowledgement
then shows the new settings beside the old activity, as the real unit's does, and notices follow.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import orjson

from navibridge.vendors.navilink import messages

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from navibridge.simulation import Agenda


log = logging.getLogger(__name__)


@dataclass(slots=True)
class Timing:
    """How quick the devices are; seconds of real time. Pairs are the limits of a random choice.

    Attributes:
        answer: between a request and its answer.
        notice: between an acknowledgement and the notices that follow it.
        report: between reports nobody asked for; 0 for none.
        control_interval: two controls closer than this are one too many (`docs/protocol/navilink.md` 5.4).
        speed: seconds the units live in one second.
        tick: between two looks at the units; up to a minute.
    """

    answer: tuple[float, float] = (0.2, 1.0)
    notice: tuple[float, float] = (1.0, 3.0)
    report: float = 300.0
    control_interval: float = 1.0
    speed: float = 1.0
    tick: float = 1.0


@dataclass(slots=True)
class DeviceFaults:
    """What is wrong with one device; set and unset while it runs.

    Attributes:
        offline: no power, or no network: listed as disconnected, says nothing, hears nothing.
        connected: what the device list says of it instead of the truth.
        silent: hears and obeys, but nothing it says arrives.
        drop_acks: carries controls out without acknowledging them.
        late_acks: seconds that acknowledgements come later.
        double_acks: acknowledges everything twice.
        contradict_acks: acknowledges controls it has not carried out: with the old values.
        fail_code: every control is answered by ``ctrl-fail`` with this code.
        garbled: every frame is damaged.
        duplicate: every frame comes twice.
        unknown_keys: reports carry fields that no table lists.
        unknown_enums: reports carry codes that no table lists.
        missing_keys: fields that reports lack.
        frozen: time stands still for it; it answers, and nothing ever changes by itself.
    """

    offline: bool = False
    connected: int | None = None
    silent: bool = False
    drop_acks: bool = False
    late_acks: float = 0.0
    double_acks: bool = False
    contradict_acks: bool = False
    fail_code: int | None = None
    garbled: bool = False
    duplicate: bool = False
    unknown_keys: bool = False
    unknown_enums: bool = False
    missing_keys: frozenset[str] = frozenset()
    frozen: bool = False


@dataclass(slots=True)
class ReceivedControl:
    """One control as it arrived, for tests and the curious.

    Attributes:
        mac: the device it was for.
        topic: where it was published.
        command: its code.
        mode: the word that came with it, empty for a schedule.
        param: its parameters.
        request: all of the ``request`` object.
        client_id: who sent it, by the envelope.
        at: when, by the simulator's clock.
        outcome: ``pending``, then ``applied``, ``unchanged`` or ``failed``.
    """

    mac: str
    topic: str
    command: int
    mode: str
    param: tuple[int, ...]
    request: Mapping[str, Any]
    client_id: str
    at: float
    outcome: Literal["pending", "applied", "unchanged", "failed"] = "pending"


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, and how the answer finds back."""

    topic: str
    reply_topic: str
    command: int
    client_id: str = ""
    session_id: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)


class Appliance(ABC):
    """One simulated device, whatever its kind.

    Args:
        mac: 12 hex digits.
        name: its owner's name for it; may be changed.
        additional_value: the opaque number that every request must repeat.
        home_seq: the home it belongs to.
        timing: shared with the simulator, which may change it.
        agenda: where it plans.
        publish: topic and payload to the broker.
        chance: its random choices.
        received: where it notes the controls it hears.
    """

    device_type: int

    def __init__(
        self,
        mac: str,
        name: str,
        *,
        additional_value: str,
        home_seq: int,
        timing: Timing,
        agenda: Agenda,
        publish: Callable[[str, bytes], None],
        chance: random.Random,
        received: Callable[[ReceivedControl], None],
    ) -> None:
        self.mac = mac
        self.name = name
        self.additional_value = additional_value
        self.home_seq = home_seq
        self.faults = DeviceFaults()
        self._timing = timing
        self._agenda = agenda
        self._publish = publish
        self._chance = chance
        self._received = received
        self._last_answer = 0.0
        self._last_control = float("-inf")

    @property
    def address(self) -> str:
        """Its name in topics."""
        return f"navilink-{self.mac}"

    @property
    def connected(self) -> int:
        """What the device list says: 2 connected, 1 not."""
        if self.faults.connected is not None:
            return self.faults.connected
        return 1 if self.faults.offline else 2

    @abstractmethod
    def tick(self, seconds: float) -> None:
        """Let that much real time pass."""

    @abstractmethod
    def hear(self, topic: str, suffix: str, payload: bytes) -> None:
        """A message arrived under the device's own topics; ``suffix`` is what follows its address."""

    def announce_connection(self, *, connected: bool) -> None:
        """Say on ``evt/.../connection`` that the device's own session stands, or is gone."""
        topic = f"evt/{self.device_type}/{self.address}/connection"
        event = {
            "additionalValue": self.additional_value,
            "connection": {"sessionNumber": 1, "status": 1 if connected else 0},
            "deviceType": self.device_type,
            "macAddress": self.mac,
        }
        message = {"clientID": "", "event": event, "protocolVersion": 1, "requestTopic": topic, "sessionID": "0"}
        self._publish(topic, orjson.dumps(message))

    def _understand(self, topic: str, payload: bytes) -> Asked | None:
        """A JSON request that is meant for this device."""
        try:
            message = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return None
        request = message.get("request") if isinstance(message, dict) else None
        if not isinstance(request, dict) or type(request.get("command")) is not int:
            return None
        if request.get("macAddress") != self.mac or request.get("additionalValue") != self.additional_value:
            log.debug("%s ignores a request for another device", self.address)
            return None
        reply_topic = str(message.get("responseTopic", ""))
        return Asked(
            topic,
            "" if set(reply_topic) & {"+", "#", "\0"} else reply_topic,
            request["command"],
            str(message.get("clientID", "")),
            str(message.get("sessionID", "")),
            request,
        )

    def _plan_answer(self, action: Callable[[], None], *, later: float = 0.0) -> None:
        """Do something after the device's reaction time; answers keep the order of their requests."""
        due = max(self._agenda.now + self._chance.uniform(*self._timing.answer), self._last_answer)
        self._last_answer = due
        self._agenda.at(due + later, action)

    def _too_soon(self) -> bool:
        """Whether a control comes too close after the one before."""
        now = self._agenda.now
        if now - self._last_control < self._timing.control_interval:
            return True
        self._last_control = now
        return False

    def _note(self, asked: Asked, mode: str, param: tuple[int, ...]) -> ReceivedControl:
        control = ReceivedControl(
            self.mac, asked.topic, asked.command, mode, param, asked.request, asked.client_id, self._agenda.now
        )
        self._received(control)
        return control

    def _message(self, asked: Asked, body: Mapping[str, Any]) -> bytes:
        """An answer's bytes."""
        return messages.answer(
            self.mac,
            self.additional_value,
            body,
            device_type=self.device_type,
            client_id=asked.client_id,
            session_id=asked.session_id,
            request_topic=asked.topic,
        )

    def _say(self, topic: str, payload: bytes) -> None:
        """Publish, with what is wrong with the device's voice."""
        if self.faults.offline or self.faults.silent or not topic:
            return
        if self.faults.garbled:
            payload = self._garble(payload)
        for _ in range(2 if self.faults.duplicate else 1):
            self._publish(topic, payload)

    def _garble(self, payload: bytes) -> bytes:
        match self._chance.randrange(3):
            case 0:
                return payload[: self._chance.randrange(len(payload))]
            case 1:
                place = self._chance.randrange(len(payload))
                return payload[:place] + b"\xff\x00\xfe" + payload[place + 3 :]
            case _:
                return self._chance.randbytes(len(payload))


def parameters(given: object) -> tuple[int, ...] | None:
    """The ``param`` of a control, ``None`` when it is no list of whole numbers."""
    if not isinstance(given, list) or not all(type(item) is int for item in given):
        return None
    return tuple(given)
