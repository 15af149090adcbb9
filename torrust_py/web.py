"""What the REST API and the health check API share: aiohttp on a bound socket, and a request's way to the
handler of its path.

aiohttp's router is not used: it compares decoded paths, decodes leniently, and lets a parameter answer where
a fixed segment has no such method. Here a path is compared as it was sent; its last segment may be a value.
"""

import asyncio
import fcntl
import logging
import re
import socket
import ssl
import sys
import termios
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple, cast
from urllib.parse import unquote_to_bytes

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError, HttpVersion10, HttpVersion11
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import Handler as AiohttpHandler

from torrust_py.tls import TlsConnection
from torrust_py.web_connections import WebConnections

MAX_BODY = 64 * 1024
"""Bytes of a request's body, unless its path may have more; a longer one is refused with 413."""

BODY_TIMEOUT = 5.0
"""Seconds until a body must be there; then 408. (aiohttp would wait for ever, also after a broken chunk.)"""

_COMPRESSED_FROM = 32  # bytes; shorter bodies would grow
_BACKLOG = 128  # connections
_HANDSHAKE_TIMEOUT = 10.0  # seconds, of TLS
_TURNS = 0.1  # seconds until a request that has come is surely being answered
_READ_AT_LEAST = 1024  # bytes; who reads less in ten seconds does not read
_VERSIONS = (HttpVersion10, HttpVersion11)
_KEEPALIVE = 75  # seconds that an idle connection stays open: more than a proxy's 60
_LINGERING = 2.0  # seconds that a body is read for after the answer, which the client else might lose
_TOO_LONG = "Failed to buffer the request body: length limit exceeded"
_INTERNAL_ERROR = 'Unhandled rejection: Err { reason: "internal server error" }'


class CallError(Exception):
    """Ends a call with this status; the text is its body."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Call(NamedTuple):
    """A request as its handler sees it."""

    request: web.Request
    path: str
    """As it was sent."""
    query: list[tuple[str, str]]
    value: str = ""
    """What stands in the place of the route's `{name}`, decoded."""


Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Routes = Mapping[str, Mapping[str, Handler]]
"""The methods of each path, in the order of the header `Allow`; GET answers HEAD, too. The last segment of a
path may be a `{name}`: any one segment that no other path has there.
"""


@asynccontextmanager
async def serve(
    application: web.Application,
    listener: socket.socket,
    *,
    log: logging.Logger,
    tls: ssl.SSLContext | None = None,
    grace: float,
    most_connections: int,
) -> AsyncIterator[None]:
    """Answer at a bound socket, which is closed at the end.

    At the end nothing new is accepted; running requests have `grace` seconds.
    """
    runner = web.AppRunner(application, shutdown_timeout=grace / 2)  # aiohttp waits this long twice
    await runner.setup()
    loop = asyncio.get_running_loop()
    connections = WebConnections(most_connections, log=log)

    def make_connection() -> asyncio.BaseProtocol:
        assert runner.server is not None, "it is set up"
        connection = _Connection(
            runner.server,
            connections,
            loop=loop,
            access_log=None,
            keepalive_timeout=_KEEPALIVE,
            lingering_time=_LINGERING,
            auto_decompress=False,
        )
        return connection if tls is None else TlsConnection(connection, tls)

    server = await loop.create_server(make_connection, sock=listener, backlog=_BACKLOG)
    try:
        yield
    finally:
        server.close()
        await runner.cleanup()
        connections.close()


