"""Announces and scrapes over HTTP, to a tracker that serves what is on its whitelist."""

from typing import Any

import pytest

pytestmark = pytest.mark.slow


def allow(daemon: Any, info_hash: bytes, *, method: str = "POST") -> None:
    assert daemon.api(f"whitelist/{info_hash.hex()}", method=method)[0] == 200


@pytest.mark.clause("3.5.10", "12.1.44")
def test_a_torrent_that_is_not_listed_is_refused(listed: Any, info_hash: bytes) -> None:
    text = f"Tracker error: The torrent: {info_hash.hex()}, is not whitelisted"
    assert listed.announce(info_hash).failure == text
    assert listed.torrent(info_hash) == "torrent not known"


@pytest.mark.clause("12.1.45")
def test_a_torrent_that_is_listed_is_served(listed: Any, info_hash: bytes) -> None:
    allow(listed, info_hash)
    assert listed.announce(info_hash).decoded[b"complete"] == 1


@pytest.mark.clause("3.10.11", "12.1.46")
def test_a_scrape_of_a_torrent_that_is_no_longer_listed_is_all_zeros(listed: Any, info_hash: bytes) -> None:
    allow(listed, info_hash)
    listed.announce(info_hash)
    allow(listed, info_hash, method="DELETE")
    assert listed.torrent(info_hash)["seeders"] == 1
    assert listed.scrape(info_hash).scraped == {info_hash: (0, 0, 0)}


@pytest.mark.clause("12.1.47")
def test_a_scrape_of_a_torrent_that_is_listed(listed: Any, info_hash: bytes) -> None:
    allow(listed, info_hash)
    listed.announce(info_hash, left=1)
    other = bytes(reversed(info_hash))
    assert listed.scrape(info_hash, other).scraped == {info_hash: (0, 0, 1), other: (0, 0, 0)}
