import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from torrust_py.console import udp_client
from torrust_py.console.checker import main, parse_checks
from torrust_py.http.responses import encode_failure
from torrust_py.udp.packets import (
    CONNECT,
    action_of,
    encode_connect_response,
    encode_error_response,
    parse_connect,
    transaction_id_of,
)

ENCODED = "%9C8B%22%13%E3%0B%FF%21%2B0%C3%60%D2o%9A%02%13d%22"
OK = {"Ok": None}

StartUdpTracker = Callable[..., int]
StartHttpTracker = Callable[..., str]


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environment)


def document(*, udp: tuple[str, ...] = (), http: tuple[str, ...] = (), health: tuple[str, ...] = ()) -> str:
    return json.dumps({"udp_trackers": udp, "http_trackers": http, "health_checks": health})


def results(result: Result) -> list[dict[str, dict[str, dict[str, object]]]]:
    """What follows the line of the log."""
    assert result.exit_code == 0, result.stderr
    _, _, array = result.stdout.partition("\n")
    parsed: list[dict[str, dict[str, dict[str, object]]]] = json.loads(array)
    return parsed


def refusing(datagram: bytes) -> bytes:
    """A UDP tracker that connects everybody, and refuses the rest."""
    if action_of(datagram) == CONNECT:
        return encode_connect_response(transaction_id_of(datagram), b"12345678")
    return encode_error_response(transaction_id_of(datagram), "no")


def answering(target: str) -> bytes:
    """An HTTP tracker."""
    return b"d8:intervali9ee" if target.startswith("/announce?") else b"d5:filesdee"


@pytest.mark.clause("9.0.5")
def test_a_line_of_the_log_comes_before_the_results() -> None:
    result = run(document())
    assert re.fullmatch(
        r"\S+Z  INFO torrust_tracker::console::clients::checker::service: Running checks for trackers \.\.\."
        r"\n\[\]\n",
        result.stdout,
    )


@pytest.mark.clause("9.4.6", "9.4.10", "9.4.13")
def test_any_answer_of_a_udp_tracker_passes(udp_tracker: StartUdpTracker) -> None:
    address = f"127.0.0.1:{udp_tracker(refusing)}"
    steps = [["Setup", OK], ["Connect", OK], ["Announce", OK], ["Scrape", OK]]
    assert results(run(document(udp=(address,)))) == [
        {"Udp": {"Ok": {"remote_addr": address, "results": steps}}}
    ]


@pytest.mark.clause("9.4.6")
def test_a_udp_tracker_is_connected_to_as_torrust_does(udp_tracker: StartUdpTracker) -> None:
    asked: list[bytes] = []
    port = udp_tracker(lambda datagram: asked.append(datagram) or refusing(datagram))
    run(document(udp=(f"udp://127.0.0.1:{port}/announce",)))
    assert parse_connect(asked[0]).transaction_id == b"\0\0\0\1"


@pytest.mark.clause("9.4.11", "9.4.15")
def test_without_a_connection_the_next_udp_tracker_is_checked(
    udp_tracker: StartUdpTracker, closed_port: int
) -> None:
    port = udp_tracker(refusing)
    first, second = results(run(document(udp=(f"127.0.0.1:{closed_port}", f"127.0.0.1:{port}"))))
    steps = first["Udp"]["Err"]["results"]
    assert isinstance(steps, list)
    assert steps[0] == ["Setup", OK]
    assert steps[1][0] == "Connect"
    assert steps[1][1]["Err"].startswith("Failed to receive a connect response, with error: ")
    assert len(steps) == 2
    assert second["Udp"]["Ok"]["remote_addr"] == f"127.0.0.1:{port}"


