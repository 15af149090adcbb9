"""How the REST API speaks HTTP, whatever is asked."""

import gzip
import http.client
import json
import re
import socket
import zlib
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.slow

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"

every_kind_of_answer = pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/stats"),
        ("GET", f"/torrent/{HASH}"),
        ("GET", "/unknown"),
        ("POST", "/stats"),
        ("GET", "/torrent/bad"),
        ("POST", "/keys"),
        ("GET", "/stats?token=twice"),
    ],
)


class RawAnswer(NamedTuple):
    """What came back for bytes that need not be HTTP."""

    status_line: str
    headers: Any
    body: bytes


def exchange(daemon: Any, sent: bytes) -> RawAnswer:
    """Send bytes, and read until the API closes the connection."""
    with socket.create_connection(daemon.address("api"), timeout=10) as client:
        client.sendall(sent)
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, _, headers = head.partition(b"\r\n")
    return RawAnswer(status_line.decode(), BytesParser().parsebytes(headers + b"\r\n\r\n"), body)


# --- paths and methods


@pytest.mark.clause("7.3.14")
@pytest.mark.parametrize(
    "path",
    [
        "/unknown", "/", "", "/stats/", "/Stats", "/torrent", "/torrent/", "/whitelist/", "/key/", "/keys/",
        "/keys/other", f"/torrent/{HASH}/", "/x/../stats", "/%73tats",
    ],
)  # fmt: skip
def test_other_paths_are_404_without_a_body(public: Any, path: str) -> None:
    assert public.call("GET", path).row == (404, None, "")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        pytest.param("POST", "/stats", "GET,HEAD", marks=pytest.mark.clause("7.3.13")),
        pytest.param("OPTIONS", "/torrents", "GET,HEAD", marks=pytest.mark.clause("7.3.13", "7.1.6")),
        pytest.param("DELETE", f"/torrent/{HASH}", "GET,HEAD", marks=pytest.mark.clause("7.3.13")),
        pytest.param("PUT", "/key/60", "POST,DELETE", marks=pytest.mark.clause("7.3.13")),
        pytest.param("DELETE", "/whitelist/reload", "GET,HEAD", marks=pytest.mark.clause("7.3.12")),
        pytest.param("POST", "/whitelist/reload", "GET,HEAD", marks=pytest.mark.clause("7.3.12")),
        pytest.param("DELETE", "/keys", "GET,HEAD,POST", marks=pytest.mark.clause("7.3.13")),
        pytest.param("POST", "/whitelist", "GET,HEAD", marks=pytest.mark.clause("7.3.15")),
        pytest.param("GET", f"/key/{'a' * 32}", "POST,DELETE", marks=pytest.mark.clause("7.3.15")),
        pytest.param("GET", f"/whitelist/{HASH}", "POST,DELETE", marks=pytest.mark.clause("7.3.15")),
    ],
)
def test_other_methods_are_405_and_told_which_there_are(
    public: Any, method: str, path: str, allow: str
) -> None:
    answer = public.call(method, path)
    assert answer.row == (405, None, "")
    assert answer.headers["Allow"] == allow
    assert answer.headers["Content-Length"] == "0"


@pytest.mark.clause("7.1.10")
@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
@every_kind_of_answer
def test_head_names_what_get_sends(public: Any, method: str, path: str, coding: str) -> None:
    headers = {"Accept-Encoding": coding}
    get = public.call("GET", path, headers=headers)
    head = public.call("HEAD", path, headers=headers)
    assert (head.status, head.body) == (get.status, b"")
    for name in ("Content-Type", "Content-Length", "Content-Encoding", "Vary", "Allow"):
        assert (name, head.headers[name]) == (name, get.headers[name])


# --- headers


@pytest.mark.clause("7.1.1", "7.1.6", "7.1.12")
@every_kind_of_answer
def test_every_answer_has_a_request_id_of_its_own(public: Any, method: str, path: str) -> None:
    first, second = public.call(method, path).headers, public.call(method, path).headers
    assert UUID.fullmatch(first["x-request-id"])
    assert first["x-request-id"] != second["x-request-id"]
    assert not {"server", "access-control-allow-origin"} & {name.lower() for name in first}


@pytest.mark.clause("7.1.1")
@every_kind_of_answer
def test_a_request_id_comes_back(public: Any, method: str, path: str) -> None:
    answer = public.call(method, path, headers={"X-Request-ID": "mine 1;2"})
    assert answer.headers["x-request-id"] == "mine 1;2"


@pytest.mark.clause("7.1.6")
def test_no_other_site_is_allowed_in(public: Any) -> None:
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        answer = public.call(method, "/stats", headers=headers)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def decompressed(answer: Any) -> bytes:
    coding = answer.headers["Content-Encoding"]
    if coding == "gzip":
        return gzip.decompress(answer.body)
    return answer.body if coding is None else zlib.decompress(answer.body)


