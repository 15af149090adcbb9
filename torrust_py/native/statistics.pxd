# cython: language_level=3
from libc.stdint cimport uint64_t


cdef enum:
    # Doors and outcomes as in torrust_py.core.statistics.
    TCP4 = 0
    TCP6 = 1
    UDP4 = 2
    UDP6 = 3
    DOORS = 4
    RECEIVED = 0
    CONNECT = 1
    ANNOUNCE = 2
    SCRAPE = 3
    REFUSED = 4
    MALFORMED = 5
    DROPPED = 6
    OUTCOMES = 7


cdef class NativeStatistics:
    cdef uint64_t counts[DOORS][OUTCOMES]
