"""The calls that show torrents: one with all its peers, or many without.

Nothing here stops the loop: it turns after each step of the swarms, and after each slice of what is made of
them. So a body may mix moments.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Iterable, Iterator
from itertools import islice
from operator import itemgetter
from struct import Struct

from aiohttp import web

from torrust_py.api.client_names import client_name
from torrust_py.api.responses import BadRequest, json_response, parse_info_hash, parse_unsigned, send_json
from torrust_py.core.swarms import Swarms
from torrust_py.core.types import INFO_HASH_SIZE, PEER_ID_SIZE, InfoHash, SwarmPeer, endpoint_text
from torrust_py.web import Call

DEFAULT_LIMIT = 4000

_FEW = 4096
"""Up to so many torrents of the lowest info hashes are found without sorting all: the default page, and as
many as a step of the swarms has. With more, one merge with such a step takes longer than to sort it.
"""

_ITEMS_A_SLICE = 256
_PEERS_A_SLICE = 86  # a third of a step of the swarms, which takes as long
_INFO_HASH = Struct(f"{INFO_HASH_SIZE}s")
_only_member = itemgetter(0)


async def list_torrents(call: Call, *, swarms: Swarms) -> web.StreamResponse:
    """In the order of the info hashes those from `offset` on, or those that `info_hash` names, as it does."""
    offset = _number(call.query, "offset", 0)
    limit = _number(call.query, "limit", DEFAULT_LIMIT)
    asked = [parse_info_hash(value) for name, value in call.query if name == "info_hash"]
    if asked:
        return json_response(b"[" + _items(swarms, asked) + b"]")
    if limit == 0:
        return json_response(b"[]")
    return await send_json(call, _page(swarms, offset, offset + limit))


async def get_torrent(call: Call, *, swarms: Swarms, unix_offset_ms: int) -> web.StreamResponse:
    info_hash = parse_info_hash(call.value)
    if info_hash not in swarms:
        return json_response(b'"torrent not known"')
    return await send_json(call, _torrent(swarms, info_hash, unix_offset_ms))


async def first_info_hashes(swarms: Swarms, count: int) -> AsyncGenerator[list[InfoHash], None]:
    """The `count` lowest info hashes, in order and in slices."""
    if count <= _FEW:
        few = await _few_lowest(swarms, count)
        slices = iter([few[at : at + _ITEMS_A_SLICE] for at in range(0, len(few), _ITEMS_A_SLICE)])
    else:
        slices = _sliced(islice(_unique(heapq.merge(*await _sorted_runs(swarms))), count))
    for info_hashes in slices:
        yield info_hashes
        await asyncio.sleep(0)


def _number(query: list[tuple[str, str]], name: str, default: int) -> int:
    """A number of 32 bits; empty is absent. Raises BadRequest."""
    values = [value for key, value in query if key == name]
    if len(values) > 1:
        raise BadRequest("Failed to deserialize query string: unsupported value")
    if not values or not values[0]:
        return default
    try:
        return parse_unsigned(values[0], bits=32)
    except ValueError as error:
        raise BadRequest(f"Failed to deserialize query string: {error}") from error


# --- many torrents


async def _page(swarms: Swarms, first: int, end: int) -> AsyncGenerator[bytes, None]:
    yield b"["
    separator, passed = b"", 0
    async for info_hashes in first_info_hashes(swarms, end):
        items = _items(swarms, info_hashes[max(0, first - passed) :])
        passed += len(info_hashes)
        if items:
            yield separator + items
            separator = b","
    yield b"]"


async def _few_lowest(swarms: Swarms, count: int) -> list[InfoHash]:
    lowest: list[InfoHash] = []
    for step in swarms.torrents():
        bound = lowest[-1] if lowest and len(lowest) == count else None
        candidates = [info_hash for info_hash in step if bound is None or info_hash < bound]
        if candidates:
            candidates.sort()
            lowest = list(dict.fromkeys(sorted(lowest + candidates)))[:count]
        await asyncio.sleep(0)
    return lowest


async def _sorted_runs(swarms: Swarms) -> list[Iterator[InfoHash]]:
    """Packed, because of a million objects in lists the garbage collector would stop the loop."""
    runs: list[Iterator[InfoHash]] = []
    for step in swarms.torrents():
        packed = b"".join(sorted(step))
        runs.append(map(_only_member, _INFO_HASH.iter_unpack(packed)))
        await asyncio.sleep(0)
    return runs


def _unique(ordered: Iterable[InfoHash]) -> Iterator[InfoHash]:
    last = None
    for info_hash in ordered:
        if info_hash != last:
            yield info_hash
        last = info_hash


def _sliced(info_hashes: Iterator[InfoHash]) -> Iterator[list[InfoHash]]:
    while part := list(islice(info_hashes, _ITEMS_A_SLICE)):
        yield part


def _items(swarms: Swarms, info_hashes: Iterable[InfoHash]) -> bytes:
    """Those of the torrents that there are, separated by commas."""
    items = (_counts(swarms, info_hash) + "}" for info_hash in info_hashes if info_hash in swarms)
    return ",".join(items).encode()


def _counts(swarms: Swarms, info_hash: InfoHash) -> str:
    """The beginning of a JSON object: what is told of every torrent."""
    seeders, completed, leechers = swarms.scrape(info_hash)
    return (
        f'{{"info_hash":"{info_hash.hex()}","seeders":{seeders},"completed":{completed},"leechers":{leechers}'
    )


# --- one torrent


async def _torrent(swarms: Swarms, info_hash: InfoHash, unix_offset_ms: int) -> AsyncGenerator[bytes, None]:
    yield f'{_counts(swarms, info_hash)},"peers":['.encode()
    runs = []
    for step in swarms.peers(info_hash):
        await asyncio.sleep(0)
        for at in range(0, len(step), _PEERS_A_SLICE):
            part = step[at : at + _PEERS_A_SLICE]
            runs.append(sorted(_sortable_peer(remembered, unix_offset_ms) for remembered in part))
            await asyncio.sleep(0)
    separator = b""
    peers = _peer_objects(heapq.merge(*map(_drained, runs)))
    while written := b",".join(islice(peers, _ITEMS_A_SLICE)):
        yield separator + written
        separator = b","
        await asyncio.sleep(0)
    yield b"]}"


def _sortable_peer(remembered: SwarmPeer, unix_offset_ms: int) -> bytes:
    """What peers are sorted by, peer id and endpoint (IPv4 first), and then the JSON object of this one.

    Bytes, because so many tuples would have the garbage collector stop the loop.
    """
    endpoint = remembered.peer.endpoint
    order = remembered.peer.peer_id + bytes([len(endpoint)]) + endpoint
    return order + _peer_json(remembered, unix_offset_ms).encode()


def _drained(run: list[bytes]) -> Iterator[bytes]:
    """The members of a list, which lets each of them go: to free them all at once would stop the loop."""
    run.reverse()
    while run:
        yield run.pop()


def _peer_objects(ordered: Iterable[bytes]) -> Iterator[bytes]:
    """The JSON objects, each peer's once."""
    last = b""
    for sortable in ordered:
        end = PEER_ID_SIZE + 1 + sortable[PEER_ID_SIZE]
        if sortable[:end] != last:
            yield sortable[end:]
        last = sortable[:end]


def _peer_json(remembered: SwarmPeer, unix_offset_ms: int) -> str:
    peer = remembered.peer
    updated = remembered.updated_ms + unix_offset_ms
    name = client_name(peer.peer_id)
    client = "null" if name is None else f'"{name}"'
    return (
        f'{{"peer_id":{{"id":"0x{peer.peer_id.hex()}","client":{client}}}'
        f',"peer_addr":"{endpoint_text(peer.endpoint)}"'
        f',"updated":{updated},"updated_milliseconds_ago":{updated}'
        f',"uploaded":{peer.uploaded},"downloaded":{peer.downloaded},"left":{peer.left}'
        f',"event":"{peer.event.name.capitalize()}"}}'
    )
