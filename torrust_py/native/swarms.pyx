# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The swarm store in C data. What it does is said in `torrust_py.core.swarms`; this is how.

A table of chains from info hash to Swarm has two buckets for each torrent, so that most chains have one; it
grows by two with each, so that no request pays for the growth of the whole (linear hashing: Litwin, 1980). A
half of a swarm keeps its peers side by side, leechers before seeders. One of more than SMALL peers finds an
endpoint by a table of the same kind. A peer that leaves is overwritten by the last of its range.

Functions that may run out of memory say so and leave the store as it was.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport UINT32_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from torrust_py.native.buckets cimport bucket_of, split_from
from torrust_py.native.huge_pages cimport HEAP_STEP, LARGE_ARRAY, use_huge_pages, use_huge_pages_of_heap
from torrust_py.native.prefetch cimport PREFETCH_READ, PREFETCH_WRITE
from torrust_py.native.siphash cimport SipKey, table_hash

from torrust_py.core.database import Completed
from torrust_py.core.records import MOST_PEERS, PEERS_A_PART, BadRecords
from torrust_py.core.swarms import (
    MEMORY_TO_SPARE,
    NEW_PEERS_A_LOOK,
    Exported,
    Imported,
    Limits,
    Pressure,
    Retention,
    Totals,
)
from torrust_py.core.types import NO_SWARM, AnnounceEvent, Families, Peer, SwarmCounts, SwarmPeer, SwarmView

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

cdef extern from "<sys/mman.h>" nogil:
    int MAP_ANONYMOUS
    int MAP_PRIVATE
    int PROT_READ
    int PROT_WRITE
    void *MAP_FAILED
    void *mmap(void *address, size_t size, int protection, int flags, int file, long offset)
    int munmap(void *address, size_t size)

cdef enum:
    SMALL = 32
    IS_LARGE = 255
    CACHE_LINE = 64
    INFO_HASH = 20
    PEER_ID = 20
    DETAILS = 46  # 20 peer id, 8 uploaded, 8 downloaded, 8 left, 2 event << 10 | milliseconds
    EVENT_COMPLETED = 1
    EVENT_STOPPED = 3
    EVICTION_SAMPLE = 16
    GUESSES = 64  # at buckets, for one torrent of a sample
    LONGEST_SEARCH = 4096  # buckets that are looked at afterwards
    PICKS_AT_ONCE = 64
    PEERS_A_STEP = 256
    TORRENTS_A_STEP = 4096
    RECORD_HEAD = 36  # `torrust_py.core.records` has the layout
    WHOLE = 1024  # peers; a swarm of more is exported in parts
    PART = 32
    RECORDS_A_STEP = 16
    EXPORT_STEP = 131072  # bytes
    EXPORT_TIME = 50_000  # nanoseconds
    BUCKETS_A_STEP = 4096
    BUCKETS_A_UNIT = 8  # of the expiry pass: so many buckets cost what a torrent costs
    NO_PEER = 0xFFFFFFFF
    MANY_PEERS = 65536  # from there on, what comes is kept in huge pages
    PEERS_A_HUGE_PAGE = 1024  # so often more of them are asked for
    A_LOOK = 256
    TO_SPARE = 16777216


cdef struct Large:
    # A half of more than SMALL peers, one line of the processor's cache. `heads` and `next` are its table from
    # endpoint to position.
    uint32_t count
    uint32_t leechers
    uint32_t capacity
    uint32_t buckets
    uint32_t bucket_capacity
    uint32_t *seen
    uint8_t *endpoints
    uint8_t *details
    uint32_t *next
    uint32_t *heads


cdef struct Half:
    # The peers of one swarm and family, opened for work. Leechers stand at 0 to `leechers` - 1.
    Swarm *swarm
    int family
    size_t size  # of an endpoint
    uint32_t count
    uint32_t leechers
    uint32_t capacity
    uint32_t *seen  # whole seconds of the last announce << 1 | is a seeder
    uint8_t *endpoints
    uint8_t *details
    Large *large  # NULL in a small one


cdef struct Part:
    # Of a swarm that is exported in parts.
    uint32_t count
    uint32_t seen[PART]
    uint8_t endpoints[PART * 18]
    uint8_t details[PART * DETAILS]


# --- chance

cdef inline uint32_t random_below(Store *store, uint64_t bound) noexcept nogil:
    """Uniform in 0 to bound - 1 (bound at most 2**32). SplitMix64 (Steele, Lea and Flood, 2014): the next number does
    not wait for this one.
    """
    cdef uint64_t x
    store.random += <uint64_t>0x9E3779B97F4A7C15
    x = store.random
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    x ^= x >> 31
    return <uint32_t>((x >> 32) * bound >> 32)


# --- torrents

cdef uint64_t torrent_hash(const Store *store, const uint8_t *info_hash) noexcept nogil:
    return table_hash(&store.torrent_key, info_hash, INFO_HASH)


cdef inline bint is_info_hash(const uint8_t *one, const uint8_t *other) noexcept nogil:
    """True if both are the same."""
    cdef uint64_t words[4]
    cdef uint32_t last[2]
    memcpy(words, one, 16)
    memcpy(words + 2, other, 16)
    memcpy(last, one + 16, 4)
    memcpy(last + 1, other + 16, 4)
    return ((words[0] ^ words[2]) | (words[1] ^ words[3]) | (last[0] ^ last[1])) == 0


cdef Swarm *find_torrent(const Store *store, const uint8_t *info_hash, uint64_t hash) noexcept nogil:
    return find_in_bucket(store, bucket_of(hash, store.buckets), info_hash)


cdef void look_up_torrent(const Store *store, Announce *request) noexcept nogil:
    request.found = find_torrent(store, request.info_hash, request.hash)
    request.found_at = store.changes


cdef Swarm *torrent_of(const Store *store, const Announce *request) noexcept nogil:
    """Of a request whose torrent was looked up, be it a while ago; NULL if it is not there."""
    if request.found_at == store.changes:
        return request.found
    return find_torrent(store, request.info_hash, request.hash)


cdef inline Swarm *find_in_bucket(
    const Store *store, uint64_t bucket, const uint8_t *info_hash
) noexcept nogil:
    """NULL if it is not there. Who stopped at a swarm that has left begins with the bucket anew."""
    cdef Swarm *swarm = store.heads[bucket]
    while swarm != NULL and not is_info_hash(swarm.info_hash, info_hash):
        swarm = swarm.next
    return swarm


cdef void add_bucket(Store *store) noexcept nogil:
    """One bucket more, if there are not two for each torrent and one more, and there is memory for it; without,
    chains are longer.
    """
    cdef uint64_t new = store.buckets
    cdef uint64_t capacity
    cdef Swarm **heads
    cdef Swarm **link
    cdef Swarm *swarm
    if new >= 2 * (store.torrents + 1):
        return
    if new == store.bucket_capacity:
        capacity = new + new // 8 + 8
        heads = <Swarm **>realloc(store.heads, capacity * sizeof(Swarm *))
        if heads == NULL:
            return
        store.heads = heads
        store.bucket_capacity = capacity
        use_huge_pages(heads, capacity * sizeof(Swarm *))
    store.heads[new] = NULL
    store.buckets = new + 1
    link = &store.heads[split_from(new)]
    while link[0] != NULL:
        swarm = link[0]
        if bucket_of(swarm.hash, new + 1) == new:
            link[0] = swarm.next
            swarm.next = store.heads[new]
            store.heads[new] = swarm
        else:
            link = &swarm.next


