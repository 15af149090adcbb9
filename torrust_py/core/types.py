"""The values that every room speaks of.

Addresses are packed inside and text at the edges: 4 bytes for IPv4, 16 for IPv6, in wire order. An
IPv4-mapped IPv6 address is IPv4 everywhere. An endpoint is an address followed by a port, 6 or 18 bytes, as
BEP 15, BEP 23 and BEP 7 put it on the wire.
"""

import enum
import ipaddress
from dataclasses import dataclass
from typing import NamedTuple, NewType, Protocol

InfoHash = NewType("InfoHash", bytes)
"""SHA-1 of a torrent's info dictionary (BEP 3): 20 raw bytes."""

PeerId = NewType("PeerId", bytes)
"""What a client calls itself (BEP 20): 20 raw bytes."""

Address = NewType("Address", bytes)
"""An IP address, packed: 4 or 16 bytes."""

Endpoint = NewType("Endpoint", bytes)
"""Address and port in wire order: 6 or 18 bytes."""

INFO_HASH_SIZE = 20
PEER_ID_SIZE = 20
ENDPOINT_SIZE_IPV4 = 6
ENDPOINT_SIZE_IPV6 = 18

LEFT_UNKNOWN = -1
"""`left` of a peer that cannot tell how much it needs (it has only a magnet link): a leecher."""

_MAPPED = bytes(10) + b"\xff\xff"


class AnnounceEvent(enum.IntEnum):
    """Why a peer announces; the numbers are those of BEP 15."""

    NONE = 0
    COMPLETED = 1
    STARTED = 2
    STOPPED = 3


class Families(enum.Enum):
    """Of which address families an announce wants peers."""

    IPV4 = enum.auto()
    IPV6 = enum.auto()
    BOTH = enum.auto()


class Peer(NamedTuple):
    """A member of a swarm, as its announce describes it. It is known by its endpoint alone."""

    endpoint: Endpoint
    peer_id: PeerId
    uploaded: int
    """Bytes, signed 64 bits, as `downloaded` and `left`."""
    downloaded: int
    left: int
    """Bytes that it still needs: 0 makes it a seeder; LEFT_UNKNOWN, as any other value, a leecher."""
    event: AnnounceEvent


class Announced(Protocol):
    """What an announce says of its peer: a request of either protocol, and a Peer."""

    @property
    def peer_id(self) -> PeerId: ...
    @property
    def uploaded(self) -> int: ...
    @property
    def downloaded(self) -> int: ...
    @property
    def left(self) -> int: ...
    @property
    def event(self) -> AnnounceEvent: ...


class SwarmPeer(NamedTuple):
    """A peer as the swarm remembers it."""

    peer: Peer
    updated_ms: int
    """Its last announce, milliseconds since the tracker's origin of time."""


@dataclass(slots=True)  # half the price of a NamedTuple, and made once per announce
class SwarmView:
    """What an announce is told of its swarm: counts after the announce, and the peers chosen, packed."""

    seeders: int
    leechers: int
    peers_ipv4: bytes
    """Endpoints of 6 bytes each (BEP 23)."""
    peers_ipv6: bytes
    """Endpoints of 18 bytes each (BEP 7)."""


class SwarmCounts(NamedTuple):
    """What a scrape is told of a swarm (BEP 48)."""

    seeders: int
    completed: int
    leechers: int


NO_SWARM = SwarmCounts(seeders=0, completed=0, leechers=0)


class Torrent(NamedTuple):
    """A swarm's counts under its name."""

    info_hash: InfoHash
    counts: SwarmCounts


def packed_address(text: str) -> Address:
    """The packed form of an address in text. Raises ValueError if it is none."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return Address(address.ipv4_mapped.packed)
    return Address(address.packed)


def unmapped(address: bytes) -> Address:
    """`address`, or the IPv4 address that it maps (RFC 4291, 2.5.5.2)."""
    return Address(address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address)


def is_ipv4(address: Address) -> bool:
    return len(address) == 4


def is_loopback(address: Address) -> bool:
    """True in 127.0.0.0/8, and for ::1."""
    return address[0] == 127 if len(address) == 4 else address == b"\0" * 15 + b"\1"


def endpoint_of(address: Address, port: int) -> Endpoint:
    return Endpoint(address + port.to_bytes(2))


def endpoint_text(endpoint: Endpoint) -> str:
    """`203.0.113.5:6881` or `[2001:db8::1]:6881`."""
    port = int.from_bytes(endpoint[-2:])
    if len(endpoint) == ENDPOINT_SIZE_IPV4:  # by hand: lists of peers are long
        first, second, third, fourth = endpoint[:4]
        return f"{first}.{second}.{third}.{fourth}:{port}"
    return f"[{ipaddress.IPv6Address(endpoint[:-2])}]:{port}"
