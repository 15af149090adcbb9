import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.snapshots.format import (
    LARGEST_BLOCK,
    BadSnapshot,
    Header,
    SnapshotEncoder,
    SnapshotReader,
    Totals,
)

HEADER = Header(written_ms=1_764_000_000_123, origin=1_763_900_000)
BLOCKS = [b"one", b"another" * 100, b"\0"]
TOTALS = Totals(torrents=3, peers=2**40)


def snapshot(blocks: list[bytes] = BLOCKS, header: Header = HEADER) -> bytes:
    encoder = SnapshotEncoder()
    return b"".join([encoder.header(header), *map(encoder.block, blocks), encoder.end(TOTALS)])


def read(file: bytes) -> tuple[Header, list[bytes], Totals]:
    reader = SnapshotReader(io.BytesIO(file))
    blocks = [*reader.blocks()]
    return reader.header, blocks, reader.totals


def complaint(file: bytes) -> str:
    with pytest.raises(BadSnapshot) as raised:
        read(file)
    return str(raised.value)


def test_a_snapshot_has_its_layout() -> None:
    file = snapshot([b"abc"], Header(written_ms=5, origin=3))
    assert file[:8] == b"\x89swarms\n"
    assert file[8:28] == bytes([1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    assert file[32:39] == b"\3\0\0\0abc"
    assert file[43:63] == bytes(4) + (3).to_bytes(8, "little") + (2**40).to_bytes(8, "little")
    checked = b""
    for start, end in ((0, 28), (32, 39), (43, 63)):
        checked += file[start:end]
        assert file[end : end + 4] == zlib.crc32(checked).to_bytes(4, "little")
    assert len(file) == 67


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_a_snapshot_is_read_as_it_was_written(blocks: list[bytes]) -> None:
    assert read(snapshot(blocks)) == (HEADER, blocks, TOTALS)


def test_a_snapshot_that_is_cut_off_is_none() -> None:
    file = snapshot()
    assert {complaint(file[:at]) for at in range(len(file))} == {"is cut off"}


@pytest.mark.parametrize("change", [1, 128, 255])
def test_any_byte_that_has_changed_is_seen(change: int) -> None:
    file = bytearray(snapshot())
    for at in range(len(file)):
        file[at] ^= change
        assert complaint(bytes(file))
        file[at] ^= change


@given(st.binary(max_size=100))
def test_any_file_is_read_or_refused(file: bytes) -> None:
    assert complaint(file)


def test_a_block_that_is_missing_or_comes_twice_is_seen() -> None:
    file = snapshot()
    second = 32 + 4 + 3 + 4
    end = second + 4 + 700 + 4
    assert complaint(file[:second] + file[end:]) == "is damaged"
    assert complaint(file[:end] + file[second:]) == "is damaged"


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (b"SQLite format 3\0" + bytes(100), "is no snapshot"),
        (bytes(100), "is no snapshot"),
        (snapshot() + b"\0", "is damaged: it goes on after its end"),
        (b"\x89swarms\n\2", "is cut off"),
        (b"\x89swarms\n\2\0\0\0", "has version 2 of its format, and this tracker reads 1"),
        (snapshot(header=Header(0, -1)), "is damaged"),
        (snapshot(header=Header(0, 2**40)), "is damaged"),
        (snapshot(header=Header(-1, 0)), "is damaged"),
        (snapshot()[:32] + (LARGEST_BLOCK + 1).to_bytes(4, "little"), "is damaged"),
    ],
)
def test_what_is_wrong_is_said(file: bytes, what: str) -> None:
    assert complaint(file) == what
