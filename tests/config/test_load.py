import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torrust_py.config import ConfigError, load_config

TOML = "TORRUST_TRACKER_CONFIG_TOML"
PATH = "TORRUST_TRACKER_CONFIG_TOML_PATH"
PREFIX = "TORRUST_TRACKER_CONFIG_OVERRIDE_"
PRIVATE_MODE = (
    "Configuration error: Private mode section in configuration can only be included when the tracker is "
    "running in private mode."
)
NOWHERE = Path("/nonexistent")


def complaint(environ: dict[str, str], directory: Path = NOWHERE) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(environ, directory)
    return str(raised.value)


@pytest.mark.clause("1.2.8", "1.2.11")
def test_defaults_give_way_to_the_document_and_it_to_overrides(minimal: str) -> None:
    document = minimal + "[core.announce_policy]\ninterval = 1\ninterval_min = 1\n"
    environ = {TOML: document, PREFIX + "CORE__ANNOUNCE_POLICY__INTERVAL_MIN": "2"}
    policy = load_config(environ, NOWHERE).config.core.announce_policy
    assert (policy.interval, policy.interval_min, policy.max_peers_per_announce) == (1, 2, 74)


def test_the_announcement_says_where_the_configuration_comes_from(minimal: str, tmp_path: Path) -> None:
    (tmp_path / "tracker.toml").write_text(minimal)
    assert load_config({}, tmp_path).announcement == ["Loading configuration from config file ./tracker.toml"]


def test_overrides_alone_may_be_the_whole_configuration(tmp_path: Path) -> None:
    environ = {
        PREFIX + "METADATA__SCHEMA_VERSION": "2.0.0",
        PREFIX + "LOGGING__THRESHOLD": "info",
        PREFIX + "CORE__PRIVATE": "true",
        PREFIX + "CORE__LISTED": "false",
    }
    assert load_config(environ, tmp_path).config.core.private


@pytest.mark.clause("1.2.10", "1.4.2")
def test_mandatory_options_are_missed_in_order() -> None:
    environ = {TOML: ""}
    for option, value in (
        ("metadata.schema_version", "2.0.0"),
        ("logging.threshold", "info"),
        ("core.private", "false"),
        ("core.listed", "false"),
    ):
        assert complaint(environ).startswith(f"{option} is missing: set it to ")
        environ[PREFIX + option.replace(".", "__").upper()] = value
    load_config(environ, NOWHERE)


def test_a_missing_option_is_told_with_its_remedy(minimal: str, tmp_path: Path) -> None:
    (tmp_path / "tracker.toml").write_text(minimal.replace("listed", "unlisted"))
    assert complaint({}, tmp_path) == (
        "core.listed is missing: set it to true or false (in ./tracker.toml, or by "
        "TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__LISTED)"
    )


@pytest.mark.clause("1.2.21")
def test_a_missing_option_is_told_before_a_wrong_one(minimal: str) -> None:
    document = minimal.replace("info", "loud").replace("listed", "unlisted")
    assert complaint({TOML: document}).startswith("core.listed is missing")


def test_what_stands_in_place_of_a_table_is_refused_for_what_it_is() -> None:
    assert complaint({TOML: "metadata = 1\nlogging = 1\ncore = 1"}) == (
        "metadata: must be a table (in environment variable TORRUST_TRACKER_CONFIG_TOML)"
    )


def test_without_any_configuration_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    text = complaint({}, tmp_path)
    assert text.startswith("no configuration found, so metadata.schema_version is missing: ")
    assert text.endswith("torrust-tracker --print-default-config > ./tracker.toml")


@pytest.mark.clause("2.4.5")
def test_an_old_configuration_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "tracker.toml").write_text('log_level = "info"\nmode = "public"\ndb_path = "x"\nother = 1\n')
    assert complaint({}, tmp_path) == (
        "metadata.schema_version is missing: this is an old configuration, of before schema 2.0.0, in which "
        "log_level is now logging.threshold, mode is now core.listed and core.private, db_path is now "
        "core.database.path; torrust-tracker --print-default-config shows a new one (in ./tracker.toml)"
    )


