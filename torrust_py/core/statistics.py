"""Counters of requests. Each request is counted as received at its door, and once more by what became of it,
so that

    received = handled + refused + malformed + dropped

holds exactly whenever no request is being answered. A request's door is its protocol and its client's family,
where the client is who asked, before any substitution of its address.
"""

import enum
from array import array
from typing import NamedTuple, Protocol


class Door(enum.IntEnum):
    """Protocol and address family by which a request came."""

    TCP4 = 0
    TCP6 = 1
    UDP4 = 2
    UDP6 = 3


class Outcome(enum.IntEnum):
    """What is counted at a door; all but RECEIVED say what became of a request."""

    RECEIVED = 0
    CONNECT = 1
    """Handled; UDP only, as are connects."""
    ANNOUNCE = 2
    """Handled."""
    SCRAPE = 3
    """Handled."""
    REFUSED = 4
    """Well-formed, but against a rule: key, whitelist, connection id, client address, path, method."""
    MALFORMED = 5
    """Not what the protocol asks for; answered with what is wrong."""
    DROPPED = 6
    """Not answered: the budget for answers to malformed requests is spent, memory is short, the client went
    away, or the tracker itself failed."""


class DoorCounts(NamedTuple):
    """The counters of one door, in the order of `Outcome`."""

    received: int
    connects: int
    announces: int
    scrapes: int
    refused: int
    malformed: int
    dropped: int

    @property
    def handled(self) -> int:
        return self.connects + self.announces + self.scrapes


class Statistics(Protocol):
    """Counts since the start, 64 bits each; one of the four things that have a portable and a native form."""

    def count(self, door: Door, outcome: Outcome, /) -> None: ...

    def door(self, door: Door, /) -> DoorCounts: ...


_OUTCOMES = len(Outcome)


class PortableStatistics:
    """A row of integers."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * len(Door) * len(Outcome)))

    def count(self, door: Door, outcome: Outcome, /) -> None:
        self._counts[door * _OUTCOMES + outcome] += 1

    def door(self, door: Door, /) -> DoorCounts:
        first = door * len(Outcome)
        return DoorCounts._make(self._counts[first : first + len(Outcome)])
