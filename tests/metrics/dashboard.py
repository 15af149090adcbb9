"""`docs/grafana-dashboard.json` and its picture, `docs/dashboard.png`.

`python -m tests.metrics.dashboard` writes both: it runs the daemon with some load, and Debian's prometheus,
which evaluates every expression of the dashboard; matplotlib draws what came out.
"""

import contextlib
import http.client
import json
import math
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_from_bytes, urlencode

from tests.contract.conftest import Daemon, UdpConversation, document
from tests.ports import free_port

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = DOCS / "grafana-dashboard.json"
PICTURE = DOCS / "dashboard.png"

SECONDS = 100
"""How long the load of the picture lasts."""

HERE = 'instance=~"$instance"'
RATE = "[$__rate_interval]"
HANDLED = 'outcome=~"connect|announce|scrape"'


class Line(NamedTuple):
    expression: str
    legend: str


class Panel(NamedTuple):
    title: str
    description: str
    unit: str
    """As Grafana calls it."""
    lines: tuple[Line, ...]
    is_stat: bool = False
    """One number."""


def _rate(metric: str, matchers: str = "") -> str:
    return f"rate({metric}{{{HERE}{matchers}}}{RATE})"


def _quantile(quantile: float) -> Line:
    buckets = _rate("torrust_tracker_request_duration_seconds_bucket")
    by = "le, server_binding_protocol, request_kind"
    return Line(
        f"histogram_quantile({quantile}, sum by ({by}) ({buckets}))",
        f"{{{{server_binding_protocol}}}} {{{{request_kind}}}} p{100 * quantile:g}",
    )


def _one(metric: str, legend: str, matchers: str = "") -> Line:
    return Line(f"{metric}{{{HERE}{matchers}}}", legend)


