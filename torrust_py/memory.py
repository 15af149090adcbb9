"""How much memory there is, how many torrents and peers fit into it, and how to take little of it."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """Bytes that a swarm store takes, at most."""

    peer: int
    """Of a peer in a swarm of many: 56 bytes of its own (IPv6: 68), its place in a table, slack."""
    torrent: int
    """Of a torrent with one peer."""


_M_ARENA_MAX = -8  # malloc.h of glibc


def use_one_heap() -> None:
    """Let threads that start from now on share the heap of the first. Each would have one of its own, and
    what it frees there would seldom be used again. Nothing happens without glibc.
    """
    with contextlib.suppress(AttributeError, ImportError):
        import ctypes

        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back_unused() -> None:
    """What was taken and freed goes back to the system. Nothing happens without glibc."""
    with contextlib.suppress(AttributeError, ImportError):
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that this process can still take: of the machine, or of the container if that has less.

    `root` is where /proc and /sys are found.
    """
    return max(0, min([_available_on_machine(root), *_available_in_container(root)]))


def what_fits(available: int, cost: Cost) -> tuple[int, int]:
    """Torrents and peers that fit together into half of the memory."""
    share = available // 4
    return max(1, share // cost.torrent), max(1, share // cost.peer)


def _available_on_machine(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # no Linux
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _available_in_container(root: Path) -> list[int]:
    """What control groups (version 2, version 1) leave; empty without a limit."""
    files = (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
    )
    left = []
    for limit_file, usage_file in files:
        try:
            limit, usage = (root / limit_file).read_text().strip(), (root / usage_file).read_text().strip()
        except OSError:
            continue  # not this version
        if limit.isdecimal():
            left.append(int(limit) - int(usage))
    return left
