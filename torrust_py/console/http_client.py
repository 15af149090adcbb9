"""`http_tracker_client`: asks an HTTP tracker once, and prints its answer as JSON."""

import json
import sys
from importlib.metadata import version
from typing import NoReturn
from urllib.parse import urlsplit

import click

from torrust_py.console.health_check import status_text
from torrust_py.console.help_command import help_command
from torrust_py.console.udp_client import BadArgument, parse_info_hash
from torrust_py.core.types import InfoHash, SwarmCounts
from torrust_py.http.client import (
    AnnouncedPeer,
    AnnounceResponse,
    BadResponse,
    NoAnswer,
    encode_params,
    get,
    parse_announce_response,
    parse_scrape_response,
)

PATIENCE = 5.0
"""Seconds that an answer is waited for."""

_FAILED, _PANICKED = 1, 101  # exit statuses
_EXAMPLE = "9c38422213e30bff212b30c360d26f9a02136422"


def base_url(text: str) -> str:
    """The URL to which `announce` is appended as it is. Raises BadArgument."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise BadArgument(f"failed to parse HTTP tracker base URL: `{text}`")
    return text if parts.path else parts._replace(path="/").geturl()


def announce_url(base: str, info_hash: InfoHash) -> str:
    """Announces a seeder that has just completed, and asks for peers with their ids."""
    params = [
        ("info_hash", info_hash),
        ("downloaded", b"0"),
        ("uploaded", b"0"),
        ("peer_id", b"-qB00000000000000001"),
        ("port", b"17548"),
        ("left", b"0"),
        ("event", b"completed"),
        ("compact", b"0"),
    ]
    first, rest = encode_params(params[:1]), encode_params(params[1:])
    return f"{base}announce?{first}&peer_addr=192.168.1.88&{rest}"


def scrape_url(base: str, info_hashes: list[InfoHash]) -> str:
    return f"{base}scrape?" + encode_params([("info_hash", info_hash) for info_hash in info_hashes])


@click.group(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("torrust_py"), "-V", "--version", prog_name="http_tracker_client")
def main() -> None:
    """Ask an HTTP tracker, and print its answer as JSON.

    TRACKER_URL is the URL without `announce`: https://tracker.example.
    """


main.add_command(help_command)


@main.command("announce")
@click.argument("tracker_url", metavar="<TRACKER_URL>")
@click.argument("info_hash", metavar="<INFO_HASH>")
def _announce_command(tracker_url: str, info_hash: str) -> None:
    """Announce a seeder, and show who else is in the swarm."""
    base = _base_url_or_exit(tracker_url)
    try:
        parsed = parse_info_hash(info_hash)
    except BadArgument as error:
        _exit(f"Invalid infohash. Example infohash: `{_EXAMPLE}`: {error}", _PANICKED)
    body = _body_or_exit(announce_url(base, parsed))
    try:
        response = parse_announce_response(body)
    except BadResponse as error:
        _exit_undecodable("announce", body, error)
    _print_json(announce_json(response))


@main.command("scrape")
@click.argument("tracker_url", metavar="<TRACKER_URL>")
@click.argument("info_hashes", metavar="<INFO_HASH>...", nargs=-1, required=True)
def _scrape_command(tracker_url: str, info_hashes: tuple[str, ...]) -> None:
    """Show the counts of swarms."""
    base = _base_url_or_exit(tracker_url)
    try:
        parsed = [parse_info_hash(one) for text in info_hashes for one in text.split(" ")]
    except BadArgument as error:
        _exit(f"failed to parse infohashes: {error}", _FAILED)
    body = _body_or_exit(scrape_url(base, parsed))
    try:
        swarms = parse_scrape_response(body)
    except BadResponse as error:
        _exit_undecodable("scrape", body, error)
    _print_json({info_hash.hex(): _counts_json(swarm) for info_hash, swarm in swarms.items()})


def announce_json(response: AnnounceResponse) -> dict[str, object]:
    return {
        "complete": response.seeders,
        "incomplete": response.leechers,
        "interval": response.interval,
        "min interval": response.interval_min,
        "peers": [_peer_json(peer) for peer in response.peers],
    }


def _peer_json(peer: AnnouncedPeer) -> dict[str, object]:
    peer_id = None if peer.peer_id is None else list(peer.peer_id)
    return {"ip": peer.address, "peer id": peer_id, "port": peer.port}


def _counts_json(swarm: SwarmCounts) -> dict[str, int]:
    return {"complete": swarm.seeders, "downloaded": swarm.completed, "incomplete": swarm.leechers}


def _base_url_or_exit(text: str) -> str:
    try:
        return base_url(text)
    except BadArgument as error:
        _exit(str(error), _FAILED)


def _body_or_exit(url: str) -> bytes:
    try:
        answer = get(url, patience=PATIENCE)
    except NoAnswer as error:
        _exit(f"Failed to get a response: {error}", _FAILED)
    if not answer.is_success:
        _exit(f'Returned a non-success code: "{status_text(answer.status)}" from {url}', _FAILED)
    return answer.body


def _exit_undecodable(kind: str, body: bytes, error: BadResponse) -> NoReturn:
    shown = repr(body)[2:-1]  # a tracker's bytes do nothing to a terminal
    _exit(f'response body should be a valid {kind} response, got: "{shown}": {error}', _PANICKED)


def _exit(text: str, status: int) -> NoReturn:
    print(f"Error: {text}", file=sys.stderr)
    sys.exit(status)


def _print_json(value: object) -> None:
    print(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


if __name__ == "__main__":
    main()
