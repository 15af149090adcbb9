"""The console programs, as processes, at a real daemon."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from torrust_py.udp.packets import (
    encode_connect_response,
    parse_announce,
    parse_connect,
    transaction_id_of,
)

INFO_HASH = "05" * 20
CHECKED = "9c38422213e30bff212b30c360d26f9a02136422"
GOLDEN = Path(__file__).parent / "golden/programs.txt"

MODULES = {
    "udp_tracker_client": "udp_client",
    "http_tracker_client": "http_client",
    "http_health_check": "health_check",
    "tracker_checker": "checker",
}

NOTHING: dict[str, list[str]] = {"udp_trackers": [], "http_trackers": [], "health_checks": []}

Start = Callable[..., Any]  # a Daemon; test modules cannot import conftest.py
Configure = Callable[..., str]

pytestmark = pytest.mark.slow


def command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"torrust_py.console.{MODULES[program]}", *arguments]


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(program, *arguments),
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def authority(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- what Torrust's programs printed


class Invocation(NamedTuple):
    """A program as it was run, and what came of it."""

    environment: dict[str, str]
    arguments: list[str]
    exit_status: int
    stdout: str
    stderr: str


def golden(first_words: str, daemon: Any = None) -> Invocation:
    """The recorded invocation that begins so, at the services of `daemon`.

    Where our programs say on purpose something else than Torrust's, it says that.
    """
    text = GOLDEN.read_text()
    if daemon is not None:
        for port, service in {26969: "udp", 27070: "http", 21313: "health"}.items():
            text = text.replace(f":{port}", f":{daemon.address(service)[1]}")
    for torrusts, ours in DIFFERENCES:
        text = re.sub(torrusts, ours, text)
    [block] = [block for block in text.split("##\n") if f"$ {first_words}\n" in block]
    parts = re.fullmatch(r"(.*)\[exit (\d+)]\n\[stdout]\n(.*)\[stderr]\n(.*?)\n*", block, re.DOTALL)
    assert parts is not None
    *exports, invoked = (line.removeprefix("$ ") for line in parts[1].splitlines())
    environment = dict(shlex.split(export)[1].split("=", 1) for export in exports)
    return Invocation(environment, shlex.split(invoked), int(parts[2]), parts[3], parts[4])


DIFFERENCES = [
    # That a port is closed is told by the kernel at once; Torrust waits until its time is over.
    (r"Timeout while waiting for the socket to become readable\.", "Connection refused"),
    # The reason of a failure in plain words, not as Rust's internals.
    (
        r'(?:ResponseError { err: )?reqwest::Error { .*?url: \\?"([^"\\]*)\\?", .* }\)\) }(?: })?',
        r"\1: Connection refused",
    ),
    (r"(ERROR: error sending request for url \(.*\))", r"\1: Connection refused"),
    ("InvalidInputLength", "it is not 40 hexadecimal digits"),
    # The words of another reader of arguments.
    (r"error: invalid value 'abc' for '<INFO_HASH>'", "Error: Invalid value for '<INFO_HASH>'"),
    # No cargo is needed to run it.
    ("cargo run --bin ", ""),
    # Colours are for terminals.
    ("\x1b?\\[[0-9]+m", ""),
]


def replay(invocation: Invocation) -> subprocess.CompletedProcess[str]:
    return run(*invocation.arguments, **invocation.environment)


def announce_over_http(daemon: Any, number: int, port: int, *, left: int = 0) -> None:
    peer_id = f"-qB{number:017}"
    query = f"info_hash={'%05' * 20}&peer_id={peer_id}&port={port}&left={left}&event=started"
    assert daemon.get("http", f"/announce?{query}")[0] == 200


@pytest.fixture
def recorded(start: Start, configure: Configure) -> Any:
    """A daemon as Torrust's was: with a swarm of a leecher and three seeders besides the program's peer."""
    daemon = start(configure('[core.net]\nexternal_ip = "203.0.113.5"'))
    for number in range(4):
        announce_over_http(daemon, number + 9, 17550 + number, left=0 if number else 1)
    return daemon


@pytest.mark.clause("9.1.9", "9.1.10")
def test_a_udp_announce_prints_what_torrusts_printed(recorded: Any) -> None:
    """But for the peers: the program asks for one, which Torrust does not heed."""
    expected = golden(
        f"udp_tracker_client announce udp://127.0.0.1:{udp_port(recorded)} {INFO_HASH}", recorded
    )
    result = replay(expected)
    answer = json.loads(result.stdout)
    [peer] = answer["AnnounceIpv4"]["peers"]
    torrusts_peers = json.loads(expected.stdout)["AnnounceIpv4"]["peers"]
    assert peer in torrusts_peers
    printed = result.stdout.replace(f'"{peer}"', ",\n      ".join(f'"{one}"' for one in torrusts_peers))
    assert (result.returncode, printed, result.stderr) == (0, expected.stdout, "")


@pytest.mark.clause("9.1.10", "9.1.11")
def test_a_udp_scrape_prints_what_torrusts_printed(recorded: Any) -> None:
    announce_over_http(recorded, 1, 17548)
    expected = golden(f"udp_tracker_client scrape udp://127.0.0.1:{udp_port(recorded)} {INFO_HASH}", recorded)
    result = replay(expected)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected.stdout, "")


@pytest.mark.clause("9.2.3")
def test_an_http_announce_prints_what_torrusts_printed(recorded: Any) -> None:
    announce_over_http(recorded, 1, 17548)
    url = f"http://{authority(recorded.address('http'))}"
    expected = golden(f"http_tracker_client announce {url} {INFO_HASH}", recorded)
    result = replay(expected)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected.stdout, "")


@pytest.mark.clause("9.2.4")
def test_an_http_scrape_prints_what_torrusts_printed(recorded: Any) -> None:
    announce_over_http(recorded, 1, 17548)
    url = f"http://{authority(recorded.address('http'))}"
    run("http_tracker_client", "announce", url, INFO_HASH)
    expected = golden(f"http_tracker_client scrape {url} {INFO_HASH}", recorded)
    result = replay(expected)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected.stdout, "")


def udp_port(daemon: Any) -> int:
    port: int = daemon.address("udp")[1]
    return port


@pytest.mark.clause("9.3.1")
def test_a_health_check_prints_what_torrusts_printed(public: Any) -> None:
    url = f"http://{authority(public.address('http'))}/health_check"
    expected = golden(f"http_health_check {url}", public)
    result = replay(expected)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected.stdout, "")


@pytest.mark.parametrize(
    "first_words",
    [
        pytest.param(
            f"udp_tracker_client announce 127.0.0.1:1 {INFO_HASH}",
            marks=pytest.mark.clause("9.0.3", "9.1.14"),
        ),
        pytest.param(
            f"http_tracker_client announce http://127.0.0.1:1 {INFO_HASH}",
            marks=pytest.mark.clause("9.0.3", "9.2.8"),
        ),
        pytest.param("http_health_check http://127.0.0.1:1/health_check", marks=pytest.mark.clause("9.3.3")),
        pytest.param("http_health_check", marks=pytest.mark.clause("9.3.4")),
    ],
)
def test_without_an_answer_a_program_prints_what_torrusts_printed(first_words: str) -> None:
    expected = golden(first_words)
    result = replay(expected)
    assert (result.returncode, result.stdout) == (expected.exit_status, expected.stdout)
    assert (result.stderr.rstrip("\n"), expected.exit_status) == (expected.stderr, 1)


@pytest.mark.clause("9.0.1", "9.1.5")
def test_a_wrong_info_hash_is_refused_in_torrusts_words() -> None:
    expected = golden("udp_tracker_client announce udp://127.0.0.1:26969 abc")
    result = replay(expected)
    assert (result.returncode, result.stdout) == (2, "") == (expected.exit_status, expected.stdout)
    assert expected.stderr.splitlines()[0] in result.stderr.splitlines()


@pytest.mark.clause("9.0.1")
def test_without_arguments_the_commands_are_shown() -> None:
    expected = golden("udp_tracker_client")
    result = replay(expected)
    assert (result.returncode, result.stdout) == (2, "") == (expected.exit_status, expected.stdout)
    for word in ("Usage: ", "Commands:", "  announce  ", "  scrape  ", "Options:", "--help", "--version"):
        assert word in expected.stderr
        assert word in result.stderr


@pytest.mark.clause("9.0.1")
@pytest.mark.parametrize("program", ["udp_tracker_client", "http_tracker_client"])
def test_help_is_a_command_too(program: str) -> None:
    for words, option in ((["help"], ["--help"]), (["help", "scrape"], ["scrape", "--help"])):
        told = run(program, *words)
        assert (told.returncode, told.stdout, told.stderr) == (0, run(program, *option).stdout, "")
    unknown = run(program, "help", "nothing")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.endswith("Error: No such command 'nothing'.\n")


@pytest.mark.clause("9.0.5", "9.4.12", "9.4.13", "9.4.15")
def test_the_checker_prints_what_torrusts_printed(public: Any) -> None:
    """The kinds in the order in which they ended, which is not always the same."""
    expected = golden("tracker_checker", public)
    result = replay(expected)
    assert (result.returncode, result.stderr) == (0, "")
    line, _, array = result.stdout.partition("\n")
    torrusts_line, _, torrusts_array = expected.stdout.partition("\n")
    assert line.partition(" ")[2] == torrusts_line.partition(" ")[2]
    checks = json.loads(array)
    assert array == json.dumps(checks, indent=2) + "\n"
    assert sorted(checks, key=kind) == sorted(json.loads(torrusts_array), key=kind)
    kinds = [kind(check) for check in checks]
    assert all(kinds[at] == kinds[at + 1] for at in (0, 2, 4))


def kind(check: dict[str, object]) -> str:
    """`Udp`, `Http` or `Health`."""
    [name] = check
    return name


# --- the programs and the daemon together


@pytest.mark.clause("9.1.13")
@pytest.mark.parametrize(("ipv6", "name"), [(False, "AnnounceIpv4"), (True, "AnnounceIpv6")])
def test_a_udp_announce_shows_the_peer_before(start: Start, ipv6: bool, name: str) -> None:
    tracker = authority(start().address("udp", ipv6=ipv6))
    run("udp_tracker_client", "announce", f"udp://{tracker}", INFO_HASH)
    result = run("udp_tracker_client", "announce", f"udp://{tracker}", INFO_HASH)
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)[name]
    assert (answer["seeders"], answer["leechers"]) == (2, 0)
    host = "[::1]" if ipv6 else "127.0.0.1"
    assert [peer.rpartition(":")[0] for peer in answer["peers"]] == [host]


@pytest.mark.clause("9.1.6", "9.1.11")
def test_a_udp_scrape_counts_the_announce(start: Start) -> None:
    tracker = authority(start().address("udp"))
    run("udp_tracker_client", "announce", tracker, INFO_HASH)
    result = run("udp_tracker_client", "scrape", tracker, f"{INFO_HASH} {CHECKED}")
    assert json.loads(result.stdout)["Scrape"]["torrent_stats"] == [
        {"seeders": 1, "completed": 0, "leechers": 0},
        {"seeders": 0, "completed": 0, "leechers": 0},
    ]


@pytest.mark.clause("9.1.12")
def test_a_refused_udp_announce_is_an_answer(listed: Any) -> None:
    result = run("udp_tracker_client", "announce", authority(listed.address("udp")), INFO_HASH)
    answer = json.loads(result.stdout)["Error"]
    assert (result.returncode, answer.keys()) == (0, {"transaction_id", "message"})
    assert "is not whitelisted" in answer["message"]


@pytest.mark.parametrize("ipv6", [False, True])
def test_an_http_announce_shows_a_peer_of_udp(start: Start, ipv6: bool) -> None:
    daemon = start()
    run("udp_tracker_client", "announce", f"udp://{authority(daemon.address('udp', ipv6=ipv6))}", INFO_HASH)
    url = f"http://{authority(daemon.address('http', ipv6=ipv6))}"
    result = run("http_tracker_client", "announce", url, INFO_HASH)
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert (answer["complete"], answer["incomplete"]) == (2, 0)
    [peer] = answer["peers"]
    assert (peer["ip"], bytes(peer["peer id"])) == ("::1" if ipv6 else "127.0.0.1", b"-qB00000000000000001")


@pytest.mark.clause("9.2.7")
def test_a_refused_http_announce_exits_as_a_panic(listed: Any) -> None:
    url = f"http://{authority(listed.address('http'))}"
    result = run("http_tracker_client", "announce", url, INFO_HASH)
    assert (result.returncode, result.stdout) == (101, "")
    assert "is not whitelisted" in result.stderr


@pytest.mark.clause("9.3.1")
def test_the_health_of_the_daemon_is_checked(public: Any) -> None:
    result = run("http_health_check", f"http://{authority(public.address('health'))}/health_check")
    assert (result.returncode, result.stdout) == (0, "Health check ...\nSTATUS: 200 OK\n")


def test_the_checker_finds_all_services_well(public: Any) -> None:
    both = (False, True)
    config = {
        "udp_trackers": [authority(public.address("udp", ipv6=ipv6)) for ipv6 in both],
        "http_trackers": [f"http://{authority(public.address('http', ipv6=ipv6))}" for ipv6 in both],
        "health_checks": [f"http://{authority(public.address('health'))}/health_check"],
    }
    result = run("tracker_checker", "--strict", json.dumps(config))
    assert (result.returncode, result.stderr) == (0, "")
    line, _, array = result.stdout.partition("\n")
    assert line.endswith("Running checks for trackers ...")
    kinds = sorted(kind(check) for check in json.loads(array))
    assert kinds == ["Health", "Http", "Http", "Udp", "Udp"]


@pytest.mark.clause("9.1.7", "9.1.8")
def test_the_udp_client_announces_the_port_it_asks_from() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tracker:
        tracker.bind(("127.0.0.1", 0))
        tracker.settimeout(20)
        asking = command("udp_tracker_client", "announce", authority(tracker.getsockname()), INFO_HASH)
        with subprocess.Popen(asking, stdout=subprocess.DEVNULL) as client:
            datagram, address = tracker.recvfrom(2048)
            connect = parse_connect(datagram)
            tracker.sendto(encode_connect_response(connect.transaction_id, b"12345678"), address)
            datagram, address = tracker.recvfrom(2048)
            tracker.sendto(encode_connect_response(transaction_id_of(datagram), b"12345678"), address)
            client.wait(20)
    announce = parse_announce(datagram)
    assert (announce.port, announce.connection_id) == (address[1], b"12345678")
    ids = [int.from_bytes(one, signed=True) for one in (connect.transaction_id, announce.transaction_id)]
    assert ids == [-888840697] * 2


@pytest.mark.clause("9.0.6", "9.3.5")
def test_each_program_waits_five_seconds_for_an_answer() -> None:
    """All at the same time, each at a service that says nothing."""
    with ThreadPoolExecutor() as threads:
        waits = {
            "udp": threads.submit(seconds_at_a_silent_tracker),
            "http": threads.submit(
                seconds_at_a_silent_server, lambda url: ["http_tracker_client", "scrape", url, INFO_HASH]
            ),
            "health": threads.submit(seconds_at_a_silent_server, lambda url: ["http_health_check", url]),
            "checker": threads.submit(
                seconds_at_a_silent_server,
                lambda url: ["tracker_checker", json.dumps({**NOTHING, "health_checks": [url]})],
            ),
        }
        seconds = {name: wait.result() for name, wait in waits.items()}
    assert all(4 < waited < 9 for waited in seconds.values()), seconds


def seconds_at_a_silent_tracker() -> float:
    """From the first datagram to the end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tracker:
        tracker.bind(("127.0.0.1", 0))
        asking = command("udp_tracker_client", "scrape", authority(tracker.getsockname()), INFO_HASH)
        with subprocess.Popen(asking, stderr=subprocess.DEVNULL) as client:
            tracker.recv(2048)
            heard = time.monotonic()
            client.wait(30)
            return time.monotonic() - heard


def seconds_at_a_silent_server(arguments: Callable[[str], list[str]]) -> float:
    """From the connection to the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asking = command(*arguments(f"http://{authority(server.getsockname())}/"))
        with subprocess.Popen(asking, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
            connection, _ = server.accept()
            with connection:
                heard = time.monotonic()
                client.wait(30)
                return time.monotonic() - heard
