"""Every error text of the UDP tracker."""

import time
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CONNECT = "000004172710198000000000c0ffee11"
ID = "21add7beea09a882"
ANNOUNCE = ID + "00000001c0ffee11" + "05" * 40 + "00" * 24 + "000000020000000000000007ffffffff"


@pytest.mark.clause("4.5.4", "4.5.5")
@pytest.mark.parametrize(
    ("datagram", "transaction_id", "text"),
    [
        pytest.param("", "00000000", "Couldn't parse action", marks=pytest.mark.clause("4.5.6")),
        pytest.param(CONNECT[:22], "00000000", "Couldn't parse action", marks=pytest.mark.clause("4.5.6")),
        pytest.param("68656c6c6f", "00000000", "Couldn't parse action", marks=pytest.mark.clause("4.5.6")),
        pytest.param(CONNECT[:24], "00000000", "invalid data", marks=pytest.mark.clause("4.5.7")),
        pytest.param(CONNECT[:30], "00000000", "invalid data", marks=pytest.mark.clause("4.5.7")),
        pytest.param(
            "00" + CONNECT[2:14] + "81" + CONNECT[16:],
            "c0ffee11",
            "Protocol identifier missing",
            marks=pytest.mark.clause("4.5.8"),
        ),
        pytest.param(
            "00" * 1496,
            "00000000",
            "Protocol identifier missing",
            marks=pytest.mark.clause("4.5.8", "12.2.1"),
        ),
        pytest.param(ANNOUNCE[:24], "00000000", "invalid data", marks=pytest.mark.clause("4.5.9")),
        pytest.param(ANNOUNCE[:32], "c0ffee11", "invalid data", marks=pytest.mark.clause("4.5.9")),
        pytest.param(ANNOUNCE + "44", "c0ffee11", "invalid data", marks=pytest.mark.clause("4.5.9")),
        pytest.param(ANNOUNCE + "0000", "c0ffee11", "Port can't be 0", marks=pytest.mark.clause("4.5.10")),
        pytest.param(
            ANNOUNCE.replace("00000002", "00000004") + "448e",
            "c0ffee11",
            "Invalid announce event",
            marks=pytest.mark.clause("4.5.11"),
        ),
        pytest.param(
            ANNOUNCE.replace("00000002", "ffffffff") + "448e",
            "c0ffee11",
            "Invalid announce event",
            marks=pytest.mark.clause("4.5.11"),
        ),
        pytest.param(
            ANNOUNCE.replace("00000002", "00000004") + "0000",
            "c0ffee11",
            "Port can't be 0",
            marks=pytest.mark.clause("4.5.16"),
        ),
        pytest.param(ID + "00000002", "00000000", "invalid data", marks=pytest.mark.clause("4.5.12")),
        pytest.param(ID + "00000002c0ffee", "00000000", "invalid data", marks=pytest.mark.clause("4.5.12")),
        pytest.param(
            ID + "00000002c0ffee11",
            "c0ffee11",
            "Full scrapes are not allowed",
            marks=pytest.mark.clause("4.5.13"),
        ),
        pytest.param(
            ID + "00000002c0ffee11" + "05" * 19,
            "c0ffee11",
            "Invalid info hash list",
            marks=pytest.mark.clause("4.5.14"),
        ),
        pytest.param(
            ID + "00000002c0ffee11" + "05" * 21,
            "c0ffee11",
            "Invalid info hash list",
            marks=pytest.mark.clause("4.5.14"),
        ),
        pytest.param(
            ID + "00000003c0ffee11", "c0ffee11", "Invalid action", marks=pytest.mark.clause("4.5.15")
        ),
        pytest.param(
            ID + "ffffffffc0ffee11", "c0ffee11", "Invalid action", marks=pytest.mark.clause("4.5.15")
        ),
        pytest.param(ID + "00000009", "00000000", "Invalid action", marks=pytest.mark.clause("4.5.15")),
    ],
)
def test_a_malformed_datagram_is_answered_with_the_reason(
    public: Any, datagram: str, transaction_id: str, text: str
) -> None:
    with public.conversation() as client:
        answer = client.exchange(bytes.fromhex(datagram))
    assert answer == b"\0\0\0\3" + bytes.fromhex(transaction_id) + b"bad request: " + text.encode()


@pytest.mark.clause("4.1.5", "4.5.2", "5.5.4")
def test_an_announce_of_a_torrent_that_is_not_listed_is_refused(listed: Any, info_hash: bytes) -> None:
    with listed.conversation() as client:
        answer = client.exchange(client.announcement(info_hash, 6881))
    text = f"tracker server error: The torrent: {info_hash.hex()}, is not whitelisted"
    assert answer == b"\0\0\0\3\0\0\x22\x22" + text.encode()
    assert listed.torrent(info_hash) == "torrent not known"


@pytest.mark.clause("4.4.4", "4.5.3")
def test_a_private_tracker_does_not_serve_udp_and_says_so(private: Any) -> None:
    private.wait_for_line(
        r"WARN .*: Could not start UDP tracker on: 127\.0\.0\.1:0 while in private mode\. "
        r"UDP is not safe for private trackers!$"
    )
    assert not [line for line in private.lines if "UDP TRACKER: Start" in line]


@pytest.mark.clause("4.5.17")
def test_a_thousand_malformed_datagrams_are_answered_a_second_and_all_others(start: Any) -> None:
    with start().udp() as client:
        answers, sent, begun = 0, 0, time.monotonic()
        while sent < 6000:
            for _ in range(50):  # answers to them fit into the client's buffer
                client.send(b"")
            sent += 50
            client.send(bytes.fromhex(CONNECT))
            while (answer := client.recv(2048)).startswith(b"\0\0\0\3"):
                answers += 1
            assert answer[4:8] == bytes.fromhex("c0ffee11")
        seconds_touched = 2 + int(time.monotonic() - begun)
    assert 1000 <= answers <= 1000 * seconds_touched
