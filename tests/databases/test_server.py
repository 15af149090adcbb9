"""MariaDB and PostgreSQL: how they are opened, and what happens when they are away, slow or cut off."""

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TypeVar

import pytest
import uvloop

from tests.servers import PASSWORD, USER, Server, Store
from torrust_py.core.database import Completed, Database, PeerKey
from torrust_py.core.errors import ChangeInDoubt, DatabaseError
from torrust_py.core.keys import Keys
from torrust_py.core.types import InfoHash
from torrust_py.databases import open_database
from torrust_py.databases import server as server_module
from torrust_py.databases.server import KINDS, LIMIT, create_engine, parse_url
from torrust_py.databases.sql import SqlDatabase
from torrust_py.jobs import undo_doubtful_changes

KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
OTHER_KEY = "xqD6NWH9TcKrOCwDmqcdH5hF5RrbL0A6"
INFO_HASH = InfoHash(b"\2" * 20)
HANG = 6.0
"""Seconds in which a change that fails has to have failed: 4, and 2 that a loaded machine may take."""

_Row = TypeVar("_Row")


async def all_of(batches: AsyncIterator[Sequence[_Row]]) -> list[_Row]:
    return [row async for rows in batches for row in rows]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def failure_of(driver: str, url: str) -> str:
    with pytest.raises(DatabaseError) as failure:
        async with open_database(driver, url):
            raise AssertionError("it opened")
    text = str(failure.value)
    assert text.isprintable()
    return text


@pytest.fixture
def store(server: Server) -> Store:
    """An empty database of each server."""
    return server.empty_store()


@pytest.fixture
async def database(store: Store) -> AsyncIterator[Database]:
    async with open_database(store.driver, store.path) as opened:
        yield opened


# --- the URL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://db_user:db_user_secret_password@mysql:3306/torrust_tracker",
         ("db_user", "db_user_secret_password", "mysql", 3306, "torrust_tracker")),
        ("mysql://u:p@host/db", ("u", "p", "host", 3306, "db")),
        ("postgresql://u:p@host/db", ("u", "p", "host", 5432, "db")),
        ("postgres://u:p@[::1]:5433/db", ("u", "p", "::1", 5433, "db")),
        ("mysql://u%40v:p%40ss%2F%3A%3F%23%25%20@host/my%20db", ("u@v", "p@ss/:?#% ", "host", 3306, "my db")),
        ("mysql://u:p@ss@host/db", ("u", "p@ss", "host", 3306, "db")),
        ("mysql://u:p:q@host/db", ("u", "p:q", "host", 3306, "db")),
        ("mysql://u:p+q@host/db", ("u", "p+q", "host", 3306, "db")),
        ("mysql://u@host/db", ("u", None, "host", 3306, "db")),
        ("mysql://u:@host/db", ("u", "", "host", 3306, "db")),
        ("postgresql://host/db", (None, None, "host", 5432, "db")),
    ],
)  # fmt: skip
def test_a_url_says_where_the_database_is(url: str, expected: tuple[object, ...]) -> None:
    kind = KINDS["mysql" if url.startswith("mysql") else "postgresql"]
    parsed, _ = parse_url(kind, url)
    found = (parsed.username, parsed.password, parsed.host, parsed.port, parsed.database)
    assert found == expected


@pytest.mark.parametrize(
    ("driver", "url"),
    [
        ("mysql", "mysql://u:hush@host"),
        ("mysql", "mysql://u:hush@host/"),
        ("mysql", "mysql://u:hush@/db"),
        ("mysql", "mysql://u:hush@host:port/db"),
        ("mysql", "mysql://u:hush@host:99999/db"),
        ("mysql", "mysql://u:hush@[::1/db"),
        ("mysql", "mysql://u:#hush@host/db"),
        ("mysql", "mysql://u:/hush@host/db"),
        ("mysql", "mysql://u:1/hush@host/db"),
        ("mysql", "mysql://u:1/?hush@host/db"),
        ("mysql", "mysql+pymysql://u:hush@host/db"),
        ("mysql", "postgresql://u:hush@host/db"),
        ("postgresql", "mysql://u:hush@host/db"),
        ("postgresql", "oracle://u:hush@host/db"),
        ("postgresql", "postgresql:u:hush"),
        ("postgresql", "://u:hush@host/db"),
    ],
)
async def test_a_url_that_cannot_be_read_ends_the_start_and_is_not_shown(driver: str, url: str) -> None:
    failure = await failure_of(driver, url)
    assert f"core.database.path must be a URL such as {driver}://user:password@host:" in failure
    assert "hush" not in failure


