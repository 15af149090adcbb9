"""`http_health_check`: asks a health check URL, for a container's HEALTHCHECK.

It runs every few seconds, so it imports the standard library only, and of it what starts fast.
"""

import sys
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection, InvalidURL
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple
from urllib.parse import urlsplit

_PATIENCE = 5.0
"""Seconds, for all of it: names, connection and answer."""

_USAGE = """Usage:   http_health_check <HEALTH_URL>
Example: http_health_check http://127.0.0.1:1313/health_check"""


class Verdict(NamedTuple):
    exit_status: int
    line: str


def main() -> None:
    if len(sys.argv) != 2:
        print(_USAGE, file=sys.stderr)
        sys.exit(1)
    try:
        print("Health check ...", flush=True)
        verdict = check_health(sys.argv[1], patience=_PATIENCE)
    except KeyboardInterrupt:
        verdict = Verdict(1, "Aborted!")
    print(verdict.line)
    sys.exit(verdict.exit_status)


def check_health(url: str, *, patience: float) -> Verdict:
    """Healthy is an answer of 2xx within `patience` seconds; a redirection is not followed."""
    verdicts = SimpleQueue[Verdict]()
    # In a thread, since a socket's time-out says nothing of names, nor of an answer that comes in drops.
    Thread(target=lambda: verdicts.put(_ask(url, patience)), daemon=True).start()
    try:
        return verdicts.get(timeout=patience)
    except Empty:
        return _no_answer(url, f"no answer within {patience:g} s")


def _ask(url: str, patience: float) -> Verdict:
    try:
        status = _status(url, patience)
    except (InvalidURL, ValueError) as error:
        return Verdict(1, f"ERROR: builder error: {error}")
    except TimeoutError:
        return _no_answer(url, f"no answer within {patience:g} s")
    except OSError as error:
        return _no_answer(url, error.strerror or str(error))
    except HTTPException as error:
        return _no_answer(url, f"no HTTP answer ({type(error).__name__})")
    if 200 <= status < 300:
        return Verdict(0, f"STATUS: {status_text(status)}")
    return Verdict(1, "Non-success status received.")


def _status(url: str, patience: float) -> int:
    """Raises ValueError if the URL is none of HTTP, OSError and HTTPException."""
    parts = urlsplit(url)
    kinds = {"http": HTTPConnection, "https": HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise ValueError(f"not a URL of http:// or https://: {url}")
    target = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
    with closing(kinds[parts.scheme](parts.hostname, parts.port, timeout=patience)) as connection:
        connection.request("GET", target)
        with connection.getresponse() as response:
            status: int = response.status
            return status


def status_text(status: int) -> str:
    """`200 OK`: a status with its name in RFC 9110, whatever the service calls it."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} <unknown status code>"


def _no_answer(url: str, reason: str) -> Verdict:
    return Verdict(1, f"ERROR: error sending request for url ({url}): {reason}")


if __name__ == "__main__":
    main()
