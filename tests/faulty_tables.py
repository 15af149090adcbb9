"""What stand-ins for a table of a database have in common: they fail, or let wait, when a test says so."""

import asyncio

from torrust_py.core.errors import ChangeInDoubt, DatabaseError


class FaultyTable:
    """Its methods call `fail_if_broken` before their work, `confirm` after it, and `hold_up` in the end."""

    def __init__(self) -> None:
        self.is_broken = False
        self.is_silent = False
        """Changes are made, but not confirmed."""
        self._held = ""
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    def hold(self, method: str) -> None:
        """Hold up the next call of this method: it reaches its end, and waits to be released."""
        self._held = method

    def fail_if_broken(self) -> None:
        if self.is_broken:
            raise DatabaseError("the disk is full")

    def confirm(self) -> None:
        if self.is_silent:
            raise ChangeInDoubt("it does not answer")

    async def hold_up(self, method: str) -> None:
        if method == self._held:
            self._held = ""
            self.reached.set()
            await self.released.wait()
