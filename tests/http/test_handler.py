import logging
import re
from uuid import UUID

import bencodepy
import pytest

from tests.http.conftest import Answer, MakeRoom, Room, taken_apart
from tests.recordings import Exchange, recorded_exchanges
from torrust_py.core.database import BlacklistEntry
from torrust_py.core.statistics import Door, DoorCounts
from torrust_py.core.types import InfoHash, packed_address
from torrust_py.http.responses import BAD_REQUEST

HASH = "%01" * 20
INFO_HASH = InfoHash(b"\x01" * 20)
GOOD_KEY = "uTIzNYqbRcpNHGW87KGXvNS7rZELocAt"
EXPIRED_KEY = "loUrCRR8IvpYbz8Ss5sm2nknniverL6y"
UNKNOWN_KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
ANNOUNCE = f"/announce?info_hash={HASH}&peer_id=-qB00000000000000001&port=17548"
SCRAPE = f"/scrape?info_hash={HASH}"
NO_FORWARDED_ADDRESS = (
    "Error resolving peer IP: missing or invalid the right most X-Forwarded-For IP "
    "(mandatory on reverse proxy tracker configuration)"
)
BAD_KEY = "Authentication error: Invalid format for authentication key param."

ONE_ANNOUNCE = DoorCounts(0, 1, 0, 0, 0, 0)
ONE_SCRAPE = DoorCounts(0, 0, 1, 0, 0, 0)
ONE_REFUSED = DoorCounts(0, 0, 0, 1, 0, 0)
ONE_MALFORMED = DoorCounts(0, 0, 0, 0, 1, 0)
ONE_DROPPED = DoorCounts(0, 0, 0, 0, 0, 1)


def keyed(target: str, key: str) -> str:
    return target.replace("?", f"/{key}?")


def scraped(answer: Answer) -> tuple[int, int, int]:
    """Seeders, completed, leechers of the only info hash."""
    (counts,) = bencodepy.decode(answer.body)[b"files"].values()
    return counts[b"complete"], counts[b"downloaded"], counts[b"incomplete"]


# --- the real Torrust's output


# Peers are known by their endpoint, not by their peer id: it is a fourth peer here.
DIFFERS = "announce with a key in public mode"


def comparable(name: str) -> list[Exchange]:
    """What a handler alone answers as Torrust did."""
    return [
        exchange
        for exchange in recorded_exchanges(name)
        if exchange.method == "GET" and exchange.title != DIFFERS and not exchange.target.startswith("/api")
    ]


def without_locations(body: bytes) -> object:
    """A body without Torrust's source locations, and with its peers in no order."""
    if not body.startswith(b"d"):
        return body
    decoded = bencodepy.decode(body)
    reason = decoded.get(b"failure reason")
    if reason is not None:
        decoded[b"failure reason"] = re.sub(rb"(,| Error in| in)? (src|packages)/.*", b"", reason)
    peers = decoded.get(b"peers")
    if isinstance(peers, bytes):
        decoded[b"peers"] = sorted(peers[at : at + 6] for at in range(0, len(peers), 6))
    elif peers is not None:
        decoded[b"peers"] = sorted(peers, key=lambda peer: peer[b"port"])
    return decoded


@pytest.mark.clause("3.2.1", "3.2.2", "3.2.3", "3.2.10", "3.4.24", "3.9.1", "3.9.3", "3.10.8")
@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("http-public", {}),
        ("listed", {"listed": True}),
        ("private", {"private": True}),
        ("reverse-proxy", {"on_reverse_proxy": True}),
    ],
)
def test_answers_are_those_of_torrust(name: str, rules: dict[str, bool], make_room: MakeRoom) -> None:
    room = make_room(external_address=packed_address("203.0.113.5"), **rules)
    recorded = comparable(name)
    assert len(recorded) > 1
    for title, _, target, headers, status, fields, body in recorded:
        forwarded_for = [value for field, value in headers if field == "X-Forwarded-For"]
        peer = "::1" if "IPv6" in title else "127.0.0.1"
        answer = room.ask(target, peer=peer, forwarded_for=forwarded_for)
        assert answer.status == status, title
        assert without_locations(answer.body) == without_locations(body), title
        assert list(answer.fields) == [field for field in fields if field != "vary"], title
        assert answer.fields.get("content-type") == fields.get("content-type"), title
        assert answer.fields["content-length"] == str(len(answer.body)), title


