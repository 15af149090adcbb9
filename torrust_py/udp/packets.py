"""UDP tracker packets (BEP 15): pure functions between bytes and values. Integers are big-endian.

Connect request, 16 bytes or more, and its response:

    0:8 0x41727101980   8:4 action = 0      12:4 transaction id
    0:4 action = 0      4:4 transaction id  8:8 connection id

Announce request, 98 bytes or more (BEP 41 options may follow), and its response:

    0:8 connection id   8:4 action = 1      12:4 transaction id   16:20 info hash
    36:20 peer id       56:8 downloaded     64:8 left             72:8 uploaded
    80:4 event          84:4 IPv4 (unused)  88:4 key (unused)     92:4 num_want    96:2 port
    0:4 action = 1      4:4 transaction id  8:4 interval          12:4 leechers    16:4 seeders
    20: peers, 6 bytes each to a client over IPv4, 18 over IPv6

Scrape request, 36 bytes or more, and its response:

    0:8 connection id   8:4 action = 2      12:4 transaction id   16: info hashes, 20 bytes each
    0:4 action = 2      4:4 transaction id  8: seeders, completed, leechers of each, 4 bytes each

Error response:

    0:4 action = 3      4:4 transaction id  8: text in UTF-8

Connection and transaction ids mean nothing to who gets them back; they stay bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from torrust_py.core.types import (
    INFO_HASH_SIZE,
    LEFT_UNKNOWN,
    AnnounceEvent,
    InfoHash,
    PeerId,
    SwarmCounts,
    SwarmView,
)

DATAGRAM_SIZE = 1496
"""Bytes that are read of a datagram: a scrape request of MAX_SCRAPED info hashes."""

MAX_SCRAPED = 74

MAX_PEERS_IPV4 = (1472 - 20) // 6
"""Peers that fit into a response that leaves in one Ethernet frame, over IPv4, and over IPv6."""
MAX_PEERS_IPV6 = (1452 - 20) // 18

CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)

_ERROR = ERROR.to_bytes(4)
_PROTOCOL_ID = bytes.fromhex("0000041727101980")
_HEADER = Struct(">8si4s")
_ANNOUNCE = Struct(">8s4x4s20s20sqqqi8xiH")
_ANNOUNCE_SIZE = _ANNOUNCE.size
_ANNOUNCED = Struct(">I4sIII")
_COUNTS = Struct(">III")
_LARGEST = 2**32 - 1
_EVENTS = tuple(AnnounceEvent)
_LAST_EVENT = len(_EVENTS) - 1
_NO_ADDRESS_NO_KEY = bytes(8)
_ZEROS = bytes(3)


class BadPacket(Exception):
    """A datagram that is no request; the text says why, for its sender."""


class ConnectRequest(NamedTuple):
    transaction_id: bytes


@dataclass(slots=True)  # half the price of a NamedTuple
class AnnounceRequest:
    connection_id: bytes
    transaction_id: bytes
    info_hash: InfoHash
    peer_id: PeerId
    downloaded: int
    left: int
    uploaded: int
    event: AnnounceEvent
    num_want: int | None
    """None if the client leaves it to the tracker."""
    port: int


class ScrapeRequest(NamedTuple):
    connection_id: bytes
    transaction_id: bytes
    info_hashes: list[InfoHash]
    """The first MAX_SCRAPED, as they were asked for."""


def is_error_response(datagram: bytes) -> bool:
    """Whether it begins as one. A request hardly ever does: of 2^32 connection ids, one."""
    return datagram.startswith(_ERROR)


def transaction_id_of(datagram: bytes) -> bytes:
    """The transaction id to answer a malformed request with: zeros if it is too short to have one."""
    return datagram[12:16] if len(datagram) >= 16 else bytes(4)


def action_of(datagram: bytes) -> int:
    """Raises BadPacket if the datagram is too short to have an action, or has none of a request."""
    if len(datagram) < 12:
        raise BadPacket("Couldn't parse action")
    action = datagram[11]
    if action > SCRAPE or datagram[8:11] != _ZEROS:
        raise BadPacket("Invalid action")
    return action


def parse_connect(datagram: bytes) -> ConnectRequest:
    if len(datagram) < _HEADER.size:
        raise BadPacket("invalid data")
    if not datagram.startswith(_PROTOCOL_ID):
        raise BadPacket("Protocol identifier missing")
    return ConnectRequest(datagram[12:16])


def parse_announce(datagram: bytes) -> AnnounceRequest:
    """Read an announce request; bytes after the 98th (BEP 41 options) are ignored.

    Raises BadPacket if the datagram is too short, the port is 0 or the event is none of BEP 15.
    """
    if len(datagram) < _ANNOUNCE_SIZE:
        raise BadPacket("invalid data")
    (
        connection_id, transaction_id, info_hash, peer_id, downloaded, left, uploaded, event, num_want, port
    ) = _ANNOUNCE.unpack_from(datagram)  # fmt: skip
    if port == 0:
        raise BadPacket("Port can't be 0")
    if not 0 <= event <= _LAST_EVENT:
        raise BadPacket("Invalid announce event")
    return AnnounceRequest(
        connection_id,
        transaction_id,
        info_hash,
        peer_id,
        downloaded,
        left if left >= 0 else LEFT_UNKNOWN,
        uploaded,
        _EVENTS[event],
        num_want if num_want >= 0 else None,
        port,
    )


def parse_scrape(datagram: bytes) -> ScrapeRequest:
    """Raises BadPacket without whole info hashes."""
    if len(datagram) < _HEADER.size:
        raise BadPacket("invalid data")
    count, rest = divmod(len(datagram) - _HEADER.size, INFO_HASH_SIZE)
    if rest:
        raise BadPacket("Invalid info hash list")
    if count == 0:
        raise BadPacket("Full scrapes are not allowed")
    end = _HEADER.size + min(count, MAX_SCRAPED) * INFO_HASH_SIZE
    info_hashes = [
        InfoHash(datagram[at : at + INFO_HASH_SIZE]) for at in range(_HEADER.size, end, INFO_HASH_SIZE)
    ]
    return ScrapeRequest(datagram[:8], datagram[12:16], info_hashes)


def encode_connect_response(transaction_id: bytes, connection_id: bytes) -> bytes:
    return b"\0\0\0\0" + transaction_id + connection_id


def encode_announce_response(transaction_id: bytes, *, interval: int, swarm: SwarmView) -> bytes:
    """`interval` in seconds; the view holds peers of the client's family only."""
    head = _ANNOUNCED.pack(ANNOUNCE, transaction_id, interval, swarm.leechers, swarm.seeders)
    return head + swarm.peers_ipv4 + swarm.peers_ipv6


