"""The start: what is printed, and what a start that fails says."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from tests import forms
from tests.ports import free_port

pytestmark = pytest.mark.slow

GOLDEN = (Path(__file__).parent / "golden" / "log-public.txt").read_text()
"""All that the real Torrust printed in a public run, from its start to its stop."""

EVENT = re.compile(
    r"\S+Z +(?P<level>[A-Z]+) (?:(?:[a-z_]+(?:\{.*?\})?:)+ )?(?P<target>[A-Z ]+|torrust_tracker(?:::\w+)*): "
    r"(?P<message>.+)"
)
"""A line of the log; Torrust names spans between level and target."""

MANDATORY = {
    "METADATA__SCHEMA_VERSION": "2.0.0",
    "LOGGING__THRESHOLD": "info",
    "CORE__PRIVATE": "false",
    "CORE__LISTED": "false",
}
OVERRIDE = "TORRUST_TRACKER_CONFIG_OVERRIDE_"
DEFAULT_FILE = "./share/default/config/tracker.development.sqlite3.toml"

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (ERROR| WARN| INFO) [^:]+(::[^:]+)*: .+")

Start = Callable[..., Any]
Configure = Callable[..., str]


@pytest.mark.clause("1.1.1")
def test_the_programs_have_torrusts_names() -> None:
    scripts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    programs = {name: EntryPoint(name, value, "console_scripts").load() for name, value in scripts.items()}
    assert set(programs) == {
        "torrust-tracker",
        "udp_tracker_client",
        "http_tracker_client",
        "tracker_checker",
        "http_health_check",
    }
    assert all(map(callable, programs.values()))


@pytest.mark.clause("1.1.3")
@pytest.mark.parametrize("argument", ["5", "--config=tracker.toml"])
def test_an_argument_is_an_error(tmp_path: Path, argument: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "torrust_py", argument],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert argument.partition("=")[0] in result.stderr


def events(lines: list[str]) -> list[tuple[str, str, str]]:
    """Level, target and message of what was logged; ports are 0."""
    matches = (EVENT.fullmatch(line) for line in lines)
    return [
        (match["level"], match["target"], re.sub(r":\d+$", ":0", match["message"]))
        for match in matches
        if match
    ]


def in_order(wanted: list[tuple[str, str, str]], lines: list[str]) -> bool:
    """Whether these events are among those of the lines, in this order."""
    rest = iter(events(lines))
    return all(event in rest for event in wanted)


def dump(lines: list[str]) -> str:
    """The configuration that is echoed, as text."""
    text = "\n".join(lines)
    start = text.index("Configuration:\n") + len("Configuration:\n")
    _, end = json.JSONDecoder().raw_decode(text, start)
    return text[start:end]


@pytest.fixture(scope="module")
def golden_config() -> str:
    """The document of the recorded run, with free ports."""
    document = GOLDEN.partition(":\n ")[2].partition("\nLoading")[0]
    return re.sub(r':\d+"', ':0"', document)


@pytest.mark.clause("1.5.1", "1.5.4", "1.5.8", "1.5.10", "1.5.13", "1.5.14")
@pytest.mark.clause("1.6.2", "1.6.4", "1.6.5", "1.6.6", "1.6.7", "1.6.8", "1.6.10", "2.6.1", "1.7.1")
def test_the_log_says_what_torrusts_does(start: Start, golden_config: str) -> None:
    daemon = start(golden_config)
    assert daemon.stop() == 0
    golden = [event for event in events(GOLDEN.splitlines()) if event[0] != "ERROR"]
    golden = [event for event in golden if "return=Running" not in event[2]]
    of_start, of_stop = golden[:14], golden[14:]
    assert of_start[-1] == ("INFO", "HEALTH CHECK API", "Started on: http://127.0.0.1:0")
    assert in_order(of_start, daemon.lines)
    assert set(of_stop) - set(events(daemon.lines)) == set()
    expected = re.sub(r':\d+"', ':0"', dump(GOLDEN.splitlines()))
    assert without_our_options(dump(daemon.lines)) == expected


def without_our_options(text: str) -> str:
    """The dump without the options that Torrust does not have."""
    config = json.loads(text)
    assert json.dumps(config, indent=2) == text
    for option in ("blacklist_path", "limits", "snapshot"):
        del config["core"][option]
    del config["core"]["announce_policy"]["max_peers_per_announce"]
    return json.dumps(config, indent=2)


@pytest.mark.clause("1.6.5", "1.6.6", "1.6.7", "1.6.8")
def test_services_are_announced_as_other_programs_read_it(public: Any) -> None:
    lines = "\n".join(public.lines)
    for pattern in (
        r"INFO UDP TRACKER: Starting on: 127\.0\.0\.1:0$",
        r"INFO UDP TRACKER: Started on: udp://127\.0\.0\.1:[1-9]\d*$",
        r"INFO UDP TRACKER: Started on: udp://\[::1\]:[1-9]\d*$",
        r"INFO HTTP TRACKER: Starting on: http://127\.0\.0\.1:0$",
        r"INFO HTTP TRACKER: Started on: http://127\.0\.0\.1:[1-9]\d*$",
        r"INFO API: Starting Torrust APIs server on: http://127\.0\.0\.1:0$",
        r"INFO API: Starting on http://127\.0\.0\.1:0$",
        r"INFO API: Started on http://127\.0\.0\.1:[1-9]\d*$",
        r"INFO HEALTH CHECK API: Starting on: http://127\.0\.0\.1:0$",
        r"INFO HEALTH CHECK API: Started on: http://127\.0\.0\.1:[1-9]\d*$",
        r"INFO torrust_tracker::bootstrap::app: Data plane: (native|portable \(.+\))$",
    ):
        assert re.search(pattern, lines, re.MULTILINE), pattern


@pytest.mark.clause("1.3.4", "1.5.1", "1.6.2", "1.6.3", "1.6.4")
def test_every_log_line_has_time_level_and_target(public: Any) -> None:
    plain, logged = public.lines[:2], public.lines[2:]
    assert not [line for line in plain if LINE.match(line)]
    assert logged[0].endswith("Z  INFO torrust_tracker::bootstrap::logging: Logging initialized")
    shown = dump(public.lines).splitlines()
    assert [line for line in logged if not LINE.fullmatch(line) and line not in shown] == []


@pytest.mark.clause("1.6.11")
def test_torrusts_log_parser_finds_the_services(public: Any) -> None:
    found: dict[str, list[str]] = {"UDP TRACKER": [], "HTTP TRACKER": [], "HEALTH CHECK API": []}
    for line in public.lines:
        service = next((name for name in found if name in line), None)
        scheme = r"udp://" if service == "UDP TRACKER" else r"https?://"
        started = re.search(rf"Started on: ({scheme}[0-9.]+:[0-9]+)", line)
        if "INFO" in line and service and started:
            found[service].append(started[1])
    assert found == {
        "UDP TRACKER": [f"udp://127.0.0.1:{public.address('udp')[1]}"],
        "HTTP TRACKER": [f"http://127.0.0.1:{public.address('http')[1]}"],
        "HEALTH CHECK API": [f"http://127.0.0.1:{public.address('health')[1]}"],
    }


@pytest.mark.clause("11.2.7")
@pytest.mark.clause("1.3.1", "1.5.4", "1.2.11")
def test_the_configuration_is_echoed_with_its_secrets_masked(public: Any) -> None:
    echoed = json.loads(dump(public.lines))
    assert echoed["http_api"]["access_tokens"] == {"admin": "***"}
    assert echoed["core"]["announce_policy"]["interval"] == 120
    assert "MyAccessToken" not in "\n".join(public.lines)


@pytest.mark.clause("1.3.1", "1.3.3")
def test_a_document_of_the_environment_is_announced(public: Any) -> None:
    assert public.lines[:2] == [
        "Loading extra configuration from environment variable: TORRUST_TRACKER_CONFIG_TOML",
        f"Loading extra configuration from default configuration file: `{DEFAULT_FILE}` ...",
    ]


@pytest.mark.clause("1.2.1", "1.2.5", "1.3.2")
def test_a_file_is_not_read_beside_the_document_of_the_environment(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "tracker.toml").write_text(configure("[core.announce_policy]\ninterval = 5"))
    daemon = start(TORRUST_TRACKER_CONFIG_TOML_PATH="./tracker.toml")
    assert daemon.lines[1] == "Loading extra configuration from file: `./tracker.toml` ..."
    assert json.loads(dump(daemon.lines))["core"]["announce_policy"]["interval"] == 120


@pytest.mark.clause("1.2.5", "1.2.3", "1.2.8", "1.2.10")
def test_an_empty_document_leaves_all_to_overrides(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "tracker.toml").write_text(configure("[core.announce_policy]\ninterval = 5"))
    overrides = {**MANDATORY, "HEALTH_CHECK_API__BIND_ADDRESS": "127.0.0.1:0"}
    overrides["CORE__DATABASE__PATH"] = "sqlite3.db"
    daemon = start(
        "",
        TORRUST_TRACKER_CONFIG_TOML_PATH="./tracker.toml",
        **{OVERRIDE + name: value for name, value in overrides.items()},
    )
    echoed = json.loads(dump(daemon.lines))
    assert echoed["core"]["announce_policy"]["interval"] == 120
    assert echoed["http_api"] is None


@pytest.mark.clause("1.2.2", "1.2.6", "1.3.2")
def test_a_file_is_read_from_its_path_here_or_above(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    name = f"{tmp_path.name}.toml"  # of its own: the directory above is shared
    (tmp_path.parent / name).write_text(configure("[core.announce_policy]\ninterval = 5"))
    daemon = start(TORRUST_TRACKER_CONFIG_TOML=None, TORRUST_TRACKER_CONFIG_TOML_PATH=name)
    assert daemon.lines[0] == f"Loading extra configuration from file: `{name}` ..."
    assert json.loads(dump(daemon.lines))["core"]["announce_policy"]["interval"] == 5


@pytest.mark.clause("1.2.4", "1.3.3", "1.3.5")
@pytest.mark.parametrize(
    ("place", "announcement"),
    [
        (DEFAULT_FILE, f"Loading extra configuration from default configuration file: `{DEFAULT_FILE}` ..."),
        ("./tracker.toml", "Loading configuration from config file ./tracker.toml"),
    ],
)
def test_without_a_variable_a_file_is_looked_for(
    start: Start, configure: Configure, tmp_path: Path, place: str, announcement: str
) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text(configure("[core.announce_policy]\ninterval = 5"))
    daemon = start(TORRUST_TRACKER_CONFIG_TOML=None)
    assert daemon.lines[0] == announcement
    assert json.loads(dump(daemon.lines))["core"]["announce_policy"]["interval"] == 5


@pytest.mark.clause("1.5.5", "1.5.9", "1.5.11", "2.3.9")
def test_a_tracker_without_services_says_so_and_runs(start: Start, configure: Configure) -> None:
    daemon = start(configure(services='[health_check_api]\nbind_address = "127.0.0.1:0"'))
    assert in_order(
        [
            ("INFO", "torrust_tracker::bootstrap::app", "Configuration:"),
            ("WARN", "torrust_tracker::bootstrap::app", "No services enabled in configuration"),
            ("INFO", "torrust_tracker::bootstrap::app", "No UDP blocks in configuration"),
            ("INFO", "torrust_tracker::bootstrap::app", "No HTTP blocks in configuration"),
            ("INFO", "torrust_tracker::bootstrap::app", "No API block in configuration"),
            ("INFO", "HEALTH CHECK API", "Started on: http://127.0.0.1:0"),
        ],
        daemon.lines,
    )
    assert daemon.get("health", "/health_check") == (200, b'{"status":"None","message":"","details":[]}')


def test_an_api_without_a_token_says_how_to_set_one(start: Start, configure: Configure) -> None:
    services = '[http_api]\nbind_address = "127.0.0.1:0"\n[health_check_api]\nbind_address = "127.0.0.1:0"'
    daemon = start(configure(services=services))
    daemon.wait_for_line("WARN API: .*TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN")


@pytest.mark.clause("1.5.9", "2.2.12")
def test_a_private_tracker_starts_no_udp(private: Any) -> None:
    refused = (
        "Could not start UDP tracker on: {} while in private mode. UDP is not safe for private trackers!"
    )
    assert in_order(
        [
            ("WARN", "torrust_tracker::bootstrap::app", refused.format(address))
            for address in ("127.0.0.1:0", "[::1]:0")
        ],
        private.lines,
    )
    assert not any("Started on: udp" in line for line in private.lines)


@pytest.mark.clause("1.2.3", "1.2.8", "1.2.14", "1.2.16")
def test_an_override_of_the_environment_counts(start: Start) -> None:
    daemon = start(TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN="12345")
    assert daemon.get("api", "/api/v1/stats?token=12345")[0] == 200
    assert daemon.get("api", "/api/v1/stats?token=MyAccessToken")[0] == 500


@pytest.mark.clause("1.2.9")
def test_an_array_is_overridden_whole(start: Start) -> None:
    daemon = start(TORRUST_TRACKER_CONFIG_OVERRIDE_UDP_TRACKERS='[{bind_address="127.0.0.2:0"}]')
    started = [line for line in daemon.lines if "Started on: udp" in line]
    assert [daemon.address("udp")[0], len(started)] == ["127.0.0.2", 1]


@pytest.mark.clause("1.2.18")
def test_a_token_of_the_environment_makes_the_api(launch: Start, configure: Configure) -> None:
    # Port 1212 may be taken; the line stands before it is asked for.
    services = '[health_check_api]\nbind_address = "127.0.0.1:0"'
    daemon = launch(configure(services=services), **{OVERRIDE + "HTTP_API__ACCESS_TOKENS__ADMIN": "x"})
    daemon.wait_for_line("INFO API: Starting on http://127.0.0.1:1212$")


@pytest.mark.parametrize(
    ("table", "line"),
    [
        pytest.param(
            "[[udp_trackers]]",
            r"UDP TRACKER: Starting on: 0\.0\.0\.0:6969$",
            marks=pytest.mark.clause("2.3.1"),
        ),
        pytest.param(
            "[[http_trackers]]",
            r"HTTP TRACKER: Starting on: http://0\.0\.0\.0:7070$",
            marks=pytest.mark.clause("2.3.2"),
        ),
        pytest.param(
            "[http_api]", r"API: Starting on http://127\.0\.0\.1:1212$", marks=pytest.mark.clause("2.3.6")
        ),
        pytest.param(
            "",
            r"HEALTH CHECK API: Starting on: http://127\.0\.0\.1:1313$",
            marks=pytest.mark.clause("2.3.8", "2.3.9"),
        ),
    ],
)
def test_a_service_has_a_default_address(launch: Start, configure: Configure, table: str, line: str) -> None:
    # The port may be taken; the line stands before it is asked for.
    launch(configure(services=table)).wait_for_line(f"INFO {line}")


@pytest.mark.clause("1.2.19")
def test_an_empty_override_means_none(start: Start, configure: Configure) -> None:
    config = configure('[core.net]\nexternal_ip = "203.0.113.7"')
    daemon = start(config, TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__NET__EXTERNAL_IP="")
    assert json.loads(dump(daemon.lines))["core"]["net"]["external_ip"] is None


def test_the_portable_form_can_be_asked_for(start: Start) -> None:
    daemon = start(TORRUST_TRACKER_DATA_PLANE="portable")
    daemon.wait_for_line(r"Data plane: portable \(as TORRUST_TRACKER_DATA_PLANE asks\)")


def failure(daemon: Any) -> str:
    """The one line on standard error of a start that failed."""
    assert daemon.wait(30) == 1
    lines = daemon.errors().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("torrust-tracker: ")
    assert "panicked" not in lines[0]
    assert "RUST_BACKTRACE" not in lines[0]
    return str(lines[0])


def test_a_path_of_two_lines_is_shown_in_one(launch: Start) -> None:
    line = failure(launch(TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__BLACKLIST_PATH="/no\n\x1b[1mlist"))
    assert r"/no\n\x1b[1mlist" in line


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        pytest.param("udp_trackers", socket.SOCK_DGRAM, marks=pytest.mark.clause("1.4.1", "1.4.11")),
        pytest.param("http_trackers", socket.SOCK_STREAM, marks=pytest.mark.clause("1.4.10")),
        pytest.param("http_api", socket.SOCK_STREAM, marks=pytest.mark.clause("1.4.10")),
        pytest.param("health_check_api", socket.SOCK_STREAM, marks=pytest.mark.clause("1.4.10")),
    ],
)
def test_a_port_in_use_is_named(launch: Start, configure: Configure, service: str, kind: int) -> None:
    table = f"[[{service}]]" if service.endswith("s") else f"[{service}]"
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        if kind == socket.SOCK_STREAM:
            taken.listen()
        line = failure(launch(configure(services=f'{table}\nbind_address = "{address}"')))
    assert address in line
    assert "another process, or service of this one, has this port" in line


@pytest.mark.clause("1.4.13")
def test_a_start_that_fails_late_leaves_nothing_running(launch: Start, configure: Configure) -> None:
    with socket.socket() as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        services = f"""
            [[udp_trackers]]
            bind_address = "127.0.0.1:{free_port()}"
            [health_check_api]
            bind_address = "127.0.0.1:{taken.getsockname()[1]}"
        """
        daemon = launch(configure(services=services))
        failure(daemon)
        free.bind(daemon.address("udp"))  # its port is free again


@pytest.mark.clause("1.4.12", "2.3.12")
@pytest.mark.parametrize(("table", "service"), [("[http_trackers]", "HTTP tracker"), ("http_api", "API")])
@pytest.mark.parametrize(
    ("files", "named"),
    [
        (
            'ssl_cert_path = "./missing.crt"\nssl_key_path = "./missing.key"',
            ["cannot read the TLS certificate ./missing.crt: No such file"],
        ),
        ("", ["tsl_config.ssl_cert_path", "must be the path of a PEM file"]),
        ('ssl_cert_path = "./missing.crt"', ["tsl_config.ssl_key_path", "must be the path of a PEM file"]),
    ],
)
def test_a_missing_certificate_is_named(
    launch: Start, configure: Configure, table: str, service: str, files: str, named: list[str]
) -> None:
    name = table.strip("[]")
    services = f'[{table}]\nbind_address = "127.0.0.1:0"\n[{name}.tsl_config]\n{files}\n'
    line = failure(launch(configure(services=services)))
    assert [word for word in named if word not in line] == []
    assert name in line or service in line


@pytest.mark.clause("1.4.7", "2.2.5")
def test_a_missing_database_directory_is_named_and_not_made(
    launch: Start, configure: Configure, tmp_path: Path
) -> None:
    line = failure(launch(configure().replace('"sqlite3.db"', '"./missing/sqlite3.db"')))
    assert "database" in line
    assert "./missing/sqlite3.db" in line
    assert not (tmp_path / "missing").exists()


@pytest.mark.clause("1.5.3")
def test_the_database_is_opened_before_the_configuration_is_echoed(
    launch: Start, configure: Configure
) -> None:
    daemon = launch(configure().replace('"sqlite3.db"', '"./missing/sqlite3.db"'))
    failure(daemon)
    assert daemon.lines[2].endswith("Logging initialized")
    assert not [line for line in daemon.lines if line.endswith("Configuration:")]


def test_a_url_without_its_driver_is_told_without_the_password(launch: Start, configure: Configure) -> None:
    config = configure().replace('"sqlite3.db"', '"mysql://user:hunter2@localhost/db"')
    line = failure(launch(config))
    assert "core.database.driver" in line
    assert "hunter2" not in line


@pytest.mark.clause("1.4.7")
def test_a_file_that_is_no_database_is_named(launch: Start, tmp_path: Path) -> None:
    (tmp_path / "sqlite3.db").write_bytes(b"this is no database, whatever its name says" * 100)
    line = failure(launch())
    assert "database" in line
    assert "sqlite3.db" in line


@pytest.fixture
def not_built(tmp_path: Path) -> str:
    """The PYTHONPATH of an installation whose native form was not built."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class NotBuilt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('torrust_py.native.'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "sys.meta_path.insert(0, NotBuilt())\n"
    )
    return os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))


