"""The whitelist as the REST API changes it, seen by those who announce."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

TEXT = "text/plain; charset=utf-8"
OK = (200, "application/json", '{"status":"ok"}')
HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"


def is_served(daemon: Any, info_hash: bytes) -> bool:
    return b"failure reason" not in daemon.announce(info_hash).body


def stored(daemon: Any) -> set[str]:
    with closing(sqlite3.connect(daemon.database)) as database:
        return {info_hash for (info_hash,) in database.execute("SELECT info_hash FROM whitelist")}


@pytest.mark.clause("7.3.5", "7.4.1", "7.5.10", "12.3.22", "B.1.2")
def test_a_torrent_on_the_whitelist_is_served(listed: Any, info_hash: bytes) -> None:
    assert not is_served(listed, info_hash)
    assert listed.call("POST", f"/whitelist/{info_hash.hex()}").row == OK
    assert is_served(listed, info_hash)
    assert info_hash.hex() in stored(listed)


@pytest.mark.clause("7.5.10", "12.3.23")
def test_a_torrent_may_be_added_twice(listed: Any, info_hash: bytes) -> None:
    for _ in range(2):
        assert listed.call("POST", f"/whitelist/{info_hash.hex()}").row == OK
    assert is_served(listed, info_hash)


@pytest.mark.clause("7.4.5")
def test_an_info_hash_may_have_upper_case(listed: Any, info_hash: bytes) -> None:
    assert listed.call("POST", f"/whitelist/{info_hash.hex().upper()}").row == OK
    assert info_hash.hex() in stored(listed)


@pytest.mark.clause("7.3.6", "7.5.13", "12.3.27")
def test_a_torrent_off_the_whitelist_is_not_served(listed: Any, info_hash: bytes) -> None:
    listed.call("POST", f"/whitelist/{info_hash.hex()}")
    assert is_served(listed, info_hash)
    assert listed.call("DELETE", f"/whitelist/{info_hash.hex()}").row == OK
    assert not is_served(listed, info_hash)
    assert info_hash.hex() not in stored(listed)


@pytest.mark.clause("7.5.13", "12.3.28")
def test_a_torrent_that_is_not_on_the_whitelist_may_be_removed(listed: Any, info_hash: bytes) -> None:
    assert listed.call("DELETE", f"/whitelist/{info_hash.hex()}").row == OK


@pytest.mark.clause("7.3.7", "7.5.16", "12.3.32")
def test_a_reload_makes_the_whitelist_what_the_database_holds(listed: Any, info_hash: bytes) -> None:
    gone = bytes(reversed(info_hash))
    listed.call("POST", f"/whitelist/{gone.hex()}")
    with closing(sqlite3.connect(listed.database)) as database, database:
        database.execute("INSERT INTO whitelist (info_hash) VALUES (?)", (info_hash.hex(),))
        database.execute("DELETE FROM whitelist WHERE info_hash = ?", (gone.hex(),))
    assert (is_served(listed, info_hash), is_served(listed, gone)) == (False, True)
    assert listed.call("GET", "/whitelist/reload").row == OK
    assert (is_served(listed, info_hash), is_served(listed, gone)) == (True, False)


BAD = ["0", "-1", "1.1", "INVALID%20INFOHASH", HASH[:-1], f"{HASH[:-1]}&"]


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("POST", marks=pytest.mark.clause("7.4.4", "7.5.11", "12.3.26", "B.1.3")),
        pytest.param("DELETE", marks=pytest.mark.clause("7.4.4", "7.5.14", "12.3.29", "B.1.3")),
    ],
)
@pytest.mark.parametrize("value", BAD)
def test_a_bad_info_hash_is_quoted(listed: Any, method: str, value: str) -> None:
    shown = value.replace("%20", " ")
    text = f'Invalid URL: invalid infohash param: string "{shown}", expected a 40 character long string'
    assert listed.call(method, f"/whitelist/{value}").row == (400, TEXT, text)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("POST", marks=pytest.mark.clause("7.3.14", "12.3.26")),
        pytest.param("DELETE", marks=pytest.mark.clause("7.3.14", "12.3.29")),
    ],
)
@pytest.mark.parametrize("value", ["", "%20"])
def test_without_an_info_hash_there_is_nothing(listed: Any, method: str, value: str) -> None:
    assert listed.call(method, f"/whitelist/{value}").row == (404, None, "")


# --- without its table


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory,
    configure: Callable[..., str],
    share: Callable[[Path, str], AbstractContextManager[Any]],
) -> Iterator[Any]:
    """A tracker with one torrent on the whitelist, whose table has been dropped since."""
    with share(tmp_path_factory.mktemp("broken"), configure(listed=True)) as daemon:
        daemon.call("POST", f"/whitelist/{HASH}")
        with closing(sqlite3.connect(daemon.database)) as database, database:
            database.execute("DROP TABLE whitelist")
        yield daemon


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        pytest.param(
            "POST", f"/whitelist/{'1' * 40}", "whitelist torrent",
            marks=pytest.mark.clause("7.4.2", "7.5.12", "12.3.25"),
        ),
        pytest.param(
            "DELETE", f"/whitelist/{HASH}", "remove torrent from whitelist",
            marks=pytest.mark.clause("7.4.2", "7.5.15", "12.3.30"),
        ),
        pytest.param(
            "GET", "/whitelist/reload", "reload whitelist",
            marks=pytest.mark.clause("7.4.2", "7.5.17", "12.3.33"),
        ),
    ],
)  # fmt: skip
def test_a_database_that_fails_is_told_and_changes_nothing(
    broken: Any, method: str, path: str, operation: str
) -> None:
    reason = f"failed to {operation}: The Sqlite3 query was malformed: no such table: whitelist"
    answer = broken.call(method, path)
    assert answer.row == (500, TEXT, f'Unhandled rejection: Err {{ reason: "{reason}" }}')
    assert is_served(broken, bytes.fromhex(HASH))
    assert not is_served(broken, b"\x11" * 20)
