from collections.abc import Callable

import pytest

from tests.forms import make_blacklist
from torrust_py.core.blacklist import Blacklist
from torrust_py.core.database import BlacklistEntry, Database, PeerKey
from torrust_py.core.errors import Blacklisted, KeyExpired, KeyMissing, KeyUnknown, NotWhitelisted
from torrust_py.core.keys import Keys
from torrust_py.core.swarms import PortableSwarms
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import (
    NO_SWARM,
    Address,
    Families,
    InfoHash,
    Peer,
    SwarmCounts,
    SwarmView,
    packed_address,
)
from torrust_py.core.whitelist import PortableWhitelist

INFO_HASH = InfoHash(b"\5" * 20)
KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
PUBLIC = Rules(interval=120, interval_min=60)
PRIVATE = PUBLIC._replace(private=True)
LISTED = PUBLIC._replace(listed=True)

MakePeer = Callable[..., Peer]


@pytest.fixture
def keys(memory_database: Database) -> Keys:
    return Keys(memory_database)


@pytest.fixture
def whitelist() -> PortableWhitelist:
    return PortableWhitelist()


@pytest.fixture
def swarms() -> PortableSwarms:
    return PortableSwarms()


@pytest.fixture
def blacklist(swarms: PortableSwarms) -> Blacklist:
    return make_blacklist(PortableWhitelist(), swarms)


@pytest.fixture
def make_tracker(
    swarms: PortableSwarms, whitelist: PortableWhitelist, blacklist: Blacklist, keys: Keys
) -> Callable[[Rules], Tracker]:
    return lambda rules: Tracker(rules, swarms=swarms, whitelist=whitelist, blacklist=blacklist, keys=keys)


MakeTracker = Callable[[Rules], Tracker]


def announce(tracker: Tracker, peer: Peer, *, num_want: int | None = None, at_most: int = 1000) -> SwarmView:
    return tracker.announce(
        INFO_HASH, peer.endpoint, peer, num_want=num_want, at_most=at_most, families=Families.IPV4, now_ms=0
    )


def peers_of(tracker: Tracker, make_peer: MakePeer, *, num_want: int | None, at_most: int = 1000) -> int:
    """How many peers a client gets in a swarm of 1,200 others."""
    for number in range(1200):
        announce(tracker, make_peer(number), num_want=0)
    view = announce(tracker, make_peer(1200), num_want=num_want, at_most=at_most)
    return len(view.peers_ipv4) // 6


@pytest.mark.clause("5.4.12")
@pytest.mark.parametrize("key", [None, KEY, "nonsense"])
def test_a_public_tracker_admits_everybody(make_tracker: MakeTracker, key: str | None) -> None:
    make_tracker(PUBLIC).authenticate(key, 0)


def test_a_private_tracker_asks_for_a_key(make_tracker: MakeTracker) -> None:
    with pytest.raises(KeyMissing, match=r"^Missing authentication key param for private tracker\.$"):
        make_tracker(PRIVATE).authenticate(None, 0)


def test_a_private_tracker_refuses_an_unknown_key(make_tracker: MakeTracker) -> None:
    with pytest.raises(KeyUnknown):
        make_tracker(PRIVATE).authenticate(KEY, 0)


@pytest.mark.clause("5.4.4")
async def test_a_private_tracker_admits_a_key_until_it_expires(make_tracker: MakeTracker, keys: Keys) -> None:
    await keys.add(PeerKey(KEY, valid_until=1000))
    tracker = make_tracker(PRIVATE)
    tracker.authenticate(KEY, 1000)
    with pytest.raises(KeyExpired):
        tracker.authenticate(KEY, 1001)


def test_a_listed_tracker_refuses_a_torrent_that_is_not_listed(
    make_tracker: MakeTracker, swarms: PortableSwarms, make_peer: MakePeer
) -> None:
    expected = f"^The torrent: {INFO_HASH.hex()}, is not whitelisted$"
    with pytest.raises(NotWhitelisted, match=expected):
        announce(make_tracker(LISTED), make_peer(1))
    assert INFO_HASH not in swarms


def test_a_listed_tracker_serves_a_torrent_that_is_listed(
    make_tracker: MakeTracker, whitelist: PortableWhitelist, make_peer: MakePeer
) -> None:
    whitelist.add(INFO_HASH)
    assert announce(make_tracker(LISTED), make_peer(1)).leechers == 1


