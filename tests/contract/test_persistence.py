"""What outlives a restart, on each kind of database."""

import json
import signal
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from tests.servers import Store, fill_as_torrust_did
from torrust_py.core.types import InfoHash
from torrust_py.udp.packets import (
    AnnounceResponse,
    ConnectResponse,
    ScrapeRequest,
    ScrapeResponse,
    encode_connect_request,
    encode_scrape_request,
    parse_response,
)

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]

TORRUST_KEYS = [
    "kTFMgr79BNa9q8ajPFCPqCCEY5axh5rr",
    "D8HW9Ymj6NhSbZMRqjzWcMwit9I8TlH9",
    "Xc1L4PbQJSFGlrgSRZl8wxSFAuMa21z5",
    "ywmhoUbktBDkPVVRugPlt0Tnb33dsqR8",
]
"""The keys that it kept; the second is permanent, the others ended in November 2026."""
TORRUST_COMPLETED = {
    "01" * 20: 0,
    "02" * 20: 0,
    "05" * 20: 1,
    "9c38422213e30bff212b30c360d26f9a02136422": 1,
}
TORRUST_LISTED = b"\x01" * 20

HASH = b"\x05" * 20
KEEP_COMPLETED = "[core.tracker_policy]\npersistent_torrent_completed_stat = true"


def announce(
    port: int, *, event: str = "started", left: int = 1, key: str = "", info_hash: bytes = HASH
) -> str:
    return (
        f"/announce{key}?info_hash={quote_from_bytes(info_hash)}&peer_id=-qB00000000000000001&port={port}"
        f"&left={left}&event={event}&compact=1"
    )


def finish(daemon: Any, port: int) -> None:
    """A peer that starts and completes."""
    daemon.get("http", announce(port))
    daemon.get("http", announce(port, event="completed", left=0))


def completed(daemon: Any) -> int:
    return int(json.loads(daemon.api(f"torrent/{HASH.hex()}")[1])["completed"])


@pytest.fixture
def configure(configure_stored: Configure) -> Configure:
    """As ever, with the database of `store`."""
    return configure_stored


@pytest.fixture
def start(start: Start, configure: Configure) -> Start:
    def one(config: str | None = None) -> Any:
        return start(configure() if config is None else config)

    return one


@pytest.mark.clause("5.6.1")
def test_keys_outlive_a_restart(start: Start, configure: Configure) -> None:
    config = configure(private=True)
    daemon = start(config)
    status, body = daemon.api("keys", method="POST", body={"key": None, "seconds_valid": 3600})
    assert status == 200
    key = json.loads(body)["key"]
    assert b"failure reason" not in daemon.get("http", announce(1, key=f"/{key}"))[1]
    assert daemon.stop() == 0
    daemon = start(config)
    assert b"failure reason" not in daemon.get("http", announce(1, key=f"/{key}"))[1]
    assert b"Authentication error" in daemon.get("http", announce(1))[1]


@pytest.mark.clause("5.6.2")
def test_the_whitelist_outlives_a_restart(start: Start, configure: Configure) -> None:
    config = configure(listed=True)
    daemon = start(config)
    assert b"is not whitelisted" in daemon.get("http", announce(1))[1]
    assert daemon.api(f"whitelist/{HASH.hex()}", method="POST") == (200, b'{"status":"ok"}')
    assert daemon.stop() == 0
    daemon = start(config)
    assert b"failure reason" not in daemon.get("http", announce(1))[1]


@pytest.mark.clause("5.6.14")
def test_an_admin_change_outlives_a_kill(start: Start, configure: Configure) -> None:
    config = configure(listed=True)
    daemon = start(config)
    assert daemon.api(f"whitelist/{HASH.hex()}", method="POST")[0] == 200
    daemon.process.send_signal(signal.SIGKILL)
    assert daemon.wait() == -signal.SIGKILL
    daemon = start(config)
    assert b"failure reason" not in daemon.get("http", announce(1))[1]


