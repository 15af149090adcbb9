"""What the daemon does by the clock. Each job runs until it is cancelled."""

import asyncio
import contextlib
import gc
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import NamedTuple, Protocol

from torrust_py.core.blacklist import Blacklist
from torrust_py.core.changes import Changes
from torrust_py.core.completed import CompletedCounters
from torrust_py.core.errors import DatabaseError
from torrust_py.core.statistics import Door, RequestCounts
from torrust_py.core.swarms import Swarms
from torrust_py.selfcheck import Finding

SAVE_INTERVAL = 1.0
"""Seconds between two looks at the completed counters; a failure doubles it, up to LONGEST_SAVE_INTERVAL."""

LONGEST_SAVE_INTERVAL = 60.0

UNDO_INTERVAL = 1.0
"""Seconds between two attempts to undo a change that is in doubt."""

REPORT_INTERVAL = 60.0

TORRENTS_A_FREEZE = 20_000
"""Torrents that the garbage collector looks at in some 10 ms."""

RESTART_PAUSE = 1.0

END_INTERVAL = 1.0
"""Seconds between two looks at which blacklistings have expired."""

LOOK_INTERVAL = 60.0
"""Seconds between two looks at the files of certificates, besides those that the operator asks for."""

Job = Callable[[], Coroutine[None, None, None]]

_NEVER = 2**31 - 1
_EXPIRY_ROUNDS_PER_SECOND = 4
_EXPIRY_SLICE = 1000  # torrents and peers between two turns of the loop: a few milliseconds

_cleanup_log = logging.getLogger("torrust_tracker::bootstrap::jobs::torrent_cleanup")
_database_log = logging.getLogger("torrust_tracker::core::databases")
_job_log = logging.getLogger("torrust_tracker::bootstrap::jobs")
_selfcheck_log = logging.getLogger("torrust_tracker::selfcheck")
_report_log = logging.getLogger("torrust_tracker::core::statistics")


async def keep_running(job: Job) -> None:
    """Begin a job anew that failed because there was no memory left."""
    while True:
        try:
            await job()
        except MemoryError:
            _job_log.exception("A job failed, and begins anew in %s s", RESTART_PAUSE)
        await asyncio.sleep(RESTART_PAUSE)


async def remove_inactive_peers(swarms: Swarms, now_ms: Callable[[], int], *, interval: int) -> None:
    """Look at every peer once in `interval` seconds, a little at a time."""
    while True:
        spent = await _expiry_pass(swarms, now_ms, interval=interval)
        _cleanup_log.info("Cleaned up torrents in: %sms", round(spent * 1000))


async def _expiry_pass(swarms: Swarms, now_ms: Callable[[], int], *, interval: int) -> float:
    """One pass, spread over `interval` seconds; the seconds of work that it took."""
    start, spent = time.monotonic(), 0.0
    rounds = interval * _EXPIRY_ROUNDS_PER_SECOND
    totals = swarms.totals()
    share = 1 + (totals.torrents + totals.seeders + totals.leechers) // rounds
    ended = False
    for done in range(1, rounds + 1):
        await asyncio.sleep(max(0.0, start + done * interval / rounds - time.monotonic()))
        left = share
        while not ended and (left > 0 or done == rounds):
            slice_start = time.monotonic()
            ended = swarms.expire(now_ms(), work=min(left, _EXPIRY_SLICE) if left > 0 else _EXPIRY_SLICE)
            spent += time.monotonic() - slice_start
            left -= _EXPIRY_SLICE
            await asyncio.sleep(0)
    return spent


