"""Real sockets, on asyncio in debug mode and on uvloop."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import chain, repeat

import bencodepy
import pytest

from tests.forms import native
from tests.http.conftest import Answer, MakeRoom, Room, taken_apart
from torrust_py.core.statistics import Door
from torrust_py.core.types import InfoHash, packed_address
from torrust_py.data_planes import HttpService, make_http_plane
from torrust_py.http import Connections, HttpTracker, PlaneTracker, plane_tracker, polling, server

HASH = "%01" * 20
INFO_HASH = InfoHash(b"\x01" * 20)
ANNOUNCE = f"/announce?info_hash={HASH}&peer_id=-qB00000000000000001&port=17548&compact=1"

Serve = Callable[..., AbstractAsyncContextManager[HttpService]]


@pytest.fixture
def make_room(make_room: MakeRoom, form: str) -> MakeRoom:
    return partial(make_room, form=form)


def tracker_of(
    room: Room,
    listener: socket.socket,
    connections: Connections,
    *,
    now_ms: Callable[[], int],
    tls: ssl.SSLContext | None = None,
) -> HttpService:
    """In the room's form."""
    if room.form == "portable" or tls is not None:
        return HttpTracker(listener, room.handler, connections, now_ms=now_ms, tls=tls)
    native("http")  # skips where it is not built
    make_plane = make_http_plane(
        room.tracker.rules,
        on_reverse_proxy=room.on_reverse_proxy,
        swarms=room.swarms,  # type: ignore[arg-type]  # of the room's form
        whitelist=room.whitelist,  # type: ignore[arg-type]  # likewise
        blacklist=room.refused,  # type: ignore[arg-type]  # likewise
        statistics=room.statistics,  # type: ignore[arg-type]  # likewise
    )
    return PlaneTracker(listener, room.handler, connections, make_plane, now_ms=now_ms)


@pytest.fixture
def serve(room: Room) -> Serve:
    """Starts a tracker on a free port of `host`; `buffer`: bytes that its kernel takes for a client."""

    def start(
        room: Room = room,
        *,
        host: str = "127.0.0.1",
        connections: Connections | None = None,
        tls: ssl.SSLContext | None = None,
        buffer: int | None = None,
    ) -> HttpService:
        listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        return tracker_of(
            room,
            listener,
            Connections(1000) if connections is None else connections,
            now_ms=lambda: time.monotonic_ns() // 1_000_000,
            tls=tls,
        )

    return start


class Client:
    """One connection to a tracker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, target: str, *fields: str, method: str = "GET", version: str = "1.1") -> None:
        lines = [f"{method} {target} HTTP/{version}", "Host: tracker.example", *fields, "", ""]
        self.writer.write("\r\n".join(lines).encode())

    async def receive(self, *, without_body: bool = False) -> Answer:
        head = await self._reader.readuntil(b"\r\n\r\n")
        answer = taken_apart(head)
        size = 0 if without_body else int(answer.fields["content-length"])
        return answer._replace(body=await self._reader.readexactly(size))

    async def ask(self, target: str, *fields: str, method: str = "GET") -> Answer:
        self.send(target, *fields, method=method)
        return await self.receive(without_body=method == "HEAD")

    async def rest(self) -> bytes:
        """What comes until the connection is closed."""
        return await self._reader.read()


@asynccontextmanager
async def connected(
    tracker: HttpService, *, tls: ssl.SSLContext | None = None, buffer: int | None = None
) -> AsyncIterator[Client]:
    """`buffer`: bytes that the client's kernel takes before the client reads."""
    host, port = tracker.address
    own = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if buffer is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, (host, port))
    reader, writer = await asyncio.open_connection(
        sock=own, ssl=tls, server_hostname=None if tls is None else host, limit=1 << 16
    )
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # the loop closes the socket


