import logging
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.recordings import recorded_calls
from torrust_py.core.database import PeerKey
from torrust_py.core.statistics import Door, Outcome
from torrust_py.core.types import AnnounceEvent

TEXT = "text/plain; charset=utf-8"
UNAUTHORIZED = 'Unhandled rejection: Err { reason: "unauthorized" }'
NOT_VALID = 'Unhandled rejection: Err { reason: "token not valid" }'
HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"
ROUTES = [
    ("GET", "/api/v1/stats"),
    ("GET", "/api/v1/torrents"),
    ("GET", f"/api/v1/torrent/{HASH}"),
    ("POST", f"/api/v1/whitelist/{HASH}"),
    ("DELETE", f"/api/v1/whitelist/{HASH}"),
    ("GET", "/api/v1/whitelist/reload"),
    ("GET", "/api/v1/whitelist"),
    ("GET", "/api/v1/keys"),
    ("GET", "/api/v1/blacklist"),
    ("POST", "/api/v1/blacklist"),
    ("POST", f"/api/v1/blacklist/{HASH}"),
    ("DELETE", f"/api/v1/blacklist/{HASH}"),
    ("POST", "/api/v1/keys"),
    ("POST", "/api/v1/key/60"),
    ("DELETE", f"/api/v1/key/{'a' * 32}"),
    ("GET", "/api/v1/keys/reload"),
    ("PUT", "/api/v1/stats"),
    ("GET", "/unknown"),
    ("GET", "/"),
]


# --- who may


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_gets_in_without_a_token(api, method: str, path: str) -> None:
    answer = await api.ask(method, path, token=None)
    assert (answer.status, answer.content_type, answer.text) == (500, TEXT, UNAUTHORIZED)


@pytest.mark.parametrize(
    "token", ["", "x", "myaccesstoken", "MyAccessToke", "MyAccessToken%00", "%ff", "%c3%a9"]
)
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_gets_in_with_another_token(api, method: str, path: str, token: str) -> None:
    answer = await api.ask(method, path, token=token)
    assert (answer.status, answer.content_type, answer.text) == (500, TEXT, NOT_VALID)


@pytest.mark.parametrize(
    "query",
    [
        "token=MyAccessToken&offset=0",
        "offset=0&token=MyAccessToken",
        "&&token=MyAccessToken&",
        "token=My%41ccess%54oken",
        "%74oken=MyAccessToken",
    ],
)
async def test_the_token_may_stand_anywhere_in_the_query(api, query: str) -> None:
    assert (await api.get(f"/api/v1/torrents?{query}", token=None)).status == 200


async def test_a_token_given_twice_is_refused(api) -> None:
    answer = await api.get("/api/v1/stats?token=MyAccessToken")
    assert (answer.status, answer.content_type) == (400, TEXT)
    assert answer.text == "Failed to deserialize query string: duplicate field `token`"


@pytest.mark.parametrize("token", ["first", "second one", "dr+it/te&"])
async def test_every_token_admits(new_api, token: str) -> None:
    async with new_api(tokens=["first", "second one", "dr+it/te&"]).served() as api:
        quoted = token.replace("+", "%2B").replace("&", "%26").replace(" ", "+")
        assert (await api.get("/api/v1/stats", token=quoted)).status == 200


@pytest.mark.parametrize("tokens", [[], [""]])
async def test_without_a_token_of_its_own_the_api_lets_nobody_in(new_api, tokens: list[str]) -> None:
    async with new_api(tokens=tokens).served() as api:
        assert (await api.get("/api/v1/stats", token="")).text == NOT_VALID


@pytest.mark.clause("11.2.6")
@pytest.mark.parametrize("header", ["Bearer MyAccessToken", "bearer  MyAccessToken "])
async def test_the_token_may_come_as_bearer(api, header: str) -> None:
    answer = await api.ask("GET", "/api/v1/stats", token=None, headers={"Authorization": header})
    assert answer.status == 200


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Bearer x", NOT_VALID),
        ("Bearer", NOT_VALID),
        ("Basic MyAccessToken", UNAUTHORIZED),
        ("MyAccessToken", UNAUTHORIZED),
    ],
)
async def test_other_headers_do_not_admit(api, header: str, text: str) -> None:
    answer = await api.ask("GET", "/api/v1/stats", token=None, headers={"Authorization": header})
    assert (answer.status, answer.text) == (500, text)


async def test_a_token_in_the_query_wins_over_bearer(api) -> None:
    headers = {"Authorization": "Bearer MyAccessToken"}
    answer = await api.ask("GET", "/api/v1/stats", token="x", headers=headers)
    assert answer.text == NOT_VALID


# --- what there is


async def test_the_health_check_needs_no_token(api) -> None:
    answer = await api.get("/api/health_check", token=None)
    assert (answer.status, answer.content_type, answer.text) == (200, "application/json", '{"status":"Ok"}')


