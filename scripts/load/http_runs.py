"""HTTP: the tracker beside opentracker, an aiohttp application and OpenSSL's server; idle connections."""

import random
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple

from http_measuring import HttpLoad, Kind, Target, check_generator, with_new_key
from measuring import DataSet, LoadGenerator, Window, ratios
from plots import Bar, draw
from rich.table import Table
from rows import TIMES, Report, spread
from servers import (
    ROOT,
    Place,
    Server,
    Unavailable,
    aiohttp_application,
    http_tracker,
    installed,
    make_certificate,
    opentracker,
    resumed,
    s_server,
)
from steps import Steps

PLOT = "docs/benchmarks-http.svg"
PLOTTED_FROM = 5
"""Rounds: fewer do not count."""

DATA = DataSet("50 k peers", torrents=1_000, peers=50_000, addresses=1)

_NATIVE, _PORTABLE, _OPENTRACKER, _AIOHTTP = "native", "portable", "opentracker", "aiohttp application"
_KEYED, _PROXIED = "native, private", "native, behind a proxy"
_ECDSA, _RSA, _S_SERVER = "native, ECDSA P-256", "native, RSA-2048", "openssl s_server"

_KINDS: dict[str, tuple[Kind, ...]] = {
    _NATIVE: (Kind.EACH, Kind.PACED, Kind.KEPT_ALIVE),
    _PORTABLE: (Kind.EACH, Kind.KEPT_ALIVE),
    _OPENTRACKER: (Kind.EACH, Kind.PACED),  # keeps no connection alive
    _AIOHTTP: (Kind.EACH, Kind.KEPT_ALIVE),
    _KEYED: (Kind.KEPT_ALIVE,),
    _PROXIED: (Kind.KEPT_ALIVE,),
    _ECDSA: (Kind.NEW_TLS,),
    _S_SERVER: (Kind.NEW_TLS,),
    _RSA: (Kind.NEW_TLS, Kind.RESUMED_TLS),
}
_P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
_RSA_2048 = ("rsa:2048",)


class Run(NamedTuple):
    """One kind of load on the server of this name."""

    server: str
    kind: Kind


class _Ratio(NamedTuple):
    """A row: CPU per response of one run against another, and the most that it may be."""

    what: str
    run: Run
    other: Run
    most: float


_RATIOS = (
    *(
        _Ratio(
            f"HTTP announce, {kind.value}, CPU: native against opentracker",
            Run(_NATIVE, kind),
            Run(_OPENTRACKER, kind),
            0.50,
        )
        for kind in (Kind.EACH, Kind.PACED)
    ),
    *(
        _Ratio(
            f"HTTP announce, kept alive, CPU: {server} against the aiohttp application",
            Run(server, Kind.KEPT_ALIVE),
            Run(_AIOHTTP, Kind.KEPT_ALIVE),
            most,
        )
        for server, most in ((_NATIVE, 0.14), (_PORTABLE, 0.40), (_KEYED, 0.40), (_PROXIED, 0.40))
    ),
    _Ratio(
        f"HTTPS announce, a new TLS 1.3 connection each, CPU: {_ECDSA} against {_S_SERVER}",
        Run(_ECDSA, Kind.NEW_TLS),
        Run(_S_SERVER, Kind.NEW_TLS),
        1.15,
    ),
    _Ratio(
        f"HTTPS announce, CPU: resumed TLS 1.3 sessions against new ones, {_RSA}",
        Run(_RSA, Kind.RESUMED_TLS),
        Run(_RSA, Kind.NEW_TLS),
        0.75,
    ),
)


class _Idle(NamedTuple):
    """A row: kilobytes of the process for each idle connection, and the most that it may be."""

    what: str
    tls: bool
    most: float


_IDLE_CONNECTIONS = 10_000
_IDLE = (
    _Idle(f"{_IDLE_CONNECTIONS:,} idle TLS connections, RSS of each: native", tls=True, most=30),
    _Idle(f"{_IDLE_CONNECTIONS:,} idle HTTP connections, RSS of each: native", tls=False, most=2),
)
_OTHER_FILES = 600  # that the tracker and the load generator may have open
_SETTLING = 1.0  # seconds until the server has done all for the last connection