async def test_a_parameter_that_means_nothing_ends_the_start(server: Server) -> None:
    failure = await failure_of(server.driver, server.url() + "?charset=hush")
    assert failure.startswith(
        "cannot open the database: the URL in core.database.path may have no parameters but "
    )
    assert "hush" not in failure


async def test_a_server_is_reached_by_its_socket(server: Server, store: Store) -> None:
    parameter = {"mysql": "socket", "postgresql": "host"}[server.driver]
    # PostgreSQL lets nobody in by its socket here, which it says over the socket.
    url = f"{store.path}?{parameter}={server.socket}"
    if server.driver == "mysql":
        url = url.replace(f"127.0.0.1:{server.port}", "unreachable.invalid")
        async with open_database(server.driver, url) as database:
            assert await all_of(database.load_keys()) == []
    else:
        assert 'no pg_hba.conf entry for host "[local]"' in await failure_of(server.driver, url)


async def test_a_missing_driver_is_named_with_its_remedy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"mysql": "asyncmy", "postgresql": "asyncpg"}[server.driver]

    def create(*_: object, **__: object) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(server_module, "create_async_engine", create)
    failure = await failure_of(server.driver, server.url())
    assert f"is not installed ({package}); pip install 'torrust_py[{server.driver}]'" in failure


# --- opening


async def test_what_was_kept_is_there_when_the_server_was_stopped_and_started(
    server: Server, store: Store
) -> None:
    async with open_database(store.driver, store.path) as database:
        await database.add_key(PeerKey(KEY, 1))
        await database.save_completed([Completed(INFO_HASH, 5)])
        secret = await database.load_secret("ids", size=16)
    with server.stopped():
        pass
    async with open_database(store.driver, store.path) as database:
        assert await all_of(database.load_keys()) == [PeerKey(KEY, 1)]
        assert await all_of(database.load_completed()) == [(INFO_HASH, 5)]
        assert await database.load_secret("ids", size=16) == secret


async def test_trackers_can_start_at_once_on_an_empty_database(store: Store) -> None:
    async def start() -> bytes:
        async with open_database(store.driver, store.path) as database:
            return await database.load_secret("ids", size=16)

    assert len(set(await asyncio.gather(*(start() for _ in range(4))))) == 1


async def test_who_may_not_make_tables_can_use_those_that_are_there(server: Server, store: Store) -> None:
    async with open_database(store.driver, store.path):
        pass
    with server.may_make_no_tables():
        async with open_database(store.driver, store.path) as database:
            await database.add_key(PeerKey(KEY, None))


async def test_who_may_not_make_tables_is_told_so(server: Server, store: Store) -> None:
    with server.may_make_no_tables():
        failure = await failure_of(store.driver, store.path)
    assert "denied" in failure
    assert failure.endswith("; allow this user to use the database and to make tables in it")


async def at_once(driver: str, url: str) -> str:
    began = time.monotonic()
    failure = await failure_of(driver, url)
    assert time.monotonic() - began < HANG
    return failure


async def test_a_wrong_password_ends_the_start_at_once(server: Server) -> None:
    failure = await at_once(server.driver, server.url(password="hush%me"))
    assert failure.startswith(
        f"cannot open the database {server.driver}://{USER}@127.0.0.1:{server.port}/torrust_tracker: "
    )
    assert failure.endswith("; correct user and password in core.database.path")
    assert "hush" not in failure


