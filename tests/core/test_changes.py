import asyncio
import logging
from collections.abc import Coroutine

import pytest

from torrust_py.core import changes
from torrust_py.core.changes import Changes
from torrust_py.core.changes import Undo as Undoing
from torrust_py.core.errors import ChangeInDoubt, DatabaseError


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


async def make(order: Changes, change: Coroutine[None, None, None], *, undo: Undoing) -> None:
    """A change of which memory keeps nothing."""
    await order.run(change, keep=nothing, undo=undo)


async def nothing() -> None:
    pass


async def never() -> None:
    raise AssertionError("nothing was in doubt")


class Undo:
    """Fails as long as the database is away."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_away = True

    async def __call__(self) -> None:
        self.calls += 1
        if self.is_away:
            raise DatabaseError("the server is away")


async def test_changes_follow_each_other() -> None:
    order, first, second = Changes(), Step(), Step()
    async with asyncio.TaskGroup() as group:
        group.create_task(make(order, first(), undo=never))
        await first.begun.wait()
        group.create_task(make(order, second(), undo=never))
        await asyncio.sleep(0)
        assert not second.begun.is_set()
        first.may_end.set()
        await second.begun.wait()
        second.may_end.set()


async def test_a_change_does_not_wait_long_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "WAIT", 0.01)
    order, first, second = Changes(), Step(), Step()
    async with asyncio.TaskGroup() as group:
        group.create_task(make(order, first(), undo=never))
        await first.begun.wait()
        with pytest.raises(DatabaseError, match="not answered earlier changes"):
            await make(order, second(), undo=never)
        first.may_end.set()
    assert not second.begun.is_set()


async def test_a_change_waits_longer_while_all_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "WAIT", 0)
    order, load, change = Changes(), Step(), Step()
    async with asyncio.TaskGroup() as group:
        group.create_task(order.load(load()))
        await load.begun.wait()
        waiting = group.create_task(make(order, change(), undo=never))
        for _ in range(10):  # in which a change that waits for no time has given up
            await asyncio.sleep(0)
        assert not waiting.done()
        assert not change.begun.is_set()
        load.may_end.set()
        await change.begun.wait()
        change.may_end.set()


async def test_a_change_is_made_though_its_caller_went_away() -> None:
    order, step = Changes(), Step()
    caller = asyncio.create_task(make(order, step(), undo=never))
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
    caller = asyncio.create_task(make(order, step(), undo=never))
    await step.begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    step.may_end.set()
    after = Step()
    after.may_end.set()
    await make(order, after(), undo=never)  # its turn comes after the failure
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == ["A change for which nobody waited any longer failed: the disk is full"]


async def test_a_failed_change_lets_the_next_one_pass() -> None:
    order, failing, next_one = Changes(), Step(DatabaseError("no")), Step()
    failing.may_end.set()
    next_one.may_end.set()
    with pytest.raises(DatabaseError, match="no"):
        await make(order, failing(), undo=never)
    await make(order, next_one(), undo=never)
    assert next_one.ended.is_set()


async def test_a_change_does_not_wait_for_a_database_that_a_load_waited_for_in_vain() -> None:
    order, load, change = Changes(), Step(DatabaseError("it does not answer")), Step()
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(expect_failure(order.load(load()), "it does not answer"))
        await load.begun.wait()
        group.create_task(expect_failure(make(order, change(), undo=never), "not answered earlier changes"))
        await asyncio.sleep(0)
        load.may_end.set()
        await loading
    assert not change.begun.is_set()


# --- a change of which nobody knows whether it was made


async def doubtful(order: Changes, undo: Undo) -> None:
    """Make a change that the database does not confirm."""
    change = Step(ChangeInDoubt("it does not answer"))
    change.may_end.set()
    await expect_failure(make(order, change(), undo=undo), "it does not answer")


async def expect_failure(change: Coroutine[None, None, None], text: str) -> None:
    with pytest.raises(DatabaseError, match=text):
        await change


async def test_a_change_that_fails_is_not_in_doubt() -> None:
    order, change = Changes(), Step(DatabaseError("no"))
    change.may_end.set()
    await expect_failure(make(order, change(), undo=never), "no")
    assert not order.is_in_doubt
    await order.settle()


async def test_a_change_in_doubt_is_undone_before_another_is_made() -> None:
    order, undo, change = Changes(), Undo(), Step()
    await doubtful(order, undo)
    assert (order.is_in_doubt, undo.calls) == (True, 0)
    undo.is_away = False
    change.may_end.set()
    await make(order, change(), undo=never)
    assert (order.is_in_doubt, undo.calls) == (False, 1)


@pytest.mark.parametrize("kind", ["change", "load"])
async def test_as_long_as_a_change_is_in_doubt_nothing_else_happens(kind: str) -> None:
    order, undo, step = Changes(), Undo(), Step()
    await doubtful(order, undo)
    following = order.load(step()) if kind == "load" else make(order, step(), undo=never)
    await expect_failure(following, "the server is away")
    assert not step.begun.is_set()
    assert (order.is_in_doubt, undo.calls) == (True, 1)


async def test_an_undo_that_takes_long_does_not_hold_up_the_next_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "WAIT", 0.01)
    order, undo, step = Changes(), Step(), Step()
    change = Step(ChangeInDoubt("it does not answer"))
    change.may_end.set()
    await expect_failure(make(order, change(), undo=undo), "it does not answer")
    await expect_failure(make(order, step(), undo=never), "not answered earlier changes")
    undo.may_end.set()
    await order.settle()
    assert not order.is_in_doubt


async def test_a_doubt_is_told_to_who_waits_for_it_and_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    order, undo = Changes(), Undo()
    waiting = asyncio.create_task(order.wait_for_doubt())
    await asyncio.sleep(0)
    assert not waiting.done()
    await doubtful(order, undo)
    await waiting
    undo.is_away = False
    await order.settle()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("torrust")] == [
        "A change may have been made; it will be undone when the database answers: it does not answer",
        "The change that may have been made is undone",
    ]


# --- a change that takes too long


async def test_nobody_waits_longer_than_the_api_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LIMIT", 0.01)
    order, change, undo, kept = Changes(), Step(), Undo(), Step()
    undo.is_away = False
    with pytest.raises(DatabaseError, match="not answered in time"):
        await order.run(change(), keep=kept, undo=undo)
    change.may_end.set()
    await order.wait_for_doubt()
    assert not kept.begun.is_set()  # the caller was told that it failed
    await order.settle()
    assert undo.calls == 1


async def test_waiting_for_a_load_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LIMIT", 0.01)
    order, load, change = Changes(), Step(), Step()
    async with asyncio.TaskGroup() as group:
        group.create_task(order.load(load()))
        await load.begun.wait()
        waiting = group.create_task(expect_failure(make(order, change(), undo=never), "not answered in time"))
        await waiting
        load.may_end.set()


async def test_a_change_that_fails_late_is_not_in_doubt(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "LIMIT", 0.01)
    order, change = Changes(), Step(DatabaseError("the disk is full"))
    await expect_failure(make(order, change(), undo=never), "not answered in time")
    change.may_end.set()
    await order.settle()
    await asyncio.sleep(0)  # in which the end of the change is reported
    assert not order.is_in_doubt
    assert [record.getMessage() for record in caplog.records if record.name.startswith("torrust")] == [
        "A change for which nobody waited any longer failed: the disk is full"
    ]


async def test_memory_keeps_what_the_database_has_made() -> None:
    order, change, kept = Changes(), Step(), Step()
    change.may_end.set()
    kept.may_end.set()
    await order.run(change(), keep=kept, undo=never)
    assert kept.ended.is_set()


async def test_what_the_database_has_made_in_time_is_kept_however_long_that_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "LIMIT", 0.01)
    order, change, kept = Changes(), Step(), Step()
    change.may_end.set()
    running = asyncio.create_task(order.run(change(), keep=kept, undo=never))
    await kept.begun.wait()
    await asyncio.sleep(2 * changes.LIMIT)
    assert not running.done()
    kept.may_end.set()
    await running
