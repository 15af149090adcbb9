"""`torrust-tracker snapshot`: what a file holds that the tracker keeps its swarms in."""

import datetime
import os
import sys
import time
from dataclasses import dataclass
from typing import NoReturn

import click

from torrust_py.core.records import BadRecords, PackedPeers, parse_records
from torrust_py.snapshots import VERSION, BadSnapshot, SnapshotReader

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@click.group()
def snapshot() -> None:
    """Look at the file that the swarms are kept in across restarts (core.snapshot.path)."""


@snapshot.command()
@click.argument("file")
def info(file: str) -> None:
    """Print what is in FILE: when it was written, torrents and peers.

    The whole of it is read and checked. The exit status is 1 if it is no snapshot, or not a whole one.
    """
    try:
        contents, size = _read(file), os.path.getsize(file)
    except (BadSnapshot, BadRecords) as error:
        _fail(f"the snapshot {file} {error}")
    except OSError as error:
        _fail(f"the snapshot {file} cannot be read: {error.strerror}")
    click.echo(_described(file, size, contents, now=time.time()))


def _fail(reason: str) -> NoReturn:
    print(f"torrust-tracker: {reason}", file=sys.stderr, flush=True)
    sys.exit(1)


@dataclass(slots=True)
class _Contents:
    written_ms: int = 0
    torrents: int = 0
    completed: int = 0
    ipv4: int = 0
    ipv6: int = 0
    seeders: int = 0

    def add(self, half: PackedPeers) -> int:
        """How many peers it has."""
        self.seeders += half.seeders
        return half.total


def _read(file: str) -> _Contents:
    contents = _Contents()
    with open(file, "rb") as opened:
        reader = SnapshotReader(opened)
        contents.written_ms = reader.header.written_ms
        for records in reader.blocks():
            for record in parse_records(records):
                if record.is_first_part:
                    contents.torrents += 1
                    contents.completed += record.completed
                contents.ipv4 += contents.add(record.ipv4)
                contents.ipv6 += contents.add(record.ipv6)
    return contents


def _described(file: str, size: int, contents: _Contents, *, now: float) -> str:
    written = datetime.datetime.fromtimestamp(contents.written_ms / 1000, datetime.UTC)
    peers = contents.ipv4 + contents.ipv6
    lines = {
        "File": f"{file}, {size:,} bytes, format version {VERSION}, whole: all checksums are right",
        "Written": f"{written:%Y-%m-%d %H:%M:%S} UTC, {_age(now - contents.written_ms / 1000)}",
        "Torrents": f"{contents.torrents:,}, finished {contents.completed:,} times",
        "Peers": f"{peers:,}: {contents.seeders:,} seeders, {peers - contents.seeders:,} leechers; "
        f"{contents.ipv4:,} over IPv4, {contents.ipv6:,} over IPv6",
    }
    return "\n".join(f"{name + ':':<10}{text}" for name, text in lines.items())


def _age(seconds: float) -> str:
    if seconds < 0:
        return "in the future"
    for length, unit in _UNITS:
        if count := int(seconds) // length:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
