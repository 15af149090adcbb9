import logging
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.forms import make_blacklist
from torrust_py.core.blacklist import Blacklist
from torrust_py.core.database import BlacklistEntry, Database
from torrust_py.core.keys import Keys
from torrust_py.core.statistics import Door, DoorCounts, PortableStatistics
from torrust_py.core.swarms import PortableSwarms
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import (
    Address,
    AnnounceEvent,
    Families,
    InfoHash,
    Peer,
    PeerId,
    SwarmCounts,
    SwarmView,
    endpoint_of,
    packed_address,
)
from torrust_py.core.whitelist import PortableWhitelist
from torrust_py.udp import PortableConnectionIds, UdpHandler
from torrust_py.udp.connection_ids import SLOT_MS
from torrust_py.udp.packets import (
    AnnounceRequest,
    AnnounceResponse,
    ConnectResponse,
    ErrorResponse,
    Response,
    ScrapeRequest,
    ScrapeResponse,
    encode_announce_request,
    encode_connect_request,
    encode_scrape_request,
    is_error_response,
    parse_response,
)

INFO_HASH = InfoHash(b"\5" * 20)
IPV4 = packed_address("198.51.100.7")
IPV6 = packed_address("2001:db8::7")
LOOPBACK = packed_address("127.0.0.1")
DOORS = [pytest.param(IPV4, Door.UDP4, id="IPv4"), pytest.param(IPV6, Door.UDP6, id="IPv6")]
PUBLIC = Rules(interval=120, interval_min=60)
EXTERNAL = packed_address("203.0.113.5")

AnnounceDatagram = Callable[..., bytes]
MakeHandler = Callable[[Rules], UdpHandler]


def ask(handler: UdpHandler, datagram: bytes, client: Address = IPV4, now_ms: int = 0) -> Response:
    response = handler.handle(datagram, client, now_ms)
    assert response is not None
    return parse_response(response)


def connect(handler: UdpHandler, client: Address = IPV4, now_ms: int = 0) -> bytes:
    response = ask(handler, encode_connect_request(b"\0\0\x11\x11"), client, now_ms)
    assert isinstance(response, ConnectResponse)
    return response.connection_id


def announced(handler: UdpHandler, datagram: bytes, client: Address = IPV4) -> AnnounceResponse:
    response = ask(handler, datagram, client)
    assert isinstance(response, AnnounceResponse)
    return response


def scrape_datagram(connection_id: bytes, *info_hashes: InfoHash) -> bytes:
    return encode_scrape_request(ScrapeRequest(connection_id, b"\0\0\x33\x33", list(info_hashes)))


def fill(swarms: PortableSwarms, count: int) -> None:
    """A swarm of so many leechers of each family."""
    for number in range(count):
        for network in (b"\n\0", b"\xfd" + bytes(13)):
            endpoint = endpoint_of(Address(network + number.to_bytes(2)), 6881)
            peer = Peer(endpoint, PeerId(bytes(20)), 0, 0, 1, AnnounceEvent.NONE)
            swarms.announce(INFO_HASH, peer.endpoint, peer, num_want=0, families=Families.IPV4, now_ms=0)


# --- connect, announce, scrape


