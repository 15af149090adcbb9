"""The counters of the REST API."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.clause("7.3.2", "7.5.2", "7.6.1", "7.6.2", "12.3.8")
def test_one_seeder_is_one_torrent_and_one_seeder(start: Callable[..., Any], info_hash: bytes) -> None:
    daemon = start()
    daemon.announce(info_hash, left=0)
    answer = daemon.call("GET", "/stats")
    assert answer.row == (
        200,
        "application/json",
        '{"torrents":1,"seeders":1,"completed":0,"leechers":0,'
        '"tcp4_connections_handled":1,"tcp4_announces_handled":1,"tcp4_scrapes_handled":0,'
        '"tcp6_connections_handled":0,"tcp6_announces_handled":0,"tcp6_scrapes_handled":0,'
        '"udp4_connections_handled":0,"udp4_announces_handled":0,"udp4_scrapes_handled":0,'
        '"udp6_connections_handled":0,"udp6_announces_handled":0,"udp6_scrapes_handled":0}',
    )


def test_calls_of_the_api_count_nowhere(public: Any) -> None:
    before = public.stats()
    public.call("GET", "/torrents")
    public.call("GET", "/unknown")
    public.request("api", "/api/health_check")
    assert json.loads(public.call("GET", "/stats").text) == before
