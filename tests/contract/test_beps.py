"""Which BEPs the tracker knows, and which it does not."""

from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from torrust_py.core.types import SwarmCounts
from torrust_py.udp.packets import AnnounceResponse, ScrapeResponse

pytestmark = pytest.mark.slow


@pytest.mark.clause("11.1.1")
def test_the_address_in_the_query_is_not_believed(public: Any, info_hash: bytes) -> None:
    """BEP 3: `ip`; BEP 7: `ipv4`, `ipv6`. Nor Torrust's own `peer_addr`."""
    claims = "ip=203.0.113.9&ipv4=203.0.113.9:6881&ipv6=2001:db8::9&peer_addr=203.0.113.9"
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id=-qB00000000000000001&port=6881"
    assert public.request("http", f"/announce?{query}&{claims}").decoded[b"complete"] == 1
    addresses = [peer["peer_addr"] for peer in public.torrent(info_hash)["peers"]]
    assert addresses == ["127.0.0.1:6881"]


@pytest.mark.clause("11.1.2")
def test_a_failure_over_http_has_status_200(public: Any) -> None:
    """BEP 3. Nor is a client told when to come back (BEP 31: `retry in`)."""
    answer = public.request("http", "/announce?port=1")
    assert answer.status == 200
    assert answer.failure  # which is all that the answer holds


@pytest.mark.clause("11.1.3")
def test_an_empty_event_is_no_event(public: Any, info_hash: bytes) -> None:
    assert public.announce(info_hash, event="").decoded[b"complete"] == 1


@pytest.mark.clause("11.1.4")
def test_ipv6_peers_stand_in_a_list_of_their_own(public: Any, info_hash: bytes) -> None:
    """BEP 7, where the list is compact."""
    public.announce(info_hash, port=6881, ipv6=True)
    answer = public.announce(info_hash, port=6882, compact=1).decoded
    assert (answer[b"peers"], answer[b"peers6"]) == (b"", bytes(15) + b"\x01" + (6881).to_bytes(2, "big"))


@pytest.mark.clause("11.1.4")
def test_over_udp_ipv6_clients_get_ipv6_peers(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, port=6881, ipv6=True)
    with public.conversation(ipv6=True) as client:
        response = client.announce(info_hash, 6882)
    assert isinstance(response, AnnounceResponse)
    assert response.peers == bytes(15) + b"\x01" + (6881).to_bytes(2, "big")


@pytest.mark.clause("11.1.5")
def test_a_udp_scrape_needs_a_connection_id_and_keeps_the_order(public: Any, info_hash: bytes) -> None:
    """BEP 15."""
    public.announce(info_hash, left=0)
    nobody, seeder = SwarmCounts(0, 0, 0), SwarmCounts(seeders=1, completed=0, leechers=0)
    unknown = bytes(20)
    with public.conversation() as client:
        response = client.scrape(unknown, info_hash, unknown, info_hash)
        refused = client.scrape(info_hash, connection_id=bytes(8))
    assert isinstance(response, ScrapeResponse)
    assert response.swarms == [nobody, seeder, nobody, seeder]
    assert not isinstance(refused, ScrapeResponse)


@pytest.mark.clause("11.1.6")
@pytest.mark.parametrize(("compact", "kind"), [(None, list), ("0", list), ("1", bytes)])
def test_peers_are_compact_on_request_only(
    public: Any, info_hash: bytes, compact: str | None, kind: type
) -> None:
    """BEP 23 recommends the opposite where a client does not say."""
    assert isinstance(public.announce(info_hash, compact=compact).decoded[b"peers"], kind)


@pytest.mark.clause("11.1.7")
def test_a_private_tracker_wants_a_key_in_the_path(private: Any, info_hash: bytes) -> None:
    """BEP 27 leaves the way to the tracker."""
    key = private.call("POST", "/key/60").text.partition('"key":"')[2][:32]
    assert private.announce(info_hash, key=key).decoded[b"complete"] == 1
    assert private.announce(info_hash).failure.startswith("Authentication error")


@pytest.mark.clause("11.1.8")
def test_a_scrape_counts_several_torrents_but_not_all(public: Any, info_hash: bytes) -> None:
    """BEP 48."""
    public.announce(info_hash, left=0)
    answer = public.scrape(info_hash, bytes(20))
    assert answer.scraped == {info_hash: (1, 0, 0), bytes(20): (0, 0, 0)}
    assert list(answer.decoded) == [b"files"]
    assert public.scrape().failure


@pytest.mark.clause("11.1.9")
def test_an_announce_answers_no_more_than_the_old_beps_say(public: Any, info_hash: bytes) -> None:
    """No `external ip` (BEP 24), no `downloaders` (BEP 21), no `warning message`."""
    compact, dictionaries = (public.announce(info_hash, compact=compact).decoded for compact in (1, 0))
    keys = [b"complete", b"incomplete", b"interval", b"min interval", b"peers"]
    assert (list(dictionaries), list(compact)) == (keys, [*keys, b"peers6"])


@pytest.mark.clause("11.1.10")
def test_a_paused_client_is_served_as_any_other(public: Any, info_hash: bytes) -> None:
    """BEP 21."""
    assert public.announce(info_hash, left=1, event="paused").decoded[b"incomplete"] == 1


@pytest.mark.clause("11.1.11")
def test_the_options_of_a_udp_announce_are_passed_over(public: Any, info_hash: bytes) -> None:
    """BEP 41: here `/announce?x` as URL data, and the end of the options."""
    options = b"\x02\x0b/announce?x\x00"
    with public.conversation() as client:
        response = client.ask(client.announcement(info_hash, 6881) + options)
    assert isinstance(response, AnnounceResponse)


@pytest.mark.clause("11.1.12")
@pytest.mark.parametrize("size", [19, 21, 32])
def test_an_info_hash_has_20_bytes(public: Any, size: int) -> None:
    """BEP 52 would have 32 for the torrents of its kind, which announce the first 20."""
    answer = public.request(
        "http", f"/announce?info_hash={quote_from_bytes(bytes(size))}&peer_id=-qB00000000000000001&port=1"
    )
    assert answer.failure


@pytest.mark.clause("11.1.13")
def test_a_web_socket_is_not_opened(public: Any) -> None:
    """WebTorrent."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    answer = public.request("http", "/", headers={**upgrade, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert answer.status == 404
