"""Options that there is one of for each vendor, such as ``--navilink 2``: a new vendor brings its own."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from navibridge import vendors

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = "devices"
"""The parameter that the options stand for: how many devices, by vendor; ``None`` where nothing was said."""


def with_vendor_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each vendor in the place of its parameter ``devices``."""
    names = vendors.names()
    option = {
        name: inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                int | None,
                typer.Option(f"--{name}", metavar="N", min=0, max=1000, help=f"How many devices of {name}; 0 is none."),
            ],
        )
        for name in names
    }

    @wraps(command)
    def collected(**given: Any) -> None:
        command(**{PLACE: {name: given.pop(name) for name in names}}, **given)

    signature = inspect.signature(command, eval_str=True)
    others = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
        if parameter.name != PLACE
    ]
    parameters = [*option.values(), *others]
    # What the command line is made from.
    collected.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    collected.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return collected
