import pytest

from tests.forms import make_statistics
from torrust_py.core.statistics import Door, DoorCounts, Outcome


def test_nothing_is_counted_at_first(form: str) -> None:
    statistics = make_statistics(form)
    assert [statistics.door(door) for door in Door] == [DoorCounts(0, 0, 0, 0, 0, 0)] * len(Door)


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize("outcome", Outcome)
def test_one_counter_of_one_door_moves(form: str, door: Door, outcome: Outcome) -> None:
    statistics = make_statistics(form)
    statistics.count(door, outcome)
    statistics.count(door, outcome)
    expected = {each: DoorCounts._make([2 * (each is door and what is outcome) for what in Outcome])
                for each in Door}  # fmt: skip
    assert {each: statistics.door(each) for each in Door} == expected


def test_the_counts_of_a_door_are_named_as_its_outcomes(form: str) -> None:
    statistics = make_statistics(form)
    for times, outcome in enumerate(Outcome, start=1):
        for _ in range(times):
            statistics.count(Door.UDP6, outcome)
    assert statistics.door(Door.UDP6) == DoorCounts(
        connects=1, announces=2, scrapes=3, refused=4, malformed=5, dropped=6
    )


def test_connects_announces_and_scrapes_are_handled_and_all_is_received() -> None:
    counts = DoorCounts(connects=1, announces=20, scrapes=300, refused=4000, malformed=50000, dropped=600000)
    assert (counts.handled, counts.received) == (321, 654321)