# --- announces


def test_an_announce_is_handled(room: Room) -> None:
    answer = room.ask(ANNOUNCE + "&compact=1")
    assert answer.body == (
        b"d8:completei1e10:incompletei0e8:intervali120e12:min intervali120e5:peers0:6:peers60:e"
    )
    assert room.counts() == {Door.TCP4: ONE_ANNOUNCE}


def test_an_announce_over_ipv6_has_its_own_door(room: Room) -> None:
    room.ask(ANNOUNCE, peer="2001:db8::1")
    assert room.counts() == {Door.TCP6: ONE_ANNOUNCE}


@pytest.mark.clause("3.8.9", "3.9.2")
def test_peers_of_both_families_are_handed_out(room: Room) -> None:
    room.ask(ANNOUNCE + "&left=1", peer="192.0.2.7")
    room.ask(ANNOUNCE + "&left=1", peer="2001:db8::7")
    compact = bencodepy.decode(room.ask(ANNOUNCE + "&compact=1", peer="192.0.2.8").body)
    assert compact[b"peers"] == bytes([192, 0, 2, 7]) + (17548).to_bytes(2)
    assert compact[b"peers6"] == packed_address("2001:db8::7") + (17548).to_bytes(2)
    listed = bencodepy.decode(room.ask(ANNOUNCE, peer="192.0.2.8").body)[b"peers"]
    assert [peer[b"ip"] for peer in listed] == [b"192.0.2.7", b"2001:db8::7"]
    assert {peer[b"peer id"] for peer in listed} == {b"-qB00000000000000001"}


@pytest.mark.clause("3.8.4")
def test_num_want_is_honoured(make_room: MakeRoom) -> None:
    room = make_room(max_peers=5)
    for last in range(10):
        room.ask(ANNOUNCE, peer=f"192.0.2.{last}")
    handed_out = [
        len(bencodepy.decode(room.ask(f"{ANNOUNCE}&compact=1&left=1&numwant={want}").body)[b"peers"]) // 6
        for want in (0, 3, 50)
    ]
    assert handed_out == [0, 3, 5]


@pytest.mark.clause("3.4.7")
def test_a_peer_that_does_not_know_what_is_left_is_a_leecher(room: Room) -> None:
    room.ask(ANNOUNCE + "&left=-1")
    assert scraped(room.ask(SCRAPE)) == (0, 0, 1)


@pytest.mark.clause("3.4.4")
def test_a_peer_with_port_0_is_answered_and_not_kept(room: Room) -> None:
    assert room.ask(ANNOUNCE.replace("17548", "0")).status == 200
    assert scraped(room.ask(SCRAPE)) == (0, 0, 0)


def test_a_completed_download_is_counted(room: Room) -> None:
    room.ask(ANNOUNCE + "&left=1&event=started")
    room.ask(ANNOUNCE + "&left=0&event=completed")
    assert scraped(room.ask(SCRAPE)) == (1, 1, 0)


def test_a_stopped_peer_leaves(room: Room) -> None:
    room.ask(ANNOUNCE)
    room.ask(ANNOUNCE + "&event=stopped")
    assert scraped(room.ask(SCRAPE)) == (0, 0, 0)


@pytest.mark.clause("3.7.1", "3.7.2")
def test_a_peer_on_the_trackers_host_is_handed_out_with_its_external_address(make_room: MakeRoom) -> None:
    room = make_room(external_address=packed_address("2001:db8::5"))
    room.ask(ANNOUNCE, peer="127.0.0.1")
    assert room.counts() == {Door.TCP4: ONE_ANNOUNCE}
    peers = bencodepy.decode(room.ask(ANNOUNCE + "&compact=1&left=1").body)
    assert peers[b"peers6"] == packed_address("2001:db8::5") + (17548).to_bytes(2)


