"""A torrent of one file with random content (BEP 3), private (BEP 27)."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import bencodepy

_NAME = "content.bin"
_SIZE = 300_001  # bytes; the last piece is a short one
_PIECE_LENGTH = 16 * 1024


class Torrent(NamedTuple):
    content: bytes
    info: dict[str, object]

    @property
    def info_hash(self) -> str:
        """In lower-case hexadecimal."""
        return hashlib.sha1(bencodepy.encode(self.info)).hexdigest()

    def metainfo(self, announce: str) -> bytes:
        """What a .torrent file holds; `announce` is the URL of the tracker."""
        return bytes(bencodepy.encode({"announce": announce, "info": self.info}))

    def write_content(self, directory: Path) -> None:
        (directory / _NAME).write_bytes(self.content)

    def is_in(self, directory: Path) -> bool:
        """Whether the file is there, and whole."""
        path = directory / _NAME
        return path.exists() and _digest(path.read_bytes()) == _digest(self.content)


def random_torrent() -> Torrent:
    """Private, so that clients know each other from its tracker only: no DHT, no peer exchange."""
    content = os.urandom(_SIZE)
    pieces = [
        hashlib.sha1(content[start : start + _PIECE_LENGTH]).digest()
        for start in range(0, _SIZE, _PIECE_LENGTH)
    ]
    info: dict[str, object] = {
        "length": _SIZE,
        "name": _NAME,
        "piece length": _PIECE_LENGTH,
        "pieces": b"".join(pieces),
        "private": 1,
    }
    return Torrent(content, info)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
