import json
import socket
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from tests.ports import free_port
from torrust_py.console import udp_client
from torrust_py.console.udp_client import BadArgument, main, resolve_tracker
from torrust_py.core.types import SwarmCounts, SwarmView
from torrust_py.udp.packets import (
    CONNECT,
    action_of,
    encode_announce_response,
    encode_connect_response,
    encode_error_response,
    encode_scrape_response,
    parse_announce,
    parse_scrape,
    transaction_id_of,
)

INFO_HASH = "05" * 20
TRANSACTION_ID = -888840697
CONNECTION_ID = b"12345678"

StartTracker = Callable[..., int]
Answer = Callable[[bytes], bytes]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def after_connect(answer: Answer) -> Answer:
    """Connects, and answers everything else so."""

    def either(datagram: bytes) -> bytes:
        if action_of(datagram) == CONNECT:
            return encode_connect_response(transaction_id_of(datagram), CONNECTION_ID)
        return answer(datagram)

    return either


def swarm(*, ipv4: str = "", ipv6: str = "") -> Answer:
    """Announces into a swarm of a leecher and four seeders."""
    view = SwarmView(4, 1, bytes.fromhex(ipv4), bytes.fromhex(ipv6))
    return after_connect(
        lambda datagram: encode_announce_response(transaction_id_of(datagram), interval=120, swarm=view)
    )


@pytest.mark.clause("9.1.9")
def test_an_announce_is_printed_as_torrust_prints_it(udp_tracker: StartTracker) -> None:
    port = udp_tracker(swarm(ipv4="cb007105448ecb007105448f"))
    result = run("announce", f"udp://127.0.0.1:{port}", INFO_HASH)
    expected = """{
  "AnnounceIpv4": {
    "transaction_id": -888840697,
    "announce_interval": 120,
    "leechers": 1,
    "seeders": 4,
    "peers": [
      "203.0.113.5:17550",
      "203.0.113.5:17551"
    ]
  }
}"""
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


@pytest.mark.clause("9.1.11")
def test_a_scrape_is_printed_as_torrust_prints_it(udp_tracker: StartTracker) -> None:
    counts = [SwarmCounts(seeders=4, completed=0, leechers=1)]
    answer = after_connect(lambda datagram: encode_scrape_response(transaction_id_of(datagram), counts))
    result = run("scrape", f"127.0.0.1:{udp_tracker(answer)}", INFO_HASH)
    expected = """{
  "Scrape": {
    "transaction_id": -888840697,
    "torrent_stats": [
      {
        "seeders": 4,
        "completed": 0,
        "leechers": 1
      }
    ]
  }
}"""
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


@pytest.mark.clause("9.1.13")
def test_over_ipv6_the_peers_are_of_ipv6(udp_tracker: StartTracker) -> None:
    port = udp_tracker(swarm(ipv6="20010db8000000000000000000000001" + "1ae1"), host="::1")
    result = run("announce", f"udp://[::1]:{port}", INFO_HASH)
    assert json.loads(result.stdout)["AnnounceIpv6"]["peers"] == ["[2001:db8::1]:6881"]


def test_a_peer_that_is_cut_off_is_passed_over(udp_tracker: StartTracker) -> None:
    port = udp_tracker(swarm(ipv4="cb007105448e" + "cb00"))
    result = run("announce", f"udp://127.0.0.1:{port}", INFO_HASH)
    assert json.loads(result.stdout)["AnnounceIpv4"]["peers"] == ["203.0.113.5:17550"]


@pytest.mark.clause("9.1.7", "9.1.8")
def test_the_announce_is_of_a_seeder_that_starts(udp_tracker: StartTracker) -> None:
    asked: list[bytes] = []
    answer = after_connect(
        lambda datagram: asked.append(datagram) or encode_error_response(transaction_id_of(datagram), "no")
    )
    run("announce", f"127.0.0.1:{udp_tracker(answer)}", INFO_HASH)
    request = parse_announce(asked[0])
    assert request.connection_id == CONNECTION_ID
    assert request.transaction_id == TRANSACTION_ID.to_bytes(4, signed=True)
    assert (request.info_hash, request.peer_id) == (b"\5" * 20, b"-qB00000000000000001")
    assert (request.downloaded, request.left, request.uploaded, request.event.name) == (0, 0, 0, "STARTED")
    assert request.num_want == 1


@pytest.mark.clause("9.1.6")
def test_info_hashes_may_come_together_or_apart(udp_tracker: StartTracker) -> None:
    asked: list[bytes] = []
    answer = after_connect(
        lambda datagram: asked.append(datagram) or encode_scrape_response(transaction_id_of(datagram), [])
    )
    port = udp_tracker(answer)
    run("scrape", f"127.0.0.1:{port}", f"{'01' * 20} {'02' * 20}", "03" * 20)
    assert parse_scrape(asked[0]).info_hashes == [b"\1" * 20, b"\2" * 20, b"\3" * 20]


@pytest.mark.clause("9.1.12")
def test_a_refusal_of_the_tracker_is_an_answer(udp_tracker: StartTracker) -> None:
    answer = after_connect(
        lambda datagram: encode_error_response(transaction_id_of(datagram), "nicht für dich")
    )
    result = run("announce", f"127.0.0.1:{udp_tracker(answer)}", INFO_HASH)
    expected = {"Error": {"transaction_id": TRANSACTION_ID, "message": "nicht für dich"}}
    assert (result.exit_code, json.loads(result.stdout)) == (0, expected)


