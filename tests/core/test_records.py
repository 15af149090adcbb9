import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.core.records import (
    DETAILS,
    NO_PEERS,
    BadRecords,
    PackedPeers,
    SwarmRecord,
    encode_record,
    parse_records,
)
from torrust_py.core.types import AnnounceEvent, Endpoint, InfoHash, Peer, PeerId, SwarmPeer

INFO_HASH = InfoHash(b"\5" * 20)
PEER_ID = PeerId(b"-PY0000-000000000001")
ENDPOINT = Endpoint(b"\x7f\0\0\1\x1a\xe1")


def packed(details: bytes, endpoint: bytes = ENDPOINT, *, seen: int = 2 * 7 + 1) -> PackedPeers:
    return PackedPeers(seen.to_bytes(4, "little"), endpoint, details)


def record(ipv4: PackedPeers = NO_PEERS, ipv6: PackedPeers = NO_PEERS, *, completed: int = 3) -> SwarmRecord:
    return SwarmRecord(INFO_HASH, completed, announces=2, is_first_part=True, ipv4=ipv4, ipv6=ipv6)


def test_a_record_has_its_layout() -> None:
    details = DETAILS.pack(PEER_ID, 1, 2, 0, AnnounceEvent.COMPLETED << 10 | 999)
    assert encode_record(record(packed(details))) == bytes.fromhex(
        "05" * 20 + "03000000" + "02" + "00" + "0000" + "01000000" + "00000000"
        "0f000000" + "7f0000011ae1" + PEER_ID.hex() + "01" + "00" * 7 + "02" + "00" * 15 + "e707"
    )  # fmt: skip


def test_the_peers_of_a_record_are_those_that_were_packed() -> None:
    details = DETAILS.pack(PEER_ID, 1, 2, -1, AnnounceEvent.STARTED << 10 | 999)
    endpoint = bytes(15) + b"\1\x1a\xe1"
    [parsed] = parse_records(encode_record(record(ipv6=packed(details, endpoint))))
    peer = Peer(Endpoint(endpoint), PEER_ID, 1, 2, -1, AnnounceEvent.STARTED)
    assert [*parsed.peers()] == [SwarmPeer(peer, updated_ms=7999)]


def test_seeders_are_counted_as_they_were_seen() -> None:
    assert packed(bytes(46), seen=7).seeders == 1
    assert packed(bytes(46), seen=6).seeders == 0


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(0, 3)), max_size=4))
def test_records_are_read_as_they_were_written(kinds: list[tuple[int, int, int]]) -> None:
    details = DETAILS.pack(PEER_ID, 1, 2, 3, 0)
    records = [
        record(
            PackedPeers(bytes(4 * ipv4), ENDPOINT * ipv4, details * ipv4),
            PackedPeers(bytes(4 * ipv6), ENDPOINT * 3 * ipv6, details * ipv6),
            completed=completed,
        )
        for completed, ipv4, ipv6 in kinds
    ]
    assert [*parse_records(b"".join(map(encode_record, records)))] == records


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_refused(records: bytes) -> None:
    with contextlib.suppress(BadRecords):
        for one in parse_records(records):
            list(one.peers())


@pytest.mark.parametrize("at", range(1, 92))
def test_a_record_that_is_cut_is_refused(at: int) -> None:
    whole = encode_record(record(packed(bytes(46))))
    assert len(whole) == 92
    with pytest.raises(BadRecords):
        list(parse_records(whole[:at]))


@pytest.mark.parametrize(("at", "value"), [(24, 0), (24, 3), (25, 2), (26, 1), (27, 1), (31, 255), (35, 255)])
def test_a_head_that_makes_no_sense_is_refused(at: int, value: int) -> None:
    wrong = bytearray(encode_record(record()))
    wrong[at] = value
    with pytest.raises(BadRecords):
        list(parse_records(bytes(wrong)))


@pytest.mark.parametrize(
    ("event_and_ms", "endpoint"),
    [
        (AnnounceEvent.STOPPED << 10, ENDPOINT),
        (4 << 10, ENDPOINT),
        (63 << 10, ENDPOINT),
        (1000, ENDPOINT),
        (0, b"\x7f\0\0\1\0\0"),
    ],
)
def test_a_peer_that_could_not_be_one_is_refused(event_and_ms: int, endpoint: bytes) -> None:
    [parsed] = parse_records(
        encode_record(record(packed(DETAILS.pack(PEER_ID, 1, 2, 3, event_and_ms), endpoint)))
    )
    with pytest.raises(BadRecords):
        list(parsed.peers())
