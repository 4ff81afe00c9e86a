"""The accounts of the simulated cloud."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from navibridge.vendors.mysa.simulated.verifier import Verifier

if TYPE_CHECKING:
    import random

USER_POOL: Final = "us-east-1_GUFWfhI7g"
EMAIL: Final = "owner@example.com"
PASSWORD: Final = "demo-thermostat"  # noqa: S105 - the simulated cloud's own
MFA_CODE: Final = "123456"


@dataclass(slots=True)
class Account:
    """One account of the simulated cloud; everything may be changed while it runs.

    Attributes:
        email: how it signs in.
        password: the current one, for configurations that point here; the user pool itself goes by the verifier.
        user_id: its ``User.Id``, which is also its internal name at the user pool and the ``sub`` of its tokens.
        home_id: its home.
        identity_id: its name at the identity pool.
        verifier: what the user pool keeps of its password; see `set_password`.
        devices: ids of its thermostats, in the order in which they were paired.
        locked: signing in is refused as after too many wrong passwords.
        mfa: what the user pool asks for besides the password; its code is `MFA_CODE`.
        realtime: whether its credentials open the WebSocket; it has been seen refused for good
            (`docs/protocol/mysa.md` 8.4).
        e_rate: price of a kilowatt hour, as the account's homes say it.
    """

    email: str
    password: str = field(repr=False)
    user_id: str
    home_id: str
    identity_id: str
    verifier: Verifier
    devices: list[str] = field(default_factory=list)
    locked: bool = False
    mfa: Literal["SOFTWARE_TOKEN_MFA", "SMS_MFA"] | None = None
    realtime: bool = True
    e_rate: float | str = 0.1823

    @classmethod
    def open(cls, email: str, password: str, chance: random.Random) -> Account:
        """A new account."""
        user_id = uuid(chance)
        # Written as a number, without leading zeros: a common client library would hash those.
        verifier = Verifier.enrol(USER_POOL, user_id, password, f"{chance.getrandbits(128):x}")
        return cls(email, password, user_id, uuid(chance), f"us-east-1:{uuid(chance)}", verifier)

    def set_password(self, password: str, *, salt: str | None = None) -> None:
        """Change the password; the salt, hexadecimal, stays unless another is given."""
        self.password = password
        self.verifier = Verifier.enrol(USER_POOL, self.user_id, password, salt or self.verifier.salt)

    @property
    def principal(self) -> str:
        """What its AWS credentials belong to."""
        return f"mysa/{self.user_id}"


def uuid(chance: random.Random) -> str:
    """A UUID of version 4, by chance."""
    digits = f"{chance.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[chance.randrange(4)]}{digits[17:20]}-{digits[20:]}"
