"""aria2 (Debian: aria2), driven by its command line and by signals."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.clients.clients import PORT, Task
from tests.clients.programs import Program, running

_OPTIONS = [
    "--no-conf=true",
    "--enable-dht=true",  # without it there are no UDP trackers; it knows no node to start from
    "--enable-dht6=false",
    "--enable-peer-exchange=false",
    "--bt-enable-lpd=false",
    "--check-integrity=true",  # a file that is there is read first, then seeded
    "--seed-ratio=0.0",  # for ever
    "--file-allocation=none",
    "--log=-",
    "--log-level=debug",
    "--console-log-level=warn",
    "--summary-interval=0",
    "--show-console-readout=false",
]


class Aria2:
    def __init__(self, program: Program) -> None:
        self.program = program

    def announce(self) -> None:
        """It announces once an interval."""

    def leave(self) -> None:
        self.program.signal(signal.SIGINT)  # at SIGTERM it does not send `stopped`


class Aria2Type:
    def missing(self) -> str | None:
        return None if shutil.which("aria2c") else "aria2c is missing (Debian: aria2)"

    @contextmanager
    def share(self, task: Task) -> Iterator[Aria2]:
        metainfo = task.directory / "it.torrent"
        metainfo.write_bytes(task.metainfo)
        where = [
            f"--dir={task.directory}",
            f"--dht-file-path={task.directory / 'dht.dat'}",
            f"--interface={task.address}",
            f"--listen-port={PORT}",
            f"--dht-listen-port={PORT}",
        ]
        command = ["aria2c", *_OPTIONS, *where, str(metainfo)]
        with running(command, log=task.directory / "aria2.log") as program:
            yield Aria2(program)
