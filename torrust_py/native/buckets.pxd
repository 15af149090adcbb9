# cython: language_level=3
"""Tables that grow by one bucket at a time (linear hashing: Litwin, 1980), so that nobody pays for the growth of
a whole table. With n buckets, those of the largest power of two below n that are split already share their
entries with the buckets behind it.
"""

from libc.stdint cimport uint64_t


cdef inline uint64_t _filled(uint64_t value) noexcept nogil:
    """All bits below the highest one set."""
    value |= value >> 1
    value |= value >> 2
    value |= value >> 4
    value |= value >> 8
    value |= value >> 16
    value |= value >> 32
    return value


cdef inline uint64_t bucket_of(uint64_t hash, uint64_t buckets) noexcept nogil:
    """The bucket of a hash among so many."""
    cdef uint64_t mask = _filled(buckets - 1)
    cdef uint64_t bucket = hash & mask
    return bucket if bucket < buckets else bucket & (mask >> 1)


cdef inline uint64_t split_from(uint64_t new) noexcept nogil:
    """The bucket whose entries a `new` one takes its share of: the same number without its highest bit."""
    return new & (_filled(new) >> 1)
