"""Real BitTorrent clients find each other through the tracker, and through nothing else."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clients.aria2 import Aria2Type
from tests.clients.clients import PORT, Client, ClientType, Task
from tests.clients.libtorrent_client import LibtorrentType
from tests.clients.network import NoPrivateNetwork, private_network
from tests.clients.programs import paused, wait_until
from tests.clients.torrents import Torrent, random_torrent
from tests.clients.tracker import INTERVAL, Swarm, Tracker
from tests.clients.transmission import TransmissionType
from tests.skips import do_without

pytestmark = [pytest.mark.slow, pytest.mark.clients, pytest.mark.timeout(150)]


class Host(NamedTuple):
    """An address of each family."""

    ipv4: str
    ipv6: str

    def address(self, family: int) -> str:
        return self.ipv4 if family == 4 else self.ipv6


_TRACKER = Host("10.77.0.1", "fd77::1")
_SEEDER = Host("10.77.0.2", "fd77::2")
_DOWNLOADER = Host("10.77.0.3", "fd77::3")

_START = 20.0  # seconds from the start of a client to its first announce
_DOWNLOAD = 30.0  # seconds
_SLACK = 3.0  # seconds that an announce may be late
_LEAVE = 10.0  # seconds

_CLIENTS: dict[str, ClientType] = {
    "aria2": Aria2Type(),
    "libtorrent": LibtorrentType(),
    "transmission": TransmissionType(),
}


class Side(NamedTuple):
    """A client, and the protocol over which it asks the tracker."""

    client: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.client}-{self.protocol}"


class Meeting(NamedTuple):
    """Who shares with whom, over 4 or 6."""

    seeder: Side
    downloader: Side
    family: int

    def __str__(self) -> str:
        return f"{self.seeder}-to-{self.downloader}-ipv{self.family}"


def _alike(client: str, protocol: str, family: int) -> Meeting:
    side = Side(client, protocol)
    return Meeting(side, side, family)


_MEETINGS = [
    # aria2 and Transmission know no UDP trackers over IPv6.
    _alike("aria2", "udp", 4),
    _alike("aria2", "http", 4),
    _alike("aria2", "http", 6),
    _alike("libtorrent", "udp", 4),
    _alike("libtorrent", "udp", 6),
    _alike("libtorrent", "http", 4),
    _alike("libtorrent", "http", 6),
    _alike("transmission", "udp", 4),
    _alike("transmission", "http", 4),
    _alike("transmission", "http", 6),
    # One swarm, whatever the client and the protocol.
    Meeting(Side("transmission", "udp"), Side("libtorrent", "http"), 4),
]


@pytest.fixture
def network() -> Iterator[None]:
    try:
        with private_network(*_TRACKER, *_SEEDER, *_DOWNLOADER):
            yield
    except NoPrivateNetwork as reason:
        do_without(str(reason))


@pytest.fixture
def tracker(network: None, tmp_path: Path) -> Iterator[Tracker]:
    with Tracker(tmp_path, _TRACKER.ipv4) as tracker:
        yield tracker


@pytest.mark.parametrize("meeting", _MEETINGS, ids=str)
def test_clients_meet_in_a_swarm_that_outlives_a_restart(
    meeting: Meeting, tracker: Tracker, tmp_path: Path
) -> None:
    torrent = random_torrent()
    one = {_endpoint(_SEEDER.address(meeting.family))}
    both = {*one, _endpoint(_DOWNLOADER.address(meeting.family))}
    uploads, downloads = tmp_path / "seeder", tmp_path / "downloader"
    uploads.mkdir()
    downloads.mkdir()
    torrent.write_content(uploads)
    share = partial(_share, torrent, tracker, family=meeting.family)
    with ExitStack() as clients:
        seeder = clients.enter_context(share(meeting.seeder, _SEEDER, uploads))
        _wait_for(tracker, torrent, Swarm(one, set(), completed=0), within=_START)
        downloader = clients.enter_context(share(meeting.downloader, _DOWNLOADER, downloads))
        _wait_for(tracker, torrent, Swarm(both, set(), completed=1), within=_START + _DOWNLOAD)
        wait_until(lambda: torrent.is_in(downloads), within=_SLACK, what="the file is whole")
        _check_counters(tracker.statistics(), meeting)

        with paused(seeder.program, downloader.program):  # neither meets a closed port
            tracker.restart()
        seeder.announce()
        downloader.announce()
        _wait_for(tracker, torrent, Swarm(both, set(), completed=1), within=INTERVAL + _SLACK)
        _check_connection_ids_lived_on(tracker.statistics())

        seeder.leave()
        downloader.leave()
        _wait_for(tracker, torrent, Swarm(set(), set(), completed=1), within=_LEAVE)


def _share(
    torrent: Torrent, tracker: Tracker, side: Side, host: Host, directory: Path, *, family: int
) -> AbstractContextManager[Client]:
    client = _CLIENTS[side.client]
    reason = client.missing()
    if reason is not None:
        do_without(reason)
    metainfo = torrent.metainfo(tracker.announce_url(side.protocol, _TRACKER.address(family)))
    return client.share(Task(metainfo, directory, host.address(family), host.ipv4))


def _wait_for(tracker: Tracker, torrent: Torrent, swarm: Swarm, *, within: float) -> None:
    seen: list[Swarm] = []

    def is_there() -> bool:
        seen[:] = [tracker.swarm(torrent.info_hash)]
        return seen == [swarm]

    try:
        wait_until(is_there, within=within, what=f"the tracker shows {swarm}")
    except AssertionError as error:
        error.add_note(f"It shows {seen}; {tracker.statistics()}")
        raise


def _check_counters(statistics: dict[str, int], meeting: Meeting) -> None:
    """The seeder announced once or more, the downloader twice or more, and nothing came over another way."""
    least = Counter({_counted_as(meeting.seeder, meeting.family): 1})
    least[_counted_as(meeting.downloader, meeting.family)] += 2
    announces = Counter({way: statistics[f"{way}_announces_handled"] for way in least})
    assert announces >= least, statistics
    moved = {name.split("_")[0] for name, count in statistics.items() if name.endswith("_handled") and count}
    assert moved == set(least), statistics


def _counted_as(side: Side, family: int) -> str:
    """How the names of the counters begin that such a client moves."""
    return f"{'udp' if side.protocol == 'udp' else 'tcp'}{family}"


def _check_connection_ids_lived_on(statistics: dict[str, int]) -> None:
    """No client asked for a new one; they use one for 60 s, which the test must not take until here."""
    assert (statistics["udp4_connections_handled"], statistics["udp6_connections_handled"]) == (0, 0)


def _endpoint(address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{PORT}"
