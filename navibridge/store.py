"""What is kept over restarts: a directory with one small JSON object per section.

Tokens, sign-in budgets and energy counters live here, so every file is its owner's alone and is replaced as a whole:
after a power cut there is the old one or the new one. A directory that can not be used costs what it holds, not the
bridge: everything is kept in memory then, and the log says so once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LOGGER = logging.getLogger(__name__)
_PLAIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Store:
    """A directory of sections; each is one JSON object in one file.

    Args:
        directory: made, for its owner alone, when the first section is saved.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, bytes] = {}
        self._written: dict[str, bytes] = {}
        self._usable = True

    def load(self, section: str) -> dict[str, Any]:
        """What was last saved under the name; empty when nothing was, or when it can not be read.

        The object is the caller's own: changing it changes nothing that is kept.
        """
        if section not in self._known:
            self._known[section] = self._read(section)
        found: dict[str, Any] = orjson.loads(self._known[section])
        return found

    def save(self, section: str, values: Mapping[str, Any]) -> None:
        """Keep a JSON object under the name; what is there already is not written again.

        Raises:
            TypeError: the values are not JSON.
        """
        content = orjson.dumps(values, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
        self._known[section] = content
        if self._written.get(section) == content:
            return
        try:
            self._write(self.path(section), content)
        except OSError as error:
            self._unusable("written", error)
            return
        self._written[section] = content
        if not self._usable:
            self._usable = True
            _LOGGER.info("state is kept in %s again", self._directory)

    def path(self, section: str) -> Path:
        """The file of a section; a name that is no plain word is spelt so that it stays within the directory."""
        if not _PLAIN_NAME.fullmatch(section):
            digest = hashlib.sha256(section.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            section = re.sub(r"[^a-z0-9]+", "_", section.lower()).strip("_")[:40] + f".{digest}"
        return self._directory / f"{section}.json"

    def _read(self, section: str) -> bytes:
        path = self.path(section)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return b"{}"
        except OSError as error:
            self._unusable("read", error)
            return b"{}"
        try:
            whole = isinstance(orjson.loads(content), dict)
        except orjson.JSONDecodeError:
            whole = False
        if whole:
            self._written[section] = content
            return content
        aside = path.with_suffix(".bad")
        try:
            path.replace(aside)
        except OSError as error:
            self._unusable("written", error)
        else:
            _LOGGER.warning(
                "%s is damaged; it is set aside as %s, and its section starts empty. Check the disk should "
                "it happen again",
                path,
                aside.name,
            )
        return b"{}"

    def _write(self, path: Path, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Named for the process, so that two of them never write into one file; the last rename wins.
        fresh = path.with_suffix(f".{os.getpid()}.new")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:  # noqa: PTH123 - Path.open can not set the mode of a new file
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself
        finally:
            os.close(directory)

    def _unusable(self, done: str, error: OSError) -> None:
        if self._usable:
            self._usable = False
            _LOGGER.warning(
                "state can not be %s in %s (%s); it is kept in memory and lost at the next restart: "
                "make the directory writable for this user, or set state_dir to one that is",
                done,
                self._directory,
                error.strerror or error,
            )
