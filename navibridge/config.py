"""The configuration: what can be set, where it may be set, and what is wrong with it.

`Config` and the models below it are the only list of options: the checks, `navibridge schema` and the messages about
mistakes come from them. `load` reads the layers (see `navibridge.sources`) from the weakest to the strongest: the
file, the environment (with a ``.env`` below the real one), the command line's flags. They become one tree of texts
that know where they came from, the tree is validated once, and every problem is reported at once with its place.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import core_schema

from navibridge import mistakes, sources
from navibridge.errors import ConfigError, Problem, counted
from navibridge.log import is_plain
from navibridge.sources import Branch, Listing, Origin, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

    from navibridge.mistakes import Schema


class Secret:
    """A text that no log, exception or `repr` shows; `reveal` hands it out where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "…"

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def _taken(cls, given: object) -> Secret:
        if isinstance(given, cls):
            return given
        if isinstance(given, str) and given:
            return cls(str(given))
        raise ValueError("not a text, or an empty one")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """A text or a `Secret` is taken; what is dumped is hidden."""
        return core_schema.no_info_plain_validator_function(
            cls._taken, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """To an editor it is a password."""
        return {
            "type": "string",
            "format": "password",
            "writeOnly": True,
            "minLength": 1,
            "x-allowed": "text, not empty",
        }


# ------------------------------------------------------------------------------------------------ sorts of values

_UNITS: Final = {"": 1, "s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400}
_TIME: Final = re.compile(r"\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*([a-z]*)\s*", re.IGNORECASE)


def _seconds(given: object) -> object:
    if not isinstance(given, str):
        return given
    match = _TIME.fullmatch(given)
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError("not a time")
    return float(match[1]) * _UNITS[match[2].lower()]


def _topic_prefix(given: str) -> str:
    if given.startswith("$") or "" in given.split("/") or not re.fullmatch(r"[^\s+#\x00-\x1f\x7f]{1,200}", given):
        raise ValueError("not a topic prefix")
    return given


def _host(given: str) -> str:
    # One colon is a port or a scheme; more are an IPv6 address.
    if given.count(":") == 1 or not re.fullmatch(r"[^\s/\x00-\x1f\x7f]{1,253}", given):
        raise ValueError("not a host")
    return given


def _listen(given: str) -> str:
    match = re.fullmatch(r"(?:[^\s/:@\x00-\x1f\x7f]{1,253}|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", given)
    if match is None or int(match[1]) > 65535:  # noqa: PLR2004 - the highest port
        raise ValueError("not an address to listen on")
    return given


def _path(given: object) -> object:
    if not isinstance(given, str) or not given:
        return given
    path = sources.expanded(given)
    if str(path).startswith("~"):  # nobody's home; `load` says so
        return path
    return Path(getattr(given, "directory", None) or "", path)


def _readable(given: Path) -> Path:
    # In this order: is_file raises where a directory on the way may not be entered, and access does not.
    if not os.access(given, os.R_OK) or not given.is_file():
        raise ValueError("no such file, or not readable")
    return given


class _Says:
    """What the JSON Schema says about a sort of value; messages about mistakes quote its ``x-allowed``."""

    def __init__(self, **words: Any) -> None:
        self._words = {name.replace("_", "-"): word for name, word in words.items()}

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), **self._words}


Seconds: TypeAlias = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_seconds), _Says(x_unit="s")]
"""A length of time in seconds; the file may also say ``90 s``, ``5 min``, ``2 h`` or ``1 d``."""

LocalPath: TypeAlias = Annotated[Path, BeforeValidator(_path), _Says(format="path", x_allowed="a path")]
"""A path that may begin with ``~``; in the file, a relative one starts at the file's own directory."""

InputFile: TypeAlias = Annotated[
    Path,
    AfterValidator(_readable),
    BeforeValidator(_path),
    _Says(format="path", x_allowed="the path of a file that can be read"),
]
"""A `LocalPath` of a file that must be there and be readable."""