async def spare_collections(torrents_made: Callable[[], int]) -> None:
    """Keep the garbage collector off what the swarms are made of, which has no cycles: else it looks at all
    of it again and again, and stops the loop for a second where there are a million torrents.

    After so many new torrents all that there is is frozen, and a full collection comes once a minute only,
    over what was made since. (A freeze also keeps what is in a cycle just then: some objects of a call of the
    API.)
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    frozen = torrents_made()
    for second in itertools.count(1):
        await asyncio.sleep(1)
        if torrents_made() - frozen >= TORRENTS_A_FREEZE:
            frozen = torrents_made()
            gc.collect(1)
            gc.freeze()
        elif second % 60 == 0:
            gc.collect()


async def save_completed(counters: CompletedCounters) -> None:
    """Save what changed every second. A database that is away is tried again, ever more rarely."""
    interval = SAVE_INTERVAL
    while True:
        await asyncio.sleep(interval)
        try:
            await counters.save()
            counters.saved_at = time.monotonic()
        except DatabaseError as error:
            interval = min(2 * interval, LONGEST_SAVE_INTERVAL)
            _database_log.warning(
                "The completed counters of %s torrents are not saved yet, next try in %s s: %s",
                counters.unsaved,
                round(interval),
                error,
            )
        else:
            interval = SAVE_INTERVAL


class ListFile(Protocol):
    """What is read anew when the operator asks."""

    async def refresh(self) -> None: ...


async def refresh_files(
    refresh_certificates: Callable[..., Awaitable[None]],
    blacklist: ListFile | None,
    wait_for_reload: Callable[[float], Awaitable[bool]],
) -> None:
    """When the operator asks; certificates also by themselves, where files have changed."""
    while True:
        asked = await wait_for_reload(LOOK_INTERVAL)
        await refresh_certificates(always=asked)
        if asked and blacklist is not None:
            await blacklist.refresh()


async def end_blacklistings(blacklist: Blacklist, unix_now: Callable[[], float]) -> None:
    """Take out what has expired: of memory within a second, then of the database, as soon as it answers."""
    told: int | None = None
    while True:
        await asyncio.sleep(END_INTERVAL)
        for _ in blacklist.expire(unix_now()):
            await asyncio.sleep(0)
        ended = blacklist.ended
        if ended != told:
            with contextlib.suppress(DatabaseError):  # then again
                await blacklist.remove_expired(unix_now())
                told = ended


async def show_life(show: Callable[[], None], *, interval: float) -> None:
    """Every `interval` seconds: that the loop turns."""
    while True:
        show()
        await asyncio.sleep(interval)


async def undo_doubtful_changes(changes: Changes) -> None:
    """Undo a change of which it is not known whether it was made, as soon as the database answers."""
    while True:
        await changes.wait_for_doubt()
        try:
            await changes.settle()
        except DatabaseError:
            await asyncio.sleep(UNDO_INTERVAL)


async def save_snapshots(save: Callable[[], Awaitable[None]], *, interval: int) -> None:
    """Write the swarms to their file every `interval` seconds."""
    while True:
        await asyncio.sleep(interval)
        await save()


class Noteworthy(NamedTuple):
    """Counters that move only when something is not as it should be."""

    refused: int
    malformed: int
    dropped: int
    unsent: int
    kernel_drops: int
    refused_connections: int
    evicted_connections: int
    replaced_peers: int
    evicted_torrents: int
    unstored: int


async def report_refusals(look: Callable[[], Noteworthy]) -> None:
    """Once a minute, one line of what was refused, malformed, dropped or did not fit, if any was."""
    before = look()
    while True:
        await asyncio.sleep(REPORT_INTERVAL)
        now = look()
        moved = {
            name: value - was
            for name, value, was in zip(Noteworthy._fields, now, before, strict=True)
            if value != was
        }
        if moved:
            _report_log.info("In the last minute: %s", _listed(moved))
        before = now


async def report_shortage(is_short: Callable[[], bool]) -> None:
    """A line when memory is nearly used up, and one when it no longer is; looked at once a minute."""
    was_short = False
    while True:
        if is_short() != was_short:
            was_short = not was_short
            if was_short:
                _report_log.warning(
                    "Memory is nearly used up: new peers take the place of others. Give this process more, "
                    "or lower core.limits.max_peers"
                )
            else:
                _report_log.info("There is memory for new peers again")
        await asyncio.sleep(REPORT_INTERVAL)


def warn_of(finding: Finding) -> None:
    _selfcheck_log.warning("%s", finding)


async def report_findings(news: Callable[[float], Sequence[Finding]]) -> None:
    """Once a minute, a line for each thing that hurts and is news at the time (monotonic, in seconds)."""
    while True:
        await asyncio.sleep(REPORT_INTERVAL)
        for finding in news(time.monotonic()):
            warn_of(finding)


class Room(Protocol):
    """What has room for so many connections, and counts for how many there was none."""

    refused: int
    evicted: int


class UdpSocket(Protocol):
    """What counts the responses that the kernel did not take, and the requests that it dropped."""

    @property
    def unsent(self) -> int: ...
    @property
    def kernel_drops(self) -> int: ...


def noteworthy(
    statistics: RequestCounts, swarms: Swarms, udp_sockets: Sequence[UdpSocket], connections: Room
) -> Noteworthy:
    doors = [statistics.door(door) for door in Door]
    pressure = swarms.pressure()
    return Noteworthy(
        refused=sum(door.refused for door in doors),
        malformed=sum(door.malformed for door in doors),
        dropped=sum(door.dropped for door in doors),
        unsent=sum(one.unsent for one in udp_sockets),
        kernel_drops=sum(one.kernel_drops for one in udp_sockets),
        refused_connections=connections.refused,
        evicted_connections=connections.evicted,
        replaced_peers=pressure.replaced_peers,
        evicted_torrents=pressure.evicted_torrents,
        unstored=pressure.unstored,
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
