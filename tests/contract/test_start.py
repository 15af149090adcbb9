"""The start: what is printed, and what a start that fails says."""

import json
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (ERROR| WARN| INFO) [^:]+(::[^:]+)*: .+")

Start = Callable[..., Any]
Configure = Callable[..., str]


def test_services_are_announced_as_other_programs_read_it(start: Start) -> None:
    daemon = start()
    lines = "\n".join(daemon.lines)
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
        r"INFO torrust_tracker::bootstrap::app: Data plane: portable \(.+\)$",
    ):
        assert re.search(pattern, lines, re.MULTILINE), pattern


def test_every_log_line_has_time_level_and_target(start: Start) -> None:
    daemon = start()
    announced = daemon.lines.index(next(line for line in daemon.lines if "Logging initialized" in line))
    logged = [line for line in daemon.lines[announced:] if not line.startswith(("{", "}", " "))]
    assert [line for line in logged if not LINE.match(line)] == []


def test_the_configuration_is_echoed_with_its_secrets_masked(start: Start) -> None:
    daemon = start()
    lines = "\n".join(daemon.lines)
    dump, _ = json.JSONDecoder().raw_decode(
        lines[lines.index("Configuration:\n") + len("Configuration:\n") :]
    )
    assert dump["http_api"]["access_tokens"] == {"admin": "***"}
    assert dump["core"]["announce_policy"]["interval"] == 120
    assert "MyAccessToken" not in lines


def test_a_tracker_without_services_says_so_and_runs(start: Start, configure: Configure) -> None:
    daemon = start(configure(services='[health_check_api]\nbind_address = "127.0.0.1:0"'))
    daemon.wait_for_line("WARN .*No services enabled in configuration")
    assert daemon.get("health", "/health_check") == (200, b'{"status":"None","message":"","details":[]}')


def test_an_api_without_a_token_says_how_to_set_one(start: Start, configure: Configure) -> None:
    services = '[http_api]\nbind_address = "127.0.0.1:0"\n[health_check_api]\nbind_address = "127.0.0.1:0"'
    daemon = start(configure(services=services))
    daemon.wait_for_line("WARN API: .*TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN")


def test_a_private_tracker_starts_no_udp(start: Start, configure: Configure) -> None:
    daemon = start(configure(private=True))
    daemon.wait_for_line("WARN .*Could not start UDP tracker on: 127.0.0.1:0 while in private mode")
    assert not any("Started on: udp" in line for line in daemon.lines)


def test_an_override_of_the_environment_counts(start: Start) -> None:
    daemon = start(TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN="12345")
    assert daemon.get("api", "/api/v1/stats?token=12345")[0] == 200
    assert daemon.get("api", "/api/v1/stats?token=MyAccessToken")[0] == 500


def test_the_portable_form_can_be_asked_for(start: Start) -> None:
    daemon = start(TORRUST_TRACKER_DATA_PLANE="portable")
    daemon.wait_for_line(r"Data plane: portable \(as TORRUST_TRACKER_DATA_PLANE asks\)")


def failure(daemon: Any) -> str:
    """The one line on standard error of a start that failed."""
    assert daemon.wait(30) == 1
    lines = daemon.errors().splitlines()
    assert len(lines) == 1, lines
    assert "panicked" not in lines[0]
    return str(lines[0])


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        ("udp_trackers", socket.SOCK_DGRAM),
        ("http_trackers", socket.SOCK_STREAM),
        ("http_api", socket.SOCK_STREAM),
        ("health_check_api", socket.SOCK_STREAM),
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
    assert "another process has this port" in line


def test_a_start_that_fails_late_leaves_nothing_running(launch: Start, configure: Configure) -> None:
    with socket.socket() as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        services = f"""
            [[udp_trackers]]
            bind_address = "127.0.0.1:0"
            [health_check_api]
            bind_address = "127.0.0.1:{taken.getsockname()[1]}"
        """
        daemon = launch(configure(services=services))
        failure(daemon)
        free.bind(daemon.address("udp"))  # its port is free again


def test_a_missing_certificate_is_named(launch: Start, configure: Configure) -> None:
    services = """
        [[http_trackers]]
        bind_address = "127.0.0.1:0"
        [http_trackers.tsl_config]
        ssl_cert_path = "./missing.crt"
        ssl_key_path = "./missing.key"
    """
    line = failure(launch(configure(services=services)))
    assert "./missing.crt" in line
    assert "No such file" in line


def test_a_missing_database_directory_is_named_and_not_made(
    launch: Start, configure: Configure, tmp_path: Path
) -> None:
    line = failure(launch(configure().replace('"sqlite3.db"', '"./missing/sqlite3.db"')))
    assert "database" in line
    assert "./missing/sqlite3.db" in line
    assert not (tmp_path / "missing").exists()


def test_a_file_that_is_no_database_is_named(launch: Start, tmp_path: Path) -> None:
    (tmp_path / "sqlite3.db").write_bytes(b"this is no database, whatever its name says" * 100)
    line = failure(launch())
    assert "database" in line
    assert "sqlite3.db" in line


@pytest.mark.parametrize("driver", ["mysql", "postgresql"])
def test_a_driver_that_is_not_there_ends_the_start_without_the_password(
    launch: Start, configure: Configure, driver: str
) -> None:
    database = f'driver = "{driver}"\npath = "{driver}://user:hunter2@localhost:1/db"'
    daemon = launch(configure().replace('path = "sqlite3.db"', database))
    line = failure(daemon)
    assert driver in line
    assert "hunter2" not in line + "\n".join(daemon.lines)


def test_the_native_form_is_an_error_where_it_does_not_exist(launch: Start) -> None:
    assert "TORRUST_TRACKER_DATA_PLANE" in failure(launch(TORRUST_TRACKER_DATA_PLANE="native"))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"info"', '"loud"', ["logging.threshold", "loud"]),
        ("listed = false", "", ["core.listed"]),
        ('"2.0.0"', '"1.0.0"', ["metadata.schema_version", "1.0.0", "2.0.0"]),
        ('"127.0.0.1:0"', '"localhost:0"', ["bind_address", "localhost:0"]),
    ],
)
def test_a_wrong_value_is_named(
    launch: Start, configure: Configure, old: str, new: str, named: list[str]
) -> None:
    line = failure(launch(configure().replace(old, new, 1)))
    assert [word for word in named if word not in line] == []


def test_a_file_at_a_path_that_is_set_and_missing_is_named(tmp_path: Path) -> None:
    environment = {"TORRUST_TRACKER_CONFIG_TOML_PATH": "./nowhere.toml"}
    result = subprocess.run(
        [sys.executable, "-m", "torrust_py"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "nowhere.toml" in result.stderr


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


def test_a_table_that_cannot_be_read_is_named(launch: Start, configure: Configure, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "sqlite3.db") as database:
        database.execute("CREATE TABLE keys (name TEXT)")
    database.close()
    line = failure(launch(configure(private=True)))
    assert "cannot load the keys from the database" in line


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
