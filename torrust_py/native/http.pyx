# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The HTTP plane: accepts connections, reads requests and answers them.

It answers the well-formed ordinary request itself: `GET /announce` for a compact reply (BEP 23, BEP 7) and
`GET /scrape` (BEP 48). Whether a key is good, and who asks through a proxy, Python tells it. Another GET without
a body goes, as bytes, to `fallback`, which makes the response. A connection on which anything else happens
(another method, a body, a field that changes how the connection is read, a request that does not end in time, a
client that does not read) is given away with all that was read and is still to be sent: `hand_over` goes on
with it.

Its sockets are in an epoll set of its own, whose descriptor the event loop watches. A new connection is read at
once (the kernel tells of it when there is something to read: TCP_DEFER_ACCEPT), so that one which closes after its
request never gets into the set. A response and the end of its connection leave in one segment. While new
connections are polled for, the listener is not in the set, and a timer that is in it goes off instead. Nothing
waits here, so the GIL is kept: to get it back after each call of the kernel could take long, if another thread
has it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.math cimport INFINITY
from libc.stdint cimport UINT32_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from torrust_py.native.addresses cimport External, find_address, write_endpoint
from torrust_py.native.statistics cimport ANNOUNCE, OUTCOMES, SCRAPE, TCP4, TCP6, NativeStatistics
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
    look_up_torrent,
    torrent_hash,
)
from torrust_py.native.whitelist cimport NativeWhitelist

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <netinet/in.h>
    #include <string.h>
    #include <strings.h>
    #include <sys/epoll.h>
    #include <sys/random.h>
    #include <sys/socket.h>
    #include <sys/timerfd.h>
    #include <unistd.h>
    static int watch_for_input(int set, int fd, void *who) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = who}};
        return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    }
    static int watch_no_more(int set, int fd) { return epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL); }
    static int make_timer(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC); }
    static void set_timer(int fd, int interval_us) {
        struct timespec interval = {.tv_sec = interval_us / 1000000, .tv_nsec = interval_us % 1000000 * 1000};
        struct itimerspec when = {.it_interval = interval, .it_value = interval};
        timerfd_settime(fd, 0, &when, NULL);
    }
    static void note_expired(int fd) {
        uint64_t times;
        if (read(fd, &times, sizeof times) < 0) { /* it was set anew meanwhile */ }
    }
    static void *who_is_ready(struct epoll_event *event) { return event->data.ptr; }
    static void forget_who(struct epoll_event *event, void *nobody) { event->data.ptr = nobody; }
    static int has_input(int fd) {
        char first;
        return recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    }
    """
    struct epoll_event:
        uint32_t events
    struct sockaddr:
        pass
    int EPOLL_CLOEXEC
    int MSG_MORE
    int MSG_NOSIGNAL
    int SOCK_CLOEXEC
    int SOCK_NONBLOCK
    int accept4(int, sockaddr *, unsigned int *, int) noexcept nogil
    int close(int) noexcept nogil
    int epoll_create1(int) noexcept nogil
    int epoll_wait(int, epoll_event *, int, int) noexcept nogil
    ssize_t getrandom(void *, size_t, unsigned int) noexcept nogil
    void *memmem(const void *, size_t, const void *, size_t) noexcept nogil
    ssize_t recv(int, void *, size_t, int) noexcept nogil
    ssize_t send(int, const void *, size_t, int) noexcept nogil
    int strncasecmp(const char *, const char *, size_t) noexcept nogil
    void forget_who(epoll_event *, void *) noexcept nogil
    int has_input(int) noexcept nogil
    int make_timer() noexcept nogil
    void note_expired(int) noexcept nogil
    void set_timer(int, int) noexcept nogil
    int watch_for_input(int, int, void *) noexcept nogil
    int watch_no_more(int, int) noexcept nogil
    void *who_is_ready(epoll_event *) noexcept nogil

cdef enum:
    EVENTS = 64
    ACCEPTS_A_TURN = 64
    PART_NS = 2000000  # of a turn, after which Python answers no more in it
    IDLE_LOOKED_AT = 64  # for one that may be evicted
    INPUT = 16384  # bytes that are read at once
    LONGEST_REQUEST = 8000  # what is longer is given away, before it is too long
    OUTPUT = 1 << 19  # responses that are sent at once
    HEAD = 384  # room for a head
    MOST_PEERS = 1000  # in an answer
    LARGEST_RESPONSE = 1 << 18  # that of Python: a thousand peers as dictionaries
    INFO_HASH = 20
    PEER_ID = 20
    MOST_SCRAPED = 64
    DEFAULT_NUM_WANT = 74
    LONGEST_NUMBER = 18  # digits, of numbers that fit into 63 bits
    REQUEST_IDS = 4096  # random bytes for them, at once
    DATE = 29  # bytes of RFC 9110's format
    CLOSED_A_SWEEP = 50
    READS_A_TIME = 64  # of what was read in one of so many times the time is taken
    DEFERRED_MS = 1000  # a new connection on which there is nothing to read is so old already


cdef struct Client:
    uint8_t address[16]
    uint8_t size  # 4 or 16


cdef struct Connection:
    # One of two lists, each in the order in which its time runs out, has it.
    Connection *before
    Connection *after
    int fd
    Client client  # at the socket's other end
    bint is_idle  # it has been answered, and waits for its next request
    bint is_watched  # it is in the epoll set
    uint32_t received
    uint8_t *part  # of a request, `received` bytes; NULL without
    int64_t since_ms


cdef struct List:
    Connection *first
    Connection *last
    uint32_t size


cdef struct Framed:
    # The head of a request, as far as it says where the request ends and whether the connection stays.
    const uint8_t *target
    size_t target_size
    const uint8_t *fields
    size_t fields_size
    bint is_1_0
    bint closes
    bint has_request_id


cdef struct Target:
    # Of an announce or a scrape: /announce/<key>?<query>
    bint is_scrape
    const uint8_t *key
    size_t key_size  # 0 without one
    const uint8_t *query
    size_t query_size


cdef struct Query:
    Announce announce
    uint8_t info_hash[INFO_HASH]
    uint8_t peer_id[PEER_ID]
    uint8_t port[2]  # in wire order
    uint32_t seen  # which parameters were there, one bit each
    int64_t num_want  # -1: the client leaves it to the tracker


cdef const char *HEX = b"0123456789abcdef"


# --- text

cdef inline int hex_value(uint8_t digit) noexcept nogil:
    if c'0' <= digit <= c'9':
        return digit - c'0'
    digit |= 32
    if c'a' <= digit <= c'f':
        return digit - c'a' + 10
    return -1


cdef int decoded(const uint8_t *text, size_t size, uint8_t *out, int expected) noexcept nogil:
    """Percent-decode exactly so many bytes; 0 if they are others, or an escape is none."""
    cdef size_t at = 0
    cdef int count = 0
    cdef int high
    cdef int low
    while at < size:
        if count == expected:
            return 0
        if text[at] != c'%':
            out[count] = text[at]
            at += 1
        else:
            if at + 2 >= size:
                return 0
            high = hex_value(text[at + 1])
            low = hex_value(text[at + 2])
            if high < 0 or low < 0:
                return 0
            out[count] = <uint8_t>(high << 4 | low)
            at += 3
        count += 1
    return count == expected


cdef int64_t number(const uint8_t *text, size_t size) noexcept nogil:
    """Of ASCII digits; -1 if it is none, or long."""
    cdef int64_t value = 0
    cdef size_t at
    if size == 0 or size > LONGEST_NUMBER:
        return -1
    for at in range(size):
        if not c'0' <= text[at] <= c'9':
            return -1
        value = 10 * value + (text[at] - c'0')
    return value


cdef inline uint8_t *write_number(uint8_t *out, uint64_t value) noexcept nogil:
    cdef uint8_t digits[20]
    cdef int count = 0
    while True:
        digits[count] = <uint8_t>(c'0' + value % 10)
        count += 1
        value //= 10
        if value == 0:
            break
    while count:
        count -= 1
        out[0] = digits[count]
        out += 1
    return out


cdef inline uint8_t *write_text(uint8_t *out, const char *text, size_t size) noexcept nogil:
    memcpy(out, text, size)
    return out + size


cdef inline bint is_name(const uint8_t *text, size_t size, const char *name, size_t name_size) noexcept nogil:
    return size == name_size and memcmp(text, name, name_size) == 0


cdef inline bint is_field(const uint8_t *text, size_t size, const char *name, size_t name_size) noexcept nogil:
    return size == name_size and strncasecmp(<const char *>text, name, name_size) == 0


cdef inline bint is_token(uint8_t character) noexcept nogil:
    """Of the characters of a field's name (RFC 9110, 5.6.2) those that are seen."""
    return c'a' <= (character | 32) <= c'z' or c'0' <= character <= c'9' or character == c'-' or character == c'_'


