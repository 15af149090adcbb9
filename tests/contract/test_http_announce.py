"""Announces over HTTP to a public tracker."""

from typing import Any
from urllib.parse import quote_from_bytes

import bencodepy
import pytest

pytestmark = pytest.mark.slow

PEER_ID = "-qB00000000000000001"
OTHER_ID = "-qB00000000000000002"
HERE = bytes([127, 0, 0, 1])
BAD = "Cannot parse query params for announce request: "
NO_QUERY = BAD + "missing query params for announce request"


def peer(ip: bytes, peer_id: str, port: int) -> dict[bytes, object]:
    return {b"ip": ip, b"peer id": peer_id.encode(), b"port": port}


def packed(port: int, host: bytes = HERE) -> bytes:
    return host + port.to_bytes(2)


def ports(answer: Any) -> set[int]:
    """Of the IPv4 peers in a compact answer."""
    peers = answer.decoded[b"peers"]
    assert len(peers) % 6 == 0
    found = [int.from_bytes(peers[at + 4 : at + 6]) for at in range(0, len(peers), 6)]
    assert len(set(found)) == len(found)
    return set(found)


# --- the answer


@pytest.mark.clause("3.9.1", "3.9.5", "3.9.6", "12.1.20")
def test_the_first_peer_is_alone(public: Any, info_hash: bytes) -> None:
    answer = public.announce(info_hash)
    assert answer.body == (b"d8:completei1e10:incompletei0e8:intervali120e12:min intervali120e5:peerslee")


@pytest.mark.clause("12.1.6", "3.4.6")
def test_an_announce_of_the_mandatory_fields_is_a_seeders(public: Any, info_hash: bytes) -> None:
    target = f"/announce?info_hash={quote_from_bytes(info_hash)}&peer_id={PEER_ID}&port=17548"
    assert public.request("http", target).decoded[b"complete"] == 1


@pytest.mark.clause("3.9.1", "12.1.21")
def test_the_next_peer_sees_the_one_before(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, event="completed", left=5)
    answer = public.announce(info_hash, peer_id=OTHER_ID, port=8080, compact=0)
    assert answer.decoded == {
        b"complete": 1,
        b"incomplete": 1,
        b"interval": 120,
        b"min interval": 120,
        b"peers": [peer(b"127.0.0.1", PEER_ID, 17548)],
    }


