"""Signing and checking AWS IoT's WebSocket URL, against vectors of independent signers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navibridge import sigv4
from navibridge.sigv4 import Refusal

SAMPLES = Path(__file__).parent / "samples"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp()
LATER = NOW + 3600


def vectors() -> list[Any]:
    """Each: credentials, host, X-Amz-Expires, headers received (None where we sign in the same form), URL."""
    navilink = json.loads((SAMPLES / "navilink/sigv4_presign_vectors.json").read_text())
    inputs = navilink["inputs"]
    keys = {"access_key": inputs["ak"], "secret_key": inputs["sk"], "session_token": inputs["tok"]}
    found = []
    for vector in navilink["vectors"]:
        host, expires = vector["host_header"], vector["x_amz_expires"]
        name = f"navilink-{'port' if ':' in host else 'host'}-{expires}"
        found.append(pytest.param(keys, host, expires, None, vector["url"], id=name))
    found.extend(
        pytest.param(keys, vector["headers"]["host"], None, vector["headers"], vector["url"], id="aws-c-runtime")
        for vector in navilink["verifier_vectors"]
    )
    mysa = json.loads((SAMPLES / "mysa/sigv4_vector.json").read_text())
    keys = {
        "access_key": mysa["access_key_id"],
        "secret_key": mysa["secret_key"],
        "session_token": mysa["session_token"],
    }
    for name, expires in (("without_expires", None), ("with_expires_86400", 86400)):
        url = mysa[name]["url"]
        host = url.removeprefix("wss://").partition("/")[0]
        found.append(pytest.param(keys, host, expires, None, url, id=f"mysa-{name}"))
    return found


KEYS = {
    "access_key": "ASIAEXAMPLE",
    "secret_key": "wJalr/secret+key",
    "session_token": "FAKE+SESSION/TOKEN==",
}
HOST = "iot.example"


def query_of(url: str) -> str:
    return url.partition("?")[2]


def signed(**changes: Any) -> str:
    arguments: dict[str, Any] = KEYS | {"region": "us-east-1", "now": NOW} | changes
    return query_of(sigv4.presign(HOST, **arguments))


def verdict(query: str, **changes: Any) -> Refusal | None:
    arguments: dict[str, Any] = {
        "headers": {"host": HOST},
        "secret_key": KEYS["secret_key"],
        "session_token": KEYS["session_token"],
        "expires_at": LATER,
        "now": NOW,
    }
    return sigv4.verify(query, **(arguments | changes))


@pytest.mark.parametrize(("keys", "host", "expires", "headers", "url"), vectors())
def test_a_vector_is_made_and_accepted(
    keys: dict[str, str], host: str, expires: int | None, headers: dict[str, str] | None, url: str
) -> None:
    if headers is None:
        assert sigv4.presign(host, **keys, region="us-east-1", now=NOW, expires=expires) == url
    assert sigv4.access_key_of(query_of(url)) == keys["access_key"]
    received = {"user-agent": "any"} | (headers or {"host": host})
    secrets = {"secret_key": keys["secret_key"], "session_token": keys["session_token"]}
    times = {"expires_at": LATER, "now": NOW}
    assert sigv4.verify(query_of(url), headers=received, **secrets, **times) is None
    assert sigv4.verify(query_of(url), headers=received, **secrets, **times, region="eu-west-1") is Refusal.SCOPE


def test_position_order_and_case_of_escapes_mean_nothing() -> None:
    parts = signed().replace("%2F", "%2f").split("&")
    assert verdict("&".join(reversed(parts))) is None
    assert verdict("&".join(sorted(parts, key=lambda part: "Token" not in part))) is None


def test_a_signed_header_is_trimmed_and_its_spaces_collapsed_but_its_case_kept() -> None:
    url = next(param for param in vectors() if param.id == "aws-c-runtime").values
    keys, headers, query = url[0], url[3], query_of(url[4])
    secrets = {"secret_key": keys["secret_key"], "session_token": keys["session_token"]}
    assert verdict(query, headers=headers | {"connection": "  Upgrade  "}, **secrets) is None
    assert verdict(query, headers=headers | {"connection": "upgrade"}, **secrets) is Refusal.SIGNATURE
    assert verdict(query, headers={"host": headers["host"]}, **secrets) is Refusal.MALFORMED


@pytest.mark.parametrize(
    ("query", "changes", "refusal"),
    [
        (signed(), {"headers": {"host": "other.example"}}, Refusal.SIGNATURE),
        (signed(), {"headers": {}}, Refusal.MALFORMED),
        (signed(), {"path": "/other"}, Refusal.SIGNATURE),
        (signed(), {"method": "POST"}, Refusal.SIGNATURE),
        (signed(secret_key="another"), {}, Refusal.SIGNATURE),
        (signed(session_token="another"), {}, Refusal.TOKEN),
        (signed().rpartition("&")[0], {}, Refusal.TOKEN),
        (signed() + "&X-Amz-Date=20260115T120000Z", {}, Refusal.MALFORMED),
        (signed() + "&extra=1", {}, Refusal.SIGNATURE),
        (signed().replace("us-east-1", "eu-west-1"), {}, Refusal.SIGNATURE),
        (signed(region="eu-west-1"), {}, None),
        (signed(region="eu-west-1"), {"region": "us-east-1"}, Refusal.SCOPE),
        (signed().replace("iotdevicegateway", "iot"), {}, Refusal.SCOPE),
        (signed().replace("T120000Z", "T12"), {}, Refusal.MALFORMED),
        (signed().replace("AWS4-HMAC", "AWS5-HMAC"), {}, Refusal.MALFORMED),
        (signed(), {"now": NOW + 300}, None),
        (signed(), {"now": NOW + 301}, Refusal.DATE),
        (signed(), {"now": NOW - 301}, Refusal.DATE),
        (signed(expires=60), {"now": NOW + 60}, None),
        (signed(expires=60), {"now": NOW + 61}, Refusal.EXPIRED),
        (signed(expires=86_400), {"now": NOW + 301}, Refusal.DATE),
        (signed(expires=86_401), {}, Refusal.MALFORMED),
        (signed(expires=0), {}, Refusal.MALFORMED),
        (signed(expires=-1), {}, Refusal.MALFORMED),
        (signed(), {"expires_at": NOW}, Refusal.CREDENTIALS_EXPIRED),
        (signed(), {"expires_at": NOW + 1}, None),
        ("", {}, Refusal.MALFORMED),
        ("X-Amz-Credential", {}, Refusal.MALFORMED),
        ("&&=&==", {}, Refusal.MALFORMED),
    ],
)
def test_what_is_refused_and_why(query: str, changes: dict[str, Any], refusal: Refusal | None) -> None:
    assert verdict(query, **changes) is refusal


def test_a_token_inside_the_signature_is_refused_and_named() -> None:
    """As an ordinary signer makes it: botocore puts the token into the query before it signs."""
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - after the check that it is there
    from botocore.credentials import Credentials  # noqa: PLC0415 - as above

    keys = Credentials(KEYS["access_key"], KEYS["secret_key"], KEYS["session_token"])
    request = AWSRequest("GET", f"https://{HOST}/mqtt")
    auth.SigV4QueryAuth(keys, sigv4.SERVICE, "us-east-1", expires=60).add_auth(request)
    date = request.url.partition("X-Amz-Date=")[2].partition("&")[0]
    now = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    assert verdict(query_of(request.url), now=now, expires_at=now + 1) is Refusal.TOKEN_SIGNED


def test_one_flipped_character_anywhere_is_refused() -> None:
    query = signed()
    for place, letter in enumerate(query):
        changed = query[:place] + ("A" if letter != "A" else "B") + query[place + 1 :]
        assert verdict(changed) is not None, f"accepted with {letter!r} changed at {place}"


@given(st.text(st.characters()), st.text(st.characters()))
def test_anything_gets_a_verdict(text: str, value: str) -> None:
    assert verdict(text) is not None
    assert verdict(signed() + text, headers={"host": value}) is not None or (not text and value == HOST)
    sigv4.access_key_of(text)


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 4_000_000_000))
def test_what_is_signed_is_accepted(secret: str, token: str, now: int) -> None:
    query = query_of(
        sigv4.presign(
            HOST, access_key="ASIAEXAMPLE", secret_key=secret, session_token=token, region="eu-west-1", now=now
        )
    )
    assert verdict(query, secret_key=secret, session_token=token, now=now, expires_at=now + 1) is None
