"""Trackers that answer as a test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.ports import free_port

Answer = Callable[[bytes], bytes]


@pytest.fixture
def udp_tracker() -> Iterator[Callable[..., int]]:
    """Starts UDP trackers that answer each datagram with what `answer` makes of it; the port."""
    with ExitStack() as resources:

        def start(answer: Answer, host: str = "127.0.0.1") -> int:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            bound = resources.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            bound.bind((host, 0))

            def serve() -> None:
                while True:
                    datagram, client = bound.recvfrom(2048)
                    if not datagram:
                        return
                    bound.sendto(answer(datagram), client)

            def stop() -> None:
                with socket.socket(family, socket.SOCK_DGRAM) as last:
                    last.sendto(b"", bound.getsockname()[:2])
                thread.join(5)

            thread = threading.Thread(target=serve)
            thread.start()
            resources.callback(stop)
            port: int = bound.getsockname()[1]
            return port

        yield start


@pytest.fixture
def http_tracker() -> Iterator[Callable[..., str]]:
    """Starts HTTP services that answer every GET with `answer` of its target; the URL without a path."""
    with ExitStack() as resources:

        def start(answer: Callable[[str], bytes], status: int = 200) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    body = answer(self.path)
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, format: str, *args: object) -> None:
                    pass

            server = resources.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
            thread.start()
            resources.callback(thread.join, 5)
            resources.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}"

        yield start


@pytest.fixture
def closed_port() -> int:
    """Where nobody listens, over TCP nor over UDP."""
    return free_port()
