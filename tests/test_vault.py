"""What is kept of an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from navibridge.errors import LinkError, Throttled
from navibridge.store import Store
from navibridge.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Word:
    text: str

    def dump(self) -> dict[str, Any]:
        return {"text": self.text}

    @classmethod
    def load(cls, kept: Any) -> Word | None:
        return cls(kept["text"]) if isinstance(kept, dict) else None


def vault(directory: Path, owner: str = "somebody@example.com", allowed: int = 2) -> Vault[Word]:
    return Vault(Store(directory), "home", owner=owner, load=Word.load, allowed=allowed, clock=lambda: 1000.0)


def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    assert vault(tmp_path).tokens is None
    vault(tmp_path).keep(Word("a token"))
    assert vault(tmp_path).tokens == Word("a token")


def test_another_owners_are_not_used(tmp_path: Path) -> None:
    vault(tmp_path).keep(Word("a token"))
    assert vault(tmp_path, "somebody.else@example.com").tokens is None


def test_the_owner_is_not_told(tmp_path: Path) -> None:
    vault(tmp_path).keep(Word("a token"))
    assert "example.com" not in (tmp_path / "home-sign-in.json").read_text()


def test_a_sign_in_is_entered_before_it_is_made(tmp_path: Path) -> None:
    with vault(tmp_path, allowed=1).sign_in(), pytest.raises(Throttled), vault(tmp_path, allowed=1).sign_in():
        pass


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (LinkError("nobody was there to judge it"), 2),
        (Throttled("it was judged", retry_after=1), 1),
        (ZeroDivisionError(), 1),
    ],
)
def test_what_nobody_judged_is_given_back(tmp_path: Path, error: Exception, left: int) -> None:
    with pytest.raises(type(error)), vault(tmp_path).sign_in():
        raise error
    for _ in range(left):
        with vault(tmp_path).sign_in():
            pass
    with pytest.raises(Throttled), vault(tmp_path).sign_in():
        pass
