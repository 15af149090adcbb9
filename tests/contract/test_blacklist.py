"""Torrents that are refused: by the API and by a file, seen by those who announce."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torrust_py.core.types import AnnounceEvent
from torrust_py.udp.packets import AnnounceResponse, ErrorResponse, ScrapeResponse

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

OK = (200, "application/json", '{"status":"ok"}')
TEXT = "text/plain; charset=utf-8"
JSON = {"Content-Type": "application/json"}
SECONDS = "seconds_valid must be a whole number from 1 to 3153600000, or null"
FILE = 'blacklist_path = "blacklist.txt"'
WARNING = "WARN .*A changed blacklist is not taken up, the old one stays: "


def refusal(info_hash: bytes, reason: str = "") -> str:
    return f"The torrent: {info_hash.hex()}, is blacklisted{reason and ': '}{reason}"


def refuse(daemon: Any, info_hash: bytes, **body: object) -> None:
    answer = daemon.call("POST", f"/blacklist/{info_hash.hex()}", body=json.dumps(body), headers=JSON)
    assert answer.row == OK


def listed(daemon: Any, query: str = "limit=1000000") -> dict[str, Any]:
    """What the API shows, by info hash."""
    answer = daemon.call("GET", f"/blacklist?{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    return {entry.pop("info_hash"): entry for entry in json.loads(answer.text)}


def is_refused(daemon: Any, info_hash: bytes) -> bool:
    return b"is blacklisted" in daemon.announce(info_hash).body


def reload(daemon: Any, file: Path, text: str, line: str, *, times: int = 1) -> None:
    """Change the file, tell the daemon, and wait for what it says about it."""
    file.write_text(text)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_line(line, times=times)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The blacklist of the daemon that a test starts."""
    return tmp_path / "blacklist.txt"


# --- who announces


def test_a_listed_torrent_is_refused_over_http_with_the_reason(public: Any, info_hash: bytes) -> None:
    refuse(public, info_hash, reason="Court order 12/34, §7")
    before = public.stats()
    for ipv6 in (False, True):
        failure = public.announce(info_hash, ipv6=ipv6).failure
        assert failure == f"Tracker error: {refusal(info_hash, 'Court order 12/34, §7')}"
    assert public.stats() == before, "a refused announce is not one that was handled"


def test_a_listed_torrent_is_refused_over_udp_with_the_reason(public: Any, info_hash: bytes) -> None:
    reason = "é" * 250
    refuse(public, info_hash, reason=reason)
    for ipv6 in (False, True):
        with public.conversation(ipv6=ipv6) as client:
            expected = f"tracker server error: {refusal(info_hash, reason)}"
            assert client.announce(info_hash, 7000) == ErrorResponse(b"\0\0\x22\x22", expected)


def test_a_refusal_without_a_reason_gives_none(public: Any, info_hash: bytes) -> None:
    assert public.call("POST", f"/blacklist/{info_hash.hex()}").row == OK
    assert public.announce(info_hash).failure == f"Tracker error: {refusal(info_hash)}"


def test_a_scrape_of_a_listed_torrent_shows_zeros(public: Any, info_hash: bytes) -> None:
    other = bytes(reversed(info_hash))
    for torrent in (info_hash, other):
        public.announce(torrent, left=0)
    refuse(public, info_hash)
    assert public.scrape(info_hash, other).scraped == {info_hash: (0, 0, 0), other: (1, 0, 0)}
    with public.conversation() as client:
        response = client.scrape(info_hash, other)
    assert isinstance(response, ScrapeResponse)
    assert [tuple(counts) for counts in response.swarms] == [(0, 0, 0), (1, 0, 0)]


def test_peers_leave_at_once_and_do_not_come_back(public: Any, info_hash: bytes) -> None:
    with public.conversation() as client:
        for port in range(1, 60):
            client.announce(info_hash, port, left=port % 2)
        public.announce(info_hash, port=99, ipv6=True)
        before = public.stats()
        refuse(public, info_hash)
        assert public.torrent(info_hash) == "torrent not known"
        after = public.stats()
        gone = {name: before[name] - after[name] for name in ("torrents", "seeders", "leechers")}
        assert gone == {"torrents": 1, "seeders": 30, "leechers": 30}
        assert public.call("DELETE", f"/blacklist/{info_hash.hex()}").row == OK
        response = client.announce(info_hash, 1)
    assert isinstance(response, AnnounceResponse)
    assert (response.seeders, response.leechers, response.peers) == (1, 0, b"")