Results = Mapping[Run, list[Window]]
"""In the order of the rounds."""


def measure_http(place: Place, load: LoadGenerator, report: Report, steps: Steps, *, rounds: int) -> None:
    try:
        check_generator()
    except Unavailable as reason:
        for what in (*(row.what for row in _RATIOS), *(row.what for row in _IDLE)):
            report.add_missing(what, str(reason))
        return
    http = HttpLoad(load, DATA, place.directory)
    _measure_side_by_side(place, http, report, steps, rounds=rounds)
    for row in _IDLE:
        _measure_idle(place, http, report, steps, row, rounds=rounds)


# --- side by side


def _measure_side_by_side(place: Place, http: HttpLoad, report: Report, steps: Steps, *, rounds: int) -> None:
    with ExitStack() as stack:
        servers, missing = _start_all(stack, place, http)
        steps.expect(len(servers))
        targets = {}
        for name, server in servers.items():
            with steps.step(f"filling {name}"):
                targets[name] = _filled(http, name, server)
            server.suspend()
        memory = {name: server.rss() for name, server in servers.items()}
        runs = [Run(name, kind) for name in servers for kind in _KINDS[name] if kind not in missing]
        results = _interleave(http, steps, targets, runs, rounds=rounds)
    report.measured.append(_table(results, memory))
    _judge(report, results, missing)
    if rounds >= PLOTTED_FROM:
        _draw(results)


_Missing = dict[str | Kind, str]
"""Why there is no such server, or no such load."""


def _start_all(stack: ExitStack, place: Place, http: HttpLoad) -> tuple[dict[str, Server], _Missing]:
    servers: dict[str, Server] = {}
    missing: _Missing = {}
    for name, start in _starts(place, http).items():
        try:
            servers[name] = stack.enter_context(start())
        except Unavailable as reason:
            missing[name] = str(reason)
    try:
        installed("wrk")
    except Unavailable as reason:
        missing[Kind.KEPT_ALIVE] = str(reason)
    return servers, missing


def _starts(place: Place, http: HttpLoad) -> dict[str, Callable[[], AbstractContextManager[Server]]]:
    def over_tls(name: str, *algorithm: str) -> AbstractContextManager[Server]:
        return http_tracker(place, name, certificate=make_certificate(place, name, *algorithm))

    return {
        _NATIVE: lambda: http_tracker(place, _NATIVE),
        _PORTABLE: lambda: http_tracker(place, _PORTABLE, form="portable"),
        _OPENTRACKER: lambda: opentracker(place, http.write_info_hashes(), over_tcp=True),
        _AIOHTTP: lambda: aiohttp_application(place),
        _KEYED: lambda: http_tracker(place, _KEYED, private=True),
        _PROXIED: lambda: http_tracker(place, _PROXIED, on_reverse_proxy=True),
        _ECDSA: lambda: over_tls(_ECDSA, *_P256),
        _S_SERVER: lambda: s_server(place, make_certificate(place, _S_SERVER, *_P256)),
        _RSA: lambda: over_tls(_RSA, *_RSA_2048),
    }


def _filled(http: HttpLoad, name: str, server: Server) -> Target:
    if name == _S_SERVER:
        return Target(server, gives_pages=True)
    target = with_new_key(server) if name == _KEYED else Target(server, forwarded=name == _PROXIED)
    http.fill(target)
    return target


def _interleave(
    http: HttpLoad, steps: Steps, targets: Mapping[str, Target], runs: Sequence[Run], *, rounds: int
) -> Results:
    """Each run once a round, in random order; the servers are suspended meanwhile."""
    steps.expect(rounds * len(runs))
    results: dict[Run, list[Window]] = {run: [] for run in runs}
    for number in range(1, rounds + 1):
        for run in random.sample(runs, len(runs)):
            target = targets[run.server]
            with (
                steps.step(f"HTTP, {run.kind.value}, round {number}: {run.server}"),
                resumed(target.server),
            ):
                results[run].append(http.run(target, run.kind))
    return results


