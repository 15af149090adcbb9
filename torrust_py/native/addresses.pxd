# cython: language_level=3
"""IP addresses as sockets give them, and where a peer is reached."""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcmp, memcpy

cdef extern from "sys/socket.h":
    int AF_INET


cdef struct External:
    # Where peers on the tracker's own host are reached: 4 or 16 bytes; `size` 0 is nowhere else.
    uint8_t address[16]
    size_t size


cdef inline size_t find_address(const uint8_t *name, const uint8_t **address) noexcept nogil:
    """The address in a socket address, and its size, 4 or 16; a mapped one is IPv4 (RFC 4291, 2.5.5.2)."""
    cdef uint16_t family
    memcpy(&family, name, 2)
    if family == AF_INET:
        address[0] = name + 4
        return 4
    if memcmp(name + 8, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0:
        address[0] = name + 20
        return 4
    address[0] = name + 8
    return 16


cdef inline bint is_loopback(const uint8_t *address, size_t size) noexcept nogil:
    if size == 4:
        return address[0] == 127
    return memcmp(address, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16) == 0


cdef inline size_t write_endpoint(
    uint8_t *out, const uint8_t *address, size_t size, const External *external, const uint8_t *port
) noexcept nogil:
    """Where the peer is reached: at its own address, or the external one if it is on this host, and at its port,
    2 bytes in wire order. The size of the address that was written.
    """
    if external.size and is_loopback(address, size):
        address = &external.address[0]
        size = external.size
    memcpy(out, address, size)
    memcpy(out + size, port, 2)
    return size
