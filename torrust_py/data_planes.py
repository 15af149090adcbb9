"""The two forms of the data plane behind one interface; `app` chooses one and builds the core over it.

A plane holds what has two forms (swarms, whitelist, statistics, connection ids), and opens UDP trackers over
it.
"""

import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from torrust_py.core.errors import BadConnectionId, NotWhitelisted
from torrust_py.core.statistics import PortableStatistics, RequestCounts, Statistics, SummedCounts
from torrust_py.core.swarms import Limits, PortableSwarms, Retention, Swarms
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import INFO_HASH_SIZE, InfoHash
from torrust_py.core.whitelist import PortableWhitelist, Whitelist
from torrust_py.http import Connections, HttpHandler, HttpTracker, PlaneTracker
from torrust_py.listeners import StartError
from torrust_py.logs import HTTP_TRACKER, UDP_TRACKER
from torrust_py.memory import Cost
from torrust_py.udp import (
    MALFORMED_ANSWERS_PER_SECOND,
    AnswerBudget,
    PortableConnectionIds,
    UdpHandler,
    UdpTracker,
    ask_for_destinations,
    error_text,
    is_wildcard,
)

if TYPE_CHECKING:  # it may not be built
    from torrust_py.native.connection_ids import NativeConnectionIds
    from torrust_py.native.http import HttpPlane
    from torrust_py.native.statistics import NativeStatistics
    from torrust_py.native.swarms import NativeSwarms
    from torrust_py.native.udp import UdpPlane
    from torrust_py.native.whitelist import NativeWhitelist

_log = logging.getLogger("torrust_tracker::bootstrap::app")

NowMs = Callable[[], int]


class UdpService(AbstractAsyncContextManager[object], Protocol):
    """A UDP tracker of either form."""

    @property
    def address(self) -> tuple[str, int]: ...

    @property
    def statistics(self) -> Statistics: ...

    @property
    def unsent(self) -> int:
        """Responses that the kernel did not take."""

    @property
    def kernel_drops(self) -> int:
        """Requests for which the kernel found no room in the socket."""


OpenUdpTracker = Callable[[socket.socket], UdpService]
"""Makes a UDP tracker of a bound socket."""


class HttpService(AbstractAsyncContextManager[object], Protocol):
    """An HTTP tracker of either form."""

    @property
    def address(self) -> tuple[str, int]: ...

    @property
    def statistics(self) -> Statistics: ...

    @property
    def open_connections(self) -> int: ...


OpenHttpTracker = Callable[[socket.socket, ssl.SSLContext | None], HttpService]
"""Makes an HTTP tracker of a bound socket."""


class DataPlane(Protocol):
    @property
    def form(self) -> str:
        """`native` or `portable`."""

    @property
    def swarms(self) -> Swarms: ...

    @property
    def whitelist(self) -> Whitelist: ...

    @property
    def blacklist(self) -> Whitelist:
        """The set of all that are refused."""

    @property
    def statistics(self) -> RequestCounts:
        """What all trackers that were opened have counted; each has counters of its own."""

    def udp(self, tracker: Tracker, secret: bytes, *, unix_offset_ms: int, now_ms: NowMs) -> OpenUdpTracker:
        """What opens UDP trackers that share their connection ids, and so the `secret`."""

    def http(
        self, tracker: Tracker, connections: Connections, *, on_reverse_proxy: bool, now_ms: NowMs
    ) -> OpenHttpTracker:
        """What opens HTTP trackers that share the room for `connections`."""


class PortableDataPlane:
    form = "portable"
    cost = Cost(peer=230, torrent=750)

    def __init__(self, limits: Limits, retention: Retention) -> None:
        self.swarms = PortableSwarms(limits=limits, retention=retention)
        self.whitelist = PortableWhitelist()
        self.blacklist = PortableWhitelist()
        self._opened: list[PortableStatistics] = []
        self.statistics = SummedCounts(self._opened)

    def _new_statistics(self) -> PortableStatistics:
        self._opened.append(PortableStatistics())
        return self._opened[-1]

    def udp(self, tracker: Tracker, secret: bytes, *, unix_offset_ms: int, now_ms: NowMs) -> OpenUdpTracker:
        ids = PortableConnectionIds(secret, unix_offset_ms=unix_offset_ms)
        budget = AnswerBudget(MALFORMED_ANSWERS_PER_SECOND)

        def open_tracker(listener: socket.socket) -> UdpService:
            handler = UdpHandler(tracker, ids, self._new_statistics(), budget)
            return UdpTracker(listener, handler, now_ms=now_ms)

        return open_tracker

    def http(
        self, tracker: Tracker, connections: Connections, *, on_reverse_proxy: bool, now_ms: NowMs
    ) -> OpenHttpTracker:
        def open_tracker(listener: socket.socket, tls: ssl.SSLContext | None) -> HttpService:
            handler = HttpHandler(
                tracker,
                self._new_statistics(),
                on_reverse_proxy=on_reverse_proxy,
                callers=connections.callers,
            )
            return HttpTracker(listener, handler, connections, now_ms=now_ms, tls=tls)

        return open_tracker


