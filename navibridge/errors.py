"""The exception tree: one class per reaction, and no class without one.

    NavibridgeError
      ConfigError     fix the file         -> exit code 2, all problems listed
      AuthError       needs a person       -> this account stops and says so in its state; the others go on
      LinkError       try again            -> back-off
        Throttled     try again later      -> back-off, not before `retry_after` seconds
      FrameError      drop this frame      -> counted, logged once per sort
      CommandError    tell the sender      -> the verdict on the device's result topic

Foreign exceptions (of awscrt, aiohttp, aiomqtt, orjson, ...) are mapped onto this tree in the one module that imports
the library, always with ``raise ... from``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

OTHERWISE: Final = "Nothing at first; should it last, `navibridge check` finds out where it ends."
"""What a person can do about a `LinkError` whose reason has no advice of its own."""

ADVICE: Final = {
    "dns": "Check the network's name server and the spelling of the host name.",
    "declined": "Nothing, it is tried again; if it lasts, the service has changed: look for a new release.",
    "refused": "Check host and port, and whether a firewall is in between.",
    "unreachable": "Check this machine's network.",
    "timeout": "Check this machine's network; outages of the service pass by themselves.",
    "tls": "Check the clock of this machine and its certificate authorities, and that nothing in between opens TLS.",
    "clock": "Set the clock of this machine: signatures are accepted within 5 minutes of the right time.",
    "upgrade_refused": "Nothing at first: new credentials are fetched by signing in again.",
    "service": "Nothing; outages of the service pass by themselves.",
    "closed": "Nothing at first; if it repeats every few seconds, another program uses the same client id.",
    "connect_refused": "Check that the endpoint speaks the configured protocol (MQTT3 or MQTT5).",
    "half_open": "Nothing, it is connected anew; if it repeats, look at what is in between: router, firewall, VPN.",
    "silent": "Nothing, it is connected anew; if it repeats, check this machine's network.",
    "left_out": "Check that the device is online in the vendor's app.",
    "publish_refused": "Nothing at first; if it repeats, please report it with the lines around it in the log.",
    "failed": OTHERWISE,
    "internal": "Nothing, it is started anew; please report it with the lines around it in the log.",
    "not_captured": "Record the capture again, from the sign-in on.",
}
"""What a person can do about a `LinkError`, by its reason, where whoever raises it knows nothing better."""


def counted(number: int, noun: str) -> str:
    """How many, as messages say it: ``1 byte``, ``2 bytes``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class NavibridgeError(Exception):
    """Whatever navibridge raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration.

    Attributes:
        where: ``file:line`` or the name of the environment variable or flag the value came from.
        path: the key path, such as ``accounts.home.poll_interval``.
        message: what was given, what is allowed, and the nearest known key for a typo.
    """

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        """The problem as one line: place, key path, message."""
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class ConfigError(NavibridgeError):
    """The configuration must be mended by a person; carries every problem that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class AuthError(NavibridgeError):
    """The vendor refused the account for good; trying again would only lock it.

    Attributes:
        reason: machine-readable, one of a closed list per vendor, such as ``wrong_password``.
        what_to_do: the next step, as a sentence for the account's owner.
    """

    def __init__(self, message: str, *, reason: str, what_to_do: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.what_to_do = what_to_do


class LinkError(NavibridgeError):
    """A network, a cloud or a broker is away or misbehaves; it may come back by itself.

    Attributes:
        reason: machine-readable, such as ``dns``, ``tls``, ``timeout``, ``upgrade_refused``, ``closed``.
        what_to_do: what a person can do should it last; by default what `ADVICE` has for the reason.
    """

    def __init__(self, message: str, *, reason: str = "unreachable", what_to_do: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.what_to_do = what_to_do or ADVICE.get(reason, OTHERWISE)


class Throttled(LinkError):
    """The far end asks for patience: not before ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, reason="throttled", what_to_do="Nothing; it is tried again after the time asked for.")
        self.retry_after = retry_after


class FrameError(NavibridgeError):
    """A payload that does not say what it should; it is dropped, counted and logged once per sort.

    Attributes:
        sort: a short stable name of what is wrong, such as ``truncated``; the log is limited by it.
    """

    def __init__(self, message: str, *, sort: str) -> None:
        super().__init__(message)
        self.sort = sort


class CommandError(NavibridgeError):
    """A command that can not be carried out, with the verdict its sender is told.

    Attributes:
        verdict: ``rejected`` (never sent), ``refused`` (device or cloud said no) or ``unconfirmed`` (no answer).
        code: machine-readable, such as ``out_of_range``; see `navibridge.commands`.
        id: the sender's own id of a command that got no further than being read.
    """

    def __init__(
        self,
        message: str,
        *,
        verdict: str = "rejected",
        code: str = "invalid_value",
        id: str | int | None = None,  # noqa: A002 - its name in the payload and in the result
    ) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.code = code
        self.id = id


def cause(error: Exception) -> Exception:
    """The one exception that matters of those in nested groups: a person's task, then a defect, then the link."""
    leaves = _leaves(error)
    return min(leaves, key=lambda leaf: 0 if isinstance(leaf, AuthError) else isinstance(leaf, NavibridgeError) + 1)


def _leaves(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]