def test_the_blacklist_wins_over_the_whitelist(listed_tracker: Any, info_hash: bytes) -> None:
    refuse(listed_tracker, info_hash, reason="why")
    assert is_refused(listed_tracker, info_hash)
    listed_tracker.call("POST", f"/whitelist/{info_hash.hex()}")
    assert is_refused(listed_tracker, info_hash)
    listed_tracker.call("DELETE", f"/blacklist/{info_hash.hex()}")
    assert b"failure reason" not in listed_tracker.announce(info_hash).body
    listed_tracker.call("DELETE", f"/whitelist/{info_hash.hex()}")
    assert b"is not whitelisted" in listed_tracker.announce(info_hash).body


@pytest.fixture
def listed_tracker(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("listed")


def test_a_private_tracker_asks_for_the_key_first(private: Any, info_hash: bytes) -> None:
    key = json.loads(private.api("keys", method="POST", body={"key": None, "seconds_valid": 60})[1])["key"]
    refuse(private, info_hash, reason="why")
    assert "Missing authentication key" in private.announce(info_hash).failure
    assert private.announce(info_hash, key=key).failure == f"Tracker error: {refusal(info_hash, 'why')}"
    assert private.scrape(info_hash, key=key).scraped == {info_hash: (0, 0, 0)}


def test_a_client_behind_a_proxy_is_refused(proxied: Any, info_hash: bytes) -> None:
    refuse(proxied, info_hash, reason="why")
    answer = proxied.announce(info_hash, headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.failure == f"Tracker error: {refusal(info_hash, 'why')}"


# --- the calls


def test_what_is_listed_is_shown_with_why_and_until_when(public: Any, info_hash: bytes) -> None:
    before = int(time.time())
    refuse(public, info_hash, reason='a "reason"', seconds_valid=3600)
    entry = listed(public)[info_hash.hex()]
    assert before + 3600 <= entry.pop("valid_until") <= time.time() + 3600
    assert entry == {"reason": 'a "reason"', "sources": ["database"]}


def test_a_second_listing_replaces_the_first(public: Any, info_hash: bytes) -> None:
    refuse(public, info_hash, reason="one", seconds_valid=3600)
    refuse(public, info_hash)
    entry = {"reason": None, "valid_until": None, "sources": ["database"]}
    assert listed(public)[info_hash.hex()] == entry
    assert public.announce(info_hash).failure == f"Tracker error: {refusal(info_hash)}"


def test_a_torrent_that_is_not_listed_may_be_removed(public: Any, info_hash: bytes) -> None:
    assert public.call("DELETE", f"/blacklist/{info_hash.hex()}").row == OK


def test_pages_are_in_the_order_of_the_info_hashes(start: Start, configure: Configure) -> None:
    daemon = start(configure())
    hashes = [bytes([number]) * 20 for number in (9, 3, 200, 0, 77)]
    for info_hash in hashes:
        refuse(daemon, info_hash)
    shown = sorted(info_hash.hex() for info_hash in hashes)
    assert list(listed(daemon)) == shown
    assert list(listed(daemon, "offset=1&limit=3")) == shown[1:4]
    assert list(listed(daemon, "limit=0")) == list(listed(daemon, "offset=5")) == []
    assert daemon.call("GET", "/blacklist?limit=x").row == (
        400, TEXT, "Failed to deserialize query string: invalid digit found in string",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "it is no JSON from character 2 on"),
        ("[]", "it must be a JSON object"),
        ("{} {}", "it is no JSON from character 4 on"),
        ('{"reasons":"x"}', 'it has a member "reasons", but may have reason, seconds_valid'),
        (
            '{"info_hash":"' + "0" * 40 + '"}',
            'it has a member "info_hash", but may have reason, seconds_valid',
        ),
        ('{"reason":"a","reason":"b"}', "it has a member twice"),
        ('{"reason":7}', "reason must be a text or null"),
        ('{"reason":"two\\nlines"}', "reason has a control character"),
        ('{"reason":"\\ud800"}', "reason has a control character"),
        ('{"reason":"' + "é" * 251 + '"}', "reason is longer than 500 bytes"),
        ('{"seconds_valid":0}', SECONDS),
        ('{"seconds_valid":true}', SECONDS),
        ('{"seconds_valid":1.5}', SECONDS),
        (
            '{"seconds_valid":3153600001}',
            SECONDS,
        ),
    ],
)
def test_a_body_that_is_wrong_is_told_why(public: Any, info_hash: bytes, body: str, why: str) -> None:
    answer = public.call("POST", f"/blacklist/{info_hash.hex()}", body=body.encode(), headers=JSON)
    assert answer.row == (400, TEXT, f"Invalid body: {why}")
    assert info_hash.hex() not in listed(public)


