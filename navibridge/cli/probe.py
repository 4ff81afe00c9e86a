"""One server of a vendor, asked step by step: its name, its port, its certificate, and the time it has."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from navibridge.cli.check import CLOCK_LIMIT
from navibridge.errors import ADVICE

if TYPE_CHECKING:
    from navibridge.cli.check import Findings
    from navibridge.vendors import Server

_HEAD_LIMIT: Final = 64 * 1024
_EXPIRY_CODES: Final = frozenset({9, 10})
"""OpenSSL's verify codes of a certificate that is not valid yet, or no longer."""


async def probe(server: Server, step: str, findings: Findings, limit: float) -> bool:
    """Whether the server can be reached and trusted, and the clock agrees with its own.

    Args:
        server: to be asked.
        step: what the findings call it.
        findings: where the verdicts go.
        limit: seconds for each step.
    """
    where = f"{server.host}:{server.port}"
    address = await _name(server, step, findings, limit)
    if address is None or not await _port(address, server.port, step, findings, limit):
        for later in ("TLS", "clock"):
            findings.skipped(f"{step}, {later}", f"{where} has to be reached first")
        return False
    date = await _certificate(server, step, findings, limit)
    if date is None:
        findings.skipped(f"{step}, clock", "TLS comes first")
        return False
    return _clock(date, step, findings)


async def _name(server: Server, step: str, findings: Findings, limit: float) -> str | None:
    step = f"{step}, name"
    try:
        async with asyncio.timeout(limit):
            found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        findings.fail(step, f"nobody resolved {server.host} within {limit:g} s", ADVICE["dns"])
        return None
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        findings.fail(step, f"{server.host} can not be resolved: {why}", ADVICE["dns"])
        return None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    findings.ok(step, f"{server.host} is {', '.join(addresses)}")
    return addresses[0]


async def _port(address: str, port: int, step: str, findings: Findings, limit: float) -> bool:
    step = f"{step}, TCP"
    try:
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        findings.fail(step, f"{address}:{port} refuses the connection", ADVICE["refused"])
    except TimeoutError:
        findings.fail(step, f"{address}:{port} does not answer within {limit:g} s", ADVICE["timeout"])
    except OSError as error:
        findings.fail(step, f"{address}:{port} can not be reached: {error.strerror or error}", ADVICE["unreachable"])
    else:
        writer.transport.abort()
        findings.ok(step, f"port {port} is open")
        return True
    return False


async def _certificate(server: Server, step: str, findings: Findings, limit: float) -> str | None:
    """The ``Date`` that the server answers with, empty when it says none; ``None`` without a trusted connection."""
    step = f"{step}, TLS"
    try:
        async with asyncio.timeout(limit):
            trust = await asyncio.to_thread(ssl.create_default_context, cafile=server.ca_file)
            reader, writer = await asyncio.open_connection(server.host, server.port, ssl=trust, limit=_HEAD_LIMIT)
            try:
                findings.ok(step, f"the certificate is trusted{' by ' + server.ca_file if server.ca_file else ''}")
                return await _date(server, reader, writer)
            finally:
                writer.transport.abort()
    except ssl.SSLCertVerificationError as error:
        advice = ADVICE["clock"] if error.verify_code in _EXPIRY_CODES else ADVICE["tls"]
        findings.fail(step, f"the certificate is not trusted: {error.verify_message}", advice)
    except TimeoutError:
        findings.fail(step, f"no end of the handshake within {limit:g} s", ADVICE["timeout"])
    except OSError as error:
        findings.fail(
            step, f"no connection: {getattr(error, 'reason', None) or error.strerror or error}", ADVICE["tls"]
        )
    return None


async def _date(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask for nothing in particular: any answer of HTTP carries the time."""
    try:
        writer.write(f"HEAD / HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        return ""
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "date":
            return value.strip()
    return ""


def _clock(date: str, step: str, findings: Findings) -> bool:
    step = f"{step}, clock"
    try:
        ahead = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        findings.skipped(step, "the server does not say what time it is")
        return True
    apart = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    if abs(ahead) > CLOCK_LIMIT:
        findings.fail(step, f"this clock is {apart}", ADVICE["clock"])
        return False
    findings.ok(step, "right to the second" if abs(ahead) < 1.5 else apart)  # noqa: PLR2004 - the header has whole seconds
    return True