PANELS = (
    Panel("Torrents", "Torrents that are known.", "short",
          (_one("swarm_coordination_registry_torrents", "torrents"),), is_stat=True),
    Panel("Peers", "Seeders and leechers, once for each of their torrents.", "short",
          (Line(f"sum(swarm_coordination_registry_peer_connections{{{HERE}}})", "peers"),), is_stat=True),
    Panel("Requests", "All that came, also what was not handled.", "reqps",
          (Line(f"sum({_rate('torrust_tracker_requests_total')})", "requests"),), is_stat=True),
    Panel("Not handled", "Part of the requests that were refused, malformed or dropped.", "percentunit",
          (Line(f"sum({_rate('torrust_tracker_requests_unhandled_total')}) / "
                f"sum({_rate('torrust_tracker_requests_total')})", "not handled"),), is_stat=True),
    Panel("Database", "1 if it answered when it was last asked.", "short",
          (_one("torrust_tracker_database_up", "up"),), is_stat=True),
    Panel("Up for", "Since the start of the process.", "s",
          (Line(f"time() - process_start_time_seconds{{{HERE}}}", "up for"),), is_stat=True),
    Panel("Requests handled", "A second, by protocol and kind.", "reqps",
          (Line("sum by (server_binding_protocol, outcome) "
                f"({_rate('torrust_tracker_requests_total', f', {HANDLED}')})",
                "{{server_binding_protocol}} {{outcome}}"),)),
    Panel("Not handled, by reason", "A second. internal_error is a bug: the log has its traceback.", "reqps",
          (Line(f"sum by (outcome, reason) ({_rate('torrust_tracker_requests_unhandled_total')}) > 0",
                "{{outcome}}: {{reason}}"),)),
    Panel("Latency, 99th percentile", "From receipt to send, of a sample.", "s", (_quantile(0.99),)),
    Panel("Requests by listener", "A second.", "reqps",
          (Line("sum by (server_binding_protocol, server_binding_ip, server_binding_port) "
                f"({_rate('torrust_tracker_requests_total')})",
                "{{server_binding_protocol}}://{{server_binding_ip}}:{{server_binding_port}}"),)),
    Panel("Requests by the client's family", "A second.", "reqps",
          (Line("sum by (client_address_ip_family, server_binding_protocol) "
                f"({_rate('torrust_tracker_requests_total')})",
                "{{server_binding_protocol}} {{client_address_ip_family}}"),)),
    Panel("Latency, median", "From receipt to send, of a sample.", "s", (_quantile(0.5),)),
    Panel("Swarms", "What the tracker knows.", "short",
          (_one("swarm_coordination_registry_torrents", "torrents"),
           _one("swarm_coordination_registry_peer_connections", "{{peer_role}}s"))),
    Panel("Limits in use", "At 1 newcomers replace others: raise core.limits.", "percentunit",
          (_one("torrust_tracker_limit_used_ratio", "{{limit}}"),)),
    Panel("Limits felt", "A second: what had to make room, or found none.", "short",
          (Line(_rate("torrust_tracker_limit_felt_total"), "{{effect}}"),)),
    Panel("Memory of the process", "What is resident.", "bytes",
          (_one("process_resident_memory_bytes", "resident"),)),
    Panel("Processor", "Of one core.", "percentunit", (Line(_rate("process_cpu_seconds_total"), "used"),)),
    Panel("Event loop lag", "How long a request may have waited for its turn.", "s",
          (_one("torrust_tracker_event_loop_lag_max_seconds", "longest in a minute"),
           Line("histogram_quantile(0.99, sum by (le) "
                f"({_rate('torrust_tracker_event_loop_lag_seconds_bucket')}))", "p99"))),
    Panel("Datagrams lost", "A second: by the kernel before they came in, and after they were sent.", "short",
          (Line(_rate("torrust_tracker_udp_kernel_drops_total"), "dropped at :{{server_binding_port}}"),
           Line(_rate("torrust_tracker_udp_responses_unsent_total"), "unsent at :{{server_binding_port}}"))),
    Panel("HTTP connections", "Open now, and those for which there was no room, a second.", "short",
          (_one("torrust_tracker_http_connections", "open at :{{server_binding_port}}"),
           Line(_rate("torrust_tracker_http_connections_refused_total"), "refused"),
           Line(_rate("torrust_tracker_http_connections_evicted_total"), "evicted"))),
    Panel("Memory that is left", "What the process can still take, of the machine or its container.", "bytes",
          (_one("torrust_tracker_memory_available_bytes", "available"),)),
    Panel("Completed counters not saved", "Torrents; beyond minutes the database is away.", "short",
          (_one("torrust_tracker_completed_unsaved", "torrents"),)),
    Panel("Database", "Calls a second, by whether it answered; changes in doubt.", "short",
          (Line(_rate("torrust_tracker_database_calls_total"), "{{result}}"),
           Line(f"sum(torrust_tracker_database_changes_in_doubt{{{HERE}}})", "in doubt"))),
    Panel("Snapshot", "Seconds since it was written, and since the counters were saved.", "s",
          (_one("torrust_tracker_snapshot_age_seconds", "snapshot"),
           _one("torrust_tracker_completed_saved_age_seconds", "counters"))),
)  # fmt: skip

STATS = [panel for panel in PANELS if panel.is_stat]
GRAPHS = [panel for panel in PANELS if not panel.is_stat]

# --- the document


def dashboard() -> dict[str, Any]:
    """As Grafana imports it; it asks for the data source."""
    panels = [
        _grafana_panel(panel, number, x=4 * place, y=0, width=4, height=4)
        for number, (place, panel) in enumerate(enumerate(STATS), start=1)
    ]
    for place, panel in enumerate(GRAPHS):
        row, column = divmod(place, 3)
        panels.append(_grafana_panel(panel, len(panels) + 1, x=8 * column, y=4 + 8 * row, width=8, height=8))
    return {
        "__inputs": [
            {"name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus"}
        ],
        "__requires": [{"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"}],
        "uid": "torrust-py",
        "title": "BitTorrent tracker",
        "tags": ["bittorrent"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "instance",
                    "type": "query",
                    "datasource": _DATA_SOURCE,
                    "query": "label_values(torrust_tracker_build_info, instance)",
                    "refresh": 2,
                    "includeAll": True,
                    "allValue": ".*",
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                }
            ]
        },
        "panels": panels,
    }


_DATA_SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}


def _grafana_panel(panel: Panel, number: int, *, x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "stat" if panel.is_stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATA_SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": line.expression, "legendFormat": line.legend,
             "datasource": _DATA_SOURCE}
            for place, line in enumerate(panel.lines)
        ],
    }  # fmt: skip


def text() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


# --- the daemon, its load, and who watches it