cdef Swarm *take_swarm(Store *store) noexcept nogil:
    """An empty one; NULL without memory."""
    cdef Swarm *swarm = store.free_swarms
    cdef Page *page
    cdef int i
    if swarm == NULL:
        page = <Page *>aligned_alloc(CACHE_LINE, sizeof(Page))
        if page == NULL:
            return NULL
        page.next = store.pages
        store.pages = page
        for i in range(<int>(sizeof(page.swarms) // sizeof(Swarm))):
            page.swarms[i].next = swarm
            swarm = &page.swarms[i]
    store.free_swarms = swarm.next
    memset(swarm, 0, sizeof(Swarm))
    return swarm


cdef Swarm *new_torrent(Store *store, const uint8_t *info_hash, uint64_t hash) noexcept nogil:
    """NULL without memory."""
    cdef Swarm *swarm = take_swarm(store)
    cdef Swarm **head
    if swarm == NULL:
        return NULL
    memcpy(swarm.info_hash, info_hash, INFO_HASH)
    swarm.hash = hash
    swarm.announces = 1
    add_bucket(store)
    add_bucket(store)
    head = &store.heads[bucket_of(hash, store.buckets)]
    swarm.next = head[0]
    head[0] = swarm
    store.torrents += 1
    store.changes += 1
    return swarm


cdef void unlink_torrent(Store *store, Swarm *swarm) noexcept nogil:
    cdef Swarm **link = &store.heads[bucket_of(swarm.hash, store.buckets)]
    while link[0] != swarm:
        link = &link[0].next
    link[0] = swarm.next


cdef void free_halves(Swarm *swarm) noexcept nogil:
    cdef int family
    for family in range(2):
        if swarm.capacity[family] == IS_LARGE:
            free_large(<Large *>swarm.block[family])
        else:
            free(swarm.block[family])


cdef void drop_torrent(Store *store, Swarm *swarm) noexcept nogil:
    cdef uint32_t seeders = 0
    cdef uint32_t leechers = 0
    counts(swarm, &seeders, &leechers)
    store.seeders -= seeders
    store.leechers -= leechers
    store.completed -= swarm.completed
    store.torrents -= 1
    store.changes += 1
    unlink_torrent(store, swarm)
    free_halves(swarm)
    swarm.next = store.free_swarms
    store.free_swarms = swarm


# --- halves

cdef void free_large(Large *large) noexcept nogil:
    free(large.seen)
    free(large.endpoints)
    free(large.details)
    free(large.next)
    free(large.heads)
    free(large)


cdef inline void open_half(Swarm *swarm, int family, Half *half) noexcept nogil:
    cdef uint8_t *block = <uint8_t *>swarm.block[family]
    cdef Large *large
    half.swarm = swarm
    half.family = family
    half.size = 6 if family == IPV4 else 18
    if swarm.capacity[family] == IS_LARGE:
        large = <Large *>block
        half.large = large
        half.count = large.count
        half.leechers = large.leechers
        half.capacity = large.capacity
        half.seen = large.seen
        half.endpoints = large.endpoints
        half.details = large.details
        return
    half.large = NULL
    half.count = swarm.count[family]
    half.leechers = swarm.leechers[family]
    half.capacity = swarm.capacity[family]
    half.seen = <uint32_t *>block
    half.endpoints = block + 4 * <size_t>half.capacity if block != NULL else NULL
    half.details = block + (4 + half.size) * half.capacity if block != NULL else NULL


cdef inline void close_half(const Half *half) noexcept nogil:
    """Keep the counts that work on the half has changed."""
    if half.large != NULL:
        half.large.count = half.count
        half.large.leechers = half.leechers
    else:
        half.swarm.count[half.family] = <uint8_t>half.count
        half.swarm.leechers[half.family] = <uint8_t>half.leechers


cdef void counts(const Swarm *swarm, uint32_t *seeders, uint32_t *leechers) noexcept nogil:
    cdef int family
    cdef const Large *large
    cdef uint32_t of_half
    seeders[0] = 0
    leechers[0] = 0
    for family in range(2):
        if swarm.capacity[family] == IS_LARGE:
            large = <const Large *>swarm.block[family]
            leechers[0] += large.leechers
            seeders[0] += large.count - large.leechers
        else:
            of_half = swarm.leechers[family]
            leechers[0] += of_half
            seeders[0] += swarm.count[family] - of_half


cdef inline uint32_t count_of(const Swarm *swarm, int family) noexcept nogil:
    if swarm.capacity[family] == IS_LARGE:
        return (<const Large *>swarm.block[family]).count
    return swarm.count[family]


cdef bint has_peers(const Swarm *swarm) noexcept nogil:
    """False also for no swarm at all."""
    return swarm != NULL and peers_of(swarm) > 0


cdef inline uint64_t endpoint_hash(const Store *store, const uint8_t *endpoint, size_t size) noexcept nogil:
    if size == 6:
        return table_hash(&store.endpoint_key, endpoint, 6)
    return table_hash(&store.endpoint_key, endpoint, 18)


cdef inline uint8_t *endpoint_at(const Half *half, uint32_t position) noexcept nogil:
    return half.endpoints + half.size * position


cdef inline bint is_endpoint(const uint8_t *one, const uint8_t *other, size_t size) noexcept nogil:
    """True if both are the same."""
    cdef uint32_t addresses[2]
    cdef uint16_t ports[2]
    if size != 6:
        return memcmp(one, other, 18) == 0
    memcpy(addresses, one, 4)
    memcpy(addresses + 1, other, 4)
    memcpy(ports, one + 4, 2)
    memcpy(ports + 1, other + 4, 2)
    return addresses[0] == addresses[1] and ports[0] == ports[1]


cdef int64_t find_announced(const Store *store, const Half *half, const Announce *request) noexcept nogil:
    """The position of the peer that announces, or -1."""
    cdef int64_t expected = request.expected
    if 0 <= expected < half.count and is_endpoint(
        endpoint_at(half, <uint32_t>expected), request.endpoint, half.size
    ):
        return expected
    return find_peer(store, half, request.endpoint)


cdef int64_t find_peer(const Store *store, const Half *half, const uint8_t *endpoint) noexcept nogil:
    """The position of the peer, or -1."""
    cdef uint32_t position
    cdef uint64_t sought = 0
    cdef uint64_t found = 0
    if half.large != NULL:
        position = half.large.heads[
            bucket_of(endpoint_hash(store, endpoint, half.size), half.large.buckets)
        ]
        while position != NO_PEER and not is_endpoint(endpoint_at(half, position), endpoint, half.size):
            position = half.large.next[position]
        return -1 if position == NO_PEER else <int64_t>position
    if half.size == 6:
        memcpy(&sought, endpoint, 6)
        for position in range(half.count):
            memcpy(&found, half.endpoints + 6 * <size_t>position, 6)
            if found == sought:
                return position
        return -1
    for position in range(half.count):
        if memcmp(half.endpoints + 18 * <size_t>position, endpoint, 18) == 0:
            return position
    return -1


cdef void link_peer(const Store *store, const Half *half, uint32_t position) noexcept nogil:
    """Let the table of a large half find the peer."""
    cdef Large *large = half.large
    cdef uint64_t bucket = bucket_of(
        endpoint_hash(store, endpoint_at(half, position), half.size), large.buckets
    )
    large.next[position] = large.heads[bucket]
    large.heads[bucket] = position


cdef void unlink_peer(const Store *store, const Half *half, uint32_t position) noexcept nogil:
    cdef Large *large = half.large
    cdef uint32_t *link = &large.heads[
        bucket_of(endpoint_hash(store, endpoint_at(half, position), half.size), large.buckets)
    ]
    while link[0] != position:
        link = &large.next[link[0]]
    link[0] = large.next[position]


cdef void add_peer_bucket(const Store *store, const Half *half) noexcept nogil:
    """One bucket more; there is room for it."""
    cdef Large *large = half.large
    cdef uint32_t new = large.buckets
    cdef uint32_t *link
    cdef uint32_t position
    large.heads[new] = NO_PEER
    large.buckets = new + 1
    link = &large.heads[split_from(new)]
    while link[0] != NO_PEER:
        position = link[0]
        if bucket_of(endpoint_hash(store, endpoint_at(half, position), half.size), new + 1) == new:
            link[0] = large.next[position]
            large.next[position] = large.heads[new]
            large.heads[new] = position
        else:
            link = &large.next[position]


cdef void move_peer(const Half *half, uint32_t source, uint32_t target) noexcept nogil:
    """Overwrite one peer by another; in a large half both are linked by the caller."""
    if half.size == 6:
        memcpy(half.endpoints + 6 * <size_t>target, half.endpoints + 6 * <size_t>source, 6)
    else:
        memcpy(half.endpoints + 18 * <size_t>target, half.endpoints + 18 * <size_t>source, 18)
    memcpy(half.details + DETAILS * <size_t>target, half.details + DETAILS * <size_t>source, DETAILS)
    half.seen[target] = half.seen[source]


cdef void relocate_peer(const Store *store, const Half *half, uint32_t source, uint32_t target) noexcept nogil:
    """Move a peer to a place that is free."""
    if source == target:
        return
    if half.large != NULL:
        unlink_peer(store, half, source)
    move_peer(half, source, target)
    if half.large != NULL:
        link_peer(store, half, target)


cdef void swap_peers(const Store *store, const Half *half, uint32_t one, uint32_t other) noexcept nogil:
    cdef uint8_t endpoint[18]
    cdef uint8_t details[DETAILS]
    cdef uint32_t seen
    if one == other:
        return
    if half.large != NULL:
        unlink_peer(store, half, one)
        unlink_peer(store, half, other)
    memcpy(endpoint, endpoint_at(half, one), half.size)
    memcpy(details, half.details + DETAILS * <size_t>one, DETAILS)
    seen = half.seen[one]
    move_peer(half, other, one)
    memcpy(endpoint_at(half, other), endpoint, half.size)
    memcpy(half.details + DETAILS * <size_t>other, details, DETAILS)
    half.seen[other] = seen
    if half.large != NULL:
        link_peer(store, half, one)
        link_peer(store, half, other)


# --- the memory of halves

cdef int resize_small(Half *half, uint32_t capacity) noexcept nogil:
    """Another capacity of 1 to SMALL peers, at least the count. -1 without memory."""
    cdef uint8_t *block = <uint8_t *>half.swarm.block[half.family]
    cdef uint32_t before = half.capacity
    cdef size_t size = half.size
    if capacity < before:  # towards the front, before the end is given back
        memmove(block + 4 * <size_t>capacity, block + 4 * <size_t>before, size * half.count)
        memmove(block + (4 + size) * capacity, block + (4 + size) * before, DETAILS * <size_t>half.count)
    block = <uint8_t *>realloc(block, (4 + size + DETAILS) * capacity)
    if block == NULL:
        if capacity > before:
            return -1
        block = <uint8_t *>half.swarm.block[half.family]
    elif capacity > before:  # towards the end, the last first
        memmove(block + (4 + size) * capacity, block + (4 + size) * before, DETAILS * <size_t>half.count)
        memmove(block + 4 * <size_t>capacity, block + 4 * <size_t>before, size * half.count)
    half.swarm.block[half.family] = block
    half.swarm.capacity[half.family] = <uint8_t>capacity
    half.capacity = capacity
    half.seen = <uint32_t *>block
    half.endpoints = block + 4 * <size_t>capacity
    half.details = block + (4 + size) * capacity
    return 0


cdef int resize_large(Half *half, uint32_t capacity) noexcept nogil:
    """Another capacity, at least the count. -1 if there is no memory for it; no array is ever too small."""
    cdef Large *large = half.large
    cdef void *moved
    if capacity < half.capacity:
        half.capacity = large.capacity = capacity
    moved = realloc(large.seen, 4 * <size_t>capacity)
    if moved == NULL:
        return -1
    half.seen = large.seen = <uint32_t *>moved
    moved = realloc(large.endpoints, half.size * capacity)
    if moved == NULL:
        return -1
    half.endpoints = large.endpoints = <uint8_t *>moved
    use_huge_pages(moved, half.size * capacity)
    moved = realloc(large.details, DETAILS * <size_t>capacity)
    if moved == NULL:
        return -1
    half.details = large.details = <uint8_t *>moved
    use_huge_pages(moved, DETAILS * <size_t>capacity)
    moved = realloc(large.next, 4 * <size_t>capacity)
    if moved == NULL:
        return -1
    large.next = <uint32_t *>moved
    if 2 * capacity > large.bucket_capacity:  # twice as many as the most peers, and never fewer again
        moved = realloc(large.heads, 8 * <size_t>capacity)
        if moved == NULL:
            return -1
        large.heads = <uint32_t *>moved
        large.bucket_capacity = 2 * capacity
    half.capacity = large.capacity = capacity
    return 0


cdef int make_large(const Store *store, Half *half) noexcept nogil:
    """From a block to arrays with a table. -1 without memory."""
    cdef Large *large = <Large *>aligned_alloc(CACHE_LINE, sizeof(Large))
    cdef Half fresh
    cdef uint32_t position
    if large == NULL:
        return -1
    memset(large, 0, sizeof(Large))
    fresh = half[0]
    fresh.large = large
    if resize_large(&fresh, SMALL + SMALL // 8) < 0:
        free_large(large)
        return -1
    memcpy(fresh.seen, half.seen, 4 * <size_t>half.count)
    memcpy(fresh.endpoints, half.endpoints, half.size * half.count)
    memcpy(fresh.details, half.details, DETAILS * <size_t>half.count)
    large.buckets = 2 * SMALL
    for position in range(2 * SMALL):
        large.heads[position] = NO_PEER
    for position in range(half.count):
        link_peer(store, &fresh, position)
    free(half.swarm.block[half.family])
    half.swarm.block[half.family] = large
    half.swarm.capacity[half.family] = IS_LARGE
    half[0] = fresh
    return 0


cdef void make_small(Half *half) noexcept nogil:
    """From arrays to a block, if there is memory for it."""
    cdef uint32_t capacity = half.count
    cdef uint8_t *block = <uint8_t *>malloc((4 + half.size + DETAILS) * capacity)
    if block == NULL:
        return
    memcpy(block, half.seen, 4 * <size_t>half.count)
    memcpy(block + 4 * <size_t>capacity, half.endpoints, half.size * half.count)
    memcpy(block + (4 + half.size) * capacity, half.details, DETAILS * <size_t>half.count)
    free_large(half.large)
    half.swarm.block[half.family] = block
    half.swarm.capacity[half.family] = <uint8_t>capacity
    half.swarm.count[half.family] = <uint8_t>half.count
    half.swarm.leechers[half.family] = <uint8_t>half.leechers
    open_half(half.swarm, half.family, half)


cdef int grow(const Store *store, Half *half) noexcept nogil:
    """Room for one more. -1 without memory."""
    cdef uint32_t capacity
    if half.count < half.capacity:
        return 0
    capacity = half.capacity + half.capacity // 8 + (half.capacity < 8)
    if half.large != NULL:
        return resize_large(half, capacity)
    if capacity > SMALL:
        return make_large(store, half)
    return resize_small(half, capacity)


cdef void shrink(Half *half) noexcept nogil:
    """Give back what is not needed any more."""
    if half.count == 0 and half.large == NULL:
        free(half.swarm.block[half.family])
        half.swarm.block[half.family] = NULL
        half.swarm.capacity[half.family] = 0
    elif half.large != NULL and half.count <= SMALL // 2:
        make_small(half)
    elif half.large != NULL and half.count < half.capacity // 2:
        resize_large(half, half.count + half.count // 8)
    elif half.large == NULL and half.count < half.capacity // 2:
        resize_small(half, half.count)


# --- peers

cdef uint32_t update_peer(
    const Store *store, Half *half, uint32_t position, const Announce *request
) noexcept nogil:
    """Write anew what is known of the peer; its position afterwards."""
    cdef uint8_t *details = half.details + DETAILS * <size_t>position
    cdef uint16_t event_and_ms = <uint16_t>(request.event << 10 | request.ms)
    cdef bint is_seeder = request.left == 0
    memcpy(details, request.peer_id, PEER_ID)
    memcpy(details + 20, &request.uploaded, 8)
    memcpy(details + 28, &request.downloaded, 8)
    memcpy(details + 36, &request.left, 8)
    memcpy(details + 44, &event_and_ms, 2)
    half.seen[position] = request.second << 1 | is_seeder
    if not is_seeder and position >= half.leechers:
        swap_peers(store, half, position, half.leechers)
        position = half.leechers
        half.leechers += 1
    elif is_seeder and position < half.leechers:
        half.leechers -= 1
        swap_peers(store, half, position, half.leechers)
        position = half.leechers
    return position


cdef int64_t add_peer(Store *store, Half *half, const Announce *request) noexcept nogil:
    """Put in a peer that is not there; its position, or -1 without memory."""
    cdef uint32_t position = half.count
    if grow(store, half) < 0:
        return -1
    memcpy(endpoint_at(half, position), request.endpoint, half.size)
    half.count += 1
    if half.large != NULL:
        link_peer(store, half, position)
        while half.large.buckets < min(2 * half.count, half.large.bucket_capacity):
            add_peer_bucket(store, half)
    if request.left == 0:
        store.seeders += 1
    else:
        store.leechers += 1
    keep_up_with_heap(store)
    return update_peer(store, half, position, request)


cdef inline void keep_up_with_heap(Store *store) noexcept nogil:
    cdef uint64_t peers = store.seeders + store.leechers
    if peers >= MANY_PEERS and peers % PEERS_A_HUGE_PAGE == 0:
        use_huge_pages_of_heap(&store.heap)


cdef void remove_peer(Store *store, Half *half, uint32_t position) noexcept nogil:
    """Take out a peer; the counts are kept in the half until it is closed."""
    if half.large != NULL:
        unlink_peer(store, half, position)
    if position < half.leechers:
        store.leechers -= 1
        half.leechers -= 1
        relocate_peer(store, half, half.leechers, position)
        position = half.leechers
    else:
        store.seeders -= 1
    half.count -= 1
    relocate_peer(store, half, half.count, position)


cdef int note_changed(Store *store, Swarm *swarm) noexcept nogil:
    """Its completed counter is to be saved. -1 without memory."""
    cdef uint64_t capacity
    cdef Swarm **changed
    if swarm.is_changed:
        return 0
    if store.changed_count == store.changed_capacity:
        capacity = 2 * store.changed_capacity + 64
        changed = <Swarm **>realloc(store.changed, capacity * sizeof(Swarm *))
        if changed == NULL:
            return -1
        store.changed = changed
        store.changed_capacity = capacity
    store.changed[store.changed_count] = swarm
    store.changed_count += 1
    swarm.is_changed = 1
    return 0


# --- limits

cdef Swarm *random_torrent(Store *store) noexcept nogil:
    """Any; NULL if none was found near the bucket that chance chose last."""
    cdef uint64_t bucket = 0
    cdef uint32_t length = 0
    cdef uint32_t number
    cdef int tries
    cdef Swarm *swarm
    if store.torrents == 0:
        return NULL
    for tries in range(GUESSES):  # a search at once would mostly find the torrents behind empty buckets
        bucket = random_below(store, store.buckets)
        if store.heads[bucket] != NULL:
            break
    for tries in range(LONGEST_SEARCH):
        if store.heads[bucket] != NULL:
            break
        bucket = bucket + 1 if bucket + 1 < store.buckets else 0
    swarm = store.heads[bucket]
    while swarm != NULL:
        length += 1
        swarm = swarm.next
    if length == 0:
        return NULL
    swarm = store.heads[bucket]
    for number in range(random_below(store, length)):
        swarm = swarm.next
    return swarm


cdef inline bint has_no_room_for_torrents(const Store *store) noexcept nogil:
    return 0 < store.max_torrents <= store.torrents


cdef inline bint has_no_room_for_restored(const Store *store) noexcept nogil:
    """Torrents without peers have half of it, since they are not evicted."""
    return 0 < store.max_torrents <= 2 * store.torrents


cdef inline bint has_no_room_for_peers(const Store *store) noexcept nogil:
    return store.is_short or 0 < store.max_peers <= store.seeders + store.leechers


cdef inline bint is_full(const Store *store, uint64_t peers) noexcept nogil:
    """No room for another peer in a swarm of so many."""
    return has_no_room_for_peers(store) or 0 < store.max_peers_per_torrent <= peers


cdef void look_at_memory(Store *store) noexcept nogil:
    """Before a peer is put in: every so often, whether there is memory to spare."""
    cdef void *spare
    if store.until_look > 0:
        store.until_look -= 1
        return
    store.until_look = A_LOOK - 1
    spare = mmap(NULL, TO_SPARE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    store.is_short = spare == MAP_FAILED
    if not store.is_short:
        munmap(spare, TO_SPARE)


cdef bint make_room(Store *store) noexcept nogil:
    """Room for a torrent that has no peers yet: False if a sample has none that a single announce only touched."""
    cdef bint peers_are_full = has_no_room_for_peers(store)
    cdef uint32_t seeders = 0
    cdef uint32_t leechers = 0
    cdef Swarm *candidate
    cdef int tries
    if not (peers_are_full or has_no_room_for_torrents(store)):
        return True
    for tries in range(EVICTION_SAMPLE):
        candidate = random_torrent(store)
        if candidate == NULL or candidate.announces >= 2:
            continue
        counts(candidate, &seeders, &leechers)
        if seeders + leechers > 0 or not peers_are_full:
            drop_torrent(store, candidate)
            store.evicted_torrents += 1
            return True
    return False


cdef void replace_one(Store *store, Swarm *swarm, int family) noexcept nogil:
    """Take out a random peer, of this family if the swarm has any."""
    cdef Half half
    open_half(swarm, family, &half)
    if half.count == 0:
        open_half(swarm, 1 - family, &half)
    remove_peer(store, &half, random_below(store, half.count))
    close_half(&half)
    shrink(&half)
    store.replaced_peers += 1


# --- one announce

cdef int keep_peer(Store *store, const Announce *request, View *view) noexcept nogil:
    """Put the peer into its swarm. -1 without memory."""
    cdef Swarm *swarm = view.swarm
    cdef uint32_t seeders = 0
    cdef uint32_t leechers = 0
    cdef int64_t position = -1
    cdef Half half
    if swarm != NULL:
        open_half(swarm, request.family, &half)
        position = find_announced(store, &half, request)
    if position >= 0:
        return keep_known_peer(store, request, view, &half, <uint32_t>position)
    look_at_memory(store)
    if swarm != NULL:
        counts(swarm, &seeders, &leechers)
    if seeders + leechers == 0:
        if not make_room(store):
            store.unstored += 1
            return 0
    elif is_full(store, seeders + leechers):
        replace_one(store, swarm, request.family)
    if swarm == NULL:
        swarm = new_torrent(store, request.info_hash, request.hash)
        if swarm == NULL:
            store.is_short = True
            return -1
    open_half(swarm, request.family, &half)
    position = add_peer(store, &half, request)
    if position < 0:
        store.is_short = True
        if view.swarm == NULL:
            drop_torrent(store, swarm)
        return -1
    close_half(&half)
    view.swarm = swarm
    view.hole[request.family] = position
    return 0


cdef int keep_known_peer(
    Store *store, const Announce *request, View *view, Half *half, uint32_t position
) noexcept nogil:
    cdef uint32_t leechers = half.leechers
    if request.event == EVENT_COMPLETED and (
        half.details[DETAILS * <size_t>position + 45] >> 2 != EVENT_COMPLETED
    ):
        if store.keep_completed and note_changed(store, half.swarm) < 0:
            return -1
        if half.swarm.completed < UINT32_MAX:
            half.swarm.completed += 1
            store.completed += 1
    view.hole[request.family] = update_peer(store, half, position, request)
    if half.leechers != leechers:
        store.leechers += <uint64_t>half.leechers - leechers
        store.seeders -= <uint64_t>half.leechers - leechers
        close_half(half)
    return 0


cdef void stop_peer(Store *store, const Announce *request, Swarm *swarm) noexcept nogil:
    cdef Half half
    cdef int64_t position
    open_half(swarm, request.family, &half)
    position = find_announced(store, &half, request)
    if position >= 0:
        remove_peer(store, &half, <uint32_t>position)
        close_half(&half)
        shrink(&half)


cdef void share(View *view, const Announce *request) noexcept nogil:
    """How many peers of each family the receiver gets: both share what it wants."""
    cdef uint32_t others[2]
    cdef uint32_t wanted[2]
    cdef uint32_t reserved
    cdef int family
    for family in range(2):
        others[family] = count_of(view.swarm, family) - (view.hole[family] >= 0)
        wanted[family] = request.num_want if request.families & (WANTS_IPV4 << family) else 0
    if request.families == WANTS_IPV4 | WANTS_IPV6:
        reserved = min(others[IPV6], request.num_want // 2)
        wanted[IPV4] = min(others[IPV4], request.num_want - reserved)
        wanted[IPV6] = request.num_want - wanted[IPV4]
    for family in range(2):
        view.chosen[family] = min(wanted[family], others[family])


cdef int apply_announce(Store *store, const Announce *request, View *view) noexcept nogil:
    """Apply the request and say what `choose` may write. -1 without memory; then nothing is changed."""
    cdef Swarm *swarm = torrent_of(store, request)
    cdef size_t size = 6 if request.family == IPV4 else 18
    view.swarm = swarm
    view.seeders = view.leechers = 0
    view.chosen[IPV4] = view.chosen[IPV6] = 0
    view.hole[IPV4] = view.hole[IPV6] = -1
    view.is_seeder = request.left == 0
    if swarm != NULL and swarm.announces < 2:
        swarm.announces += 1
    if request.event == EVENT_STOPPED:
        if swarm != NULL:
            stop_peer(store, request, swarm)
            counts(swarm, &view.seeders, &view.leechers)
        return 0
    if request.endpoint[size - 1] or request.endpoint[size - 2]:  # nobody is reached at port 0
        if keep_peer(store, request, view) < 0:
            return -1
    if view.swarm != NULL:
        counts(view.swarm, &view.seeders, &view.leechers)
        share(view, request)
    return 0


# --- the choice of peers

cdef inline void copy_endpoint(uint8_t *out, const uint8_t *endpoint, size_t size) noexcept nogil:
    if size == 6:
        memcpy(out, endpoint, 6)
    else:
        memcpy(out, endpoint, 18)


cdef void copy_all(const Half *half, uint32_t end, int64_t hole, uint8_t *out) noexcept nogil:
    """The peers at 0 to end - 1 without the one at the hole."""
    cdef size_t before = half.size * (<size_t>hole if 0 <= hole < end else end)
    memcpy(out, half.endpoints, before)
    if 0 <= hole < end:
        memcpy(out + before, half.endpoints + before + half.size, half.size * end - half.size - before)


cdef void pick(
    Store *store, const Half *half, uint32_t first, uint32_t end, int64_t hole, uint32_t wanted, uint8_t *out
) noexcept nogil:
    """Fewer than all of the peers at first to end - 1 without the one at the hole.

    These others form a ring. From a random start it is cut into as many parts as are wanted, whose sizes differ
    by at most one, and of each part one random peer is taken. Since the start is uniform over the ring, every
    peer is equally likely.
    """
    cdef bint has_hole = first <= hole < end
    cdef uint32_t others = end - first - has_hole
    cdef uint32_t skipped = <uint32_t>hole - first if has_hole else others
    cdef uint32_t part = others // wanted
    cdef uint32_t larger_parts = others % wanted
    cdef uint32_t start = random_below(store, others)
    cdef uint32_t done = 0
    cdef uint32_t number, size, at, i, picks
    cdef size_t endpoint_size = half.size
    cdef const uint8_t *endpoints = half.endpoints + endpoint_size * first
    cdef const uint8_t *picked[PICKS_AT_ONCE]
    while done < wanted:
        picks = min(wanted - done, <uint32_t>PICKS_AT_ONCE)
        for i in range(picks):  # in a large swarm each is a miss of the cache: let them be fetched together
            number = done + i
            size = part + (number < larger_parts)
            at = start + random_below(store, size)
            if at >= others:
                at -= others
            picked[i] = endpoints + endpoint_size * (at + (at >= skipped))
            PREFETCH_READ(picked[i])
            start += size
        for i in range(picks):
            copy_endpoint(out, picked[i], endpoint_size)
            out += endpoint_size
        done += picks


cdef uint32_t choose(Store *store, const View *view, int family, uint8_t *out) noexcept nogil:
    """Write the endpoints that a view promises of one family; how many.

    A seeder gets leechers first, then seeders; a leecher gets both alike.
    """
    cdef uint32_t wanted = view.chosen[family]
    cdef int64_t hole = view.hole[family]
    cdef Half half
    if wanted == 0:
        return 0
    open_half(view.swarm, family, &half)
    if wanted == half.count - (hole >= 0):
        copy_all(&half, half.count, hole, out)
    elif not view.is_seeder:
        pick(store, &half, 0, half.count, hole, wanted, out)
    elif wanted < half.leechers:
        pick(store, &half, 0, half.leechers, -1, wanted, out)
    else:
        copy_all(&half, half.leechers, -1, out)
        if wanted > half.leechers:
            out += half.size * half.leechers
            pick(store, &half, half.leechers, half.count, hole, wanted - half.leechers, out)
    return wanted


# --- what a batch of requests will need, fetched while others are worked on

cdef void prefetch_bucket(const Store *store, uint64_t hash) noexcept nogil:
    PREFETCH_READ(&store.heads[bucket_of(hash, store.buckets)])


cdef void prefetch_torrent(const Store *store, uint64_t hash) noexcept nogil:
    """The first of its bucket, which most chains end with."""
    PREFETCH_READ(store.heads[bucket_of(hash, store.buckets)])


cdef void prefetch_half(const Store *store, Announce *request) noexcept nogil:
    """Look the torrent up; what is needed of its peers to find the one that announces."""
    cdef const Swarm *swarm
    cdef const uint8_t *block
    cdef size_t at
    cdef size_t end
    look_up_torrent(store, request)
    swarm = request.found
    if swarm == NULL or swarm.block[request.family] == NULL:
        return
    block = <const uint8_t *>swarm.block[request.family]
    end = sizeof(Large)
    if swarm.capacity[request.family] != IS_LARGE:
        end = (4 + (6 if request.family == IPV4 else 18)) * <size_t>swarm.capacity[request.family]
    at = 0
    while at < end:
        PREFETCH_READ(block + at)
        at += CACHE_LINE


cdef inline void prefetch_details(const uint8_t *details, size_t position) noexcept nogil:
    PREFETCH_WRITE(details + DETAILS * position)
    PREFETCH_WRITE(details + DETAILS * position + DETAILS - 1)


cdef void prefetch_peer(const Store *store, Announce *request) noexcept nogil:
    """Where a large half finds the peer, and what a small one holds of it."""
    cdef int family = request.family
    cdef Swarm *swarm = request.found
    cdef const Large *large
    cdef Half half
    request.expected = -1
    if swarm == NULL:
        return
    if swarm.capacity[family] == IS_LARGE:
        large = <const Large *>swarm.block[family]
        request.endpoint_hash = endpoint_hash(store, request.endpoint, 6 if family == IPV4 else 18)
        PREFETCH_READ(&large.heads[bucket_of(request.endpoint_hash, large.buckets)])
        return
    open_half(swarm, family, &half)
    request.expected = find_peer(store, &half, request.endpoint)
    if request.expected >= 0:
        prefetch_details(half.details, <size_t>request.expected)


cdef void prefetch_known(Announce *request) noexcept nogil:
    """What a large half holds of the peer, if it is the first of its bucket, and which is the next one."""
    cdef int family = request.family
    cdef const Swarm *swarm = request.found
    cdef const Large *large
    cdef uint32_t position
    if swarm == NULL or swarm.capacity[family] != IS_LARGE:
        return
    large = <const Large *>swarm.block[family]
    position = large.heads[bucket_of(request.endpoint_hash, large.buckets)]
    if position != NO_PEER:
        request.expected = position
        PREFETCH_READ(large.next + position)
        PREFETCH_READ(large.endpoints + (6 if family == IPV4 else 18) * <size_t>position)
        PREFETCH_WRITE(large.seen + position)
        prefetch_details(large.details, position)


# --- expiry

cdef int64_t expire_peers(
    Store *store, Swarm *swarm, int family, int64_t first, int64_t count, uint64_t bound
) noexcept nogil:
    """Look at `count` peers from `first` on downwards; the next position to look at, or -1.

    Downwards, since what leaves is overwritten by the last, which was looked at before.
    """
    cdef Half half
    cdef int64_t position
    cdef int64_t last
    open_half(swarm, family, &half)
    position = min(first, <int64_t>half.count - 1)
    last = max(<int64_t>-1, position - count)
    while position > last:
        if half.seen[position] < bound:
            remove_peer(store, &half, <uint32_t>position)
        position -= 1
    close_half(&half)
    shrink(&half)
    return last


cdef bint is_forgotten(const Store *store, const Swarm *swarm) noexcept nogil:
    """True if nothing keeps the torrent."""
    cdef uint32_t seeders = 0
    cdef uint32_t leechers = 0
    if not store.remove_peerless or (store.keep_completed and swarm.completed > 0):
        return False
    counts(swarm, &seeders, &leechers)
    return seeders + leechers == 0


cdef void remove_torrent(Store *store, Swarm *swarm) noexcept nogil:
    """All its peers, and the torrent itself unless its completed counter is kept. (Then it may be in the list of what
    changed, so it stays where it is.)
    """
    cdef uint32_t seeders = 0
    cdef uint32_t leechers = 0
    cdef int family
    if not (store.keep_completed and swarm.completed > 0):
        drop_torrent(store, swarm)
        return
    counts(swarm, &seeders, &leechers)
    store.seeders -= seeders
    store.leechers -= leechers
    free_halves(swarm)
    for family in range(2):
        swarm.block[family] = NULL
        swarm.count[family] = swarm.leechers[family] = swarm.capacity[family] = 0


cdef int64_t sweep_swarm(Store *store, Swarm *swarm, int64_t work, uint64_t bound) noexcept nogil:
    """Go on within a swarm; what is left of `work`. `sweeps_within` says that the pass is to be resumed there."""
    cdef int family = 0
    cdef int64_t position = UINT32_MAX
    cdef int64_t before
    cdef Half half
    if store.sweeps_within:
        family = store.sweep_family
        position = store.sweep_position
        store.sweeps_within = False
    while family < 2:
        open_half(swarm, family, &half)
        position = min(position, <int64_t>half.count - 1)
        while position >= 0:
            if work <= 0:
                memcpy(store.sweep_info_hash, swarm.info_hash, INFO_HASH)
                store.sweep_family = family
                store.sweep_position = position
                store.sweeps_within = True
                return work
            before = position
            position = expire_peers(store, swarm, family, position, PEERS_A_STEP, bound)
            work -= before - position
        family += 1
        position = UINT32_MAX
    return work - 1


cdef bint sweep(Store *store, int64_t work, uint64_t bound) noexcept nogil:
    """True if the pass has ended."""
    cdef Swarm *swarm
    cdef Swarm *next
    while store.sweep_bucket < store.buckets:
        if work <= 0:
            return False
        swarm = NULL
        if store.sweeps_within:
            swarm = find_in_bucket(store, store.sweep_bucket, store.sweep_info_hash)
            store.sweeps_within = swarm != NULL
        if swarm == NULL:
            swarm = store.heads[store.sweep_bucket]
        while swarm != NULL:
            next = swarm.next
            work = sweep_swarm(store, swarm, work, bound)
            if store.sweeps_within:
                return False
            if is_forgotten(store, swarm):
                drop_torrent(store, swarm)
            swarm = next
        store.sweep_bucket += 1
        if store.sweep_bucket % BUCKETS_A_UNIT == 0:
            work -= 1
    store.sweep_bucket = 0
    return True


# --- export

cdef inline uint32_t peers_of(const Swarm *swarm) noexcept nogil:
    cdef uint32_t seeders = 0
    cdef uint32_t leechers = 0
    counts(swarm, &seeders, &leechers)
    return seeders + leechers


cdef void write_head(
    uint8_t *out, const Swarm *swarm, bint is_first_part, uint32_t ipv4, uint32_t ipv6
) noexcept nogil:
    memcpy(out, swarm.info_hash, INFO_HASH)
    memcpy(out + 20, &swarm.completed, 4)
    out[24] = swarm.announces
    out[25] = not is_first_part
    out[26] = out[27] = 0
    memcpy(out + 28, &ipv4, 4)
    memcpy(out + 32, &ipv6, 4)


cdef size_t write_swarm(uint8_t *out, Swarm *swarm) noexcept nogil:
    """A record of all of it; its size."""
    cdef size_t at = RECORD_HEAD
    cdef uint32_t count[2]
    cdef int family
    cdef Half half
    for family in range(2):
        open_half(swarm, family, &half)
        count[family] = half.count
        if half.count == 0:
            continue
        memcpy(out + at, half.seen, 4 * <size_t>half.count)
        at += 4 * <size_t>half.count
        memcpy(out + at, half.endpoints, half.size * half.count)
        at += half.size * half.count
        memcpy(out + at, half.details, DETAILS * <size_t>half.count)
        at += DETAILS * <size_t>half.count
    write_head(out, swarm, True, count[IPV4], count[IPV6])
    return at


cdef bint goes_on(Round *round, uint64_t buckets) noexcept nogil:
    """Begin another round if this one has ended: with the buckets that the table has got meanwhile, if they may
    hold what no round has seen.

    What they hold comes from other buckets. If those were seen in earlier rounds, all that was there from the
    beginning has been seen. So a table that goes on growing does not keep the walk from its end.
    """
    cdef uint64_t new
    if round.at < round.end:
        return True
    for new in range(round.end, buckets):
        if split_from(new) >= round.first:
            round.first = round.end
            round.end = buckets
            return True
    return False


cdef inline int64_t clock_ns() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * <int64_t>1_000_000_000 + time.tv_nsec


cdef inline void copy_peer(Part *part, const Half *half, uint32_t position) noexcept nogil:
    memcpy(part.seen + part.count, half.seen + position, 4)
    memcpy(part.endpoints + part.count * half.size, endpoint_at(half, position), half.size)
    memcpy(part.details + part.count * DETAILS, half.details + DETAILS * <size_t>position, DETAILS)
    part.count += 1


cdef void copy_next(Part *part, const Half *half, Round *round, int64_t until) noexcept nogil:
    """Up to PART peers of the half from a bucket of its table on, which then is the one to go on at.

    By bucket, since a peer may change its position meanwhile. After every fourth it ends if it is later than
    `until` and has found one.
    """
    cdef uint32_t before
    cdef uint32_t position
    if half.large == NULL:
        for position in range(half.count):
            copy_peer(part, half, position)
        return
    while round.at < round.end:
        before = part.count
        position = half.large.heads[round.at]
        while position != NO_PEER and part.count < PART:
            copy_peer(part, half, position)
            position = half.large.next[position]
        if position != NO_PEER and before > 0:
            part.count = before
            return
        round.at += 1
        if round.at % 4 == 0 and part.count > 0 and clock_ns() > until:
            return


cdef size_t write_part(
    uint8_t *out, Swarm *swarm, Cursor *cursor, uint32_t *peers, int64_t until
) noexcept nogil:
    """A record of the next peers; its size. `cursor.family` is 2 when there are no more."""
    cdef int family = cursor.family
    cdef size_t at = RECORD_HEAD
    cdef Part part
    cdef Half half
    part.count = 0
    open_half(swarm, family, &half)
    if half.large != NULL and (cursor.peers.end == 0 or cursor.peers.end > half.large.buckets):
        memset(&cursor.peers, 0, sizeof(Round))  # it begins, or has become small and large again
        cursor.peers.end = half.large.buckets
    copy_next(&part, &half, &cursor.peers, until)
    memcpy(out + at, part.seen, 4 * part.count)
    at += 4 * part.count
    memcpy(out + at, part.endpoints, half.size * part.count)
    at += half.size * part.count
    memcpy(out + at, part.details, DETAILS * part.count)
    at += DETAILS * part.count
    write_head(
        out, swarm, not cursor.has_begun,
        part.count if family == IPV4 else 0, part.count if family == IPV6 else 0,
    )
    cursor.has_begun = True
    if half.large == NULL or not goes_on(&cursor.peers, half.large.buckets):
        cursor.family += 1
        cursor.peers.end = 0
    peers[0] += part.count
    return at


cdef inline void begin_swarm(Cursor *cursor) noexcept nogil:
    cursor.has_begun = False
    cursor.family = 0
    cursor.peers.end = 0


cdef void stop_at(Cursor *cursor, const Swarm *swarm) noexcept nogil:
    """Go on with this swarm, or if it is NULL with the next bucket."""
    cursor.is_at_swarm = swarm != NULL
    if swarm != NULL:
        memcpy(cursor.info_hash, swarm.info_hash, INFO_HASH)
    else:
        cursor.torrents.at += 1


cdef size_t export_step(
    Store *store, Cursor *cursor, uint8_t *out, uint32_t *torrents, uint32_t *peers
) noexcept nogil:
    """Write records into EXPORT_STEP bytes; how many bytes. A part of a swarm has a step of its own.

    It looks at the clock after each large torrent and every fourth, and ends EXPORT_TIME after it began: a step
    usually takes a tenth of that, but longer where memory was idle and the machine is a virtual one.
    """
    cdef int64_t until = clock_ns() + EXPORT_TIME
    cdef uint64_t last = min(cursor.torrents.at + BUCKETS_A_STEP, cursor.torrents.end)
    cdef size_t used = 0
    cdef uint32_t of_swarm
    cdef Swarm *swarm
    while cursor.torrents.at < last:
        swarm = NULL
        if cursor.is_at_swarm:
            swarm = find_in_bucket(store, cursor.torrents.at, cursor.info_hash)
        if swarm == NULL:
            begin_swarm(cursor)
            swarm = store.heads[cursor.torrents.at]
        while swarm != NULL:
            of_swarm = peers_of(swarm)
            if cursor.has_begun or of_swarm > WHOLE:
                if used > 0:
                    stop_at(cursor, swarm)
                    return used
                torrents[0] += not cursor.has_begun
                used = write_part(out, swarm, cursor, peers, until)
                if cursor.family < 2:
                    stop_at(cursor, swarm)
                else:
                    begin_swarm(cursor)
                    stop_at(cursor, swarm.next)
                return used
            if (torrents[0] == RECORDS_A_STEP
                    or used + RECORD_HEAD + (4 + 18 + DETAILS) * <size_t>of_swarm > EXPORT_STEP):
                stop_at(cursor, swarm)
                return used
            used += write_swarm(out + used, swarm)
            torrents[0] += 1
            peers[0] += of_swarm
            swarm = swarm.next
            if (torrents[0] % 4 == 0 or of_swarm > SMALL) and clock_ns() > until:
                stop_at(cursor, swarm)
                return used
        stop_at(cursor, NULL)
    return used


# --- import

cdef int64_t read_record(const uint8_t *data, uint64_t size, Record *record) noexcept nogil:
    """The record at the beginning of so many bytes; its size, or -1 if it makes no sense."""
    cdef uint64_t at = RECORD_HEAD
    cdef uint64_t count
    cdef uint64_t endpoint_size
    cdef int family
    if size < RECORD_HEAD:
        return -1
    record.info_hash = data
    memcpy(&record.completed, data + 20, 4)
    record.announces = data[24]
    record.is_first_part = data[25] == 0
    memcpy(&record.count[IPV4], data + 28, 4)
    memcpy(&record.count[IPV6], data + 32, 4)
    if not 1 <= data[24] <= 2 or data[25] > 1 or data[26] or data[27]:
        return -1
    for family in range(2):
        count = record.count[family]
        endpoint_size = 6 if family == IPV4 else 18
        if size - at < count * (4 + endpoint_size + DETAILS):
            return -1
        record.seen[family] = data + at
        record.endpoints[family] = record.seen[family] + 4 * count
        record.details[family] = record.endpoints[family] + endpoint_size * count
        at += count * (4 + endpoint_size + DETAILS)
        if not are_peers(record, family):
            return -1
    return <int64_t>at


cdef bint are_peers(const Record *record, int family) noexcept nogil:
    """Whether all could stand in a store."""
    cdef size_t size = 6 if family == IPV4 else 18
    cdef uint32_t number
    cdef uint16_t event_and_ms
    cdef const uint8_t *port
    for number in range(record.count[family]):
        memcpy(&event_and_ms, record.details[family] + DETAILS * <size_t>number + 44, 2)
        port = record.endpoints[family] + size * number + size - 2
        if event_and_ms >> 10 >= EVENT_STOPPED or (event_and_ms & 1023) > 999 or not (port[0] or port[1]):
            return False
    return True


cdef bint open_peer(
    const Store *store, const Record *record, int family, uint32_t number, const Intake *intake, Announce *peer
) noexcept nogil:
    """The peer as if it announced; False if its time is over."""
    cdef size_t size = 6 if family == IPV4 else 18
    cdef const uint8_t *details = record.details[family] + DETAILS * <size_t>number
    cdef uint32_t seen
    cdef uint16_t event_and_ms
    cdef int64_t second
    memcpy(&seen, record.seen[family] + 4 * <size_t>number, 4)
    memcpy(&event_and_ms, details + 44, 2)
    second = <int64_t>(seen >> 1) + intake.shift
    peer.ms = event_and_ms & 1023
    if second > intake.second or (second == intake.second and peer.ms > intake.ms):
        second = intake.second
        peer.ms = intake.ms
    if second < 0 or second < intake.second - store.max_peer_timeout:
        return False
    peer.second = <uint32_t>second
    peer.family = family
    memcpy(peer.endpoint, record.endpoints[family] + size * number, size)
    peer.peer_id = details
    memcpy(&peer.uploaded, details + 20, 8)
    memcpy(&peer.downloaded, details + 28, 8)
    memcpy(&peer.left, details + 36, 8)
    peer.event = event_and_ms >> 10
    return True


cdef bint has_room_for_record(const Store *store, bint has_peers) noexcept nogil:
    """Room for a new torrent."""
    if not has_peers:
        return not has_no_room_for_restored(store)
    return not (has_no_room_for_torrents(store) or has_no_room_for_peers(store))


cdef int raise_completed(Store *store, Swarm *swarm, uint32_t completed) noexcept nogil:
    """-1 without memory."""
    if completed <= swarm.completed:
        return 0
    if store.keep_completed and note_changed(store, swarm) < 0:
        return -1
    swarm.announces = 2  # as with a restored one: it has a past, so it is not what an eviction looks for
    store.completed += completed - swarm.completed
    swarm.completed = completed
    return 0


cdef int import_peer(Store *store, Half *half, const Announce *peer, Intake *intake, uint64_t others) noexcept nogil:
    """Into a swarm of so many peers. 1 if it is new there, 0 if not, -1 without memory."""
    cdef int64_t position = find_peer(store, half, peer.endpoint)
    cdef uint32_t leechers = half.leechers
    cdef uint16_t event_and_ms
    cdef uint32_t second
    if position < 0:
        if is_full(store, others):
            intake.peers_left_out += 1
            return 0
        if add_peer(store, half, peer) < 0:
            return -1
        intake.peers += 1
        return 1
    second = half.seen[position] >> 1
    memcpy(&event_and_ms, half.details + DETAILS * position + 44, 2)
    if second < peer.second or (second == peer.second and (event_and_ms & 1023) < peer.ms):
        update_peer(store, half, <uint32_t>position, peer)
        store.leechers += <uint64_t>half.leechers - leechers
        store.seeders -= <uint64_t>half.leechers - leechers
    intake.peers += 1
    return 0


cdef int import_record(Store *store, const Record *record, Intake *intake) noexcept nogil:
    """-1 without memory; then a part of it may be there."""
    cdef uint64_t hash = torrent_hash(store, record.info_hash)
    cdef Swarm *swarm = find_torrent(store, record.info_hash, hash)
    cdef uint64_t alive = 0
    cdef uint64_t expired = 0
    cdef uint64_t others
    cdef uint32_t number
    cdef int family
    cdef int added
    cdef Announce peer
    cdef Half half
    for family in range(2):
        for number in range(record.count[family]):
            if open_peer(store, record, family, number, intake, &peer):
                alive += 1
            else:
                expired += 1
    intake.expired_peers += expired
    if swarm == NULL:
        if (expired > 0 and alive == 0 and store.remove_peerless
                and not (store.keep_completed and record.completed > 0)):
            return 0
        if not has_room_for_record(store, alive > 0):
            intake.torrents_left_out += record.is_first_part
            return 0
        swarm = new_torrent(store, record.info_hash, hash)
        if swarm == NULL:
            return -1
    swarm.announces = max(swarm.announces, record.announces)
    if raise_completed(store, swarm, record.completed) < 0:
        return -1
    others = peers_of(swarm)
    for family in range(2):
        open_half(swarm, family, &half)
        for number in range(record.count[family]):
            if not open_peer(store, record, family, number, intake, &peer):
                continue
            added = import_peer(store, &half, &peer, intake, others)
            if added < 0:
                close_half(&half)
                return -1
            others += added
        close_half(&half)
    return 0


# --- the door to Python

cdef bytes chosen_bytes(Store *store, const View *view, int family):
    cdef Py_ssize_t size = (6 if family == IPV4 else 18) * <Py_ssize_t>view.chosen[family]
    cdef bytes peers = PyBytes_FromStringAndSize(NULL, size)
    choose(store, view, family, <uint8_t *>PyBytes_AS_STRING(peers))
    return peers


assert WHOLE == MOST_PEERS and PART == PEERS_A_PART
assert A_LOOK == NEW_PEERS_A_LOOK and TO_SPARE == MEMORY_TO_SPARE >= HEAP_STEP + LARGE_ARRAY
cdef int64_t MOST_SECONDS = 0x10000000000  # so that no time overflows
cdef object EVENTS = tuple(AnnounceEvent)
cdef object OF_IPV4 = Families.IPV4
cdef object OF_IPV6 = Families.IPV6


cdef class NativeSwarms:
    """The store that `torrust_py.core.swarms.Swarms` describes. `random` makes so many random bytes."""

    def __cinit__(self, *, limits=Limits(), retention=Retention(), random=os.urandom):
        cdef bytes chance = random(40)
        self.store.max_torrents = limits.max_torrents
        self.store.max_peers = limits.max_peers
        self.store.max_peers_per_torrent = limits.max_peers_per_torrent
        self.store.max_peer_timeout = retention.max_peer_timeout
        self.store.remove_peerless = retention.remove_peerless
        self.store.keep_completed = retention.keep_completed
        memcpy(&self.store.torrent_key, PyBytes_AS_STRING(chance), 16)
        memcpy(&self.store.endpoint_key, PyBytes_AS_STRING(chance) + 16, 16)
        memcpy(&self.store.random, PyBytes_AS_STRING(chance) + 32, 8)
        self.store.heads = <Swarm **>calloc(8, sizeof(Swarm *))
        if self.store.heads == NULL:
            raise MemoryError
        self.store.buckets = self.store.bucket_capacity = 8

    def __dealloc__(self):
        cdef uint64_t bucket
        cdef Swarm *swarm
        cdef Page *page
        for bucket in range(self.store.buckets):
            swarm = self.store.heads[bucket]
            while swarm != NULL:
                free_halves(swarm)
                swarm = swarm.next
        while self.store.pages != NULL:
            page = self.store.pages
            self.store.pages = page.next
            free(page)
        free(self.store.heads)
        free(self.store.changed)

    def announce(self, bytes info_hash, bytes endpoint, announced, *, num_want, families, now_ms):
        cdef Announce request
        cdef View view
        cdef bytes peer_id = announced.peer_id
        cdef uint64_t now = now_ms
        assert len(info_hash) == INFO_HASH and len(peer_id) == PEER_ID and len(endpoint) in (6, 18)
        request.info_hash = <const uint8_t *>PyBytes_AS_STRING(info_hash)
        request.hash = torrent_hash(&self.store, request.info_hash)
        look_up_torrent(&self.store, &request)
        request.expected = -1
        memcpy(request.endpoint, PyBytes_AS_STRING(endpoint), len(endpoint))
        request.family = IPV4 if len(endpoint) == 6 else IPV6
        request.peer_id = <const uint8_t *>PyBytes_AS_STRING(peer_id)
        request.uploaded = announced.uploaded
        request.downloaded = announced.downloaded
        request.left = announced.left
        request.event = announced.event
        request.num_want = num_want
        request.families = (
            WANTS_IPV4 if families is OF_IPV4 else WANTS_IPV6 if families is OF_IPV6
            else WANTS_IPV4 | WANTS_IPV6
        )
        request.second = <uint32_t>(now // 1000)
        request.ms = <uint16_t>(now % 1000)
        if apply_announce(&self.store, &request, &view) < 0:
            raise MemoryError
        return SwarmView(
            view.seeders,
            view.leechers,
            chosen_bytes(&self.store, &view, IPV4),
            chosen_bytes(&self.store, &view, IPV6),
        )

    cdef Swarm *_find(self, bytes info_hash) except? NULL:
        cdef const uint8_t *raw = <const uint8_t *>PyBytes_AS_STRING(info_hash)
        assert len(info_hash) == INFO_HASH
        return find_torrent(&self.store, raw, torrent_hash(&self.store, raw))

    def scrape(self, bytes info_hash, /):
        cdef Swarm *swarm = self._find(info_hash)
        cdef uint32_t seeders = 0
        cdef uint32_t leechers = 0
        if swarm == NULL:
            return NO_SWARM
        counts(swarm, &seeders, &leechers)
        return SwarmCounts(seeders, swarm.completed, leechers)

    def peer_ids(self, bytes info_hash, bytes endpoints, *, Py_ssize_t size):
        cdef Swarm *swarm = self._find(info_hash)
        cdef Half half
        cdef Py_ssize_t at
        cdef int64_t position
        cdef list found = []
        if swarm == NULL:
            return found
        open_half(swarm, IPV4 if size == 6 else IPV6, &half)
        for at in range(0, len(endpoints), size):
            position = find_peer(&self.store, &half, <const uint8_t *>PyBytes_AS_STRING(endpoints) + at)
            found.append((<const char *>half.details + DETAILS * position)[:PEER_ID])
        return found

    def __contains__(self, bytes info_hash):
        return self._find(info_hash) != NULL

    def totals(self):
        cdef Store *store = &self.store
        return Totals(store.torrents, store.seeders, store.completed, store.leechers)

    def pressure(self):
        cdef Store *store = &self.store
        return Pressure(
            store.replaced_peers, store.evicted_torrents, store.unstored, bool(store.is_short)
        )

    def expire(self, now_ms, *, work):
        cdef int64_t oldest = now_ms // 1000 - self.store.max_peer_timeout
        cdef int64_t units = work
        cdef uint64_t bound = <uint64_t>oldest << 1 if oldest > 0 else 0
        return sweep(&self.store, units, bound)

    def torrents(self):
        cdef uint64_t bucket = 0
        cdef Swarm *swarm
        cdef list step
        while bucket < self.store.buckets:
            step = []
            while bucket < self.store.buckets and len(step) < TORRENTS_A_STEP:
                swarm = self.store.heads[bucket]
                while swarm != NULL:
                    step.append((<const char *>swarm.info_hash)[:INFO_HASH])
                    swarm = swarm.next
                bucket += 1
            yield step

    def peers(self, bytes info_hash, /):
        for packed in [self._packed(info_hash, IPV4), self._packed(info_hash, IPV6)]:
            for first in range(0, len(packed[0]) // 4, PEERS_A_STEP):
                yield unpacked(packed, first)

    cdef tuple _packed(self, bytes info_hash, int family):
        """The arrays of a half as they are now, and the size of its endpoints."""
        cdef Swarm *swarm = self._find(info_hash)
        cdef Half half
        if swarm == NULL:
            return b"", b"", b"", 6
        open_half(swarm, family, &half)
        if half.count == 0:
            return b"", b"", b"", 6
        return (
            (<const char *>half.seen)[: 4 * <size_t>half.count],
            (<const char *>half.endpoints)[: half.size * half.count],
            (<const char *>half.details)[: DETAILS * <size_t>half.count],
            half.size,
        )

    def take_completed(self):
        cdef uint64_t number
        cdef Swarm *swarm
        cdef list taken = []
        for number in range(self.store.changed_count):
            swarm = self.store.changed[number]
            taken.append(Completed((<const char *>swarm.info_hash)[:INFO_HASH], swarm.completed))
        for number in range(self.store.changed_count):
            self.store.changed[number].is_changed = 0
        self.store.changed_count = 0
        return taken

    def restore(self, rows, /):
        cdef Store *store = &self.store
        cdef Swarm *swarm
        cdef bytes info_hash
        cdef uint32_t completed
        cdef uint64_t restored = 0
        for info_hash, counter in rows:
            swarm = self._find(info_hash)
            completed = <uint32_t>min(counter, UINT32_MAX)
            if swarm == NULL:
                if has_no_room_for_restored(&self.store):
                    continue
                swarm = new_torrent(
                    store,
                    <const uint8_t *>PyBytes_AS_STRING(info_hash),
                    torrent_hash(store, <const uint8_t *>PyBytes_AS_STRING(info_hash)),
                )
                if swarm == NULL:
                    raise MemoryError
            restored += 1
            swarm.announces = 2  # it has a past, so it is not what an eviction looks for
            if completed > swarm.completed:
                store.completed += completed - swarm.completed
                swarm.completed = completed
        return restored

    def remove(self, bytes info_hash, /):
        cdef Swarm *swarm = self._find(info_hash)
        if swarm != NULL:
            remove_torrent(&self.store, swarm)

    def export_swarms(self):
        return SwarmExport(self)

    def import_swarms(self, bytes records, *, int64_t shift, int64_t now_ms):
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(records)
        cdef uint64_t size = len(records)
        cdef uint64_t at = 0
        cdef int64_t step
        cdef Record record
        cdef Intake intake
        assert -MOST_SECONDS < shift < MOST_SECONDS and 0 <= now_ms < 1000 * MOST_SECONDS
        memset(&intake, 0, sizeof(intake))
        intake.shift = shift
        intake.second = now_ms // 1000
        intake.ms = <uint16_t>(now_ms % 1000)
        while at < size:  # all of them before the first, so that bad ones change nothing
            step = read_record(data + at, size - at, &record)
            if step < 0:
                raise BadRecords
            at += <uint64_t>step
        at = 0
        while at < size:
            at += <uint64_t>read_record(data + at, size - at, &record)
            if import_record(&self.store, &record, &intake) < 0:
                raise MemoryError
        return Imported(
            intake.peers, intake.expired_peers, intake.torrents_left_out, intake.peers_left_out
        )


cdef class SwarmExport:
    """The steps of `export_swarms`."""

    cdef NativeSwarms swarms
    cdef Cursor cursor
    cdef uint8_t *buffer

    def __cinit__(self, NativeSwarms swarms):
        self.swarms = swarms
        self.buffer = <uint8_t *>malloc(EXPORT_STEP)
        if self.buffer == NULL:
            raise MemoryError
        self.cursor.torrents.end = swarms.store.buckets

    def __dealloc__(self):
        free(self.buffer)

    def __iter__(self):
        return self

    def __next__(self):
        cdef uint32_t torrents = 0
        cdef uint32_t peers = 0
        cdef size_t used
        if not goes_on(&self.cursor.torrents, self.swarms.store.buckets):
            raise StopIteration
        used = export_step(&self.swarms.store, &self.cursor, self.buffer, &torrents, &peers)
        return Exported((<const char *>self.buffer)[:used], torrents, peers)


cdef list unpacked(tuple packed, Py_ssize_t first):
    """PEERS_A_STEP of the peers of a half that was packed, from `first` on."""
    cdef bytes seen = packed[0]
    cdef bytes endpoints = packed[1]
    cdef bytes details = packed[2]
    cdef Py_ssize_t size = packed[3]
    cdef Py_ssize_t at
    cdef const char *detail
    cdef uint32_t second
    cdef int64_t numbers[3]
    cdef uint16_t event_and_ms
    cdef list step = []
    for at in range(first, min(first + PEERS_A_STEP, len(seen) // 4)):
        detail = PyBytes_AS_STRING(details) + DETAILS * at
        memcpy(&second, PyBytes_AS_STRING(seen) + 4 * at, 4)
        memcpy(numbers, detail + 20, 24)
        memcpy(&event_and_ms, detail + 44, 2)
        peer = Peer(
            endpoints[at * size : (at + 1) * size],
            detail[:PEER_ID],
            numbers[0],
            numbers[1],
            numbers[2],
            EVENTS[event_and_ms >> 10],
        )
        step.append(SwarmPeer(peer, <uint64_t>(second >> 1) * 1000 + (event_and_ms & 1023)))
    return step
