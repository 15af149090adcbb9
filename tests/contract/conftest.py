"""The daemon as its users see it: a process, sockets, files, signals."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

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

    def get(
        self, service: str, target: str, *, method: str = "GET", body: str | None = None, ipv6: bool = False,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:  # fmt: skip
        """Status and body of one HTTP request."""
        connection = http.client.HTTPConnection(*self.address(service, ipv6=ipv6), timeout=10)
        with contextlib.closing(connection):
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()

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