async def test_an_unknown_user_ends_the_start_at_once(server: Server) -> None:
    failure = await at_once(server.driver, server.url(user="somebody"))
    assert failure.endswith("; correct user and password in core.database.path")


async def test_an_unknown_database_ends_the_start_at_once(server: Server) -> None:
    failure = await at_once(server.driver, server.url(name="missing"))
    # MySQL does not tell who may not use a database whether it is there.
    assert failure.endswith(
        ("; make that database, or change core.database.path",
         "; allow this user to use the database and to make tables in it")
    )  # fmt: skip
    assert "missing" in failure


async def test_what_is_no_such_server_ends_the_start_in_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.2)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as other:
        port = other.sockets[0].getsockname()[1]
        failure = await at_once(server.driver, f"{server.driver}://u:hush@127.0.0.1:{port}/db")
    assert failure.startswith(f"cannot open the database {server.driver}://u@127.0.0.1:{port}/db: ")


# --- waiting for it


async def test_a_start_waits_for_a_server_and_says_so(
    server: Server, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def open_it() -> None:
        async with open_database(store.driver, store.path) as database:
            await database.add_key(PeerKey(KEY, None))

    server.stop()
    try:
        start = asyncio.create_task(open_it())
        await until(lambda: bool(caplog.records))
        assert not start.done()
    finally:
        await asyncio.to_thread(server.start)
    await start
    [line] = [record for record in caplog.records if record.name.startswith("torrust")]
    assert line.levelno == logging.WARNING
    url = re.escape(f"{server.driver}://{USER}@127.0.0.1:{server.port}/torrust_tracker")
    assert re.fullmatch(
        rf"Waiting for the database server {url}, \d s of 60: Connection refused", line.getMessage()
    )


@pytest.mark.parametrize("driver", ["mysql", "postgresql"])
@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1:1", "Connection refused"), ("unknown.invalid:1", ".+")]
)
async def test_a_start_does_not_wait_for_ever(
    driver: str, host: str, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 2.0)
    monkeypatch.setattr(server_module, "_ATTEMPT", 0.5)
    monkeypatch.setattr(server_module, "_PAUSE", 0.01)
    monkeypatch.setattr(server_module, "_REMINDER", 0.1)
    url = f"{driver}://user:hunter2@{host}/torrust"
    with pytest.raises(
        DatabaseError,
        match=rf"^cannot open the database {driver}://user@{host}/torrust: {reason}, for 2 s; "
        r"start the server, or change core\.database\.path$",
    ):
        async with open_database(driver, url):
            raise AssertionError("it opened")
    waits = [record.getMessage() for record in caplog.records if record.name.startswith("torrust")]
    assert len(waits) > 1
    assert not any("hunter2" in wait for wait in waits)


async def test_a_start_that_waits_can_be_given_up(driver_of_nobody: tuple[str, str]) -> None:
    driver, url = driver_of_nobody
    start = asyncio.create_task(failure_of(driver, url))
    await asyncio.sleep(0.05)
    start.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert time.monotonic() - began < 1