def test_a_malformed_announce(room: Room) -> None:
    answer = room.ask("/announce")
    assert answer.status == 200
    assert answer.fields["content-type"] == "text/plain; charset=utf-8"
    assert answer.reason == (
        "Cannot parse query params for announce request: missing query params for announce request"
    )
    assert room.counts() == {Door.TCP4: ONE_MALFORMED}


def test_a_failure_reason_is_text_whatever_the_query_holds(room: Room) -> None:
    assert room.ask("/announce?\\xff=\udcff".replace("\udcff", "é=")).reason.endswith("\\xff=é=")


# --- keys


@pytest.mark.clause("3.5.4", "3.5.6", "3.5.7", "3.5.8")
@pytest.mark.parametrize(
    ("target", "reason", "counted"),
    [
        (
            ANNOUNCE,
            "Authentication error: Missing authentication key param for private tracker.",
            ONE_REFUSED,
        ),
        (
            keyed(ANNOUNCE, UNKNOWN_KEY),
            f"Authentication error: Failed to read key: {UNKNOWN_KEY}",
            ONE_REFUSED,
        ),
        (keyed(ANNOUNCE, EXPIRED_KEY), "Authentication error: Key has expired", ONE_REFUSED),
        (keyed(ANNOUNCE, "INVALID_KEY"), BAD_KEY, ONE_MALFORMED),
    ],
)
def test_who_a_private_tracker_refuses(
    target: str, reason: str, counted: DoorCounts, make_room: MakeRoom
) -> None:
    room = make_room(private=True)
    answer = room.ask(target)
    assert (answer.status, answer.reason) == (200, reason)
    assert room.counts() == {Door.TCP4: counted}
    assert INFO_HASH not in room.swarms


def test_a_good_key_admits(make_room: MakeRoom) -> None:
    room = make_room(private=True)
    assert b"complete" in room.ask(keyed(ANNOUNCE, GOOD_KEY)).body
    assert room.counts() == {Door.TCP4: ONE_ANNOUNCE}


@pytest.mark.clause("3.1.1")
def test_a_key_may_be_percent_encoded(make_room: MakeRoom) -> None:
    room = make_room(private=True)
    assert b"complete" in room.ask(keyed(ANNOUNCE, "%75" + GOOD_KEY[1:])).body


@pytest.mark.clause("3.1.8")
@pytest.mark.parametrize("target", [ANNOUNCE, SCRAPE])
@pytest.mark.parametrize("key", ["x", "%FF" * 32, "%C3%A9" * 16, "%2F" * 32, "a" * 31 + "%", GOOD_KEY + "0"])
def test_a_bad_key_is_refused_by_a_public_tracker_too(target: str, key: str, room: Room) -> None:
    assert room.ask(keyed(target, key)).reason == BAD_KEY
    assert room.counts() == {Door.TCP4: ONE_MALFORMED}


@pytest.mark.clause("3.1.7")
@pytest.mark.parametrize("target", [ANNOUNCE, SCRAPE])
def test_a_well_formed_key_means_nothing_to_a_public_tracker(target: str, room: Room) -> None:
    assert room.ask(keyed(target, UNKNOWN_KEY)).fields["content-type"] == "application/octet-stream"


# --- the whitelist


@pytest.mark.parametrize(("listed", "announces"), [(False, 1), (True, 0)])
def test_who_is_refused_is_no_caller(listed: bool, announces: int, make_room: MakeRoom) -> None:
    room = make_room(listed=listed)
    room.ask(ANNOUNCE)
    assert room.callers.take()[0].announces == announces


@pytest.mark.clause("3.5.10")
def test_a_torrent_that_is_not_listed_is_refused(make_room: MakeRoom) -> None:
    room = make_room(listed=True)
    reason = f"Tracker error: The torrent: {'01' * 20}, is not whitelisted"
    assert room.ask(ANNOUNCE).reason == reason
    assert room.counts() == {Door.TCP4: ONE_REFUSED}


async def test_a_torrent_of_the_blacklist_is_refused_with_the_reason(make_room: MakeRoom) -> None:
    room = make_room(listed=True)
    await room.blacklist.add([BlacklistEntry(INFO_HASH, "é")])
    assert room.ask(ANNOUNCE).reason == f"Tracker error: The torrent: {'01' * 20}, is blacklisted: é"
    assert room.counts() == {Door.TCP4: ONE_REFUSED}


