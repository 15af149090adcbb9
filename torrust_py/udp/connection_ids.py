"""Connection ids (BEP 15): proof that a client receives what is sent to its address.

An id is a keyed MAC over the client's address and a slot of Unix time, so nothing is stored per client, and
with a secret that is kept ids outlive a restart. It is accepted in its own slot and in the next: 5 to 10
minutes, because clients go on using an id for minutes. Its port does not matter: address translators change
it.
"""

import hmac
from hashlib import blake2b
from typing import Protocol

from torrust_py.core.errors import BadConnectionId
from torrust_py.core.types import Address

SLOT_MS = 5 * 60 * 1000
SECRET_SIZE = 16
CONNECTION_ID_SIZE = 8


class ConnectionIds(Protocol):
    """Issues and checks ids; one of the four things that have a portable and a native form."""

    def issue(self, client: Address, now_ms: int, /) -> bytes:
        """The 8 bytes that `client` is to show from now on."""

    def check(self, connection_id: bytes, client: Address, now_ms: int, /) -> None:
        """Raises BadConnectionId unless `client` was issued this id in this slot or the previous one."""


class PortableConnectionIds:
    """Keyed BLAKE2b. `unix_offset_ms` turns the tracker's time into Unix time."""

    def __init__(self, secret: bytes, *, unix_offset_ms: int) -> None:
        self._keyed = blake2b(key=secret, digest_size=CONNECTION_ID_SIZE)
        self._unix_offset_ms = unix_offset_ms

    def issue(self, client: Address, now_ms: int, /) -> bytes:
        return self._mac(client, self._slot(now_ms))

    def check(self, connection_id: bytes, client: Address, now_ms: int, /) -> None:
        slot = self._slot(now_ms)
        if hmac.compare_digest(connection_id, self._mac(client, slot)):
            return
        if not hmac.compare_digest(connection_id, self._mac(client, slot - 1)):
            raise BadConnectionId

    def _slot(self, now_ms: int) -> int:
        return (now_ms + self._unix_offset_ms) // SLOT_MS

    def _mac(self, client: Address, slot: int) -> bytes:
        mac = self._keyed.copy()
        mac.update(slot.to_bytes(8, signed=True) + client)
        return mac.digest()
