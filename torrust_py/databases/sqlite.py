"""A SQLite file as an engine: how it is opened, and in which words opening it fails."""

import asyncio
import contextlib
import functools
import logging
import os.path
import sqlite3
from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from torrust_py.core.errors import DatabaseError
from torrust_py.databases.failures import plain_reason, sqlite_code
from torrust_py.databases.pools import POOL
from torrust_py.databases.tables import prepare_tables

_LOCK_TIMEOUT = 3.0
"""Seconds that a change waits for another process to release the file. The API promises four in all."""

_IN_MEMORY = "cannot open the database {}: it would keep nothing; name a file in core.database.path"

_TRY_AGAIN = 0.05
"""Seconds."""


@contextlib.asynccontextmanager
async def open_sqlite(path: str) -> AsyncIterator[AsyncEngine]:
    """An engine over the file at `path`, which is made if it is not there, with all tables.

    Raises DatabaseError, one line with the path and the remedy.
    """
    path = _file_of(path)
    # Its debug lines show the values of statements, keys and secrets among them.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    engine = _engine(path)
    try:
        await _prepare_file(engine, path)
        yield engine
    finally:
        await engine.dispose()


def _file_of(path: str) -> str:
    """The file that `path` names, as it stands or as a URI (`file:tracker.db`, see sqlite.org/uri.html)."""
    if path == ":memory:":
        raise DatabaseError(_IN_MEMORY.format(path))
    if not path.startswith("file:"):
        return path
    uri = urlsplit(path)
    if "mode=memory" in uri.query or uri.path == ":memory:":
        raise DatabaseError(_IN_MEMORY.format(path))
    if not uri.path or uri.query or uri.netloc not in ("", "localhost"):
        raise DatabaseError(
            f"cannot open the database {path}: a URI may only name a file of this host, as in "
            "file:tracker.db; change core.database.path"
        )
    return unquote(uri.path)


def _engine(path: str) -> AsyncEngine:
    """A pool of connections, each with a thread that sits in SQLite's calls, which release the GIL.

    Several connections, so that nobody waits for another's wait: while a change waits for the file (another
    process has locked it, or a large flush is being written), a second one waits for it too, not for the
    first, and both end after _LOCK_TIMEOUT. With a write-ahead log, readers and the one writer that SQLite
    allows do not wait for each other.
    """
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=os.path.abspath(path)),
        connect_args={"timeout": _LOCK_TIMEOUT},
        **POOL,
    )
    event.listen(engine.sync_engine, "connect", _prepare_connection)
    return engine


def _prepare_connection(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # Text that is no UTF-8 makes a row malformed, and must not fail the whole page.
    connection.driver_connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
    with contextlib.ExitStack() as failure:
        # Nobody else has the connection yet, and its thread would keep the process from ending.
        failure.callback(connection.close)
        cursor = connection.cursor()
        # A committed change survives a power failure too; some builds of SQLite have a weaker default.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()
        failure.pop_all()


async def _prepare_file(engine: AsyncEngine, path: str) -> None:
    try:
        # aiosqlite's thread may outlive the loop, and print a traceback, if it is the first to fail.
        await asyncio.to_thread(_check_file, path)
        async with engine.connect() as connection:
            await _use_write_ahead_log(connection)
            # Of several trackers that start at once, one makes the tables and the others wait.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            await prepare_tables(connection)
            await connection.commit()
    except (SQLAlchemyError, sqlite3.Error, ValueError) as error:
        text = f"cannot open the database {path}: {_fault(path, error)}"
        raise DatabaseError(text if text.isprintable() else ascii(text)) from error


def _check_file(path: str) -> None:
    """Raises sqlite3.Error or ValueError if there can be no file at `path`."""
    with contextlib.closing(sqlite3.connect(os.path.abspath(path))):
        pass


async def _use_write_ahead_log(connection: AsyncConnection) -> None:
    """Switch the file, which remembers it. SQLite does not wait for locks here, so this tries again."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + _LOCK_TIMEOUT
    while True:
        try:
            await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except OperationalError as error:
            if sqlite_code(error) != sqlite3.SQLITE_BUSY or loop.time() > give_up:
                raise
            await asyncio.sleep(_TRY_AGAIN)
        else:
            return


def _fault(path: str, error: Exception) -> str:
    """What is wrong with the file at `path`, and what the operator can do about it."""
    directory = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not path:
        return "it is a directory; name a file in core.database.path"
    if not os.path.isdir(directory):
        return f"there is no directory {directory}; make it, or change core.database.path"
    match sqlite_code(error):
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return f"{plain_reason(error)}; move it away, or change core.database.path"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process has locked it; stop that process, or change core.database.path"
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return f"{plain_reason(error)}; let this user write to it and to its directory {directory}"
        case _:
            return f"{plain_reason(error)}; change core.database.path if this cannot be mended"
