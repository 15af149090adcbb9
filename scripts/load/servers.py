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

import tomlkit
from tomlkit.items import Table

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "build/load"
TOKEN = "benchmark"  # of the API, which listens on 127.0.0.1 only

_CONNECT_REQUEST = bytes.fromhex("00000417271019800000000000000001")
_PATIENCE = 180.0  # seconds until a server answers: a million hashes may have to be loaded
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
        environment: Mapping[str, str] | None = None,
        gives_known_peers: bool = True,
        can_be_suspended: bool = True,
    ) -> Iterator[Server]:
        """Runs until the context is left. Raises Unavailable if it does not answer."""
        log_file = self.directory / f"{name}.log"
        with log_file.open("wb") as log:
            started = time.monotonic()
            process = subprocess.Popen(
                ["taskset", "--cpu-list", str(self.core), *command],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C reaches the benchmark alone, which ends them
            )
        server = Server(name, process, log_file, port, started, api_port, gives_known_peers, can_be_suspended)
        try:
            _wait_for_answer(server)
            yield server
        finally:
            _end(process)


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
    program: Sequence[str | Path] = ("-m", "torrust_py"),
) -> contextlib.AbstractContextManager[Server]:
    """`form` is native or portable; `listed_in`, a database, makes it a listed tracker; times in seconds.

    Peers outlast the benchmark unless `max_peer_timeout` is shorter.
    """
    port, api_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    database = listed_in or place.directory / f"{name}.db"
    document = {
        "metadata": {"schema_version": "2.0.0"},
        "logging": {"threshold": "info"},
        "core": {
            "listed": listed_in is not None,
            "private": False,
            "inactive_peer_cleanup_interval": cleanup_interval,
            "announce_policy": {"interval": 5, "interval_min": 5},
            "database": {"driver": "sqlite3", "path": str(database)},
            "tracker_policy": {"max_peer_timeout": max_peer_timeout},
        },
        "udp_trackers": [{"bind_address": f"{host}:{port}"}],
        "http_api": {"bind_address": f"127.0.0.1:{api_port}", "access_tokens": {"admin": TOKEN}},
        "health_check_api": {"bind_address": "127.0.0.1:0"},
    }
    environment = {
        "TORRUST_TRACKER_CONFIG_TOML": tomlkit.dumps(document),
        "TORRUST_TRACKER_DATA_PLANE": form,
    }
    return place.running(
        name, [sys.executable, *program], port=port, api_port=api_port, environment=environment
    )


# --- the others


def opentracker(place: Place, info_hashes: Path) -> contextlib.AbstractContextManager[Server]:
    """Debian's, which knows no torrents but those that it is told. Raises Unavailable."""
    program = shutil.which("opentracker") or _install("opentracker")
    port = free_port(socket.SOCK_DGRAM)
    configuration = place.directory / "opentracker.conf"
    # Started as root it goes to its directory for good before it reads the list, and gives root up.
    where = Path("/") / info_hashes.name if os.geteuid() == 0 else info_hashes
    configuration.write_text(
        f"tracker.rootdir {info_hashes.parent}\naccess.whitelist {where}\nlisten.udp 127.0.0.1:{port}\n"
    )
    return place.running("opentracker", [program, "-f", configuration], port=port)


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
        client.settimeout(0.002)
        while time.monotonic() < server.started + _PATIENCE and server.process.poll() is None:
            try:
                client.send(_CONNECT_REQUEST)
                client.recv(64)
            except TimeoutError:
                continue
            except ConnectionRefusedError:  # it does not listen yet
                time.sleep(0.002)
            else:
                return
    raise Unavailable(f"{server.name} does not answer: {server.last_words()}")


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
