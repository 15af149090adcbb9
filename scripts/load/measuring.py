"""What is measured: windows of load on one server, and calls of the tracker's API meanwhile."""

import contextlib
import http.client
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from servers import PROGRAMS, TOKEN, Server, ServerFailed

_OUTSTANDING = 128  # fits into the receive buffer that the kernel gives to those who do not ask for more
_NUM_WANT = 50
_PAUSE = 0.005  # seconds between two calls of the API


class DataSet(NamedTuple):
    """Peers at 127.1.x.y. Zipf's law spreads them over the torrents, or, if `even`, equal chances."""

    name: str
    torrents: int
    peers: int
    addresses: int = 1024
    even: bool = False
    seed: int = 1

    def words(self) -> list[str]:
        numbers = {
            "--torrents": self.torrents,
            "--peers": self.peers,
            "--addresses": self.addresses,
            "--seed": self.seed,
            "--num-want": _NUM_WANT,
        }
        words = [word for name, number in numbers.items() for word in (name, str(number))]
        return [*words, "--even"] if self.even else words


class Load(NamedTuple):
    """Requests of one kind for so many seconds; `mix` is connect/announce/scrape."""

    name: str
    mix: str = "5/90/5"
    seconds: float = 1.5
    rate: int | None = None
    """Requests a second; None keeps 128 under way."""
    patience: float = 0.5
    """Seconds after which a request counts as lost."""

    def words(self) -> list[str]:
        timing = ["close", "--outstanding", str(_OUTSTANDING)]
        if self.rate is not None:
            timing = ["pace", "--rate", str(self.rate)]
        return [*timing, "--mix", self.mix, "--seconds", str(self.seconds), *self._patience()]

    def _patience(self) -> list[str]:
        return ["--patience", str(self.patience)] if self.patience != Load._field_defaults["patience"] else []


class Window(NamedTuple):
    """What the load generator saw. `server_ns` is CPU time, latencies count from when a request was due."""

    sent: int
    answered: int
    lost: int
    wrong: int
    seconds: float
    server_ns: int
    p50_us: float
    p99_us: float
    p999_us: float
    mean_peers: float
    late: int = 0
    """Answered after more than a tenth of a second; not known of wrk, and so is the next."""
    latest_us: float = 0.0

    @property
    def cpu_us(self) -> float:
        """Microseconds of the server's CPU for each response."""
        return self.server_ns / 1000 / max(1, self.answered)

    @property
    def rate(self) -> float:
        return self.answered / self.seconds


def ratios(windows: Sequence[Window], others: Sequence[Window]) -> list[float]:
    """CPU time per response against that of the others, round by round."""
    return [window.cpu_us / other.cpu_us for window, other in zip(windows, others, strict=True)]


@dataclass(slots=True)
class LoadGenerator:
    """Runs on `core`, and keeps count of what was not right, by the server's name."""

    core: int
    lost: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def fill(self, server: Server, data: DataSet) -> None:
        """Announce every peer."""
        self._run(server, data, ["fill", "--outstanding", str(_OUTSTANDING)])

    def run(self, server: Server, data: DataSet, load: Load) -> Window:
        return self._run(server, data, load.words())

    @contextlib.contextmanager
    def running(self, server: Server, data: DataSet, load: Load) -> Iterator[subprocess.Popen[str]]:
        """In the background, and nice: it shares its core with who looks at the server meanwhile."""
        command = ["nice", "-n", "19", *self._command(server, data, load.words())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def note(self, server: Server, printed: str) -> Window:
        """Read what the generator printed. Raises ServerFailed if that is nothing."""
        if not printed:
            raise ServerFailed(f"no load on {server.name} (see above), which said: {server.last_words()}")
        window = Window(**json.loads(printed))
        self.lost[server.name] += window.lost
        self.wrong[server.name] += window.wrong
        return window

    def _run(self, server: Server, data: DataSet, words: Sequence[str]) -> Window:
        command = self._command(server, data, words)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        return self.note(server, done.stdout)

    def _command(self, server: Server, data: DataSet, words: Sequence[str]) -> list[str]:
        pinned = ["taskset", "--cpu-list", str(self.core), str(PROGRAMS / "udp_load"), *words]
        checked = [] if server.gives_known_peers else ["--any-peers"]
        return [*pinned, "--port", str(server.port), "--server", str(server.pid), *data.words(), *checked]


def info_hashes(data: DataSet) -> str:
    """In hexadecimal, one a line."""
    command = [str(PROGRAMS / "udp_load"), "list", *data.words()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# --- the API


def call(server: Server, path: str, *, method: str = "GET") -> bytes:
    """The body of the answer. Raises ServerFailed unless its status is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", server.api_port, timeout=120)
    return _call(connection, path, method=method)


def stats(server: Server) -> dict[str, int]:
    counters: dict[str, int] = json.loads(call(server, "/api/v1/stats"))
    return counters


def stats_latencies_ms(server: Server, until_ended: subprocess.Popen[str]) -> list[float]:
    """How long /api/v1/stats took, again and again over one connection while that process runs."""
    latencies = []
    connection = http.client.HTTPConnection("127.0.0.1", server.api_port, timeout=10)
    while until_ended.poll() is None:
        start = time.perf_counter()
        _call(connection, "/api/v1/stats")
        latencies.append((time.perf_counter() - start) * 1000)
        time.sleep(_PAUSE)
    return latencies


def _call(connection: http.client.HTTPConnection, path: str, *, method: str = "GET") -> bytes:
    connection.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise ServerFailed(f"{path}: {response.status} {body[:200]!r}")
    return body


def fill_tracker(load: LoadGenerator, server: Server, data: DataSet) -> None:
    """Raises ServerFailed if not every peer is there afterwards."""
    load.fill(server, data)
    check_filled(server, data)


def check_filled(server: Server, data: DataSet) -> None:
    """Raises ServerFailed if it has not every peer."""
    counters = stats(server)
    peers = counters["seeders"] + counters["leechers"]
    if (counters["torrents"], peers) != (data.torrents, data.peers):
        raise ServerFailed(f"{server.name} has {counters['torrents']} torrents and {peers} peers")
