"""The image that `scripts/container build` made, and containers of it, each in namespaces of its own."""

import contextlib
import ctypes
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

BUILT = Path(__file__).parents[2] / "build" / "container"
TOKEN = "TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN"
DRIVER = "TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__DATABASE__DRIVER"
OUTSIDE = "192.0.2.2"
"""An address of each container that is not of its loopback; see `run`."""
ETC = "/etc/torrust/tracker"
LIB = "/var/lib/torrust/tracker"
LOG = "/var/log/torrust/tracker"

_CLONE_NEWNET = 0x40000000


class Image:
    """The image, unpacked, and its base."""

    def __init__(self) -> None:
        self.root = (BUILT / "image").resolve(strict=True)
        self.base = (BUILT / "base").resolve(strict=True)
        self.config: dict[str, Any] = json.loads((BUILT / "image.json").read_text())["Docker"]["config"]

    @property
    def variables(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.config["Env"])


class Container:
    """A container that runs, and what it has printed; standard error is among it."""

    def __init__(
        self, image: Image, directory: Path, command: tuple[str, ...], *,
        variables: dict[str, str], volumes: dict[str, Path], user: str, read_only: bool,
    ) -> None:  # fmt: skip
        given = {**image.variables, "HOME": "/root" if user == "0:0" else "/", **variables}
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork"),
                *(str(Path(__file__).with_name("run")), str(image.root), str(directory), user),
                "yes" if read_only else "no",
                *(f"{host}:{volume}" for volume, host in volumes.items()),
                *("--", *(f"{name}={value}" for name, value in given.items())),
                *image.config["Entrypoint"],
                *(command or image.config["Cmd"]),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self._ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.output += line
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for_line(self, pattern: str, timeout: float = 20) -> str:
        """The first line that contains `pattern` (a regular expression)."""
        with self._news:
            self._news.wait_for(lambda: self._ended or re.search(pattern, self.output, re.MULTILINE), timeout)
        found = re.search(f"^.*(?:{pattern}).*$", self.output, re.MULTILINE)
        assert found, f"no line with {pattern!r} in:\n{self.output}"
        return found[0]

    def wait_until_it_serves(self) -> "Container":
        """Its services are started in order; this is the last."""
        self.wait_for_line("HEALTH CHECK API: Started on")
        return self

    @property
    def pid(self) -> int:
        """The process that is number 1 inside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            raise ProcessLookupError("it does not run yet, or not any more")
        return int(children[0])

    def wait(self, timeout: float = 20) -> int:
        """The exit status; all output is there then."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def stop(self) -> int:
        """As `docker stop`: SIGTERM, and 10 seconds."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(timeout=10)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def execute(self, *command: str) -> str:
        """As `docker exec`, by root: what it prints."""
        return self._run("--all", "--root", "--wd", "--", "/usr/bin/env", *command)

    def execute_outside(self, *command: str) -> str:
        """A program of the host in the network of the container."""
        return self._run("--net", "--", *command)

    def _run(self, *arguments: str) -> str:
        result = subprocess.run(
            ["nsenter", "--target", str(self.pid), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout
        return result.stdout

    def socket(self, kind: socket.SocketKind, host: str, port: int) -> socket.socket:
        """Connected to `host` as the container's network has it."""

        def make() -> socket.socket:
            with open(f"/proc/{self.pid}/ns/net") as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), _CLONE_NEWNET) == 0
            return socket.socket(socket.AF_INET, kind)

        with ThreadPoolExecutor(1) as thread:  # a namespace is a thread's, and ends with it
            made = thread.submit(make).result()
        try:
            made.settimeout(10)
            made.connect((host, port))
        except OSError:
            made.close()
            raise
        return made

    def get(self, port: int, path: str, host: str = OUTSIDE) -> tuple[int, bytes]:
        """Status and body."""
        with contextlib.closing(http.client.HTTPConnection(host)) as connection:
            connection.sock = self.socket(socket.SOCK_STREAM, host, port)
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()


Run = Callable[..., Container]


@pytest.fixture(scope="session")
def image() -> Image:
    if not os.environ.get("TORRUST_PY_SKIP_NOTHING"):
        pytest.skip("scripts/container builds the image and runs these")
    return Image()


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, Path]:
    """New directories of the host, which are root's, at the volumes of the image."""
    hosts = {ETC: tmp_path / "etc", LIB: tmp_path / "lib", LOG: tmp_path / "log"}
    for host in hosts.values():
        host.mkdir()
    return hosts


@contextlib.contextmanager
def running(image: Image, tmp_path: Path) -> Iterator[Run]:
    started: list[Container] = []

    def run(
        *command: str,
        volumes: dict[str, Path] | None = None,
        user: str = "0:0",
        read_only: bool = False,
        **variables: str,
    ) -> Container:
        directory = tmp_path / f"container-{len(started)}"
        directory.mkdir()
        container = Container(
            image, directory, command,
            variables=variables, volumes=volumes or {}, user=user, read_only=read_only,
        )  # fmt: skip
        started.append(container)
        return container

    try:
        yield run
    finally:
        for container in started:
            container.kill()


@pytest.fixture
def run(image: Image, tmp_path: Path) -> Iterator[Run]:
    """Starts containers as `docker run` does: a command, `volumes`, `--user`, `--read-only`, variables."""
    with running(image, tmp_path) as run:
        yield run


@pytest.fixture(scope="session")
def served(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One that was given an admin token and nothing else."""
    with running(image, tmp_path_factory.mktemp("served")) as run:
        yield run(**{TOKEN: "MyAccessToken"}).wait_until_it_serves()