def knock(tracker: HttpService) -> socket.socket:
    """A connection that has asked for an announce, and ends with its response; for who wants many."""
    own = socket.create_connection(tracker.address)
    own.setblocking(False)
    own.sendall(f"GET {ANNOUNCE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return own


async def response_on(own: socket.socket) -> Answer:
    """What comes until its end; it is closed then."""
    loop = asyncio.get_running_loop()
    with own:
        return taken_apart(b"".join([piece async for piece in _pieces(loop, own)]))


async def _pieces(loop: asyncio.AbstractEventLoop, own: socket.socket) -> AsyncIterator[bytes]:
    while piece := await loop.sock_recv(own, 4096):
        yield piece


# --- requests


@pytest.mark.clause("3.2.11")
async def test_a_connection_serves_many_requests(serve: Serve, room: Room) -> None:
    async with serve() as tracker, connected(tracker) as client:
        for number in range(3):
            answer = await client.ask(ANNOUNCE, f"X-Request-Id: {number}")
            assert answer.fields["x-request-id"] == str(number)
    assert room.counts()[Door.TCP4].announces == 3


@pytest.mark.clause("3.2.11")
async def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    async with serve() as tracker, connected(tracker) as client:
        for number in range(500):
            client.send(ANNOUNCE if number % 2 else "/health_check", f"X-Request-Id: {number}")
        ids = [(await client.receive()).fields["x-request-id"] for _ in range(500)]
    assert ids == [str(number) for number in range(500)]


@pytest.mark.parametrize(("host", "door"), [("127.0.0.1", Door.TCP4), ("::1", Door.TCP6)])
async def test_a_client_is_known_by_its_address(host: str, door: Door, serve: Serve, room: Room) -> None:
    async with serve(host=host) as tracker, connected(tracker) as client:
        assert tracker.address[0] == host
        await client.ask(ANNOUNCE)
    assert list(room.counts()) == [door]
    (peers,) = room.swarms.peers(INFO_HASH)
    assert [peer.peer.endpoint[:-2] for peer in peers] == [packed_address(host)]


@pytest.mark.clause("3.6.6")
async def test_ipv4_on_a_dual_stack_socket_is_ipv4(room: Room) -> None:
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = listener.getsockname()[1]
    async with tracker_of(room, listener, Connections(10), now_ms=lambda: 10**9):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = Client(reader, writer)
        await client.ask(ANNOUNCE)
        writer.transport.abort()
    assert list(room.counts()) == [Door.TCP4]
    (peers,) = room.swarms.peers(INFO_HASH)
    assert [peer.peer.endpoint[:-2] for peer in peers] == [packed_address("127.0.0.1")]


async def test_the_proxys_fields_are_read_in_their_order(serve: Serve, make_room: MakeRoom) -> None:
    room = make_room(on_reverse_proxy=True)
    async with serve(room) as tracker, connected(tracker) as client:
        await client.ask(ANNOUNCE, "X-Forwarded-For: 192.0.2.1", "x-forwarded-for: 2001:db8::1, x")
    assert list(room.counts()) == [Door.TCP6]


async def test_head_has_no_body(serve: Serve) -> None:
    async with serve() as tracker, connected(tracker) as client:
        head = await client.ask("/health_check", method="HEAD")
        get = await client.ask("/health_check")
    assert (head.body, head.fields["content-length"]) == (b"", str(len(get.body)))


async def test_bodies_are_dropped(serve: Serve) -> None:
    async with serve() as tracker, connected(tracker) as client:
        client.send(ANNOUNCE, "Content-Length: 3", method="POST")
        client.writer.write(b"abc")
        assert (await client.receive()).status == 405
        client.send("/x", "Transfer-Encoding: chunked", method="PUT")
        client.writer.write(b"3\r\nabc\r\n0\r\n\r\n")
        assert (await client.receive()).status == 404


@pytest.mark.clause("3.2.12")
async def test_an_http_1_0_connection_is_closed(serve: Serve) -> None:
    async with serve() as tracker, connected(tracker) as client:
        client.send("/health_check", version="1.0")
        rest = await client.rest()
    assert taken_apart(rest).fields["connection"] == "close"
    assert taken_apart(rest).body == b'{"status":"Ok"}'


async def test_an_http_1_0_connection_stays_if_the_client_asks_for_it(serve: Serve) -> None:
    async with serve() as tracker, connected(tracker) as client:
        for _ in range(2):
            client.send("/health_check", "Connection: keep-alive", version="1.0")
            assert (await client.receive()).fields["connection"] == "keep-alive"


async def test_a_half_closed_client_is_answered(serve: Serve) -> None:
    async with serve() as tracker, connected(tracker) as client:
        client.send(ANNOUNCE)
        client.writer.write_eof()
        assert bencodepy.decode((await client.receive()).body)[b"complete"] == 1
        assert await client.rest() == b""


async def test_who_expects_to_be_told_to_continue_is(serve: Serve) -> None:
    async with serve() as tracker, connected(tracker) as client:
        client.send(ANNOUNCE, "Content-Length: 3", "Expect: 100-continue", method="POST")
        assert (await client._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        client.writer.write(b"abc")
        assert (await client.receive()).status == 405


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01" + b"a" * 300_000, 400),
        (b"GET /" + b"a" * 1_000_000, 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 1_000_000, 413),
    ],
    ids=["bad", "large head", "large body"],
)
async def test_who_goes_on_sending_still_gets_the_refusal(
    request_: bytes, status: int, serve: Serve, room: Room
) -> None:
    async with serve() as tracker, connected(tracker) as client:
        client.writer.write(request_)
        rest, _ = await asyncio.gather(client.rest(), client.writer.drain())
    answer = taken_apart(rest)
    assert (answer.status, answer.body) == (status, b"")
    assert room.counts()[Door.TCP4].malformed == 1


