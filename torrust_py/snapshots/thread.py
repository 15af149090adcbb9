"""A thread for calls that wait for a disk."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PAUSE = 0.1  # seconds until there may be memory again


class FileThread:
    """Makes one call after the other, in their order. A disk that does not answer keeps it, and nobody else:
    the process may end meanwhile.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="snapshot", daemon=True).start()

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What `function` returns or raises. A call that has begun goes on though this is cancelled."""
        return await self.submit(function, *args, **kwargs)

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "asyncio.Future[_T]":
        """What `call` waits for; whoever does not is not told of a failure."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def settle(method: Callable[..., None], outcome: object) -> None:
            if not future.done():  # it may have been cancelled
                method(outcome)
                future.exception()  # who does not wait need not be told

        def run() -> None:
            if future.cancelled():
                return
            try:
                outcome = function(*args, **kwargs)
            except BaseException as error:  # whoever waits gets it, as from any call
                _tell(loop, settle, future.set_exception, error)
            else:
                _tell(loop, settle, future.set_result, outcome)

        self._calls.put(run)
        return future

    def close(self) -> None:
        """The thread ends when its calls are made."""
        self._calls.put(None)

    def _run(self) -> None:
        while (run := self._calls.get()) is not None:
            run()


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], *outcome: object) -> None:
    while True:
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:
            return  # nobody waits in a loop that is closed
        except MemoryError:  # who waits would wait for ever
            time.sleep(_PAUSE)
        else:
            return
