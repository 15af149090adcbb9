"""A served API over a real core, whose tables are in memory and can break."""

import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from yarl import URL

from torrust_py.api import api_application
from torrust_py.core.blacklist import Blacklist
from torrust_py.core.database import BlacklistEntry, PeerKey
from torrust_py.core.errors import DatabaseError
from torrust_py.core.keys import Keys
from torrust_py.core.statistics import PortableStatistics
from torrust_py.core.swarms import PortableSwarms, Swarms
from torrust_py.core.types import AnnounceEvent, Endpoint, Families, InfoHash, Peer, PeerId
from torrust_py.core.whitelist import ListedTorrents, PortableWhitelist
from torrust_py.web import serve

TOKEN = "MyAccessToken"
UNIX_OFFSET_MS = 1_600_000_000_000
UNIX_NOW_NS = 1_679_334_274_712_077_008  # 2023-03-20 17:44:34.712077008 UTC


class Tables:
    """The tables of keys, of the whitelist and of the blacklist, in memory."""

    def __init__(self) -> None:
        self.keys: dict[str, PeerKey] = {}
        self.whitelist: set[InfoHash] = set()
        self.blacklist: dict[InfoHash, BlacklistEntry] = {}
        self.failure: str | None = None

    async def load_keys(self) -> AsyncIterator[Sequence[PeerKey]]:
        self._fail()
        yield list(self.keys.values())

    async def add_key(self, key: PeerKey) -> None:
        self._fail()
        if key.key in self.keys:
            raise DatabaseError("UNIQUE constraint failed: keys.key")
        self.keys[key.key] = key

    async def remove_key(self, key: str) -> None:
        self._fail()
        if key not in self.keys:
            raise DatabaseError("Failed to remove record from Sqlite3 database, error-code: 0")
        del self.keys[key]

    async def load_whitelist(self) -> AsyncIterator[Sequence[InfoHash]]:
        self._fail()
        yield list(self.whitelist)

    async def add_to_whitelist(self, info_hash: InfoHash) -> None:
        self._fail()
        self.whitelist.add(info_hash)

    async def remove_from_whitelist(self, info_hash: InfoHash) -> None:
        self._fail()
        self.whitelist.discard(info_hash)

    async def load_blacklist(self) -> AsyncIterator[Sequence[BlacklistEntry]]:
        self._fail()
        yield list(self.blacklist.values())

    async def add_to_blacklist(self, entries: Sequence[BlacklistEntry]) -> None:
        self._fail()
        self.blacklist |= {entry.info_hash: entry for entry in entries}

    async def remove_from_blacklist(self, info_hash: InfoHash) -> None:
        self._fail()
        self.blacklist.pop(info_hash, None)

    async def restore_in_blacklist(
        self, info_hashes: Sequence[InfoHash], kept: Sequence[BlacklistEntry]
    ) -> None:
        raise NotImplementedError

    async def remove_expired_from_blacklist(self, unix_now: int) -> None:
        raise NotImplementedError

    async def restore_key(self, key: str, kept: PeerKey | None) -> None:
        raise NotImplementedError  # nothing is ever in doubt

    async def restore_in_whitelist(self, info_hash: InfoHash, *, listed: bool) -> None:
        raise NotImplementedError

    def _fail(self) -> None:
        if self.failure is not None:
            raise DatabaseError(self.failure)


class Exposed(NamedTuple):
    body: bytes
    content_type: str


class Answer(NamedTuple):
    status: int
    headers: CIMultiDictProxy[str]
    text: str

    @property
    def content_type(self) -> str | None:
        return self.headers.get("Content-Type")


class NoMetrics:
    """The real ones are asked in tests/metrics and tests/contract."""

    async def as_text(self, accept: str) -> Exposed:
        return Exposed(b"text of " + accept.encode(), "text/plain")

    async def as_json(self) -> Exposed:
        return Exposed(b"{}", "application/json")


@dataclass
class Api:
    swarms: Swarms = field(default_factory=PortableSwarms)
    statistics: PortableStatistics = field(default_factory=PortableStatistics)
    usage_statistics: bool = True
    tables: Tables = field(default_factory=Tables)
    tokens: Sequence[str] = (TOKEN,)
    unix_offset_ms: int = UNIX_OFFSET_MS
    address: tuple[str, int] = ("", 0)

    def __post_init__(self) -> None:
        self.whitelist = PortableWhitelist()
        self.listed = ListedTorrents(self.tables, self.whitelist)
        self.blacklist = Blacklist(self.tables, PortableWhitelist(), self.swarms)
        self.keys = Keys(self.tables)

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Api"]:
        application = api_application(
            swarms=self.swarms,
            statistics=self.statistics,
            usage_statistics=self.usage_statistics,
            metrics=NoMetrics(),
            keys=self.keys,
            listed=self.listed,
            blacklist=self.blacklist,
            tokens=self.tokens,
            unix_offset_ms=self.unix_offset_ms,
            unix_now_ns=lambda: UNIX_NOW_NS,
        )
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        async with (
            serve(application, listener, log=logging.getLogger("tests.api"), grace=1.0, most_connections=100),
            aiohttp.ClientSession() as session,
        ):
            self._session = session
            yield self

    async def ask(
        self,
        method: str,
        target: str,
        *,
        token: str | None = TOKEN,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask for `target` as it stands; `token` None leaves it out of the query."""
        if token is not None:
            target += f"{'&' if '?' in target else '?'}token={token}"
        url = URL(f"http://127.0.0.1:{self.address[1]}{target}", encoded=True)
        no_content_type = ["Content-Type"] if body is None else []
        async with self._session.request(
            method, url, data=body, headers=headers, skip_auto_headers=no_content_type
        ) as response:
            return Answer(response.status, response.headers, (await response.read()).decode())

    async def get(self, target: str, *, token: str | None = TOKEN) -> Answer:
        return await self.ask("GET", target, token=token)

    async def post_key(self, body: str | bytes, *, content_type: str | None = "application/json") -> Answer:
        headers = {} if content_type is None else {"Content-Type": content_type}
        data = body.encode() if isinstance(body, str) else body
        return await self.ask("POST", "/api/v1/keys", body=data, headers=headers)

    def announce(
        self,
        info_hash: bytes,
        *,
        endpoint: bytes = bytes.fromhex("7f0000011f90"),
        peer_id: bytes = b"-qB00000000000000000",
        left: int = 0,
        event: AnnounceEvent = AnnounceEvent.STARTED,
        now_ms: int = 0,
    ) -> None:
        peer = Peer(Endpoint(endpoint), PeerId(peer_id), 0, 0, left, event)
        self.swarms.announce(
            InfoHash(info_hash), peer.endpoint, peer, num_want=0, families=Families.BOTH, now_ms=now_ms
        )


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Api().served() as served:
        yield served


@pytest.fixture
def new_api() -> Iterator[Callable[..., Api]]:
    """An API that is not served yet."""
    return Api


@pytest.fixture
def unix_offset_ms() -> int:
    return UNIX_OFFSET_MS
