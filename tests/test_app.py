import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from torrust_py import app
from torrust_py.core.swarms import PortableSwarms
from torrust_py.snapshots import SnapshotKeeper


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that does not answer until this is set."""
    answers = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: answers.wait())
    yield answers
    answers.set()


async def test_a_disk_that_does_not_answer_does_not_keep_the_stop(
    disk: threading.Event,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(app, "_LAST_WRITE", 0.05)
    keeper = SnapshotKeeper(
        str(tmp_path / "swarms.snapshot"),
        PortableSwarms(),
        unix_offset_ms=0,
        now_ms=lambda: 0,
        unix_now_ms=lambda: 0,
    )
    keeper.is_outdated = True
    await app._save_snapshot(keeper)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "The last snapshot is not written, an older one stays: it took over 0.05 s")
    ]
