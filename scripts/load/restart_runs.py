"""The warm restart: how long a tracker is away, what the snapshot costs meanwhile, and who has to wait."""

import contextlib
import re
import signal
import socket
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from growth_runs import Phase, longest_callbacks_ms, watcher
from measuring import DataSet, Load, LoadGenerator, Window, check_filled, fill_tracker
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
_RATES = (1_000, 20_000)  # requests a second while it restarts with a socket that is held
_HELD = DataSet("200 k peers", torrents=10_000, peers=200_000, addresses=256)
_HELD_BUFFER = 8 << 20  # bytes: ReceiveBuffer of systemd/torrust-tracker.socket
_SECONDS, _BEFORE, _LOST_AFTER = 8.0, 2.0, 5.0
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
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
    _measure_held(place, load, report, steps, rounds=rounds)


def _measure_held(place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int) -> None:
    """Restarts under load, with a socket that outlives the processes: who waits, and who is not answered."""
    steps.expect(rounds * len(_RATES))
    for rate in _RATES:
        windows = []
        for number in range(1, rounds + 1):
            with steps.step(f"restart with a held socket, {rate:,}/s, round {number}"):
                windows.append(_restart_under_load(place, load, rate))
        what = f"restart with a held socket, {rate:,}/s for {_SECONDS:g} s, {_HELD.name}, native"
        most_lost = 0 if rate == _RATES[0] else None
        report.add(f"Lost: {what}", [window.lost for window in windows], "requests", most_lost)
        report.add(f"Answered after more than 0.1 s: {what}", [window.late for window in windows], "requests")
        report.add(f"The latest answer: {what}", [window.latest_us / 1e6 for window in windows], "s")


def _restart_under_load(place: Place, load: LoadGenerator, rate: int) -> Window:
    file = place.directory / "held.snapshot"
    paced = Load(f"{rate:,}/s", mix="0/100/0", seconds=_SECONDS, rate=rate, patience=_LOST_AFTER)
    with ExitStack() as stack:
        held = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with contextlib.suppress(PermissionError):  # else what the kernel grants to everybody
            held.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _HELD_BUFFER)
        held.bind(("127.0.0.1", 0))
        started = partial(tracker, place, "held", snapshot=file, snapshot_interval=_SELDOM, held=held)
        old = stack.enter_context(started())
        fill_tracker(load, old, _HELD)
        generator = stack.enter_context(load.running(old, _HELD, paced))
        time.sleep(_BEFORE)
        old.process.send_signal(signal.SIGTERM)
        old.process.wait(_PATIENCE)
        stack.enter_context(started())
        window = load.note(old, generator.communicate()[0])
    file.unlink()
    return window


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
