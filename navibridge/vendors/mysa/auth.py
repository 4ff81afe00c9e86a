"""Signing in to Mysa: an id token for REST, AWS credentials for the links, renewed under one lock, kept over restarts.

A sign-in proves the password and brings an id token of an hour and a refresh token of weeks. The id token is what the
REST service wants to see, and what the identity pool exchanges for AWS credentials (`docs/protocol/mysa.md` 1.1). When
the refresh token has expired too, the account is signed in to again, within a `navibridge.budget.Budget`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from navibridge.budget import Term
from navibridge.diagnosis import Credentials
from navibridge.errors import LinkError, NavibridgeError, Throttled
from navibridge.vault import Vault
from navibridge.vendors.mysa import cognito
from navibridge.vendors.mysa.cognito import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from navibridge.config import Secret
    from navibridge.rest import Answer, Rest
    from navibridge.store import Store
    from navibridge.vendors.mysa.cognito import Exchange, Granted, Keys

log = logging.getLogger(__name__)

T = TypeVar("T")

SUCCESS: Final = 200
CLIENT_ERROR: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403

PRIVATE_BITS: Final = 512
"""Of the random number of a sign-in; twice what the key has that comes out of it."""

_OVER: Final = Term(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Pools:
    """Where and as whom an account signs in.

    Attributes:
        user_pool: id of the user pool.
        client_id: of the vendor's app there.
        identity_pool: id of the identity pool.
        scheme: what goes before the token in the ``Authorization`` header, with its space; the service wants nothing.
    """

    user_pool: str
    client_id: str
    identity_pool: str
    scheme: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was granted, as renewed since.

    Attributes:
        id_token: for REST and the identity pool.
        term: its time.
        refresh: renews it.
        user: the account's id at the vendor.
        login: what the identity pool knows the user pool by.
        identity: the account's identity there; empty before the first credentials.
        access_key: AWS access key id; empty before the first credentials.
        secret_key: AWS secret key.
        session_token: AWS session token.
        aws_term: the time of these three.
    """

    id_token: str = field(repr=False)
    term: Term
    refresh: str = field(repr=False)
    user: str
    login: str
    identity: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    aws_term: Term = field(default=_OVER)

    def renewed(self, granted: Granted, now: float) -> Tokens:
        """These tokens with what a renewal brought; the refresh token stays unless a new one came."""
        return replace(
            self,
            id_token=granted.id_token,
            term=Term(now, granted.lasts),
            refresh=granted.refresh or self.refresh,
            user=granted.user or self.user,
            login=granted.login,
        )

    def with_keys(self, keys: Keys, now: float) -> Tokens:
        """These tokens with new AWS credentials."""
        return replace(
            self,
            identity=keys.identity,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            session_token=keys.session_token,
            aws_term=Term(now, max(0.0, keys.expires_at - now)),
        )

    @property
    def credentials(self) -> Credentials:
        """The AWS credentials as a link is opened with them."""
        return Credentials(self.access_key, self.secret_key, self.session_token, expires_at=self.aws_term.ends)

    def dump(self) -> dict[str, Any]:
        """For the store. Holds secrets."""
        return {
            "id_token": self.id_token,
            "term": [self.term.begins, self.term.lasts],
            "refresh": self.refresh,
            "user": self.user,
            "login": self.login,
            "identity": self.identity,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "session_token": self.session_token,
            "aws_term": [self.aws_term.begins, self.aws_term.lasts],
        }

    @classmethod
    def load(cls, kept: Any) -> Tokens | None:
        """From the store; ``None`` for anything but complete tokens."""
        try:
            term, aws_term = (Term(*(float(part) for part in kept[name])) for name in ("term", "aws_term"))
            texts = {name: kept[name] for name in cls.__slots__ if name not in ("term", "aws_term")}
        except (KeyError, TypeError, ValueError):
            return None
        if not all(isinstance(text, str) for text in texts.values()) or not (texts["id_token"] and texts["login"]):
            return None
        return cls(term=term, aws_term=aws_term, **texts)