def application(
    routes: Routes,
    *,
    log: logging.Logger,
    admit: Callable[[Call], None] = lambda call: None,
    longer_bodies: Mapping[str, int] = {},
) -> web.Application:
    """An application that answers these routes. Of `longer_bodies`, paths may have bodies of so many bytes.

    `admit` sees every call, also those of no route; it may raise CallError. What may be a secret is kept out
    of the log.
    """
    dispatcher = _Dispatcher(routes, log=log, admit=admit, longer_bodies=longer_bodies)

    @web.middleware
    async def answer(request: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
        return await dispatcher.answer(request)

    made = web.Application(middlewares=[answer])
    made.on_response_prepare.append(_complete_headers)
    return made


def negotiate_compression(request: web.Request, response: web.StreamResponse) -> None:
    """Compress the body as the client prefers: gzip, deflate or not at all."""
    response.headers["Vary"] = "accept-encoding"
    coding = _preferred_coding(",".join(request.headers.getall("Accept-Encoding", [])))
    if coding is web.ContentCoding.identity:
        return
    if request.method == "HEAD" and not isinstance(response, web.Response):
        response.headers["Content-Encoding"] = coding.value  # aiohttp would send the end of a stream
    else:
        response.enable_compression(coding)


async def read_body(request: web.Request, *, longest: int = MAX_BODY) -> bytes:
    """Raises CallError if it is too long, or does not come."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while part := await request.content.readany():
                body += part
                if len(body) > longest:
                    raise CallError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LONG)
        return bytes(body)
    except TimeoutError as error:
        raise CallError(HTTPStatus.REQUEST_TIMEOUT, "") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise CallError(HTTPStatus.BAD_REQUEST, "Failed to buffer the request body") from error


class _Connection(web.RequestHandler):
    """Answers a client that half-closes after its request. Has no words for what aiohttp cannot read, nor for
    who leaves, and logs neither: anybody can do that.
    """

    _answered: web.BaseRequest | None = None
    """The request that is being answered."""
    _is_half_closed = False
    _has_begun = False
    """Something has come since the last answer."""
    _is_stalled = False
    """The client does not read what it is sent."""
    _unread = 0
    """Bytes that it had not read when that was looked at last."""
    _body: StreamReader | None = None
    """Of the last request that was answered."""
    _handshake: asyncio.TimerHandle | None = None

    def __init__(self, server: web.Server, connections: WebConnections, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._own_transport = cast("asyncio.Transport", transport)  # aiohttp forgets its own when it closes
        if not self._connections.admit(self):
            self.abort()
        elif isinstance(transport, TlsConnection):
            loop = asyncio.get_running_loop()
            self._handshake = loop.call_later(_HANDSHAKE_TIMEOUT, _end_handshake, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.remove(self)
        self._forget_handshake()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if data:  # aiohttp itself calls this without any
            self._forget_handshake()  # what comes has been decrypted
            if not self._has_begun and not self._lingers:
                self._has_begun = True
                self._connections.note_alive(self)
        super().data_received(data)

    def _forget_handshake(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None

    def pause_writing(self) -> None:
        self._is_stalled = True
        self._unread = self._bytes_unread()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._is_stalled = False
        self._connections.note_alive(self)
        super().resume_writing()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._has_begun = False
            self._body = request.content
            self._unread = self._bytes_unread()
            self._connections.note_answered(self)

    @property
    def waits(self) -> bool:
        return self._lingers or (self._waiter is not None and not self._waiter.done())

    @property
    def works(self) -> bool:
        return not (self.waits or self._is_stalled or self._own_transport.is_closing())

    @property
    def _lingers(self) -> bool:
        """The rest of a body is read, for the answer's sake."""
        return self._body is not None and not self._body.is_eof()

    def has_read(self) -> bool:
        before, self._unread = self._unread, self._bytes_unread()
        was_written_since = self._unread > before
        return was_written_since or self._unread <= before - _READ_AT_LEAST

    def _bytes_unread(self) -> int:
        return self.unsent + _unacknowledged(self._own_transport.get_extra_info("socket"))

    @property
    def unsent(self) -> int:
        return self._own_transport.get_write_buffer_size()

    def abort(self) -> None:
        self._own_transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp never keeps the connection
        if self.transport is None or self.transport.get_extra_info("sslcontext") is not None:
            return False  # TLS has no half-closed connections
        self._is_half_closed = True
        if self._answered is not None:
            _break_off(self._answered)
        asyncio.get_running_loop().call_later(_TURNS, self._leave)
        return True

    def _leave(self) -> None:
        """Close the connection unless a request is being answered."""
        if self._answered is None and self.transport is not None:
            self.transport.close()

    @contextmanager
    def answering(self, request: web.BaseRequest) -> Iterator[None]:
        self._answered = request
        self._body = None
        self._connections.note_alive(self)
        if self._is_half_closed:
            _break_off(request)
        try:
            yield
        finally:
            self._answered = None
            if self._is_half_closed:
                request.content.feed_eof()  # or aiohttp would wait for the rest of a body
                self.close()  # once the response is written

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, LineTooLong):
            return _Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if isinstance(exc, HttpProcessingError | ConnectionError):
            return _Refusal(HTTPStatus.BAD_REQUEST)
        return super().handle_error(request, status, exc, message)


def _unacknowledged(connection: socket.socket | None) -> int:
    """Bytes of what was sent that the client's side has not taken; 0 where the kernel does not tell."""
    if connection is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # it has closed
        return 0


def _end_handshake(connection: TlsConnection) -> None:
    """Unless it is over, it has stalled."""
    if not connection.is_established:
        connection.abort()


def _break_off(request: web.BaseRequest) -> None:
    """Fail whoever reads the request's body, if it is not complete: no more will come."""
    if not request.content.is_eof():
        request.content.set_exception(web.RequestPayloadError("the connection ended within the body"))