@pytest.mark.clause("7.3.14")
@pytest.mark.parametrize(
    "path",
    [
        "/", "/api", "/api/v1", "/api/v1/", "/api/v1/stats/", "//api/v1/stats", "/api//v1/stats",
        "/api/v1/./stats", "/api/v1/x/../stats", "/api/v1/%73tats", "/api/v1/Stats", "/api/v2/stats",
        "/api/v1/torrent", "/api/v1/torrent/", "/api/v1/torrent/%20", f"/api/v1/torrent/{HASH}/",
        "/api/v1/whitelist/", "/api/v1/blacklist/", "/api/v1/key", "/api/v1/key/", "/api/v1/keys/",
        "/api/v1/keys/other", "/stats", f"/api/v1/torrent/..%2f{HASH}/x",
    ],
)  # fmt: skip
async def test_other_paths_are_status_404_without_a_body(api, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status, answer.content_type, answer.text) == (404, None, "")


@pytest.mark.clause("7.3.12", "7.3.13")
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/api/v1/stats", "GET,HEAD"),
        ("OPTIONS", "/api/v1/torrents", "GET,HEAD"),
        ("DELETE", f"/api/v1/torrent/{HASH}", "GET,HEAD"),
        ("DELETE", "/api/v1/whitelist/reload", "GET,HEAD"),
        ("POST", "/api/v1/whitelist/reload", "GET,HEAD"),
        ("POST", "/api/v1/keys/reload", "GET,HEAD"),
        ("DELETE", "/api/v1/keys", "GET,HEAD,POST"),
        ("POST", "/api/v1/whitelist", "GET,HEAD"),
        ("DELETE", "/api/v1/blacklist", "GET,HEAD,POST"),
        ("GET", f"/api/v1/blacklist/{HASH}", "POST,DELETE"),
        ("GET", f"/api/v1/whitelist/{HASH}", "POST,DELETE"),
        ("PUT", "/api/v1/key/60", "POST,DELETE"),
    ],
)
async def test_other_methods_are_status_405_and_told_which_there_are(
    api, method: str, path: str, allow: str
) -> None:
    answer = await api.ask(method, path)
    assert (answer.status, answer.content_type, answer.text) == (405, None, "")
    assert answer.headers["Allow"] == allow


async def test_the_health_check_tells_its_methods_without_a_token(api) -> None:
    answer = await api.ask("POST", "/api/health_check", token=None)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/api/v1/torrent/%ff", "info_hash"),
        ("DELETE", "/api/v1/whitelist/%c3", "info_hash"),
        ("POST", "/api/v1/key/%ff", "seconds_valid_or_key"),
        ("DELETE", "/api/v1/key/%ff", "seconds_valid_or_key"),
    ],
)
async def test_a_value_that_is_not_utf8_is_refused(api, method: str, path: str, name: str) -> None:
    answer = await api.ask(method, path)
    assert (answer.status, answer.content_type) == (400, TEXT)
    assert answer.text == f"Invalid URL: Invalid UTF-8 in `{name}`"


async def test_head_does_what_get_does_without_the_body(api) -> None:
    answer = await api.ask("HEAD", "/api/v1/torrents", headers={"Accept-Encoding": "identity"})
    assert (answer.status, answer.content_type, answer.text) == (200, "application/json", "")
    assert answer.headers["Content-Length"] == "2"


# --- what it writes into the log


async def test_a_failed_response_is_logged_without_secrets(api, caplog) -> None:
    await api.ask("DELETE", f"/api/v1/key/{'a' * 32}?x=1&%74oken=&token=", token=None)
    await api.ask("DELETE", f"/api/v1/key/{'a' * 32}?x=1")
    messages = [record.getMessage() for record in caplog.records if record.name == "API"]
    assert messages == ["response failed method=DELETE uri=/api/v1/key/***?x=***&token=*** status=500"]
    assert caplog.records[-1].levelno == logging.ERROR


async def test_other_requests_are_logged_at_debug(api, caplog) -> None:
    caplog.set_level(logging.DEBUG, "API")
    await api.get("/api/v1/torrents?limit=1")
    assert ("API", logging.DEBUG, "GET /api/v1/torrents?limit=1&token=***: 200") in caplog.record_tuples


async def test_a_fault_of_ours_is_one_traceback_and_a_bare_answer(api, caplog, monkeypatch) -> None:
    monkeypatch.setattr(api.swarms, "totals", None)
    answer = await api.get("/api/v1/stats")
    assert (answer.status, answer.content_type) == (500, TEXT)
    assert answer.text == 'Unhandled rejection: Err { reason: "internal server error" }'
    assert [record.name for record in caplog.records if record.exc_info] == ["API"]
    assert (await api.get("/api/v1/torrents")).status == 200


