import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite

from tests.servers import TORRUST_MYSQL, Server, Store
from torrust_py.core.database import Completed, Database, PeerKey
from torrust_py.core.errors import DatabaseError
from torrust_py.core.types import InfoHash
from torrust_py.databases import open_database
from torrust_py.databases.tables import (
    BLACKLIST,
    KEYS,
    SECRETS,
    TORRENTS,
    WHITELIST,
    statement_to_create,
    upsert,
)

TORRUST_FILE = Path(__file__).parent / "torrust.sqlite3.db"

DIALECTS: dict[str, Dialect] = {
    "sqlite": sqlite.dialect(),
    "mysql": mysql.dialect(),
    "postgresql": postgresql.dialect(),  # type: ignore[no-untyped-call]  # its constructor has no types
}
_RISES = "ON CONFLICT (info_hash) DO UPDATE SET completed"


def columns(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Name, type, NOT NULL, default and primary key of each column, by table."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: [row[1:] for row in connection.execute(f"PRAGMA table_info({name})")] for (name,) in tables
        }


def created(table: Table, dialect: str) -> str:
    return " ".join(statement_to_create(table, DIALECTS[dialect]).split())


@pytest.mark.clause("5.6.5")
async def test_a_new_file_has_torrusts_columns_and_two_tables_of_our_own(database_path: Path) -> None:
    async with open_database("sqlite3", str(database_path)):
        pass
    ours, torrusts = columns(database_path), columns(TORRUST_FILE)
    assert ours.pop("secrets") == [("name", "TEXT", 1, None, 1), ("value", "TEXT", 1, None, 0)]
    assert [column[:3] for column in ours.pop("blacklist")] == [
        ("id", "INTEGER", 0), ("info_hash", "TEXT", 1), ("reason", "TEXT", 0), ("valid_until", "INTEGER", 0)
    ]  # fmt: skip
    assert ours == torrusts


@pytest.mark.clause("5.6.13")
async def test_statements_of_torrust_work_on_a_new_file(database_path: Path) -> None:
    async with open_database("sqlite3", str(database_path)):
        pass
    with contextlib.closing(sqlite3.connect(database_path)) as torrust:
        upsert_torrent = (
            "INSERT INTO torrents (info_hash, completed) VALUES (?1, ?2) "
            "ON CONFLICT(info_hash) DO UPDATE SET completed = ?2"
        )
        torrust.execute(upsert_torrent, ["01" * 20, 1])
        torrust.execute(upsert_torrent, ["01" * 20, 2])
        torrust.execute("INSERT INTO keys (key, valid_until) VALUES (?1, ?2)", ["a" * 32, None])
        torrust.execute("INSERT INTO whitelist (info_hash) VALUES (?)", ["01" * 20])
        assert torrust.execute("SELECT info_hash, completed FROM torrents").fetchall() == [("01" * 20, 2)]


@pytest.mark.parametrize("table", [WHITELIST, TORRENTS, KEYS])
def test_ids_count_up_by_themselves_and_are_not_used_again(table: Table) -> None:
    assert "id INTEGER PRIMARY KEY AUTOINCREMENT," in created(table, "sqlite")
    assert "id INTEGER AUTO_INCREMENT," in created(table, "mysql")
    assert "id BIGSERIAL," in created(table, "postgresql")


@pytest.mark.clause("5.6.9")
@pytest.mark.parametrize("dialect", ["mysql", "postgresql"])
def test_servers_have_sized_texts_and_times_of_64_bits(dialect: str) -> None:
    assert "info_hash VARCHAR(40) NOT NULL" in created(WHITELIST, dialect)
    assert "key VARCHAR(32) NOT NULL" in created(KEYS, dialect).replace("`", "")
    assert "valid_until BIGINT," in created(KEYS, dialect)
    assert "name VARCHAR(64) NOT NULL, value VARCHAR(255) NOT NULL" in created(SECRETS, dialect)


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (
            "sqlite",
            f"{_RISES} = max(torrents.completed, excluded.completed)",
        ),
        (
            "postgresql",
            f"{_RISES} = greatest(torrents.completed, excluded.completed)",
        ),
        ("mysql", "ON DUPLICATE KEY UPDATE completed = greatest(torrents.completed, VALUES(completed))"),
    ],
)
def test_a_stored_value_rises_to_the_new_one_on_every_server(dialect: str, expected: str) -> None:
    statement = upsert(TORRENTS, unique="info_hash", highest="completed", dialect=dialect)
    assert str(statement.compile(dialect=DIALECTS[dialect])).endswith(expected)


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("sqlite", "DO UPDATE SET reason = excluded.reason"),
        ("postgresql", "DO UPDATE SET reason = excluded.reason"),
        ("mysql", "ON DUPLICATE KEY UPDATE reason = VALUES(reason)"),
    ],
)
def test_a_row_that_is_there_is_replaced_on_every_server(dialect: str, expected: str) -> None:
    statement = upsert(BLACKLIST, unique="info_hash", replaced=["reason"], dialect=dialect)
    assert str(statement.compile(dialect=DIALECTS[dialect])).endswith(expected)


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("sqlite", "ON CONFLICT (info_hash) DO NOTHING"),
        ("postgresql", "ON CONFLICT (info_hash) DO NOTHING"),
        ("mysql", "ON DUPLICATE KEY UPDATE info_hash = whitelist.info_hash"),
    ],
)
def test_a_row_that_is_there_is_left_alone_on_every_server(dialect: str, expected: str) -> None:
    statement = upsert(WHITELIST, unique="info_hash", dialect=dialect)
    assert expected in str(statement.compile(dialect=DIALECTS[dialect]))


