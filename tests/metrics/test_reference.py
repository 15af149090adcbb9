from tests.metrics import reference
from tests.metrics.dashboard import SCRAPE_CONFIG
from torrust_py.core.statistics import Reason
from torrust_py.metrics.catalogue import CATALOGUE, GROUPS


def test_the_page_is_in_step_with_the_catalogue() -> None:
    page = reference.PAGE.read_text()
    assert page == reference.with_tables(page)
    assert sorted(reference.tables(page)) == sorted([*GROUPS, "Reasons"])


def test_every_reason_is_explained() -> None:
    assert list(reference.REASONS) == list(Reason)


def test_no_metric_is_there_twice() -> None:
    assert len(CATALOGUE) == sum(len(group) for group in GROUPS.values())


def test_the_page_shows_how_prometheus_asks() -> None:
    values = {"interval": "15s", "token": "/etc/prometheus/tracker-token", "target": "127.0.0.1:1212"}
    assert f"```yaml\n{SCRAPE_CONFIG.format(**values)}```\n" in reference.PAGE.read_text()
