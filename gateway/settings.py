"""Settings: read once from the environment and .env, frozen, passed down."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from phonenumbers import SUPPORTED_REGIONS
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from adapters import RESTS
from adapters.lines import UseSandbox
from adapters.rest import Source
from adapters.storage.client import CONNECTIONS
from adapters.storage.database import PATIENCE

PREFIX = "SWITCHBOARD_"
NESTED = "__"
REPORTS = "/hyber/reports"
"""The path behind which Hyber's reports arrive."""
ASYMMETRIC = {*(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA"}
"""How a token may be signed so that who can verify it cannot sign one."""
BROKERS = {
    "redis": "taskiq_redis",
    "rediss": "taskiq_redis",
    "amqp": "taskiq_aio_pika",
    "amqps": "taskiq_aio_pika",
    "nats": "taskiq_nats",
}
"""What speaks to each; the extra `brokers` brings all but Redis."""


class LogFormat(StrEnum):
    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class UseDoor(StrEnum):
    AUTO = "auto"
    ON = "on"
    OFF = "off"


class UseAuth(StrEnum):
    AUTO = "auto"
    REQUIRED = "required"
    OPEN = "open"


class Sending(StrEnum):
    ON = "on"
    OWN = "own"
    OFF = "off"


class UseIntrospection(StrEnum):
    AUTO = "auto"
    ON = "on"
    OFF = "off"


class UseExecutor(StrEnum):
    COMPILED = "compiled"
    CORE = "core"


class Limits(BaseModel):
    """What an operation may ask for; what asks for more is refused before anything of it is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: int = Field(32_768, ge=256, le=1_048_576, description="Bytes that a document may have.")
    tokens: int = Field(2_000, ge=20, le=100_000, description="Tokens that it may have, comments included.")
    depth: int = Field(10, ge=1, le=100, description="Fields within each other.")
    aliases: int = Field(
        15, ge=0, le=10_000, description="Aliases; a fragment's count wherever it is spread."
    )
    directives: int = Field(20, ge=0, le=10_000, description="Directives; the same.")
    root_fields: int = Field(20, ge=1, le=10_000, description="Fields of Query, Mutation or Subscription.")
    fragments: int = Field(50, ge=0, le=10_000, description="Spreads of fragments.")
    cost: int = Field(
        5_000,
        ge=10,
        le=10_000_000,
        description="Fields that an answer may hold: `first` multiplies what is in a connection, and a list "
        "that has no `first` counts as 10 items.",
    )
    values: int = Field(6_000, ge=10, le=1_000_000, description="Values that its variables may hold.")


class Settings(BaseSettings):
    """Every variable's description is its documentation: `switchboard config` and README print it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    unix: Path | None = Field(None, description="Unix socket to listen on, instead of host and port.")
    workers: int = Field(1, ge=1, le=64, description="Server processes.")
    data_dir: Path = Field(Path("data"), description="Where the embedded database lives.")
    database_url: SecretStr | None = Field(
        None,
        description="`mysql+aiomysql://user:password@host/name`, or `sqlite+aiosqlite:///path`. "
        "Left out, SQLite in the data directory: the embedded default.",
    )
    database_connections: int = Field(
        CONNECTIONS, ge=1, le=1000, description="Connections to the database open at most, in each process."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="`redis://user:password@host/0`, or `rediss://...`: through it several processes tell "
        "each other at once what became of a message, and keep to the vendors' rates together. Left out, it "
        "is the broker, if that is Redis; else they see it within a second, and each keeps to the rates "
        "alone.",
    )
    broker_url: SecretStr | None = Field(
        None,
        description="What carries broadcasts to other processes: `redis://user:password@host/0`, "
        "`amqp://user:password@host/` or `nats://host`; for the last two, install "
        "`switchboard-gateway[brokers]`. Left out, each process sends what it gives out.",
    )
    database_timeout: float = Field(
        PATIENCE, gt=0, le=60, description="Seconds a question to the database may take."
    )
    sandbox: UseSandbox = Field(
        UseSandbox.AUTO,
        description="`auto`: in the embedded default, sources without credentials are answered by their "
        "sandbox. `on`: every source is, credentials or not. `off`: none ever is.",
    )
    demo: bool = Field(True, description="`off` leaves an empty embedded database empty.")
    timeout: float = Field(3, gt=0, le=300, description="Seconds an operation may wait for its sources.")
    body_limit: int = Field(262_144, ge=1_024, le=104_857_600, description="Bytes a request's body may have.")
    connections: int = Field(
        2_000, ge=10, le=100_000, description="Connections open at most, in each process."
    )
    requests: int = Field(
        200, ge=1, le=10_000, description="Requests under way at most, in each process; others come again."
    )
    sockets: int = Field(
        1_000, ge=0, le=100_000, description="WebSockets and streams of events at most, in each process."
    )
    sockets_each: int = Field(50, ge=1, le=100_000, description="The same of one caller.")
    rate: float = Field(
        50,
        ge=0,
        le=100_000,
        description="Requests a second from one address, in the mean of some seconds, each operation over a "
        "WebSocket among them; 0 is without limit. Who calls from this machine has none, nor have Hyber's "
        "reports.",
    )
    credential_rate: float = Field(
        500,
        ge=0,
        le=100_000,
        description="The same with one API key, one token's owner or the door's secret, from all addresses "
        "together, this machine too.",
    )
    proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="How many proxies stand in front and each add to `X-Forwarded-For` whom they speak for: "
        "by that callers are told apart.",
    )
    origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins besides ours whose pages may ask, as `https://app.example`, blanks between.",
    )
    limits: Limits = Field(default_factory=Limits)
    executor: UseExecutor = Field(
        UseExecutor.COMPILED,
        description="Who executes operations. `compiled`: they are compiled to Python, and what cannot be is "
        "left to graphql-core. `core`: graphql-core executes them all.",
    )
    introspection: UseIntrospection = Field(
        UseIntrospection.AUTO,
        description="Whether the graph tells its schema, and suggests names in place of wrong ones. `auto`: "
        "in the embedded default, on loopback. `on`: to everybody. `off`: to nobody.",
    )
    documents: FilePath | None = Field(
        None,
        description="What `switchboard documents` wrote: then the operations in it are run, and no others.",
    )
    drain: float = Field(
        10, ge=0, le=600, description="Seconds that requests in flight have to finish when the server stops."
    )
    directory_interval: float = Field(
        900,
        ge=0,
        le=604_800,
        description="Seconds after which the directory of customers is refreshed from the sources; 0 leaves "
        "that to `switchboard sync`.",
    )
    directory_page: int = Field(
        200,
        ge=1,
        le=1_000,
        description="Customers in a page, where a source leaves that to us: Poster, and our own tables.",
    )
    region: str = Field(
        "EC",
        description="Country of phone numbers that are written without one: two letters, as in ISO 3166.",
    )
    auth: UseAuth = Field(
        UseAuth.AUTO,
        description="`required`: who asks the graph shows an API key or a token. `open`: nobody has to. "
        "`auto`: as soon as there is an API key or `SWITCHBOARD_JWT_KEYS`, and wherever the gateway listens "
        "beyond this machine.",
    )
    jwt_keys: str | None = Field(
        None,
        description="The public keys (JWKS) of whoever gives out tokens: `https://...`, or a file. Then "
        "issuer and audience are needed too.",
    )
    jwt_issuer: str | None = Field(None, description="The claim `iss` of the tokens that are good here.")
    jwt_audience: str | None = Field(None, description="What has to be in their claim `aud`.")
    jwt_algorithms: str = Field(
        "RS256,ES256,EdDSA",
        description="How they may be signed, separated by commas: "
        "RS, PS or ES with 256, 384 or 512, and EdDSA.",
    )
    jwt_leeway: float = Field(
        30, ge=0, le=300, description="Seconds by which the clock of their issuer and ours may differ."
    )
    jwt_customer_claim: str | None = Field(
        None,
        description="The claim that holds a customer's id, as the graph has it: whoever shows such a token "
        "sees this person alone.",
    )
    door: UseDoor = Field(
        UseDoor.AUTO,
        description="`auto`: everyprint's bot finds its REST endpoints under /everyprint/api in the embedded "
        "default. `on`: it always does. `off`: it never does.",
    )
    door_secret: SecretStr | None = Field(
        None,
        description="What the bot has to send, as the header `X-Switchboard-Secret` or as the query "
        "parameter `secret`. Left out, it is let in without, unless the graph asks who is there.",
    )
    public_url: str | None = Field(
        None,
        pattern="^https?://[^/?#]+(/[^?#]*)?$",
        description="Where the vendors reach this gateway; left out, they are asked what became of it.",
    )
    reports_secret: SecretStr | None = Field(
        None,
        description="In the path of the address that Hyber sends its reports to: letters and digits, 16 or "
        "more. Without it there is no such address.",
    )
    sending: Sending = Field(
        Sending.ON,
        description="`own`: this process sends what it is asked to send, at once, and leaves what waits to "
        "another one. `off`: it leaves all sending to another one.",
    )
    slots: int = Field(
        4, ge=1, le=64, description="Chunks of broadcasts, of 1,000 messages, that a process sends at a time."
    )
    keep_messages: int = Field(
        400,
        ge=0,
        le=36_500,
        description="Days for which messages that are over are kept, each with its recipient and its text; 0 "
        "is for ever. The counts of a broadcast stay.",
    )
    keep_reports: int = Field(
        30,
        ge=0,
        le=36_500,
        description="Days for which Hyber's reports are kept after they were applied; 0 is for ever.",
    )
    environment: str = Field(
        "local",
        pattern="^[a-z0-9]{1,12}$",
        description="In our ids at the vendors, so that a copy of a database is not taken for the original.",
    )
    metrics_secret: SecretStr | None = Field(
        None,
        description="What Prometheus has to send as its bearer token to read `/metrics`. Left out, only who "
        "asks from this machine, and for nobody else, may read it.",
    )
    log_format: LogFormat = Field(
        LogFormat.AUTO, description="`json`, `text`, or `auto`: text on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="`debug`, `info`, `warning` or `error`."
    )

    @field_validator("database_url")
    @classmethod
    def _speaks_our_databases(cls, url: SecretStr | None) -> SecretStr | None:
        try:
            if url is None or make_url(url.get_secret_value()).drivername in (
                "sqlite+aiosqlite",
                "mysql+aiomysql",
            ):
                return url
        except ArgumentError:
            pass
        raise ValueError("must start with sqlite+aiosqlite:/// or mysql+aiomysql://")

    @field_validator("redis_url")
    @classmethod
    def _speaks_redis(cls, url: SecretStr | None) -> SecretStr | None:
        try:
            if url is None or make_url(url.get_secret_value()).drivername in ("redis", "rediss"):
                return url
        except (ValueError, ArgumentError):
            pass
        raise ValueError("must be redis://host:port/number or rediss://host:port/number")

    @field_validator("broker_url")
    @classmethod
    def _is_a_broker(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        try:
            client = BROKERS.get(make_url(url.get_secret_value()).drivername)
        except (ValueError, ArgumentError):
            client = None
        if client is None:
            raise ValueError("must be redis://host:port/number, amqp://user:password@host/ or nats://host")
        if find_spec(client) is None:
            raise ValueError("its client is missing, install switchboard-gateway[brokers]")
        return url

    @field_validator("origins", mode="before")
    @classmethod
    def _several(cls, origins: object) -> object:
        return tuple(origins.lower().split()) if isinstance(origins, str) else origins

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if all(re.fullmatch(r"https?://[^/?#\s]+", origin) for origin in origins):
            return origins
        raise ValueError("must be origins such as https://app.example, with blanks between")

    @field_validator("region")
    @classmethod
    def _has_phones(cls, region: str) -> str:
        if region.upper() in SUPPORTED_REGIONS:
            return region.upper()
        raise ValueError("must be the two letters of a country, such as EC")

    @field_validator("reports_secret")
    @classmethod
    def _is_a_path(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None or re.fullmatch("[A-Za-z0-9]{16,128}", secret.get_secret_value()):
            return secret
        raise ValueError("must be 16 to 128 letters and digits")

    @field_validator("jwt_keys")
    @classmethod
    def _comes_unchanged(cls, place: str | None) -> str | None:
        if place is None or "://" not in place:
            return place
        try:
            url = urlsplit(place)
            if url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname or "")):
                return place
        except ValueError:
            pass
        raise ValueError("must be https://..., or a file: over http anybody on the way could change the keys")

    @field_validator("jwt_algorithms")
    @classmethod
    def _are_asymmetric(cls, names: str) -> str:
        if set(_split(names)) <= ASYMMETRIC and _split(names):
            return names
        raise ValueError(f"must be of {', '.join(sorted(ASYMMETRIC))}")

    @property
    def algorithms(self) -> list[str]:
        return _split(self.jwt_algorithms)

    @property
    def is_local(self) -> bool:
        """Whether nobody reaches it from beyond this machine."""
        return self.unix is not None or is_loopback(self.host)

    @property
    def callback_url(self) -> str | None:
        """Where Hyber sends its reports to."""
        if not (self.public_url and self.reports_secret):
            return None
        return f"{self.public_url.rstrip('/')}{REPORTS}/{self.reports_secret.get_secret_value()}"

    @property
    def embedded(self) -> bool:
        return self.database.startswith("sqlite")

    @property
    def redis(self) -> str | None:
        if self.redis_url:
            return self.redis_url.get_secret_value()
        return self.broker if self.broker and self.broker.startswith("redis") else None

    @property
    def broker(self) -> str | None:
        return self.broker_url.get_secret_value() if self.broker_url else None

    @property
    def on_loopback(self) -> bool:
        """Can nobody reach us from another machine?"""
        if self.unix or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def has_introspection(self) -> bool:
        if self.introspection is UseIntrospection.AUTO:
            return self.embedded and self.on_loopback
        return self.introspection is UseIntrospection.ON

    @property
    def has_door(self) -> bool:
        return self.door is UseDoor.ON or (self.door is UseDoor.AUTO and self.embedded)

    @property
    def database(self) -> str:
        if self.database_url:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data_dir / 'switchboard.db'}"

    @property
    def sources(self) -> dict[str, Source]:
        sources: dict[str, Source] = {rest.name: getattr(self, rest.name) for rest in RESTS}
        if self.embedded and self.workers == 1 and not (self.redis or self.broker):
            return sources
        return {name: source.among_others() for name, source in sources.items()}


