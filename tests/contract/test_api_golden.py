"""Each request that was recorded at a Torrust 3.0, sent to this tracker in the same state."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import recorded_calls

pytestmark = pytest.mark.slow

DIFFERENT = {
    "given key, invalid": (
        'Invalid URL: invalid auth key: string "short", Invalid key length. Key must be have 32 chars',
        "Torrust's text goes on with a place in its sources",
    ),
    "delete key again": (
        'Unhandled rejection: Err { reason: "failed to delete key: '
        'Failed to remove record from Sqlite3 database, error-code: 0" }',
        "Torrust's text goes on with a place in its sources",
    ),
}
"""Body here, by the title of the request, and why it is another one."""


def steady(text: str) -> str:
    """Without what differs from run to run: random keys, and moments."""
    text = re.sub(r'"key":"[0-9A-Za-z]{32}"', '"key":"K"', text)
    text = re.sub(r'"valid_until":\d+,"expiry_time":"[-0-9]{10} [:0-9]{8}\.\d+ UTC"', '"valid_until":T', text)
    return re.sub(r'"updated":(\d+),"updated_milliseconds_ago":\1,', '"updated":M,', text)


def bring_into_the_state(daemon: Any) -> None:
    """The announces, scrapes and keys before the recording began."""
    one, two, five = (bytes([number]) * 20 for number in (1, 2, 5))
    ids = [b"-qB%017d" % number for number in range(10)]
    completed = {"peer_id": ids[3].decode(), "port": 17550, "event": "completed"}
    for _ in range(2):
        daemon.announce(one, peer_id=ids[1].decode(), port=1)
    daemon.announce(one, peer_id=ids[2].decode(), port=17549, left=5)
    daemon.announce(one, **completed)
    for _ in range(2):
        daemon.announce(two)
        daemon.announce(two, ipv6=True)
        daemon.scrape(one)
    with daemon.conversation() as client:
        for port in (1, 2, 3):
            client.announce(five, port, peer_id=ids[port])
        for _ in range(2):
            client.scrape(five)
    with daemon.conversation(ipv6=True) as client:
        for _ in range(2):
            client.announce(five, 4, peer_id=ids[4], left=1)
    body = '{"key":"rRs5Vb4q3u5NpFBLikzNoe89XKJ0niLj","seconds_valid":null}'
    daemon.call("POST", "/keys", body=body, headers={"Content-Type": "application/json"})


@pytest.fixture(scope="module")
def tracker(
    tmp_path_factory: pytest.TempPathFactory,
    configure: Callable[..., str],
    share: Callable[[Path, str], AbstractContextManager[Any]],
) -> Iterator[Any]:
    core = (
        'tracker_policy = { persistent_torrent_completed_stat = true }\nnet = { external_ip = "203.0.113.5" }'
    )
    with share(tmp_path_factory.mktemp("golden"), configure(core)) as daemon:
        bring_into_the_state(daemon)
        yield daemon


@pytest.mark.clause("7.5.2", "7.5.3", "7.5.6", "7.5.18", "7.5.21", "7.5.24", "7.5.25")
def test_every_request_is_answered_as_it_was_recorded(tracker: Any) -> None:
    compared = 0
    for case in recorded_calls():
        if not case.target.startswith("/api/"):
            continue
        headers = {"Accept-Encoding": "identity"}
        if case.body is not None:
            headers["Content-Type"] = "application/json"
        answer = tracker.request("api", case.target, method=case.method, body=case.body, headers=headers)
        expected = DIFFERENT[case.title][0] if case.title in DIFFERENT else case.text
        assert (case.title, answer.status, steady(answer.text)) == (case.title, case.status, steady(expected))
        names = {name.lower() for name in answer.headers}
        assert (case.title, names) == (case.title, case.headers.keys())
        for name in case.headers.keys() - {"x-request-id", "date", "content-length"}:
            assert (case.title, answer.headers[name]) == (case.title, case.headers[name])
        assert answer.headers["Content-Length"] == str(len(answer.body))
        compared += 1
    assert compared == 35