@pytest.fixture(params=["refused", "silent"])
async def driver_of_nobody(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[tuple[str, str]]:
    """A driver and a URL where there is nobody, or one who never says anything."""
    if request.param == "refused":
        yield server.driver, f"{server.driver}://u:p@127.0.0.1:1/db"
        return
    end = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await end.wait()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1") as silent:
        yield server.driver, f"{server.driver}://u:p@127.0.0.1:{silent.sockets[0].getsockname()[1]}/db"
        end.set()


# --- when it goes away


async def test_the_next_call_works_when_the_connections_were_cut(server: Server, database: Database) -> None:
    await asyncio.gather(*(database.add_key(PeerKey(f"{number:032}", None)) for number in range(4)))
    server.disconnect()
    await asyncio.gather(*(database.remove_key(f"{number:032}") for number in range(4)))
    assert await all_of(database.load_keys()) == []


async def test_the_next_call_works_when_the_server_was_restarted(server: Server, database: Database) -> None:
    await database.add_key(PeerKey(KEY, 1))
    with server.stopped():
        with pytest.raises(DatabaseError, match=r"^Failed to connect to \w+ database: Connection refused$"):
            await database.add_key(PeerKey(OTHER_KEY, 1))
        with pytest.raises(DatabaseError, match=r"^Failed to connect to \w+ database: Connection refused$"):
            await database.save_completed([Completed(INFO_HASH, 1)])
    await database.save_completed([Completed(INFO_HASH, 1)])
    assert await all_of(database.load_keys()) == [PeerKey(KEY, 1)]
    assert await all_of(database.load_completed()) == [(INFO_HASH, 1)]


@pytest.mark.slow
async def test_changes_give_up_while_the_server_says_nothing(server: Server, database: Database) -> None:
    await database.add_key(PeerKey(KEY, 1))
    with server.paused():
        began = time.monotonic()
        calls = [database.add_key(PeerKey(OTHER_KEY, 1)), all_of(database.load_keys())]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < HANG
    texts = {str(result) for result in results}
    assert all(isinstance(result, DatabaseError) for result in results), results
    assert all(text.endswith("database: it does not answer") for text in texts), texts
    await database.add_key(PeerKey(OTHER_KEY, 1))
    assert sorted(await all_of(database.load_keys())) == [(KEY, 1), (OTHER_KEY, 1)]


async def test_closing_does_not_wait_for_a_server_that_says_nothing(server: Server, store: Store) -> None:
    async with open_database(store.driver, store.path) as database:
        await database.add_key(PeerKey(KEY, 1))
        pause = server.paused()
        pause.__enter__()
        began = time.monotonic()
    took = time.monotonic() - began
    pause.__exit__(None, None, None)
    assert took < 1


async def test_a_row_that_somebody_has_locked_fails_the_change_in_time(
    server: Server, store: Store, database: Database
) -> None:
    async with open_database(store.driver, store.path) as other:
        engine = other._engine  # type: ignore[attr-defined]  # a transaction that stays open
        async with engine.begin() as connection:
            await connection.exec_driver_sql(
                {"mysql": "INSERT INTO `keys` (`key`) VALUES ('%s')",
                 "postgresql": "INSERT INTO keys (key) VALUES ('%s')"}[store.driver] % KEY
            )  # fmt: skip
            began = time.monotonic()
            with pytest.raises(DatabaseError, match=r"^Failed to connect to \w+ database: .*[Ll]ock"):
                await database.add_key(PeerKey(KEY, 1))
            assert time.monotonic() - began < HANG
    with pytest.raises(DatabaseError, match=r"UNIQUE constraint failed: keys\.key$"):
        await database.add_key(PeerKey(KEY, 1))


@contextlib.contextmanager
def hanging_up(delay: Callable[[], float]) -> Iterator[int]:
    """The port of one who takes connections and closes them after so many seconds."""

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                with listening.accept()[0]:
                    time.sleep(delay())

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as thread:
        thread.submit(serve, listening)
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@contextlib.asynccontextmanager
async def unopened(driver: str, url: str) -> AsyncIterator[Database]:
    """A database that need not be there."""
    engine = create_engine(KINDS[driver], *parse_url(KINDS[driver], url))
    yield SqlDatabase(engine, server=KINDS[driver].name, limit=LIMIT)
    await engine.dispose()


def test_a_server_that_hangs_up_at_once_is_away_for_uvloop_too(server: Server) -> None:
    async def ask(url: str) -> None:
        async with unopened(server.driver, url) as database:
            for _ in range(50):
                with pytest.raises(DatabaseError, match=r"^Failed to connect to \w+ database: "):
                    await database.add_key(PeerKey(KEY, 1))

    with (
        hanging_up(lambda: 0) as port,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(ask(server.url(port=port)))


@pytest.mark.slow
async def test_a_caller_may_give_up_at_any_moment(server: Server) -> None:
    """Whoever is cancelled ends, also in the very moment in which a connection is made."""

    async def ask(database: Database) -> None:
        while True:
            with contextlib.suppress(DatabaseError):
                await database.add_key(PeerKey(KEY, 1))
            await asyncio.sleep(0)

    random = Random(1)
    # What asyncpg does with TLS leaves a future behind, which is logged.
    parameters = "?sslmode=disable" if server.driver == "postgresql" else ""
    with hanging_up(lambda: random.random() / 100) as port:
        async with unopened(server.driver, server.url(port=port) + parameters) as database:
            for _ in range(60):
                asking = asyncio.create_task(ask(database))
                await asyncio.sleep(random.random() / 50)
                asking.cancel()
                await asyncio.wait({asking}, timeout=1)
                assert asking.cancelled()


# --- commits that are not confirmed


class Proxy:
    """Between the tracker and the server; cuts a connection at its next commit, before it or after it."""

    def __init__(self, server: Server) -> None:
        self._port = server.port
        self.url = ""
        self.cut = ""
        """`before` the server gets the commit, or `after` it was made."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._copy(server_reader, writer))
        try:
            while data := await reader.read(65536):
                is_commit = b"COMMIT" in data.upper()
                if not (self.cut and is_commit):
                    server_writer.write(data)
                    continue
                if self.cut == "after":
                    back.cancel()
                    server_writer.write(data)
                    await server_reader.read(65536)
                return
        except ConnectionError:
            pass
        finally:
            back.cancel()
            for each in (server_writer, writer):
                each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    proxy = Proxy(server)
    async with await asyncio.start_server(proxy, "127.0.0.1") as listening:
        proxy.url = server.url(port=listening.sockets[0].getsockname()[1])
        yield proxy


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_that_is_not_confirmed_is_in_doubt(store: Store, proxy: Proxy, cut: str) -> None:
    async with open_database(store.driver, proxy.url) as database:
        await database.add_key(PeerKey(OTHER_KEY, 1))
        proxy.cut = cut
        with pytest.raises(ChangeInDoubt, match=r"^Failed to connect to \w+ database: "):
            await database.add_key(PeerKey(KEY, 1))
        proxy.cut = ""
        made = PeerKey(KEY, 1) in await all_of(database.load_keys())
        assert made is (cut == "after")


@pytest.mark.parametrize("change", ["addition", "removal"])
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_what_was_in_doubt_is_undone(store: Store, proxy: Proxy, cut: str, change: str) -> None:
    async with open_database(store.driver, proxy.url) as database:
        keys = Keys(database)
        if change == "removal":
            await keys.add(PeerKey(KEY, 7))
        proxy.cut = cut
        with pytest.raises(ChangeInDoubt):
            await (keys.add(PeerKey(KEY, 7)) if change == "addition" else keys.remove(KEY))
        proxy.cut = ""
        undoing = asyncio.create_task(undo_doubtful_changes(keys.changes))
        await until(lambda: not keys.changes.is_in_doubt)
        undoing.cancel()
        expected = [PeerKey(KEY, 7)] if change == "removal" else []
        assert await all_of(database.load_keys()) == expected
        assert len(keys) == len(expected)


async def test_counters_whose_save_was_not_confirmed_are_counted_once(store: Store, proxy: Proxy) -> None:
    rows = [Completed(InfoHash(number.to_bytes(20)), number) for number in range(1200)]
    async with open_database(store.driver, proxy.url) as database:
        for cut in ("before", "after", ""):
            proxy.cut = cut
            with contextlib.suppress(DatabaseError):
                await database.save_completed(rows)
        assert await all_of(database.load_completed()) == rows


# --- secrets


async def test_neither_password_nor_values_are_logged(
    server: Server, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_database(store.driver, store.path) as database:
        await database.add_key(PeerKey(KEY, None))
        with pytest.raises(DatabaseError) as failure:
            await database.add_key(PeerKey(KEY, None))
        secret = await database.load_secret("ids", size=16)
    logged = caplog.text + str(failure.value)
    assert not any(word in logged for word in (PASSWORD, KEY, secret.hex(), store.path))
