"""What grows with the work: CPU per response and memory of more peers and larger swarms, and the longest
callback on the loop.
"""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from measuring import DataSet, Load, LoadGenerator, call, fill_tracker, info_hashes, ratios, stats
from rows import TIMES, Report
from servers import Place, Server, ServerFailed, tracker
from steps import Steps
from udp_runs import MIXED, interleave

_FEW, _MANY = "10 k peers", "10 M peers"
_SIZES = (
    DataSet(_FEW, torrents=1_000, peers=10_000),
    DataSet("1 M peers", torrents=100_000, peers=1_000_000),
    DataSet(_MANY, torrents=1_000_000, peers=10_000_000),
    DataSet("swarms of 2", torrents=50_000, peers=100_000, even=True),
    DataSet("swarms of 100", torrents=1_000, peers=100_000, even=True),
    DataSet("a swarm of 100,000", torrents=1, peers=100_000, even=True),
)

_CALLBACK_LIMIT_MS = 10
_MANY_TORRENTS = DataSet("400 k torrents", torrents=400_000, peers=1_000_000, even=True)
_LARGE_SWARM = DataSet("a swarm of 100,000", torrents=1, peers=100_000, even=True, seed=2)
_LONG_LOAD = Load("5/90/5", seconds=5.0)
_TIMEOUT, _CLEANUP_INTERVAL = 30, 10  # seconds, of the tracker whose peers expire
_PATIENCE = 180.0  # seconds until they all have


def measure_growth(place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int) -> None:
    _measure_sizes(place, load, report, steps, rounds=rounds)
    _measure_callbacks(place, load, report, steps, rounds=rounds)


# --- CPU and memory


def _measure_sizes(place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int) -> None:
    steps.expect(len(_SIZES) * (1 + rounds))
    with ExitStack() as stack:
        servers = {stack.enter_context(tracker(place, data.name)): data for data in _SIZES}
        for server, data in servers.items():
            with steps.step(f"filling {data.name}"):
                fill_tracker(load, server, data)
            server.suspend()
        memory = {server.name: server.rss() / 1e6 for server in servers}
        windows = interleave(load, steps, servers, [MIXED], rounds=rounds)[MIXED]
    for name, of_server in windows.items():
        report.add(f"UDP 5/90/5, {name}, CPU per response: native", [each.cpu_us for each in of_server], "µs")
        report.add(f"RSS, {name}: native", [memory[name]], "MB")
    growth = ratios(windows[_MANY], windows[_FEW])
    report.add(f"UDP 5/90/5, CPU: {_MANY} against {_FEW}, native", growth, TIMES, 1.6)


# --- callbacks


class Phase(NamedTuple):
    """What the tracker did between two moments of the monotonic clock."""

    name: str
    start: float
    end: float


def _measure_callbacks(
    place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int
) -> None:
    steps.expect(2 * rounds)
    longest: dict[str, list[float]] = {}
    for number in range(1, rounds + 1):
        for what, drive, timeout in (
            ("growth, load and listings", _drive_calls, 86_400),
            ("expiry", _drive_expiry, _TIMEOUT),
        ):
            with steps.step(f"callbacks, {what}, round {number}"):
                file = place.directory / f"callbacks {number} {what}.json"
                with _watched_tracker(place, file, max_peer_timeout=timeout) as server:
                    phases = drive(load, server)
                for name, ms in longest_callbacks_ms(file, phases):
                    longest.setdefault(name, []).append(ms)
    for name, values in longest.items():
        what = f"Longest callback on the loop, its CPU time, native: {name}"
        report.add(what, values, "ms", _CALLBACK_LIMIT_MS)


def _watched_tracker(place: Place, file: Path, *, max_peer_timeout: int) -> AbstractContextManager[Server]:
    return tracker(
        place,
        "watched",
        max_peer_timeout=max_peer_timeout,
        cleanup_interval=_CLEANUP_INTERVAL,
        program=watcher(file),
    )


def watcher(file: Path) -> tuple[Path, Path]:
    """The program that runs the tracker and notes its long callbacks in `file`."""
    return Path(__file__).with_name("loop_watch.py"), file


def _drive_calls(load: LoadGenerator, server: Server) -> list[Phase]:
    phases: list[Phase] = []
    with _phase(phases, "table growth to 400 k torrents"):
        fill_tracker(load, server, _MANY_TORRENTS)
    with _phase(phases, "load, 1 M peers"):
        load.run(server, _MANY_TORRENTS, _LONG_LOAD)
    with _phase(phases, "growth to a swarm of 100,000"):
        load.fill(server, _LARGE_SWARM)
    with _phase(phases, "load, a swarm of 100,000"):
        load.run(server, _LARGE_SWARM, _LONG_LOAD)
    with _phase(phases, "the first page of /torrents"):
        call(server, "/api/v1/torrents")
    with _phase(phases, "all 400 k of /torrents"):
        call(server, f"/api/v1/torrents?limit={2 * _MANY_TORRENTS.torrents}")
    with _phase(phases, "a listing of a swarm of 100,000"):
        call(server, f"/api/v1/torrent/{info_hashes(_LARGE_SWARM).strip()}")
    return phases


def _drive_expiry(load: LoadGenerator, server: Server) -> list[Phase]:
    phases: list[Phase] = []
    fill_tracker(load, server, _MANY_TORRENTS)  # all are still there afterwards, or this says so
    with _phase(phases, "expiry of 1 M peers"):
        patience = time.monotonic() + _PATIENCE
        while stats(server)["torrents"]:
            if time.monotonic() > patience:
                raise ServerFailed(f"the peers of {server.name} do not expire")
            time.sleep(0.5)
    return phases


@contextmanager
def _phase(phases: list[Phase], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    phases.append(Phase(name, start, time.monotonic()))


def longest_callbacks_ms(file: Path, phases: list[Phase]) -> Iterator[tuple[str, float]]:
    """The longest callback of each phase; 0 where none was long enough to be noted."""
    noted: list[tuple[float, float, str]] = json.loads(file.read_text())
    for name, start, end in phases:
        yield name, max((ms for ended, ms, _ in noted if start <= ended <= end), default=0.0)
