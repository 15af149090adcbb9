"""A UDP tracker over the compiled plane: it decides when the plane runs."""

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from torrust_py.core.statistics import Statistics
from torrust_py.native.udp import UdpPlane

POLL_INTERVAL = 0.001
"""Seconds between two looks at the socket while datagrams keep coming."""

FULL = 32
"""So many datagrams at once, and the next look follows as soon as the loop has turned."""


class NativeUdpTracker:
    """Answers what comes to `listener`, a bound UDP socket, which it closes in the end.

    The plane answers what comes to the same socket. Under load the socket is polled once per POLL_INTERVAL
    instead of being watched, so that one turn of the loop answers many datagrams: a wake-up costs more than
    ten of them. An idle tracker sleeps.
    """

    def __init__(self, listener: socket.socket, plane: UdpPlane, *, now_ms: Callable[[], int]) -> None:
        listener.setblocking(False)
        self._socket = listener
        self._plane = plane
        self._now_ms = now_ms
        self._last_wake_up = 0.0
        self._timer: asyncio.Handle | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The address that it is bound to."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def statistics(self) -> Statistics:
        """What came here."""
        return self._plane.statistics

    @property
    def unsent(self) -> int:
        """Responses that the kernel did not take."""
        return self._plane.unsent

    @property
    def kernel_drops(self) -> int:
        """Datagrams for which the kernel found no room in the socket."""
        return self._plane.kernel_drops

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._wake_up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _wake_up(self) -> None:
        answered = self._plane.on_readable(self._now_ms())
        now = self._loop.time()
        if answered > 1 or now - self._last_wake_up <= POLL_INTERVAL:
            self._loop.remove_reader(self._socket)
            self._poll_later(answered)
        self._last_wake_up = now

    def _poll(self) -> None:
        answered = 0
        try:
            answered = self._plane.on_readable(self._now_ms())
        finally:  # also after a failure somebody looks at the socket again
            if answered:
                self._poll_later(answered)
            else:
                self._timer = None
                self._loop.add_reader(self._socket, self._wake_up)

    def _poll_later(self, answered: int) -> None:
        if answered >= FULL:
            self._timer = self._loop.call_soon(self._poll)
        else:
            self._timer = self._loop.call_later(POLL_INTERVAL, self._poll)