def test_a_body_is_announced_as_json(public: Any, info_hash: bytes) -> None:
    answer = public.call("POST", f"/blacklist/{info_hash.hex()}", body="{}")
    assert answer.row == (415, TEXT, "Expected request with `Content-Type: application/json`")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_info_hash_has_forty_digits(public: Any, method: str) -> None:
    assert public.call(method, "/blacklist/abc").row == (
        400,
        TEXT,
        'Invalid URL: invalid infohash param: string "abc", expected a 40 character long string',
    )


# --- many at once


def many(count: int) -> list[dict[str, object]]:
    return [{"info_hash": f"{number:040x}"} for number in range(count)]


def test_ten_thousand_are_refused_in_one_call(start: Start, configure: Configure) -> None:
    config = configure()
    daemon = start(config)
    entries = [{**entry, "reason": "x" * 500, "seconds_valid": 3600} for entry in many(10_000)]
    info_hash = (77).to_bytes(20)
    daemon.announce(info_hash)
    begin = time.monotonic()
    assert daemon.call("POST", "/blacklist", body=json.dumps(entries), headers=JSON).row == OK
    assert time.monotonic() - begin < 8  # Torrust Index waits for five, on a machine of its own
    assert daemon.stats()["torrents"] == 0
    assert is_refused(daemon, info_hash)
    assert len(listed(daemon)) == 10_000
    assert daemon.stop() == 0
    daemon = start(config)
    daemon.wait_for_line("INFO .*: Blacklist: 10000 torrents of the database$")
    assert is_refused(daemon, info_hash)


def test_the_loop_turns_while_ten_thousand_come(start: Start, configure: Configure) -> None:
    """Somebody announces all the while, and never waits for long."""
    daemon = start(configure())
    body = json.dumps(many(10_000))
    longest, done = 0.0, threading.Event()
    post = threading.Thread(
        target=lambda: (daemon.call("POST", "/blacklist", body=body, headers=JSON), done.set())
    )
    with daemon.conversation() as client:
        client.announce(b"\5" * 20, 1)
        post.start()
        while not done.is_set():
            begin = time.monotonic()
            client.announce(b"\5" * 20, 1)
            longest = max(longest, time.monotonic() - begin)
    post.join()
    assert longest < 2


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ("{}", 400, "it must be a JSON list"),
        ("[{}]", 400, "entry 1: info_hash must be a text of 40 hexadecimal digits"),
        ('[{"info_hash":"abc"}]', 400, 'entry 1: info_hash is "abc", not 40 hexadecimal digits'),
        ("[1]", 400, "entry 1: it must be a JSON object"),
        (f'[{{"info_hash":"{"1" * 40}"}},]', 400, "it is no JSON from character 59 on"),
        (f'[{{"info_hash":"{"1" * 40}"}}', 400, "it is no JSON from character 58 on"),
        (f'[{{"info_hash":"{"1" * 40}"}}] 1', 400, "it is no JSON from character 60 on"),
        (
            f'[{{"info_hash":"{"1" * 40}"}},{{"info_hash":"{"1" * 40}","reason":"x"}}]',
            400,
            f"entry 2: {'1' * 40} is there before, and otherwise",
        ),
        ("[\xff]", 400, "it is no JSON from character 2 on"),
        (
            json.dumps(many(10_001)),
            413,
            "it has more than 10000 entries; send them in several calls",
        ),
    ],
)
def test_a_list_that_is_wrong_is_refused_as_a_whole(public: Any, body: str, status: int, why: str) -> None:
    answer = public.call("POST", "/blacklist", body=body.encode(), headers=JSON)
    assert answer.row == (status, TEXT, f"Invalid body: {why}")
    assert "1" * 40 not in listed(public)


