"""The TOML document, schema 2.0.0: one model per table, in the order in which a dump shows them.

A type is strict: a TOML integer for a whole number, a string for a text. Keys that are not here are ignored.
"""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    model_validator,
)

from torrust_py.config.values import (
    ApiToken,
    BindAddress,
    DatabasePath,
    parse_bind_address,
    parse_external_ip,
)

Threshold = Literal["off", "error", "warn", "info", "debug", "trace"]
DatabaseDriver = Literal["sqlite3", "mysql", "postgresql"]


def _lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _given_token(token: ApiToken) -> ApiToken:
    if not token.get_secret_value():
        raise ValueError("must not be empty, or anybody could use the API")
    return token


def _given_database_path(path: DatabasePath) -> DatabasePath:
    text = path.get_secret_value()
    is_uri = text.startswith("file:")
    if not text or "\0" in text or (is_uri and "%00" in text):
        raise ValueError("must be the path of a SQLite file, or the URL of a database")
    return path


def _given_path(path: str) -> str:
    if not path or "\0" in path:
        raise ValueError("must be the path of a PEM file")
    return path


def _given_file_path(path: str) -> str:
    if not path or path.endswith("/") or "\0" in path:
        raise ValueError("must be the path of a file")
    return path


U32 = Annotated[int, Field(ge=0, le=2**32 - 1)]
U64 = Annotated[int, Field(ge=0, le=2**64 - 1)]
Socket = Annotated[
    BindAddress, PlainValidator(parse_bind_address), PlainSerializer(str, return_type=str, when_used="json")
]
ExternalIp = Annotated[IPv4Address | IPv6Address | None, PlainValidator(parse_external_ip)]
Token = Annotated[ApiToken, AfterValidator(_given_token)]
PemPath = Annotated[str, AfterValidator(_given_path)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class Metadata(_Table):
    """What kind of document this is."""

    app: Literal["torrust-tracker"] = "torrust-tracker"
    purpose: Literal["configuration"] = "configuration"
    schema_version: Literal["2.0.0"]


class Logging(_Table):
    threshold: Threshold
    """The least important kind of line that is logged."""


class AnnouncePolicy(_Table):
    """What announcing clients are told."""

    interval: U32 = 120
    """Seconds until a client should announce again."""
    interval_min: U32 = 120
    """Seconds before which a client must not announce again; told over HTTP only, not enforced."""
    max_peers_per_announce: int = Field(default=74, ge=1, le=1000)
    """The most peers of one answer, whatever a client asks for."""


class Database(_Table):
    driver: Annotated[DatabaseDriver, BeforeValidator(_lower_case)] = "sqlite3"
    path: Annotated[DatabasePath, AfterValidator(_given_database_path)] = DatabasePath(
        "./storage/tracker/lib/database/sqlite3.db"
    )
    """A SQLite file, or a URL such as `mysql://user:password@host:3306/database`."""


class Limits(_Table):
    """How much the tracker remembers; 0 is no limit."""

    max_torrents: U64 | None = None
    """None is what fits in the memory."""
    max_peers: U64 | None = None
    """None is what fits in the memory."""
    max_peers_per_torrent: U64 = 0
    """Of both address families together."""


class Net(_Table):
    external_ip: ExternalIp = None
    """Replaces the address of clients on loopback; None keeps it."""
    on_reverse_proxy: bool = False
    """HTTP clients are known by `X-Forwarded-For`."""


class PrivateMode(_Table):
    check_keys_expiration: bool = True
    """False accepts expired keys too."""


class Snapshot(_Table):
    """Peers and completed counters outlive a restart in a file."""

    path: Annotated[str, AfterValidator(_given_file_path)] = "./storage/tracker/lib/database/swarms.snapshot"
    interval: int = Field(default=300, ge=1, le=2**32 - 1)
    """Seconds between two times that it is written; it is also written at the stop."""


class TrackerPolicy(_Table):
    """What the tracker forgets, and keeps."""

    max_peer_timeout: U32 = 900
    """Seconds without an announce after which a peer goes."""
    persistent_torrent_completed_stat: bool = False
    """The completed counter of each torrent is kept in the database."""
    remove_peerless_torrents: bool = True


class Core(_Table):
    announce_policy: AnnouncePolicy = AnnouncePolicy()
    blacklist_path: Annotated[str, AfterValidator(_given_file_path)] | None = None
    """A file of info hashes that are refused; None is no file."""
    database: Database = Database()
    inactive_peer_cleanup_interval: U64 = 600
    """Seconds that one pass over all peers takes; 0 is no clean-up."""
    limits: Limits = Limits()
    listed: bool
    """Only torrents of the whitelist may be announced."""
    net: Net = Net()
    private: bool
    """HTTP clients need a key, and no UDP tracker is started."""
    private_mode: PrivateMode | None = None
    """Only in private mode."""
    snapshot: Snapshot | None = None
    """Without the table there is none."""
    tracker_policy: TrackerPolicy = TrackerPolicy()
    tracker_usage_statistics: bool = True
    """Requests are counted."""


class TlsConfig(_Table):
    ssl_cert_path: PemPath = Field(default="", validate_default=True)
    """PEM file of the certificate and its chain."""
    ssl_key_path: PemPath = Field(default="", validate_default=True)
    """PEM file of the private key."""


TLS_SPELLINGS = ("tsl_config", "tls_config")


class _TlsService(_Table):
    """Torrust spells its table `tsl_config`, which therefore is the name; `tls_config` is read too."""

    bind_address: Socket
    tsl_config: TlsConfig | None = Field(default=None, validation_alias=AliasChoices(*TLS_SPELLINGS))
    """Its presence makes the service speak TLS."""

    @model_validator(mode="before")
    @classmethod
    def _spelled_once(cls, table: object) -> object:
        if isinstance(table, dict) and table.keys() >= set(TLS_SPELLINGS):
            raise ValueError("must not have both tsl_config and tls_config, two spellings of one table")
        return table


class UdpListener(_Table):
    bind_address: Socket = BindAddress("0.0.0.0", 6969)


class HttpListener(_TlsService):
    bind_address: Socket = BindAddress("0.0.0.0", 7070)


class HttpApi(_TlsService):
    bind_address: Socket = BindAddress("127.0.0.1", 1212)
    access_tokens: dict[str, Token] = Field(default_factory=dict)
    """Label to token; without any, every request is refused."""


class HealthCheckApi(_Table):
    bind_address: Socket = BindAddress("127.0.0.1", 1313)


class Config(_Table):
    """The whole document. A service whose table is absent is None, and not started."""

    metadata: Metadata
    logging: Logging
    core: Core
    udp_trackers: Annotated[tuple[UdpListener, ...], Strict(False)] | None = None
    http_trackers: Annotated[tuple[HttpListener, ...], Strict(False)] | None = None
    http_api: HttpApi | None = None
    health_check_api: HealthCheckApi = HealthCheckApi()

    def masked_json(self) -> str:
        """All options with the defaults, as JSON with an indent of 2; secrets are `***`."""
        return self.model_dump_json(indent=2)
