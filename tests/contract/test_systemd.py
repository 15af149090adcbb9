"""What a service manager passes to the daemon and is told by it: the protocol of systemd itself, and its own
programs where they are.
"""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.doors import announce_request, connection_id
from tests.ports import free_port
from tests.skips import do_without
from torrust_py.listeners import enlarge_receive_buffer
from torrust_py.udp.packets import encode_connect_request

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

ROOT = Path(__file__).resolve().parents[2]
CONNECT = encode_connect_request(b"abcd")


@contextlib.contextmanager
def held_sockets() -> Iterator[list[socket.socket]]:
    """One for each service, in no particular order."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(bound)
            for bound in (
                socket.create_server(("127.0.0.1", 0)),
                udp_socket(),
                socket.create_server(("::1", 0), family=socket.AF_INET6),
                socket.create_server(("127.0.0.1", 0)),
            )
        ]


def udp_socket(host: str = "127.0.0.1") -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((host, 0))
    return bound


def port(bound: socket.socket) -> int:
    number: int = bound.getsockname()[1]
    return number


def listening_at(configure: Configure, held: list[socket.socket]) -> str:
    api, udp, http, health = map(port, held)
    return configure(
        services=f"""
            [[udp_trackers]]
            bind_address = "127.0.0.1:{udp}"
            [[http_trackers]]
            bind_address = "[::1]:{http}"
            [http_api]
            bind_address = "127.0.0.1:{api}"
            access_tokens = {{ admin = "MyAccessToken" }}
            [health_check_api]
            bind_address = "127.0.0.1:{health}"
        """
    )


# --- sockets


def test_each_socket_that_is_passed_serves_at_its_address(start: Start, configure: Configure) -> None:
    with held_sockets() as held:
        config = listening_at(configure, held)
        for _ in range(2):  # the sockets outlive the daemon
            daemon = start(config, held=held)
            report = daemon.get("health", "/health_check")
            assert (report[0], report[1].count(b'"Ok"')) == (200, 4), report
            assert daemon.stop(signal.SIGTERM) == 0


def test_who_asks_while_the_daemon_starts_anew_is_answered(start: Start, configure: Configure) -> None:
    with held_sockets() as held, contextlib.ExitStack() as stack:
        config = listening_at(configure, held)
        daemon = start(config, held=held)
        assert daemon.stop() == 0
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.connect(held[1].getsockname())
        udp.send(CONNECT)
        web = [
            stack.enter_context(socket.create_connection(held[at].getsockname()[:2], 10)) for at in (0, 2, 3)
        ]
        for client in web:
            client.sendall(b"GET /health_check HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        start(config, held=held)
        udp.settimeout(10)
        assert udp.recv(2048).startswith(b"\0\0\0\0abcd")
        assert [client.recv(4096).startswith(b"HTTP/1.1 ") for client in web] == [True, True, True]


def test_a_socket_that_no_service_is_configured_for_is_named(launch: Start, configure: Configure) -> None:
    with held_sockets() as held, udp_socket() as stray:
        daemon = launch(listening_at(configure, held), held=[*held, stray])
        assert daemon.wait() == 1
        assert daemon.errors() == (
            f"torrust-tracker: the UDP socket at 127.0.0.1:{port(stray)}, which LISTEN_FDS passes, belongs "
            f"to no service: configure one that listens there, or take it out of the .socket unit\n"
        )


def test_a_socket_for_ipv6_only_does_not_serve_a_dual_stack_address(
    launch: Start, configure: Configure
) -> None:
    number = free_port()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(("::", number))
        daemon = launch(configure(services=f'[[udp_trackers]]\nbind_address = "[::]:{number}"'), held=[bound])
        assert daemon.wait() == 1
        assert f"the socket at [::]:{number}, which LISTEN_FDS passes, takes IPv6 only" in daemon.errors()


def test_sockets_that_are_for_another_process_are_left_alone(start: Start, configure: Configure) -> None:
    with udp_socket() as stray:
        daemon = start(configure(), LISTEN_FDS="1", LISTEN_PID="1")
        assert daemon.get("health", "/health_check")[0] == 200
        assert port(stray)


def test_what_is_no_socket_is_named(launch: Start, configure: Configure, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        daemon = launch(configure(), held=[file])
        assert daemon.wait() == 1
        assert "file descriptor 3, which LISTEN_FDS passes, is no socket: " in daemon.errors()


def test_a_restart_at_a_thousand_announces_a_second_loses_none(start: Start, configure: Configure) -> None:
    with held_sockets() as held, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        config = listening_at(configure, held)
        daemon = start(config, held=held)
        client.connect(held[1].getsockname())
        enlarge_receive_buffer(client)
        client.settimeout(10)
        connection = connection_id(client)
        count = 3000
        answered: set[bytes] = set()

        def receive() -> None:
            while len(answered) < count:
                answered.add(client.recv(2048)[4:8])

        receiver = threading.Thread(target=receive, daemon=True)
        receiver.start()
        begun = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begun + number / 1000 - time.monotonic()))
            datagram = announce_request(connection, bytes(20), 1024 + number % 50)
            client.send(datagram[:12] + number.to_bytes(4, "big") + datagram[16:])
            if number == 500:
                daemon.process.send_signal(signal.SIGTERM)
                restarted = threading.Thread(
                    target=lambda: (daemon.wait(), start(config, held=held)), daemon=True
                )
                restarted.start()
        restarted.join(20)
        receiver.join(20)
        assert len(answered) == count


# --- what the manager is told


@pytest.fixture(params=["path", "abstract"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A manager's socket and its address."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@torrust-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0", 1))
        manager.settimeout(10)
        yield address, manager


def test_the_manager_is_told_of_start_life_and_stop(
    launch: Start, configure: Configure, told: tuple[str, socket.socket]
) -> None:
    address, manager = told
    daemon = launch(configure(), NOTIFY_SOCKET=address, WATCHDOG_USEC="400000")
    begun = time.monotonic()
    assert manager.recv(100) == b"READY=1"
    daemon.wait_for_line("HEALTH CHECK API: Started on")
    assert [manager.recv(100) for _ in range(4)] == [b"WATCHDOG=1"] * 4
    assert time.monotonic() - begun > 0.5  # one in half of the time that it has
    assert daemon.stop(signal.SIGTERM) == 0
    manager.setblocking(False)
    rest = []
    with contextlib.suppress(BlockingIOError):
        while True:
            rest.append(manager.recv(100))
    assert b"STOPPING=1" in rest


def test_a_manager_that_is_away_is_no_reason_to_fail(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    daemon = start(configure(), NOTIFY_SOCKET=str(tmp_path / "nobody"), WATCHDOG_USEC="100000")
    time.sleep(0.3)
    assert daemon.get("health", "/health_check")[0] == 200
    assert daemon.stop() == 0


# --- systemd's own programs


def test_systemd_starts_it_when_the_first_client_comes(configure: Configure, tmp_path: Path) -> None:
    if shutil.which("systemd-socket-activate") is None:
        do_without("systemd-socket-activate is missing (Debian: systemd)")
    number = free_port()
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{number}", "-E", "TORRUST_TRACKER_CONFIG_TOML"]
    config = configure(
        services=f"""
            [[http_trackers]]
            bind_address = "127.0.0.1:{number}"
            [health_check_api]
            bind_address = "127.0.0.1:0"
        """
    )
    with subprocess.Popen(
        [*command, sys.executable, "-m", "torrust_py"],
        cwd=tmp_path,
        env={"TORRUST_TRACKER_CONFIG_TOML": config, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            answer = asked(number)
        finally:
            process.terminate()
    assert answer.startswith(b"HTTP/1.1 200 OK")


def asked(number: int) -> bytes:
    until = time.monotonic() + 10
    while True:
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", number), 10) as client,
        ):
            client.sendall(b"GET /health_check HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.recv(4096)
        assert time.monotonic() < until
        time.sleep(0.1)


def test_the_units_are_what_systemd_reads(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        do_without("systemd-analyze is missing (Debian: systemd)")
    for name in ("torrust-tracker.service", "torrust-tracker.socket"):
        text = (ROOT / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/torrust-tracker/bin/torrust-tracker", "/bin/true"))
    units = [str(tmp_path / name) for name in ("torrust-tracker.service", "torrust-tracker.socket")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
