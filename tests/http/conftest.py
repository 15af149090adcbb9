"""An HTTP tracker's handler over a core in memory, and what comes out of it taken apart."""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

import bencodepy
import pytest
import uvloop

from tests.forms import make_blacklist, make_statistics, make_swarms, make_whitelist
from torrust_py.core.database import Database, PeerKey
from torrust_py.core.keys import Keys
from torrust_py.core.statistics import Door, DoorCounts
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import packed_address
from torrust_py.http import HttpHandler
from torrust_py.http.callers import Callers
from torrust_py.http.requests import HttpRequest

NOW = 1_795_487_629  # Tue, 24 Nov 2026 02:33:49 GMT


class Answer(NamedTuple):
    """An HTTP response. Names of fields are as they came."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """Of a failure, which has no other key."""
        (failure,) = bencodepy.decode(self.body).items()
        assert failure[0] == b"failure reason"
        text: str = failure[1].decode()
        return text


def taken_apart(response: bytes) -> Answer:
    head, _, body = response.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("ascii").split("\r\n")
    version, status, _ = status_line.split(" ", 2)
    assert version == "HTTP/1.1"
    fields = [tuple(line.split(": ", 1)) for line in lines]
    assert len({name for name, _ in fields}) == len(fields), "a field that comes twice"
    return Answer(int(status), dict(fields), body)


class Room:
    """A tracker as HTTP clients see it. `counts()` is what was counted at each door that was used."""

    def __init__(self, rules: Rules, keys: Keys, *, on_reverse_proxy: bool, form: str = "portable") -> None:
        self.form = form
        self.on_reverse_proxy = on_reverse_proxy
        self.swarms = make_swarms(form)()
        self.whitelist = make_whitelist(form)
        self.refused = make_whitelist(form)
        self.blacklist = make_blacklist(self.refused, self.swarms)
        self.statistics = make_statistics(form)
        self.tracker = Tracker(
            rules, swarms=self.swarms, whitelist=self.whitelist, blacklist=self.blacklist, keys=keys
        )
        self.callers = Callers()
        self.handler = HttpHandler(
            self.tracker, self.statistics, on_reverse_proxy=on_reverse_proxy, callers=self.callers
        )

    def response(
        self,
        target: str,
        *,
        method: str = "GET",
        peer: str = "192.0.2.1",
        forwarded_for: Iterable[str] = (),
        request_id: bytes | None = None,
        connection: bytes = b"",
        unix_now: float = NOW,
    ) -> bytes:
        request = HttpRequest(
            method.encode(),
            target.encode(),
            [value.encode() for value in forwarded_for],
            request_id,
            connection,
        )
        return self.handler.handle(request, packed_address(peer), now_ms=10**9, unix_now=unix_now)

    def ask(
        self, target: str, *, method: str = "GET", peer: str = "192.0.2.1", forwarded_for: Iterable[str] = ()
    ) -> Answer:
        return taken_apart(self.response(target, method=method, peer=peer, forwarded_for=forwarded_for))

    def counts(self) -> dict[Door, DoorCounts]:
        counts = {door: self.statistics.door(door) for door in Door}
        for count in counts.values():
            assert count.received == count.handled + count.refused + count.malformed + count.dropped
        return {door: count for door, count in counts.items() if any(count)}


MakeRoom = Callable[..., Room]


@pytest.fixture
async def keys(memory_database: Database) -> Keys:
    """One that is good for ever, one that was good until a moment ago."""
    await memory_database.add_key(PeerKey("uTIzNYqbRcpNHGW87KGXvNS7rZELocAt", None))
    await memory_database.add_key(PeerKey("loUrCRR8IvpYbz8Ss5sm2nknniverL6y", NOW - 1))
    keys = Keys(memory_database)
    await keys.load()
    return keys


@pytest.fixture
def make_room(keys: Keys) -> MakeRoom:
    """Builds a room from the fields of Rules, and `on_reverse_proxy` and `form`."""

    def make(*, on_reverse_proxy: bool = False, form: str = "portable", **rules: object) -> Room:
        given = {"interval": 120, "interval_min": 120, **rules}
        return Room(Rules(**given), keys, on_reverse_proxy=on_reverse_proxy, form=form)  # type: ignore[arg-type]

    return make


@pytest.fixture
def room(make_room: MakeRoom) -> Room:
    """A public tracker, asked by its clients themselves."""
    return make_room()


def _debugged() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The sockets are tried on both loops that they may meet."""
    if item.path.name in ("test_server.py", "test_tls.py"):
        return {"asyncio": _debugged, "uvloop": uvloop.new_event_loop}
    return {"asyncio": _debugged}
