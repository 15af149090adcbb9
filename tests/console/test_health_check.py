import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from torrust_py.console.health_check import check_health

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves one connection with these bytes; the URL to ask. The connection ends with the test."""
    with ExitStack() as resources:

        def start(answer: bytes) -> str:
            listening = resources.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer_one() -> None:
                connection, _ = listening.accept()
                resources.enter_context(connection)
                connection.recv(4096)
                connection.sendall(answer)
                if answer:
                    with suppress(OSError):  # who asked may have gone
                        connection.shutdown(socket.SHUT_WR)

            threading.Thread(target=answer_one, daemon=True).start()
            return f"http://127.0.0.1:{listening.getsockname()[1]}/health_check"

        yield start


@pytest.fixture
def closed_url() -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/health_check"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torrust_py.console.health_check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_it_imports_the_standard_library_alone() -> None:
    """It starts every few seconds in a container."""
    program = (
        "import sys; before = set(sys.modules); import torrust_py.console.health_check;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["torrust_py"]


def test_it_imports_nothing_of_the_tracker() -> None:
    program = (
        "import sys, torrust_py.console.health_check;"
        "print(*sorted(name for name in sys.modules if name.startswith('torrust_py')))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["torrust_py", "torrust_py.console", "torrust_py.console.health_check"]


@pytest.mark.clause("9.3.1")
def test_a_healthy_service_is_reported(serve: Serve) -> None:
    result = run(serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"))
    assert (result.returncode, result.stdout, result.stderr) == (0, "Health check ...\nSTATUS: 200 OK\n", "")


@pytest.mark.clause("9.3.3")
def test_a_service_that_is_away_is_an_error(closed_url: str) -> None:
    result = run(closed_url)
    first, second = result.stdout.splitlines()
    assert (result.returncode, first) == (1, "Health check ...")
    assert second.startswith(f"ERROR: error sending request for url ({closed_url})")


@pytest.mark.clause("9.3.4")
@pytest.mark.parametrize("arguments", [(), ("http://127.0.0.1:1", "http://127.0.0.1:1")])
def test_without_one_url_it_prints_its_usage(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(
        "Usage:   http_health_check <HEALTH_URL>\nExample: http_health_check http"
    )


@pytest.mark.clause("9.3.1")
def test_any_status_of_success_is_healthy(serve: Serve) -> None:
    verdict = check_health(serve(b"HTTP/1.1 204 Nothing Here\r\n\r\n"), patience=10)
    assert verdict == (0, "STATUS: 204 No Content")


def test_a_status_without_a_name_is_healthy(serve: Serve) -> None:
    verdict = check_health(serve(b"HTTP/1.1 299 Fine\r\n\r\n"), patience=10)
    assert verdict == (0, "STATUS: 299 <unknown status code>")


@pytest.mark.clause("9.3.2")
@pytest.mark.parametrize("status", [b"301 Moved Permanently", b"404 Not Found", b"503 Service Unavailable"])
def test_any_other_status_is_not_healthy(serve: Serve, status: bytes) -> None:
    verdict = check_health(serve(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n"), patience=10)
    assert verdict == (1, "Non-success status received.")


def test_a_silent_service_is_waited_for_no_longer_than_said(serve: Serve) -> None:
    url = serve(b"")
    verdict = check_health(url, patience=0.05)
    assert verdict == (1, f"ERROR: error sending request for url ({url}): no answer within 0.05 s")


def _heed_sigint() -> None:
    """Also where these tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_who_interrupts_it_gets_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/health_check"
        command = [sys.executable, "-m", "torrust_py.console.health_check", url]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_heed_sigint
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "Health check ...\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30)[0] == "Aborted!\n"
            assert process.returncode == 1


def test_an_answer_that_is_not_http_is_an_error(serve: Serve) -> None:
    url = serve(b"SSH-2.0-OpenSSH_9.2\r\n")
    verdict = check_health(url, patience=10)
    assert verdict == (1, f"ERROR: error sending request for url ({url}): no HTTP answer (BadStatusLine)")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:1313",
        "ftp://127.0.0.1/",
        "http://",
        "http://[::1",
        "http://127.0.0.1:x/",
        "http://127.0.0.1:1/a b",
    ],
)
def test_what_is_no_url_of_http_is_an_error(url: str) -> None:
    verdict = check_health(url, patience=10)
    assert verdict.exit_status == 1
    assert verdict.line.startswith("ERROR: builder error: ")
