"""A thread for calls that wait for a disk."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PAUSE = 0.1  # seconds until there may be memory again


class FileThread:
    """Makes one call after the other, in their order. A disk that does not answer keeps it, and nobody else:
    the process may end meanwhile.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None]
        self._calls = queue.SimpleQueue()
        threading.Thread(target=self._run, name="snapshot", daemon=True).start()

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What `function` returns or raises. A call that has begun goes on though this is cancelled."""
        return await self.submit(function, *args, **kwargs)

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "asyncio.Future[_T]":
        """What `call` waits for; whoever does not is not told of a failure."""
        future = asyncio.get_running_loop().create_future()
        self._calls.put((future, partial(function, *args, **kwargs)))
        return future

    def close(self) -> None:
        """The thread ends when its calls are made."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            _make(*call)


def _make(future: "asyncio.Future[Any]", function: Callable[[], Any]) -> None:
    if future.cancelled():
        return
    try:
        outcome = function()
    except BaseException as error:  # whoever waits gets it, as from any call
        _tell(future, future.set_exception, error)
    else:
        _tell(future, future.set_result, outcome)


def _tell(future: "asyncio.Future[Any]", method: Callable[..., None], outcome: object) -> None:
    while True:
        try:
            future.get_loop().call_soon_threadsafe(_settle, future, method, outcome)
        except RuntimeError:
            return  # nobody waits in a loop that is closed
        except MemoryError:  # who waits would wait for ever
            time.sleep(_PAUSE)
        else:
            return


def _settle(future: "asyncio.Future[Any]", method: Callable[..., None], outcome: object) -> None:
    if not future.done():  # it may have been cancelled
        method(outcome)
        future.exception()  # who does not wait need not be told
