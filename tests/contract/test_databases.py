"""A database server that is away, slow or refuses: what operator, administrator and clients see of it."""

import contextlib
import re
import select
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract.doors import announce_request, announce_target, answer_to, connection_id, unharmed
from tests.servers import PASSWORD, USER, Server, Store
from torrust_py.udp.packets import encode_connect_request

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

KEY = "a" * 32
OLD, NEW = b"\1" * 20, b"\2" * 20
CONNECT = encode_connect_request(b"abcd")
AT_ONCE = 2.0
"""Seconds for what does not wait, on a machine that has other things to do."""


@pytest.fixture
def store(server: Server) -> Store:
    """An empty database of each server."""
    return server.empty_store()


@pytest.fixture
def configure(configure: Configure, store: Store) -> Configure:
    """As ever, with the database of `store`, or what else is given as its path."""

    def one(path: str = store.path, **options: Any) -> str:
        database = f'driver = "{store.driver}"\npath = "{path}"'
        return configure(**options).replace('path = "sqlite3.db"', database)

    return one


def check_no_password(daemon: Any, *further: str) -> None:
    printed = "\n".join([*daemon.lines, *further])
    assert not any(word in printed for word in (PASSWORD, quote(PASSWORD, safe="")))


# --- the start


def test_a_start_waits_for_a_server_that_comes_later(
    launch: Start, configure: Configure, server: Server
) -> None:
    server.stop()
    try:
        daemon = launch(configure(listed=True))
        line = daemon.wait_for_line("Waiting for the database server")
        assert daemon.process.poll() is None
    finally:
        server.start()
    url = re.escape(f"{server.driver}://{USER}@127.0.0.1:{server.port}/torrust_tracker")
    assert re.search(rf"{url}, \d s of 60: Connection refused$", line)
    daemon.wait_for_line("HEALTH CHECK API: Started on")
    assert daemon.api(f"whitelist/{NEW.hex()}", method="POST")[0] == 200
    assert daemon.stop() == 0
    check_no_password(daemon, daemon.errors())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_waits_ends_at_a_signal(
    launch: Start, configure: Configure, server: Server, number: signal.Signals
) -> None:
    url = f"{server.driver}://user:hunter2@127.0.0.1:1/db"
    daemon = launch(configure(url))
    daemon.wait_for_line("Waiting for the database server")
    began = time.monotonic()
    assert daemon.stop(number) == 0
    assert time.monotonic() - began < AT_ONCE
    assert "hunter2" not in "\n".join([*daemon.lines, daemon.errors()])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "hunter2"}, "correct user and password in core.database.path"),
        ({"user": "hunter2"}, "correct user and password in core.database.path"),
        ({"name": "missing"}, "core.database.path|allow this user"),
    ],
)
def test_a_start_that_is_refused_ends_at_once(
    launch: Start, configure: Configure, server: Server, wrong: dict[str, str], said: str
) -> None:
    began = time.monotonic()
    daemon = launch(configure(server.url(**wrong)))
    assert daemon.wait() == 1
    assert time.monotonic() - began < 10
    [line] = daemon.errors().splitlines()
    assert line.startswith(f"torrust-tracker: cannot open the database {server.driver}://")
    assert any(each in line for each in said.split("|"))
    check_no_password(daemon, line)
    assert "password" not in wrong or "hunter2" not in "\n".join([*daemon.lines, line])


def test_the_echo_of_the_configuration_hides_the_password(
    launch: Start, configure: Configure, store: Store
) -> None:
    daemon = launch(configure())
    daemon.wait_for_line("HEALTH CHECK API: Started on")
    assert any('"path": "' in line and ":***@127.0.0.1" in line for line in daemon.lines)
    assert daemon.stop() == 0
    check_no_password(daemon, daemon.errors())


# --- while it is away


def changes(daemon: Any) -> dict[str, Callable[[], tuple[int, bytes]]]:
    """By the API's words for them."""
    return {
        "whitelist torrent": lambda: daemon.api(f"whitelist/{NEW.hex()}", method="POST"),
        "remove torrent from whitelist": lambda: daemon.api(f"whitelist/{OLD.hex()}", method="DELETE"),
        "generate key": lambda: daemon.api("keys", method="POST", body={"key": KEY, "seconds_valid": None}),
        "reload whitelist": lambda: daemon.api("whitelist/reload"),
        "reload keys": lambda: daemon.api("keys/reload"),
    }


def timed(call: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes, float]:
    begun = time.monotonic()
    status, body = call()
    return status, body, time.monotonic() - begun


def check_failed(name: str, status: int, body: bytes, seconds: float) -> None:
    assert (status, seconds < 6) == (500, True), (name, body, seconds)
    assert body.startswith(b'Unhandled rejection: Err { reason: "failed to %b: ' % name.encode())


def is_listed(daemon: Any, info_hash: bytes) -> bool:
    return b"is not whitelisted" not in daemon.get("http", announce_target(info_hash, 6881))[1]


