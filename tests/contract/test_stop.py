"""The stop: clean, quick, whatever clients do."""

import contextlib
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

SIGNALS = [(signal.SIGINT, "ctrl-c"), (signal.SIGTERM, "terminate")]


@pytest.mark.clause("11.2.2")
@pytest.mark.clause("1.6.16", "1.6.17", "1.7.1", "1.7.2", "1.7.3", "1.7.4", "1.7.9")
@pytest.mark.parametrize(("number", "name"), SIGNALS)
def test_a_signal_ends_it_cleanly(start: Start, number: signal.Signals, name: str) -> None:
    daemon = start()
    udp, health = daemon.address("udp"), daemon.address("health")
    assert daemon.stop(number) == 0
    text = "\n".join(daemon.lines)
    for part in (
        f"WARN torrust_tracker::servers::signals: caught interrupt signal ({name}), halting...",
        f"Halting UDP Service Bound to Socket: {udp[0]}:{udp[1]}",
        "Shutting down HTTP server on socket address: 127.0.0.1:",
        "Shutting down tracker API server on socket address: 127.0.0.1:",
        "Shutting down http server on socket address: 127.0.0.1:",
        f"INFO HEALTH CHECK API: Stopped server running on: http://{health[0]}:{health[1]}\n",
        "INFO torrust_tracker::bootstrap::jobs::torrent_cleanup: Stopping torrent cleanup job..\n",
        "INFO torrust_tracker: Torrust shutting down ...",
    ):
        assert part in text, part
    assert daemon.lines[-1].endswith("INFO torrust_tracker: Torrust successfully shutdown.")
    assert daemon.errors() == ""


@pytest.mark.clause("1.7.5", "1.7.6")
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


@pytest.mark.clause("1.7.5", "1.7.7")
def test_a_call_that_runs_is_answered_while_nothing_new_is_accepted(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    daemon = start(configure(listed=True))
    addresses = [daemon.address(service) for service in ("api", "http", "health")]
    database = sqlite3.connect(tmp_path / "sqlite3.db", isolation_level=None)
    with contextlib.ExitStack() as clients:
        running, *idle = (
            clients.enter_context(socket.create_connection(address, 10))
            for address in (addresses[0], *addresses)
        )
        database.execute("BEGIN IMMEDIATE")  # the call waits for this to end
        running.sendall(ADD_TO_WHITELIST)
        for client in idle:
            use_and_keep(client)
        daemon.process.send_signal(signal.SIGTERM)
        for address, client in zip(addresses, idle, strict=True):
            assert client.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, 10)
        database.execute("COMMIT")
        assert running.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert daemon.wait() == 0
    assert database.execute("SELECT info_hash FROM whitelist").fetchall() == [("07" * 20,)]
    database.close()


ADD_TO_WHITELIST = b"POST /api/v1/whitelist/%b?token=MyAccessToken HTTP/1.1\r\nHost: x\r\n\r\n" % (b"07" * 20)


def use_and_keep(client: socket.socket) -> None:
    """One request over a connection that stays open; what came before over others is read by then."""
    client.sendall(b"GET /health_check HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 ")


@pytest.mark.clause("1.7.2")
def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    daemon = start()
    with socket.create_connection(daemon.address("api")) as client:
        client.sendall(
            b"POST /api/v1/keys?token=MyAccessToken HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
        )
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for_line("caught interrupt signal")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait() == -signal.SIGTERM


@pytest.mark.clause("1.7.1", "1.7.2")
@pytest.mark.parametrize(("number", "name"), SIGNALS)
@pytest.mark.parametrize("line", ["Logging initialized", "UDP TRACKER: Starting on"])
def test_a_signal_during_the_start_ends_it(
    launch: Start, number: signal.Signals, name: str, line: str
) -> None:
    daemon = launch()
    daemon.wait_for_line(line)
    assert daemon.stop(number) == 0
    assert daemon.errors() == ""


def test_sighup_during_the_start_does_not_end_it(launch: Start) -> None:
    daemon = launch()
    daemon.wait_for_line("Logging initialized")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_line("HEALTH CHECK API: Started on")
    assert daemon.stop() == 0
    assert daemon.errors() == ""


@pytest.mark.clause("1.7.8")
def test_the_ports_are_free_afterwards(start: Start, configure: Configure) -> None:
    tables = ("[[udp_trackers]]", "[[http_trackers]]", "[http_api]", "[health_check_api]")
    services = "\n".join(f'{table}\nbind_address = "127.0.0.1:{free_port()}"' for table in tables)
    daemon = start(configure(services=services))
    addresses = [daemon.address(service) for service in ("http", "api", "health")]
    udp = daemon.address("udp")
    daemon.stop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(udp)
    for address in addresses:
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(address)