_CONFIG = """[core.tracker_policy]
persistent_torrent_completed_stat = true
[core.snapshot]
path = "swarms"
interval = {interval}
[core.limits]
max_torrents = 1000
max_peers = 50000
"""


class Prometheus:
    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, **query: object) -> Any:
        """What it answers; the text of its error, if it is one."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", f"{path}?{urlencode(query)}")
            body = connection.getresponse().read()
        answer = json.loads(body)
        assert answer["status"] == "success", f"{query}: {answer}"
        return answer["data"]

    def scrapes(self) -> int:
        """How often it has asked the tracker; 0 until it listens itself."""
        try:
            result = self.ask("/api/v1/query", query="sum_over_time(up[10m])")["result"]
        except (ConnectionError, ValueError):
            return 0
        return int(result[0]["value"][1]) if result else 0

    def lines(
        self, line: Line, *, start: float, end: float, step: float
    ) -> dict[str, list[tuple[float, float]]]:
        """Points of each series, by its legend; instants without a number are left out."""
        data = self.ask("/api/v1/query_range", query=filled(line.expression), start=start, end=end, step=step)
        return {
            _legend(line.legend, series["metric"]): [
                (float(at), float(value)) for at, value in series["values"] if math.isfinite(float(value))
            ]
            for series in data["result"]
        }


def filled(expression: str) -> str:
    """With what Grafana would put in place of its variables."""
    return expression.replace("$__rate_interval", "8s").replace("$instance", ".*")


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), pattern)


@contextlib.contextmanager
def watched_daemon(directory: Path, *, snapshot_interval: int) -> Iterator[tuple[Daemon, Prometheus]]:
    """The daemon, with limits that it can reach, and a Prometheus that asks it every second."""
    daemon = Daemon(document(_CONFIG.format(interval=snapshot_interval)), directory, {})
    try:
        daemon.wait_for_line("HEALTH CHECK API: Started on")
        with _prometheus(directory, daemon.address("api")) as prometheus:
            yield daemon, prometheus
    finally:
        daemon.kill()


@contextlib.contextmanager
def _prometheus(directory: Path, api: tuple[str, int]) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    assert program, "install Debian's package prometheus"
    (directory / "token").write_text("MyAccessToken")
    config = directory / "prometheus.yml"
    config.write_text(
        SCRAPE_CONFIG.format(token=directory / "token", target=f"{api[0]}:{api[1]}", interval="1s")
    )
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.tsdb.path={directory}/tsdb",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait()


SCRAPE_CONFIG = """scrape_configs:
  - job_name: tracker
    scrape_interval: {interval}
    metrics_path: /api/v1/metrics
    authorization:
      credentials_file: {token}
    static_configs:
      - targets: ["{target}"]