def test_a_torrent_that_is_listed_is_served(make_room: MakeRoom) -> None:
    room = make_room(listed=True)
    room.whitelist.add(INFO_HASH)
    assert b"complete" in room.ask(ANNOUNCE).body


# --- clients behind a proxy


@pytest.mark.clause("3.5.11", "3.6.5", "3.10.13")
@pytest.mark.parametrize("target", [ANNOUNCE, SCRAPE])
@pytest.mark.parametrize("forwarded_for", [[], ["INVALID IP"], ["192.0.2.1:80"]])
def test_without_a_forwarded_address_the_client_is_refused(
    target: str, forwarded_for: list[str], make_room: MakeRoom
) -> None:
    room = make_room(on_reverse_proxy=True)
    assert room.ask(target, peer="::1", forwarded_for=forwarded_for).reason == NO_FORWARDED_ADDRESS
    assert room.counts() == {Door.TCP6: ONE_REFUSED}


@pytest.mark.clause("3.6.2")
def test_the_client_is_who_the_proxy_says(make_room: MakeRoom) -> None:
    room = make_room(on_reverse_proxy=True)
    room.ask(ANNOUNCE, peer="127.0.0.1", forwarded_for=["192.0.2.9", "192.0.2.8, 2001:db8::9"])
    assert room.counts() == {Door.TCP6: ONE_ANNOUNCE}
    (peers,) = room.swarms.peers(INFO_HASH)
    assert [peer.peer.endpoint[:-2] for peer in peers] == [packed_address("2001:db8::9")]


def test_a_malformed_request_is_counted_at_its_clients_door(make_room: MakeRoom) -> None:
    room = make_room(on_reverse_proxy=True)
    room.ask("/announce", peer="127.0.0.1", forwarded_for=["2001:db8::9"])
    assert room.counts() == {Door.TCP6: ONE_MALFORMED}


@pytest.mark.clause("3.6.1")
def test_a_forwarded_address_means_nothing_without_a_proxy(room: Room) -> None:
    room.ask(ANNOUNCE, peer="192.0.2.1", forwarded_for=["2001:db8::9"])
    assert room.counts() == {Door.TCP4: ONE_ANNOUNCE}


@pytest.mark.clause("3.5.1", "3.5.2", "3.5.3")
def test_the_order_of_the_checks_of_an_announce(make_room: MakeRoom) -> None:
    room = make_room(private=True, listed=True, on_reverse_proxy=True)
    assert room.ask(keyed(ANNOUNCE, "x") + "&left=x").reason.endswith("invalid param value x for left")
    assert room.ask(keyed(ANNOUNCE, "x")).reason == BAD_KEY
    assert room.ask(keyed(ANNOUNCE, UNKNOWN_KEY)).reason.startswith("Authentication error: Failed to read")
    assert room.ask(keyed(ANNOUNCE, GOOD_KEY)).reason.startswith("Tracker error: The torrent: ")
    room.whitelist.add(INFO_HASH)
    assert room.ask(keyed(ANNOUNCE, GOOD_KEY)).reason == NO_FORWARDED_ADDRESS


@pytest.mark.clause("3.10.6")
def test_the_order_of_the_checks_of_a_scrape(make_room: MakeRoom) -> None:
    room = make_room(private=True, on_reverse_proxy=True)
    assert "missing query params" in room.ask("/scrape/x").reason
    assert room.ask(keyed(SCRAPE, "x")).reason == BAD_KEY
    assert room.ask(keyed(SCRAPE, UNKNOWN_KEY)).reason == NO_FORWARDED_ADDRESS


# --- scrapes


def test_a_scrape_is_handled(room: Room) -> None:
    assert scraped(room.ask(SCRAPE)) == (0, 0, 0)
    assert room.counts() == {Door.TCP4: ONE_SCRAPE}


