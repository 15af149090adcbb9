# cython: language_level=3
"""SipHash (Aumasson and Bernstein, 2012): a keyed hash of short inputs, so that who chooses the inputs cannot
choose their hashes. SipHash-1-3 for tables, SipHash-2-4 where the hash itself is a proof.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


cdef struct SipKey:
    uint64_t low
    uint64_t high


cdef struct SipState:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3


cdef inline uint64_t _rotated(uint64_t value, int bits) noexcept nogil:
    return (value << bits) | (value >> (64 - bits))


cdef inline void _round(SipState *s) noexcept nogil:
    s.v0 += s.v1
    s.v1 = _rotated(s.v1, 13) ^ s.v0
    s.v0 = _rotated(s.v0, 32)
    s.v2 += s.v3
    s.v3 = _rotated(s.v3, 16) ^ s.v2
    s.v0 += s.v3
    s.v3 = _rotated(s.v3, 21) ^ s.v0
    s.v2 += s.v1
    s.v1 = _rotated(s.v1, 17) ^ s.v2
    s.v2 = _rotated(s.v2, 32)


cdef inline uint64_t siphash(
    const SipKey *key, const uint8_t *data, size_t size, int compressions, int finalizations
) noexcept nogil:
    """The hash of `size` bytes; with constant counts of rounds the compiler unrolls it."""
    cdef SipState s
    cdef uint64_t word
    cdef size_t at = 0
    cdef int done
    s.v0 = key.low ^ <uint64_t>0x736F6D6570736575
    s.v1 = key.high ^ <uint64_t>0x646F72616E646F6D
    s.v2 = key.low ^ <uint64_t>0x6C7967656E657261
    s.v3 = key.high ^ <uint64_t>0x7465646279746573
    while at + 8 <= size:
        memcpy(&word, data + at, 8)
        s.v3 ^= word
        for done in range(compressions):
            _round(&s)
        s.v0 ^= word
        at += 8
    word = 0
    memcpy(&word, data + at, size - at)
    word |= <uint64_t>size << 56
    s.v3 ^= word
    for done in range(compressions):
        _round(&s)
    s.v0 ^= word
    s.v2 ^= 0xFF
    for done in range(finalizations):
        _round(&s)
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3


cdef inline uint64_t table_hash(const SipKey *key, const uint8_t *data, size_t size) noexcept nogil:
    return siphash(key, data, size, 1, 3)
