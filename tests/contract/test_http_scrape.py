"""Scrapes over HTTP of a public tracker."""

from typing import Any
from urllib.parse import quote_from_bytes

import pytest

pytestmark = pytest.mark.slow

BAD = "Cannot parse query params for scrape request: "
HASHES = [bytes([number]) * 20 for number in range(1, 101)]


@pytest.mark.clause("3.10.8", "12.1.38")
def test_a_torrent_with_a_leecher(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, left=1)
    answer = public.scrape(info_hash)
    counts = b"d8:completei0e10:downloadedi0e10:incompletei1ee"
    assert answer.body == b"d5:filesd20:" + info_hash + counts + b"ee"


@pytest.mark.clause("12.1.39")
def test_a_torrent_with_a_seeder(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, left=0)
    assert public.scrape(info_hash).scraped == {info_hash: (1, 0, 0)}


@pytest.mark.clause("3.10.8")
def test_a_torrent_that_was_completed(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, left=1, event="started")
    public.announce(info_hash, left=0, event="completed")
    assert public.scrape(info_hash).scraped == {info_hash: (1, 1, 0)}


@pytest.mark.clause("3.10.10", "12.1.40")
def test_a_torrent_that_is_not_known_is_all_zeros(public: Any, info_hash: bytes) -> None:
    assert public.scrape(info_hash).scraped == {info_hash: (0, 0, 0)}


@pytest.mark.clause("3.3.12", "3.10.1", "3.10.10", "12.1.41")
def test_two_info_hashes_are_two_files(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    other = bytes(reversed(info_hash))
    assert public.scrape(info_hash, other).scraped == {info_hash: (1, 0, 0), other: (0, 0, 0)}


@pytest.mark.clause("3.10.8")
def test_each_info_hash_is_told_once_and_in_order(public: Any) -> None:
    first, second, third = HASHES[:3]
    assert list(public.scrape(third, first, third, second, first).scraped) == [first, second, third]


@pytest.mark.clause("3.10.9")
def test_a_hundred_info_hashes_in_one_scrape(public: Any) -> None:
    assert list(public.scrape(*HASHES).scraped) == HASHES


@pytest.mark.clause("3.10.9")
def test_more_info_hashes_than_a_head_has_room_for_are_refused(public: Any) -> None:
    assert public.scrape(*HASHES, *HASHES).status == 431


@pytest.mark.clause("3.10.1")
def test_other_parameters_are_not_looked_at(public: Any, info_hash: bytes) -> None:
    query = f"peer_id=x&port=x&info_hash={quote_from_bytes(info_hash)}&left=x"
    assert list(public.request("http", f"/scrape?{query}").scraped) == [info_hash]


@pytest.mark.clause("3.3.1", "3.10.2", "12.1.36")
def test_without_a_query(public: Any) -> None:
    text = BAD + "missing query params for scrape request"
    assert public.request("http", "/scrape").failure == text


@pytest.mark.clause("3.3.5", "3.10.3")
@pytest.mark.parametrize("query", ["", "left=1", "&"])
def test_without_an_info_hash(query: str, public: Any) -> None:
    assert public.request("http", f"/scrape?{query}").failure == BAD + "missing param info_hash"


@pytest.mark.clause("3.10.4")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("abc", "not enough bytes for infohash: got 3 bytes, expected 20"),
        ("", "not enough bytes for infohash: got 0 bytes, expected 20"),
        ("%01" * 21, "too many bytes for infohash: got 21 bytes, expected 20"),
    ],
)
def test_the_first_info_hash_that_is_invalid_is_told(
    value: str, reason: str, public: Any, info_hash: bytes
) -> None:
    good = f"info_hash={quote_from_bytes(info_hash)}"
    failure = public.request("http", f"/scrape?{good}&info_hash={value}&info_hash=x").failure
    assert failure == f"{BAD}invalid param value {value} for info_hash in {reason}"


@pytest.mark.clause("3.3.4", "3.10.5")
@pytest.mark.parametrize("piece", ["a=b=c", "x"])
def test_a_query_is_pieces_with_one_equals_sign_each(piece: str, public: Any) -> None:
    failure = public.request("http", f"/scrape?{piece}").failure
    assert failure == f"Cannot parse query params: invalid param {piece}"


@pytest.mark.clause("3.1.7")
def test_a_key_means_nothing_to_a_public_tracker(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    answer = public.scrape(info_hash, key="YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ")
    assert answer.scraped == {info_hash: (1, 0, 0)}


@pytest.mark.parametrize(
    ("ipv6", "family"),
    [
        pytest.param(False, "tcp4", marks=pytest.mark.clause("12.1.42")),
        pytest.param(True, "tcp6", marks=pytest.mark.clause("12.1.43")),
    ],
)
def test_a_scrape_is_counted(ipv6: bool, family: str, public: Any, info_hash: bytes) -> None:
    before = public.stats()
    public.scrape(info_hash, ipv6=ipv6)
    after = public.stats()
    moved = {name: after[name] - before[name] for name in before if after[name] != before[name]}
    assert moved == {f"{family}_connections_handled": 1, f"{family}_scrapes_handled": 1}
