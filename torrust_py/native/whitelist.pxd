# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from torrust_py.native.siphash cimport SipKey


cdef class NativeWhitelist:
    cdef SipKey key
    cdef uint8_t *packed  # 20 bytes each
    cdef uint32_t *next
    cdef uint32_t *heads
    cdef uint32_t count
    cdef uint32_t capacity
    cdef uint32_t buckets

    cdef uint64_t hash_of(self, const uint8_t *info_hash) noexcept nogil
    cdef bint has(self, const uint8_t *info_hash) noexcept nogil
    cdef int64_t _position(self, const uint8_t *info_hash, uint32_t bucket) noexcept nogil
    cdef int _grow(self) noexcept nogil
    cdef void _add_bucket(self) noexcept nogil
    cdef void _unlink(self, uint32_t position) noexcept nogil
    cdef void _link(self, uint32_t position) noexcept nogil
