"""Real databases for tests: an SQLite file; MariaDB and PostgreSQL (Debian's) in directories of their own."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tests.ports import free_port
from tests.skips import do_without
from torrust_py.databases import open_database

DRIVERS = ["sqlite3", "mysql", "postgresql"]

USER = "db user"
PASSWORD = "p@ss:w/rd?%#&\u00e4"
_NAME = "torrust_tracker"
_POSTGRESQL = Path("/usr/lib/postgresql")
_STARTING = 30.0  # seconds
_TORRUST_FILE = Path(__file__).parent / "databases" / "torrust.sqlite3.db"

TORRUST_MYSQL = """
CREATE TABLE whitelist (
    id integer PRIMARY KEY AUTO_INCREMENT, info_hash VARCHAR(40) NOT NULL UNIQUE
) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE torrents (
    id integer PRIMARY KEY AUTO_INCREMENT, info_hash VARCHAR(40) NOT NULL UNIQUE,
    completed INTEGER DEFAULT 0 NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE "keys" (
    id INT NOT NULL AUTO_INCREMENT, "key" VARCHAR(32) NOT NULL, valid_until INT(10),
    PRIMARY KEY (id), UNIQUE ("key")
) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci
"""
"""The collation is that of a server which was not told of another: it takes a for A."""
_PAUSE = 0.02

_LOCK = {
    "sqlite3": ["BEGIN EXCLUSIVE"],
    "mysql": ['LOCK TABLES "keys" WRITE, whitelist WRITE'],
    "postgresql": ["BEGIN", 'LOCK TABLE "keys", whitelist IN ACCESS EXCLUSIVE MODE'],
}


class Store:
    """A database of one test, as the tracker is told of it, and as somebody else's program sees it."""

    def __init__(self, driver: str, path: str, url: URL) -> None:
        self.driver = driver
        self.path = path
        self._url = url

    @property
    def config(self) -> str:
        """The lines of `[core.database]`."""
        return f'driver = "{self.driver}"\npath = "{self.path}"'

    def execute(
        self, statement: str, rows: Sequence[Mapping[str, object]] = (), **values: object
    ) -> list[Any]:
        """The rows that a statement, or the last of several between semicolons, gives; they are committed.

        Names in double quotes are quoted for every server; `:name` stands for a value. With `rows`, it is
        executed once for each of them.
        """
        # In another thread, for there may be a loop in this one. Tests may block it.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._execute(statement, list(rows) or values)).result()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else can change keys or whitelist meanwhile."""
        held, done = threading.Event(), threading.Event()

        async def hold() -> None:
            engine = self._engine()
            async with engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                for statement in _LOCK[self.driver]:
                    await connection.exec_driver_sql(statement)
                held.set()
                await asyncio.to_thread(done.wait)
            await engine.dispose()

        with ThreadPoolExecutor(1) as thread:
            holding = thread.submit(asyncio.run, hold())
            try:
                assert held.wait(10), holding.result(0)
                yield
            finally:
                done.set()
            holding.result()

    async def _execute(self, statement: str, values: Any) -> list[Any]:
        engine = self._engine()
        rows: list[Any] = []
        async with engine.connect() as connection:
            if not isinstance(values, list):
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            for each in filter(str.strip, statement.split(";")):
                result = await connection.execute(text(each), values)
                rows = [tuple(row) for row in result] if result.returns_rows else []
            await connection.commit()
        await engine.dispose()
        return rows

    def _engine(self) -> AsyncEngine:
        connect_args: dict[str, Any] = {}
        if self.driver == "mysql":
            connect_args["init_command"] = "SET sql_mode = 'ANSI_QUOTES'"
            connect_args["password"] = (self._url.password or "").encode()  # asyncmy would have it in Latin-1
        return create_async_engine(self._url, connect_args=connect_args, poolclass=NullPool)


def fill_as_torrust_did(store: Store) -> None:
    """What the real Torrust left in an SQLite file, on any server; on MySQL in tables as Torrust makes them.

    Torrust knows no PostgreSQL: there the tables are ours.
    """
    if store.driver == "sqlite3":
        shutil.copy(_TORRUST_FILE, store.path)
        return
    if store.driver == "mysql":
        store.execute(TORRUST_MYSQL)
    else:
        asyncio.run(_make_tables(store))
    for table, columns in (
        ("whitelist", ["info_hash"]),
        ("torrents", ["info_hash", "completed"]),
        ("keys", ["key", "valid_until"]),
    ):
        quoted = ", ".join(f'"{column}"' for column in columns)
        rows = sqlite_store(_TORRUST_FILE).execute(f'SELECT {quoted} FROM "{table}" ORDER BY id')
        values = ", ".join(f":{column}" for column in columns)
        store.execute(
            f'INSERT INTO "{table}" ({quoted}) VALUES ({values})',
            [dict(zip(columns, row, strict=True)) for row in rows],
        )


async def _make_tables(store: Store) -> None:
    async with open_database(store.driver, store.path):
        pass


def sqlite_store(path: Path) -> Store:
    return Store("sqlite3", str(path), URL.create("sqlite+aiosqlite", database=str(path)))


class Server:
    """A server that runs, as a user who may not be root, until it is stopped."""

    def __init__(self, driver: str, user: str, programs: str, directory: Path) -> None:
        self.driver = driver
        self._programs = programs
        self._directory = directory
        self._user = user if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(directory, self._user)
        self._log = (directory / "log").open("wb")
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.ExitStack() as failure:
            failure.callback(self.close)
            self._make()
            self.start()
            self._admin("CREATE DATABASE " + _NAME)
            self._allow_user()
            failure.pop_all()

    def _make(self) -> None:
        if self.driver == "mysql":
            self._run(
                "mariadb-install-db", "--no-defaults", f"--datadir={self._data}", "--skip-test-db",
                "--auth-root-authentication-method=normal",
            )  # fmt: skip
        else:
            self._run("initdb", "-A", "trust", "-U", "root", "--no-sync", "-D", self._data)
            (self._directory / "data" / "pg_hba.conf").write_text(
                "host all root 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            )

    def _allow_user(self) -> None:
        if self.driver == "mysql":
            for host in ("127.0.0.1", "localhost"):  # by TCP and by the socket
                self._admin(f"CREATE USER :user@'{host}' IDENTIFIED BY :word", user=USER, word=PASSWORD)
                self._admin(f"GRANT ALL ON {_NAME}.* TO :user@'{host}'", user=USER)
        else:
            self._admin(f"CREATE ROLE \"{USER}\" LOGIN PASSWORD '{PASSWORD}'")

    def start(self) -> None:
        """Return once it answers."""
        if self.driver == "mysql":
            command = [
                "mariadbd", "--no-defaults", f"--datadir={self._data}", f"--port={self.port}",
                "--bind-address=127.0.0.1", f"--socket={self._directory}/socket", "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=16M",
            ]  # fmt: skip
        else:
            command = [
                "postgres", "-D", self._data, "-p", str(self.port), "-k", str(self._directory),
                "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB",
            ]  # fmt: skip
        self._process = self._spawn(*command)
        until = time.monotonic() + _STARTING
        while True:
            with contextlib.suppress(SQLAlchemyError, OSError):
                self._admin("SELECT 1")
                return
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError((self._directory / "log").read_text(errors="replace")[-4000:])
            time.sleep(_PAUSE)

    def stop(self) -> None:
        """What a service manager does: connections are closed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM if self.driver == "mysql" else signal.SIGINT)
            self._process.wait(_STARTING)
            self._process = None

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if self.driver == "postgresql" else signal.SIGKILL)
            self._process.wait(_STARTING)
        self._log.close()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """It is away meanwhile, and back afterwards."""
        self.stop()
        yield
        self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It takes connections meanwhile, and says nothing."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        processes = [pid, *map(int, children)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def url(
        self, *, user: str = USER, password: str = PASSWORD, name: str = _NAME, port: int | None = None
    ) -> str:
        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"{self.driver}://{credentials}@127.0.0.1:{port or self.port}/{name}"

    def empty_store(self) -> Store:
        """The one database that the user has, without tables."""
        if self.driver == "mysql":
            self._admin(f"DROP DATABASE {_NAME}; CREATE DATABASE {_NAME}")
        else:
            self._admin(
                f'DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION "{USER}"', database=_NAME
            )
        return Store(self.driver, self.url(), self._sqlalchemy(USER, PASSWORD, _NAME))

    @contextlib.contextmanager
    def may_make_no_tables(self) -> Iterator[None]:
        """The user may read and write only, meanwhile."""
        if self.driver == "mysql":
            self._admin(f"REVOKE CREATE ON {_NAME}.* FROM :user@'127.0.0.1'", user=USER)
        else:
            self._admin(
                f'ALTER SCHEMA public OWNER TO root; GRANT USAGE ON SCHEMA public TO "{USER}"', database=_NAME
            )
        yield
        if self.driver == "mysql":
            self._admin(f"GRANT ALL ON {_NAME}.* TO :user@'127.0.0.1'", user=USER)

    @property
    def socket(self) -> str:
        """Its Unix socket, or, of PostgreSQL, the directory of it."""
        return str(self._directory / "socket") if self.driver == "mysql" else str(self._directory)

    def disconnect(self) -> None:
        """End the connections of the user."""
        if self.driver == "mysql":
            processes = "SELECT id FROM information_schema.processlist WHERE user = :user"
            for [process] in self._admin(processes, user=USER):
                self._admin(f"KILL {process}")
        else:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :user"
            self._admin(ended, user=USER)

    def _admin(self, statement: str, *, database: str | None = None, **values: object) -> list[Any]:
        name = database or ("mysql" if self.driver == "mysql" else "postgres")
        return Store(self.driver, "", self._sqlalchemy("root", None, name)).execute(statement, **values)

    def _sqlalchemy(self, user: str, password: str | None, name: str) -> URL:
        dialect = {"mysql": "mysql+asyncmy", "postgresql": "postgresql+asyncpg"}[self.driver]
        return URL.create(dialect, user, password, "127.0.0.1", self.port, name)

    @property
    def _data(self) -> str:
        return str(self._directory / "data")

    def _run(self, *command: str) -> None:
        assert self._spawn(*command).wait(60) == 0, (self._directory / "log").read_text(errors="replace")

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        identity: dict[str, Any] = {}
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            [str(shutil.which(program, path=self._programs)), *arguments],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={"PATH": self._programs, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            **identity,
        )


@contextlib.contextmanager
def running_server(driver: str) -> Iterator[Server]:
    """Skips the test where the programs are not installed."""
    program, user = {"mysql": ("mariadbd", "mysql"), "postgresql": ("postgres", "postgres")}[driver]
    programs = os.pathsep.join(
        [os.environ["PATH"], "/usr/sbin", *map(str, sorted(_POSTGRESQL.glob("*/bin"), reverse=True))]
    )
    if shutil.which(program, path=programs) is None:
        do_without(f"{program} is not installed (Debian: mariadb-server, postgresql)")
    with tempfile.TemporaryDirectory(prefix=f"{driver}-", ignore_cleanup_errors=True) as directory:
        server = Server(driver, user, programs, Path(directory))
        try:
            yield server
        finally:
            server.close()
