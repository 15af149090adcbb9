"""How an operator's changes of a collection follow each other: one at a time, and each to its end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass

from torrust_py.core.errors import ChangeInDoubt, DatabaseError

WAIT = 0.8
"""Seconds that a change waits for those before it. More of them wait only if the database does not answer,
and then nobody should wait the sum of their times.
"""

WAIT_FOR_LOAD = 3.8
"""Seconds that it waits while the whole collection is read anew, which takes its time."""

LIMIT = 3.9
"""Seconds after which the caller of a change is told that it failed, whether it waited for others or for a
database that has stopped answering since. The API promises four.
"""

Keep = Callable[[], Awaitable[None]]
"""Makes memory what the database is, in steps where that takes long."""

Undo = Callable[[], Awaitable[None]]
"""Makes the database what memory is. Raises DatabaseError."""

_log = logging.getLogger("torrust_tracker::core::databases")


class Changes:
    """The changes of one collection. Memory and database cannot part: no two changes overlap, and none ends
    halfway because its caller went away.

    A change is in doubt if the database, told to make it, did not say that it has (ChangeInDoubt), or said so
    after LIMIT. Its caller is told that it failed, and memory stays as it was; as soon as the database
    answers, and before anything else is changed or loaded, the database is made to agree with memory again.
    If the process ends before that, the log says so, and the next start takes what the database has.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._loading = False
        self._load_failed = False
        self._undo: Undo | None = None
        self._doubt = asyncio.Event()

    async def run(self, change: Coroutine[None, None, None], *, keep: Keep, undo: Undo) -> None:
        """Make `change` in the database and then `keep` it in memory, also if the caller is cancelled
        meanwhile. Raises DatabaseError, after LIMIT seconds at the latest.
        """
        attempt = _Attempt(change, keep, undo)
        task = asyncio.ensure_future(self._change(attempt))
        if await _wait(task, limit=LIMIT):
            return
        if attempt.is_made:  # memory takes milliseconds
            await _wait(task, limit=None)
            return
        attempt.is_given_up = True
        raise DatabaseError("The database has not answered in time")

    async def load(self, load: Coroutine[None, None, None]) -> None:
        """Make a change that reads the whole collection anew, which may take long. Raises DatabaseError."""
        await _wait(asyncio.ensure_future(self._load(load)), limit=None)

    @property
    def is_in_doubt(self) -> bool:
        return self._undo is not None

    async def wait_for_doubt(self) -> None:
        """Return once a change is in doubt."""
        await self._doubt.wait()

    async def settle(self) -> None:
        """Undo a change that is in doubt, if any. Raises DatabaseError."""
        async with self._turn(WAIT_FOR_LOAD):
            pass

    async def _change(self, attempt: "_Attempt") -> None:
        with closing(attempt.change):  # which may never begin
            async with self._turn(WAIT_FOR_LOAD if self._loading else WAIT):
                try:
                    await attempt.change
                    if attempt.is_given_up:
                        raise ChangeInDoubt("it answered too late")
                except ChangeInDoubt as error:
                    self._undo = attempt.undo
                    self._doubt.set()
                    _log.warning(
                        "A change may have been made; it will be undone when the database answers: %s", error
                    )
                    raise
                attempt.is_made = True
                await attempt.keep()

    async def _load(self, load: Coroutine[None, None, None]) -> None:
        with closing(load):
            async with self._turn(WAIT_FOR_LOAD if self._loading else WAIT):
                self._loading = self._load_failed = True
                try:
                    await load
                    self._load_failed = False
                finally:
                    self._loading = False

    @asynccontextmanager
    async def _turn(self, patience: float) -> AsyncIterator[None]:
        """The lock, nothing being in doubt. Raises DatabaseError, after `patience` seconds."""
        was_loading = self._loading
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(patience):
                    await stack.enter_async_context(self._lock)
                    if was_loading and self._load_failed:
                        raise TimeoutError  # the load has waited in vain, and a change would wait as long
                    await self._resolve()
            except TimeoutError:
                raise DatabaseError("The database has not answered earlier changes yet") from None
            yield

    async def _resolve(self) -> None:
        if self._undo is None:
            return
        await self._undo()
        self._undo = None
        self._doubt.clear()
        _log.warning("The change that may have been made is undone")


@dataclass(slots=True)
class _Attempt:
    """A change, and how far it and its caller have come."""

    change: Coroutine[None, None, None]
    keep: Keep
    undo: Undo
    is_made: bool = False
    """By the database, in time."""
    is_given_up: bool = False


async def _wait(task: asyncio.Future[None], *, limit: float | None) -> bool:
    """Whether it ended within `limit` seconds; if so, its error is raised. If not, it goes on."""
    try:
        await asyncio.wait([task], timeout=limit)
    finally:
        if not task.done():
            task.add_done_callback(_report)
    if task.done():
        task.result()
    return task.done()


def _report(task: asyncio.Future[None]) -> None:
    """The failure of a change for which nobody waits any longer."""
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, ChangeInDoubt):  # of which the log has a line already
        _log.warning("A change for which nobody waited any longer failed: %s", error)
