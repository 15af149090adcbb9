import contextlib
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateTable

from torrust_py.databases import open_database
from torrust_py.databases.tables import KEYS, SECRETS, TORRENTS, WHITELIST, upsert

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
    statement = CreateTable(table, if_not_exists=True)
    return " ".join(str(statement.compile(dialect=DIALECTS[dialect])).split())


@pytest.mark.clause("5.6.5")
async def test_a_new_file_has_torrusts_columns_and_a_table_of_secrets(database_path: Path) -> None:
    async with open_database("sqlite3", str(database_path)):
        pass
    ours, torrusts = columns(database_path), columns(TORRUST_FILE)
    assert ours.pop("secrets") == [("name", "TEXT", 1, None, 1), ("value", "TEXT", 1, None, 0)]
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
    assert "id SERIAL," in created(table, "postgresql")


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
        ("sqlite", "ON CONFLICT (info_hash) DO NOTHING"),
        ("postgresql", "ON CONFLICT (info_hash) DO NOTHING"),
        ("mysql", "ON DUPLICATE KEY UPDATE info_hash = whitelist.info_hash"),
    ],
)
def test_a_row_that_is_there_is_left_alone_on_every_server(dialect: str, expected: str) -> None:
    statement = upsert(WHITELIST, unique="info_hash", dialect=dialect)
    assert expected in str(statement.compile(dialect=DIALECTS[dialect]))
