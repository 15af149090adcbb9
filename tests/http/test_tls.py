"""TLS at real sockets, on asyncio in debug mode and on uvloop."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.http.conftest import Answer, Room, taken_apart
from torrust_py.certificates import open_tls
from torrust_py.http import Connections, HttpTracker, server
from torrust_py.http.server import BODY_SIZE

HEALTH_CHECK = b"GET /health_check HTTP/1.1\r\nHost: tracker.example\r\n\r\n"
ALERT, DATA = b"\x15", b"\x17"  # how a record begins
MUCH = 1 << 20

Result = TypeVar("Result")
Serve = Callable[..., AbstractAsyncContextManager[HttpTracker]]


@pytest.fixture
def serve(room: Room, certificate: tuple[Path, Path]) -> Serve:
    """Starts a tracker that speaks TLS as the daemon does."""

    def start(connections: Connections | None = None) -> HttpTracker:
        return HttpTracker(
            socket.create_server(("127.0.0.1", 0)),
            room.handler,
            Connections(100) if connections is None else connections,
            now_ms=lambda: time.monotonic_ns() // 1_000_000,
            tls=open_tls(str(certificate[0]), str(certificate[1]), service="the HTTP tracker"),
        )

    return start


class Client:
    """One connection to a tracker; the test decides which bytes are sent when."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, session: ssl.SSLSession | None) -> None:
        self._socket = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname="127.0.0.1", session=session
        )

    def hello(self) -> bytes:
        """The first message of the handshake, for the test to send."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def receive(self) -> bytes:
        """Bytes as they come over TCP; none when the tracker has closed the connection."""
        try:
            async with asyncio.timeout(10):
                return await asyncio.get_running_loop().sock_recv(self._socket, MUCH)
        except ConnectionResetError:
            return b""

    async def rest(self) -> bytes:
        """Bytes as they come until the tracker closes the connection."""
        received = b""
        while data := await self.receive():
            received += data
        return received

    async def finish(self, step: Callable[[], Result], *, piece: int = MUCH) -> Result:
        """Take a step of TLS: send what it has to send, `piece` bytes at once, and receive what it needs."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self.flush(piece=piece)
                if data := await self.receive():
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                await self.flush(piece=piece)
                return result

    async def flush(self, *, piece: int = MUCH) -> None:
        while data := self._outgoing.read(piece):
            await self.send(data)
            await asyncio.sleep(0)  # the tracker's turn

    async def read(self) -> bytes:
        """The data of a record; none at the goodbye."""
        return await self.finish(lambda: self.tls.read(MUCH))

    async def ask(self, request: bytes = HEALTH_CHECK, *, piece: int = MUCH) -> Answer:
        """The handshake, unless it is over, a request, and its answer, which one record holds."""
        await self.finish(self.tls.do_handshake, piece=piece)
        self.tls.write(request)
        await self.flush(piece=piece)
        return taken_apart(await self.read())


@asynccontextmanager
async def connected(
    tracker: HttpTracker, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> AsyncIterator[Client]:
    with socket.socket() as plain:
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, tracker.address)
        yield Client(plain, context, session)


async def resume(
    tracker: HttpTracker, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[bool, ssl.SSLSession | None]:
    """Ask over a new connection: whether it resumed `session`, and the session for the next one."""
    async with connected(tracker, context, session) as client:
        assert (await client.ask()).status == 200
        return bool(client.tls.session_reused), client.tls.session


@pytest.fixture(params=["1.3", "1.2", "1.2 without tickets"])
def context(request: pytest.FixtureRequest, client_tls: ssl.SSLContext) -> ssl.SSLContext:
    """A client's, of each version; without tickets a session is known by an id, and the tracker keeps it."""
    version = ssl.TLSVersion.TLSv1_3 if request.param == "1.3" else ssl.TLSVersion.TLSv1_2
    client_tls.minimum_version = client_tls.maximum_version = version
    if "without" in request.param:
        client_tls.options |= ssl.OP_NO_TICKET
    return client_tls


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # nothing tells the test of it
        await asyncio.sleep(0)


# --- sessions


async def test_each_connection_resumes_the_session_of_the_last(serve: Serve, context: ssl.SSLContext) -> None:
    async with serve() as tracker:
        resumed, session = await resume(tracker, context, None)
        assert not resumed
        for _ in range(3):
            resumed, session = await resume(tracker, context, session)
            assert resumed


async def test_many_connections_at_once_resume_one_session(serve: Serve, context: ssl.SSLContext) -> None:
    async with serve() as tracker:
        _, session = await resume(tracker, context, None)
        many = await asyncio.gather(*(resume(tracker, context, session) for _ in range(5)))
    assert [resumed for resumed, _ in many] == [True] * 5


async def test_who_shows_the_session_of_another_tracker_gets_a_new_one(
    serve: Serve, context: ssl.SSLContext
) -> None:
    async with serve() as tracker, serve() as other:
        _, foreign = await resume(other, context, None)
        resumed, session = await resume(tracker, context, foreign)
        assert not resumed
        resumed, _ = await resume(tracker, context, session)
        assert resumed


# --- handshakes


async def test_a_handshake_and_a_request_may_come_byte_by_byte(serve: Serve, context: ssl.SSLContext) -> None:
    async with serve() as tracker, connected(tracker, context) as client:
        for _ in range(2):
            assert (await client.ask(piece=1)).body == b'{"status":"Ok"}'


@pytest.mark.parametrize("sent", [0, 100], ids=["nothing", "half a hello"])
async def test_handshakes_count_and_the_newest_connection_is_refused(
    sent: int, serve: Serve, client_tls: ssl.SSLContext
) -> None:
    connections = Connections(3)
    async with serve(connections) as tracker, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(tracker, client_tls)) for _ in range(10)]
        hellos = [client.hello() for client in clients]
        for client, hello in zip(clients[:3], hellos, strict=False):
            await client.send(hello[:sent])
        assert [await client.rest() for client in clients[3:]] == [b""] * 7
        assert (len(connections), connections.refused) == (3, 7)
        for client, hello in zip(clients[:3], hellos, strict=False):
            await client.send(hello[sent:])
            assert (await client.ask()).status == 200


