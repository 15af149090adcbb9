"""The authentication keys of a private tracker (BEP 27): in memory for requests, in the database across
restarts.
"""

import secrets
import string
from collections.abc import Iterator
from functools import partial

from torrust_py.core.changes import Changes
from torrust_py.core.database import KeyTable, PeerKey
from torrust_py.core.errors import BadKey, KeyExpired, KeyUnknown

KEY_SIZE = 32
_KEYS_A_STEP = 4096
_ALPHABET = string.ascii_letters + string.digits


def check_key(key: str) -> None:
    """Raises BadKey, with Torrust's words, unless `key` is 32 ASCII letters and digits."""
    if len(key.encode("utf-8", "surrogatepass")) != KEY_SIZE:
        raise BadKey("Invalid key length. Key must be have 32 chars")
    if not (key.isascii() and key.isalnum()):
        raise BadKey("Invalid chars for key. Key can only alphanumeric chars (0-9, a-z, A-Z)")


def random_key() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_SIZE))


class Keys:
    """Answers from memory at once; a change goes to the database first, so that a failure leaves memory as it
    was.

    `check_expiration` False accepts expired keys too (`core.private_mode.check_keys_expiration`).
    """

    def __init__(self, table: KeyTable, *, check_expiration: bool = True) -> None:
        self._table = table
        self._check_expiration = check_expiration
        self._valid_until: dict[str, int | None] = {}
        self._changes = Changes()

    def __len__(self) -> int:
        return len(self._valid_until)

    @property
    def changes(self) -> Changes:
        """For who undoes those that are in doubt."""
        return self._changes

    def check(self, key: str, unix_now: float) -> None:
        """Raises KeyUnknown or KeyExpired unless `key` admits at `unix_now` (Unix seconds)."""
        if key not in self._valid_until:
            raise KeyUnknown(key)
        valid_until = self._valid_until[key]
        if self._check_expiration and valid_until is not None and valid_until < unix_now:
            raise KeyExpired

    def steps(self) -> Iterator[list[str]]:
        """All keys there are now, in no order, in steps."""
        keys = list(self._valid_until)  # a million of them are some ten milliseconds
        return (keys[at : at + _KEYS_A_STEP] for at in range(0, len(keys), _KEYS_A_STEP))

    def find(self, key: str) -> PeerKey | None:
        """None if it is not known."""
        return PeerKey(key, self._valid_until[key]) if key in self._valid_until else None

    async def add(self, key: PeerKey) -> None:
        """Remember a new key, also across restarts. Raises DatabaseError, also if the key exists."""
        await self._changes.run(
            self._table.add_key(key), keep=partial(self._keep, key), undo=partial(self._restore, key.key)
        )

    async def remove(self, key: str) -> None:
        """Forget a key. Raises DatabaseError, also if the database does not have it."""
        await self._changes.run(
            self._table.remove_key(key), keep=partial(self._forget, key), undo=partial(self._restore, key)
        )

    async def load(self) -> None:
        """Replace what memory holds by what the database holds; all of it or, on DatabaseError, nothing."""
        await self._changes.load(self._load())

    async def _keep(self, key: PeerKey) -> None:
        self._valid_until[key.key] = key.valid_until

    async def _forget(self, key: str) -> None:
        self._valid_until.pop(key, None)

    async def _restore(self, key: str) -> None:
        known = key in self._valid_until
        await self._table.restore_key(key, PeerKey(key, self._valid_until[key]) if known else None)

    async def _load(self) -> None:
        loaded: dict[str, int | None] = {}
        async for rows in self._table.load_keys():
            loaded.update(rows)
        self._valid_until = loaded
