"""A file that is replaced as a whole: whoever reads it finds the old or the new one. Every call may wait for
the disk, and raises OSError.
"""

import contextlib
import os
from collections.abc import Sequence
from io import BytesIO
from typing import BinaryIO

from torrust_py.snapshots.format import Header, SnapshotEncoder, SnapshotReader, Totals

_MODE = 0o600  # addresses and peer ids of people


class NewSnapshot:
    """The next one, from `begin` to `finish` or `discard`, and then the one after it. It is written under a
    name of its own in the same directory; a leftover of that name, from a process that was killed, goes.
    """

    def __init__(self, path: str) -> None:
        self._path = _target(path)
        directory, name = os.path.split(self._path)
        self._directory = directory or "."
        self._temporary = os.path.join(directory, f".{name}.new")
        self._file: BinaryIO = BytesIO()

    def begin(self, header: Header) -> None:
        self._encoder = SnapshotEncoder()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)
        self._file = open(self._temporary, "xb", opener=_open_private)  # noqa: SIM115 (until the end)
        self._file.write(self._encoder.header(header))

    def write_records(self, records: Sequence[bytes]) -> None:
        """As many as an export has at once; none are no block."""
        if any(records):
            self._file.write(self._encoder.block(*records))

    def finish(self, totals: Totals) -> int:
        """Let it take the place of the old one, for good; how many bytes it has."""
        self._file.write(self._encoder.end(totals))
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        os.replace(self._temporary, self._path)
        _sync_directory(self._directory)
        return size

    def discard(self) -> None:
        """Forget it, whatever became of it."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


def check_snapshot(file: BinaryIO) -> None:
    """Read it to its end, and go back to its beginning. Raises BadSnapshot."""
    for _ in SnapshotReader(file).blocks():
        pass
    file.seek(0)


def set_aside(path: str) -> str:
    """Give it another name, which is returned; what had that name before is lost."""
    path = _target(path)
    aside = f"{path}.damaged"
    os.replace(path, aside)
    return aside


def _target(path: str) -> str:
    """What a link leads to, so that the link itself stays as it is."""
    return os.path.realpath(path) if os.path.islink(path) else path


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, _MODE)


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
