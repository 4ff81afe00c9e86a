"""A real Mosquitto for tests: a process of its own, on a free port of the loopback interface.

Where the program is not installed, a container does; where Docker does not answer either, the embedded broker stands
in, so that the suite can be tried anywhere. ``REQUIRE_MOSQUITTO=1`` forbids that: absence is a failure then.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, Protocol

import pytest
import trustme
from support import embedded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

BrokerKind = Literal["process", "container", "embedded"]

REQUIRED = "REQUIRE_MOSQUITTO"
IMAGE = "eclipse-mosquitto:2"
HOST = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class NotStarted(Exception):
    """Mosquitto ended instead of serving; the text has its log."""


class Runner(Protocol):
    """One way to run Mosquitto with a configuration file, or what stands in for it."""

    async def start(self) -> None: ...
    def alive(self) -> bool: ...
    def send_signal(self, number: signal.Signals) -> None: ...
    async def stopped(self) -> None: ...


def program() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@functools.cache
def kind() -> BrokerKind:
    """What Mosquitto is here; fails the test when it is required and missing."""
    if program() is not None:
        return "process"
    if _docker_answers():
        return "container"
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(
            f"{REQUIRED}=1, but there is no Mosquitto: no program `mosquitto` on the PATH or in /usr/sbin, and Docker "
            "does not answer. Install the package `mosquitto`.",
            pytrace=False,
        )
    return "embedded"


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def free_port() -> int:
    """A port that was free a moment ago; Mosquitto can not be asked to choose one itself."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Mosquitto:
    """A broker that can be stopped, started, killed and paused.

    Attributes:
        host: address to connect to.
        port: MQTT port; TLS when made with ``tls``. Kept over restarts.
        websocket_port: port of the WebSocket listener, ``None`` without ``websockets``.
        users: password by user name; empty when everybody may connect.
        ca_file: with TLS, what to verify the broker with.
        client_cert_file: with ``tls="mutual"``, the client's certificate.
        client_key_file: and its key.
    """

    def __init__(
        self,
        directory: Path,
        *,
        users: Mapping[str, str] | None = None,
        acl: str | None = None,
        tls: Literal["server", "mutual"] | None = None,
        websockets: bool = False,
        port: int | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        self.host = HOST
        self.port = port or free_port()
        self.websocket_port = free_port() if websockets else None
        self.users = dict(users or {})
        self.ca_file: Path | None = None
        self.client_cert_file: Path | None = None
        self.client_key_file: Path | None = None
        self._directory = directory
        self._acl = acl
        self._tls = tls
        self._extra = extra
        self._fixed_port = port is not None
        self._runner: Runner | None = None
        directory.mkdir(parents=True, exist_ok=True)
        if tls:
            self._make_certificates()

    @property
    def log(self) -> str:
        """What Mosquitto has written to its log so far, over all starts."""
        path = self._directory / "mosquitto.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        return self._runner is not None and self._runner.alive()

    def needs_mqtt5(self) -> None:
        """Skip a test that the stand-in can not serve."""
        if kind() == "embedded":
            pytest.skip("needs a real Mosquitto; the embedded broker speaks MQTT 3.1.1 only")

    async def start(self) -> None:
        """Start and return when it takes connections."""
        if self.running:
            return
        for attempt in range(5):
            try:
                await self._start()
                return
            except NotStarted:
                # Between finding the port and binding it, another program may have taken it.
                if self._fixed_port or "Address already in use" not in self.log or attempt == 4:
                    raise
                self.port = free_port()
                self.websocket_port = free_port() if self.websocket_port else None

    async def stop(self, *, kill: bool = False) -> None:
        """Stop in order, or as a power cut would; sessions and retained messages are on disk after the former."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        runner.send_signal(signal.SIGCONT)
        runner.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            await runner.stopped()

    async def restart(self, *, keep: bool = False) -> None:
        """Stop and start; everything is forgotten unless ``keep``."""
        await self.stop()
        if not keep:
            for kept in ("mosquitto.db", embedded.KEPT):
                (self._directory / kept).unlink(missing_ok=True)
        await self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        if self._runner is not None:
            self._runner.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._runner is not None:
            self._runner.send_signal(signal.SIGCONT)

    async def _start(self) -> None:
        config = self._directory / "mosquitto.conf"
        config.write_text("\n".join(self._configuration()) + "\n")
        self._runner = self._make_runner(config)
        await self._runner.start()
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._serves():
                    if not self._runner.alive():
                        raise NotStarted(f"mosquitto ended at once; its log:\n{self.log}")
                    await asyncio.sleep(0.005)
        except BaseException:
            await self.stop(kill=True)
            raise

    async def _serves(self) -> bool:
        for port in filter(None, (self.port, self.websocket_port)):
            try:
                _, writer = await asyncio.open_connection(self.host, port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
        return True

    def _make_runner(self, config: Path) -> Runner:
        match kind():
            case "process":
                path = program()
                assert path is not None
                return _Process([path, "-c", str(config)], self._directory)
            case "container":
                return _Container(config)
            case "embedded":
                if self._tls or self._acl or self._extra or self.websocket_port:
                    pytest.skip("needs a real Mosquitto; only the embedded broker is here")
                if self.users:
                    (self._directory / embedded.PASSWORDS).write_text(json.dumps(self.users))
                command = [sys.executable, embedded.__file__, str(self.port), str(self._directory)]
                return _Process(command, self._directory)

    def _configuration(self) -> list[str]:
        """The lines of mosquitto.conf."""
        lines = [
            f"log_dest file {self._directory / 'mosquitto.log'}",
            *(f"log_type {sort}" for sort in ("error", "warning", "notice", "information")),
            # Written at an orderly stop only; `restart` decides whether it is kept.
            "persistence true",
            f"persistence_location {self._directory}/",
            f"allow_anonymous {'false' if self.users else 'true'}",
            "set_tcp_nodelay true",
            *self._extra,
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up its rights, and with them the directory
        if self.users:
            path = self._directory / "passwords"
            path.write_text("".join(f"{name}:{_password_hash(password)}\n" for name, password in self.users.items()))
            path.chmod(0o600)
            lines.append(f"password_file {path}")
        if self._acl is not None:
            path = self._directory / "acl"
            path.write_text(self._acl)
            path.chmod(0o600)
            lines.append(f"acl_file {path}")
        lines.append(f"listener {self.port} {self.host}")
        secured = []
        if self._tls:
            secured = [f"{name} {self._directory / name}.pem" for name in ("cafile", "certfile", "keyfile")]
            secured.append(f"require_certificate {'true' if self._tls == 'mutual' else 'false'}")
        lines += secured
        if self.websocket_port:
            lines += [f"listener {self.websocket_port} {self.host}", "protocol websockets", *secured]
        return lines

    def _make_certificates(self) -> None:
        authority = trustme.CA()
        server = authority.issue_cert(HOST, "localhost")
        self.ca_file = self._directory / "cafile.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        (self._directory / "certfile.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        server.private_key_pem.write_to_path(str(self._directory / "keyfile.pem"))
        if self._tls == "mutual":
            client = authority.issue_cert("client.test", common_name="client")
            self.client_cert_file = self._directory / "client_cert.pem"
            self.client_key_file = self._directory / "client_key.pem"
            self.client_cert_file.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
            client.private_key_pem.write_to_path(str(self.client_key_file))


def _password_hash(password: str) -> str:
    """A line's second half in Mosquitto's password file: PBKDF2 with SHA-512, as `mosquitto_passwd` writes it."""
    salt, rounds = os.urandom(12), 101
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


class _Process:
    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self._command = command
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        # Configuration errors come before the log file is open, so both end up in one place.
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)  # noqa: ASYNC220 - forks at once

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    async def stopped(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)


class _Container:
    """Mosquitto in Docker, on the host's network and with the same paths, so that one configuration suits both."""

    def __init__(self, config: Path) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - heavy, and rarely needed

        directory = str(config.parent)
        self._container = (
            DockerContainer(IMAGE)
            .with_volume_mapping(directory, directory, "rw")
            .with_kwargs(network_mode="host", user=f"{os.geteuid()}:{os.getegid()}")
            .with_command(f"mosquitto -c {config}")
        )

    async def start(self) -> None:
        await asyncio.to_thread(self._container.start)

    def alive(self) -> bool:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return bool(wrapped.status in ("created", "running", "paused"))

    def send_signal(self, number: signal.Signals) -> None:
        if self.alive():
            self._container.get_wrapped_container().kill(number.name)

    async def stopped(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().wait)
        await asyncio.to_thread(self._container.stop)


@asynccontextmanager
async def running(mosquitto: Mosquitto) -> AsyncIterator[Mosquitto]:
    """Started inside, stopped after, whatever happens in between."""
    await mosquitto.start()
    try:
        yield mosquitto
    finally:
        await mosquitto.stop()