_TopicPrefix: TypeAlias = Annotated[
    str,
    AfterValidator(_topic_prefix),
    _Says(x_allowed="a topic without wildcards, spaces, empty levels or a $ at its start, such as home/navibridge"),
]
_Host: TypeAlias = Annotated[
    str,
    AfterValidator(_host),
    _Says(x_allowed="a host name or address alone, without mqtt:// and without a port"),
]
_Email: TypeAlias = Annotated[str, Field(pattern=r"^\S+@\S+$"), _Says(format="email", x_allowed="an e-mail address")]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
_TemperatureUnit: TypeAlias = Literal["C", "F"]
# Its limits stand before the reading of the text, or the schema and the messages that quote it would not have them.
_StaleAfter: TypeAlias = Annotated[
    float, Field(ge=30, le=604_800, allow_inf_nan=False), BeforeValidator(_seconds), _Says(x_unit="s")
]


def device_key(device_id: str) -> str:
    """What a device goes by in ``devices``: lower case letters and digits alone, however somebody wrote it."""
    return re.sub(r"[^a-z0-9]", "", device_id.lower())


# ------------------------------------------------------------------------------------------------------- options


def _words(annotation: Any) -> tuple[str, ...]:
    """The words that a ``Literal`` lists, within ``| None`` too."""
    if get_origin(annotation) is Literal:
        return tuple(word for word in get_args(annotation) if isinstance(word, str))
    return tuple(word for inner in get_args(annotation) for word in _words(inner))


class Options(BaseModel):
    """A section of the configuration."""

    # What was given is never repeated by an error of the library: it may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _settle(cls, given: Any) -> Any:
        """Bring what a file says into the shape that the fields have.

        What is not set is left out, ``off`` is the word for "none" where none is not the default, and words of a
        closed list are taken in any case: ``INFO`` is ``info``.
        """
        if not isinstance(given, dict):
            return given
        settled = dict(given)
        for name, field in cls.model_fields.items():
            value = given.get(name)
            if isinstance(value, Text) and value.unset:
                del settled[name]
            elif isinstance(value, str):
                meant = value.strip().lower()
                if meant == "off" and type(None) in get_args(field.annotation) and field.default is not None:
                    settled[name] = None
                    continue
                settled[name] = next((word for word in _words(field.annotation) if word.lower() == meant), value)
        return settled


class Tls(Options):
    """How the broker is reached by TLS."""

    enabled: bool | None = Field(None, description="Use TLS; unset means yes if any other option of this section is.")
    ca_file: InputFile | None = Field(
        None, description="Certificates of the authority that the broker's is checked with; unset is the system's."
    )
    cert_file: InputFile | None = Field(None, description="Client certificate, PEM; goes with key_file.")
    key_file: InputFile | None = Field(None, description="Private key of the client certificate, PEM.")
    verify: bool = Field(True, description="Check the broker's certificate and name; false is for trials only.")

    @property
    def active(self) -> bool:
        """Whether TLS is used."""
        if self.enabled is not None:
            return self.enabled
        return not self.verify or any((self.ca_file, self.cert_file, self.key_file))


def _port(others: dict[str, Any]) -> int:
    tls = others.get("tls")
    return 8883 if tls and tls.active else 1883


class Broker(Options):
    """The local MQTT broker."""

    host: _Host = Field("localhost", description="Name or address of the broker.")
    tls: Tls = Field(Tls(), description="TLS to the broker.")
    port: int = Field(
        default_factory=_port,
        ge=1,
        le=65535,
        description="TCP port; 8883 is the default once TLS is in use.",
        json_schema_extra={"default": 1883},
    )
    protocol: Literal["3.1.1", "5"] = Field("3.1.1", description="MQTT version.")
    keepalive: int = Field(15, ge=5, le=3600, description="Seconds of silence after which the broker is asked.")
    username: str | None = Field(None, min_length=1, description="User name at the broker.")
    password: Secret | None = Field(None, description="Password at the broker.")
    client_id: str | None = Field(
        None, min_length=1, max_length=128, description="MQTT client id; unset is made from the base topic."
    )
    base_topic: _TopicPrefix = Field("navibridge", description="What every topic of the bridge begins with.")


