"""The limits at the doors of a running daemon, and of what it remembers."""

import contextlib
import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import bencodepy
import pytest

from tests.contract.doors import (
    announce_request,
    announce_target,
    announced_peers,
    answer_to,
    answers_to,
    connection_id,
    unharmed,
)
from torrust_py.core.types import InfoHash

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

MANY = 15_000  # connections
AT_ONCE = 500
HEALTH_CHECK = b"GET /health_check HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTHY = b'{"status":"Ok"}'
RESERVED = 512  # files that the daemon keeps for other things than connections of HTTP trackers


@pytest.fixture
def many_files() -> Iterator[None]:
    """Lets this process open as many files as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))  # root may also raise `hard`
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(wanted, hard)))


def answered(client: socket.socket) -> bytes:
    """The whole answer to HEALTH_CHECK, which leaves the connection open."""
    received = b""
    while not received.endswith(HEALTHY):
        data = client.recv(4096)
        assert data, received
        received += data
    return received


def open_idle(address: tuple[str, int], count: int) -> list[socket.socket]:
    """Connections that have been answered once and wait."""
    clients = [socket.create_connection(address, 10) for _ in range(count)]
    for client in clients:
        client.sendall(HEALTH_CHECK)
    for client in clients:
        answered(client)
    return clients


def closed_ones(clients: list[socket.socket], count: int) -> list[int]:
    """Numbers of the connections that the other side has closed, when `count` are, or none for a while."""
    with selectors.DefaultSelector() as selector:
        for number, client in enumerate(clients):
            selector.register(client, selectors.EVENT_READ, number)
        until = time.monotonic() + 2
        while len(ready := selector.select(0)) < count and time.monotonic() < until:
            selector.select(0.02)
    return sorted(key.data for key, _ in ready)


# --- connections


@pytest.mark.usefixtures("many_files")
def test_fifteen_thousand_idle_connections_keep_nobody_out(start: Start) -> None:
    daemon = start()
    address = daemon.address("http")
    with contextlib.ExitStack() as stack, unharmed(daemon):
        clients = []
        for _ in range(0, MANY, AT_ONCE):
            clients += [stack.enter_context(client) for client in open_idle(address, AT_ONCE)]
        begun = time.monotonic()
        for _ in range(50):
            with socket.create_connection(address, 10) as newcomer:
                newcomer.sendall(HEALTH_CHECK)
                answered(newcomer)
        assert time.monotonic() - begun < 2
        assert closed_ones(clients, 0) == []
        for client in clients[::100]:
            client.sendall(HEALTH_CHECK)
            answered(client)


@pytest.fixture
def cramped(launch: Start) -> Any:
    """A daemon that may have eight connections at its HTTP trackers."""
    limit = RESERVED + 8
    daemon = launch(prefix=("prlimit", f"--nofile={limit}:{limit}"))
    daemon.wait_for_line("HEALTH CHECK API: Started on")
    daemon.wait_for_line(f"Open files: at most {limit}; HTTP trackers: at most 8 connections")
    return daemon


def test_when_there_are_too_many_the_longest_idle_connections_go(cramped: Any) -> None:
    address = cramped.address("http")
    with unharmed(cramped), contextlib.ExitStack() as stack:
        old = [stack.enter_context(client) for number in range(8) for client in open_idle(address, 1)]
        old[0].sendall(HEALTH_CHECK)  # now the second is the one that has been idle for longest
        answered(old[0])
        new = [stack.enter_context(client) for number in range(3) for client in open_idle(address, 1)]
        assert closed_ones(old, 3) == [1, 2, 3]
        assert closed_ones(new, 0) == []


def test_when_all_are_busy_the_newest_connection_is_refused(cramped: Any) -> None:
    address = cramped.address("http")
    with unharmed(cramped):
        with contextlib.ExitStack() as stack:
            busy = [stack.enter_context(client) for number in range(8) for client in open_idle(address, 1)]
            for client in busy:
                client.sendall(HEALTH_CHECK[:-2])  # a request that does not end
            time.sleep(0.2)  # the kernel of a loaded host may bring the newcomer's bytes before theirs
            with socket.create_connection(address, 10) as newcomer, contextlib.suppress(ConnectionError):
                newcomer.sendall(HEALTH_CHECK)
                assert newcomer.recv(100) == b""
            for client in busy:
                client.sendall(b"\r\n")
                answered(client)
        wait_until_served(address)


@pytest.mark.parametrize("service", ["api", "health"])
def test_silent_connections_to_the_api_leave_files_to_all_others(cramped: Any, service: str) -> None:
    with contextlib.ExitStack() as stack, unharmed(cramped):
        for _ in range(RESERVED):
            stack.enter_context(socket.create_connection(cramped.address(service), 10))


def wait_until_served(address: tuple[str, int]) -> None:
    """The daemon may learn of the connections' ends after their clients."""
    until = time.monotonic() + 5
    while True:
        with socket.create_connection(address, 5) as client, contextlib.suppress(ConnectionError):
            client.sendall(HEALTH_CHECK)
            if client.recv(4096):
                return
        assert time.monotonic() < until


