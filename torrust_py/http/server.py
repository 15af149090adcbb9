"""The TCP sockets of a tracker: requests in, responses out (HTTP/1.0 and 1.1, RFC 9112), also over TLS.

A connection waits for its next request for IDLE_S at most. All else, its first request (with the handshake of
TLS), the rest of one that has begun, and a response that its client is slow to read, has to be over within
REQUEST_S.
"""

import asyncio
import contextlib
import math
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from itertools import islice, takewhile
from types import TracebackType
from typing import NamedTuple, Protocol, Self, cast

import httptools

from torrust_py.core.statistics import Statistics
from torrust_py.core.types import Address
from torrust_py.http.callers import Callers
from torrust_py.http.client_ip import peer_address
from torrust_py.http.handler import HttpHandler
from torrust_py.http.requests import HttpRequest
from torrust_py.http.responses import (
    BAD_REQUEST,
    CONTENT_TOO_LARGE,
    CONTINUE,
    FIELDS_TOO_LARGE,
    REQUEST_TIMEOUT,
    Head,
)
from torrust_py.tls import TlsConnection

HEAD_SIZE = 8 * 1024
"""The most bytes of request line and header fields together."""

BODY_SIZE = 64 * 1024
"""The most bytes of a body; it is read and dropped."""

REQUEST_S = 10.0
IDLE_S = 75.0
"""More than the 60 s for which proxies commonly keep their connections."""

SWEEP_S = 1.0
"""How often time-outs are looked for, while there are connections."""

CLOSED_A_TURN = 50
"""Connections that are closed because of their time before the loop turns."""

DRAIN_S = 2.0
"""At the stop, for what is being written."""

BACKLOG = 1024
ACCEPTS_A_TURN = 1
"""asyncio tries as often as it is told to accept, and schedules a retry for each failure: with more, a
process that has no files left would drown in retries.
"""


class HttpTracker:
    """Answers what comes to `listener`, a bound TCP socket, which it closes in the end.

    `now_ms` is the tracker's clock: milliseconds from its origin of time.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: HttpHandler,
        connections: "Connections",
        *,
        now_ms: Callable[[], int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = listener
        self._handler = handler
        self._connections = connections
        self._now_ms = now_ms
        self._tls = tls
        self._opened = OpenConnections(connections)

    @property
    def address(self) -> tuple[str, int]:
        """The address that it is bound to."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def statistics(self) -> Statistics:
        """What came here."""
        return self._handler.statistics

    @property
    def open_connections(self) -> int:
        return len(self._opened)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            self._make_connection, sock=self._socket, backlog=ACCEPTS_A_TURN
        )
        self._socket.listen(BACKLOG)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        self._socket.close()
        await self._opened.close()

    def _make_connection(self) -> asyncio.BaseProtocol:
        connection = HttpConnection(self._opened, self._handler, self._connections, now_ms=self._now_ms)
        return connection if self._tls is None else TlsConnection(connection, self._tls)


class OpenConnections:
    """The connections of one tracker."""

    def __init__(self, connections: "Connections") -> None:
        self._connections = connections
        self._opened: set[HttpConnection] = set()
        self._stopping = False
        self._all_closed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._opened)

    async def close(self) -> None:
        """Send what is being sent, then close all; no more are admitted."""
        self._stopping = True
        for leave in (HttpConnection.close, HttpConnection.abort):
            for connection in list(self._opened):
                leave(connection)
            if self._opened:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_S):
                        await self._all_closed.wait()

    def admit(self, connection: "HttpConnection") -> bool:
        """False if there are too many, or the tracker stops."""
        if self._stopping or not self._connections.admit(connection):
            return False
        self._opened.add(connection)
        return True

    def forget(self, connection: "HttpConnection") -> None:
        """A connection has closed, whether it was admitted or not."""
        self._connections.remove(connection)
        self._opened.discard(connection)
        if self._stopping and not self._opened:
            self._all_closed.set()


class OthersConnections(Protocol):
    """Connections that a plane serves; it keeps them in two orders, too."""

    @property
    def open(self) -> int: ...
    @property
    def idle_since_ms(self) -> float:
        """When the longest idle one was answered; infinity without one."""

    def evict(self) -> None:
        """Close the longest idle one."""

    def sweep(self, clock_ms: int, busy_ms: int, idle_ms: int, /) -> bool:
        """End those that have been busy, or idle, for so long. True if there may be more."""


