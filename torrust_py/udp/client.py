"""A client of UDP trackers (BEP 15)."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from torrust_py.core.types import AnnounceEvent, InfoHash, PeerId
from torrust_py.udp.packets import (
    AnnounceRequest,
    BadPacket,
    ConnectResponse,
    Response,
    ScrapeRequest,
    encode_announce_request,
    encode_connect_request,
    encode_scrape_request,
    parse_response,
)

RESPONSE_SIZE = 2048


class UdpClient:
    """Asks one tracker from one socket; made by `open_udp_client`."""

    def __init__(self, connected: socket.socket, *, patience: float, sends: int) -> None:
        self._socket = connected
        self._patience = patience
        self._sends = sends

    @property
    def port(self) -> int:
        """The port it asks from."""
        port: int = self._socket.getsockname()[1]
        return port

    async def connect(self) -> bytes:
        """A connection id. Raises TimeoutError, OSError, or BadPacket for any other answer."""
        transaction_id = secrets.token_bytes(4)
        response = await self.ask(encode_connect_request(transaction_id), transaction_id)
        if not isinstance(response, ConnectResponse):
            raise BadPacket("no connect response")
        return response.connection_id

    async def announce(
        self,
        connection_id: bytes,
        info_hash: InfoHash,
        *,
        peer_id: PeerId,
        port: int,
        left: int = 0,
        event: AnnounceEvent = AnnounceEvent.NONE,
        num_want: int | None = None,
        uploaded: int = 0,
        downloaded: int = 0,
    ) -> Response:
        transaction_id = secrets.token_bytes(4)
        request = AnnounceRequest(
            connection_id,
            transaction_id,
            info_hash,
            peer_id,
            downloaded,
            left,
            uploaded,
            event,
            num_want,
            port,
        )
        return await self.ask(encode_announce_request(request), transaction_id)

    async def scrape(self, connection_id: bytes, info_hashes: list[InfoHash]) -> Response:
        transaction_id = secrets.token_bytes(4)
        request = ScrapeRequest(connection_id, transaction_id, info_hashes)
        return await self.ask(encode_scrape_request(request), transaction_id)

    async def ask(self, datagram: bytes, transaction_id: bytes) -> Response:
        """Send any datagram; the response that bears `transaction_id`, others are passed over."""
        loop = asyncio.get_running_loop()
        for _ in range(self._sends):
            await loop.sock_sendall(self._socket, datagram)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience / self._sends):
                    return await self._response(transaction_id)
        raise TimeoutError

    async def _response(self, transaction_id: bytes) -> Response:
        loop = asyncio.get_running_loop()
        while True:
            response = parse_response(await loop.sock_recv(self._socket, RESPONSE_SIZE))
            if response.transaction_id == transaction_id:
                return response


@asynccontextmanager
async def open_udp_client(
    host: str, port: int, *, patience: float, sends: int = 1
) -> AsyncIterator[UdpClient]:
    """A client of the tracker at `host` (an IP address) and `port`.

    It waits `patience` seconds for each answer, and sends what it asks up to `sends` times in them, since
    datagrams get lost.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connected:
        connected.setblocking(False)
        connected.connect((host, port))
        yield UdpClient(connected, patience=patience, sends=sends)
