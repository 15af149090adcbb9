# cython: language_level=3
"""The data of the swarm store, and what other modules of this room may call. Nothing here needs the GIL."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from torrust_py.native.huge_pages cimport Heap
from torrust_py.native.siphash cimport SipKey


cdef enum:
    IPV4 = 0
    IPV6 = 1
    WANTS_IPV4 = 1
    WANTS_IPV6 = 2


cdef struct Swarm:
    # A torrent, one line of the processor's cache. A half (a family's peers) of up to 32 peers is one block of
    # memory: what is called `seen`, `endpoints` and `details` in Half, one after the other. A larger one is a Large.
    uint8_t info_hash[20]
    uint32_t completed
    Swarm *next  # in its bucket
    void *block[2]
    uint8_t count[2]
    uint8_t leechers[2]
    uint8_t capacity[2]  # IS_LARGE: `block` is a Large
    uint8_t announces  # 2 stands for all above
    uint8_t is_changed  # it is in the list of what changed
    uint64_t hash  # torrent_hash(info_hash)


cdef struct Page:
    Page *next
    uint8_t rest_of_line[56]
    Swarm swarms[1023]


cdef struct Store:
    # Torrents in a table of chains that grows by one bucket at a time (linear hashing). Their memory comes in
    # pages; what is free of it is chained, too.
    Swarm **heads
    uint64_t buckets
    uint64_t bucket_capacity
    Page *pages
    Swarm *free_swarms
    SipKey torrent_key
    SipKey endpoint_key
    uint64_t random
    uint64_t changes  # how often a torrent came or left
    # totals
    uint64_t torrents
    uint64_t seeders
    uint64_t leechers
    uint64_t completed
    # limits (0: none) and retention
    uint64_t max_torrents
    uint64_t max_peers
    uint64_t max_peers_per_torrent
    # whether memory is nearly used up, and after how many new peers that is looked at again
    bint is_short
    uint32_t until_look
    Heap heap
    int64_t max_peer_timeout
    bint remove_peerless
    bint keep_completed
    # how often the limits were felt
    uint64_t replaced_peers
    uint64_t evicted_torrents
    uint64_t unstored
    # the expiry pass: the bucket it is at, and the swarm and the peer if it stopped within one
    uint64_t sweep_bucket
    bint sweeps_within
    uint8_t sweep_info_hash[20]
    int sweep_family
    int64_t sweep_position
    # torrents whose completed counter is to be saved
    Swarm **changed
    uint64_t changed_count
    uint64_t changed_capacity


cdef struct Announce:
    # A request. `families` is a sum of WANTS_…; the last two bytes of the endpoint are the port.
    const uint8_t *info_hash
    uint64_t hash  # torrent_hash(info_hash)
    Swarm *found  # by look_up_torrent, when the store had seen so many changes
    uint64_t found_at
    uint8_t endpoint[18]
    int family
    uint64_t endpoint_hash  # kept from one stage of prefetching to the next
    int64_t expected  # the position where prefetching has met the peer, or -1
    const uint8_t *peer_id
    int64_t uploaded
    int64_t downloaded
    int64_t left
    int event
    uint32_t num_want
    int families
    uint32_t second
    uint16_t ms


cdef struct View:
    # What the announce is told: counts, and how many peers of each family `choose` will write.
    Swarm *swarm
    uint32_t seeders
    uint32_t leechers
    uint32_t chosen[2]
    int64_t hole[2]  # where the receiver itself stands, or -1
    bint is_seeder


cdef struct Round:
    # A walk over the buckets from `first` to `end` - 1 of a table that may grow meanwhile.
    uint64_t first
    uint64_t end
    uint64_t at


cdef struct Cursor:
    # Where an export goes on: at a bucket, or at a swarm of it; within that, if it is written in parts, at a
    # bucket of the table of a half.
    Round torrents
    bint is_at_swarm
    uint8_t info_hash[20]
    bint has_begun
    int family
    Round peers


cdef struct Record:
    # A swarm or a part of one, as it lies in the bytes of an export.
    const uint8_t *info_hash
    uint32_t completed
    uint8_t announces
    bint is_first_part
    uint32_t count[2]
    const uint8_t *seen[2]
    const uint8_t *endpoints[2]
    const uint8_t *details[2]


cdef struct Intake:
    # What an import goes by, and what became of the records.
    int64_t shift
    int64_t second
    uint16_t ms
    uint64_t peers
    uint64_t expired_peers
    uint64_t torrents_left_out
    uint64_t peers_left_out


cdef uint64_t torrent_hash(const Store *store, const uint8_t *info_hash) noexcept nogil
cdef Swarm *find_torrent(const Store *store, const uint8_t *info_hash, uint64_t hash) noexcept nogil
cdef void look_up_torrent(const Store *store, Announce *request) noexcept nogil
cdef Swarm *torrent_of(const Store *store, const Announce *request) noexcept nogil
cdef int apply_announce(Store *store, const Announce *request, View *view) noexcept nogil
cdef uint32_t choose(Store *store, const View *view, int family, uint8_t *out) noexcept nogil
cdef void counts(const Swarm *swarm, uint32_t *seeders, uint32_t *leechers) noexcept nogil
cdef bint has_peers(const Swarm *swarm) noexcept nogil
cdef void prefetch_bucket(const Store *store, uint64_t hash) noexcept nogil
cdef void prefetch_torrent(const Store *store, uint64_t hash) noexcept nogil
cdef void prefetch_half(const Store *store, Announce *request) noexcept nogil
cdef void prefetch_peer(const Store *store, Announce *request) noexcept nogil
cdef void prefetch_known(Announce *request) noexcept nogil


cdef class NativeSwarms:
    cdef Store store

    cdef Swarm *_find(self, bytes info_hash) except? NULL
    cdef tuple _packed(self, bytes info_hash, int family)
