"""The native UDP plane against the portable handler: the same datagrams get the same answers and leave the
same state, up to the choice of peers and the value of connection ids.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.forms import make_blacklist, native
from torrust_py.core.database import BlacklistEntry
from torrust_py.core.statistics import Door, PortableStatistics, Statistics
from torrust_py.core.swarms import PortableSwarms, Retention, Swarms
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import Address, AnnounceEvent, InfoHash, PeerId, SwarmPeer, packed_address
from torrust_py.core.whitelist import PortableWhitelist, Whitelist
from torrust_py.data_planes import open_udp_plane
from torrust_py.udp import ConnectionIds, PortableConnectionIds, UdpHandler
from torrust_py.udp.packets import (
    DATAGRAM_SIZE,
    AnnounceRequest,
    ScrapeRequest,
    encode_announce_request,
    encode_connect_request,
    encode_scrape_request,
)

SECRET = bytes(range(16))
SLOT_MS = 300_000
START_MS = 87_300_000
CLIENTS = ("127.0.0.1", "127.0.0.2", "::1")
INFO_HASHES = [InfoHash(bytes([number]) * 20) for number in range(1, 6)]
TRANSACTION = b"\1\2\3\4"


class NoKeys:
    """A tracker that is not private asks for none."""

    def check(self, key: str, unix_now: float) -> None:
        raise AssertionError


class Portable:
    """The handler, asked without a socket."""

    def __init__(self, rules: Rules, retention: Retention) -> None:
        self.swarms: Swarms = PortableSwarms(retention=retention)
        self.whitelist: Whitelist = PortableWhitelist()
        self.blacklist = make_blacklist(PortableWhitelist(), self.swarms)
        self.statistics: Statistics = PortableStatistics()
        self.ids: ConnectionIds = PortableConnectionIds(SECRET, unix_offset_ms=0)
        tracker = Tracker(
            rules, swarms=self.swarms, whitelist=self.whitelist, blacklist=self.blacklist, keys=NoKeys()
        )  # type: ignore[arg-type]  # never asked
        self.handler = UdpHandler(tracker, self.ids, self.statistics)

    def ask(self, datagram: bytes, client: str, now_ms: int) -> bytes | None:
        return self.handler.handle(datagram[:DATAGRAM_SIZE], packed_address(client), now_ms)

    def close(self) -> None:
        pass


class Native:
    """The plane on a dual-stack socket, asked over the loopback device, which delivers at once."""

    def __init__(self, rules: Rules, retention: Retention) -> None:
        self.swarms = native("swarms").NativeSwarms(retention=retention)
        self.whitelist = native("whitelist").NativeWhitelist()
        self.refused = native("whitelist").NativeWhitelist()
        self.blacklist = make_blacklist(self.refused, self.swarms)
        self.statistics = native("statistics").NativeStatistics()
        self.ids = native("connection_ids").NativeConnectionIds(SECRET, unix_offset_ms=0)
        tracker = Tracker(
            rules, swarms=self.swarms, whitelist=self.whitelist, blacklist=self.blacklist, keys=NoKeys()
        )  # type: ignore[arg-type]  # never asked
        self.handler = UdpHandler(tracker, self.ids, self.statistics)
        self.listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind(("::", 0))
        self.plane = open_udp_plane(
            self.listener,
            self.handler,
            rules=rules,
            swarms=self.swarms,
            whitelist=self.whitelist,
            blacklist=self.refused,
            statistics=self.statistics,
            connection_ids=self.ids,
        )
        self.clients = {client: self.connected(client) for client in CLIENTS}

    def connected(self, client: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in client else socket.AF_INET
        one = socket.socket(family, socket.SOCK_DGRAM)
        one.bind((client, 0))
        one.connect(("::1" if ":" in client else "127.0.0.1", self.listener.getsockname()[1]))
        one.setblocking(False)
        return one

    def ask(self, datagram: bytes, client: str, now_ms: int) -> bytes | None:
        self.clients[client].send(datagram)
        assert self.plane.on_readable(now_ms) == 1
        with contextlib.suppress(BlockingIOError):
            return self.clients[client].recv(2048)
        return None

    def close(self) -> None:
        self.listener.close()
        for client in self.clients.values():
            client.close()


info_hashes = st.sampled_from(INFO_HASHES)
clients = st.sampled_from(CLIENTS)


class PlanesMachine(RuleBasedStateMachine):
    @initialize(
        listed=st.booleans(),
        external=st.sampled_from([None, "203.0.113.5", "2001:db8::5"]),
        max_peers=st.sampled_from([1, 5, 74, 1000]),
        keep_completed=st.booleans(),
        remove_peerless=st.booleans(),
    )
    def open(
        self,
        *,
        listed: bool,
        external: str | None,
        max_peers: int,
        keep_completed: bool,
        remove_peerless: bool,
    ) -> None:
        rules = Rules(
            interval=300,
            interval_min=120,
            max_peers=max_peers,
            listed=listed,
            external_address=packed_address(external) if external is not None else None,
        )
        retention = Retention(900, remove_peerless=remove_peerless, keep_completed=keep_completed)
        self.portable, self.native = Portable(rules, retention), Native(rules, retention)
        self.now_ms = START_MS
        self.known: dict[str, tuple[bytes, bytes]] = {}

    def teardown(self) -> None:
        self.native.close()

    @rule(client=clients, extra=st.binary(max_size=3))
    def connect(self, *, client: str, extra: bytes) -> None:
        datagram = encode_connect_request(TRANSACTION) + extra
        portable, native = self.both(datagram, datagram, client)
        assert portable is not None
        assert native is not None
        assert (portable[:8], len(portable)) == (native[:8], len(native))
        self.known[client] = portable[8:], native[8:]

    @rule(
        client=clients,
        owner=clients,
        info_hash=info_hashes,
        numbers=st.tuples(*[st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)])] * 3),
        event=st.sampled_from([*AnnounceEvent] * 3 + [4, -1]),
        num_want=st.sampled_from([None, 0, 1, 3, 50, 2**31 - 1]),
        port=st.sampled_from([1, 255, 256, 257, 6881, 65535, 0]),
        cut=st.sampled_from([0] * 8 + [1, 2, 82]),
        extra=st.binary(max_size=30),
    )
    def announce(
        self, *, client: str, owner: str, info_hash: InfoHash, numbers: tuple[int, int, int], event: int,
        num_want: int | None, port: int, cut: int, extra: bytes,
    ) -> None:  # fmt: skip
        request = AnnounceRequest(
            b"", TRANSACTION, info_hash, PeerId(b"-PY0000-" + port.to_bytes(12)), *numbers,
            AnnounceEvent.NONE, num_want, port,
        )  # fmt: skip
        rest = encode_announce_request(request)[8:]
        rest = rest[:72] + event.to_bytes(4, signed=True) + rest[76:] + extra
        rest = rest[: len(rest) - cut - len(extra)] if cut else rest
        self.ask_with_ids(owner, rest, client)

    @rule(
        client=clients,
        owner=clients,
        count=st.integers(0, 80),
        first=st.integers(0, 4),
        extra=st.binary(max_size=2),
    )
    def scrape(self, *, client: str, owner: str, count: int, first: int, extra: bytes) -> None:
        asked = (INFO_HASHES * 17)[first : first + count]
        request = encode_scrape_request(ScrapeRequest(b"", TRANSACTION, asked))
        self.ask_with_ids(owner, request[8:] + extra, client)

    @rule(client=clients, info_hash=info_hashes, first=st.integers(1, 300), count=st.sampled_from([30, 90]))
    def crowd(self, *, client: str, info_hash: InfoHash, first: int, count: int) -> None:
        """So many that not all are handed out, nor fit."""
        self.connect(client=client, extra=b"")
        for port in range(first, first + count):
            request = AnnounceRequest(
                b"",
                TRANSACTION,
                info_hash,
                PeerId(bytes(20)),
                0,
                port % 2,
                0,
                AnnounceEvent.STARTED,
                500,
                port,
            )
            self.ask_with_ids(client, encode_announce_request(request)[8:], client)

    @rule(client=clients, datagram=st.binary(max_size=120) | st.binary(min_size=1490, max_size=1600))
    def anything(self, *, client: str, datagram: bytes) -> None:
        if datagram[8:12] != b"\0\0\0\1":
            self.compare(*self.both(datagram, datagram, client))

    @rule(milliseconds=st.sampled_from([1, 999, 60_000, SLOT_MS, 900_000]))
    def wait(self, *, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule()
    def expire(self) -> None:
        for plane in (self.portable, self.native):
            for _ in range(2):
                while not plane.swarms.expire(self.now_ms, work=1000):
                    pass

    @rule(info_hash=info_hashes)
    def list_torrent(self, *, info_hash: InfoHash) -> None:
        for plane in (self.portable, self.native):
            plane.whitelist.add(info_hash)

    @rule(info_hash=info_hashes)
    def unlist_torrent(self, *, info_hash: InfoHash) -> None:
        for plane in (self.portable, self.native):
            plane.whitelist.discard(info_hash)

    @rule(info_hash=info_hashes, reason=st.sampled_from([None, "a reason", "é" * 250]))
    def refuse_torrent(self, *, info_hash: InfoHash, reason: str | None) -> None:
        for plane in (self.portable, self.native):
            asyncio.run(plane.blacklist.add([BlacklistEntry(info_hash, reason)]))
            assert plane.swarms.scrape(info_hash)[::2] == (0, 0)

    @rule(info_hash=info_hashes)
    def refuse_torrent_no_longer(self, *, info_hash: InfoHash) -> None:
        for plane in (self.portable, self.native):
            asyncio.run(plane.blacklist.remove(info_hash))

    @rule()
    def take_completed(self) -> None:
        assert sorted(self.portable.swarms.take_completed()) == sorted(self.native.swarms.take_completed())

    @invariant()
    def both_remember_the_same(self) -> None:
        one, other = self.portable, self.native
        for door in Door:
            assert one.statistics.door(door) == other.statistics.door(door)
            assert one.statistics.reasons(door) == other.statistics.reasons(door)
        assert one.swarms.totals() == other.swarms.totals()
        assert sorted(self.listed(one.swarms)) == sorted(self.listed(other.swarms))
        for info_hash in INFO_HASHES:
            assert one.swarms.scrape(info_hash) == other.swarms.scrape(info_hash)
            assert sorted(self.members(one.swarms, info_hash)) == sorted(
                self.members(other.swarms, info_hash)
            )

    # --- how it is asked and compared

    def both(self, to_portable: bytes, to_native: bytes, client: str) -> tuple[bytes | None, bytes | None]:
        return (
            self.portable.ask(to_portable, client, self.now_ms),
            self.native.ask(to_native, client, self.now_ms),
        )

    def ask_with_ids(self, owner: str, rest: bytes, client: str) -> None:
        """Ask with the connection id that `owner` was given; zeros if it was given none."""
        portable, native = self.known.get(owner, (bytes(8), bytes(8)))
        answers = self.both(portable + rest, native + rest, client)
        self.compare(*answers)
        if answers[1] is not None and answers[1][:4] == b"\0\0\0\1":
            self.check_chosen(answers[1][20:], InfoHash(rest[8:28]), size=18 if ":" in client else 6)

    def compare(self, portable: bytes | None, native: bytes | None) -> None:
        if portable is None or native is None or portable[:4] != b"\0\0\0\1":
            assert portable == native
        else:
            assert (portable[:20], len(portable)) == (native[:20], len(native))

    def check_chosen(self, packed: bytes, info_hash: InfoHash, *, size: int) -> None:
        peers = [packed[at : at + size] for at in range(0, len(packed), size)]
        assert len(set(peers)) == len(peers)
        assert set(peers) <= {one.peer.endpoint for one in self.members(self.native.swarms, info_hash)}

    def listed(self, store: Swarms) -> Iterator[InfoHash]:
        return (info_hash for step in store.torrents() for info_hash in step)

    def members(self, store: Swarms, info_hash: InfoHash) -> Iterator[SwarmPeer]:
        return (peer for step in store.peers(info_hash) for peer in step)


TestPlanes = pytest.mark.slow(PlanesMachine.TestCase)
TestPlanes.settings = settings(max_examples=100, stateful_step_count=40)


def test_the_client_is_read_from_its_socket_address() -> None:
    """A mapped client is IPv4, and of a connection id only the address matters."""
    native = Native(Rules(300, 120), Retention())
    try:
        answer = native.ask(encode_connect_request(TRANSACTION), "127.0.0.2", START_MS)
        assert answer == b"\0\0\0\0" + TRANSACTION + native.ids.issue(Address(b"\x7f\0\0\2"), START_MS)
    finally:
        native.close()
