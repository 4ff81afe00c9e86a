"""`navibridge capture` and `navibridge replay`: what a vendor's cloud says, kept in a file and told again.

A capture is redacted before it is written; see `navibridge.capture`. A replay needs neither account nor cloud.
"""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: FBT002, PLC0415, PLR0917

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_origin

import typer

from navibridge.cli.outcome import Code, fail, note, once
from navibridge.cli.settings import BrokerOption, ConfigOption, ForOption, load_quietly
from navibridge.errors import counted

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from navibridge.capture import Head, Line
    from navibridge.config import AccountSettings, Broker, Config

RETRY: Final = 5.0
"""Seconds until an account's cloud is tried again while it is captured."""

LOOK: Final = 0.1
"""Seconds to take out what has come already."""


def capture(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made; one that is there already is left alone.")],
    config: ConfigOption = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Only this account of the configuration.")
    ] = None,
    seconds: ForOption = None,
) -> None:
    """Record what the clouds say, redacted, for a bug report or a test.

    Signs in anew, straight at the clouds, and records until Ctrl-C. What is private (addresses, ids, names, tokens,
    places) is replaced by invented characters of the same length before it is written; everything else is byte for
    byte as it came.
    """
    settings = load_quietly(context, config, None, need_account=True)
    if account is not None and account not in settings.accounts:
        raise typer.BadParameter(f"there is no account {account!r}; there are {', '.join(settings.accounts)}")
    chosen = {name: own for name, own in settings.accounts.items() if account in (None, name)}
    with _made(file) as written:
        once(_capture(settings, chosen, written, seconds, str(file)))


@contextmanager
def _made(path: Path) -> Iterator[BinaryIO]:
    """A new file, for its owner alone: redacted or not, it is its owner who decides whom to give it."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            yield written
    except FileExistsError:
        fail(f"{path} is there already; name a new file")
    except OSError as error:
        fail(f"{path} can not be written: {error.strerror or error}")


async def _capture(
    config: Config, chosen: Mapping[str, AccountSettings], written: BinaryIO, seconds: float | None, name: str
) -> Code:
    import asyncio
    import secrets
    import time
    from collections import Counter

    from navibridge import __version__, vendors
    from navibridge.capture import Head, Redaction
    from navibridge.cli.outcome import limited
    from navibridge.errors import NavibridgeError
    from navibridge.tasks import TaskGroup

    key = secrets.token_bytes(32)
    counts: Counter[str] = Counter()
    accounts: dict[str, str] = {}
    redactions: dict[str, Redaction] = {}
    for account, own in chosen.items():
        private = getattr(vendors.load(own.vendor), "PRIVATE", None)
        if private is None:
            raise NavibridgeError(f"{own.vendor} does not say what is private, so that it can not be captured")
        # The account's own name is its owner's business, too.
        number = sum(config.accounts[earlier].vendor == own.vendor for earlier in accounts)
        accounts[account] = f"{own.vendor}{number + 1}" if number else own.vendor
        redactions[accounts[account]] = Redaction(private, key, (own.email, own.password.reveal()))
    options = {accounts[account]: behaviour(own) for account, own in chosen.items()}
    written.write(Head(time.time(), __version__, options).encode())

    def record(line: Line) -> None:
        counts[line.direction] += 1
        written.write(redactions[line.account].line(line).encode())
        written.flush()

    async def everything() -> None:
        async with TaskGroup() as group:
            for account in chosen:
                group.create_task(_overhear(config, account, accounts[account], record), name=f"account {account}")

    try:
        await limited(everything(), seconds)
    except asyncio.CancelledError:
        pass  # Ctrl-C is how a capture ends
    finally:
        frames, answers = counted(counts["in"], "frame"), counted(counts["rest"], "answer")
        note(f"{frames} and {answers} written to {name}; look it through before you share it")
    return Code.DONE if counts["in"] or counts["rest"] else Code.FAILED


def behaviour(settings: AccountSettings) -> dict[str, Any]:
    """The options of an account that decide on how its session behaves; addresses and other texts are left out."""
    shown: dict[str, Any] = {"vendor": settings.vendor}
    for name, field in type(settings).model_fields.items():
        value, default = getattr(settings, name), field.get_default(call_default_factory=True)
        if name == "vendor" or value == default:
            continue
        if hasattr(value, "model_dump"):
            parts = value.model_dump(mode="json")
            shown[name] = {part: "off" if inner is None else inner for part, inner in parts.items()}
        elif isinstance(value, bool | int | float) or get_origin(field.annotation) is Literal:
            shown[name] = value
    return shown


async def _overhear(config: Config, account: str, shown: str, record: Any) -> None:
    """Keep an account's session alive on a network that records it."""
    import asyncio
    import tempfile
    import time
    from contextlib import aclosing
    from functools import partial

    from navibridge import vendors
    from navibridge.cli.outcome import words
    from navibridge.errors import AuthError, LinkError
    from navibridge.recording import RecordingNetwork
    from navibridge.store import Store

    settings = config.accounts[account]
    with tempfile.TemporaryDirectory(prefix="navibridge-capture-") as directory:
        context = vendors.Context(
            account=account,
            # Of its own: a replay needs the answers to the sign-in, and two links with one identity would throw each
            # other out.
            store=Store(Path(directory)),
            clock=time.time,
            count=lambda _: None,
            device_settings=partial(config.device, settings.vendor),
            network=RecordingNetwork(shown, record, time.time),
        )
        session = vendors.load(settings.vendor).open_session(settings, context)
        while True:
            try:
                async with aclosing(session.events()) as events:
                    async for _ in events:
                        pass
            except AuthError as error:
                note(f"account {account}: {words(error)}")
                return
            except LinkError as error:
                note(f"account {account}: {words(error)}")
            await asyncio.sleep(RETRY)


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A capture.")],
    config: ConfigOption = None,
    broker: BrokerOption = None,
    speed: Annotated[
        float, typer.Option("--speed", min=0.001, max=1e9, help="Seconds of the capture that pass in one.")
    ] = 1,
    base_topic: Annotated[
        str | None,
        typer.Option(
            "--base-topic",
            metavar="TOPIC",
            help="What its topics begin with; -replay is appended to the configured one.",
        ),
    ] = None,
    discovery: Annotated[bool, typer.Option("--discovery", help="Announce its devices to Home Assistant.")] = False,
) -> None:
    """Publish a capture as if it happened now.

    Its messages are the same, in the same order, at any speed. They stay on the broker: `navibridge clean --all` with
    the same base topic clears them.
    """
    flags = None if base_topic is None else {"--base-topic": {"broker.base_topic": base_topic}}
    settings = load_quietly(context, config, broker, flags)
    topic = settings.broker.base_topic if flags else f"{settings.broker.base_topic}-replay"
    once(_replay(settings, _opened(file), topic, speed, discovery=discovery))