def test_the_native_form_is_an_error_where_it_was_not_built(launch: Start, not_built: str) -> None:
    line = failure(launch(TORRUST_TRACKER_DATA_PLANE="native", PYTHONPATH=not_built))
    assert "TORRUST_TRACKER_DATA_PLANE is native" in line
    assert "no compiled data plane" in line


def test_the_portable_form_runs_where_the_native_one_was_not_built(start: Start, not_built: str) -> None:
    daemon = start(TORRUST_TRACKER_DATA_PLANE=None, PYTHONPATH=not_built)
    daemon.wait_for_line(r"Data plane: portable \(this installation has no compiled data plane: .+\)$")


def test_the_native_form_runs_where_it_was_built(start: Start) -> None:
    forms.native("udp")
    start(TORRUST_TRACKER_DATA_PLANE=None).wait_for_line(r"Data plane: native$")


def test_an_unknown_form_is_refused(launch: Start) -> None:
    assert "TORRUST_TRACKER_DATA_PLANE is 'fast'" in failure(launch(TORRUST_TRACKER_DATA_PLANE="fast"))


@pytest.mark.parametrize("form", ["portable", "native"])
def test_requests_are_logged_at_debug_in_either_form(start: Start, configure: Configure, form: str) -> None:
    if form == "native":
        forms.native("udp")
    config = configure().replace('threshold = "info"', 'threshold = "debug"')
    daemon = start(config, TORRUST_TRACKER_DATA_PLANE=form)
    with daemon.conversation() as client:
        assert len(client.connection_id) == 8
    daemon.wait_for_line(r"DEBUG UDP TRACKER: CONNECT from 127\.0\.0\.1")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        pytest.param('"info"', '"INFO"', ["logging.threshold"], marks=pytest.mark.clause("2.4.4")),
        pytest.param('"info"', '"loud"', ["logging.threshold", "loud"], marks=pytest.mark.clause("1.4.4")),
        pytest.param(
            "private = false",
            'private = "no"',
            ['core.private = "no"', "true or false"],
            marks=pytest.mark.clause("1.4.4"),
        ),
        pytest.param(
            "[core.database]",
            '[core.database]\ndriver = "oracle"',
            ["core.database.driver", "oracle"],
            marks=pytest.mark.clause("1.4.4"),
        ),
        pytest.param(
            '"127.0.0.1:0"',
            '"localhost:0"',
            ["udp_trackers[0].bind_address", "localhost:0"],
            marks=pytest.mark.clause("1.4.4", "2.3.11"),
        ),
        pytest.param(
            'schema_version = "2.0.0"',
            "",
            ["metadata.schema_version is missing"],
            marks=pytest.mark.clause("1.2.10", "1.4.2"),
        ),
        pytest.param(
            'threshold = "info"',
            "",
            ["logging.threshold is missing"],
            marks=pytest.mark.clause("1.2.10", "1.4.2"),
        ),
        pytest.param(
            "private = false", "", ["core.private is missing"], marks=pytest.mark.clause("1.2.10", "1.4.2")
        ),
        pytest.param(
            "listed = false", "", ["core.listed is missing"], marks=pytest.mark.clause("1.2.10", "1.4.2")
        ),
        pytest.param(
            '"2.0.0"',
            '"1.0.0"',
            ["metadata.schema_version", "1.0.0", "2.0.0"],
            marks=pytest.mark.clause("1.2.13", "1.4.5", "2.1.3"),
        ),
        pytest.param(
            "[metadata]",
            '[metadata]\napp = "torrust-index"',
            ["metadata.app", "torrust-index", "must be torrust-tracker"],
            marks=pytest.mark.clause("2.1.1"),
        ),
        pytest.param(
            "[metadata]",
            '[metadata]\npurpose = "tests"',
            ["metadata.purpose", "tests", "must be configuration"],
            marks=pytest.mark.clause("2.1.2"),
        ),
        pytest.param(
            "[core.database]",
            "[core.private_mode]\n[core.database]",
            [
                "Configuration error: Private mode section in configuration can only be included when the "
                "tracker is running in private mode."
            ],
            marks=pytest.mark.clause("1.4.6", "2.2.16"),
        ),
        pytest.param("private = false", "private = ", ["line", "column"], marks=pytest.mark.clause("1.4.3")),
    ],
)
def test_a_wrong_value_is_named(
    launch: Start, configure: Configure, old: str, new: str, named: list[str]
) -> None:
    line = failure(launch(configure().replace(old, new, 1)))
    assert [word for word in named if word not in line] == []


