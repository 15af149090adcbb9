"""After a known number of requests of each kind, the counters are exactly that number."""

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId
from torrust_py.udp.packets import (
    AnnounceRequest,
    AnnounceResponse,
    ConnectResponse,
    ErrorResponse,
    ScrapeRequest,
    ScrapeResponse,
    encode_announce_request,
    encode_connect_request,
    encode_scrape_request,
    parse_response,
)

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

HASH = InfoHash(b"\x01" * 20)
TRANSACTION = b"\x00\x00\x22\x22"


def ask(client: socket.socket, datagram: bytes) -> Any:
    client.send(datagram)
    return parse_response(client.recv(2048))


def connection_id(client: socket.socket) -> bytes:
    response = ask(client, encode_connect_request(TRANSACTION))
    assert isinstance(response, ConnectResponse)
    return response.connection_id


def announce(connection: bytes, port: int, *, info_hash: InfoHash = HASH, left: int = 0) -> bytes:
    return encode_announce_request(
        AnnounceRequest(
            connection,
            TRANSACTION,
            info_hash,
            PeerId(b"-qB00000000000000001"),
            0,
            left,
            0,
            AnnounceEvent.STARTED,
            None,
            port,
        )
    )


def scrape(connection: bytes) -> bytes:
    return encode_scrape_request(ScrapeRequest(connection, TRANSACTION, [HASH]))


def http_announce(port: int, *, info_hash: InfoHash = HASH) -> str:
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id=-qB00000000000000001&port={port}&compact=1"
    return f"/announce?{query}"


@pytest.mark.clause("2.2.15")
@pytest.mark.clause("6.2", "6.3", "6.4", "6.5", "6.6", "6.12")
def test_each_kind_of_request_is_counted_by_family_and_protocol(start: Start) -> None:
    daemon = start()
    for ipv6, (connects, announces, scrapes) in ((False, (3, 5, 2)), (True, (2, 4, 1))):
        with daemon.udp(ipv6=ipv6) as client:
            for _ in range(connects):
                connection = connection_id(client)
            for port in range(1, announces + 1):
                assert isinstance(ask(client, announce(connection, port)), AnnounceResponse)
            for _ in range(scrapes):
                assert isinstance(ask(client, scrape(connection)), ScrapeResponse)
        for port in range(1, 2 * announces + 1):
            assert daemon.get("http", http_announce(port), ipv6=ipv6)[0] == 200
        for _ in range(scrapes + 3):
            assert daemon.get("http", f"/scrape?info_hash={quote_from_bytes(HASH)}", ipv6=ipv6)[0] == 200
    assert daemon.stats() == {
        "torrents": 1, "seeders": 10 + 8, "completed": 0, "leechers": 0,
        "tcp4_connections_handled": 15, "tcp4_announces_handled": 10, "tcp4_scrapes_handled": 5,
        "tcp6_connections_handled": 12, "tcp6_announces_handled": 8, "tcp6_scrapes_handled": 4,
        "udp4_connections_handled": 3, "udp4_announces_handled": 5, "udp4_scrapes_handled": 2,
        "udp6_connections_handled": 2, "udp6_announces_handled": 4, "udp6_scrapes_handled": 1,
    }  # fmt: skip


@pytest.mark.clause("6.1", "6.7", "6.8")
def test_what_fails_is_not_counted_as_handled(start: Start) -> None:
    daemon = start()
    with daemon.udp() as client:
        for datagram in (announce(bytes(8), 1), scrape(bytes(8)), b"hello", b"", bytes(1496)):
            assert isinstance(ask(client, datagram), ErrorResponse)
    for target in ("/announce", "/announce?x", "/scrape", "/unknown", "/announce/", "/health_check"):
        daemon.get("http", target)
    daemon.get("http", http_announce(1), method="POST")
    assert {name: count for name, count in daemon.stats().items() if count} == {}


