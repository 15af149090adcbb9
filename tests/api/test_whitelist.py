import pytest

HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"
INFO_HASH = bytes.fromhex(HASH)
OK = (200, "application/json", '{"status":"ok"}')


async def test_a_torrent_is_allowed(api) -> None:
    answer = await api.ask("POST", f"/api/v1/whitelist/{HASH.upper()}")
    assert (answer.status, answer.content_type, answer.text) == OK
    assert INFO_HASH in api.whitelist
    assert INFO_HASH in api.tables.whitelist


async def test_a_torrent_may_be_allowed_twice(api) -> None:
    await api.ask("POST", f"/api/v1/whitelist/{HASH}")
    answer = await api.ask("POST", f"/api/v1/whitelist/{HASH}")
    assert (answer.status, answer.content_type, answer.text) == OK


async def test_a_torrent_is_no_longer_allowed(api) -> None:
    await api.ask("POST", f"/api/v1/whitelist/{HASH}")
    answer = await api.ask("DELETE", f"/api/v1/whitelist/{HASH}")
    assert (answer.status, answer.content_type, answer.text) == OK
    assert INFO_HASH not in api.whitelist


async def test_removing_a_torrent_that_is_not_allowed_is_fine(api) -> None:
    answer = await api.ask("DELETE", f"/api/v1/whitelist/{HASH}")
    assert (answer.status, answer.content_type, answer.text) == OK


async def test_the_whitelist_is_reloaded_from_the_database(api) -> None:
    api.tables.whitelist.add(INFO_HASH)
    answer = await api.get("/api/v1/whitelist/reload")
    assert (answer.status, answer.content_type, answer.text) == OK
    assert INFO_HASH in api.whitelist


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", f"/api/v1/whitelist/{HASH}", "whitelist torrent"),
        ("DELETE", f"/api/v1/whitelist/{HASH}", "remove torrent from whitelist"),
        ("GET", "/api/v1/whitelist/reload", "reload whitelist"),
    ],
)
async def test_a_database_that_fails_is_told(api, method: str, path: str, operation: str) -> None:
    api.tables.failure = "gone"
    answer = await api.ask(method, path)
    assert (answer.status, answer.content_type) == (500, "text/plain; charset=utf-8")
    assert answer.text == f'Unhandled rejection: Err {{ reason: "failed to {operation}: gone" }}'


async def test_a_reload_that_fails_changes_nothing(api) -> None:
    await api.ask("POST", f"/api/v1/whitelist/{HASH}")
    api.tables.failure = "gone"
    await api.get("/api/v1/whitelist/reload")
    assert INFO_HASH in api.whitelist


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("value", ["0", "-1", "1.1", "INVALID%20INFOHASH", HASH[:-1], f"{HASH[:-1]}&"])
async def test_a_bad_info_hash_is_refused(api, method: str, value: str) -> None:
    answer = await api.ask(method, f"/api/v1/whitelist/{value}")
    shown = value.replace("%20", " ")
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert answer.text == (
        f'Invalid URL: invalid infohash param: string "{shown}", expected a 40 character long string'
    )


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("value", ["", "%20"])
async def test_without_an_info_hash_there_is_nothing(api, method: str, value: str) -> None:
    answer = await api.ask(method, f"/api/v1/whitelist/{value}")
    assert (answer.status, answer.content_type, answer.text) == (404, None, "")
