"""The connections of the API, or of the health check API: at most so many, since each takes a file, of which
other services need some, and anybody may open them.

For one too many another one goes: one that has begun a request and not gone on with it, else the one that has
waited longest for a request. One whose request has come, or is being answered, stays.
"""

import time
from collections.abc import Callable
from itertools import islice
from typing import Protocol

REQUEST_S = 10.0
"""Seconds after which a connection is not waited for any more, if there are too many."""

_LOOKED_AT = 64  # connections, for one that may go


class Connection(Protocol):
    """One of them."""

    @property
    def awaits_request(self) -> bool:
        """No request has come that is complete, as far as its head goes, and not answered."""

    @property
    def unsent(self) -> int:
        """Bytes of answers that the kernel has not taken."""

    def abort(self) -> None:
        """Close it at once."""


class WebConnections:
    """Times are seconds by any one clock."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        # Since when, in the order in which they came there: all but those of which something came since.
        self._waiting: dict[Connection, float] = {}
        self._begun: dict[Connection, float] = {}

    def admit(self, connection: Connection) -> bool:
        """Take in a new one. False if there are too many, and none may go."""
        if len(self._waiting) + len(self._begun) >= self._most and not self._evict():
            return False
        self._waiting[connection] = self._clock()
        return True

    def remove(self, connection: Connection) -> bool:
        """It has closed, whether it was admitted or not; true if it was."""
        was_waiting = self._waiting.pop(connection, None) is not None
        return self._begun.pop(connection, None) is not None or was_waiting

    def note_received(self, connection: Connection) -> None:
        if self._waiting.pop(connection, None) is not None:
            self._begun[connection] = self._clock()

    def note_answered(self, connection: Connection) -> None:
        if self.remove(connection):
            self._waiting[connection] = self._clock()

    def _evict(self) -> bool:
        """Close the one that is to go. False without one."""
        overdue = self._clock() - REQUEST_S
        begun, waiting = (islice(those.items(), _LOOKED_AT) for those in (self._begun, self._waiting))
        going = [
            *(one for one, since in begun if since <= overdue and one.awaits_request),
            *(one for one, since in waiting if one.awaits_request and (since <= overdue or not one.unsent)),
        ]
        for connection in going[:1]:
            self.remove(connection)
            connection.abort()
        return bool(going)
