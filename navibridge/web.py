"""Health and metrics over HTTP, for container checks and Prometheus.

    /health    how the bridge is doing, as JSON; 200 when it is well, 503 with the reasons when it is not
    /metrics   the same in figures, as Prometheus text
    /          to /health

Nothing can be changed here and nothing secret is told, but nobody is asked for a password either: the default is the
loopback interface.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NoReturn

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge import config

log = logging.getLogger(__name__)

RETRY: Final = 30.0
"""Seconds between two attempts at an address that is taken; a bridge that is being replaced frees it soon."""

CLOSE_LIMIT: Final = 1.0
"""Seconds that answers on their way have when the bridge is stopped."""

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The type of Prometheus' text format."""

NO_STORE: Final = {"Cache-Control": "no-store"}


class Web:
    """The HTTP endpoint of one bridge.

    Args:
        settings: where to listen.
        health: how the bridge is doing; ``healthy`` in it decides on the status.
        metrics: the figures as Prometheus text.

    Attributes:
        address: host and port that it listens on; ``None`` while it does not.
    """

    def __init__(
        self, settings: config.Web, health: Callable[[], Mapping[str, Any]], metrics: Callable[[], bytes]
    ) -> None:
        self.address: tuple[str, int] | None = None
        self._settings = settings
        self._health = health
        self._metrics = metrics

    async def run(self) -> NoReturn:
        """Listen until cancelled. An address that can not be had is tried again; the bridge goes on without it."""
        app = web.Application()
        app.router.add_get("/", self._at_root)
        app.router.add_get("/health", self._at_health)
        app.router.add_get("/metrics", self._at_metrics)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_LIMIT)
        await runner.setup()
        try:
            await self._listen(runner)
            await asyncio.Event().wait()
        finally:
            self.address = None
            await runner.cleanup()
        raise AssertionError  # an event that nobody sets

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self._settings.address
        told = False
        while True:
            site = web.TCPSite(runner, host, port)
            try:
                await site.start()
            except OSError as error:
                await site.stop()
                if not told:
                    log.warning(
                        "health and metrics can not listen on %s (%s); the bridge runs without them. Set web.listen to "
                        "a free address, or web.enabled to false",
                        self._settings.listen,
                        error.strerror or error,
                    )
                told = True
                await asyncio.sleep(RETRY)
            else:
                self.address = tuple(runner.addresses[0][:2])
                log.info(
                    "health and metrics at http://%s:%d", host if ":" not in host else f"[{host}]", self.address[1]
                )
                return

    async def _at_root(self, _request: web.Request) -> web.Response:
        raise web.HTTPFound("/health")

    async def _at_health(self, _request: web.Request) -> web.Response:
        health = self._health()
        return web.Response(
            body=orjson.dumps(health, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
            status=200 if health["healthy"] else 503,
            content_type="application/json",
            headers=NO_STORE,
        )

    async def _at_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={**NO_STORE, "Content-Type": TEXT})