@pytest.mark.clause("2.2.15")
@pytest.mark.clause("6.13")
def test_statistics_that_are_off_stay_zero(start: Start, configure: Configure) -> None:
    daemon = start(configure(core="tracker_usage_statistics = false"))
    assert daemon.get("http", http_announce(1))[0] == 200
    assert daemon.get("http", f"/scrape?info_hash={quote_from_bytes(HASH)}")[0] == 200
    with daemon.conversation() as client:
        assert isinstance(client.announce(HASH, 2, left=1), AnnounceResponse)
        client.announce(HASH, 1, event=AnnounceEvent.COMPLETED)
        assert isinstance(client.scrape(HASH), ScrapeResponse)
    stats = daemon.stats()
    totals = {name: stats.pop(name) for name in ("torrents", "seeders", "leechers", "completed")}
    assert totals == {"torrents": 1, "seeders": 1, "leechers": 1, "completed": 1}
    assert list(stats.values()) == [0] * 12


@pytest.mark.clause("4.6.6", "6.10")
def test_an_ipv4_client_of_a_dual_stack_listener_is_ipv4(start: Start, configure: Configure) -> None:
    services = """
        [[udp_trackers]]
        bind_address = "[::]:0"
        [[http_trackers]]
        bind_address = "[::]:0"
        [http_api]
        bind_address = "[::]:0"
        access_tokens = { admin = "MyAccessToken" }
        [health_check_api]
        bind_address = "[::]:0"
    """
    daemon = start(configure(services=services))
    port = daemon.address("udp", ipv6=True)[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.0.0.2", port))  # answered from where it was asked, or not received at all
        connection = connection_id(client)
        ask(client, announce(connection, 1))
        response = ask(client, announce(connection, 2))
    assert response.peers == bytes([127, 0, 0, 1, 0, 1])
    status, body = daemon.get("api", "/api/v1/stats?token=MyAccessToken", ipv6=True)
    assert status == 200
    assert b'"udp4_connections_handled":1,"udp4_announces_handled":2' in body


def moved(daemon: Any, before: dict[str, int]) -> dict[str, int]:
    """The request counters that moved, and by how much."""
    return {
        name: count - before[name]
        for name, count in daemon.stats().items()
        if name.endswith("_handled") and count != before[name]
    }


@pytest.mark.clause("6.7")
def test_what_a_rule_refuses_is_not_counted_as_handled(
    private: Any, listed: Any, proxied: Any, info_hash: bytes
) -> None:
    target, scrape_target = http_announce(1, info_hash=InfoHash(info_hash)), "/scrape?info_hash=x"
    before = [daemon.stats() for daemon in (private, listed, proxied)]
    for path in (target, target.replace("/announce", "/announce/" + "k" * 32), scrape_target):
        assert b"failure reason" in private.get("http", path)[1]
    with listed.conversation() as client:
        assert isinstance(client.announce(info_hash, 1), ErrorResponse)
        assert isinstance(client.scrape(info_hash, connection_id=bytes(8)), ErrorResponse)
    assert b"failure reason" in listed.get("http", target)[1]
    assert b"failure reason" in proxied.get("http", target)[1]
    after = [moved(daemon, was) for daemon, was in zip((private, listed, proxied), before, strict=True)]
    assert after == [{}, {"udp4_connections_handled": 1}, {}]


@pytest.mark.clause("6.9")
@pytest.mark.parametrize("key", ["", "/" + "k" * 32])
def test_a_private_scrape_without_a_valid_key_is_counted(private: Any, info_hash: bytes, key: str) -> None:
    before = private.stats()
    _, body = private.get("http", f"/scrape{key}?info_hash={quote_from_bytes(info_hash)}")
    assert body.startswith(b"d5:files")
    assert moved(private, before) == {"tcp4_connections_handled": 1, "tcp4_scrapes_handled": 1}


@pytest.mark.clause("6.8")
def test_calls_of_the_api_health_checks_and_unknown_paths_are_not_counted(public: Any) -> None:
    before = public.stats()
    for service, path in (
        ("api", "/api/health_check"),
        ("api", "/api/v1/stats?token=wrong"),
        ("http", "/health_check"),
        ("http", "/unknown"),
    ):
        public.get(service, path)
    assert moved(public, before) == {}


@pytest.mark.clause("6.16")
def test_a_health_check_connects_to_each_udp_tracker_as_anybody(public: Any) -> None:
    before = public.stats()
    public.get("health", "/health_check")
    assert moved(public, before) == {"udp4_connections_handled": 1, "udp6_connections_handled": 1}


@pytest.mark.clause("6.11")
@pytest.mark.parametrize(
    ("forwarded_for", "family"),
    [("203.0.113.7", "tcp4"), ("2001:db8::7", "tcp6"), ("::ffff:203.0.113.7", "tcp4")],
)
@pytest.mark.parametrize("ipv6", [False, True])
def test_behind_a_proxy_the_forwarded_client_decides_the_family(
    proxied: Any, info_hash: bytes, forwarded_for: str, family: str, ipv6: bool
) -> None:
    before, headers = proxied.stats(), {"X-Forwarded-For": forwarded_for}
    target = http_announce(1, info_hash=InfoHash(info_hash))
    proxied.get("http", target, ipv6=ipv6, headers=headers)
    proxied.get("http", target.replace("/announce", "/scrape"), ipv6=ipv6, headers=headers)
    assert moved(proxied, before) == {
        f"{family}_connections_handled": 2,
        f"{family}_announces_handled": 1,
        f"{family}_scrapes_handled": 1,
    }


@pytest.mark.clause("6.10")
@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("external", ["203.0.113.5", "2001:db8::5"])
def test_the_external_address_does_not_decide_the_family(
    start: Start, configure: Configure, ipv6: bool, external: str
) -> None:
    daemon = start(configure(core=f'[core.net]\nexternal_ip = "{external}"'))
    before = daemon.stats()
    daemon.get("http", http_announce(1), ipv6=ipv6)
    with daemon.conversation(ipv6=ipv6) as client:
        client.announce(HASH, 2)
    family = 6 if ipv6 else 4
    assert moved(daemon, before) == {
        f"tcp{family}_connections_handled": 1,
        f"tcp{family}_announces_handled": 1,
        f"udp{family}_connections_handled": 1,
        f"udp{family}_announces_handled": 1,
    }


@pytest.mark.clause("6.14")
def test_totals_are_sums_over_the_torrents_in_memory(start: Start) -> None:
    daemon = start()
    with daemon.conversation() as client:
        for number in (1, 2):
            info_hash = bytes([number]) * 20
            for port in range(1, 4):
                client.announce(info_hash, port, left=int(port > number))
            client.announce(info_hash, 1, event=AnnounceEvent.COMPLETED)
    stats = daemon.stats()
    totals = {name: stats[name] for name in ("torrents", "seeders", "completed", "leechers")}
    assert totals == {"torrents": 2, "seeders": 3, "completed": 2, "leechers": 3}


@pytest.mark.clause("6.1")
def test_counters_begin_anew_after_a_restart(start: Start) -> None:
    daemon = start()
    daemon.get("http", http_announce(1))
    assert daemon.stats()["tcp4_announces_handled"] == 1
    assert daemon.stop() == 0
    assert set(start().stats().values()) == {0}


def test_a_peer_of_one_protocol_is_found_over_the_other(start: Start) -> None:
    daemon = start()
    with daemon.udp() as client:
        ask(client, announce(connection_id(client), 6881))
    _, body = daemon.get("http", http_announce(6882))
    assert b"5:peers6:\x7f\x00\x00\x01\x1a\xe1" in body
    with daemon.udp() as client:
        response = ask(client, announce(connection_id(client), 6883, left=1))
    assert {response.peers[at : at + 6] for at in (0, 6)} == {
        b"\x7f\x00\x00\x01\x1a\xe1",
        b"\x7f\x00\x00\x01\x1a\xe2",
    }


def test_a_flood_of_new_torrents_stays_within_the_limit(start: Start, configure: Configure) -> None:
    daemon = start(
        configure(services=SERVICES_OF_A_FLOOD, core="[core.limits]\nmax_torrents = 200\nmax_peers = 500")
    )
    with daemon.udp() as client:
        connection = connection_id(client)
        for round_ in range(3000):
            if round_ % 100 == 0:
                for port in range(1, 11):
                    ask(client, announce(connection, port))
            ask(client, announce(connection, 1, info_hash=InfoHash(round_.to_bytes(20))))
        status, body = daemon.api(f"torrents?info_hash={HASH.hex()}")
        assert (status, body) == (
            200,
            b'[{"info_hash":"%b","seeders":10,"completed":0,"leechers":0}]' % HASH.hex().encode(),
        )
        assert daemon.stats()["torrents"] == 200


SERVICES_OF_A_FLOOD = """
[[udp_trackers]]
bind_address = "127.0.0.1:0"
[http_api]
bind_address = "127.0.0.1:0"
access_tokens = { admin = "MyAccessToken" }
[health_check_api]
bind_address = "127.0.0.1:0"
"""
