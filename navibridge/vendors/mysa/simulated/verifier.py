"""The server's half of Cognito's SRP sign-in (`docs/protocol/mysa.md` 1.2).

The server keeps a verifier instead of the password, and shows nothing that would help to guess it: a client that knows
the password arrives at the same key, and signs with it. It shares nothing but the group with the client's half, so that
one mistake is not made on both sides; an independent client and a vector hold the two together in the tests.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from navibridge.vendors.mysa.srp import G, N

KEY_LABEL: Final = b"Caldera Derived Key\x01"
KEY_SIZE: Final = 16
_DAYS: Final = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTHS: Final = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_TIMESTAMP: Final = re.compile(rf"({_DAYS}) ({_MONTHS}) [1-9]\d? \d\d:\d\d:\d\d UTC \d{{4}}")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{1,1024}")


def read_number(text: object) -> int | None:
    """The integer that a text of hexadecimal digits is; ``None`` for anything else."""
    return int(text, 16) if isinstance(text, str) and _HEX.fullmatch(text) else None


def is_timestamp(text: str) -> bool:
    """Whether a client's time has the only form that is understood: ``Thu Jan 1 00:00:00 UTC 2026``."""
    return _TIMESTAMP.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Verifier:
    """What the server keeps of one user's password.

    Attributes:
        scope: the user pool's suffix, followed by the user's internal name: what all hashes begin with.
        salt: as it is sent, hexadecimal; leading zeros are sent, and count for nothing.
        number: the verifier proper.
    """

    scope: str
    salt: str
    number: int = field(repr=False)

    @classmethod
    def enrol(cls, pool: str, user: str, password: str, salt: str) -> Verifier:
        """Make the verifier of a password.

        Args:
            pool: the user pool's id, such as ``us-east-1_AbCdEfGhI``.
            user: the user's internal name.
            password: is not kept.
            salt: hexadecimal digits.
        """
        scope = pool.partition("_")[2] + user
        secret = hashlib.sha256(f"{scope}:{password}".encode()).digest()
        exponent = _hashed(_padded(int(salt, 16)) + secret)
        return cls(scope, salt, pow(G, exponent, N))


@dataclass(frozen=True, slots=True)
class Challenge:
    """One attempt to sign in, from the server's point of view.

    Attributes:
        verifier: whose attempt it is.
        client_number: ``SRP_A``.
        secret: the server's random exponent.
        block: random bytes that the client must sign.
    """

    verifier: Verifier
    client_number: int
    secret: int = field(repr=False)
    block: bytes = field(repr=False)

    @property
    def number(self) -> int:
        """``SRP_B``."""
        multiplier = _hashed(_padded(N) + bytes((G,)))
        return (multiplier * self.verifier.number + pow(G, self.secret, N)) % N

    def key(self) -> bytes:
        """What a client that knows the password signs with."""
        scrambler = _hashed(_padded(self.client_number) + _padded(self.number))
        shared = pow(self.client_number * pow(self.verifier.number, scrambler, N), self.secret, N)
        extracted = hmac.digest(_padded(scrambler), _padded(shared), "sha256")
        return hmac.digest(extracted, KEY_LABEL, "sha256")[:KEY_SIZE]

    def accepts(self, signature: str, timestamp: str) -> bool:
        """Whether the signature, in base64, was made with the password."""
        try:
            given = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        signed = self.verifier.scope.encode() + self.block + timestamp.encode()
        return hmac.compare_digest(given, hmac.digest(self.key(), signed, "sha256"))


def _hashed(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest(), "big")


def _padded(number: int) -> bytes:
    """An integer's bytes as Cognito hashes them: one zero byte more where the first bit is set."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")
