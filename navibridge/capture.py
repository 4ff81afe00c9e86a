"""Captures: what passed between a session and its vendor's cloud, line by line, without anything of its owner. Pure.

The first line of a file is its `Head`, every further one a `Line`, as JSON. Payloads are byte-exact but for what is
private. That is replaced, before anything is written, by a fake of the same length and the same sort of characters, the
same one wherever it stands: a payload can be decoded as before, a device's answer still belongs to its question, and
the beginning of a MAC address is faked to the beginning of the address's fake, so that frames which carry only that
still find their device.

The fakes come from a key that is made for one capture and kept nowhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import orjson

from navibridge.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VERSION: Final = 1

Direction: TypeAlias = Literal["in", "out", "rest", "open", "refused", "close"]
"""What a line is: a frame of the cloud, one of ours, an answer of a REST service; a link that came up, that could not
be opened, that ended."""

KNOWN_LENGTH: Final = 6
KNOWN_DIGITS: Final = 2
"""Characters, and digits among them, from which on a private text is looked for everywhere. What has fewer may be a
word that stands for something else there, such as the name of a field."""


@dataclass(frozen=True, slots=True)
class Private:
    """What is private in a vendor's messages.

    Attributes:
        names: fields of JSON whose values are private wherever they stand, with all that is below them.
        patterns: regular expressions for topics, texts and binary frames; what their groups match is private.
        plain: fields of REST answers whose texts are nobody's; all other texts there are private.
    """

    names: frozenset[str]
    patterns: tuple[bytes, ...]
    plain: frozenset[str]


@dataclass(frozen=True, slots=True)
class Head:
    """What a capture is of.

    Attributes:
        at: when it began, seconds since the epoch.
        program: version of navibridge.
        accounts: by the name that the lines use, the vendor and the options that decide on how a session behaves.
    """

    at: float
    program: str
    accounts: Mapping[str, Mapping[str, Any]]

    def encode(self) -> bytes:
        """The line."""
        words = {"capture": VERSION, "at": self.at, "program": self.program, "accounts": self.accounts}
        return orjson.dumps(words, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened.

    Attributes:
        at: when, seconds since the epoch.
        direction: what it is.
        account: whose.
        topic: of a frame; method, path and operation of a REST request; the client id of a link.
        payload: of a frame; the answer's body; the reason why a link ended or was refused.
        link: which of the account's links, counted from 1; 0 for the REST service.
        status: of a REST answer; 0 for none, the payload is the reason then.
    """

    at: float
    direction: Direction
    account: str
    topic: str
    payload: bytes
    link: int = 0
    status: int = 0

    def encode(self) -> bytes:
        """The line; a payload that is no text is written in base64."""
        words: dict[str, Any] = {
            "at": self.at,
            "direction": self.direction,
            "account": self.account,
            "topic": self.topic,
        }
        if self.link:
            words["link"] = self.link
        if self.direction == "rest":
            words["status"] = self.status
        try:
            words["text"] = self.payload.decode()
        except UnicodeDecodeError:
            words["base64"] = base64.b64encode(self.payload).decode()
        return orjson.dumps(words, option=orjson.OPT_APPEND_NEWLINE)


