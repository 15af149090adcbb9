# cython: language_level=3
from libc.stdint cimport uint64_t


cdef enum:
    # Doors and outcomes as in torrust_py.core.statistics.
    TCP4 = 0
    TCP6 = 1
    UDP4 = 2
    UDP6 = 3
    DOORS = 4
    CONNECT = 0
    ANNOUNCE = 1
    SCRAPE = 2
    REFUSED = 3
    MALFORMED = 4
    DROPPED = 5
    OUTCOMES = 6


cdef class NativeStatistics:
    cdef uint64_t counts[DOORS][OUTCOMES]

    cdef void add(self, int door, int outcome) noexcept nogil