@pytest.mark.clause("11.2.1")
@pytest.mark.clause("2.2.14")
@pytest.mark.clause("5.6.3")
def test_completed_counters_outlive_a_clean_stop(start: Start, configure: Configure) -> None:
    config = configure(core=KEEP_COMPLETED)
    daemon = start(config)
    finish(daemon, 1)
    finish(daemon, 2)
    assert completed(daemon) == 2
    assert daemon.stop(signal.SIGTERM) == 0
    daemon = start(config)
    assert completed(daemon) == 2
    finish(daemon, 3)
    assert daemon.stop() == 0
    assert completed(start(config)) == 3


@pytest.mark.clause("2.2.14")
@pytest.mark.clause("5.6.4")
def test_without_the_option_completed_counters_are_not_kept(start: Start, configure: Configure) -> None:
    config = configure()
    daemon = start(config)
    finish(daemon, 1)
    assert daemon.stop() == 0
    assert start(config).api(f"torrent/{HASH.hex()}") == (200, b'"torrent not known"')


@pytest.mark.clause("1.5.2")
@pytest.mark.clause("4.2.4")
def test_connection_ids_outlive_a_restart(start: Start) -> None:
    daemon = start()
    with daemon.udp() as client:
        client.send(encode_connect_request(b"abcd"))
        response = parse_response(client.recv(100))
    assert isinstance(response, ConnectResponse)
    daemon.stop()
    with start().udp() as client:
        client.send(encode_scrape_request(ScrapeRequest(response.connection_id, b"abcd", [InfoHash(HASH)])))
        assert isinstance(parse_response(client.recv(100)), ScrapeResponse)


@pytest.mark.clause("4.2.4")
def test_trackers_that_share_a_database_accept_each_other_s_connection_ids(start: Start) -> None:
    with start().conversation() as one, start().conversation() as other:
        assert isinstance(other.scrape(HASH, connection_id=one.connection_id), ScrapeResponse)


def test_without_a_secret_that_can_be_kept_the_start_warns_and_goes_on(start: Start, store: Store) -> None:
    assert start().stop() == 0
    store.execute("UPDATE secrets SET value = 'nonsense'")
    daemon = start()
    daemon.wait_for_line("WARN .*The secret of the UDP connection ids is not kept; ")
    with daemon.conversation() as client:
        assert isinstance(client.announce(HASH, 1), AnnounceResponse)
    assert store.execute("SELECT value FROM secrets") == [("nonsense",)]


# --- the database, as others write and read it


def wait_until_kept(store: Store, completed: int) -> None:
    """Wait until the torrent's counter has come to the database."""
    until = time.monotonic() + 20
    statement = "SELECT completed FROM torrents WHERE info_hash = :info_hash"
    while (rows := store.execute(statement, info_hash=HASH.hex())) != [(completed,)]:
        assert time.monotonic() < until, rows
        time.sleep(0.02)


def is_admitted(daemon: Any, key: str) -> bool:
    body: bytes = daemon.get("http", announce(1, key=f"/{key}", info_hash=TORRUST_LISTED))[1]
    return b"failure reason" not in body


@pytest.mark.clause("5.6.13")
@pytest.mark.parametrize(
    "end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: str(number.name)
)
def test_what_torrust_kept_is_kept_on(
    start: Start, configure: Configure, store: Store, end: signal.Signals
) -> None:
    """Of a database that the real Torrust wrote: its keys, whitelist and completed counters."""
    fill_as_torrust_did(store)
    # Without clean-up, which soon removes torrents that have neither peers nor a count.
    core = "inactive_peer_cleanup_interval = 0\n[core.private_mode]\ncheck_keys_expiration = false\n"
    config = configure(core=core + KEEP_COMPLETED, private=True, listed=True)
    for _ in range(2):
        daemon = start(config)
        assert [is_admitted(daemon, key) for key in TORRUST_KEYS] == [True] * 4
        assert not is_admitted(daemon, "x" * 32)
        refused = daemon.get("http", announce(1, key=f"/{TORRUST_KEYS[0]}", info_hash=b"\2" * 20))[1]
        assert b"is not whitelisted" in refused
        torrents = {one["info_hash"]: one["completed"] for one in json.loads(daemon.api("torrents")[1])}
        assert torrents == TORRUST_COMPLETED
        daemon.stop(end)
    assert store.execute("SELECT info_hash, completed FROM torrents ORDER BY id") == [
        *TORRUST_COMPLETED.items()
    ]


