"""The calls about which torrents are refused."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus

from aiohttp import web

from torrust_py.api.blacklistings import LONGEST_BODY, parse_blacklisting, parse_blacklistings
from torrust_py.api.pages import page_of, pieces
from torrust_py.api.responses import check_is_json, failing, ok_response, parse_info_hash, send_json
from torrust_py.core.blacklist import Blacklist, Listed
from torrust_py.core.errors import ListedByFile
from torrust_py.core.types import InfoHash
from torrust_py.web import Call, CallError, read_body

_NANOSECONDS = 1_000_000_000

Clock = Callable[[], int]
"""Unix nanoseconds, as `time.time_ns`."""


async def list_blacklist(call: Call, *, blacklist: Blacklist) -> web.StreamResponse:
    """In the order of the info hashes those from `offset` on."""
    return await send_json(
        call, pieces(blacklist.info_hashes(), page_of(call.query), partial(_items, blacklist))
    )


async def add_to_blacklist(call: Call, *, blacklist: Blacklist, unix_now_ns: Clock) -> web.StreamResponse:
    info_hash = parse_info_hash(call.value)
    body = await read_body(call.request)
    if body:
        check_is_json(call.request)
    entry = parse_blacklisting(body, info_hash, unix_now_ns() // _NANOSECONDS)
    with failing("blacklist torrent"):
        await blacklist.add([entry])
    return ok_response()


async def add_many_to_blacklist(
    call: Call, *, blacklist: Blacklist, unix_now_ns: Clock
) -> web.StreamResponse:
    """All of them or none."""
    check_is_json(call.request)
    body = await read_body(call.request, longest=LONGEST_BODY)
    entries = await parse_blacklistings(body, unix_now_ns() // _NANOSECONDS)
    if entries:
        with failing("blacklist torrents"):
            await blacklist.add(entries)
    return ok_response()


async def remove_from_blacklist(call: Call, *, blacklist: Blacklist) -> web.StreamResponse:
    info_hash = parse_info_hash(call.value)
    try:
        with failing("remove torrent from blacklist"):
            await blacklist.remove(info_hash)
    except ListedByFile as error:
        raise CallError(HTTPStatus.CONFLICT, str(error)) from error
    return ok_response()


def _items(blacklist: Blacklist, info_hashes: Sequence[InfoHash]) -> bytes:
    """Those of the torrents that are refused, separated by commas."""
    found = (blacklist.listed(info_hash) for info_hash in info_hashes)
    return ",".join(_object(listed) for listed in found if listed is not None).encode()


def _object(listed: Listed) -> str:
    """As JSON."""
    sources = [name for name, has in (("database", listed.in_database), ("file", listed.in_file)) if has]
    members = {
        "info_hash": listed.info_hash.hex(),
        "reason": listed.reason,
        "valid_until": listed.valid_until,
        "sources": sources,
    }
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False)
