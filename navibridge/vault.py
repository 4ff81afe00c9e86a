"""What is kept of an account over restarts: its tokens, and the book of its sign-ins, in one section of the store."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from navibridge.budget import Budget
from navibridge.errors import LinkError, Throttled
from navibridge.log import hide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from dataclasses import Field

    from navibridge.store import Store


class Tokens(Protocol):
    """A vendor's tokens: a dataclass that leaves out of its ``repr`` what is secret."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def dump(self) -> Mapping[str, Any]:
        """For the store. Holds secrets."""
        ...


T = TypeVar("T", bound=Tokens)


class Vault(Generic[T]):
    """The tokens of one account. What was kept for another account is not touched, but not used either.

    Args:
        store: keeps them.
        account: the account's name in the configuration.
        owner: tells whose they are; another owner's are not used.
        load: makes tokens of what `Tokens.dump` made; ``None`` of anything else.
        allowed: how many sign-ins may happen within `navibridge.budget.BUDGET_PERIOD`.
        clock: seconds since the epoch.

    Attributes:
        tokens: ``None`` before the first sign-in.
    """

    def __init__(
        self,
        store: Store,
        account: str,
        *,
        owner: str,
        load: Callable[[Any], T | None],
        allowed: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._section = f"{account}-sign-in"
        self._account = account
        self._owner = hashlib.sha256(owner.encode()).hexdigest()[:16]
        self._clock = clock
        kept = store.load(self._section)
        if kept.get("owner") != self._owner:
            kept = {}
        self.tokens = load(kept.get("tokens"))
        self._hide()
        self._budget = Budget(allowed, kept.get("sign_ins"))

    def keep(self, tokens: T) -> T:
        """Use these from now on, after a restart as well."""
        self.tokens = tokens
        self._hide()
        self._save()
        return tokens

    @contextmanager
    def sign_in(self) -> Iterator[None]:
        """A sign-in is made within the block. It is entered before it is made, and given back when nobody judged it.

        Raises:
            Throttled: it would be one too many.
        """
        entry = self._budget.spend(self._clock())
        self._save()
        try:
            yield
        except Throttled:
            raise
        except LinkError:
            self._budget.refund(entry)
            self._save()
            raise

    def _hide(self) -> None:
        if self.tokens is not None:
            secret = (getattr(self.tokens, field.name) for field in fields(self.tokens) if not field.repr)
            hide(self._account, (text for text in secret if text))

    def _save(self) -> None:
        kept: dict[str, Any] = {"owner": self._owner, "sign_ins": self._budget.entries}
        if self.tokens is not None:
            kept["tokens"] = self.tokens.dump()
        self._store.save(self._section, kept)
