"""Announces over UDP, as fast as the tracker answers them.

As a program, `python -m tests.contract.announcers <host> <port> <torrents>`, it announces a seeder of each
numbered torrent, again and again.
"""

import contextlib
import hashlib
import itertools
import socket
import sys
from collections.abc import Iterable, Iterator

from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId
from torrust_py.udp.packets import (
    AnnounceRequest,
    ConnectResponse,
    encode_announce_request,
    encode_connect_request,
    parse_response,
)

_SOCKETS = 4
_DATAGRAMS = 48  # in flight on each socket
_PATIENCE = 5.0  # seconds until what is not answered is sent again
_ANNOUNCED = b"\0\0\0\1"  # the action of a response


def numbered(number: int) -> InfoHash:
    return InfoHash(hashlib.sha1(number.to_bytes(4, "big")).digest())


class Announcers:
    """Sockets that announce as fast as the tracker answers."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(_SOCKETS)]
        for one in self._sockets:
            one.connect(address)
            one.settimeout(_PATIENCE)
        [first, *_] = self._sockets
        first.send(encode_connect_request(b"1234"))
        response = parse_response(first.recv(2048))
        assert isinstance(response, ConnectResponse)
        self._connection_id = response.connection_id

    def close(self) -> None:
        for one in self._sockets:
            one.close()

    def announce(self, peers: Iterable[tuple[InfoHash, int]]) -> None:
        """A seeder of each info hash, at each port. What gets lost is sent again."""
        rest = iter(peers)
        while any(batches := [self._datagrams(rest) for _ in self._sockets]):
            for one, datagrams in zip(self._sockets, batches, strict=True):
                for datagram in datagrams.values():
                    one.send(datagram)
            for one, datagrams in zip(self._sockets, batches, strict=True):
                _collect(one, datagrams)

    def _datagrams(self, peers: Iterator[tuple[InfoHash, int]]) -> dict[bytes, bytes]:
        """Announces by their transaction ids."""
        made = {}
        for number, peer in enumerate(itertools.islice(peers, _DATAGRAMS)):
            transaction_id = number.to_bytes(4, "big")
            made[transaction_id] = self._datagram(transaction_id, *peer)
        return made

    def _datagram(self, transaction_id: bytes, info_hash: InfoHash, port: int) -> bytes:
        return encode_announce_request(
            AnnounceRequest(
                self._connection_id,
                transaction_id,
                info_hash,
                PeerId(b"-qB4500-%012d" % port),
                downloaded=0,
                left=0,
                uploaded=0,
                event=AnnounceEvent.STARTED,
                num_want=0,
                port=port,
            )
        )


def _collect(client: socket.socket, datagrams: dict[bytes, bytes]) -> None:
    """Wait until all are answered."""
    while datagrams:
        try:
            answer = client.recv(2048)
        except TimeoutError:
            for datagram in datagrams.values():
                client.send(datagram)
            continue
        assert answer.startswith(_ANNOUNCED), answer
        datagrams.pop(answer[4:8], None)


def main() -> None:
    host, port, torrents = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with contextlib.closing(Announcers((host, port))) as announcers:
        announcers.announce((numbered(number % torrents), 6881) for number in itertools.count())


if __name__ == "__main__":
    main()
