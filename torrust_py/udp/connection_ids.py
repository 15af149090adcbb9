"""Connection ids (BEP 15): proof that a client receives what is sent to its address.

An id is a keyed MAC over the client's address and a slot of Unix time, so nothing is stored per client, and
with a secret that is kept ids outlive a restart. It is accepted in its own slot and in the next: 5 to 10
minutes, because clients go on using an id for minutes. Its port does not matter: address translators change
it.
"""

from hashlib import blake2b
from hmac import compare_digest
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
    """Keyed BLAKE2b over slot and address. `unix_offset_ms` turns the tracker's time into Unix time."""

    def __init__(self, secret: bytes, *, unix_offset_ms: int) -> None:
        self._secret = secret
        self._unix_offset_ms = unix_offset_ms
        self._turn_to(0)

    def issue(self, client: Address, now_ms: int, /) -> bytes:
        self._keep_up(now_ms)
        return _mac(self._current, client)

    def check(self, connection_id: bytes, client: Address, now_ms: int, /) -> None:
        self._keep_up(now_ms)
        if compare_digest(connection_id, _mac(self._current, client)):
            return
        if not compare_digest(connection_id, _mac(self._previous, client)):
            raise BadConnectionId

    def _keep_up(self, now_ms: int) -> None:
        slot = (now_ms + self._unix_offset_ms) // SLOT_MS
        if slot != self._slot:
            self._turn_to(slot)

    def _turn_to(self, slot: int) -> None:
        self._slot = slot
        self._current = self._keyed(slot)
        self._previous = self._keyed(slot - 1)

    def _keyed(self, slot: int) -> blake2b:
        return blake2b(slot.to_bytes(8, signed=True), key=self._secret, digest_size=CONNECTION_ID_SIZE)


def _mac(keyed: blake2b, client: Address) -> bytes:
    mac = keyed.copy()
    mac.update(client)
    return mac.digest()
