"""The calls about which torrents a listed tracker allows."""

from collections.abc import Sequence

from aiohttp import web

from torrust_py.api.pages import page_of, pieces
from torrust_py.api.responses import failing, ok_response, parse_info_hash, send_json
from torrust_py.core.types import InfoHash
from torrust_py.core.whitelist import ListedTorrents
from torrust_py.web import Call


async def list_whitelist(call: Call, *, listed: ListedTorrents) -> web.StreamResponse:
    """In the order of the info hashes those from `offset` on."""
    return await send_json(call, pieces(listed.info_hashes(), page_of(call.query), _items))


async def add_to_whitelist(call: Call, *, listed: ListedTorrents) -> web.StreamResponse:
    info_hash = parse_info_hash(call.value)
    with failing("whitelist torrent"):
        await listed.add(info_hash)
    return ok_response()


async def remove_from_whitelist(call: Call, *, listed: ListedTorrents) -> web.StreamResponse:
    info_hash = parse_info_hash(call.value)
    with failing("remove torrent from whitelist"):
        await listed.remove(info_hash)
    return ok_response()


async def reload_whitelist(call: Call, *, listed: ListedTorrents) -> web.StreamResponse:
    with failing("reload whitelist"):
        await listed.load()
    return ok_response()


def _items(info_hashes: Sequence[InfoHash]) -> bytes:
    return ",".join(f'{{"info_hash":"{info_hash.hex()}"}}' for info_hash in info_hashes).encode()
