"""The swarms outlive a restart: docs/reliability.md has what is promised."""

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forms import FORMS
from torrust_py.core.types import AnnounceEvent
from torrust_py.snapshots import SnapshotReader
from torrust_py.snapshots.format import Header, SnapshotEncoder

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

SELDOM = '[core.snapshot]\npath = "swarms.snapshot"\ninterval = 86400\n'
OFTEN = '[core.snapshot]\npath = "swarms.snapshot"\ninterval = 1\n'
HASHES = [bytes([number]) * 20 for number in range(1, 4)]
WARNING = "WARN torrust_tracker::core::snapshots: The snapshot swarms.snapshot "


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The snapshot of the daemon that a test starts."""
    return tmp_path / "swarms.snapshot"


def crowd(daemon: Any) -> None:
    """Peers over UDP and HTTP, of both families and roles, in every state that the API shows."""
    for ipv6 in (False, True):
        with daemon.conversation(ipv6=ipv6) as client:
            for number, info_hash in enumerate(HASHES):
                for port in range(1, 40):
                    client.announce(info_hash, port, left=port % 3, event=AnnounceEvent(port % 2 * 2))
                client.announce(info_hash, 7, event=AnnounceEvent.COMPLETED, left=0)
                client.announce(info_hash, 1 + number, event=AnnounceEvent.STOPPED)
    daemon.announce(HASHES[0], port=50, uploaded=2**63 - 1, downloaded=5, left=-1, event="started")
    daemon.announce(HASHES[0], port=51, ipv6=True, left=0, event="completed")


def shown(daemon: Any) -> list[Any]:
    """All that the API says of the swarms."""
    torrents = [daemon.api(f"torrent/{info_hash.hex()}") for info_hash in HASHES]
    counts = {name: daemon.stats()[name] for name in ("torrents", "seeders", "completed", "leechers")}
    return [daemon.api("torrents"), *torrents, counts]


def info(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torrust_py", "snapshot", "info", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda number: str(number.name))
@pytest.mark.parametrize("writer", FORMS)
@pytest.mark.parametrize("reader", FORMS)
def test_the_api_shows_the_same_after_a_restart(
    start: Start, configure: Configure, file: Path, writer: str, reader: str, end: signal.Signals
) -> None:
    daemon = start(configure(SELDOM), TORRUST_TRACKER_DATA_PLANE=writer)
    daemon.wait_for_line("INFO torrust_tracker::core::snapshots: There is no snapshot swarms.snapshot yet")
    crowd(daemon)
    before = shown(daemon)
    assert before[-1]["torrents"] == 3
    assert before[-1]["completed"] == 6
    assert daemon.stop(end) == 0
    peers = before[-1]["seeders"] + before[-1]["leechers"]
    daemon.wait_for_line(rf"INFO .*: Snapshot swarms\.snapshot written in \d+ ms: 3 torrents, {peers} peers$")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    daemon = start(configure(SELDOM), TORRUST_TRACKER_DATA_PLANE=reader)
    daemon.wait_for_line(
        rf"INFO .*: Snapshot swarms\.snapshot, written \d+ s ago, read in \d+ ms: 3 torrents, {peers} peers; "
        "0 peers had expired$"
    )
    assert shown(daemon) == before


def test_the_swarms_are_there_when_the_first_socket_answers(start: Start, configure: Configure) -> None:
    daemon = start(configure(SELDOM))
    crowd(daemon)
    daemon.stop()
    daemon = start(configure(SELDOM))
    lines = "\n".join(daemon.lines)
    assert lines.index(": Snapshot swarms.snapshot, ") < lines.index("Started on: udp://")


def test_without_the_option_nothing_is_kept(start: Start, configure: Configure, tmp_path: Path) -> None:
    daemon = start()
    crowd(daemon)
    assert daemon.stop() == 0
    assert not [name for name in os.listdir(tmp_path) if "snapshot" in name]
    assert not [line for line in daemon.lines if "snapshots:" in line]


def test_peers_whose_time_is_over_do_not_come_back(start: Start, configure: Configure, file: Path) -> None:
    core = SELDOM + "[core.tracker_policy]\nmax_peer_timeout = 30\n"
    daemon = start(configure(core))
    crowd(daemon)
    daemon.stop()
    let_pass(60, file)
    daemon = start(configure(core))
    daemon.wait_for_line(r"INFO .*: Snapshot .*: 0 torrents, 0 peers; \d\d\d peers had expired$")
    assert daemon.stats()["torrents"] == 0


def let_pass(seconds: int, file: Path) -> None:
    """Write the snapshot anew as if it were older."""
    encoder = SnapshotEncoder()
    with file.open("rb") as opened:
        reader = SnapshotReader(opened)
        written_ms, origin = reader.header
        blocks = [*reader.blocks()]
    older = encoder.header(Header(written_ms - 1000 * seconds, origin - seconds))
    file.write_bytes(older + b"".join(map(encoder.block, blocks)) + encoder.end(reader.totals))


def test_the_completed_counter_is_the_larger_of_snapshot_and_database(
    start: Start, configure: Configure, file: Path, tmp_path: Path
) -> None:
    core = SELDOM + "[core.tracker_policy]\npersistent_torrent_completed_stat = true\n"
    daemon = start(configure(core))
    crowd(daemon)
    daemon.stop()
    shutil.copy(file, tmp_path / "older")
    shutil.copy(daemon.database, tmp_path / "older.db")
    daemon = start(configure(core))
    with daemon.conversation() as client:
        client.announce(HASHES[1], 8, event=AnnounceEvent.COMPLETED, left=0)
    assert daemon.torrent(HASHES[1])["completed"] == 3
    daemon.stop()
    newer = tmp_path / "newer"
    file.rename(newer)
    shutil.copy(tmp_path / "older", file)
    daemon = start(configure(core))  # the database has more
    assert daemon.torrent(HASHES[1])["completed"] == 3
    daemon.stop()
    newer.rename(file)
    for name in ("sqlite3.db-wal", "sqlite3.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "older.db", daemon.database)
    daemon = start(configure(core))  # the snapshot has more, which the database then gets
    assert daemon.torrent(HASHES[1])["completed"] == 3
    daemon.stop()
    file.unlink()
    assert start(configure(core)).torrent(HASHES[1])["completed"] == 3


def test_a_killed_tracker_has_what_was_written_last(start: Start, configure: Configure, file: Path) -> None:
    daemon = start(configure(OFTEN))
    crowd(daemon)
    before = shown(daemon)
    daemon.wait_for_line(": Snapshot swarms.snapshot written", times=len(written(daemon)) + 2)
    daemon.stop(signal.SIGKILL)
    assert shown(start(configure(SELDOM))) == before


def written(daemon: Any) -> list[str]:
    return [line for line in daemon.lines if ": Snapshot swarms.snapshot written" in line]


@pytest.mark.parametrize("attempt", range(6))
def test_a_kill_at_any_moment_leaves_a_whole_snapshot(
    start: Start, configure: Configure, file: Path, attempt: int
) -> None:
    """While a new one is being written, which is why it is tried again: it is at another moment each time."""
    daemon = start(configure(OFTEN))
    crowd(daemon)
    daemon.wait_for_line(": Snapshot swarms.snapshot written", times=2)
    until = time.monotonic() + 60
    while not file.with_name(".swarms.snapshot.new").exists():
        assert time.monotonic() < until
        time.sleep(0.0002)
    daemon.stop(signal.SIGKILL)
    assert info(file).returncode == 0
    daemon = start(configure(OFTEN))
    daemon.wait_for_line("INFO .*: Snapshot .*: 3 torrents, ")
    assert daemon.stop() == 0
    assert not file.with_name(".swarms.snapshot.new").exists()


def cut(whole: bytes) -> bytes:
    return whole[:-10]


def changed(whole: bytes) -> bytes:
    return whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]


def foreign(_: bytes) -> bytes:
    return b"SQLite format 3\0" + bytes(1000)


def empty(_: bytes) -> bytes:
    return b""


def newer(whole: bytes) -> bytes:
    return whole[:8] + b"\2\0\0\0" + whole[12:]


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (cut, "is cut off"),
        (changed, "is damaged"),
        (foreign, "is no snapshot"),
        (empty, "is cut off"),
        (newer, "has version 2 of its format, and this tracker reads 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside_and_the_start_goes_on(
    start: Start, configure: Configure, file: Path, spoil: Callable[[bytes], bytes], what: str
) -> None:
    daemon = start(configure(SELDOM))
    crowd(daemon)
    daemon.stop()
    spoiled = spoil(file.read_bytes())
    file.write_bytes(spoiled)
    failed = info(file)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"torrust-tracker: the snapshot {file} {what}\n"
    daemon = start(configure(SELDOM))
    line = daemon.wait_for_line("WARN .*snapshot")
    assert line.endswith(
        f"{WARNING}{what}: it is set aside as swarms.snapshot.damaged; the tracker starts without it"
    )
    assert daemon.stats()["torrents"] == 0
    aside = file.with_name("swarms.snapshot.damaged")
    assert aside.read_bytes() == spoiled
    crowd(daemon)
    before = shown(daemon)
    assert daemon.stop() == 0
    assert shown(start(configure(SELDOM))) == before
    assert aside.read_bytes() == spoiled


def test_a_directory_that_goes_away_and_comes_back_costs_nothing_but_time(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    place, elsewhere = tmp_path / "kept", tmp_path / "elsewhere"
    place.mkdir()
    daemon = start(configure(OFTEN.replace("swarms", "kept/swarms")))
    crowd(daemon)
    place.rename(elsewhere)
    daemon.wait_for_line(
        "WARN .*: The snapshot kept/swarms.snapshot is not written, an older one stays: "
        "No such file or directory$"
    )
    with daemon.conversation() as client:
        client.announce(HASHES[0], 1)
    elsewhere.rename(place)
    count = len([line for line in daemon.lines if ": Snapshot kept/swarms.snapshot written" in line])
    daemon.wait_for_line(": Snapshot kept/swarms.snapshot written", times=count + 1)
    assert info(place / "swarms.snapshot").returncode == 0


def test_a_full_disk_is_one_line_for_each_try_and_leaves_the_old_file(
    start: Start, configure: Configure, file: Path
) -> None:
    """As on a disk that is full: the new file cannot grow (a link to /dev/full would be replaced)."""
    daemon = start(configure(OFTEN))
    crowd(daemon)
    daemon.wait_for_line(": Snapshot swarms.snapshot written")
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (100, 100))
    daemon.wait_for_line(
        "WARN .*: The snapshot swarms.snapshot is not written, an older one stays: File too large$", times=2
    )
    assert info(file).returncode == 0
    assert not file.with_name(".swarms.snapshot.new").exists()
    with daemon.conversation() as client:
        client.announce(HASHES[0], 1)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (
            "missing/swarms.snapshot",
            "there is no directory {place}/missing; make it, or change core.snapshot.path",
        ),
        (".", "that is no file; name one in core.snapshot.path"),
        ("/dev/null", "that is no file; name one in core.snapshot.path"),
    ],
)
def test_a_place_where_no_snapshot_can_be_is_named_at_the_start(
    launch: Start, configure: Configure, tmp_path: Path, path: str, reason: str
) -> None:
    daemon = launch(configure(SELDOM.replace("swarms.snapshot", path)))
    assert daemon.wait(20) == 1
    reason = reason.format(place=tmp_path)
    assert daemon.errors() == f"torrust-tracker: cannot keep the snapshot {path}: {reason}\n"


def test_a_link_to_where_no_snapshot_can_be_is_told_too(
    launch: Start, configure: Configure, file: Path, tmp_path: Path
) -> None:
    file.symlink_to(tmp_path / "volume" / "kept")
    daemon = launch(configure(SELDOM))
    assert daemon.wait(20) == 1
    assert f"there is no directory {tmp_path}/volume; make it" in daemon.errors()


def test_a_start_that_fails_leaves_the_snapshot_alone(
    start: Start, launch: Start, configure: Configure, file: Path
) -> None:
    """A second tracker with the same configuration by mistake."""
    daemon = start(configure(SELDOM))
    crowd(daemon)
    daemon.stop()
    daemon = start(configure(SELDOM))
    kept, address = file.stat().st_ino, daemon.address("udp")
    second = launch(
        configure(SELDOM, services=f'[[udp_trackers]]\nbind_address = "127.0.0.1:{address[1]}"\n')
    )
    assert second.wait(20) == 1
    assert file.stat().st_ino == kept


def test_limits_hold_for_what_comes_back(start: Start, configure: Configure) -> None:
    daemon = start(configure(SELDOM))
    crowd(daemon)
    daemon.stop()
    daemon = start(configure(SELDOM + "[core.limits]\nmax_torrents = 2\nmax_peers_per_torrent = 10\n"))
    daemon.wait_for_line(
        r"WARN .*: 1 torrents with all their peers, and \d+ peers of others, of the snapshot .* found no room"
    )
    stats = daemon.stats()
    assert (stats["torrents"], stats["seeders"] + stats["leechers"]) == (2, 20)


def test_the_command_tells_what_is_in_the_file(start: Start, configure: Configure, file: Path) -> None:
    daemon = start(configure(SELDOM))
    crowd(daemon)
    stats = daemon.stats()
    daemon.stop()
    told = info(file)
    assert (told.returncode, told.stderr) == (0, "")
    assert "format version 1, whole: all checksums are right" in told.stdout
    assert "Torrents: 3, finished 6 times\n" in told.stdout
    assert f": {stats['seeders']} seeders, {stats['leechers']} leechers; " in told.stdout


def test_the_environment_says_where_it_is_kept(start: Start, configure: Configure, tmp_path: Path) -> None:
    variables = {"TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__SNAPSHOT__PATH": "other.snapshot"}
    daemon = start(configure(), **variables)
    echoed = "\n".join(daemon.lines).partition("Configuration:\n")[2]
    shown_config, _ = json.JSONDecoder().raw_decode(echoed)
    assert shown_config["core"]["snapshot"] == {"path": "other.snapshot", "interval": 300}
    assert daemon.stop() == 0
    assert (tmp_path / "other.snapshot").exists()
