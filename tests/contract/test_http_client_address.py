"""Who a client is: the socket's peer, who a reverse proxy says, or the tracker's own host."""

from typing import Any
from urllib.parse import quote_from_bytes

import bencodepy
import pytest

pytestmark = pytest.mark.slow

NO_ADDRESS = (
    "Error resolving peer IP: missing or invalid the right most X-Forwarded-For IP "
    "(mandatory on reverse proxy tracker configuration)"
)
PLAIN = {"X-Forwarded-For": "203.0.113.195"}


def stored_address(daemon: Any, info_hash: bytes) -> str:
    (peer,) = daemon.torrent(info_hash)["peers"]
    address: str = peer["peer_addr"]
    return address


# --- without a proxy


@pytest.mark.clause("3.6.1")
@pytest.mark.parametrize(("ipv6", "address"), [(False, "127.0.0.1:17548"), (True, "[::1]:17548")])
def test_the_client_is_the_sockets_peer(ipv6: bool, address: str, public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, ipv6=ipv6, headers=PLAIN)
    assert stored_address(public, info_hash) == address


# --- behind a proxy


@pytest.mark.clause("3.6.2", "3.6.3", "3.6.4", "3.6.6")
@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        ("203.0.113.195", "203.0.113.195"),
        pytest.param(
            "203.0.113.195,2001:db8:85a3:8d3:1319:8a2e:370:7348,150.172.238.178",
            "150.172.238.178",
            marks=pytest.mark.clause("12.1.35"),
        ),
        ("203.0.113.195 , 2001:db8::1\t", "[2001:db8::1]"),
        ("1.2.3.4, garbage", "1.2.3.4"),
        ("1.2.3.4, 2.2.2.2:80", "1.2.3.4"),
        ("1.2.3.4, [2001:db8::1]", "1.2.3.4"),
        ("1.2.3.4, [2001:db8::1]:80,,", "1.2.3.4"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_client_is_the_last_address_that_was_forwarded(
    forwarded_for: str, address: str, proxied: Any, info_hash: bytes
) -> None:
    proxied.announce(info_hash, headers={"X-Forwarded-For": forwarded_for})
    assert stored_address(proxied, info_hash) == f"{address}:17548"


@pytest.mark.clause("3.6.2")
@pytest.mark.parametrize("last", ["192.0.2.3", "x"])
def test_all_lines_of_the_field_are_read_in_their_order(last: str, proxied: Any, info_hash: bytes) -> None:
    target = f"/announce?info_hash={quote_from_bytes(info_hash)}"
    request = (
        f"GET {target}&peer_id=-qB00000000000000001&port=1 HTTP/1.1\r\n"
        "X-Forwarded-For: 192.0.2.1\r\nHost: tracker.example\r\n"
        f"x-forwarded-for: 192.0.2.2\r\nX-FORWARDED-FOR: {last}\r\n\r\n"
    )
    assert proxied.exchange("http", request.encode()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert stored_address(proxied, info_hash) == {"x": "192.0.2.2:1"}.get(last, f"{last}:1")


@pytest.mark.clause("3.5.11", "3.6.5", "3.10.13")
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, marks=pytest.mark.clause("12.1.3")),
        pytest.param({"X-Forwarded-For": "INVALID IP"}, marks=pytest.mark.clause("12.1.4")),
        {"X-Forwarded-For": ""},
        {"X-Forwarded-For": "1.1.1.1:80, [2001:db8::1], unknown"},
        {"X-Real-IP": "1.1.1.1", "Forwarded": "for=1.1.1.1"},
    ],
)
def test_without_a_forwarded_address_the_client_is_refused(
    headers: dict[str, str], proxied: Any, info_hash: bytes
) -> None:
    assert proxied.announce(info_hash, headers=headers).failure == NO_ADDRESS
    assert proxied.scrape(info_hash, headers=headers).failure == NO_ADDRESS
    assert proxied.torrent(info_hash) == "torrent not known"


# --- the tracker's own host


@pytest.fixture(params=["203.0.113.5", "2001:db8::5"])
def external(request: pytest.FixtureRequest) -> str:
    """The address that the tracker's host has outside."""
    address: str = request.param
    return address


@pytest.fixture
def own_host(start: Any, configure: Any, external: str) -> Any:
    """A tracker that knows its host's outside address."""
    return start(configure(f'[core.net]\nexternal_ip = "{external}"'))


@pytest.mark.clause("3.7.1", "3.7.2", "12.1.33", "12.1.34")
def test_a_client_on_the_trackers_host_has_its_external_address(own_host: Any, external: str) -> None:
    shown = f"[{external}]" if ":" in external else external
    for number, where in enumerate(({}, {"source": "127.0.0.2"}, {"ipv6": True})):
        info_hash = bytes([number]) * 20
        own_host.announce(info_hash, **where)
        assert stored_address(own_host, info_hash) == f"{shown}:17548"
    with own_host.conversation() as client:
        info_hash = b"u" * 20
        client.announce(info_hash, 17548)
        assert stored_address(own_host, info_hash) == f"{shown}:17548"


@pytest.mark.clause("3.7.3")
def test_without_an_external_address_a_local_peer_keeps_its_own(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    decoded = bencodepy.decode(public.announce(info_hash, port=2).body)
    assert decoded[b"peers"][0][b"ip"] == b"127.0.0.1"


@pytest.mark.clause("3.7.1", "3.7.4")
@pytest.mark.parametrize("forwarded_for", ["127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_a_forwarded_loopback_address_is_replaced_too(
    forwarded_for: str, start: Any, configure: Any, info_hash: bytes
) -> None:
    daemon = start(configure('[core.net]\non_reverse_proxy = true\nexternal_ip = "203.0.113.5"'))
    daemon.announce(info_hash, headers={"X-Forwarded-For": forwarded_for})
    assert stored_address(daemon, info_hash) == "203.0.113.5:17548"