def test_only_a_list_may_be_long(public: Any, info_hash: bytes) -> None:
    long = b"[" + b" " * (100 * 1024) + b"]"
    assert public.call("POST", "/blacklist", body=long, headers=JSON).row == OK
    too_long = (413, TEXT, "Failed to buffer the request body: length limit exceeded")
    assert public.call("POST", f"/blacklist/{info_hash.hex()}", body=long, headers=JSON).row == too_long
    assert public.call("POST", "/keys", body=long, headers=JSON).row == too_long
    assert chunked(public, b" " * (9 * 1024 * 1024)).startswith(b"HTTP/1.1 413 ")


def chunked(daemon: Any, body: bytes) -> bytes:
    """The answer to a list whose length is not told beforehand."""
    head = b"POST /api/v1/blacklist?token=MyAccessToken HTTP/1.1\r\nHost: x\r\n" + (
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(daemon.address("api"), 10) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        received: bytes = client.recv(65_536)
        return received


# --- across restarts, and until when


@pytest.mark.parametrize("keep_completed", [False, True])
def test_a_listed_torrent_comes_back_without_peers(
    start: Start, configure: Configure, tmp_path: Path, keep_completed: bool
) -> None:
    core = '[core.snapshot]\npath = "swarms.snapshot"\n[core.tracker_policy]\n'
    config = configure(core + f"persistent_torrent_completed_stat = {str(keep_completed).lower()}\n")
    info_hash, other = b"\5" * 20, b"\6" * 20
    daemon = start(config)
    for torrent in (info_hash, other):
        daemon.announce(torrent, left=1)
        daemon.announce(torrent, left=0, event="completed")
    assert daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(daemon.database)) as database, database:
        database.execute(
            "INSERT INTO blacklist (info_hash, reason) VALUES (?, 'by hand')", (info_hash.hex(),)
        )
    daemon = start(config)
    assert daemon.announce(info_hash).failure == f"Tracker error: {refusal(info_hash, 'by hand')}"
    assert daemon.stats()["seeders"] == 1
    shown = daemon.torrent(info_hash)
    if keep_completed:
        assert (shown["completed"], shown["peers"]) == (1, [])
    else:
        assert shown == "torrent not known"


def test_a_listing_ends_at_its_time(start: Start, configure: Configure) -> None:
    daemon = start(configure())
    info_hash = b"\5" * 20
    refuse(daemon, info_hash, reason="for some seconds", seconds_valid=3)
    assert is_refused(daemon, info_hash)
    end = time.monotonic() + 20
    while is_refused(daemon, info_hash):
        assert time.monotonic() < end
    assert listed(daemon) == {}
    while stored(daemon):
        assert time.monotonic() < end


def stored(daemon: Any) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(daemon.database)) as database:
        return database.execute("SELECT info_hash FROM blacklist").fetchall()


def test_what_has_ended_meanwhile_is_not_taken_up(start: Start, configure: Configure) -> None:
    config = configure()
    daemon = start(config)
    info_hash = b"\5" * 20
    refuse(daemon, info_hash, seconds_valid=3600)
    assert daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(daemon.database)) as database, database:
        database.execute("UPDATE blacklist SET valid_until = ?", (int(time.time()),))
    daemon = start(config)
    assert not is_refused(daemon, info_hash)
    end = time.monotonic() + 20
    while stored(daemon):
        assert time.monotonic() < end


