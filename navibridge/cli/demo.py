"""`navibridge demo`: broker, clouds and bridge in one process, without an account."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: PLC0415, TC003

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from navibridge.cli.outcome import Code, fail, limited, note, until_stopped
from navibridge.cli.settings import ForOption, split_address
from navibridge.cli.vendor_options import with_vendor_options
from navibridge.errors import counted

if TYPE_CHECKING:
    from navibridge.cli.board import Board
    from navibridge.cli.observer import Observer
    from navibridge.config import Config
    from navibridge.demo import Demo

FIRST_VALUES_LIMIT = 30.0
"""Seconds within which the devices have to be there for the commands to try to be shown."""


@with_vendor_options
def demo(
    devices: Mapping[str, int | None],
    broker: Annotated[
        str | None,
        typer.Option("--broker", metavar="HOST:PORT", help="A real broker, instead of the embedded one."),
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", min=0.1, max=3600, help="Seconds that the devices live in one second.")
    ] = 60,
    seconds: ForOption = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = "error",
) -> None:
    """Try it out, without an account.

    Simulated devices, a broker and the bridge in one process.
    """
    from navibridge import log
    from navibridge.cli.settings import log_settings

    address = split_address(broker, default_port=1883) if broker else None
    if not any(number is None or number for number in devices.values()):
        raise typer.BadParameter("a demo needs at least one device")
    log.set_up(log_settings(log_level))
    until_stopped(_demo(devices, address, speed, seconds))


async def _demo(
    devices: Mapping[str, int | None], address: tuple[str, int] | None, speed: float, seconds: float | None
) -> None:
    import asyncio

    from navibridge.cli.board import Board
    from navibridge.demo import stage
    from navibridge.tasks import TaskGroup

    board = Board()
    started = asyncio.get_running_loop().time()
    async with stage(devices, broker=address, options={"speed": speed}) as scene:
        if not scene.embedded:
            await _refuse_beside_a_bridge(scene.settings)
        try:
            async with TaskGroup() as group:
                running = group.create_task(scene.bridge.run(), name="bridge")
                try:
                    await limited(_show(scene, board), seconds)
                finally:
                    running.cancel()
        finally:
            if not scene.embedded:
                await _tidy_up(scene)
            _print_summary(scene, board, started)


async def _refuse_beside_a_bridge(settings: Config) -> None:
    """End it where a real bridge has the topics already: the demo would take its devices for long gone."""
    from navibridge.cli.observer import observing
    from navibridge.topics import Topics

    async with observing(settings.broker, Topics()) as observer:
        if observer.online:
            fail(f"a bridge is running at {observer.where}; the demo would take its topics from it", Code.REFUSED)


async def _show(scene: Demo, board: Board) -> None:
    from navibridge.cli.observer import observing

    _print_how_to_look(scene.settings)
    async with observing(scene.settings.broker, scene.bridge.topics, board.heard) as observer:
        await observer.wait_until(lambda: observer.states, FIRST_VALUES_LIMIT)
        await _print_what_to_send(scene, observer)
        await board.show(observer)


def _print_how_to_look(settings: Config) -> None:
    host, port = settings.broker.host, settings.broker.port
    typer.echo(f"Broker: {host}:{port}. Look at everything from another terminal:")
    typer.echo(f"    mosquitto_sub -h {host} -p {port} -t 'navibridge/#' -t 'homeassistant/#' -v")


async def _print_what_to_send(scene: Demo, observer: Observer) -> None:
    """Commands that this very device takes, ready to be pasted."""
    from navibridge.cli.examples import changes_to_try

    host, port = scene.settings.broker.host, scene.settings.broker.port
    for topic, state in scene.bridge.cache.items():
        tries = changes_to_try(state.device, state.values)
        if not tries:
            continue
        typer.echo("Set something; the verdict comes on the device's result topic:")
        for name, value in tries.items():
            typer.echo(
                f"    mosquitto_pub -h {host} -p {port} -t {observer.topics.set_attribute(topic, name)} -m {value}"
            )
        name, value = next(iter(tries.items()))
        typer.echo(f"    navibridge set {topic} {name}={value} --broker {host}:{port}")
        break
    stop = "Stop with Ctrl-C.\n" if sys.stdout.isatty() else "Stop with Ctrl-C or SIGTERM."
    typer.echo(stop)


async def _tidy_up(scene: Demo) -> None:
    """Clear what the demo has retained on a broker that is not its own; who listened has been told ``offline``."""
    from navibridge.cli.retained import clear, of_devices, read
    from navibridge.errors import LinkError

    topics = scene.bridge.topics
    try:
        kept = of_devices(await read(scene.settings.broker, topics), topics, scene.bridge.cache, scene.bridge.accounts)
        await clear(scene.settings.broker, kept)
    except LinkError as error:
        note(f"what the demo has retained could not be cleared: {error}")


def _print_summary(scene: Demo, board: Board, started: float) -> None:
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in board.verdicts.items()) or "none"
    live = "no live value came" if board.first_values is None else f"live after {board.first_values - started:.1f} s"
    typer.echo(
        f"{counted(len(scene.bridge.cache), 'device')}, {live}, {counted(board.states, 'state')}, commands: {verdicts}"
    )
