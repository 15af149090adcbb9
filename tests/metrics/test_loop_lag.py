import asyncio
import time

import pytest

from torrust_py.metrics.loop_lag import BOUNDS, INTERVAL, LoopLag


def test_each_look_falls_into_a_bucket() -> None:
    lag = LoopLag()
    for late in (0.0, 0.001, 0.0011, 60.0):
        lag.note(late)
    assert lag.buckets == [2, 1] + [0] * (len(BOUNDS) - 2) + [1]
    assert lag.total == pytest.approx(60.0021)


def test_the_longest_of_the_last_minute_is_forgotten_after_it() -> None:
    lag = LoopLag()
    assert lag.longest == 0.0
    lag.note(3.0)
    for _ in range(round(60 / INTERVAL) - 1):
        lag.note(0.5)
    assert lag.longest == 3.0
    lag.note(0.25)
    assert lag.longest == 0.5


class Told(LoopLag):
    """Tells of each look."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = asyncio.Event()

    def note(self, late: float) -> None:
        super().note(late)
        self.looked.set()


async def test_a_loop_that_is_held_up_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torrust_py.metrics.loop_lag.INTERVAL", 0.001)
    lag = Told()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(lag.watch())
        await lag.looked.wait()
        lag.looked.clear()
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass  # the loop does not turn
        await lag.looked.wait()
        watching.cancel()
    assert 0.045 < lag.longest < 5.0
