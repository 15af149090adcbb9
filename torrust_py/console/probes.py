"""Clients of the two protocols that announce a torrent of their own: what `doors` asks a tracker with."""

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol, TypeVar

from torrust_py.console.udp_client import endpoints_text
from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId
from torrust_py.http.client import (
    BadResponse,
    HttpAnswer,
    NoAnswer,
    Refusal,
    encode_params,
    get,
    parse_announce_response,
    parse_scrape_response,
)
from torrust_py.udp import BadPacket, UdpClient, open_udp_client
from torrust_py.udp.packets import AnnounceResponse, ErrorResponse, Response, ScrapeResponse

PATIENCE = 10.0
"""Seconds that newTrackon waits for an answer."""

_UDP_SENDS = 4  # within PATIENCE: datagrams get lost
_DAY = 24 * 60 * 60
_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_…, openssl-verification-options(1)

_Answer = TypeVar("_Answer", AnnounceResponse, ScrapeResponse)


class Refused(Exception):
    """The tracker says no; the text is its own."""


class NotAnswered(Exception):
    """Nothing that is an answer came; the text says what."""


class Swarm(NamedTuple):
    """What an announce was answered."""

    interval: int
    counted: int
    """Seeders and leechers."""
    peers: list[str]
    """Endpoints, `127.0.0.1:6881`."""


class Probe(Protocol):
    """Announces leechers of a random torrent. Each call raises Refused or NotAnswered."""

    @property
    def name(self) -> str:
        """Its protocol."""

    @property
    def at(self) -> str:
        """The URL that is asked."""

    async def announce(self, port: int, event: AnnounceEvent) -> Swarm: ...

    async def scrape(self) -> int:
        """How many leechers there are."""


class UdpProbe:
    name = "udp"

    def __init__(self, at: str, client: UdpClient, connection_id: bytes, *, is_ipv6: bool) -> None:
        self.at = at
        self._client = client
        self.connection_id = connection_id
        self._is_ipv6 = is_ipv6
        self._info_hash = InfoHash(secrets.token_bytes(20))

    async def announce(self, port: int, event: AnnounceEvent) -> Swarm:
        asking = self._client.announce(
            self.connection_id, self._info_hash, peer_id=_peer_id(port), port=port, left=1, event=event
        )
        response = await _answer(asking, AnnounceResponse)
        peers = endpoints_text(response.peers, ipv6=self._is_ipv6)
        return Swarm(response.interval, response.seeders + response.leechers, peers)

    async def scrape(self) -> int:
        asking = self._client.scrape(self.connection_id, [self._info_hash])
        response = await _answer(asking, ScrapeResponse)
        return response.swarms[0].leechers if response.swarms else 0


@asynccontextmanager
async def open_udp_probe(host: str, port: int) -> AsyncIterator[UdpProbe]:
    """One that is connected. Raises NotAnswered."""
    at = f"udp://{authority(host, port)}"
    try:
        async with open_udp_client(host, port, patience=PATIENCE, sends=_UDP_SENDS) as client:
            try:
                connection_id = await client.connect()
            except BadPacket as error:
                raise NotAnswered(f"a connect is answered with something else: {error}") from error
            except TimeoutError as error:
                raise NotAnswered(f"no answer within {PATIENCE:g} s") from error
            yield UdpProbe(at, client, connection_id, is_ipv6=":" in host)
    except OSError as error:
        raise NotAnswered(error.strerror or str(error)) from error


async def _answer(asking: Awaitable[Response], kind: type[_Answer]) -> _Answer:
    try:
        response = await asking
    except TimeoutError as error:
        raise NotAnswered(f"no answer within {PATIENCE:g} s") from error
    except OSError as error:
        raise NotAnswered(error.strerror or str(error)) from error
    except BadPacket as error:
        raise NotAnswered(str(error)) from error
    if isinstance(response, ErrorResponse):
        raise Refused(response.text)
    if not isinstance(response, kind):
        raise NotAnswered("an answer to another kind of request")
    return response


class HttpProbe:
    name = "http"

    def __init__(self, base: str, *, forwarded_for: str | None) -> None:
        """`base` is the URL without a path."""
        self.at = base
        self._headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
        self._info_hash = InfoHash(secrets.token_bytes(20))

    async def announce(self, port: int, event: AnnounceEvent) -> Swarm:
        params = [
            ("info_hash", self._info_hash),
            ("peer_id", _peer_id(port)),
            ("port", str(port).encode()),
            ("uploaded", b"0"),
            ("downloaded", b"0"),
            ("left", b"1"),
            ("event", event.name.lower().encode()),
            ("compact", b"1"),
        ]
        body = await self._body(f"/announce?{encode_params(params)}")
        try:
            response = parse_announce_response(body)
        except Refusal as error:
            raise Refused(error.reason) from error
        except BadResponse as error:
            raise NotAnswered(f"no answer of a tracker: {error}") from error
        peers = [authority(peer.address, peer.port) for peer in response.peers]
        return Swarm(response.interval, (response.seeders or 0) + (response.leechers or 0), peers)

    async def scrape(self) -> int:
        body = await self._body(f"/scrape?{encode_params([('info_hash', self._info_hash)])}")
        try:
            swarms = parse_scrape_response(body)
        except Refusal as error:
            raise Refused(error.reason) from error
        except BadResponse as error:
            raise NotAnswered(f"no answer of a tracker: {error}") from error
        return swarms[self._info_hash].leechers if self._info_hash in swarms else 0

    async def _body(self, target: str) -> bytes:
        answer = await ask_http(f"{self.at}{target}", headers=self._headers)
        if not answer.is_success:
            raise NotAnswered(f"status {answer.status}")
        return answer.body


async def ask_http(url: str, *, headers: dict[str, str] | None = None) -> HttpAnswer:
    """A GET; the certificate is not verified: it names what clients know, not the address asked here. Raises
    NotAnswered.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    try:
        return await asyncio.to_thread(get, url, patience=PATIENCE, headers=headers, tls=tls)
    except NoAnswer as error:
        raise NotAnswered(str(error).removeprefix(f"{url}: ").replace(url, "it")) from error


def _peer_id(port: int) -> PeerId:
    return PeerId(b"-PY0000-doctor-%05d" % port)


def authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def days_left(host: str, port: int) -> float:
    """Until the certificate ends that is presented there. Blocks.

    Raises Refused if it is not valid now, NotAnswered if there is none.
    """
    try:
        presented = ssl.get_server_certificate((host, port), timeout=PATIENCE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= (
            ssl.VERIFY_X509_PARTIAL_CHAIN
        )  # it vouches for itself: only its time is asked for
        context.load_verify_locations(cadata=presented)
        with (
            socket.create_connection((host, port), PATIENCE) as connected,
            context.wrap_socket(connected) as client,
        ):
            fields = client.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
            raise Refused(
                "it has expired" if error.verify_code == _EXPIRED else "it is not valid yet"
            ) from error
        raise NotAnswered(error.verify_message) from error
    except OSError as error:
        raise NotAnswered(error.strerror or str(error)) from error
    return (ssl.cert_time_to_seconds(str(fields["notAfter"])) - time.time()) / _DAY
