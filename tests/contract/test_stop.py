"""The stop: clean, quick, whatever clients do."""

import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Start = Callable[..., Any]

SIGNALS = [(signal.SIGINT, "ctrl-c"), (signal.SIGTERM, "terminate")]


@pytest.mark.parametrize(("number", "name"), SIGNALS)
def test_a_signal_ends_it_cleanly(start: Start, number: signal.Signals, name: str) -> None:
    daemon = start()
    udp = daemon.address("udp")
    assert daemon.stop(number) == 0
    text = "\n".join(daemon.lines)
    for part in (
        f"WARN torrust_tracker::servers::signals: caught interrupt signal ({name}), halting...",
        f"Halting UDP Service Bound to Socket: {udp[0]}:{udp[1]}",
        "Shutting down HTTP server on socket address: 127.0.0.1:",
        "Shutting down tracker API server on socket address: 127.0.0.1:",
        "Shutting down http server on socket address: 127.0.0.1:",
        "INFO torrust_tracker: Torrust shutting down ...",
    ):
        assert part in text, part
    assert daemon.lines[-1].endswith("INFO torrust_tracker: Torrust successfully shutdown.")
    assert daemon.errors() == ""


@pytest.mark.parametrize("service", ["http", "api", "health"])
def test_clients_that_hold_connections_do_not_hold_the_stop(start: Start, service: str) -> None:
    daemon = start()
    address = daemon.address(service)
    held = [socket.create_connection(address) for _ in range(20)]
    for number, client in enumerate(held):
        if number % 2:
            client.sendall(b"GET /health_check HTTP/1.1\r\nHost: x\r\n")  # half a request
        else:
            client.sendall(b"GET /health_check HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 ")
    before = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - before < 5
    for client in held:
        client.close()


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    daemon = start()
    with socket.create_connection(daemon.address("api")) as client:
        client.sendall(
            b"POST /api/v1/keys?token=MyAccessToken HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
        )
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for_line("caught interrupt signal")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait(1) in (0, -signal.SIGTERM)


@pytest.mark.parametrize(("number", "name"), SIGNALS)
@pytest.mark.parametrize("line", ["Logging initialized", "UDP TRACKER: Starting on"])
def test_a_signal_during_the_start_ends_it(
    launch: Start, number: signal.Signals, name: str, line: str
) -> None:
    daemon = launch()
    daemon.wait_for_line(line)
    assert daemon.stop(number) == 0
    assert daemon.errors() == ""


def test_the_ports_are_free_afterwards(start: Start) -> None:
    daemon = start()
    addresses = [daemon.address(service) for service in ("http", "api", "health")]
    daemon.stop()
    for address in addresses:
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(address)
