"""What an HTTP request is answered with."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from struct import Struct
from typing import Protocol
from urllib.parse import unquote_to_bytes

from torrust_py.core.errors import AuthenticationError, BadKey, TorrentRefused, TrackerError
from torrust_py.core.keys import check_key
from torrust_py.core.statistics import Door, Outcome, Reason, Statistics
from torrust_py.core.tracker import Tracker
from torrust_py.core.types import (
    ENDPOINT_SIZE_IPV4,
    ENDPOINT_SIZE_IPV6,
    NO_SWARM,
    Address,
    Families,
    InfoHash,
    SwarmCounts,
    SwarmView,
    is_ipv4,
)
from torrust_py.http.callers import Callers
from torrust_py.http.client_ip import NoForwardedAddress, address_text, right_most_address
from torrust_py.http.query import BadQuery, split_target
from torrust_py.http.requests import AnnounceRequest, HttpRequest, parse_announce, parse_scrape
from torrust_py.http.responses import (
    ANSWER,
    BAD_REQUEST,
    CONTENT_TOO_LARGE,
    FAILURE,
    FIELDS_TOO_LARGE,
    HEALTHY,
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    REQUEST_TIMEOUT,
    Head,
    encode_announce,
    encode_compact_announce,
    encode_failure,
    encode_response,
    encode_scrape,
)

# An enumeration's members cost more to look up than all else that is done with them here.
_TCP4, _TCP6 = Door.TCP4, Door.TCP6
_ANNOUNCED = Outcome.ANNOUNCE
_BOTH = Families.BOTH

_READS = (b"GET", b"HEAD")
_HEALTH_CHECK = b"/health_check"
_HEALTH = b'{"status":"Ok"}'
_FAILED = b"internal server error"
_BAD_KEY = "Authentication error: Invalid format for authentication key param."
_WORDS = (b"announce", b"scrape", b"health_check")
_VISIBLE = re.compile(rb"[ -~]+")
_UUIDS_A_BLOCK = 256
_REQUESTS_A_TIME = 64
_UUID_FIELDS = Struct("8s4s4s4s12s")
_VERSION_4 = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT = bytes(byte & 0x3F | 0x80 for byte in range(256))

_UNREADABLE = {
    BAD_REQUEST.status: Reason.NOT_HTTP,
    REQUEST_TIMEOUT.status: Reason.TOO_SLOW,
    CONTENT_TOO_LARGE.status: Reason.TOO_LARGE,
    FIELDS_TOO_LARGE.status: Reason.TOO_LARGE,
}

_log = logging.getLogger("HTTP TRACKER")


class HttpHandler:
    """Answers the requests of an HTTP tracker, which are counted in `statistics`.

    `on_reverse_proxy`: a client is who X-Forwarded-For says, not the socket's peer.
    """

    def __init__(
        self,
        tracker: Tracker,
        statistics: Statistics,
        *,
        on_reverse_proxy: bool,
        callers: Callers | None = None,
    ) -> None:
        self._tracker = tracker
        self.statistics = statistics
        self._callers = callers or Callers()
        self.on_reverse_proxy = on_reverse_proxy
        self._operations: dict[bytes, _Operation] = {b"/announce": self._announce, b"/scrape": self._scrape}
        self._request_ids = _random_request_ids()
        self._second = -1
        self._date = b""
        self._logs = _log.isEnabledFor(logging.DEBUG)
        self._untimed = _REQUESTS_A_TIME

    def is_timed(self) -> bool:
        """Whether the time of the next request is to be taken: of one in so many."""
        self._untimed -= 1
        if self._untimed:
            return False
        self._untimed = _REQUESTS_A_TIME
        return True

    def handle(self, request: HttpRequest, peer: Address, *, now_ms: int, unix_now: float) -> bytes:
        """The whole response to a request of the socket's `peer`; counts what became of it.

        `now_ms` is the tracker's time, `unix_now` Unix seconds.
        """
        path, query = split_target(request.target)
        client = right_most_address(request.forwarded_for) if self.on_reverse_proxy else peer
        if path == _HEALTH_CHECK and request.method in _READS:
            head, body = HEALTHY, _HEALTH
        else:
            if client is None:
                self._callers.note_unforwarded()
            door = _TCP4 if is_ipv4(client or peer) else _TCP6
            outcome, head, body = self._answer(
                request.method, path, query, client=client, now_ms=now_ms, unix_now=unix_now
            )
            self.statistics.count(door, outcome)
        if self._logs:
            _log_request(request.method, path, client or peer, head.status)
        return encode_response(
            head,
            body,
            request_id=_echo(request.request_id) or next(self._request_ids),
            connection=request.connection,
            date=self.date_at(unix_now),
            without_body=request.method == b"HEAD",
        )

    def admit(
        self, key_segment: bytes | None, forwarded_for: Sequence[bytes], peer: Address, *, unix_now: float
    ) -> Address | None:
        """The address of the client whose request this is; None if its announce would be refused."""
        try:
            self._tracker.authenticate(_parse_key(key_segment), unix_now)
        except (AuthenticationError, BadKey):
            return None
        return right_most_address(forwarded_for) if self.on_reverse_proxy else peer

    def refuse_malformed(self, head: Head, peer: Address, *, unix_now: float) -> bytes:
        """The whole response to what is no request that the tracker reads; the connection ends with it."""
        door = _TCP4 if is_ipv4(peer) else _TCP6
        self.statistics.count(door, _UNREADABLE[head.status])
        if self._logs:
            _log_request(b"-", b"-", peer, head.status)
        return encode_response(
            head,
            b"",
            request_id=next(self._request_ids),
            connection=b"close",
            date=self.date_at(unix_now),
            without_body=False,
        )

    def _answer(
        self,
        method: bytes,
        path: bytes,
        query: bytes | None,
        *,
        client: Address | None,
        now_ms: int,
        unix_now: float,
    ) -> tuple[Outcome | Reason, Head, bytes]:
        try:
            operation, key_segment = self._route(path)
            if operation is None and path != _HEALTH_CHECK:
                return Reason.NOT_FOUND, NOT_FOUND, b""
            if operation is None or method not in _READS:
                return Reason.METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED, b""
            outcome, body = operation(query, key_segment, client=client, now_ms=now_ms, unix_now=unix_now)
        except BadQuery as error:
            return Reason.BAD_PARAMETERS, FAILURE, encode_failure(str(error))
        except BadKey:
            return Reason.BAD_KEY, FAILURE, encode_failure(_BAD_KEY)
        except TrackerError as error:
            return error.reason, FAILURE, encode_failure(error_text(error))
        except MemoryError:
            _log.exception("a request failed")
            return Reason.NO_MEMORY, INTERNAL_ERROR, _FAILED
        except Exception:
            _log.exception("a request failed")
            return Reason.INTERNAL_ERROR, INTERNAL_ERROR, _FAILED
        return outcome, ANSWER, body

    def _route(self, path: bytes) -> "tuple[_Operation | None, bytes | None]":
        """What answers a path, and the segment of it that holds a key."""
        operation = self._operations.get(path)
        if operation is not None:
            return operation, None
        parent, _, segment = path.rpartition(b"/")
        return self._operations.get(parent) if segment else None, segment

    def _announce(
        self,
        query: bytes | None,
        key_segment: bytes | None,
        *,
        client: Address | None,
        now_ms: int,
        unix_now: float,
    ) -> tuple[Outcome, bytes]:
        request = parse_announce(query)
        self._tracker.authenticate(_parse_key(key_segment), unix_now)
        if client is None:
            self._tracker.check_torrent(request.info_hash)  # one that is refused hides an unknown client
            raise NoForwardedAddress
        swarm = self._tracker.announce(
            request.info_hash,
            self._tracker.endpoint(client, request.port),
            request,
            num_want=request.num_want,
            families=_BOTH,
            now_ms=now_ms,
        )
        self._callers.note_announce(client, request.port)
        return _ANNOUNCED, self._announce_body(request, swarm)

    def _announce_body(self, request: AnnounceRequest, swarm: SwarmView) -> bytes:
        rules = self._tracker.rules
        if request.compact:
            return encode_compact_announce(swarm, interval=rules.interval, interval_min=rules.interval_min)
        peer_ids = self._tracker.peer_ids
        return encode_announce(
            swarm,
            peer_ids(request.info_hash, swarm.peers_ipv4, size=ENDPOINT_SIZE_IPV4),
            peer_ids(request.info_hash, swarm.peers_ipv6, size=ENDPOINT_SIZE_IPV6),
            interval=rules.interval,
            interval_min=rules.interval_min,
        )

    def _scrape(
        self,
        query: bytes | None,
        key_segment: bytes | None,
        *,
        client: Address | None,
        now_ms: int,
        unix_now: float,
    ) -> tuple[Outcome, bytes]:
        request = parse_scrape(query)
        key = _parse_key(key_segment)
        if client is None:
            raise NoForwardedAddress
        return Outcome.SCRAPE, encode_scrape(self._counts(request.info_hashes, key, unix_now))

    def _counts(
        self, info_hashes: list[InfoHash], key: str | None, unix_now: float
    ) -> dict[InfoHash, SwarmCounts]:
        """Zeros for who is not admitted: a scrape without a good key is no error."""
        try:
            self._tracker.authenticate(key, unix_now)
        except AuthenticationError:
            return dict.fromkeys(info_hashes, NO_SWARM)
        return {info_hash: self._tracker.scrape(info_hash) for info_hash in info_hashes}

    def date_at(self, unix_now: float) -> bytes:
        """RFC 9110, 5.6.7; made once a second."""
        second = int(unix_now)
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date


class _Operation(Protocol):
    """What a path does: the outcome, and the body of the answer."""

    def __call__(
        self,
        query: bytes | None,
        key_segment: bytes | None,
        /,
        *,
        client: Address | None,
        now_ms: int,
        unix_now: float,
    ) -> tuple[Outcome, bytes]: ...


def error_text(error: TrackerError) -> str:
    """A refusal as it goes on the wire, with the prefix that Torrust gives it."""
    if isinstance(error, AuthenticationError):
        return f"Authentication error: {error}"
    if isinstance(error, TorrentRefused):
        return f"Tracker error: {error}"
    if isinstance(error, NoForwardedAddress):
        return f"Error resolving peer IP: {error}"
    return str(error)


def _parse_key(segment: bytes | None) -> str | None:
    """The key that a path holds; None without a segment for it. Raises BadKey."""
    if segment is None:
        return None
    key = unquote_to_bytes(segment).decode("latin-1")
    check_key(key)
    return key


def _echo(request_id: bytes | None) -> bytes | None:
    """A client's request id, if it may stand in a response as it is."""
    return request_id if request_id and _VISIBLE.fullmatch(request_id) else None


def _random_request_ids() -> Iterator[bytes]:
    """Random UUIDs (version 4 of RFC 9562), cut from blocks of the system's randomness."""
    while True:
        block = bytearray(os.urandom(_UUIDS_A_BLOCK * 16))
        block[6::16] = block[6::16].translate(_VERSION_4)
        block[8::16] = block[8::16].translate(_VARIANT)
        for fields in _UUID_FIELDS.iter_unpack(block.hex().encode()):
            yield b"-".join(fields)


def _log_request(method: bytes, path: bytes, client: Address, status: int) -> None:
    _log.debug("%s %s from %s: %d", method.decode(), _masked(path), address_text(client), status)


def _masked(path: bytes) -> str:
    """The tracker's own word at the start of a path; the rest may be a key."""
    first, slash, _ = path[1:].partition(b"/")
    known = first.decode("ascii") if first in _WORDS else "***"
    return f"/{known}/***" if slash else f"/{known}"
