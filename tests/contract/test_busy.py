"""The API and the health check answer while UDP is busy."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from torrust_py.udp.packets import encode_connect_request

pytestmark = pytest.mark.slow

Start = Callable[..., Any]


@contextlib.contextmanager
def flood(address: tuple[str, int]) -> Iterator[None]:
    """Connect requests as fast as one thread can send them, for half a minute at most."""
    stop = threading.Event()

    def send() -> None:
        datagram, until = encode_connect_request(b"abcd"), time.monotonic() + 30
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(address)
            while not stop.is_set() and time.monotonic() < until:
                for _ in range(100):
                    client.send(datagram)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


def test_the_api_and_the_health_check_answer_while_udp_is_busy(start: Start) -> None:
    daemon = start()
    with flood(daemon.address("udp")):
        counts = [daemon.stats()["udp4_connections_handled"] for _ in range(20)]
        _, body = daemon.get("health", "/health_check")
    assert counts == sorted(counts)
    assert counts[-1] - counts[0] > 1000
    web = [detail["result"] for detail in json.loads(body)["details"] if "http" in detail["info"]]
    assert web == [{"Ok": "200 OK"}] * 3  # what asks over UDP may be lost among the rest
