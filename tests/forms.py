"""The two forms of what the data plane is made of, for tests that hold for both."""

import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from torrust_py.core.blacklist import Blacklist
from torrust_py.core.database import BlacklistEntry
from torrust_py.core.statistics import PortableStatistics, Statistics
from torrust_py.core.swarms import PortableSwarms, Random, Swarms
from torrust_py.core.types import InfoHash
from torrust_py.core.whitelist import PortableWhitelist, Whitelist
from torrust_py.udp import ConnectionIds, PortableConnectionIds

FORMS = ["portable", "native"]


def native(module: str) -> ModuleType:
    """A module of the native form; where it is not built, its tests are skipped, unless nothing may be."""
    try:
        return import_module(f"torrust_py.native.{module}")
    except ImportError as error:
        if os.environ.get("TORRUST_PY_SKIP_NOTHING"):
            raise
        pytest.skip(f"the native form is not built: {error}")


def make_swarms(form: str) -> Callable[..., Swarms]:
    """Makes stores, by the options of the portable form."""
    if form == "portable":
        return PortableSwarms
    made = native("swarms").NativeSwarms

    def make(*, random: Random = random.random, **options: Any) -> Swarms:
        def random_bytes(count: int) -> bytes:
            return bytes(int(random() * 256) for _ in range(count))

        return made(random=random_bytes, **options)  # type: ignore[no-any-return]  # imported by its name

    return make


def make_whitelist(form: str) -> Whitelist:
    if form == "portable":
        return PortableWhitelist()
    return native("whitelist").NativeWhitelist()  # type: ignore[no-any-return]  # as above


class _KeptTable:
    """A table that takes everything, and of which nothing is read."""

    async def load_blacklist(self) -> AsyncIterator[Sequence[BlacklistEntry]]:
        yield []

    async def add_to_blacklist(self, entries: Sequence[BlacklistEntry]) -> None:
        pass

    async def remove_from_blacklist(self, info_hash: InfoHash) -> None:
        pass

    async def restore_in_blacklist(
        self, info_hashes: Sequence[InfoHash], kept: Sequence[BlacklistEntry]
    ) -> None:
        pass

    async def remove_expired_from_blacklist(self, unix_now: int) -> None:
        pass


def make_blacklist(refused: Whitelist, swarms: Swarms) -> Blacklist:
    """Without a database. `refused` is what a plane looks into."""
    return Blacklist(_KeptTable(), refused, swarms)


def make_statistics(form: str) -> Statistics:
    if form == "portable":
        return PortableStatistics()
    return native("statistics").NativeStatistics()  # type: ignore[no-any-return]  # as above


def make_connection_ids(form: str, secret: bytes, *, unix_offset_ms: int) -> ConnectionIds:
    if form == "portable":
        return PortableConnectionIds(secret, unix_offset_ms=unix_offset_ms)
    made = native("connection_ids").NativeConnectionIds
    return made(secret, unix_offset_ms=unix_offset_ms)  # type: ignore[no-any-return]  # as above