cdef inline int64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


# --- framing

cdef bint frame(const uint8_t *head, size_t size, Framed *framed) noexcept nogil:
    """Read the head of a request, which ends in an empty line. False if it is not a plain GET without a body."""
    cdef const uint8_t *end = head + size - 2  # before the empty line
    cdef const uint8_t *line = <const uint8_t *>memchr(head, c'\r', size)
    cdef const uint8_t *target_end = line - 9  # before ` HTTP/1.1`
    cdef const uint8_t *at
    if line - head < 14 or memcmp(head, b"GET /", 5) != 0 or memcmp(target_end, b" HTTP/1.", 8) != 0:
        return False
    if line[1] != c'\n' or ((line - 1)[0] != c'1' and (line - 1)[0] != c'0'):
        return False
    framed.is_1_0 = (line - 1)[0] == c'0'
    framed.closes = framed.is_1_0
    framed.has_request_id = False
    framed.target = head + 4
    framed.target_size = target_end - framed.target
    at = framed.target
    while at < target_end:
        if not c'!' <= at[0] <= c'~' or at[0] == c'#':
            return False
        at += 1
    framed.fields = line + 2
    framed.fields_size = end - framed.fields
    return read_fields(framed)


cdef bint read_fields(Framed *framed) noexcept nogil:
    """False if a field is odd, or changes what follows the head."""
    cdef const uint8_t *line = framed.fields
    cdef const uint8_t *end = line + framed.fields_size
    cdef const uint8_t *colon
    cdef const uint8_t *line_end
    cdef const uint8_t *value
    cdef bint is_told = False
    while line < end:
        colon = line
        while colon < end and is_token(colon[0]):
            colon += 1
        if colon == line or colon == end or colon[0] != c':':
            return False
        value = colon + 1
        line_end = value
        while line_end < end and (c' ' <= line_end[0] <= c'~' or line_end[0] == c'\t'):
            line_end += 1
        if line_end + 1 >= end or line_end[0] != c'\r' or line_end[1] != c'\n':
            return False
        if is_field(line, colon - line, b"connection", 10):
            if is_told or not read_connection(framed, value, line_end):
                return False
            is_told = True
        elif is_field(line, colon - line, b"x-request-id", 12):
            framed.has_request_id = True
        elif changes_framing(line, colon - line):
            return False
        line = line_end + 2
    return True