def test_a_wrong_value_of_a_file_names_the_file(minimal: str, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/tracker.toml").write_text(minimal.replace("info", "loud"))
    assert complaint({PATH: "config/tracker.toml"}, tmp_path) == (
        'logging.threshold = "loud": must be one of off, error, warn, info, debug, trace '
        "(in config/tracker.toml)"
    )


def test_a_wrong_value_of_the_environment_names_the_variable(minimal: str) -> None:
    variable = PREFIX + "UDP_TRACKERS"
    environ = {TOML: minimal, variable: "[{bind_address=0.0.0.0:1}, {bind_address=example.org:1}]"}
    assert complaint(environ) == (
        'udp_trackers[1].bind_address = "example.org:1": must be an IP address and a port, such as '
        f"0.0.0.0:6969 or [::]:6969 (in environment variable {variable})"
    )


@pytest.mark.clause("1.2.13", "2.1.3")
def test_another_schema_version_is_refused(minimal: str) -> None:
    assert complaint({TOML: minimal.replace("2.0.0", "1.0.0")}) == (
        f'metadata.schema_version = "1.0.0": must be 2.0.0 (in environment variable {TOML})'
    )


@pytest.mark.parametrize(("key", "must_be"), [("app", "torrust-tracker"), ("purpose", "configuration")])
def test_another_kind_of_document_is_refused(minimal: str, key: str, must_be: str) -> None:
    document = minimal.replace("schema_version", f'{key} = "x"\nschema_version')
    assert complaint({TOML: document}).startswith(f'metadata.{key} = "x": must be {must_be} (in')


def test_the_private_mode_section_is_refused_outside_of_private_mode(minimal: str) -> None:
    assert complaint({TOML: minimal + "[core.private_mode]\n"}).startswith(f"{PRIVATE_MODE} ")


def test_the_private_mode_section_is_read_in_private_mode(minimal: str) -> None:
    document = minimal.replace("private = false", "private = true") + "[core.private_mode]\n"
    private_mode = load_config({TOML: document}, NOWHERE).config.core.private_mode
    assert private_mode is not None
    assert private_mode.check_keys_expiration


@pytest.mark.clause("2.4.4")
def test_a_server_database_needs_a_url(minimal: str) -> None:
    driver = PREFIX + "CORE__DATABASE__DRIVER"
    assert complaint({TOML: minimal, driver: "MySQL"}).startswith(
        "core.database.path: must be a URL such as mysql://user:password@host/database when "
        "core.database.driver is mysql ("
    )


def test_a_url_needs_its_driver(minimal: str) -> None:
    environ = {TOML: minimal, PREFIX + "CORE__DATABASE__PATH": "mysql://user:hush@host/db"}
    assert complaint(environ) == (
        "core.database.path: must be the path of a file when core.database.driver is sqlite3; for the "
        "URL of a server also set core.database.driver "
        f"(in environment variable {PREFIX}CORE__DATABASE__PATH)"
    )


OPTIONS = [
    "metadata.app",
    "metadata.schema_version",
    "logging.threshold",
    "core",
    "core.listed",
    "core.private",
    "core.private_mode",
    "core.private_mode.check_keys_expiration",
    "core.announce_policy.interval",
    "core.announce_policy.max_peers_per_announce",
    "core.database.driver",
    "core.database.path",
    "core.limits.max_peers",
    "core.net.external_ip",
    "udp_trackers",
    "http_trackers",
    "http_trackers.0.bind_address",
    "http_api",
    "http_api.bind_address",
    "http_api.tls_config.ssl_cert_path",
    "http_api.tsl_config.ssl_key_path",
    "http_api.access_tokens",
    "http_api.access_tokens.admin",
    "health_check_api.bind_address",
]
NAMES = st.sampled_from([PREFIX + option.replace(".", "__").upper() for option in OPTIONS]) | st.text(
    "_.ACORELISTD\u0131\u017f", max_size=8
).map(lambda name: PREFIX + name)
TEXTS = [
    "",
    "true",
    "false",
    "2.0.0",
    "info",
    "0",
    "-1",
    "99999999999999999999",
    "0.0.0.0:1",
    "mysql",
    "m://u:p",
]
VALUES = [
    "[{bind_address=[::]:1}]",
    '[{bind_address="[::]:1"}]',
    "{}",
    "[]",
    "{admin=1}",
    '"',
    "\udc80",
    "nul\0",
]
ENVIRONMENT_TEXT = st.sampled_from(TEXTS + VALUES) | st.text(st.characters(), max_size=12)
TOML_PIECES = ["[", "]", "[core]", "=", '"', "\n", "a", "1", ".", "{", "}", ",", "\r", "\ufeff"]
DOCUMENTS = st.sampled_from(
    [
        '[metadata]\nschema_version = "2.0.0"\n[logging]\nthreshold = "info"\n[core]\nlisted = false\n'
        "private = false\n",
        "core = 1\n",
        "mode = 'public'\n",
        "",
    ]
) | st.lists(st.sampled_from(TOML_PIECES)).map("".join)
ENVIRONMENTS = st.builds(
    lambda document, overrides: {**overrides, **document},
    st.dictionaries(st.just(TOML), DOCUMENTS | ENVIRONMENT_TEXT)
    | st.dictionaries(st.just(PATH), ENVIRONMENT_TEXT),
    st.dictionaries(NAMES, ENVIRONMENT_TEXT, max_size=6),
)


@pytest.mark.slow
@given(ENVIRONMENTS)
def test_any_environment_is_loaded_or_refused_on_one_line(environ: dict[str, str]) -> None:
    try:
        loaded = load_config(environ, NOWHERE)
        shown = [json.dumps(json.loads(loaded.config.masked_json())), *loaded.announcement]
    except ConfigError as error:
        shown = [str(error)]
    assert all(line.isprintable() for line in shown)


SECRETS = st.text(st.characters(exclude_categories=["C"]), max_size=12).map(lambda text: f"hush{text}hush")
WRONG = st.sampled_from(["", "[core.net]\nexternal_ip = 5\n", "[http_api]\nbind_address = 5\n", "[a]\n[a]\n"])


@pytest.mark.slow
@given(SECRETS, SECRETS, WRONG, st.sampled_from(["mysql", "sqlite3", "oracle"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_secret_is_neither_in_the_dump_nor_in_an_error(
    minimal: str, token: str, password: str, wrong: str, driver: str
) -> None:
    environ = {
        TOML: wrong + minimal,
        PREFIX + "HTTP_API__ACCESS_TOKENS__ADMIN": token,
        PREFIX + "CORE__DATABASE__PATH": f"mysql://user:{password}@host:3306/db",
        PREFIX + "CORE__DATABASE__DRIVER": driver,
    }
    try:
        config = load_config(environ, NOWHERE).config
        shown = config.masked_json() + repr(config)
    except ConfigError as error:
        shown = str(error)
    assert "hush" not in shown
