"""Announces and scrapes over HTTP, to a tracker that serves those who have a key."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

UNKNOWN_KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
BAD_KEY = "Authentication error: Invalid format for authentication key param."
NO_KEY = "Authentication error: Missing authentication key param for private tracker."
EXPIRED = "Authentication error: Key has expired"

NewKey = Callable[[int | None], str]


@pytest.fixture
def new_key(private: Any) -> NewKey:
    """Makes a random key that is valid for so many seconds, or for ever."""

    def make(seconds: int | None) -> str:
        status, body = private.api("keys", method="POST", body={"key": None, "seconds_valid": seconds})
        assert status == 200
        key: str = json.loads(body)["key"]
        return key

    return make


@pytest.mark.clause("3.1.1", "12.1.48")
@pytest.mark.parametrize("seconds", [60, None])
def test_a_good_key_admits(seconds: int | None, private: Any, info_hash: bytes, new_key: NewKey) -> None:
    assert private.announce(info_hash, key=new_key(seconds)).decoded[b"complete"] == 1


@pytest.mark.clause("3.1.1")
def test_a_key_in_a_path_may_be_percent_encoded(private: Any, info_hash: bytes, new_key: NewKey) -> None:
    key = new_key(60)
    encoded = f"%{ord(key[0]):02x}{key[1:]}"
    assert private.announce(info_hash, key=encoded).decoded[b"complete"] == 1


@pytest.mark.clause("3.5.6", "12.1.49")
def test_without_a_key(private: Any, info_hash: bytes) -> None:
    assert private.announce(info_hash).failure == NO_KEY
    assert private.torrent(info_hash) == "torrent not known"


@pytest.mark.clause("3.5.4")
@pytest.mark.parametrize(
    "key",
    [
        pytest.param("INVALID_KEY", marks=pytest.mark.clause("12.1.50")),
        "YZSl4lMZupRuOpSRC3krIKR5BPB14nr-",
        "a" * 31,
        "a" * 33,
        "%C3%A9" * 16,
        "%FF" * 32,
    ],
)
def test_with_what_is_no_key(key: str, private: Any, info_hash: bytes) -> None:
    assert private.announce(info_hash, key=key).failure == BAD_KEY


@pytest.mark.clause("3.5.7", "12.1.51")
def test_with_an_unknown_key(private: Any, info_hash: bytes) -> None:
    text = f"Authentication error: Failed to read key: {UNKNOWN_KEY}"
    assert private.announce(info_hash, key=UNKNOWN_KEY).failure == text
    assert private.torrent(info_hash) == "torrent not known"


@pytest.mark.clause("3.5.8")
def test_with_an_expired_key(private: Any, info_hash: bytes, new_key: NewKey) -> None:
    assert private.announce(info_hash, key=new_key(0)).failure == EXPIRED
    assert private.torrent(info_hash) == "torrent not known"


@pytest.mark.clause("3.10.7", "12.1.52")
@pytest.mark.parametrize("key", ["INVALID_KEY", "a" * 33])
def test_a_scrape_with_what_is_no_key_fails(key: str, private: Any, info_hash: bytes) -> None:
    assert private.scrape(info_hash, key=key).failure == BAD_KEY


@pytest.mark.clause("12.1.54")
def test_a_scrape_with_a_good_key_has_the_numbers(private: Any, info_hash: bytes, new_key: NewKey) -> None:
    key = new_key(60)
    private.announce(info_hash, key=key, left=1)
    assert private.scrape(info_hash, key=key).scraped == {info_hash: (0, 0, 1)}


@pytest.mark.clause("3.10.12")
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("none", marks=pytest.mark.clause("12.1.53")),
        pytest.param("unknown", marks=pytest.mark.clause("12.1.55")),
        "expired",
    ],
)
def test_a_scrape_without_a_good_key_is_all_zeros(
    kind: str, private: Any, info_hash: bytes, new_key: NewKey
) -> None:
    private.announce(info_hash, key=new_key(60))
    assert private.torrent(info_hash)["seeders"] == 1
    key = {"none": None, "unknown": UNKNOWN_KEY, "expired": new_key(0)}[kind]
    before = private.stats()["tcp4_scrapes_handled"]
    assert private.scrape(info_hash, key=key).scraped == {info_hash: (0, 0, 0)}
    assert private.stats()["tcp4_scrapes_handled"] == before + 1


# --- the order of the checks


@pytest.mark.clause("3.5.1", "3.10.6")
def test_a_bad_query_hides_a_bad_key(private: Any, info_hash: bytes) -> None:
    assert "invalid param value x for port" in private.announce(info_hash, key="x", port="x").failure
    assert "missing query params" in private.request("http", "/announce/x").failure
    assert "missing query params" in private.request("http", "/scrape/x").failure


@pytest.mark.clause("3.5.2", "3.5.3", "3.10.6")
def test_a_bad_key_hides_what_is_not_listed_and_that_hides_an_unknown_client(
    start: Any, configure: Any, info_hash: bytes
) -> None:
    daemon = start(configure("[core.net]\non_reverse_proxy = true", private=True, listed=True))
    no_address = "Error resolving peer IP: missing or invalid the right most X-Forwarded-For IP "
    assert daemon.announce(info_hash).failure == NO_KEY
    assert daemon.announce(info_hash, key="x").failure == BAD_KEY
    assert daemon.announce(info_hash, key=UNKNOWN_KEY).failure.startswith("Authentication error: Failed")
    daemon.api("keys", method="POST", body={"key": UNKNOWN_KEY, "seconds_valid": 60})
    assert daemon.announce(info_hash, key=UNKNOWN_KEY).failure.startswith("Tracker error: The torrent: ")
    assert daemon.api(f"whitelist/{info_hash.hex()}", method="POST")[0] == 200
    assert daemon.announce(info_hash, key=UNKNOWN_KEY).failure.startswith(no_address)
    assert daemon.scrape(info_hash, key="x").failure == BAD_KEY
    assert daemon.scrape(info_hash).failure.startswith(no_address)