@pytest.mark.clause("9.4.14")
def test_a_silent_udp_tracker_fails_each_step(
    udp_tracker: StartUdpTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_client, "PATIENCE", 0.05)

    def stale(datagram: bytes) -> bytes:
        if action_of(datagram) == CONNECT:
            return refusing(datagram)
        return encode_error_response(b"\xff" * 4, "to somebody else")

    [result] = results(run(document(udp=(f"127.0.0.1:{udp_tracker(stale)}",))))
    error = "Failed to receive a {} response, with error: Timeout: no answer within 0.05 s"
    assert result["Udp"]["Err"]["results"] == [
        ["Setup", OK],
        ["Connect", OK],
        ["Announce", {"Err": error.format("announce")}],
        ["Scrape", {"Err": error.format("scrape")}],
    ]


@pytest.mark.clause("9.4.11")
def test_a_udp_tracker_that_cannot_be_asked_is_asked_nothing() -> None:
    [result] = results(run(document(udp=("255.255.255.255:6969",))))
    [[name, failed]] = result["Udp"]["Err"]["results"]
    assert name == "Setup"
    assert failed["Err"].startswith("Failed to Connect to: 255.255.255.255:6969, with error: ")


@pytest.mark.clause("9.4.4")
@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:6969",
        "127.0.0.1:6969/",
        "127.0.0.1:6969/announce",
        "127.0.0.1:6969/announce/",
        "udp://127.0.0.1:6969",
        "udp://127.0.0.1:6969/",
        "udp://127.0.0.1:6969/announce",
        "localhost:6969",
        "udp://localhost:6969/announce/",
    ],
)
def test_a_udp_tracker_may_be_written_with_and_without_scheme_and_path(url: str) -> None:
    [address] = parse_checks(document(udp=(url,))).udp_trackers
    assert (address.host in ("127.0.0.1", "::1"), address.port) == (True, 6969)


@pytest.mark.slow
@pytest.mark.clause("9.4.12")
def test_the_kind_that_ends_last_comes_last(
    udp_tracker: StartUdpTracker, http_tracker: StartHttpTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_client, "PATIENCE", 1.0)
    silent = udp_tracker(lambda _: encode_error_response(b"\xff" * 4, "to somebody else"))
    url = http_tracker(answering)
    checks = document(udp=(f"127.0.0.1:{silent}",), http=(url,), health=(url,))
    kinds = [kind for result in results(run(checks)) for kind in result]
    assert (sorted(kinds[:2]), kinds[2:]) == (["Health", "Http"], ["Udp"])


@pytest.mark.clause("9.4.7", "9.4.9")
def test_an_http_tracker_is_asked_without_its_path(http_tracker: StartHttpTracker) -> None:
    targets: list[str] = []
    url = http_tracker(lambda target: targets.append(target) or answering(target))
    [result] = results(run(document(http=(f"{url}/announce",))))
    expected = {"url": f"{url}/announce", "results": [["Announce", OK], ["Scrape", OK]]}
    assert result == {"Http": {"Ok": expected}}
    assert [target.partition("&")[0] for target in targets] == [
        f"/announce?info_hash={ENCODED}",
        f"/scrape?info_hash={ENCODED}",
    ]


def test_an_http_tracker_that_is_away_fails_both_steps(closed_port: int) -> None:
    [result] = results(run(document(http=(f"http://127.0.0.1:{closed_port}",))))
    assert result["Http"]["Err"]["url"] == f"http://127.0.0.1:{closed_port}/"
    steps = result["Http"]["Err"]["results"]
    assert isinstance(steps, list)
    for name, step in zip(["Announce", "Scrape"], steps, strict=True):
        assert step[0] == name
        assert step[1]["Err"].startswith("Http request did not receive a response within the timeout: ")


@pytest.mark.clause("9.4.7", "9.4.13")
@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (encode_failure("no"), 200, "Failed to deserialize the bencoded response data with the error: "),
        (b"", 404, "Http request did not receive a response within the timeout: Returned a non-success code"),
    ],
)
def test_a_failure_of_an_http_tracker_fails_the_step(
    http_tracker: StartHttpTracker, body: bytes, status: int, error: str
) -> None:
    [result] = results(run(document(http=(http_tracker(lambda _: body, status),))))
    steps = result["Http"]["Err"]["results"]
    assert isinstance(steps, list)
    assert steps[0][1]["Err"].startswith(error)


