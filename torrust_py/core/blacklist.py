"""The torrents that are refused: sets in memory for requests, a table and a file across restarts.

What is in the database and what the file holds are kept apart: a torrent is refused while it is in either.
The set of all that are refused has two forms, so that the planes look into it themselves; why, and until
when, is kept beside it.
"""

import asyncio
import heapq
import unicodedata
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from torrust_py.core.changes import Changes
from torrust_py.core.database import BlacklistEntry, BlacklistTable
from torrust_py.core.errors import BadReason, Blacklisted, ListedByFile
from torrust_py.core.swarms import Swarms
from torrust_py.core.types import InfoHash
from torrust_py.core.whitelist import Whitelist

LONGEST_REASON = 500
"""Bytes in UTF-8. Over UDP a refusal must fit into one datagram."""

_Item = TypeVar("_Item")

_ENTRIES_A_STEP = 500  # some hundred microseconds
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # controls, lone surrogates, ends of lines and paragraphs


def check_reason(reason: str) -> None:
    """Raises BadReason unless clients can be told so."""
    if any(unicodedata.category(character) in _UNPRINTABLE for character in reason):
        raise BadReason("has a control character")
    if len(reason.encode()) > LONGEST_REASON:
        raise BadReason(f"is longer than {LONGEST_REASON} bytes")


class Listed(NamedTuple):
    """What is known of a torrent that is refused."""

    info_hash: InfoHash
    reason: str | None
    valid_until: int | None
    in_database: bool
    in_file: bool


class _Details(NamedTuple):
    """Of an entry of the database, if it has any."""

    reason: str | None
    valid_until: int | None


