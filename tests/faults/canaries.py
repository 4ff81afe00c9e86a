"""Secrets of every sort, planted in every place where they could enter, and everything that might spill one."""

from __future__ import annotations

import asyncio
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import orjson
from support.plants import ATTRIBUTE, VENDORS
from support.scene import scene

from navibridge.simulation import RestFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.scene import Scene

PASSWORD: Final = 'ca"na\\ry &pass/wörd+%41'
EMAIL: Final = "canary@example.com"
OF_THE_BROKER: Final = "canary-of-the-broker"

FOR_A_WHILE: Final = 0.7
"""Seconds that each spill has for being noticed and complained of."""


def spills(made: Scene) -> Iterator[Callable[[], object]]:
    """What goes wrong, one after the other: services and devices quote what they were told, and take no key."""
    token = min(made.plant.secrets())
    quoted = f"who is {EMAIL} with {PASSWORD} and {token}?"

    def listing(fault: RestFault) -> Callable[[], object]:
        def spill() -> None:
            made.plant.rest_fault(made.plant.listing, fault)
            made.plant.look_again()

        return spill

    yield listing(RestFault(400, {"code": 400, "msg": quoted, "message": quoted, "data": None}))
    yield listing(RestFault(502, f"<html>{quoted}</html>", "text/html"))
    yield listing(RestFault(302, "", headers={"Location": f"https://x.example/?token={token}&user={EMAIL}"}))
    yield listing(RestFault(200, f'{{"code": 200, "data": "{quoted}', "application/json"))
    yield listing(RestFault(429, {"msg": quoted}, headers={"Retry-After": token}, times=1))
    yield lambda: made.plant.rest_fault(made.plant.listing, None)
    yield lambda: made.plant.tell(made.device, quoted.encode())
    yield lambda: made.plant.tell(made.device, orjson.dumps({"MsgType": quoted, quoted: {quoted: quoted}}))
    yield lambda: setattr(made.cloud.faults, "refuse_upgrade", 403)
    yield lambda: setattr(made.cloud.faults, "rest_status", 500)
    yield lambda: made.plant.rest_fault(made.plant.sign_in, RestFault(400, {"code": 400, "msg": quoted}))
    yield made.plant.expire_tokens
    yield made.plant.expire_credentials
    yield made.cloud.drop_all
    yield lambda: made.plant.garble(made.device)


def healed(made: Scene) -> None:
    made.cloud.faults.refuse_upgrade = made.cloud.faults.rest_status = None
    made.plant.rest_fault(made.plant.sign_in, None)
    made.plant.garble(made.device, garbled=False)


async def _of(vendor: str, directory: Path) -> tuple[int, int]:
    """One vendor's; how many secrets there were, and how many lines of the log."""
    options = {"password": PASSWORD, "email": EMAIL}
    async with scene(directory, vendor=vendor, stale_after=30.0, options=options) as made:
        made.sections["log"] = {"level": "debug", "mqtt": True}
        made.sections["broker"] |= {"username": "bridge", "password": OF_THE_BROKER}
        made.start_program()
        await made.shown(20)
        await made.command({ATTRIBUTE: made.plant.value(3)})
        issued: set[str] = set()
        for spill in spills(made):
            issued |= made.plant.secrets()
            spill()
            await asyncio.sleep(FOR_A_WHILE)  # whether something is said, is the question
        healed(made)
        await made.shown(60)
        shown_to_all = process_list(made)
        await made.end_program(signal.SIGTERM)
        secrets = {PASSWORD, EMAIL, OF_THE_BROKER, *issued, *made.plant.secrets()}
        told = told_secret(said(made) + shown_to_all, secrets)
        assert told is None, f"{vendor}: a secret is told: {told}"
        assert "Traceback" not in made.program_log, made.program_log[made.program_log.index("Traceback") :][:2000]
        assert not open_files(made), f"{vendor}: others can read {open_files(made)}"
        return len(secrets), len(made.program_log.splitlines())


def process_list(made: Scene) -> str:
    """What every user of the machine sees of the program."""
    assert made.program is not None
    return Path(f"/proc/{made.program.pid}/cmdline").read_text()


def said(made: Scene) -> str:
    """Its log, and everything on the broker."""
    heard = (f"{topic} {payload.decode(errors='replace')}" for topic, payload in made.consumer.seen)
    return "\n".join((made.program_log, *heard))


def told_secret(text: str, secrets: set[str]) -> str | None:
    """The line that tells one, in whatever spelling, up to the secret itself."""
    for secret in secrets:
        for spelling in (secret, orjson.dumps(secret).decode()[1:-1], quote(secret, safe="")):
            place = text.find(spelling)
            if place >= 0:
                return text[max(0, place - 150) : place].splitlines()[-1]
    return None


def open_files(made: Scene) -> list[str]:
    """Those of its state that others can read."""
    return [path.name for path in made.state_directory.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o77]


async def canaries(directory: Path) -> str:
    """Found in no log at any level, on no topic, and not in the list of processes."""
    told = await asyncio.gather(*(_of(vendor, directory / vendor) for vendor in VENDORS))
    secrets, lines = (sum(numbers) for numbers in zip(*told, strict=True))
    return f"{secrets} secrets, {lines} log lines at DEBUG and every topic: none is told"
