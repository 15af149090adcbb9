"""Machines to follow pages on."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.pages.machine import Machine
from tests.skips import do_without


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A new one, which runs."""
    if os.geteuid() != 0:
        do_without("a machine of its own needs root")
    for program in ("/usr/lib/systemd/systemd", "unshare", "ip"):
        if shutil.which(program) is None:
            do_without(f"{program} is missing (Debian: systemd, util-linux, iproute2)")
    machine = Machine(tmp_path_factory.mktemp("machine"))
    try:
        yield machine.wait_until_it_runs()
    finally:
        machine.close()


@pytest.fixture
def host_of_containers(machine: Machine) -> Machine:
    """One with `docker`, and with the image of the tracker."""
    if not os.environ.get("TORRUST_PY_SKIP_NOTHING"):
        pytest.skip("scripts/container builds the image that this runs")
    for program in ("podman", "docker-compose", "mariadbd"):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            do_without(f"{program} is missing (Debian: podman, crun, netavark, aardvark-dns, docker-compose)")
    machine.have_containers()
    return machine