class Discovery(Options):
    """Home Assistant's discovery."""

    enabled: bool = Field(True, description="Announce the devices to Home Assistant.")
    prefix: _TopicPrefix = Field("homeassistant", description="Home Assistant's discovery prefix.")
    format: Literal["device", "entity"] = Field(
        "device", description="One message per device, or one per entity (openHAB, older Home Assistant)."
    )


class AccountSettings(Options):
    """An account at a vendor: what every vendor's `Settings` has.

    A vendor subclasses it, sets ``vendor: Literal["<folder>"] = "<folder>"`` and adds options of its own, each with a
    description and a default. Its validators never put what was given into their messages.
    """

    vendor: str = Field(description="The vendor's name, as its folder is called.")
    email: _Email = Field(description="E-mail address that the account signs in with.")
    password: Secret = Field(description="Password of the account.")
    poll_interval: Seconds = Field(60, ge=10, le=300, description="Seconds between two questions to a device.")
    mqtt_protocol: Literal["MQTT3", "MQTT5"] = Field("MQTT3", description="MQTT version towards the cloud.")
    ca_file: InputFile | None = Field(
        None,
        description="Certificates that the cloud's is checked with, such as a simulated cloud's; unset: public ones.",
    )


class DeviceSettings(Options):
    """What is set for one device."""

    name: str | None = Field(None, min_length=1, max_length=100, description="Name to show; unset is the account's.")
    topic: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Its level in the topics; unset is <vendor>_<id>.",
        json_schema_extra={"x-allowed": "1 to 64 letters, digits, _ or -"},
    )
    rated_watts: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = Field(
        None, description="Power of the heater in W, where the device does not tell its own."
    )
    exclude: bool = Field(False, description="Leave the device alone altogether.")
    temperature_unit: _TemperatureUnit | None = Field(
        None, description="C or F for this device; unset is the global temperature_unit."
    )
    raw: bool = Field(False, description="Publish the vendor's raw fields too, under `raw` of the state.")
    stale_after: _StaleAfter | None = Field(
        None, description="Seconds without a sign of life after which it is offline; unset is the global stale_after."
    )


class Commands(Options):
    """How commands go to the devices."""

    spacing: Seconds = Field(2, ge=0, le=60, description="Seconds between two commands to one device.")
    ttl: Seconds = Field(60, ge=1, le=86_400, description="Seconds after which a command not sent yet has expired.")
    timeout: Seconds = Field(15, ge=1, le=300, description="Seconds that a device has to confirm a command.")
    queue: int = Field(50, ge=1, le=10_000, description="Commands that may wait per device; more are rejected.")


class Log(Options):
    """What is logged, and how."""

    level: LogLevel = Field("info", description="The least level that is logged.")
    format: Literal["text", "json"] = Field("text", description="Lines for people, or JSON lines for machines.")
    mqtt: bool = Field(False, description="Publish WARNING and above to <base_topic>/bridge/log.")