def _table(results: Results, memory: Mapping[str, int]) -> Table:
    table = Table(title=f"HTTP announces, {DATA.name}", title_justify="left")
    for column in ("Connections", "Server", "Responses/s, thousands", "CPU µs/response"):
        table.add_column(column)
    for column in ("p50 µs", "p99 µs", "Peers", "Lost", "Wrong", "RSS MB"):
        table.add_column(column, justify="right")
    for run, windows in _by_kind(results):
        table.add_row(
            run.kind.value,
            run.server,
            spread([window.rate / 1000 for window in windows]),
            spread([window.cpu_us for window in windows]),
            f"{statistics.median(window.p50_us for window in windows):,.0f}",
            f"{statistics.median(window.p99_us for window in windows):,.0f}",
            f"{statistics.median(window.mean_peers for window in windows):.1f}",
            f"{sum(window.lost for window in windows):,}",
            f"{sum(window.wrong for window in windows):,}",
            f"{memory[run.server] / 1e6:,.0f}",
        )
    return table


def _judge(report: Report, results: Results, missing: _Missing) -> None:
    for run, windows in _by_kind(results):
        what = f"HTTP announce, {run.kind.value}, CPU per response: {run.server}"
        report.add(what, [window.cpu_us for window in windows], "µs")
    for row in _RATIOS:
        absent = [run for run in (row.run, row.other) if run not in results]
        if absent:
            report.add_missing(row.what, missing.get(absent[0].server) or missing[absent[0].kind])
        else:
            report.add(row.what, ratios(results[row.run], results[row.other]), TIMES, row.most)


def _by_kind(results: Results) -> list[tuple[Run, list[Window]]]:
    kinds = list(Kind)
    return sorted(results.items(), key=lambda item: kinds.index(item[0].kind))


def _draw(results: Results) -> None:
    panels: dict[str, list[Bar]] = {}
    for (server, kind), windows in _by_kind(results):
        is_resumed = kind is Kind.RESUMED_TLS
        panel = panels.setdefault((Kind.NEW_TLS if is_resumed else kind).value, [])
        name = f"{server}, resumed" if is_resumed else server
        panel.append(Bar(name, [window.cpu_us for window in windows]))
    draw("Server CPU per HTTP announce, µs", panels, ROOT / PLOT)


# --- idle connections


def _measure_idle(
    place: Place, http: HttpLoad, report: Report, steps: Steps, row: _Idle, *, rounds: int
) -> None:
    steps.expect(rounds)
    values = []
    try:
        _check_file_limit()
        for number in range(1, rounds + 1):
            with steps.step(f"idle {'TLS' if row.tls else 'HTTP'} connections, round {number}"):
                values.append(_kilobytes_each(place, http, tls=row.tls))
    except Unavailable as reason:
        report.add_missing(row.what, str(reason))
    else:
        report.add(row.what, values, "KB", row.most)


def _check_file_limit() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = _IDLE_CONNECTIONS + _OTHER_FILES
    if most != resource.RLIM_INFINITY and most < needed:
        raise Unavailable(f"at most {most} files may be open (ulimit -Hn), and it needs {needed}")


def _kilobytes_each(place: Place, http: HttpLoad, *, tls: bool) -> float:
    """Of a new process, which has all peers and, if need be, has spoken TLS before the connections come."""
    name = "native, idle"
    certificate = make_certificate(place, name, *_P256) if tls else None
    with http_tracker(place, name, certificate=certificate) as server:
        target = Target(server)
        http.fill(target)
        if tls:
            http.run(target, Kind.NEW_TLS)
        before = server.rss()
        with http.holding(target, _IDLE_CONNECTIONS, tls=tls):
            time.sleep(_SETTLING)
            return (server.rss() - before) / 1000 / _IDLE_CONNECTIONS
