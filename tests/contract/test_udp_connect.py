"""Connecting over UDP, and what a connection id is good for (BEP 15)."""

from typing import Any

import pytest

from torrust_py.udp.packets import AnnounceResponse, ErrorResponse, ScrapeResponse

pytestmark = pytest.mark.slow

CONNECT = bytes.fromhex("000004172710198000000000c0ffee11")

REFUSED_ANNOUNCE = ErrorResponse(b"\0\0\x22\x22", "connection id could not be verified")
REFUSED_SCRAPE = ErrorResponse(b"\0\0\x33\x33", "connection id could not be verified")


@pytest.mark.clause("4.1.1", "12.2.2")
@pytest.mark.parametrize("ipv6", [False, True])
def test_a_connect_is_answered_with_its_transaction_id_and_a_connection_id(public: Any, ipv6: bool) -> None:
    with public.conversation(ipv6=ipv6) as client:
        answer = client.exchange(CONNECT)
        assert answer[:8] == bytes.fromhex("00000000c0ffee11")
        assert len(answer) == 16
        shown = client.announce(bytes(20), 6881, connection_id=answer[8:])
    assert isinstance(shown, AnnounceResponse)


@pytest.mark.clause("4.1.6")
def test_bytes_after_a_connect_are_ignored(public: Any) -> None:
    with public.conversation() as client:
        answer = client.exchange(CONNECT + b"and more")
    assert (answer[:8], len(answer)) == (bytes.fromhex("00000000c0ffee11"), 16)


@pytest.mark.clause("4.2.2")
def test_a_client_gets_the_same_connection_id_again(public: Any) -> None:
    with public.conversation() as client:
        ids = [client.exchange(CONNECT)[8:] for _ in range(3)]
    assert ids[1] in (ids[0], ids[2])  # a slot of time may have ended between two of them


@pytest.mark.clause("4.2.1")
def test_a_connection_id_is_good_for_another_port_of_the_client(public: Any, info_hash: bytes) -> None:
    with public.conversation() as first, public.conversation() as second:
        response = second.announce(info_hash, 6881, connection_id=first.connection_id)
    assert isinstance(response, AnnounceResponse)


@pytest.mark.clause("4.2.1", "4.2.5", "4.2.6")
def test_a_connection_id_is_of_no_use_to_another_address(public: Any, info_hash: bytes) -> None:
    with public.conversation() as first, public.conversation(source="127.0.0.2") as second:
        answers = [
            second.announce(info_hash, 6881, connection_id=first.connection_id),
            second.scrape(info_hash, connection_id=first.connection_id),
        ]
    assert answers == [REFUSED_ANNOUNCE, REFUSED_SCRAPE]


@pytest.mark.clause("4.2.5", "4.2.6", "4.2.7", "4.5.1")
@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("wrong", [bytes(8), CONNECT[:8], b"\xff" * 8])
def test_a_connection_id_that_was_not_issued_is_refused(
    public: Any, info_hash: bytes, ipv6: bool, wrong: bytes
) -> None:
    with public.conversation(ipv6=ipv6) as client:
        assert client.announce(info_hash, 6881, connection_id=wrong) == REFUSED_ANNOUNCE
        assert client.scrape(info_hash, connection_id=wrong) == REFUSED_SCRAPE
    assert public.torrent(info_hash) == "torrent not known"


@pytest.mark.clause("4.2.8")
def test_a_connection_id_is_good_at_every_tracker_of_the_process(
    start: Any, configure: Any, info_hash: bytes
) -> None:
    services = """
        [[udp_trackers]]
        bind_address = "127.0.0.1:0"
        [[udp_trackers]]
        bind_address = "127.0.0.1:0"
        [health_check_api]
        bind_address = "127.0.0.1:0"
    """
    daemon = start(configure(services=services))
    with daemon.conversation() as first, daemon.conversation(number=1) as second:
        assert isinstance(second.scrape(info_hash, connection_id=first.connection_id), ScrapeResponse)


@pytest.mark.clause("12.2.6")
def test_a_udp_tracker_listens_from_its_start_to_its_stop(start: Any) -> None:
    daemon = start()
    with daemon.udp() as client:
        client.send(CONNECT)
        assert len(client.recv(2048)) == 16
        assert daemon.stop() == 0
        client.send(CONNECT)
        with pytest.raises(ConnectionRefusedError):
            client.recv(2048)