async def test_who_leaves_in_the_handshake_makes_room(serve: Serve, client_tls: ssl.SSLContext) -> None:
    connections = Connections(1)
    async with serve(connections) as tracker:
        for _ in range(3):
            async with connected(tracker, client_tls) as client:
                await client.send(client.hello())
                assert await client.receive() != b""
            await until(lambda: len(connections) == 0)
        async with connected(tracker, client_tls) as client:
            assert (await client.ask()).status == 200


@pytest.mark.parametrize("sent", [0, 100, MUCH], ids=["nothing", "half a hello", "a hello"])
async def test_a_handshake_that_stalls_is_ended(
    sent: int, serve: Serve, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SWEEP_S", 0.01)
    monkeypatch.setattr(server, "REQUEST_S", 0.02)
    connections = Connections(10)
    async with serve(connections) as tracker, connected(tracker, client_tls) as client:
        await client.send(client.hello()[:sent])
        await client.rest()
        assert len(connections) == 0


async def test_who_shakes_hands_and_asks_nothing_is_told_goodbye(
    serve: Serve, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SWEEP_S", 0.01)
    monkeypatch.setattr(server, "REQUEST_S", 0.1)
    async with serve() as tracker, connected(tracker, context) as client:
        await client.finish(client.tls.do_handshake)
        assert await client.read() == b""


async def test_the_stop_ends_handshakes(serve: Serve, client_tls: ssl.SSLContext) -> None:
    connections = Connections(10)
    async with AsyncExitStack() as stack:
        async with serve(connections) as tracker:
            clients = [await stack.enter_async_context(connected(tracker, client_tls)) for _ in range(2)]
            await clients[0].send(clients[0].hello()[:100])
            await until(lambda: len(connections) == 2)
        assert [await client.rest() for client in clients] == [b"", b""]


async def test_what_is_no_handshake_is_answered_with_an_alert(
    serve: Serve, client_tls: ssl.SSLContext
) -> None:
    connections = Connections(10)
    async with serve(connections) as tracker, connected(tracker, client_tls) as client:
        await client.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")  # a hello without a version
        assert (await client.receive())[:1] == ALERT
        assert len(connections) == 0


# --- ends


async def test_what_came_before_a_goodbye_is_answered(serve: Serve, context: ssl.SSLContext) -> None:
    async with serve() as tracker, connected(tracker, context) as client:
        await client.finish(client.tls.do_handshake)
        client.tls.write(HEALTH_CHECK)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        await client.flush()
        assert taken_apart(await client.read()).body == b'{"status":"Ok"}'
        with pytest.raises(ssl.SSLZeroReturnError):  # the tracker's goodbye
            await client.read()


async def test_who_goes_on_sending_still_gets_the_refusal(serve: Serve, context: ssl.SSLContext) -> None:
    async with serve() as tracker, connected(tracker, context) as client:
        await client.finish(client.tls.do_handshake)
        client.tls.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_SIZE + 1))
        for _ in range(100):
            client.tls.write(b"a" * 10_000)
        await client.flush(piece=100_000)
        answer = taken_apart(await client.read())
        assert (answer.status, answer.fields["connection"]) == (413, "close")
        assert await client.read() == b""


async def test_a_broken_record_ends_the_connection(serve: Serve, context: ssl.SSLContext) -> None:
    connections = Connections(10)
    async with serve(connections) as tracker, connected(tracker, context) as client:
        assert (await client.ask()).status == 200
        await client.send(DATA + b"\x03\x03\x00\x20" + b"a" * 32)
        assert (await client.rest())[:1] in (ALERT, DATA)  # of TLS 1.3 an alert looks like data
        assert len(connections) == 0
