"""What a tracker that runs on this host was granted, asked of the kernel: it may be another user's than this
process. What cannot be found out is left out.
"""

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, error

# sock_diag(7), linux/inet_diag.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR, _NLMSG_DONE = 4, 20, 2, 3
_REQUEST_AND_DUMP = 0x301
_MEMORY_INFO = 7
_ALL_STATES = 2**32 - 1
_HEADER = Struct("=IHHII")  # length, kind, flags, sequence, port
_QUERY = Struct("=BBBxI48x")  # family, protocol, extensions, states, any socket
_SOCKET = Struct("=BBBB2s66x")  # family, state, timer, retransmissions, port in wire order
_ATTRIBUTE = Struct("=HH")  # length, kind
_MEMORY = Struct("=2I")  # what waits, room for it
_PATIENCE = 1.0


def udp_receive_buffers() -> dict[int, int]:
    """Bytes that the UDP sockets of this network were granted, by their port; the least of several."""
    buffers: dict[int, int] = {}
    with contextlib.suppress(OSError, error):  # no Linux, or a container that does not let it be asked
        for family in (socket.AF_INET, socket.AF_INET6):
            for port, size in _udp_sockets(family):
                buffers[port] = min(size, buffers.get(port, size))
    return buffers


def _udp_sockets(family: int) -> Iterator[tuple[int, int]]:
    """Port and receive buffer of each. Raises OSError."""
    query = _QUERY.pack(family, socket.IPPROTO_UDP, 1 << (_MEMORY_INFO - 1), _ALL_STATES)
    header = _HEADER.pack(_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, _REQUEST_AND_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE)
        kernel.sendto(header + query, (0, 0))
        while True:
            messages = kernel.recv(65_536)
            while messages:
                length, kind, *_ = _HEADER.unpack_from(messages)
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                yield _port_and_buffer(messages[_HEADER.size : length])
                messages = messages[_aligned(length) :]


def _port_and_buffer(message: bytes) -> tuple[int, int]:
    *_, port = _SOCKET.unpack_from(message)
    attributes = message[_SOCKET.size :]
    while attributes:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind == _MEMORY_INFO:
            _, room = _MEMORY.unpack_from(attributes, _ATTRIBUTE.size)
            return int.from_bytes(port), room // 2  # the kernel doubles what it grants
        attributes = attributes[_aligned(length) :]
    raise OSError("the kernel does not tell of memory")


def _aligned(length: int) -> int:
    return max(4, (length + 3) & ~3)


def open_file_limit(port: int, root: Path = Path("/")) -> int | None:
    """How many files the process may open that listens at this TCP port; None if it cannot be looked at."""
    proc = root / "proc"
    inodes = set(_listening_inodes(proc, port))
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(_target(link) in inodes for link in (process / "fd").iterdir()):
                limits = (process / "limits").read_text()
                found = re.search(r"^Max open files +(\d+)", limits, re.MULTILINE)
                return int(found[1]) if found else None
    return None


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""  # closed meanwhile


def _listening_inodes(proc: Path, port: int) -> Iterator[str]:
    """As links of /proc/<pid>/fd name them."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for row in (proc / "net" / name).read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                    yield f"socket:[{fields[9]}]"
