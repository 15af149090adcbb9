"""What the documentation of Torrust's API says of the tracker, and where Torrust does not do it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Start = Callable[..., Any]  # a Daemon; test modules cannot import conftest.py
Configure = Callable[..., str]


@pytest.mark.clause("A.1.1")
def test_all_of_the_api_but_its_health_check_needs_a_token(public: Any) -> None:
    assert public.request("api", "/api/health_check").row == (200, "application/json", '{"status":"Ok"}')
    unauthorized = (500, "text/plain; charset=utf-8", 'Unhandled rejection: Err { reason: "unauthorized" }')
    for path in ("stats", "torrents", f"torrent/{'0' * 40}", "keys/reload", "whitelist/reload", "nothing"):
        assert public.request("api", f"/api/v1/{path}").row == unauthorized


@pytest.mark.clause("A.1.2")
def test_a_configuration_that_does_not_say_so_has_no_api(start: Start, configure: Configure) -> None:
    services = (
        '[[udp_trackers]]\nbind_address = "127.0.0.1:0"\n[health_check_api]\nbind_address = "127.0.0.1:0"'
    )
    daemon = start(configure(services=services))
    assert daemon.wait_for_line("No API block in configuration")
    assert not [line for line in daemon.lines if " API: " in line and "HEALTH CHECK API: " not in line]


@pytest.mark.clause("A.1.3")
def test_the_start_of_the_api_is_logged_as_it_is_documented(public: Any) -> None:
    line = public.wait_for_line(r"API: Starting Torrust APIs server on: http://127\.0\.0\.1:0$")
    following = public.lines[public.lines.index(line) + 1]
    assert following.endswith("API: Starting on http://127.0.0.1:0")


@pytest.mark.clause("A.1.4")
def test_tracker_toml_is_loaded_from_the_working_directory(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "tracker.toml").write_text(configure())
    daemon = start("", TORRUST_TRACKER_CONFIG_TOML=None)
    assert daemon.lines[0] == "Loading configuration from config file ./tracker.toml"


@pytest.mark.clause("A.1.7")
@pytest.mark.clause("A.1.5")
def test_the_statistics_are_those_of_the_documentation(public: Any) -> None:
    assert list(json.loads(public.call("GET", "/stats").body)) == [
        "torrents", "seeders", "completed", "leechers",
        "tcp4_connections_handled", "tcp4_announces_handled", "tcp4_scrapes_handled",
        "tcp6_connections_handled", "tcp6_announces_handled", "tcp6_scrapes_handled",
        "udp4_connections_handled", "udp4_announces_handled", "udp4_scrapes_handled",
        "udp6_connections_handled", "udp6_announces_handled", "udp6_scrapes_handled",
    ]  # fmt: skip


@pytest.mark.clause("A.1.6")
def test_tls_is_configured_as_it_is_documented(
    start: Start, configure: Configure, certificate: tuple[Path, Path]
) -> None:
    api = f"""
        [http_api]
        bind_address = "127.0.0.1:0"
        [http_api.tsl_config]
        ssl_cert_path = "{certificate[0]}"
        ssl_key_path = "{certificate[1]}"
        [http_api.access_tokens]
        admin = "MyAccessToken"
        [health_check_api]
        bind_address = "127.0.0.1:0"
    """
    start(configure(services=api)).wait_for_line(r" API: Started on https://127\.0\.0\.1:\d+$")


@pytest.mark.clause("10.1.4")
def test_a_driver_that_does_not_fit_the_path_stops_the_start(launch: Start, configure: Configure) -> None:
    daemon = launch(configure(), TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__DATABASE__DRIVER="mysql")
    assert daemon.wait() == 1
    [line] = daemon.errors().splitlines()
    assert "core.database.path" in line
    assert "mysql" in line


@pytest.mark.clause("10.1.5")
def test_the_ports_of_the_image_do_not_configure_the_tracker(start: Start, configure: Configure) -> None:
    names = ("UDP_PORT", "HTTP_PORT", "API_PORT", "HEALTH_CHECK_API_PORT")
    daemon = start(configure(), **{name: str(61 + number) for number, name in enumerate(names)})
    ports = [daemon.address(service)[1] for service in ("udp", "http", "api", "health")]
    assert not set(ports) & {61, 62, 63, 64}
