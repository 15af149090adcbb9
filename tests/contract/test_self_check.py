"""What the daemon says of itself: each fault is made, and its line is found."""

import contextlib
import http.client
import http.server
import json
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from tests.clients.network import NoPrivateNetwork, private_network
from tests.hosts import ConnectionTracking, library_of_clock, library_of_small_buffers
from tests.skips import do_without
from torrust_py.config import default_config
from torrust_py.listeners import UDP_RECEIVE_BUFFER, buffers_of
from torrust_py.selfcheck.findings import KNOWN_TOKEN

pytestmark = pytest.mark.slow

Start = Callable[..., Any]  # a Daemon; test modules cannot import conftest.py
Configure = Callable[..., str]

TIME_OK, TIME_ERROR = 0, 5  # adjtimex(2)
WELL = "[core.announce_policy]\ninterval = 300"
WITHOUT_NET_ADMIN = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")


def with_a_minute_of(seconds: float) -> tuple[str, ...]:
    return (
        sys.executable,
        "-c",
        f"import runpy, sys; from torrust_py import jobs; jobs.REPORT_INTERVAL = {seconds}; "
        "sys.argv = ['torrust_py']; runpy.run_module('torrust_py', run_name='__main__', alter_sys=True)",
    )


HURRIED = with_a_minute_of(2.0)
CROWDED = with_a_minute_of(6.0)  # a hundred clients have time to come


def warnings(daemon: Any) -> list[str]:
    """Names of what the self-check told, once all services run."""
    daemon.wait_for_line("HEALTH CHECK API: Started on")
    marker = "WARN torrust_tracker::selfcheck: "
    return [line.partition(marker)[2].partition(":")[0] for line in daemon.lines if marker in line]


def services(udp: str = "127.0.0.1:0", http: str = "127.0.0.1:0", api: str = "127.0.0.1:0") -> str:
    return f"""
        [[udp_trackers]]
        bind_address = "{udp}"
        [[http_trackers]]
        bind_address = "{http}"
        [http_api]
        bind_address = "{api}"
        access_tokens = {{ admin = "MyAccessToken" }}
        [health_check_api]
        bind_address = "127.0.0.1:0"
    """


# --- at the start


def test_where_all_is_well_nothing_is_told(start: Start, configure: Configure) -> None:
    """But of the host, which is not ours: the clock, its limits."""
    told = warnings(start(configure(WELL)))
    assert set(told) <= {"clock", "receive-buffer", "file-limit", "connection-tracking", "ipv6-off"}
    assert len(told) == len(set(told))


@pytest.mark.parametrize(("state", "is_told"), [(TIME_OK, False), (TIME_ERROR, True)])
def test_a_clock_that_is_not_synchronised_is_told(
    start: Start, configure: Configure, tmp_path: Path, state: int, is_told: bool
) -> None:
    daemon = start(configure(WELL), LD_PRELOAD=str(library_of_clock(tmp_path, state)))
    assert ("clock" in warnings(daemon)) == is_told
    if is_told:
        daemon.wait_for_line(
            r"clock: the clock of this host is not synchronised; .* Remedy: run a time service \("
            r"apt-get install"
        )


@pytest.mark.parametrize(("count", "is_told"), [(799, False), (800, True), (1000, True)])
def test_a_table_of_connection_tracking_that_is_nearly_full_is_told(
    start: Start, configure: Configure, tmp_path: Path, count: int, is_told: bool
) -> None:
    table = ConnectionTracking(tmp_path, count=count, most=1000)
    daemon = start(configure(WELL), prefix=table.prefix)
    assert ("connection-tracking" in warnings(daemon)) == is_told
    if is_told:
        daemon.wait_for_line(
            rf"connection-tracking: {count} of 1000 entries of the kernel's table are taken; .* "
            r"Remedy: do not track the tracker's ports \(notrack, docs/kernel\.md\)"
        )


def test_an_interval_that_no_list_accepts_is_told(start: Start, configure: Configure) -> None:
    daemon = start(configure("[core.announce_policy]\ninterval = 299"))
    daemon.wait_for_line(
        r"WARN torrust_tracker::selfcheck: interval: core\.announce_policy\.interval is 299 s, .*"
        r"Remedy: core\.announce_policy\.interval = 300"
    )


