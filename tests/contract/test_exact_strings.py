"""What other programs look for, word for word, in answers and in the log of services side by side."""

import json
import re
from typing import Any

import pytest

pytestmark = pytest.mark.slow

XFF = (
    "missing or invalid the right most X-Forwarded-For IP (mandatory on reverse proxy tracker configuration)"
)


@pytest.mark.clause("B.2.1")
@pytest.mark.parametrize(
    "datagram", [bytes(1496), b"", b"x" * 16, bytes.fromhex("00000417271019800000000500000001")]
)
def test_errors_over_udp_begin_with_bad_request(public: Any, datagram: bytes) -> None:
    with public.conversation() as client:
        answer = client.exchange(datagram)
    assert answer[:4] == b"\0\0\0\3"
    assert answer[8:].startswith(b"bad request")


@pytest.mark.clause("B.2.2")
def test_services_say_where_they_have_started(public: Any) -> None:
    text = "\n".join(public.lines)
    for target, scheme in (("UDP TRACKER", "udp"), ("HTTP TRACKER", "http"), ("HEALTH CHECK API", "http")):
        assert re.search(rf" INFO {target}: Started on: {scheme}://127\.0\.0\.1:\d+$", text, re.MULTILINE)


@pytest.mark.clause("B.2.3")
def test_the_health_check_of_services_that_answer(public: Any) -> None:
    report = json.loads(public.request("health", "/health_check").body)
    http, udp, api = (f"127.0.0.1:{public.address(service)[1]}" for service in ("http", "udp", "api"))
    details = [(detail["info"], detail["result"]) for detail in report["details"]]
    for expected in (
        (f"checking http tracker health check at: http://{http}/health_check", {"Ok": "200 OK"}),
        (f"checking the udp tracker health check at: {udp}", {"Ok": "Connected"}),
        (f"checking api health check at: http://{api}/api/health_check", {"Ok": "200 OK"}),
    ):
        assert expected in details


MINIMUM = f"info_hash={'%01' * 20}&peer_id=-qB00000000000000001&port=17548"
ANNOUNCE = "Cannot parse query params for announce request: "


@pytest.mark.clause("B.2.4")
@pytest.mark.parametrize(
    ("tracker", "target", "text"),
    [
        ("public", "/announce", "missing query params for announce request"),
        ("public", "/scrape", "missing query params for scrape request"),
        ("public", "/announce?a=b=c", "Cannot parse query params: invalid param a=b=c"),
        ("public", "/announce?peer_id=-qB00000000000000001&port=1", f"{ANNOUNCE}missing param info_hash"),
        ("public", f"/announce?info_hash={'%01' * 20}&port=1", f"{ANNOUNCE}missing param peer_id"),
        ("public", f"/announce?{MINIMUM[: MINIMUM.index('&port')]}", f"{ANNOUNCE}missing param port"),
        ("public", f"/announce?{MINIMUM}&left=a", f"{ANNOUNCE}invalid param value"),
        ("public", f"/announce?{MINIMUM}&event=Started", f"{ANNOUNCE}invalid param value"),
        ("listed", f"/announce?{MINIMUM}", "is not whitelisted"),
        ("private", f"/announce?{MINIMUM}", "Authentication error"),
        ("private", f"/announce/INVALID_KEY?{MINIMUM}", "Authentication error"),
        ("private", f"/announce/{'a' * 32}?{MINIMUM}", "Authentication error"),
        ("private", f"/scrape/INVALID_KEY?info_hash={'%01' * 20}", "Authentication error"),
        ("proxied", f"/announce?{MINIMUM}", XFF),
    ],
)
def test_failures_over_http_say_why(
    request: pytest.FixtureRequest, tracker: str, target: str, text: str
) -> None:
    answer = request.getfixturevalue(tracker).request("http", target)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert text in answer.failure
