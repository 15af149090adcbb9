# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Connection ids, as `torrust_py.udp.connection_ids` describes them, by SipHash-2-4."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from torrust_py.native.siphash cimport siphash

from torrust_py.core.errors import BadConnectionId

cdef enum:
    SLOT_MS = 300_000
    CONNECTION_ID = 8


cdef class NativeConnectionIds:
    """SipHash-2-4 under a secret of 16 bytes. `unix_offset_ms` turns the tracker's time into Unix time."""

    def __cinit__(self, bytes secret, *, int64_t unix_offset_ms):
        if len(secret) != sizeof(self.key):
            raise ValueError("the secret has 16 bytes")
        memcpy(&self.key, PyBytes_AS_STRING(secret), sizeof(self.key))
        self.unix_offset_ms = unix_offset_ms

    def issue(self, bytes client, int64_t now_ms, /):
        cdef uint8_t issued[CONNECTION_ID]
        self.write(issued, <const uint8_t *>PyBytes_AS_STRING(client), len(client), self.slot(now_ms))
        return (<const char *>issued)[:CONNECTION_ID]

    def check(self, bytes connection_id, bytes client, int64_t now_ms, /):
        if len(connection_id) != CONNECTION_ID or not self.is_good(
            <const uint8_t *>PyBytes_AS_STRING(connection_id),
            <const uint8_t *>PyBytes_AS_STRING(client),
            len(client),
            self.slot(now_ms),
        ):
            raise BadConnectionId

    cdef int64_t slot(self, int64_t now_ms) noexcept nogil:
        return (now_ms + self.unix_offset_ms) // SLOT_MS

    cdef void write(self, uint8_t *out, const uint8_t *client, size_t size, int64_t slot) noexcept nogil:
        """The id of a client in a slot."""
        cdef uint8_t message[24]
        cdef uint64_t mac
        memcpy(message, &slot, 8)
        memcpy(message + 8, client, size)
        mac = siphash(&self.key, message, 8 + size, 2, 4)
        memcpy(out, &mac, CONNECTION_ID)

    cdef bint is_good(
        self, const uint8_t *connection_id, const uint8_t *client, size_t size, int64_t slot
    ) noexcept nogil:
        """True if the client was issued this id in this slot or the previous one."""
        cdef uint64_t shown
        cdef uint64_t issued
        memcpy(&shown, connection_id, CONNECTION_ID)
        self.write(<uint8_t *>&issued, client, size, slot)
        if shown == issued:
            return True
        self.write(<uint8_t *>&issued, client, size, slot - 1)
        return shown == issued
