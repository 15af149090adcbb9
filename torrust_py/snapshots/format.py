"""The format of a snapshot, version 1. Integers are little-endian.

    header, 32 bytes   0:8 "\\x89swarms\\n"   8:4 version   12:8 written, Unix milliseconds
                       20:8 origin of its times, Unix seconds   28:4 checksum
    any number of      0:4 size of the records, 1 byte to 4 MiB   records (`torrust_py.core.records`)
    blocks             4 checksum
    end, 24 bytes      0:4 zero   4:8 torrents   12:8 peers   20:4 checksum

Each checksum is the CRC-32 of all that stands before it in the file but the other checksums, so that no block
can be missing, come twice or belong to another file. (The CRC-32 of anything and its own checksum is always
the same.) Torrents and peers are as many as were written; what changed meanwhile may be there twice.
"""

import zlib
from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO, NamedTuple

VERSION = 1
LARGEST_BLOCK = 4 * 2**20

_MAGIC = b"\x89swarms\n"
_HEADER = Struct("<8sIqq")
_VERSION = _SIZE = Struct("<I")
_END = Struct("<IQQ")
_CHECKSUM = Struct("<I")
_LAST_SECOND = 2**40  # what lies beyond it is no time


class BadSnapshot(Exception):
    """The file is no snapshot, or not a whole one; the text says what it is instead."""


class Header(NamedTuple):
    written_ms: int
    """Unix milliseconds."""
    origin: int
    """Unix seconds."""


class Totals(NamedTuple):
    torrents: int
    peers: int


class SnapshotEncoder:
    """Makes the pieces of one file, in their order."""

    def __init__(self) -> None:
        self._checksum = 0

    def header(self, header: Header) -> bytes:
        return self._checked(_HEADER.pack(_MAGIC, VERSION, header.written_ms, header.origin))

    def block(self, *records: bytes) -> bytes:
        """Of all these together."""
        size = sum(map(len, records))
        assert 0 < size <= LARGEST_BLOCK
        return self._checked(_SIZE.pack(size), *records)

    def end(self, totals: Totals) -> bytes:
        return self._checked(_END.pack(0, *totals))

    def _checked(self, *pieces: bytes) -> bytes:
        for piece in pieces:
            self._checksum = zlib.crc32(piece, self._checksum)
        return b"".join((*pieces, _CHECKSUM.pack(self._checksum)))


class SnapshotReader:
    """Reads a file from its beginning. Raises BadSnapshot if that is not of a snapshot."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._checksum = 0
        self.totals = Totals(0, 0)
        """Known when the last block was read."""
        magic = self._read(len(_MAGIC))
        if magic != _MAGIC:
            raise BadSnapshot("is no snapshot")
        rest = self._read(_VERSION.size)
        [version] = _VERSION.unpack(rest)
        if version != VERSION:  # another one may have its checksum elsewhere
            raise BadSnapshot(f"has version {version} of its format, and this tracker reads {VERSION}")
        rest += self._read(_HEADER.size - len(magic) - len(rest))
        self._check()
        _, _, written_ms, origin = _HEADER.unpack(magic + rest)
        if not (0 <= origin < _LAST_SECOND and 0 <= written_ms < _LAST_SECOND * 1000):
            raise BadSnapshot("is damaged")
        self.header = Header(written_ms, origin)

    def blocks(self) -> Iterator[bytes]:
        """The records, block by block. Raises BadSnapshot where the file is not as it was written."""
        while size := self._size():
            if size > LARGEST_BLOCK:
                raise BadSnapshot("is damaged")
            records = self._read(size)
            self._check()
            yield records
        _, torrents, peers = _END.unpack(_SIZE.pack(0) + self._read(_END.size - _SIZE.size))
        self._check()
        if self._file.read(1):
            raise BadSnapshot("is damaged: it goes on after its end")
        self.totals = Totals(torrents, peers)

    def _size(self) -> int:
        size: int = _SIZE.unpack(self._read(_SIZE.size))[0]
        return size

    def _read(self, size: int) -> bytes:
        piece = self._unchecked(size)
        self._checksum = zlib.crc32(piece, self._checksum)
        return piece

    def _check(self) -> None:
        if self._unchecked(_CHECKSUM.size) != _CHECKSUM.pack(self._checksum):
            raise BadSnapshot("is damaged")

    def _unchecked(self, size: int) -> bytes:
        piece = self._file.read(size)
        if len(piece) < size:
            raise BadSnapshot("is cut off")
        return piece
