from torrust_py.selfcheck import Callers, Watch
from torrust_py.selfcheck.watch import REPEAT_S

NOBODY = Callers(0, "", has_several_ports=False, unforwarded=0)


class Tracker:
    """What a watch looks at."""

    def __init__(self, *, on_reverse_proxy: bool = False) -> None:
        self.conntrack: tuple[int | None, int | None] = (None, None)
        self.drops = 5
        self.callers = NOBODY
        self.watch = Watch(
            read_conntrack=lambda: self.conntrack,
            read_kernel_drops=lambda: self.drops,
            read_callers=lambda: self.callers,
            on_reverse_proxy=on_reverse_proxy,
        )

    def news(self, now: float) -> list[str]:
        return [finding.check for finding in self.watch.news(now)]


def test_what_is_well_is_no_news() -> None:
    assert Tracker().news(60) == []


def test_what_lasts_is_told_when_it_begins_and_once_an_hour() -> None:
    tracker = Tracker()
    tracker.conntrack = (95, 100)
    told = [minute for minute in range(130) if tracker.news(60.0 * minute)]
    assert told == [0, 60, 120]


def test_what_was_told_at_the_start_is_not_told_again_soon() -> None:
    tracker = Tracker()
    tracker.conntrack = (95, 100)
    tracker.watch.was_told("connection-tracking", 1000.0)
    assert tracker.news(1060.0) == []
    assert tracker.news(1000.0 + REPEAT_S) == ["connection-tracking"]


def test_what_comes_and_goes_is_no_flood() -> None:
    tracker = Tracker()
    told = []
    for minute in range(10):
        tracker.conntrack = (95 if minute % 2 else 10, 100)
        told += tracker.news(60.0 * minute)
    assert told == ["connection-tracking"]


def test_each_cause_is_told_by_itself() -> None:
    tracker = Tracker(on_reverse_proxy=True)
    tracker.conntrack = (95, 100)
    tracker.callers = Callers(100, "10.0.0.1", has_several_ports=True, unforwarded=101)
    assert tracker.news(0) == ["connection-tracking", "one-address", "no-forwarded-address"]


def test_drops_are_those_since_the_last_look() -> None:
    tracker = Tracker()
    assert tracker.news(0) == []  # those of before the watch
    tracker.drops += 3
    [finding] = tracker.watch.news(60)
    assert (finding.check, "dropped 3 UDP requests" in finding.detail) == ("kernel-drops", True)
    assert tracker.news(60 + REPEAT_S) == []
