"""Random and mutated datagrams at the native UDP plane, in batches; most worth their time under the
sanitizers (`scripts/sanitize`), which let it run for a minute.
"""

import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator

import pytest

from tests.forms import make_blacklist, native
from torrust_py.core.statistics import Door
from torrust_py.core.swarms import Limits, Retention
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId
from torrust_py.data_planes import open_udp_plane
from torrust_py.udp import UdpHandler
from torrust_py.udp.packets import (
    AnnounceRequest,
    ScrapeRequest,
    encode_announce_request,
    encode_connect_request,
    encode_scrape_request,
    parse_response,
)

SECONDS = float(os.environ.get("TORRUST_PY_FUZZ_SECONDS", "2"))
INFO_HASHES = [InfoHash(bytes([number]) * 20) for number in range(1, 9)]
HOSTS = ["127.0.0.1", "127.0.0.3", "::1"]


class NoKeys:
    def check(self, key: str, unix_now: float) -> None:
        raise AssertionError("no UDP tracker asks for a key")


@contextlib.contextmanager
def clients(port: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        opened = []
        for host in HOSTS:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            client = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            client.bind((host, 0))
            client.connect(("::1" if ":" in host else "127.0.0.1", port))
            client.setblocking(False)
            opened.append(client)
        yield opened


def good_datagram(chance: random.Random, connection_id: bytes) -> bytes:
    kind = chance.random()
    if kind < 0.1:
        return encode_connect_request(chance.randbytes(4))
    if kind < 0.3:
        asked = chance.choices(INFO_HASHES, k=chance.randrange(1, 80))
        return encode_scrape_request(ScrapeRequest(connection_id, chance.randbytes(4), asked))
    return encode_announce_request(
        AnnounceRequest(
            connection_id,
            chance.randbytes(4),
            chance.choice(INFO_HASHES),
            PeerId(chance.randbytes(20)),
            chance.randrange(2**63),
            chance.choice([0, 1, -1]),
            chance.randrange(2**63),
            chance.choice(list(AnnounceEvent)),
            chance.choice([None, 0, 1, 50, 1000]),
            chance.randrange(1, 65536) if chance.random() < 0.5 else chance.randrange(1, 100),
        )
    )


def mutated(chance: random.Random, datagram: bytes) -> bytes:
    kind = chance.random()
    if kind < 0.6:
        return datagram
    if kind < 0.7:
        return datagram[: chance.randrange(len(datagram) + 1)]
    if kind < 0.8:
        return datagram + chance.randbytes(chance.choice([1, 20, 1400]))
    if kind < 0.9:
        at = chance.randrange(len(datagram))
        return datagram[:at] + chance.randbytes(1) + datagram[at + 1 :]
    return chance.randbytes(chance.randrange(200))


@pytest.mark.slow
@pytest.mark.parametrize("listed", [False, True])
def test_whatever_comes_the_plane_answers_by_the_protocol_and_counts_it_once(listed: bool) -> None:
    chance = random.Random(int(listed))
    rules = Rules(interval=300, interval_min=120, listed=listed)
    limits = Limits(max_torrents=6, max_peers=4000, max_peers_per_torrent=2000)
    swarms = native("swarms").NativeSwarms(limits=limits, retention=Retention(60, keep_completed=True))
    whitelist, statistics = native("whitelist").NativeWhitelist(), native("statistics").NativeStatistics()
    refused = native("whitelist").NativeWhitelist()
    blacklist = make_blacklist(refused, swarms)
    ids = native("connection_ids").NativeConnectionIds(bytes(16), unix_offset_ms=0)
    tracker = Tracker(rules, swarms=swarms, whitelist=whitelist, blacklist=blacklist, keys=NoKeys())  # type: ignore[arg-type]  # never asked
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        plane = open_udp_plane(
            listener, UdpHandler(tracker, ids, statistics), rules=rules, swarms=swarms, whitelist=whitelist,
            blacklist=refused, statistics=statistics, connection_ids=ids,
        )  # fmt: skip
        sent, now_ms, end = 0, 87_000_000, time.monotonic() + SECONDS / 2
        with clients(listener.getsockname()[1]) as opened:
            while time.monotonic() < end:
                now_ms += chance.choice([1, 100, 2000])
                for _ in range(chance.randrange(1, 70)):
                    client = chance.choice(opened)
                    address = socket.inet_pton(client.family, client.getsockname()[0])
                    client.send(mutated(chance, good_datagram(chance, ids.issue(address, now_ms))))
                    sent += 1
                plane.on_readable(now_ms)
                for client in opened:
                    with contextlib.suppress(BlockingIOError):
                        while answer := client.recv(2048):
                            parse_response(answer)
                swarms.expire(now_ms, work=chance.choice([1, 100]))
                change = chance.choice([whitelist.add, whitelist.discard, refused.discard])
                change(chance.choice(INFO_HASHES))
                if chance.random() < 0.2:
                    taken_down = chance.choice(INFO_HASHES)
                    refused.add(taken_down)
                    swarms.remove(taken_down)
    counts = [statistics.door(door) for door in Door]
    assert sum(door.received for door in counts) == sent
    for door in counts:
        assert door.received == door.handled + door.refused + door.malformed + door.dropped
    torrents = [info_hash for step in swarms.torrents() for info_hash in step]
    peers = [peer for info_hash in torrents for step in swarms.peers(info_hash) for peer in step]
    totals = swarms.totals()
    assert (totals.torrents, totals.seeders + totals.leechers) == (len(torrents), len(peers))
    assert totals.torrents <= limits.max_torrents
