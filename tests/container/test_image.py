"""What the image holds and declares, and what it must not."""

import os
import re
import stat
from pathlib import Path

import pytest

from tests.container.conftest import DRIVER, ETC, LIB, LOG, TOKEN, Image, Run

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = [
    "torrust-tracker",
    "http_health_check",
    "udp_tracker_client",
    "http_tracker_client",
    "tracker_checker",
]


def size_mb(root: Path) -> float:
    """Of what is beneath, as the file system holds it; a file of several names once."""
    blocks = {
        (status.st_dev, status.st_ino): status.st_blocks
        for directory, _, names in os.walk(root)
        for status in (os.lstat(os.path.join(directory, name)) for name in (*names, "."))
    }
    return sum(blocks.values()) * 512 / 1e6


@pytest.mark.clause("10.2.1")
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_are_there(run: Run, name: str) -> None:
    container = run("sh", "-c", f"command -v {name}")
    assert (container.wait(), container.output) == (0, f"/usr/bin/{name}\n")


@pytest.mark.clause("10.2.1")
def test_a_command_takes_the_place_of_the_daemon(run: Run) -> None:
    container = run("torrust-tracker", "--version")
    assert container.wait() == 0
    assert container.output.startswith("torrust-tracker, version ")


@pytest.mark.clause("10.2.1")
def test_the_files_are_there(image: Image) -> None:
    share = image.root / "usr/share/torrust"
    shipped = {path.name: path.read_text() for path in (REPOSITORY / "config").iterdir()}
    assert {path.name: path.read_text() for path in (share / "default/config").iterdir()} == shipped
    assert (share / "default/database/tracker.sqlite3.db").stat().st_size == 0
    assert "torrust-tracker --help" in (share / "container/message").read_text()
    assert os.access(image.root / "usr/local/bin/entry.sh", os.X_OK)
    assert image.config["Entrypoint"] == ["/usr/local/bin/entry.sh"]


@pytest.mark.clause("10.2.2")
def test_volumes_and_ports_are_torrusts(image: Image) -> None:
    assert image.config["Volumes"].keys() == {ETC, LIB, LOG}
    assert image.config["ExposedPorts"].keys() == {"6969/udp", "7070/tcp", "1212/tcp", "1313/tcp"}


@pytest.mark.clause("10.2.3")
def test_the_health_check_is_asked_as_torrusts_is(image: Image) -> None:
    check = image.config["Healthcheck"]
    assert re.fullmatch(
        r'http_health_check "?http://localhost:\$\{HEALTH_CHECK_API_PORT\}/health_check"?', check["Test"][1]
    )
    seconds = {name: check[name] / 1e9 for name in ("Interval", "Timeout", "StartPeriod")}
    assert seconds == {"Interval": 5, "Timeout": 5, "StartPeriod": 3}
    assert check["Retries"] == 3


@pytest.mark.clause("10.2.4")
def test_the_variables_are_torrusts(image: Image) -> None:
    ours = {name: value for name, value in image.variables.items() if name in TORRUSTS}
    assert ours == TORRUSTS
    assert TOKEN not in image.variables


TORRUSTS = {
    "TORRUST_TRACKER_CONFIG_TOML_PATH": "/etc/torrust/tracker/tracker.toml",
    DRIVER: "sqlite3",
    "USER_ID": "1000",
    "UDP_PORT": "6969",
    "HTTP_PORT": "7070",
    "API_PORT": "1212",
    "HEALTH_CHECK_API_PORT": "1313",
    "TZ": "Etc/UTC",
    "RUNTIME": "release",
}


@pytest.mark.clause("10.2.5")
def test_the_release_runs_the_tracker_and_the_debug_target_a_shell(image: Image) -> None:
    assert image.config["Cmd"] == ["/usr/bin/torrust-tracker"]
    *_, debug, release = (REPOSITORY / "Dockerfile").read_text().split("\nFROM ")
    assert debug.startswith("runtime AS debug\n")
    assert 'CMD ["sh"]' in debug
    assert "HEALTHCHECK" not in debug
    assert release.startswith("runtime AS release\n")  # the last one is built if none is named


def test_it_takes_at_most_70_mb_above_its_base(image: Image) -> None:
    above = size_mb(image.root) - size_mb(image.base)
    print(f"{above:.1f} MB above the base")
    assert above <= 70


def programs(root: Path) -> set[str]:
    places = [root / place for place in ("usr/bin", "usr/local/bin", "opt/torrust_py/bin")]
    return {path.name for place in places if place.exists() for path in place.iterdir()}


def test_no_tool_of_the_build_is_left(image: Image) -> None:
    added = programs(image.root) - programs(image.base)
    assert not added & {"gcc", "cc", "pip", "pip3", "strip", "cython"}
    assert not list((image.root / "opt").rglob("pip"))


def test_nothing_of_the_host_that_built_it_is_left(image: Image) -> None:
    for name in ("etc/pip.conf", "etc/ssl/host.crt", "etc/apt/apt.conf.d/90host"):
        assert not (image.root / name).exists()
    sources = image.root / "etc/apt/sources.list"
    if sources.exists():  # of a base that scripts/container made
        assert sources.read_text() == (image.base / "etc/apt/sources.list").read_text()


def test_nobody_but_root_can_change_the_programs(image: Image) -> None:
    writable = [
        path
        for path in (image.root / "opt").rglob("*")
        if not path.is_symlink()
        and (path.lstat().st_uid != 0 or path.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    ]
    assert writable == []


def test_every_module_is_compiled(image: Image) -> None:
    package = next((image.root / "opt/torrust_py/lib").glob("python3*/site-packages/torrust_py"))
    bare = [
        path for path in package.rglob("*.py") if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))
    ]
    assert bare == []
