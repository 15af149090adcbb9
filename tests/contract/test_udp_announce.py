"""Announcing over UDP (BEP 15): each field of the request, and what the answer holds."""

from typing import Any

import pytest

from torrust_py.core.types import AnnounceEvent
from torrust_py.udp.packets import AnnounceResponse, ErrorResponse

pytestmark = pytest.mark.slow

LOOPBACK = bytes([127, 0, 0, 1])
LOOPBACK_IPV6 = bytes(15) + b"\1"


def field(datagram: bytes, at: int, digits: str) -> bytes:
    """`datagram` with other bytes at a place."""
    value = bytes.fromhex(digits)
    return datagram[:at] + value + datagram[at + len(value) :]


def fill(client: Any, info_hash: bytes, count: int) -> None:
    """So many leechers, at the ports from 1 on."""
    for port in range(1, count + 1):
        client.announce(info_hash, port, left=1, num_want=0)


def addresses(daemon: Any, info_hash: bytes) -> set[str]:
    return {peer["peer_addr"] for peer in daemon.torrent(info_hash)["peers"]}


@pytest.mark.clause("4.1.2", "12.2.3")
def test_an_announce_is_answered_with_interval_counts_and_peers_of_6_bytes(
    public: Any, info_hash: bytes
) -> None:
    with public.conversation() as client:
        client.announce(info_hash, 0x1AE1, left=1)
        client.announce(info_hash, 0x1AE2)
        client.announce(info_hash, 0x1AE1, left=1)
        answer = client.exchange(client.announcement(info_hash, 0x1AE3, num_want=1))
        assert answer == bytes.fromhex("00000001 00002222 00000078 00000001 00000002 7f0000011ae1")
        answer = client.exchange(client.announcement(info_hash, 0x1AE1, left=1, num_want=1))
    assert answer[:20] == bytes.fromhex("00000001 00002222 00000078 00000001 00000002")
    assert answer[20:] in (bytes.fromhex("7f0000011ae2"), bytes.fromhex("7f0000011ae3"))


@pytest.mark.clause("4.1.3")
def test_peers_over_ipv6_have_18_bytes(public: Any, info_hash: bytes) -> None:
    with public.conversation(ipv6=True) as client:
        client.announce(info_hash, 0x1AE1)
        answer = client.exchange(client.announcement(info_hash, 0x1AE2))
    head = bytes.fromhex("00000001 00002222 00000078 00000000 00000002")
    assert answer == head + LOOPBACK_IPV6 + bytes.fromhex("1ae1")


