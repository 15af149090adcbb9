# cython: language_level=3
from libc.stdint cimport uint64_t


cdef enum:
    # Doors, outcomes and reasons as in torrust_py.core.statistics.
    TCP4 = 0
    TCP6 = 1
    UDP4 = 2
    UDP6 = 3
    DOORS = 4
    CONNECT = 0
    ANNOUNCE = 1
    SCRAPE = 2
    OUTCOMES = 3
    BAD_CONNECTION_ID = 3
    NOT_WHITELISTED = 4
    NO_MEMORY = 19
    COUNTERS = 21
    BUCKETS = 17  # of latencies


cdef class NativeStatistics:
    cdef uint64_t counts[DOORS][COUNTERS]
    cdef uint64_t buckets[OUTCOMES][BUCKETS]
    cdef double seconds[OUTCOMES]

    cdef void add(self, int door, int outcome) noexcept nogil
    cdef void read_handled(self, uint64_t *handled) noexcept nogil
    cdef void add_time(self, const uint64_t *before, double seconds) noexcept nogil