@pytest.mark.clause("1.2.12", "1.2.21")
def test_what_is_missing_is_told_before_what_is_wrong(launch: Start, configure: Configure) -> None:
    wrong = configure().replace('"info"', '"loud"').replace('"2.0.0"', '"1.0.0"')
    assert "core.listed is missing" in failure(launch(wrong.replace("listed = false", "")))
    assert "threshold" in failure(launch(wrong.replace('"1.0.0"', '"2.0.0"')))


@pytest.mark.clause("1.2.17")
def test_an_index_in_the_name_of_a_variable_is_refused(launch: Start) -> None:
    name = OVERRIDE + "UDP_TRACKERS__0__BIND_ADDRESS"
    assert name in failure(launch(**{name: "127.0.0.1:0"}))


@pytest.mark.clause("1.2.7")
def test_a_file_at_a_path_that_is_set_and_missing_is_named(launch: Start) -> None:
    line = failure(
        launch(TORRUST_TRACKER_CONFIG_TOML=None, TORRUST_TRACKER_CONFIG_TOML_PATH="./nowhere.toml")
    )
    assert "./nowhere.toml: there is no such file" in line


@pytest.mark.clause("1.2.4", "1.2.7")
def test_without_any_configuration_it_says_how_to_get_one(launch: Start) -> None:
    line = failure(launch(TORRUST_TRACKER_CONFIG_TOML=None))
    assert "metadata.schema_version is missing" in line
    assert "torrust-tracker --print-default-config" in line


