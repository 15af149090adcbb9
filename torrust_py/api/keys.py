"""The calls about the keys of a private tracker (BEP 27)."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from aiohttp import web

from torrust_py.api.new_key import parse_new_key
from torrust_py.api.pages import page_of, pieces
from torrust_py.api.responses import (
    BadRequest,
    check_is_json,
    debug_escaped,
    failing,
    json_response,
    ok_response,
    parse_unsigned,
    send_json,
)
from torrust_py.core.database import PeerKey
from torrust_py.core.errors import BadKey
from torrust_py.core.keys import Keys, check_key, random_key
from torrust_py.web import Call, read_body

NANOSECONDS = 1_000_000_000

_400_YEARS = 146_097 * 24 * 60 * 60  # seconds, after which the calendar repeats itself
_LATEST = 8_210_266_876_799  # the last second that Torrust can write: +262142-12-31 23:59:59

Clock = Callable[[], int]
"""Unix nanoseconds, as `time.time_ns`."""


async def list_keys(call: Call, *, keys: Keys) -> web.StreamResponse:
    """In their order those from `offset` on."""
    steps = ([key.encode() for key in step] for step in keys.steps())
    return await send_json(call, pieces(steps, page_of(call.query), partial(_items, keys)))


async def add_key(call: Call, *, keys: Keys, unix_now_ns: Clock) -> web.StreamResponse:
    check_is_json(call.request)
    asked = parse_new_key(await read_body(call.request))
    expiry_ns = None if asked.seconds_valid is None else _expiry_ns(asked.seconds_valid, unix_now_ns())
    if asked.key is not None:
        _check_given(asked.key)
    return await _add(asked.key or random_key(), expiry_ns, keys=keys)


async def add_random_key(call: Call, *, keys: Keys, unix_now_ns: Clock) -> web.StreamResponse:
    try:
        seconds_valid = parse_unsigned(call.value, bits=64)
    except ValueError as error:
        raise BadRequest(f'Invalid URL: Cannot parse `"{debug_escaped(call.value)}"` to a `u64`') from error
    return await _add(random_key(), _expiry_ns(seconds_valid, unix_now_ns()), keys=keys)


async def delete_key(call: Call, *, keys: Keys) -> web.StreamResponse:
    try:
        check_key(call.value)
    except BadKey as error:
        raise BadRequest(f'Invalid auth key id param "{call.value}"') from error
    with failing("delete key"):
        await keys.remove(call.value)
    return ok_response()


async def reload_keys(call: Call, *, keys: Keys) -> web.StreamResponse:
    with failing("reload keys"):
        await keys.load()
    return ok_response()


def expiry_text(unix_ns: int) -> str:
    """`2023-03-20 17:45:34.712077008 UTC`; the fraction has 0, 3, 6 or 9 digits, as few as can be."""
    seconds, fraction = divmod(unix_ns, NANOSECONDS)
    periods, rest = divmod(seconds, _400_YEARS)
    moment = datetime.fromtimestamp(rest, UTC)
    year = moment.year + 400 * periods
    years = f"{year:04}" if year <= 9999 else f"+{year}"
    digits = f".{fraction:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{years}{moment:-%m-%d %H:%M:%S}{digits.rstrip('.')} UTC"


async def _add(key: str, expiry_ns: int | None, *, keys: Keys) -> web.Response:
    valid_until = None if expiry_ns is None else expiry_ns // NANOSECONDS
    with failing("generate key"):
        await keys.add(PeerKey(key, valid_until))
    return json_response(_object(key, expiry_ns).encode(), charset="utf-8")


def _items(keys: Keys, names: Sequence[bytes]) -> bytes:
    """Those of the keys that there are, separated by commas."""
    found = (keys.find(name.decode()) for name in names)
    return ",".join(_object(key.key, _ns(key.valid_until)) for key in found if key is not None).encode()


def _ns(valid_until: int | None) -> int | None:
    return None if valid_until is None else valid_until * NANOSECONDS


def _object(key: str, expiry_ns: int | None) -> str:
    """As JSON."""
    members = {
        "key": key,
        "valid_until": None if expiry_ns is None else expiry_ns // NANOSECONDS,
        "expiry_time": None if expiry_ns is None else expiry_text(expiry_ns),
    }
    return json.dumps(members, separators=(",", ":"))


def _expiry_ns(seconds_valid: int, unix_now_ns: int) -> int:
    expiry_ns = unix_now_ns + seconds_valid * NANOSECONDS
    if expiry_ns // NANOSECONDS > _LATEST:
        raise BadRequest(f'Invalid URL: invalid auth key duration: "{seconds_valid}"')
    return expiry_ns


def _check_given(key: str) -> None:
    try:
        check_key(key)
    except BadKey as error:
        raise BadRequest(f'Invalid URL: invalid auth key: string "{key}", {error}') from error