# A source's settings join by its being a source: a new one needs no settings code.
_sources: dict[str, Any] = {
    rest.name: (rest.Settings, Field(default_factory=rest.Settings)) for rest in RESTS
}
_WithSources = create_model("_WithSources", __base__=Settings, __module__=__name__, **_sources)


class WrongSettings(Exception):
    """One line for each variable that is wrong, naming it."""


def load(**flags: object) -> Settings:
    """The settings in force; what the command line says goes before the environment, that before .env."""
    try:
        given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
        settings = _WithSources(**given)
    except ValidationError as error:
        raise WrongSettings("\n".join(_complaint(fault) for fault in error.errors())) from None
    except SettingsError as error:  # a source as a whole, where one of its variables was meant
        names = [variable_name(rest.name) for rest in RESTS if f'"{rest.name}"' in str(error)]
        raise WrongSettings(f"{' '.join(names)}: set its variables one by one.") from None
    if halves := "\n".join([*_half_configured(settings.sources), *_without_whom(settings)]):
        raise WrongSettings(halves)
    return settings


def _complaint(fault: ErrorDetails) -> str:
    name = variable_name(*map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return _not_a_setting(name)
    message = fault["msg"].removeprefix("Value error, ")
    return f"{name}: {message[0].lower()}{message[1:]}."


def _half_configured(sources: Mapping[str, Source]) -> Iterator[str]:
    for source_name, source in sources.items():
        if 0 < len(source.missing) < len(source.credentials):
            lacking = " and ".join(variable_name(source_name, credential) for credential in source.missing)
            yield f"{lacking}: missing, while its other credentials are set; set all of them, or none."


def _without_whom(settings: Settings) -> Iterator[str]:
    if settings.jwt_keys:
        for name in ("jwt_issuer", "jwt_audience"):
            if not getattr(settings, name):
                yield (
                    f"{variable_name(name)}: missing, while {variable_name('jwt_keys')} is set; without it "
                    "tokens that are meant for others would be good here."
                )


@lru_cache(64)
def is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def variable_name(*path: str) -> str:
    return PREFIX + NESTED.join(path).upper()


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting as a person sees it."""

    name: str
    value: str
    default: str
    description: str
    is_set: bool


def variables(model: BaseModel, *path: str) -> Iterator[Variable]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from variables(value, *path, name)
        else:
            yield Variable(
                name=variable_name(*path, name),
                value=_shown(value),
                default=_shown(field.default),
                description=field.description or "",
                is_set=name in model.model_fields_set,
            )


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if not isinstance(value, SecretStr):
        return str(value)
    secret = value.get_secret_value()
    if "://" in secret:
        return make_url(secret).render_as_string(hide_password=True)
    return "(hidden)" if secret else ""


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each variable with our prefix that means nothing to us.

    No reason to refuse: Kubernetes sets several of its own for a Service that is called switchboard.
    """
    known = {PREFIX + name.upper() for name in _WithSources.model_fields}
    for name in map(str.upper, environment):
        if name.startswith(PREFIX) and name.partition(NESTED)[0] not in known:
            yield _not_a_setting(name)


def _not_a_setting(name: str) -> str:
    known = [variable.name for variable in variables(_WithSources.model_construct())]
    near = get_close_matches(name, known, n=1, cutoff=0.85)
    way_out = f"did you mean {near[0]}?" if near else "`switchboard config` lists them all."
    return f"{name} is not a setting: {way_out}"
