"""What goes wrong around the daemon: the network, the files, the database, a kill."""

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from tests.clients.network import private_network
from tests.contract.doors import (
    announce_request,
    announce_target,
    announced_peers,
    answer_to,
    connection_id,
    unharmed,
)
from tests.servers import Store
from torrust_py.udp.packets import encode_connect_request

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

CONNECT = encode_connect_request(b"abcd")
KEY = "a" * 32
AT_ONCE = 2.0
"""Seconds for what does not wait, on a machine that has other things to do."""


# --- answers that cannot be delivered


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_clients_that_are_gone_when_the_answer_comes_disturb_nobody(public: Any, ipv6: bool) -> None:
    with unharmed(public), public.udp(ipv6=ipv6) as client:
        for _ in range(200):
            with public.udp(ipv6=ipv6) as leaving:
                leaving.send(CONNECT)  # the answer meets a closed port: ICMP
            answer_to(client, CONNECT)


def send_raw(datagram: bytes, source: tuple[str, int], destination: tuple[str, int]) -> None:
    """A datagram over IPv4 with whatever source, made by hand (RFC 791, RFC 768)."""
    udp = struct.pack(">HHHH", source[1], destination[1], 8 + len(datagram), 0)
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(datagram), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(ip + udp + datagram, (destination[0], 0))


@pytest.mark.parametrize("host", ["10.77.0.1", "0.0.0.0"])
def test_clients_that_cannot_be_answered_disturb_nobody(
    start: Start, configure: Configure, host: str
) -> None:
    sources = [("10.77.0.1", 0), ("203.0.113.9", 6881), ("255.255.255.255", 6881), ("0.0.0.0", 6881)]
    with private_network("10.77.0.1"):
        daemon = start(
            configure().replace(
                "[[udp_trackers]]", f'[[udp_trackers]]\nbind_address = "{host}:0"\n[[udp_trackers]]', 1
            )
        )
        address = "10.77.0.1", daemon.address("udp")[1]
        with unharmed(daemon), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect(address)
            connection = connection_id(client)
            before = daemon.stats()["udp4_connections_handled"]
            for source in sources:
                for _ in range(20):
                    send_raw(CONNECT, source, address)
            answer_to(client, announce_request(connection, bytes(20), 1))
            handled = daemon.stats()["udp4_connections_handled"] - before
            assert handled - 1 >= 20 * 3  # the kernel itself may refuse some sources


