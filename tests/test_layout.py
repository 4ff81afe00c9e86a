"""Who may import whom: what keeps I/O out of the codecs and the vendors out of the core."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "navibridge"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = (
    {"errors"},
    {"model", "budget", "backoff"},
    {"state", "topics"},
    {
        "config",
        "sources",
        "mistakes",
        "store",
        "log",
        "discovery",
        "metrics",
        "capture",
        "commands",
        "sigv4",
        "simulation",
        "sockets",
        "tasks",
    },
    {
        "retry",
        "doubts",
        "diagnosis",
        "aws",
        "rest",
        "network",
        "recording",
        "broker",
        "web",
        "transitions",
        "virtual",
        "usage",
        "outbox",
        "intake",
        "vault",
    },
    {"vendors"},
    {"account", "announce", "dispatch"},
    {"lookaround", "requests", "status"},
    {"publisher"},
    {"fleet"},
    {"bridge"},
    {"replay"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
"""From the inside out: a module imports from its own layer and those before it."""

PURE = {
    "errors",
    "model",
    "budget",
    "backoff",
    "state",
    "topics",
    "discovery",
    "metrics",
    "capture",
    "commands",
    "sigv4",
    "announce",
    "status",
}
"""No I/O, no event loop, no logging; the clock is handed in."""

LIBRARIES = {
    "awscrt": {"aws"},
    "awsiot": {"aws"},
    "aiomqtt": {"broker"},
    "paho": {"broker"},
    "aiohttp": {"rest", "demo.cloud", "web"},
    "prometheus_client": {"metrics"},
    "tenacity": {"retry"},
    "yaml": {"sources", "config"},
    "pydantic": {"config"},
    "typer": {"cli"},
    "trustme": {"demo.cloud"},
}
"""The only places that know a library; in a package, every module of it."""

EFFECTS = {"asyncio", "logging", "os", "socket", "ssl", "time", "random", "threading", "subprocess", "pathlib"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "navibridge"


def imports_of(path: Path) -> set[str]:
    """Every module that the file imports at run time, as `navibridge.x.y` or a library's name; type checks aside."""
    found: set[str] = set()

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:
            if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
                self.generic_visit(node)

        def visit_Import(self, node: ast.Import) -> None:
            found.update(alias.name for alias in node.names)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            assert node.level == 0, f"{path}: relative import"
            if node.module == "navibridge":
                found.update(f"navibridge.{alias.name}" for alias in node.names if alias.name != "__version__")
            elif node.module is not None:
                found.add(node.module)
                if node.module.startswith("navibridge.vendors"):
                    found.update(f"{node.module}.{alias.name}" for alias in node.names)

    Visitor().visit(ast.parse(path.read_text()))
    return found


def layer_of(module: str) -> int:
    top = module.split(".", maxsplit=1)[0]
    return next(number for number, layer in enumerate(LAYERS) if top in layer)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_inwards_only(path: Path) -> None:
    module = name_of(path)
    if module == "navibridge":
        return
    for target in imports_of(path):
        if target.startswith("navibridge."):
            inner = target.removeprefix("navibridge.")
            assert layer_of(inner) <= layer_of(module), f"{module} imports {inner}"


def test_no_two_modules_need_each_other() -> None:
    needs = {
        name_of(path): {target.removeprefix("navibridge.") for target in imports_of(path)} - {name_of(path)}
        for path in MODULES
        if path.parent == PACKAGE  # inside a folder, what it exports needs its parts, and these need the folder
    }
    while free := {module for module, needed in needs.items() if not needed & needs.keys()}:
        needs = {module: needed for module, needed in needs.items() if module not in free}
    assert not needs, "in a circle, or in need of one"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nobody_reaches_into_what_is_another_s_own(path: Path) -> None:
    tree = [*ast.walk(ast.parse(path.read_text()))]
    own = {
        node.attr
        for node in tree
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    } | {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in tree:
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            assert node.attr in own, f"{path}:{node.lineno} {ast.unparse(node)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_library_is_known_in_one_place(path: Path) -> None:
    module = name_of(path)
    for target in imports_of(path):
        allowed = LIBRARIES.get(target.split(".", maxsplit=1)[0])
        if allowed is None:
            continue
        # A vendor's own Settings extend the configuration's models.
        exempt = target.startswith("pydantic") and module.startswith("vendors.")
        assert exempt or any(module == home or module.startswith(f"{home}.") for home in allowed), (
            f"{module} imports {target}"
        )


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path) in PURE], ids=name_of)
def test_pure_modules_have_no_effects(path: Path) -> None:
    assert not imports_of(path) & EFFECTS


def vendor_modules() -> list[Path]:
    return [path for path in MODULES if path.parent.parent.name == "vendors"]


EFFECTFUL = {"__init__", "auth", "api", "session", "link"}
"""The modules of a vendor that may wait, log and look at the clock; all others are pure."""


@pytest.mark.parametrize("path", [path for path in vendor_modules() if path.stem not in EFFECTFUL], ids=name_of)
def test_frames_and_tables_of_a_vendor_have_no_effects(path: Path) -> None:
    assert not imports_of(path) & EFFECTS


@pytest.mark.parametrize("path", vendor_modules(), ids=name_of)
def test_a_vendor_knows_neither_the_local_side_nor_another_vendor(path: Path) -> None:
    vendor = path.parent.name
    local = {"broker", "topics", "discovery", "bridge", "announce", "dispatch", "account", "demo", "cli", "commands"}
    for target in imports_of(path):
        inner = target.removeprefix("navibridge.").split(".")
        if target.startswith("navibridge."):
            assert inner[0] not in local, f"{path} imports {target}"
            assert inner[0] != "vendors" or len(inner) == 1 or inner[1] in (vendor, "Context", "Server"), (
                f"{path}: {target}"
            )


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "vendors" not in path.relative_to(PACKAGE).parts], ids=name_of
)
def test_nobody_knows_a_vendor_by_name(path: Path) -> None:
    folders = {entry.name for entry in (PACKAGE / "vendors").iterdir() if entry.is_dir()}
    for target in imports_of(path):
        parts = target.split(".")
        assert parts[:2] != ["navibridge", "vendors"] or not folders & set(parts[2:3]), f"{path}: {target}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "cli" not in path.relative_to(PACKAGE).parts], ids=name_of
)
def test_only_the_command_line_prints(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "exit", "quit"), f"{path}:{node.lineno}"


def test_help_does_not_load_the_heavy_parts() -> None:
    code = (
        "import sys, navibridge.cli\n"
        "heavy = {'awscrt', 'aiohttp', 'aiomqtt', 'pydantic', 'yaml', 'rich', 'trustme'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
