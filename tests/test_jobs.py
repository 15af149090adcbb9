import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence

import pytest

from torrust_py import jobs
from torrust_py.core.blacklist import Blacklist
from torrust_py.core.completed import CompletedCounters
from torrust_py.core.database import BlacklistEntry, Completed
from torrust_py.core.errors import DatabaseError
from torrust_py.core.statistics import Door, PortableStatistics, Reason
from torrust_py.core.swarms import PortableSwarms, Retention
from torrust_py.core.types import AnnounceEvent, Endpoint, Families, InfoHash, Peer, PeerId
from torrust_py.core.whitelist import PortableWhitelist

DAY_MS = 86_400_000


class Table:
    """A table of completed counters that can be away."""

    def __init__(self) -> None:
        self.away = 0
        self.rows: dict[InfoHash, int] = {}
        self.saved = asyncio.Event()

    async def load_completed(self) -> AsyncIterator[Sequence[Completed]]:
        yield [Completed(*row) for row in self.rows.items()]

    async def save_completed(self, rows: Sequence[Completed]) -> None:
        if self.away:
            self.away -= 1
            raise DatabaseError("the database is away")
        self.rows.update(rows)
        self.saved.set()


class UdpSocket:
    unsent = kernel_drops = 0


class Room:
    refused = evicted = 0


def announce(swarms: PortableSwarms, number: int, *, event: AnnounceEvent = AnnounceEvent.NONE) -> None:
    peer = Peer(Endpoint(number.to_bytes(4) + b"\x1a\xe1"), PeerId(b"-" * 20), 0, 0, 0, event)
    info_hash = InfoHash(number.to_bytes(20))
    swarms.announce(info_hash, peer.endpoint, peer, num_want=0, families=Families.IPV4, now_ms=DAY_MS)


