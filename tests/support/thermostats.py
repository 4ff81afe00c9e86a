"""A simulated Mysa cloud on the bench: no sockets, and time passes when the test says so."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from navibridge.simulation import Reply, Request
from navibridge.vendors.mysa import batch, frames, srp
from navibridge.vendors.mysa.simulated.accounts import USER_POOL
from navibridge.vendors.mysa.simulated.cloud import EMAIL, PASSWORD, simulator
from navibridge.vendors.mysa.simulated.cognito import CLIENT_IDS, IDENTITY_POOLS, LOGIN

if TYPE_CHECKING:
    from navibridge.vendors.mysa.simulated.accounts import Account
    from navibridge.vendors.mysa.simulated.cloud import MysaCloud
    from navibridge.vendors.mysa.simulated.thermostat import Thermostat

NOON = 1768478400.0  # 2026-01-15 12:00 UTC
CLIENT_ID = CLIENT_IDS[0]


class Bench:
    """The simulator, the clock, and what it published; answers take half a second, and REST follows after two."""

    def __init__(self, *models: str, **options: Any) -> None:
        self.now = NOON
        self.cut: list[str] = []
        self.id_token = ""
        self._said: list[tuple[str, bytes, int]] = []
        self._ids = int(NOON * 1000)
        timing = {"answer": (0.5, 0.5), "flush": (1.0, 1.0), "rest": (2.0, 2.0), "report": 0.0, "batch_minutes": 0.0}
        given: dict[str, Any] = {"clock": self._time, "monotonic": self._time, **timing, **options}
        if models:
            given["models"] = models
        self.sim: MysaCloud = simulator(len(models) or 6, **given)
        self.sim.connect(self)

    def _time(self) -> float:
        return self.now

    # What the simulator sees of its host.

    def publish(self, topic: str, payload: bytes, *, qos: int = 0) -> None:
        self._said.append((topic, payload, qos))

    def disconnect(self, principal: str) -> None:
        self.cut.append(principal)

    # HTTP.

    @property
    def owner(self) -> Account:
        return next(iter(self.sim.accounts.values()))

    async def amazon(self, operation: str, body: Any) -> Reply:
        service = "AWSCognitoIdentityService" if operation.startswith("Get") else "AWSCognitoIdentityProviderService"
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request("POST", "127.0.0.1", "/", {}, {"x-amz-target": f"{service}.{operation}"}, payload)
        assert self.sim.serves(request)
        return await self.sim.rest(request)

    async def initiate(self, flow: str, **parameters: str) -> Reply:
        return await self.amazon(
            "InitiateAuth", {"AuthFlow": flow, "ClientId": CLIENT_ID, "AuthParameters": parameters}
        )

    async def respond(self, name: str, responses: dict[str, str], **more: str) -> Reply:
        body = {"ChallengeName": name, "ClientId": CLIENT_ID, "ChallengeResponses": responses, **more}
        return await self.amazon("RespondToAuthChallenge", body)

    async def prove(self, password: str = PASSWORD, email: str = EMAIL, **changes: str) -> Reply:
        """Both halves of a sign-in by SRP; the second's fields may be spoiled."""
        proof = srp.Proof(USER_POOL, password, a=0x1234567890ABCDEF << 200)
        opened = await self.initiate("USER_SRP_AUTH", USERNAME=email, SRP_A=proof.opening)
        if opened.status != 200:
            return opened
        asked = opened.body["ChallengeParameters"]
        challenge = srp.Challenge.read(asked["USER_ID_FOR_SRP"], asked["SALT"], asked["SRP_B"], asked["SECRET_BLOCK"])
        at = srp.timestamp(self.now)
        responses = {
            "USERNAME": asked["USERNAME"],
            "PASSWORD_CLAIM_SECRET_BLOCK": asked["SECRET_BLOCK"],
            "PASSWORD_CLAIM_SIGNATURE": proof.signature(challenge, at),
            "TIMESTAMP": at,
        }
        return await self.respond("PASSWORD_VERIFIER", responses | changes)

    async def sign_in(self) -> dict[str, Any]:
        reply = await self.prove()
        assert reply.status == 200, reply.body
        result = dict(reply.body["AuthenticationResult"])
        self.id_token = result["IdToken"]
        return result

    async def credentials(self) -> dict[str, Any]:
        """AWS credentials of a fresh sign-in."""
        token = (await self.sign_in())["IdToken"]
        logins = {LOGIN: token}
        identity = await self.amazon("GetId", {"IdentityPoolId": IDENTITY_POOLS[0], "Logins": logins})
        granted = await self.amazon("GetCredentialsForIdentity", {**identity.body, "Logins": logins})
        return dict(granted.body["Credentials"])

    async def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Reply:
        headers = {"authorization": self.id_token if token is None else token}
        payload = b"" if body is None else json.dumps(body).encode()
        request = Request(method, "127.0.0.1", path, {}, headers, payload)
        assert self.sim.serves(request)
        return await self.sim.rest(request)

    async def get(self, path: str, **options: Any) -> Any:
        """The body of a successful answer."""
        if not self.id_token:
            await self.sign_in()
        reply = await self.ask("GET", path, **options)
        assert reply.status == 200, reply.body
        assert reply.content_type == "application/json"
        return reply.body

    # MQTT.

    @property
    def device(self) -> Thermostat:
        """The first thermostat."""
        return next(iter(self.sim.thermostats.values()))

    def send(self, payload: bytes, device: Thermostat | None = None) -> None:
        """A client publishes on a thermostat's topic."""
        device = device or self.device
        self.sim.received(self.owner.principal, "client-1", frames.topic_in(device.id), payload)

    def command(self, device: Thermostat | None = None, *, body_type: int | None = None, **cmd: Any) -> int:
        """Send a command; returns its id."""
        device = device or self.device
        self._ids += 1
        number = device.model.body_type if body_type is None else body_type
        message = {
            "ver": "1.0",
            "time": self._ids // 1000,
            "Timestamp": self._ids // 1000,
            "id": self._ids,
            "msg": 44,
            "resp": 2,
            "src": {"ref": self.owner.user_id, "type": 100},
            "dest": {"ref": device.id, "type": 1},
            "body": {"ver": 1, "type": number, "cmd": [{"tm": -1, **cmd}]},
        }
        self.send(json.dumps(message).encode(), device)
        return self._ids

    def wait(self, seconds: float) -> list[tuple[str, bytes, int]]:
        """Time passes in small steps; what was published meanwhile, or was not taken before."""
        step = 0.1 if seconds <= 60 else 1.0
        for _ in range(max(1, round(seconds / step))):
            self.now += step
            self.sim.advance()
        said, self._said = self._said, []
        return said

    def heard(self, seconds: float, device: Thermostat | None = None) -> list[dict[str, Any]]:
        """What a thermostat says on ``out`` while time passes."""
        topic = frames.topic_out((device or self.device).id)
        return [json.loads(payload) for at, payload, _ in self.wait(seconds) if at == topic]

    def acks(self, seconds: float = 1.0, device: Thermostat | None = None) -> list[dict[str, Any]]:
        """The results that a thermostat tells while time passes."""
        return [message for message in self.heard(seconds, device) if message.get("msg") == 44]

    def readings(self, said: list[tuple[str, bytes, int]]) -> list[batch.BatchReading]:
        """Every record of the batches among what was said."""
        found: list[batch.BatchReading] = []
        for topic, payload, _ in said:
            if topic.endswith("/batch"):
                found += batch.decode(base64.b64decode(json.loads(payload)["body"]["readings"])).readings
        return found
