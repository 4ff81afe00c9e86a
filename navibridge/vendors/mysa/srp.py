"""The client's half of Cognito's SRP sign-in: the password is proven and never sent (`docs/protocol/mysa.md` 1.2).

A = g^a             to the service, with the e-mail address
salt, B, block      back, with the user's internal name
signature           over the block, made with a key that only the password leads to
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from navibridge.errors import LinkError

N: Final = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7"
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C"
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
    16,
)
"""The 3072-bit prime of RFC 3526."""

G: Final = 2
KEY_SIZE: Final = 16
LARGEST: Final = 2 * N.bit_length()
"""Bits of a number that is taken from an answer; more would only keep the processor busy."""

# The process's locale must not choose these words.
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def padded(number: int) -> bytes:
    """An integer as it is hashed: big-endian, with a zero byte in front where the first bit would be set."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def digest(*parts: bytes) -> int:
    """The SHA-256 of the parts, as an integer."""
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest(), "big")


K: Final = digest(padded(N), padded(G))


def timestamp(at: float) -> str:
    """A time as the service wants it signed: English, UTC, no leading zero of the day."""
    when = datetime.fromtimestamp(at, UTC)
    day, month = _WEEKDAYS[when.weekday()], _MONTHS[when.month - 1]
    return f"{day} {month} {when.day} {when:%H:%M:%S} UTC {when.year}"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the service answers to `Proof.opening`.

    Attributes:
        user: the user's internal name, which is not the e-mail address.
        salt: the salt as an integer: it is hexadecimal, and leading zeros do not count.
        b: the service's public number.
        block: opaque; goes back unchanged, and signed.
    """

    user: str
    salt: int
    b: int
    block: bytes = field(repr=False)

    @classmethod
    def read(cls, user: str, salt: str, b: str, block: str) -> Challenge:
        """A challenge from the texts of the answer.

        Raises:
            LinkError: they are not what they should be.
        """
        try:
            numbers = int(salt, 16), int(b, 16)
            opaque = base64.b64decode(block, validate=True)
        except ValueError:
            raise LinkError("the challenge of the sign-in can not be read", reason="service") from None
        if numbers[1] % N == 0 or max(numbers).bit_length() > LARGEST or min(numbers) < 0:
            raise LinkError("the challenge of the sign-in is no honest one", reason="service")
        return cls(user, *numbers, opaque)


class Proof:
    """One proof of a password.

    Args:
        pool: id of the user pool, such as ``us-east-1_AbCdEfGhI``.
        password: as its owner types it.
        a: the client's private number; random, 256 bits or more.
    """

    def __init__(self, pool: str, password: str, *, a: int) -> None:
        self._pool = pool.partition("_")[2]
        self._password = password
        self._a = a
        self._public = pow(G, a, N)

    @property
    def opening(self) -> str:
        """The client's public number, hexadecimal."""
        return f"{self._public:x}"

    def key(self, challenge: Challenge) -> bytes:
        """The secret that both sides arrive at.

        Raises:
            LinkError: the challenge would make it independent of the password.
        """
        u = digest(padded(self._public), padded(challenge.b))
        if not u:
            raise LinkError("the challenge of the sign-in is no honest one", reason="service")
        secret = hashlib.sha256(f"{self._pool}{challenge.user}:{self._password}".encode()).digest()
        x = digest(padded(challenge.salt), secret)
        shared = pow(challenge.b - K * pow(G, x, N), self._a + u * x, N)
        extracted = hmac.digest(padded(u), padded(shared), "sha256")
        return hmac.digest(extracted, b"Caldera Derived Key\x01", "sha256")[:KEY_SIZE]

    def signature(self, challenge: Challenge, at: str) -> str:
        """What proves the password, base64; ``at`` is the `timestamp` that is sent with it. Raises as `key`."""
        signed = f"{self._pool}{challenge.user}".encode() + challenge.block + at.encode()
        return base64.b64encode(hmac.digest(self.key(challenge), signed, "sha256")).decode()
