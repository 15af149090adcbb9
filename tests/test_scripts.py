"""The set-up scripts, with stand-ins for the Python that they find."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What the script asks Python, as a line of `case`: the answer.
NEW_ENOUGH = '*"sys.version_info <"*) exit 0 ;;'
TOO_OLD = '*"sys.version_info <"*) exit 1 ;;'
VERSION = '*"%d.%d"*) echo 3.11 ;;'
NO_VENV = '*"import ensurepip"*) exit 1 ;;'
VENV = '*"import ensurepip"*) exit 0 ;;'
MAKES_VENV = '*"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/pip ;;'
INSTALLS = '*"-m pip install"*) echo "installed $*" >> pip.log ;;'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts and nothing else."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "torrust_py").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return tmp_path


def environment(checkout: Path, *answers: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/environment where every python3 is a program that gives these answers."""
    programs = checkout / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        (programs / name).write_text("\n".join(["#!/bin/sh", 'case "$*" in', *answers, "esac"]))
        (programs / name).chmod(0o755)
    return subprocess.run(
        ["scripts/environment"],
        cwd=checkout,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_python_without_venv_is_told_by_the_package_to_install(checkout: Path) -> None:
    result = environment(checkout, NEW_ENOUGH, VERSION, NO_VENV)
    assert result.returncode == 1
    assert "apt-get install python3-venv" in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_too_old_is_told(checkout: Path) -> None:
    result = environment(checkout, TOO_OLD)
    assert result.returncode == 1
    assert "needs Python 3.11 or newer" in result.stderr


def test_it_installs_once(checkout: Path) -> None:
    for _ in range(2):
        assert environment(checkout, NEW_ENOUGH, VENV, MAKES_VENV, INSTALLS).returncode == 0
    assert len((checkout / "pip.log").read_text().splitlines()) == 1


@pytest.mark.parametrize("source", ["pyproject.toml", "torrust_py/store.pyx", "setup.py"])
def test_it_installs_again_after_a_change(checkout: Path, source: str) -> None:
    environment(checkout, NEW_ENOUGH, VENV, MAKES_VENV, INSTALLS)
    (checkout / source).write_text("# changed\n")
    environment(checkout, NEW_ENOUGH, VENV, MAKES_VENV, INSTALLS)
    assert len((checkout / "pip.log").read_text().splitlines()) == 2


def test_an_installation_that_failed_is_tried_again(checkout: Path) -> None:
    fails = '*"-m pip install"*) exit 1 ;;'
    assert environment(checkout, NEW_ENOUGH, VENV, MAKES_VENV, fails).returncode != 0
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/pip").unlink()
    assert environment(checkout, NEW_ENOUGH, VENV, MAKES_VENV, INSTALLS).returncode == 0
    assert len((checkout / "pip.log").read_text().splitlines()) == 1


def test_a_change_of_a_python_source_installs_nothing(checkout: Path) -> None:
    environment(checkout, NEW_ENOUGH, VENV, MAKES_VENV, INSTALLS)
    (checkout / "torrust_py/store.py").write_text("# changed\n")
    environment(checkout, NEW_ENOUGH, VENV, MAKES_VENV, INSTALLS)
    assert len((checkout / "pip.log").read_text().splitlines()) == 1


def container(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/container where there is neither buildah nor debootstrap."""
    programs = checkout / "bin"
    programs.mkdir()
    for name in ("bash", "cat", "dirname"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    return subprocess.run(
        ["scripts/container", *arguments],
        cwd=checkout,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_container_teaches_its_use(checkout: Path) -> None:
    result = container(checkout, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: scripts/container ")


def test_container_refuses_what_it_does_not_know(checkout: Path) -> None:
    result = container(checkout, "publish")
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: scripts/container ")


def test_container_tells_the_packages_to_install(checkout: Path) -> None:
    result = container(checkout, "build")
    assert result.returncode == 1
    assert "apt-get install buildah debootstrap" in result.stderr
