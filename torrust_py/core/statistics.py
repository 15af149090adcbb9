"""Counters of requests. Each request is counted once at its door, by what became of it, so that exactly

    received = handled + refused + malformed + dropped

A request's door is its protocol and its client's family, where the client is who asked, before any
substitution of its address.
"""

import enum
from typing import NamedTuple, Protocol


class Door(enum.IntEnum):
    """Protocol and address family by which a request came."""

    TCP4 = 0
    TCP6 = 1
    UDP4 = 2
    UDP6 = 3


class Outcome(enum.IntEnum):
    """What became of a request."""

    CONNECT = 0
    """Handled; UDP only, as are connects."""
    ANNOUNCE = 1
    """Handled."""
    SCRAPE = 2
    """Handled."""
    REFUSED = 3
    """Well-formed, but against a rule: key, whitelist, connection id, client address, path, method."""
    MALFORMED = 4
    """Not what the protocol asks for; answered with what is wrong."""
    DROPPED = 5
    """Not answered: the budget for answers to malformed requests is spent, memory is short, the client went
    away, or the tracker itself failed."""


class DoorCounts(NamedTuple):
    """The counters of one door, in the order of `Outcome`."""

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


class Statistics(Protocol):
    """Counts since the start; one of the four things that have a portable and a native form."""

    def count(self, door: Door, outcome: Outcome, /) -> None: ...

    def door(self, door: Door, /) -> DoorCounts: ...


class PortableStatistics:
    """A row of integers for each door."""

    def __init__(self) -> None:
        self._counts = [[0] * len(Outcome) for _ in Door]

    def count(self, door: Door, outcome: Outcome, /) -> None:
        self._counts[door][outcome] += 1

    def door(self, door: Door, /) -> DoorCounts:
        return DoorCounts._make(self._counts[door])