class Connections:
    """The open connections of all HTTP trackers of the process, at most `limit`."""

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        # Since when: both are in the order in which their time runs out.
        self._busy: dict[HttpConnection, float] = {}
        self._idle: dict[HttpConnection, float] = {}
        self._others: list[OthersConnections] = []
        self._timer: asyncio.TimerHandle | None = None
        self.refused = 0
        """New connections for which there was no room."""
        self.evicted = 0
        """Idle connections that had to make room."""
        self.callers = Callers()

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle) + sum(others.open for others in self._others)

    def join(self, others: OthersConnections) -> None:
        """Let a plane's connections count, too."""
        self._others.append(others)

    def leave(self, others: OthersConnections) -> None:
        self._others.remove(others)

    def clock_ms(self) -> int:
        return int(self._clock() * 1000)

    def room(self) -> int:
        """For so many more connections nobody has to leave."""
        return self.limit - len(self)

    def admit(self, connection: "HttpConnection") -> bool:
        """Take in a new connection, which is busy, if there is room."""
        if not self.make_room():
            return False
        self._busy[connection] = self._clock()
        self.look_for_time_outs()
        return True

    def make_room(self) -> bool:
        """Room for one more: if there are too many, the longest idle one has to go. False without one."""
        if self.room() <= 0 and not self._evict():
            self.refused += 1
            return False
        return True

    def look_for_time_outs(self) -> None:
        """From now on, as long as there are connections."""
        if self._timer is None and len(self):
            self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._on_timer)

    def _evict(self) -> bool:
        """Close the longest idle connection, whoever serves it. False without one."""
        own, own_since = next(iter(self._idle.items()), (None, math.inf))
        others = min(self._others, key=lambda others: others.idle_since_ms, default=None)
        if others is not None and others.idle_since_ms < own_since * 1000:
            others.evict()
        elif own is not None:
            del self._idle[own]
            own.abort()
        else:
            return False
        self.evicted += 1
        return True

    def remove(self, connection: "HttpConnection") -> bool:
        """Whether it was here."""
        was_idle = self._idle.pop(connection, None) is not None
        return self._busy.pop(connection, None) is not None or was_idle

    def note_idle(self, connection: "HttpConnection") -> None:
        """It waits for a request, from now on."""
        if self._idle.pop(connection, None) is not None or self._busy.pop(connection, None) is not None:
            self._idle[connection] = self._clock()

    def note_busy(self, connection: "HttpConnection") -> None:
        """It does something else, from now on."""
        if self.remove(connection):
            self._busy[connection] = self._clock()

    def is_idle(self, connection: "HttpConnection") -> bool:
        return connection in self._idle

    def sweep(self) -> bool:
        """Tell those whose time has run out, CLOSED_A_TURN of either kind at most. True if more may be."""
        now = self._clock()
        overdue = _begun_before(now - REQUEST_S, self._busy)
        for connection in overdue:
            self.note_busy(connection)
            connection.time_out()
        idle_too_long = _begun_before(now - IDLE_S, self._idle)
        for connection in idle_too_long:
            self.remove(connection)
            connection.abort()
        more = [
            others.sweep(int(now * 1000), int(REQUEST_S * 1000), int(IDLE_S * 1000))
            for others in self._others
        ]
        return CLOSED_A_TURN in (len(overdue), len(idle_too_long)) or any(more)

    def _on_timer(self) -> None:
        pause = 0.0 if self.sweep() else SWEEP_S
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(pause, self._on_timer) if len(self) else None


class Handed(NamedTuple):
    """How far a plane has come with a connection that it hands over."""

    peer: Address
    unread: bytes
    unsent: bytes
    is_closing: bool
    """When all is sent, it closes."""
    age: float
    """Seconds since its unfinished request has begun."""


