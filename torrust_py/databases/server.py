"""A MySQL, MariaDB or PostgreSQL server as an engine: its URL, how a start waits for it, and in which words
opening it fails.
"""

import asyncio
import contextlib
import errno
import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from sqlalchemy import URL, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from torrust_py.core.errors import DatabaseError
from torrust_py.databases.failures import plain_reason, server_code
from torrust_py.databases.pools import POOL
from torrust_py.databases.tables import prepare_tables

LIMIT = 3.0
"""Seconds that a call may take. The API promises four in all, and a change may have to wait for others."""

PATIENCE = 60.0
"""Seconds that a start waits for a server."""

_ATTEMPT = 5.0
"""Seconds after which one that neither refuses nor answers is tried again."""

_PAUSE = 0.5
_REMINDER = 10.0
"""Seconds between two lines of the log that say what the start waits for."""

_LOCK_TIMEOUT = 2
"""Seconds that a statement waits for a row which somebody else has locked."""

_AWAY = frozenset(
    (
        # MySQL
        1040,  # too many connections
        1053,  # it shuts down
        1203,  # too many connections of this user
        1684,  # somebody makes or changes this table just now
        2003,  # cannot connect
        2006,  # has gone away
        2013,  # lost the connection
        # PostgreSQL
        "08000",
        "08001",
        "08003",
        "08004",
        "08006",
        "53300",  # too many connections
        "57P01",  # it shuts down
        "57P02",
        "57P03",  # it starts up
    )
)
"""What a server says, or a driver of it, that may answer soon."""

_REMEDIES: dict[int | str | None, str] = {
    **dict.fromkeys((1045, 1698, "28000", "28P01"), "correct user and password in core.database.path"),
    **dict.fromkeys((1049, "3D000"), "make that database, or change core.database.path"),
    **dict.fromkeys((1044, 1142, "42501"), "allow this user to use the database and to make tables in it"),
}

_log = logging.getLogger("torrust_tracker::core::databases")


async def _connect_to_mysql(**arguments: Any) -> Any:  # Any: asyncmy's own
    """A connection of asyncmy, which uses `asyncio.wait_for`: that of Python 3.11 may lose a cancellation."""
    from asyncmy.connection import Connection  # late: the package is there if it is needed

    connection = Connection(**arguments)  # type: ignore[no-untyped-call]  # it has no types

    def close(ended: asyncio.Future[Any]) -> None:
        connection.close()
        if not ended.cancelled():
            ended.exception()  # nobody else asks for it

    connecting = asyncio.ensure_future(connection.connect())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.cancel()
        connecting.add_done_callback(close)
        raise
    except RuntimeError as error:  # over uvloop, of a connection that ended as soon as it was made
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from error
    return connection


class Kind(NamedTuple):
    """What differs between the servers, as far as it is not SQLAlchemy's to know."""

    name: str
    schemes: tuple[str, ...]
    driver: str
    port: int
    extra: str
    """Of our package, which installs the driver."""
    parameters: Mapping[str, str]
    """Of the URL, and what the driver calls them."""
    connect_args: Mapping[str, Any]  # Any: the driver's own


KINDS = {
    "mysql": Kind(
        name="MySQL",
        schemes=("mysql",),
        driver="mysql+asyncmy",
        port=3306,
        extra="mysql",
        parameters={"socket": "unix_socket"},
        connect_args={
            "async_creator_fn": _connect_to_mysql,
            "charset": "utf8mb4",
            # Strict: a value that does not fit is refused, and not cut. TRADITIONAL is that and more.
            "init_command": (
                f"SET sql_mode = 'TRADITIONAL', innodb_lock_wait_timeout = {_LOCK_TIMEOUT}, "
                f"lock_wait_timeout = {_LOCK_TIMEOUT}"
            ),
        },
    ),
    "postgresql": Kind(
        name="PostgreSQL",
        schemes=("postgresql", "postgres"),
        driver="postgresql+asyncpg",
        port=5432,
        extra="postgresql",
        parameters={"host": "host", "sslmode": "ssl"},
        connect_args={
            "server_settings": {"application_name": "torrust_py", "lock_timeout": f"{_LOCK_TIMEOUT}s"}
        },
    ),
}
"""By the name of the driver in the configuration."""


@contextlib.asynccontextmanager
async def open_server(kind: Kind, url: str) -> AsyncIterator[AsyncEngine]:
    """An engine over the database at `url`, with all tables; waits for a server that is away.

    Raises DatabaseError, one line with the server, without the password, and the remedy.
    """
    parsed, connect_args = parse_url(kind, url)
    engine = create_engine(kind, parsed, connect_args)
    try:
        await _prepare(engine, _shown(kind, parsed))
        yield engine
    finally:
        await engine.dispose()


