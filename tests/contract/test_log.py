"""Whoever reads the log, or does not, the tracker goes on."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from torrust_py.udp.packets import encode_connect_request

pytestmark = pytest.mark.slow


@pytest.fixture
def config(configure: Callable[..., str]) -> str:
    """One UDP tracker on a port that is free now, and a line per request."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    services = f"""
        [[udp_trackers]]
        bind_address = "127.0.0.1:{port}"
        [health_check_api]
        bind_address = "127.0.0.1:0"
    """
    return configure(services=services).replace('"info"', '"debug"')


@contextmanager
def daemon(
    config: str, directory: Path, stdout: int
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A running tracker, and a client of it. Its standard output is nobody's business here."""
    process = subprocess.Popen(
        [sys.executable, "-m", "torrust_py"],
        cwd=directory,
        env={**os.environ, "TORRUST_TRACKER_CONFIG_TOML": config},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    port = int(config.split('[[udp_trackers]]\n        bind_address = "127.0.0.1:')[1].split('"')[0])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port))
            client.settimeout(0.1)
            wait_for_answer(client)
            client.settimeout(5)
            yield process, client
    finally:
        process.kill()
        process.communicate()


def wait_for_answer(client: socket.socket) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            client.send(encode_connect_request(b"abcd"))
            client.recv(100)
        except OSError:  # not yet
            continue
        return
    raise AssertionError("the tracker does not answer")


def ask(client: socket.socket, times: int) -> None:
    for _ in range(times):
        client.send(encode_connect_request(b"abcd"))
        assert len(client.recv(100)) == 16


def test_a_reader_that_stops_reading_stops_nothing(config: str, tmp_path: Path) -> None:
    with daemon(config, tmp_path, subprocess.PIPE) as (process, client):
        ask(client, 5000)  # far more than a pipe holds
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_a_reader_that_goes_away_stops_nothing(config: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with daemon(config, tmp_path, writing) as (process, client):
        os.close(writing)
        os.close(reading)
        ask(client, 100)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_reader_that_was_never_there_stops_nothing(config: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with daemon(config, tmp_path, writing) as (process, client):
        os.close(writing)
        ask(client, 10)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_it_runs_without_standard_streams(config: str, tmp_path: Path, closed: str) -> None:
    environment = {**os.environ, "TORRUST_TRACKER_CONFIG_TOML": config}
    command = ["sh", "-c", f'exec "$0" -m torrust_py {closed}', sys.executable]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as process:
        port = int(config.split('bind_address = "127.0.0.1:')[1].split('"')[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port))
            client.settimeout(0.1)
            wait_for_answer(client)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
