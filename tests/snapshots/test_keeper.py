import asyncio
import contextlib
import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import forms
from torrust_py.core.records import BadRecords
from torrust_py.core.swarms import Exported, Limits, PortableSwarms, Swarms
from torrust_py.core.types import AnnounceEvent, Endpoint, Families, InfoHash, Peer, PeerId, SwarmPeer
from torrust_py.snapshots import SnapshotKeeper
from torrust_py.snapshots.files import NewSnapshot
from torrust_py.snapshots.format import Header, SnapshotEncoder, Totals

DAY_MS = 86_400_000
START_MS = 1_764_000_000_000
"""Unix milliseconds of when the stores' time was a day."""

Keep = Callable[..., SnapshotKeeper]


def fill(swarms: Swarms, peers: int = 5, *, now_ms: int = DAY_MS) -> None:
    for number in range(peers):
        peer = Peer(
            Endpoint(bytes([10, 0, 0, number, 0, 1])), PeerId(bytes(20)), 1, 2, number % 2, AnnounceEvent.NONE
        )
        swarms.announce(
            InfoHash(bytes([number % 3]) * 20), peer.endpoint, peer, num_want=0, families=Families.IPV4,
            now_ms=now_ms + number,
        )  # fmt: skip


def peers(swarms: Swarms) -> list[SwarmPeer]:
    hashes = [info_hash for step in swarms.torrents() for info_hash in step]
    return sorted(peer for info_hash in hashes for step in swarms.peers(info_hash) for peer in step)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def is_link(file: Path) -> bool:
    return file.is_symlink()


def content(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, data: bytes) -> None:
    file.write_bytes(data)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "swarms.snapshot"


