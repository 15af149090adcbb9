"""UDP trackers at wildcard addresses, and clients of both families at one of them."""

import socket
from typing import Any

import pytest

from tests.ports import free_port
from torrust_py.udp.packets import AnnounceResponse

pytestmark = pytest.mark.slow

HASH = b"\5" * 20
CONNECT = bytes.fromhex("000004172710198000000000c0ffee11")


def services(*udp_addresses: str) -> str:
    trackers = "".join(f'[[udp_trackers]]\nbind_address = "{address}"\n' for address in udp_addresses)
    return f"""
{trackers}
[http_api]
bind_address = "127.0.0.1:0"
access_tokens = {{ admin = "MyAccessToken" }}
[health_check_api]
bind_address = "127.0.0.1:0"
"""


def answer_of(host: str, port: int) -> bytes:
    """The answer to a connect that is asked of one address, and that no other may give."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((host, port))
        return exchange(client, CONNECT)


def exchange(client: socket.socket, datagram: bytes) -> bytes:
    client.send(datagram)
    return client.recv(2048)


@pytest.mark.clause("4.6.5")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.1.2.3"])
def test_answers_leave_from_the_address_that_was_asked(start: Any, configure: Any, host: str) -> None:
    daemon = start(configure(services=services("0.0.0.0:0")))
    assert answer_of(host, daemon.address("udp")[1])[4:8] == CONNECT[12:]


@pytest.mark.clause("4.6.6")
def test_the_ipv6_wildcard_serves_both_families_as_what_they_are(start: Any, configure: Any) -> None:
    daemon = start(configure(services=services("[::]:0", "127.0.0.1:0")))
    port = daemon.address("udp", ipv6=True)[1]
    ids = {host: answer_of(host, port)[8:] for host in ("127.0.0.1", "::1")}
    assert ids["127.0.0.1"] != ids["::1"]
    with daemon.conversation() as ipv4, daemon.conversation(ipv6=True) as ipv6:
        # What was issued by way of [::] is good at 127.0.0.1: the client is an IPv4 one to both.
        first = ipv4.announce(HASH, 1, connection_id=ids["127.0.0.1"])
        assert isinstance(first, AnnounceResponse)
        assert ipv6.announce(HASH, 2).peers == b""
        assert ipv4.announce(HASH, 3).peers == bytes([127, 0, 0, 1, 0, 1])
    assert {peer["peer_addr"] for peer in daemon.torrent(HASH)["peers"]} == {
        "127.0.0.1:1",
        "[::1]:2",
        "127.0.0.1:3",
    }
    stats = daemon.stats()
    assert (stats["udp4_connections_handled"], stats["udp6_connections_handled"]) == (2, 2)
    assert (stats["udp4_announces_handled"], stats["udp6_announces_handled"]) == (2, 1)


@pytest.mark.clause("4.6.6")
def test_both_wildcards_may_share_a_port(start: Any, configure: Any) -> None:
    port = free_port()
    daemon = start(configure(services=services(f"[::]:{port}", f"0.0.0.0:{port}")))
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        assert answer_of(host, port)[4:8] == CONNECT[12:]
    stats = daemon.stats()
    assert (stats["udp4_connections_handled"], stats["udp6_connections_handled"]) == (2, 1)


@pytest.mark.clause("4.3.9", "4.6.6")
def test_an_ipv4_loopback_client_of_the_ipv6_wildcard_is_a_loopback_client(
    start: Any, configure: Any
) -> None:
    core = '[core.net]\nexternal_ip = "203.0.113.5"'
    daemon = start(configure(core=core, services=services("[::]:0")))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", daemon.address("udp", ipv6=True)[1]))
        connection_id = exchange(client, CONNECT)[8:]
        announce = connection_id + bytes.fromhex("00000001c0ffee11") + HASH + bytes(20 + 24)
        exchange(client, announce + bytes.fromhex("00000002 00000000 00000000 ffffffff 1ae1"))
    assert [peer["peer_addr"] for peer in daemon.torrent(HASH)["peers"]] == ["203.0.113.5:6881"]
