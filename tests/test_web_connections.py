"""Who has to go when there are too many connections to the API or the health check API."""

import asyncio
import gc
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import pytest
from aiohttp import web

from torrust_py import web as web_module
from torrust_py import web_connections
from torrust_py.tls import TlsConnection
from torrust_py.web import Call, application, serve

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
pytestmark = pytest.mark.slow

LOG = logging.getLogger("tests.web")
HEAD_OF_POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
SMALL = 4096  # bytes, of a socket's buffers
LARGE = 60_000  # of an answer: more than they hold, less than what the loop would wait for
HUGE = 1_000_000  # more than that
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> ssl.SSLContext | None:
    return server_tls if request.param else None


class Dial(Protocol):
    """Opens a connection, which stays until the test ends; a silent one without the handshake of TLS."""

    async def __call__(self, address: tuple[str, int], *, silent: bool = False) -> Streams: ...


@pytest.fixture
async def dial(tls: ssl.SSLContext | None, client_tls: ssl.SSLContext) -> AsyncIterator[Dial]:
    opened = []

    async def dial(address: tuple[str, int], *, silent: bool = False) -> Streams:
        client = socket.socket()
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, address)
        encrypts = tls is not None and not silent
        streams = await asyncio.open_connection(
            sock=client,
            ssl=client_tls if encrypts else None,
            server_hostname=address[0] if encrypts else None,
        )
        opened.append(streams)
        return streams

    yield dial
    for _, writer in opened:
        writer.close()


