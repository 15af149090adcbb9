"""The routes of the REST API, and who may use them."""

import hmac
import logging
from collections.abc import Callable, Iterable
from functools import partial

from aiohttp import web

from torrust_py.api.blacklist import (
    add_many_to_blacklist,
    add_to_blacklist,
    list_blacklist,
    remove_from_blacklist,
)
from torrust_py.api.blacklistings import LONGEST_BODY
from torrust_py.api.keys import add_key, add_random_key, delete_key, list_keys, reload_keys
from torrust_py.api.metrics import Exposition, get_metrics
from torrust_py.api.responses import BadRequest, Failure, json_response
from torrust_py.api.stats import get_stats
from torrust_py.api.torrents import get_torrent, list_torrents
from torrust_py.api.whitelist import add_to_whitelist, list_whitelist, reload_whitelist, remove_from_whitelist
from torrust_py.core.blacklist import Blacklist
from torrust_py.core.keys import Keys
from torrust_py.core.statistics import RequestCounts
from torrust_py.core.swarms import Swarms
from torrust_py.core.whitelist import ListedTorrents
from torrust_py.web import Call, Routes, application

_BLACKLIST = "/api/v1/blacklist"
_HEALTH_CHECK = "/api/health_check"


def api_application(
    *,
    swarms: Swarms,
    statistics: RequestCounts,
    usage_statistics: bool,
    metrics: Exposition,
    keys: Keys,
    listed: ListedTorrents,
    blacklist: Blacklist,
    tokens: Iterable[str],
    unix_offset_ms: int,
    unix_now_ns: Callable[[], int],
) -> web.Application:
    """Every call but the health check needs one of `tokens`; each of them admits to everything.

    `unix_offset_ms` turns the swarms' milliseconds into Unix time. Without `usage_statistics` the counters of
    requests show 0.
    """
    routes: Routes = {
        _HEALTH_CHECK: {"GET": _health_check},
        "/api/v1/stats": {
            "GET": partial(get_stats, swarms=swarms, statistics=statistics, usage_statistics=usage_statistics)
        },
        "/api/v1/metrics": {"GET": partial(get_metrics, exposition=metrics)},
        "/api/v1/torrents": {"GET": partial(list_torrents, swarms=swarms)},
        "/api/v1/torrent/{info_hash}": {
            "GET": partial(get_torrent, swarms=swarms, unix_offset_ms=unix_offset_ms)
        },
        "/api/v1/whitelist": {"GET": partial(list_whitelist, listed=listed)},
        "/api/v1/whitelist/{info_hash}": {
            "POST": partial(add_to_whitelist, listed=listed),
            "DELETE": partial(remove_from_whitelist, listed=listed),
        },
        "/api/v1/whitelist/reload": {"GET": partial(reload_whitelist, listed=listed)},
        _BLACKLIST: {
            "GET": partial(list_blacklist, blacklist=blacklist),
            "POST": partial(add_many_to_blacklist, blacklist=blacklist, unix_now_ns=unix_now_ns),
        },
        f"{_BLACKLIST}/{{info_hash}}": {
            "POST": partial(add_to_blacklist, blacklist=blacklist, unix_now_ns=unix_now_ns),
            "DELETE": partial(remove_from_blacklist, blacklist=blacklist),
        },
        "/api/v1/keys": {
            "GET": partial(list_keys, keys=keys),
            "POST": partial(add_key, keys=keys, unix_now_ns=unix_now_ns),
        },
        "/api/v1/keys/reload": {"GET": partial(reload_keys, keys=keys)},
        "/api/v1/key/{seconds_valid_or_key}": {
            "POST": partial(add_random_key, keys=keys, unix_now_ns=unix_now_ns),
            "DELETE": partial(delete_key, keys=keys),
        },
    }
    admit = partial(_authenticate, tokens=[token.encode() for token in tokens if token])
    return application(
        routes, log=logging.getLogger("API"), admit=admit, longer_bodies={_BLACKLIST: LONGEST_BODY}
    )


async def _health_check(call: Call) -> web.StreamResponse:
    return json_response(b'{"status":"Ok"}')


def _authenticate(call: Call, *, tokens: list[bytes]) -> None:
    """Raises CallError unless the call has a token, in the query or, without one there, as Bearer (RFC 6750).

    Refusals have Torrust's status 500: Torrust Index knows them by it.
    """
    if call.path == _HEALTH_CHECK:
        return
    given = [value for name, value in call.query if name == "token"]
    if len(given) > 1:
        raise BadRequest("Failed to deserialize query string: duplicate field `token`")
    if not given:
        scheme, _, credentials = call.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Failure("unauthorized")
        given = [credentials.strip()]
    token = given[0].encode("utf-8", "surrogateescape")
    # The list is made to its end, so that the time tells nothing of which token was nearly right.
    if not any([hmac.compare_digest(token, known) for known in tokens]):  # noqa: C419 (see above)
        raise Failure("token not valid")
