"""Whatever bytes come over TCP are answered in good HTTP, and harm nothing."""

import contextlib
import gzip
import select
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.doors import (
    TCP_DOORS,
    TOKEN,
    Response,
    announce_target,
    check_tracker_response,
    check_web_response,
    read_responses,
    rest,
    talk,
    talk_and_leave,
    unharmed,
)

pytestmark = pytest.mark.slow

Start = Callable[..., Any]

HEALTH = {"http": "/health_check", "api": "/api/health_check", "health": "/health_check"}
JSON = b"Content-Type: application/json"


def check_response(service: str, response: Response) -> None:
    if service == "http":
        check_tracker_response(response)
    else:
        check_web_response(response)


def message(
    target: str | bytes,
    *fields: bytes,
    method: bytes = b"GET",
    version: bytes = b"HTTP/1.1",
    body: bytes = b"",
) -> bytes:
    """A request after which the connection closes."""
    raw = target if isinstance(target, bytes) else target.encode()
    lines = [method + b" " + raw + b" " + version, b"Host: tracker.example", *fields, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def statuses(daemon: Any, service: str, sent: bytes) -> list[int]:
    """Of all responses, each of which is as it may be at this door."""
    responses = read_responses(talk(daemon, service, sent))
    for response in responses:
        check_response(service, response)
    return [response.status for response in responses]


# --- whatever comes

INFO_HASH = b"\x07" * 20
API_PATHS = ["stats", "torrents?limit=3", "keys/reload", f"torrent/{INFO_HASH.hex()}"]
REQUESTS = {
    "http": [
        message(announce_target(INFO_HASH, 6881)),
        message(f"/scrape?info_hash={quote_from_bytes(INFO_HASH)}"),
        message("/health_check", b"Accept-Encoding: gzip", b"X-Request-Id: x"),
        message("/announce", b"Content-Length: 3", method=b"POST", body=b"abc"),
        message(
            "/scrape", b"Transfer-Encoding: chunked", method=b"PUT", body=b"3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n"
        ),
    ],
    "api": [
        *[message(f"/api/v1/{path}{'&' if '?' in path else '?'}{TOKEN}") for path in API_PATHS],
        message("/api/v1/stats", b"Authorization: Bearer MyAccessToken"),
        message(f"/api/v1/whitelist/{INFO_HASH.hex()}?{TOKEN}", method=b"POST"),
        message(
            f"/api/v1/keys?{TOKEN}",
            JSON,
            b"Content-Length: 32",
            method=b"POST",
            body=b'{"key":null,"seconds_valid":500}',
        ),
    ],
    "health": [message("/health_check"), message("/"), message("/x", b"Content-Length: 1", body=b"a")],
}
BITS = [
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b":",
    b"%",
    b"\xff",
    b"HTTP/1.1",
    b"chunked",
    b"Content-Length: 9\r\n",
    b"?",
]
EDITS = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 3), st.binary(max_size=4) | st.sampled_from(BITS)),
    max_size=4,
)


