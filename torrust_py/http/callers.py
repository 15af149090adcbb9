"""Who announces over HTTP: whether all clients have one address, as behind a proxy that is not configured.

Kept so small that it costs an announce nothing that can be measured.
"""

from typing import NamedTuple, Protocol

from torrust_py.core.types import Address


class Seen(NamedTuple):
    """What came since the last look."""

    announces: int
    address: bytes | None
    """The one that all came from; None if there were several, or no announces."""
    port: int | None
    """The one that all were announced for; likewise."""


class OthersCallers(Protocol):
    """The announces that a plane has answered by itself."""

    def take_seen(self) -> tuple[int, bytes | None, int | None]:
        """The fields of `Seen`."""


class Callers:
    """Those of all HTTP trackers of the process."""

    def __init__(self) -> None:
        self._others: list[OthersCallers] = []
        self._begin()

    def _begin(self) -> None:
        self._announces = 0
        self._address: Address | None = None
        self._port: int | None = None
        self._unforwarded = 0

    def join(self, others: OthersCallers) -> None:
        self._others.append(others)

    def leave(self, others: OthersCallers) -> None:
        self._others.remove(others)

    def note_announce(self, address: Address, port: int) -> None:
        if not self._announces:
            self._address, self._port = address, port
        elif address != self._address:
            self._address = None
        if port != self._port:
            self._port = None
        self._announces += 1

    def note_unforwarded(self) -> None:
        """A request lacks the address that its proxy should have written."""
        self._unforwarded += 1

    def take(self) -> tuple[Seen, int]:
        """What came since the last call: announces, and requests without the address of a client."""
        seen, unforwarded = Seen(self._announces, self._address, self._port), self._unforwarded
        self._begin()
        for others in self._others:
            seen = _together(seen, Seen(*others.take_seen()))
        return seen, unforwarded


def _together(one: Seen, other: Seen) -> Seen:
    if not one.announces or not other.announces:
        return one if one.announces else other
    return Seen(
        one.announces + other.announces,
        one.address if one.address == other.address else None,
        one.port if one.port == other.port else None,
    )
