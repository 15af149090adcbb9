"""The tracker behind nginx, configured as docs/reverse-proxy.md says."""

import contextlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import bencodepy
import pytest

from tests.ports import free_port
from tests.skips import do_without

pytestmark = pytest.mark.slow

Start = Callable[..., Any]

PAGE = Path(__file__).parents[2] / "docs" / "reverse-proxy.md"


def block(language: str) -> str:
    """The example of the page."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


class Proxied:
    def __init__(self, daemon: Any, port: int, tls: ssl.SSLContext) -> None:
        self.daemon = daemon
        self._port = port
        self._tls = tls

    def announces(
        self, *, count: int, source: str, headers: dict[str, str] | None = None, info_hash: bytes
    ) -> list[dict[bytes, Any]]:
        """The answers to announces over one connection of the client at `source`."""
        answers = []
        client = http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._tls, timeout=10, source_address=(source, 0)
        )
        with contextlib.closing(client):
            for number in range(count):
                query = f"info_hash={quote_from_bytes(info_hash)}&peer_id=-qB00000000000000001&compact=1"
                client.request("GET", f"/announce?{query}&port={6881 + number}", headers=headers or {})
                answers.append(bencodepy.decode(client.getresponse().read()))
        return answers


@pytest.fixture
def proxied(
    start: Start, tmp_path: Path, certificate: tuple[Path, Path], client_tls: ssl.SSLContext
) -> Iterator[Proxied]:
    if shutil.which("nginx") is None:
        do_without("nginx is missing (Debian: nginx-light)")
    inner, outer = free_port(), free_port()
    services = "[http_api]\nbind_address = '127.0.0.1:0'\naccess_tokens = { admin = 'MyAccessToken' }\n"
    health = "[health_check_api]\nbind_address = '127.0.0.1:0'\n"
    example = block("toml").replace("127.0.0.1:7070", f"127.0.0.1:{inner}")
    head = (
        '[metadata]\nschema_version = "2.0.0"\n[logging]\nthreshold = "info"\n'
        '[core]\nprivate = false\nlisted = false\n[core.database]\npath = "sqlite3.db"\n'
    )
    daemon = start(head + example + services + health)
    server = (
        block("nginx")
        .replace("127.0.0.1:7070", f"127.0.0.1:{inner}")
        .replace("listen 443", f"listen {outer}")
    )
    for path, file in zip(("fullchain", "privkey"), certificate, strict=True):
        server = server.replace(f"/etc/torrust/tls/{path}.pem", str(file))
    (tmp_path / "nginx.conf").write_text(
        f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n"
        f"worker_processes 1;\nevents {{}}\nhttp {{\n{server}\n}}\n"
    )
    with subprocess.Popen(
        ["nginx", "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")]
    ) as nginx:
        try:
            wait_for(outer)
            yield Proxied(daemon, outer, client_tls)
        finally:
            nginx.terminate()


def wait_for(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < until, "nginx does not listen"
        time.sleep(0.05)


def connections_to(port: int) -> int:
    """Established TCP connections whose server has this port."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [row.split() for row in rows]
    return sum(local.endswith(f":{port:04X}") and state == "01" for _, local, _, state, *_ in fields)


def test_clients_of_a_proxy_are_known_by_their_own_addresses(proxied: Proxied, info_hash: bytes) -> None:
    proxied.announces(count=1, source="127.0.0.2", info_hash=info_hash)
    forged = {"X-Forwarded-For": "198.51.100.1"}
    proxied.announces(count=1, source="127.0.0.3", headers=forged, info_hash=info_hash)
    peers = {peer["peer_addr"] for peer in proxied.daemon.torrent(info_hash)["peers"]}
    assert peers == {"127.0.0.2:6881", "127.0.0.3:6881"}


def test_the_proxy_keeps_its_connection_to_the_tracker(proxied: Proxied, info_hash: bytes) -> None:
    port = proxied.daemon.address("http")[1]
    for _ in range(5):
        answers = proxied.announces(count=20, source="127.0.0.2", info_hash=info_hash)
        assert all(b"failure reason" not in answer for answer in answers)
        assert connections_to(port) == 1
    assert proxied.daemon.stats()["tcp4_announces_handled"] == 100


def test_who_comes_past_the_proxy_is_refused(proxied: Proxied, info_hash: bytes) -> None:
    answer = proxied.daemon.announce(info_hash)
    assert "missing or invalid the right most X-Forwarded-For IP" in answer.failure
