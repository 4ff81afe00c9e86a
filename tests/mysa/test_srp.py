"""The client's half of SRP: held to a vector, and to an independent client of the same service."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycognito import aws_srp

from navibridge.errors import LinkError
from navibridge.vendors.mysa import srp

VECTOR = json.loads((Path(__file__).parent.parent / "samples" / "mysa" / "srp_vector.json").read_text())
CHALLENGE = srp.Challenge.read(VECTOR["user_id_for_srp"], VECTOR["salt"], VECTOR["B"], VECTOR["secret_block_b64"])


def proof(password: str = VECTOR["password"]) -> srp.Proof:
    return srp.Proof(VECTOR["pool_id"], password, a=int(VECTOR["a"], 16))


def test_the_vector() -> None:
    assert f"{srp.K:x}" == VECTOR["k"]
    assert proof().opening == VECTOR["A"]
    assert proof().key(CHALLENGE).hex() == VECTOR["hkdf_key"]
    assert proof().signature(CHALLENGE, VECTOR["timestamp"]) == VECTOR["password_claim_signature"]


def test_another_password_makes_another_signature() -> None:
    assert proof("correct horse 8").signature(CHALLENGE, VECTOR["timestamp"]) != VECTOR["password_claim_signature"]


@settings(max_examples=25, deadline=None)
@given(
    password=st.text(min_size=1, max_size=40),
    salt=st.integers(min_value=1, max_value=2**128),
    a=st.integers(min_value=2**255, max_value=2**256),
    b=st.integers(min_value=1, max_value=srp.N - 1),
)
def test_an_independent_client_arrives_at_the_same_key(password: str, salt: int, a: int, b: int) -> None:
    other = aws_srp.AWSSRP("owner@example.com", password, VECTOR["pool_id"], "client", client=object())
    other.small_a_value, other.large_a_value = a, pow(2, a, srp.N)
    mine = srp.Proof(VECTOR["pool_id"], password, a=a)
    challenge = srp.Challenge("sim-user", salt, b, b"block")
    theirs = other.get_password_authentication_key("sim-user", password, b, f"{salt:x}")
    assert mine.key(challenge) == theirs


def test_odd_digits_and_leading_zeros_are_one_number() -> None:
    texts = [VECTOR["salt"], f"0{VECTOR['salt']}", f"000{VECTOR['salt']}"]
    read = [srp.Challenge.read("u", text, VECTOR["B"], "") for text in texts]
    assert len({challenge.salt for challenge in read}) == 1


@pytest.mark.parametrize(
    ("salt", "b", "block"),
    [
        ("xyz", "1", ""),
        ("", "1", ""),
        ("1", "not hex", ""),
        ("1", "1", "***"),
        ("1", "0", ""),
        ("1", f"{srp.N:x}", ""),
        ("-1", "1", ""),
        ("1", "f" * 4000, ""),
    ],
)
def test_a_dishonest_or_damaged_challenge_is_refused(salt: str, b: str, block: str) -> None:
    with pytest.raises(LinkError):
        srp.Challenge.read("user", salt, b, block)


def test_the_timestamp_is_english_and_has_no_leading_zero() -> None:
    assert srp.timestamp(1_768_478_400.9) == VECTOR["timestamp"]
    assert srp.timestamp(1_767_225_600) == "Thu Jan 1 00:00:00 UTC 2026"
    assert srp.timestamp(1_798_761_599) == "Thu Dec 31 23:59:59 UTC 2026"


def test_nothing_secret_in_a_challenge_s_repr() -> None:
    assert base64.b64decode(VECTOR["secret_block_b64"]).decode() not in repr(CHALLENGE)
