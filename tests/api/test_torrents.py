import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.api import pages, torrents
from torrust_py.api.pages import Page, lowest, pieces
from torrust_py.core.database import Completed
from torrust_py.core.swarms import PortableSwarms
from torrust_py.core.types import AnnounceEvent, InfoHash, SwarmPeer

HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"
INFO_HASH = bytes.fromhex(HASH)


def item(number: int, *, seeders: int = 1) -> str:
    hexadecimal = f"{number:02x}" * 20
    return f'{{"info_hash":"{hexadecimal}","seeders":{seeders},"completed":0,"leechers":0}}'


def numbered(number: int) -> bytes:
    return bytes([number]) * 20


# --- one torrent


async def test_a_torrent_is_shown_with_its_peers(new_api) -> None:
    async with new_api(unix_offset_ms=1_669_397_478_930_000).served() as api:
        api.announce(INFO_HASH, now_ms=4_000)
        answer = await api.get(f"/api/v1/torrent/{HASH.upper()}")
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.text == (
        '{"info_hash":"9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d","seeders":1,"completed":0,"leechers":0,'
        '"peers":[{"peer_id":{"id":"0x2d71423030303030303030303030303030303030","client":null},'
        '"peer_addr":"127.0.0.1:8080","updated":1669397478934000,"updated_milliseconds_ago":1669397478934000,'
        '"uploaded":0,"downloaded":0,"left":0,"event":"Started"}]}'
    )


async def test_a_recognised_client_is_named(api) -> None:
    api.announce(INFO_HASH, peer_id=b"-UT4410-*dFZ:8DHIDpEy")
    answer = await api.get(f"/api/v1/torrent/{HASH}")
    assert '"client":"µTorrent"' in answer.text


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (b"\xcb\0\x71\5\x1a\xe1", "203.0.113.5:6881"),
        (b"\x20\1\r\xb8" + bytes(11) + b"\1\0\1", "[2001:db8::1]:1"),
    ],
)
async def test_addresses_are_written_with_the_port(api, endpoint: bytes, text: str) -> None:
    api.announce(INFO_HASH, endpoint=endpoint)
    peer = json.loads((await api.get(f"/api/v1/torrent/{HASH}")).text)["peers"][0]
    assert peer["peer_addr"] == text


@pytest.mark.parametrize("event", [AnnounceEvent.NONE, AnnounceEvent.STARTED, AnnounceEvent.COMPLETED])
async def test_events_are_capitalised(api, event: AnnounceEvent) -> None:
    api.announce(INFO_HASH, event=event, left=-1)
    peer = json.loads((await api.get(f"/api/v1/torrent/{HASH}")).text)["peers"][0]
    assert (peer["event"], peer["left"]) == (event.name.capitalize(), -1)


async def test_a_torrent_without_peers_has_an_empty_list(api) -> None:
    api.swarms.restore([Completed(InfoHash(INFO_HASH), 7)])
    answer = await api.get(f"/api/v1/torrent/{HASH}")
    assert answer.text == f'{{"info_hash":"{HASH}","seeders":0,"completed":7,"leechers":0,"peers":[]}}'


async def test_an_unknown_torrent_is_a_text_in_json(api) -> None:
    answer = await api.get(f"/api/v1/torrent/{HASH}")
    assert (answer.status, answer.content_type, answer.text) == (
        200,
        "application/json",
        '"torrent not known"',
    )


@pytest.mark.parametrize(
    "value", ["0", "-1", "1.1", "INVALID%20INFOHASH", HASH[:-1], f"{HASH[:-1]}&", "%C3%A9"]
)
async def test_a_bad_info_hash_is_refused(api, value: str) -> None:
    answer = await api.get(f"/api/v1/torrent/{value}")
    shown = value.replace("%20", " ").replace("%C3%A9", "é")
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert answer.text == (
        f'Invalid URL: invalid infohash param: string "{shown}", expected a 40 character long string'
    )