@pytest.mark.clause("9.1.12")
def test_a_connect_response_to_an_announce_is_shown(udp_tracker: StartTracker) -> None:
    port = udp_tracker(lambda datagram: encode_connect_response(transaction_id_of(datagram), b"\xff" * 8))
    result = run("announce", f"127.0.0.1:{port}", INFO_HASH)
    expected = {"Connect": {"transaction_id": TRANSACTION_ID, "connection_id": -1}}
    assert (result.exit_code, json.loads(result.stdout)) == (0, expected)


@pytest.mark.clause("9.1.15")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (encode_error_response, "the tracker says: 'go away'"),
        (
            lambda transaction_id, _: encode_scrape_response(transaction_id, []),
            "the tracker answers something else",
        ),
    ],
)
def test_without_a_connection_id_there_is_no_announce(
    udp_tracker: StartTracker, answer: Callable[[bytes, str], bytes], reason: str
) -> None:
    port = udp_tracker(lambda datagram: answer(transaction_id_of(datagram), "go away"))
    result = run("announce", f"127.0.0.1:{port}", INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: Failed to get a connection response: {reason}\n"


def test_a_datagram_that_is_no_response_is_an_error(udp_tracker: StartTracker) -> None:
    result = run("announce", f"127.0.0.1:{udp_tracker(lambda _: b'hello')}", INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Failed to receive a connect response, with error: too short")


@pytest.mark.clause("9.1.14")
def test_a_silent_tracker_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_client, "PATIENCE", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        result = run("scrape", f"127.0.0.1:{silent.getsockname()[1]}", INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    expected = "Error: Failed to receive a connect response, with error: Timeout: no answer within 0.05 s\n"
    assert result.stderr == expected


def test_a_tracker_that_is_away_is_an_error() -> None:
    result = run("announce", f"127.0.0.1:{free_port()}", INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Failed to receive a connect response, with error: ")


@pytest.mark.clause("9.1.5")
@pytest.mark.parametrize(
    "info_hash", ["abc", "", "0" * 39 + "g", "\N{ARABIC-INDIC DIGIT ZERO}" * 40, "0" * 41]
)
def test_a_wrong_info_hash_is_an_argument_error(info_hash: str) -> None:
    result = run("announce", "udp://127.0.0.1:6969", info_hash)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"for '<INFO_HASH>': failed to parse info-hash `{info_hash}`: " in result.stderr


def test_an_announce_takes_one_info_hash() -> None:
    assert run("announce", "127.0.0.1:1", f"{INFO_HASH} {INFO_HASH}").exit_code == 2


@pytest.mark.clause("9.1.6")
@pytest.mark.parametrize("count", [0, 75])
def test_a_scrape_takes_from_1_to_74_info_hashes(count: int) -> None:
    result = run("scrape", "127.0.0.1:1", *[INFO_HASH] * count)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage:" in result.stderr


@pytest.mark.clause("9.1.3", "9.1.4")
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("tracker", "invalid address format: `tracker`. Expected format is host:port"),
        ("::1:6969", "invalid address format: `::1:6969`. Expected format is host:port"),
        ("127.0.0.1:x", "invalid port: `x`"),
        ("127.0.0.1:65536", "invalid port: `65536`"),
        ("127.0.0.1:٣", "invalid port: `٣`"),
        ("localhost:6969", "invalid host in URL: `localhost:6969`"),
        ("udp://127.0.0.1", "port not found in URL: `udp://127.0.0.1`"),
        ("udp://:6969", "invalid host in URL: `udp://:6969`"),
        ("udp://127.0.0.1:70000", "invalid URL: `udp://127.0.0.1:70000`"),
        ("udp://tracker.invalid:6969", "DNS resolution failed for `udp://tracker.invalid:6969`"),
        (f"udp://{'a' * 64}.invalid:6969", "DNS resolution failed for `udp://aaa"),
    ],
)
def test_what_is_no_tracker_is_an_argument_error(text: str, error: str) -> None:
    with pytest.raises(BadArgument) as raised:
        resolve_tracker(text)
    assert str(raised.value).startswith(error)


@pytest.mark.clause("9.1.1")
@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1:6969", "127.0.0.1"),
        ("[::1]:6969", "::1"),
        ("udp://127.0.0.1:6969/announce", "127.0.0.1"),
        ("udp://[2001:db8::1]:6969/", "2001:db8::1"),
        ("udp://[::ffff:127.0.0.1]:6969", "127.0.0.1"),
    ],
)
def test_a_tracker_is_an_address_or_a_url(text: str, host: str) -> None:
    assert resolve_tracker(text) == (host, 6969)


@pytest.mark.clause("9.0.1", "9.1.3")
def test_a_wrong_tracker_exits_with_2() -> None:
    result = run("scrape", "localhost:6969", INFO_HASH)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "for '<TRACKER>': invalid host in URL: `localhost:6969`" in result.stderr


@pytest.mark.clause("9.1.14")
def test_an_address_that_cannot_be_asked_is_an_error() -> None:
    result = run("scrape", "255.255.255.255:6969", INFO_HASH)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Failed to Connect to: 255.255.255.255:6969, with error: ")


@pytest.mark.clause("9.1.2")
def test_a_name_is_looked_up() -> None:
    assert resolve_tracker("udp://localhost:6969").host in ("127.0.0.1", "::1")


@pytest.mark.clause("9.0.1")
@pytest.mark.parametrize("arguments", [(), ("connect",), ("announce",), ("--tracker=1",)])
def test_any_other_arguments_print_the_usage(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage:" in result.stderr


@pytest.mark.clause("9.0.2")
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_the_commands(option: str) -> None:
    result = run(option)
    assert result.exit_code == 0
    assert "announce" in result.stdout
    assert "scrape" in result.stdout


@pytest.mark.clause("9.0.2")
@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_names_the_program(option: str) -> None:
    result = run(option)
    assert result.exit_code == 0
    assert result.stdout.startswith("udp_tracker_client, version ")
