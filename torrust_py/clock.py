"""The tracker's time: milliseconds of the monotonic clock from an origin that lies before the start.

It lies so far before it that a peer that was remembered across a restart has a time, too, and at a whole
second of Unix time, so that such a time keeps its milliseconds. One offset, fixed at the start, turns it into
Unix time, so that a clock that is set voids nothing.
"""

import time

_DAY_MS = 24 * 60 * 60 * 1000
_LONGEST_TIMEOUT = 2**30  # seconds, 34 years: beyond it the swarms' 31 bits of seconds would not last


class Clock:
    """Starts `max_peer_timeout` seconds (34 years at most), a day and part of a second after its origin."""

    def __init__(self, *, max_peer_timeout: int) -> None:
        unix_ms = time.time_ns() // 1_000_000
        start_ms = min(max_peer_timeout, _LONGEST_TIMEOUT) * 1000 + _DAY_MS + unix_ms % 1000
        self._origin_ms = time.monotonic_ns() // 1_000_000 - start_ms
        self.unix_offset_ms = unix_ms - start_ms
        """What makes Unix milliseconds of this clock's."""

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000 - self._origin_ms
