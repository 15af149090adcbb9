"""Services that speak TLS."""

import contextlib
import json
import signal
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import make_certificate

pytestmark = pytest.mark.slow

Start = Callable[..., Any]


def config(configure: Callable[..., str], certificate: tuple[Path, Path]) -> str:
    tls = f'{{ ssl_cert_path = "{certificate[0]}", ssl_key_path = "{certificate[1]}" }}'
    return configure(
        services=f"""
            [[http_trackers]]
            bind_address = "127.0.0.1:0"
            tsl_config = {tls}
            [http_api]
            bind_address = "127.0.0.1:0"
            tsl_config = {tls}
            access_tokens = {{ admin = "MyAccessToken" }}
            [health_check_api]
            bind_address = "127.0.0.1:0"
        """
    )


def get(daemon: Any, service: str, target: str, client_tls: ssl.SSLContext) -> bytes:
    host, port = daemon.address(service)
    with urllib.request.urlopen(f"https://{host}:{port}{target}", context=client_tls, timeout=10) as response:
        body: bytes = response.read()
    return body


@pytest.mark.clause("1.6.9", "1.6.12", "2.3.4", "2.3.10")
@pytest.mark.clause("3.2.17")
@pytest.mark.clause("7.1.7")
def test_tracker_and_api_speak_tls(
    start: Start, configure: Callable[..., str], certificate: tuple[Path, Path], client_tls: ssl.SSLContext
) -> None:
    daemon = start(config(configure, certificate))
    query = f"info_hash={'%01' * 20}&peer_id=-qB00000000000000001&port=6881&compact=1"
    assert get(daemon, "http", f"/announce?{query}", client_tls).startswith(b"d8:completei1e")
    stats = json.loads(get(daemon, "api", "/api/v1/stats?token=MyAccessToken", client_tls))
    assert stats["tcp4_announces_handled"] == 1
    daemon.wait_for_line(r"HTTP TRACKER: Starting on: https://127\.0\.0\.1:0$")
    daemon.wait_for_line(r"HTTP TRACKER: Started on: https://127\.0\.0\.1:[1-9]\d*$")
    daemon.wait_for_line(r"API: Starting on https://127\.0\.0\.1:0$")
    daemon.wait_for_line(r"API: Started on https://127\.0\.0\.1:[1-9]\d*$")
    app = " INFO torrust_tracker::bootstrap::app: Using https:"
    for service in (1, 2):
        daemon.wait_for_line(f"{app} cert path: {certificate[0]}\\.$", times=service)
        daemon.wait_for_line(f"{app} key path: {certificate[1]}\\.$", times=service)


@pytest.mark.clause("11.2.5")
@pytest.mark.clause("8.1.7", "8.3.8")
def test_the_health_check_sees_services_behind_tls(
    start: Start, configure: Callable[..., str], certificate: tuple[Path, Path]
) -> None:
    daemon = start(config(configure, certificate))
    status, body = daemon.get("health", "/health_check")
    report = json.loads(body)
    assert (status, report["status"]) == (200, "Ok")
    assert [detail["result"] for detail in report["details"]] == [{"Ok": "200 OK"}, {"Ok": "200 OK"}]
    urls = [detail["info"].partition(" health check at: ")[2] for detail in report["details"]]
    hosts = ["{}:{}".format(*daemon.address(service)) for service in ("http", "api")]
    assert urls == [f"https://{hosts[0]}/health_check", f"https://{hosts[1]}/api/health_check"]


@pytest.mark.clause("3.2.13")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_and_http_1_1_are_offered(
    start: Start,
    configure: Callable[..., str],
    certificate: tuple[Path, Path],
    client_tls: ssl.SSLContext,
    version: ssl.TLSVersion,
) -> None:
    daemon = start(config(configure, certificate))
    client_tls.minimum_version = client_tls.maximum_version = version
    client_tls.set_alpn_protocols(["h2", "http/1.1"])
    host, port = daemon.address("http")
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        client_tls.wrap_socket(plain, server_hostname=host) as client,
    ):
        assert client.selected_alpn_protocol() == "http/1.1"
        assert client.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2"}.get(version, "TLSv1.3")