"""
"""As docs/metrics.md shows it, but for the values."""


def run_load(daemon: Daemon, is_over: Callable[[], bool], *, seed: int = 7) -> None:
    """Clients of all kinds, in waves, until it is over; that is asked twice a second."""
    chance = random.Random(seed)
    start, look = time.monotonic(), 0.0
    with (
        daemon.conversation() as ipv4,
        daemon.conversation(ipv6=True) as ipv6,
        contextlib.closing(http.client.HTTPConnection(*daemon.address("http"), timeout=10)) as web,
    ):
        while True:
            now = time.monotonic() - start
            if now >= look:
                if is_over():
                    return
                look = now + 0.5
            wave = 0.6 + 0.4 * math.sin(now / 9)
            for _ in range(int(30 * wave)):
                _ask_over_udp(ipv4 if chance.random() < 0.7 else ipv6, chance)
            for _ in range(int(10 * (1.2 - wave))):
                _ask_over_http(web, chance)


def _torrent(chance: random.Random) -> bytes:
    return random.Random(int(chance.paretovariate(0.6)) % 4000).randbytes(20)


def _ask_over_udp(client: UdpConversation, chance: random.Random) -> None:
    kind = chance.random()
    if kind < 0.03:
        client.exchange(b"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00\x00\x00\x00\x01")  # a connect
    elif kind < 0.06:
        client.exchange(b"hello")
    elif kind < 0.10:
        client.announce(_torrent(chance), 6881, connection_id=bytes(8))
    elif kind < 0.16:
        client.scrape(_torrent(chance))
    else:
        client.announce(_torrent(chance), chance.randrange(1024, 65536), left=chance.choice((0, 1, 1)))


def _ask_over_http(web: http.client.HTTPConnection, chance: random.Random) -> None:
    kind, info_hash = chance.random(), quote_from_bytes(_torrent(chance))
    port = chance.randrange(1024, 65536)
    announce = (
        f"/announce?info_hash={info_hash}&peer_id={quote('-qB00000000000000001')}&port={port}&compact=1"
    )
    if kind < 0.02:
        web.request("GET", "/favicon.ico")
    elif kind < 0.04:
        web.request("GET", "/announce?info_hash=x")
    elif kind < 0.12:
        web.request("GET", f"/scrape?info_hash={info_hash}")
    else:
        web.request("GET", f"{announce}&left={chance.choice((0, 1))}&event=completed")
    web.getresponse().read()


# --- the picture


def draw(prometheus: Prometheus, *, start: float, end: float) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 21), dpi=80, facecolor="#111217", layout="constrained")
    FigureCanvasAgg(figure)
    top, below = figure.subfigures(2, 1, height_ratios=(1, 13))
    for part in (top, below):
        part.set_facecolor("#111217")
    for axes, panel in zip(top.subplots(1, len(STATS)), STATS, strict=True):
        points = next(iter(_points(prometheus, panel, start, end).values()))
        _draw_stat(axes, panel, points[-1][1])
    for axes, panel in zip(below.subplots(len(GRAPHS) // 3, 3).flat, GRAPHS, strict=True):
        _draw_graph(axes, panel, _points(prometheus, panel, start, end), start)
    figure.savefig(PICTURE, metadata={"Software": None})


def _points(
    prometheus: Prometheus, panel: Panel, start: float, end: float
) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for line in panel.lines:
        found |= prometheus.lines(line, start=start, end=end, step=1)
    return dict(sorted(found.items()))


_COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c8f2c2", "#ffee52")


def _draw_stat(axes: Any, panel: Panel, value: float) -> None:
    _frame(axes, panel.title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.45, in_words(value, panel.unit), color="#73bf69", fontsize=23, fontweight="bold",
              horizontalalignment="center", verticalalignment="center", transform=axes.transAxes)  # fmt: skip


def _draw_graph(axes: Any, panel: Panel, lines: dict[str, list[tuple[float, float]]], start: float) -> None:
    _frame(axes, panel.title)
    for number, (legend, points) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        times, values = [at - start for at, _ in points], [value for _, value in points]
        axes.plot(times, values, color=colour, linewidth=1.4, label=legend)
        axes.fill_between(times, values, color=colour, alpha=0.08, linewidth=0)
    axes.grid(color="#2c2f36", linewidth=0.7)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.margins(y=0.1)
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{int(seconds) // 60}:{int(seconds) % 60:02}")
    axes.yaxis.set_major_formatter(lambda value, _: in_words(value, panel.unit))
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, fontsize=8, frameon=False, labelcolor="#ccccdc",
        handlelength=1.2,
    )  # fmt: skip


def _frame(axes: Any, title: str) -> None:
    axes.set_facecolor("#181b1f")
    axes.set_title(title, loc="left", color="#ccccdc", fontsize=11)
    axes.tick_params(colors="#9fa7b3", labelsize=8, length=0)
    for spine in axes.spines.values():
        spine.set_color("#2c2f36")


def in_words(value: float, unit: str) -> str:
    """With its unit, short, about as Grafana shows it."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if value >= scale or name == "µs":
                return f"{value / scale:.3g} {name}" if value else "0"
    base, names = (1024, ("B", "KiB", "MiB", "GiB")) if unit == "bytes" else (1000, ("", "k", "M", "G"))
    power = 0
    while value >= base and power < 3:
        value, power = value / base, power + 1
    ending = "/s" if unit == "reqps" else ""
    return f"{value:.3g} {names[power]}".rstrip() + ending


def main() -> None:
    DASHBOARD.write_text(text())
    with (
        tempfile.TemporaryDirectory() as directory,
        watched_daemon(Path(directory), snapshot_interval=20) as (daemon, prometheus),
    ):
        start = time.time()
        run_load(daemon, lambda: time.time() - start > SECONDS)
        draw(prometheus, start=start + 10, end=time.time())


if __name__ == "__main__":
    main()
