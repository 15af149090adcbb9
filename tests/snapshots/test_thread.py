import asyncio
import gc
import threading

import pytest

from torrust_py.snapshots.thread import FileThread


async def test_a_call_returns_or_raises_what_its_function_does() -> None:
    thread = FileThread()
    assert await thread.call(divmod, 7, 3) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        await thread.call(divmod, 7, 0)
    thread.close()


async def test_a_failure_that_nobody_waits_for_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    thread = FileThread()
    thread.submit(divmod, 7, 0)
    await thread.call(int)
    gc.collect()
    assert caplog.records == []
    thread.close()


async def test_a_call_may_end_after_its_loop() -> None:
    thread, has_begun, may_end = FileThread(), threading.Event(), threading.Event()

    def wait() -> None:
        has_begun.set()
        may_end.wait()

    async def ask() -> None:
        thread.submit(wait)

    loop = asyncio.new_event_loop()
    await asyncio.to_thread(loop.run_until_complete, ask())
    has_begun.wait()
    loop.close()
    may_end.set()
    assert await thread.call(divmod, 7, 3) == (2, 1)  # it goes on
    thread.close()


async def test_calls_are_made_in_their_order_also_after_one_was_cancelled() -> None:
    thread, has_begun, may_end, made = FileThread(), threading.Event(), threading.Event(), list[int]()

    def wait() -> None:
        has_begun.set()
        may_end.wait()

    waiting = asyncio.ensure_future(thread.call(wait))
    await asyncio.sleep(0)
    await asyncio.to_thread(has_begun.wait)  # from here on it goes on though it is cancelled
    given_up = asyncio.ensure_future(thread.call(made.append, 1))
    await asyncio.sleep(0)
    for task in (waiting, given_up):
        task.cancel()
    last = asyncio.ensure_future(thread.call(made.append, 2))
    await asyncio.sleep(0)
    assert made == []
    may_end.set()
    await last
    assert made == [2]
    thread.close()