class Service:
    """Answers `/`, at once unless it is told to wait, and `/large`."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    def application(self) -> web.Application:
        routes = {
            "/": {"GET": self._small, "POST": self._small},
            "/large": {"GET": self._large},
            "/huge": {"GET": self._huge},
        }
        return application(routes, log=LOG)

    async def _small(self, _: Call) -> web.Response:
        self.begun.set()
        await self.goes_on.wait()
        return web.Response(text="ok")

    async def _large(self, _: Call) -> web.Response:
        return web.Response(body=bytes(LARGE))

    async def _huge(self, _: Call) -> web.Response:
        return web.Response(body=bytes(HUGE))


@asynccontextmanager
async def served(
    service: Service, most: int, *, tls: ssl.SSLContext | None = None, send_buffer: int = 0
) -> AsyncIterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    async with serve(service.application(), listener, log=LOG, tls=tls, grace=0.2, most_connections=most):
        yield listener.getsockname()


async def is_answered(streams: Streams, request: bytes = REQUEST) -> bool:
    reader, writer = streams
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        body = await reader.readexactly(2)
        return head.startswith(b"HTTP/1.1 200") and body == b"ok"
    return False


async def is_closed(streams: Streams) -> bool:
    """Whether it is, or will be in a moment; nothing else is to come."""
    with suppress(ConnectionError, TimeoutError):
        return await asyncio.wait_for(streams[0].read(1), 0.3) == b""
    return streams[0].exception() is not None


async def test_who_waits_longest_makes_room(tls, dial) -> None:
    async with served(Service(), 3, tls=tls) as address:
        opened = [await dial(address) for _ in range(3)]
        for streams in opened[::-1]:  # the last one waits longest now
            assert await is_answered(streams)
        newcomers = []
        for _ in range(2):
            newcomers.append(await dial(address))
            assert await is_answered(newcomers[-1])
        assert await is_closed(opened[2])
        assert await is_closed(opened[1])
        assert await is_answered(opened[0])
        assert await is_answered(newcomers[0])


async def test_silent_connections_do_not_keep_others_out(tls, dial) -> None:
    async with served(Service(), 3, tls=tls) as address:
        silent = [await dial(address, silent=True) for _ in range(10)]
        await asyncio.sleep(0.1)
        assert [await is_closed(streams) for streams in silent] == [True] * 7 + [False] * 3
        assert await is_answered(await dial(address))


async def test_who_leaves_is_counted_no_more(tls, dial) -> None:
    async with served(Service(), 2, tls=tls) as address:
        stays = await dial(address)
        assert await is_answered(stays)
        for _ in range(5):
            reader, writer = await dial(address)
            assert await is_answered((reader, writer))
            writer.close()
            await asyncio.sleep(0.2)  # the service takes a tenth of a second to be sure
        assert await is_answered(stays)


async def test_who_is_being_answered_stays(tls, dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_connections, "REQUEST_S", 0.1)
    service = Service()
    service.goes_on.clear()
    async with served(service, 1, tls=tls) as address:
        reader, writer = await dial(address)
        writer.write(REQUEST)
        await service.begun.wait()
        await asyncio.sleep(0.2)
        refused = await dial(address, silent=True)
        assert await is_closed(refused)
        service.goes_on.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


@pytest.fixture
def ask_for_more(
    tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> Iterator[Callable[..., Awaitable[socket.socket]]]:
    """Opens a connection on which an answer waits that does not fit into it."""
    opened = []

    def ask(address: tuple[str, int], connection: str, path: str) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.connect(address)
        if tls is not None:
            client = client_tls.wrap_socket(client, server_hostname=address[0])
        opened.append(client)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n".encode())
        return client

    async def ask_for_more(
        address: tuple[str, int], connection: str = "keep-alive", path: str = "/large"
    ) -> socket.socket:
        client = await asyncio.to_thread(ask, address, connection, path)
        await asyncio.sleep(0.2)
        return client

    yield ask_for_more
    for client in opened:
        client.close()


def read_more(client: socket.socket) -> int:
    with client.makefile("rb") as answer:
        while answer.readline() != b"\r\n":
            pass
        return len(answer.read(LARGE))


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_who_has_not_read_its_answer_stays(tls, dial, ask_for_more, connection: str) -> None:
    async with served(Service(), 1, tls=tls, send_buffer=SMALL) as address:
        client = await ask_for_more(address, connection)
        assert await is_closed(await dial(address, silent=True))
        assert await asyncio.to_thread(read_more, client) == LARGE


@pytest.mark.parametrize("path", ["/large", "/huge"])
@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_who_does_not_read_its_answer_makes_room_in_the_end(
    tls, dial, ask_for_more, connection: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_connections, "REQUEST_S", 0.5)
    async with served(Service(), 1, tls=tls, send_buffer=SMALL) as address:
        await ask_for_more(address, connection, path)
        assert await is_closed(await dial(address, silent=True))
        for _ in range(30):  # what the client's kernel takes by itself counts as read
            await asyncio.sleep(0.1)
            with suppress(ConnectionError):
                if await is_answered(await dial(address)):
                    return
        pytest.fail("nobody else is served")


async def test_who_has_not_read_its_answer_when_its_time_is_up_is_ended(
    tls, ask_for_more, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "_KEEPALIVE", 0.3)
    monkeypatch.setattr(web_connections, "STUCK_S", 0.6)
    monkeypatch.setattr(web_connections, "SWEEP_S", 0.1)
    async with served(Service(), 1, tls=tls, send_buffer=SMALL) as address:
        client = await ask_for_more(address)
        await asyncio.sleep(2.5)
        with suppress(OSError):
            assert await asyncio.to_thread(read_more, client) < LARGE


@pytest.mark.parametrize("path", ["/large", "/huge"])
async def test_who_reads_slowly_stays(
    tls, dial, ask_for_more, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_connections, "REQUEST_S", 0.5)
    monkeypatch.setattr(web_connections, "STUCK_S", 0.5)
    monkeypatch.setattr(web_connections, "SWEEP_S", 0.1)

    def read(client: socket.socket, count: int) -> int:
        received = 0
        while received < count and (piece := client.recv(count - received)):
            received += len(piece)
        return received

    async with served(Service(), 1, tls=tls, send_buffer=SMALL) as address:
        client = await ask_for_more(address, path=path)
        for _ in range(10):
            await asyncio.sleep(0.15)
            assert await asyncio.to_thread(read, client, 5_000) == 5_000
            if path == "/huge":  # else it could all be on its way already
                assert await is_closed(await dial(address, silent=True))


async def test_whose_request_comes_together_with_a_newcomer_is_answered(
    tls, dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_connections, "REQUEST_S", 0.1)
    async with served(Service(), 1, tls=tls) as address:
        for _ in range(5):
            reader, writer = await dial(address)
            writer.write(REQUEST[:-2])
            await asyncio.sleep(0.15)
            with socket.socket() as newcomer:
                newcomer.setblocking(False)
                with suppress(BlockingIOError):
                    newcomer.connect(address)
                writer.write(REQUEST[-2:])
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                writer.close()
                await asyncio.sleep(0.2)


async def test_who_begins_after_a_late_body_has_its_time(tls, dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_connections, "REQUEST_S", 0.3)
    async with served(Service(), 1, tls=tls) as address:
        reader, writer = await dial(address)
        assert await is_answered((reader, writer), HEAD_OF_POST)
        writer.write(b"body")
        await asyncio.sleep(0.4)
        writer.write(REQUEST[:10])
        await asyncio.sleep(0.1)
        assert await is_closed(await dial(address, silent=True))
        assert await is_answered((reader, writer), REQUEST[10:])


async def test_who_shows_no_sign_of_life_is_ended(
    tls, dial, ask_for_more, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_connections, "STUCK_S", 0.5)
    monkeypatch.setattr(web_connections, "SWEEP_S", 0.1)
    service = Service()
    async with served(service, 10, tls=tls, send_buffer=SMALL) as address:
        stuck = [await ask_for_more(address, connection) for connection in ("keep-alive", "close")]
        begun, waits, works = await dial(address), await dial(address), await dial(address)
        begun[1].write(b"GET / HTTP/1.1\r\n")
        assert await is_answered(waits)
        service.goes_on.clear()
        works[1].write(REQUEST)
        await asyncio.sleep(2)
        assert await is_closed(begun)
        service.goes_on.set()
        assert (await works[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await is_answered(waits)
        for client in stuck:
            with suppress(OSError):
                assert await asyncio.to_thread(read_more, client) < LARGE


async def test_nobody_is_left_after_the_end(tls, dial, ask_for_more) -> None:
    async with served(Service(), 10, tls=tls, send_buffer=SMALL) as address:
        unread = [await ask_for_more(address, connection) for connection in ("keep-alive", "close")]
        waits = await dial(address)
        assert await is_answered(waits)
    assert await is_closed(waits)
    for client in unread:
        with suppress(OSError):
            assert await asyncio.to_thread(read_more, client) < LARGE


async def test_many_that_have_to_stay_do_not_hide_one_that_may_go(tls, dial) -> None:
    service = Service()
    async with served(service, 81, tls=tls) as address:
        busy = [await dial(address) for _ in range(80)]
        for _, writer in busy:
            writer.write(b"G")
        assert await is_answered(await dial(address))
        await asyncio.sleep(0.1)
        for _ in range(3):
            assert await is_answered(await dial(address))


async def test_whose_body_is_read_for_its_answers_sake_makes_room(tls, dial) -> None:
    async with served(Service(), 80, tls=tls) as address:
        lingering = [await dial(address) for _ in range(80)]
        for streams in lingering:
            assert await is_answered(streams, HEAD_OF_POST)
        assert await is_answered(await dial(address))


async def test_the_log_tells_once_of_those_that_were_refused(
    tls, dial, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    service.goes_on.clear()
    async with served(service, 1, tls=tls) as address:
        _, writer = await dial(address)
        writer.write(REQUEST)
        await service.begun.wait()
        for _ in range(3):
            assert await is_closed(await dial(address, silent=True))
        service.goes_on.set()
    told = [record.getMessage() for record in caplog.records if record.name == LOG.name]
    assert told == ["All of 1 connections are in use: new ones were refused (1 since the start)"]


async def test_whose_next_request_waits_behind_another_stays(tls, dial) -> None:
    async with served(Service(), 1, tls=tls) as address:
        reader, writer = await dial(address)
        writer.write(100 * REQUEST)
        for number in range(100):
            await dial(address, silent=True)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"), number
            assert await reader.readexactly(2) == b"ok"


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost"])
async def test_who_does_not_go_on_with_its_request_makes_room_in_the_end(
    tls, dial, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_connections, "REQUEST_S", 0.5)
    async with served(Service(), 1, tls=tls) as address:
        reader, writer = await dial(address)
        writer.write(begun)
        await asyncio.sleep(0.1)
        assert await is_closed(await dial(address, silent=True))  # it may still go on
        await asyncio.sleep(0.5)
        assert await is_answered(await dial(address))
        assert await is_closed((reader, writer))


async def test_a_slow_request_is_answered_where_there_is_room(tls, dial) -> None:
    async with served(Service(), 2, tls=tls) as address:
        reader, writer = await dial(address)
        for at in range(0, len(REQUEST), 9):
            writer.write(REQUEST[at : at + 9])
            await asyncio.sleep(0.05)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_body_that_comes_after_the_answer_does_not_end_the_connection(tls, dial) -> None:
    async with served(Service(), 2, tls=tls) as address:
        reader, writer = await dial(address)
        assert await is_answered((reader, writer), HEAD_OF_POST)
        writer.write(b"body")
        await asyncio.sleep(0.1)
        assert await is_answered((reader, writer))


@pytest.mark.parametrize("tls", [True], indirect=True, ids=["TLS"])
async def test_a_handshake_that_stalls_is_ended(tls, dial, monkeypatch) -> None:
    monkeypatch.setattr(web_module, "_HANDSHAKE_TIMEOUT", 0.3)
    async with served(Service(), 5, tls=tls) as address:
        silent = await dial(address, silent=True)
        talks = await dial(address)
        await asyncio.sleep(0.4)
        assert await is_closed(silent)
        assert await is_answered(talks)


@pytest.mark.parametrize("tls", [True], indirect=True, ids=["TLS"])
async def test_nothing_stays_of_handshakes_that_were_given_up(tls, dial) -> None:
    async with served(Service(), 100, tls=tls) as address:
        for _ in range(50):
            _, writer = await dial(address, silent=True)
            writer.close()
        await asyncio.sleep(0.2)
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, TlsConnection)]
