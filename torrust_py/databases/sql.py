"""The database of the core in SQL: the same statements for every server.

Each call is one transaction on a connection of its own, and has been committed when it returns. A server that
does not answer in time is left: its connection is cut, so what had not been committed never is.

Whether a commit has been made is not known if its confirmation does not come: the call then raises
ChangeInDoubt, and `core.changes` sees to it that the change is undone. Counters are absolute values, which
are saved again.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import Row, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from torrust_py.core.blacklist import check_reason
from torrust_py.core.database import BlacklistEntry, Completed, DatabaseState, PeerKey
from torrust_py.core.errors import BadReason, ChangeInDoubt, DatabaseError
from torrust_py.core.keys import check_key
from torrust_py.core.types import INFO_HASH_SIZE, InfoHash
from torrust_py.databases.failures import is_duplicate, is_state, plain_reason
from torrust_py.databases.tables import BLACKLIST, KEYS, SECRETS, TORRENTS, WHITELIST, upsert

_log = logging.getLogger("torrust_tracker::core::databases")

_Value = TypeVar("_Value")

_BATCH = 500
"""Rows of a statement. They hold up the loop for some 3 ms; 1,000 rows took twice that."""

_MAX_COMPLETED = 2**32 - 1
"""What Torrust can hold."""

_SAVE_LIMIT = 10.0
"""Seconds that a batch of completed counters may take on a server. Nobody waits for it."""


class SqlDatabase:
    """`server` is what error texts call it (`Sqlite3`). They are Torrust's, since API bodies contain them.

    `limit` is the seconds that a call may take; None where the driver sees to that itself.
    """

    def __init__(self, engine: AsyncEngine, *, server: str, limit: float | None = None) -> None:
        self.state = DatabaseState()
        self._engine = engine
        self._server = server
        self._limit = limit
        self._save_limit = None if limit is None else _SAVE_LIMIT
        dialect = engine.dialect.name
        self._add_missing_key = upsert(KEYS, unique="key", dialect=dialect)
        self._add_to_whitelist = upsert(WHITELIST, unique="info_hash", dialect=dialect)
        self._add_to_blacklist = upsert(
            BLACKLIST, unique="info_hash", replaced=["reason", "valid_until"], dialect=dialect
        )
        self._add_secret = upsert(SECRETS, unique="name", dialect=dialect)
        self._save_completed = upsert(TORRENTS, unique="info_hash", highest="completed", dialect=dialect)
        self._closed = False
        self._running = 0
        self._all_done = asyncio.Event()

    async def close(self) -> None:
        """Refuse further calls, and wait until those that are under way have ended."""
        self._closed = True
        if self._running:
            await self._all_done.wait()

    def load_keys(self) -> AsyncIterator[Sequence[PeerKey]]:
        return self._load(KEYS, _peer_key)

    async def add_key(self, key: PeerKey) -> None:
        statement = insert(KEYS).execution_options(preserve_rowcount=True)
        async with self._transaction() as connection:
            try:
                result = await connection.execute(statement, key._asdict())
            except IntegrityError as error:
                if not is_duplicate(error):
                    raise
                # In SQLite's words, which are Torrust's; MySQL's show the key.
                raise DatabaseError(
                    f"The {self._server} query was malformed: UNIQUE constraint failed: keys.key"
                ) from error
            if result.rowcount != 1:
                raise DatabaseError(f"Unable to insert record into {self._server} database")

    async def remove_key(self, key: str) -> None:
        async with self._transaction() as connection:
            removed = await _delete_key(connection, key)
            if removed != 1:
                raise DatabaseError(
                    f"Failed to remove record from {self._server} database, error-code: {removed}"
                )

    async def restore_key(self, key: str, kept: PeerKey | None) -> None:
        async with self._transaction() as connection:
            valid_until = 0 if kept is None else kept.valid_until
            # Also if the row shall go: this waits for a transaction that has yet to end; a deletion may not.
            await connection.execute(self._add_missing_key, {"key": key, "valid_until": valid_until})
            if kept is None:
                await _delete_key(connection, key)

    def load_whitelist(self) -> AsyncIterator[Sequence[InfoHash]]:
        return self._load(WHITELIST, _info_hash)

    async def add_to_whitelist(self, info_hash: InfoHash) -> None:
        async with self._transaction() as connection:
            await connection.execute(self._add_to_whitelist, {"info_hash": info_hash.hex()})

    async def remove_from_whitelist(self, info_hash: InfoHash) -> None:
        async with self._transaction() as connection:
            await _delete_from_whitelist(connection, info_hash)

    async def restore_in_whitelist(self, info_hash: InfoHash, *, listed: bool) -> None:
        async with self._transaction() as connection:
            await connection.execute(
                self._add_to_whitelist, {"info_hash": info_hash.hex()}
            )  # see restore_key
            if not listed:
                await _delete_from_whitelist(connection, info_hash)

    def load_blacklist(self) -> AsyncIterator[Sequence[BlacklistEntry]]:
        return self._load(BLACKLIST, _blacklist_entry)

    async def add_to_blacklist(self, entries: Sequence[BlacklistEntry]) -> None:
        async with self._transaction() as connection:
            await self._keep_in_blacklist(connection, entries)

    async def remove_from_blacklist(self, info_hash: InfoHash) -> None:
        async with self._transaction() as connection:
            await _delete_from_blacklist(connection, [info_hash])

    async def restore_in_blacklist(
        self, info_hashes: Sequence[InfoHash], kept: Sequence[BlacklistEntry]
    ) -> None:
        stays = {entry.info_hash for entry in kept}
        goes = [info_hash for info_hash in info_hashes if info_hash not in stays]
        async with self._transaction() as connection:
            entries = [*kept, *map(BlacklistEntry, goes)]  # see restore_key
            await self._keep_in_blacklist(connection, entries)
            await _delete_from_blacklist(connection, goes)

    async def remove_expired_from_blacklist(self, unix_now: int) -> None:
        async with self._transaction() as connection:
            await connection.execute(delete(BLACKLIST).where(BLACKLIST.c.valid_until <= unix_now))

    async def _keep_in_blacklist(
        self, connection: AsyncConnection, entries: Sequence[BlacklistEntry]
    ) -> None:
        # In one order, so that two trackers that keep the same ones do not wait for each other.
        ordered = sorted(entries, key=_by_info_hash)
        for start in range(0, len(ordered), _BATCH):
            rows = [
                {"info_hash": info_hash.hex(), "reason": reason, "valid_until": valid_until}
                for info_hash, reason, valid_until in ordered[start : start + _BATCH]
            ]
            await connection.execute(self._add_to_blacklist, rows)

    def load_completed(self) -> AsyncIterator[Sequence[Completed]]:
        return self._load(TORRENTS, _completed)

    async def save_completed(self, rows: Sequence[Completed]) -> None:
        limit = asyncio.timeout(self._save_limit)
        async with self._transaction(limit) as connection:
            for start in range(0, len(rows), _BATCH):
                await self._save_batch(connection, rows[start : start + _BATCH])
                if self._save_limit is not None:
                    limit.reschedule(asyncio.get_running_loop().time() + self._save_limit)

    async def _save_batch(self, connection: AsyncConnection, rows: Sequence[Completed]) -> None:
        values = [{"info_hash": info_hash.hex(), "completed": completed} for info_hash, completed in rows]
        ids = select(TORRENTS.c.info_hash, TORRENTS.c.id).where(
            TORRENTS.c.info_hash.in_([value["info_hash"] for value in values])
        )
        known: dict[object, int] = {
            info_hash.lower(): row_id for info_hash, row_id in await connection.execute(ids)
        }
        # With their ids: servers spend a new one on every attempt to insert, and have 2^31.
        raised = [
            {**value, "id": known[value["info_hash"]]} for value in values if value["info_hash"] in known
        ]
        new = [value for value in values if value["info_hash"] not in known]
        for batch in (raised, new):
            if batch:
                await connection.execute(self._save_completed, batch)

    async def load_secret(self, name: str, *, size: int) -> bytes:
        async with self._transaction() as connection:
            # First the insert, then the read: who comes second, also in another process, reads the first's.
            await connection.execute(self._add_secret, {"name": name, "value": secrets.token_hex(size)})
            stored = await connection.scalar(select(SECRETS.c.value).where(SECRETS.c.name == name))
        return _secret(name, stored, size=size)

    async def _load(self, table: Table, parse: Callable[..., _Value]) -> AsyncIterator[list[_Value]]:
        """The rows of `table`, in the order of their ids; `parse` gets a row's values without the id.

        Rows for which it raises ValueError are left out, with a warning at the end.
        """
        left_out = 0
        first = ""
        last_id: int | None = None
        is_last = False
        while not is_last:
            rows = await self._page(table, after=last_id)
            is_last = len(rows) < _BATCH  # not "is empty": rows that are added meanwhile would prolong it
            batch: list[_Value] = []
            for row in rows:
                last_id, values = row[0], row[1:]
                try:
                    batch.append(parse(*values))
                except ValueError as error:
                    left_out += 1
                    first = first or f"id {last_id}, {error}"
            yield batch
        if left_out:
            _log.warning("Left out %d malformed rows of table %s; the first: %s", left_out, table.name, first)

    async def _page(self, table: Table, *, after: int | None) -> Sequence[Row[Any]]:  # Any: values as stored
        # A connection for each page and none in between: no snapshot stays open, and changes get their turn.
        statement = select(table).order_by(table.c.id).limit(_BATCH)
        if after is not None:
            statement = statement.where(table.c.id > after)
        async with self._transaction() as connection:
            return (await connection.execute(statement)).all()

    @asynccontextmanager
    async def _transaction(self, limit: asyncio.Timeout | None = None) -> AsyncIterator[AsyncConnection]:
        """Committed when left, rolled back on an error, cut off when `limit` has passed.

        Raises DatabaseError for what the server reports, ChangeInDoubt if that comes of the commit.
        """
        committing = committed = False
        with self._counted(), self._reported():
            try:
                async with limit or asyncio.timeout(self._limit), self._engine.connect() as connection:
                    yield connection
                    committing = True
                    await connection.commit()
                    committed = True
                    self.state.note(answered=True)
            except (SQLAlchemyError, OSError) as error:
                if committed:  # the connection cannot be used again, but that is all
                    return
                if committing:
                    self.state.note(answered=False)
                    raise ChangeInDoubt(_not_connected(self._server, plain_reason(error))) from error
                raise

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._closed:
            raise DatabaseError(_not_connected(self._server, "it has been closed"))
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if self._closed and not self._running:
                self._all_done.set()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except NoFreeConnection as error:
            self.state.note(answered=False)
            raise DatabaseError(_not_connected(self._server, "all connections are busy")) from error
        except (
            SQLAlchemyError,
            OSError,
            OverflowError,
        ) as error:  # the last: an integer of more than 64 bits
            reason = plain_reason(error)
            self.state.note(answered=not is_state(error))
            if is_state(error):
                raise DatabaseError(_not_connected(self._server, reason)) from error
            raise DatabaseError(f"The {self._server} query was malformed: {reason}") from error


def _not_connected(server: str, reason: str) -> str:
    return f"Failed to connect to {server} database: {reason}"


async def _delete_key(connection: AsyncConnection, key: str) -> int:
    """How many rows went."""
    # Compared here too: in tables that Torrust made, MySQL takes a key for one that differs by case.
    rows = await connection.execute(select(KEYS.c.id, KEYS.c.key).where(KEYS.c.key == key))
    ids = [row_id for row_id, stored in rows if stored == key]
    return (await connection.execute(delete(KEYS).where(KEYS.c.id.in_(ids)))).rowcount if ids else 0


async def _delete_from_whitelist(connection: AsyncConnection, info_hash: InfoHash) -> None:
    # Rows that somebody wrote in upper case are read, so they must go too.
    spellings = (info_hash.hex(), info_hash.hex().upper())
    await connection.execute(delete(WHITELIST).where(WHITELIST.c.info_hash.in_(spellings)))


async def _delete_from_blacklist(connection: AsyncConnection, info_hashes: Sequence[InfoHash]) -> None:
    for start in range(0, len(info_hashes), _BATCH):
        batch = info_hashes[start : start + _BATCH]
        spellings = [spelled for each in batch for spelled in (each.hex(), each.hex().upper())]
        await connection.execute(delete(BLACKLIST).where(BLACKLIST.c.info_hash.in_(spellings)))


def _by_info_hash(entry: BlacklistEntry) -> InfoHash:
    return entry.info_hash


def _peer_key(key: object, valid_until: object) -> PeerKey:
    # The texts do not show the key: what is malformed may be most of one that is in use.
    if not isinstance(key, str):
        raise ValueError("its key is no text")
    check_key(key)
    if not (valid_until is None or isinstance(valid_until, int)):
        raise ValueError(f"its valid_until is {valid_until!a:.60}")
    return PeerKey(key, valid_until)


def _info_hash(stored: object) -> InfoHash:
    info_hash = _from_hexadecimal(stored, size=INFO_HASH_SIZE)
    if info_hash is None:
        raise ValueError(f"its info_hash is {stored!a:.60}")
    return InfoHash(info_hash)


def _blacklist_entry(info_hash: object, reason: object, valid_until: object) -> BlacklistEntry:
    if not (valid_until is None or isinstance(valid_until, int)):
        raise ValueError(f"its valid_until is {valid_until!a:.60}")
    return BlacklistEntry(_info_hash(info_hash), _readable_reason(reason), valid_until)


def _readable_reason(stored: object) -> str | None:
    """None for one that clients cannot be told: the torrent is to be refused all the same."""
    if not isinstance(stored, str):
        return None
    try:
        check_reason(stored)
    except BadReason:
        return None
    return stored


def _completed(info_hash: object, completed: object) -> Completed:
    if not (isinstance(completed, int) and 0 <= completed <= _MAX_COMPLETED):
        raise ValueError(f"its completed is {completed!a:.60}")
    return Completed(_info_hash(info_hash), completed)


def _secret(name: str, stored: object, *, size: int) -> bytes:
    secret = _from_hexadecimal(stored, size=size)
    if secret is None:
        raise DatabaseError(
            f"the database's table secrets holds no {size} bytes in hexadecimal under the name {name}; "
            "delete that row to have them made anew"
        )
    return secret


def _from_hexadecimal(stored: object, *, size: int) -> bytes | None:
    """`size` bytes, or None if it is not their digits in either case. (`fromhex` also skips white space.)"""
    if not isinstance(stored, str) or len(stored) != 2 * size:
        return None
    try:
        raw = bytes.fromhex(stored)
    except ValueError:
        return None
    return raw if len(raw) == size else None
