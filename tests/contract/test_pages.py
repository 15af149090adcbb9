"""The calls of the API that pages of docs/ show, as they stand there."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
Start = Callable[..., Any]
Configure = Callable[..., str]


def commands(page: str) -> list[str]:
    return re.findall(r"^ *```sh\n(.*?)^ *```", (DOCS / page).read_text(), re.M | re.S)


def follow(command: str, daemon: Any) -> Any:
    """What it prints, which is JSON."""
    host, port = daemon.address("api")
    assert "127.0.0.1:1212" in command
    done = subprocess.run(
        ["sh", "-euc", command.replace("127.0.0.1:1212", f"{host}:{port}").replace("curl", "curl -sS", 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_whitelist_of_a_public_tracker(start: Start, configure: Configure) -> None:
    daemon = start(configure(listed=True))
    [command] = commands("public-tracker.md")
    assert follow(command, daemon) == {"status": "ok"}
    info_hash = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
    assert daemon.announce(info_hash, compact=1).decoded[b"complete"] == 1


def test_a_key_of_a_private_tracker(start: Start, configure: Configure, info_hash: bytes) -> None:
    daemon = start(configure(private=True))
    [command] = commands("private-tracker.md")
    key = follow(command, daemon)["key"]
    assert daemon.announce(info_hash, key=key, compact=1).decoded[b"complete"] == 1


def test_a_torrent_that_is_taken_down(start: Start, configure: Configure) -> None:
    daemon = start(configure())
    one, many, show, back = commands("blacklist.md")
    hashes = ["9c38422213e30bff212b30c360d26f9a02136422", "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"]
    reason = f"Tracker error: The torrent: {hashes[0]}, is blacklisted: Taken down on request"
    for command in (one, many):
        assert follow(command, daemon) == {"status": "ok"}
        assert daemon.announce(bytes.fromhex(hashes[0])).failure == reason
    assert [entry["info_hash"] for entry in follow(show, daemon)] == hashes
    assert follow(back, daemon) == {"status": "ok"}
    assert daemon.announce(bytes.fromhex(hashes[0]), compact=1).decoded[b"complete"] == 1


def test_the_certificate_for_tests(start: Start, configure: Configure, tmp_path: Path) -> None:
    [command] = commands("tls.md")
    files = f'{{ ssl_cert_path = "{tmp_path}/fullchain.pem", ssl_key_path = "{tmp_path}/privkey.pem" }}'
    subprocess.run(["sh", "-euc", command], cwd=tmp_path, capture_output=True, check=True)
    start(
        configure(
            services=f"""
                [[http_trackers]]
                bind_address = "127.0.0.1:0"
                tsl_config = {files}
                [health_check_api]
                bind_address = "127.0.0.1:0"
            """
        )
    ).wait_for_line("HTTP TRACKER: Started on: https://")
