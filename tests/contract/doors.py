"""What comes back at the doors of a daemon, read strictly, and the evidence that it has come to no harm."""

import contextlib
import json
import re
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

import bencodepy

from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId
from torrust_py.udp.packets import (
    ANNOUNCE,
    CONNECT,
    ERROR,
    MAX_PEERS_IPV4,
    MAX_PEERS_IPV6,
    MAX_SCRAPED,
    SCRAPE,
    AnnounceRequest,
    ScrapeRequest,
    encode_announce_request,
    encode_connect_request,
    encode_scrape_request,
)

TOKEN = "token=MyAccessToken"
TCP_DOORS = ("http", "api", "health")

_PEER_ID = PeerId(b"-qB00000000000000001")
_STORED, _SECOND, _THIRD = 6881, 6882, 6883  # ports of peers

# --- HTTP


class Response(NamedTuple):
    status: int
    fields: dict[str, str]
    """By names in lower case."""
    body: bytes


_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) [ -~]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([ -~]*)")


def read_responses(received: bytes, *, heads: bool = False) -> list[Response]:
    """All responses in what was received (RFC 9112), which holds nothing else; interim ones are left out.

    `heads`: they answer HEAD, and so have no bodies.
    """
    responses = []
    while received:
        head, ending, received = received.partition(b"\r\n\r\n")
        assert ending, f"a head that does not end: {head!r}"
        status, fields = _read_head(head)
        if status < 200:
            assert (status, fields) == (100, {})
            continue
        assert fields.keys() >= {"date"}
        body = b""
        if not heads:
            body, received = _take_body(fields, received)
        responses.append(Response(status, fields, body))
    return responses


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    status_line, *lines = head.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(status_line)
    assert status, status_line
    matches = [_FIELD.fullmatch(line) for line in lines]
    assert all(matches), head
    fields = {match[1].decode().lower(): match[2].decode() for match in matches if match}
    assert len(fields) == len(lines), "a field came twice"
    return int(status[1]), fields


def _take_body(fields: dict[str, str], received: bytes) -> tuple[bytes, bytes]:
    if "transfer-encoding" in fields:
        assert fields["transfer-encoding"] == "chunked"
        assert "content-length" not in fields
        return _take_chunks(received)
    size = int(fields["content-length"])
    assert len(received) >= size
    return received[:size], received[size:]


