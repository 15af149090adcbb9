"""How an operator's changes of a collection follow each other: one at a time, and each to its end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, closing

from torrust_py.core.errors import ChangeInDoubt, DatabaseError

WAIT = 0.8
"""Seconds that a change waits for those before it. More of them wait only if the database does not answer,
and then nobody should wait the sum of their times.
"""

WAIT_FOR_LOAD = 4.0
"""Seconds that it waits while the whole collection is read anew, which takes its time."""

Undo = Callable[[], Awaitable[None]]
"""Makes the database what memory is. Raises DatabaseError."""

_log = logging.getLogger("torrust_tracker::core::databases")


class Changes:
    """The changes of one collection. Memory and database cannot part: no two changes overlap, and none ends
    halfway because its caller went away.

    A change is in doubt if the database, told to make it, did not say that it has (ChangeInDoubt). Its caller
    is told that it failed, and memory stays as it was; as soon as the database answers, and before anything
    else is changed or loaded, the database is made to agree with memory again. If the process ends before
    that, the log says so, and the next start takes what the database has.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._loading = False
        self._load_failed = False
        self._undo: Undo | None = None
        self._doubt = asyncio.Event()

    async def run(self, change: Coroutine[None, None, None], *, undo: Undo) -> None:
        """Make `change`, also if the caller is cancelled meanwhile. Raises DatabaseError."""
        task = asyncio.ensure_future(self._in_turn(change, undo))
        await self._finish(task)

    async def load(self, load: Coroutine[None, None, None]) -> None:
        """Make a change that reads the whole collection anew. Raises DatabaseError."""
        task = asyncio.ensure_future(self._in_turn(load))
        await self._finish(task)

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

    async def _in_turn(self, change: Coroutine[None, None, None], undo: Undo | None = None) -> None:
        """`undo` is None for a load."""
        with closing(change):  # which may never begin
            async with self._turn(WAIT_FOR_LOAD if self._loading else WAIT):
                try:
                    await (change if undo is not None else self._marked(change))
                except ChangeInDoubt as error:
                    self._undo = undo
                    self._doubt.set()
                    _log.warning(
                        "A change may have been made; it will be undone when the database answers: %s", error
                    )
                    raise

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

    async def _marked(self, load: Coroutine[None, None, None]) -> None:
        self._loading = self._load_failed = True
        try:
            await load
            self._load_failed = False
        finally:
            self._loading = False

    async def _finish(self, task: asyncio.Future[None]) -> None:
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_report)
            raise


def _report(task: asyncio.Future[None]) -> None:
    """The failure of a change for which nobody waits any longer."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("A change whose caller went away failed: %s", error)
