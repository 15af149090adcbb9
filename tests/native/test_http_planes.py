"""The native HTTP plane against the portable server: the same bytes, however they are cut, get the same
responses and leave the same state, up to the choice of peers, request ids and dates.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.forms import make_blacklist, native
from torrust_py.core.errors import KeyExpired, KeyUnknown
from torrust_py.core.statistics import Door, DoorCounts, PortableStatistics
from torrust_py.core.swarms import PortableSwarms
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import InfoHash, packed_address
from torrust_py.core.whitelist import PortableWhitelist
from torrust_py.data_planes import make_http_plane
from torrust_py.http import Connections, HttpHandler, HttpTracker, PlaneTracker

NOW_MS = 10**9
ALLOWED, OTHER = InfoHash(b"\x01" * 20), InfoHash(b"ab%c/" * 4)
PATIENCE = 10.0

_VARIES = re.compile(rb"x-request-id: [0-9a-f-]{36}\r\n|date: [^\r]+\r\n")


REFUSED = InfoHash(b"\x07" * 20)
GOOD_KEY, EXPIRED_KEY = "A1" * 16, "b" * 32


class TwoKeys:
    def check(self, key: str, unix_now: float) -> None:
        if key == EXPIRED_KEY:
            raise KeyExpired
        if key != GOOD_KEY:
            raise KeyUnknown(key)


class Served:
    """One form of the tracker at a free port, and what it became."""

    def __init__(self, form: str, rules: Rules, *, on_reverse_proxy: bool) -> None:
        parts: Sequence[Any] = (
            PortableSwarms(),
            PortableWhitelist(),
            PortableWhitelist(),
            PortableStatistics(),
        )
        if form == "native":
            parts = (
                native("swarms").NativeSwarms(),
                native("whitelist").NativeWhitelist(),
                native("whitelist").NativeWhitelist(),
                native("statistics").NativeStatistics(),
            )
        self.swarms, self.whitelist, self.refused, self.statistics = parts
        self.whitelist.add(ALLOWED)
        self.refused.add(REFUSED)
        self.blacklist = make_blacklist(self.refused, self.swarms)
        tracker = Tracker(
            rules, swarms=self.swarms, whitelist=self.whitelist, blacklist=self.blacklist, keys=TwoKeys()
        )  # type: ignore[arg-type]  # all that is asked of keys
        self.connections = connections = Connections(100)
        handler = HttpHandler(
            tracker, self.statistics, on_reverse_proxy=on_reverse_proxy, callers=connections.callers
        )
        listener = socket.create_server(("127.0.0.1", 0))
        self.tracker: HttpTracker | PlaneTracker
        if form == "portable":
            self.tracker = HttpTracker(listener, handler, connections, now_ms=lambda: NOW_MS)
            return
        make_plane = make_http_plane(
            rules,
            on_reverse_proxy=on_reverse_proxy,
            swarms=self.swarms,
            whitelist=self.whitelist,
            blacklist=self.refused,
            statistics=self.statistics,
        )
        self.tracker = PlaneTracker(listener, handler, connections, make_plane, now_ms=lambda: NOW_MS)

    def state(self) -> tuple[dict[Door, DoorCounts], list[object]]:
        peers = [
            sorted(peer for step in self.swarms.peers(info_hash) for peer in step)
            for info_hash in (ALLOWED, OTHER)
        ]
        return {door: self.statistics.door(door) for door in Door}, [self.swarms.totals(), peers]


async def exchange(tracker: HttpTracker | PlaneTracker, pieces: Sequence[bytes]) -> bytes:
    """What is answered to pieces that arrive one after the other, until the tracker closes the connection."""
    loop = asyncio.get_running_loop()
    answers = []
    with socket.socket() as client, contextlib.suppress(ConnectionError):
        client.setblocking(False)
        await loop.sock_connect(client, tracker.address)
        with contextlib.suppress(OSError):  # it may be refused before all is sent
            for piece in pieces:
                await loop.sock_sendall(client, piece)
                for _ in range(3):  # let them arrive one by one
                    await asyncio.sleep(0)
            client.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(PATIENCE):
            while answer := await loop.sock_recv(client, 1 << 20):
                answers.append(answer)
    return b"".join(answers)


def without_what_varies(responses: bytes) -> bytes:
    return _VARIES.sub(b"", responses)


async def outcome(
    form: str, conversations: Sequence[Sequence[bytes]], rules: Rules, *, on_reverse_proxy: bool
) -> tuple[list[bytes], object]:
    served = Served(form, rules, on_reverse_proxy=on_reverse_proxy)
    async with served.tracker:
        answers = [without_what_varies(await exchange(served.tracker, pieces)) for pieces in conversations]
        callers = served.connections.callers.take()
    return answers, (callers, served.state())


def same(
    conversations: Sequence[Sequence[bytes]], rules: Rules | None = None, *, on_reverse_proxy: bool = False
) -> list[bytes]:
    """Both forms answer alike; what they answer."""
    rules = rules or Rules(interval=120, interval_min=60)

    async def both() -> list[tuple[list[bytes], object]]:
        return [
            await outcome(form, conversations, rules, on_reverse_proxy=on_reverse_proxy)
            for form in ("portable", "native")
        ]

    native("http")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        portable, compiled = runner.run(both())
    assert compiled == portable
    return portable[0]


def announce(query: bytes = b"", *, info_hash: bytes = b"%01" * 20, port: int = 6881) -> bytes:
    return b"/announce?info_hash=%b&peer_id=-qB00000000000000001&port=%d&compact=1%b" % (
        info_hash,
        port,
        query,
    )


def get(target: bytes, *fields: bytes, version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"GET %b HTTP/%b" % (target, version), b"Host: tracker.example", *fields, b"", b""])


def keyed(segment: str) -> bytes:
    return b"/announce/" + segment.encode() + announce()[len("/announce") :]


REQUESTS = [
    get(announce()),
    get(announce(b"&event=started&left=10&uploaded=1&downloaded=2&numwant=30&key=ab&no_peer_id=1")),
    get(announce(b"&event=completed", port=6882)),
    get(announce(b"&event=stopped")),
    get(announce(b"&event=paused&left=0")),
    get(announce(b"&event=&left=")),
    get(announce(b"&left=-1")),
    get(announce(b"&left=9223372036854775808")),
    get(announce(b"&uploaded=18446744073709551615")),
    get(announce(b"&uploaded=99999999999999999999999")),
    get(announce(b"&numwant=0")),
    get(announce(b"&numwant=4294967296")),
    get(announce(b"&numwant=+5")),
    get(announce(b"&compact=1")),
    get(announce(b"&port=1")),
    get(announce(b"&a=b=c")),
    get(announce(b"&a")),
    get(announce(b"&&")),
    get(announce(b"&event=bad")),
    get(announce(port=0)),
    get(announce(port=65536)),
    get(announce(info_hash=b"ab%25c%2f" * 4)),
    get(announce(info_hash=b"%0" + b"a" * 18)),
    get(announce(info_hash=b"a" * 19)),
    get(announce(info_hash=b"a" * 21)),
    get(announce(info_hash=b"%zz" + b"a" * 17)),
    get(announce().replace(b"compact=1", b"compact=0")),
    get(announce().replace(b"&compact=1", b"")),
    get(b"/announce"),
    get(b"/announce?"),
    get(b"/announce??" + announce()[10:]),
    get(announce() + b"#fragment"),
    get(keyed(GOOD_KEY)),
    get(keyed(GOOD_KEY) + b"&event=bad"),
    get(keyed(GOOD_KEY), b"X-Request-Id: mine"),
    get(keyed("%41" + GOOD_KEY[1:])),
    get(keyed(EXPIRED_KEY)),
    get(keyed("c" * 32)),
    get(keyed("short")),
    get(keyed("")),
    get(keyed(GOOD_KEY + "/")),
    get(keyed("x/" + GOOD_KEY)),
    get(b"/scrape/" + GOOD_KEY.encode() + b"?info_hash=" + b"%01" * 20),
    get(b"/scrape/" + EXPIRED_KEY.encode() + b"?info_hash=" + b"%01" * 20),
    get(b"/scraped/" + GOOD_KEY.encode() + b"?info_hash=" + b"%01" * 20),
    get(b"/announced" + announce()[9:]),
    get(b"http://tracker.example" + announce()),
    get(b"/scrape?info_hash=" + b"%01" * 20),
    get(b"/scrape?info_hash=" + b"z" * 20 + b"&x=y&info_hash=" + b"%01" * 20 + b"&info_hash=" + b"z" * 20),
    get(b"/scrape?info_hash=short"),
    get(announce(info_hash=b"%07" * 20)),
    get(keyed(GOOD_KEY).replace(b"%01" * 20, b"%07" * 20)),
    get(b"/scrape?info_hash=" + b"%07" * 20 + b"&info_hash=" + b"%01" * 20),
    get(b"/scrape?" + b"&".join(b"info_hash=" + bytes([65 + n]) * 20 for n in range(57))),
    get(b"/scrape"),
    get(b"/health_check"),
    get(b"/nothing"),
    get(b"/"),
    get(announce(), version=b"1.0"),
    get(announce(), b"Connection: keep-alive", version=b"1.0"),
    get(announce(), b"connection: Keep-Alive"),
    get(announce(), b"Connection: close"),
    get(announce(), b"Connection: keep-alive, close"),
    get(announce(), b"Connection: Upgrade", b"Upgrade: websocket"),
    get(announce(), b"X-Forwarded-For: 203.0.113.7, 2001:db8::9"),
    get(announce(), b"X-Forwarded-For: nonsense"),
    get(announce(), b"Content-Length: 5") + b"hello",
    get(announce(), b"Content-Length: 0"),
    get(announce(), b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    get(announce(), b"Expect: 100-continue"),
    get(announce(), b" folded: x"),
    get(announce(), b"Name : x"),
    get(announce(), b"Odd: \x01"),
    get(announce(), b"Odd: \xff"),
    get(announce(), b"Tab: \t x \t"),
    get(announce(), b"Empty:"),
    get(announce(), b"NoColon"),
    get(announce(), b"Long: " + b"a" * 7700),
    get(announce(), b"Long: " + b"a" * 8100),
    get(announce(), version=b"1.2"),
    get(announce(), version=b"2.0"),
    get(b"/announce?info_hash=\xff\x00&compact=1"),
    get(announce()).replace(b"GET", b"HEAD"),
    get(announce()).replace(b"GET", b"POST"),
    get(announce()).replace(b"GET", b"get"),
    get(announce()).replace(b"\r\n", b"\n"),
    b"\r\n" + get(announce()),
    b"\x16\x03\x01\x00garbage\r\n\r\n",
    b"GET / HTTP/1.1",
]  # fmt: skip


CLOSING = get(announce(), b"Connection: close")
LARGE = get(announce(), b"Long: " + b"a" * 7700)


@pytest.mark.slow
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("on_reverse_proxy", [False, True])
def test_each_request_alone(listed: bool, private: bool, on_reverse_proxy: bool) -> None:
    answers = same(
        [[request] for request in REQUESTS],
        Rules(interval=120, interval_min=60, listed=listed, private=private),
        on_reverse_proxy=on_reverse_proxy,
    )
    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) > len(REQUESTS) // 2


@pytest.mark.slow
@pytest.mark.parametrize("request_", [REQUESTS[1], get(b"/scrape?info_hash=" + b"%01" * 20), get(b"/x")])
def test_a_request_cut_at_every_byte(request_: bytes) -> None:
    answers = same([[request_[:at], request_[at:]] for at in range(1, len(request_), 3)])
    assert all(answer.startswith(b"HTTP/1.1 ") for answer in answers)


def test_a_request_byte_by_byte() -> None:
    (answer,) = same([[bytes([byte]) for byte in REQUESTS[0]]])
    assert answer.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.slow
@pytest.mark.parametrize("external", ["203.0.113.5", "2001:db8::5"])
def test_an_external_address_stands_in_for_this_hosts(external: str) -> None:
    rules = Rules(interval=120, interval_min=60, external_address=packed_address(external))
    same([[get(announce(port=port))] for port in range(1, 20)], rules)


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({at % (len(data) + 1) for at in cuts} | {0, len(data)})
    return [data[one:other] for one, other in pairwise(places)]


@pytest.mark.slow
@given(
    requests=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 100_000), max_size=8),
    listed=st.booleans(),
    private=st.booleans(),
)
@example(requests=[REQUESTS[0]] * 100, cuts=[], listed=False, private=False)
@example(requests=[get(keyed(GOOD_KEY))] * 100, cuts=[], listed=False, private=True)
@example(
    requests=[CLOSING, *[LARGE] * 4], cuts=[], listed=False, private=False
)  # what follows is not read, and resets nothing
@example(
    requests=[get(announce().replace(b"compact=1", b"compact=0"))] * 50,
    cuts=[],
    listed=False,
    private=False,
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_several_requests_in_pieces(
    requests: list[bytes], cuts: list[int], listed: bool, private: bool
) -> None:
    same(
        [cut(b"".join(requests), cuts)],
        Rules(interval=120, interval_min=60, listed=listed, private=private),
    )


@pytest.mark.slow
@given(
    start=st.sampled_from([b"", *REQUESTS]),
    noise=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 100_000), max_size=4),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_random_bytes(start: bytes, noise: bytes, cuts: list[int]) -> None:
    same([cut(start + noise, cuts)])


@pytest.mark.slow
@given(request=st.sampled_from(REQUESTS), at=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_a_wrong_byte(request: bytes, at: int, byte: int) -> None:
    place = at % len(request)
    same([[request[:place] + bytes([byte]) + request[place + 1 :]]])
