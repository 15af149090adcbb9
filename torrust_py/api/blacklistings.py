"""The bodies of `POST /blacklist`: one object, or a list of them.

    {"info_hash": <40 hexadecimal digits>, "reason": <text or null>, "seconds_valid": <number or null>}

Where the path names the torrent, there is no `info_hash`. Nothing else may be there, and nothing twice.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from torrust_py.api.responses import BadRequest, debug_escaped, parse_info_hash
from torrust_py.core.blacklist import check_reason
from torrust_py.core.database import BlacklistEntry
from torrust_py.core.errors import BadReason
from torrust_py.core.types import InfoHash
from torrust_py.web import CallError

MOST_ENTRIES = 10_000
"""Of one list."""

LONGEST_BODY = 8 * 1024 * 1024
"""Bytes: so many entries with the longest reasons in UTF-8 fit."""

LONGEST_VALIDITY = 100 * 365 * 24 * 60 * 60
"""Seconds."""

_ENTRIES_A_SLICE = 200
_WHITESPACE = re.compile(r"[ \t\n\r]*")


def parse_blacklisting(body: bytes, info_hash: InfoHash, unix_now: int) -> BlacklistEntry:
    """Of the torrent that the path names; an empty body says nothing more. Raises BadRequest."""
    if not body:
        return BlacklistEntry(info_hash)
    try:
        text = _text(body)
        value, end = _value(text, _skipped(text, 0))
        if end < len(text):
            raise _Bad(_SYNTAX.format(end + 1))
        reason, seconds_valid = _details(_members(value, {"reason", "seconds_valid"}))
    except _Bad as error:
        raise BadRequest(f"Invalid body: {error}") from error
    return BlacklistEntry(info_hash, reason, _end(seconds_valid, unix_now))


async def parse_blacklistings(body: bytes, unix_now: int) -> list[BlacklistEntry]:
    """A list of entries; the loop turns while it is read. Raises CallError."""
    entries: dict[InfoHash, BlacklistEntry] = {}
    try:
        for number, value in enumerate(_values(_text(body)), start=1):
            if number > MOST_ENTRIES:
                raise CallError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"Invalid body: it has more than {MOST_ENTRIES} entries; send them in several calls",
                )
            with _of_entry(number):
                entry = _entry(value, unix_now)
                if entries.setdefault(entry.info_hash, entry) != entry:
                    raise _Bad(f"{entry.info_hash.hex()} is there before, and otherwise")
            if number % _ENTRIES_A_SLICE == 0:
                await asyncio.sleep(0)
    except _Bad as error:
        raise BadRequest(f"Invalid body: {error}") from error
    return list(entries.values())


_SYNTAX = "it is no JSON from character {} on"


class _Bad(ValueError):
    """What is wrong with a body."""


@contextmanager
def _of_entry(number: int) -> Iterator[None]:
    """Says of which entry something is wrong."""
    try:
        yield
    except _Bad as error:
        raise _Bad(f"entry {number}: {error}") from error


def _values(text: str) -> Iterator[object]:
    """The members of a JSON list, one after the other."""
    at = _skipped(text, 0)
    if text[at : at + 1] != "[":
        raise _Bad("it must be a JSON list")
    at = _skipped(text, at + 1)
    following = text[at : at + 1]
    while following != "]":
        value, at = _value(text, at)
        yield value
        following = text[at : at + 1]
        if following not in (",", "]"):
            raise _Bad(_SYNTAX.format(at + 1))
        if following == ",":
            at = _skipped(text, at + 1)
    end = _skipped(text, at + 1)
    if end < len(text):
        raise _Bad(_SYNTAX.format(end + 1))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _Bad("it is not UTF-8") from error


def _skipped(text: str, at: int) -> int:
    match = _WHITESPACE.match(text, at)
    assert match is not None, "it matches nothing, too"
    return match.end()


def _value(text: str, at: int) -> tuple[object, int]:
    """And where what follows it stands."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _Bad(_SYNTAX.format(error.pos + 1)) from error
    except (RecursionError, ValueError) as error:
        raise error if isinstance(error, _Bad) else _Bad(_SYNTAX.format(at + 1)) from error
    return value, _skipped(text, end)


def _unique(members: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(members)
    if len(unique) < len(members):
        raise _Bad("it has a member twice")
    return unique


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _entry(value: object, unix_now: int) -> BlacklistEntry:
    members = _members(value, {"info_hash", "reason", "seconds_valid"})
    info_hash = members.get("info_hash")
    if not isinstance(info_hash, str):
        raise _Bad("info_hash must be a text of 40 hexadecimal digits")
    try:
        parsed = parse_info_hash(info_hash)
    except BadRequest as error:
        raise _Bad(f'info_hash is "{debug_escaped(info_hash[:60])}", not 40 hexadecimal digits') from error
    reason, seconds_valid = _details(members)
    return BlacklistEntry(parsed, reason, _end(seconds_valid, unix_now))


def _members(value: object, known: set[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _Bad("it must be a JSON object")
    for name in value:
        if name not in known:
            raise _Bad(
                f'it has a member "{debug_escaped(name[:60])}", but may have {", ".join(sorted(known))}'
            )
    return value


def _details(members: dict[str, object]) -> tuple[str | None, int | None]:
    reason, seconds_valid = members.get("reason"), members.get("seconds_valid")
    if not (reason is None or isinstance(reason, str)):
        raise _Bad("reason must be a text or null")
    if isinstance(reason, str):
        try:
            check_reason(reason)
        except BadReason as error:
            raise _Bad(f"reason {error}") from error
    if seconds_valid is not None and not (
        type(seconds_valid) is int and 1 <= seconds_valid <= LONGEST_VALIDITY
    ):
        raise _Bad(f"seconds_valid must be a whole number from 1 to {LONGEST_VALIDITY}, or null")
    return reason or None, seconds_valid


def _end(seconds_valid: int | None, unix_now: int) -> int | None:
    return None if seconds_valid is None else unix_now + seconds_valid
