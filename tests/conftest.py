"""For the tests of several rooms: databases, in memory and on each driver; a certificate."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.certificates import make_certificate
from tests.forms import FORMS
from tests.servers import DRIVERS, Server, Store, running_server, sqlite_store
from torrust_py.core.database import BlacklistEntry, Completed, Database, DatabaseState, PeerKey
from torrust_py.core.errors import DatabaseError
from torrust_py.core.types import InfoHash
from torrust_py.databases import open_database

# On a machine that does other work too, time says nothing about a test: no deadlines, and the first use of a
# strategy, which builds its tables, may be slow. Nor is it news what asyncio's debug mode finds slow.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing "))

_LONG = {Path(__file__).parent / room for room in ("pages", "clients")}
_Row = TypeVar("_Row")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first: where two run side by side, none of them is left for the end."""
    items.sort(key=lambda item: item.path.parent not in _LONG)


async def _batches(rows: Iterable[_Row]) -> AsyncIterator[Sequence[_Row]]:
    """Small batches of `rows` as they are now; others get their turn in between, as with a real database."""
    stored = list(rows)
    for start in range(0, len(stored), 2):
        await asyncio.sleep(0)
        yield stored[start : start + 2]


class MemoryDatabase:
    """A Database without a server; the suites that run against every driver keep it true."""

    def __init__(self) -> None:
        self.keys: dict[str, PeerKey] = {}
        self.whitelist: dict[InfoHash, None] = {}
        self.blacklist: dict[InfoHash, BlacklistEntry] = {}
        self.completed: dict[InfoHash, int] = {}
        self.secrets: dict[str, bytes] = {}
        self.state = DatabaseState()

    def load_keys(self) -> AsyncIterator[Sequence[PeerKey]]:
        return _batches(self.keys.values())

    async def add_key(self, key: PeerKey) -> None:
        await asyncio.sleep(0)
        if key.key in self.keys:
            raise DatabaseError("The Memory query was malformed: UNIQUE constraint failed: keys.key")
        self.keys[key.key] = key

    async def remove_key(self, key: str) -> None:
        await asyncio.sleep(0)
        if self.keys.pop(key, None) is None:
            raise DatabaseError("Failed to remove record from Memory database, error-code: 0")

    def load_whitelist(self) -> AsyncIterator[Sequence[InfoHash]]:
        return _batches(self.whitelist)

    async def add_to_whitelist(self, info_hash: InfoHash) -> None:
        await asyncio.sleep(0)
        self.whitelist[info_hash] = None

    async def remove_from_whitelist(self, info_hash: InfoHash) -> None:
        await asyncio.sleep(0)
        self.whitelist.pop(info_hash, None)

    def load_completed(self) -> AsyncIterator[Sequence[Completed]]:
        return _batches(Completed(*row) for row in self.completed.items())

    async def save_completed(self, rows: Sequence[Completed]) -> None:
        await asyncio.sleep(0)
        for info_hash, completed in rows:
            self.completed[info_hash] = max(completed, self.completed.get(info_hash, 0))

    async def restore_key(self, key: str, kept: PeerKey | None) -> None:
        await asyncio.sleep(0)
        self.keys.pop(key, None)
        if kept is not None:
            self.keys[key] = kept

    async def restore_in_whitelist(self, info_hash: InfoHash, *, listed: bool) -> None:
        await asyncio.sleep(0)
        self.whitelist.pop(info_hash, None)
        if listed:
            self.whitelist[info_hash] = None

    def load_blacklist(self) -> AsyncIterator[Sequence[BlacklistEntry]]:
        return _batches(self.blacklist.values())

    async def add_to_blacklist(self, entries: Sequence[BlacklistEntry]) -> None:
        await asyncio.sleep(0)
        self.blacklist |= {entry.info_hash: entry for entry in entries}

    async def remove_from_blacklist(self, info_hash: InfoHash) -> None:
        await asyncio.sleep(0)
        self.blacklist.pop(info_hash, None)

    async def restore_in_blacklist(
        self, info_hashes: Sequence[InfoHash], kept: Sequence[BlacklistEntry]
    ) -> None:
        await asyncio.sleep(0)
        for info_hash in info_hashes:
            self.blacklist.pop(info_hash, None)
        self.blacklist |= {entry.info_hash: entry for entry in kept}

    async def remove_expired_from_blacklist(self, unix_now: int) -> None:
        await asyncio.sleep(0)
        self.blacklist = {
            info_hash: entry
            for info_hash, entry in self.blacklist.items()
            if entry.valid_until is None or entry.valid_until > unix_now
        }

    async def load_secret(self, name: str, *, size: int) -> bytes:
        await asyncio.sleep(0)
        return self.secrets.setdefault(name, bytes(range(size)))


@pytest.fixture
def memory_database() -> Database:
    return MemoryDatabase()


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    """Where the `sqlite3` database of a test is."""
    return tmp_path / "sqlite3.db"


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[Server]:
    """MariaDB, for all tests of a process."""
    with running_server("mysql") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    with running_server("postgresql") as server:
        yield server


@pytest.fixture(params=["mysql", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in its turn."""
    running: Server = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.fixture(params=DRIVERS)
def store(request: pytest.FixtureRequest, database_path: Path) -> Store:
    """An empty database of each driver in turn, with no tables yet."""
    return _store(request, request.param, database_path)


@pytest.fixture(params=["memory", *DRIVERS])
async def database(request: pytest.FixtureRequest, database_path: Path) -> AsyncIterator[Database]:
    """An empty database, of every kind in turn."""
    if request.param == "memory":
        yield MemoryDatabase()
        return
    store = _store(request, request.param, database_path)
    async with open_database(store.driver, store.path) as opened:
        yield opened


def _store(request: pytest.FixtureRequest, driver: str, database_path: Path) -> Store:
    if driver == "sqlite3":
        return sqlite_store(database_path)
    running: Server = request.getfixturevalue(f"{driver}_server")
    return running.empty_store()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For 127.0.0.1, signed by itself, and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def client_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


@pytest.fixture(params=FORMS, scope="session")
def form(request: pytest.FixtureRequest) -> str:
    """Each form of the data plane in its turn."""
    return str(request.param)
