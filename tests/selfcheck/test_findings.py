import pytest

from torrust_py.listeners import UDP_RECEIVE_BUFFER
from torrust_py.selfcheck import findings
from torrust_py.selfcheck.findings import Callers, Finding

CROWD = Callers(announces=100, address="127.0.0.1", has_several_ports=True, unforwarded=0)


def test_the_line_of_a_finding_has_its_name_what_is_wrong_and_the_remedy() -> None:
    finding = Finding("file-limit", "warn", "few files", "raise it")
    assert str(finding) == "file-limit: few files. Remedy: raise it"


def test_a_small_receive_buffer_names_its_sockets() -> None:
    granted = [("0.0.0.0:6969", UDP_RECEIVE_BUFFER), ("[::]:6970", 208 * 1024)]
    finding = findings.receive_buffer(granted)
    assert finding.result == "warn"
    assert "208 KiB of the 8192 KiB that were asked for [::]:6970 (net.core.rmem_max)" in finding.detail
    assert "sysctl -w net.core.rmem_max=8388608" in finding.remedy


@pytest.mark.parametrize("granted", [[], [("0.0.0.0:6969", UDP_RECEIVE_BUFFER)]])
def test_a_receive_buffer_that_was_granted_is_fine(granted: list[tuple[str, int]]) -> None:
    assert findings.receive_buffer(granted).result == "ok"


@pytest.mark.parametrize(("files", "result"), [(1024, "warn"), (10_511, "warn"), (10_512, "ok")])
def test_a_low_file_limit_is_told(files: int, result: str) -> None:
    assert findings.file_limit(files).result == result


def test_a_low_file_limit_says_how_many_connections_are_left() -> None:
    assert "at most 512 connections" in findings.file_limit(1024).detail
    assert "at most 1 connections" in findings.file_limit(64).detail


@pytest.mark.parametrize(
    ("count", "most", "result"),
    [(None, None, "ok"), (79, 100, "ok"), (80, 100, "warn"), (100, 100, "warn"), (5, 0, "ok")],
)
def test_a_table_of_connections_that_is_nearly_full_is_told(
    count: int | None, most: int | None, result: str
) -> None:
    assert findings.connection_tracking(count, most).result == result


@pytest.mark.parametrize(
    ("listeners", "has_ipv6", "result"),
    [
        ([], False, "ok"),
        (["[::]:6969"], True, "ok"),
        (["[::]:6969"], None, "unknown"),
        (["[::]:6969"], False, "warn"),
    ],
)
def test_ipv6_that_is_off_is_told_where_it_is_configured(
    listeners: list[str], has_ipv6: bool | None, result: str
) -> None:
    assert findings.ipv6(listeners, has_ipv6=has_ipv6).result == result


@pytest.mark.parametrize(
    ("seconds", "is_public", "result"),
    [
        (299, True, "warn"),
        (300, True, "ok"),
        (10_800, True, "ok"),
        (10_801, True, "warn"),
        (120, False, "ok"),
    ],
)
def test_an_interval_that_lists_do_not_accept_is_told_of_a_public_tracker(
    seconds: int, is_public: bool, result: str
) -> None:
    assert findings.interval(seconds, is_public=is_public).result == result


def test_a_known_token_is_told_where_others_reach_it_and_never_shown() -> None:
    finding = findings.known_token("0.0.0.0:1212", ["admin"], is_local=False)
    assert finding.result == "warn"
    assert "http_api.access_tokens.admin" in finding.detail
    assert "MyAccessToken" not in str(finding)
    assert findings.known_token("127.0.0.1:1212", ["admin"], is_local=True).result == "ok"
    assert findings.known_token("0.0.0.0:1212", [], is_local=False).result == "ok"


@pytest.mark.parametrize(("state", "result"), [(True, "ok"), (False, "warn"), (None, "unknown")])
def test_a_clock_that_is_not_synchronised_is_told(state: bool | None, result: str) -> None:
    assert findings.clock(is_synchronised=state).result == result


@pytest.mark.parametrize(("count", "result"), [(-1, "ok"), (0, "ok"), (1, "warn")])
def test_requests_that_the_kernel_dropped_are_told(count: int, result: str) -> None:
    assert findings.kernel_drops(count).result == result


@pytest.mark.parametrize(
    ("callers", "result"),
    [
        (CROWD, "warn"),
        (CROWD._replace(announces=99), "ok"),
        (CROWD._replace(address=""), "ok"),
        (CROWD._replace(has_several_ports=False), "ok"),  # one client with many torrents
    ],
)
def test_many_clients_with_one_address_are_told(callers: Callers, result: str) -> None:
    assert findings.one_address(callers, on_reverse_proxy=False).result == result


def test_one_address_behind_a_known_proxy_has_another_remedy() -> None:
    without = findings.one_address(CROWD, on_reverse_proxy=False)
    behind = findings.one_address(CROWD, on_reverse_proxy=True)
    assert "core.net.on_reverse_proxy = true" in without.remedy
    assert "set_real_ip_from" in behind.remedy


@pytest.mark.parametrize(
    ("unforwarded", "announces", "result"), [(0, 0, "ok"), (1, 0, "warn"), (1, 1, "ok"), (3, 2, "warn")]
)
def test_clients_that_come_past_the_proxy_are_told_if_they_are_the_most(
    unforwarded: int, announces: int, result: str
) -> None:
    callers = Callers(announces, "", has_several_ports=True, unforwarded=unforwarded)
    assert findings.no_forwarded_address(callers).result == result
