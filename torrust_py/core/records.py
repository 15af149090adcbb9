"""Swarms as bytes: what a store writes for another to read, whatever the form of either.

A record is a swarm or, where that has many peers, a part of one. Integers are little-endian.

    0:20 info hash    20:4 completed    24:1 announces (2 stands for all above)    25:1 is not the first part
    26:2 zero         28:4 IPv4 peers   32:4 IPv6 peers

Then follow, first of the IPv4 and then of the IPv6 peers, what a store keeps of each (see
`torrust_py.core.swarms`): all of `seen`, all endpoints, all details. Times count from the origin of who
wrote them.
"""

import sys
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from torrust_py.core.types import (
    ENDPOINT_SIZE_IPV4,
    ENDPOINT_SIZE_IPV6,
    AnnounceEvent,
    Endpoint,
    InfoHash,
    Peer,
    PeerId,
    SwarmPeer,
)

DETAILS = Struct("<20sqqqH")
"""Of a peer: peer id, uploaded, downloaded, left, event << 10 | milliseconds of its last announce."""

MOST_PEERS = 1024
"""In a record; a swarm of more is written in parts."""

PEERS_A_PART = 32

_HEAD = Struct("<20sIBBHII")
_SEEN_SIZE = 4
_EVENTS = tuple(AnnounceEvent)
_KEPT_EVENTS = (AnnounceEvent.NONE, AnnounceEvent.COMPLETED, AnnounceEvent.STARTED)


class BadRecords(ValueError):
    """Bytes that are no records."""

    def __init__(self) -> None:
        super().__init__("what it says of swarms makes no sense")


class PackedPeers(NamedTuple):
    """Peers of one family, side by side."""

    seen: bytes
    """32 bits each: whole seconds of the last announce << 1 | is a seeder."""
    endpoints: bytes
    details: bytes

    @property
    def total(self) -> int:
        return len(self.seen) // _SEEN_SIZE

    @property
    def seeders(self) -> int:
        return sum(word & 1 for word in _words(self.seen))

    def peers(self, size: int) -> Iterator[SwarmPeer]:
        """One by one; `size` is that of an endpoint. Raises BadRecords."""
        for number, word in enumerate(_words(self.seen)):
            endpoint = Endpoint(self.endpoints[number * size : (number + 1) * size])
            peer_id, uploaded, downloaded, left, event_and_ms = DETAILS.unpack_from(
                self.details, number * DETAILS.size
            )
            event, ms = event_and_ms >> 10, event_and_ms & 1023
            if event not in _KEPT_EVENTS or ms > 999 or endpoint.endswith(b"\0\0"):
                raise BadRecords
            peer = Peer(endpoint, PeerId(peer_id), uploaded, downloaded, left, _EVENTS[event])
            yield SwarmPeer(peer, updated_ms=(word >> 1) * 1000 + ms)


NO_PEERS = PackedPeers(b"", b"", b"")


class SwarmRecord(NamedTuple):
    info_hash: InfoHash
    completed: int
    announces: int
    is_first_part: bool
    ipv4: PackedPeers
    ipv6: PackedPeers

    def peers(self) -> Iterator[SwarmPeer]:
        """Raises BadRecords."""
        yield from self.ipv4.peers(ENDPOINT_SIZE_IPV4)
        yield from self.ipv6.peers(ENDPOINT_SIZE_IPV6)


def encode_record(record: SwarmRecord) -> bytes:
    head = _HEAD.pack(
        record.info_hash,
        min(record.completed, 2**32 - 1),
        record.announces,
        not record.is_first_part,
        0,
        record.ipv4.total,
        record.ipv6.total,
    )
    return b"".join((head, *record.ipv4, *record.ipv6))


def parse_records(records: bytes) -> Iterator[SwarmRecord]:
    """Raises BadRecords if they do not end where the bytes do."""
    at = 0
    while at < len(records):
        if len(records) - at < _HEAD.size:
            raise BadRecords
        info_hash, completed, announces, is_further, zero, ipv4, ipv6 = _HEAD.unpack_from(records, at)
        if announces not in (1, 2) or is_further > 1 or zero:
            raise BadRecords
        at += _HEAD.size
        halves = []
        for size, count in ((ENDPOINT_SIZE_IPV4, ipv4), (ENDPOINT_SIZE_IPV6, ipv6)):
            if len(records) - at < count * (_SEEN_SIZE + size + DETAILS.size):
                raise BadRecords
            endpoints = at + count * _SEEN_SIZE
            details = endpoints + count * size
            end = details + count * DETAILS.size
            halves.append(
                PackedPeers(records[at:endpoints], records[endpoints:details], records[details:end])
            )
            at = end
        yield SwarmRecord(InfoHash(info_hash), completed, announces, not is_further, *halves)


def packed_words(words: "array[int]") -> bytes:
    """32 bits each."""
    return _little_endian(words).tobytes()


def _words(packed: bytes) -> "array[int]":
    words = array("I")
    words.frombytes(packed)
    return _little_endian(words)


def _little_endian(words: "array[int]") -> "array[int]":
    """From the machine's order to that, or back."""
    if sys.byteorder == "little":
        return words
    swapped = words[:]
    swapped.byteswap()
    return swapped
