"""Scraping over UDP (BEP 15)."""

from typing import Any

import pytest

from torrust_py.core.types import AnnounceEvent, SwarmCounts
from torrust_py.udp.packets import ScrapeResponse

pytestmark = pytest.mark.slow

NOTHING = SwarmCounts(seeders=0, completed=0, leechers=0)


def counts_of(client: Any, *info_hashes: bytes) -> list[SwarmCounts]:
    response = client.scrape(*info_hashes)
    assert isinstance(response, ScrapeResponse)
    assert response.transaction_id == b"\0\0\x33\x33"
    return response.swarms


@pytest.mark.clause("4.1.4")
@pytest.mark.parametrize("ipv6", [False, True])
def test_a_scrape_has_seeders_completed_and_leechers(public: Any, info_hash: bytes, ipv6: bool) -> None:
    with public.conversation(ipv6=ipv6) as client:
        for port in range(1, 6):
            client.announce(info_hash, port, left=int(port > 3))
        client.announce(info_hash, 1, event=AnnounceEvent.COMPLETED)
        answer = client.exchange(client.connection_id + bytes.fromhex("00000002c0ffee11") + info_hash)
    assert answer == bytes.fromhex("00000002c0ffee11000000030000000100000002")


@pytest.mark.clause("4.4.2", "12.2.5")
def test_an_unknown_torrent_has_zeros(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        assert counts_of(client, info_hash) == [NOTHING]
        assert isinstance(client.scrape(bytes(20)), ScrapeResponse)
    assert public.torrent(info_hash) == "torrent not known"


@pytest.mark.clause("4.4.5")
def test_records_come_in_the_order_of_the_request_one_for_each_hash(public: Any, info_hash: bytes) -> None:
    hashes = [bytes([number]) + info_hash[1:] for number in (200, 7, 90)]
    with public.conversation() as client:
        for peers, each in enumerate(hashes, start=1):
            for port in range(1, peers + 1):
                client.announce(each, port)
        asked = [hashes[2], hashes[0], hashes[1], hashes[0], info_hash[::-1], hashes[2]]
        assert [counts.seeders for counts in counts_of(client, *asked)] == [3, 1, 2, 1, 0, 3]


@pytest.mark.clause("4.4.1")
@pytest.mark.parametrize(("asked", "answered"), [(73, 73), (74, 74), (75, 74), (80, 74)])
def test_74_hashes_are_answered_and_the_rest_is_ignored(
    public: Any, info_hash: bytes, asked: int, answered: int
) -> None:
    hashes = [number.to_bytes() + info_hash[1:] for number in range(asked)]
    with public.conversation() as client:
        client.announce(hashes[answered - 1], 6881)
        counts = counts_of(client, *hashes)
    assert len(counts) == answered
    assert [position for position, each in enumerate(counts) if each != NOTHING] == [answered - 1]


@pytest.mark.clause("4.1.8")
def test_of_a_datagram_1496_bytes_are_read(public: Any, info_hash: bytes) -> None:
    """What follows would make it malformed."""
    with public.conversation() as client:
        datagram = client.connection_id + bytes.fromhex("00000002c0ffee11") + info_hash * 74
        assert len(datagram) == 1496
        answer = client.exchange(datagram + b"a piece")
    assert (answer[:8], len(answer)) == (bytes.fromhex("00000002c0ffee11"), 8 + 74 * 12)


@pytest.mark.clause("4.4.3", "5.5.5")
def test_a_torrent_that_left_the_whitelist_has_zeros_and_stays_in_memory(
    listed: Any, info_hash: bytes
) -> None:
    path = f"whitelist/{info_hash.hex()}"
    assert listed.api(path, method="POST")[0] == 200
    with listed.conversation() as client:
        client.announce(info_hash, 6881)
        assert counts_of(client, info_hash) == [NOTHING._replace(seeders=1)]
        assert listed.api(path, method="DELETE")[0] == 200
        assert counts_of(client, info_hash) == [NOTHING]
    assert listed.torrent(info_hash)["seeders"] == 1