@pytest.mark.clause("7.7.2")
async def test_peers_come_in_the_order_of_id_then_endpoint(api) -> None:
    for number in (3, 1, 2):
        for address in (b"\x20\1" + bytes(14), b"\1\2\3\4", b"\1\1\1\1"):
            endpoint = address + bytes([0, number])
            api.announce(
                INFO_HASH, endpoint=endpoint, peer_id=b"-xx000%d-0123456789ab" % number, left=number % 2
            )
    peers = json.loads((await api.get(f"/api/v1/torrent/{HASH}")).text)["peers"]
    assert [peer["peer_addr"] for peer in peers] == [
        f"{address}:{number}" for number in (1, 2, 3) for address in ("1.1.1.1", "1.2.3.4", "[2001::]")
    ]


async def test_a_peer_that_is_seen_twice_is_shown_once(new_api) -> None:
    class SeenTwice(PortableSwarms):
        def peers(self, info_hash: InfoHash, /) -> Iterator[list[SwarmPeer]]:
            yield from super().peers(info_hash)
            yield from super().peers(info_hash)

    async with new_api(swarms=SeenTwice()).served() as api:
        api.announce(INFO_HASH)
        assert len(json.loads((await api.get(f"/api/v1/torrent/{HASH}")).text)["peers"]) == 1


@pytest.mark.clause("7.7.2")
@pytest.mark.slow
async def test_a_swarm_of_50_000_peers_is_shown_whole(api) -> None:
    for number in range(50_000):
        endpoint = number.to_bytes(4, "big") + b"\1\1"
        api.announce(INFO_HASH, endpoint=endpoint, peer_id=os.urandom(20), left=number % 2)
    answer = await api.get(f"/api/v1/torrent/{HASH}")
    ids = [peer["peer_id"]["id"] for peer in json.loads(answer.text)["peers"]]
    assert len(ids) == 50_000
    assert ids == sorted(ids)
    assert answer.headers["Transfer-Encoding"] == "chunked"


# --- many torrents


async def test_no_torrents_are_an_empty_list(api) -> None:
    answer = await api.get("/api/v1/torrents")
    assert (answer.status, answer.content_type, answer.text) == (200, "application/json", "[]")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [1, 2, 3, 4]),
        ("?limit=1", [1]),
        ("?offset=1", [2, 3, 4]),
        ("?offset=1&limit=2", [2, 3]),
        ("?limit=%2B2&offset=+0", None),
        ("?limit=%2B2&offset=00", [1, 2]),
        ("?limit=0", []),
        ("?offset=4", []),
        ("?offset=9&limit=9", []),
        ("?offset=&limit=", [1, 2, 3, 4]),
        ("?offset&limit", [1, 2, 3, 4]),
        ("?limit=4294967295&offset=4294967295", []),
        ("?limit=4294967295&offset=3", [4]),
        ("?other=x", [1, 2, 3, 4]),
    ],
)
async def test_a_page_holds_the_lowest_info_hashes_from_the_offset_on(api, query: str, numbers) -> None:
    for number in (3, 1, 4, 2):
        api.announce(numbered(number))
    answer = await api.get(f"/api/v1/torrents{query}")
    if numbers is None:
        assert answer.status == 400
    else:
        assert answer.text == f"[{','.join(map(item, numbers))}]"


async def test_4000_torrents_are_the_most_without_a_limit(api) -> None:
    api.swarms.restore(Completed(InfoHash(number.to_bytes(20, "big")), 1) for number in range(4001))
    listed = json.loads((await api.get("/api/v1/torrents")).text)
    assert [torrent["info_hash"] for torrent in listed] == [f"{number:040x}" for number in range(4000)]


@pytest.mark.parametrize("name", ["offset", "limit"])
@pytest.mark.parametrize("value", ["+", "-1", "1.1", "INVALID%20OFFSET", "x"])
async def test_a_page_that_is_no_number_is_refused(api, name: str, value: str) -> None:
    answer = await api.get(f"/api/v1/torrents?{name}={value}")
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert answer.text == "Failed to deserialize query string: invalid digit found in string"


