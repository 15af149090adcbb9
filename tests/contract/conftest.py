"""The daemon as its users see it: a process, sockets, files, signals."""

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import bencodepy
import pytest

STARTED = {
    "udp": re.compile(r"UDP TRACKER: Started on: udp://(\S+):(\d+)$"),
    "http": re.compile(r"HTTP TRACKER: Started on: https?://(\S+):(\d+)$"),
    "api": re.compile(r" API: Started on https?://(\S+):(\d+)$"),
    "health": re.compile(r"HEALTH CHECK API: Started on: http://(\S+):(\d+)$"),
}

SERVICES = """
[[udp_trackers]]
bind_address = "127.0.0.1:0"
[[udp_trackers]]
bind_address = "[::1]:0"
[[http_trackers]]
bind_address = "127.0.0.1:0"
[[http_trackers]]
bind_address = "[::1]:0"
[http_api]
bind_address = "127.0.0.1:0"
[http_api.access_tokens]
admin = "MyAccessToken"
[health_check_api]
bind_address = "127.0.0.1:0"
"""


def document(core: str = "", services: str = SERVICES, *, private: bool = False, listed: bool = False) -> str:
    """A configuration: the mandatory options, lines of `[core]` and what follows it, the services."""
    return f"""
[metadata]
schema_version = "2.0.0"
[logging]
threshold = "info"
[core]
private = {str(private).lower()}
listed = {str(listed).lower()}
{core}
[core.database]
path = "sqlite3.db"
{services}
"""


class Answer(NamedTuple):
    """What came back over HTTP; the names of headers are looked up without regard to case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def failure(self) -> str:
        """The reason in a bencoded failure of the HTTP tracker: the body is that and nothing else."""
        reason = bencodepy.decode(self.body)
        assert reason.keys() == {b"failure reason"}
        assert self.body == bencodepy.encode(reason)
        return str(reason[b"failure reason"].decode())


class Daemon:
    """A running tracker. `lines` is what it has printed so far, standard error after standard output."""

    def __init__(self, config: str, directory: Path, environment: dict[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TORRUST")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torrust_py"],
            cwd=directory,
            env={**inherited, "TORRUST_TRACKER_CONFIG_TOML": config, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for_line(self, pattern: str, timeout: float = 20) -> str:
        """The first line that contains `pattern` (a regular expression)."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [line for line in self.lines if re.search(pattern, line)]
            return bool(found) or self._ended

        with self._news:
            self._news.wait_for(is_there, timeout)
        assert found, f"no line {pattern!r} in:\n" + "\n".join(self.lines) + self.errors()
        return found[0]

    def errors(self) -> str:
        """What it printed on standard error, once it has ended."""
        if self.process.poll() is None or self.process.stderr is None or self.process.stderr.closed:
            return ""
        return self.process.stderr.read()

    def address(self, service: str, *, ipv6: bool = False, number: int = 0) -> tuple[str, int]:
        """Where a service really listens."""
        matches = [match for line in self.lines if (match := STARTED[service].search(line))]
        addresses = [(match[1].strip("[]"), int(match[2])) for match in matches]
        return [address for address in addresses if (":" in address[0]) == ipv6][number]

    def request(
        self, service: str, target: str, *, method: str = "GET", body: str | bytes | None = None,
        ipv6: bool = False, headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """One HTTP request over a connection of its own."""
        connection = http.client.HTTPConnection(*self.address(service, ipv6=ipv6), timeout=10)
        with contextlib.closing(connection):
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def get(
        self, service: str, target: str, *, method: str = "GET", body: str | None = None, ipv6: bool = False,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:  # fmt: skip
        """Status and body of one HTTP request."""
        answer = self.request(service, target, method=method, body=body, ipv6=ipv6, headers=headers)
        return answer.status, answer.body

    def exchange(self, service: str, sent: bytes, *, ipv6: bool = False, timeout: float = 10) -> bytes:
        """All that comes back for these bytes until the service closes the connection."""
        received = b""
        with socket.create_connection(self.address(service, ipv6=ipv6), timeout) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while data := client.recv(65_536):
                    received += data
        return received

    def api(self, path: str, *, method: str = "GET", body: object = None) -> tuple[int, bytes]:
        """A call of the REST API with the token."""
        separator = "&" if "?" in path else "?"
        headers = {"Content-Type": "application/json"} if body is not None else {}
        text = json.dumps(body) if body is not None else None
        return self.get(
            "api", f"/api/v1/{path}{separator}token=MyAccessToken", method=method, body=text, headers=headers
        )

    def stats(self) -> dict[str, int]:
        status, body = self.api("stats")
        assert status == 200
        counters: dict[str, int] = json.loads(body)
        return counters

    @contextlib.contextmanager
    def udp(
        self, *, ipv6: bool = False, source: str | None = None, number: int = 0
    ) -> Iterator[socket.socket]:
        """A socket that speaks with the UDP tracker."""
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            if source is not None:
                client.bind((source, 0))
            client.connect(self.address("udp", ipv6=ipv6, number=number))
            yield client

    def stop(self, number: signal.Signals = signal.SIGINT, timeout: float = 10) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 10) -> int:
        status = self.process.wait(timeout)
        self._reader.join(5)
        return status

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


StartDaemon = Callable[..., Daemon]


@contextlib.contextmanager
def shared(directory: Path, config: str) -> Iterator[Daemon]:
    """A daemon that many tests ask; none of them may bring it to an unexpected failure."""
    daemon = Daemon(config, directory, {})
    try:
        daemon.wait_for_line("HEALTH CHECK API: Started on")
        yield daemon
        assert daemon.process.poll() is None
        assert not [line for line in daemon.lines if "Traceback" in line]
    finally:
        daemon.kill()


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A public tracker for all tests that need nothing else. Use an info hash of your own (`info_hash`)."""
    with shared(tmp_path_factory.mktemp("public"), document()) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A tracker that serves what is on the whitelist."""
    with shared(tmp_path_factory.mktemp("listed"), document(listed=True)) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A tracker that serves those who have a key."""
    with shared(tmp_path_factory.mktemp("private"), document(private=True)) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A tracker behind a reverse proxy."""
    core = "[core.net]\non_reverse_proxy = true"
    with shared(tmp_path_factory.mktemp("proxied"), document(core)) as daemon:
        yield daemon


@pytest.fixture
def info_hash() -> bytes:
    """An info hash that no other test uses."""
    return secrets.token_bytes(20)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[StartDaemon]:
    """Launches daemons in a directory of their own; does not wait for anything."""
    with contextlib.ExitStack() as daemons:

        def one(config: str | None = None, **environment: str) -> Daemon:
            daemon = Daemon(document() if config is None else config, tmp_path, environment)
            daemons.callback(daemon.kill)
            return daemon

        yield one


@pytest.fixture
def start(launch: StartDaemon) -> StartDaemon:
    """Starts daemons: all services listen when it returns."""

    def one(config: str | None = None, **environment: str) -> Daemon:
        daemon = launch(config, **environment)
        daemon.wait_for_line("HEALTH CHECK API: Started on")
        return daemon

    return one


@pytest.fixture
def configure() -> Callable[..., str]:
    """Makes the document of a configuration."""
    return document
