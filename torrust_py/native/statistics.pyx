# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Counters of requests, as `torrust_py.core.statistics` describes them."""

from torrust_py.core import statistics

assert (len(statistics.Door), len(statistics.Outcome), statistics.COUNTERS) == (DOORS, OUTCOMES, COUNTERS)
assert [statistics.Reason[name] for name in ("BAD_CONNECTION_ID", "NOT_WHITELISTED", "NO_MEMORY")] == [
    BAD_CONNECTION_ID, NOT_WHITELISTED, NO_MEMORY
]
assert len(statistics.LATENCY_BOUNDS) == BUCKETS - 1

cdef double BOUNDS[BUCKETS - 1]
for _number, _bound in enumerate(statistics.LATENCY_BOUNDS):
    BOUNDS[_number] = _bound


cdef class NativeStatistics:
    """A row of integers for each door."""

    cdef void add(self, int door, int outcome) noexcept nogil:
        self.counts[door][outcome] += 1

    cdef void read_handled(self, uint64_t *handled) noexcept nogil:
        """Connects, announces and scrapes of all doors."""
        cdef int outcome
        cdef int door
        for outcome in range(OUTCOMES):
            handled[outcome] = 0
            for door in range(DOORS):
                handled[outcome] += self.counts[door][outcome]

    cdef void add_time(self, const uint64_t *before, double seconds) noexcept nogil:
        """What was handled since `before` took so long, each; a negative time is left out."""
        cdef uint64_t now[OUTCOMES]
        cdef int outcome
        cdef int bucket = 0
        if seconds < 0:
            return
        while bucket < BUCKETS - 1 and seconds > BOUNDS[bucket]:
            bucket += 1
        self.read_handled(now)
        for outcome in range(OUTCOMES):
            self.buckets[outcome][bucket] += now[outcome] - before[outcome]
            self.seconds[outcome] += seconds * <double>(now[outcome] - before[outcome])

    def count(self, int door, int outcome, /):
        self.add(door, outcome)

    def door(self, int door, /):
        cdef int counter
        return statistics.door_counts([self.counts[door][counter] for counter in range(COUNTERS)])

    def reasons(self, int door, /):
        return {reason: self.counts[door][<int>reason] for reason in statistics.Reason}

    def handled(self):
        cdef uint64_t now[OUTCOMES]
        self.read_handled(now)
        return now[CONNECT], now[ANNOUNCE], now[SCRAPE]

    def add_latency(self, tuple before, double seconds, /):
        cdef uint64_t was[OUTCOMES]
        was[CONNECT], was[ANNOUNCE], was[SCRAPE] = before
        self.add_time(was, seconds)

    def latencies(self, int outcome, /):
        cdef int bucket
        buckets = tuple([self.buckets[outcome][bucket] for bucket in range(BUCKETS)])
        return statistics.Latencies(buckets, self.seconds[outcome])
