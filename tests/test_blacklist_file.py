import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from tests.forms import make_blacklist, make_swarms, make_whitelist
from torrust_py.blacklist_file import BlacklistFile
from torrust_py.core.blacklist import Blacklist
from torrust_py.core.types import InfoHash
from torrust_py.listeners import StartError

HASH = "05" * 20
INFO_HASH = InfoHash(b"\5" * 20)


@pytest.fixture
def blacklist(form: str) -> Blacklist:
    return make_blacklist(make_whitelist(form), make_swarms(form)())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blacklist.txt"


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def make(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (b"", 0),
        (b"\n\r\n  \n# \xff\n#" + b"05" * 20, 0),
        (b"05" * 20, 1),
        (b"\xef\xbb\xbf\t" + b"AB" * 20 + b"#why\r\n" + b"ab" * 20 + b"\n\n", 1),
        (b"".join(b"%040x # some comment\n" % number for number in range(3000)), 3000),
    ],
    ids=["empty", "comments", "one", "twice", "many"],
)
async def test_a_file_has_an_info_hash_a_line(
    path: Path, blacklist: Blacklist, content: bytes, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, content)
    with caplog.at_level(logging.INFO):
        await BlacklistFile(str(path), blacklist).load()
    assert len(blacklist) == count
    assert caplog.messages == [f"Blacklist: {count} torrents of {path}"]


@pytest.mark.parametrize(
    "line", ["x", "05" * 19, "05" * 21, "0 " * 20, f"{HASH} why", "\u0660" * 20, "é" * 20]
)
@pytest.mark.parametrize("before", [0, 1, 2000])
async def test_a_bad_line_is_named_and_changes_nothing(
    path: Path, blacklist: Blacklist, line: str, before: int
) -> None:
    write(path, f"{HASH}\n" * before + f"{line}\n{HASH}")
    with pytest.raises(StartError, match=rf"blacklist\.txt .* has in line {before + 1} no info hash: "):
        await BlacklistFile(str(path), blacklist).load()
    assert len(blacklist) == 0


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe"])
async def test_what_cannot_be_read_is_named(path: Path, blacklist: Blacklist, kind: str) -> None:
    make(path, kind)
    with pytest.raises(StartError, match=r"cannot read the blacklist .*blacklist\.txt: .*; make it a file"):
        await BlacklistFile(str(path), blacklist).load()


async def test_a_file_that_cannot_be_used_any_longer_is_a_warning(
    path: Path, blacklist: Blacklist, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, HASH)
    file = BlacklistFile(str(path), blacklist)
    await file.load()
    write(path, "nonsense")
    await file.refresh()
    assert INFO_HASH in blacklist
    assert caplog.records[-1].levelno == logging.WARNING
    assert caplog.messages[-1].startswith(
        "A changed blacklist is not taken up, the old one stays: the blacklist "
    )
    write(path, "")
    await file.refresh()
    assert INFO_HASH not in blacklist


@pytest.mark.slow
async def test_the_loop_turns_while_a_long_file_is_read(path: Path, blacklist: Blacklist) -> None:
    write(path, "".join(f"{number:040x}\n" for number in range(100_000)))
    gaps: list[float] = []

    async def turn() -> None:
        while True:
            before = time.thread_time()  # of this thread: other processes do not count
            await asyncio.sleep(0)
            gaps.append(time.thread_time() - before)

    turning = asyncio.create_task(turn())
    await BlacklistFile(str(path), blacklist).load()
    await BlacklistFile(str(path), blacklist).load()
    turning.cancel()
    assert len(gaps) > 500
    assert sorted(gaps)[-5] < 0.02
