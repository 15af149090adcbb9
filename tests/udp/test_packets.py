"""The packets marked golden were recorded from a Torrust tracker 3.0 and its clients."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torrust_py.core.types import LEFT_UNKNOWN, AnnounceEvent, InfoHash, PeerId, SwarmCounts, SwarmView
from torrust_py.udp.packets import (
    ANNOUNCE,
    CONNECT,
    DATAGRAM_SIZE,
    MAX_PEERS_IPV4,
    MAX_PEERS_IPV6,
    MAX_SCRAPED,
    SCRAPE,
    AnnounceRequest,
    AnnounceResponse,
    BadPacket,
    ConnectRequest,
    ConnectResponse,
    ErrorResponse,
    ScrapeRequest,
    ScrapeResponse,
    action_of,
    encode_announce_request,
    encode_announce_response,
    encode_connect_request,
    encode_connect_response,
    encode_error_response,
    encode_scrape_request,
    encode_scrape_response,
    parse_announce,
    parse_connect,
    parse_response,
    parse_scrape,
    transaction_id_of,
)

GOLDEN_CONNECT = bytes.fromhex("00000417271019800000000000001111")
GOLDEN_CONNECTED = bytes.fromhex("000000000000111121add7beea09a882")
GOLDEN_ANNOUNCE = bytes.fromhex(
    "21add7beea09a8820000000100002222"
    "0505050505050505050505050505050505050505"
    "2d71423030303030303030303030303030303130"
    "000000000000000000000000000000090000000000000000"
    "000000020000000000000007ffffffff448f"
)
GOLDEN_ANNOUNCED = bytes.fromhex("0000000100002222000000780000000100000001cb007105448e")
GOLDEN_ANNOUNCED_IPV6 = bytes.fromhex("0000000100002222000000780000000100000003")
GOLDEN_SCRAPE = bytes.fromhex("21add7beea09a88200000002000033330505050505050505050505050505050505050505")
GOLDEN_SCRAPED = bytes.fromhex("0000000200003333000000030000000000000001")
GOLDEN_ERROR = bytes.fromhex(
    "0000000300002222636f6e6e656374696f6e20696420636f756c64206e6f74206265207665726966696564"
)
GOLDEN_ANNOUNCE_REQUEST = AnnounceRequest(
    connection_id=bytes.fromhex("21add7beea09a882"),
    transaction_id=bytes.fromhex("00002222"),
    info_hash=InfoHash(b"\5" * 20),
    peer_id=PeerId(b"-qB00000000000000010"),
    downloaded=0,
    left=9,
    uploaded=0,
    event=AnnounceEvent.STARTED,
    num_want=None,
    port=17551,
)

u32 = st.integers(0, 2**32 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
ids = st.binary(min_size=8, max_size=8)
transaction_ids = st.binary(min_size=4, max_size=4)
hashes = st.binary(min_size=20, max_size=20).map(InfoHash)
counts = st.builds(SwarmCounts, u32, u32, u32)
announces = st.builds(
    AnnounceRequest,
    connection_id=ids,
    transaction_id=transaction_ids,
    info_hash=hashes,
    peer_id=st.binary(min_size=20, max_size=20).map(PeerId),
    downloaded=i64,
    left=st.integers(-1, 2**63 - 1),
    uploaded=i64,
    event=st.sampled_from(AnnounceEvent),
    num_want=st.none() | st.integers(0, 2**31 - 1),
    port=st.integers(1, 65535),
)


def scrape_of(count: int) -> bytes:
    return GOLDEN_SCRAPE[:16] + b"".join(number.to_bytes(20) for number in range(count))


def with_bytes(datagram: bytes, at: int, replacement: bytes) -> bytes:
    return datagram[:at] + replacement + datagram[at + len(replacement) :]


# --- golden


def test_a_golden_connect_request_is_read_and_written() -> None:
    assert parse_connect(GOLDEN_CONNECT) == ConnectRequest(bytes.fromhex("00001111"))
    assert encode_connect_request(bytes.fromhex("00001111")) == GOLDEN_CONNECT


def test_a_golden_connect_response_is_written_and_read() -> None:
    transaction_id, connection_id = GOLDEN_CONNECT[12:], GOLDEN_ANNOUNCE[:8]
    assert encode_connect_response(transaction_id, connection_id) == GOLDEN_CONNECTED
    assert parse_response(GOLDEN_CONNECTED) == ConnectResponse(transaction_id, connection_id)


def test_a_golden_announce_request_is_read_and_written() -> None:
    assert parse_announce(GOLDEN_ANNOUNCE) == GOLDEN_ANNOUNCE_REQUEST
    # The client that was recorded put 7 into the key, which this one leaves 0.
    assert encode_announce_request(GOLDEN_ANNOUNCE_REQUEST) == with_bytes(GOLDEN_ANNOUNCE, 88, bytes(4))


def test_a_golden_announce_response_is_written_and_read() -> None:
    peers = bytes.fromhex("cb007105448e")
    swarm = SwarmView(seeders=1, leechers=1, peers_ipv4=peers, peers_ipv6=b"")
    encoded = encode_announce_response(bytes.fromhex("00002222"), interval=120, swarm=swarm)
    assert encoded == GOLDEN_ANNOUNCED
    expected = AnnounceResponse(bytes.fromhex("00002222"), 120, leechers=1, seeders=1, peers=peers)
    assert parse_response(GOLDEN_ANNOUNCED) == expected


def test_a_golden_announce_response_over_ipv6_is_written() -> None:
    swarm = SwarmView(seeders=3, leechers=1, peers_ipv4=b"", peers_ipv6=b"")
    encoded = encode_announce_response(bytes.fromhex("00002222"), interval=120, swarm=swarm)
    assert encoded == GOLDEN_ANNOUNCED_IPV6


def test_a_golden_scrape_request_is_read_and_written() -> None:
    request = ScrapeRequest(
        bytes.fromhex("21add7beea09a882"), bytes.fromhex("00003333"), [InfoHash(b"\5" * 20)]
    )
    assert parse_scrape(GOLDEN_SCRAPE) == request
    assert encode_scrape_request(request) == GOLDEN_SCRAPE


def test_a_golden_scrape_response_is_written_and_read() -> None:
    swarms = [SwarmCounts(seeders=3, completed=0, leechers=1)]
    assert encode_scrape_response(bytes.fromhex("00003333"), swarms) == GOLDEN_SCRAPED
    assert parse_response(GOLDEN_SCRAPED) == ScrapeResponse(bytes.fromhex("00003333"), swarms)


def test_a_golden_error_is_written_and_read() -> None:
    text = "connection id could not be verified"
    assert encode_error_response(bytes.fromhex("00002222"), text) == GOLDEN_ERROR
    assert parse_response(GOLDEN_ERROR) == ErrorResponse(bytes.fromhex("00002222"), text)


# --- what is read


@pytest.mark.parametrize("action", [CONNECT, ANNOUNCE, SCRAPE])
def test_twelve_bytes_have_an_action(action: int) -> None:
    assert action_of(bytes(8) + action.to_bytes(4)) == action


def test_bytes_after_a_connect_request_are_ignored() -> None:
    assert parse_connect(GOLDEN_CONNECT + b"more") == ConnectRequest(bytes.fromhex("00001111"))


def test_bytes_after_an_announce_request_are_ignored() -> None:
    with_options = GOLDEN_ANNOUNCE + bytes.fromhex("02042f61626300")  # BEP 41: /abc
    assert parse_announce(with_options) == GOLDEN_ANNOUNCE_REQUEST


@pytest.mark.parametrize(("wire", "event"), [(0, "NONE"), (1, "COMPLETED"), (2, "STARTED"), (3, "STOPPED")])
def test_events_have_the_numbers_of_bep_15(wire: int, event: str) -> None:
    datagram = with_bytes(GOLDEN_ANNOUNCE, 80, wire.to_bytes(4))
    assert parse_announce(datagram).event is AnnounceEvent[event]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ("0000000000000000", 0),
        ("7fffffffffffffff", 2**63 - 1),
        ("8000000000000000", LEFT_UNKNOWN),
        ("ffffffffffffffff", LEFT_UNKNOWN),
        ("fffffffffffffffe", LEFT_UNKNOWN),
    ],
)
def test_a_left_below_zero_is_unknown(left: str, expected: int) -> None:
    datagram = with_bytes(GOLDEN_ANNOUNCE, 64, bytes.fromhex(left))
    assert parse_announce(datagram).left == expected


@pytest.mark.parametrize(
    ("num_want", "expected"),
    [("00000000", 0), ("00000001", 1), ("7fffffff", 2**31 - 1), ("ffffffff", None), ("80000000", None)],
)
def test_a_num_want_below_zero_leaves_it_to_the_tracker(num_want: str, expected: int | None) -> None:
    datagram = with_bytes(GOLDEN_ANNOUNCE, 92, bytes.fromhex(num_want))
    assert parse_announce(datagram).num_want == expected


@pytest.mark.parametrize(("at", "size"), [(84, 4), (88, 4)])
def test_the_address_and_the_key_of_an_announce_mean_nothing(at: int, size: int) -> None:
    assert parse_announce(with_bytes(GOLDEN_ANNOUNCE, at, b"\xff" * size)) == GOLDEN_ANNOUNCE_REQUEST


def test_a_scrape_is_read_in_the_order_asked_for_and_with_repetitions() -> None:
    datagram = GOLDEN_SCRAPE[:16] + b"\2" * 20 + b"\1" * 20 + b"\2" * 20
    assert parse_scrape(datagram).info_hashes == [b"\2" * 20, b"\1" * 20, b"\2" * 20]


@pytest.mark.parametrize(("asked", "read"), [(1, 1), (73, 73), (74, 74), (75, 74), (200, 74)])
def test_the_first_74_info_hashes_are_read(asked: int, read: int) -> None:
    assert parse_scrape(scrape_of(asked)).info_hashes == [number.to_bytes(20) for number in range(read)]


def test_a_datagram_of_the_size_that_is_read_holds_74_info_hashes() -> None:
    assert (len(scrape_of(MAX_SCRAPED)), DATAGRAM_SIZE) == (1496, 1496)


def test_as_many_peers_are_sent_as_one_frame_holds() -> None:
    assert (MAX_PEERS_IPV4, MAX_PEERS_IPV6) == (242, 79)


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (b"", "00000000"),
        (GOLDEN_CONNECT[:15], "00000000"),
        (GOLDEN_CONNECT, "00001111"),
        (GOLDEN_ANNOUNCE, "00002222"),
        (b"\xff" * 20, "ffffffff"),
    ],
)
def test_a_datagram_of_16_bytes_has_a_transaction_id(datagram: bytes, expected: str) -> None:
    assert transaction_id_of(datagram).hex() == expected


# --- what is refused

PARSERS: dict[int, Callable[[bytes], object]] = {
    CONNECT: parse_connect,
    ANNOUNCE: parse_announce,
    SCRAPE: parse_scrape,
}


def parse(datagram: bytes) -> object:
    return PARSERS[action_of(datagram)](datagram)


@pytest.mark.parametrize(
    ("datagram", "text"),
    [
        (b"", "Couldn't parse action"),
        (b"hello", "Couldn't parse action"),
        (GOLDEN_CONNECT[:11], "Couldn't parse action"),
        (GOLDEN_CONNECT[:12], "invalid data"),
        (GOLDEN_CONNECT[:15], "invalid data"),
        (with_bytes(GOLDEN_CONNECT, 7, b"\x81"), "Protocol identifier missing"),
        (bytes(1496), "Protocol identifier missing"),
        (GOLDEN_ANNOUNCE[:12], "invalid data"),
        (GOLDEN_ANNOUNCE[:97], "invalid data"),
        (with_bytes(GOLDEN_ANNOUNCE, 96, bytes(2)), "Port can't be 0"),
        (with_bytes(GOLDEN_ANNOUNCE, 80, b"\0\0\0\4"), "Invalid announce event"),
        (with_bytes(GOLDEN_ANNOUNCE, 80, b"\xff\xff\xff\xff"), "Invalid announce event"),
        (with_bytes(with_bytes(GOLDEN_ANNOUNCE, 96, bytes(2)), 80, b"\0\0\0\4"), "Port can't be 0"),
        (GOLDEN_SCRAPE[:12], "invalid data"),
        (GOLDEN_SCRAPE[:15], "invalid data"),
        (GOLDEN_SCRAPE[:16], "Full scrapes are not allowed"),
        (GOLDEN_SCRAPE[:17], "Invalid info hash list"),
        (GOLDEN_SCRAPE[:35], "Invalid info hash list"),
        (GOLDEN_SCRAPE + b"\0", "Invalid info hash list"),
        (with_bytes(GOLDEN_SCRAPE, 8, b"\0\0\0\3"), "Invalid action"),
        (with_bytes(GOLDEN_SCRAPE, 8, b"\0\0\0\x09"), "Invalid action"),
        (with_bytes(GOLDEN_SCRAPE, 8, b"\xff\xff\xff\xff"), "Invalid action"),
    ],
)
def test_a_malformed_datagram_is_refused_with_the_reason(datagram: bytes, text: str) -> None:
    with pytest.raises(BadPacket) as caught:
        parse(datagram)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("datagram", "text"),
    [
        (b"", "too short for a response"),
        (GOLDEN_CONNECTED[:7], "too short for a response"),
        (GOLDEN_CONNECTED[:15], "no response of a tracker"),
        (GOLDEN_ANNOUNCED[:19], "no response of a tracker"),
        (GOLDEN_SCRAPED[:-1], "no response of a tracker"),
        (with_bytes(GOLDEN_ERROR, 0, b"\0\0\0\4"), "no response of a tracker"),
    ],
)
def test_what_is_no_response_is_refused(datagram: bytes, text: str) -> None:
    with pytest.raises(BadPacket) as caught:
        parse_response(datagram)
    assert str(caught.value) == text


def test_an_error_that_is_no_utf_8_is_read_all_the_same() -> None:
    assert parse_response(b"\0\0\0\3\0\0\0\1no \xff") == ErrorResponse(
        b"\0\0\0\1", "no \N{REPLACEMENT CHARACTER}"
    )


# --- properties

datagrams = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda start, action, rest: start + action.to_bytes(4) + rest,
        st.sampled_from([GOLDEN_CONNECT[:8], bytes(8)]),
        st.integers(0, 4),
        st.binary(max_size=150),
    ),
    announces.map(encode_announce_request),
)


@given(datagrams)
@example(GOLDEN_ANNOUNCE)
def test_any_datagram_is_read_or_refused(datagram: bytes) -> None:
    with contextlib.suppress(BadPacket):
        parse(datagram)


@given(st.binary(max_size=60) | st.builds(lambda action, rest: action.to_bytes(4) + rest,
                                          st.integers(0, 4), st.binary(max_size=60)))  # fmt: skip
def test_any_response_is_read_or_refused(datagram: bytes) -> None:
    with contextlib.suppress(BadPacket):
        parse_response(datagram)


@given(transaction_ids)
def test_a_connect_request_is_read_as_it_was_written(transaction_id: bytes) -> None:
    assert parse(encode_connect_request(transaction_id)) == ConnectRequest(transaction_id)


@given(announces)
def test_an_announce_request_is_read_as_it_was_written(request: AnnounceRequest) -> None:
    assert parse(encode_announce_request(request)) == request


@given(st.builds(ScrapeRequest, ids, transaction_ids, st.lists(hashes, min_size=1, max_size=MAX_SCRAPED)))
def test_a_scrape_request_is_read_as_it_was_written(request: ScrapeRequest) -> None:
    assert parse(encode_scrape_request(request)) == request


@given(transaction_ids, ids)
def test_a_connect_response_is_read_as_it_was_written(transaction_id: bytes, connection_id: bytes) -> None:
    encoded = encode_connect_response(transaction_id, connection_id)
    assert parse_response(encoded) == ConnectResponse(transaction_id, connection_id)


@given(transaction_ids, u32, u32, u32, st.integers(0, 242), st.booleans())
def test_an_announce_response_is_read_as_it_was_written(  # every interval that can be configured
    transaction_id: bytes, interval: int, seeders: int, leechers: int, peers: int, ipv6: bool
) -> None:
    endpoints = bytes(number % 251 for number in range(peers * (18 if ipv6 else 6)))
    view = SwarmView(seeders, leechers, *((b"", endpoints) if ipv6 else (endpoints, b"")))
    encoded = encode_announce_response(transaction_id, interval=interval, swarm=view)
    assert parse_response(encoded) == AnnounceResponse(transaction_id, interval, leechers, seeders, endpoints)


@given(transaction_ids, st.lists(counts, max_size=MAX_SCRAPED))
def test_a_scrape_response_is_read_as_it_was_written(
    transaction_id: bytes, swarms: list[SwarmCounts]
) -> None:
    assert parse_response(encode_scrape_response(transaction_id, swarms)) == ScrapeResponse(
        transaction_id, swarms
    )


@given(transaction_ids, st.text())
def test_an_error_is_read_as_it_was_written(transaction_id: bytes, text: str) -> None:
    assert parse_response(encode_error_response(transaction_id, text)) == ErrorResponse(transaction_id, text)


def test_a_counter_beyond_32_bits_shows_as_their_largest_number() -> None:
    response = encode_scrape_response(b"abcd", [SwarmCounts(1, 2**32, 2)])
    assert response == b"\0\0\0\2abcd" + b"\0\0\0\1" + b"\xff\xff\xff\xff" + b"\0\0\0\2"
