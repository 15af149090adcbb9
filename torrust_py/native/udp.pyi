from collections.abc import Callable

from torrust_py.core.types import Address
from torrust_py.native.connection_ids import NativeConnectionIds
from torrust_py.native.statistics import NativeStatistics
from torrust_py.native.swarms import NativeSwarms
from torrust_py.native.whitelist import NativeWhitelist

class UdpPlane:
    def __init__(
        self,
        fd: int,
        *,
        is_wildcard: bool,
        swarms: NativeSwarms,
        whitelist: NativeWhitelist,
        blacklist: NativeWhitelist,
        statistics: NativeStatistics,
        connection_ids: NativeConnectionIds,
        interval: int,
        max_peers: int,
        is_listed: bool,
        external_address: bytes,
        bad_connection_id: bytes,
        not_listed: tuple[bytes, bytes],
        fallback: Callable[[bytes, Address, int], bytes | None],
    ) -> None: ...
    @property
    def statistics(self) -> NativeStatistics: ...
    @property
    def unsent(self) -> int: ...
    @property
    def kernel_drops(self) -> int: ...
    def on_readable(self, now_ms: int, /) -> int: ...