cdef bint read_connection(Framed *framed, const uint8_t *value, const uint8_t *end) noexcept nogil:
    """Connection: close or keep-alive; False for anything else."""
    while value < end and (value[0] == c' ' or value[0] == c'\t'):
        value += 1
    while end > value and ((end - 1)[0] == c' ' or (end - 1)[0] == c'\t'):
        end -= 1
    if is_field(value, end - value, b"close", 5):
        framed.closes = True
    elif is_field(value, end - value, b"keep-alive", 10):
        framed.closes = False
    else:
        return False
    return True


cdef bint changes_framing(const uint8_t *name, size_t size) noexcept nogil:
    """Fields with which a request has a body, or another protocol follows, or that are read in odd ways."""
    return (
        is_field(name, size, b"content-length", 14)
        or is_field(name, size, b"transfer-encoding", 17)
        or is_field(name, size, b"expect", 6)
        or is_field(name, size, b"upgrade", 7)
        or is_field(name, size, b"proxy-connection", 16)
    )


cdef bint may_become_plain(const uint8_t *part, size_t size) noexcept nogil:
    """False if what has come of a request shows already that it is no plain GET without a body."""
    cdef size_t last_line = size
    cdef size_t at
    cdef Framed framed
    while last_line >= 2 and not (part[last_line - 2] == c'\r' and part[last_line - 1] == c'\n'):
        last_line -= 1
    if last_line < 2:  # not even the first line is complete
        last_line = 0
        if memcmp(part, b"GET /", min(size, <size_t>5)) != 0:
            return False
    elif not frame(part, last_line + 2, &framed):
        return False
    for at in range(last_line, size):
        if not (c' ' <= part[at] <= c'~' or part[at] == c'\t' or (part[at] == c'\r' and at + 1 == size)):
            return False
    return True


# --- targets

cdef bint split_target(const Framed *framed, Target *target) noexcept nogil:
    """False if it is neither an announce nor a scrape, or odd."""
    cdef const uint8_t *end = framed.target + framed.target_size
    cdef const uint8_t *mark = <const uint8_t *>memchr(framed.target, c'?', framed.target_size)
    cdef const uint8_t *key = framed.target
    cdef size_t path_size
    if mark == NULL or (mark + 1 < end and mark[1] == c'?'):
        return False
    path_size = mark - framed.target
    target.query = mark + 1
    target.query_size = end - target.query
    target.is_scrape = path_size >= 7 and memcmp(framed.target, b"/scrape", 7) == 0
    if target.is_scrape:
        key += 7
    elif path_size >= 9 and memcmp(framed.target, b"/announce", 9) == 0:
        key += 9
    else:
        return False
    target.key_size = 0
    if key < mark:
        target.key = key + 1
        target.key_size = mark - target.key
        return key[0] == c'/' and target.key_size > 0 and memchr(target.key, c'/', target.key_size) == NULL
    return True


# --- queries

cdef enum:
    # Bits of Query.seen.
    HAS_INFO_HASH = 1
    HAS_PEER_ID = 2
    HAS_PORT = 4
    HAS_DOWNLOADED = 8
    HAS_UPLOADED = 16
    HAS_LEFT = 32
    HAS_EVENT = 64
    HAS_COMPACT = 128
    HAS_NUM_WANT = 256
    NEEDED = HAS_INFO_HASH | HAS_PEER_ID | HAS_PORT | HAS_COMPACT


cdef int read_parameter(
    Query *query, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size
) noexcept nogil:
    """The parameter's bit, 0 for one that is not the tracker's, -1 if it is not as most clients write it."""
    cdef int64_t read
    if is_name(name, name_size, b"info_hash", 9):
        return HAS_INFO_HASH if decoded(value, size, query.info_hash, INFO_HASH) else -1
    if is_name(name, name_size, b"peer_id", 7):
        return HAS_PEER_ID if decoded(value, size, query.peer_id, PEER_ID) else -1
    if is_name(name, name_size, b"port", 4):
        read = number(value, size)
        query.port[0] = <uint8_t>(read >> 8)
        query.port[1] = <uint8_t>read
        return HAS_PORT if 0 <= read <= 65535 else -1
    if is_name(name, name_size, b"downloaded", 10):
        query.announce.downloaded = number(value, size)
        return HAS_DOWNLOADED if query.announce.downloaded >= 0 else -1
    if is_name(name, name_size, b"uploaded", 8):
        query.announce.uploaded = number(value, size)
        return HAS_UPLOADED if query.announce.uploaded >= 0 else -1
    if is_name(name, name_size, b"left", 4):
        query.announce.left = number(value, size)
        return HAS_LEFT if query.announce.left >= 0 else -1
    if is_name(name, name_size, b"event", 5):
        query.announce.event = event_of(value, size)
        return HAS_EVENT if query.announce.event >= 0 else -1
    if is_name(name, name_size, b"compact", 7):
        return HAS_COMPACT if size == 1 and value[0] == c'1' else -1
    if is_name(name, name_size, b"numwant", 7):
        query.num_want = number(value, size)
        return HAS_NUM_WANT if 0 <= query.num_want <= UINT32_MAX else -1
    return 0


cdef int event_of(const uint8_t *value, size_t size) noexcept nogil:
    """As BEP 15 numbers them, or -1."""
    if size == 0 or is_name(value, size, b"paused", 6):  # BEP 21: a partial seed
        return 0
    if is_name(value, size, b"completed", 9):
        return 1
    if is_name(value, size, b"started", 7):
        return 2
    if is_name(value, size, b"stopped", 7):
        return 3
    return -1


cdef bint next_parameter(
    const uint8_t **at, const uint8_t *end, const uint8_t **equals, const uint8_t **piece_end
) noexcept nogil:
    """The piece of a query at `at`; False if it is not `name=value`."""
    cdef const uint8_t *start = at[0]
    piece_end[0] = <const uint8_t *>memchr(start, c'&', end - start)
    if piece_end[0] == NULL:
        piece_end[0] = end
    equals[0] = <const uint8_t *>memchr(start, c'=', piece_end[0] - start)
    return equals[0] != NULL and memchr(equals[0] + 1, c'=', piece_end[0] - equals[0] - 1) == NULL


