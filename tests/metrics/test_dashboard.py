import re
import time
from pathlib import Path

import pytest

from tests.metrics import dashboard
from torrust_py.metrics.catalogue import CATALOGUE

PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"}
ENDINGS = {"histogram": ("_bucket",), "info": ("",), "counter": ("",), "gauge": ("",)}
NAMES = {f"{metric.name}{ending}" for metric in CATALOGUE.values() for ending in ENDINGS[metric.kind]}
LINES = [
    pytest.param(line, id=f"{panel.title}: {line.legend}")
    for panel in dashboard.PANELS
    for line in panel.lines
]


def test_the_dashboard_is_in_step_with_its_definition() -> None:
    assert dashboard.DASHBOARD.read_text() == dashboard.text()


@pytest.mark.parametrize("line", LINES)
def test_an_expression_names_metrics_that_there_are_with_labels_that_they_have(line: dashboard.Line) -> None:
    selectors = re.findall(r"(\w+)\{(.*?)\}", line.expression)
    assert selectors
    for name, matchers in selectors:
        assert name in NAMES | PROCESS
        labels = CATALOGUE[name.removesuffix("_bucket")].labels if name in NAMES else ()
        assert set(re.findall(r"(\w+)=", matchers)) <= {*labels, "instance"}
    of_metrics = [CATALOGUE[name.removesuffix("_bucket")] for name, _ in selectors if name in NAMES]
    known = {label for metric in of_metrics for label in metric.labels} | {"le"}
    assert set(re.findall(r"\{\{(\w+)\}\}", line.legend)) <= known
    assert {label for by in re.findall(r"by \((.*?)\)", line.expression) for label in by.split(", ")} <= known


@pytest.mark.slow
def test_prometheus_draws_every_line_of_the_dashboard(tmp_path: Path) -> None:
    start = time.time()
    with dashboard.watched_daemon(tmp_path, snapshot_interval=2) as (daemon, prometheus):
        dashboard.run_load(daemon, lambda: prometheus.scrapes() >= 8)
        empty = [
            (panel.title, line.legend)
            for panel in dashboard.PANELS
            for line in panel.lines
            if not any(prometheus.lines(line, start=start, end=time.time(), step=1).values())
        ]
    assert empty == []
