"""The console programs, as processes, at a real daemon."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

INFO_HASH = "05" * 20
CHECKED = "9c38422213e30bff212b30c360d26f9a02136422"

Start = Callable[..., Any]  # a Daemon; test modules cannot import conftest.py
Configure = Callable[..., str]

pytestmark = pytest.mark.slow


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"torrust_py.console.{program}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def authority(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@pytest.mark.parametrize(("ipv6", "name"), [(False, "AnnounceIpv4"), (True, "AnnounceIpv6")])
def test_a_udp_announce_shows_the_peer_before(start: Start, ipv6: bool, name: str) -> None:
    tracker = authority(start().address("udp", ipv6=ipv6))
    run("udp_client", "announce", f"udp://{tracker}", INFO_HASH)
    result = run("udp_client", "announce", f"udp://{tracker}", INFO_HASH)
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)[name]
    assert (answer["seeders"], answer["leechers"]) == (2, 0)
    host = "[::1]" if ipv6 else "127.0.0.1"
    assert [peer.rpartition(":")[0] for peer in answer["peers"]] == [host]


def test_a_udp_scrape_counts_the_announce(start: Start) -> None:
    tracker = authority(start().address("udp"))
    run("udp_client", "announce", tracker, INFO_HASH)
    result = run("udp_client", "scrape", tracker, f"{INFO_HASH} {CHECKED}")
    assert json.loads(result.stdout)["Scrape"]["torrent_stats"] == [
        {"seeders": 1, "completed": 0, "leechers": 0},
        {"seeders": 0, "completed": 0, "leechers": 0},
    ]


def test_a_refused_udp_announce_is_an_answer(start: Start, configure: Configure) -> None:
    tracker = authority(start(configure(listed=True)).address("udp"))
    result = run("udp_client", "announce", tracker, INFO_HASH)
    answer = json.loads(result.stdout)["Error"]
    assert result.returncode == 0
    assert "is not whitelisted" in answer["message"]


@pytest.mark.parametrize("ipv6", [False, True])
def test_an_http_announce_shows_a_peer_of_udp(start: Start, ipv6: bool) -> None:
    daemon = start()
    run("udp_client", "announce", f"udp://{authority(daemon.address('udp', ipv6=ipv6))}", INFO_HASH)
    url = f"http://{authority(daemon.address('http', ipv6=ipv6))}"
    result = run("http_client", "announce", url, INFO_HASH)
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert (answer["complete"], answer["incomplete"]) == (2, 0)
    [peer] = answer["peers"]
    assert (peer["ip"], bytes(peer["peer id"])) == ("::1" if ipv6 else "127.0.0.1", b"-qB00000000000000001")


def test_an_http_scrape_counts_the_announce(start: Start) -> None:
    url = f"http://{authority(start().address('http'))}"
    run("http_client", "announce", url, INFO_HASH)
    result = run("http_client", "scrape", url, INFO_HASH)
    counts = {"complete": 1, "downloaded": 0, "incomplete": 0}
    assert (result.returncode, json.loads(result.stdout)) == (0, {INFO_HASH: counts})


def test_a_refused_http_announce_exits_as_a_panic(start: Start, configure: Configure) -> None:
    url = f"http://{authority(start(configure(listed=True)).address('http'))}"
    result = run("http_client", "announce", url, INFO_HASH)
    assert (result.returncode, result.stdout) == (101, "")
    assert "is not whitelisted" in result.stderr


def test_the_health_of_the_daemon_is_checked(start: Start) -> None:
    url = f"http://{authority(start().address('health'))}/health_check"
    result = run("health_check", url)
    assert (result.returncode, result.stdout) == (0, "Health check ...\nSTATUS: 200 OK\n")


def test_the_checker_finds_all_services_well(start: Start) -> None:
    daemon = start()
    both = (False, True)
    config = {
        "udp_trackers": [authority(daemon.address("udp", ipv6=ipv6)) for ipv6 in both],
        "http_trackers": [f"http://{authority(daemon.address('http', ipv6=ipv6))}" for ipv6 in both],
        "health_checks": [f"http://{authority(daemon.address('health'))}/health_check"],
    }
    result = run("checker", "--strict", json.dumps(config))
    assert (result.returncode, result.stderr) == (0, "")
    line, _, array = result.stdout.partition("\n")
    assert line.endswith("Running checks for trackers ...")
    kinds = sorted(kind for check in json.loads(array) for kind in check)
    assert kinds == ["Health", "Http", "Http", "Udp", "Udp"]