cdef bint read_announce(const uint8_t *text, size_t size, Query *query) noexcept nogil:
    """False if it is not an ordinary one."""
    cdef const uint8_t *at = text
    cdef const uint8_t *end = text + size
    cdef const uint8_t *equals = NULL
    cdef const uint8_t *piece_end = NULL
    cdef int bit
    query.seen = 0
    query.num_want = -1
    query.announce.downloaded = query.announce.uploaded = query.announce.left = 0
    query.announce.event = 0
    while at < end:
        if at[0] == c'&':  # an empty piece
            at += 1
            continue
        if not next_parameter(&at, end, &equals, &piece_end):
            return False
        bit = read_parameter(query, at, equals - at, equals + 1, piece_end - equals - 1)
        if bit < 0 or query.seen & <uint32_t>bit:
            return False
        query.seen |= <uint32_t>bit
        at = piece_end
    return query.seen & NEEDED == NEEDED


cdef int read_scrape(const uint8_t *text, size_t size, uint8_t *info_hashes) noexcept nogil:
    """How many different info hashes are asked for, sorted; 0 if it is not an ordinary one."""
    cdef const uint8_t *at = text
    cdef const uint8_t *end = text + size
    cdef const uint8_t *equals = NULL
    cdef const uint8_t *piece_end = NULL
    cdef uint8_t info_hash[INFO_HASH]
    cdef int count = 0
    cdef int place
    while at < end:
        if at[0] == c'&':
            at += 1
            continue
        if not next_parameter(&at, end, &equals, &piece_end):
            return 0
        if is_name(at, equals - at, b"info_hash", 9):
            if count == MOST_SCRAPED or not decoded(
                equals + 1, piece_end - equals - 1, info_hash, INFO_HASH
            ):
                return 0
            place = count
            while place > 0 and memcmp(info_hashes + INFO_HASH * (place - 1), info_hash, INFO_HASH) > 0:
                place -= 1
            if place == 0 or memcmp(info_hashes + INFO_HASH * (place - 1), info_hash, INFO_HASH) != 0:
                memmove(
                    info_hashes + INFO_HASH * (place + 1),
                    info_hashes + INFO_HASH * place,
                    INFO_HASH * (count - place),
                )
                memcpy(info_hashes + INFO_HASH * place, info_hash, INFO_HASH)
                count += 1
        at = piece_end
    return count


# --- lists of connections

cdef void append(List *list, Connection *connection) noexcept nogil:
    connection.before = list.last
    connection.after = NULL
    if list.last != NULL:
        list.last.after = connection
    else:
        list.first = connection
    list.last = connection
    list.size += 1


cdef void take_out(List *list, Connection *connection) noexcept nogil:
    if connection.before != NULL:
        connection.before.after = connection.after
    else:
        list.first = connection.after
    if connection.after != NULL:
        connection.after.before = connection.before
    else:
        list.last = connection.before
    list.size -= 1


