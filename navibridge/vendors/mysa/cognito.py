"""Amazon Cognito's calls, without the network (`docs/protocol/mysa.md` 1.2 to 1.4).

Each exchange is a generator: it yields a `Call`, is sent the object that came back, and returns what it was all for.
Whoever drives it makes the requests and throws a `Refused` in where the service says no.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

import orjson

from navibridge.errors import AuthError, LinkError, NavibridgeError, Throttled, counted
from navibridge.vendors.mysa import srp

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

CONTENT_TYPE: Final = "application/x-amz-json-1.1"
PASSWORD_VERIFIER: Final = "PASSWORD_VERIFIER"  # noqa: S105 - the name of a challenge
NEW_PASSWORD: Final = "NEW_PASSWORD_REQUIRED"  # noqa: S105 - as above

DEFAULT_LIFETIME: Final = 3600.0
LONGEST_LIFETIME: Final = 30 * 86_400.0
"""Seconds; for an answer that does not say, and beyond which it can not be meant."""

THROTTLED_FOR: Final = 300.0
LOCKED_FOR: Final = 900.0
"""Seconds to leave the service alone when it asks for patience, and when it has locked the account for a while."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to Cognito.

    Attributes:
        service: which of its two services.
        operation: such as ``InitiateAuth``.
        body: its JSON.
    """

    service: Literal["user_pool", "identity_pool"]
    operation: str
    body: Mapping[str, Any] = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What names the operation."""
        return {"X-Amz-Target": f"{_SERVICES[self.service]}.{self.operation}", "Content-Type": CONTENT_TYPE}


_SERVICES: Final = {
    "user_pool": "AWSCognitoIdentityProviderService",
    "identity_pool": "AWSCognitoIdentityService",
}

Exchange: TypeAlias = Generator[Call, Any, T]


class Refused(NavibridgeError):
    """Cognito said no; what that means depends on what it was asked for.

    Attributes:
        sort: the service's own name of the reason, such as ``NotAuthorizedException``.
    """

    def __init__(self, sort: str, message: str) -> None:
        super().__init__(f"{sort}: {message}")
        self.sort = sort

    @classmethod
    def read(cls, body: Any, status: int) -> Refused:
        """The refusal in the body of an answer with a status of 4xx."""
        found = body if isinstance(body, dict) else {}
        sort = str(found.get("__type") or f"status {status}").rpartition("#")[2]
        return cls(sort, str(found.get("message") or found.get("Message") or ""))

    def asks_for_patience(self) -> bool:
        """Whether the same may be granted in some minutes."""
        return self.sort in _BUSY


_BUSY: Final = frozenset({"TooManyRequestsException", "LimitExceededException", "ThrottlingException"})
_TOO_OFTEN: Final = "attempts exceeded"


# --- the user pool ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    """What a sign-in or a renewal brought.

    Attributes:
        id_token: what the REST service and the identity pool want to see.
        refresh: renews it; empty when the old one stays.
        lasts: seconds that the id token is good for.
        user: the account's id at the vendor.
        login: what the identity pool knows the user pool by.
    """

    id_token: str = field(repr=False)
    refresh: str = field(repr=False)
    lasts: float
    user: str
    login: str


def sign_in(
    pool: str, client_id: str, email: str, password: str, *, a: int, clock: Callable[[], float]
) -> Exchange[Granted]:
    """Prove the password.

    Args:
        pool: id of the user pool.
        client_id: of the vendor's app.
        email: the account.
        password: its password; does not leave this machine.
        a: random number of 256 bits or more.
        clock: seconds since the epoch.

    Raises:
        AuthError: the account wants more than a password.
        LinkError: an answer can not be read.
    """
    proof = srp.Proof(pool, password, a=a)
    opened = yield Call(
        "user_pool",
        "InitiateAuth",
        {
            "AuthFlow": "USER_SRP_AUTH",
            "ClientId": client_id,
            "AuthParameters": {"USERNAME": email, "SRP_A": proof.opening},
        },
    )
    if _text(opened, "ChallengeName") != PASSWORD_VERIFIER:
        raise _wants_more(_text(opened, "ChallengeName"))
    asked = opened.get("ChallengeParameters")
    user = _text(asked, "USER_ID_FOR_SRP")
    block = _text(asked, "SECRET_BLOCK")
    challenge = srp.Challenge.read(user, _text(asked, "SALT"), _text(asked, "SRP_B"), block)
    at = srp.timestamp(clock())
    proven = yield Call(
        "user_pool",
        "RespondToAuthChallenge",
        {
            "ChallengeName": PASSWORD_VERIFIER,
            "ClientId": client_id,
            "ChallengeResponses": {
                "USERNAME": user,
                "PASSWORD_CLAIM_SECRET_BLOCK": block,
                "PASSWORD_CLAIM_SIGNATURE": proof.signature(challenge, at),
                "TIMESTAMP": at,
            },
        },
    )
    return _granted(proven, pool)


def renew(pool: str, client_id: str, refresh: str) -> Exchange[Granted]:
    """Get a new id token for a refresh token. Raises as `sign_in`."""
    renewed = yield Call(
        "user_pool",
        "InitiateAuth",
        {"AuthFlow": "REFRESH_TOKEN_AUTH", "ClientId": client_id, "AuthParameters": {"REFRESH_TOKEN": refresh}},
    )
    return _granted(renewed, pool)


def _granted(answer: Any, pool: str) -> Granted:
    result = answer.get("AuthenticationResult") if isinstance(answer, dict) else None
    if not isinstance(result, dict):
        raise _wants_more(_text(answer, "ChallengeName"))
    id_token = _text(result, "IdToken")
    found = claims(id_token)
    refresh = result.get("RefreshToken")
    issuer = str(found.get("iss") or f"https://cognito-idp.{pool.partition('_')[0]}.amazonaws.com/{pool}")
    return Granted(
        id_token,
        refresh if isinstance(refresh, str) else "",
        _lifetime(result.get("ExpiresIn"), found),
        str(found.get("sub") or found.get("cognito:username") or ""),
        issuer.removeprefix("https://"),
    )


def claims(token: str) -> dict[str, Any]:
    """What a token says of itself; empty for one that can not be read. Its signature is the services' business."""
    _, _, rest = token.partition(".")
    payload, _, _ = rest.partition(".")
    try:
        found = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lifetime(said: object, found: Mapping[str, Any]) -> float:
    """Seconds; the difference of the claims counts where the answer does not say, so that no clock is trusted."""
    begins, ends = found.get("iat"), found.get("exp")
    inside = ends - begins if isinstance(begins, int | float) and isinstance(ends, int | float) else None
    for seconds in (said, inside):
        if isinstance(seconds, int | float) and 0 < seconds <= LONGEST_LIFETIME:
            return float(seconds)
    return DEFAULT_LIFETIME


