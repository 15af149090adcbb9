"""What announces make of a swarm, over either protocol, as the API shows it."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from torrust_py.core.types import AnnounceEvent

pytestmark = pytest.mark.slow

Tell = Callable[..., None]
"""Announce a torrent to a daemon; by name the event, `port` and `peer_id`."""

SECONDS = 20
"""Patience for what takes a second or two."""


def tell_over_udp(
    daemon: Any, info_hash: bytes, event: str, *, port: int = 6881, peer_id: bytes = b"-qB00000000000000001"
) -> None:
    with daemon.conversation() as client:
        client.announce(info_hash, port, event=AnnounceEvent[event.upper()], peer_id=peer_id)


def tell_over_http(
    daemon: Any, info_hash: bytes, event: str, *, port: int = 6881, peer_id: bytes = b"-qB00000000000000001"
) -> None:
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id={peer_id.decode()}&port={port}&left=0"
    given = "" if event == "none" else f"&event={event}"
    _, body = daemon.get("http", f"/announce?{query}{given}")
    assert body.startswith(b"d8:complete")


BOTH = pytest.mark.parametrize("tell", [tell_over_udp, tell_over_http])


@pytest.mark.clause("5.2.3", "5.2.4", "5.2.5", "5.2.6", "12.5.4")
@BOTH
@pytest.mark.parametrize(
    ("events", "completed"),
    [
        ("completed", 0),
        ("completed completed", 0),
        ("started completed", 1),
        ("none completed", 1),
        ("started completed completed", 1),
        ("started completed none completed", 2),
        ("started completed stopped completed", 1),
        ("started completed stopped started completed", 2),
    ],
)
def test_a_torrent_is_finished_when_a_known_peer_says_so_first(
    public: Any, info_hash: bytes, tell: Tell, events: str, completed: int
) -> None:
    for event in events.split():
        tell(public, info_hash, event)
    assert public.torrent(info_hash)["completed"] == completed


@pytest.mark.clause("5.2.1")
@BOTH
def test_a_stop_makes_no_torrent_but_every_other_event_does(
    public: Any, info_hash: bytes, tell: Tell
) -> None:
    tell(public, info_hash, "stopped")
    assert public.torrent(info_hash) == "torrent not known"
    for event in ("none", "started", "completed"):
        other = event[0].encode() + info_hash[1:]
        tell(public, other, event)
        assert public.torrent(other)["seeders"] == 1


@pytest.mark.clause("11.2.9")
@pytest.mark.clause("5.1.3", "5.2.10", "5.2.11")
@BOTH
def test_a_peer_is_its_endpoint_whatever_it_calls_itself(public: Any, info_hash: bytes, tell: Tell) -> None:
    tell(public, info_hash, "started")
    tell(public, info_hash, "started", peer_id=b"-TR4000-999999999999")
    [peer] = public.torrent(info_hash)["peers"]
    assert peer["peer_id"]["id"] == "0x" + b"-TR4000-999999999999".hex()
    tell(public, info_hash, "started", peer_id=b"-TR4000-999999999999", port=6882)
    addresses = [peer["peer_addr"] for peer in public.torrent(info_hash)["peers"]]
    assert sorted(addresses) == ["127.0.0.1:6881", "127.0.0.1:6882"]


@pytest.mark.clause("5.1.3", "5.2.2")
@BOTH
def test_nobody_is_stopped_by_who_only_knows_its_peer_id(public: Any, info_hash: bytes, tell: Tell) -> None:
    tell(public, info_hash, "started")
    tell(public, info_hash, "stopped", port=6882)
    assert public.torrent(info_hash)["seeders"] == 1
    tell(public, info_hash, "stopped", peer_id=b"-TR4000-999999999999")
    assert (public.torrent(info_hash)["seeders"], public.torrent(info_hash)["peers"]) == (0, [])


@pytest.mark.clause("5.2.7", "5.2.9")
@BOTH
def test_an_announce_replaces_the_one_before(public: Any, info_hash: bytes, tell: Tell) -> None:
    with public.conversation() as client:
        client.announce(info_hash, 6881, left=5)
    before = public.torrent(info_hash)
    tell(public, info_hash, "none")
    after = public.torrent(info_hash)
    assert [(one["leechers"], one["seeders"]) for one in (before, after)] == [(1, 0), (0, 1)]
    ([first], [last]) = before["peers"], after["peers"]
    assert (first["left"], first["event"], last["left"], last["event"]) == (5, "Started", 0, "None")
    assert last["updated"] >= first["updated"]


@pytest.mark.clause("5.1.1")
def test_torrents_are_listed_by_their_info_hashes(start: Any) -> None:
    daemon = start()
    for number in (7, 255, 0, 128):
        tell_over_udp(daemon, bytes([number]) * 20, "started")
    status, body = daemon.api("torrents")
    positions = [body.index(bytes([number]).hex().encode() * 20) for number in (0, 7, 128, 255)]
    assert (status, sorted(positions)) == (200, positions)


def cleaned(configure: Callable[..., str], policy: str) -> str:
    core = f"inactive_peer_cleanup_interval = 1\n[core.tracker_policy]\nmax_peer_timeout = 3\n{policy}"
    return configure(core=core)


def wait_for(daemon: Any, info_hash: bytes, is_so: Callable[[Any], bool]) -> Any:
    """Ask the API until it says so."""
    until = time.monotonic() + SECONDS
    while not is_so(torrent := daemon.torrent(info_hash)):
        assert time.monotonic() < until, torrent
    return torrent


@pytest.mark.clause("5.3.1", "5.3.2")
def test_an_inactive_peer_goes_and_its_torrent_with_it(start: Any, configure: Any, info_hash: bytes) -> None:
    daemon = start(cleaned(configure, ""))
    tell_over_udp(daemon, info_hash, "started")
    assert daemon.torrent(info_hash)["seeders"] == 1
    wait_for(daemon, info_hash, lambda torrent: torrent == "torrent not known")
    assert daemon.stats()["torrents"] == 0


@pytest.mark.clause("5.3.2", "5.3.3")
@pytest.mark.parametrize(
    ("policy", "completed"),
    [("remove_peerless_torrents = false", 0), ("persistent_torrent_completed_stat = true", 1)],
)
def test_a_torrent_without_peers_stays_if_it_is_to(
    start: Any, configure: Any, info_hash: bytes, policy: str, completed: int
) -> None:
    daemon = start(cleaned(configure, policy))
    tell_over_udp(daemon, b"\0" * 20, "started")
    tell_over_udp(daemon, info_hash, "started")
    if completed:
        tell_over_udp(daemon, info_hash, "completed")
    torrent = wait_for(daemon, info_hash, lambda torrent: torrent["seeders"] == 0)
    assert (torrent["completed"], torrent["peers"]) == (completed, [])
    other = wait_for(daemon, b"\0" * 20, lambda torrent: "seeders" not in torrent or not torrent["seeders"])
    assert (other == "torrent not known") is bool(completed)