@pytest.mark.clause("12.1.21")
def test_two_seeders_are_two_complete(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    answer = public.announce(info_hash, peer_id=OTHER_ID, port=8080)
    assert (answer.decoded[b"complete"], answer.decoded[b"incomplete"]) == (2, 0)
    assert answer.decoded[b"peers"] == [peer(b"127.0.0.1", PEER_ID, 17548)]


@pytest.mark.clause("3.8.9", "3.9.2", "12.1.22")
def test_peers_of_both_families_stand_in_one_list(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, ipv6=True)
    public.announce(info_hash, peer_id=OTHER_ID)
    answer = public.announce(info_hash, peer_id="-qB00000000000000003", port=1)
    assert answer.decoded[b"peers"] == [peer(b"127.0.0.1", OTHER_ID, 17548), peer(b"::1", PEER_ID, 17548)]


@pytest.mark.clause("3.9.3", "12.1.24")
def test_a_compact_answer_has_packed_peers(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    answer = public.announce(info_hash, peer_id=OTHER_ID, port=8080, compact=1)
    assert answer.body == (
        b"d8:completei2e10:incompletei0e8:intervali120e12:min intervali120e"
        b"5:peers6:\x7f\x00\x00\x01D\x8c6:peers60:e"
    )


@pytest.mark.clause("3.8.9", "3.9.3")
@pytest.mark.parametrize("ipv6", [False, True])
def test_a_compact_answer_has_peers_of_both_families(ipv6: bool, public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, port=1)
    public.announce(info_hash, port=2, ipv6=True)
    decoded = public.announce(info_hash, port=3, compact=1, ipv6=ipv6).decoded
    assert decoded[b"peers"] == packed(1)
    assert decoded[b"peers6"] == packed(2, bytes(15) + b"\x01")


@pytest.mark.clause("3.9.3")
@pytest.mark.parametrize("ipv6", [False, True])
def test_both_lists_of_a_compact_answer_are_there_without_peers(
    ipv6: bool, public: Any, info_hash: bytes
) -> None:
    answer = public.announce(info_hash, compact=1, ipv6=ipv6)
    assert answer.body.endswith(b"5:peers0:6:peers60:e")


@pytest.mark.clause("3.4.11", "3.9.1", "12.1.25")
@pytest.mark.parametrize("compact", [None, "", 0])
def test_an_answer_is_compact_only_on_request(compact: object, public: Any, info_hash: bytes) -> None:
    answer = public.announce(info_hash, compact=compact)
    assert answer.decoded[b"peers"] == []
    assert b"peers6" not in answer.decoded


@pytest.mark.clause("3.9.7")
def test_the_intervals_are_those_of_the_policy(start: Any, configure: Any, info_hash: bytes) -> None:
    policy = "[core.announce_policy]\ninterval = 111\ninterval_min = 99"
    daemon = start(configure(policy))
    for compact in (0, 1):
        decoded = daemon.announce(info_hash, compact=compact).decoded
        assert (decoded[b"interval"], decoded[b"min interval"]) == (111, 99)


@pytest.mark.clause("3.9.4")
def test_the_counts_are_those_after_the_announce(public: Any, info_hash: bytes) -> None:
    def counts(**params: object) -> tuple[int, int]:
        decoded = public.announce(info_hash, **params).decoded
        return decoded[b"complete"], decoded[b"incomplete"]

    assert counts(left=1) == (0, 1)
    assert counts(left=0) == (1, 0)
    assert counts(left=1, port=2) == (1, 1)
    assert counts(event="stopped") == (0, 1)


# --- which peers


@pytest.mark.clause("3.8.2")
def test_who_asks_is_not_among_the_peers(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    assert public.announce(info_hash, peer_id=OTHER_ID).decoded[b"peers"] == []


@pytest.mark.clause("12.1.23")
def test_a_peer_whose_peer_addr_changes_is_the_same_peer(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, peer_addr="126.0.0.1")
    decoded = public.announce(info_hash, peer_addr="126.0.0.2").decoded
    assert (decoded[b"complete"], decoded[b"peers"]) == (1, [])


@pytest.mark.clause("3.8.1", "3.8.3", "12.1.23")
def test_a_peer_is_known_by_its_address_and_port(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    decoded = public.announce(info_hash, source="127.0.0.2").decoded
    assert (decoded[b"complete"], decoded[b"peers"]) == (2, [peer(b"127.0.0.1", PEER_ID, 17548)])


@pytest.fixture
def crowded(public: Any, info_hash: bytes) -> bytes:
    """A torrent with 100 leechers."""
    for port in range(1, 101):
        public.announce(info_hash, port=port, left=1)
    return info_hash


@pytest.mark.clause("11.2.3")
@pytest.mark.clause("3.8.4", "3.8.5", "3.4.12")
@pytest.mark.parametrize(("num_want", "count"), [(None, 74), (0, 0), (1, 1), (50, 50), (74, 74), (1000, 74)])
def test_num_want_is_honoured_up_to_the_policy(
    num_want: int | None, count: int, public: Any, crowded: bytes
) -> None:
    answer = public.announce(crowded, port=200, left=1, compact=1, numwant=num_want)
    assert len(ports(answer)) == count


@pytest.mark.clause("3.8.4", "3.8.5")
def test_the_policy_may_allow_more_peers(start: Any, configure: Any, info_hash: bytes) -> None:
    daemon = start(configure("[core.announce_policy]\nmax_peers_per_announce = 90"))
    for port in range(1, 101):
        daemon.announce(info_hash, port=port, left=1)
    counts = [
        len(ports(daemon.announce(info_hash, port=200, left=1, compact=1, numwant=num_want)))
        for num_want in (None, 80, 1000)
    ]
    assert counts == [74, 80, 90]


@pytest.mark.clause("3.8.6")
def test_the_peers_are_chosen_at_random(public: Any, crowded: bytes) -> None:
    answers = [ports(public.announce(crowded, port=200, left=1, compact=1, numwant=20)) for _ in range(10)]
    assert len({frozenset(answer) for answer in answers}) > 1
    assert all(answer <= set(range(1, 101)) for answer in answers)


@pytest.mark.clause("3.8.7")
def test_a_seeder_gets_leechers_before_seeders(public: Any, info_hash: bytes) -> None:
    for port in (1, 2, 3):
        public.announce(info_hash, port=port, left=0)
    for port in (11, 12, 13):
        public.announce(info_hash, port=port, left=1)
    assert ports(public.announce(info_hash, port=4, compact=1, numwant=3)) == {11, 12, 13}
    assert ports(public.announce(info_hash, port=4, compact=1)) == {1, 2, 3, 11, 12, 13}


@pytest.mark.clause("3.8.8")
def test_who_stops_gets_no_peers(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, port=1)
    public.announce(info_hash, port=2)
    decoded = public.announce(info_hash, port=1, event="stopped", compact=1).decoded
    assert (decoded[b"complete"], decoded[b"peers"]) == (1, b"")


# --- what the parameters may be


@pytest.mark.clause("3.4.4")
@pytest.mark.parametrize("port", ["1", "65535", "+80", "000080"])
def test_ports(port: str, public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, port=port)
    assert ports(public.announce(info_hash, port=2, compact=1)) == {int(port)}


@pytest.mark.clause("3.4.4")
def test_a_peer_with_port_0_is_answered_and_not_kept(public: Any, info_hash: bytes) -> None:
    assert public.announce(info_hash, port=0).decoded[b"peers"] == []
    assert public.announce(info_hash, port=2).decoded[b"peers"] == []


@pytest.mark.clause("3.4.5", "3.4.6", "3.4.13")
def test_what_the_api_shows_of_a_peer_is_what_it_announced(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, uploaded=2**63 - 1, downloaded="+007", left="0", event="started")
    (stored,) = public.torrent(info_hash)["peers"]
    assert (stored["uploaded"], stored["downloaded"], stored["left"]) == (2**63 - 1, 7, 0)
    assert stored["event"] == "Started"


@pytest.mark.clause("3.4.5", "3.4.6")
def test_what_an_announce_does_not_say_is_0(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    (stored,) = public.torrent(info_hash)["peers"]
    assert (stored["uploaded"], stored["downloaded"], stored["left"]) == (0, 0, 0)
    assert stored["event"] == "None"


@pytest.mark.clause("3.4.7", "12.1.16")
@pytest.mark.parametrize("left", ["-1", "", str(2**63), str(2**64)])
def test_who_does_not_know_what_is_left_is_a_leecher(left: str, public: Any, info_hash: bytes) -> None:
    decoded = public.announce(info_hash, left=left).decoded
    assert (decoded[b"complete"], decoded[b"incomplete"]) == (0, 1)
    (stored,) = public.torrent(info_hash)["peers"]
    assert stored["left"] == -1


@pytest.mark.clause("3.4.8", "3.4.9", "3.4.10")
@pytest.mark.parametrize(
    ("event", "stored_event"),
    [("started", "Started"), ("completed", "Completed"), ("", "None"), ("paused", "None"), (None, "None")],
)
def test_events(event: str | None, stored_event: str, public: Any, info_hash: bytes) -> None:
    public.announce(info_hash, event=event)
    (stored,) = public.torrent(info_hash)["peers"]
    assert stored["event"] == stored_event


@pytest.mark.clause("3.4.8")
def test_a_stopped_peer_is_gone(public: Any, info_hash: bytes) -> None:
    public.announce(info_hash)
    public.announce(info_hash, event="stopped")
    assert public.scrape(info_hash).scraped == {info_hash: (0, 0, 0)}


@pytest.mark.clause("3.3.10", "3.6.7", "12.1.11")
@pytest.mark.parametrize(
    "extra",
    [
        {"peer_addr": "INVALID-IP-ADDRESS"},
        {"ip": "2.2.2.2", "ipv6": "x", "key": "", "trackerid": "1"},
        {"no_peer_id": "x", "supportcrypto": "1", "unheard-of": "%zz"},
    ],
)
def test_other_parameters_are_ignored(extra: dict[str, str], public: Any, info_hash: bytes) -> None:
    query = "&".join(f"{name}={value}" for name, value in extra.items())
    target = f"/announce?{query}&info_hash={quote_from_bytes(info_hash)}&peer_id={PEER_ID}&port=17548"
    assert public.request("http", target).decoded[b"complete"] == 1
    decoded = public.announce(info_hash, port=2).decoded
    assert decoded[b"peers"] == [peer(b"127.0.0.1", PEER_ID, 17548)]


@pytest.mark.clause("3.6.7", "12.1.32")
@pytest.mark.parametrize("name", ["ip", "peer_addr"])
def test_a_peer_has_its_sockets_address_and_not_the_one_it_asks_for(
    name: str, public: Any, info_hash: bytes
) -> None:
    public.announce(info_hash, **{name: "2.2.2.2"})
    (stored,) = public.torrent(info_hash)["peers"]
    assert stored["peer_addr"] == "127.0.0.1:17548"


@pytest.mark.clause("3.3.8", "3.3.9")
def test_ids_are_percent_decoded_and_plus_is_no_space(public: Any, info_hash: bytes) -> None:
    own = info_hash[:8]  # so that tests do not meet
    raw = "%zz%+%25" + quote_from_bytes(own) + "%00%fF%26%3Dxy"
    target = f"/announce?info_hash={raw}&peer_id=%41a%00{'+' * 15}%z&port=1"
    assert public.request("http", target).decoded[b"complete"] == 1
    (stored,) = public.torrent(b"%zz%+%" + own + b"\x00\xff&=xy")["peers"]
    assert stored["peer_id"]["id"] == "0x" + (b"Aa\0" + b"+" * 15 + b"%z").hex()


@pytest.mark.clause("3.3.3")
def test_question_marks_before_the_query_are_skipped(public: Any, info_hash: bytes) -> None:
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id={PEER_ID}&port=1"
    assert public.request("http", f"/announce???{query}").decoded[b"complete"] == 1


@pytest.mark.clause("3.3.6")
def test_an_ampersand_too_many_is_skipped(public: Any, info_hash: bytes) -> None:
    query = f"&info_hash={quote_from_bytes(info_hash)}&&peer_id={PEER_ID}&port=1&"
    assert public.request("http", f"/announce?{query}").decoded[b"complete"] == 1


@pytest.mark.clause("3.3.11")
def test_of_a_parameter_that_comes_twice_the_first_counts(public: Any, info_hash: bytes) -> None:
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id={PEER_ID}&port=1&port=2&left=0&left=x"
    public.request("http", f"/announce?{query}")
    (stored,) = public.torrent(info_hash)["peers"]
    assert stored["peer_addr"] == "127.0.0.1:1"


# --- what is wrong


@pytest.mark.clause("3.3.1", "3.4.16", "12.1.7")
def test_without_a_query(public: Any) -> None:
    assert public.request("http", "/announce").failure == NO_QUERY


@pytest.mark.clause("3.3.5")
@pytest.mark.parametrize("query", ["", "&", "?"])
def test_an_empty_query_lacks_the_info_hash(query: str, public: Any) -> None:
    assert public.request("http", f"/announce?{query}").failure == BAD + "missing param info_hash"


@pytest.mark.clause("3.3.4", "3.3.7", "3.4.22", "12.1.8")
@pytest.mark.parametrize("piece", ["a=b=c", "x", "compact", "a==", "%3D"])
def test_a_query_is_pieces_with_one_equals_sign_each(piece: str, public: Any, info_hash: bytes) -> None:
    text = f"Cannot parse query params: invalid param {piece}"
    assert public.request("http", f"/announce?{piece}").failure == text
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id={PEER_ID}&{piece}&port=1"
    assert public.request("http", f"/announce?{query}").failure == text


@pytest.mark.clause("3.4.1", "3.4.17", "12.1.9")
@pytest.mark.parametrize("name", ["info_hash", "peer_id", "port"])
def test_a_mandatory_field_that_is_missing(name: str, public: Any, info_hash: bytes) -> None:
    assert public.announce(info_hash, **{name: None}).failure == f"{BAD}missing param {name}"


@pytest.mark.clause("3.4.2", "3.4.20", "3.4.23", "12.1.10", "12.1.37")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0", "not enough bytes for infohash: got 1 bytes, expected 20"),
        ("-1", "not enough bytes for infohash: got 2 bytes, expected 20"),
        ("1.1", "not enough bytes for infohash: got 3 bytes, expected 20"),
        ("INVALID%20INFOHASH", "not enough bytes for infohash: got 16 bytes, expected 20"),
        ("9c38422213e30bff212b30c360d26f9a0213642", "too many bytes for infohash: got 39 bytes, expected 20"),
        (
            "9c38422213e30bff212b30c360d26f9a0213642&",
            "too many bytes for infohash: got 39 bytes, expected 20",
        ),
        ("", "not enough bytes for infohash: got 0 bytes, expected 20"),
        ("%zz", "not enough bytes for infohash: got 3 bytes, expected 20"),
        ("%01" * 21, "too many bytes for infohash: got 21 bytes, expected 20"),
    ],
)
def test_an_info_hash_that_is_invalid(value: str, reason: str, public: Any) -> None:
    target = f"/announce?info_hash={value}&peer_id={PEER_ID}&port=1"
    text = f"{BAD}invalid param value {value.rstrip('&')} for info_hash in {reason}"
    assert public.request("http", target).failure == text


@pytest.mark.clause("3.4.3", "3.4.21", "3.4.23", "12.1.14")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0", "not enough bytes for peer id: got 1 bytes, expected 20"),
        ("-1", "not enough bytes for peer id: got 2 bytes, expected 20"),
        ("1.1", "not enough bytes for peer id: got 3 bytes, expected 20"),
        ("a", "not enough bytes for peer id: got 1 bytes, expected 20"),
        ("-qB0000000000000000", "not enough bytes for peer id: got 19 bytes, expected 20"),
        ("-qB000000000000000000", "too many bytes for peer id: got 21 bytes, expected 20"),
        ("%41", "not enough bytes for peer id: got 1 bytes, expected 20"),
    ],
)
def test_a_peer_id_that_is_invalid(value: str, reason: str, public: Any, info_hash: bytes) -> None:
    text = f"{BAD}invalid param value {value} for peer_id in {reason}"
    assert public.announce(info_hash, peer_id=value).failure == text


NO_NUMBERS = ["-1", "1.1", "a"]
NO_INTEGERS = [*NO_NUMBERS, "", "+", "%31", "1_0", "++1"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param(
            "port", [*NO_INTEGERS, "65536"], marks=pytest.mark.clause("12.1.15", "3.4.4", "3.4.14", "3.4.18")
        ),
        pytest.param(
            "downloaded", [*NO_INTEGERS, str(2**64)], marks=pytest.mark.clause("12.1.12", "3.4.5", "3.4.14")
        ),
        pytest.param(
            "uploaded", [*NO_INTEGERS, str(2**64)], marks=pytest.mark.clause("12.1.13", "3.4.5", "3.4.14")
        ),
        pytest.param(
            "left",
            ["1.1", "a", "+", "%31", "1_0", "++1", "--1"],
            marks=pytest.mark.clause("12.1.16", "3.4.14", "3.4.18"),
        ),
        pytest.param(
            "event",
            ["0", *NO_NUMBERS, "Started", "Stopped", "Completed", "%73tarted"],
            marks=pytest.mark.clause("12.1.17", "3.4.8", "3.4.18", "3.3.8", "3.4.23"),
        ),
        pytest.param(
            "compact", [*NO_NUMBERS, "2", "01"], marks=pytest.mark.clause("12.1.18", "3.4.11", "3.4.18")
        ),
        pytest.param(
            "numwant",
            [*NO_INTEGERS, str(2**32)],
            marks=pytest.mark.clause("12.1.19", "3.4.12", "3.4.14", "3.4.18"),
        ),
    ],
)
def test_a_value_that_is_invalid(name: str, values: list[str], public: Any, info_hash: bytes) -> None:
    for value in values:
        text = f"{BAD}invalid param value {value} for {name}"
        assert public.announce(info_hash, **{name: value}).failure == text


