import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import pytest

from torrust_py.core.completed import CompletedCounters
from torrust_py.core.database import Completed, CompletedTable, Database
from torrust_py.core.errors import DatabaseError
from torrust_py.core.swarms import Limits, PortableSwarms, Retention
from torrust_py.core.types import AnnounceEvent, Families, InfoHash, Peer, SwarmCounts

INFO_HASH = InfoHash(b"\5" * 20)
OTHER = InfoHash(b"\6" * 20)
THIRD = InfoHash(b"\7" * 20)

Complete = Callable[[InfoHash], None]


class CountersTable:
    """A table of completed counters that can be held up or break, and that notes what it is to save."""

    def __init__(self, table: CompletedTable) -> None:
        self._table = table
        self.saves: list[dict[InfoHash, int]] = []
        self.reached = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()
        self.is_broken = False

    def load_completed(self) -> AsyncIterator[Sequence[Completed]]:
        return self._table.load_completed()

    async def save_completed(self, rows: Sequence[Completed]) -> None:
        self.reached.set()
        await self.released.wait()
        if self.is_broken:
            raise DatabaseError("the disk is full")
        self.saves.append(dict(rows))
        await self._table.save_completed(rows)


@pytest.fixture
def table(database: Database) -> CountersTable:
    return CountersTable(database)


@pytest.fixture
def swarms() -> PortableSwarms:
    return PortableSwarms(retention=Retention(keep_completed=True))


@pytest.fixture
def counters(table: CountersTable, swarms: PortableSwarms) -> CompletedCounters:
    return CompletedCounters(table, swarms)


@pytest.fixture
def complete(swarms: PortableSwarms, make_peer: Callable[..., Peer]) -> Complete:
    """Lets one more peer finish a torrent."""
    numbers = iter(range(1000))

    def finish(info_hash: InfoHash) -> None:
        number = next(numbers)
        for event in (AnnounceEvent.STARTED, AnnounceEvent.COMPLETED):
            peer = make_peer(number, left=0, event=event)
            swarms.announce(info_hash, peer.endpoint, peer, num_want=0, families=Families.IPV4, now_ms=0)

    return finish


async def stored(table: CompletedTable) -> dict[InfoHash, int]:
    return {info_hash: completed async for rows in table.load_completed() for info_hash, completed in rows}


def rows(*counters: tuple[InfoHash, int]) -> Iterable[Completed]:
    return [Completed(*row) for row in counters]


async def test_a_counter_that_changed_is_saved(
    counters: CompletedCounters, table: CountersTable, complete: Complete
) -> None:
    complete(INFO_HASH)
    complete(INFO_HASH)
    await counters.save()
    assert await stored(table) == {INFO_HASH: 2}


@pytest.mark.clause("5.2.12")
async def test_a_counter_that_did_not_change_is_not_saved_again(
    counters: CompletedCounters, table: CountersTable, complete: Complete
) -> None:
    complete(INFO_HASH)
    await counters.save()
    complete(OTHER)
    await counters.save()
    assert table.saves == [{INFO_HASH: 1}, {OTHER: 1}]


async def test_without_changes_the_database_is_not_asked(
    counters: CompletedCounters, table: CountersTable
) -> None:
    table.is_broken = True
    await counters.save()
    assert table.saves == []


@pytest.mark.clause("5.2.13")
async def test_what_could_not_be_saved_is_saved_the_next_time(
    counters: CompletedCounters, table: CountersTable, complete: Complete
) -> None:
    complete(INFO_HASH)
    complete(OTHER)
    table.is_broken = True
    with pytest.raises(DatabaseError):
        await counters.save()
    unsaved = counters.unsaved
    table.is_broken = False
    complete(OTHER)
    await counters.save()
    assert (unsaved, counters.unsaved, table.saves) == (2, 0, [{INFO_HASH: 1, OTHER: 2}])


async def test_what_changes_during_a_save_is_saved_by_the_next(
    counters: CompletedCounters, table: CountersTable, complete: Complete
) -> None:
    complete(INFO_HASH)
    table.released.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(counters.save())
        await table.reached.wait()
        complete(INFO_HASH)
        table.released.set()
    await counters.save()
    assert table.saves == [{INFO_HASH: 1}, {INFO_HASH: 2}]


async def test_a_save_that_was_cancelled_is_made_good_by_the_next(
    counters: CompletedCounters, table: CountersTable, complete: Complete
) -> None:
    complete(INFO_HASH)
    table.released.clear()
    saving = asyncio.ensure_future(counters.save())
    await table.reached.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    table.released.set()
    await counters.save()
    assert await stored(table) == {INFO_HASH: 1}


@pytest.mark.clause("5.6.3", "12.5.11")
async def test_stored_counters_come_back_as_torrents_without_peers(
    counters: CompletedCounters, database: Database, swarms: PortableSwarms
) -> None:
    await database.save_completed([*rows((INFO_HASH, 7), (OTHER, 3))])
    await counters.load()
    expected = SwarmCounts(seeders=0, completed=7, leechers=0)
    assert (swarms.scrape(INFO_HASH), swarms.totals().completed) == (expected, 10)


@pytest.mark.clause("5.6.3")
async def test_a_restored_counter_goes_on_from_where_it_was(
    counters: CompletedCounters, table: CountersTable, complete: Complete
) -> None:
    await table.save_completed([*rows((INFO_HASH, 7))])
    await counters.load()
    complete(INFO_HASH)
    await counters.save()
    assert await stored(table) == {INFO_HASH: 8}


async def test_restored_counters_are_not_saved_as_changes(
    counters: CompletedCounters, database: Database, table: CountersTable
) -> None:
    await database.save_completed([*rows((INFO_HASH, 7))])
    await counters.load()
    await counters.save()
    assert table.saves == []


async def test_loading_says_how_many_rows_found_room(table: CountersTable, database: Database) -> None:
    counters = CompletedCounters(table, PortableSwarms(limits=Limits(max_torrents=4)))
    await database.save_completed([*rows((INFO_HASH, 7), (OTHER, 3), (THIRD, 5))])
    assert await counters.load() == (3, 2)