class NativeDataPlane:
    """Only where it was built; imported here, since elsewhere it cannot be."""

    form = "native"
    cost = Cost(peer=95, torrent=170)

    def __init__(self, limits: Limits, retention: Retention) -> None:
        from torrust_py.native.swarms import NativeSwarms
        from torrust_py.native.whitelist import NativeWhitelist

        self.swarms = NativeSwarms(limits=limits, retention=retention)
        self.whitelist = NativeWhitelist()
        self.blacklist = NativeWhitelist()
        self._opened: list[NativeStatistics] = []
        self.statistics = SummedCounts(self._opened)

    def _new_statistics(self) -> "NativeStatistics":
        from torrust_py.native.statistics import NativeStatistics

        self._opened.append(NativeStatistics())
        return self._opened[-1]

    def udp(self, tracker: Tracker, secret: bytes, *, unix_offset_ms: int, now_ms: NowMs) -> OpenUdpTracker:
        from torrust_py.native.connection_ids import NativeConnectionIds
        from torrust_py.native.udp_tracker import NativeUdpTracker

        ids = NativeConnectionIds(secret, unix_offset_ms=unix_offset_ms)
        budget = AnswerBudget(MALFORMED_ANSWERS_PER_SECOND)

        def open_tracker(listener: socket.socket) -> UdpService:
            statistics = self._new_statistics()
            handler = UdpHandler(tracker, ids, statistics, budget)
            if logging.getLogger(UDP_TRACKER).isEnabledFor(logging.DEBUG):  # the plane logs no requests
                return UdpTracker(listener, handler, now_ms=now_ms)
            plane = open_udp_plane(
                listener,
                handler,
                rules=tracker.rules,
                swarms=self.swarms,
                whitelist=self.whitelist,
                blacklist=self.blacklist,
                statistics=statistics,
                connection_ids=ids,
            )
            return NativeUdpTracker(listener, plane, now_ms=now_ms)

        return open_tracker

    def http(
        self, tracker: Tracker, connections: Connections, *, on_reverse_proxy: bool, now_ms: NowMs
    ) -> OpenHttpTracker:
        def open_tracker(listener: socket.socket, tls: ssl.SSLContext | None) -> HttpService:
            statistics = self._new_statistics()
            handler = HttpHandler(
                tracker, statistics, on_reverse_proxy=on_reverse_proxy, callers=connections.callers
            )
            if tls is not None or logging.getLogger(HTTP_TRACKER).isEnabledFor(logging.DEBUG):
                return HttpTracker(listener, handler, connections, now_ms=now_ms, tls=tls)
            make_plane = make_http_plane(
                tracker.rules,
                on_reverse_proxy=on_reverse_proxy,
                swarms=self.swarms,
                whitelist=self.whitelist,
                blacklist=self.blacklist,
                statistics=statistics,
            )
            return PlaneTracker(listener, handler, connections, make_plane, now_ms=now_ms)

        return open_tracker


def make_http_plane(
    rules: Rules,
    *,
    on_reverse_proxy: bool,
    swarms: "NativeSwarms",
    whitelist: "NativeWhitelist",
    blacklist: "NativeWhitelist",
    statistics: "NativeStatistics",
) -> "Callable[..., HttpPlane]":
    """What makes the compiled plane of a listening socket, as PlaneTracker asks for it."""
    from torrust_py.native.http import HttpPlane

    return partial(
        HttpPlane,
        swarms=swarms,
        whitelist=whitelist,
        blacklist=blacklist,
        statistics=statistics,
        interval=rules.interval,
        interval_min=rules.interval_min,
        max_peers=rules.max_peers,
        is_listed=rules.listed,
        is_direct=not (rules.private or on_reverse_proxy),
        external_address=rules.external_address or b"",
    )


def open_udp_plane(
    listener: socket.socket,
    handler: UdpHandler,
    *,
    rules: Rules,
    swarms: "NativeSwarms",
    whitelist: "NativeWhitelist",
    blacklist: "NativeWhitelist",
    statistics: "NativeStatistics",
    connection_ids: "NativeConnectionIds",
) -> "UdpPlane":
    """The compiled plane for a bound socket; `handler`, over the same objects, answers what it does not."""
    from torrust_py.native.udp import UdpPlane

    wildcard = is_wildcard(listener)
    if wildcard:
        ask_for_destinations(listener)
    return UdpPlane(
        listener.fileno(),
        is_wildcard=wildcard,
        swarms=swarms,
        whitelist=whitelist,
        blacklist=blacklist,
        statistics=statistics,
        connection_ids=connection_ids,
        interval=rules.interval,
        max_peers=rules.max_peers,
        is_listed=rules.listed,
        external_address=rules.external_address or b"",
        bad_connection_id=error_text(BadConnectionId()).encode(),
        not_listed=_around_the_info_hash(),
        fallback=handler.handle,
    )


def _around_the_info_hash() -> tuple[bytes, bytes]:
    """The text of the refusal of a torrent that is not listed, before and after its info hash."""
    nobody = InfoHash(bytes(INFO_HASH_SIZE))
    before, after = error_text(NotWhitelisted(nobody)).split(nobody.hex())
    return before.encode(), after.encode()


def choose_data_plane(asked: str | None) -> type[PortableDataPlane] | type[NativeDataPlane]:
    """The native form where it is built, unless another is `asked` for; the log says which and why.

    Raises StartError if the one that was asked for cannot be had.
    """
    if asked not in (None, "", "portable", "native"):
        raise StartError(f"TORRUST_TRACKER_DATA_PLANE is {asked!r}: it may be portable or native")
    if asked == "portable":
        _log.info("Data plane: portable (as TORRUST_TRACKER_DATA_PLANE asks)")
        return PortableDataPlane
    reason = _why_not_native()
    if reason and asked:
        raise StartError(
            f"TORRUST_TRACKER_DATA_PLANE is native, but {reason}; leave the variable unset, or install again "
            "where there is a C compiler"
        )
    if reason:
        _log.info("Data plane: portable (%s)", reason)
        return PortableDataPlane
    _log.info("Data plane: native")
    return NativeDataPlane


def _why_not_native() -> str:
    """Empty where the native form is built."""
    try:
        for plane in ("udp", "http"):  # and with them all others
            import_module(f"torrust_py.native.{plane}")
    except ImportError as error:
        return f"this installation has no compiled data plane: {error}"
    return ""
