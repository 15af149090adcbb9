"""The connections of the API, or of the health check API: at most so many, since each takes a file, of which
other services need some, and anybody may open them.

For one too many another one goes: the one that has waited longest for a request; if none waits, one whose
client has neither sent the rest of a request nor read an answer for REQUEST_S. One whose request is complete,
and whose client reads, stays. A client of which nothing was heard for STUCK_S goes also where there is room.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import Protocol

REQUEST_S = 10.0
STUCK_S = 75.0
SWEEP_S = 5.0

TOLD_S = 60.0
"""The log tells of those that were refused once in so many seconds."""

_LOOKED_AT = 64  # connections, for one that may go: those that may not are few, or there for a moment


class Connection(Protocol):
    """One of them."""

    @property
    def waits(self) -> bool:
        """For a request: none has come that is complete, as far as its head goes, and not answered."""

    @property
    def works(self) -> bool:
        """A request is complete, or being answered, and nobody waits for the client to read."""

    @property
    def unsent(self) -> int:
        """Bytes of answers that the kernel has not taken."""

    def has_read(self) -> bool:
        """Whether the client has read of its answer since this was asked last, or more of it was written."""

    def abort(self) -> None:
        """Close it at once."""


class WebConnections:
    """Times are seconds by any one clock."""

    def __init__(
        self, most: int, *, log: logging.Logger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._log = log
        self._clock = clock
        # Since when, in this order; the second is of all that do not just wait for a request.
        self._waiting: dict[Connection, float] = {}
        self._busy: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._refused = 0
        self._told = -TOLD_S

    def __len__(self) -> int:
        return len(self._waiting) + len(self._busy)

    def admit(self, connection: Connection) -> bool:
        """Take in a new one. False if there are too many, and none may go."""
        if len(self) >= self._most and not self._evict():
            self._refused += 1
            self._tell()
            return False
        self._waiting[connection] = self._clock()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        return True

    def close(self) -> None:
        """End all that are left, once the service has stopped."""
        for connection in [*self._waiting, *self._busy]:
            self._end(connection)
        if self._timer is not None:
            self._timer.cancel()

    def remove(self, connection: Connection) -> bool:
        """It has closed, whether it was admitted or not; true if it was."""
        was_waiting = self._waiting.pop(connection, None) is not None
        return self._busy.pop(connection, None) is not None or was_waiting

    def note_alive(self, connection: Connection) -> None:
        """A request has begun, or is complete, or its client has read of the answer."""
        if self.remove(connection):
            self._busy[connection] = self._clock()

    def note_answered(self, connection: Connection) -> None:
        if self.remove(connection):
            (self._busy if connection.unsent else self._waiting)[connection] = self._clock()

    def _evict(self) -> bool:
        """Close the one that is to go. False without one."""
        going = next((one for one in islice(self._waiting, _LOOKED_AT) if one.waits), None)
        if going is None:
            going = next(self._overdue(REQUEST_S), None)
        if going is None:
            return False
        self._end(going)
        return True

    def _overdue(self, seconds: float) -> Iterator[Connection]:
        """Those of which nothing was heard for so long."""
        before = self._clock() - seconds
        for connection in [*_first_until(before, self._busy), *_first_until(before, self._waiting)]:
            if connection.works or (connection in self._waiting and connection.waits):
                continue
            if connection.has_read():
                self.note_alive(connection)
            else:
                yield connection

    def _end(self, connection: Connection) -> None:
        self.remove(connection)
        connection.abort()

    def _sweep(self) -> None:
        for connection in list(self._overdue(STUCK_S)):
            self._end(connection)
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep) if len(self) else None

    def _tell(self) -> None:
        now = self._clock()
        if now >= self._told + TOLD_S:
            self._log.warning(
                "All of %s connections are in use: new ones were refused (%s since the start)",
                self._most,
                self._refused,
            )
            self._told = now


def _first_until(when: float, since: dict[Connection, float]) -> list[Connection]:
    begun = takewhile(lambda item: item[1] <= when, islice(since.items(), _LOOKED_AT))
    return [connection for connection, _ in begun]