@pytest.fixture
def keep(file: Path) -> Iterator[Keep]:
    """Makes keepers of that file; `offset_ms` lies their origin after that of others."""
    keepers = []

    def make(swarms: Swarms, *, offset_ms: int = 0, now_ms: int = DAY_MS + 1000) -> SnapshotKeeper:
        keeper = SnapshotKeeper(
            str(file),
            swarms,
            unix_offset_ms=START_MS - DAY_MS + offset_ms,
            now_ms=lambda: now_ms,
            unix_now_ms=lambda: START_MS + offset_ms + now_ms - DAY_MS,
        )
        keepers.append(keeper)
        return keeper

    yield make
    for keeper in keepers:
        keeper.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Takes the lines that were logged: level and message."""
    caplog.set_level(logging.INFO)

    def take() -> list[str]:
        taken = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        caplog.clear()
        return taken

    return take


@pytest.mark.parametrize("writer", forms.FORMS)
@pytest.mark.parametrize("reader", forms.FORMS)
async def test_either_form_reads_what_either_has_written(keep: Keep, writer: str, reader: str) -> None:
    swarms, taken = forms.make_swarms(writer)(), forms.make_swarms(reader)()
    fill(swarms)
    await keep(swarms).save()
    await keep(taken).load()
    assert peers(taken) == peers(swarms)
    assert taken.totals() == swarms.totals()


@pytest.fixture
def elsewhere(file: Path) -> Path:
    """What the file is a link to."""
    target = file.parent / "volume" / "kept"
    target.parent.mkdir()
    file.symlink_to(target)
    return target


async def test_a_link_to_the_file_stays_a_link(keep: Keep, file: Path, elsewhere: Path) -> None:
    swarms, taken = PortableSwarms(), PortableSwarms()
    fill(swarms)
    await keep(swarms).save()
    await keep(taken).load()
    assert is_link(file)
    assert peers(taken) == peers(swarms)
    write(elsewhere, b"no snapshot")
    await keep(PortableSwarms()).load()
    assert is_link(file)
    assert content(elsewhere.with_name("kept.damaged")) == b"no snapshot"


async def test_a_process_with_another_origin_of_time_has_the_same_times(keep: Keep) -> None:
    swarms, taken = PortableSwarms(), PortableSwarms()
    fill(swarms)
    await keep(swarms, now_ms=DAY_MS + 500).save()
    await keep(taken, offset_ms=60_000).load()
    assert [one.updated_ms + 60_000 for one in peers(taken)] == [one.updated_ms for one in peers(swarms)]


async def test_a_clock_that_was_set_back_does_not_let_peers_live_longer(keep: Keep) -> None:
    swarms, taken = PortableSwarms(), PortableSwarms()
    fill(swarms)
    await keep(swarms).save()
    await keep(taken, offset_ms=-3_600_000).load()
    assert {one.updated_ms for one in peers(taken)} == {DAY_MS + 1000}


async def test_the_log_says_what_was_written_and_read(
    keep: Keep, file: Path, lines: Callable[[], list[str]]
) -> None:
    swarms = PortableSwarms()
    await keep(swarms).load()
    fill(swarms)
    await keep(swarms).save()
    await keep(PortableSwarms(), offset_ms=901_000).load()
    await keep(PortableSwarms(limits=Limits(max_torrents=2))).load()
    absent, written, read, _, too_many = lines()
    assert absent == f"INFO There is no snapshot {file} yet"
    assert written.startswith(f"INFO Snapshot {file} written in ")
    assert written.endswith(" ms: 3 torrents, 5 peers")
    assert read.startswith(f"INFO Snapshot {file}, written 901 s ago, read in ")
    assert read.endswith(" ms: 0 torrents, 0 peers; 5 peers had expired")
    assert too_many == (
        "WARNING 1 torrents with all their peers, and 0 peers of others, "
        f"of the snapshot {file} found no room; raise core.limits"
    )


async def test_when_the_file_was_written_and_how_large_it_is_is_known(keep: Keep, file: Path) -> None:
    swarms = PortableSwarms()
    fill(swarms)
    writer, reader = keep(swarms), keep(PortableSwarms(), offset_ms=5_000)
    assert writer.file is None
    await writer.save()
    await reader.load()
    assert writer.file == reader.file == (START_MS + 1000, len(content(file)))


async def test_a_snapshot_is_readable_by_its_owner_alone(keep: Keep, file: Path) -> None:
    before = os.umask(0)
    try:
        await keep(PortableSwarms()).save()
    finally:
        os.umask(before)
    assert mode(file) == 0o600
    assert os.listdir(file.parent) == [file.name]


async def test_a_leftover_of_a_killed_process_is_replaced(keep: Keep, file: Path) -> None:
    leftover = file.with_name(".swarms.snapshot.new")
    write(leftover, b"half of it")
    os.chmod(leftover, 0o644)
    await keep(PortableSwarms()).save()
    assert os.listdir(file.parent) == [file.name]
    assert mode(file) == 0o600


async def test_a_link_in_the_place_of_the_new_file_is_not_followed(keep: Keep, file: Path) -> None:
    precious = file.with_name("precious")
    write(precious, b"kept")
    os.symlink(precious, file.with_name(".swarms.snapshot.new"))
    await keep(PortableSwarms()).save()
    assert content(precious) == b"kept"


async def test_while_one_is_written_the_old_one_is_there(keep: Keep, file: Path) -> None:
    swarms = PortableSwarms()
    await keep(swarms).save()
    old = content(file)
    fill(swarms)
    seen = []

    class Watched(PortableSwarms):
        def export_swarms(self) -> Iterator[Exported]:
            for step in swarms.export_swarms():
                seen.append(content(file))
                yield step

    await keep(Watched()).save()
    assert seen == [old]
    assert content(file) != old


# --- what goes wrong


def set_aside(file: Path) -> Path:
    return file.with_name("swarms.snapshot.damaged")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda whole: b"", "is cut off"),
        (lambda whole: whole[:-1], "is cut off"),
        (lambda whole: whole[:50] + bytes([whole[50] ^ 1]) + whole[51:], "is damaged"),
        (lambda whole: b"SQLite format 3\0" + whole, "is no snapshot"),
    ],
)
async def test_a_file_that_is_not_whole_is_set_aside_and_nothing_of_it_is_taken(
    keep: Keep, file: Path, lines: Callable[[], list[str]], spoil: Callable[[bytes], bytes], what: str
) -> None:
    swarms = PortableSwarms()
    fill(swarms)
    await keep(swarms).save()
    lines()
    spoiled = spoil(content(file))
    write(file, spoiled)
    taken = PortableSwarms()
    await keep(taken).load()
    assert taken.totals().torrents == 0
    assert lines() == [
        f"WARNING The snapshot {file} {what}: it is set aside as {set_aside(file)}; "
        "the tracker starts without it"
    ]
    assert os.listdir(file.parent) == [set_aside(file).name]
    assert content(set_aside(file)) == spoiled


async def test_records_that_make_no_sense_are_set_aside(
    keep: Keep, file: Path, lines: Callable[[], list[str]]
) -> None:
    encoder = SnapshotEncoder()
    write(
        file,
        encoder.header(Header(START_MS, START_MS // 1000)) + encoder.block(b"x") + encoder.end(Totals(0, 0)),
    )
    await keep(PortableSwarms()).load()
    [line] = lines()
    assert f"The snapshot {file} {BadRecords()}: it is set aside" in line
    assert os.listdir(file.parent) == [set_aside(file).name]


async def test_a_file_that_cannot_be_read_is_set_aside(
    keep: Keep, file: Path, lines: Callable[[], list[str]]
) -> None:
    os.symlink(file, file)
    await keep(PortableSwarms()).load()
    [line] = lines()
    assert line.startswith(
        f"WARNING The snapshot {file} cannot be read (Too many levels of symbolic links): it is"
    )
    assert os.listdir(file.parent) == [set_aside(file).name]


async def test_memory_that_is_short_while_one_is_read_does_not_end_the_start(
    keep: Keep, lines: Callable[[], list[str]]
) -> None:
    class Full(PortableSwarms):
        def import_swarms(self, *_: Any, **__: Any) -> Any:
            raise MemoryError

    swarms = PortableSwarms()
    fill(swarms)
    await keep(swarms).save()
    lines()
    await keep(Full()).load()
    [line] = lines()
    assert "cannot be read to its end (there is not enough memory): it is set aside" in line


async def test_what_cannot_be_set_aside_is_told(
    keep: Keep, file: Path, lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, b"")
    monkeypatch.setattr(os, "replace", fail)
    await keep(PortableSwarms()).load()
    [line] = lines()
    assert "it cannot be set aside either (No space left on device), and the next one replaces it" in line


def fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
async def test_a_failure_to_write_leaves_the_old_one_and_is_made_good_by_the_next(
    keep: Keep, file: Path, lines: Callable[[], list[str]], call: str
) -> None:
    swarms = PortableSwarms()
    keeper = keep(swarms)
    await keeper.save()
    old = content(file)
    fill(swarms)
    lines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, fail)
        await keeper.save()
        await keeper._thread.call(int)  # what is given up is cleared away
    assert lines() == [
        f"WARNING The snapshot {file} is not written, an older one stays: No space left on device"
    ]
    assert content(file) == old
    assert (keeper.failures, keeper.file) == (1, (START_MS + 1000, len(old)))
    assert os.listdir(file.parent) == [file.name]
    await keeper.save()
    assert content(file) != old


class Three(PortableSwarms):
    """Three slices."""

    def export_swarms(self) -> Iterator[Exported]:
        for number in range(3):
            yield Exported(bytes([number]) * 2**16, 1, 1)


@pytest.mark.parametrize("number", range(3))
async def test_a_slice_that_is_not_written_ends_the_save(
    keep: Keep, file: Path, lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Also the next one, which is made by then."""
    tried = []

    def write(_: NewSnapshot, records: Sequence[bytes]) -> None:
        tried.append(records[0][0])
        if records[0][0] == number:
            fail()

    monkeypatch.setattr(NewSnapshot, "write_records", write)
    keeper = keep(Three())
    await keeper.save()
    await keeper._thread.call(int)
    assert tried == list(range(number + 1))
    assert lines() == [
        f"WARNING The snapshot {file} is not written, an older one stays: No space left on device"
    ]
    assert os.listdir(file.parent) == []