# --- clients that do not read


@pytest.mark.slow
async def test_a_client_that_does_not_read_costs_little_and_is_answered_when_it_does(
    serve: Serve, room: Room
) -> None:
    requests = 20_000
    async with serve(buffer=4096) as tracker, connected(tracker, buffer=4096) as client:
        for number in range(requests):
            client.send("/x", f"X-Request-Id: {number}")
        await until_it_rests(lambda: room.statistics.door(Door.TCP4).received)
        assert 0 < room.statistics.door(Door.TCP4).received < requests
        ids = [(await client.receive()).fields["x-request-id"] for _ in range(requests)]
    assert ids == [str(number) for number in range(requests)]


async def until_it_rests(value: Callable[[], int]) -> None:
    """Until the loop has turned a hundred times without a change."""
    last, same = -1, 0
    while same < 100:
        await asyncio.sleep(0)
        same = same + 1 if value() == last else 0
        last = value()


# --- limits


@pytest.mark.clause("3.2.14")
async def test_time_outs_are_looked_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP_S", 0.01)
    monkeypatch.setattr(server, "REQUEST_S", 0.02)
    connections = Connections(10)
    async with (
        serve(connections=connections) as tracker,
        connected(tracker) as silent,
        connected(tracker) as slow,
        connected(tracker) as quick,
    ):
        slow.writer.write(b"GET / HTTP/1.1\r\n")
        assert (await quick.ask("/health_check")).status == 200
        assert await silent.rest() == b""
        assert taken_apart(await slow.rest()).status == 408
        assert (await quick.ask("/health_check")).status == 200


@pytest.mark.clause("3.2.15")
async def test_idle_connections_are_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP_S", 0.01)
    monkeypatch.setattr(server, "IDLE_S", 0.02)
    async with serve() as tracker, connected(tracker) as client:
        assert (await client.ask("/health_check")).status == 200
        assert await client.rest() == b""


