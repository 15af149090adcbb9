"""What the plane hands to Python, and Python fails at."""

import asyncio
import contextlib
import socket
from typing import Any

from tests.forms import native
from torrust_py.core.tracker import Rules
from torrust_py.core.types import Address
from torrust_py.data_planes import open_udp_plane
from torrust_py.udp.packets import ConnectResponse, encode_connect_request, parse_response

CONNECT = encode_connect_request(b"\1\2\3\4")


class Failing:
    """In place of a handler: there is no memory for what is not ordinary."""

    def __init__(self) -> None:
        self.asked = 0

    def handle(self, datagram: bytes, client: Address, now_ms: int) -> bytes | None:
        self.asked += 1
        raise MemoryError


async def test_a_failure_costs_neither_the_others_of_its_batch_nor_what_comes_later() -> None:
    loop, failures, handler = asyncio.get_running_loop(), list[Any](), Failing()
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    with contextlib.ExitStack() as stack:
        listener, client = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
        )
        listener.bind(("127.0.0.1", 0))
        client.setblocking(False)
        client.connect(listener.getsockname())
        plane = open_udp_plane(
            listener,
            handler,  # type: ignore[arg-type]  # all that is asked of it
            rules=Rules(interval=120, interval_min=60),
            swarms=native("swarms").NativeSwarms(),
            whitelist=native("whitelist").NativeWhitelist(),
            blacklist=native("whitelist").NativeWhitelist(),
            statistics=native("statistics").NativeStatistics(),
            connection_ids=native("connection_ids").NativeConnectionIds(bytes(16), unix_offset_ms=0),
        )
        async with native("udp_tracker").NativeUdpTracker(listener, plane, now_ms=lambda: 0):
            for _ in range(10):
                for sent in ((CONNECT, CONNECT), (b"not ordinary", CONNECT)):  # after two at once it polls
                    for datagram in sent:
                        client.send(datagram)
                    for _ in range(sent.count(CONNECT)):
                        async with asyncio.timeout(10):
                            response = parse_response(await loop.sock_recv(client, 2048))
                        assert isinstance(response, ConnectResponse)
    assert handler.asked == 10
    assert [type(failure) for failure in failures] == [MemoryError] * 10
