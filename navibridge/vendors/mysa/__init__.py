"""Mysa: thermostats for baseboard and in-floor heaters, and for air conditioners.

`Settings` is all that checking a configuration needs; the tables, the session and the simulated cloud are imported when
they are asked for.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field

from navibridge.config import AccountSettings, Seconds
from navibridge.vendors import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from navibridge.capture import Private
    from navibridge.model import Explained, Kind
    from navibridge.simulation import Simulator
    from navibridge.vendors import Context, Session

    KINDS: tuple[Kind, ...]
    PRIVATE: Private

TITLE: Final = "Mysa"

DEMO: Final[Mapping[str, Any]] = MappingProxyType(
    {"devices": 5, "speed": 60.0, "batch_minutes": 1, "poll_interval": 30}
)
"""One thermostat of each sort, each living a minute in a second."""

DIALECTS: Final = ()

_Address: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^(https://[^\s/?#]+|http://127\.0\.0\.1(:\d+)?)(/[^\s?#]*)?$",
        json_schema_extra={"x-allowed": "an address that begins with https://"},
    ),
]


class Settings(AccountSettings):
    """An account at Mysa."""

    vendor: Literal["mysa"] = Field("mysa", description="The vendor's name, as its folder is called.")
    poll_interval: Seconds = Field(60, ge=30, le=300, description="Seconds between two looks at the REST service.")
    api_url: _Address = Field(
        "https://app-prod.mysa.cloud",
        description="Address of the REST service.",
    )
    authorization: Literal["raw", "bearer"] = Field(
        "raw", description="How the REST service is shown the token: as it is, or after the word Bearer."
    )
    user_pool_url: _Address = Field(
        "https://cognito-idp.us-east-1.amazonaws.com",
        description="Address of Amazon Cognito's user pools, where the account signs in.",
    )
    user_pool: str = Field(
        "us-east-1_GUFWfhI7g",
        pattern=r"^[\w-]+_[0-9A-Za-z]+$",
        description="The vendor's user pool.",
        json_schema_extra={"x-allowed": "an id such as us-east-1_AbCdEfGhI"},
    )
    client_id: str = Field(
        "19efs8tgqe942atbqmot5m36t3", min_length=1, description="Client id of the vendor's app at the user pool."
    )
    identity_pool_url: _Address = Field(
        "https://cognito-identity.us-east-1.amazonaws.com",
        description="Address of Amazon Cognito's identity pools, which grant the credentials for AWS IoT.",
    )
    identity_pool: str = Field(
        "us-east-1:ebd95d52-9995-45da-b059-56b865a18379", min_length=1, description="The vendor's identity pool."
    )
    iot_host: str = Field(
        "a3q27gia9qg3zy-ats.iot.us-east-1.amazonaws.com", min_length=1, description="Host of the AWS IoT endpoint."
    )
    iot_port: int = Field(443, ge=1, le=65535, description="TCP port of the AWS IoT endpoint.")
    iot_path: str = Field(
        "/mqtt",
        pattern=r"^/[^\s?#]*$",
        description="Path of the WebSocket at the AWS IoT endpoint.",
        json_schema_extra={"x-allowed": "a path that begins with /"},
    )
    region: str = Field("us-east-1", min_length=1, description="AWS region of the endpoints.")
    keep_alive: int = Field(60, ge=30, le=1200, description="Seconds between signs of life on a link to AWS IoT.")
    publish_timeout: Seconds = Field(
        300, ge=60, le=3600, description="Seconds for which a device is asked to report; it is asked again before."
    )
    watchdog: Seconds = Field(
        300, ge=60, le=3600, description="Seconds without any message after which a link to AWS IoT is opened anew."
    )
    sign_ins: int = Field(
        4, ge=1, le=60, description="Sign-ins within ten minutes, restarts included; more could lock the account."
    )


def open_session(settings: Settings, context: Context) -> Session:
    """An account's session; opens nothing yet."""
    from navibridge.vendors.mysa.session import MysaSession  # noqa: PLC0415 - see the module's docstring

    return MysaSession(settings, context)


def explain(payload: bytes) -> Explained:
    """Take a payload apart. Raises `FrameError`."""
    from navibridge.vendors.mysa.explaining import explain as taken_apart  # noqa: PLC0415 - as above

    return taken_apart(payload)


def simulator(devices: int, **options: Any) -> Simulator:
    """The simulated cloud with that many devices; see `navibridge.vendors.mysa.simulated.cloud.simulator`."""
    from navibridge.vendors.mysa.simulated.cloud import simulator as make_simulator  # noqa: PLC0415 - as above

    return make_simulator(devices, **options)


def servers(settings: Settings) -> tuple[Server, ...]:
    """The servers that an account needs, in the order in which they are needed."""
    ca_file = str(settings.ca_file) if settings.ca_file else None

    def rest(name: str, url: str) -> Server:
        address = urlsplit(url)
        return Server(name, address.hostname or "", address.port or (80 if address.scheme == "http" else 443), ca_file)

    return (
        rest("sign-in", settings.user_pool_url),
        rest("identity pool", settings.identity_pool_url),
        rest("REST service", settings.api_url),
        Server("AWS IoT", settings.iot_host, settings.iot_port, ca_file),
    )


def __getattr__(name: str) -> Any:
    """`KINDS`, the device tables, and `PRIVATE`, for captures: made when they are first asked for."""
    if name == "KINDS":
        from navibridge.vendors.mysa.devices import KINDS as kinds  # noqa: N811, PLC0415 - as above

        return kinds
    if name == "PRIVATE":
        from navibridge.vendors.mysa.private import PRIVATE as private  # noqa: N811, PLC0415 - as above

        return private
    raise AttributeError(name)
