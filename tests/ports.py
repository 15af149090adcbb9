"""Ports for servers that a test starts, or that nobody may have."""

import errno
import random
import socket
from pathlib import Path

_PORTS = range(10_000, 65_536)
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port that nobody has just now at any address, over UDP or TCP; another one each time, most likely.

    Not one that the system gives to who asks for any, unless it gives nearly all: of tests that run side by
    side, another one would have it soon.
    """
    first, last = (int(port) for port in _RANGE.read_text().split())
    ports = [port for port in _PORTS if not first <= port <= last]
    for port in random.sample(ports if len(ports) > 1000 else _PORTS, 1000):
        if all(_is_free(port, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port
    raise AssertionError("no port is free")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET6, kind) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            both.bind(("::", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
