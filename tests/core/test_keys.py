import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faulty_tables import FaultyTable
from torrust_py.core.database import Database, KeyTable, PeerKey
from torrust_py.core.errors import BadKey, ChangeInDoubt, DatabaseError, KeyExpired, KeyUnknown
from torrust_py.core.keys import Keys, check_key, random_key

KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
OTHER_KEY = "xqD6NWH9TcKrOCwDmqcdH5hF5RrbL0A6"


class HeldTable(FaultyTable):
    """A key table whose calls can be held up after their work, before they return; or can fail."""

    def __init__(self, table: KeyTable) -> None:
        super().__init__()
        self._table = table

    async def load_keys(self) -> AsyncIterator[Sequence[PeerKey]]:
        async for rows in self._table.load_keys():
            self.fail_if_broken()
            await self.hold_up("load_keys")
            yield rows

    async def add_key(self, key: PeerKey) -> None:
        self.fail_if_broken()
        await self._table.add_key(key)
        self.confirm()
        await self.hold_up("add_key")

    async def remove_key(self, key: str) -> None:
        self.fail_if_broken()
        await self._table.remove_key(key)
        self.confirm()
        await self.hold_up("remove_key")

    async def restore_key(self, key: str, kept: PeerKey | None) -> None:
        self.fail_if_broken()
        await self._table.restore_key(key, kept)


@pytest.fixture
def table(database: Database) -> HeldTable:
    return HeldTable(database)


@pytest.fixture
def keys(table: HeldTable) -> Keys:
    return Keys(table)


async def stored(table: KeyTable) -> set[PeerKey]:
    return {key async for rows in table.load_keys() for key in rows}


def is_known(keys: Keys, key: str) -> bool:
    try:
        keys.check(key, 0)
    except KeyUnknown:
        return False
    return True


@pytest.mark.clause("5.4.1")
def test_a_key_of_32_letters_and_digits_is_well_formed() -> None:
    check_key(KEY)


@pytest.mark.clause("5.4.2")
@pytest.mark.parametrize("key", ["", KEY[:-1], KEY + "a", "ä" * 31])
def test_a_key_has_32_bytes(key: str) -> None:
    with pytest.raises(BadKey, match=r"^Invalid key length\. Key must be have 32 chars$"):
        check_key(key)


@pytest.mark.clause("5.4.3")
@pytest.mark.parametrize("key", [KEY[:-1] + "%", KEY[:-1] + " ", KEY[:-1] + "\n", "ä" * 16, "٣" * 16])
def test_a_key_has_ascii_letters_and_digits_only(key: str) -> None:
    expected = r"^Invalid chars for key\. Key can only alphanumeric chars \(0-9, a-z, A-Z\)$"
    with pytest.raises(BadKey, match=expected):
        check_key(key)


@pytest.mark.clause("5.4.1")
@given(st.text(min_size=30, max_size=34) | st.text(ascii_letters + digits, min_size=31, max_size=33))
def test_exactly_what_torrust_calls_a_key_is_one(text: str) -> None:
    is_key = len(text) == 32 and set(text) <= set(ascii_letters + digits)
    try:
        check_key(text)
    except BadKey:
        assert not is_key
    else:
        assert is_key


def test_a_surrogate_in_a_key_is_refused() -> None:
    with pytest.raises(BadKey):
        check_key("\udc80" * 32)


@pytest.mark.clause("5.4.1")
def test_random_keys_are_well_formed_and_differ() -> None:
    made = {random_key() for _ in range(100)}
    for key in made:
        check_key(key)
    assert len(made) == 100


async def test_an_unknown_key_admits_nobody(keys: Keys) -> None:
    with pytest.raises(KeyUnknown, match=f"^Failed to read key: {KEY}$"):
        keys.check(KEY, 0)


@pytest.mark.clause("5.4.4", "12.5.6")
async def test_a_key_admits_until_its_last_second(keys: Keys) -> None:
    await keys.add(PeerKey(KEY, valid_until=1019))
    keys.check(KEY, 1010)
    keys.check(KEY, 1019)


