import itertools
import random
import resource
import subprocess
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests import forms
from torrust_py.core import swarms as swarms_module
from torrust_py.core.database import Completed
from torrust_py.core.records import BadRecords, parse_records
from torrust_py.core.swarms import (
    NEW_PEERS_A_LOOK,
    Imported,
    Limits,
    PortableSwarms,
    Pressure,
    Retention,
    Swarms,
    Totals,
)
from torrust_py.core.types import (
    LEFT_UNKNOWN,
    NO_SWARM,
    Address,
    AnnounceEvent,
    Endpoint,
    Families,
    InfoHash,
    Peer,
    PeerId,
    SwarmCounts,
    SwarmPeer,
    SwarmView,
    endpoint_of,
)

INFO_HASH = InfoHash(b"\5" * 20)
OTHER = InfoHash(b"\6" * 20)
NOBODY = SwarmView(0, 0, b"", b"")

STARTED, STOPPED, COMPLETED, NONE = (
    AnnounceEvent.STARTED,
    AnnounceEvent.STOPPED,
    AnnounceEvent.COMPLETED,
    AnnounceEvent.NONE,
)

MakePeer = Callable[..., Peer]
MakeSwarms = Callable[..., Swarms]
Announce = Callable[..., SwarmView]
Members = Callable[..., dict[Endpoint, SwarmPeer]]


def split(endpoints: bytes, size: int) -> list[Endpoint]:
    assert len(endpoints) % size == 0
    return [Endpoint(endpoints[at : at + size]) for at in range(0, len(endpoints), size)]


def chosen(view: SwarmView) -> list[Endpoint]:
    return split(view.peers_ipv4, 6) + split(view.peers_ipv6, 18)


def finish_pass(swarms: Swarms, now_ms: int, *, work: int = 1000) -> None:
    while not swarms.expire(now_ms, work=work):
        pass


def expire_all(swarms: Swarms, now_ms: int) -> None:
    """End the pass that may be under way, and make another without a break."""
    finish_pass(swarms, now_ms)
    finish_pass(swarms, now_ms)


# --- a torrent that is removed


@pytest.mark.parametrize("count", [1, 32, 33, 3000])
def test_a_removed_torrent_is_gone_with_its_peers(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, count: int
) -> None:
    swarms = make_swarms()
    for number in range(count):
        announce(swarms, make_peer(number, ipv6=number % 3 == 0, left=number % 2))
    announce(swarms, make_peer(1), info_hash=OTHER)
    swarms.remove(INFO_HASH)
    assert (INFO_HASH in swarms, swarms.scrape(INFO_HASH)) == (False, NO_SWARM)
    assert swarms.totals() == Totals(torrents=1, seeders=0, completed=0, leechers=1)
    assert announce(swarms, make_peer(2)) == SwarmView(0, 1, b"", b"")


def test_a_kept_counter_outlives_its_peers(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(retention=Retention(keep_completed=True))
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1, left=0, event=COMPLETED))
    swarms.remove(INFO_HASH)
    assert swarms.scrape(INFO_HASH) == SwarmCounts(seeders=0, completed=1, leechers=0)
    assert swarms.take_completed() == [Completed(INFO_HASH, 1)]
    assert announce(swarms, make_peer(2)) == SwarmView(0, 1, b"", b"")


def test_what_was_removed_makes_room(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms(limits=Limits(max_peers=2))
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(2))
    swarms.remove(INFO_HASH)
    announce(swarms, make_peer(3), info_hash=OTHER)
    announce(swarms, make_peer(4), info_hash=OTHER)
    assert len(members(swarms, OTHER)) == 2
    assert swarms.pressure() == Pressure(0, 0, 0)


@pytest.mark.parametrize("keep_completed", [False, True])
@pytest.mark.parametrize("comes_back", [False, True])
def test_a_torrent_is_removed_while_walks_are_within_it(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, keep_completed: bool, comes_back: bool
) -> None:
    swarms = make_swarms(retention=Retention(900, keep_completed=keep_completed))
    for number in range(3000):
        announce(swarms, make_peer(number, ipv6=number % 2 == 0, left=number % 3))
    announce(swarms, make_peer(0, ipv6=True, left=0, event=COMPLETED))
    assert not swarms.expire(2_000, work=300)
    walks = [swarms.export_swarms(), swarms.peers(INFO_HASH), swarms.torrents()]
    for walk in walks:
        next(walk)
    next(walks[0])
    swarms.remove(INFO_HASH)
    if comes_back:
        for number in range(40):
            announce(swarms, make_peer(number))
    for walk in walks:
        for _ in walk:
            pass
    expire_all(swarms, 2_000)
    assert swarms.totals() == Totals(
        torrents=comes_back or keep_completed,
        seeders=0,
        completed=keep_completed,
        leechers=40 * comes_back,
    )


# --- one announce


