"""Whatever a call of the REST API holds, it is answered by the book, and harms nothing."""

import json
import socket
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.doors import (
    TCP_DOORS,
    TOKEN,
    Response,
    check_web_response,
    read_responses,
    talk,
    unharmed,
)

pytestmark = pytest.mark.slow

INFO_HASH = "08" * 20
KEY = "Xc1L4PbQJSFGlrgSRZl8wxSFAuMa21z5"
JSON = "application/json"


def call(
    daemon: Any, method: str, target: str, *, body: bytes | None = None, content_type: str | None = None,
    authorization: str | None = None, service: str = "api",
) -> Response:  # fmt: skip
    """The one answer to a call; the target goes out as it is."""
    fields = {
        "Host": "tracker.example",
        "Connection": "close",
        "Content-Type": content_type,
        "Authorization": authorization,
        "Content-Length": None if body is None else str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    sent = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b"")
    (response,) = read_responses(talk(daemon, service, sent), heads=method == "HEAD")
    return response


# --- whatever comes

RAW = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=20)
VALUES = (
    st.sampled_from(
        [INFO_HASH, INFO_HASH.upper(), KEY, "60", "0", "-1", "18446744073709551616", "reload", "%00", ".."]
    )
    | st.text(max_size=44).map(quote)
    | st.binary(max_size=40).map(quote_from_bytes)
    | RAW
)
ROUTES = st.sampled_from(
    ["stats", "torrents", "torrent/", "whitelist/", "whitelist/reload", "keys", "keys/reload", "key/"]
)
PATHS = st.tuples(ROUTES, VALUES).map(lambda parts: parts[0] + parts[1] * parts[0].endswith("/")) | RAW
NAMES = st.sampled_from(["offset", "limit", "info_hash", "token", "x"])
QUERIES = st.lists(st.tuples(NAMES, VALUES | st.just("")).map("=".join) | RAW, max_size=5).map("&".join)
METHODS = st.sampled_from(["GET", "GET", "POST", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS"])
TYPES = st.none() | st.sampled_from(
    [JSON, "application/json; charset=utf-8", "application/x+json", "text/plain", "", ";", "application/"]
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.none()
        | st.text(max_size=40)
        | st.integers()
        | st.just(KEY)
        | st.text("abc09", min_size=32, max_size=32),
        "seconds_valid": st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.booleans(),
        "x": st.recursive(st.none() | st.text(max_size=5), st.lists, max_leaves=4),
    },
)
BODIES = (
    st.none()
    | st.binary(max_size=80)
    | MEMBERS.map(lambda members: json.dumps(members).encode())
    | st.tuples(MEMBERS, st.integers(0, 90), st.binary(max_size=2)).map(
        lambda parts: json.dumps(parts[0]).encode()[: parts[1]] + parts[2]
    )
)


@pytest.mark.parametrize("mode", ["public", "private"])
def test_any_call_is_answered(mode: str, request: pytest.FixtureRequest) -> None:
    daemon = request.getfixturevalue(mode)

    @settings(max_examples=80)
    @given(METHODS, PATHS, QUERIES, BODIES, TYPES)
    def send(method: str, path: str, query: str, body: bytes | None, content_type: str | None) -> None:
        target = f"/api/v1/{path}?{TOKEN}&{query}"
        response = call(daemon, method, target, body=body, content_type=content_type)
        if method != "HEAD":
            check_web_response(response)

    with unharmed(daemon):
        send()


def test_any_body_of_a_new_key_is_answered(public: Any) -> None:
    @settings(max_examples=80)
    @given(BODIES, TYPES | st.just(JSON))
    def send(body: bytes | None, content_type: str | None) -> None:
        response = call(public, "POST", f"/api/v1/keys?{TOKEN}", body=body, content_type=content_type)
        check_web_response(response)
        assert response.status in (200, 400, 415, 422, 500)

    with unharmed(public):
        send()


def test_nobody_gets_in_with_whatever_token(public: Any) -> None:
    @settings(max_examples=100)
    @given(METHODS, PATHS, QUERIES, st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126)))
    def send(method: str, path: str, query: str, authorization: str | None) -> None:
        response = call(public, method, f"/api/v1/{path}?{query}", authorization=authorization)
        if method != "HEAD":
            check_web_response(response)
        assert response.status in (400, 500)

    with unharmed(public):
        send()


@pytest.mark.parametrize("prefix", ["/health_check", "/", "/api/v1/stats"])
def test_any_call_of_the_health_check_api_is_answered(public: Any, prefix: str) -> None:
    @settings(max_examples=40)
    @given(METHODS, VALUES | st.just(""), QUERIES, st.none() | st.binary(max_size=50), TYPES)
    def send(method: str, path: str, query: str, body: bytes | None, content_type: str | None) -> None:
        target = f"{prefix}{path}?{query}"
        response = call(public, method, target, body=body, content_type=content_type, service="health")
        if method != "HEAD":
            check_web_response(response)
        assert response.status in (200, 404, 405)

    with unharmed(public):
        send()


