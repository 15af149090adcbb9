"""`udp_tracker_client`: asks a UDP tracker once, and prints its answer as JSON."""

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import click

from torrust_py.console.help_command import help_command
from torrust_py.core.types import (
    ENDPOINT_SIZE_IPV4,
    ENDPOINT_SIZE_IPV6,
    AnnounceEvent,
    Endpoint,
    InfoHash,
    PeerId,
    endpoint_text,
)
from torrust_py.udp.client import UdpClient, open_udp_client
from torrust_py.udp.packets import (
    MAX_SCRAPED,
    AnnounceRequest,
    AnnounceResponse,
    BadPacket,
    ConnectResponse,
    ErrorResponse,
    Response,
    ScrapeRequest,
    ScrapeResponse,
    encode_announce_request,
    encode_connect_request,
    encode_scrape_request,
)

PATIENCE = 5.0
"""Seconds that each answer is waited for."""

_TRANSACTION_ID = (-888840697).to_bytes(4, signed=True)
_PEER_ID = PeerId(b"-qB00000000000000001")
_INFO_HASH = re.compile(r"[0-9a-fA-F]{40}")


class BadArgument(Exception):
    """A text that is no tracker, or no info hash; it says why."""


class StepFailed(Exception):
    """A tracker that did not answer as it should; the text says to what."""


