from typing import Any

import pytest

from torrust_py.config import Config
from torrust_py.listeners import UDP_RECEIVE_BUFFER
from torrust_py.selfcheck import Finding, Host, start_findings
from torrust_py.selfcheck.findings import KNOWN_TOKEN
from torrust_py.selfcheck.start import ipv6_listeners

HEALTHY = Host(None, None, has_ipv6=True, is_clock_synchronised=True)


def config(*, private: bool = False, listed: bool = False, interval: int = 300, **tables: Any) -> Config:
    return Config.model_validate(
        {
            "metadata": {"schema_version": "2.0.0"},
            "logging": {"threshold": "info"},
            "core": {"private": private, "listed": listed, "announce_policy": {"interval": interval}},
            **tables,
        }
    )


def found(of: Config, host: Host = HEALTHY, *, files: int = 65_536) -> dict[str, Finding]:
    checked = start_findings(of, host, receive_buffers=[("0.0.0.0:6969", UDP_RECEIVE_BUFFER)], files=files)
    return {finding.check: finding for finding in checked if finding.is_wrong}


def test_a_host_on_which_all_is_well_has_no_findings() -> None:
    assert found(config(udp_trackers=[{}], http_trackers=[{}], http_api={})) == {}


def test_open_files_matter_to_http_trackers_alone() -> None:
    assert "file-limit" in found(config(http_trackers=[{}]), files=1024)
    assert found(config(udp_trackers=[{}]), files=1024) == {}


@pytest.mark.parametrize(("private", "listed"), [(True, False), (False, True)])
def test_the_interval_matters_to_public_trackers_alone(private: bool, listed: bool) -> None:
    assert "interval" in found(config(interval=120))
    assert found(config(interval=120, private=private, listed=listed)) == {}


@pytest.mark.parametrize(
    ("address", "is_told"),
    [
        ("0.0.0.0:1212", True),
        ("[::]:1212", True),
        ("192.0.2.1:1212", True),
        ("127.0.0.1:1212", False),
        ("127.0.0.9:1212", False),
        ("[::1]:1212", False),
        ("[::ffff:127.0.0.1]:1212", False),
    ],
)
def test_a_known_token_matters_where_others_reach_the_api(address: str, is_told: bool) -> None:
    api = {"bind_address": address, "access_tokens": {"mine": "a secret", "admin": KNOWN_TOKEN}}
    assert ("known-token" in found(config(http_api=api))) == is_told


def test_a_token_of_ones_own_is_fine() -> None:
    api = {"bind_address": "0.0.0.0:1212", "access_tokens": {"admin": "a secret"}}
    assert found(config(http_api=api)) == {}


def test_the_host_is_looked_at() -> None:
    host = Host(90, 100, has_ipv6=False, is_clock_synchronised=False)
    wrong = found(config(udp_trackers=[{"bind_address": "[::]:6969"}]), host)
    assert set(wrong) == {"connection-tracking", "ipv6-off", "clock"}
    assert "[::]:6969" in wrong["ipv6-off"].detail


def test_services_at_ipv6_addresses_are_found_once_each() -> None:
    tables: dict[str, Any] = {
        "udp_trackers": [{"bind_address": "[::]:6969"}, {"bind_address": "0.0.0.0:6970"}],
        "http_trackers": [{"bind_address": "[::]:6969"}, {"bind_address": "[::ffff:192.0.2.1]:7070"}],
        "http_api": {"bind_address": "[2001:db8::1]:1212"},
    }
    assert ipv6_listeners(config(**tables)) == ["[::]:6969", "[2001:db8::1]:1212"]
    assert ipv6_listeners(config(private=True, udp_trackers=tables["udp_trackers"])) == []
