"""How late the event loop is: what a datagram, a connection or a call waits for its turn at most."""

import asyncio
from bisect import bisect_left
from collections import deque

INTERVAL = 0.25
"""Seconds between two looks."""

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds up to which a bucket goes; the last bucket has no bound."""

_LOOKS_A_MINUTE = round(60 / INTERVAL)


class LoopLag:
    """How much later than it was asked to the loop has called, each time."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        """Seconds of all together."""
        self._last_minute: deque[float] = deque([0.0], maxlen=_LOOKS_A_MINUTE)

    @property
    def longest(self) -> float:
        """In the last minute."""
        return max(self._last_minute)

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.note(max(0.0, loop.time() - due))

    def note(self, late: float) -> None:
        self.buckets[bisect_left(BOUNDS, late)] += 1
        self.total += late
        self._last_minute.append(late)
