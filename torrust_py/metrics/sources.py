"""What the metrics are read from: parts of the tracker as they are, seen through as little as is needed."""

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import NamedTuple, Protocol

from torrust_py.core.database import DatabaseState
from torrust_py.core.statistics import Statistics
from torrust_py.core.swarms import Limits, Swarms
from torrust_py.metrics.loop_lag import LoopLag


class Binding(NamedTuple):
    """The address of a listener, which its metrics have as labels."""

    protocol: str
    """`udp`, `http` or `https`."""
    ip: str
    port: int

    @property
    def family(self) -> str:
        """As Torrust calls it."""
        return "inet6" if ":" in self.ip else "inet"


class UdpService(Protocol):
    @property
    def statistics(self) -> Statistics: ...
    @property
    def unsent(self) -> int: ...
    @property
    def kernel_drops(self) -> int: ...


class HttpService(Protocol):
    @property
    def statistics(self) -> Statistics: ...
    @property
    def open_connections(self) -> int: ...


class UdpListener(NamedTuple):
    binding: Binding
    service: UdpService
    receive_buffer: int
    """Bytes that the kernel granted; `send_buffer` likewise."""
    send_buffer: int


class HttpListener(NamedTuple):
    binding: Binding
    service: HttpService


class Room(Protocol):
    """For the connections of all HTTP trackers together."""

    limit: int
    refused: int
    evicted: int


class CompletedCounters(Protocol):
    saved_at: float | None

    @property
    def unsaved(self) -> int: ...


class KeptFile(Protocol):
    @property
    def written_ms(self) -> int: ...
    @property
    def size(self) -> int: ...


class Snapshot(Protocol):
    failures: int

    @property
    def file(self) -> KeptFile | None: ...


class Build(NamedTuple):
    """What runs."""

    version: str
    form: str
    """Of the data plane: `native` or `portable`."""
    python: str
    loop: str
    """The event loop."""


class Sources(NamedTuple):
    build: Build
    swarms: Swarms
    limits: Limits
    udp_listeners: Sequence[UdpListener]
    http_listeners: Sequence[HttpListener]
    room: Room
    usage_statistics: bool
    """Without them nothing that counts requests is shown."""
    keys: Sized
    whitelist: Sized
    blacklist: Sized
    database: DatabaseState
    completed: CompletedCounters
    doubts: Mapping[str, Callable[[], bool]]
    """Whether a change is in doubt, by the name of its collection."""
    snapshot: Snapshot | None
    loop_lag: LoopLag
    available_memory: Callable[[], int]
    unix_now: Callable[[], float]
    monotonic_now: Callable[[], float]
