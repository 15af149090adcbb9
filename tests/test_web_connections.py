"""Who has to go when there are too many connections to the API or the health check API."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import pytest
from aiohttp import web

from torrust_py import web as web_module
from torrust_py import web_connections
from torrust_py.web import Call, application, serve

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SMALL = 4096  # bytes, of a socket's buffers
LARGE = 60_000  # of an answer: more than they hold, less than what the loop would wait for
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
        routes = {"/": {"GET": self._small, "POST": self._small}, "/large": {"GET": self._large}}
        return application(routes, log=logging.getLogger("tests.web"))

    async def _small(self, _: Call) -> web.Response:
        self.begun.set()
        await self.goes_on.wait()
        return web.Response(text="ok")

    async def _large(self, _: Call) -> web.Response:
        return web.Response(body=bytes(LARGE))


@asynccontextmanager
async def served(
    service: Service, most: int, *, tls: ssl.SSLContext | None = None, send_buffer: int = 0
) -> AsyncIterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    async with serve(service.application(), listener, tls=tls, grace=0.2, most_connections=most):
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


async def test_who_has_not_read_its_answer_stays(tls, dial, client_tls: ssl.SSLContext) -> None:
    def ask(address: tuple[str, int]) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.connect(address)
        if tls is not None:
            client = client_tls.wrap_socket(client, server_hostname=address[0])
        client.sendall(REQUEST.replace(b" / ", b" /large "))
        return client

    def read(client: socket.socket) -> int:
        with client, client.makefile("rb") as answer:
            while answer.readline() != b"\r\n":
                pass
            return len(answer.read(LARGE))

    async with served(Service(), 1, tls=tls, send_buffer=SMALL) as address:
        client = await asyncio.to_thread(ask, address)
        await asyncio.sleep(0.2)
        assert await is_closed(await dial(address, silent=True))
        assert await asyncio.to_thread(read, client) == LARGE


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
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(2) == b"ok"
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
