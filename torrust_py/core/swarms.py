"""The peers of each info hash, and which of them to hand out.

A peer is its endpoint. A swarm has one half per address family; a half keeps its peers side by side, leechers
before seeders, so that the peers of a response are copied as they stand and either role is a range:

    endpoints   6 or 18 bytes each, in wire order
    seen        32 bits each: whole seconds of the last announce << 1 | is a seeder
    details     46 bytes each: 20 peer id   8 uploaded   8 downloaded   8 left   2 event << 10 | milliseconds

A peer that leaves is overwritten by the last of its range. Counts are kept, never counted by a walk. Time is
milliseconds from an origin that lies before the start.
"""

import itertools
import mmap
import random
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from torrust_py.core.database import Completed
from torrust_py.core.records import (
    DETAILS,
    MOST_PEERS,
    NO_PEERS,
    PEERS_A_PART,
    PackedPeers,
    SwarmRecord,
    encode_record,
    packed_words,
    parse_records,
)
from torrust_py.core.types import (
    ENDPOINT_SIZE_IPV4,
    ENDPOINT_SIZE_IPV6,
    NO_SWARM,
    PEER_ID_SIZE,
    Announced,
    AnnounceEvent,
    Endpoint,
    Families,
    InfoHash,
    Peer,
    PeerId,
    SwarmCounts,
    SwarmPeer,
    SwarmView,
)

MEMORY_TO_SPARE = 16 << 20
"""Bytes that must be to be had before a peer is added, so that all else finds memory too: more than the
native form takes from the system at a time. Where there are fewer, the tracker is full: a new peer takes the
place of another.
"""

NEW_PEERS_A_LOOK = 256
"""How often that is looked at: they take a tenth of it at most."""


class Limits(NamedTuple):
    """How much is remembered; 0 is no limit."""

    max_torrents: int = 0
    max_peers: int = 0
    max_peers_per_torrent: int = 0
    """Of both families together."""


class Retention(NamedTuple):
    """How long what is remembered."""

    max_peer_timeout: int = 900
    """Seconds without an announce after which a peer goes."""
    remove_peerless: bool = True
    """The expiry pass also drops torrents without peers."""
    keep_completed: bool = False
    """Completed counters outlive the process: their changes are noted, and torrents that have one are not
    dropped.
    """


class Totals(NamedTuple):
    """Sums over all swarms."""

    torrents: int
    seeders: int
    completed: int
    leechers: int


class Pressure(NamedTuple):
    """How often the limits were felt since the start."""

    replaced_peers: int
    """A new peer took the place of a random one of its swarm."""
    evicted_torrents: int
    """A new torrent took the place of one that only a single announce had touched."""
    unstored: int
    """An announce was answered, but its new torrent found no room."""
    is_short_of_memory: bool = False
    """Of less than MEMORY_TO_SPARE, when last looked at."""


class Exported(NamedTuple):
    """A step of an export. A swarm that is written in parts counts with its first."""

    records: bytes
    """As `torrust_py.core.records` describes them; may be empty."""
    torrents: int
    peers: int


class Imported(NamedTuple):
    """What became of records."""

    peers: int = 0
    expired_peers: int = 0
    torrents_left_out: int = 0
    """For want of room, with all their peers."""
    peers_left_out: int = 0
    """For want of room, of torrents that are there."""


