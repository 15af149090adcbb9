"""What the tests ask of a BitTorrent client."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.clients.programs import Program

PORT = 6881
"""Where each client listens for peers, at its own address of a network that is the test's own."""


class Task(NamedTuple):
    """A torrent that a client shares; it seeds if the content is in `directory` already."""

    metainfo: bytes
    directory: Path  # the client's own, for all that it writes
    address: str  # where it listens, and where it announces from
    ipv4: str  # also its own, for being driven where the client can be driven over IPv4 only


class Client(Protocol):
    """A running client."""

    @property
    def program(self) -> Program: ...

    def announce(self) -> None:
        """Have it announce now, if it would not do so within the tracker's interval on its own."""

    def leave(self) -> None:
        """Have it leave the swarm as a user does who is done."""


class ClientType(Protocol):
    """How a client is started; left, it is ended the hard way if it still runs."""

    def missing(self) -> str | None:
        """Why it cannot be started here, or None."""

    def share(self, task: Task) -> AbstractContextManager[Client]: ...
