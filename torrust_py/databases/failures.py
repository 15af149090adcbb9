"""What the errors of the drivers say: SQLite's, asyncmy's and asyncpg's, as SQLAlchemy hands them on."""

import os
import socket
import sqlite3

from sqlalchemy.exc import InterfaceError, OperationalError, StatementError

_SQLITE_STATES = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    )
)
"""Primary result codes that say something of the file, and nothing of the statement."""

_STATE_CLASSES = frozenset(("08", "25", "40", "53", "55", "57", "58"))
"""Classes of SQLSTATE (PostgreSQL) that say something of the server, and nothing of the statement."""

_DUPLICATE = 1062, "23505"


def plain_reason(error: Exception) -> str:
    """The driver's own words, in one line, without the statement and its values."""
    cause = _cause(error)
    if isinstance(cause.__cause__, OSError):  # asyncmy's error of a connection that could not be made
        cause = cause.__cause__
    if isinstance(cause, OSError):
        return _system_reason(cause)
    words = [
        argument for argument in cause.args if isinstance(argument, str)
    ]  # asyncmy's have a number first
    return " ".join((words[0] if words else str(cause) or type(cause).__name__).split())


def sqlite_code(error: Exception) -> int | None:
    """The primary result code of an error of SQLite; None if another part of the stack raised it."""
    code: int | None = getattr(_cause(error), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def server_code(error: Exception) -> int | str | None:
    """The number of an error of MySQL, the SQLSTATE of one of PostgreSQL; None if it is no server's."""
    cause = _cause(error)
    if cause.args and isinstance(cause.args[0], int):
        return cause.args[0]
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_duplicate(error: Exception) -> bool:
    """Whether a row with the same unique value is there already."""
    extended = getattr(_cause(error), "sqlite_errorcode", None)
    return extended == sqlite3.SQLITE_CONSTRAINT_UNIQUE or server_code(error) in _DUPLICATE


def is_state(error: Exception) -> bool:
    """Whether the database cannot do it now (away, locked, full), rather than this statement be wrong."""
    code = sqlite_code(error)
    if code is not None:
        return code in _SQLITE_STATES
    state = server_code(error)
    if isinstance(state, str) and state[:2] in _STATE_CLASSES:
        return True
    return isinstance(error, OperationalError | InterfaceError | OSError)


def _cause(error: Exception) -> BaseException:
    return error.orig if isinstance(error, StatementError) and error.orig is not None else error


def _system_reason(error: OSError) -> str:
    """In the system's words: those of the loops differ."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(error.errno)
