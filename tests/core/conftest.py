"""What the tests of the swarms say in few words: peers, announces, and what a store remembers."""

from collections.abc import Callable

import pytest

from tests import forms
from torrust_py.core.swarms import Swarms
from torrust_py.core.types import (
    Address,
    AnnounceEvent,
    Endpoint,
    Families,
    InfoHash,
    Peer,
    PeerId,
    SwarmPeer,
    SwarmView,
    endpoint_of,
)

INFO_HASH = InfoHash(b"\5" * 20)


def _make_peer(
    number: int,
    /,
    *,
    ipv6: bool = False,
    port: int = 6881,
    left: int = 1,
    event: AnnounceEvent = AnnounceEvent.NONE,
) -> Peer:
    network = bytes.fromhex("20010db8") + bytes(9) if ipv6 else b"\n"
    return Peer(
        endpoint_of(Address(network + number.to_bytes(3)), port),
        PeerId(b"-PY0000-" + b"%012d" % number),
        uploaded=number,
        downloaded=2**63 - 1 - number,
        left=left,
        event=event,
    )


def _announce(
    swarms: Swarms,
    peer: Peer,
    /,
    *,
    info_hash: InfoHash = INFO_HASH,
    num_want: int = 74,
    families: Families = Families.BOTH,
    now_ms: int = 0,
) -> SwarmView:
    return swarms.announce(
        info_hash, peer.endpoint, peer, num_want=num_want, families=families, now_ms=now_ms
    )


def _members(swarms: Swarms, info_hash: InfoHash = INFO_HASH) -> dict[Endpoint, SwarmPeer]:
    peers = [peer for step in swarms.peers(info_hash) for peer in step]
    by_endpoint = {remembered.peer.endpoint: remembered for remembered in peers}
    assert len(by_endpoint) == len(peers), "an endpoint is remembered once"
    return by_endpoint


@pytest.fixture
def make_swarms(form: str) -> Callable[..., Swarms]:
    return forms.make_swarms(form)


@pytest.fixture(scope="session")
def make_peer() -> Callable[..., Peer]:
    """Peer `number` of its family, by name also its port, left and event: a leecher if not said otherwise."""
    return _make_peer


@pytest.fixture(scope="session")
def announce() -> Callable[..., SwarmView]:
    """Announce a peer to a store, for the usual torrent at the origin of time if not said otherwise."""
    return _announce


@pytest.fixture(scope="session")
def members() -> Callable[..., dict[Endpoint, SwarmPeer]]:
    """What a store remembers of a swarm's peers."""
    return _members
