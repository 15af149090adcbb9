"""Over real sockets, on asyncio and on uvloop. Clients are connected, so that they get an answer only from
the address that they asked.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.forms import native
from torrust_py.core.statistics import Door, PortableStatistics
from torrust_py.core.swarms import PortableSwarms
from torrust_py.core.tracker import Rules
from torrust_py.core.types import AnnounceEvent, Families, InfoHash, Peer, PeerId, endpoint_of, packed_address
from torrust_py.data_planes import UdpService, open_udp_plane
from torrust_py.udp import PortableConnectionIds, UdpHandler, UdpTracker
from torrust_py.udp.handler import MALFORMED_ANSWERS_PER_SECOND
from torrust_py.udp.packets import (
    AnnounceResponse,
    ConnectResponse,
    ErrorResponse,
    Response,
    ScrapeRequest,
    ScrapeResponse,
    encode_connect_request,
    encode_scrape_request,
    parse_response,
)

INFO_HASH = InfoHash(b"\5" * 20)
NOW_MS = 86_400_000
RULES = Rules(interval=120, interval_min=60)

AnnounceDatagram = Callable[..., bytes]

PLACES = [
    pytest.param("127.0.0.1", "127.0.0.1", Door.UDP4, id="IPv4"),
    pytest.param("::1", "::1", Door.UDP6, id="IPv6"),
    pytest.param("0.0.0.0", "127.0.0.1", Door.UDP4, id="any IPv4"),
    pytest.param("0.0.0.0", "127.0.0.2", Door.UDP4, id="any IPv4, second address"),
    pytest.param("::", "::1", Door.UDP6, id="any"),
    pytest.param("::", "127.0.0.1", Door.UDP4, id="any, asked over IPv4"),
    pytest.param("::", "127.0.0.2", Door.UDP4, id="any, asked over IPv4, second address"),
]


def listener_at(host: str, *, receive_buffer: int = 1 << 18) -> socket.socket:
    """A bound socket; `::` is dual stack."""
    listener = socket.socket(family_of(host), socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
    listener.bind((host, 0))
    return listener


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextmanager
def client_of(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((host, port))
        yield client


async def answer_to(client: socket.socket, datagram: bytes) -> Response:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        await loop.sock_sendall(client, datagram)
        return parse_response(await loop.sock_recv(client, 2048))


async def connect(client: socket.socket) -> bytes:
    response = await answer_to(client, encode_connect_request(b"\0\0\x11\x11"))
    assert isinstance(response, ConnectResponse)
    return response.connection_id


@pytest.fixture
def serve(
    form: str,
    handler: UdpHandler,
    swarms: Any,
    refused: Any,
    whitelist: Any,
    statistics: Any,
    connection_ids: Any,
) -> Callable[..., UdpService]:
    """A tracker at any free port of a host."""

    def portable(host: str, **options: int) -> UdpService:
        return UdpTracker(listener_at(host, **options), handler, now_ms=lambda: NOW_MS)

    def compiled(host: str, **options: int) -> UdpService:
        listener = listener_at(host, **options)
        plane = open_udp_plane(
            listener,
            handler,
            rules=RULES,
            swarms=swarms,
            whitelist=whitelist,
            blacklist=refused,
            statistics=statistics,
            connection_ids=connection_ids,
        )
        tracker: UdpService = native("udp_tracker").NativeUdpTracker(listener, plane, now_ms=lambda: NOW_MS)
        return tracker

    return portable if form == "portable" else compiled


Serve = Callable[..., UdpService]


@pytest.mark.clause("4.6.5")
@pytest.mark.parametrize(("bound", "asked", "door"), PLACES)
async def test_every_request_is_answered_from_the_address_that_was_asked(
    serve: Serve, statistics: PortableStatistics, announce_datagram: AnnounceDatagram,
    bound: str, asked: str, door: Door,
) -> None:  # fmt: skip
    async with serve(bound) as tracker:
        with client_of(asked, tracker.address[1]) as client:
            connection_id = await connect(client)
            announced = await answer_to(client, announce_datagram(connection_id))
            scrape = ScrapeRequest(connection_id, b"\0\0\x33\x33", [INFO_HASH])
            scraped = await answer_to(client, encode_scrape_request(scrape))
            refused = await answer_to(client, b"hello")
    kinds = [type(response) for response in (announced, scraped, refused)]
    assert kinds == [AnnounceResponse, ScrapeResponse, ErrorResponse]
    counts = statistics.door(door)
    assert (counts.received, counts.handled, counts.malformed) == (4, 3, 1)


@pytest.mark.clause("4.6.6")
@pytest.mark.parametrize(("bound", "asked", "door"), PLACES)
async def test_a_client_is_a_peer_of_the_family_that_it_came_over(
    serve: Serve, swarms: PortableSwarms, announce_datagram: AnnounceDatagram,
    bound: str, asked: str, door: Door,
) -> None:  # fmt: skip
    for host in ("203.0.113.5", "2001:db8::5"):
        peer = Peer(endpoint_of(packed_address(host), 6881), PeerId(bytes(20)), 0, 0, 1, AnnounceEvent.NONE)
        swarms.announce(INFO_HASH, peer.endpoint, peer, num_want=0, families=Families.BOTH, now_ms=NOW_MS)
    async with serve(bound) as tracker:
        with client_of(asked, tracker.address[1]) as client:
            response = await answer_to(client, announce_datagram(await connect(client), port=17550))
            own = packed_address(client.getsockname()[0])
    assert isinstance(response, AnnounceResponse)
    expected = "203.0.113.5" if door is Door.UDP4 else "2001:db8::5"
    assert response.peers == endpoint_of(packed_address(expected), 6881)
    endpoints = [one.peer.endpoint for step in swarms.peers(INFO_HASH) for one in step]
    assert endpoint_of(own, 17550) in endpoints


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_id_is_good_for_another_port_and_another_tracker_of_the_process(
    serve: Serve, announce_datagram: AnnounceDatagram, host: str
) -> None:
    async with serve(host) as first, serve(host) as second:
        with client_of(host, first.address[1]) as client:
            connection_id = await connect(client)
        with client_of(host, second.address[1]) as client:
            assert isinstance(await answer_to(client, announce_datagram(connection_id)), AnnounceResponse)


@pytest.mark.clause("4.6.6")
async def test_an_ipv4_client_of_a_dual_stack_tracker_shares_its_id_with_an_ipv4_tracker(
    serve: Serve, announce_datagram: AnnounceDatagram
) -> None:
    async with serve("::") as dual, serve("127.0.0.1") as ipv4:
        with client_of("127.0.0.1", dual.address[1]) as client:
            connection_id = await connect(client)
        with client_of("127.0.0.1", ipv4.address[1]) as client:
            assert isinstance(await answer_to(client, announce_datagram(connection_id)), AnnounceResponse)


@pytest.mark.clause("4.6.1")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_more_datagrams_than_a_turn_takes_are_all_answered(serve: Serve, host: str) -> None:
    loop = asyncio.get_running_loop()
    async with serve(host) as tracker:
        with client_of("127.0.0.1", tracker.address[1]) as client:
            asked = [number.to_bytes(4) for number in range(200)]
            for transaction_id in asked:
                client.send(encode_connect_request(transaction_id))
            async with asyncio.timeout(10):
                answers = [await loop.sock_recv(client, 2048) for _ in asked]
    assert [answer[4:8] for answer in answers] == asked


@pytest.mark.clause("4.6.2")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
async def test_a_client_that_went_away_disturbs_nobody(serve: Serve, host: str) -> None:
    """The kernel learns by ICMP that nobody takes its answers."""
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    async with serve(host) as tracker:
        for _ in range(5):
            with client_of(asked, tracker.address[1]) as gone:
                gone.send(encode_connect_request(bytes(4)))
            with client_of(asked, tracker.address[1]) as client:
                await connect(client)
        assert tracker.unsent == 0


async def test_an_empty_datagram_is_answered(serve: Serve) -> None:
    async with serve("127.0.0.1") as tracker:
        with client_of("127.0.0.1", tracker.address[1]) as client:
            client.send(b"")
            async with asyncio.timeout(10):
                answer = await asyncio.get_running_loop().sock_recv(client, 2048)
    assert parse_response(answer) == ErrorResponse(bytes(4), "bad request: Couldn't parse action")


@pytest.mark.clause("4.1.8", "4.4.1")
@pytest.mark.parametrize(("bound", "asked"), [("127.0.0.1", "127.0.0.1"), ("::", "127.0.0.1"), ("::", "::1")])
async def test_of_a_datagram_that_is_too_long_the_first_1496_bytes_are_read(
    serve: Serve, bound: str, asked: str
) -> None:
    async with serve(bound) as tracker:
        with client_of(asked, tracker.address[1]) as client:
            scrape = ScrapeRequest(await connect(client), b"\0\0\x33\x33", [INFO_HASH] * 80)
            response = await answer_to(client, encode_scrape_request(scrape) + b"a piece of one more")
    assert isinstance(response, ScrapeResponse)
    assert len(response.swarms) == 74


async def test_a_datagram_beyond_1496_bytes_may_end_anywhere(serve: Serve) -> None:
    async with serve("127.0.0.1") as tracker:
        with client_of("127.0.0.1", tracker.address[1]) as client:
            response = await answer_to(client, bytes(9000))
    assert response == ErrorResponse(bytes(4), "bad request: Protocol identifier missing")


def send_from_port_0(port: int) -> None:
    """A connect request to 127.0.0.1 that has no port to be answered at."""
    payload = encode_connect_request(bytes(4))
    header = struct.pack(">HHHH", 0, port, 8 + len(payload), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.sendto(header + payload, ("127.0.0.1", 0))


@pytest.mark.clause("4.6.3")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
async def test_an_answer_that_cannot_be_sent_is_counted(
    serve: Serve, statistics: PortableStatistics, host: str
) -> None:
    async with serve(host) as tracker:
        send_from_port_0(tracker.address[1])
        with client_of("127.0.0.1", tracker.address[1]) as client:
            await connect(client)
        assert (tracker.unsent, statistics.door(Door.UDP4).connects) == (1, 2)


@pytest.mark.clause("4.6.3")
@pytest.mark.parametrize("form", ["portable"])  # which runs whenever requests are logged
@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
async def test_an_answer_that_cannot_be_sent_is_told_of_at_debug(
    serve: Serve, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    caplog.set_level(logging.DEBUG, "UDP TRACKER")
    async with serve(host) as tracker:
        send_from_port_0(tracker.address[1])
        with client_of("127.0.0.1", tracker.address[1]) as client:
            await connect(client)
    told = [record.levelname for record in caplog.records if "failed to send to 127.0.0.1" in record.message]
    assert told == ["DEBUG"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
async def test_what_the_kernel_has_no_room_for_is_counted(serve: Serve, host: str) -> None:
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    tracker = serve(host, receive_buffer=4096)
    with client_of(asked, tracker.address[1]) as client:
        for _ in range(100):
            client.send(encode_connect_request(bytes(4)) + bytes(1000))
        dropped = tracker.kernel_drops
        async with tracker, asyncio.timeout(10):
            answers = [await asyncio.get_running_loop().sock_recv(client, 2048) for _ in range(100 - dropped)]
    assert 0 < dropped < 100
    assert {len(answer) for answer in answers} == {16}


class UnreachableOnce(socket.socket):
    """Reports an earlier datagram's fault with the first that comes."""

    reported = False

    def recvfrom(self, *args: int) -> tuple[bytes, object]:
        if not self.reported:
            self.reported = True
            raise ConnectionRefusedError
        return super().recvfrom(*args)


