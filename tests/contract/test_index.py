"""Torrust Index, the web site that keeps a tracker's torrents, as the tracker's API knows it.

`Index` makes the calls that it makes, with its patience, and is as strict about what comes back.
"""

import contextlib
import hashlib
import json
import secrets
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.contract.announcers import Announcers, numbered
from torrust_py.core.types import InfoHash

pytestmark = pytest.mark.slow

Start = Callable[..., Any]  # a Daemon; test modules cannot import conftest.py
Configure = Callable[..., str]

PATIENCE = 5.0
"""Seconds that Index waits for an answer, to its last byte."""

KEY_SECONDS = 7_257_600
"""For how long a user's key is good."""

IMPORTED = 50
"""Torrents that the importer asks for at once."""


# --- Torrust Index


class Refused(Exception):
    """A call that Index takes for failed; the text is what it makes of it."""


class TrackerKey(NamedTuple):
    key: str
    valid_until: int


class Peer(NamedTuple):
    peer_id: str | None
    client: str | None
    peer_addr: str | None
    updated: int | None
    uploaded: int | None
    downloaded: int | None
    left: int | None
    event: str | None


class BasicInfo(NamedTuple):
    info_hash: str
    seeders: int
    completed: int
    leechers: int


class Info(NamedTuple):
    basic: BasicInfo
    peers: list[Peer]


class Index:
    """A client of the API at `url`, which ends in `/`."""

    def __init__(self, session: ClientSession, url: str, token: str = "MyAccessToken") -> None:
        self._session = session
        self._base = f"{url}api/v1"
        self._token = token
        self.spent = 0.0
        """Seconds that the last answer took, to its last byte."""

    async def whitelist(self, info_hash: str) -> None:
        _check_ok(*await self._call("POST", f"whitelist/{info_hash}"))

    async def remove_from_whitelist(self, info_hash: str) -> None:
        _check_ok(*await self._call("DELETE", f"whitelist/{info_hash}"))

    async def new_key(self, seconds_valid: int = KEY_SECONDS) -> TrackerKey:
        status, body = await self._call("POST", f"key/{seconds_valid}")
        _check_ok(status, body)
        fields = _object(json.loads(body))
        return TrackerKey(_string(fields["key"]), _integer(fields["valid_until"]))

    async def torrent(self, info_hash: str) -> Info | None:
        """None if the tracker does not know it."""
        status, body = await self._call("GET", f"torrent/{info_hash}")
        if status == 404 or (status == 200 and body == '"torrent not known"'):
            return None
        _check_ok(status, body)
        fields = _object(json.loads(body))
        return Info(_basic_info(fields), [_peer(peer) for peer in _array(fields["peers"])])

    async def torrents(self, info_hashes: list[str]) -> list[BasicInfo]:
        status, body = await self._call("GET", "torrents", [("info_hash", one) for one in info_hashes])
        if status == 404:
            raise Refused("API not found")
        _check_ok(status, body)
        return [_basic_info(_object(item)) for item in _array(json.loads(body))]

    async def import_statistics(self, info_hashes: list[str]) -> dict[str, tuple[int, int]]:
        """Seeders and leechers of each, as the background importer stores them."""
        found = {info.info_hash: info for info in await self.torrents(info_hashes)}
        counts = {name: (info.seeders, info.leechers) for name, info in found.items()}
        return {info_hash: counts.get(info_hash, (0, 0)) for info_hash in info_hashes}

    async def _call(
        self, method: str, path: str, params: list[tuple[str, str]] | None = None
    ) -> tuple[int, str]:
        query = [("token", self._token), *(params or [])]
        began = time.monotonic()
        try:
            async with self._session.request(method, f"{self._base}/{path}", params=query) as response:
                return response.status, (await response.read()).decode("utf-8")
        except (ClientError, TimeoutError) as error:
            raise Refused("tracker offline") from error
        finally:
            self.spent = time.monotonic() - began


