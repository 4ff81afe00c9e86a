"""Where settings come from: YAML, ``.env``, the environment, flags; all as texts that know their origin.

Nothing is interpreted here: ``yes``, ``3.1.1`` and ``0123456789ab`` stay the texts that somebody wrote, and
`navibridge.config` gives them types. A tree is made of `Branch` (a section), `Listing` and `Text`; `merge` lays one
over the other. The reader of YAML is our own, over the event stream of the parser, so that depth, size, aliases and
duplicate keys are bounded and every message names its line without quoting what stands there: it may be a password.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import yaml

from navibridge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

MAX_BYTES: Final = 256 * 1024
MAX_NODES: Final = 10_000
MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Origin:
    """The place something was written at: a file and line, an environment variable or a flag."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Text(str):
    """A value as it was written.

    Attributes:
        origin: where.
        shown: what a message may show of it; the beginning of the text, unless it came from a secret place.
        directory: where a relative path in it starts; ``None`` is the working directory.
        unset: it says that nothing is set (``password:`` with nothing after it).
        cut: a comment follows on the same line, which somebody may have meant as part of the value.
        broken: it could not be resolved, and a problem says so already.
    """

    __slots__ = ("broken", "cut", "directory", "origin", "shown", "unset")
    origin: Origin
    shown: str
    directory: Path | None
    unset: bool
    cut: bool
    broken: bool

    def __new__(
        cls,
        text: str,
        origin: Origin,
        *,
        shown: str | None = None,
        directory: Path | None = None,
        unset: bool = False,
        cut: bool = False,
        broken: bool = False,
    ) -> Self:
        """A text that keeps what is known of it."""
        self = super().__new__(cls, text)
        self.origin = origin
        self.shown = quote(text) if shown is None else shown
        self.directory = directory
        self.unset = unset
        self.cut = cut
        self.broken = broken
        return self


class Branch(dict[str, Any]):
    """A section: names to trees."""

    def __init__(self, entries: Mapping[str, Any] | None = None, *, origin: Origin) -> None:
        super().__init__(entries or {})
        self.origin = origin


class Listing(list[Any]):
    """A list of trees."""

    def __init__(self, entries: Iterable[Any] = (), *, origin: Origin) -> None:
        super().__init__(entries)
        self.origin = origin


Tree: TypeAlias = Branch | Listing | Text


def expanded(path: str) -> Path:
    """A path with ``~`` replaced, where the home directory is known."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises without a home directory


def quote(text: str) -> str:
    """A text for a message: quoted, escaped, not longer than a line, and an address without its user and password."""
    text = re.sub(r"//[^/\s]*@", "//…@", text)
    return repr(text[:40]) + ("…" if len(text) > 40 else "")  # noqa: PLR2004 - what fits on a line


def shown_key(key: str) -> str:
    """A key for a message; what follows a colon without a space is a value, and may be a password."""
    return quote(key.split(":", maxsplit=1)[0])


def dotted(path: Iterable[str]) -> str:
    """A key path for a message; as with `shown_key`, nothing that may be a value."""
    return ".".join(name.split(":", maxsplit=1)[0] for name in path)


def nearest(given: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that the given one most probably is a slip of."""
    found = difflib.get_close_matches(given.lower(), list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def merge(lower: Branch, upper: Branch) -> Branch:
    """The lower layer with the upper one's values over it."""
    merged = Branch(lower, origin=lower.origin)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Branch) and isinstance(value, Branch) else value
    return merged


def put(tree: Branch, path: tuple[str, ...], value: Text) -> None:
    """Set one value of a tree, making the sections on the way."""
    for name in path[:-1]:
        below = tree.get(name)
        if not isinstance(below, Branch):
            below = tree[name] = Branch(origin=value.origin)
        tree = below
    tree[path[-1]] = value


def look(tree: Tree, path: Iterable[str]) -> Tree | None:
    """What stands at a path, if anything."""
    node: Any = tree
    for name in path:
        if isinstance(node, Branch):
            node = node.get(name)
        elif isinstance(node, Listing):
            node = node[int(name)] if name.isdecimal() and int(name) < len(node) else None
        else:
            return None
    found: Tree | None = node
    return found


def texts(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Text]]:
    """Every text of a tree with its path."""
    if isinstance(tree, Text):
        yield path, tree
        return
    for name, node in tree.items() if isinstance(tree, Branch) else enumerate(tree):
        yield from texts(node, (*path, str(name)))


# ------------------------------------------------------------------------------------------------------- files


