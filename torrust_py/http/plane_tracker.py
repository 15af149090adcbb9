"""An HTTP tracker over a compiled plane: the plane serves the ordinary, the asyncio protocol all else."""

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, Self

from torrust_py.core.statistics import Statistics
from torrust_py.core.types import Address
from torrust_py.http.callers import OthersCallers
from torrust_py.http.handler import HttpHandler
from torrust_py.http.polling import Polling
from torrust_py.http.requests import HttpRequest
from torrust_py.http.server import (
    BACKLOG,
    Connections,
    Handed,
    HttpConnection,
    OpenConnections,
    OthersConnections,
)

ACCEPT_AGAIN_S = 1.0
"""After the process had no files left."""

_DEFER_S = 1  # a client that says nothing within it is accepted all the same


class Admit(Protocol):
    """Gives the address of the client whose request it is; None if it is to be refused.

    `key` is the segment of the path that holds one, empty without; `fields` are as they came.
    """

    def __call__(self, key: bytes, fields: bytes, address: bytes, /) -> bytes | None: ...


class Fallback(Protocol):
    """Makes the response to a GET, whose fields are as they came; `connection` is what it says of that."""

    def __call__(self, target: bytes, fields: bytes, connection: bytes, address: bytes, /) -> bytes: ...


class HandOver(Protocol):
    """Takes a connection that the plane gives away; the descriptor is the taker's from now on."""

    def __call__(
        self, fd: int, address: bytes, unread: bytes, unsent: bytes, is_closing: bool, age_ms: int, /
    ) -> None: ...


class Plane(OthersConnections, OthersCallers, Protocol):
    """What `torrust_py.native.http` offers."""

    @property
    def fd(self) -> int:
        """What the loop watches."""

    @property
    def is_out_of_files(self) -> bool:
        """Nothing is accepted until `accept_again`."""

    def on_readable(self, now_ms: int, clock_ms: int, date: bytes, room: int, /) -> int:
        """A turn; how many connections it accepted."""

    def poll(self, interval_us: int, /) -> None:
        """Look for new connections once in so many microseconds; 0: when the kernel tells of them."""

    def accept_again(self) -> None: ...
    def accept_no_more(self) -> None: ...
    def close_all(self) -> None: ...


class MakePlane(Protocol):
    """Makes the plane of a listening socket, of which it gets the descriptor."""

    def __call__(
        self,
        listener: int,
        /,
        *,
        admit: Admit,
        fallback: Fallback,
        hand_over: HandOver,
        make_room: Callable[[], bool],
    ) -> Plane: ...


class PlaneTracker:
    """Answers what comes to `listener`, a bound TCP socket, which it closes in the end.

    `now_ms` is the tracker's clock: milliseconds from its origin of time. While many connect, new connections
    are polled for, as `Polling` says.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: HttpHandler,
        connections: Connections,
        make_plane: MakePlane,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        listener.setblocking(False)
        self._socket = listener
        self._handler = handler
        self._connections = connections
        self._now_ms = now_ms
        self._given = OpenConnections(connections)
        self._pauses = False
        self._polling = Polling()
        self._plane = make_plane(
            listener.fileno(),
            admit=self._admit,
            fallback=self._respond,
            hand_over=self._take,
            make_room=connections.make_room,
        )

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
    def open_connections(self) -> int:
        return self._plane.open + len(self._given)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._stack = AsyncExitStack()
        self._takers = await self._stack.enter_async_context(asyncio.TaskGroup())
        if sys.platform == "linux":
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_S)
        self._socket.listen(BACKLOG)
        self._connections.join(self._plane)
        self._connections.callers.join(self._plane)
        self._loop.add_reader(self._plane.fd, self._on_readable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._plane.accept_no_more()
        self._loop.remove_reader(self._plane.fd)
        self._plane.close_all()
        self._connections.leave(self._plane)
        self._connections.callers.leave(self._plane)
        self._socket.close()
        await self._stack.aclose()
        await self._given.close()

    def _on_readable(self) -> None:
        connections = self._connections
        accepted = self._plane.on_readable(
            self._now_ms(), connections.clock_ms(), self._handler.date_at(time.time()), connections.room()
        )
        self._note_accepted(accepted)
        connections.look_for_time_outs()
        if self._plane.is_out_of_files and not self._pauses:
            self._pause()

    def _note_accepted(self, accepted: int) -> None:
        before = self._polling.interval_us
        self._polling.note(accepted, time.monotonic())
        if self._plane.is_out_of_files:
            self._polling.stop()
        if self._polling.interval_us != before:
            self._plane.poll(self._polling.interval_us)

    def _pause(self) -> None:
        self._pauses = True
        self._loop.call_later(ACCEPT_AGAIN_S, self._accept_again)

    def _accept_again(self) -> None:
        self._pauses = False
        self._plane.accept_again()
        if self._plane.is_out_of_files:
            self._pause()

    def _admit(self, key: bytes, fields: bytes, address: bytes) -> bytes | None:
        forwarded_for = _read_fields(fields)[0] if self._handler.on_reverse_proxy else []
        return self._handler.admit(key or None, forwarded_for, Address(address), unix_now=time.time())

    def _respond(self, target: bytes, fields: bytes, connection: bytes, address: bytes) -> bytes:
        request = HttpRequest(b"GET", target, *_read_fields(fields), connection)
        return self._handler.handle(request, Address(address), now_ms=self._now_ms(), unix_now=time.time())

    def _take(
        self, fd: int, address: bytes, unread: bytes, unsent: bytes, is_closing: bool, age_ms: int
    ) -> None:
        handed = Handed(Address(address), unread, unsent, is_closing, age_ms / 1000)
        client = socket.socket(fileno=fd)
        client.setblocking(False)
        self._takers.create_task(self._go_on_with(client, handed))

    async def _go_on_with(self, client: socket.socket, handed: Handed) -> None:
        def protocol() -> HttpConnection:
            return HttpConnection(
                self._given, self._handler, self._connections, now_ms=self._now_ms, handed=handed
            )

        try:
            await self._loop.connect_accepted_socket(protocol, client)
        except OSError:  # the client has gone
            client.close()


def _read_fields(fields: bytes) -> tuple[list[bytes], bytes | None]:
    """The values of all X-Forwarded-For, and of the first X-Request-Id."""
    forwarded_for: list[bytes] = []
    request_id: bytes | None = None
    for line in fields.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        field = name.lower()
        if field == b"x-forwarded-for":
            forwarded_for.append(value)
        elif field == b"x-request-id" and request_id is None:
            request_id = value.strip()
    return forwarded_for, request_id