@pytest.mark.clause("4.1.7")
def test_options_after_the_98th_byte_are_ignored(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        datagram = client.announcement(info_hash, 6881) + bytes.fromhex("02042f61626300")  # BEP 41: /abc
        assert isinstance(client.ask(datagram), AnnounceResponse)
    assert addresses(public, info_hash) == {"127.0.0.1:6881"}


@pytest.mark.clause("4.3.1", "5.1.2")
def test_the_api_shows_what_was_announced(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        datagram = client.announcement(info_hash, 6881, left=2**63 - 1, peer_id=b"-qB4500-abcdefghijkl")
        datagram = field(datagram, 56, "0000000100000002")
        client.ask(field(datagram, 72, "7fffffffffffffff"))
    [peer] = public.torrent(info_hash)["peers"]
    assert (peer["downloaded"], peer["uploaded"], peer["left"]) == (2**32 + 2, 2**63 - 1, 2**63 - 1)
    assert (peer["peer_addr"], peer["event"]) == ("127.0.0.1:6881", "Started")
    assert peer["peer_id"]["id"] == "0x" + b"-qB4500-abcdefghijkl".hex()


@pytest.mark.clause("4.3.1")
def test_bytes_below_zero_are_kept_as_they_are(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        datagram = field(client.announcement(info_hash, 6881), 56, "ffffffffffffffff")
        client.ask(field(datagram, 72, "8000000000000000"))
    [peer] = public.torrent(info_hash)["peers"]
    assert (peer["downloaded"], peer["uploaded"]) == (-1, -(2**63))


@pytest.mark.clause("4.3.2", "5.2.8")
@pytest.mark.parametrize(
    ("left", "counts", "shown"),
    [
        ("0000000000000000", (1, 0), 0),
        ("0000000000000001", (0, 1), 1),
        ("ffffffffffffffff", (0, 1), -1),
        ("8000000000000000", (0, 1), -1),
    ],
)
def test_only_a_peer_with_nothing_left_is_a_seeder(
    public: Any, info_hash: bytes, left: str, counts: tuple[int, int], shown: int
) -> None:
    with public.conversation() as client:
        response = client.ask(field(client.announcement(info_hash, 6881), 64, left))
    assert (response.seeders, response.leechers) == counts
    assert [peer["left"] for peer in public.torrent(info_hash)["peers"]] == [shown]


@pytest.mark.clause("4.3.3")
@pytest.mark.parametrize(
    ("event", "shown"),
    [("00000000", ["None"]), ("00000001", ["Completed"]), ("00000002", ["Started"]), ("00000003", [])],
)
def test_events_have_their_numbers(public: Any, info_hash: bytes, event: str, shown: list[str]) -> None:
    with public.conversation() as client:
        datagram = client.announcement(info_hash, 6881)
        client.ask(datagram)
        assert isinstance(client.ask(field(datagram, 80, event)), AnnounceResponse)
    assert [peer["event"] for peer in public.torrent(info_hash)["peers"]] == shown


@pytest.mark.clause("4.3.4")
@pytest.mark.parametrize("at", [84, 88])
def test_the_address_and_the_key_of_the_request_mean_nothing(public: Any, info_hash: bytes, at: int) -> None:
    with public.conversation() as client:
        client.ask(field(client.announcement(info_hash, 6881), at, "c6336407"))
        response = client.ask(field(client.announcement(info_hash, 6882), at, "00000001"))
    assert response.peers == LOOPBACK + b"\x1a\xe1"
    assert addresses(public, info_hash) == {"127.0.0.1:6881", "127.0.0.1:6882"}


@pytest.mark.clause("4.3.5", "4.3.6", "12.5.3")
@pytest.mark.parametrize(
    ("num_want", "expected"),
    [
        ("ffffffff", 74),
        ("80000000", 74),
        ("00000000", 0),
        ("00000001", 1),
        ("00000032", 50),
        ("0000004a", 74),
        ("0000004b", 74),
        ("7fffffff", 74),
    ],
)
def test_a_client_gets_as_many_peers_as_it_wants_up_to_74(
    public: Any, info_hash: bytes, num_want: str, expected: int
) -> None:
    with public.conversation() as client:
        fill(client, info_hash, 100)
        response = client.ask(field(client.announcement(info_hash, 6881), 92, num_want))
    peers = {response.peers[at : at + 6] for at in range(0, len(response.peers), 6)}
    assert len(peers) == len(response.peers) / 6 == expected
    assert peers <= {LOOPBACK + port.to_bytes(2) for port in range(1, 101)}


@pytest.mark.clause("4.3.7")
def test_the_port_of_a_peer_is_the_one_that_it_announces(public: Any, info_hash: bytes) -> None:
    with public.udp() as client:
        own = client.getsockname()[1]
    other = own - 1 if own > 1024 else own + 1
    with public.conversation() as asking:
        asking.announce(info_hash, other)
    assert addresses(public, info_hash) == {f"127.0.0.1:{other}"}


@pytest.mark.clause("4.3.8")
def test_behind_a_reverse_proxy_a_udp_client_is_still_who_sends(proxied: Any, info_hash: bytes) -> None:
    with proxied.conversation(source="127.0.0.2") as client:
        client.announce(info_hash, 6881)
    assert addresses(proxied, info_hash) == {"127.0.0.2:6881"}


@pytest.mark.clause("4.3.9", "4.3.10", "12.5.5")
@pytest.mark.parametrize(
    ("external", "stored"),
    [
        ("203.0.113.5", "203.0.113.5:6881"),
        ("2001:db8::5", "[2001:db8::5]:6881"),
    ],
)
def test_a_loopback_peer_is_stored_at_the_external_address(
    start: Any, configure: Any, external: str, stored: str
) -> None:
    core = f'[core.net]\nexternal_ip = "{external}"\n[core.announce_policy]\ninterval = 4321'
    daemon = start(configure(core=core))
    for number, (ipv6, source) in enumerate(((False, None), (False, "127.8.8.8"), (True, None))):
        with daemon.conversation(ipv6=ipv6, source=source) as client:
            assert client.announce(bytes([number]) * 20, 6881).interval == 4321
        assert addresses(daemon, bytes([number]) * 20) == {stored}


@pytest.mark.clause("4.3.9", "12.5.5")
@pytest.mark.parametrize(("ipv6", "stored"), [(False, "127.0.0.1:6881"), (True, "[::1]:6881")])
def test_without_an_external_address_a_loopback_peer_keeps_its_own(
    public: Any, info_hash: bytes, ipv6: bool, stored: str
) -> None:
    with public.conversation(ipv6=ipv6) as client:
        client.announce(info_hash, 6881)
    assert addresses(public, info_hash) == {stored}


@pytest.mark.clause("4.3.11")
def test_a_client_gets_peers_of_its_own_family_however_many_others_there_are(
    public: Any, info_hash: bytes
) -> None:
    with public.conversation() as ipv4, public.conversation(ipv6=True) as ipv6:
        fill(ipv4, info_hash, 100)
        for port in (1, 2, 3):
            ipv6.announce(info_hash, port, peer_id=b"\xff" * 20)
        over_ipv4, over_ipv6 = ipv4.announce(info_hash, 6881), ipv6.announce(info_hash, 6881)
    assert len(over_ipv4.peers) == 74 * 6
    assert {over_ipv4.peers[at : at + 4] for at in range(0, 74 * 6, 6)} == {LOOPBACK}
    peers = {over_ipv6.peers[at : at + 18] for at in range(0, len(over_ipv6.peers), 18)}
    assert peers == {LOOPBACK_IPV6 + port.to_bytes(2) for port in (1, 2, 3)}


@pytest.mark.clause("4.3.13")
def test_what_is_wrong_is_told_in_order(listed: Any, info_hash: bytes) -> None:
    with listed.conversation() as client:
        refusals = [
            client.ask(client.announcement(info_hash, 0, connection_id=bytes(8))),
            client.ask(client.announcement(info_hash, 6881, connection_id=bytes(8))),
            client.ask(client.announcement(info_hash, 6881)),
        ]
        assert listed.api(f"whitelist/{info_hash.hex()}", method="POST")[0] == 200
        assert isinstance(client.announce(info_hash, 6881), AnnounceResponse)
    assert refusals == [
        ErrorResponse(b"\0\0\x22\x22", "bad request: Port can't be 0"),
        ErrorResponse(b"\0\0\x22\x22", "connection id could not be verified"),
        ErrorResponse(
            b"\0\0\x22\x22", f"tracker server error: The torrent: {info_hash.hex()}, is not whitelisted"
        ),
    ]


@pytest.mark.clause("4.3.14")
def test_the_largest_answers_fit_into_one_frame(start: Any, configure: Any, info_hash: bytes) -> None:
    daemon = start(configure(core="[core.announce_policy]\nmax_peers_per_announce = 1000"))
    sizes = []
    for ipv6 in (False, True):
        with daemon.conversation(ipv6=ipv6) as client:
            fill(client, info_hash, 300)
            sizes.append(len(client.exchange(client.announcement(info_hash, 6881, num_want=1000))))
            assert len(client.announce(info_hash, 6881).peers) == 74 * (18 if ipv6 else 6)
    assert sizes == [20 + 242 * 6, 20 + 79 * 18]


@pytest.mark.clause("4.3.15", "5.2.2")
def test_a_peer_that_stops_leaves_the_swarm_and_gets_nobody(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        fill(client, info_hash, 3)
        response = client.announce(info_hash, 2, left=1, event=AnnounceEvent.STOPPED)
        assert (response.seeders, response.leechers, response.peers) == (0, 2, b"")
        again = client.announce(info_hash, 2, left=1, event=AnnounceEvent.STOPPED)
        assert (again.seeders, again.leechers, again.peers) == (0, 2, b"")
    assert addresses(public, info_hash) == {"127.0.0.1:1", "127.0.0.1:3"}


@pytest.mark.clause("4.3.16")
def test_nobody_is_in_its_own_answer(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        fill(client, info_hash, 5)
        for port in range(1, 6):
            response = client.announce(info_hash, port, left=1)
            ports = {response.peers[at + 4 : at + 6] for at in range(0, len(response.peers), 6)}
            assert ports == {other.to_bytes(2) for other in range(1, 6) if other != port}


@pytest.mark.clause("4.6.1", "4.6.4", "5.3.5", "12.2.4")
def test_a_thousand_announces_with_one_connection_id_are_all_answered(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        for _ in range(1000):
            assert isinstance(client.announce(info_hash, 6881), AnnounceResponse)
