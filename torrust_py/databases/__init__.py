"""Keeps across restarts what `torrust_py.core.database` asks for, on an SQL server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from torrust_py.core.database import Database
from torrust_py.core.errors import DatabaseError
from torrust_py.databases.sql import SqlDatabase
from torrust_py.databases.sqlite import open_sqlite

__all__ = ["open_database"]

_SQLITE = "sqlite3"


@asynccontextmanager
async def open_database(driver: str, path: str) -> AsyncIterator[Database]:
    """The database of a driver (`sqlite3`) at a path: reachable, with all tables.

    Leaving waits for the calls that are under way; later calls raise DatabaseError. Raises DatabaseError, one
    line for the operator, if it cannot be opened.
    """
    if driver != _SQLITE:
        # Without the path, which holds a password where the driver is a server.
        raise DatabaseError(
            f"the database driver {driver} does not work yet; "
            f"set core.database.driver to one that does: {_SQLITE}"
        )
    async with open_sqlite(path) as engine:
        database = SqlDatabase(engine, server="Sqlite3")
        try:
            yield database
        finally:
            await database.close()