@pytest.mark.clause("3.4.5", "3.4.19")
@pytest.mark.parametrize("name", ["downloaded", "uploaded"])
@pytest.mark.parametrize("value", [str(2**63), str(2**64 - 1)])
def test_a_number_of_bytes_beyond_63_bits(name: str, value: str, public: Any, info_hash: bytes) -> None:
    text = f"{BAD}param value overflow {value} for {name}"
    assert public.announce(info_hash, **{name: value}).failure == text


@pytest.mark.clause("3.4.15")
def test_the_first_problem_is_told_in_the_order_of_the_parameters(public: Any, info_hash: bytes) -> None:
    names = ["info_hash", "peer_id", "port", "downloaded", "uploaded", "left", "event", "compact", "numwant"]
    good = {"info_hash": quote_from_bytes(info_hash), "peer_id": PEER_ID, "port": "1"}
    wrong = dict.fromkeys(reversed(names), "x")
    told = []
    for name in names:
        query = "&".join(f"{name}={value}" for name, value in wrong.items())
        failure = public.request("http", f"/announce?{query}").failure
        told.append(failure.removeprefix(f"{BAD}invalid param value x for ").split(" in ")[0])
        wrong[name] = good.get(name, "0" if name != "event" else "started")
    assert told == names


@pytest.mark.clause("3.2.2", "3.5.12", "3.4.24")
def test_a_failure_has_status_200_and_a_reason_and_nothing_else(public: Any) -> None:
    answer = public.request("http", "/announce")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.body == b"d14:failure reason%d:%be" % (len(NO_QUERY), NO_QUERY.encode())
    assert bencodepy.decode(answer.body) == {b"failure reason": NO_QUERY.encode()}


