"""The file of blacklisted torrents: one info hash a line in 40 hexadecimal digits; what follows a `#` is a
comment. Read at the start and when the operator asks, a little at a time.
"""

import asyncio
import logging
import os
import stat

from torrust_py.core.blacklist import Blacklist
from torrust_py.core.types import INFO_HASH_SIZE, InfoHash
from torrust_py.core.whitelist import Whitelist
from torrust_py.listeners import StartError

_SLICE = 16 * 1024  # bytes, some 400 lines: a third of a millisecond
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_log = logging.getLogger("torrust_tracker::bootstrap::app")


class BlacklistFile:
    """The file at `path`, for this blacklist."""

    def __init__(self, path: str, blacklist: Blacklist) -> None:
        self._path = path
        self._blacklist = blacklist

    async def load(self) -> None:
        """Blacklist what the file holds, and no longer what it held before.

        Raises StartError; then nothing is changed.
        """
        info_hashes = await self._parse(await self._read())
        count = len(info_hashes)
        await self._blacklist.take_file(info_hashes)
        _log.info("Blacklist: %s torrents of %s", count, self._path)

    async def refresh(self) -> None:
        """The same while the tracker runs: what cannot be used is a warning, and the old list stays."""
        try:
            await self.load()
        except StartError as error:
            _log.warning("A changed blacklist is not taken up, the old one stays: %s", error)

    async def _read(self) -> bytes:
        try:
            return await asyncio.to_thread(_content, self._path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(
                f"cannot read the blacklist {self._path}: {reason}; make it a file that this user may read, "
                "or change core.blacklist_path"
            ) from error

    async def _parse(self, content: bytes) -> Whitelist:
        info_hashes = self._blacklist.new_file()
        at = len(_BYTE_ORDER_MARK) if content.startswith(_BYTE_ORDER_MARK) else 0
        number = 0
        while at < len(content):
            end = content.find(b"\n", at + _SLICE) + 1 or len(content)
            for line in content[at:end].removesuffix(b"\n").split(b"\n"):
                number += 1
                text = line.partition(b"#")[0].strip()
                if text:
                    info_hashes.add(self._info_hash(text, number))
            at = end
            await asyncio.sleep(0)
        return info_hashes

    def _info_hash(self, text: bytes, number: int) -> InfoHash:
        if len(text) == 2 * INFO_HASH_SIZE:
            try:
                info_hash = bytes.fromhex(text.decode("ascii"))
            except ValueError:
                info_hash = b""
            if len(info_hash) == INFO_HASH_SIZE:  # `fromhex` skips white space
                return InfoHash(info_hash)
        raise StartError(
            f"the blacklist {self._path} (core.blacklist_path) has in line {number} no info hash: "
            f"{text.decode('ascii', 'replace')!a:.60}; write 40 hexadecimal digits, or a comment after #"
        )


def _content(path: str) -> bytes:
    with open(path, "rb", opener=_open_file) as file:
        return file.read()


def _open_file(path: str, flags: int) -> int:
    """Raises OSError for what is no file; a pipe is not waited for."""
    opened = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError("it is no file")
    return opened