class Web(Options):
    """Health and metrics over HTTP."""

    enabled: bool = Field(False, description="Answer at /health and /metrics.")
    listen: Annotated[
        str,
        AfterValidator(_listen),
        _Says(x_allowed="HOST:PORT, such as 127.0.0.1:8321, or 0.0.0.0:8321 for every interface"),
    ] = Field("127.0.0.1:8321", description="Address and port to answer at; nobody is asked for a password there.")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`; 0 is any free port."""
        host, _, port = self.listen.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)


class Config(Options):
    """The whole configuration."""

    broker: Broker = Field(Broker(), description="The local MQTT broker.")
    discovery: Discovery = Field(Discovery(), description="Home Assistant's discovery.")
    accounts: dict[str, SerializeAsAny[AccountSettings]] = Field(
        {}, description="The accounts, each under a name of your own: lower case letters, digits, _ and -."
    )
    devices: dict[str, DeviceSettings] = Field({}, description="What is set for single devices, by device id.")
    commands: Commands = Field(Commands(), description="How commands go to the devices.")
    web: Web = Field(Web(), description="Health and metrics over HTTP.")
    log: Log = Field(Log(), description="What is logged, and how.")
    state_dir: LocalPath = Field(
        default="~/.local/state/navibridge",
        validate_default=True,
        description="Directory for tokens, sign-in budgets and counters; below $XDG_STATE_HOME where that is set.",
    )
    temperature_unit: _TemperatureUnit = Field("C", description="Unit of every published temperature, C or F.")
    attribute_topics: bool = Field(False, description="Publish each value on a topic of its own as well.")
    stale_after: _StaleAfter | None = Field(
        None,
        description="Seconds without a sign of life after which a device is offline, and without news after which a "
        "value is unknown; unset is three polls and 30 s, at least 180 s.",
    )
    refresh: Seconds = Field(600, ge=0, le=86_400, description="Seconds after which a state is repeated; 0 is never.")

    def device_section(self, vendor: str, device_id: str) -> str | None:
        """The key in ``devices`` that a device goes by: its id, or the name its topics have by default."""
        keys = (device_key(device_id), device_key(vendor + device_id))
        return next((key for key in keys if key in self.devices), None)

    def device(self, vendor: str, device_id: str) -> DeviceSettings:
        """What is set for a device."""
        section = self.device_section(vendor, device_id)
        return DeviceSettings() if section is None else self.devices[section]

    def stale_seconds(self, account: str, device: DeviceSettings) -> float:
        """Seconds without a sign of life after which a device of the account is stale."""
        for given in (device.stale_after, self.stale_after):
            if given is not None:
                return given
        return max(180.0, 3 * self.accounts[account].poll_interval + 30)

    def secrets(self) -> tuple[str, ...]:
        """Every secret text of the configuration, for `navibridge.log` to hide."""
        return tuple(secret.reveal() for _, secret in _secrets(self))


def _secrets(options: Options, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Secret]]:
    for name, value in options:
        yield from _secrets_in(value, (*path, name))


def _secrets_in(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Secret]]:
    if isinstance(value, Secret):
        yield path, value
    elif isinstance(value, Options):
        yield from _secrets(value, path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _secrets_in(inner, (*path, str(name)))


# ------------------------------------------------------------------------------------------------------- loading


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that is in order.

    Attributes:
        config: the options.
        path: the file, if there is one.
        origins: where each value that is not a default was written, by key path: ``config.yaml:12``,
            ``NAVIBRIDGE_BROKER__HOST`` or a flag.
        warnings: what is probably not meant as it stands.
    """

    config: Config
    path: Path | None
    origins: Mapping[str, str]
    warnings: tuple[Problem, ...]


def places(environ: Mapping[str, str], directory: Path) -> tuple[Path, ...]:
    """Where a configuration file is looked for when none is named; the first that exists is read."""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".config")
    return directory / "config.yaml", home / "navibridge" / "config.yaml", Path("/etc/navibridge/config.yaml")


def load(
    path: Path | None = None,
    *,
    vendors: Callable[[str], type[AccountSettings]],
    vendor_names: Collection[str],
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Mapping[str, object]] | None = None,
    directory: Path | None = None,
    need_account: bool = True,
) -> Loaded:
    """The configuration of the file, the environment and the flags.

    Args:
        path: the file; ``None`` looks at ``$NAVIBRIDGE_CONFIG`` and then at `places`. Without any file the
            environment alone has to do.
        vendors: the settings of a vendor, by its name.
        vendor_names: every vendor there is.
        environ: the environment; the process's own by default.
        flags: by the flag's name, the values that it sets by key path:
            ``{"--broker": {"broker.host": "nas", "broker.port": 1883}}``. ``None`` sets nothing.
        directory: the working directory, where ``config.yaml`` and ``.env`` are looked for.
        need_account: whether a configuration without any account is a mistake.

    Raises:
        ConfigError: with every problem there is.
    """
    directory = Path() if directory is None else directory
    environment = sources.Environment(os.environ if environ is None else environ, directory)
    own = _own_variables(environment, vendors, vendor_names)
    path = path or _find(environment)
    tree = _defaults(environment)
    problems, warnings = environment.problems, environment.warnings
    if path is not None:
        try:
            file = sources.read_config(path, _called(path, directory), environment.words, problems)
        except ConfigError as error:
            raise ConfigError(mistakes.in_order([*problems, *error.problems])) from None
        tree = sources.merge(tree, file)
        tree.origin = file.origin

    over = Branch(origin=tree.origin)
    for key_path, text in own.items():
        sources.put(over, _as_written(key_path, tree), text)
    for flag, values in (flags or {}).items():
        for dotted, value in values.items():
            if value is not None:
                sources.put(over, tuple(dotted.split(".")), _text(value, Origin(flag)))
    short = _short_hands(environment, vendor_names, sources.merge(tree, over))
    tree = sources.merge(sources.merge(tree, short), over)

    config, found = _validated(tree, vendors, vendor_names, need_account=need_account)
    problems += found
    if config is not None and str(config.state_dir).startswith("~"):
        message = "the home directory is not known; set state_dir, such as by NAVIBRIDGE_STATE_DIR, to a full path"
        problems.append(Problem(_where(tree, ("state_dir",)), "state_dir", message))
    if config is None or problems:
        raise ConfigError(mistakes.in_order(problems))
    warnings += _doubts(config, tree)
    origins = {".".join(where): str(text.origin) for where, text in sources.texts(tree) if not text.unset}
    return Loaded(config, path, origins, tuple(warnings))


def build(
    values: Mapping[str, Any],
    *,
    vendors: Callable[[str], type[AccountSettings]],
    vendor_names: Collection[str],
    source: str = "values",
) -> Config:
    """The configuration of plain values, such as those of a simulated cloud; no file, no environment.

    Raises:
        ConfigError: with every problem there is; their place is the given source.
    """
    tree = _tree(values, Origin(source))
    config, problems = _validated(tree, vendors, vendor_names, need_account=False)
    if config is None or problems:
        raise ConfigError(mistakes.in_order(problems))
    return config


def _tree(value: Any, origin: Origin) -> Any:
    if isinstance(value, dict):
        return Branch({str(name): _tree(inner, origin) for name, inner in value.items()}, origin=origin)
    if isinstance(value, list | tuple):
        return Listing((_tree(inner, origin) for inner in value), origin=origin)
    return _text(value, origin)


def _text(value: object, origin: Origin) -> Text:
    if value is None:
        return Text("", origin, unset=True)
    if isinstance(value, Secret):
        return Text(value.reveal(), origin, shown=str(value))
    return Text(str(value), origin)


def _find(environment: sources.Environment) -> Path | None:
    if named := environment.words.get("NAVIBRIDGE_CONFIG"):
        return environment.directory / sources.expanded(named)
    found = places(environment.words, environment.directory)
    # A directory that may not be entered is no reason to stop, and Path.is_file raises for it.
    return next((place for place in found if os.path.isfile(place)), None)  # noqa: PTH113 - as said


def _called(path: Path, directory: Path) -> str:
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)


def _defaults(environment: sources.Environment) -> Branch:
    tree = Branch(origin=Origin("configuration"))
    if base := environment.words.get("XDG_STATE_HOME"):
        tree["state_dir"] = Text(f"{base}/navibridge", base.origin)
    return tree


# --------------------------------------------------------------------------------------------------- environment

_PREFIX: Final = "NAVIBRIDGE_"
SHORT_HANDS: Final = {
    "EMAIL": "email",
    "PASSWORD": "password",
    "POLLING_INTERVAL": "poll_interval",
    "MQTT_PROTOCOL": "mqtt_protocol",
}


def _own_variables(
    environment: sources.Environment, vendors: Callable[[str], type[AccountSettings]], vendor_names: Collection[str]
) -> dict[tuple[str, ...], Text]:
    """The ``NAVIBRIDGE_`` variables that name an option.

    Other programs put variables of our prefix into the environment too (Kubernetes does, for a service of our name):
    one that looks like none of our options is a warning, one that looks like a slip is a problem.
    """
    models: list[type[Options]] = [Config]
    if any(name.startswith(f"{_PREFIX}ACCOUNTS__") and name.endswith("_FILE") for name in environment.words):
        # Only then are the options of every vendor wanted; a vendor that nobody uses is not imported otherwise.
        models += [vendors(name) for name in vendor_names]
    file_options = {path[-1] for model in models for path in _option_paths(model) if path[-1].endswith("_file")}
    own = environment.below(_PREFIX, file_options)
    own.pop(("config",), None)
    flat = {"__".join(path) for path in _option_paths(Config)}
    for path, text in list(own.items()):
        if path[0] in Config.model_fields:
            continue
        del own[path]
        near = sources.nearest("__".join(path), flat, cutoff=0.75)
        if near is None and len(path) > 1 and (section := sources.nearest(path[0], Config.model_fields)):
            near = "__".join((section, *path[1:]))
        if near or len(path) > 1:
            meant = f", did you mean {_PREFIX}{near.upper()}?" if near else f", known: {', '.join(Config.model_fields)}"
            environment.problems.append(Problem(str(text.origin), sources.dotted(path), mistakes.UNKNOWN + meant))
        else:
            environment.warnings.append(Problem(str(text.origin), "", "is no option of navibridge; ignored"))
    return own


def _option_paths(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            yield from _option_paths(field.annotation, (*path, name))
        else:
            yield (*path, name)


def _as_written(path: tuple[str, ...], tree: Branch) -> tuple[str, ...]:
    """A variable's key path with account names as the file has them: no variable's name can have a ``-``."""
    accounts = tree.get("accounts")
    if len(path) < 2 or path[0] != "accounts" or not isinstance(accounts, Branch):  # noqa: PLR2004 - it has a name
        return path
    name = next((name for name in accounts if name.lower().replace("-", "_") == path[1]), path[1])
    return (path[0], name, *path[2:])


def _short_hands(environment: sources.Environment, vendor_names: Collection[str], tree: Branch) -> Branch:
    """What ``NAVILINK_EMAIL`` and its like set: the only account of the vendor, or one of the vendor's name."""
    over = Branch(origin=tree.origin)
    for vendor in sorted(vendor_names):
        if (level := environment.value(f"{vendor.upper()}_LOG_LEVEL")) is not None:
            sources.put(over, ("log", "level"), level)
        values = {option: environment.value(f"{vendor.upper()}_{short}") for short, option in SHORT_HANDS.items()}
        given = {option: text for option, text in values.items() if text is not None}
        names = _accounts_of(vendor, tree)
        ignored = ""
        if len(names) > 1:
            ignored = f"ignored: there are several {vendor} accounts ({', '.join(names)})"
        elif not names and not given.keys() & {"email", "password"}:
            ignored = f"ignored: there is no {vendor} account"
        if ignored:
            environment.warnings += [Problem(str(text.origin), "", ignored) for text in given.values()]
            continue
        name = names[0] if names else vendor
        if not names:
            # A vendor that stands there is another one, and then the account is not ours to fill.
            first = next(iter(given.values()))
            if isinstance(other := sources.look(tree, ("accounts", name, "vendor")), Text) and not other.unset:
                message = f"makes an account named {name}, but that is the name of another vendor's account"
                environment.problems.append(Problem(str(first.origin), f"accounts.{name}", message))
                continue
            given["vendor"] = Text(vendor, first.origin)
        for option, text in given.items():
            sources.put(over, ("accounts", name, option), text)
    return over


def _accounts_of(vendor: str, tree: Branch) -> list[str]:
    accounts = tree.get("accounts")
    if not isinstance(accounts, Branch):
        return []
    return [
        name
        for name, account in accounts.items()
        if isinstance(account, Branch) and str(account.get("vendor", "")).strip().lower() == vendor
    ]


# ---------------------------------------------------------------------------------------------------- validation

_ACCOUNT_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")


def _validated(
    tree: Branch,
    vendors: Callable[[str], type[AccountSettings]],
    vendor_names: Collection[str],
    *,
    need_account: bool,
) -> tuple[Config | None, list[Problem]]:
    problems = [*mistakes.unusable(tree), *_device_keys(tree)]
    given = dict(tree)
    accounts: dict[str, AccountSettings] = {}
    listed = given.get("accounts")
    if listed is None or isinstance(listed, Branch) or (isinstance(listed, Text) and listed.unset):
        given["accounts"] = {}
        for name, account in listed.items() if isinstance(listed, Branch) else ():
            settings, found = _account(name, account, tree, vendors, vendor_names)
            problems += found
            if settings is not None:
                accounts[name] = settings
        if need_account and not listed:
            pairs = [f"{name.upper()}_EMAIL and {name.upper()}_PASSWORD" for name in sorted(vendor_names)]
            message = f"no account: add one under accounts, or set {', or '.join(pairs)}"
            problems.append(Problem(_where(tree, ("accounts",)), "accounts", message))
    config, found = _checked(Config, given, tree, ())
    defaults = Config()
    against = mistakes.contradictions(tree, base_topic=defaults.broker.base_topic, prefix=defaults.discovery.prefix)
    return config and config.model_copy(update={"accounts": accounts}), [*problems, *found, *against]


def _device_keys(tree: Branch) -> Iterator[Problem]:
    """Bring the ids below ``devices`` into one form, in place."""
    devices = tree.get("devices")
    if not isinstance(devices, Branch):
        return
    renamed = Branch(origin=devices.origin)
    for name, node in devices.items():
        key = device_key(name)
        where = str(node.origin)
        if not key:
            yield Problem(where, "devices", f"given {sources.shown_key(name)}, allowed: a device id")
        elif key in renamed:
            yield Problem(where, f"devices.{name}", f"the same device twice; the other is at {renamed[key].origin}")
        else:
            renamed[key] = Branch(origin=node.origin) if isinstance(node, Text) and node.unset else node
    tree["devices"] = renamed


def _account(
    name: str,
    given: Any,
    tree: Branch,
    vendors: Callable[[str], type[AccountSettings]],
    vendor_names: Collection[str],
) -> tuple[AccountSettings | None, list[Problem]]:
    path = ("accounts", name)
    problems = []
    if isinstance(given, Text) and given.unset:
        given = {}
    if not _ACCOUNT_NAME.fullmatch(name):
        meant = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_")
        message = f"given {sources.shown_key(name)} as an account's name, allowed: lower case letters, digits, _ and -"
        message += f", did you mean {meant!r}?" if meant and ":" not in name else ""
        problems.append(Problem(_where(tree, path), "accounts", message))
    model: type[AccountSettings] = AccountSettings
    vendor = given.get("vendor") if isinstance(given, dict) else None
    if isinstance(vendor, Text) and not vendor.broken:
        known = vendor.strip().lower()
        if known in vendor_names:
            model = vendors(known)
            given = {**given, "vendor": known}
        else:
            problems.append(
                Problem(
                    str(vendor.origin), sources.dotted((*path, "vendor")), mistakes.choice(vendor, sorted(vendor_names))
                )
            )
    settings, found = _checked(model, given, tree, path)
    if model is AccountSettings:
        # Which options there are is known with the vendor; until then only what every account has is judged.
        found = [problem for problem in found if not problem.message.startswith(mistakes.UNKNOWN)]
        settings = None
    return settings, problems + found


_Model = TypeVar("_Model", bound=Options)


def _checked(
    model: type[_Model], given: Any, tree: Branch, path: tuple[str, ...]
) -> tuple[_Model | None, list[Problem]]:
    """The model of what was given below a key path, or what is wrong with it."""
    try:
        return model.model_validate(given), []
    except ValidationError as error:
        shape = model.model_json_schema()
        everywhere = [".".join(option) for option in _option_paths(Config)]
        problems = []
        for found in error.errors(include_url=False, include_input=False):
            if found["type"] == "default_factory_not_called":
                continue  # follows from another one
            below = tuple(str(name) for name in found["loc"])
            node = sources.look(tree, (*path, *below))
            if not (isinstance(node, Text) and node.broken):
                message = mistakes.message(found, below, node, shape, everywhere)
                problems.append(Problem(_where(tree, (*path, *below)), sources.dotted((*path, *below)), message))
        return None, problems


def _where(tree: Branch, path: tuple[str, ...]) -> str:
    """Where a key path stands, or the innermost section of it that does."""
    for length in range(len(path), 0, -1):
        node = sources.look(tree, path[:length])
        if node is not None:
            return str(node.origin)
    return str(tree.origin)


def _doubts(config: Config, tree: Branch) -> Iterator[Problem]:
    """Secrets that probably do not say what their owner means, told by their length alone."""
    for path, secret in _secrets(config):
        text = secret.reveal()
        length = counted(len(text), "character")
        where, dotted = _where(tree, path), ".".join(path)
        if text != text.strip():
            message = f"begins or ends with white space ({length}); it is taken as it stands"
            yield Problem(where, dotted, message)
        elif text[0] in "'\"" or text[-1] in "'\"":
            message = f"begins or ends with a quotation mark ({length}); it is taken as a part of it"
            yield Problem(where, dotted, message)
        if is_plain(text):
            message = (
                f"so short or plain ({length}) that the hole it leaves in a log line may tell it; set a longer one with"
                " digits and signs"
            )
            yield Problem(where, dotted, message)
        node = sources.look(tree, path)
        if isinstance(node, Text) and node.cut:
            message = f"a comment follows; if its # belongs to the secret ({length} so far), put it in quotes"
            yield Problem(where, dotted, message)


# -------------------------------------------------------------------------------------------------------- schema


def schema(vendors: Callable[[str], type[AccountSettings]], vendor_names: Collection[str]) -> Schema:
    """The JSON Schema of the configuration file, for editors; accounts by vendor."""
    whole = Config.model_json_schema()
    parts = whole["$defs"]
    parts.pop("AccountSettings")
    variants = []
    for name in sorted(vendor_names):
        account = vendors(name).model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        parts.update((f"{name}.{part}", below) for part, below in account.pop("$defs", {}).items())
        account["properties"]["vendor"] = {
            "const": name,
            "description": AccountSettings.model_fields["vendor"].description,
        }
        account["required"] = sorted({"vendor", *account.get("required", [])})
        parts[name] = account
        variants.append({"$ref": f"#/$defs/{name}"})
    accounts = whole["properties"]["accounts"]
    accounts["additionalProperties"] = {"oneOf": variants}
    accounts["propertyNames"] = {"pattern": f"^{_ACCOUNT_NAME.pattern}$"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_as_texts(whole)}


def _as_texts(node: Any) -> Any:
    """A schema that also takes numbers and flags as the texts that the file may have: ``5 min``, ``${PORT}``."""
    if isinstance(node, list):
        return [_as_texts(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    node = {name: _as_texts(inner) for name, inner in node.items()}
    if node.get("type") in ("integer", "number", "boolean"):
        told = {name: node.pop(name) for name in ("title", "description", "default") if name in node}
        pattern = r"^\s*[0-9.]+\s*(s|sec|min|h|d)\s*$|\$\{\w+\}" if "x-unit" in node else r"\$\{\w+\}"
        return {**told, "anyOf": [node, {"type": "string", "pattern": pattern}]}
    if "5" in node.get("enum", []):
        node["enum"] = [*node["enum"], 5]  # which an editor reads as a number
        del node["type"]
    return node