@pytest.mark.parametrize("rules", [PUBLIC, LISTED])
async def test_a_torrent_of_the_blacklist_is_refused_and_scraped_as_zeros(
    make_tracker: MakeTracker,
    blacklist: Blacklist,
    whitelist: PortableWhitelist,
    make_peer: MakePeer,
    rules: Rules,
) -> None:
    whitelist.add(INFO_HASH)
    tracker = make_tracker(rules)
    announce(tracker, make_peer(1))
    await blacklist.add([BlacklistEntry(INFO_HASH, "why")])
    with pytest.raises(Blacklisted, match=f"^The torrent: {INFO_HASH.hex()}, is blacklisted: why$"):
        announce(tracker, make_peer(1))
    assert tracker.scrape(INFO_HASH) == (0, 0, 0)
    await blacklist.remove(INFO_HASH)
    assert announce(tracker, make_peer(2)).leechers == 1


@pytest.mark.clause("5.5.4")
def test_the_whitelist_means_nothing_to_a_tracker_that_is_not_listed(
    make_tracker: MakeTracker, make_peer: MakePeer
) -> None:
    assert announce(make_tracker(PUBLIC), make_peer(1)).leechers == 1


def test_a_scrape_of_a_torrent_that_is_not_listed_says_zeros(
    make_tracker: MakeTracker, make_peer: MakePeer
) -> None:
    announce(make_tracker(PUBLIC), make_peer(1))
    assert make_tracker(LISTED).scrape(INFO_HASH) == NO_SWARM


@pytest.mark.parametrize("rules", [PUBLIC, LISTED])
def test_a_scrape_says_what_the_swarm_has(
    make_tracker: MakeTracker, whitelist: PortableWhitelist, make_peer: MakePeer, rules: Rules
) -> None:
    whitelist.add(INFO_HASH)
    tracker = make_tracker(rules)
    announce(tracker, make_peer(1))
    announce(tracker, make_peer(2, left=0))
    announce(tracker, make_peer(3, left=0))
    assert tracker.scrape(INFO_HASH) == SwarmCounts(seeders=2, completed=0, leechers=1)


def test_a_scrape_of_an_unknown_torrent_makes_none(make_tracker: MakeTracker, swarms: PortableSwarms) -> None:
    assert (make_tracker(PUBLIC).scrape(INFO_HASH), INFO_HASH in swarms) == (NO_SWARM, False)


@pytest.mark.clause("4.3.5", "12.5.3")
@pytest.mark.parametrize(
    ("max_peers", "num_want", "at_most", "expected"),
    [
        (74, None, 1000, 74),
        (74, 0, 1000, 0),
        (74, 1, 1000, 1),
        (74, 75, 1000, 74),
        (1000, None, 1000, 74),
        (1000, 1000, 1000, 1000),
        (1000, 10**9, 1000, 1000),
        (1000, 10**9, 242, 242),
        (10, None, 1000, 10),
        (10, None, 5, 5),
    ],
)
def test_a_client_gets_what_it_wants_up_to_the_cap_and_what_fits(
    make_tracker: MakeTracker,
    make_peer: MakePeer,
    max_peers: int,
    num_want: int | None,
    at_most: int,
    expected: int,
) -> None:
    tracker = make_tracker(PUBLIC._replace(max_peers=max_peers))
    assert peers_of(tracker, make_peer, num_want=num_want, at_most=at_most) == expected


@pytest.mark.clause("4.3.9", "12.5.5")
@pytest.mark.parametrize(
    ("client", "external", "expected"),
    [
        ("127.0.0.1", "203.0.113.5", "cb0071051ae1"),
        ("::1", "203.0.113.5", "cb0071051ae1"),
        ("127.8.8.8", "2001:db8::1", "20010db80000000000000000000000011ae1"),
        ("198.51.100.7", "203.0.113.5", "c63364071ae1"),
        ("2001:db8::7", "203.0.113.5", "20010db80000000000000000000000071ae1"),
        ("127.0.0.1", None, "7f0000011ae1"),
    ],
)
def test_a_loopback_client_is_reached_at_the_external_address(
    make_tracker: MakeTracker, client: str, external: str | None, expected: str
) -> None:
    external_address = None if external is None else packed_address(external)
    tracker = make_tracker(PUBLIC._replace(external_address=external_address))
    assert tracker.endpoint(Address(packed_address(client)), 6881).hex() == expected


def test_the_ids_of_the_peers_that_were_handed_out_can_be_asked_for(
    make_tracker: MakeTracker, make_peer: MakePeer
) -> None:
    tracker = make_tracker(PUBLIC)
    for number in range(3):
        announce(tracker, make_peer(number))
    endpoints = announce(tracker, make_peer(3)).peers_ipv4
    assert tracker.peer_ids(INFO_HASH, endpoints, size=6) == [make_peer(n).peer_id for n in range(3)]