def _opened(path: Path) -> tuple[Head, list[Line]]:
    from navibridge.capture import read
    from navibridge.errors import FrameError

    try:
        with path.open("rb") as file:
            return read(file)
    except FrameError as error:
        fail(f"{path}: {error}")
    except OSError as error:
        fail(f"{path} can not be read: {error.strerror or error}")


async def _replay(
    config: Config, capture: tuple[Head, list[Line]], topic: str, speed: float, *, discovery: bool
) -> Code:
    import asyncio

    from navibridge import replay
    from navibridge.config import Discovery, Web

    head, lines = capture
    accounts = replay.settings(head, {}).accounts
    broker = config.broker.model_copy(update={"base_topic": topic, "client_id": None})
    found = Discovery(**(config.discovery.model_dump() | {"enabled": discovery}))
    settings = config.model_copy(
        update={"accounts": accounts, "broker": broker, "discovery": found, "devices": {}, "web": Web()}
    )
    if await _is_taken(broker, topic):
        where = f"{broker.host}:{broker.port}"
        fail(f"a bridge is running at {where} under {topic!r}; choose another --base-topic", Code.REFUSED)
    steps = await asyncio.to_thread(replay.story, settings, head, lines)
    bridge = await replay.replay(settings, head, steps, speed=speed)
    note(f"{counted(len(lines), 'line')} of {counted(len(bridge.cache), 'device')} published under {topic!r}")
    return Code.DONE


async def _is_taken(broker: Broker, base_topic: str) -> bool:
    """Whether a bridge says that it runs there.

    Raises:
        LinkError: the broker can not be reached.
    """
    import asyncio
    import secrets

    from navibridge.broker import LocalBroker
    from navibridge.topics import Topics

    state = Topics(base_topic).bridge_state
    async with LocalBroker(broker, client_id=f"navibridge-cli-{secrets.token_hex(4)}", will=None).open() as link:
        await link.subscribe([state])
        await link.unsubscribe([state])  # what is retained has come before the answer to this
        try:
            async with asyncio.timeout(LOOK):
                async for message in link.messages():
                    return message.payload == b"online"
        except TimeoutError:
            pass
    return False
