"""Whoever reads the log, or does not, the tracker goes on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contract.announcers import Announcers, numbered
from tests.ports import free_port
from torrust_py.udp.packets import AnnounceResponse, ErrorResponse, encode_connect_request

pytestmark = pytest.mark.slow


@pytest.fixture
def config(configure: Callable[..., str]) -> str:
    """One UDP tracker on a port that is free now, and a line per request."""
    services = f"""
        [[udp_trackers]]
        bind_address = "127.0.0.1:{free_port()}"
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
        env={**os.environ, "TORRUST_TRACKER_CONFIG_TOML": config, "PYTHONUNBUFFERED": ""},
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
            time.sleep(0.02)
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


@pytest.mark.clause("1.6.13", "1.6.14")
@pytest.mark.parametrize(("threshold", "lines"), [("info", 0), ("debug", 6)])
def test_a_request_is_logged_at_debug_only(
    start: Callable[..., Any], configure: Callable[..., str], threshold: str, lines: int
) -> None:
    running = start(configure().replace('"info"', f'"{threshold}"'))
    before = len(running.lines)
    announce = f"/announce?info_hash={'%01' * 20}&peer_id=-qB00000000000000001&port=6881"
    assert b"8:complete" in running.get("http", announce)[1]
    assert b"failure reason" in running.get("http", "/scrape")[1]
    with running.conversation() as client:
        assert isinstance(client.announce(b"\x01" * 20, 6882), AnnounceResponse)
        assert isinstance(client.announce(b"\x01" * 20, 6882, connection_id=bytes(8)), ErrorResponse)
    assert running.api("stats")[0] == 200
    assert running.stop() == 0
    stopped = next(at for at, line in enumerate(running.lines) if "caught interrupt signal" in line)
    assert len([line for line in running.lines[before:stopped] if " asyncio: " not in line]) == lines
    assert not [line for line in running.lines if "MyAccessToken" in line]


@pytest.mark.clause("1.6.13")
def test_ten_thousand_requests_leave_no_line_at_info(start: Callable[..., Any]) -> None:
    running = start()
    before = len(running.lines)
    with closing(Announcers(running.address("udp"))) as announcers:
        announcers.announce((numbered(number % 100), 1024 + number) for number in range(10_000))
    assert json.loads(running.api("stats")[1])["udp4_announces_handled"] >= 10_000
    assert running.stop() == 0
    stopped = next(at for at, line in enumerate(running.lines) if "caught interrupt signal" in line)
    assert running.lines[before:stopped] == []


@pytest.mark.clause("1.6.18")
def test_a_failed_response_of_the_api_is_an_error_without_its_token(start: Callable[..., Any]) -> None:
    running = start()
    for query in ("", "?token=hush", "?limit=1&token=hush"):
        assert running.get("api", f"/api/v1/torrents{query}")[0] == 500
    assert running.stop() == 0
    failed = [line[28:] for line in running.lines if "ERROR" in line]
    assert failed == [
        f"ERROR API: response failed method=GET uri=/api/v1/torrents{query} status=500"
        for query in ("", "?token=***", "?limit=1&token=***")
    ]
