"""What the host does to the daemon: no space, a damaged file, a clock that is set, no memory, a kill at any
moment.
"""

import contextlib
import json
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.doors import (
    announce_request,
    announce_target,
    answer_to,
    connection_id,
    unharmed,
)
from tests.skips import do_without
from torrust_py.core.types import AnnounceEvent
from torrust_py.udp.packets import encode_connect_request

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

CONNECT = encode_connect_request(b"abcd")
KEEP_COMPLETED = "[core.tracker_policy]\npersistent_torrent_completed_stat = true"


# --- the disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        do_without(f"a small file system cannot be mounted: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """No byte more can be written."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


def on(disk: Path, config: str) -> str:
    """With the database there."""
    return config.replace('path = "sqlite3.db"', f'path = "{disk}/sqlite3.db"')


def wait_until_kept(database: Path, completed: int) -> None:
    """The one counter has this value in the file."""
    until = time.monotonic() + 20
    while True:
        with contextlib.closing(sqlite3.connect(database)) as opened:
            rows = opened.execute("SELECT completed FROM torrents").fetchall()
        if rows == [(completed,)]:
            return
        assert time.monotonic() < until, rows
        time.sleep(0.1)


def complete(client: Any, info_hash: bytes, port: int) -> None:
    """A peer that starts and completes."""
    client.announce(info_hash, port, left=1)
    client.announce(info_hash, port, event=AnnounceEvent.COMPLETED)


def test_a_full_disk_loses_nothing_that_was_acknowledged(
    start: Start, configure: Configure, disk: Path, info_hash: bytes
) -> None:
    config = on(disk, configure(KEEP_COMPLETED, listed=True))
    daemon = start(config)
    allowed, refused = info_hash, bytes(20)
    assert daemon.api(f"whitelist/{allowed.hex()}", method="POST")[0] == 200
    with unharmed(daemon), daemon.conversation() as client:
        with full(disk):
            begun = time.monotonic()
            status, body = daemon.api(f"whitelist/{refused.hex()}", method="POST")
            assert (status, time.monotonic() - begun < 5) == (500, True)
            assert b"failed to whitelist torrent: " in body
            assert b"disk is full" in body
            assert b"is not whitelisted" in daemon.get("http", announce_target(refused, 6881))[1]
            complete(client, allowed, 6881)
            daemon.wait_for_line("WARN .*The completed counters of 1 torrents are not saved yet")
            assert daemon.torrent(allowed)["completed"] == 1
        assert daemon.api(f"whitelist/{refused.hex()}", method="POST")[0] == 200
        wait_until_kept(disk / "sqlite3.db", 1)
        complete(client, allowed, 6882)
    assert daemon.stop() == 0
    daemon = start(config)
    assert daemon.torrent(allowed)["completed"] == 2
    for info_hash_ in (allowed, refused):
        assert b"failure reason" not in daemon.get("http", announce_target(info_hash_, 6881))[1]


def test_a_disk_that_cannot_be_written_to_ends_the_start(
    launch: Start, configure: Configure, disk: Path
) -> None:
    remount = ["mount", "-o", "remount,ro", str(disk)]
    subprocess.run(remount, check=True, capture_output=True)
    daemon = launch(on(disk, configure()))
    assert daemon.wait() == 1
    assert daemon.errors() == (
        f"torrust-tracker: cannot open the database {disk}/sqlite3.db: unable to open database file; "
        f"let this user write to it and to its directory {disk}\n"
    )


def test_a_damaged_database_ends_the_start_and_is_left_as_it_is(
    start: Start, launch: Start, configure: Configure, tmp_path: Path
) -> None:
    config = configure()
    assert start(config).stop() == 0
    damaged = random.Random(1).randbytes(8192)
    (tmp_path / "sqlite3.db").write_bytes(damaged)
    daemon = launch(config)
    assert daemon.wait() == 1
    errors = daemon.errors()
    assert errors.startswith("torrust-tracker: cannot open the database sqlite3.db: file is not a database; ")
    assert (tmp_path / "sqlite3.db").read_bytes() == damaged


# --- the clock

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
DAY = 24 * 60 * 60