def test_the_first_peer_is_told_of_itself_and_of_nobody(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    assert announce(make_swarms(), make_peer(1, left=0)) == SwarmView(1, 0, b"", b"")


def test_a_peer_is_told_of_the_others(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(2, left=0))
    announce(swarms, make_peer(3, ipv6=True))
    view = announce(swarms, make_peer(4, left=0))
    assert (view.seeders, view.leechers) == (2, 2)
    assert set(chosen(view)) == {
        make_peer(1).endpoint,
        make_peer(2).endpoint,
        make_peer(3, ipv6=True).endpoint,
    }


def test_if_all_fit_all_are_handed_out_as_they_stand(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    for number in range(20):
        announce(swarms, make_peer(number, left=int(number < 10)))
    expected = [make_peer(number).endpoint for number in range(20)]
    for receiver in (0, 5, 15, 19):
        asking = make_peer(receiver, left=int(receiver < 10))
        others = [endpoint for endpoint in expected if endpoint != asking.endpoint]
        assert chosen(announce(swarms, asking, num_want=19)) == others


@pytest.mark.clause("5.1.2", "5.2.7")
def test_a_swarm_remembers_what_a_peer_announced_last(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms()
    announce(swarms, make_peer(1, event=STARTED), now_ms=1_000)
    last = make_peer(1, left=2**63 - 1)._replace(
        peer_id=PeerId(b"x" * 20), uploaded=-(2**63), event=COMPLETED
    )
    announce(swarms, last, now_ms=86_399_999)
    assert members(swarms) == {last.endpoint: SwarmPeer(last, updated_ms=86_399_999)}


@pytest.mark.parametrize("count", [1, 24, 25, 300])
@pytest.mark.parametrize("ipv6", [False, True])
def test_a_swarm_of_any_size_remembers_all_its_peers(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members, count: int, ipv6: bool
) -> None:
    swarms = make_swarms()
    peers = [make_peer(number, ipv6=ipv6, left=number % 2) for number in range(count)]
    for peer in peers:
        announce(swarms, peer)
    for peer in reversed(peers):
        announce(swarms, peer._replace(left=1 - peer.left), now_ms=1)
    expected = {peer.endpoint: SwarmPeer(peer._replace(left=1 - peer.left), 1) for peer in peers}
    assert members(swarms) == expected


@pytest.mark.parametrize("size", [6, 18])
def test_an_endpoint_that_lies_across_two_others_is_not_there(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members, size: int
) -> None:
    """Endpoints are searched as bytes, where 1111 1111 and 1122 hold a 1111 in between as well."""
    swarms = make_swarms()
    for one in (b"\1" * size, b"\1" + b"\2" * (size - 1)):
        announce(swarms, make_peer(1)._replace(endpoint=Endpoint(one)))
    across = Endpoint(b"\2" * (size - 1) + b"\1")
    announce(swarms, make_peer(1)._replace(endpoint=Endpoint(b"\1" + b"\3" * (size - 1))))
    announce(swarms, make_peer(1)._replace(endpoint=across, event=STOPPED))
    assert len(members(swarms)) == 3


def test_a_peer_without_a_port_is_answered_but_not_kept(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms()
    announce(swarms, make_peer(1))
    view = announce(swarms, make_peer(2, port=0))
    assert (view, len(members(swarms))) == (SwarmView(0, 1, make_peer(1).endpoint, b""), 1)


def test_a_peer_without_a_port_makes_no_torrent(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    assert (announce(swarms, make_peer(1, port=0)), INFO_HASH in swarms) == (NOBODY, False)


@pytest.mark.parametrize("port", [1, 256, 65280, 65535])
def test_every_other_port_is_kept(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members, port: int
) -> None:
    swarms = make_swarms()
    announce(swarms, make_peer(1, port=port))
    assert set(members(swarms)) == {make_peer(1, port=port).endpoint}


@pytest.mark.clause("5.2.8")
def test_a_peer_that_does_not_know_what_is_left_is_a_leecher(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms()
    view = announce(swarms, make_peer(1, left=LEFT_UNKNOWN))
    [remembered] = members(swarms).values()
    assert (view.seeders, view.leechers, remembered.peer.left) == (0, 1, LEFT_UNKNOWN)


def test_a_stopped_peer_leaves_the_swarm_and_gets_nobody(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms()
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(2, left=0))
    view = announce(swarms, make_peer(1, event=STOPPED))
    assert (view, set(members(swarms))) == (SwarmView(1, 0, b"", b""), {make_peer(2).endpoint})


@pytest.mark.clause("5.2.2")
def test_a_stop_of_a_peer_that_is_not_there_changes_nothing(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    announce(swarms, make_peer(1))
    for stranger in (make_peer(2, event=STOPPED), make_peer(1, ipv6=True, event=STOPPED)):
        assert announce(swarms, stranger) == SwarmView(0, 1, b"", b"")


@pytest.mark.clause("5.2.1")
def test_a_stop_makes_no_torrent(make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce) -> None:
    swarms = make_swarms()
    assert (announce(swarms, make_peer(1, event=STOPPED)), INFO_HASH in swarms) == (NOBODY, False)


@pytest.mark.clause("5.2.3", "5.2.4", "5.2.5", "5.2.6", "12.5.4")
@pytest.mark.parametrize(
    ("events", "completed"),
    [
        ([COMPLETED], 0),
        ([STARTED, COMPLETED], 1),
        ([NONE, COMPLETED], 1),
        ([STARTED, COMPLETED, COMPLETED], 1),
        ([COMPLETED, COMPLETED], 0),
        ([STARTED, COMPLETED, NONE, COMPLETED], 2),
        ([STARTED, COMPLETED, STOPPED, COMPLETED], 1),
        ([STARTED, COMPLETED, STOPPED, STARTED, COMPLETED], 2),
    ],
)
def test_a_torrent_is_finished_when_a_peer_that_is_known_first_says_so(
    make_swarms: MakeSwarms,
    make_peer: MakePeer,
    announce: Announce,
    events: list[AnnounceEvent],
    completed: int,
) -> None:
    swarms = make_swarms()
    for event in events:
        announce(swarms, make_peer(1, left=0, event=event))
    assert (swarms.scrape(INFO_HASH).completed, swarms.totals().completed) == (completed, completed)


@pytest.mark.clause("5.1.3", "5.2.10")
def test_a_peer_is_known_by_its_endpoint_whatever_its_id(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms()
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1, left=0, event=COMPLETED)._replace(peer_id=PeerId(b"x" * 20)))
    announce(swarms, make_peer(1, port=6882))
    assert (swarms.scrape(INFO_HASH), len(members(swarms))) == (SwarmCounts(1, 1, 1), 2)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "num_want", "expected"),
    [
        (100, 100, 74, (37, 37)),
        (100, 100, 75, (38, 37)),
        (100, 10, 74, (64, 10)),
        (10, 100, 74, (10, 64)),
        (100, 0, 74, (74, 0)),
        (0, 100, 74, (0, 74)),
        (10, 10, 74, (10, 10)),
        (100, 100, 1, (1, 0)),
        (0, 100, 1, (0, 1)),
        (100, 100, 0, (0, 0)),
    ],
)
@pytest.mark.parametrize("receiver_ipv6", [False, True])
def test_both_families_share_what_is_wanted(
    make_swarms: MakeSwarms,
    make_peer: MakePeer,
    announce: Announce,
    ipv4: int,
    ipv6: int,
    num_want: int,
    expected: tuple[int, int],
    receiver_ipv6: bool,
) -> None:
    swarms = make_swarms()
    for number in range(1, ipv4 + 1):
        announce(swarms, make_peer(number), num_want=0)
    for number in range(1, ipv6 + 1):
        announce(swarms, make_peer(number, ipv6=True), num_want=0)
    view = announce(swarms, make_peer(0, ipv6=receiver_ipv6), num_want=num_want)
    assert (len(view.peers_ipv4) // 6, len(view.peers_ipv6) // 18) == expected


@pytest.mark.parametrize("receiver_ipv6", [False, True])
def test_one_family_alone_is_handed_out_if_asked_for(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, receiver_ipv6: bool
) -> None:
    swarms = make_swarms()
    for number in range(1, 4):
        announce(swarms, make_peer(number))
        announce(swarms, make_peer(number, ipv6=True))
    receiver = make_peer(0, ipv6=receiver_ipv6)
    ipv4 = announce(swarms, receiver, families=Families.IPV4)
    ipv6 = announce(swarms, receiver, families=Families.IPV6)
    sizes = [len(ipv4.peers_ipv4), len(ipv4.peers_ipv6), len(ipv6.peers_ipv4), len(ipv6.peers_ipv6)]
    assert sizes == [3 * 6, 0, 0, 3 * 18]


def test_the_peer_ids_behind_an_answer_can_be_asked_for(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    for number in range(60):
        announce(swarms, make_peer(number, ipv6=number % 2 == 1))
    view = announce(swarms, make_peer(60))
    by_endpoint = {peer.endpoint: peer.peer_id for peer in (make_peer(n, ipv6=n % 2 == 1) for n in range(60))}
    for endpoints, size in ((view.peers_ipv4, 6), (view.peers_ipv6, 18)):
        expected = [by_endpoint[endpoint] for endpoint in split(endpoints, size)]
        assert swarms.peer_ids(INFO_HASH, endpoints, size=size) == expected


def test_an_empty_answer_has_no_peer_ids(make_swarms: MakeSwarms) -> None:
    assert make_swarms().peer_ids(INFO_HASH, b"", size=6) == []


def test_a_torrent_that_is_not_there_has_no_peers_and_zeros(
    make_swarms: MakeSwarms, members: Members
) -> None:
    swarms = make_swarms()
    assert (members(swarms), swarms.scrape(INFO_HASH), INFO_HASH in swarms) == ({}, NO_SWARM, False)


# --- time


@pytest.mark.clause("5.3.1")
@pytest.mark.parametrize(
    ("seen_ms", "now_ms", "stays"),
    [
        (0, 900_000, True),
        (0, 900_999, True),
        (0, 901_000, False),
        (999, 900_999, True),
        (999, 901_000, False),
        (1_000, 901_999, True),
        (86_400_000, 87_301_000, False),
        (86_400_000, 0, True),
    ],
)
@pytest.mark.parametrize("left", [0, 1])
def test_a_peer_goes_when_its_timeout_has_fully_passed(
    make_swarms: MakeSwarms,
    make_peer: MakePeer,
    announce: Announce,
    members: Members,
    seen_ms: int,
    now_ms: int,
    stays: bool,
    left: int,
) -> None:
    swarms = make_swarms(retention=Retention(max_peer_timeout=900))
    announce(swarms, make_peer(1, left=left), now_ms=seen_ms)
    finish_pass(swarms, now_ms)
    totals = swarms.totals()
    assert (len(members(swarms)), totals.seeders + totals.leechers) == (int(stays), int(stays))


@pytest.mark.clause("5.3.4")
def test_a_peer_whose_time_is_over_is_handed_out_until_the_pass_comes_to_it(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(retention=Retention(max_peer_timeout=900))
    announce(swarms, make_peer(1))
    before = announce(swarms, make_peer(2), now_ms=5_000_000)
    finish_pass(swarms, 5_000_000)
    after = announce(swarms, make_peer(2), now_ms=5_000_000)
    assert [before.peers_ipv4, after.peers_ipv4] == [make_peer(1).endpoint, b""]


def test_a_peer_that_announces_again_stays(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms(retention=Retention(max_peer_timeout=900))
    for number in range(40):
        announce(swarms, make_peer(number, left=number % 2))
    for number in range(10, 20):
        announce(swarms, make_peer(number, left=1), now_ms=500_000)
    finish_pass(swarms, 1_000_000)
    assert set(members(swarms)) == {make_peer(number).endpoint for number in range(10, 20)}
    assert swarms.totals() == Totals(torrents=1, seeders=0, completed=0, leechers=10)


@pytest.mark.clause("5.3.2", "5.3.3")
@pytest.mark.parametrize(
    ("retention", "completed", "stays"),
    [
        (Retention(remove_peerless=True, keep_completed=False), 1, False),
        (Retention(remove_peerless=True, keep_completed=True), 1, True),
        (Retention(remove_peerless=True, keep_completed=True), 0, False),
        (Retention(remove_peerless=False, keep_completed=False), 0, True),
    ],
)
def test_a_torrent_without_peers_goes_unless_something_keeps_it(
    make_swarms: MakeSwarms,
    make_peer: MakePeer,
    announce: Announce,
    retention: Retention,
    completed: int,
    stays: bool,
) -> None:
    swarms = make_swarms(retention=retention)
    announce(swarms, make_peer(1))
    if completed:
        announce(swarms, make_peer(1, event=COMPLETED))
    finish_pass(swarms, 10**9)
    assert (INFO_HASH in swarms, swarms.totals()) == (stays, Totals(int(stays), 0, completed * stays, 0))


def test_a_stopped_peer_s_torrent_goes_with_the_next_pass(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1, event=STOPPED))
    was_there = INFO_HASH in swarms
    finish_pass(swarms, 0)
    assert (was_there, INFO_HASH in swarms) == (True, False)


def test_a_pass_over_nothing_ends_at_once(make_swarms: MakeSwarms) -> None:
    assert make_swarms().expire(0, work=1)


@pytest.mark.parametrize("work", [1, 100, 256, 1000])
def test_a_slice_of_a_pass_does_about_as_much_as_it_is_told(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, work: int
) -> None:
    swarms = make_swarms()
    for number in range(3000):
        announce(swarms, make_peer(number), num_want=0)
    left, removed = 3000, []
    while not swarms.expire(10**9, work=work):
        removed.append(left - swarms.totals().leechers)
        left = swarms.totals().leechers
    assert swarms.totals().leechers == 0
    assert all(work <= each < work + 256 for each in removed[:-1])


def test_a_pass_goes_on_after_most_of_a_swarm_has_left(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms()
    for number in range(600):
        announce(swarms, make_peer(number), num_want=0, now_ms=number % 2 * 10**9)
    swarms.expire(10**9, work=1)
    for number in range(10, 600):
        announce(swarms, make_peer(number, event=STOPPED))
    finish_pass(swarms, 10**9)
    assert set(members(swarms)) == {make_peer(number).endpoint for number in range(1, 10, 2)}


@pytest.mark.parametrize("seed", range(20))
def test_a_pass_in_slices_among_other_changes_takes_what_is_overdue_and_nothing_else(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members, seed: int
) -> None:
    """Big and small swarms; between slices peers come, go, change roles, and torrents are evicted."""
    randomness = random.Random(seed)
    swarms = make_swarms(
        limits=Limits(max_torrents=40),
        retention=Retention(max_peer_timeout=100),
        random=randomness.random,
    )
    torrents = [InfoHash(bytes([number]) * 20) for number in range(40)]
    seen: dict[tuple[InfoHash, Endpoint], int] = {}

    def show_up(info_hash: InfoHash, number: int, now_ms: int, event: AnnounceEvent = NONE) -> None:
        peer = make_peer(number, ipv6=randomness.random() < 0.4, left=randomness.randrange(2), event=event)
        announce(swarms, peer, info_hash=info_hash, num_want=0, now_ms=now_ms)
        seen[info_hash, peer.endpoint] = now_ms if event is not STOPPED else -(10**9)

    for number in range(700):
        show_up(torrents[0], number, randomness.choice([0, 150_000]))
    for info_hash in torrents[1:]:
        show_up(info_hash, 1, randomness.choice([0, 150_000]))
    while not swarms.expire(200_000, work=1):
        for _ in range(3):
            event = randomness.choice([NONE, NONE, STARTED, STOPPED])
            show_up(torrents[0], randomness.randrange(900), 200_000, event)
        show_up(InfoHash(randomness.randbytes(20)), 1, 200_000)
    must_stay = {endpoint for (info_hash, endpoint), at in seen.items()
                 if info_hash == torrents[0] and at >= 100_000}  # fmt: skip
    assert must_stay <= set(members(swarms, torrents[0]))
    finish_pass(swarms, 200_000)
    assert set(members(swarms, torrents[0])) == must_stay
    assert all(
        seen[info_hash, endpoint] >= 100_000
        for info_hash in torrents
        for endpoint in members(swarms, info_hash)
    )
    assert swarms.totals() == counted(swarms)


def counted(swarms: Swarms) -> Totals:
    """The totals by a walk."""
    info_hashes = [info_hash for step in swarms.torrents() for info_hash in step]
    scraped = [swarms.scrape(info_hash) for info_hash in info_hashes]
    peers = [one.peer for info_hash in info_hashes for step in swarms.peers(info_hash) for one in step]
    seeders = sum(peer.left == 0 for peer in peers)
    assert len(set(info_hashes)) == len(info_hashes)
    assert sum(counts.seeders for counts in scraped) == seeders
    assert sum(counts.leechers for counts in scraped) == len(peers) - seeders
    completed = sum(counts.completed for counts in scraped)
    return Totals(len(info_hashes), seeders, completed, len(peers) - seeders)


# --- limits


@pytest.mark.parametrize(
    "limits", [Limits(max_torrents=50), Limits(max_peers=60), Limits(max_torrents=50, max_peers=60)]
)
def test_a_flood_of_random_torrents_evicts_itself(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members, limits: Limits
) -> None:
    randomness = random.Random(1)
    swarms = make_swarms(limits=limits, random=randomness.random)
    own = [InfoHash(bytes([number]) * 20) for number in range(20)]
    for info_hash in own:
        announce(swarms, make_peer(1), info_hash=info_hash)
        announce(swarms, make_peer(2, left=0), info_hash=info_hash)
    room = 30 if limits.max_torrents and not limits.max_peers else 20
    for number in range(2000):
        announce(swarms, make_peer(number), info_hash=InfoHash(randomness.randbytes(20)))
        totals = swarms.totals()
        assert totals.torrents <= (limits.max_torrents or 10**9)
        assert totals.seeders + totals.leechers <= (limits.max_peers or 10**9)
    assert [len(members(swarms, info_hash)) for info_hash in own] == [2] * 20
    pressure = swarms.pressure()
    assert pressure.replaced_peers == 0
    assert pressure.evicted_torrents + pressure.unstored == 2000 - room
    assert pressure.unstored < 200
    assert swarms.totals() == counted(swarms)


def test_a_swarm_that_clients_announce_to_again_outlives_a_flood(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    randomness = random.Random(1)
    swarms = make_swarms(limits=Limits(max_torrents=50), random=randomness.random)
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1))
    for number in range(2000):
        announce(swarms, make_peer(number), info_hash=InfoHash(randomness.randbytes(20)))
    assert swarms.scrape(INFO_HASH).leechers == 1


def test_a_new_torrent_is_answered_but_not_stored_where_all_others_are_used(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(limits=Limits(max_torrents=1))
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(2))
    view = announce(swarms, make_peer(3), info_hash=OTHER)
    assert (view, OTHER in swarms, swarms.pressure()) == (NOBODY, False, Pressure(0, 0, 1))


@pytest.mark.parametrize("limits", [Limits(max_peers=4), Limits(max_peers_per_torrent=4)])
@pytest.mark.parametrize("ipv6", [False, True])
def test_a_new_peer_of_a_full_swarm_replaces_one_of_its_family(
    make_swarms: MakeSwarms,
    make_peer: MakePeer,
    announce: Announce,
    members: Members,
    limits: Limits,
    ipv6: bool,
) -> None:
    swarms = make_swarms(limits=limits)
    for number in range(2):
        announce(swarms, make_peer(number, left=0))
        announce(swarms, make_peer(number, ipv6=True))
    view = announce(swarms, make_peer(9, ipv6=ipv6))
    sizes = [len(endpoint) for endpoint in members(swarms)]
    assert (sizes.count(6), sizes.count(18)) == (2, 2)
    assert make_peer(9, ipv6=ipv6).endpoint in members(swarms)
    assert (view.seeders + view.leechers, len(chosen(view))) == (4, 3)
    assert swarms.pressure() == Pressure(replaced_peers=1, evicted_torrents=0, unstored=0)


def test_without_memory_to_spare_a_new_peer_replaces_another(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = make_swarms()
    for number in range(2):
        announce(swarms, make_peer(number))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + NEW_PEERS_A_LOOK * 1024, limits[1]))
    try:
        for number in range(2, NEW_PEERS_A_LOOK + 3):
            announce(swarms, make_peer(number))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    pressure, stored = swarms.pressure(), len(members(swarms))
    assert (pressure.is_short_of_memory, pressure.replaced_peers, stored) == (True, 3, NEW_PEERS_A_LOOK)
    for number in range(NEW_PEERS_A_LOOK + 3, 3 * NEW_PEERS_A_LOOK):
        announce(swarms, make_peer(number))
    assert not swarms.pressure().is_short_of_memory
    assert len(members(swarms)) > stored


def address_space() -> int:
    """Bytes that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_new_peer_replaces_one_of_the_other_family_if_its_own_has_none(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members, ipv6: bool
) -> None:
    swarms = make_swarms(limits=Limits(max_peers_per_torrent=2))
    announce(swarms, make_peer(9, ipv6=ipv6))
    announce(swarms, make_peer(9, ipv6=ipv6, event=STOPPED))
    for number in range(2):
        announce(swarms, make_peer(number, ipv6=not ipv6))
    announce(swarms, make_peer(9, ipv6=ipv6))
    assert sorted(len(endpoint) for endpoint in members(swarms)) == [6, 18]


def test_every_peer_of_a_full_swarm_is_replaced_equally_often(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    replaced = dict.fromkeys(range(10), 0)
    randomness = random.Random(1)
    for _ in range(300):
        swarms = make_swarms(limits=Limits(max_peers=10), random=randomness.random)
        for number in range(10):
            announce(swarms, make_peer(number, left=number % 2), num_want=0)
        announce(swarms, make_peer(10), num_want=0)
        [gone] = [number for number in range(10) if make_peer(number).endpoint not in members(swarms)]
        replaced[gone] += 1
    assert sum((times - 30) ** 2 / 30 for times in replaced.values()) < 40  # chi-square, 9 degrees: 1e-5


def test_a_peer_that_is_known_replaces_nobody(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(limits=Limits(max_torrents=1, max_peers=2, max_peers_per_torrent=2))
    for _ in range(3):
        announce(swarms, make_peer(1))
        announce(swarms, make_peer(2, left=0))
    assert (swarms.totals(), swarms.pressure()) == (Totals(1, 1, 0, 1), Pressure(0, 0, 0))


def test_a_torrent_that_lost_its_peers_counts_as_new(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(limits=Limits(max_peers=1))
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1, event=STOPPED))
    announce(swarms, make_peer(2), info_hash=OTHER)
    view = announce(swarms, make_peer(1))
    assert (view.leechers, OTHER in swarms, swarms.pressure()) == (1, False, Pressure(0, 1, 0))


def test_a_torrent_that_lost_its_peers_does_not_evict_itself(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(limits=Limits(max_torrents=1), retention=Retention(remove_peerless=False))
    announce(swarms, make_peer(1))
    finish_pass(swarms, 10**9)
    view = announce(swarms, make_peer(1))
    assert (view, INFO_HASH in swarms, swarms.pressure()) == (NOBODY, True, Pressure(0, 0, 1))


def test_a_torrent_without_peers_makes_no_room_for_a_peer(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(limits=Limits(max_peers=1), retention=Retention(remove_peerless=False))
    announce(swarms, make_peer(1), info_hash=OTHER)
    finish_pass(swarms, 10**9)
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1), info_hash=InfoHash(b"\7" * 20))
    assert (OTHER in swarms, swarms.pressure()) == (True, Pressure(0, 0, 1))


# --- across restarts


def test_restored_torrents_have_their_counters_and_no_peers(
    make_swarms: MakeSwarms, members: Members
) -> None:
    swarms = make_swarms()
    assert swarms.restore([Completed(INFO_HASH, 7), Completed(OTHER, 3)]) == 2
    assert (swarms.scrape(INFO_HASH), members(swarms)) == (SwarmCounts(0, 7, 0), {})
    assert swarms.totals() == Totals(torrents=2, seeders=0, completed=10, leechers=0)


def test_of_two_restored_counters_of_one_torrent_the_higher_counts(make_swarms: MakeSwarms) -> None:
    swarms = make_swarms()
    rows = [Completed(INFO_HASH, 3), Completed(INFO_HASH, 7), Completed(INFO_HASH, 5)]
    assert (swarms.restore(rows), swarms.scrape(INFO_HASH).completed) == (3, 7)
    assert swarms.totals() == counted(swarms) == Totals(torrents=1, seeders=0, completed=7, leechers=0)


def test_restored_torrents_leave_half_of_the_room_to_others(make_swarms: MakeSwarms) -> None:
    swarms = make_swarms(limits=Limits(max_torrents=4))
    rows = [Completed(InfoHash(bytes([number]) * 20), 1) for number in range(5)]
    assert (swarms.restore(rows), swarms.totals().torrents) == (2, 2)


def test_a_restored_torrent_is_not_evicted(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(limits=Limits(max_torrents=1))
    swarms.restore([Completed(INFO_HASH, 7)])
    announce(swarms, make_peer(1), info_hash=OTHER)
    assert (INFO_HASH in swarms, OTHER in swarms) == (True, False)


def test_counters_that_changed_are_told_once(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(retention=Retention(keep_completed=True))
    swarms.restore([Completed(INFO_HASH, 7), Completed(OTHER, 3)])
    for number in range(2):
        announce(swarms, make_peer(number))
        announce(swarms, make_peer(number, event=COMPLETED))
    assert (swarms.take_completed(), swarms.take_completed()) == ([Completed(INFO_HASH, 9)], [])


def test_counters_that_nobody_keeps_are_not_noted(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms(retention=Retention(keep_completed=False))
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1, event=COMPLETED))
    assert swarms.take_completed() == []


# --- steps


def test_many_torrents_are_listed_in_steps_each_once(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    expected = [InfoHash(number.to_bytes(20)) for number in range(5000)]
    for info_hash in expected:
        announce(swarms, make_peer(1), info_hash=info_hash)
    steps = list(swarms.torrents())
    assert len(steps) > 1
    assert sorted(info_hash for step in steps for info_hash in step) == expected


def test_torrents_that_stay_are_listed_though_others_go_between_the_steps(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    torrents = [InfoHash(number.to_bytes(20)) for number in range(5000)]
    for number, info_hash in enumerate(torrents):
        announce(swarms, make_peer(1), info_hash=info_hash, now_ms=number % 3 * 10**6)
    listed = set()
    for step in swarms.torrents():
        listed.update(step)
        swarms.expire(2 * 10**6, work=3000)
    assert {info_hash for number, info_hash in enumerate(torrents) if number % 3 == 2} <= listed


def test_the_peers_of_a_big_swarm_are_listed_in_steps(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    for number in range(600):
        announce(swarms, make_peer(number, ipv6=number % 2 == 0), num_want=0)
    steps = list(swarms.peers(INFO_HASH))
    assert (len(steps) >= 4, sum(map(len, steps))) == (True, 600)


def test_peers_that_leave_between_the_steps_do_not_hide_others(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = make_swarms()
    for number in range(600):
        announce(swarms, make_peer(number), num_want=0)
    listed: set[Endpoint] = set()
    for step in swarms.peers(INFO_HASH):
        listed.update(one.peer.endpoint for one in step)
        for number in range(300):
            announce(swarms, make_peer(number, event=STOPPED))
    assert {make_peer(number).endpoint for number in range(300, 600)} <= listed


# --- export and import


def exported(swarms: Swarms) -> bytes:
    return b"".join(step.records for step in swarms.export_swarms())


def contents(swarms: Swarms) -> dict[InfoHash, tuple[SwarmCounts, list[SwarmPeer]]]:
    info_hashes = [info_hash for step in swarms.torrents() for info_hash in step]
    return {
        info_hash: (
            swarms.scrape(info_hash),
            sorted(peer for step in swarms.peers(info_hash) for peer in step),
        )
        for info_hash in info_hashes
    }


def crowd(make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, **options: object) -> Swarms:
    """A store of torrents of every kind and size."""
    swarms = make_swarms(**options)
    for number, size in enumerate([1, 2, 3, 24, 40, 1024, 1025, 3000]):
        for peer in range(size):
            one = make_peer(peer, left=peer % 3 - 1, ipv6=peer % 7 == 6, event=(NONE, STARTED)[peer % 2])
            announce(swarms, one, info_hash=InfoHash(number.to_bytes(20)), now_ms=50_000 + 7 * peer)
    for number in range(8, 600):
        announce(swarms, make_peer(number), info_hash=InfoHash(number.to_bytes(20)), now_ms=50_000)
    announce(swarms, make_peer(8, event=COMPLETED), info_hash=InfoHash((8).to_bytes(20)), now_ms=50_000)
    announce(swarms, make_peer(9, event=STOPPED), info_hash=InfoHash((9).to_bytes(20)), now_ms=50_000)
    swarms.restore([Completed(OTHER, 2**32 - 1)])
    return swarms


def test_another_store_takes_in_all_that_one_exports(
    form: str, make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = crowd(make_swarms, make_peer, announce)
    for reader in (form, *(other for other in forms.FORMS if other != form)):
        taken = forms.make_swarms(reader)()
        imported = taken.import_swarms(exported(swarms), shift=0, now_ms=60_000 + 7 * 3000)
        totals = swarms.totals()
        assert imported == Imported(peers=totals.seeders + totals.leechers)
        assert contents(taken) == contents(swarms)
        assert taken.totals() == totals


def test_an_export_counts_what_it_writes(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms = crowd(make_swarms, make_peer, announce)
    steps = [*swarms.export_swarms()]
    totals = swarms.totals()
    assert sum(step.torrents for step in steps) == totals.torrents
    assert sum(step.peers for step in steps) == totals.seeders + totals.leechers
    for step in steps:
        records = [*parse_records(step.records)]
        assert step.torrents == sum(record.is_first_part for record in records)
        assert step.peers == sum(record.ipv4.total + record.ipv6.total for record in records)


def test_an_export_goes_in_steps(make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce) -> None:
    steps = [step for step in crowd(make_swarms, make_peer, announce).export_swarms() if step.records]
    assert len(steps) > 5
    assert max(len(step.records) for step in steps) <= 2**17


@pytest.mark.parametrize("seed", range(10))
def test_an_export_misses_nobody_who_stays(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, seed: int
) -> None:
    """Whatever comes, goes and changes its role between the steps."""
    chance = random.Random(seed)
    swarms = crowd(make_swarms, make_peer, announce)
    staying = {
        (info_hash, one.peer.endpoint) for info_hash, (_, peers) in contents(swarms).items() for one in peers
    }
    counters = {info_hash: counts.completed for info_hash, (counts, _) in contents(swarms).items()}
    others = chance.sample(sorted(staying), len(staying) // 3)
    staying -= set(others)
    new = itertools.count(100_000)
    records = []
    for number, step in enumerate(swarms.export_swarms()):
        records.append(step.records)
        if number % 5:
            continue
        for _ in range(60):
            info_hash, endpoint = others.pop() if others else (OTHER, Endpoint(b"\1" * 6))
            leaving = make_peer(1, event=STOPPED)._replace(endpoint=endpoint)
            announce(swarms, leaving, info_hash=info_hash, now_ms=60_000)
            announce(swarms, make_peer(next(new)), info_hash=info_hash, now_ms=60_000)
            torrent, size = chance.choice([(5, 1024), (6, 1025), (7, 3000)])
            changing = chance.randrange(size)
            endpoint = make_peer(changing, ipv6=changing % 7 == 6).endpoint
            changed = InfoHash(torrent.to_bytes(20))
            if (changed, endpoint) in staying:
                peer = make_peer(changing, left=chance.choice([0, 1]))._replace(endpoint=endpoint)
                announce(swarms, peer, info_hash=changed, now_ms=60_000)
        for _ in range(20):
            announce(swarms, make_peer(1), info_hash=InfoHash(next(new).to_bytes(20)), now_ms=60_000)
        swarms.expire(60_000, work=50)
    taken = make_swarms()
    taken.import_swarms(b"".join(records), shift=0, now_ms=90_000)
    there = {
        (info_hash, one.peer.endpoint) for info_hash, (_, peers) in contents(taken).items() for one in peers
    }
    assert staying <= there
    for info_hash in {info_hash for info_hash, _ in staying}:
        assert taken.scrape(info_hash).completed == counters[info_hash]


@pytest.mark.parametrize(
    ("shift", "now_ms", "updated_ms"),
    [
        (0, 8_000, 7_999),
        (100, 107_999, 107_999),
        (100, 107_998, 107_998),  # it was seen after now, so now
        (100, 50_000, 50_000),
        (-7, 900_000, 999),
        (2**39, 907_998, 907_998),
    ],
)
def test_a_peer_keeps_its_time_but_is_never_of_the_future(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, shift: int, now_ms: int, updated_ms: int
) -> None:
    swarms, taken = make_swarms(), make_swarms(retention=Retention(900))
    announce(swarms, make_peer(1), now_ms=7_999)
    assert taken.import_swarms(exported(swarms), shift=shift, now_ms=now_ms) == Imported(peers=1)
    [[peer]] = taken.peers(INFO_HASH)
    assert peer.updated_ms == updated_ms


@pytest.mark.parametrize(("now_ms", "is_there"), [(107_999, True), (108_000, False), (10**10, False)])
def test_a_peer_whose_time_is_over_is_not_taken_in(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, now_ms: int, is_there: bool
) -> None:
    swarms, taken = make_swarms(), make_swarms(retention=Retention(100))
    announce(swarms, make_peer(1), now_ms=7_000)
    imported = taken.import_swarms(exported(swarms), shift=0, now_ms=now_ms)
    assert imported == Imported(peers=is_there, expired_peers=not is_there)
    assert (INFO_HASH in taken) is is_there


def test_a_time_before_the_origin_is_over(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms, taken = make_swarms(), make_swarms(retention=Retention(2**32 - 1))
    announce(swarms, make_peer(1), now_ms=7_999)
    assert taken.import_swarms(exported(swarms), shift=-8, now_ms=9_000) == Imported(expired_peers=1)


@pytest.mark.parametrize(
    ("retention", "completed", "is_kept"),
    [
        (Retention(100), 1, False),
        (Retention(100, remove_peerless=False), 0, True),
        (Retention(100, keep_completed=True), 0, False),
        (Retention(100, keep_completed=True), 1, True),
    ],
)
def test_a_torrent_whose_peers_are_gone_stays_if_something_keeps_it(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce,
    retention: Retention, completed: int, is_kept: bool,
) -> None:  # fmt: skip
    swarms, taken = make_swarms(), make_swarms(retention=retention)
    announce(swarms, make_peer(1), now_ms=7_000)
    swarms.restore([Completed(INFO_HASH, completed)])
    taken.import_swarms(exported(swarms), shift=0, now_ms=900_000)
    assert (INFO_HASH in taken) is is_kept


def test_a_torrent_without_peers_is_there_until_the_next_pass(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms, taken = make_swarms(), make_swarms()
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1, event=STOPPED))
    taken.import_swarms(exported(swarms), shift=0, now_ms=0)
    assert INFO_HASH in taken
    expire_all(taken, 0)
    assert INFO_HASH not in taken


@pytest.mark.parametrize(("stored", "written", "counted"), [(7, 3, 7), (3, 7, 7), (0, 7, 7)])
def test_of_two_completed_counters_the_higher_counts(
    make_swarms: MakeSwarms, stored: int, written: int, counted: int
) -> None:
    retention = Retention(keep_completed=True)
    swarms, taken = make_swarms(retention=retention), make_swarms(retention=retention)
    swarms.restore([Completed(INFO_HASH, written)])
    taken.restore([Completed(INFO_HASH, stored)])
    taken.import_swarms(exported(swarms), shift=0, now_ms=0)
    assert taken.scrape(INFO_HASH).completed == taken.totals().completed == counted
    # What the database does not have is to be saved.
    assert taken.take_completed() == ([Completed(INFO_HASH, written)] if written > stored else [])


@pytest.mark.parametrize(
    ("there", "comes", "stays"), [(5_000, 6_000, 6_000), (6_000, 5_000, 6_000), (1, 2, 2)]
)
@pytest.mark.parametrize("left", [0, 1])
def test_the_newer_of_two_announces_of_a_peer_stays(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce,
    there: int, comes: int, stays: int, left: int,
) -> None:  # fmt: skip
    swarms, taken = make_swarms(), make_swarms()
    announce(taken, make_peer(1, left=left), now_ms=there)
    announce(taken, make_peer(2), now_ms=there)
    announce(swarms, make_peer(1, left=1 - left), now_ms=comes)
    taken.import_swarms(exported(swarms), shift=0, now_ms=10_000)
    [one] = [peer for step in taken.peers(INFO_HASH) for peer in step if peer.peer.uploaded == 1]
    assert (one.updated_ms, one.peer.left) == (stays, 1 - left if stays == comes else left)
    assert counted(taken) == taken.totals()


@pytest.mark.parametrize(
    ("limits", "imported", "totals"),
    [
        (Limits(max_torrents=3), Imported(peers=6, torrents_left_out=3), (3, 6)),
        (Limits(max_peers=5), Imported(peers=5, peers_left_out=1, torrents_left_out=3), (3, 5)),
        (Limits(max_peers=4), Imported(peers=4, torrents_left_out=4), (2, 4)),
        (Limits(max_peers_per_torrent=1), Imported(peers=6, peers_left_out=6), (6, 6)),
    ],
)
def test_no_more_is_taken_in_than_the_limits_allow(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce,
    limits: Limits, imported: Imported, totals: tuple[int, int],
) -> None:  # fmt: skip
    swarms, taken = make_swarms(), make_swarms(limits=limits)
    for number in range(6):
        for ipv6 in (False, True):
            announce(swarms, make_peer(number, ipv6=ipv6), info_hash=InfoHash(number.to_bytes(20)))
    assert taken.import_swarms(exported(swarms), shift=0, now_ms=0) == imported
    assert (taken.totals().torrents, taken.totals().leechers) == totals


def test_torrents_without_peers_leave_half_of_the_room_to_others(make_swarms: MakeSwarms) -> None:
    swarms, taken = make_swarms(), make_swarms(limits=Limits(max_torrents=10))
    swarms.restore([Completed(InfoHash(number.to_bytes(20)), 1) for number in range(10)])
    assert taken.import_swarms(exported(swarms), shift=0, now_ms=0) == Imported(torrents_left_out=5)


def test_a_torrent_that_one_announce_has_touched_is_still_evicted(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce
) -> None:
    swarms, taken = make_swarms(), make_swarms(limits=Limits(max_torrents=2))
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1))
    announce(swarms, make_peer(1), info_hash=OTHER)
    taken.import_swarms(exported(swarms), shift=0, now_ms=0)
    for number in range(50):
        announce(taken, make_peer(1), info_hash=InfoHash(number.to_bytes(20)))
    assert (INFO_HASH in taken, OTHER in taken) == (True, False)


@pytest.mark.parametrize("cut", [1, 57, 100, 1000])
def test_of_bad_records_nothing_is_taken_in(
    make_swarms: MakeSwarms, make_peer: MakePeer, announce: Announce, cut: int
) -> None:
    records = exported(crowd(make_swarms, make_peer, announce))
    taken = make_swarms()
    with pytest.raises(BadRecords):
        taken.import_swarms(records[:-cut], shift=0, now_ms=60_000)
    assert taken.totals() == Totals(0, 0, 0, 0)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_records_are_refused_or_taken_in_alike(form: str, data: st.DataObject) -> None:
    swarms = forms.make_swarms(form)()
    for number in range(6):
        endpoint = Endpoint(bytes([number + 1]) * (6 if number % 2 else 18))
        peer = Peer(endpoint, PeerId(bytes(20)), 1, 2, number % 3, STARTED)
        swarms.announce(
            InfoHash(bytes([number % 2]) * 20),
            endpoint,
            peer,
            num_want=0,
            families=Families.BOTH,
            now_ms=5_000,
        )
    records = bytearray(exported(swarms))
    for _ in range(data.draw(st.integers(1, 3))):
        records[data.draw(st.integers(0, len(records) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(records), len(records) - 1]))
    outcomes = []
    for reader in dict.fromkeys(["portable", form]):
        taken = forms.make_swarms(reader)()
        try:
            became: object = taken.import_swarms(bytes(records[:end]), shift=3, now_ms=9_000)
        except BadRecords as error:
            became = str(error)
        outcomes.append((became, contents(taken), taken.totals()))
        expire_all(taken, 10_000_000)
    assert outcomes[0] == outcomes[-1]


# --- memory runs out


class ShortBytes(bytearray):
    """Cannot grow."""

    def __iadd__(self, more: object) -> NoReturn:
        raise MemoryError


class ShortArray(array):  # type: ignore[type-arg]  # cannot be subscripted before Python 3.12
    """Cannot grow."""

    def append(self, more: int) -> NoReturn:
        raise MemoryError


class ShortKey(bytes):
    """Cannot be put into a dictionary that was asked for it before."""

    asked = False

    def __hash__(self) -> int:
        if self.asked:
            raise MemoryError
        self.asked = True
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


@pytest.fixture
def _memory_comes_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was short of it counts as full until it looks again."""
    monkeypatch.setattr(swarms_module, "NEW_PEERS_A_LOOK", 1)


def half_of(swarms: PortableSwarms) -> swarms_module._Half:
    half = swarms._swarms[INFO_HASH].ipv4  # the only way to let one of its parts be short of memory
    assert half is not None
    return half


@pytest.mark.parametrize("count", [2, 24, 40])
@pytest.mark.parametrize("part", ["_details", "_endpoints", "_seen"])
@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.usefixtures("_memory_comes_back_at_once")
def test_a_peer_for_whom_memory_is_short_leaves_the_swarm_as_it_was(  # its roles, its order, its index
    make_peer: MakePeer, announce: Announce, members: Members, count: int, part: str, left: int
) -> None:
    swarms = PortableSwarms()
    for number in range(count):
        announce(swarms, make_peer(number, left=number % 2))
    before, half = members(swarms), half_of(swarms)
    whole = getattr(half, part)
    setattr(half, part, ShortArray("I", whole) if part == "_seen" else ShortBytes(whole))
    with pytest.raises(MemoryError):
        announce(swarms, make_peer(count, left=left))
    assert (members(swarms), swarms.totals()) == (before, counted(swarms))
    setattr(
        half, part, array("I", getattr(half, part)) if part == "_seen" else bytearray(getattr(half, part))
    )
    still_works(swarms, make_peer, announce, count)


@pytest.mark.usefixtures("_memory_comes_back_at_once")
def test_memory_that_is_short_for_the_first_index_leaves_the_swarm_as_it_was(
    make_peer: MakePeer, announce: Announce, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarms = PortableSwarms()
    for number in range(24):
        announce(swarms, make_peer(number))
    before = members(swarms)
    with monkeypatch.context() as short:
        short.setattr(swarms_module._Half, "_endpoint", raise_memory_error)
        with pytest.raises(MemoryError):
            announce(swarms, make_peer(24))
    assert (members(swarms), swarms.totals()) == (before, counted(swarms))
    still_works(swarms, make_peer, announce, 24)


def raise_memory_error(*_: object) -> NoReturn:
    raise MemoryError


@pytest.mark.usefixtures("_memory_comes_back_at_once")
def test_memory_that_is_short_for_a_key_of_the_index_leaves_the_swarm_as_it_was(
    make_peer: MakePeer, announce: Announce, members: Members
) -> None:
    swarms = PortableSwarms()
    for number in range(30):
        announce(swarms, make_peer(number))
    before = members(swarms)
    peer = make_peer(30)
    with pytest.raises(MemoryError):
        announce(swarms, peer._replace(endpoint=Endpoint(ShortKey(peer.endpoint))))
    assert (members(swarms), swarms.totals()) == (before, counted(swarms))
    still_works(swarms, make_peer, announce, 30)


def test_memory_that_is_short_for_a_new_torrent_leaves_no_trace_of_it(
    make_peer: MakePeer, announce: Announce
) -> None:
    swarms = PortableSwarms()
    with pytest.raises(MemoryError):
        announce(swarms, make_peer(1), info_hash=InfoHash(ShortKey(INFO_HASH)))
    assert (swarms.totals(), counted(swarms)) == (Totals(0, 0, 0, 0), Totals(0, 0, 0, 0))


def still_works(swarms: Swarms, make_peer: MakePeer, announce: Announce, count: int) -> None:
    """Every peer can still be found, also a new one, and stopped."""
    for number in range(count + 1):
        announce(swarms, make_peer(number, left=0))
    assert swarms.totals() == Totals(torrents=1, seeders=count + 1, completed=0, leechers=0)
    for number in range(count + 1):
        announce(swarms, make_peer(number, event=STOPPED))
    assert swarms.totals() == Totals(torrents=1, seeders=0, completed=0, leechers=0)


OUT_OF_MEMORY = """
import resource, sys
from tests.forms import make_swarms
from torrust_py.core.types import AnnounceEvent, Endpoint, Families, InfoHash, Peer, PeerId

def announce(swarms, peer):
    swarms.announce(INFO_HASH, peer.endpoint, peer, num_want=9, families=Families.IPV4, now_ms=10**9)

spare, before, INFO_HASH = int(sys.argv[1]), int(sys.argv[3]), InfoHash(bytes(20))
swarms = make_swarms(sys.argv[2])()
peers = [
    Peer(Endpoint(number.to_bytes(4) + b"\\1\\1"), PeerId(bytes(20)), 0, 0, number % 3, AnnounceEvent.NONE)
    for number in range(60_000 + before)
]
for _ in range(before):
    announce(swarms, peers.pop())
pages = int(open("/proc/self/statm").read().split()[0])
kept, failed, limits = before, 0, resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare, limits[1]))
for peer in peers:
    try:
        announce(swarms, peer)
        kept += 1
    except MemoryError:
        failed += 1
        if failed == 200:
            break
resource.setrlimit(resource.RLIMIT_AS, limits)
there = [one.peer for step in swarms.peers(INFO_HASH) for one in step]
replaced = swarms.pressure().replaced_peers
assert failed + replaced > 0, "memory was short"
assert failed < 200 or before == 1, "it looks before it grows by a step"
assert kept <= len(there) + replaced <= kept + failed
assert len(there) == len(set(there))
seeders = sum(peer.left == 0 for peer in there)
assert swarms.totals()[1:] == (seeders, 0, len(there) - seeders)
for peer in there:
    announce(swarms, peer._replace(event=AnnounceEvent.STOPPED))
assert swarms.totals()[1:] == (0, 0, 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spare", "before"),
    [(0, 1), (300_000, 1), (1_000_000, 1), (2_500_000, 1), (10_000_000, 70_000), (14_000_000, 70_000)],
)
def test_a_process_without_memory_loses_announces_and_nothing_else(
    spare: int, before: int, form: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, str(spare), form, str(before)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


# --- everything at once, against a naive store

TIMEOUT = 100
_TORRENTS = [InfoHash(bytes([number]) * 20) for number in range(1, 7)]
_ENDPOINTS = [
    endpoint_of(Address(network + bytes([number])), port)
    for network in (b"\n\0\0", b"\x20\1\r\xb8" + bytes(11))
    for number in range(1, 10)
    for port in (6881, 256)
]
_info_hashes = st.sampled_from(_TORRENTS)
_lefts = st.sampled_from([0, 1, LEFT_UNKNOWN, 2**63 - 1])


@dataclass
class Torrent:
    """What the naive store knows of one."""

    peers: dict[Endpoint, SwarmPeer] = field(default_factory=dict)
    completed: int = 0
    announces: int = 1

    @property
    def seeders(self) -> int:
        return sum(one.peer.left == 0 for one in self.peers.values())

    @property
    def leechers(self) -> int:
        return len(self.peers) - self.seeders


class SwarmsMachine(RuleBasedStateMachine):
    """Where the store chooses at random (whom to replace, to evict, to hand out), its choice is looked up and
    judged; everything else is predicted.
    """

    form = "portable"

    @initialize(
        max_torrents=st.sampled_from([0, 3]),
        max_peers=st.sampled_from([0, 7, 40]),
        max_peers_per_torrent=st.sampled_from([0, 3, 30]),
        remove_peerless=st.booleans(),
        keep_completed=st.booleans(),
        seed=st.integers(0, 2**32),
    )
    def open(
        self,
        *,
        max_torrents: int,
        max_peers: int,
        max_peers_per_torrent: int,
        remove_peerless: bool,
        keep_completed: bool,
        seed: int,
    ) -> None:
        self.limits = Limits(max_torrents, max_peers, max_peers_per_torrent)
        self.retention = Retention(TIMEOUT, remove_peerless=remove_peerless, keep_completed=keep_completed)
        self.swarms = forms.make_swarms(self.form)(
            limits=self.limits, retention=self.retention, random=random.Random(seed).random
        )
        self.torrents: dict[InfoHash, Torrent] = {}
        self.changed: set[InfoHash] = set()
        self.pressure = Pressure(0, 0, 0)
        self.now_ms = 86_400_000

    @rule(
        info_hash=_info_hashes,
        endpoint=st.sampled_from(_ENDPOINTS),
        left=_lefts,
        event=st.sampled_from(AnnounceEvent),
        num_want=st.sampled_from([0, 1, 2, 3, 5, 8, 74]),
        families=st.sampled_from(Families),
        peer_id=st.binary(min_size=20, max_size=20),
        has_port=st.sampled_from([True] * 9 + [False]),
    )
    def announce(
        self,
        *,
        info_hash: InfoHash,
        endpoint: Endpoint,
        left: int,
        event: AnnounceEvent,
        num_want: int,
        families: Families,
        peer_id: bytes,
        has_port: bool,
    ) -> None:
        if not has_port:
            endpoint = Endpoint(endpoint[:-2] + b"\0\0")
        peer = Peer(endpoint, PeerId(peer_id), len(peer_id), num_want, left, event)
        view = self.swarms.announce(
            info_hash, peer.endpoint, peer, num_want=num_want, families=families, now_ms=self.now_ms
        )
        self.apply(info_hash, peer)
        self.check_view(view, info_hash, peer, num_want, families)

    @rule(info_hash=_info_hashes, first=st.integers(0, 60), count=st.integers(20, 40), ipv6=st.booleans())
    def crowd(self, *, info_hash: InfoHash, first: int, count: int, ipv6: bool) -> None:
        """So many that they are indexed, and not all are handed out."""
        for number in range(first, first + count):
            address = Address((b"\xfd" + bytes(14) if ipv6 else b"\xc0\0\2") + bytes([number]))
            peer = Peer(endpoint_of(address, 1), PeerId(bytes(20)), 0, 0, number % 2, NONE)
            view = self.swarms.announce(
                info_hash, peer.endpoint, peer, num_want=9, families=Families.BOTH, now_ms=self.now_ms
            )
            self.apply(info_hash, peer)
            self.check_view(view, info_hash, peer, 9, Families.BOTH)

    @precondition(lambda self: any(torrent.peers for torrent in self.torrents.values()))
    @rule(data=st.data(), event=st.sampled_from([NONE, COMPLETED, STOPPED]), left=_lefts)
    def announce_again(self, *, data: st.DataObject, event: AnnounceEvent, left: int) -> None:
        known = [(info_hash, one.peer) for info_hash, torrent in self.torrents.items()
                 for one in torrent.peers.values()]  # fmt: skip
        info_hash, peer = data.draw(st.sampled_from(known))
        peer = peer._replace(event=event, left=left)
        view = self.swarms.announce(
            info_hash, peer.endpoint, peer, num_want=5, families=Families.BOTH, now_ms=self.now_ms
        )
        self.apply(info_hash, peer)
        self.check_view(view, info_hash, peer, 5, Families.BOTH)

    @rule(milliseconds=st.sampled_from([1, 500, 999, 1000, 30_000, 99_999, 100_001, 101_000]))
    def wait(self, *, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule(work=st.sampled_from([1, 2, 5, 30]))
    def expire_some(self, *, work: int) -> None:
        self.swarms.expire(self.now_ms, work=work)
        for info_hash, torrent in list(self.torrents.items()):
            there = {one.peer.endpoint for step in self.swarms.peers(info_hash) for one in step}
            for endpoint in torrent.peers.keys() - there:
                assert self.is_overdue(torrent.peers.pop(endpoint))
            if info_hash not in self.swarms:
                assert self.is_forgotten(self.torrents.pop(info_hash))

    @rule(work=st.sampled_from([1, 1000]))
    def expire_everything(self, *, work: int) -> None:
        finish_pass(self.swarms, self.now_ms, work=work)
        finish_pass(self.swarms, self.now_ms, work=work)
        for info_hash, torrent in list(self.torrents.items()):
            for endpoint, one in list(torrent.peers.items()):
                if self.is_overdue(one):
                    del torrent.peers[endpoint]
            if self.is_forgotten(torrent):
                del self.torrents[info_hash]

    @rule(info_hash=_info_hashes)
    def remove(self, *, info_hash: InfoHash) -> None:
        self.swarms.remove(info_hash)
        torrent = self.torrents.get(info_hash, Torrent())
        torrent.peers.clear()
        if not (self.retention.keep_completed and torrent.completed):
            self.torrents.pop(info_hash, None)

    @rule(rows=st.lists(st.builds(Completed, _info_hashes, st.integers(0, 9)), max_size=4))
    def restore(self, *, rows: list[Completed]) -> None:
        restored = self.swarms.restore(rows)
        expected = 0
        for info_hash, completed in rows:
            if info_hash not in self.torrents and not 0 < self.limits.max_torrents <= 2 * len(self.torrents):
                self.torrents[info_hash] = Torrent()
            if (torrent := self.torrents.get(info_hash)) is not None:
                expected += 1
                torrent.completed = max(torrent.completed, completed)
                torrent.announces = 2
        assert restored == expected

    @rule()
    def take_completed(self) -> None:
        expected = [Completed(info_hash, self.torrents[info_hash].completed) for info_hash in self.changed]
        assert sorted(self.swarms.take_completed()) == sorted(expected)
        self.changed.clear()

    @rule(shift=st.sampled_from([-86_300, -1, 0, 7]), seconds=st.sampled_from([0, 1, 99, 101]))
    def hand_over(self, *, shift: int, seconds: int) -> None:
        """Another store, without limits, takes in what this one exports."""
        now_ms = max(0, self.now_ms + (shift + seconds) * 1000)
        taken = forms.make_swarms(self.form)(retention=self.retention)
        for step in self.swarms.export_swarms():
            taken.import_swarms(step.records, shift=shift, now_ms=now_ms)
        expected = {}
        for info_hash, torrent in self.torrents.items():
            moved = [SwarmPeer(one.peer, min(now_ms, one.updated_ms + shift * 1000))
                     for one in torrent.peers.values()]  # fmt: skip
            alive = [one for one in moved if one.updated_ms // 1000 >= max(0, now_ms // 1000 - TIMEOUT)]
            left = Torrent({one.peer.endpoint: one for one in alive}, torrent.completed)
            if not (moved and self.is_forgotten(left)):
                counts = SwarmCounts(left.seeders, left.completed, left.leechers)
                expected[info_hash] = counts, sorted(alive)
        assert contents(taken) == expected

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        info_hashes = [info_hash for step in self.swarms.torrents() for info_hash in step]
        assert sorted(info_hashes) == sorted(self.torrents)
        for info_hash in _TORRENTS:
            torrent = self.torrents.get(info_hash, Torrent())
            peers = [one for step in self.swarms.peers(info_hash) for one in step]
            assert sorted(peers) == sorted(torrent.peers.values())
            assert (info_hash in self.swarms) == (info_hash in self.torrents)
            counts = SwarmCounts(torrent.seeders, torrent.completed, torrent.leechers)
            assert self.swarms.scrape(info_hash) == counts
        assert self.swarms.totals() == Totals(
            torrents=len(self.torrents),
            seeders=sum(torrent.seeders for torrent in self.torrents.values()),
            completed=sum(torrent.completed for torrent in self.torrents.values()),
            leechers=sum(torrent.leechers for torrent in self.torrents.values()),
        )
        assert self.swarms.pressure() == self.pressure

    # What the naive store does.

    def apply(self, info_hash: InfoHash, peer: Peer) -> None:
        torrent = self.torrents.get(info_hash)
        if torrent is not None:
            torrent.announces = 2
        if peer.event is STOPPED:
            if torrent is not None:
                torrent.peers.pop(peer.endpoint, None)
            return
        if peer.endpoint.endswith(b"\0\0"):
            return
        if torrent is not None and peer.endpoint in torrent.peers:
            self.count_completed(info_hash, torrent, peer)
        elif torrent is None or not torrent.peers:
            if self.has_no_room() and not self.note_eviction(info_hash):
                return
            torrent = self.torrents.setdefault(info_hash, Torrent())
        elif self.is_full(torrent):
            self.note_replacement(info_hash, torrent, peer)
        torrent.peers[peer.endpoint] = SwarmPeer(peer, self.now_ms)

    def count_completed(self, info_hash: InfoHash, torrent: Torrent, peer: Peer) -> None:
        if peer.event is COMPLETED and torrent.peers[peer.endpoint].peer.event is not COMPLETED:
            torrent.completed += 1
            if self.retention.keep_completed:
                self.changed.add(info_hash)

    def note_eviction(self, info_hash: InfoHash) -> bool:
        """True if the store made room for the torrent; that it may take another's place is judged."""
        gone = [other for other in self.torrents if other not in self.swarms]
        if not gone:
            self.pressure = self.pressure._replace(unstored=self.pressure.unstored + 1)
            return False
        [evicted] = gone
        torrent = self.torrents.pop(evicted)
        assert (evicted != info_hash, torrent.announces) == (True, 1)
        assert torrent.peers or not self.has_no_room_for_peers(len(torrent.peers))
        self.pressure = self.pressure._replace(evicted_torrents=self.pressure.evicted_torrents + 1)
        return True

    def note_replacement(self, info_hash: InfoHash, torrent: Torrent, peer: Peer) -> None:
        there = {one.peer.endpoint for step in self.swarms.peers(info_hash) for one in step}
        [gone] = torrent.peers.keys() - there
        has_own_family = any(len(endpoint) == len(peer.endpoint) for endpoint in torrent.peers)
        assert len(gone) == len(peer.endpoint) or not has_own_family
        del torrent.peers[gone]
        self.pressure = self.pressure._replace(replaced_peers=self.pressure.replaced_peers + 1)

    def has_no_room(self) -> bool:
        return 0 < self.limits.max_torrents <= len(self.torrents) or self.has_no_room_for_peers()

    def has_no_room_for_peers(self, gone: int = 0) -> bool:
        peers = sum(len(torrent.peers) for torrent in self.torrents.values()) + gone
        return 0 < self.limits.max_peers <= peers

    def is_full(self, torrent: Torrent) -> bool:
        per_torrent = self.limits.max_peers_per_torrent
        return self.has_no_room_for_peers() or 0 < per_torrent <= len(torrent.peers)

    def is_overdue(self, one: SwarmPeer) -> bool:
        return self.now_ms // 1000 - one.updated_ms // 1000 > TIMEOUT

    def is_forgotten(self, torrent: Torrent) -> bool:
        is_kept = self.retention.keep_completed and torrent.completed > 0
        return not torrent.peers and self.retention.remove_peerless and not is_kept

    # What the naive store expects of an answer.

    def check_view(
        self, view: SwarmView, info_hash: InfoHash, peer: Peer, num_want: int, families: Families
    ) -> None:
        torrent = self.torrents.get(info_hash, Torrent())
        assert (view.seeders, view.leechers) == (torrent.seeders, torrent.leechers)
        ipv4, ipv6 = split(view.peers_ipv4, 6), split(view.peers_ipv6, 18)
        others = [one.peer for one in torrent.peers.values() if one.peer.endpoint != peer.endpoint]
        others_ipv4 = [one for one in others if len(one.endpoint) == 6 and families is not Families.IPV6]
        others_ipv6 = [one for one in others if len(one.endpoint) == 18 and families is not Families.IPV4]
        if peer.event is STOPPED:
            others_ipv4 = others_ipv6 = []
        self.check_chosen(ipv4, others_ipv4, peer)
        self.check_chosen(ipv6, others_ipv6, peer)
        assert len(ipv4) + len(ipv6) == min(num_want, len(others_ipv4) + len(others_ipv6))
        assert len(ipv4) >= min(num_want // 2, len(others_ipv4))
        assert len(ipv6) >= min(num_want // 2, len(others_ipv6))
        for endpoints, size in ((view.peers_ipv4, 6), (view.peers_ipv6, 18)):
            ids = [torrent.peers[endpoint].peer.peer_id for endpoint in split(endpoints, size)]
            assert self.swarms.peer_ids(info_hash, endpoints, size=size) == ids

    def check_chosen(self, endpoints: Sequence[Endpoint], others: Sequence[Peer], receiver: Peer) -> None:
        is_leecher = {other.endpoint: other.left != 0 for other in others}
        assert len(set(endpoints)) == len(endpoints)
        assert set(endpoints) <= is_leecher.keys()
        if receiver.left == 0:
            leechers = sum(is_leecher[endpoint] for endpoint in endpoints)
            assert leechers == min(len(endpoints), sum(is_leecher.values()))


class NativeSwarmsMachine(SwarmsMachine):
    form = "native"


TestSwarms = pytest.mark.slow(SwarmsMachine.TestCase)
TestSwarms.settings = settings(max_examples=100, stateful_step_count=50)
TestNativeSwarms = pytest.mark.slow(NativeSwarmsMachine.TestCase)
TestNativeSwarms.settings = TestSwarms.settings