@pytest.mark.clause("5.4.4", "5.4.8", "12.5.6")
async def test_a_key_is_expired_after_its_last_second(keys: Keys) -> None:
    await keys.add(PeerKey(KEY, valid_until=1019))
    with pytest.raises(KeyExpired, match=r"^Key has expired$"):
        keys.check(KEY, 1019.1)


@pytest.mark.clause("5.4.5")
async def test_a_permanent_key_never_expires(keys: Keys) -> None:
    await keys.add(PeerKey(KEY, valid_until=None))
    keys.check(KEY, 2.0**40)


@pytest.mark.clause("5.4.6", "12.5.7")
async def test_expired_keys_admit_where_expiration_is_not_checked(table: HeldTable) -> None:
    keys = Keys(table, check_expiration=False)
    await keys.add(PeerKey(KEY, valid_until=1019))
    keys.check(KEY, 1020)


async def test_an_added_key_is_in_memory_and_in_the_database(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, 1019))
    assert (len(keys), await stored(table)) == (1, {PeerKey(KEY, 1019)})


async def test_a_removed_key_is_gone_from_memory_and_database(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, None))
    await keys.remove(KEY)
    assert (len(keys), await stored(table)) == (0, set())


@pytest.mark.clause("5.4.10")
async def test_removing_an_unknown_key_fails(keys: Keys) -> None:
    with pytest.raises(DatabaseError, match=r"^Failed to remove record from \w+ database, error-code: 0$"):
        await keys.remove(KEY)


async def test_a_key_only_the_database_knows_can_be_removed(keys: Keys, database: Database) -> None:
    await database.add_key(PeerKey(KEY, None))
    await keys.remove(KEY)
    assert await stored(database) == set()


async def test_adding_a_key_twice_fails_and_keeps_the_first(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, 1019))
    with pytest.raises(DatabaseError, match=r"UNIQUE constraint failed: keys\.key$"):
        await keys.add(PeerKey(KEY, None))
    with pytest.raises(KeyExpired):
        keys.check(KEY, 1020)
    assert await stored(table) == {PeerKey(KEY, 1019)}


@pytest.mark.clause("5.4.11")
async def test_loading_replaces_memory_by_what_the_database_holds(keys: Keys, database: Database) -> None:
    await keys.add(PeerKey(KEY, None))
    await database.remove_key(KEY)
    await database.add_key(PeerKey(OTHER_KEY, None))
    await keys.load()
    assert (is_known(keys, KEY), is_known(keys, OTHER_KEY)) == (False, True)


@pytest.mark.clause("5.4.8")
async def test_loaded_keys_expire_as_before(keys: Keys, database: Database) -> None:
    await database.add_key(PeerKey(KEY, 1019))
    await keys.load()
    keys.check(KEY, 1019)
    with pytest.raises(KeyExpired):
        keys.check(KEY, 1020)


async def test_many_keys_are_loaded(keys: Keys, database: Database) -> None:
    for number in range(9):
        await database.add_key(PeerKey(f"{number:032}", number))
    await keys.load()
    assert len(keys) == 9


@pytest.mark.clause("5.4.9")
async def test_a_failed_addition_leaves_memory_as_it_was(keys: Keys, table: HeldTable) -> None:
    table.is_broken = True
    with pytest.raises(DatabaseError):
        await keys.add(PeerKey(KEY, None))
    assert not is_known(keys, KEY)


@pytest.mark.clause("5.4.10")
async def test_a_failed_removal_leaves_memory_as_it_was(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, None))
    table.is_broken = True
    with pytest.raises(DatabaseError):
        await keys.remove(KEY)
    assert is_known(keys, KEY)


async def test_a_failed_load_leaves_memory_as_it_was(
    keys: Keys, table: HeldTable, database: Database
) -> None:
    await keys.add(PeerKey(KEY, None))
    await database.add_key(PeerKey(OTHER_KEY, None))
    table.is_broken = True
    with pytest.raises(DatabaseError):
        await keys.load()
    assert (is_known(keys, KEY), is_known(keys, OTHER_KEY)) == (True, False)


