"""The bodies that the calls of the API have in common. All JSON is one line without spaces; texts are those
that Torrust's consumers compare byte for byte.
"""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from http import HTTPStatus

from aiohttp import web

from torrust_py.core.errors import DatabaseError
from torrust_py.core.types import INFO_HASH_SIZE, InfoHash
from torrust_py.web import Call, CallError, negotiate_compression

STREAMED_FROM = 64 * 1024
"""Bytes from which on a body is sent while it is made; a shorter one carries its length."""

_JSON = "application/json"
_INFO_HASH = re.compile(f"[0-9a-fA-F]{{{2 * INFO_HASH_SIZE}}}")
_NUMBER = re.compile(r"\+?([0-9]*)(.*)", re.ASCII | re.DOTALL)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}


def json_response(body: bytes, *, charset: str | None = None) -> web.Response:
    return web.Response(body=body, content_type=_JSON, charset=charset)


def ok_response() -> web.Response:
    return json_response(b'{"status":"ok"}')


async def send_json(call: Call, pieces: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """A body that is made in pieces; the loop turns between them."""
    async with aclosing(pieces):
        body = bytearray()
        async for piece in pieces:
            body += piece
            if len(body) >= STREAMED_FROM:
                return await _stream(call.request, bytes(body), pieces)
    return json_response(bytes(body))


async def _stream(
    request: web.Request, start: bytes, rest: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": _JSON})
    negotiate_compression(request, response)
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(start)
            async for piece in rest:
                await response.write(piece)
    except ConnectionError:
        pass  # the client went away; aiohttp notices it, too
    return response


class BadRequest(CallError):
    def __init__(self, text: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, text)


class BadInfoHash(BadRequest):
    def __init__(self, value: str) -> None:
        super().__init__(
            f'Invalid URL: invalid infohash param: string "{value}", expected a 40 character long string'
        )


class Failure(CallError):
    """The operation failed; Torrust answers all of these with status 500."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f'Unhandled rejection: Err {{ reason: "{debug_escaped(reason)}" }}',
        )


@contextmanager
def failing(to: str) -> Iterator[None]:
    """Raises Failure, saying what failed `to` be done, for a DatabaseError inside."""
    try:
        yield
    except DatabaseError as error:
        raise Failure(f"failed to {to}: {error}") from error


def check_is_json(request: web.Request) -> None:
    """Raises CallError unless the body is announced as JSON."""
    content_type = request.headers.get("Content-Type", "")
    media_type, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    if media_type != "application" or not (subtype == "json" or subtype.endswith("+json")):
        raise CallError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Expected request with `Content-Type: application/json`"
        )


def parse_info_hash(value: str) -> InfoHash:
    """40 hexadecimal digits. Raises BadInfoHash."""
    if not _INFO_HASH.fullmatch(value):
        raise BadInfoHash(value)
    return InfoHash(bytes.fromhex(value))


def parse_unsigned(value: str, bits: int) -> int:
    """A number as Rust reads it. Raises ValueError with Rust's words."""
    match = _NUMBER.fullmatch(value)
    assert match is not None, "it matches any text"
    digits = match[1].lstrip("0")
    if len(digits) > bits // 3 or int(digits or "0") >= 1 << bits:
        raise ValueError("number too large to fit in target type")
    if match[2] or not match[1]:
        raise ValueError("invalid digit found in string")
    return int(digits or "0")


def debug_escaped(text: str) -> str:
    """What Rust's `{:?}` puts between the quotes."""
    return "".join(
        _ESCAPES.get(character) or (character if character.isprintable() else f"\\u{{{ord(character):x}}}")
        for character in text
    )