@pytest.mark.clause("1.5.7")
def test_a_database_of_torrust_opens_and_is_read(start: Start, configure: Configure, tmp_path: Path) -> None:
    torrust = Path(__file__).parents[1] / "databases/torrust.sqlite3.db"
    (tmp_path / "sqlite3.db").write_bytes(torrust.read_bytes())
    policy = "[core.tracker_policy]\npersistent_torrent_completed_stat = true"
    daemon = start(configure(core=policy))
    info_hash = "05" * 20
    status, body = daemon.api(f"torrents?info_hash={info_hash}")
    assert (status, json.loads(body)) == (
        200,
        [{"info_hash": info_hash, "seeders": 0, "completed": 1, "leechers": 0}],
    )
    assert daemon.stop() == 0
    with sqlite3.connect(tmp_path / "sqlite3.db") as database:
        assert database.execute("SELECT count(*) FROM keys").fetchone() == (4,)


@pytest.mark.clause("1.4.9", "1.5.6", "1.5.7")
@pytest.mark.parametrize(
    ("table", "options", "what"),
    [
        ("keys", {"private": True}, "keys"),
        ("whitelist", {"listed": True}, "whitelist"),
        (
            "torrents",
            {"core": "[core.tracker_policy]\npersistent_torrent_completed_stat = true"},
            "completed counters",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_named(
    launch: Start, configure: Configure, tmp_path: Path, table: str, options: dict[str, Any], what: str
) -> None:
    with sqlite3.connect(tmp_path / "sqlite3.db") as database:
        database.execute(f"CREATE TABLE {table} (name TEXT)")
    database.close()
    line = failure(launch(configure(**options)))
    assert f"cannot load the {what} from the database" in line


@pytest.mark.clause("1.5.6", "1.5.7")
def test_a_table_that_is_not_needed_is_not_read(start: Start, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "sqlite3.db") as database:
        for table in ("keys", "whitelist", "torrents"):
            database.execute(f"CREATE TABLE {table} (name TEXT)")
    database.close()
    assert start().stats()["torrents"] == 0


@pytest.mark.clause("1.4.8")
def test_a_table_that_cannot_be_made_is_named(launch: Start, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "sqlite3.db") as database:
        database.execute("CREATE TABLE other (name TEXT)")
        database.execute("CREATE INDEX keys ON other (name)")
    database.close()
    line = failure(launch())
    assert "keys" in line
    assert "core.database.path" in line


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m torrust_py"
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={"TORRUST_TRACKER_CONFIG_TOML_PATH": "./tracker.toml"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "working directory" in result.stderr