async def test_of_two_additions_of_one_key_at_once_one_fails(keys: Keys, table: HeldTable) -> None:
    results = await asyncio.gather(
        keys.add(PeerKey(KEY, 1000)), keys.add(PeerKey(KEY, 2000)), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), DatabaseError]
    keys.check(KEY, 1000)
    with pytest.raises(KeyExpired):
        keys.check(KEY, 1001)
    assert await stored(table) == {PeerKey(KEY, 1000)}


async def test_of_two_removals_of_one_key_at_once_one_fails(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, None))
    results = await asyncio.gather(keys.remove(KEY), keys.remove(KEY), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), DatabaseError]
    assert (len(keys), await stored(table)) == (0, set())


async def test_a_load_does_not_lose_a_key_added_meanwhile(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(OTHER_KEY, None))
    await overlapping(table, "load_keys", keys.load(), keys.add(PeerKey(KEY, None)))
    assert (is_known(keys, KEY), len(await stored(table))) == (True, 2)


async def test_a_load_does_not_revive_a_key_removed_meanwhile(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, None))
    await overlapping(table, "load_keys", keys.load(), keys.remove(KEY))
    assert (is_known(keys, KEY), await stored(table)) == (False, set())


async def test_a_key_removed_while_it_is_added_stays_away(keys: Keys, table: HeldTable) -> None:
    await overlapping(table, "add_key", keys.add(PeerKey(KEY, None)), keys.remove(KEY))
    assert (is_known(keys, KEY), await stored(table)) == (False, set())


async def test_a_key_added_while_it_is_removed_stays(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, 1000))
    await overlapping(table, "remove_key", keys.remove(KEY), keys.add(PeerKey(KEY, 2000)))
    assert (is_known(keys, KEY), await stored(table)) == (True, {PeerKey(KEY, 2000)})


async def test_a_key_whose_caller_gave_up_is_still_added(keys: Keys, table: HeldTable) -> None:
    table.hold("add_key")
    caller = asyncio.ensure_future(keys.add(PeerKey(KEY, None)))
    await give_up(caller, keys, table)
    assert is_known(keys, KEY)
    assert await stored(table) == {PeerKey(KEY, None)}


async def test_a_key_whose_caller_gave_up_is_still_removed(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, None))
    table.hold("remove_key")
    caller = asyncio.ensure_future(keys.remove(KEY))
    await give_up(caller, keys, table)
    assert not is_known(keys, KEY)
    assert await stored(table) == set()


async def test_a_load_whose_caller_gave_up_ends_as_a_whole(
    keys: Keys, table: HeldTable, database: Database
) -> None:
    for number in range(5):
        await database.add_key(PeerKey(f"{number:032}", None))
    table.hold("load_keys")
    caller = asyncio.ensure_future(keys.load())
    await give_up(caller, keys, table)
    assert len(keys) == 5


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


async def give_up(caller: asyncio.Future[None], keys: Keys, table: HeldTable) -> None:
    """Cancel `caller` in the middle of its change, then let the change go on to its end."""
    await table.reached.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    table.released.set()
    with pytest.raises(DatabaseError):
        await keys.remove("unknown")  # has its turn when the change has ended


async def test_an_addition_in_doubt_is_undone(keys: Keys, table: HeldTable) -> None:
    table.is_silent = True
    with pytest.raises(ChangeInDoubt):
        await keys.add(PeerKey(KEY, None))
    assert await stored(table) == {PeerKey(KEY, None)}
    await keys.changes.settle()
    assert await stored(table) == set()
    assert not is_known(keys, KEY)


async def test_a_removal_in_doubt_is_undone(keys: Keys, table: HeldTable) -> None:
    await keys.add(PeerKey(KEY, 77))
    table.is_silent = True
    with pytest.raises(ChangeInDoubt):
        await keys.remove(KEY)
    assert await stored(table) == set()
    await keys.changes.settle()
    assert await stored(table) == {PeerKey(KEY, 77)}
    assert is_known(keys, KEY)
