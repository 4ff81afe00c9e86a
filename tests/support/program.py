"""The program itself: commands that end run in this process, those that go on in one of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from typer.testing import CliRunner

from navibridge import vendors
from navibridge.cli import app
from navibridge.demo.cloud import SimulatedCloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from navibridge.simulation import Simulator

T = TypeVar("T")
PATIENCE = 20.0
COMMAND = (sys.executable, "-m", "navibridge")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def invoke(*arguments: str, stdin: str | bytes | None = None) -> Ended:
    """Run a command in this process, in the working directory and environment of the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        result = CliRunner().invoke(app, arguments, input=stdin, prog_name="navibridge")
    finally:
        root.handlers[:] = handlers  # what the command has set up writes to a stream that is gone
        root.setLevel(level)
        logging.getLogger("navibridge").setLevel(logging.NOTSET)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


async def invoked(*arguments: str) -> Ended:
    """Run a command in a process of its own, in the working directory and environment of the test, and wait for it."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


class Running:
    """A command in a process of its own; its lines are read as they come."""

    def __init__(self, arguments: Sequence[str], directory: Path, environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._open = 2
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=directory,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self._process.stdout, self._process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, part: str, seconds: float = PATIENCE) -> str:
        """The first line, of either stream, with that part in it."""
        with self._news:
            found = self._news.wait_for(lambda: self._with(part) or not self._open, seconds)
        line = self._with(part)
        said = f"no line with {part!r}; the program said:\n{self.text}"
        assert found, said
        assert line is not None, said
        return line

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; its exit code."""
        self._process.send_signal(number)
        return self.ended()

    def ended(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; its exit code."""
        code = self._process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return code

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.ended()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _with(self, part: str) -> str | None:
        return next((line for line in self.lines if part in line), None)

    def _read(self, stream: Any) -> None:
        for line in stream:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._open -= 1
            self._news.notify_all()


@contextmanager
def started(*arguments: str, directory: Path, **environment: str) -> Iterator[Running]:
    """A command that goes on, killed after the block if it still does."""
    running = Running(arguments, directory, environment)
    try:
        yield running
    finally:
        running.close()


class Clouds:
    """Simulated clouds on a thread of their own, so that commands of this process can use theirs for themselves."""

    def __init__(self, *simulators: Simulator) -> None:
        self.simulators = simulators
        self.cloud: SimulatedCloud
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated clouds", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.cloud = SimulatedCloud(self.simulators)
        self.run(self.cloud.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.cloud.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def run(self, work: Any) -> Any:
        """Await something on the clouds' own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def call(self, change: Callable[[], T]) -> T:
        """Change something on the clouds' own loop."""

        async def changed() -> T:
            return change()

        made: T = self.run(changed())
        return made

    def account(self) -> dict[str, Any]:
        """The account section that points a bridge at the first of them."""
        return self.simulators[0].account(self.cloud.host, self.cloud.port, self.cloud.ca_file)


def only(vendor: str, number: int) -> list[str]:
    """The options of `demo` and `simulate` for devices of one vendor and none of the others."""
    return [part for name in vendors.names() for part in (f"--{name}", str(number if name == vendor else 0))]