class Auth:
    """The tokens of one account, and the way to get and renew them.

    Args:
        api: the vendor's REST service; open while anything is asked of it, as the next two.
        user_pool: Cognito's user pools.
        identity_pool: Cognito's identity pools.
        pools: the ids there.
        email: the account.
        password: its password.
        store: keeps the tokens and the budget.
        account: the account's name in the configuration.
        clock: seconds since the epoch.
        budget: how many sign-ins may happen within `navibridge.budget.BUDGET_PERIOD`.
    """

    def __init__(
        self,
        api: Rest,
        user_pool: Rest,
        identity_pool: Rest,
        *,
        pools: Pools,
        email: str,
        password: Secret,
        store: Store,
        account: str,
        clock: Callable[[], float],
        budget: int = 4,
    ) -> None:
        self._api = api
        self._services = {"user_pool": user_pool, "identity_pool": identity_pool}
        self._pools = pools
        self._email = email
        self._password = password
        self._clock = clock
        self._lock = asyncio.Lock()
        self._failures = 0
        self._failure: NavibridgeError | None = None
        # Tokens of another account, or of other pools, would be refused in confusing ways.
        owner = f"{email.strip().lower()} {pools.user_pool} {pools.client_id} {pools.identity_pool}"
        self._vault = Vault(store, account, owner=owner, load=Tokens.load, allowed=budget, clock=clock)

    @property
    def user(self) -> str:
        """The account's id at the vendor, as the token tells it; empty before the first sign-in."""
        return self._vault.tokens.user if self._vault.tokens is not None else ""

    async def credentials(self) -> Credentials:
        """AWS credentials that will do for opening a link.

        Raises:
            AuthError: the service refuses the account.
            LinkError: not reachable.
        """
        async with self._alone():
            tokens = await self._fresh()
            if tokens.aws_term.fresh(self._clock()):
                return tokens.credentials
            try:
                keys = await self._exchange(tokens)
            except Refused as error:
                if error.asks_for_patience():
                    raise Throttled("the identity pool asks for patience", retry_after=cognito.THROTTLED_FOR) from error
                log.info("the identity pool refused the token (%s); trying again with a new one", error.sort)
                tokens = await self._renew(replace(tokens, identity=""))
                try:
                    keys = await self._exchange(tokens)
                except Refused as again:
                    raise _no_keys(again) from again
            log.debug("new AWS credentials")
            return self._vault.keep(tokens.with_keys(keys, self._clock())).credentials

    def revoke_credentials(self, access_key: str) -> None:
        """The endpoint refused these AWS credentials though they should be good: the next link needs other ones."""
        tokens = self._vault.tokens
        if tokens is not None and tokens.access_key == access_key:
            self._vault.keep(replace(tokens, aws_term=Term(tokens.aws_term.begins, 0.0)))

    async def call(self, method: str, path: str, *, json: object = None) -> Any:
        """The body of one request to the REST service, made again once with a new token if the first is refused.

        Raises:
            AuthError: the service refuses the account.
            LinkError: not reachable, or the request itself is refused (``declined``).
        """
        tokens = await self._for_rest(None)
        answer = await self._ask(tokens, method, path, json)
        if answer.status in (UNAUTHORIZED, FORBIDDEN):
            tokens = await self._for_rest(tokens.id_token)
            answer = await self._ask(tokens, method, path, json)
        if answer.status >= CLIENT_ERROR:
            raise LinkError(f"Mysa answered {method} {path} with status {answer.status}", reason="declined")
        return answer.body

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One at a time; whoever waited while it failed for another is told the same, and does not try at once."""
        failures = self._failures
        async with self._lock:
            if self._failure is not None and self._failures != failures:
                raise self._failure.with_traceback(None)  # it would get longer with everybody who is told
            try:
                yield
            except NavibridgeError as error:
                self._failures, self._failure = self._failures + 1, error
                raise

    async def _ask(self, tokens: Tokens, method: str, path: str, json: object) -> Answer:
        header = {"Authorization": self._pools.scheme + tokens.id_token}
        return await self._api.request(method, path, json=json, headers=header)

    async def _for_rest(self, refused: str | None) -> Tokens:
        """Tokens with an id token that is fresh and is not the one just refused."""
        known = self._vault.tokens
        if known is not None and known.id_token != refused and known.term.fresh(self._clock()):
            return known  # whatever becomes of the credentials that a link waits for at the moment
        async with self._alone():
            # Looked at inside the lock: whoever waited for it may find the work done.
            tokens = await self._fresh()
            return await self._renew(tokens) if tokens.id_token == refused else tokens

    async def _fresh(self) -> Tokens:
        """Tokens with a fresh id token. Called with the lock held, as all below."""
        if self._vault.tokens is None:
            return await self._sign_in()
        if self._vault.tokens.term.fresh(self._clock()):
            return self._vault.tokens
        return await self._renew(self._vault.tokens)

    async def _renew(self, tokens: Tokens) -> Tokens:
        """Use the refresh token, or sign in when it is refused."""
        if not tokens.refresh:
            return await self._sign_in()
        pools = self._pools
        try:
            granted = await self._drive(cognito.renew(pools.user_pool, pools.client_id, tokens.refresh))
        except Refused as error:
            if error.asks_for_patience():
                raise Throttled("Mysa's sign-in asks for patience", retry_after=cognito.THROTTLED_FOR) from error
            log.info("the refresh token is no longer accepted; signing in again")
            return await self._sign_in()
        log.debug("token refreshed")
        return self._vault.keep(tokens.renewed(granted, self._clock()))

    async def _sign_in(self) -> Tokens:
        """Sign in with the password."""
        pools, password = self._pools, self._password.reveal()
        exchange = cognito.sign_in(
            pools.user_pool,
            pools.client_id,
            self._email,
            password,
            a=secrets.randbits(PRIVATE_BITS) | 1 << (PRIVATE_BITS - 1),
            clock=self._clock,
        )
        try:
            with self._vault.sign_in():
                granted = await self._drive(exchange)
        except Refused as error:
            raise cognito.sign_in_refused(error, len(password)) from error
        log.info("signed in")
        now = self._clock()
        tokens = Tokens(granted.id_token, Term(now, granted.lasts), granted.refresh, granted.user, granted.login)
        return self._vault.keep(tokens)

    async def _exchange(self, tokens: Tokens) -> Keys:
        return await self._drive(
            cognito.credentials(self._pools.identity_pool, tokens.login, tokens.id_token, tokens.identity)
        )

    async def _drive(self, exchange: Exchange[T]) -> T:
        """Make the requests that an exchange wants made, one after the other.

        Raises:
            Refused: Cognito said no.
            LinkError: not reachable.
        """
        call = next(exchange)
        while True:
            answer = await self._services[call.service].request("POST", "/", json=call.body, headers=call.headers)
            if answer.status != SUCCESS:
                raise Refused.read(answer.body, answer.status)
            try:
                call = exchange.send(answer.body)
            except StopIteration as end:
                value: T = end.value
                return value


def _no_keys(error: Refused) -> LinkError:
    return LinkError(
        f"no AWS credentials for this account ({error.sort})",
        reason="no_credentials",
        what_to_do="Check identity_pool of the account should it last; without it the known one holds.",
    )
