"""The simulated user pool and identity pool (`docs/protocol/mysa.md` 1, 14.2 and 14.3).

The user pool proves passwords by SRP and issues tokens, signed with keys made for the occasion and published as a key
set. The identity pool exchanges an id token for AWS credentials, the `Grant`s that WebSockets are opened with.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from navibridge.simulation import Grant
from navibridge.vendors.mysa.simulated.accounts import MFA_CODE, USER_POOL, uuid
from navibridge.vendors.mysa.simulated.verifier import Challenge, is_timestamp, read_number
from navibridge.vendors.mysa.srp import N

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from navibridge.vendors.mysa.simulated.accounts import Account

USER_POOL_HOST: Final = "cognito-idp.us-east-1.amazonaws.com"
IDENTITY_POOL_HOST: Final = "cognito-identity.us-east-1.amazonaws.com"
ISSUER: Final = f"https://{USER_POOL_HOST}/{USER_POOL}"
LOGIN: Final = f"{USER_POOL_HOST}/{USER_POOL}"
KEY_SET_PATH: Final = f"/{USER_POOL}/.well-known/jwks.json"
CLIENT_IDS: Final = ("19efs8tgqe942atbqmot5m36t3", "6cktj934gasnc72f7jo2cmf6rt")
IDENTITY_POOLS: Final = (
    "us-east-1:ebd95d52-9995-45da-b059-56b865a18379",
    "us-east-1:e27f246e-ad23-41ce-ac80-eda86f8be424",
)
"""Those of the app before and since its version 4.11; any pair of them works (`docs/protocol/mysa.md` 1.8)."""

USER_POOL_SERVICE: Final = "AWSCognitoIdentityProviderService"
IDENTITY_POOL_SERVICE: Final = "AWSCognitoIdentityService"
MONTH: Final = 30 * 86_400.0
MOST_KEPT: Final = 1_000
"""Challenges, tokens and credentials of each sort; the oldest are forgotten."""


class Refused(Exception):
    """An answer other than success.

    Attributes:
        sort: what clients tell errors apart by, such as ``NotAuthorizedException``.
        message: for people.
    """

    def __init__(self, sort: str, message: str) -> None:
        super().__init__(message)
        self.sort = sort
        self.message = message


@dataclass(slots=True)
class _Token:
    account: Account
    expires_at: float
    client_id: str = ""
    revoked: bool = False


class Cognito:
    """Both services, for all accounts.

    Args:
        accounts: by e-mail address.
        chance: random choices.
        clock: seconds since the epoch.
        token_seconds: how long id and access tokens last; may be changed while it runs.
        refresh_seconds: how long a refresh token lasts without being used; likewise.
        credential_seconds: how long AWS credentials last; likewise.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        *,
        chance: random.Random,
        clock: Callable[[], float],
        token_seconds: float = 3600,
        refresh_seconds: float = MONTH,
        credential_seconds: float = 3600,
    ) -> None:
        self.token_seconds = token_seconds
        self.refresh_seconds = refresh_seconds
        self.credential_seconds = credential_seconds
        self._accounts = accounts
        self._chance = chance
        self._clock = clock
        self._challenges: dict[bytes, tuple[Account, Challenge]] = {}
        self._sessions: dict[str, Account] = {}
        self._id_tokens: dict[str, _Token] = {}
        self._refresh_tokens: dict[str, _Token] = {}
        self._grants: dict[str, Grant] = {}
        self._signers: dict[str, _Signer] = {}

    def answer(self, target: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out the operation that an ``X-Amz-Target`` header names.

        Raises:
            Refused: it can not be.
        """
        operations: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            f"{USER_POOL_SERVICE}.InitiateAuth": self._initiate,
            f"{USER_POOL_SERVICE}.RespondToAuthChallenge": self._respond,
            f"{IDENTITY_POOL_SERVICE}.GetId": self._get_id,
            f"{IDENTITY_POOL_SERVICE}.GetCredentialsForIdentity": self._get_credentials,
        }
        if target not in operations:
            raise Refused("UnknownOperationException", "The operation is not known.")
        return operations[target](fields)

    def key_set(self) -> dict[str, Any]:
        """The public keys of the tokens' signatures, as a JSON Web Key Set."""
        return {"keys": [self._signer(use).public() for use in ("id", "access")]}

    def account_of(self, id_token: str) -> Account | None:
        """Whose id token it is; ``None`` for one that is not valid, or not any more."""
        token = self._id_tokens.get(id_token)
        return token.account if token is not None and self._clock() < token.expires_at else None

    def grant(self, access_key: str) -> Grant | None:
        """The credentials of an access key id; expired ones too."""
        return self._grants.get(access_key)

    def revoke(self, account: Account) -> None:
        """Every token of the account is void from now on."""
        for token in [token for token, entry in self._id_tokens.items() if entry.account is account]:
            del self._id_tokens[token]
        for entry in self._refresh_tokens.values():
            entry.revoked = entry.revoked or entry.account is account

    def revoke_credentials(self, account: Account) -> None:
        """Every AWS credential of the account is void from now on; open connections stay."""
        for key in [key for key, grant in self._grants.items() if grant.principal == account.principal]:
            del self._grants[key]

    # -- signing in ----------------------------------------------------------------------------------------------

    def _initiate(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        client_id = self._client_id(fields)
        flow, parameters = fields.get("AuthFlow"), _object(fields, "AuthParameters")
        match flow:
            case "USER_SRP_AUTH":
                return self._challenge(parameters)
            case "REFRESH_TOKEN_AUTH" | "REFRESH_TOKEN":
                return self._refresh(client_id, parameters)
            case "USER_PASSWORD_AUTH" | "ADMIN_USER_PASSWORD_AUTH" | "CUSTOM_AUTH" | "USER_AUTH":
                raise Refused("InvalidParameterException", f"{flow} flow not enabled for this client")
        raise Refused("InvalidParameterException", "Missing or unknown parameter AuthFlow")

    def _client_id(self, fields: Mapping[str, Any]) -> str:
        client_id = _text(fields, "ClientId")
        if client_id not in CLIENT_IDS:
            raise Refused("ResourceNotFoundException", f"User pool client {client_id} does not exist.")
        return client_id

    def _challenge(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        account = self._find(_text(parameters, "USERNAME"))
        client_number = read_number(parameters.get("SRP_A"))
        if client_number is None or client_number % N == 0:
            raise Refused("InvalidParameterException", "Missing or invalid parameter SRP_A")
        block = self._chance.randbytes(896)
        challenge = Challenge(account.verifier, client_number, self._chance.getrandbits(1024), block)
        _keep(self._challenges, block, (account, challenge))
        return {
            "ChallengeName": "PASSWORD_VERIFIER",
            "ChallengeParameters": {
                "SALT": account.verifier.salt,
                "SECRET_BLOCK": base64.b64encode(block).decode(),
                "SRP_B": f"{challenge.number:x}",
                "USERNAME": account.user_id,
                "USER_ID_FOR_SRP": account.user_id,
            },
        }

    def _find(self, name: str) -> Account:
        for account in self._accounts.values():
            if name.lower() in (account.email.lower(), account.user_id):
                return account
        raise Refused("UserNotFoundException", "User does not exist.")

    def _respond(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        client_id = self._client_id(fields)
        responses = _object(fields, "ChallengeResponses")
        match fields.get("ChallengeName"):
            case "PASSWORD_VERIFIER":
                account = self._prove_password(responses)
                if account.mfa is not None:
                    return self._ask_code(account)
            case "SOFTWARE_TOKEN_MFA" | "SMS_MFA":
                account = self._prove_code(fields, responses)
            case _:
                raise Refused("InvalidParameterException", "Missing or unknown parameter ChallengeName")
        return self._result(account, client_id, refresh=True)

    def _prove_password(self, responses: Mapping[str, Any]) -> Account:
        account = self._find(_text(responses, "USERNAME"))
        timestamp, signature = _text(responses, "TIMESTAMP"), _text(responses, "PASSWORD_CLAIM_SIGNATURE")
        try:
            block = base64.b64decode(_text(responses, "PASSWORD_CLAIM_SECRET_BLOCK"), validate=True)
        except ValueError as error:
            raise Refused("InvalidParameterException", "Invalid PASSWORD_CLAIM_SECRET_BLOCK") from error
        if not is_timestamp(timestamp):
            words = "TIMESTAMP format should be EEE MMM d HH:mm:ss z yyyy in english"
            raise Refused("InvalidParameterException", words)
        if account.locked:
            raise Refused("LimitExceededException", "Attempt limit exceeded, please try after some time.")
        asked, challenge = self._challenges.pop(block, (None, None))
        if asked is not account or challenge is None or not challenge.accepts(signature, timestamp):
            raise Refused("NotAuthorizedException", "Incorrect username or password.")
        return account

    def _ask_code(self, account: Account) -> dict[str, Any]:
        session = base64.b64encode(self._chance.randbytes(300)).decode()
        _keep(self._sessions, session, account)
        return {"ChallengeName": account.mfa, "Session": session, "ChallengeParameters": {}}

    def _prove_code(self, fields: Mapping[str, Any], responses: Mapping[str, Any]) -> Account:
        account = self._sessions.get(_text(fields, "Session"))
        if account is None:
            raise Refused("NotAuthorizedException", "Invalid session for the user.")
        if responses.get(f"{account.mfa}_CODE") != MFA_CODE:
            raise Refused("CodeMismatchException", "Invalid code received for user")
        del self._sessions[fields["Session"]]
        return account

    def _refresh(self, client_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        token = _text(parameters, "REFRESH_TOKEN")
        entry = self._refresh_tokens.get(token)
        if entry is None or entry.client_id != client_id:
            raise Refused("NotAuthorizedException", "Invalid Refresh Token")
        if entry.revoked:
            raise Refused("NotAuthorizedException", "Refresh Token has been revoked")
        if self._clock() >= entry.expires_at:
            raise Refused("NotAuthorizedException", "Refresh Token has expired")
        self._keep_refresh_token(token, entry.account, client_id)
        return self._result(entry.account, client_id, refresh=False)

    # -- tokens --------------------------------------------------------------------------------------------------

    def _result(self, account: Account, client_id: str, *, refresh: bool) -> dict[str, Any]:
        """The tokens; those issued before stay valid until they expire."""
        now = int(self._clock())
        # Whole seconds, as the token says it, and not fewer than asked for.
        expires_at = now + math.ceil(self.token_seconds)
        shared = {
            "sub": account.user_id,
            "iss": ISSUER,
            "origin_jti": uuid(self._chance),
            "event_id": uuid(self._chance),
            "auth_time": now,
            "iat": now,
            "exp": expires_at,
        }
        for_access = {
            "token_use": "access",
            "client_id": client_id,
            "scope": "aws.cognito.signin.user.admin",
            "username": account.user_id,
            "jti": uuid(self._chance),
        }
        for_id = {
            "token_use": "id",
            "aud": client_id,
            "cognito:username": account.user_id,
            "email": account.email,
            "email_verified": True,
            "jti": uuid(self._chance),
        }
        id_token = self._signer("id").sign(shared | for_id)
        _keep(self._id_tokens, id_token, _Token(account, expires_at))
        tokens: dict[str, Any] = {
            "IdToken": id_token,
            "AccessToken": self._signer("access").sign(shared | for_access),
            "ExpiresIn": expires_at - now,
            "TokenType": "Bearer",
        }
        if refresh:
            tokens["RefreshToken"] = ".".join(
                _base64url(self._chance.randbytes(size)) for size in (60, 256, 12, 980, 16)
            )
            self._keep_refresh_token(tokens["RefreshToken"], account, client_id)
        return {"AuthenticationResult": tokens, "ChallengeParameters": {}}

    def _keep_refresh_token(self, token: str, account: Account, client_id: str) -> None:
        _keep(self._refresh_tokens, token, _Token(account, self._clock() + self.refresh_seconds, client_id))

    def _signer(self, use: str) -> _Signer:
        # Making a key takes a moment, and most simulated clouds in tests never sign anything.
        if use not in self._signers:
            self._signers[use] = _Signer(base64.b64encode(self._chance.randbytes(32)).decode())
        return self._signers[use]

    # -- the identity pool ---------------------------------------------------------------------------------------

    def _get_id(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        pool = _text(fields, "IdentityPoolId")
        if pool not in IDENTITY_POOLS:
            raise Refused("ResourceNotFoundException", f"IdentityPool '{pool}' not found.")
        return {"IdentityId": self._logged_in(fields).identity_id}

    def _get_credentials(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        identity = _text(fields, "IdentityId")
        account = self._logged_in(fields)
        if identity != account.identity_id:
            raise Refused("ResourceNotFoundException", f"Identity '{identity}' not found.")
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        key = "ASIA" + "".join(self._chance.choices(letters, k=16))
        secret = base64.b64encode(self._chance.randbytes(30)).decode()
        session = base64.b64encode(self._chance.randbytes(600)).decode()
        expires_at = float(round(self._clock() + self.credential_seconds, 3))
        _keep(self._grants, key, Grant(secret, session, expires_at, account.principal))
        return {
            "IdentityId": identity,
            "Credentials": {
                "AccessKeyId": key,
                "SecretKey": secret,
                "SessionToken": session,
                "Expiration": expires_at,
            },
        }

    def _logged_in(self, fields: Mapping[str, Any]) -> Account:
        refuse = partial(Refused, "NotAuthorizedException")
        logins = fields.get("Logins")
        if not isinstance(logins, dict) or not logins:
            raise refuse("Unauthenticated access is not supported for this identity pool.")
        token = logins.get(LOGIN)
        if not isinstance(token, str):
            raise refuse("Token is not from a supported provider of this identity pool.")
        entry = self._id_tokens.get(token)
        if entry is None:
            raise refuse("Invalid login token. Not a valid OpenId Connect identity token.")
        if self._clock() >= entry.expires_at:
            raise refuse(f"Invalid login token. Token expired: {int(entry.expires_at)} < {int(self._clock())}")
        return entry.account


class _Signer:
    """One key pair that signs tokens."""

    def __init__(self, name: str) -> None:
        # Part of the extra `demo`, and wanted only here.
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - see above

        self._name = name
        self._key: RSAPrivateKey = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JSON Web Token of these claims."""
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - as in the constructor
        from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415 - as above

        header = {"kid": self._name, "alg": "RS256"}
        signed = f"{_base64url(orjson.dumps(header))}.{_base64url(orjson.dumps(dict(claims)))}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"

    def public(self) -> dict[str, str]:
        """The public key, as a JSON Web Key."""
        numbers = self._key.public_key().public_numbers()
        return {
            "alg": "RS256",
            "e": _base64url(_unsigned(numbers.e)),
            "kid": self._name,
            "kty": "RSA",
            "n": _base64url(_unsigned(numbers.n)),
            "use": "sig",
        }


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    if not isinstance(found, dict):
        raise Refused("InvalidParameterException", f"Missing required parameter {name}")
    return found


def _text(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name)
    if not isinstance(found, str) or not found:
        raise Refused("InvalidParameterException", f"Missing required parameter {name}")
    return found


def _unsigned(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _keep(kept: dict[Any, Any], key: Any, entry: Any) -> None:
    """Put an entry in, and forget the oldest of what would otherwise grow for ever."""
    kept[key] = entry
    while len(kept) > MOST_KEPT:
        del kept[next(iter(kept))]
