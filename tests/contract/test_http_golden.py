"""Every HTTP request that was put to the real Torrust, put to this tracker: the answers are the same.

Where they are not, on purpose, a table says so: `DIFFERENT_BODIES` for single answers, and for all of them:

* `vary` is missing, because bodies of the HTTP tracker are never compressed;
* a failure's reason ends before the place in Torrust's sources;
* peers are chosen at random, so the order in a list means nothing.
"""

import json
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import bencodepy
import pytest

from tests.recordings import Exchange, recorded_exchanges

pytestmark = pytest.mark.slow

SERVICES = """
[[udp_trackers]]
bind_address = "127.0.0.1:0"
[[http_trackers]]
bind_address = "127.0.0.1:0"
[[http_trackers]]
bind_address = "[::1]:0"
[http_api]
bind_address = "127.0.0.1:0"
access_tokens = { admin = "MyAccessToken" }
[health_check_api]
bind_address = "127.0.0.1:0"
"""
CORE = """
[core.net]
external_ip = "203.0.113.5"
on_reverse_proxy = {proxied}
[core.tracker_policy]
persistent_torrent_completed_stat = true
"""

# The last announcer has the peer id of the first but another port: a fourth peer here, while Torrust, which
# knows peers by their ids, lets it take the place of the first.
DIFFERENT_BODIES = {
    "announce with a key in public mode": (
        b"d8:completei3e10:incompletei1e8:intervali120e12:min intervali120e5:peersl"
        b"d2:ip11:203.0.113.57:peer id20:-qB000000000000000014:porti17548ee"
        b"d2:ip11:203.0.113.57:peer id20:-qB000000000000000024:porti17549ee"
        b"d2:ip11:203.0.113.57:peer id20:-qB000000000000000034:porti17550eeee"
    ),
    "scrape": (
        b"d5:filesd20:" + b"\x01" * 20 + b"d8:completei3e10:downloadedi0e10:incompletei1eeee"
    ),
    "scrape of two, one unknown": (
        b"d5:filesd20:" + b"\x01" * 20 + b"d8:completei3e10:downloadedi0e10:incompletei1ee"
        b"20:" + b"\x09" * 20 + b"d8:completei0e10:downloadedi0e10:incompletei0eeee"
    ),
}  # fmt: skip


@pytest.mark.clause("3.1.1", "3.1.2", "3.1.4", "3.1.6", "3.2.1", "3.2.2", "3.2.3")
@pytest.mark.clause("3.4.2", "3.4.3", "3.4.16", "3.4.17", "3.4.18", "3.4.22", "3.4.24")
@pytest.mark.clause("3.9.1", "3.9.3", "3.10.8", "3.10.2", "3.10.4")
def test_a_public_tracker_answers_as_torrust(start: Any, configure: Callable[..., str]) -> None:
    replay("http-public", start(configure(CORE.format(proxied="false"), SERVICES)), count=28)


@pytest.mark.clause("3.5.10", "3.10.11")
def test_a_listed_tracker_answers_as_torrust(start: Any, configure: Callable[..., str]) -> None:
    replay("listed", start(configure(CORE.format(proxied="false"), SERVICES, listed=True)), count=2)


@pytest.mark.clause("3.5.4", "3.5.6", "3.5.7", "3.5.8", "3.10.12")
def test_a_private_tracker_answers_as_torrust(start: Any, configure: Callable[..., str]) -> None:
    daemon = start(configure(CORE.format(proxied="false"), SERVICES, private=True))
    for key, seconds in (("uTIzNYqbRcpNHGW87KGXvNS7rZELocAt", 60), ("loUrCRR8IvpYbz8Ss5sm2nknniverL6y", 0)):
        assert daemon.api("keys", method="POST", body={"key": key, "seconds_valid": seconds})[0] == 200
    replay("private", daemon, count=8)


@pytest.mark.clause("3.5.11", "3.6.2", "3.6.5")
def test_a_tracker_behind_a_proxy_answers_as_torrust(start: Any, configure: Callable[..., str]) -> None:
    replay("reverse-proxy", start(configure(CORE.format(proxied="true"), SERVICES)), count=4)


def replay(name: str, daemon: Any, *, count: int) -> None:
    """`count`: how many exchanges the file holds."""
    recorded = list(recorded_exchanges(name))
    assert len(recorded) == count
    for exchange in recorded:
        service = "api" if exchange.target.startswith("/api/") else "http"
        answer = daemon.request(
            service,
            exchange.target,
            method=exchange.method,
            headers=dict(exchange.headers),
            ipv6="over IPv6" in exchange.title,
        )
        assert answer.status == exchange.status, exchange.title
        check_fields(exchange, answer, is_tracker=service == "http")
        check_body(exchange, answer)


def check_fields(exchange: Exchange, answer: Any, *, is_tracker: bool) -> None:
    given = {name.lower(): value for name, value in answer.headers.items()}
    if is_tracker:
        names = [name for name in exchange.fields if name != "vary"]
        assert [name for name, _ in answer.headers.items()] == names, exchange.title
    else:
        assert given.keys() - {"server"} == exchange.fields.keys(), exchange.title
    for name in ("content-type", "allow"):
        assert given.get(name) == exchange.fields.get(name), exchange.title
    assert UUID(given["x-request-id"]).version == 4, exchange.title
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", given["date"]), exchange.title
    assert parsedate_to_datetime(given["date"]), exchange.title
    assert int(given["content-length"]) == len(answer.body), exchange.title


def check_body(exchange: Exchange, answer: Any) -> None:
    expected = DIFFERENT_BODIES.get(exchange.title, exchange.body)
    if exchange.fields.get("content-type") == "application/json":
        assert without_times(answer.body) == without_times(expected), exchange.title
        return
    expected = without_location(expected)
    if b"5:peers" in expected:
        assert without_order(answer.body) == without_order(expected), exchange.title
    else:
        assert answer.body == expected, exchange.title


def without_location(body: bytes) -> bytes:
    """A body as it is when the reason ends before the place in Torrust's sources."""
    if not body.startswith(b"d14:failure reason"):
        return body
    reason = bencodepy.decode(body)[b"failure reason"]
    shortened, places = re.subn(rb"(,| Error in| in)? (src|packages)/.*", b"", reason)
    assert places == 1
    return b"d14:failure reason%d:%be" % (len(shortened), shortened)


def without_order(body: bytes) -> Any:
    decoded = bencodepy.decode(body)
    assert bencodepy.encode(decoded) == body
    peers = decoded[b"peers"]
    if isinstance(peers, bytes):
        decoded[b"peers"] = b"".join(sorted(peers[at : at + 6] for at in range(0, len(peers), 6)))
    else:
        decoded[b"peers"] = sorted(peers, key=lambda peer: peer[b"port"])
    return decoded


def without_times(body: bytes) -> str:
    """JSON without the values that differ from run to run; its members keep their order."""
    return re.sub(r'("updated(_milliseconds_ago)?"): \d+', r"\1: 0", json.dumps(json.loads(body)))