@pytest.mark.parametrize(("client", "door"), DOORS)
def test_a_connect_is_answered_with_the_client_s_connection_id(
    handler: UdpHandler, statistics: PortableStatistics, connection_ids: PortableConnectionIds,
    client: Address, door: Door,
) -> None:  # fmt: skip
    response = ask(handler, encode_connect_request(b"\0\0\x11\x11"), client)
    assert response == ConnectResponse(b"\0\0\x11\x11", connection_ids.issue(client, 0))
    assert statistics.door(door) == DoorCounts(1, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(("client", "door"), DOORS)
def test_an_announce_is_answered_with_the_swarm(
    handler: UdpHandler, statistics: PortableStatistics, announce_datagram: AnnounceDatagram,
    client: Address, door: Door,
) -> None:  # fmt: skip
    connection_id = connect(handler, client)
    announced(handler, announce_datagram(connection_id, port=17550), client)
    response = announced(handler, announce_datagram(connection_id, port=17551, left=9), client)
    expected = AnnounceResponse(b"\0\0\x22\x22", 120, 1, 1, endpoint_of(client, 17550))
    assert response == expected
    assert statistics.door(door) == DoorCounts(1, 2, 0, 0, 0, 0)


@pytest.mark.clause("4.4.5")
@pytest.mark.parametrize(("client", "door"), DOORS)
def test_a_scrape_is_answered_in_the_order_asked_for(
    handler: UdpHandler, statistics: PortableStatistics, announce_datagram: AnnounceDatagram,
    client: Address, door: Door,
) -> None:  # fmt: skip
    connection_id = connect(handler, client)
    announced(handler, announce_datagram(connection_id), client)
    unknown = InfoHash(b"\6" * 20)
    response = ask(handler, scrape_datagram(connection_id, unknown, INFO_HASH, INFO_HASH), client)
    one = SwarmCounts(seeders=1, completed=0, leechers=0)
    assert response == ScrapeResponse(b"\0\0\x33\x33", [SwarmCounts(0, 0, 0), one, one])
    assert statistics.door(door) == DoorCounts(1, 1, 1, 0, 0, 0)


@pytest.mark.clause("5.1.2")
def test_what_a_peer_announced_is_remembered(
    handler: UdpHandler, swarms: PortableSwarms, announce_datagram: AnnounceDatagram
) -> None:
    datagram = announce_datagram(connect(handler), left=3, event=AnnounceEvent.STARTED)
    datagram = datagram[:56] + (7).to_bytes(8) + datagram[64:72] + (5).to_bytes(8) + datagram[80:]
    handler.handle(datagram, IPV4, 1234)
    [[remembered]] = swarms.peers(INFO_HASH)
    expected = Peer(
        endpoint_of(IPV4, 17550),
        PeerId(b"-qB00000000000000009"),
        uploaded=5,
        downloaded=7,
        left=3,
        event=AnnounceEvent.STARTED,
    )
    assert remembered == (expected, 1234)


@pytest.mark.clause("4.3.15")
def test_a_client_that_stops_gets_nobody(
    handler: UdpHandler, swarms: PortableSwarms, announce_datagram: AnnounceDatagram
) -> None:
    fill(swarms, 3)
    datagram = announce_datagram(connect(handler), event=AnnounceEvent.STOPPED)
    assert announced(handler, datagram).peers == b""


@pytest.mark.clause("4.3.5", "4.3.6")
@pytest.mark.parametrize(("client", "size"), [(IPV4, 6), (IPV6, 18)])
@pytest.mark.parametrize(
    ("num_want", "max_peers", "ipv4", "ipv6"),
    [
        (None, 74, 74, 74),
        (0, 74, 0, 0),
        (1, 74, 1, 1),
        (75, 74, 74, 74),
        (None, 1000, 74, 74),
        (1000, 1000, 242, 79),
        (2**31 - 1, 1000, 242, 79),
        (None, 10, 10, 10),
    ],
)
def test_a_client_gets_as_many_peers_as_it_wants_may_have_and_fit(
    make_handler: MakeHandler, swarms: PortableSwarms, announce_datagram: AnnounceDatagram,
    client: Address, size: int, num_want: int | None, max_peers: int, ipv4: int, ipv6: int,
) -> None:  # fmt: skip
    handler = make_handler(PUBLIC._replace(max_peers=max_peers))
    fill(swarms, 300)
    response = announced(handler, announce_datagram(connect(handler, client), num_want=num_want), client)
    assert len(response.peers) == size * (ipv4 if client is IPV4 else ipv6)


@pytest.mark.clause("4.3.14")
def test_the_largest_answers_fit_into_one_frame(
    make_handler: MakeHandler, swarms: PortableSwarms, announce_datagram: AnnounceDatagram
) -> None:
    handler = make_handler(PUBLIC._replace(max_peers=1000))
    fill(swarms, 300)
    answers = [
        handler.handle(announce_datagram(connect(handler, client), num_want=1000), client, 0) or b""
        for client in (IPV4, IPV6)
    ]
    assert [len(answer) for answer in answers] == [1472, 1442]


@pytest.mark.clause("4.3.2")
def test_a_left_below_zero_is_a_leecher_s(handler: UdpHandler, announce_datagram: AnnounceDatagram) -> None:
    response = announced(handler, announce_datagram(connect(handler), left=-5))
    assert (response.seeders, response.leechers) == (0, 1)


@pytest.mark.clause("4.3.10")
@pytest.mark.parametrize("interval", [0, 300, 2**31, 2**32 - 1])
def test_every_interval_that_can_be_configured_is_sent(
    make_handler: MakeHandler, announce_datagram: AnnounceDatagram, interval: int
) -> None:
    handler = make_handler(PUBLIC._replace(interval=interval))
    assert announced(handler, announce_datagram(connect(handler))).interval == interval


# --- the external address


@pytest.mark.clause("4.3.9", "12.5.5")
@pytest.mark.parametrize(
    ("client", "external", "stored"),
    [
        (LOOPBACK, EXTERNAL, EXTERNAL),
        (packed_address("::1"), EXTERNAL, EXTERNAL),
        (LOOPBACK, IPV6, IPV6),
        (packed_address("::1"), IPV6, IPV6),
        (LOOPBACK, None, LOOPBACK),
        (IPV4, EXTERNAL, IPV4),
        (IPV6, EXTERNAL, IPV6),
    ],
)
def test_a_loopback_client_is_stored_under_the_external_address(
    make_handler: MakeHandler, swarms: PortableSwarms, announce_datagram: AnnounceDatagram,
    client: Address, external: Address | None, stored: Address,
) -> None:  # fmt: skip
    handler = make_handler(PUBLIC._replace(external_address=external))
    announced(handler, announce_datagram(connect(handler, client)), client)
    [[remembered]] = swarms.peers(INFO_HASH)
    assert remembered.peer.endpoint == endpoint_of(stored, 17550)


@pytest.mark.clause("4.3.11")
@pytest.mark.parametrize("client", [LOOPBACK, packed_address("::1")])
@pytest.mark.parametrize("external", [EXTERNAL, IPV6])
def test_a_client_gets_peers_of_its_own_family_whatever_it_is_stored_as(
    make_handler: MakeHandler, swarms: PortableSwarms, announce_datagram: AnnounceDatagram,
    client: Address, external: Address,
) -> None:  # fmt: skip
    handler = make_handler(PUBLIC._replace(external_address=external))
    fill(swarms, 3)
    response = announced(handler, announce_datagram(connect(handler, client)), client)
    assert len(response.peers) == 3 * (len(client) + 2)


@pytest.mark.clause("6.10")
def test_counters_go_by_who_asked_and_not_by_the_external_address(
    make_handler: MakeHandler, statistics: PortableStatistics, announce_datagram: AnnounceDatagram
) -> None:
    handler = make_handler(PUBLIC._replace(external_address=IPV6))
    announced(handler, announce_datagram(connect(handler, LOOPBACK)), LOOPBACK)
    assert (statistics.door(Door.UDP4).announces, statistics.door(Door.UDP6).received) == (1, 0)


# --- refused


@pytest.mark.parametrize(("client", "door"), DOORS)
def test_an_announce_with_a_wrong_connection_id_is_refused(
    handler: UdpHandler, statistics: PortableStatistics, swarms: PortableSwarms,
    announce_datagram: AnnounceDatagram, client: Address, door: Door,
) -> None:  # fmt: skip
    response = ask(handler, announce_datagram(bytes(8)), client)
    assert response == ErrorResponse(b"\0\0\x22\x22", "connection id could not be verified")
    assert (INFO_HASH in swarms, statistics.door(door)) == (False, DoorCounts(0, 0, 0, 1, 0, 0))


@pytest.mark.parametrize(("client", "door"), DOORS)
def test_a_scrape_with_a_wrong_connection_id_is_refused(
    handler: UdpHandler, statistics: PortableStatistics, client: Address, door: Door
) -> None:
    response = ask(handler, scrape_datagram(bytes(8), INFO_HASH), client)
    assert response == ErrorResponse(b"\0\0\x33\x33", "connection id could not be verified")
    assert statistics.door(door) == DoorCounts(0, 0, 0, 1, 0, 0)


@pytest.mark.clause("4.2.3", "4.2.7")
def test_a_connection_id_expires(handler: UdpHandler, announce_datagram: AnnounceDatagram) -> None:
    datagram = announce_datagram(connect(handler))
    early = ask(handler, datagram, now_ms=2 * SLOT_MS - 1)
    late = ask(handler, datagram, now_ms=2 * SLOT_MS)
    assert isinstance(early, AnnounceResponse)
    assert late == ErrorResponse(b"\0\0\x22\x22", "connection id could not be verified")


@pytest.mark.clause("4.5.2")
def test_a_torrent_that_is_not_listed_is_refused(
    make_handler: MakeHandler, swarms: PortableSwarms, statistics: PortableStatistics,
    announce_datagram: AnnounceDatagram,
) -> None:  # fmt: skip
    handler = make_handler(PUBLIC._replace(listed=True))
    response = ask(handler, announce_datagram(connect(handler)))
    text = "tracker server error: The torrent: 0505050505050505050505050505050505050505, is not whitelisted"
    assert response == ErrorResponse(b"\0\0\x22\x22", text)
    assert (INFO_HASH in swarms, statistics.door(Door.UDP4).refused) == (False, 1)


@pytest.mark.parametrize("listed", [False, True])
async def test_a_torrent_of_the_blacklist_is_refused_with_the_reason(
    make_handler: MakeHandler, blacklist: Blacklist, statistics: PortableStatistics,
    announce_datagram: AnnounceDatagram, listed: bool,
) -> None:  # fmt: skip
    handler = make_handler(PUBLIC._replace(listed=listed))
    await blacklist.add([BlacklistEntry(INFO_HASH, "é")])
    response = ask(handler, announce_datagram(connect(handler)))
    text = "tracker server error: The torrent: 0505050505050505050505050505050505050505, is blacklisted: é"
    assert response == ErrorResponse(b"\0\0\x22\x22", text)
    assert statistics.door(Door.UDP4).refused == 1


def test_a_torrent_that_is_listed_is_served(
    make_handler: MakeHandler, whitelist: PortableWhitelist, announce_datagram: AnnounceDatagram
) -> None:
    handler = make_handler(PUBLIC._replace(listed=True))
    whitelist.add(INFO_HASH)
    assert announced(handler, announce_datagram(connect(handler))).seeders == 1


@pytest.mark.clause("4.4.3")
def test_a_scrape_of_torrents_that_are_not_listed_says_zeros(
    make_handler: MakeHandler, swarms: PortableSwarms
) -> None:
    handler = make_handler(PUBLIC._replace(listed=True))
    fill(swarms, 1)
    response = ask(handler, scrape_datagram(connect(handler), INFO_HASH))
    assert response == ScrapeResponse(b"\0\0\x33\x33", [SwarmCounts(0, 0, 0)])


@pytest.mark.clause("4.3.13")
def test_the_connection_id_is_checked_before_the_whitelist(
    make_handler: MakeHandler, announce_datagram: AnnounceDatagram
) -> None:
    response = ask(make_handler(PUBLIC._replace(listed=True)), announce_datagram(bytes(8)))
    assert response == ErrorResponse(b"\0\0\x22\x22", "connection id could not be verified")


# --- malformed


@pytest.mark.parametrize(
    ("datagram", "transaction_id", "text"),
    [
        ("", "00000000", "Couldn't parse action"),
        ("68656c6c6f", "00000000", "Couldn't parse action"),
        ("000004172710198000000000", "00000000", "invalid data"),
        ("00000000000000010000000000000005", "00000005", "Protocol identifier missing"),
        ("21add7beea09a882000000010000222205", "00002222", "invalid data"),
        ("21add7beea09a8820000000200003333", "00003333", "Full scrapes are not allowed"),
        ("21add7beea09a882000000020000333305050505", "00003333", "Invalid info hash list"),
        ("21add7beea09a8820000000200", "00000000", "invalid data"),
        ("21add7beea09a8820000000900003333", "00003333", "Invalid action"),
    ],
)
def test_a_malformed_datagram_is_answered_with_the_reason(
    handler: UdpHandler, statistics: PortableStatistics, datagram: str, transaction_id: str, text: str
) -> None:
    response = ask(handler, bytes.fromhex(datagram))
    assert response == ErrorResponse(bytes.fromhex(transaction_id), f"bad request: {text}")
    assert statistics.door(Door.UDP4) == DoorCounts(0, 0, 0, 0, 1, 0)


@pytest.mark.parametrize(
    ("at", "replacement", "text"),
    [(96, "0000", "Port can't be 0"), (80, "00000004", "Invalid announce event")],
)
def test_a_malformed_announce_is_answered_with_the_reason(
    handler: UdpHandler, swarms: PortableSwarms, announce_datagram: AnnounceDatagram,
    at: int, replacement: str, text: str,
) -> None:  # fmt: skip
    good, replaced = announce_datagram(connect(handler)), bytes.fromhex(replacement)
    response = ask(handler, good[:at] + replaced + good[at + len(replaced) :])
    assert response == ErrorResponse(b"\0\0\x22\x22", f"bad request: {text}")
    assert INFO_HASH not in swarms


@pytest.mark.clause("4.3.13")
def test_what_is_malformed_is_said_before_the_connection_id_is_checked(
    handler: UdpHandler, announce_datagram: AnnounceDatagram
) -> None:
    response = ask(handler, announce_datagram(bytes(8), port=0))
    assert response == ErrorResponse(b"\0\0\x22\x22", "bad request: Port can't be 0")


def test_two_trackers_do_not_go_on_answering_each_other(
    handler: UdpHandler, statistics: PortableStatistics
) -> None:
    for first in (b"x", bytes(16), bytes.fromhex("21add7beea09a8820000000200003333")):
        answer = handler.handle(first, IPV4, 0)
        assert answer is not None
        assert handler.handle(answer, IPV4, 0) is None
    assert statistics.door(Door.UDP4) == DoorCounts(0, 0, 0, 0, 6, 0)


def test_a_request_that_begins_as_an_error_response_is_answered(
    handler: UdpHandler, announce_datagram: AnnounceDatagram
) -> None:
    response = ask(handler, announce_datagram(bytes.fromhex("0000000300002222")))
    assert isinstance(response, ErrorResponse)


@pytest.mark.clause("4.5.17")
def test_a_thousand_malformed_datagrams_are_answered_a_second(
    handler: UdpHandler, statistics: PortableStatistics
) -> None:
    clients = [IPV4, IPV6] * 1000
    answered = [handler.handle(b"", client, 5999) is not None for client in clients]
    assert answered == [True] * 1000 + [False] * 1000
    assert statistics.door(Door.UDP4) == DoorCounts(0, 0, 0, 0, 500, 500)
    assert statistics.door(Door.UDP6) == DoorCounts(0, 0, 0, 0, 500, 500)


@pytest.mark.clause("4.5.17")
def test_the_next_second_has_answers_of_its_own(handler: UdpHandler) -> None:
    for _ in range(2000):
        handler.handle(b"", IPV4, 5999)
    assert handler.handle(b"", IPV4, 6000) is not None


@pytest.mark.clause("4.5.17", "4.6.4")
def test_others_are_answered_however_much_is_malformed(
    handler: UdpHandler, announce_datagram: AnnounceDatagram
) -> None:
    for _ in range(2000):
        handler.handle(b"", IPV4, 0)
    assert announced(handler, announce_datagram(connect(handler))).seeders == 1
    assert isinstance(ask(handler, announce_datagram(bytes(8))), ErrorResponse)


# --- failures of our own


class BrokenSwarms(PortableSwarms):
    """Fails with every announce."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def announce(self, *announced: object, **options: object) -> SwarmView:  # type: ignore[override]  # it does not look
        raise self._error


@pytest.fixture
def make_broken(
    statistics: PortableStatistics,
    whitelist: PortableWhitelist,
    connection_ids: PortableConnectionIds,
    memory_database: Database,
) -> Callable[[Exception], UdpHandler]:
    """A handler whose swarms fail."""

    def make(error: Exception) -> UdpHandler:
        swarms, keys = BrokenSwarms(error), Keys(memory_database)
        blacklist = make_blacklist(PortableWhitelist(), swarms)
        tracker = Tracker(PUBLIC, swarms=swarms, whitelist=whitelist, blacklist=blacklist, keys=keys)
        return UdpHandler(tracker, connection_ids, statistics)

    return make


MakeBroken = Callable[[Exception], UdpHandler]


@pytest.mark.clause("4.6.8")
def test_an_unexpected_failure_is_answered_without_its_reason_and_logged_once(
    make_broken: MakeBroken, statistics: PortableStatistics, announce_datagram: AnnounceDatagram,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    handler = make_broken(ZeroDivisionError("secret"))
    response = ask(handler, announce_datagram(connect(handler)))
    assert response == ErrorResponse(b"\0\0\x22\x22", "internal server error")
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.levelname, record.exc_info is not None) == ("ERROR", True)
    assert statistics.door(Door.UDP4) == DoorCounts(1, 0, 0, 0, 0, 1)


@pytest.mark.clause("4.6.8")
def test_the_next_request_after_a_failure_is_answered(
    make_broken: MakeBroken, announce_datagram: AnnounceDatagram
) -> None:
    handler = make_broken(ZeroDivisionError())
    handler.handle(announce_datagram(connect(handler)), IPV4, 0)
    assert isinstance(ask(handler, scrape_datagram(connect(handler), INFO_HASH)), ScrapeResponse)


def test_a_request_for_which_memory_is_short_is_dropped_and_counted(
    make_broken: MakeBroken, statistics: PortableStatistics, announce_datagram: AnnounceDatagram,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    handler = make_broken(MemoryError())
    assert handler.handle(announce_datagram(connect(handler)), IPV4, 0) is None
    assert statistics.door(Door.UDP4) == DoorCounts(1, 0, 0, 0, 0, 1)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- the log


@pytest.mark.clause("4.6.7")
def test_requests_are_logged_at_debug(
    make_handler: MakeHandler, announce_datagram: AnnounceDatagram, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "UDP TRACKER")
    handler = make_handler(PUBLIC)
    handler.handle(announce_datagram(connect(handler, IPV6)), IPV6, 0)
    handler.handle(b"hello", IPV4, 0)
    assert [record.getMessage() for record in caplog.records] == [
        "CONNECT from 2001:db8::7: 16 bytes",
        "ANNOUNCE from 2001:db8::7: 20 bytes",
        "BAD_PACKET from 198.51.100.7: 42 bytes",
    ]


def test_a_request_without_an_answer_is_logged_as_such(
    make_handler: MakeHandler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "UDP TRACKER")
    handler = make_handler(PUBLIC)
    for _ in range(1001):
        handler.handle(b"", IPV4, 0)
    assert caplog.records[-1].getMessage() == "BUDGET_SPENT from 198.51.100.7: 0 bytes"


@pytest.mark.clause("4.6.7")
def test_requests_are_not_logged_at_info(
    make_handler: MakeHandler, announce_datagram: AnnounceDatagram, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "UDP TRACKER")
    handler = make_handler(PUBLIC)
    handler.handle(announce_datagram(connect(handler)), IPV4, 0)
    handler.handle(b"", IPV4, 0)
    assert caplog.records == []


# --- the books


def announce_request(connection_id: bytes, *, event: AnnounceEvent, port: int) -> bytes:
    return encode_announce_request(
        AnnounceRequest(
            connection_id, bytes(4), INFO_HASH, PeerId(bytes(20)), 0, 9, 0, event, num_want=None, port=port
        )
    )


_IDS = PortableConnectionIds(bytes(16), unix_offset_ms=0)
_DATAGRAMS = [encode_connect_request(b"\0\0\x11\x11"), b"", b"hello", bytes(1496)] + [
    datagram
    for connection_id in (_IDS.issue(IPV4, 0), _IDS.issue(IPV6, 0), bytes(8))
    for datagram in (
        scrape_datagram(connection_id),
        scrape_datagram(connection_id, INFO_HASH, INFO_HASH),
        announce_request(connection_id, event=AnnounceEvent.NONE, port=6881),
        announce_request(connection_id, event=AnnounceEvent.STOPPED, port=6881),
        announce_request(connection_id, event=AnnounceEvent.NONE, port=0),
    )
]
_datagrams = st.one_of(
    st.sampled_from(_DATAGRAMS),
    st.builds(lambda datagram, size: datagram[:size], st.sampled_from(_DATAGRAMS), st.integers(0, 97)),
    st.binary(max_size=120),
)


@pytest.mark.slow
@given(
    requests=st.lists(st.tuples(_datagrams, st.sampled_from([IPV4, IPV6])), max_size=30),
    listed=st.booleans(),
)
@example(requests=[(datagram, IPV6) for datagram in _DATAGRAMS] * 50, listed=False)
@example(requests=[(b"", IPV4)] * 1001, listed=False)
@example(requests=[(b"\0\0\0\3", IPV4)] * 1001, listed=False)
@settings(
    # Nothing is written to the database.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_datagram_is_counted_once_by_what_became_of_it(
    memory_database: Database, requests: list[tuple[bytes, Address]], listed: bool
) -> None:
    statistics = PortableStatistics()
    swarms = PortableSwarms()
    tracker = Tracker(
        PUBLIC._replace(listed=listed),
        swarms=swarms,
        whitelist=PortableWhitelist(),
        blacklist=make_blacklist(PortableWhitelist(), swarms),
        keys=Keys(memory_database),
    )
    handler = UdpHandler(tracker, _IDS, statistics)
    unanswered = {IPV4: 0, IPV6: 0}
    for datagram, client in requests:
        is_answered = handler.handle(datagram, client, 0) is not None
        unanswered[client] += not (is_answered or is_error_response(datagram))
    for door, client in ((Door.UDP4, IPV4), (Door.UDP6, IPV6)):
        counts = statistics.door(door)
        assert counts.received == sum(who == client for _, who in requests)
        assert counts.received == counts.handled + counts.refused + counts.malformed + counts.dropped
        assert counts.dropped == unanswered[client]
    assert statistics.door(Door.TCP4).received == statistics.door(Door.TCP6).received == 0
