"""When a server looks for new connections once in a while, instead of being woken for each few of them."""

import math

_MEASURED, _MEASURED_S = 128, 0.01
"""At least so many connections, and so many seconds, over which their pace is taken."""

_FOUND = 24, 12
"""So many a look should find, if it need not wait longer than _LONGEST_S for them; the fewer, where the many
made clients slower.
"""

_SHORTEST_S, _LONGEST_S = 0.0005, 0.002
"""Between two looks."""

_SLOWEST_S = _LONGEST_S / 2
"""From one to the next, that a look finds several."""

_STEADY = 1.5
"""By so much two of them in a row may differ, and are that of now: a pause before a load, or clients that all
connect at its beginning, are not.
"""

_SLOWER = 1.2
"""So many times as long it may be while they are polled for."""

_SLOW_IN_A_ROW = 3
"""So often they were slower, and it is no chance."""

_POLLED_S = 4.0
"""After it their rate is measured again without polling."""

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 16.0
"""Until polling is tried again, after clients were slower with it."""


class Polling:
    """Says how often to look, from what is accepted. Times are seconds by any one clock.

    Polling saves wake-ups, each of which costs more than a connection does. It is right as long as
    connections come at their clients' pace. Where a few clients wait for their responses before they connect
    again (as load generators do), it would set the pace: they would come at most once an interval each.
    """

    def __init__(self) -> None:
        self.interval_us = 0
        """Microseconds between two looks; 0: not to poll."""
        self._accepted = 0
        """Since `_since`, when others were accepted last."""
        self._since = -math.inf
        self._last_pace_s = math.inf
        self._pace_s = 0.0
        """From one connection to the next, without polling: of two measured in a row the slower."""
        self._slow = 0
        """How often in a row they were slower while they were polled for."""
        self._fewer = False
        """They were, and the fewer of _FOUND are looked for."""
        self._until = 0.0
        self._pause_s = _SHORTEST_PAUSE_S
        self._paused_until = 0.0

    def note(self, accepted: int, now: float) -> None:
        """So many were accepted just now."""
        self._accepted += accepted
        if self.interval_us:
            if now - self._since >= max(_MEASURED * self._pace_s, _MEASURED_S):
                self._note_polled(now)
        elif self._accepted >= _MEASURED and now - self._since >= _MEASURED_S:
            self._note_watched(now)

    def stop(self) -> None:
        """Poll no more, and measure anew."""
        self.interval_us = 0
        self._accepted = 0
        self._last_pace_s = math.inf

    def _note_watched(self, now: float) -> None:
        pace_s, last_s = (now - self._since) / self._accepted, self._last_pace_s
        self._pace_s, self._last_pace_s = max(pace_s, last_s), pace_s
        self._accepted = 0
        self._since = now
        is_steady = self._pace_s <= _STEADY * min(pace_s, last_s)
        if is_steady and self._pace_s <= _SLOWEST_S and now >= self._paused_until:
            self._until = now + _POLLED_S
            self._look_for(fewer=False)

    def _look_for(self, *, fewer: bool) -> None:
        self._fewer = fewer
        self._slow = 0
        self.interval_us = int(1e6 * min(max(_SHORTEST_S, _FOUND[fewer] * self._pace_s), _LONGEST_S))

    def _note_polled(self, now: float) -> None:
        is_slow = now - self._since > self._accepted * self._pace_s * _SLOWER
        self._slow = self._slow + 1 if is_slow else 0
        if self._slow == _SLOW_IN_A_ROW and not self._fewer:
            self._look_for(fewer=True)
        elif self._slow == _SLOW_IN_A_ROW:
            self._paused_until = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self.stop()
        elif now >= self._until:
            self._pause_s = _SHORTEST_PAUSE_S
            self.stop()
        elif not self._accepted:
            self.stop()
        self._accepted = 0
        self._since = now
