from importlib import import_module
from itertools import groupby

import pytest

from tests.forms import make_statistics
from torrust_py.core.errors import AuthenticationError, TorrentRefused, TrackerError
from torrust_py.core.statistics import (
    COUNTERS,
    LATENCY_BOUNDS,
    NO_COUNTS,
    Door,
    DoorCounts,
    Fate,
    Outcome,
    PortableStatistics,
    Reason,
    Statistics,
    SummedCounts,
)

ALL = [*Outcome, *Reason]


def errors_of_clients(base: type[TrackerError] = TrackerError) -> list[type[TrackerError]]:
    for module in ("torrust_py.udp", "torrust_py.http"):  # those who have errors of their own
        import_module(module)
    kinds = [kind for child in base.__subclasses__() for kind in errors_of_clients(child)]
    return [base, *kinds]


def counts_of(statistics: Statistics) -> dict[Door, DoorCounts]:
    return {door: statistics.door(door) for door in Door}


def test_nothing_is_counted_at_first(form: str) -> None:
    statistics = make_statistics(form)
    assert counts_of(statistics) == dict.fromkeys(Door, NO_COUNTS)
    assert [statistics.reasons(door) for door in Door] == [dict.fromkeys(Reason, 0)] * len(Door)


def test_outcomes_and_reasons_are_the_numbers_of_a_row_of_counters() -> None:
    assert [int(one) for one in ALL] == list(range(COUNTERS))


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize("outcome", ALL)
def test_one_counter_of_one_door_moves(form: str, door: Door, outcome: Outcome | Reason) -> None:
    statistics = make_statistics(form)
    statistics.count(door, outcome)
    statistics.count(door, outcome)
    fields = {Outcome.CONNECT: "connects", Outcome.ANNOUNCE: "announces", Outcome.SCRAPE: "scrapes"}
    field = outcome.fate.value if isinstance(outcome, Reason) else fields[outcome]
    assert counts_of(statistics) == dict.fromkeys(Door, NO_COUNTS) | {door: NO_COUNTS._replace(**{field: 2})}
    assert statistics.reasons(door) == {reason: 2 * (reason is outcome) for reason in Reason}


def test_the_reasons_of_a_fate_add_up_to_its_counter(form: str) -> None:
    statistics = make_statistics(form)
    for times, outcome in enumerate(ALL, start=1):
        for _ in range(times):
            statistics.count(Door.UDP6, outcome)
    counts, reasons = statistics.door(Door.UDP6), statistics.reasons(Door.UDP6)
    assert (counts.connects, counts.announces, counts.scrapes) == (1, 2, 3)
    for fate in Fate:
        of_fate = [count for reason, count in reasons.items() if reason.fate is fate]
        assert of_fate
        assert getattr(counts, fate.value) == sum(of_fate)
    assert counts.received == sum(range(1, len(ALL) + 1))


def test_the_reasons_of_a_fate_stand_together() -> None:
    assert [fate for fate, _ in groupby(Reason, lambda reason: reason.fate)] == list(Fate)


@pytest.mark.parametrize("kind", errors_of_clients())
def test_each_refusal_has_a_reason_that_is_a_refusal(kind: type[TrackerError]) -> None:
    if kind in (TrackerError, TorrentRefused, AuthenticationError):  # never raised themselves
        assert not hasattr(kind, "reason")
    else:
        assert kind.reason.fate is Fate.REFUSED


def test_connects_announces_and_scrapes_are_handled_and_all_is_received() -> None:
    counts = DoorCounts(connects=1, announces=20, scrapes=300, refused=4000, malformed=50000, dropped=600000)
    assert (counts.handled, counts.received) == (321, 654321)


def test_the_counters_of_several_listeners_add_up_also_those_of_a_later_one() -> None:
    listeners = [PortableStatistics()]
    together = SummedCounts(listeners)
    assert together.door(Door.TCP4) == NO_COUNTS
    listeners.append(PortableStatistics())
    for statistics in listeners:
        statistics.count(Door.TCP4, Outcome.ANNOUNCE)
    listeners[1].count(Door.TCP4, Reason.NOT_FOUND)
    assert together.door(Door.TCP4) == NO_COUNTS._replace(announces=2, refused=1)


# --- latencies


def test_what_was_handled_meanwhile_is_what_was_timed(form: str) -> None:
    statistics = make_statistics(form)
    statistics.count(Door.UDP4, Outcome.CONNECT)
    before = statistics.handled()
    assert before == (1, 0, 0)
    for door in (Door.UDP4, Door.UDP6):
        statistics.count(door, Outcome.ANNOUNCE)
    statistics.count(Door.UDP4, Reason.BAD_CONNECTION_ID)
    statistics.add_latency(before, 0.00015)
    announces = statistics.latencies(Outcome.ANNOUNCE)
    assert announces.buckets == (0, 0, 0, 0, 2) + (0,) * (len(LATENCY_BOUNDS) - 4)
    assert announces.total == pytest.approx(0.0003)
    for outcome in (Outcome.CONNECT, Outcome.SCRAPE):
        assert statistics.latencies(outcome) == ((0,) * (len(LATENCY_BOUNDS) + 1), 0.0)


@pytest.mark.parametrize("bucket", range(len(LATENCY_BOUNDS) + 1))
def test_a_bucket_goes_up_to_its_bound(form: str, bucket: int) -> None:
    statistics = make_statistics(form)
    bounds = [*LATENCY_BOUNDS, 60.0]
    for number, seconds in enumerate((bounds[bucket], 0.99 * bounds[bucket])):
        before = statistics.handled()
        statistics.count(Door.TCP6, Outcome.SCRAPE)
        statistics.add_latency(before, seconds)
        buckets = statistics.latencies(Outcome.SCRAPE).buckets
        assert buckets == tuple((number + 1) * (one == bucket) for one in range(len(bounds)))


def test_a_time_before_receipt_is_left_out(form: str) -> None:
    statistics = make_statistics(form)
    statistics.count(Door.TCP4, Outcome.SCRAPE)
    statistics.add_latency((0, 0, 0), -0.5)
    assert statistics.latencies(Outcome.SCRAPE).total == 0.0
    assert sum(statistics.latencies(Outcome.SCRAPE).buckets) == 0