@pytest.mark.clause("3.10.8")
def test_a_scrape_tells_each_info_hash_once_and_in_order(room: Room) -> None:
    answer = room.ask(f"/scrape?info_hash={'%02' * 20}&info_hash={HASH}&info_hash={'%02' * 20}")
    assert list(bencodepy.decode(answer.body)[b"files"]) == [b"\x01" * 20, b"\x02" * 20]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/scrape", "missing query params for scrape request"),
        ("/scrape?", "missing param info_hash"),
        (
            "/scrape?info_hash=abc",
            "invalid param value abc for info_hash "
            "in not enough bytes for infohash: got 3 bytes, expected 20",
        ),
    ],
)
def test_a_malformed_scrape(target: str, text: str, room: Room) -> None:
    assert room.ask(target).reason == f"Cannot parse query params for scrape request: {text}"
    assert room.counts() == {Door.TCP4: ONE_MALFORMED}


@pytest.mark.clause("3.10.11")
def test_a_scrape_of_a_torrent_that_is_not_listed_is_all_zeros(make_room: MakeRoom) -> None:
    room = make_room(listed=True)
    room.whitelist.add(INFO_HASH)
    room.ask(ANNOUNCE)
    assert scraped(room.ask(SCRAPE)) == (1, 0, 0)
    room.whitelist.discard(INFO_HASH)
    assert scraped(room.ask(SCRAPE)) == (0, 0, 0)


@pytest.mark.clause("3.10.12")
@pytest.mark.parametrize("target", [SCRAPE, keyed(SCRAPE, UNKNOWN_KEY), keyed(SCRAPE, EXPIRED_KEY)])
def test_a_scrape_of_a_private_tracker_without_a_good_key_is_all_zeros(
    target: str, make_room: MakeRoom
) -> None:
    room = make_room(private=True)
    room.ask(keyed(ANNOUNCE, GOOD_KEY), peer="2001:db8::1")
    assert scraped(room.ask(keyed(SCRAPE, GOOD_KEY), peer="2001:db8::1")) == (1, 0, 0)
    assert scraped(room.ask(target)) == (0, 0, 0)
    assert room.counts()[Door.TCP4] == ONE_SCRAPE


# --- paths and methods


def test_a_health_check_is_answered_and_not_counted(room: Room) -> None:
    answer = room.ask("/health_check")
    assert (answer.status, answer.fields["content-type"]) == (200, "application/json")
    assert answer.body == b'{"status":"Ok"}'
    assert room.counts() == {}


@pytest.mark.clause("3.1.6")
@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/unknown",
        "/announce/",
        "/scrape/",
        f"/announce/{GOOD_KEY}/",
        f"/announce/{GOOD_KEY}/x",
        f"//announce?info_hash={HASH}",
        "/Announce",
        "/health_check/",
        "/health_check/x",
        "announce",
        "*",
        "tracker.example:443",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_path_that_is_not_there(target: str, method: str, room: Room) -> None:
    answer = room.ask(target, method=method)
    assert (answer.status, answer.body) == (404, b"")
    assert list(answer.fields) == ["content-length", "x-request-id", "date"]
    assert room.counts() == {Door.TCP4: ONE_REFUSED}