@pytest.mark.clause("9.4.8")
def test_a_healthy_service_passes(http_tracker: StartHttpTracker) -> None:
    url = f"{http_tracker(lambda _: b'{}')}/health_check"
    expected = [{"Health": {"Ok": {"url": url, "result": {"Ok": "200 OK"}}}}]
    assert results(run(document(health=(url,)))) == expected


def test_a_service_that_is_away_fails(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}/health_check"
    [result] = results(run(document(health=(url,))))
    error = f"Heath check failed to get a response: {url}: Connection refused"
    assert result == {"Health": {"Err": {"url": url, "result": {"Err": error}}}}


@pytest.mark.clause("9.4.8")
def test_a_service_in_trouble_fails(http_tracker: StartHttpTracker) -> None:
    [result] = results(run(document(health=(http_tracker(lambda _: b"", 503),))))
    error = 'Http check returned a non-success code: "503 Service Unavailable"'
    assert result["Health"]["Err"]["result"] == {"Err": error}


@pytest.mark.clause("11.2.8")
def test_strict_exits_with_1_if_a_check_failed(closed_port: int) -> None:
    result = run("--strict", document(health=(f"http://127.0.0.1:{closed_port}/",)))
    assert (result.exit_code, '"Err"' in result.stdout) == (1, True)


def test_strict_exits_with_0_if_all_passed(http_tracker: StartHttpTracker) -> None:
    assert run("--strict", document(health=(http_tracker(lambda _: b""),))).exit_code == 0


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    """A file of nothing to check."""
    path = tmp_path / "checker.json"
    path.write_text(document())
    return str(path)


@pytest.mark.clause("9.4.1")
def test_a_file_beats_the_content(config_file: str) -> None:
    assert results(run("-c", config_file, "nonsense")) == []


@pytest.mark.clause("9.4.1")
def test_the_file_may_be_named_by_the_environment(config_file: str) -> None:
    assert results(run(TORRUST_CHECKER_CONFIG_PATH=config_file, TORRUST_CHECKER_CONFIG="nonsense")) == []


@pytest.mark.clause("9.4.1")
def test_the_content_may_come_from_the_environment() -> None:
    assert results(run(TORRUST_CHECKER_CONFIG=document())) == []


@pytest.mark.clause("9.4.2", "9.4.3", "9.4.5", "9.4.16")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "no configuration provided"),
        (("-c", "/nonexistent/checker.json"), "can't read config file /nonexistent/checker.json"),
        (("nonsense",), "JSON parse error: "),
        (("[" * 100_000,), "JSON parse error: "),
        (("[]",), "JSON parse error: "),
        ((document(health=("http://127.0.0.1/\ud800",)),), "JSON parse error: 'utf-8' codec can't encode"),
        (('{"udp_trackers": [], "http_trackers": []}',), "JSON parse error: missing field `health_checks`"),
        (('{"udp_trackers": [1]}',), "JSON parse error: `udp_trackers` is no list of strings"),
        ((document(udp=("127.0.0.1",)),), "Invalid URL: port not found in URL: `udp://127.0.0.1`"),
        ((document(udp=("tracker.invalid:6969",)),), "Invalid URL: DNS resolution failed for `udp://tracker"),
        ((document(http=("127.0.0.1:7070",)),), "Invalid URL: "),
        ((document(health=("ftp://127.0.0.1",)),), "Invalid URL: "),
    ],
)
def test_a_wrong_configuration_exits_as_a_panic(arguments: tuple[str, ...], error: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (101, "")
    assert result.stderr.startswith(f"Error: {error}")


@pytest.mark.clause("9.0.1")
def test_an_unknown_option_prints_the_usage() -> None:
    result = run("--loud")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage:" in result.stderr


def test_help_shows_a_configuration() -> None:
    assert '{"udp_trackers": ["127.0.0.1:6969"]' in run("--help").stdout