class TrackerAddress(NamedTuple):
    host: str
    """An IP address."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_info_hash(text: str) -> InfoHash:
    """Raises BadArgument."""
    if not _INFO_HASH.fullmatch(text):
        raise BadArgument(f"failed to parse info-hash `{text}`: it is not 40 hexadecimal digits")
    return InfoHash(bytes.fromhex(text))


def resolve_tracker(text: str) -> TrackerAddress:
    """The first address of the tracker at `IP:port`, or at a URL with a port; asks the DNS for a name.

    Raises BadArgument.
    """
    host, port = _host_and_port(text)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:  # no such name, and a name that cannot be
        raise BadArgument(f"DNS resolution failed for `{text}`: {error}") from error
    return TrackerAddress(_unmapped(str(found[0][4][0])), port)


def _host_and_port(text: str) -> tuple[str, int]:
    if "://" in text:
        return _url_host_and_port(text)
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise BadArgument(f"invalid address format: `{text}`. Expected format is host:port")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 0xFFFF:
        raise BadArgument(f"invalid port: `{port}`")
    address = host.strip("[]")
    try:
        ip_address(address)
    except ValueError:
        raise BadArgument(f"invalid host in URL: `{text}`; a name needs udp:// before it") from None
    return address, int(port)


def _url_host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadArgument(f"invalid URL: `{url}`: {error}") from error
    if not host:
        raise BadArgument(f"invalid host in URL: `{url}`")
    if port is None:
        raise BadArgument(f"port not found in URL: `{url}`")
    return host, port


def _unmapped(host: str) -> str:
    """A tracker asked at an IPv4-mapped address sees, and answers as to, an IPv4 client."""
    address = ip_address(host)
    mapped = address.ipv4_mapped if address.version == 6 else None
    return host if mapped is None else str(mapped)


@asynccontextmanager
async def open_tracker(address: TrackerAddress) -> AsyncIterator[UdpClient]:
    """A client of the tracker. Raises StepFailed."""
    async with AsyncExitStack() as resources:
        try:
            client = await resources.enter_async_context(
                open_udp_client(address.host, address.port, patience=PATIENCE)
            )
        except OSError as error:
            raise StepFailed(
                f"Failed to Connect to: {address}, with error: {error.strerror or error}"
            ) from error
        yield client


async def connect(client: UdpClient, transaction_id: bytes = _TRANSACTION_ID) -> bytes:
    """A connection id. Raises StepFailed."""
    with _step("a connect"):
        response = await client.ask(encode_connect_request(transaction_id), transaction_id)
    if isinstance(response, ErrorResponse):
        raise StepFailed(f"Failed to get a connection response: the tracker says: {response.text!r}")
    if not isinstance(response, ConnectResponse):
        raise StepFailed("Failed to get a connection response: the tracker answers something else")
    return response.connection_id


async def announce(client: UdpClient, connection_id: bytes, info_hash: InfoHash) -> Response:
    """What the tracker answers to a seeder that starts, and wants one peer. Raises StepFailed."""
    request = AnnounceRequest(
        connection_id,
        _TRANSACTION_ID,
        info_hash,
        _PEER_ID,
        downloaded=0,
        left=0,
        uploaded=0,
        event=AnnounceEvent.STARTED,
        num_want=1,
        port=client.port,
    )
    with _step("a announce"):
        return await client.ask(encode_announce_request(request), _TRANSACTION_ID)


async def scrape(client: UdpClient, connection_id: bytes, info_hashes: list[InfoHash]) -> Response:
    """Raises StepFailed."""
    request = ScrapeRequest(connection_id, _TRANSACTION_ID, info_hashes)
    with _step("a scrape"):
        return await client.ask(encode_scrape_request(request), _TRANSACTION_ID)


@contextmanager
def _step(what: str) -> Iterator[None]:
    """`what` with its article, as Torrust has it, "a announce" too."""
    failed = f"Failed to receive {what} response, with error"
    try:
        yield
    except TimeoutError as error:
        raise StepFailed(f"{failed}: Timeout: no answer within {PATIENCE:g} s") from error
    except OSError as error:
        raise StepFailed(f"{failed}: {error.strerror or error}") from error
    except BadPacket as error:
        raise StepFailed(f"{failed}: {error}") from error


def response_json(response: Response, *, ipv6: bool) -> dict[str, dict[str, object]]:
    """A response under the name of its kind. `ipv6`: the tracker was asked over IPv6."""
    transaction_id = {"transaction_id": int.from_bytes(response.transaction_id, signed=True)}
    match response:
        case ConnectResponse(_, connection_id):
            fields = {"connection_id": int.from_bytes(connection_id, signed=True)}
            return {"Connect": {**transaction_id, **fields}}
        case AnnounceResponse(_, interval, leechers, seeders, peers):
            counts = {"announce_interval": interval, "leechers": leechers, "seeders": seeders}
            name = "AnnounceIpv6" if ipv6 else "AnnounceIpv4"
            return {name: {**transaction_id, **counts, "peers": endpoints_text(peers, ipv6=ipv6)}}
        case ScrapeResponse(_, swarms):
            return {"Scrape": {**transaction_id, "torrent_stats": [swarm._asdict() for swarm in swarms]}}
        case ErrorResponse(_, text):
            return {"Error": {**transaction_id, "message": text}}


def endpoints_text(peers: bytes, *, ipv6: bool) -> list[str]:
    """The whole ones, as text."""
    size = ENDPOINT_SIZE_IPV6 if ipv6 else ENDPOINT_SIZE_IPV4
    ends = range(size, len(peers) + 1, size)
    return [endpoint_text(Endpoint(peers[end - size : end])) for end in ends]


def _tracker(_: click.Context, __: click.Parameter, text: str) -> TrackerAddress:
    try:
        return resolve_tracker(text)
    except BadArgument as error:
        raise click.BadParameter(str(error)) from error


def _info_hash(_: click.Context, __: click.Parameter, text: str) -> InfoHash:
    try:
        return parse_info_hash(text)
    except BadArgument as error:
        raise click.BadParameter(str(error)) from error


def _info_hashes(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[InfoHash]:
    """Each text holds one or several, separated by spaces."""
    info_hashes = [_info_hash(context, parameter, one) for text in texts for one in text.split(" ")]
    if len(info_hashes) > MAX_SCRAPED:
        raise click.BadParameter(f"more than {MAX_SCRAPED} info hashes")
    return info_hashes


_TRACKER = click.argument("tracker", metavar="<TRACKER>", callback=_tracker)


@click.group(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(version("torrust_py"), "-V", "--version", prog_name="udp_tracker_client")
def main() -> None:
    """Ask a UDP tracker, and print its answer as JSON.

    TRACKER is IP:port, or a URL with a port: udp://tracker.example:6969.
    """


main.add_command(help_command)


@main.command("announce")
@_TRACKER
@click.argument("info_hash", metavar="<INFO_HASH>", callback=_info_hash)
def _announce_command(tracker: TrackerAddress, info_hash: InfoHash) -> None:
    """Announce a seeder, and show who else is in the swarm."""
    _print_response(tracker, _announced(tracker, info_hash))


@main.command("scrape")
@_TRACKER
@click.argument("info_hashes", metavar="<INFO_HASH>...", callback=_info_hashes, nargs=-1, required=True)
def _scrape_command(tracker: TrackerAddress, info_hashes: list[InfoHash]) -> None:
    """Show the counts of swarms, up to 74."""
    _print_response(tracker, _scraped(tracker, info_hashes))


async def _announced(tracker: TrackerAddress, info_hash: InfoHash) -> Response:
    async with open_tracker(tracker) as client:
        return await announce(client, await connect(client), info_hash)


async def _scraped(tracker: TrackerAddress, info_hashes: list[InfoHash]) -> Response:
    async with open_tracker(tracker) as client:
        return await scrape(client, await connect(client), info_hashes)


def _print_response(tracker: TrackerAddress, asking: Coroutine[None, None, Response]) -> None:
    try:
        response = asyncio.run(asking)
    except StepFailed as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    text = json.dumps(response_json(response, ipv6=":" in tracker.host), indent=2, ensure_ascii=False)
    print(text, end="")


if __name__ == "__main__":
    main()