# --- as the real Torrust


def shape(text: str) -> str:
    """Without what differs from run to run, and without Rust's source locations."""
    text = re.sub(r'"key":"[0-9A-Za-z]{32}"', '"key":"K"', text)
    text = re.sub(r'"valid_until":\d+,"expiry_time":"[-0-9]{10} [:0-9]{8}\.\d+ UTC"', '"valid_until":T', text)
    return re.sub(r", src/[a-z/]+\.rs:\d+:\d+", "", text)


def fill(api, unix_offset_ms: int) -> None:
    """With what the recorded Torrust held."""
    here, now = bytes([203, 0, 113, 5]), 1_795_487_630_000 - unix_offset_ms
    one, two, five = (bytes([number]) * 20 for number in (1, 2, 5))
    ids = [b"-qB0000000000000000%d" % number for number in range(10)]
    event = AnnounceEvent.NONE
    api.announce(one, endpoint=here + b"\0\1", peer_id=ids[1], event=event, now_ms=now + 19)
    api.announce(one, endpoint=here + b"\x44\x8d", peer_id=ids[2], left=5, event=event, now_ms=now + 14)
    completed = AnnounceEvent.COMPLETED
    api.announce(one, endpoint=here + b"\x44\x8e", peer_id=ids[3], event=completed, now_ms=now + 15)
    api.announce(two, peer_id=ids[1])
    for port, left in ((1, 0), (2, 0), (3, 0), (4, 1)):
        api.announce(five, endpoint=here + bytes([0, port]), peer_id=ids[port], left=left)
    counts = {
        Door.TCP4: {Outcome.ANNOUNCE: 6, Outcome.SCRAPE: 2},
        Door.TCP6: {Outcome.ANNOUNCE: 2},
        Door.UDP4: {Outcome.CONNECT: 1, Outcome.ANNOUNCE: 3, Outcome.SCRAPE: 2},
        Door.UDP6: {Outcome.CONNECT: 1, Outcome.ANNOUNCE: 2},
    }
    for door, outcomes in counts.items():
        for outcome, count in outcomes.items():
            for _ in range(count):
                api.statistics.count(door, outcome)


async def test_the_answers_are_those_of_the_recorded_torrust(api, unix_offset_ms: int) -> None:
    fill(api, unix_offset_ms)
    await api.keys.add(PeerKey("rRs5Vb4q3u5NpFBLikzNoe89XKJ0niLj", None))
    compared = 0
    for case in recorded_calls():
        if case.title == "health check API":
            continue
        headers = {"Accept-Encoding": "identity"}
        if case.body is not None:
            headers["Content-Type"] = "application/json"
        body = None if case.body is None else case.body.encode()
        answer = await api.ask(case.method, case.target, token=None, body=body, headers=headers)
        assert (case.title, answer.status, shape(answer.text)) == (case.title, case.status, shape(case.text))
        for name in ("content-type", "vary", "allow"):
            assert (case.title, answer.headers.get(name)) == (case.title, case.headers.get(name))
        assert answer.headers["Content-Length"] == str(len(answer.text.encode()))
        compared += 1
    assert compared == 35


# --- whatever comes

SEGMENTS = [
    "api",
    "v1",
    "stats",
    "torrent",
    "torrents",
    "whitelist",
    "reload",
    "key",
    "keys",
    HASH,
    "a" * 32,
    "60",
]
RAW = st.text(st.sampled_from("abc019%/.~-_!$&'()*+,;=:@"), max_size=12)
PATHS = st.lists(st.sampled_from(SEGMENTS) | RAW, max_size=5).map(lambda parts: "/" + "/".join(parts))
KNOWN = st.sampled_from(
    ["/api/v1/torrent/", "/api/v1/whitelist/", "/api/v1/key/", "/api/v1/torrents", "/api/v1/keys"]
)
TARGETS = PATHS | st.tuples(KNOWN, RAW | st.sampled_from(SEGMENTS)).map("".join)
NAMES = st.sampled_from(["info_hash", "offset", "limit", "token", "x"])
EXPECTED = "token not valid|unauthorized|failed to delete key"
QUERIES = st.lists(st.tuples(NAMES, RAW | st.just(HASH)).map("=".join), max_size=4).map("&".join)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "HEAD", "PUT"]),
    target=TARGETS,
    query=QUERIES,
    body=st.none() | st.binary(max_size=40),
)
async def test_whatever_comes_the_api_does_not_fail(
    api, caplog, method: str, target: str, query: str, body: bytes | None
) -> None:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    answer = await api.ask(method, f"{target}?{query}", body=body, headers=headers)
    assert answer.status < 500 or method == "HEAD" or re.search(EXPECTED, answer.text)
    assert not [record for record in caplog.records if record.exc_info]
