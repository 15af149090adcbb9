import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from tests.servers import Store
from torrust_py.core.database import BlacklistEntry, Completed, Database, PeerKey
from torrust_py.core.errors import DatabaseError
from torrust_py.core.types import InfoHash
from torrust_py.databases import open_database

KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
OTHER_KEY = "xqD6NWH9TcKrOCwDmqcdH5hF5RrbL0A6"
INFO_HASH = InfoHash(bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422"))
OTHER = InfoHash(b"\2" * 20)

_Row = TypeVar("_Row")


async def all_of(batches: AsyncIterator[Sequence[_Row]]) -> list[_Row]:
    return [row async for rows in batches for row in rows]


@pytest.fixture
async def sql(store: Store) -> AsyncIterator[Database]:
    """`store`, open."""
    async with open_database(store.driver, store.path) as database:
        yield database


@pytest.fixture
async def sqlite(database_path: Path) -> AsyncIterator[Database]:
    async with open_database("sqlite3", str(database_path)) as database:
        yield database


@pytest.fixture
def shell(sqlite: Database, database_path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to the file of `sqlite`; each statement is committed at once."""
    with contextlib.closing(sqlite3.connect(database_path, isolation_level=None)) as connection:
        yield connection


# --- what every database does


async def test_a_new_database_is_empty(database: Database) -> None:
    assert await all_of(database.load_keys()) == []
    assert await all_of(database.load_whitelist()) == []
    assert await all_of(database.load_blacklist()) == []
    assert await all_of(database.load_completed()) == []


async def test_a_key_is_kept_with_its_end(database: Database) -> None:
    await database.add_key(PeerKey(KEY, 1795494830))
    assert await all_of(database.load_keys()) == [PeerKey(KEY, 1795494830)]


async def test_a_key_without_end_is_kept(database: Database) -> None:
    await database.add_key(PeerKey(KEY, None))
    assert await all_of(database.load_keys()) == [PeerKey(KEY, None)]


async def test_a_key_may_end_after_2038(database: Database) -> None:
    await database.add_key(PeerKey(KEY, 2**40))
    assert await all_of(database.load_keys()) == [PeerKey(KEY, 2**40)]


async def test_keys_differ_by_case(database: Database) -> None:
    await database.add_key(PeerKey("a" * 32, None))
    await database.add_key(PeerKey("A" * 32, None))
    await database.remove_key("a" * 32)
    assert await all_of(database.load_keys()) == [PeerKey("A" * 32, None)]


@pytest.mark.clause("5.6.11")
async def test_a_key_that_is_there_cannot_be_added(database: Database) -> None:
    await database.add_key(PeerKey(KEY, 1))
    expected = r"^The \w+ query was malformed: UNIQUE constraint failed: keys\.key$"
    with pytest.raises(DatabaseError, match=expected):
        await database.add_key(PeerKey(KEY, 2))
    assert await all_of(database.load_keys()) == [PeerKey(KEY, 1)]


async def test_only_the_removed_key_goes(database: Database) -> None:
    await database.add_key(PeerKey(KEY, None))
    await database.add_key(PeerKey(OTHER_KEY, None))
    await database.remove_key(KEY)
    assert await all_of(database.load_keys()) == [PeerKey(OTHER_KEY, None)]


@pytest.mark.clause("5.6.8", "5.6.11")
async def test_a_key_that_is_not_there_cannot_be_removed(database: Database) -> None:
    with pytest.raises(DatabaseError, match=r"^Failed to remove record from \w+ database, error-code: 0$"):
        await database.remove_key(KEY)


async def test_the_whitelist_holds_each_info_hash_once(database: Database) -> None:
    await database.add_to_whitelist(INFO_HASH)
    await database.add_to_whitelist(INFO_HASH)
    await database.add_to_whitelist(OTHER)
    assert sorted(await all_of(database.load_whitelist())) == [OTHER, INFO_HASH]


async def test_an_info_hash_leaves_the_whitelist_once_and_again(database: Database) -> None:
    await database.add_to_whitelist(INFO_HASH)
    await database.add_to_whitelist(OTHER)
    await database.remove_from_whitelist(INFO_HASH)
    await database.remove_from_whitelist(INFO_HASH)
    assert await all_of(database.load_whitelist()) == [OTHER]


async def test_the_blacklist_keeps_why_and_until_when(database: Database) -> None:
    entries = [
        BlacklistEntry(INFO_HASH, "é" * 250, 2**40),
        BlacklistEntry(OTHER),
    ]
    await database.add_to_blacklist(entries)
    assert sorted(await all_of(database.load_blacklist())) == sorted(entries)


async def test_what_is_on_the_blacklist_is_replaced(database: Database) -> None:
    await database.add_to_blacklist([BlacklistEntry(INFO_HASH, "one", 7), BlacklistEntry(OTHER, "kept")])
    await database.add_to_blacklist([BlacklistEntry(INFO_HASH)])
    assert sorted(await all_of(database.load_blacklist())) == [(OTHER, "kept", None), (INFO_HASH, None, None)]


async def test_an_info_hash_leaves_the_blacklist_once_and_again(database: Database) -> None:
    await database.add_to_blacklist([BlacklistEntry(INFO_HASH), BlacklistEntry(OTHER)])
    await database.remove_from_blacklist(INFO_HASH)
    await database.remove_from_blacklist(INFO_HASH)
    assert await all_of(database.load_blacklist()) == [BlacklistEntry(OTHER)]


@pytest.mark.slow
async def test_ten_thousand_are_put_on_the_blacklist_at_once(database: Database) -> None:
    entries = [BlacklistEntry(InfoHash(os.urandom(20)), "a reason", None) for _ in range(10_000)]
    start = time.monotonic()
    await database.add_to_blacklist(entries)
    await database.add_to_blacklist([entry._replace(valid_until=9) for entry in entries])
    assert time.monotonic() - start < 20, (
        "the API promises an answer within four seconds, on a machine of its own"
    )
    assert {entry.valid_until for entry in await all_of(database.load_blacklist())} == {9}
    assert len(await all_of(database.load_blacklist())) == 10_000


async def test_what_has_expired_leaves_the_blacklist(database: Database) -> None:
    third = BlacklistEntry(InfoHash(b"\3" * 20), None, 101)
    await database.add_to_blacklist([BlacklistEntry(INFO_HASH, None, 100), BlacklistEntry(OTHER), third])
    await database.remove_expired_from_blacklist(100)
    assert sorted(await all_of(database.load_blacklist())) == [BlacklistEntry(OTHER), third]


@pytest.mark.parametrize("is_there", [True, False])
async def test_the_blacklist_is_restored(database: Database, is_there: bool) -> None:
    await database.add_to_blacklist([BlacklistEntry(OTHER, "other")])
    if is_there:
        await database.add_to_blacklist([BlacklistEntry(INFO_HASH, "in doubt")])
    kept = BlacklistEntry(INFO_HASH, "why", 77)
    await database.restore_in_blacklist([INFO_HASH, OTHER], [kept])
    assert await all_of(database.load_blacklist()) == [kept]
    await database.restore_in_blacklist([INFO_HASH], [])
    assert await all_of(database.load_blacklist()) == []


async def test_a_torrent_is_refused_though_its_reason_cannot_be_told(
    sqlite: Database, shell: sqlite3.Connection
) -> None:
    rows = [("05" * 20, "two\nlines"), ("06" * 20, "long" * 200), ("07" * 20, b"\xff"), ("x", "no hash")]
    shell.executemany("INSERT INTO blacklist (info_hash, reason) VALUES (?, ?)", rows)
    listed = await all_of(sqlite.load_blacklist())
    assert listed == [BlacklistEntry(InfoHash(bytes([number]) * 20)) for number in (5, 6, 7)]


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_key_is_restored(database: Database, is_there: bool) -> None:
    await database.add_key(PeerKey(OTHER_KEY, None))
    if is_there:
        await database.add_key(PeerKey(KEY, 77))
    await database.restore_key(KEY, PeerKey(KEY, 77))
    assert sorted(await all_of(database.load_keys())) == [(KEY, 77), (OTHER_KEY, None)]
    await database.restore_key(KEY, None)
    assert await all_of(database.load_keys()) == [PeerKey(OTHER_KEY, None)]


@pytest.mark.parametrize("is_there", [True, False])
async def test_the_whitelist_is_restored(database: Database, is_there: bool) -> None:
    await database.add_to_whitelist(OTHER)
    if is_there:
        await database.add_to_whitelist(INFO_HASH)
    await database.restore_in_whitelist(INFO_HASH, listed=True)
    assert sorted(await all_of(database.load_whitelist())) == [OTHER, INFO_HASH]
    await database.restore_in_whitelist(INFO_HASH, listed=False)
    assert await all_of(database.load_whitelist()) == [OTHER]


@pytest.mark.clause("5.6.8")
async def test_completed_counters_are_kept_and_rise(database: Database) -> None:
    await database.save_completed([Completed(INFO_HASH, 1), Completed(OTHER, 0)])
    await database.save_completed([Completed(INFO_HASH, 5)])
    assert sorted(await all_of(database.load_completed())) == [(OTHER, 0), (INFO_HASH, 5)]


@pytest.mark.clause("5.6.3")
async def test_a_completed_counter_never_falls(database: Database) -> None:
    await database.save_completed([Completed(INFO_HASH, 7)])
    await database.save_completed([Completed(INFO_HASH, 5)])
    assert await all_of(database.load_completed()) == [Completed(INFO_HASH, 7)]


async def test_saving_the_same_counters_again_changes_nothing(database: Database) -> None:
    rows = [Completed(INFO_HASH, 7), Completed(OTHER, 3)]
    await database.save_completed(rows)
    await database.save_completed(rows)
    assert sorted(await all_of(database.load_completed())) == sorted(rows)


async def test_saving_no_counters_is_fine(database: Database) -> None:
    await database.save_completed([])
    assert await all_of(database.load_completed()) == []


async def test_a_secret_stays_what_it_was_made(database: Database) -> None:
    first = await database.load_secret("connection_ids", size=16)
    again = await database.load_secret("connection_ids", size=16)
    assert (len(first), again) == (16, first)


# --- what SQL adds to it

MISSING = {
    "sqlite3": "The Sqlite3 query was malformed: no such table: {}",
    "mysql": "The MySQL query was malformed: Table 'torrust_tracker.{}' doesn't exist",
    "postgresql": 'The PostgreSQL query was malformed: relation "{}" does not exist',
}


async def test_secrets_of_two_names_differ(sql: Database) -> None:
    one = await sql.load_secret("one", size=32)
    assert one != await sql.load_secret("two", size=32)


async def test_trackers_that_ask_for_a_secret_at_once_get_the_same(sql: Database, store: Store) -> None:
    async with open_database(store.driver, store.path) as other:
        loads = [database.load_secret("ids", size=16) for database in (sql, other) for _ in range(4)]
        assert len(set(await asyncio.gather(*loads))) == 1


@pytest.mark.parametrize("stored", ["", "ab", "zz" * 16, b"\0" * 16, 7])
async def test_a_secret_that_was_tampered_with_is_not_used(
    sqlite: Database, shell: sqlite3.Connection, stored: object
) -> None:
    shell.execute("INSERT INTO secrets VALUES ('ids', ?)", [stored])
    with pytest.raises(DatabaseError, match=r"table secrets .* 16 bytes .* ids; delete that row") as failure:
        await sqlite.load_secret("ids", size=16)
    assert "zz" not in str(failure.value)


@pytest.mark.clause("5.6.11")
async def test_an_insert_that_a_trigger_swallows_is_an_error(
    sqlite: Database, shell: sqlite3.Connection
) -> None:
    shell.execute("CREATE TRIGGER t BEFORE INSERT ON keys BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(DatabaseError, match=r"^Unable to insert record into Sqlite3 database$"):
        await sqlite.add_key(PeerKey(KEY, None))


async def test_an_integer_beyond_64_bits_is_an_error(sql: Database) -> None:
    with pytest.raises(DatabaseError, match=r"^The \w+ query was malformed: "):
        await sql.add_key(PeerKey(KEY, 2**63))


@pytest.mark.clause("5.6.11")
async def test_dropped_tables_fail_every_call(sql: Database, store: Store) -> None:
    for table in ("keys", "whitelist", "blacklist", "torrents", "secrets"):
        store.execute(f'DROP TABLE "{table}"')
    calls: dict[str, list[Awaitable[object]]] = {
        "keys": [all_of(sql.load_keys()), sql.add_key(PeerKey(KEY, None)), sql.remove_key(KEY)],
        "whitelist": [
            all_of(sql.load_whitelist()),
            sql.add_to_whitelist(INFO_HASH),
            sql.remove_from_whitelist(INFO_HASH),
        ],
        "blacklist": [
            all_of(sql.load_blacklist()),
            sql.add_to_blacklist([BlacklistEntry(INFO_HASH)]),
            sql.remove_from_blacklist(INFO_HASH),
            sql.restore_in_blacklist([INFO_HASH], []),
            sql.remove_expired_from_blacklist(1),
        ],
        "torrents": [all_of(sql.load_completed()), sql.save_completed([Completed(INFO_HASH, 1)])],
        "secrets": [sql.load_secret("ids", size=16)],
    }
    for table, failing in calls.items():
        for call in failing:
            with pytest.raises(DatabaseError) as failure:
                await call
            assert str(failure.value) == MISSING[store.driver].format(table)


async def test_an_error_shows_neither_statement_nor_values(sql: Database, store: Store) -> None:
    store.execute('DROP TABLE "keys"')
    with pytest.raises(DatabaseError) as failure:
        await sql.add_key(PeerKey(KEY, None))
    assert not any(word in str(failure.value) for word in (KEY, "INSERT", "Background", "sqlite3."))


async def test_the_cause_of_an_error_is_kept(sqlite: Database) -> None:
    await sqlite.add_key(PeerKey(KEY, None))
    with pytest.raises(DatabaseError) as failure:
        await sqlite.add_key(PeerKey(KEY, None))
    cause = failure.value.__cause__
    assert isinstance(getattr(cause, "orig", None), sqlite3.IntegrityError)


@pytest.mark.clause("5.6.11")
async def test_a_full_disk_is_reported_as_such(sqlite: Database, shell: sqlite3.Connection) -> None:
    pages = shell.execute("PRAGMA page_count").fetchone()[0]
    rows = [Completed(InfoHash(os.urandom(20)), 1) for _ in range(1000)]
    async with limited_pages(sqlite, pages):
        with pytest.raises(DatabaseError) as failure:
            await sqlite.save_completed(rows)
    assert str(failure.value) == "Failed to connect to Sqlite3 database: database or disk is full"


async def test_whether_it_answered_is_what_the_last_call_has_seen(
    sqlite: Database, shell: sqlite3.Connection
) -> None:
    await sqlite.add_key(PeerKey(KEY, None))
    assert (sqlite.state.answers, sqlite.state.done, sqlite.state.failed) == (True, 1, 0)
    with pytest.raises(DatabaseError):
        await sqlite.add_key(PeerKey(KEY, None))  # it is there already, which the database has said
    assert (sqlite.state.answers, sqlite.state.failed) == (True, 0)
    rows = [Completed(InfoHash(os.urandom(20)), 1) for _ in range(1000)]
    async with limited_pages(sqlite, shell.execute("PRAGMA page_count").fetchone()[0]):
        with pytest.raises(DatabaseError):
            await sqlite.save_completed(rows)
    assert (sqlite.state.answers, sqlite.state.failed) == (False, 1)
    await sqlite.remove_key(KEY)
    assert (sqlite.state.answers, sqlite.state.failed) == (True, 1)


@contextlib.asynccontextmanager
async def limited_pages(database: Database, pages: int) -> AsyncIterator[None]:
    """A file of `pages` pages cannot grow for the connection that `database` uses next."""
    engine = database._engine  # type: ignore[attr-defined]  # the limit holds for one connection only
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    yield


@pytest.mark.clause("5.2.12")
async def test_a_large_save_is_one_transaction(sql: Database, store: Store) -> None:
    rows = [Completed(InfoHash(number.to_bytes(20)), number) for number in range(2500)]
    await sql.save_completed(rows[:1000])
    raised = [Completed(info_hash, completed + 5) for info_hash, completed in rows]
    with pytest.raises(DatabaseError, match=r"^The \w+ query was malformed: "):
        await sql.save_completed([*raised, Completed(OTHER, 2**63)])  # which no server takes
    assert await all_of(sql.load_completed()) == rows[:1000]


async def test_saving_a_counter_again_uses_no_id(sql: Database, store: Store) -> None:
    for completed in range(5):
        await sql.save_completed([Completed(INFO_HASH, completed)])
    await sql.save_completed([Completed(INFO_HASH, 9), Completed(OTHER, 1)])
    assert store.execute("SELECT id, completed FROM torrents ORDER BY id") == [(1, 9), (2, 1)]


async def test_more_rows_than_a_batch_are_loaded_each_once(sql: Database, store: Store) -> None:
    rows = [Completed(InfoHash(number.to_bytes(20)), number) for number in range(2500)]
    await sql.save_completed(rows)
    store.execute("DELETE FROM torrents WHERE completed % 7 = 0")  # gaps between the ids
    loaded = await all_of(sql.load_completed())
    assert loaded == [row for row in rows if row.completed % 7]


async def test_rows_that_stay_are_loaded_once_while_others_come_and_go(sql: Database, store: Store) -> None:
    stay = [Completed(InfoHash(number.to_bytes(20)), number) for number in range(2500)]
    await sql.save_completed(stay)
    await sql.save_completed([Completed(OTHER, 1)])
    loaded: list[Completed] = []
    async for rows in sql.load_completed():
        loaded += rows
        store.execute("DELETE FROM torrents WHERE info_hash = :other", other=OTHER.hex())
        await sql.save_completed([Completed(InfoHash(os.urandom(20)), 0)])
    staying = set(stay)
    assert [row for row in loaded if row in staying] == stay


async def test_changes_have_their_turn_during_a_load(sql: Database) -> None:
    await sql.save_completed([Completed(InfoHash(number.to_bytes(20)), number) for number in range(2500)])
    async for _ in sql.load_completed():
        await sql.add_to_whitelist(INFO_HASH)
        await sql.remove_from_whitelist(INFO_HASH)


async def test_upper_case_info_hashes_are_read(sql: Database, store: Store) -> None:
    store.execute("INSERT INTO whitelist (info_hash) VALUES (:upper)", upper=INFO_HASH.hex().upper())
    store.execute(
        "INSERT INTO torrents (info_hash, completed) VALUES (:upper, 5)", upper=INFO_HASH.hex().upper()
    )
    assert await all_of(sql.load_whitelist()) == [INFO_HASH]
    assert await all_of(sql.load_completed()) == [Completed(INFO_HASH, 5)]


async def test_upper_case_info_hashes_can_be_removed(sql: Database, store: Store) -> None:
    store.execute("INSERT INTO whitelist (info_hash) VALUES (:upper)", upper=INFO_HASH.hex().upper())
    await sql.remove_from_whitelist(INFO_HASH)
    assert await all_of(sql.load_whitelist()) == []


@pytest.mark.clause("5.6.12")
@pytest.mark.parametrize("key", ["", "too short", KEY[:-1] + "%", "\u0663" * 32])
async def test_what_is_no_key_is_left_out(sql: Database, store: Store, key: str) -> None:
    store.execute('INSERT INTO "keys" ("key", valid_until) VALUES (:key, 1)', key=key)
    await sql.add_key(PeerKey(KEY, None))
    assert await all_of(sql.load_keys()) == [PeerKey(KEY, None)]


@pytest.mark.clause("5.6.12")
@pytest.mark.parametrize("info_hash", ["", "INVALID INFOHASH", "0" * 39, "0" * 39 + "&", "\u0663" * 40])
async def test_what_is_no_info_hash_is_left_out(sql: Database, store: Store, info_hash: str) -> None:
    for table in ("whitelist", "torrents"):
        store.execute(f"INSERT INTO {table} (info_hash) VALUES (:info_hash)", info_hash=info_hash)
    await sql.add_to_whitelist(INFO_HASH)
    await sql.save_completed([Completed(INFO_HASH, 1)])
    assert await all_of(sql.load_whitelist()) == [INFO_HASH]
    assert await all_of(sql.load_completed()) == [Completed(INFO_HASH, 1)]


@pytest.mark.clause("5.6.12")
@pytest.mark.parametrize(
    ("key", "valid_until"),
    [
        ("too short", 1),
        (KEY + "x", 1),
        (KEY[:-1] + "%", 1),
        (b"\xff" * 32, 1),
        (7, 1),
        (OTHER_KEY, "tomorrow"),
        (OTHER_KEY, 1.5),
    ],
)
async def test_malformed_keys_are_left_out(
    sqlite: Database, shell: sqlite3.Connection, key: object, valid_until: object
) -> None:
    shell.execute("INSERT INTO keys (key, valid_until) VALUES (?, ?)", [key, valid_until])
    await sqlite.add_key(PeerKey(KEY, None))
    assert await all_of(sqlite.load_keys()) == [PeerKey(KEY, None)]


@pytest.mark.clause("5.6.12")
@pytest.mark.parametrize(
    "info_hash",
    [
        "",
        "INVALID INFOHASH",
        "0" * 39,
        "0" * 41,
        "0" * 39 + "&",
        "00 " * 13 + "0",
        " ".join(["00"] * 20),
        "٣" * 40,
        b"\0" * 20,
        7,
    ],
)
async def test_malformed_info_hashes_are_left_out(
    sqlite: Database, shell: sqlite3.Connection, info_hash: object
) -> None:
    shell.execute("INSERT INTO whitelist (info_hash) VALUES (?)", [info_hash])
    await sqlite.add_to_whitelist(INFO_HASH)
    assert await all_of(sqlite.load_whitelist()) == [INFO_HASH]


@pytest.mark.clause("5.6.12")
@pytest.mark.parametrize("completed", [-1, 2**32, 1.5, "many", b"\1"])
async def test_malformed_counters_are_left_out(
    sqlite: Database, shell: sqlite3.Connection, completed: object
) -> None:
    shell.execute("INSERT INTO torrents (info_hash, completed) VALUES (?, ?)", [OTHER.hex(), completed])
    await sqlite.save_completed([Completed(INFO_HASH, 2**32 - 1)])
    assert await all_of(sqlite.load_completed()) == [Completed(INFO_HASH, 2**32 - 1)]


async def test_text_that_is_not_utf_8_is_left_out(sqlite: Database, shell: sqlite3.Connection) -> None:
    shell.execute("INSERT INTO keys (key) VALUES (CAST(x'ff61' AS TEXT))")
    await sqlite.add_key(PeerKey(KEY, None))
    assert await all_of(sqlite.load_keys()) == [PeerKey(KEY, None)]


async def test_malformed_rows_stay_in_the_database(sql: Database, store: Store) -> None:
    store.execute("""INSERT INTO "keys" ("key") VALUES ('bad')""")
    await all_of(sql.load_keys())
    assert store.execute('SELECT count(*) FROM "keys"') == [(1,)]


@pytest.mark.clause("5.6.12")
async def test_one_warning_a_load_tells_of_malformed_rows(
    sql: Database, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"id": 7, "info_hash": "first\nbad"}, {"id": 8, "info_hash": "second"}]
    store.execute("INSERT INTO whitelist (id, info_hash) VALUES (:id, :info_hash)", rows)
    await all_of(sql.load_whitelist())
    expected = "Left out 2 malformed rows of table whitelist; the first: id 7, its info_hash is 'first\\nbad'"
    assert caplog.record_tuples == [("torrust_tracker::core::databases", logging.WARNING, expected)]


async def test_the_warning_does_not_show_a_key(
    sql: Database, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.execute('INSERT INTO "keys" ("key") VALUES (:key)', key=KEY[:-1])
    await all_of(sql.load_keys())
    assert "Invalid key length" in caplog.text
    assert KEY[:-1] not in caplog.text


async def test_a_load_without_malformed_rows_does_not_warn(
    sql: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await sql.add_key(PeerKey(KEY, None))
    await all_of(sql.load_keys())
    assert caplog.record_tuples == []


async def test_no_statement_is_logged_at_any_level(sql: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await sql.add_key(PeerKey(KEY, None))
    secret = await sql.load_secret("ids", size=16)
    assert KEY not in caplog.text
    assert secret.hex() not in caplog.text


# --- when the file is locked, callers give up, and at the end


async def test_closing_waits_for_the_calls_under_way(store: Store) -> None:
    async with open_database(store.driver, store.path) as database:
        call = asyncio.ensure_future(database.add_key(PeerKey(KEY, None)))
        await asyncio.sleep(0)  # it has begun
    assert call.done()
    await call


async def test_a_closed_database_refuses_calls(store: Store) -> None:
    async with open_database(store.driver, store.path) as database:
        pass
    expected = r"^Failed to connect to \w+ database: it has been closed$"
    with pytest.raises(DatabaseError, match=expected):
        await database.add_key(PeerKey(KEY, None))
    with pytest.raises(DatabaseError, match=expected):
        await all_of(database.load_keys())


async def test_a_save_whose_caller_gave_up_is_kept_whole_or_not_at_all(sql: Database, store: Store) -> None:
    rows = [Completed(InfoHash(number.to_bytes(20)), number) for number in range(2500)]
    save = asyncio.ensure_future(sql.save_completed(rows))
    await asyncio.sleep(0)
    save.cancel()
    with pytest.raises(asyncio.CancelledError):
        await save
    assert len(await all_of(sql.load_completed())) in (0, 2500)
    await sql.save_completed(rows)
    assert len(await all_of(sql.load_completed())) == 2500


@pytest.mark.slow
async def test_a_change_gives_up_within_four_seconds_while_the_file_is_locked(
    sqlite: Database, shell: sqlite3.Connection
) -> None:
    shell.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(DatabaseError, match=r"^Failed to connect to Sqlite3 database: database is locked$"):
        await sqlite.add_key(PeerKey(KEY, None))
    assert time.monotonic() - began < 4
    shell.execute("ROLLBACK")
    await sqlite.add_key(PeerKey(KEY, None))
    assert await all_of(sqlite.load_keys()) == [PeerKey(KEY, None)]


@pytest.mark.slow
async def test_changes_at_once_all_give_up_within_four_seconds_while_the_file_is_locked(
    sqlite: Database, shell: sqlite3.Connection
) -> None:
    shell.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    changes = [sqlite.add_key(PeerKey(f"{number:032}", None)) for number in range(8)]
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert time.monotonic() - began < 4
    assert {type(result) for result in results} == {DatabaseError}


async def test_a_load_works_while_the_file_is_locked_for_writing(
    sqlite: Database, shell: sqlite3.Connection
) -> None:
    await sqlite.add_key(PeerKey(KEY, None))
    shell.execute("BEGIN IMMEDIATE")
    assert await all_of(sqlite.load_keys()) == [PeerKey(KEY, None)]


async def test_a_change_waits_for_a_lock_that_is_released(
    sqlite: Database, shell: sqlite3.Connection
) -> None:
    shell.execute("BEGIN IMMEDIATE")
    change = asyncio.ensure_future(sqlite.add_key(PeerKey(KEY, None)))
    asyncio.get_running_loop().call_later(0.02, shell.execute, "ROLLBACK")
    await change
    assert await all_of(sqlite.load_keys()) == [PeerKey(KEY, None)]


@pytest.mark.slow
async def test_a_change_whose_caller_gave_up_in_front_of_a_lock_holds_up_nobody(
    sqlite: Database, shell: sqlite3.Connection
) -> None:
    shell.execute("BEGIN IMMEDIATE")
    changes = [asyncio.ensure_future(sqlite.add_key(PeerKey(f"{n:032}", None))) for n in range(4)]
    asyncio.get_running_loop().call_later(0.1, lambda: [change.cancel() for change in changes])
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError}
    shell.execute("ROLLBACK")
    await sqlite.add_key(PeerKey(KEY, None))
    assert await all_of(sqlite.load_keys()) == [PeerKey(KEY, None)]


@pytest.mark.slow
async def test_100_000_keys_are_loaded(sql: Database, store: Store) -> None:
    stored = [PeerKey(f"{number:032}", number) for number in range(100_000)]
    rows = [key._asdict() for key in stored]
    store.execute('INSERT INTO "keys" ("key", valid_until) VALUES (:key, :valid_until)', rows)
    assert await all_of(sql.load_keys()) == stored
