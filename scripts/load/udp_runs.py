"""UDP: the tracker beside the floor and other trackers, and listed mode beside open mode."""

import contextlib
import random
import sqlite3
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from measuring import DataSet, Load, LoadGenerator, Window, fill_tracker, info_hashes, ratios
from rich.table import Table
from rows import TIMES, Report, spread
from servers import Place, Server, Unavailable, aquatic, floor, opentracker, resumed, tracker
from steps import Steps

S = DataSet("200 k peers", torrents=10_000, peers=200_000, addresses=256)
L = DataSet("1 M peers", torrents=100_000, peers=1_000_000)

MIXED = Load("5/90/5")
CONNECTING = Load("50/50/1", mix="50/50/1")
PACED = Load("20,000/s", rate=20_000)

LISTED_PAIRS = 15
LISTED_HASHES = 1_000_000

Results = dict[Load, dict[str, list[Window]]]
"""Windows by load and the server's name, in the order of the rounds."""


def measure_udp(
    place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int, aquatic_udp: Path | None
) -> None:
    for data, loads in ((S, (MIXED, CONNECTING, PACED)), (L, (MIXED,))):
        with ExitStack() as stack:
            servers, missing = _start_all(stack, place, data, aquatic_udp)
            steps.expect(len(servers) * (1 + rounds * len(loads)))
            for server in servers:
                with steps.step(f"{data.name}: filling {server.name}"):
                    _fill(load, server, data)
                server.suspend()
            memory = {server.name: server.rss() for server in servers}
            results = interleave(load, steps, dict.fromkeys(servers, data), loads, rounds=rounds)
        for kind in loads:
            report.measured.append(_table(f"UDP, {data.name}, {kind.name}", results[kind], memory))
            _judge(report, data, kind, results[kind], missing)


def interleave(
    load: LoadGenerator,
    steps: Steps,
    servers: Mapping[Server, DataSet],
    loads: Sequence[Load],
    *,
    rounds: int,
) -> Results:
    """Each load on each of the servers, which are suspended, once a round, in random order.

    A server has been filled with its data set.
    """
    results: Results = {kind: {server.name: [] for server in servers} for kind in loads}
    for number in range(1, rounds + 1):
        for kind in random.sample(loads, len(loads)):
            for server, data in random.sample(list(servers.items()), len(servers)):
                what = f"{kind.name}, {data.name}, round {number}: {server.name}"
                with steps.step(what), resumed(server):
                    results[kind][server.name].append(load.run(server, data, kind))
    return results


def _start_all(
    stack: ExitStack, place: Place, data: DataSet, aquatic_udp: Path | None
) -> tuple[list[Server], dict[str, str]]:
    """Those that there are, and for each that there is not the reason."""
    listed = place.directory / f"{data.torrents}.txt"
    listed.write_text(info_hashes(data))
    servers, missing = [], {}
    servers.append(stack.enter_context(floor(place)))
    servers.append(stack.enter_context(tracker(place, "native")))
    servers.append(stack.enter_context(tracker(place, "native 0.0.0.0", host="0.0.0.0")))
    servers.append(stack.enter_context(tracker(place, "portable", form="portable")))
    others: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "opentracker": lambda: opentracker(place, listed),
        "aquatic": lambda: aquatic(place, aquatic_udp),
    }
    for name, start in others.items():
        try:
            servers.append(stack.enter_context(start()))
        except Unavailable as reason:
            missing[name] = str(reason)
    return servers, missing


def _fill(load: LoadGenerator, server: Server, data: DataSet) -> None:
    if server.api_port:
        fill_tracker(load, server, data)
    elif server.gives_known_peers:
        load.fill(server, data)


# --- tables and rows