@pytest.mark.clause("4.6.2")
async def test_a_fault_that_the_kernel_reports_with_the_next_datagram_disturbs_nobody(
    handler: UdpHandler, caplog: pytest.LogCaptureFixture
) -> None:
    listener = UnreachableOnce(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    async with UdpTracker(listener, handler, now_ms=lambda: NOW_MS) as tracker:
        with client_of("127.0.0.1", tracker.address[1]) as client:
            await connect(client)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_what_the_handler_does_not_answer_is_not_answered(
    serve: Serve, handler: UdpHandler, host: str
) -> None:
    client_address = packed_address("127.0.0.1")
    for _ in range(MALFORMED_ANSWERS_PER_SECOND):
        handler.handle(b"", client_address, NOW_MS)
    async with serve(host) as tracker:
        with client_of("127.0.0.1", tracker.address[1]) as client:
            client.send(b"hello")
            assert isinstance(await answer_to(client, encode_connect_request(bytes(4))), ConnectResponse)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_tracker_tells_its_real_address(serve: Serve, host: str) -> None:
    async with serve(host) as tracker:
        address, port = tracker.address
        assert (address, port > 0) == (host, True)


async def test_a_tracker_that_was_left_has_closed_its_socket(handler: UdpHandler) -> None:
    listener = listener_at("127.0.0.1")
    async with UdpTracker(listener, handler, now_ms=lambda: NOW_MS):
        pass
    assert listener.fileno() == -1


async def test_what_waits_in_the_socket_when_the_tracker_starts_is_answered(
    serve: Serve,
) -> None:
    tracker = serve("0.0.0.0")
    with client_of("127.0.0.1", tracker.address[1]) as client:
        client.send(encode_connect_request(b"\0\0\x11\x11"))
        async with tracker, asyncio.timeout(10):
            answer = await asyncio.get_running_loop().sock_recv(client, 2048)
    assert isinstance(parse_response(answer), ConnectResponse)


async def test_the_time_of_the_tracker_s_clock_is_that_of_its_requests(
    serve: Serve, connection_ids: PortableConnectionIds
) -> None:
    async with serve("127.0.0.1") as tracker:
        with client_of("127.0.0.1", tracker.address[1]) as client:
            assert await connect(client) == connection_ids.issue(packed_address("127.0.0.1"), NOW_MS)