class Swarms(Protocol):
    """The swarm store; one of the four things that have a portable and a native form.

    Its iterators do a bounded piece of work per step (a millisecond at most), so that the loop can turn in
    between; what changes between two steps may or may not be seen, and may be seen twice.
    """

    def announce(
        self,
        info_hash: InfoHash,
        endpoint: Endpoint,
        announced: Announced,
        *,
        num_want: int,
        families: Families,
        now_ms: int,
    ) -> SwarmView:
        """Apply the announce of the peer at `endpoint` and choose up to `num_want` other peers of `families`.

        Both families share `num_want`: each gets at least half of it, rounded down, if both have enough, and
        what the other leaves. A peer that stops gets none. A peer of port 0 is answered, but not kept.
        """

    def scrape(self, info_hash: InfoHash, /) -> SwarmCounts: ...

    def peer_ids(self, info_hash: InfoHash, endpoints: bytes, *, size: int) -> list[PeerId]:
        """The ids of peers that an announce has just chosen; `endpoints` holds one every `size` bytes."""

    def __contains__(self, info_hash: InfoHash, /) -> bool: ...

    def totals(self) -> Totals: ...

    def pressure(self) -> Pressure: ...

    def expire(self, now_ms: int, *, work: int) -> bool:
        """Go on with the expiry pass until about `work` torrents and peers were looked at.

        A peer goes when its timeout has fully passed. True if the pass has ended; the next call begins
        another.
        """

    def torrents(self) -> Iterator[list[InfoHash]]:
        """Every info hash, in no order, in steps."""

    def peers(self, info_hash: InfoHash, /) -> Iterator[list[SwarmPeer]]:
        """Every peer of a swarm, in no order, in steps."""

    def take_completed(self) -> list[Completed]:
        """The completed counters that changed since this was last asked (absolute values)."""

    def restore(self, rows: Iterable[Completed], /) -> int:
        """Make torrents without peers that have these completed counters; how many of the rows found room.

        Of several counters of one torrent the highest counts. They take half of `max_torrents` at most: since
        they are not evicted, others would find no room.
        """

    def remove(self, info_hash: InfoHash, /) -> None:
        """Drop every peer of a torrent at once, and with them the torrent, unless its completed counter is
        kept (see `Retention`).
        """

    def export_swarms(self) -> Iterator[Exported]:
        """Every swarm as records, in small steps. What is there at the first step and stays is not missed."""

    def import_swarms(self, records: bytes, *, shift: int, now_ms: int) -> Imported:
        """Take in swarms that this store or another has exported. Raises BadRecords; then none is taken.

        `shift` makes seconds of this store's time of those in the records. A peer whose timeout has passed is
        dropped, and with the last of them its torrent, if nothing keeps that. A peer that was seen after
        `now_ms` was seen then. What is here already stays, unless the record is newer; of two completed
        counters the higher counts. Torrents without peers take half of `max_torrents` at most, as with
        `restore`.
        """


RUNS = 8
"""A choice takes its peers as this many runs of neighbours."""

_INDEXED_FROM = 25  # from so many peers on, a dictionary finds an endpoint; below, a search of the bytes
_PEERS_A_STEP = 256
_TORRENTS_A_STEP = 4096
_RECORDS_A_STEP = 16
_EVICTION_SAMPLE = 16
_DETAILS_SIZE = DETAILS.size
_pack_details = DETAILS.pack_into
_EVENTS = tuple(AnnounceEvent)
_COMPLETED, _STOPPED = AnnounceEvent.COMPLETED, AnnounceEvent.STOPPED
_IPV4, _IPV6, _BOTH = Families.IPV4, Families.IPV6, Families.BOTH

Random = Callable[[], float]
"""Uniform in [0, 1), as `random.random`."""


