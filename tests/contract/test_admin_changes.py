"""However administrators' changes cross each other, memory and database hold the same afterwards."""

import secrets
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.doors import TOKEN, announce_target, unharmed
from tests.servers import Store

pytestmark = pytest.mark.slow

CLIENTS = 8
RIVALS = 4  # few enough that none is refused because of the others before it
OK = 200, b'{"status":"ok"}'
IN_TURN = b"The database has not answered earlier changes yet"
"""A change may be refused because many are before it; then it must not have been made."""


class Tracker:
    """A private and listed tracker, with what it holds in memory and in its database."""

    def __init__(self, daemon: Any, store: Store) -> None:
        self.daemon = daemon
        self._store = store
        self._listed = secrets.token_bytes(20)
        self._key = new_key()
        assert self.add_key(self._key)[0] == 200
        assert self.list_torrent(self._listed) == OK

    @property
    def server(self) -> bytes:
        """As error texts call it."""
        return {"sqlite3": b"Sqlite3", "mysql": b"MySQL", "postgresql": b"PostgreSQL"}[self._store.driver]

    def add_key(self, key: str) -> tuple[int, bytes]:
        return self._call("keys", method="POST", body={"key": key, "seconds_valid": None})

    def delete_key(self, key: str) -> tuple[int, bytes]:
        return self._call(f"key/{key}", method="DELETE")

    def list_torrent(self, info_hash: bytes) -> tuple[int, bytes]:
        return self._call(f"whitelist/{info_hash.hex()}", method="POST")

    def unlist_torrent(self, info_hash: bytes) -> tuple[int, bytes]:
        return self._call(f"whitelist/{info_hash.hex()}", method="DELETE")

    def reload(self, collection: str) -> tuple[int, bytes]:
        return self._call(f"{collection}/reload")

    def _call(self, path: str, **others: Any) -> tuple[int, bytes]:
        status, body = self.daemon.api(path, **others)
        return status, body

    def admitted_keys(self, keys: Iterable[str]) -> set[str]:
        """Those with which a client may announce."""
        return {key for key in keys if self._admits(self._listed, key)}

    def listed_torrents(self, info_hashes: Iterable[bytes]) -> set[bytes]:
        """Those that may be announced."""
        return {info_hash for info_hash in info_hashes if self._admits(info_hash, self._key)}

    def _admits(self, info_hash: bytes, key: str) -> bool:
        status, body = self.daemon.get("http", announce_target(info_hash, 6881, key=key))
        assert status == 200
        return b"failure reason" not in body

    def stored(self, statement: str) -> set[str]:
        return {text for (text,) in self._store.execute(statement)}

    def check(self, *, keys: Iterable[str] = (), info_hashes: Iterable[bytes] = ()) -> None:
        """That memory holds, of these, what the database holds, and that a reload changes nothing."""
        known_keys, known_hashes = set(keys), set(info_hashes)
        stored_keys = known_keys & self.stored('SELECT "key" FROM "keys"')
        rows = self.stored("SELECT info_hash FROM whitelist")
        stored_hashes = {info_hash for info_hash in known_hashes if info_hash.hex() in rows}
        for _ in range(2):
            assert self.admitted_keys(known_keys) == stored_keys
            assert self.listed_torrents(known_hashes) == stored_hashes
            assert (self.reload("keys"), self.reload("whitelist")) == (OK, OK)


@pytest.fixture
def tracker(
    start: Callable[..., Any], configure_stored: Callable[..., str], store: Store
) -> Iterator[Tracker]:
    """Over each kind of database in its turn."""
    daemon = start(configure_stored(private=True, listed=True))
    with unharmed(daemon):
        yield Tracker(daemon, store)


def new_key() -> str:
    return secrets.token_hex(16)


