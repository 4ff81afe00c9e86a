"""`navibridge check`: what is wrong, step by step, and what to do about it.

    configuration ─▶ per account: name, TCP, TLS and clock of each server ─▶ sign-in ─▶ devices ─▶ cloud link
                  └▶ broker: connection ─▶ a message there and back ─▶ is a bridge running

A step that can not be made because an earlier one failed is skipped. The exit code is that of the first failure.
"""

# typer reads annotations at run time, options are flags by nature, and what is heavy is imported where it is used, so
# that `navibridge --help` is quick.
# ruff: noqa: FBT002, PLC0415

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from navibridge.cli.outcome import Code, code_of, once, words
from navibridge.cli.settings import BrokerOption, ConfigOption, JsonOption, broker_flag, load, log_settings
from navibridge.cli.table import as_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from navibridge.config import Config, Loaded
    from navibridge.errors import NavibridgeError
    from navibridge.model import Event

OK, FAILED, SKIPPED = "ok", "FAIL", "skipped"

CLOCK_LIMIT: Final = 300.0
"""Seconds that the clock may be wrong: AWS accepts signatures within five minutes of the right time."""


@dataclass(slots=True)
class Findings:
    """The verdicts so far; each is printed when it is found.

    Attributes:
        json: print JSON lines.
        code: of the first failure.
    """

    json: bool
    code: Code = Code.DONE

    def ok(self, step: str, text: str = "") -> None:
        """The step is in order."""
        self._print(step, OK, text)

    def skipped(self, step: str, text: str) -> None:
        """The step was not made."""
        self._print(step, SKIPPED, text)

    def fail(self, step: str, text: str, advice: str = "", code: Code = Code.UNREACHABLE) -> None:
        """The step shows what is wrong."""
        self.code = self.code or code
        self._print(step, FAILED, text, advice)

    def error(self, step: str, error: NavibridgeError) -> None:
        """The step has raised what is wrong."""
        advice = getattr(error, "what_to_do", "")
        self.fail(step, str(error) if advice else words(error), advice, code_of(error))

    def _print(self, step: str, verdict: str, text: str, advice: str = "") -> None:
        if self.json:
            found: dict[str, Any] = {"step": step, "verdict": verdict.lower(), "detail": text, "what_to_do": advice}
            typer.echo(as_json(found))
            return
        typer.echo(f"{verdict:<8}{step}{': ' + text if text else ''}")
        if advice:
            typer.echo(f"{'':<8}  -> {advice}")


def check(
    context: typer.Context,
    config: ConfigOption = None,
    broker: BrokerOption = None,
    limit: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long each step may take.")
    ] = 20,
    json: JsonOption = False,
) -> None:
    """Find out what is wrong, step by step.

    Configuration, names, TLS, clock, sign-in, cloud link and broker, each with a verdict and the next step.
    """
    from navibridge import log
    from navibridge.errors import ConfigError

    findings = Findings(json)
    try:
        loaded = load(context, config, broker_flag(broker))
    except ConfigError as error:
        for problem in error.problems:
            findings.fail("configuration", str(problem), code=Code.CONFIGURATION)
        raise typer.Exit(Code.CONFIGURATION) from None
    # What is wrong is a finding here; a log line would only say it twice.
    log.set_up(log_settings("error"), loaded.config.secrets())
    once(_check(loaded, findings, limit))


async def _check(loaded: Loaded, findings: Findings, limit: float) -> Code:
    config = loaded.config
    accounts = ", ".join(f"{name} ({account.vendor})" for name, account in config.accounts.items())
    where = f"{config.broker.host}:{config.broker.port}"
    findings.ok("configuration", f"{loaded.path or 'the environment'}; accounts {accounts}; broker {where}")
    for warning in loaded.warnings:
        findings.ok("configuration", f"but look at {warning}")
    for name in config.accounts:
        await _check_account(config, name, findings, limit)
    await _check_broker(config, findings, limit)
    return findings.code