@contextlib.asynccontextmanager
async def running(job: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(job)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Count:
    """A callable's calls, to wait for."""

    def __init__(self) -> None:
        self._calls = 0
        self._another = asyncio.Event()

    def __call__(self) -> None:
        self._calls += 1
        self._another.set()

    async def reaches(self, calls: int) -> None:
        async with asyncio.timeout(10):
            while self._calls < calls:
                self._another.clear()
                await self._another.wait()


class LineCount(logging.Handler):
    """Counts log lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = Count()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines()


@pytest.fixture
def cleanup_lines() -> Iterator[Count]:
    log, handler = logging.getLogger("torrust_tracker::bootstrap::jobs::torrent_cleanup"), LineCount()
    log.addHandler(handler)
    yield handler.lines
    log.removeHandler(handler)


@pytest.mark.clause("5.3.1")
@pytest.mark.slow
async def test_inactive_peers_go_within_a_pass_and_one_line_says_so(
    cleanup_lines: Count, caplog: pytest.LogCaptureFixture
) -> None:
    swarms = PortableSwarms(retention=Retention(max_peer_timeout=10))
    for number in range(3000):
        announce(swarms, number)
    with caplog.at_level(logging.INFO):
        async with running(jobs.remove_inactive_peers(swarms, lambda: DAY_MS + 11_000, interval=1)):
            await cleanup_lines.reaches(1)
    assert swarms.totals().torrents == 0
    lines = [record.getMessage() for record in caplog.records if "torrent_cleanup" in record.name]
    assert [line[:24] for line in lines] == ["Cleaned up torrents in: "]


@pytest.mark.slow
async def test_a_pass_keeps_who_is_active(cleanup_lines: Count, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    swarms = PortableSwarms(retention=Retention(max_peer_timeout=10))
    announce(swarms, 1)
    async with running(jobs.remove_inactive_peers(swarms, lambda: DAY_MS + 9000, interval=1)):
        await cleanup_lines.reaches(1)
    assert swarms.totals().seeders == 1


@pytest.mark.clause("5.2.12")
async def test_changed_counters_are_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SAVE_INTERVAL", 0.01)
    table, swarms = Table(), PortableSwarms(retention=Retention(keep_completed=True))
    announce(swarms, 1, event=AnnounceEvent.STARTED)
    announce(swarms, 1, event=AnnounceEvent.COMPLETED)
    async with running(jobs.save_completed(CompletedCounters(table, swarms))), asyncio.timeout(5):
        await table.saved.wait()
    assert table.rows == {InfoHash((1).to_bytes(20)): 1}


@pytest.mark.clause("5.2.13")
async def test_a_database_that_is_away_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "SAVE_INTERVAL", 0.01)
    table, swarms = Table(), PortableSwarms(retention=Retention(keep_completed=True))
    table.away = 2
    announce(swarms, 1, event=AnnounceEvent.STARTED)
    announce(swarms, 1, event=AnnounceEvent.COMPLETED)
    async with running(jobs.save_completed(CompletedCounters(table, swarms))), asyncio.timeout(5):
        await table.saved.wait()
    warnings = [record.getMessage() for record in caplog.records if "databases" in record.name]
    assert len(warnings) == 2
    assert "counters of 1 torrents are not saved yet" in warnings[0]
    assert "the database is away" in warnings[0]
    assert table.rows == {InfoHash((1).to_bytes(20)): 1}


@pytest.mark.clause("1.6.14")
async def test_what_was_refused_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "REPORT_INTERVAL", 0.02)
    statistics, swarms = PortableStatistics(), PortableSwarms()
    looks, udp_socket = Count(), UdpSocket()

    def look() -> jobs.Noteworthy:
        looks()
        return jobs.noteworthy(statistics, swarms, [udp_socket, UdpSocket()], Room())

    with caplog.at_level(logging.INFO):
        async with running(jobs.report_refusals(look)):
            await looks.reaches(1)
            statistics.count(Door.UDP4, Reason.NOT_WHITELISTED)
            statistics.count(Door.TCP6, Reason.NOT_WHITELISTED)
            statistics.count(Door.TCP6, Reason.NOT_HTTP)
            udp_socket.kernel_drops = 3
            await looks.reaches(4)
    assert [record.getMessage() for record in caplog.records] == [
        "In the last minute: refused 2, malformed 1, kernel drops 3"
    ]


async def test_a_shortage_of_memory_is_told_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "REPORT_INTERVAL", 0.01)
    looks, answers = Count(), iter([False, True, True, False])

    def is_short() -> bool:
        looks()
        return next(answers, False)

    with caplog.at_level(logging.INFO):
        async with running(jobs.report_shortage(is_short)):
            await looks.reaches(6)
    assert [(record.levelname, record.getMessage().split(":")[0]) for record in caplog.records] == [
        ("WARNING", "Memory is nearly used up"),
        ("INFO", "There is memory for new peers again"),
    ]


@pytest.mark.slow
async def test_the_garbage_collector_does_not_look_at_many_torrents_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "TORRENTS_A_FREEZE", 10)
    swarms, looks, thresholds = PortableSwarms(), Count(), gc.get_threshold()

    def made() -> int:
        looks()
        return swarms.made

    try:
        async with running(jobs.spare_collections(made)):
            await looks.reaches(1)
            for number in range(9):
                announce(swarms, number)
            await looks.reaches(2)
            before = gc.get_freeze_count()
            announce(swarms, 9)
            await looks.reaches(4)
        assert gc.get_freeze_count() > before
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def test_a_job_that_fails_begins_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "RESTART_PAUSE", 0.01)
    begun = 0
    third = asyncio.Event()

    async def job() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise MemoryError
        third.set()
        await asyncio.sleep(60)

    async with running(jobs.keep_running(job)), asyncio.timeout(5):
        await third.wait()
    assert begun == 3
    assert [record.getMessage() for record in caplog.records] == [
        "A job failed, and begins anew in 0.01 s"
    ] * 2


class Blacklistings:
    """A table that is away a few times."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.told: list[int] = []
        self.has_taken = asyncio.Event()

    async def load_blacklist(self) -> AsyncIterator[Sequence[BlacklistEntry]]:
        yield [BlacklistEntry(InfoHash(b"1" * 20), None, 100), BlacklistEntry(InfoHash(b"2" * 20), None, 300)]

    async def add_to_blacklist(self, entries: Sequence[BlacklistEntry]) -> None:
        raise NotImplementedError

    async def remove_from_blacklist(self, info_hash: InfoHash) -> None:
        raise NotImplementedError

    async def restore_in_blacklist(
        self, info_hashes: Sequence[InfoHash], kept: Sequence[BlacklistEntry]
    ) -> None:
        raise NotImplementedError

    async def remove_expired_from_blacklist(self, unix_now: int) -> None:
        self.told.append(unix_now)
        if self.away:
            self.away -= 1
            raise DatabaseError("the database is away")
        self.has_taken.set()


async def test_blacklistings_end_and_the_database_is_told_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "END_INTERVAL", 0)
    table = Blacklistings(away=2)
    blacklist = Blacklist(table, PortableWhitelist(), PortableSwarms())
    await blacklist.load(50)
    async with running(jobs.end_blacklistings(blacklist, lambda: 200.5)):
        await table.has_taken.wait()
        for _ in range(5):
            await asyncio.sleep(0)
    assert (len(blacklist), table.told) == (1, [200, 200, 200])