class HttpConnection(asyncio.Protocol):
    """One client's connection: what it receives, request by request, and what it still has to answer."""

    def __init__(
        self,
        tracker: OpenConnections,
        handler: HttpHandler,
        connections: Connections,
        *,
        now_ms: Callable[[], int],
        handed: Handed | None = None,
    ) -> None:
        self._tracker = tracker
        self._handed = handed
        self._handler = handler
        self._connections = connections
        self._now_ms = now_ms
        self._finished = False
        """Nothing more is read: the last request has been, or what came is none."""
        self._stalled = False
        """The client does not read what it is sent."""
        self._unanswered: deque[HttpRequest | Head] = deque()
        self._unread = b""
        self._answered_here = False
        """The piece that is being read held the end of a request."""
        self._receiving = False
        """A request has begun that is not complete."""
        self._ended = False
        """The client has sent all that it will, of which something is unread."""
        self._rest_of_time: asyncio.TimerHandle | None = None
        """Of a request that a plane had begun to read."""
        self._begin_request()

    def _begin_request(self) -> None:
        self._target = b""
        self._forwarded_for: list[bytes] = []
        self._request_id: bytes | None = None
        self._expects_continue = False
        self._asks_to_close = False
        self._in_body = False
        self._head_size = _HEAD_EXTRA
        self._declares_too_much = False
        """The body, by its Content-Length, is over BODY_SIZE."""
        self._body_size = 0
        self._received = 0
        """Bytes of the request, but for those that came with its first; framing and trailers count too."""
        self._begun_here = True
        """The piece that is being read has its first byte."""

    # --- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # what it is, though uvloop's is no subclass
        self._parser = httptools.HttpRequestParser(self)
        handed, self._handed = self._handed, None
        peer = handed.peer if handed is not None else _peer_of(transport)
        if peer is None or not self._tracker.admit(self):  # no peer: it has gone already
            self._finished = True
            self._transport.abort()
            return
        self._peer = peer
        if handed is not None:  # the transport does not know yet that it can be paused
            self._unread = handed.unread
            asyncio.get_running_loop().call_soon(self._go_on_after, handed)

    def _go_on_after(self, handed: Handed) -> None:
        if self._finished:  # it was closed meanwhile
            return
        if handed.unsent:
            self._connections.note_idle(self)  # as after a response of its own
            self._transport.write(handed.unsent)
        if handed.is_closing:
            self._finished = True
            self._unread = b""
            self._connections.note_busy(self)
            self._close_gently()
            return
        self._go_on()
        if self._receiving:
            loop = asyncio.get_running_loop()
            self._rest_of_time = loop.call_later(max(0.0, REQUEST_S - handed.age), self.time_out)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tracker.forget(self)
        self._drop()
        del self._parser  # it refers to this connection

    def data_received(self, data: bytes) -> None:
        if self._unread:
            self._unread += data  # in its turn
        else:
            self._read(data)

    def eof_received(self) -> bool:
        """The client has sent all that it will; it may still read. The transport closes when all is sent."""
        self._ended = bool(self._unread) and not self._finished
        if not self._ended:
            self._refuse_unfinished()
        return self._ended  # True: what came before is read first

    def _refuse_unfinished(self) -> None:
        if self._receiving and not self._finished:
            self._refuse(BAD_REQUEST)

    def pause_writing(self) -> None:
        self._stalled = True
        self._transport.pause_reading()
        self._connections.note_busy(self)

    def resume_writing(self) -> None:
        self._stalled = False
        if not self._finished:
            self._connections.note_idle(self)
        while self._unanswered and not self._stalled:
            self._answer(self._unanswered.popleft())
        self._go_on()

    def _go_on(self) -> None:
        """Read what has waited for its turn, or for the client to read."""
        if self._stalled or self._finished:
            return
        unread, self._unread = self._unread, b""
        self._read(unread)
        if self._receiving:
            self._connections.note_busy(self)
        if self._stalled or self._unread or self._finished:
            return
        if self._ended:
            self._refuse_unfinished()
            self._transport.close()
        else:
            self._transport.resume_reading()

    # --- what the tracker and its connections call

    def close(self) -> None:
        """Send what is being sent, then close."""
        self._drop()
        self._transport.close()

    def abort(self) -> None:
        self._drop()
        self._transport.abort()

    def _drop(self) -> None:
        """Read and answer no more."""
        self._finished = True
        self._unanswered.clear()
        self._cancel_rest_of_time()

    def _cancel_rest_of_time(self) -> None:
        if self._rest_of_time is not None:
            self._rest_of_time.cancel()
            self._rest_of_time = None

    def time_out(self) -> None:
        """REQUEST_S have passed."""
        if self._finished or self._stalled:
            self.abort()
        elif self._receiving:
            self._refuse(REQUEST_TIMEOUT)
        else:
            self.close()

    # --- what the parser calls

    def on_message_begin(self) -> None:
        if not self._finished:
            self._begin_request()
            self._receiving = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + _FIELD_EXTRA
        if self._in_body:
            return  # a trailer
        field = name.lower()
        if field == b"x-forwarded-for":
            self._forwarded_for.append(value)
        elif field == b"x-request-id" and self._request_id is None:
            self._request_id = value.strip()
        elif field == b"content-length":
            self._declares_too_much = _exceeds(value, BODY_SIZE)
        elif field == b"connection" and _CLOSE.search(value):
            self._asks_to_close = True
        elif field == b"expect":
            self._expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._in_body = True
        version = self._parser.get_http_version()
        if version == "1.0":
            self._expects_continue = False  # RFC 9110, 10.1.1
        if self._finished:
            return
        if version not in _VERSIONS:
            self._refuse(BAD_REQUEST)
        elif self._head_size > HEAD_SIZE:
            self._refuse(FIELDS_TOO_LARGE)
        elif self._declares_too_much:
            self._refuse(CONTENT_TOO_LARGE)

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > BODY_SIZE and not self._finished:
            self._refuse(CONTENT_TOO_LARGE)

    def on_message_complete(self) -> None:
        if self._finished:
            return
        self._receiving = False
        self._answered_here = True
        if self._rest_of_time is not None:
            self._cancel_rest_of_time()
        parser = self._parser
        # What follows a request to upgrade may be its body, or in the other protocol.
        stays = not self._asks_to_close and parser.should_keep_alive() and not parser.should_upgrade()
        self._finished = not stays
        connection = b"close"
        if stays:
            connection = b"keep-alive" if parser.get_http_version() == "1.0" else b""
        self._respond(
            HttpRequest(parser.get_method(), self._target, self._forwarded_for, self._request_id, connection)
        )

    # --- reading

    def _read(self, data: bytes) -> None:
        """What comes after a piece that held a whole request waits until the loop has turned, so that a
        client who sends many at once does not hold up the others.
        """
        for at in range(0, len(data), _PIECE_SIZE):
            self._answered_here = False
            self._feed(data[at : at + _PIECE_SIZE])
            rest = data[at + _PIECE_SIZE :] if self._stalled or self._answered_here else b""
            if self._finished:
                return
            if rest:
                self._unread = rest
                self._transport.pause_reading()
                asyncio.get_running_loop().call_soon(self._go_on)
                return

    def _feed(self, piece: bytes) -> None:
        self._begun_here = False
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # the request is complete, and the last one
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            if not self._finished:
                self._refuse(BAD_REQUEST)
        if self._receiving:
            self._wait_for_rest(len(piece))

    def _wait_for_rest(self, size: int) -> None:
        """The last piece, of `size` bytes, has ended within a request."""
        if not self._begun_here:
            self._received += size
        if not self._in_body and self._received > HEAD_SIZE:
            self._refuse(FIELDS_TOO_LARGE)
        elif self._received > HEAD_SIZE + BODY_SIZE:
            self._refuse(CONTENT_TOO_LARGE)
        elif self._connections.is_idle(self):
            self._connections.note_busy(self)
        if self._in_body and self._expects_continue and not (self._stalled or self._finished):
            self._expects_continue = False
            self._transport.write(CONTINUE)

    # --- writing

    def _refuse(self, head: Head) -> None:
        self._finished = True
        self._receiving = False
        self._respond(head)

    def _respond(self, request: HttpRequest | Head) -> None:
        """Answer at once, or in its turn."""
        if self._stalled:
            self._unanswered.append(request)
        else:
            self._answer(request)

    def _answer(self, request: HttpRequest | Head) -> None:
        if isinstance(request, Head):
            self._connections.note_busy(self)
            response = self._handler.refuse_malformed(request, self._peer, unix_now=time.time())
            self._transport.write(response)
            self._close_gently()
        elif self._handler.is_timed():
            self._answer_timed(request)
        else:
            self._answer_request(request)

    def _answer_timed(self, request: HttpRequest) -> None:
        """Take the time from what has been read to the answer."""
        statistics = self._handler.statistics
        before, start = statistics.handled(), time.perf_counter()
        self._answer_request(request)
        statistics.add_latency(before, time.perf_counter() - start)

    def _answer_request(self, request: HttpRequest) -> None:
        response = self._handler.handle(request, self._peer, now_ms=self._now_ms(), unix_now=time.time())
        if request.connection == b"close":
            self._connections.note_busy(self)
            self._transport.write(response)
            self._transport.close()
        else:
            self._connections.note_idle(self)  # before writing, which may find that the client does not read
            self._transport.write(response)

    def _close_gently(self) -> None:
        """Close when the client does: what it still sends would make the kernel drop the response."""
        if self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # the client has gone
                self._transport.write_eof()
        else:
            self._transport.close()


def _peer_of(transport: asyncio.BaseTransport) -> Address | None:
    peer = transport.get_extra_info("peername")
    return peer_address(peer[0]) if peer is not None else None


_VERSIONS = ("1.1", "1.0")
_CLOSE = re.compile(rb"(^|,)[ \t]*close[ \t]*(,|$)", re.IGNORECASE)  # wins over keep-alive (RFC 9112, 9.3)
_PIECE_SIZE = 1024  # few requests fit into so much
_FIELD_EXTRA = len(": \r\n")
_HEAD_EXTRA = len("GET  HTTP/1.1\r\n\r\n")


def _exceeds(digits: bytes, limit: int) -> bool:
    """Whether a Content-Length is over `limit`. The parser lets only digits pass, with white space around."""
    significant = digits.strip().lstrip(b"0")
    return len(significant) > len(str(limit)) or int(significant or b"0") > limit


def _begun_before(when: float, since: dict[HttpConnection, float]) -> list[HttpConnection]:
    begun_before = takewhile(lambda item: item[1] <= when, since.items())
    return [connection for connection, _ in islice(begun_before, CLOSED_A_TURN)]
