"""A tracker behind the UDP handler, and the datagrams to ask it with."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.forms import make_blacklist, make_connection_ids, make_statistics, make_swarms, make_whitelist
from torrust_py.core.blacklist import Blacklist
from torrust_py.core.database import Database
from torrust_py.core.keys import Keys
from torrust_py.core.statistics import Statistics
from torrust_py.core.swarms import Swarms
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId
from torrust_py.core.whitelist import Whitelist
from torrust_py.udp import ConnectionIds, UdpHandler
from torrust_py.udp.packets import AnnounceRequest, encode_announce_request

INFO_HASH = InfoHash(b"\5" * 20)
PEER_ID = PeerId(b"-qB00000000000000009")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Sockets are served, and asked, on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def statistics(form: str) -> Statistics:
    return make_statistics(form)


@pytest.fixture
def swarms(form: str) -> Swarms:
    return make_swarms(form)()


@pytest.fixture
def whitelist(form: str) -> Whitelist:
    return make_whitelist(form)


@pytest.fixture
def refused(form: str) -> Whitelist:
    """The set of the blacklist."""
    return make_whitelist(form)


@pytest.fixture
def blacklist(refused: Whitelist, swarms: Swarms) -> Blacklist:
    return make_blacklist(refused, swarms)


@pytest.fixture
def connection_ids(form: str) -> ConnectionIds:
    return make_connection_ids(form, bytes(16), unix_offset_ms=0)


@pytest.fixture
def make_handler(
    statistics: Statistics,
    swarms: Swarms,
    whitelist: Whitelist,
    blacklist: Blacklist,
    connection_ids: ConnectionIds,
    memory_database: Database,
) -> Callable[[Rules], UdpHandler]:
    """The handler of a tracker with these rules."""

    def make(rules: Rules) -> UdpHandler:
        keys = Keys(memory_database)
        tracker = Tracker(rules, swarms=swarms, whitelist=whitelist, blacklist=blacklist, keys=keys)
        return UdpHandler(tracker, connection_ids, statistics)

    return make


@pytest.fixture
def handler(make_handler: Callable[[Rules], UdpHandler]) -> UdpHandler:
    """The handler of a public tracker."""
    return make_handler(Rules(interval=120, interval_min=60))


def _announce_datagram(
    connection_id: bytes,
    *,
    info_hash: InfoHash = INFO_HASH,
    left: int = 0,
    event: AnnounceEvent = AnnounceEvent.NONE,
    num_want: int | None = None,
    port: int = 17550,
) -> bytes:
    return encode_announce_request(
        AnnounceRequest(connection_id, b"\0\0\x22\x22", info_hash, PEER_ID, 0, left, 0, event, num_want, port)
    )


@pytest.fixture(scope="session")
def announce_datagram() -> Callable[..., bytes]:
    """An announce request with this connection id, of a seeder on port 17550 if not said otherwise."""
    return _announce_datagram
