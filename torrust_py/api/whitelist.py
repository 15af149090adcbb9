"""The calls that change which torrents a listed tracker allows."""

from aiohttp import web

from torrust_py.api.responses import failing, ok_response, parse_info_hash
from torrust_py.core.whitelist import ListedTorrents
from torrust_py.web import Call


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
