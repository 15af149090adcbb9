"""The tables: three as Torrust makes them, so that either tracker opens the other's database, and two of our
own, which it leaves alone: `secrets` and `blacklist`.

Columns have the types of Torrust's schema for each server; the size of a text only counts outside SQLite.
"""

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Insert,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    false,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable

_log = logging.getLogger("torrust_tracker::core::databases")

_METADATA = MetaData()

_LOCK = 0x746F72727573745F
"""Our number among the advisory locks of a PostgreSQL database: `torrust_`."""

# Not as `mysql_engine` and so on of each Table: for these SQLAlchemy would import MySQL's dialect, whatever
# is used. The engine has transactions, and keys differ by case, whatever are the server's defaults.
_OF_MYSQL = " ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin"


def _id() -> Column[int]:
    # Nullable, or SQLite's column gets a NOT NULL that Torrust's does not have; the primary key implies it.
    return Column("id", Integer().with_variant(BigInteger(), "postgresql"), primary_key=True, nullable=True)


def _text(name: str, size: int) -> Column[str]:
    kind = String(size).with_variant(Text(), "sqlite")
    return Column(name, kind, nullable=False, unique=True)


WHITELIST = Table(
    "whitelist",
    _METADATA,
    _id(),
    _text("info_hash", 40),  # hexadecimal
    sqlite_autoincrement=True,
)

TORRENTS = Table(
    "torrents",
    _METADATA,
    _id(),
    _text("info_hash", 40),
    Column(
        "completed",
        Integer().with_variant(BigInteger(), "postgresql"),
        server_default=text("0"),
        nullable=False,
    ),
    sqlite_autoincrement=True,
)

KEYS = Table(
    "keys",
    _METADATA,
    _id(),
    _text("key", 32),
    # Unix seconds, NULL for ever. 64 bits: 32 of them end in January 2038.
    Column("valid_until", BigInteger().with_variant(Integer(), "sqlite")),
    sqlite_autoincrement=True,
)

SECRETS = Table(
    "secrets",
    _METADATA,
    Column("name", String(64).with_variant(Text(), "sqlite"), primary_key=True),
    # Hexadecimal: binary columns have another type on each server, and cannot be read in a shell.
    Column("value", String(255).with_variant(Text(), "sqlite"), nullable=False),
)


BLACKLIST = Table(
    "blacklist",
    _METADATA,
    # 64 bits, since servers spend a number on every attempt to insert.
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, nullable=True),
    _text("info_hash", 40),
    Column("reason", String(500).with_variant(Text(), "sqlite")),
    # Unix seconds, NULL for ever.
    Column("valid_until", BigInteger().with_variant(Integer(), "sqlite")),
    sqlite_autoincrement=True,
)


async def prepare_tables(connection: AsyncConnection) -> None:
    """Make the tables that are missing, leave the others as they are, and see whether they can be written."""
    if connection.dialect.name == "postgresql":  # where two who make a table at once get in each other's way
        await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    for table in _METADATA.sorted_tables:
        if not await connection.run_sync(
            _has_table, table.name
        ):  # who has them need not be allowed to make them
            await connection.exec_driver_sql(statement_to_create(table, connection.dialect))
    if connection.dialect.name == "mysql" and not await connection.run_sync(_has_wide_ends):
        _log.warning(
            "The database's column keys.valid_until holds no time after January 2038, as Torrust made it; "
            "to change that: ALTER TABLE `keys` MODIFY valid_until BIGINT"
        )
    # Deletes nothing, but shows now whether the database can be written, and not at the first change.
    await connection.execute(delete(SECRETS).where(false()))


def statement_to_create(table: Table, dialect: Dialect) -> str:
    """It does nothing where the table is."""
    statement = str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)).strip()
    return statement + _OF_MYSQL if dialect.name == "mysql" else statement


def _has_table(connection: Connection, name: str) -> bool:
    return inspect(connection).has_table(name)


def _has_wide_ends(connection: Connection) -> bool:
    """Whether the ends of keys have 64 bits; Torrust makes them with 32."""
    columns = {column["name"]: column["type"] for column in inspect(connection).get_columns(KEYS.name)}
    return isinstance(columns.get("valid_until"), BigInteger)


def upsert(
    table: Table, *, unique: str, highest: str | None = None, replaced: Sequence[str] = (), dialect: str
) -> Insert:
    """An insert that keeps a row with the same `unique`, except that its `highest` rises to the new value,
    and its `replaced` become the new ones.

    `dialect` is SQLAlchemy's name of the server: `sqlite`, `mysql`, `mariadb` or `postgresql`.
    """
    match dialect:
        case "sqlite":
            return _sqlite_upsert(table, unique, highest, replaced)
        case "postgresql":
            return _postgresql_upsert(table, unique, highest, replaced)
        case _:
            return _mysql_upsert(table, unique, highest, replaced)


# Each dialect takes 15 to 90 ms to import, and a process needs one of them: hence the late imports.


def _sqlite_upsert(table: Table, unique: str, highest: str | None, replaced: Sequence[str]) -> Insert:
    from sqlalchemy.dialects import sqlite

    insert = sqlite.insert(table)
    changed: dict[str, Any] = {name: insert.excluded[name] for name in replaced}  # Any: expressions
    if highest is not None:
        changed[highest] = func.max(table.c[highest], insert.excluded[highest])
    if not changed:
        return insert.on_conflict_do_nothing(index_elements=[unique])
    return insert.on_conflict_do_update(index_elements=[unique], set_=changed)


def _postgresql_upsert(table: Table, unique: str, highest: str | None, replaced: Sequence[str]) -> Insert:
    from sqlalchemy.dialects import postgresql

    insert = postgresql.insert(table)
    changed: dict[str, Any] = {name: insert.excluded[name] for name in replaced}  # Any: expressions
    if highest is not None:
        changed[highest] = func.greatest(table.c[highest], insert.excluded[highest])
    if not changed:
        return insert.on_conflict_do_nothing(index_elements=[unique])
    return insert.on_conflict_do_update(index_elements=[unique], set_=changed)


def _mysql_upsert(table: Table, unique: str, highest: str | None, replaced: Sequence[str]) -> Insert:
    from sqlalchemy.dialects import mysql

    insert = mysql.insert(table)
    changed: dict[str, Any] = {name: insert.inserted[name] for name in replaced}  # Any: expressions
    if highest is not None:
        changed[highest] = func.greatest(table.c[highest], insert.inserted[highest])
    return insert.on_duplicate_key_update(changed or {unique: table.c[unique]})
