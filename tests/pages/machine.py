"""A machine to follow a page on: systemd as process 1 over the files of this host, in namespaces of its own.

What is written there is gone with it, and its ports are its own. Its network has no way out; a command that
downloads is run in the network of this host.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
HOME = "/home/operator"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_CGROUPS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
_BOOT = 30.0  # seconds
_PAUSE = 0.05
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_OF_THE_HOST = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "PIP_", "REQUESTS_CA_BUNDLE")

_STORAGE = """[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
[storage.options]
additionalimagestores = ["/srv/images"]
"""
_DOCKER = """#!/bin/bash
set -euo pipefail
case $1 in
build) exec podman image exists torrust-tracker:release ;; # scripts/container has built it
compose)
    sed '/^name:/d' compose.yaml >/tmp/compose.yaml # which is younger than docker-compose 1
    words=("${@:2}")
    name=$(sed -n 's/^name: //p' compose.yaml)
    export DOCKER_HOST=unix:///run/podman/podman.sock
    words=("${words[@]/--build/--no-build}")
    exec docker-compose --project-name "$name" --project-directory . --file /tmp/compose.yaml "${words[@]}"
    ;;
*) exec podman "$@" ;;
esac
"""


class Ended(NamedTuple):
    """What a command that has ended leaves."""

    status: int
    output: str
    """Standard output and error, as a terminal shows them."""


class Machine:
    """Runs until it is closed."""

    def __init__(self, directory: Path) -> None:
        self._cgroup = _own_cgroup(directory.name)
        self._started = 0
        self._log = directory / "boot.log"
        log = self._log.open("wb")
        self._process = subprocess.Popen(
            [
                *("sh", "-euc", 'echo $$ >"$0/cgroup.procs"; exec "$@"', str(self._cgroup)),
                *("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"),
                *("--fork", "--kill-child"),
                *(str(Path(__file__).with_name("boot")), str(directory), str(ROOT)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()

    def wait_until_it_runs(self) -> "Machine":
        until = time.monotonic() + _BOOT
        while True:
            with contextlib.suppress(LookupError):
                state = self._enter("systemctl", "is-system-running").output.strip()
                if state in ("running", "degraded"):
                    return self
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"systemd does not boot: {self._log.read_text()}")
            time.sleep(_PAUSE)

    @property
    def pid(self) -> int:
        """Of systemd. Raises LookupError while there is none."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            raise LookupError("it does not run yet")
        return int(children[0])

    def path(self, inside: str) -> Path:
        """A file of the machine, as this host sees it."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def run(
        self, command: str, *, directory: str = HOME, variables: Mapping[str, str] | None = None
    ) -> Ended:
        """A command of the shell, by root."""
        given = _given(variables)
        return self._enter(
            "systemd-run", "--quiet", "--pipe", "--wait", "--collect",
            "--property=KillMode=process", f"--working-directory={directory}",
            *(f"--setenv={name}={value}" for name, value in given.items()), "bash", "-c", command,
        )  # fmt: skip

    def run_online(
        self, command: str, *, directory: str = HOME, variables: Mapping[str, str] | None = None
    ) -> Ended:
        """The same in the network of this host, with what it needs to reach the registries of packages."""
        given = {name: value for name, value in os.environ.items() if name.upper().startswith(_OF_THE_HOST)}
        given |= _given(variables)
        return self._enter(
            "env", "-i", "-C", directory, *(f"{name}={value}" for name, value in given.items()),
            "bash", "-c", command, network=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def serving(
        self,
        command: str,
        *,
        directory: str = HOME,
        variables: Mapping[str, str] | None = None,
        until: str = "HEALTH CHECK API: Started on",
        timeout: float = 30,
    ) -> Iterator[Path]:
        """Its log, once that has this line; afterwards it gets a Ctrl-C, and must end with status 0."""
        self._started += 1
        unit, log = f"followed-{self._started}", f"/run/followed-{self._started}.log"
        begun = self._enter(
            "systemd-run", "--quiet", f"--unit={unit}", f"--working-directory={directory}",
            f"--property=StandardOutput=file:{log}", f"--property=StandardError=append:{log}",
            "--property=RemainAfterExit=yes", "--property=ExitType=cgroup",
            *(f"--setenv={name}={value}" for name, value in _given(variables).items()), "bash", "-c", command,
        )  # fmt: skip
        assert begun.status == 0, begun.output
        self._enter("touch", log)  # it may come to be a moment later
        wait_for(lambda: until in self.path(log).read_text(), timeout, lambda: self.path(log).read_text())
        yield self.path(log)
        self._enter("systemctl", "kill", "--signal=INT", unit)
        wait_for(
            lambda: "ActiveState=active\nSubState=exited" in self._states(unit),
            10,
            lambda: self._states(unit),
        )
        assert "Result=success" in self._states(unit), self.path(log).read_text()

    def write(self, inside: str, text: str) -> None:
        """A file that may be run."""
        file = self.path(inside)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def clone(self, name: str) -> str:
        """A clone of the checkout in the home directory, with what was not committed yet; its path."""
        done = self.run(
            f"git clone --quiet /srv/checkout {name} && cd {name} &&"
            " git -C /srv/checkout diff HEAD --binary | git apply --allow-empty"
        )
        assert done.status == 0, done.output
        return f"{HOME}/{name}"

    def udp_socket(self, host: str, port: int) -> socket.socket:
        """One of the network of the machine."""

        def make() -> socket.socket:
            with open(f"/proc/{self.pid}/ns/net") as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), _CLONE_NEWNET) == 0
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        with ThreadPoolExecutor(1) as thread:  # a namespace is a thread's, and ends with it
            made = thread.submit(make).result()
        made.settimeout(10)
        made.connect((host, port))
        return made

    def have_containers(self) -> None:
        """`docker` is podman, with the images that scripts/container has built and one of MariaDB.

        Here is no daemon of Docker, and no registry of images. `docker compose` is Debian's docker-compose,
        which speaks to podman's socket; the image is there already when it is to build one.
        """
        limits = [
            f'"{name}={hard}:{hard}"'
            for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
            for hard in [resource.getrlimit(number)[1]]
        ]
        self.write("/etc/containers/storage.conf", _STORAGE)
        self.write(
            "/etc/containers/containers.conf",
            f'[containers]\ncgroups = "disabled"\ndefault_ulimits = [{", ".join(limits)}]\n',
        )
        self.write("/etc/containers/registries.conf", "")
        self.write("/usr/local/bin/docker", _DOCKER)
        made = self.run("/srv/checkout/tests/pages/mariadb-image docker.io/library/mariadb:11.4")
        assert made.status == 0, made.output
        assert self.run("systemctl start podman.socket").status == 0

    def _states(self, unit: str) -> str:
        return self._enter("systemctl", "show", "-pResult,ActiveState,SubState", unit).output

    def _enter(self, *command: str, network: bool = True) -> Ended:
        """A program among those of the machine."""
        spaces = ["--mount", "--uts", "--ipc", "--pid", *(["--net"] if network else [])]
        done = subprocess.run(
            ["nsenter", "--target", str(self.pid), *spaces, "--root", "--wd", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Ended(done.returncode, done.stdout)

    def close(self) -> None:
        with contextlib.suppress(LookupError, ProcessLookupError, FileNotFoundError):
            os.kill(self.pid, signal.SIGKILL)  # and with process 1 all others
        self._process.wait(30)
        for group in sorted(self._cgroup.rglob("*/"), reverse=True):
            group.rmdir()
        self._cgroup.rmdir()


def wait_for(condition: Callable[[], bool], timeout: float, state: Callable[[], str]) -> None:
    """Fails with the state if the condition does not come true."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, state()
        time.sleep(_PAUSE)


def _given(variables: Mapping[str, str] | None) -> dict[str, str]:
    return {"HOME": HOME, "PATH": PATH, "LC_ALL": "C.UTF-8", **(variables or {})}


def _own_cgroup(name: str) -> Path:
    """Where systemd keeps its own."""
    for base in map(Path, _CGROUPS):
        if (base / "cgroup.controllers").exists():
            made = base / f"torrust-{os.getpid()}-{name}"
            made.mkdir()
            return made
    raise AssertionError("this kernel has no cgroup2 hierarchy at /sys/fs/cgroup")
