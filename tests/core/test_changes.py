import asyncio
import logging

import pytest

from torrust_py.core import changes
from torrust_py.core.changes import Changes
from torrust_py.core.errors import DatabaseError


class Step:
    """A change that takes until it is let go; then it fails, if it has an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.ended.set()
        if self._error is not None:
            raise self._error


async def test_changes_follow_each_other() -> None:
    order, first, second = Changes(), Step(), Step()
    async with asyncio.TaskGroup() as group:
        group.create_task(order.run(first()))
        await first.begun.wait()
        group.create_task(order.run(second()))
        await asyncio.sleep(0)
        assert not second.begun.is_set()
        first.may_end.set()
        await second.begun.wait()
        second.may_end.set()


async def test_a_change_does_not_wait_long_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "WAIT", 0.01)
    order, first, second = Changes(), Step(), Step()
    async with asyncio.TaskGroup() as group:
        group.create_task(order.run(first()))
        await first.begun.wait()
        with pytest.raises(DatabaseError, match="not answered earlier changes"):
            await order.run(second())
        first.may_end.set()
    assert not second.begun.is_set()


async def test_a_change_waits_longer_while_all_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "WAIT", 0)
    order, load, change = Changes(), Step(), Step()
    async with asyncio.TaskGroup() as group:
        group.create_task(order.load(load()))
        await load.begun.wait()
        waiting = group.create_task(order.run(change()))
        for _ in range(10):  # in which a change that waits for no time has given up
            await asyncio.sleep(0)
        assert not waiting.done()
        assert not change.begun.is_set()
        load.may_end.set()
        await change.begun.wait()
        change.may_end.set()


async def test_a_change_is_made_though_its_caller_went_away() -> None:
    order, step = Changes(), Step()
    caller = asyncio.create_task(order.run(step()))
    await step.begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    step.may_end.set()
    async with asyncio.timeout(5):
        await step.ended.wait()


async def test_a_failure_for_which_nobody_waits_is_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    order, step = Changes(), Step(DatabaseError("the disk is full"))
    caller = asyncio.create_task(order.run(step()))
    await step.begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    step.may_end.set()
    after = Step()
    after.may_end.set()
    await order.run(after())  # its turn comes after the failure
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == ["A change whose caller went away failed: the disk is full"]


async def test_a_failed_change_lets_the_next_one_pass() -> None:
    order, failing, next_one = Changes(), Step(DatabaseError("no")), Step()
    failing.may_end.set()
    next_one.may_end.set()
    with pytest.raises(DatabaseError, match="no"):
        await order.run(failing())
    await order.run(next_one())
    assert next_one.ended.is_set()