def test_a_database_that_fails_changes_nothing(start: Start, configure: Configure) -> None:
    daemon = start(configure())
    refuse(daemon, b"\5" * 20)
    with contextlib.closing(sqlite3.connect(daemon.database)) as database, database:
        database.execute("ALTER TABLE blacklist RENAME TO elsewhere")
    for method, path, body, to in (
        ("POST", f"/blacklist/{'06' * 20}", None, "blacklist torrent"),
        ("POST", "/blacklist", json.dumps(many(3)), "blacklist torrents"),
        ("DELETE", f"/blacklist/{'05' * 20}", None, "remove torrent from blacklist"),
    ):
        answer = daemon.call(method, path, body=body, headers=JSON if body else None)
        assert (answer.status, f"failed to {to}: The Sqlite3 query was malformed" in answer.text) == (
            500,
            True,
        )
    assert (is_refused(daemon, b"\5" * 20), is_refused(daemon, b"\6" * 20)) == (True, False)
    assert list(listed(daemon)) == ["05" * 20]


def test_a_start_that_cannot_read_the_table_says_so(
    launch: Start, start: Start, configure: Configure
) -> None:
    config = configure()
    daemon = start(config)
    assert daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(daemon.database)) as database, database:
        database.execute("DROP TABLE blacklist")
        database.execute("CREATE TABLE blacklist (id INTEGER PRIMARY KEY)")
    daemon = launch(config)
    assert daemon.wait() == 1
    assert "cannot load the blacklist from the database (core.database.path): " in daemon.errors()


# --- the file


def test_the_file_is_read_at_the_start(start: Start, configure: Configure, file: Path) -> None:
    file.write_bytes(
        b"\xef\xbb\xbf# of the week \xff\r\n\r\n"
        + b"05" * 20
        + b"\r\n  "
        + b"AB" * 20
        + b" # why\n"
        + b"05" * 20
    )
    daemon = start(configure(FILE))
    daemon.wait_for_line(r"INFO .*: Blacklist: 2 torrents of blacklist\.txt$")
    assert daemon.announce(b"\5" * 20).failure == f"Tracker error: {refusal(bytes([5] * 20))}"
    assert is_refused(daemon, b"\xab" * 20)
    entry = {"reason": None, "valid_until": None, "sources": ["file"]}
    assert listed(daemon) == {"05" * 20: entry, "ab" * 20: entry}


def test_a_changed_file_is_taken_up_on_sighup(start: Start, configure: Configure, file: Path) -> None:
    file.write_text("05" * 20)
    daemon = start(configure(FILE))
    with daemon.conversation() as client:
        client.announce(b"\6" * 20, 7000, event=AnnounceEvent.STARTED)
    reload(daemon, file, "06" * 20, r"Blacklist: 1 torrents of blacklist\.txt$", times=2)
    assert (is_refused(daemon, b"\5" * 20), is_refused(daemon, b"\6" * 20)) == (False, True)
    assert daemon.torrent(b"\6" * 20) == "torrent not known"


def test_a_file_that_cannot_be_used_leaves_the_old_list(
    start: Start, configure: Configure, file: Path
) -> None:
    file.write_text("05" * 20)
    daemon = start(configure(FILE))
    where = r"the blacklist blacklist\.txt \(core\.blacklist_path\) has in line 3 no info hash: 'nonsense'"
    reload(daemon, file, "06" * 20 + "\n\nnonsense\n", WARNING + where)
    file.unlink()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_line(
        WARNING + r"cannot read the blacklist blacklist\.txt: No such file or directory; make"
    )
    assert (is_refused(daemon, b"\5" * 20), is_refused(daemon, b"\6" * 20)) == (True, False)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "cannot read the blacklist blacklist.txt: No such file or directory; make it a file that this "
               "user may read, or change core.blacklist_path"),
        ("05" * 20 + " x", "the blacklist blacklist.txt (core.blacklist_path) has in line 1 no info hash: "),
        ("05 " * 20, "has in line 1 no info hash: "),
        ("\n05" * 19 + "  ", "has in line 2 no info hash: "),
        ("g" * 40, "has in line 1 no info hash: "),
        ("0 " * 20 + "\n", "has in line 1 no info hash: "),
    ],
)  # fmt: skip
def test_a_start_with_a_file_that_cannot_be_used_says_what_is_wrong(
    launch: Start, configure: Configure, file: Path, content: str | None, error: str
) -> None:
    if content is not None:
        file.write_text(content)
    daemon = launch(configure(FILE))
    assert daemon.wait() == 1
    assert error in daemon.errors()


