"""What the doctor says of trackers that do what they should not."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.certificates import make_certificate
from torrust_py.config import Config
from torrust_py.console.doors import check_doors, runs
from torrust_py.console.probes import NotAnswered, Refused, days_left
from torrust_py.core.types import AnnounceEvent, SwarmCounts, SwarmView
from torrust_py.selfcheck import Finding
from torrust_py.udp.packets import (
    encode_announce_response,
    encode_connect_response,
    encode_error_response,
    encode_scrape_response,
    parse_announce,
)

ONE = bytes([127, 0, 0, 1]) + (6881).to_bytes(2)
STRANGER = bytes([198, 51, 100, 9]) + (6881).to_bytes(2)


def config(closed_port: int, **tables: Any) -> Config:
    return Config.model_validate(
        {
            "metadata": {"schema_version": "2.0.0"},
            "logging": {"threshold": "info"},
            "core": {"private": False, "listed": False},
            "health_check_api": {"bind_address": f"127.0.0.1:{closed_port}"},
            **tables,
        }
    )


class UdpTracker:
    """One that does as it should, unless told otherwise; its interval is the default one."""

    def __init__(
        self,
        *,
        peers: tuple[bytes, ...] = (ONE,),
        first_peers: bytes = b"",
        leechers: int = 2,
        checks: bool = True,
        scrapes: int = 2,
    ) -> None:
        self._peers = b"".join(peers)
        self._first_peers = first_peers
        self._leechers = leechers
        self._checks = checks
        self._scrapes = scrapes
        self.stopped: list[int] = []

    def __call__(self, datagram: bytes) -> bytes:
        transaction_id, action = datagram[12:16], datagram[11]
        if action == 0:
            return encode_connect_response(transaction_id, b"accepted")
        if self._checks and not datagram.startswith(b"accepted"):
            return encode_error_response(transaction_id, "who are you")
        if action == 2:
            return encode_scrape_response(transaction_id, [SwarmCounts(0, 0, self._scrapes)])
        request = parse_announce(datagram)
        if request.event == AnnounceEvent.STOPPED:
            self.stopped.append(request.port)
        peers = self._first_peers if request.port == 6881 else self._peers
        swarm = SwarmView(seeders=0, leechers=self._leechers, peers_ipv4=peers, peers_ipv6=b"")
        return encode_announce_response(transaction_id, interval=120, swarm=swarm)


def asked(of: Config) -> dict[str, Finding]:
    findings = asyncio.run(check_doors(of, has_ipv6=True))
    return {finding.check: finding for finding in findings if finding.check != "health-check"}


@pytest.fixture
def ask_udp(udp_tracker: Callable[..., int], closed_port: int) -> Callable[..., dict[str, Finding]]:
    def ask(tracker: Callable[[bytes], bytes]) -> dict[str, Finding]:
        tables = {"udp_trackers": [{"bind_address": f"127.0.0.1:{udp_tracker(tracker)}"}]}
        return asked(config(closed_port, **tables))

    return ask


def test_a_tracker_that_does_as_it_should_is_well(ask_udp: Callable[..., dict[str, Finding]]) -> None:
    tracker = UdpTracker()
    assert {finding.result for finding in ask_udp(tracker).values()} == {"ok"}
    assert tracker.stopped == [6881, 6882]


@pytest.mark.parametrize(
    ("tracker", "check", "detail"),
    [
        (
            UdpTracker(peers=(ONE, STRANGER)),
            "udp-peers",
            "hands out 198.51.100.9:6881 of a torrent that 127.0.0.1:6881",
        ),
        (UdpTracker(first_peers=STRANGER), "udp-peers", "the tracker hands out 198.51.100.9:6881"),
        (UdpTracker(leechers=11), "udp-peers", "tells of 12 peers of a torrent that two have announced"),
        (UdpTracker(peers=()), "udp-peers", "a second peer is not told of the first, 127.0.0.1:6881"),
        (UdpTracker(scrapes=7), "udp-scrape", "7 leechers, where two have announced"),
        (UdpTracker(checks=False), "udp-connection-id", "a wrong one is taken"),
    ],
)
def test_a_rule_that_is_broken_is_named(
    ask_udp: Callable[..., dict[str, Finding]], tracker: UdpTracker, check: str, detail: str
) -> None:
    findings = ask_udp(tracker)
    assert [name for name, finding in findings.items() if finding.is_wrong] == [check]
    assert detail in findings[check].detail


def test_what_is_no_tracker_is_named(ask_udp: Callable[..., dict[str, Finding]]) -> None:
    findings = ask_udp(lambda datagram: b"\0\0\0\1" + datagram[12:16] + bytes(20))
    assert findings["udp-announce"].detail == (
        "a connect is answered with something else: no connect response"
    )


def test_another_answer_than_was_asked_for_is_named(ask_udp: Callable[..., dict[str, Finding]]) -> None:
    findings = ask_udp(lambda datagram: encode_connect_response(datagram[12:16], b"accepted"))
    assert findings["udp-announce"].detail == "an answer to another kind of request"


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"<html>", 200, "no answer of a tracker: "),
        (b"", 502, "status 502"),
        (b"d14:failure reason4:go ane", 200, "no answer of a tracker: "),
        (b"d14:failure reason7:go awaye", 200, "refused: go away"),
    ],
)
def test_an_http_tracker_that_answers_something_else_is_named(
    http_tracker: Callable[..., str], closed_port: int, body: bytes, status: int, detail: str
) -> None:
    address = urlsplit(http_tracker(lambda target: body, status)).netloc
    announce = asked(config(closed_port, http_trackers=[{"bind_address": address}]))["http-announce"]
    assert announce.result == "fail"
    assert announce.detail.startswith(detail)


def test_services_that_do_not_answer_are_named_by_the_health_check(
    http_tracker: Callable[..., str], closed_port: int
) -> None:
    details = [
        {"binding": "127.0.0.1:1", "info": "", "result": {"Err": "Timed Out"}},
        {"binding": "127.0.0.1:2", "info": "", "result": {"Ok": "200 OK"}},
    ]
    report = json.dumps({"status": "Error", "message": "", "details": details}).encode()
    address = urlsplit(http_tracker(lambda target: report, 503)).netloc
    of = config(closed_port, health_check_api={"bind_address": address})
    [finding] = asyncio.run(check_doors(of, has_ipv6=True))
    assert (finding.result, finding.detail) == ("fail", "these do not answer: 127.0.0.1:1")


@pytest.mark.parametrize("body", [b"hello", b"[]", b'{"details": [1]}'])
def test_another_program_in_place_of_the_health_check_is_named(
    http_tracker: Callable[..., str], closed_port: int, body: bytes
) -> None:
    address = urlsplit(http_tracker(lambda target: body)).netloc
    of = config(closed_port, health_check_api={"bind_address": address})
    [finding] = asyncio.run(check_doors(of, has_ipv6=True))
    assert (finding.result, finding.detail) == ("fail", "no report of a tracker")


def test_an_api_that_does_not_answer_is_named(http_tracker: Callable[..., str], closed_port: int) -> None:
    broken = urlsplit(http_tracker(lambda target: b"", 500)).netloc
    for address, detail in ((broken, "status 500"), (f"127.0.0.1:{closed_port}", "Connection refused")):
        finding = asked(config(closed_port, http_api={"bind_address": address}))["api"]
        assert (finding.result, finding.detail) == ("fail", detail)


def test_a_port_that_is_any_free_one_cannot_be_asked(closed_port: int) -> None:
    anywhere: dict[str, Any] = {
        "udp_trackers": [{"bind_address": "127.0.0.1:0"}],
        "health_check_api": {"bind_address": "127.0.0.1:0"},
    }
    assert runs(config(closed_port, **anywhere), has_ipv6=True)
    assert asked(config(closed_port, **anywhere)) == {}


def test_without_ipv6_nothing_is_asked_there(closed_port: int) -> None:
    of = config(closed_port, http_trackers=[{"bind_address": f"[::1]:{closed_port}"}])
    findings = asyncio.run(check_doors(of, has_ipv6=False))
    assert [finding.check for finding in findings] == ["health-check"]
    assert not runs(of, has_ipv6=False)


# --- certificates


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[Callable[[int, int], int]]:
    """Starts a server; its port."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(begins: int, ends: int) -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*make_certificate(tmp_path, begins=begins, ends=ends))
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        servers.append((server, thread))
        return int(server.server_address[1])

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(5)
        server.server_close()


def test_the_days_of_a_certificate_are_counted(tls_port: Callable[[int, int], int]) -> None:
    assert round(days_left("127.0.0.1", tls_port(-1, 30))) == 30


@pytest.mark.parametrize(
    ("begins", "ends", "what"), [(-9, -1, "it has expired"), (1, 9, "it is not valid yet")]
)
def test_a_certificate_of_another_time_is_named(
    tls_port: Callable[[int, int], int], begins: int, ends: int, what: str
) -> None:
    with pytest.raises(Refused, match=what):
        days_left("127.0.0.1", tls_port(begins, ends))


def test_where_nobody_speaks_tls_there_is_no_certificate(
    http_tracker: Callable[..., str], closed_port: int
) -> None:
    for port in (closed_port, urlsplit(http_tracker(lambda target: b"")).port or 0):
        with pytest.raises(NotAnswered):
            days_left("127.0.0.1", port)
