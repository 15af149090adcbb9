import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import bencodepy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torrust_py.core.types import InfoHash, PeerId, SwarmCounts, SwarmView
from torrust_py.http.client import (
    AnnouncedPeer,
    AnnounceResponse,
    BadResponse,
    NoAnswer,
    encode_params,
    get,
    parse_announce_response,
    parse_scrape_response,
    percent_encode,
)
from torrust_py.http.query import decode_percent
from torrust_py.http.responses import (
    encode_announce,
    encode_compact_announce,
    encode_failure,
    encode_scrape,
)

IPV4, IPV6 = bytes.fromhex("cb007105448e"), bytes.fromhex("20010db8000000000000000000000001448f")
VIEW = SwarmView(4, 1, IPV4, IPV6)
PEER_ID = PeerId(b"-qB00000000000000009")


@given(st.binary())
def test_a_percent_encoded_value_is_read_back(value: bytes) -> None:
    assert decode_percent(percent_encode(value).encode()) == value


def test_all_but_letters_and_digits_is_percent_encoded() -> None:
    assert percent_encode(b"-qB_.~\xc3\xa4 9") == "%2DqB%5F%2E%7E%C3%A4%209"


def test_params_keep_their_order() -> None:
    assert encode_params([("b", b"1"), ("a", b"&"), ("b", b"")]) == "b=1&a=%26&b="


def test_peers_with_ids_are_read() -> None:
    body = encode_announce(VIEW, [PEER_ID], [PEER_ID], interval=120, interval_min=60)
    peers = [AnnouncedPeer("203.0.113.5", 17550, PEER_ID), AnnouncedPeer("2001:db8::1", 17551, PEER_ID)]
    assert parse_announce_response(body) == AnnounceResponse(4, 1, 120, 60, peers)


def test_compact_peers_are_read() -> None:
    body = encode_compact_announce(VIEW, interval=120, interval_min=60)
    peers = [AnnouncedPeer("203.0.113.5", 17550, None), AnnouncedPeer("2001:db8::1", 17551, None)]
    assert parse_announce_response(body) == AnnounceResponse(4, 1, 120, 60, peers)


def test_only_the_interval_must_be_there() -> None:
    assert parse_announce_response(b"d8:intervali9ee") == AnnounceResponse(None, None, 9, None, [])


def test_scraped_swarms_are_read() -> None:
    swarms = {InfoHash(bytes([number]) * 20): SwarmCounts(number, 2, 3) for number in range(3)}
    assert parse_scrape_response(encode_scrape(swarms)) == swarms


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"interval": b"120"},
        {"interval": 120, "complete": []},
        {"interval": 120, "peers": b"12345"},
        {"interval": 120, "peers6": b"12345"},
        {"interval": 120, "peers": 6},
        {"interval": 120, "peers": [b"peer"]},
        {"interval": 120, "peers": [{"ip": b"203.0.113.5"}]},
        {"interval": 120, "peers": [{"ip": 1, "port": 1}]},
    ],
)
def test_what_is_no_announce_response_is_refused(fields: dict[str, object]) -> None:
    body = bencodepy.encode(fields)
    with pytest.raises(BadResponse):
        parse_announce_response(body)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"files": []},
        {"files": {b"short": {"complete": 1, "downloaded": 1, "incomplete": 1}}},
        {"files": {b"\5" * 20: {"complete": 1, "downloaded": 1}}},
        {"files": {b"\5" * 20: b""}},
    ],
)
def test_what_is_no_scrape_response_is_refused(fields: dict[str, object]) -> None:
    body = bencodepy.encode(fields)
    with pytest.raises(BadResponse):
        parse_scrape_response(body)


@pytest.mark.parametrize("parse", [parse_announce_response, parse_scrape_response])
@pytest.mark.parametrize("body", [b"", b"<html>", b"i1e", b"d8:intervali9e", b"l" * 1000, b"d1:ai5e-6:x"])
def test_what_is_not_bencoded_is_refused(parse: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises(BadResponse):
        parse(body)


@pytest.mark.parametrize("parse", [parse_announce_response, parse_scrape_response])
def test_a_failure_is_no_response(parse: Callable[[bytes], object]) -> None:
    with pytest.raises(BadResponse, match="refuses"):
        parse(encode_failure("no"))


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Where connections are made, and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_a_silent_tracker_is_waited_for_no_longer_than_said(silent_url: str) -> None:
    with pytest.raises(NoAnswer, match=r"did not answer within 0\.05 s|no answer in time"):
        get(silent_url, patience=0.05)


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """Serves connection after connection with these bytes, and ends each; the URL to ask."""
    with contextlib.ExitStack() as resources:

        def start(answer: bytes) -> str:
            listening = resources.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer_each() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listening.accept()
                        with connection:
                            connection.recv(4096)
                            connection.sendall(answer)

            thread = threading.Thread(target=answer_each)
            thread.start()
            resources.callback(thread.join, 5)
            resources.callback(listening.shutdown, socket.SHUT_RDWR)  # ends its accept
            return f"http://127.0.0.1:{listening.getsockname()[1]}/"

        yield start


def test_a_body_in_chunks_is_put_together(serve: Callable[[bytes], str]) -> None:
    url = serve(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nd5\r\n1\r\n:\r\n0\r\n\r\n")
    assert get(url, patience=10) == (200, b"d5:")


def test_a_redirection_is_followed(serve: Callable[[bytes], str]) -> None:
    target = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nde")
    url = serve(b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: %b\r\n\r\n" % target.encode())
    assert get(url, patience=10) == (200, b"de")


def test_a_status_of_failure_is_an_answer(serve: Callable[[bytes], str]) -> None:
    answer = get(serve(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"), patience=10)
    assert (answer, answer.is_success) == ((403, b"no"), False)


@pytest.mark.parametrize(
    "sent",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nd"],
)
def test_what_is_not_http_is_no_answer(serve: Callable[[bytes], str], sent: bytes) -> None:
    url = serve(sent)
    with pytest.raises(NoAnswer):
        get(url, patience=10)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/", "/announce"])
def test_only_urls_of_http_are_asked(url: str) -> None:
    with pytest.raises(NoAnswer, match="is no URL of"):
        get(url, patience=1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a b", "http://127.0.0.1:x/", "http://127.0.0.1:1/\xfc"])
def test_a_url_that_cannot_be_asked_is_no_answer(url: str) -> None:
    with pytest.raises(NoAnswer):
        get(url, patience=5)


NAMES = st.sampled_from(
    [b"complete", b"incomplete", b"interval", b"peers", b"peers6", b"files", b"ip", b"port"]
)
VALUES = st.recursive(
    st.integers() | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.binary(max_size=20), inner, max_size=5)
    ),
    max_leaves=8,
)
ANNOUNCE = encode_announce(VIEW, [PEER_ID], [PEER_ID], interval=120, interval_min=60)


@given(
    st.binary(max_size=80)
    | VALUES.map(bencodepy.encode)
    | st.tuples(st.integers(0, len(ANNOUNCE)), st.binary(max_size=3), st.integers(0, 3)).map(
        lambda edit: ANNOUNCE[: edit[0]] + edit[1] + ANNOUNCE[edit[0] + edit[2] :]
    )
)
@example(b"l" * 100_000)
@example(b"i" + b"9" * 5000 + b"e")
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for parse in (parse_announce_response, parse_scrape_response):
        with contextlib.suppress(BadResponse):
            parse(body)
