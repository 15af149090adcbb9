"""Keeps the swarms in a file: reads it at the start, writes it when asked, and says in the log what became
of it. No failure of either ends the tracker.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from torrust_py.core.records import BadRecords
from torrust_py.core.swarms import Exported, Imported, Swarms
from torrust_py.snapshots.files import NewSnapshot, check_snapshot, set_aside
from torrust_py.snapshots.format import BadSnapshot, Header, SnapshotReader, Totals
from torrust_py.snapshots.thread import FileThread


class _Slice(NamedTuple):
    """What is exported between two turns of the loop: until one of the two is reached."""

    seconds: float
    size: int
    """Bytes."""


_SHORT = _Slice(0.0005, 2**16)
_LONG = _Slice(0.003, 2**20)

_log = logging.getLogger("torrust_tracker::core::snapshots")


class _Records(NamedTuple):
    """Of a slice. Who writes them joins them: fresh memory for that makes a turn of the loop long."""

    pieces: Sequence[bytes]
    torrents: int
    peers: int


class KeptFile(NamedTuple):
    written_ms: int
    """Unix milliseconds."""
    size: int


class SnapshotKeeper:
    """Of the file at `path`, for these swarms and their time."""

    def __init__(
        self,
        path: str,
        swarms: Swarms,
        *,
        unix_offset_ms: int,
        now_ms: Callable[[], int],
        unix_now_ms: Callable[[], int],
    ) -> None:
        self._path = path
        self._swarms = swarms
        self._origin, part = divmod(unix_offset_ms, 1000)
        assert part == 0, "times keep their milliseconds"
        self._now_ms = now_ms
        self._unix_now_ms = unix_now_ms
        self._thread = FileThread()
        self._new = NewSnapshot(path)
        self.is_outdated = False
        """Set when the swarms have become newer than the file: until then, there is nothing to be saved."""
        self.file: KeptFile | None = None
        """The file, if it is whole."""
        self.failures = 0
        """How often it could not be written."""

    def close(self) -> None:
        self._thread.close()

    # --- reading

    async def load(self) -> None:
        """Take in what the file holds. One that is not whole is set aside, under a name that begins with its
        own.
        """
        start = time.monotonic()
        try:
            file = await self._thread.call(open, self._path, "rb")
        except FileNotFoundError:
            _log.info("There is no snapshot %s yet", self._path)
            return
        except OSError as error:
            await self._set_aside(f"cannot be read ({_cause(error)})")
            return
        try:
            await self._thread.call(check_snapshot, file)
            await self._import(file, start)
        except (BadSnapshot, BadRecords) as error:
            await self._set_aside(str(error))
        except (OSError, MemoryError) as error:
            await self._set_aside(f"cannot be read to its end ({_cause(error)})")
        finally:
            self._thread.submit(file.close)

    async def _import(self, file: BinaryIO, start: float) -> None:
        reader = await self._thread.call(SnapshotReader, file)
        shift, now_ms = reader.header.origin - self._origin, self._now_ms()
        blocks = reader.blocks()
        imported = Imported()
        while (records := await self._thread.call(next, blocks, None)) is not None:
            step = self._swarms.import_swarms(records, shift=shift, now_ms=now_ms)
            imported = Imported(*map(sum, zip(imported, step, strict=True)))
        self.file = KeptFile(reader.header.written_ms, await self._thread.call(os.path.getsize, self._path))
        _log.info(
            "Snapshot %s, written %s s ago, read in %s ms: %s torrents, %s peers; %s peers had expired",
            self._path,
            max(0, self._unix_now_ms() - reader.header.written_ms) // 1000,
            _ms_since(start),
            self._swarms.totals().torrents,
            imported.peers,
            imported.expired_peers,
        )
        if imported.torrents_left_out or imported.peers_left_out:
            _log.warning(
                "%s torrents with all their peers, and %s peers of others, of the snapshot %s found no room; "
                "raise core.limits",
                imported.torrents_left_out,
                imported.peers_left_out,
                self._path,
            )

    async def _set_aside(self, what: str) -> None:
        try:
            aside = await self._thread.call(set_aside, self._path)
        except OSError as error:
            where = f"it cannot be set aside either ({_cause(error)}), and the next one replaces it"
        else:
            where = f"it is set aside as {aside}"
        _log.warning("The snapshot %s %s: %s; the tracker starts without it", self._path, what, where)

    # --- writing

    async def save(self, *, in_haste: bool = False) -> None:
        """Write the swarms as they are, a little at a time. The old file stays until the new one is whole.

        `in_haste`: nobody else waits for the loop.
        """
        start = time.monotonic()
        await _rest()
        try:
            written = await self._write(_LONG if in_haste else _SHORT)
        except (OSError, MemoryError) as error:
            self.failures += 1
            _log.warning("The snapshot %s is not written, an older one stays: %s", self._path, _cause(error))
            return
        await _rest()
        _log.info(
            "Snapshot %s written in %s ms: %s torrents, %s peers", self._path, _ms_since(start), *written
        )

    async def _write(self, most: _Slice) -> Totals:
        header = Header(self._unix_now_ms(), self._origin)
        slices = _slices(self._swarms.export_swarms(), most)
        torrents = peers = 0
        await _rest()
        try:
            written = self._thread.submit(self._new.begin, header)
            await _rest()
            for records in slices:
                torrents += records.torrents
                peers += records.peers
                await written
                written = self._thread.submit(self._new.write_records, records.pieces)
                await _rest()  # the next one is made while this is written
            await written
            totals = Totals(torrents, peers)
            size = await self._thread.call(self._new.finish, totals)
        except BaseException:  # also when it is cancelled
            self._thread.submit(self._new.discard)
            raise
        self.file = KeptFile(header.written_ms, size)
        return totals


async def _rest() -> None:
    """Leave the loop to others for a turn: what has been idle for a while is slow, and each part of it has a
    turn of its own.
    """
    await asyncio.sleep(0)


def _slices(steps: Iterator[Exported], most: _Slice) -> Iterator[_Records]:
    """The steps of an export, as many together as a slice has room for.

    By the clock, since a page of memory that nobody has touched for a while may take a tenth of a millisecond
    where the machine is a virtual one.
    """
    until = time.monotonic() + most.seconds
    while (step := next(steps, None)) is not None:
        together, size = [step], len(step.records)
        while size < most.size and time.monotonic() < until and (step := next(steps, None)) is not None:
            together.append(step)
            size += len(step.records)
        pieces, torrents, peers = zip(*together, strict=True)
        yield _Records(pieces, sum(torrents), sum(peers))
        until = time.monotonic() + most.seconds


def _cause(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return getattr(error, "strerror", None) or str(error)


def _ms_since(start: float) -> int:
    return round((time.monotonic() - start) * 1000)