def at_once(*calls: Callable[[], tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The answers to calls that are made as nearly at the same time as can be, each over its connection."""
    barrier = threading.Barrier(len(calls))

    def make(call: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes]:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as callers:
        return list(callers.map(make, calls))


def check_answered(answer: tuple[int, bytes]) -> bool:
    """Whether the change was made; if not, it was refused in the one way that there is."""
    if answer[0] == 200:
        return True
    assert answer[0] == 500
    assert IN_TURN in answer[1]
    return False


def test_of_the_same_key_added_many_times_at_once_one_is_added(tracker: Tracker) -> None:
    keys = [new_key() for _ in range(6)]
    for key in keys:
        answers = Counter(at_once(*[lambda key=key: tracker.add_key(key)] * RIVALS))  # type: ignore[misc]
        refusal = (
            500,
            b'Unhandled rejection: Err { reason: "failed to generate key: '
            b'The %b query was malformed: UNIQUE constraint failed: keys.key" }' % tracker.server,
        )
        added = {"key": key, "valid_until": None, "expiry_time": None}
        body = str(added).replace("'", '"').replace("None", "null").replace(" ", "").encode()
        assert answers == {(200, body): 1, refusal: RIVALS - 1}
    tracker.check(keys=keys)
    assert tracker.admitted_keys(keys) == set(keys)


def test_of_the_same_key_deleted_many_times_at_once_one_is_deleted(tracker: Tracker) -> None:
    keys = [new_key() for _ in range(4)]
    for key in keys:
        tracker.add_key(key)
        answers = Counter(at_once(*[lambda key=key: tracker.delete_key(key)] * RIVALS))  # type: ignore[misc]
        assert answers.pop(OK) == 1
        ((status, body),) = answers
        assert (status, b"Failed to remove record from %b database" % tracker.server in body) == (500, True)
    tracker.check(keys=keys)
    assert tracker.admitted_keys(keys) == set()


def test_the_same_torrent_may_be_listed_and_unlisted_by_many_at_once(tracker: Tracker) -> None:
    info_hashes = [secrets.token_bytes(20) for _ in range(4)]

    def change(number: int) -> list[tuple[int, bytes]]:
        first, second = tracker.list_torrent, tracker.unlist_torrent
        if number % 2:
            first, second = second, first
        return [act(info_hash) for info_hash in info_hashes for act in (first, second)]

    with ThreadPoolExecutor(CLIENTS) as administrators:
        for answers in administrators.map(change, range(CLIENTS)):
            for answer in answers:
                check_answered(answer)
    tracker.check(info_hashes=info_hashes)


def test_reloads_between_changes_lose_and_revive_nothing(tracker: Tracker) -> None:
    info_hashes = {number: [secrets.token_bytes(20) for _ in range(8)] for number in range(CLIENTS)}
    keys = {number: [new_key() for _ in range(8)] for number in range(CLIENTS)}
    kept_hashes: set[bytes] = set()
    kept_keys: set[str] = set()
    done = threading.Event()

    def change(number: int) -> None:
        """Add all of its own, and delete every second again."""
        for place, (info_hash, key) in enumerate(zip(info_hashes[number], keys[number], strict=True)):
            if check_answered(tracker.list_torrent(info_hash)) and not (
                place % 2 and check_answered(tracker.unlist_torrent(info_hash))
            ):
                kept_hashes.add(info_hash)
            if check_answered(tracker.add_key(key)) and not (
                place % 2 and check_answered(tracker.delete_key(key))
            ):
                kept_keys.add(key)

    def reload(collection: str) -> None:
        while not done.is_set():
            check_answered(tracker.reload(collection))

    with ThreadPoolExecutor(CLIENTS + 2) as administrators:
        reloads = [administrators.submit(reload, collection) for collection in ("keys", "whitelist")]
        try:
            list(administrators.map(change, range(CLIENTS)))
        finally:
            done.set()
        for each in reloads:
            each.result()
    all_keys = [key for some in keys.values() for key in some]
    all_hashes = [info_hash for some in info_hashes.values() for info_hash in some]
    assert tracker.admitted_keys(all_keys) == kept_keys
    assert tracker.listed_torrents(all_hashes) == kept_hashes
    tracker.check(keys=all_keys, info_hashes=all_hashes)


def make_in_the_end(change: Callable[[], tuple[int, bytes]]) -> None:
    """Try until there are not too many before it; each try waits for nearly a second."""
    assert any(check_answered(change()) for _ in range(20))


def leave_within(address: tuple[str, int], method: str, path: str, body: bytes = b"") -> None:
    """Send a call and reset the connection at once."""
    head = (
        f"{method} /api/v1/{path}?{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(address, 10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(head.encode() + body)


def test_a_change_whose_caller_leaves_is_made_in_both_or_in_neither(tracker: Tracker) -> None:
    address = tracker.daemon.address("api")
    info_hashes = [secrets.token_bytes(20) for _ in range(30)]
    keys = [new_key() for _ in range(30)]

    def change(number: int) -> None:
        info_hash, key = info_hashes[number], keys[number]
        leave_within(address, "POST", f"whitelist/{info_hash.hex()}")
        leave_within(address, "POST", "keys", b'{"key":"%b","seconds_valid":null}' % key.encode())
        if number % 3 == 0:
            leave_within(address, "DELETE", f"whitelist/{info_hash.hex()}")
            leave_within(address, "DELETE", f"key/{key}")

    with ThreadPoolExecutor(CLIENTS) as administrators:
        list(administrators.map(change, range(30)))
    # Changes are made one after the other: when these are made, those have ended.
    make_in_the_end(lambda: tracker.list_torrent(secrets.token_bytes(20)))
    make_in_the_end(lambda: tracker.add_key(new_key()))
    tracker.check(keys=keys, info_hashes=info_hashes)