class _Refusal(web.StreamResponse):
    """Ends a connection that does not send HTTP/1. No middleware sees it, so its headers are made here."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        head = (
            f"HTTP/1.1 {self.status} {self.reason}\r\nContent-Length: 0\r\nx-request-id: {uuid.uuid4()}\r\n"
            f"Date: {formatdate(usegmt=True)}\r\nConnection: close\r\n\r\n"
        )
        await request.writer.write_eof(head.encode())
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        pass


class _Dispatcher:
    def __init__(
        self,
        routes: Routes,
        *,
        log: logging.Logger,
        admit: Callable[[Call], None],
        longer_bodies: Mapping[str, int],
    ) -> None:
        self._fixed = {path: methods for path, methods in routes.items() if not path.endswith("}")}
        self._with_value = {
            path.rpartition("/")[0]: (path.rpartition("/{")[2][:-1], methods)
            for path, methods in routes.items()
            if path.endswith("}")
        }
        self._log = log
        self._admit = admit
        self._longer_bodies = longer_bodies

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.version not in _VERSIONS:
            return _Refusal(HTTPStatus.BAD_REQUEST)
        connection = request.protocol
        assert isinstance(connection, _Connection)
        with connection.answering(request):
            return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = await self._response(request)
        if isinstance(response, web.Response):
            length = response.content_length or 0
            if length >= _COMPRESSED_FROM:
                negotiate_compression(request, response)
            elif request.method == "HEAD":
                response.headers["Content-Length"] = str(length)  # aiohttp leaves 0 out
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._log.error(
                "response failed method=%s uri=%s status=%s",
                request.method,
                _loggable_uri(request),
                response.status,
            )
        elif self._log.isEnabledFor(logging.DEBUG):
            self._log.debug("%s %s: %s", request.method, _loggable_uri(request), response.status)
        return response

    async def _response(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._call(request)
        except CallError as error:
            return web.Response(status=error.status, text=str(error) or None)
        except Exception:
            self._log.exception("%s %s", request.method, _loggable_uri(request))
            if request.writer.output_size and request.transport is not None:
                request.transport.abort()  # half a body is sent: only a broken connection tells the client
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR, text=_INTERNAL_ERROR)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        url = request.rel_url
        call = Call(request, url.raw_path, parse_query(url.raw_query_string))
        self._admit(call)
        if (request.content_length or 0) > self._longer_bodies.get(call.path, MAX_BODY):
            raise CallError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LONG)
        name, value, methods = self._find(call.path)
        if not methods:
            return web.Response(status=HTTPStatus.NOT_FOUND)
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ",".join("GET,HEAD" if method == "GET" else method for method in methods)
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allow})
        return await handler(call._replace(value=_path_value(name, value)))

    def _find(self, path: str) -> tuple[str, bytes, Mapping[str, Handler]]:
        """Name and value of the path's last segment, and the methods; no methods where there is no route."""
        if path in self._fixed:
            return "", b"", self._fixed[path]
        prefix, _, last = path.rpartition("/")
        value = _decoded(last)
        name, methods = self._with_value.get(prefix, ("", {}))
        return name, value, methods if value.strip() else {}


_PLAIN_SEGMENT = re.compile(r"[a-z0-9_]{0,24}|[0-9A-Fa-f]{40}", re.ASCII)
_PLAIN_PARAMETER = re.compile(r"(?:offset|limit|info_hash)=[0-9A-Fa-f]*|", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,12}=", re.ASCII)


def _loggable_uri(request: web.Request) -> str:
    """The URI without what may be a key or a token, also where a caller has put it in a wrong place."""
    path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
    shown = "/".join(part if _PLAIN_SEGMENT.fullmatch(part) else "***" for part in path.split("/"))
    return f"{shown}?{'&'.join(map(_loggable_parameter, query.split('&')))}" if query else shown


def _loggable_parameter(parameter: str) -> str:
    if _PLAIN_PARAMETER.fullmatch(parameter):
        return parameter
    name = _PLAIN_NAME.match(parameter)
    return f"{name[0]}***" if name else "***"


def parse_query(query: str) -> list[tuple[str, str]]:
    """Names and values of a form-encoded query (WHATWG URL); bytes that are not UTF-8 become U+FFFD."""
    pairs = (part.replace("+", " ").partition("=") for part in query.split("&") if part)
    return [(_lenient(name), _lenient(value)) for name, _, value in pairs]


def _lenient(raw: str) -> str:
    return _decoded(raw).decode("utf-8", "replace")


def _decoded(raw: str) -> bytes:
    return unquote_to_bytes(raw.encode("utf-8", "surrogateescape"))  # how aiohttp keeps bytes above 127


def _path_value(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise CallError(HTTPStatus.BAD_REQUEST, f"Invalid URL: Invalid UTF-8 in `{name}`") from error


_CODINGS = {  # among equals, the later
    "identity": web.ContentCoding.identity,
    "deflate": web.ContentCoding.deflate,
    "x-gzip": web.ContentCoding.gzip,
    "gzip": web.ContentCoding.gzip,
}
_RANKS = {name: rank for rank, name in enumerate(_CODINGS)}
_ACCEPTED = re.compile(r"\s*([a-z-]+)\s*(?:;\s*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?", re.ASCII)


def _preferred_coding(accepted: str) -> web.ContentCoding:
    """What the value of `Accept-Encoding` asks for (RFC 9110, 12.5.3); what it does not name is not used."""
    matches = (_ACCEPTED.fullmatch(part) for part in accepted.lower().split(","))
    offers = [
        (float(match[2] or 1), _RANKS[match[1]], match[1])
        for match in matches
        if match and match[1] in _RANKS
    ]
    quality, _, name = max(offers, default=(0.0, 0, "identity"))
    return _CODINGS[name] if quality > 0 else web.ContentCoding.identity


async def _complete_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)
    request_id = request.headers.get("x-request-id")
    if request_id is None or not (request_id.isascii() and request_id.isprintable()):
        request_id = str(uuid.uuid4())
    response.headers["x-request-id"] = request_id
