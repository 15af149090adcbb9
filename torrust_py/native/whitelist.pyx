# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A set of info hashes, as `torrust_py.core.whitelist` describes it: 29 bytes each, in a table that grows by one
bucket at a time.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

from torrust_py.native.buckets cimport bucket_of, split_from
from torrust_py.native.siphash cimport table_hash

cdef enum:
    INFO_HASH = 20
    INFO_HASHES_A_STEP = 4096
    NOWHERE = 0xFFFFFFFF


cdef class NativeWhitelist:
    """Positions are those of `packed`; the last one takes the place of one that leaves."""

    def __cinit__(self):
        cdef bytes key = os.urandom(sizeof(self.key))
        memcpy(&self.key, PyBytes_AS_STRING(key), sizeof(self.key))
        if self._grow() < 0:
            raise MemoryError
        self.buckets = 1
        self.heads[0] = NOWHERE

    def __dealloc__(self):
        free(self.packed)
        free(self.next)
        free(self.heads)

    def __contains__(self, bytes info_hash):
        return self.has(_raw(info_hash))

    def __len__(self):
        return self.count

    def add(self, bytes info_hash, /):
        cdef const uint8_t *raw = _raw(info_hash)
        if self.has(raw):
            return
        if self.count == self.capacity and self._grow() < 0:
            raise MemoryError
        memcpy(self.packed + INFO_HASH * <size_t>self.count, raw, INFO_HASH)
        self._link(self.count)
        self.count += 1
        if self.count > self.buckets:
            self._add_bucket()

    def discard(self, bytes info_hash, /):
        cdef const uint8_t *raw = _raw(info_hash)
        cdef int64_t position = self._position(raw, <uint32_t>bucket_of(self.hash_of(raw), self.buckets))
        cdef uint32_t last
        if position < 0:
            return
        self._unlink(<uint32_t>position)
        self.count -= 1
        last = self.count
        if position != last:
            self._unlink(last)
            memcpy(
                self.packed + INFO_HASH * <size_t>position,
                self.packed + INFO_HASH * <size_t>last,
                INFO_HASH,
            )
            self._link(<uint32_t>position)

    def info_hashes(self):
        cdef uint32_t unvisited = self.count
        cdef uint32_t position
        cdef list step
        while unvisited > 0:  # downwards: who takes the place of one that leaves was seen before
            step = []
            while unvisited > 0 and len(step) < INFO_HASHES_A_STEP:
                unvisited -= 1
                step.append((<const char *>self.packed + INFO_HASH * <size_t>unvisited)[:INFO_HASH])
            yield step
            unvisited = min(unvisited, self.count)

    def empty(self):
        return NativeWhitelist()

    def take(self, NativeWhitelist other, /):
        self.key, other.key = other.key, self.key
        self.packed, other.packed = other.packed, self.packed
        self.next, other.next = other.next, self.next
        self.heads, other.heads = other.heads, self.heads
        self.count, other.count = other.count, self.count
        self.capacity, other.capacity = other.capacity, self.capacity
        self.buckets, other.buckets = other.buckets, self.buckets

    cdef uint64_t hash_of(self, const uint8_t *info_hash) noexcept nogil:
        return table_hash(&self.key, info_hash, INFO_HASH)

    cdef bint has(self, const uint8_t *info_hash) noexcept nogil:
        return self._position(info_hash, <uint32_t>bucket_of(self.hash_of(info_hash), self.buckets)) >= 0

    cdef int64_t _position(self, const uint8_t *info_hash, uint32_t bucket) noexcept nogil:
        cdef uint32_t position = self.heads[bucket]
        while position != NOWHERE:
            if memcmp(self.packed + INFO_HASH * <size_t>position, info_hash, INFO_HASH) == 0:
                return position
            position = self.next[position]
        return -1

    cdef int _grow(self) noexcept nogil:
        """Room for an eighth more. -1 without memory; then all is as it was."""
        cdef uint32_t capacity = self.capacity + self.capacity // 8 + 8
        cdef void *moved
        moved = realloc(self.packed, INFO_HASH * <size_t>capacity)
        if moved == NULL:
            return -1
        self.packed = <uint8_t *>moved
        moved = realloc(self.next, 4 * <size_t>capacity)
        if moved == NULL:
            return -1
        self.next = <uint32_t *>moved
        moved = realloc(self.heads, 4 * <size_t>capacity)
        if moved == NULL:
            return -1
        self.heads = <uint32_t *>moved
        self.capacity = capacity
        return 0

    cdef void _add_bucket(self) noexcept nogil:
        """There are as many buckets as there were ever info hashes, so there is room for one more."""
        cdef uint32_t new = self.buckets
        cdef uint32_t *link = &self.heads[split_from(new)]
        cdef uint32_t position
        cdef uint64_t hash
        self.heads[new] = NOWHERE
        self.buckets = new + 1
        while link[0] != NOWHERE:
            position = link[0]
            hash = self.hash_of(self.packed + INFO_HASH * <size_t>position)
            if bucket_of(hash, self.buckets) == new:
                link[0] = self.next[position]
                self.next[position] = self.heads[new]
                self.heads[new] = position
            else:
                link = &self.next[position]

    cdef void _link(self, uint32_t position) noexcept nogil:
        cdef uint64_t hash = self.hash_of(self.packed + INFO_HASH * <size_t>position)
        cdef uint32_t *head = &self.heads[bucket_of(hash, self.buckets)]
        self.next[position] = head[0]
        head[0] = position

    cdef void _unlink(self, uint32_t position) noexcept nogil:
        cdef uint64_t hash = self.hash_of(self.packed + INFO_HASH * <size_t>position)
        cdef uint32_t *link = &self.heads[bucket_of(hash, self.buckets)]
        while link[0] != position:
            link = &self.next[link[0]]
        link[0] = self.next[position]


cdef const uint8_t *_raw(bytes info_hash) except NULL:
    if len(info_hash) != INFO_HASH:
        raise ValueError("an info hash has 20 bytes")
    return <const uint8_t *>PyBytes_AS_STRING(info_hash)
