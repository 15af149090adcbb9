"""How an operator's changes of a collection follow each other: one at a time, and each to its end."""

import asyncio
import logging
from collections.abc import Coroutine

from torrust_py.core.errors import DatabaseError

WAIT = 0.8
"""Seconds that a change waits for those before it. More of them wait only if the database does not answer,
and then nobody should wait the sum of their times.
"""

WAIT_FOR_LOAD = 4.0
"""Seconds that it waits while the whole collection is read anew, which takes its time."""

_log = logging.getLogger("torrust_tracker::core::databases")


class Changes:
    """The changes of one collection. Memory and database cannot part: no two changes overlap, and none ends
    halfway because its caller went away.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._loading = False

    async def run(self, change: Coroutine[None, None, None]) -> None:
        """Make `change`, also if the caller is cancelled meanwhile. Raises DatabaseError."""
        task = asyncio.ensure_future(self._in_turn(change))
        await self._finish(task)

    async def load(self, load: Coroutine[None, None, None]) -> None:
        """Make a change that reads the whole collection anew. Raises DatabaseError."""
        task = asyncio.ensure_future(self._in_turn(self._marked(load)))
        await self._finish(task)

    async def _in_turn(self, change: Coroutine[None, None, None]) -> None:
        try:
            async with asyncio.timeout(WAIT_FOR_LOAD if self._loading else WAIT):
                await self._lock.acquire()
        except TimeoutError:
            change.close()
            raise DatabaseError("The database has not answered earlier changes yet") from None
        try:
            await change
        finally:
            self._lock.release()

    async def _marked(self, load: Coroutine[None, None, None]) -> None:
        self._loading = True
        try:
            await load
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
