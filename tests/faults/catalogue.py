"""The table of faults: what goes wrong, what is promised all the same, how it shows, and how it heals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.trial import Fault, account_says, all_away, device_away

if TYPE_CHECKING:
    from support.scene import Scene


async def close_rest(made: Scene) -> None:
    await made.rest.close()


async def open_rest(made: Scene) -> None:
    await made.rest.open()


async def close_cloud(made: Scene) -> None:
    await made.rest.close()
    await made.iot.close()


async def open_cloud(made: Scene) -> None:
    await made.rest.open()
    await made.iot.open()


FAULTS: tuple[Fault, ...] = (
    Fault(
        "REST absent at start",
        "named within 5 s; back by itself",
        close_rest,
        open_rest,
        at_start=True,
        sign=account_says("refused"),
        recover=7,
    ),
    Fault(
        "cloud absent at start",
        "named within 5 s; back by itself",
        close_cloud,
        open_cloud,
        at_start=True,
        sign=account_says("refused"),
        recover=7,
    ),
    Fault(
        "broker restarts, remembering nothing",
        "everything published again within 2 s",
        lambda made: made.mosquitto.stop(),
        lambda made: made.mosquitto.start(),
        sign=all_away,
        recover=4,
    ),
    Fault(
        "device silent",
        "it goes away, the others stay",
        lambda made: setattr(made.plant.faults(made.device), "silent", True),
        lambda made: setattr(made.plant.faults(made.device), "silent", False),
        sign=device_away,
        within=5.5,
        others_stay=True,
    ),
)
