"""Responses of an HTTP tracker: bodies (BEP 3, 7, 23, 48), and the HTTP around them.

The bodies of compact announces and of scrapes are written as they stand, their keys sorted; all else is
bencoded by the library.
"""

import socket
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import bencodepy

from torrust_py.core.types import (
    ENDPOINT_SIZE_IPV4,
    ENDPOINT_SIZE_IPV6,
    InfoHash,
    PeerId,
    SwarmCounts,
    SwarmView,
)


class Head(NamedTuple):
    """Status and fields that all responses of a kind have, before and after those that differ."""

    status: int
    before: bytes
    after: bytes = b""


ANSWER = Head(200, b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n")
FAILURE = Head(200, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n")
HEALTHY = Head(200, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
BAD_REQUEST = Head(400, b"HTTP/1.1 400 Bad Request\r\n")
NOT_FOUND = Head(404, b"HTTP/1.1 404 Not Found\r\n")
METHOD_NOT_ALLOWED = Head(405, b"HTTP/1.1 405 Method Not Allowed\r\n", b"allow: GET,HEAD\r\n")
REQUEST_TIMEOUT = Head(408, b"HTTP/1.1 408 Request Timeout\r\n")
CONTENT_TOO_LARGE = Head(413, b"HTTP/1.1 413 Content Too Large\r\n")
FIELDS_TOO_LARGE = Head(431, b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
INTERNAL_ERROR = Head(
    500, b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\n"
)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def encode_response(
    head: Head, body: bytes, *, request_id: bytes, connection: bytes, date: bytes, without_body: bool
) -> bytes:
    """A whole response. `without_body` answers HEAD: only the length of the body is told."""
    return b"%bcontent-length: %d\r\nx-request-id: %b\r\n%b%bdate: %b\r\n\r\n%b" % (
        head.before,
        len(body),
        request_id,
        head.after,
        b"connection: %b\r\n" % connection if connection else b"",
        date,
        b"" if without_body else body,
    )


def encode_compact_announce(swarm: SwarmView, *, interval: int, interval_min: int) -> bytes:
    """Peers as packed endpoints (BEP 23, BEP 7). Intervals in seconds."""
    return b"d8:completei%de10:incompletei%de8:intervali%de12:min intervali%de5:peers%d:%b6:peers6%d:%be" % (
        swarm.seeders,
        swarm.leechers,
        interval,
        interval_min,
        len(swarm.peers_ipv4),
        swarm.peers_ipv4,
        len(swarm.peers_ipv6),
        swarm.peers_ipv6,
    )


def encode_announce(
    swarm: SwarmView,
    ids_ipv4: Iterable[PeerId],
    ids_ipv6: Iterable[PeerId],
    *,
    interval: int,
    interval_min: int,
) -> bytes:
    """Peers as dictionaries (BEP 3), those of IPv4 first; the ids are of the swarm's peers in their order."""
    peers = [
        *_peers(socket.AF_INET, swarm.peers_ipv4, ENDPOINT_SIZE_IPV4, ids_ipv4),
        *_peers(socket.AF_INET6, swarm.peers_ipv6, ENDPOINT_SIZE_IPV6, ids_ipv6),
    ]
    return _bencode(
        {
            "complete": swarm.seeders,
            "incomplete": swarm.leechers,
            "interval": interval,
            "min interval": interval_min,
            "peers": peers,
        }
    )


def encode_scrape(swarms: Mapping[InfoHash, SwarmCounts]) -> bytes:
    """BEP 48; each info hash once, sorted."""
    files = (
        b"20:%bd8:completei%de10:downloadedi%de10:incompletei%dee" % (info_hash, *swarms[info_hash])
        for info_hash in sorted(swarms)
    )
    return b"d5:filesd%bee" % b"".join(files)


def encode_failure(reason: str) -> bytes:
    return _bencode({"failure reason": reason})


def _peers(
    family: int, endpoints: bytes, size: int, peer_ids: Iterable[PeerId]
) -> list[dict[str, str | bytes | int]]:
    return [
        {
            "ip": socket.inet_ntop(family, endpoints[at : at + size - 2]),
            "peer id": peer_id,
            "port": int.from_bytes(endpoints[at + size - 2 : at + size]),
        }
        for at, peer_id in zip(range(0, len(endpoints), size), peer_ids, strict=True)
    ]


def _bencode(value: Mapping[str, object]) -> bytes:
    encoded: bytes = bencodepy.encode(value)
    return encoded
