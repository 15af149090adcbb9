"""Ports for servers that a test starts, or that nobody may have."""

import random
import socket
from pathlib import Path

_FIRST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_OF_SYSTEM = 32_768  # where it does not say


def free_port() -> int:
    """A port that nobody has just now at any address, over UDP or TCP.

    Not one that the system gives to who asks for any: of tests that run side by side, another one would have
    it soon.
    """
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _FIRST_OF_SYSTEM
    while True:
        port = random.randrange(_FIRST, end)
        if all(_is_free(port, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET6, kind) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            both.bind(("::", port))
        except OSError:
            return False
    return True