@pytest.fixture
def wall_clock(tmp_path: Path) -> Callable[[int], None]:
    """Sets the clock of daemons that are started with `faked`: so many seconds from the true time."""

    def set_to(offset: int) -> None:
        new = tmp_path / "new clock"
        new.write_text(f"{offset:+d}\n")
        new.rename(tmp_path / "clock")

    set_to(0)
    return set_to


def faked(directory: Path) -> dict[str, str]:
    """The environment in which the wall clock, and no other, can be set."""
    if not FAKETIME.exists():
        do_without("libfaketime is not installed")
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(directory / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


@pytest.mark.parametrize("offset", [-DAY, DAY], ids=["back", "forward"])
def test_a_clock_that_is_set_forgets_no_peer_and_no_connection(
    start: Start,
    configure: Configure,
    wall_clock: Callable[[int], None],
    tmp_path: Path,
    info_hash: bytes,
    offset: int,
) -> None:
    policy = "inactive_peer_cleanup_interval = 1\n[core.tracker_policy]\nmax_peer_timeout = 60"
    daemon = start(configure(policy), **faked(tmp_path))
    with unharmed(daemon), daemon.conversation() as client:
        client.announce(info_hash, 6881)
        before = daemon.torrent(info_hash)
        wall_clock(offset)
        today = time.strftime("%a, %d %b %Y", time.gmtime())
        assert not daemon.request("http", "/health_check").headers["Date"].startswith(today)
        time.sleep(2.5)  # passes of the clean-up
        assert daemon.torrent(info_hash) == before
        assert client.announce(info_hash, 6882).leechers == 0
        assert daemon.torrent(info_hash)["seeders"] == 2


# --- memory


def test_without_memory_the_tracker_answers_on(start: Start, configure: Configure) -> None:
    """New torrents take each other's place, and everybody is answered; afterwards more are stored again."""
    daemon = start(configure("[core.limits]\nmax_torrents = 0\nmax_peers = 0"))
    pid = daemon.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_AS)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    with daemon.udp() as client, daemon.udp() as flooding:
        connection = connection_id(client)
        known = announce_request(connection, bytes(20), 6881)
        for _ in range(2):  # what was announced once only may have to go
            answer_to(client, known)
        resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE, limits[1]))
        flooding.setblocking(False)
        answered = 0
        for number in range(1, FLOOD + 1):
            flooding.send(announce_request(connection, number.to_bytes(20, "big"), 6882))
            if number % 50 == 0:
                answer_to(client, known)
                answer_to(client, CONNECT)
                answered += drained(flooding)
        assert answered > 0.99 * FLOOD
        assert daemon.get("http", announce_target(b"old" + bytes(17), 6884))[0] == 200
        stored = json.loads(daemon.api("stats")[1])["torrents"]
        assert 1_000 < stored < FLOOD
        resource.prlimit(pid, resource.RLIMIT_AS, limits)
        for number in range(1, 1_001):
            answer_to(
                client, announce_request(connection, number.to_bytes(3, "big") + b"new" * 5 + b"ab", 6883)
            )
    assert json.loads(daemon.api("stats")[1])["torrents"] > stored + 500
    assert daemon.stop() == 0


FLOOD = 150_000
SPARE = 32 << 20  # bytes of address space; half of it is not for peers


def drained(client: socket.socket) -> int:
    """How many answers there are."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while client.recv(2048):
            count += 1
    return count


# --- a kill


def test_a_kill_at_any_moment_counts_nothing_twice(
    start: Start, configure: Configure, info_hash: bytes
) -> None:
    config = configure(KEEP_COMPLETED)
    moments = random.Random(2)
    least, most = 0, 0  # that may have been kept
    for _ in range(8):
        daemon = start(config)
        with daemon.conversation() as client:
            complete(client, info_hash, 1)
            completed = daemon.torrent(info_hash)["completed"] - 1
            assert least <= completed <= most
            least, most = completed, completed + 1
            until = time.monotonic() + moments.uniform(0.5, 2)
            while time.monotonic() < until:
                complete(client, info_hash, 1024 + most % 60_000)  # a fast host does more than that
                most += 1
        daemon.process.send_signal(signal.SIGKILL)
        daemon.wait()
    assert least > 0
