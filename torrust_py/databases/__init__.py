"""Keeps across restarts what `torrust_py.core.database` asks for, on an SQL server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from torrust_py.core.database import Database
from torrust_py.databases.server import KINDS, LIMIT, open_server
from torrust_py.databases.sql import SqlDatabase
from torrust_py.databases.sqlite import open_sqlite

__all__ = ["open_database"]


@asynccontextmanager
async def open_database(driver: str, path: str) -> AsyncIterator[Database]:
    """The database of a driver (`sqlite3`, `mysql`, `postgresql`) at a path or URL: open, with all tables.

    Leaving waits for the calls that are under way; later calls raise DatabaseError. Raises DatabaseError, one
    line for the operator, if it cannot be opened.
    """
    async with _open(driver, path) as database:
        try:
            yield database
        finally:
            await database.close()


@asynccontextmanager
async def _open(driver: str, path: str) -> AsyncIterator[SqlDatabase]:
    if driver == "sqlite3":
        async with open_sqlite(path) as engine:
            yield SqlDatabase(engine, server="Sqlite3")
    else:
        kind = KINDS[driver]
        async with open_server(kind, path) as engine:
            yield SqlDatabase(engine, server=kind.name, limit=LIMIT)