# --- tables that Torrust made on MySQL


@pytest.fixture
def torrusts(mysql_server: Server) -> Store:
    store = mysql_server.empty_store()
    store.execute(TORRUST_MYSQL)
    return store


def schema(store: Store) -> list[Any]:
    statement = (
        "SELECT table_name, column_name, column_type, is_nullable, column_default, column_key, extra "
        "FROM information_schema.columns WHERE table_schema = 'torrust_tracker' "
        "AND table_name NOT IN ('secrets', 'blacklist') "
        "ORDER BY table_name, ordinal_position"
    )
    return store.execute(statement)


@pytest.mark.clause("5.6.9")
async def test_new_tables_of_mysql_are_torrusts_but_for_the_ends_of_keys(
    mysql_server: Server, torrusts: Store
) -> None:
    expected = schema(torrusts)
    store = mysql_server.empty_store()
    async with open_database(store.driver, store.path):
        pass
    ours = schema(store)
    differing = [(theirs[2], our[2]) for theirs, our in zip(expected, ours, strict=True) if theirs != our]
    [(narrow, wide)] = differing
    assert narrow in ("int", "int(10)")  # MariaDB tells widths of integers, MySQL does not
    assert wide in ("bigint", "bigint(20)")


@pytest.mark.clause("5.6.6")
async def test_torrusts_tables_of_mysql_are_left_as_they_are(
    torrusts: Store, caplog: pytest.LogCaptureFixture
) -> None:
    before = schema(torrusts)
    async with open_database(torrusts.driver, torrusts.path):
        pass
    assert schema(torrusts) == before
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("torrust")]
    assert line == (
        "The database's column keys.valid_until holds no time after January 2038, as Torrust made it; "
        "to change that: ALTER TABLE `keys` MODIFY valid_until BIGINT"
    )


@pytest.mark.clause("5.6.10")
async def test_torrusts_tables_of_mysql_take_permanent_keys_and_give_them_back(torrusts: Store) -> None:
    torrusts.execute('INSERT INTO "keys" ("key", valid_until) VALUES (:key, 1795494830)', key="b" * 32)
    async with open_database(torrusts.driver, torrusts.path) as database:
        await database.add_key(PeerKey("a" * 32, None))
        assert await all_keys(database) == [("b" * 32, 1795494830), ("a" * 32, None)]
        for key in ("a" * 32, "b" * 32):
            await database.remove_key(key)
        assert await all_keys(database) == []


async def test_torrusts_tables_of_mysql_refuse_an_end_after_2038_and_do_not_cut_it(torrusts: Store) -> None:
    async with open_database(torrusts.driver, torrusts.path) as database:
        with pytest.raises(DatabaseError, match=r"^The MySQL query was malformed: Out of range value"):
            await database.add_key(PeerKey("a" * 32, 2**32))
        assert await all_keys(database) == []


async def test_where_mysql_takes_two_keys_for_one_only_the_key_itself_is_removed(torrusts: Store) -> None:
    async with open_database(torrusts.driver, torrusts.path) as database:
        await database.add_key(PeerKey("a" * 32, None))
        with pytest.raises(DatabaseError, match="UNIQUE constraint failed"):
            await database.add_key(PeerKey("A" * 32, None))
        with pytest.raises(DatabaseError, match=r"error-code: 0$"):
            await database.remove_key("A" * 32)
        await database.restore_key("A" * 32, None)
        assert await all_keys(database) == [("a" * 32, None)]


@pytest.mark.clause("5.6.8")
async def test_counters_of_torrust_on_mysql_go_on_however_they_are_spelled(torrusts: Store) -> None:
    statement = "INSERT INTO torrents (info_hash, completed) VALUES (:info_hash, 3)"
    torrusts.execute(statement, info_hash="AB" * 20)
    async with open_database(torrusts.driver, torrusts.path) as database:
        await database.save_completed([Completed(InfoHash(b"\xab" * 20), 4)])
    assert torrusts.execute("SELECT id, completed FROM torrents") == [(1, 4)]


async def all_keys(database: Database) -> list[PeerKey]:
    return [key async for keys in database.load_keys() for key in keys]


async def test_new_tables_of_mysql_have_transactions_and_keys_that_differ_by_case(
    mysql_server: Server,
) -> None:
    store = mysql_server.empty_store()
    async with open_database(store.driver, store.path):
        pass
    made = store.execute(
        "SELECT DISTINCT engine, table_collation FROM information_schema.tables "
        "WHERE table_schema = 'torrust_tracker'"
    )
    assert [tuple(row) for row in made] == [("InnoDB", "utf8mb4_bin")]


OPEN = """
import asyncio, sys
from torrust_py.databases import open_database

async def open_it():
    async with open_database("sqlite3", sys.argv[1]):
        print(*sys.modules)

asyncio.run(open_it())
"""


def test_sqlite_does_without_the_dialects_of_servers(database_path: Path) -> None:
    """They take memory and time at the start."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(database_path)], capture_output=True, text=True, check=True
    )
    assert "sqlalchemy.dialects.sqlite" in done.stdout.split()
    assert not {"sqlalchemy.dialects.mysql", "sqlalchemy.dialects.postgresql"} & set(done.stdout.split())