def parse_url(kind: Kind, url: str) -> tuple[URL, dict[str, Any]]:  # Any: as in Kind
    """Where the database is, and further arguments of the driver.

    `user:password@host:port/database`, where user and password may hold percent-escapes. The password ends at
    the last `@`. Raises DatabaseError, which shows nothing of `url`: who knows where in it the password is.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad_url(kind) from None
    name = unquote(parts.path.removeprefix("/"))
    # An @ behind the host: what was taken for host and name is a user and a password with a bare / ? or #.
    if parts.scheme not in kind.schemes or not name or parts.fragment or "@" in parts.path + parts.query:
        raise _bad_url(kind)
    given = parse_qsl(parts.query, keep_blank_values=True)
    if any(parameter not in kind.parameters for parameter, _ in given):
        known = " and ".join(kind.parameters)
        raise DatabaseError(
            f"cannot open the database: the URL in core.database.path may have no parameters but {known}"
        )
    arguments: dict[str, Any] = {kind.parameters[parameter]: value for parameter, value in given}
    if not (parts.hostname or {"host", "unix_socket"} & arguments.keys()):
        raise _bad_url(kind)
    parsed = URL.create(
        kind.driver,
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        host=parts.hostname,
        port=port or kind.port,
        database=name,
    )
    if kind is KINDS["mysql"] and parsed.password:
        arguments["password"] = str(parsed.password).encode()  # asyncmy would have it in Latin-1
    return parsed, arguments


def _bad_url(kind: Kind) -> DatabaseError:
    return DatabaseError(
        f"cannot open the database: core.database.path must be a URL such as {kind.schemes[0]}://user:password@"
        f"host:{kind.port}/database, with %-escapes for special characters of user and password"
    )


def _shown(kind: Kind, url: URL) -> str:
    """The URL for the operator."""
    user = "" if url.username is None else f"{url.username}@"
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host or ""
    shown = f"{kind.schemes[0]}://{user}{host}:{url.port}/{url.database}"
    return shown if shown.isprintable() else ascii(shown)


def create_engine(kind: Kind, url: URL, connect_args: Mapping[str, Any]) -> AsyncEngine:  # Any: as in Kind
    """A pool of connections; each is tried before it is used, for the server may have closed it."""
    for name in ("asyncmy", "asyncpg"):  # notes of the server to a statement may show its values
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        engine = create_async_engine(
            url,
            connect_args={**kind.connect_args, **connect_args},
            pool_pre_ping=True,
            **POOL,
        )
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"cannot open the database: the driver for {kind.name} is not installed ({error.name}); "
            f"pip install 'torrust_py[{kind.extra}]'"
        ) from error
    if engine.dialect.driver == "asyncpg":
        event.listen(engine.sync_engine, "close", _cut)
    return engine


def _cut(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """End a connection to PostgreSQL without waiting for the server, which may have stopped answering.

    (asyncmy never waits for it, and says good-bye.)
    """
    connection.driver_connection.terminate()


async def _prepare(engine: AsyncEngine, shown: str) -> None:
    """Connect and make the tables, however often it takes while the server is away."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    reminder = began
    while True:
        try:
            async with asyncio.timeout(_ATTEMPT), engine.begin() as connection:
                await prepare_tables(connection)
        except (SQLAlchemyError, OSError) as error:
            reason = plain_reason(error)
            waited = loop.time() - began
            if not _is_away(error):
                remedy = _REMEDIES.get(
                    server_code(error), "change core.database.path if this cannot be mended"
                )
                raise DatabaseError(f"cannot open the database {shown}: {reason}; {remedy}") from error
            if waited >= PATIENCE:
                raise DatabaseError(
                    f"cannot open the database {shown}: {reason}, for {PATIENCE:.0f} s; start the server, or "
                    "change core.database.path"
                ) from error
            if loop.time() >= reminder:
                _log.warning(
                    "Waiting for the database server %s, %.0f s of %.0f: %s", shown, waited, PATIENCE, reason
                )
                reminder += _REMINDER
            await asyncio.sleep(_PAUSE)
        else:
            return


def _is_away(error: Exception) -> bool:
    """Whether the server may be there soon: it is not reached, or says so itself."""
    if isinstance(error, ssl.SSLError):
        return False
    return isinstance(error, OSError) or server_code(error) in _AWAY
