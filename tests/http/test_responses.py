import socket

import bencodepy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.core.types import InfoHash, PeerId, SwarmCounts, SwarmView
from torrust_py.http.responses import (
    ANSWER,
    METHOD_NOT_ALLOWED,
    encode_announce,
    encode_compact_announce,
    encode_failure,
    encode_response,
    encode_scrape,
)

ID = b"11111111-2222-4333-8444-555555555555"
DATE = b"Tue, 24 Nov 2026 02:33:49 GMT"

counts = st.integers(0, 2**32 - 1)
views = st.builds(
    SwarmView,
    counts,
    counts,
    st.lists(st.binary(min_size=6, max_size=6)).map(b"".join),
    st.lists(st.binary(min_size=18, max_size=18)).map(b"".join),
)


@pytest.mark.clause("3.9.3", "3.9.5", "3.9.6")
@pytest.mark.clause("12.5.2")
def test_a_compact_announce() -> None:
    view = SwarmView(333, 444, b"iiiipp", b"iiiiiiiiiiiiiiiipp")
    body = b"d8:completei333e10:incompletei444e8:intervali111e12:min intervali222e"
    body += b"5:peers6:iiiipp6:peers618:iiiiiiiiiiiiiiiippe"
    assert encode_compact_announce(view, interval=111, interval_min=222) == body


def test_a_compact_announce_without_peers_has_both_lists() -> None:
    body = encode_compact_announce(SwarmView(1, 0, b"", b""), interval=120, interval_min=120)
    assert body.endswith(b"5:peers0:6:peers60:e")


@pytest.mark.clause("3.9.1", "3.9.2", "3.9.5", "3.9.6")
@pytest.mark.clause("12.5.2")
def test_an_announce_with_dictionaries() -> None:
    view = SwarmView(333, 444, b"i" * 4 + b"pp", b"i" * 16 + b"pp")
    body = encode_announce(
        view,
        [PeerId(b"-qB00000000000000001")],
        [PeerId(b"-qB00000000000000002")],
        interval=111,
        interval_min=222,
    )
    assert body == (
        b"d8:completei333e10:incompletei444e8:intervali111e12:min intervali222e5:peersl"
        b"d2:ip15:105.105.105.1057:peer id20:-qB000000000000000014:porti28784ee"
        b"d2:ip39:6969:6969:6969:6969:6969:6969:6969:69697:peer id20:-qB000000000000000024:porti28784ee"
        b"ee"
    )


@pytest.mark.clause("3.10.8")
@pytest.mark.clause("12.5.2")
def test_a_scrape_has_each_info_hash_in_order() -> None:
    swarms = {
        InfoHash(b"b" * 20): SwarmCounts(1, 2, 3),
        InfoHash(b"a" * 20): SwarmCounts(4, 5, 6),
    }
    assert encode_scrape(swarms) == (
        b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei4e10:downloadedi5e10:incompletei6ee"
        b"20:bbbbbbbbbbbbbbbbbbbbd8:completei1e10:downloadedi2e10:incompletei3eeee"
    )


@pytest.mark.clause("3.5.12")
def test_a_failure() -> None:
    assert encode_failure("é") == b"d14:failure reason2:\xc3\xa9e"


@given(views, counts, counts)
def test_a_compact_announce_is_read_back(view: SwarmView, interval: int, interval_min: int) -> None:
    body = encode_compact_announce(view, interval=interval, interval_min=interval_min)
    decoded = {
        b"complete": view.seeders,
        b"incomplete": view.leechers,
        b"interval": interval,
        b"min interval": interval_min,
        b"peers": view.peers_ipv4,
        b"peers6": view.peers_ipv6,
    }
    assert bencodepy.decode(body) == decoded
    assert bencodepy.encode(decoded) == body


@given(views, st.data())
def test_an_announce_with_dictionaries_is_read_back(view: SwarmView, data: st.DataObject) -> None:
    count = len(view.peers_ipv4) // 6 + len(view.peers_ipv6) // 18
    ids = data.draw(st.lists(st.binary(min_size=20, max_size=20), min_size=count, max_size=count))
    of_ipv4 = len(view.peers_ipv4) // 6
    body = encode_announce(view, ids[:of_ipv4], ids[of_ipv4:], interval=1, interval_min=2)
    peers = bencodepy.decode(body)[b"peers"]
    packed = [
        socket.inet_pton(socket.AF_INET6 if b":" in peer[b"ip"] else socket.AF_INET, peer[b"ip"].decode())
        + peer[b"port"].to_bytes(2)
        for peer in peers
    ]
    assert b"".join(packed) == view.peers_ipv4 + view.peers_ipv6
    assert [peer[b"peer id"] for peer in peers] == ids


@given(st.dictionaries(st.binary(min_size=20, max_size=20), st.builds(SwarmCounts, counts, counts, counts)))
def test_a_scrape_is_read_back(swarms: dict[InfoHash, SwarmCounts]) -> None:
    body = encode_scrape(swarms)
    decoded = bencodepy.decode(body)
    assert decoded[b"files"] == {
        info_hash: {b"complete": seeders, b"downloaded": completed, b"incomplete": leechers}
        for info_hash, (seeders, completed, leechers) in swarms.items()
    }
    assert bencodepy.encode(decoded) == body


@given(st.text())
def test_a_failure_is_read_back(reason: str) -> None:
    assert bencodepy.decode(encode_failure(reason)) == {b"failure reason": reason.encode()}


def test_a_response() -> None:
    response = encode_response(ANSWER, b"de", request_id=ID, connection=b"", date=DATE, without_body=False)
    assert response == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 2\r\n"
        b"x-request-id: 11111111-2222-4333-8444-555555555555\r\ndate: Tue, 24 Nov 2026 02:33:49 GMT\r\n\r\nde"
    )


def test_a_response_to_head_tells_the_length_of_the_body_that_it_lacks() -> None:
    response = encode_response(
        ANSWER, b"de", request_id=ID, connection=b"close", date=DATE, without_body=True
    )
    assert b"\r\ncontent-length: 2\r\n" in response
    assert response.endswith(b"\r\nconnection: close\r\ndate: Tue, 24 Nov 2026 02:33:49 GMT\r\n\r\n")


def test_a_response_names_the_methods_that_are_allowed() -> None:
    response = encode_response(
        METHOD_NOT_ALLOWED, b"", request_id=ID, connection=b"", date=DATE, without_body=False
    )
    assert response == (
        b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n"
        b"x-request-id: 11111111-2222-4333-8444-555555555555\r\nallow: GET,HEAD\r\n"
        b"date: Tue, 24 Nov 2026 02:33:49 GMT\r\n\r\n"
    )