@pytest.mark.parametrize("name", ["offset", "limit"])
async def test_a_page_beyond_32_bits_is_refused(api, name: str) -> None:
    answer = await api.get(f"/api/v1/torrents?{name}=4294967296")
    assert (answer.status, answer.text) == (
        400,
        "Failed to deserialize query string: number too large to fit in target type",
    )


@pytest.mark.parametrize("name", ["offset", "limit"])
async def test_a_page_given_twice_is_refused(api, name: str) -> None:
    answer = await api.get(f"/api/v1/torrents?{name}=1&{name}=1")
    assert (answer.status, answer.text) == (
        400,
        "Failed to deserialize query string: unsupported value",
    )


async def test_named_torrents_come_as_asked_for(api) -> None:
    for number in (1, 2, 3):
        api.announce(numbered(number))
    query = "&".join(f"info_hash={f'{number:02X}' * 20}" for number in (3, 9, 1, 3))
    answer = await api.get(f"/api/v1/torrents?{query}&offset=7&limit=0")
    assert answer.text == f"[{item(3)},{item(1)},{item(3)}]"


async def test_named_torrents_that_are_unknown_are_an_empty_list(api) -> None:
    assert (await api.get(f"/api/v1/torrents?info_hash={HASH}")).text == "[]"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ("+", " "),
        ("-1", "-1"),
        ("1.1", "1.1"),
        ("INVALID%20INFO_HASH", "INVALID INFO_HASH"),
        ("%ff", "\ufffd"),
    ],
)
async def test_the_first_bad_info_hash_is_told(api, value: str, shown: str) -> None:
    answer = await api.get(f"/api/v1/torrents?info_hash={HASH}&info_hash={value}&info_hash=later")
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert answer.text == (
        f'Invalid URL: invalid infohash param: string "{shown}", expected a 40 character long string'
    )


# --- the order, against the naive one

SMALL_HASHES = st.integers(0, 60).map(lambda number: number.to_bytes(20, "big"))


@pytest.mark.clause("7.8.5")
@pytest.mark.parametrize("few", [0, 10_000])
@given(steps=st.lists(st.lists(SMALL_HASHES, max_size=12), max_size=8), count=st.integers(1, 80))
def test_the_lowest_info_hashes_are_those_that_sorting_gives(few: int, steps, count: int) -> None:
    expected = sorted({info_hash for step in steps for info_hash in step})[:count]

    async def collect() -> list[InfoHash]:
        slices = lowest(steps, count)
        return [info_hash async for part in slices for info_hash in part]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_FEW", few)
        assert asyncio.run(collect()) == expected


# --- the loop goes on turning


@contextlib.asynccontextmanager
async def turns() -> AsyncIterator[Callable[[], int]]:
    """How often the loop has turned."""
    count = 0

    async def turn() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0)
            count += 1

    turning = asyncio.create_task(turn())
    try:
        yield lambda: count
    finally:
        turning.cancel()


@pytest.mark.slow
async def test_the_loop_turns_while_20_000_peers_are_listed(api) -> None:
    for number in range(20_000):
        endpoint = number.to_bytes(4, "big") + b"\1\1"
        api.announce(INFO_HASH, endpoint=endpoint, peer_id=os.urandom(20), left=number % 2)
    async with turns() as turned:
        async for _ in torrents._torrent(api.swarms, InfoHash(INFO_HASH), 0):
            pass
    assert turned() > 20_000 // 100


@pytest.mark.slow
@pytest.mark.parametrize("page", [(0, 4000), (150_000, 200_000)])
async def test_the_loop_turns_while_200_000_torrents_are_listed(page: tuple[int, int]) -> None:
    swarms = PortableSwarms()
    swarms.restore(Completed(InfoHash(os.urandom(20)), 1) for _ in range(200_000))
    listed = bytearray()
    async with turns() as turned:
        items = partial(torrents._items, swarms)
        async for piece in pieces(swarms.torrents(), Page(page[0], page[1] - page[0]), items):
            listed += piece
    assert len(json.loads(listed)) == page[1] - page[0]
    assert turned() > 200_000 // 5000 + (page[1] - page[0]) // 500
