import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from tests.faulty_tables import FaultyTable
from tests.forms import make_swarms, make_whitelist
from torrust_py.core.blacklist import Blacklist, Listed, check_reason
from torrust_py.core.database import BlacklistEntry, BlacklistTable, Database
from torrust_py.core.errors import BadReason, Blacklisted, ChangeInDoubt, DatabaseError, ListedByFile
from torrust_py.core.swarms import Swarms
from torrust_py.core.types import InfoHash, Peer
from torrust_py.core.whitelist import Whitelist

INFO_HASH = InfoHash(bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422"))
OTHER = InfoHash(b"\2" * 20)
THIRD = InfoHash(b"\3" * 20)

MakePeer = Callable[..., Peer]


class Table(FaultyTable):
    """The table of a database; its changes can fail, or not be confirmed."""

    def __init__(self, table: BlacklistTable) -> None:
        super().__init__()
        self._table = table

    async def load_blacklist(self) -> AsyncIterator[Sequence[BlacklistEntry]]:
        self.fail_if_broken()
        async for entries in self._table.load_blacklist():
            yield entries

    async def add_to_blacklist(self, entries: Sequence[BlacklistEntry]) -> None:
        self.fail_if_broken()
        await self._table.add_to_blacklist(entries)
        self.confirm()

    async def remove_from_blacklist(self, info_hash: InfoHash) -> None:
        self.fail_if_broken()
        await self._table.remove_from_blacklist(info_hash)
        self.confirm()

    async def restore_in_blacklist(
        self, info_hashes: Sequence[InfoHash], kept: Sequence[BlacklistEntry]
    ) -> None:
        await self._table.restore_in_blacklist(info_hashes, kept)

    async def remove_expired_from_blacklist(self, unix_now: int) -> None:
        self.fail_if_broken()
        await self._table.remove_expired_from_blacklist(unix_now)


@pytest.fixture
def table(database: Database) -> Table:
    return Table(database)


@pytest.fixture
def refused(form: str) -> Whitelist:
    return make_whitelist(form)


@pytest.fixture
def swarms(form: str) -> Swarms:
    return make_swarms(form)()


@pytest.fixture
def blacklist(table: Table, refused: Whitelist, swarms: Swarms) -> Blacklist:
    return Blacklist(table, refused, swarms)


async def stored(table: BlacklistTable) -> list[BlacklistEntry]:
    return sorted([entry async for entries in table.load_blacklist() for entry in entries])


def file_of(blacklist: Blacklist, *info_hashes: InfoHash) -> Whitelist:
    made = blacklist.new_file()
    for info_hash in info_hashes:
        made.add(info_hash)
    return made


def expire(blacklist: Blacklist, unix_now: float) -> None:
    for _ in blacklist.expire(unix_now):
        pass


# --- the database


async def test_a_listed_torrent_is_refused_with_its_reason(blacklist: Blacklist, table: Table) -> None:
    entry = BlacklistEntry(INFO_HASH, "why", 77)
    await blacklist.add([entry])
    with pytest.raises(Blacklisted, match=f"^The torrent: {INFO_HASH.hex()}, is blacklisted: why$"):
        blacklist.check(INFO_HASH)
    assert (OTHER in blacklist, len(blacklist), await stored(table)) == (False, 1, [entry])
    assert blacklist.listed(INFO_HASH) == Listed(INFO_HASH, "why", 77, True, False)


async def test_what_is_listed_again_is_known_anew(blacklist: Blacklist, table: Table) -> None:
    await blacklist.add([BlacklistEntry(INFO_HASH, "why", 77)])
    await blacklist.add([BlacklistEntry(INFO_HASH)])
    assert await stored(table) == [BlacklistEntry(INFO_HASH)]
    assert blacklist.listed(INFO_HASH) == Listed(INFO_HASH, None, None, True, False)


async def test_a_removed_torrent_is_served(blacklist: Blacklist, table: Table) -> None:
    await blacklist.add([BlacklistEntry(INFO_HASH, "why")])
    await blacklist.remove(INFO_HASH)
    await blacklist.remove(OTHER)
    blacklist.check(INFO_HASH)
    assert (blacklist.listed(INFO_HASH), len(blacklist), await stored(table)) == (None, 0, [])


async def test_what_fails_changes_nothing(blacklist: Blacklist, table: Table) -> None:
    await blacklist.add([BlacklistEntry(INFO_HASH)])
    table.is_broken = True
    with pytest.raises(DatabaseError):
        await blacklist.add([BlacklistEntry(OTHER), BlacklistEntry(THIRD)])
    with pytest.raises(DatabaseError):
        await blacklist.remove(INFO_HASH)
    assert [one in blacklist for one in (INFO_HASH, OTHER, THIRD)] == [True, False, False]


async def test_an_addition_in_doubt_is_undone(blacklist: Blacklist, table: Table) -> None:
    before = BlacklistEntry(INFO_HASH, "before", 7)
    await blacklist.add([before])
    table.is_silent = True
    with pytest.raises(ChangeInDoubt):
        await blacklist.add([BlacklistEntry(INFO_HASH, "after"), BlacklistEntry(OTHER)])
    assert len(await stored(table)) == 2
    await blacklist.changes.settle()
    assert (await stored(table), OTHER in blacklist) == ([before], False)


async def test_a_removal_in_doubt_is_undone(blacklist: Blacklist, table: Table) -> None:
    await blacklist.add([BlacklistEntry(INFO_HASH)])
    table.is_silent = True
    with pytest.raises(ChangeInDoubt):
        await blacklist.remove(INFO_HASH)
    await blacklist.changes.settle()
    assert (await stored(table), INFO_HASH in blacklist) == ([BlacklistEntry(INFO_HASH)], True)


async def test_what_has_not_expired_is_loaded(blacklist: Blacklist, database: Database) -> None:
    await database.add_to_blacklist(
        [BlacklistEntry(INFO_HASH, "why"), BlacklistEntry(OTHER, None, 100), BlacklistEntry(THIRD, None, 101)]
    )
    await blacklist.load(100)
    assert [one in blacklist for one in (INFO_HASH, OTHER, THIRD)] == [True, False, True]
    assert blacklist.of_database == 2


# --- until when


async def test_a_listing_ends_at_its_time(blacklist: Blacklist, table: Table) -> None:
    await blacklist.add([BlacklistEntry(INFO_HASH, "why", 100), BlacklistEntry(OTHER, None, 101)])
    expire(blacklist, 99.9)
    assert (len(blacklist), blacklist.ended) == (2, 0)
    expire(blacklist, 100)
    assert (INFO_HASH in blacklist, OTHER in blacklist, blacklist.ended) == (False, True, 1)
    await blacklist.remove_expired(100.9)
    assert await stored(table) == [BlacklistEntry(OTHER, None, 101)]


async def test_the_end_that_was_said_last_counts(blacklist: Blacklist) -> None:
    for info_hash, ends in ((INFO_HASH, (100, 200)), (OTHER, (200, 100)), (THIRD, (100, None))):
        for end in ends:
            await blacklist.add([BlacklistEntry(info_hash, None, end)])
    expire(blacklist, 150)
    assert [one in blacklist for one in (INFO_HASH, OTHER, THIRD)] == [True, False, True]
    expire(blacklist, 250)
    assert [one in blacklist for one in (INFO_HASH, OTHER, THIRD)] == [False, False, True]


async def test_a_removed_torrent_that_is_listed_anew_does_not_end_with_the_old(blacklist: Blacklist) -> None:
    await blacklist.add([BlacklistEntry(INFO_HASH, None, 100)])
    await blacklist.remove(INFO_HASH)
    await blacklist.add([BlacklistEntry(INFO_HASH)])
    expire(blacklist, 150)
    assert INFO_HASH in blacklist


@pytest.mark.parametrize("database", ["memory"], indirect=True)
async def test_many_end_in_steps(blacklist: Blacklist) -> None:
    entries = [BlacklistEntry(InfoHash(number.to_bytes(20)), None, 100) for number in range(2000)]
    await blacklist.add(entries)
    assert len(list(blacklist.expire(100))) == 4
    assert len(blacklist) == 0


# --- the file


async def test_what_the_file_held_and_no_longer_holds_is_served(blacklist: Blacklist) -> None:
    await blacklist.take_file(file_of(blacklist, INFO_HASH, OTHER))
    await blacklist.take_file(file_of(blacklist, OTHER, THIRD))
    assert [one in blacklist for one in (INFO_HASH, OTHER, THIRD)] == [False, True, True]
    assert blacklist.listed(OTHER) == Listed(OTHER, None, None, False, True)


async def test_a_torrent_is_refused_until_it_is_in_neither(blacklist: Blacklist) -> None:
    await blacklist.take_file(file_of(blacklist, INFO_HASH))
    await blacklist.add([BlacklistEntry(INFO_HASH, "why", 100)])
    expire(blacklist, 100)
    assert blacklist.listed(INFO_HASH) == Listed(INFO_HASH, None, None, False, True)
    await blacklist.add([BlacklistEntry(INFO_HASH, "why")])
    await blacklist.take_file(file_of(blacklist))
    assert blacklist.listed(INFO_HASH) == Listed(INFO_HASH, "why", None, True, False)
    await blacklist.remove(INFO_HASH)
    assert INFO_HASH not in blacklist


async def test_what_the_file_alone_has_is_not_removed(blacklist: Blacklist, table: Table) -> None:
    await blacklist.take_file(file_of(blacklist, INFO_HASH))
    table.is_broken = True  # nor asked for
    with pytest.raises(ListedByFile, match=INFO_HASH.hex()):
        await blacklist.remove(INFO_HASH)
    assert INFO_HASH in blacklist


@pytest.mark.parametrize("database", ["memory"], indirect=True)
async def test_a_file_may_come_while_the_database_changes(blacklist: Blacklist) -> None:
    hashes = [InfoHash(number.to_bytes(20)) for number in range(3000)]
    await blacklist.take_file(file_of(blacklist, *hashes[:2000]))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(blacklist.take_file(file_of(blacklist, *hashes[1000:])))
        tasks.create_task(blacklist.add(list(map(BlacklistEntry, hashes[:500]))))
    assert [one in blacklist for one in hashes] == [True] * 500 + [False] * 500 + [True] * 2000


# --- the peers


async def test_peers_of_a_listed_torrent_leave_at_once(
    blacklist: Blacklist, swarms: Swarms, make_peer: MakePeer, announce: Callable[..., object]
) -> None:
    for info_hash in (INFO_HASH, OTHER, THIRD):
        announce(swarms, make_peer(1), info_hash=info_hash)
    await blacklist.add([BlacklistEntry(INFO_HASH)])
    await blacklist.take_file(file_of(blacklist, OTHER))
    assert [one in swarms for one in (INFO_HASH, OTHER, THIRD)] == [False, False, True]


async def test_peers_that_came_with_a_snapshot_are_dropped(
    blacklist: Blacklist, swarms: Swarms, make_peer: MakePeer, announce: Callable[..., object]
) -> None:
    await blacklist.add([BlacklistEntry(INFO_HASH)])
    for info_hash in (INFO_HASH, OTHER):
        announce(swarms, make_peer(1), info_hash=info_hash)
    await blacklist.drop_peers()
    assert (INFO_HASH in swarms, OTHER in swarms) == (False, True)


# --- why


@pytest.mark.parametrize("reason", ["", "a" * 500, "é" * 250, "\N{FAMILY}\u200d", "a\u00a0b", '"\\'])
def test_a_reason_is_a_line_of_text(reason: str) -> None:
    check_reason(reason)


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("a" * 501, "is longer than 500 bytes"),
        ("é" * 251, "is longer than 500 bytes"),
        *(
            (text, "has a control character")
            for text in ("\0", "a\nb", "\x1b[1m", "\x7f", "\u2028", "\ud800")
        ),
    ],
)
def test_what_clients_cannot_be_told_is_no_reason(reason: str, why: str) -> None:
    with pytest.raises(BadReason, match=f"^{why}$"):
        check_reason(reason)


def test_the_longest_refusal_fits_into_a_datagram() -> None:
    assert len(str(Blacklisted(INFO_HASH, "é" * 250)).encode()) + len("tracker server error: ") + 8 < 1452