# --- keys in paths


@pytest.mark.clause("3.1.7")
def test_a_key_means_nothing_to_a_public_tracker(public: Any, info_hash: bytes) -> None:
    assert public.announce(info_hash, key="YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ").decoded[b"complete"] == 1


@pytest.mark.clause("3.1.8", "3.5.4")
@pytest.mark.parametrize("key", ["short", "YZSl4lMZupRuOpSRC3krIKR5BPB14nr-", "%FF" * 32, "a" * 33])
def test_a_key_that_is_none_is_refused_by_a_public_tracker(key: str, public: Any, info_hash: bytes) -> None:
    text = "Authentication error: Invalid format for authentication key param."
    assert public.announce(info_hash, key=key).failure == text
    assert public.scrape(info_hash, key=key).failure == text


# --- the counters


@pytest.mark.clause("12.1.26", "12.1.29")
def test_an_announce_over_ipv4_is_counted(public: Any, info_hash: bytes) -> None:
    before = public.stats()
    public.announce(info_hash)
    assert moved(public, before) == {"tcp4_connections_handled": 1, "tcp4_announces_handled": 1}


@pytest.mark.clause("12.1.27", "12.1.30")
def test_an_announce_over_ipv6_is_counted(public: Any, info_hash: bytes) -> None:
    before = public.stats()
    public.announce(info_hash, ipv6=True)
    assert moved(public, before) == {"tcp6_connections_handled": 1, "tcp6_announces_handled": 1}


@pytest.mark.clause("12.1.28", "12.1.31")
def test_an_ipv6_peer_addr_over_ipv4_counts_as_ipv4(public: Any, info_hash: bytes) -> None:
    before = public.stats()
    public.announce(info_hash, peer_addr="2001:db8::1")
    assert moved(public, before) == {"tcp4_connections_handled": 1, "tcp4_announces_handled": 1}


def moved(daemon: Any, before: dict[str, int]) -> dict[str, int]:
    """The request counters that are not as they were."""
    after = daemon.stats()
    return {
        name: after[name] - count
        for name, count in before.items()
        if name.endswith("_handled") and after[name] != count
    }
