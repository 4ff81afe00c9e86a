"""Navien NaviLink: heat-pump water heaters, and the gas units of the same cloud.

`Settings` is all that checking a configuration needs; the tables, the session and the simulated cloud are imported when
they are asked for.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from navibridge.config import AccountSettings, Options
from navibridge.vendors import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.capture import Private
    from navibridge.model import Explained, Kind
    from navibridge.simulation import Simulator
    from navibridge.vendors import Context, Session

    KINDS: tuple[Kind, ...]
    PRIVATE: Private

TITLE: Final = "NaviLink"

DEMO: Final[Mapping[str, Any]] = MappingProxyType(
    {"devices": 2, "dialects": ("json", "binary"), "speed": 60.0, "report": 5.0, "poll_interval": 10}
)
"""Two water heaters, one for each way of speaking, that live a minute in a second."""

DIALECTS: Final = ("json", "json87", "binary")
"""JSON of today's firmware and of an older one, and the packed record of `docs/protocol/navilink-binary.md`."""


class Alerts(Options):
    """What a person should know of; ``off`` switches one off."""

    charge_below: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = Field(
        20, description="Warn when less hot water than this is left, in %."
    )
    power_above: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] | None = Field(
        4000, description="Warn when a unit draws more than this, in W."
    )


class Settings(AccountSettings):
    """An account at NaviLink."""

    vendor: Literal["navilink"] = Field("navilink", description="The vendor's name, as its folder is called.")
    api_url: str = Field(
        "https://nlus.naviensmartcontrol.com/api/v2.1",
        pattern=r"^(https://[^\s/?#]+|http://127\.0\.0\.1(:\d+)?)(/[^\s?#]*)?$",
        description="Address of the REST service.",
        json_schema_extra={"x-allowed": "an address that begins with https://"},
    )
    iot_host: str = Field(
        "a1t30mldyslmuq-ats.iot.us-east-1.amazonaws.com", min_length=1, description="Host of the AWS IoT endpoint."
    )
    iot_port: int = Field(443, ge=1, le=65535, description="TCP port of the AWS IoT endpoint.")
    region: str = Field("us-east-1", min_length=1, description="AWS region of the endpoint.")
    keep_alive: int = Field(60, ge=30, le=1200, description="Seconds between signs of life on the link to AWS IoT.")
    response_topics: Literal["app", "library"] = Field(
        "app", description="Where devices answer: as they do for the vendor's app, or under their own topics."
    )
    sign_ins: int = Field(
        4, ge=1, le=60, description="Sign-ins within ten minutes, restarts included; more could lock the account."
    )
    alerts: Alerts = Field(Alerts(), description="Limits beyond which a unit has a problem.")


def open_session(settings: Settings, context: Context) -> Session:
    """An account's session; opens nothing yet."""
    from navibridge.vendors.navilink.session import NavilinkSession  # noqa: PLC0415 - see the module's docstring

    return NavilinkSession(settings, context)


def explain(payload: bytes) -> Explained:
    """Take a payload apart. Raises `FrameError`."""
    from navibridge.vendors.navilink.explaining import explain as taken_apart  # noqa: PLC0415 - as above

    return taken_apart(payload)


def simulator(devices: int, **options: Any) -> Simulator:
    """The simulated cloud with that many devices; see `navibridge.vendors.navilink.simulated.cloud.simulator`."""
    from navibridge.vendors.navilink.simulated.cloud import simulator as make_simulator  # noqa: PLC0415 - as above

    return make_simulator(devices, **options)


def servers(settings: Settings) -> tuple[Server, ...]:
    """The servers that an account needs, in the order in which they are needed."""
    address = urlsplit(settings.api_url)
    ca_file = str(settings.ca_file) if settings.ca_file else None
    return (
        Server("REST service", address.hostname or "", address.port or 443, ca_file),
        Server("AWS IoT", settings.iot_host, settings.iot_port, ca_file),
    )


def __getattr__(name: str) -> Any:
    """`KINDS`, the device tables, and `PRIVATE`, for captures: made when they are first asked for."""
    if name == "KINDS":
        from navibridge.vendors.navilink.devices import KINDS as kinds  # noqa: N811, PLC0415 - as above

        return kinds
    if name == "PRIVATE":
        from navibridge.vendors.navilink.private import PRIVATE as private  # noqa: N811, PLC0415 - as above

        return private
    raise AttributeError(name)
