"""What a process can know of its host. None is what it cannot: no Linux, or a container that hides it."""

import os
from pathlib import Path
from typing import NamedTuple

_TIME_ERROR = 5  # timex.h: the clock is not synchronised
_TIMEX_SIZE = 512  # more than any struct timex; zeros ask, and set nothing


class Host(NamedTuple):
    conntrack_count: int | None
    conntrack_max: int | None
    has_ipv6: bool | None
    is_clock_synchronised: bool | None


def read_host(root: Path = Path("/")) -> Host:
    """`root` is where /proc is found; the clock is asked of the kernel."""
    return Host(*read_conntrack(root), _has_ipv6(root / "proc/sys/net"), _is_clock_synchronised())


def read_conntrack(root: Path = Path("/")) -> tuple[int | None, int | None]:
    """Entries of the table of connection tracking, and for how many it has room."""
    directory = root / "proc/sys/net/netfilter"
    return _number(directory / "nf_conntrack_count"), _number(directory / "nf_conntrack_max")


def _has_ipv6(net: Path) -> bool | None:
    if not net.is_dir():
        return None
    return _number(net / "ipv6/conf/all/disable_ipv6") == 0  # not there: a kernel without IPv6


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _is_clock_synchronised() -> bool | None:
    """adjtimex(2)"""
    if os.uname().sysname != "Linux":
        return None
    import ctypes  # late: the doctor and others need it only here

    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))
    return None if state < 0 else state != _TIME_ERROR
