"""A client of HTTP trackers (BEP 3, 7, 23, 48)."""

import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from http.client import HTTPException, InvalidURL
from threading import Thread
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from bencodepy.decoder import BencodeDecoder
from bencodepy.exceptions import BencodeDecodeError

from torrust_py.core.types import (
    ENDPOINT_SIZE_IPV4,
    ENDPOINT_SIZE_IPV6,
    INFO_HASH_SIZE,
    InfoHash,
    PeerId,
    SwarmCounts,
)

_LARGEST_BODY = 4 << 20  # no tracker answers with more than a megabyte


class _Decoder(BencodeDecoder):  # type: ignore[misc]  # it has no types
    """Refuses strings of negative length, which send the library back over what it has read, forever."""

    def decode_string(self, value: bytes, at: int, kind: str = "value", **rest: object) -> tuple[bytes, int]:
        if not value[at : at + 1].isdigit():
            raise ValueError
        decoded: tuple[bytes, int] = super().decode_string(value, at, kind=kind, **rest)
        return decoded


_DECODER = _Decoder()


class NoAnswer(Exception):
    """Nothing that is HTTP came back; the text says why."""


class BadResponse(Exception):
    """A body that is no response of a tracker, or a failure."""


class Refusal(BadResponse):
    """A failure; `reason` is the tracker's."""

    def __init__(self, reason: str) -> None:
        super().__init__("the tracker refuses")
        self.reason = reason


class HttpAnswer(NamedTuple):
    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class AnnouncedPeer(NamedTuple):
    address: str
    port: int
    peer_id: PeerId | None
    """None in a compact list."""


class AnnounceResponse(NamedTuple):
    """None is what the tracker leaves out. Intervals in seconds."""

    seeders: int | None
    leechers: int | None
    interval: int
    interval_min: int | None
    peers: list[AnnouncedPeer]


def get(
    url: str,
    *,
    patience: float,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> HttpAnswer:
    """What a GET of a URL of HTTP is answered, redirections followed, within `patience` seconds.

    `tls` says how certificates are verified, if not as usual. Raises NoAnswer.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise NoAnswer(f"{url} is no URL of http:// or https://")
    answer = Future[HttpAnswer]()
    # In a thread, since a socket's time-out says nothing of names, nor of an answer that comes in drops.
    Thread(target=_fetch_into, args=(answer, url, patience, headers or {}, tls), daemon=True).start()
    try:
        return answer.result(patience)
    except TimeoutError as error:
        raise NoAnswer(f"{url} did not answer within {patience:g} s") from error
    except URLError as error:
        raise NoAnswer(f"{url}: {_reason(error.reason)}") from error
    except OSError as error:
        raise NoAnswer(f"{url}: {_reason(error)}") from error
    except (InvalidURL, ValueError) as error:
        raise NoAnswer(f"{url}: {error}") from error
    except HTTPException as error:
        raise NoAnswer(f"{url}: no HTTP answer ({type(error).__name__})") from error


def _fetch_into(
    answer: Future[HttpAnswer],
    url: str,
    patience: float,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None,
) -> None:
    try:
        answer.set_result(_fetch(url, patience, headers, tls))
    except (OSError, HTTPException, ValueError) as error:
        answer.set_exception(error)


def _fetch(url: str, patience: float, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> HttpAnswer:
    request = Request(url, headers={"User-Agent": "torrust_py", **headers})
    try:
        with urlopen(request, timeout=patience, context=tls) as response:
            return HttpAnswer(response.status, response.read(_LARGEST_BODY))
    except HTTPError as error:
        with error:
            return HttpAnswer(error.code, error.read(_LARGEST_BODY))


def _reason(error: str | BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def encode_params(params: Sequence[tuple[str, bytes]]) -> str:
    """A query, in the order of `params`; all but ASCII letters and digits is percent-encoded."""
    return "&".join(f"{name}={percent_encode(value)}" for name, value in params)


def percent_encode(value: bytes) -> str:
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 0x80 else f"%{byte:02X}" for byte in value)


def parse_announce_response(body: bytes) -> AnnounceResponse:
    """Read a response whose peers are dictionaries, or compact as many trackers insist on.

    Raises BadResponse.
    """
    fields = _parse_dictionary(body)
    return AnnounceResponse(
        _optional_int(fields, b"complete"),
        _optional_int(fields, b"incomplete"),
        _int(fields, b"interval"),
        _optional_int(fields, b"min interval"),
        _peers(fields.get(b"peers", b"")) + _compact_peers(fields.get(b"peers6", b""), socket.AF_INET6),
    )


def parse_scrape_response(body: bytes) -> dict[InfoHash, SwarmCounts]:
    """In the order of the response. Raises BadResponse."""
    files = _dictionary(_parse_dictionary(body).get(b"files"))
    return {_info_hash(name): _counts(_dictionary(counts)) for name, counts in files.items()}


def _parse_dictionary(body: bytes) -> dict[bytes, object]:
    """The dictionary of a response that is no failure."""
    try:
        decoded: object = _DECODER.decode(body)
    except BencodeDecodeError as error:
        raise BadResponse(str(error)) from error
    fields = _dictionary(decoded)
    if b"failure reason" in fields:
        raise Refusal(_text(fields[b"failure reason"]))
    return fields


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _dictionary(value: object) -> dict[bytes, object]:
    if not isinstance(value, dict):
        raise BadResponse("a dictionary is missing")
    return value


def _optional_int(fields: dict[bytes, object], name: bytes) -> int | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, int):
        raise BadResponse(f"{name.decode()} is no number")
    return value


def _int(fields: dict[bytes, object], name: bytes) -> int:
    value = _optional_int(fields, name)
    if value is None:
        raise BadResponse(f"{name.decode()} is missing")
    return value


def _bytes(fields: dict[bytes, object], name: bytes) -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes):
        raise BadResponse(f"{name.decode()} is no string")
    return value


def _peers(peers: object) -> list[AnnouncedPeer]:
    if isinstance(peers, list):
        return [_peer(_dictionary(peer)) for peer in peers]
    return _compact_peers(peers, socket.AF_INET)


def _peer(fields: dict[bytes, object]) -> AnnouncedPeer:
    peer_id = PeerId(_bytes(fields, b"peer id")) if b"peer id" in fields else None
    address = _bytes(fields, b"ip").decode("utf-8", "backslashreplace")
    return AnnouncedPeer(address, _int(fields, b"port"), peer_id)


def _compact_peers(packed: object, family: socket.AddressFamily) -> list[AnnouncedPeer]:
    size = ENDPOINT_SIZE_IPV4 if family == socket.AF_INET else ENDPOINT_SIZE_IPV6
    if not isinstance(packed, bytes) or len(packed) % size:
        raise BadResponse("the peers are no list of endpoints")
    endpoints = (packed[at : at + size] for at in range(0, len(packed), size))
    return [
        AnnouncedPeer(socket.inet_ntop(family, endpoint[:-2]), int.from_bytes(endpoint[-2:]), None)
        for endpoint in endpoints
    ]


def _info_hash(name: bytes) -> InfoHash:
    if len(name) != INFO_HASH_SIZE:
        raise BadResponse("a file has no info hash")
    return InfoHash(name)


def _counts(fields: dict[bytes, object]) -> SwarmCounts:
    return SwarmCounts(
        seeders=_int(fields, b"complete"),
        completed=_int(fields, b"downloaded"),
        leechers=_int(fields, b"incomplete"),
    )
