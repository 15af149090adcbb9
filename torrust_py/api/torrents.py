"""The calls that show torrents: one with all its peers, or many without.

Nothing here stops the loop: it turns after each step of the swarms, and after each slice of what is made of
them. So a body may mix moments.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Iterable, Iterator
from functools import partial
from itertools import islice

from aiohttp import web

from torrust_py.api.client_names import client_name
from torrust_py.api.pages import page_of, pieces
from torrust_py.api.responses import json_response, parse_info_hash, send_json
from torrust_py.core.swarms import Swarms
from torrust_py.core.types import PEER_ID_SIZE, InfoHash, SwarmPeer, endpoint_text
from torrust_py.web import Call

_ITEMS_A_SLICE = 256
_PEERS_A_SLICE = 86  # a third of a step of the swarms, which takes as long


async def list_torrents(call: Call, *, swarms: Swarms) -> web.StreamResponse:
    """In the order of the info hashes those from `offset` on, or those that `info_hash` names, as it does."""
    page = page_of(call.query)
    asked = [parse_info_hash(value) for name, value in call.query if name == "info_hash"]
    if asked:
        return json_response(b"[" + _items(swarms, asked) + b"]")
    return await send_json(call, pieces(swarms.torrents(), page, partial(_items, swarms)))


async def get_torrent(call: Call, *, swarms: Swarms, unix_offset_ms: int) -> web.StreamResponse:
    info_hash = parse_info_hash(call.value)
    if info_hash not in swarms:
        return json_response(b'"torrent not known"')
    return await send_json(call, _torrent(swarms, info_hash, unix_offset_ms))


# --- many torrents


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
