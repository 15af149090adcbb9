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


def test_what_fails_is_not_counted_as_handled(start: Start) -> None:
    daemon = start()
    with daemon.udp() as client:
        for datagram in (announce(bytes(8), 1), scrape(bytes(8)), b"hello", b"", bytes(1496)):
            assert isinstance(ask(client, datagram), ErrorResponse)
    for target in ("/announce", "/announce?x", "/scrape", "/unknown", "/announce/", "/health_check"):
        daemon.get("http", target)
    daemon.get("http", http_announce(1), method="POST")
    assert {name: count for name, count in daemon.stats().items() if count} == {}


def test_statistics_that_are_off_stay_zero(start: Start, configure: Configure) -> None:
    daemon = start(configure(core="tracker_usage_statistics = false"))
    assert daemon.get("http", http_announce(1))[0] == 200
    stats = daemon.stats()
    assert stats.pop("torrents") == 1
    assert stats.pop("seeders") == 1
    assert set(stats.values()) == {0}


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