@pytest.mark.clause("3.2.16")
async def test_idle_connections_are_closed_over_tls_too(
    serve: Serve, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SWEEP_S", 0.01)
    monkeypatch.setattr(server, "IDLE_S", 0.02)
    connections = Connections(10)
    async with (
        serve(tls=server_tls, connections=connections) as tracker,
        connected(tracker, tls=client_tls) as client,
    ):
        assert (await client.ask("/health_check")).status == 200
        with contextlib.suppress(ConnectionResetError):
            assert await client.rest() == b""
        assert len(connections) == 0


@pytest.mark.slow
async def test_a_request_that_turns_out_odd_gets_no_more_time(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SWEEP_S", 0.01)
    monkeypatch.setattr(server, "REQUEST_S", 2.0)
    async with serve() as tracker, connected(tracker) as client:
        started = time.monotonic()
        client.writer.write(b"GET /health_check HTTP/1.1\r\nHost: tracker.example\r\n")
        await asyncio.sleep(1.5)
        client.writer.write(b"Content-Length: 5\r\n")
        assert (await client.receive()).status == 408
        assert 1.9 < time.monotonic() - started < 3.0


@pytest.mark.slow
async def test_more_connections_than_allowed_replace_the_longest_idle(serve: Serve) -> None:
    connections = Connections(20)
    async with AsyncExitStack() as stack:
        trackers = [await stack.enter_async_context(serve(connections=connections)) for _ in range(2)]
        clients = []
        for tracker, _ in zip(chain.from_iterable(repeat(trackers)), range(520), strict=False):
            client = await stack.enter_async_context(connected(tracker))
            assert (await client.ask("/health_check")).status == 200
            clients.append(client)
        assert len(connections) == 20
        for client in clients[:500]:
            assert await client.rest() == b""
        for client in clients[500:]:
            assert (await client.ask("/health_check")).status == 200


async def test_when_all_are_busy_the_newest_connection_is_refused(serve: Serve) -> None:
    connections = Connections(2)
    async with (
        serve(connections=connections) as tracker,
        connected(tracker) as first,
        connected(tracker) as second,
    ):
        first.send("/health_check", "Content-Length: 2")
        second.send("/health_check", "Content-Length: 2")
        await until_it_rests(lambda: len(connections))
        async with connected(tracker) as third:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await third.ask("/health_check")
        for client in (first, second):
            client.writer.write(b"ab")
            assert (await client.receive()).status == 200


# --- many connections at once


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether new connections were polled for; they are when many come, however slow the machine."""
    polled = [False]

    class Polling(polling.Polling):
        def note(self, accepted: int, now: float) -> None:
            super().note(accepted, now)
            polled.append(self.interval_us > 0)

        def stop(self) -> None:
            super().stop()
            polled.append(False)

    monkeypatch.setattr(plane_tracker, "Polling", Polling)
    monkeypatch.setattr(polling, "_SLOWEST_S", 30.0)
    monkeypatch.setattr(polling, "_STEADY", 1e9)
    monkeypatch.setattr(polling, "_SLOWER", 100.0)
    return polled


async def come(tracker: HttpService, times: int) -> None:
    """Connections come, a hundred at a time, and all are answered."""
    for _ in range(times):
        answers = await asyncio.gather(*[response_on(knock(tracker)) for _ in range(100)])
        assert {answer.status for answer in answers} == {200}


@pytest.mark.slow
async def test_all_that_connect_at_once_are_answered(serve: Serve, room: Room, polled: list[bool]) -> None:
    async with serve() as tracker, connected(tracker) as stays:
        await come(tracker, 10)
        await stays.ask(ANNOUNCE)
        if room.form == "native":
            assert any(polled)
            for _ in range(1000):  # until it has seen that nobody comes any more
                await asyncio.sleep(0.01)
                if not polled[-1]:
                    break
            assert not polled[-1]
        await come(tracker, 1)
        await stays.ask(ANNOUNCE)
    assert room.counts()[Door.TCP4].announces == 1102


@pytest.mark.slow
async def test_the_stop_while_many_connect(serve: Serve, form: str, polled: list[bool]) -> None:
    async with serve() as tracker:
        await come(tracker, 10)
        address = tracker.address
        assert any(polled) == (form == "native")
        late = [knock(tracker) for _ in range(100)]
    ends = await asyncio.gather(*map(response_on, late), return_exceptions=True)
    assert all(isinstance(end, Answer | ConnectionError) for end in ends)
    with pytest.raises(ConnectionError):
        socket.create_connection(address)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["native"])  # under the portable one, uvloop closes them
async def test_without_files_those_that_connect_are_answered_later(
    serve: Serve, polled: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane_tracker, "ACCEPT_AGAIN_S", 0.2)
    async with serve() as tracker:
        for _ in range(100):
            await come(tracker, 1)
            if polled[-1]:
                break
        assert polled[-1]
        monkeypatch.setattr(polling, "_MEASURED_S", 60.0)  # it would not end by itself
        gc.collect()  # or it frees files while there are to be none
        waiting = [knock(tracker) for _ in range(10)]
        with no_files_left():
            await asyncio.sleep(0.1)
            assert not polled[-1]
        answers = await asyncio.gather(*map(response_on, waiting))
    assert [answer.status for answer in answers] == [200] * 10


@contextlib.contextmanager
def no_files_left() -> Iterator[None]:
    """This process may open no more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the lowest
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# --- the stop


async def test_the_stop_closes_idle_connections_at_once(serve: Serve, form: str) -> None:
    """Also one on which nothing came, unless the kernel has not told of it yet (TCP_DEFER_ACCEPT)."""
    connections = Connections(10)
    async with AsyncExitStack() as stack:
        async with serve(connections=connections) as tracker:
            clients = [await stack.enter_async_context(connected(tracker)) for _ in range(3)]
            for client in clients if form == "native" else clients[:2]:
                await client.ask("/health_check")
            address = tracker.address
            started = time.monotonic()
        assert time.monotonic() - started < server.DRAIN_S
        assert [await client.rest() for client in clients] == [b"", b"", b""]
        assert len(connections) == 0
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*address)


async def test_what_is_being_written_at_the_stop_is_written(serve: Serve, make_room: MakeRoom) -> None:
    room = make_room(max_peers=1000)
    for last in range(1000):
        room.ask(ANNOUNCE, peer=f"198.51.{last // 250}.{last % 250}")
    async with AsyncExitStack() as stack:
        async with serve(room, buffer=4096) as tracker:
            client = await stack.enter_async_context(connected(tracker, buffer=4096))
            client.send(ANNOUNCE.replace("compact=1", "numwant=1000&left=1"))
            await until_it_rests(lambda: room.statistics.door(Door.TCP4).received)
            reading = asyncio.ensure_future(client.receive())
        answer = await reading
    assert len(bencodepy.decode(answer.body)[b"peers"]) == 1000


async def test_the_stop_does_not_wait_for_who_does_not_read(
    serve: Serve, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DRAIN_S", 0.05)
    connections = Connections(10)
    async with AsyncExitStack() as stack:
        async with serve(connections=connections, buffer=4096) as tracker:
            client = await stack.enter_async_context(connected(tracker, buffer=4096))
            for _ in range(20_000):
                client.send("/x", "X-Request-Id: 1")
            await until_it_rests(lambda: room.statistics.door(Door.TCP4).received)
        assert len(connections) == 0


# --- TLS


async def test_tls(serve: Serve, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, room: Room) -> None:
    async with serve(tls=server_tls) as tracker, connected(tracker, tls=client_tls) as client:
        for _ in range(2):
            assert (await client.ask(ANNOUNCE)).status == 200
        client.send(ANNOUNCE, "Connection: close")
        assert taken_apart(await client.rest()).status == 200
    assert room.counts()[Door.TCP4].announces == 3


async def test_tls_pipelined_and_not_read(
    serve: Serve, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    requests = 3000
    async with serve(tls=server_tls) as tracker, connected(tracker, tls=client_tls, buffer=4096) as client:
        for number in range(requests):
            client.send("/x", f"X-Request-Id: {number}")
        ids = [(await client.receive()).fields["x-request-id"] for _ in range(requests)]
    assert ids == [str(number) for number in range(requests)]


async def test_bad_http_over_tls_is_refused(
    serve: Serve, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with serve(tls=server_tls) as tracker, connected(tracker, tls=client_tls) as client:
        client.writer.write(b"garbage\r\n\r\n")
        assert taken_apart(await client.rest()).status == 400


async def test_who_speaks_no_tls_is_not_served(serve: Serve, server_tls: ssl.SSLContext, room: Room) -> None:
    connections = Connections(10)
    async with serve(tls=server_tls, connections=connections) as tracker, connected(tracker) as client:
        client.send("/health_check")
        assert b"HTTP" not in await client.rest()
    assert len(connections) == 0
    assert room.counts() == {}


async def test_the_stop_closes_tls_connections(
    serve: Serve, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    connections = Connections(10)
    async with AsyncExitStack() as stack:
        async with serve(tls=server_tls, connections=connections) as tracker:
            client = await stack.enter_async_context(connected(tracker, tls=client_tls))
            await client.ask("/health_check")
        assert await client.rest() == b""
        assert len(connections) == 0
