# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t

from torrust_py.native.siphash cimport SipKey


cdef class NativeConnectionIds:
    cdef SipKey key
    cdef int64_t unix_offset_ms

    cdef int64_t slot(self, int64_t now_ms) noexcept nogil
    cdef void write(self, uint8_t *out, const uint8_t *client, size_t size, int64_t slot) noexcept nogil
    cdef bint is_good(
        self, const uint8_t *connection_id, const uint8_t *client, size_t size, int64_t slot
    ) noexcept nogil
