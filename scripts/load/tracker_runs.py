"""The tracker alone: memory, the API under load, the start."""

import statistics
import time

from measuring import DataSet, Load, LoadGenerator, fill_tracker, stats_latencies_ms
from rows import Report
from servers import Place, tracker
from steps import Steps
from udp_runs import S

_MILLION = 1_000_000
_MEMORY = (
    ("native", DataSet("10 peers a torrent", _MILLION // 10, _MILLION, even=True), 85),
    ("native", DataSet("2.5 peers a torrent", 2 * _MILLION // 5, _MILLION, even=True), 110),
    ("native", DataSet("1.3 peers a torrent", 10 * _MILLION // 13, _MILLION, even=True), 140),
    ("portable", DataSet("10 peers a torrent", _MILLION // 10, _MILLION, even=True), 300),
)
_API_LOAD = Load("100,000/s", rate=100_000, seconds=5.0)
_IDLE = 2.0  # seconds after the first answer, by when everything is imported


def measure_memory(place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int) -> None:
    steps.expect(rounds * len(_MEMORY))
    for form, data, most in _MEMORY:
        values = []
        for number in range(1, rounds + 1):
            with steps.step(f"memory, {form}, {data.name}, round {number}"):
                values.append(_bytes_a_peer(place, load, data, form))
        report.add(
            f"RSS above the empty process, 1 M IPv4 peers, {data.name}: {form}", values, "B/peer", most
        )


def _bytes_a_peer(place: Place, load: LoadGenerator, data: DataSet, form: str) -> float:
    with tracker(place, form, form=form) as server:
        time.sleep(_IDLE)
        empty = server.rss()
        fill_tracker(load, server, data)
        return (server.rss() - empty) / data.peers


def measure_api(place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int) -> None:
    """One call of the API after the other, on the core of the load generator, which makes room for them."""
    steps.expect(1 + rounds)
    p99s, rates = [], []
    with tracker(place, "native") as server:
        with steps.step(f"filling {server.name}"):
            fill_tracker(load, server, S)
        for number in range(1, rounds + 1):
            with steps.step(f"API at {_API_LOAD.name}, round {number}"):
                with load.running(server, S, _API_LOAD) as generator:
                    latencies = stats_latencies_ms(server, generator)
                    window = load.note(server, generator.communicate()[0])
                p99s.append(statistics.quantiles(latencies, n=100)[98])
                rates.append(window.rate)
    what = f"API /api/v1/stats at {_API_LOAD.name} UDP requests, 200 k peers"
    report.add(f"{what}: p99", p99s, "ms", 10)
    report.add(f"{what}: UDP responses", rates, "/s")


def measure_start(place: Place, report: Report, steps: Steps, *, rounds: int) -> None:
    steps.expect(rounds)
    seconds, megabytes = [], []
    for number in range(1, rounds + 1):
        with steps.step(f"start, round {number}"), tracker(place, f"start {number}") as server:
            seconds.append(time.monotonic() - server.started)
            time.sleep(_IDLE)
            megabytes.append(server.rss() / 1e6)
    report.add("Start to the first UDP answer: native", seconds, "s", 1.0)
    report.add("RSS idle: native", megabytes, "MB", 80)