def test_what_is_no_file_is_not_waited_for(launch: Start, configure: Configure, file: Path) -> None:
    os.mkfifo(file)
    daemon = launch(configure(FILE))
    assert daemon.wait() == 1
    assert "cannot read the blacklist blacklist.txt: it is no file; make it" in daemon.errors()


def test_what_the_file_alone_has_is_not_removed_by_the_api(
    start: Start, configure: Configure, file: Path
) -> None:
    file.write_text("05" * 20)
    daemon = start(configure(FILE))
    assert daemon.call("DELETE", f"/blacklist/{'05' * 20}").row == (
        409,
        TEXT,
        f"The torrent {'05' * 20} is blacklisted by the file of core.blacklist_path alone: "
        "take its line out, and send SIGHUP to the tracker",
    )


def test_a_torrent_is_refused_until_it_is_in_neither(start: Start, configure: Configure, file: Path) -> None:
    file.write_text("05" * 20)
    daemon = start(configure(FILE))
    info_hash = b"\5" * 20
    refuse(daemon, info_hash, reason="why")
    assert listed(daemon)[info_hash.hex()]["sources"] == ["database", "file"]
    assert daemon.call("DELETE", f"/blacklist/{info_hash.hex()}").row == OK
    assert listed(daemon)[info_hash.hex()] == {"reason": None, "valid_until": None, "sources": ["file"]}
    refuse(daemon, info_hash, reason="why")
    reload(daemon, file, "", r"Blacklist: 0 torrents of blacklist\.txt$")
    assert daemon.announce(info_hash).failure == f"Tracker error: {refusal(info_hash, 'why')}"
    assert daemon.call("DELETE", f"/blacklist/{info_hash.hex()}").row == OK
    assert not is_refused(daemon, info_hash)


# --- what is there can be seen


@pytest.mark.clause("7.3.15")
def test_the_whitelist_is_shown_in_pages(start: Start, configure: Configure) -> None:
    daemon = start(configure(listed=True))
    hashes = sorted(f"{number:02x}" * 20 for number in (9, 3, 200))
    for info_hash in reversed(hashes):
        daemon.call("POST", f"/whitelist/{info_hash}")
    objects = [f'{{"info_hash":"{info_hash}"}}' for info_hash in hashes]
    assert daemon.call("GET", "/whitelist").row == (200, "application/json", f"[{','.join(objects)}]")
    assert daemon.call("GET", "/whitelist?offset=1&limit=1").text == f"[{objects[1]}]"
    assert daemon.call("GET", "/whitelist?offset=9").text == "[]"


@pytest.mark.clause("7.3.15")
def test_keys_are_shown_as_they_were_handed_out(start: Start, configure: Configure) -> None:
    daemon = start(configure(private=True))
    bodies = [{"key": "b" * 32, "seconds_valid": None}, {"key": "A" * 32, "seconds_valid": 3600}]
    added = [json.loads(daemon.api("keys", method="POST", body=body)[1]) for body in bodies]
    shown = json.loads(daemon.call("GET", "/keys").text)
    assert [entry["key"] for entry in shown] == ["A" * 32, "b" * 32]
    assert shown[1] == added[0]
    assert shown[0]["valid_until"] == added[1]["valid_until"]
    assert shown[0]["expiry_time"] == added[1]["expiry_time"].partition(".")[0].removesuffix(" UTC") + " UTC"
    assert json.loads(daemon.call("GET", "/keys?offset=1&limit=1").text) == shown[1:]
    assert daemon.call("GET", "/keys", token=None).status == 500
