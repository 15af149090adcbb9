"""The commands of docs/kernel.md that look, as they stand there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.skips import do_without
from torrust_py.listeners import UDP_RECEIVE_BUFFER
from torrust_py.services import MAX_CONNECTIONS

PAGE = Path(__file__).parents[1] / "docs" / "kernel.md"
LOOKS = re.findall(r"```sh look\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_there_are_looks() -> None:
    assert len(LOOKS) == 4


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_is_a_command(look: str) -> None:
    if shutil.which("nstat") is None:
        do_without("nstat is missing (Debian: iproute2)")
    done = subprocess.run(["sh", "-euc", look], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_numbers_are_those_of_the_tracker() -> None:
    text = PAGE.read_text()
    assert f"net.core.rmem_max={UDP_RECEIVE_BUFFER}" in text
    assert f"at most {MAX_CONNECTIONS} connections" in text
