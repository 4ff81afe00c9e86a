"""Every error that may reach a person carries the next step."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from navibridge import errors
from navibridge.errors import ADVICE, OTHERWISE, AuthError, LinkError, Throttled

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(errors.__file__).parent


def reasons(node: ast.expr) -> Iterator[str]:
    """The reasons that an expression may be, as far as the source says it."""
    match node:
        case ast.Constant(str(reason)):
            yield reason
        case ast.IfExp():
            yield from reasons(node.body)
            yield from reasons(node.orelse)


def raised_without_advice() -> dict[str, list[str]]:
    """The places that leave the next step to the table, by reason."""
    found: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Name("LinkError"), _, keywords):
                    given = {keyword.arg: keyword.value for keyword in keywords}
                case ast.Call(ast.Name("_finding"), [_, reason, _]):
                    given = {"reason": reason}
                case _:
                    continue
            if "what_to_do" not in given:
                for name in reasons(given.get("reason", ast.Constant("unreachable"))):
                    found.setdefault(name, []).append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    return found


def test_every_reason_has_advice_and_no_advice_is_without_a_reason() -> None:
    raised = raised_without_advice()
    assert {reason: places for reason, places in raised.items() if reason not in ADVICE} == {}
    looked_up = {"dns", "upgrade_refused"}  # by the runtime's name for it, in `navibridge.aws`
    assert ADVICE.keys() - raised.keys() - looked_up == set()


@pytest.mark.parametrize("reason", [*ADVICE, "something new"])
def test_a_link_error_always_says_what_to_do(reason: str) -> None:
    assert LinkError("gone", reason=reason).what_to_do == ADVICE.get(reason, OTHERWISE)
    assert LinkError("gone", reason=reason, what_to_do="Look.").what_to_do == "Look."
    assert ADVICE.get(reason, OTHERWISE).endswith(".")
    assert Throttled("busy", retry_after=1).what_to_do


def test_an_error_for_a_person_can_not_be_made_without_the_next_step() -> None:
    with pytest.raises(TypeError, match="what_to_do"):
        AuthError("refused", reason="wrong_password")  # type: ignore[call-arg]
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "what_to_do" and ast.unparse(node.value) in ("''", "None")
    ]
    assert found == []
