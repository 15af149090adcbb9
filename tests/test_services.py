"""What the health check API hears of UDP trackers. (tests/contract sees the services as a whole.)"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

import aiohttp
import pytest

from torrust_py.config import BindAddress, HealthCheckApi
from torrust_py.listeners import HeldSockets
from torrust_py.services import Services, start_health_check_api
from torrust_py.udp import UdpTracker
from torrust_py.udp.packets import encode_error_response, encode_scrape_response, transaction_id_of

Answer = Callable[[bytes], bytes]


class Tracker(NamedTuple):
    """All that the health check knows of a UDP tracker."""

    address: tuple[str, int]


class Answering(asyncio.DatagramProtocol):
    """Answers each datagram with what `answer` makes of it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # it is one of datagrams

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._answer(data), addr)


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[Tracker]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Answering(answer), local_addr=("127.0.0.1", 0))
    try:
        yield Tracker(transport.get_extra_info("sockname"))
    finally:
        transport.close()


async def heard_of(tracker: Tracker, caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """The result in the report."""
    caplog.set_level("INFO")
    async with Services(HeldSockets([])) as services:
        await start_health_check_api(
            HealthCheckApi(bind_address=BindAddress("127.0.0.1", 0)),
            services,
            udp_trackers=[cast(UdpTracker, tracker)],  # a fake
            http_trackers=[],
            apis=[],
        )
        started = re.search(r"Started on: (http://\S+)", caplog.text)
        assert started is not None
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{started[1]}/health_check") as response,
        ):
            [detail] = json.loads(await response.text())["details"]
    result: dict[str, str] = detail["result"]
    return result


@pytest.mark.clause("8.4.3")
@pytest.mark.parametrize(
    "answer",
    [
        lambda datagram: encode_error_response(transaction_id_of(datagram), "no"),
        lambda datagram: encode_scrape_response(transaction_id_of(datagram), []),
        lambda datagram: b"hello",
    ],
)
async def test_another_answer_than_a_connection_id_is_an_error(
    caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    async with answering(answer) as tracker:
        assert await heard_of(tracker, caplog) == {"Err": "Did not Connect"}


@pytest.mark.clause("8.4.5")
async def test_a_tracker_that_is_away_is_reported_as_silent(caplog: pytest.LogCaptureFixture) -> None:
    """The kernel says at once that nobody listens there."""
    async with answering(bytes) as tracker:
        pass
    assert await heard_of(tracker, caplog) == {"Err": "Timed Out"}
