"""Where the native store asks for huge pages, as the kernel tells of a process of its own."""

import subprocess
import sys
from pathlib import Path

from tests.forms import native
from tests.skips import do_without

FILL = """
import sys
from torrust_py.core.types import AnnounceEvent, Families, Peer
from torrust_py.native.swarms import NativeSwarms

swarms = NativeSwarms()
for number in range(int(sys.argv[1])):
    peer = Peer(number.to_bytes(4) + b"ab", bytes(20), 0, 0, 1, AnnounceEvent.NONE)
    swarms.announce(
        (number // 10).to_bytes(20), peer.endpoint, peer, num_want=0, families=Families.IPV4, now_ms=10**9
    )
print(open("/proc/self/smaps").read(), end="")
"""


def bytes_asked_for(peers: int) -> int:
    """Of the heap of a process whose store has so many."""
    filled = subprocess.run(
        [sys.executable, "-c", FILL, str(peers)], capture_output=True, text=True, check=True, timeout=60
    )
    asked = size = 0
    is_heap = False
    for line in filled.stdout.splitlines():
        name, *words = line.split()
        if "-" in name:
            is_heap = words[-1] == "[heap]"
        elif name == "Size:":
            size = int(words[0]) * 1024
        elif name == "VmFlags:" and is_heap and "hg" in words:
            asked += size
    return asked


def test_many_peers_are_kept_in_huge_pages_and_few_are_not() -> None:
    native("swarms")
    if not Path("/sys/kernel/mm/transparent_hugepage").exists():
        do_without("this kernel has no huge pages")
    assert bytes_asked_for(10_000) == 0
    assert bytes_asked_for(400_000) > 16 << 20