def _read(path: Path, source: str) -> str:
    """The text of a small UTF-8 file.

    Raises:
        ConfigError: it can not be read, is too large or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero character in it
        message = f"can not be read: {getattr(error, 'strerror', None) or error}"
        raise ConfigError([Problem(source, "", message)]) from error
    if len(content) > MAX_BYTES:
        raise ConfigError([Problem(source, "", f"is larger than {MAX_BYTES // 1024} KiB; is it the right file?")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(f"{source}:{line}", "", "is not UTF-8 text; save the file as UTF-8")]) from None


def read_config(path: Path, source: str, words: Mapping[str, Text], problems: list[Problem]) -> Branch:
    """A configuration file, with ``!secret`` and ``${NAME}`` resolved.

    Args:
        path: the file; ``secrets.yaml`` is looked for beside it.
        source: what messages call the file.
        words: the environment.
        problems: where what is wrong with single values is added.

    Raises:
        ConfigError: the file can not be understood at all.
    """
    return _Reader(path, source, problems, _Secrets(path.parent / "secrets.yaml", problems), words).document()


class _Secrets:
    """The ``secrets.yaml`` beside a configuration file, read when the first ``!secret`` asks for it."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self._path = path
        self._problems = problems
        self._known: Branch | None = None

    def find(self, name: str, origin: Origin, directory: Path) -> Text | str:
        """The secret of that name, or what is wrong."""
        if self._known is None:
            self._known = Branch(origin=Origin(self._path.name))
            try:
                self._known = _Reader(self._path, self._path.name, self._problems, None, None).document()
            except ConfigError as error:
                self._problems.extend(error.problems)
        found = self._known.get(name)
        if isinstance(found, Text) and not found.unset:
            return Text(found, origin, shown=f"!secret {name}", directory=directory, cut=found.cut)
        if name in self._known:
            return f"the secret {quote(name)} in {self._path.name} has no value"
        near = nearest(name, self._known)
        return f"no secret {quote(name)} in {self._path.name}" + (f", did you mean {quote(near)}?" if near else "")