class Blacklist:
    """As an operator changes it: database first, so that a failure leaves memory as it was.

    `refused` is the set that planes look into. The peers of a torrent that comes to it leave the `swarms` in
    the same step, so a torrent that has peers is not in it, and planes need not look. (Those that come with a
    snapshot leave before the first plane runs.)
    """

    def __init__(self, table: BlacklistTable, refused: Whitelist, swarms: Swarms) -> None:
        self._table = table
        self._refused = refused
        self._swarms = swarms
        self._of_database = refused.empty()
        self._of_file = refused.empty()
        self._details: dict[InfoHash, _Details] = {}
        self._ends: list[tuple[int, InfoHash]] = []  # a heap
        self._next_end: dict[InfoHash, int] = {}  # which of the heap's items of a torrent counts
        self.ended = 0
        """How many have expired since the start."""
        self._changes = Changes()

    def __contains__(self, info_hash: InfoHash, /) -> bool:
        return info_hash in self._refused

    def __len__(self) -> int:
        return len(self._refused)

    @property
    def changes(self) -> Changes:
        """For who undoes those that are in doubt."""
        return self._changes

    @property
    def of_database(self) -> int:
        """How many are in the database."""
        return len(self._of_database)

    def check(self, info_hash: InfoHash) -> None:
        """Raises Blacklisted."""
        if info_hash in self._refused:
            details = self._details.get(info_hash)
            raise Blacklisted(info_hash, None if details is None else details.reason)

    def info_hashes(self) -> Iterator[list[InfoHash]]:
        """All that are refused, as `Whitelist.info_hashes`."""
        return self._refused.info_hashes()

    def listed(self, info_hash: InfoHash) -> Listed | None:
        """None if it is not refused."""
        if info_hash not in self._refused:
            return None
        details = self._details.get(info_hash, _Details(None, None))
        return Listed(info_hash, *details, info_hash in self._of_database, info_hash in self._of_file)

    # --- the database

    async def add(self, entries: Sequence[BlacklistEntry]) -> None:
        """Refuse these torrents, also across restarts; all of them or, on DatabaseError, none. What was known
        of one of them is replaced.
        """
        info_hashes = [entry.info_hash for entry in entries]
        await self._changes.run(
            self._table.add_to_blacklist(entries),
            keep=partial(self._keep_all, entries),
            undo=partial(self._restore, info_hashes),
        )

    async def remove(self, info_hash: InfoHash) -> None:
        """Take it out of the database. Raises DatabaseError, or ListedByFile if the file alone has it."""
        await self._changes.run(
            self._remove(info_hash),
            keep=partial(self._forget_one, info_hash),
            undo=partial(self._restore, [info_hash]),
        )

    async def load(self, unix_now: float) -> None:
        """Refuse what the database holds and has not expired. Raises DatabaseError."""
        await self._changes.load(self._load(unix_now))

    def expire(self, unix_now: float) -> Iterator[None]:
        """Forget in steps what has expired by `unix_now`. The database is told by `remove_expired`."""
        done = 0
        while self._ends and self._ends[0][0] <= unix_now:
            end, info_hash = heapq.heappop(self._ends)
            if self._next_end.get(info_hash) == end:
                del self._next_end[info_hash]
                self._end(info_hash, unix_now)
            done += 1
            if done % _ENTRIES_A_STEP == 0:
                yield

    async def remove_expired(self, unix_now: float) -> None:
        """Let the database forget what has expired. Raises DatabaseError; trying again does no harm.

        It needs no turn among the changes: the end of each row decides, whatever comes between.
        """
        await self._table.remove_expired_from_blacklist(int(unix_now))

    async def _keep_all(self, entries: Sequence[BlacklistEntry]) -> None:
        for some in _parts(entries):
            for entry in some:
                self._keep(entry)
            await asyncio.sleep(0)

    async def _remove(self, info_hash: InfoHash) -> None:
        if info_hash in self._of_file and info_hash not in self._of_database:
            raise ListedByFile(info_hash)
        await self._table.remove_from_blacklist(info_hash)

    async def _forget_one(self, info_hash: InfoHash) -> None:
        self._forget(info_hash)

    async def _restore(self, info_hashes: Sequence[InfoHash]) -> None:
        kept = [self._entry(info_hash) for info_hash in info_hashes if info_hash in self._of_database]
        await self._table.restore_in_blacklist(info_hashes, kept)

    async def _load(self, unix_now: float) -> None:
        async for entries in self._table.load_blacklist():
            for entry in entries:
                if entry.valid_until is None or entry.valid_until > unix_now:
                    self._keep(entry)

    def _entry(self, info_hash: InfoHash) -> BlacklistEntry:
        return BlacklistEntry(info_hash, *self._details.get(info_hash, _Details(None, None)))

    # --- the file

    async def take_file(self, info_hashes: Whitelist) -> None:
        """Refuse what the file holds now, and no longer what it held before."""
        before, self._of_file = self._of_file, info_hashes
        for some in (info_hashes, before):  # nothing that is in both is let in between
            for step in some.info_hashes():
                for part in _parts(step):
                    for info_hash in part:
                        self._settle(info_hash)
                    await asyncio.sleep(0)

    def new_file(self) -> Whitelist:
        """An empty set for `take_file`."""
        return self._refused.empty()

    # --- memory

    async def drop_peers(self) -> None:
        """Drop the peers of all that are refused: of those that came with a snapshot."""
        for step in self._refused.info_hashes():
            for part in _parts(step):
                for info_hash in part:
                    self._swarms.remove(info_hash)
                await asyncio.sleep(0)

    def _keep(self, entry: BlacklistEntry) -> None:
        info_hash, reason, valid_until = entry
        self._of_database.add(info_hash)
        if reason is None and valid_until is None:
            self._details.pop(info_hash, None)
        else:
            self._details[info_hash] = _Details(reason, valid_until)
        if valid_until is not None:
            self._note_end(info_hash, valid_until)
        self._settle(info_hash)

    def _forget(self, info_hash: InfoHash) -> None:
        self._of_database.discard(info_hash)
        self._details.pop(info_hash, None)
        self._settle(info_hash)

    def _settle(self, info_hash: InfoHash) -> None:
        """Refuse it or not, as the database and the file have it."""
        if info_hash not in self._of_database and info_hash not in self._of_file:
            self._refused.discard(info_hash)
        elif info_hash not in self._refused:
            self._refused.add(info_hash)
            self._swarms.remove(info_hash)

    def _note_end(self, info_hash: InfoHash, valid_until: int) -> None:
        """A later end waits until the earlier comes, so that an entry that is prolonged again and again is in
        the heap once.
        """
        noted = self._next_end.get(info_hash)
        if noted is None or valid_until < noted:
            self._next_end[info_hash] = valid_until
            heapq.heappush(self._ends, (valid_until, info_hash))

    def _end(self, info_hash: InfoHash, unix_now: float) -> None:
        details = self._details.get(info_hash)
        if details is None or details.valid_until is None:
            return
        if details.valid_until > unix_now:
            self._note_end(info_hash, details.valid_until)
        else:
            self._forget(info_hash)
            self.ended += 1


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[at : at + _ENTRIES_A_STEP] for at in range(0, len(items), _ENTRIES_A_STEP))
