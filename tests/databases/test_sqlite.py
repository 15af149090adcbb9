import asyncio
import contextlib
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from torrust_py.core.database import Completed, PeerKey
from torrust_py.core.errors import DatabaseError
from torrust_py.databases import open_database

KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
TORRUST_FILE = Path(__file__).parent / "torrust.sqlite3.db"
_NOBODY = 65534

_Row = TypeVar("_Row")


async def all_of(batches: AsyncIterator[Sequence[_Row]]) -> list[_Row]:
    return [row async for rows in batches for row in rows]


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "tracker.toml"
    path.write_text("[metadata]\n" * 100)
    return path


async def failure_of(path: str | Path) -> str:
    with pytest.raises(DatabaseError) as failure:
        async with open_database("sqlite3", str(path)):
            raise AssertionError("it opened")
    return str(failure.value)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory for a user to whom permissions apply, who runs the test."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if os.geteuid() != 0:
            yield directory
            return
        os.chown(directory, _NOBODY, _NOBODY)
        os.seteuid(_NOBODY)
        try:
            yield directory
        finally:
            os.seteuid(0)


# --- opening


async def test_what_was_kept_is_there_when_the_file_is_opened_again(database_path: Path) -> None:
    async with open_database("sqlite3", str(database_path)) as database:
        await database.add_key(PeerKey(KEY, 1))
        secret = await database.load_secret("ids", size=16)
    async with open_database("sqlite3", str(database_path)) as database:
        assert await all_of(database.load_keys()) == [PeerKey(KEY, 1)]
        assert await database.load_secret("ids", size=16) == secret


