"""The UDP socket of a tracker: datagrams in, datagrams out.

A socket bound to a wildcard address answers from the address that was asked: the kernel tells it with each
datagram (IP_PKTINFO of ip(7), IPV6_PKTINFO of RFC 3542), and is told it with the response.
"""

import asyncio
import logging
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from struct import Struct
from types import TracebackType
from typing import Any, Self, cast

from torrust_py.core.statistics import Statistics
from torrust_py.core.types import Address, unmapped
from torrust_py.udp.handler import UdpHandler
from torrust_py.udp.packets import DATAGRAM_SIZE

DATAGRAMS_A_TURN = 64
"""After so many the loop turns, whatever else waits in the socket."""

_ANCILLARY_SIZE = 64
_IP_PKTINFO = 8  # Linux; the socket module has the name from Python 3.14 on
_IN_PKTINFO = Struct("=I4s4s")  # interface, local address, destination
_IN6_PKTINFO = Struct("=16sI")  # destination, interface
_SO_MEMINFO, _MEMINFO = 55, Struct("=9I")  # Linux: SK_MEMINFO_… of sock_diag(7); the last is what was dropped
_LINK_LOCAL = b"\xfe\x80"
_TURNS_A_TIME = 64

_log = logging.getLogger("UDP TRACKER")

_Ancillary = list[tuple[int, int, bytes]]
_Received = tuple[Any, ...]
"""What recvfrom or, on a wildcard socket, recvmsg gives: first the datagram, last the sender's address."""


class UdpTracker:
    """Answers what comes to `listener`, a bound UDP socket, which it closes in the end.

    `now_ms` is the tracker's clock: milliseconds from its origin of time.
    """

    def __init__(self, listener: socket.socket, handler: UdpHandler, *, now_ms: Callable[[], int]) -> None:
        listener.setblocking(False)
        self._socket = listener
        self._handler = handler
        self._now_ms = now_ms
        self._pack: Callable[[str], Address] = (
            _packed_ipv4 if listener.family == socket.AF_INET else _packed_ipv6
        )
        self._is_wildcard = is_wildcard(listener)
        if self._is_wildcard:
            self._receive: Callable[[], _Received] = partial(listener.recvmsg, DATAGRAM_SIZE, _ANCILLARY_SIZE)
            self._send = self._send_from_asked
        else:
            self._receive = partial(listener.recvfrom, DATAGRAM_SIZE)
            self._send = self._send_back
        self.unsent = 0
        """Responses that the kernel did not take."""
        self._untimed = _TURNS_A_TIME

    @property
    def address(self) -> tuple[str, int]:
        """The address that it is bound to."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def statistics(self) -> Statistics:
        """What came here."""
        return self._handler.statistics

    @property
    def kernel_drops(self) -> int:
        """Datagrams for which the kernel found no room in the socket (32 bits; 0 where it does not tell)."""
        try:
            meminfo = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            dropped: int = _MEMINFO.unpack(meminfo)[-1]
        except (OSError, struct.error):
            return 0
        return dropped

    async def __aenter__(self) -> Self:
        if self._is_wildcard:
            ask_for_destinations(self._socket)
        asyncio.get_running_loop().add_reader(self._socket, self._on_readable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _on_readable(self) -> None:
        try:
            self._untimed -= 1
            if self._untimed:
                self._answer_all()
            else:
                self._untimed = _TURNS_A_TIME
                self._answer_all_timed()
        except MemoryError:  # nothing is said of it: that would need more
            self.unsent += 1

    def _answer_all_timed(self) -> None:
        """Take the time from the receipt of the first to the last answer."""
        before, start = self.statistics.handled(), time.perf_counter()
        self._answer_all()
        self.statistics.add_latency(before, time.perf_counter() - start)

    def _answer_all(self) -> None:
        """Answer what waits in the socket, up to DATAGRAMS_A_TURN.

        All are received, then all are handled, then all are sent: a system call leaves the processor's caches
        so cold that Python takes up to twice its time after it.
        """
        now_ms = self._now_ms()
        handle, pack = self._handler.handle, self._pack
        answered = [
            (handle(received[0], pack(received[-1][0]), now_ms), received) for received in self._received()
        ]
        for response, received in answered:
            if response is not None:
                try:
                    self._send(response, received)
                except OSError as error:
                    self.unsent += 1
                    _log.debug("failed to send to %s: %s", ip_address(pack(received[-1][0])), error)

    def _received(self) -> list[_Received]:
        receive = self._receive
        received: list[_Received] = []
        for _ in range(DATAGRAMS_A_TURN):
            try:
                received.append(receive())
            except BlockingIOError:
                break
            except OSError as error:
                # An earlier datagram's fault (ICMP), which the kernel reports with whatever comes next.
                _log.debug("receiving failed: %s", error)
        return received

    def _send_from_asked(self, response: bytes, received: _Received) -> None:
        _, ancillary, _, address = received
        self._socket.sendmsg([response], _as_source(ancillary), 0, address)

    def _send_back(self, response: bytes, received: _Received) -> None:
        self._socket.sendto(response, received[-1])


def is_wildcard(listener: socket.socket) -> bool:
    return ip_address(listener.getsockname()[0]).is_unspecified


_packed_ipv4 = cast("Callable[[str], Address]", socket.inet_aton)


def _packed_ipv6(host: str) -> Address:
    return unmapped(socket.inet_pton(socket.AF_INET6, host))


def ask_for_destinations(listener: socket.socket) -> None:
    """Let the kernel tell with each datagram to which address it was sent."""
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    elif sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _as_source(ancillary: _Ancillary) -> _Ancillary:
    """What makes a response leave from where its request came to; by any interface, so that routes decide."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _IN_PKTINFO.unpack(data)
            return [(level, kind, _IN_PKTINFO.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            destination, interface = _IN6_PKTINFO.unpack(data)
            by = interface if destination.startswith(_LINK_LOCAL) else 0
            return [(level, kind, _IN6_PKTINFO.pack(destination, by))]
    return []
