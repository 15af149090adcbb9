"""The servers that are measured: each on the same core, and stopped (SIGSTOP) unless it is measured."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tomlkit
from tomlkit.items import Table

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "build/load"
TOKEN = "benchmark"  # of the API, which listens on 127.0.0.1 only

_CONNECT_REQUEST = bytes.fromhex("00000417271019800000000000000001")
_PATIENCE = 180.0  # seconds until a server answers: a million hashes may have to be loaded
_PAUSE = 0.002  # seconds between two tries
_GRACE = 10.0  # seconds to end in


class Unavailable(Exception):
    """A server that cannot be measured here; the text is the reason."""


class ServerFailed(Exception):
    """One that could, and then did not as it should; the text says which and what."""


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    port: int
    started: float
    """`time.monotonic()` when it was started."""
    api_port: int = 0
    tls_port: int = 0
    gives_known_peers: bool = True
    can_be_suspended: bool = True

    @property
    def pid(self) -> int:
        return self.process.pid

    def rss(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(self.name)

    def cpu_ns(self) -> int:
        """What all its threads have run."""
        schedstats = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(file.read_text().split()[0]) for file in schedstats)

    def last_words(self) -> str:
        """The last line that it wrote."""
        return self.log.read_text(errors="replace").strip().rpartition("\n")[2] or "it says nothing"

    def suspend(self) -> None:
        if self.can_be_suspended:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def resumed(server: Server) -> Iterator[None]:
    server.resume()
    try:
        yield
    finally:
        server.suspend()


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run: `core` is for them alone, `directory` for their files."""

    core: int
    directory: Path

    @contextlib.contextmanager
    def running(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        port: int,
        api_port: int = 0,
        tls_port: int = 0,
        environment: Mapping[str, str] | None = None,
        over_tcp: bool = False,
        gives_known_peers: bool = True,
        can_be_suspended: bool = True,
        held: socket.socket | None = None,
    ) -> Iterator[Server]:
        """Runs until the context is left. Raises Unavailable if it does not answer.

        The socket that is `held` is passed to it as systemd does.

        One `over_tcp` answers when it accepts connections at all of its ports.
        """
        log_file = self.directory / f"{name}.log"
        with log_file.open("wb") as log:
            started = time.monotonic()
            process = subprocess.Popen(
                [*_passing(held), "taskset", "--cpu-list", str(self.core), *command],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                pass_fds=() if held is None else (held.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C reaches the benchmark alone, which ends them
            )
        server = Server(
            name, process, log_file, port, started, api_port, tls_port, gives_known_peers, can_be_suspended
        )
        try:
            (_wait_for_listeners if over_tcp else _wait_for_answer)(server)
            yield server
        finally:
            _end(process)


def _passing(held: socket.socket | None) -> list[str]:
    """What becomes the command that follows, with this socket as its first (sd_listen_fds(3))."""
    if held is None:
        return []
    script = f'exec 3<&{held.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    return ["bash", "-c", script, "passing"]


def floor(place: Place) -> contextlib.AbstractContextManager[Server]:
    port = free_port(socket.SOCK_DGRAM)
    return place.running("floor", [PROGRAMS / "udp_floor", str(port)], port=port, gives_known_peers=False)


# --- the tracker


def tracker(
    place: Place,
    name: str,
    *,
    form: str = "native",
    host: str = "127.0.0.1",
    listed_in: Path | None = None,
    max_peer_timeout: int = 86_400,
    cleanup_interval: int = 600,
    snapshot: Path | None = None,
    snapshot_interval: int = 300,
    held: socket.socket | None = None,
    program: Sequence[str | Path] = ("-m", "torrust_py"),
) -> contextlib.AbstractContextManager[Server]:
    """`form` is native or portable; `listed_in`, a database, makes it a listed tracker; in the file
    `snapshot` its swarms outlive it; its UDP socket may be `held` by the caller; times in seconds.

    Peers outlast the benchmark unless `max_peer_timeout` is shorter.
    """
    port = free_port(socket.SOCK_DGRAM) if held is None else held.getsockname()[1]
    api_port = free_port(socket.SOCK_STREAM)
    kept = {} if snapshot is None else {"snapshot": {"path": str(snapshot), "interval": snapshot_interval}}
    document = _document(
        {
            "listed": listed_in is not None,
            "private": False,
            "inactive_peer_cleanup_interval": cleanup_interval,
            "database": {"driver": "sqlite3", "path": str(listed_in or place.directory / f"{name}.db")},
            "tracker_policy": {"max_peer_timeout": max_peer_timeout},
            **kept,
        },
        api_port=api_port,
    )
    document["udp_trackers"] = [{"bind_address": f"{host}:{port}"}]
    return place.running(
        name,
        [sys.executable, *program],
        port=port,
        api_port=api_port,
        environment=_environment(document, form),
        held=held,
    )


class Certificate(NamedTuple):
    """PEM files."""

    chain: Path
    key: Path


def http_tracker(
    place: Place,
    name: str,
    *,
    form: str = "native",
    private: bool = False,
    on_reverse_proxy: bool = False,
    certificate: Certificate | None = None,
) -> contextlib.AbstractContextManager[Server]:
    """At two ports, of which one speaks TLS, if it has a certificate. Peers outlast the benchmark."""
    port, api_port, tls_port = (free_port(socket.SOCK_STREAM) for _ in range(3))
    document = _document(
        {
            "listed": False,
            "private": private,
            "database": {"driver": "sqlite3", "path": str(place.directory / f"{name}.db")},
            "net": {"on_reverse_proxy": on_reverse_proxy},
            "tracker_policy": {"max_peer_timeout": 86_400},
        },
        api_port=api_port,
    )
    listeners: list[dict[str, object]] = [{"bind_address": f"127.0.0.1:{port}"}]
    if certificate is not None:
        files = {"ssl_cert_path": str(certificate.chain), "ssl_key_path": str(certificate.key)}
        listeners.append({"bind_address": f"127.0.0.1:{tls_port}", "tsl_config": files})
    document["http_trackers"] = listeners
    return place.running(
        name,
        [sys.executable, "-m", "torrust_py"],
        port=port,
        api_port=api_port,
        tls_port=tls_port if certificate is not None else 0,
        environment=_environment(document, form),
        over_tcp=True,
    )


def _document(core: Mapping[str, object], *, api_port: int) -> dict[str, object]:
    return {
        "metadata": {"schema_version": "2.0.0"},
        "logging": {"threshold": "info"},
        "core": {"announce_policy": {"interval": 5, "interval_min": 5}, **core},
        "http_api": {"bind_address": f"127.0.0.1:{api_port}", "access_tokens": {"admin": TOKEN}},
        "health_check_api": {"bind_address": "127.0.0.1:0"},
    }


def _environment(document: Mapping[str, object], form: str) -> dict[str, str]:
    return {
        "TORRUST_TRACKER_CONFIG_TOML": tomlkit.dumps(document),
        "TORRUST_TRACKER_DATA_PLANE": form,
    }


# --- the others


def opentracker(
    place: Place, info_hashes: Path, *, over_tcp: bool = False
) -> contextlib.AbstractContextManager[Server]:
    """Debian's, which knows no torrents but those that it is told. Raises Unavailable."""
    program = installed("opentracker")
    port = free_port(socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM)
    listen = f"listen.{'tcp' if over_tcp else 'udp'} 127.0.0.1:{port}"
    configuration = place.directory / "opentracker.conf"
    # Started as root it goes to its directory for good before it reads the list, and gives root up.
    where = Path("/") / info_hashes.name if os.geteuid() == 0 else info_hashes
    configuration.write_text(f"tracker.rootdir {info_hashes.parent}\naccess.whitelist {where}\n{listen}\n")
    return place.running("opentracker", [program, "-f", configuration], port=port, over_tcp=over_tcp)


def aiohttp_application(place: Place) -> contextlib.AbstractContextManager[Server]:
    port = free_port(socket.SOCK_STREAM)
    program = Path(__file__).with_name("aiohttp_tracker.py")
    command: list[str | Path] = [sys.executable, program, str(port)]
    return place.running("aiohttp application", command, port=port, over_tcp=True)


def s_server(place: Place, certificate: Certificate) -> contextlib.AbstractContextManager[Server]:
    """OpenSSL's own server, which answers any request with a page about the session. Raises Unavailable."""
    port = free_port(socket.SOCK_STREAM)
    options = ("-www", "-quiet", "-tls1_3", "-accept", f"127.0.0.1:{port}")
    files = ("-cert", str(certificate.chain), "-key", str(certificate.key))
    command = [installed("openssl"), "s_server", *options, *files]
    return place.running("openssl s_server", command, port=port, tls_port=port, over_tcp=True)


def make_certificate(place: Place, name: str, *algorithm: str) -> Certificate:
    """One that is its own authority; `algorithm` is what `openssl req` is told. Raises Unavailable."""
    made = Certificate(place.directory / f"{name}.pem", place.directory / f"{name}.key")
    command = [installed("openssl"), "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-out", str(made.chain), "-keyout", str(made.key)]
    subprocess.run([*command, "-newkey", *algorithm, *files], capture_output=True, check=True)
    return made


def aquatic(place: Place, program: Path | None) -> contextlib.AbstractContextManager[Server]:
    """`aquatic_udp` with one worker, over io_uring if it was built with it. Raises Unavailable.

    Over io_uring a SIGSTOP ends it (EINTR, which it does not expect), so it idles while others are measured.
    """
    if program is None:
        raise Unavailable("give the aquatic_udp binary: --aquatic PATH")
    printed = subprocess.run([program, "-p"], capture_output=True, text=True, check=True)
    document = tomlkit.parse(printed.stdout)
    port = free_port(socket.SOCK_DGRAM)
    document["socket_workers"] = 1
    _listen(_table(document, "network"), port)
    _table(document, "protocol")["max_response_peers"] = 50
    cleaning = _table(document, "cleaning")
    for name in ("torrent_cleaning_interval", "max_peer_age", "max_connection_age"):
        cleaning[name] = 86_400
    configuration = place.directory / "aquatic.toml"
    configuration.write_text(tomlkit.dumps(document))
    over_io_uring = "use_io_uring" in _table(document, "network")
    return place.running(
        "aquatic io_uring" if over_io_uring else "aquatic mio",
        [program, "-c", configuration],
        port=port,
        can_be_suspended=not over_io_uring,
    )


def _table(document: tomlkit.TOMLDocument, name: str) -> Table:
    table = document[name]
    assert isinstance(table, Table)
    return table


def _listen(network: Table, port: int) -> None:
    """Versions differ in how they are told."""
    address = f"127.0.0.1:{port}"
    if "address" in network:
        network["address"] = address
    else:
        network["address_ipv4"] = address
        network["use_ipv6"] = False
    if "use_io_uring" in network:
        network["use_io_uring"] = True


def installed(package: str) -> str:
    """The program of this name, from the package of this name; installed if root asks. Raises Unavailable."""
    return shutil.which(package) or _install(package)


def _install(package: str) -> str:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable(f"not installed: apt-get install {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
        subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=False)
    program = shutil.which(package)
    if program is None:
        raise Unavailable(f"apt-get did not install {package}")
    return program


# --- processes


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_answer(server: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", server.port))
        client.settimeout(_PAUSE)
        while _may_come(server):
            try:
                client.send(_CONNECT_REQUEST)
                client.recv(64)
            except TimeoutError:
                continue
            except ConnectionRefusedError:  # it does not listen yet
                time.sleep(_PAUSE)
            else:
                return
    raise Unavailable(f"{server.name} does not answer: {server.last_words()}")


def _wait_for_listeners(server: Server) -> None:
    ports = [port for port in (server.port, server.tls_port, server.api_port) if port]
    while ports and _may_come(server):
        try:
            socket.create_connection(("127.0.0.1", ports[0])).close()
        except ConnectionRefusedError:
            time.sleep(_PAUSE)
        else:
            del ports[0]
    if ports:
        raise Unavailable(f"{server.name} does not listen: {server.last_words()}")


def _may_come(server: Server) -> bool:
    return time.monotonic() < server.started + _PATIENCE and server.process.poll() is None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except BaseException:  # a second Ctrl-C: no process may be left
        process.kill()
        raise
