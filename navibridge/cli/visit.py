"""One account seen without a bridge: a single attempt of its session."""

from __future__ import annotations

import time
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from navibridge import vendors
from navibridge.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from navibridge.config import Config
    from navibridge.model import Event

VISIT: Final = "visit"
"""The directory below the state directory where commands that visit the cloud keep tokens and their own identity.

The running bridge's own must not be used: its identity in the cloud goes with them, and two connections with one
identity throw each other out.
"""


@asynccontextmanager
async def visiting(config: Config, account: str, directory: Path | None = None) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of one attempt at an account, which ends with the block.

    Args:
        config: the configuration.
        account: its name in there.
        directory: where tokens are kept; the commands' own when not given.
    """
    settings = config.accounts[account]
    context = vendors.Context(
        account=account,
        store=Store(directory or config.state_dir / VISIT),
        clock=time.time,
        count=lambda _: None,
        device_settings=partial(config.device, settings.vendor),
    )
    session = vendors.load(settings.vendor).open_session(settings, context)
    async with aclosing(session.events()) as events:
        yield events