def read(lines: Iterable[bytes]) -> tuple[Head, list[Line]]:
    """A capture's lines, in the order of their time.

    Raises:
        FrameError: it is none, or damaged; names the line.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, first = next(numbered, (1, b""))
    try:
        head = _head(orjson.loads(first))
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"line {number} is not the beginning of a capture", sort="capture") from error
    found = []
    for number, line in numbered:
        try:
            found.append(_line(orjson.loads(line), head))
        except (KeyError, TypeError, ValueError) as error:
            raise FrameError(f"line {number} is not a line of a capture", sort="capture") from error
    return head, sorted(found, key=lambda line: line.at)


def _head(words: Any) -> Head:
    if words["capture"] != VERSION:
        raise ValueError("another version")
    accounts = {str(name): {"vendor": str(options["vendor"]), **options} for name, options in words["accounts"].items()}
    return Head(float(words["at"]), str(words["program"]), accounts)


def _line(words: Any, head: Head) -> Line:
    if words["direction"] not in get_args(Direction) or words["account"] not in head.accounts:
        raise ValueError("neither a direction nor an account")
    try:
        payload = words["text"].encode() if "text" in words else base64.b64decode(words["base64"], validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    return Line(
        float(words["at"]),
        words["direction"],
        words["account"],
        str(words["topic"]),
        payload,
        int(words.get("link", 0)),
        int(words.get("status", 0)),
    )


# --- redaction --------------------------------------------------------------------------------------------------------

_LOOKS: Final = (
    re.compile(rb"[^\s@'\"<>()\[\]{},;:/=?&\\]{1,64}(?:@|%40)[A-Za-z0-9][A-Za-z0-9.-]*"),  # e-mail addresses
    re.compile(rb"(?i)(?<![0-9a-z])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-z])"),  # UUIDs
    re.compile(rb"(?i)(?<![0-9a-z])(?=[0-9]*[a-f])[0-9a-f]{12}(?![0-9a-z=])"),  # MAC addresses
    re.compile(rb"(?i)(?<![0-9a-z:])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-z:])"),  # the same with separators
    re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),  # AWS access key ids
    re.compile(rb"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)*"),  # JSON web tokens
    re.compile(rb"X-Amz-(?:Signature|Security-Token|Credential)=([^&\s\"'<>]+)"),  # signed URLs
)
"""What is private by its look, whoever sent it."""

_JSON: Final = re.compile(rb"\"(?:[^\"\\]|\\.)*\"|(-?\d[\d.]*)(?:[eE][+-]?\d+)?|[{}\[\]]", re.DOTALL)
_BEGIN: Final = re.compile(rb"[{\[]")
_HEX: Final = re.compile(rb"[0-9a-f:.-]*", re.IGNORECASE)
_ESCAPE: Final = re.compile(rb"\\u[0-9a-fA-F]{4}|\\.", re.DOTALL)
_BLANKS: Final = b" \t\r\n"

_DIGITS: Final = b"0123456789"
_LEADING: Final = b"123456789"
_HEX_LETTERS: Final = b"abcdef"
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz"

Span: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class _Level:
    """An object or a list that the scanner is in."""

    is_object: bool
    private: bool
    name: str = ""


@dataclass
class Redaction:
    """Replaces what is private, and remembers what that was, to find it wherever else it stands.

    Args:
        private: of the vendor.
        key: 16 random bytes or more.
        known: texts that are private from the start, such as the account's e-mail address.
    """

    private: Private
    key: bytes = field(repr=False)
    known: Iterable[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Compile what is looked for."""
        self._patterns = (*(re.compile(pattern, re.DOTALL) for pattern in self.private.patterns), *_LOOKS)
        self._known: set[bytes] = set()
        self._finder: re.Pattern[bytes] | None = None
        for text in self.known:
            self._learn(text.encode())

    def line(self, line: Line) -> Line:
        """The line without what is private."""
        payload, topic = line.payload, line.topic.encode()
        inside = [*self._json(payload, everything=line.direction == "rest")]
        for start, end in inside:
            self._learn(payload[start:end])
        payload = self._replace(payload, inside)
        topic = self._replace(topic, [])
        return Line(line.at, line.direction, line.account, topic.decode(), payload, line.link, line.status)

    def fake(self, text: bytes) -> bytes:
        """What stands for a private text: as long, and of the same sort of characters.

        It begins with the fakes of whatever the text begins with.
        """
        hexadecimal = _HEX.fullmatch(text) is not None
        letters = _HEX_LETTERS if hexadecimal else _LETTERS
        stream = hashlib.blake2b(key=self.key[:64])
        faked = bytearray()
        inside_number = False
        for byte in _ESCAPE.sub(lambda escape: b"x" * len(escape[0]), text):
            folded = bytes((byte,)).lower()
            classes = _class_of(folded, letters, leading=not inside_number)
            if classes == folded:
                faked.append(byte)
                if not hexadecimal:
                    stream.update(folded)
                continue
            number = int.from_bytes(stream.copy().digest()[:8], "big")
            place = classes.find(folded) if folded in classes else byte
            shifted = classes[(place + 1 + number % (len(classes) - 1)) % len(classes)]
            faked += bytes((shifted,)).upper() if folded != bytes((byte,)) else bytes((shifted,))
            inside_number = inside_number or folded.isdigit()
            stream.update(folded)
        return bytes(faked)

    def _learn(self, text: bytes) -> None:
        """Look for a text everywhere from now on."""
        digits = sum(byte in _DIGITS for byte in text)
        if len(text) >= KNOWN_LENGTH and digits >= KNOWN_DIGITS and text.lower() not in self._known:
            self._known.add(text.lower())
            self._finder = None

    def _replace(self, text: bytes, spans: list[Span]) -> bytes:
        """The text with fakes at these places, at those that look private, and wherever something known stands."""
        found = [*spans]
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                found += [match.span(group) for group in range(1, match.re.groups + 1)] or [match.span()]
        if self._known:
            if self._finder is None:
                longest_first = sorted(self._known, key=lambda known: (-len(known), known))
                self._finder = re.compile(b"|".join(map(_alone, longest_first)), re.IGNORECASE)
            found += [match.span() for match in self._finder.finditer(text)]
        parts, place = [], 0
        for start, end in sorted(_apart(found)):
            parts += [text[place:start], self.fake(text[start:end])]
            place = end
        return b"".join((*parts, text[place:]))

    def _json(self, text: bytes, *, everything: bool) -> Iterator[Span]:
        """The places of private values in JSON, complete or not; of texts without their quotes.

        Args:
            text: may begin with something else, such as a binary header.
            everything: every text is private that the vendor does not call plain.
        """
        levels = [_Level(is_object=False, private=False)]
        begins = _BEGIN.search(text)
        for token in _JSON.finditer(text, begins.start()) if begins else ():
            level, first = levels[-1], token[0][:1]
            private = level.private or level.name in self.private.names
            if first in b"{[":
                levels.append(_Level(first == b"{", private, "" if first == b"{" else level.name))
            elif first in b"}]":
                if len(levels) > 1:
                    levels.pop()
            elif first == b'"' and level.is_object and text[token.end() :].lstrip(_BLANKS)[:1] == b":":
                level.name = token[0][1:-1].decode("utf-8", "replace")
            elif first == b'"' and (private or (everything and level.name not in self.private.plain)):
                yield token.start() + 1, token.end() - 1
            elif first != b'"' and private:
                yield token.span(1)


def _class_of(folded: bytes, letters: bytes, *, leading: bool) -> bytes:
    """The characters among which one is exchanged; the character itself for one that stays.

    The first digit of a number is no zero afterwards unless it was one, or JSON would not have it.
    """
    if folded.isdigit():
        return _DIGITS if not leading else folded if folded == b"0" else _LEADING
    return letters if folded in letters or not folded.isascii() else folded


def _alone(known: bytes) -> bytes:
    """What finds a known text; a number only where it is one as a whole."""
    escaped = re.escape(known)
    return rb"(?<!\d)" + escaped + rb"(?!\d)" if known.isdigit() else escaped


def _apart(spans: Iterable[Span]) -> Iterator[Span]:
    """The places without those inside of others; ones that overlap become one."""
    start, end = -1, -1
    for next_start, next_end in sorted(set(spans)):
        if next_start >= next_end:
            continue
        if next_start >= end:
            if start >= 0:
                yield start, end
            start, end = next_start, next_end
        else:
            end = max(end, next_end)
    if start >= 0:
        yield start, end
