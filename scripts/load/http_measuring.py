"""HTTP load on one server: by wrk over connections that stay, else by http_load."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from measuring import DataSet, LoadGenerator, Window, call, check_filled, info_hashes
from servers import PROGRAMS, Server, ServerFailed, Unavailable, installed

GENERATOR = PROGRAMS / "http_load"

_SCRIPT = Path(__file__).with_name("announce.lua")
_KEPT = 32  # connections of wrk
_SECONDS = 2  # wrk knows whole seconds only
_OUTSTANDING = 32  # connections under way; `openssl s_server` lets no more wait
_PACED_OUTSTANDING = 1024  # likewise, where they come at their own pace
_RATE = 8000  # connections a second


class Kind(Enum):
    """How announces come."""

    KEPT_ALIVE = "kept alive"
    EACH = "one connection each"
    PACED = f"one connection each, {_RATE:,} a second"
    NEW_TLS = "a new TLS 1.3 connection each"
    RESUMED_TLS = "a resumed TLS 1.3 session each"


_GENERATOR_WORDS: dict[Kind, tuple[str, ...]] = {
    Kind.EACH: ("each",),
    Kind.PACED: ("pace", "--rate", str(_RATE), "--outstanding", str(_PACED_OUTSTANDING)),
    Kind.NEW_TLS: ("each", "--tls"),
    Kind.RESUMED_TLS: ("each", "--resume"),
}


class Target(NamedTuple):
    """A server, and how it is to be asked."""

    server: Server
    path: str = "/announce"
    forwarded: bool = False
    """The peers' addresses are in X-Forwarded-For."""
    gives_pages: bool = False
    """It is no tracker, and answers with pages."""

    def words(self) -> list[str]:
        switches = {"--forwarded": self.forwarded, "--page": self.gives_pages}
        return ["--path", self.path, *(name for name, is_on in switches.items() if is_on)]


def with_new_key(server: Server) -> Target:
    """A private tracker, which is given a key."""
    added: dict[str, object] = json.loads(call(server, "/api/v1/key/86400", method="POST"))
    return Target(server, path=f"/announce/{added['key']}")


@dataclass(frozen=True, slots=True)
class HttpLoad:
    """Announces of the peers of `data`; its files are in `directory`."""

    load: LoadGenerator
    data: DataSet
    directory: Path

    def write_info_hashes(self) -> Path:
        listed = self.directory / "http-hashes.txt"
        listed.write_text(info_hashes(self.data))
        return listed

    def fill(self, target: Target) -> None:
        """Announce every peer. Raises ServerFailed if not all are there afterwards."""
        self._run(target, ["fill"])
        if target.server.api_port:
            check_filled(target.server, self.data)

    def run(self, target: Target, kind: Kind) -> Window:
        """Raises Unavailable without wrk, where that is needed."""
        if kind is Kind.KEPT_ALIVE:
            return self._run_wrk(target)
        return self._run(target, _GENERATOR_WORDS[kind])

    @contextlib.contextmanager
    def holding(self, target: Target, connections: int, *, tls: bool) -> Iterator[None]:
        """So many connections have announced, and stay. Raises ServerFailed if one does not."""
        words = ["hold", "--connections", str(connections), *(["--tls"] if tls else [])]
        with subprocess.Popen(
            self._command(target, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None, "it is a pipe"
            try:
                if process.stdout.readline() != "held\n":
                    raise ServerFailed(f"{target.server.name} does not hold connections (see above)")
                yield
                window = self.load.note(target.server, process.communicate()[0])
            finally:
                process.kill()
        if window.answered < connections or window.lost:
            raise ServerFailed(f"{target.server.name} does not hold {connections:,} connections: {window}")

    def _run(self, target: Target, words: Sequence[str]) -> Window:
        done = subprocess.run(self._command(target, words), stdout=subprocess.PIPE, text=True, check=False)
        return self.load.note(target.server, done.stdout)

    def _command(self, target: Target, words: Sequence[str]) -> list[str]:
        server = target.server
        speaks_tls = not {"--tls", "--resume"}.isdisjoint(words)
        where = ["--port", str(server.tls_port if speaks_tls else server.port), "--server", str(server.pid)]
        outstanding = ["--outstanding", str(_OUTSTANDING)]
        what, *options = words
        command = [str(GENERATOR), what, *where, *outstanding, *options, *target.words(), *self.data.words()]
        return ["taskset", "--cpu-list", str(self.load.core), *command]

    def _run_wrk(self, target: Target) -> Window:
        server = target.server
        url = f"http://127.0.0.1:{server.port}"
        options = ["-t", "1", "-c", str(_KEPT), "-d", f"{_SECONDS}s", "-s", str(_SCRIPT)]
        command = ["taskset", "--cpu-list", str(self.load.core), installed("wrk"), *options, url]
        environment = {**os.environ, "REQUESTS": str(self._requests(target))}
        before = server.cpu_ns()
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        server_ns = server.cpu_ns() - before
        lines = done.stdout.splitlines()
        if done.returncode or not lines:
            raise ServerFailed(f"wrk failed on {server.name}: {done.stdout}")
        return self.load.note(server, json.dumps({**json.loads(lines[-1]), "server_ns": server_ns}))

    def _requests(self, target: Target) -> Path:
        """The file of the requests to this server; made once."""
        file = self.directory / f"{target.server.name} requests.txt"
        if not file.exists():
            with file.open("wb") as out:
                command = [str(GENERATOR), "list", "--port", str(target.server.port)]
                subprocess.run([*command, *target.words(), *self.data.words()], stdout=out, check=True)
        return file


def check_generator() -> None:
    """Raises Unavailable where it could not be compiled."""
    if not GENERATOR.exists():
        raise Unavailable("scripts/load/http_load.c needs OpenSSL's headers: apt-get install libssl-dev")
