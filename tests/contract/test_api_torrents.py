"""What the REST API shows of torrents."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"
UNKNOWN = "f" * 40

bad_info_hashes = pytest.mark.parametrize(
    "value", ["0", "-1", "1.1", "INVALID%20INFOHASH", HASH[:-1], f"{HASH[:-1]}&", f"{HASH}0", "%C3%A9"]
)


def shown(value: str) -> str:
    return value.replace("%20", " ").replace("+", " ").replace("%C3%A9", "é")


def bad_info_hash(value: str) -> tuple[int, str, str]:
    text = (
        f'Invalid URL: invalid infohash param: string "{shown(value)}", expected a 40 character long string'
    )
    return 400, TEXT, text


# --- one


def peer(daemon: Any, info_hash: bytes, number: int = 0) -> Any:
    return daemon.torrent(info_hash)["peers"][number]


@pytest.mark.clause(
    "7.3.3", "7.5.3", "7.7.1", "7.7.4", "7.7.5", "7.7.6", "7.7.7", "7.7.8", "7.7.9", "12.3.18"
)
def test_a_torrent_is_shown_whole(public: Any, info_hash: bytes) -> None:
    before = time.time_ns() // 1_000_000
    with public.conversation() as client:
        client.announce(info_hash, 8080, peer_id=b"-qB00000000000000000")
    answer = public.call("GET", f"/torrent/{info_hash.hex()}")
    updated = json.loads(answer.text)["peers"][0]["updated"]
    assert answer.row == (
        200,
        JSON,
        f'{{"info_hash":"{info_hash.hex()}","seeders":1,"completed":0,"leechers":0,"peers":['
        '{"peer_id":{"id":"0x2d71423030303030303030303030303030303030","client":null},'
        f'"peer_addr":"127.0.0.1:8080","updated":{updated},"updated_milliseconds_ago":{updated},'
        '"uploaded":0,"downloaded":0,"left":0,"event":"Started"}]}',
    )
    assert before - 1000 <= updated <= time.time_ns() // 1_000_000 + 1000  # clocks of whole milliseconds


@pytest.mark.clause("7.7.7")
def test_a_peer_is_updated_by_its_next_announce(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    first = peer(public, info_hash)["updated"]
    while (later := peer(public, info_hash)["updated"]) == first:
        public.announce(info_hash)
    assert later > first


@pytest.mark.clause("7.4.5")
def test_a_torrent_is_asked_for_in_either_case(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    answer = public.call("GET", f"/torrent/{info_hash.hex().upper()}")
    assert json.loads(answer.text)["info_hash"] == info_hash.hex()


@pytest.mark.clause("7.7.5", "7.7.9")
@pytest.mark.parametrize(
    ("peer_id", "client"),
    [("-qB4410-*dFZ:8DHIDpEy", "qBittorrent"), ("-UT355W-000000000000", "µTorrent"), ("x" * 20, None)],
)
def test_a_peer_has_the_name_of_its_client(
    public: Any, info_hash: bytes, peer_id: str, client: str | None
) -> None:
    peer_id = peer_id[:20]
    public.announce(info_hash, peer_id=peer_id)
    assert peer(public, info_hash)["peer_id"] == {"id": "0x" + peer_id.encode().hex(), "client": client}


@pytest.mark.clause("7.7.6")
def test_an_ipv6_address_stands_in_brackets(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, ipv6=True, port=6881)
    assert peer(public, info_hash)["peer_addr"] == "[::1]:6881"


@pytest.mark.clause("7.7.4", "7.7.8")
@pytest.mark.parametrize(
    ("event", "name"), [("started", "Started"), ("completed", "Completed"), (None, "None")]
)
def test_a_peer_has_what_it_announced(public: Any, info_hash: bytes, event: str | None, name: str) -> None:
    public.announce(info_hash, event=event, uploaded=1, downloaded=2**62, left=3)
    members = peer(public, info_hash)
    assert [members[key] for key in ("uploaded", "downloaded", "left", "event")] == [1, 2**62, 3, name]


@pytest.mark.clause("7.7.2")
def test_all_peers_come_in_the_order_of_their_ids(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        for number in range(100):
            client.announce(info_hash, 1 + number, peer_id=b"-xx0000-%012d" % (number * 37 % 50))
    peers = public.torrent(info_hash)["peers"]
    assert len(peers) == 100
    order = [(peer["peer_id"]["id"], int(peer["peer_addr"].removeprefix("127.0.0.1:"))) for peer in peers]
    assert order == sorted(order)


@pytest.mark.clause("7.7.3")
def test_a_torrent_that_all_have_left_has_an_empty_list(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    public.announce(info_hash, event="stopped")
    answer = public.call("GET", f"/torrent/{info_hash.hex()}")
    counts = '"seeders":0,"completed":0,"leechers":0'
    assert answer.text == f'{{"info_hash":"{info_hash.hex()}",{counts},"peers":[]}}'


@pytest.mark.clause("7.5.4", "12.3.19", "B.1.2")
def test_an_unknown_torrent_is_a_text_in_json(public: Any, info_hash: bytes) -> None:
    answer = public.call("GET", f"/torrent/{info_hash.hex()}")
    assert answer.row == (200, JSON, '"torrent not known"')


@pytest.mark.clause("7.4.4", "7.5.5", "12.3.20", "B.1.3")
@bad_info_hashes
def test_a_bad_info_hash_is_quoted(public: Any, value: str) -> None:
    assert public.call("GET", f"/torrent/{value}").row == bad_info_hash(value)


@pytest.mark.clause("7.3.14", "12.3.20")
@pytest.mark.parametrize("value", ["", "%20"])
def test_without_an_info_hash_there_is_nothing(public: Any, value: str) -> None:
    assert public.call("GET", f"/torrent/{value}").row == (404, None, "")


@pytest.mark.clause("7.4.6")
@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/torrent/%ff", "info_hash"),
        ("POST", "/whitelist/%ff", "info_hash"),
        ("DELETE", "/whitelist/%c3", "info_hash"),
        ("POST", "/key/%ff", "seconds_valid_or_key"),
        ("DELETE", "/key/%ff", "seconds_valid_or_key"),
    ],
)
def test_a_value_that_is_not_utf8_is_refused(public: Any, method: str, path: str, name: str) -> None:
    assert public.call(method, path).row == (400, TEXT, f"Invalid URL: Invalid UTF-8 in `{name}`")


# --- many


@pytest.fixture(scope="module")
def four(
    tmp_path_factory: pytest.TempPathFactory,
    configure: Callable[..., str],
    share: Callable[[Path, str], AbstractContextManager[Any]],
) -> Iterator[Any]:
    """A tracker with the torrents 1 to 4: the first has a seeder, the others have a leecher."""
    with share(tmp_path_factory.mktemp("four"), configure()) as daemon:
        for number in (3, 1, 4, 2):
            daemon.announce(bytes([number]) * 20, left=number - 1)
        yield daemon


def items(*numbers: int) -> str:
    """The list of these torrents."""
    counts = {number: (1, 0) if number == 1 else (0, 1) for number in numbers}
    objects = [
        f'{{"info_hash":"{f"{number:02x}" * 20}","seeders":{seeders},"completed":0,"leechers":{leechers}}}'
        for number in numbers
        for seeders, leechers in [counts[number]]
    ]
    return f"[{','.join(objects)}]"


@pytest.mark.clause("7.3.4", "7.5.6", "7.6.2", "7.8.1", "7.8.5", "12.3.10")
def test_all_torrents_are_listed_in_order(four: Any) -> None:
    assert four.call("GET", "/torrents").row == (200, JSON, items(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        pytest.param("limit=1", [1], marks=pytest.mark.clause("7.8.3", "12.3.11")),
        pytest.param("offset=1", [2, 3, 4], marks=pytest.mark.clause("7.8.2", "12.3.12")),
        pytest.param("offset=1&limit=1", [2], marks=pytest.mark.clause("7.8.2", "12.3.12")),
        pytest.param("offset=2&limit=2", [3, 4], marks=pytest.mark.clause("7.8.2")),
        pytest.param("offset=4", [], marks=pytest.mark.clause("7.8.2")),
        pytest.param("limit=0", [], marks=pytest.mark.clause("7.8.3")),
        pytest.param("limit=4294967295&offset=0", [1, 2, 3, 4], marks=pytest.mark.clause("7.8.3")),
        pytest.param("limit=&offset=", [1, 2, 3, 4], marks=pytest.mark.clause("7.8.4")),
    ],
)
def test_a_page_of_torrents(four: Any, query: str, numbers: list[int]) -> None:
    assert four.call("GET", f"/torrents?{query}").row == (200, JSON, items(*numbers))


@pytest.mark.clause("7.8.6", "12.3.13")
def test_named_torrents_come_as_asked_for(four: Any) -> None:
    names = "&".join(f"info_hash={f'{number:02X}' * 20}" for number in (3, 9, 1, 3))
    assert four.call("GET", f"/torrents?{names}&limit=1&offset=2").row == (200, JSON, items(3, 1, 3))


@pytest.mark.clause("7.8.6")
def test_named_torrents_that_are_unknown_are_left_out(four: Any) -> None:
    assert four.call("GET", f"/torrents?info_hash={UNKNOWN}").row == (200, JSON, "[]")


@pytest.mark.clause("7.8.3")
def test_without_a_limit_4000_torrents_are_listed(start: Callable[..., Any]) -> None:
    daemon = start()
    with daemon.conversation() as client:
        for number in range(4001):
            client.announce(number.to_bytes(20, "big"), 6881)
    listed = json.loads(daemon.call("GET", "/torrents").text)
    assert [item["info_hash"] for item in listed] == [f"{number:040x}" for number in range(4000)]
    listed = json.loads(daemon.call("GET", "/torrents?limit=5000").text)
    assert [item["info_hash"] for item in listed] == [f"{number:040x}" for number in range(4001)]


@pytest.mark.clause("7.5.7", "12.3.14", "12.3.15", "B.1.5")
@pytest.mark.parametrize("name", ["offset", "limit"])
@pytest.mark.parametrize("value", ["%20", "+", "-1", "1.1", "INVALID%20OFFSET", "x", "1_0"])
def test_a_page_that_is_no_number_is_refused(public: Any, name: str, value: str) -> None:
    answer = public.call("GET", f"/torrents?{name}={value}")
    assert answer.row == (400, TEXT, "Failed to deserialize query string: invalid digit found in string")


@pytest.mark.clause("7.5.8")
@pytest.mark.parametrize("name", ["offset", "limit"])
@pytest.mark.parametrize("value", ["4294967296", "9" * 100])
def test_a_page_beyond_32_bits_is_refused(public: Any, name: str, value: str) -> None:
    answer = public.call("GET", f"/torrents?{name}={value}")
    expected = "Failed to deserialize query string: number too large to fit in target type"
    assert answer.row == (400, TEXT, expected)


@pytest.mark.clause("7.5.9", "7.8.7", "12.3.16", "B.1.3")
@pytest.mark.parametrize("value", ["", "+", "%20", "-1", "1.1", "INVALID%20INFO_HASH"])
def test_the_first_bad_info_hash_of_a_list_is_quoted(public: Any, value: str) -> None:
    answer = public.call("GET", f"/torrents?info_hash={HASH}&info_hash={value}&info_hash=later")
    assert answer.row == bad_info_hash(value)


@pytest.mark.clause("7.6.2")
def test_json_is_one_line_without_spaces(four: Any) -> None:
    text = four.call("GET", f"/torrent/{'01' * 20}").text
    assert not re.search(r"\s", text)
