"""A simulated NaviLink cloud on the bench: no sockets, and time passes when the test says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from navibridge.simulation import Reply, Request
from navibridge.vendors.navilink import messages
from navibridge.vendors.navilink.codes import Query
from navibridge.vendors.navilink.simulated.cloud import EMAIL, PASSWORD, simulator

if TYPE_CHECKING:
    from navibridge.vendors.navilink.simulated.appliance import Appliance
    from navibridge.vendors.navilink.simulated.gas import GasUnit
    from navibridge.vendors.navilink.simulated.heater import HeatPump

NOON = 1768478400.0  # 2026-01-15 12:00 UTC, a Thursday
PRINCIPAL = "navilink/41250"


class Bench:
    """The simulator, the clock, and what it published; answers take 0.2 s, notices 2 s, unless told otherwise."""

    def __init__(self, devices: int = 1, **options: Any) -> None:
        self.now = NOON
        self.cut: list[str] = []
        self._published: list[tuple[str, bytes]] = []
        timing = {"answer": (0.2, 0.2), "notice": (2.0, 2.0), "report": 0.0}
        self.sim = simulator(devices, **{**timing, "clock": self._time, "monotonic": self._time, **options})
        self.sim.connect(self)
        self.email, self.password, self.token = EMAIL, PASSWORD, ""
        self.gas: GasUnit

    def _time(self) -> float:
        return self.now

    # What the simulator sees of its host.

    def publish(self, topic: str, payload: bytes, *, qos: int = 0) -> None:
        assert qos == 1
        self._published.append((topic, payload))

    def disconnect(self, principal: str) -> None:
        self.cut.append(principal)

    # REST.

    async def post(
        self, path: str, body: Any, *, token: str | None = None, method: str = "POST", base: str = "/api/v2.1"
    ) -> Reply:
        headers = {"authorization": self.token if token is None else token}
        request = Request(method, "127.0.0.1", base + path, {}, headers, json.dumps(body).encode())
        return await self.sim.rest(request)

    async def get(self, path: str, query: dict[str, str]) -> Reply:
        headers = {"authorization": self.token}
        return await self.sim.rest(Request("GET", "127.0.0.1", "/api/v2.1" + path, query, headers, b""))

    async def sign_in(self) -> dict[str, Any]:
        reply = await self.post("/user/sign-in", {"userId": self.email, "password": self.password})
        token = dict(reply.body["data"]["token"])
        self.token = token["accessToken"]
        return token

    async def listed(self) -> list[dict[str, Any]]:
        reply = await self.post("/device/list", {"offset": 0, "count": 20, "userId": self.email})
        return [item["deviceInfo"] for item in reply.body["data"]]

    # MQTT.

    @property
    def heater(self) -> HeatPump:
        return next(iter(self.sim.heaters.values()))

    def address(
        self, device: Appliance | None = None, *, family: Literal["app", "library"] = "app"
    ) -> messages.Address:
        device = device or self.heater
        return messages.Address(
            device.mac, device.additional_value, "client-1", device.device_type, device.home_seq, 41250, family
        )

    def send(self, topic: str, payload: bytes) -> None:
        self.sim.received(PRINCIPAL, "client-1", topic, payload)

    def pass_time(self, seconds: float) -> None:
        """Time passes unseen."""
        self.now += seconds

    def advance(self) -> float:
        return self.sim.advance()

    def wait(self, seconds: float) -> list[tuple[str, bytes]]:
        """Time passes in small steps; what was published meanwhile, or was not taken before."""
        step = 0.1 if seconds <= 10 else 1.0
        for _ in range(max(1, round(seconds / step))):
            self.now += step
            self.sim.advance()
        return self.take()

    def hold(self) -> None:
        """Let nothing happen to the water heater by itself, so that it speaks only when asked."""
        self.heater.faults.frozen = True

    def take(self) -> list[tuple[str, bytes]]:
        published, self._published = self._published, []
        return published

    def live(self, seconds: float) -> None:
        """Time passes, and nobody listens."""
        self.wait(seconds)

    def ask(self, message: messages.Message, *, wait: float) -> list[tuple[str, bytes]]:
        self.take()
        self.send(message.topic, message.payload)
        return self.wait(wait)

    def answer(self, query: Query, *, device: HeatPump | None = None, **parameters: Any) -> bytes:
        """The one answer to a question."""
        if query is Query.ENERGY_DAILY:
            parameters = {"year": 2026, "month": [1]} | parameters
        if query is Query.ENERGY_MONTHLY:
            parameters = {"year": [2026]} | parameters
        question = messages.query(self.address(device), query, "1", **parameters)
        answers = [payload for topic, payload in self.ask(question, wait=0.5) if topic == question.reply_topic]
        assert len(answers) == 1
        return answers[0]

    def status(self, device: HeatPump | None = None) -> dict[str, Any]:
        return dict(json.loads(self.answer(Query.STATUS, device=device))["response"]["status"])

    def control(self, command: int, mode: str, param: list[int], *, device: HeatPump | None = None) -> dict[str, Any]:
        """The status that acknowledges a control, sent a safe while after the one before."""
        self.wait(1.5)
        control = messages.control(self.address(device), command, mode, param, "9")
        acks = [payload for topic, payload in self.ask(control, wait=0.5) if topic == control.reply_topic]
        assert len(acks) == 1
        return dict(json.loads(acks[0])["response"]["status"])

    @staticmethod
    def statuses(published: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
        return [json.loads(payload)["response"]["status"] for _, payload in published]