def _take_chunks(received: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, rest = received.partition(b"\r\n")
        count = int(size, 16)
        assert rest[count : count + 2] == b"\r\n"
        body, received = body + rest[:count], rest[count + 2 :]
        if count == 0:
            return body, received


def talk(daemon: Any, service: str, sent: bytes, *, timeout: float = 10) -> bytes:
    """All that comes back for these bytes until the service closes the connection; it must, by itself."""
    with socket.create_connection(daemon.address(service), timeout) as client:
        with contextlib.suppress(ConnectionError):  # refused before all of it was sent
            client.sendall(sent)
        return rest(client)


def talk_and_leave(daemon: Any, service: str, sent: bytes, *, patience: float = 0.02) -> bytes:
    """All that comes back for these bytes until the service has been silent for a while, or closes."""
    with socket.create_connection(daemon.address(service), 10) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
        received = b""
        client.settimeout(patience)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while data := client.recv(65_536):
                received += data
            return received
        client.settimeout(10)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        return received + rest(client)


def rest(client: socket.socket) -> bytes:
    """All that comes until the other side closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := client.recv(65_536):
            received += data
    return received


_TRACKER_STATUSES = {200, 400, 404, 405, 413, 431}


def check_tracker_response(response: Response) -> None:
    """What the HTTP tracker may answer to anything."""
    assert response.status in _TRACKER_STATUSES
    assert response.fields["x-request-id"]
    if response.status != 200:
        assert response.body == b""
        assert "content-type" not in response.fields
        return
    kind = response.fields["content-type"]
    if kind == "application/json":
        assert response.body == b'{"status":"Ok"}'
        return
    value = bencodepy.decode(response.body)
    assert bencodepy.encode(value) == response.body  # keys in order, nothing before or after it
    names = {bytes(name) for name in value}
    if kind == "text/plain; charset=utf-8":
        assert names == {b"failure reason"}
        value[b"failure reason"].decode()
        return
    assert kind == "application/octet-stream"
    if names == {b"files"}:
        counts = {b"complete", b"downloaded", b"incomplete"}
        assert all(len(name) == 20 and set(file) == counts for name, file in value[b"files"].items())
        return
    assert names - {b"peers6"} == {b"complete", b"incomplete", b"interval", b"min interval", b"peers"}
    if b"peers6" in names:
        assert (len(value[b"peers"]) % 6, len(value[b"peers6"]) % 18) == (0, 0)
    else:
        assert all(set(peer) == {b"ip", b"peer id", b"port"} for peer in value[b"peers"])


_WEB_STATUSES = {200, 400, 404, 405, 408, 409, 413, 415, 417, 422, 431, 500}
_REFUSALS = re.compile(
    r'Unhandled rejection: Err \{ reason: "(unauthorized|token not valid|failed to (whitelist torrent|'
    r"remove torrent from whitelist|reload whitelist|blacklist torrents?|remove torrent from blacklist|"
    r"generate key|delete key|reload keys): [^\n]+)\" \}"
)


def check_web_response(response: Response) -> None:
    """What the REST API and the health check API may answer to anything."""
    assert response.status in _WEB_STATUSES
    kind = response.fields.get("content-type", "")
    if kind.startswith("application/json"):
        assert kind in ("application/json", "application/json; charset=utf-8")
        assert response.status in (200, 503)
        json.loads(response.body)
        return
    assert response.status != 200
    if response.body:
        assert kind == "text/plain; charset=utf-8"
        text = response.body.decode()
        assert (response.status == 500) == bool(_REFUSALS.fullmatch(text)), text
    else:
        assert kind == ""
        assert response.status in (400, 404, 405, 408, 431)


# --- UDP

_MALFORMED = {
    "bad request: " + reason
    for reason in (
        "Port can't be 0",
        "Invalid announce event",
        "Full scrapes are not allowed",
        "Invalid info hash list",
        "invalid data",
        "Protocol identifier missing",
        "Invalid action",
        "Couldn't parse action",
    )
}
_REFUSED = re.compile(
    r"connection id could not be verified|tracker server error: The torrent: [0-9a-f]{40}, is not whitelisted"
)
_TRIES = 5


def answer_to(client: socket.socket, datagram: bytes) -> bytes:
    """The one answer to a datagram. More malformed ones than are answered in a second are sent again in the
    next.
    """
    for _ in range(_TRIES):
        answers = answers_to(client, datagram)
        if answers:
            (answer,) = answers
            return answer
        time.sleep(0.3)
    raise AssertionError(f"never answered: {datagram!r}")


def answers_to(client: socket.socket, *datagrams: bytes) -> list[bytes]:
    """What comes back for datagrams before a request that is sent after them is answered."""
    marker = secrets.token_bytes(4)
    for datagram in datagrams:
        client.send(datagram)
    client.send(encode_connect_request(marker))
    answers = []
    while (answer := client.recv(65_536))[:8] != bytes(4) + marker:
        answers.append(answer)
    return answers


def check_answer(datagram: bytes, answer: bytes, *, ipv6: bool) -> None:
    """That it is what a datagram may be answered with (BEP 15)."""
    action, body = int.from_bytes(answer[:4]), answer[8:]
    assert answer[4:8] == (datagram[12:16] if len(datagram) >= 16 else bytes(4))
    if action == ERROR:
        text = body.decode("ascii")
        assert text in _MALFORMED or _REFUSED.fullmatch(text), text
        return
    assert action == int.from_bytes(datagram[8:12])
    if action == CONNECT:
        assert (len(body), datagram[:8].hex()) == (8, "0000041727101980")
    elif action == ANNOUNCE:
        size, most = (18, MAX_PEERS_IPV6) if ipv6 else (6, MAX_PEERS_IPV4)
        assert (len(body) - 12) % size == 0
        assert 0 <= (len(body) - 12) // size <= most
    else:
        assert action == SCRAPE
        assert len(body) == 12 * min((len(datagram) - 16) // 20, MAX_SCRAPED)


def connection_id(client: socket.socket) -> bytes:
    return answer_to(client, encode_connect_request(b"conn"))[8:]


def announce_request(
    connection: bytes, info_hash: bytes, port: int, *, left: int = 1, num_want: int | None = None
) -> bytes:
    return encode_announce_request(
        AnnounceRequest(
            connection, b"anno", InfoHash(info_hash), _PEER_ID, 0, left, 0, AnnounceEvent.STARTED, num_want,
            port,
        )
    )  # fmt: skip


def scrape_request(connection: bytes, *info_hashes: bytes) -> bytes:
    return encode_scrape_request(ScrapeRequest(connection, b"scra", list(map(InfoHash, info_hashes))))


def announced_peers(answer: bytes) -> set[bytes]:
    """The endpoints in the answer to an announce over IPv4."""
    assert answer[:8] == b"\0\0\0\1anno", answer
    return {answer[at : at + 6] for at in range(20, len(answer), 6)}


# --- the evidence

PROXY = {"X-Forwarded-For": "203.0.113.7"}
"""Who asks, where the tracker believes it."""


def announce_target(info_hash: bytes, port: int, *, key: str = "") -> str:
    query = (
        f"info_hash={quote_from_bytes(info_hash)}&peer_id={_PEER_ID.decode()}&port={port}&left=1&compact=1"
    )
    return f"/announce{key and '/'}{key}?{query}"


class Stored(NamedTuple):
    """What a daemon was given to keep: a peer, and the key or the whitelist entry that it needed."""

    info_hash: bytes
    key: str


@contextlib.contextmanager
def unharmed(daemon: Any) -> Iterator[None]:
    """Afterwards the daemon is as before: it answers at every door, counts exactly, and has kept what it was
    given; and its log shows no fault of its own.
    """
    stored = _store(daemon)
    lines = len(daemon.lines)
    yield
    assert daemon.process.poll() is None, daemon.lines[-5:]
    _check_doors(daemon, stored)
    faults = [line for line in daemon.lines[lines:] if "Traceback" in line or " ERROR asyncio" in line]
    assert faults == []


def _store(daemon: Any) -> Stored:
    info_hash = secrets.token_bytes(20)
    body = _announce(daemon, info_hash, _STORED)
    key = ""
    if b"Missing authentication key" in body:
        key = json.loads(daemon.api("keys", method="POST", body={"key": None, "seconds_valid": 3600})[1])[
            "key"
        ]
        body = _announce(daemon, info_hash, _STORED, key=key)
    if b"is not whitelisted" in body:
        assert daemon.api(f"whitelist/{info_hash.hex()}", method="POST")[0] == 200
        body = _announce(daemon, info_hash, _STORED, key=key)
    assert b"failure reason" not in body, body
    return Stored(info_hash, key)


def _announce(daemon: Any, info_hash: bytes, port: int, *, key: str = "") -> bytes:
    status, body = daemon.get("http", announce_target(info_hash, port, key=key), headers=PROXY)
    assert status == 200
    return bytes(body)


def _check_doors(daemon: Any, stored: Stored) -> None:
    assert daemon.api("keys/reload")[0] == 200
    assert daemon.api("whitelist/reload")[0] == 200
    status, body = daemon.get("health", "/health_check")
    assert (status, json.loads(body)["status"]) == (200, "Ok"), body
    before = daemon.stats()
    answer = bencodepy.decode(_announce(daemon, stored.info_hash, _SECOND, key=stored.key))
    ports = {answer[b"peers"][at + 4 : at + 6] for at in range(0, len(answer[b"peers"]), 6)}
    assert _STORED.to_bytes(2) in ports
    scraped = f"/scrape{stored.key and '/'}{stored.key}?info_hash={quote_from_bytes(stored.info_hash)}"
    status, body = daemon.get("http", scraped, headers=PROXY)
    assert (status, bencodepy.decode(body)[b"files"][stored.info_hash][b"incomplete"]) == (200, 2)
    expected = {"tcp4_connections_handled": 2, "tcp4_announces_handled": 1, "tcp4_scrapes_handled": 1}
    if any("UDP TRACKER: Started on" in line for line in daemon.lines):
        _check_udp(daemon, stored.info_hash)
        expected |= {f"udp4_{kind}_handled": 1 for kind in ("announces", "scrapes")}
        expected["udp4_connections_handled"] = 4  # each request is followed by one
    after = daemon.stats()
    counted = {name: after[name] - before[name] for name in after if name.endswith("_handled")}
    assert {name: count for name, count in counted.items() if count} == expected
    for door in ("tcp4", "tcp6"):
        of_both = after[f"{door}_announces_handled"] + after[f"{door}_scrapes_handled"]
        assert after[f"{door}_connections_handled"] == of_both


def _check_udp(daemon: Any, info_hash: bytes) -> None:
    with daemon.udp() as client:
        connection = connection_id(client)
        peers = announced_peers(answer_to(client, announce_request(connection, info_hash, _THIRD)))
        assert {peer[4:] for peer in peers} == {_STORED.to_bytes(2), _SECOND.to_bytes(2)}
        counts = answer_to(client, scrape_request(connection, info_hash))[8:]
        assert counts == bytes(8) + (3).to_bytes(4)