# What stands in a file is never quoted; the parser's own words do quote it.
_WORDS_OF_THE_PARSER: Final = (
    ("'\\t'", "a tab; indent with spaces"),
    ("mapping values are not allowed here", "a second colon on the line, or wrong indentation; quote values with ': '"),
    ("could not find expected ':'", "a line that is not `key: value`"),
    ("found character", "a value that begins with a special character; put it in quotes"),
    ("while scanning a quoted scalar", "a quotation mark that is not closed, or a wrong escape within double quotes"),
    ("while scanning a double-quoted scalar", "an unknown escape; double a backslash, or use single quotes"),
    ("while scanning an alias", "a value that begins with *; put it in quotes"),
    ("while scanning an anchor", "a value that begins with &; put it in quotes"),
    ("while parsing a flow", "a bracket that is not closed, or a missing comma; ${NAME} needs quotes within { }"),
    ("while parsing a block", "wrong indentation, or a value whose quotes end too early"),
    ("while scanning a block scalar", "a wrong block: | or > must end the line"),
)
_STANDARD_TEXT: Final = "tag:yaml.org,2002:str"
_REFERENCE: Final = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Reader:
    """One YAML file becoming a tree."""

    def __init__(
        self,
        path: Path,
        source: str,
        problems: list[Problem],
        secrets: _Secrets | None,
        words: Mapping[str, Text] | None,
    ) -> None:
        self._source = source
        self._directory = path.parent
        self._problems = problems
        self._secrets = secrets
        self._words = words
        self._content = _read(path, source)
        self._lines = self._content.splitlines()
        self._anchors: dict[str, Tree] = {}
        self._nodes = 0

    def document(self) -> Branch:
        """The whole file.

        Raises:
            ConfigError: with the first thing that makes the rest unreadable.
        """
        try:
            events = yaml.parse(self._content, Loader=yaml.SafeLoader)
            next(events)  # the stream begins
            if isinstance(next(events), yaml.StreamEndEvent):
                return Branch(origin=Origin(self._source))
            first = next(events)
            tree = self._node(first, events, ())
            next(events)  # the document ends
            if not isinstance(last := next(events), yaml.StreamEndEvent):
                raise self._stop(last, "a second document (---); only one is read")
        except yaml.reader.ReaderError as error:
            line = self._content.count("\n", 0, error.position) + 1
            message = f"an unprintable character (U+{int(error.character):04X}); is it a text file?"
            raise ConfigError([Problem(f"{self._source}:{line}", "", message)]) from None
        except yaml.MarkedYAMLError as error:
            raise self._misread(error) from None
        except (ValueError, OverflowError):  # escapes beyond Unicode, absurd version numbers
            raise ConfigError(
                [Problem(self._source, "", "is not valid YAML: a number or an escape is too large")]
            ) from None
        if isinstance(tree, Branch):
            tree.origin = Origin(self._source)
            return tree
        if isinstance(tree, Text) and tree.unset:
            return Branch(origin=Origin(self._source))
        sort = "a list" if isinstance(tree, Listing) else "a single value"
        raise self._stop(first, f"{sort} is given where sections are expected, such as `broker:` on a line of its own")

    def _stop(self, event: Any, message: str) -> ConfigError:
        return ConfigError([Problem(f"{self._source}:{event.start_mark.line + 1}", "", message)])

    def _misread(self, error: yaml.MarkedYAMLError) -> ConfigError:
        mark = error.problem_mark or error.context_mark
        told = f"{error.problem} {error.context}"
        message = next((ours for theirs, ours in _WORDS_OF_THE_PARSER if theirs in told), "something that is not YAML")
        where = f"{self._source}:{mark.line + 1}" if mark else self._source
        return ConfigError([Problem(where, "", f"can not be read as YAML: {message}")])

    def _node(self, event: Any, events: Iterator[Any], path: tuple[str, ...]) -> Tree:
        tree: Tree
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._stop(event, "an unknown alias; put a value that begins with * in quotes")
            tree = self._anchors[event.anchor]
            self._weigh(event, tree, len(path))
            return tree
        self._count(event, len(path))
        if isinstance(event, yaml.ScalarEvent):
            tree = self._scalar(event, path)
        else:
            if event.tag is not None:
                raise self._stop(event, "an unknown tag; put a value that begins with ! in quotes")
            if isinstance(event, yaml.MappingStartEvent):
                tree = self._mapping(event, events, path)
            else:
                tree = self._sequence(event, events, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = tree
        return tree

    def _count(self, event: Any, depth: int) -> None:
        self._nodes += 1
        if depth > MAX_DEPTH:
            raise self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        if self._nodes > MAX_NODES:
            raise self._stop(event, f"more than {MAX_NODES} values, aliases included")

    def _weigh(self, event: Any, tree: Tree, depth: int) -> None:
        """Count what an alias repeats, so that aliases of aliases stay bounded."""
        self._count(event, depth)
        if not isinstance(tree, Text):
            for node in tree.values() if isinstance(tree, Branch) else tree:
                self._weigh(event, node, depth + 1)

    def _origin(self, event: Any) -> Origin:
        return Origin(self._source, event.start_mark.line + 1)

    def _mapping(self, start: Any, events: Iterator[Any], path: tuple[str, ...]) -> Branch:
        branch = Branch(origin=self._origin(start))
        firsts: dict[str, Origin] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise self._stop(event, "a key that is not plain text; put a value that begins with { or [ in quotes")
            key, origin = event.value, self._origin(event)
            first = next(events)
            value = self._node(first, events, (*path, key))
            if isinstance(value, Branch) and not isinstance(first, yaml.AliasEvent):
                value.origin = origin  # the section's own line, not that of its first key
            if key in branch:
                message = f"given twice; the first is in line {firsts[key].line}"
                self._problems.append(Problem(str(origin), dotted((*path, key)), message))
                continue
            branch[key] = value
            firsts[key] = origin
        return branch

    def _sequence(self, start: Any, events: Iterator[Any], path: tuple[str, ...]) -> Listing:
        listing = Listing(origin=self._origin(start))
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            listing.append(self._node(event, events, (*path, str(len(listing)))))
        return listing

    def _scalar(self, event: Any, path: tuple[str, ...]) -> Text:
        origin = self._origin(event)
        value: str = event.value
        plain = not event.style
        end = event.end_mark
        rest = self._lines[end.line][end.column :] if plain and end.line < len(self._lines) else ""
        cut = bool(value) and rest[:1].isspace() and rest.lstrip().startswith("#")
        found: Text | str
        if event.tag == "!secret" and self._secrets is not None:
            found = self._secrets.find(value, origin, self._directory)
        elif event.tag not in (None, _STANDARD_TEXT):
            found = "an unknown tag: only !secret is known; put a value that begins with ! in quotes"
        elif plain and event.tag is None and value in ("", "~", "null"):
            return Text("", origin, unset=True)
        elif self._words is not None and _REFERENCE.search(value):
            found = self._substitute(value, self._words, origin)
        else:
            return Text(value, origin, directory=self._directory, cut=cut)
        if isinstance(found, Text):
            return found
        self._problems.append(Problem(str(origin), dotted(path), found))
        return Text("", origin, broken=True)

    def _substitute(self, value: str, words: Mapping[str, Text], origin: Origin) -> Text | str:
        names = [name for escape, name in _REFERENCE.findall(value) if not escape]
        if missing := [name for name in names if name not in words]:
            # A name stands in the file in clear, yet it may be a part of a password that has a ${ of its own.
            return (
                f"the environment variable {quote(missing[0])} is not set; write $${{ where ${{ is meant literally"
                if value == f"${{{missing[0]}}}"
                else "an environment variable within the value is not set; write $${ where ${ is meant literally"
            )
        text = _REFERENCE.sub(lambda match: match[0][1:] if match[1] else words[match[2]], value)
        shown = "a value with ${" + "}, ${".join(names) + "} in it" if names else None
        return Text(text, origin, shown=shown, directory=self._directory)


# ------------------------------------------------------------------------------------------------- environment

_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_DOUBLE: Final = re.compile(r'\s*"((?:[^"\\]|\\.)*)"(?:\s+#.*|\s*)')
_SINGLE: Final = re.compile(r"\s*'([^']*)'(?:\s+#.*|\s*)")
_COMMENT: Final = re.compile(r"\s#.*")


def read_dotenv(path: Path, warnings: list[Problem]) -> dict[str, Text]:
    r"""The assignments of a ``.env`` file; a missing file has none.

    Single quotes keep everything; within double quotes ``\"``, ``\\`` and ``\$`` stand for the second character;
    without quotes a value ends before white space with a ``#``. A ``$`` is never anything but itself. Such a file is
    often shared with other programs, so that what can not be read is a warning.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where the directory may not be entered
        return {}
    try:
        content = _read(path, path.name)
    except ConfigError as error:
        warnings.extend(error.problems)
        return {}
    words = {}
    for number, line in enumerate(content.split("\n"), start=1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        origin = Origin(path.name, number)
        match = _ASSIGNMENT.fullmatch(line.rstrip("\r"))
        if match is None:
            warnings.append(Problem(str(origin), "", "is not NAME=value; ignored"))
            continue
        name, value = match.groups()
        if double := _DOUBLE.fullmatch(value):
            words[name] = Text(re.sub(r'\\(["\\$])', r"\1", double[1]), origin)
        elif single := _SINGLE.fullmatch(value):
            words[name] = Text(single[1], origin)
        else:
            if value.strip()[:1] in ("'", '"'):
                warnings.append(Problem(str(origin), name, "quotes that do not match; taken as it is written"))
            kept = _COMMENT.sub("", value, count=1)
            words[name] = Text(kept.strip(), origin, cut=bool(kept.strip()) and kept != value)
    return words


class Environment:
    """The variables that settings may be taken from, a ``.env`` file's below the real ones.

    Attributes:
        words: every variable.
        directory: the working directory, where relative paths start.
        problems: where what is wrong is added.
        warnings: where what is doubtful is added.
    """

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self.directory = directory
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.words = read_dotenv(directory / ".env", self.warnings)
        self.words.update((name, Text(value, Origin(name))) for name, value in environ.items())

    def value(self, name: str) -> Text | None:
        """A variable's value, or the content of the file that ``<name>_FILE`` names; empty is not set."""
        value, file = self.words.get(name) or None, self.words.get(f"{name}_FILE") or None
        if file is None:
            return value
        if value is not None:
            self.problems.append(Problem(str(value.origin), "", f"both {name} and {name}_FILE are set; keep one"))
            return value
        try:
            content = _read(self.directory / expanded(file), str(file.origin))
        except ConfigError as error:
            self.problems.extend(error.problems)
            return Text("", file.origin, broken=True)
        content = content.removesuffix("\n").removesuffix("\r")
        return Text(content, file.origin, shown="the content of a file")

    def below(self, prefix: str, file_options: Collection[str]) -> dict[tuple[str, ...], Text]:
        """The variables of a prefix, by key path: ``NAVIBRIDGE_BROKER__HOST`` is ``("broker", "host")``.

        Args:
            prefix: what the variables begin with.
            file_options: options whose own names end in ``_file``, so that their variables name no file to read.
        """
        found = {}
        for name in sorted({self._without_file(name, file_options) for name in self.words if name.startswith(prefix)}):
            path = tuple(name.removeprefix(prefix).lower().split("__"))
            if "" in path or len(path) > MAX_DEPTH:
                message = "is not a key path: names joined by two underscores"
                self.problems.append(Problem(name, "", message))
            elif (value := self.value(name)) is not None:
                found[path] = value
        return found

    def _without_file(self, name: str, file_options: Collection[str]) -> str:
        last = name.lower().rpartition("__")[2]
        return name.removesuffix("_FILE") if last.endswith("_file") and last not in file_options else name
