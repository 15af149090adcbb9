from collections.abc import Callable

from torrust_py.native.statistics import NativeStatistics
from torrust_py.native.swarms import NativeSwarms
from torrust_py.native.whitelist import NativeWhitelist

class HttpPlane:
    def __init__(
        self,
        listener: int,
        *,
        swarms: NativeSwarms,
        whitelist: NativeWhitelist,
        blacklist: NativeWhitelist,
        statistics: NativeStatistics,
        interval: int,
        interval_min: int,
        max_peers: int,
        is_listed: bool,
        is_direct: bool,
        external_address: bytes,
        admit: Callable[[bytes, bytes, bytes], bytes | None],
        fallback: Callable[[bytes, bytes, bytes, bytes], bytes],
        hand_over: Callable[[int, bytes, bytes, bytes, bool, int], None],
        make_room: Callable[[], bool],
    ) -> None: ...
    @property
    def fd(self) -> int: ...
    @property
    def open(self) -> int: ...
    @property
    def idle_since_ms(self) -> float: ...
    @property
    def is_out_of_files(self) -> bool: ...
    def take_seen(self) -> tuple[int, bytes | None, int | None]: ...
    def on_readable(self, now_ms: int, clock_ms: int, date: bytes, room: int, /) -> None: ...
    def accept_again(self) -> None: ...
    def accept_no_more(self) -> None: ...
    def evict(self) -> None: ...
    def sweep(self, clock_ms: int, busy_ms: int, idle_ms: int, /) -> bool: ...
    def close_all(self) -> None: ...