def test_the_interval_of_a_private_tracker_is_its_own(start: Start, configure: Configure) -> None:
    assert "interval" not in warnings(start(configure(private=True)))


def test_a_token_that_everybody_knows_is_told_and_not_shown(start: Start, configure: Configure) -> None:
    daemon = start(configure(WELL, services(api="0.0.0.0:0")))
    line = daemon.wait_for_line(
        r"WARN torrust_tracker::selfcheck: known-token: the API listens at 0\.0\.0\.0:0, and "
        r"http_api\.access_tokens\.admin is the token of the development configuration"
    )
    assert KNOWN_TOKEN not in line
    assert f'admin = "{KNOWN_TOKEN}"' in default_config()


def test_a_small_receive_buffer_is_one_line_for_all_sockets(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    library = library_of_small_buffers(tmp_path, 100 * 1024)
    daemon = start(configure(WELL), LD_PRELOAD=str(library))  # two UDP trackers
    daemon.wait_for_line(
        r"receive-buffer: the kernel grants 100 KiB of the 8192 KiB that were asked for 127\.0\.0\.1:0, "
        r"\[::1\]:0 .* Remedy: sysctl -w net\.core\.rmem_max=8388608"
    )
    assert warnings(daemon).count("receive-buffer") == 1


def test_a_large_buffer_that_somebody_else_has_given_stays(start: Start, configure: Configure) -> None:
    """As systemd does (ReceiveBuffer=8M)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        with contextlib.suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, 33, UDP_RECEIVE_BUFFER)  # SO_RCVBUFFORCE
        if buffers_of(held).receive < UDP_RECEIVE_BUFFER:
            do_without("only root can give a socket a large buffer")
        config = configure(WELL, services(udp=f"127.0.0.1:{held.getsockname()[1]}"))
        daemon = start(config, held=[held], prefix=WITHOUT_NET_ADMIN)
        assert "receive-buffer" not in warnings(daemon)
        assert buffers_of(held).receive == UDP_RECEIVE_BUFFER


def test_a_low_limit_of_open_files_is_told(start: Start, configure: Configure) -> None:
    daemon = start(configure(WELL), prefix=("prlimit", "--nofile=1024:1024"))
    daemon.wait_for_line(
        "file-limit: at most 1024 files may be open, so the HTTP trackers take at most 512 connections. "
        "Remedy: LimitNOFILE=65536"
    )


@pytest.fixture
def without_ipv6() -> Iterator[None]:
    try:
        with private_network():
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
            yield
    except NoPrivateNetwork as error:
        do_without(str(error))


@pytest.mark.usefixtures("without_ipv6")
def test_ipv6_that_is_switched_off_is_told_and_ipv4_is_served(
    start: Start, configure: Configure, info_hash: bytes
) -> None:
    daemon = start(configure(WELL, services(udp="[::]:6969", http="[::]:7070")))
    daemon.wait_for_line(
        r"ipv6-off: IPv6 is switched off on this host \(net\.ipv6\.conf\.all\.disable_ipv6\), so nobody "
        r"reaches \[::\]:6969, \[::\]:7070 over it\. Remedy: sysctl -w net\.ipv6\.conf\.all\.disable_ipv6=0"
    )
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id=-qB00000000000000001&port=1&compact=1"
    with urllib.request.urlopen(f"http://127.0.0.1:7070/announce?{query}", timeout=10) as answer:
        assert b"8:intervali300e" in answer.read()
    health = daemon.address("health")
    with urllib.request.urlopen(f"http://{health[0]}:{health[1]}/health_check", timeout=10) as answer:
        assert json.load(answer)["status"] == "Ok"


@pytest.mark.usefixtures("without_ipv6")
def test_an_exact_ipv6_address_without_ipv6_ends_the_start_with_a_line(
    launch: Start, configure: Configure
) -> None:
    daemon = launch(configure(WELL, services(udp="[2001:db8::1]:6969")))
    assert daemon.wait() == 1
    assert daemon.errors() == (
        "torrust-tracker: the UDP tracker cannot listen on [2001:db8::1]:6969: Cannot assign requested "
        "address; no interface of this host has this address: configure one that it has\n"
    )


# --- while it runs


def test_a_table_of_connection_tracking_that_fills_later_is_told_once(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    table = ConnectionTracking(tmp_path, count=0, most=1000)
    daemon = start(configure(WELL), prefix=(*table.prefix, *HURRIED))
    assert "connection-tracking" not in warnings(daemon)
    table.holds(1000)
    daemon.wait_for_line("connection-tracking: 1000 of 1000 entries of the kernel's table are taken")
    table.holds(900)
    time.sleep(5)  # two looks
    assert warnings(daemon).count("connection-tracking") == 1


def test_requests_that_the_kernel_drops_are_told(start: Start, configure: Configure) -> None:
    daemon = start(configure(WELL), prefix=HURRIED)
    assert daemon.get("health", "/health_check")[0] == 200  # so it watches by now
    with daemon.udp() as client:
        daemon.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 20
        while not drops_at(client.getpeername()[1]):  # a busy kernel loses some on the way to the socket
            assert time.monotonic() < deadline
            for _ in range(1000):
                client.send(bytes(1400))
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_for_line(
            r"kernel-drops: the kernel dropped \d+ UDP requests in the last minute, since the receive "
            r"buffer was full\. Remedy: sysctl -w net\.core\.rmem_max=8388608"
        )


def drops_at(port: int) -> int:
    """Datagrams for which the kernel found no room in the IPv4 sockets at that port."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[1].endswith(f":{port:04X}"))


@contextlib.contextmanager
def proxy(to: tuple[str, int], *, forwards: bool) -> Iterator[int]:
    """A reverse proxy, with or without X-Forwarded-For; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fields = {"X-Forwarded-For": self.client_address[0]} if forwards else {}
            request = urllib.request.Request(f"http://{to[0]}:{to[1]}{self.path}", headers=fields)
            with urllib.request.urlopen(request, timeout=10) as answer:
                body = answer.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(5)


def announce(port: int, info_hash: bytes, number: int, *, sources: int = 3) -> bytes:
    """What one of many clients is answered, over a connection of its own."""
    source = (f"127.0.0.{2 + number % sources}", 0)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=source)
    with contextlib.closing(client):
        query = f"info_hash={quote_from_bytes(info_hash)}&peer_id=-qB00000000000000001&compact=1"
        client.request("GET", f"/announce?{query}&port={6881 + number % 50}")
        return client.getresponse().read()


def announce_until(daemon: Any, name: str, port: int, info_hash: bytes) -> str:
    """Go on until the daemon tells of this cause; the line."""
    until = time.monotonic() + 60
    for number in range(100_000):
        announce(port, info_hash, number)
        for line in daemon.lines:
            if f"WARN torrust_tracker::selfcheck: {name}: " in line:
                return str(line)
        assert time.monotonic() < until, daemon.lines[-5:]
    raise AssertionError


def test_a_proxy_that_is_not_configured_is_told(start: Start, configure: Configure, info_hash: bytes) -> None:
    daemon = start(configure(WELL), prefix=CROWDED)
    with proxy(daemon.address("http"), forwards=True) as port:
        line = announce_until(daemon, "one-address", port, info_hash)
    assert " of the last minute came from 127.0.0.1, for several ports: a proxy stands in front" in line
    assert "Remedy: core.net.on_reverse_proxy = true" in line
    assert {peer["peer_addr"].split(":")[0] for peer in daemon.torrent(info_hash)["peers"]} == {"127.0.0.1"}


def test_a_proxy_that_does_not_forward_is_told(start: Start, configure: Configure, info_hash: bytes) -> None:
    daemon = start(configure(f"{WELL}\n[core.net]\non_reverse_proxy = true"), prefix=CROWDED)
    with proxy(daemon.address("http"), forwards=False) as port:
        line = announce_until(daemon, "no-forwarded-address", port, info_hash)
    assert "had no usable X-Forwarded-For and were refused" in line
    assert "Remedy: core.net.on_reverse_proxy = false if there is no proxy" in line


def test_a_proxy_that_is_configured_is_no_news(start: Start, configure: Configure, info_hash: bytes) -> None:
    """Nor are clients of several addresses. In the end clients come past the proxy, which is told."""
    daemon = start(configure(f"{WELL}\n[core.net]\non_reverse_proxy = true"), prefix=CROWDED)
    with proxy(daemon.address("http"), forwards=True) as port:
        for number in range(300):
            assert b"failure reason" not in announce(port, info_hash, number)
    announce_until(daemon, "no-forwarded-address", daemon.address("http")[1], info_hash)
    assert "one-address" not in warnings(daemon)
