"""Every warning and every error in the package's log says what to do; what runs is held to it in `faults/long_life`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.advice import says_what_to_do

PACKAGE = Path(__file__).parent.parent / "navibridge"
LEVELS = ("WARNING", "ERROR", "CRITICAL")
METHODS = ("warning", "error", "exception", "critical")
LOGGERS = ("log", "logger", "_log", "_LOGGER")
TOLD = ("what_to_do", "advice", "ADVICE")
"""What an argument is called that holds the next step; exceptions that reach a person have one by their constructor."""


class Calls(ast.NodeVisitor):
    """Log calls of WARNING and above in one module: line number, text, and whether an argument has the next step."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[int, str, bool]] = []
        self._texts = {
            target.id: node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name) and isinstance(node.value.value, str)
        }
        self.visit(tree)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        if not isinstance(node.func, ast.Attribute):
            return
        owner = node.func.value
        name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
        if name in LOGGERS and node.func.attr in METHODS:
            self._take(node, node.args)
        elif name in LOGGERS and node.func.attr == "log":
            level, *rest = node.args
            if _may_be_loud(level) and not _is_transition(rest):
                self._take(node, rest)
        elif node.func.attr == "say" and any(_is_loud(argument) for argument in node.args[1:2]):
            self._take(node, node.args[2:])

    def _take(self, node: ast.Call, arguments: list[ast.expr]) -> None:
        message, *values = arguments
        if isinstance(message, ast.Name):
            text = self._texts[message.id]
        else:
            assert isinstance(message, ast.Constant), ast.dump(message)
            text = message.value
        told = any(ast.unparse(value).split(".")[-1].endswith(TOLD) for value in values)
        self.found.append((node.lineno, text, told))


def _is_loud(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in LEVELS


def _may_be_loud(level: ast.expr) -> bool:
    """Whether a level is not for certain one below WARNING."""
    named = {node.attr for node in ast.walk(level) if isinstance(node, ast.Attribute)}
    return not named or bool(named & {*LEVELS})


def _is_transition(nodes: list[ast.expr]) -> bool:
    """Words that `Transitions` was given, and which are looked at where it was given them."""
    return ast.unparse(nodes[0]) in ("message", "OFTEN")


def calls_of(path: Path) -> list[tuple[int, str, bool]]:
    return Calls(ast.parse(path.read_text())).found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_warning_says_what_to_do(path: Path) -> None:
    silent = [f"{line}: {text}" for line, text, told in calls_of(path) if not told and not says_what_to_do(text)]
    assert not silent


def test_the_calls_are_found() -> None:
    assert sum(len(calls_of(path)) for path in PACKAGE.rglob("*.py")) > 20


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("the broker is gone (tried again by itself, next in 3 s)", True),
        ("the broker is gone. Check broker.host", True),
        ("it is damaged; set state_dir to another one", True),
        ("it does not answer. Nothing; outages pass", True),
        ("the broker is gone", False),
        ("the start of the check failed", False),
        ("the settings are wrong", False),
    ],
)
def test_the_rule(text: str, good: bool) -> None:
    assert says_what_to_do(text) is good
