"""Requests to an HTTP tracker: announces (BEP 3, 7, 21, 23) and scrapes (BEP 48), from their queries."""

from dataclasses import dataclass
from typing import NamedTuple

from torrust_py.core.types import (
    INFO_HASH_SIZE,
    LEFT_UNKNOWN,
    PEER_ID_SIZE,
    AnnounceEvent,
    InfoHash,
    PeerId,
)
from torrust_py.http.query import (
    BadValue,
    Kind,
    MissingParam,
    MissingQuery,
    ValueOverflow,
    decode_percent,
    first_values,
    parse_query,
)

_INT64_END = 1 << 63
_UINT64_END = 1 << 64
_MOST_DIGITS = 20  # of a number of 64 bits
_EVENTS = {
    b"": AnnounceEvent.NONE,
    b"started": AnnounceEvent.STARTED,
    b"stopped": AnnounceEvent.STOPPED,
    b"completed": AnnounceEvent.COMPLETED,
    b"paused": AnnounceEvent.NONE,  # BEP 21: a partial seed, which is a leecher here
}
_COMPACT = {b"": False, b"0": False, b"1": True}


@dataclass(slots=True)  # half the price of a NamedTuple
class HttpRequest:
    """What the tracker reads of an HTTP request."""

    method: bytes
    target: bytes
    forwarded_for: list[bytes]
    """The values of all X-Forwarded-For fields, in their order."""
    request_id: bytes | None
    """The value of the first X-Request-Id field."""
    connection: bytes = b""
    """What the response says of the connection: `close`, `keep-alive` to HTTP/1.0, or nothing: it stays."""


@dataclass(slots=True)
class AnnounceRequest:
    info_hash: InfoHash
    peer_id: PeerId
    port: int
    downloaded: int
    uploaded: int
    left: int
    event: AnnounceEvent
    compact: bool
    num_want: int | None
    """None if the client leaves it to the tracker."""


class ScrapeRequest(NamedTuple):
    info_hashes: list[InfoHash]
    """As they were asked for."""


def parse_announce(query: bytes | None) -> AnnounceRequest:
    """Read an announce; of a name that comes twice, the first value. `query` None is a target without one.

    Raises BadQuery that names the first parameter, in the order of AnnounceRequest, that is missing or wrong.
    """
    if query is None:
        raise MissingQuery("announce")
    values = first_values(query)
    try:
        return AnnounceRequest(
            parse_info_hash("announce", values[b"info_hash"]),
            _peer_id(values[b"peer_id"]),
            _port(values[b"port"]),
            _transferred(values, b"downloaded"),
            _transferred(values, b"uploaded"),
            _left(values.get(b"left", b"0")),
            _event(values.get(b"event", b"")),
            _compact(values.get(b"compact", b"")),
            _num_want(values.get(b"numwant")),
        )
    except KeyError as error:
        raise MissingParam("announce", *error.args) from None


def parse_scrape(query: bytes | None) -> ScrapeRequest:
    """Read a scrape. Raises BadQuery without an info hash, or for the first that is wrong."""
    if query is None:
        raise MissingQuery("scrape")
    pairs = parse_query(query)
    info_hashes = [parse_info_hash("scrape", value) for name, value in pairs if name == b"info_hash"]
    if not info_hashes:
        raise MissingParam("scrape", b"info_hash")
    return ScrapeRequest(info_hashes)


def parse_info_hash(kind: Kind, value: bytes) -> InfoHash:
    info_hash = decode_percent(value)
    if len(info_hash) != INFO_HASH_SIZE:
        reason = _wrong_size("infohash", len(info_hash), INFO_HASH_SIZE)
        raise BadValue(kind, b"info_hash", value, reason)
    return InfoHash(info_hash)


def _peer_id(value: bytes) -> PeerId:
    peer_id = decode_percent(value)
    if len(peer_id) != PEER_ID_SIZE:
        reason = _wrong_size("peer id", len(peer_id), PEER_ID_SIZE)
        raise BadValue("announce", b"peer_id", value, reason)
    return PeerId(peer_id)


def _wrong_size(what: str, size: int, expected: int) -> str:
    wrong = "not enough" if size < expected else "too many"
    return f"{wrong} bytes for {what}: got {size} bytes, expected {expected}"


def _port(value: bytes) -> int:
    port = _number(value)
    if port is None or port > 0xFFFF:
        raise BadValue("announce", b"port", value)
    return port


def _transferred(values: dict[bytes, bytes], name: bytes) -> int:
    value = values.get(name, b"0")
    number = _number(value)
    if number is None or number >= _UINT64_END:
        raise BadValue("announce", name, value)
    if number >= _INT64_END:
        raise ValueOverflow("announce", name, value)
    return number


def _left(value: bytes) -> int:
    """Clients that have only a magnet link do not know what is left, and say so in several ways."""
    if not value:
        return LEFT_UNKNOWN
    number = _number(value)
    if number is not None:
        return number if number < _INT64_END else LEFT_UNKNOWN
    if value.startswith(b"-") and value[1:].isdigit():
        return LEFT_UNKNOWN
    raise BadValue("announce", b"left", value)


def _event(value: bytes) -> AnnounceEvent:
    event = _EVENTS.get(value)
    if event is None:
        raise BadValue("announce", b"event", value)
    return event


def _compact(value: bytes) -> bool:
    compact = _COMPACT.get(value)
    if compact is None:
        raise BadValue("announce", b"compact", value)
    return compact


def _num_want(value: bytes | None) -> int | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or number > 0xFFFFFFFF:
        raise BadValue("announce", b"numwant", value)
    return number


def _number(value: bytes) -> int | None:
    """ASCII digits, also after one plus sign; None for anything else. What is too long is 2^64."""
    if not value.isdigit():
        if not value.startswith(b"+") or not value[1:].isdigit():
            return None
        value = value[1:]
    if len(value) > _MOST_DIGITS:  # int() would refuse thousands of digits, even zeros
        value = value.lstrip(b"0") or b"0"
        if len(value) > _MOST_DIGITS:
            return _UINT64_END
    return int(value)