class PortableSwarms:
    """Pure Python, the readable reference."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008 (immutable)
        retention: Retention = Retention(),  # noqa: B008 (immutable)
        random: Random = random.random,
    ) -> None:
        self._limits = limits
        self._retention = retention
        self._random = random
        self.made = 0
        """Torrents since the start, also those that are gone."""
        self._swarms: dict[InfoHash, _Swarm] = {}
        self._table: list[_Swarm] = []  # the same, by position: to pick one at random, and to walk in steps
        self._seeders = 0
        self._leechers = 0
        self._completed = 0
        self._changed: set[InfoHash] = set()
        self._replaced_peers = 0
        self._evicted_torrents = 0
        self._unstored = 0
        self._is_short = False
        self._until_look = 0
        self._oldest = 0  # the second in which a peer must have been seen to stay
        self._expiry: Iterator[int] = self._expiry_pass()

    def announce(
        self,
        info_hash: InfoHash,
        endpoint: Endpoint,
        announced: Announced,
        *,
        num_want: int,
        families: Families,
        now_ms: int,
    ) -> SwarmView:
        swarm = self._swarms.get(info_hash)
        half, position = None, -1
        if swarm is not None:
            if swarm.announces < 2:
                swarm.announces += 1
            half = swarm.ipv4 if len(endpoint) == ENDPOINT_SIZE_IPV4 else swarm.ipv6
            if half is not None:
                position = half.find(endpoint)
        if announced.event is _STOPPED:
            return self._stop(swarm, half, position)
        if swarm is not None and half is not None and position >= 0:
            position = self._update(swarm, half, position, announced, now_ms)
        elif not endpoint.endswith(b"\0\0"):
            swarm, position = self._add(swarm, info_hash, endpoint, announced, now_ms)
        if swarm is None:
            return SwarmView(seeders=0, leechers=0, peers_ipv4=b"", peers_ipv6=b"")
        return self._view(swarm, endpoint, position, announced.left == 0, num_want, families)

    def scrape(self, info_hash: InfoHash, /) -> SwarmCounts:
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return NO_SWARM
        return SwarmCounts(seeders=swarm.seeders, completed=swarm.completed, leechers=swarm.leechers)

    def peer_ids(self, info_hash: InfoHash, endpoints: bytes, *, size: int) -> list[PeerId]:
        if not endpoints:
            return []
        half = self._swarms[info_hash].half(size)
        positions = (half.find(Endpoint(endpoints[at : at + size])) for at in range(0, len(endpoints), size))
        return [half.peer_id(position) for position in positions]

    def __contains__(self, info_hash: InfoHash, /) -> bool:
        return info_hash in self._swarms

    def totals(self) -> Totals:
        return Totals(len(self._table), self._seeders, self._completed, self._leechers)

    def pressure(self) -> Pressure:
        return Pressure(self._replaced_peers, self._evicted_torrents, self._unstored, self._is_short)

    def expire(self, now_ms: int, *, work: int) -> bool:
        self._oldest = now_ms // 1000 - self._retention.max_peer_timeout
        while work > 0:
            done = next(self._expiry, 0)
            if done == 0:
                self._expiry = self._expiry_pass()
                return True
            work -= done
        return False

    def torrents(self) -> Iterator[list[InfoHash]]:
        last = len(self._table)
        while last > 0:
            first = max(0, last - _TORRENTS_A_STEP)
            yield [swarm.info_hash for swarm in self._table[first:last]]
            last = min(first, len(self._table))

    def peers(self, info_hash: InfoHash, /) -> Iterator[list[SwarmPeer]]:
        swarm = self._swarms.get(info_hash)
        for half in swarm.halves() if swarm is not None else ():
            yield from half.steps()

    def take_completed(self) -> list[Completed]:
        changed, self._changed = self._changed, set()
        return [Completed(info_hash, self._swarms[info_hash].completed) for info_hash in changed]

    def restore(self, rows: Iterable[Completed], /) -> int:
        restored = 0
        for info_hash, completed in rows:
            swarm = self._swarms.get(info_hash)
            if swarm is None:
                if self._has_no_room_for_restored():
                    continue
                swarm = self._new(info_hash)
            restored += 1
            swarm.announces = 2  # it has a past, so it is not what an eviction looks for
            self._completed += max(0, completed - swarm.completed)
            swarm.completed = max(completed, swarm.completed)
        return restored

    def remove(self, info_hash: InfoHash, /) -> None:
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return
        if not self._keeps_count(swarm):
            self._drop_torrent(swarm)
        else:
            self._count(swarm, leechers=-swarm.leechers, seeders=-swarm.seeders)
        for half in swarm.halves():
            half.clear()  # not left as it was: a step of the expiry or of an export may come back to it

    def export_swarms(self) -> Iterator[Exported]:
        # Downwards, since what leaves is overwritten by the last, which was written before.
        unvisited = len(self._table)
        while unvisited > 0:
            records: list[bytes] = []
            peers = 0
            while unvisited > 0 and len(records) < _RECORDS_A_STEP and peers < MOST_PEERS:
                unvisited -= 1
                swarm = self._table[unvisited]
                if swarm.peers > MOST_PEERS:
                    yield Exported(b"".join(records), len(records), peers)
                    for part in swarm.parts():
                        yield Exported(
                            encode_record(part), part.is_first_part, part.ipv4.total + part.ipv6.total
                        )
                    break
                records.append(encode_record(swarm.record()))
                peers += swarm.peers
            else:
                yield Exported(b"".join(records), len(records), peers)
            unvisited = min(unvisited, len(self._table))

    def import_swarms(self, records: bytes, *, shift: int, now_ms: int) -> Imported:
        oldest = max(0, now_ms // 1000 - self._retention.max_peer_timeout) * 1000
        swarms = [(record, list(record.peers())) for record in parse_records(records)]
        taken = [0] * len(Imported._fields)
        for record, peers in swarms:
            alive = [
                SwarmPeer(peer, min(updated_ms + shift * 1000, now_ms))
                for peer, updated_ms in peers
                if updated_ms + shift * 1000 >= oldest
            ]
            become = self._import(record, alive, expired=len(peers) - len(alive))
            taken = [sum(pair) for pair in zip(taken, become, strict=True)]
        return Imported(*taken)

    # --- one announce

    def _stop(self, swarm: "_Swarm | None", half: "_Half | None", position: int) -> SwarmView:
        """The peer at `position` (-1: it is not there) leaves."""
        if swarm is None:
            return SwarmView(seeders=0, leechers=0, peers_ipv4=b"", peers_ipv6=b"")
        if half is not None and position >= 0:
            self._drop_peer(swarm, half, position)
        return SwarmView(swarm.seeders, swarm.leechers, b"", b"")

    def _add(
        self,
        swarm: "_Swarm | None",
        info_hash: InfoHash,
        endpoint: Endpoint,
        announced: Announced,
        now_ms: int,
    ) -> "tuple[_Swarm | None, int]":
        """Put in a peer that is not there; where it stands then, or -1 if there is no room for it."""
        self._look_at_memory()
        if swarm is None or swarm.peers == 0:
            if not self._make_room():
                self._unstored += 1
                return swarm, -1
        elif self._is_full(swarm):
            self._replace_one(swarm, endpoint)
        try:
            if swarm is None:
                swarm = self._new(info_hash)
            position = swarm.half(len(endpoint)).add(endpoint, announced, now_ms)
        except MemoryError:
            self._is_short = True
            raise
        self._count(swarm, leechers=announced.left != 0, seeders=announced.left == 0)
        return swarm, position

    def _update(
        self, swarm: "_Swarm", half: "_Half", position: int, announced: Announced, now_ms: int
    ) -> int:
        if announced.event is _COMPLETED and half.event(position) is not _COMPLETED:
            swarm.completed += 1
            self._completed += 1
            if self._retention.keep_completed:
                self._changed.add(swarm.info_hash)
        before = half.leechers
        position = half.update(position, announced, now_ms)
        if half.leechers != before:
            self._count(swarm, leechers=half.leechers - before, seeders=before - half.leechers)
        return position

    def _view(
        self,
        swarm: "_Swarm",
        endpoint: Endpoint,
        position: int,
        seeder: bool,
        num_want: int,
        families: Families,
    ) -> SwarmView:
        """What the peer, who stands at `position` of its family's half (-1: nowhere), is told."""
        ipv4, ipv6 = swarm.ipv4, swarm.ipv6
        hole_ipv4, hole_ipv6 = (position, -1) if len(endpoint) == ENDPOINT_SIZE_IPV4 else (-1, position)
        want_ipv4 = num_want if families is not _IPV6 else 0
        want_ipv6 = num_want if families is not _IPV4 else 0
        if families is _BOTH and ipv4 is not None and ipv6 is not None:
            others_ipv4, others_ipv6 = len(ipv4) - (hole_ipv4 >= 0), len(ipv6) - (hole_ipv6 >= 0)
            want_ipv4 = min(others_ipv4, num_want - min(others_ipv6, num_want // 2))
            want_ipv6 = num_want - want_ipv4
        peers_ipv4 = peers_ipv6 = b""
        if want_ipv4 and ipv4 is not None:
            peers_ipv4 = ipv4.choose(want_ipv4, hole_ipv4, seeder, self._random)
        if want_ipv6 and ipv6 is not None:
            peers_ipv6 = ipv6.choose(want_ipv6, hole_ipv6, seeder, self._random)
        return SwarmView(swarm.seeders, swarm.leechers, peers_ipv4, peers_ipv6)

    def _count(self, swarm: "_Swarm", *, leechers: int, seeders: int) -> None:
        swarm.leechers += leechers
        swarm.seeders += seeders
        self._leechers += leechers
        self._seeders += seeders

    def _drop_peer(self, swarm: "_Swarm", half: "_Half", position: int) -> None:
        leecher = position < half.leechers
        half.remove(position)
        self._count(swarm, leechers=-leecher, seeders=leecher - 1)

    # --- one record

    def _import(self, record: SwarmRecord, alive: list[SwarmPeer], *, expired: int) -> Imported:
        swarm = self._swarms.get(record.info_hash)
        if swarm is None:
            keeps_count = self._retention.keep_completed and record.completed > 0
            if expired and not alive and self._retention.remove_peerless and not keeps_count:
                return Imported(expired_peers=expired)
            if self._has_no_room_for_record(alive):
                return Imported(expired_peers=expired, torrents_left_out=record.is_first_part)
            swarm = self._new(record.info_hash)
        swarm.announces = max(swarm.announces, record.announces)
        if record.completed > swarm.completed:
            self._raise_completed(swarm, record.completed)
        kept = sum(self._import_peer(swarm, *one) for one in alive)
        return Imported(peers=kept, expired_peers=expired, peers_left_out=len(alive) - kept)

    def _has_no_room_for_record(self, alive: list[SwarmPeer]) -> bool:
        if not alive:
            return self._has_no_room_for_restored()
        return self._has_no_room_for_torrents() or self._has_no_room_for_peers()

    def _raise_completed(self, swarm: "_Swarm", completed: int) -> None:
        swarm.announces = 2  # as with a restored one
        self._completed += completed - swarm.completed
        swarm.completed = completed
        if self._retention.keep_completed:
            self._changed.add(swarm.info_hash)

    def _import_peer(self, swarm: "_Swarm", peer: Peer, updated_ms: int) -> bool:
        """False if there is no room for it."""
        half = swarm.half(len(peer.endpoint))
        before, leechers_before = len(half), half.leechers
        position = half.find(peer.endpoint)
        if position < 0:
            if self._is_full(swarm):
                return False
            half.add(peer.endpoint, peer, updated_ms)
        elif half.updated_ms(position) < updated_ms:
            half.update(position, peer, updated_ms)
        leechers = half.leechers - leechers_before
        self._count(swarm, leechers=leechers, seeders=len(half) - before - leechers)
        return True

    # --- torrents

    def _new(self, info_hash: InfoHash) -> "_Swarm":
        swarm = _Swarm(info_hash, len(self._table))
        self._table.append(swarm)
        try:
            self._swarms[info_hash] = swarm
        except MemoryError:
            self._table.pop()  # in both or in neither: whoever drops it takes it out of both
            raise
        self.made += 1
        return swarm

    def _drop_torrent(self, swarm: "_Swarm") -> None:
        self._leechers -= swarm.leechers
        self._seeders -= swarm.seeders
        self._completed -= swarm.completed
        del self._swarms[swarm.info_hash]
        last = self._table.pop()
        if last is not swarm:
            last.position = swarm.position
            self._table[last.position] = last

    def _expiry_pass(self) -> Iterator[int]:
        """Look at all that there is, in steps; yields the work of each.

        Downwards, since what leaves is overwritten by the last, which was looked at before.
        """
        unvisited = len(self._table)
        while unvisited > 0:
            swarm = self._table[unvisited - 1]
            for half in swarm.halves():
                yield from self._expire_peers(swarm, half)
            if self._is_forgotten(swarm):
                self._drop_torrent(swarm)
            yield 1
            unvisited = min(unvisited - 1, len(self._table))

    def _expire_peers(self, swarm: "_Swarm", half: "_Half") -> Iterator[int]:
        # A torrent that is evicted meanwhile has one peer, and so no second step.
        for first in range(len(half) - 1, -1, -_PEERS_A_STEP):
            for position in half.expired(first, _PEERS_A_STEP, oldest=self._oldest):
                self._drop_peer(swarm, half, position)
            yield min(_PEERS_A_STEP, first + 1)

    def _is_forgotten(self, swarm: "_Swarm") -> bool:
        """True if nothing keeps the torrent, which may have been evicted since the pass came to it."""
        if swarm.peers > 0 or not self._retention.remove_peerless:
            return False
        return not self._keeps_count(swarm) and self._swarms.get(swarm.info_hash) is swarm

    def _keeps_count(self, swarm: "_Swarm") -> bool:
        return self._retention.keep_completed and swarm.completed > 0

    # --- limits

    def _has_no_room_for_torrents(self) -> bool:
        return 0 < self._limits.max_torrents <= len(self._table)

    def _has_no_room_for_restored(self) -> bool:
        return 0 < self._limits.max_torrents <= 2 * len(self._table)

    def _has_no_room_for_peers(self) -> bool:
        return self._is_short or 0 < self._limits.max_peers <= self._seeders + self._leechers

    def _is_full(self, swarm: "_Swarm") -> bool:
        return self._has_no_room_for_peers() or 0 < self._limits.max_peers_per_torrent <= swarm.peers

    def _look_at_memory(self) -> None:
        """Before a peer is put in: every so often, whether there is memory to spare."""
        if self._until_look > 0:
            self._until_look -= 1
            return
        self._until_look = NEW_PEERS_A_LOOK - 1
        try:
            mmap.mmap(-1, MEMORY_TO_SPARE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError:
            self._is_short = True
        else:
            self._is_short = False

    def _replace_one(self, swarm: "_Swarm", endpoint: Endpoint) -> None:
        """Take out a random peer, of the endpoint's family if the swarm has any."""
        ipv4, ipv6 = swarm.ipv4, swarm.ipv6
        own, other = (ipv6, ipv4) if len(endpoint) == ENDPOINT_SIZE_IPV6 else (ipv4, ipv6)
        half = own if own is not None and len(own) else other
        assert half is not None, "a full swarm has peers"
        self._drop_peer(swarm, half, int(self._random() * len(half)))
        self._replaced_peers += 1

    def _make_room(self) -> bool:
        """Room for a torrent that has no peers yet: False if a sample has none that a single announce only
        touched. (If it is there already, this is at least its second.)
        """
        peers_are_full = self._has_no_room_for_peers()
        if not (peers_are_full or self._has_no_room_for_torrents()):
            return True
        for _ in range(_EVICTION_SAMPLE if self._table else 0):
            candidate = self._table[int(self._random() * len(self._table))]
            if candidate.announces < 2 and (candidate.peers or not peers_are_full):
                self._drop_torrent(candidate)
                self._evicted_torrents += 1
                return True
        return False


class _Swarm:
    """A torrent: its peers by family, and how often it was finished."""

    __slots__ = ("announces", "completed", "info_hash", "ipv4", "ipv6", "leechers", "position", "seeders")

    def __init__(self, info_hash: InfoHash, position: int) -> None:
        self.info_hash = info_hash
        self.position = position  # in the table of all swarms
        self.ipv4: _Half | None = None  # made when first needed, as the next
        self.ipv6: _Half | None = None
        self.seeders = 0
        self.leechers = 0
        self.completed = 0
        self.announces = 1  # 2 stands for all above

    @property
    def peers(self) -> int:
        return self.seeders + self.leechers

    def half(self, size: int) -> "_Half":
        """The half of endpoints of `size` bytes, made if it is not there."""
        half = self.ipv4 if size == ENDPOINT_SIZE_IPV4 else self.ipv6
        if half is None:
            half = _Half(size)
            if size == ENDPOINT_SIZE_IPV4:
                self.ipv4 = half
            else:
                self.ipv6 = half
        return half

    def halves(self) -> "Iterator[_Half]":
        """Those that there are."""
        if self.ipv4 is not None:
            yield self.ipv4
        if self.ipv6 is not None:
            yield self.ipv6

    def record(self) -> SwarmRecord:
        """The whole of it."""
        ipv4, ipv6 = (NO_PEERS if half is None else half.packed() for half in (self.ipv4, self.ipv6))
        return SwarmRecord(self.info_hash, self.completed, self.announces, True, ipv4, ipv6)

    def parts(self) -> Iterator[SwarmRecord]:
        """All peers that are there now and do not leave before their part comes, each once."""
        ipv4, ipv6 = self.ipv4, self.ipv6
        pairs = itertools.chain(
            ((part, NO_PEERS) for part in (ipv4.parts() if ipv4 is not None else ())),
            ((NO_PEERS, part) for part in (ipv6.parts() if ipv6 is not None else ())),
        )
        for number, pair in enumerate(pairs):
            yield SwarmRecord(self.info_hash, self.completed, self.announces, number == 0, *pair)


class _Half:
    """The peers of one swarm and family. Positions: leechers 0 to `leechers` - 1, then the seeders."""

    __slots__ = ("_details", "_endpoints", "_index", "_seen", "_size", "leechers")

    def __init__(self, size: int) -> None:
        self._size = size
        self._endpoints = bytearray()
        self._seen = array("I")
        self._details = bytearray()
        self._index: dict[Endpoint, int] | None = None
        self.leechers = 0

    def __len__(self) -> int:
        return len(self._seen)

    def find(self, endpoint: Endpoint) -> int:
        """The position of the peer, or -1."""
        if self._index is not None:
            return self._index.get(endpoint, -1)
        size = self._size
        at = self._endpoints.find(endpoint)
        while at % size and at > 0:  # found across two neighbours
            at = self._endpoints.find(endpoint, at + 1)
        return at // size

    def peer_id(self, position: int) -> PeerId:
        at = position * _DETAILS_SIZE
        return PeerId(bytes(self._details[at : at + PEER_ID_SIZE]))

    def event(self, position: int) -> AnnounceEvent:
        return _EVENTS[self._details[(position + 1) * _DETAILS_SIZE - 1] >> 2]

    def add(self, endpoint: Endpoint, announced: Announced, now_ms: int) -> int:
        """Put in a peer that is not there; its position. On MemoryError the half is as it was."""
        position = len(self._seen)
        try:
            self._details += bytes(_DETAILS_SIZE)
            self._endpoints += endpoint
            self._seen.append(announced.left == 0)
            self._remember(endpoint, position)
        except MemoryError:
            self._cut(position)
            raise
        return self.update(position, announced, now_ms)

    def update(self, position: int, announced: Announced, now_ms: int) -> int:
        """Write anew what is known of the peer at `position`; its position afterwards."""
        seconds, ms = divmod(now_ms, 1000)
        left = announced.left
        _pack_details(
            self._details,
            position * _DETAILS_SIZE,
            announced.peer_id,
            announced.uploaded,
            announced.downloaded,
            left,
            announced.event << 10 | ms,
        )
        self._seen[position] = seconds << 1 | (left == 0)
        if left != 0 and position >= self.leechers:
            self._swap(position, self.leechers)
            position = self.leechers
            self.leechers += 1
        elif left == 0 and position < self.leechers:
            self.leechers -= 1
            self._swap(position, self.leechers)
            position = self.leechers
        return position

    def remove(self, position: int) -> None:
        if position < self.leechers:
            self.leechers -= 1
            self._swap(position, self.leechers)
            position = self.leechers
        last = len(self._seen) - 1
        self._swap(position, last)
        self._cut(last)

    def clear(self) -> None:
        """Take out all."""
        self._endpoints, self._seen, self._details = bytearray(), array("I"), bytearray()
        self._index = None
        self.leechers = 0

    def expired(self, first: int, count: int, *, oldest: int) -> Iterator[int]:
        """The positions last seen before the second `oldest`, among `count` from `first` on downwards.

        Each may be removed before the next is asked for.
        """
        bound = oldest << 1
        for position in range(min(first, len(self._seen) - 1), max(-1, first - count), -1):
            if self._seen[position] < bound:
                yield position

    def updated_ms(self, position: int) -> int:
        event_and_ms: int = DETAILS.unpack_from(self._details, position * _DETAILS_SIZE)[-1]
        return (self._seen[position] >> 1) * 1000 + (event_and_ms & 1023)

    def packed(self) -> PackedPeers:
        return PackedPeers(packed_words(self._seen), bytes(self._endpoints), bytes(self._details))

    def parts(self) -> Iterator[PackedPeers]:
        """PEERS_A_PART at a time those who are there now, as they stand then; without who has left."""
        size, endpoints = self._size, bytes(self._endpoints)
        for first in range(0, len(endpoints), PEERS_A_PART * size):
            part = endpoints[first : first + PEERS_A_PART * size]
            there = [Endpoint(part[at : at + size]) for at in range(0, len(part), size)]
            positions = [position for endpoint in there if (position := self.find(endpoint)) >= 0]
            yield PackedPeers(
                packed_words(array("I", [self._seen[position] for position in positions])),
                b"".join([self._endpoint(position) for position in positions]),
                b"".join([self._details[at * _DETAILS_SIZE : (at + 1) * _DETAILS_SIZE] for at in positions]),
            )

    def steps(self) -> Iterator[list[SwarmPeer]]:
        """All peers as they stand now, in steps."""
        size, endpoints, details, seen = (
            self._size,
            bytes(self._endpoints),
            bytes(self._details),
            self._seen[:],
        )
        for first in range(0, len(seen), _PEERS_A_STEP):
            yield [
                _unpacked(
                    Endpoint(endpoints[at * size : (at + 1) * size]),
                    seen[at],
                    DETAILS.unpack_from(details, at * _DETAILS_SIZE),
                )
                for at in range(first, min(first + _PEERS_A_STEP, len(seen)))
            ]

    def choose(self, wanted: int, hole: int, seeder: bool, random: Random) -> bytes:
        """The endpoints of up to `wanted` peers other than the one at `hole` (-1: nobody), each equally
        likely.

        A seeder gets leechers first, then seeders; a leecher gets both alike.
        """
        count, leechers = len(self._seen), self.leechers
        if wanted >= count - (hole >= 0):
            return self._all(count, hole)
        if not seeder:
            return self._pick(0, count, hole, wanted, random)
        if wanted <= leechers:
            return self._pick(0, leechers, -1, wanted, random)
        return self._all(leechers, -1) + self._pick(leechers, count, hole, wanted - leechers, random)

    def _all(self, end: int, hole: int) -> bytes:
        size, endpoints = self._size, self._endpoints
        if hole < 0:
            return bytes(endpoints[: end * size])
        return b"".join((endpoints[: hole * size], endpoints[(hole + 1) * size : end * size]))

    def _pick(self, first: int, end: int, hole: int, wanted: int, random: Random) -> bytes:
        """Fewer than all of the peers at `first` to `end` - 1 without `hole`.

        These others form a ring. From a random start it is cut into RUNS parts whose sizes differ by at most
        one, and of each part a run is taken, from a random place of the part; the sizes of the runs, too,
        differ by at most one. Since the start is uniform over the ring, every peer is equally likely. (The
        larger runs fall in the larger parts, so a run never exceeds its part.)
        """
        size, endpoints = self._size, self._endpoints
        if hole >= 0:
            end -= 1
        else:
            hole = end  # from there on, the others stand one further
        others = end - first
        part_start = first + int(random() * others)
        part, larger_parts = divmod(others, RUNS)
        run, larger_runs = divmod(wanted, RUNS)
        part, run = part + 1, run + 1
        pieces: list[bytearray] = []
        for number in range(RUNS):
            if number == larger_parts:
                part -= 1
            if number == larger_runs:
                run -= 1
            start = part_start + int(random() * (part - run + 1))
            part_start += part
            if start >= end:
                start -= others
            stop = start + run
            if stop <= hole:
                pieces.append(endpoints[start * size : stop * size])
            elif hole <= start and stop <= end:
                pieces.append(endpoints[(start + 1) * size : (stop + 1) * size])
            else:  # around the ring's end, or across the hole
                beyond = first + stop - end  # the end of what is left of the run at the ring's start
                for one, other in (
                    (start, min(stop, hole)),
                    (max(start, hole) + 1, min(stop, end) + 1),
                    (first, min(beyond, hole)),
                    (hole + 1, beyond + 1),
                ):
                    if one < other:
                        pieces.append(endpoints[one * size : other * size])
        return b"".join(pieces)

    def _swap(self, one: int, other: int) -> None:
        if one == other:
            return
        for packed, size in ((self._endpoints, self._size), (self._details, _DETAILS_SIZE)):
            moved = packed[one * size : (one + 1) * size]
            packed[one * size : (one + 1) * size] = packed[other * size : (other + 1) * size]
            packed[other * size : (other + 1) * size] = moved
        self._seen[one], self._seen[other] = self._seen[other], self._seen[one]
        if self._index is not None:
            self._index[self._endpoint(one)] = one
            self._index[self._endpoint(other)] = other

    def _endpoint(self, position: int) -> Endpoint:
        return Endpoint(bytes(self._endpoints[position * self._size : (position + 1) * self._size]))

    def _remember(self, endpoint: Endpoint, position: int) -> None:
        if self._index is not None:
            self._index[endpoint] = position
        elif position + 1 >= _INDEXED_FROM:
            self._index = {self._endpoint(at): at for at in range(position + 1)}

    def _cut(self, count: int) -> None:
        """Forget all from the position `count` on, which is at most one peer."""
        if self._index is not None:
            self._index.pop(self._endpoint(count), None)
            if count < _INDEXED_FROM // 2:
                self._index = None
        del self._endpoints[count * self._size :]
        del self._details[count * _DETAILS_SIZE :]
        del self._seen[count:]


def _unpacked(endpoint: Endpoint, seen: int, details: tuple[bytes, int, int, int, int]) -> SwarmPeer:
    peer_id, uploaded, downloaded, left, event_and_ms = details
    peer = Peer(endpoint, PeerId(peer_id), uploaded, downloaded, left, _EVENTS[event_and_ms >> 10])
    return SwarmPeer(peer, updated_ms=(seen >> 1) * 1000 + (event_and_ms & 1023))