async def _check_account(config: Config, name: str, findings: Findings, limit: float) -> None:
    from navibridge import vendors
    from navibridge.cli.probe import probe

    settings = config.accounts[name]
    reachable = True
    for server in vendors.load(settings.vendor).servers(settings):
        reachable &= await probe(server, f"{name}: {server.name}", findings, limit)
    steps = [f"{name}: {step}" for step in ("sign-in", "devices", "cloud link")]
    if not reachable:
        for step in steps:
            findings.skipped(step, "what is wrong with its servers comes first")
        return
    await _check_session(config, name, findings, steps, limit)


async def _check_session(config: Config, name: str, findings: Findings, steps: list[str], limit: float) -> None:
    """One attempt at the account, up to its link; signed in anew, whatever tokens there are."""
    import asyncio
    import tempfile
    from pathlib import Path

    from navibridge.cli.visit import visiting
    from navibridge.errors import AuthError, LinkError, NavibridgeError

    sign_in, listing, link = steps
    names: dict[str, str] = {}
    error: NavibridgeError | None = None
    with tempfile.TemporaryDirectory(prefix="navibridge-check-") as directory:
        try:
            async with asyncio.timeout(limit), visiting(config, name, Path(directory)) as events:
                await _reach_link(events, names)
        except TimeoutError:
            error = LinkError(f"not there within {limit:g} s", reason="timeout")
        except NavibridgeError as raised:
            error = raised
    if error is None or names:
        findings.ok(sign_in, config.accounts[name].vendor)
        held = ", ".join(f"{device_id} ({device})" for device_id, device in sorted(names.items()))
        findings.ok(listing, held or "the account holds none")
    elif isinstance(error, AuthError) or not isinstance(error, LinkError):
        findings.error(sign_in, error)
        findings.skipped(listing, "sign-in comes first")
        findings.skipped(link, "sign-in comes first")
        return
    if error is None:
        findings.ok(link)
    elif names:
        findings.error(link, error)
    else:
        findings.error(f"{name}: sign-in, devices or cloud link", error)


async def _reach_link(events: AsyncIterator[Event], names: dict[str, str]) -> None:
    """Follow an attempt until its link stands; notes the devices by id on the way. Raises what the attempt raises."""
    from navibridge.errors import LinkError
    from navibridge.model import Found, LinkUp, ReadOnly

    async for event in events:
        match event:
            case Found(device):
                names[device.id] = device.name
            case ReadOnly(reason, detail, what_to_do):
                raise LinkError(detail, reason=reason, what_to_do=what_to_do)
            case LinkUp():
                return


async def _check_broker(config: Config, findings: Findings, limit: float) -> None:
    import asyncio

    from navibridge.cli.observer import observing
    from navibridge.errors import LinkError
    from navibridge.topics import Topics

    connection, there_and_back, bridge = "broker: connection", "broker: a message there and back", "bridge"
    where = f"{config.broker.host}:{config.broker.port}"
    try:
        async with (
            asyncio.timeout(limit),
            observing(config.broker, Topics(config.broker.base_topic, config.discovery.prefix)) as observer,
        ):
            findings.ok(connection, where)
            if observer.echoed:
                findings.ok(there_and_back)
            else:
                findings.fail(
                    there_and_back,
                    f"what is published below {config.broker.base_topic} does not come back",
                    "Check the broker's access rules for this user.",
                    Code.REFUSED,
                )
            findings.ok(bridge, "one is running" if observer.online else "none is running")
    except (LinkError, TimeoutError) as error:
        advice = "Look at the broker's log and load, and check the network to it."
        late = LinkError(f"broker {where} did not answer within {limit:g} s", reason="timeout", what_to_do=advice)
        findings.error(connection, error if isinstance(error, LinkError) else late)
        findings.skipped(there_and_back, "the connection comes first")
        findings.skipped(bridge, "the connection comes first")
