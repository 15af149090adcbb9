"""Pages of what is many: `offset` and `limit`, and the lowest of a set in their order.

Nothing here stops the loop: it turns after each step of the set, and after each slice of what is made of it.
So a body may mix moments.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from struct import Struct
from typing import NamedTuple, TypeVar

from torrust_py.api.responses import BadRequest, parse_unsigned
from torrust_py.core.types import InfoHash

DEFAULT_LIMIT = 4000

_FEW = 4096
"""Up to so many of the lowest are found without sorting all: the default page, and as many as a step of the
sets has. With more, one merge with such a step takes longer than to sort it.
"""

ITEMS_A_SLICE = 256
_only_member = itemgetter(0)

Name = TypeVar("Name", InfoHash, bytes)
"""What a set is sorted by; all of one size."""


class Page(NamedTuple):
    offset: int
    limit: int


def page_of(query: list[tuple[str, str]]) -> Page:
    """Raises BadRequest."""
    return Page(_number(query, "offset", 0), _number(query, "limit", DEFAULT_LIMIT))


def _number(query: list[tuple[str, str]], name: str, default: int) -> int:
    """A number of 32 bits; empty is absent. Raises BadRequest."""
    values = [value for key, value in query if key == name]
    if len(values) > 1:
        raise BadRequest("Failed to deserialize query string: unsupported value")
    if not values or not values[0]:
        return default
    try:
        return parse_unsigned(values[0], bits=32)
    except ValueError as error:
        raise BadRequest(f"Failed to deserialize query string: {error}") from error


async def pieces(
    steps: Iterable[list[Name]], page: Page, items: Callable[[Sequence[Name]], bytes]
) -> AsyncGenerator[bytes, None]:
    """The JSON list of a page, in the order of the names. `items` makes the objects of some of them, with
    commas in between; it may leave out what is gone.
    """
    yield b"["
    separator, passed = b"", 0
    end = page.offset + page.limit if page.limit else 0
    async for names in lowest(steps, end):
        made = items(names[max(0, page.offset - passed) :])
        passed += len(names)
        if made:
            yield separator + made
            separator = b","
    yield b"]"


async def lowest(steps: Iterable[list[Name]], count: int) -> AsyncGenerator[list[Name], None]:
    """The `count` lowest names of all steps, in order and in slices."""
    if count <= _FEW:
        few = await _few_lowest(steps, count) if count else []
        slices = iter([few[at : at + ITEMS_A_SLICE] for at in range(0, len(few), ITEMS_A_SLICE)])
    else:
        slices = _sliced(islice(_unique(heapq.merge(*await _sorted_runs(steps))), count))
    for names in slices:
        yield names
        await asyncio.sleep(0)


async def _few_lowest(steps: Iterable[list[Name]], count: int) -> list[Name]:
    found: list[Name] = []
    for step in steps:
        bound = found[-1] if found and len(found) == count else None
        candidates = [name for name in step if bound is None or name < bound]
        if candidates:
            candidates.sort()
            found = list(dict.fromkeys(sorted(found + candidates)))[:count]
        await asyncio.sleep(0)
    return found


async def _sorted_runs(steps: Iterable[list[Name]]) -> list[Iterator[Name]]:
    """Packed, because of a million objects in lists the garbage collector would stop the loop."""
    runs: list[Iterator[Name]] = []
    for step in steps:
        if step:
            packed = b"".join(sorted(step))
            runs.append(map(_only_member, Struct(f"{len(step[0])}s").iter_unpack(packed)))
        await asyncio.sleep(0)
    return runs


def _unique(ordered: Iterable[Name]) -> Iterator[Name]:
    last = None
    for name in ordered:
        if name != last:
            yield name
        last = name


def _sliced(names: Iterator[Name]) -> Iterator[list[Name]]:
    while part := list(islice(names, ITEMS_A_SLICE)):
        yield part
