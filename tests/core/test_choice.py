"""Which peers are handed out: among those of one class everyone equally often.

Of m peers a fair choice of k includes each with probability p = k / m. Over n choices the squared deviations
of the counts from n p, each divided by its variance n p (1 - p) and by m / (m - 1) because k is fixed, add up
to m - 1 on average. Were the chosen independent of each other, that sum would be chi-square distributed with
m - 1 degrees of freedom and a variance of 2 (m - 1). Neighbours that are handed out together keep the mean,
but enlarge the variance by about as much as their runs are long; twice that is allowed for.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from struct import iter_unpack
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torrust_py.core.swarms import RUNS, PortableSwarms, Random, Swarms
from torrust_py.core.types import (
    Address,
    AnnounceEvent,
    Endpoint,
    Families,
    InfoHash,
    Peer,
    PeerId,
    endpoint_of,
)

INFO_HASH = InfoHash(b"\5" * 20)
CHOICES = 3000
FAIR_BELOW = 8.0
"""Standard deviations above the mean that a fair choice stays below with all but certainty."""


class Members(NamedTuple):
    leechers: list[Peer]
    seeders: list[Peer]


class Receiver(NamedTuple):
    """Who asks, in a swarm of which roles."""

    is_seeder: bool
    place: int
    """0 is the first of its role, -1 the last."""
    leechers: Callable[[int, int], int]
    """How many of the swarm's peers are leechers, by its size and num_want."""