@pytest.mark.parametrize("away", ["paused", "stopped"])
def test_while_the_server_is_away_only_the_administrator_sees_it(
    start: Start, configure: Configure, server: Server, away: str
) -> None:
    daemon = start(configure(listed=True))
    assert daemon.api(f"whitelist/{OLD.hex()}", method="POST")[0] == 200
    with unharmed(daemon), daemon.udp() as client:
        connection = connection_id(client)
        calls = changes(daemon)
        with getattr(server, away)(), ThreadPoolExecutor(len(calls)) as administrators:
            asked = {name: administrators.submit(timed, call) for name, call in calls.items()}
            done = False
            while not done:
                done = all(call.done() for call in asked.values())
                begun = time.monotonic()
                answer_to(client, announce_request(connection, OLD, 6881))
                assert is_listed(daemon, OLD)
                assert not is_listed(daemon, NEW)
                assert time.monotonic() - begun < AT_ONCE
            for name, call in asked.items():
                check_failed(name, *call.result())
        for name, call in calls.items():
            assert call()[0] == 200, name
        assert (is_listed(daemon, OLD), is_listed(daemon, NEW)) == (False, True)


@pytest.mark.clause("5.2.13")
def test_counters_wait_for_a_server_that_comes_back(
    start: Start, configure: Configure, server: Server, store: Store
) -> None:
    daemon = start(configure(core="[core.tracker_policy]\npersistent_torrent_completed_stat = true"))
    with server.stopped():
        daemon.get("http", announce_target(OLD, 6881))
        daemon.get("http", f"{announce_target(OLD, 6881)}&event=completed")
        daemon.wait_for_line(
            "WARN .*The completed counters of 1 torrents are not saved yet, next try in 2 s: "
        )
    until = time.monotonic() + 20
    while not store.execute("SELECT 1 FROM torrents WHERE completed = 1"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert daemon.stop() == 0


def test_the_stop_does_not_wait_long_for_a_server_that_says_nothing(
    start: Start, configure: Configure, server: Server
) -> None:
    daemon = start(configure(core="[core.tracker_policy]\npersistent_torrent_completed_stat = true"))
    with server.paused():
        daemon.get("http", announce_target(OLD, 6881))
        daemon.get("http", f"{announce_target(OLD, 6881)}&event=completed")
        began = time.monotonic()
        assert daemon.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 5
    daemon.wait_for_line("ERROR .*The completed counters of 1 torrents could not be saved: ")


# --- a commit that is not confirmed


class Proxy(socketserver.ThreadingTCPServer):
    """Between the tracker and the server."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passage)
        self.server_port = port
        self.port: int = self.server_address[1]
        self.swallows_confirmations = False
        """Ends a connection when a commit has been made, without telling so."""
        self.is_closed = False
        """Ends every connection."""


class _Passage(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        client: socket.socket = self.request
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.server.server_port)) as to,
        ):
            while True:
                readable, _, _ = select.select([client, to], [], [], 0.1)
                if self.server.is_closed:
                    return
                for each in readable:
                    data = each.recv(65536)
                    if not data:
                        return
                    (to if each is client else client).sendall(data)
                    if each is client and self.server.swallows_confirmations and b"COMMIT" in data:
                        to.recv(65536)
                        return


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        yield proxy
        proxy.is_closed = True
        proxy.shutdown()
        thread.join()


def in_doubt(start: Start, configure: Configure, server: Server, proxy: Proxy) -> Any:
    """A daemon that was refused a change which its database has made."""
    daemon = start(configure(server.url(port=proxy.port), listed=True))
    proxy.swallows_confirmations = True
    status, body = daemon.api(f"whitelist/{NEW.hex()}", method="POST")
    proxy.swallows_confirmations = False
    proxy.is_closed = True
    assert (status, b"failed to whitelist torrent" in body) == (500, True)
    daemon.wait_for_line("WARN .*A change may have been made; it will be undone when the database answers: ")
    assert not is_listed(daemon, NEW)
    return daemon


def test_a_change_that_was_not_confirmed_is_undone(
    start: Start, configure: Configure, server: Server, store: Store, proxy: Proxy
) -> None:
    daemon = in_doubt(start, configure, server, proxy)
    assert store.execute("SELECT info_hash FROM whitelist") == [(NEW.hex(),)]
    assert daemon.api(f"whitelist/{OLD.hex()}", method="POST")[0] == 500
    proxy.is_closed = False
    daemon.wait_for_line("WARN .*The change that may have been made is undone")
    assert store.execute("SELECT info_hash FROM whitelist") == []
    assert daemon.api(f"whitelist/{OLD.hex()}", method="POST")[0] == 200
    assert daemon.stop() == 0


def test_a_change_in_doubt_that_cannot_be_undone_is_an_error_of_the_log(
    start: Start, configure: Configure, server: Server, proxy: Proxy
) -> None:
    daemon = in_doubt(start, configure, server, proxy)
    status = daemon.stop()
    assert status == 0, daemon.errors()
    daemon.wait_for_line(
        "ERROR .*A change of the whitelist that was refused may have been made, and could not "
    )