def _check_ok(status: int, body: str) -> None:
    """Raises Refused."""
    if status == 200:
        return
    if status != 500:
        raise Refused(f"unexpected response: {status}")
    if body == 'Unhandled rejection: Err { reason: "token not valid" }':
        raise Refused("invalid token")
    raise Refused("internal error of the tracker")


def _object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def _array(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _string(value: object) -> str:
    assert isinstance(value, str)
    return value


def _integer(value: object) -> int:
    """Of 64 bits, with a sign."""
    assert type(value) is int
    assert -(2**63) <= value < 2**63
    return value


def _basic_info(fields: dict[str, object]) -> BasicInfo:
    counts = (_integer(fields[name]) for name in ("seeders", "completed", "leechers"))
    return BasicInfo(_string(fields["info_hash"]), *counts)


def _peer(value: object) -> Peer:
    """Every member may be missing or null, but is of its type."""
    fields = _object(value)
    names = _object(fields.get("peer_id") or {})
    texts = {"peer_id": names.get("id"), "client": names.get("client")}
    texts |= {name: fields.get(name) for name in ("peer_addr", "event")}
    numbers = {name: fields.get(name) for name in ("updated", "uploaded", "downloaded", "left")}
    return Peer(
        **{name: None if text is None else _string(text) for name, text in texts.items()},
        **{name: None if number is None else _integer(number) for name, number in numbers.items()},
    )


@contextlib.asynccontextmanager
async def index_of(daemon: Any, *, path: str = "", token: str = "MyAccessToken") -> AsyncIterator[Index]:
    host, port = daemon.address("api")
    async with ClientSession(
        timeout=ClientTimeout(total=PATIENCE), skip_auto_headers=["Accept-Encoding", "User-Agent"]
    ) as session:
        yield Index(session, f"http://{host}:{port}/{path}", token)


# --- what it does


@pytest.fixture
def torrent(info_hash: bytes) -> str:
    """A torrent that nobody else announces, as Index writes it."""
    return info_hash.hex()


@pytest.mark.clause("13.1.1", "13.3.3")
@pytest.mark.parametrize("mode", ["public", "listed", "private"])
async def test_an_uploaded_torrent_is_whitelisted_whatever_the_mode(
    request: pytest.FixtureRequest, mode: str, torrent: str
) -> None:
    async with index_of(request.getfixturevalue(mode)) as index:
        assert await index.torrent(torrent) is None
        await index.whitelist(torrent)
        await index.whitelist(torrent)
        assert await index.torrent(torrent) is None


@pytest.mark.clause("13.1.1", "13.1.2")
async def test_a_torrent_is_served_from_its_upload_to_its_deletion(listed: Any, info_hash: bytes) -> None:
    async with index_of(listed) as index:
        assert "is not whitelisted" in listed.announce(info_hash).failure
        await index.whitelist(info_hash.hex())
        assert listed.announce(info_hash).decoded[b"complete"] == 1
        await index.remove_from_whitelist(info_hash.hex())
        assert "is not whitelisted" in listed.announce(info_hash).failure


@pytest.mark.clause("13.1.2")
@pytest.mark.parametrize("mode", ["public", "listed", "private"])
async def test_a_torrent_that_was_never_whitelisted_can_be_deleted(
    request: pytest.FixtureRequest, mode: str, torrent: str
) -> None:
    async with index_of(request.getfixturevalue(mode)) as index:
        await index.remove_from_whitelist(torrent)


@pytest.mark.clause("13.1.3", "13.4.1")
async def test_the_key_of_a_user_makes_an_announce_url(private: Any, info_hash: bytes) -> None:
    """The key is appended to the tracker's URL, which ends in `/announce/`."""
    assert private.announce(info_hash).failure.startswith("Authentication error")
    async with index_of(private) as index:
        made = await index.new_key()
    assert abs(made.valid_until - time.time() - KEY_SECONDS) < 60
    url = "/announce/" + made.key
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id=-qB00000000000000001&port=6881"
    assert private.request("http", f"{url}?{query}").decoded[b"complete"] == 1


@pytest.mark.clause("13.1.4", "13.2.1", "13.2.2")
async def test_the_page_of_a_torrent_shows_its_peers(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, port=6881, left=0)
    public.announce(info_hash, port=6882, left=2**63 - 1)
    async with index_of(public) as index:
        info = await index.torrent(info_hash.hex())
    assert info is not None
    assert info.basic == (info_hash.hex(), 1, 0, 1)
    assert [(peer.peer_addr, peer.left) for peer in info.peers] == [
        ("127.0.0.1:6881", 0),
        ("127.0.0.1:6882", 2**63 - 1),
    ]
    seeder = info.peers[0]
    assert (seeder.peer_id, seeder.client) == ("0x" + b"-qB00000000000000001".hex(), None)
    assert (seeder.uploaded, seeder.downloaded, seeder.event) == (0, 0, "None")
    assert seeder.updated is not None
    assert abs(seeder.updated / 1000 - time.time()) < 60


@pytest.mark.clause("13.2.1")
async def test_a_torrent_without_peers_has_an_empty_array_of_them(public: Any, info_hash: bytes) -> None:
    """Index insists on the array. A torrent stays for a while when its last peer has left."""
    public.announce(info_hash, event="started")
    public.announce(info_hash, event="stopped")
    async with index_of(public) as index:
        expected = Info(BasicInfo(info_hash.hex(), seeders=0, completed=0, leechers=0), [])
        assert await index.torrent(info_hash.hex()) == expected


@pytest.mark.clause("13.1.5", "13.2.3", "13.2.4")
async def test_the_importer_gets_the_counts_of_50_torrents(public: Any) -> None:
    """Those that nobody announces are left out, and those of upper case are named in lower case."""
    expected = {}
    for number in range(IMPORTED):
        info_hash, seeders, leechers = secrets.token_bytes(20), number % 3, number % 2
        for port in range(1, seeders + 1):
            public.announce(info_hash, port=port, left=0)
        for port in range(101, leechers + 101):
            public.announce(info_hash, port=port, left=1)
        expected[info_hash.hex()] = (seeders, leechers)
    async with index_of(public) as index:
        assert await index.import_statistics(list(expected)) == expected
        items = await index.torrents([info_hash.upper() for info_hash in expected])
    assert [item.info_hash for item in items] == [one for one in expected if expected[one] != (0, 0)]


@pytest.mark.clause("13.3.1")
async def test_a_wrong_token_is_told_from_other_failures(public: Any, torrent: str) -> None:
    async with index_of(public, token="wrong") as index:
        calls = [
            index.whitelist(torrent),
            index.remove_from_whitelist(torrent),
            index.new_key(),
            index.torrent(torrent),
            index.torrents([torrent]),
        ]
        for call in calls:
            with pytest.raises(Refused, match=r"^invalid token$"):
                await call


@pytest.mark.clause("13.3.2")
async def test_a_database_in_trouble_is_an_internal_error(start: Start, tmp_path: Path, torrent: str) -> None:
    daemon = start()
    with contextlib.closing(sqlite3.connect(tmp_path / "sqlite3.db")) as database:
        database.execute("DROP TABLE whitelist")
        database.execute("DROP TABLE keys")
    async with index_of(daemon) as index:
        for call in (index.whitelist(torrent), index.remove_from_whitelist(torrent), index.new_key()):
            with pytest.raises(Refused, match=r"^internal error of the tracker$"):
                await call


@pytest.mark.clause("13.3.4")
async def test_a_wrong_url_of_the_api_is_not_found(public: Any, torrent: str) -> None:
    async with index_of(public, path="elsewhere/") as index:
        with pytest.raises(Refused, match=r"^API not found$"):
            await index.torrents([torrent])


@pytest.mark.clause("13.3.5")
async def test_what_is_no_info_hash_is_an_unexpected_response(public: Any) -> None:
    async with index_of(public) as index:
        with pytest.raises(Refused, match=r"^unexpected response: 400$"):
            await index.torrent("abc")


@pytest.mark.clause("13.4.2")
async def test_a_tracker_starts_as_the_tests_of_index_start_it(start: Start, torrent: str) -> None:
    """Their document has tables of other programs; token and driver come from the environment."""
    document = """
        [metadata]
        schema_version = "2.0.0"
        [logging]
        threshold = "info"
        [core]
        listed = false
        private = false
        [core.database]
        path = "sqlite3.db"
        [http_api]
        bind_address = "127.0.0.1:0"
        [health_check_api]
        bind_address = "127.0.0.1:0"
        [tracker]
        api_url = "http://tracker:1212"
        url = "udp://tracker:6969"
        [auth]
        secret_key = "MaxVerstappenWC2021"
    """
    daemon = start(
        document,
        TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__DATABASE__DRIVER="sqlite3",
        TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN="MyAccessToken",
    )
    async with index_of(daemon) as index:
        await index.whitelist(torrent)


# --- the same at a tracker with much to do

TORRENTS = 300_000
PEERS = 50_000
"""Of one swarm: as many ports of one address."""

LARGEST = InfoHash(hashlib.sha1(b"the largest swarm").digest())


@pytest.fixture(scope="module")
def crowded_and_filled(crowded: Any) -> Any:
    with contextlib.closing(Announcers(crowded.address("udp"))) as announcers:
        announcers.announce((numbered(number), 6881) for number in range(TORRENTS))
        announcers.announce((LARGEST, port) for port in range(1, PEERS + 1))
    return crowded


@contextlib.contextmanager
def busy(daemon: Any) -> Iterator[None]:
    """Announces go on meanwhile, as fast as they are answered; from a process of their own."""
    host, port = daemon.address("udp")
    command = [sys.executable, "-m", "tests.contract.announcers", host, str(port), str(TORRENTS)]
    before = announced(daemon)
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as announcers:
        try:
            while announced(daemon) < before + 1000:
                assert announcers.poll() is None
            yield
            assert announcers.poll() is None
        finally:
            announcers.terminate()


def announced(daemon: Any) -> int:
    count: int = daemon.stats()["udp4_announces_handled"]
    return count


CALLS: dict[str, Callable[[Index], Awaitable[object]]] = {
    "whitelist": lambda index: index.whitelist(secrets.token_hex(20)),
    "remove from the whitelist": lambda index: index.remove_from_whitelist(secrets.token_hex(20)),
    "make a key": lambda index: index.new_key(),
    "show a torrent": lambda index: index.torrent(numbered(1).hex()),
    "show no torrent": lambda index: index.torrent(secrets.token_hex(20)),
    "show the largest torrent": lambda index: index.torrent(LARGEST.hex()),
    "import": lambda index: index.torrents([numbered(number).hex() for number in range(IMPORTED)]),
}


@pytest.mark.timeout(300)
@pytest.mark.clause("13.5.1")
@pytest.mark.parametrize("loaded", [False, True], ids=["quiet", "busy"])
@pytest.mark.parametrize("name", CALLS)
async def test_each_call_ends_within_the_patience_of_index(
    crowded_and_filled: Any, name: str, loaded: bool
) -> None:
    daemon = crowded_and_filled
    with busy(daemon) if loaded else contextlib.nullcontext():
        async with index_of(daemon) as index:
            ended = await outcome(CALLS[name](index))
    assert ended == "done", f"{name}: {ended} after {index.spent:.2f} s"
    assert index.spent < PATIENCE


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except Refused as refused:
        return str(refused)
    return "done"


@pytest.mark.timeout(300)
@pytest.mark.clause("13.5.2")
async def test_nothing_is_missing_at_a_tracker_with_many_torrents(crowded_and_filled: Any) -> None:
    async with index_of(crowded_and_filled) as index:
        largest = await index.torrent(LARGEST.hex())
        items = await index.torrents([numbered(number).hex() for number in range(IMPORTED)])
    assert largest is not None
    assert (largest.basic.seeders, len(largest.peers)) == (PEERS, PEERS)
    assert len({peer.peer_addr for peer in largest.peers}) == PEERS
    assert [item.seeders for item in items] == [1] * IMPORTED
    assert crowded_and_filled.stats()["torrents"] >= TORRENTS + 1
