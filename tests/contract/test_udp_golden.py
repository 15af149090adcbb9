"""What the real Torrust was asked over UDP, in its order, and what it answered, byte for byte.

`golden/udp-public.txt` was recorded from a Torrust tracker 3.0. Connection ids are those of this run.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

GOLDEN = Path(__file__).parent / "golden" / "udp-public.txt"

CORE = """
[core.net]
external_ip = "203.0.113.5"
[core.tracker_policy]
persistent_torrent_completed_stat = true
"""

RECORDED_IDS = {
    bytes.fromhex("21add7beea09a882"): False,
    bytes.fromhex("992fcf5fc03c8ad2"): True,
}
"""The connection ids of the recording, and whether their client came over IPv6."""

DEVIATIONS = {
    "announce, port 0": (0x2222, "Port can't be 0"),
    "announce, event 4": (0x2222, "Invalid announce event"),
    "announce, too short": (0x2222, "invalid data"),
    "connect, wrong protocol id": (0x0005, "Protocol identifier missing"),
    "connect, too short": (0, "invalid data"),
    "scrape without hashes": (0x3333, "Full scrapes are not allowed"),
    "scrape, 19 bytes": (0x3333, "Invalid info hash list"),
    "unknown action": (0x3333, "Invalid action"),
    "empty datagram": (0, "Couldn't parse action"),
    "garbage": (0, "Couldn't parse action"),
}
"""Torrust answers what is malformed with transaction id 0 and text for programmers. Here the transaction id
is the request's, from 16 bytes on, and the text is `bad request: ` with the plain reason.
"""


class Exchange(NamedTuple):
    title: str
    sent: bytes
    received: bytes


def recorded() -> Iterator[Exchange]:
    for part in GOLDEN.read_text().split("\n## ")[1:]:
        title, sent, received = part.splitlines()[:3]
        yield Exchange(title, _datagram(sent), _datagram(received))


def _datagram(line: str) -> bytes:
    digits = re.fullmatch(r"[<>] (?:\(empty\)|([0-9a-f]+))", line)
    assert digits is not None, line
    return bytes.fromhex(digits[1] or "")


def expected(exchange: Exchange) -> bytes:
    if exchange.title not in DEVIATIONS:
        return exchange.received
    transaction_id, reason = DEVIATIONS[exchange.title]
    return b"\0\0\0\3" + transaction_id.to_bytes(4) + f"bad request: {reason}".encode()


def without_what_differs(datagram: bytes) -> tuple[bytes, list[bytes]]:
    """A response with a connection id made 0, or the head of an announce response and its peers, sorted."""
    if datagram.startswith(b"\0\0\0\0"):
        assert len(datagram) == 16
        return datagram[:8] + bytes(8), []
    if datagram.startswith(b"\0\0\0\1"):
        return datagram[:20], sorted(datagram[at : at + 6] for at in range(20, len(datagram), 6))
    return datagram, []


@pytest.mark.clause(
    "4.1.1", "4.1.2", "4.1.4", "4.1.5", "4.1.7", "4.3.9", "4.3.12", "4.4.2", "4.5.1", "4.5.4", "4.5.5"
)
def test_the_answers_are_those_of_the_recording(start: Start, configure: Configure) -> None:
    daemon = start(configure(core=CORE))
    with ExitStack() as stack:
        clients = {ipv6: stack.enter_context(daemon.conversation(ipv6=ipv6)) for ipv6 in (False, True)}
        for exchange in recorded():
            shown = exchange.sent[:8]
            ipv6 = RECORDED_IDS.get(shown, False)
            own_id = clients[ipv6].connection_id if shown in RECORDED_IDS else shown
            answer = clients[ipv6].exchange(own_id + exchange.sent[8:])
            assert without_what_differs(answer) == without_what_differs(expected(exchange)), exchange.title


def test_every_deviation_is_one() -> None:
    exchanges = {exchange.title: exchange for exchange in recorded()}
    assert len(exchanges) == 19
    for title in DEVIATIONS:
        assert expected(exchanges[title]) != exchanges[title].received
