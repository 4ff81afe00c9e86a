"""`navibridge get` and `navibridge set`: one device, once."""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: FBT002, PLC0415, PLR0917

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from navibridge.cli.outcome import Code, note, once
from navibridge.cli.settings import BrokerOption, ConfigOption, JsonOption, load_quietly
from navibridge.cli.table import aligned, as_json, lasted, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from navibridge.cli.observer import Known, Observer
    from navibridge.config import Config

SECOND_LIMIT: Final = 3.0
"""Seconds more for values that are still unknown after the first answer."""

GRACE: Final = 15.0
"""Seconds beyond a command's own times, before nobody waits for its verdict any more."""

CODES: Final = {
    "applied": Code.DONE,
    "rejected": Code.REFUSED,
    "refused": Code.REFUSED,
}
"""Exit code by verdict; every other verdict has failed."""

DeviceArgument = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's topic, id or name.")]


def get(
    context: typer.Context,
    device: DeviceArgument,
    attributes: Annotated[
        list[str] | None, typer.Argument(metavar="ATTRIBUTE", help="Only these; all that is known when none.")
    ] = None,
    config: ConfigOption = None,
    broker: BrokerOption = None,
    limit: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait for an answer newer than the last."),
    ] = 10,
    json: JsonOption = False,
) -> None:
    """Ask a device how it is.

    Through the running bridge, else straight from the cloud.
    """
    once(_get(load_quietly(context, config, broker), device, attributes or [], limit=limit, json=json))


def set_values(
    context: typer.Context,
    device: DeviceArgument,
    changes: Annotated[list[str], typer.Argument(metavar="NAME=VALUE", help="What to set.")],
    config: ConfigOption = None,
    broker: BrokerOption = None,
    ttl: Annotated[
        float | None,
        typer.Option("--ttl", metavar="SECONDS", min=1, max=3600, help="How long it may wait before it is sent."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Set something, and wait for the verdict.

    Through the running bridge, else straight to the cloud. The exit code is 0 for applied, 4 for rejected or refused, 1
    for any other verdict.
    """
    wanted = _changes(changes)
    once(_set(load_quietly(context, config, broker), device, wanted, ttl=ttl, json=json))


def _changes(given: Sequence[str]) -> dict[str, object]:
    """The changes of ``NAME=VALUE`` arguments; their values are checked by the device's table later on.

    Raises:
        typer.BadParameter: one is none, or a name is given twice.
    """
    changes: dict[str, object] = {}
    for one in given:
        name, equals, value = one.partition("=")
        name = name.strip()
        if not equals or not name or name in ("id", "ttl", "transaction"):
            raise typer.BadParameter(f"{one!r} is not NAME=VALUE, such as target_temperature=52", param_hint="CHANGES")
        if name in changes:
            raise typer.BadParameter(f"{name} is given twice", param_hint="CHANGES")
        changes[name] = value.strip()
    return changes


async def _get(config: Config, wanted: str, attributes: Sequence[str], *, limit: float, json: bool) -> Code:
    from navibridge.cli.observer import some_bridge
    from navibridge.cli.visit import VISIT
    from navibridge.errors import LinkError

    async with some_bridge(config, VISIT) as observer:
        device = await observer.find(wanted)
        _check_names(device, attributes)
        fresh = await observer.ask(device, limit)
        # A device that was only just found may say what it can do before it says how it is.
        await observer.wait_until(
            lambda: _complete(device, observer.states.get(device.topic), attributes), SECOND_LIMIT
        )
        state = observer.states.get(device.topic)
        if state is None:
            raise LinkError(
                f"{device.topic} ({device.name}) has not said anything yet",
                reason="silent",
                what_to_do="Check in the vendor's app that it is connected.",
            )
        _print_state(device, state, attributes, json=json)
        if not fresh:
            note(f"{device.topic} did not answer within {limit:g} s; this was seen {_ago(state)}")
        return Code.DONE if fresh or observer.availability.get(device.topic) == "online" else Code.UNREACHABLE


def _complete(device: Known, state: Mapping[str, Any] | None, attributes: Sequence[str]) -> bool:
    """Whether what is asked for is known, or else what is shown of such a device first."""
    from navibridge.cli.board import main_keys

    return state is not None and all(state.get(name) is not None for name in attributes or main_keys(device))


def _check_names(device: Known, attributes: Sequence[str]) -> None:
    from navibridge.errors import CommandError

    unknown = [name for name in attributes if name not in (*device.attributes, *CORE)]
    if unknown:
        known = ", ".join(device.attributes)
        raise CommandError(
            f"{', '.join(unknown)}: no attribute of {device.topic}; it has {known}", code="unknown_attribute"
        )


CORE: Final = (
    "problem",
    "problems",
    "problem_text",
    "seen_at",
    "stale",
    "source",
    "temperature_unit",
    "raw",
)
"""What every state document has besides the device's attributes."""


def _print_state(device: Known, state: Mapping[str, Any], attributes: Sequence[str], *, json: bool) -> None:
    chosen = {name: state.get(name) for name in attributes} if attributes else dict(state)
    if json:
        typer.echo(as_json(chosen, pretty=True))
        return
    if len(attributes) == 1:
        typer.echo(shown(chosen[attributes[0]]))
        return
    unit = "F" if state.get("temperature_unit") == "F" else "C"
    rows = [
        (name, shown(value, device.unit(name, unit)))  # type: ignore[arg-type]
        for name, value in chosen.items()
        if attributes or value is not None
    ]
    typer.echo("\n".join(aligned(rows)))


def _ago(state: Mapping[str, Any]) -> str:
    from datetime import UTC, datetime

    try:
        seen = datetime.fromisoformat(str(state.get("seen_at")))
    except ValueError:
        return "at an unknown time"
    return f"{lasted((datetime.now(UTC) - seen).total_seconds())} ago"


async def _set(config: Config, wanted: str, changes: Mapping[str, object], *, ttl: float | None, json: bool) -> Code:
    from navibridge.cli.observer import some_bridge
    from navibridge.cli.visit import VISIT

    async with some_bridge(config, VISIT) as observer:
        device = await observer.find(wanted)
        patience = (ttl or config.commands.ttl) + len(changes) * (config.commands.timeout + config.commands.spacing)
        result = await _verdict(observer, device, changes, ttl=ttl, seconds=patience + GRACE)
    verdict = str(result.get("verdict"))
    if json:
        typer.echo(as_json(result, pretty=True))
    else:
        typer.echo(verdict_line(device.topic, result))
    return CODES.get(verdict, Code.FAILED)


async def _verdict(
    observer: Observer, device: Known, changes: Mapping[str, object], *, ttl: float | None, seconds: float
) -> dict[str, Any]:
    from navibridge.errors import CommandError

    try:
        return await observer.send(device, changes, ttl=ttl, seconds=seconds)
    except TimeoutError:
        raise CommandError(
            f"the bridge gave no verdict within {seconds:g} s; look at its log", verdict="unconfirmed", code="no_answer"
        ) from None


def verdict_line(topic: str, result: Mapping[str, Any]) -> str:
    """A verdict as one line for people."""
    verdict = result.get("verdict")
    values = (verdict == "applied" and result.get("values")) or result.get("changes") or {}
    said = ", ".join(f"{name} = {shown(value)}" for name, value in values.items())
    took = result.get("took_ms")
    time = f" after {took / 1000:.1f} s" if verdict == "applied" and isinstance(took, int | float) else ""
    reason = f": {result['reason']}" if result.get("reason") else ""
    return f"{topic}: {verdict}{time}{' (' + said + ')' if said else ''}{reason}"
