# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Counters of requests, as `torrust_py.core.statistics` describes them."""

from torrust_py.core.statistics import Door, DoorCounts, Outcome

assert (len(Door), len(Outcome)) == (DOORS, OUTCOMES)


cdef class NativeStatistics:
    """A row of integers for each door."""

    cdef void add(self, int door, int outcome) noexcept nogil:
        self.counts[door][outcome] += 1

    def count(self, int door, int outcome, /):
        self.add(door, outcome)

    def door(self, int door, /):
        cdef int outcome
        return DoorCounts._make([self.counts[door][outcome] for outcome in range(OUTCOMES)])