@pytest.mark.clause("5.4.4", "5.4.5", "5.4.7")
def test_keys_that_torrust_kept_expire(start: Start, configure: Configure, store: Store) -> None:
    fill_as_torrust_did(store)
    soon, late = int(time.time()) - 1, int(time.time()) + 3600
    rows = [{"key": "a" * 32, "until": soon}, {"key": "b" * 32, "until": late}]
    store.execute('INSERT INTO "keys" ("key", valid_until) VALUES (:key, :until)', rows)
    daemon = start(configure(private=True))
    assert [is_admitted(daemon, key) for key in ("a" * 32, "b" * 32, TORRUST_KEYS[1])] == [False, True, True]
    assert b"Key has expired" in daemon.get("http", announce(1, key="/" + "a" * 32))[1]
    assert daemon.stop() == 0
    assert store.execute('SELECT count(*) FROM "keys"') == [(6,)]


@pytest.mark.clause("5.4.6", "12.5.7")
def test_where_expiration_is_not_checked_an_expired_key_admits(
    start: Start, configure: Configure, store: Store
) -> None:
    fill_as_torrust_did(store)
    store.execute('INSERT INTO "keys" ("key", valid_until) VALUES (:key, 1)', key="a" * 32)
    daemon = start(configure(private=True, core="[core.private_mode]\ncheck_keys_expiration = false"))
    assert is_admitted(daemon, "a" * 32)


@pytest.mark.clause("5.2.12", "5.6.3", "12.5.11")
def test_completed_counters_outlive_a_kill(start: Start, configure: Configure, store: Store) -> None:
    config = configure(core=KEEP_COMPLETED)
    daemon = start(config)
    finish(daemon, 1)
    wait_until_kept(store, 1)
    daemon.process.send_signal(signal.SIGKILL)
    assert daemon.wait() == -signal.SIGKILL
    daemon = start(config)
    assert completed(daemon) == 1
    finish(daemon, 2)
    wait_until_kept(store, 2)


@pytest.mark.clause("5.2.13")
def test_counters_that_could_not_be_saved_are_tried_again(
    start: Start, configure: Configure, store: Store
) -> None:
    daemon = start(configure(core=KEEP_COMPLETED))
    store.execute("ALTER TABLE torrents RENAME TO hidden")
    finish(daemon, 1)
    daemon.wait_for_line("WARN .*The completed counters of 1 torrents are not saved yet, next try in ")
    store.execute("ALTER TABLE hidden RENAME TO torrents")
    wait_until_kept(store, 1)


@pytest.mark.clause("5.2.13")
def test_counters_that_are_lost_at_the_stop_are_an_error_of_the_log(
    start: Start, configure: Configure, store: Store
) -> None:
    daemon = start(configure(core=KEEP_COMPLETED))
    store.execute("DROP TABLE torrents")
    finish(daemon, 1)
    assert daemon.stop() == 0
    daemon.wait_for_line("ERROR .*The completed counters of 1 torrents could not be saved: ")


@pytest.mark.clause("5.6.5", "5.6.7")
def test_torrust_finds_its_tables_and_its_spelling(start: Start, configure: Configure, store: Store) -> None:
    daemon = start(configure(core=KEEP_COMPLETED))
    upper = "ABCDEF" * 6 + "0123"
    assert daemon.api(f"whitelist/{upper}", method="POST")[0] == 200
    for body in ({"key": "a" * 32, "seconds_valid": None}, {"key": "b" * 32, "seconds_valid": 3600}):
        assert daemon.api("keys", method="POST", body=body)[0] == 200
    until = time.time() + 3600
    finish(daemon, 1)
    wait_until_kept(store, 1)
    assert store.execute("SELECT info_hash FROM whitelist") == [(upper.lower(),)]
    assert store.execute("SELECT info_hash, completed FROM torrents") == [(HASH.hex(), 1)]
    [permanent, limited] = store.execute('SELECT "key", valid_until FROM "keys" ORDER BY id')
    assert (permanent, limited[0]) == (("a" * 32, None), "b" * 32)
    assert abs(limited[1] - until) < 60


