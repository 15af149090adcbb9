"""The call that shows the tracker's counters."""

import json

from aiohttp import web

from torrust_py.api.responses import json_response
from torrust_py.core.statistics import NO_COUNTS, Door, RequestCounts
from torrust_py.core.swarms import Swarms
from torrust_py.web import Call


async def get_stats(
    call: Call, *, swarms: Swarms, statistics: RequestCounts, usage_statistics: bool
) -> web.StreamResponse:
    """Without usage statistics the counters of requests show 0."""
    stats: dict[str, int] = swarms.totals()._asdict()
    for door in Door:
        counts = statistics.door(door) if usage_statistics else NO_COUNTS
        connections = counts.connects if door in (Door.UDP4, Door.UDP6) else counts.handled
        stats |= {
            f"{door.name.lower()}_connections_handled": connections,
            f"{door.name.lower()}_announces_handled": counts.announces,
            f"{door.name.lower()}_scrapes_handled": counts.scrapes,
        }
    return json_response(json.dumps(stats, separators=(",", ":")).encode())
