"""What outlives a restart."""

import json
import signal
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from torrust_py.core.types import InfoHash
from torrust_py.udp.packets import (
    ConnectResponse,
    ScrapeRequest,
    ScrapeResponse,
    encode_connect_request,
    encode_scrape_request,
    parse_response,
)

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

HASH = b"\x05" * 20
KEEP_COMPLETED = "[core.tracker_policy]\npersistent_torrent_completed_stat = true"


def announce(port: int, *, event: str = "started", left: int = 1, key: str = "") -> str:
    return (
        f"/announce{key}?info_hash={quote_from_bytes(HASH)}&peer_id=-qB00000000000000001&port={port}"
        f"&left={left}&event={event}&compact=1"
    )


def finish(daemon: Any, port: int) -> None:
    """A peer that starts and completes."""
    daemon.get("http", announce(port))
    daemon.get("http", announce(port, event="completed", left=0))


def completed(daemon: Any) -> int:
    return int(json.loads(daemon.api(f"torrent/{HASH.hex()}")[1])["completed"])


def test_keys_outlive_a_restart(start: Start, configure: Configure) -> None:
    config = configure(private=True)
    daemon = start(config)
    status, body = daemon.api("keys", method="POST", body={"key": None, "seconds_valid": 3600})
    assert status == 200
    key = json.loads(body)["key"]
    assert b"failure reason" not in daemon.get("http", announce(1, key=f"/{key}"))[1]
    assert daemon.stop() == 0
    daemon = start(config)
    assert b"failure reason" not in daemon.get("http", announce(1, key=f"/{key}"))[1]
    assert b"Authentication error" in daemon.get("http", announce(1))[1]


def test_the_whitelist_outlives_a_restart(start: Start, configure: Configure) -> None:
    config = configure(listed=True)
    daemon = start(config)
    assert b"is not whitelisted" in daemon.get("http", announce(1))[1]
    assert daemon.api(f"whitelist/{HASH.hex()}", method="POST") == (200, b'{"status":"ok"}')
    assert daemon.stop() == 0
    daemon = start(config)
    assert b"failure reason" not in daemon.get("http", announce(1))[1]


def test_an_admin_change_outlives_a_kill(start: Start, configure: Configure) -> None:
    config = configure(listed=True)
    daemon = start(config)
    assert daemon.api(f"whitelist/{HASH.hex()}", method="POST")[0] == 200
    daemon.process.send_signal(signal.SIGKILL)
    assert daemon.wait() == -signal.SIGKILL
    daemon = start(config)
    assert b"failure reason" not in daemon.get("http", announce(1))[1]


def test_completed_counters_outlive_a_clean_stop(start: Start, configure: Configure) -> None:
    config = configure(core=KEEP_COMPLETED)
    daemon = start(config)
    finish(daemon, 1)
    finish(daemon, 2)
    assert completed(daemon) == 2
    assert daemon.stop(signal.SIGTERM) == 0
    daemon = start(config)
    assert completed(daemon) == 2
    finish(daemon, 3)
    assert daemon.stop() == 0
    assert completed(start(config)) == 3


def test_without_the_option_completed_counters_are_not_kept(start: Start, configure: Configure) -> None:
    config = configure()
    daemon = start(config)
    finish(daemon, 1)
    assert daemon.stop() == 0
    assert start(config).api(f"torrent/{HASH.hex()}") == (200, b'"torrent not known"')


def test_connection_ids_outlive_a_restart(start: Start) -> None:
    daemon = start()
    with daemon.udp() as client:
        client.send(encode_connect_request(b"abcd"))
        response = parse_response(client.recv(100))
    assert isinstance(response, ConnectResponse)
    daemon.stop()
    with start().udp() as client:
        client.send(encode_scrape_request(ScrapeRequest(response.connection_id, b"abcd", [InfoHash(HASH)])))
        assert isinstance(parse_response(client.recv(100)), ScrapeResponse)
