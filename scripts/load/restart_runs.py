"""The warm restart: how long a tracker of a million peers is away, and what the snapshot costs meanwhile."""

import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from growth_runs import Phase, longest_callbacks_ms, watcher
from measuring import DataSet, LoadGenerator, check_filled, fill_tracker
from rows import Report
from servers import Place, Server, ServerFailed, tracker
from steps import Steps

_PEERS = 1_000_000
_DATA = (
    DataSet("10 peers a torrent", _PEERS // 10, _PEERS, even=True),
    DataSet("1.3 peers a torrent", 10 * _PEERS // 13, _PEERS, even=True),
    DataSet("a single torrent", 1, _PEERS, addresses=16_384, even=True),
)
_OFTEN, _SELDOM = 2, 86_400  # seconds between two snapshots
_IDLE = 2.0  # seconds after the first answer, by when the API listens
_PATIENCE = 60.0  # seconds until one is written
_LONGEST_CALLBACK_MS, _LONGEST_READ, _LONGEST_RESTART = 5, 3.0, 5.0
_WRITTEN = re.compile(r"Snapshot \S+ written in (\d+) ms: .* (\d+) peers$", re.MULTILINE)
_READ = re.compile(r"Snapshot \S+, .*, read in (\d+) ms: ", re.MULTILINE)


def measure_restart(place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int) -> None:
    steps.expect(2 * rounds * len(_DATA))
    for data in _DATA:
        callbacks, written, away, read, sizes = [], [], [], [], []
        for number in range(1, rounds + 1):
            with steps.step(f"snapshot, {data.name}, round {number}"):
                callback_ms, write_ms = _while_written(place, load, data)
                callbacks.append(callback_ms)
                written.append(write_ms)
            with steps.step(f"restart, {data.name}, round {number}"):
                file = place.directory / "restart.snapshot"
                seconds, read_ms = _restart(place, load, data, file)
                away.append(seconds)
                read.append(read_ms / 1000)
                sizes.append(file.stat().st_size / _PEERS)
                file.unlink()
        what = f"1 M peers, {data.name}, native"
        report.add(
            f"Longest callback, its CPU time, while they are written: {what}",
            callbacks,
            "ms",
            _LONGEST_CALLBACK_MS,
        )
        report.add(f"Writing them while the tracker runs: {what}", written, "ms")
        report.add(f"Snapshot: {what}", sizes, "B/peer")
        report.add(f"Reading them at the start: {what}", read, "s", _LONGEST_READ)
        report.add(f"SIGTERM to the first answer of the next process: {what}", away, "s", _LONGEST_RESTART)


def _while_written(place: Place, load: LoadGenerator, data: DataSet) -> tuple[float, float]:
    """The longest callback, and how long the writing took, in milliseconds."""
    noted = place.directory / "callbacks while written.json"
    file = place.directory / "watched.snapshot"
    with tracker(place, "watched", snapshot=file, snapshot_interval=_OFTEN, program=watcher(noted)) as server:
        fill_tracker(load, server, data)
        start = time.monotonic()
        write_ms = _wait_for_snapshot(server)
        phase = Phase("", start, time.monotonic())
    file.unlink()
    [(_, longest)] = longest_callbacks_ms(noted, [phase])
    return longest, write_ms


def _wait_for_snapshot(server: Server) -> float:
    """The milliseconds that one took which began now or later: the second from now is one."""
    before = len(_complete(server))
    patience = time.monotonic() + _PATIENCE
    while len(found := _complete(server)) < before + 2:
        if time.monotonic() > patience:
            raise ServerFailed(f"{server.name} writes no snapshot: {server.last_words()}")
        time.sleep(0.1)
    return found[before + 1]


def _complete(server: Server) -> list[float]:
    """How long each snapshot took, in milliseconds, that has all peers."""
    written = _WRITTEN.findall(server.log.read_text(errors="replace"))
    return [float(ms) for ms, peers in written if int(peers) == _PEERS]


def _restart(place: Place, load: LoadGenerator, data: DataSet, file: Path) -> tuple[float, float]:
    """Seconds from the signal to the first answer, and the milliseconds of reading among them."""
    with ExitStack() as stack:
        old = stack.enter_context(tracker(place, "old", snapshot=file, snapshot_interval=_SELDOM))
        fill_tracker(load, old, data)
        start = time.monotonic()
        old.process.send_signal(signal.SIGTERM)
        old.process.wait(_PATIENCE)
        new = stack.enter_context(tracker(place, "new", snapshot=file, snapshot_interval=_SELDOM))
        seconds = time.monotonic() - start
        time.sleep(_IDLE)
        check_filled(new, data)
        read = _READ.search(new.log.read_text(errors="replace"))
        if read is None:
            raise ServerFailed(f"{new.name} has read no snapshot: {new.last_words()}")
        return seconds, float(read[1])