# --- the identity pool ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keys:
    """Temporary AWS credentials.

    Attributes:
        identity: whom they were issued to.
        access_key: AWS access key id.
        secret_key: AWS secret key.
        session_token: AWS session token.
        expires_at: seconds since the epoch, by the service's clock.
    """

    identity: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: float


def credentials(identity_pool: str, login: str, id_token: str, identity: str) -> Exchange[Keys]:
    """Exchange an id token for AWS credentials.

    Args:
        identity_pool: its id.
        login: what it knows the user pool by.
        id_token: of the account.
        identity: the account's identity, if it is known; it never changes.

    Raises:
        LinkError: an answer can not be read.
    """
    logins = {login: id_token}
    if not identity:
        found = yield Call("identity_pool", "GetId", {"IdentityPoolId": identity_pool, "Logins": logins})
        identity = _text(found, "IdentityId")
    answer = yield Call("identity_pool", "GetCredentialsForIdentity", {"IdentityId": identity, "Logins": logins})
    keys = answer.get("Credentials") if isinstance(answer, dict) else None
    expires_at = keys.get("Expiration") if isinstance(keys, dict) else None
    if not isinstance(expires_at, int | float):
        raise LinkError("the answer with the AWS credentials is incomplete: Expiration", reason="service")
    return Keys(
        identity, _text(keys, "AccessKeyId"), _text(keys, "SecretKey"), _text(keys, "SessionToken"), float(expires_at)
    )


def _text(fields: Any, name: str) -> str:
    """A text that must be there."""
    text = fields.get(name) if isinstance(fields, dict) else None
    if not isinstance(text, str) or not text:
        raise LinkError(f"Cognito's answer is incomplete: {name}", reason="service")
    return text


# --- refusals in words ------------------------------------------------------------------------------------------------


def sign_in_refused(error: Refused, password_length: int) -> NavibridgeError:
    """What a refused sign-in means (`docs/protocol/mysa.md` 1.6).

    Args:
        error: what the service said.
        password_length: characters of the password as it arrived here; the only thing that is told of it.
    """
    if error.asks_for_patience():
        return Throttled("Mysa's sign-in asks for patience", retry_after=THROTTLED_FOR)
    if error.sort == "NotAuthorizedException" and _TOO_OFTEN in str(error).lower():
        return Throttled("Mysa has locked this account for a while after too many attempts", retry_after=LOCKED_FOR)
    reason = _REASONS.get(error.sort)
    if reason is None:
        return LinkError(f"the sign-in failed for now ({error.sort})", reason="service")
    sentence, what_to_do = _WORDS[reason]
    return AuthError(
        sentence.format(length=counted(password_length, "character"), sort=error.sort),
        reason=reason,
        what_to_do=what_to_do,
    )


_REASONS: Final = {
    "NotAuthorizedException": "wrong_password",
    "UserNotFoundException": "unknown_user",
    "PasswordResetRequiredException": "new_password",
    "UserNotConfirmedException": "unconfirmed",
    "InvalidParameterException": "misconfigured",
    "ResourceNotFoundException": "misconfigured",
    "InvalidUserPoolConfigurationException": "misconfigured",
}
_WORDS: Final = {
    "wrong_password": (
        "Mysa refuses this e-mail address and password (a password of {length} arrived here)",
        (
            "Check the password by signing in to the Mysa app. If it has another length than told here, it was mangled "
            "on its way: put it between quotes, and write $$ for $ in a Compose file. Then restart."
        ),
    ),
    "unknown_user": (
        "Mysa does not know this e-mail address",
        "Check the e-mail address in the configuration; it is the one you sign in to the app with.",
    ),
    "new_password": (
        "Mysa wants a new password to be set for this account",
        "Sign in to the Mysa app, set the new password, put it into the configuration, restart.",
    ),
    "unconfirmed": (
        "this Mysa account was never confirmed",
        "Open the link in the e-mail that Mysa sent when the account was made, then restart.",
    ),
    "misconfigured": (
        "Mysa's sign-in does not know this client ({sort})",
        "Check user_pool, client_id and identity_pool of the account; without them the known ones hold.",
    ),
    "mfa": (
        "Mysa wants a second proof besides the password ({sort}), which a bridge can not give",
        "Switch multi-factor sign-in off for this account, or share the home with an account without it.",
    ),
}
"""Reason to what is said and what can be done; the lengths and the service's own word are filled in."""


def _wants_more(challenge: str) -> AuthError:
    reason = "new_password" if challenge == NEW_PASSWORD else "mfa"
    sentence, what_to_do = _WORDS[reason]
    return AuthError(sentence.format(sort=challenge), reason=reason, what_to_do=what_to_do)
