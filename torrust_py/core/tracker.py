"""The tracker: the rules in their order (key, blacklist, whitelist, swarm), the same for every protocol.

Nothing here waits: on one event loop a request sees and changes the core as one step.
"""

from typing import NamedTuple

from torrust_py.core.blacklist import Blacklist
from torrust_py.core.errors import KeyMissing, NotWhitelisted
from torrust_py.core.keys import Keys
from torrust_py.core.swarms import Swarms
from torrust_py.core.types import (
    NO_SWARM,
    Address,
    Announced,
    Endpoint,
    Families,
    InfoHash,
    PeerId,
    SwarmCounts,
    SwarmView,
    endpoint_of,
    is_loopback,
)
from torrust_py.core.whitelist import Whitelist

DEFAULT_NUM_WANT = 74
"""Peers that a client gets that does not say how many it wants."""

MAX_NUM_WANT = 1000
"""The most peers that an operator may allow in one answer."""


class Rules(NamedTuple):
    """What the operator decided about announces."""

    interval: int
    """Seconds between announces, as clients are told; `interval_min` likewise."""
    interval_min: int
    max_peers: int = DEFAULT_NUM_WANT
    """The most peers in one answer, 1 to 1,000 (`announce_policy.max_peers_per_announce`)."""
    private: bool = False
    """Clients need a key."""
    listed: bool = False
    """Only torrents of the whitelist are served."""
    external_address: Address | None = None
    """Where peers on the tracker's own host are reached; it stands in for their loopback address."""


class Tracker:
    def __init__(
        self, rules: Rules, *, swarms: Swarms, whitelist: Whitelist, blacklist: Blacklist, keys: Keys
    ) -> None:
        self.rules = rules
        self._swarms = swarms
        self._whitelist = whitelist
        self._blacklist = blacklist
        self._keys = keys

    def authenticate(self, key: str | None, unix_now: float) -> None:
        """Raises AuthenticationError if the tracker is private and `key` does not admit at `unix_now`."""
        if not self.rules.private:
            return
        if key is None:
            raise KeyMissing
        self._keys.check(key, unix_now)

    def check_torrent(self, info_hash: InfoHash) -> None:
        """Raises Blacklisted, or NotWhitelisted if the tracker is listed and does not allow `info_hash`."""
        self._blacklist.check(info_hash)
        if self.rules.listed and info_hash not in self._whitelist:
            raise NotWhitelisted(info_hash)

    def endpoint(self, client: Address, port: int) -> Endpoint:
        """Where the peer of `client` is reached: at its own address, or the external one if on this host."""
        external = self.rules.external_address
        return endpoint_of(external if external is not None and is_loopback(client) else client, port)

    def announce(
        self,
        info_hash: InfoHash,
        endpoint: Endpoint,
        announced: Announced,
        *,
        num_want: int | None,
        families: Families,
        now_ms: int,
        at_most: int = MAX_NUM_WANT,
    ) -> SwarmView:
        """Apply the announce of the peer at `endpoint` and choose the peers to hand out.

        `num_want` None is a client that does not say; `at_most` so many fit into the response.
        Raises Blacklisted or NotWhitelisted.
        """
        self.check_torrent(info_hash)
        wanted = min(DEFAULT_NUM_WANT if num_want is None else num_want, self.rules.max_peers, at_most)
        return self._swarms.announce(
            info_hash, endpoint, announced, num_want=wanted, families=families, now_ms=now_ms
        )

    def scrape(self, info_hash: InfoHash) -> SwarmCounts:
        """The counts of a swarm; zeros where there is none, or the tracker does not allow it."""
        if info_hash in self._blacklist or (self.rules.listed and info_hash not in self._whitelist):
            return NO_SWARM
        return self._swarms.scrape(info_hash)

    def peer_ids(self, info_hash: InfoHash, endpoints: bytes, *, size: int) -> list[PeerId]:
        """The peer ids behind endpoints of `size` bytes each that an announce was just given."""
        return self._swarms.peer_ids(info_hash, endpoints, size=size)