cdef class HttpPlane:
    """Serves what comes to a listening, non-blocking TCP socket, which stays its owner's.

    `is_direct`: clients are not behind a proxy and need no key; else `admit(key, fields, address)` gives the
    address of the client, None for one that is not to be served as others are. `key` is the segment of the path
    behind `/announce/` or `/scrape/`, empty without one; `address` is that of the socket's other end.
    `fallback(target, fields, connection, address)` makes the response to any other GET; `connection` is what it
    is to say of the connection.
    `hand_over(fd, address, unread, unsent, is_closing, age_ms)` takes a connection that is no longer the
    plane's. `make_room()` says whether one more may be accepted. Times are milliseconds.
    """

    cdef int listener
    cdef int timer
    cdef readonly int fd  # of the epoll set
    cdef uint32_t interval
    cdef uint32_t interval_min
    cdef uint32_t max_peers
    cdef bint is_listed
    cdef bint is_direct
    cdef External external
    cdef object admit
    cdef object fallback
    cdef object hand_over
    cdef object make_room
    cdef NativeSwarms swarms
    cdef NativeWhitelist whitelist
    cdef NativeWhitelist blacklist
    cdef NativeStatistics statistics
    cdef int64_t room  # for so many more connections, without asking for it
    cdef List busy  # a first request is awaited, or the rest of one
    cdef List idle
    cdef uint8_t *input
    cdef uint8_t *output
    cdef size_t filled  # of the output
    cdef uint8_t random[REQUEST_IDS]
    cdef int used_random
    cdef uint8_t date[DATE]
    cdef int64_t now_ms
    cdef int64_t clock_ms
    cdef uint32_t second
    cdef uint16_t ms
    cdef int untimed  # reads until a time is taken
    # A turn has two parts: who is there already is read, then who is new.
    cdef int64_t python_since_ns  # when Python first answered in this part; 0: it did not yet
    cdef bint is_over  # this part
    cdef int ready  # events; those from `next` on are left for the next turn
    cdef int next
    cdef readonly bint is_out_of_files  # nothing is accepted until `accept_again`
    # Of the announces since the last `take_seen`: how many, whose the first was, and whether others differ.
    cdef uint64_t announces
    cdef Client first_client
    cdef uint8_t first_port[2]
    cdef bint has_several_clients
    cdef bint has_several_ports
    cdef epoll_event events[EVENTS]

    def __cinit__(
        self,
        int listener,
        *,
        NativeSwarms swarms,
        NativeWhitelist whitelist,
        NativeWhitelist blacklist,
        NativeStatistics statistics,
        uint32_t interval,
        uint32_t interval_min,
        uint32_t max_peers,
        bint is_listed,
        bint is_direct,
        bytes external_address,
        admit,
        fallback,
        hand_over,
        make_room,
    ):
        self.fd = self.timer = -1
        assert max_peers <= MOST_PEERS and len(external_address) in (0, 4, 16)
        self.listener = listener
        self.swarms = swarms
        self.whitelist = whitelist
        self.blacklist = blacklist
        self.statistics = statistics
        self.interval = interval
        self.interval_min = interval_min
        self.max_peers = max_peers
        self.is_listed = is_listed
        self.is_direct = is_direct
        self.external.size = len(external_address)
        memcpy(self.external.address, PyBytes_AS_STRING(external_address), self.external.size)
        self.admit = admit
        self.fallback = fallback
        self.hand_over = hand_over
        self.make_room = make_room
        self.used_random = REQUEST_IDS
        self.untimed = READS_A_TIME
        self.input = <uint8_t *>malloc(INPUT)
        self.output = <uint8_t *>malloc(OUTPUT)
        if self.input == NULL or self.output == NULL:
            raise MemoryError
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        self.timer = make_timer()
        if (
            self.fd < 0
            or self.timer < 0
            or watch_for_input(self.fd, listener, NULL) < 0
            or watch_for_input(self.fd, self.timer, &self.timer) < 0
        ):
            raise OSError(errno, "the HTTP tracker cannot watch its socket")

    def __dealloc__(self):
        self._close_all()
        if self.fd >= 0:
            close(self.fd)
        if self.timer >= 0:
            close(self.timer)
        free(self.input)
        free(self.output)

    @property
    def open(self):
        """How many connections there are."""
        return self.busy.size + self.idle.size

    @property
    def idle_since_ms(self):
        """When the longest idle connection was answered; infinity without one."""
        return <double>self.idle.first.since_ms if self.idle.first != NULL else INFINITY

    # --- what the tracker calls

    def take_seen(self):
        """Announces since the last call, and the address and port that all had, if all had one."""
        seen = (
            self.announces,
            None
            if self.announces == 0 or self.has_several_clients
            else PyBytes_FromStringAndSize(<const char *>self.first_client.address, self.first_client.size),
            None
            if self.announces == 0 or self.has_several_ports
            else self.first_port[0] << 8 | self.first_port[1],
        )
        self.announces = 0
        return seen

    def on_readable(self, int64_t now_ms, int64_t clock_ms, bytes date, int64_t room):
        """Accept, read and answer what there is, for a turn of the loop; how many connections were accepted.

        `now_ms` is the tracker's time, `clock_ms` that of connections, for `room` more of which nobody has to
        leave.
        """
        cdef void *who
        cdef int accepted
        cdef bint accepts = False
        cdef bint is_time = False
        assert len(date) == DATE
        memcpy(self.date, PyBytes_AS_STRING(date), DATE)
        self.now_ms = now_ms
        self.clock_ms = clock_ms
        self.room = room
        self.second = <uint32_t>(now_ms // 1000)
        self.ms = <uint16_t>(now_ms % 1000)
        self._begin_part()
        if self.next == self.ready:  # else who was left comes first: epoll would tell of the first again
            self.ready = max(0, epoll_wait(self.fd, self.events, EVENTS, 0))
            self.next = 0
        while self.next < self.ready and not self.is_over:
            who = who_is_ready(&self.events[self.next])
            self.next += 1
            if who == NULL:  # the listener
                accepts = True
            elif who == &self.timer:
                accepts = is_time = True
            elif who != &self.fd:
                self._read(<Connection *>who)
        if self.next < self.ready:  # the listener may be among those that are left
            accepts = not self.is_out_of_files
        if not accepts:
            return 0
        self._begin_part()  # who is new does not wait for those who are there already
        accepted = self._accept()  # last: an accepted connection may make room by closing one that has an event
        if is_time and accepted < ACCEPTS_A_TURN and not self.is_over:  # else there may be more, and it is still time
            note_expired(self.timer)
        return accepted

    def poll(self, int interval_us):
        """Look for new connections once in so many microseconds; 0: when the kernel tells of them."""
        if interval_us:
            set_timer(self.timer, interval_us)
            watch_no_more(self.fd, self.listener)
        elif self.is_out_of_files or watch_for_input(self.fd, self.listener, NULL) == 0:
            set_timer(self.timer, 0)  # else it goes on: somebody has to look

    def accept_again(self):
        if self.is_out_of_files:
            self.is_out_of_files = watch_for_input(self.fd, self.listener, NULL) < 0

    def accept_no_more(self):
        watch_no_more(self.fd, self.listener)

    def evict(self):
        """Close the longest idle connection, if it can be one whose next request has not come yet."""
        cdef Connection *connection = self.idle.first
        cdef int looked
        for looked in range(IDLE_LOOKED_AT):
            if connection == NULL:
                break
            if not has_input(connection.fd):
                self._close(connection)
                return
            connection = connection.after
        if self.idle.first != NULL:
            self._close(self.idle.first)

    def sweep(self, int64_t clock_ms, int64_t busy_ms, int64_t idle_ms):
        """Of those that have been busy, or idle, for so long, close or hand over some. True if there may be more."""
        cdef int left = CLOSED_A_SWEEP
        cdef Connection *overdue
        self.clock_ms = clock_ms
        while left and self.busy.first != NULL and self.busy.first.since_ms <= clock_ms - busy_ms:
            overdue = self.busy.first
            if overdue.part != NULL:
                self._give_away(overdue, overdue.part, overdue.received, False, self._age_ms(overdue))
            else:
                self._close(overdue)
            left -= 1
        while left and self.idle.first != NULL and self.idle.first.since_ms <= clock_ms - idle_ms:
            self._close(self.idle.first)
            left -= 1
        return left == 0

    def close_all(self):
        self._close_all()

    cdef void _close_all(self) noexcept:
        while self.busy.first != NULL:
            self._close(self.busy.first)
        while self.idle.first != NULL:
            self._close(self.idle.first)

    # --- connections

    cdef int _accept(self) except -1:
        cdef int count
        cdef int fd
        cdef uint8_t name[28]
        cdef unsigned int size
        for count in range(ACCEPTS_A_TURN):
            size = sizeof(name)
            fd = accept4(self.listener, <sockaddr *>name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                    self.is_out_of_files = True
                    watch_no_more(self.fd, self.listener)
                elif errno != EAGAIN:
                    continue  # a connection that has gone already
                return count
            self._serve_new(fd, name)
            if self.is_over:
                return count + 1
        return ACCEPTS_A_TURN

    cdef int _serve_new(self, int fd, const uint8_t *name) except -1:
        cdef Connection *connection
        cdef const uint8_t *address = NULL
        if self.room > 0:
            self.room -= 1
        elif not self.make_room():
            close(fd)
            return 0
        connection = <Connection *>malloc(sizeof(Connection))
        if connection == NULL:
            close(fd)
            return 0
        memset(connection, 0, sizeof(Connection))
        connection.fd = fd
        connection.since_ms = self.clock_ms
        connection.client.size = <uint8_t>find_address(name, &address)
        memcpy(connection.client.address, address, connection.client.size)
        append(&self.busy, connection)
        self._read(connection)
        return 0

    cdef void _close(self, Connection *connection) noexcept nogil:
        close(connection.fd)
        self._forget(connection)

    cdef void _forget(self, Connection *connection) noexcept nogil:
        cdef int left
        for left in range(self.next, self.ready):
            if who_is_ready(&self.events[left]) == connection:
                forget_who(&self.events[left], &self.fd)
        take_out(&self.idle if connection.is_idle else &self.busy, connection)
        free(connection.part)
        free(connection)

    cdef void _note_idle(self, Connection *connection) noexcept nogil:
        take_out(&self.idle if connection.is_idle else &self.busy, connection)
        connection.is_idle = True
        connection.since_ms = self.clock_ms
        append(&self.idle, connection)

    cdef void _note_busy(self, Connection *connection) noexcept nogil:
        take_out(&self.idle if connection.is_idle else &self.busy, connection)
        connection.is_idle = False
        connection.since_ms = self.clock_ms
        append(&self.busy, connection)

    cdef int _give_away(
        self, Connection *connection, const uint8_t *unread, size_t size, bint is_closing, int64_t age_ms
    ) except -1:
        """With what was read and not answered, and what is still to be sent. It is open until it is taken.

        `age_ms`: of the request that has begun.
        """
        cdef int fd = connection.fd
        address = PyBytes_FromStringAndSize(<const char *>connection.client.address, connection.client.size)
        unread_bytes = PyBytes_FromStringAndSize(<const char *>unread, size)
        unsent = PyBytes_FromStringAndSize(<const char *>self.output, self.filled)
        self.filled = 0
        if connection.is_watched:
            watch_no_more(self.fd, fd)
        self._forget(connection)
        self.hand_over(fd, address, unread_bytes, unsent, is_closing, age_ms)
        return 0

    cdef int64_t _age_ms(self, const Connection *connection) noexcept nogil:
        """Of the request that it has begun, or of the connection without one."""
        return 0 if connection.is_idle else max(<int64_t>0, self.clock_ms - connection.since_ms)

    cdef int64_t _age_at(self, const Connection *connection, const uint8_t *request) noexcept nogil:
        """Of the request that begins there in the input: those behind the first have just come."""
        return self._age_ms(connection) if request == self.input else 0

    # --- reading

    cdef int _read(self, Connection *connection) except -1:
        """Read once, and answer all requests that are complete."""
        cdef size_t received = connection.received
        cdef ssize_t more
        if received:
            memcpy(self.input, connection.part, received)
        more = recv(connection.fd, self.input + received, INPUT - received, 0)
        if more < 0 and (errno == EAGAIN or errno == EINTR):
            return self._wait_for_first(connection)
        if more <= 0:
            if more == 0 and received:  # an end within a request
                return self._give_away(connection, self.input, received, False, self._age_ms(connection))
            self._close(connection)
            return 0
        self.untimed -= 1
        if self.untimed == 0:
            self.untimed = READS_A_TIME
            return self._answer_timed(connection, received + more)
        return self._answer_all(connection, received + more)

    cdef int _answer_timed(self, Connection *connection, size_t received) except -1:
        """Take the time from what has been read to the answer."""
        cdef uint64_t handled[OUTCOMES]
        cdef timespec read
        cdef timespec left
        self.statistics.read_handled(handled)
        clock_gettime(CLOCK_MONOTONIC, &read)
        self._answer_all(connection, received)
        clock_gettime(CLOCK_MONOTONIC, &left)
        self.statistics.add_time(
            handled, <double>(left.tv_sec - read.tv_sec) + 1e-9 * <double>(left.tv_nsec - read.tv_nsec)
        )
        return 0

    cdef int _wait_for_first(self, Connection *connection) except -1:
        """There is nothing yet."""
        if not connection.is_watched:
            connection.since_ms -= DEFERRED_MS
            self._watch(connection)
        return 0

    cdef void _watch(self, Connection *connection) noexcept nogil:
        if connection.is_watched:
            return
        connection.is_watched = True
        if watch_for_input(self.fd, connection.fd, connection) < 0:
            self._close(connection)

    cdef int _answer_all(self, Connection *connection, size_t received) except -1:
        """Answer the requests in the input, which holds so many bytes."""
        cdef uint8_t *at = self.input
        cdef uint8_t *end
        cdef Framed framed
        cdef bint fell_back = False
        cdef bint closes = False
        cdef bint may_be_more = received == INPUT
        self.filled = 0
        while received and not closes:
            end = <uint8_t *>memmem(at, received, b"\r\n\r\n", 4)
            if end == NULL:
                break
            end += 4
            if end - at > LONGEST_REQUEST or not frame(at, end - at, &framed):
                return self._give_away(connection, at, received, False, self._age_at(connection, at))
            if OUTPUT - self.filled < LARGEST_RESPONSE and not self._flush(connection, 0):
                return self._give_away(connection, at, received, False, 0)
            if not self._answer(connection, &framed):
                if fell_back:  # Python takes its time: a connection that asks for much of it waits for its turn
                    return self._give_away(connection, at, received, False, 0)
                fell_back = True
                self._fall_back(connection, &framed)
            closes = framed.closes
            received -= end - at
            at = end
        # Closed while there is something to read, the connection would be reset, and the answers be lost with it.
        may_be_more = closes and may_be_more
        if not self._flush(connection, MSG_MORE if closes and not may_be_more else 0) or may_be_more:
            return self._give_away(connection, at, received, closes, 0)
        if closes:
            self._close(connection)
            return 0
        return self._keep_rest(connection, at, received)

    cdef int _keep_rest(self, Connection *connection, const uint8_t *rest, size_t size) except -1:
        """What has begun and is not complete; then wait."""
        cdef bint has_answered = rest != self.input
        cdef uint8_t *part
        if size > LONGEST_REQUEST or (size and not may_become_plain(rest, size)):
            return self._give_away(connection, rest, size, False, self._age_at(connection, rest))
        free(connection.part)
        connection.part = NULL
        connection.received = 0
        if size:
            part = <uint8_t *>malloc(size)
            if part == NULL:
                self._close(connection)
                return 0
            memcpy(part, rest, size)
            connection.part = part
            connection.received = <uint32_t>size
            if has_answered or connection.is_idle:
                self._note_busy(connection)
        else:
            self._note_idle(connection)
        self._watch(connection)
        return 0

    cdef bint _flush(self, Connection *connection, int flags) noexcept:
        """Send the output; False if not all of it was taken, and then the rest is the output."""
        cdef ssize_t sent
        if self.filled == 0:
            return True
        sent = send(connection.fd, self.output, self.filled, flags | MSG_NOSIGNAL)
        if sent == <ssize_t>self.filled:
            self.filled = 0
            return True
        if sent > 0:
            self.filled -= sent
            memmove(self.output, self.output + sent, self.filled)
        return False

    # --- answers

    cdef int _answer(self, const Connection *connection, const Framed *framed) except -1:
        """0 if it is not an ordinary request."""
        cdef Target target
        cdef Query query
        cdef Client client
        cdef uint8_t info_hashes[INFO_HASH * (MOST_SCRAPED + 1)]
        cdef int count
        if framed.has_request_id or not split_target(framed, &target):
            return 0
        if target.is_scrape:
            count = read_scrape(target.query, target.query_size, info_hashes)
            if count == 0 or not self._admit(connection, framed, &target, &client):
                return 0
            self._scrape(&client, framed, info_hashes, count)
            return 1
        if not read_announce(target.query, target.query_size, &query):
            return 0
        return self._admit(connection, framed, &target, &client) and self._announce(&client, framed, &query)

    cdef int _admit(
        self, const Connection *connection, const Framed *framed, const Target *target, Client *client
    ) except -1:
        """Find out whose request it is; 0 if that is for Python to answer."""
        if self.is_direct:
            client[0] = connection.client
            return target.key_size == 0
        cdef bytes admitted = self.admit(
            PyBytes_FromStringAndSize(<const char *>target.key, target.key_size),
            PyBytes_FromStringAndSize(<const char *>framed.fields, framed.fields_size),
            PyBytes_FromStringAndSize(<const char *>connection.client.address, connection.client.size),
        )
        if admitted is None:
            return 0
        assert len(admitted) in (4, 16)
        client.size = <uint8_t>len(admitted)
        memcpy(client.address, PyBytes_AS_STRING(admitted), client.size)
        return 1

    cdef bint _announce(self, const Client *client, const Framed *framed, Query *query) noexcept nogil:
        cdef Store *store = &self.swarms.store
        cdef Announce *request = &query.announce
        cdef uint8_t *body = self.output + self.filled + HEAD
        cdef uint8_t *out = body
        cdef View view
        if self.is_listed and not self.whitelist.has(query.info_hash):
            return False
        request.info_hash = query.info_hash
        request.hash = torrent_hash(store, query.info_hash)
        look_up_torrent(store, request)
        if self.blacklist.count and self._is_refused(request.found, query.info_hash):
            return False
        request.peer_id = query.peer_id
        request.expected = -1
        request.family = IPV4 if write_endpoint(
            request.endpoint, client.address, client.size, &self.external, query.port
        ) == 4 else IPV6
        request.num_want = <uint32_t>min(
            <int64_t>DEFAULT_NUM_WANT if query.num_want < 0 else query.num_want, <int64_t>self.max_peers
        )
        request.families = WANTS_IPV4 | WANTS_IPV6
        request.second = self.second
        request.ms = self.ms
        if apply_announce(store, request, &view) < 0:
            return False
        out = write_number(write_text(out, b"d8:completei", 12), view.seeders)
        out = write_number(write_text(out, b"e10:incompletei", 15), view.leechers)
        out = write_number(write_text(out, b"e8:intervali", 12), self.interval)
        out = write_number(write_text(out, b"e12:min intervali", 17), self.interval_min)
        out = write_number(write_text(out, b"e5:peers", 8), 6 * view.chosen[IPV4])
        out[0] = c':'
        out += 1 + 6 * choose(store, &view, IPV4, out + 1)
        out = write_number(write_text(out, b"6:peers6", 8), 18 * view.chosen[IPV6])
        out[0] = c':'
        out += 1 + 18 * choose(store, &view, IPV6, out + 1)
        out[0] = c'e'
        self._finish(framed, body, out + 1 - body)
        self._count(client, ANNOUNCE)
        self._note(client, query.port)
        return True

    cdef bint _is_refused(self, const Swarm *swarm, const uint8_t *info_hash) noexcept nogil:
        """As in the UDP plane: a torrent that has peers is not on the blacklist."""
        return not has_peers(swarm) and self.blacklist.has(info_hash)

    cdef void _note(self, const Client *client, const uint8_t *port) noexcept nogil:
        if self.announces == 0:
            self.first_client = client[0]
            memcpy(self.first_port, port, 2)
            self.has_several_clients = False
            self.has_several_ports = False
        elif client.size != self.first_client.size or memcmp(
            client.address, self.first_client.address, client.size
        ):
            self.has_several_clients = True
        if memcmp(port, self.first_port, 2):
            self.has_several_ports = True
        self.announces += 1

    cdef void _scrape(
        self, const Client *client, const Framed *framed, const uint8_t *info_hashes, int count
    ) noexcept nogil:
        cdef Store *store = &self.swarms.store
        cdef uint8_t *body = self.output + self.filled + HEAD
        cdef uint8_t *out = write_text(body, b"d5:filesd", 9)
        cdef const uint8_t *info_hash
        cdef Swarm *swarm
        cdef uint32_t seeders
        cdef uint32_t leechers
        cdef int number
        for number in range(count):
            info_hash = info_hashes + INFO_HASH * number
            swarm = NULL
            seeders = leechers = 0
            if not self.is_listed or self.whitelist.has(info_hash):
                swarm = find_torrent(store, info_hash, torrent_hash(store, info_hash))
            if swarm != NULL and self.blacklist.count and self._is_refused(swarm, info_hash):
                swarm = NULL
            if swarm != NULL:
                counts(swarm, &seeders, &leechers)
            out = write_text(write_text(out, b"20:", 3), <const char *>info_hash, INFO_HASH)
            out = write_number(write_text(out, b"d8:completei", 12), seeders)
            out = write_number(
                write_text(out, b"e10:downloadedi", 15), swarm.completed if swarm != NULL else 0
            )
            out = write_number(write_text(out, b"e10:incompletei", 15), leechers)
            out = write_text(out, b"ee", 2)
        out = write_text(out, b"ee", 2)
        self._finish(framed, body, out - body)
        self._count(client, SCRAPE)

    cdef void _finish(self, const Framed *framed, const uint8_t *body, size_t size) noexcept nogil:
        """Write the head of a response before its body, which stands HEAD bytes behind the output's end."""
        cdef uint8_t *start = self.output + self.filled
        cdef uint8_t *out = write_text(start, b"HTTP/1.1 200 OK\r\ncontent-type: ", 31)
        out = write_text(out, b"application/octet-stream\r\ncontent-length: ", 42)
        out = write_text(write_number(out, size), b"\r\nx-request-id: ", 16)
        out = write_text(self._write_request_id(out), b"\r\n", 2)
        if framed.closes:
            out = write_text(out, b"connection: close\r\n", 19)
        elif framed.is_1_0:
            out = write_text(out, b"connection: keep-alive\r\n", 24)
        out = write_text(write_text(out, b"date: ", 6), <const char *>self.date, DATE)
        out = write_text(out, b"\r\n\r\n", 4)
        memmove(out, body, size)
        self.filled += (out - start) + size

    cdef uint8_t *_write_request_id(self, uint8_t *out) noexcept nogil:
        """A random UUID (version 4 of RFC 9562)."""
        cdef const uint8_t *random
        cdef uint8_t byte
        cdef int i
        if self.used_random == REQUEST_IDS:
            getrandom(self.random, REQUEST_IDS, 0)
            self.used_random = 0
        random = self.random + self.used_random
        self.used_random += 16
        for i in range(16):
            byte = random[i]
            if i == 6:
                byte = 0x40 | (byte & 0x0F)
            elif i == 8:
                byte = 0x80 | (byte & 0x3F)
            if i == 4 or i == 6 or i == 8 or i == 10:
                out[0] = c'-'
                out += 1
            out[0] = HEX[byte >> 4]
            out[1] = HEX[byte & 15]
            out += 2
        return out

    cdef void _begin_part(self) noexcept nogil:
        self.python_since_ns = 0
        self.is_over = False

    cdef int _fall_back(self, const Connection *connection, const Framed *framed) except -1:
        """Let Python make the response. The part is over if it has done so for long."""
        cdef bytes response
        if self.python_since_ns == 0:
            self.python_since_ns = monotonic_ns()
        response = self.fallback(
            PyBytes_FromStringAndSize(<const char *>framed.target, framed.target_size),
            PyBytes_FromStringAndSize(<const char *>framed.fields, framed.fields_size),
            b"close" if framed.closes else b"keep-alive" if framed.is_1_0 else b"",
            PyBytes_FromStringAndSize(<const char *>connection.client.address, connection.client.size),
        )
        self.is_over = monotonic_ns() - self.python_since_ns > PART_NS
        assert len(response) <= LARGEST_RESPONSE
        memcpy(self.output + self.filled, PyBytes_AS_STRING(response), len(response))
        self.filled += len(response)
        return 0

    cdef void _count(self, const Client *client, int outcome) noexcept nogil:
        self.statistics.add(TCP4 if client.size == 4 else TCP6, outcome)