def _table(title: str, windows: Mapping[str, list[Window]], memory: Mapping[str, int]) -> Table:
    others = [name for name in windows if name == "opentracker" or name.startswith("aquatic")]
    table = Table(title=title, title_justify="left")
    for column in (
        "Server",
        "Responses/s",
        "CPU µs/response",
        *(f"{TIMES} {name}" for name in ("floor", *others)),
    ):
        table.add_column(column)
    for column in ("p50 µs", "p99 µs", "p99.9 µs", "Peers", "Lost", "Wrong", "RSS MB"):
        table.add_column(column, justify="right")
    for name, of_server in windows.items():
        table.add_row(
            name,
            spread([window.rate / 1000 for window in of_server]),
            spread([window.cpu_us for window in of_server]),
            *(spread(ratios(of_server, windows[other])) for other in ("floor", *others)),
            *(f"{statistics.median(values):,.0f}" for values in _latencies(of_server)),
            f"{statistics.median(window.mean_peers for window in of_server):.1f}",
            f"{sum(window.lost for window in of_server):,}",
            f"{sum(window.wrong for window in of_server):,}",
            f"{memory[name] / 1e6:,.0f}",
        )
    return table


def _latencies(windows: Sequence[Window]) -> list[list[float]]:
    return [
        [window.p50_us for window in windows],
        [window.p99_us for window in windows],
        [window.p999_us for window in windows],
    ]


def _judge(
    report: Report,
    data: DataSet,
    load: Load,
    windows: Mapping[str, list[Window]],
    missing: Mapping[str, str],
) -> None:
    what = f"UDP {load.name}, {data.name}"
    for name, of_server in windows.items():
        report.add(f"{what}, CPU per response: {name}", [window.cpu_us for window in of_server], "µs")
    if load is PACED:
        _judge_against(report, what, "opentracker", 0.6, windows, missing)
        p99 = [window.p99_us / 1000 for window in windows["native"]]
        report.add(f"{what}, p99 latency: native", p99, "ms", 2.0)
        return
    for name, most in (("native", 1.25), ("native 0.0.0.0", 1.35), ("portable", 4.0)):
        against_floor = ratios(windows[name], windows["floor"])
        report.add(f"{what}, CPU: {name} against the floor", against_floor, TIMES, most)
    if load is MIXED:
        _judge_against(report, what, "opentracker", 0.6, windows, missing)
    if "aquatic mio" in windows:
        missing = {"aquatic io_uring": "this aquatic_udp was built without io_uring"}
    elif "aquatic" in missing:
        missing = {"aquatic io_uring": missing["aquatic"], **missing}
    _judge_against(report, what, "aquatic io_uring", 0.9, windows, missing)


def _judge_against(
    report: Report,
    what: str,
    other: str,
    most: float,
    windows: Mapping[str, list[Window]],
    missing: Mapping[str, str],
) -> None:
    row = f"{what}, CPU: native against {other}"
    if other in windows:
        report.add(row, ratios(windows["native"], windows[other]), TIMES, most)
    else:
        report.add_missing(row, missing[other])


# --- listed mode


def measure_listed(
    place: Place, load: LoadGenerator, report: Report, steps: Steps, *, pairs: int = LISTED_PAIRS
) -> None:
    steps.expect(3 + 2 * pairs)
    database = place.directory / "listed.db"
    with steps.step("making a database of a million hashes"):
        _list_hashes(place, database)
    with (
        tracker(place, "open") as opened,
        tracker(place, "listed", listed_in=database) as listed,
    ):
        for server in (opened, listed):
            with steps.step(f"filling {server.name}"):
                fill_tracker(load, server, S)
            server.suspend()
        servers = dict.fromkeys((opened, listed), S)
        windows = interleave(load, steps, servers, [MIXED], rounds=pairs)[MIXED]
    against_open = ratios(windows["listed"], windows["open"])
    report.add("UDP 5/90/5, 200 k peers, CPU: 1 M listed hashes against open mode", against_open, TIMES, 1.1)


def _list_hashes(place: Place, database: Path) -> None:
    """Have the tracker make its tables, and then fill one."""
    with tracker(place, "tables", listed_in=database):
        pass
    hashes = info_hashes(S._replace(torrents=LISTED_HASHES, peers=LISTED_HASHES)).split()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany("INSERT INTO whitelist (info_hash) VALUES (?)", ((text,) for text in hashes))
