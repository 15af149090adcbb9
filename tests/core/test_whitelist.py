import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faulty_tables import FaultyTable
from tests.forms import make_whitelist
from torrust_py.core.database import Database, WhitelistTable
from torrust_py.core.errors import ChangeInDoubt, DatabaseError
from torrust_py.core.types import InfoHash
from torrust_py.core.whitelist import ListedTorrents, Whitelist

INFO_HASH = InfoHash(bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422"))
OTHER = InfoHash(b"\2" * 20)


class HeldTable(FaultyTable):
    """A whitelist table whose calls can be held up after their work, before they return; or can fail."""

    def __init__(self, table: WhitelistTable) -> None:
        super().__init__()
        self._table = table

    async def load_whitelist(self) -> AsyncIterator[Sequence[InfoHash]]:
        async for rows in self._table.load_whitelist():
            self.fail_if_broken()
            await self.hold_up("load_whitelist")
            yield rows

    async def add_to_whitelist(self, info_hash: InfoHash) -> None:
        self.fail_if_broken()
        await self._table.add_to_whitelist(info_hash)
        self.confirm()
        await self.hold_up("add_to_whitelist")

    async def remove_from_whitelist(self, info_hash: InfoHash) -> None:
        self.fail_if_broken()
        await self._table.remove_from_whitelist(info_hash)
        self.confirm()
        await self.hold_up("remove_from_whitelist")

    async def restore_in_whitelist(self, info_hash: InfoHash, *, listed: bool) -> None:
        self.fail_if_broken()
        await self._table.restore_in_whitelist(info_hash, listed=listed)


@pytest.fixture
def table(database: Database) -> HeldTable:
    return HeldTable(database)


@pytest.fixture
def whitelist(form: str) -> Whitelist:
    return make_whitelist(form)


@pytest.fixture
def listed(table: HeldTable, whitelist: Whitelist) -> ListedTorrents:
    return ListedTorrents(table, whitelist)


def numbered(number: int) -> InfoHash:
    return InfoHash(number.to_bytes(20))


async def stored(table: WhitelistTable) -> set[InfoHash]:
    return {info_hash async for rows in table.load_whitelist() for info_hash in rows}


def test_a_whitelist_holds_what_was_added(form: str) -> None:
    whitelist = make_whitelist(form)
    whitelist.add(INFO_HASH)
    assert (INFO_HASH in whitelist, OTHER in whitelist, len(whitelist)) == (True, False, 1)


def test_a_whitelist_forgets_what_was_discarded(form: str) -> None:
    whitelist = make_whitelist(form)
    whitelist.add(INFO_HASH)
    whitelist.discard(INFO_HASH)
    whitelist.discard(OTHER)
    assert (INFO_HASH in whitelist, len(whitelist)) == (False, 0)


def test_an_empty_one_of_the_same_form_shares_nothing(form: str) -> None:
    whitelist = make_whitelist(form)
    whitelist.add(INFO_HASH)
    empty = whitelist.empty()
    empty.add(OTHER)
    assert (INFO_HASH in empty, OTHER in whitelist) == (False, False)


def test_a_whitelist_takes_what_another_holds(form: str) -> None:
    whitelist = make_whitelist(form)
    whitelist.add(INFO_HASH)
    other = whitelist.empty()
    other.add(OTHER)
    whitelist.take(other)
    assert (INFO_HASH in whitelist, OTHER in whitelist, len(whitelist)) == (False, True, 1)


@given(
    changes=st.lists(
        st.tuples(st.sampled_from(["add", "discard", "step"]), st.integers(0, 200)), max_size=60
    ),
    size=st.sampled_from([0, 3, 150]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_whitelist_is_walked_in_steps_while_it_changes(
    form: str, changes: list[tuple[str, int]], size: int
) -> None:
    whitelist = make_whitelist(form)
    expected = {numbered(number) for number in range(size)}
    for info_hash in expected:
        whitelist.add(info_hash)
    stayed, seen = set(expected), set[InfoHash]()
    walk = whitelist.info_hashes()
    for change, number in changes:
        if change == "step":
            seen |= set(next(walk, []))
        elif change == "add":
            whitelist.add(numbered(number))
            expected.add(numbered(number))
        else:
            whitelist.discard(numbered(number))
            expected.discard(numbered(number))
            stayed.discard(numbered(number))
    for step in walk:
        seen |= set(step)
    assert stayed <= seen
    listed = [info_hash for step in whitelist.info_hashes() for info_hash in step]
    assert (sorted(listed), len(whitelist)) == (sorted(expected), len(expected))


def test_many_are_walked_in_several_steps(form: str) -> None:
    whitelist = make_whitelist(form)
    for number in range(10_000):
        whitelist.add(numbered(number))
    walk = whitelist.info_hashes()
    seen = set(next(walk))
    for number in range(0, 10_000, 2):
        whitelist.discard(numbered(number))
    seen.update(*walk)
    assert {numbered(number) for number in range(1, 10_000, 2)} <= seen


@pytest.mark.clause("5.5.1")
async def test_an_added_torrent_is_in_memory_and_in_the_database(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(INFO_HASH)
    assert (INFO_HASH in whitelist, await stored(table)) == (True, {INFO_HASH})


@pytest.mark.clause("5.5.2")
async def test_adding_a_torrent_twice_is_adding_it_once(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(INFO_HASH)
    await listed.add(INFO_HASH)
    assert (len(whitelist), await stored(table)) == (1, {INFO_HASH})


@pytest.mark.clause("5.5.1")
async def test_a_removed_torrent_is_gone_from_memory_and_database(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(INFO_HASH)
    await listed.remove(INFO_HASH)
    assert (INFO_HASH in whitelist, await stored(table)) == (False, set())


@pytest.mark.clause("5.5.2")
async def test_removing_a_torrent_that_is_not_there_changes_nothing(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(INFO_HASH)
    await listed.remove(OTHER)
    assert (len(whitelist), await stored(table)) == (1, {INFO_HASH})


@pytest.mark.clause("5.5.3")
async def test_loading_replaces_memory_by_what_the_database_holds(
    listed: ListedTorrents, whitelist: Whitelist, database: Database
) -> None:
    whitelist.add(INFO_HASH)
    await database.add_to_whitelist(OTHER)
    await listed.load()
    assert (INFO_HASH in whitelist, OTHER in whitelist) == (False, True)


async def test_many_torrents_are_loaded(
    listed: ListedTorrents, whitelist: Whitelist, database: Database
) -> None:
    for number in range(9):
        await database.add_to_whitelist(InfoHash(bytes([number]) * 20))
    await listed.load()
    assert len(whitelist) == 9


async def test_a_failed_addition_leaves_memory_as_it_was(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    table.is_broken = True
    with pytest.raises(DatabaseError):
        await listed.add(INFO_HASH)
    assert INFO_HASH not in whitelist


async def test_a_failed_removal_leaves_memory_as_it_was(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(INFO_HASH)
    table.is_broken = True
    with pytest.raises(DatabaseError):
        await listed.remove(INFO_HASH)
    assert INFO_HASH in whitelist


async def test_a_failed_load_leaves_memory_as_it_was(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable, database: Database
) -> None:
    await listed.add(INFO_HASH)
    await database.add_to_whitelist(OTHER)
    table.is_broken = True
    with pytest.raises(DatabaseError):
        await listed.load()
    assert (INFO_HASH in whitelist, OTHER in whitelist) == (True, False)


async def test_two_additions_of_one_torrent_at_once_add_it_once(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await asyncio.gather(listed.add(INFO_HASH), listed.add(INFO_HASH))
    assert (len(whitelist), await stored(table)) == (1, {INFO_HASH})


async def test_a_load_does_not_lose_a_torrent_added_meanwhile(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(OTHER)
    await overlapping(table, "load_whitelist", listed.load(), listed.add(INFO_HASH))
    assert (INFO_HASH in whitelist, await stored(table)) == (True, {INFO_HASH, OTHER})


async def test_a_load_does_not_revive_a_torrent_removed_meanwhile(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(INFO_HASH)
    await overlapping(table, "load_whitelist", listed.load(), listed.remove(INFO_HASH))
    assert (INFO_HASH in whitelist, await stored(table)) == (False, set())


async def test_a_torrent_removed_while_it_is_added_stays_away(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await overlapping(table, "add_to_whitelist", listed.add(INFO_HASH), listed.remove(INFO_HASH))
    assert (INFO_HASH in whitelist, await stored(table)) == (False, set())


async def test_a_torrent_added_while_it_is_removed_stays(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(INFO_HASH)
    await overlapping(table, "remove_from_whitelist", listed.remove(INFO_HASH), listed.add(INFO_HASH))
    assert (INFO_HASH in whitelist, await stored(table)) == (True, {INFO_HASH})


async def test_a_torrent_whose_caller_gave_up_is_still_added(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    table.hold("add_to_whitelist")
    caller = asyncio.ensure_future(listed.add(INFO_HASH))
    await give_up(caller, listed, table)
    assert (INFO_HASH in whitelist, await stored(table)) == (True, {INFO_HASH})


async def test_a_torrent_whose_caller_gave_up_is_still_removed(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable
) -> None:
    await listed.add(INFO_HASH)
    table.hold("remove_from_whitelist")
    caller = asyncio.ensure_future(listed.remove(INFO_HASH))
    await give_up(caller, listed, table)
    assert (INFO_HASH in whitelist, await stored(table)) == (False, set())


async def test_a_load_whose_caller_gave_up_ends_as_a_whole(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable, database: Database
) -> None:
    for number in range(5):
        await database.add_to_whitelist(InfoHash(bytes([number]) * 20))
    table.hold("load_whitelist")
    caller = asyncio.ensure_future(listed.load())
    await give_up(caller, listed, table)
    assert len(whitelist) == 5


async def overlapping(
    table: HeldTable, held: str, first: Coroutine[None, None, None], second: Coroutine[None, None, None]
) -> None:
    """Begin `second` while `first` is held up after its method `held`, and let both end."""
    table.hold(held)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first)
        await table.reached.wait()
        tasks.create_task(second)
        for _ in range(20):  # turns enough for all of it, if nothing made it wait
            await asyncio.sleep(0)
        table.released.set()


async def give_up(caller: asyncio.Future[None], listed: ListedTorrents, table: HeldTable) -> None:
    """Cancel `caller` in the middle of its change, then let the change go on to its end."""
    await table.reached.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    table.released.set()
    await listed.remove(InfoHash(b"\xff" * 20))  # has its turn when the change has ended


@pytest.mark.parametrize("is_listed", [False, True])
async def test_a_change_in_doubt_is_undone(
    listed: ListedTorrents, whitelist: Whitelist, table: HeldTable, is_listed: bool
) -> None:
    if is_listed:
        await listed.add(INFO_HASH)
    table.is_silent = True
    with pytest.raises(ChangeInDoubt):
        await (listed.remove(INFO_HASH) if is_listed else listed.add(INFO_HASH))
    assert (INFO_HASH in await stored(table)) is not is_listed
    await listed.changes.settle()
    assert (INFO_HASH in await stored(table)) is is_listed
    assert (INFO_HASH in whitelist) is is_listed