def encode_scrape_response(transaction_id: bytes, swarms: Sequence[SwarmCounts]) -> bytes:
    """A counter beyond 32 bits shows as the largest number of them."""
    packed = (
        _COUNTS.pack(seeders, min(completed, _LARGEST), leechers) for seeders, completed, leechers in swarms
    )
    return b"\0\0\0\2" + transaction_id + b"".join(packed)


def encode_error_response(transaction_id: bytes, text: str) -> bytes:
    return b"\0\0\0\3" + transaction_id + text.encode()


# --- the client's side


class ConnectResponse(NamedTuple):
    transaction_id: bytes
    connection_id: bytes


class AnnounceResponse(NamedTuple):
    transaction_id: bytes
    interval: int
    leechers: int
    seeders: int
    peers: bytes
    """Endpoints of 6 or 18 bytes each, by the family over which the tracker was asked."""


class ScrapeResponse(NamedTuple):
    transaction_id: bytes
    swarms: list[SwarmCounts]


class ErrorResponse(NamedTuple):
    transaction_id: bytes
    text: str


Response = ConnectResponse | AnnounceResponse | ScrapeResponse | ErrorResponse


def encode_connect_request(transaction_id: bytes) -> bytes:
    return _HEADER.pack(_PROTOCOL_ID, CONNECT, transaction_id)


def encode_announce_request(request: AnnounceRequest) -> bytes:
    return b"".join(
        (
            _HEADER.pack(request.connection_id, ANNOUNCE, request.transaction_id),
            request.info_hash,
            request.peer_id,
            request.downloaded.to_bytes(8, signed=True),
            request.left.to_bytes(8, signed=True),
            request.uploaded.to_bytes(8, signed=True),
            request.event.to_bytes(4),
            _NO_ADDRESS_NO_KEY,
            (-1 if request.num_want is None else request.num_want).to_bytes(4, signed=True),
            request.port.to_bytes(2),
        )
    )


def encode_scrape_request(request: ScrapeRequest) -> bytes:
    return _HEADER.pack(request.connection_id, SCRAPE, request.transaction_id) + b"".join(request.info_hashes)


def parse_response(datagram: bytes) -> Response:
    """Raises BadPacket if the datagram is no response of BEP 15."""
    if len(datagram) < 8:
        raise BadPacket("too short for a response")
    action, transaction_id, body = int.from_bytes(datagram[:4]), datagram[4:8], datagram[8:]
    if action == CONNECT and len(body) >= 8:
        return ConnectResponse(transaction_id, body[:8])
    if action == ANNOUNCE and len(body) >= 12:
        _, _, interval, leechers, seeders = _ANNOUNCED.unpack_from(datagram)
        return AnnounceResponse(transaction_id, interval, leechers, seeders, body[12:])
    if action == SCRAPE and len(body) % _COUNTS.size == 0:
        swarms = [SwarmCounts._make(counts) for counts in _COUNTS.iter_unpack(body)]
        return ScrapeResponse(transaction_id, swarms)
    if action == ERROR:
        return ErrorResponse(transaction_id, body.decode("utf-8", "replace"))
    raise BadPacket("no response of a tracker")