def test_a_renewed_certificate_is_taken_up_on_sighup(
    start: Start, configure: Callable[..., str], tmp_path: Path
) -> None:
    cert, key = make_certificate(tmp_path)
    daemon = start(config(configure, (cert, key)))
    doors = ("http", "api")
    old = ssl.PEM_cert_to_DER_cert(cert.read_text())
    assert [presented(daemon.address(door)) for door in doors] == [old, old]
    make_certificate(tmp_path)
    daemon.process.send_signal(signal.SIGHUP)
    for service in ("the HTTP tracker", "the API"):
        daemon.wait_for_line(f"INFO .*The certificate of {service} is read anew: {cert}$")
    new = ssl.PEM_cert_to_DER_cert(cert.read_text())
    assert [presented(daemon.address(door)) for door in doors] == [new, new] != [old, old]
    key.write_text("no key")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_line(f"WARN .*A changed certificate is not taken up, .*{cert}.*", times=2)
    assert [presented(daemon.address(door)) for door in doors] == [new, new]
    assert daemon.stop() == 0


def presented(address: tuple[str, int]) -> bytes:
    """The certificate that a client gets."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(address, timeout=10))


def test_sighup_ends_nobody(start: Start) -> None:
    daemon = start()
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.get("health", "/health_check")[0] == 200
    assert daemon.stop() == 0


HEALTH_CHECK = b"GET /health_check HTTP/1.1\r\nHost: x\r\n\r\n"
RESERVED = 512  # files that the daemon keeps for other things than connections of HTTP trackers


def ask(
    address: tuple[str, int], context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[bool, ssl.SSLSession | None]:
    """Ask over a new connection: whether it resumed `session`, and the session for the next one."""
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=address[0], session=session) as client,
    ):
        client.sendall(HEALTH_CHECK)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        return bool(client.session_reused), client.session


def hello(context: ssl.SSLContext) -> bytes:
    """The first message of a client's handshake."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()


def is_closed(client: socket.socket) -> bool:
    """Whether the daemon closes this connection without a word, before the socket's time-out."""
    try:
        return client.recv(4096) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(
    start: Start,
    configure: Callable[..., str],
    certificate: tuple[Path, Path],
    client_tls: ssl.SSLContext,
    version: ssl.TLSVersion,
) -> None:
    daemon = start(config(configure, certificate))
    client_tls.minimum_version = client_tls.maximum_version = version
    resumed, first = ask(daemon.address("http"), client_tls)
    assert not resumed
    resumed, second = ask(daemon.address("http"), client_tls, first)
    assert resumed
    for session in (second, first, first):
        assert ask(daemon.address("http"), client_tls, session)[0]


def test_a_handshake_that_stalls_ends_in_ten_seconds(
    start: Start, configure: Callable[..., str], certificate: tuple[Path, Path], client_tls: ssl.SSLContext
) -> None:
    daemon = start(config(configure, certificate))
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        clients = []
        for service in ("http", "api"):
            for sent in (b"", hello(client_tls)[:100]):
                client = stack.enter_context(socket.create_connection(daemon.address(service), timeout=15))
                client.sendall(sent)
                clients.append(client)
        assert [is_closed(client) for client in clients] == [True] * 4
    assert 9 < time.monotonic() - begun < 14


def test_handshakes_that_never_end_are_bounded(
    launch: Start, configure: Callable[..., str], certificate: tuple[Path, Path], client_tls: ssl.SSLContext
) -> None:
    limit = RESERVED + 8
    daemon = launch(config(configure, certificate), prefix=("prlimit", f"--nofile={limit}:{limit}"))
    daemon.wait_for_line("HEALTH CHECK API: Started on")
    address = daemon.address("http")
    with contextlib.ExitStack() as stack:
        flood = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(40)]
        assert all(is_closed(client) for client in flood[8:])
        for client in flood[:8]:
            with client_tls.wrap_socket(client, server_hostname=address[0]) as served:
                served.sendall(HEALTH_CHECK)
                assert served.recv(4096).startswith(b"HTTP/1.1 200 ")
