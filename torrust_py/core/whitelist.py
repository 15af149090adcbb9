"""The info hashes that a listed tracker allows: a set in memory for requests, a table across restarts."""

from collections.abc import Iterator
from functools import partial
from typing import Protocol, Self

from torrust_py.core.changes import Changes
from torrust_py.core.database import WhitelistTable
from torrust_py.core.types import InfoHash

_INFO_HASHES_A_STEP = 4096


class Whitelist(Protocol):
    """A set of info hashes; one of the four things that have a portable and a native form. A blacklist is
    made of such sets, too.
    """

    def __contains__(self, info_hash: InfoHash, /) -> bool: ...

    def __len__(self) -> int: ...

    def add(self, info_hash: InfoHash, /) -> None: ...

    def discard(self, info_hash: InfoHash, /) -> None: ...

    def info_hashes(self) -> Iterator[list[InfoHash]]:
        """All, in no order, in steps of a millisecond at most. What changes between two steps may or may not
        be seen, and may be seen twice.
        """

    def empty(self) -> Self:
        """A new one of the same form that holds nothing."""

    def take(self, other: Self, /) -> None:
        """Hold what `other` holds, at once; `other` is not used afterwards."""


class PortableWhitelist:
    """A dictionary from info hash to its position in a list, so that it can be walked in steps while it
    changes. The last one takes the place of one that leaves.
    """

    def __init__(self) -> None:
        self._positions: dict[InfoHash, int] = {}
        self._table: list[InfoHash] = []

    def __contains__(self, info_hash: InfoHash, /) -> bool:
        return info_hash in self._positions

    def __len__(self) -> int:
        return len(self._table)

    def add(self, info_hash: InfoHash, /) -> None:
        if info_hash not in self._positions:
            self._positions[info_hash] = len(self._table)
            self._table.append(info_hash)

    def discard(self, info_hash: InfoHash, /) -> None:
        position = self._positions.pop(info_hash, None)
        if position is None:
            return
        last = self._table.pop()
        if position < len(self._table):
            self._table[position] = last
            self._positions[last] = position

    def info_hashes(self) -> Iterator[list[InfoHash]]:
        unvisited = len(self._table)
        while unvisited > 0:  # downwards: who takes the place of one that leaves was seen before
            first = max(0, unvisited - _INFO_HASHES_A_STEP)
            yield self._table[first:unvisited]
            unvisited = min(first, len(self._table))

    def empty(self) -> Self:
        return type(self)()

    def take(self, other: Self, /) -> None:
        self._positions, self._table = other._positions, other._table


class ListedTorrents:
    """The whitelist as an operator changes it: database first, so that a failure leaves memory as it was."""

    def __init__(self, table: WhitelistTable, whitelist: Whitelist) -> None:
        self._table = table
        self._whitelist = whitelist
        self._changes = Changes()

    @property
    def changes(self) -> Changes:
        """For who undoes those that are in doubt."""
        return self._changes

    def info_hashes(self) -> Iterator[list[InfoHash]]:
        """All, as `Whitelist.info_hashes`."""
        return self._whitelist.info_hashes()

    async def add(self, info_hash: InfoHash) -> None:
        """Allow `info_hash`, also across restarts. Raises DatabaseError."""
        await self._changes.run(
            self._table.add_to_whitelist(info_hash),
            keep=partial(self._allow, info_hash),
            undo=partial(self._restore, info_hash),
        )

    async def remove(self, info_hash: InfoHash) -> None:
        """No longer allow `info_hash`. Raises DatabaseError."""
        await self._changes.run(
            self._table.remove_from_whitelist(info_hash),
            keep=partial(self._forbid, info_hash),
            undo=partial(self._restore, info_hash),
        )

    async def load(self) -> None:
        """Replace what memory holds by what the database holds; all of it or, on DatabaseError, nothing."""
        await self._changes.load(self._load())

    async def _allow(self, info_hash: InfoHash) -> None:
        self._whitelist.add(info_hash)

    async def _forbid(self, info_hash: InfoHash) -> None:
        self._whitelist.discard(info_hash)

    async def _restore(self, info_hash: InfoHash) -> None:
        await self._table.restore_in_whitelist(info_hash, listed=info_hash in self._whitelist)

    async def _load(self) -> None:
        loaded = self._whitelist.empty()
        async for rows in self._table.load_whitelist():
            for info_hash in rows:
                loaded.add(info_hash)
        self._whitelist.take(loaded)
