"""What the core needs kept across restarts. Rows come in batches, so that a large table does not stop the
loop.

Every method raises DatabaseError; one that changes something raises ChangeInDoubt, a kind of it, if the
change may have been made all the same.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from torrust_py.core.types import InfoHash


class PeerKey(NamedTuple):
    """An authentication key of a private tracker (BEP 27)."""

    key: str
    """32 ASCII letters and digits."""
    valid_until: int | None
    """Unix seconds; None is for ever."""


class Completed(NamedTuple):
    """How often a torrent was finished."""

    info_hash: InfoHash
    completed: int


class BlacklistEntry(NamedTuple):
    """A torrent that is refused."""

    info_hash: InfoHash
    reason: str | None = None
    """What its clients are told, up to 500 bytes in UTF-8."""
    valid_until: int | None = None
    """Unix seconds; None is for ever."""


class KeyTable(Protocol):
    def load_keys(self) -> AsyncIterator[Sequence[PeerKey]]:
        """All keys, in batches."""

    async def add_key(self, key: PeerKey) -> None:
        """Keep a new key. A key that is there already is an error."""

    async def remove_key(self, key: str) -> None:
        """Forget a key. A key that is not there is an error."""

    async def restore_key(self, key: str, kept: PeerKey | None) -> None:
        """Undo a change that is in doubt: afterwards `kept` is there, or, if it is None, no row of `key`."""


class WhitelistTable(Protocol):
    def load_whitelist(self) -> AsyncIterator[Sequence[InfoHash]]:
        """All allowed info hashes, in batches."""

    async def add_to_whitelist(self, info_hash: InfoHash) -> None:
        """Keep an allowed info hash; one that is there already is no error."""

    async def remove_from_whitelist(self, info_hash: InfoHash) -> None:
        """Forget an allowed info hash; one that is not there is no error."""

    async def restore_in_whitelist(self, info_hash: InfoHash, *, listed: bool) -> None:
        """Undo a change that is in doubt."""


class BlacklistTable(Protocol):
    def load_blacklist(self) -> AsyncIterator[Sequence[BlacklistEntry]]:
        """All entries, in batches, also those that have expired."""

    async def add_to_blacklist(self, entries: Sequence[BlacklistEntry]) -> None:
        """Keep these, of different torrents, in one transaction; they replace what was kept of them."""

    async def remove_from_blacklist(self, info_hash: InfoHash) -> None:
        """Forget an entry; one that is not there is no error."""

    async def restore_in_blacklist(
        self, info_hashes: Sequence[InfoHash], kept: Sequence[BlacklistEntry]
    ) -> None:
        """Undo a change that is in doubt: of these info hashes, those of `kept` are there afterwards, the
        others not.
        """

    async def remove_expired_from_blacklist(self, unix_now: int) -> None:
        """Forget those whose `valid_until` is `unix_now` or before."""


class CompletedTable(Protocol):
    def load_completed(self) -> AsyncIterator[Sequence[Completed]]:
        """The completed counter of every torrent that has one, in batches."""

    async def save_completed(self, rows: Sequence[Completed]) -> None:
        """Keep these counters, absolute values, in one transaction; a higher value that is stored stays."""


class DatabaseState:
    """Whether the database answered when it was last asked, and how often it was."""

    def __init__(self) -> None:
        self.answers = True
        self.done = 0
        """Calls that it answered, also those that it refused to do."""
        self.failed = 0
        """Calls for which it was away, locked, full, or too slow."""

    def note(self, *, answered: bool) -> None:
        self.answers = answered
        self.done += answered
        self.failed += not answered


class Database(KeyTable, WhitelistTable, BlacklistTable, CompletedTable, Protocol):
    @property
    def state(self) -> DatabaseState: ...

    async def load_secret(self, name: str, *, size: int) -> bytes:
        """The secret of that name, `size` random bytes; made and kept when it is first asked for."""
