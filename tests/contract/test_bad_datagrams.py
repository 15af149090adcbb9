"""Whatever comes over UDP is answered by the book, and harms nothing."""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.contract.doors import (
    announce_request,
    announced_peers,
    answer_to,
    answers_to,
    check_answer,
    connection_id,
    scrape_request,
    unharmed,
)
from torrust_py.udp.packets import ERROR, encode_connect_request, is_error_response

pytestmark = pytest.mark.slow

LARGEST = 65_507  # bytes of a datagram over IPv4
KINDS = ("connect", "announce", "scrape")

EDITS = st.lists(st.tuples(st.integers(0, 1600), st.binary(min_size=1, max_size=8)), max_size=4)
ACTIONS = st.integers(0, 4) | st.integers(0, 2**32 - 1)


def valid(connection: bytes) -> dict[str, bytes]:
    """A good request of each kind, of a torrent of its own."""
    info_hash = secrets.token_bytes(20)
    return {
        "connect": encode_connect_request(b"abcd"),
        "announce": announce_request(connection, info_hash, 6881),
        "scrape": scrape_request(connection, *[info_hash] * 74),
    }


def edited(datagram: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    """Bytes replaced, each where it falls in the datagram."""
    for at, replacement in edits:
        at %= len(datagram)
        datagram = datagram[:at] + replacement + datagram[at + len(replacement) :]
    return datagram


@contextlib.contextmanager
def asked(daemon: Any, *, ipv6: bool) -> Iterator[Any]:
    with unharmed(daemon), daemon.udp(ipv6=ipv6) as client:
        yield client


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_any_bytes_are_answered_as_a_request_or_refused(public: Any, ipv6: bool) -> None:
    @settings(max_examples=150)
    @given(st.binary(max_size=1600))
    def send(datagram: bytes) -> None:
        assume(not is_error_response(datagram))  # which is not answered
        check_answer(datagram, answer_to(client, datagram), ipv6=ipv6)

    with asked(public, ipv6=ipv6) as client:
        send()


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_any_body_under_a_good_header_is_answered(public: Any, ipv6: bool) -> None:
    @settings(max_examples=150)
    @given(ACTIONS, st.binary(max_size=120), st.booleans())
    def send(action: int, body: bytes, knows: bool) -> None:
        datagram = (connection if knows else bytes(8)) + action.to_bytes(4) + body
        check_answer(datagram, answer_to(client, datagram), ipv6=ipv6)

    with asked(public, ipv6=ipv6) as client:
        connection = connection_id(client)
        send()


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_a_good_request_with_wrong_bytes_is_answered(public: Any, ipv6: bool) -> None:
    @settings(max_examples=200)
    @given(st.sampled_from(KINDS), EDITS, st.integers(0, 1600), st.binary(max_size=300))
    def send(kind: str, edits: list[tuple[int, bytes]], size: int, tail: bytes) -> None:
        datagram = edited(requests[kind], edits)[:size] + tail
        assume(not is_error_response(datagram))  # which is not answered
        check_answer(datagram, answer_to(client, datagram), ipv6=ipv6)

    with asked(public, ipv6=ipv6) as client:
        requests = valid(connection_id(client))
        send()


def test_a_listed_tracker_answers_any_announce_of_a_client_that_it_knows(listed: Any) -> None:
    @settings(max_examples=100)
    @given(st.binary(min_size=82, max_size=90))
    def send(body: bytes) -> None:
        datagram = connection + bytes([0, 0, 0, 1]) + body
        check_answer(datagram, answer_to(client, datagram), ipv6=False)

    with asked(listed, ipv6=False) as client:
        connection = connection_id(client)
        send()


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_cut_off_anywhere_is_answered(public: Any, kind: str) -> None:
    with asked(public, ipv6=False) as client:
        whole = valid(connection_id(client))[kind]
        for size in range(min(len(whole), 220) + 1):
            datagram = whole[:size]
            answer = answer_to(client, datagram)
            check_answer(datagram, answer, ipv6=False)
            assert (answer[3] != ERROR) == is_whole(kind, size), size


def is_whole(kind: str, size: int) -> bool:
    """Whether a request of that kind may have this size, if it has no more than it needs."""
    if kind == "scrape":
        return size > 16 and (size - 16) % 20 == 0
    return size == {"connect": 16, "announce": 98}[kind]


@pytest.mark.parametrize("size", [1495, 1496, 1497, 1500, 9000, LARGEST])
def test_of_a_datagram_that_is_too_long_the_start_is_read(public: Any, size: int) -> None:
    with asked(public, ipv6=False) as client:
        connection = connection_id(client)
        info_hash = secrets.token_bytes(20)
        connect = encode_connect_request(b"abcd").ljust(size, b"\xff")
        check_answer(connect, answer_to(client, connect), ipv6=False)
        announce = announce_request(connection, info_hash, 6881).ljust(size, b"\xff")
        assert announced_peers(answer_to(client, announce)) == set()
        scrape = scrape_request(connection, info_hash).ljust(size, b"\xff")
        answer = answer_to(client, scrape)
        check_answer(scrape[:1496], answer, ipv6=False)
        if size >= 1496:
            assert answer[8:] == bytes(8) + (1).to_bytes(4) + bytes(73 * 12)


def test_many_bad_datagrams_between_good_ones_hold_up_nobody(public: Any) -> None:
    with asked(public, ipv6=False) as client:
        connection = connection_id(client)
        info_hash = secrets.token_bytes(20)
        for port in range(1, 101):
            good = announce_request(connection, info_hash, port, num_want=0)
            answers = answers_to(client, b"", secrets.token_bytes(98), good)
            assert len([answer for answer in answers if answer[:8] == b"\0\0\0\1anno"]) == 1
        counts = answer_to(client, scrape_request(connection, info_hash))[8:]
        assert counts == bytes(8) + (100).to_bytes(4)
