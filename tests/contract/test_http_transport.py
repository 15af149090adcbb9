"""What all answers over HTTP have in common, and the connections that they come over."""

import http.client
import socket
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest

pytestmark = pytest.mark.slow

KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
PATHS = ["/announce", f"/announce/{KEY}", "/scrape", f"/scrape/{KEY}", "/health_check"]


@pytest.mark.clause("12.1.1", "12.1.5")
def test_it_starts_and_stops(start: Any) -> None:
    daemon = start()
    assert daemon.request("http", "/health_check").status == 200
    assert daemon.stop() == 0


@pytest.mark.clause("3.1.2", "3.2.3", "3.11.1", "12.1.2")
def test_the_health_check(public: Any) -> None:
    answer = public.request("http", "/health_check")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body == b'{"status":"Ok"}'


@pytest.mark.clause("3.2.1")
def test_successes_are_bytes(public: Any, info_hash: bytes) -> None:
    for answer in (
        public.announce(info_hash),
        public.announce(info_hash, compact=1),
        public.scrape(info_hash),
    ):
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
        assert answer.headers["Content-Length"] == str(len(answer.body))


# --- methods and paths


@pytest.mark.clause("3.1.3")
def test_an_announce_by_head_is_one(public: Any, info_hash: bytes) -> None:
    before = public.stats()["tcp4_announces_handled"]
    answer = public.announce(info_hash, method="HEAD")
    assert answer.headers["Content-Length"] == str(len(public.announce(info_hash).body))
    assert public.torrent(info_hash)["seeders"] == 1
    assert public.stats()["tcp4_announces_handled"] == before + 2


@pytest.mark.clause("3.1.3")
@pytest.mark.parametrize("path", [*PATHS, "/announce?x"])
def test_head_does_what_get_does_and_leaves_out_the_body(path: str, public: Any) -> None:
    head, _, rest = public.exchange("http", f"HEAD {path} HTTP/1.1\r\n\r\n".encode()).partition(b"\r\n\r\n")
    assert rest == b""
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"\r\ncontent-length: {len(public.request('http', path).body)}\r\n".encode() in head


@pytest.mark.clause("3.1.4", "3.2.7")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_not_allowed(method: str, path: str, public: Any) -> None:
    answer = public.request("http", path, method=method, headers={"X-Request-Id": "mine"})
    assert (answer.status, answer.body) == (405, b"")
    assert answer.headers["Allow"] == "GET,HEAD"
    assert answer.headers["X-Request-Id"] == "mine"
    assert "Content-Type" not in answer.headers


@pytest.mark.clause("3.1.5")
@pytest.mark.parametrize("method", ["FOO", "get"])
def test_a_method_that_no_standard_knows_is_a_bad_request(method: str, public: Any) -> None:
    answer = public.request("http", "/announce", method=method)
    assert (answer.status, answer.body, answer.headers["Connection"]) == (400, b"", "close")


@pytest.mark.clause("3.1.6", "3.2.7")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/unknown",
        "/announce/",
        f"/announce/{KEY}/",
        "/scrape/",
        f"/scrape/{KEY}/x",
        "/health_check/",
        "/Announce",
        "//announce",
        "/announce%3Fx=1",
    ],
)
def test_any_other_path_is_not_found(path: str, method: str, public: Any) -> None:
    answer = public.request("http", path, method=method, headers={"X-Request-Id": "mine"})
    assert (answer.status, answer.body) == (404, b"")
    assert answer.headers["X-Request-Id"] == "mine"
    assert "Content-Type" not in answer.headers
    assert "Location" not in answer.headers


# --- fields


@pytest.mark.clause("3.2.5")
@pytest.mark.parametrize("request_id", ["abc", "f9a44cf2-f99e-4c17-a919-b667d82eb75a", "two words ~!"])
@pytest.mark.parametrize("path", ["/health_check", "/announce"])
def test_a_request_id_is_returned(request_id: str, path: str, public: Any) -> None:
    answer = public.request("http", path, headers={"X-Request-Id": request_id})
    assert answer.headers.get_all("X-Request-Id") == [request_id]


