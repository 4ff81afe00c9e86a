"""How a command ends: its exit code, and one clear message for whatever went wrong."""

# What is heavy is imported where it is used, so that `navibridge --help` is quick.
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer
import typer.core

from navibridge.errors import AuthError, CommandError, ConfigError, FrameError, LinkError, NavibridgeError

if TYPE_CHECKING:
    from collections.abc import Coroutine


_NO_OUTPUT: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""A full disk, or a terminal that has gone."""


class Code(IntEnum):
    """The program's exit codes."""

    DONE = 0
    FAILED = 1
    CONFIGURATION = 2
    UNREACHABLE = 3
    REFUSED = 4


class Program(typer.core.TyperGroup):
    """The group of all commands: an error of the tree becomes a message and an exit code, here and nowhere else."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (NavibridgeError, OSError, BaseExceptionGroup) as error:
            cause = first(error)
            if isinstance(cause, NavibridgeError):
                fail(words(cause), code_of(cause))
            if isinstance(cause, OSError) and cause.errno in _NO_OUTPUT:
                fail(f"what was to be printed can not be written: {cause.strerror}")
            raise cause from None


def first(error: BaseException) -> BaseException:
    """The error itself, or the most telling one of a task group's."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [first(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if not isinstance(leaf, NavibridgeError)), leaves[0])


def code_of(error: NavibridgeError) -> Code:
    """What the program ends with for an error."""
    match error:
        case ConfigError():
            return Code.CONFIGURATION
        case AuthError() | LinkError(reason="not_authorised") | CommandError(verdict="rejected" | "refused"):
            return Code.REFUSED
        case LinkError():
            return Code.UNREACHABLE
        case _:
            return Code.FAILED


def words(error: NavibridgeError) -> str:
    """An error as a person reads it: what is wrong, and the next step where there is one."""
    match error:
        case ConfigError():
            count = len(error.problems)
            head = "the configuration has a problem" if count == 1 else f"the configuration has {count} problems"
            return "\n  ".join([f"{head}:", *(str(problem) for problem in error.problems)])
        case AuthError() | LinkError() if error.what_to_do:
            said = str(error).rstrip(".")
            return f"{said}{'' if said.endswith('?') else '.'} {error.what_to_do}"
        case FrameError():
            return f"it can not be decoded: {error}"
        case _:
            return str(error)


def note(text: str) -> None:
    """A remark on standard error, beside what the command prints."""
    typer.echo(f"navibridge: {text}", err=True)


def fail(text: str, code: Code = Code.FAILED) -> NoReturn:
    """End the command with a message on standard error.

    Raises:
        typer.Exit: always.
    """
    note(text)
    raise typer.Exit(code)


def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until told to stop, by Ctrl-C, SIGTERM or the closing of the terminal: a regular end, exit code 0."""
    import asyncio

    try:
        asyncio.run(_stoppable(work))
    except asyncio.CancelledError:
        return


def once(work: Coroutine[Any, Any, Code]) -> None:
    """Run what has an end of its own, and end the program with its code.

    Raises:
        typer.Exit: always; with 1 when it was stopped before its end.
    """
    import asyncio

    try:
        code = asyncio.run(_stoppable(work))
    except asyncio.CancelledError:
        code = Code.FAILED
    raise typer.Exit(code)


async def _stoppable(work: Coroutine[Any, Any, Any]) -> Any:
    import asyncio
    import signal

    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


async def limited(work: Coroutine[Any, Any, None], seconds: float | None) -> None:
    """Run for that many seconds at most; ``None`` is for as long as it likes."""
    import asyncio

    try:
        async with asyncio.timeout(seconds) as limit:
            await work
    except TimeoutError:
        if not limit.expired():
            raise
