"""The call that shows the metrics, for Prometheus or as JSON."""

from typing import Protocol

from aiohttp import web

from torrust_py.api.responses import BadRequest
from torrust_py.web import Call


class Exposed(Protocol):
    @property
    def body(self) -> bytes: ...
    @property
    def content_type(self) -> str: ...


class Exposition(Protocol):
    async def as_text(self, accept: str) -> Exposed:
        """For Prometheus, in the version that the header `Accept` asks for."""

    async def as_json(self) -> Exposed: ...


async def get_metrics(call: Call, *, exposition: Exposition) -> web.StreamResponse:
    """`format` may be prometheus, which it is without one, or json."""
    formats = [value for name, value in call.query if name == "format"] or ["prometheus"]
    if formats == ["prometheus"]:
        exposed = await exposition.as_text(",".join(call.request.headers.getall("Accept", [])))
    elif formats == ["json"]:
        exposed = await exposition.as_json()
    else:
        raise BadRequest("Invalid query: format may be prometheus or json, once")
    return web.Response(body=exposed.body, headers={"Content-Type": exposed.content_type})
