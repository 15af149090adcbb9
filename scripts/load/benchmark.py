"""`scripts/benchmark`: the command line, and what runs in which order."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click
from growth_runs import measure_growth
from http_runs import PLOT, PLOTTED_FROM, measure_http
from measuring import LoadGenerator
from restart_runs import measure_restart
from rich.console import Console
from rows import Report, machine, python, terminal
from servers import Place, ServerFailed, Unavailable
from steps import Steps
from tracker_runs import measure_api, measure_memory, measure_start
from udp_runs import LISTED_PAIRS, measure_listed, measure_udp

_HELP = f"""
Measure the tracker, judge the results, and print them as rows for docs/benchmarks.md.

The number that counts is the server's CPU time per response: all its threads, over verified responses. The
server runs on one core and the load generator on another; every response is checked. Servers stay up and
filled, stopped unless measured, and take turns in random order, round by round. Results are medians of the
rounds; a ratio to another server is the median of the ratios within each round, which hold when the machine
drifts.

\b
  floor         fixed responses and no tracker: what the kernel costs (scripts/load/udp_floor.c)
  native        this tracker, compiled data plane, bound to 127.0.0.1, and again to 0.0.0.0
  portable      this tracker in pure Python
  opentracker   Debian's package; installed if this runs as root
  aquatic       if --aquatic names the binary (cargo install aquatic_udp --features io-uring)

HTTP adds a web application of aiohttp that answers the same announces, and `openssl s_server -www` for TLS.
Connections that stay are loaded by Debian's wrk, others by scripts/load/http_load.c. With {PLOTTED_FROM}
rounds or more it draws {PLOT}.

\b
Without an option it does --udp. How long each takes, with 5 rounds:
  --udp      5 minutes    --http     8 minutes    --memory   5 minutes
  --listed   2 minutes    --api      1 minute     --growth   15 minutes
  --start    20 seconds   --restart  10 minutes

\b
  scripts/benchmark
  scripts/benchmark --udp --aquatic ~/.cargo/bin/aquatic_udp
  scripts/benchmark --memory --start --rounds 7

The exit status is 1 if a row is missed or a response was wrong; what cannot be measured here is shown, and
misses nothing. Numbers mean something on an idle machine only. It needs two cores and gcc, for --growth 8 GB
of memory, and for --http wrk and libssl-dev; run by root it installs these.
"""


@click.command(help=_HELP, context_settings={"max_content_width": 110})
@click.option("--udp", is_flag=True, help="All servers: 200 k and 1 M peers, two mixes, saturated and paced.")
@click.option("--http", is_flag=True, help="Connections kept alive, one for each announce, TLS, idle.")
@click.option("--memory", is_flag=True, help="Bytes a peer, for 1 M peers in fewer and more torrents.")
@click.option("--growth", is_flag=True, help="10 k to 10 M peers, swarms of 2 to 100,000, longest callbacks.")
@click.option("--listed", is_flag=True, help=f"1 M listed hashes against open mode, {LISTED_PAIRS} pairs.")
@click.option("--api", is_flag=True, help="How long /api/v1/stats takes at 100,000 UDP requests/s.")
@click.option("--start", is_flag=True, help="Seconds to the first answer, and memory of an idle tracker.")
@click.option("--restart", is_flag=True, help="Across a restart: 1 M peers kept, requests lost.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="5 at least count.")
@click.option(
    "--aquatic",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="The aquatic_udp binary, which is measured too.",
)
def main(
    *,
    udp: bool,
    http: bool,
    memory: bool,
    growth: bool,
    listed: bool,
    api: bool,
    start: bool,
    restart: bool,
    rounds: int,
    aquatic: Path | None,
) -> None:
    server_core, generator_core = _cores()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    console = terminal()
    report, load = Report(console), LoadGenerator(generator_core)
    console.print(f"{machine()}; {python()}; server on core {server_core}, load on core {generator_core}")
    with _place(server_core) as place, Steps(console) as steps:
        if udp or not (http or memory or growth or listed or api or start or restart):
            measure_udp(place, load, report, steps, rounds=rounds, aquatic_udp=aquatic)
        if http:
            measure_http(place, load, report, steps, rounds=rounds)
        if memory:
            measure_memory(place, load, report, steps, rounds=rounds)
        if growth:
            measure_growth(place, load, report, steps, rounds=rounds)
        if listed:
            measure_listed(place, load, report, steps)
        if api:
            measure_api(place, load, report, steps, rounds=rounds)
        if start:
            measure_start(place, report, steps, rounds=rounds)
        if restart:
            measure_restart(place, load, report, steps, rounds=rounds)
    report.show()
    _show_losses(console, load)
    report.write_markdown()
    sys.exit(report.missed or any(load.wrong.values()))


@contextlib.contextmanager
def _place(core: int) -> Iterator[Place]:
    """A directory for what runs on this core. What fails there ends the program, with one line about it."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        Path(name).chmod(0o755)  # opentracker gives root up
        try:
            yield Place(core, Path(name))
        except (ServerFailed, Unavailable) as error:
            raise click.ClickException(str(error)) from error


def _show_losses(console: Console, load: LoadGenerator) -> None:
    for server, count in load.lost.items():
        if count:
            console.print(f"{server}: {count:,} requests lost")
    for server, count in load.wrong.items():
        if count:
            console.print(f"{server}: {count:,} wrong responses", style="red")


def _cores() -> tuple[int, int]:
    """Of the server, and of all else: this process, and with it what it starts, moves to the latter."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise click.ClickException("this needs two cores, one for the server and one for the load generator")
    os.sched_setaffinity(0, {cores[-1]})
    return cores[0], cores[-1]


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main(prog_name="scripts/benchmark")