# --- named bodies

NEW = b'{"key":null,"seconds_valid":%b}'

BODIES_BY_NAME: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "white space": (b" \r\n\t", 400),
    "a byte order mark": (b'\xef\xbb\xbf{"key":null,"seconds_valid":1}', 400),
    "UTF-16": ('{"key":null,"seconds_valid":1}'.encode("utf-16"), 400),
    "bytes that are no UTF-8": (b'{"key":"\xff","seconds_valid":1}', 400),
    "NUL bytes": (bytes(100), 400),
    "an array": (b"[]", 422),
    "a number": (b"1", 422),
    "a text": (b'"key"', 422),
    "NaN": (NEW % b"NaN", 400),
    "infinity": (NEW % b"-Infinity", 400),
    "a number beyond a float": (NEW % b"1e400", 400),
    "a huge number": (NEW % (b"9" * 60_000), 400),
    "a number beyond 64 bits": (NEW % b"18446744073709551616", 422),
    "a number beyond the calendar": (NEW % b"18446744073709551615", 400),
    "a number below 0": (NEW % b"-1", 422),
    "a number with a fraction": (NEW % b"1.0", 422),
    "a number in quotes": (NEW % b'"1"', 422),
    "a leading zero": (NEW % b"01", 400),
    "a leading plus": (NEW % b"+1", 400),
    "true": (NEW % b"true", 422),
    "a name twice": (b'{"key":null,"key":null,"seconds_valid":1}', 422),
    "a missing name": (b'{"key":null}', 422),
    "a lone surrogate": (b'{"key":"\\ud800","seconds_valid":1}', 400),
    "a surrogate in a name": (b'{"\\udfff":1,"key":null,"seconds_valid":1}', 400),
    "an escaped NUL": (b'{"key":"\\u0000","seconds_valid":1}', 400),
    "a raw line break": (b'{"key":"\n","seconds_valid":1}', 400),
    "a comment": (b'{"key":null,/**/"seconds_valid":1}', 400),
    "a trailing comma": (b'{"key":null,"seconds_valid":1,}', 400),
    "a key that is too long": (b'{"key":"%b","seconds_valid":1}' % (b"a" * 60_000), 400),
    "a key in other digits": (b'{"key":"%b","seconds_valid":1}' % ("\u0663" * 16).encode(), 400),
    "60,000 open brackets": (b"[" * 60_000, 400),
    "12,000 open braces": (b'{"a":' * 12_000, 400),
    "30,000 nested arrays as a value": (b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b',"key":null}', 400),
    "6,000 names": (
        b"{" + b"".join(b'"%d":0,' % number for number in range(6000)) + b'"key":null,"seconds_valid":1}', 200
    ),
    "100,000 open brackets": (b"[" * 100_000, 413),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status"), BODIES_BY_NAME.values(), ids=BODIES_BY_NAME.keys())
def test_a_bad_body_is_refused(public: Any, body: bytes, status: int) -> None:
    with unharmed(public):
        response = call(public, "POST", f"/api/v1/keys?{TOKEN}", body=body, content_type=JSON)
        check_web_response(response)
    assert response.status == status


@pytest.mark.parametrize("content_type", [None, "", "text/json", "application/jsonx", "multipart/form-data"])
def test_a_body_of_another_type_is_refused(public: Any, content_type: str | None) -> None:
    with unharmed(public):
        response = call(public, "POST", f"/api/v1/keys?{TOKEN}", body=NEW % b"1", content_type=content_type)
    assert response.status == 415


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "stats"),
        ("GET", "torrents"),
        ("GET", f"torrent/{INFO_HASH}"),
        ("GET", "whitelist/reload"),
        ("POST", f"whitelist/{INFO_HASH}"),
        ("DELETE", f"whitelist/{INFO_HASH}"),
        ("GET", "keys/reload"),
        ("POST", "key/5"),
    ],
)
def test_a_body_where_none_belongs_is_not_read(public: Any, method: str, path: str) -> None:
    with unharmed(public):
        response = call(public, method, f"/api/v1/{path}?{TOKEN}", body=b"{" * 60_000, content_type=JSON)
    assert response.status == 200


@pytest.mark.parametrize("service", TCP_DOORS)
def test_a_length_over_the_limit_is_refused_before_the_body_comes(public: Any, service: str) -> None:
    head = (
        f"POST /api/v1/keys?{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n"
        "Content-Length: 65537\r\n\r\n"
    )
    with unharmed(public), socket.create_connection(public.address(service), 4) as client:
        client.sendall(head.encode())
        (response,) = read_responses(client.recv(4096))
    assert response.status == 413