def edited(sent: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Bytes replaced by others, fewer or more, each where it falls in what is sent."""
    for at, size, replacement in edits:
        at %= len(sent)
        sent = sent[:at] + replacement + sent[at + size :]
    return sent


def check_talk(daemon: Any, service: str, sent: bytes) -> None:
    received = talk_and_leave(daemon, service, sent)
    for response in read_responses(received):
        check_response(service, response)


@pytest.mark.parametrize("service", TCP_DOORS)
def test_any_bytes_are_answered_in_good_http_or_not_at_all(public: Any, service: str) -> None:
    @settings(max_examples=30)
    @given(st.lists(st.binary(max_size=100) | st.sampled_from(BITS + REQUESTS[service]), max_size=6))
    def send(pieces: list[bytes]) -> None:
        check_talk(public, service, b"".join(pieces))

    with unharmed(public):
        send()


@pytest.mark.parametrize("service", TCP_DOORS)
def test_a_good_request_with_wrong_bytes_is_answered_in_good_http(public: Any, service: str) -> None:
    @settings(max_examples=80)
    @given(st.sampled_from(REQUESTS[service]), EDITS, st.integers(0, 2000))
    def send(whole: bytes, edits: list[tuple[int, int, bytes]], size: int) -> None:
        check_talk(public, service, edited(whole, edits)[:size])

    with unharmed(public):
        send()


# --- routes of the tracker

VALUES = (
    st.sampled_from(
        ["", "0", "1", "-1", "65536", "18446744073709551616", "9" * 400, "+5", "1_0", "started", "x"]
    )
    | st.binary(max_size=24).map(quote_from_bytes)
    | st.just(quote_from_bytes(INFO_HASH))
    | st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#&="), max_size=12)
)
NAMES = st.sampled_from(
    [
        "info_hash",
        "peer_id",
        "port",
        "downloaded",
        "uploaded",
        "left",
        "event",
        "compact",
        "numwant",
        "key",
        "ip",
    ]
)
GOOD = f"info_hash={quote_from_bytes(INFO_HASH)}&peer_id=-qB00000000000000001"
PAIRS = st.lists(st.tuples(NAMES, VALUES).map("=".join), max_size=4).map("&".join)
RUBBISH = st.lists(st.tuples(NAMES, VALUES).map("=".join) | VALUES, max_size=5).map("&".join)
QUERIES = (
    PAIRS.map(lambda pairs: f"{GOOD}&port=6881&{pairs}")
    | PAIRS.map(lambda pairs: f"{GOOD}&{pairs}&port=6881")
    | PAIRS.map(lambda pairs: f"{pairs}&{GOOD}")
    | RUBBISH
)
PATHS = (
    st.sampled_from(["/announce", "/scrape"])
    | st.sampled_from(["/announce/", "/scrape/", "/", "/health_check", f"/announce/{'a' * 32}"])
    | st.tuples(
        st.sampled_from(["/announce/", "/scrape/", "/"]), VALUES | st.text("abcXYZ019%/", max_size=40)
    ).map("".join)
)
METHODS = st.just(b"GET") | st.sampled_from([b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])
FORWARDED = st.sampled_from([b"", b"203.0.113.7", b"2001:db8::1", b"x", b",,", b"::1%lo", b"1.2.3.4, , y"])


@pytest.mark.parametrize("mode", ["public", "listed", "private", "proxied"])
def test_any_target_of_the_tracker_is_answered(mode: str, request: pytest.FixtureRequest) -> None:
    daemon = request.getfixturevalue(mode)

    @settings(max_examples=80)
    @given(METHODS, PATHS, st.none() | QUERIES, FORWARDED, st.none() | st.binary(max_size=40))
    def send(method: bytes, path: str, query: str | None, forwarded: bytes, body: bytes | None) -> None:
        target = path if query is None else f"{path}?{query}"
        length = [] if body is None else [b"Content-Length: %d" % len(body)]
        sent = message(target, b"X-Forwarded-For: " + forwarded, *length, method=method, body=body or b"")
        responses = read_responses(talk(daemon, "http", sent), heads=method == b"HEAD")
        assert len(responses) == 1
        if method != b"HEAD":
            check_tracker_response(responses[0])

    with unharmed(daemon):
        send()


# --- fields

FIELD_NAMES = st.sampled_from(
    ["Accept-Encoding", "Accept", "X-Request-Id", "Cookie", "Authorization", "Range", "Upgrade", "TE"]
) | st.sampled_from(["Content-Encoding", "X-Forwarded-For", "Forwarded", "Host", "Date", "If-None-Match"])
FIELDS = st.lists(
    st.tuples(
        FIELD_NAMES,
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=30)
        | st.sampled_from(["gzip", "deflate;q=0.5, gzip;q=0", "*", "gzip;q=x", "bytes=0-5", "a" * 1000]),
    ).map(lambda field: f"{field[0]}: {field[1]}".encode("latin-1")),
    max_size=6,
)
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


@pytest.mark.parametrize("service", TCP_DOORS)
def test_any_fields_are_borne(public: Any, service: str) -> None:
    target = {"http": announce_target(INFO_HASH, 6881), "api": f"/api/v1/stats?{TOKEN}", "health": "/"}[
        service
    ]

    @settings(max_examples=80)
    @given(FIELDS)
    def send(fields: list[bytes]) -> None:
        (response,) = read_responses(talk(public, service, message(target, *fields)))
        coding = response.fields.get("content-encoding", "")
        check_response(service, response._replace(body=CODINGS[coding](response.body)))
        assert response.status in (200, 400)

    with unharmed(public):
        send()


# --- named cases


class Case(NamedTuple):
    """What is sent, and the statuses that come back from the tracker, the API and the health check API."""

    sent: bytes
    tracker: list[int]
    api: list[int]
    health: list[int]


def api(path: str, *fields: bytes, method: bytes = b"POST", body: bytes = b"", length: bool = True) -> bytes:
    """A call with the token; the tracker and the health check API do not know its path."""
    size = [b"Content-Length: %d" % len(body)] if body and length else []
    return message(f"/api/v1/{path}?{TOKEN}", *fields, *size, method=method, body=body)


CHUNKED = b"Transfer-Encoding: chunked"
LARGE = b"x" * 65_537
HTTP_09 = b"GET /health_check\r\n\r\n"
STATS = f"/api/v1/stats?{TOKEN}"

CASES = {
    # no HTTP
    "TLS hello": Case(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(300), [400], [400], [400]),
    "HTTP/2 preface": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400], [400], [400]),
    "BitTorrent": Case(b"\x13BitTorrent protocol" + bytes(48), [400], [400], [400]),
    "unknown version": Case(message(STATS, version=b"HTTP/3.7"), [400], [400], [400]),
    "unknown method": Case(message(STATS, method=b"BREW"), [400], [400], [400]),
    "method in lower case": Case(message(STATS, method=b"get"), [400], [400], [400]),
    # targets
    "NUL in the path": Case(message(b"/announce\0?x"), [400], [400], [400]),
    "bytes above 127 in the path": Case(message(b"/announce/\xff"), [400], [400], [400]),
    "UTF-8 in the query": Case(message(b"/announce?\xc3\xa9=1"), [400], [400], [400]),
    "a space in the path": Case(message("/announce /x"), [400], [400], [400]),
    "escaped NUL": Case(message(f"/announce/%00?{TOKEN}"), [200], [404], [404]),
    "escaped bytes that are no UTF-8": Case(message(f"/announce/%ff%fe?{TOKEN}"), [200], [404], [404]),
    "broken escapes": Case(message(f"/announce?info_hash=%zz%&peer_id=%4&{TOKEN}"), [200], [404], [404]),
    "broken escapes in a value": Case(api("torrent/%zz%", method=b"GET"), [404], [400], [404]),
    "a value that is no UTF-8": Case(api("torrent/%ff", method=b"GET"), [404], [400], [404]),
    "dots": Case(message(f"/api/v1/../v1/stats?{TOKEN}"), [404], [404], [404]),
    "one dot": Case(message(f"/./announce?{TOKEN}"), [404], [404], [404]),
    "escaped dots": Case(message(f"/%2e%2e/announce?{TOKEN}"), [404], [404], [404]),
    "two slashes": Case(message(f"//announce?{TOKEN}"), [404], [404], [404]),
    "two slashes before the API": Case(message(f"//api/v1/stats?{TOKEN}"), [404], [404], [404]),
    "an escaped slash": Case(message(f"/api%2Fv1/stats?{TOKEN}"), [404], [404], [404]),
    "absolute form": Case(message(f"http://tracker.example/health_check?{TOKEN}"), [200], [404], [200]),
    "absolute form with a bad port": Case(message(f"http://x:99999999/y?{TOKEN}"), [404], [400], [400]),
    "absolute form with a bad host": Case(message(f"http://[::1/y?{TOKEN}"), [404], [400], [400]),
    "authority form": Case(message("tracker.example:80", method=b"CONNECT"), [404], [500], [404]),
    "authority form of GET": Case(message("tracker.example:80"), [400], [400], [400]),
    "asterisk form": Case(message("*", method=b"OPTIONS"), [404], [500], [404]),
    "asterisk form of GET": Case(message("*"), [404], [400], [400]),
    "a fragment": Case(message(f"/health_check?{TOKEN}#x"), [200], [404], [200]),
    # heads
    "no Host": Case(f"GET {STATS} HTTP/1.1\r\nConnection: close\r\n\r\n".encode(), [404], [400], [400]),
    "a field without a colon": Case(message(STATS, b"no colon"), [400], [400], [400]),
    "a field without a name": Case(message(STATS, b": x"), [400], [400], [400]),
    "a space before the colon": Case(message(STATS, b"X : y"), [400], [400], [400]),
    "a folded field": Case(message(STATS, b"X: y", b" z"), [400], [400], [400]),
    "NUL in a field": Case(message(STATS, b"X: \0"), [400], [400], [400]),
    "a carriage return in a field": Case(message(STATS, b"X: a\rb"), [400], [400], [400]),
    "bytes above 127 in a field": Case(message(STATS, b"X: \xff\xfe"), [404], [200], [404]),
    "bad cookies": Case(message(STATS, b"Cookie: \xff=;;="), [404], [200], [404]),
    "a request line over 8 KiB": Case(message("/" + "a" * 9000), [431], [431], [431]),
    "a query over 8 KiB": Case(message("/announce?" + "a" * 9000), [431], [431], [431]),
    "a field over 8 KiB": Case(message(STATS, b"X: " + b"a" * 9000), [431], [431], [431]),
    "fields over 8 KiB together": Case(message(STATS, *[b"X: " + b"a" * 90] * 90), [431], [200], [404]),
    "5,000 fields": Case(message(STATS, *[b"X: a"] * 5000), [431], [400], [400]),
    # bodies
    "a body of GET": Case(api("stats", method=b"GET", body=b"hello"), [404], [200], [404]),
    "a good body in chunks": Case(
        api("keys", JSON, CHUNKED, body=b"2;x=y\r\n{}\r\n0\r\nX: y\r\n\r\n", length=False),
        [404], [422], [404],
    ),
    "no size of a chunk": Case(api("keys", JSON, CHUNKED, body=b"zz\r\n", length=False), [400], [400], [400]),
    "a chunk beyond all bounds": Case(
        api("keys", JSON, CHUNKED, body=b"fffffffffffffffff\r\n{}", length=False), [400], [400], [400]
    ),
    "a chunk longer than it says": Case(
        api("keys", JSON, CHUNKED, body=b"1\r\n{}\r\n0\r\n\r\n", length=False), [400], [400], [400]
    ),
    "an unknown transfer coding": Case(api("keys", JSON, b"Transfer-Encoding: gzip"), [400], [400], [400]),
    "two lengths": Case(
        api("keys", JSON, b"Content-Length: 1", b"Content-Length: 2", length=False), [400], [400], [400]
    ),
    "the same length twice": Case(
        api("keys", JSON, b"Content-Length: 2", b"Content-Length: 2", body=b"{}", length=False),
        [400], [400], [400],
    ),
    "a length below 0": Case(api("keys", JSON, b"Content-Length: -1"), [400], [400], [400]),
    "a length beyond 64 bits": Case(api("keys", JSON, b"Content-Length: " + b"9" * 30), [400], [400], [400]),
    "a length and chunks": Case(
        api("keys", JSON, b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n", length=False), [400], [400], [400]
    ),
    "a body over 64 KiB": Case(api("keys", JSON, body=LARGE), [413], [413], [413]),
    "chunks over 64 KiB": Case(
        api("keys", JSON, CHUNKED, body=b"10001\r\n" + LARGE + b"\r\n0\r\n\r\n", length=False),
        [413], [413], [404],
    ),
    "a coded body": Case(api("keys", JSON, b"Content-Encoding: gzip", body=b"hello"), [404], [400], [404]),
    "who expects to be told to continue": Case(
        api("keys", JSON, b"Expect: 100-continue", body=b"{}"), [404], [422], [404]
    ),
    "an unknown expectation": Case(api("keys", JSON, b"Expect: x", body=b"{}"), [404], [417], [417]),
    # one after the other
    "garbage after a request": Case(
        message(STATS).replace(b"Connection: close\r\n", b"") + b"garbage\r\n\r\n", [404, 400], [400], [400]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_bad_request_is_answered_as_it_deserves(public: Any, case: Case) -> None:
    with unharmed(public):
        answered = {service: statuses(public, service, case.sent) for service in TCP_DOORS}
    assert answered == {"http": case.tracker, "api": case.api, "health": case.health}


def test_who_sends_a_head_without_end_is_told_and_then_not_read(public: Any) -> None:
    with unharmed(public):
        sent = message("/announce", *[b"X: " + b"a" * 4000] * 500)
        assert statuses(public, "http", sent) == [431]


@pytest.mark.parametrize("service", TCP_DOORS)
def test_good_requests_before_garbage_are_answered(public: Any, service: str) -> None:
    good = message(HEALTH[service]).replace(b"Connection: close\r\n", b"")
    with unharmed(public), socket.create_connection(public.address(service), 10) as client:
        client.sendall(good)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(b"\0\r\n\r\n" + good)
        (refusal,) = read_responses(_rest(client))
        assert refusal.status == 400


def _rest(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(65_536):
        received += data
    return received


def test_pipelined_requests_before_garbage_are_answered_by_the_tracker(public: Any) -> None:
    good = message("/health_check").replace(b"Connection: close\r\n", b"")
    with unharmed(public):
        assert statuses(public, "http", 50 * good + b"garbage\r\n" + good) == [200] * 50 + [400]


OTHER_VERSIONS = {"0.9": HTTP_09, "2.0": message("/health_check", version=b"HTTP/2.0")}


@pytest.mark.parametrize("sent", OTHER_VERSIONS.values(), ids=OTHER_VERSIONS.keys())
def test_other_versions_of_http_are_refused_by_the_tracker(public: Any, sent: bytes) -> None:
    with unharmed(public):
        assert statuses(public, "http", sent) == [400]


@pytest.mark.parametrize("service", ["api", "health"])
@pytest.mark.parametrize("sent", OTHER_VERSIONS.values(), ids=OTHER_VERSIONS.keys())
def test_other_versions_of_http_are_refused(public: Any, service: str, sent: bytes) -> None:
    assert read_responses(talk(public, service, sent))[0].status == 400


@pytest.mark.parametrize(
    ("service", "sent"),
    [
        ("http", message("/health_check")),
        ("api", api(f"whitelist/{INFO_HASH.hex()}")),
        ("health", message("/health_check")),
    ],
    ids=TCP_DOORS,
)
def test_who_half_closes_after_a_request_is_answered(public: Any, service: str, sent: bytes) -> None:
    (response,) = read_responses(public.exchange(service, sent))
    assert response.status == 200


LEFT = message(f"/api/v1/keys?{TOKEN}", JSON, b"Content-Length: 9", method=b"POST")


@pytest.mark.parametrize("sent", [LEFT, LEFT + b"{}", LEFT.replace(b"keys", b"nothing")])
@pytest.mark.parametrize("patience", [0.0, 0.3], ids=["at_once", "later"])
def test_who_half_closes_within_a_body_is_not_waited_for(public: Any, sent: bytes, patience: float) -> None:
    with unharmed(public), socket.create_connection(public.address("api"), 4) as client:
        client.sendall(sent)
        time.sleep(patience)
        client.shutdown(socket.SHUT_WR)
        (response,) = read_responses(rest(client))
        assert response.status == (404 if b"nothing" in sent else 400)


@pytest.mark.parametrize("service", TCP_DOORS)
def test_who_leaves_within_a_request_disturbs_nobody(public: Any, service: str) -> None:
    with unharmed(public):
        for _ in range(20):
            leave(public, service, LEFT, politely=True)
            leave(public, service, LEFT + b"{}", politely=False)


@pytest.mark.parametrize("service", TCP_DOORS)
def test_who_leaves_before_being_told_to_continue_leaves_nothing_in_the_log(
    start: Start, service: str
) -> None:
    daemon = start()
    sent = LEFT.replace(b"Connection: close", b"Expect: 100-continue")
    with unharmed(daemon):
        for _ in range(20):
            leave(daemon, service, sent, politely=True)
            leave(daemon, service, sent, politely=False)


def leave(daemon: Any, service: str, sent: bytes, *, politely: bool) -> None:
    """Send and close at once, impolitely with a reset."""
    with socket.create_connection(daemon.address(service), 10) as client:
        if not politely:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(sent)


# --- time


def test_who_does_not_finish_a_request_is_cut_off(public: Any) -> None:
    """All wait at the same time, since each takes as long as is allowed."""
    half = b"GET /announce HTTP/1.1\r\nHost: x\r\n"
    cases = {
        "silent": ("http", b"", 10.0, []),
        "half a head": ("http", half, 10.0, [408]),
        "half a body": ("http", half + b"Content-Length: 9\r\n\r\nabc", 10.0, [408]),
        "half a body of a call": ("api", api("keys", JSON, b"Content-Length: 9"), 5.0, [408]),
    }
    with unharmed(public), contextlib.ExitStack() as stack:
        clients = {}
        begun = time.monotonic()
        for name, (service, sent, _, _) in cases.items():
            clients[name] = stack.enter_context(socket.create_connection(public.address(service), 15))
            clients[name].sendall(sent)
        slow = stack.enter_context(socket.create_connection(public.address("http"), 15))
        waits = sorted(cases.items(), key=lambda case: case[1][2])
        drip = iter(half)
        for name, (_, _, limit, expected) in waits:
            while not _is_readable(clients[name], 0.3):
                with contextlib.suppress(StopIteration, ConnectionError):
                    slow.sendall(bytes([next(drip)]))
                assert time.monotonic() - begun < limit + 10
            assert limit - 0.1 < time.monotonic() - begun < limit + 4
            received = clients[name].recv(4096)  # not to the end: the API goes on reading for a while
            assert [response.status for response in read_responses(received)] == expected, name
        assert [response.status for response in read_responses(_rest(slow))] == [408]


def _is_readable(client: socket.socket, timeout: float) -> bool:
    return bool(select.select([client], [], [], timeout)[0])


# --- TLS


NO_TLS = {
    "plain HTTP": message("/health_check"),
    "garbage": bytes(range(256)) * 40,
    "a hello that is cut off": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(30),
    "a hello of nonsense": b"\x16\x03\x01\0\x10" + bytes(16) + b"\xff" * 500,
    "an alert": b"\x15\x03\x03\0\x02\x02\x28",
    "nothing": b"",
}


@pytest.mark.parametrize("service", ["http", "api"])
def test_what_is_no_tls_is_not_served_at_a_tls_port(
    start: Start,
    configure: Callable[..., str],
    certificate: tuple[Path, Path],
    client_tls: ssl.SSLContext,
    service: str,
) -> None:
    table = {"http": "[[http_trackers]]", "api": "[http_api]"}[service]
    tls = f'tsl_config = {{ ssl_cert_path = "{certificate[0]}", ssl_key_path = "{certificate[1]}" }}'
    daemon = start(configure().replace(table, f"{table}\n{tls}"))
    for sent in NO_TLS.values():
        for _ in range(3):
            assert b"HTTP/1" not in talk_and_leave(daemon, service, sent)
            leave(daemon, service, sent, politely=False)
    host, port = daemon.address(service)
    with (
        socket.create_connection((host, port), 10) as plain,
        client_tls.wrap_socket(plain, server_hostname=host) as client,
    ):
        client.sendall(message(HEALTH[service]))
        (response,) = read_responses(_rest(client))
        assert response.status == 200
    assert daemon.process.poll() is None
    assert [line for line in daemon.lines if "Traceback" in line or " ERROR " in line] == []