@pytest.mark.clause("5.6.12")
def test_malformed_rows_do_not_stop_the_start(start: Start, configure: Configure, store: Store) -> None:
    fill_as_torrust_did(store)
    store.execute("""INSERT INTO "keys" ("key") VALUES ('short')""")
    store.execute("INSERT INTO whitelist (info_hash) VALUES ('no hash')")
    daemon = start(configure(private=True, listed=True))
    assert is_admitted(daemon, TORRUST_KEYS[1])
    for table in ("keys", "whitelist"):
        daemon.wait_for_line(rf"WARN .*Left out 1 malformed rows of table {table}; ")


@pytest.mark.clause("5.4.9", "5.4.10")
def test_a_key_that_the_database_does_not_take_admits_nobody(
    start: Start, configure: Configure, store: Store
) -> None:
    daemon = start(configure(private=True))
    body = {"key": "a" * 32, "seconds_valid": None}
    store.execute('ALTER TABLE "keys" RENAME TO hidden')
    assert daemon.api("keys", method="POST", body=body)[0] == 500
    assert not is_admitted(daemon, "a" * 32)
    store.execute('ALTER TABLE hidden RENAME TO "keys"')
    assert daemon.api("keys", method="POST", body=body)[0] == 200
    store.execute('DELETE FROM "keys"')
    assert daemon.api("key/" + "a" * 32, method="DELETE")[0] == 500
    assert is_admitted(daemon, "a" * 32)


@pytest.mark.clause("5.4.11", "5.5.3")
def test_a_reload_replaces_memory_by_the_database(start: Start, configure: Configure, store: Store) -> None:
    fill_as_torrust_did(store)
    daemon = start(configure(private=True, listed=True))
    store.execute('DELETE FROM "keys"')
    store.execute("DELETE FROM whitelist")
    store.execute('INSERT INTO "keys" ("key") VALUES (:key)', key="a" * 32)
    store.execute("INSERT INTO whitelist (info_hash) VALUES (:info_hash)", info_hash=HASH.hex())
    assert is_admitted(daemon, TORRUST_KEYS[1])
    assert daemon.api("keys/reload")[0] == daemon.api("whitelist/reload")[0] == 200
    assert b"Failed to read key" in daemon.get("http", announce(1, key=f"/{TORRUST_KEYS[1]}"))[1]
    answers = {
        info_hash: daemon.get("http", announce(1, key="/" + "a" * 32, info_hash=info_hash))[1]
        for info_hash in (HASH, TORRUST_LISTED)
    }
    assert b"failure reason" not in answers[HASH]
    assert b"is not whitelisted" in answers[TORRUST_LISTED]


@pytest.mark.clause("5.4.12", "5.5.4")
def test_keys_and_whitelist_can_be_changed_where_they_mean_nothing(
    start: Start, configure: Configure, store: Store
) -> None:
    daemon = start()
    assert daemon.api("keys", method="POST", body={"key": "a" * 32, "seconds_valid": None})[0] == 200
    assert daemon.api(f"whitelist/{TORRUST_LISTED.hex()}", method="POST")[0] == 200
    assert daemon.api("keys/reload")[0] == daemon.api("whitelist/reload")[0] == 200
    for target in (announce(1), announce(1, key="/" + "b" * 32)):
        assert b"failure reason" not in daemon.get("http", target)[1]
    assert store.execute('SELECT "key" FROM "keys"') == [("a" * 32,)]
    assert store.execute("SELECT info_hash FROM whitelist") == [(TORRUST_LISTED.hex(),)]
    assert daemon.api("key/" + "a" * 32, method="DELETE")[0] == 200
    assert daemon.api(f"whitelist/{TORRUST_LISTED.hex()}", method="DELETE")[0] == 200
    assert store.execute('SELECT count(*) FROM "keys"') == store.execute("SELECT count(*) FROM whitelist")


@pytest.mark.clause("5.5.1", "5.5.2")
def test_the_whitelist_is_changed_once_however_often_it_is_told(
    start: Start, configure: Configure, store: Store
) -> None:
    daemon = start(configure(listed=True))
    path = f"whitelist/{HASH.hex()}"
    for method, rows in (("POST", [(HASH.hex(),)]), ("DELETE", [])):
        for _ in range(2):
            assert daemon.api(path, method=method) == (200, b'{"status":"ok"}')
            assert store.execute("SELECT info_hash FROM whitelist") == rows
            refused = b"failure reason" in daemon.get("http", announce(1))[1]
            assert refused is (method == "DELETE")
