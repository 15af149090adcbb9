"""Connections byte by byte and second by second, over a transport and a clock that the test holds."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from httptools import HttpParserCallbackError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.conftest import Answer, Room, taken_apart
from torrust_py.core.statistics import Door
from torrust_py.http import Connections
from torrust_py.http.server import BODY_SIZE, HEAD_SIZE, IDLE_S, REQUEST_S, HttpConnection, OpenConnections

REQUEST = b"GET /x HTTP/1.1\r\nX-Request-Id: first\r\n\r\n"
OTHER = b"GET /health_check HTTP/1.1\r\nX-Request-Id: second\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"
CHUNKED = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"POST /x HTTP/1.1\r\nContent-Length: 70000\r\n\r\n"


class Transport:
    """Takes what is written, and tells the protocol to stop when its client has more than `room` unread."""

    def __init__(self, *, room: int = 1 << 30, tls: bool = False) -> None:
        self.sent = b""
        self.is_closed = False
        self.is_aborted = False
        self.is_half_closed = False
        self.is_reading = True
        self._room = room
        self._is_full = False
        self._tls = tls
        self._protocol: HttpConnection | None = None

    def serve(self, protocol: HttpConnection) -> None:
        self._protocol = protocol
        protocol.connection_made(self)  # type: ignore[arg-type]  # as uvloop's, it is one by its methods

    def get_extra_info(self, name: str) -> tuple[str, int]:
        assert name == "peername"
        return ("192.0.2.1", 12345)

    def write(self, data: bytes) -> None:
        assert not self.is_half_closed
        assert not self.is_closed
        self.sent += data
        if len(self.sent) > self._room and not self._is_full:
            assert self._protocol is not None
            self._is_full = True
            self._protocol.pause_writing()

    def take(self) -> bytes:
        """Read everything, as the client."""
        sent, self.sent = self.sent, b""
        if self._is_full:
            assert self._protocol is not None
            self._is_full = False
            self._protocol.resume_writing()
        return sent

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def can_write_eof(self) -> bool:
        return not self._tls

    def write_eof(self) -> None:
        self.is_half_closed = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Clients:
    """Opens connections to a tracker; `now` is what its clock says."""

    def __init__(self, room: Room, limit: int) -> None:
        self.now = 0.0
        self.connections = Connections(limit, clock=lambda: self.now)
        self._handler = room.handler
        self._tracker = OpenConnections(self.connections)

    def open(self, transport: Transport | None = None) -> tuple[HttpConnection, Transport]:
        transport = transport or Transport()
        connection = HttpConnection(self._tracker, self._handler, self.connections, now_ms=lambda: 10**9)
        transport.serve(connection)
        return connection, transport

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.connections.sweep()


@pytest.fixture
async def clients(room: Room) -> Any:  # an async iterator of Clients, as pytest has it
    return Clients(room, limit=3)


def answers(sent: bytes) -> Iterator[Answer]:
    while sent:
        head, _, rest = sent.partition(b"\r\n\r\n")
        length = taken_apart(head + b"\r\n\r\n").fields.get("content-length", "0")
        end = len(sent) - len(rest) + int(length)
        yield taken_apart(sent[:end])
        sent = sent[end:]


def statuses(transport: Transport) -> list[int]:
    return [answer.status for answer in answers(transport.take())]


def request_ids(transport: Transport) -> list[str]:
    return [answer.fields["x-request-id"] for answer in answers(transport.take())]


def request_of(size: int) -> bytes:
    """A request whose head has exactly so many bytes."""
    start, end = b"GET /x?", b" HTTP/1.1\r\nHost: tracker.example\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


# --- reading


async def test_requests_cut_at_any_byte_are_read(clients: Clients) -> None:
    both = REQUEST + OTHER
    for cut in range(1, len(both)):
        connection, transport = clients.open()
        connection.data_received(both[:cut])
        connection.data_received(both[cut:])
        assert request_ids(transport) == ["first", "second"], cut
        connection.connection_lost(None)


async def test_requests_that_come_byte_by_byte_are_read(clients: Clients) -> None:
    connection, transport = clients.open()
    for byte in REQUEST + OTHER:
        connection.data_received(bytes([byte]))
    assert request_ids(transport) == ["first", "second"]


async def test_a_blank_line_between_requests_is_skipped(clients: Clients) -> None:
    connection, transport = clients.open()
    connection.data_received(b"\r\n" + REQUEST + b"\r\n" + OTHER)
    assert request_ids(transport) == ["first", "second"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x00\xa5",
        b"GET\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_http_ends_the_connection(garbage: bytes, clients: Clients, room: Room) -> None:
    connection, transport = clients.open()
    connection.data_received(REQUEST + garbage)
    connection.data_received(OTHER)
    first, refusal = answers(transport.take())
    assert first.fields["x-request-id"] == "first"
    assert (refusal.status, refusal.body) == (400, b"")
    assert refusal.fields["connection"] == "close"
    assert transport.is_half_closed
    assert room.counts()[Door.TCP4].malformed == 1


async def test_a_bug_is_not_taken_for_bad_http(
    clients: Clients, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise RuntimeError("a bug")

    monkeypatch.setattr(room.handler, "handle", fail)
    connection, transport = clients.open()
    with pytest.raises(HttpParserCallbackError) as raised:
        connection.data_received(REQUEST)
    assert isinstance(raised.value.__context__, RuntimeError)
    assert transport.sent == b""


async def test_over_tls_what_is_no_http_closes_the_connection(clients: Clients) -> None:
    connection, transport = clients.open(Transport(tls=True))
    connection.data_received(b"x\r\n")
    assert statuses(transport) == [400]
    assert transport.is_closed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(
    st.lists(
        st.binary(max_size=50)
        | st.sampled_from(
            [REQUEST, OTHER, CHUNKED, LARGE, b"GET ", b"\r\n", b"0\r\n\r\n", b"Expect: 100-continue"]
        ),
        max_size=8,
    )
)
async def test_any_bytes_are_requests_or_refused(clients: Clients, room: Room, pieces: list[bytes]) -> None:
    connection, transport = clients.open()
    for piece in pieces:
        connection.data_received(piece)
    connection.eof_received()
    connection.connection_lost(None)
    assert all(answer.status in (100, 200, 400, 404, 405, 413) for answer in answers(transport.take()))
    room.counts()
    assert len(clients.connections) == 0


# --- sizes


@pytest.mark.parametrize(("size", "status"), [(HEAD_SIZE, 404), (HEAD_SIZE + 1, 431), (40 * HEAD_SIZE, 431)])
@pytest.mark.parametrize("part", [1 << 20, 1000])
async def test_the_head_of_a_request_has_a_limit(size: int, status: int, part: int, clients: Clients) -> None:
    request = request_of(size)
    connection, transport = clients.open()
    for at in range(0, len(request), part):
        connection.data_received(request[at : at + part])
    assert statuses(transport) == [status]


@pytest.mark.parametrize(
    "start", [b"GET /" + b"a" * HEAD_SIZE, b"GET / HTTP/1.1\r\nA: " + b"a" * HEAD_SIZE, b"GET / HTTP/1.1\r\n"]
)
async def test_a_head_that_does_not_end_is_refused(start: bytes, clients: Clients, room: Room) -> None:
    connection, transport = clients.open()
    connection.data_received(start)
    for _ in range(HEAD_SIZE // 8):
        connection.data_received(b"a: bcdef\r\n" if start.endswith(b"\n") else b"a" * 8)
    assert statuses(transport) == [431]
    assert transport.is_half_closed
    assert room.counts()[Door.TCP4].malformed == 1


async def test_many_pipelined_requests_are_not_one_large_head(clients: Clients) -> None:
    connection, transport = clients.open()
    pipelined = REQUEST * 5000
    connection.data_received(pipelined[:-5])
    connection.data_received(pipelined[-5:])
    answered = await all_turns(transport)
    assert answered == [404] * 5000


async def test_who_sends_many_requests_at_once_does_not_hold_up_the_others(clients: Clients) -> None:
    connection, transport = clients.open()
    connection.data_received(REQUEST * 1000)
    assert 1 <= len(statuses(transport)) <= 1024 // len(REQUEST) + 1
    assert not transport.is_reading
    await all_turns(transport)
    assert transport.is_reading


async def all_turns(transport: Transport) -> list[int]:
    """What is answered while the loop turns, until it has turned ten times for nothing."""
    answered: list[int] = []
    idle_turns = 0
    while idle_turns < 10:
        await asyncio.sleep(0)
        here = statuses(transport)
        answered += here
        idle_turns = 0 if here else idle_turns + 1
    return answered


def body_of(size: int) -> bytes:
    return b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size


def chunks_of(size: int, chunk: int) -> bytes:
    whole, rest = divmod(size, chunk)
    parts = [chunk] * whole + [rest] * (rest > 0)
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (part, b"a" * part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (body_of(0), [404, 404]),
        (body_of(BODY_SIZE), [404, 404]),
        (body_of(BODY_SIZE + 1), [413]),
        (body_of(3 * BODY_SIZE), [413]),
        (chunks_of(BODY_SIZE, 1000), [404, 404]),
        (chunks_of(BODY_SIZE + 1, 1000), [413]),
        (CHUNKED + b"1;" + b"a" * 3 * BODY_SIZE, [413]),
        (CHUNKED + b"0\r\na: " + b"a" * 3 * BODY_SIZE, [413]),
    ],
    ids=["none", "all", "more", "much more", "all in chunks", "more in chunks", "extension", "trailer"],
)
@pytest.mark.parametrize("part", [1 << 20, 999])
async def test_a_body_is_dropped_up_to_a_limit(
    request_: bytes, expected: list[int], part: int, clients: Clients
) -> None:
    connection, transport = clients.open()
    both = request_ + REQUEST
    for at in range(0, len(both), part):
        connection.data_received(both[at : at + part])
    assert statuses(transport) == expected


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
@pytest.mark.parametrize(
    "length", [b"65537", b"  065537\t", b"%d" % (2**64 - 1), b"0" * 5000 + b"1" + b"0" * 5]
)
async def test_a_body_that_is_declared_too_large_is_refused_before_it_comes(
    length: bytes, expect: bytes, clients: Clients, room: Room
) -> None:
    connection, transport = clients.open()
    connection.data_received(b"POST /x HTTP/1.1\r\nContent-Length: %b\r\n%b\r\n" % (length, expect))
    assert statuses(transport) == [413]
    assert transport.is_half_closed
    connection.data_received(b"a" * 70_000 + REQUEST)
    assert transport.sent == b""
    assert room.counts()[Door.TCP4].malformed == 1


@pytest.mark.parametrize("length", [b"0" * 5000 + b"3", b"3 \t"])
async def test_the_length_of_a_body_may_have_zeros_and_space_around_it(
    length: bytes, clients: Clients
) -> None:
    connection, transport = clients.open()
    connection.data_received(b"POST /x HTTP/1.1\r\nContent-Length: %b\r\n\r\nabc" % length + REQUEST)
    await asyncio.sleep(0)  # the second request waits for its turn
    assert statuses(transport) == [404, 404]


async def test_fields_of_a_trailer_mean_nothing(clients: Clients) -> None:
    connection, transport = clients.open()
    connection.data_received(CHUNKED + b"0\r\nX-Request-Id: trailer\r\n\r\n")
    assert request_ids(transport) != ["trailer"]


async def test_the_first_request_id_is_echoed_without_the_space_around_it(clients: Clients) -> None:
    connection, transport = clients.open()
    connection.data_received(b"GET /x HTTP/1.1\r\nx-request-ID:  a b \t\r\nX-Request-Id: c\r\n\r\n")
    assert request_ids(transport) == ["a b"]


# --- which connections stay


@pytest.mark.parametrize(
    ("head", "connection_field", "stays"),
    [
        ("GET /x HTTP/1.1\r\n", None, True),
        ("GET /x HTTP/1.1\r\nConnection: keep-alive\r\n", None, True),
        ("GET /x HTTP/1.1\r\nConnection: close\r\n", "close", False),
        ("GET /x HTTP/1.0\r\n", "close", False),
        ("GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n", "keep-alive", True),
        ("GET /x HTTP/1.0\r\nConnection: Close, keep-alive\r\n", "close", False),
        ("GET /x HTTP/1.0\r\nConnection: keep-alive\r\nConnection: x,\tclose\r\n", "close", False),
        ("GET /x HTTP/1.0\r\nConnection: keep-alive, x-close\r\n", "keep-alive", True),
        ("GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", "close", False),
        ("POST /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n", "close", False),
        ("CONNECT tracker.example:80 HTTP/1.1\r\n", "close", False),
    ],
)
async def test_which_connections_stay(
    head: str, connection_field: str | None, stays: bool, clients: Clients
) -> None:
    connection, transport = clients.open()
    connection.data_received(f"{head}\r\n".encode() + (b"" if stays else b"ab"))
    connection.data_received(OTHER)
    first, *others = answers(transport.take())
    assert first.status == 404
    assert first.fields.get("connection") == connection_field
    assert len(others) == stays
    assert transport.is_closed is not stays


@pytest.mark.parametrize("ending", [b"abc", b""], ids=["body follows", "no body yet"])
async def test_who_expects_to_be_told_to_continue_is(ending: bytes, clients: Clients) -> None:
    connection, transport = clients.open()
    head = b"POST /announce HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n"
    connection.data_received(head + ending)
    if not ending:
        assert transport.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.data_received(b"abc")
    assert statuses(transport) == [405]


async def test_http_1_0_knows_no_continue(clients: Clients) -> None:
    connection, transport = clients.open()
    connection.data_received(b"POST /announce HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert transport.take() == b""
    connection.data_received(b"abc")
    assert statuses(transport) == [405]


async def test_who_sends_its_last_request_and_half_closes_is_answered(clients: Clients) -> None:
    connection, transport = clients.open()
    connection.data_received(REQUEST)
    assert not connection.eof_received()  # the transport then closes when all is sent
    assert statuses(transport) == [404]


async def test_who_half_closes_within_a_request_is_told(clients: Clients, room: Room) -> None:
    connection, transport = clients.open()
    connection.data_received(REQUEST[:-1])
    assert not connection.eof_received()
    assert statuses(transport) == [400]
    assert room.counts()[Door.TCP4].malformed == 1


# --- clients that do not read


async def test_a_client_that_does_not_read_is_not_answered(clients: Clients) -> None:
    connection, transport = clients.open(Transport(room=1000))
    pipelined = b"".join(b"GET /x HTTP/1.1\r\nX-Request-Id: %d\r\n\r\n" % number for number in range(2000))
    connection.data_received(pipelined[:70_000])
    connection.data_received(pipelined[70_000:])  # was read before the transport paused
    assert not transport.is_reading
    assert len(transport.sent) < 1500
    told = []
    while transport.sent:
        assert len(transport.sent) < 1500
        told += request_ids(transport)
    assert transport.is_reading
    assert told == [str(number) for number in range(2000)]


async def test_a_client_that_does_not_read_is_refused_in_its_turn(clients: Clients) -> None:
    connection, transport = clients.open(Transport(room=10))
    connection.data_received(REQUEST + REQUEST + b"garbage\r\n\r\n" + REQUEST)
    assert statuses(transport) == [404]
    assert statuses(transport) == [404]
    assert statuses(transport) == [400]
    assert transport.is_half_closed


async def test_a_client_that_does_not_read_loses_its_connection(clients: Clients) -> None:
    connection, transport = clients.open(Transport(room=10))
    clients.pass_time(5)
    connection.data_received(REQUEST)
    clients.pass_time(REQUEST_S - 1)
    assert not transport.is_closed
    clients.pass_time(1)
    assert transport.is_aborted


async def test_a_client_that_reads_again_has_the_time_between_requests(clients: Clients) -> None:
    connection, transport = clients.open(Transport(room=10))
    connection.data_received(REQUEST)
    transport.take()
    clients.pass_time(IDLE_S - 1)
    assert not transport.is_closed


async def test_a_request_that_had_begun_when_a_client_reads_again_has_its_own_time(clients: Clients) -> None:
    connection, transport = clients.open(Transport(room=100))
    connection.data_received(REQUEST + REQUEST + b"G")
    await all_turns(transport)
    clients.pass_time(REQUEST_S + 1)
    assert statuses(transport) == [408]


async def test_only_some_are_closed_before_the_loop_turns(room: Room) -> None:
    clients = Clients(room, limit=1000)
    transports = [clients.open()[1] for _ in range(130)]
    clients.now += REQUEST_S + 1
    left = [len(transports) - sum(transport.is_closed for transport in transports)]
    while clients.connections.sweep():
        left.append(len(transports) - sum(transport.is_closed for transport in transports))
    assert left == [130, 80, 30]
    assert all(transport.is_closed for transport in transports)


async def test_a_client_that_does_not_take_its_last_response_loses_its_connection(clients: Clients) -> None:
    connection, transport = clients.open()
    clients.pass_time(REQUEST_S - 1)
    connection.data_received(REQUEST.replace(b"1.1", b"1.0"))
    clients.pass_time(REQUEST_S - 1)
    assert not transport.is_aborted
    clients.pass_time(1)
    assert transport.is_aborted


# --- time


@pytest.mark.clause("3.2.14")
async def test_a_silent_connection_is_closed_without_a_word(clients: Clients, room: Room) -> None:
    _, transport = clients.open()
    clients.pass_time(REQUEST_S - 1)
    assert not transport.is_closed
    clients.pass_time(1)
    assert transport.is_closed
    assert transport.sent == b""
    assert room.counts() == {}


@pytest.mark.clause("3.2.14")
@pytest.mark.parametrize("start", [b"G", REQUEST[:-1], body_of(10)[:-1]])
async def test_a_half_sent_request_is_told_that_it_is_late(
    start: bytes, clients: Clients, room: Room
) -> None:
    connection, transport = clients.open()
    clients.pass_time(3)
    connection.data_received(start)
    clients.pass_time(REQUEST_S - 3)
    (answer,) = answers(transport.take())
    assert (answer.status, answer.body, answer.fields["connection"]) == (408, b"", "close")
    assert transport.is_half_closed
    assert room.counts()[Door.TCP4].malformed == 1
    clients.pass_time(REQUEST_S)
    assert transport.is_aborted


@pytest.mark.clause("3.2.14")
async def test_a_later_request_has_its_own_time(clients: Clients) -> None:
    connection, transport = clients.open()
    connection.data_received(REQUEST)
    clients.pass_time(IDLE_S - 1)
    connection.data_received(REQUEST[:5])
    clients.pass_time(REQUEST_S - 1)
    connection.data_received(REQUEST[5:6])
    assert statuses(transport) == [404]
    clients.pass_time(1)
    assert statuses(transport) == [408]


@pytest.mark.clause("3.2.15")
async def test_an_idle_connection_is_closed(clients: Clients) -> None:
    connection, transport = clients.open()
    clients.pass_time(5)
    connection.data_received(REQUEST)
    clients.pass_time(IDLE_S - 1)
    assert not transport.is_closed
    clients.pass_time(1)
    assert transport.is_closed
    assert len(clients.connections) == 0


async def test_blank_lines_do_not_keep_a_connection(clients: Clients) -> None:
    connection, transport = clients.open()
    connection.data_received(REQUEST)
    clients.pass_time(IDLE_S - 1)
    connection.data_received(b"\r\n")
    clients.pass_time(1)
    assert transport.is_closed


# --- how many


async def test_the_longest_idle_connection_has_to_go(clients: Clients) -> None:
    opened = [clients.open() for _ in range(3)]
    for connection, _ in (opened[1], opened[0], opened[2], opened[1]):
        connection.data_received(REQUEST)
    _, newest = clients.open()
    assert [transport.is_closed for _, transport in opened] == [True, False, False]
    assert not newest.is_closed
    assert len(clients.connections) == 3
    assert (clients.connections.evicted, clients.connections.refused) == (1, 0)


async def test_without_an_idle_connection_the_newest_is_refused(clients: Clients) -> None:
    busy = [clients.open() for _ in range(3)]
    busy[0][0].data_received(REQUEST + REQUEST[:1])
    connection, newest = clients.open()
    assert newest.is_aborted
    assert not any(transport.is_closed for _, transport in busy)
    connection.connection_lost(None)
    assert len(clients.connections) == 3
    assert (clients.connections.evicted, clients.connections.refused) == (0, 1)


async def test_a_connection_that_is_lost_makes_room(clients: Clients) -> None:
    opened = [clients.open() for _ in range(3)]
    opened[1][0].connection_lost(None)
    _, newest = clients.open()
    assert not newest.is_closed


async def test_who_has_to_go_stays_gone(clients: Clients) -> None:
    opened = [clients.open() for _ in range(3)]
    opened[0][0].data_received(REQUEST)
    clients.open()
    answered = opened[0][1].sent
    opened[0][0].data_received(REQUEST)  # it came in the same turn
    assert opened[0][1].sent == answered
    opened[0][0].connection_lost(None)
    assert len(clients.connections) == 3
