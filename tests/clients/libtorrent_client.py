"""libtorrent (PyPI: libtorrent), as a process of its own so that it lives in the private network."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.clients import PORT, Task
from tests.clients.programs import Program, running

_SESSION = Path(__file__).with_name("libtorrent_session.py")


class Libtorrent:
    def __init__(self, program: Program) -> None:
        self.program = program

    def announce(self) -> None:
        self.program.tell("announce")  # on its own it announces every 5 minutes at most

    def leave(self) -> None:
        self.program.tell("leave")


class LibtorrentType:
    def missing(self) -> str | None:
        found = importlib.util.find_spec("libtorrent") is not None
        return None if found else "the module libtorrent is missing (PyPI: libtorrent)"

    @contextmanager
    def share(self, task: Task) -> Iterator[Libtorrent]:
        metainfo = task.directory / "it.torrent"
        metainfo.write_bytes(task.metainfo)
        host = f"[{task.address}]" if ":" in task.address else task.address
        command = [sys.executable, str(_SESSION), str(metainfo), str(task.directory), f"{host}:{PORT}"]
        with running(command, log=task.directory / "libtorrent.log") as program:
            yield Libtorrent(program)
