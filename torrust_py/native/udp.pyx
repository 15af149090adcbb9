# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The UDP plane: datagrams in and responses out in batches, without the GIL.

It answers the well-formed ordinary request (BEP 15): connect, announce and scrape, also where the connection id
or the whitelist refuses them. Every other datagram goes, as bytes, to `fallback`, which says what to answer: also
the announce of a torrent of the blacklist, whose reason it does not know.
Packet layouts stand in `torrust_py.udp.packets`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, ENOBUFS, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from torrust_py.native.addresses cimport External, find_address, write_endpoint
from torrust_py.native.connection_ids cimport NativeConnectionIds
from torrust_py.native.statistics cimport (
    ANNOUNCE,
    BAD_CONNECTION_ID,
    CONNECT,
    NO_MEMORY,
    NOT_WHITELISTED,
    OUTCOMES,
    SCRAPE,
    UDP4,
    UDP6,
    NativeStatistics,
)
from torrust_py.native.swarms cimport (
    IPV4,
    IPV6,
    WANTS_IPV4,
    WANTS_IPV6,
    Announce,
    NativeSwarms,
    Store,
    Swarm,
    View,
    apply_announce,
    choose,
    counts,
    find_torrent,
    has_peers,
    prefetch_bucket,
    prefetch_half,
    prefetch_known,
    prefetch_peer,
    prefetch_torrent,
    torrent_hash,
    torrent_of,
)
from torrust_py.native.whitelist cimport NativeWhitelist

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <netinet/in.h>
    #ifndef SO_MEMINFO
    #define SO_MEMINFO 55
    #endif
    """
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    struct in_addr:
        pass
    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex
    cmsghdr *CMSG_FIRSTHDR(msghdr *) noexcept nogil
    cmsghdr *CMSG_NXTHDR(msghdr *, cmsghdr *) noexcept nogil
    void *CMSG_DATA(cmsghdr *) noexcept nogil
    int IPPROTO_IP
    int IPPROTO_IPV6
    int IP_PKTINFO
    int IPV6_PKTINFO
    int MSG_DONTWAIT
    int SOL_SOCKET
    int SO_MEMINFO
    int getsockopt(int, int, int, void *, unsigned int *) noexcept nogil
    int recvmmsg(int, mmsghdr *, unsigned int, int, void *) noexcept nogil
    int sendmmsg(int, mmsghdr *, unsigned int, int) noexcept nogil

cdef enum:
    BATCH = 64
    BATCHES_A_TURN = 4
    FAULTS_A_BATCH = 16  # errors of earlier datagrams that the kernel reports with the next ones
    DATAGRAM = 1496  # bytes that are read: a scrape of 74 info hashes
    RESPONSE = 1536  # room for one
    MEMINFO = 9  # numbers that SO_MEMINFO gives (sock_diag(7))
    MEMINFO_DROPS = 8
    NAME = 28  # a socket address of IPv6
    CONTROL = 64
    SMALLEST_ANNOUNCE = 98
    HEADER = 16
    INFO_HASH = 20
    MAX_SCRAPED = 74
    DEFAULT_NUM_WANT = 74
    MAX_PEERS_IPV4 = 242  # of 6 bytes, after a head of 20, in the 1,472 bytes of one frame
    MAX_PEERS_IPV6 = 79  # of 18 bytes in 1,452
    LONGEST_TEXT = 256
    FOR_FALLBACK = -1
    TURNS_A_TIME = 32  # of one batch in so many turns the time is taken

cdef enum:
    CONNECT_ACTION = 0
    ANNOUNCE_ACTION = 1
    SCRAPE_ACTION = 2
    ERROR_ACTION = 3

cdef const uint8_t *PROTOCOL_ID = b"\x00\x00\x04\x17\x27\x10\x19\x80"
cdef const uint8_t *DIGITS = b"0123456789abcdef"


cdef struct Text:
    size_t size
    uint8_t characters[LONGEST_TEXT]


cdef struct Client:
    const uint8_t *address
    size_t size  # 4 or 16
    int family
    int door


cdef inline uint32_t read32(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef inline uint64_t read64(const uint8_t *at) noexcept nogil:
    return <uint64_t>read32(at) << 32 | read32(at + 4)


cdef inline void write32(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 24)
    at[1] = <uint8_t>(value >> 16)
    at[2] = <uint8_t>(value >> 8)
    at[3] = <uint8_t>value


cdef inline bint may_be_announce(const uint8_t *datagram, unsigned int size) noexcept nogil:
    return size >= SMALLEST_ANNOUNCE and read32(datagram + 8) == ANNOUNCE_ACTION


cdef class UdpPlane:
    """Answers what comes to a bound, non-blocking UDP socket, which stays its owner's.

    `is_wildcard`: the socket tells where each datagram was sent to (IP_PKTINFO, IPV6_RECVPKTINFO), and the response
    leaves from there. `external_address` is 4, 16 or 0 bytes (none). `not_listed` is the text of the refusal of an
    announce, before and after the info hash in hexadecimal.
    """

    cdef int fd
    cdef bint is_wildcard
    cdef bint is_listed
    cdef uint32_t interval
    cdef uint32_t max_peers
    cdef External external
    cdef Text bad_connection_id
    cdef Text not_listed_before
    cdef Text not_listed_after
    cdef object fallback
    cdef NativeSwarms swarms
    cdef NativeWhitelist whitelist
    cdef NativeWhitelist blacklist
    cdef readonly NativeStatistics statistics
    cdef NativeConnectionIds connection_ids
    cdef readonly uint64_t unsent  # responses that the kernel did not take
    cdef mmsghdr *requests
    cdef mmsghdr *responses
    cdef iovec *pieces  # of the requests, then of the responses
    cdef uint8_t *datagrams
    cdef uint8_t *answers
    cdef uint8_t *names
    cdef uint8_t *controls
    cdef int64_t slot  # of the connection ids, and the time, as of the batch
    cdef uint32_t second
    cdef uint16_t ms
    cdef Client clients[BATCH]
    cdef Announce announces[BATCH]
    cdef int sizes[BATCH]  # of the responses, in the order of the requests; 0: none
    cdef int fallbacks
    cdef int answered
    cdef int untimed  # turns with something to answer until a time is taken

    def __cinit__(
        self,
        int fd,
        *,
        bint is_wildcard,
        NativeSwarms swarms,
        NativeWhitelist whitelist,
        NativeWhitelist blacklist,
        NativeStatistics statistics,
        NativeConnectionIds connection_ids,
        uint32_t interval,
        uint32_t max_peers,
        bint is_listed,
        bytes external_address,
        bytes bad_connection_id,
        tuple not_listed,
        fallback,
    ):
        cdef int i
        self.fd = fd
        self.untimed = TURNS_A_TIME - 1
        self.is_wildcard = is_wildcard
        self.swarms = swarms
        self.whitelist = whitelist
        self.blacklist = blacklist
        self.statistics = statistics
        self.connection_ids = connection_ids
        self.interval = interval
        self.max_peers = max_peers
        self.is_listed = is_listed
        assert len(external_address) in (0, 4, 16)
        self.external.size = len(external_address)
        memcpy(self.external.address, PyBytes_AS_STRING(external_address), self.external.size)
        keep_text(&self.bad_connection_id, bad_connection_id)
        keep_text(&self.not_listed_before, not_listed[0])
        keep_text(&self.not_listed_after, not_listed[1])
        self.fallback = fallback
        self.requests = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self.responses = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self.pieces = <iovec *>calloc(2 * BATCH, sizeof(iovec))
        self.datagrams = <uint8_t *>calloc(BATCH, RESPONSE)
        self.answers = <uint8_t *>calloc(BATCH, RESPONSE)
        self.names = <uint8_t *>calloc(BATCH, NAME)
        self.controls = <uint8_t *>calloc(BATCH, CONTROL)
        if not (
            self.requests and self.responses and self.pieces
            and self.datagrams and self.answers and self.names and self.controls
        ):
            raise MemoryError
        for i in range(BATCH):
            self.pieces[i].iov_base = self.datagrams + RESPONSE * i
            self.pieces[i].iov_len = DATAGRAM
            self.requests[i].msg_hdr.msg_iov = self.pieces + i
            self.requests[i].msg_hdr.msg_iovlen = 1
            self.requests[i].msg_hdr.msg_name = self.names + NAME * i
            self.pieces[BATCH + i].iov_base = self.answers + RESPONSE * i
            self.responses[i].msg_hdr.msg_iov = self.pieces + BATCH + i
            self.responses[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.requests)
        free(self.responses)
        free(self.pieces)
        free(self.datagrams)
        free(self.answers)
        free(self.names)
        free(self.controls)

    @property
    def kernel_drops(self):
        """Datagrams for which the kernel found no room in the socket (32 bits; 0 where it does not tell)."""
        cdef uint32_t meminfo[MEMINFO]
        cdef unsigned int size = sizeof(meminfo)
        memset(meminfo, 0, sizeof(meminfo))
        if getsockopt(self.fd, SOL_SOCKET, SO_MEMINFO, meminfo, &size) < 0:
            return 0
        return meminfo[MEMINFO_DROPS]

    def on_readable(self, int64_t now_ms):
        """Answer what waits in the socket, up to four batches; how many datagrams that were."""
        cdef int received = 0
        cdef int total = 0
        cdef int batch
        for batch in range(BATCHES_A_TURN):
            received = self._answer_batch(now_ms) if batch or self.untimed else self._answer_timed(now_ms)
            total += received
            if received < BATCH:
                break
        if total:  # else a load that comes in step with the turns would never be timed
            self.untimed = self.untimed - 1 if self.untimed else TURNS_A_TIME - 1
        return total

    cdef int _answer_batch(self, int64_t now_ms) except -1:
        """Answer what fits into a batch; how many datagrams that were."""
        cdef int received
        with nogil:
            received = self._receive()
            self._answer(received, now_ms)
            if self.fallbacks == 0:
                self._send(received)
        if self.fallbacks:
            try:
                self._fall_back(received, now_ms)
            finally:
                with nogil:
                    self._send(received)
        return received

    cdef int _answer_timed(self, int64_t now_ms) except -1:
        """As `_answer_batch`, and take the time from the receipt to the last answer."""
        cdef uint64_t handled[OUTCOMES]
        cdef timespec received
        cdef timespec sent
        cdef int count
        self.statistics.read_handled(handled)
        clock_gettime(CLOCK_MONOTONIC, &received)
        count = self._answer_batch(now_ms)
        clock_gettime(CLOCK_MONOTONIC, &sent)
        self.statistics.add_time(
            handled,
            <double>(sent.tv_sec - received.tv_sec) + 1e-9 * <double>(sent.tv_nsec - received.tv_nsec),
        )
        return count

    # --- sockets

    cdef int _receive(self) noexcept nogil:
        """Fill the batch; how many datagrams that are."""
        cdef int i
        cdef int received
        for i in range(BATCH):
            self.requests[i].msg_hdr.msg_namelen = NAME
            if self.is_wildcard:
                self.requests[i].msg_hdr.msg_control = self.controls + CONTROL * i
                self.requests[i].msg_hdr.msg_controllen = CONTROL
        for i in range(FAULTS_A_BATCH):
            received = recvmmsg(self.fd, self.requests, BATCH, MSG_DONTWAIT, NULL)
            if received >= 0:
                return received
            if errno == EAGAIN:
                return 0
        return 0

    cdef void _send(self, int received) noexcept nogil:
        """Send the responses in the order of the requests. One that cannot be sent never costs the others."""
        cdef int done = 0
        cdef int sent
        cdef int i
        self.answered = 0
        for i in range(received):
            if self.sizes[i] > 0:
                self._queue(i)
        while done < self.answered:
            sent = sendmmsg(self.fd, self.responses + done, self.answered - done, MSG_DONTWAIT)
            if sent > 0:
                done += sent
            elif errno == EAGAIN or errno == ENOBUFS:  # there is no room for any
                self.unsent += self.answered - done
                break
            else:
                self.unsent += 1
                done += 1

    cdef void _queue(self, int request) noexcept nogil:
        """The response to this request goes to who sent it."""
        cdef msghdr *head = &self.responses[self.answered].msg_hdr
        head.msg_name = self.requests[request].msg_hdr.msg_name
        head.msg_namelen = self.requests[request].msg_hdr.msg_namelen
        head.msg_control = NULL
        head.msg_controllen = 0
        head.msg_iov.iov_base = self.answers + RESPONSE * request
        head.msg_iov.iov_len = self.sizes[request]
        if self.is_wildcard:
            answer_from_asked(&self.requests[request].msg_hdr, head)
        self.answered += 1

    # --- a batch

    cdef void _answer(self, int received, int64_t now_ms) noexcept nogil:
        cdef int i
        self.slot = self.connection_ids.slot(now_ms)
        self.second = <uint32_t>(now_ms // 1000)
        self.ms = <uint16_t>(now_ms % 1000)
        self.fallbacks = 0
        for i in range(received):
            read_client(<const uint8_t *>self.requests[i].msg_hdr.msg_name, &self.clients[i])
        self._prefetch(received)
        for i in range(received):
            self.sizes[i] = self._answer_one(i, &self.clients[i])
            self.fallbacks += self.sizes[i] == FOR_FALLBACK

    cdef void _prefetch(self, int received) noexcept nogil:
        """Fetch what the announces of the batch will need, stage by stage, so that one waits while others do."""
        cdef int i
        cdef const uint8_t *datagram
        cdef Announce *announce
        cdef Store *store = &self.swarms.store
        for i in range(received):
            datagram = self.datagrams + RESPONSE * i
            announce = &self.announces[i]
            announce.info_hash = NULL
            if may_be_announce(datagram, self.requests[i].msg_len):
                announce.info_hash = datagram + 16
                announce.hash = torrent_hash(store, announce.info_hash)
                announce.family = IPV4 if write_endpoint(
                    announce.endpoint,
                    self.clients[i].address,
                    self.clients[i].size,
                    &self.external,
                    datagram + 96,
                ) == 4 else IPV6
                prefetch_bucket(store, announce.hash)
        for i in range(received):
            announce = &self.announces[i]
            if announce.info_hash != NULL:
                prefetch_torrent(store, announce.hash)
        for i in range(received):
            announce = &self.announces[i]
            if announce.info_hash != NULL:
                prefetch_half(store, announce)
        for i in range(received):
            announce = &self.announces[i]
            if announce.info_hash != NULL:
                prefetch_peer(store, announce)
        for i in range(received):
            announce = &self.announces[i]
            if announce.info_hash != NULL:
                prefetch_known(announce)

    cdef int _fall_back(self, int received, int64_t now_ms) except -1:
        """Ask Python for the responses of what is not ordinary."""
        cdef int i
        cdef const Client *client
        cdef bytes datagram
        cdef bytes response
        for i in range(received):
            if self.sizes[i] != FOR_FALLBACK:
                continue
            self.sizes[i] = 0
            client = &self.clients[i]
            datagram = PyBytes_FromStringAndSize(
                <const char *>self.datagrams + RESPONSE * i, self.requests[i].msg_len
            )
            response = self.fallback(
                datagram, PyBytes_FromStringAndSize(<const char *>client.address, client.size), now_ms
            )
            if response is not None:
                assert len(response) <= RESPONSE
                memcpy(self.answers + RESPONSE * i, PyBytes_AS_STRING(response), len(response))
                self.sizes[i] = <int>len(response)

    # --- one datagram; the size of the response, 0 for none, or FOR_FALLBACK

    cdef int _answer_one(self, int i, const Client *client) noexcept nogil:
        cdef const uint8_t *datagram = self.datagrams + RESPONSE * i
        cdef unsigned int size = self.requests[i].msg_len
        cdef uint32_t action
        if size < HEADER:
            return FOR_FALLBACK
        action = read32(datagram + 8)
        if action == ANNOUNCE_ACTION and size >= SMALLEST_ANNOUNCE:
            return self._announce(i, datagram, client)
        if action == CONNECT_ACTION and memcmp(datagram, PROTOCOL_ID, 8) == 0:
            return self._connect(i, datagram, client)
        if action == SCRAPE_ACTION and size > HEADER and (size - HEADER) % INFO_HASH == 0:
            return self._scrape(i, datagram, size, client)
        return FOR_FALLBACK

    cdef int _connect(self, int i, const uint8_t *datagram, const Client *client) noexcept nogil:
        cdef uint8_t *out = self.answers + RESPONSE * i
        self.statistics.add(client.door, CONNECT)
        memcpy(out, datagram + 8, 8)
        self.connection_ids.write(out + 8, client.address, client.size, self.slot)
        return 16

    cdef int _announce(self, int i, const uint8_t *datagram, const Client *client) noexcept nogil:
        cdef uint8_t *out = self.answers + RESPONSE * i
        cdef Announce *request = &self.announces[i]
        cdef uint32_t event = read32(datagram + 80)
        cdef View view
        if event > 3 or (datagram[96] == 0 and datagram[97] == 0):
            return FOR_FALLBACK
        if not self._knows(datagram, client):
            return self._refuse_connection_id(i, datagram, client)
        if self.blacklist.count and self._is_refused(torrent_of(&self.swarms.store, request), request.info_hash):
            return FOR_FALLBACK
        if self.is_listed and not self.whitelist.has(request.info_hash):
            return self._refuse_torrent(i, datagram, client)
        request.peer_id = datagram + 36
        request.downloaded = <int64_t>read64(datagram + 56)
        request.left = max(<int64_t>-1, <int64_t>read64(datagram + 64))
        request.uploaded = <int64_t>read64(datagram + 72)
        request.event = <int>event
        request.num_want = self._num_want(<int32_t>read32(datagram + 92), client.family)
        request.families = WANTS_IPV4 if client.family == IPV4 else WANTS_IPV6
        request.second = self.second
        request.ms = self.ms
        if apply_announce(&self.swarms.store, request, &view) < 0:
            self.statistics.add(client.door, NO_MEMORY)
            return 0
        self.statistics.add(client.door, ANNOUNCE)
        memcpy(out, datagram + 8, 8)
        write32(out + 8, self.interval)
        write32(out + 12, view.leechers)
        write32(out + 16, view.seeders)
        return 20 + <int>choose(&self.swarms.store, &view, client.family, out + 20) * (
            6 if client.family == IPV4 else 18
        )

    cdef uint32_t _num_want(self, int32_t asked, int family) noexcept nogil:
        cdef uint32_t fitting = MAX_PEERS_IPV4 if family == IPV4 else MAX_PEERS_IPV6
        cdef uint32_t wanted = DEFAULT_NUM_WANT if asked < 0 else <uint32_t>asked
        return min(wanted, self.max_peers, fitting)

    cdef int _scrape(
        self, int i, const uint8_t *datagram, unsigned int size, const Client *client
    ) noexcept nogil:
        cdef uint8_t *out = self.answers + RESPONSE * i
        cdef unsigned int asked = min((size - HEADER) // INFO_HASH, <unsigned int>MAX_SCRAPED)
        cdef unsigned int number
        if not self._knows(datagram, client):
            return self._refuse_connection_id(i, datagram, client)
        self.statistics.add(client.door, SCRAPE)
        memcpy(out, datagram + 8, 8)
        for number in range(asked):
            self._write_counts(out + 8 + 12 * number, datagram + HEADER + INFO_HASH * number)
        return 8 + 12 * <int>asked

    cdef void _write_counts(self, uint8_t *out, const uint8_t *info_hash) noexcept nogil:
        """Zeros where there is no such torrent, or the tracker does not allow it."""
        cdef Store *store = &self.swarms.store
        cdef Swarm *swarm = NULL
        cdef uint32_t seeders = 0
        cdef uint32_t leechers = 0
        if not self.is_listed or self.whitelist.has(info_hash):
            swarm = find_torrent(store, info_hash, torrent_hash(store, info_hash))
        if swarm == NULL or (self.blacklist.count and self._is_refused(swarm, info_hash)):
            memset(out, 0, 12)
            return
        counts(swarm, &seeders, &leechers)
        write32(out, seeders)
        write32(out + 4, swarm.completed)
        write32(out + 8, leechers)

    cdef bint _is_refused(self, const Swarm *swarm, const uint8_t *info_hash) noexcept nogil:
        """A torrent that has peers is not on the blacklist: they leave when it comes there. So it need not be looked
        up, which with a long list would be slow.
        """
        return not has_peers(swarm) and self.blacklist.has(info_hash)

    cdef bint _knows(self, const uint8_t *datagram, const Client *client) noexcept nogil:
        """True if the connection id is one that this client was issued."""
        return self.connection_ids.is_good(datagram, client.address, client.size, self.slot)

    cdef int _refuse_connection_id(self, int i, const uint8_t *datagram, const Client *client) noexcept nogil:
        cdef uint8_t *out = self.answers + RESPONSE * i
        self.statistics.add(client.door, BAD_CONNECTION_ID)
        write32(out, ERROR_ACTION)
        memcpy(out + 4, datagram + 12, 4)
        memcpy(out + 8, self.bad_connection_id.characters, self.bad_connection_id.size)
        return 8 + <int>self.bad_connection_id.size

    cdef int _refuse_torrent(self, int i, const uint8_t *datagram, const Client *client) noexcept nogil:
        cdef uint8_t *out = self.answers + RESPONSE * i
        cdef const Text *before = &self.not_listed_before
        cdef const Text *after = &self.not_listed_after
        cdef uint8_t *digits = out + 8 + before.size
        cdef size_t at
        self.statistics.add(client.door, NOT_WHITELISTED)
        write32(out, ERROR_ACTION)
        memcpy(out + 4, datagram + 12, 4)
        memcpy(out + 8, before.characters, before.size)
        for at in range(INFO_HASH):
            digits[2 * at] = DIGITS[datagram[16 + at] >> 4]
            digits[2 * at + 1] = DIGITS[datagram[16 + at] & 15]
        memcpy(digits + 2 * INFO_HASH, after.characters, after.size)
        return <int>(8 + before.size + 2 * INFO_HASH + after.size)


cdef int keep_text(Text *text, bytes characters) except -1:
    if len(characters) > LONGEST_TEXT:
        raise ValueError("a text is too long")
    text.size = len(characters)
    memcpy(text.characters, PyBytes_AS_STRING(characters), text.size)
    return 0


cdef void read_client(const uint8_t *name, Client *client) noexcept nogil:
    """Who sent a datagram."""
    client.size = find_address(name, &client.address)
    client.family = IPV4 if client.size == 4 else IPV6
    client.door = UDP4 if client.size == 4 else UDP6


cdef void answer_from_asked(msghdr *request, msghdr *response) noexcept nogil:
    """Let the response leave from where its request came to; by any interface, so that routes decide."""
    cdef cmsghdr *part = CMSG_FIRSTHDR(request)
    cdef in_pktinfo ipv4
    cdef in6_pktinfo ipv6
    while part != NULL:
        if part.cmsg_level == IPPROTO_IP and part.cmsg_type == IP_PKTINFO:
            memcpy(&ipv4, CMSG_DATA(part), sizeof(in_pktinfo))
            ipv4.ipi_ifindex = 0
            memset(&ipv4.ipi_addr, 0, sizeof(in_addr))
            memcpy(CMSG_DATA(part), &ipv4, sizeof(in_pktinfo))
            break
        if part.cmsg_level == IPPROTO_IPV6 and part.cmsg_type == IPV6_PKTINFO:
            memcpy(&ipv6, CMSG_DATA(part), sizeof(in6_pktinfo))
            if ipv6.ipi6_addr.s6_addr[0] != 0xFE or ipv6.ipi6_addr.s6_addr[1] != 0x80:  # link-local
                ipv6.ipi6_ifindex = 0
            memcpy(CMSG_DATA(part), &ipv6, sizeof(in6_pktinfo))
            break
        part = CMSG_NXTHDR(request, part)
    if part != NULL:
        response.msg_control = part
        response.msg_controllen = part.cmsg_len