# --- what is remembered


def limited(configure: Configure, **limits: int) -> str:
    lines = "\n".join(f"{name} = {limit}" for name, limit in limits.items())
    return configure(core=f"[core.limits]\n{lines}")


def announce(daemon: Any, info_hash: bytes, port: int, *, ipv6: bool = False) -> dict[bytes, Any]:
    """The bencoded answer to an announce over HTTP."""
    status, body = daemon.get("http", announce_target(info_hash, port), ipv6=ipv6)
    assert status == 200
    answer: dict[bytes, Any] = bencodepy.decode(body)
    assert b"failure reason" not in answer
    return answer


def numbered(number: int) -> InfoHash:
    return InfoHash(number.to_bytes(20))


def test_torrents_beyond_the_limit_are_answered_and_others_stay(start: Start, configure: Configure) -> None:
    daemon = start(limited(configure, max_torrents=5))
    kept = numbered(1)
    for _ in range(2):
        announce(daemon, kept, 1)  # twice, since what was announced once only may have to go
    with daemon.udp() as client:
        connection = connection_id(client)
        for number in range(2, 60):
            assert announce(daemon, numbered(number), 1)[b"incomplete"] == 1
            answer = answer_to(client, announce_request(connection, numbered(1000 + number), 1))
            assert announced_peers(answer) == set()
            assert daemon.stats()["torrents"] <= 5
    assert daemon.stats()["torrents"] == 5
    assert announce(daemon, kept, 2)[b"peers"] == bytes([127, 0, 0, 1, 0, 1])


def test_torrents_that_nothing_can_replace_leave_no_room(start: Start, configure: Configure) -> None:
    daemon = start(limited(configure, max_torrents=3))
    for number in (1, 2, 3):
        for port in (1, 2):
            announce(daemon, numbered(number), port)
    for port in range(1, 20):
        answer = announce(daemon, numbered(9), port)
        assert (answer[b"incomplete"], answer[b"peers"], daemon.stats()["torrents"]) == (0, b"", 3)
    assert daemon.stats()["leechers"] == 6


def test_peers_beyond_the_limit_replace_others_of_their_swarm(start: Start, configure: Configure) -> None:
    daemon = start(limited(configure, max_peers=10))
    with daemon.udp() as client:
        connection = connection_id(client)
        for port in range(1, 31):
            answer_to(client, announce_request(connection, numbered(port % 2), port))
            announce(daemon, numbered(port % 2), 1000 + port)
        stats = daemon.stats()
    assert (stats["torrents"], stats["leechers"] + stats["seeders"]) == (2, 10)


def test_a_swarm_has_room_for_so_many_peers_of_both_families(start: Start, configure: Configure) -> None:
    daemon = start(limited(configure, max_peers_per_torrent=6))
    for port in range(1, 5):
        announce(daemon, numbered(1), port)
        announce(daemon, numbered(1), port, ipv6=True)
    assert daemon.stats()["leechers"] == 6
    with daemon.udp(ipv6=True) as client:
        connection = connection_id(client)
        for port in range(100, 150):
            answer = answer_to(client, announce_request(connection, numbered(1), port))
            assert int.from_bytes(answer[12:16]) == 6
    assert daemon.stats()["leechers"] == 6
    last = announce(daemon, numbered(1), 99)
    assert len(last[b"peers"]) // 6 + len(last[b"peers6"]) // 18 == 5
    announce(daemon, numbered(2), 1)  # another swarm has its own room
    assert daemon.stats()["leechers"] == 7


# --- answers to what is malformed


def test_a_thousand_malformed_datagrams_a_second_are_answered(start: Start) -> None:
    daemon = start()
    with unharmed(daemon), daemon.udp() as client:
        answers, sent, begun = 0, 0, time.monotonic()
        while sent < 6000:
            answers += len(answers_to(client, *[b"garbage"] * 50))  # good requests are always answered
            sent += 50
        seconds = 2 + int(time.monotonic() - begun)  # that the time may have touched
        assert 1000 <= answers <= 1000 * seconds