RECEIVERS = {
    "the first leecher of all": Receiver(False, 0, lambda size, num_want: size),
    "the last leecher of all": Receiver(False, -1, lambda size, num_want: size),
    "a leecher among both": Receiver(False, 0, lambda size, num_want: size // 3),
    "the first seeder, few leechers": Receiver(True, 0, lambda size, num_want: num_want // 2),
    "the last seeder, few leechers": Receiver(True, -1, lambda size, num_want: num_want // 2),
    "a seeder, many leechers": Receiver(True, -1, lambda size, num_want: min(size - 1, num_want + 9)),
}


class Source:
    """Randomness that can be exchanged."""

    def __init__(self, source: Random) -> None:
        self.source = source

    def __call__(self) -> float:
        return self.source()


def peer(number: int, *, seeder: bool, ipv6: bool) -> Peer:
    address = Address(bytes(13 if ipv6 else 1) + number.to_bytes(3))
    return Peer(endpoint_of(address, 6881), PeerId(bytes(20)), 0, 0, int(not seeder), AnnounceEvent.NONE)


def fill(swarms: Swarms, size: int, *, leechers: int, ipv6: bool) -> Members:
    """A swarm whose peers stand in the order of the answer: leechers, then seeders."""
    peers = [peer(number, seeder=number >= leechers, ipv6=ipv6) for number in range(size)]
    for one in peers:
        swarms.announce(INFO_HASH, one.endpoint, one, num_want=0, families=Families.BOTH, now_ms=0)
    return Members(peers[:leechers], peers[leechers:])


def ask(swarms: Swarms, receiver: Peer, num_want: int) -> bytes:
    view = swarms.announce(
        INFO_HASH, receiver.endpoint, receiver, num_want=num_want, families=Families.BOTH, now_ms=0
    )
    return view.peers_ipv4 + view.peers_ipv6


def split(endpoints: bytes, *, ipv6: bool) -> Iterator[Endpoint]:
    return (Endpoint(endpoint) for (endpoint,) in iter_unpack("18s" if ipv6 else "6s", endpoints))


def excess(counts: Counter[Endpoint], peers: list[Peer], *, wanted: int, choices: int) -> float:
    """How far from fair, in standard deviations, `choices` choices of `wanted` among `peers` were."""
    count = len(peers)
    inclusion = wanted / count
    squares = sum((counts[one.endpoint] - choices * inclusion) ** 2 for one in peers)
    statistic = squares / (choices * inclusion * (1 - inclusion)) * (count - 1) / count
    run = max(1.0, wanted / RUNS)
    return (statistic - (count - 1)) / math.sqrt(2 * (count - 1) * 2 * run)


def unfairness(
    size: int,
    num_want: int,
    receiver: Receiver,
    *,
    source: Random,
    ipv6: bool = False,
    choices: int = CHOICES,
    make_swarms: Callable[..., Swarms] = PortableSwarms,
) -> float:
    """The excess among those of whom the receiver gets some; whom it gets first, it gets all of."""
    randomness = Source(random.Random(1).random)
    swarms = make_swarms(random=randomness)
    leechers, seeders = fill(swarms, size, leechers=receiver.leechers(size, num_want), ipv6=ipv6)
    asking = (seeders if receiver.is_seeder else leechers)[receiver.place]
    randomness.source = source
    answers = b"".join(ask(swarms, asking, num_want) for _ in range(choices))
    counts = Counter(split(answers, ipv6=ipv6))
    assert counts.total() == choices * num_want
    assert counts[asking.endpoint] == 0
    if not receiver.is_seeder:
        others = [one for one in leechers + seeders if one is not asking]
        return excess(counts, others, wanted=num_want, choices=choices)
    if num_want <= len(leechers):
        assert not any(counts[one.endpoint] for one in seeders)
        return excess(counts, leechers, wanted=num_want, choices=choices)
    assert all(counts[one.endpoint] == choices for one in leechers)
    others = [one for one in seeders if one is not asking]
    return excess(counts, others, wanted=num_want - len(leechers), choices=choices)


def with_fixed_start(num_want: int, source: Random) -> Random:
    """Randomness by which every choice cuts the ring at the same place: its first number is always 0."""
    is_start = cycle([True] + [False] * min(num_want, RUNS))
    return lambda: 0.0 if next(is_start) else source()


@pytest.mark.clause("11.2.4")
@pytest.mark.slow
@pytest.mark.parametrize("receiver", RECEIVERS.values(), ids=RECEIVERS)
@pytest.mark.parametrize("num_want", [74, 50, 10])
@pytest.mark.parametrize("size", [76, 91, 150, 1000])
def test_every_peer_is_handed_out_equally_often(
    make_swarms: Callable[..., Swarms], size: int, num_want: int, receiver: Receiver
) -> None:
    source = random.Random(f"{size} {num_want}").random
    assert unfairness(size, num_want, receiver, source=source, make_swarms=make_swarms) < FAIR_BELOW


@pytest.mark.slow
@pytest.mark.parametrize("receiver", RECEIVERS.values(), ids=RECEIVERS)
@pytest.mark.parametrize("num_want", [74, 10])
def test_every_ipv6_peer_is_handed_out_equally_often(
    make_swarms: Callable[..., Swarms], num_want: int, receiver: Receiver
) -> None:
    source = random.Random(num_want).random
    excess = unfairness(91, num_want, receiver, source=source, ipv6=True, make_swarms=make_swarms)
    assert excess < FAIR_BELOW


@pytest.mark.slow
@pytest.mark.parametrize("num_want", [74, 50, 10])
@pytest.mark.parametrize("size", [76, 91, 150])
def test_a_choice_that_prefers_some_places_would_be_noticed(size: int, num_want: int) -> None:
    fair = random.Random(2).random
    receiver = RECEIVERS["the first leecher of all"]
    assert unfairness(size, num_want, receiver, source=lambda: fair() ** 2) > 2 * FAIR_BELOW


@pytest.mark.slow
@pytest.mark.parametrize("num_want", [74, 50, 10])
@pytest.mark.parametrize("size", [91, 150])
def test_a_choice_that_cuts_at_fixed_places_would_be_noticed(size: int, num_want: int) -> None:
    source = with_fixed_start(num_want, random.Random(3).random)
    receiver = RECEIVERS["the first leecher of all"]
    assert unfairness(size, num_want, receiver, source=source) > 2 * FAIR_BELOW


def test_the_runs_lie_anywhere_in_their_parts() -> None:
    """Of 16 others 8 are wanted: one of each pair, where the pairs begin at 2 places."""
    swarms = PortableSwarms(random=random.Random(4).random)
    leechers, _ = fill(swarms, 17, leechers=17, ipv6=False)
    answers = {frozenset(split(ask(swarms, leechers[0], 8), ipv6=False)) for _ in range(1000)}
    assert len(answers) > 256  # of 2 * 2 ** 8, less what both have in common


@given(data=st.data(), size=st.integers(2, 60), ipv6=st.booleans(), seeder=st.booleans())
@settings(max_examples=50)
def test_wherever_the_runs_lie_every_start_together_hands_out_everyone_equally(
    data: st.DataObject, size: int, ipv6: bool, seeder: bool
) -> None:
    """Exactly so, and hence for every distribution of the runs within their parts."""
    leechers = data.draw(st.integers(0, size - 1) if seeder else st.integers(1, size))
    num_want = data.draw(st.integers(1, size))
    places = data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=RUNS, max_size=RUNS))
    randomness = Source(random.Random(1).random)
    swarms = PortableSwarms(random=randomness)
    members = fill(swarms, size, leechers=leechers, ipv6=ipv6)
    asking = data.draw(st.sampled_from(members.seeders if seeder else members.leechers))
    first, second = members if seeder else ([], [*members.leechers, *members.seeders])
    second.remove(asking)
    starts = len(first) if num_want <= len(first) else len(second)
    counts: Counter[Endpoint] = Counter()
    for start in range(starts):
        randomness.source = iter([(start + 0.5) / starts, *places]).__next__
        counts.update(split(ask(swarms, asking, num_want), ipv6=ipv6))
    of_first, of_second = min(num_want, len(first)), max(0, min(num_want - len(first), len(second)))
    assert {counts[one.endpoint] for one in first} <= {starts * of_first // max(1, len(first))}
    assert {counts[one.endpoint] for one in second} <= {starts * of_second // max(1, len(second))}
    assert counts[asking.endpoint] == 0
    assert counts.total() == starts * (of_first + of_second)
