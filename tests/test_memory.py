import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from torrust_py.memory import Cost, available_memory, what_fits

GIB = 1024**3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with 8 GiB available and no container."""
    write(tmp_path, "proc/meminfo", f"MemTotal: 99999999 kB\nMemAvailable: {8 * GIB // 1024} kB\n")
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_a_container_it_is_what_the_machine_has(root: Path) -> None:
    assert available_memory(root) == 8 * GIB


def test_the_limit_of_a_container_counts(root: Path) -> None:
    write(root, "sys/fs/cgroup/memory.max", f"{2 * GIB}\n")
    write(root, "sys/fs/cgroup/memory.current", f"{GIB // 2}\n")
    assert available_memory(root) == 2 * GIB - GIB // 2


def test_a_container_without_a_limit_does_not_count(root: Path) -> None:
    write(root, "sys/fs/cgroup/memory.max", "max\n")
    write(root, "sys/fs/cgroup/memory.current", f"{GIB}\n")
    assert available_memory(root) == 8 * GIB


def test_the_limit_of_an_old_container_counts(root: Path) -> None:
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{GIB}\n")
    write(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", f"{GIB // 4}\n")
    assert available_memory(root) == GIB - GIB // 4


def test_a_container_over_its_limit_has_nothing(root: Path) -> None:
    write(root, "sys/fs/cgroup/memory.max", f"{GIB}\n")
    write(root, "sys/fs/cgroup/memory.current", f"{2 * GIB}\n")
    assert available_memory(root) == 0


def test_a_system_without_proc_has_its_physical_memory(tmp_path: Path) -> None:
    assert available_memory(tmp_path) > 0


def test_torrents_and_peers_together_fit_into_half() -> None:
    torrents, peers = what_fits(8 * GIB, Cost(peer=230, torrent=750))
    assert torrents * 750 + peers * 230 <= 4 * GIB
    assert torrents > 1_000_000
    assert peers > 4_000_000


def test_a_tracker_without_memory_still_remembers_something() -> None:
    assert what_fits(0, Cost(peer=230, torrent=750)) == (1, 1)


# --- the heap, in a process of its own

THREAD = """
import threading
from torrust_py.memory import use_one_heap
if {one}:
    use_one_heap()
kept = []
thread = threading.Thread(target=lambda: kept.extend(bytearray(10_000) for _ in range(100)))
thread.start()
thread.join()
print(open("/proc/self/maps").read(), end="")
"""

HOLES = """
from torrust_py.memory import give_back_unused

def resident():
    return int(open("/proc/self/statm").read().split()[1])

kept = [bytearray(4000) for _ in range(20_000)]
del kept[:-1]  # the last one is at the heap's end
before = resident()
give_back_unused()
print(before - resident())
"""
HEAP_OF_A_THREAD = 64 << 20


def output(program: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout


def heaps_of_threads(*, one: bool) -> int:
    bounds = [line.split()[0].split("-") for line in output(THREAD.format(one=one)).splitlines()]
    starts, ends = ({int(bound, 16) for bound in column} for column in zip(*bounds, strict=True))
    return sum(start % HEAP_OF_A_THREAD == 0 and start + HEAP_OF_A_THREAD in ends for start in starts)


def test_threads_share_one_heap() -> None:
    assert (heaps_of_threads(one=False), heaps_of_threads(one=True)) == (1, 0)


def test_what_is_not_used_is_given_back() -> None:
    assert int(output(HOLES)) * resource.getpagesize() > 40_000_000