# --- no files left


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def no_files_left(pid: int) -> Iterator[None]:
    """The process may open no file beyond those that it has open."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    opened = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    lowest_free = min(set(range(len(opened) + 1)) - opened)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def test_without_files_udp_goes_on_and_http_comes_back(start: Start) -> None:
    daemon = start()
    pid = daemon.process.pid
    with unharmed(daemon), contextlib.ExitStack() as stack:
        udp = stack.enter_context(daemon.udp())
        with no_files_left(pid):
            waiting = [
                stack.enter_context(socket.create_connection(daemon.address(service), 10))
                for service in ("http", "api", "health")
                for _ in range(20)
            ]
            for client in waiting:
                with contextlib.suppress(ConnectionError):
                    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            before, begun = cpu_seconds(pid), time.monotonic()
            while (passed := time.monotonic() - begun) < 1:
                asked = time.monotonic()
                answer_to(udp, CONNECT)
                assert time.monotonic() - asked < AT_ONCE
                time.sleep(0.05)
            assert cpu_seconds(pid) - before < 0.5 * passed
            # A connection of before that ended just now may have left its file to one of these.
            assert len([client for client in waiting if received(client)]) < len(waiting) / 4
        wait_until_served(daemon)


def received(client: socket.socket) -> bytes:
    """What has come so far: nothing, too, if the connection has been closed."""
    client.setblocking(False)
    with contextlib.suppress(OSError):
        return client.recv(4096)
    return b""


def wait_until_served(daemon: Any) -> None:
    """What stopped accepting for want of files may try again after a moment."""
    until = time.monotonic() + 5
    for service, path in (("http", "/health_check"), ("api", "/api/health_check"), ("health", "/")):
        while True:
            with contextlib.suppress(OSError):
                assert daemon.get(service, path)[0] == 200 or service == "health"
                break
            assert time.monotonic() < until
            time.sleep(0.05)


# --- a locked database


def timed(call: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes, float]:
    begun = time.monotonic()
    status, body = call()
    return status, body, time.monotonic() - begun


def test_while_the_database_is_locked_only_the_administrator_waits(
    start: Start, configure_stored: Configure, store: Store
) -> None:
    daemon = start(configure_stored(listed=True))
    old, new = b"\x01" * 20, b"\x02" * 20
    assert daemon.api(f"whitelist/{old.hex()}", method="POST")[0] == 200
    changes = {
        "whitelist torrent": lambda: daemon.api(f"whitelist/{new.hex()}", method="POST"),
        "remove torrent from whitelist": lambda: daemon.api(f"whitelist/{old.hex()}", method="DELETE"),
        "generate key": lambda: daemon.api("keys", method="POST", body={"key": KEY, "seconds_valid": None}),
    }
    with unharmed(daemon), ThreadPoolExecutor(len(changes)) as administrators, daemon.udp() as client:
        connection = connection_id(client)
        with store.locked():
            calls = {name: administrators.submit(timed, change) for name, change in changes.items()}
            asked = 0
            while not all(call.done() for call in calls.values()):
                begun = time.monotonic()
                answer = answer_to(client, announce_request(connection, old, 6881))
                assert announced_peers(answer) == set()
                assert b"failure reason" not in daemon.get("http", announce_target(old, 6881))[1]
                assert b"is not whitelisted" in daemon.get("http", announce_target(new, 6881))[1]
                assert daemon.api("stats")[0] == 200
                assert time.monotonic() - begun < AT_ONCE
                asked += 1
            assert asked > 10
        for name, call in calls.items():
            status, body, seconds = call.result()
            assert (status, seconds < 6) == (500, True), (name, seconds)
            assert body.startswith(b'Unhandled rejection: Err { reason: "failed to %b: ' % name.encode())
        assert [change()[0] for change in changes.values()] == [200, 200, 200]
        assert b"failure reason" not in daemon.get("http", announce_target(new, 6881))[1]
        assert b"is not whitelisted" in daemon.get("http", announce_target(old, 6881))[1]


def test_a_lock_that_is_released_in_time_delays_the_administrator_only(
    start: Start, configure_stored: Configure, store: Store
) -> None:
    daemon = start(configure_stored(listed=True))
    added = b"\x03" * 20
    with unharmed(daemon), ThreadPoolExecutor(1) as administrator:
        with store.locked():
            call = administrator.submit(daemon.api, f"whitelist/{added.hex()}", method="POST")
            until = time.monotonic() + 1
            while time.monotonic() < until:
                assert b"is not whitelisted" in daemon.get("http", announce_target(added, 6881))[1]
            assert not call.done()
        assert call.result()[0] == 200
        assert b"failure reason" not in daemon.get("http", announce_target(added, 6881))[1]


# --- many rows


def test_a_hundred_thousand_keys_are_read_anew_while_udp_goes_on(start: Start, tmp_path: Path) -> None:
    daemon = start()
    with contextlib.closing(sqlite3.connect(tmp_path / "sqlite3.db")) as database, database:
        rows = ((f"{number:032}", None if number % 2 else 4_000_000_000) for number in range(100_000))
        database.executemany("INSERT INTO keys (key, valid_until) VALUES (?, ?)", rows)
    with unharmed(daemon), daemon.udp() as client, ThreadPoolExecutor(1) as administrator:
        call = administrator.submit(timed, lambda: daemon.api("keys/reload"))
        delays = []
        while not call.done():
            begun = time.monotonic()
            answer_to(client, CONNECT)
            delays.append(time.monotonic() - begun)
            wait([call], 0.01)
        status, body, seconds = call.result()
        assert (status, body) == (200, b'{"status":"ok"}')
        assert seconds < 5
        assert len(delays) > 10
        assert max(delays) < AT_ONCE
        for number in (0, 99_999):
            assert daemon.api(f"key/{number:032}", method="DELETE")[0] == 200


# --- a kill


def test_every_change_that_was_acknowledged_outlives_a_kill(
    start: Start, configure_stored: Configure
) -> None:
    config = configure_stored(private=True, listed=True)
    daemon = start(config)
    listed: list[bytes] = []
    keys: list[str] = []
    enough = threading.Event()

    def change(worker: int) -> None:
        with contextlib.suppress(OSError, IndexError):  # it was killed
            for number in range(10_000):
                info_hash = (worker * 100_000 + number).to_bytes(20)
                if daemon.api(f"whitelist/{info_hash.hex()}", method="POST")[0] == 200:
                    listed.append(info_hash)
                key = f"{worker}x{number:030}"
                if daemon.api("keys", method="POST", body={"key": key, "seconds_valid": None})[0] == 200:
                    keys.append(key)
                if len(keys) >= 20:
                    enough.set()

    with ThreadPoolExecutor(4) as administrators:
        for worker in range(4):
            administrators.submit(change, worker)
        assert enough.wait(30)
        daemon.process.send_signal(signal.SIGKILL)
        assert daemon.wait() == -signal.SIGKILL
    assert len(listed) >= 20
    daemon = start(config)
    with unharmed(daemon):
        for key in keys:
            assert b"failure reason" not in daemon.get("http", announce_target(listed[0], 1, key=key))[1]
        for info_hash in listed:
            assert b"failure reason" not in daemon.get("http", announce_target(info_hash, 1, key=keys[0]))[1]
