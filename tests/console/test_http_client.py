import json
import socket
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from torrust_py.console import http_client
from torrust_py.console.http_client import main
from torrust_py.core.types import InfoHash, PeerId, SwarmCounts, SwarmView
from torrust_py.http.responses import (
    encode_announce,
    encode_compact_announce,
    encode_failure,
    encode_scrape,
)

INFO_HASH = "05" * 20
VIEW = SwarmView(4, 1, bytes.fromhex("cb007105448e"), b"")

StartTracker = Callable[..., str]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.clause("9.2.3")
def test_an_announce_is_printed_as_torrust_prints_it(http_tracker: StartTracker) -> None:
    body = encode_announce(VIEW, [PeerId(b"-qB00000000000000009")], [], interval=120, interval_min=120)
    result = run("announce", http_tracker(lambda _: body), INFO_HASH)
    expected = (
        '{"complete":4,"incomplete":1,"interval":120,"min interval":120,"peers":[{"ip":"203.0.113.5",'
        '"peer id":[45,113,66,48,48,48,48,48,48,48,48,48,48,48,48,48,48,48,48,57],"port":17550}]}\n'
    )
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


@pytest.mark.clause("9.2.4")
def test_a_scrape_is_printed_as_torrust_prints_it(http_tracker: StartTracker) -> None:
    body = encode_scrape({InfoHash(b"\5" * 20): SwarmCounts(seeders=4, completed=1, leechers=1)})
    result = run("scrape", http_tracker(lambda _: body), INFO_HASH)
    expected = '{"' + INFO_HASH + '":{"complete":4,"downloaded":1,"incomplete":1}}\n'
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


def test_compact_peers_have_no_id(http_tracker: StartTracker) -> None:
    body = encode_compact_announce(VIEW, interval=120, interval_min=120)
    result = run("announce", http_tracker(lambda _: body), INFO_HASH)
    assert json.loads(result.stdout)["peers"] == [{"ip": "203.0.113.5", "peer id": None, "port": 17550}]


@pytest.mark.clause("9.2.2")
def test_the_announce_asks_what_torrust_asks(http_tracker: StartTracker) -> None:
    targets: list[str] = []
    run("announce", http_tracker(lambda target: targets.append(target) or b"d8:intervali9ee"), INFO_HASH)
    assert targets == [
        f"/announce?info_hash={'%05' * 20}&peer_addr=192.168.1.88&downloaded=0&uploaded=0"
        "&peer_id=%2DqB00000000000000001&port=17548&left=0&event=completed&compact=0"
    ]


@pytest.mark.clause("9.2.1")
@pytest.mark.parametrize(
    ("path", "asked"),
    [("", "/scrape"), ("/", "/scrape"), ("/tracker/", "/tracker/scrape"), ("/tracker", "/trackerscrape")],
)
def test_the_path_is_appended_to_the_url_as_it_is(http_tracker: StartTracker, path: str, asked: str) -> None:
    targets: list[str] = []
    url = http_tracker(lambda target: targets.append(target) or b"d5:filesdee")
    run("scrape", url + path, INFO_HASH)
    assert [target.partition("?")[0] for target in targets] == [asked]


@pytest.mark.clause("9.2.9")
def test_the_scrape_asks_for_all_info_hashes(http_tracker: StartTracker) -> None:
    targets: list[str] = []
    url = http_tracker(lambda target: targets.append(target) or b"d5:filesdee")
    run("scrape", f"{url}/", f"{'41' * 20} {'02' * 20}", "03" * 20)
    assert targets == [
        f"/scrape?info_hash={'A' * 20}&info_hash={'%02' * 20}&info_hash={'%03' * 20}",
    ]


@pytest.mark.clause("9.0.4", "9.2.7")
@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_a_failure_exits_as_torrust_does_when_it_panics(http_tracker: StartTracker, command: str) -> None:
    result = run(command, http_tracker(lambda _: encode_failure("not listed\x1b")), INFO_HASH)
    assert (result.exit_code, result.stdout) == (101, "")
    expected = (
        f'response body should be a valid {command} response, got: "d14:failure reason11:not listed\\x1be"'
    )
    assert expected in result.stderr


@pytest.mark.clause("9.2.7")
@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_a_body_of_something_else_exits_so_too(http_tracker: StartTracker, command: str) -> None:
    result = run(command, http_tracker(lambda _: b"<html>"), INFO_HASH)
    assert (result.exit_code, result.stdout) == (101, "")
    assert f'response body should be a valid {command} response, got: "<html>"' in result.stderr


@pytest.mark.clause("9.2.8")
@pytest.mark.parametrize("status", [403, 500])
def test_any_status_but_success_is_an_error(http_tracker: StartTracker, status: int) -> None:
    result = run("scrape", http_tracker(lambda _: b"d5:filesdee", status), INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f'Error: Returned a non-success code: "{status} ')


@pytest.mark.clause("9.2.8")
@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_a_tracker_that_is_away_is_an_error(closed_port: int, command: str) -> None:
    result = run(command, f"http://127.0.0.1:{closed_port}", INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Failed to get a response: ")
    assert result.stderr.endswith(": Connection refused\n")


def test_a_silent_tracker_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        result = run("announce", f"http://127.0.0.1:{listening.getsockname()[1]}", INFO_HASH)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Failed to get a response: ")


def test_a_tracker_without_tls_is_an_error_at_https(http_tracker: StartTracker) -> None:
    result = run("announce", "https" + http_tracker(lambda _: b"").removeprefix("http"), INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Failed to get a response: ")


@pytest.mark.clause("9.0.4", "9.2.5")
def test_a_wrong_info_hash_of_an_announce_exits_as_a_panic() -> None:
    result = run("announce", "http://127.0.0.1:1", "abc")
    assert (result.exit_code, result.stdout) == (101, "")
    assert "Invalid infohash. Example infohash: " in result.stderr


@pytest.mark.clause("9.2.6")
def test_a_wrong_info_hash_of_a_scrape_is_an_error() -> None:
    result = run("scrape", "http://127.0.0.1:1", INFO_HASH, "abc")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: failed to parse infohashes")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:7070", "udp://127.0.0.1:6969", "http://", "http://[::1", "http://127.0.0.1:x"]
)
def test_what_is_no_url_of_http_is_an_error(url: str) -> None:
    result = run("announce", url, INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: failed to parse HTTP tracker base URL: ")


@pytest.mark.clause("9.0.1")
@pytest.mark.parametrize("arguments", [(), ("connect",), ("announce",), ("scrape", "http://127.0.0.1")])
def test_any_other_arguments_print_the_usage(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage:" in result.stderr


@pytest.mark.clause("9.0.2")
@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_names_the_program(option: str) -> None:
    result = run(option)
    assert result.exit_code == 0
    assert result.stdout.startswith("http_tracker_client, version ")
