import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from tests.config import reference
from tests.config.reference import option_paths
from torrust_py.config import Config, default_config, load_config

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "config"
NAMES = [
    "tracker.container.mysql.toml",
    "tracker.container.postgresql.toml",
    "tracker.container.sqlite3.toml",
    "tracker.development.sqlite3.toml",
    "tracker.e2e.container.sqlite3.toml",
    "tracker.udp.benchmarking.toml",
]
CONTAINER = NAMES[:3]


def shipped(name: str) -> Config:
    return load_config({"TORRUST_TRACKER_CONFIG_TOML_PATH": str(SHIPPED / name)}, REPOSITORY).config


def addresses(config: Config) -> list[str]:
    """Of UDP, HTTP and API."""
    trackers = [
        *(udp.bind_address for udp in config.udp_trackers or ()),
        *(http.bind_address for http in config.http_trackers or ()),
    ]
    api = [] if config.http_api is None else [config.http_api.bind_address]
    return list(map(str, trackers + api))


def test_all_files_are_known() -> None:
    assert sorted(path.name for path in SHIPPED.glob("*.toml")) == NAMES


@pytest.mark.clause("2.7.1", "2.7.7")
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_is_a_public_tracker_that_asks_for_300_seconds(name: str) -> None:
    core = shipped(name).core
    assert (core.listed, core.private) == (False, False)
    assert (core.announce_policy.interval, core.announce_policy.interval_min) == (300, 300)


@pytest.mark.clause("10.1.2")
@pytest.mark.clause("2.7.2", "2.7.3", "2.7.4")
@pytest.mark.parametrize("name", NAMES[:5])
def test_udp_http_and_api_are_reachable_from_outside(name: str) -> None:
    assert addresses(shipped(name)) == ["0.0.0.0:6969", "0.0.0.0:7070", "0.0.0.0:1212"]


@pytest.mark.clause("2.7.5")
def test_benchmarks_have_udp_only() -> None:
    config = shipped("tracker.udp.benchmarking.toml")
    assert addresses(config) == ["0.0.0.0:6969"]
    assert config.logging.threshold == "error"
    assert not config.core.tracker_usage_statistics
    assert not config.core.tracker_policy.remove_peerless_torrents


@pytest.mark.clause("10.1.3")
@pytest.mark.clause("2.7.3")
@pytest.mark.parametrize("name", CONTAINER)
def test_a_container_has_no_token_until_it_is_given_one(name: str) -> None:
    api = shipped(name).http_api
    assert api is not None
    assert api.access_tokens == {}


@pytest.mark.clause("A.1.2")
@pytest.mark.clause("2.7.2", "2.7.4")
@pytest.mark.parametrize("name", [NAMES[3], NAMES[4]])
def test_development_and_end_to_end_tests_have_the_known_token(name: str) -> None:
    api = shipped(name).http_api
    assert api is not None
    assert api.access_tokens["admin"].get_secret_value() == "MyAccessToken"


@pytest.mark.clause("10.1.1")
@pytest.mark.clause("2.7.3", "2.7.4", "2.7.5")
@pytest.mark.parametrize(
    ("name", "driver", "path"),
    [
        (NAMES[0], "mysql", "mysql://db_user:db_user_secret_password@mysql:3306/torrust_tracker"),
        (
            NAMES[1],
            "postgresql",
            "postgresql://db_user:db_user_secret_password@postgresql:5432/torrust_tracker",
        ),
        (NAMES[2], "sqlite3", "/var/lib/torrust/tracker/database/sqlite3.db"),
        (NAMES[4], "sqlite3", "/var/lib/torrust/tracker/database/sqlite3.db"),
        (NAMES[5], "sqlite3", "./sqlite3.db"),
    ],
)
def test_a_shipped_file_names_its_database(name: str, driver: str, path: str) -> None:
    database = shipped(name).core.database
    assert (database.driver, database.path.get_secret_value()) == (driver, path)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_keeps_a_snapshot_beside_the_database(name: str) -> None:
    core = shipped(name).core
    assert core.snapshot is not None
    assert core.snapshot.interval == 300
    if core.database.driver == "sqlite3":
        database = core.database.path.get_secret_value()
        assert core.snapshot.path == database.replace("sqlite3.db", "swarms.snapshot")
    else:
        assert core.snapshot.path == "/var/lib/torrust/tracker/database/swarms.snapshot"


@pytest.mark.clause("2.7.4")
def test_only_end_to_end_tests_reach_the_health_check_from_outside() -> None:
    reachable = [name for name in NAMES if shipped(name).health_check_api.bind_address.host == "0.0.0.0"]
    assert reachable == ["tracker.e2e.container.sqlite3.toml"]


def test_the_default_configuration_shows_every_option(tmp_path: Path) -> None:
    text = re.sub(r"^# (\[[a-z_.]+\]|[a-z_]+ = .*)$", r"\1", default_config(), flags=re.MULTILINE)
    environ = {
        "TORRUST_TRACKER_CONFIG_TOML": text,
        "TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__PRIVATE": "true",  # which its [core.private_mode] needs
    }
    config = load_config(environ, tmp_path).config
    assert structure(tomllib.loads(text)) == structure(json.loads(config.masked_json()))


def structure(value: object) -> object:
    """The keys, without their values."""
    if isinstance(value, dict):
        return {key: structure(member) for key, member in value.items()}
    return [structure(member) for member in value] if isinstance(value, list) else None


def test_the_page_of_the_configuration_is_up_to_date() -> None:
    assert reference.PAGE.read_text() == reference.page(), (
        "run `python -m tests.config.reference` and commit docs/configuration.md"
    )


def test_the_page_has_every_option() -> None:
    shown = {f"{option.table}.{option.name}" for option in reference.options() if option.name}
    text = re.sub(r"^# (\[[a-z_.]+\]|[a-z_]+ = .*)$", r"\1", default_config(), flags=re.MULTILINE)
    assert shown == set(option_paths(tomllib.loads(text)))


def test_the_default_configuration_is_that_of_development() -> None:
    assert default_config() == (SHIPPED / "tracker.development.sqlite3.toml").read_text("utf-8")


def test_the_package_carries_the_shipped_files() -> None:
    carried = {entry.name for entry in (files("torrust_py.config") / "shipped").iterdir()}
    assert carried >= set(NAMES)


@pytest.mark.clause("2.7.6")
def test_the_sample_of_the_checker_has_its_three_lists() -> None:
    sample = json.loads((SHIPPED / "tracker_checker.json").read_text("utf-8"))
    assert list(sample) == ["udp_trackers", "http_trackers", "health_checks"]
