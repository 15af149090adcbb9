"""Our tracker as a process, and its REST API."""

import http.client
import json
import os
import re
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.clients.programs import Program, running, wait_until

INTERVAL = 5  # seconds between the announces of a client

_TOKEN = "MyAccessToken"
_START = 20.0  # seconds
_STOP = 10.0  # seconds

_CONFIG = """
[metadata]
schema_version = "2.0.0"

[logging]
threshold = "info"

[core]
listed = false
private = false

[core.announce_policy]
interval = {interval}
interval_min = {interval}

[core.database]
driver = "sqlite3"
path = "{directory}/tracker.db"

[core.tracker_policy]
persistent_torrent_completed_stat = true

[[udp_trackers]]
bind_address = "[::]:{ports.udp}"

[[http_trackers]]
bind_address = "[::]:{ports.http}"

[http_api]
bind_address = "[::]:{ports.api}"

[http_api.access_tokens]
admin = "{token}"

[health_check_api]
bind_address = "127.0.0.1:0"
"""

_STARTED = re.compile(
    r"UDP TRACKER: Started on: udp://\[::\]:(?P<udp>\d+)$.*"
    r"HTTP TRACKER: Started on: http://\[::\]:(?P<http>\d+)$.*"
    r" API: Started on http://\[::\]:(?P<api>\d+)$.*"
    r"HEALTH CHECK API: Started on: ",
    re.DOTALL | re.MULTILINE,
)


class Ports(NamedTuple):
    udp: int = 0
    http: int = 0
    api: int = 0


class Swarm(NamedTuple):
    """What the API shows of a torrent; a peer is `address:port`."""

    seeders: set[str]
    leechers: set[str]
    completed: int


class Tracker:
    """The daemon, which serves both families at each socket; `address` is where the API is asked."""

    def __init__(self, directory: Path, address: str) -> None:
        self._directory = directory
        self._address = address
        self._ports = Ports()
        self._starts = 0
        self._process = ExitStack()
        self._program: Program

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, traceback)

    def restart(self) -> None:
        """Stop it cleanly, and start it again with the same database, at the same ports."""
        self._program.signal(signal.SIGTERM)
        assert self._program.wait(within=_STOP) == 0
        self._process.close()
        self._start()

    def announce_url(self, protocol: str, address: str) -> str:
        """For `protocol` `udp` or `http`."""
        port = self._ports.udp if protocol == "udp" else self._ports.http
        host = f"[{address}]" if ":" in address else address
        return f"{protocol}://{host}:{port}/announce"

    def statistics(self) -> dict[str, int]:
        """The counters of `/stats`, since the start."""
        statistics = self._get("stats")
        assert isinstance(statistics, dict)
        return statistics

    def swarm(self, info_hash: str) -> Swarm:
        torrent = self._get(f"torrent/{info_hash}")
        if torrent == "torrent not known":
            return Swarm(set(), set(), 0)
        assert isinstance(torrent, dict)
        peers = torrent["peers"]
        swarm = Swarm(
            seeders={peer["peer_addr"] for peer in peers if peer["left"] == 0},
            leechers={peer["peer_addr"] for peer in peers if peer["left"] != 0},
            completed=torrent["completed"],
        )
        assert (len(swarm.seeders), len(swarm.leechers)) == (torrent["seeders"], torrent["leechers"])
        return swarm

    def _start(self) -> None:
        self._starts += 1
        config = _CONFIG.format(interval=INTERVAL, directory=self._directory, ports=self._ports, token=_TOKEN)
        program = self._process.enter_context(
            running(
                [sys.executable, "-m", "torrust_py"],
                log=self._directory / f"tracker-{self._starts}.log",
                environment={"TORRUST_TRACKER_CONFIG_TOML": config, **_form_of_the_data_plane()},
            )
        )
        wait_until(
            lambda: program.has_ended() or _STARTED.search(program.log()) is not None,
            within=_START,
            what="the tracker has started",
        )
        started = _STARTED.search(program.log())
        assert started is not None, "the tracker did not start"
        self._program = program
        self._ports = Ports(**{service: int(port) for service, port in started.groupdict().items()})

    def _get(self, path: str) -> object:
        connection = http.client.HTTPConnection(self._address, self._ports.api, timeout=5)
        try:
            connection.request("GET", f"/api/v1/{path}?token={_TOKEN}")
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, body
        return json.loads(body)


def _form_of_the_data_plane() -> dict[str, str]:
    """The one that the environment of the tests asks for, if it does."""
    name = "TORRUST_TRACKER_DATA_PLANE"
    return {name: os.environ[name]} if name in os.environ else {}
