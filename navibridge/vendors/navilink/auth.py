"""Signing in to NaviLink: tokens with two clocks, renewed under one lock, kept over restarts.

A sign-in grants two things with lifetimes of their own: an access token for REST, which a refresh token renews, and AWS
credentials for the cloud link, which only another sign-in renews (`docs/protocol/navilink.md` 1.4). Every sign-in is
entered in a book in the store: a container that restarts in a loop must not lock its owner's account.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from navibridge.budget import Term
from navibridge.errors import AuthError, LinkError
from navibridge.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.config import Secret
    from navibridge.rest import Answer, Rest
    from navibridge.store import Store

log = logging.getLogger(__name__)

DEFAULT_LIFETIME: Final = 3600.0
"""Seconds; what the service grants, for an answer that does not say."""

SUCCESS: Final = 200
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
BAD_REQUEST: Final = 400
SERVER_ERROR: Final = 500
UNKNOWN_USER: Final = "USER_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one sign-in granted, as renewed since.

    Attributes:
        user_seq: the account's number; part of topics and of the client id.
        user_type: ``O`` owner, ``I`` installer.
        access: the token every REST request carries.
        access_term: its time.
        refresh: renews it.
        access_key: AWS access key id.
        secret_key: AWS secret key.
        session_token: AWS session token.
        aws_term: the time of these three.
    """

    user_seq: int
    user_type: str
    access: str = field(repr=False)
    access_term: Term
    refresh: str = field(repr=False)
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    aws_term: Term

    @classmethod
    def granted(cls, data: Any, now: float) -> Tokens:
        """The tokens of a sign-in's answer (`docs/protocol/navilink.md` 1.3).

        Raises:
            LinkError: the answer lacks something.
        """
        try:
            user, token = data["userInfo"], data["token"]
            return cls(
                user_seq=int(user["userSeq"]),
                user_type=str(user.get("userType") or "O"),
                access=_text(token, "accessToken"),
                access_term=Term(now, _lifetime(token, "authenticationExpiresIn")),
                refresh=str(token.get("refreshToken") or ""),
                access_key=_text(token, "accessKeyId"),
                secret_key=_text(token, "secretKey"),
                session_token=_text(token, "sessionToken"),
                aws_term=Term(now, _lifetime(token, "authorizationExpiresIn")),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The text of a KeyError is a field's name; other texts might quote a value.
            lacking = f": {error}" if isinstance(error, KeyError) else ""
            raise LinkError(f"the answer to the sign-in is incomplete{lacking}", reason="service") from None

    def renewed(self, data: Any, now: float) -> Tokens:
        """These tokens with what a refresh's answer brought; what it lacks stays (`docs/protocol/navilink.md` 1.4).

        Raises:
            LinkError: the answer has no access token.
        """
        try:
            tokens = replace(
                self,
                access=_text(data, "accessToken"),
                access_term=Term(now, _lifetime(data, "authenticationExpiresIn")),
                refresh=str(data.get("refreshToken") or self.refresh),
            )
            if data.get("accessKeyId") and data.get("secretKey") and data.get("sessionToken"):
                tokens = replace(
                    tokens,
                    access_key=_text(data, "accessKeyId"),
                    secret_key=_text(data, "secretKey"),
                    session_token=_text(data, "sessionToken"),
                    aws_term=Term(now, _lifetime(data, "authorizationExpiresIn")),
                )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise LinkError("the answer to the token refresh is incomplete", reason="service") from None
        return tokens

    def dump(self) -> dict[str, Any]:
        """For the store. Holds secrets."""
        return {
            "user_seq": self.user_seq,
            "user_type": self.user_type,
            "access": self.access,
            "access_term": [self.access_term.begins, self.access_term.lasts],
            "refresh": self.refresh,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "session_token": self.session_token,
            "aws_term": [self.aws_term.begins, self.aws_term.lasts],
        }

    @classmethod
    def load(cls, kept: Any) -> Tokens | None:
        """From the store; ``None`` for anything but complete tokens."""
        try:
            return cls(
                user_seq=int(kept["user_seq"]),
                user_type=_text(kept, "user_type"),
                access=_text(kept, "access"),
                access_term=Term(*(float(part) for part in kept["access_term"])),
                refresh=str(kept["refresh"]),
                access_key=_text(kept, "access_key"),
                secret_key=_text(kept, "secret_key"),
                session_token=_text(kept, "session_token"),
                aws_term=Term(*(float(part) for part in kept["aws_term"])),
            )
        except (KeyError, TypeError, ValueError):
            return None


class Auth:
    """The tokens of one account, and the way to get and renew them.

    Args:
        rest: the service; open while anything is asked of it.
        email: the account.
        password: its password.
        store: keeps the tokens and the book of sign-ins.
        account: the account's name in the configuration.
        clock: seconds since the epoch.
        budget: how many sign-ins may happen within `navibridge.budget.BUDGET_PERIOD`.
    """

    def __init__(
        self,
        rest: Rest,
        email: str,
        password: Secret,
        *,
        store: Store,
        account: str,
        clock: Callable[[], float],
        budget: int = 4,
    ) -> None:
        self._rest = rest
        self._email = email
        self._password = password
        self._clock = clock
        self._lock = asyncio.Lock()
        owner = email.strip().lower()
        self._vault = Vault(store, account, owner=owner, load=Tokens.load, allowed=budget, clock=clock)

    @property
    def email(self) -> str:
        """The account; many requests repeat it in their body."""
        return self._email

    async def for_link(self) -> Tokens:
        """Tokens with AWS credentials that will do for opening a link; signs in where needed.

        Raises:
            AuthError: the service refuses the account.
            LinkError: not reachable.
        """
        async with self._lock:
            if self._vault.tokens is None or not self._vault.tokens.aws_term.fresh(self._clock()):
                return await self._sign_in()
            return self._vault.tokens

    def revoke_credentials(self, access_key: str) -> None:
        """The endpoint refused these AWS credentials though they should be good: the next link needs other ones."""
        tokens = self._vault.tokens
        if tokens is not None and tokens.access_key == access_key:
            self._vault.keep(replace(tokens, aws_term=Term(tokens.aws_term.begins, 0.0)))

    async def call(self, method: str, path: str, *, json: object = None, query: Mapping[str, str] | None = None) -> Any:
        """The ``data`` of one request that needs a token, made again once with a new token if the first is refused.

        Raises:
            AuthError: the service refuses the account.
            LinkError: not reachable, or the request itself is refused (``declined``).
        """
        tokens = await self._for_rest(None)
        answer = await self._ask(tokens, method, path, json=json, query=query)
        if _code(answer) in (UNAUTHORIZED, FORBIDDEN):
            tokens = await self._for_rest(tokens.access)
            answer = await self._ask(tokens, method, path, json=json, query=query)
        return _data(answer, path)

    async def try_once(self, method: str, path: str, *, json: object = None) -> Any | None:
        """The ``data`` of a request that third parties are known to be refused; ``None`` when it was (401, 403)."""
        answer = await self._ask(await self._for_rest(None), method, path, json=json)
        return None if _code(answer) in (UNAUTHORIZED, FORBIDDEN) else _data(answer, path)

    async def _ask(
        self,
        tokens: Tokens,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        return await self._rest.request(method, path, json=json, query=query, headers={"authorization": tokens.access})

    async def _for_rest(self, refused: str | None) -> Tokens:
        """Tokens with an access token that is fresh and is not the one just refused."""
        async with self._lock:
            # Looked at inside the lock: whoever waited for it may find the work done.
            tokens = self._vault.tokens
            if tokens is None:
                return await self._sign_in()
            if tokens.access_term.fresh(self._clock()) and tokens.access != refused:
                return tokens
            return await self._renew(tokens)

    async def _renew(self, tokens: Tokens) -> Tokens:
        """Refresh, or sign in when that is refused. Called with the lock held."""
        if not tokens.refresh:
            return await self._sign_in()
        answer = await self._rest.request("POST", "/auth/refresh", json={"refreshToken": tokens.refresh})
        code = _code(answer)
        if BAD_REQUEST <= code < SERVER_ERROR:
            log.info("the service refused to refresh the token (%d); signing in again", code)
            return await self._sign_in()
        renewed = tokens.renewed(_data(answer, "/auth/refresh"), self._clock())
        log.debug("token refreshed")
        return self._vault.keep(renewed)

    async def _sign_in(self) -> Tokens:
        """Sign in with the password. Called with the lock held."""
        with self._vault.sign_in():
            answer = await self._rest.request(
                "POST", "/user/sign-in", json={"userId": self._email, "password": self._password.reveal()}
            )
        code, message = _code(answer), _message(answer)
        if code == SUCCESS:
            tokens = Tokens.granted(_data(answer, "/user/sign-in"), self._clock())
            # The credentials for the link last an hour, and so does each further sign-in: it is no news.
            log.log(logging.INFO if self._vault.tokens is None else logging.DEBUG, "signed in")
            return self._vault.keep(tokens)
        if message == UNKNOWN_USER:
            raise AuthError(
                "NaviLink does not know this e-mail address",
                reason="unknown_user",
                what_to_do="Check the e-mail address in the configuration; it is the one you sign in to the app with.",
            )
        if code == UNAUTHORIZED or "invalid" in message.lower() or "unauthorized" in message.lower():
            raise AuthError(
                "NaviLink refuses this e-mail address and password",
                reason="wrong_password",
                what_to_do="Check the password by signing in to the NaviLink app, correct the configuration, restart.",
            )
        raise LinkError(f"the sign-in failed for now (code {code})", reason="service")


def _text(fields: Any, name: str) -> str:
    """A text that must be there."""
    text = fields[name]
    if not isinstance(text, str) or not text:
        raise KeyError(name)
    return text


def _lifetime(fields: Any, name: str) -> float:
    """A lifetime in seconds; the service sends a number or its text (`docs/protocol/navilink.md` 1.3)."""
    try:
        seconds = float(fields[name])
    except (KeyError, TypeError, ValueError):
        return DEFAULT_LIFETIME
    return seconds if 0 < seconds <= 30 * 86400 else DEFAULT_LIFETIME


def _code(answer: Answer) -> int:
    """The worse of the HTTP status and the body's own ``code``: failures come with 200 too (1.1)."""
    code = answer.body.get("code") if isinstance(answer.body, dict) else None
    if answer.status != SUCCESS or code is None:
        return answer.status
    try:
        return int(code)
    except (TypeError, ValueError):
        return SERVER_ERROR


def _message(answer: Answer) -> str:
    message = answer.body.get("msg") if isinstance(answer.body, dict) else None
    return message if isinstance(message, str) else ""


def _data(answer: Answer, path: str) -> Any:
    """The ``data`` of a successful answer.

    Raises:
        LinkError: ``declined`` for a code of 4xx, else ``service``.
    """
    code = _code(answer)
    if code != SUCCESS:
        declined = BAD_REQUEST <= code < SERVER_ERROR
        raise LinkError(f"NaviLink answered {path} with code {code}", reason="declined" if declined else "service")
    if not isinstance(answer.body, dict):
        raise LinkError(f"NaviLink answered {path} without its envelope", reason="service")
    return answer.body.get("data")
