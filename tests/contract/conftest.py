"""The daemon as its users see it: a process, sockets, files, signals."""

import contextlib
import functools
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

import bencodepy
import pytest

from tests.servers import Store
from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId
from torrust_py.udp.packets import (
    AnnounceRequest,
    ConnectResponse,
    Response,
    ScrapeRequest,
    encode_announce_request,
    encode_connect_request,
    encode_scrape_request,
    parse_response,
)

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
    def row(self) -> tuple[int, str | None, str]:
        """Status, content type and text."""
        return self.status, self.headers["Content-Type"], self.text

    @property
    def decoded(self) -> Any:  # whatever the body holds
        """The bencoded dictionary of a success of the HTTP tracker; its keys stand in their order."""
        assert (self.status, self.headers["Content-Type"]) == (200, "application/octet-stream"), self.body
        decoded = bencodepy.decode(self.body)
        assert bencodepy.encode(decoded) == self.body
        return decoded

    @property
    def scraped(self) -> dict[bytes, tuple[int, int, int]]:
        """Complete, downloaded and incomplete of each info hash."""
        files = self.decoded[b"files"].items()
        return {
            info_hash: (counts[b"complete"], counts[b"downloaded"], counts[b"incomplete"])
            for info_hash, counts in files
        }

    @property
    def failure(self) -> str:
        """The reason in a bencoded failure of the HTTP tracker: the body is that and nothing else."""
        assert (self.status, self.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        reason = bencodepy.decode(self.body)
        assert reason.keys() == {b"failure reason"}
        assert self.body == bencodepy.encode(reason)
        return str(reason[b"failure reason"].decode())


class UdpConversation:
    """A client of a UDP tracker. It shows the connection id that it was given, unless told otherwise."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def exchange(self, datagram: bytes) -> bytes:
        self._socket.send(datagram)
        return self._socket.recv(65_536)

    def ask(self, datagram: bytes) -> Response:
        return parse_response(self.exchange(datagram))

    @functools.cached_property
    def connection_id(self) -> bytes:
        response = self.ask(encode_connect_request(b"\0\0\x11\x11"))
        assert isinstance(response, ConnectResponse)
        return response.connection_id

    def announcement(
        self, info_hash: bytes, port: int, *, left: int = 0, event: AnnounceEvent = AnnounceEvent.STARTED,
        num_want: int | None = None, peer_id: bytes = b"-qB00000000000000001",
        connection_id: bytes | None = None,
    ) -> bytes:  # fmt: skip
        """The datagram of an announce, with transaction id 0x2222; of a seeder if not said otherwise."""
        shown = self.connection_id if connection_id is None else connection_id
        request = AnnounceRequest(
            shown, b"\0\0\x22\x22", InfoHash(info_hash), PeerId(peer_id), 0, left, 0, event, num_want, port
        )
        return encode_announce_request(request)

    def announce(self, info_hash: bytes, port: int, **others: Any) -> Response:
        return self.ask(self.announcement(info_hash, port, **others))

    def scrape(self, *info_hashes: bytes, connection_id: bytes | None = None) -> Response:
        shown = self.connection_id if connection_id is None else connection_id
        hashes = [InfoHash(info_hash) for info_hash in info_hashes]
        return self.ask(encode_scrape_request(ScrapeRequest(shown, b"\0\0\x33\x33", hashes)))


def _move_to_3(fds: list[int]) -> None:
    """In the new process: to the file descriptors from 3 on, where systemd puts them."""
    highest = max((3 + len(fds), *fds))
    copies = [os.dup2(fd, highest + number) for number, fd in enumerate(fds, start=1)]
    for number, copy in enumerate(copies, start=3):
        os.dup2(copy, number)


class Daemon:
    """A running tracker. `lines` is what it has printed so far, standard error after standard output."""

    def __init__(
        self,
        config: str,
        directory: Path,
        environment: dict[str, str | None],
        held: Sequence[socket.socket] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        """`held` are passed to it as systemd does; `prefix` is a program that becomes the daemon."""
        self.database = directory / "sqlite3.db"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("TORRUST") or name == "TORRUST_TRACKER_DATA_PLANE"
        }
        variables = {**inherited, "TORRUST_TRACKER_CONFIG_TOML": config, **environment}
        command = [sys.executable, "-m", "torrust_py"]
        if held:
            variables["LISTEN_FDS"] = str(len(held))
            command = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            [*prefix, *command],
            cwd=directory,
            env={name: value for name, value in variables.items() if value is not None},
            pass_fds=range(3, 3 + len(held)),
            preexec_fn=functools.partial(_move_to_3, [one.fileno() for one in held]),
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

    def wait_for_line(self, pattern: str, timeout: float = 20, *, times: int = 1) -> str:
        """The first line, or the one of that number, that contains `pattern` (a regular expression)."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [line for line in self.lines if re.search(pattern, line)]
            return len(found) >= times or self._ended

        with self._news:
            self._news.wait_for(is_there, timeout)
        assert len(found) >= times, f"no line {pattern!r} in:\n" + "\n".join(self.lines) + self.errors()
        return found[times - 1]

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
        ipv6: bool = False, headers: dict[str, str] | None = None, source: str | None = None,
    ) -> Answer:  # fmt: skip
        """One HTTP request over a connection of its own."""
        address = self.address(service, ipv6=ipv6)
        source_address = None if source is None else (source, 0)
        connection = http.client.HTTPConnection(*address, timeout=10, source_address=source_address)
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

    def announce(
        self, info_hash: bytes, /, *, key: str | None = None, ipv6: bool = False, source: str | None = None,
        headers: dict[str, str] | None = None, method: str = "GET", **params: object,
    ) -> Answer:  # fmt: skip
        """An announce over HTTP, of the minimum unless `params` say more; they are not encoded, and one that
        is None is left out.
        """
        given = {
            "info_hash": quote_from_bytes(info_hash), "peer_id": "-qB00000000000000001", "port": 17548,
            **params,
        }  # fmt: skip
        query = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
        path = "/announce" if key is None else f"/announce/{key}"
        return self.request(
            "http", f"{path}?{query}", method=method, ipv6=ipv6, source=source, headers=headers
        )

    def scrape(
        self, *info_hashes: bytes, key: str | None = None, ipv6: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """A scrape over HTTP."""
        query = "&".join(f"info_hash={quote_from_bytes(info_hash)}" for info_hash in info_hashes)
        path = "/scrape" if key is None else f"/scrape/{key}"
        return self.request("http", f"{path}?{query}", ipv6=ipv6, headers=headers)

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

    def call(
        self, method: str, path: str, *, token: str | None = "MyAccessToken",
        body: str | bytes | None = None, headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """A call of the REST API at `/api/v1`; a token that is None is left out of the query."""
        separator = "&" if "?" in path else "?"
        parameter = "" if token is None else f"{separator}token={token}"
        return self.request("api", f"/api/v1{path}{parameter}", method=method, body=body, headers=headers)

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

    @contextlib.contextmanager
    def conversation(
        self, *, ipv6: bool = False, source: str | None = None, number: int = 0
    ) -> Iterator[UdpConversation]:
        """A client of the UDP tracker that knows the protocol."""
        with self.udp(ipv6=ipv6, source=source, number=number) as client:
            yield UdpConversation(client)

    def torrent(self, info_hash: bytes) -> Any:
        """What the API knows of a torrent: its object, or the text that says that it is not known."""
        status, body = self.api(f"torrent/{info_hash.hex()}")
        assert status == 200
        return json.loads(body)

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
def share() -> Callable[[Path, str], contextlib.AbstractContextManager[Daemon]]:
    """Makes a daemon, in a directory and with a configuration, for all tests of a module."""
    return shared


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


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A tracker without limits, for one module to fill."""
    core = "[core.limits]\nmax_torrents = 0\nmax_peers = 0"
    with shared(tmp_path_factory.mktemp("crowded"), document(core)) as daemon:
        yield daemon


@pytest.fixture
def info_hash() -> bytes:
    """An info hash that no other test uses."""
    return secrets.token_bytes(20)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[StartDaemon]:
    """Launches daemons in a directory of their own; does not wait for anything. A variable that is None is
    not set.
    """
    with contextlib.ExitStack() as daemons:

        def one(
            config: str | None = None,
            *,
            held: Sequence[socket.socket] = (),
            prefix: Sequence[str] = (),
            **environment: str | None,
        ) -> Daemon:
            daemon = Daemon(document() if config is None else config, tmp_path, environment, held, prefix)
            daemons.callback(daemon.kill)
            return daemon

        yield one


@pytest.fixture
def start(launch: StartDaemon) -> StartDaemon:
    """Starts daemons: all services listen when it returns."""

    def one(
        config: str | None = None,
        *,
        held: Sequence[socket.socket] = (),
        prefix: Sequence[str] = (),
        **environment: str | None,
    ) -> Daemon:
        daemon = launch(config, held=held, prefix=prefix, **environment)
        daemon.wait_for_line("HEALTH CHECK API: Started on")
        return daemon

    return one


@pytest.fixture(scope="session")
def configure() -> Callable[..., str]:
    """Makes the document of a configuration."""
    return document


@pytest.fixture
def configure_stored(store: Store) -> Callable[..., str]:
    """Makes one with the database of `store`, which is each kind in its turn."""

    def stored(**options: Any) -> str:
        return document(**options).replace('path = "sqlite3.db"', store.config)

    return stored