@pytest.mark.clause("3.2.6", "3.2.7")
@pytest.mark.parametrize(("path", "method"), [("/health_check", "GET"), ("/x", "GET"), ("/scrape", "POST")])
def test_without_a_request_id_there_is_a_fresh_one(path: str, method: str, public: Any) -> None:
    ids = [public.request("http", path, method=method).headers["X-Request-Id"] for _ in range(3)]
    assert len(set(ids)) == 3
    for text in ids:
        assert str(UUID(text)) == text
        assert UUID(text).version == 4


@pytest.mark.clause("3.2.8")
@pytest.mark.parametrize("request_id", [b"\xff", b"a\tb", b""])
def test_a_request_id_that_is_no_plain_text_is_replaced(request_id: bytes, public: Any) -> None:
    request = b"GET /health_check HTTP/1.1\r\nX-Request-Id: %b\r\n\r\n" % request_id
    head = public.exchange("http", request).partition(b"\r\n\r\n")[0]
    (line,) = [line for line in head.split(b"\r\n") if line.startswith(b"x-request-id: ")]
    assert UUID(line.decode().removeprefix("x-request-id: ")).version == 4


@pytest.mark.clause("3.2.9", "3.2.10")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd, gzip;q=0.5", "x-gzip", "*"])
def test_bodies_are_not_compressed(coding: str, public: Any, info_hash: bytes) -> None:
    headers = {"Accept-Encoding": coding}
    for port in range(1, 9):
        announced = public.announce(info_hash, port=port, headers=headers)
    assert len(announced.decoded[b"peers"]) == 7
    assert list(public.scrape(info_hash, headers=headers).scraped) == [info_hash]
    assert "Content-Encoding" not in announced.headers
    assert "Vary" not in announced.headers


# --- connections


@pytest.mark.clause("3.2.11")
def test_a_connection_serves_many_requests(public: Any) -> None:
    with closing(http.client.HTTPConnection(*public.address("http"), timeout=10)) as connection:
        connection.connect()
        own = connection.sock.getsockname()
        for path, status in (("/health_check", 200), ("/x", 404), ("/announce", 200), ("/health_check", 200)):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            assert (response.version, response.status) == (11, status)
            assert connection.sock.getsockname() == own


@pytest.mark.clause("3.2.11")
def test_pipelined_requests_are_answered_in_order(public: Any) -> None:
    sent = b"".join(b"GET /x HTTP/1.1\r\nX-Request-Id: %d\r\n\r\n" % number for number in range(50))
    received = public.exchange("http", sent).split(b"\r\n")
    told = [line for line in received if line.startswith(b"x-request-id: ")]
    assert told == [b"x-request-id: %d" % number for number in range(50)]


@pytest.mark.clause("3.2.12")
def test_http_1_0_is_answered_and_closed(public: Any) -> None:
    received = public.exchange(
        "http", b"GET /health_check HTTP/1.0\r\n\r\nGET /health_check HTTP/1.0\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in received
    assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.clause("3.2.12")
@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health_check HTTP/2.0\r\n\r\n",
        b"GET /health_check HTTP/2\r\n\r\n",
        b"GET /health_check HTTP/3.0\r\n\r\n",
        b"GET /health_check HTTP/0.9\r\n\r\n",
        b"GET /health_check\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
)
def test_other_versions_of_http_are_refused(request_: bytes, public: Any) -> None:
    received = public.exchange("http", request_)
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n")
    assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_body_that_is_declared_too_large_is_refused_before_it_comes(expect: bytes, public: Any) -> None:
    head = b"POST /announce HTTP/1.1\r\n%bContent-Length: 65537\r\n\r\n" % expect
    with socket.create_connection(public.address("http"), 5) as client:
        client.sendall(head)
        received = b""
        while data := client.recv(4096):
            received += data
    assert received.startswith(b"HTTP/1.1 413 Content Too Large\r\n")