@pytest.mark.clause("7.1.2", "7.1.3")
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate;q=0.6", "deflate"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br;q=1, zstd;q=0.9, gzip;q=0.1", "gzip"),
        ("br", None),
        ("*", None),
        ("gzip;q=0", None),
        ("identity", None),
    ],
)
def test_bodies_are_compressed_as_the_client_prefers(public: Any, accepted: str, coding: str | None) -> None:
    answer = public.call("GET", "/stats", headers={"Accept-Encoding": accepted})
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == (coding, "accept-encoding")
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert len(json.loads(decompressed(answer))) == 16


@pytest.mark.clause("7.1.3")
@pytest.mark.parametrize(
    ("method", "path", "length", "coding", "vary"),
    [
        ("GET", f"/torrent/{HASH}", 19, None, None),
        ("DELETE", "/key/123", 31, None, None),
        ("DELETE", "/key/1234", 32, "gzip", "accept-encoding"),
    ],
)
def test_bodies_under_32_bytes_are_not_compressed(
    public: Any, method: str, path: str, length: int, coding: str | None, vary: str | None
) -> None:
    answer = public.call(method, path, headers={"Accept-Encoding": "gzip"})
    assert len(decompressed(answer)) == length
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == (coding, vary)


# --- bodies, connections


@pytest.mark.clause("7.1.5")
def test_64_kib_are_the_longest_body(public: Any) -> None:
    headers = {"Content-Type": "application/json"}
    body = '{"key":null,"seconds_valid":60}'.ljust(65_536)
    assert public.call("POST", "/keys", body=body, headers=headers).status == 200
    assert public.call("POST", "/keys", body=body + " ", headers=headers).status == 413


@pytest.mark.clause("7.1.4")
def test_a_body_that_does_not_come_is_408(public: Any) -> None:
    with socket.create_connection(public.address("api"), timeout=10) as client:
        client.sendall(
            b"POST /api/v1/keys?token=MyAccessToken HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 5\r\n\r\n{"
        )
        response = http.client.HTTPResponse(client)
        response.begin()
        assert (response.status, response.headers["Content-Type"], response.read()) == (408, None, b"")


@pytest.mark.clause("7.1.9")
def test_a_connection_serves_one_request_after_the_other(public: Any) -> None:
    connection = http.client.HTTPConnection(*public.address("api"), timeout=10)
    sockets = []
    for _ in range(2):
        connection.request("GET", "/api/health_check")
        assert connection.getresponse().read() == b'{"status":"Ok"}'
        sockets.append(connection.sock)
    connection.close()
    assert sockets[0] is not None
    assert sockets[0] is sockets[1]


@pytest.mark.clause("7.1.9")
def test_http_1_0_is_answered(public: Any) -> None:
    answer = exchange(public, b"GET /api/health_check HTTP/1.0\r\n\r\n")
    assert (answer.status_line, answer.body) == ("HTTP/1.0 200 OK", b'{"status":"Ok"}')


TOKEN = b"?token=MyAccessToken"


@pytest.mark.parametrize(
    ("sent", "status_line"),
    [
        pytest.param(request, status_line, id=name, marks=pytest.mark.clause("7.1.11", "7.1.12", "7.1.9"))
        for name, request, status_line in [
            ("method", b"FOO /api/v1/stats" + TOKEN + b" HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
            ("bytes", b"GET /api/\xff" + TOKEN + b" HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
            ("tls", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", "400 Bad Request"),
            ("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 Bad Request"),
            ("header", b"GET / HTTP/1.1\r\nHost x\r\n\r\n", "400 Bad Request"),
            (
                "target", b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                "431 Request Header Fields Too Large",
            ),
            (
                "field", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
                "431 Request Header Fields Too Large",
            ),
        ]
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused_without_words(public: Any, sent: bytes, status_line: str) -> None:
    lines = len(public.lines)
    answer = exchange(public, sent)
    assert (answer.status_line, answer.body) == (f"HTTP/1.1 {status_line}", b"")
    assert sorted(name.lower() for name in answer.headers) == [
        "connection", "content-length", "date", "x-request-id",
    ]  # fmt: skip
    assert (answer.headers["Connection"], answer.headers["Content-Length"]) == ("close", "0")
    assert UUID.fullmatch(answer.headers["x-request-id"])
    public.call("GET", "/stats")
    assert [line for line in public.lines[lines:] if "In the last minute: " not in line] == []


@pytest.mark.clause("12.3.6")
def test_a_missing_certificate_ends_the_start(
    launch: Callable[..., Any], configure: Any, tmp_path: Path
) -> None:
    services = f"""
        [http_api]
        bind_address = "127.0.0.1:0"
        access_tokens = {{ admin = "MyAccessToken" }}
        tsl_config = {{ ssl_cert_path = "{tmp_path}/bad.crt", ssl_key_path = "{tmp_path}/bad.key" }}
    """
    daemon = launch(configure(services=services))
    assert daemon.wait() == 1
    assert f"{tmp_path}/bad.crt" in daemon.errors()