async def test_a_save_in_haste_writes_the_same(keep: Keep, file: Path) -> None:
    swarms = PortableSwarms()
    fill(swarms)
    keeper = keep(swarms)
    await keeper.save()
    old = content(file)
    await keeper.save(in_haste=True)
    assert content(file) == old


TURNS = 25
"""Of the loop, in which a save has come to its end."""


@pytest.mark.parametrize("turns", range(1, TURNS + 1))
async def test_a_save_that_is_cancelled_at_any_turn_leaves_no_trace(
    keep: Keep, file: Path, caplog: pytest.LogCaptureFixture, turns: int
) -> None:
    keeper = keep(Three())
    saving = asyncio.ensure_future(keeper.save())
    for _ in range(turns):
        await asyncio.sleep(0)
        caught_up = threading.Event()
        keeper._thread.submit(caught_up.set)
        caught_up.wait()
    assert saving.done() or turns < TURNS
    saving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await saving
    await keeper._thread.call(int)
    assert os.listdir(file.parent) in ([], [file.name])
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    await keeper.save()
    assert os.listdir(file.parent) == [file.name]


async def test_a_save_that_is_cancelled_leaves_the_old_one_and_no_trace(keep: Keep, file: Path) -> None:
    may_go_on, reached = threading.Event(), asyncio.Event()

    class Slow(PortableSwarms):
        def export_swarms(self) -> Iterator[Exported]:
            reached.set()
            yield from super().export_swarms()

    swarms = Slow()
    fill(swarms)
    keeper = keep(swarms)
    saving = asyncio.ensure_future(keeper.save())
    await reached.wait()
    keeper._thread.submit(may_go_on.wait)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    may_go_on.set()
    await keeper._thread.call(int)
    assert os.listdir(file.parent) == []
    await keeper.save()
    assert os.listdir(file.parent) == [file.name]