@pytest.mark.clause("5.6.13")
async def test_the_rows_of_a_torrust_database_are_read(database_path: Path) -> None:
    shutil.copy(TORRUST_FILE, database_path)
    async with open_database("sqlite3", str(database_path)) as database:
        assert await all_of(database.load_keys()) == [
            PeerKey("kTFMgr79BNa9q8ajPFCPqCCEY5axh5rr", 1795494830),
            PeerKey("D8HW9Ymj6NhSbZMRqjzWcMwit9I8TlH9", None),
            PeerKey("Xc1L4PbQJSFGlrgSRZl8wxSFAuMa21z5", 1795494830),
            PeerKey("ywmhoUbktBDkPVVRugPlt0Tnb33dsqR8", 1795487690),
        ]
        assert await all_of(database.load_whitelist()) == [b"\1" * 20]
        assert await all_of(database.load_completed()) == [
            (b"\1" * 20, 0),
            (b"\2" * 20, 0),
            (b"\5" * 20, 1),
            (bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422"), 1),
        ]


@pytest.mark.clause("5.6.6")
async def test_torrusts_tables_are_left_as_they_are(database_path: Path) -> None:
    shutil.copy(TORRUST_FILE, database_path)
    async with open_database("sqlite3", str(database_path)):
        pass
    assert schema(database_path).items() >= schema(TORRUST_FILE).items()


@pytest.mark.clause("5.6.13")
async def test_a_torrust_database_takes_changes(database_path: Path) -> None:
    shutil.copy(TORRUST_FILE, database_path)
    async with open_database("sqlite3", str(database_path)) as database:
        await database.remove_key("D8HW9Ymj6NhSbZMRqjzWcMwit9I8TlH9")
        await database.save_completed([Completed((await all_of(database.load_whitelist()))[0], 9)])
        assert len(await all_of(database.load_keys())) == 3
        assert (await all_of(database.load_completed()))[0].completed == 9


def schema(path: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master").fetchall())


async def test_the_file_has_a_write_ahead_log(database_path: Path) -> None:
    async with open_database("sqlite3", str(database_path)):
        with contextlib.closing(sqlite3.connect(database_path)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_the_log_is_gone_when_the_database_is_closed(database_path: Path) -> None:
    async with open_database("sqlite3", str(database_path)) as database:
        await database.add_key(PeerKey(KEY, None))
    assert os.listdir(database_path.parent) == [database_path.name]


async def test_every_connection_waits_for_the_disk_and_three_seconds_for_locks(database_path: Path) -> None:
    async with open_database("sqlite3", str(database_path)) as database:
        engine = database._engine  # type: ignore[attr-defined]  # settings that only show inside
        async with engine.connect() as one, engine.connect() as another:
            for connection in (one, another):
                synchronous = await connection.exec_driver_sql("PRAGMA synchronous")
                busy_timeout = await connection.exec_driver_sql("PRAGMA busy_timeout")
                assert (synchronous.scalar(), busy_timeout.scalar()) == (2, 3000)


async def test_a_relative_path_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_database("sqlite3", "./sqlite3.db"):
        assert (tmp_path / "sqlite3.db").is_file()


@pytest.mark.parametrize("name", ["with space & ? % #.db", "ä.db", "memory", "file"])
async def test_any_name_is_the_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_database("sqlite3", name):
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    ("uri", "name"), [("file:x.db", "x.db"), ("file:./x%20y.db", "x y.db"), ("file:{}/x.db", "x.db")]
)
async def test_a_uri_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_database("sqlite3", uri.format(f"//{tmp_path}")):
        assert name in os.listdir(tmp_path)


@pytest.mark.parametrize("path", [":memory:", "file:x.db?mode=memory", "file::memory:?cache=shared"])
async def test_a_database_in_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatabaseError, match="it would keep nothing; name a file"):
        async with open_database("sqlite3", path):
            pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("uri", ["file:x.db?mode=ro", "file://elsewhere/x.db", "file:"])
async def test_a_uri_that_asks_for_more_is_refused(uri: str) -> None:
    with pytest.raises(DatabaseError, match="a URI may only name a file of this host"):
        async with open_database("sqlite3", uri):
            pass


async def test_a_new_file_cannot_be_written_by_everybody(database_path: Path) -> None:
    umask = os.umask(0)
    try:
        async with open_database("sqlite3", str(database_path)) as database:
            await database.add_key(PeerKey(KEY, None))
            modes = [stat.S_IMODE(file.stat().st_mode) for file in database_path.parent.iterdir()]
    finally:
        os.umask(umask)
    assert modes
    assert not any(mode & stat.S_IWOTH for mode in modes)


async def test_trackers_can_start_at_once_on_a_new_file(database_path: Path) -> None:
    async def start() -> bytes:
        async with open_database("sqlite3", str(database_path)) as database:
            return await database.load_secret("ids", size=16)

    assert len(set(await asyncio.gather(*(start() for _ in range(4))))) == 1


async def test_opening_waits_for_a_lock_that_is_released(database_path: Path) -> None:
    shutil.copy(TORRUST_FILE, database_path)
    with contextlib.closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.02, other.execute, "ROLLBACK")
        async with open_database("sqlite3", str(database_path)) as database:
            assert len(await all_of(database.load_keys())) == 4
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.slow
def test_processes_can_start_at_once_on_a_torrust_file(database_path: Path) -> None:
    shutil.copy(TORRUST_FILE, database_path)
    program = (
        "import asyncio, sys\n"
        "from torrust_py.databases import open_database\n"
        "async def main():\n"
        "    async with open_database('sqlite3', sys.argv[1]) as database:\n"
        "        print((await database.load_secret('ids', size=16)).hex())\n"
        "print('ready', flush=True); sys.stdin.readline(); asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(database_path)]
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(3)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        secrets = {child.communicate()[0] for child in children}
    assert len(secrets) == 1
    assert re.fullmatch(r"[0-9a-f]{32}\n", secrets.pop())


# --- what cannot be opened


async def test_a_missing_directory_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "sqlite3.db"
    assert await failure_of(path) == (
        f"cannot open the database {path}: there is no directory {path.parent}; "
        "make it, or change core.database.path"
    )
    assert not path.parent.exists()


async def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "sqlite3.db"
    assert f"the database {path}: there is no directory {tmp_path}/file; " in await failure_of(path)


@pytest.mark.parametrize("path", ["", "."])
async def test_a_directory_is_no_database(path: str) -> None:
    expected = f"cannot open the database {path}: it is a directory; name a file in core.database.path"
    assert await failure_of(path) == expected


async def test_a_file_of_something_else_is_no_database(text_file: Path) -> None:
    assert await failure_of(text_file) == (
        f"cannot open the database {text_file}: file is not a database; "
        "move it away, or change core.database.path"
    )


def test_a_file_of_something_else_is_left_as_it_is(text_file: Path) -> None:
    before = text_file.read_bytes()
    asyncio.run(failure_of(text_file))
    assert text_file.read_bytes() == before


async def test_a_path_that_no_file_can_have_is_an_error() -> None:
    assert "the database a\\x00b: embedded null" in await failure_of("a\0b")


async def test_the_error_is_one_line_whatever_the_path(tmp_path: Path) -> None:
    assert "\n" not in await failure_of(tmp_path / "missing\n" / "sqlite3.db")


async def test_a_file_that_cannot_be_written_is_an_error(unprivileged: Path) -> None:
    path = unprivileged / "sqlite3.db"
    async with open_database("sqlite3", str(path)):
        pass
    path.chmod(0o400)
    assert await failure_of(path) == (
        f"cannot open the database {path}: attempt to write a readonly database; "
        f"let this user write to it and to its directory {unprivileged}"
    )


@pytest.mark.parametrize("file", ["new", "ours", "torrust"])
def test_a_directory_that_cannot_be_written_is_an_error(unprivileged: Path, file: str) -> None:
    path = unprivileged / "sqlite3.db"
    if file == "ours":
        asyncio.run(kept(path))
    if file == "torrust":
        path.write_bytes(TORRUST_FILE.read_bytes())
    unprivileged.chmod(0o500)
    failure = asyncio.run(failure_of(path))
    unprivileged.chmod(0o700)
    assert failure.startswith(f"cannot open the database {path}: ")
    assert failure.endswith(f"; let this user write to it and to its directory {unprivileged}")


async def test_a_file_that_cannot_be_read_is_an_error(unprivileged: Path) -> None:
    path = unprivileged / "sqlite3.db"
    path.touch(mode=0)
    assert f"{path}: unable to open database file; let this user write" in await failure_of(path)


@pytest.mark.slow
@pytest.mark.parametrize("is_new", [True, False])
async def test_a_file_that_somebody_has_locked_is_an_error(database_path: Path, is_new: bool) -> None:
    if not is_new:
        async with open_database("sqlite3", str(database_path)):
            pass
    with contextlib.closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        failure = await failure_of(database_path)
    assert failure == (
        f"cannot open the database {database_path}: another process has locked it; "
        "stop that process, or change core.database.path"
    )


# --- the end


def threads() -> set[threading.Thread]:
    """All but those of the loop's own executor, which are its to end."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


def have_ended(threads: set[threading.Thread]) -> bool:
    """Whether these end; one that was told to may need a moment for it."""
    for thread in threads:
        thread.join(5)
    return not any(thread.is_alive() for thread in threads)


async def test_no_thread_outlives_the_database(database_path: Path) -> None:
    before = threads()
    async with open_database("sqlite3", str(database_path)) as database:
        await asyncio.gather(*(database.add_key(PeerKey(f"{n:032}", None)) for n in range(8)))
        started = threads() - before
    assert started
    assert have_ended(started)


async def test_no_thread_outlives_a_failed_opening(text_file: Path) -> None:
    before = threads()
    await failure_of(text_file)
    assert have_ended(threads() - before)


@pytest.mark.slow
def test_a_failed_opening_prints_nothing(tmp_path: Path) -> None:
    program = (
        "import asyncio, contextlib, sys\n"
        "from torrust_py.core.errors import DatabaseError\n"
        "from torrust_py.databases import open_database\n"
        "async def main():\n"
        "    async with open_database('sqlite3', sys.argv[1]):\n"
        "        print('it opened')\n"
        "for _ in range(50):\n"
        "    with contextlib.suppress(DatabaseError):\n"
        "        asyncio.run(main(), debug=False)\n"  # else a busy machine has slow callbacks told of
    )
    command = [sys.executable, "-X", "dev", "-c", program, str(tmp_path / "missing" / "sqlite3.db")]
    ended = subprocess.run(command, capture_output=True, check=True, text=True)
    assert (ended.stdout, ended.stderr) == ("", "")


async def test_an_error_of_the_caller_comes_out_as_it_is(database_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_database("sqlite3", str(database_path)):
            raise ZeroDivisionError


@pytest.mark.clause("5.6.14")
@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(database_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from torrust_py.core.database import Completed, PeerKey\n"
        "from torrust_py.databases import open_database\n"
        "async def main():\n"
        "    async with open_database('sqlite3', sys.argv[1]) as database:\n"
        f"        await database.add_key(PeerKey({KEY!r}, 5))\n"
        "        await database.add_to_whitelist(bytes(20))\n"
        "        await database.save_completed([Completed(bytes(20), 7)])\n"
        "        print('kept', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(database_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "kept\n"
        child.kill()
    assert asyncio.run(kept(database_path)) == ([PeerKey(KEY, 5)], [bytes(20)], [(bytes(20), 7)])


async def kept(path: Path) -> tuple[object, object, object]:
    async with open_database("sqlite3", str(path)) as database:
        return (
            await all_of(database.load_keys()),
            await all_of(database.load_whitelist()),
            await all_of(database.load_completed()),
        )
