import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.ports import free_port
from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId, SwarmCounts
from torrust_py.udp import BadPacket, UdpClient, open_udp_client
from torrust_py.udp.packets import (
    AnnounceRequest,
    AnnounceResponse,
    ErrorResponse,
    ScrapeResponse,
    encode_connect_response,
    encode_error_response,
    encode_scrape_response,
    parse_announce,
    parse_connect,
    parse_scrape,
    transaction_id_of,
)

INFO_HASH = InfoHash(b"\5" * 20)
PEER_ID = PeerId(b"-qB00000000000000009")
CONNECTION_ID = b"12345678"

Answers = Callable[[bytes], list[bytes]]


class FakeTracker:
    """Answers each datagram with those that `answers` makes of it; notes what was asked and from where."""

    def __init__(self, bound: socket.socket, answers: Answers) -> None:
        self._socket = bound
        self._answers = answers
        self.asked: list[bytes] = []
        self.ports: list[int] = []

    def answer(self) -> None:
        datagram, address = self._socket.recvfrom(2048)
        self.asked.append(datagram)
        self.ports.append(address[1])
        for answer in self._answers(datagram):
            self._socket.sendto(answer, address)


@asynccontextmanager
async def asking(
    answers: Answers, *, host: str = "127.0.0.1", patience: float = 10, sends: int = 1
) -> AsyncIterator[tuple[UdpClient, FakeTracker]]:
    """A client of a tracker that answers so."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setblocking(False)
        bound.bind((host, 0))
        tracker = FakeTracker(bound, answers)
        loop.add_reader(bound, tracker.answer)
        try:
            port = bound.getsockname()[1]
            async with open_udp_client(host, port, patience=patience, sends=sends) as client:
                yield client, tracker
        finally:
            loop.remove_reader(bound)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_client_gets_its_connection_id(host: str) -> None:
    def answers(datagram: bytes) -> list[bytes]:
        return [encode_connect_response(parse_connect(datagram).transaction_id, CONNECTION_ID)]

    async with asking(answers, host=host) as (client, tracker):
        assert await client.connect() == CONNECTION_ID
        assert tracker.ports == [client.port]


async def test_an_announce_says_all_that_it_is_given() -> None:
    async with asking(lambda datagram: [encode_error_response(transaction_id_of(datagram), "no")]) as (
        client,
        tracker,
    ):
        response = await client.announce(
            CONNECTION_ID,
            INFO_HASH,
            peer_id=PEER_ID,
            port=6881,
            left=3,
            event=AnnounceEvent.COMPLETED,
            num_want=5,
            uploaded=1,
            downloaded=2,
        )
    [datagram] = tracker.asked
    transaction_id = transaction_id_of(datagram)
    assert response == ErrorResponse(transaction_id, "no")
    assert parse_announce(datagram) == AnnounceRequest(
        CONNECTION_ID, transaction_id, INFO_HASH, PEER_ID, 2, 3, 1, AnnounceEvent.COMPLETED, 5, 6881
    )


async def test_an_announce_response_is_returned_as_it_came() -> None:
    def answers(datagram: bytes) -> list[bytes]:
        return [
            b"\0\0\0\1" + transaction_id_of(datagram) + bytes.fromhex("000000780000000200000001") + b"peer12"
        ]

    async with asking(answers) as (client, _):
        response = await client.announce(CONNECTION_ID, INFO_HASH, peer_id=PEER_ID, port=6881)
    assert isinstance(response, AnnounceResponse)
    assert response[1:] == (120, 2, 1, b"peer12")


async def test_a_scrape_asks_for_the_torrents_in_their_order() -> None:
    def answers(datagram: bytes) -> list[bytes]:
        request = parse_scrape(datagram)
        swarms = [SwarmCounts(info_hash[0], 0, 0) for info_hash in request.info_hashes]
        return [encode_scrape_response(request.transaction_id, swarms)]

    async with asking(answers) as (client, _):
        response = await client.scrape(CONNECTION_ID, [InfoHash(b"\2" * 20), InfoHash(b"\1" * 20)])
    assert isinstance(response, ScrapeResponse)
    assert [counts.seeders for counts in response.swarms] == [2, 1]


async def test_answers_to_other_questions_are_passed_over() -> None:
    def answers(datagram: bytes) -> list[bytes]:
        own = parse_connect(datagram).transaction_id
        other = bytes([own[0] ^ 1]) + own[1:]
        return [
            encode_connect_response(other, b"87654321"),
            encode_error_response(other, "not for you"),
            encode_connect_response(own, CONNECTION_ID),
        ]

    async with asking(answers) as (client, _):
        assert await client.connect() == CONNECTION_ID


async def test_another_answer_to_a_connect_is_an_error() -> None:
    async with asking(lambda datagram: [encode_error_response(transaction_id_of(datagram), "no")]) as (
        client,
        _,
    ):
        with pytest.raises(BadPacket, match=r"^no connect response$"):
            await client.connect()


async def test_what_no_tracker_says_is_an_error() -> None:
    async with asking(lambda _: [b"what?"]) as (client, _):
        with pytest.raises(BadPacket, match=r"^too short for a response$"):
            await client.connect()


async def test_each_question_has_a_transaction_id_of_its_own() -> None:
    async with asking(
        lambda datagram: [encode_connect_response(transaction_id_of(datagram), CONNECTION_ID)]
    ) as (client, tracker):
        for _ in range(10):
            await client.connect()
    assert len({transaction_id_of(datagram) for datagram in tracker.asked}) == 10


async def test_a_tracker_that_does_not_answer_is_a_time_out() -> None:
    async with asking(lambda _: [], patience=0) as (client, _):
        with pytest.raises(TimeoutError):
            await client.connect()


@pytest.mark.parametrize("sends", [1, 3])
async def test_a_question_is_sent_as_often_as_it_may_be(sends: int) -> None:
    async with asking(lambda _: [], patience=0.06, sends=sends) as (client, tracker):
        with pytest.raises(TimeoutError):
            await client.connect()
    assert tracker.asked == [tracker.asked[0]] * sends


async def test_a_question_that_was_lost_is_answered_when_it_comes_again() -> None:
    def answers(datagram: bytes) -> list[bytes]:
        is_lost = len(questions) < 1
        questions.append(datagram)
        return [] if is_lost else [encode_connect_response(transaction_id_of(datagram), CONNECTION_ID)]

    questions: list[bytes] = []
    async with asking(answers, patience=10, sends=100) as (client, _):
        assert await client.connect() == CONNECTION_ID


async def test_a_port_where_nobody_listens_is_refused() -> None:
    async with open_udp_client("127.0.0.1", free_port(), patience=10) as client:
        with pytest.raises(ConnectionRefusedError):
            await client.connect()
