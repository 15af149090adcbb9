import asyncio
import gzip
import logging
import re
import socket
import ssl
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
import uvloop
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from torrust_py import web as web_module
from torrust_py.web import (
    Call,
    CallError,
    application,
    negotiate_compression,
    parse_query,
    read_body,
    serve,
)

LOG = logging.getLogger("tests.web")
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


async def short(call: Call) -> web.StreamResponse:
    return web.Response(text="x" * 31)


async def long(call: Call) -> web.StreamResponse:
    return web.Response(text="x" * 32)


async def value(call: Call) -> web.StreamResponse:
    return web.Response(text=call.value)


async def body(call: Call) -> web.StreamResponse:
    return web.Response(text=str(len(await read_body(call.request))))


async def broken(call: Call) -> web.StreamResponse:
    raise ZeroDivisionError


async def broken_halfway(call: Call) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(call.request)
    await response.write(b"half")
    raise ZeroDivisionError


ROUTES = {
    "/short": {"GET": short, "POST": short},
    "/long": {"GET": long},
    "/value/fixed": {"POST": short},
    "/value/{name}": {"GET": value, "DELETE": value},
    "/body": {"POST": body},
    "/broken": {"GET": broken},
    "/half": {"GET": broken_halfway},
}


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def read_response(reader: asyncio.StreamReader) -> Response:
    """A response with a length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    return Response(int(status.split()[1]), headers, content)


@asynccontextmanager
async def served(
    app: web.Application | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    grace: float = 0.2,
    most_connections: int = 100,
) -> AsyncIterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    app = app or application(ROUTES, log=LOG)
    async with serve(app, listener, log=LOG, tls=tls, grace=grace, most_connections=most_connections):
        yield address


@asynccontextmanager
async def connection(
    address: tuple[str, int], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(request: bytes, app: web.Application | None = None) -> Response:
    async with served(app) as address, connection(address) as (reader, writer):
        writer.write(request)
        return await read_response(reader)


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


# --- serving


def run(loop: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main)


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_serves_many_requests_and_ends_with_the_context(
    loop, encrypted, server_tls, client_tls
) -> None:
    if not encrypted:
        server_tls = client_tls = None

    async def main() -> None:
        async with served(tls=server_tls) as address:
            reader, writer = await asyncio.open_connection(*address, ssl=client_tls)
            for _ in range(3):
                writer.write(get("/short"))
                assert (await read_response(reader)).body == b"x" * 31
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    run(loop, main())


class Gate:
    """An application whose one call waits until it is let go."""

    def __init__(self) -> None:
        self.reached, self.open, self.ended = asyncio.Event(), asyncio.Event(), False
        self.application = application({"/wait": {"GET": self._wait}}, log=LOG)

    async def _wait(self, call: Call) -> web.StreamResponse:
        self.reached.set()
        await self.open.wait()
        self.ended = True
        return web.Response(text="done")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_running_request_is_answered_before_the_end(loop) -> None:
    async def main() -> None:
        gate = Gate()
        async with served(gate.application, grace=10) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(get("/wait"))
            await gate.reached.wait()
            asyncio.get_running_loop().call_later(0.05, gate.open.set)
        assert (await read_response(reader)).body == b"done"
        writer.close()

    run(loop, main())


@pytest.mark.slow
@pytest.mark.parametrize("loop", LOOPS)
def test_a_request_that_hangs_is_given_up_after_the_grace_time(loop) -> None:
    async def main() -> None:
        gate = Gate()
        async with asyncio.timeout(2), served(gate.application, grace=0.4) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(get("/wait"))
            await gate.reached.wait()
            start = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - start < 1
        assert await reader.read() == b""
        assert not gate.ended
        writer.close()

    run(loop, main())


async def test_a_client_that_leaves_does_not_end_its_request() -> None:
    gate = Gate()
    async with served(gate.application) as address:
        async with connection(address) as (_, writer):
            writer.write(get("/wait"))
            await gate.reached.wait()
        gate.open.set()
    assert gate.ended


# --- the way to the handler


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/value/a%20b%C3%A9", 200, "a bé"),
        ("GET", "/value/a%2Fb", 200, "a/b"),
        ("GET", "/value/a+b", 200, "a+b"),
        ("GET", "/value/%zz%", 200, "%zz%"),
        ("GET", "/value/..", 200, ".."),
        ("GET", "/value/x?a=b", 200, "x"),
        ("GET", "http://other/value/x", 200, "x"),
        ("DELETE", "/value/x", 200, "x"),
        ("GET", "/value/%ff", 400, "Invalid URL: Invalid UTF-8 in `name`"),
        ("GET", "/value/", 404, ""),
        ("GET", "/value", 404, ""),
        ("GET", "/value/x/y", 404, ""),
        ("GET", "/%76alue/x", 404, ""),
        ("GET", "/value/%20", 404, ""),
        ("OPTIONS", "*", 404, ""),
        ("GET", "/value/fixed", 405, ""),
        ("DELETE", "/value/fixed", 405, ""),
        ("PUT", "/value/x", 405, ""),
        ("POST", "/value/%ff", 405, ""),
        ("CONNECT", "other:80", 404, ""),
    ],
)
async def test_a_path_is_compared_as_it_was_sent(method: str, path: str, status: int, text: str) -> None:
    response = await ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (response.status, response.body.decode()) == (status, text)


async def test_every_call_is_admitted_first() -> None:
    def refuse(call: Call) -> None:
        raise CallError(403, f"{call.path} {call.query}")

    app = application(ROUTES, log=LOG, admit=refuse)
    response = await ask(get("/unknown%20?a=b+c&d"), app)
    assert (response.status, response.body) == (403, b"/unknown%20 [('a', 'b c'), ('d', '')]")


async def test_head_is_get_without_the_body() -> None:
    async with served() as address, connection(address) as (reader, writer):
        writer.write(b"HEAD /short HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = await reader.read()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 31\r\n" in head.lower()
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.clause("7.1.10")
@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("path", ["/short", "/long", "/unknown", "/body", "/value/%ff"])
async def test_head_names_what_get_sends(path: str, coding: str) -> None:
    request = get(path, f"Accept-Encoding: {coding}", "Connection: close")
    headers = []
    for sent in (request, request.replace(b"GET", b"HEAD", 1)):
        async with served() as address, connection(address) as (reader, writer):
            writer.write(sent)
            head, _, _ = (await reader.read()).lower().partition(b"\r\n\r\n")
        headers.append({line for line in head.split(b"\r\n") if not line.startswith((b"date", b"x-request"))})
    assert headers[0] == headers[1]
    assert any(line.startswith(b"content-length: ") for line in headers[1])


async def test_head_of_a_stream_names_its_coding_and_sends_nothing() -> None:
    async def stream(call: Call) -> web.StreamResponse:
        response = web.StreamResponse()
        negotiate_compression(call.request, response)
        await response.prepare(call.request)
        return response

    app = application({"/": {"GET": stream}}, log=LOG)
    async with served(app) as address, connection(address) as (reader, writer):
        writer.write(b"HEAD / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
        head, _, sent = (await reader.read()).partition(b"\r\n\r\n")
    assert (b"content-encoding: gzip" in head.lower(), sent) == (True, b"")


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("&&a=1&", [("a", "1")]),
        ("a=1&a=2", [("a", "1"), ("a", "2")]),
        ("a", [("a", "")]),
        ("a=b=c", [("a", "b=c")]),
        ("a%3Db=%26", [("a=b", "&")]),
        ("a+b=+", [("a b", " ")]),
        ("a=%2B%zz%", [("a", "+%zz%")]),
        ("a=%ff\udcff", [("a", "\ufffd\ufffd")]),
    ],
)
def test_a_query_is_read_as_forms_encode_it(query: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_query(query) == pairs


@given(st.text(st.characters(codec="latin-1") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)))
def test_any_query_is_read(query: str) -> None:
    for name, text in parse_query(query):
        (name + text).encode()


# --- bodies


@pytest.mark.clause("7.1.5")
@pytest.mark.parametrize(
    ("head", "sent", "status"),
    [
        (b"Content-Length: 65536", b"x" * 65_536, 200),
        (b"Content-Length: 65537", b"x" * 65_537, 413),
        (b"Transfer-Encoding: chunked", b"10000\r\n" + b"x" * 65_536 + b"\r\n0\r\n\r\n", 200),
        (b"Transfer-Encoding: chunked", b"10001\r\n" + b"x" * 65_537 + b"\r\n0\r\n\r\n", 413),
        (b"Transfer-Encoding: chunked", b"?\r\n", 400),
    ],
)
async def test_a_body_of_64_kib_is_the_longest(head: bytes, sent: bytes, status: int) -> None:
    response = await ask(b"POST /body HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + sent)
    assert response.status == status


async def test_a_body_that_is_announced_too_long_is_not_waited_for() -> None:
    response = await ask(b"POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n")
    assert (response.status, response.body) == (
        413,
        b"Failed to buffer the request body: length limit exceeded",
    )


class Listener:
    """An application whose one call tells when it begins to read, and what became of it."""

    def __init__(self) -> None:
        self.reading, self.refused = asyncio.Event(), asyncio.Event()
        self.application = application({"/": {"POST": self._read}}, log=LOG)

    async def _read(self, call: Call) -> web.StreamResponse:
        self.reading.set()
        try:
            await read_body(call.request)
        except CallError:
            self.refused.set()
            raise
        return web.Response()


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.clause("7.1.4")
@pytest.mark.parametrize("rest", [b"", b"5\r\n", b"?\r\n"])
async def test_a_body_that_does_not_come_is_given_up(rest: bytes, monkeypatch) -> None:
    monkeypatch.setattr(web_module, "BODY_TIMEOUT", 0.02)
    listener = Listener()
    async with served(listener.application) as address, connection(address) as (reader, writer):
        writer.write(CHUNKED)
        await listener.reading.wait()
        writer.write(rest)
        response = await read_response(reader)
    assert (response.status, response.body, "content-type" in response.headers) == (408, b"", False)


async def test_a_client_that_leaves_before_its_body_is_no_fault(caplog) -> None:
    listener = Listener()
    async with served(listener.application) as address:
        async with connection(address) as (_, writer):
            writer.write(CHUNKED)
            await listener.reading.wait()
        await listener.refused.wait()
    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_a_compressed_body_is_read_as_it_is() -> None:
    sent = gzip.compress(b"x" * 1000)
    head = f"POST /body HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {len(sent)}\r\n\r\n"
    assert (await ask(head.encode() + sent)).body == str(len(sent)).encode()


# --- headers


@pytest.mark.clause("7.1.1", "7.1.12")
@pytest.mark.parametrize("path", ["/short", "/long", "/unknown", "/value/fixed", "/value/%ff", "/broken"])
async def test_every_response_has_a_request_id_and_no_server(path: str) -> None:
    first, second = await ask(get(path)), await ask(get(path))
    assert UUID.fullmatch(first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert "server" not in first.headers


@pytest.mark.parametrize("request_id", ["abc", "", str(uuid.UUID(int=1)), "a b;c"])
async def test_a_request_id_comes_back(request_id: str) -> None:
    response = await ask(get("/unknown", f"X-Request-ID: {request_id}"))
    assert response.headers["x-request-id"] == request_id


@pytest.mark.parametrize("request_id", ["é", "a\tb"])
async def test_a_request_id_that_is_not_printable_ascii_is_replaced(request_id: str) -> None:
    response = await ask(get("/short", f"X-Request-ID: {request_id}"))
    assert UUID.fullmatch(response.headers["x-request-id"])


@pytest.mark.clause("7.1.2", "7.1.3")
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("gzip;q=0.5, deflate;q=0.6", "deflate"),
        ("gzip ; q=0.5 , identity;q=0.9", None),
        ("gzip;q=0", None),
        ("gzip;q=2, deflate;q=x", None),
        ("br", None),
        ("*", None),
        ("", None),
        (",;,", None),
    ],
)
async def test_bodies_are_compressed_as_the_client_prefers(accepted: str, coding: str | None) -> None:
    response = await ask(get("/long", f"Accept-Encoding: {accepted}"))
    assert response.headers.get("content-encoding") == coding
    assert response.headers["vary"] == "accept-encoding"
    plain = response.body if coding is None else zlib.decompress(response.body, wbits=zlib.MAX_WBITS | 32)
    assert plain == b"x" * 32


async def test_a_body_under_32_bytes_is_not_compressed() -> None:
    response = await ask(get("/short", "Accept-Encoding: gzip"))
    assert "vary" not in response.headers
    assert response.body == b"x" * 31


# --- what goes wrong


async def test_a_fault_is_logged_once_and_answered_without_details(caplog) -> None:
    response = await ask(get("/broken?token=secret"))
    assert (response.status, response.body) == (
        500,
        b'Unhandled rejection: Err { reason: "internal server error" }',
    )
    ours = [record for record in caplog.records if record.name == LOG.name]
    assert [record.exc_info is not None for record in ours] == [True, False]
    assert "secret" not in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_a_fault_in_the_middle_of_a_body_breaks_the_connection(caplog) -> None:
    async with served() as address, connection(address) as (reader, writer):
        writer.write(get("/half"))
        received = await reader.read()
    assert received.endswith(b"4\r\nhalf\r\n")  # without the empty chunk that ends a body
    assert len([record for record in caplog.records if record.exc_info]) == 1


@pytest.mark.clause("7.1.11")
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /?token=secret\x01 HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\0\0\r\n\r\n", 400),
        (b"x\r\n\r\n", 400),
        (b"FOO /short HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (get("/" + "x" * 9000), 431),
        (get("/short", "x: " + "x" * 9000), 431),
    ],
)
async def test_what_is_no_http_is_refused_without_words_here_and_in_the_log(
    request_: bytes, status: int, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served() as address, connection(address) as (reader, writer):
        writer.write(request_)
        response = await read_response(reader)
        assert await reader.read() == b""
    assert (response.status, response.body) == (status, b"")
    assert response.headers.keys() == {"connection", "content-length", "date", "x-request-id"}
    assert UUID.fullmatch(response.headers["x-request-id"])
    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_what_is_no_http_behind_a_request_is_refused_after_its_answer() -> None:
    async with served() as address, connection(address) as (reader, writer):
        writer.write(get("/short"))
        assert (await read_response(reader)).status == 200
        writer.write(b"FOO /\r\n\r\n")
        assert (await read_response(reader)).status == 400
        assert await reader.read() == b""


@pytest.mark.clause("7.1.8")
async def test_an_idle_connection_is_closed_after_more_than_a_proxys_minute(monkeypatch) -> None:
    assert web_module._KEEPALIVE > 60
    monkeypatch.setattr(web_module, "_KEEPALIVE", 0.02)
    async with served() as address, connection(address) as (reader, writer):
        writer.write(get("/short"))
        assert (await read_response(reader)).status == 200
        assert await reader.read() == b""


KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"


@pytest.mark.parametrize(
    ("uri", "logged"),
    [
        ("/api/v1/stats?token=MyAccessToken", "/api/v1/stats?token=***"),
        (
            "/torrents?limit=1&info_hash=" + HASH + "&offset=2",
            "/torrents?limit=1&info_hash=" + HASH + "&offset=2",
        ),
        (f"/torrent/{HASH}", f"/torrent/{HASH}"),
        (f"/api/v1/key/{KEY}?x=1", "/api/v1/key/***?x=***"),
        (f"//api/v1/%6bey/{KEY}", "//api/v1/***/***"),
        ("/stats?TOKEN=secret", "/stats?TOKEN=***"),
        ("/stats?a=1;token=secret", "/stats?a=***"),
        ("/stats?token%3Dsecret", "/stats?***"),
        ("/stats?%74oken=secret", "/stats?***"),
        ("/stats?MyAccessToken", "/stats?***"),
        ("/stats/token=secret", "/stats/***"),
        ("/%0a?b=%0a", "/***?b=***"),
    ],
)
async def test_the_log_has_a_line_for_a_request_without_what_may_be_secret(
    uri: str, logged: str, caplog
) -> None:
    caplog.set_level(logging.DEBUG, LOG.name)
    await ask(get(uri))
    lines = [record.getMessage() for record in caplog.records if record.name == LOG.name]
    assert lines == [f"GET {logged}: 404"]