@pytest.mark.clause("3.1.4")
@pytest.mark.parametrize("target", [ANNOUNCE, SCRAPE, keyed(ANNOUNCE, "x"), "/health_check"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_method_that_is_not_there(target: str, method: str, room: Room) -> None:
    answer = room.ask(target, method=method)
    assert (answer.status, answer.body) == (405, b"")
    assert list(answer.fields) == ["content-length", "x-request-id", "allow", "date"]
    assert answer.fields["allow"] == "GET,HEAD"
    assert room.counts() == {Door.TCP4: ONE_REFUSED}


@pytest.mark.clause("3.1.3")
@pytest.mark.parametrize("target", [ANNOUNCE, SCRAPE, "/health_check", "/announce"])
def test_head_does_what_get_does_and_drops_the_body(target: str, room: Room) -> None:
    answer = room.ask(target, method="HEAD")
    assert answer.body == b""
    assert int(answer.fields["content-length"]) == len(room.ask(target).body) > 0


def test_an_announce_by_head_counts_as_one(room: Room) -> None:
    room.ask(ANNOUNCE, method="HEAD")
    assert room.counts() == {Door.TCP4: ONE_ANNOUNCE}
    assert scraped(room.ask(SCRAPE)) == (1, 0, 0)


# --- fields


@pytest.mark.clause("3.2.6")
def test_a_request_id_is_made_where_there_is_none(room: Room) -> None:
    ids = [room.ask("/health_check").fields["x-request-id"] for _ in range(1000)]
    assert len(set(ids)) == len(ids)
    for text in ids:
        assert str(UUID(text)) == text
        assert UUID(text).version == 4


@pytest.mark.clause("3.2.5")
@pytest.mark.parametrize("request_id", [b"abc", b"a b", b"~!\"'"])
def test_a_request_id_is_echoed(request_id: bytes, room: Room) -> None:
    assert f"\r\nx-request-id: {request_id.decode()}\r\n".encode() in room.response(
        "/x", request_id=request_id
    )


@pytest.mark.clause("3.2.8")
@pytest.mark.parametrize("request_id", [b"", b"a\r\nx: y", b"\xff", b"a\tb", b"a\n", b"\x7f"])
def test_a_request_id_that_could_harm_is_replaced(request_id: bytes, room: Room) -> None:
    answer = taken_apart(room.response("/x", request_id=request_id))
    assert UUID(answer.fields["x-request-id"]).version == 4


def test_the_date_is_that_of_the_request(room: Room) -> None:
    dates = [
        re.findall(rb"date: (.*)\r\n", room.response("/health_check", unix_now=now))
        for now in (1_795_487_629.0, 1_795_487_629.9, 1_795_487_630)
    ]
    first, second = b"Tue, 24 Nov 2026 02:33:49 GMT", b"Tue, 24 Nov 2026 02:33:50 GMT"
    assert dates == [[first], [first], [second]]


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_what_the_response_says_of_the_connection(connection: str, room: Room) -> None:
    response = room.response("/x", connection=connection.encode())
    assert f"\r\nconnection: {connection}\r\n".encode() in response


# --- failures


class _Broken(dict[bytes, object]):
    """Swarms that fail in some way when they are asked for one."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def get(self, *_: object) -> None:
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError()])
def test_a_request_that_fails_is_dropped_and_logged_once(
    error: Exception, room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.swarms._swarms = _Broken(error)  # type: ignore[assignment]  # a fake of what may fail
    answer = room.ask(ANNOUNCE)
    assert (answer.status, answer.body) == (500, b"internal server error")
    assert room.counts() == {Door.TCP4: ONE_DROPPED}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_what_is_no_request_is_malformed(room: Room) -> None:
    response = room.handler.refuse_malformed(BAD_REQUEST, packed_address("::1"), unix_now=1_795_487_629)
    answer = taken_apart(response)
    assert (answer.status, answer.body) == (400, b"")
    assert list(answer.fields) == ["content-length", "x-request-id", "connection", "date"]
    assert answer.fields["connection"] == "close"
    assert room.counts() == {Door.TCP6: ONE_MALFORMED}


# --- the log


def test_requests_are_logged_at_debug_without_keys(
    make_room: MakeRoom, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "HTTP TRACKER")
    room = make_room(on_reverse_proxy=True)
    room.ask(keyed(ANNOUNCE, GOOD_KEY), forwarded_for=["192.0.2.9"])
    room.ask(f"/announce/{GOOD_KEY}/x", peer="::1")
    room.ask("/health_check")
    room.ask(f"/{GOOD_KEY}")
    room.handler.refuse_malformed(BAD_REQUEST, packed_address("192.0.2.1"), unix_now=0)
    assert caplog.messages == [
        "GET /announce/*** from 192.0.2.9: 200",
        "GET /announce/*** from ::1: 404",
        "GET /health_check from 192.0.2.1: 200",
        "GET /*** from 192.0.2.1: 404",
        "- /*** from 192.0.2.1: 400",
    ]


def test_requests_are_not_logged_above_debug(make_room: MakeRoom, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "HTTP TRACKER")
    make_room().ask(ANNOUNCE)
    assert caplog.messages == []
