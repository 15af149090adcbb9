"""Counters of requests. Each request is counted once at its door, by what became of it, so that exactly

    received = handled + refused + malformed + dropped

A request's door is its protocol and its client's family, where the client is who asked, before any
substitution of its address. What was not handled is counted by its reason, whose fate it shares. Each
listener has counters of its own.

Of some requests the time from receipt to send is taken, too: whoever takes it asks for `handled` before and
hands that back after, so that what is timed need not be known before it is read.
"""

import enum
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol


class Door(enum.IntEnum):
    """Protocol and address family by which a request came."""

    TCP4 = 0
    TCP6 = 1
    UDP4 = 2
    UDP6 = 3


class Outcome(enum.IntEnum):
    """What a request was handled as; what was not handled has a Reason, and both count as one number."""

    CONNECT = 0
    """UDP only."""
    ANNOUNCE = 1
    SCRAPE = 2


class Fate(enum.Enum):
    """What became of a request that was not handled."""

    REFUSED = "refused"
    """Well-formed, but against a rule."""
    MALFORMED = "malformed"
    """Not what the protocol asks for; answered with what is wrong, unless it is an error response itself."""
    DROPPED = "dropped"
    """Not answered as it should be: the budget for answers is spent, memory short, or the tracker failed."""


class Reason(enum.IntEnum):
    """Why a request was not handled; each reason belongs to one fate, and those of a fate stand together."""

    BAD_CONNECTION_ID = 3
    """UDP only, refused as the following ones: the client was not issued this one, or too long ago."""
    NOT_WHITELISTED = 4
    BLACKLISTED = 5
    KEY_MISSING = 6
    KEY_UNKNOWN = 7
    KEY_EXPIRED = 8
    NO_FORWARDED_ADDRESS = 9
    """The proxy does not say who asks."""
    NOT_FOUND = 10
    """There is nothing at this path."""
    METHOD_NOT_ALLOWED = 11
    BAD_PACKET = 12
    """UDP only, malformed as the following ones."""
    BAD_PARAMETERS = 13
    """A query without an info hash, with a port that is none, …"""
    BAD_KEY = 14
    """A text that cannot be a key."""
    NOT_HTTP = 15
    TOO_LARGE = 16
    TOO_SLOW = 17
    """A request that did not end in time."""
    BUDGET_SPENT = 18
    """UDP only, dropped as the following ones: too many malformed datagrams in this second."""
    NO_MEMORY = 19
    INTERNAL_ERROR = 20
    """A fault of the tracker's; the log has its traceback."""

    @property
    def fate(self) -> Fate:
        if self < _FIRST_MALFORMED:
            return Fate.REFUSED
        return Fate.MALFORMED if self < _FIRST_DROPPED else Fate.DROPPED


_FIRST_MALFORMED, _FIRST_DROPPED = Reason.BAD_PACKET, Reason.BUDGET_SPENT

COUNTERS = len(Outcome) + len(Reason)
"""Of a door."""

LATENCY_BOUNDS = (
    0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5,
    1.0,
)  # fmt: skip
"""Seconds up to which a bucket of latencies goes; the last bucket has no bound."""


class DoorCounts(NamedTuple):
    """The counters of one door; those of what was not handled are sums over the reasons."""

    connects: int
    announces: int
    scrapes: int
    refused: int
    malformed: int
    dropped: int

    @property
    def handled(self) -> int:
        return self.connects + self.announces + self.scrapes

    @property
    def received(self) -> int:
        return self.handled + self.refused + self.malformed + self.dropped


class Latencies(NamedTuple):
    """How long requests of one kind took that were timed."""

    buckets: tuple[int, ...]
    """How many took so long, by LATENCY_BOUNDS, and in the end those that took longer."""
    total: float
    """Seconds of all together."""


Handled = tuple[int, int, int]
"""Connects, announces and scrapes of all doors."""


class RequestCounts(Protocol):
    """Who only reads counters."""

    def door(self, door: Door, /) -> DoorCounts: ...


class Statistics(RequestCounts, Protocol):
    """Counts since the start; one of the four things that have a portable and a native form."""

    def count(self, door: Door, outcome: Outcome | Reason, /) -> None: ...

    def reasons(self, door: Door, /) -> dict[Reason, int]:
        """How often each reason was one, zeros too."""

    def handled(self) -> Handled: ...

    def add_latency(self, before: Handled, seconds: float, /) -> None:
        """What was handled since `handled` gave `before` took so long, each; a negative time is left out."""

    def latencies(self, outcome: Outcome, /) -> Latencies: ...


class PortableStatistics:
    """A row of integers for each door."""

    def __init__(self) -> None:
        self._counts = [[0] * COUNTERS for _ in Door]
        self._buckets = [[0] * (len(LATENCY_BOUNDS) + 1) for _ in Outcome]
        self._seconds = [0.0 for _ in Outcome]

    def count(self, door: Door, outcome: Outcome | Reason, /) -> None:
        self._counts[door][outcome] += 1

    def door(self, door: Door, /) -> DoorCounts:
        return door_counts(self._counts[door])

    def reasons(self, door: Door, /) -> dict[Reason, int]:
        return {reason: self._counts[door][reason] for reason in Reason}

    def handled(self) -> Handled:
        connects, announces, scrapes = (sum(row[outcome] for row in self._counts) for outcome in Outcome)
        return connects, announces, scrapes

    def add_latency(self, before: Handled, seconds: float, /) -> None:
        if seconds < 0:  # the clock was set back
            return
        for outcome, now, was in zip(Outcome, self.handled(), before, strict=True):
            self._buckets[outcome][bisect_left(LATENCY_BOUNDS, seconds)] += now - was
            self._seconds[outcome] += (now - was) * seconds

    def latencies(self, outcome: Outcome, /) -> Latencies:
        return Latencies(tuple(self._buckets[outcome]), self._seconds[outcome])


class SummedCounts:
    """What all of `parts` have counted together; others may be added to them."""

    def __init__(self, parts: Iterable[RequestCounts]) -> None:
        self._parts = parts

    def door(self, door: Door, /) -> DoorCounts:
        rows = [part.door(door) for part in self._parts]
        return DoorCounts._make(map(sum, zip(NO_COUNTS, *rows, strict=True)))


def door_counts(row: Sequence[int]) -> DoorCounts:
    """Of the counters of a door, in the order of Outcome and Reason."""
    return DoorCounts(
        connects=row[Outcome.CONNECT],
        announces=row[Outcome.ANNOUNCE],
        scrapes=row[Outcome.SCRAPE],
        refused=sum(row[len(Outcome) : _FIRST_MALFORMED]),
        malformed=sum(row[_FIRST_MALFORMED:_FIRST_DROPPED]),
        dropped=sum(row[_FIRST_DROPPED:]),
    )


NO_COUNTS = DoorCounts(connects=0, announces=0, scrapes=0, refused=0, malformed=0, dropped=0)
